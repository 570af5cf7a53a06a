/* SPDX-License-Identifier: MIT */
/*
 * Scripts of EVAL: what the files eval*.c share; the only ones of the
 * keyspace that see Lua.
 *
 *   eval.c         commands, cache of scripts, memory
 *   eval_run.c     a script under way: slices, its end, being stopped
 *   eval_redis.c   redis.call() and the rest of that table
 *   eval_value.c   answers to Lua and back
 *   eval_base.c    the sandbox; with eval.lua
 *   eval_old.c     Lua 5.1's ways in Lua's libraries
 *   eval_json.c    cjson    eval_pack.c   cmsgpack
 *   eval_struct.c  struct   eval_bit.c    bit
 *
 * One lua_State, made at the first script and used by one script at a time: a
 * script is a walk of the keyspace (see part.h), so that other key commands
 * wait, and runs as a coroutine that a count hook yields out of when its slice
 * is over. Where it cannot yield (a metamethod called by C code) it goes on,
 * but not for long.
 *
 * Main thread only.
 */
#ifndef KEYS_EVAL_H
#define KEYS_EVAL_H

#include <lua.h>

#include "keys/inner.h"
#include "keys/part.h"

enum {
	EVAL_SHA = 40,
	/* Where it cannot yield, it is stopped after so long. */
	EVAL_STUCK_US = 100000,
	EVAL_HOOK = 1000		/* instructions between two looks */
};

/* A script that is known by its hash. */
struct eval_script {
	TAILQ_ENTRY(eval_script) lru;	/* most recent first */
	char sha[EVAL_SHA + 1];
	uint64_t hash;
	size_t size;			/* of its text */
	int fn;				/* registry reference */
	bool no_writes, allow_oom, shebang;
};

TAILQ_HEAD(eval_list, eval_script);

enum eval_verdict { EVAL_GOES_ON, EVAL_KILLED, EVAL_TIMEOUT, EVAL_STUCK };

/* The script under way; kcall.state. */
struct eval_run {
	struct eval *ev;
	struct kcall *c;		/* of this step */
	struct eval_script *script;
	size_t nkeys;			/* its words begin at c->argv[3] */
	lua_State *co;			/* NULL before its first slice */
	int co_ref;
	int64_t started_us, slice_us;	/* when they began */
	bool begun;
	bool read_only;
	bool admin;			/* may run commands of that role */
	bool wrote;
	bool resp3;			/* redis.setresp(3) */
	int log_lines;
	enum eval_verdict verdict;
	struct inner inner;
	struct kreply *re;		/* of redis.call() under way */
};

struct eval {
	struct keys *ks;
	lua_State *L;
	size_t used, cap;
	bool uncapped;
	struct map by_sha;
	struct eval_list lru;
	size_t nscripts, text_bytes;
	struct eval_run *run;		/* NULL: none */
	lua_State *co;			/* for the next script, or NULL */
	int co_ref;
	size_t tidy_bytes;		/* used after the last collection */
	bool untidy;			/* garbage is to be collected */
};

static inline struct eval *
eval_of(lua_State *L)
{
	return *(struct eval **)lua_getextraspace(L);
}

/* --- eval.c --- */

/* Bytes that Lua may still have. */
size_t eval_room(const struct eval *ev);
/* A step of the collector; true when nothing is left for it. */
bool eval_collect(struct eval *ev);
/* 40 hexadecimal digits and a zero. */
void eval_sha(const char *data, size_t len, char hex[EVAL_SHA + 1]);

/* --- eval_run.c --- */

/* Begins the script for a call whose keys begin at argv[3]; the call goes on
 * by its step. */
void eval_begin(struct kcall *c, struct eval *ev, struct eval_script *s,
    size_t nkeys, bool read_only);
/* The running code must end, whatever it catches. */
bool eval_must_stop(lua_State *L);
bool eval_slice_over(const struct eval_run *run);
/* Past eval_time, and it goes on. */
bool eval_is_late(const struct eval_run *run);
/* A redis.call() has ended: its answer is not needed any more. */
void eval_call_done(struct eval_run *run);
/* Puts an error of any length, on one line. */
void eval_put_error(struct kcall *c, const char *text, size_t len);

/* --- eval_value.c --- */

/* Pushes an answer; what follows it in its row. */
const struct bh_value *eval_push_value(lua_State *L, const struct bh_value *v,
    bool resp3);
/* The answer that the value on the top of the stack is. */
void eval_put_value(lua_State *L, struct kcall *c);
/* Pushes a table with the field err; text's first word is its name. */
void eval_push_error(lua_State *L, const char *text);
/* A number: an integer if it is a whole one that 5.1 would write as such. */
void eval_push_number(lua_State *L, lua_Number n);

/* --- libraries: each pushes its table --- */

int eval_open_redis(lua_State *L);
int eval_open_json(lua_State *L);
int eval_open_pack(lua_State *L);
int eval_open_struct(lua_State *L);
int eval_open_bit(lua_State *L);

/* --- eval_old.c --- */

/* Each pushes the library. */
void eval_open_string(lua_State *L);
void eval_open_table(lua_State *L);
void eval_open_math(lua_State *L);
/* Field name of the table on the top cuts fractions off its arguments. */
void eval_wrap_whole(lua_State *L, const char *name);
int eval_tostring(lua_State *L);
int eval_tonumber(lua_State *L);	/* upvalue: Lua's own */

/* --- eval_base.c --- */

/* Makes the sandbox in a new state; Lua errors if memory is short. */
int eval_open_base(lua_State *L);
/* Pushes the environment that scripts see. */
void eval_push_env(lua_State *L);
/* Sets a global of the scripts to the value on the top, which is popped. */
void eval_set_global(lua_State *L, const char *name);
/* "attempt to index a nil value (local 'x')" in the words of Lua 5.1: the
 * string at i is replaced. */
void eval_old_words(lua_State *L, int i);

extern const char eval_lua[];		/* eval.lua */

#endif
