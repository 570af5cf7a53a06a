/* SPDX-License-Identifier: MIT */
/*
 * What a connection has queued between MULTI and EXEC: copies of the commands.
 * Each was checked when it came (name, arity, role); one that was refused
 * makes EXEC answer EXECABORT. Their bytes together are limited as those of
 * one request are (max_request, max_arguments).
 *
 * Main thread only.
 */
#ifndef CMD_MULTI_H
#define CMD_MULTI_H

#include "cmd/cmd.h"
#include "cmd/env.h"

struct multi_item {
	const struct cmd_row *row;
	struct bh_queued words;		/* one allocation, with its bytes */
};

struct multi {
	struct multi_item *items;
	size_t n, cap;
	size_t words, bytes;		/* of all items */
	bool refused;			/* something was: EXEC will not run */
	struct bh_queued *sent;		/* EXEC's, of the backend's commands */
};

struct multi *multi_new(void);
void multi_free(struct multi **m);

/* Whether this row's commands are queued, not run. */
bool multi_takes(const struct cmd_row *row);
/* Queues the call of a session in MULTI and answers it. */
void multi_queue(struct cmd_call *call);
/* A command of a session in MULTI was refused. */
void multi_refused(struct session *who);
/* How many are queued; -1 without MULTI. */
int multi_length(const struct session *who);

/* Forgets what is queued. */
void multi_drop(struct session *who);
/* The same, and watches no keys any more: RESET, or the client has gone. */
void multi_leave(struct cmd_env *env, struct session *who);

#endif
