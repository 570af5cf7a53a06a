-- What an operator does to jobs and queues, and looks at. ARGV[4] says what;
-- the answer is what its function here gives. A refusal is {word, state, …}.
local PAGE, LOOK, SMALL = 500, 1000, 2000
local OPS = {}
local A = function(n)
	return ARGV[4 + n]
end

-- --- one job ---

local function revive(j, fresh)
	local x = B.ext_touch(j)

	if fresh then
		B.steps_forget(j)
	end
	j.errors, j.stalled, j.attempt = 0, 0, 0
	B.job_move(j, B.WAITING)
	x.er, x.fp, x.ex = nil, nil, nil
	j.run, j.till = W, 0
	B.note(B.RETRYING, j)
end

-- Before it enters its new life: the keys that it had.
local function revivable(j)
	local x = B.ext(j)
	local holder = x.u and B.unique_holder(x.u)

	if holder then
		return holder
	end
	if x.g then
		B.group_name(j)
	end
	if x.u and not x.ut then
		B.unique_take(j, x.u, 0)
	end
	return nil
end

local function remove(j)
	q.rm = q.rm + 1
	B.note(B.REMOVED, j)
	if B.has(j, B.WAITED) then
		B.tell_end(j)
	end
	B.job_forget(j)
end

function OPS.retry(j)
	if j.state ~= B.FAILED then
		return {'state', j.state, 'failed'}
	end
	local holder = revivable(j)

	if holder then
		return {'holder', holder.state, holder.id}
	end
	revive(j, A(2) == '1')
end

function OPS.remove(j)
	if j.state == B.ACTIVE then
		return {'state', j.state, 'any other state (CANCEL ends it)'}
	end
	remove(j)
end

function OPS.promote(j)
	if j.state ~= B.DELAYED then
		return {'state', j.state, 'delayed'}
	end
	if B.has(j, B.HAS_X) and B.ext(j).ex then
		B.ext_touch(j).ex = j.x.ex + W - j.run
	end
	j.run = W
	B.job_move(j, B.WAITING)
end

function OPS.update(j)
	if j.state == B.ACTIVE or j.state == B.COMPLETED then
		return {'state', j.state, 'waiting, delayed or failed'}
	end
	call('HSET', Q .. 'p', j.id, A(2))
end

-- reason, then the error that it stands for and its fingerprint.
function OPS.cancel(j)
	if j.state >= B.COMPLETED then
		return {'state', j.state, 'waiting, delayed or active'}
	end
	if j.state ~= B.ACTIVE or not B.has(j, B.HANDLER) then
		B.fail_for_good(j, A(3), '', A(4))
		return
	end
	local x = B.ext_touch(j)

	x.cr, x.cf = A(2), A(4)
	B.flag(j, B.CANCELLED, true)
	if sunpack('>I2', j.seed) == B.inst then
		return {'cancelled', 0, j.seed}
	end
	B.tell('c', j.id .. ' ' .. j.seed .. A(2))
end

-- --- the queue ---

local QUEUE = {}

function QUEUE.pause()
	if q.pa == 0 then
		q.pa = W
		call('HSET', Q .. 'q', 'pb', A(1))
	end
end

function QUEUE.resume()
	q.pa, q.hu, q.hm = 0, 0, 0
	call('HDEL', Q .. 'q', 'pb', 'hr')
	B.zset('d', 'h', false)
end

function QUEUE.hold()
	local ms = tonumber(A(1))

	q.hu, q.hm = W + ms, M + ms
	call('HSET', Q .. 'q', 'hr', A(2))
	B.timer('h', q.hm)
end

-- --- many jobs, a slice of them ---

-- Jobs behind the cursor by a sorted set's scores, and the next cursor.
local function behind(key, cursor, n)
	B.zflush(key)
	local got = call('ZRANGEBYSCORE', Q .. key, '(' .. cursor, '+inf',
	    'WITHSCORES', 'LIMIT', 0, n)
	local ids = {}

	for i = 1, #got, 2 do
		ids[#ids + 1] = got[i]
	end
	B.jobs(ids)
	return ids, got[#got] or cursor, #ids == n
end

local function wanted(ids, state, fp, left)
	local list, found = {}, {}

	for i = 1, #ids do
		local j = B.job(ids[i])

		if j and j.state == state then
			list[#list + 1] = j
		end
	end
	B.exts(list)
	for i = 1, #list do
		if #found < left and (fp == '0' or B.ext(list[i]).fp == fp) then
			found[#found + 1] = list[i]
		end
	end
	return found
end

-- what (retry, purge), state, fingerprint or 0, how many at most, where it
-- goes on, and the set: {touched, how many more, where, set, more}.
function QUEUE.bulk()
	local what, state, fp = A(1), tonumber(A(2)), A(3)
	local left, cursor, set = tonumber(A(4)), A(5), A(6)
	local n, more, ids = 0, nil, nil

	if left < 0 then
		left = q['c' .. state]
		set = state == B.FAILED and 'f' or state == B.COMPLETED and 'c' or
		    'i'
	end
	ids, cursor, more = behind(set, cursor, PAGE)
	local list = wanted(ids, state, fp, left)
	for i = 1, #list do
		local j = list[i]

		if what == 'purge' then
			remove(j)
			n = n + 1
		elseif not revivable(j) then
			revive(j, false)
			n = n + 1
		end
	end
	left = left - #list
	if not more and set == 'c' then
		set, cursor, more = 't', '-inf', true	-- their own retain
	end
	return {n, left, cursor, set, more and left > 0 and 1 or 0}
end

-- --- looks ---

local LOOKS = {}

local function show(list)
	local r, ids = {}, {}

	for i = 1, #list do
		ids[i] = list[i].id
	end
	local texts = #ids > 0 and call('HMGET', Q .. 'p', unpack(ids)) or {}
	B.exts(list)
	for i = 1, #list do
		local j = list[i]

		r[#r + 1] = j.id
		r[#r + 1] = B.meta(j)
		r[#r + 1] = texts[i] or ''
		r[#r + 1] = j.x and mpack(j.x) or ''
		r[#r + 1] = B.has(j, B.HAS_R) and
		    call('HGET', Q .. 'r', j.id) or false
	end
	return r
end

-- All ids of a small set, in the order of ids; nil: it is not small.
local function small(state)
	local key = state == B.ACTIVE and 'l' or state == B.FAILED and 'f' or
	    state == B.COMPLETED and q.kc == q.c3 and 'c'

	if not key or q['c' .. state] > SMALL then
		return nil
	end
	B.zflush(key)
	local ids = call('ZRANGE', Q .. key, 0, -1)

	table.sort(ids, function(a, b)
		return #a < #b or #a == #b and a < b
	end)
	return ids
end

local function before(a, b)
	return #a < #b or #a == #b and a < b
end

-- Ids behind the cursor ('0': from the start) in the right order, so many as
-- a look may have, and whether there are more.
local function look(state, cursor, reverse)
	local ids = small(state)
	local r = {}

	if not ids then
		B.zflush('i')
		local from = cursor ~= '0' and '(' .. cursor or
		    reverse and '+inf' or '-inf'

		r = call(reverse and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE',
		    Q .. 'i', from, reverse and '-inf' or '+inf', 'LIMIT', 0,
		    LOOK)
		return r, #r == LOOK
	end
	for i = 1, #ids do
		local id = ids[reverse and #ids + 1 - i or i]

		if cursor == '0' or
		    (reverse and before(id, cursor) or
		    not reverse and before(cursor, id)) then
			r[#r + 1] = id
		end
	end
	return r, false
end

-- state, cursor, how many, reverse, fingerprint or 0: {where it goes on, or
-- '0'; jobs}.
function LOOKS.list()
	local state, cursor, count = tonumber(A(1)), A(2), tonumber(A(3))
	local fp, list = A(5), {}
	local ids, more = look(state, cursor, A(4) == '1')
	local last = cursor

	for from = 1, #ids, 100 do
		local some = {unpack(ids, from, min(from + 99, #ids))}

		B.jobs(some)
		for i = 1, #some do
			local j = B.job(some[i])

			if #list == count then
				return {last, show(list)}
			end
			last = some[i]
			if j and j.state == state and
			    (fp == '0' or B.ext(j).fp == fp) then
				list[#list + 1] = j
			end
		end
	end
	return {more and last or '0', show(list)}
end

local function older(at, j)
	return j and j.state == B.WAITING and min(at, j.run) or at
end

local function first_waiting(name)
	local ids = call('ZRANGE', Q .. 'n:' .. name, 0, 19)

	B.jobs(ids)
	for i = 1, #ids do
		local j = B.job(ids[i])

		if j and j.state == B.WAITING then
			return j
		end
	end
	return nil
end

-- When the oldest waiting job began to wait: the first of each priority, and
-- those of up to 100 groups.
local function oldest()
	local at, p = B.NEVER, 0

	while p < 10 do
		local r = call('ZRANGEBYSCORE', Q .. 'w', p * B.STEP, '+inf',
		    'WITHSCORES', 'LIMIT', 0, 1)

		if not r[1] then
			break
		end
		p = floor(tonumber(r[2]) / B.STEP) + 1
		if sub(r[1], 1, 1) == 'g' then
			at = older(at, first_waiting(sub(r[1], 2)))
		else
			at = older(at, B.job(r[1]))
		end
	end
	local names = call('HSCAN', Q .. 'g', 0, 'COUNT', 100)[2]
	for i = 1, min(#names, 200), 2 do
		at = older(at, first_waiting(names[i]))
	end
	return at < B.NEVER and max(W - at, 0) or 0
end

function LOOKS.stats()
	local text = call('HMGET', Q .. 'q', 'pb', 'hr')
	local held = q.hm > 0 and (q.hm > M or q.pa > 0)

	B.write()
	return {q.c0, q.c1, q.c2, q.c3, q.c4, q.pa, text[1] or '',
	    held and q.hu or 0, held and text[2] or '', oldest(), q.pr, q.ft,
	    q.st, q.ad, q.ct, q.rt, q.rm}
end

-- The newest failed job of this fingerprint.
local function newest(fp)
	local from = 0

	while from < 10000 do
		local ids = call('ZREVRANGE', Q .. 'f', from, from + 99)
		local list = {}

		B.jobs(ids)
		for i = 1, #ids do
			list[#list + 1] = B.job(ids[i])
		end
		B.exts(list)
		for i = 1, #list do
			if B.ext(list[i]).fp == fp then
				return list[i]
			end
		end
		if #ids < 100 then
			break
		end
		from = from + 100
	end
	return nil
end

-- Of each fingerprint: itself, how many, first, last, an id, its text.
function LOOKS.errors()
	local all, r = call('HGETALL', Q .. 'e'), {}

	B.write()
	for i = 1, #all, 2 do
		local fp = all[i]
		local count, first, last, id = sunpack('>I4I6I6s', all[i + 1])
		local j = B.job(id)

		if not j or j.state ~= B.FAILED or B.ext(j).fp ~= fp then
			j = newest(fp)
		end
		if j then
			r[#r + 1] = {fp, count, first, last, j.id,
			    B.ext(j).er or ''}
		end
	end
	return r
end

-- Callbacks that this instance owes, and which others owe some. dead: numbers
-- of instances whose are its own from now on.
function LOOKS.owed()
	local dead, mine, others, seen = {}, {}, {}, {}
	local all = call('HGETALL', Q .. 'o')

	for n in string.gmatch(A(1), '%d+') do
		dead[tonumber(n)] = true
	end
	for i = 1, #all, 2 do
		local rec = munpack(all[i + 1])

		if dead[rec[7]] then
			rec[7] = B.inst
			call('HSET', Q .. 'o', all[i], mpack(rec))
		end
		if rec[7] == B.inst then
			rec[8] = all[i]
			mine[#mine + 1] = rec
		elseif not seen[rec[7]] then
			seen[rec[7]] = true
			others[#others + 1] = rec[7]
		end
	end
	return {mine, others}
end

B.begin(KEYS[1], ARGV[1], ARGV[2], ARGV[3])

local what, result = ARGV[4], nil
if LOOKS[what] then
	result = LOOKS[what]()
elseif QUEUE[what] then
	result = QUEUE[what]()
else
	local j = B.job(A(1))

	if j then
		result = OPS[what](j)
	else
		result = {'none'}
	end
end
return B.commit(result or {'ok'})
