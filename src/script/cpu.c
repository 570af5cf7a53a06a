/* SPDX-License-Identifier: MIT */
#include "script/cpu.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "base/die.h"
#include "script/state.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define HARD_MS 1000			/* past the budget */

static int
tick_signal(void)
{
	return SIGRTMIN + 1;
}

static void
on_hook(lua_State *L, lua_Debug *ar)
{
	struct cpu *c = &state_of(L)->host->cpu;

	(void)ar;
	lua_sethook(L, NULL, 0, 0);
	c->armed = 0;
	if (lua_isyieldable(L)) {
		c->preempted = 1;
		lua_yield(L, 0);
	} else if (cpu_over(c)) {
		luaL_error(L, "the CPU budget is used up");
	}
}

/* Async-signal context, on the thread that owns c. lua_sethook is made for
 * this: it is what the stock interpreter does on an interrupt. It walks all
 * active calls, which may take longer than a tick: `armed` keeps the next
 * signal from doing the same on top. */
static void
on_tick(int sig, siginfo_t *si, void *uc)
{
	struct cpu *c = si->si_value.sival_ptr;

	(void)sig;
	(void)uc;
	if (si->si_code != SI_TIMER || !c->inside)
		return;
	c->ticks = c->ticks + 1;
	if (c->ticks >= c->hard) {
		if (c->guard == 0)
			siglongjmp(c->out, 1);
		c->late = 1;
	}
	if (c->armed)
		return;
	c->armed = 1;
	lua_sethook(c->L, on_hook, LUA_MASKCOUNT, 1);
}

void
cpu_jump(struct cpu *c)
{
	if (c->inside)
		siglongjmp(c->out, 1);
	c->late = 0;
}

void
cpu_init(struct cpu *c)
{
	struct sigaction sa = {.sa_sigaction = on_tick,
	    .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID};
	struct itimerspec every = {{0, CPU_TICK_MS * 1000000L},
	    {0, CPU_TICK_MS * 1000000L}};
	sigset_t set;

	memset(c, 0, sizeof(*c));
	sigemptyset(&sa.sa_mask);
	CHECK(sigaction(tick_signal(), &sa, NULL) == 0);
	ev.sigev_signo = tick_signal();
	ev.sigev_notify_thread_id = gettid();
	ev.sigev_value.sival_ptr = c;
	CHECK(timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &c->timer) == 0);
	CHECK(timer_settime(c->timer, 0, &every, NULL) == 0);
	sigemptyset(&set);
	sigaddset(&set, tick_signal());
	CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

void
cpu_done(struct cpu *c)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, tick_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	timer_delete(c->timer);
}

bool
cpu_over(const struct cpu *c)
{
	return c->inside && c->ticks >= c->soft;
}

int
cpu_resume(struct cpu *c, lua_State *co, int nargs, int budget_ms, int *ticks)
{
	int n, status;

	c->L = co;
	c->guard = 0;
	c->late = 0;
	c->armed = 0;
	c->preempted = 0;
	c->ticks = *ticks;
	/* A tick may fall just after the start: one more is allowed. */
	c->soft = budget_ms / CPU_TICK_MS + 1;
	c->hard = c->soft + HARD_MS / CPU_TICK_MS;
	if (sigsetjmp(c->out, 0) != 0) {
		c->inside = 0;
		*ticks = c->ticks;
		return CPU_STUCK;
	}
	c->inside = 1;
	status = lua_resume(co, NULL, nargs, &n);
	c->inside = 0;
	*ticks = c->ticks;
	return status;
}
