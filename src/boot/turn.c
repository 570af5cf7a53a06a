/* SPDX-License-Identifier: MIT */
/*
 * The turn of the main loop, in this order and nowhere else. After the sleep
 * (turn_wake):
 *
 *  1. clock: whatever follows in this turn happens at this time
 *  2. what the disk has committed and read: answers leave their queue
 *  3. what is due: delays, expiries, leases, retention
 *
 * Then the sockets' callbacks parse what has come and start commands. Before
 * the next sleep (turn_run):
 *
 *  4. what the script threads have sent: results, questions; what the
 *     local store answers, when a plugin's backend is in its place
 *  5. what the plugins' doors have received: more commands start
 *  6. the handler host asks for jobs where it has room; alerts look around
 *  7. waiting jobs are handed out; all changes of this turn go to the
 *     journal as one batch
 *  8. answers leave on the sockets, the plugins' doors' too; dead
 *     connections are freed
 *  9. the service manager hears of it; a daemon with nothing to do may end
 */
#include "base/clock.h"
#include "boot/daemon.h"
#include "cmd/alert.h"

void
turn_wake(void *arg)
{
	struct daemon *d = arg;
	struct clock_time now = clock_now();

	d->env.ops->turn_begin(d->env.be, now.wall_ms, now.mono_ms);
}

int64_t
turn_run(void *arg)
{
	struct daemon *d = arg;
	struct clock_time now = clock_now();
	int64_t next, at, alert, due;

	if (d->ferry)
		ferry_take(d->ferry);
	pool_take(d->pool, now.mono_ms);
	host_take(d->host);
	pool_feed(d->pool);
	alert = alerts_turn(d->env.alerts, now.wall_ms, now.mono_ms);
	next = d->env.ops->turn_end(d->env.be);
	if (alert < next)
		next = alert;
	if (d->spare) {
		at = spare_turn(d->spare, now.wall_ms, now.mono_ms);
		if (at < next)
			next = at;
	}
	due = next;
	at = host_flush(d->host);
	if (at < next)
		next = at;
	if (front_flush(d->front))
		next = now.mono_ms;
	at = pool_next(d->pool);
	if (at < next)
		next = at;
	at = service_turn(d, now.mono_ms);
	if (at < next)
		next = at;
	at = idle_turn(d, now.mono_ms, due);
	if (at < next)
		next = at;
	if (d->asked_to_stop && shutdown_step(d, now.mono_ms, &next))
		loop_stop(d->loop);
	return next;
}
