/* SPDX-License-Identifier: MIT */
/* exec(path [, args [, options]]): another program, without a shell; only
 * those that option exec_allow lists. */
#ifndef SCRIPT_LUA_EXEC_H
#define SCRIPT_LUA_EXEC_H

#include <lua.h>

/* Adds `exec` to the table on top of the stack. */
void lua_exec_open(lua_State *L);

#endif
