/* SPDX-License-Identifier: MIT */
#include "cmd/slowlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/sys/queue.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/rows.h"

/* As Redis keeps them: 32 arguments of 128 bytes. */
#define MAX_ARGS 32
#define MAX_ARG 128

struct slow {
	int64_t id;
	int64_t at;			/* wall ms */
	int64_t us;
	char *addr;
	char *name;
	size_t argc;
	char *argv[MAX_ARGS];
	TAILQ_ENTRY(slow) entry;
};

struct slowlog {
	TAILQ_HEAD(slow_list, slow) list;	/* newest first */
	int64_t len;
	int64_t next_id;
};

static void
slow_free(struct slowlog *s, struct slow *one)
{
	TAILQ_REMOVE(&s->list, one, entry);
	s->len--;
	for (size_t i = 0; i < one->argc; i++)
		free(one->argv[i]);
	free(one->addr);
	free(one->name);
	free(one);
}

static void
trim(struct slowlog *s, int64_t max)
{
	while (s->len > max)
		slow_free(s, TAILQ_LAST(&s->list, slow_list));
}

static char *
keep_arg(const struct cmd_call *call, size_t i)
{
	const struct bh_bytes *v = &call->argv[i];

	if (cmd_is_secret(call, i))
		return xstrdup("(redacted)");
	if (i == MAX_ARGS - 1 && call->argc > MAX_ARGS)
		return xasprintf("... (%zu more arguments)",
		    call->argc - MAX_ARGS + 1);
	if (v->len > MAX_ARG)
		return xasprintf("%.*s... (%zu more bytes)", MAX_ARG, v->data,
		    v->len - MAX_ARG);
	return xstrndup(v->data, v->len);
}

void
slowlog_add(struct cmd_env *env, const struct cmd_call *call, int64_t us)
{
	struct slowlog *s = env->slowlog;
	struct slow *one;

	if (env->conf->slowlog_max_len == 0)
		return;
	if (!s) {
		s = env->slowlog = xcalloc(1, sizeof(*s));
		TAILQ_INIT(&s->list);
	}
	one = xcalloc(1, sizeof(*one));
	one->id = s->next_id++;
	one->at = clock_now().wall_ms;
	one->us = us;
	one->addr = xstrdup(call->who->addr);
	one->name = xstrdup(call->who->name ? call->who->name : "");
	one->argc = call->argc < MAX_ARGS ? call->argc : MAX_ARGS;
	for (size_t i = 0; i < one->argc; i++)
		one->argv[i] = keep_arg(call, i);
	TAILQ_INSERT_HEAD(&s->list, one, entry);
	s->len++;
	trim(s, env->conf->slowlog_max_len);
}

void
slowlog_free(struct slowlog **sp)
{
	if (!*sp)
		return;
	trim(*sp, 0);
	free(*sp);
	*sp = NULL;
}

static void
slowlog_get(struct cmd_call *call)
{
	struct slowlog *s = call->env->slowlog;
	struct reply *r = call->reply;
	int64_t n = 10, have = s ? s->len : 0;
	struct slow *one = s ? TAILQ_FIRST(&s->list) : NULL;
	struct err e;

	if (call->argc == 3 &&
	    arg_int("count", call->argv[2], -1, INT32_MAX, &n, &e) < 0) {
		cmd_fail(call, &e);
		return;
	}
	if (n < 0 || n > have)
		n = have;
	r->ops->array(r, (size_t)n);
	for (; n > 0; n--, one = TAILQ_NEXT(one, entry)) {
		r->ops->array(r, 6);
		r->ops->integer(r, one->id);
		r->ops->integer(r, one->at / 1000);
		r->ops->integer(r, one->us);
		r->ops->array(r, one->argc);
		for (size_t i = 0; i < one->argc; i++)
			reply_str(r, one->argv[i]);
		reply_str(r, one->addr);
		reply_str(r, one->name);
	}
	cmd_done(call);
}

static void
slowlog_len(struct cmd_call *call)
{
	struct slowlog *s = call->env->slowlog;

	call->reply->ops->integer(call->reply, s ? s->len : 0);
	cmd_done(call);
}

static void
slowlog_reset(struct cmd_call *call)
{
	if (call->env->slowlog)
		trim(call->env->slowlog, 0);
	cmd_ok(call);
}

static const struct cmd_sub subs[] = {
	{"GET", -2, ROLE_ADMIN, slowlog_get, "[count]",
	    "Shows the newest slow commands (10); -1 shows all."},
	{"LEN", 2, ROLE_ADMIN, slowlog_len, "", "Counts them."},
	{"RESET", 2, ROLE_ADMIN, slowlog_reset, "", "Forgets them."},
};

void
cmd_slowlog(struct cmd_call *call)
{
	cmd_sub(call, subs, nitems(subs));
}
