-- SPDX-License-Identifier: MIT
return redis.error_reply("ERR throttle is not there yet")
