-- SPDX-License-Identifier: MIT
-- Rows of schedules. KEYS: sr ss sv; ARGV: what, then
--   get NAME                      NAME empty: all
--   set NAME EXPECTED ROW STATE GENERATION LIMIT CHANNEL INSTANCE
--       EXPECTED: the version that it replaces, empty: none
--       ROW empty: stays as it is. GENERATION 0: a new one
--   del NAME EXPECTED CHANNEL INSTANCE
-- get answers {seconds, microseconds, rows there are, NAME, ROW, STATE, …};
-- the others {1, version}, or when somebody was faster {0, ROW, STATE}, or
-- past the limit {2, rows there are}.
local rows, states, counter = KEYS[1], KEYS[2], KEYS[3]
local what, name = ARGV[1], ARGV[2]

local function current()
	return redis.call('HGET', rows, name) or '',
	    redis.call('HGET', states, name) or ''
end

if what == 'get' then
	local t = redis.call('TIME')
	local out = {t[1], t[2], redis.call('HLEN', rows)}

	if name == '' then
		local all = redis.call('HGETALL', rows)

		for i = 1, #all, 2 do
			out[#out + 1] = all[i]
			out[#out + 1] = all[i + 1]
			out[#out + 1] = redis.call('HGET', states, all[i]) or ''
		end
	else
		local row, state = current()

		if row ~= '' then
			out[#out + 1] = name
			out[#out + 1] = row
			out[#out + 1] = state
		end
	end
	return out
end

local expected = ARGV[3]
local row, state = current()

if string.sub(state, 1, 8) ~= expected then
	return {0, row, state}
end
if what == 'del' then
	redis.call('HDEL', rows, name)
	redis.call('HDEL', states, name)
	redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. name)
	return {1, ''}
end
if row == '' and redis.call('HLEN', rows) >= tonumber(ARGV[7]) then
	return {2, redis.call('HLEN', rows)}
end

local v = redis.call('INCR', counter)
local version = struct.pack('>I8', v)
local generation = tonumber(ARGV[6])

if generation == 0 then
	generation = v
end
if ARGV[4] ~= '' then
	redis.call('HSET', rows, name, ARGV[4])
end
redis.call('HSET', states, name,
    version .. struct.pack('>I8', generation) .. ARGV[5])
redis.call('PUBLISH', ARGV[8], ARGV[9] .. ' ' .. name)
return {1, version, generation}
