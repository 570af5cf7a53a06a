/* SPDX-License-Identifier: MIT */
/* What the commands of hashes and of sets share: walks over a bag. */
#ifndef KEYS_PAIRS_H
#define KEYS_PAIRS_H

#include "keys/bag.h"
#include "keys/part.h"

enum pairs_part { PAIRS_KEYS = 1, PAIRS_VALUES = 2, PAIRS_BOTH = 3 };

/* The answer is an array of all of it, made in slices when it is big. */
void pairs_put_all(struct kcall *c, struct bag *b, enum pairs_part what);
/* One page of a cursor's way. */
void pairs_scan(struct kcall *c, const struct bag *b,
    const struct scan_args *s, enum pairs_part what);
/* count different ones (all, if there are not so many), or -count of which
 * some may be the same. */
void pairs_put_random(struct kcall *c, struct bag *b, int64_t count,
    enum pairs_part what);
/* HDEL, SREM: the words from the second one on go. */
void pairs_remove_words(struct kcall *c, enum key_type type);
/* Any place. */
size_t pairs_random(const struct bag *b);

/* As bag_set(); in a set the value is empty. */
bool hash_set(struct bag *b, struct bh_bytes field, struct bh_bytes value);
bool set_add(struct bag *b, struct bh_bytes member);

#endif
