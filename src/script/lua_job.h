/* SPDX-License-Identifier: MIT */
/* The job that perform and the on_* functions get. */
#ifndef SCRIPT_LUA_JOB_H
#define SCRIPT_LUA_JOB_H

#include <lua.h>

#include "plugin.h"
#include "script/msg.h"

/* What the job object keeps: its decoded data, the names of its steps that
 * this run has seen. */
enum { JOB_DATA = 1, JOB_NAMES, JOB_VALUES = JOB_NAMES };

/* Keeps its metatable in the registry. */
void lua_job_open(lua_State *L);

/* The main function of a run's coroutine. 1: light userdata, the run_msg. It
 * fills msg->end unless it raises. */
int lua_job_main(lua_State *L);

/* The error on top of the stack, after a pcall, as the run's end. */
void lua_job_error(lua_State *L, struct run_msg *m, int status);
/* For methods of the job object at 1: the run of perform that it stands for;
 * elsewhere it raises an error that names the method. */
struct run_msg *lua_job_perform(lua_State *L, const char *method);
/* Ends the run here and now: what it raises passes every pcall. The first
 * verdict counts. In a batch it returns: the others go on. */
int lua_job_end(lua_State *L, struct run_msg *m, enum bh_outcome outcome);

#endif
