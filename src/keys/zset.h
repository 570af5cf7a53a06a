/* SPDX-License-Identifier: MIT */
/*
 * Members with scores, in the order of score and then of the member's bytes.
 * A few are just that list; more are in a table by name too, and in an array
 * without gaps. What has become big stays so, as Redis has it with its
 * listpacks. No call is long, but for zset_copy().
 */
#ifndef KEYS_ZSET_H
#define KEYS_ZSET_H

#include <stdbool.h>

#include "ds/map.h"
#include "ds/skip.h"
#include "plugin.h"

enum { ZSET_SMALL = 128, ZSET_SMALL_NAME = 64 };

struct zmember {
	double score;
	uint64_t hash;
	uint32_t place;			/* in all */
	uint32_t len;
	struct skip_node node;		/* its links, then the name */
};

struct zset {
	struct skip order;
	struct map names;		/* big ones only, as the rest here */
	struct zmember **all;
	size_t cap;
	size_t bytes;			/* of all members */
	bool big;
	bool raw;			/* small, and yet -0 is not made 0 */
	unsigned char hash_key[16];
};

struct zset *zset_new(void);
struct zset *zset_copy(const struct zset *z);
/* Frees some of it, counting *budget down; true once all of it is gone. */
bool zset_free_some(struct zset *z, int *budget);
size_t zset_bytes(const struct zset *z);

/* What was raw is to be kept. */
void zset_keep(struct zset *z);

struct bh_bytes zmember_name(const struct zmember *m);
struct zmember *zset_get(const struct zset *z, struct bh_bytes name);
/* It is not there yet. */
struct zmember *zset_add(struct zset *z, struct bh_bytes name, double score);
void zset_move(struct zset *z, struct zmember *m, double score);
/* Frees m. */
void zset_remove(struct zset *z, struct zmember *m);

/* By place in the order, NULL past the end; and the other way round. */
struct zmember *zset_at(const struct zset *z, size_t rank);
size_t zset_rank(const struct zset *z, const struct zmember *m);
struct zmember *zmember_next(const struct zmember *m);
struct zmember *zmember_prev(const struct zmember *m);

/* A span of scores, or of names among members of one score. */
struct zrange {
	bool lex;
	bool min_out, max_out;		/* the bound itself is not in it */
	double min, max;
	struct bh_bytes low, high;
	int low_end, high_end;		/* -1, 1: past all names */
};

/* The members in it are those with the ranks from *ret_from on, in front of
 * *ret_to. */
void zset_span(const struct zset *z, const struct zrange *r,
    size_t *ret_from, size_t *ret_to);

#endif
