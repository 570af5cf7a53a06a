-- WhatsApp messages out, by the Cloud API of Meta.
--
--   bellhopctl add outbound.whatsapp --group 351900000000 \
--       '{"to": "351900000000", "text": "Your room is ready."}'
--
-- What a job may be:
--   {"to", "text"}               a text
--   {"to", "type", …}            any other message, as the API has it:
--                                {"to": "…", "type": "template", "template": {…}}
--
-- The group is the guest: the messages of one guest go out in their order, one
-- after the other, also when one has to be tried again. Guests do not wait for
-- each other.
--
-- bellhop.conf:
--   config = { whatsapp = {
--     phone_id = "106540352242922";    the number's id, from Meta's console
--     url = "https://graph.facebook.com/v21.0";              (the default)
--   }; };
-- Secret "whatsapp": the access token.
--
-- WhatsApp cannot tell a message that it has already seen. When an answer gets
-- lost on its way, the guest may get a message twice, but never none.

local cfg = config.whatsapp or {}
if not cfg.phone_id then
  -- The script is not loaded, and its queue keeps the jobs.
  error("config.whatsapp.phone_id is missing in bellhop.conf")
end
local url = ("%s/%s/messages"):format(
  cfg.url or "https://graph.facebook.com/v21.0", cfg.phone_id)

-- "Too many" comes as the status 429 or as one of these codes.
local TOO_MANY = { [4] = true, [80007] = true, [130429] = true }
local TOO_MANY_TO_THIS_GUEST = 131056

local function message_of(data)
  if data.type then
    local message = { messaging_product = "whatsapp" }
    for k, v in pairs(data) do message[k] = v end
    return message
  end
  return { messaging_product = "whatsapp", recipient_type = "individual",
    to = data.to, type = "text", text = { body = data.text } }
end

-- Nobody sends for a while; this job is not to blame and loses no attempt.
local function everybody_waits(job, after, why)
  log.warn("whatsapp: " .. why, { seconds = after })
  queue.hold(job.queue, after, why)
  job:snooze(after, why)
end

return {
  queue       = "outbound.whatsapp",
  concurrency = 10,
  attempts    = 8,
  backoff     = { type = "exponential", delay = "2s", max = "10m" },
  timeout     = "30s",

  -- 20 at once and one more each second: in no minute more than 80.
  rate        = { limit = 60, per = "60s", burst = 20 },

  perform = function(job)
    local data = job.data
    if type(data) ~= "table" or not data.to or not (data.text or data.type) then
      job:fail("expected {to, text} or {to, type, …}")
    end

    local res = http.post(url, { json = message_of(data), timeout = "20s",
      headers = { Authorization = "Bearer " .. secret("whatsapp") } })
    local answer = type(res.json) == "table" and res.json or {}
    local err = type(answer.error) == "table" and answer.error or {}
    local why = ("WhatsApp answered %d: %s"):format(res.status,
      err.message or "no reason")

    if err.code == TOO_MANY_TO_THIS_GUEST then
      job:retry(res.retry_after or "6s", why)     -- only this guest waits
    elseif res.status == 429 or TOO_MANY[err.code] then
      everybody_waits(job, res.retry_after or "30s", why)
    elseif res.status == 401 or err.code == 190 then
      everybody_waits(job, "5m", "the access token is not accepted")
    elseif res.status >= 500 then
      error(why, 0)                               -- tried again
    elseif res.status >= 400 then
      job:fail(why)                               -- it would never work
    end

    local message = answer.messages and answer.messages[1]
    return { message = message and message.id }
  end,

  on_completed = function(job, result)
    topic.publish("whatsapp.sent",
      { job = job.id, guest = job.group, message = result.message })
  end,
}
