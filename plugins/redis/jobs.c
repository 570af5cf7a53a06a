/* SPDX-License-Identifier: MIT */
/* The life of the job verbs: up, down, the turn. */
#include "redis/jobs.h"

#include <hiredis/hiredis.h>
#include <sys/random.h>

#include "redis/mem.h"

enum { JUMP_MS = 500 };

/* xorshift64*: for jitter and seeds, which are no secrets. */
uint64_t
rrandom(struct redis_be *be)
{
	uint64_t x = be->jobs->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	be->jobs->random = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* An empty one: some may have been missed. */
static void
heard(void *arg, struct bh_bytes message)
{
	struct redis_be *be = arg;
	struct rqueue *q;

	if (!rnames_ready(be))
		return;
	if (message.len > 0) {
		rnames_heard(be, message);
		return;
	}
	rgets_heard(be, 0);
	TAILQ_FOREACH(q, rqueues_all(be), all)
		if (q->number >= 0)
			rqueue_tick(be, q);
	be->host->wake();
}

void
rjobs_new(struct redis_be *be)
{
	struct rjobs *j = mem_new(sizeof(*j));

	be->jobs = j;
	j->channel = rglobal_key(be, "wake");
	j->next_due = INT64_MAX;
	if (getrandom(&j->random, sizeof(j->random), 0) < 0 || !j->random)
		j->random = (uint64_t)(uintptr_t)j | 1;
	rnames_new(be);
	rreserves_new(be);
	rgets_new(be);
	rpubsub_listen(be, j->channel, heard, be);
}

void
rjobs_up(struct redis_be *be)
{
	int64_t wall, mono;

	be->host->now(&wall, &mono);
	if (!be->jobs->started)
		be->jobs->base = be->jobs->gap = wall - mono;
	be->wall_ms = wall;
	be->mono_ms = mono;
	rnames_up(be);
}

void
rjobs_down(struct redis_be *be)
{
	rnames_down(be);
}

static void
left_over(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	(void)arg;
	if (r && r->type == REDIS_REPLY_ARRAY)
		rforward(be, q, r);
	if (--be->jobs->starting == 0)
		rqueues_level(be);
}

void
rjobs_set_up(struct redis_be *be)
{
	struct rqueue *q;

	rcalls_again(be);
	TAILQ_FOREACH(q, rqueues_all(be), all) {
		if (q->number < 0)
			continue;
		if (be->jobs->started) {
			rqueue_tick(be, q);
			continue;
		}
		be->jobs->starting++;
		rqueue_start(be, q, left_over, NULL);
	}
	be->jobs->started = true;
}

void
rjobs_begin(struct redis_be *be)
{
	(void)be;
}

/* The wall clock may have been set: jobs with AT follow it. It and the other
 * one are never read at the same moment, so a little is no jump. */
static void
look_clock(struct redis_be *be)
{
	int64_t gap = be->wall_ms - be->mono_ms, d = gap - be->jobs->gap;
	int64_t least = be->config.turn_clock ? 1 : JUMP_MS;
	struct rqueue *q;

	if (d > -least && d < least)
		return;
	be->jobs->gap = gap;
	TAILQ_FOREACH(q, rqueues_all(be), all)
		if (q->due != INT64_MAX)
			rqueue_due(be, q, be->mono_ms);
}

static void
tick_due(struct redis_be *be)
{
	struct rqueue *q;
	int64_t next = INT64_MAX;

	look_clock(be);

	if (be->mono_ms < be->jobs->next_due || !rnames_ready(be))
		return;
	TAILQ_FOREACH(q, rqueues_all(be), all) {
		if (q->due <= be->mono_ms) {
			q->due = INT64_MAX;
			rqueue_tick(be, q);
		} else if (q->due < next) {
			next = q->due;
		}
	}
	be->jobs->next_due = next;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t
rjobs_end(struct redis_be *be)
{
	int64_t next;

	tick_due(be);
	next = earlier(rreserves_run(be), rgets_run(be));
	next = earlier(next, rhandlers_beat(be));
	rcalls_send(be);
	if (rnames_ready(be))
		next = earlier(next, be->jobs->next_due);
	return next;
}

bool
rjobs_idle(const struct redis_be *be)
{
	return rcalls_idle(be) && rnames_idle(be);
}

void
rjobs_drain(struct redis_be *be)
{
	(void)be;
}

bool
rjobs_cancel(struct redis_be *be, struct bh_req *req)
{
	return rreserves_cancel(be, req) || rgets_cancel(be, req);
}

void
rjobs_free(struct redis_be *be)
{
	be->jobs->closing = true;
	rnames_down(be);
	rcalls_free(be);
	rnames_cancel(be);
	rcalls_free(be);
	rreserves_free(be);
	rgets_free(be);
	rnames_free(be);
	free(be->jobs->channel);
	free(be->jobs);
	be->jobs = NULL;
}
