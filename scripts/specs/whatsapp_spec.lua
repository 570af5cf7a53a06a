local URL = "https://graph.facebook.com/v21.0/1055/messages"

local function ready(t)
  t:config { whatsapp = { phone_id = "1055" } }
  t:secrets { whatsapp = "token" }
  return t:script("whatsapp.lua")
end

local GUEST = { data = { to = "351900", text = "Olá" }, group = "351900" }

spec("a text goes out and the message's id is the result", function(t)
  local s = ready(t)
  t:http("POST", URL, { json = { messages = { { id = "wamid.1" } } } })
  local r = s:perform(GUEST)
  t:equal(r.state, "completed")
  t:equal(r.result, { message = "wamid.1" })
  local sent = t:requests()[1]
  t:equal(sent.headers.authorization, "Bearer token")
  t:equal(sent.json, { messaging_product = "whatsapp",
    recipient_type = "individual", to = "351900", type = "text",
    text = { body = "Olá" } })
end)

spec("another kind of message goes out as it is", function(t)
  local s = ready(t)
  t:http("POST", URL, { json = { messages = { { id = "wamid.2" } } } })
  s:perform { data = { to = "1", type = "template",
    template = { name = "welcome" } } }
  t:equal(t:requests()[1].json, { messaging_product = "whatsapp", to = "1",
    type = "template", template = { name = "welcome" } })
end)

spec("429: everybody waits as long as it says, nobody loses a try", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 429, headers = { ["Retry-After"] = "17" } })
  local r = s:perform(GUEST)
  t:equal(r.snoozed, true)
  t:equal(r.delay, 17)
  t:equal(t:held("outbound.whatsapp").ms, 17000)
end)

spec("a throughput code counts as 429", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 400, json = { error = { code = 130429,
    message = "Rate limit hit" } } })
  t:equal(s:perform(GUEST).snoozed, true)
  t:ok(t:held("outbound.whatsapp"))
end)

spec("too much for one guest: only this guest waits", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 400, json = { error = { code = 131056 } } })
  local r = s:perform(GUEST)
  t:equal(r.state, "delayed")
  t:equal(r.delay, 6)
  t:equal(t:held("outbound.whatsapp"), nil)
end)

spec("5xx is tried again, a refusal is for good", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 503 })
  t:http("POST", URL, { status = 400, json = { error = { code = 100,
    message = "Invalid parameter" } } })
  local r = s:perform(GUEST)
  t:equal(r.state, "delayed")
  t:match(r.error, "503")
  r = s:perform(GUEST)
  t:equal(r.state, "failed")
  t:match(r.error, "Invalid parameter")
end)

spec("an old token stops the queue, not the messages", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 401, json = { error = { code = 190 } } })
  t:equal(s:perform(GUEST).snoozed, true)
  t:equal(t:held("outbound.whatsapp").ms, 300000)
end)

spec("no answer is tried again", function(t)
  local s = ready(t)
  t:http("POST", URL, { error = "connection refused" })
  t:equal(s:perform(GUEST).state, "delayed")
end)

spec("a job without a guest fails at once", function(t)
  t:equal(ready(t):perform({ data = { text = "to whom?" } }).final, true)
end)

spec("others hear of what was sent", function(t)
  ready(t):on_completed(GUEST, { message = "wamid.1" })
  t:equal(t:published("whatsapp.sent")[1].data.message, "wamid.1")
end)
