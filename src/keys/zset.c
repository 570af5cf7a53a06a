/* SPDX-License-Identifier: MIT */
#include "keys/zset.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/rng.h"
#include "base/xalloc.h"

/* What malloc adds to each block. */
enum { BLOCK_BYTES = 16 };

static struct zmember *
of_node(const struct skip_node *n)
{
	return n ? (struct zmember *)((uintptr_t)n -
	    offsetof(struct zmember, node)) : NULL;
}

static char *
name_of(const struct zmember *m)
{
	return (char *)(uintptr_t)(m->node.up + m->node.height);
}

struct bh_bytes
zmember_name(const struct zmember *m)
{
	return (struct bh_bytes){name_of(m), m->len};
}

struct zmember *
zmember_next(const struct zmember *m)
{
	return of_node(skip_next(&m->node));
}

struct zmember *
zmember_prev(const struct zmember *m)
{
	return of_node(m->node.back);
}

static size_t
member_bytes(const struct zmember *m)
{
	return sizeof(*m) + m->node.height * sizeof(struct skip_link) +
	    m->len + BLOCK_BYTES;
}

/* --- order --- */

static int
cmp_names(struct bh_bytes a, struct bh_bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.data, b.data, n) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct place {
	double score;
	struct bh_bytes name;
};

static int
cmp_place(const struct skip_node *n, const void *key)
{
	const struct zmember *m = of_node(n);
	const struct place *p = key;

	if (m->score != p->score)
		return m->score < p->score ? -1 : 1;
	return cmp_names(zmember_name(m), p->name);
}

static struct place
place_of(const struct zmember *m)
{
	return (struct place){m->score, zmember_name(m)};
}

static int
cmp_low(const struct skip_node *n, const void *key)
{
	const struct zmember *m = of_node(n);
	const struct zrange *r = key;
	int order;

	if (!r->lex)
		return m->score < r->min ||
		    (r->min_out && m->score == r->min) ? -1 : 1;
	if (r->low_end)
		return -r->low_end;
	order = cmp_names(zmember_name(m), r->low);
	return order < 0 || (order == 0 && r->min_out) ? -1 : 1;
}

static int
cmp_high(const struct skip_node *n, const void *key)
{
	const struct zmember *m = of_node(n);
	const struct zrange *r = key;
	int order;

	if (!r->lex)
		return m->score < r->max ||
		    (!r->max_out && m->score == r->max) ? -1 : 1;
	if (r->high_end)
		return -r->high_end;
	order = cmp_names(zmember_name(m), r->high);
	return order < 0 || (order == 0 && !r->max_out) ? -1 : 1;
}

void
zset_span(const struct zset *z, const struct zrange *r, size_t *ret_from,
    size_t *ret_to)
{
	size_t from = skip_rank(&z->order, cmp_low, r, NULL);
	size_t to = skip_rank(&z->order, cmp_high, r, NULL);

	*ret_from = from;
	*ret_to = to > from ? to : from;
}

/* --- names --- */

static uint64_t
member_hash(const void *item)
{
	return ((const struct zmember *)item)->hash;
}

static bool
same(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (a.len == 0 ||
	    memcmp(a.data, b.data, a.len) == 0);
}

static bool
member_equal(const void *item, const void *name)
{
	return same(zmember_name(item), *(const struct bh_bytes *)name);
}

static const struct map_ops member_ops = {member_hash, member_equal};

static uint64_t
hash_of(const struct zset *z, struct bh_bytes name)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h,
	    (const unsigned char *)name.data, name.len, z->hash_key);
	return h;
}

static void
names_in(struct zset *z, struct zmember *m, size_t place)
{
	CHECK(place < UINT32_MAX);
	if (place == z->cap) {
		z->cap = z->cap ? z->cap * 2 : 64;
		z->all = xrealloc(z->all, z->cap * sizeof(*z->all));
	}
	m->hash = hash_of(z, zmember_name(m));
	m->place = (uint32_t)place;
	z->all[place] = m;
	map_put(&z->names, m);
}

/* The last one takes its place. */
static void
names_out(struct zset *z, struct zmember *m)
{
	struct zmember *last = z->all[z->order.count - 1];

	map_remove(&z->names, m);
	z->all[m->place] = last;
	last->place = m->place;
	if (z->cap > 64 && z->order.count < z->cap / 4) {
		z->cap /= 2;
		z->all = xrealloc(z->all, z->cap * sizeof(*z->all));
	}
}

static void
make_big(struct zset *z)
{
	struct zmember *m;
	size_t place = 0;

	map_init(&z->names, &member_ops);
	rng_bytes(z->hash_key, sizeof(z->hash_key));
	z->big = true;
	for (m = of_node(skip_first(&z->order)); m; m = zmember_next(m))
		names_in(z, m, place++);
}

/* --- life --- */

struct zset *
zset_new(void)
{
	return xcalloc(1, sizeof(struct zset));
}

struct zset *
zset_copy(const struct zset *from)
{
	struct zset *z = zset_new();
	const struct zmember *m;

	z->raw = from->raw;
	if (from->big)
		make_big(z);
	for (m = of_node(skip_first(&from->order)); m; m = zmember_next(m))
		zset_add(z, zmember_name(m), m->score);
	return z;
}

/* Nothing but the nodes' next links holds from the first call on. */
bool
zset_free_some(struct zset *z, int *budget)
{
	struct skip_node *n, *next;

	for (n = skip_first(&z->order); n && *budget > 0; n = next) {
		next = skip_next(n);
		free(of_node(n));
		--*budget;
	}
	if (n) {
		z->order.head[0].next = n;
		return false;
	}
	--*budget;
	if (z->big)
		map_done(&z->names);
	skip_done(&z->order);
	free(z->all);
	free(z);
	return true;
}

size_t
zset_bytes(const struct zset *z)
{
	size_t n = sizeof(*z) + BLOCK_BYTES + z->bytes +
	    skip_bytes(&z->order) + BLOCK_BYTES;

	if (z->big)
		n += sizeof(void *) * (z->cap + z->names.cap +
		    z->names.old_cap) + 2 * BLOCK_BYTES;
	return n;
}

/* --- members --- */

/* Redis' listpacks know no -0. */
static double
sign_off(const struct zset *z, double score)
{
	return z->big || z->raw ? score : score + 0.0;
}

void
zset_keep(struct zset *z)
{
	struct zmember *m;

	z->raw = false;
	if (z->big)
		return;
	for (m = of_node(skip_first(&z->order)); m; m = zmember_next(m))
		m->score = sign_off(z, m->score);
}

struct zmember *
zset_get(const struct zset *z, struct bh_bytes name)
{
	struct zmember *m;

	if (z->big)
		return map_get(&z->names, hash_of(z, name), &name);
	for (m = of_node(skip_first(&z->order)); m; m = zmember_next(m))
		if (same(zmember_name(m), name))
			return m;
	return NULL;
}

struct zmember *
zset_add(struct zset *z, struct bh_bytes name, double score)
{
	uint32_t height = skip_height(rng_u64());
	struct place at = {score, name};
	struct zmember *m;

	m = xmalloc(sizeof(*m) +
	    height * sizeof(struct skip_link) + name.len);

	if (!z->big && (z->order.count == ZSET_SMALL ||
	    name.len > ZSET_SMALL_NAME))
		make_big(z);
	m->score = sign_off(z, score);
	m->hash = 0;
	m->place = 0;
	m->len = (uint32_t)name.len;
	m->node.height = height;
	if (name.len)
		memcpy(name_of(m), name.data, name.len);
	if (z->big)
		names_in(z, m, z->order.count);
	skip_insert(&z->order, &m->node, cmp_place, &at);
	z->bytes += member_bytes(m);
	return m;
}

/* In its place still, with another score? */
static bool
stays(const struct zmember *m, double score)
{
	const struct zmember *prev = zmember_prev(m), *next = zmember_next(m);
	struct place p = {score, zmember_name(m)};

	return (!prev || cmp_place(&prev->node, &p) < 0) &&
	    (!next || cmp_place(&next->node, &p) > 0);
}

void
zset_move(struct zset *z, struct zmember *m, double score)
{
	struct place p = place_of(m);

	score = sign_off(z, score);
	if (!stays(m, score)) {
		skip_remove(&z->order, &m->node, cmp_place, &p);
		p.score = score;
		m->score = score;
		skip_insert(&z->order, &m->node, cmp_place, &p);
	}
	m->score = score;
}

void
zset_remove(struct zset *z, struct zmember *m)
{
	struct place p = place_of(m);

	if (z->big)
		names_out(z, m);
	skip_remove(&z->order, &m->node, cmp_place, &p);
	z->bytes -= member_bytes(m);
	free(m);
}

struct zmember *
zset_at(const struct zset *z, size_t rank)
{
	return of_node(skip_at(&z->order, rank));
}

size_t
zset_rank(const struct zset *z, const struct zmember *m)
{
	struct place p = place_of(m);

	return skip_rank(&z->order, cmp_place, &p, NULL);
}
