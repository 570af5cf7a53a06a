/* SPDX-License-Identifier: MIT */
/*
 * What scripts ask of the store: queue.add, get, stats, pause, resume, hold,
 * and a job's progress. Each is a command of the front doors, sent to the main
 * thread; the coroutine waits for its answer, and an error is raised with the
 * words that the RESP door would use.
 */
#ifndef SCRIPT_LUA_ASK_H
#define SCRIPT_LUA_ASK_H

#include <lua.h>

#include "script/msg.h"

/* Adds `queue` to the table on top of the stack. */
void lua_ask_open(lua_State *L);

/* Body of job:progress(); text is on the stack. */
int lua_ask_progress(lua_State *L, const struct run_msg *m, const char *text,
    size_t len);

/* Frees an ask that will not be sent (again). */
void ask_free(struct ask **a);

#endif
