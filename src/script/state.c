/* SPDX-License-Identifier: MIT */
#include "script/state.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "script/lua_hook.h"
#include "script/lua_json.h"
#include "script/sandbox.h"
#include "script/script_opts.h"
#include "script/script_schedule.h"

/* States take their share of the common memory in steps, so that threads do
 * not meet at one counter for each object. */
#define GRANT (256 * 1024)

static bool
grant_more(struct state *st, size_t need)
{
	struct script_memory *m = st->host->memory;
	size_t step = (need - st->granted + GRANT - 1) / GRANT * GRANT;
	long long before;

	before = atomic_fetch_add(&m->used, (long long)step);
	if (!st->uncapped &&
	    before + (long long)step > atomic_load(&m->limit)) {
		atomic_fetch_sub(&m->used, (long long)step);
		return false;
	}
	st->granted += step;
	return true;
}

static void
grant_less(struct state *st)
{
	size_t spare = (st->granted - st->used) / GRANT;

	if (spare < 2)
		return;
	atomic_fetch_sub(&st->host->memory->used,
	    (long long)((spare - 1) * GRANT));
	st->granted -= (spare - 1) * GRANT;
}

/* Whether the account may go from old_size to size; books it if so. A shrink
 * is never refused: Lua counts on that. */
static bool
book(struct state *st, size_t old_size, size_t size)
{
	size_t used = st->used - old_size + size;

	if (size > old_size) {
		if (!st->uncapped && used > (size_t)st->src->env->memory)
			return false;
		if (used > st->granted && !grant_more(st, used))
			return false;
	}
	st->used = used;
	if (size < old_size)
		grant_less(st);
	return true;
}

static void
block_link(struct state *st, struct block *b)
{
	b->next = st->blocks.next;
	b->prev = &st->blocks;
	b->next->prev = b;
	st->blocks.next = b;
}

static void
block_unlink(struct block *b)
{
	b->prev->next = b->next;
	b->next->prev = b->prev;
}

void *
state_alloc(struct state *st, void *p, size_t old_size, size_t size)
{
	struct block *b = p ? (struct block *)p - 1 : NULL, *to = NULL;

	if (!p)
		old_size = 0;		/* Lua passes a type there */
	else
		old_size += sizeof(*b);
	if (size > SIZE_MAX / 2 ||
	    !book(st, old_size, size ? size + sizeof(*b) : 0))
		return NULL;
	cpu_guard(&st->host->cpu);
	if (b)
		block_unlink(b);
	if (size == 0) {
		free(b);
	} else {
		to = xrealloc(b, size + sizeof(*b));
		block_link(st, to);
	}
	cpu_unguard(&st->host->cpu);
	return to ? to + 1 : NULL;
}

static void *
lua_alloc(void *ud, void *p, size_t old_size, size_t size)
{
	return state_alloc(ud, p, old_size, size);
}

static int
on_panic(lua_State *L)
{
	CHECK(!lua_tostring(L, -1));
	return 0;
}

bool
state_must_stop(lua_State *L)
{
	struct state *st = state_of(L);

	return (st->run && st->run->verdict) || cpu_over(&st->host->cpu);
}

/* Keeps the functions of the table at 1 in the registry. */
static void
keep_functions(lua_State *L, struct state *st)
{
	static const char *const names[] = {
		[RUN_PERFORM] = "perform",
		[RUN_BATCH] = "perform_batch",
		[RUN_COMPLETED] = "on_completed",
		[RUN_FAILED] = "on_failed",
		[RUN_STALLED] = "on_stalled",
	};
	int i;

	for (i = 0; i < (int)nitems(names); i++) {
		lua_pushstring(L, names[i]);
		lua_rawget(L, 1);
		st->fn[i] = LUA_NOREF;
		if (lua_isnil(L, -1))
			lua_pop(L, 1);
		else
			st->fn[i] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
}

struct load {
	struct script_opts *opts;
	struct buf *error;
	bool refused;
};

static int load_end(lua_State *L, int status, lua_KContext ctx);

/* Compiles and runs the file on a coroutine, so that the budget holds here
 * too. 1: light userdata struct load. */
static int
load_main(lua_State *L)
{
	lua_KContext ctx = (lua_KContext)lua_touserdata(L, 1);
	struct state *st = state_of(L);
	int status;

	lua_pushfstring(L, "@%s", st->src->name);
	status = luaL_loadbufferx(L, st->src->text, st->src->len,
	    lua_tostring(L, -1), "t");
	lua_remove(L, -2);
	if (status != LUA_OK)
		return lua_error(L);
	sandbox_env(L, -1);
	lua_callk(L, 0, 1, ctx, load_end);
	return load_end(L, LUA_YIELD, ctx);
}

static int
load_end(lua_State *L, int status, lua_KContext ctx)
{
	struct load *l = (struct load *)ctx;

	(void)status;
	lua_replace(L, 1);
	lua_settop(L, 1);
	if (!lua_istable(L, 1))
		return luaL_error(L, "the script must return a table with its "
		    "options, it returns %s", luaL_typename(L, 1));
	if (script_opts_read(L, 1, l->opts, l->error) < 0) {
		l->refused = true;
		return 0;
	}
	keep_functions(L, state_of(L));
	lua_hook_keep(L, state_of(L), l->opts);
	script_schedule_keep(L, state_of(L), 1, l->opts->queue);
	return 0;
}

static int
state_setup(lua_State *L)
{
	sandbox_open(L);
	return 0;
}

static void
load_failed(struct state *st, lua_State *co, int status, struct buf *e)
{
	if (status == CPU_STUCK) {
		st->dead = true;
		buf_adds(e, "stuck in a C function while the script loads: "
		    "a pattern that backtracks too much?");
	} else if (status == LUA_YIELD) {
		buf_addf(e, "the CPU budget of %lld ms (script_cpu) is used up "
		    "while the script loads", (long long)st->src->env->cpu_ms);
	} else if (status == LUA_ERRMEM) {
		buf_addf(e, "the memory limit of %lld bytes (script_memory) is "
		    "reached while the script loads",
		    (long long)st->src->env->memory);
	} else if (lua_type(co, -1) == LUA_TSTRING) {
		buf_adds(e, lua_tostring(co, -1));
	} else {
		buf_addf(e, "error object of type %s while the script loads",
		    luaL_typename(co, -1));
	}
}

/* Runs load_main on a coroutine. 0, or -1 with a message in e. */
static int
state_load(struct state *st, struct script_opts *opts, struct buf *e)
{
	struct load l = {.opts = opts, .error = e};
	int status, ref, ticks = 0;
	lua_State *co;

	if (state_thread_get(st, &co, &ref) < 0) {
		buf_adds(e, "not enough memory to load the script");
		return -1;
	}
	st->loading = true;
	lua_pushcfunction(co, load_main);
	lua_pushlightuserdata(co, &l);
	do
		status = cpu_resume(&st->host->cpu, co, 1,
		    (int)st->src->env->cpu_ms, &ticks);
	while (status == LUA_YIELD && st->host->cpu.preempted &&
	    ticks < st->host->cpu.soft);
	st->loading = false;
	if (status != LUA_OK)
		load_failed(st, co, status, e);
	else if (!l.refused)
		state_thread_put(st, co, ref);
	return status == LUA_OK && !l.refused ? 0 : -1;
}

struct state *
state_plain(struct host *h, struct source *src, struct buf *e)
{
	struct state *st = xcalloc(1, sizeof(*st));

	st->host = h;
	st->src = source_ref(src);
	st->blocks.next = st->blocks.prev = &st->blocks;
	st->L = lua_newstate(lua_alloc, st);
	if (!st->L) {
		buf_adds(e, "not enough memory to load the script");
		state_free(&st);
		return NULL;
	}
	*(struct state **)lua_getextraspace(st->L) = st;
	lua_atpanic(st->L, on_panic);
	lua_pushcfunction(st->L, state_setup);
	if (lua_pcall(st->L, 0, 0, 0) != LUA_OK) {
		/* A plugin's library may raise what it likes. */
		buf_adds(e, lua_type(st->L, -1) == LUA_TSTRING ?
		    lua_tostring(st->L, -1) :
		    "not enough memory to load the script");
		state_free(&st);
	}
	return st;
}

struct state *
state_new(struct host *h, struct source *src, struct script_opts *ret,
    struct buf *e)
{
	struct state *st = state_plain(h, src, e);
	struct script_opts opts;

	if (!st)
		return NULL;
	if (state_load(st, &opts, e) < 0) {
		state_free(&st);
		return NULL;
	}
	if (ret)
		*ret = opts;
	return st;
}

void
state_free(struct state **sp)
{
	struct state *st = *sp;

	*sp = NULL;
	if (!st)
		return;
	st->uncapped = true;		/* closing may allocate */
	if (st->L && !st->dead) {
		lua_json_done(st);
		lua_close(st->L);
	}
	while (st->blocks.next != &st->blocks) {
		struct block *b = st->blocks.next;

		block_unlink(b);
		free(b);
	}
	atomic_fetch_sub(&st->host->memory->used, (long long)st->granted);
	lua_hook_done(st);
	source_unref(&st->src);
	free(st->file);
	free(st);
}

static int
thread_new(lua_State *L)
{
	struct spare *s = lua_touserdata(L, 1);

	s->co = lua_newthread(L);
	s->ref = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

int
state_thread_get(struct state *st, lua_State **ret, int *ret_ref)
{
	struct spare s;

	if (st->nspare > 0) {
		s = st->spare[--st->nspare];
	} else {
		lua_pushcfunction(st->L, thread_new);
		lua_pushlightuserdata(st->L, &s);
		if (lua_pcall(st->L, 1, 0, 0) != LUA_OK) {
			lua_settop(st->L, 0);
			lua_gc(st->L, LUA_GCCOLLECT);
			return -1;
		}
	}
	*ret = s.co;
	*ret_ref = s.ref;
	return 0;
}

void
state_thread_put(struct state *st, lua_State *co, int ref)
{
	lua_settop(co, 0);
	if (st->nspare == STATE_POOL) {
		state_thread_drop(st, ref);
		return;
	}
	st->spare[st->nspare++] = (struct spare){co, ref};
}

void
state_thread_drop(struct state *st, int ref)
{
	luaL_unref(st->L, LUA_REGISTRYINDEX, ref);
}
