local URL = "https://api.telegram.org/bot7:secret/sendMessage"

local function ready(t)
  t:secrets { telegram = "7:secret" }
  return t:script("telegram.lua")
end

local CHAT = { data = { chat = 4711, text = "Hi", parse_mode = "HTML" },
  group = "4711" }
local GOOD = { json = { ok = true, result = { message_id = 9 } } }

spec("a message goes to its chat", function(t)
  local s = ready(t)
  t:http("POST", URL, GOOD)
  t:equal(s:perform(CHAT).result, { message = 9 })
  t:equal(t:requests()[1].json,
    { chat_id = 4711, text = "Hi", parse_mode = "HTML" })
end)

spec("429 waits as parameters.retry_after says and costs no try", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 429, json = { ok = false, error_code = 429,
    description = "Too Many Requests: retry after 23",
    parameters = { retry_after = 23 } } })
  local r = s:perform(CHAT)
  t:equal(r.snoozed, true)
  t:equal(r.delay, 23)
end)

spec("30 a second over all chats", function(t)
  local s = ready(t)
  t:http("POST", URL, GOOD)
  local begin, sent = t:now(), 0
  for i = 1, 60 do
    s:perform { data = { chat = i, text = "x" }, group = tostring(i) }
    sent = sent + 1
    if t:now() - begin < 1 then t:ok(sent <= 30, sent .. " in a second") end
  end
  t:ok(t:now() - begin >= 55 / 25 - 0.01)
end)

spec("a group of people gets 20 a minute", function(t)
  local s = ready(t)
  t:http("POST", URL, GOOD)
  local group = { data = { chat = -100, text = "x" }, group = "-100" }
  for _ = 1, 5 do t:equal(s:perform(group).state, "completed") end
  t:equal(s:perform(group).snoozed, true)
  t:advance("4s")
  t:equal(s:perform(group).state, "completed")
end)

spec("who has blocked the bot is not asked again", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 403, json = { ok = false,
    description = "Forbidden: bot was blocked by the user" } })
  local r = s:perform(CHAT)
  t:equal(r.final, true)
  t:match(r.error, "blocked")
end)

spec("5xx is tried again; a bad token stops the queue", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 502 })
  t:http("POST", URL, { status = 401 })
  t:equal(s:perform(CHAT).state, "delayed")
  t:equal(s:perform(CHAT).snoozed, true)
  t:ok(t:held("outbound.telegram"))
end)

spec("the token does not get into the error", function(t)
  local s = ready(t)
  t:http("POST", URL, { error = "POST " .. URL .. ": connection refused" })
  local r = s:perform(CHAT)
  t:equal(r.state, "delayed")
  t:match(r.error, "connection refused")
  t:equal(r.error:find("secret", 1, true), nil)
end)
