/* SPDX-License-Identifier: MIT */
/* XINFO: what a stream, its groups and their consumers are at. */
#include <string.h>

#include "base/str.h"
#include "keys/stream.h"

/* Entries and pending ones of FULL without COUNT. */
enum { FULL_COUNT = 10 };

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static void
put_name(struct kcall *c, const char *name)
{
	put_bytes(c, name, strlen(name));
}

static void
put_pair_int(struct kcall *c, const char *name, int64_t v)
{
	put_name(c, name);
	put_int(c, v);
}

static void
put_pair_sid(struct kcall *c, const char *name, struct sid id)
{
	put_name(c, name);
	put_sid(c, id);
}

/* What only Redis has: one node for each block, and the root. */
static void
put_head(struct kcall *c, const struct stream *s)
{
	int64_t blocks = (int64_t)(s->end - s->first);

	put_pair_int(c, "length", (int64_t)s->length);
	put_pair_int(c, "radix-tree-keys", blocks);
	put_pair_int(c, "radix-tree-nodes", blocks + 1);
	put_pair_sid(c, "last-generated-id", s->last_id);
	put_pair_sid(c, "max-deleted-entry-id", s->max_deleted);
	put_pair_int(c, "entries-added", (int64_t)s->added);
	put_pair_sid(c, "recorded-first-entry-id", stream_first_id(s));
}

static void
put_lag(struct kcall *c, const struct stream *s, const struct sgroup *g)
{
	int64_t read = g->entries_read;

	put_name(c, "entries-read");
	if (read == -1)
		put_null(c);
	else
		put_int(c, read);
	put_name(c, "lag");
	if (s->added == 0) {
		put_int(c, 0);
		return;
	}
	if (read == -1 || stream_has_holes(s, g->last_id))
		read = stream_read_up_to(s, g->last_id);
	if (read == -1)
		put_null(c);
	else
		put_int(c, (int64_t)s->added - read);
}

static void
put_edge(struct kcall *c, const struct stream *s, struct splace p)
{
	if (stream_at(s, p))
		put_entry(c, s, p);
	else
		put_null(c);
}

static void
show_stream(struct kcall *c, const struct stream *s)
{
	put_array(c, 20);
	put_head(c, s);
	put_pair_int(c, "groups", (int64_t)s->ngroups);
	put_name(c, "first-entry");
	put_edge(c, s, stream_from(s, (struct sid){0, 0}));
	put_name(c, "last-entry");
	put_edge(c, s, stream_back(s, SID_MAX));
}

/* --- FULL --- */

static void
put_group_pending(struct kcall *c, struct sgroup *g, int64_t count)
{
	struct pending *p = RB_MIN(group_pending, &g->pending);
	size_t open = put_array_open(c), n = 0;

	for (; p && (!count || (int64_t)n < count); n++) {
		put_array(c, 4);
		put_sid(c, p->id);
		put_bytes(c, p->who->name, p->who->len);
		put_int(c, p->at);
		put_int(c, p->count);
		p = RB_NEXT(group_pending, &g->pending, p);
	}
	put_array_close(c, open, n);
}

static void
put_full_consumer(struct kcall *c, struct sconsumer *who, int64_t count)
{
	struct pending *p = RB_MIN(consumer_pending, &who->pending);
	size_t open, n = 0;

	put_array(c, 8);
	put_name(c, "name");
	put_bytes(c, who->name, who->len);
	put_pair_int(c, "seen-time", who->seen);
	put_pair_int(c, "pel-count", (int64_t)who->npending);
	put_name(c, "pending");
	for (open = put_array_open(c); p && (!count || (int64_t)n < count);
	    n++) {
		put_array(c, 3);
		put_sid(c, p->id);
		put_int(c, p->at);
		put_int(c, p->count);
		p = RB_NEXT(consumer_pending, &who->pending, p);
	}
	put_array_close(c, open, n);
}

static void
put_full_group(struct kcall *c, const struct stream *s, struct sgroup *g,
    int64_t count)
{
	struct sconsumer *who;

	put_array(c, 14);
	put_name(c, "name");
	put_bytes(c, g->name, g->len);
	put_pair_sid(c, "last-delivered-id", g->last_id);
	put_lag(c, s, g);
	put_pair_int(c, "pel-count", (int64_t)g->npending);
	put_name(c, "pending");
	put_group_pending(c, g, count);
	put_name(c, "consumers");
	put_array(c, g->nconsumers);
	RB_FOREACH(who, consumers, &g->consumers)
		put_full_consumer(c, who, count);
}

static void
show_full(struct kcall *c, struct stream *s, int64_t count)
{
	struct splace p = stream_from(s, (struct sid){0, 0});
	size_t open, n = 0;
	struct sgroup *g;

	put_array(c, 18);
	put_head(c, s);
	put_name(c, "entries");
	for (open = put_array_open(c); stream_at(s, p) &&
	    (!count || (int64_t)n < count); n++) {
		put_entry(c, s, p);
		stream_step(s, &p, false);
	}
	put_array_close(c, open, n);
	put_name(c, "groups");
	put_array(c, s->ngroups);
	RB_FOREACH(g, groups, &s->groups)
		put_full_group(c, s, g, count);
}

/* --- the subcommands --- */

static void
info_stream(struct kcall *c, struct stream *s)
{
	int64_t count = FULL_COUNT;
	bool full = c->argc > 3;

	if (full && ((c->argc != 4 && c->argc != 6) ||
	    !is(c->argv[3], "FULL") ||
	    (c->argc == 6 && !is(c->argv[4], "COUNT")))) {
		put_error(c, "ERR unknown subcommand or wrong number of"
		    " arguments for '%.*s'. Try XINFO HELP.",
		    (int)c->argv[1].len, c->argv[1].data);
		return;
	}
	if (c->argc == 6 && !arg_number(c, 5, &count))
		return;
	if (full)
		show_full(c, s, count < 0 ? FULL_COUNT : count);
	else
		show_stream(c, s);
}

static void
info_groups(struct kcall *c, struct stream *s)
{
	struct sgroup *g;

	put_array(c, s->ngroups);
	RB_FOREACH(g, groups, &s->groups) {
		put_array(c, 12);
		put_name(c, "name");
		put_bytes(c, g->name, g->len);
		put_pair_int(c, "consumers", (int64_t)g->nconsumers);
		put_pair_int(c, "pending", (int64_t)g->npending);
		put_pair_sid(c, "last-delivered-id", g->last_id);
		put_lag(c, s, g);
	}
}

static void
info_consumers(struct kcall *c, struct stream *s)
{
	struct sgroup *g = group_find(s, c->argv[3]);
	struct sconsumer *who;

	if (!g) {
		put_error(c, "NOGROUP No such consumer group '%.*s' for key"
		    " name '%.*s'", (int)c->argv[3].len, c->argv[3].data,
		    (int)c->argv[2].len, c->argv[2].data);
		return;
	}
	put_array(c, g->nconsumers);
	RB_FOREACH(who, consumers, &g->consumers) {
		int64_t idle = c->ks->wall_ms - who->seen;

		put_array(c, 6);
		put_name(c, "name");
		put_bytes(c, who->name, who->len);
		put_pair_int(c, "pending", (int64_t)who->npending);
		put_pair_int(c, "idle", idle < 0 ? 0 : idle);
	}
}

static const struct sub {
	const char *name, *arity_name;
	int arity;
	void (*fn)(struct kcall *c, struct stream *s);
} subs[] = {
	{"STREAM", "stream", -3, info_stream},
	{"GROUPS", "groups", 3, info_groups},
	{"CONSUMERS", "consumers", 4, info_consumers},
};

static void
help(struct kcall *c)
{
	static const char *const lines[] = {
		("XINFO <subcommand> [<arg> [value] [opt] ...]."
		    " Subcommands are:"),
		"CONSUMERS <key> <groupname>",
		"GROUPS <key>",
		"STREAM <key> [FULL [COUNT <count>]]",
	};

	put_array(c, nitems(lines));
	for (size_t i = 0; i < nitems(lines); i++)
		put_status(c, lines[i]);
}

void
k_xinfo(struct kcall *c)
{
	const struct sub *sub = NULL;
	int argc = (int)c->argc;
	struct key *k;

	for (size_t i = 0; i < nitems(subs); i++)
		if (is(c->argv[1], subs[i].name))
			sub = &subs[i];
	if (!sub && argc == 2 && is(c->argv[1], "HELP"))
		help(c);
	else if (!sub)
		put_error(c, "ERR unknown subcommand '%.*s'. Try XINFO HELP.",
		    (int)(c->argv[1].len > 128 ? 128 : c->argv[1].len),
		    c->argv[1].data);
	else if (sub->arity < 0 ? argc < -sub->arity : argc != sub->arity)
		put_error(c, "ERR wrong number of arguments for 'xinfo|%s'"
		    " command", sub->arity_name);
	else if (key_find_as(c, c->argv[2], KEY_STREAM, &k) && !k)
		put_error(c, "ERR no such key");
	else if (!put_failed(c))
		sub->fn(c, stream_of(k));
}
