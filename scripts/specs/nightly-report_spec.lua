local function ready(t, config)
  t:config { report = { to = "owner@hotel.example", queues = { "out", "in" } } }
  return t:script("nightly-report.lua")
end

local function stats(processed, failed)
  return function(words)
    local mine = words[2] == "out"
    return { map = { waiting = 3, delayed = 1, failed = 2, active = 0,
      processed_total = mine and processed or 0,
      failed_total = mine and failed or 0, oldest_waiting_ms = 61000 } }
  end
end

spec("a mail with the figures", function(t)
  local s = ready(t)
  t:command("QUEUE.STATS", stats(40, 1))
  local r = s:perform { data = {} }
  t:equal(r.state, "completed")
  local mail = t:jobs("email")[1].data
  t:equal(mail.to, "owner@hotel.example")
  t:equal(mail.subject, "Bellhop: 1 failed")
  t:match(mail.text, "out +40 +1 +4 +2\n")
  t:match(mail.text, "61 s")
end)

spec("the next one counts from the last one", function(t)
  local s = ready(t)
  t:command("QUEUE.STATS", stats(40, 1))
  s:perform { data = {}, id = 1 }
  t:advance("1d")
  t:command("QUEUE.STATS", stats(52, 1))
  s:perform { data = {}, id = 2 }
  local mail = t:jobs("email")[2].data
  t:equal(mail.subject, "Bellhop: all went well")
  t:match(mail.text, "out +12 +0 ")
end)
