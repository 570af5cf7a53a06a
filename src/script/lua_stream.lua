-- SPDX-License-Identifier: MIT
-- stream.*: streams and consumer groups for scripts. Compiled into each state;
-- lua_keys.c brings what is in "...".
--
-- An entry is { id = "…", data = { field = value } }. A value is stored as
-- cache.set() stores it: a string as it is, unless it would read as JSON;
-- everything else as JSON.
local ask, fail, pack, unpack, span = ...
local ipairs, pairs, pcall, type = ipairs, pairs, pcall, type
local tostring, tointeger, error = tostring, math.tointeger, error
local unpack_words, find, sort = table.unpack, string.find, table.sort

local stream = {}
local WORDS = 40                -- ids of one command

-- --------------------------------------------------------------- arguments

local function name_of(what, field, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then
    fail(what .. ": " .. field .. ": expected a string, not " .. kind)
  end
  return tostring(value)
end

local function options(what, opts, known)
  if opts == nil then return {} end
  if type(opts) ~= "table" then
    fail(what .. ": expected a table of options, not " .. type(opts))
  end
  for name in pairs(opts) do
    if not known[name] then
      fail(what .. ": there is no option " .. tostring(name))
    end
  end
  return opts
end

local function count_of(what, field, value)
  local n = tointeger(value)
  if not n or n < 0 then
    fail(what .. ": " .. field .. ": expected an integer from 0 on")
  end
  return n
end

local function add(words, ...)
  for _, w in ipairs({ ... }) do words[#words + 1] = w end
end

local function put_count(what, words, opts)
  if opts.count then
    add(words, "COUNT", count_of(what, "count", opts.count))
  end
end

-- 0 is not to wait, as it is nowhere else for ever.
local function put_block(what, words, opts)
  local ms = span(what .. ": block", opts.block)
  if ms and ms > 0 then add(words, "BLOCK", ms) end
end

local function put_trim(what, words, opts)
  if opts.max_len then
    add(words, "MAXLEN", "=", count_of(what, "max_len", opts.max_len))
  elseif opts.min_id then
    add(words, "MINID", "=", name_of(what, "min_id", opts.min_id))
  end
end

-- Ids: one, an entry, or a list of these.
local function ids_of(what, ids)
  if type(ids) == "table" and ids.id == nil then
    local list = {}
    for i, id in ipairs(ids) do list[i] = ids_of(what, id)[1] end
    return list
  end
  if type(ids) == "table" then ids = ids.id end
  return { name_of(what, "id", ids) }
end

-- Several commands where one would have too many words.
local function each_part(ids, fn)
  for from = 1, #ids, WORDS do
    local part = {}
    for i = from, #ids < from + WORDS - 1 and #ids or from + WORDS - 1 do
      part[#part + 1] = ids[i]
    end
    fn(part)
  end
end

-- ----------------------------------------------------------------- answers

local function entry_of(e)
  if e[2] == nil then return { id = e[1], deleted = true } end
  local data = {}
  for i = 1, #e[2], 2 do data[e[2][i]] = unpack(e[2][i + 1]) end
  return { id = e[1], data = data }
end

local function entries_of(answer)
  local list = {}
  for i, e in ipairs(answer or {}) do list[i] = entry_of(e) end
  return list
end

-- Of one key, or a table of them by key.
local function read_of(answer, key)
  if key then return entries_of(answer and answer[key]) end
  local all = {}
  for name, entries in pairs(answer or {}) do
    all[name] = entries_of(entries)
  end
  return all
end

-- ----------------------------------------------------------------- entries

function stream.add(key, fields, opts)
  opts = options("stream.add", opts, { id = 1, max_len = 1, min_id = 1,
    create = 1 })
  if type(fields) ~= "table" then
    fail("stream.add: expected a table of fields, not " .. type(fields))
  end
  local words = { "XADD", name_of("stream.add", "key", key) }
  if opts.create == false then add(words, "NOMKSTREAM") end
  put_trim("stream.add", words, opts)
  add(words, opts.id and name_of("stream.add", "id", opts.id) or "*")
  local names = {}
  for name in pairs(fields) do
    names[#names + 1] = name_of("stream.add", "field", name)
  end
  if #names == 0 then fail("stream.add: there is no field") end
  sort(names)
  for _, name in ipairs(names) do
    local value = fields[name]
    if value == nil then value = fields[tointeger(name)] end
    add(words, name, pack("stream.add: " .. name, value))
  end
  return ask(unpack_words(words))
end

function stream.range(key, from, to, opts)
  opts = options("stream.range", opts, { count = 1, reverse = 1 })
  from = from and ids_of("stream.range", from)[1] or "-"
  to = to and ids_of("stream.range", to)[1] or "+"
  key = name_of("stream.range", "key", key)
  local words = opts.reverse and { "XREVRANGE", key, to, from } or
    { "XRANGE", key, from, to }
  put_count("stream.range", words, opts)
  return entries_of(ask(unpack_words(words)))
end

function stream.len(key)
  return ask("XLEN", name_of("stream.len", "key", key))
end

function stream.trim(key, opts)
  opts = options("stream.trim", opts, { max_len = 1, min_id = 1 })
  local words = { "XTRIM", name_of("stream.trim", "key", key) }
  put_trim("stream.trim", words, opts)
  if #words == 2 then fail("stream.trim: expected max_len or min_id") end
  return ask(unpack_words(words))
end

function stream.delete(key, ids)
  local n = 0
  key = name_of("stream.delete", "key", key)
  each_part(ids_of("stream.delete", ids), function(part)
    n = n + ask("XDEL", key, unpack_words(part))
  end)
  return n
end

-- Streams and where to begin in each: { key = id }, or a key and an id.
local function put_streams(what, words, key, after)
  if type(key) ~= "table" then
    add(words, "STREAMS", name_of(what, "key", key), after)
    return
  end
  local names = {}
  for name in pairs(key) do names[#names + 1] = name end
  if #names == 0 then fail(what .. ": there is no stream") end
  sort(names)
  add(words, "STREAMS")
  for _, name in ipairs(names) do add(words, name) end
  for _, name in ipairs(names) do
    add(words, ids_of(what, key[name])[1])
  end
end

-- stream.read(key [, after [, opts]]) or stream.read({ key = after }, opts)
function stream.read(key, after, opts)
  local many = type(key) == "table"
  if many then opts = after end
  opts = options("stream.read", opts, { count = 1, block = 1 })
  local words = { "XREAD" }
  put_count("stream.read", words, opts)
  put_block("stream.read", words, opts)
  put_streams("stream.read", words, key,
    not many and after and ids_of("stream.read", after)[1] or "0")
  return read_of(ask(unpack_words(words)), not many and tostring(key) or nil)
end

-- ------------------------------------------------------------------ groups

-- True when it was made, false when it was there.
function stream.group(key, group, opts)
  opts = options("stream.group", opts, { from = 1 })
  local ok, err = pcall(ask, "XGROUP", "CREATE",
    name_of("stream.group", "key", key),
    name_of("stream.group", "group", group),
    opts.from and ids_of("stream.group", opts.from)[1] or "0", "MKSTREAM")
  if not ok and not find(tostring(err), "BUSYGROUP", 1, true) then
    error(err, 0)
  end
  return ok
end

function stream.read_group(key, group, consumer, opts)
  local what = "stream.read_group"
  opts = options(what, opts, { count = 1, block = 1, pending = 1, ack = 1 })
  local after = ">"
  if opts.pending then
    after = opts.pending == true and "0" or ids_of(what, opts.pending)[1]
  end
  local words = { "XREADGROUP", "GROUP", name_of(what, "group", group),
    name_of(what, "consumer", consumer) }
  put_count(what, words, opts)
  put_block(what, words, opts)
  if opts.ack == false then add(words, "NOACK") end
  put_streams(what, words, name_of(what, "key", key), after)
  return read_of(ask(unpack_words(words)), tostring(key))
end

function stream.ack(key, group, ids)
  local n = 0
  key = name_of("stream.ack", "key", key)
  group = name_of("stream.ack", "group", group)
  each_part(ids_of("stream.ack", ids), function(part)
    n = n + ask("XACK", key, group, unpack_words(part))
  end)
  return n
end

local function idle_of(what, idle)
  return span(what .. ": idle", idle) or fail(what .. ": idle is missing")
end

function stream.claim(key, group, consumer, idle, ids)
  local what, list = "stream.claim", {}
  key = name_of(what, "key", key)
  group = name_of(what, "group", group)
  consumer = name_of(what, "consumer", consumer)
  local ms = idle_of(what, idle)
  each_part(ids_of(what, ids), function(part)
    for _, e in ipairs(entries_of(ask("XCLAIM", key, group, consumer, ms,
      unpack_words(part)))) do
      list[#list + 1] = e
    end
  end)
  return list
end

-- Entries, where to go on (nil: that was all), ids of deleted entries.
function stream.autoclaim(key, group, consumer, idle, opts)
  local what = "stream.autoclaim"
  opts = options(what, opts, { count = 1, from = 1 })
  local words = { "XAUTOCLAIM", name_of(what, "key", key),
    name_of(what, "group", group), name_of(what, "consumer", consumer),
    idle_of(what, idle), opts.from and ids_of(what, opts.from)[1] or "0" }
  put_count(what, words, opts)
  local answer = ask(unpack_words(words))
  local next_id = answer[1] ~= "0-0" and answer[1] or nil
  return entries_of(answer[2]), next_id, answer[3]
end

local function summary(key, group)
  local answer = ask("XPENDING", key, group)
  local ret = { count = answer[1], first = answer[2], last = answer[3],
    consumers = {} }
  for _, c in ipairs(answer[4] or {}) do
    ret.consumers[c[1]] = tointeger(c[2])
  end
  return ret
end

function stream.pending(key, group, opts)
  local what = "stream.pending"
  key = name_of(what, "key", key)
  group = name_of(what, "group", group)
  if opts == nil then return summary(key, group) end
  options(what, opts, { count = 1, from = 1, to = 1, idle = 1, consumer = 1 })
  local words, list = { "XPENDING", key, group }, {}
  if opts.idle then add(words, "IDLE", idle_of(what, opts.idle)) end
  add(words, opts.from and ids_of(what, opts.from)[1] or "-",
    opts.to and ids_of(what, opts.to)[1] or "+",
    opts.count and count_of(what, "count", opts.count) or 100)
  if opts.consumer then
    add(words, name_of(what, "consumer", opts.consumer))
  end
  for i, p in ipairs(ask(unpack_words(words))) do
    list[i] = { id = p[1], consumer = p[2], idle = p[3] / 1000,
      deliveries = p[4] }
  end
  return list
end

return stream
