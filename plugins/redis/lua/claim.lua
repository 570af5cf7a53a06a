-- A store's ids come to this server. KEYS: meta seq; ARGV: the move's name,
-- the first id that it has never given. Answers 0: they stay as they are; else
-- the base of new ones, as somebody here may have the same.
local mine = 'mv:' .. ARGV[1]
local known = redis.call('HGET', KEYS[1], mine)

if known then
	return known
end
local n, base = tonumber(ARGV[2]), '0'

if redis.call('EXISTS', KEYS[2]) == 0 and
    redis.call('HEXISTS', KEYS[1], 'alien') == 0 then
	redis.call('SET', KEYS[2], math.floor(n / 16384) + 1)
	redis.call('HSET', KEYS[1], 'alien', string.format('%.0f', n - 1))
else
	base = string.format('%.0f', redis.call('INCRBY', KEYS[2], ARGV[2]) - n)
end
redis.call('HSET', KEYS[1], mine, base)
return base
