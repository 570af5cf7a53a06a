-- Has a bug on purpose: the field is called rate. demo.sh mends it.
return {
  queue    = "invoice",
  attempts = 2,
  backoff  = { type = "fixed", delay = "100ms" },
  perform  = function(job)
    local total = job.data.nights * job.data.price
    return { room = job.data.room, total = total }
  end,
}
