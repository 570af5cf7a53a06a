-- The jobs of one queue: what each script of the backend begins with. The
-- layout is told in README.md. One place changes a state: job_move() and its
-- friends; nothing is written before commit(), but for lines of groups, keys
-- and steps.
-- Functions and what they share are fields of B, not locals: a closure is
-- made of each at every call, and what it captures has to be searched.
local floor, max, min, sub = math.floor, math.max, math.min, string.sub
local spack, sunpack = struct.pack, struct.unpack
local mpack, munpack = cmsgpack.pack, cmsgpack.unpack
local O				-- options of the queue
local W, M, Q			-- the two clocks; the queue's keys
local q				-- the queue's numbers
local call = redis.call
local B = {
	-- states
	WAITING = 0, DELAYED = 1, ACTIVE = 2, COMPLETED = 3, FAILED = 4,
	-- flags
	HAS_X = 1, HAS_R = 2, HAS_S = 4, WALL = 8, INLINE = 16, BLOCKED = 32,
	UNIQUE = 64, WAITED = 128, RETAIN = 256, HANDLER = 512,
	CANCELLED = 1024, GROUP = 2048,
	-- callbacks
	ON_COMPLETED = 0, ON_FAILED = 1, ON_STALLED = 2,
	-- news
	ADDED = 0, STARTED = 1, ENDED = 2, DIED = 3, RETRYING = 4,
	STALLED = 5, PROGRESS = 6, REMOVED = 7,
	-- 2^47; from one priority to the next, 2^44
	NEVER = 140737488355328, STEP = 17592186044416,
	M_FMT = '>BBI2I4I2I2I6I6I6I6I6c8',
	S_FMT = '>I6I8I6I4I4I4I4I4I4I6I6I6I6I6I6I6I8I6I6I6I6i8I6I6BI6i8',
	NOSEED = '\0\0\0\0\0\0\0\0',
	SWEEP = 250, DUE = 500, ERRORS = 10, LOOKS = 100,
	J = {}, dirty = {},	-- jobs that were looked at; changed ones
	Z = {},			-- key -> member -> score, or false: out
	payloads = {}, gone = {}, texts = {},
	news = {}, owed = {}, out = {}, ended = {},
	groups = {}, stirred = {},
	soonest = 140737488355328,
	evicted = 0, loose_dirty = false,
}

function B.many(cmd, key, t)
	local n = #t

	if n <= 4000 then
		call(cmd, key, unpack(t, 1, n))
		return
	end
	for i = 1, n, 4000 do
		call(cmd, key, unpack(t, i, min(i + 3999, n)))
	end
end

-- --- options of the queue ---

function B.options(packed)
	local ma, rl, rp, rb, rby, gc, go, mw, bm, bw, bq, cms, cc, fms, fc,
	    at, bt, bd, bx, bf, bj, to, le, ms, cb, dl, fe, fs =
	    sunpack('>I6I6I6I6BI4BI6I4I6I6I6I6I6I6I4BI6I6ddI6I6I4Bsss',
	    packed)

	O = {max_active = ma, rate = rl > 0, limit = rl, per = rp, burst = rb,
	    by_group = rby == 1, group_concurrency = gc, skip = go == 1,
	    max_waiting = mw, batch_max = bm, window = bw, quiet = bq,
	    completed_ms = cms, completed_count = cc, failed_ms = fms,
	    failed_count = fc, attempts = at, backoff = bt, delay = bd,
	    delay_max = bx, factor = bf, jitter = bj, timeout = to,
	    lease = le, max_stalled = ms, callbacks = cb, dead_letter = dl,
	    fp_expired = fe, fp_stalled = fs}
end

-- --- sorted sets are changed at the end, or before they are read ---

function B.zset(key, member, score)
	local t = B.Z[key]

	if not t then
		t = {}
		B.Z[key] = t
	end
	t[member] = score
end

function B.zflush(key)
	local t = B.Z[key]

	if not t then
		return
	end
	B.Z[key] = nil
	local add, rem, a, r = {}, {}, 0, 0
	for m, s in pairs(t) do
		if s then
			add[a + 1], add[a + 2] = s, m
			a = a + 2
		else
			r = r + 1
			rem[r] = m
		end
	end
	if r > 0 then
		B.many('ZREM', Q .. key, rem)
	end
	if a > 0 then
		B.many('ZADD', Q .. key, add)
	end
end

-- Something is to be done at M m.
function B.due_at(m)
	if m < B.soonest then
		B.soonest = m
	end
end

function B.timer(member, at)
	B.zset('d', member, at)
	B.due_at(at)
end

-- --- records ---

function B.has(j, f)
	return j.flags % (f + f) >= f
end

function B.touch(j)
	if not j.dirty then
		j.dirty = true
		B.dirty[#B.dirty + 1] = j
	end
end

function B.flag(j, f, on)
	if B.has(j, f) ~= on then
		j.flags = j.flags + (on and f or -f)
		B.touch(j)
	end
end

function B.parse(id, s)
	local state, prio, flags, attempt, errors, stalled, order, run,
	    created, started, till, seed = sunpack(B.M_FMT, s)
	local j = {id = id, state = state, prio = prio, flags = flags,
	    attempt = attempt, errors = errors, stalled = stalled,
	    order = order, run = run, created = created, started = started,
	    till = till, seed = seed, dirty = false, x = nil}

	B.J[id] = j
	return j
end

function B.meta(j)
	return spack(B.M_FMT, j.state, j.prio, j.flags, j.attempt,
	    min(j.errors, 65535), min(j.stalled, 65535), j.order, j.run,
	    j.created, j.started, j.till, j.seed)
end

-- The job, or nil.
function B.job(id)
	local j = B.J[id]

	if j == nil then
		local s = call('HGET', Q .. 'm', id)

		j = s and B.parse(id, s)
		B.J[id] = j
	end
	return j or nil
end

-- Reads many at once, for job().
function B.jobs(ids)
	local ask = {}

	for i = 1, #ids do
		if B.J[ids[i]] == nil then
			ask[#ask + 1] = ids[i]
		end
	end
	for i = 1, #ask, 4000 do
		local last = min(i + 3999, #ask)
		local got = call('HMGET', Q .. 'm', unpack(ask, i, last))

		for k = i, last do
			local s = got[k - i + 1]

			if s then
				B.parse(ask[k], s)
			else
				B.J[ask[k]] = false
			end
		end
	end
end

-- Its map of rare things; kept when it is changed (xdirty).
function B.ext(j)
	if not j.x then
		local s = B.has(j, B.HAS_X) and call('HGET', Q .. 'x', j.id)

		j.x = s and munpack(s) or {}
	end
	return j.x
end

function B.ext_touch(j)
	local x = B.ext(j)

	j.xdirty = true
	B.touch(j)
	return x
end

-- Reads the maps of many at once.
function B.exts(list)
	local ask, who = {}, {}

	for i = 1, #list do
		local j = list[i]

		if not j.x and B.has(j, B.HAS_X) then
			ask[#ask + 1] = j.id
			who[#who + 1] = j
		end
	end
	for i = 1, #ask, 4000 do
		local last = min(i + 3999, #ask)
		local got = call('HMGET', Q .. 'x', unpack(ask, i, last))

		for k = i, last do
			local s = got[k - i + 1]

			who[k].x = s and munpack(s) or {}
		end
	end
end

function B.payload(j)
	return B.texts[j.id] or call('HGET', Q .. 'p', j.id) or ''
end

function B.payload_set(j, text)
	B.payloads[#B.payloads + 1] = j.id
	B.payloads[#B.payloads + 1] = text
	B.texts[j.id] = text
end

-- --- what others are told ---

-- Somebody listens to the news: asked once, when there is some.
function B.note(kind, j, text)
	if B.heard == nil then
		B.heard = call('PUBSUB', 'NUMSUB',
		    sub(B.channel, 1, -5) .. 'news')[2] > 0
	end
	if B.watched or B.heard then
		B.news[#B.news + 1] = {kind, j.id, j.state, j.attempt, W,
		    text or false}
	end
end

-- One message for all; its form is in news.c.
function B.news_publish()
	local name = string.match(Q, '{(.*)}:$')
	local parts = {spack('>I2BB', B.inst, B.watched and 1 or 0, #name),
	    name}

	for i = 1, #B.news do
		local n = B.news[i]

		parts[#parts + 1] = spack('>BBI4I6BI4', n[1], n[3], n[4],
		    n[5], #n[2], n[6] and #n[6] + 1 or 0)
		parts[#parts + 1] = n[2]
		parts[#parts + 1] = n[6] or ''
	end
	call('PUBLISH', sub(B.channel, 1, -5) .. 'news', table.concat(parts))
end

function B.owe(kind, j, result, error)
	local n = q.cb + 1
	local id = string.format('%.0f', n * 16384 + B.number)
	local rec = {kind, j.id, j.attempt, B.payload(j), result or false,
	    error or false, B.inst}

	q.cb = n
	call('HSET', Q .. 'o', id, mpack(rec))
	rec[8] = id
	B.owed[#B.owed + 1] = rec
end

-- A copy for another queue: kept here until it has arrived there.
function B.outgoing(j, to, error)
	local rec = {to, B.payload(j), j.id, error, W, B.inst}

	q.on = q.on + 1
	call('HSET', Q .. 'out', q.on, mpack(rec))
	rec[7] = q.on
	B.out[#B.out + 1] = rec
end

-- --- token buckets ---

function B.interval()
	return floor((O.per * 1000 + O.limit - 1) / O.limit)
end

-- M ms of the next token.
function B.token_at(tat)
	local at = tat - (O.burst - 1) * B.interval()

	return at > M * 1000 and floor((at + 999) / 1000) or M
end

function B.tokens(tat)
	local used = tat <= M * 1000 and 0 or
	    floor((tat - M * 1000 + B.interval() - 1) / B.interval())

	return max(O.burst - used, 0)
end

function B.token_take(tat)
	return max(tat, M * 1000) + B.interval()
end

-- --- groups ---
-- A group is in w exactly while its next job may start; what has been stirred
-- is settled before w is read, and at the end.

function B.group(name)
	local g = B.groups[name]

	if not g then
		local s = call('HGET', Q .. 'g', name)

		g = {name = name, running = 0, count = 0, waiting = 0,
		    tat = 0, ready = 0, order = 0}
		if s then
			g.running, g.count, g.waiting, g.tat, g.order, g.ready
			    = sunpack('>I4I4I4I8I6B', s)
		end
		B.groups[name] = g
	end
	return g
end

-- Something of it has changed; rotate: behind the others of its priority.
function B.stir(g, rotate)
	g.changed = true
	g.rotate = g.rotate or rotate
	if not g.stirred then
		g.stirred = true
		B.stirred[#B.stirred + 1] = g
	end
end

-- Calls fn for the jobs of the line in order until it says something.
function B.walk(g, fn)
	local from, key = 0, Q .. 'n:' .. g.name

	while true do
		local ids = call('ZRANGE', key, from, from + 19)

		B.jobs(ids)
		for i = 1, #ids do
			local j = B.job(ids[i])
			local r = j and fn(j)

			if r then
				return r
			end
		end
		if #ids < 20 then
			return nil
		end
		from = from + 20
	end
end

function B.group_next(g)
	local skip = O.skip

	local r = B.walk(g, function(j)
		if j.state == B.WAITING then
			return j
		end
		return j.state ~= B.ACTIVE and not skip and 'held'
	end)
	return r ~= 'held' and r or nil
end

function B.group_unready(g)
	if g.ready > 0 then
		B.zset('w', 'g' .. g.name, false)
		g.ready = 0
		g.changed = true
	end
end

function B.group_settle(g)
	local next

	g.stirred = false
	if g.waiting > 0 and g.running < O.group_concurrency then
		next = B.group_next(g)
	end
	if next and O.rate and O.by_group then
		local at = B.token_at(g.tat)

		if at > M then
			B.timer('g' .. g.name, at)
			next = nil
		end
	end
	local want = next and next.prio + 1 or 0
	if want ~= g.ready or (g.rotate and want > 0) then
		B.group_unready(g)
		if want > 0 then
			q.n = q.n + 1
			g.order = q.n
			B.zset('w', 'g' .. g.name, (want - 1) * B.STEP + q.n)
			g.ready = want
		end
		g.changed = true
	end
	g.rotate = nil
	B.batch_refresh(g)
end

function B.settle()
	local i = 1


	while B.stirred[i] do
		B.group_settle(B.stirred[i])
		i = i + 1
	end
	if i > 1 then
		B.stirred = {}
	end
end

-- The job belongs to its group from now on, not yet in its line.
function B.group_name(j)
	local g = B.group(B.ext(j).g)

	g.count = g.count + 1
	g.changed = true
	B.flag(j, B.GROUP, true)
end

function B.group_join(j, g)
	q.n = q.n + 1
	call('ZADD', Q .. 'n:' .. g.name, q.n, j.id)
	B.flag(j, B.INLINE, true)
end

function B.line_leave(j, g)
	if B.has(j, B.INLINE) then
		call('ZREM', Q .. 'n:' .. g.name, j.id)
		B.flag(j, B.INLINE, false)
	end
	B.stir(g)
end

function B.group_leave(j)
	local g = B.group(B.ext(j).g)

	B.line_leave(j, g)
	B.flag(j, B.GROUP, false)
	g.count = g.count - 1
end

function B.group_write(g)
	g.changed = false
	if g.count > 0 or g.tat > M * 1000 then
		call('HSET', Q .. 'g', g.name, spack('>I4I4I4I8I6B',
		    g.running, g.count, g.waiting, g.tat, g.order, g.ready))
		if g.count == 0 then
			B.timer('g' .. g.name, floor(g.tat / 1000) + 1)
		end
	else
		call('HDEL', Q .. 'g', g.name)
		B.zset('b', 'g' .. g.name, false)
	end
end

-- --- batches that run: how many of each are still active ---

function B.batch_leave(j)
	local bt = B.has(j, B.HAS_X) and B.ext(j).bt

	if not bt then
		return true
	end
	B.ext_touch(j).bt = nil
	if call('HINCRBY', Q .. 'bn', bt, -1) > 0 then
		return false
	end
	call('HDEL', Q .. 'bn', bt)
	return true
end

-- --- unique keys ---

function B.unique_free(j)
	if B.has(j, B.UNIQUE) then
		call('HDEL', Q .. 'u', B.ext(j).u)
		B.flag(j, B.UNIQUE, false)
	end
end

function B.unique_holder(key)
	local id = call('HGET', Q .. 'u', key)
	local j = id and B.job(id)

	if j and (B.ext(j).uu or 0) > 0 and j.x.uu <= W then
		B.unique_free(j)
		return nil
	end
	return j
end

function B.unique_take(j, key, till)
	local id = call('HGET', Q .. 'u', key)
	local holder = id and B.job(id)

	if holder then
		B.unique_free(holder)
	end
	local x = B.ext_touch(j)
	x.u, x.uu = key, till
	call('HSET', Q .. 'u', key, j.id)
	B.flag(j, B.UNIQUE, true)
end

-- A follow-up that ends before its turn lends the key back.
function B.unique_give_back(from, to)
	local x = B.ext(to)

	if not B.has(from, B.UNIQUE) or ((x.uu or 0) > 0 and x.uu <= W) then
		return
	end
	local key = B.ext(from).u
	B.unique_free(from)
	x.u = key
	call('HSET', Q .. 'u', key, to.id)
	B.flag(to, B.UNIQUE, true)
	B.ext_touch(to)
end

-- --- one place changes states ---

function B.expires(j)
	return j.attempt == 0 and B.has(j, B.HAS_X) and B.ext(j).ex
end

function B.enter_waiting(j, front)
	local ex = B.expires(j)

	if ex then
		B.timer('x' .. j.id, max(M + ex - W, 0))
	end
	if B.has(j, B.BLOCKED) then
		return
	end
	if B.has(j, B.GROUP) then
		local g = B.group(B.ext(j).g)

		if not B.has(j, B.INLINE) then
			B.group_join(j, g)
		end
		g.waiting = g.waiting + 1
		B.stir(g)
		return
	end
	if not front then
		q.n = q.n + 1
		j.order = q.n
	end
	B.zset('w', j.id, j.prio * B.STEP + j.order)
	B.loose_changed()
end

function B.leave_waiting(j)
	if B.expires(j) then
		B.zset('d', 'x' .. j.id, false)
	end
	if B.has(j, B.BLOCKED) then
		return
	end
	if B.has(j, B.GROUP) then
		local g = B.group(B.ext(j).g)

		g.waiting = g.waiting - 1
		B.stir(g)
		return
	end
	if not j.popped then
		B.zset('w', j.id, false)
	end
	B.loose_changed()
end

function B.enter_delayed(j, at)
	if B.has(j, B.WALL) then
		B.zset('a', j.id, at)
		B.due_at(M + at - W)
	else
		B.timer('d' .. j.id, at)
	end
	if B.has(j, B.INLINE) then
		B.stir(B.group(B.ext(j).g))
	end
end

function B.leave_delayed(j)
	if B.has(j, B.WALL) then
		B.zset('a', j.id, false)
		B.flag(j, B.WALL, false)
	else
		B.zset('d', 'd' .. j.id, false)
	end
end

function B.enter_active(j, at)
	B.zset('l', j.id, at)
	B.due_at(at)
	if B.has(j, B.GROUP) then
		local g = B.group(B.ext(j).g)

		if not j.another then
			g.running = g.running + 1
		end
		if O.rate and O.by_group then
			g.tat = B.token_take(g.tat)
		end
		B.stir(g, true)
	end
end

function B.leave_active(j)
	B.zset('l', j.id, false)
	B.flag(j, B.HANDLER, false)
	B.flag(j, B.CANCELLED, false)
	if B.batch_leave(j) and B.has(j, B.GROUP) then
		local g = B.group(B.ext(j).g)

		g.running = g.running - 1
		B.stir(g)
	end
end

function B.finishing()
	q.fin = max(q.fin + 1, M * 1024)
	return q.fin
end

function B.failure(j, by)
	local x = B.ext(j)
	local s = x.fp and call('HGET', Q .. 'e', x.fp)
	local count, first, last, sample = 0, W, 0, j.id

	if not x.fp then
		return
	end
	if s then
		count, first, last, sample = sunpack('>I4I6I6s', s)
	end
	count = count + by
	if by > 0 and W >= last then
		last, sample = W, j.id
	end
	if count > 0 then
		call('HSET', Q .. 'e', x.fp, spack('>I4I6I6s', count,
		    min(first, W), last, sample))
	else
		call('HDEL', Q .. 'e', x.fp)
	end
end

B.leavers = {[B.WAITING] = B.leave_waiting, [B.DELAYED] = B.leave_delayed,
	[B.ACTIVE] = B.leave_active,
	[B.COMPLETED] = function(j)
		if B.has(j, B.RETAIN) then
			B.zset('t', j.id, false)
		else
			B.zset('c', j.id, false)
			q.kc = q.kc - 1
		end
	end,
	[B.FAILED] = function(j)
		B.zset('f', j.id, false)
		B.failure(j, -1)
	end}

function B.leave(j)
	local c = 'c' .. j.state

	q[c] = q[c] - 1
	B.leavers[j.state](j)
end

-- Nothing that lives holds a place or a key after its end.
function B.end_of_life(j)
	local x = B.has(j, B.HAS_X) and B.ext(j)
	local other = x and x.pr and B.job(x.pr)

	if not x then
		return
	end
	if B.has(j, B.BLOCKED) and other then
		B.unique_give_back(j, other)
	end
	B.unique_free(j)
	if B.has(j, B.GROUP) then
		B.group_leave(j)
	end
	if x.pr then
		B.ext_touch(j).pr = nil
		if other then
			B.ext_touch(other).pr = nil
		end
	end
	if B.has(j, B.BLOCKED) then
		B.flag(j, B.BLOCKED, false)
	elseif other then
		B.job_unblock(other)
	end
end

B.enterers = {[B.WAITING] = B.enter_waiting, [B.DELAYED] = B.enter_delayed,
	[B.ACTIVE] = B.enter_active,
	[B.COMPLETED] = function(j, at)
		B.end_of_life(j)
		if B.has(j, B.RETAIN) then
			B.zset('t', j.id, at)
			B.due_at(at)
		else
			q.kc = q.kc + 1
			B.zset('c', j.id, B.finishing())
			B.due_at(M + O.completed_ms)
		end
	end,
	[B.FAILED] = function(j)
		B.end_of_life(j)
		B.zset('f', j.id, B.finishing())
		B.due_at(M + O.failed_ms)
		B.failure(j, 1)
	end}

function B.enter(j, state, at)
	local c = 'c' .. state

	q[c] = q[c] + 1
	j.state = state
	B.touch(j)
	B.enterers[state](j, at)
end

-- at: for DELAYED when it is due (W with WALL, else M), for ACTIVE the end of
-- the lease (M), for COMPLETED with RETAIN its end (M); for WAITING true: at
-- its old place.
function B.job_move(j, state, at)
	B.leave(j)
	B.enter(j, state, at)
end

function B.job_unblock(j)
	local waiting = j.state == B.WAITING

	if waiting then
		B.leave_waiting(j)
	end
	B.flag(j, B.BLOCKED, false)
	if waiting then
		B.enter_waiting(j)
	end
end

function B.leave_line(j)
	B.leave(j)
	if B.has(j, B.INLINE) then
		B.line_leave(j, B.group(B.ext(j).g))
	end
end

function B.job_requeue(j)
	B.leave_line(j)
	B.enter(j, B.WAITING)
end

function B.job_redelay(j, wall, at)
	B.leave_line(j)
	B.flag(j, B.WALL, wall)
	B.enter(j, B.DELAYED, at)
end

-- It is gone, without a trace.
function B.job_forget(j)
	B.leave(j)
	B.end_of_life(j)
	B.zset('i', j.id, false)
	B.gone[#B.gone + 1] = j
	j.gone = true
	B.J[j.id] = false
end

-- A new one; enter() gives it a state. x: its map or nil.
function B.job_new(id, prio, run, text, x)
	local j = {id = id, state = B.WAITING, prio = prio, flags = 0,
	    attempt = 0, errors = 0, stalled = 0, order = 0, run = run,
	    created = W, started = 0, till = 0, seed = B.NOSEED, dirty = true,
	    x = nil}

	if x then
		j.x, j.xdirty, j.flags = x, true, B.HAS_X
	end
	B.J[id] = j
	B.dirty[#B.dirty + 1] = j
	B.payload_set(j, text)
	B.zset('i', id, id)
	q.ad = q.ad + 1
	return j
end

-- --- ends of attempts and of jobs ---

-- Somebody waits for it: this is what it was.
function B.tell_end(j, result, wiped)
	B.ended[#B.ended + 1] = {j.id, wiped and B.meta(j) or '',
	    wiped and B.payload(j) or '',
	    wiped and j.x and mpack(j.x) or '', result or false}
	B.flag(j, B.WAITED, false)
end

function B.record_error(j, message, version)
	local x = B.ext_touch(j)
	local es = x.es or {}

	if #es >= B.ERRORS then
		table.remove(es, 6)
	end
	es[#es + 1] = {j.attempt, W, message, version or ''}
	x.es = es
end

function B.steps_forget(j)
	if B.has(j, B.HAS_S) then
		call('DEL', Q .. 's:' .. j.id)
		B.flag(j, B.HAS_S, false)
		local x = B.ext_touch(j)
		x.sn, x.sb = nil, nil
	end
end

function B.fail_for_good(j, message, version, fp)
	local o = O

	B.record_error(j, message, version)
	if o.callbacks % 4 >= 2 then
		B.owe(B.ON_FAILED, j, nil, message)
	end
	if o.dead_letter ~= '' then
		B.outgoing(j, o.dead_letter, message)
	end
	q.ft = q.ft + 1
	local x = B.ext_touch(j)
	x.er, x.fp = message, fp
	B.job_move(j, B.FAILED)
	j.till = W
	B.note(B.DIED, j, message)
	if B.has(j, B.WAITED) then
		B.tell_end(j)
	end
end

function B.job_delete(j)
	B.job_forget(j)
end

-- Whether a completed job stays, making room if it must.
function B.stays()
	local o = O

	if o.completed_count == 0 or o.completed_ms == 0 then
		return false
	end
	if q.kc < o.completed_count then
		return true
	end
	if B.evicted >= 16 then
		return false
	end
	B.zflush('c')
	local oldest = call('ZRANGE', Q .. 'c', 0, 0)[1]
	local j = oldest and B.job(oldest)
	if not j then
		return false
	end
	B.evicted = B.evicted + 1
	B.job_delete(j)
	return true
end

function B.complete(j, result)
	local x = B.has(j, B.HAS_X) and B.ext(j)
	local retain = x and x.re or -1

	q.pr, q.ct = q.pr + 1, q.ct + 1
	if O.callbacks % 2 == 1 then
		B.owe(B.ON_COMPLETED, j, result)
	end
	if retain < 0 and not B.stays() then
		retain = 0
	end
	-- A waiter elsewhere gets it from here: it stays a moment.
	if retain == 0 and B.has(j, B.WAITED) and B.ext(j).wi ~= B.inst then
		retain = 2000
	end
	if retain == 0 then
		if B.has(j, B.WAITED) then
			j.state, j.till = B.COMPLETED, W
			B.tell_end(j, result, true)
			j.state = B.ACTIVE
		end
		B.job_forget(j)
		j.state = B.COMPLETED
		B.note(B.ENDED, j)
		j.state = B.ACTIVE
		return
	end
	B.flag(j, B.RETAIN, retain > 0)
	B.steps_forget(j)
	if result then
		call('HSET', Q .. 'r', j.id, result)
		B.flag(j, B.HAS_R, true)
	end
	B.job_move(j, B.COMPLETED, M + max(retain, 0))
	j.till = W
	B.note(B.ENDED, j)
	if B.has(j, B.WAITED) then
		B.tell_end(j, result)
	end
end

-- Its lease has ended, or its daemon has died.
function B.stall(j)
	local x = B.has(j, B.HAS_X) and B.ext(j) or {}
	local limit = x.ms or O.max_stalled
	local text = B.has(j, B.HANDLER) and
	    'the daemon died, or lost its handler' or
	    'the lease ended without an answer' ..
	    (x.wk and ' from worker ' .. x.wk or '')

	q.st = q.st + 1
	if O.callbacks % 8 >= 4 then
		B.owe(B.ON_STALLED, j, nil, text)
	end
	j.stalled = j.stalled + 1
	if j.stalled > limit then
		B.fail_for_good(j, 'stalled ' .. j.stalled ..
		    ' times, max_stalled is ' .. limit, '', O.fp_stalled)
		return
	end
	B.record_error(j, text)
	B.job_move(j, B.WAITING, true)
	B.note(B.STALLED, j)
end

-- --- what is due ---

function B.due_job(kind, j)
	if kind == 'd' and j.state == B.DELAYED then
		local ex = B.has(j, B.HAS_X) and B.ext(j).ex
		local late = W - j.run

		if ex and not B.has(j, B.WALL) then
			B.ext_touch(j).ex = ex + late
			j.run = j.run + late
		end
		B.job_move(j, B.WAITING)
	elseif kind == 'x' and j.state == B.WAITING and B.expires(j) then
		B.fail_for_good(j, 'expired', '', O.fp_expired)
	end
end

function B.due_one(m)
	local kind, rest = sub(m, 1, 1), sub(m, 2)

	if kind == 'h' then
		q.hm, q.hu = 0, 0
	elseif kind == 'g' then
		B.stir(B.group(rest))
	else
		local j = B.job(rest)

		if j then
			B.due_job(kind, j)
		end
	end
end

-- Takes what is due out of the set, and tells fn of each; how many.
function B.due_of(key, now, limit, fn)
	local ids = call('ZRANGEBYSCORE', Q .. key, '-inf', now, 'LIMIT', 0,
	    limit)

	if #ids > 0 then
		B.many('ZREM', Q .. key, ids)
	end
	for i = 1, #ids do
		fn(ids[i])
	end
	return #ids
end

function B.sweep_of(key, limit, age, count)
	local ids = call('ZRANGE', Q .. key, 0, limit - 1, 'WITHSCORES')
	local n = 0

	for i = 1, #ids, 2 do
		local at = floor(tonumber(ids[i + 1]) / 1024)

		if at + age > M and count() then
			break
		end
		local j = B.job(ids[i])
		n = n + 1
		if j then
			B.job_delete(j)
		else
			B.zset(key, ids[i], false)
		end
	end
	return n
end

-- Ended jobs that are too old or too many, a slice of them.
function B.sweep()
	local o = O
	local n = B.sweep_of('c', B.SWEEP, o.completed_ms, function()
		return q.kc <= o.completed_count
	end)

	if n < B.SWEEP then
		B.sweep_of('f', B.SWEEP - n, o.failed_ms, function()
			return q.c4 <= o.failed_count
		end)
	end
end

function B.head(key)
	local r = call('ZRANGE', Q .. key, 0, 0, 'WITHSCORES')

	return r[2] and tonumber(r[2])
end

function B.sweep_at()
	local o, at = O, B.NEVER
	local c, f = B.head('c'), B.head('f')

	if c then
		at = floor(c / 1024) + o.completed_ms
	end
	if f then
		at = min(at, floor(f / 1024) + o.failed_ms)
	end
	if q.kc > o.completed_count or q.c4 > o.failed_count then
		at = 0
	end
	return max(at, M + 1)	-- the next slice
end

-- When the next thing is due, once all has been written.
function B.next_due()
	local at = min(B.head('d') or B.NEVER, B.head('l') or B.NEVER,
	    B.head('t') or B.NEVER, B.sweep_at(), B.batch_due())
	local a = B.head('a')

	return a and min(at, M + a - W) or at
end

function B.run_due()
	local left = B.DUE

	left = left - B.due_of('a', W, left, function(id)
		local j = B.job(id)

		if j and j.state == B.DELAYED then
			B.job_move(j, B.WAITING)
		end
	end)
	left = left - B.due_of('d', M, max(left, 1), B.due_one)
	B.due_of('t', M, max(left, 1), function(id)
		local j = B.job(id)

		if j and j.state == B.COMPLETED then
			B.job_delete(j)
		end
	end)
	B.due_of('l', M, max(left, 1), function(id)
		local j = B.job(id)

		if j and j.state == B.ACTIVE then
			B.stall(j)
		end
	end)
	B.sweep()
	q.due = -1	-- to be found anew
end

-- --- begin and end ---

-- The lease ends in ms.
function B.extend(j, ms)
	j.till = W + ms
	B.touch(j)
	B.zset('l', j.id, M + ms)
	B.due_at(M + ms)
end

-- This instance has just started: what its handlers held is lost; outside
-- leases that it gave count anew.
function B.start()
	local ids = call('ZRANGE', Q .. 'l', 0, -1)

	B.jobs(ids)
	for i = 1, #ids do
		local j = B.job(ids[i])

		if j and sunpack('>I2', j.seed) == B.inst then
			if B.has(j, B.HANDLER) then
				B.stall(j)
			else
				B.extend(j, max(j.till - j.started, 0))
			end
		end
	end
	B.zflush('l')
end

function B.queue_read()
	local s = call('HGET', Q .. 'q', 's')

	q = {n = 0, fin = 0, due = B.NEVER, c0 = 0, c1 = 0, c2 = 0, c3 = 0,
	    c4 = 0, kc = 0, pr = 0, ft = 0, st = 0, ad = 0, ct = 0, rt = 0,
	    rm = 0, tat = 0, pa = 0, hu = 0, hm = 0, lm = 0, sk = 0, cb = 0,
	    on = 0, rd = 0, bo = 0, gp = 0}
	if s then
		q.n, q.fin, q.due, q.c0, q.c1, q.c2, q.c3, q.c4, q.kc, q.pr,
		    q.ft, q.st, q.ad, q.ct, q.rt, q.rm, q.tat, q.pa, q.hu,
		    q.hm, q.lm, q.sk, q.cb, q.on, q.rd, q.bo, q.gp =
		    sunpack(B.S_FMT, s)
	end
	B.unseen = not s
end

function B.queue_write()
	call('HSET', Q .. 'q', 's', spack(B.S_FMT, q.n, q.fin, q.due, q.c0,
	    q.c1, q.c2, q.c3, q.c4, q.kc, q.pr, q.ft, q.st, q.ad, q.ct, q.rt,
	    q.rm, q.tat, q.pa, q.hu, q.hm, q.lm, q.sk, q.cb, q.on, q.rd,
	    q.bo, q.gp))
end

-- M never goes back, and does not leap when TIME was put right: mmax is what
-- the caller's own clock expects at most (0: it does not know); level: it has
-- seen that M in another queue, so this one's has stood still.
function B.clocks(fixed, mmax, start, level)
	local lm = q.lm

	-- Over a restart the wall clock tells how much time has passed.
	if fixed and start and lm > 0 then
		q.sk = W - q.gp - M
	end

	if not fixed then
		local t = call('TIME')

		W = t[1] * 1000 + floor(t[2] / 1000)
		M = W
	end
	M = M + q.sk
	if level and M < mmax - 1000 then
		q.sk = q.sk + mmax - M
		M = mmax
	end
	if M < lm then
		if M < lm - 1000 then
			q.sk = q.sk + lm - M
		end
		M = lm
	elseif not fixed and mmax > 0 and M > max(mmax, lm) + 3600000 then
		q.sk = q.sk - (M - max(mmax, lm))
		M = max(mmax, lm)
	end
	q.lm = M
end

function B.begin(key, header, opts, chan)
	local flags, mmax, callno

	Q, B.channel = key, chan
	B.options(opts)
	B.inst, B.number, flags, B.rnd, callno, W, M, mmax =
	    sunpack('>I2I2BI4I6I6I6I6', header)
	B.watched = flags % 4 >= 2
	B.queue_read()
	-- Who asks has seen it before: the data is gone.
	B.lost = B.unseen and flags % 128 >= 64
	B.clocks(flags % 8 >= 4, mmax, flags % 32 >= 16, flags % 64 >= 32)
	-- Sent again: was it carried out?
	B.again = false
	if callno > 0 then
		if flags % 2 == 1 then
			local last = call('HGET', Q .. 'h', B.inst)

			B.again = last and tonumber(last) >= callno or false
		end
		if not B.again then
			call('HSET', Q .. 'h', B.inst, callno)
		end
	end
	B.batch_options()
	if flags % 32 >= 16 then
		B.start()
	end
	-- Jobs with AT follow W: when it has been set, what is next is another.
	if M >= q.due or W - M ~= q.gp then
		q.gp = W - M
		B.run_due()
	end
end

-- How many jobs and groups are to be had, and how many batches.
function B.ready_now()
	if q.pa > 0 or q.hm > 0 or
	    (O.max_active > 0 and q.c2 >= O.max_active) then
		return 0, 0
	end
	local n = call('ZCARD', Q .. 'w')
	if n == 0 then
		return 0, 0
	end
	if O.rate and not O.by_group then
		local at = B.token_at(q.tat)

		if at > M then
			B.due_at(at)
			return 0, 0
		end
	end
	return n, O.batch_max == 0 and n or
	    call('ZCOUNT', Q .. 'b', '-inf', M)
end

function B.jobs_write()
	local metas, xs, n, k = {}, {}, 0, 0

	for i = 1, #B.dirty do
		local j = B.dirty[i]

		if not j.gone then
			if j.xdirty then
				if next(j.x) then
					B.flag(j, B.HAS_X, true)
					xs[k + 1], xs[k + 2] = j.id,
					    mpack(j.x)
					k = k + 2
				elseif B.has(j, B.HAS_X) then
					call('HDEL', Q .. 'x', j.id)
					B.flag(j, B.HAS_X, false)
				end
			end
			metas[n + 1], metas[n + 2] = j.id, B.meta(j)
			n = n + 2
		end
	end
	if n > 0 then
		B.many('HSET', Q .. 'm', metas)
	end
	if k > 0 then
		B.many('HSET', Q .. 'x', xs)
	end
end

-- Of jobs that are gone; one that was new in this call has never been.
function B.gone_write()
	local ids, xs, rs = {}, {}, {}

	for i = 1, #B.gone do
		local j = B.gone[i]

		ids[i] = j.id
		if B.has(j, B.HAS_X) or j.x then
			xs[#xs + 1] = j.id
		end
		if B.has(j, B.HAS_R) then
			rs[#rs + 1] = j.id
		end
		if B.has(j, B.HAS_S) then
			call('DEL', Q .. 's:' .. j.id)
		end
	end
	B.many('HDEL', Q .. 'm', ids)
	B.many('HDEL', Q .. 'p', ids)
	if xs[1] then
		B.many('HDEL', Q .. 'x', xs)
	end
	if rs[1] then
		B.many('HDEL', Q .. 'r', rs)
	end
end

function B.write()
	B.settle()
	B.loose_settle()
	for name, g in pairs(B.groups) do
		if g.changed then
			B.group_write(g)
		end
	end
	if B.payloads[1] then
		B.many('HSET', Q .. 'p', B.payloads)
		B.payloads = {}
	end
	B.jobs_write()
	if B.gone[1] then
		B.gone_write()
	end
	for key in pairs(B.Z) do
		B.zflush(key)
	end
end

function B.tell(kind, arg)
	call('PUBLISH', B.channel, B.inst .. ' ' .. kind .. ' ' ..
	    string.match(Q, '{(.*)}:$') .. (arg and ' ' .. arg or ''))
end

function B.announce(due, bits)
	if q.due < 0 then
		q.due = min(B.next_due(), B.soonest)
	elseif B.soonest < due then
		q.due = B.soonest
	end
	if q.due < due then
		B.tell('t', string.format('%.0f', max(q.due - M, 0)))
	end
	if bits > 0 and bits ~= q.rd and q.rd < 3 then
		B.tell('r')
	end
	q.rd = bits
	for i = 1, #B.ended do
		B.tell('e', B.ended[i][1])
	end
	if B.owed[1] then
		B.tell('o')
	end
end

-- Writes all of it. The answer: M, ms until something is due (-1 never), how
-- many are ready and ripe, the results, and what else there is to tell.
function B.commit(results)
	local due = max(q.due, 0)
	local extras = {}

	B.write()
	local ready, ripe = B.ready_now()
	B.announce(due, (ready > 0 and 1 or 0) + (ripe > 0 and 2 or 0))
	B.queue_write()
	if B.news[1] and B.heard then
		B.news_publish()
	end
	if B.lost then
		extras[1], extras[2] = 'lost', 0
	end
	for _, e in ipairs({{B.watched and 'news' or 'published', B.news},
	    {'owed', B.owed}, {'out', B.out}, {'ended', B.ended}}) do
		if e[2][1] then
			extras[#extras + 1] = e[1]
			extras[#extras + 1] = e[1] ~= 'published' and e[2] or
			    0
		end
	end
	return {M, q.due >= B.NEVER and -1 or max(q.due - M, 0), ready, ripe,
	    results, extras}
end
