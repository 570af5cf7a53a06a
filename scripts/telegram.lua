-- Telegram messages out, by a bot.
--
--   bellhopctl add outbound.telegram --group 4711 \
--       '{"chat": 4711, "text": "A guest is at the door."}'
--
-- What a job may have besides chat and text: what sendMessage of the Bot API
-- knows (parse_mode, reply_markup, disable_notification, …).
--
-- The group is the chat: its messages stay in order and keep to Telegram's
-- limit of one a second. All together keep to 30 a second, and a group of
-- people (its id is negative) gets at most 20 a minute.
--
-- bellhop.conf, only for a Bot API server of your own:
--   config = { telegram = { url = "https://api.telegram.org"; }; };
-- Secret "telegram": the token of the bot, from @BotFather.

local url = config.telegram and config.telegram.url or "https://api.telegram.org"

-- The token is part of the address: it must not get into errors and logs.
local function call(method, body)
  local res, err = http.post(("%s/bot%s/%s"):format(url, secret("telegram"),
    method), { json = body, timeout = "20s", raise = false })
  if not res then
    error("Telegram: " .. err:gsub("/bot[^/]*/", "/bot…/"), 0)
  end
  return res, type(res.json) == "table" and res.json or {}
end

local function message_of(data)
  local message = {}
  for k, v in pairs(data) do message[k] = v end
  message.chat, message.chat_id = nil, data.chat
  return message
end

-- 25 a second and 5 at once are never more than 30 in a second.
local function take_turn(job)
  local ok, info = limit.take("telegram", 25, "1s", { burst = 5 })
  while not ok do
    sleep(info.retry_after)
    ok, info = limit.take("telegram", 25, "1s", { burst = 5 })
  end
  if tostring(job.data.chat):sub(1, 1) == "-" then
    ok, info = limit.take("telegram:" .. job.data.chat, 15, "1m", { burst = 5 })
    if not ok then job:snooze(info.retry_after, "20 a minute for a group") end
  end
end

return {
  queue       = "outbound.telegram",
  concurrency = 20,
  attempts    = 8,
  backoff     = { type = "exponential", delay = "2s", max = "10m" },
  timeout     = "60s",
  rate        = { limit = 1, per = "1s", burst = 1, by = "group" },

  perform = function(job)
    local data = job.data
    if type(data) ~= "table" or not data.chat or not data.text then
      job:fail("expected {chat, text}")
    end

    take_turn(job)
    local res, answer = call("sendMessage", message_of(data))
    if res.status == 200 and answer.ok then
      return { message = answer.result.message_id }
    end

    local more = answer.parameters or {}
    local why = ("Telegram answered %d: %s"):format(res.status,
      answer.description or "no reason")
    if res.status == 429 then
      -- Telegram says when in its JSON. It is this chat that has to wait; the
      -- message is not to blame and loses no attempt.
      job:snooze(more.retry_after or res.retry_after or "5s", why)
    elseif more.migrate_to_chat_id then
      job:fail(("the chat has a new id: %d"):format(more.migrate_to_chat_id))
    elseif res.status == 401 then
      queue.hold(job.queue, "5m", "the token of the bot is not accepted")
      job:snooze("5m", why)
    elseif res.status >= 500 then
      error(why, 0)
    end
    job:fail(why)            -- the bot was blocked, there is no such chat, …
  end,
}
