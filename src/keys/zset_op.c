/* SPDX-License-Identifier: MIT */
/*
 * Union, intersection and difference of sorted sets and of sets (whose members
 * score 1). One after the other is walked, in slices:
 *   ZUNION  every one, the smallest first; each member is added to the result
 *   ZINTER  the smallest one; each member is asked for in all others
 *   ZDIFF   the first one; the same
 * The smallest comes first as by Redis: sums of floats depend on the order.
 */
#include <math.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "keys/pairs.h"
#include "keys/zset_cmd.h"

enum kind { UNION, INTER, DIFF };
enum aggregate { SUM, LEAST, MOST };

struct source {
	const struct zset *z;		/* or … */
	const struct bag *set;		/* … or neither: it is empty */
	size_t n;
	double weight;
};

struct op {
	enum kind kind;
	enum aggregate aggregate;
	bool scores, count_only, store;
	struct source *sources;
	size_t n, at;			/* at: which one is walked */
	const struct zmember *next;	/* in a zset */
	struct bag_walk walk;		/* in a set */
	struct zset *out;
	int64_t found, limit;
};

static void
op_drop(void *state)
{
	struct op *o = state;
	int budget;

	if (o->out)
		do
			budget = INT32_MAX;
		while (!zset_free_some(o->out, &budget));
	free(o->sources);
	free(o);
}

/* --- walking --- */

static void
enter(struct op *o, size_t i)
{
	const struct source *s = &o->sources[i];

	o->at = i;
	o->next = s->z ? zset_at(s->z, 0) : NULL;
	if (s->set)
		o->walk = bag_walk(s->set, SIZE_MAX);
}

/* False: there is no other one in this source. */
static bool
next(struct op *o, struct bh_bytes *ret, double *ret_score)
{
	struct bag_pair p;

	if (o->sources[o->at].set) {
		if (!bag_next(&o->walk, &p))
			return false;
		*ret = p.key;
		*ret_score = 1;
		return true;
	}
	if (!o->next)
		return false;
	*ret = zmember_name(o->next);
	*ret_score = o->next->score;
	o->next = zmember_next(o->next);
	return true;
}

static bool
find_in(const struct source *s, struct bh_bytes name, double *ret)
{
	const struct zmember *m;
	struct bh_bytes v;

	if (s->set) {
		*ret = 1;
		return bag_get(s->set, name, &v);
	}
	m = s->z ? zset_get(s->z, name) : NULL;
	if (m)
		*ret = m->score;
	return m != NULL;
}

static double
join(enum aggregate how, double a, double b)
{
	double sum;

	if (how == LEAST)
		return b < a ? b : a;
	if (how == MOST)
		return b > a ? b : a;
	sum = a + b;
	return isnan(sum) ? 0 : sum;
}

static double
weighed(const struct source *s, double score)
{
	double v = s->weight * score;

	return isnan(v) ? 0 : v;
}

static void
unite(struct op *o, struct bh_bytes name, double score)
{
	struct zmember *m = zset_get(o->out, name);

	score = weighed(&o->sources[o->at], score);
	if (m)
		zset_move(o->out, m, join(o->aggregate, m->score, score));
	else
		zset_add(o->out, name, score);
}

/* Whether it is wanted; its score in the result. */
static bool
judge(const struct op *o, struct bh_bytes name, double *score, int *budget)
{
	double v = 0;

	if (o->kind == INTER)
		*score = weighed(&o->sources[0], *score);
	for (size_t i = 1; i < o->n; i++, --*budget) {
		if (find_in(&o->sources[i], name, &v) != (o->kind == INTER))
			return false;
		if (o->kind == INTER)
			*score = join(o->aggregate, *score,
			    v * o->sources[i].weight);
	}
	return true;
}

/* --- the answer --- */

static bool
show_step(struct kcall *c)
{
	struct op *o = c->state;

	for (int n = ZSLICE_READ; n > 0 && o->next; n--) {
		put_member(c, o->next, o->scores);
		o->next = zmember_next(o->next);
	}
	if (o->next)
		return true;
	value_free(c->ks, KEY_ZSET, o->out);
	o->out = NULL;
	return false;
}

/* Everything has been found; true: the answer goes on in slices. */
static bool
end(struct kcall *c, struct op *o)
{
	struct zset *out = o->out;

	if (o->count_only) {
		put_int(c, o->found);
		return false;
	}
	if (o->store) {
		o->out = NULL;
		zset_store(c, c->argv[1], out);
		return c->step != NULL;
	}
	put_array(c, out->order.count * (o->scores ? 2 : 1));
	o->next = zset_at(out, 0);
	c->step = show_step;
	return true;
}

static bool
find_step(struct kcall *c)
{
	struct op *o = c->state;
	int budget = ZSLICE_READ;
	struct bh_bytes name;
	double score;

	while (budget-- > 0) {
		if (!next(o, &name, &score)) {
			if (o->kind != UNION || o->at + 1 >= o->n)
				return end(c, o);
			enter(o, o->at + 1);
		} else if (o->kind == UNION) {
			unite(o, name, score);
		} else if (judge(o, name, &score, &budget)) {
			o->found++;
			if (!o->count_only)
				zset_add(o->out, name, score);
			if (o->limit && o->found == o->limit)
				return end(c, o);
		}
	}
	return true;
}

/* --- the question --- */

/* False: one is of another type, and that is the answer. */
static bool
gather(struct kcall *c, struct op *o, size_t first)
{
	o->sources = xcalloc(o->n, sizeof(*o->sources));
	for (size_t i = 0; i < o->n; i++) {
		struct source *s = &o->sources[i];
		const struct key *k = key_find(c, c->argv[first + i]);

		s->weight = 1;
		if (k && key_type_of(k) == KEY_ZSET) {
			s->z = k->obj;
			s->n = s->z->order.count;
		} else if (k && key_type_of(k) == KEY_SET) {
			s->set = k->obj;
			s->n = s->set->n;
		} else if (k) {
			put_wrong_type(c);
			return false;
		}
	}
	return true;
}

static bool
parse_weights(struct kcall *c, struct op *o, size_t i)
{
	for (size_t s = 0; s < o->n; s++)
		if (!arg_score(c, i + s, "weight value is not a float",
		    &o->sources[s].weight))
			return false;
	return true;
}

static bool
parse_aggregate(struct kcall *c, struct op *o, size_t i)
{
	if (is(c->argv[i], "SUM")) {
		o->aggregate = SUM;
	} else if (is(c->argv[i], "MIN")) {
		o->aggregate = LEAST;
	} else if (is(c->argv[i], "MAX")) {
		o->aggregate = MOST;
	} else {
		put_syntax(c);
		return false;
	}
	return true;
}

static bool
parse_options(struct kcall *c, struct op *o, size_t i)
{
	bool joins = o->kind != DIFF && !o->count_only;

	while (i < c->argc) {
		struct bh_bytes w = c->argv[i++];

		if (joins && is(w, "WEIGHTS") && c->argc - i >= o->n) {
			if (!parse_weights(c, o, i))
				return false;
			i += o->n;
		} else if (joins && is(w, "AGGREGATE") && i < c->argc) {
			if (!parse_aggregate(c, o, i++))
				return false;
		} else if (!o->store && !o->count_only &&
		    is(w, "WITHSCORES")) {
			o->scores = true;
		} else if (o->count_only && is(w, "LIMIT") && i < c->argc) {
			if (!arg_range(c, i++, 0, INT64_MAX,
			    "LIMIT can't be negative", &o->limit))
				return false;
		} else {
			put_syntax(c);
			return false;
		}
	}
	return true;
}

/* The smallest first; those of one size stay as they are. */
static void
sort(struct op *o)
{
	for (size_t i = 1; i < o->n; i++) {
		struct source s = o->sources[i];
		size_t at = i;

		for (; at > 0 && o->sources[at - 1].n > s.n; at--)
			o->sources[at] = o->sources[at - 1];
		o->sources[at] = s;
	}
}

static const char *
name_of(const struct kcall *c, char out[24])
{
	size_t n = 0;

	for (; c->cmd->name[n] && n < 23; n++)
		out[n] = (char)(c->cmd->name[n] | 0x20);
	out[n] = '\0';
	return out;
}

/* argv[at] says how many names follow. */
static void
run(struct kcall *c, const struct op *how, size_t at)
{
	struct op *o = xmemdup(how, sizeof(*o));
	char name[24];
	int64_t n;

	c->state = o;
	c->drop = op_drop;
	if (!arg_number(c, at, &n))
		return;
	if (n < 1) {
		put_error(c, "ERR at least 1 input key is needed for '%s'"
		    " command", name_of(c, name));
		return;
	}
	if ((uint64_t)n > c->argc - at - 1) {
		put_syntax(c);
		return;
	}
	o->n = (size_t)n;
	if (!gather(c, o, at + 1) || !parse_options(c, o, at + 1 + o->n))
		return;
	if (o->kind != DIFF)
		sort(o);
	if (!o->count_only) {
		o->out = zset_new();
		o->out->raw = true;
	}
	enter(o, 0);
	c->step = find_step;
}

void
k_zunion(struct kcall *c)
{
	run(c, &(struct op){.kind = UNION}, 1);
}

void
k_zunionstore(struct kcall *c)
{
	run(c, &(struct op){.kind = UNION, .store = true}, 2);
}

void
k_zinter(struct kcall *c)
{
	run(c, &(struct op){.kind = INTER}, 1);
}

void
k_zinterstore(struct kcall *c)
{
	run(c, &(struct op){.kind = INTER, .store = true}, 2);
}

void
k_zintercard(struct kcall *c)
{
	run(c, &(struct op){.kind = INTER, .count_only = true}, 1);
}

void
k_zdiff(struct kcall *c)
{
	run(c, &(struct op){.kind = DIFF}, 1);
}

void
k_zdiffstore(struct kcall *c)
{
	run(c, &(struct op){.kind = DIFF, .store = true}, 2);
}
