/* SPDX-License-Identifier: MIT */
/* Commands that concern a whole queue. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/op.h"
#include "cmd/rows.h"
#include "cmd/session.h"

static void
ask_stats(struct cmd_call *call, struct bh_bytes queue, bool errors,
    bh_done_fn *done)
{
	struct op *op = op_new(call);

	op->stats = (struct bh_stats){.req.done = done, .queue = queue,
	    .errors = errors};
	call->env->ops->queue_stats(call->env->be, &op->stats);
}

static int
by_name(const void *a, const void *b)
{
	const struct bh_bytes *x = &((const struct bh_queue_stats *)a)->name;
	const struct bh_bytes *y = &((const struct bh_queue_stats *)b)->name;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Those that the caller may see, by name, as an array. */
static void
begin_array(struct op *op)
{
	struct bh_queue_stats *q = op->stats.queues;
	size_t n = 0;

	if (op->stats.nqueues > 1)
		qsort(q, op->stats.nqueues, sizeof(*q), by_name);
	for (size_t i = 0; i < op->stats.nqueues; i++)
		n += session_may(op->call->who, q[i].name);
	op->call->reply->ops->array(op->call->reply, n);
}

static void
listed(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;
	struct bh_queue_stats *q = op->stats.queues;

	if (op_failed(op))
		return;
	begin_array(op);
	for (size_t i = 0; i < op->stats.nqueues; i++)
		if (session_may(op->call->who, q[i].name))
			reply_bytes(r, q[i].name);
	op_end(op);
}

void
cmd_queue_list(struct cmd_call *call)
{
	ask_stats(call, (struct bh_bytes){NULL, 0}, false, listed);
}

static void
put_stats(struct reply *r, const struct bh_queue_stats *q, bool named)
{
	size_t more = (q->paused ? 2 : 0) + (q->held_until ? 2 : 0) + named;

	r->ops->map(r, 13 + more);
	if (named) {
		reply_str(r, "queue");
		reply_bytes(r, q->name);
	}
	for (int i = 0; i < BH_STATES; i++)
		reply_pair_int(r, arg_states[i], q->count[i]);
	reply_pair_int(r, "paused", q->paused);
	reply_pair_int(r, "oldest_waiting_ms", q->oldest_waiting_ms);
	reply_pair_int(r, "processed_total", q->processed_total);
	reply_pair_int(r, "failed_total", q->failed_total);
	reply_pair_int(r, "stalled_total", q->stalled_total);
	reply_pair_int(r, "p50_ms", q->p50_ms);
	reply_pair_int(r, "p95_ms", q->p95_ms);
	reply_pair_int(r, "p99_ms", q->p99_ms);
	if (q->paused) {
		reply_pair_int(r, "paused_at", q->paused_at);
		reply_str(r, "paused_by");
		r->ops->bulk(r, q->paused_by.data, q->paused_by.len);
	}
	if (q->held_until) {
		reply_pair_int(r, "held_until", q->held_until);
		reply_str(r, "held_reason");
		r->ops->bulk(r, q->held_reason.data, q->held_reason.len);
	}
}

static void
stats_known(struct bh_req *req)
{
	static const struct bh_queue_stats unused;
	struct op *op = op_of(req);

	if (op_failed(op))
		return;
	put_stats(op->call->reply,
	    op->stats.nqueues > 0 ? &op->stats.queues[0] : &unused, false);
	op_end(op);
}

static void
all_known(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (op_failed(op))
		return;
	begin_array(op);
	for (size_t i = 0; i < op->stats.nqueues; i++)
		if (session_may(op->call->who, op->stats.queues[i].name))
			put_stats(op->call->reply, &op->stats.queues[i], true);
	op_end(op);
}

void
cmd_queue_stats(struct cmd_call *call)
{
	if (call->argc > 2) {
		cmd_error(call, BH_E_ERR, "syntax error: QUEUE.STATS takes one"
		    " queue, or none");
		return;
	}
	if (call->argc == 2)
		ask_stats(call, call->argv[1], false, stats_known);
	else
		ask_stats(call, (struct bh_bytes){NULL, 0}, false, all_known);
}

static void
errors_known(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	r->ops->array(r, op->stats.ngroups);
	for (size_t i = 0; i < op->stats.ngroups; i++) {
		const struct bh_error_group *g = &op->stats.groups[i];

		r->ops->map(r, 6);
		reply_str(r, "fingerprint");
		reply_hex(r, g->fingerprint);
		reply_pair_int(r, "count", g->count);
		reply_pair_int(r, "first_at", g->first_at);
		reply_pair_int(r, "last_at", g->last_at);
		reply_str(r, "sample_id");
		reply_id(r, g->sample_id);
		reply_str(r, "text");
		r->ops->bulk(r, g->text.data, g->text.len);
	}
	op_end(op);
}

void
cmd_queue_errors(struct cmd_call *call)
{
	ask_stats(call, call->argv[1], true, errors_known);
}

static void
altered(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (!op_failed(op))
		op_ok(op);
}

static void
counted(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (op_failed(op))
		return;
	op->call->reply->ops->integer(op->call->reply, op->queue_alter.count);
	op_end(op);
}

static struct op *
alter_new(struct cmd_call *call, enum bh_queue_action action,
    bh_done_fn *done)
{
	struct op *op = op_new(call);

	op->queue_alter = (struct bh_queue_alter){.req.done = done,
	    .queue = call->argv[1], .action = action, .state = BH_FAILED};
	return op;
}

static void
alter_send(struct op *op)
{
	op->call->env->ops->queue_alter(op->call->env->be, &op->queue_alter);
}

void
cmd_queue_pause(struct cmd_call *call)
{
	struct op *op = alter_new(call, BH_QUEUE_PAUSE, altered);

	snprintf(op->text, sizeof(op->text), "%s (%s)", call->who->user,
	    call->who->addr);
	op->queue_alter.by = (struct bh_bytes){op->text, strlen(op->text)};
	alter_send(op);
}

void
cmd_queue_resume(struct cmd_call *call)
{
	alter_send(alter_new(call, BH_QUEUE_RESUME, altered));
}

void
cmd_queue_hold(struct cmd_call *call)
{
	struct op *op = alter_new(call, BH_QUEUE_HOLD, altered);
	struct err e;
	int rc = arg_int("ms", call->argv[2], 1, ARG_SPAN_MAX,
	    &op->queue_alter.hold_ms, &e);

	if (rc == 0 && call->argc > 4)
		rc = err_set(&e, BH_E_ERR, "syntax error: QUEUE.HOLD takes a"
		    " queue, ms and one reason");
	if (rc == 0 && call->argc == 4)
		rc = arg_key("reason", call->argv[3], &op->queue_alter.reason,
		    &e);
	if (rc < 0)
		op_fail(op, &e);
	else
		alter_send(op);
}

/* [ERROR fingerprint] from argv[at] on. */
static int
parse_fingerprint(struct op *op, size_t at, struct err *e)
{
	struct cmd_call *call = op->call;
	struct arg_opt o[] = {{.name = "ERROR"}};

	if (arg_opts(call->row->name, call->argv, call->argc, at, o, 1, e) < 0)
		return -1;
	if (!o[0].seen)
		return 0;
	if (op->queue_alter.state != BH_FAILED)
		return err_set(e, BH_E_BADARG, "ERROR: only with the state"
		    " failed, not with %s",
		    arg_states[op->queue_alter.state]);
	return arg_hex("ERROR", o[0].value, &op->queue_alter.fingerprint, e);
}

void
cmd_queue_retry(struct cmd_call *call)
{
	struct op *op = alter_new(call, BH_QUEUE_RETRY, counted);
	struct err e;

	if (parse_fingerprint(op, 2, &e) < 0)
		op_fail(op, &e);
	else
		alter_send(op);
}

void
cmd_queue_purge(struct cmd_call *call)
{
	struct op *op = alter_new(call, BH_QUEUE_PURGE, counted);
	struct err e;
	int rc = arg_state(call->argv[2], &op->queue_alter.state, &e);

	if (rc == 0 && op->queue_alter.state == BH_ACTIVE)
		rc = err_set(&e, BH_E_BADARG, "state: active jobs cannot be"
		    " purged; waiting, delayed, completed or failed is"
		    " expected");
	if (rc == 0)
		rc = parse_fingerprint(op, 3, &e);
	if (rc < 0)
		op_fail(op, &e);
	else
		alter_send(op);
}
