/* SPDX-License-Identifier: MIT */
/* Sorted sets: taking members from the ends, also waiting for one; any ones. */
#include <stdlib.h>

#include "base/rng.h"
#include "base/xalloc.h"
#include "keys/zset_cmd.h"

/* --- taking --- */

struct taking {
	struct key *key;
	bool greatest, pairs, all;
	const struct zmember *next;
	size_t left;
};

static bool
take_step(struct kcall *c)
{
	struct taking *t = c->state;

	for (int n = ZSLICE_WRITE; n > 0 && t->left > 0; n--, t->left--) {
		struct zmember *m = (struct zmember *)(uintptr_t)t->next;

		t->next = t->greatest ? zmember_prev(m) : zmember_next(m);
		if (t->pairs)
			put_array(c, 2);
		put_member(c, m, true);
		if (!t->all)
			zkey_remove(c, t->key, m);
	}
	if (t->left > 0)
		return true;
	if (t->all)
		key_delete(c, t->key);
	else
		key_settled(c, t->key);
	return false;
}

/* n members and their scores, flat or as pairs; the last thing that a command
 * does. All of them go with their key. */
static void
take(struct kcall *c, struct key *k, bool greatest, size_t n, bool pairs)
{
	struct zset *z = zset_of(k);
	struct taking *t = xcalloc(1, sizeof(*t));

	if (n > z->order.count)
		n = z->order.count;
	*t = (struct taking){k, greatest, pairs, n == z->order.count,
	    zset_at(z, greatest ? z->order.count - 1 : 0), n};
	c->state = t;
	c->drop = free;
	call_slices(c, n <= ZSLICE_WRITE, take_step);
}

static void
pop(struct kcall *c, bool greatest)
{
	int64_t count = 1;
	struct key *k;
	size_t n;

	if (c->argc > 3) {
		put_syntax(c);
		return;
	}
	if (c->argc == 3 && !arg_range(c, 2, 0, INT64_MAX,
	    "value is out of range, must be positive", &count))
		return;
	if (!key_peek_as(c, c->argv[1], KEY_ZSET, &k))
		return;
	if (!k || count == 0) {
		put_array(c, 0);
		return;
	}
	n = zset_of(k)->order.count;
	if ((uint64_t)count < n)
		n = (size_t)count;
	put_array(c, 2 * n);
	take(c, k, greatest, n, false);
}

void
k_zpopmin(struct kcall *c)
{
	pop(c, false);
}

void
k_zpopmax(struct kcall *c)
{
	pop(c, true);
}

/* --- from several, and waiting --- */

static void
late(struct kcall *c)
{
	put_null_array(c);
}

/* c->at: the greatest; c->n: so many at most, 0: one, flat. */
static void
pop_of(struct kcall *c, struct key *k, struct bh_bytes name)
{
	size_t n = c->n ? c->n : 1;

	if (n > zset_of(k)->order.count)
		n = zset_of(k)->order.count;
	put_array(c, c->n ? 2 : 3);
	put_bytes(c, name.data, name.len);
	if (c->n)
		put_array(c, n);
	take(c, k, c->at, n, c->n > 0);
}

static bool
again(struct kcall *c, struct bh_bytes name)
{
	struct key *k = key_peek(c, name);

	if (!k || key_type_of(k) != KEY_ZSET)
		return false;
	pop_of(c, k, name);
	return true;
}

/* From the first of the keys that has something; false: none has. */
static bool
pop_any(struct kcall *c, size_t first, size_t n)
{
	struct key *k;

	for (size_t i = first; i < first + n; i++) {
		if (!key_peek_as(c, c->argv[i], KEY_ZSET, &k))
			return true;
		if (!k)
			continue;
		pop_of(c, k, c->argv[i]);
		return true;
	}
	return false;
}

static void
pop_wait(struct kcall *c, bool greatest)
{
	int64_t deadline;

	if (!arg_timeout(c, c->argc - 1, &deadline))
		return;
	c->at = greatest;
	c->n = 0;
	if (!pop_any(c, 1, c->argc - 2))
		call_park(c, c->argv + 1, c->argc - 2, deadline, again, late);
}

void
k_bzpopmin(struct kcall *c)
{
	pop_wait(c, false);
}

void
k_bzpopmax(struct kcall *c)
{
	pop_wait(c, true);
}

/* numkeys key [key …] MIN|MAX [COUNT n], numkeys being argv[at]. */
static bool
parse_mpop(struct kcall *c, size_t at, int64_t *ret_keys)
{
	int64_t count = 1;
	size_t i;

	if (!arg_range(c, at, 1, INT64_MAX,
	    "numkeys should be greater than 0", ret_keys))
		return false;
	i = at + 1 + (size_t)*ret_keys;
	if ((uint64_t)*ret_keys >= c->argc - at - 1 ||
	    !(is(c->argv[i], "MIN") || is(c->argv[i], "MAX"))) {
		put_syntax(c);
		return false;
	}
	c->at = is(c->argv[i], "MAX");
	if (i + 3 <= c->argc && is(c->argv[i + 1], "COUNT") &&
	    !arg_range(c, i + 2, 1, INT64_MAX,
	    "count should be greater than 0", &count))
		return false;
	if (i + 1 != c->argc &&
	    !(i + 3 == c->argc && is(c->argv[i + 1], "COUNT"))) {
		put_syntax(c);
		return false;
	}
	c->n = (size_t)count;
	return true;
}

void
k_zmpop(struct kcall *c)
{
	int64_t keys;

	if (parse_mpop(c, 1, &keys) && !pop_any(c, 2, (size_t)keys))
		put_null_array(c);
}

void
k_bzmpop(struct kcall *c)
{
	int64_t keys, deadline;

	if (parse_mpop(c, 2, &keys) && arg_timeout(c, 1, &deadline) &&
	    !pop_any(c, 3, (size_t)keys))
		call_park(c, c->argv + 3, (size_t)keys, deadline, again,
		    late);
}

/* --- any --- */

struct sample {
	const struct zset *z;
	bool scores;
	bool again;			/* the same one may come again */
	size_t want;
	unsigned char *taken;		/* ranks, one bit each; or NULL: */
	const struct zmember *next;	/* each is taken or left as we go */
	size_t left;
};

static void
sample_drop(void *state)
{
	struct sample *s = state;

	free(s->taken);
	free(s);
}

static const struct zmember *
sample_one(struct sample *s)
{
	const struct zmember *m = s->next;
	size_t rank;

	if (!s->again && !s->taken) {
		/* Of those that are left, so many are wanted. */
		s->next = zmember_next(m);
		return rng_u64() % s->left-- < s->want ? m : NULL;
	}
	rank = (size_t)(rng_u64() % s->z->order.count);
	if (s->taken) {
		unsigned char bit = (unsigned char)(1 << rank % 8);

		if (s->taken[rank / 8] & bit)
			return NULL;
		s->taken[rank / 8] |= bit;
	}
	return zset_at(s->z, rank);
}

static bool
sample_step(struct kcall *c)
{
	struct sample *s = c->state;

	for (int n = ZSLICE_READ / 2; n > 0 && s->want > 0; n--) {
		const struct zmember *m = sample_one(s);

		if (!m)
			continue;
		put_member(c, m, s->scores);
		s->want--;
	}
	return s->want > 0;
}

static void
put_some(struct kcall *c, const struct zset *z, int64_t count, bool scores)
{
	struct sample *s = xcalloc(1, sizeof(*s));
	size_t n = z->order.count;

	*s = (struct sample){.z = z, .scores = scores, .again = count < 0,
	    .next = zset_at(z, 0), .left = n};
	s->want = count < 0 ? (size_t)-count : (size_t)count;
	if (!s->again && s->want > n)
		s->want = n;
	if (!s->again && s->want < n / 3)
		s->taken = xcalloc(1, n / 8 + 1);
	c->state = s;
	c->drop = sample_drop;
	put_array(c, s->want * (scores ? 2 : 1));
	call_slices(c, (s->again ? s->want : n) <= ZSLICE_READ, sample_step);
}

void
k_zrandmember(struct kcall *c)
{
	int64_t count = 1;
	bool scores;
	struct key *k;

	if (c->argc > 2 && !arg_range(c, 2, -INT64_MAX, INT64_MAX, NULL,
	    &count))
		return;
	scores = c->argc == 4 && is(c->argv[3], "WITHSCORES");
	if (c->argc > 4 || (c->argc == 4 && !scores)) {
		put_syntax(c);
		return;
	}
	if (scores && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
		put_error(c, "ERR value is out of range");
		return;
	}
	if (!key_find_as(c, c->argv[1], KEY_ZSET, &k))
		return;
	if (!k && c->argc == 2) {
		put_null(c);
	} else if (!k || count == 0) {
		put_array(c, 0);
	} else if (c->argc == 2) {
		put_member(c, zset_at(zset_of(k),
		    (size_t)(rng_u64() % zset_of(k)->order.count)), false);
	} else {
		put_some(c, zset_of(k), count, scores);
	}
}
