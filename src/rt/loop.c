/* SPDX-License-Identifier: MIT */
#include "rt/loop.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <bsd/sys/queue.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/xalloc.h"

struct loop_signal {
	ev_signal watcher;
	void (*fn)(void *arg, int signo);
	void *arg;
	LIST_ENTRY(loop_signal) entry;
};

/*
 * The timer counts suspended time too, as clock_now() does, and is set again
 * only when something is due earlier than it would fire: leases and waits
 * that move later cost at most one wake-up too early.
 */
struct loop {
	struct ev_loop *ev;
	ev_async wake;
	ev_check woken;
	ev_io timer;
	int64_t armed_at;		/* mono ms, INT64_MAX not armed */
	void (*woke)(void *arg);
	int64_t (*turn)(void *arg);
	void *turn_arg;
	bool stop;
	LIST_HEAD(, loop_signal) signals;
};

static void
on_wake(struct ev_loop *ev UNUSED, ev_async *w UNUSED, int what UNUSED)
{
	/* The turn that follows is all that was asked for. */
}

/* It runs before every other callback but libev's own, which takes wakes off
 * their pipe with EV_MAXPRI: a wake that comes after that is for the next
 * iteration, one that came before is seen here. The other way round a wake
 * between the two would be lost. */
static void
on_woken(struct ev_loop *ev UNUSED, ev_check *w, int what UNUSED)
{
	struct loop *l = w->data;

	if (l->woke)
		l->woke(l->turn_arg);
}

static void
on_timer(struct ev_loop *ev UNUSED, ev_io *w, int what UNUSED)
{
	struct loop *l = w->data;
	uint64_t fired;

	/* EAGAIN: it was set again after it had become readable. */
	if (read(w->fd, &fired, sizeof(fired)) < 0)
		CHECK(errno == EAGAIN);
	else
		l->armed_at = INT64_MAX;
}

struct loop *
loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));
	int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);

	CHECK(fd >= 0);
	l->ev = ev_loop_new(EVFLAG_AUTO);
	CHECK(l->ev != NULL);
	l->armed_at = INT64_MAX;
	LIST_INIT(&l->signals);
	ev_async_init(&l->wake, on_wake);
	ev_async_start(l->ev, &l->wake);
	ev_check_init(&l->woken, on_woken);
	ev_set_priority(&l->woken, EV_MAXPRI - 1);
	l->woken.data = l;
	ev_check_start(l->ev, &l->woken);
	ev_io_init(&l->timer, on_timer, fd, EV_READ);
	l->timer.data = l;
	ev_io_start(l->ev, &l->timer);
	return l;
}

void
loop_free(struct loop **lp)
{
	struct loop *l = *lp;
	struct loop_signal *s;

	if (!l)
		return;
	*lp = NULL;
	while ((s = LIST_FIRST(&l->signals))) {
		LIST_REMOVE(s, entry);
		ev_signal_stop(l->ev, &s->watcher);
		free(s);
	}
	ev_async_stop(l->ev, &l->wake);
	ev_check_stop(l->ev, &l->woken);
	ev_io_stop(l->ev, &l->timer);
	close(l->timer.fd);
	ev_loop_destroy(l->ev);
	free(l);
}

void
loop_on_turn(struct loop *l, void (*woke)(void *arg),
    int64_t (*turn)(void *arg), void *arg)
{
	l->woke = woke;
	l->turn = turn;
	l->turn_arg = arg;
}

static void
on_signal(struct ev_loop *ev UNUSED, ev_signal *w, int what UNUSED)
{
	struct loop_signal *s = w->data;

	s->fn(s->arg, w->signum);
}

void
loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo),
    void *arg)
{
	struct loop_signal *s = xcalloc(1, sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	ev_signal_init(&s->watcher, on_signal, signo);
	s->watcher.data = s;
	ev_signal_start(l->ev, &s->watcher);
	LIST_INSERT_HEAD(&l->signals, s, entry);
}

/* Makes sure that the loop wakes at this time or earlier. */
static void
arm(struct loop *l, int64_t at, int64_t now)
{
	struct itimerspec its = {0};
	int64_t ms = at - now;

	if (at >= l->armed_at)
		return;
	its.it_value.tv_sec = ms / 1000;
	its.it_value.tv_nsec = ms % 1000 * 1000000;
	CHECK(timerfd_settime(l->timer.fd, 0, &its, NULL) == 0);
	l->armed_at = at;
}

static void
iterate(struct loop *l, int64_t limit_ms)
{
	int64_t next = l->turn ? l->turn(l->turn_arg) : INT64_MAX;
	int64_t now = clock_now().mono_ms;

	if (l->stop)
		return;
	if (limit_ms < INT64_MAX && next > now + limit_ms)
		next = now + limit_ms;
	if (next <= now) {
		ev_run(l->ev, EVRUN_NOWAIT);
		return;
	}
	if (next < INT64_MAX)
		arm(l, next, now);
	ev_run(l->ev, EVRUN_ONCE);
}

void
loop_run(struct loop *l)
{
	l->stop = false;
	while (!l->stop)
		iterate(l, INT64_MAX);
}

void
loop_once(struct loop *l, int64_t max_ms)
{
	l->stop = false;
	iterate(l, max_ms);
}

void
loop_stop(struct loop *l)
{
	l->stop = true;
	loop_wake(l);
}

void
loop_wake(struct loop *l)
{
	ev_async_send(l->ev, &l->wake);
}

struct ev_loop *
loop_ev(struct loop *l)
{
	return l->ev;
}
