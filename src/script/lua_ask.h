/* SPDX-License-Identifier: MIT */
/*
 * What scripts ask of the store: queue.add, add_many, get, stats, pause,
 * resume, hold, and a job's progress and steps. Each is a command of the front doors, sent to the main
 * thread; the coroutine waits for its answer, and an error is raised with the
 * words that the RESP door would use.
 */
#ifndef SCRIPT_LUA_ASK_H
#define SCRIPT_LUA_ASK_H

#include <lua.h>
#include <stdbool.h>

#include "script/msg.h"

/* Adds `queue` to the table on top of the stack. */
void lua_ask_open(lua_State *L);

/* Body of job:progress(); text is on the stack. */
int lua_ask_progress(lua_State *L, const struct run_msg *m, const char *text,
    size_t len);
/* Asks to keep a step, then calls k, which calls lua_ask_kept(): false when
 * the attempt no longer holds the job. Other refusals are raised. */
int lua_ask_step(lua_State *L, const struct run_msg *m, struct bh_bytes name,
    struct bh_bytes value, lua_KFunction k);
bool lua_ask_kept(lua_State *L);

/* Words of a command under construction; the strings are on the Lua stack. */
#define ARGS_MAX 48

struct args {
	lua_State *L;
	const char *what;		/* whom errors are about */
	struct bh_bytes v[ARGS_MAX];
	size_t n;
};

/* Adds the job options that the table at idx has, as JOB.ADD takes them.
 * Raises an error for a name that is neither one of them nor in others (ends
 * with NULL). Leaves strings on the stack. */
void lua_args_job(struct args *a, int idx, const char *const *others);
void lua_args_add(struct args *a, const char *s, size_t len);
/* The value at idx: a string goes as its bytes, anything else as JSON. */
void lua_args_payload(struct args *a, int idx);

/* Asks; the coroutine goes on in k once the answer is there. */
int lua_ask_send(lua_State *L, enum ask_what what, const struct bh_bytes *argv,
    size_t argc, lua_KFunction k);
/* In k: the answer, and its value on the stack (maps become tables, null
 * becomes nil). */
const struct resp_value *lua_ask_answer(lua_State *L);
void lua_ask_push(lua_State *L, const struct resp_value *v);

/* Frees an ask that will not be sent (again). */
void ask_free(struct ask **a);

#endif
