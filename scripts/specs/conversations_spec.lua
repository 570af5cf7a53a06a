local URL = "http://127.0.0.1:5678/webhook/answer"

local function world(t)
  t:config { conversations = { answer_url = URL } }
  t:secrets { ["conversations-hook"] = "s3cret" }
  return t:script("conversations.lua")
end

local function message(id, text)
  return { id = id, group = "42", data = { id = "m" .. id, from = "ana",
    text = text } }
end

spec("messages are kept, answered together and acknowledged", function(t)
  local s = world(t)
  t:http("POST", URL, { json = { reply = "Until ten." } })
  local r = s:perform_batch { message(1, "Hello"),
    message(2, "is the pool open?") }
  t:equal(r[1].result, { messages = 2 })
  t:equal(#t:requests(), 1)
  t:equal(t:requests()[1].json.messages, {
    { from = "ana", text = "Hello" },
    { from = "ana", text = "is the pool open?" } })
  t:equal(t:redis("XLEN", "conversation:42"), 3)
  t:equal(t:redis("XPENDING", "conversation:42", "answers")[1], 0)
  t:equal(t:published("conversation.42")[1].data, { reply = "Until ten." })
end)

spec("what was not answered is asked again, with what came since", function(t)
  local s = world(t)
  t:http("POST", URL, { status = 503, times = 1 })
  t:http("POST", URL, { json = {} })
  local first = s:perform_batch { message(1, "Hello") }
  t:equal(first[1].state, "delayed")
  t:equal(t:redis("XPENDING", "conversation:42", "answers")[1], 1)
  local job = message(1, "Hello")
  job.steps = { { name = "keep", json = '"kept"' } }
  local r = s:perform_batch { job, message(2, "anybody there?") }
  t:equal(r[1].result, { messages = 2 })
  t:equal(#t:requests()[2].json.messages, 2)
  t:equal(t:redis("XLEN", "conversation:42"), 2)
  t:equal(t:redis("XPENDING", "conversation:42", "answers")[1], 0)
end)

spec("what a dead consumer has read is taken over", function(t)
  local s = world(t)
  t:redis("XGROUP", "CREATE", "conversation:42", "answers", "0")
  t:redis("XADD", "conversation:42", "*", "from", "ana", "text", "Hello")
  t:redis("XREADGROUP", "GROUP", "answers", "elsewhere", "STREAMS",
    "conversation:42", ">")
  t:http("POST", URL, { json = {} })
  t:equal(s:perform_batch({ message(1, "still here") })[1].result,
    { messages = 1 })
  t:advance("6m")
  t:equal(s:perform_batch({ message(2, "hello?") })[1].result,
    { messages = 2 })
  t:equal(t:requests()[2].json.messages[1].text, "Hello")
end)

spec("our own words are not asked about", function(t)
  local s = world(t)
  t:http("POST", URL, { json = { reply = "Yes." } })
  s:perform_batch { message(1, "Are you there?") }
  local r = s:perform_batch { message(2, "Good.") }
  t:equal(r[1].result, { messages = 1 })
end)

spec("a webhook becomes a job of its conversation, once", function(t)
  local s = world(t)
  local body = json.encode { conversation = 42, id = "m1", from = "ana",
    text = "Hello" }
  local r = s:hook { body = body, headers = {
    ["X-Signature"] = crypto.hmac("s3cret", body) } }
  t:equal(r.status, 202)
  t:equal(r.jobs[1].group, "42")
  t:equal(r.jobs[1].data.text, "Hello")
  t:equal(s:hook({ body = body }).status, 401)
end)
