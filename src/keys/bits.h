/* SPDX-License-Identifier: MIT */
/* What the commands of bits share. */
#ifndef KEYS_BITS_H
#define KEYS_BITS_H

#include "keys/part.h"

/* The number of a bit that a string may have; "#n" counts by units, unless
 * unit is 0. False: the answer is an error. */
MUSTCHECK bool arg_bit_offset(struct kcall *c, struct bh_bytes v,
    int64_t unit, uint64_t *ret);
/* The string argv[1], which k is (or NULL, and it is made), up to this bit at
 * least. key_changed() is to follow. */
unsigned char *bits_edit(struct kcall *c, struct key *k, uint64_t last);

#endif
