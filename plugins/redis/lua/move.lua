-- What moves here from the store of a machine, or back to it: rows of one
-- queue, with the columns of plugin.h. ARGV: header, options, channel, then
--   import MOVE  ROW AT COLUMNS… ROW AT COLUMNS…
--   close MOVE                    the last of this queue has come
--   export COUNT BASE             answers rows
--   drop ID…                      rows that have been exported
--   wipe                          the queue has no jobs any more
-- A value is `=` and its bytes, or empty for NULL. MOVE names the way; what
-- has come of it is not taken twice, also when it has ended and gone since.
local MARK = 'mv'		-- hash: see import
local op = ARGV[4]
-- NAMES: row -> names of its columns; it comes before this script.

local function num(v)
	return v and tonumber(v) or nil
end

local function fmt(n)
	return string.format('%.0f', n)
end

-- --- import ---

-- What its adder has said, and what few jobs have.
local SAID = {attempts = 'at', max_stalled = 'ms', lease_ms = 'ls',
	timeout_ms = 'to', retain_ms = 're', backoff_type = 'kt',
	backoff_ms = 'kd', backoff_max_ms = 'kx', backoff_factor = 'kf',
	backoff_jitter = 'kj', unique_ttl_ms = 'ut'}

local function make_map(r)
	local x = {}

	for name, short in pairs(SAID) do
		x[short] = num(r[name])
	end
	x.g, x.pg, x['or'] = r.group_key, r.progress, r.origin
	if r.state == '0' then
		x.ex = num(r.expires_at)
		x.u, x.uu = r.unique_key, num(r.unique_until) or 0
		if not x.u then
			x.uu = nil
		end
	else
		x.u = r.unique_key
	end
	for i, e in ipairs(r.errors) do
		x.es = x.es or {}
		x.es[i] = {num(e.attempt), num(e.at), e.message,
		    e.version or ''}
	end
	return x
end

local function take_steps(j, r)
	local bytes = 0

	for i, s in ipairs(r.steps) do
		call('HSET', Q .. 's:' .. j.id, s.name, spack('>I4', i) ..
		    (s.value and '\1' .. s.value or '\0'))
		bytes = bytes + #s.name + (s.value and #s.value or 0)
	end
	if r.steps[1] then
		local x = B.ext_touch(j)

		x.sn, x.sb = #r.steps, bytes
		B.flag(j, B.HAS_S, true)
	end
end

-- Ids ascend: the key is its whose id is the highest.
local function higher(a, b)
	return #a > #b or (#a == #b and a > b)
end

local function take_key(j, r)
	local till = num(r.unique_until) or 0

	if not r.unique_key or (till > 0 and till <= W) then
		return
	end
	local holder = B.unique_holder(r.unique_key)
	if not holder or higher(j.id, holder.id) then
		B.unique_take(j, r.unique_key, till)
	end
end

local function pair(j, other)
	B.ext_touch(j).pr = other.id
	B.ext_touch(other).pr = j.id
end

-- A follow-up and the job that it waits for may come in any order.
local function take_pair(j, r)
	local waits = call('HGET', Q .. MARK, 'f' .. j.id)
	local other = waits and B.job(waits)

	if other then
		call('HDEL', Q .. MARK, 'f' .. j.id)
		pair(other, j)
	end
	if not r.follows then
		return
	end
	B.flag(j, B.BLOCKED, true)
	other = B.job(r.follows)
	if other then
		pair(j, other)
	else
		B.ext_touch(j).pr = r.follows
		call('HSET', Q .. MARK, 'f' .. r.follows, j.id)
	end
end

local function take_living(j, r)
	local l, g = r.lease, j.x and j.x.g and B.group(j.x.g)
	local wall = r.wall == '1'
	local line = num(r.line_at) or j.run

	if g then
		B.group_name(j)
	end
	take_key(j, r)
	take_pair(j, r)
	take_steps(j, r)
	if l then
		local left = num(l['until']) - num(l.started_at)

		j.attempt, j.started = num(l.attempt), num(l.started_at)
		j.seed = l.token
		if l.worker then
			B.ext_touch(j).wk = l.worker
		end
		if g then
			B.group_join(j, g)
		end
		-- A handler died with its daemon; a worker may be at it still.
		if l.handler == '1' then
			B.flag(j, B.HANDLER, true)
			left = 0
		end
		j.till = W + left
		j.popped = true
		B.enter(j, B.ACTIVE, M + left)
		j.popped = nil
	elseif j.run <= W then
		B.enter(j, B.WAITING)
	else
		if g and r.started_at and line <= W then
			B.group_join(j, g)
		end
		B.flag(j, B.WALL, wall)
		B.enter(j, B.DELAYED, wall and j.run or M + j.run - W)
	end
end

-- The place among those that have ended, by the time of the end.
local function ended_at(at)
	q.mv = (q.mv or 0) + 1
	return min(at, M) * 1024 + q.mv % 1024
end

local function take_completed(j, r)
	local retain = num(r.retain_ms) or 0

	j.state, j.till = B.COMPLETED, num(r.finished_at)
	q.c3 = q.c3 + 1
	if r.result then
		call('HSET', Q .. 'r', j.id, r.result)
		B.flag(j, B.HAS_R, true)
	end
	if retain > 0 then
		local at = M + max(j.till + retain - W, 0)

		B.flag(j, B.RETAIN, true)
		B.zset('t', j.id, at)
		B.due_at(at)
	else
		q.kc = q.kc + 1
		B.zset('c', j.id, ended_at(j.till))
	end
end

local function count_failure(j, at)
	local s = call('HGET', Q .. 'e', j.x.fp)
	local count, first, last, sample = 0, at, 0, j.id

	if s then
		count, first, last, sample = sunpack('>I4I6I6s', s)
	end
	if at >= last then
		last, sample = at, j.id
	end
	call('HSET', Q .. 'e', j.x.fp, spack('>I4I6I6s', count + 1,
	    min(first, at), last, sample))
end

local function take_failed(j, r)
	local x = B.ext_touch(j)

	j.state, j.till = B.FAILED, num(r.finished_at)
	q.c4 = q.c4 + 1
	x.er, x.fp = r.error, r.fingerprint
	take_steps(j, r)
	B.zset('f', j.id, ended_at(j.till))
	if x.fp then
		count_failure(j, j.till)
	end
end

local function take_job(r)
	local x = make_map(r)
	local j = B.job_new(r.id, num(r.priority) or 5, num(r.run_at),
	    r.payload or '', next(x) and x or nil)

	q.ad = q.ad - 1
	j.created, j.started = num(r.created_at), num(r.started_at) or 0
	j.attempt, j.errors = num(r.attempt), num(r.error_count)
	j.stalled = num(r.stalled)
	if r.state == '0' then
		take_living(j, r)
	elseif r.state == '1' then
		take_completed(j, r)
	else
		take_failed(j, r)
	end
end

local function take_queue(r)
	q.pr, q.ft, q.st = q.pr + num(r.processed), q.ft + num(r.failed),
	    q.st + num(r.stalled)
	if r.paused_at and q.pa == 0 then
		q.pa = num(r.paused_at)
		call('HSET', Q .. 'q', 'pb', r.paused_by or '')
	end
	local till = num(r.held_until) or 0
	if till > W and q.hm == 0 then
		q.hu, q.hm = till, M + till - W
		call('HSET', Q .. 'q', 'hr', r.held_reason or '')
		B.timer('h', q.hm)
	end
end

local function take_callback(r)
	q.cb = q.cb + 1
	local id = fmt(q.cb * 16384 + B.number)
	local rec = {num(r.kind), r.job, num(r.attempt), r.payload or '',
	    r.result or false, r.error or false, B.inst}

	call('HSET', Q .. 'o', id, mpack(rec))
	rec[8] = id
	B.owed[#B.owed + 1] = rec
end

local function read_row(i)
	local names, r = NAMES[ARGV[i]], {}

	for k = 1, #names do
		local v = ARGV[i + 1 + k]

		if v ~= '' then
			r[names[k]] = sub(v, 2)
		end
	end
	return ARGV[i], tonumber(ARGV[i + 1]), r, i + 2 + #names
end

-- Rows that belong to a job follow it.
local function read_rows(i)
	local list, owner = {}, nil

	while ARGV[i] do
		local row, at, r

		row, at, r, i = read_row(i)
		if row == 'LEASE' then
			owner.lease = r
		elseif row == 'ERROR' then
			owner.errors[#owner.errors + 1] = r
		elseif row == 'STEP' then
			owner.steps[#owner.steps + 1] = r
		else
			r.row, r.place, r.errors, r.steps = row, at, {}, {}
			list[#list + 1] = r
			owner = r
		end
	end
	return list
end

local TAKE = {JOB = take_job, QUEUE = take_queue, CALLBACK = take_callback}

-- mv: name -> this move, ROW -> the last place of it that has come, f… as in
-- take_pair().
local function import()
	local move, list, n = ARGV[5], read_rows(6), 0
	local seen = {}

	if call('HGET', Q .. MARK, 'name') ~= move then
		call('DEL', Q .. MARK)
		call('HSET', Q .. MARK, 'name', move)
	end
	for _, r in ipairs(list) do
		seen[r.row] = seen[r.row] or
		    tonumber(call('HGET', Q .. MARK, r.row) or -1)
		if r.place > seen[r.row] then
			TAKE[r.row](r)
			seen[r.row] = r.place
			n = n + 1
		end
	end
	for row, place in pairs(seen) do
		call('HSET', Q .. MARK, row, fmt(place))
	end
	q.due = -1
	return n
end

-- Follow-ups whose other job has not come wait for nothing.
local function close()
	local all = call('HGETALL', Q .. MARK)

	for i = 1, #all, 2 do
		local j = sub(all[i], 1, 1) == 'f' and B.job(all[i + 1])

		if j and B.has(j, B.BLOCKED) then
			B.ext_touch(j).pr = nil
			B.job_unblock(j)
		end
	end
	call('DEL', Q .. MARK)
	return 1
end

-- --- export ---

local function put_row(out, row, r)
	local names, t = NAMES[row], {row}

	for k = 1, #names do
		local v = r[names[k]]

		if v == nil or v == false then
			t[k + 1] = false
		elseif type(v) == 'number' then
			t[k + 1] = v % 1 == 0 and fmt(v) or tostring(v)
		else
			t[k + 1] = v
		end
	end
	out[#out + 1] = t
end

-- The order of a line becomes times long ago.
local function line_at(j, x, base)
	local score = B.has(j, B.INLINE) and
	    call('ZSCORE', Q .. 'n:' .. x.g, j.id)

	return score and base + tonumber(score)
end

local function job_row(j, x, base)
	local living = j.state < B.COMPLETED
	local r = {id = j.id, queue = string.match(Q, '{(.*)}:$'),
	    state = living and 0 or j.state - 2, priority = j.prio,
	    attempt = j.attempt, error_count = j.errors, stalled = j.stalled,
	    wall = living and B.has(j, B.WALL) and 1 or 0, run_at = j.run,
	    created_at = j.created, group_key = x.g, unique_key = x.u,
	    origin = x['or'], progress = x.pg,
	    payload = call('HGET', Q .. 'p', j.id) or ''}

	for name, short in pairs(SAID) do
		r[name] = x[short]
	end
	if j.started > 0 then
		r.started_at = j.started
	end
	if living then
		r.line_at, r.expires_at = line_at(j, x, base), x.ex
		r.follows = B.has(j, B.BLOCKED) and x.pr
		if x.u and not B.has(j, B.UNIQUE) then
			r.unique_until = 1	-- another job has it
		elseif (x.uu or 0) > 0 then
			r.unique_until = x.uu
		end
		if j.state == B.ACTIVE then
			r.attempt = max(j.attempt - 1, 0)
		end
	else
		r.finished_at = j.till
	end
	if j.state == B.COMPLETED then
		r.result = B.has(j, B.HAS_R) and call('HGET', Q .. 'r', j.id)
	elseif j.state == B.FAILED then
		r.error, r.fingerprint = x.er or '', x.fp
	end
	return r
end

local function steps_out(out, j)
	local flat, list = call('HGETALL', Q .. 's:' .. j.id), {}

	for i = 1, #flat, 2 do
		local v = flat[i + 1]

		list[sunpack('>I4', v)] = {name = flat[i], value =
		    string.byte(v, 5) == 1 and sub(v, 6)}
	end
	for n, s in ipairs(list) do
		s.n = n
		put_row(out, 'STEP', s)
	end
end

local function job_out(out, j, base)
	local x = B.ext(j)

	put_row(out, 'JOB', job_row(j, x, base))
	if j.state == B.ACTIVE then
		put_row(out, 'LEASE', {attempt = max(j.attempt, 1),
		    token = j.seed, handler = B.has(j, B.HANDLER) and 1 or 0,
		    started_at = j.started, ['until'] = max(j.till, 1),
		    worker = x.wk})
	end
	for n, e in ipairs(x.es or {}) do
		put_row(out, 'ERROR', {n = n, attempt = e[1], at = e[2],
		    message = e[3], version = e[4] ~= '' and e[4]})
	end
	if B.has(j, B.HAS_S) then
		steps_out(out, j)
	end
end

local function queue_out(out)
	put_row(out, 'QUEUE', {name = string.match(Q, '{(.*)}:$'),
	    processed = q.pr, failed = q.ft, stalled = q.st,
	    paused_at = q.pa > 0 and q.pa,
	    paused_by = q.pa > 0 and call('HGET', Q .. 'q', 'pb'),
	    held_until = q.hm > 0 and q.hu,
	    held_reason = q.hm > 0 and call('HGET', Q .. 'q', 'hr')})
end

local function callbacks_out(out)
	local flat = call('HGETALL', Q .. 'o')

	for i = 1, #flat, 2 do
		local rec = munpack(flat[i + 1])

		put_row(out, 'CALLBACK', {id = flat[i],
		    queue = string.match(Q, '{(.*)}:$'), kind = rec[1],
		    job = rec[2], attempt = rec[3], payload = rec[4],
		    result = rec[5], error = rec[6]})
	end
end

-- The first jobs of the index; the queue itself with the last ones.
local function export()
	local ids = call('ZRANGE', Q .. 'i', 0, tonumber(ARGV[5]) - 1)
	local base, out, list = tonumber(ARGV[6]), {}, {}

	queue_out(out)
	B.jobs(ids)
	for i = 1, #ids do
		list[#list + 1] = B.job(ids[i])
	end
	B.exts(list)
	for i = 1, #list do
		job_out(out, list[i], base)
	end
	if #ids == 0 then
		callbacks_out(out)
	end
	return out
end

-- Nobody else is here any more: no life-cycle, just gone.
local function drop()
	for i = 5, #ARGV do
		local id = ARGV[i]
		local j = B.job(id)
		local x = j and B.ext(j) or {}

		for _, key in ipairs({'m', 'p', 'x', 'r'}) do
			call('HDEL', Q .. key, id)
		end
		for _, key in ipairs({'i', 'w', 'a', 'l', 'c', 'f', 't'}) do
			call('ZREM', Q .. key, id)
		end
		call('ZREM', Q .. 'd', 'd' .. id, 'x' .. id)
		call('DEL', Q .. 's:' .. id)
		if x.g then
			call('ZREM', Q .. 'n:' .. x.g, id)
		end
	end
	return #ARGV - 4
end

local function wipe()
	if call('ZCARD', Q .. 'i') > 0 then
		return 0
	end
	for _, key in ipairs({'q', 'm', 'p', 'x', 'r', 'i', 'w', 'd', 'a', 'l',
	    'c', 'f', 't', 'u', 'g', 'b', 'e', 'o', 'out', 'h', 'k',
	    MARK}) do
		call('DEL', Q .. key)
	end
	return 1
end

-- What only looks or takes away does not deal with what is due.
if op == 'import' or op == 'close' then
	B.begin(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
	return B.commit({op == 'import' and import() or close()})
end
Q, B.channel = KEYS[1], ARGV[3]
B.options(ARGV[2])
local flags, mmax
B.inst, B.number, flags, B.rnd, mmax, W, M, mmax =
    sunpack('>I2I2BI4I6I6I6I6', ARGV[1])
B.queue_read()
B.clocks(flags % 8 >= 4, mmax)
if op == 'export' then
	return export()
elseif op == 'drop' then
	return drop()
end
return wipe()
