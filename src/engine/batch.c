/* SPDX-License-Identifier: MIT */
/*
 * Batches. In a queue with the option batch_max, handlers get waiting jobs
 * together: those of one group, or those that are in none. Invariants:
 *
 *  1. Such a queue has a struct batching, and each of its groups with waiting
 *     jobs a struct gather; the jobs in no group share batching->loose.
 *  2. A gather is in batching->ripe[p] exactly while its first job, of
 *     priority p, may start now (group.c decides about groups) and the window
 *     or the quiet time is over or a whole batch is there.
 *  3. Its timer is set exactly while its first job may start and it is not
 *     ripe: this is the only timer, however many jobs wait.
 *
 * Outside workers know nothing of this: the ready lists are as always, and
 * what a worker takes from them is missing in the batch.
 *
 * A waiting job costs nothing: when it began to wait follows from its run_at,
 * and is looked at only when it joins or becomes the first.
 */
#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "engine/part.h"

/* Ready groups that a look for a job in no group passes at most. */
enum { LOOKS = 100 };

/* --- what it gathers from --- */

static int64_t
count(const struct gather *g)
{
	return g->group ? g->group->waiting : g->queue->nloose;
}

/* The priority of the first job that may start now, -1: none may. */
static int
standing(const struct gather *g)
{
	int p;

	if (g->group)
		return g->group->ready;
	for (p = 0; p < PRIORITIES; p++)
		if (g->queue->loose[p])
			return p;
	return -1;
}

/* Never in the future: a wall clock that was set back makes it now. */
static int64_t
waiting_since(const struct engine *e, const struct job *j)
{
	int64_t ms = e->now.wall_ms - j->run_at;

	return e->now.mono_ms - (ms > 0 ? ms : 0);
}

/* The first (or last) waiting job of the list that is in no group, or NULL. */
static struct job *
loose_job(const struct nodes *list, bool last)
{
	struct node *n = last ? TAILQ_LAST(list, nodes) : TAILQ_FIRST(list);
	int looks = LOOKS;

	while (n && n->timer.kind != NODE_JOB && looks-- > 0)
		n = last ? TAILQ_PREV(n, nodes, link) : TAILQ_NEXT(n, link);
	return n && n->timer.kind == NODE_JOB ? job_of_node(n) : NULL;
}

/* Since when the first (or last) of its jobs waits; def when one cannot
 * tell. */
static int64_t
edge_mono(const struct engine *e, const struct gather *g, bool last,
    int64_t def)
{
	const struct nodes *line;
	struct node *n;
	struct job *j;
	int64_t at;
	int p;
	bool any = false;

	if (g->group) {
		line = &g->group->line;
		n = last ? TAILQ_LAST(line, nodes) : TAILQ_FIRST(line);
		while (n && job_state(job_of_node(n)) != BH_WAITING)
			n = last ? TAILQ_PREV(n, nodes, link)
			    : TAILQ_NEXT(n, link);
		return n ? waiting_since(e, job_of_node(n)) : def;
	}
	for (p = 0; p < PRIORITIES; p++) {
		j = g->queue->loose[p] ? loose_job(&g->queue->ready[p], last)
		    : NULL;
		if (!j)
			continue;
		at = waiting_since(e, j);
		if (!any || (last ? at > def : at < def))
			def = at;
		any = true;
	}
	return def;
}

/* How large a batch can become at all: it never waits for more. */
static size_t
room(const struct queue *q)
{
	const struct bh_queue_opts *o = &q->opts;
	int64_t n = o->batch_max;

	if (o->rate_limit > 0 && o->rate_burst < n)
		n = o->rate_burst;
	if (o->max_active > 0 && o->max_active < n)
		n = o->max_active;
	return n < BATCH_MAX ? (size_t)n : BATCH_MAX;
}

/* The first of its jobs, at most max; jobs may be NULL. How many. */
static size_t
pick_line(const struct group *g, size_t max, struct job **jobs)
{
	bool strict = g->queue->opts.group_order == BH_GROUP_STRICT;
	struct node *n;
	size_t i = 0;

	TAILQ_FOREACH(n, &g->line, link) {
		struct job *j = job_of_node(n);

		if (i == max)
			break;
		if (job_state(j) == BH_WAITING) {
			if (jobs)
				jobs[i] = j;
			i++;
		} else if (job_state(j) != BH_ACTIVE && strict) {
			break;
		}
	}
	return i;
}

static size_t
pick_loose(const struct queue *q, size_t max, struct job **jobs)
{
	struct node *n;
	size_t i = 0;
	uint32_t left;
	int p;

	for (p = 0; p < PRIORITIES; p++) {
		left = q->loose[p];
		TAILQ_FOREACH(n, &q->ready[p], link) {
			if (left == 0 || i == max)
				break;
			if (n->timer.kind != NODE_JOB)
				continue;
			jobs[i++] = job_of_node(n);
			left--;
		}
	}
	return i;
}

static bool
full(const struct gather *g)
{
	size_t max = room(g->queue);

	if (count(g) < (int64_t)max)
		return false;
	return !g->group || pick_line(g->group, max, NULL) == max;
}

/* --- gathering --- */

static int64_t
later(int64_t mono, int64_t ms)
{
	int64_t at;

	return __builtin_add_overflow(mono, ms, &at) ? INT64_MAX : at;
}

/* Mono ms when it is ripe: now or earlier, if it is. */
static int64_t
ripe_at(const struct engine *e, struct gather *g)
{
	const struct bh_queue_opts *o = &g->queue->opts;
	int64_t since, at, quiet;

	if (g->stale) {
		since = edge_mono(e, g, false, g->first_mono);
		if (since > g->first_mono)
			g->first_mono = since;
		g->stale = false;
	}
	at = later(g->first_mono, o->batch_window_ms);
	if (o->batch_quiet_ms > 0) {
		quiet = later(g->last_mono, o->batch_quiet_ms);
		at = quiet < at ? quiet : at;
	}
	return at > e->now.mono_ms && full(g) ? e->now.mono_ms : at;
}

static void
unripe(struct gather *g)
{
	struct batching *b = g->queue->batching;

	if (g->ripe < 0)
		return;
	TAILQ_REMOVE(&b->ripe[g->ripe], g, link);
	if (TAILQ_EMPTY(&b->ripe[g->ripe]))
		b->ripe_mask &= (uint16_t)~(1u << g->ripe);
	g->ripe = -1;
}

void
batch_refresh(struct engine *e, struct gather *g)
{
	struct batching *b = g->queue->batching;
	int want = standing(g);
	int64_t at = want >= 0 ? ripe_at(e, g) : 0;

	if (want >= 0 && at > e->now.mono_ms) {
		heap_set(&e->mono, &g->timer, at);
		want = -1;
	} else {
		heap_remove(&e->mono, &g->timer);
	}
	if (want == g->ripe)
		return;
	unripe(g);
	if (want < 0)
		return;
	g->ripe = (int8_t)want;
	TAILQ_INSERT_TAIL(&b->ripe[want], g, link);
	b->ripe_mask |= (uint16_t)(1u << want);
}

void
batch_timer(struct engine *e, struct gather *g)
{
	batch_refresh(e, g);
	queue_refresh(e, g->queue);
}

static void
gather_init(const struct engine *e, struct gather *g, struct queue *q,
    struct group *group)
{
	g->timer.kind = NODE_GATHER;
	g->queue = q;
	g->group = group;
	g->ripe = -1;
	g->first_mono = edge_mono(e, g, false, e->now.mono_ms);
	g->last_mono = edge_mono(e, g, true, g->first_mono);
}

static struct gather *
gather_new(const struct engine *e, struct group *group)
{
	struct gather *g = xcalloc(1, sizeof(*g));

	gather_init(e, g, group->queue, group);
	group->gather = g;
	return g;
}

void
batch_joined(struct engine *e, const struct job *j)
{
	struct batching *b = j->queue->batching;
	struct group *group = j->ext ? j->ext->group : NULL;
	struct gather *g;
	int64_t since;

	if (!b)
		return;
	g = group ? group->gather : &b->loose;
	if (!g)
		g = gather_new(e, group);
	since = waiting_since(e, j);
	if (count(g) == 1) {
		g->first_mono = g->last_mono = since;
		g->stale = false;
	}
	if (since < g->first_mono)
		g->first_mono = since;
	if (since > g->last_mono)
		g->last_mono = since;
}

void
batch_left(struct queue *q, struct group *group)
{
	if (group && group->gather)
		group->gather->stale = true;
	else if (!group && q->batching)
		q->batching->loose.stale = true;
}

void
batch_forget(struct engine *e, struct group *group)
{
	struct gather *g = group->gather;

	if (!g)
		return;
	heap_remove(&e->mono, &g->timer);
	unripe(g);
	free(g);
	group->gather = NULL;
}

void
batch_free(struct engine *e, struct queue *q)
{
	struct group *group;

	if (!q->batching)
		return;
	TAILQ_FOREACH(group, &q->groups, all)
		batch_forget(e, group);
	heap_remove(&e->mono, &q->batching->loose.timer);
	free(q->batching);
	q->batching = NULL;
}

void
batch_configure(struct engine *e, struct queue *q)
{
	struct group *group;
	int p;

	if (q->opts.batch_max <= 0) {
		batch_free(e, q);
		return;
	}
	if (q->batching)
		return;
	q->batching = xcalloc(1, sizeof(*q->batching));
	for (p = 0; p < PRIORITIES; p++)
		TAILQ_INIT(&q->batching->ripe[p]);
	gather_init(e, &q->batching->loose, q, NULL);
	TAILQ_FOREACH(group, &q->groups, all)
		if (group->waiting)
			gather_new(e, group);
}

/* --- handing out --- */

size_t
batch_next(struct engine *e, struct queue *q, struct job *jobs[BATCH_MAX])
{
	const struct bh_queue_opts *o = &q->opts;
	struct batching *b = q->batching;
	struct gather *g = TAILQ_FIRST(&b->ripe[__builtin_ctz(b->ripe_mask)]);
	struct limit_rate rate = queue_rate(q);
	int64_t n = (int64_t)room(q), at_hand = n;

	if (o->max_active > 0 && o->max_active - q->count[BH_ACTIVE] < n)
		n = o->max_active - q->count[BH_ACTIVE];
	if (o->rate_limit > 0 && o->rate_by == BH_RATE_BY_QUEUE)
		at_hand = limit_tokens(q->tat_us, &rate,
		    e->now.mono_ms * 1000);
	else if (o->rate_limit > 0 && g->group)
		at_hand = limit_tokens(g->group->tat_us, &rate,
		    e->now.mono_ms * 1000);
	if (at_hand < n)
		n = at_hand;
	CHECK(n > 0);
	unripe(g);	/* if there is more of it, others come first */
	return g->group ? pick_line(g->group, (size_t)n, jobs)
	    : pick_loose(q, (size_t)n, jobs);
}

struct batch *
batch_new(struct engine *e, struct job **jobs, size_t n)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	size_t i;

	if (++e->last_batch == 0)
		e->last_batch = 1;
	b->number = e->last_batch;
	b->timeout_ms = jobs[0]->queue->opts.timeout_ms;
	for (i = 0; i < n; i++) {
		const struct body *body = jobs[i]->body;

		if (body && body->opts.timeout_ms > b->timeout_ms)
			b->timeout_ms = body->opts.timeout_ms;
	}
	return b;
}

void
batch_enter(struct batch *b, struct job *j)
{
	j->body->batch = b;
	b->active++;
}

bool
batch_leave(struct job *j)
{
	struct batch *b = j->body->batch;

	if (!b)
		return true;
	CHECK(b->active > 0);
	j->body->batch = NULL;
	if (--b->active > 0)
		return false;
	free(b);
	return true;
}

bool
batch_gathering(const struct job *j, int64_t *ret_until, bool *ret_member)
{
	const struct batching *b = j->queue->batching;
	struct group *group = j->ext ? j->ext->group : NULL;
	const struct gather *g;
	struct job *jobs[BATCH_MAX];
	size_t i, n;

	*ret_member = false;
	if (!b || job_state(j) != BH_WAITING || job_is(j, JOB_BLOCKED))
		return false;
	g = group ? group->gather : &b->loose;
	if (group && group->ready >= 0) {
		n = pick_line(group, room(j->queue), jobs);
		for (i = 0; i < n && jobs[i] != j; i++)
			;
		*ret_member = i < n;
	}
	*ret_until = g->timer.at;
	return g->timer.pos != 0 && (*ret_member || !group);
}
