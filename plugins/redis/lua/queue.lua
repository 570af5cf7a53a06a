-- The number of a queue, which is made if need be. KEYS: queues; ARGV: its
-- name, how many there may be, the channel, who asks. Refused: {the
-- number that it would have been}.
local n = redis.call('HGET', KEYS[1], ARGV[1])

if n then
	return tonumber(n)
end
n = redis.call('HLEN', KEYS[1])
if n >= tonumber(ARGV[2]) then
	return {n + 1}
end
redis.call('HSET', KEYS[1], ARGV[1], n)
redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' q ' .. ARGV[1] .. ' ' .. n)
return n
