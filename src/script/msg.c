/* SPDX-License-Identifier: MIT */
#include "script/msg.h"

#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "script/lua_ask.h"

struct note *
note_new(enum msg_kind kind, struct source *src, uint64_t token)
{
	struct note *n = xcalloc(1, sizeof(*n));

	n->m.kind = kind;
	n->src = src ? source_ref(src) : NULL;
	n->token = token;
	return n;
}

static void
note_free(struct msg *m)
{
	struct note *n = (struct note *)m;

	source_unref(&n->src);
	free(n);
}

void
run_end_clear(struct run_end *end)
{
	free(end->text);
	free(end->step);
	*end = (struct run_end){.outcome = BH_DONE, .delay_ms = -1};
}

static void
run_msg_free(struct msg *m)
{
	struct run_msg *r = (struct run_msg *)m;
	size_t i;

	for (i = 0; i < r->njobs; i++)
		run_msg_free(&r->jobs[i]->m);
	free(r->jobs);
	source_unref(&r->src);
	run_end_clear(&r->end);
	free(r->steps);
	free(r);
}

static void
ask_msg_free(struct msg *m)
{
	struct ask *a = (struct ask *)m;

	ask_free(&a);
}

static void
scan_free(struct msg *m)
{
	struct scan *s = (struct scan *)m;
	size_t i;

	for (i = 0; i < s->nfiles; i++) {
		source_unref(&s->files[i].src);
		free(s->files[i].file);
		free(s->files[i].error);
	}
	free(s->files);
	free(s->dir);
	free(s->error);
	script_env_unref(&s->env);
	free(s);
}

static void
check_free(struct msg *m)
{
	struct check *c = (struct check *)m;

	source_unref(&c->src);
	free(c->error);
	free(c);
}

void
msg_free(struct msg *m)
{
	static void (*const fns[MSG_KINDS])(struct msg *) = {
		[TO_RUN] = run_msg_free,
		[TO_ANSWER] = ask_msg_free,
		[TO_CANCEL] = note_free,
		[TO_SCAN] = scan_free,
		[TO_CHECK] = check_free,
		[TO_LOAD] = note_free,
		[TO_RETIRE] = note_free,
		[TO_ABORT] = note_free,
		[TO_STOP] = note_free,
		[FROM_ENDED] = run_msg_free,
		[FROM_ASK] = ask_msg_free,
		[FROM_SCANNED] = scan_free,
		[FROM_CHECKED] = check_free,
		[FROM_CHANGED] = note_free,
		[FROM_GRACE] = note_free,
	};

	CHECK(m->kind >= 0 && m->kind < MSG_KINDS);
	fns[m->kind](m);
}

void
msg_free_chain(struct mail *mail)
{
	while (mail) {
		struct mail *next = mail->next;

		msg_free((struct msg *)mail);
		mail = next;
	}
}
