/* SPDX-License-Identifier: MIT */
/* The functions behind the rows of cmd.def, and what they share. */
#ifndef CMD_ROWS_H
#define CMD_ROWS_H

#include "cmd/cmd.h"

#define CMD(name, arity, role, flags, fn, args, help) cmd_fn fn;
#include "cmd/cmd.def"
#undef CMD

cmd_fn cmd_key;				/* of all rows of keyspace.def */

/* Of CLIENT, in cmd_client.c. */
cmd_fn client_info;
cmd_fn client_list;
cmd_fn client_kill;
cmd_fn client_unblock_id;

/* Of BELLHOP, in files of their own. */
cmd_fn bellhop_alerts;
cmd_fn bellhop_events;
cmd_fn bellhop_health;
cmd_fn bellhop_metrics;
/* BELLHOP TOKEN, in cmd_token.c. */
cmd_fn bellhop_token;

/* A container command's own table; arity counts both names. */
struct cmd_sub {
	const char *name;
	int arity;
	enum cmd_role role;
	cmd_fn *fn;
	const char *args;
	const char *help;
};

/* Finds argv[1] in subs and runs it, or answers HELP or the error. */
void cmd_sub(struct cmd_call *call, const struct cmd_sub *subs, size_t n);
/* The end of a call with the answer OK, or with an error that travelled. */
void cmd_ok(struct cmd_call *call);
void cmd_fail(struct cmd_call *call, const struct err *e);

#endif
