-- People type in pieces: "Hello", "one question", "is the pool open?". Each
-- piece is a job of the queue "inbound", with the guest as its group:
--
--   bellhopctl add inbound '{"text": "Hello"}' --group guest.9
--
-- Here they are one call: as soon as the guest has been quiet for 3 seconds,
-- but no later than 15 seconds after the first piece. Guests do not wait for
-- each other, and each guest's calls come one after the other.

return {
  queue       = "inbound",
  concurrency = 20,
  timeout     = "30s",
  batch       = { max = 50, window = "15s", quiet = "3s" },

  perform_batch = function(jobs)
    local texts = {}
    for _, job in ipairs(jobs) do
      if type(job.data) == "table" and job.data.text then
        texts[#texts + 1] = job.data.text
      else
        job:fail("expected {text}")   -- this one alone; the others go on
      end
    end
    if #texts == 0 then return end
    queue.add("answers", { text = table.concat(texts, "\n") },
      { group = jobs[1].group, unique = "answer-" .. jobs[1].id })
    return { pieces = #texts }        -- the result of each of them
  end,
}
