/* SPDX-License-Identifier: MIT */
#include "cmd/op.h"

#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "cmd/multi.h"
#include "cmd/rows.h"
#include "cmd/session.h"

/* Ops come and go with every command: those of a burst are kept at hand. */
#define SPARE_MAX 1024

static struct op *spare[SPARE_MAX];
static size_t nspare;

static void
op_cancel(struct cmd_call *call)
{
	struct op *op = call->state;

	if (op->busy)
		call->env->ops->cancel(call->env->be, op->busy);
}

struct op *
op_new(struct cmd_call *call)
{
	struct op *op = nspare > 0 ? spare[--nspare] : xmalloc(sizeof(*op));

	op->call = call;
	op->busy = NULL;
	op->why = NULL;
	op->ids = NULL;
	op->windows = NULL;
	op->also = NULL;
	op->multi = NULL;
	call->state = op;
	call->cancel = op_cancel;
	return op;
}

static struct cmd_call *
op_free(struct op *op)
{
	struct cmd_call *call = op->call;

	free(op->why);
	free(op->ids);
	free(op->windows);
	free(op->also);
	multi_free(&op->multi);
	if (nspare < SPARE_MAX)
		spare[nspare++] = op;
	else
		free(op);
	call->state = NULL;
	call->cancel = NULL;
	return call;
}

void
op_end(struct op *op)
{
	cmd_done(op_free(op));
}

void
op_ok(struct op *op)
{
	cmd_ok(op_free(op));
}

void
op_fail(struct op *op, const struct err *e)
{
	cmd_fail(op_free(op), e);
}

bool
op_failed(struct op *op)
{
	const struct bh_req *req = &op->req;
	struct cmd_env *env = op->call->env;
	struct err e;

	if (req->status == BH_OK)
		return false;
	/* A parked call that ends with the daemon, not with its client. */
	if (req->status == BH_E_CANCELED && env->draining)
		err_set(&e, BH_E_BUSY, "the daemon is shutting down");
	else
		err_set(&e, req->status, "%s", req->text);
	op_fail(op, &e);
	return true;
}

/* The look at the job that comes before the command itself. */
struct guard {
	struct bh_get get;		/* first */
	struct op *op;
};

static void
guard_done(struct bh_req *req)
{
	struct guard *g = (struct guard *)req;
	struct op *op = g->op;
	const struct bh_job *job = g->get.job;
	struct err e;

	op->busy = NULL;
	if (req->status != BH_OK) {
		err_set(&e, req->status, "%s", req->text);
	} else if (job && !session_may(op->call->who, job->queue)) {
		err_set(&e, BH_E_NOPERM, "the token '%s' does not include the"
		    " queue '%.*s'", op->call->who->user, (int)job->queue.len,
		    job->queue.data);
	} else {
		free(g);
		op->send(op);
		return;
	}
	free(g);
	op_fail(op, &e);
}

void
op_guarded(struct op *op, int64_t id, void (*send)(struct op *op))
{
	struct cmd_env *env = op->call->env;
	struct guard *g;

	op->id = id;
	if (op->call->who->npatterns == 0) {
		send(op);
		return;
	}
	g = xcalloc(1, sizeof(*g));
	g->op = op;
	g->get.req.done = guard_done;
	g->get.id = id;
	g->get.wait_ms = -1;
	op->send = send;
	op->busy = &g->get.req;
	env->ops->job_get(env->be, &g->get);
}
