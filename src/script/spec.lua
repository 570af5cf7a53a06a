-- SPDX-License-Identifier: MIT
-- What a file of specs sees: spec(name, function(t) … end), and t. The first
-- argument is what spec.c offers, the second the path of the file.
local native, path = ...
local error, ipairs, pairs, pcall, type, tostring =
  error, ipairs, pairs, pcall, type, tostring
local dir, base = path:match("^(.*)/([^/]*)$")
if not dir then dir, base = ".", path end
local specs, current = {}, nil

-- ---------------------------------------------------------------- failures

-- A value for people: JSON where it goes, keys in order.
local function show(v, depth)
  depth = depth or 0
  if type(v) == "string" then return ("%q"):format(v):gsub("\\\n", "\\n") end
  if type(v) ~= "table" or depth > 6 then
    return v == json.null and "null" or tostring(v)
  end
  local keys, parts = {}, {}
  for k in pairs(v) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and type(a) ~= "boolean" then return a < b end
    return tostring(a) < tostring(b)
  end)
  for i, k in ipairs(keys) do
    local text = show(v[k], depth + 1)
    if k == i then parts[i] = text
    else parts[i] = tostring(k) .. " = " .. text end
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

-- error() gives tables no position: the message is made by a first error.
local function failing(level, text)
  local _, where = pcall(error, "", level + 2)
  error({ failure = where .. text }, 0)
end

-- A word that is misspelt would be a spec that proves nothing.
local function known(level, what, given, words)
  for k in pairs(given) do
    if type(k) ~= "string" or not (" " .. words .. " "):find(
        " " .. k .. " ", 1, true) then
      failing(level + 1, ("%s: unknown field '%s'; there are %s"):format(what,
        tostring(k), words))
    end
  end
end

local function ms_of(v) return v and native.span(v) or 0 end

-- --------------------------------------------------------------- the store

local function live(t, key)
  local e = t.keys[key]
  if e and e.till and e.till <= native.now() then
    t.keys[key], e = nil, nil
  end
  return e
end

-- Options of JOB.ADD, in lower case; number words stay text.
local pairs_of_words = { PRIORITY = 1, DELAY = 1, AT = 1, EXPIRES = 1,
  ATTEMPTS = 1, TIMEOUT = 1, GROUP = 1, LEASE = 1, MAX_STALLED = 1,
  UNIQUE = 1, TTL = 1, MODE = 1, RETAIN = 1, FACTOR = 1, MAX = 1, JITTER = 1,
  BACKOFF = 2 }
local numbers = { priority = true, delay = true, at = true, expires = true,
  attempts = true, timeout = true, lease = true, max_stalled = true,
  retain = true, ttl = true }

local function add_job(t, words, first, last)
  t.next_id = t.next_id + 1
  local job = { id = tostring(t.next_id), queue = words[first],
    body = words[first + 1], state = "waiting" }
  local ok, data = pcall(json.decode, job.body)
  if ok then job.data = data end
  local i = first + 2
  while i <= (last or #words) do
    local word = words[i]:upper()
    local n = pairs_of_words[word]
    if not n then break end
    local name, value = word:lower(), words[i + 1]
    job[name] = numbers[name] and math.tointeger(tonumber(value)) or value
    if n == 2 then job.backoff_delay = tonumber(words[i + 2]) end
    i = i + 1 + n
  end
  if job.unique then
    for _, j in ipairs(t.added) do
      if j.queue == job.queue and j.unique == job.unique then
        return j.id, i
      end
    end
  end
  if job.delay and job.delay > 0 then
    job.state, job.run_at = "delayed", native.now() + job.delay
  elseif job.at then
    job.state, job.run_at = "delayed", job.at
  end
  t.added[#t.added + 1] = job
  return job.id, i
end

local store = {}

store["JOB.ADD"] = function(t, w) return (add_job(t, w, 2)) end

-- JOB.MADD queue n payload … options: the same options for all.
store["JOB.MADD"] = function(t, w)
  local n, ids = tonumber(w[3]), {}
  for i = 1, n do
    local one = { "", w[2], w[3 + i] }
    for j = 4 + n, #w do one[#one + 1] = w[j] end
    ids[i] = add_job(t, one, 2)
  end
  return ids
end

-- JOB.MPUT n (queue payload k [k words of options])×n
store["JOB.MPUT"] = function(t, w)
  local at, out = 3, {}
  for i = 1, tonumber(w[2]) do
    local k, before = tonumber(w[at + 2]), #t.added
    local one = { "", w[at], w[at + 1] }
    for j = at + 3, at + 2 + k do one[#one + 1] = w[j] end
    local id = add_job(t, one, 2)
    out[i] = { map = { id = id, queue = w[at], state = "waiting",
      duplicate = #t.added == before } }
    at = at + 3 + k
  end
  return out
end

store["JOB.GET"] = function(t, w)
  for _, j in ipairs(t.added) do
    if j.id == w[2] then
      return { map = { id = j.id, queue = j.queue, state = j.state,
        payload = j.body, group = j.group, priority = j.priority or 5 } }
    end
  end
end

store["JOB.PROGRESS"] = function(t, w)
  local text = w[2]
  t.progress[#t.progress + 1] = tonumber(text) or text
  return true
end

store["JOB.STEP"] = function(t, w)
  local ok, value = pcall(json.decode, w[3])
  t.steps[#t.steps + 1] = { name = w[2], json = w[3],
    value = ok and value or nil }
  return true
end

store["QUEUE.STATS"] = function(t, w)
  local s = { paused = t.paused[w[2]] or false }
  for _, name in ipairs { "waiting", "delayed", "active", "completed",
    "failed", "oldest_waiting_ms", "processed_total", "failed_total",
    "stalled_total", "p50_ms", "p95_ms", "p99_ms" } do s[name] = 0 end
  for _, j in ipairs(t.added) do
    if j.queue == w[2] then s[j.state] = s[j.state] + 1 end
  end
  return { map = s }
end

store["QUEUE.PAUSE"] = function(t, w) t.paused[w[2]] = true return "OK" end
store["QUEUE.RESUME"] = function(t, w) t.paused[w[2]] = nil return "OK" end
store["QUEUE.HOLD"] = function(t, w)
  t.held_queues[w[2]] = { ms = tonumber(w[3]), reason = w[4] }
  return "OK"
end

store.GET = function(t, w)
  local e = live(t, w[2])
  return e and e.value
end

store.SET = function(t, w)
  local old, till, get = live(t, w[2]), nil, false
  local i = 4
  while i <= #w do
    local word = w[i]:upper()
    if word == "NX" and old then return nil end
    if word == "XX" and not old then return nil end
    if word == "GET" then get = true end
    if word == "KEEPTTL" then till = old and old.till end
    if word == "PX" then till = native.now() + w[i + 1]; i = i + 1 end
    if word == "EX" then till = native.now() + 1000 * w[i + 1]; i = i + 1 end
    i = i + 1
  end
  t.keys[w[2]] = { value = w[3], till = till and till // 1 | 0 }
  if get then return old and old.value end
  return "OK"
end

store.DEL = function(t, w)
  local n = 0
  for i = 2, #w do
    if live(t, w[i]) then n = n + 1 end
    t.keys[w[i]] = nil
  end
  return n
end
store.UNLINK = store.DEL

store.EXISTS = function(t, w)
  local n = 0
  for i = 2, #w do if live(t, w[i]) then n = n + 1 end end
  return n
end

store.DELEX = function(t, w)
  local e = live(t, w[2])
  if not e or (w[3] and w[3]:upper() == "IFEQ" and e.value ~= w[4]) then
    return 0
  end
  t.keys[w[2]] = nil
  return 1
end

store.INCRBY = function(t, w)
  local e = live(t, w[2]) or { value = "0" }
  local v = math.tointeger(tonumber(e.value))
  if not v then return { err = "ERR value is not an integer or out of range" }
  end
  v = v + math.tointeger(tonumber(w[3]))
  t.keys[w[2]] = { value = tostring(v), till = e.till }
  return v
end
store.INCR = function(t, w) return store.INCRBY(t, { "", w[2], 1 }) end
store.DECR = function(t, w) return store.INCRBY(t, { "", w[2], -1 }) end

store.PEXPIRE = function(t, w)
  local e = live(t, w[2])
  if not e or (w[4] == "NX" and e.till) then return 0 end
  e.till = native.now() + math.tointeger(tonumber(w[3]))
  return 1
end
store.EXPIRE = function(t, w)
  return store.PEXPIRE(t, { "", w[2], 1000 * w[3] // 1 | 0, w[4] })
end

store.PTTL = function(t, w)
  local e = live(t, w[2])
  if not e then return -2 end
  return e.till and e.till - native.now() or -1
end
store.TTL = function(t, w)
  local ms = store.PTTL(t, w)
  return ms < 0 and ms or (ms + 500) // 1000
end

-- Token buckets: LIMIT.TAKE key quantity n (limit per burst) …
store["LIMIT.TAKE"] = function(t, w)
  local quantity, n = tonumber(w[3]), tonumber(w[4])
  local now, windows, allowed = native.now(), {}, true
  for i = 1, n do
    local at = 5 + 3 * (i - 1)
    local limit, per, burst = tonumber(w[at]), tonumber(w[at + 1]),
      tonumber(w[at + 2])
    local id = w[2] .. "\0" .. i
    local b = t.buckets[id] or { tokens = burst, at = now }
    b.tokens = math.min(burst, b.tokens + (now - b.at) * limit / per)
    b.at = now
    t.buckets[id] = b
    windows[i] = { bucket = b, limit = limit, per = per, burst = burst }
    if b.tokens < quantity then allowed = false end
  end
  local out = {}
  for i, x in ipairs(windows) do
    local b = x.bucket
    local short = quantity - b.tokens
    if allowed then b.tokens = b.tokens - quantity end
    out[i] = { map = { limit = x.limit, remaining = b.tokens // 1 | 0,
      reset_ms = math.ceil((x.burst - b.tokens) * x.per / x.limit),
      retry_ms = (allowed or quantity > x.burst) and -1
        or math.max(0, math.ceil(short * x.per / x.limit)) } }
  end
  return { map = { allowed = allowed, windows = out } }
end

store.PUBLISH = function(t, w)
  local ok, data = pcall(json.decode, w[3])
  t.messages[#t.messages + 1] = { topic = w[2], body = w[3],
    data = ok and data or w[3] }
  return 0
end

-- cache.fetch: nobody else runs it here.
store["@JOIN"] = function() return { "run" } end

native.streams(store, live, native.now)

local function ask(words)
  local t = current
  t.asked[#t.asked + 1] = words
  local own = t.answers[words[1]]
  if own ~= nil then
    if type(own) == "function" then return own(words) end
    return own
  end
  local fn = store[words[1]]
  if fn then return fn(t, words) end
  return "OK"
end

-- ------------------------------------------------------------------- calls

local function headers_of(lines)
  local h = {}
  for line in lines:gmatch("[^\0]+") do
    local name, value = line:match("^([^:;]+)[:;]%s?(.*)$")
    if name then h[name:lower()] = value end
  end
  return h
end

local function on_http(c)
  local t = current
  local r = { method = c.method, url = c.url, body = c.body or "",
    headers = headers_of(c.lines) }
  local ok, data = pcall(json.decode, r.body)
  if ok then r.json = data end
  t.sent[#t.sent + 1] = r
  local found
  for _, a in ipairs(t.declared) do
    if a.method == c.method and a.left > 0 and (a.url == c.url
      or native.glob(a.url, c.url)) then
      found = a
      break
    end
  end
  if not found then
    error({ failure = "undeclared request: " .. c.method .. " " .. c.url
      .. "\n  declare it with t:http(" .. show(c.method) .. ", "
      .. show(c.url) .. ", { status = 200 })" }, 0)
  end
  -- The last one declared for a request stays; the others answer once.
  for _, a in ipairs(t.declared) do
    if a ~= found and a.left > 0 and a.method == found.method
      and a.url == found.url and not found.times then
      found.left = 0
    end
  end
  if found.times then found.left = found.left - 1 end
  local a = found.answer
  local delay = ms_of(a.delay)
  if delay >= c.timeout_ms then
    return { error = ("timeout: no answer after %d ms"):format(c.timeout_ms),
      delay_ms = c.timeout_ms }
  end
  if a.error then return { error = a.error, delay_ms = delay } end
  local head, body = {}, a.body or ""
  local typed = false
  for name, value in pairs(a.headers or {}) do
    typed = typed or name:lower() == "content-type"
    for _, v in ipairs(type(value) == "table" and value or { value }) do
      head[#head + 1] = name .. ": " .. tostring(v)
    end
  end
  if a.json ~= nil then
    body = json.encode(a.json)
    if not typed then head[#head + 1] = "Content-Type: application/json" end
  end
  return { status = a.status or 200, head = table.concat(head, "\r\n"),
    body = body, delay_ms = delay }
end

-- Encoded words of a header's value, read again.
local function decoded(s)
  s = s:gsub("\r\n ", " "):gsub("%?=%s+=%?", "?==?")
  return (s:gsub("=%?UTF%-8%?B%?([^?]*)%?=", base64.decode))
end

local function on_mail(c)
  local t = current
  local m = { id = c.id, recipients = c.recipients, headers = {},
    attachments = c.attachments, to = {} }
  for line in c.lines:gmatch("[^\0]+") do
    local name, value = line:match("^([^:]+): (.*)$")
    if name then m.headers[name:lower()] = decoded(value) end
  end
  m.from, m.subject = m.headers.from, m.headers.subject
  m.to, m.cc = m.headers.to, m.headers.cc
  m.text = c.text and c.text:gsub("\r\n", "\n")
  m.html = c.html and c.html:gsub("\r\n", "\n")
  t.posted[#t.posted + 1] = m
  return { error = t.mail_error }
end

local function on_exec(c)
  local t = current
  t.executed[#t.executed + 1] = { path = c.path, args = c.args,
    stdin = c.stdin, env = c.env }
  local a = t.programs[c.path] or {}
  if type(a) == "function" then a = a(c.args, c.stdin) or {} end
  local delay = ms_of(a.delay)
  if delay >= c.timeout_ms then
    return { error = ("timeout after %d ms"):format(c.timeout_ms),
      delay_ms = c.timeout_ms }
  end
  return { status = a.signal and -1 or a.status or 0, signal = a.signal or 0,
    stdout = a.stdout, stderr = a.stderr, error = a.error, delay_ms = delay }
end

local function on_log(level, text)
  local t = current
  t.lines[#t.lines + 1] = { level = level, text = text }
end

-- ----------------------------------------------------------------- scripts

local Script = {}
Script.__index = Script

local JOB = "id queue data body attempt attempts error_count stalled priority "
  .. "group unique origin created_at run_at started_at expires_at timeout steps"

-- The job of a question as spec_run.c takes it.
local function question(s, job)
  local q = {}
  known(3, "job", job or {}, JOB)
  for k, v in pairs(job or {}) do q[k] = v end
  if q.data ~= nil then q.body = json.encode(q.data) end
  q.body = q.body or "null"
  q.queue = q.queue or s.info.queue
  q.id = math.tointeger(tonumber(q.id or 1))
  q.attempts = q.attempts or s.info.attempts
  q.timeout_ms = q.timeout and ms_of(q.timeout) or s.info.timeout_ms
  q.attempt = q.attempt or 1
  q.error_count = q.error_count or q.attempt - 1
  return q
end

-- What a job's end means for it.
local function result_of(r, q)
  local out = { attempt = q.attempt, delay = r.delay_ms and r.delay_ms / 1000 }
  if r.outcome == "done" then
    out.state = "completed"
    if r.text then out.result = json.decode(r.text) end
  elseif r.outcome == "release" then
    out.state, out.snoozed, out.reason = "delayed", true, r.text
  else
    out.error = r.text
    local last = r.final or q.error_count + 1 >= q.attempts
    out.state, out.final = last and "failed" or "delayed", r.final
  end
  return out
end

local function run(s, what, q)
  local t = s.t
  t.lines, t.progress, t.steps = {}, {}, {}
  local ok, r = pcall(native.run, s.actor, what, q)
  if not ok then
    ok, r = pcall(failing, 4, type(r) == "table" and r.failure or r)
    -- Also where the spec catches it.
    t.undeclared = t.undeclared or r
    error(r, 0)
  end
  return r, t.lines, t.progress
end

function Script:perform(job)
  local q = question(self, job)
  local r, lines, progress = run(self, "perform", q)
  local out = result_of(r, q)
  out.log, out.progress, out.steps = lines, progress, {}
  for _, step in ipairs(q.steps or {}) do
    out.steps[#out.steps + 1] = step
  end
  for _, step in ipairs(self.t.steps) do
    out.steps[#out.steps + 1] = step
  end
  if r.step then out.steps[#out.steps + 1] = { name = r.step } end
  return out
end

function Script:perform_batch(jobs)
  local q = question(self, {})
  for i, job in ipairs(jobs) do
    q[i] = question(self, job)
    if job.id == nil then q[i].id = i end
  end
  local r, lines, progress = run(self, "batch", q)
  local out = result_of(r, q)
  for i, one in ipairs(r.jobs) do
    out[i] = one.verdict and result_of(one, q[i]) or result_of(r, q[i])
  end
  out.log, out.progress = lines, progress
  return out
end

local function callback(s, what, job, news)
  local q = question(s, job)
  q.news = news
  local r, lines = run(s, what, q)
  return { error = r.outcome ~= "done" and r.text or nil, log = lines }
end

function Script:on_completed(job, result)
  return callback(self, "completed", job,
    result ~= nil and json.encode(result) or nil)
end

function Script:on_failed(job, text)
  return callback(self, "failed", job, text or "failed")
end

function Script:on_stalled(job)
  return callback(self, "stalled", job)
end

function Script:message(topic, data)
  for _, pattern in ipairs(self.info.topics) do
    if native.glob(pattern, topic) then
      local r, lines = run(self, "message", { group = pattern, news = topic,
        body = json.encode { topic = topic, data = data },
        timeout_ms = self.info.timeout_ms })
      return { error = r.outcome ~= "done" and r.text or nil, log = lines }
    end
  end
  error(self.file .. " has not subscribed to " .. topic, 2)
end

-- A request to the hook, verified as the daemon does it; what it accepts is
-- in t:jobs().
function Script:hook(req)
  known(2, "the request", req, "body json headers query method path")
  local q = { method = req.method or "POST", body = req.body,
    path = req.path or "/hooks/" .. self.info.hook, headers = {},
    query = req.query, timeout_ms = 10000 }
  if req.json ~= nil then q.body = json.encode(req.json) end
  q.body = q.body or ""
  for k, v in pairs(req.headers or {}) do q.headers[k:lower()] = tostring(v) end
  local before = #self.t.added
  local r, lines = run(self, "hook", q)
  local out = { log = lines, jobs = {} }
  if r.outcome ~= "done" then
    out.status, out.error = 500, r.text
  elseif r.answer == "refused" then
    out.status, out.error = r.http, r.refusal
  elseif r.answer == "reply" then
    out.status, out.body, out.type = r.http, r.reply, r.type
  elseif r.answer == "nothing" then
    out.status = 204
  else
    out.status = 202
    if r.answer == "body" then
      add_job(self.t, { "", self.info.queue, q.body }, 2)
    end
    for _, words in ipairs(r.words) do
      if words.raw then words[2] = q.body end
      add_job(self.t, words, 1)
    end
  end
  for i = before + 1, #self.t.added do
    out.jobs[#out.jobs + 1] = self.t.added[i]
  end
  return out
end

-- ----------------------------------------------------------------------- t

local T = {}
T.__index = T

function T:script(file, opts)
  opts = opts or {}
  local full = file
  if file:sub(1, 1) ~= "/" then full = dir .. "/" .. file end
  if not native.exists(full) and native.exists(dir .. "/../" .. file) then
    full = dir .. "/../" .. file
  end
  local actor, info = native.load(full, opts.config or self.config_table,
    opts.secrets or self.secret_table)
  if not actor then failing(2, info) end
  return setmetatable({ t = self, actor = actor, info = info, file = file },
    Script)
end

function T:config(values) self.config_table = values end
function T:secrets(values) self.secret_table = values end

local ANSWER = "status headers json body delay error times method url"

function T:http(method, url, answer)
  known(2, "the answer", answer or {}, ANSWER)
  self.declared[#self.declared + 1] = { method = method:upper(), url = url,
    answer = answer or {}, times = answer and answer.times,
    left = answer and answer.times or 1 }
end

-- Recorded answers: a list of { method, url, status, … } in a JSON file.
function T:http_file(file)
  for _, a in ipairs(json.decode(native.read(dir .. "/" .. file))) do
    self:http(a.method or "GET", a.url, a)
  end
end

function T:requests() return self.sent end
function T:mails() return self.posted end
function T:execs() return self.executed end
function T:exec(file, answer) self.programs[file] = answer end
function T:mail_fails(text) self.mail_error = text end
function T:commands() return self.asked end
function T:command(name, answer) self.answers[name:upper()] = answer end

local function only(list, name, value)
  if value == nil then return list end
  local out = {}
  for _, one in ipairs(list) do
    if one[name] == value then out[#out + 1] = one end
  end
  return out
end

function T:jobs(queue) return only(self.added, "queue", queue) end
function T:published(topic) return only(self.messages, "topic", topic) end
function T:held(queue) return self.held_queues[queue] end
function T:key(name, value)
  if value ~= nil then self.keys[name] = { value = tostring(value) } end
  local e = live(self, name)
  return e and e.value
end

-- A command to the store, as the script would give it: null is nil, a map a
-- table.
function T:redis(...)
  local fn, words = store[(...)], { ... }
  if not fn then failing(2, "the store of specs has no " .. show((...))) end
  for i, w in ipairs(words) do words[i] = tostring(w) end
  local answer = fn(self, words)
  if type(answer) == "table" and answer.err then failing(2, answer.err) end
  return type(answer) == "table" and answer.map or answer
end

function T:advance(span) native.advance(native.span(span)) end
function T:now() return native.now() / 1000 end

function T:equal(got, expected, what)
  if not same(got, expected) then
    failing(2, (what and what .. ": " or "") .. "expected "
      .. show(expected) .. ", got " .. show(got))
  end
end

function T:ok(value, what)
  if not value then
    failing(2, (what and what .. ": " or "") .. "expected a true value, got "
      .. show(value))
  end
end

function T:match(text, pattern, what)
  if type(text) ~= "string" or not text:find(pattern) then
    failing(2, (what and what .. ": " or "") .. "expected text like "
      .. show(pattern) .. ", got " .. show(text))
  end
end

function T:fail(text) failing(2, text or "failed") end

-- --------------------------------------------------------------------- run

function spec(name, fn)
  if type(name) ~= "string" or type(fn) ~= "function" then
    error("spec: expected a name and a function", 2)
  end
  specs[#specs + 1] = { name = name, fn = fn }
end

local function fresh()
  return setmetatable({ added = {}, sent = {}, posted = {}, executed = {},
    asked = {}, messages = {}, lines = {}, progress = {}, steps = {},
    declared = {}, programs = {}, answers = {}, keys = {}, buckets = {},
    paused = {}, held_queues = {}, next_id = 0 }, T)
end

-- Lua shortens the names of files, so that it is given only the last part.
local function text_of(err)
  local text = type(err) == "table" and err.failure or tostring(err)
  if text:sub(1, #base + 1) == base .. ":" then
    text = path:sub(1, #path - #base) .. text
  end
  return text
end

local function finish()
  local passed, failed = 0, 0
  for _, s in ipairs(specs) do
    native.reset()
    current = fresh()
    local ok, err = pcall(s.fn, current)
    if current.undeclared then ok, err = false, current.undeclared end
    if ok then
      passed = passed + 1
    else
      failed = failed + 1
      native.print(("FAIL %s\n  %s\n"):format(s.name,
        (text_of(err):gsub("\n", "\n  "))))
    end
  end
  native.reset()
  return passed, failed
end

return { ask = ask, http = on_http, mail = on_mail, exec = on_exec,
  log = on_log, finish = finish }
