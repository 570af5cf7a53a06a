-- Mails, with attachments. Other scripts use it too: a mail that waits in a
-- queue survives a mail server that is away.
--
--   bellhopctl add email '{"to": "Ana <ana@example.org>",
--       "subject": "Your bill", "text": "Dear Ana, …",
--       "attachments": [{"name": "bill.pdf", "type": "application/pdf",
--                        "base64": "JVBERi0…"}]}'
--
-- What a job may have: from, to, cc, bcc, reply_to (an address, or a list of
-- them), subject, text, html, attachments (each with name, type and base64, or
-- text) and headers.
--
-- bellhop.conf: mail_server, mail_from and what belongs to them. No secret of
-- its own.

local function attachments_of(list)
  local out = {}
  for i, a in ipairs(list or {}) do
    out[i] = { name = a.name, type = a.type,
      data = a.base64 and base64.decode(a.base64) or a.text or "" }
  end
  return #out > 0 and out or nil
end

return {
  queue       = "email",
  concurrency = 2,
  attempts    = 10,
  backoff     = { type = "exponential", delay = "10s", max = "1h" },
  timeout     = "2m",
  rate        = { limit = 30, per = "1m", burst = 10 },

  perform = function(job)
    local d = job.data
    if type(d) ~= "table" or not d.to or not d.subject then
      job:fail("expected {to, subject, text}")
    end

    local readable, files = pcall(attachments_of, d.attachments)
    if not readable then job:fail("attachments: " .. files) end

    local sent, r = pcall(mail.send, {
      from = d.from, to = d.to, cc = d.cc, bcc = d.bcc, reply_to = d.reply_to,
      subject = d.subject, text = d.text, html = d.html, attachments = files,
      headers = d.headers,
    })
    if sent then return { id = r } end

    -- An address that does not exist will not exist tomorrow either.
    if tostring(r):find("permanent", 1, true) then job:fail(r) end
    error(r, 0)
  end,
}
