/* SPDX-License-Identifier: MIT */
/*
 * Commands of the users' keys go to the server as they are, and what it
 * answers is the answer. They share the database with Bellhop's own keys,
 * whose names begin with the prefix: those are not touched, and not seen.
 *
 * A client that watches keys has a connection of its own, over which all of
 * its commands go until EXEC or UNWATCH; so has each command that waits.
 */
#include <hiredis/hiredis.h>
#include <string.h>
#include <strings.h>

#include "redis/away.h"
#include "redis/conn.h"
#include "redis/error.h"
#include "redis/lua.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/value.h"

/* A command on its way. */
struct ask {
	struct redis_be *be;
	struct bh_key_command *r;
	struct rconn *conn;		/* NULL: the main link */
	bool waits;			/* on the server, for as long as it
					   likes */
	bool gives;			/* the connection, when it is done */
	bool cancelled;
	struct rvalue_filter filter;
	unsigned tries;			/* RANDOMKEY */
	struct ask *next, **pprev;	/* of those that wait */
};

struct rkeys {
	size_t under_way;		/* without those that wait */
	struct ask *waiting;
	struct rconns *conns;
};

static bool
is(struct bh_bytes b, const char *word)
{
	return b.len == strlen(word) && strncasecmp(b.data, word, b.len) == 0;
}

/* --- life --- */

void
rkeys_new(struct redis_be *be)
{
	be->keys = mem_new(sizeof(*be->keys));
	be->keys->conns = rconns_new(be);
}

void
rkeys_down(struct redis_be *be)
{
	rconns_drop(be->keys->conns);
}

bool
rkeys_idle(const struct redis_be *be)
{
	return be->keys->under_way == 0;
}

void
rkeys_free(struct redis_be *be)
{
	rconns_free(&be->keys->conns);
	free(be->keys);
	be->keys = NULL;
}

/* --- a command's life --- */

static struct ask *
ask_new(struct redis_be *be, struct bh_key_command *r)
{
	struct ask *a = mem_new(sizeof(*a));

	a->be = be;
	a->r = r;
	a->filter.prefix = be->config.prefix;
	be->keys->under_way++;
	return a;
}

static void
wait_begin(struct ask *a)
{
	struct rkeys *ks = a->be->keys;

	a->waits = true;
	ks->under_way--;
	a->next = ks->waiting;
	a->pprev = &ks->waiting;
	if (a->next)
		a->next->pprev = &a->next;
	ks->waiting = a;
}

/* The request is the caller's then; the connection may be gone. */
static struct bh_key_command *
ask_end(struct ask *a)
{
	struct bh_key_command *r = a->r;

	if (a->waits) {
		*a->pprev = a->next;
		if (a->next)
			a->next->pprev = a->pprev;
	} else {
		a->be->keys->under_way--;
	}
	if (a->conn && a->gives)
		rconn_give(a->conn);
	else if (a->conn)
		rconn_settle(a->conn);
	free(a);
	return r;
}

static void
answer(struct ask *a, struct bh_value *values)
{
	struct bh_key_command *r = ask_end(a);

	r->value = values;
	be_done(&r->req);
	free(values);
}

static void
answer_null(struct ask *a, enum bh_value_type type)
{
	struct bh_value *v = mem_new(sizeof(*v));

	v->type = type;
	answer(a, v);
}

/* Later: this is inside the verb. */
static void
answer_error(struct ask *a, const char *text)
{
	static struct bh_value error = {.type = BH_ERROR};
	struct redis_be *be = a->be;
	struct bh_key_command *r = ask_end(a);

	error.s = (struct bh_bytes){text, strlen(text)};
	r->value = &error;
	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	be_answer(be, &r->req);
}

/* The connection is gone, or the client. */
static void
lost(struct ask *a)
{
	struct redis_be *be = a->be;
	bool cancelled = a->cancelled;
	struct bh_key_command *r = ask_end(a);

	if (cancelled)
		be_fail(be, &r->req, BH_E_CANCELED, "the caller went away");
	else
		be_done_error(be, &r->req, NULL);
}

static void
on_reply(void *arg, redisReply *reply)
{
	struct ask *a = arg;

	if (!reply) {
		lost(a);
		return;
	}
	if (reply->type == REDIS_REPLY_ERROR)
		rserver_heed(a->be, reply->str);
	/* Clients would go to an address that they know nothing of. */
	if (reply->type == REDIS_REPLY_ERROR && (rerror_is(reply->str,
	    "MOVED") || rerror_is(reply->str, "ASK"))) {
		struct redis_be *be = a->be;
		struct bh_key_command *r = ask_end(a);

		be_done_error(be, &r->req, reply);
		return;
	}
	answer(a, rvalue_new(reply, &a->filter));
}

/* False: the server is away. */
static bool
send_words(struct ask *a, int argc, const char **argv, const size_t *lens,
    rlink_reply_fn *fn)
{
	if (a->conn && !rconn_lost(a->conn)) {
		rconn_send(a->conn, argc, argv, lens, fn, a);
		return true;
	}
	a->conn = NULL;
	return a->be->ready && rlink_send(a->be->main, argc, argv, lens, fn,
	    a);
}

static void
away(struct ask *a)
{
	struct redis_be *be = a->be;
	struct bh_key_command *r = ask_end(a);

	be_fail_away(be, &r->req);
}

static void
send_as_is(struct ask *a, const struct bh_bytes *words, size_t n,
    rlink_reply_fn *fn)
{
	const char **argv = mem_new(n * sizeof(*argv));
	size_t *lens = mem_new(n * sizeof(*lens));

	for (size_t i = 0; i < n; i++) {
		argv[i] = words[i].data ? words[i].data : "";
		lens[i] = words[i].len;
	}
	if (!send_words(a, (int)n, argv, lens, fn))
		away(a);
	free(argv);
	free(lens);
}

/* --- all keys: without ours --- */

static void
on_random(void *arg, redisReply *r)
{
	struct ask *a = arg;

	if (r && r->type == REDIS_REPLY_STRING && rvalue_own(r->str,
	    (size_t)r->len, a->filter.prefix)) {
		if (++a->tries >= 100)
			answer_null(a, BH_NULL);
		else if (!send_words(a, 1, (const char *[]){"RANDOMKEY"},
		    NULL, on_random))
			lost(a);
		return;
	}
	on_reply(a, r);
}

/* A script in the place of a command, on the way that the command would have
 * gone, and whole: one that the server would not know (SCRIPT FLUSH) would
 * come too late when it is sent again. */
static void
run_script(struct ask *a, const char *text, int nkeys, int argc,
    const char **argv, const size_t *lens)
{
	const char *words[8] = {"EVAL", text, nkeys ? "1" : "0"};
	size_t sizes[8] = {4, strlen(text), 1};

	for (int i = 0; i < argc; i++) {
		words[3 + i] = argv[i];
		sizes[3 + i] = lens ? lens[i] : strlen(argv[i]);
	}
	if (!send_words(a, 3 + argc, words, sizes, on_reply))
		away(a);
}

static bool
flush_ok(const struct bh_bytes *argv, size_t argc)
{
	return argc == 1 || (argc == 2 && (is(argv[1], "ASYNC") ||
	    is(argv[1], "SYNC")));
}

/* What is malformed, the server refuses. */
static void
flush(struct ask *a)
{
	const struct bh_key_command *r = a->r;

	if (flush_ok(r->argv, r->argc))
		run_script(a, rlua_flush, 0, 1,
		    (const char *[]){a->be->config.prefix}, NULL);
	else
		send_as_is(a, r->argv, r->argc, on_reply);
}

static void
size(struct ask *a)
{
	run_script(a, rlua_dbsize, 0, 1,
	    (const char *[]){a->be->config.prefix}, NULL);
}

static bool
delex_ok(const struct bh_bytes *argv, size_t argc)
{
	return argc == 2 || (argc == 4 && (is(argv[2], "IFEQ") ||
	    is(argv[2], "IFNE")));
}

/* Older servers do not have it. */
static void
delex(struct ask *a)
{
	const struct bh_bytes *argv = a->r->argv;
	const char *words[3];
	size_t lens[3], n = 0;

	if (!delex_ok(argv, a->r->argc)) {
		answer_error(a, "ERR syntax error");
		return;
	}
	for (size_t i = 1; i < a->r->argc; i++) {
		words[n] = argv[i].data ? argv[i].data : "";
		lens[n++] = argv[i].len;
	}
	run_script(a, rlua_delex, 1, (int)n, words, lens);
}

/* --- EXEC --- */

/* -1: it is none, or is larger than a limiter takes. */
static int64_t
number(struct bh_bytes b)
{
	int64_t n = 0;

	if (b.len == 0 || b.len > 10)
		return -1;
	for (size_t i = 0; i < b.len; i++) {
		if (b.data[i] < '0' || b.data[i] > '9')
			return -1;
		n = 10 * n + (b.data[i] - '0');
	}
	return n;
}

static int
names_in(struct bh_bytes command)
{
	return is(command, "KEYS") ? RVALUE_KEYS :
	    is(command, "SCAN") ? RVALUE_SCAN : RVALUE_ALL;
}

static void
on_exec(void *arg, redisReply *reply)
{
	struct ask *a = arg;
	const struct bh_key_command *r = a->r;
	struct bh_value *values, *v;

	if (!reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements != r->nqueued) {
		on_reply(a, reply);
		return;
	}
	/* An answer of CL.THROTTLE is one longer than what it is made of. */
	values = mem_new((rvalue_count(reply) + r->nqueued) * sizeof(*values));
	values[0] = (struct bh_value){.type = BH_ARRAY, .n = r->nqueued};
	v = values + 1;
	for (size_t i = 0; i < r->nqueued; i++) {
		const struct bh_queued *q = &r->queued[i];

		if (is(q->argv[0], "CL.THROTTLE"))
			v = rvalue_throttle(v, reply->element[i],
			    number(q->argv[2]) + 1);
		else
			v = rvalue_filter(v, reply->element[i],
			    &(struct rvalue_filter){a->filter.prefix,
			    names_in(q->argv[0])});
	}
	answer(a, values);
}

static void
no_reply(void *arg, redisReply *r)
{
	(void)arg, (void)r;
}

static void
exec_word(struct ask *a, int argc, const char **argv, const size_t *lens,
    rlink_reply_fn *fn)
{
	if (a->conn)
		rconn_send(a->conn, argc, argv, lens, fn, a);
	else
		(void)rlink_send(a->be->main, argc, argv, lens, fn, a);
}

static void
exec_limit(struct ask *a, const struct bh_queued *q, const char *key,
    size_t len)
{
	char burst[24], per[24];
	const char *argv[] = {"EVAL", rlua_throttle, "1", key, "",
	    q->argc > 5 ? q->argv[5].data : "1", q->argv[3].data, per, burst};
	size_t lens[9];

	for (size_t i = 0; i < 9; i++)
		lens[i] = strlen(argv[i]);
	lens[3] = len;
	lens[5] = q->argc > 5 ? q->argv[5].len : 1;
	lens[6] = q->argv[3].len;
	snprintf(burst, sizeof(burst), "%lld",
	    (long long)number(q->argv[2]) + 1);
	snprintf(per, sizeof(per), "%lld",
	    (long long)number(q->argv[4]) * 1000);
	lens[7] = strlen(per);
	lens[8] = strlen(burst);
	exec_word(a, 9, argv, lens, no_reply);
}

static bool
throttle_ok(const struct bh_queued *q)
{
	return q->argc <= 6 && number(q->argv[2]) >= 0 &&
	    number(q->argv[3]) > 0 && number(q->argv[4]) > 0 &&
	    (q->argc < 6 || number(q->argv[5]) >= 0);
}

static void
exec_throttle(struct ask *a, const struct bh_queued *q)
{
	size_t len;
	char *key;

	if (!throttle_ok(q)) {
		exec_word(a, 3, (const char *[]){"EVAL", "return redis."
		    "error_reply('ERR expected whole numbers after the key')",
		    "0"}, NULL, no_reply);
		return;
	}
	key = rthrottle_key(a->be, q->argv[1], &len);
	exec_limit(a, q, key, len);
	free(key);
}

static void
exec_delex(struct ask *a, const struct bh_queued *q)
{
	const char *argv[6] = {"EVAL", rlua_delex, "1"};
	size_t lens[6] = {4, strlen(rlua_delex), 1};

	for (size_t i = 1; i < q->argc; i++) {
		argv[2 + i] = q->argv[i].data ? q->argv[i].data : "";
		lens[2 + i] = q->argv[i].len;
	}
	exec_word(a, (int)q->argc + 2, argv, lens, no_reply);
}

static void
exec_one(struct ask *a, const struct bh_queued *q)
{
	const char **argv;
	size_t *lens;

	if (is(q->argv[0], "CL.THROTTLE") && q->argc >= 5) {
		exec_throttle(a, q);
		return;
	}
	if (is(q->argv[0], "DBSIZE") && q->argc == 1) {
		exec_word(a, 4, (const char *[]){"EVAL", rlua_dbsize, "0",
		    a->be->config.prefix}, NULL, no_reply);
		return;
	}
	if (is(q->argv[0], "DELEX") && delex_ok(q->argv, q->argc)) {
		exec_delex(a, q);
		return;
	}
	if ((is(q->argv[0], "FLUSHALL") || is(q->argv[0], "FLUSHDB")) &&
	    flush_ok(q->argv, q->argc)) {
		exec_word(a, 4, (const char *[]){"EVAL", rlua_flush, "0",
		    a->be->config.prefix}, NULL, no_reply);
		return;
	}
	argv = mem_new(q->argc * sizeof(*argv));
	lens = mem_new(q->argc * sizeof(*lens));
	for (size_t i = 0; i < q->argc; i++) {
		argv[i] = q->argv[i].data ? q->argv[i].data : "";
		lens[i] = q->argv[i].len;
	}
	exec_word(a, (int)q->argc, argv, lens, no_reply);
	free(argv);
	free(lens);
}

/* What was watched went with its connection: it may have changed. */
static void
on_void(void *arg, redisReply *r)
{
	if (r)
		answer_null(arg, BH_NULL_ARRAY);
	else
		lost(arg);
}

/* All in one go: nothing of another client comes between. */
static void
exec(struct ask *a)
{
	const struct bh_key_command *r = a->r;

	a->gives = true;
	if (a->conn && rconn_lost(a->conn)) {
		rconn_give(a->conn);
		a->conn = NULL;
		if (!rlink_sendv(a->be->main, on_void, a, "PING", NULL))
			away(a);
		return;
	}
	if (!a->conn && !rlink_up(a->be->main)) {
		away(a);
		return;
	}
	exec_word(a, 1, (const char *[]){"MULTI"}, NULL, no_reply);
	for (size_t i = 0; i < r->nqueued; i++)
		exec_one(a, &r->queued[i]);
	exec_word(a, 1, (const char *[]){"EXEC"}, NULL, on_exec);
}

/* --- which way a command goes --- */

/* Whether it may wait, and not only could. */
static bool
may_wait(const struct bh_key_command *r)
{
	if (!is(r->argv[0], "XREAD") && !is(r->argv[0], "XREADGROUP"))
		return true;
	for (size_t i = 1; i < r->argc; i++) {
		if (is(r->argv[i], "STREAMS"))
			return false;
		if (is(r->argv[i], "BLOCK"))
			return true;
	}
	return false;
}

/* Whether a word of it is a name that is ours. */
static bool
names_own(const struct redis_be *be, const struct bh_bytes *argv,
    size_t argc, const struct bh_key_info *info)
{
	int last = info->last < 0 ? (int)argc + info->last : info->last;

	if (info->movable)
		last = (int)argc - 1;
	for (int i = info->movable || info->first < 1 ? 1 : info->first;
	    i <= last && (size_t)i < argc; i += info->movable ||
	    info->step < 1 ? 1 : info->step)
		if (rvalue_own(argv[i].data, argv[i].len, be->config.prefix))
			return true;
	return false;
}

/* Whether a script names a command that would take the jobs along: a guard
 * against accidents, as a script reaches the server as it is. */
static bool
script_flushes(const struct bh_bytes *argv, size_t argc)
{
	static const char *const words[] = {"flushall", "flushdb"};
	size_t at = is(argv[0], "SCRIPT") ? 2 : 1;
	const char *text;

	if (argc <= at || !(is(argv[0], "EVAL") || is(argv[0], "EVAL_RO") ||
	    (is(argv[0], "SCRIPT") && is(argv[1], "LOAD"))))
		return false;
	text = argv[at].data;
	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
		for (size_t i = 0, n = strlen(words[w]);
		    i + n <= argv[at].len; i++)
			if (strncasecmp(text + i, words[w], n) == 0)
				return true;
	return false;
}

static bool
may_pass(struct redis_be *be, struct bh_key_command *r,
    const struct bh_key_info *info)
{
	struct bh_key_info one;
	bool own = names_own(be, r->argv, r->argc, info);
	bool flushes = script_flushes(r->argv, r->argc);

	for (size_t i = 0; i < r->nqueued; i++)
		if (script_flushes(r->queued[i].argv, r->queued[i].argc))
			flushes = true;
	for (size_t i = 0; i < r->nqueued; i++)
		if (be->host->key_info(r->queued[i].argv[0], &one) &&
		    names_own(be, r->queued[i].argv, r->queued[i].argc, &one))
			own = true;
	if (flushes) {
		be_fail(be, &r->req, r->nqueued ? BH_E_EXECABORT :
		    BH_E_NOPERM, "a script that calls FLUSHALL or FLUSHDB"
		    " would take the jobs along: send it as a command, which"
		    " leaves them");
		return false;
	}
	if (!own)
		return true;
	be_fail(be, &r->req, r->nqueued ? BH_E_EXECABORT : BH_E_BADARG,
	    "names that begin with '%s' (backend.prefix) are Bellhop's own"
	    " keys", be->config.prefix);
	return false;
}

/* Those that need more than to be passed on. */
static const struct {
	const char *name;
	void (*run)(struct ask *a);
	rlink_reply_fn *fn;
	int what;			/* rvalue_filter's */
} special[] = {
	{"EXEC", exec, NULL, RVALUE_ALL},
	{"FLUSHALL", flush, NULL, RVALUE_ALL},
	{"FLUSHDB", flush, NULL, RVALUE_ALL},
	{"DELEX", delex, NULL, RVALUE_ALL},
	{"DBSIZE", size, NULL, RVALUE_ALL},
	{"RANDOMKEY", NULL, on_random, RVALUE_ALL},
	{"KEYS", NULL, on_reply, RVALUE_KEYS},
	{"SCAN", NULL, on_reply, RVALUE_SCAN},
};

static void
run(struct ask *a)
{
	rlink_reply_fn *fn = on_reply;

	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
		if (!is(a->r->argv[0], special[i].name))
			continue;
		if (special[i].run) {
			special[i].run(a);
			return;
		}
		fn = special[i].fn;
		a->filter.what = special[i].what;
	}
	send_as_is(a, a->r->argv, a->r->argc, fn);
}

void
rkeys_command(void *arg, struct bh_key_command *r)
{
	struct redis_be *be = arg;
	struct rconns *conns = be->keys->conns;
	struct bh_key_info info = {0};
	struct ask *a;

	(void)be->host->key_info(r->argv[0], &info);
	if (!be->ready && be->host->spare_key && !raway_left(be) &&
	    be->host->spare_key(r))
		return;
	if (!may_pass(be, r, &info))
		return;
	a = ask_new(be, r);
	if (!raway_serves(be)) {
		away(a);
		return;
	}
	a->conn = rconn_of(conns, r->client, is(r->argv[0], "WATCH"));
	a->gives = is(r->argv[0], "UNWATCH");
	if (info.blocks && may_wait(r)) {
		wait_begin(a);
		if (!a->conn) {
			a->conn = rconn_take(conns);
			a->gives = true;
		}
	}
	run(a);
}

/* Only what waits is worth it. */
bool
rkeys_cancel(struct redis_be *be, struct bh_req *req)
{
	struct ask *a = be->keys->waiting;

	while (a && &a->r->req != req)
		a = a->next;
	if (!a)
		return false;
	a->cancelled = true;
	rconn_close(a->conn);
	return true;
}
