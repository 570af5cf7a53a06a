-- A printer that answers only at the third try: an error is a failed try,
-- and the job comes back after its back-off.
return {
  queue    = "print",
  attempts = 5,
  backoff  = { type = "fixed", delay = "200ms" },
  perform  = function(job)
    if job.attempt < 3 then error("the printer is offline") end
    return { printed = job.data.page, attempt = job.attempt }
  end,
}
