/* SPDX-License-Identifier: MIT */
/*
 * Queues: ready lists, gates, retention. Invariants:
 *  1. ready_mask has bit p exactly when ready[p] is not empty.
 *  2. A queue is in engine.turns exactly while it has something ready for a
 *     caller that waits and no gate holds it; a gate that ends by itself has
 *     set the queue's timer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "engine/part.h"

static uint64_t
name_hash(const char *s, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	while (len--)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3ULL;
	return map_hash_int(h);
}

static uint64_t
queue_hash(const void *item)
{
	const struct queue *q = item;

	return name_hash(q->name, strlen(q->name));
}

static bool
queue_equal(const void *item, const void *key)
{
	const struct queue *q = item;
	const struct bh_bytes *name = key;

	return strlen(q->name) == name->len &&
	    memcmp(q->name, name->data, name->len) == 0;
}

const struct map_ops queue_map_ops = {queue_hash, queue_equal};

static uint64_t
failures_hash(const void *item)
{
	return map_hash_int(((const struct failures *)item)->fingerprint);
}

static bool
failures_equal(const void *item, const void *key)
{
	return ((const struct failures *)item)->fingerprint ==
	    *(const uint64_t *)key;
}

const struct map_ops failures_map_ops = {failures_hash, failures_equal};

struct queue *
queue_find(const struct engine *e, struct bh_bytes name)
{
	return map_get(&e->by_name, name_hash(name.data, name.len), &name);
}

struct queue *
queue_add(struct engine *e, int64_t id, struct bh_bytes name)
{
	struct queue *q = xcalloc(1, sizeof(*q));
	int p;

	q->id = id;
	q->name = xstrndup(name.data, name.len);
	q->timer.kind = NODE_QUEUE;
	for (p = 0; p < PRIORITIES; p++)
		TAILQ_INIT(&q->ready[p]);
	TAILQ_INIT(&q->delayed);
	TAILQ_INIT(&q->blocked);
	TAILQ_INIT(&q->completed);
	TAILQ_INIT(&q->retained);
	TAILQ_INIT(&q->failed);
	TAILQ_INIT(&q->groups);
	TAILQ_INIT(&q->active);
	TAILQ_INIT(&q->waiters);
	map_init(&q->failures, &failures_map_ops);
	qopts_resolve(e->qopts, q->name, &q->opts);
	batch_configure(e, q);
	map_put(&e->by_name, q);
	TAILQ_INSERT_TAIL(&e->queues, q, all);
	e->nqueues++;
	if (id > e->last_queue_id)
		e->last_queue_id = id;
	return q;
}

int
queue_admit(const struct engine *e, struct bh_bytes name, size_t more,
    struct err *err)
{
	if ((int64_t)(e->nqueues + more) <= e->max_queues)
		return 0;
	return err_set(err, BH_E_QUEUEFULL, "queue '%.*s' would be number "
	    "%zu, max_queues is %lld", (int)name.len, name.data,
	    e->nqueues + more, (long long)e->max_queues);
}

struct queue *
queue_obtain(struct engine *e, struct bh_bytes name, struct err *err)
{
	struct queue *q = queue_find(e, name);

	if (q)
		return q;
	if (queue_admit(e, name, 1, err) < 0)
		return NULL;
	q = queue_add(e, e->last_queue_id + 1, name);
	queue_write(e, q);
	return q;
}

void
queue_free(struct engine *e, struct queue *q)
{
	struct group *g;
	size_t i;

	batch_free(e, q);
	while ((g = TAILQ_FIRST(&q->groups))) {
		TAILQ_REMOVE(&q->groups, g, all);
		free(g);
	}
	for (i = 0; i < q->failures.cap; i++)
		free(q->failures.slots[i]);
	for (i = 0; q->failures.old && i < q->failures.old_cap; i++)
		free(q->failures.old[i]);
	map_done(&q->failures);
	TAILQ_REMOVE(&e->queues, q, all);
	free(q->runtimes);
	free(q->paused_by);
	free(q->held_reason);
	free(q->name);
	free(q);
}

void
queue_write(struct engine *e, const struct queue *q)
{
	struct jrec r = {.kind = JR_QUEUE, .id = q->id};

	r.u.queue.name = bytes_of(q->name);
	r.u.queue.paused_at = q->paused_at;
	r.u.queue.paused_by = bytes_of(q->paused_by);
	r.u.queue.held_until = q->held_until;
	r.u.queue.held_reason = bytes_of(q->held_reason);
	journal_append(e->journal, &r);
}

void
queue_touch_totals(struct engine *e, struct queue *q)
{
	if (q->totals_dirty)
		return;
	q->totals_dirty = true;
	TAILQ_INSERT_TAIL(&e->dirty, q, dirty);
}

/* Where a job goes whose start was given back: behind older ones that were
 * given back before it. */
static struct node *
first_younger(const struct queue *q, struct node *n, int priority)
{
	const struct job *j = job_of_node(n);
	struct node *at;

	TAILQ_FOREACH(at, &q->ready[priority], link) {
		const struct job *o = job_of_node(at);

		if (at->timer.kind != NODE_JOB || o->run_at > j->run_at ||
		    (o->run_at == j->run_at && o->id > j->id))
			break;
	}
	return at;
}

void
queue_ready(struct queue *q, struct node *n, int priority, bool front)
{
	struct node *at = front ? first_younger(q, n, priority) : NULL;

	if (at)
		TAILQ_INSERT_BEFORE(at, n, link);
	else
		TAILQ_INSERT_TAIL(&q->ready[priority], n, link);
	q->ready_mask |= (uint16_t)(1u << priority);
}

void
queue_unready(struct engine *e, struct queue *q, struct node *n,
    int priority)
{
	TAILQ_REMOVE(&q->ready[priority], n, link);
	if (TAILQ_EMPTY(&q->ready[priority]))
		q->ready_mask &= (uint16_t)~(1u << priority);
	if (!q->ready_mask)
		heap_remove(&e->turns, &q->turn);
}

struct limit_rate
queue_rate(const struct queue *q)
{
	return (struct limit_rate){q->opts.rate_limit, q->opts.rate_per_ms,
	    q->opts.rate_burst};
}

enum bh_gate
queue_gate(const struct engine *e, const struct queue *q, int64_t *ret_until)
{
	struct limit_rate r = queue_rate(q);
	int64_t token;

	*ret_until = INT64_MAX;
	if (q->paused_at)
		return BH_GATE_PAUSED;
	if (q->held_until) {
		*ret_until = q->held_mono;
		return BH_GATE_HELD;
	}
	if (q->opts.rate_limit > 0 && q->opts.rate_by == BH_RATE_BY_QUEUE) {
		token = limit_next(q->tat_us, &r, e->now.mono_ms * 1000);
		token = (token + 999) / 1000;
		if (token > e->now.mono_ms) {
			*ret_until = token;
			return BH_GATE_RATE;
		}
	}
	if (q->opts.max_active > 0 &&
	    q->count[BH_ACTIVE] >= q->opts.max_active)
		return BH_GATE_MAX_ACTIVE;
	return BH_GATE_NONE;
}

/* When the oldest finished job is over its age; INT64_MAX for none. */
static int64_t
sweep_at(const struct queue *q)
{
	struct node *c = TAILQ_FIRST(&q->completed);
	struct node *f = TAILQ_FIRST(&q->failed);
	int64_t at = INT64_MAX;

	if (c)
		at = c->timer.at + q->opts.retain_completed_ms;
	if (f && f->timer.at + q->opts.retain_failed_ms < at)
		at = f->timer.at + q->opts.retain_failed_ms;
	if (q->completed_counted > q->opts.retain_completed_count ||
	    q->count[BH_FAILED] > q->opts.retain_failed_count)
		at = 0;
	return at;
}

/* Somebody waits for what it has. */
static bool
wanted(const struct queue *q)
{
	if (!q->batching)
		return q->ready_mask && !TAILQ_EMPTY(&q->waiters);
	return (q->nworkers && q->ready_mask) ||
	    (q->nhandlers && batch_ready(q));
}

void
queue_refresh(struct engine *e, struct queue *q)
{
	int64_t until, at;
	enum bh_gate gate = queue_gate(e, q, &until);

	if (q->batching)
		batch_refresh(e, &q->batching->loose);
	if (wanted(q) && gate == BH_GATE_NONE && !e->draining) {
		if (q->turn.pos == 0) {
			if (q->pass < e->pass)
				q->pass = e->pass;
			heap_set(&e->turns, &q->turn,
			    q->opts.strict ? q->pass - INT64_MAX / 2
					   : q->pass);
		}
	} else {
		heap_remove(&e->turns, &q->turn);
	}
	at = sweep_at(q);
	if (at <= e->now.mono_ms && q->swept_at == e->turn)
		at = e->now.mono_ms + 1;	/* the next slice */
	if (gate == BH_GATE_HELD || (gate == BH_GATE_RATE && q->ready_mask))
		at = until < at ? until : at;
	if (at != INT64_MAX)
		heap_set(&e->mono, &q->timer, at);
	else
		heap_remove(&e->mono, &q->timer);
}

void
queue_sweep(struct engine *e, struct queue *q)
{
	struct node *n;
	q->swept_at = e->turn;
	while (e->sweep_left > 0 && (n = TAILQ_FIRST(&q->completed)) &&
	    (n->timer.at + q->opts.retain_completed_ms <= e->now.mono_ms ||
	    q->completed_counted > q->opts.retain_completed_count)) {
		job_delete(e, job_of_node(n));
		e->sweep_left--;
	}
	while (e->sweep_left > 0 && (n = TAILQ_FIRST(&q->failed)) &&
	    (n->timer.at + q->opts.retain_failed_ms <= e->now.mono_ms ||
	    q->count[BH_FAILED] > q->opts.retain_failed_count)) {
		job_delete(e, job_of_node(n));
		e->sweep_left--;
	}
}

void
queue_runtime(struct engine *e, struct queue *q, int64_t ms)
{
	static const int32_t bounds[] = {BH_RUNTIME_BOUNDS};
	int64_t period = e->now.mono_ms / HIST_SLICE_MS;
	int i = (int)(period % HIST_SLICES), b = 0;

	_Static_assert(nitems(bounds) + 1 == BH_RUNTIME_BUCKETS,
	    "one more bucket than bounds");
	if (!q->runtimes)
		q->runtimes = xcalloc(1, sizeof(*q->runtimes));
	if (q->runtimes->period[i] != period) {
		memset(&q->runtimes->slice[i], 0,
		    sizeof(q->runtimes->slice[i]));
		q->runtimes->period[i] = period;
	}
	hist_add(&q->runtimes->slice[i], ms);
	while (b < (int)nitems(bounds) && ms > bounds[b])
		b++;
	q->runtimes->bucket[b]++;
	q->runtimes->count++;
	q->runtimes->sum_ms += ms > 0 ? ms : 0;
}

void
queue_failure_add(struct queue *q, uint64_t fp, int64_t at, int64_t id)
{
	struct failures *f = map_get(&q->failures, map_hash_int(fp), &fp);

	if (!f) {
		f = xcalloc(1, sizeof(*f));
		f->fingerprint = fp;
		f->first_at = at;
		map_put(&q->failures, f);
	}
	f->count++;
	if (at < f->first_at)
		f->first_at = at;
	if (at >= f->last_at) {
		f->last_at = at;
		f->sample_id = id;
	}
}

void
queue_failure_drop(struct queue *q, uint64_t fp)
{
	struct failures *f = map_get(&q->failures, map_hash_int(fp), &fp);

	CHECK(f && f->count > 0);
	if (--f->count > 0)
		return;
	map_remove(&q->failures, f);
	free(f);
}
