/* SPDX-License-Identifier: MIT */
/*
 * MULTI, EXEC, DISCARD, WATCH, UNWATCH. What belongs to the backend goes there
 * as one request; what answers by itself (PING, SELECT 0) does so when the
 * answers are written, in its place.
 */
#include "base/clock.h"
#include "base/die.h"
#include "base/xalloc.h"
#include "cmd/key_reply.h"
#include "cmd/multi.h"
#include "cmd/op.h"
#include "cmd/resp3.h"
#include "cmd/rows.h"
#include "cmd/session.h"

void
cmd_multi(struct cmd_call *call)
{
	struct session *who = call->who;

	if (who->multi) {
		cmd_error(call, BH_E_ERR, "MULTI calls can not be nested");
	} else if (!session_client(who)) {
		cmd_error(call, BH_E_ERR, "MULTI needs a connection of its"
		    " own: scripts and HTTP have none; see EVAL");
	} else {
		who->multi = multi_new();
		cmd_ok(call);
	}
}

void
cmd_discard(struct cmd_call *call)
{
	if (!call->who->multi) {
		cmd_error(call, BH_E_ERR, "DISCARD without MULTI");
		return;
	}
	multi_leave(call->env, call->who);
	cmd_ok(call);
}

void
cmd_watch(struct cmd_call *call)
{
	if (call->who->multi) {
		cmd_error(call, BH_E_ERR, "WATCH inside MULTI is not allowed");
	} else if (!session_client(call->who)) {
		cmd_error(call, BH_E_ERR, "WATCH needs a connection of its"
		    " own: scripts and HTTP have none; see EVAL");
	} else {
		call->who->watching = true;
		cmd_key(call);
	}
}

void
cmd_unwatch(struct cmd_call *call)
{
	multi_leave(call->env, call->who);
	cmd_ok(call);
}

/* --- EXEC --- */

/* Whether the backend runs it; the others answer by themselves. */
static bool
is_sent(const struct multi_item *it)
{
	return !(it->row->flags & CMD_AT_ONCE) && it->row->fn != cmd_unwatch;
}

static void
nested_done(struct cmd_call *call)
{
	*(bool *)call->user = true;
}

static void
run_at_once(struct cmd_call *call, const struct multi_item *it)
{
	bool done = false;
	struct cmd_call nested = {.env = call->env, .who = call->who,
	    .reply = call->reply, .argv = it->words.argv,
	    .argc = it->words.argc, .done = nested_done, .user = &done,
	    .row = it->row, .started_us = clock_mono_us()};

	if (it->row->fn == cmd_unwatch) {
		reply_ok(call->reply);
		return;
	}
	it->row->fn(&nested);
	CHECK(done);
}

static void
executed(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;
	const struct bh_value *v = op->key.value, *part;

	if (op_failed(op))
		return;
	if (v->type == BH_ARRAY) {
		part = v + 1;
		CHECK(v->n == op->key.nqueued);
		r->ops->array(r, op->multi->n);
		for (size_t i = 0; i < op->multi->n; i++) {
			const struct multi_item *it = &op->multi->items[i];

			if (is_sent(it))
				part = resp3_reply(r, it->words.argv,
				    it->words.argc, part);
			else
				run_at_once(op->call, it);
		}
	} else {
		key_reply(r, v);
	}
	op_end(op);
}

static void
send(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct multi *m = op->multi = call->who->multi;
	size_t n = 0;

	call->who->multi = NULL;
	m->sent = xcalloc(m->n ? m->n : 1, sizeof(*m->sent));
	for (size_t i = 0; i < m->n; i++)
		if (is_sent(&m->items[i]))
			m->sent[n++] = m->items[i].words;
	op->key = (struct bh_key_command){.req.done = executed,
	    .argv = call->argv, .argc = call->argc,
	    .client = session_client(call->who),
	    .admin = role_allows(call->who->role, ROLE_ADMIN), .queued = m->sent,
	    .nqueued = n};
	call->env->ops->key_command(call->env->be, &op->key);
}

void
cmd_exec(struct cmd_call *call)
{
	const struct multi *m = call->who->multi;

	if (!m) {
		cmd_error(call, BH_E_ERR, "EXEC without MULTI");
	} else if (m->refused) {
		multi_leave(call->env, call->who);
		cmd_error(call, BH_E_EXECABORT, "Transaction discarded because"
		    " of previous errors.");
	} else {
		send(call);
	}
}
