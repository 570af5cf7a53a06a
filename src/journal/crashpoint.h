/* SPDX-License-Identifier: MIT */
/*
 * Places where a test may kill the daemon: BELLHOP_TEST_CRASH="commit-before:3"
 * in the environment ends the process by SIGKILL at the third passage of that
 * point. Without it a point costs one branch.
 *
 * The points, in the order of a batch's life:
 *   begin          the writer is about to open the transaction
 *   apply          before each record
 *   commit-before  every record is applied, COMMIT comes next
 *   commit-after   committed, nobody knows yet
 *   ack            main is about to learn that it is committed
 *
 * crashpoint_init() is called once, before the threads start.
 */
#ifndef JOURNAL_CRASHPOINT_H
#define JOURNAL_CRASHPOINT_H

#include "base/attr.h"

enum crashpoint {
	CRASH_NONE,
	CRASH_BEGIN,
	CRASH_APPLY,
	CRASH_COMMIT_BEFORE,
	CRASH_COMMIT_AFTER,
	CRASH_ACK,
	CRASH_POINTS
};

extern int crashpoint_armed;		/* enum crashpoint */

/* Reads the environment; an unknown point is told and ends the process. */
void crashpoint_init(void);
void crashpoint_hit(void);

static inline void
crashpoint_pass(enum crashpoint point)
{
	if (__builtin_expect(crashpoint_armed == (int)point, 0))
		crashpoint_hit();
}

#endif
