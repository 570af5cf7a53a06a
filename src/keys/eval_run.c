/* SPDX-License-Identifier: MIT */
/*
 * A script under way. It is a walk of the keyspace whose step resumes the
 * coroutine for a slice:
 *
 *   eval_begin ──► slice ──yield──► slice … ──► the value, or an error
 *                    │
 *                    ├ past eval_time, nothing written: stopped
 *                    ├ SCRIPT KILL: stopped
 *                    └ it cannot yield for EVAL_STUCK_US: stopped
 *
 * A script that is stopped at a yield is never resumed again: its coroutine is
 * forgotten. Where it cannot yield an error is raised, which pcall() hands on.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "keys/eval.h"

enum { TEXT_MAX = 1024 };

void
eval_put_error(struct kcall *c, const char *text, size_t len)
{
	struct bh_value *v;
	char *copy;

	c->re->n = c->begin;
	put_bytes(c, text, len < TEXT_MAX ? len : TEXT_MAX);
	v = &c->re->items[c->re->n - 1];
	v->type = BH_ERROR;
	copy = (char *)(uintptr_t)v->s.data;
	for (size_t i = 0; i < v->s.len; i++)
		if (copy[i] == '\r' || copy[i] == '\n')
			copy[i] = ' ';
}

/* --- time --- */

bool
eval_must_stop(lua_State *L)
{
	const struct eval_run *run = eval_of(L)->run;

	return run && run->verdict != EVAL_GOES_ON;
}

bool
eval_slice_over(const struct eval_run *run)
{
	return slice_over(run->slice_us);
}

static bool
past_eval_time(const struct eval_run *run)
{
	int64_t ms = run->ev->ks->limits.eval_ms;

	return ms > 0 && clock_mono_us() - run->started_us > ms * 1000;
}

bool
eval_is_late(const struct eval_run *run)
{
	return past_eval_time(run);
}

static void
judge(struct eval_run *run)
{
	if (run->verdict == EVAL_GOES_ON && !run->wrote &&
	    past_eval_time(run))
		run->verdict = EVAL_TIMEOUT;
}

static const char *
verdict_text(const struct eval_run *run, char text[200])
{
	if (run->verdict == EVAL_KILLED)
		return "Script killed by user with SCRIPT KILL.";
	if (run->verdict == EVAL_STUCK)
		return "Script stopped: it ran too long inside of a function"
		    " of C, such as the comparison of a sort";
	snprintf(text, 200, "Script stopped: it ran longer than %lld ms"
	    " (eval_time) and has written nothing.",
	    (long long)run->ev->ks->limits.eval_ms);
	return text;
}

static void
on_count(lua_State *L, lua_Debug *ar)
{
	struct eval_run *run = eval_of(L)->run;
	char text[200];

	(void)ar;
	if (!run)
		return;
	judge(run);
	if (lua_isyieldable(L)) {
		if (run->verdict || eval_slice_over(run))
			lua_yield(L, 0);
		return;
	}
	if (!run->verdict &&
	    clock_mono_us() - run->slice_us > EVAL_STUCK_US)
		run->verdict = EVAL_STUCK;
	if (run->verdict)
		luaL_error(L, "%s", verdict_text(run, text));
}

/* --- errors --- */

/* The function of a script that is the nearest to where it happened. */
static bool
find_place(lua_State *L, int level, lua_Debug *ret)
{
	for (; lua_getstack(L, level, ret); level++) {
		lua_getinfo(L, "Sl", ret);
		if (strcmp(ret->source, "@user_script") == 0 ||
		    (*ret->what != 'C' && strcmp(ret->source, "=eval")))
			return true;
	}
	return false;
}

/* The message handler: a table with err, source and line, as Redis makes it
 * of any error. */
static int
on_error(lua_State *L)
{
	lua_Debug ar;

	if (lua_type(L, 1) != LUA_TTABLE) {
		eval_old_words(L, 1);
		lua_createtable(L, 0, 3);
		lua_pushfstring(L, "ERR %s", luaL_tolstring(L, 1, NULL));
		lua_setfield(L, 2, "err");
		lua_settop(L, 2);
	}
	if (find_place(L, 1, &ar)) {
		lua_pushliteral(L, "source");
		lua_pushstring(L, ar.source);
		lua_rawset(L, -3);
		lua_pushliteral(L, "line");
		lua_pushinteger(L, ar.currentline);
		lua_rawset(L, -3);
	}
	return 1;
}

/* The error table on the top becomes the answer. */
static void
put_failure(lua_State *L, struct eval_run *run)
{
	const char *text;
	size_t len;

	luaL_checkstack(L, 6, NULL);
	lua_pushliteral(L, "err");
	if (!lua_istable(L, -2) || lua_rawget(L, -2) != LUA_TSTRING) {
		lua_settop(L, 0);
		lua_pushliteral(L, "ERR unknown error");
		lua_createtable(L, 0, 0);
		lua_insert(L, -2);
	}
	lua_pushliteral(L, "source");
	lua_rawget(L, -3);
	lua_pushliteral(L, "line");
	lua_rawget(L, -4);
	if (lua_isstring(L, -1) && lua_isstring(L, -2))
		lua_pushfstring(L, "%s script: %s, on %s:%s.",
		    lua_tostring(L, -3), run->script->sha,
		    lua_tostring(L, -2), lua_tostring(L, -1));
	else
		lua_pushfstring(L, "%s script: %s", lua_tostring(L, -3),
		    run->script->sha);
	text = lua_tolstring(L, -1, &len);
	eval_put_error(run->c, text, len);
}

/* --- the coroutine --- */

static int
body_end(lua_State *L, int status, lua_KContext ctx)
{
	struct eval_run *run = eval_of(L)->run;

	(void)ctx;
	if (status == LUA_OK || status == LUA_YIELD)
		eval_put_value(L, run->c);
	else if (status == LUA_ERRMEM)
		return lua_error(L);
	else
		put_failure(L, run);
	lua_settop(L, 0);
	return 0;
}

static void
push_words(lua_State *L, const struct bh_bytes *v, size_t n, const char *name)
{
	lua_createtable(L, (int)n, 0);
	for (size_t i = 0; i < n; i++) {
		lua_pushlstring(L, v[i].data ? v[i].data : "", v[i].len);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	eval_set_global(L, name);
}

static int
body(lua_State *L)
{
	struct eval_run *run = eval_of(L)->run;
	const struct kcall *c = run->c;
	int status;

	push_words(L, c->argv + 3, run->nkeys, "KEYS");
	push_words(L, c->argv + 3 + run->nkeys, c->argc - 3 - run->nkeys,
	    "ARGV");
	lua_pushcfunction(L, on_error);
	lua_rawgeti(L, LUA_REGISTRYINDEX, run->script->fn);
	status = lua_pcallk(L, 0, 1, -2, 0, body_end);
	return body_end(L, status, 0);
}

/* New or used; false: no memory for it. */
static int
make_thread(lua_State *L)
{
	struct eval *ev = eval_of(L);
	lua_State *co = lua_newthread(L);

	lua_sethook(co, on_count, LUA_MASKCOUNT, EVAL_HOOK);
	ev->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	ev->co = co;
	return 0;
}

static bool
take_thread(struct eval_run *run)
{
	struct eval *ev = run->ev;

	if (!ev->co) {
		lua_pushcfunction(ev->L, make_thread);
		if (lua_pcall(ev->L, 0, 0, 0) != LUA_OK) {
			lua_pop(ev->L, 1);
			return false;
		}
	}
	run->co = ev->co;
	run->co_ref = ev->co_ref;
	ev->co = NULL;
	return true;
}

/* --- the walk --- */

void
eval_call_done(struct eval_run *run)
{
	if (run->re)
		reply_free(run->ev->ks, run->re);
	run->re = NULL;
}

/* What the script was given goes with it. Nothing is allocated for that, or
 * as good as nothing. */
static void
forget_words(struct eval *ev)
{
	ev->uncapped = true;
	lua_pushnil(ev->L);
	eval_set_global(ev->L, "KEYS");
	lua_pushnil(ev->L);
	eval_set_global(ev->L, "ARGV");
	ev->uncapped = false;
}

static void
run_drop(void *state)
{
	struct eval_run *run = state;
	struct eval *ev = run->ev;

	forget_words(ev);
	inner_done(&run->inner);
	eval_call_done(run);
	if (run->co) {
		/* It has not ended well: only forgotten, never closed. */
		luaL_unref(ev->L, LUA_REGISTRYINDEX, run->co_ref);
	}
	ev->run = NULL;
	if (ev->used > 2 * ev->tidy_bytes + ((size_t)1 << 20))
		ev->untidy = true;
	free(run);
}

/* A sentence of ours, with where the script was. */
static void
put_stopped(struct kcall *c, struct eval_run *run, const char *text)
{
	char line[TEXT_MAX];
	lua_Debug ar;
	int n;

	if (run->co && find_place(run->co, 0, &ar))
		n = snprintf(line, sizeof(line), "ERR %s script: %s, on %s:%d.",
		    text, run->script->sha, ar.source, ar.currentline);
	else
		n = snprintf(line, sizeof(line), "ERR %s script: %s", text,
		    run->script->sha);
	eval_put_error(c, line, (size_t)n);
}

static void
put_raised(struct kcall *c, struct eval_run *run, int status)
{
	char text[200];

	if (status == LUA_ERRMEM) {
		snprintf(text, sizeof(text), "not enough memory: scripts have"
		    " %lld bytes (script_memory)",
		    (long long)run->ev->cap);
		put_stopped(c, run, text);
		run->ev->untidy = true;
		return;
	}
	if (lua_type(run->co, -1) == LUA_TSTRING)
		snprintf(text, sizeof(text), "%.190s",
		    lua_tostring(run->co, -1));
	else
		snprintf(text, sizeof(text), "unknown error");
	put_stopped(c, run, text);
}

/* The garbage of a big script goes before the next one begins. */
static bool
collected(struct eval_run *run)
{
	struct eval *ev = run->ev;

	while (ev->untidy && !run->begun)
		if (!eval_collect(ev) && eval_slice_over(run))
			return false;
	run->begun = true;
	return true;
}

static bool
eval_step(struct kcall *c)
{
	struct eval_run *run = c->state;
	struct eval *ev = run->ev;
	char text[200];
	int n, status;

	run->c = c;
	run->slice_us = clock_mono_us();
	if (!collected(run))
		return true;
	judge(run);
	if (!run->verdict) {
		status = lua_resume(run->co, NULL,
		    lua_status(run->co) == LUA_OK ? lua_gettop(run->co) - 1 :
		    0, &n);
		if (status == LUA_YIELD && !run->verdict)
			return true;
		if (status == LUA_OK) {
			ev->co = run->co;
			ev->co_ref = run->co_ref;
			run->co = NULL;
		} else if (!run->verdict) {
			put_raised(c, run, status);
		}
	}
	if (run->verdict && run->co)
		put_stopped(c, run, verdict_text(run, text));
	inner_end(&run->inner, c);
	return false;
}

void
eval_begin(struct kcall *c, struct eval *ev, struct eval_script *s,
    size_t nkeys, bool read_only)
{
	struct eval_run *run = xcalloc(1, sizeof(*run));

	run->ev = ev;
	run->script = s;
	run->nkeys = nkeys;
	run->read_only = read_only || s->no_writes;
	run->admin = c->r->admin;
	run->started_us = clock_mono_us();
	inner_init(&run->inner);
	ev->run = run;
	c->state = run;
	c->drop = run_drop;
	if (!take_thread(run)) {
		put_raised(c, run, LUA_ERRMEM);
		return;
	}
	lua_pushcfunction(run->co, body);
	c->step = eval_step;
}
