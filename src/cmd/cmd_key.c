/* SPDX-License-Identifier: MIT */
/* Commands of the keyspace: all of them go to the backend as they are, and
 * its answer goes to the client as it is. */
#include "cmd/op.h"
#include "cmd/resp3.h"
#include "cmd/rows.h"
#include "cmd/session.h"

/* As if its time were over, or told so. */
static void
put_unblocked(struct cmd_call *call)
{
	struct reply *r = call->reply;

	if (call->unblock == UNBLOCK_ERROR)
		r->ops->error_line(r, "UNBLOCKED client unblocked via CLIENT"
		    " UNBLOCK");
	else
		r->ops->null_array(r);
}

static void
answered(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct cmd_call *call = op->call;

	/* Who has hung up while it waited hears nothing: Redis' clients take
	 * an error for one of theirs. */
	if (req->status == BH_E_CANCELED && call->canceled &&
	    !call->env->draining) {
		if (call->unblock != UNBLOCK_NONE)
			put_unblocked(call);
		op_end(op);
		return;
	}
	if (op_failed(op))
		return;
	if (op->key.value->type == BH_ERROR)
		call->env->stats.errors++;
	(void)resp3_reply(call->reply, call->argv, call->argc, op->key.value);
	op_end(op);
}

void
cmd_key(struct cmd_call *call)
{
	struct op *op = op_new(call);

	op->key = (struct bh_key_command){.req.done = answered,
	    .argv = call->argv, .argc = call->argc,
	    .client = session_client(call->who),
	    .admin = role_allows(call->who->role, ROLE_ADMIN)};
	if (call->row->flags & CMD_BLOCKS) {
		op->busy = &op->req;
		call->waits = true;
	}
	call->env->ops->key_command(call->env->be, &op->key);
}

static void
published(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (op_failed(op))
		return;
	op->call->reply->ops->integer(op->call->reply, op->publish.receivers);
	op_end(op);
}

void
cmd_publish(struct cmd_call *call)
{
	struct op *op = op_new(call);

	op->publish = (struct bh_publish){.req.done = published,
	    .topic = call->argv[1], .message = call->argv[2]};
	call->env->ops->publish(call->env->be, &op->publish);
}

/* There are no shards: a channel is a channel. */
void
cmd_spublish(struct cmd_call *call)
{
	cmd_publish(call);
}
