/* SPDX-License-Identifier: MIT */
/*
 * What the service manager hears: that the start takes longer, a sentence, and
 * signs of life as long as every thread makes progress. The sentence is looked
 * at when a sign of life is due, so it wakes nobody of its own.
 */
#include "base/clock.h"
#include "base/xalloc.h"
#include "boot/daemon.h"
#include "rt/sdnotify.h"

/* Said each second while recovery goes on; each time it may take so long. */
enum { EXTEND_EVERY_MS = 1000, EXTEND_MS = 60000, STOP_EXTRA_MS = 15000 };

void
service_recovering(void *arg)
{
	struct daemon *d = arg;
	int64_t now = clock_now().mono_ms;

	if (now < d->service_at)
		return;
	d->service_at = now + EXTEND_EVERY_MS;
	sdnotify_extend(EXTEND_MS);
	sdnotify_status("Reading the store …");
}

static void
tell_counts(struct daemon *d, const struct bh_stats *r)
{
	int64_t n[BH_STATES] = {0};

	for (size_t i = 0; i < r->nqueues; i++)
		for (int state = 0; state < BH_STATES; state++)
			n[state] += r->queues[i].count[state];
	sdnotify_status("%lld jobs waiting, %lld delayed, %lld active, %lld "
	    "failed, in %zu queues; %zu handlers at work",
	    (long long)n[BH_WAITING], (long long)n[BH_DELAYED],
	    (long long)n[BH_ACTIVE], (long long)n[BH_FAILED], r->nqueues,
	    pool_running(d->pool));
}

static void
counted(struct bh_req *req)
{
	struct daemon *d = req->user;
	struct bh_health h;

	d->counting = false;
	if (d->stopping)
		return;
	d->env.ops->health(d->env.be, &h);
	if (!h.accepting)
		sdnotify_status("%s%s", h.outbox_open ?
		    "New jobs are kept here: " : "New work is refused: ",
		    h.text);
	else if (req->status == BH_OK)
		tell_counts(d, &d->counts);
}

static void
count(struct daemon *d)
{
	if (d->counting || d->stopping)
		return;
	d->counting = true;
	d->counts = (struct bh_stats){.req = {.done = counted, .user = d}};
	d->env.ops->queue_stats(d->env.be, &d->counts);
}

void
service_ready(struct daemon *d)
{
	d->watchdog_ms = sdnotify_watchdog_ms();
	d->service_at = 0;
	sdnotify_ready();
	count(d);
}

void
service_reloading(struct daemon *d)
{
	(void)d;
	sdnotify_reloading();
	sdnotify_status("Loading configuration and scripts …");
}

void
service_reloaded(struct daemon *d)
{
	sdnotify_ready();
	count(d);
}

void
service_stopping(struct daemon *d)
{
	sdnotify_stopping();
	sdnotify_extend(d->conf->shutdown_grace + STOP_EXTRA_MS);
	sdnotify_status("Stopping: %zu handlers may end",
	    pool_running(d->pool));
}

static bool
alive(struct daemon *d)
{
	struct bh_health h;

	d->env.ops->health(d->env.be, &h);
	return h.busy_ms < d->watchdog_ms &&
	    pool_busy_ms(d->pool) < d->watchdog_ms;
}

int64_t
service_turn(struct daemon *d, int64_t mono_ms)
{
	if (d->watchdog_ms == 0)
		return INT64_MAX;
	if (mono_ms >= d->service_at) {
		d->service_at = mono_ms + d->watchdog_ms / 3;
		if (alive(d))
			sdnotify_alive();
		count(d);
	}
	return d->service_at;
}
