/* SPDX-License-Identifier: MIT */
/*
 * One lua_State: one version of one script on one thread, with a memory cap,
 * the sandbox and the script's functions. Runs of it are coroutines; they
 * share its memory but not their variables.
 *
 * Life: state_new() compiles and runs the file. A state that is replaced is
 * `retired` and freed by its thread when nruns is 0. A state whose C code hung
 * is `dead`: Lua must never see it again, and state_free() gives its memory
 * back without lua_close().
 *
 * Only the thread of its host touches it.
 */
#ifndef SCRIPT_STATE_H
#define SCRIPT_STATE_H

#include <bsd/sys/queue.h>
#include <lua.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/log.h"
#include "script/cpu.h"
#include "script/msg.h"

/* Memory of all states of the process together. */
struct script_memory {
	atomic_llong used;
	atomic_llong limit;
};

struct state;

/* The thread that a state lives on: its clock, its memory account, and how
 * its scripts reach the rest of the world. */
struct host {
	struct cpu cpu;
	struct script_memory *memory;
	/* Sends a command; the run has wait = WAIT_ANSWER already. */
	void (*ask)(struct host *h, struct ask *a);
	/* Wakes the run after ms; wait = WAIT_SLEEP already. */
	void (*nap)(struct host *h, struct run *r, int64_t ms);
	void (*log)(struct host *h, enum log_level level,
	    const struct log_about *about, const char *text);
	bool dry;			/* calls go nowhere */
};

/* Precedes every block that Lua allocates. */
struct block {
	struct block *next;
	struct block *prev;
};

#define STATE_POOL 256			/* coroutines kept for reuse */

struct spare {
	lua_State *co;
	int ref;
};

struct state {
	TAILQ_ENTRY(state) entry;	/* the host's list */
	struct host *host;
	struct source *src;		/* holds a reference */
	lua_State *L;
	struct run *run;		/* the one that Lua is executing */
	bool loading;
	bool retired;
	bool dead;
	unsigned nruns;

	size_t used;			/* bytes */
	size_t granted;			/* of them taken from host->memory */
	bool uncapped;
	struct block blocks;		/* all of them, circular */

	int fn[RUN_WHATS];		/* registry references of the functions */
	struct spare spare[STATE_POOL];
	size_t nspare;

	/* lua_json.c's and lua_misc.c's, kept here so that an error raised in
	 * the middle loses nothing: the next call or state_free() tidies up. */
	char *file;
	void *yajl;
	char *out;
	size_t out_len, out_cap;

	struct hook_state *hook;	/* lua_hook.c's, or NULL */

	int64_t log_since;		/* flood limit of this script's log */
	int log_lines;
};

/* The state that L belongs to. */
static inline struct state *
state_of(lua_State *L)
{
	return *(struct state **)lua_getextraspace(L);
}

/* NULL and a message "NAME:LINE: cause" in e. */
struct state *state_new(struct host *h, struct source *src,
    struct script_opts *ret, struct buf *e);
/* Only the sandbox: its owner loads what it likes into it. src is for the
 * environment and the name. */
struct state *state_plain(struct host *h, struct source *src, struct buf *e);
void state_free(struct state **st);

/* A coroutine, new or used, whose stack is empty; -1: no memory. */
MUSTCHECK int state_thread_get(struct state *st, lua_State **ret, int *ret_ref);
/* Back for reuse: it has ended with LUA_OK. */
void state_thread_put(struct state *st, lua_State *co, int ref);
/* Killed or failed: it is only forgotten, never closed (a pending <close>
 * handler would run without any limit). */
void state_thread_drop(struct state *st, int ref);

/* The running Lua code must end, whatever it catches. */
bool state_must_stop(lua_State *L);

/* Memory of the state for C code; NULL when the cap is reached. */
void *state_alloc(struct state *st, void *p, size_t old_size, size_t size);

#endif
