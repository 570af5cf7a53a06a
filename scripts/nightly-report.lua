-- A mail each morning: what the queues did since the last one.
--
-- bellhop.conf:
--   config = { report = {
--     to = "owner@hotel.example";
--     queues = [ "outbound.whatsapp", "chatwoot", "email" ];
--     cron = "0 6 * * *";                                    (the default)
--     tz = "Europe/Lisbon";     (UTC)   or instead of both:  every = "12h";
--   }; };
-- It needs email.lua, which sends the mail. No secret.
--
--   bellhopctl schedule list                     (when it comes next)
--   bellhopctl add nightly-report '{}'           (one now)

local cfg = config.report or {}
if not cfg.to or not cfg.queues then
  error("config.report needs to and queues in bellhop.conf")
end

local tick = { name = "nightly-report" }
if cfg.every then
  tick.every = cfg.every
else
  tick.cron, tick.tz = cfg.cron or "0 6 * * *", cfg.tz
end

-- The totals count since the store was made; the last report's are kept.
local function since(total, before)
  return before and before <= total and total - before or total
end

local function line_of(name, s, before)
  return ("%-24s %8d %8d %8d %8d"):format(name,
    since(s.processed_total, before.processed),
    since(s.failed_total, before.failed), s.waiting + s.delayed, s.failed)
end

return {
  queue    = "nightly-report",
  attempts = 5,
  backoff  = { type = "exponential", delay = "1m", max = "30m" },
  timeout  = "1m",
  schedule = { tick },

  perform = function(job)
    local last = session.get("nightly-report") or {}
    local totals, lines, failed, longest = {}, {}, 0, 0

    for i, name in ipairs(cfg.queues) do
      local s, before = queue.stats(name), last[name] or {}
      lines[i] = line_of(name, s, before)
      failed = failed + since(s.failed_total, before.failed)
      longest = math.max(longest, s.oldest_waiting_ms)
      totals[name] = { processed = s.processed_total, failed = s.failed_total }
    end

    -- A step, so that a try after it sends no second mail and keeps the totals
    -- that are in the first one; the unique key is for a crash inside it.
    local sent = job:step("mail", function()
      local id = queue.add("email", {
        to = cfg.to,
        subject = failed == 0 and "Bellhop: all went well"
          or ("Bellhop: %d failed"):format(failed),
        text = ("%-24s %8s %8s %8s %8s\n%s\n\nLongest wait now: %d s.\n")
          :format("queue", "done", "failed", "waiting", "to mend",
            table.concat(lines, "\n"), longest // 1000),
      }, { unique = "nightly-report-" .. job.id, unique_ttl = "1d" })
      return { mail = id, totals = totals }
    end)
    session.set("nightly-report", sent.totals, "30d")
    return { mail = sent.mail, failed = failed }
  end,
}
