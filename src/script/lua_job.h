/* SPDX-License-Identifier: MIT */
/* The job that perform and the on_* functions get. */
#ifndef SCRIPT_LUA_JOB_H
#define SCRIPT_LUA_JOB_H

#include <lua.h>

#include "script/msg.h"

/* Keeps its metatable in the registry. */
void lua_job_open(lua_State *L);

/* The main function of a run's coroutine. 1: light userdata, the run_msg. It
 * fills msg->end unless it raises. */
int lua_job_main(lua_State *L);

/* The error on top of the stack, after a pcall, as the run's end. */
void lua_job_error(lua_State *L, struct run_msg *m, int status);

#endif
