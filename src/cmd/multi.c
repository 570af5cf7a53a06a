/* SPDX-License-Identifier: MIT */
#include "cmd/multi.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "cmd/rows.h"
#include "cmd/session.h"

/* What an item costs beside its bytes. */
enum { ITEM_BYTES = 64 };

struct multi *
multi_new(void)
{
	return xcalloc(1, sizeof(struct multi));
}

void
multi_free(struct multi **mp)
{
	struct multi *m = *mp;

	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		free((void *)(uintptr_t)m->items[i].words.argv);
	free(m->items);
	free(m->sent);
	free(m);
	*mp = NULL;
}

bool
multi_takes(const struct cmd_row *row)
{
	return row->fn != cmd_multi && row->fn != cmd_exec &&
	    row->fn != cmd_discard && row->fn != cmd_watch &&
	    row->fn != cmd_quit && row->fn != cmd_reset;
}

static bool
may_queue(const struct cmd_row *row)
{
	return row->flags & CMD_AT_ONCE || row->fn == cmd_key ||
	    row->fn == cmd_publish || row->fn == cmd_cl_throttle ||
	    row->fn == cmd_unwatch;
}

static struct bh_queued
copy(const struct cmd_call *call, size_t bytes)
{
	struct bh_bytes *argv = xmalloc(call->argc * sizeof(*argv) + bytes);
	char *at = (char *)&argv[call->argc];

	for (size_t i = 0; i < call->argc; i++) {
		struct bh_bytes v = call->argv[i];

		if (v.len)
			memcpy(at, v.data, v.len);
		argv[i] = (struct bh_bytes){at, v.len};
		at += v.len;
	}
	return (struct bh_queued){argv, call->argc};
}

static bool
has_room(struct cmd_call *call, const struct multi *m, size_t bytes)
{
	const struct conf *conf = call->env->conf;

	if (!conf)
		return true;
	if (m->words + call->argc > (size_t)conf->max_arguments)
		cmd_error(call, BH_E_TOOBIG, "the commands since MULTI have"
		    " more than %lld arguments (max_arguments)",
		    (long long)conf->max_arguments);
	else if (m->bytes + bytes + ITEM_BYTES > (size_t)conf->max_request)
		cmd_error(call, BH_E_TOOBIG, "the commands since MULTI have"
		    " more than %lld bytes (max_request)",
		    (long long)conf->max_request);
	else
		return true;
	return false;
}

void
multi_queue(struct cmd_call *call)
{
	struct multi *m = call->who->multi;
	size_t bytes = 0;

	for (size_t i = 0; i < call->argc; i++)
		bytes += call->argv[i].len;
	if (!may_queue(call->row)) {
		m->refused = true;
		cmd_error(call, BH_E_ERR, "%s is not allowed inside MULTI",
		    call->row->name);
		return;
	}
	if (!has_room(call, m, bytes)) {
		m->refused = true;
		return;
	}
	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 8;
		m->items = xrealloc(m->items, m->cap * sizeof(*m->items));
	}
	m->items[m->n++] = (struct multi_item){call->row, copy(call, bytes)};
	m->words += call->argc;
	m->bytes += bytes + ITEM_BYTES;
	call->reply->ops->simple(call->reply, "QUEUED");
	cmd_done(call);
}

void
multi_refused(struct session *who)
{
	who->multi->refused = true;
}

int
multi_length(const struct session *who)
{
	return who->multi ? (int)who->multi->n : -1;
}

void
multi_drop(struct session *who)
{
	multi_free(&who->multi);
}

/* An UNWATCH that nobody waits for. */
struct leave {
	struct bh_key_command key;	/* first */
	struct bh_bytes word;
};

static void
left(struct bh_req *req)
{
	free(req);
}

void
multi_leave(struct cmd_env *env, struct session *who)
{
	struct leave *l;

	multi_drop(who);
	if (!who->watching)
		return;
	who->watching = false;
	if (!env->be)
		return;			/* the store has gone before it */
	l = xcalloc(1, sizeof(*l));
	l->word = (struct bh_bytes){"UNWATCH", 7};
	l->key = (struct bh_key_command){.req.done = left, .argv = &l->word,
	    .argc = 1, .client = session_client(who)};
	env->ops->key_command(env->be, &l->key);
}
