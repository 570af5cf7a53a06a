/* SPDX-License-Identifier: MIT */
/* Sorted sets: spans of ranks, scores and names; shown, counted, stored,
 * removed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "keys/zset_cmd.h"

/* --- bounds --- */

/* As strtod() reads it, blanks in front and all; "(" leaves the bound out. */
static bool
parse_bound(struct bh_bytes v, double *ret, bool *ret_out)
{
	char text[NUM_REAL_MAX], *end;

	if (v.len >= sizeof(text))
		return false;
	memcpy(text, v.data, v.len);
	text[v.len] = '\0';
	*ret_out = text[0] == '(';
	*ret = strtod(text + *ret_out, &end);
	return *end == '\0' && !isnan(*ret);
}

static bool
parse_scores(struct kcall *c, size_t min, size_t max, struct zrange *r)
{
	if (parse_bound(c->argv[min], &r->min, &r->min_out) &&
	    parse_bound(c->argv[max], &r->max, &r->max_out))
		return true;
	put_error(c, "ERR min or max is not a float");
	return false;
}

static bool
parse_name(struct bh_bytes v, struct bh_bytes *ret, bool *ret_out, int *ret_end)
{
	if (v.len == 0 || !strchr("+-([", v.data[0]))
		return false;
	if (v.data[0] == '+' || v.data[0] == '-') {
		*ret_end = v.data[0] == '+' ? 1 : -1;
		*ret_out = true;
		return v.len == 1;
	}
	*ret_out = v.data[0] == '(';
	*ret = (struct bh_bytes){v.data + 1, v.len - 1};
	return true;
}

static bool
parse_names(struct kcall *c, size_t min, size_t max, struct zrange *r)
{
	r->lex = true;
	if (parse_name(c->argv[min], &r->low, &r->min_out, &r->low_end) &&
	    parse_name(c->argv[max], &r->high, &r->max_out, &r->high_end))
		return true;
	put_error(c, "ERR min or max not valid string range item");
	return false;
}

/* --- showing --- */

enum by { BY_ANY, BY_RANK, BY_SCORE, BY_NAME };

struct show {
	enum by by;
	bool reverse, may_reverse, scores, store;
	int64_t start, stop;		/* BY_RANK */
	int64_t offset, limit;
	struct zrange range;
	const struct zmember *next;
	size_t left;
	struct zset *out;		/* of ZRANGESTORE */
};

static void
show_drop(void *state)
{
	struct show *s = state;
	int budget;

	if (s->out)
		do
			budget = INT32_MAX;
		while (!zset_free_some(s->out, &budget));
	free(s);
}

static bool
show_step(struct kcall *c)
{
	struct show *s = c->state;
	struct zset *out = s->out;

	for (int n = ZSLICE_READ; n > 0 && s->left > 0; n--, s->left--) {
		if (out)
			zset_add(out, zmember_name(s->next), s->next->score);
		else
			put_member(c, s->next, s->scores);
		s->next = s->reverse ? zmember_prev(s->next) :
		    zmember_next(s->next);
	}
	if (s->left > 0)
		return true;
	if (!out)
		return false;
	s->out = NULL;
	zset_store(c, c->argv[1], out);
	return c->step != NULL;
}

/* argv[i…], behind the bounds. */
static bool
parse_options(struct kcall *c, size_t i, struct show *s)
{
	for (; i < c->argc; i++) {
		struct bh_bytes w = c->argv[i];

		if (!s->store && is(w, "WITHSCORES")) {
			s->scores = true;
		} else if (is(w, "LIMIT") && i + 2 < c->argc) {
			if (!arg_number(c, i + 1, &s->offset) ||
			    !arg_number(c, i + 2, &s->limit))
				return false;
			i += 2;
		} else if (s->may_reverse && is(w, "REV")) {
			s->reverse = true;
			s->may_reverse = false;
		} else if (s->by == BY_ANY && is(w, "BYLEX")) {
			s->by = BY_NAME;
		} else if (s->by == BY_ANY && is(w, "BYSCORE")) {
			s->by = BY_SCORE;
		} else {
			put_syntax(c);
			return false;
		}
	}
	if (s->by == BY_ANY)
		s->by = BY_RANK;
	if (s->limit != -1 && s->by == BY_RANK) {
		put_error(c, "ERR syntax error, LIMIT is only supported in"
		    " combination with either BYSCORE or BYLEX");
		return false;
	}
	if (s->scores && s->by == BY_NAME) {
		put_error(c, "ERR syntax error, WITHSCORES not supported in"
		    " combination with BYLEX");
		return false;
	}
	return true;
}

/* Reversed, the greater one comes first. */
static bool
parse_bounds(struct kcall *c, size_t i, struct show *s)
{
	size_t min = s->reverse ? i + 1 : i, max = s->reverse ? i : i + 1;

	if (s->by == BY_RANK)
		return arg_number(c, i, &s->start) &&
		    arg_number(c, i + 1, &s->stop);
	return s->by == BY_SCORE ? parse_scores(c, min, max, &s->range) :
	    parse_names(c, min, max, &s->range);
}

/* Which members it is about: the first one, and how many. */
static void
locate(const struct zset *z, struct show *s)
{
	size_t from = 0, to = 0;
	int64_t len = (int64_t)z->order.count;

	if (s->by == BY_RANK) {
		if (!range_clamp(len, &s->start, &s->stop))
			return;
		from = (size_t)(s->reverse ? len - 1 - s->stop : s->start);
		to = from + (size_t)(s->stop - s->start) + 1;
	} else {
		zset_span(z, &s->range, &from, &to);
		if (s->offset < 0 || (uint64_t)s->offset >= to - from)
			return;
		if (s->reverse)
			to -= (size_t)s->offset;
		else
			from += (size_t)s->offset;
	}
	s->left = to - from;
	if (s->by != BY_RANK && s->limit >= 0 && (uint64_t)s->limit < s->left)
		s->left = (size_t)s->limit;
	s->next = zset_at(z, s->reverse ? to - 1 : from);
}

/* The key is argv[key], behind it are the bounds. */
static void
show(struct kcall *c, const struct show *how, size_t key)
{
	struct show *s = xmemdup(how, sizeof(*s));
	struct key *k;

	c->state = s;
	c->drop = show_drop;
	s->limit = -1;
	if (!parse_options(c, key + 3, s) || !parse_bounds(c, key + 1, s) ||
	    !key_find_as(c, c->argv[key], KEY_ZSET, &k))
		return;
	if (k)
		locate(zset_of(k), s);
	if (s->store)
		s->out = zset_new();
	else
		put_array(c, s->left * (s->scores ? 2 : 1));
	call_slices(c, s->left <= ZSLICE_READ, show_step);
}

void
k_zrange(struct kcall *c)
{
	show(c, &(struct show){.may_reverse = true}, 1);
}

void
k_zrangestore(struct kcall *c)
{
	show(c, &(struct show){.may_reverse = true, .store = true}, 2);
}

void
k_zrevrange(struct kcall *c)
{
	show(c, &(struct show){.by = BY_RANK, .reverse = true}, 1);
}

void
k_zrangebyscore(struct kcall *c)
{
	show(c, &(struct show){.by = BY_SCORE}, 1);
}

void
k_zrevrangebyscore(struct kcall *c)
{
	show(c, &(struct show){.by = BY_SCORE, .reverse = true}, 1);
}

void
k_zrangebylex(struct kcall *c)
{
	show(c, &(struct show){.by = BY_NAME}, 1);
}

void
k_zrevrangebylex(struct kcall *c)
{
	show(c, &(struct show){.by = BY_NAME, .reverse = true}, 1);
}

/* --- counting --- */

static void
count(struct kcall *c, const struct zrange *r)
{
	size_t from = 0, to = 0;
	struct key *k;

	if (!key_find_as(c, c->argv[1], KEY_ZSET, &k))
		return;
	if (k)
		zset_span(zset_of(k), r, &from, &to);
	put_int(c, (int64_t)(to - from));
}

void
k_zcount(struct kcall *c)
{
	struct zrange r = {0};

	if (parse_scores(c, 2, 3, &r))
		count(c, &r);
}

void
k_zlexcount(struct kcall *c)
{
	struct zrange r = {0};

	if (parse_names(c, 2, 3, &r))
		count(c, &r);
}

/* --- removing --- */

struct removing {
	struct key *key;
	struct zmember *next;
	size_t left;
	int64_t n;
};

static bool
remove_step(struct kcall *c)
{
	struct removing *r = c->state;

	for (int n = ZSLICE_WRITE; n > 0 && r->left > 0; n--, r->left--) {
		struct zmember *m = r->next;

		r->next = zmember_next(m);
		zkey_remove(c, r->key, m);
	}
	if (r->left > 0)
		return true;
	put_int(c, r->n);
	key_settled(c, r->key);
	return false;
}

/* Those with the ranks from…; all of them go with their key. */
static void
remove_span(struct kcall *c, struct key *k, size_t from, size_t to)
{
	struct removing *r;

	if (from == to || to - from == zset_of(k)->order.count) {
		put_int(c, (int64_t)(to - from));
		if (to > from)
			key_delete(c, k);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct removing){k, zset_at(zset_of(k), from), to - from,
	    (int64_t)(to - from)};
	c->state = r;
	c->drop = free;
	call_slices(c, r->left <= ZSLICE_WRITE, remove_step);
}

static void
remove_range(struct kcall *c, const struct zrange *r)
{
	size_t from, to;
	struct key *k;

	if (!key_peek_as(c, c->argv[1], KEY_ZSET, &k))
		return;
	if (!k) {
		put_int(c, 0);
		return;
	}
	zset_span(zset_of(k), r, &from, &to);
	remove_span(c, k, from, to);
}

void
k_zremrangebyscore(struct kcall *c)
{
	struct zrange r = {0};

	if (parse_scores(c, 2, 3, &r))
		remove_range(c, &r);
}

void
k_zremrangebylex(struct kcall *c)
{
	struct zrange r = {0};

	if (parse_names(c, 2, 3, &r))
		remove_range(c, &r);
}

void
k_zremrangebyrank(struct kcall *c)
{
	int64_t start, stop;
	struct key *k;

	if (!arg_number(c, 2, &start) || !arg_number(c, 3, &stop) ||
	    !key_peek_as(c, c->argv[1], KEY_ZSET, &k))
		return;
	if (k && range_clamp((int64_t)zset_of(k)->order.count, &start, &stop))
		remove_span(c, k, (size_t)start, (size_t)stop + 1);
	else
		put_int(c, 0);
}
