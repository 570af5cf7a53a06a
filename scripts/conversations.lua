-- A record of conversations that several readers follow, each at its own pace.
--
-- Messages come in by a webhook and are kept in one stream for each
-- conversation, "conversation:ID". Whoever is interested reads it: here the
-- group "answers" asks a service for a reply. Others (a search index, a log
-- for the staff) add groups of their own, and read all of it again if they
-- like, without this script knowing:
--
--   POST /hooks/conversations   {"conversation": "42", "id": "m1",
--                                "from": "ana", "text": "Hello"}
--     signed with the secret "conversations-hook" (X-Signature, hmac-sha256)
--
--   redis-cli XRANGE conversation:42 - +          what was said
--   redis-cli XINFO GROUPS conversation:42        who has read how far
--
-- The job only says that there is something to read. It is the batch that
-- waits until the guest has been quiet for a second; what it reads is
-- acknowledged once it is answered. When the daemon dies in between, or the
-- service is away, the entries stay pending: the next run claims them and
-- answers them with what came since, in their order.
--
-- When nobody else reads the conversation, this is more than you need: see
-- gather.lua, where the jobs themselves are the messages.
--
-- bellhop.conf:
--   config = { conversations = {
--     answer_url = "http://127.0.0.1:5678/webhook/answer";
--     keep = 1000;              messages of each conversation (1000)
--     days = 30;                and how long a quiet one is kept (30)
--   }; };
-- Secrets: "conversations-hook".

local cfg = config.conversations or {}
if not cfg.answer_url then
  error("config.conversations needs answer_url in bellhop.conf")
end

local GROUP, ME, US = "answers", "bellhop", "us"

-- The entries are stored before the sender is answered: a redelivery of one
-- message is the same job, and so one entry.
local function keep(jobs)
  for _, job in ipairs(jobs) do
    job:step("keep", function()
      return stream.add("conversation:" .. job.group, {
        from = job.data.from, text = job.data.text, message = job.data.id,
      }, { max_len = cfg.keep or 1000 })
    end)
  end
end

-- What nobody has answered, in order: what a consumer elsewhere has left for
-- five minutes (it has died), what an earlier run here has read, what is new.
local function unanswered(key)
  stream.autoclaim(key, GROUP, ME, "5m")
  local entries = stream.read_group(key, GROUP, ME, { pending = true })
  for _, e in ipairs(stream.read_group(key, GROUP, ME, { count = 200 })) do
    entries[#entries + 1] = e
  end
  local theirs = {}
  for _, e in ipairs(entries) do
    -- Trimmed before it was answered, or our own words.
    if e.deleted or e.data.from == US then
      stream.ack(key, GROUP, e)
    else
      theirs[#theirs + 1] = e
    end
  end
  return theirs
end

return {
  queue       = "conversations",
  concurrency = 20,
  attempts    = 8,
  timeout     = "60s",
  backoff     = { type = "exponential", delay = "2s", max = "5m", jitter = 0 },
  batch       = { max = 50, window = "10s", quiet = "1s" },

  hook = {
    name      = "conversations",
    secret    = "conversations-hook",
    signature = "hmac-sha256",
    header    = "X-Signature",

    accept = function(req)
      local m = req.json
      if type(m) ~= "table" or not m.conversation or not m.id then
        return nil
      end
      return { group = tostring(m.conversation),
        unique = "conversations-" .. m.conversation .. "-" .. m.id,
        unique_ttl = "1d",
        data = { id = m.id, from = m.from, text = m.text } }
    end,
  },

  perform_batch = function(jobs)
    local id = jobs[1].group
    local key = "conversation:" .. id
    stream.group(key, GROUP)
    keep(jobs)
    redis("EXPIRE", key, (cfg.days or 30) * 86400)

    local entries = unanswered(key)
    if #entries == 0 then return { messages = 0 } end
    local messages = json.array {}
    for i, e in ipairs(entries) do
      messages[i] = { from = e.data.from, text = e.data.text }
    end
    local res = http.post(cfg.answer_url, { timeout = "30s",
      json = { id = id .. "-" .. entries[#entries].id, conversation = id,
        messages = messages } })
    if res.status >= 400 then
      error("the answering service said " .. res.status)
    end
    local reply = res.json and res.json.reply
    if reply then stream.add(key, { from = US, text = reply }) end
    stream.ack(key, GROUP, entries)
    topic.publish("conversation." .. id, { reply = reply })
    return { messages = #entries }
  end,
}
