/* SPDX-License-Identifier: MIT */
/*
 * Answers. Life of one: a verb queues it with the LSN it has to wait for
 * (answer_ok, answer_error, answer_complete); engine_deliver() takes those
 * whose LSN is durable, in order, and calls done(). An answer that needs
 * something from the disk is queued only when that has been read.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "engine/part.h"

/* These show nothing that could be uncommitted, and a disk that fails must not
 * hold them back. */
static bool
shows_nothing(int code)
{
	return code == BH_E_DISKFULL || code == BH_E_IO ||
	    code == BH_E_CANCELED;
}

static void
queue_answer(struct engine *e, struct bh_req *req)
{
	if (shows_nothing(req->status)) {
		req->priv.next = e->at_once;
		e->at_once = req;
		return;
	}
	req->priv.lsn = journal_last(e->journal);
	req->priv.next = NULL;
	*e->done_tail = req;
	e->done_tail = &req->priv.next;
}

void
answer_ok(struct engine *e, struct bh_req *req)
{
	req->status = BH_OK;
	req->text[0] = '\0';
	queue_answer(e, req);
}

void
answer_error(struct engine *e, struct bh_req *req, int code,
    const char *fmt, ...)
{
	va_list ap;

	req->status = code;
	va_start(ap, fmt);
	vsnprintf(req->text, sizeof(req->text), fmt, ap);
	va_end(ap);
	queue_answer(e, req);
}

struct answer *
answer_new(struct engine *e, struct bh_req *req)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	a->engine = e;
	a->req = req;
	req->priv.state = a;
	return a;
}

void
answer_free(struct answer **ap)
{
	struct answer *a = *ap;
	size_t i;

	if (!a)
		return;
	for (i = 0; i < a->n; i++) {
		if (a->bodies[i])
			body_unref(a->bodies[i]);
		free(a->disks[i]);
	}
	free(a->jobs);
	free(a->bodies);
	free(a->disks);
	free(a->ids);
	free(a->extra);
	free(a);
	*ap = NULL;
}

int32_t
opts_attempts(const struct job *j)
{
	if (j->body && j->body->opts.attempts >= 0)
		return j->body->opts.attempts;
	return (int32_t)j->queue->opts.attempts;
}

int32_t
opts_max_stalled(const struct job *j)
{
	if (j->body && j->body->opts.max_stalled >= 0)
		return j->body->opts.max_stalled;
	return (int32_t)j->queue->opts.max_stalled;
}

void
answer_resolve(const struct job *j, const struct bh_job_opts *o,
    struct bh_job *ret)
{
	const struct bh_queue_opts *q = &j->queue->opts;

	ret->attempts = o->attempts >= 0 ? o->attempts : (int32_t)q->attempts;
	ret->timeout_ms = o->timeout_ms >= 0 ? o->timeout_ms : q->timeout_ms;
	ret->group = o->group;
	ret->unique = o->unique;
	if (ret->group.len == 0)
		ret->group.data = NULL;
	if (ret->unique.len == 0)
		ret->unique.data = NULL;
}

/* What the job itself knows. */
static void
fill_job(const struct job *j, struct bh_job *out)
{
	out->id = j->id;
	out->queue = bytes_of(j->queue->name);
	out->state = job_state(j);
	out->priority = job_priority(j);
	out->attempt = j->attempt;
	out->error_count = j->error_count;
	out->stalled = j->stalled;
	if (out->state != BH_FAILED)
		out->run_at = j->run_at;
	if (j->ext)
		out->expires_at = j->ext->expires_at;
	if (j->body)
		out->started_at = j->body->started_at;
	if (out->state == BH_ACTIVE)
		out->lease_until = j->body->lease_until;
}

/* What its body knows; the body is there and loaded. */
static void
fill_body(const struct job *j, const struct body *b, struct bh_job *out)
{
	answer_resolve(j, &b->opts, out);
	out->payload = b->payload;
	out->origin = b->origin;
	out->created_at = b->created_at;
	if (b->progress)
		out->progress = (struct bh_bytes){b->progress->data,
		    b->progress->len};
}

static void
fill_disk(const struct job *j, const struct jbody *d, struct bh_job *out)
{
	if (j)
		answer_resolve(j, &d->opts, out);
	out->payload = d->payload;
	out->origin = d->origin;
	out->created_at = d->created_at;
	if (!out->started_at)
		out->started_at = d->started_at;
	out->finished_at = d->finished_at;
	out->run_at = out->run_at ? out->run_at : d->run_at;
	if (out->state >= BH_COMPLETED)
		out->expires_at = d->expires_at;
	if (!out->progress.data)
		out->progress = d->progress;
	out->result = d->result;
	out->error = d->error;
	out->errors = d->errors;
	out->nerrors = d->nerrors;
}

void
answer_add(struct engine *e, struct answer *a, struct job *j)
{
	struct body *b = j->body;

	(void)e;
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 8;
		a->jobs = xrealloc(a->jobs, a->cap * sizeof(*a->jobs));
		a->bodies = xrealloc(a->bodies, a->cap * sizeof(*a->bodies));
		a->disks = xrealloc(a->disks, a->cap * sizeof(*a->disks));
	}
	a->jobs[a->n] = (struct bh_job){0};
	a->bodies[a->n] = b ? body_ref(b) : NULL;
	a->disks[a->n] = NULL;
	fill_job(j, &a->jobs[a->n]);
	if (b && b->loaded)
		fill_body(j, b, &a->jobs[a->n]);
	a->n++;
}

void
answer_take(struct answer *a, const struct job *j, struct jbody *d)
{
	a->disks[a->n - 1] = d;
	fill_disk(j, d, &a->jobs[a->n - 1]);
}

static bool
wants_disk(const struct answer *a, size_t i)
{
	const struct body *b = a->bodies[i];

	if (!b || !b->loaded || a->jobs[i].state >= BH_COMPLETED)
		return true;
	return b->job && ((a->errors && job_is(b->job, JOB_HISTORY)) ||
	    (a->steps && job_is(b->job, JOB_STEPS)));
}

/* A body that a claim waits for gets what was read; else the answer keeps
 * it. Whoever comes second for the same body finds it loaded. */
static void
take_disk(struct engine *e, struct answer *a, size_t i, struct jbody *d)
{
	struct body *b = a->bodies[i];
	struct job *j = job_find(e, a->jobs[i].id);

	if (!d->found) {
		free(d);
		return;
	}
	fill_disk(j, d, &a->jobs[i]);
	if (a->steps && j && j->body == b)
		step_load(e, j, d);
	if (a->handler) {
		a->jobs[i].steps = d->steps;
		a->jobs[i].nsteps = d->nsteps;
	}
	if (b && !b->loaded) {
		body_load(b, d);
		if (j && j->body == b && job_state(j) == BH_ACTIVE) {
			lease_resolve(e, j);
			a->jobs[i].lease_until = b->lease_until;
		}
	} else {
		a->disks[i] = d;
	}
}

static void
read_done(struct jread *r)
{
	struct answer *a = r->user;
	struct engine *e = a->engine;
	size_t i, n = 0;

	e->reading--;
	if (r->err.code) {
		answer_error(e, a->req, r->err.code, "%s", r->err.text);
		return;
	}
	for (i = 0; i < a->n && n < r->nbodies; i++)
		if (r->bodies[n] && r->bodies[n]->id == a->jobs[i].id)
			take_disk(e, a, i, r->bodies[n++]);
	a->resume(e, a);
}

static void
resume_plain(struct engine *e, struct answer *a)
{
	answer_ok(e, a->req);
}

void
answer_complete(struct engine *e, struct answer *a)
{
	size_t i, n = 0;

	if (!a->resume)
		a->resume = resume_plain;
	for (i = 0; i < a->n; i++) {
		if (!wants_disk(a, i))
			continue;
		if (!a->ids)
			a->ids = xmalloc(a->n * sizeof(*a->ids));
		a->ids[n++] = a->jobs[i].id;
	}
	if (n == 0) {
		a->resume(e, a);
		return;
	}
	e->reading++;
	a->read = (struct jread){.done = read_done, .user = a,
	    .kind = JREAD_JOBS, .errors = a->errors, .steps = a->steps,
	    .ids = a->ids, .nids = n, .after = a->errors ? JREAD_LATEST : e->cold_lsn};
	journal_read(e->journal, &a->read);
}

void
answer_tell(struct bh_req *req)
{
	struct answer *a = req->priv.state;

	req->priv.state = NULL;
	req->done(req);
	answer_free(&a);
}

bool
engine_deliver(struct engine *e)
{
	uint64_t durable = journal_durable(e->journal);
	struct bh_req *req;
	bool any = false;

	event_tell(e);
	while ((req = e->at_once)) {
		e->at_once = req->priv.next;
		any = true;
		answer_tell(req);
	}
	while ((req = e->done_head) && req->priv.lsn <= durable) {
		e->done_head = req->priv.next;
		if (!e->done_head)
			e->done_tail = &e->done_head;
		any = true;
		answer_tell(req);
	}
	return any;
}

void
engine_take_back(struct engine *e, const struct err *why)
{
	uint64_t durable = journal_durable(e->journal);
	struct bh_req **at = &e->done_head;

	while (*at) {
		struct bh_req *req = *at;

		if (req->status != BH_OK || req->priv.lsn <= durable ||
		    req->priv.kind != ANSWER_PUT ||
		    !put_take_back(e, (const struct bh_put *)req)) {
			at = &req->priv.next;
			continue;
		}
		*at = req->priv.next;
		req->status = why->code;
		snprintf(req->text, sizeof(req->text), "%s", why->text);
		queue_answer(e, req);
	}
	e->done_tail = at;
	event_void_all(e);
}
