/* SPDX-License-Identifier: MIT */
/* The ends of attempts, longer leases, progress and steps. */
#include <hiredis/hiredis.h>

#include "redis/jobs.h"
#include "redis/mem.h"

enum { ERROR_MAX = 4096, FINISH = 17, EXTEND = 16, TEXT = 1, FINAL = 2,
    STEP = 4, LATE = 8, LEASE = 1, PROGRESS = 2 };

/* jobs.lua's refusals. */
enum { R_STALE = -1, R_TAKEN = -3, R_COUNT = -4, R_BYTES = -5 };

static void
stale(struct redis_be *be, struct bh_req *req, int64_t id)
{
	if (rids_given(be, id))
		be_done_fail(req, BH_E_STALE, "the token no longer holds job "
		    "%lld: its lease ended or it was answered before",
		    (long long)id);
	else
		be_done_fail(req, BH_E_NOTFOUND, "job %lld does not exist",
		    (long long)id);
}

static void
unknown(struct redis_be *be, struct bh_req *req, int64_t id)
{
	if (be->jobs->closing)
		be_fail(be, req, BH_E_CANCELED, "shut down before it was "
		    "stored");
	else
		be_fail(be, req, BH_E_NOTFOUND, "job %lld does not exist",
		    (long long)id);
}

static void
step_refused(struct bh_req *req, int64_t id, const struct bh_step *s,
    int why, long long n)
{
	int len = (int)s->name.len;

	if (why == R_TAKEN)
		be_done_fail(req, BH_E_CONFLICT, "job %lld has the step "
		    "'%.*s' already", (long long)id, len > 100 ? 100 : len,
		    s->name.data);
	else if (why == R_COUNT)
		be_done_fail(req, BH_E_TOOBIG, "job %lld has %lld steps; at "
		    "most %d are expected", (long long)id, n, BH_STEPS_MAX);
	else
		be_done_fail(req, BH_E_TOOBIG, "job %lld has steps of %lld "
		    "bytes, the step '%.*s' would add %zu; at most %d are "
		    "expected", (long long)id, n, len > 60 ? 60 : len,
		    s->name.data, s->value.len, BH_STEPS_BYTES);
}

/* True: r is a refusal or an error, and req is answered. */
static bool
refused(struct redis_be *be, struct bh_req *req, int64_t id,
    const struct bh_step *s, const struct redisReply *r)
{
	if (!r)
		be_fail(be, req, BH_E_CANCELED, "shut down before it was "
		    "stored");
	else if (r->type == REDIS_REPLY_ERROR)
		be_done_error(be, req, r);
	else if (r->type == REDIS_REPLY_ARRAY && r->elements == 2)
		step_refused(req, id, s, (int)r->element[0]->integer,
		    r->element[1]->integer);
	else if (r->integer == R_STALE)
		stale(be, req, id);
	else if (r->integer < 0)
		step_refused(req, id, s, (int)r->integer, 0);
	else
		return false;
	return true;
}

static bool
name_fits(struct redis_be *be, struct bh_req *req, struct bh_bytes name)
{
	if (name.len <= BH_STEP_NAME_MAX)
		return true;
	be_fail(be, req, BH_E_TOOBIG, "step: its name has %zu bytes; at most "
	    "%d are expected", name.len, BH_STEP_NAME_MAX);
	return false;
}

/* A header's end: the seed, and the id. */
static void
put_id(char *p, uint64_t token, int64_t id, const char *text, size_t len)
{
	rtoken_seed(p, token, id);
	memcpy(p + RSEED, text, len);
}

/* --- finish --- */

static void
finish_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct bh_finish *f = arg;
	struct bh_step s = {.name = f->step};

	if (refused(be, &f->req, f->id, &s, r))
		return;
	f->state = (enum bh_job_state)(r->integer % 8);
	if (f->outcome != BH_RELEASE)
		rlist_ran(be, q, r->integer / 8);
	be_done(&f->req);
}

static void
fail_words(struct redis_be *be, struct rqueue *q, const struct bh_finish *f,
    struct bh_bytes message)
{
	char print[24];
	int n = snprintf(print, sizeof(print), "%llu", (unsigned long long)
	    be->host->fingerprint(message));

	rop_data(q, message);
	rop_data(q, f->version);
	rop_copy(q, (struct bh_bytes){print, (size_t)n});
}

static void
finish_queue(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct bh_finish *f = arg;
	struct bh_bytes message = f->message;
	char id[24], *p;
	size_t len = (size_t)snprintf(id, sizeof(id), "%lld",
	    (long long)f->id);

	if (!q) {
		unknown(be, &f->req, f->id);
		return;
	}
	if (message.len > ERROR_MAX)
		message.len = ERROR_MAX;
	rhandler_ended(be, f->id);
	p = rop_begin(be, q, FINISH + len, finish_done, f);
	p[0] = 'F';
	p[1] = (char)f->outcome;
	p[2] = (char)(f->outcome == BH_FAIL
	    ? TEXT | (f->final ? FINAL : 0)
	    : f->outcome == BH_DONE ? (f->result.data ? TEXT : 0)
	    : f->step.len ? STEP : 0);
	if (f->req.priv.kind == RFINISH_LATE)
		p[2] |= LATE;
	rput48(p + 3, f->delay_ms >= 0 ? f->delay_ms + 1 : 0);
	put_id(p + 9, f->token, f->id, id, len);
	if (f->outcome == BH_FAIL)
		fail_words(be, q, f, message);
	else if (f->outcome == BH_DONE && f->result.data)
		rop_data(q, f->result);
	else if (f->outcome == BH_RELEASE && f->step.len)
		rop_data(q, f->step);
}

/* What this instance's handlers have done is kept while Redis is away. */
static bool
is_handlers(struct redis_be *be, const struct bh_finish *f)
{
	uint64_t token;

	return rhandler_token(be, f->id, &token) && token == f->token;
}

void
rjobs_finish(void *arg, struct bh_finish *f)
{
	struct redis_be *be = arg;

	f->req.priv.state = NULL;
	if (!be->ready && !is_handlers(be, f))
		be_fail_away(be, &f->req);
	else if (name_fits(be, &f->req, f->step))
		rqueue_of_id(be, f->id, finish_queue, f);
}

/* --- extend --- */

static void
extend_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct bh_extend *x = arg;

	(void)q;
	if (refused(be, &x->req, x->id, &x->step, r))
		return;
	if (x->lease_ms >= 0)
		rhandler_extended(be, x->id, x->lease_ms);
	be_done(&x->req);
}

static void
step_words(struct rqueue *q, const struct bh_step *s)
{
	char *value = mem_new(s->value.len + 1);

	rop_data(q, s->name);
	value[0] = s->value.data != NULL;
	if (s->value.len > 0)
		memcpy(value + 1, s->value.data, s->value.len);
	rop_copy(q, (struct bh_bytes){value, s->value.len + 1});
	free(value);
}

static void
extend_queue(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct bh_extend *x = arg;
	char id[24], *p;
	size_t len = (size_t)snprintf(id, sizeof(id), "%lld",
	    (long long)x->id);

	if (!q) {
		unknown(be, &x->req, x->id);
		return;
	}
	p = rop_begin(be, q, EXTEND + len, extend_done, x);
	p[0] = 'E';
	p[1] = (char)((x->lease_ms >= 0 ? LEASE : 0) |
	    (x->progress.data ? PROGRESS : 0) | (x->step.name.len ? STEP
	    : 0));
	rput48(p + 2, x->lease_ms);
	put_id(p + 8, x->token, x->id, id, len);
	if (x->progress.data)
		rop_data(q, x->progress);
	if (x->step.name.len)
		step_words(q, &x->step);
}

void
rjobs_extend(void *arg, struct bh_extend *x)
{
	struct redis_be *be = arg;

	x->req.priv.state = NULL;
	if (!be->ready)
		be_fail_away(be, &x->req);
	else if (name_fits(be, &x->req, x->step.name))
		rqueue_of_id(be, x->id, extend_queue, x);
}
