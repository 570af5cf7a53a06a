/* SPDX-License-Identifier: MIT */
/* log.debug/info/warn/error(text, fields) and print. */
#ifndef SCRIPT_LUA_LOG_H
#define SCRIPT_LUA_LOG_H

#include <lua.h>

#include "base/log.h"
#include "script/msg.h"

/* Adds its functions to the table on top of the stack. */
void lua_log_open(lua_State *L);

/* Logs the text at idx with the fields (a table) at idx + 1; returns 0, so
 * that a C function can return it. At most 200 lines in 10 s of one script
 * on one thread; what is more is dropped, and that is said once. m: whose
 * line it is, NULL: the run's. */
int lua_log_write(lua_State *L, enum log_level level, int idx,
    const struct run_msg *m);

#endif
