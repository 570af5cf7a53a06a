/* SPDX-License-Identifier: MIT */
/*
 * Invariants:
 * 1. A key is in by_name and in all exactly as long as it exists; in lru if it
 *    is volatile (id 0); in the ttl heap if it expires.
 * 2. cache_bytes is the sum of their `bytes` over the volatile keys,
 *    durable_bytes that over the others.
 * 3. What is on the disk is disk.c's. A key that comes back under a name has
 *    another id.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "keys/part.h"

/* What malloc and the places in by_name and all add for each block or key. */
enum { BLOCK_BYTES = 16, PLACE_BYTES = 24 };

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

uint64_t
keys_hash(const struct keys *ks, struct bh_bytes name)
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

	if (len && data)
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
	size_t own = sizeof(*k) + k->len + BLOCK_BYTES + PLACE_BYTES;

	if (k->ttl.kind == KEY_STRING)
		return (int64_t)(own + sizeof(*k->str) + k->str->cap +
		    BLOCK_BYTES);
	return (int64_t)(own + key_types[k->ttl.kind]->bytes(k->obj));
}

static int64_t *
account(struct keys *ks, const struct key *k)
{
	return k->id ? &ks->durable_bytes : &ks->cache_bytes;
}

/* After each change of a value. */
static void
key_weigh(struct keys *ks, struct key *k)
{
	int64_t bytes = key_bytes(k);

	*account(ks, k) += bytes - k->bytes;
	k->bytes = bytes;
}

enum key_type
key_type_of(const struct key *k)
{
	return (enum key_type)k->ttl.kind;
}

struct bh_bytes
key_name(const struct key *k)
{
	return (struct bh_bytes){k->name, k->len};
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

/* 24 bits of the monotonic clock's seconds: half a year. */
static uint32_t
now_s(const struct keys *ks)
{
	return (uint32_t)(ks->mono_ms / 1000) & 0xffffff;
}

static void
stamp(const struct keys *ks, struct key *k)
{
	uint32_t now = now_s(ks);

	k->ttl.tag[0] = (uint8_t)now;
	k->ttl.tag[1] = (uint8_t)(now >> 8);
	k->ttl.tag[2] = (uint8_t)(now >> 16);
}

int64_t
key_idle_s(const struct keys *ks, const struct key *k)
{
	uint32_t then = k->ttl.tag[0] | (uint32_t)k->ttl.tag[1] << 8 |
	    (uint32_t)k->ttl.tag[2] << 16;

	return (now_s(ks) - then) & 0xffffff;
}

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

/* A key without a value yet. */
static struct key *
key_new(struct keys *ks, struct bh_bytes name, enum key_type type, int64_t id)
{
	struct key *k = xmalloc(sizeof(*k) + name.len);

	memset(k, 0, sizeof(*k));
	k->ttl.kind = type;
	stamp(ks, k);
	k->hash = keys_hash(ks, name);
	k->id = id;
	k->len = (uint32_t)name.len;
	if (name.len)
		memcpy(k->name, name.data, name.len);
	map_put(&ks->by_name, k);
	all_add(ks, k);
	if (id)
		ks->ndurable++;
	else
		TAILQ_INSERT_HEAD(&ks->lru, k, lru);
	return k;
}

static int64_t
new_id(struct keys *ks, struct bh_bytes name)
{
	return key_is_volatile(ks, name) ? 0 : ks->next_id++;
}

void
key_free(struct keys *ks, struct key *k)
{
	if (k->ttl.kind == KEY_STRING)
		kval_unref(k->str);
	else if (k->obj)
		value_free(ks, key_type_of(k), k->obj);
	free(k);
}

/* Out of all the places where a living key is. */
static void
key_unlink(struct keys *ks, struct key *k)
{
	watch_touch(ks, k);
	map_remove(&ks->by_name, k);
	all_remove(ks, k);
	heap_remove(&ks->ttl, &k->ttl);
	*account(ks, k) -= k->bytes;
	if (k->id)
		ks->ndurable--;
	else
		TAILQ_REMOVE(&ks->lru, k, lru);
}

static void
key_remove(struct keys *ks, struct key *k)
{
	size_t parts = 0;

	park_signal(ks, k);
	key_unlink(ks, k);
	if (k->id && k->ttl.kind != KEY_STRING && k->obj)
		parts = key_types[k->ttl.kind]->parts(k->obj);
	disk_gone(ks, k, parts);
	key_free(ks, k);
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
	struct key *k = map_get(&ks->by_name, keys_hash(ks, name), &name);
	uint64_t lsn;

	if (k && has_expired(ks, k)) {
		key_remove(ks, k);
		ks->expired++;
		k = NULL;
	}
	/* That a key is not there is shown by its absence; one that is kept
	 * nowhere has nothing to wait for. */
	lsn = k ? k->lsn : key_is_volatile(ks, name) ? 0 : ks->gone_lsn;
	if (lsn < ks->floor_lsn && (k ? k->id != 0 :
	    !key_is_volatile(ks, name)))
		lsn = ks->floor_lsn;
	if (lsn > c->lsn)
		c->lsn = lsn;
	if (k && k->dirty)
		c->dirty = true;
	return k;
}

static bool
is_of(struct kcall *c, const struct key *k, enum key_type type)
{
	if (!k || k->ttl.kind == type)
		return true;
	put_wrong_type(c);
	return false;
}

bool
key_peek_as(struct kcall *c, struct bh_bytes name, enum key_type type,
    struct key **ret)
{
	*ret = key_peek(c, name);
	return is_of(c, *ret, type);
}

bool
key_find_as(struct kcall *c, struct bh_bytes name, enum key_type type,
    struct key **ret)
{
	*ret = key_find(c, name);
	return is_of(c, *ret, type);
}

static void
key_used(struct keys *ks, struct key *k)
{
	stamp(ks, k);
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
	watch_touch(c->ks, k);
	key_weigh(c->ks, k);
	key_used(c->ks, k);
	if (k->id)
		disk_dirty(c, k);
}

void
key_delete(struct kcall *c, struct key *k)
{
	key_remove(c->ks, k);
	if (c->ks->gone_lsn > c->lsn)
		c->lsn = c->ks->gone_lsn;
	if (c->ks->walk)
		c->dirty = true;
}

/* A key whose prefix has become volatile or durable since is made anew. */
static bool
policy_holds_for(const struct keys *ks, const struct key *k,
    struct bh_bytes name)
{
	return key_is_volatile(ks, name) == (k->id == 0);
}

static bool
policy_holds(const struct keys *ks, const struct key *k)
{
	return policy_holds_for(ks, k, key_name(k));
}

/* A key of this type under the name, of which only the name and the expiry
 * are what they were; its value is the caller's to set. */
static struct key *
key_take(struct kcall *c, struct bh_bytes name, enum key_type type)
{
	struct keys *ks = c->ks;
	struct key *k = key_peek(c, name);

	if (k && (type != KEY_STRING || k->ttl.kind != type ||
	    !policy_holds(ks, k))) {
		key_delete(c, k);
		k = NULL;
	}
	if (k)
		kval_unref(k->str);
	else
		k = key_new(ks, name, type, new_id(ks, name));
	return k;
}

struct key *
key_store(struct kcall *c, struct bh_bytes name, struct kval *v,
    bool keep_ttl)
{
	struct key *old = keep_ttl ? key_peek(c, name) : NULL;
	int64_t at = old ? key_expiry(old) : 0;
	struct key *k = key_take(c, name, KEY_STRING);

	k->str = v;
	key_changed(c, k);
	if (key_expiry(k) != at)
		key_set_expiry(c, k, at);
	return k;
}

struct key *
key_make(struct kcall *c, struct bh_bytes name, enum key_type type)
{
	struct key *k = key_take(c, name, type);

	k->obj = key_types[type]->make();
	key_changed(c, k);
	return k;
}

void
key_part_set(struct kcall *c, struct key *k, struct bh_bytes part,
    struct bh_bytes value)
{
	if (k->id)
		disk_part(c, k, JR_KEY_PART_SET, part, value);
}

void
key_part_del(struct kcall *c, struct key *k, struct bh_bytes part)
{
	if (k->id)
		disk_part(c, k, JR_KEY_PART_DEL, part,
		    (struct bh_bytes){NULL, 0});
}

void
key_settled(struct kcall *c, struct key *k)
{
	const struct ktype *t = key_types[k->ttl.kind];

	if (!t->may_be_empty && t->length(k->obj) == 0) {
		key_delete(c, k);
		return;
	}
	watch_touch(c->ks, k);
	key_weigh(c->ks, k);
	key_used(c->ks, k);
	park_signal(c->ks, k);
}

struct writing {
	struct kcall *call;
	struct key *key;
};

static void
write_part(void *arg, struct bh_bytes part, struct bh_bytes value)
{
	struct writing *w = arg;

	key_part_set(w->call, w->key, part, value);
}

void
key_store_obj(struct kcall *c, struct bh_bytes name, enum key_type type,
    void *obj, int64_t expires_at)
{
	struct key *k = key_take(c, name, type);
	struct writing w = {c, k};

	k->obj = obj;
	key_changed(c, k);
	if (expires_at)
		key_set_expiry(c, k, expires_at);
	if (k->id)
		key_types[type]->each_part(obj, write_part, &w);
	key_settled(c, k);
}

int64_t
key_reserve(struct kcall *c, struct bh_bytes name)
{
	return new_id(c->ks, name);
}

void
key_part_early(struct kcall *c, int64_t id, struct bh_bytes part,
    struct bh_bytes value)
{
	if (id)
		disk_part_early(c->ks, id, part, value);
}

void
key_store_written(struct kcall *c, struct bh_bytes name, enum key_type type,
    void *obj, int64_t id)
{
	struct key *k = key_peek(c, name);

	if (k)
		key_delete(c, k);
	k = key_new(c->ks, name, type, id);
	k->stored = id != 0;
	k->obj = obj;
	key_changed(c, k);
	key_settled(c, k);
}

/* The same key in another place: nothing of its value is written again. */
static void
key_move(struct kcall *c, struct key *k, struct bh_bytes name)
{
	struct keys *ks = c->ks;
	int64_t at = key_expiry(k);
	struct key *to;

	key_unlink(ks, k);
	to = key_new(ks, name, key_type_of(k), k->id);
	to->obj = k->obj;
	to->stored = k->stored;
	to->lsn = k->lsn;
	if (k->dirty) {
		ks->dirty[k->dirty - 1] = NULL;
		k->dirty = 0;
	}
	free(k);
	key_changed(c, to);
	if (at)
		key_set_expiry(c, to, at);
	park_signal(ks, to);
}

void
key_rename(struct kcall *c, struct key *k, struct bh_bytes name,
    void (*done)(struct kcall *c))
{
	struct keys *ks = c->ks;
	struct key *old = key_peek(c, name);

	if (!policy_holds_for(ks, k, name)) {
		key_clone(c, k, name, true, done);
		return;
	}
	if (old)
		key_delete(c, old);
	key_move(c, k, name);
	done(c);
}

char *
key_edit(struct key *k, size_t len)
{
	struct kval *v = k->str;
	size_t cap = len;

	CHECK(len <= KEYS_VALUE_MAX);
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
	watch_touch(c->ks, k);
	if (k->id)
		disk_dirty(c, k);
	key_used(c->ks, k);
}

/* --- what the turn does --- */

void
keys_evict(struct keys *ks)
{
	if (!ks->walk)
		keys_evict_now(ks);
}

void
keys_evict_now(struct keys *ks)
{
	struct key *k;
	int left = SLICE_KEYS;

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

/* --- as it was stored --- */

struct key *
key_restore(struct keys *ks, const struct jkey_row *row)
{
	struct key *k = key_new(ks, row->name, (enum key_type)row->type,
	    row->id);

	k->stored = true;
	if (row->type == KEY_STRING) {
		k->str = kval_new(row->value.data, row->value.len);
		key_weigh(ks, k);
	} else {
		k->obj = key_types[row->type]->make();
	}
	if (row->expires_at)
		heap_set(&ks->ttl, &k->ttl, row->expires_at);
	if (row->id >= ks->next_id)
		ks->next_id = row->id + 1;
	return k;
}

void
key_restored(struct keys *ks, struct key *k)
{
	const struct ktype *t = key_types[k->ttl.kind];

	if (t->loaded)
		t->loaded(k->obj);
	key_weigh(ks, k);
}
