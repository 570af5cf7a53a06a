-- SPDX-License-Identifier: MIT
-- Streams in the store of specs: what stream.* asks for, with groups. Nothing
-- waits: BLOCK answers at once.
local store, live, now = ...
local ipairs, pairs, tonumber, tostring = ipairs, pairs, tonumber, tostring
local remove, sort, insert = table.remove, table.sort, table.insert
local next = next

-- Ids as { ms, seq }, compared as numbers.
local function parse(text, seq)
  if text == "-" then return { 0, 0 } end
  if text == "+" then return { math.maxinteger, math.maxinteger } end
  local ms, s = text:match("^(%d+)-?(%d*)$")
  if not ms then return nil end
  return { math.tointeger(tonumber(ms)), math.tointeger(tonumber(s)) or seq }
end

local function less(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

local function text_of(id) return id[1] .. "-" .. id[2] end

local function stream_of(t, name, make)
  local e = live(t, name)
  if not e and make then
    e = { value = "", stream = { entries = {}, groups = {}, last = { 0, 0 } } }
    t.keys[name] = e
  end
  return e and e.stream
end

local function trim(s, how, limit)
  local n = 0
  while #s.entries > 0 and ((how == "MAXLEN" and #s.entries > tonumber(limit))
    or (how == "MINID" and less(s.entries[1].id, parse(limit, 0)))) do
    remove(s.entries, 1)
    n = n + 1
  end
  return n
end

store.XADD = function(t, w)
  local i, how, limit, make = 3, nil, nil, true
  while true do
    if w[i] == "NOMKSTREAM" then make, i = false, i + 1
    elseif w[i] == "MAXLEN" or w[i] == "MINID" then
      how, limit, i = w[i], w[i + 2], i + 3
    else break end
  end
  local s = stream_of(t, w[2], make)
  if not s then return nil end
  local id = w[i] == "*" and { now(), 0 } or parse(w[i], 0)
  if w[i] == "*" and not less(s.last, id) then
    id = { s.last[1], s.last[2] + 1 }
  end
  if not less(s.last, id) then
    return { err = "ERR The ID specified in XADD is equal or smaller than"
      .. " the target stream top item" }
  end
  local fields = {}
  for at = i + 1, #w do fields[#fields + 1] = tostring(w[at]) end
  s.last = id
  insert(s.entries, { id = id, fields = fields })
  trim(s, how, limit)
  return text_of(id)
end

store.XLEN = function(t, w)
  local s = stream_of(t, w[2])
  return s and #s.entries or 0
end

store.XTRIM = function(t, w)
  local s = stream_of(t, w[2])
  return s and trim(s, w[3], w[5]) or 0
end

store.XDEL = function(t, w)
  local s, n = stream_of(t, w[2]), 0
  for i = 3, #w do
    for at, e in ipairs(s and s.entries or {}) do
      if text_of(e.id) == w[i] then
        remove(s.entries, at)
        n = n + 1
        break
      end
    end
  end
  return n
end

local function shown(e) return { text_of(e.id), e.fields } end

local function count_in(w)
  for i, word in ipairs(w) do
    if word == "COUNT" then return tonumber(w[i + 1]) end
  end
  return math.maxinteger
end

local function range(t, w, from, to)
  local s, list = stream_of(t, w[2]), {}
  for _, e in ipairs(s and s.entries or {}) do
    if not less(e.id, from) and not less(to, e.id) then
      list[#list + 1] = shown(e)
    end
  end
  return list
end

local function first(list, n)
  while #list > n do remove(list) end
  return list
end

store.XRANGE = function(t, w)
  return first(range(t, w, parse(w[3], 0), parse(w[4], math.maxinteger)),
    count_in(w))
end

store.XREVRANGE = function(t, w)
  local list, back = range(t, w, parse(w[4], 0),
    parse(w[3], math.maxinteger)), {}
  for i = #list, 1, -1 do back[#back + 1] = list[i] end
  return first(back, count_in(w))
end

-- Keys and ids behind STREAMS.
local function streams_in(w)
  for i, word in ipairs(w) do
    if word == "STREAMS" then
      local n, list = (#w - i) // 2, {}
      for k = 1, n do list[k] = { w[i + k], w[i + n + k] } end
      return list
    end
  end
end

local function some(all) return next(all) and { map = all } or nil end

store.XREAD = function(t, w)
  local all = {}
  for _, x in ipairs(streams_in(w)) do
    local s = stream_of(t, x[1])
    local after = s and (x[2] == "$" and s.last or parse(x[2], 0))
    local list = {}
    for _, e in ipairs(s and s.entries or {}) do
      if less(after, e.id) and #list < count_in(w) then
        list[#list + 1] = shown(e)
      end
    end
    if #list > 0 then all[x[1]] = list end
  end
  return some(all)
end

-- ------------------------------------------------------------------ groups

local function group_of(t, key, name)
  local s = stream_of(t, key)
  local g = s and s.groups[name]
  if g then return g, s end
  return nil, nil, { err = ("NOGROUP No such key '%s' or consumer group '%s'")
    :format(key, name) }
end

store.XGROUP = function(t, w)
  local s = stream_of(t, w[3], true)
  if s.groups[w[4]] then
    return { err = "BUSYGROUP Consumer Group name already exists" }
  end
  s.groups[w[4]] = { last = w[5] == "$" and s.last or parse(w[5], 0),
    pending = {} }
  return "OK"
end

local function find(list, id)
  for at, e in ipairs(list) do
    if not less(e.id, id) and not less(id, e.id) then return e, at end
  end
end

local function pend(g, e, consumer)
  local p = find(g.pending, e.id)
  if not p then
    p = { id = e.id, n = 0 }
    insert(g.pending, p)
    sort(g.pending, function(a, b) return less(a.id, b.id) end)
  end
  p.consumer, p.at, p.n = consumer, now(), p.n + 1
end

store.XREADGROUP = function(t, w)
  local x, no_ack, list = streams_in(w)[1], false, {}
  local g, s, err = group_of(t, x[1], w[3])
  if err then return err end
  for _, word in ipairs(w) do no_ack = no_ack or word == "NOACK" end
  local old = x[2] ~= ">" and parse(x[2], 0)
  for _, e in ipairs(s.entries) do
    local mine = find(g.pending, e.id)
    if #list == count_in(w) then break end
    if old and mine and mine.consumer == w[4] and less(old, e.id) then
      pend(g, e, w[4])
      list[#list + 1] = shown(e)
    elseif not old and less(g.last, e.id) then
      g.last = e.id
      if not no_ack then pend(g, e, w[4]) end
      list[#list + 1] = shown(e)
    end
  end
  if #list == 0 and not old then return nil end
  return { map = { [x[1]] = list } }
end

store.XACK = function(t, w)
  local g, n = group_of(t, w[2], w[3]), 0
  for i = 4, #w do
    local _, at = find(g and g.pending or {}, parse(w[i], 0))
    if at then
      remove(g.pending, at)
      n = n + 1
    end
  end
  return n
end

store.XCLAIM = function(t, w)
  local g, s, err = group_of(t, w[2], w[3])
  if err then return err end
  local list = {}
  for i = 6, #w do
    local id = parse(w[i], 0)
    local p, e = find(g.pending, id), find(s.entries, id)
    if p and e and now() - p.at >= tonumber(w[5]) then
      pend(g, e, w[4])
      list[#list + 1] = shown(e)
    end
  end
  return list
end

store.XAUTOCLAIM = function(t, w)
  local g, s, err = group_of(t, w[2], w[3])
  if err then return err end
  local list, gone, from = {}, {}, parse(w[6], 0)
  local left = count_in(w) == math.maxinteger and 100 or count_in(w)
  for at = #g.pending, 1, -1 do
    if not find(s.entries, g.pending[at].id) then
      insert(gone, 1, text_of(g.pending[at].id))
      remove(g.pending, at)
    end
  end
  for _, p in ipairs(g.pending) do
    if not less(p.id, from) and now() - p.at >= tonumber(w[5]) then
      if #list == left then return { text_of(p.id), list, gone } end
      local e = find(s.entries, p.id)
      pend(g, e, w[4])
      list[#list + 1] = shown(e)
    end
  end
  return { "0-0", list, gone }
end

store.XPENDING = function(t, w)
  local g, _, err = group_of(t, w[2], w[3])
  if err then return err end
  if #w == 3 then
    local by, names, list = {}, {}, {}
    for _, p in ipairs(g.pending) do
      by[p.consumer] = (by[p.consumer] or 0) + 1
    end
    for name in pairs(by) do names[#names + 1] = name end
    sort(names)
    for i, name in ipairs(names) do list[i] = { name, tostring(by[name]) } end
    if #g.pending == 0 then return { 0 } end
    return { #g.pending, text_of(g.pending[1].id),
      text_of(g.pending[#g.pending].id), list }
  end
  local at = w[4] == "IDLE" and 6 or 4
  local idle, list = w[4] == "IDLE" and tonumber(w[5]) or 0, {}
  local from, to = parse(w[at], 0), parse(w[at + 1], math.maxinteger)
  for _, p in ipairs(g.pending) do
    if not less(p.id, from) and not less(to, p.id)
      and now() - p.at >= idle and #list < tonumber(w[at + 2])
      and (not w[at + 3] or w[at + 3] == p.consumer) then
      list[#list + 1] = { text_of(p.id), p.consumer, now() - p.at, p.n }
    end
  end
  return list
end
