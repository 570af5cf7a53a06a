/* SPDX-License-Identifier: MIT */
#include "script/lua_step.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "script/lua_ask.h"
#include "script/lua_job.h"
#include "script/lua_json.h"
#include "script/lua_time.h"
#include "script/state.h"

/* The name at idx: text of the right length, which the caller keeps alive. */
static struct bh_bytes
check_name(lua_State *L, int idx, const char *method)
{
	struct bh_bytes n;

	if (lua_type(L, idx) != LUA_TSTRING)
		luaL_error(L, "job:%s: its name is a %s, expected a string",
		    method, luaL_typename(L, idx));
	n.data = lua_tolstring(L, idx, &n.len);
	if (n.len == 0 || n.len > BH_STEP_NAME_MAX)
		luaL_error(L, "job:%s: its name has %d bytes, expected 1 to "
		    "%d", method, (int)n.len, BH_STEP_NAME_MAX);
	if (memchr(n.data, '\0', n.len))
		luaL_error(L, "job:%s: its name has a NUL byte", method);
	return n;
}

static void
check_outside(lua_State *L, const struct run_msg *m, const char *method)
{
	if (m->run.in_step)
		luaL_error(L, "job:%s: not inside the function of a step; "
		    "steps follow one another", method);
}

/* Pushes the table of names that this run has seen. */
static void
push_names(lua_State *L)
{
	if (lua_getiuservalue(L, 1, JOB_NAMES) != LUA_TNIL)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, 1, JOB_NAMES);
}

/* The string at idx is a name of this run from now on. */
static void
use_name(lua_State *L, int idx)
{
	push_names(L);
	lua_pushvalue(L, idx);
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

/* Refuses a name that this run has seen, before anything is done. */
static void
check_unused(lua_State *L, int idx, const char *method)
{
	push_names(L);
	lua_pushvalue(L, idx);
	if (lua_rawget(L, -2) != LUA_TNIL)
		luaL_error(L, "job:%s: the name '%s' is used twice in this "
		    "run", method, lua_tostring(L, idx));
	lua_pop(L, 2);
}

static const struct bh_step *
find(const struct run_msg *m, struct bh_bytes name)
{
	size_t i;

	for (i = 0; i < m->nsteps; i++)
		if (m->steps[i].name.len == name.len &&
		    memcmp(m->steps[i].name.data, name.data, name.len) == 0)
			return &m->steps[i];
	return NULL;
}

static void
check_room(lua_State *L, const struct run_msg *m, const char *method)
{
	if (m->nsteps + (size_t)m->run.steps >= BH_STEPS_MAX)
		luaL_error(L, "job:%s: the job has %d steps, more are not "
		    "kept", method, BH_STEPS_MAX);
}

/* Pushes what JSON text stands for: in each run the same, also in the first
 * one. */
static void
push_json(lua_State *L, struct bh_bytes text)
{
	char why[80];

	if (text.len == 4 && memcmp(text.data, "null", 4) == 0)
		lua_pushnil(L);
	else if (!lua_json_decode(L, text.data, text.len, why, sizeof(why)))
		luaL_error(L, "job:step: what is kept cannot be read: %s",
		    why);
}

/* 1 job, 2 name, 3 function, 4 value as JSON */
static int
step_kept(lua_State *L, int status, lua_KContext ctx)
{
	struct run_msg *m = (struct run_msg *)ctx;
	struct bh_bytes text;

	(void)status;
	/* Another attempt has the job: this one may do nothing more. */
	if (!lua_ask_kept(L)) {
		if (m->batch)
			return luaL_error(L, "job:step: the job is in the "
			    "hands of another attempt");
		return lua_job_end(L, m, BH_RELEASE);
	}
	use_name(L, 2);
	m->run.steps++;
	text.data = lua_tolstring(L, 4, &text.len);
	push_json(L, text);
	return 1;
}

/* 1 job, 2 name, 3 function, 4 what it returned, or its error */
static int
step_ran(lua_State *L, int status, lua_KContext ctx)
{
	struct run_msg *m = (struct run_msg *)ctx;
	int64_t max = state_of(L)->src->env->max_result;
	struct bh_bytes name, text;

	m->run.in_step = false;
	if (status != LUA_OK && status != LUA_YIELD)
		return lua_error(L);
	text.data = lua_json_encode(L, 4, &text.len);
	name.data = lua_tolstring(L, 2, &name.len);
	if (text.len > (size_t)max)
		return luaL_error(L, "job:step: the value of '%s' has %d "
		    "bytes, max_result is %d", name.data, (int)text.len,
		    (int)max);
	lua_pushlstring(L, text.data, text.len);
	lua_replace(L, 4);
	text.data = lua_tolstring(L, 4, &text.len);
	return lua_ask_step(L, m, name, text, step_kept);
}

int
lua_step(lua_State *L)
{
	struct run_msg *m = lua_job_perform(L, "step");
	struct bh_bytes name = check_name(L, 2, "step");
	const struct bh_step *s;
	int status;

	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_settop(L, 3);
	check_outside(L, m, "step");
	check_unused(L, 2, "step");
	s = find(m, name);
	if (s && !s->value.data)
		return luaL_error(L, "job:step: '%s' was a job:sleep in an "
		    "earlier run", name.data);
	if (s) {
		use_name(L, 2);
		push_json(L, s->value);
		return 1;
	}
	check_room(L, m, "step");
	m->run.in_step = true;
	lua_pushvalue(L, 3);
	status = lua_pcallk(L, 0, 1, 0, (lua_KContext)m, step_ran);
	return step_ran(L, status, (lua_KContext)m);
}

/* A sleep without a name is known by its number. */
static void
push_sleep_name(lua_State *L, struct run_msg *m)
{
	if (lua_isnoneornil(L, 3)) {
		lua_settop(L, 2);
		lua_pushfstring(L, "sleep#%d", ++m->run.sleeps);
	}
}

int
lua_step_sleep(lua_State *L)
{
	struct run_msg *m = lua_job_perform(L, "sleep");
	int64_t ms = lua_span(L, 2, "job:sleep", true);
	struct cpu *cpu = &state_of(L)->host->cpu;
	const struct bh_step *s;
	struct bh_bytes name;

	luaL_argcheck(L, ms >= 0, 2, "how long to sleep is missing");
	if (m->batch)
		luaL_error(L, "job:sleep: not in perform_batch, where the "
		    "others would not sleep; job:snooze puts one off");
	check_outside(L, m, "sleep");
	push_sleep_name(L, m);
	name = check_name(L, 3, "sleep");
	check_unused(L, 3, "sleep");
	s = find(m, name);
	if (s && s->value.data)
		return luaL_error(L, "job:sleep: '%s' was a job:step in an "
		    "earlier run", name.data);
	use_name(L, 3);
	if (s || m->run.verdict)
		return 0;		/* that it runs again says it is over */
	check_room(L, m, "sleep");
	cpu_guard(cpu);
	free(m->end.step);
	m->end.step = xstrndup(name.data, name.len);
	cpu_unguard(cpu);
	m->end.delay_ms = ms;
	return lua_job_end(L, m, BH_RELEASE);
}
