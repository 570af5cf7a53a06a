/* SPDX-License-Identifier: MIT */
/* The libraries cache, session, limit, once, lock, topic and redis. */
#ifndef SCRIPT_LUA_KEYS_H
#define SCRIPT_LUA_KEYS_H

#include <lua.h>

/* Adds them to the table on top of the stack; after everything else. */
void lua_keys_open(lua_State *L);

extern const char lua_keys_source[];	/* lua_keys.lua, made at build time */

#endif
