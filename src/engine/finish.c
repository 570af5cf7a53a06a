/* SPDX-License-Identifier: MIT */
/*
 * The ends of attempts: done, error, release, lost lease; and of jobs. What
 * each writes, beside the end of the lease:
 *
 *   done      JR_JOB_FINISH (and JR_STEPS_END), or JR_JOB_DELETE when it is
 *             not kept
 *   error     JR_ERROR and JR_JOB_SET (another try) or JR_JOB_FINISH
 *   release   JR_JOB_SET, and JR_STEP when it is job:sleep()'s
 *   stalled   JR_JOB_SET or, past max_stalled, JR_ERROR and JR_JOB_FINISH
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/json.h"
#include "base/retry.h"
#include "base/rng.h"
#include "base/xalloc.h"
#include "engine/part.h"

enum {
	ERROR_MAX = 4096,
	/* Over the count, a completed job replaces the oldest one; beyond so
	 * many in one batch it is just deleted, which costs half as much. */
	EVICT_PER_BATCH = 16,
	HISTORY_MS = 1000
};

static void
end_lease(struct engine *e, struct job *j)
{
	struct jrec r = job_rec(j, JR_LEASE_END);

	journal_append(e->journal, &r);
}

/* The body of a job that is active no more. */
static void
cool_down(struct engine *e, struct job *j)
{
	struct body *b = j->body;

	b->token = 0;
	free(b->steps);
	b->steps = NULL;
	/* What was read with its steps is too much to keep. */
	if (b->loaded && !(b->disk && b->disk->nsteps))
		body_cache(e, b);
	else
		body_drop(e, j);
}

static void
record_error(struct engine *e, struct job *j, struct bh_bytes msg,
    struct bh_bytes version)
{
	struct jrec r = job_rec(j, JR_ERROR);

	r.u.error.attempt = j->attempt;
	r.u.error.at = e->now.wall_ms;
	r.u.error.message = msg;
	r.u.error.version = version;
	journal_append(e->journal, &r);
	job_flag(j, JOB_HISTORY, true);
}

static void
record_finish(struct engine *e, struct job *j, enum jrec_state state,
    struct bh_bytes result, struct bh_bytes error)
{
	struct jrec r = job_rec(j, JR_JOB_FINISH);

	r.u.finish.state = (uint8_t)state;
	r.u.finish.started_at = j->body ? j->body->started_at : 0;
	r.u.finish.finished_at = e->now.wall_ms;
	r.u.finish.attempt = j->attempt;
	r.u.finish.error_count = j->error_count;
	r.u.finish.stalled = j->stalled;
	r.u.finish.result = result;
	r.u.finish.error = error;
	if (state == JSTATE_FAILED)
		r.u.finish.fingerprint = j->fingerprint;
	journal_append(e->journal, &r);
}

/* Whether a completed job of this queue stays, making room if it must. */
static bool
stays(struct engine *e, struct job *j)
{
	struct queue *q = j->queue;
	int64_t limit = q->opts.retain_completed_count;
	struct node *oldest;

	if (limit == 0 || q->opts.retain_completed_ms == 0)
		return false;
	if (q->completed_counted < limit)
		return true;
	if (q->evicted_at != e->turn) {
		q->evicted_at = e->turn;
		q->evicted = 0;
	}
	oldest = TAILQ_FIRST(&q->completed);
	if (!oldest || q->evicted >= EVICT_PER_BATCH)
		return false;
	q->evicted++;
	job_delete(e, job_of_node(oldest));
	return true;
}

static void
finish_done(struct engine *e, struct job *j, struct bh_bytes result)
{
	struct queue *q = j->queue;
	struct body *b = j->body;
	int64_t retain = b->opts.retain_ms;
	struct bh_bytes none = {0};

	q->processed++;
	q->completed_total++;
	queue_touch_totals(e, q);
	queue_runtime(e, q, e->now.wall_ms - b->started_at);
	if (q->opts.callbacks & (1 << BH_ON_COMPLETED))
		callback_owe(e, q, BH_ON_COMPLETED, j, result, none);
	if (retain < 0 && !stays(e, j))
		retain = 0;
	/* Whoever waits for it wants its history too: it stays a moment. */
	if (retain == 0 && job_is(j, JOB_WAITED) && job_is(j, JOB_HISTORY))
		retain = HISTORY_MS;
	if (retain == 0) {
		if (job_is(j, JOB_WAITED))
			getters_wake(e, j, BH_COMPLETED, result, none);
		job_record_delete(e, j);
		event_note(e, BH_NEWS_COMPLETED, j, none);
		job_forget(e, j);
		return;
	}
	job_flag(j, JOB_RETAIN, retain > 0);
	if (job_is(j, JOB_STEPS))
		step_forget(e, j);
	end_lease(e, j);
	record_finish(e, j, JSTATE_COMPLETED, result, none);
	job_move(e, j, BH_COMPLETED, retain > 0 ? e->now.mono_ms + retain
	    : e->now.mono_ms);
	event_note(e, BH_NEWS_COMPLETED, j, none);
	if (job_is(j, JOB_WAITED))
		getters_wake(e, j, BH_COMPLETED, result, none);
	body_drop(e, j);
}

/* The dead job's copy in the queue's dead_letter queue. */
static void
dead_letter(struct engine *e, struct job *j, struct bh_bytes msg)
{
	struct queue *q = j->queue, *to;
	struct bh_job_opts o;
	struct buf origin = BUF_INIT;
	struct json js;
	struct err err;
	char id[24];

	if (!q->opts.dead_letter[0] || !j->body || !j->body->loaded ||
	    strcmp(q->opts.dead_letter, q->name) == 0)
		return;
	to = queue_obtain(e, bytes_of(q->opts.dead_letter), &err);
	if (!to)
		return;
	bh_job_opts_init(&o);
	json_init(&js, &origin);
	json_object(&js);
	json_key(&js, "queue");
	json_str(&js, q->name);
	json_key(&js, "id");
	snprintf(id, sizeof(id), "%lld", (long long)j->id);
	json_str(&js, id);
	json_key(&js, "error");
	json_bytes(&js, msg.data, msg.len);
	json_key(&js, "at");
	json_int(&js, e->now.wall_ms);
	json_object_end(&js);
	put_job(e, to, &o, j->body->payload,
	    (struct bh_bytes){buf_peek(&origin), buf_size(&origin)});
	buf_done(&origin);
}

/* The end itself: history, callback, dead letter, state. */
static void
fail_now(struct engine *e, struct job *j, struct bh_bytes msg,
    struct bh_bytes version)
{
	struct queue *q = j->queue;
	struct bh_bytes none = {0};

	record_error(e, j, msg, version);
	if (job_state(j) == BH_ACTIVE)
		end_lease(e, j);
	if (q->opts.callbacks & (1 << BH_ON_FAILED))
		callback_owe(e, q, BH_ON_FAILED, j, none, msg);
	dead_letter(e, j, msg);
	q->failed_total++;
	queue_touch_totals(e, q);
	job_move(e, j, BH_FAILED, e->now.mono_ms);
	j->fingerprint = retry_fingerprint(msg.data, msg.len);
	queue_failure_add(q, j->fingerprint, e->now.wall_ms, j->id);
	record_finish(e, j, JSTATE_FAILED, none, msg);
	event_note(e, BH_NEWS_FAILED, j, msg);
	if (job_is(j, JOB_WAITED))
		getters_wake(e, j, BH_FAILED, none, msg);
	body_drop(e, j);
	queue_refresh(e, q);
}

/* A job whose end needs its payload, which is being read. */
struct doom {
	struct jread read;
	struct engine *engine;
	struct bh_req *req;		/* to answer then, or NULL */
	int64_t id;
	enum bh_job_state state;
	int32_t attempt;
	size_t len;
	char version[40];
	char text[];
};

static void
doom_done(struct jread *r)
{
	struct doom *d = r->user;
	struct engine *e = d->engine;
	struct job *j = job_find(e, d->id);

	e->reading--;
	if (r->nbodies && r->bodies[0] && (r->err.code ||
	    !r->bodies[0]->found)) {
		free(r->bodies[0]);
		r->nbodies = 0;
	}
	if (j && job_state(j) == d->state && j->attempt == d->attempt &&
	    !e->stopping) {
		if (!j->body)
			j->body = body_blank(j);
		if (!j->body->loaded && r->nbodies)
			body_load(j->body, r->bodies[0]);
		else if (r->nbodies)
			free(r->bodies[0]);
		/* Without its payload it fails all the same. */
		fail_now(e, j, (struct bh_bytes){d->text, d->len},
		    bytes_of(d->version));
	} else if (r->nbodies) {
		free(r->bodies[0]);
	}
	if (d->req)
		answer_ok(e, d->req);
	free(d);
}

static void
fail_when_loaded(struct engine *e, struct job *j, struct bh_bytes msg,
    struct bh_bytes version, struct bh_req *req)
{
	struct doom *d = xcalloc(1, sizeof(*d) + msg.len);

	job_untimer(e, j);
	if (job_state(j) == BH_ACTIVE)
		j->body->token = 0;	/* it has been answered */
	d->engine = e;
	d->req = req;
	snprintf(d->version, sizeof(d->version), "%.*s", (int)version.len,
	    version.len ? version.data : "");
	d->id = j->id;
	d->state = job_state(j);
	d->attempt = j->attempt;
	d->len = msg.len;
	memcpy(d->text, msg.data, msg.len);
	d->read = (struct jread){.done = doom_done, .user = d,
	    .kind = JREAD_JOBS, .ids = &d->id, .nids = 1,
	    .after = e->cold_lsn};
	e->reading++;
	journal_read(e->journal, &d->read);
}

void
finish_failed(struct engine *e, struct job *j, struct bh_bytes msg,
    struct bh_bytes version, struct bh_req *req)
{
	const struct bh_queue_opts *o = &j->queue->opts;

	if ((o->dead_letter[0] || (o->callbacks & (1 << BH_ON_FAILED))) &&
	    !(j->body && j->body->loaded)) {
		fail_when_loaded(e, j, msg, version, req);
		return;
	}
	fail_now(e, j, msg, version);
	if (req)
		answer_ok(e, req);
}

/* Another try after delay_ms. */
static void
try_again(struct engine *e, struct job *j, int64_t delay_ms)
{
	end_lease(e, j);
	j->run_at = e->now.wall_ms + delay_ms;
	job_write(e, j, JR_JOB_SET, 0);
	if (delay_ms > 0)
		job_move(e, j, BH_DELAYED, e->now.mono_ms + delay_ms);
	else
		job_move(e, j, BH_WAITING, 0);
	cool_down(e, j);
}

static int64_t
backoff_ms(const struct job *j)
{
	const struct bh_job_opts *o = &j->body->opts;
	const struct bh_queue_opts *q = &j->queue->opts;
	struct retry_backoff b = {
	    .type = o->backoff_type >= 0
		? (enum bh_backoff_type)o->backoff_type
		: (enum bh_backoff_type)q->backoff_type,
	    .delay_ms = o->backoff_ms >= 0 ? o->backoff_ms : q->backoff_ms,
	    .max_ms = o->backoff_max_ms >= 0 ? o->backoff_max_ms
					     : q->backoff_max_ms,
	    .factor = o->backoff_factor >= 0 ? o->backoff_factor
					     : q->backoff_factor,
	    .jitter = o->backoff_jitter >= 0 ? o->backoff_jitter
					     : q->backoff_jitter};

	return retry_delay(&b, j->error_count, rng_unit());
}

static void
finish_error(struct engine *e, struct job *j, struct bh_finish *r,
    struct bh_bytes msg)
{
	struct queue *q = j->queue;

	q->processed++;
	queue_touch_totals(e, q);
	queue_runtime(e, q, e->now.wall_ms - j->body->started_at);
	j->error_count++;
	if (r->final || j->error_count >= opts_attempts(j)) {
		r->state = BH_FAILED;
		finish_failed(e, j, msg, r->version, &r->req);
		return;
	}
	q->retried++;
	record_error(e, j, msg, r->version);
	try_again(e, j, r->delay_ms >= 0 ? r->delay_ms : backoff_ms(j));
	event_note(e, BH_NEWS_RETRYING, j, msg);
	r->state = job_state(j);
	answer_ok(e, &r->req);
}

static void
finish_release(struct engine *e, struct job *j, int64_t delay_ms)
{
	end_lease(e, j);
	j->attempt--;
	/* The start is given back, but it has been one. */
	if (j->ext)
		j->ext->expires_at = 0;
	if (delay_ms > 0)
		j->run_at = e->now.wall_ms + delay_ms;
	job_write(e, j, JR_JOB_SET, 0);
	if (delay_ms > 0) {
		job_move(e, j, BH_DELAYED, e->now.mono_ms + delay_ms);
	} else {
		job_move_front(e, j);
	}
	cool_down(e, j);
}

void
finish_stalled(struct engine *e, struct job *j)
{
	struct queue *q = j->queue;
	struct bh_bytes none = {0}, msg;
	char text[128];
	int n;

	n = snprintf(text, sizeof(text), j->body->handler
	    ? "the daemon died, or lost its handler"
	    : "the lease ended without an answer%s%.64s",
	    j->body->worker ? " from worker " : "",
	    j->body->worker ? j->body->worker : "");
	msg = (struct bh_bytes){text, (size_t)n};
	q->stalled_total++;
	queue_touch_totals(e, q);
	if (q->opts.callbacks & (1 << BH_ON_STALLED))
		callback_owe(e, q, BH_ON_STALLED, j, none, msg);
	j->stalled++;
	if (j->stalled > opts_max_stalled(j)) {
		n = snprintf(text, sizeof(text), "stalled %d times, "
		    "max_stalled is %d", j->stalled, opts_max_stalled(j));
		finish_failed(e, j, (struct bh_bytes){text, (size_t)n}, none,
		    NULL);
		return;
	}
	record_error(e, j, msg, none);
	end_lease(e, j);
	job_write(e, j, JR_JOB_SET, 0);
	job_move_front(e, j);
	event_note(e, BH_NEWS_STALLED, j, none);
	cool_down(e, j);
}

/* The active job that the token holds; else the request is answered. */
static struct job *
held(struct engine *e, struct bh_req *req, int64_t id, uint64_t token)
{
	struct job *j = job_find(e, id);

	if (token && j && job_state(j) == BH_ACTIVE &&
	    j->body->token == token)
		return j;
	/* A job that has ended is not unknown to whoever held it. */
	if (!j && (id <= 0 || id >= e->next_id))
		answer_error(e, req, BH_E_NOTFOUND, "job %lld does not exist",
		    (long long)id);
	else
		answer_error(e, req, BH_E_STALE, "the token no longer holds "
		    "job %lld: its lease ended or it was answered before",
		    (long long)id);
	return NULL;
}

static void
release(struct engine *e, struct job *j, struct bh_finish *r)
{
	struct bh_step sleep = {.name = r->step};
	struct err err;

	if (r->step.len) {
		if (step_check(e, j, &sleep, &err) < 0) {
			answer_error(e, &r->req, err.code, "%s", err.text);
			return;
		}
		step_add(e, j, &sleep);
	}
	finish_release(e, j, r->delay_ms);
	r->state = job_state(j);
	answer_ok(e, &r->req);
}

void
engine_finish(struct engine *e, struct bh_finish *r)
{
	struct job *j = held(e, &r->req, r->id, r->token);
	struct bh_bytes msg = r->message;
	char cancelled[ERROR_MAX];

	if (!j)
		return;
	if (msg.len > ERROR_MAX)
		msg.len = ERROR_MAX;
	if (j->body->cancelled) {
		const char *why = j->body->cancel_reason;

		msg.data = cancelled;
		msg.len = (size_t)snprintf(cancelled, sizeof(cancelled),
		    "cancelled%s%s", why && *why ? ": " : "",
		    why ? why : "");
		if (msg.len >= sizeof(cancelled))
			msg.len = sizeof(cancelled) - 1;
		r->state = BH_FAILED;
		finish_failed(e, j, msg, r->version, &r->req);
	} else if (r->outcome == BH_DONE) {
		finish_done(e, j, r->result);
		r->state = BH_COMPLETED;
		answer_ok(e, &r->req);
	} else if (r->outcome == BH_RELEASE) {
		release(e, j, r);
	} else {
		finish_error(e, j, r, msg);
	}
}

void
engine_extend(struct engine *e, struct bh_extend *r)
{
	struct job *j = held(e, &r->req, r->id, r->token);
	struct jrec rec;
	struct err err;

	if (!j)
		return;
	if (r->step.name.len) {
		if (step_check(e, j, &r->step, &err) < 0) {
			answer_error(e, &r->req, err.code, "%s", err.text);
			return;
		}
		step_add(e, j, &r->step);
	}
	if (r->lease_ms >= 0)
		lease_extend(e, j, r->lease_ms);
	if (r->progress.data) {
		rec = job_rec(j, JR_JOB_PROGRESS);
		rec.u.text = r->progress;
		journal_append(e->journal, &rec);
		body_set_progress(j->body, r->progress);
		e->cold_lsn = journal_last(e->journal);
		event_note(e, BH_NEWS_PROGRESS, j, r->progress);
	}
	answer_ok(e, &r->req);
}
