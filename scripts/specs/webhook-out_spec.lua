local URL = "https://pms.example/hooks"

local function ready(t)
  t:config { webhook_out = {
    pms = { url = URL, secret = "webhook-pms" },
    door = { url = "https://door.example/in", secret = "webhook-pms" } } }
  t:secrets { ["webhook-pms"] = "key" }
  return t:script("webhook-out.lua")
end

local EVENT = { id = 8, created_at = 1767268800,
  data = { to = "pms", event = "booking.created", data = { n = 1 } } }

spec("the request is signed", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 204 })
  t:equal(s:perform(EVENT).result, { status = 204 })
  local r = t:requests()[1]
  t:equal(r.json.event, "booking.created")
  t:equal(r.json.data, { n = 1 })
  t:equal(r.json.id, r.headers["x-bellhop-delivery"])
  t:equal(tonumber(r.headers["x-bellhop-timestamp"]), t:now() // 1)
  t:equal(r.headers["x-bellhop-signature"], "sha256=" .. crypto.hmac("key",
    r.headers["x-bellhop-timestamp"] .. "." .. r.body))
end)

spec("each try has the same id", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 500 })
  s:perform(EVENT)
  t:advance("1m")
  s:perform(EVENT)
  local a, b = table.unpack(t:requests())
  t:equal(a.headers["x-bellhop-delivery"], b.headers["x-bellhop-delivery"])
  t:ok(a.headers["x-bellhop-timestamp"] ~= b.headers["x-bellhop-timestamp"])
end)

spec("Retry-After is kept to, 410 is the end, 404 is not", function(t)
  local s = ready(t)
  t:http("POST", URL, { status = 429, headers = { ["Retry-After"] = "40" } })
  t:http("POST", URL, { status = 404 })
  t:http("POST", URL, { status = 410 })
  t:equal(s:perform(EVENT).delay, 40)
  t:equal(s:perform(EVENT).state, "delayed")
  t:equal(s:perform(EVENT).final, true)
end)

spec("the circuit opens, lets one through, and closes", function(t)
  local s = ready(t)
  t:http("POST", URL, { error = "connection refused", times = 6 })
  t:http("POST", "https://door.example/in", { status = 200 })
  for _ = 1, 5 do t:match(s:perform(EVENT).error, "refused") end

  local r = s:perform(EVENT)             -- open: nothing is sent
  t:equal(r.snoozed, true)
  t:ok(r.delay > 25 and r.delay <= 30, r.delay)
  t:equal(#t:requests(), 5)

  -- Another endpoint has a circuit of its own.
  t:equal(s:perform({ data = { to = "door", event = "x" } }).state, "completed")

  t:advance("30s")                       -- one try, which fails
  t:match(s:perform(EVENT).error, "refused")
  t:equal(s:perform(EVENT).snoozed, true)
  t:equal(#t:requests(), 7)

  t:advance("30s")                       -- one try, which succeeds
  t:http("POST", URL, { status = 200 })
  t:equal(s:perform(EVENT).state, "completed")
  t:equal(s:perform(EVENT).state, "completed")
end)

spec("only endpoints of the configuration", function(t)
  t:equal(ready(t):perform({ data = { to = "https://evil.example",
    event = "x" } }).final, true)
end)
