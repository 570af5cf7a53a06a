/* SPDX-License-Identifier: MIT */
/* Commands about the connection itself. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/args.h"
#include "cmd/env.h"
#include "cmd/multi.h"
#include "cmd/rows.h"
#include "cmd/session.h"
#include "cmd/subscribe.h"
#include "cmd/version.h"

#define WRONG_PASS "invalid username-password pair or user is disabled."

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* A token by its secret; a name other than "default" must be its own. */
static int
login(struct cmd_call *call, const struct bh_bytes *name,
    struct bh_bytes secret, struct err *e)
{
	const struct token *t = NULL;

	if (call->env->tokens)
		t = tokens_check(call->env->tokens, secret.data, secret.len);
	if (!t || (name && !is(*name, "default") && !is(*name, t->name)))
		return err_set(e, BH_E_WRONGPASS, WRONG_PASS);
	session_grant(call->who, t);
	return 0;
}

void
cmd_auth(struct cmd_call *call)
{
	struct err e;

	if (call->argc > 3)
		cmd_error(call, BH_E_ERR, "syntax error");
	else if (login(call, call->argc == 3 ? &call->argv[1] : NULL,
	    call->argv[call->argc - 1], &e) < 0)
		cmd_fail(call, &e);
	else
		cmd_ok(call);
}

/* As CLIENT SETNAME: printable and without blanks. */
static int
check_name(struct bh_bytes v, struct err *e)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] < '!' || v.data[i] > '~')
			return err_set(e, BH_E_ERR, "Client names cannot"
			    " contain spaces, newlines or special"
			    " characters.");
	if (v.len > ARG_KEY_MAX)
		return err_set(e, BH_E_TOOBIG, "name: %zu bytes; at most %d"
		    " are expected", v.len, ARG_KEY_MAX);
	return 0;
}

struct hello {
	int64_t proto;
	const struct bh_bytes *name, *secret;	/* AUTH */
	const struct bh_bytes *client;		/* SETNAME */
};

static int
parse_hello(const struct cmd_call *call, struct hello *h, struct err *e)
{
	const struct bh_bytes *argv = call->argv;

	*h = (struct hello){.proto = call->who->proto};
	if (call->argc == 1)
		return 0;
	if (str_int(argv[1].data, argv[1].len, &h->proto) < 0)
		return err_set(e, BH_E_ERR,
		    "Protocol version is not an integer or out of range");
	if (h->proto < 2 || h->proto > 3)
		return err_set(e, BH_E_NOPROTO,
		    "unsupported protocol version");
	for (size_t i = 2; i < call->argc; i++) {
		if (is(argv[i], "AUTH") && i + 2 < call->argc) {
			h->name = &argv[++i];
			h->secret = &argv[++i];
		} else if (is(argv[i], "SETNAME") && i + 1 < call->argc) {
			h->client = &argv[++i];
			if (check_name(*h->client, e) < 0)
				return -1;
		} else {
			return err_set(e, BH_E_ERR,
			    "Syntax error in HELLO option '%.*s'",
			    (int)(argv[i].len > 64 ? 64 : argv[i].len),
			    argv[i].data);
		}
	}
	return 0;
}

static void
put_hello(struct cmd_call *call)
{
	struct reply *r = call->reply;

	r->ops->map(r, 7);
	reply_pair_str(r, "server", "redis");
	reply_pair_str(r, "version", CMD_REDIS_VERSION);
	reply_pair_int(r, "proto", call->who->proto);
	reply_pair_int(r, "id", (int64_t)call->who->id);
	reply_pair_str(r, "mode", "standalone");
	reply_pair_str(r, "role", "master");
	reply_str(r, "modules");
	r->ops->array(r, 0);
}

void
cmd_hello(struct cmd_call *call)
{
	struct session *who = call->who;
	struct hello h;
	struct err e;

	if (parse_hello(call, &h, &e) < 0 ||
	    (h.secret && login(call, h.name, *h.secret, &e) < 0)) {
		cmd_fail(call, &e);
		return;
	}
	if (who->role == ROLE_NONE) {
		cmd_error(call, BH_E_NOAUTH, "HELLO must be called with the"
		    " client already authenticated, otherwise the HELLO"
		    " <proto> AUTH <user> <pass> option can be used to"
		    " authenticate the client and select the RESP protocol"
		    " version at the same time");
		return;
	}
	if (h.client)
		session_set(&who->name, h.client->data, h.client->len);
	who->proto = (int)h.proto;
	call->reply->proto = who->proto;
	put_hello(call);
	cmd_done(call);
}

void
cmd_ping(struct cmd_call *call)
{
	struct reply *r = call->reply;

	if (call->argc > 2) {
		cmd_error(call, BH_E_ERR,
		    "wrong number of arguments for 'ping' command");
		return;
	}
	if (subscribe_only(call->who)) {
		r->ops->array(r, 2);
		reply_str(r, "pong");
		reply_bytes(r, call->argc == 2 ? call->argv[1] :
		    (struct bh_bytes){"", 0});
	} else if (call->argc == 2) {
		reply_bytes(r, call->argv[1]);
	} else {
		r->ops->simple(r, "PONG");
	}
	cmd_done(call);
}

void
cmd_echo(struct cmd_call *call)
{
	reply_bytes(call->reply, call->argv[1]);
	cmd_done(call);
}

void
cmd_select(struct cmd_call *call)
{
	int64_t n;

	if (str_int(call->argv[1].data, call->argv[1].len, &n) < 0)
		cmd_error(call, BH_E_ERR,
		    "value is not an integer or out of range");
	else if (n != 0)
		cmd_error(call, BH_E_ERR, "DB index is out of range");
	else
		cmd_ok(call);
}

void
cmd_quit(struct cmd_call *call)
{
	call->who->close = true;
	cmd_ok(call);
}

static void
monitor_off(struct cmd_call *call)
{
	if (call->env->watch)
		(void)call->env->watch(call->env->front, call->who, NULL,
		    &(struct err){0});
	if (!call->who->monitor)
		return;
	call->who->monitor = false;
	call->env->monitors--;
}

void
cmd_reset(struct cmd_call *call)
{
	monitor_off(call);
	multi_leave(call->env, call->who);
	subscribe_leave(call->who);
	session_reset(call->who);
	call->reply->proto = call->who->proto;
	call->reply->ops->simple(call->reply, "RESET");
	cmd_done(call);
}

/* As MONITOR: the lines come from now on, whatever else is asked. */
void
bellhop_events(struct cmd_call *call)
{
	static const struct bh_bytes all = {"*", 1};
	struct cmd_env *env = call->env;
	struct err e;

	if (call->argc > 3)
		cmd_error(call, BH_E_ERR, "syntax error");
	else if (!env->watch)
		cmd_error(call, BH_E_ERR, "there is no connection to show"
		    " events on");
	else if (env->watch(env->front, call->who, call->argc == 3 ?
	    &call->argv[2] : &all, &e) < 0)
		cmd_fail(call, &e);
	else
		cmd_ok(call);
}

void
cmd_monitor(struct cmd_call *call)
{
	if (!call->env->monitor) {
		cmd_error(call, BH_E_ERR,
		    "MONITOR is only for connections, not for scripts");
		return;
	}
	if (!call->who->monitor) {
		call->who->monitor = true;
		call->env->monitors++;
	}
	cmd_ok(call);
}

static void
client_id(struct cmd_call *call)
{
	call->reply->ops->integer(call->reply, (int64_t)call->who->id);
	cmd_done(call);
}

static void
client_setname(struct cmd_call *call)
{
	struct err e;

	if (check_name(call->argv[2], &e) < 0) {
		cmd_fail(call, &e);
		return;
	}
	session_set(&call->who->name, call->argv[2].data, call->argv[2].len);
	cmd_ok(call);
}

static void
client_getname(struct cmd_call *call)
{
	struct reply *r = call->reply;

	if (call->who->name)
		reply_str(r, call->who->name);
	else
		r->ops->null(r);
	cmd_done(call);
}

static void
client_setinfo(struct cmd_call *call)
{
	struct bh_bytes what = call->argv[2], v = call->argv[3];
	struct err e;

	if (check_name(v, &e) < 0) {
		cmd_fail(call, &e);
		return;
	}
	if (is(what, "LIB-NAME")) {
		session_set(&call->who->lib_name, v.data, v.len);
	} else if (is(what, "LIB-VER")) {
		session_set(&call->who->lib_ver, v.data, v.len);
	} else {
		cmd_error(call, BH_E_ERR, "Unrecognized option '%.*s'",
		    (int)(what.len > 64 ? 64 : what.len), what.data);
		return;
	}
	cmd_ok(call);
}

static void
client_reply(struct cmd_call *call)
{
	static const char *const modes[] = {"ON", "OFF", "SKIP", NULL};
	int64_t mode;
	struct err e;

	if (arg_word("mode", call->argv[2], modes, &mode, &e) < 0) {
		cmd_fail(call, &e);
		return;
	}
	/* SKIP changes nothing for whom nothing is answered anyway. */
	if (mode != REPLY_SKIP || call->who->replies != REPLY_OFF)
		call->who->replies = (enum reply_mode)mode;
	call->mute = mode != REPLY_ON;
	if (mode == REPLY_ON)
		cmd_ok(call);
	else
		cmd_done(call);
}

/* NO-EVICT and NO-TOUCH: no key of ours is evicted or aged by a client. */
static void
client_on_off(struct cmd_call *call)
{
	static const char *const words[] = {"ON", "OFF", NULL};
	int64_t on;
	struct err e;

	if (arg_word("mode", call->argv[2], words, &on, &e) < 0)
		cmd_fail(call, &e);
	else
		cmd_ok(call);
}

static void
client_tracking(struct cmd_call *call)
{
	if (is(call->argv[2], "OFF"))
		cmd_ok(call);
	else
		cmd_error(call, BH_E_ERR, "CLIENT TRACKING is not supported:"
		    " nobody is told which keys change; switch the client's"
		    " own cache off");
}

static const struct cmd_sub subs[] = {
	{"GETNAME", 2, ROLE_READER, client_getname, "",
	    "Shows the connection's name."},
	{"ID", 2, ROLE_READER, client_id, "", "Shows the connection's id."},
	{"INFO", 2, ROLE_READER, client_info, "",
	    "Describes the connection."},
	{"KILL", -3, ROLE_ADMIN, client_kill,
	    "addr | [ID n] [ADDR addr] [LADDR addr] [USER name]"
	    " [TYPE normal|pubsub] [SKIPME yes|no]",
	    "Closes connections."},
	{"LIST", -2, ROLE_OPERATOR, client_list,
	    "[TYPE normal|pubsub] [ID n …]",
	    "Describes all connections."},
	{"NO-EVICT", 3, ROLE_READER, client_on_off, "ON|OFF",
	    "Has no effect."},
	{"NO-TOUCH", 3, ROLE_READER, client_on_off, "ON|OFF",
	    "Has no effect."},
	{"REPLY", 3, ROLE_READER, client_reply, "ON|OFF|SKIP",
	    "Answers all, none or not the next command."},
	{"SETINFO", 4, ROLE_READER, client_setinfo,
	    "LIB-NAME|LIB-VER value", "Names the client's library."},
	{"SETNAME", 3, ROLE_READER, client_setname, "name",
	    "Names the connection."},
	{"TRACKING", -3, ROLE_READER, client_tracking, "ON|OFF …",
	    "Refused: nobody is told which keys change."},
	{"UNBLOCK", -3, ROLE_OPERATOR, client_unblock_id,
	    "id [TIMEOUT|ERROR]",
	    "Ends a connection's wait for a key."},
};

void
cmd_client(struct cmd_call *call)
{
	cmd_sub(call, subs, nitems(subs));
}
