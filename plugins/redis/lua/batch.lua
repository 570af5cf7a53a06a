-- Batches: with batch_max, handlers get waiting jobs together, those of one
-- group or those in none ('l'). Each such gathering is in b exactly while its
-- first job may start, with the time when it is ripe.

function B.loose_changed()
	B.loose_dirty = true
end

-- How large a batch can become at all.
function B.room()
	local o = O
	local n = o.batch_max

	if o.rate then
		n = min(n, o.burst)
	end
	if o.max_active > 0 then
		n = min(n, o.max_active)
	end
	return n
end

-- The first of the line that can start together, at most n.
function B.pick_line(g, n)
	local skip, list = O.skip, {}

	B.walk(g, function(j)
		if j.state == B.WAITING then
			list[#list + 1] = j
		elseif j.state ~= B.ACTIVE and not skip then
			return true
		end
		return #list >= n
	end)
	return list
end

-- The first n jobs in w that are in no group.
function B.pick_loose(n)
	local list, from = {}, 0

	B.zflush('w')
	while #list < n do
		local ids = call('ZRANGE', Q .. 'w', from, from + B.LOOKS - 1)

		for i = 1, #ids do
			if sub(ids[i], 1, 1) ~= 'g' and #list < n then
				list[#list + 1] = ids[i]
			end
		end
		if #ids < B.LOOKS then
			break
		end
		from = from + B.LOOKS
	end
	B.jobs(list)
	for i = 1, #list do
		list[i] = B.job(list[i])
	end
	return list
end

function B.since(j)
	return M - max(W - j.run, 0)
end

-- Since when the first and the last of the loose ones wait; nil: none.
function B.loose_edges()
	local first, last

	B.zflush('w')
	for p = 0, 9 do
		local lo, hi = p * B.STEP, p * B.STEP + B.STEP - 1
		for turn = 1, O.quiet > 0 and 2 or 1 do
			local ids = turn == 1 and call('ZRANGEBYSCORE',
			    Q .. 'w', lo, hi, 'LIMIT', 0, B.LOOKS) or
			    call('ZREVRANGEBYSCORE', Q .. 'w', hi, lo,
			    'LIMIT', 0, B.LOOKS)
			local i = 1

			while ids[i] and sub(ids[i], 1, 1) == 'g' do
				i = i + 1
			end
			local j = ids[i] and B.job(ids[i])
			if j and turn == 1 then
				first = min(first or B.NEVER, B.since(j))
			elseif j then
				last = max(last or 0, B.since(j))
			end
		end
	end
	return first, last or first
end

function B.group_edges(g)
	local first = B.walk(g, function(j)
		return j.state == B.WAITING and j
	end)
	local ids, last = {}, nil

	if O.quiet > 0 then
		ids = call('ZREVRANGE', Q .. 'n:' .. g.name, 0, B.LOOKS)
	end
	B.jobs(ids)
	for i = 1, #ids do
		local j = B.job(ids[i])

		if j and j.state == B.WAITING then
			last = j
			break
		end
	end
	if not first then
		return nil
	end
	return B.since(first), B.since(last or first)
end

function B.ripe_at(first, last, full)
	local at = first + O.window

	if O.quiet > 0 then
		at = min(at, last + O.quiet)
	end
	if at > M and full() then
		return M
	end
	return at
end

function B.gather(member, first, last, full)
	local at = first and B.ripe_at(first, last, full)

	B.zset('b', member, at or false)
	if at and at > M then
		B.due_at(at)
	end
end

function B.batch_refresh(g)
	local first, last

	if O.batch_max == 0 then
		return
	end
	if g.ready > 0 then
		first, last = B.group_edges(g)
	end
	B.gather('g' .. g.name, first, last, function()
		local n = B.room()

		return g.waiting >= n and #B.pick_line(g, n) >= n
	end)
end

function B.loose_settle()
	if not B.loose_dirty then
		return
	end
	B.loose_dirty = false
	if O.batch_max == 0 then
		return
	end
	local first, last = B.loose_edges()
	B.gather('l', first, last, function()
		return #B.pick_loose(B.room()) >= B.room()
	end)
end

-- All is as a reserve must see it.
function B.settle_all()
	B.settle()
	B.loose_settle()
	B.zflush('w')
	B.zflush('b')
end

function B.batch_due()
	local r

	if O.batch_max == 0 then
		return B.NEVER
	end
	r = call('ZRANGEBYSCORE', Q .. 'b', '(' .. M, '+inf', 'WITHSCORES',
	    'LIMIT', 0, 1)
	return r[2] and tonumber(r[2]) or B.NEVER
end

function B.batch_options()
	local o = O
	local sum = (o.batch_max + o.window * 31 + o.quiet * 1009 +
	    o.max_active * 7 + o.limit * 13 + o.per * 17 + o.burst * 19 +
	    (o.by_group and 5 or 0) + o.group_concurrency * 37 +
	    (o.skip and 3 or 0)) % B.NEVER

	if sum == q.bo then
		return
	end
	q.bo = sum
	if o.batch_max == 0 then
		call('DEL', Q .. 'b')
		return
	end
	for _, name in ipairs(call('HKEYS', Q .. 'g')) do
		B.stir(B.group(name))
	end
	B.loose_dirty = true
end

-- The gathering whose turn it is: 'l', a group, or nil.
function B.batch_turn()
	local ids = call('ZRANGEBYSCORE', Q .. 'b', '-inf', M, 'LIMIT', 0,
	    B.LOOKS)
	local best, prio

	for i = 1, #ids do
		local p

		if ids[i] == 'l' then
			local j = B.pick_loose(1)[1]
			p = j and j.prio + 1 or 99
		else
			p = B.group(sub(ids[i], 2)).ready
		end
		if p > 0 and (not best or p < prio) then
			best, prio = ids[i], p
		end
	end
	return best and (best == 'l' and best or B.group(sub(best, 2)))
end
