-- Tells other systems what happens here, by signed webhooks.
--
--   bellhopctl add webhook-out '{"to": "pms", "event": "booking.created",
--       "data": {"booking": 4711}}'
--
-- "to" names an endpoint of the configuration: a job cannot send elsewhere.
--
-- bellhop.conf:
--   config = { webhook_out = {
--     pms  = { url = "https://pms.example/hooks"; secret = "webhook-pms"; };
--     door = { url = "https://door.example/in"; secret = "webhook-door"; };
--   }; };
-- Secrets: those that are named there.
--
-- The receiver gets {"id", "event", "created_at", "data"} with these headers:
--   X-Bellhop-Event      the event
--   X-Bellhop-Delivery   an id, the same in each try
--   X-Bellhop-Timestamp  when it was sent, in seconds
--   X-Bellhop-Signature  sha256=HMAC-SHA256 of "TIMESTAMP.BODY", in hex
--
-- 2xx: done. 410: the receiver wants no more of this, it has failed for good.
-- 429 and 503: once more when Retry-After says. Anything else: once more after
-- the back-off, for about a day.
--
-- Circuit breaker: when five tries in a row have failed, an endpoint gets one
-- try in half a minute, until one succeeds. The others wait without losing an
-- attempt, and the rest of the queue goes on.

local endpoints = config.webhook_out or {}
for name, e in pairs(endpoints) do
  if type(e) ~= "table" or not e.url or not e.secret then
    error(("config.webhook_out.%s needs url and secret"):format(name))
  end
end

local FAILURES, PAUSE = 5, "30s"
local HELD_BACK = { [429] = true, [503] = true }

-- The one try of an open circuit: a token that comes back after the pause.
local function probe(to)
  return limit.take("webhook-out:probe:" .. to, 1, PAUSE)
end

local function breaker_wait(job, to)
  if (cache.get("webhook-out:" .. to) or 0) < FAILURES then return end
  local mine, info = probe(to)
  if not mine then job:snooze(info.retry_after, to .. " is down") end
end

local function breaker_failed(to)
  if cache.incr("webhook-out:" .. to, 1, "1h") == FAILURES then
    log.warn("webhook-out: circuit opens", { to = to })
    probe(to)                   -- so that the first try comes after a pause
  end
end

local function breaker_works(to)
  local failures = cache.get("webhook-out:" .. to)
  if not failures then return end
  cache.del("webhook-out:" .. to)
  if failures >= FAILURES then
    log.info("webhook-out: circuit closes", { to = to })
  end
end

local function post(job, e)
  local id = ("%s-%d"):format(job.id, job.created_at)
  local body = json.encode { id = id, event = job.data.event,
    created_at = job.created_at, data = job.data.data }
  local time = ("%d"):format(now() // 1)
  return http.post(e.url, { body = body, timeout = "15s", redirects = 0,
    raise = false,
    headers = {
      ["Content-Type"] = "application/json",
      ["X-Bellhop-Event"] = job.data.event,
      ["X-Bellhop-Delivery"] = id,
      ["X-Bellhop-Timestamp"] = time,
      ["X-Bellhop-Signature"] = "sha256="
        .. crypto.hmac(secret(e.secret), time .. "." .. body),
    } })
end

return {
  queue       = "webhook-out",
  concurrency = 10,
  attempts    = 17,
  backoff     = { type = "exponential", delay = "10s", max = "4h" },
  timeout     = "30s",

  perform = function(job)
    local d = job.data
    local e = type(d) == "table" and d.to and endpoints[d.to]
    if not e then job:fail("\"to\" must name an endpoint of the configuration") end
    if type(d.event) ~= "string" then job:fail("\"event\" is missing") end

    breaker_wait(job, d.to)
    local res, err = post(job, e)
    if not res then
      breaker_failed(d.to)
      error(err, 0)
    end

    local why = ("%s answered %d"):format(d.to, res.status)
    if res.status >= 500 then breaker_failed(d.to) else breaker_works(d.to) end
    if res.status >= 200 and res.status < 300 then
      return { status = res.status }
    elseif res.status == 410 then
      job:fail(why .. ": it wants no more of this")
    elseif HELD_BACK[res.status] then
      job:retry(res.retry_after, why)
    end
    error(why, 0)
  end,
}
