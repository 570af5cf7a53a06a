/* SPDX-License-Identifier: MIT */
#include "keys/bag.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/rng.h"
#include "base/xalloc.h"
#include "ds/map.h"

/* What malloc adds to each block. */
enum { BLOCK_BYTES = 16 };

struct bag_item {
	uint64_t hash;
	uint32_t place;			/* in all */
	uint32_t klen, vlen;
	char data[];			/* key, value */
};

struct bag_table {
	struct map by_key;
	struct bag_item **all;
	size_t cap;
	size_t bytes;			/* of all items */
	unsigned char hash_key[16];
};

static struct bh_bytes
item_key(const struct bag_item *it)
{
	return (struct bh_bytes){it->data, it->klen};
}

static uint64_t
item_hash(const void *item)
{
	return ((const struct bag_item *)item)->hash;
}

static bool
same(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (a.len == 0 ||
	    memcmp(a.data, b.data, a.len) == 0);
}

static bool
item_equal(const void *item, const void *key)
{
	return same(item_key(item), *(const struct bh_bytes *)key);
}

static const struct map_ops item_ops = {item_hash, item_equal};

static size_t
item_bytes(const struct bag_item *it)
{
	return sizeof(*it) + it->klen + it->vlen + BLOCK_BYTES;
}

static uint64_t
hash_of(const struct bag_table *t, struct bh_bytes key)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h, (const unsigned char *)key.data,
	    key.len, t->hash_key);
	return h;
}

/* --- life --- */

struct bag *
bag_new(void)
{
	return xcalloc(1, sizeof(struct bag));
}

struct bag *
bag_copy(const struct bag *b)
{
	struct bag *to = bag_new();
	struct bag_walk w = bag_walk(b, b->n);
	struct bag_pair p;

	to->mark = b->mark;
	while (bag_next(&w, &p))
		(void)bag_set(to, p.key, p.value);
	return to;
}

bool
bag_free_some(struct bag *b, int *budget)
{
	struct bag_table *t = b->big;

	if (t) {
		for (; b->n > 0 && *budget > 0; --*budget)
			free(t->all[--b->n]);
		if (b->n > 0)
			return false;
		map_done(&t->by_key);
		free(t->all);
		free(t);
	}
	--*budget;
	free(b->pack);
	free(b);
	return true;
}

void
bag_free(struct bag **bp)
{
	int budget;

	if (!*bp)
		return;
	do
		budget = 1 << 20;
	while (!bag_free_some(*bp, &budget));
	*bp = NULL;
}

size_t
bag_bytes(const struct bag *b)
{
	const struct bag_table *t = b->big;
	size_t n = sizeof(*b) + BLOCK_BYTES;

	if (!t)
		return n + (b->cap ? b->cap + BLOCK_BYTES : 0);
	return n + sizeof(*t) + BLOCK_BYTES + t->bytes + sizeof(void *) *
	    (t->cap + t->by_key.cap + t->by_key.old_cap);
}

/* --- small: a pack --- */

static struct bag_pair
pack_pair(const char *p)
{
	const unsigned char *len = (const unsigned char *)p;

	return (struct bag_pair){{p + 2, len[0]}, {p + 2 + len[0], len[1]}};
}

static size_t
pack_size(const struct bag_pair *p)
{
	return 2 + p->key.len + p->value.len;
}

/* Where the pair stands, or NULL. */
static char *
pack_find(const struct bag *b, struct bh_bytes key)
{
	char *p = b->pack;

	for (size_t i = 0; i < b->n; i++) {
		struct bag_pair at = pack_pair(p);

		if (same(at.key, key))
			return p;
		p += pack_size(&at);
	}
	return NULL;
}

/* Makes `had` bytes there `want` bytes long; answers with where they are. */
static char *
pack_room(struct bag *b, size_t at, size_t had, size_t want)
{
	size_t used = b->used - had + want;
	bool tight = used < b->cap / 4;

	if (used > b->cap) {
		b->cap = (uint32_t)(used + used / 2 + 8);
		b->pack = xrealloc(b->pack, b->cap);
	}
	memmove(b->pack + at + want, b->pack + at + had, b->used - at - had);
	if (tight) {
		b->cap = (uint32_t)(used + used / 2 + 8);
		b->pack = xrealloc(b->pack, b->cap);
	}
	b->used = (uint32_t)used;
	return b->pack + at;
}

static bool
pack_set(struct bag *b, struct bh_bytes key, struct bh_bytes value)
{
	const char *old = pack_find(b, key);
	size_t at = old ? (size_t)(old - b->pack) : b->used, had = 0;
	char *p;

	if (old) {
		struct bag_pair was = pack_pair(old);

		had = pack_size(&was);
	} else {
		b->n++;
	}
	p = pack_room(b, at, had, 2 + key.len + value.len);
	*p++ = (char)key.len;
	*p++ = (char)value.len;
	if (key.len)
		memcpy(p, key.data, key.len);
	if (value.len)
		memcpy(p + key.len, value.data, value.len);
	return !old;
}

static bool
pack_del(struct bag *b, struct bh_bytes key)
{
	const char *p = pack_find(b, key);
	struct bag_pair was;

	if (!p)
		return false;
	was = pack_pair(p);
	pack_room(b, (size_t)(p - b->pack), pack_size(&was), 0);
	b->n--;
	return true;
}

/* --- big: a table --- */

static struct bag_item *
table_find(const struct bag *b, struct bh_bytes key)
{
	return map_get(&b->big->by_key, hash_of(b->big, key), &key);
}

static void
item_fill(struct bag_item *it, struct bh_bytes value)
{
	it->vlen = (uint32_t)value.len;
	if (value.len)
		memcpy(it->data + it->klen, value.data, value.len);
}

static void
table_add(struct bag *b, struct bh_bytes key, struct bh_bytes value)
{
	struct bag_table *t = b->big;
	struct bag_item *it = xmalloc(sizeof(*it) + key.len + value.len);

	CHECK(b->n < UINT32_MAX);
	if (b->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->all = xrealloc(t->all, t->cap * sizeof(struct bag_item *));
	}
	it->hash = hash_of(t, key);
	it->place = (uint32_t)b->n;
	it->klen = (uint32_t)key.len;
	if (key.len)
		memcpy(it->data, key.data, key.len);
	item_fill(it, value);
	t->all[b->n++] = it;
	map_put(&t->by_key, it);
	t->bytes += item_bytes(it);
}

static bool
table_set(struct bag *b, struct bh_bytes key, struct bh_bytes value)
{
	struct bag_table *t = b->big;
	struct bag_item *it = table_find(b, key);

	if (!it) {
		table_add(b, key, value);
		return true;
	}
	if (it->vlen != value.len) {
		t->bytes -= item_bytes(it);
		map_remove(&t->by_key, it);
		it = xrealloc(it, sizeof(*it) + it->klen + value.len);
		it->vlen = (uint32_t)value.len;
		map_put(&t->by_key, it);
		t->all[it->place] = it;
		t->bytes += item_bytes(it);
	}
	item_fill(it, value);
	return false;
}

/* The last one takes its place. An array that has become far too large for
 * what is left is cut down to it. */
static bool
table_del(struct bag *b, struct bh_bytes key)
{
	struct bag_table *t = b->big;
	struct bag_item *it = table_find(b, key), *last;

	if (!it)
		return false;
	map_remove(&t->by_key, it);
	last = t->all[--b->n];
	t->all[it->place] = last;
	last->place = it->place;
	t->bytes -= item_bytes(it);
	free(it);
	if (t->cap > 64 && b->n < t->cap / 4) {
		t->cap /= 2;
		t->all = xrealloc(t->all, t->cap * sizeof(struct bag_item *));
	}
	return true;
}

static void
make_big(struct bag *b)
{
	struct bag_table *t = xcalloc(1, sizeof(*t));
	struct bag_walk w = bag_walk(b, b->n);
	struct bag_pair p;

	map_init(&t->by_key, &item_ops);
	rng_bytes(t->hash_key, sizeof(t->hash_key));
	b->big = t;
	b->n = 0;
	/* The walk goes over the pack still: it has begun there. */
	while (bag_next(&w, &p))
		table_add(b, p.key, p.value);
	free(b->pack);
	b->pack = NULL;
	b->used = b->cap = 0;
}

/* --- both --- */

bool
bag_get(const struct bag *b, struct bh_bytes key, struct bh_bytes *ret)
{
	if (b->big) {
		const struct bag_item *it = table_find(b, key);

		if (it)
			*ret = (struct bh_bytes){it->data + it->klen,
			    it->vlen};
		return it != NULL;
	} else {
		const char *p = key.len > BAG_SMALL_STRING ? NULL :
		    pack_find(b, key);

		if (p)
			*ret = pack_pair(p).value;
		return p != NULL;
	}
}

bool
bag_set(struct bag *b, struct bh_bytes key, struct bh_bytes value)
{
	bool fits = key.len <= BAG_SMALL_STRING &&
	    value.len <= BAG_SMALL_STRING;

	if (!b->big && (!fits || (b->n == BAG_SMALL_PAIRS &&
	    !pack_find(b, key))))
		make_big(b);
	return b->big ? table_set(b, key, value) : pack_set(b, key, value);
}

bool
bag_del(struct bag *b, struct bh_bytes key)
{
	return b->big ? table_del(b, key) : pack_del(b, key);
}

struct bag_pair
bag_at(const struct bag *b, size_t place)
{
	const char *p = b->pack;
	struct bag_pair pair;

	CHECK(place < b->n);
	if (b->big) {
		const struct bag_item *it = b->big->all[place];

		return (struct bag_pair){item_key(it),
		    {it->data + it->klen, it->vlen}};
	}
	for (pair = pack_pair(p); place > 0; place--) {
		p += pack_size(&pair);
		pair = pack_pair(p);
	}
	return pair;
}

bool
bag_next(struct bag_walk *w, struct bag_pair *ret)
{
	if (w->left == 0)
		return false;
	w->left--;
	if (w->next) {
		*ret = pack_pair(w->next);
		w->next += pack_size(ret);
	} else {
		*ret = bag_at(w->bag, w->left);
	}
	return true;
}
