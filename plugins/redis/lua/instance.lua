-- The number of an instance. KEYS: insts, inst; ARGV: what it is called.
local n = redis.call('HGET', KEYS[1], ARGV[1])

if not n then
	n = redis.call('INCR', KEYS[2])
	redis.call('HSET', KEYS[1], ARGV[1], n)
end
return tonumber(n)
