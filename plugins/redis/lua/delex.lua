-- SPDX-License-Identifier: MIT
-- DELEX key [IFEQ value | IFNE value]: servers before Redis 8.4 lack it.
local how = ARGV[1] and string.upper(ARGV[1])
if how then
	local same = redis.call('GET', KEYS[1]) == ARGV[2]
	if same ~= (how == 'IFEQ') then
		return 0
	end
end
return redis.call('DEL', KEYS[1])
