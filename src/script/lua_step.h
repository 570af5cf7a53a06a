/* SPDX-License-Identifier: MIT */
/*
 * job:step(name, fn) and job:sleep(duration [, name]): what a job has done
 * once it does not do again when it runs from the top another time.
 */
#ifndef SCRIPT_LUA_STEP_H
#define SCRIPT_LUA_STEP_H

#include <lua.h>

/* Methods of the job object at 1. */
int lua_step(lua_State *L);
int lua_step_sleep(lua_State *L);

#endif
