/* SPDX-License-Identifier: MIT */
/*
 * The end, in order: nothing new is accepted and nothing more handed out;
 * what was received is answered; handlers may end within shutdown_grace, then
 * their jobs are given back; what all this changed is committed.
 */
#include "base/log.h"
#include "boot/daemon.h"

/* Once handlers are stopped, for the rest (a slow disk, a slow client). */
enum { LAST_MS = 5000 };

void
shutdown_ask(void *arg)
{
	struct daemon *d = arg;

	d->asked_to_stop = true;
	loop_wake(d->loop);
}

/* In the turn, where no command is half done. */
static void
begin(struct daemon *d, int64_t mono_ms)
{
	service_stopping(d);
	log_about(LOG_INFO, LOG_OF(STOPPING), "stopping: %zu handlers may end within %lld s",
	    pool_running(d->pool),
	    (long long)d->conf->shutdown_grace / 1000);
	d->stopping = true;
	d->grace_until = mono_ms + d->conf->shutdown_grace;
	d->env.draining = true;
	pool_drain(d->pool);
	d->env.ops->drain(d->env.be);
	front_drain(d->front);
	host_drain(d->host);
}

bool
shutdown_step(struct daemon *d, int64_t mono_ms, int64_t *next)
{
	int64_t at;

	if (!d->stopping) {
		begin(d, mono_ms);
		*next = mono_ms;
		return false;
	}
	if (pool_running(d->pool) == 0 && front_idle(d->front) &&
	    host_idle(d->host) && d->env.ops->idle(d->env.be))
		return true;
	if (mono_ms >= d->grace_until && !d->handlers_stopped) {
		if (pool_running(d->pool) > 0)
			log_warn("%zu handlers have not ended in time: their "
			    "jobs are given back", pool_running(d->pool));
		pool_stop_handlers(d->pool);
		d->handlers_stopped = true;
		d->grace_until = mono_ms + LAST_MS;
		*next = mono_ms;
	} else if (mono_ms >= d->grace_until) {
		front_close_clients(d->front);
		host_close_doors(d->host);
		return true;
	}
	at = front_next(d->front);
	if (d->grace_until < at)
		at = d->grace_until;
	if (at < *next)
		*next = at;
	return false;
}
