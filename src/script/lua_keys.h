/* SPDX-License-Identifier: MIT */
/* The libraries cache, session, limit, once, lock, topic and redis. */
#ifndef SCRIPT_LUA_KEYS_H
#define SCRIPT_LUA_KEYS_H

#include <lua.h>

/* Adds them to the table on top of the stack; after everything else. */
void lua_keys_open(lua_State *L);

/* lua_keys.lua and lua_stream.lua, made at build time. */
extern const char lua_keys_source[];
extern const char lua_stream_source[];

#endif
