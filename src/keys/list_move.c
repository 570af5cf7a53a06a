/* SPDX-License-Identifier: MIT */
/* Lists: from one to another, from several, and waiting for an element. */
#include "base/str.h"
#include "keys/list.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* --- from one to another --- */

static bool
arg_side(struct kcall *c, size_t i, bool *ret_front)
{
	*ret_front = is(c->argv[i], "LEFT");
	if (*ret_front || is(c->argv[i], "RIGHT"))
		return true;
	put_syntax(c);
	return false;
}

struct move {
	bool from_front, to_front;
};

/* argv[2] is where to; the answer is the element. */
static void
move(struct kcall *c, struct key *from, struct move m)
{
	struct key *to;
	struct bh_bytes v;

	if (!key_peek_as(c, c->argv[2], KEY_LIST, &to))
		return;
	list_pop(c, from, m.from_front);
	v = c->re->items[c->re->n - 1].s;
	if (!to)
		to = key_make(c, c->argv[2], KEY_LIST);
	list_push(c, to, m.to_front, v);
	if (to != from)
		key_settled(c, from);
	key_settled(c, to);
}

static void
move_now(struct kcall *c, struct move m)
{
	struct key *k;

	if (!key_peek_as(c, c->argv[1], KEY_LIST, &k))
		return;
	if (k)
		move(c, k, m);
	else
		put_null(c);
}

void
k_lmove(struct kcall *c)
{
	struct move m;

	if (arg_side(c, 3, &m.from_front) && arg_side(c, 4, &m.to_front))
		move_now(c, m);
}

void
k_rpoplpush(struct kcall *c)
{
	move_now(c, (struct move){false, true});
}

/* --- waiting --- */

static void
late_pop(struct kcall *c)
{
	put_null_array(c);
}

static bool
of_list(struct kcall *c, struct bh_bytes name, struct key **ret)
{
	*ret = key_peek(c, name);
	return *ret && key_type_of(*ret) == KEY_LIST;
}

/* What a call that pops waits for: c->at: from the front; c->n: so many at
 * most, 0: one, without an array around it. */
static void
pop_of(struct kcall *c, struct key *k, struct bh_bytes name)
{
	bool front = c->at;

	put_array(c, 2);
	put_bytes(c, name.data, name.len);
	if (c->n) {
		list_pop_many(c, k, front, (int64_t)c->n);
	} else {
		list_pop(c, k, front);
		key_settled(c, k);
	}
}

static bool
again_pop(struct kcall *c, struct bh_bytes name)
{
	struct key *k;

	if (!of_list(c, name, &k))
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
		if (!key_peek_as(c, c->argv[i], KEY_LIST, &k))
			return true;
		if (!k)
			continue;
		pop_of(c, k, c->argv[i]);
		return true;
	}
	return false;
}

static void
pop_wait(struct kcall *c, bool front)
{
	int64_t deadline;

	if (!arg_timeout(c, c->argc - 1, &deadline))
		return;
	c->at = front;
	c->n = 0;
	if (!pop_any(c, 1, c->argc - 2))
		call_park(c, c->argv + 1, c->argc - 2, deadline, again_pop,
		    late_pop);
}

void
k_blpop(struct kcall *c)
{
	pop_wait(c, true);
}

void
k_brpop(struct kcall *c)
{
	pop_wait(c, false);
}

/* numkeys key [key …] LEFT|RIGHT [COUNT n], numkeys being argv[at]. */
static bool
parse_mpop(struct kcall *c, size_t at, int64_t *ret_keys)
{
	int64_t count = 1;
	bool front;
	size_t i;

	if (!arg_range(c, at, 1, INT64_MAX,
	    "numkeys should be greater than 0", ret_keys))
		return false;
	if ((uint64_t)*ret_keys >= c->argc - at - 1) {
		put_syntax(c);
		return false;
	}
	i = at + 1 + (size_t)*ret_keys;
	if (!arg_side(c, i, &front))
		return false;
	if (i + 3 == c->argc && is(c->argv[i + 1], "COUNT")) {
		if (!arg_range(c, i + 2, 1, INT64_MAX,
		    "count should be greater than 0", &count))
			return false;
	} else if (i + 1 != c->argc) {
		put_syntax(c);
		return false;
	}
	c->at = front;
	c->n = (size_t)count;
	return true;
}

void
k_lmpop(struct kcall *c)
{
	int64_t keys;

	if (parse_mpop(c, 1, &keys) && !pop_any(c, 2, (size_t)keys))
		put_null_array(c);
}

void
k_blmpop(struct kcall *c)
{
	int64_t keys, deadline;

	if (parse_mpop(c, 2, &keys) && arg_timeout(c, 1, &deadline) &&
	    !pop_any(c, 3, (size_t)keys))
		call_park(c, c->argv + 3, (size_t)keys, deadline, again_pop,
		    late_pop);
}

static void
late_move(struct kcall *c)
{
	if (c->inner)
		put_null(c);
	else
		put_null_array(c);
}

static struct move
move_of(size_t at)
{
	return (struct move){at & 1, at & 2};
}

static bool
again_move(struct kcall *c, struct bh_bytes name)
{
	struct key *k;

	if (!of_list(c, name, &k))
		return false;
	move(c, k, move_of(c->at));
	return true;
}

static void
move_wait(struct kcall *c, struct move m, size_t timeout)
{
	int64_t deadline;
	struct key *k;

	if (!arg_timeout(c, timeout, &deadline) ||
	    !key_peek_as(c, c->argv[1], KEY_LIST, &k))
		return;
	c->at = m.from_front + 2 * (size_t)m.to_front;
	if (k)
		move(c, k, m);
	else
		call_park(c, c->argv + 1, 1, deadline, again_move, late_move);
}

void
k_blmove(struct kcall *c)
{
	struct move m;

	if (arg_side(c, 3, &m.from_front) && arg_side(c, 4, &m.to_front))
		move_wait(c, m, 5);
}

void
k_brpoplpush(struct kcall *c)
{
	move_wait(c, (struct move){false, true}, 3);
}
