/* SPDX-License-Identifier: MIT */
/*
 * Recovery: the stored rows become the memory again. Jobs are put in their
 * states in the order in which they would be served: by run_at (the place in
 * line of a group's member), then id.
 */
#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "engine/part.h"

struct place {
	int64_t key;
	struct job *job;
	bool started;			/* a start was made, maybe given back */
};

struct load {
	struct engine *engine;
	struct map by_id;		/* queues */
	struct place *live;
	size_t nlive, cap;
	bool sorted;
	struct place *ended;
	size_t nended, ended_cap;
	struct pair { int64_t job, after; } *pairs;
	size_t npairs;
	/* The newest moment that the store knows of: on a box whose clock
	 * starts in 1970, time goes on from there. */
	int64_t newest;
};

static uint64_t
id_hash(const void *item)
{
	return map_hash_int((uint64_t)((const struct queue *)item)->id);
}

static bool
id_equal(const void *item, const void *key)
{
	return ((const struct queue *)item)->id == *(const int64_t *)key;
}

static const struct map_ops id_map_ops = {id_hash, id_equal};

static struct queue *
load_queue_of(const struct load *l, int64_t id)
{
	struct queue *q =
	    map_get(&l->by_id, map_hash_int((uint64_t)id), &id);

	CHECK(q);	/* the schema's foreign key */
	return q;
}

static void
note_time(struct load *l, int64_t at)
{
	if (at > l->newest)
		l->newest = at;
}

static void
load_next_id(void *arg, int64_t id)
{
	struct load *l = arg;

	l->engine->next_id = l->engine->written_next_id = id;
}

static char *
text(struct bh_bytes b)
{
	return b.data ? xstrndup(b.data, b.len) : NULL;
}

static void
load_queue(void *arg, const struct jqueue_row *row)
{
	struct load *l = arg;
	struct engine *e = l->engine;
	struct queue *q = queue_add(e, row->id, row->name);

	q->paused_at = row->paused_at;
	q->paused_by = text(row->paused_by);
	q->held_until = row->held_until;
	q->held_reason = text(row->held_reason);
	q->processed = row->processed;
	q->failed_total = row->failed;
	q->stalled_total = row->stalled;
	map_put(&l->by_id, q);
}

static void
remember(struct place **list, size_t *n, size_t *cap, int64_t key,
    struct job *j, bool started)
{
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 1024;
		*list = xrealloc(*list, *cap * sizeof(**list));
	}
	(*list)[(*n)++] = (struct place){key, j, started};
}

static void
load_live(struct load *l, struct job *j, const struct jjob_row *row)
{
	struct engine *e = l->engine;
	int64_t key = row->line_at ? row->line_at : row->run_at;

	j->run_at = row->run_at;
	if (row->expires_at)
		job_ext(e, j)->expires_at = row->expires_at;
	if (row->group.len)
		group_name(e, j, row->group);
	if (row->unique.len && !(row->unique_until &&
	    row->unique_until <= e->now.wall_ms))
		unique_take(e, j, row->unique, row->unique_until);
	job_flag(j, JOB_WALL, row->wall);
	if (row->after) {
		l->pairs = xrealloc(l->pairs,
		    (l->npairs + 1) * sizeof(*l->pairs));
		l->pairs[l->npairs++] = (struct pair){j->id, row->after};
	}
	if (l->nlive && l->live[l->nlive - 1].key > key)
		l->sorted = false;
	remember(&l->live, &l->nlive, &l->cap, key, j, row->started_at != 0);
}

static void
load_job(void *arg, const struct jjob_row *row)
{
	struct load *l = arg;
	struct engine *e = l->engine;
	struct job *j = job_new(e, row->id, load_queue_of(l, row->queue));

	if (row->id >= e->next_id)
		e->next_id = row->id + 1;
	note_time(l, row->created_at);
	note_time(l, row->started_at);
	note_time(l, row->finished_at);
	j->attempt = row->attempt;
	j->error_count = (uint16_t)row->error_count;
	j->stalled = (uint16_t)row->stalled;
	job_set_priority(j, row->priority);
	if (row->state == JSTATE_LIVE) {
		load_live(l, j, row);
		return;
	}
	if (row->state == JSTATE_FAILED)
		j->fingerprint = row->fingerprint;
	else
		job_flag(j, JOB_RETAIN, row->retain_ms > 0);
	/* Until it is entered, wake holds the age that is left to it. */
	j->node.timer.at = row->state == JSTATE_COMPLETED &&
	    row->retain_ms > 0 ? row->finished_at + row->retain_ms
			       : row->finished_at;
	j->node.timer.tag[0] = row->state == JSTATE_FAILED ? BH_FAILED
							   : BH_COMPLETED;
	remember(&l->ended, &l->nended, &l->ended_cap, row->finished_at, j,
	    true);
}

static void
load_lease(void *arg, const struct jlease_row *row)
{
	struct load *l = arg;
	struct job *j = job_find(l->engine, row->id);
	struct body *b;

	CHECK(j && !j->body);
	note_time(l, row->started_at);
	j->attempt = row->attempt;
	j->body = b = body_blank(j);
	b->handler = row->handler;
	b->token = row->token;
	b->started_at = row->started_at;
	b->opts.lease_ms = row->lease_ms;
	b->opts.max_stalled = row->max_stalled;
	/* Its length, so that it can count anew. */
	b->lease_ms = row->until - row->started_at;
	if (row->lease_ms >= 0)
		b->lease_ms = row->lease_ms;
	b->asked_lease_ms = b->lease_ms;
	b->worker = text(row->worker);
}

/* A job that a worker holds is finished by its own options. */
static void
load_body(void *arg, struct jbody *body)
{
	struct load *l = arg;
	struct job *j = job_find(l->engine, body->id);

	body_load(j->body, body);
	step_load(l->engine, j, body);
}

static void
load_callback(void *arg, int64_t queue, const struct bh_callback *row)
{
	struct load *l = arg;

	callback_restore(l->engine, load_queue_of(l, queue), row);
}

static void
load_history(void *arg, int64_t id)
{
	struct load *l = arg;
	struct job *j = job_find(l->engine, id);

	if (j)
		job_flag(j, JOB_HISTORY, true);
}

static void
load_schedule(void *arg, int64_t id, const struct bh_schedule *row,
    const struct jschedule_state *state)
{
	struct load *l = arg;

	schedule_restore(l->engine, id, row, state);
}

static void
load_tick(void *arg, int64_t schedule, int64_t n, const struct bh_tick *tick)
{
	struct load *l = arg;

	schedule_restore_tick(l->engine, schedule, n, tick);
}

static void
load_steps(void *arg, int64_t id)
{
	struct load *l = arg;
	struct job *j = job_find(l->engine, id);

	if (j)
		job_flag(j, JOB_STEPS, true);
}

static const struct jvisitor visitor = {
	.next_id = load_next_id,
	.queue = load_queue,
	.job = load_job,
	.lease = load_lease,
	.body = load_body,
	.callback = load_callback,
	.history = load_history,
	.schedule = load_schedule,
	.tick = load_tick,
	.steps = load_steps,
};

static int
by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->job->id < y->job->id ? -1 : x->job->id > y->job->id;
}

static void
pair_up(struct engine *e, const struct load *l)
{
	size_t i;

	for (i = 0; i < l->npairs; i++) {
		struct job *j = job_find(e, l->pairs[i].job);
		struct job *a = job_find(e, l->pairs[i].after);

		/* Without the other one (it ended), nothing blocks it. */
		if (!a || a->node.timer.tag[0] >= BH_COMPLETED)
			continue;
		job_ext(e, j)->pair = a;
		job_ext(e, a)->pair = j;
		job_flag(j, JOB_BLOCKED, true);
	}
	free(l->pairs);
}

static void
enter_live(struct engine *e, struct job *j, bool started, int64_t line_at)
{
	bool wall = job_is(j, JOB_WALL);

	if (j->body) {
		/* An outside worker may still be at it: its lease counts
		 * anew. A handler died with the daemon, see below. */
		j->body->lease_until = e->now.wall_ms + j->body->lease_ms;
		if (j->ext && j->ext->group)
			group_join(e, j);
		job_flag(j, JOB_WALL, false);
		job_enter(e, j, BH_ACTIVE,
		    e->now.mono_ms + j->body->lease_ms);
	} else if (j->run_at <= e->now.wall_ms) {
		job_flag(j, JOB_WALL, false);
		job_enter(e, j, BH_WAITING, 0);
	} else {
		/* After an error or a snooze it still holds its line, which
		 * it has not joined yet when that is ahead. */
		if (j->ext && j->ext->group && started &&
		    line_at <= e->now.wall_ms)
			group_join(e, j);
		job_enter(e, j, BH_DELAYED, wall ? j->run_at
		    : e->now.mono_ms + j->run_at - e->now.wall_ms);
	}
}

static void
enter_ended(struct engine *e, struct job *j)
{
	int64_t at = e->now.mono_ms + j->node.timer.at - e->now.wall_ms;

	job_enter(e, j, job_state(j), at);
	if (job_state(j) == BH_FAILED)
		queue_failure_add(j->queue, j->fingerprint,
		    j->node.timer.at + e->now.wall_ms - e->now.mono_ms,
		    j->id);
}

static void
enter_holds(struct engine *e)
{
	struct queue *q;

	TAILQ_FOREACH(q, &e->queues, all) {
		if (q->held_until <= e->now.wall_ms) {
			q->held_until = 0;
			free(q->held_reason);
			q->held_reason = NULL;
		} else {
			q->held_mono = e->now.mono_ms + q->held_until -
			    e->now.wall_ms;
		}
	}
}

/* The handlers that the daemon's death took along. */
static void
free_handlers(struct engine *e)
{
	struct queue *q;
	struct body *b, *next;

	TAILQ_FOREACH(q, &e->queues, all) {
		for (b = TAILQ_FIRST(&q->active); b; b = next) {
			next = TAILQ_NEXT(b, active);
			if (b->handler)
				heap_set(&e->mono, &b->job->node.timer,
				    e->now.mono_ms);
		}
	}
}

int
engine_load(struct engine *e, struct err *err)
{
	struct load l = {.engine = e, .sorted = true};
	struct clock_time real = e->now;
	size_t i;
	int rc;

	map_init(&l.by_id, &id_map_ops);
	rc = journal_recover(e->journal, &visitor, &l, err);
	if (rc == 0) {
		if (!l.sorted)
			qsort(l.live, l.nlive, sizeof(*l.live), by_place);
		if (l.nended)
			qsort(l.ended, l.nended, sizeof(*l.ended), by_place);
		pair_up(e, &l);
		if (l.newest > e->now.wall_ms)
			e->now.wall_ms = l.newest;
		enter_holds(e);
		for (i = 0; i < l.nlive; i++)
			enter_live(e, l.live[i].job, l.live[i].started,
			    l.live[i].key);
		for (i = 0; i < l.nended; i++)
			enter_ended(e, l.ended[i].job);
		free_handlers(e);
		e->now = real;
		schedule_enter_all(e);
	}
	free(l.live);
	free(l.ended);
	map_done(&l.by_id);
	return rc;
}
