-- SPDX-License-Identifier: MIT
-- Deletes all keys of the database but those whose names begin with ARGV[1]:
-- Bellhop's own. At once, so that nobody sees a half of it.
local prefix, cursor = ARGV[1], '0'
repeat
	local r = redis.call('SCAN', cursor, 'COUNT', 1000)
	local gone = {}
	for _, name in ipairs(r[2]) do
		if string.sub(name, 1, #prefix) ~= prefix then
			gone[#gone + 1] = name
		end
	end
	if #gone > 0 then
		redis.call('UNLINK', unpack(gone))
	end
	cursor = r[1]
until cursor == '0'
return redis.status_reply('OK')
