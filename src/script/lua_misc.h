/* SPDX-License-Identifier: MIT */
/* config, secret(name), require(name), and what plugins bring. */
#ifndef SCRIPT_LUA_MISC_H
#define SCRIPT_LUA_MISC_H

#include <lua.h>

/* Adds them to the table on top of the stack. */
void lua_misc_open(lua_State *L);

/* Pushes a secret without its final newline; raises an error. */
void lua_misc_secret(lua_State *L, const char *name);

#endif
