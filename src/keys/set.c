/* SPDX-License-Identifier: MIT */
/* Commands of one set, and SMOVE. */
#include <string.h>

#include "base/str.h"
#include "keys/pairs.h"

static const struct bh_bytes nothing = {NULL, 0};

/* The set to look at; *ret NULL when there is none. */
static bool
find(struct kcall *c, struct bag **ret)
{
	struct key *k;

	if (!key_find_as(c, c->argv[1], KEY_SET, &k))
		return false;
	*ret = k ? k->obj : NULL;
	return true;
}

static bool
has(const struct bag *b, struct bh_bytes member)
{
	struct bh_bytes v;

	return b && bag_get(b, member, &v);
}

void
k_scard(struct kcall *c)
{
	struct bag *b;

	if (find(c, &b))
		put_int(c, b ? (int64_t)b->n : 0);
}

void
k_sismember(struct kcall *c)
{
	struct bag *b;

	if (find(c, &b))
		put_int(c, has(b, c->argv[2]));
}

static bool
smismember_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 1); c->at++)
		put_int(c, has(c->state, c->argv[c->at]));
	return c->at < c->argc;
}

void
k_smismember(struct kcall *c)
{
	struct bag *b;

	if (!find(c, &b))
		return;
	put_array(c, c->argc - 2);
	c->state = b;
	call_words(c, 2, smismember_step);
}

void
k_smembers(struct kcall *c)
{
	struct bag *b;

	if (!find(c, &b))
		return;
	if (b)
		pairs_put_all(c, b, PAIRS_KEYS);
	else
		put_array(c, 0);
}

void
k_sscan(struct kcall *c)
{
	struct scan_args s = {0};
	struct bag *b;

	if (!arg_cursor(c, 2, &s.cursor) || !find(c, &b))
		return;
	if (!b)
		put_empty_scan(c);
	else if (arg_scan(c, 3, false, &s))
		pairs_scan(c, b, &s, PAIRS_KEYS);
}

void
k_srandmember(struct kcall *c)
{
	struct bag *b;
	int64_t count = 1;

	if (c->argc > 3) {
		put_syntax(c);
		return;
	}
	if ((c->argc == 3 && !arg_range(c, 2, -INT64_MAX, INT64_MAX, NULL,
	    &count)) || !find(c, &b))
		return;
	if (c->argc == 2 && b) {
		struct bag_pair p = bag_at(b, pairs_random(b));

		put_bytes(c, p.key.data, p.key.len);
	} else if (c->argc == 2) {
		put_null(c);
	} else if (!b || count == 0) {
		put_array(c, 0);
	} else {
		pairs_put_random(c, b, count, PAIRS_KEYS);
	}
}

/* --- changes --- */

static bool
add(struct kcall *c, struct key *k, struct bh_bytes member)
{
	if (!set_add(k->obj, member))
		return false;
	key_part_set(c, k, member, nothing);
	return true;
}

static bool
sadd_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 1); c->at++)
		c->n += add(c, c->state, c->argv[c->at]);
	if (c->at < c->argc)
		return true;
	key_settled(c, c->state);
	put_int(c, (int64_t)c->n);
	return false;
}

void
k_sadd(struct kcall *c)
{
	struct key *k;

	if (!key_peek_as(c, c->argv[1], KEY_SET, &k))
		return;
	c->state = k ? k : key_make(c, c->argv[1], KEY_SET);
	call_words(c, 2, sadd_step);
}

void
k_srem(struct kcall *c)
{
	pairs_remove_words(c, KEY_SET);
}

void
k_smove(struct kcall *c)
{
	struct bh_bytes member = c->argv[3];
	struct key *from = key_peek(c, c->argv[1]);
	struct key *to = key_peek(c, c->argv[2]);

	if (!from) {
		put_int(c, 0);
		return;
	}
	if (key_type_of(from) != KEY_SET || (to && key_type_of(to) != KEY_SET)) {
		put_wrong_type(c);
		return;
	}
	if (from == to || !has(from->obj, member)) {
		put_int(c, from == to && has(from->obj, member));
		return;
	}
	/* First in, then out: the member may be in no set nowhere. */
	if (!to)
		to = key_make(c, c->argv[2], KEY_SET);
	add(c, to, member);
	key_settled(c, to);
	(void)bag_del(from->obj, member);
	key_part_del(c, from, member);
	key_settled(c, from);
	put_int(c, 1);
}

/* Any member is told and goes. */
static void
pop(struct kcall *c, struct key *k)
{
	struct bag_pair p = bag_at(k->obj, pairs_random(k->obj));
	struct bh_bytes told;

	told = put_bytes(c, p.key.data, p.key.len);
	key_part_del(c, k, told);
	(void)bag_del(k->obj, told);
}

/* at: how many are still to be popped. */
static bool
pop_step(struct kcall *c)
{
	struct key *k = c->state;

	for (int left = SLICE_KEYS; left > 0 && c->at > 0; left--, c->at--)
		pop(c, k);
	if (c->at > 0)
		return true;
	key_settled(c, k);
	return false;
}

/* All of them: told in slices, and the key goes as a whole. */
static bool
pop_all_step(struct kcall *c)
{
	struct key *k = c->state;
	struct bag_walk w = bag_walk(k->obj, c->at);
	struct bag_pair p;

	for (int left = SLICE_KEYS; left > 0 && bag_next(&w, &p); left--)
		put_bytes(c, p.key.data, p.key.len);
	c->at = w.left;
	if (w.left > 0)
		return true;
	key_delete(c, k);
	return false;
}

static void
pop_some(struct kcall *c, struct key *k, uint64_t count)
{
	const struct bag *b = k->obj;

	c->state = k;
	c->step = pop_step;
	if (count >= b->n) {
		count = b->n;
		c->step = pop_all_step;
	}
	c->at = (size_t)count;
	put_array(c, c->at);
}

void
k_spop(struct kcall *c)
{
	int64_t count = 1;
	struct key *k;

	if (c->argc > 3) {
		put_syntax(c);
		return;
	}
	if (c->argc == 3 && !arg_range(c, 2, 0, INT64_MAX,
	    "value is out of range, must be positive", &count))
		return;
	if (!key_peek_as(c, c->argv[1], KEY_SET, &k))
		return;
	if (c->argc == 3 && (!k || count == 0)) {
		put_array(c, 0);
	} else if (c->argc == 3) {
		pop_some(c, k, (uint64_t)count);
	} else if (k) {
		pop(c, k);
		key_settled(c, k);
	} else {
		put_null(c);
	}
}
