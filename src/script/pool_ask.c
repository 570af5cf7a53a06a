/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "cmd/rows.h"
#include "cmd/session.h"
#include "front/resp_sink.h"
#include "script/pool_impl.h"

/* A script's command under way. */
struct ask_call {
	struct cmd_call call;
	struct resp_sink sink;
	struct pool *pool;
	struct ask *ask;
};

/* News of a job's progress, or a step of it, under way. */
struct ask_extend {
	struct bh_extend r;
	struct pool *pool;
	struct ask *ask;
};

void
pool_ask_answer(struct pool *p, struct ask *a)
{
	a->m.kind = TO_ANSWER;
	worker_send(p->threads[a->m.worker].worker, &a->m);
}

static struct session *
session_of(struct pool *p, const char *script)
{
	struct asker *k;

	TAILQ_FOREACH(k, &p->askers, entry)
		if (strcmp(k->who.addr, script) == 0)
			return &k->who;
	k = xcalloc(1, sizeof(*k));
	session_init(&k->who, ++p->next_session, "script", script,
	    ROLE_OPERATOR);
	k->who.proto = 3;
	TAILQ_INSERT_TAIL(&p->askers, k, entry);
	return &k->who;
}

void
pool_askers_free(struct pool *p)
{
	struct asker *k;

	while ((k = TAILQ_FIRST(&p->askers))) {
		TAILQ_REMOVE(&p->askers, k, entry);
		session_done(&k->who);
		free(k);
	}
}

static void
call_done(struct cmd_call *call)
{
	struct ask_call *c = call->user;

	if (c->ask->what == ASK_HOLD)
		pool_hold(c->pool, c->ask);
	pool_ask_answer(c->pool, c->ask);
	free(c);
}

static void
extended(struct bh_req *req)
{
	struct ask_extend *x = req->user;
	struct ask *a = x->ask;

	/* Whether the attempt still holds the job: true or false. */
	if (req->status == BH_OK || req->status == BH_E_STALE)
		resp_put_bool(&a->reply, 3, req->status == BH_OK);
	else
		resp_put_error(&a->reply, err_word(req->status), req->text);
	pool_ask_answer(x->pool, a);
	free(x);
}

static void
extend(struct pool *p, struct ask *a)
{
	struct ask_extend *x = xcalloc(1, sizeof(*x));

	x->pool = p;
	x->ask = a;
	x->r.req.done = extended;
	x->r.req.user = x;
	x->r.id = a->id;
	x->r.token = a->token;
	x->r.lease_ms = -1;
	if (a->argc == 3)
		x->r.step = (struct bh_step){a->argv[1], a->argv[2]};
	else
		x->r.progress = a->argv[1];
	p->env->ops->job_extend(p->env->be, &x->r);
}

/* redis() reaches the keyspace and nothing else. */
static bool
is_allowed(struct pool *p, struct ask *a)
{
	const struct cmd_row *row = cmd_find(a->argv[0].data, a->argv[0].len);
	char text[200];

	if (a->what != ASK_KEYS || (row && row->fn == cmd_key))
		return true;
	snprintf(text, sizeof(text), "redis: '%.*s' is no command of the"
	    " keyspace", (int)(a->argv[0].len > 64 ? 64 : a->argv[0].len),
	    a->argv[0].data);
	resp_put_error(&a->reply, err_word(BH_E_ERR), text);
	pool_ask_answer(p, a);
	return false;
}

void
pool_asked(struct pool *p, struct ask *a)
{
	struct ask_call *c;

	if (a->token) {
		extend(p, a);
		return;
	}
	if (pool_flight_asked(p, a) || !is_allowed(p, a))
		return;
	c = xcalloc(1, sizeof(*c));
	c->pool = p;
	c->ask = a;
	resp_sink_init(&c->sink, &a->reply, 3);
	c->call.env = p->env;
	c->call.who = session_of(p, a->src->name);
	c->call.reply = &c->sink.reply;
	c->call.argv = a->argv;
	c->call.argc = a->argc;
	c->call.done = call_done;
	c->call.user = c;
	cmd_run(&c->call);
}
