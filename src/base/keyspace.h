/* SPDX-License-Identifier: MIT */
/* What the rows of keyspace.def say about a command. */
#ifndef BASE_KEYSPACE_H
#define BASE_KEYSPACE_H

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

#endif
