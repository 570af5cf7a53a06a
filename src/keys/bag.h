/* SPDX-License-Identifier: MIT */
/*
 * Pairs of strings, found by the first one: the fields of a hash, the members
 * of a set. A few short pairs are one block of memory, looked through from the
 * front; more are items of their own in a table and in an array without gaps.
 * What has become big stays so. No call is long, but for bag_copy().
 */
#ifndef KEYS_BAG_H
#define KEYS_BAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

/* More pairs, or longer strings, are big. */
enum { BAG_SMALL_PAIRS = 128, BAG_SMALL_STRING = 64 };

struct bag_table;

struct bag {
	char *pack;			/* small: len, len, key, value, … */
	struct bag_table *big;		/* or NULL */
	size_t n;
	uint32_t used, cap;		/* of pack */
	bool mark;			/* the owner's */
};

struct bag_pair {
	struct bh_bytes key, value;	/* until the bag is changed */
};

struct bag *bag_new(void);
struct bag *bag_copy(const struct bag *b);
/* Frees some of it, counting *budget down; true once all of it is gone. */
bool bag_free_some(struct bag *b, int *budget);
void bag_free(struct bag **bp);

/* Memory, in no time. */
size_t bag_bytes(const struct bag *b);

bool bag_get(const struct bag *b, struct bh_bytes key, struct bh_bytes *ret);
/* False: the key was there, and has another value now. */
bool bag_set(struct bag *b, struct bh_bytes key, struct bh_bytes value);
/* False: it was not there. */
bool bag_del(struct bag *b, struct bh_bytes key);
/* Any pair of n by its place; a change of the bag moves them. */
struct bag_pair bag_at(const struct bag *b, size_t place);

/*
 * A walk over all pairs, which may stop and go on with what was left: a big
 * bag then shows every pair that is there all the time, whatever changes in
 * between. (Places are filled from the end, so walks go to the front.)
 */
struct bag_walk {
	const struct bag *bag;
	size_t left;
	const char *next;		/* in the pack */
};

static inline struct bag_walk
bag_walk(const struct bag *b, size_t left)
{
	return (struct bag_walk){b, left < b->n ? left : b->n, b->pack};
}

bool bag_next(struct bag_walk *w, struct bag_pair *ret);

#endif
