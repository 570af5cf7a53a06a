local ANSWER = "http://127.0.0.1:5678/webhook/answer"
local REPLY = "https://chat.example/api/v1/accounts/1/conversations/42/messages"

local function ready(t, more)
  local c = { url = "https://chat.example", answer_url = ANSWER }
  for k, v in pairs(more or {}) do c[k] = v end
  t:config { chatwoot = c }
  t:secrets { ["chatwoot-hook"] = "shared", ["chatwoot-api"] = "token" }
  return t:script("chatwoot.lua")
end

local function event(id, more)
  local e = { event = "message_created", message_type = "incoming", id = id,
    content = "text " .. id, account = { id = 1 },
    conversation = { id = 42, status = "pending" },
    sender = { id = 5, name = "Ana" } }
  for k, v in pairs(more or {}) do e[k] = v end
  return json.encode(e)
end

local function post(t, s, body, key)
  local time = ("%d"):format(t:now())
  return s:hook { body = body, headers = {
    ["X-Chatwoot-Timestamp"] = time,
    ["X-Chatwoot-Signature"] = "sha256="
      .. crypto.hmac(key or "shared", time .. "." .. body),
    ["X-Chatwoot-Delivery"] = crypto.uuid() } }
end

local function jobs(n)
  local list = {}
  for i = 1, n do
    list[i] = { id = i, group = "1-42", data = { account = 1,
      conversation = 42, id = i, text = "text " .. i,
      contact = { name = "Ana" } } }
  end
  return list
end

spec("a message becomes a job of its conversation", function(t)
  local r = post(t, ready(t), event(7))
  t:equal(r.status, 202)
  t:equal(r.jobs[1].group, "1-42")
  t:equal(r.jobs[1].data.text, "text 7")
  t:equal(r.jobs[1].data.contact, { id = 5, name = "Ana" })
end)

spec("a forged one does not", function(t)
  local r = post(t, ready(t), event(7), "guessed")
  t:equal(r.status, 401)
  t:equal(#t:jobs(), 0)
end)

spec("what is no message of a guest is left alone", function(t)
  local s = ready(t, { pending_only = true })
  for _, more in ipairs { { message_type = "outgoing" }, { private = true },
    { event = "message_updated" }, { content = "" },
    { conversation = { id = 42, status = "open" } } } do
    t:equal(post(t, s, event(7, more)).status, 204)
  end
  t:equal(#t:jobs(), 0)
end)

spec("an old Chatwoot shows a token in the address", function(t)
  local s = ready(t, { unsigned = true })
  t:equal(s:hook({ body = event(1), query = { token = "shared" } }).status, 202)
  t:equal(s:hook({ body = event(2), query = { token = "other" } }).status, 401)
end)

spec("five messages are one question and one reply", function(t)
  local s = ready(t)
  t:http("POST", ANSWER, { json = { reply = "Hello Ana" } })
  t:http("POST", REPLY, { json = { id = 99 } })
  local r = s:perform_batch(jobs(5))
  for i = 1, 5 do
    t:equal(r[i].state, "completed")
    t:equal(r[i].result, { messages = 5, reply = 99 })
  end
  local asked, posted = table.unpack(t:requests())
  t:equal(#t:requests(), 2)
  for i = 1, 5 do t:equal(asked.json.messages[i].text, "text " .. i) end
  t:equal(asked.json.conversation, 42)
  t:equal(posted.json, { content = "Hello Ana", message_type = "outgoing",
    private = false })
  t:equal(posted.headers.api_access_token, "token")
end)

spec("nothing to say, or a case for people", function(t)
  local s = ready(t)
  t:http("POST", ANSWER, { json = {} })
  t:http("POST", ANSWER, { json = { handoff = true } })
  t:http("POST", (REPLY:gsub("messages", "toggle_status")), { json = {} })
  t:equal(s:perform_batch(jobs(1))[1].state, "completed")
  t:equal(#t:requests(), 1)
  local other = jobs(1)
  other[1].id = 50
  t:equal(s:perform_batch(other)[1].state, "completed")
  t:equal(t:requests()[3].json, { status = "open" })
end)

spec("a service that is busy is asked again when it says", function(t)
  local s = ready(t)
  t:http("POST", ANSWER, { status = 429, headers = { ["Retry-After"] = "8" } })
  local r = s:perform_batch(jobs(2))
  t:equal(r[1].delay, 8)
  t:equal(r[2].delay, 8)
end)

spec("a refusal is for good", function(t)
  local s = ready(t)
  t:http("POST", ANSWER, { status = 400 })
  t:equal(s:perform_batch(jobs(1))[1].final, true)
end)
