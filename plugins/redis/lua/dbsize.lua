-- SPDX-License-Identifier: MIT
-- How many keys there are without those whose names begin with ARGV[1].
local own, cursor = 0, '0'
local match = string.gsub(ARGV[1], '[%*%?%[%]\\]', '\\%0') .. '*'
repeat
	local r = redis.call('SCAN', cursor, 'MATCH', match, 'COUNT', 10000)
	own = own + #r[2]
	cursor = r[1]
until cursor == '0'
return redis.call('DBSIZE') - own
