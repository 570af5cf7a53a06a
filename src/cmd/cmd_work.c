/* SPDX-License-Identifier: MIT */
/* Commands of outside workers: fetch a job, hold it, end it. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/job_reply.h"
#include "cmd/op.h"
#include "cmd/rows.h"
#include "cmd/session.h"

#define FETCH_MAX 1000
#define PROGRESS_MAX 4096

static void
given_back(struct bh_req *req)
{
	struct bh_finish *f = (struct bh_finish *)req;

	/* A stale token means that its lease has ended meanwhile: the job is
	 * on its way already. */
	if (req->status != BH_OK && req->status != BH_E_STALE) {
		struct log_about about = {.job = f->id};

		log_about(LOG_WARN, &about, "a fetched job whose worker went"
		    " away waits for the end of its lease: %s", req->text);
	}
	free(f);
}

/* The client went away while its jobs were being claimed: their starts are
 * given back. */
static void
give_back(struct cmd_env *env, const struct bh_reserve *r)
{
	for (size_t i = 0; i < r->njobs; i++) {
		struct bh_finish *f = xcalloc(1, sizeof(*f));

		f->req.done = given_back;
		f->id = r->jobs[i].id;
		f->token = r->jobs[i].token;
		f->outcome = BH_RELEASE;
		f->delay_ms = -1;
		env->ops->job_finish(env->be, f);
	}
}

static void
fetched(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct cmd_call *call = op->call;
	struct reply *r = call->reply;

	if (call->canceled && req->status == BH_OK) {
		give_back(call->env, &op->reserve);
		req->status = BH_E_CANCELED;
		strcpy(req->text, "the caller went away");
	}
	if (op_failed(op))
		return;
	if (op->reserve.njobs == 0) {
		r->ops->null_array(r);
	} else {
		r->ops->array(r, op->reserve.njobs);
		for (size_t i = 0; i < op->reserve.njobs; i++)
			job_reply(r, &op->reserve.jobs[i]);
	}
	op_end(op);
}

enum fetch_opt { FETCH_COUNT, FETCH_BLOCK, FETCH_LEASE, FETCH_WORKER };

static bool
is_fetch_opt(struct bh_bytes v)
{
	return str_is(v.data, v.len, "COUNT") ||
	    str_is(v.data, v.len, "BLOCK") ||
	    str_is(v.data, v.len, "LEASE") || str_is(v.data, v.len, "WORKER");
}

/* Every queue up to the first option; the first one has been checked. */
static int
parse_queues(struct op *op, struct err *e)
{
	struct cmd_call *call = op->call;
	size_t i;

	for (i = 2; i < call->argc && !is_fetch_opt(call->argv[i]); i++) {
		if (arg_queue(call->argv[i], e) < 0)
			return -1;
		if (!session_may(call->who, call->argv[i]))
			return err_set(e, BH_E_NOPERM, "the token '%s' does"
			    " not include the queue '%.*s'", call->who->user,
			    (int)call->argv[i].len, call->argv[i].data);
	}
	op->reserve.queues = &call->argv[1];
	op->reserve.nqueues = i - 1;
	return 0;
}

static int
parse_fetch(struct op *op, struct err *e)
{
	struct cmd_call *call = op->call;
	struct bh_reserve *r = &op->reserve;
	struct arg_opt o[] = {[FETCH_COUNT] = {.name = "COUNT"},
	    [FETCH_BLOCK] = {.name = "BLOCK"},
	    [FETCH_LEASE] = {.name = "LEASE"},
	    [FETCH_WORKER] = {.name = "WORKER"}};
	int64_t count = 1;

	*r = (struct bh_reserve){.req.done = fetched, .block_ms = -1,
	    .lease_ms = -1};
	if (parse_queues(op, e) < 0 ||
	    arg_opts("JOB.FETCH", call->argv, call->argc, 1 + r->nqueues, o,
	    nitems(o), e) < 0)
		return -1;
	if (o[FETCH_COUNT].seen && arg_int("COUNT", o[FETCH_COUNT].value, 1,
	    FETCH_MAX, &count, e) < 0)
		return -1;
	if (o[FETCH_BLOCK].seen && arg_int("BLOCK", o[FETCH_BLOCK].value, 0,
	    ARG_SPAN_MAX, &r->block_ms, e) < 0)
		return -1;
	if (o[FETCH_LEASE].seen && arg_int("LEASE", o[FETCH_LEASE].value, 1,
	    ARG_SPAN_MAX, &r->lease_ms, e) < 0)
		return -1;
	if (o[FETCH_WORKER].seen && arg_key("WORKER", o[FETCH_WORKER].value,
	    &r->worker, e) < 0)
		return -1;
	r->count = (uint32_t)count;
	return 0;
}

void
cmd_job_fetch(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (parse_fetch(op, &e) < 0) {
		op_fail(op, &e);
		return;
	}
	/* Nothing is handed out any more: an answer that would never come. */
	if (call->env->draining) {
		err_set(&e, BH_E_BUSY, "the daemon is shutting down");
		op_fail(op, &e);
		return;
	}
	call->waits = op->reserve.block_ms >= 0;
	op->busy = &op->req;
	call->env->ops->job_reserve(call->env->be, &op->reserve);
}

static void
finished(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (op_failed(op))
		return;
	if (op->finish.outcome != BH_FAIL) {
		op_ok(op);
		return;
	}
	reply_str(op->call->reply, arg_states[op->finish.state]);
	op_end(op);
}

static void
send_finish(struct op *op)
{
	op->call->env->ops->job_finish(op->call->env->be, &op->finish);
}

/* Starts a job_finish: id and token are argv[1] and argv[2]. */
static int
finish_start(struct op *op, enum bh_outcome outcome, struct err *e)
{
	struct cmd_call *call = op->call;

	op->finish = (struct bh_finish){.req.done = finished,
	    .outcome = outcome, .delay_ms = -1};
	if (arg_id(call->argv[1], &op->finish.id, e) < 0)
		return -1;
	op->finish.token = arg_token(call->argv[2]);
	return 0;
}

static void
finish_send(struct op *op, int parsed, const struct err *e)
{
	if (parsed < 0)
		op_fail(op, e);
	else
		op_guarded(op, op->finish.id, send_finish);
}

void
cmd_job_done(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;
	int rc = finish_start(op, BH_DONE, &e);

	if (rc == 0 && call->argc > 4)
		rc = err_set(&e, BH_E_ERR, "syntax error: JOB.DONE takes an"
		    " id, a token and one result");
	if (rc == 0 && call->argc == 4) {
		op->finish.result = call->argv[3];
		rc = arg_size("result", call->argv[3],
		    call->env->conf->max_result, "max_result", &e);
	}
	finish_send(op, rc, &e);
}

static int
parse_fail(struct op *op, struct err *e)
{
	struct cmd_call *call = op->call;
	struct arg_opt o[] = {{.name = "DELAY"},
	    {.name = "FINAL", .flag = true}};

	if (finish_start(op, BH_FAIL, e) < 0 ||
	    arg_opts("JOB.FAIL", call->argv, call->argc, 4, o, nitems(o),
	    e) < 0)
		return -1;
	op->finish.message = call->argv[3];
	op->finish.final = o[1].seen;
	if (o[0].seen && o[1].seen)
		return err_set(e, BH_E_BADARG,
		    "DELAY: not together with FINAL");
	if (!o[0].seen)
		return 0;
	return arg_int("DELAY", o[0].value, 0, ARG_SPAN_MAX,
	    &op->finish.delay_ms, e);
}

void
cmd_job_fail(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;
	int rc = parse_fail(op, &e);

	finish_send(op, rc, &e);
}

void
cmd_job_release(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct arg_opt o[] = {{.name = "DELAY"}};
	struct err e;
	int rc = finish_start(op, BH_RELEASE, &e);

	if (rc == 0)
		rc = arg_opts("JOB.RELEASE", call->argv, call->argc, 3, o, 1,
		    &e);
	if (rc == 0 && o[0].seen)
		rc = arg_int("DELAY", o[0].value, 0, ARG_SPAN_MAX,
		    &op->finish.delay_ms, &e);
	finish_send(op, rc, &e);
}

static void
extended(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (!op_failed(op))
		op_ok(op);
}

static void
send_extend(struct op *op)
{
	op->call->env->ops->job_extend(op->call->env->be, &op->extend);
}

static int
extend_start(struct op *op, struct err *e)
{
	struct cmd_call *call = op->call;

	op->extend = (struct bh_extend){.req.done = extended, .lease_ms = -1};
	if (arg_id(call->argv[1], &op->extend.id, e) < 0)
		return -1;
	op->extend.token = arg_token(call->argv[2]);
	return 0;
}

void
cmd_job_extend(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (extend_start(op, &e) < 0 ||
	    arg_int("ms", call->argv[3], 1, ARG_SPAN_MAX,
	    &op->extend.lease_ms, &e) < 0)
		op_fail(op, &e);
	else
		op_guarded(op, op->extend.id, send_extend);
}

void
cmd_job_progress(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (extend_start(op, &e) < 0 ||
	    arg_size("value", call->argv[3], PROGRESS_MAX, "fixed", &e) < 0) {
		op_fail(op, &e);
		return;
	}
	op->extend.progress = call->argv[3];
	op_guarded(op, op->extend.id, send_extend);
}
