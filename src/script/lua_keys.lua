-- SPDX-License-Identifier: MIT
-- The libraries of scripts that rest on keys: cache, session, limit, once,
-- lock, topic. Compiled into each state; lua_keys.c brings what is in "...".
--
-- What is stored: a string as it is, unless it would read as JSON; everything
-- else, and such a string, as JSON. So others see plain text in a key, and
-- get answers with what set was given.
local ipairs, max = ipairs, math.max
local ask, hold, fail, pack, unpack, span, token = ...
local pcall, error, type, sleep, min = pcall, error, type, sleep, math.min
local tpack, tunpack = table.pack, table.unpack
local tointeger = math.tointeger
local OUT = {}

local function key_of(what, prefix, key)
  local kind = type(key)
  if kind ~= "string" and kind ~= "number" then
    fail(what .. ": expected a key, a string, not " .. kind)
  end
  return prefix .. key
end

local function check_fn(what, fn)
  if type(fn) ~= "function" then
    fail(what .. ": expected a function, not " .. type(fn))
  end
end

-- Milliseconds, or nil when the span is missing and may be.
local function ttl_of(what, ttl, needed)
  local ms = span(what .. ": ttl", ttl)
  if ms == 0 then fail(what .. ": ttl: expected more than nothing") end
  if not ms and needed then fail(what .. ": the ttl is missing") end
  return ms
end

local function store(name, text, ms)
  if ms then ask("SET", name, text, "PX", ms) else ask("SET", name, text) end
end

local function load(name)
  local text = ask("GET", name)
  if text == nil then return nil end
  return unpack(text)
end

-- ------------------------------------------------------------------- cache

local cache = {}

function cache.get(key)
  return load(key_of("cache.get", "cache:", key))
end

function cache.set(key, value, ttl)
  local name = key_of("cache.set", "cache:", key)
  store(name, pack("cache.set", value), ttl_of("cache.set", ttl))
  return true
end

function cache.del(key)
  return ask("DEL", key_of("cache.del", "cache:", key)) == 1
end

-- A ttl counts from the first increment.
function cache.incr(key, by, ttl)
  local name = key_of("cache.incr", "cache:", key)
  local ms = ttl_of("cache.incr", ttl)
  by = tointeger(by == nil and 1 or by)
  if not by then fail("cache.incr: expected an integer to add") end
  local value = ask("INCRBY", name, by)
  if ms then ask("PEXPIRE", name, ms, "NX") end
  return value
end

-- Whoever comes first runs fn, everybody else who asks meanwhile, on whatever
-- thread, waits for its value; when it fails, the next one runs it.
function cache.fetch(key, ttl, fn)
  local name = key_of("cache.fetch", "cache:", key)
  local ms = ttl_of("cache.fetch", ttl)
  check_fn("cache.fetch", fn)
  local value = load(name)
  if value ~= nil then return value end
  local answer = ask("@JOIN", name)
  if answer[1] == "nil" then return nil end
  if answer[1] == "value" then return unpack(answer[2]) end
  local ok, err = pcall(function()
    value = load(name)          -- of the one before, who has just ended
    if value == nil then
      value = fn(key)
      if value ~= nil then store(name, pack("cache.fetch", value), ms) end
    end
    if value == nil then
      ask("@LAND", name, "nil")
    else
      ask("@LAND", name, "value", pack("cache.fetch", value))
    end
  end)
  if not ok then
    ask("@LAND", name, "failed")
    error(err, 0)
  end
  return value
end

-- ----------------------------------------------------------------- session

local session = {}
local SESSION_MS = 86400000

function session.get(id)
  return load(key_of("session.get", "session:", id))
end

function session.set(id, value, ttl)
  local name = key_of("session.set", "session:", id)
  if type(value) ~= "table" then
    fail("session.set: expected a table, not " .. type(value))
  end
  store(name, pack("session.set", value),
    ttl_of("session.set", ttl) or SESSION_MS)
  return true
end

function session.del(id)
  return ask("DEL", key_of("session.del", "session:", id)) == 1
end

function session.touch(id, ttl)
  local name = key_of("session.touch", "session:", id)
  return ask("PEXPIRE", name,
    ttl_of("session.touch", ttl) or SESSION_MS) == 1
end

-- ------------------------------------------------------------------- limit

local limit = {}

local function count_of(what, value)
  local n = tointeger(value)
  if not n then fail("limit.take: " .. what .. ": expected an integer") end
  return n
end

local function words_of(name, windows, quantity)
  local words = { "LIMIT.TAKE", name, quantity, #windows }
  for _, w in ipairs(windows) do
    if type(w) ~= "table" then
      fail("limit.take: expected windows such as { {80, \"1m\"} }")
    end
    local n = #words
    words[n + 1] = count_of("limit", w[1])
    words[n + 2] = span("limit.take: per", w[2])
      or fail("limit.take: a window has no time: { limit, per }")
    words[n + 3] = count_of("burst", w.burst or w[1])
  end
  return words
end

-- limit.take(key, limit, per [, opts]) or limit.take(key, windows [, opts])
function limit.take(key, windows, per, opts)
  local name = key_of("limit.take", "", key)
  if type(windows) == "table" then
    opts = per
  else
    windows = { { windows, per, burst = opts and opts.burst } }
  end
  local words = words_of(name, windows,
    count_of("quantity", opts and opts.quantity or 1))
  local answer = ask(tunpack(words))
  local info = { retry_after = 0, reset_after = 0, windows = {} }
  for i, w in ipairs(answer.windows) do
    local one = { limit = w.limit, remaining = w.remaining,
      reset_after = w.reset_ms / 1000 }
    if w.retry_ms >= 0 then
      one.retry_after = w.retry_ms / 1000
    elseif not answer.allowed then
      info.never = true          -- more than the window ever holds
    end
    info.windows[i] = one
    info.remaining = min(info.remaining or w.remaining, w.remaining)
    info.retry_after = max(info.retry_after, one.retry_after or 0)
    info.reset_after = max(info.reset_after, one.reset_after)
  end
  return answer.allowed, info
end

-- ------------------------------------------------------------- once and lock

-- Runs fn while the key, which has this token, is held. A run that is killed
-- gives its keys back too: the daemon knows what it holds.
local function run_holding(name, mine, fn, keep)
  local r = tpack(pcall(fn))
  if r[1] and keep then
    ask("@KEEP", name, mine)
  else
    ask("DELEX", name, "IFEQ", mine)
    ask("@KEEP", name, mine)
  end
  if not r[1] then error(r[2], 0) end
  return tunpack(r, 1, r.n)
end

function OUT.once(key, ttl, fn)
  local name = key_of("once", "once:", key)
  local ms = ttl_of("once", ttl, true)
  check_fn("once", fn)
  local mine = token()
  if not hold("SET", name, mine, "NX", "PX", ms) then return false end
  return run_holding(name, mine, fn, true)
end

-- Waits for as long as the ttl, or opts.wait (0: not at all); false when the
-- lock is not to be had.
function OUT.lock(key, ttl, fn, opts)
  local name = key_of("lock", "lock:", key)
  local ms = ttl_of("lock", ttl, true)
  check_fn("lock", fn)
  local left = span("lock: wait", opts and opts.wait) or ms
  local mine, pause = token(), 5
  while not hold("SET", name, mine, "NX", "PX", ms) do
    if left <= 0 then return false end
    pause = min(pause * 2, 250, left)
    sleep(pause / 1000)
    left = left - pause
  end
  return run_holding(name, mine, fn, false)
end

-- ------------------------------------------------------------------- topic

local topic = {}

function topic.publish(name, value)
  if type(value) ~= "string" then value = pack("topic.publish", value) end
  return ask("PUBLISH", key_of("topic.publish", "", name), value)
end

OUT.cache, OUT.session, OUT.limit, OUT.topic = cache, session, limit, topic
return OUT
