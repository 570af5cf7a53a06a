local function perform(t, data)
  return t:script("email.lua"):perform { data = data }
end

local BILL = { from = "desk@hotel.example", to = "Ana <ana@example.org>",
  subject = "Your bill", text = "Dear Ana" }

spec("a mail with attachments goes out", function(t)
  local data = { attachments = {
    { name = "bill.pdf", type = "application/pdf",
      base64 = base64.encode("%PDF\0\255") },
    { name = "note.txt", type = "text/plain", text = "thanks" } } }
  for k, v in pairs(BILL) do data[k] = v end
  local r = perform(t, data)
  t:equal(r.state, "completed")
  local mail = t:mails()[1]
  t:equal(r.result.id, mail.id)
  t:equal(mail.subject, "Your bill")
  t:equal(#mail.attachments, 2)
  t:equal(mail.attachments[1].name, "bill.pdf")
  t:equal(mail.attachments[1].data, "%PDF\0\255")
  t:equal(mail.attachments[2].data, "thanks")
end)

spec("a server that is away is tried again", function(t)
  t:mail_fails("mail.send: connection refused")
  local r = perform(t, BILL)
  t:equal(r.state, "delayed")
  t:match(r.error, "connection refused")
end)

spec("an address that is refused is not", function(t)
  t:mail_fails("mail.send: permanent: 550 no such user")
  local r = perform(t, BILL)
  t:equal(r.final, true)
  t:match(r.error, "550")
end)

spec("an attachment that is no base64 fails for good", function(t)
  t:equal(perform(t, { to = "a@b.example", subject = "x",
    attachments = { { name = "x", base64 = "%%%" } } }).final, true)
  t:equal(#t:mails(), 0)
end)

spec("nobody to write to", function(t)
  t:equal(perform(t, { subject = "x" }).final, true)
end)
