/* SPDX-License-Identifier: MIT */
/* One function for each verb. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "fake_int.h"

static bool
answer_ok(struct fake *f, struct bh_req *req)
{
	fake_answer(f, req, BH_OK, "");
	return true;
}

static bool
answer_error(struct fake *f, struct bh_req *req, int status, const char *text)
{
	fake_answer(f, req, status, text);
	return true;
}

static bool
answer_no_job(struct fake *f, struct bh_req *req)
{
	return answer_error(f, req, BH_E_NOTFOUND, "there is no such job");
}

/* --- views: copies that live until the answer has been given --- */

static void
view_job(const struct bh_req *req, const struct fake_job *j,
    struct bh_job *out)
{
	const struct bh_queue_opts *o = &j->queue->opts;
	struct bh_job v = {
		.id = j->id, .queue = fake_str(j->queue->name),
		.state = j->state, .payload = j->payload,
		.group = j->opts.group, .unique = j->opts.unique,
		.priority = j->opts.priority >= 0 ? j->opts.priority : 5,
		.attempt = j->attempt,
		.attempts = j->opts.attempts >= 0 ? j->opts.attempts :
		    (int32_t)o->attempts,
		.error_count = j->error_count, .stalled = j->stalled,
		.errors = j->errors, .nerrors = j->nerrors,
		.run_at = j->run_at, .expires_at = j->expires_at,
		.created_at = j->created_at, .started_at = j->started_at,
		.finished_at = j->finished_at, .lease_until = j->lease_until,
		.timeout_ms = j->opts.timeout_ms >= 0 ? j->opts.timeout_ms :
		    o->timeout_ms,
		.progress = j->progress, .result = j->result,
		.error = j->error, .origin = j->origin,
	};

	arena_job(req->priv.state, out, &v);
}

/* --- reserve --- */

static void
view_steps(struct arena *a, const struct fake_job *j, struct bh_job *out)
{
	struct bh_step *s = arena_alloc(a, j->nsteps * sizeof(*s) + 1);

	for (size_t i = 0; i < j->nsteps; i++) {
		s[i].name = arena_bytes(a, j->steps[i].name);
		s[i].value = arena_bytes(a, j->steps[i].value);
	}
	out->steps = s;
	out->nsteps = j->nsteps;
}

static void
reserve_claim(struct fake *f, struct bh_reserve *r)
{
	struct fake_job *j;

	r->njobs = 0;
	r->jobs = arena_alloc(r->req.priv.state,
	    (r->count + 1) * sizeof(*r->jobs));
	while (r->njobs < r->count && (!r->budget || *r->budget > 0) &&
	    (j = fake_pick(f, r))) {
		fake_job_start(f, j, r);
		if (r->budget)
			(*r->budget)--;
		view_job(&r->req, j, &r->jobs[r->njobs]);
		if (r->handler)
			view_steps(r->req.priv.state, j, &r->jobs[r->njobs]);
		r->jobs[r->njobs++].token = j->token;
	}
}

static int64_t
deadline(const struct fake *f, int64_t ms)
{
	return ms < 0 ? f->mono : ms == 0 ? FAKE_NEVER : f->mono + ms;
}

static bool
exec_reserve(struct fake *f, struct bh_req *req)
{
	struct bh_reserve *r = (struct bh_reserve *)req;

	if (!req->priv.waits) {
		req->priv.waits = 1;
		req->priv.lsn = (uint64_t)deadline(f, r->block_ms);
		fake_serve_parked(f);
	}
	reserve_claim(f, r);
	if (r->njobs > 0 || (int64_t)req->priv.lsn <= f->mono)
		return answer_ok(f, req);
	return false;
}

/* --- finish, extend --- */

/* NULL once the refusal has been given. */
static struct fake_job *
held_job(struct fake *f, struct bh_req *req, int64_t id, uint64_t token)
{
	struct fake_job *j = fake_job_find(f, id);

	if (!j && (id <= 0 || id > f->next_id))
		answer_no_job(f, req);
	else if (!j || j->state != BH_ACTIVE || j->token != token)
		answer_error(f, req, BH_E_STALE,
		    "the token no longer holds the job");
	else
		return j;
	return NULL;
}

/* Answers a step that may not be kept. */
static bool
step_refused(struct fake *f, struct bh_req *req, const struct fake_job *j,
    struct bh_step s)
{
	size_t bytes = s.name.len + s.value.len;

	for (size_t i = 0; i < j->nsteps; i++) {
		if (fake_equal(j->steps[i].name, s.name))
			return answer_error(f, req, BH_E_CONFLICT,
			    "the job has this step");
		bytes += j->steps[i].name.len + j->steps[i].value.len;
	}
	if (s.name.len > BH_STEP_NAME_MAX || j->nsteps == BH_STEPS_MAX ||
	    (s.value.len > 0 && bytes > BH_STEPS_BYTES))
		return answer_error(f, req, BH_E_TOOBIG, "too many steps");
	return false;
}

static void
step_keep(struct fake_job *j, struct bh_step s)
{
	j->steps = xrealloc(j->steps, (j->nsteps + 1) * sizeof(s));
	j->steps[j->nsteps++] = (struct bh_step){fake_dup(s.name),
	    fake_dup(s.value)};
}

static bool
exec_finish(struct fake *f, struct bh_req *req)
{
	struct bh_finish *r = (struct bh_finish *)req;
	struct fake_job *j = held_job(f, req, r->id, r->token);

	if (!j)
		return true;
	if (r->outcome == BH_DONE) {
		r->state = BH_COMPLETED;
		fake_job_complete(f, j, r->result);
		return answer_ok(f, req);
	}
	if (r->outcome == BH_FAIL) {
		fake_job_error(f, j, r);
	} else {
		struct bh_step sleep = {.name = r->step};

		if (r->step.len > 0 && step_refused(f, req, j, sleep))
			return true;
		if (r->step.len > 0)
			step_keep(j, sleep);
		j->attempt--;
		fake_job_delay(f, j, r->delay_ms);
	}
	j = fake_job_find(f, r->id);
	r->state = j ? j->state : BH_FAILED;
	return answer_ok(f, req);
}

static bool
exec_extend(struct fake *f, struct bh_req *req)
{
	struct bh_extend *r = (struct bh_extend *)req;
	struct fake_job *j = held_job(f, req, r->id, r->token);

	if (!j)
		return true;
	if (r->step.name.len > 0) {
		if (step_refused(f, req, j, r->step))
			return true;
		step_keep(j, r->step);
	}
	if (r->lease_ms >= 0) {
		j->lease_mono = f->mono + r->lease_ms;
		j->lease_until = f->wall + r->lease_ms;
	}
	if (r->progress.data) {
		fake_set(&j->progress, r->progress);
		fake_note(f, BH_NEWS_PROGRESS, j, r->progress);
	}
	return answer_ok(f, req);
}

/* --- get --- */

static const char *const gate_texts[] = {
	[BH_GATE_NONE] = "nothing holds it: it is next when a worker asks",
	[BH_GATE_STATE] = "it is running or has ended",
	[BH_GATE_PAUSED] = "the queue is paused",
	[BH_GATE_HELD] = "the queue is held",
	[BH_GATE_DELAYED] = "it is not due yet",
	[BH_GATE_RATE] = "the rate allows no start now",
	[BH_GATE_GROUP] = "a job of its group is ahead",
	[BH_GATE_MAX_ACTIVE] = "enough jobs of the queue are active",
	[BH_GATE_UNIQUE] = "it waits for the job that it follows",
};

static bool
exec_why(struct fake *f, struct bh_get *r)
{
	struct fake_job *j = fake_job_find(f, r->id);
	const struct fake_queue *q;
	struct bh_why *w = r->why;
	int64_t until;

	if (!j)
		return answer_no_job(f, &r->req);
	q = j->queue;
	w->state = j->state;
	w->gate = fake_gate(f, j, &until, &w->ahead);
	w->until = until ? f->wall + until - f->mono : 0;
	snprintf(w->text, sizeof(w->text), "%s%s%.*s", gate_texts[w->gate],
	    w->gate == BH_GATE_PAUSED ? " by " :
	    w->gate == BH_GATE_HELD ? ": " : "",
	    w->gate == BH_GATE_PAUSED ? (int)q->paused_by.len :
	    w->gate == BH_GATE_HELD ? (int)q->held_reason.len : 0,
	    w->gate == BH_GATE_PAUSED ? q->paused_by.data :
	    q->held_reason.data);
	return answer_ok(f, &r->req);
}

static bool
answer_job(struct fake *f, struct bh_get *r, const struct fake_job *j)
{
	r->job = arena_alloc(r->req.priv.state, sizeof(*r->job));
	view_job(&r->req, j, r->job);
	return answer_ok(f, &r->req);
}

static bool
exec_get(struct fake *f, struct bh_req *req)
{
	struct bh_get *r = (struct bh_get *)req;
	struct fake_job *j = fake_job_find(f, r->id);

	if (r->why)
		return exec_why(f, r);
	r->job = NULL;
	if (!req->priv.waits) {
		if (!j && r->wait_ms >= 0)
			return answer_no_job(f, req);
		req->priv.waits = 1;
		req->priv.lsn = (uint64_t)deadline(f, r->wait_ms);
	}
	if (j && (r->wait_ms < 0 || j->state == BH_COMPLETED ||
	    j->state == BH_FAILED))
		return answer_job(f, r, j);
	if (!j || (int64_t)req->priv.lsn <= f->mono)
		return answer_ok(f, req);
	return false;
}

void
fake_answer_waiting(struct fake *f, const struct fake_job *j)
{
	struct bh_req *req, *next;

	for (req = f->parked.head; req; req = next) {
		struct bh_get *r = (struct bh_get *)req;

		next = req->priv.next;
		if (req->priv.kind != FAKE_GET || r->id != j->id)
			continue;
		fake_reqs_remove(&f->parked, req);
		answer_job(f, r, j);
	}
}

/* --- list --- */

static bool
list_wants(const struct bh_list *r, const struct fake_job *j)
{
	if (!fake_equal(fake_str(j->queue->name), r->queue) ||
	    j->state != r->state ||
	    (r->fingerprint && j->fingerprint != r->fingerprint))
		return false;
	return !r->cursor || (r->reverse ? j->id < r->cursor :
	    j->id > r->cursor);
}

/* The cursor is the last id of the page. */
static bool
exec_list(struct fake *f, struct bh_req *req)
{
	struct bh_list *r = (struct bh_list *)req;
	struct fake_job *j = r->reverse ? TAILQ_LAST(&f->jobs, fake_jobs) :
	    TAILQ_FIRST(&f->jobs);

	r->njobs = 0;
	r->jobs = arena_alloc(req->priv.state,
	    (r->count + 1) * sizeof(*r->jobs));
	for (; j && r->njobs < r->count; j = r->reverse ?
	    TAILQ_PREV(j, fake_jobs, link) : TAILQ_NEXT(j, link)) {
		if (list_wants(r, j))
			view_job(req, j, &r->jobs[r->njobs++]);
	}
	r->cursor = j && r->njobs ? r->jobs[r->njobs - 1].id : 0;
	return answer_ok(f, req);
}

/* --- alter --- */

static bool
retry_job(struct fake *f, struct fake_job *j)
{
	if (j->opts.unique.len > 0 && fake_unique_holder(f, j->queue,
	    j->opts.unique))
		return false;
	j->has_key = j->opts.unique.len > 0;
	j->error_count = j->stalled = 0;
	j->cancelled = j->told = false;
	j->finished_at = j->finished_mono = 0;
	j->fingerprint = 0;
	fake_clear(&j->error);
	fake_job_wait(f, j);
	fake_note(f, BH_NEWS_RETRYING, j, (struct bh_bytes){NULL, 0});
	return true;
}

static void
remove_job(struct fake *f, struct fake_job *j)
{
	j->queue->removed++;
	fake_note(f, BH_NEWS_REMOVED, j, (struct bh_bytes){NULL, 0});
	fake_job_free(f, j);
}

static bool
cancel_job(struct fake *f, struct fake_job *j, struct bh_bytes reason)
{
	if (j->state == BH_COMPLETED || j->state == BH_FAILED)
		return false;
	if (j->state == BH_ACTIVE && j->handler) {
		j->cancelled = true;
		fake_set(&j->reason, reason);
	} else {
		fake_job_cancel(f, j);
	}
	return true;
}

/* False when its state, or a key that another holds, forbids it. */
static bool
alter_job(struct fake *f, struct fake_job *j, const struct bh_alter *r)
{
	switch (r->action) {
	case BH_JOB_RETRY:
		if (j->state != BH_FAILED || !retry_job(f, j))
			return false;
		if (r->fresh)
			fake_job_forget_steps(j);
		return true;
	case BH_JOB_REMOVE:
		if (j->state == BH_ACTIVE)
			return false;
		remove_job(f, j);
		return true;
	case BH_JOB_PROMOTE:
		if (j->state != BH_DELAYED)
			return false;
		fake_job_wait(f, j);
		return true;
	case BH_JOB_UPDATE:
		if (j->state != BH_WAITING && j->state != BH_DELAYED)
			return false;
		fake_set(&j->payload, r->arg);
		return true;
	case BH_JOB_CANCEL:
		return cancel_job(f, j, r->arg);
	}
	return false;
}

static bool
exec_alter(struct fake *f, struct bh_req *req)
{
	struct bh_alter *r = (struct bh_alter *)req;
	struct fake_job *j = fake_job_find(f, r->id);

	if (!j)
		return answer_no_job(f, req);
	if (!alter_job(f, j, r))
		return answer_error(f, req, BH_E_CONFLICT,
		    "the job's state forbids it");
	return answer_ok(f, req);
}

/* --- queues --- */

static int
ms_compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
view_percentiles(const struct fake_queue *q, struct bh_queue_stats *s)
{
	int64_t n = q->nruns < FAKE_RUNS ? q->nruns : FAKE_RUNS;
	int64_t *ms = xmemdup(q->runs_ms, sizeof(q->runs_ms));

	qsort(ms, (size_t)n, sizeof(*ms), ms_compare);
	s->p50_ms = n ? ms[n * 50 / 100] : 0;
	s->p95_ms = n ? ms[n * 95 / 100] : 0;
	s->p99_ms = n ? ms[n * 99 / 100] : 0;
	free(ms);
}

static void
view_queue(struct fake *f, const struct bh_req *req,
    const struct fake_queue *q, struct bh_queue_stats *s)
{
	const struct fake_job *j;

	s->name = fake_str(q->name);
	for (int i = 0; i < BH_STATES; i++)
		s->count[i] = fake_queue_count(f, q, i);
	s->paused = q->paused;
	s->paused_at = q->paused_at;
	s->paused_by = arena_bytes(req->priv.state, q->paused_by);
	s->held_until = q->held_until;
	s->held_reason = arena_bytes(req->priv.state, q->held_reason);
	s->processed_total = q->processed;
	s->failed_total = q->failed;
	s->stalled_total = q->stalled;
	s->runtime_count = q->nruns;
	s->runtime_sum_ms = q->run_sum_ms;
	memcpy(s->runtime_bucket, q->buckets, sizeof(s->runtime_bucket));
	s->added_total = q->added;
	s->completed_total = q->completed;
	s->retried_total = q->retried;
	s->removed_total = q->removed;
	view_percentiles(q, s);
	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->queue == q && j->state == BH_WAITING &&
		    f->wall - j->run_at > s->oldest_waiting_ms)
			s->oldest_waiting_ms = f->wall - j->run_at;
	}
}

static void
group_add(struct bh_stats *r, const struct bh_req *req,
    const struct fake_job *j)
{
	struct bh_error_group *g = r->groups;

	while (g < r->groups + r->ngroups && g->fingerprint != j->fingerprint)
		g++;
	if (g == r->groups + r->ngroups) {
		r->ngroups++;
		g->fingerprint = j->fingerprint;
		g->first_at = j->finished_at;
	}
	g->count++;
	if (j->finished_at < g->first_at)
		g->first_at = j->finished_at;
	if (j->finished_at >= g->last_at)
		g->last_at = j->finished_at;
	g->sample_id = j->id;
	g->text = arena_bytes(req->priv.state, j->error);
}

static int
group_compare(const void *a, const void *b)
{
	const struct bh_error_group *x = a, *y = b;

	return (x->count < y->count) - (x->count > y->count);
}

static bool
exec_errors(struct fake *f, struct bh_stats *r)
{
	struct fake_queue *q = fake_queue_get(f, r->queue, false);
	const struct fake_job *j;

	r->nqueues = r->ngroups = 0;
	r->groups = arena_alloc(r->req.priv.state, sizeof(*r->groups) *
	    (size_t)(fake_queue_count(f, q, BH_FAILED) + 1));
	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->queue == q && j->state == BH_FAILED)
			group_add(r, &r->req, j);
	}
	qsort(r->groups, r->ngroups, sizeof(*r->groups), group_compare);
	return answer_ok(f, &r->req);
}

static bool
exec_stats(struct fake *f, struct bh_req *req)
{
	struct bh_stats *r = (struct bh_stats *)req;
	const struct fake_queue *q;
	size_t n = 1;

	if (r->errors)
		return exec_errors(f, r);
	TAILQ_FOREACH(q, &f->queues, link)
		n++;
	r->queues = arena_alloc(req->priv.state, n * sizeof(*r->queues));
	r->nqueues = r->ngroups = 0;
	TAILQ_FOREACH(q, &f->queues, link) {
		if (r->queue.len == 0 ||
		    fake_equal(fake_str(q->name), r->queue))
			view_queue(f, req, q, &r->queues[r->nqueues++]);
	}
	if (r->queue.len > 0 && r->nqueues == 0)
		r->queues[r->nqueues++].name = r->queue;
	return answer_ok(f, req);
}

/* --- bulk: a slice a turn, of the jobs that were there at the start --- */

static bool
bulk_wants(const struct bh_queue_alter *r, const struct fake_job *j)
{
	enum bh_job_state s = r->action == BH_QUEUE_RETRY ? BH_FAILED :
	    r->state;

	return j->state == s && j->id <= (int64_t)r->req.priv.lsn &&
	    fake_equal(fake_str(j->queue->name), r->queue) &&
	    (!r->fingerprint || j->fingerprint == r->fingerprint);
}

static bool
exec_bulk(struct fake *f, struct bh_queue_alter *r)
{
	struct fake_job *j, *next;
	int n = 0;

	f->again = true;
	if (r->req.priv.waits == f->turn)
		return false;
	if (!r->req.priv.waits) {
		r->req.priv.lsn = (uint64_t)f->next_id;
		r->count = 0;
	}
	r->req.priv.waits = f->turn;
	for (j = TAILQ_FIRST(&f->jobs); j && n < FAKE_SLICE; j = next) {
		next = TAILQ_NEXT(j, link);
		if (!bulk_wants(r, j))
			continue;
		if (r->action == BH_QUEUE_RETRY && !retry_job(f, j))
			continue;
		if (r->action == BH_QUEUE_PURGE)
			remove_job(f, j);
		r->count++;
		n++;
	}
	return n < FAKE_SLICE ? answer_ok(f, &r->req) : false;
}

static void
queue_resume(struct fake_queue *q)
{
	q->paused = false;
	q->paused_at = q->held_until = q->held_mono = 0;
	fake_clear(&q->paused_by);
	fake_clear(&q->held_reason);
}

static bool
exec_queue(struct fake *f, struct bh_req *req)
{
	struct bh_queue_alter *r = (struct bh_queue_alter *)req;
	struct fake_queue *q;

	if (r->action == BH_QUEUE_PURGE && r->state == BH_ACTIVE)
		return answer_error(f, req, BH_E_CONFLICT,
		    "active jobs cannot be purged");
	if (r->action == BH_QUEUE_RETRY || r->action == BH_QUEUE_PURGE)
		return exec_bulk(f, r);
	q = fake_queue_get(f, r->queue, true);
	if (r->action == BH_QUEUE_RESUME) {
		queue_resume(q);
	} else if (r->action == BH_QUEUE_PAUSE) {
		q->paused = true;
		q->paused_at = f->wall;
		fake_set(&q->paused_by, r->by);
	} else {
		q->held_until = f->wall + r->hold_ms;
		q->held_mono = f->mono + r->hold_ms;
		fake_set(&q->held_reason, r->reason);
	}
	return answer_ok(f, req);
}

/* --- dispatch --- */

bool
fake_exec(struct fake *f, struct bh_req *req)
{
	static bool (*const execs[])(struct fake *, struct bh_req *) = {
		[FAKE_PUT] = fake_exec_put, [FAKE_RESERVE] = exec_reserve,
		[FAKE_FINISH] = exec_finish, [FAKE_EXTEND] = exec_extend,
		[FAKE_GET] = exec_get, [FAKE_LIST] = exec_list,
		[FAKE_ALTER] = exec_alter, [FAKE_STATS] = exec_stats,
		[FAKE_QUEUE] = exec_queue,
	};

	return execs[req->priv.kind](f, req);
}
