/* SPDX-License-Identifier: MIT */
/* Looking at jobs: one (and waiting for its end), a page, the figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/retry.h"
#include "base/xalloc.h"
#include "engine/part.h"

/* --- one job --- */

static void
answer_none(struct engine *e, struct bh_get *r)
{
	r->job = NULL;
	r->req.priv.state = NULL;
	answer_ok(e, &r->req);
}

static void
resume_get(struct engine *e, struct answer *a)
{
	struct bh_get *r = (struct bh_get *)a->req;

	/* Gone before it could be read. */
	r->job = a->jobs[0].payload.data ? &a->jobs[0] : NULL;
	answer_ok(e, a->req);
}

static void
show(struct engine *e, struct bh_get *r, struct job *j)
{
	struct answer *a = answer_new(e, &r->req);

	a->errors = true;
	a->resume = resume_get;
	answer_add(e, a, j);
	answer_complete(e, a);
}

static uint64_t
getter_hash(const void *item)
{
	return map_hash_int((uint64_t)((const struct getter *)item)->id);
}

static bool
getter_equal(const void *item, const void *key)
{
	return ((const struct getter *)item)->id == *(const int64_t *)key;
}

const struct map_ops getter_map_ops = {getter_hash, getter_equal};

static struct getter *
getters_of(const struct engine *e, int64_t id)
{
	return map_get(&e->by_getter, map_hash_int((uint64_t)id), &id);
}

static void
park(struct engine *e, struct bh_get *r, struct job *j)
{
	struct getter *g = xcalloc(1, sizeof(*g));
	struct getter *first = getters_of(e, r->id);

	g->timer.kind = NODE_GETTER;
	g->req = r;
	g->id = r->id;
	r->req.priv.state = g;
	r->req.priv.kind = ANSWER_GETTER;
	TAILQ_INSERT_TAIL(&e->getters, g, all);
	if (first) {
		g->same = first->same;
		first->same = g;
	} else {
		map_put(&e->by_getter, g);
	}
	if (r->wait_ms > 0)
		heap_set(&e->mono, &g->timer, e->now.mono_ms + r->wait_ms);
	job_flag(j, JOB_WAITED, true);
}

static struct bh_get *
unpark(struct engine *e, struct getter *g)
{
	struct bh_get *r = g->req;
	struct getter *first = getters_of(e, g->id), *before = first;

	if (first == g) {
		map_remove(&e->by_getter, g);
		if (g->same)
			map_put(&e->by_getter, g->same);
	} else {
		while (before->same != g)
			before = before->same;
		before->same = g->same;
	}
	heap_remove(&e->mono, &g->timer);
	TAILQ_REMOVE(&e->getters, g, all);
	free(g);
	r->req.priv.state = NULL;
	r->req.priv.kind = ANSWER_PLAIN;
	return r;
}

void
engine_get(struct engine *e, struct bh_get *r)
{
	struct job *j = job_find(e, r->id);

	r->job = NULL;
	if (r->why) {
		if (!j) {
			answer_error(e, &r->req, BH_E_NOTFOUND,
			    "job %lld does not exist", (long long)r->id);
			return;
		}
		why_explain(e, j, r->why);
		answer_ok(e, &r->req);
	} else if (!j && r->wait_ms >= 0) {
		answer_error(e, &r->req, BH_E_NOTFOUND,
		    "job %lld does not exist", (long long)r->id);
	} else if (!j) {
		answer_none(e, r);
	} else if (r->wait_ms >= 0 && job_state(j) < BH_COMPLETED) {
		park(e, r, j);
	} else {
		show(e, r, j);
	}
}

void
getter_timeout(struct engine *e, struct getter *g)
{
	answer_none(e, unpark(e, g));
}

void
getter_cancel(struct engine *e, struct getter *g)
{
	struct bh_get *r = unpark(e, g);

	answer_error(e, &r->req, BH_E_CANCELED, "the caller went away");
}

void
getters_drop(struct engine *e, int64_t id)
{
	struct getter *g;

	while ((g = getters_of(e, id)))
		answer_none(e, unpark(e, g));
}

/* Its row may be gone soon, so what the answer shows is copied now; only a
 * history must be read, and keeps the row for so long (finish.c). */
static void
show_end(struct engine *e, struct bh_get *r, struct job *j,
    enum bh_job_state state, struct bh_bytes result, struct bh_bytes error)
{
	struct answer *a = answer_new(e, &r->req);
	struct bh_job *out;
	char *copy;

	a->errors = true;
	a->resume = resume_get;
	answer_add(e, a, j);
	out = &a->jobs[0];
	out->state = state;
	a->extra = copy = xmalloc(result.len + error.len);
	if (result.data) {
		memcpy(copy, result.data, result.len);
		out->result = (struct bh_bytes){copy, result.len};
	}
	if (error.data) {
		memcpy(copy + result.len, error.data, error.len);
		out->error = (struct bh_bytes){copy + result.len, error.len};
	}
	out->lease_until = 0;
	out->finished_at = e->now.wall_ms;
	if (state == BH_COMPLETED && !job_is(j, JOB_HISTORY)) {
		r->job = out;
		answer_ok(e, &r->req);
	} else {
		answer_complete(e, a);
	}
}

void
getters_wake(struct engine *e, struct job *j, enum bh_job_state state,
    struct bh_bytes result, struct bh_bytes error)
{
	struct getter *g;

	job_flag(j, JOB_WAITED, false);
	while ((g = getters_of(e, j->id)))
		show_end(e, unpark(e, g), j, state, result, error);
}

/* --- a page of jobs --- */

enum { PAGE_MIN = 64, PAGE_MAX = 2048 };

struct page {
	struct bh_list *req;
	struct answer *answer;
	struct jread read;
	uint32_t rows;			/* of the next read: more each time */
	int64_t seen;			/* the last id that was looked at */
};

static void
page_end(struct engine *e, struct page *p, bool more)
{
	struct bh_list *r = p->req;

	r->jobs = p->answer->jobs;
	r->njobs = p->answer->n;
	r->cursor = more ? p->seen : 0;
	answer_ok(e, &r->req);
	free(p);
}

static void page_read(struct engine *e, struct page *p);

static void
page_done(struct jread *rd)
{
	struct page *p = rd->user;
	struct answer *a = p->answer;
	struct engine *e = a->engine;
	size_t i;

	e->reading--;
	if (rd->err.code || e->stopping) {
		answer_error(e, &p->req->req, rd->err.code ? rd->err.code
		    : BH_E_CANCELED, "%s", rd->err.text);
		for (i = 0; i < rd->nbodies; i++)
			free(rd->bodies[i]);
		free(p);
		return;
	}
	for (i = 0; i < rd->nbodies; i++) {
		struct jbody *d = rd->bodies[i];
		struct job *j = job_find(e, d->id);

		if (j && job_state(j) == p->req->state &&
		    a->n < p->req->count) {
			p->seen = d->id;
			answer_add(e, a, j);
			answer_take(a, j, d);
		} else {
			if (a->n < p->req->count)
				p->seen = d->id;
			free(d);
		}
	}
	if (a->n == p->req->count)
		page_end(e, p, true);
	else if (rd->nbodies < rd->count)
		page_end(e, p, false);
	else
		page_read(e, p);
}

static void
page_read(struct engine *e, struct page *p)
{
	struct bh_list *r = p->req;
	struct queue *q = queue_find(e, r->queue);
	enum jrec_state state = r->state == BH_COMPLETED ? JSTATE_COMPLETED
	    : r->state == BH_FAILED ? JSTATE_FAILED : JSTATE_LIVE;

	p->read = (struct jread){.done = page_done, .user = p,
	    .kind = JREAD_LIST, .errors = true, .queue = q->id,
	    .state = (uint8_t)state, .fingerprint = r->fingerprint,
	    .cursor = p->seen, .reverse = r->reverse,
	    .count = p->rows, .after = JREAD_LATEST};
	if (p->rows < PAGE_MAX)
		p->rows *= 2;
	e->reading++;
	journal_read(e->journal, &p->read);
}

static int
by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
resume_active(struct engine *e, struct answer *a)
{
	struct bh_list *r = (struct bh_list *)a->req;

	r->jobs = a->jobs;
	r->njobs = a->n;
	answer_ok(e, a->req);
}

/* Few and all in memory, among maybe a million that live. */
static void
list_active(struct engine *e, struct bh_list *r, struct queue *q)
{
	struct answer *a = answer_new(e, &r->req);
	size_t max = (size_t)q->count[BH_ACTIVE], n = 0, i;
	int64_t *ids = xmalloc((max + 1) * sizeof(*ids)), cursor = r->cursor;
	struct body *b;

	TAILQ_FOREACH(b, &q->active, active)
		ids[n++] = b->job->id;
	qsort(ids, n, sizeof(*ids), by_id);
	r->cursor = 0;
	for (i = 0; i < n; i++) {
		int64_t id = ids[r->reverse ? n - 1 - i : i];

		if (cursor && (r->reverse ? id >= cursor : id <= cursor))
			continue;
		if (a->n == r->count) {
			r->cursor = a->jobs[a->n - 1].id;
			break;
		}
		answer_add(e, a, job_find(e, id));
	}
	free(ids);
	a->errors = true;
	a->resume = resume_active;
	answer_complete(e, a);
}

void
engine_list(struct engine *e, struct bh_list *r)
{
	struct queue *q = queue_find(e, r->queue);
	struct page *p;

	r->jobs = NULL;
	r->njobs = 0;
	if (!q || r->count == 0) {
		r->cursor = 0;
		answer_ok(e, &r->req);
		return;
	}
	if (r->state == BH_ACTIVE) {
		list_active(e, r, q);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->req = r;
	p->seen = r->cursor;
	p->rows = r->count < PAGE_MIN ? PAGE_MIN : r->count;
	p->answer = answer_new(e, &r->req);
	page_read(e, p);
}

/* --- figures --- */

/* Jobs in groups that a look passes at most: the groups that are the longest
 * there come first, and most likely have the oldest one. */
enum { OLDEST_LOOKS = 2000 };

static int64_t
oldest_waiting(const struct engine *e, const struct queue *q)
{
	int64_t oldest = INT64_MAX;
	int p, left = OLDEST_LOOKS;
	struct group *g;

	for (p = 0; p < PRIORITIES; p++) {
		struct node *n = TAILQ_FIRST(&q->ready[p]);

		if (n && n->timer.kind == NODE_JOB &&
		    job_of_node(n)->run_at < oldest)
			oldest = job_of_node(n)->run_at;
	}
	TAILQ_FOREACH(g, &q->groups, all) {
		struct node *n = TAILQ_FIRST(&g->line);

		while (n && left-- > 0 &&
		    job_state(job_of_node(n)) != BH_WAITING)
			n = TAILQ_NEXT(n, link);
		if (left <= 0)
			break;
		if (n && job_of_node(n)->run_at < oldest)
			oldest = job_of_node(n)->run_at;
	}
	if (oldest == INT64_MAX || oldest > e->now.wall_ms)
		return 0;
	return e->now.wall_ms - oldest;
}

static void
percentiles(struct runtimes *r, int64_t period)
{
	struct hist sum = {0};
	int i;

	for (i = 0; i < HIST_SLICES; i++)
		if (r->period[i] > period - HIST_SLICES)
			hist_merge(&sum, &r->slice[i]);
	r->p50_ms = hist_quantile(&sum, 0.50);
	r->p95_ms = hist_quantile(&sum, 0.95);
	r->p99_ms = hist_quantile(&sum, 0.99);
	r->told_count = r->count;
	r->told_period = period;
}

static void
runtimes(const struct engine *e, const struct queue *q,
    struct bh_queue_stats *out)
{
	int64_t period = e->now.mono_ms / HIST_SLICE_MS;
	struct runtimes *r = q->runtimes;

	if (!r)
		return;
	if (r->told_count != r->count || r->told_period != period)
		percentiles(r, period);
	out->p50_ms = r->p50_ms;
	out->p95_ms = r->p95_ms;
	out->p99_ms = r->p99_ms;
	out->runtime_count = r->count;
	out->runtime_sum_ms = r->sum_ms;
	memcpy(out->runtime_bucket, r->bucket, sizeof(out->runtime_bucket));
}

static void
fill_stats(const struct engine *e, const struct queue *q,
    struct bh_queue_stats *out)
{
	int64_t until;

	*out = (struct bh_queue_stats){.name = bytes_of(q->name),
	    .paused = q->paused_at != 0, .paused_at = q->paused_at,
	    .paused_by = bytes_of(q->paused_by),
	    .processed_total = q->processed,
	    .failed_total = q->failed_total,
	    .stalled_total = q->stalled_total, .added_total = q->added,
	    .completed_total = q->completed_total,
	    .retried_total = q->retried, .removed_total = q->removed};
	memcpy(out->count, q->count, sizeof(out->count));
	if (queue_gate(e, q, &until) == BH_GATE_HELD ||
	    (q->held_until && q->paused_at)) {
		out->held_until = q->held_until;
		out->held_reason = bytes_of(q->held_reason);
	}
	out->oldest_waiting_ms = oldest_waiting(e, q);
	runtimes(e, q, out);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct bh_queue_stats *)a)->name.data,
	    ((const struct bh_queue_stats *)b)->name.data);
}

static int
by_count(const void *a, const void *b)
{
	const struct bh_error_group *x = a, *y = b;

	return (x->count < y->count) - (x->count > y->count);
}

/* The newest failed job of the fingerprint, or NULL. */
static struct job *
sample(const struct engine *e, const struct queue *q, struct failures *f)
{
	struct job *j = job_find(e, f->sample_id);
	struct node *n;

	if (j && job_state(j) == BH_FAILED &&
	    j->fingerprint == f->fingerprint)
		return j;
	TAILQ_FOREACH_REVERSE(n, &q->failed, nodes, link)
		if (job_of_node(n)->fingerprint == f->fingerprint)
			return job_of_node(n);
	return NULL;
}

struct groups {
	struct bh_stats *req;
	struct bh_error_group groups[];
};

static void
resume_errors(struct engine *e, struct answer *a)
{
	struct groups *g = a->extra;
	size_t i;

	for (i = 0; i < a->n; i++)
		g->groups[i].text = a->jobs[i].error;
	qsort(g->groups, a->n, sizeof(g->groups[0]), by_count);
	g->req->groups = g->groups;
	g->req->ngroups = a->n;
	answer_ok(e, a->req);
}

static void
add_group(struct engine *e, struct answer *a, const struct queue *q,
    struct failures *f)
{
	struct groups *g = a->extra;
	struct job *j = f ? sample(e, q, f) : NULL;

	if (!j)
		return;
	g->groups[a->n] = (struct bh_error_group){
	    .fingerprint = f->fingerprint, .count = f->count,
	    .first_at = f->first_at, .last_at = f->last_at,
	    .sample_id = j->id};
	answer_add(e, a, j);
}

static void
show_errors(struct engine *e, struct bh_stats *r)
{
	struct queue *q = queue_find(e, r->queue);
	struct answer *a;
	struct groups *g;
	size_t i;

	r->groups = NULL;
	r->ngroups = 0;
	if (!q) {
		answer_ok(e, &r->req);
		return;
	}
	a = answer_new(e, &r->req);
	a->extra = g = xcalloc(1, sizeof(*g) +
	    q->failures.count * sizeof(g->groups[0]));
	g->req = r;
	a->resume = resume_errors;
	for (i = 0; i < q->failures.cap; i++)
		add_group(e, a, q, q->failures.slots[i]);
	for (i = 0; q->failures.old && i < q->failures.old_cap; i++)
		add_group(e, a, q, q->failures.old[i]);
	answer_complete(e, a);
}

void
engine_stats(struct engine *e, struct bh_stats *r)
{
	struct answer *a;
	struct queue *q;

	r->queues = NULL;
	r->nqueues = 0;
	if (r->errors) {
		show_errors(e, r);
		return;
	}
	a = answer_new(e, &r->req);
	a->extra = r->queues = xcalloc(e->nqueues ? e->nqueues : 1,
	    sizeof(*r->queues));
	TAILQ_FOREACH(q, &e->queues, all)
		if (!r->queue.len || q == queue_find(e, r->queue))
			fill_stats(e, q, &r->queues[r->nqueues++]);
	qsort(r->queues, r->nqueues, sizeof(*r->queues), by_name);
	answer_ok(e, &r->req);
}
