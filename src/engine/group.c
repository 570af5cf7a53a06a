/* SPDX-License-Identifier: MIT */
/*
 * Groups. Invariants:
 *  1. A job is in its group's line from when it is first due until it has
 *     ended (or is made to wait anew); the line is in order of joining.
 *  2. running counts active jobs, a batch (batch.c) as one.
 *  3. The group is in queue->ready[p] exactly while group_next() answers a
 *     job of priority p and the group's bucket has a token.
 *  4. A group lives while its line is not empty or its bucket is not full.
 */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "engine/part.h"


static uint64_t
group_hash(const void *item)
{
	return ((const struct group *)item)->key.a;
}

static bool
group_equal(const void *item, const void *key)
{
	const struct group *g = item;

	return memcmp(&g->key, key, sizeof(g->key)) == 0;
}

const struct map_ops group_map_ops = {group_hash, group_equal};

void
group_name(struct engine *e, struct job *j, struct bh_bytes text)
{
	struct keyhash key = key_hash(e, j->queue, text);
	struct group *g = map_get(&e->by_group, key.a, &key);

	if (!g) {
		g = xcalloc(1, sizeof(*g));
		g->key = key;
		g->queue = j->queue;
		g->ready = -1;
		g->node.timer.kind = NODE_GROUP;
		TAILQ_INIT(&g->line);
		TAILQ_INSERT_TAIL(&j->queue->groups, g, all);
		map_put(&e->by_group, g);
	}
	job_ext(e, j)->group = g;
	g->count++;	/* those outside the line hold it too */
}

static void
unready(struct engine *e, struct group *g)
{
	if (g->ready < 0)
		return;
	queue_unready(e, g->queue, &g->node, g->ready);
	g->ready = -1;
}

int64_t
group_token_at(const struct engine *e, const struct group *g)
{
	const struct bh_queue_opts *o = &g->queue->opts;
	struct limit_rate r = queue_rate(g->queue);

	if (o->rate_limit <= 0 || o->rate_by != BH_RATE_BY_GROUP)
		return e->now.mono_ms;
	return (limit_next(g->tat_us, &r, e->now.mono_ms * 1000) + 999) /
	    1000;
}

/* Frees it once nothing needs it; a bucket that is not full does until then. */
static void
maybe_free(struct engine *e, struct group *g)
{
	if (g->count > 0)
		return;
	CHECK(g->ready < 0 && g->running == 0 && g->waiting == 0 &&
	    TAILQ_EMPTY(&g->line));
	if (g->tat_us > e->now.mono_ms * 1000) {
		heap_set(&e->mono, &g->node.timer, g->tat_us / 1000 + 1);
		return;
	}
	heap_remove(&e->mono, &g->node.timer);
	batch_forget(e, g);
	TAILQ_REMOVE(&g->queue->groups, g, all);
	map_remove(&e->by_group, g);
	free(g);
}

struct job *
group_next(const struct engine *e, const struct group *g,
    struct job **ret_ahead)
{
	bool strict = g->queue->opts.group_order == BH_GROUP_STRICT;
	struct node *n;

	(void)e;
	*ret_ahead = NULL;
	TAILQ_FOREACH(n, &g->line, link) {
		struct job *j = job_of_node(n);

		if (job_state(j) == BH_ACTIVE) {
			*ret_ahead = j;
			continue;
		}
		if (job_state(j) == BH_WAITING)
			return j;
		*ret_ahead = j;
		if (strict)
			return NULL;
	}
	return NULL;
}

void
group_refresh(struct engine *e, struct group *g, bool rotate)
{
	struct job *ahead, *next = group_next(e, g, &ahead);
	int64_t token_at;
	int want;

	if (next && (int64_t)g->running >= g->queue->opts.group_concurrency)
		next = NULL;
	token_at = group_token_at(e, g);
	if (next && token_at > e->now.mono_ms) {
		heap_set(&e->mono, &g->node.timer, token_at);
		next = NULL;
	}
	want = next ? job_priority(next) : -1;
	if (want != g->ready || (rotate && want >= 0)) {
		unready(e, g);
		if (want >= 0) {
			g->ready = (int8_t)want;
			queue_ready(g->queue, &g->node, want, false);
		}
	}
	if (g->gather)
		batch_refresh(e, g->gather);
}

void
group_join(struct engine *e, struct job *j)
{
	struct group *g = j->ext->group;

	(void)e;
	CHECK(!job_is(j, JOB_INLINE) && !job_is(j, JOB_LISTED));
	TAILQ_INSERT_TAIL(&g->line, &j->node, link);
	job_flag(j, JOB_INLINE, true);
}

void
group_leave(struct engine *e, struct job *j)
{
	struct group *g = j->ext->group;

	if (job_is(j, JOB_INLINE)) {
		TAILQ_REMOVE(&g->line, &j->node, link);
		job_flag(j, JOB_INLINE, false);
	}
	j->ext->group = NULL;
	g->count--;
	group_refresh(e, g, false);
	maybe_free(e, g);
}

void
group_started(struct engine *e, struct group *g, bool another)
{
	struct limit_rate r = queue_rate(g->queue);

	if (!another)
		g->running++;
	if (g->queue->opts.rate_limit > 0 &&
	    g->queue->opts.rate_by == BH_RATE_BY_GROUP)
		g->tat_us = limit_take(g->tat_us, &r, e->now.mono_ms * 1000);
	group_refresh(e, g, true);
}

void
group_ended(struct engine *e, struct group *g)
{
	(void)e;
	CHECK(g->running > 0);
	g->running--;
}

void
group_timer(struct engine *e, struct group *g)
{
	struct queue *q = g->queue;

	group_refresh(e, g, false);
	maybe_free(e, g);
	queue_refresh(e, q);
}
