/* SPDX-License-Identifier: MIT */
/* What the rows of keyspace.def say about a command. */
#ifndef BASE_KEYSPACE_H
#define BASE_KEYSPACE_H

#include <stddef.h>

enum key_flag {
	KF_WRITE = 1,		/* changes something */
	KF_GROW = 2,		/* may store more: not when the store is full */
	KF_FAST = 4,
	KF_ADMIN = 8,		/* needs the role admin */
	KF_OPERATOR = 16,	/* needs the role operator */
	KF_BLOCKS = 32,		/* may wait for a client's time */
	KF_NOSCRIPT = 64,	/* not from EVAL */
	KF_MOVABLE = 128	/* more keys than the three numbers tell */
};

/* Where the keys of a command are among its words; last may be counted from
 * the end, -1: the last word. */
struct key_row {
	const char *name;
	int flags;
	int first, last, step;
};

/* NULL: no command of the keyspace. */
const struct key_row *keyspace_find(const char *name, size_t len);

#endif
