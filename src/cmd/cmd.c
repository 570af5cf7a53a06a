/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/keyspace.h"
#include "base/str.h"
#include "cmd/args.h"
#include "cmd/env.h"
#include "cmd/multi.h"
#include "cmd/rows.h"
#include "cmd/session.h"
#include "cmd/slowlog.h"
#include "cmd/subscribe.h"

#define NAME_MAX_LEN 32
#define INDEX_SIZE 1024

#define KEY_ROLE(flags) \
	((flags) & KF_ADMIN ? ROLE_ADMIN : \
	 (flags) & KF_OPERATOR ? ROLE_OPERATOR : ROLE_PRODUCER)
#define KEY_FLAGS(flags) \
	(((flags) & KF_WRITE ? CMD_WRITE : 0) | \
	 ((flags) & KF_FAST ? CMD_FAST : 0) | \
	 ((flags) & KF_ADMIN ? CMD_ADMIN : 0) | \
	 ((flags) & KF_BLOCKS ? CMD_BLOCKS : 0) | \
	 ((flags) & KF_MOVABLE ? CMD_MOVABLE : 0))

static const struct cmd_row table[] = {
#define CMD(name, arity, role, flags, fn, args, help) \
	{name, arity, role, flags, fn, args, help, \
	    ((flags) & CMD_KEY) != 0, ((flags) & CMD_KEY) != 0, \
	    ((flags) & CMD_KEY) != 0},
#include "cmd/cmd.def"
#undef CMD
#define KEYCMD(name, arity, flags, first, last, step, fn, args, help) \
	{name, arity, KEY_ROLE(flags), KEY_FLAGS(flags), cmd_key, args, help, \
	    first, last, step},
#include "base/keyspace.def"
#undef KEYCMD
};

static const char *const roles[] = {
	[ROLE_NONE] = "none", [ROLE_READER] = "reader",
	[ROLE_PRODUCER] = "producer", [ROLE_WORKER] = "worker",
	[ROLE_OPERATOR] = "operator", [ROLE_ADMIN] = "admin",
};

bool
role_allows(enum cmd_role have, enum cmd_role need)
{
	if (have == ROLE_PRODUCER || have == ROLE_WORKER)
		return need == have || need <= ROLE_READER;
	return have >= need;
}

const char *
role_name(enum cmd_role role)
{
	CHECK(role <= ROLE_ADMIN);
	return roles[role];
}

int
role_parse(const char *name, size_t len, enum cmd_role *ret)
{
	for (size_t i = 0; i < nitems(roles); i++) {
		if (str_is(name, len, roles[i])) {
			*ret = (enum cmd_role)i;
			return 0;
		}
	}
	return -1;
}

const struct cmd_row *
cmd_table(size_t *ret_n)
{
	*ret_n = nitems(table);
	return table;
}

/* Of a name in any case. */
static unsigned
name_hash(const char *name, size_t len)
{
	unsigned h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)(name[i] & ~0x20)) * 16777619u;
	return (h ^ h >> 16) % INDEX_SIZE;
}

/* Row numbers + 1 by hash, open addressing; filled at the first look-up. */
static const uint16_t *
name_index(void)
{
	static uint16_t index[INDEX_SIZE];
	static bool filled;

	if (filled)
		return index;
	for (size_t i = 0; i < nitems(table); i++) {
		unsigned at = name_hash(table[i].name, strlen(table[i].name));

		while (index[at])
			at = (at + 1) % INDEX_SIZE;
		index[at] = (uint16_t)(i + 1);
	}
	filled = true;
	return index;
}

const struct cmd_row *
cmd_find(const char *name, size_t len)
{
	const uint16_t *index = name_index();

	if (len > NAME_MAX_LEN)
		return NULL;
	for (unsigned at = name_hash(name, len); index[at];
	    at = (at + 1) % INDEX_SIZE)
		if (str_is(name, len, table[index[at] - 1].name))
			return &table[index[at] - 1];
	return NULL;
}

void
cmd_done(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	int64_t slow = env->conf ? env->conf->slowlog_slower_than : 0;

	if (call->row && !(call->row->flags & CMD_BLOCKS) && slow > 0) {
		int64_t us = clock_mono_us() - call->started_us;

		if (us >= slow * 1000)
			slowlog_add(env, call, us);
	}
	call->done(call);
}

void
cmd_error(struct cmd_call *call, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call->env->stats.errors++;
	call->reply->ops->error(call->reply, code, text);
	cmd_done(call);
}

void
cmd_fail(struct cmd_call *call, const struct err *e)
{
	cmd_error(call, e->code, "%s", e->text);
}

void
cmd_ok(struct cmd_call *call)
{
	reply_ok(call->reply);
	cmd_done(call);
}

static void
refuse_unknown(struct cmd_call *call)
{
	char args[160];
	size_t at = 0;

	args[0] = '\0';
	for (size_t i = 1; i < call->argc && at < 128; i++) {
		size_t n = call->argv[i].len;

		if (n > 128 - at)
			n = 128 - at;
		at += (size_t)snprintf(args + at, sizeof(args) - at, "'%.*s' ",
		    (int)n, call->argv[i].data);
	}
	cmd_error(call, BH_E_ERR,
	    "unknown command '%.*s', with args beginning with: %s",
	    (int)(call->argv[0].len > 128 ? 128 : call->argv[0].len),
	    call->argv[0].data, args);
}

static void
refuse_arity(struct cmd_call *call, const char *name, const char *sub)
{
	char low[2 * NAME_MAX_LEN + 2];
	size_t n;

	if (call->row->fn == cmd_exec) {
		multi_leave(call->env, call->who);
		cmd_error(call, BH_E_EXECABORT, "Transaction discarded because"
		    " of: wrong number of arguments for 'exec' command");
		return;
	}
	n = (size_t)snprintf(low, sizeof(low), "%s%s%s", name, sub ? "|" : "",
	    sub ? sub : "");
	for (size_t i = 0; i < n; i++)
		low[i] = (char)tolower((unsigned char)low[i]);
	cmd_error(call, BH_E_ERR,
	    "wrong number of arguments for '%s' command", low);
}

static bool
arity_fits(int arity, size_t argc)
{
	return arity >= 0 ? argc == (size_t)arity : argc >= (size_t)-arity;
}

/* True when the caller may run something that needs this role. */
static bool
check_role(struct cmd_call *call, const char *name, enum cmd_role need)
{
	enum cmd_role have = call->who->role;

	if (role_allows(have, need))
		return true;
	if (have == ROLE_NONE)
		cmd_error(call, BH_E_NOAUTH, "Authentication required.");
	else
		cmd_error(call, BH_E_NOPERM, "%s needs the role %s, and '%s'"
		    " has the role %s", name, role_name(need),
		    call->who->user, role_name(have));
	return false;
}

/* argv[1] must be a queue name, and one that the caller's token includes. */
static bool
check_queue(struct cmd_call *call)
{
	struct err e;

	if (arg_queue(call->argv[1], &e) < 0) {
		cmd_fail(call, &e);
		return false;
	}
	if (session_may(call->who, call->argv[1]))
		return true;
	cmd_error(call, BH_E_NOPERM, "the token '%s' does not include the"
	    " queue '%.*s'", call->who->user, (int)call->argv[1].len,
	    call->argv[1].data);
	return false;
}

/* False: the answer is an error already. */
static bool
may_run(struct cmd_call *call)
{
	const struct cmd_row *row = call->row;

	if (!row) {
		if (call->who->role == ROLE_NONE)
			cmd_error(call, BH_E_NOAUTH,
			    "Authentication required.");
		else
			refuse_unknown(call);
		return false;
	}
	call->who->last_cmd = row->name;
	if (!arity_fits(row->arity, call->argc)) {
		refuse_arity(call, row->name, NULL);
		return false;
	}
	if (!(row->flags & CMD_NOAUTH) &&
	    !check_role(call, row->name, row->role))
		return false;
	if (row->flags & CMD_QUEUE && call->argc > 1 && !check_queue(call))
		return false;
	if (call->who->subs && !subscribe_allows(call))
		return false;
	if (call->late && row->flags & (CMD_WRITE | CMD_BLOCKS)) {
		cmd_error(call, BH_E_BUSY, "the daemon is shutting down");
		return false;
	}
	return true;
}

void
cmd_run(struct cmd_call *call)
{
	struct session *who = call->who;

	CHECK(call->argc > 0);
	call->row = cmd_find(call->argv[0].data, call->argv[0].len);
	call->started_us = clock_mono_us();
	call->state = NULL;
	call->cancel = NULL;
	call->waits = false;
	call->canceled = false;
	call->unblock = UNBLOCK_NONE;
	call->env->stats.commands++;
	who->last_us = call->started_us;
	if (!may_run(call)) {		/* call may be gone */
		if (who->multi)
			multi_refused(who);
		return;
	}
	if (call->env->monitors > 0)
		call->env->monitor(call->env->front, call);
	if (who->multi && multi_takes(call->row))
		multi_queue(call);
	else
		call->row->fn(call);
}

void
cmd_cancel(struct cmd_call *call)
{
	if (call->canceled)
		return;
	call->canceled = true;
	if (call->cancel)
		call->cancel(call);
}

bool
cmd_unblock(struct cmd_call *call, enum unblock how)
{
	if (call->row->fn != cmd_key || !call->waits || call->canceled)
		return false;
	call->unblock = how;
	cmd_cancel(call);
	return true;
}

static void
sub_help(struct cmd_call *call, const struct cmd_sub *subs, size_t n)
{
	struct reply *r = call->reply;
	char line[200];

	r->ops->array(r, 3 + n * 2);
	snprintf(line, sizeof(line), "%s <subcommand> [<arg> [value] [opt] ...]."
	    " Subcommands are:", call->row->name);
	r->ops->simple(r, line);
	for (size_t i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "%s %s", subs[i].name,
		    subs[i].args);
		r->ops->simple(r, line);
		snprintf(line, sizeof(line), "    %s", subs[i].help);
		r->ops->simple(r, line);
	}
	r->ops->simple(r, "HELP");
	r->ops->simple(r, "    Prints this help.");
	cmd_done(call);
}

void
cmd_sub(struct cmd_call *call, const struct cmd_sub *subs, size_t n)
{
	struct bh_bytes name = call->argv[1];
	char full[2 * NAME_MAX_LEN + 2];

	if (str_is(name.data, name.len, "HELP") && call->argc == 2) {
		sub_help(call, subs, n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (!str_is(name.data, name.len, subs[i].name))
			continue;
		if (!arity_fits(subs[i].arity, call->argc)) {
			refuse_arity(call, call->row->name, subs[i].name);
			return;
		}
		snprintf(full, sizeof(full), "%s %s", call->row->name,
		    subs[i].name);
		if (check_role(call, full, subs[i].role))
			subs[i].fn(call);
		return;
	}
	cmd_error(call, BH_E_ERR, "unknown subcommand '%.*s'. Try %s HELP.",
	    (int)(name.len > 128 ? 128 : name.len), name.data,
	    call->row->name);
}

bool
cmd_is_secret(const struct cmd_call *call, size_t i)
{
	if (i == 0 || !call->row)
		return false;
	if (call->row->fn == cmd_auth)
		return true;
	if (call->row->fn != cmd_hello)
		return false;
	/* HELLO 3 … AUTH name token: both words behind AUTH. */
	for (size_t back = 1; back <= 2 && i >= back + 2; back++)
		if (str_is(call->argv[i - back].data, call->argv[i - back].len,
		    "AUTH"))
			return true;
	return false;
}

void
cmd_env_done(struct cmd_env *env)
{
	slowlog_free(&env->slowlog);
}
