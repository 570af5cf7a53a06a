/* SPDX-License-Identifier: MIT */
#include "script/lua_job.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/xalloc.h"
#include "script/lua_ask.h"
#include "script/lua_json.h"
#include "script/lua_log.h"
#include "script/lua_step.h"
#include "script/lua_time.h"
#include "script/run.h"

enum { BATCH_RESULTS = 64 << 20 };

static const char meta_key;		/* registry: metatable of jobs */
static const char end_mark;		/* what job:fail() and so on raise */

enum field {
	F_ID, F_QUEUE, F_BODY, F_DATA, F_GROUP, F_UNIQUE, F_ORIGIN, F_PRIORITY,
	F_ATTEMPT, F_ATTEMPTS, F_ERROR_COUNT, F_STALLED, F_RUN_AT,
	F_EXPIRES_AT, F_CREATED_AT, F_STARTED_AT
};

static const char *const field_names[] = {
	[F_ID] = "id", [F_QUEUE] = "queue", [F_BODY] = "body",
	[F_DATA] = "data", [F_GROUP] = "group", [F_UNIQUE] = "unique",
	[F_ORIGIN] = "origin", [F_PRIORITY] = "priority",
	[F_ATTEMPT] = "attempt", [F_ATTEMPTS] = "attempts",
	[F_ERROR_COUNT] = "error_count", [F_STALLED] = "stalled",
	[F_RUN_AT] = "run_at", [F_EXPIRES_AT] = "expires_at",
	[F_CREATED_AT] = "created_at", [F_STARTED_AT] = "started_at",
};

/* The run behind the job object at 1. */
static struct run_msg *
check_job(lua_State *L)
{
	struct run_msg **holder = lua_touserdata(L, 1);
	bool ok = false;

	if (holder && lua_getmetatable(L, 1)) {
		lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
		ok = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	if (!ok)
		luaL_error(L, "expected a job; call it as job:name()");
	if (!*holder)
		luaL_error(L, "this job has ended: it may not be used later");
	return *holder;
}

static void
push_bytes(lua_State *L, struct bh_bytes b)
{
	if (b.data)
		lua_pushlstring(L, b.data, b.len);
	else
		lua_pushnil(L);
}

/* Decoded once, then kept with the job object. */
static void
push_data(lua_State *L, struct run_msg *m)
{
	lua_getiuservalue(L, 1, JOB_DATA);
	if (!lua_isnil(L, -1))
		return;
	lua_pop(L, 1);
	if (!m->payload.data ||
	    !lua_json_decode(L, m->payload.data, m->payload.len, NULL, 0)) {
		lua_pushnil(L);
		return;
	}
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, 1, JOB_DATA);
}

static void
push_number(lua_State *L, const struct run_msg *m, enum field f)
{
	const int64_t v[] = {
		[F_PRIORITY] = m->priority, [F_ATTEMPT] = m->attempt,
		[F_ATTEMPTS] = m->attempts, [F_ERROR_COUNT] = m->error_count,
		[F_STALLED] = m->stalled, [F_RUN_AT] = m->run_at,
		[F_EXPIRES_AT] = m->expires_at,
		[F_CREATED_AT] = m->created_at,
		[F_STARTED_AT] = m->started_at,
	};

	if (f >= F_RUN_AT && v[f] == 0)
		lua_pushnil(L);
	else
		lua_pushinteger(L, v[f]);
}

static void
push_field(lua_State *L, struct run_msg *m, enum field f)
{
	const struct bh_bytes *const strings[] = {
		[F_QUEUE] = &m->queue, [F_BODY] = &m->payload,
		[F_GROUP] = &m->group, [F_UNIQUE] = &m->unique,
		[F_ORIGIN] = &m->origin,
	};
	char id[24];

	if (f == F_ID) {
		snprintf(id, sizeof(id), "%lld", (long long)m->id);
		lua_pushstring(L, id);
	} else if (f == F_DATA) {
		push_data(L, m);
	} else if (f >= F_PRIORITY) {
		push_number(L, m, f);
	} else {
		push_bytes(L, *strings[f]);
	}
}

/* Upvalue 1: name -> enum field or method. */
static int
job_index(lua_State *L)
{
	struct run_msg *m;

	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(1));
	if (lua_type(L, -1) != LUA_TNUMBER)
		return 1;		/* a method, or nil */
	m = check_job(L);
	push_field(L, m, (enum field)lua_tointeger(L, -1));
	return 1;
}

static int
job_newindex(lua_State *L)
{
	return luaL_error(L, "a job's fields cannot be set ('%s')",
	    luaL_tolstring(L, 2, NULL));
}

static int
job_tostring(lua_State *L)
{
	struct run_msg *m = check_job(L);

	lua_pushfstring(L, "job %I of %s", (LUAI_UACINT)m->id,
	    m->queue.data);
	return 1;
}

/* Records a reason (the string at idx, or def) as the run's text. */
static void
set_text(lua_State *L, struct run_msg *m, int idx, const char *def)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	size_t len = strlen(def);
	const char *s = def;

	if (!lua_isnoneornil(L, idx))
		s = luaL_tolstring(L, idx, &len);
	cpu_guard(cpu);
	free(m->end.text);
	m->end.text = xstrndup(s, len);
	m->end.len = len;
	cpu_unguard(cpu);
}

int
lua_job_end(lua_State *L, struct run_msg *m, enum bh_outcome outcome)
{
	m->end.outcome = outcome;
	m->run.verdict = true;
	if (m->batch)			/* the others go on */
		return 0;
	lua_pushlightuserdata(L, (void *)(uintptr_t)&end_mark);
	return lua_error(L);
}

struct run_msg *
lua_job_perform(lua_State *L, const char *method)
{
	struct run_msg *m = check_job(L);

	if (m->what != RUN_PERFORM && m->what != RUN_BATCH)
		luaL_error(L, "job:%s() is for perform; this job has ended",
		    method);
	return m;
}

static int
job_retry(lua_State *L)
{
	struct run_msg *m = lua_job_perform(L, "retry");
	int64_t ms = lua_span(L, 2, "job:retry", true);

	if (m->run.verdict)
		return 0;
	set_text(L, m, 3, "retry");
	m->end.delay_ms = ms;
	return lua_job_end(L, m, BH_FAIL);
}

static int
job_snooze(lua_State *L)
{
	struct run_msg *m = lua_job_perform(L, "snooze");
	int64_t ms = lua_span(L, 2, "job:snooze", true);

	if (m->run.verdict)
		return 0;
	set_text(L, m, 3, "");
	m->end.delay_ms = ms;
	m->end.backoff = ms < 0;
	return lua_job_end(L, m, BH_RELEASE);
}

static int
job_fail(lua_State *L)
{
	struct run_msg *m = lua_job_perform(L, "fail");

	if (m->run.verdict)
		return 0;
	set_text(L, m, 2, "failed");
	m->end.final = true;
	return lua_job_end(L, m, BH_FAIL);
}

static int
job_progress(lua_State *L)
{
	struct run_msg *m = lua_job_perform(L, "progress");
	size_t len;
	const char *s;

	luaL_checkany(L, 2);
	if (lua_type(L, 2) == LUA_TTABLE) {
		s = lua_json_encode(L, 2, &len);
		lua_pushlstring(L, s, len);
		lua_replace(L, 2);
	}
	s = luaL_tolstring(L, 2, &len);
	return lua_ask_progress(L, m, s, len);
}

static int
job_log(lua_State *L)
{
	return lua_log_write(L, LOG_INFO, 2, check_job(L));
}

static int
job_cancelled(lua_State *L)
{
	lua_pushboolean(L, check_job(L)->run.cancelled);
	return 1;
}

void
lua_job_error(lua_State *L, struct run_msg *m, int status)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	const char *s;
	size_t len;

	if (m->run.verdict)
		return;
	m->run.nomem = status == LUA_ERRMEM;
	s = luaL_tolstring(L, -1, &len);
	cpu_guard(cpu);
	run_end_fail(m, false, "%s", s);
	cpu_unguard(cpu);
}

static void
end_with_result(lua_State *L, struct run_msg *m)
{
	struct state *st = state_of(L);
	const char *s;
	size_t len;

	s = lua_json_encode(L, -1, &len);
	if (len > (size_t)st->src->env->max_result)
		luaL_error(L, "the result has %d bytes, max_result is %d",
		    (int)len, (int)st->src->env->max_result);
	if (m->njobs && len > BATCH_RESULTS / m->njobs)
		luaL_error(L, "the result has %d bytes and is kept with each "
		    "of %d jobs, together at most %d MiB", (int)len,
		    (int)m->njobs, BATCH_RESULTS >> 20);
	cpu_guard(&st->host->cpu);
	m->end.text = xmemdup(s, len);
	m->end.len = len;
	cpu_unguard(&st->host->cpu);
}

/* 1: the job object, or the table of them; on top the result or the error. */
static int
main_end(lua_State *L, int status, lua_KContext ctx)
{
	struct run_msg *m = (struct run_msg *)ctx;

	if (status != LUA_OK && status != LUA_YIELD)
		lua_job_error(L, m, status);
	else if (!lua_isnil(L, -1) &&
	    (m->what == RUN_PERFORM || m->what == RUN_BATCH))
		end_with_result(L, m);
	run_forget(m);
	return 0;
}

/* A callback's second argument. */
static int
push_news(lua_State *L, const struct run_msg *m)
{
	if (m->what == RUN_PERFORM || m->what == RUN_BATCH ||
	    m->what == RUN_STALLED)
		return 0;
	if (m->what == RUN_FAILED || !m->news.data ||
	    !lua_json_decode(L, m->news.data, m->news.len, NULL, 0))
		push_bytes(L, m->news);
	return 1;
}

static void
push_job(lua_State *L, struct run_msg *m)
{
	struct run_msg **holder;

	holder = lua_newuserdatauv(L, sizeof(struct run_msg *), JOB_VALUES);
	*holder = m;
	m->run.holder = holder;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
	lua_setmetatable(L, -2);
}

/* Two tables: ours below, which keeps the jobs whatever the script does with
 * the upper one. */
static void
push_batch(lua_State *L, struct run_msg *m)
{
	size_t i;

	lua_createtable(L, (int)m->njobs, 0);
	lua_createtable(L, (int)m->njobs, 0);
	for (i = 0; i < m->njobs; i++) {
		push_job(L, m->jobs[i]);
		lua_pushvalue(L, -1);
		lua_rawseti(L, -4, (lua_Integer)i + 1);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

int
lua_job_main(lua_State *L)
{
	struct run_msg *m = lua_touserdata(L, 1);
	int n, status;

	lua_settop(L, 0);
	if (m->what == RUN_BATCH) {
		push_batch(L, m);
	} else {
		push_job(L, m);
		lua_pushvalue(L, 1);
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(L)->fn[m->what]);
	lua_insert(L, 2);
	n = push_news(L, m);
	status = lua_pcallk(L, 1 + n, 1, 0, (lua_KContext)m, main_end);
	return main_end(L, status, (lua_KContext)m);
}

void
lua_job_open(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"retry", job_retry},
		{"snooze", job_snooze},
		{"fail", job_fail},
		{"progress", job_progress},
		{"log", job_log},
		{"cancelled", job_cancelled},
		{"step", lua_step},
		{"sleep", lua_step_sleep},
		{NULL, NULL},
	};
	size_t i;

	lua_newtable(L);
	luaL_newlib(L, methods);
	for (i = 0; i < nitems(field_names); i++) {
		lua_pushinteger(L, (lua_Integer)i);
		lua_setfield(L, -2, field_names[i]);
	}
	lua_pushcclosure(L, job_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, job_newindex);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, job_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushliteral(L, "job");
	lua_setfield(L, -2, "__name");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
}
