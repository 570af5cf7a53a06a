/* SPDX-License-Identifier: MIT */
/*
 * XREAD and XREADGROUP. What there is to read is shown slice by slice; when
 * there is nothing, the call waits for one of its keys if it says BLOCK.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/stream.h"

/* Entries for one that has waited and does not say COUNT. */
enum { COUNT_AFTER_WAIT = 1000 };

/* One of its streams. from: what comes next is past it; SID_MAX: what the
 * group has not delivered yet. */
struct source {
	struct bh_bytes name;
	struct sid from;
	bool history;
};

struct read {
	bool group, no_ack, block;
	struct bh_bytes group_name, consumer;
	int64_t count;			/* 0: all */
	int64_t deadline_ms;
	size_t at, end;			/* sources that are shown */
	size_t shown, list;		/* so many of them; their list's head */
	/* Of that one: */
	struct key *key;
	struct sgroup *g;
	struct sconsumer *who;
	size_t open;			/* its list's head; 0 not begun */
	size_t n;
	struct sid next;
	size_t nsources;
	struct source sources[];
};

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* --- its words --- */

static bool
parse_block(struct kcall *c, size_t i, struct read *r)
{
	int64_t ms;

	if (!num_int(c->argv[i], &ms)) {
		put_error(c, "ERR timeout is not an integer or out of range");
		return false;
	}
	if (ms < 0) {
		put_error(c, "ERR timeout is negative");
		return false;
	}
	if (ms > INT64_MAX - c->ks->mono_ms) {
		put_error(c, "ERR timeout is out of range");
		return false;
	}
	r->block = true;
	r->deadline_ms = ms ? c->ks->mono_ms + ms : 0;
	return true;
}

static bool
only_group(struct kcall *c, bool is_group, const char *word)
{
	if (!is_group)
		put_error(c, "ERR The %s option is only supported by"
		    " XREADGROUP. You called XREAD instead.", word);
	return is_group;
}

/* The index of the first key; 0: the answer is an error. */
static size_t
parse_opts(struct kcall *c, struct read *r, bool is_group)
{
	for (size_t i = 1; i < c->argc; i++) {
		size_t more = c->argc - 1 - i;

		if (more && is(c->argv[i], "BLOCK")) {
			if (!parse_block(c, ++i, r))
				return 0;
		} else if (more && is(c->argv[i], "COUNT")) {
			if (!arg_number(c, ++i, &r->count))
				return 0;
			if (r->count < 0)
				r->count = 0;
		} else if (more && is(c->argv[i], "STREAMS")) {
			return i + 1;
		} else if (more >= 2 && is(c->argv[i], "GROUP")) {
			if (!only_group(c, is_group, "GROUP"))
				return 0;
			r->group = true;
			r->group_name = c->argv[i + 1];
			r->consumer = c->argv[i + 2];
			i += 2;
		} else if (is(c->argv[i], "NOACK")) {
			if (!only_group(c, is_group, "NOACK"))
				return 0;
			r->no_ack = true;
		} else {
			break;
		}
	}
	put_syntax(c);
	return 0;
}

static bool
parse_from(struct kcall *c, const struct read *r, struct bh_bytes word,
    const struct key *k, struct sid *ret)
{
	bool one = word.len == 1;

	if (one && word.data[0] == '$') {
		if (r->group) {
			put_error(c, "ERR The $ ID is meaningless in the"
			    " context of XREADGROUP: you want to read the"
			    " history of this consumer by specifying a proper"
			    " ID, or use the > ID to get new messages. The $"
			    " ID would just return an empty result set.");
			return false;
		}
		*ret = k ? stream_of(k)->last_id : (struct sid){0, 0};
		return true;
	}
	if (one && word.data[0] == '>') {
		if (!r->group)
			put_error(c, "ERR The > ID can be specified only when"
			    " calling XREADGROUP using the GROUP <group>"
			    " <consumer> option.");
		*ret = SID_MAX;
		return r->group;
	}
	return arg_sid(c, word, 0, true, ret);
}

static bool
parse_source(struct kcall *c, struct read *r, size_t key, size_t id)
{
	struct source *src = &r->sources[r->nsources];
	struct key *k;

	*src = (struct source){.name = c->argv[key]};
	if (!key_find_as(c, src->name, KEY_STREAM, &k))
		return false;
	if (r->group && (!k || !group_find(stream_of(k), r->group_name))) {
		put_error(c, "NOGROUP No such key '%.*s' or consumer group"
		    " '%.*s' in XREADGROUP with GROUP option",
		    (int)src->name.len, src->name.data,
		    (int)r->group_name.len, r->group_name.data);
		return false;
	}
	if (!parse_from(c, r, c->argv[id], k, &src->from))
		return false;
	src->history = r->group && sid_cmp(src->from, SID_MAX) != 0;
	r->nsources++;
	return true;
}

/* NULL: the answer is an error. */
static struct read *
parse(struct kcall *c, bool is_group)
{
	struct read opts = {0}, *r = NULL;
	size_t first = parse_opts(c, &opts, is_group), n;

	if (!first)
		return NULL;
	n = (c->argc - first) / 2;
	if ((c->argc - first) % 2) {
		put_error(c, "ERR Unbalanced XREAD list of streams: for each"
		    " stream key an ID or '$' must be specified.");
		return NULL;
	}
	if (is_group && !opts.group) {
		put_error(c, "ERR Missing GROUP option for XREADGROUP");
		return NULL;
	}
	r = xcalloc(1, sizeof(*r) + n * sizeof(r->sources[0]));
	memcpy(r, &opts, sizeof(opts));
	for (size_t i = 0; i < n; i++) {
		if (parse_source(c, r, first + i, first + n + i))
			continue;
		free(r);
		return NULL;
	}
	return r;
}

/* --- showing --- */

/* A group has got this entry: where it stands, and what is pending. */
static void
deliver(struct kcall *c, struct read *r, struct sid id)
{
	struct stream *s = stream_of(r->key);
	struct pending *p;

	if (sid_cmp(id, r->g->last_id) > 0) {
		if (r->g->entries_read != -1 && !stream_has_holes(s, id))
			r->g->entries_read++;
		else if (s->added)
			r->g->entries_read = stream_read_up_to(s, id);
		r->g->last_id = id;
	}
	if (r->no_ack)
		return;
	/* After XGROUP SETID it may be pending already, of anybody. */
	p = pending_find(r->g, id);
	if (p)
		pending_move(p, r->who);
	else
		p = pending_add(s, r->g, r->who, id);
	p->at = c->ks->wall_ms;
	p->count = 1;
	row_pending(c, r->key, r->g, p);
}

/* One entry that is past r->next; false: there is no further one. */
static bool
show_next(struct kcall *c, struct read *r)
{
	const struct stream *s = stream_of(r->key);
	struct splace at = stream_from(s, r->next);
	const struct sentry *e = stream_at(s, at);
	struct sid id;

	if (!e)
		return false;
	id = e->id;
	put_entry(c, s, at);
	r->n++;
	if (r->group)
		deliver(c, r, id);
	r->next = id;
	return sid_next(&r->next);
}

/* One that is pending of the consumer. */
static bool
show_pending(struct kcall *c, struct read *r)
{
	const struct stream *s = stream_of(r->key);
	struct pending *p = pending_of(r->who, r->next);

	if (!p)
		return false;
	if (stream_find(s, p->id)) {
		put_entry(c, s, stream_from(s, p->id));
		p->at = c->ks->wall_ms;
		p->count++;
		row_pending(c, r->key, r->g, p);
	} else {
		put_array(c, 2);
		put_sid(c, p->id);
		put_null_array(c);
	}
	r->n++;
	r->next = p->id;
	return sid_next(&r->next);
}

static void
begin_source(struct kcall *c, struct read *r, const struct source *src)
{
	r->next = src->from;
	r->n = 0;
	r->key = key_peek(c, src->name);
	if (r->group) {
		r->g = group_find(stream_of(r->key), r->group_name);
		r->who = seen_consumer(c, r->key, r->g, r->consumer);
	}
	put_array(c, 2);
	put_bytes(c, src->name.data, src->name.len);
	r->open = put_array_open(c);
}

static void
end_source(struct kcall *c, struct read *r, const struct source *src)
{
	put_array_close(c, r->open, r->n);
	r->open = 0;
	if (!r->group)
		return;
	if (!src->history)
		row_group(c, r->key, r->g);
	key_settled(c, r->key);
}

/* *left entries of it at most; true: there are more. */
static bool
show_source(struct kcall *c, struct read *r, const struct source *src,
    int *left)
{
	bool more;

	if (!r->open) {
		begin_source(c, r, src);
		more = sid_next(&r->next);
	} else {
		more = true;
	}
	while (more && (!r->count || r->n < (size_t)r->count)) {
		if (--*left < 0)
			return true;
		more = src->history ? show_pending(c, r) : show_next(c, r);
	}
	end_source(c, r, src);
	return false;
}

/* Whether this source has something, and from where on: of a group, what it
 * has not delivered. */
static bool
has_news(const struct read *r, struct source *src, const struct stream *s,
    struct sid top)
{
	if (src->history)
		return true;
	if (r->group)
		src->from = group_find(s, r->group_name)->last_id;
	return sid_cmp(top, src->from) > 0;
}

static bool
is_ready(struct kcall *c, struct read *r, struct source *src)
{
	struct key *k = key_peek(c, src->name);
	struct stream *s;

	if (!k)
		return false;
	s = stream_of(k);
	return (s->length > 0 || src->history) &&
	    has_news(r, src, s, stream_top_id(s));
}

static bool
show(struct kcall *c)
{
	struct read *r = c->state;
	int left = SLICE_ENTRIES;

	for (; r->at < r->end; r->at++) {
		struct source *src = &r->sources[r->at];

		/* What comes twice was delivered the first time. */
		if (!r->open && !is_ready(c, r, src))
			continue;
		if (show_source(c, r, src, &left))
			return true;
		r->shown++;
	}
	put_array_close(c, r->list, r->shown);
	return false;
}

static void
begin_show(struct kcall *c, struct read *r, size_t at, size_t end)
{
	r->at = at;
	r->end = end;
	r->list = put_array_open(c);
	c->step = show;
}

/* --- when there is nothing --- */

static void
show_none(struct kcall *c)
{
	put_null_array(c);
}

/* A key has changed that a call waits for. */
static bool
again(struct kcall *c, struct bh_bytes name)
{
	struct read *r = c->state;
	struct source *src = r->sources;
	struct key *k = key_peek(c, name);
	bool mine = k && key_type_of(k) == KEY_STREAM;

	if (!mine && !r->group)
		return false;
	if (!mine) {
		put_error(c, "UNBLOCKED the stream key no longer exists");
		return true;
	}
	if (r->group && !group_find(stream_of(k), r->group_name)) {
		put_error(c, "NOGROUP the consumer group this client was"
		    " blocked on no longer exists");
		return true;
	}
	while (!bytes_equal(src->name, name))
		src++;
	if (!has_news(r, src, stream_of(k), stream_of(k)->last_id))
		return false;
	if (!r->count)
		r->count = COUNT_AFTER_WAIT;
	begin_show(c, r, (size_t)(src - r->sources),
	    (size_t)(src - r->sources) + 1);
	return true;
}

static void
wait(struct kcall *c, const struct read *r)
{
	struct bh_bytes *names = xcalloc(r->nsources, sizeof(*names));

	for (size_t i = 0; i < r->nsources; i++)
		names[i] = r->sources[i].name;
	c->gone_too = r->group;
	call_park(c, names, r->nsources, r->deadline_ms, again, show_none);
	free(names);
}

static bool
any_ready(struct kcall *c, struct read *r)
{
	for (size_t i = 0; i < r->nsources; i++)
		if (is_ready(c, r, &r->sources[i]))
			return true;
	return false;
}

static void
run(struct kcall *c, bool is_group)
{
	struct read *r = parse(c, is_group);

	if (!r)
		return;
	c->state = r;
	c->drop = free;
	if (any_ready(c, r)) {
		begin_show(c, r, 0, r->nsources);
	} else if (r->block) {
		wait(c, r);
	} else {
		put_null_array(c);
	}
}

/* XREAD [COUNT n] [BLOCK ms] STREAMS key … id … */
void
k_xread(struct kcall *c)
{
	run(c, false);
}

/* XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS … */
void
k_xreadgroup(struct kcall *c)
{
	run(c, true);
}
