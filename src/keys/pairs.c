/* SPDX-License-Identifier: MIT */
#include "keys/pairs.h"

#include <stdlib.h>

#include "base/rng.h"
#include "base/str.h"
#include "base/xalloc.h"

static void
put_pair(struct kcall *c, const struct bag_pair *p, enum pairs_part what)
{
	if (what & PAIRS_KEYS)
		put_bytes(c, p->key.data, p->key.len);
	if (what & PAIRS_VALUES)
		put_bytes(c, p->value.data, p->value.len);
}

static size_t
width(enum pairs_part what)
{
	return what == PAIRS_BOTH ? 2 : 1;
}

/* --- all --- */

/* n is what to show, at how many are left. */
static bool
all_step(struct kcall *c)
{
	const struct bag *b = c->state;
	struct bag_walk w = bag_walk(b, c->at);
	struct bag_pair p;

	for (int left = SLICE_KEYS; left > 0 && bag_next(&w, &p); left--)
		put_pair(c, &p, (enum pairs_part)c->n);
	c->at = w.left;
	return w.left > 0;
}

void
pairs_put_all(struct kcall *c, struct bag *b, enum pairs_part what)
{
	put_array(c, b->n * width(what));
	c->state = b;
	c->at = b->n;
	c->n = what;
	if (b->n > SLICE_KEYS)
		c->step = all_step;
	else
		all_step(c);
}

/* A cursor is how many pairs at the front are still to be seen; what is small
 * is shown at once, as by Redis. */
void
pairs_scan(struct kcall *c, const struct bag *b, const struct scan_args *s,
    enum pairs_part what)
{
	size_t from = s->cursor == 0 || s->cursor > b->n ? b->n :
	    (size_t)s->cursor;
	struct bag_walk w = bag_walk(b, b->big ? from : b->n);
	size_t cursor, open, n = 0;
	int64_t left = b->big ? s->count : BAG_SMALL_PAIRS;
	struct bag_pair p;

	put_array(c, 2);
	cursor = c->re->n;
	put_null(c);
	open = put_array_open(c);
	if (left > SLICE_KEYS)
		left = SLICE_KEYS;
	for (; left > 0 && bag_next(&w, &p); left--) {
		if (s->match.data && !str_glob(s->match.data, s->match.len,
		    p.key.data, p.key.len))
			continue;
		put_pair(c, &p, what);
		n += width(what);
	}
	put_array_close(c, open, n);
	put_cursor(c, cursor, w.left);
}

/* --- some --- */

size_t
pairs_random(const struct bag *b)
{
	return (size_t)(rng_u64() % b->n);
}

struct sample {
	const struct bag *bag;
	enum pairs_part what;
	bool again;			/* the same one may come again */
	size_t want;
	unsigned char *taken;		/* places, one bit each; or NULL: */
	struct bag_walk walk;		/* each is taken or left as we go */
};

static void
sample_drop(void *state)
{
	struct sample *s = state;

	free(s->taken);
	free(s);
}

static bool
take(struct sample *s, size_t place)
{
	unsigned char bit = (unsigned char)(1 << place % 8);
	bool is_new = !(s->taken[place / 8] & bit);

	s->taken[place / 8] |= bit;
	return is_new;
}

static bool
sample_step(struct kcall *c)
{
	struct sample *s = c->state;

	for (int left = SLICE_KEYS; left > 0 && s->want > 0; left--) {
		struct bag_pair p;

		if (s->again || s->taken) {
			size_t place = pairs_random(s->bag);

			if (s->taken && !take(s, place))
				continue;
			p = bag_at(s->bag, place);
		} else {
			/* Of those that are left, so many are wanted. */
			bool yes = rng_u64() % s->walk.left < s->want;

			(void)bag_next(&s->walk, &p);
			if (!yes)
				continue;
		}
		put_pair(c, &p, s->what);
		s->want--;
	}
	return s->want > 0;
}

void
pairs_put_random(struct kcall *c, struct bag *b, int64_t count,
    enum pairs_part what)
{
	struct sample *s;

	if (count >= 0 && (uint64_t)count >= b->n) {
		pairs_put_all(c, b, what);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->bag = b;
	s->what = what;
	s->again = count < 0;
	s->want = (size_t)(count < 0 ? -count : count);
	if (s->want < b->n / 3 && b->big && !s->again)
		s->taken = xcalloc(b->n / 8 + 1, 1);
	s->walk = bag_walk(b, b->n);
	put_array(c, s->want * width(what));
	c->state = s;
	c->drop = sample_drop;
	c->step = sample_step;
}

/* --- less --- */

static bool
remove_step(struct kcall *c)
{
	struct key *k = c->state;

	for (int left = SLICE_KEYS; k && word_next(c, &left, 1); c->at++) {
		if (!bag_del(k->obj, c->argv[c->at]))
			continue;
		key_part_del(c, k, c->argv[c->at]);
		c->n++;
	}
	if (k && c->at < c->argc)
		return true;
	if (c->n > 0)
		key_settled(c, k);
	put_int(c, (int64_t)c->n);
	return false;
}

void
pairs_remove_words(struct kcall *c, enum key_type type)
{
	struct key *k;

	if (!key_peek_as(c, c->argv[1], type, &k))
		return;
	c->state = k;
	call_words(c, 2, remove_step);
}
