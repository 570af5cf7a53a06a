/* SPDX-License-Identifier: MIT */
/* Who runs next, and what holds the others. */
#include "fake_int.h"

/* --- groups --- */

static bool
same_group(const struct fake_job *a, const struct fake_job *b)
{
	return a != b && a->queue == b->queue &&
	    fake_equal(a->opts.group, b->opts.group);
}

/* The job of its group that is in the way, 0 none. Active ones and, where the
 * order is strict, ones that keep their place hold a slot of the line; one
 * that waits before it must go first. */
static int64_t
group_ahead(struct fake *f, const struct fake_job *j)
{
	const struct bh_queue_opts *o = &j->queue->opts;
	int64_t slots = o->group_concurrency, last = 0;
	const struct fake_job *k;

	if (j->opts.group.len == 0)
		return 0;
	TAILQ_FOREACH(k, &f->jobs, link) {
		if (!same_group(j, k) || !k->seq)
			continue;
		if (k->state == BH_WAITING && k->seq < j->seq)
			return k->id;
		if (k->state != BH_ACTIVE && (k->state != BH_DELAYED ||
		    o->group_order == BH_GROUP_SKIP || k->seq > j->seq))
			continue;
		slots--;
		last = k->id;
	}
	return slots > 0 ? 0 : last;
}

/* --- rates --- */

static struct fake_line *
rate_line(struct fake *f, const struct fake_job *j)
{
	struct bh_bytes none = {NULL, 0};

	return fake_line_get(f, j->queue,
	    j->queue->opts.rate_by == BH_RATE_BY_GROUP ? j->opts.group : none);
}

static int64_t
rate_interval_us(const struct bh_queue_opts *o)
{
	return o->rate_per_ms * 1000 / o->rate_limit;
}

/* Mono ms when a token is there. */
static int64_t
rate_ready(struct fake *f, const struct fake_job *j)
{
	const struct bh_queue_opts *o = &j->queue->opts;
	int64_t burst = o->rate_burst > 0 ? o->rate_burst : o->rate_limit;
	int64_t ready_us;

	if (o->rate_limit <= 0)
		return f->mono;
	ready_us = rate_line(f, j)->tat_us -
	    (burst - 1) * rate_interval_us(o);
	return (ready_us + 999) / 1000;
}

static void
rate_take(struct fake *f, const struct fake_job *j)
{
	struct fake_line *l = rate_line(f, j);

	if (j->queue->opts.rate_limit <= 0)
		return;
	if (l->tat_us < f->mono * 1000)
		l->tat_us = f->mono * 1000;
	l->tat_us += rate_interval_us(&j->queue->opts);
}

/* --- gates --- */

static int64_t
queue_active(struct fake *f, const struct fake_queue *q)
{
	const struct fake_job *j;
	int64_t n = 0;

	TAILQ_FOREACH(j, &f->jobs, link)
		n += j->queue == q && j->state == BH_ACTIVE;
	return n;
}

static bool
follows_living(struct fake *f, const struct fake_job *j)
{
	const struct fake_job *k;

	if (!j->follows)
		return false;
	k = fake_job_find(f, j->follows);
	return k && k->state != BH_COMPLETED && k->state != BH_FAILED;
}

enum bh_gate
fake_gate(struct fake *f, struct fake_job *j, int64_t *until, int64_t *ahead)
{
	struct fake_queue *q = j->queue;

	*until = *ahead = 0;
	if (j->state != BH_WAITING && j->state != BH_DELAYED)
		return BH_GATE_STATE;
	if (q->paused)
		return BH_GATE_PAUSED;
	*until = q->held_mono;
	if (q->held_mono)
		return BH_GATE_HELD;
	*until = j->by_wall ? f->mono + j->run_at - f->wall : j->due_mono;
	if (j->state == BH_DELAYED)
		return BH_GATE_DELAYED;
	*until = 0;
	*ahead = j->follows;
	if (follows_living(f, j))
		return BH_GATE_UNIQUE;
	*ahead = group_ahead(f, j);
	if (*ahead)
		return BH_GATE_GROUP;
	if (q->opts.max_active > 0 && queue_active(f, q) >= q->opts.max_active)
		return BH_GATE_MAX_ACTIVE;
	/* Last, so that no token is asked for while another gate holds. */
	*until = rate_ready(f, j);
	return *until > f->mono ? BH_GATE_RATE : BH_GATE_NONE;
}

/* --- order --- */

/* A group that was served stands behind those that came meanwhile. */
static uint64_t
job_turn(struct fake *f, const struct fake_job *j)
{
	uint64_t served;

	if (j->opts.group.len == 0)
		return j->seq;
	served = fake_line_get(f, j->queue, j->opts.group)->served;
	return served > j->seq ? served : j->seq;
}

static int
job_priority(const struct fake_job *j)
{
	return j->opts.priority >= 0 ? j->opts.priority : 5;
}

static bool
runs_before(struct fake *f, const struct fake_job *a, const struct fake_job *b)
{
	if (job_priority(a) != job_priority(b))
		return job_priority(a) < job_priority(b);
	return job_turn(f, a) < job_turn(f, b);
}

static struct fake_job *
queue_best(struct fake *f, const struct fake_queue *q)
{
	struct fake_job *j, *best = NULL;
	int64_t until, ahead;

	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->queue != q || j->state != BH_WAITING)
			continue;
		if (best && !runs_before(f, j, best))
			continue;
		if (fake_gate(f, j, &until, &ahead) == BH_GATE_NONE)
			best = j;
	}
	return best;
}

/* Stride scheduling: the queue that is furthest behind its share is next, and
 * one that had nothing to do does not catch up. */
struct fake_job *
fake_pick(struct fake *f, const struct bh_reserve *r)
{
	struct fake_job *best = NULL, *j;

	if (f->draining)
		return NULL;
	for (size_t i = 0; i < r->nqueues; i++) {
		struct fake_queue *q;

		q = fake_queue_get(f, r->queues[i], false);
		j = q ? queue_best(f, q) : NULL;
		if (!j)
			continue;
		if (q->pass < f->pass)
			q->pass = f->pass;
		if (!best || q->opts.strict > best->queue->opts.strict ||
		    (q->opts.strict == best->queue->opts.strict &&
		    q->pass < best->queue->pass))
			best = j;
	}
	if (!best)
		return NULL;
	if (!best->queue->opts.strict) {
		f->pass = best->queue->pass;
		best->queue->pass += 1000000 / best->queue->opts.weight;
	}
	rate_take(f, best);
	fake_line_get(f, best->queue, best->opts.group)->served =
	    ++f->next_seq;
	return best;
}

/* When the next token comes for which somebody waits. */
int64_t
fake_pick_next(struct fake *f)
{
	int64_t next = FAKE_NEVER, until, ahead;
	struct fake_job *j;

	if (!f->parked.head)
		return next;
	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->state == BH_WAITING &&
		    fake_gate(f, j, &until, &ahead) == BH_GATE_RATE &&
		    until < next)
			next = until;
	}
	return next;
}
