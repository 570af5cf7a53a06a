-- Takes the pressure off a queue that has too much to do: each job of the
-- queue "relief" names a queue and a limit, and is looked at again and again
-- until it has been quiet.
--
--   bellhopctl add relief '{"queue": "outbound", "limit": 1000, "hold": "2m"}'
--
-- While more than `limit` jobs wait, the queue is held (its jobs stay where
-- they are) and an alert is added, at most one in ten minutes. Configuration:
--
--   config = { relief = { every = "30s"; }; };      in bellhop.conf

local every = config.relief and config.relief.every or "30s"

return {
  queue       = "relief",
  concurrency = 1,
  attempts    = 3,
  timeout     = "10s",

  perform = function(job)
    local want = job.data
    if type(want) ~= "table" or not want.queue or not want.limit then
      job:fail("expected {queue, limit}")
    end

    local stats = queue.stats(want.queue)
    if stats.waiting <= want.limit then
      return { waiting = stats.waiting, quiet_at = now() }
    end

    log.warn("queue is long", { queue = want.queue, waiting = stats.waiting })
    queue.hold(want.queue, want.hold or "1m", "relief: too long")
    queue.add("alerts", { queue = want.queue, waiting = stats.waiting },
      { unique = "relief-" .. want.queue, unique_ttl = "10m" })

    -- Not an error and not an attempt: the same job comes again later.
    return job:snooze(every, "still " .. stats.waiting .. " waiting")
  end,
}
