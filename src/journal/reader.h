/* SPDX-License-Identifier: MIT */
/*
 * The thread that reads, on a read-only connection of its own. What is asked
 * together is read from one snapshot. All calls are main's.
 */
#ifndef JOURNAL_READER_H
#define JOURNAL_READER_H

#include "base/attr.h"
#include "journal/journal.h"

struct reader;

MUSTCHECK int reader_new(struct reader **ret, const char *path,
    const char *vfs, void (*wake)(void *arg), void *wake_arg, struct err *e);
void reader_start(struct reader *r);
/* Ends the thread; answers with the chain of what it has not read. */
MUSTCHECK struct jread *reader_stop(struct reader *r);
void reader_free(struct reader **r);

/* A chain by jread.next, which ends with NULL. */
void reader_give(struct reader *r, struct jread *first);
/* The finished ones, in the order of their asking, or NULL. */
struct jread *reader_take(struct reader *r);
/* How long the thread has been at one read. */
int64_t reader_busy_ms(const struct reader *r);

#endif
