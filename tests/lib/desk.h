/* SPDX-License-Identifier: MIT */
/*
 * A desk where one caller's commands are tried: lines of words go in, answers
 * come out as RESP; behind it stands the backend of lib/cmdfake.h.
 */
#ifndef LIB_DESK_H
#define LIB_DESK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "cmd/env.h"
#include "cmd/session.h"
#include "front/resp_sink.h"
#include "lib/cmdfake.h"

struct desk {
	struct cmdfake be;
	struct cmd_env env;
	struct conf *conf;
	struct session who;
	struct cmd_call call;
	struct resp_sink sink;
	struct buf out;
	char line[1000];
	struct bh_bytes argv[60];
	int ends;
	int shutdowns;
};

static inline int
desk_setup(void **state)
{
	struct desk *d = xcalloc(1, sizeof(*d));

	d->conf = conf_new();
	d->conf->slowlog_slower_than = 0;
	d->env = (struct cmd_env){.ops = &cmdfake_ops, .be = &d->be,
	    .conf = d->conf, .arg = d};
	session_init(&d->who, 7, "resp", "127.0.0.1:5012", ROLE_ADMIN);
	*state = d;
	return 0;
}

static inline int
desk_teardown(void **state)
{
	struct desk *d = *state;

	assert_int_equal(d->be.n, 0);
	buf_done(&d->out);
	session_done(&d->who);
	cmd_env_done(&d->env);
	conf_free(&d->conf);
	free(d);
	return 0;
}

static inline void
desk_done(struct cmd_call *call)
{
	((struct desk *)call->user)->ends++;
}

/* Words are split at blanks; "~" is an empty one. */
static inline void
desk_send(struct desk *d, const char *line)
{
	char *save, *word;
	size_t n = 0;

	buf_reset(&d->out, 4096);
	d->ends = 0;
	snprintf(d->line, sizeof(d->line), "%s", line);
	for (word = strtok_r(d->line, " ", &save); word;
	    word = strtok_r(NULL, " ", &save))
		d->argv[n++] = (struct bh_bytes){word,
		    strcmp(word, "~") == 0 ? 0 : strlen(word)};
	resp_sink_init(&d->sink, &d->out, d->who.proto);
	d->call = (struct cmd_call){.env = &d->env, .who = &d->who,
	    .reply = &d->sink.reply, .argv = d->argv, .argc = n,
	    .done = desk_done, .user = d};
	cmd_run(&d->call);
}

/* Sends a line, lets the backend answer everything, returns the answer. */
static inline const char *
desk_ask(struct desk *d, const char *line)
{
	desk_send(d, line);
	cmdfake_answer_all(&d->be);
	assert_int_equal(d->ends, 1);
	return buf_str(&d->out);
}

/* What a line is answered with. */
#define ASK(line, want) assert_string_equal(desk_ask(d, line), want)

static inline void
desk_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
}

#endif
