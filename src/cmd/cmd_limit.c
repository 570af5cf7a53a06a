/* SPDX-License-Identifier: MIT */
/* Rate limiters: CL.THROTTLE as the redis-cell module has it, LIMIT.TAKE for
 * several windows at once. */
#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/op.h"
#include "cmd/rows.h"

/* The backend judges them; these only keep the sums below from overflow. */
#define NUMBER_MAX INT64_C(1000000000)
#define PERIOD_MAX_S INT64_C(31622400)
#define WINDOWS_MAX 8

static struct op *
take_new(struct cmd_call *call, size_t nwindows, bh_done_fn *done)
{
	struct op *op = op_new(call);

	op->windows = xcalloc(nwindows, sizeof(struct bh_window));
	op->throttle = (struct bh_throttle){.req.done = done,
	    .key = call->argv[1], .quantity = 1, .windows = op->windows,
	    .nwindows = nwindows};
	return op;
}

static void
take_send(struct op *op)
{
	op->call->env->ops->throttle(op->call->env->be, &op->throttle);
}

/* A part of a second counts as one, so that nobody comes back too early. */
static int64_t
seconds(int64_t ms)
{
	return ms < 0 ? -1 : ms / 1000 + (ms % 1000 != 0);
}

static void
throttled(struct bh_req *req)
{
	struct op *op = op_of(req);
	const struct bh_window *w = op->windows;
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	r->ops->array(r, 5);
	r->ops->integer(r, !op->throttle.allowed);
	r->ops->integer(r, w->burst);
	r->ops->integer(r, w->remaining);
	r->ops->integer(r, seconds(w->retry_ms));
	r->ops->integer(r, seconds(w->reset_ms));
	op_end(op);
}

void
cmd_cl_throttle(struct cmd_call *call)
{
	struct op *op = take_new(call, 1, throttled);
	struct bh_window *w = op->windows;
	int64_t period_s = 0;
	struct err e;
	int rc = 0;

	if (call->argc > 6)
		rc = err_set(&e, BH_E_ERR, "syntax error: CL.THROTTLE takes"
		    " key max_burst count period_s [quantity]");
	if (rc == 0)
		rc = arg_int("max_burst", call->argv[2], 0, NUMBER_MAX - 1,
		    &w->burst, &e);
	if (rc == 0)
		rc = arg_int("count", call->argv[3], 1, NUMBER_MAX, &w->limit,
		    &e);
	if (rc == 0)
		rc = arg_int("period_s", call->argv[4], 1, PERIOD_MAX_S,
		    &period_s, &e);
	if (rc == 0 && call->argc == 6)
		rc = arg_int("quantity", call->argv[5], 0, NUMBER_MAX,
		    &op->throttle.quantity, &e);
	if (rc < 0) {
		op_fail(op, &e);
		return;
	}
	w->burst++;
	w->per_ms = period_s * 1000;
	take_send(op);
}

static void
taken(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	r->ops->map(r, 2);
	reply_str(r, "allowed");
	r->ops->boolean(r, op->throttle.allowed);
	reply_str(r, "windows");
	r->ops->array(r, op->throttle.nwindows);
	for (size_t i = 0; i < op->throttle.nwindows; i++) {
		const struct bh_window *w = &op->windows[i];

		r->ops->map(r, 4);
		reply_pair_int(r, "limit", w->limit);
		reply_pair_int(r, "remaining", w->remaining);
		reply_pair_int(r, "reset_ms", w->reset_ms);
		reply_pair_int(r, "retry_ms", w->retry_ms);
	}
	op_end(op);
}

static int
parse_windows(struct op *op, struct err *e)
{
	const struct bh_bytes *v = &op->call->argv[4];

	for (size_t i = 0; i < op->throttle.nwindows; i++, v += 3) {
		struct bh_window *w = &op->windows[i];

		if (arg_int("limit", v[0], 1, NUMBER_MAX, &w->limit, e) < 0 ||
		    arg_int("per_ms", v[1], 1, PERIOD_MAX_S * 1000,
		    &w->per_ms, e) < 0 ||
		    arg_int("burst", v[2], 1, NUMBER_MAX, &w->burst, e) < 0)
			return -1;
	}
	return 0;
}

void
cmd_limit_take(struct cmd_call *call)
{
	struct err e;
	struct op *op;
	int64_t n = 0;
	int rc;

	rc = arg_int("n", call->argv[3], 1, WINDOWS_MAX, &n, &e);
	if (rc == 0 && call->argc != 4 + 3 * (size_t)n)
		rc = err_set(&e, BH_E_ERR, "syntax error: LIMIT.TAKE takes key"
		    " quantity n, then limit per_ms burst for each of the n"
		    " windows");
	if (rc < 0) {
		cmd_fail(call, &e);
		return;
	}
	op = take_new(call, (size_t)n, taken);
	if (arg_int("quantity", call->argv[2], 0, NUMBER_MAX,
	    &op->throttle.quantity, &e) < 0 || parse_windows(op, &e) < 0)
		op_fail(op, &e);
	else
		take_send(op);
}
