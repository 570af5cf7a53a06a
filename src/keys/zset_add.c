/* SPDX-License-Identifier: MIT */
/* Sorted sets: members in and out, and what one asks of single ones. */
#include <math.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "keys/zset_cmd.h"

/* --- adding --- */

struct zadd {
	struct key *key;
	bool nx, xx, gt, lt, ch, incr;
	size_t at, n;			/* pairs */
	size_t first;			/* where they begin in argv */
	int64_t added, updated;
	bool done;			/* INCR: there is a score to show */
	double score;
	double scores[];
};

/* False: the sum is no number. */
static bool
add_one(struct kcall *c, struct zadd *a, double score, struct bh_bytes name)
{
	struct zmember *m = zset_get(zset_of(a->key), name);

	if (!m) {
		if (a->xx)
			return true;
		m = zset_add(zset_of(a->key), name, score);
		a->added++;
	} else {
		if (a->nx)
			return true;
		if (a->incr)
			score += m->score;
		if (isnan(score))
			return false;
		if ((a->lt && score >= m->score) ||
		    (a->gt && score <= m->score))
			return true;
		a->done = true;
		a->score = score;
		if (score == m->score)
			return true;
		zset_move(zset_of(a->key), m, score);
		a->updated++;
	}
	a->done = true;
	a->score = score;
	zkey_write(c, a->key, m);
	return true;
}

static void
put_added(struct kcall *c, const struct zadd *a)
{
	if (!a->incr)
		put_int(c, a->added + (a->ch ? a->updated : 0));
	else if (a->done)
		put_score(c, a->score);
	else
		put_null(c);
}

static bool
add_step(struct kcall *c)
{
	struct zadd *a = c->state;
	bool sound = true;

	for (int left = ZSLICE_WRITE; sound && left > 0 && a->at < a->n;
	    left--, a->at++)
		sound = add_one(c, a, a->scores[a->at],
		    c->argv[a->first + 2 * a->at + 1]);
	if (sound && a->at < a->n)
		return true;
	if (sound)
		put_added(c, a);
	else
		put_error(c, "ERR resulting score is not a number (NaN)");
	if (a->added + a->updated > 0 || zset_of(a->key)->order.count == 0)
		key_settled(c, a->key);
	return false;
}

static bool
flags_fit(struct kcall *c, const struct zadd *a, size_t words)
{
	if (words % 2 || words == 0)
		put_syntax(c);
	else if (a->nx && a->xx)
		put_error(c, "ERR XX and NX options at the same time are not"
		    " compatible");
	else if ((a->gt && a->nx) || (a->lt && a->nx) || (a->gt && a->lt))
		put_error(c, "ERR GT, LT, and/or NX options at the same time"
		    " are not compatible");
	else if (a->incr && words > 2)
		put_error(c, "ERR INCR option supports a single"
		    " increment-element pair");
	else
		return true;
	return false;
}

static void
add_all(struct kcall *c, const struct zadd *flags)
{
	size_t n = (c->argc - flags->first) / 2;
	struct zadd *a = xcalloc(1, sizeof(*a) + n * sizeof(double));

	*a = *flags;
	a->n = n;
	c->state = a;
	c->drop = free;
	for (size_t i = 0; i < n; i++)
		if (!arg_score(c, a->first + 2 * i, NULL, &a->scores[i]))
			return;
	if (!key_peek_as(c, c->argv[1], KEY_ZSET, &a->key))
		return;
	if (!a->key && a->xx) {
		put_added(c, a);
		return;
	}
	if (!a->key)
		a->key = key_make(c, c->argv[1], KEY_ZSET);
	call_slices(c, n <= ZSLICE_WRITE, add_step);
}

/* Redis takes options in ZINCRBY's place of the increment too. */
static void
parse_and_add(struct kcall *c, bool incr)
{
	struct zadd a = {.first = 2, .incr = incr};

	for (; a.first < c->argc; a.first++) {
		struct bh_bytes w = c->argv[a.first];

		if (is(w, "NX"))
			a.nx = true;
		else if (is(w, "XX"))
			a.xx = true;
		else if (is(w, "CH"))
			a.ch = true;
		else if (is(w, "INCR"))
			a.incr = true;
		else if (is(w, "GT"))
			a.gt = true;
		else if (is(w, "LT"))
			a.lt = true;
		else
			break;
	}
	if (flags_fit(c, &a, c->argc - a.first))
		add_all(c, &a);
}

void
k_zadd(struct kcall *c)
{
	parse_and_add(c, false);
}

void
k_zincrby(struct kcall *c)
{
	parse_and_add(c, true);
}

/* --- removing --- */

struct zrem {
	struct key *key;
	size_t at;
	int64_t n;
};

static bool
rem_step(struct kcall *c)
{
	struct zrem *r = c->state;

	for (int left = ZSLICE_WRITE; left > 0 && r->at < c->argc;
	    left--, r->at++) {
		struct zmember *m = zset_get(zset_of(r->key),
		    c->argv[r->at]);

		if (!m)
			continue;
		zkey_remove(c, r->key, m);
		r->n++;
	}
	if (r->at < c->argc)
		return true;
	put_int(c, r->n);
	if (r->n > 0)
		key_settled(c, r->key);
	return false;
}

void
k_zrem(struct kcall *c)
{
	struct zrem *r;
	struct key *k;

	if (!key_peek_as(c, c->argv[1], KEY_ZSET, &k))
		return;
	if (!k) {
		put_int(c, 0);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct zrem){k, 2, 0};
	c->state = r;
	c->drop = free;
	call_slices(c, c->argc - 2 <= ZSLICE_WRITE, rem_step);
}

/* --- asking --- */

static bool
find(struct kcall *c, struct key **ret)
{
	return key_find_as(c, c->argv[1], KEY_ZSET, ret);
}

void
k_zcard(struct kcall *c)
{
	struct key *k;

	if (find(c, &k))
		put_int(c, k ? (int64_t)zset_of(k)->order.count : 0);
}

static void
put_score_of(struct kcall *c, const struct key *k, struct bh_bytes name)
{
	const struct zmember *m = k ? zset_get(zset_of(k), name) : NULL;

	if (m)
		put_score(c, m->score);
	else
		put_null(c);
}

void
k_zscore(struct kcall *c)
{
	struct key *k;

	if (find(c, &k))
		put_score_of(c, k, c->argv[2]);
}

void
k_zmscore(struct kcall *c)
{
	struct key *k;

	if (!find(c, &k))
		return;
	put_array(c, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++)
		put_score_of(c, k, c->argv[i]);
}

static void
rank(struct kcall *c, bool reverse)
{
	const struct zmember *m;
	const struct zset *z;
	struct key *k;
	size_t n;

	if (!find(c, &k))
		return;
	z = k ? zset_of(k) : NULL;
	m = z ? zset_get(z, c->argv[2]) : NULL;
	if (!m) {
		put_null(c);
		return;
	}
	n = zset_rank(z, m);
	put_int(c, (int64_t)(reverse ? z->order.count - 1 - n : n));
}

void
k_zrank(struct kcall *c)
{
	rank(c, false);
}

void
k_zrevrank(struct kcall *c)
{
	rank(c, true);
}

/* Redis' listpacks keep integers as such, and ZSCAN shows what they keep. */
static void
put_scanned(struct kcall *c, const struct zset *z, const struct zmember *m)
{
	bool is_int = !z->big && fabs(m->score) <= 0x1p62 &&
	    m->score == (double)(int64_t)m->score;

	put_member(c, m, !is_int);
	if (is_int)
		put_text(c, "%lld", (long long)m->score);
}

/* A cursor is how many members at the front of `all` are still to be seen;
 * what is small is shown at once, as by Redis. */
void
k_zscan(struct kcall *c)
{
	struct scan_args s = {0};
	const struct zset *z;
	size_t at, cursor, open, n = 0;
	struct key *k;

	if (!arg_cursor(c, 2, &s.cursor) || !find(c, &k))
		return;
	if (!k) {
		put_empty_scan(c);
		return;
	}
	if (!arg_scan(c, 3, false, &s))
		return;
	z = zset_of(k);
	put_array(c, 2);
	cursor = c->re->n;
	put_null(c);
	open = put_array_open(c);
	at = s.cursor == 0 || s.cursor > z->order.count ? z->order.count :
	    (size_t)s.cursor;
	if (!z->big || s.count > SLICE_KEYS)
		s.count = SLICE_KEYS;
	if (!z->big)
		at = z->order.count;
	for (struct zmember *m = zset_at(z, 0); at > 0 && s.count > 0;
	    s.count--) {
		const struct zmember *seen = z->big ? z->all[--at] : m;
		struct bh_bytes name = zmember_name(seen);

		if (!z->big) {
			m = zmember_next(m);
			at--;
		}
		if (s.match.data && !str_glob(s.match.data, s.match.len,
		    name.data, name.len))
			continue;
		put_scanned(c, z, seen);
		n += 2;
	}
	put_array_close(c, open, n);
	put_cursor(c, cursor, at);
}
