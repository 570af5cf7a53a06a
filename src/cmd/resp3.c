/* SPDX-License-Identifier: MIT */
#include "cmd/resp3.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/str.h"
#include "cmd/key_reply.h"

struct ask {
	const struct bh_bytes *argv;
	size_t argc;
};

typedef const struct bh_value *shape_fn(struct reply *r,
    const struct ask *ask, const struct bh_value *v);

static bool
has_word(const struct ask *ask, size_t from, const char *word)
{
	for (size_t i = from; i < ask->argc; i++)
		if (str_is(ask->argv[i].data, ask->argv[i].len, word))
			return true;
	return false;
}

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* A number that RESP2 has as a string. */
static const struct bh_value *
put_score(struct reply *r, const struct bh_value *v)
{
	char text[64];

	if (v->type != BH_STRING || v->s.len >= sizeof(text))
		return key_reply(r, v);
	memcpy(text, v->s.data, v->s.len);
	text[v->s.len] = '\0';
	r->ops->real(r, strtod(text, NULL));
	return v + 1;
}

static const struct bh_value *
as_score(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	(void)ask;
	return put_score(r, v);
}

static const struct bh_value *
as_scores(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	size_t n = v->n;

	(void)ask;
	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->array(r, n);
	for (v++; n > 0; n--)
		v = put_score(r, v);
	return v;
}

/* Names and values by turns. */
static const struct bh_value *
as_map(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	size_t n = v->n;

	(void)ask;
	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->map(r, n / 2);
	for (v++; n > 0; n--)
		v = key_reply(r, v);
	return v;
}

static const struct bh_value *
as_set(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	size_t n = v->n;

	(void)ask;
	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->set(r, n);
	for (v++; n > 0; n--)
		v = key_reply(r, v);
	return v;
}

typedef const struct bh_value *put_fn(struct reply *r,
    const struct bh_value *v);

/* A flat array of pairs becomes an array of arrays. */
static const struct bh_value *
put_pairs(struct reply *r, const struct bh_value *v, put_fn *second)
{
	size_t n = v->n / 2;

	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->array(r, n);
	for (v++; n > 0; n--) {
		r->ops->array(r, 2);
		v = key_reply(r, v);
		v = second(r, v);
	}
	return v;
}

/* HRANDFIELD key count WITHVALUES */
static const struct bh_value *
as_fields(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	return ask->argc == 4 ? put_pairs(r, v, key_reply) : key_reply(r, v);
}

/* ZRANGE key start stop … WITHSCORES and the like; also ZRANDMEMBER. */
static const struct bh_value *
as_ranked(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	return has_word(ask, 3, "WITHSCORES") ? put_pairs(r, v, put_score) :
	    key_reply(r, v);
}

/* ZUNION numkeys key … WITHSCORES: a key may have that name. */
static const struct bh_value *
as_united(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	int64_t n;

	if (str_int(ask->argv[1].data, ask->argv[1].len, &n) < 0 || n < 1 ||
	    !has_word(ask, 2 + (size_t)n, "WITHSCORES"))
		return key_reply(r, v);
	return put_pairs(r, v, put_score);
}

/* A member and its score. */
static const struct bh_value *
put_scored(struct reply *r, const struct bh_value *v)
{
	if (v->type != BH_ARRAY || v->n != 2)
		return key_reply(r, v);
	r->ops->array(r, 2);
	v = key_reply(r, v + 1);
	return put_score(r, v);
}

/* ZPOPMIN key: one pair; with a count: pairs. */
static const struct bh_value *
as_popped(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	return ask->argc == 2 ? put_scored(r, v) : put_pairs(r, v, put_score);
}

/* BZPOPMIN: key, member, score. */
static const struct bh_value *
as_waited(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	(void)ask;
	if (v->type != BH_ARRAY || v->n != 3)
		return key_reply(r, v);
	r->ops->array(r, 3);
	v = key_reply(r, v + 1);
	v = key_reply(r, v);
	return put_score(r, v);
}

/* ZMPOP: key, and an array of pairs. */
static const struct bh_value *
as_taken(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	size_t n;

	(void)ask;
	if (v->type != BH_ARRAY || v->n != 2)
		return key_reply(r, v);
	r->ops->array(r, 2);
	v = key_reply(r, v + 1);
	n = v->n;
	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->array(r, n);
	for (v++; n > 0; n--)
		v = put_scored(r, v);
	return v;
}

/* XREAD: pairs of a stream and its entries. */
static const struct bh_value *
as_streams(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	size_t n = v->n;

	(void)ask;
	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->map(r, n);
	for (v++; n > 0; n--) {
		v = key_reply(r, v + 1);
		v = key_reply(r, v);
	}
	return v;
}

/* SPOP key count; one alone is a string. */
static const struct bh_value *
as_members(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	return ask->argc == 3 ? as_set(r, ask, v) : key_reply(r, v);
}

static const struct bh_value *put_info(struct reply *r,
    const struct bh_value *v);

static const struct bh_value *
put_infos(struct reply *r, const struct bh_value *v)
{
	size_t n = v->n;

	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->array(r, n);
	for (v++; n > 0; n--)
		v = put_info(r, v);
	return v;
}

/* A map of XINFO; FULL has maps of groups and consumers in it. */
static const struct bh_value *
put_info(struct reply *r, const struct bh_value *v)
{
	size_t n = v->n / 2;

	if (v->type != BH_ARRAY)
		return key_reply(r, v);
	r->ops->map(r, n);
	for (v++; n > 0; n--) {
		bool inner = v->type == BH_STRING && (is(v->s, "groups") ||
		    is(v->s, "consumers"));

		v = key_reply(r, v);
		v = inner ? put_infos(r, v) : key_reply(r, v);
	}
	return v;
}

static const struct bh_value *
as_xinfo(struct reply *r, const struct ask *ask, const struct bh_value *v)
{
	if (is(ask->argv[1], "STREAM"))
		return put_info(r, v);
	return is(ask->argv[1], "HELP") ? key_reply(r, v) : put_infos(r, v);
}

/* Sorted by name; what is not here is the same in both. */
static const struct {
	const char *name;
	shape_fn *put;
} shapes[] = {
	{"BZMPOP", as_taken},
	{"BZPOPMAX", as_waited},
	{"BZPOPMIN", as_waited},
	{"HGETALL", as_map},
	{"HRANDFIELD", as_fields},
	{"LCS", as_map},
	{"SDIFF", as_set},
	{"SINTER", as_set},
	{"SMEMBERS", as_set},
	{"SPOP", as_members},
	{"SUNION", as_set},
	{"XINFO", as_xinfo},
	{"XREAD", as_streams},
	{"XREADGROUP", as_streams},
	{"ZADD", as_score},
	{"ZDIFF", as_united},
	{"ZINCRBY", as_score},
	{"ZINTER", as_united},
	{"ZMPOP", as_taken},
	{"ZMSCORE", as_scores},
	{"ZPOPMAX", as_popped},
	{"ZPOPMIN", as_popped},
	{"ZRANDMEMBER", as_ranked},
	{"ZRANGE", as_ranked},
	{"ZRANGEBYSCORE", as_ranked},
	{"ZREVRANGE", as_ranked},
	{"ZREVRANGEBYSCORE", as_ranked},
	{"ZSCORE", as_score},
	{"ZUNION", as_united},
};

static shape_fn *
shape_of(struct bh_bytes name)
{
	size_t lo = 0, hi = nitems(shapes);
	char upper[20];

	if (name.len >= sizeof(upper))
		return NULL;
	for (size_t i = 0; i < name.len; i++)
		upper[i] = (char)(name.data[i] >= 'a' && name.data[i] <= 'z' ?
		    name.data[i] - 32 : name.data[i]);
	upper[name.len] = '\0';
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int order = strcmp(upper, shapes[mid].name);

		if (order == 0)
			return shapes[mid].put;
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct bh_value *
resp3_reply(struct reply *r, const struct bh_bytes *argv, size_t argc,
    const struct bh_value *v)
{
	struct ask ask = {argv, argc};
	shape_fn *put = r->proto >= 3 ? shape_of(argv[0]) : NULL;

	return put ? put(r, &ask, v) : key_reply(r, v);
}
