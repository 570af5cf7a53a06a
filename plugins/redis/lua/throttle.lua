-- SPDX-License-Identifier: MIT
-- Token buckets of one key, all or nothing (GCRA): one time for each, when it
-- is full again. As src/keys/throttle.c has it.
--
-- KEYS[1]  where the buckets are: "per_ms:us:part;" each, part of a us
-- ARGV     now in us, or "" for the server's clock; quantity;
--          then limit, per_ms, burst of each
-- Answers  allowed; then remaining, reset_ms, retry_ms of each
--
-- Spans are counted in us / limit: there a token is per_ms * 1000, an integer.
local now = tonumber(ARGV[1])
if not now then
	local t = redis.call('TIME')
	now = t[1] * 1000000 + t[2]
end
local quantity = tonumber(ARGV[2])
local full_at, part_of = {}, {}
for per, us, part in string.gmatch(redis.call('GET', KEYS[1]) or '',
    '(%d+):(%d+):([^;]+);') do
	full_at[per] = tonumber(us)
	part_of[per] = tonumber(part)
end

local windows, allowed = {}, true
for i = 3, #ARGV, 3 do
	local w = {per = ARGV[i + 1], limit = tonumber(ARGV[i]), base = 0}
	local us = full_at[w.per]
	w.token = w.per * 1000
	w.burst = tonumber(ARGV[i + 2])
	w.size = w.token * w.burst
	if us and us >= now then
		w.base = (us - now) * w.limit +
		    math.floor(part_of[w.per] * w.limit + 0.5)
	end
	w.after = w.base + w.token * quantity
	allowed = allowed and w.after <= w.size
	windows[#windows + 1] = w
end

local answer, keep, longest = {allowed and 1 or 0}, {}, 0
for _, w in ipairs(windows) do
	local base = allowed and w.after or w.base
	local ms = w.limit * 1000
	local retry = -1
	if not allowed and quantity <= w.burst then
		retry = math.max(0, math.ceil((w.after - w.size) / ms))
	end
	answer[#answer + 1] = math.max(0, math.floor((w.size - base) / w.token))
	answer[#answer + 1] = math.ceil(base / ms)
	answer[#answer + 1] = retry
	keep[#keep + 1] = string.format('%s:%.0f:%.17g;', w.per,
	    now + math.floor(base / w.limit), base % w.limit / w.limit)
	longest = math.max(longest, math.ceil(base / ms))
end
if allowed and quantity > 0 then
	redis.call('SET', KEYS[1], table.concat(keep), 'PX', longest + 1)
end
return answer
