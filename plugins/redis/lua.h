/* SPDX-License-Identifier: MIT */
/* lua/NAME.lua as strings: made by the build. */
#ifndef REDIS_LUA_H
#define REDIS_LUA_H

extern const char rlua_prelude[];
extern const char rlua_batch[];
extern const char rlua_claim[];
extern const char rlua_dbsize[];
extern const char rlua_delex[];
extern const char rlua_flush[];
#define SCRIPT(name, before, file) extern const char file[];
#include "redis/script.def"
#undef SCRIPT

#endif
