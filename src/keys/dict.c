/* SPDX-License-Identifier: MIT */
/*
 * Invariants:
 * 1. A key is in by_name and in all exactly as long as it exists; in lru if it
 *    is volatile (id 0); in the ttl heap if it expires.
 * 2. cache_bytes is the sum of key_bytes() over the volatile keys,
 *    durable_bytes that over the others.
 * 3. A durable key that differs from its row is dirty until the end of the
 *    turn (keys_write_down). A key that goes has its deletion appended at
 *    once; one that comes back under the name has another id.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "keys/part.h"

/* What malloc and the places in by_name and all add for each block or key. */
enum { BLOCK_BYTES = 16, PLACE_BYTES = 24 };

/* So many bytes of a value cost about as much to free as one more key. */
enum { FREE_BYTES = 16384 };

static uint64_t
key_hash(const void *item)
{
	return ((const struct key *)item)->hash;
}

static bool
key_equal(const void *item, const void *name)
{
	const struct key *k = item;

	return bytes_equal((struct bh_bytes){k->name, k->len},
	    *(const struct bh_bytes *)name);
}

const struct map_ops key_map_ops = {key_hash, key_equal};

static uint64_t
name_hash(const struct keys *ks, struct bh_bytes name)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h, (const unsigned char *)name.data,
	    name.len, ks->hash_key);
	return h;
}

/* --- values --- */

static struct kval *
kval_room(size_t len, size_t cap)
{
	struct kval *v = xmalloc(sizeof(*v) + cap);

	v->refs = 1;
	v->len = (uint32_t)len;
	v->cap = (uint32_t)cap;
	return v;
}

struct kval *
kval_new(const void *data, size_t len)
{
	struct kval *v = kval_room(len, len);

	if (len)
		memcpy(v->data, data, len);
	return v;
}

struct kval *
kval_ref(struct kval *v)
{
	v->refs++;
	return v;
}

void
kval_unref(struct kval *v)
{
	CHECK(v->refs > 0);
	if (--v->refs == 0)
		free(v);
}

/* --- accounts --- */

static int64_t
key_bytes(const struct key *k)
{
	return (int64_t)(sizeof(*k) + k->len + BLOCK_BYTES + PLACE_BYTES +
	    sizeof(*k->str) + k->str->cap + BLOCK_BYTES);
}

static int64_t *
account(struct keys *ks, const struct key *k)
{
	return k->id ? &ks->durable_bytes : &ks->cache_bytes;
}

bool
key_is_volatile(const struct keys *ks, struct bh_bytes name)
{
	char *const *p = ks->limits.volatile_prefixes;

	for (; p && *p; p++) {
		size_t len = strlen(*p);

		if (name.len >= len && memcmp(name.data, *p, len) == 0)
			return true;
	}
	return false;
}

/* --- the life of a key --- */

static void
all_add(struct keys *ks, struct key *k)
{
	if (ks->n == ks->cap) {
		ks->cap = ks->cap ? ks->cap * 2 : 64;
		ks->all = xrealloc(ks->all, ks->cap * sizeof(struct key *));
	}
	CHECK(ks->n < UINT32_MAX);
	k->index = (uint32_t)ks->n;
	ks->all[ks->n++] = k;
}

static void
all_remove(struct keys *ks, struct key *k)
{
	struct key *last = ks->all[--ks->n];

	CHECK(ks->all[k->index] == k);
	ks->all[k->index] = last;
	last->index = k->index;
}

static struct key *
key_new(struct keys *ks, struct bh_bytes name, struct kval *v, int64_t id)
{
	struct key *k = xmalloc(sizeof(*k) + name.len);

	memset(k, 0, sizeof(*k));
	k->ttl.kind = KEY_STRING;
	k->hash = name_hash(ks, name);
	k->id = id;
	k->len = (uint32_t)name.len;
	k->str = v;
	if (name.len)
		memcpy(k->name, name.data, name.len);
	map_put(&ks->by_name, k);
	all_add(ks, k);
	if (id)
		ks->ndurable++;
	else
		TAILQ_INSERT_HEAD(&ks->lru, k, lru);
	*account(ks, k) += key_bytes(k);
	return k;
}

static void
key_free(struct key *k)
{
	kval_unref(k->str);
	free(k);
}

static void
key_remove(struct keys *ks, struct key *k)
{
	struct jrec r = {.kind = JR_KEY_DEL, .id = k->id};

	map_remove(&ks->by_name, k);
	all_remove(ks, k);
	heap_remove(&ks->ttl, &k->ttl);
	*account(ks, k) -= key_bytes(k);
	if (k->id)
		ks->ndurable--;
	else
		TAILQ_REMOVE(&ks->lru, k, lru);
	if (k->dirty)
		ks->dirty[k->dirty - 1] = NULL;
	if (k->stored)
		ks->gone_lsn = journal_append(ks->journal, &r);
	key_free(k);
}

static bool
has_expired(const struct keys *ks, const struct key *k)
{
	return k->ttl.pos && k->ttl.at <= ks->wall_ms;
}

struct key *
key_peek(struct kcall *c, struct bh_bytes name)
{
	struct keys *ks = c->ks;
	struct key *k = map_get(&ks->by_name, name_hash(ks, name), &name);
	uint64_t lsn;

	if (k && has_expired(ks, k)) {
		key_remove(ks, k);
		ks->expired++;
		k = NULL;
	}
	/* That a key is not there is shown by its absence; one that is kept
	 * nowhere has nothing to wait for. */
	lsn = k ? k->lsn : key_is_volatile(ks, name) ? 0 : ks->gone_lsn;
	if (lsn > c->lsn)
		c->lsn = lsn;
	if (k && k->dirty)
		c->dirty = true;
	return k;
}

static void
key_used(struct keys *ks, struct key *k)
{
	if (k->id || TAILQ_FIRST(&ks->lru) == k)
		return;
	TAILQ_REMOVE(&ks->lru, k, lru);
	TAILQ_INSERT_HEAD(&ks->lru, k, lru);
}

struct key *
key_find(struct kcall *c, struct bh_bytes name)
{
	struct key *k = key_peek(c, name);

	if (k) {
		c->ks->hits++;
		key_used(c->ks, k);
	} else {
		c->ks->misses++;
	}
	return k;
}

void
key_changed(struct kcall *c, struct key *k)
{
	struct keys *ks = c->ks;

	key_used(ks, k);
	if (!k->id)
		return;
	c->dirty = true;
	if (k->dirty)
		return;
	if (ks->ndirty == ks->dirty_cap) {
		ks->dirty_cap = ks->dirty_cap ? ks->dirty_cap * 2 : 64;
		ks->dirty = xrealloc(ks->dirty,
		    ks->dirty_cap * sizeof(struct key *));
	}
	ks->dirty[ks->ndirty++] = k;
	k->dirty = (uint32_t)ks->ndirty;
}

void
key_delete(struct kcall *c, struct key *k)
{
	key_remove(c->ks, k);
	if (c->ks->gone_lsn > c->lsn)
		c->lsn = c->ks->gone_lsn;
}

/* A key whose prefix has become volatile or durable since is made anew. */
static bool
policy_holds(const struct keys *ks, const struct key *k)
{
	return key_is_volatile(ks, (struct bh_bytes){k->name, k->len}) ==
	    (k->id == 0);
}

struct key *
key_store(struct kcall *c, struct bh_bytes name, struct kval *v,
    bool keep_ttl)
{
	struct keys *ks = c->ks;
	struct key *k = key_peek(c, name);
	int64_t at = k && keep_ttl ? key_expiry(k) : 0;

	if (k && !policy_holds(ks, k)) {
		key_delete(c, k);
		k = NULL;
	}
	if (k) {
		*account(ks, k) -= key_bytes(k);
		kval_unref(k->str);
		k->str = v;
		*account(ks, k) += key_bytes(k);
	} else {
		k = key_new(ks, name, v, key_is_volatile(ks, name) ? 0 :
		    ks->next_id++);
	}
	if (key_expiry(k) != at)
		key_set_expiry(c, k, at);
	key_changed(c, k);
	return k;
}

char *
key_edit(struct kcall *c, struct key *k, size_t len)
{
	struct kval *v = k->str;
	size_t cap = len;

	CHECK(len <= KEYS_VALUE_MAX);
	*account(c->ks, k) -= key_bytes(k);
	if (v->refs > 1 || len > v->cap) {
		/* One that grows will grow again. */
		if (len > v->len)
			cap = len < 1 << 20 ? len * 2 : len + (1 << 20);
		v = kval_room(len, cap);
		memcpy(v->data, k->str->data, k->str->len < len ?
		    k->str->len : len);
		if (len > k->str->len)
			memset(v->data + k->str->len, 0, len - k->str->len);
		kval_unref(k->str);
		k->str = v;
	} else if (len > v->len) {
		memset(v->data + v->len, 0, len - v->len);
	}
	v->len = (uint32_t)len;
	*account(c->ks, k) += key_bytes(k);
	return v->data;
}

int64_t
key_expiry(const struct key *k)
{
	return k->ttl.pos ? k->ttl.at : 0;
}

void
key_set_expiry(struct kcall *c, struct key *k, int64_t at)
{
	if (at)
		heap_set(&c->ks->ttl, &k->ttl, at);
	else
		heap_remove(&c->ks->ttl, &k->ttl);
	key_changed(c, k);
}

/* --- what the turn does --- */

void
keys_evict(struct keys *ks)
{
	struct key *k;
	int left = ks->walk ? 0 : SLICE_KEYS;

	while (left-- > 0 && ks->cache_bytes > ks->limits.cache_bytes &&
	    (k = TAILQ_LAST(&ks->lru, key_list))) {
		key_remove(ks, k);
		ks->evicted++;
	}
}

void
keys_expire(struct keys *ks)
{
	struct heap_item *t;
	int left = SLICE_KEYS;

	while (left-- > 0 && (t = heap_top(&ks->ttl)) &&
	    t->at <= ks->wall_ms) {
		key_remove(ks, container_of(t, struct key, ttl));
		ks->expired++;
	}
}

void
keys_write_down(struct keys *ks)
{
	for (size_t i = 0; i < ks->ndirty; i++) {
		struct key *k = ks->dirty[i];
		struct jrec r = {.kind = JR_KEY_SET};

		if (!k)
			continue;
		r.id = k->id;
		r.u.key.name = (struct bh_bytes){k->name, k->len};
		r.u.key.type = k->ttl.kind;
		r.u.key.expires_at = key_expiry(k);
		r.u.key.value = val_bytes(k->str);
		k->lsn = journal_append(ks->journal, &r);
		k->stored = true;
		k->dirty = 0;
	}
	ks->ndirty = 0;
	if (ks->dirty_cap > SLICE_KEYS) {
		free(ks->dirty);
		ks->dirty = NULL;
		ks->dirty_cap = 0;
	}
}

void
keys_restore(struct keys *ks, const struct jkey_row *row)
{
	struct key *k = key_new(ks, row->name, kval_new(row->value.data,
	    row->value.len), row->id);

	k->stored = true;
	if (row->expires_at)
		heap_set(&ks->ttl, &k->ttl, row->expires_at);
	if (row->id >= ks->next_id)
		ks->next_id = row->id + 1;
}

/* --- all at once --- */

/* Leaves an empty dictionary; answers with what was in it. */
static struct grave *
detach(struct keys *ks)
{
	struct grave *g = xcalloc(1, sizeof(*g));

	g->keys = ks->all;
	g->n = ks->n;
	ks->all = NULL;
	ks->n = ks->cap = 0;
	map_done(&ks->by_name);
	map_init(&ks->by_name, &key_map_ops);
	heap_done(&ks->ttl);
	ks->ttl = (struct heap){0};
	TAILQ_INIT(&ks->lru);
	ks->ndirty = 0;
	ks->ndurable = 0;
	ks->cache_bytes = ks->durable_bytes = 0;
	return g;
}

void
keys_flush(struct kcall *c)
{
	struct keys *ks = c->ks;
	struct jrec r = {.kind = JR_KEY_CLEAR};
	bool durable = ks->ndurable > 0;
	struct grave *g = detach(ks);

	g->next = ks->graves;
	ks->graves = g;
	if (durable)
		ks->gone_lsn = journal_append(ks->journal, &r);
	if (ks->gone_lsn > c->lsn)
		c->lsn = ks->gone_lsn;
}

void
keys_bury(struct keys *ks)
{
	struct grave *g = ks->graves;
	int left = SLICE_KEYS;

	while (g && left-- > 0) {
		if (g->n > 0) {
			struct key *k = g->keys[--g->n];

			left -= (int)(k->str->cap / FREE_BYTES);
			key_free(k);
			continue;
		}
		ks->graves = g->next;
		free(g->keys);
		free(g);
		g = ks->graves;
	}
}

void
keys_free_all(struct keys *ks)
{
	struct grave *g = detach(ks);

	g->next = ks->graves;
	ks->graves = g;
	while (ks->graves)
		keys_bury(ks);
	map_done(&ks->by_name);
	free(ks->dirty);
	ks->dirty = NULL;
}
