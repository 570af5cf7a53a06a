/* SPDX-License-Identifier: MIT */
/* Sorted sets as a type of values: a part is a member, with its score; and what
 * their commands share. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "keys/zset_cmd.h"

/* --- the type --- */

static const char *
encoding(const void *obj)
{
	return ((const struct zset *)obj)->big ? "skiplist" : "listpack";
}

static void *
make(void)
{
	return zset_new();
}

static void *
copy(const void *obj)
{
	return zset_copy(obj);
}

static bool
free_some(void *obj, int *budget)
{
	return zset_free_some(obj, budget);
}

static size_t
length(const void *obj)
{
	return ((const struct zset *)obj)->order.count;
}

static size_t
bytes(const void *obj)
{
	return zset_bytes(obj);
}

struct bh_bytes
zscore_bytes(double score, char out[ZSCORE_BYTES])
{
	uint64_t v;

	memcpy(&v, &score, sizeof(v));
	for (int i = ZSCORE_BYTES - 1; i >= 0; i--, v >>= 8)
		out[i] = (char)v;
	return (struct bh_bytes){out, ZSCORE_BYTES};
}

static void
each_part(const void *obj, kpart_fn *fn, void *arg)
{
	const struct zmember *m;
	char score[ZSCORE_BYTES];

	for (m = zset_at(obj, 0); m; m = zmember_next(m))
		fn(arg, zmember_name(m), zscore_bytes(m->score, score));
}

static bool
some_parts(const void *obj, size_t *at, int budget, kpart_fn *fn, void *arg)
{
	const struct zmember *m = zset_at(obj, *at);
	char score[ZSCORE_BYTES];

	for (; m && budget > 0; m = zmember_next(m), budget--, ++*at)
		fn(arg, zmember_name(m), zscore_bytes(m->score, score));
	return !m;
}

static void
load_part(void *obj, struct bh_bytes part, struct bh_bytes value)
{
	uint64_t v = 0;
	double score;

	for (size_t i = 0; i < value.len; i++)
		v = v << 8 | (unsigned char)value.data[i];
	memcpy(&score, &v, sizeof(score));
	zset_add(obj, part, score);
}

const struct ktype zset_type = {
	.name = "zset",
	.encoding = encoding,
	.make = make,
	.copy = copy,
	.free_some = free_some,
	.length = length,
	.bytes = bytes,
	.parts = length,
	.each_part = each_part,
	.some_parts = some_parts,
	.load_part = load_part,
};

/* --- numbers --- */

void
put_score(struct kcall *c, double score)
{
	if (isinf(score))
		put_text(c, score > 0 ? "inf" : "-inf");
	else if (fabs(score) < 1e15 && score == (double)(int64_t)score &&
	    !(score == 0 && signbit(score)))
		put_text(c, "%lld", (long long)score);
	else
		put_text(c, "%.17g", score);
}

void
put_member(struct kcall *c, const struct zmember *m, bool scores)
{
	struct bh_bytes name = zmember_name(m);

	put_bytes(c, name.data, name.len);
	if (scores)
		put_score(c, m->score);
}

bool
arg_score(struct kcall *c, size_t i, const char *text, double *ret)
{
	struct bh_bytes v = c->argv[i];
	char buf[NUM_REAL_MAX], *end;
	double d;

	if (v.len > 0 && v.len < sizeof(buf) && !memchr(" \t\n\v\f\r",
	    v.data[0], 6)) {
		memcpy(buf, v.data, v.len);
		buf[v.len] = '\0';
		errno = 0;
		d = strtod(buf, &end);
		if (end == buf + v.len && !isnan(d) && !(errno == ERANGE &&
		    (isinf(d) || fpclassify(d) == FP_ZERO))) {
			*ret = d;
			return true;
		}
	}
	put_error(c, "ERR %s", text ? text : "value is not a valid float");
	return false;
}

/* --- changes that are written down --- */

void
zkey_write(struct kcall *c, struct key *k, const struct zmember *m)
{
	char score[ZSCORE_BYTES];

	key_part_set(c, k, zmember_name(m), zscore_bytes(m->score, score));
}

void
zkey_remove(struct kcall *c, struct key *k, struct zmember *m)
{
	key_part_del(c, k, zmember_name(m));
	zset_remove(k->obj, m);
}

/* --- a result takes a key's place --- */

struct storing {
	struct bh_bytes to;
	struct zset *z;
	const struct zmember *next;
	int64_t id;
};

static void
storing_drop(void *state)
{
	struct storing *s = state;
	int budget;

	if (s->z)
		do
			budget = INT32_MAX;
		while (!zset_free_some(s->z, &budget));
	free(s);
}

static bool
store_step(struct kcall *c)
{
	struct storing *s = c->state;
	char score[ZSCORE_BYTES];

	for (int left = ZSLICE_WRITE; left > 0 && s->next; left--) {
		key_part_early(c, s->id, zmember_name(s->next),
		    zscore_bytes(s->next->score, score));
		s->next = zmember_next(s->next);
	}
	if (s->next)
		return true;
	key_store_written(c, s->to, KEY_ZSET, s->z, s->id);
	s->z = NULL;
	return false;
}

void
zset_store(struct kcall *c, struct bh_bytes to, struct zset *z)
{
	size_t n = z->order.count;
	struct storing *s;

	zset_keep(z);
	put_int(c, (int64_t)n);
	call_drop(c);
	if (n <= ZSLICE_WRITE) {
		c->step = NULL;
		key_store_obj(c, to, KEY_ZSET, z, 0);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	*s = (struct storing){to, z, zset_at(z, 0), key_reserve(c, to)};
	c->state = s;
	c->drop = storing_drop;
	c->step = store_step;
}
