/* SPDX-License-Identifier: MIT */
/* COMMAND: the table of commands as Redis' clients expect it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/cmd_keys.h"
#include "cmd/rows.h"
#include "cmd/version.h"

static void
put_lower(struct reply *r, const char *name)
{
	char low[40];
	size_t n = 0;

	for (; name[n] && n < sizeof(low); n++)
		low[n] = (char)tolower((unsigned char)name[n]);
	r->ops->bulk(r, low, n);
}

static const struct {
	unsigned flag;
	const char *name;
} flag_names[] = {
	{CMD_WRITE, "write"}, {CMD_ADMIN, "admin"}, {CMD_FAST, "fast"},
	{CMD_BLOCKS, "blocking"}, {CMD_NOAUTH, "no_auth"},
	{CMD_MOVABLE, "movablekeys"},
};

/* Redis 7 has ten parts for each command. */
static void
put_row(struct reply *r, const struct cmd_row *row)
{
	size_t n = 0;

	for (size_t i = 0; i < nitems(flag_names); i++)
		n += (row->flags & flag_names[i].flag) != 0;
	r->ops->array(r, 10);
	put_lower(r, row->name);
	r->ops->integer(r, row->arity);
	r->ops->set(r, n);
	for (size_t i = 0; i < nitems(flag_names); i++)
		if (row->flags & flag_names[i].flag)
			r->ops->simple(r, flag_names[i].name);
	r->ops->integer(r, row->first_key);
	r->ops->integer(r, row->last_key);
	r->ops->integer(r, row->key_step);
	r->ops->set(r, 0);		/* ACL categories */
	r->ops->array(r, 0);		/* tips */
	r->ops->array(r, 0);		/* key specifications */
	r->ops->array(r, 0);		/* subcommands */
}

static void
put_all(struct cmd_call *call)
{
	size_t n;
	const struct cmd_row *rows = cmd_table(&n);

	call->reply->ops->array(call->reply, n);
	for (size_t i = 0; i < n; i++)
		put_row(call->reply, &rows[i]);
	cmd_done(call);
}

static void
command_count(struct cmd_call *call)
{
	size_t n;

	(void)cmd_table(&n);
	call->reply->ops->integer(call->reply, (int64_t)n);
	cmd_done(call);
}

static void
command_info(struct cmd_call *call)
{
	struct reply *r = call->reply;

	if (call->argc == 2) {
		put_all(call);
		return;
	}
	r->ops->array(r, call->argc - 2);
	for (size_t i = 2; i < call->argc; i++) {
		const struct cmd_row *row = cmd_find(call->argv[i].data,
		    call->argv[i].len);

		if (row)
			put_row(r, row);
		else
			r->ops->null_array(r);
	}
	cmd_done(call);
}

static const char *
group_of(const char *name)
{
	static const struct {
		const char *pattern, *group;
	} groups[] = {
#define GROUP(pattern, group) {pattern, group},
#include "cmd/group.def"
#undef GROUP
	};
	size_t i = 0;

	while (!str_glob(groups[i].pattern, strlen(groups[i].pattern), name,
	    strlen(name)))
		i++;
	return groups[i].group;
}

static void
put_doc(struct reply *r, const struct cmd_row *row)
{
	put_lower(r, row->name);
	r->ops->map(r, 4);
	reply_pair_str(r, "summary", row->help);
	reply_pair_str(r, "since", BELLHOP_VERSION);
	reply_pair_str(r, "group", group_of(row->name));
	reply_pair_str(r, "syntax", row->args);
}

static void
command_docs(struct cmd_call *call)
{
	struct reply *r = call->reply;
	const struct cmd_row *row;
	size_t n, known = 0;
	const struct cmd_row *rows = cmd_table(&n);

	if (call->argc == 2) {
		r->ops->map(r, n);
		for (size_t i = 0; i < n; i++)
			put_doc(r, &rows[i]);
		cmd_done(call);
		return;
	}
	for (size_t i = 2; i < call->argc; i++)
		known += cmd_find(call->argv[i].data,
		    call->argv[i].len) != NULL;
	r->ops->map(r, known);
	for (size_t i = 2; i < call->argc; i++) {
		row = cmd_find(call->argv[i].data, call->argv[i].len);
		if (row)
			put_doc(r, row);
	}
	cmd_done(call);
}

static void
command_list(struct cmd_call *call)
{
	struct reply *r = call->reply;
	size_t n;
	const struct cmd_row *rows = cmd_table(&n);

	r->ops->array(r, n);
	for (size_t i = 0; i < n; i++)
		put_lower(r, rows[i].name);
	cmd_done(call);
}

static void
command_getkeys(struct cmd_call *call)
{
	const struct bh_bytes *argv = call->argv + 2;
	size_t argc = call->argc - 2, *places;
	const struct cmd_row *row = cmd_find(argv[0].data, argv[0].len);
	struct reply *r = call->reply;
	int n;

	if (!row || !cmd_has_keys(row)) {
		cmd_error(call, BH_E_ERR, row ? "The command has no key"
		    " arguments" : "Invalid command specified");
		return;
	}
	if (row->arity > 0 ? argc != (size_t)row->arity :
	    argc < (size_t)-row->arity) {
		cmd_error(call, BH_E_ERR, "Invalid number of arguments"
		    " specified for command");
		return;
	}
	places = xcalloc(argc, sizeof(*places));
	n = cmd_keys(row, argv, argc, places);
	if (n > 0) {
		r->ops->array(r, (size_t)n);
		for (int i = 0; i < n; i++)
			reply_bytes(r, argv[places[i]]);
		cmd_done(call);
	} else {
		cmd_error(call, BH_E_ERR, n < 0 ? "Invalid arguments"
		    " specified for command" : "The command has no key"
		    " arguments");
	}
	free(places);
}

static const struct cmd_sub subs[] = {
	{"COUNT", 2, ROLE_READER, command_count, "", "Counts the commands."},
	{"DOCS", -2, ROLE_READER, command_docs, "[name …]",
	    "Shows their documentation."},
	{"GETKEYS", -3, ROLE_READER, command_getkeys, "command …",
	    "Finds the keys of a command."},
	{"INFO", -2, ROLE_READER, command_info, "[name …]",
	    "Shows their arity and flags."},
	{"LIST", 2, ROLE_READER, command_list, "", "Lists their names."},
};

void
cmd_command(struct cmd_call *call)
{
	if (call->argc == 1)
		put_all(call);
	else
		cmd_sub(call, subs, nitems(subs));
}
