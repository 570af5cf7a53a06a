-- Guests write to Chatwoot, a service of yours answers, Chatwoot sends it.
--
-- In Chatwoot, add a webhook for message_created (Settings, Integrations,
-- Webhooks) with the address https://YOUR-HOST/hooks/chatwoot, and put its
-- secret into the secret "chatwoot-hook". Chatwoot signs since 4.11.2; for
-- an older one set unsigned = true and append ?token=SECRET to the address,
-- with a secret of your own choice.
--
-- Guests write in bits. The messages that a guest writes within two seconds
-- go to your service in one request, in their order:
--
--   POST answer_url  {"id": "chatwoot-1-42-7", "account": 1,
--                     "conversation": 42, "contact": {…},
--                     "messages": [{"id": 7, "text": "Hello"}, …]}
--
-- It answers {"reply": "text"}, or {} when nothing is to be said, or
-- {"handoff": true} to open the conversation for your staff.
--
-- bellhop.conf:
--   config = { chatwoot = {
--     url = "https://chat.hotel.example";
--     answer_url = "http://127.0.0.1:5678/webhook/answer";   n8n, for example
--     pending_only = true;      leave alone what your staff has opened (false)
--     unsigned = false;         the token stands in the address
--   }; };
-- Secrets: "chatwoot-hook" (above), "chatwoot-api" (the access token of an
-- agent bot or an agent), "chatwoot-answer" (sent to your service as a bearer
-- token; without the file it gets none).

local cfg = config.chatwoot or {}
if not cfg.url or not cfg.answer_url then
  error("config.chatwoot needs url and answer_url in bellhop.conf")
end

-- What an answer means, in one place: a status of 400 and more ends the try.
local function check(res, who)
  if res.status < 400 then return res.json or {} end
  local why = who .. " answered " .. res.status
  if res.status < 500 and res.status ~= 429 and res.status ~= 408 then
    error({ final = why }, 0)
  end
  error({ after = res.retry_after, why = why }, 0)
end

local function ask(first, messages)
  local ok, token = pcall(secret, "chatwoot-answer")
  return check(http.post(cfg.answer_url, {
    timeout = "60s",
    headers = { Authorization = ok and "Bearer " .. token or nil },
    json = {
      -- The same again when this is tried again.
      id = ("chatwoot-%s-%s"):format(first.group, messages[1].id),
      account = first.data.account, conversation = first.data.conversation,
      contact = first.data.contact, messages = messages,
    },
  }), "the answering service")
end

local function tell_chatwoot(d, path, body)
  local res = check(http.post(
    ("%s/api/v1/accounts/%d/conversations/%d/%s"):format(cfg.url, d.account,
      d.conversation, path),
    { json = body, timeout = "20s",
      headers = { api_access_token = secret("chatwoot-api") } }), "Chatwoot")
  return { id = type(res) == "table" and res.id or nil }
end

-- Each step is done once, whatever happens between them: the service is not
-- asked again because Chatwoot was away, and no reply is posted twice.
local function answer(jobs)
  local first, messages = jobs[1], json.array {}

  -- What was answered together stays together: a message that comes while
  -- this is tried again waits for the next answer.
  local count = first:step("count", function() return #jobs end)
  for i, job in ipairs(jobs) do
    if i <= count then
      messages[i] = { id = job.data.id, text = job.data.text,
        attachments = job.data.attachments }
    else
      job:snooze("100ms", "for the next answer")
    end
  end

  local said = first:step("answer", function() return ask(first, messages) end)
  local posted
  if type(said.reply) == "string" and said.reply ~= "" then
    posted = first:step("reply", function()
      return tell_chatwoot(first.data, "messages",
        { content = said.reply, message_type = "outgoing", private = false })
    end)
  end
  if said.handoff then
    first:step("handoff", function()
      return tell_chatwoot(first.data, "toggle_status", { status = "open" })
    end)
  end
  return { messages = #messages, reply = posted and posted.id }
end

local hook = {
  name      = "chatwoot",
  secret    = "chatwoot-hook",
  header    = "X-Chatwoot-Signature",
  payload   = "{timestamp}.{body}",
  timestamp = { header = "X-Chatwoot-Timestamp" },
  delivery  = "X-Chatwoot-Delivery",

  accept = function(req)
    local m = req.json
    if m.event ~= "message_created" or m.message_type ~= "incoming"
      or m.private then
      return nil
    end
    if cfg.pending_only and m.conversation.status ~= "pending" then
      return nil
    end

    local files = json.array {}
    for i, a in ipairs(m.attachments or {}) do
      files[i] = { type = a.file_type, url = a.data_url }
    end
    local text = type(m.content) == "string" and m.content or ""
    if text == "" and #files == 0 then return nil end

    local account, conversation = m.account.id, m.conversation.id
    return {
      group = account .. "-" .. conversation,
      -- Two webhooks, or an old Chatwoot without delivery ids, may tell of
      -- one message twice.
      unique = ("chatwoot-%s-%s"):format(account, m.id), unique_ttl = "1d",
      data = { account = account, conversation = conversation, id = m.id,
        text = text, attachments = files,
        contact = m.sender and { id = m.sender.id, name = m.sender.name } },
    }
  end,
}

if cfg.unsigned then
  hook.signature, hook.query = "token", "token"
  hook.header, hook.payload, hook.timestamp = nil, nil, nil
end

return {
  queue       = "chatwoot",
  concurrency = 20,
  attempts    = 8,
  timeout     = "100s",

  -- No jitter: what has failed together comes again together.
  backoff     = { type = "exponential", delay = "2s", max = "5m", jitter = 0 },
  batch       = { max = 50, window = "2s" },
  hook        = hook,

  perform_batch = function(jobs)
    local ok, r = pcall(answer, jobs)
    if ok then return r end
    if type(r) ~= "table" then error(r, 0) end
    for _, job in ipairs(jobs) do
      if r.final then job:fail(r.final) else job:retry(r.after, r.why) end
    end
  end,
}
