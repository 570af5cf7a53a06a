/* SPDX-License-Identifier: MIT */
/*
 * EXEC: the commands that a connection has queued, as one. It is a walk: when
 * the commands take long, it goes on in the next turn, nobody else's key
 * commands run meanwhile, and all that they write commits together.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "keys/inner.h"

struct tx {
	struct inner inner;
	size_t next;			/* of c->r->queued */
	struct keys *ks;
	struct kreply *unseen;		/* answers past what may be shown */
};

/* Not even begun when a command of it would be refused. */
static bool
may_begin(struct kcall *c)
{
	for (size_t i = 0; i < c->r->nqueued; i++) {
		const struct bh_queued *q = &c->r->queued[i];
		struct kcall one = *c;
		struct err refused = {0};

		one.argv = q->argv;
		one.argc = q->argc;
		one.cmd = inner_find(q->argv[0]);
		if (!one.cmd || !(one.cmd->flags & KF_GROW) ||
		    call_may_grow(&one, &refused))
			continue;
		put_error(c, "EXECABORT Transaction discarded because of: %s"
		    " %s", err_word(refused.code), refused.text);
		return false;
	}
	return true;
}

/* Where the next answer goes: what would be too big is not kept. */
static struct kreply *
next_answer(struct kcall *c, struct tx *t)
{
	if (!put_is_too_big(c))
		return c->re;
	if (t->unseen)
		reply_free(t->ks, t->unseen);
	t->unseen = reply_new(t->ks);
	return t->unseen;
}

static bool
next_command(struct kcall *c, struct tx *t)
{
	const struct bh_queued *q = &c->r->queued[t->next++];
	const struct kcmd *cmd = inner_find(q->argv[0]);

	if (cmd)
		return inner_run(&t->inner, c, cmd, q->argv, q->argc,
		    next_answer(c, t));
	c->begin = c->re->n;
	put_error(c, "ERR unknown command '%.*s'",
	    (int)(q->argv[0].len > 128 ? 128 : q->argv[0].len),
	    q->argv[0].data);
	c->begin = 0;
	return true;
}

static bool
exec_step(struct kcall *c)
{
	struct tx *t = c->state;
	int64_t began = clock_mono_us();

	if (t->inner.goes_on && !inner_step(&t->inner, c))
		return true;
	while (t->next < c->r->nqueued) {
		if (!next_command(c, t))
			return true;
		if (t->next < c->r->nqueued && slice_over(began))
			return true;
	}
	inner_end(&t->inner, c);
	return false;
}

static void
exec_drop(void *state)
{
	struct tx *t = state;

	inner_done(&t->inner);
	if (t->unseen)
		reply_free(t->ks, t->unseen);
	free(t);
}

void
k_exec(struct kcall *c)
{
	struct tx *t;

	if (watch_end(c)) {
		put_null_array(c);
		return;
	}
	if (!may_begin(c))
		return;
	t = xcalloc(1, sizeof(*t));
	t->ks = c->ks;
	inner_init(&t->inner);
	put_array(c, c->r->nqueued);
	c->state = t;
	c->step = exec_step;
	c->drop = exec_drop;
}
