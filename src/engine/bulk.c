/* SPDX-License-Identifier: MIT */
/*
 * What an operator does to a queue. Pause, resume and hold are at once; retry
 * and purge go in slices of SLICE jobs a turn, and touch no more jobs than
 * there were when they began.
 */
#include <stdlib.h>

#include "base/xalloc.h"
#include "engine/part.h"

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

/* The next job of the list that is in the state, from n on. */
static struct job *
in_list(struct node *n, enum bh_job_state state, uint64_t fingerprint)
{
	for (; n; n = TAILQ_NEXT(n, link)) {
		struct job *j;

		if (n->timer.kind != NODE_JOB)
			continue;
		j = job_of_node(n);
		if (job_state(j) != state)
			continue;
		if (!fingerprint || j->fingerprint == fingerprint)
			return j;
	}
	return NULL;
}

/* Any job of the queue in this state, or NULL. */
static struct job *
pick(struct queue *q, enum bh_job_state state, uint64_t fingerprint)
{
	struct job *j = NULL;
	struct group *g;
	int p;

	if (state == BH_FAILED)
		return in_list(TAILQ_FIRST(&q->failed), state, fingerprint);
	if (state == BH_COMPLETED) {
		j = in_list(TAILQ_FIRST(&q->completed), state, 0);
		return j ? j : in_list(TAILQ_FIRST(&q->retained), state, 0);
	}
	if (state == BH_DELAYED)
		j = in_list(TAILQ_FIRST(&q->delayed), state, 0);
	for (p = 0; !j && state == BH_WAITING && p < PRIORITIES; p++)
		j = in_list(TAILQ_FIRST(&q->ready[p]), state, 0);
	for (g = TAILQ_FIRST(&q->groups); !j && g; g = TAILQ_NEXT(g, all))
		j = in_list(TAILQ_FIRST(&g->line), state, 0);
	return j;
}

static void
remove_one(struct engine *e, struct job *j)
{
	int64_t id = j->id;
	bool waited = job_is(j, JOB_WAITED);

	job_delete(e, j);
	if (waited)
		getters_drop(e, id);
}

/* Failed jobs of a slice, whose keys must be read before they live again. */
struct batch {
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
	alter_revive(e, j, d);
	b->req->count++;
}

static void
batch_done(struct jread *rd)
{
	struct batch *t = rd->user;
	struct engine *e = t->engine;
	struct bulk *b = t->bulk;
	size_t i;

	e->reading--;
	b->reading = false;
	for (i = 0; i < rd->nbodies; i++) {
		struct jbody *d = rd->bodies[i];
		struct job *j = d ? job_find(e, d->id) : NULL;

		if (j && d->found && job_state(j) == BH_FAILED)
			retry_one(e, b, j, d);
		free(d);
	}
	if (rd->err.code || rd->nbodies < SLICE)
		bulk_end(e, b);
	free(t);
}

static void
retry_slice(struct engine *e, struct queue *q, struct bulk *b)
{
	struct batch *t = xcalloc(1, sizeof(*t));
	struct node *n = TAILQ_FIRST(&q->failed);
	size_t nids = 0;
	struct job *j;

	while (nids < SLICE && b->left > 0 &&
	    (j = in_list(n, BH_FAILED, b->req->fingerprint))) {
		n = TAILQ_NEXT(&j->node, link);
		b->left--;
		t->ids[nids++] = j->id;
	}
	if (nids == 0) {
		free(t);
		bulk_end(e, b);
		return;
	}
	b->reading = true;
	t->engine = e;
	t->bulk = b;
	t->read = (struct jread){.done = batch_done, .user = t,
	    .kind = JREAD_JOBS, .ids = t->ids, .nids = nids,
	    .after = JREAD_LATEST};
	e->reading++;
	journal_read(e->journal, &t->read);
}

static void
purge_slice(struct engine *e, struct queue *q, struct bulk *b)
{
	struct job *j = NULL;
	int n;

	for (n = 0; n < SLICE && b->left > 0; n++, b->left--) {
		j = pick(q, b->req->state, b->req->fingerprint);
		if (!j)
			break;
		remove_one(e, j);
		b->req->count++;
	}
	if (!j || b->left <= 0)
		bulk_end(e, b);
}

void
bulk_run(struct engine *e)
{
	struct bulk *b, *next;

	for (b = TAILQ_FIRST(&e->bulks); b; b = next) {
		struct queue *q = queue_find(e, b->req->queue);

		next = TAILQ_NEXT(b, all);
		if (b->reading)
			continue;
		if (b->req->action == BH_QUEUE_RETRY)
			retry_slice(e, q, b);
		else
			purge_slice(e, q, b);
	}
}
