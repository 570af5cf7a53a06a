-- Work by the clock: a summary each morning, and a look at the day in between.
--
--   bellhopctl schedule list
--   bellhopctl schedule preview "0 6 * * MON-FRI" --tz Europe/Lisbon
--
-- The times are those of the zone, also where its clocks change. When the
-- daemon was away at six, the summary comes late, once, if that is not more
-- than 24 hours ago; a look that was missed is not made up for.

return {
  queue    = "nightly",
  attempts = 3,
  timeout  = "5m",

  schedule = {
    { cron = "0 6 * * MON-FRI", tz = "Europe/Lisbon",
      data = { kind = "summary" } },
    { every = "15m", misfire = "skip", data = { kind = "look" } },
  },

  perform = function(job)
    local stats = queue.stats("alerts")
    if job.data.kind == "summary" then
      log.info("summary", { waiting = stats.waiting, failed = stats.failed })
    end
    return { kind = job.data.kind, waiting = stats.waiting }
  end,
}
