-- One order becomes several small jobs, so that a part that fails is tried
-- again alone. A job for this queue looks like
--
--   {"order": 4711, "guest": "guest.9",
--    "steps": [ {"queue": "kitchen", "data": {"dish": "soup"}},
--               {"queue": "billing", "data": {"amount": 12.5}} ]}
--
-- The parts are added all or none, and with the guest as their group: those of
-- one queue stay in their order. Doing this twice (after a crash) adds nothing
-- twice: each part has a unique key, which is taken for a week.

return {
  queue       = "orders",
  concurrency = 5,
  attempts    = 8,
  backoff     = { type = "exponential", delay = "1s", max = "5m" },
  timeout     = "20s",

  perform = function(job)
    local order = job.data
    if type(order) ~= "table" or type(order.steps) ~= "table" then
      -- Trying again would not help: give up at once, with a clear reason.
      job:fail("the payload is not an order with steps")
    end

    local parts = {}
    for i, step in ipairs(order.steps) do
      parts[i] = {
        queue  = step.queue,
        data   = step.data,
        group  = order.guest,
        unique = ("order-%s-%d"):format(order.order, i),
        unique_ttl = "7d",
      }
    end
    return { added = json.array(queue.add_many(parts)) }
  end,
}
