-- The numbers of queues, which are made if need be: all of them or none.
-- KEYS: queues; ARGV: how many there may be, the channel, who asks, and their
-- names. Refused: minus the number that the last one would have been.
local key, limit = KEYS[1], tonumber(ARGV[1])
local found, n = {}, redis.call('HLEN', KEYS[1])
local more = n

for i = 4, #ARGV do
	found[i] = redis.call('HGET', key, ARGV[i])
	more = more + (found[i] and 0 or 1)
end
if more > limit and more > n then
	return -more
end
local r = {}
for i = 4, #ARGV do
	local number = found[i] or redis.call('HGET', key, ARGV[i])

	if not number then
		number = n
		n = n + 1
		redis.call('HSET', key, ARGV[i], number)
		redis.call('PUBLISH', ARGV[2], ARGV[3] .. ' q ' .. ARGV[i] ..
		    ' ' .. number)
	end
	r[#r + 1] = tonumber(number)
end
return r
