/* SPDX-License-Identifier: MIT */
#include "script/run.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/lua_hook.h"
#include "script/lua_job.h"

static void
end_text(struct run_msg *m, char *text)
{
	free(m->end.text);
	m->end.text = text;
	m->end.len = strlen(text);
}

void
run_end_fail(struct run_msg *m, bool final, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	run_end_clear(&m->end);
	m->end.outcome = BH_FAIL;
	m->end.final = final;
	m->run.failed = true;
	end_text(m, buf_take(&b));
}

void
run_end_release(struct run_msg *m, int64_t delay_ms)
{
	run_end_clear(&m->end);
	m->end.outcome = BH_RELEASE;
	m->end.delay_ms = delay_ms;
}

static void
fail_memory(struct run_msg *m)
{
	struct state *st = m->run.st;

	run_end_fail(m, false, "not enough memory: the limit of a script is "
	    "%lld MiB (script_memory), of all scripts %lld MiB "
	    "(scripts_memory)", (long long)st->src->env->memory >> 20,
	    atomic_load(&st->host->memory->limit) >> 20);
}

bool
run_begin(struct state *st, struct run_msg *m)
{
	static const lua_CFunction mains[RUN_WHATS] = {
		[RUN_HOOK] = lua_hook_main,
		[RUN_CHALLENGE] = lua_hook_main,
		[RUN_MESSAGE] = lua_message_main,
	};
	struct run *r = &m->run;

	m->end = (struct run_end){.outcome = BH_DONE, .delay_ms = -1};
	r->st = st;
	if (state_thread_get(st, &r->co, &r->co_ref) < 0) {
		fail_memory(m);
		return false;
	}
	st->nruns++;
	lua_pushcfunction(r->co, mains[m->what] ? mains[m->what] :
	    lua_job_main);
	lua_pushlightuserdata(r->co, m);
	return true;
}

/* A job object must not point to a run that is gone. The bottom frame of the
 * coroutine keeps it so long, see lua_job_main. */
void
run_forget(struct run_msg *m)
{
	size_t i;

	if (m->run.holder)
		*m->run.holder = NULL;
	m->run.holder = NULL;
	for (i = 0; i < m->njobs; i++)
		run_forget(m->jobs[i]);
}

void
run_drop(struct run_msg *m)
{
	struct run *r = &m->run;

	CHECK(r->st && r->st->nruns > 0);
	r->st->nruns--;
	if (!r->st->dead) {
		run_forget(m);
		state_thread_drop(r->st, r->co_ref);
	}
	r->co = NULL;
	r->st = NULL;
}

static void
fail_cpu(struct run_msg *m)
{
	char span[40];

	str_span(m->run.st->src->env->cpu_ms, span, sizeof(span));
	run_end_fail(m, false, "CPU budget of %s used up without a pause "
	    "(script_cpu): an endless loop?", span);
}

static void
end_ok(struct run_msg *m)
{
	struct run *r = &m->run;

	if (r->nomem)
		fail_memory(m);
	else if (r->failed && r->ticks >= r->st->host->cpu.soft)
		fail_cpu(m);
	r->st->nruns--;
	state_thread_put(r->st, r->co, r->co_ref);
	/* What this run held is garbage now: the next one shall not pay. */
	if (r->nomem)
		lua_gc(r->st->L, LUA_GCCOLLECT);
	r->co = NULL;
	r->st = NULL;
}

static void
end_error(struct run_msg *m, int status)
{
	struct state *st = m->run.st;
	lua_State *co = m->run.co;

	if (status == LUA_ERRMEM)
		fail_memory(m);
	else if (lua_type(co, -1) == LUA_TSTRING)
		run_end_fail(m, false, "%s", lua_tostring(co, -1));
	else
		run_end_fail(m, false, "(error object is a %s value)",
		    luaL_typename(co, -1));
	run_drop(m);
	if (status == LUA_ERRMEM)
		lua_gc(st->L, LUA_GCCOLLECT);
}

static void
end_killed(struct run_msg *m)
{
	fail_cpu(m);
	run_drop(m);
}

static void
end_stuck(struct run_msg *m)
{
	char span[40];

	m->run.st->dead = true;
	str_span((int64_t)m->run.ticks * CPU_TICK_MS, span, sizeof(span));
	run_end_fail(m, false, "stuck in a C function for %s: a pattern that "
	    "backtracks too much?", span);
	run_drop(m);
}

bool
run_step(struct run_msg *m)
{
	struct run *r = &m->run;
	struct cpu *cpu = &r->st->host->cpu;
	struct state *st = r->st;
	int status, nargs = r->begun ? 0 : 1;

	r->begun = true;
	if (r->wait != WAIT_CPU)
		r->ticks = 0;
	r->wait = WAIT_NONE;
	st->run = r;
	status = cpu_resume(cpu, r->co, nargs, (int)st->src->env->cpu_ms,
	    &r->ticks);
	st->run = NULL;
	if (status == LUA_OK)
		end_ok(m);
	else if (status == CPU_STUCK)
		end_stuck(m);
	else if (status != LUA_YIELD)
		end_error(m, status);
	else if (cpu->preempted && r->ticks >= cpu->soft)
		end_killed(m);
	else if (cpu->preempted)
		r->wait = WAIT_CPU;
	return r->st == NULL;
}
