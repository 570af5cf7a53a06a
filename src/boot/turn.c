/* SPDX-License-Identifier: MIT */
/*
 * The turn of the main loop. Between two turns the loop sleeps, and the
 * sockets' callbacks parse what has come and start commands; everything else
 * happens here, in this order:
 *
 *  1. clock
 *  2. what the disk has committed and read: answers leave their queue
 *  3. what is due: delays, expiries, leases, retention
 *  4. what the script threads have sent: results, questions
 *  5. the handler host asks for jobs where it has room
 *  6. waiting jobs are handed out; all changes of this turn go to the
 *     journal as one batch
 *  7. answers leave on the sockets; dead connections are freed
 */
#include "base/clock.h"
#include "boot/daemon.h"

int64_t
turn_run(void *arg)
{
	struct daemon *d = arg;
	struct clock_time now = clock_now();
	int64_t next, at;

	d->env.ops->turn_begin(d->env.be, now.wall_ms, now.mono_ms);
	pool_take(d->pool, now.mono_ms);
	pool_feed(d->pool);
	next = d->env.ops->turn_end(d->env.be);
	if (front_flush(d->front))
		next = now.mono_ms;
	at = pool_next(d->pool);
	if (at < next)
		next = at;
	if (d->asked_to_stop && shutdown_step(d, now.mono_ms, &next))
		loop_stop(d->loop);
	return next;
}
