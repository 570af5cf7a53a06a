-- A job that simply works: what perform returns is kept as the job's result.
return {
  queue = "greet",
  perform = function(job)
    log.info("greeting " .. job.data.name)
    return { text = "Welcome, " .. job.data.name .. "!" }
  end,
}
