local URL = "http://127.0.0.1:5678/webhook/check-in"

local function ready(t)
  t:secrets { n8n = "key" }
  return t:script("n8n.lua")
end

local JOB = { data = { workflow = "check-in", data = { guest = "Ana" },
  ["then"] = "outbound.whatsapp" }, group = "351900" }

spec("the answer is the result, and the next job", function(t)
  local s = ready(t)
  t:http("POST", URL, { json = { to = "351900", text = "Welcome" } })
  local r = s:perform(JOB)
  t:equal(r.result, { to = "351900", text = "Welcome" })
  t:equal(t:requests()[1].json, { guest = "Ana" })
  t:equal(t:requests()[1].headers.authorization, "Bearer key")
  t:ok(t:requests()[1].headers["idempotency-key"])
  local next = t:jobs("outbound.whatsapp")[1]
  t:equal(next.data.text, "Welcome")
  t:equal(next.group, "351900")
end)

spec("an answer that is no JSON is kept as text", function(t)
  local s = ready(t)
  t:http("POST", URL, { body = "done" })
  t:equal(s:perform({ data = { workflow = "check-in" } }).result, "done")
end)

spec("not active yet, or away: tried again; refused: not", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 404 })
  t:http("POST", URL, { status = 503, headers = { ["Retry-After"] = "9" } })
  t:http("POST", URL, { status = 403 })
  t:equal(s:perform(JOB).state, "delayed")
  t:equal(s:perform(JOB).delay, 9)
  t:equal(s:perform(JOB).final, true)
  t:equal(#t:jobs("outbound.whatsapp"), 0)
end)

spec("a workflow is no path to elsewhere", function(t)
  t:equal(ready(t):perform({ data = { workflow = "../rest/login" } }).final,
    true)
end)
