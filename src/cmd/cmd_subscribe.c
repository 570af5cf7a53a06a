/* SPDX-License-Identifier: MIT */
#include "cmd/subscribe.h"

#include <bsd/sys/queue.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/bus.h"
#include "cmd/rows.h"
#include "cmd/session.h"
#include "ds/map.h"

struct sub {
	TAILQ_ENTRY(sub) link;
	struct session *who;
	struct cmd_env *env;
	struct bh_subscription *heard;
	enum sub_kind kind;
	size_t len;
	char name[];
};

/* Of one connection. */
struct subs {
	struct map by_name;
	TAILQ_HEAD(, sub) all;
	size_t n[SUB_KINDS];
};

struct sub_name {
	enum sub_kind kind;
	struct bh_bytes name;
};

/* The words of the answers. */
static const struct {
	const char *on, *off, *message;
} words[SUB_KINDS] = {
	[SUB_CHANNEL] = {"subscribe", "unsubscribe", "message"},
	[SUB_PATTERN] = {"psubscribe", "punsubscribe", "pmessage"},
	[SUB_SHARD] = {"ssubscribe", "sunsubscribe", "smessage"},
};

static uint64_t
hash(struct sub_name n)
{
	uint64_t h = 14695981039346656037u + n.kind;

	for (size_t i = 0; i < n.name.len; i++)
		h = (h ^ (unsigned char)n.name.data[i]) * 1099511628211u;
	return map_hash_int(h);
}

static struct sub_name
name_of(const struct sub *s)
{
	return (struct sub_name){s->kind, {s->name, s->len}};
}

static uint64_t
sub_hash(const void *item)
{
	return hash(name_of(item));
}

static bool
sub_equal(const void *item, const void *key)
{
	const struct sub *s = item;
	const struct sub_name *n = key;

	return s->kind == n->kind && s->len == n->name.len &&
	    (s->len == 0 || memcmp(s->name, n->name.data, s->len) == 0);
}

static const struct map_ops sub_ops = {sub_hash, sub_equal};

/* --- what they hear --- */

static void
put_word(struct reply *r, const char *word)
{
	r->ops->bulk(r, word, strlen(word));
}

struct told {
	const struct sub *sub;
	const struct bh_news *news;
};

static void
put_message(struct reply *r, const void *arg)
{
	const struct told *t = arg;
	const struct sub *s = t->sub;

	r->ops->push(r, s->kind == SUB_PATTERN ? 4 : 3);
	put_word(r, words[s->kind].message);
	if (s->kind == SUB_PATTERN)
		r->ops->bulk(r, s->name, s->len);
	r->ops->bulk(r, t->news->topic.data, t->news->topic.len);
	r->ops->bulk(r, t->news->data.data, t->news->data.len);
}

static void
on_news(void *arg, const struct bh_news *news)
{
	struct sub *s = arg;
	struct told t = {s, news};

	/* Its token may have been taken away meanwhile. */
	if (role_allows(s->who->role, ROLE_READER))
		s->env->push(s->env->front, s->who, put_message, &t);
}

/* --- subscribing --- */

static struct subs *
subs_new(void)
{
	struct subs *all = xcalloc(1, sizeof(*all));

	map_init(&all->by_name, &sub_ops);
	TAILQ_INIT(&all->all);
	return all;
}

static void
sub_end(struct subs *all, struct sub *s)
{
	map_remove(&all->by_name, s);
	TAILQ_REMOVE(&all->all, s, link);
	all->n[s->kind]--;
	bus_unsubscribe(s->heard);
	free(s);
}

void
subscribe_leave(struct session *who)
{
	struct subs *all = who->subs;
	struct sub *s;

	if (!all)
		return;
	while ((s = TAILQ_FIRST(&all->all)))
		sub_end(all, s);
	map_done(&all->by_name);
	free(all);
	who->subs = NULL;
}

size_t
subscribe_count(const struct session *who, enum sub_kind kind)
{
	return who->subs ? who->subs->n[kind] : 0;
}

/* What an answer counts: those of the same sort. */
static int64_t
counted(const struct session *who, enum sub_kind kind)
{
	if (kind == SUB_SHARD)
		return (int64_t)subscribe_count(who, SUB_SHARD);
	return (int64_t)(subscribe_count(who, SUB_CHANNEL) +
	    subscribe_count(who, SUB_PATTERN));
}

/* A glob that matches this name alone. */
static void
escape(struct buf *b, struct bh_bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.data[i] && strchr("*?[\\", name.data[i]))
			buf_addc(b, '\\');
		buf_addc(b, name.data[i]);
	}
}

static struct bh_subscription *
hear(struct cmd_env *env, struct sub *s, struct err *e)
{
	struct bh_bytes name = {s->name, s->len};
	struct buf glob = BUF_INIT;

	if (s->kind == SUB_PATTERN) {
		s->heard = bus_subscribe(env->bus, BH_FEED_TOPICS, name, 0,
		    on_news, s, e);
		if (s->heard)
			bus_is_pattern(s->heard);
		return s->heard;
	}
	escape(&glob, name);
	s->heard = bus_subscribe(env->bus, BH_FEED_TOPICS,
	    (struct bh_bytes){buf_peek(&glob), buf_size(&glob)}, 0, on_news,
	    s, e);
	buf_done(&glob);
	return s->heard;
}

static int
sub_begin(struct cmd_call *call, struct sub_name n, struct err *e)
{
	struct session *who = call->who;
	struct sub *s;

	if (who->subs && map_get(&who->subs->by_name, hash(n), &n))
		return 0;
	s = xcalloc(1, sizeof(*s) + n.name.len);
	s->who = who;
	s->env = call->env;
	s->kind = n.kind;
	s->len = n.name.len;
	if (s->len)
		memcpy(s->name, n.name.data, s->len);
	if (!hear(call->env, s, e)) {
		free(s);
		return -1;
	}
	if (!who->subs)
		who->subs = subs_new();
	map_put(&who->subs->by_name, s);
	TAILQ_INSERT_TAIL(&who->subs->all, s, link);
	who->subs->n[n.kind]++;
	return 0;
}

static void
put_change(struct cmd_call *call, enum sub_kind kind, bool on,
    const struct bh_bytes *name)
{
	struct reply *r = call->reply;

	r->ops->push(r, 3);
	put_word(r, on ? words[kind].on : words[kind].off);
	if (name)
		r->ops->bulk(r, name->data, name->len);
	else
		r->ops->null(r);
	r->ops->integer(r, counted(call->who, kind));
}

static void
subscribe(struct cmd_call *call, enum sub_kind kind)
{
	struct err e;

	if (!call->env->push || session_client(call->who) == 0) {
		cmd_error(call, BH_E_ERR, "%s needs a connection of its own"
		    " over RESP", call->row->name);
		return;
	}
	for (size_t i = 1; i < call->argc; i++) {
		struct sub_name n = {kind, call->argv[i]};

		if (sub_begin(call, n, &e) < 0)
			call->reply->ops->error(call->reply, e.code, e.text);
		else
			put_change(call, kind, true, &call->argv[i]);
	}
	cmd_done(call);
}

static void
unsubscribe_all(struct cmd_call *call, enum sub_kind kind)
{
	struct subs *all = call->who->subs;
	struct sub *s, *next;

	if (!all || all->n[kind] == 0) {
		put_change(call, kind, false, NULL);
		return;
	}
	TAILQ_FOREACH_SAFE(s, &all->all, link, next) {
		struct bh_bytes name;

		if (s->kind != kind)
			continue;
		name = (struct bh_bytes){xstrndup(s->name, s->len), s->len};
		sub_end(all, s);
		put_change(call, kind, false, &name);
		free((char *)(uintptr_t)name.data);
	}
}

static void
unsubscribe(struct cmd_call *call, enum sub_kind kind)
{
	if (call->argc == 1)
		unsubscribe_all(call, kind);
	for (size_t i = 1; i < call->argc; i++) {
		struct subs *all = call->who->subs;
		struct sub_name n = {kind, call->argv[i]};
		struct sub *s = all ? map_get(&all->by_name, hash(n), &n) :
		    NULL;

		if (s)
			sub_end(all, s);
		put_change(call, kind, false, &call->argv[i]);
	}
	cmd_done(call);
}

void
cmd_subscribe(struct cmd_call *call)
{
	subscribe(call, SUB_CHANNEL);
}

void
cmd_psubscribe(struct cmd_call *call)
{
	subscribe(call, SUB_PATTERN);
}

void
cmd_ssubscribe(struct cmd_call *call)
{
	subscribe(call, SUB_SHARD);
}

void
cmd_unsubscribe(struct cmd_call *call)
{
	unsubscribe(call, SUB_CHANNEL);
}

void
cmd_punsubscribe(struct cmd_call *call)
{
	unsubscribe(call, SUB_PATTERN);
}

void
cmd_sunsubscribe(struct cmd_call *call)
{
	unsubscribe(call, SUB_SHARD);
}

/* --- what else they may say --- */

bool
subscribe_only(const struct session *who)
{
	return who->proto == 2 && who->subs &&
	    !TAILQ_EMPTY(&who->subs->all);
}

bool
subscribe_allows(struct cmd_call *call)
{
	static cmd_fn *const may[] = {cmd_subscribe, cmd_psubscribe,
	    cmd_ssubscribe, cmd_unsubscribe, cmd_punsubscribe,
	    cmd_sunsubscribe, cmd_ping, cmd_quit, cmd_reset};
	char name[32];
	size_t n;

	if (!subscribe_only(call->who))
		return true;
	for (size_t i = 0; i < nitems(may); i++)
		if (call->row->fn == may[i])
			return true;
	for (n = 0; call->row->name[n] && n < sizeof(name) - 1; n++)
		name[n] = (char)tolower((unsigned char)call->row->name[n]);
	name[n] = '\0';
	cmd_error(call, BH_E_ERR, "Can't execute '%s': only (P|S)SUBSCRIBE /"
	    " (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this"
	    " context", name);
	return false;
}

/* --- PUBSUB --- */

struct channels {
	struct reply *r;
	const struct bh_bytes *glob;	/* NULL: all */
	bool count;			/* the first time round */
	size_t n;
};

static void
on_channel(void *arg, struct bh_bytes name)
{
	struct channels *ch = arg;

	if (ch->glob && !str_glob(ch->glob->data, ch->glob->len, name.data,
	    name.len))
		return;
	ch->n++;
	if (!ch->count)
		ch->r->ops->bulk(ch->r, name.data, name.len);
}

static void
pubsub_channels(struct cmd_call *call)
{
	struct channels ch = {.r = call->reply, .count = true,
	    .glob = call->argc > 2 ? &call->argv[2] : NULL};

	bus_each_channel(call->env->bus, on_channel, &ch);
	call->reply->ops->array(call->reply, ch.n);
	ch.count = false;
	bus_each_channel(call->env->bus, on_channel, &ch);
	cmd_done(call);
}

static void
pubsub_numsub(struct cmd_call *call)
{
	struct reply *r = call->reply;

	r->ops->array(r, 2 * (call->argc - 2));
	for (size_t i = 2; i < call->argc; i++) {
		reply_bytes(r, call->argv[i]);
		r->ops->integer(r, bus_listeners(call->env->bus,
		    call->argv[i]));
	}
	cmd_done(call);
}

static void
pubsub_numpat(struct cmd_call *call)
{
	call->reply->ops->integer(call->reply,
	    bus_patterns(call->env->bus));
	cmd_done(call);
}

static const struct cmd_sub subs[] = {
	{"CHANNELS", -2, ROLE_READER, pubsub_channels, "[pattern]",
	    "Lists the topics that somebody has subscribed to by name."},
	{"NUMPAT", 2, ROLE_READER, pubsub_numpat, "",
	    "Counts the patterns that somebody has subscribed to."},
	{"NUMSUB", -2, ROLE_READER, pubsub_numsub, "[topic …]",
	    "Counts the subscribers of topics, by name."},
	{"SHARDCHANNELS", -2, ROLE_READER, pubsub_channels, "[pattern]",
	    "As CHANNELS."},
	{"SHARDNUMSUB", -2, ROLE_READER, pubsub_numsub, "[topic …]",
	    "As NUMSUB."},
};

void
cmd_pubsub(struct cmd_call *call)
{
	if (call->argc > 3 && !str_is(call->argv[1].data, call->argv[1].len,
	    "NUMSUB") && !str_is(call->argv[1].data, call->argv[1].len,
	    "SHARDNUMSUB"))
		cmd_error(call, BH_E_ERR, "unknown subcommand or wrong number"
		    " of arguments for '%.*s'. Try PUBSUB HELP.",
		    (int)(call->argv[1].len > 128 ? 128 : call->argv[1].len),
		    call->argv[1].data);
	else
		cmd_sub(call, subs, nitems(subs));
}
