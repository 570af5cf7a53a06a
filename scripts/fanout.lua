-- One order becomes several small jobs, so that a step that fails is tried
-- again alone. A job for this queue looks like
--
--   {"order": 4711, "guest": "guest.9",
--    "steps": [ {"queue": "kitchen", "data": {"dish": "soup"}},
--               {"queue": "billing", "data": {"amount": 12.5}} ]}
--
-- Steps of one guest stay in their order: they are added with the guest as
-- their group. Doing this twice (after a crash) adds nothing twice: each step
-- has a unique key, which is taken as long as the step is not done.

local function check(job)
  local d = job.data

  if type(d) ~= "table" or type(d.steps) ~= "table" then
    -- Trying again would not help: give up at once, with a clear reason.
    job:fail("the payload is not an order with steps")
  end
  return d
end

return {
  queue       = "orders",
  concurrency = 5,
  attempts    = 8,
  backoff     = { type = "exponential", delay = "1s", max = "5m" },
  timeout     = "20s",

  perform = function(job)
    local order = check(job)
    local ids = json.array()

    for i, step in ipairs(order.steps) do
      if job:cancelled() then return end
      ids[i] = queue.add(step.queue, step.data, {
        group  = order.guest,
        unique = ("order-%s-%d"):format(order.order, i),
      })
      job:progress(("%d of %d"):format(i, #order.steps))
    end
    return { added = ids }
  end,

  -- Called when a job has failed for good.
  on_failed = function(job, err)
    queue.add("alerts", { job = job.id, queue = job.queue, error = err })
  end,
}
