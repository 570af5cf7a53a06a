/* SPDX-License-Identifier: MIT */
/*
 * What an operator does to a queue. Pause, resume and hold are at once; retry
 * and purge go in slices of SLICE jobs a turn, and touch no more jobs than
 * there were when they began.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "engine/part.h"

/* Nodes that a slice may look at: lists can be long, turns may not. */
enum { LOOKS = 20000 };

static void
set_text(char **p, struct bh_bytes b)
{
	free(*p);
	*p = b.len ? xstrndup(b.data, b.len) : NULL;
}

static void
queue_changed(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	queue_write(e, q);
	queue_refresh(e, q);
	answer_ok(e, &r->req);
}

static void
pause(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	if (!q->paused_at) {
		q->paused_at = e->now.wall_ms;
		set_text(&q->paused_by, r->by);
	}
	queue_changed(e, q, r);
}

static void
resume(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	struct bh_bytes none = {0};

	q->paused_at = 0;
	set_text(&q->paused_by, none);
	q->held_until = 0;
	set_text(&q->held_reason, none);
	queue_changed(e, q, r);
}

static void
hold(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	q->held_until = e->now.wall_ms + r->hold_ms;
	q->held_mono = e->now.mono_ms + r->hold_ms;
	set_text(&q->held_reason, r->reason);
	queue_changed(e, q, r);
}

static void
start_slices(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	struct bulk *b = xcalloc(1, sizeof(*b));

	b->req = r;
	b->left = q->count[r->state];
	TAILQ_INSERT_TAIL(&e->bulks, b, all);
}

static void
retry(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	r->state = BH_FAILED;
	start_slices(e, q, r);
}

static void
purge(struct engine *e, struct queue *q, struct bh_queue_alter *r)
{
	if (r->state == BH_ACTIVE)
		answer_error(e, &r->req, BH_E_BADARG, "active jobs cannot be "
		    "purged: JOB.CANCEL ends one");
	else
		start_slices(e, q, r);
}

static void (*const actions[])(struct engine *, struct queue *,
    struct bh_queue_alter *) = {
	[BH_QUEUE_PAUSE] = pause,
	[BH_QUEUE_RESUME] = resume,
	[BH_QUEUE_HOLD] = hold,
	[BH_QUEUE_RETRY] = retry,
	[BH_QUEUE_PURGE] = purge,
};

void
engine_queue_alter(struct engine *e, struct bh_queue_alter *r)
{
	struct err err = ERR_INIT;
	struct queue *q = queue_find(e, r->queue);

	r->count = 0;
	if (!q && (r->action == BH_QUEUE_RETRY ||
	    r->action == BH_QUEUE_PURGE || r->action == BH_QUEUE_RESUME)) {
		answer_ok(e, &r->req);	/* nothing there, nothing to do */
		return;
	}
	if (!q && !(q = queue_obtain(e, r->queue, &err))) {
		answer_error(e, &r->req, err.code, "%s", err.text);
		return;
	}
	actions[r->action](e, q, r);
}

/* What a slice works on: jobs, and how many nodes it may look at. */
struct slice {
	enum bh_job_state state;
	uint64_t fingerprint;
	size_t n, max;
	int looks;
	struct job *jobs[SLICE];
};

/* Adds those of the list that fit; false when the slice is full. */
static bool
gather(struct slice *s, const struct nodes *list)
{
	struct node *n;

	TAILQ_FOREACH(n, list, link) {
		struct job *j = job_of_node(n);

		if (s->n == s->max || s->looks-- <= 0)
			return false;
		if (n->timer.kind == NODE_JOB && job_state(j) == s->state &&
		    (!s->fingerprint || j->fingerprint == s->fingerprint))
			s->jobs[s->n++] = j;
	}
	return true;
}

/* Jobs of this queue in this state, as many as fit. */
static void
fill_slice(struct queue *q, struct slice *s)
{
	struct group *g;
	int p;

	if (s->state == BH_FAILED) {
		gather(s, &q->failed);
	} else if (s->state == BH_COMPLETED) {
		if (gather(s, &q->completed))
			gather(s, &q->retained);
	} else {
		for (p = 0; p < PRIORITIES; p++)
			if (s->state == BH_WAITING &&
			    !gather(s, &q->ready[p]))
				break;
		if (!gather(s, s->state == BH_WAITING ? &q->blocked
						      : &q->delayed))
			return;
		TAILQ_FOREACH(g, &q->groups, all)
			if (!gather(s, &g->line))
				return;
	}
}

/* Failed jobs of a slice, whose keys must be read before they live again. */
struct keys {
	struct jread read;
	struct engine *engine;
	struct bulk *bulk;
	int64_t ids[SLICE];
};

void
bulk_end(struct engine *e, struct bulk *b)
{
	TAILQ_REMOVE(&e->bulks, b, all);
	answer_ok(e, &b->req->req);
	free(b);
}

/* One whose key is taken stays dead, out of the way of the next slice. */
static void
retry_one(struct engine *e, struct bulk *b, struct job *j,
    const struct jbody *d)
{
	struct queue *q = j->queue;

	if (d->opts.unique.len && unique_holder(e, q, d->opts.unique)) {
		TAILQ_REMOVE(&q->failed, &j->node, link);
		TAILQ_INSERT_TAIL(&q->failed, &j->node, link);
		return;
	}
	alter_revive(e, j, d, false);
	b->req->count++;
}

static void
fail_bulk(struct engine *e, struct bulk *b, int code, const char *text)
{
	TAILQ_REMOVE(&e->bulks, b, all);
	answer_error(e, &b->req->req, code, "%s", text);
	free(b);
}

static void
keys_done(struct jread *rd)
{
	struct keys *t = rd->user;
	struct engine *e = t->engine;
	struct bulk *b = t->bulk;
	size_t i;

	e->reading--;
	b->reading = false;
	for (i = 0; i < rd->nbodies; i++) {
		struct jbody *d = rd->bodies[i];
		struct job *j = d ? job_find(e, d->id) : NULL;

		if (j && d->found && job_state(j) == BH_FAILED && !e->stopping)
			retry_one(e, b, j, d);
		free(d);
	}
	if (rd->err.code)
		fail_bulk(e, b, rd->err.code, rd->err.text);
	else if (e->stopping)
		fail_bulk(e, b, BH_E_CANCELED, "shut down");
	free(t);
}

static void
retry_slice(struct engine *e, struct bulk *b, const struct slice *s)
{
	struct keys *t = xcalloc(1, sizeof(*t));
	size_t i;

	for (i = 0; i < s->n; i++)
		t->ids[i] = s->jobs[i]->id;
	b->reading = true;
	t->engine = e;
	t->bulk = b;
	t->read = (struct jread){.done = keys_done, .user = t,
	    .kind = JREAD_JOBS, .ids = t->ids, .nids = s->n,
	    .after = JREAD_LATEST};
	e->reading++;
	journal_read(e->journal, &t->read);
}

static void
purge_slice(struct engine *e, struct bulk *b, const struct slice *s)
{
	size_t i;

	/* A removal may end others: a follow-up's removal frees its key, but
	 * no job of the slice. */
	for (i = 0; i < s->n; i++)
		alter_remove_now(e, s->jobs[i]);
	b->req->count += (int64_t)s->n;
}

static void
run_slice(struct engine *e, struct bulk *b)
{
	struct queue *q = queue_find(e, b->req->queue);
	struct slice s = {.state = b->req->state,
	    .fingerprint = b->req->fingerprint, .looks = LOOKS,
	    .max = b->left < SLICE ? (size_t)b->left : SLICE};

	fill_slice(q, &s);
	if (s.n == 0 && s.looks <= 0) {
		s.looks = INT32_MAX;	/* only a whole look proves there are none */
		fill_slice(q, &s);
	}
	b->left -= (int64_t)s.n;
	if (s.n == 0)
		bulk_end(e, b);
	else if (b->req->action == BH_QUEUE_RETRY)
		retry_slice(e, b, &s);
	else
		purge_slice(e, b, &s);
}

void
bulk_run(struct engine *e)
{
	struct bulk *b, *next;

	for (b = TAILQ_FIRST(&e->bulks); b; b = next) {
		next = TAILQ_NEXT(b, all);
		if (!b->reading)
			run_slice(e, b);
	}
}
