/* SPDX-License-Identifier: MIT */
/*
 * The CPU budget of Lua code, and the way out of C code that hangs.
 *
 * A timer on the thread's own CPU clock sends a signal to that thread each
 * 10 ms of CPU that it uses: an idle thread is never woken, and Lua runs
 * without a hook. The signal's handler counts the tick and arms a hook, which
 * at the next Lua instruction
 *
 *   - yields where it can: preemption within the budget, the end of the run
 *     once the budget is used up (a yield cannot be caught by pcall);
 *   - raises where it cannot (table.sort's comparator, gsub's function), but
 *     only once the budget is used up; the sandbox's pcall passes that on.
 *
 * No hook reaches C code (a pattern that backtracks), so at `hard` ticks the
 * handler jumps out of lua_resume. Whatever Lua was doing is then unfinished:
 * the caller must abandon the whole lua_State. The handler never jumps out of
 * a guarded section (the allocator, library code that takes locks); the
 * section's end does it then.
 *
 * One struct cpu a thread; only that thread touches it.
 */
#ifndef SCRIPT_CPU_H
#define SCRIPT_CPU_H

#include <lua.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#define CPU_TICK_MS 10
#define CPU_STUCK (-1)

struct cpu {
	volatile sig_atomic_t inside;	/* in lua_resume */
	volatile sig_atomic_t guard;	/* depth of guarded sections */
	volatile sig_atomic_t late;	/* a jump that a guard held up */
	volatile sig_atomic_t ticks;	/* of this stretch */
	volatile sig_atomic_t soft, hard;
	volatile sig_atomic_t armed;	/* the hook is set, or being set */
	volatile sig_atomic_t preempted;
	lua_State *L;
	sigjmp_buf out;
	timer_t timer;
};

/* On the thread that will run Lua; c stays where it is until cpu_done(). */
void cpu_init(struct cpu *c);
void cpu_done(struct cpu *c);

/* lua_resume under a budget. *ticks: used up in this stretch so far, updated.
 * Answers with lua_resume's status or CPU_STUCK; after LUA_YIELD,
 * c->preempted tells a yield of the hook from one of a function. */
int cpu_resume(struct cpu *c, lua_State *co, int nargs, int budget_ms,
    int *ticks);
/* The budget of the running stretch is used up. */
bool cpu_over(const struct cpu *c);

/* Around code that must not be jumped out of and raises no Lua error. */
static inline void
cpu_guard(struct cpu *c)
{
	c->guard = c->guard + 1;
}

void cpu_jump(struct cpu *c);

static inline void
cpu_unguard(struct cpu *c)
{
	c->guard = c->guard - 1;
	if (c->late && c->guard == 0)
		cpu_jump(c);
}

#endif
