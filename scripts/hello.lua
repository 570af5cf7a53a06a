-- The smallest script: it serves the queue "hello".
--
--   bellhopctl add hello '{"name":"Ana"}'
--   bellhopctl job 1                        (shows the result)

return {
  queue = "hello",

  -- Called once for each job. What it returns is kept as the job's result;
  -- an error is logged and the job is tried again later.
  perform = function(job)
    local name = job.data and job.data.name or "nobody"

    log.info("saying hello", { name = name })
    return { greeting = "Hello, " .. name .. "!" }
  end,
}
