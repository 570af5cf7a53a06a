-- The requests of one turn for one queue, in order: each is a packed header
-- and what belongs to it. Numbers below 0 are refusals.
B.STALE, B.TAKEN, B.COUNT, B.BYTES = -1, -3, -4, -5
B.HEARTBEAT, B.STEPS_MAX, B.STEPS_BYTES = 30000, 1000, 16777216
local OPS = {}
local ARGV = ARGV

B.begin(KEYS[1], ARGV[1], ARGV[2], ARGV[3])

-- --- put ---
-- P flags prio mode when(6) id; payload, its map. flags: 1 when is a time of
-- the wall, 2 it has a map, 4 it comes only once under the name that follows,
-- 8 the same with a name and a number: numbers of one name ascend.

function B.first_state(j, wall, when)
	if j.run <= W then
		B.enter(j, B.WAITING)
	else
		B.flag(j, B.WALL, wall)
		B.enter(j, B.DELAYED, wall and when or M + when)
	end
end

function B.new_job(id, prio, run, text, x)
	local j = B.job_new(id, prio, run, text, x)

	if x then
		if x.xm then
			x.ex, x.xm = run + x.xm, nil
		end
		if x.g then
			B.group_name(j)
		end
		if x.u then
			B.unique_take(j, x.u, x.ut and W + x.ut or 0)
		end
	end
	return j
end

function B.replace(j, run, wall, when, text, new)
	local x = B.ext_touch(j)

	B.payload_set(j, text)
	if new.xm then
		x.ex = run + new.xm
	elseif x.ex then
		x.ex = x.ex + run - j.run
	end
	if new.ut then
		x.uu, x.ut = W + new.ut, new.ut
	end
	j.run = run
	if run > W then
		B.job_redelay(j, wall, wall and when or M + when)
	else
		B.job_requeue(j)
	end
end

-- Who answers for it instead: the job, and whether it has been made for it.
function B.duplicate(id, prio, mode, run, wall, when, text, x)
	local j = B.unique_holder(x.u)

	if not j or mode == 0 then
		return j
	end
	if j.state ~= B.ACTIVE then
		B.replace(j, run, wall, when, text, x)
	elseif mode == 2 then
		local other = B.ext(j).pr and B.job(j.x.pr)

		if other then
			B.replace(other, run, wall, when, text, x)
			return other
		end
		other = B.new_job(id, prio, run, text, x)
		B.ext_touch(other).pr = j.id
		B.ext_touch(j).pr = other.id
		B.flag(other, B.BLOCKED, true)
		B.first_state(other, wall, when)
		B.note(B.ADDED, other)
		return other, true
	end
	return j
end

-- Was it put when it was sent the first time?
function B.put_again(id, x)
	local j = B.job(id)
	local holder = not j and x and x.u and B.unique_holder(x.u)

	if holder then
		return {holder.state, holder.id}
	end
	return j and j.state or B.WAITING
end

function OPS.P(h, i)
	local pf, prio, mode, when = sunpack('>BBBI6', h, 2)
	local id, text = sub(h, 11), ARGV[i + 1]
	local wall, x = pf % 2 == 1, nil
	local run = wall and when or W + when

	i = i + 2
	if pf % 4 >= 2 then
		x = munpack(ARGV[i])
		i = i + 1
	end
	if pf % 8 >= 4 then
		i = i + 1
		if call('HSETNX', Q .. 'h', ARGV[i - 1], 1) == 0 then
			return B.WAITING, i
		end
	end
	if pf % 16 >= 8 then
		local last = call('HGET', Q .. 'h', ARGV[i])

		i = i + 2
		if last and tonumber(last) >= tonumber(ARGV[i - 1]) then
			return B.put_again(id, x), i
		end
		call('HSET', Q .. 'h', ARGV[i - 2], ARGV[i - 1])
	end
	if B.again then
		return B.put_again(id, x), i
	end
	if x and x.u then
		local j, made = B.duplicate(id, prio, mode, run, wall, when,
		    text, x)

		if j then
			return made and j.state or {j.state, j.id}, i
		end
	end
	local j = B.new_job(id, prio, run, text, x)
	B.first_state(j, wall, when)
	B.note(B.ADDED, j)
	return j.state, i
end

-- N flags count(4): so many P follow that stand or fall together; a refusal
-- is {'full', which, waiting, max_waiting}. flags: 1 they are only judged, 2 they have
-- been already.
function OPS.N(h, i)
	local nf, n = sunpack('>BI4', h, 2)
	local from = i + 1
	local limit, waiting, keys = O.max_waiting, q.c0, {}
	local refused

	i = i + 1
	for k = 1, n do
		local pf = sunpack('>B', ARGV[i], 2)
		local x = pf % 4 >= 2 and munpack(ARGV[i + 2])
		local u = x and x.u

		if not (u and (keys[u] or B.unique_holder(u))) then
			if limit > 0 and waiting + 1 > limit then
				refused = refused or {'full', k - 1, waiting, limit}
			end
			waiting = waiting + 1
		end
		if u and x.ut ~= 0 then
			keys[u] = true
		end
		i = i + 2 + (pf % 4 >= 2 and 1 or 0) +
		    (pf % 8 >= 4 and 1 or 0)
	end
	if nf % 2 == 1 or refused and nf < 2 and not B.again then
		return refused or {}, i
	end
	local r = {}
	i = from
	for k = 1, n do
		r[k], i = OPS.P(ARGV[i], i)
	end
	return r, i
end

-- K may_overlap number(6); schedule, generation, then a P: a tick, which is
-- dealt with once. {id, or '0' and why it was skipped (empty: its last job lives)}.
function B.tick_add(pi, may, last)
	local j = last and B.job(last)

	if not may and j and j.state < B.COMPLETED then
		return {'0', ''}
	end
	local pf = sunpack('>B', ARGV[pi], 2)
	local x = pf % 4 >= 2 and munpack(ARGV[pi + 2])
	local limit = O.max_waiting

	if limit > 0 and q.c0 >= limit and
	    not (x and x.u and B.unique_holder(x.u)) then
		return {'0', 'queue \'' .. string.match(Q, '{(.*)}:$') ..
		    '\' has ' .. q.c0 .. ' waiting jobs, max_waiting is ' ..
		    limit}
	end
	local r = OPS.P(ARGV[pi], pi)
	return {type(r) == 'table' and r[2] or sub(ARGV[pi], 11), ''}
end

function OPS.K(h, i)
	local may, number = sunpack('>BI6', h, 2)
	local name, generation, pi = ARGV[i + 1], ARGV[i + 2], i + 3
	local pf = sunpack('>B', ARGV[pi], 2)
	local next = pi + 2 + (pf % 4 >= 2 and 1 or 0)
	local s = call('HGET', Q .. 'k', name)
	local t = s and munpack(s)

	if not t or t.generation ~= generation then
		t = {generation = generation, newest = 0, ticks = {}}
	end
	for k = 1, #t.ticks do
		if t.ticks[k][1] == number then
			return {t.ticks[k][2], ''}, next
		end
	end
	if number <= t.newest then
		return {'0', 'it has been dealt with'}, next
	end
	local r = B.tick_add(pi, may == 1, t.last)
	t.newest = number
	table.insert(t.ticks, 1, {number, r[1]})
	t.ticks[11] = nil
	if r[1] ~= '0' then
		t.last = r[1]
	end
	call('HSET', Q .. 'k', name, mpack(t))
	return r, next
end

-- --- reserve ---
-- R flags count(4) lease+1(6) seed(8); worker. flags: 1 handler, 2 worker.

function B.claim(j, r, bt, another)
	local x = j.x
	local lease = r.handler and B.HEARTBEAT or r.lease or
	    x and x.ls or O.lease

	j.another, j.popped = another, true
	if r.worker or bt or (x and x.wk) then
		x = B.ext_touch(j)
		x.wk, x.bt = r.worker, bt
	end
	B.job_move(j, B.ACTIVE, M + lease)
	j.another, j.popped = nil, nil
	j.attempt = j.attempt + 1
	j.started, j.till, j.seed = W, W + lease, r.seed
	B.flag(j, B.HANDLER, r.handler)
	if O.rate and not O.by_group then
		q.tat = B.token_take(q.tat)
	end
	r.list[#r.list + 1] = j
	B.note(B.STARTED, j)
end

-- How many starts the gates of the queue allow.
function B.allowed()
	local o, n = O, B.NEVER

	if q.pa > 0 or q.hm > 0 then
		return 0
	end
	if o.max_active > 0 then
		n = max(o.max_active - q.c2, 0)
	end
	if o.rate and not o.by_group then
		n = min(n, B.tokens(q.tat))
	end
	return n
end

-- Claims up to n of what w has; false when there is no more.
function B.claim_some(r, n)
	B.settle_all()
	local ids = call('ZPOPMIN', Q .. 'w', n)
	local list, more = {}, #ids == n * 2

	for i = 1, #ids, 2 do
		if sub(ids[i], 1, 1) ~= 'g' then
			list[#list + 1] = ids[i]
		end
	end
	B.jobs(list)
	for i = 1, #list do
		list[i] = B.job(list[i])
	end
	B.exts(list)
	for i = 1, #ids, 2 do
		if sub(ids[i], 1, 1) == 'g' then
			local g = B.group(sub(ids[i], 2))

			g.ready = 0
			g.changed = true
			local j = B.group_next(g)
			if j then
				B.ext(j)
				B.claim(j, r)
			end
			B.settle()
			more = more or g.ready > 0
			if g.ready > 0 and i + 2 <= #ids then
				for k = i + 2, #ids, 2 do
					B.zset('w', ids[k], tonumber(ids[k + 1]))
				end
				return true
			end
		else
			local j = B.job(ids[i])

			if j and j.state == B.WAITING then
				B.claim(j, r)
			end
		end
	end
	return more
end

function B.claim_batches(r, count)
	for _ = 1, count do
		B.settle_all()
		local who, n = B.batch_turn(), min(B.room(), B.allowed())
		local g = who ~= 'l' and who or nil

		if g and O.rate and O.by_group then
			n = min(n, B.tokens(g.tat))
		end
		if not who or n < 1 then
			return
		end
		local list = g and B.pick_line(g, n) or B.pick_loose(n)
		q.n = q.n + 1
		local bt = string.format('%.0f', q.n % 4294967296)
		B.exts(list)
		call('HSET', Q .. 'bn', bt, #list)
		for i = 1, #list do
			if not g then
				B.zset('w', list[i].id, false)
			end
			B.claim(list[i], r, bt, i > 1)
		end
	end
end

function B.steps_of(j)
	local flat = call('HGETALL', Q .. 's:' .. j.id)
	local list = {}

	for i = 1, #flat, 2 do
		local n = sunpack('>I4', flat[i + 1])

		list[2 * n - 1], list[2 * n] = flat[i], sub(flat[i + 1], 5)
	end
	return list
end

-- What goes to whoever has claimed them: id, meta, payload, map, steps of
-- each.
function B.shown(list, handler)
	local r, ask = {}, {}

	for i = 1, #list do
		ask[i] = list[i].id
	end
	for i = 1, #ask, 4000 do
		local last = min(i + 3999, #ask)
		local got = call('HMGET', Q .. 'p', unpack(ask, i, last))

		for k = i, last do
			local j = list[k]

			r[#r + 1] = j.id
			r[#r + 1] = B.meta(j)
			r[#r + 1] = B.texts[j.id] or got[k - i + 1] or ''
			r[#r + 1] = j.x and mpack(j.x) or ''
			r[#r + 1] = handler and B.has(j, B.HAS_S) and
			    B.steps_of(j) or ''
		end
	end
	return r
end

-- What a request that is sent again had claimed.
function B.claimed_by(seed)
	local ids, list = call('ZRANGE', Q .. 'l', 0, -1), {}

	B.jobs(ids)
	for i = 1, #ids do
		local j = B.job(ids[i])

		if j and j.state == B.ACTIVE and j.seed == seed then
			list[#list + 1] = j
		end
	end
	B.exts(list)
	return list
end

function OPS.R(h, i)
	local rf, count, lease, seed = sunpack('>BI4I6c8', h, 2)
	local r = {list = {}, seed = seed, handler = rf % 2 == 1,
	    lease = lease > 0 and lease - 1 or nil}

	i = i + 1
	if rf % 4 >= 2 then
		r.worker = ARGV[i]
		i = i + 1
	end
	if B.again then
		r.list = B.claimed_by(seed)
		if #r.list > 0 then
			return B.shown(r.list, r.handler), i
		end
	end
	if r.handler and O.batch_max > 0 then
		B.claim_batches(r, count)
	else
		local n = min(count, B.allowed())

		while n > #r.list and B.claim_some(r, n - #r.list) do
		end
	end
	return B.shown(r.list, r.handler), i
end

-- --- ends of attempts ---

function B.held(id, seed)
	local j = B.job(id)

	return j and j.state == B.ACTIVE and j.seed == seed and j or nil
end

-- Whether one more step may be kept; a refusal.
function B.step_add(j, name, value)
	local x, key = B.ext(j), Q .. 's:' .. j.id
	local n, bytes = x.sn or 0, x.sb or 0

	if n > 0 and call('HEXISTS', key, name) == 1 then
		return B.TAKEN
	end
	if n >= B.STEPS_MAX then
		return {B.COUNT, n}
	end
	if #value > 1 and bytes + #name + #value - 1 > B.STEPS_BYTES then
		return {B.BYTES, bytes}
	end
	call('HSET', key, name, spack('>I4', n + 1) .. value)
	B.ext_touch(j)
	x.sn, x.sb = n + 1, bytes + #name + #value - 1
	B.flag(j, B.HAS_S, true)
	return nil
end

function B.try_again(j, delay)
	j.run = W + delay
	if delay > 0 then
		B.job_move(j, B.DELAYED, M + delay)
	else
		B.job_move(j, B.WAITING)
	end
end

function B.unit()
	B.rnd = (B.rnd * 1664525 + 1013904223) % 4294967296
	return B.rnd / 4294967296
end

function B.backoff(j)
	local o, x = O, B.has(j, B.HAS_X) and B.ext(j) or {}
	local delay = x.kd or o.delay

	if (x.kt or o.backoff) == 1 and delay > 0 then
		delay = delay * (x.kf or o.factor) ^ (j.errors - 1)
	end
	delay = min(delay, x.kx or o.delay_max)
	return floor(delay * (1 - (x.kj or o.jitter) * B.unit()))
end

function B.finish_error(j, text, version, fp, final, delay)
	local x = B.has(j, B.HAS_X) and B.ext(j) or {}

	q.pr = q.pr + 1
	j.errors = j.errors + 1
	if final or j.errors >= (x.at or O.attempts) then
		B.fail_for_good(j, text, version, fp)
		return
	end
	q.rt = q.rt + 1
	B.record_error(j, text, version)
	B.try_again(j, delay or B.backoff(j))
	B.note(B.RETRYING, j, text)
end

function B.finish_release(j, delay)
	j.attempt = j.attempt - 1
	-- The start is given back, but it has been one.
	if B.has(j, B.HAS_X) and B.ext(j).ex then
		B.ext_touch(j).ex = nil
	end
	if delay and delay > 0 then
		B.try_again(j, delay)
	else
		B.job_move(j, B.WAITING, true)
	end
end

-- F outcome flags delay+1(6) seed(8) id; text, (FAIL) version, fingerprint,
-- (RELEASE) step. flags: 1 text, 2 final, 4 step, 8 it comes late.
function OPS.F(h, i)
	local outcome, ff, delay, seed = sunpack('>BBI6c8', h, 2)
	local id, text, version, fp, step = sub(h, 18)

	i = i + 1
	delay = delay > 0 and delay - 1 or nil
	if ff % 2 == 1 then
		text = ARGV[i]
		i = i + 1
	end
	if outcome == 1 then
		version, fp = ARGV[i], ARGV[i + 1]
		i = i + 2
	elseif ff % 8 >= 4 then
		step = ARGV[i]
		i = i + 1
	end
	local j = B.held(id, seed)
	if not j and ff % 16 >= 8 then
		-- Its end could not be told in time; nobody has begun anew.
		j = B.job(id)
		if j and j.seed == seed and j.state == B.WAITING then
			B.job_move(j, B.ACTIVE, M)
		else
			j = nil
		end
	end
	if not j then
		j = B.again and B.job(id)
		if B.again and (not j or j.seed == seed) then
			return j and j.state or B.COMPLETED, i
		end
		return B.STALE, i
	end
	local ms = max(W - j.started, 0)
	if B.has(j, B.CANCELLED) then
		local x = B.ext(j)

		B.fail_for_good(j, 'cancelled' .. ((x.cr or '') ~= '' and
		    ': ' .. x.cr or ''), version, x.cf)
		ms = 0
	elseif outcome == 0 then
		B.complete(j, text)
		return ms * 8 + B.COMPLETED, i
	elseif outcome == 2 then
		local refused = step and B.step_add(j, step, '\0')

		if refused then
			return refused, i
		end
		B.finish_release(j, delay)
		ms = 0
	else
		B.finish_error(j, text or '', version, fp, ff % 4 >= 2, delay)
	end
	return ms * 8 + j.state, i
end

-- --- extend ---
-- E flags lease(6) seed(8) id; progress, step, value. flags: 1 lease, 2
-- progress, 4 step.

function OPS.E(h, i)
	local ef, lease, seed = sunpack('>BI6c8', h, 2)
	local id, progress, step, value = sub(h, 17)

	i = i + 1
	if ef % 4 >= 2 then
		progress = ARGV[i]
		i = i + 1
	end
	if ef % 8 >= 4 then
		step, value = ARGV[i], ARGV[i + 1]
		i = i + 2
	end
	local j = B.held(id, seed)
	if not j then
		return B.again and 0 or B.STALE, i
	end
	if step and not B.again then
		local refused = B.step_add(j, step, value)

		if refused then
			return refused, i
		end
	end
	if ef % 2 == 1 then
		B.extend(j, lease)
	end
	if progress then
		B.ext_touch(j).pg = progress
		B.note(B.PROGRESS, j, progress)
	end
	return 0, i
end

-- H count(4); seed, lease(6) and id of each: handlers that run.
function OPS.H(h, i)
	local n, ids = sunpack('>I4', h, 2), {}

	for k = 1, n do
		ids[k] = sub(ARGV[i + k], 15)
	end
	B.jobs(ids)
	for k = 1, n do
		local s = ARGV[i + k]
		local j = B.held(ids[k], sub(s, 1, 8))

		if j then
			B.extend(j, (sunpack('>I6', s, 9)))
		end
	end
	return 0, i + 1 + n
end

-- --- looks ---
-- G flags id. flags: 1 it waits for the job's end.

function OPS.G(h, i)
	local gf, id = sunpack('>B', h, 2), sub(h, 3)
	local j = B.job(id)

	if not j then
		return {}, i + 1
	end
	if gf == 1 and j.state < B.COMPLETED then
		local x = B.ext_touch(j)

		x.wi = (not B.has(j, B.WAITED) or x.wi == B.inst) and B.inst or 0
		B.flag(j, B.WAITED, true)
		return 0, i + 1
	end
	local x = j.x and mpack(j.x) or
	    B.has(j, B.HAS_X) and call('HGET', Q .. 'x', id) or ''
	return {B.meta(j), B.payload(j), x,
	    B.has(j, B.HAS_R) and call('HGET', Q .. 'r', id) or false}, i + 1
end

-- Y id: {gate, state, until (W), ahead, a number, another, text}.
local GATE = {NONE = 0, STATE = 1, PAUSED = 2, HELD = 3, DELAYED = 4,
	RATE = 5, GROUP = 6, MAX_ACTIVE = 8, UNIQUE = 11, GATHERING = 20}

function B.why_queue(j)
	if q.pa > 0 then
		return {GATE.PAUSED, j.state, 0, '0', W - q.pa, 0,
		    call('HGET', Q .. 'q', 'pb') or ''}
	elseif q.hm > 0 then
		return {GATE.HELD, j.state, W + q.hm - M, '0', q.hm - M, 0,
		    call('HGET', Q .. 'q', 'hr') or ''}
	end
end

function B.why_delayed(j)
	local at

	if j.state ~= B.DELAYED then
		return nil
	end
	B.zflush('a')
	B.zflush('d')
	if B.has(j, B.WALL) then
		at = call('ZSCORE', Q .. 'a', j.id) - W
	else
		at = call('ZSCORE', Q .. 'd', 'd' .. j.id) - M
	end
	return {GATE.DELAYED, j.state, W + at, '0', at, j.errors,
	    tostring(B.ext(j).at or O.attempts)}
end

-- Whether it gathers, and whether it is in the next batch of its group.
function B.why_batch(j)
	local member, mine = 'l', false

	if O.batch_max == 0 then
		return nil
	end
	if B.has(j, B.GROUP) then
		local g = B.group(B.ext(j).g)

		member = 'g' .. g.name
		for _, o in ipairs(g.ready > 0 and B.pick_line(g, B.room()) or
		    {}) do
			mine = mine or o == j
		end
	end
	local at = tonumber(call('ZSCORE', Q .. 'b', member) or 0)
	if at > M and (mine or member == 'l') then
		return {GATE.GATHERING, j.state, W + at - M, '0', at - M,
		    O.batch_max, ''}
	end
	return nil, mine
end

function B.why_rate(j)
	local g = B.has(j, B.GROUP) and B.group(B.ext(j).g)
	local tat = O.by_group and (g and g.tat or 0) or q.tat

	if not O.rate then
		return nil
	end
	local at = floor(max(tat - (O.burst - 1) * B.interval(), M * 1000) /
	    1000)
	if at > M then
		return {GATE.RATE, j.state, W + at - M, '0', at - M,
		    O.by_group and 1 or 0, ''}
	end
end

function B.why_group(j)
	local ahead, active

	if not B.has(j, B.GROUP) or not B.has(j, B.INLINE) then
		return nil
	end
	local g = B.group(B.ext(j).g)
	B.walk(g, function(o)
		if o == j then
			return true
		end
		if o.state == B.ACTIVE then
			active = active or o
		elseif not O.skip or o.state == B.WAITING then
			ahead = ahead or o
		end
	end)
	if active and g.running >= O.group_concurrency then
		ahead = active
	end
	return ahead and {GATE.GROUP, j.state, 0, ahead.id, ahead.state, 0,
	    ''}
end

function B.why(j)
	local r = j.state >= B.ACTIVE and {GATE.STATE, j.state, 0, '0', 0, 0,
	    ''} or B.why_queue(j) or B.why_delayed(j)
	local mine

	if r then
		return r
	end
	if B.has(j, B.BLOCKED) then
		return {GATE.UNIQUE, j.state, 0, B.ext(j).pr, 0, 0, ''}
	end
	B.settle_all()
	r, mine = B.why_batch(j)
	r = r or B.why_rate(j) or not mine and B.why_group(j)
	if r then
		return r
	end
	if O.max_active > 0 and q.c2 >= O.max_active then
		return {GATE.MAX_ACTIVE, j.state, 0, '0', q.c2, 0, ''}
	end
	return {GATE.NONE, j.state, 0, '0', 0, 0, ''}
end

function OPS.Y(h, i)
	local j = B.job(sub(h, 2))

	return j and B.why(j) or {}, i + 1
end

-- T: only what is due. D name: a name of a P that came only once is free.
function OPS.T(_, i)
	return 0, i + 1
end

function OPS.D(h, i)
	return call('HDEL', Q .. 'h', sub(h, 2)), i + 1
end

-- O n: what went to another queue has arrived.
function OPS.O(h, i)
	return call('HDEL', Q .. 'out', sub(h, 2)), i + 1
end

-- S: what is still to go to other queues from here.
function OPS.S(_, i)
	local all, left = call('HGETALL', Q .. 'out'), {}

	for k = 1, #all, 2 do
		local rec = munpack(all[k + 1])

		if rec[6] == B.inst then
			rec[7] = all[k]
			left[#left + 1] = rec
		end
	end
	return left, i + 1
end

-- All jobs that ends and leases are about are read together.
local ids = {}
for i = 4, #ARGV do
	local kind = sub(ARGV[i], 1, 2)

	if kind == 'F\0' then
		ids[#ids + 1] = sub(ARGV[i], 18)
	end
end
if #ids > 1 then
	B.jobs(ids)
end

local results, i, n = {}, 4, 0
while ARGV[i] do
	n = n + 1
	results[n], i = OPS[sub(ARGV[i], 1, 1)](ARGV[i], i)
end
return B.commit(results)
