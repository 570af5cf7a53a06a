-- SPDX-License-Identifier: MIT
-- What Lua 5.1 has and 5.4 has not, and what must be able to yield: called
-- back functions run here, not inside of C, so that a long sort or gsub is cut
-- into slices. Called once, with the libraries that scripts will see and the
-- functions of C that are needed here; adds to the libraries.
local string, table, math, lib = ...
local type, error, pairs, next = type, error, pairs, next
local sub, find, c_gsub = string.sub, string.find, string.gsub
local unpack, c_sort, concat = table.unpack, table.sort, table.concat
local floor, tointeger = math.floor, math.tointeger
local where = lib.argerror

-- Lua 5.1's quicksort, so that equal elements come in the same order.
local function sort(a, l, u, lt)
  while l < u do
    if lt(a[u], a[l]) then a[l], a[u] = a[u], a[l] end
    if u - l == 1 then return end
    local i = (l + u) // 2
    if lt(a[i], a[l]) then
      a[i], a[l] = a[l], a[i]
    elseif lt(a[u], a[i]) then
      a[i], a[u] = a[u], a[i]
    end
    if u - l == 2 then return end
    local p = a[i]
    a[i], a[u - 1] = a[u - 1], a[i]
    i = l
    local j = u - 1
    while true do
      i = i + 1
      while lt(a[i], p) do
        if i > u then error("invalid order function for sorting", 0) end
        i = i + 1
      end
      j = j - 1
      while lt(p, a[j]) do
        if j < l then error("invalid order function for sorting", 0) end
        j = j - 1
      end
      if j < i then break end
      a[i], a[j] = a[j], a[i]
    end
    a[u - 1], a[i] = a[i], a[u - 1]
    if i - l < u - i then
      j, i, l = l, i - 1, i + 1
    else
      j, i, u = i + 1, u, i - 1
    end
    sort(a, j, i, lt)
  end
end

local function less(a, b) return a < b end

function table.sort(t, lt)
  if lt == nil then
    if type(t) ~= "table" or #t < 1000 then return c_sort(t) end
    lt = less
  end
  if type(t) ~= "table" then where(1, "sort", "table", t) end
  if type(lt) ~= "function" then where(2, "sort", "function", lt) end
  sort(t, 1, #t, lt)
end

local function replacement(s, b, e, made)
  if not made then return sub(s, b, e) end
  if type(made) ~= "string" and type(made) ~= "number" then
    error("invalid replacement value (a " .. type(made) .. ")", 3)
  end
  return made
end

local function gsub_calling(s, p, f, max)
  local at, count, n, out = 1, 0, 0, {}
  local anchored = sub(p, 1, 1) == "^"
  while count < max do
    local m = { find(s, p, at) }
    local b, e = m[1], m[2]
    if not b then break end
    local made
    if #m > 2 then made = f(unpack(m, 3)) else made = f(sub(s, b, e)) end
    count = count + 1
    n = n + 1
    out[n] = sub(s, at, b - 1)
    n = n + 1
    out[n] = replacement(s, b, e, made)
    if e >= b then
      at = e + 1
    else
      n = n + 1
      out[n] = sub(s, b, b)
      at = b + 1
    end
    if anchored or at > #s + 1 then break end
  end
  n = n + 1
  out[n] = sub(s, at)
  return concat(out), count
end

function string.gsub(s, p, repl, n)
  if type(s) == "number" then s = s .. "" end
  if type(s) ~= "string" or type(p) ~= "string" then
    return c_gsub(s, p, repl, n)
  end
  if n then n = floor(n) end
  if type(repl) == "function" then
    return gsub_calling(s, p, repl, n or #s + 1)
  end
  if type(repl) == "table" and lib.getmetatable(repl) then
    return gsub_calling(s, p, function(k) return repl[k] end, n or #s + 1)
  end
  return c_gsub(s, p, repl, n)
end

string.gfind = string.gmatch

-- Whole numbers are integers again, so that they are written without ".0".
local function whole(x)
  local i = tointeger(x)
  if i and i >= -9007199254740992 and i <= 9007199254740992 then return i end
  return x
end

function math.pow(x, y) return whole(x ^ y) end
function math.log10(x) return math.log(x, 10) end
function math.sinh(x) return (math.exp(x) - math.exp(-x)) / 2 end
function math.cosh(x) return (math.exp(x) + math.exp(-x)) / 2 end
function math.tanh(x)
  if x > 20 then return 1 elseif x < -20 then return -1 end
  local a, b = math.exp(x), math.exp(-x)
  return (a - b) / (a + b)
end
function math.ldexp(m, e) return m * 2.0 ^ e end
function math.frexp(x)
  if x == 0 or x ~= x or x == math.huge or x == -math.huge then
    return x, 0
  end
  local e, m = 0, x
  while m >= 1 or m <= -1 do m, e = m / 2, e + 1 end
  while m < 0.5 and m > -0.5 do m, e = m * 2, e - 1 end
  return m, e
end
math.atan2 = math.atan
local fmod, modf, sqrt = math.fmod, math.modf, math.sqrt
function math.fmod(x, y) return whole(fmod(x + 0.0, y + 0.0)) end
math.mod = math.fmod
function math.modf(x)
  local i, f = modf(x)
  return whole(i), f
end
function math.sqrt(x) return whole(sqrt(x)) end

function table.getn(t) return #t end
function table.maxn(t)
  local max = 0
  for k in next, t do
    if type(k) == "number" and k > max then max = k end
  end
  return max
end
function table.foreach(t, f)
  for k, v in next, t do
    local r = f(k, v)
    if r ~= nil then return r end
  end
end
function table.foreachi(t, f)
  for i = 1, #t do
    local r = f(i, t[i])
    if r ~= nil then return r end
  end
end
function table.setn() error("'setn' is obsolete", 2) end

-- load(f): the pieces that f gives.
function lib.load(f, name)
  if type(f) ~= "function" then where(1, "load", "function", f) end
  local parts = {}
  while true do
    local part = f()
    if part == nil or part == "" then break end
    if type(part) ~= "string" then
      return nil, "reader function must return a string"
    end
    parts[#parts + 1] = part
  end
  return lib.loadstring(concat(parts), name or "=(load)")
end
