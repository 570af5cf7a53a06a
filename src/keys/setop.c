/* SPDX-License-Identifier: MIT */
/*
 * Intersection, union and difference of sets. One set after the other is
 * walked, in slices, and each member is asked for in others:
 *   SINTER  the smallest one; what all others have
 *   SUNION  every one; what none before it has had
 *   SDIFF   the first one; what no other one has
 * A result that is to be stored is written down in slices, too, under a number
 * that no key has yet.
 */
#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/pairs.h"

enum setop_kind { INTER, UNION, DIFF };

/* Up to so many sets are asked one by one whether they have had a member. */
enum { ASK_MAX = 4 };

struct setop {
	enum setop_kind kind;
	bool count_only;
	const struct bag **sets;
	size_t n, at;			/* at: which one is walked */
	struct bag_walk walk;
	struct bag *seen;		/* what has been found, or NULL */
	int64_t found, limit;
	size_t open;			/* the answer's head */
	struct bh_bytes to;		/* where to store it, if data is set */
	int64_t id;			/* … as parts of this key */
};

static void
setop_drop(void *state)
{
	struct setop *o = state;

	bag_free(&o->seen);
	free(o->sets);
	free(o);
}

static bool
has(const struct bag *b, struct bh_bytes member)
{
	struct bh_bytes v;

	return bag_get(b, member, &v);
}

static bool
is_wanted(struct setop *o, struct bh_bytes member, int *budget)
{
	size_t from = o->kind == UNION ? 0 : 1;
	size_t to = o->kind == UNION ? o->at : o->n;

	if (o->kind == UNION && o->seen)
		return set_add(o->seen, member);
	for (size_t i = from; i < to; i++, --*budget)
		if (has(o->sets[i], member) != (o->kind == INTER))
			return false;
	return true;
}

static void
found(struct kcall *c, struct setop *o, struct bh_bytes member)
{
	o->found++;
	if (o->count_only)
		return;
	if (!o->to.data)
		put_bytes(c, member.data, member.len);
	else if (o->kind != UNION)
		set_add(o->seen, member);
}

static void
store(struct kcall *c, struct setop *o)
{
	struct key *old = key_peek(c, o->to);

	put_int(c, o->found);
	if (o->found > 0) {
		key_store_written(c, o->to, KEY_SET, o->seen, o->id);
		o->seen = NULL;
	} else if (old) {
		key_delete(c, old);
	}
}

static bool
write_step(struct kcall *c)
{
	struct setop *o = c->state;
	struct bag_pair p;

	for (int left = SLICE_KEYS; left > 0; left--) {
		if (!bag_next(&o->walk, &p)) {
			store(c, o);
			return false;
		}
		key_part_early(c, o->id, p.key, p.value);
	}
	return true;
}

/* Everything has been found. */
static bool
end(struct kcall *c, struct setop *o)
{
	if (o->to.data) {
		o->walk = bag_walk(o->seen, o->found ? o->seen->n : 0);
		o->id = o->found ? key_reserve(c, o->to) : 0;
		c->step = write_step;
		return write_step(c);
	}
	if (o->seen)
		value_free(c->ks, KEY_SET, o->seen);
	o->seen = NULL;
	if (o->count_only)
		put_int(c, o->found);
	else
		put_array_close(c, o->open, (size_t)o->found);
	return false;
}

static bool
find_step(struct kcall *c)
{
	struct setop *o = c->state;
	struct bag_pair p;
	int budget = SLICE_KEYS;

	while (budget-- > 0) {
		if (!bag_next(&o->walk, &p)) {
			if (o->kind != UNION || ++o->at >= o->n)
				return end(c, o);
			o->walk = bag_walk(o->sets[o->at], SIZE_MAX);
			continue;
		}
		if (!is_wanted(o, p.key, &budget))
			continue;
		found(c, o, p.key);
		if (o->limit && o->found == o->limit)
			return end(c, o);
	}
	return true;
}

static int
by_size(const void *a, const void *b)
{
	const struct bag *const *x = a, *const *y = b;

	return ((*x)->n > (*y)->n) - ((*x)->n < (*y)->n);
}

/* False: one is no set, and that is the answer. */
static bool
gather(struct kcall *c, struct setop *o, size_t from, size_t n)
{
	bool nothing = false;
	struct key *k;

	o->sets = xcalloc(n, sizeof(const struct bag *));
	for (size_t i = 0; i < n; i++) {
		if (!key_find_as(c, c->argv[from + i], KEY_SET, &k))
			return false;
		if (k)
			o->sets[o->n++] = k->obj;
		else if (o->kind == INTER || (o->kind == DIFF && i == 0))
			nothing = true;
	}
	if (nothing)
		o->n = 0;
	if (o->kind == INTER && o->n > 1)
		qsort(o->sets, o->n, sizeof(const struct bag *), by_size);
	return true;
}

/* The sets' names are argv[from], n of them; o is given away. */
static void
begin(struct kcall *c, struct setop *o, size_t from, size_t n)
{
	static const struct bag none;

	if (!gather(c, o, from, n)) {
		setop_drop(o);
		return;
	}
	if (o->to.data || (o->kind == UNION && o->n > ASK_MAX))
		o->seen = bag_new();
	if (!o->to.data && !o->count_only)
		o->open = put_array_open(c);
	o->walk = bag_walk(o->n ? o->sets[0] : &none, SIZE_MAX);
	c->state = o;
	c->drop = setop_drop;
	c->step = find_step;
}

static struct setop *
setop_new(enum setop_kind kind)
{
	struct setop *o = xcalloc(1, sizeof(*o));

	o->kind = kind;
	return o;
}

static void
show(struct kcall *c, enum setop_kind kind)
{
	begin(c, setop_new(kind), 1, c->argc - 1);
}

static void
show_to(struct kcall *c, enum setop_kind kind)
{
	struct setop *o = setop_new(kind);

	o->to = c->argv[1];
	if (!o->to.data)
		o->to.data = "";
	begin(c, o, 2, c->argc - 2);
}

void
k_sinter(struct kcall *c)
{
	show(c, INTER);
}

void
k_sinterstore(struct kcall *c)
{
	show_to(c, INTER);
}

void
k_sunion(struct kcall *c)
{
	show(c, UNION);
}

void
k_sunionstore(struct kcall *c)
{
	show_to(c, UNION);
}

void
k_sdiff(struct kcall *c)
{
	show(c, DIFF);
}

void
k_sdiffstore(struct kcall *c)
{
	show_to(c, DIFF);
}

static bool
parse_limit(struct kcall *c, size_t at, int64_t *ret)
{
	for (; at < c->argc; at += 2) {
		struct bh_bytes w = c->argv[at];

		if (!str_is(w.data, w.len, "LIMIT") || at + 1 == c->argc) {
			put_syntax(c);
			return false;
		}
		if (!arg_range(c, at + 1, 0, INT64_MAX,
		    "LIMIT can't be negative", ret))
			return false;
	}
	return true;
}

/* SINTERCARD numkeys key … [LIMIT n] */
void
k_sintercard(struct kcall *c)
{
	int64_t n, limit = 0;
	struct setop *o;

	if (!arg_range(c, 1, 1, INT64_MAX, "numkeys should be greater than 0",
	    &n))
		return;
	if (n > (int64_t)c->argc - 2) {
		put_error(c, "ERR Number of keys can't be greater than number"
		    " of args");
		return;
	}
	if (!parse_limit(c, 2 + (size_t)n, &limit))
		return;
	o = setop_new(INTER);
	o->count_only = true;
	o->limit = limit;
	begin(c, o, 2, (size_t)n);
}
