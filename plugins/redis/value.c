/* SPDX-License-Identifier: MIT */
#include "redis/value.h"

#include <hiredis/hiredis.h>

#include "redis/mem.h"

size_t
rvalue_count(const redisReply *r)
{
	size_t n = 1;

	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements;
	    i++)
		n += rvalue_count(r->element[i]);
	return n;
}

struct bh_value *
rvalue_fill(struct bh_value *v, const redisReply *r)
{
	*v = (struct bh_value){.type = BH_NULL};
	switch (r->type) {
	case REDIS_REPLY_NIL:
		/* See link.c: which of RESP2's two it is. */
		v->type = r->integer ? BH_NULL_ARRAY : BH_NULL;
		break;
	case REDIS_REPLY_INTEGER:
		v->type = BH_INTEGER;
		v->i = r->integer;
		break;
	case REDIS_REPLY_ARRAY:
		v->type = BH_ARRAY;
		v->n = r->elements;
		v++;
		for (size_t i = 0; i < r->elements; i++)
			v = rvalue_fill(v, r->element[i]);
		return v;
	case REDIS_REPLY_STRING:
	case REDIS_REPLY_STATUS:
	case REDIS_REPLY_ERROR:
		v->type = r->type == REDIS_REPLY_STRING ? BH_STRING :
		    r->type == REDIS_REPLY_STATUS ? BH_STATUS : BH_ERROR;
		v->s = (struct bh_bytes){r->str, (size_t)r->len};
		break;
	default:
		break;
	}
	return v + 1;
}

bool
rvalue_own(const char *name, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len >= n && memcmp(name, prefix, n) == 0;
}

/* An array of names. */
static struct bh_value *
fill_names(struct bh_value *v, const redisReply *r, const char *prefix)
{
	struct bh_value *names = v, *next = v + 1;

	if (r->type != REDIS_REPLY_ARRAY)
		return rvalue_fill(v, r);
	*names = (struct bh_value){.type = BH_ARRAY};
	for (size_t i = 0; i < r->elements; i++) {
		const redisReply *e = r->element[i];

		if (e->type == REDIS_REPLY_STRING && rvalue_own(e->str,
		    (size_t)e->len, prefix))
			continue;
		next = rvalue_fill(next, e);
		names->n++;
	}
	return next;
}

struct bh_value *
rvalue_filter(struct bh_value *v, const redisReply *r,
    const struct rvalue_filter *f)
{
	if (f->what == RVALUE_KEYS)
		return fill_names(v, r, f->prefix);
	if (f->what != RVALUE_SCAN || r->type != REDIS_REPLY_ARRAY ||
	    r->elements != 2)
		return rvalue_fill(v, r);
	*v = (struct bh_value){.type = BH_ARRAY, .n = 2};
	return fill_names(rvalue_fill(v + 1, r->element[0]), r->element[1],
	    f->prefix);
}

struct bh_value *
rvalue_new(const redisReply *r, const struct rvalue_filter *f)
{
	struct bh_value *v = mem_new(rvalue_count(r) * sizeof(*v));

	(void)rvalue_filter(v, r, f);
	return v;
}

/* A part of a second counts as one. */
static int64_t
seconds(long long ms)
{
	return ms < 0 ? -1 : ms / 1000 + (ms % 1000 != 0);
}

struct bh_value *
rvalue_throttle(struct bh_value *v, const redisReply *r, int64_t burst)
{
	int64_t n[5];

	if (r->type != REDIS_REPLY_ARRAY || r->elements != 4)
		return rvalue_fill(v, r);
	n[0] = !r->element[0]->integer;
	n[1] = burst;
	n[2] = r->element[1]->integer;
	n[3] = seconds(r->element[3]->integer);
	n[4] = seconds(r->element[2]->integer);
	*v++ = (struct bh_value){.type = BH_ARRAY, .n = 5};
	for (int i = 0; i < 5; i++)
		*v++ = (struct bh_value){.type = BH_INTEGER, .i = n[i]};
	return v;
}
