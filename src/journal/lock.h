/* SPDX-License-Identifier: MIT */
/*
 * One daemon for one state directory: an advisory lock on the file
 * bellhop.lock, which holds the pid of its owner. The kernel gives it up when
 * the owner dies, so that nothing stale is left. Main thread.
 */
#ifndef JOURNAL_LOCK_H
#define JOURNAL_LOCK_H

#include "base/attr.h"
#include "base/err.h"

/* The lock's file descriptor in ret_fd, or -1 with a sentence. */
MUSTCHECK int lock_take(const char *dir, int *ret_fd, struct err *e);
void lock_drop(int *fd);

#endif
