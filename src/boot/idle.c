/* SPDX-License-Identifier: MIT */
/*
 * idle_exit: the end of a daemon that has nothing to do. It looks at the jobs
 * and schedules once it has had neither clients nor handlers for that long.
 * When something is due later, it looks again only after that: all else that
 * could change the answer comes from a client or a handler.
 */
#include "backend/embedded.h"
#include "base/clock.h"
#include "base/log.h"
#include "boot/daemon.h"

static bool
at_work(const struct daemon *d)
{
	return !front_idle(d->front) || !host_idle(d->host) ||
	    pool_running(d->pool) > 0 || d->reloading;
}

/* Paused, broken and unserved queues wait for somebody who comes. */
static bool
is_due(const struct daemon *d, const struct bh_queue_stats *q)
{
	struct bh_why why = {0};

	if (q->count[BH_ACTIVE] > 0 || q->count[BH_DELAYED] > 0)
		return true;
	if (q->count[BH_WAITING] == 0 || q->paused)
		return false;
	return !pool_gate(d->pool, q->name, &why) ||
	    why.gate == BH_GATE_CONCURRENCY;
}

static void
found(struct daemon *d, bool something)
{
	d->idle.looking = false;
	d->idle.found = something;
	d->idle.looked = d->idle.round == d->idle.look_round;
}

static void
schedules_listed(struct bh_req *req)
{
	struct daemon *d = req->user;

	found(d, req->status != BH_OK || d->idle.schedules.nschedules > 0);
}

static void
queues_counted(struct bh_req *req)
{
	struct daemon *d = req->user;
	bool something = req->status != BH_OK;

	for (size_t i = 0; !something && i < d->idle.stats.nqueues; i++)
		something = is_due(d, &d->idle.stats.queues[i]);
	if (something || d->stopping) {
		found(d, true);
		return;
	}
	d->idle.schedules = (struct bh_schedule_list){
	    .req = {.done = schedules_listed, .user = d}};
	d->env.ops->schedule_list(d->env.be, &d->idle.schedules);
}

static void
look(struct daemon *d)
{
	d->idle.looking = true;
	d->idle.look_round = d->idle.round;
	d->idle.stats = (struct bh_stats){
	    .req = {.done = queues_counted, .user = d}};
	d->env.ops->queue_stats(d->env.be, &d->idle.stats);
}

static void
leave(struct daemon *d)
{
	log_about(LOG_INFO, LOG_OF(IDLE), "nothing has happened for %g s "
	    "(idle_exit) and nothing is due: the next connection starts the "
	    "daemon again", (double)d->conf->idle_exit / 1000);
	shutdown_ask(d);
}

void
idle_configured(struct daemon *d)
{
	d->idle.possible = d->env.ops == &embedded_ops &&
	    (front_address(d->front, 0) || host_address(d->host, 0)) &&
	    front_inherited(d->front) && host_inherited(d->host);
	d->idle.at = clock_now().mono_ms + d->conf->idle_exit;
	if (d->conf->idle_exit > 0 && !d->idle.possible && !d->idle.warned) {
		log_warn("idle_exit has no effect: %s",
		    d->env.ops == &embedded_ops ? "nobody would start the "
		    "daemon again, as not all of its sockets are systemd's" :
		    "only the embedded backend knows when nothing is due");
		d->idle.warned = true;
	}
}

int64_t
idle_turn(struct daemon *d, int64_t mono_ms, int64_t due)
{
	struct idle *i = &d->idle;
	int64_t rest = d->conf->idle_exit;
	bool busy;

	if (rest == 0 || !i->possible || d->asked_to_stop)
		return INT64_MAX;
	busy = at_work(d);
	/* Some clients come and go within a turn. */
	if (busy || d->env.stats.connections != i->connections) {
		i->connections = d->env.stats.connections;
		i->round++;
		i->looked = false;
		i->at = mono_ms + rest;
	}
	if (busy)
		return INT64_MAX;
	if (i->looked && !i->found) {
		leave(d);
		return mono_ms;
	}
	if (i->looked && due > mono_ms)
		i->at = due < INT64_MAX - rest ? due + rest : INT64_MAX;
	else if (i->looked)
		i->at = mono_ms + rest;
	i->looked = false;
	if (mono_ms >= i->at && !i->looking) {
		look(d);
		return mono_ms;		/* the backend has had its turn */
	}
	return i->looking ? INT64_MAX : i->at;
}
