/* SPDX-License-Identifier: MIT */
/* Commands of producers and onlookers: add, get, list, why, wait, change. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/job_reply.h"
#include "cmd/op.h"
#include "cmd/rows.h"
#include "cmd/session.h"

#define LIST_DEFAULT 100
#define LIST_MAX 1000

/* What has become of one payload of an add. */
static void
put_added(struct reply *r, const struct bh_put *put, int64_t id)
{
	r->ops->map(r, 4);
	reply_str(r, "id");
	reply_id(r, id);
	reply_str(r, "queue");
	r->ops->bulk(r, put->queue.data, put->queue.len);
	reply_pair_str(r, "state", arg_states[put->state]);
	reply_str(r, "duplicate");
	r->ops->boolean(r, put->duplicate);
}

static void
added(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	if (op->call->detail)
		put_added(r, &op->put, op->id);
	else
		reply_id(r, op->id);
	op_end(op);
}

void
cmd_job_add(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	struct op *op = op_new(call);
	struct err e;

	op->put = (struct bh_put){
	    .req.done = added, .queue = call->argv[1],
	    .payloads = &call->argv[2], .npayloads = 1, .ids = &op->id};
	if (arg_size("payload", call->argv[2], env->conf->max_payload,
	    "max_payload", &e) < 0 ||
	    arg_job_opts(call->argv, call->argc, 3, &op->put.opts, &e) < 0)
		op_fail(op, &e);
	else
		env->ops->job_put(env->be, &op->put);
}

static void
added_many(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	r->ops->array(r, op->put.npayloads);
	for (size_t i = 0; i < op->put.npayloads; i++) {
		if (op->call->detail)
			put_added(r, &op->put, op->ids[i]);
		else
			reply_id(r, op->ids[i]);
	}
	op_end(op);
}

static int
parse_madd(struct op *op, struct err *e)
{
	struct cmd_call *call = op->call;
	int64_t n;

	op->put = (struct bh_put){
	    .req.done = added_many, .queue = call->argv[1],
	    .payloads = &call->argv[3]};
	if (arg_int("n", call->argv[2], 1, (int64_t)call->argc - 3, &n, e) < 0)
		return -1;
	for (int64_t i = 0; i < n; i++)
		if (arg_size("payload", call->argv[3 + i],
		    call->env->conf->max_payload, "max_payload", e) < 0)
			return -1;
	op->put.npayloads = (size_t)n;
	op->put.ids = op->ids = xcalloc((size_t)n, sizeof(*op->ids));
	return arg_job_opts(call->argv, call->argc, 3 + (size_t)n,
	    &op->put.opts, e);
}

void
cmd_job_madd(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (parse_madd(op, &e) < 0)
		op_fail(op, &e);
	else
		call->env->ops->job_put(call->env->be, &op->put);
}

static void
put_many(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;
	const struct bh_put *p;
	size_t n = 0;

	if (op_failed(op))
		return;
	for (p = &op->put; p; p = p->also)
		n++;
	r->ops->array(r, n);
	for (p = &op->put; p; p = p->also)
		put_added(r, p, p->ids[0]);
	op_end(op);
}

/* One of JOB.MPUT: queue payload k option…; *at moves behind it. */
static int
parse_mput_one(const struct cmd_call *call, size_t *at, struct bh_put *p,
    struct err *e)
{
	const struct bh_bytes *argv = call->argv + *at;
	size_t left = call->argc - *at;
	int64_t k;

	if (left < 3)
		return err_set(e, BH_E_ERR, "syntax error: queue, payload and"
		    " k are expected, the command ends");
	if (arg_queue(argv[0], e) < 0)
		return -1;
	if (!session_may(call->who, argv[0]))
		return err_set(e, BH_E_NOPERM, "the token '%s' does not"
		    " include the queue '%.*s'", call->who->user,
		    (int)argv[0].len, argv[0].data);
	if (arg_size("payload", argv[1], call->env->conf->max_payload,
	    "max_payload", e) < 0 ||
	    arg_int("k", argv[2], 0, (int64_t)left - 3, &k, e) < 0 ||
	    arg_job_opts(argv, 3 + (size_t)k, 3, &p->opts, e) < 0)
		return -1;
	p->queue = argv[0];
	p->payloads = &argv[1];
	p->npayloads = 1;
	*at += 3 + (size_t)k;
	return 0;
}

/* The first job is op->put itself, the others are chained to it. */
static int
parse_mput(struct op *op, struct err *e)
{
	const struct cmd_call *call = op->call;
	int64_t n, max = call->env->conf->max_arguments;
	struct bh_put *p = &op->put;
	struct err why;
	size_t at = 2;

	op->put = (struct bh_put){.req.done = put_many};
	if ((int64_t)call->argc > max)
		return err_set(e, BH_E_TOOBIG, "JOB.MPUT: %zu words; at most"
		    " %lld are expected (max_arguments)", call->argc,
		    (long long)max);
	if (arg_int("n", call->argv[1], 1, ((int64_t)call->argc - 2) / 3, &n,
	    e) < 0)
		return -1;
	op->ids = xcalloc((size_t)n, sizeof(*op->ids));
	op->also = xcalloc((size_t)n, sizeof(*op->also));
	for (int64_t i = 0; i < n; i++) {
		if (i > 0)
			p = p->also = &op->also[i];
		p->ids = &op->ids[i];
		if (parse_mput_one(call, &at, p, &why) < 0)
			return err_set(e, why.code, "number %lld of %lld:"
			    " %.180s", (long long)i + 1, (long long)n,
			    why.text);
	}
	if (at < call->argc)
		return err_set(e, BH_E_ERR, "syntax error: %zu words follow"
		    " the %lld jobs", call->argc - at, (long long)n);
	return 0;
}

void
cmd_job_mput(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (parse_mput(op, &e) < 0)
		op_fail(op, &e);
	else
		call->env->ops->job_put(call->env->be, &op->put);
}

static void
got(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;
	const struct bh_job *job = op->get.job;

	if (req->status == BH_E_NOTFOUND && op->get.wait_ms < 0) {
		req->status = BH_OK;
		job = NULL;
	}
	if (op_failed(op))
		return;
	if (job)
		job_reply(r, job);
	else
		r->ops->null(r);
	op_end(op);
}

static void
send_get(struct op *op)
{
	struct cmd_env *env = op->call->env;

	op->busy = &op->req;
	env->ops->job_get(env->be, &op->get);
}

void
cmd_job_get(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	op->get = (struct bh_get){.req.done = got, .wait_ms = -1};
	if (arg_id(call->argv[1], &op->get.id, &e) < 0)
		op_fail(op, &e);
	else
		op_guarded(op, op->get.id, send_get);
}

void
cmd_job_wait(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	op->get = (struct bh_get){.req.done = got};
	if (arg_id(call->argv[1], &op->get.id, &e) < 0 ||
	    arg_int("ms", call->argv[2], 0, ARG_SPAN_MAX, &op->get.wait_ms,
	    &e) < 0) {
		op_fail(op, &e);
		return;
	}
	call->waits = true;
	op_guarded(op, op->get.id, send_get);
}

static void
put_why(struct reply *r, const struct bh_why *why)
{
	r->ops->map(r, 3 + (why->until != 0) + (why->ahead != 0));
	reply_pair_str(r, "gate", gate_name(why->gate));
	reply_pair_str(r, "text", why->text);
	reply_pair_str(r, "state", arg_states[why->state]);
	if (why->until)
		reply_pair_int(r, "until", why->until);
	if (why->ahead) {
		reply_str(r, "ahead");
		reply_id(r, why->ahead);
	}
}

/* The backend has spoken; where it sees nothing in the way, the gates above
 * it are asked. */
static void
why_known(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct cmd_env *env = op->call->env;
	struct bh_bytes queue = {op->text, strlen(op->text)};
	struct bh_why above;

	if (op_failed(op))
		return;
	above = *op->why;
	if (above.gate == BH_GATE_NONE && env->handler_gate &&
	    env->handler_gate(env->arg, queue, &above))
		above.state = op->why->state;
	put_why(op->call->reply, &above);
	op_end(op);
}

static void
why_job(struct bh_req *req)
{
	struct op *op = op_of(req);
	const struct bh_job *job = op->get.job;
	int64_t id = op->get.id;
	struct err e;

	if (req->status == BH_OK && !job) {
		err_set(&e, BH_E_NOTFOUND, "no job has the id %lld",
		    (long long)id);
		op_fail(op, &e);
		return;
	}
	if (op_failed(op))
		return;
	if (!session_may(op->call->who, job->queue)) {
		err_set(&e, BH_E_NOPERM, "the token '%s' does not include the"
		    " queue of this job", op->call->who->user);
		op_fail(op, &e);
		return;
	}
	memcpy(op->text, job->queue.data, job->queue.len);
	op->text[job->queue.len] = '\0';
	op->why = xcalloc(1, sizeof(*op->why));
	op->get = (struct bh_get){.req.done = why_known, .id = id,
	    .wait_ms = -1, .why = op->why};
	send_get(op);
}

void
cmd_job_why(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	op->get = (struct bh_get){.req.done = why_job, .wait_ms = -1};
	if (arg_id(call->argv[1], &op->get.id, &e) < 0)
		op_fail(op, &e);
	else
		send_get(op);
}

static void
listed(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	r->ops->array(r, 2);
	reply_id(r, op->list.cursor);
	r->ops->array(r, op->list.njobs);
	for (size_t i = 0; i < op->list.njobs; i++)
		job_reply(r, &op->list.jobs[i]);
	op_end(op);
}

/* ERROR fingerprint, which only failed jobs have. */
static int
parse_fingerprint(const struct arg_opt *o, enum bh_job_state state,
    uint64_t *ret, struct err *e)
{
	if (!o->seen)
		return 0;
	if (state != BH_FAILED)
		return err_set(e, BH_E_BADARG, "ERROR: only with the state"
		    " failed, not with %s", arg_states[state]);
	return arg_hex("ERROR", o->value, ret, e);
}

static int
parse_list(struct op *op, struct err *e)
{
	struct cmd_call *call = op->call;
	struct arg_opt o[] = {{.name = "CURSOR"}, {.name = "COUNT"},
	    {.name = "REVERSE", .flag = true}, {.name = "ERROR"}};
	int64_t count = LIST_DEFAULT;

	op->list = (struct bh_list){.req.done = listed,
	    .queue = call->argv[1]};
	if (arg_state(call->argv[2], &op->list.state, e) < 0 ||
	    arg_opts("JOB.LIST", call->argv, call->argc, 3, o, nitems(o),
	    e) < 0)
		return -1;
	if (o[0].seen && arg_int("CURSOR", o[0].value, 0, INT64_MAX,
	    &op->list.cursor, e) < 0)
		return -1;
	if (o[1].seen && arg_int("COUNT", o[1].value, 1, LIST_MAX, &count,
	    e) < 0)
		return -1;
	op->list.count = (uint32_t)count;
	op->list.reverse = o[2].seen;
	return parse_fingerprint(&o[3], op->list.state, &op->list.fingerprint,
	    e);
}

void
cmd_job_list(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (parse_list(op, &e) < 0)
		op_fail(op, &e);
	else
		call->env->ops->job_list(call->env->be, &op->list);
}

static void
altered(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (!op_failed(op))
		op_ok(op);
}

static void
send_alter(struct op *op)
{
	op->call->env->ops->job_alter(op->call->env->be, &op->alter);
}

/* All changes of a job by its id look alike; e says what was wrong with the
 * other arguments, if anything was. */
static void
alter(struct cmd_call *call, enum bh_job_action action, struct bh_bytes arg,
    bool fresh, int parsed, struct err *e)
{
	struct op *op = op_new(call);

	op->alter = (struct bh_alter){.req.done = altered, .action = action,
	    .arg = arg, .fresh = fresh};
	if (parsed < 0 || arg_id(call->argv[1], &op->alter.id, e) < 0)
		op_fail(op, e);
	else
		op_guarded(op, op->alter.id, send_alter);
}

static const struct bh_bytes nothing = {NULL, 0};

void
cmd_job_retry(struct cmd_call *call)
{
	struct arg_opt o[] = {{.name = "FRESH", .flag = true}};
	struct err e;
	int rc = arg_opts("JOB.RETRY", call->argv, call->argc, 2, o, 1, &e);

	alter(call, BH_JOB_RETRY, nothing, o[0].seen, rc, &e);
}

void
cmd_job_remove(struct cmd_call *call)
{
	struct err e;

	alter(call, BH_JOB_REMOVE, nothing, false, 0, &e);
}

void
cmd_job_promote(struct cmd_call *call)
{
	struct err e;

	alter(call, BH_JOB_PROMOTE, nothing, false, 0, &e);
}

void
cmd_job_update(struct cmd_call *call)
{
	struct err e;
	int rc = arg_size("payload", call->argv[2],
	    call->env->conf->max_payload, "max_payload", &e);

	alter(call, BH_JOB_UPDATE, call->argv[2], false, rc, &e);
}

void
cmd_job_cancel(struct cmd_call *call)
{
	struct bh_bytes reason = nothing;
	struct err e;
	int rc = 0;

	if (call->argc > 3)
		rc = err_set(&e, BH_E_ERR, "syntax error: JOB.CANCEL takes an"
		    " id and one reason");
	else if (call->argc == 3)
		rc = arg_key("reason", call->argv[2], &reason, &e);
	alter(call, BH_JOB_CANCEL, reason, false, rc, &e);
}
