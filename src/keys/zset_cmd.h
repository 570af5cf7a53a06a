/* SPDX-License-Identifier: MIT */
/* What the files of sorted sets' commands share. */
#ifndef KEYS_ZSET_CMD_H
#define KEYS_ZSET_CMD_H

#include "base/str.h"
#include "keys/part.h"
#include "keys/zset.h"

/* Members of one slice: a change of one is a record. */
enum { ZSLICE_READ = 2048, ZSLICE_WRITE = 512 };

static inline bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static inline struct zset *
zset_of(const struct key *k)
{
	return k->obj;
}

/* At once if it is little work, else in slices; also when step() comes to more
 * and sets c->step. */
static inline void
call_slices(struct kcall *c, bool little, bool (*step)(struct kcall *c))
{
	if (!little)
		c->step = step;
	else
		while (step(c) && !c->step)
			;
}

/* As Redis 7.0 prints it in RESP2. */
void put_score(struct kcall *c, double score);
/* The member, and with `scores` its score. */
void put_member(struct kcall *c, const struct zmember *m, bool scores);
/* text (may be NULL) is the answer for what is no number. */
MUSTCHECK bool arg_score(struct kcall *c, size_t i, const char *text,
    double *ret);

/* A score as it is stored. */
enum { ZSCORE_BYTES = 8 };
struct bh_bytes zscore_bytes(double score, char out[ZSCORE_BYTES]);

/* Changes that are written down. */
void zkey_write(struct kcall *c, struct key *k, const struct zmember *m);
void zkey_remove(struct kcall *c, struct key *k, struct zmember *m);

/* Puts this zset (taken over) in place of the key of this name; the answer is
 * how many members it has. The last thing that a command does. */
void zset_store(struct kcall *c, struct bh_bytes to, struct zset *z);

#endif
