/* SPDX-License-Identifier: MIT */
/* Commands of hashes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "keys/pairs.h"

/* The hash to look at; *ret NULL when there is none. */
static bool
find(struct kcall *c, struct bag **ret)
{
	struct key *k;

	if (!key_find_as(c, c->argv[1], KEY_HASH, &k))
		return false;
	*ret = k ? k->obj : NULL;
	return true;
}

static void
put_field(struct kcall *c, const struct bag *b, struct bh_bytes field)
{
	struct bh_bytes v;

	if (b && bag_get(b, field, &v))
		put_bytes(c, v.data, v.len);
	else
		put_null(c);
}

void
k_hget(struct kcall *c)
{
	struct bag *b;

	if (find(c, &b))
		put_field(c, b, c->argv[2]);
}

static bool
hmget_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 1); c->at++)
		put_field(c, c->state, c->argv[c->at]);
	return c->at < c->argc;
}

void
k_hmget(struct kcall *c)
{
	struct bag *b;

	if (!find(c, &b))
		return;
	put_array(c, c->argc - 2);
	c->state = b;
	call_words(c, 2, hmget_step);
}

void
k_hlen(struct kcall *c)
{
	struct bag *b;

	if (find(c, &b))
		put_int(c, b ? (int64_t)b->n : 0);
}

void
k_hexists(struct kcall *c)
{
	struct bag *b;
	struct bh_bytes v;

	if (find(c, &b))
		put_int(c, b && bag_get(b, c->argv[2], &v));
}

void
k_hstrlen(struct kcall *c)
{
	struct bag *b;
	struct bh_bytes v;

	if (find(c, &b))
		put_int(c, b && bag_get(b, c->argv[2], &v) ?
		    (int64_t)v.len : 0);
}

static void
put_all(struct kcall *c, enum pairs_part what)
{
	struct bag *b;

	if (!find(c, &b))
		return;
	if (b)
		pairs_put_all(c, b, what);
	else
		put_array(c, 0);
}

void
k_hgetall(struct kcall *c)
{
	put_all(c, PAIRS_BOTH);
}

void
k_hkeys(struct kcall *c)
{
	put_all(c, PAIRS_KEYS);
}

void
k_hvals(struct kcall *c)
{
	put_all(c, PAIRS_VALUES);
}

void
k_hscan(struct kcall *c)
{
	struct scan_args s = {0};
	struct bag *b;

	if (!arg_cursor(c, 2, &s.cursor) || !find(c, &b))
		return;
	if (!b)
		put_empty_scan(c);
	else if (arg_scan(c, 3, false, &s))
		pairs_scan(c, b, &s, PAIRS_BOTH);
}

void
k_hrandfield(struct kcall *c)
{
	struct bag *b;
	int64_t count = 1;
	bool values;

	if (c->argc > 2 && !arg_range(c, 2, -INT64_MAX, INT64_MAX, NULL,
	    &count))
		return;
	values = c->argc == 4 && str_is(c->argv[3].data, c->argv[3].len,
	    "WITHVALUES");
	if (c->argc > 4 || (c->argc == 4 && !values)) {
		put_syntax(c);
		return;
	}
	if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
		put_error(c, "ERR value is out of range");
		return;
	}
	if (!find(c, &b))
		return;
	if (c->argc == 2 && b) {
		struct bag_pair p = bag_at(b, pairs_random(b));

		put_bytes(c, p.key.data, p.key.len);
	} else if (c->argc == 2) {
		put_null(c);
	} else if (!b || count == 0) {
		put_array(c, 0);
	} else {
		pairs_put_random(c, b, count, values ? PAIRS_BOTH :
		    PAIRS_KEYS);
	}
}

/* --- changes --- */

/* The key to change, made when there is none. */
static struct key *
take(struct kcall *c)
{
	struct key *k;

	if (!key_peek_as(c, c->argv[1], KEY_HASH, &k))
		return NULL;
	return k ? k : key_make(c, c->argv[1], KEY_HASH);
}

/* True: it is a new field. */
static bool
set_field(struct kcall *c, struct key *k, struct bh_bytes field,
    struct bh_bytes value)
{
	key_part_set(c, k, field, value);
	return hash_set(k->obj, field, value);
}

/* HMSET has another answer. */
static bool
hset_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 2); c->at += 2)
		c->n += set_field(c, c->state, c->argv[c->at],
		    c->argv[c->at + 1]);
	if (c->at < c->argc)
		return true;
	key_settled(c, c->state);
	if (c->cmd->fn == k_hmset)
		put_ok(c);
	else
		put_int(c, (int64_t)c->n);
	return false;
}

void
k_hset(struct kcall *c)
{
	if (c->argc % 2) {
		put_bad_arity(c);
		return;
	}
	c->state = take(c);
	if (c->state)
		call_words(c, 2, hset_step);
}

void
k_hmset(struct kcall *c)
{
	k_hset(c);
}

void
k_hsetnx(struct kcall *c)
{
	struct key *k = take(c);
	struct bh_bytes old;

	if (!k)
		return;
	if (bag_get(k->obj, c->argv[2], &old)) {
		put_int(c, 0);
		return;
	}
	set_field(c, k, c->argv[2], c->argv[3]);
	key_settled(c, k);
	put_int(c, 1);
}

void
k_hdel(struct kcall *c)
{
	pairs_remove_words(c, KEY_HASH);
}

/* The counter's new text; the key is there for it. */
static void
write_text(struct kcall *c, struct key *k, const char *text, size_t len)
{
	if (!k)
		k = key_make(c, c->argv[1], KEY_HASH);
	set_field(c, k, c->argv[2], (struct bh_bytes){text, len});
	key_settled(c, k);
}

void
k_hincrby(struct kcall *c)
{
	struct bh_bytes old;
	int64_t by, v = 0;
	struct key *k;
	char text[24];

	if (!arg_number(c, 3, &by) ||
	    !key_peek_as(c, c->argv[1], KEY_HASH, &k))
		return;
	if (k && bag_get(k->obj, c->argv[2], &old) && !num_int(old, &v)) {
		put_error(c, "ERR hash value is not an integer");
		return;
	}
	if (__builtin_add_overflow(v, by, &v)) {
		put_error(c, "ERR increment or decrement would overflow");
		return;
	}
	write_text(c, k, text, (size_t)snprintf(text, sizeof(text), "%lld",
	    (long long)v));
	put_int(c, v);
}

void
k_hincrbyfloat(struct kcall *c)
{
	char text[NUM_REAL_MAX];
	long double v = 0, by;
	struct bh_bytes old;
	struct key *k;
	size_t len;

	if (!num_real(c->argv[3], &by)) {
		put_error(c, "ERR value is not a valid float");
		return;
	}
	if (isinf(by)) {
		put_error(c, "ERR value is NaN or Infinity");
		return;
	}
	if (!key_peek_as(c, c->argv[1], KEY_HASH, &k))
		return;
	if (k && bag_get(k->obj, c->argv[2], &old) && !num_real(old, &v)) {
		put_error(c, "ERR hash value is not a float");
		return;
	}
	v += by;
	if (isnan(v) || isinf(v)) {
		put_error(c, "ERR increment would produce NaN or Infinity");
		return;
	}
	len = num_real_text(v, text);
	write_text(c, k, text, len);
	put_bytes(c, text, len);
}
