/* SPDX-License-Identifier: MIT */
/*
 * Streams as a type of value, and their rows. What a row is says the first
 * byte of its name; numbers in names are big-endian, those in values varints.
 *
 *   meta                     last id, greatest deleted id, entries ever
 *   entry id                 what it holds, see stream.h
 *   group number             last id, entries read + 1, name
 *   consumer group number    when it was made, name
 *   pending group id         consumer, when delivered, how often
 *
 * A new entry is one row: the last id and the count of entries are those of
 * the last one, unless meta has a greater id.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "keys/stream.h"

/* In the order in which they are needed when they are read back. */
enum row { ROW_META = 1, ROW_ENTRY, ROW_GROUP, ROW_CONSUMER, ROW_PENDING };

enum { NAME_MAX_BYTES = 1 + 4 + 16, NUMBERS_MAX = 5 * 10 };

/* Those that have been read, by number: in the order of their rows. */
struct loaded_consumer {
	uint32_t group;
	struct sconsumer *who;
};

struct stream_loading {
	struct sgroup **groups;
	size_t ngroups, groups_cap;
	struct loaded_consumer *consumers;
	size_t nconsumers, consumers_cap;
};

/* --- names and numbers --- */

struct row_name {
	char data[NAME_MAX_BYTES];
	size_t len;
};

static void
add_be(struct row_name *n, uint64_t v, size_t bytes)
{
	for (size_t i = bytes; i-- > 0;)
		n->data[n->len++] = (char)(v >> (8 * i));
}

static struct row_name
name_of(enum row row)
{
	return (struct row_name){.data = {(char)row}, .len = 1};
}

static void
add_sid(struct row_name *n, struct sid id)
{
	add_be(n, id.ms, 8);
	add_be(n, id.seq, 8);
}

static struct bh_bytes
name_bytes(const struct row_name *n)
{
	return (struct bh_bytes){n->data, n->len};
}

static uint64_t
take_be(struct bh_bytes *from, size_t bytes)
{
	uint64_t v = 0;

	for (; bytes > 0 && from->len > 0; bytes--, from->len--)
		v = v << 8 | (unsigned char)*from->data++;
	return v;
}

static struct sid
take_sid(struct bh_bytes *from)
{
	struct sid id;

	id.ms = take_be(from, 8);
	id.seq = take_be(from, 8);
	return id;
}

static struct sid
take_varint_sid(struct bh_bytes *from)
{
	struct sid id;

	id.ms = varint_get(from);
	id.seq = varint_get(from);
	return id;
}

static size_t
add_number(char *out, size_t at, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		out[at++] = (char)(v | 0x80);
	out[at++] = (char)v;
	return at;
}

static size_t
add_numbers(char *out, const uint64_t *v, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++)
		at = add_number(out, at, v[i]);
	return at;
}

/* --- rows, to whoever wants them --- */

struct out {
	kpart_fn *fn;
	void *arg;
};

static void
put_numbers(const struct out *o, const struct row_name *n, const uint64_t *v,
    size_t count)
{
	char value[NUMBERS_MAX];
	size_t len = add_numbers(value, v, count);

	o->fn(o->arg, name_bytes(n), (struct bh_bytes){value, len});
}

static void
put_named(const struct out *o, const struct row_name *n, const uint64_t *v,
    size_t count, const char *name, size_t len)
{
	char *value = xmalloc(NUMBERS_MAX + len);
	size_t at = add_numbers(value, v, count);

	if (len)
		memcpy(value + at, name, len);
	o->fn(o->arg, name_bytes(n), (struct bh_bytes){value, at + len});
	free(value);
}

static void
put_meta(const struct out *o, const struct stream *s)
{
	struct row_name n = name_of(ROW_META);
	uint64_t v[] = {s->last_id.ms, s->last_id.seq, s->max_deleted.ms,
	    s->max_deleted.seq, s->added};

	put_numbers(o, &n, v, nitems(v));
}

static struct row_name
entry_name(struct sid id)
{
	struct row_name n = name_of(ROW_ENTRY);

	add_sid(&n, id);
	return n;
}

static struct row_name
group_name(const struct sgroup *g)
{
	struct row_name n = name_of(ROW_GROUP);

	add_be(&n, g->id, 4);
	return n;
}

static struct row_name
consumer_name(const struct sgroup *g, const struct sconsumer *who)
{
	struct row_name n = name_of(ROW_CONSUMER);

	add_be(&n, g->id, 4);
	add_be(&n, who->id, 4);
	return n;
}

static struct row_name
pending_name(const struct sgroup *g, struct sid id)
{
	struct row_name n = name_of(ROW_PENDING);

	add_be(&n, g->id, 4);
	add_sid(&n, id);
	return n;
}

static void
put_group(const struct out *o, const struct sgroup *g)
{
	struct row_name n = group_name(g);
	uint64_t v[] = {g->last_id.ms, g->last_id.seq,
	    (uint64_t)(g->entries_read + 1)};

	put_named(o, &n, v, nitems(v), g->name, g->len);
}

static void
put_consumer(const struct out *o, const struct sgroup *g,
    const struct sconsumer *who)
{
	struct row_name n = consumer_name(g, who);
	uint64_t v[] = {(uint64_t)who->seen};

	put_named(o, &n, v, nitems(v), who->name, who->len);
}

static void
put_pending(const struct out *o, const struct sgroup *g,
    const struct pending *p)
{
	struct row_name n = pending_name(g, p->id);
	uint64_t v[] = {p->who->id, (uint64_t)p->at, (uint64_t)p->count};

	put_numbers(o, &n, v, nitems(v));
}

/* --- rows that follow a change --- */

struct change {
	struct kcall *call;
	struct key *key;
};

static void
write_part(void *arg, struct bh_bytes part, struct bh_bytes value)
{
	struct change *ch = arg;

	key_part_set(ch->call, ch->key, part, value);
}

void
row_entry(struct kcall *c, struct key *k, struct sid id, struct bh_bytes data)
{
	struct row_name n = entry_name(id);

	key_part_set(c, k, name_bytes(&n), data);
}

void
row_entry_gone(struct kcall *c, struct key *k, struct sid id)
{
	struct row_name n = entry_name(id);

	key_part_del(c, k, name_bytes(&n));
}

void
row_meta(struct kcall *c, struct key *k)
{
	put_meta(&(struct out){write_part, &(struct change){c, k}},
	    stream_of(k));
}

void
row_group(struct kcall *c, struct key *k, const struct sgroup *g)
{
	put_group(&(struct out){write_part, &(struct change){c, k}}, g);
}

void
row_group_gone(struct kcall *c, struct key *k, const struct sgroup *g)
{
	struct row_name n = group_name(g);

	key_part_del(c, k, name_bytes(&n));
}

void
row_consumer(struct kcall *c, struct key *k, const struct sgroup *g,
    const struct sconsumer *who)
{
	put_consumer(&(struct out){write_part, &(struct change){c, k}}, g, who);
}

void
row_consumer_gone(struct kcall *c, struct key *k, const struct sgroup *g,
    const struct sconsumer *who)
{
	struct row_name n = consumer_name(g, who);

	key_part_del(c, k, name_bytes(&n));
}

void
row_pending(struct kcall *c, struct key *k, const struct sgroup *g,
    const struct pending *p)
{
	put_pending(&(struct out){write_part, &(struct change){c, k}}, g, p);
}

void
row_pending_gone(struct kcall *c, struct key *k, const struct sgroup *g,
    struct sid id)
{
	struct row_name n = pending_name(g, id);

	key_part_del(c, k, name_bytes(&n));
}

/* --- the type --- */

static const char *
encoding(const void *obj)
{
	(void)obj;
	return "stream";
}

static void *
make(void)
{
	return stream_new();
}

static void
copy_group(struct stream *to, const struct sgroup *g)
{
	struct sgroup *new = group_add(to, (struct bh_bytes){g->name, g->len},
	    g->id);
	struct consumers own = g->consumers;
	struct sconsumer *who;
	struct pending *p, *q;

	new->last_id = g->last_id;
	new->entries_read = g->entries_read;
	RB_FOREACH(who, consumers, &own) {
		struct sconsumer *other = consumer_add(to, new,
		    (struct bh_bytes){who->name, who->len}, who->id);

		other->seen = who->seen;
		RB_FOREACH(p, consumer_pending, &who->pending) {
			q = pending_add(to, new, other, p->id);
			q->at = p->at;
			q->count = p->count;
		}
	}
}

static void *
copy(const void *obj)
{
	const struct stream *from = obj;
	struct stream *to = stream_new();
	struct groups all = from->groups;
	struct splace p = stream_from(from, (struct sid){0, 0});
	const struct sentry *e;
	struct sgroup *g;

	for (; (e = stream_at(from, p)); stream_step(from, &p, false))
		stream_append_raw(to, e->id, stream_data(from, p));
	to->last_id = from->last_id;
	to->max_deleted = from->max_deleted;
	to->added = from->added;
	RB_FOREACH(g, groups, &all)
		copy_group(to, g);
	return to;
}

static bool
free_some(void *obj, int *budget)
{
	struct stream *s = obj;

	while (s->first < s->end && *budget > 0) {
		const struct sblock *b = s->blocks[s->first];

		*budget -= 1 + (int)(b->n - b->head) / 16;
		stream_free_block(s);
	}
	if (s->first < s->end || !groups_free_some(s, budget))
		return false;
	free(s->blocks);
	free(s);
	return true;
}

static size_t
length(const void *obj)
{
	return ((const struct stream *)obj)->length;
}

static size_t
bytes(const void *obj)
{
	return ((const struct stream *)obj)->bytes;
}

static size_t
parts(const void *obj)
{
	const struct stream *s = obj;

	return 1 + s->length + s->rows;
}

static void
each_part(const void *obj, kpart_fn *fn, void *arg)
{
	const struct stream *s = obj;
	struct out o = {fn, arg};
	struct groups all = s->groups;
	struct splace p = stream_from(s, (struct sid){0, 0});
	const struct sentry *e;
	struct sgroup *g;
	struct sconsumer *who;
	struct pending *q;

	put_meta(&o, s);
	for (; (e = stream_at(s, p)); stream_step(s, &p, false)) {
		struct row_name n = entry_name(e->id);

		fn(arg, name_bytes(&n), stream_data(s, p));
	}
	RB_FOREACH(g, groups, &all) {
		put_group(&o, g);
		RB_FOREACH(who, consumers, &g->consumers)
			put_consumer(&o, g, who);
		RB_FOREACH(q, group_pending, &g->pending)
			put_pending(&o, g, q);
	}
}

/* --- read back --- */

static struct stream_loading *
loading_of(struct stream *s)
{
	if (!s->loading)
		s->loading = xcalloc(1, sizeof(*s->loading));
	return s->loading;
}

static void
load_meta(struct stream *s, struct bh_bytes value)
{
	s->last_id = take_varint_sid(&value);
	s->max_deleted = take_varint_sid(&value);
	s->added = varint_get(&value);
}

static void
load_entry(struct stream *s, struct bh_bytes name, struct bh_bytes value)
{
	struct sid id = take_sid(&name), last = s->last_id;
	uint64_t added = s->added;

	stream_append_raw(s, id, value);
	if (sid_cmp(id, last) > 0) {
		s->added = varint_get(&value);
	} else {
		s->last_id = last;
		s->added = added;
	}
}

static void
load_group(struct stream *s, struct bh_bytes name, struct bh_bytes value)
{
	struct stream_loading *l = loading_of(s);
	struct sid last = take_varint_sid(&value);
	int64_t entries_read = (int64_t)varint_get(&value) - 1;
	struct sgroup *g = group_add(s, value, (uint32_t)take_be(&name, 4));

	g->last_id = last;
	g->entries_read = entries_read;
	if (l->ngroups == l->groups_cap) {
		l->groups_cap = l->groups_cap ? l->groups_cap * 2 : 8;
		l->groups = xrealloc(l->groups,
		    l->groups_cap * sizeof(struct sgroup *));
	}
	l->groups[l->ngroups++] = g;
}

static int
cmp_group(const void *key, const void *item)
{
	uint32_t id = *(const uint32_t *)key;
	const struct sgroup *g = *(struct sgroup *const *)item;

	return (id > g->id) - (id < g->id);
}

static struct sgroup *
loaded_group(const struct stream_loading *l, uint32_t id)
{
	struct sgroup **g = l->ngroups ? bsearch(&id, l->groups, l->ngroups,
	    sizeof(struct sgroup *), cmp_group) : NULL;

	return g ? *g : NULL;
}

static void
load_consumer(struct stream *s, struct bh_bytes name, struct bh_bytes value)
{
	struct stream_loading *l = loading_of(s);
	struct sgroup *g = loaded_group(l, (uint32_t)take_be(&name, 4));
	int64_t seen = (int64_t)varint_get(&value);
	struct sconsumer *who;

	if (!g)
		return;
	who = consumer_add(s, g, value, (uint32_t)take_be(&name, 4));
	who->seen = seen;
	if (l->nconsumers == l->consumers_cap) {
		l->consumers_cap = l->consumers_cap ? l->consumers_cap * 2 : 8;
		l->consumers = xrealloc(l->consumers,
		    l->consumers_cap * sizeof(*l->consumers));
	}
	l->consumers[l->nconsumers++] = (struct loaded_consumer){g->id, who};
}

static int
cmp_consumer(const void *key, const void *item)
{
	const uint32_t *ids = key;
	const struct loaded_consumer *c = item;

	if (ids[0] != c->group)
		return ids[0] < c->group ? -1 : 1;
	return (ids[1] > c->who->id) - (ids[1] < c->who->id);
}

/* A consumer was there at its last delivery: what its row does not say. */
static void
load_pending(struct stream *s, struct bh_bytes name, struct bh_bytes value)
{
	struct stream_loading *l = loading_of(s);
	uint32_t group = (uint32_t)take_be(&name, 4);
	uint32_t ids[2] = {group, (uint32_t)varint_get(&value)};
	struct sgroup *g = loaded_group(l, group);
	struct loaded_consumer *at = l->nconsumers ? bsearch(ids,
	    l->consumers, l->nconsumers, sizeof(*at), cmp_consumer) : NULL;
	struct pending *p;

	if (!g || !at)
		return;
	p = pending_add(s, g, at->who, take_sid(&name));
	p->at = (int64_t)varint_get(&value);
	p->count = (int64_t)varint_get(&value);
	if (p->at > at->who->seen)
		at->who->seen = p->at;
}

static void
load_part(void *obj, struct bh_bytes part, struct bh_bytes value)
{
	switch ((enum row)take_be(&part, 1)) {
	case ROW_META:
		load_meta(obj, value);
		break;
	case ROW_ENTRY:
		load_entry(obj, part, value);
		break;
	case ROW_GROUP:
		load_group(obj, part, value);
		break;
	case ROW_CONSUMER:
		load_consumer(obj, part, value);
		break;
	case ROW_PENDING:
		load_pending(obj, part, value);
		break;
	}
}

static void
loaded(void *obj)
{
	struct stream *s = obj;

	if (!s->loading)
		return;
	free(s->loading->groups);
	free(s->loading->consumers);
	free(s->loading);
	s->loading = NULL;
}

const struct ktype stream_type = {
	.name = "stream",
	.encoding = encoding,
	.make = make,
	.copy = copy,
	.free_some = free_some,
	.length = length,
	.may_be_empty = true,
	.bytes = bytes,
	.parts = parts,
	.each_part = each_part,
	.load_part = load_part,
	.loaded = loaded,
};
