/* SPDX-License-Identifier: MIT */
/* CLIENT LIST, INFO and KILL: connections as the front keeps them. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "cmd/args.h"
#include "cmd/env.h"
#include "cmd/multi.h"
#include "cmd/rows.h"
#include "cmd/subscribe.h"

static void
put_client(struct buf *b, const struct session *s)
{
	int64_t age = clock_now().wall_ms - s->since_ms;
	int64_t idle = clock_mono_us() - s->last_us;

	buf_addf(b, "id=%llu addr=%s name=%s age=%lld idle=%lld flags=%s db=0"
	    " sub=%zu psub=%zu multi=%d cmd=%s user=%s role=%s resp=%d"
	    " lib-name=%s lib-ver=%s\n", (unsigned long long)s->id, s->addr,
	    s->name ? s->name : "", (long long)(age > 0 ? age / 1000 : 0),
	    (long long)(idle / 1000000), s->monitor ? "O" : s->multi ?
	    "x" : s->subs ? "P" : "N", subscribe_count(s, SUB_CHANNEL) +
	    subscribe_count(s, SUB_SHARD), subscribe_count(s, SUB_PATTERN),
	    multi_length(s),
	    s->last_cmd ? s->last_cmd : "NULL", s->user, role_name(s->role),
	    s->proto, s->lib_name ? s->lib_name : "",
	    s->lib_ver ? s->lib_ver : "");
}

static void
reply_text(struct cmd_call *call, struct buf *b)
{
	struct reply *r = call->reply;
	const char *text = buf_str(b);

	r->ops->verbatim(r, text, buf_size(b));
	buf_done(b);
	cmd_done(call);
}

void
client_info(struct cmd_call *call)
{
	struct buf b = BUF_INIT;

	put_client(&b, call->who);
	reply_text(call, &b);
}

/* Whether the ids at argv[from..argc) include this one; none: all do. */
static bool
is_listed(const struct cmd_call *call, size_t from, uint64_t id)
{
	int64_t n;

	if (from >= call->argc)
		return true;
	for (size_t i = from; i < call->argc; i++)
		if (arg_id(call->argv[i], &n, &(struct err){0}) == 0 &&
		    (uint64_t)n == id)
			return true;
	return false;
}

/* Those that there are, and those of Redis that there are not. */
enum client_type { TYPE_ANY = -1, TYPE_NORMAL, TYPE_PUBSUB };

static int
parse_type(struct bh_bytes v, int64_t *ret, struct err *e)
{
	static const char *const types[] = {"normal", "pubsub", "master",
	    "replica", "slave", NULL};

	for (size_t i = 0; types[i]; i++) {
		if (!str_is(v.data, v.len, types[i]))
			continue;
		*ret = (int64_t)i;
		return 0;
	}
	return err_set(e, BH_E_ERR, "Unknown client type '%.*s'",
	    (int)(v.len > 64 ? 64 : v.len), v.data);
}

static bool
is_of_type(const struct session *s, int64_t type)
{
	return type == TYPE_ANY ||
	    type == (s->subs ? TYPE_PUBSUB : TYPE_NORMAL);
}

/* Where the ids of CLIENT LIST begin, argc when there are none. */
static int
parse_list(const struct cmd_call *call, size_t *ret_from, int64_t *ret_type,
    struct err *e)
{
	const struct bh_bytes *argv = call->argv;
	int64_t n;

	*ret_type = TYPE_ANY;
	*ret_from = call->argc;
	if (call->argc == 2)
		return 0;
	if (call->argc == 4 && str_is(argv[2].data, argv[2].len, "TYPE"))
		return parse_type(argv[3], ret_type, e);
	if (call->argc < 4 || !str_is(argv[2].data, argv[2].len, "ID"))
		return err_set(e, BH_E_ERR, "syntax error");
	for (size_t i = 3; i < call->argc; i++)
		if (arg_id(argv[i], &n, e) < 0)
			return -1;
	*ret_from = 3;
	return 0;
}

void
client_list(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	const struct session *s;
	struct buf b = BUF_INIT;
	int64_t type;
	size_t from;
	struct err e;

	if (parse_list(call, &from, &type, &e) < 0) {
		cmd_fail(call, &e);
		return;
	}
	for (size_t i = 0; env->client_at &&
	    env->client_at(env->front, i, &s); i++)
		if (is_of_type(s, type) && is_listed(call, from, s->id))
			put_client(&b, s);
	reply_text(call, &b);
}

enum kill_opt { KILL_ID, KILL_ADDR, KILL_LADDR, KILL_USER, KILL_TYPE,
    KILL_SKIPME, KILL_OPTS };

/* What CLIENT KILL looks for. */
struct kill_filter {
	struct arg_opt o[KILL_OPTS];
	int64_t id, type;
	bool me;			/* the caller as well */
};

static int
parse_kill(const struct cmd_call *call, struct kill_filter *f, struct err *e)
{
	static const char *const yes_no[] = {"yes", "no", NULL};
	int64_t no = 0;

	*f = (struct kill_filter){.type = TYPE_ANY,
	    .o = {[KILL_ID] = {.name = "ID"}, [KILL_ADDR] = {.name = "ADDR"},
	    [KILL_LADDR] = {.name = "LADDR"}, [KILL_USER] = {.name = "USER"},
	    [KILL_TYPE] = {.name = "TYPE"},
	    [KILL_SKIPME] = {.name = "SKIPME"}}};
	if (call->argc == 3) {
		f->o[KILL_ADDR].seen = true;
		f->o[KILL_ADDR].value = call->argv[2];
		f->me = true;
		return 0;
	}
	if (arg_opts("CLIENT KILL", call->argv, call->argc, 2, f->o,
	    KILL_OPTS, e) < 0)
		return -1;
	if (f->o[KILL_ID].seen && arg_id(f->o[KILL_ID].value, &f->id, e) < 0)
		return -1;
	if (f->o[KILL_TYPE].seen &&
	    parse_type(f->o[KILL_TYPE].value, &f->type, e) < 0)
		return -1;
	if (f->o[KILL_SKIPME].seen && arg_word("SKIPME",
	    f->o[KILL_SKIPME].value, yes_no, &no, e) < 0)
		return -1;
	f->me = no;
	return 0;
}

static bool
same(const struct arg_opt *o, const char *have)
{
	return !o->seen || (o->value.len == strlen(have) &&
	    memcmp(o->value.data, have, o->value.len) == 0);
}

static bool
kill_matches(const struct kill_filter *f, const struct cmd_call *call,
    const struct session *s)
{
	/* Which of our addresses it came to is not kept. */
	return (!f->o[KILL_ID].seen || s->id == (uint64_t)f->id) &&
	    !f->o[KILL_LADDR].seen && is_of_type(s, f->type) &&
	    same(&f->o[KILL_ADDR], s->addr) &&
	    same(&f->o[KILL_USER], s->user) && (f->me || s != call->who);
}

void
client_kill(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	const struct session *s;
	struct kill_filter f;
	int64_t killed = 0;
	size_t n = 0;
	struct err e;

	if (parse_kill(call, &f, &e) < 0) {
		cmd_fail(call, &e);
		return;
	}
	while (env->client_at && env->client_at(env->front, n, &s))
		n++;
	/* From the end: a closed connection's place is taken by the last. */
	while (n-- > 0) {
		if (!env->client_at(env->front, n, &s) ||
		    !kill_matches(&f, call, s))
			continue;
		if (s == call->who)
			call->who->close = true;
		else if (!env->client_kill(env->front, s->id))
			continue;
		killed++;
	}
	if (call->argc == 3 && killed == 0) {
		cmd_error(call, BH_E_ERR, "No such client");
	} else if (call->argc == 3) {
		cmd_ok(call);
	} else {
		call->reply->ops->integer(call->reply, killed);
		cmd_done(call);
	}
}

/* CLIENT UNBLOCK id [TIMEOUT|ERROR] */
void
client_unblock_id(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	enum unblock how = UNBLOCK_TIMEOUT;
	int64_t id;

	if (call->argc > 4) {
		cmd_error(call, BH_E_ERR, "unknown subcommand or wrong number"
		    " of arguments for 'UNBLOCK'. Try CLIENT HELP.");
		return;
	}
	if (call->argc == 4 && str_is(call->argv[3].data, call->argv[3].len,
	    "ERROR")) {
		how = UNBLOCK_ERROR;
	} else if (call->argc == 4 && !str_is(call->argv[3].data,
	    call->argv[3].len, "TIMEOUT")) {
		cmd_error(call, BH_E_ERR, "CLIENT UNBLOCK reason should be"
		    " TIMEOUT or ERROR");
		return;
	}
	if (str_int(call->argv[2].data, call->argv[2].len, &id) < 0) {
		cmd_error(call, BH_E_ERR,
		    "value is not an integer or out of range");
		return;
	}
	call->reply->ops->integer(call->reply, env->client_unblock &&
	    env->client_unblock(env->front, (uint64_t)id, how));
	cmd_done(call);
}
