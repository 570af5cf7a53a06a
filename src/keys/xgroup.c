/* SPDX-License-Identifier: MIT */
/* XGROUP and XACK. */
#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/stream.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* What the subcommands begin with. */
struct where {
	struct key *k;
	struct sgroup *g;		/* NULL: there is none of that name */
	struct sconsumer *who;
	bool make_stream;
	int64_t entries_read;
};

/* --- one subcommand each --- */

static bool
parse_id(struct kcall *c, const struct where *w, bool strict,
    struct sid *ret)
{
	struct bh_bytes word = c->argv[4];

	if (word.len == 1 && word.data[0] == '$') {
		*ret = w->k ? stream_of(w->k)->last_id : (struct sid){0, 0};
		return true;
	}
	return arg_sid(c, word, 0, strict, ret);
}

static void
group_create(struct kcall *c, struct where *w)
{
	struct sgroup *g;
	struct sid id;

	if (!parse_id(c, w, true, &id))
		return;
	if (w->g) {
		put_error(c, "BUSYGROUP Consumer Group name already exists");
		return;
	}
	if (!w->k)
		w->k = key_make(c, c->argv[2], KEY_STREAM);
	g = group_add(stream_of(w->k), c->argv[3],
	    stream_of(w->k)->next_group);
	g->last_id = id;
	g->entries_read = w->entries_read;
	row_group(c, w->k, g);
	put_ok(c);
	key_settled(c, w->k);
}

static void
group_setid(struct kcall *c, struct where *w)
{
	struct sid id;

	if (!parse_id(c, w, false, &id))
		return;
	w->g->last_id = id;
	w->g->entries_read = w->entries_read;
	row_group(c, w->k, w->g);
	put_ok(c);
	key_settled(c, w->k);
}

/* Up to a slice of what is pending of the consumer (NULL: of all) is
 * forgotten; true: there is more. */
static bool
forget_some(struct kcall *c, const struct where *w)
{
	struct stream *s = stream_of(w->k);
	struct pending *p = NULL;

	for (int left = SLICE_ENTRIES; left > 0; left--) {
		p = w->who ? RB_ROOT(&w->who->pending) :
		    RB_ROOT(&w->g->pending);
		if (!p)
			return false;
		row_pending_gone(c, w->k, w->g, p->id);
		pending_remove(s, w->g, p);
	}
	return true;
}

static bool
destroy_step(struct kcall *c)
{
	const struct where *w = c->state;
	struct stream *s = stream_of(w->k);
	struct sconsumer *who;

	if (forget_some(c, w))
		return true;
	while ((who = RB_ROOT(&w->g->consumers))) {
		row_consumer_gone(c, w->k, w->g, who);
		consumer_remove(s, w->g, who);
	}
	row_group_gone(c, w->k, w->g);
	group_remove(s, w->g);
	key_settled(c, w->k);
	return false;
}

static bool
consumer_step(struct kcall *c)
{
	const struct where *w = c->state;

	if (forget_some(c, w))
		return true;
	row_consumer_gone(c, w->k, w->g, w->who);
	consumer_remove(stream_of(w->k), w->g, w->who);
	key_settled(c, w->k);
	return false;
}

static void
walk(struct kcall *c, const struct where *w, bool (*step)(struct kcall *c))
{
	c->state = xmemdup(w, sizeof(*w));
	c->drop = free;
	c->step = step;
}

static void
group_destroy(struct kcall *c, struct where *w)
{
	put_int(c, w->g != NULL);
	if (w->g)
		walk(c, w, destroy_step);
}

static void
consumer_create(struct kcall *c, struct where *w)
{
	bool new = !consumer_find(w->g, c->argv[4]);

	if (new)
		seen_consumer(c, w->k, w->g, c->argv[4]);
	put_int(c, new);
}

static void
consumer_delete(struct kcall *c, struct where *w)
{
	w->who = consumer_find(w->g, c->argv[4]);
	put_int(c, w->who ? (int64_t)w->who->npending : 0);
	if (w->who)
		walk(c, w, consumer_step);
}

/* --- XGROUP --- */

static const struct sub {
	const char *name, *arity_name;
	int arity;
	bool needs_group, reads_opts;
	void (*fn)(struct kcall *c, struct where *w);
} subs[] = {
	{"CREATE", "create", -5, false, true, group_create},
	{"SETID", "setid", -5, true, true, group_setid},
	{"DESTROY", "destroy", 4, false, false, group_destroy},
	{"CREATECONSUMER", "createconsumer", 5, true, false, consumer_create},
	{"DELCONSUMER", "delconsumer", 5, true, false, consumer_delete},
};

static bool
parse_opts(struct kcall *c, const struct sub *sub, struct where *w)
{
	for (size_t i = 5; sub->reads_opts && i < c->argc; i++) {
		if (sub->fn == group_create && is(c->argv[i], "MKSTREAM")) {
			w->make_stream = true;
		} else if (is(c->argv[i], "ENTRIESREAD") &&
		    i + 1 < c->argc) {
			if (!arg_number(c, ++i, &w->entries_read))
				return false;
			if (w->entries_read >= -1)
				continue;
			put_error(c, "ERR value for ENTRIESREAD must be"
			    " positive or -1");
			return false;
		} else {
			put_error(c, "ERR unknown subcommand or wrong number"
			    " of arguments for '%.*s'. Try XGROUP HELP.",
			    (int)c->argv[1].len, c->argv[1].data);
			return false;
		}
	}
	return true;
}

static bool
find(struct kcall *c, const struct sub *sub, struct where *w)
{
	if (!key_find_as(c, c->argv[2], KEY_STREAM, &w->k))
		return false;
	if (w->k)
		w->g = group_find(stream_of(w->k), c->argv[3]);
	if (!w->k && !w->make_stream) {
		put_error(c, "ERR The XGROUP subcommand requires the key to"
		    " exist. Note that for CREATE you may want to use the"
		    " MKSTREAM option to create an empty stream"
		    " automatically.");
		return false;
	}
	if (sub->needs_group && !w->g) {
		put_error(c, "NOGROUP No such consumer group '%.*s' for key"
		    " name '%.*s'", (int)c->argv[3].len, c->argv[3].data,
		    (int)c->argv[2].len, c->argv[2].data);
		return false;
	}
	return true;
}

static void
help(struct kcall *c)
{
	static const char *const lines[] = {
		"XGROUP <subcommand> [<arg> [value] [opt] ...]."
		    " Subcommands are:",
		"CREATE <key> <groupname> <id|$> [MKSTREAM]"
		    " [ENTRIESREAD entries_read]",
		"CREATECONSUMER <key> <groupname> <consumer>",
		"DELCONSUMER <key> <groupname> <consumer>",
		"DESTROY <key> <groupname>",
		"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
	};

	put_array(c, nitems(lines));
	for (size_t i = 0; i < nitems(lines); i++)
		put_status(c, lines[i]);
}

void
k_xgroup(struct kcall *c)
{
	struct where w = {.entries_read = -1};
	const struct sub *sub = NULL;
	int argc = (int)c->argc;

	for (size_t i = 0; i < nitems(subs); i++)
		if (is(c->argv[1], subs[i].name))
			sub = &subs[i];
	if (!sub && argc == 2 && is(c->argv[1], "HELP"))
		help(c);
	else if (!sub)
		put_error(c, "ERR unknown subcommand '%.*s'. Try XGROUP"
		    " HELP.", (int)(c->argv[1].len > 128 ? 128 :
		    c->argv[1].len), c->argv[1].data);
	else if (sub->arity < 0 ? argc < -sub->arity : argc != sub->arity)
		put_error(c, "ERR wrong number of arguments for 'xgroup|%s'"
		    " command", sub->arity_name);
	else if (parse_opts(c, sub, &w) && find(c, sub, &w))
		sub->fn(c, &w);
}

/* --- XACK --- */

void
k_xack(struct kcall *c)
{
	struct key *k;
	struct sgroup *g;
	struct pending *p;
	struct sid id;
	int64_t n = 0;

	if (!key_find_as(c, c->argv[1], KEY_STREAM, &k))
		return;
	g = k ? group_find(stream_of(k), c->argv[2]) : NULL;
	if (!g) {
		put_int(c, 0);
		return;
	}
	if (!args_are_sids(c, 3, c->argc))
		return;
	for (size_t i = 3; i < c->argc; i++) {
		if (!arg_sid(c, c->argv[i], 0, true, &id) ||
		    !(p = pending_find(g, id)))
			continue;
		row_pending_gone(c, k, g, id);
		pending_remove(stream_of(k), g, p);
		n++;
	}
	put_int(c, n);
	if (n > 0)
		key_settled(c, k);
}
