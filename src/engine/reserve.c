/* SPDX-License-Identifier: MIT */
/*
 * Handing out. Callers of job_reserve park as waiters in the queues they ask
 * for; engine_serve(), once a turn, gives each job to the first waiter of its
 * queue that has room, queues taking turns by weight (stride scheduling,
 * Waldspurger 1995): the one with the lowest pass is served, and its pass
 * grows by STRIDE / weight.
 */
#include <stdlib.h>

#include "base/die.h"
#include "base/rng.h"
#include "base/xalloc.h"
#include "engine/part.h"

enum {
	STRIDE = 1 << 20,
	CLAIMS_PER_TURN = 4096,
	/* A handler's time-out is the host's business; the lease only catches
	 * a host that has lost the job. */
	HANDLER_MARGIN_MS = 30000
};

/* Out of the queues' lines: it is full, or its wait is over. */
static void
leave_queues(struct engine *e, struct waiter *w)
{
	size_t i;

	for (i = 0; i < w->nlinks; i++) {
		struct waiter_link *l = &w->links[i];
		struct queue *q = l->queue;

		if (!q)
			continue;
		l->queue = NULL;
		TAILQ_REMOVE(&q->waiters, l, link);
		if (w->req->handler)
			q->nhandlers--;
		else
			q->nworkers--;
		queue_refresh(e, q);
	}
}

static void
unlink_waiter(struct engine *e, struct waiter *w)
{
	leave_queues(e, w);
	if (w->fresh)
		TAILQ_REMOVE(&e->fresh, w, served);
	if (w->got)
		TAILQ_REMOVE(&e->served, w, served);
	heap_remove(&e->mono, &w->timer);
	TAILQ_REMOVE(&e->waiters, w, all);
}

/* Ends the wait with what it has got, maybe nothing. */
static void
end_wait(struct engine *e, struct waiter *w)
{
	struct bh_reserve *r = w->req;
	struct answer *a = w->answer;

	unlink_waiter(e, w);
	r->req.priv.kind = ANSWER_PLAIN;
	r->req.priv.state = a;
	if (a) {
		r->jobs = a->jobs;
		r->njobs = a->n;
		answer_complete(e, a);
	} else {
		answer_ok(e, &r->req);
	}
	free(w);
}

static bool
has_room(const struct waiter *w)
{
	const struct bh_reserve *r = w->req;

	return w->claims < r->count && (!r->budget || *r->budget > 0);
}

static bool
gets_batches(const struct queue *q, const struct waiter *w)
{
	return q->batching && w->req->handler;
}

/* The first who has room for what the queue can hand out. */
static struct waiter *
next_waiter(const struct queue *q)
{
	struct waiter_link *l;

	TAILQ_FOREACH(l, &q->waiters, link) {
		struct waiter *w = l->waiter;

		if (has_room(w) && (gets_batches(q, w) ? batch_ready(q)
		    : q->ready_mask != 0))
			return w;
	}
	return NULL;
}

/* The job that is next in this queue; its lists are in order. */
static struct job *
next_job(const struct engine *e, const struct queue *q)
{
	struct node *n = TAILQ_FIRST(&q->ready[__builtin_ctz(q->ready_mask)]);
	struct job *j, *ahead;

	if (n->timer.kind == NODE_JOB)
		return job_of_node(n);
	j = group_next(e, group_of_node(n), &ahead);
	CHECK(j);
	return j;
}

static int64_t
lease_ms(const struct job *j)
{
	const struct body *b = j->body;
	const struct bh_job_opts *o = &b->opts;
	const struct bh_queue_opts *q = &j->queue->opts;

	if (b->handler) {
		int64_t ms = o->timeout_ms >= 0 ? o->timeout_ms
		    : q->timeout_ms;

		/* A batch ends as one. */
		if (b->batch && b->batch->timeout_ms > ms)
			ms = b->batch->timeout_ms;
		return ms + HANDLER_MARGIN_MS;
	}
	if (b->asked_lease_ms >= 0)
		return b->asked_lease_ms;
	return o->lease_ms >= 0 ? o->lease_ms : q->lease_ms;
}

static void
record_lease(struct engine *e, const struct job *j)
{
	const struct body *b = j->body;
	struct jrec rec = job_rec(j, JR_LEASE);

	rec.u.lease.attempt = j->attempt;
	rec.u.lease.handler = b->handler;
	rec.u.lease.token = b->token;
	rec.u.lease.started_at = b->started_at;
	rec.u.lease.until = b->lease_until;
	rec.u.lease.worker = bytes_of(b->worker);
	journal_append(e->journal, &rec);
}

/* The options of a cold job are known only after its claim. */
void
lease_resolve(struct engine *e, struct job *j)
{
	struct batch *batch = j->body->batch;
	int64_t ms = lease_ms(j), own = j->body->opts.timeout_ms;
	struct body *b;

	if (batch && own > batch->timeout_ms) {
		batch->timeout_ms = own;
		TAILQ_FOREACH(b, &j->queue->active, active)
			if (b->batch == batch)
				lease_extend(e, b->job, ms);
	} else if (ms != j->body->lease_ms) {
		lease_extend(e, j, ms);
	}
}

void
lease_extend(struct engine *e, struct job *j, int64_t ms)
{
	struct jrec r = job_rec(j, JR_LEASE_EXTEND);

	j->body->lease_ms = ms;
	j->body->lease_until = e->now.wall_ms + ms;
	r.u.until = j->body->lease_until;
	journal_append(e->journal, &r);
	heap_set(&e->mono, &j->node.timer, e->now.mono_ms + ms);
}

/* The job becomes this waiter's, alone (batch NULL) or with others. */
static void
claim(struct engine *e, struct job *j, struct waiter *w, struct batch *batch)
{
	const struct bh_reserve *r = w->req;
	struct queue *q = j->queue;
	struct limit_rate rate = queue_rate(q);
	struct body *b;

	if (!j->body)
		j->body = body_blank(j);
	b = j->body;
	body_uncache(e, b);
	b->handler = r->handler;
	b->cancelled = false;
	if (batch)
		batch_enter(batch, j);
	b->token = rng_u64() | 1;
	b->started_at = e->now.wall_ms;
	b->asked_lease_ms = r->lease_ms;
	b->lease_ms = lease_ms(j);
	b->lease_until = e->now.wall_ms + b->lease_ms;
	free(b->worker);
	b->worker = r->worker.len ? xstrndup(r->worker.data, r->worker.len)
				  : NULL;
	j->attempt++;
	job_move(e, j, BH_ACTIVE, e->now.mono_ms + b->lease_ms);
	if (q->opts.rate_limit > 0 && q->opts.rate_by == BH_RATE_BY_QUEUE)
		q->tat_us = limit_take(q->tat_us, &rate,
		    e->now.mono_ms * 1000);
	record_lease(e, j);
	if (!w->answer) {
		w->answer = answer_new(e, &w->req->req);
		w->req->req.priv.state = w;
		/* Handlers have no use for the history. */
		w->answer->errors = !r->handler;
		w->answer->handler = r->handler;
	}
	w->answer->steps |= job_is(j, JOB_STEPS);
	answer_add(e, w->answer, j);
	w->answer->jobs[w->answer->n - 1].token = b->token;
	w->answer->jobs[w->answer->n - 1].batch = batch ? batch->number : 0;
	event_note(e, BH_NEWS_ACTIVE, j, (struct bh_bytes){0});
}

static int
claim_batch(struct engine *e, struct queue *q, struct waiter *w)
{
	struct job *jobs[BATCH_MAX];
	size_t i, n = batch_next(e, q, jobs);
	struct batch *b = batch_new(e, jobs, n);

	for (i = 0; i < n; i++)
		claim(e, jobs[i], w, b);
	return (int)n;
}

/* Hands out one job or batch of this queue: how many jobs, 0 when nobody has
 * room. */
static int
serve_one(struct engine *e, struct queue *q)
{
	struct waiter *w = next_waiter(q);
	int n = 1;

	if (!w)
		return 0;
	if (!q->opts.strict && q->pass > e->pass)
		e->pass = q->pass;
	q->pass += STRIDE / q->opts.weight;
	heap_set(&e->turns, &q->turn, q->opts.strict
	    ? q->pass - INT64_MAX / 2 : q->pass);
	if (gets_batches(q, w))
		n = claim_batch(e, q, w);
	else
		claim(e, next_job(e, q), w, NULL);
	w->claims++;
	if (w->req->budget)
		(*w->req->budget)--;
	if (!w->got && !w->fresh) {
		w->got = true;
		TAILQ_INSERT_TAIL(&e->served, w, served);
	}
	if (w->claims == w->req->count)
		leave_queues(e, w);
	queue_refresh(e, q);
	return n;
}

static void
serve_queues(struct engine *e)
{
	TAILQ_HEAD(, queue) idle = TAILQ_HEAD_INITIALIZER(idle);
	struct heap_item *top;
	struct queue *q;
	int n, left = CLAIMS_PER_TURN;

	while (left > 0 && (top = heap_top(&e->turns))) {
		q = container_of(top, struct queue, turn);
		if ((n = serve_one(e, q)) > 0) {
			left -= n;
		} else {
			/* Its callers are out of budget. */
			heap_remove(&e->turns, top);
			TAILQ_INSERT_TAIL(&idle, q, idle);
		}
	}
	e->more = left <= 0;
	while ((q = TAILQ_FIRST(&idle))) {
		TAILQ_REMOVE(&idle, q, idle);
		queue_refresh(e, q);
	}
}

/* The queue of this caller whose turn it is, or NULL. */
static struct queue *
next_queue(const struct waiter *w)
{
	struct queue *best = NULL;
	size_t i;

	for (i = 0; i < w->nlinks; i++) {
		struct queue *q = w->links[i].queue;

		if (q && q->turn.pos && next_waiter(q) &&
		    (!best || q->turn.at < best->turn.at))
			best = q;
	}
	return best;
}

/* Whoever came first is served first, until this one has what there is. */
static void
serve_waiter(struct engine *e, const struct waiter *w)
{
	struct queue *q;
	int left = CLAIMS_PER_TURN;

	while (left > 0 && has_room(w) && (q = next_queue(w)))
		left -= serve_one(e, q);
}

void
engine_reserve(struct engine *e, struct bh_reserve *r)
{
	struct waiter *w;
	size_t i;

	w = xcalloc(1, sizeof(*w) + r->nqueues * sizeof(w->links[0]));
	w->timer.kind = NODE_WAITER;
	w->req = r;
	w->nlinks = r->nqueues;
	r->jobs = NULL;
	r->njobs = 0;
	r->req.priv.state = w;
	r->req.priv.kind = ANSWER_WAITER;
	TAILQ_INSERT_TAIL(&e->waiters, w, all);
	for (i = 0; i < r->nqueues; i++) {
		struct err err;
		struct queue *q = queue_find(e, r->queues[i]);

		/* Without waiting, a queue that is not there is empty. */
		if (!q && r->block_ms >= 0)
			q = queue_obtain(e, r->queues[i], &err);
		if (!q)
			continue;
		w->links[i].waiter = w;
		w->links[i].queue = q;
		TAILQ_INSERT_TAIL(&q->waiters, &w->links[i], link);
		if (r->handler)
			q->nhandlers++;
		else
			q->nworkers++;
		queue_refresh(e, q);
	}
	if (r->block_ms > 0)
		heap_set(&e->mono, &w->timer, e->now.mono_ms + r->block_ms);
	/* What a caller asks for next sees this done. Handlers wait for the
	 * turn's end: so queues share their budget by weight. */
	if (r->handler) {
		w->fresh = true;
		TAILQ_INSERT_TAIL(&e->fresh, w, served);
		return;
	}
	serve_waiter(e, w);
	if (r->block_ms < 0 || w->got)
		end_wait(e, w);
}

void
engine_serve(struct engine *e)
{
	struct waiter *w;

	bulk_run(e);
	while ((w = TAILQ_FIRST(&e->fresh))) {
		TAILQ_REMOVE(&e->fresh, w, served);
		w->fresh = false;
		if (w->req->block_ms < 0 || w->answer) {
			w->got = true;
			TAILQ_INSERT_TAIL(&e->served, w, served);
		}
	}
	serve_queues(e);
	while ((w = TAILQ_FIRST(&e->served)))
		end_wait(e, w);
}

void
waiter_timeout(struct engine *e, struct waiter *w)
{
	end_wait(e, w);
}

/* Gives up the wait; what it has got already it gets all the same, and gives
 * back itself. */
void
waiter_cancel(struct engine *e, struct waiter *w)
{
	struct bh_req *req = &w->req->req;

	if (w->answer) {
		end_wait(e, w);
		return;
	}
	unlink_waiter(e, w);
	free(w);
	req->priv.state = NULL;
	req->priv.kind = ANSWER_PLAIN;
	answer_error(e, req, BH_E_CANCELED, "the caller went away");
}
