/* SPDX-License-Identifier: MIT */
/* The façade: life of the engine, and what happens once a turn. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/xalloc.h"
#include "engine/part.h"

static uint64_t
job_hash(const void *item)
{
	return map_hash_int((uint64_t)((const struct job *)item)->id);
}

static bool
job_equal(const void *item, const void *key)
{
	return ((const struct job *)item)->id == *(const int64_t *)key;
}

static const struct map_ops job_map_ops = {job_hash, job_equal};

struct engine *
engine_new(const struct engine_config *config)
{
	struct engine *e = xcalloc(1, sizeof(*e));

	e->journal = config->journal;
	e->qopts = config->qopts;
	engine_set_limits(e, config->payload_cache, config->max_queues,
	    config->max_schedules);
	rng_bytes(e->hash_key, sizeof(e->hash_key));
	slab_init(&e->jobs, sizeof(struct job));
	slab_init(&e->exts, sizeof(struct ext));
	map_init(&e->by_id, &job_map_ops);
	map_init(&e->by_unique, &unique_map_ops);
	map_init(&e->by_group, &group_map_ops);
	map_init(&e->by_name, &queue_map_ops);
	TAILQ_INIT(&e->queues);
	TAILQ_INIT(&e->dirty);
	TAILQ_INIT(&e->waiters);
	TAILQ_INIT(&e->fresh);
	TAILQ_INIT(&e->served);
	TAILQ_INIT(&e->getters);
	TAILQ_INIT(&e->bulks);
	TAILQ_INIT(&e->lru);
	TAILQ_INIT(&e->schedules);
	TAILQ_INIT(&e->late);
	TAILQ_INIT(&e->zones);
	TAILQ_INIT(&e->owed);
	TAILQ_INIT(&e->told);
	STAILQ_INIT(&e->news);
	map_init(&e->by_getter, &getter_map_ops);
	e->done_tail = &e->done_head;
	e->next_id = e->written_next_id = 1;
	e->next_callback = 1;
	e->next_schedule = 1;
	e->cold_lsn = JREAD_NOW;
	return e;
}

void
engine_set_limits(struct engine *e, int64_t payload_cache,
    int64_t max_queues, int64_t max_schedules)
{
	e->cache_limit = (size_t)payload_cache;
	e->max_queues = max_queues;
	e->max_schedules = max_schedules;
}

void
engine_stop(struct engine *e)
{
	struct waiter *w;
	struct getter *g;
	struct bulk *b, *next;

	e->stopping = true;
	schedule_stop(e);
	while ((w = TAILQ_FIRST(&e->waiters)))
		waiter_cancel(e, w);
	while ((g = TAILQ_FIRST(&e->getters)))
		getter_cancel(e, g);
	for (b = TAILQ_FIRST(&e->bulks); b; b = next) {
		next = TAILQ_NEXT(b, all);
		if (!b->reading)	/* else the read's end ends it */
			bulk_end(e, b);
	}
}

/* Answers that nobody will be able to trust. */
static void
cancel_answers(struct engine *e)
{
	struct bh_req *req;

	for (req = e->done_head; req; req = req->priv.next) {
		req->status = BH_E_CANCELED;
		strcpy(req->text, "shut down before it was stored");
	}
	*e->done_tail = e->at_once;
	e->at_once = e->done_head;
	e->done_head = NULL;
	e->done_tail = &e->done_head;
	while ((req = e->at_once)) {
		e->at_once = req->priv.next;
		answer_tell(req);
	}
}

static void
free_bodies(struct engine *e)
{
	struct queue *q;
	struct body *b;

	TAILQ_FOREACH(q, &e->queues, all)
		while ((b = TAILQ_FIRST(&q->active))) {
			TAILQ_REMOVE(&q->active, b, active);
			batch_leave(b->job);
			body_drop(e, b->job);
		}
	while ((b = TAILQ_FIRST(&e->lru)))
		body_drop(e, b->job);
}

void
engine_free(struct engine **ep)
{
	struct engine *e = *ep;
	struct queue *q;

	cancel_answers(e);
	free_bodies(e);
	while ((q = TAILQ_FIRST(&e->queues)))
		queue_free(e, q);
	callback_free_all(e);
	event_free_all(e);
	schedule_free_all(e);
	map_done(&e->by_id);
	map_done(&e->by_unique);
	map_done(&e->by_group);
	map_done(&e->by_name);
	map_done(&e->by_getter);
	slab_done(&e->jobs);
	slab_done(&e->exts);
	heap_done(&e->mono);
	heap_done(&e->wall);
	heap_done(&e->turns);
	free(e);
	*ep = NULL;
}

void
engine_release(void *owner)
{
	body_unref(owner);
}

void
engine_time(struct engine *e, int64_t wall_ms, int64_t mono_ms)
{
	e->now = (struct clock_time){wall_ms, mono_ms};
	e->turn++;
	e->sweep_left = e->catch_left = SLICE;
}

void
engine_cancel(struct engine *e, struct bh_req *req)
{
	if (!req->priv.state)
		return;
	if (req->priv.kind == ANSWER_WAITER)
		waiter_cancel(e, req->priv.state);
	else if (req->priv.kind == ANSWER_GETTER)
		getter_cancel(e, req->priv.state);
}

void
engine_options_changed(struct engine *e)
{
	struct queue *q;
	struct group *g;

	schedule_reload_zones(e);
	TAILQ_FOREACH(q, &e->queues, all) {
		qopts_resolve(e->qopts, q->name, &q->opts);
		batch_configure(e, q);
		TAILQ_FOREACH(g, &q->groups, all)
			group_refresh(e, g, false);
		heap_remove(&e->turns, &q->turn);	/* strict may differ */
		queue_refresh(e, q);
	}
}

void
engine_drain(struct engine *e)
{
	struct queue *q;

	e->draining = true;
	schedule_stop(e);
	TAILQ_FOREACH(q, &e->queues, all)
		queue_refresh(e, q);
}

void
engine_refuse(struct engine *e, const struct err *why)
{
	e->refuse = *why;
}

/* Whoever has just added a job may still look for its result. */
enum { SHED_AGE_MS = 2000 };

size_t
engine_shed_completed(struct engine *e)
{
	struct queue *q;
	struct node *n;
	size_t count = 0;

	TAILQ_FOREACH(q, &e->queues, all)
		while (count < SLICE && (n = TAILQ_FIRST(&q->completed)) &&
		    n->timer.at + SHED_AGE_MS <= e->now.mono_ms) {
			job_delete(e, job_of_node(n));
			count++;
		}
	return count;
}

/* --- what is due --- */

/* A schedule's tick is a whole add: it counts as so many. */
enum { DUE_PER_TURN = 4096, TICK_COST = 8, JUMP_MS = 1000 };

/* A jump of the wall clock does not shorten the life of a job that waited by
 * mono; a restart must not either. */
static void
shift_expiry(struct engine *e, struct job *j)
{
	int64_t late = e->now.wall_ms - j->run_at;

	if (!j->ext || !j->ext->expires_at || job_is(j, JOB_WALL))
		return;
	j->ext->expires_at += late;
	j->run_at += late;
	if (late > JUMP_MS || late < -JUMP_MS)
		job_write(e, j, JR_JOB_SET, 0);
}

static void
due_job(struct engine *e, struct job *j)
{
	static const char expired[] = "expired";
	struct bh_bytes none = {0};

	switch (job_state(j)) {
	case BH_DELAYED:
		shift_expiry(e, j);
		job_move(e, j, BH_WAITING, 0);
		break;
	case BH_WAITING:
		finish_failed(e, j, bytes_of(expired), none, NULL);
		break;
	case BH_ACTIVE:
		finish_stalled(e, j);
		break;
	default:
		job_delete(e, j);	/* completed, its retain is over */
	}
}

static void
due_queue(struct engine *e, struct queue *q)
{
	if (q->held_until && q->held_mono <= e->now.mono_ms) {
		q->held_until = 0;
		free(q->held_reason);
		q->held_reason = NULL;
	}
	queue_sweep(e, q);
	queue_refresh(e, q);
}

static void
due(struct engine *e, struct heap_item *t)
{
	switch ((enum node_kind)t->kind) {
	case NODE_JOB:
		due_job(e, job_of_timer(t));
		break;
	case NODE_GROUP:
		group_timer(e, container_of(t, struct group, node.timer));
		break;
	case NODE_QUEUE:
		due_queue(e, container_of(t, struct queue, timer));
		break;
	case NODE_WAITER:
		waiter_timeout(e, container_of(t, struct waiter, timer));
		break;
	case NODE_GETTER:
		getter_timeout(e, container_of(t, struct getter, timer));
		break;
	case NODE_GATHER:
		batch_timer(e, container_of(t, struct gather, timer));
		break;
	case NODE_SCHEDULE:
		schedule_due(e, container_of(t, struct schedule, timer));
		break;
	}
}

void
engine_run_due(struct engine *e)
{
	struct heap_item *t;
	int left = DUE_PER_TURN;

	schedule_look(e);
	while (left > 0 && (t = heap_top(&e->wall)) &&
	    t->at <= e->now.wall_ms) {
		heap_remove(&e->wall, t);
		left -= t->kind == NODE_SCHEDULE ? TICK_COST : 1;
		due(e, t);
	}
	while (left > 0 && (t = heap_top(&e->mono)) &&
	    t->at <= e->now.mono_ms) {
		heap_remove(&e->mono, t);
		left -= t->kind == NODE_SCHEDULE ? TICK_COST : 1;
		due(e, t);
	}
}

void
engine_settle(struct engine *e)
{
	struct queue *q;

	while ((q = TAILQ_FIRST(&e->dirty))) {
		struct jrec r = {.kind = JR_QUEUE_TOTALS, .id = q->id};

		TAILQ_REMOVE(&e->dirty, q, dirty);
		q->totals_dirty = false;
		r.u.totals.processed = q->processed;
		r.u.totals.failed = q->failed_total;
		r.u.totals.stalled = q->stalled_total;
		journal_append(e->journal, &r);
	}
	if (e->next_id != e->written_next_id) {
		struct jrec r = {.kind = JR_NEXT_ID, .id = e->next_id};

		e->written_next_id = e->next_id;
		journal_append(e->journal, &r);
	}
	callback_tell(e);
}

int64_t
engine_next(const struct engine *e)
{
	struct heap_item *t = heap_top(&e->mono);
	int64_t at = t ? t->at : INT64_MAX;

	if (e->more || !TAILQ_EMPTY(&e->fresh) || !TAILQ_EMPTY(&e->late))
		return e->now.mono_ms;
	if (!TAILQ_EMPTY(&e->bulks) && !TAILQ_FIRST(&e->bulks)->reading)
		return e->now.mono_ms;
	t = heap_top(&e->wall);
	if (t) {
		/* The wall clock may jump: look at it once a minute. */
		int64_t left = t->at - e->now.wall_ms;

		if (left > 60000)
			left = 60000;
		if (e->now.mono_ms + left < at)
			at = e->now.mono_ms + left;
	}
	return at;
}

bool
engine_quiet(const struct engine *e)
{
	return !e->done_head && !e->at_once && e->reading == 0;
}

size_t
engine_memory(const struct engine *e)
{
	return slab_bytes(&e->jobs) + slab_bytes(&e->exts) +
	    e->by_id.cap * sizeof(void *) + e->cache_bytes;
}
