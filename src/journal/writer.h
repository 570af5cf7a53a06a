/* SPDX-License-Identifier: MIT */
/*
 * The thread that writes. Main gives it one batch at a time and gets that same
 * batch back, with the answer inside; nothing else is shared.
 *
 *     main                                    writer
 *     writer_give(batch) ──► todo ──────────► one transaction
 *     writer_take() ◄─────── done ◄────────── batch->err says how it went
 *
 * All calls are main's.
 */
#ifndef JOURNAL_WRITER_H
#define JOURNAL_WRITER_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "journal/batch.h"
#include "journal/journal.h"

struct writer;

struct writer_config {
	const char *dir;
	bool relaxed;
	int64_t quiet_ms;
	void (*wake)(void *arg);
	void *wake_arg;
};

/* The connection stays the caller's, who leaves it alone while it runs. */
MUSTCHECK int writer_new(struct writer **ret, sqlite3 *db,
    const struct writer_config *config, struct err *e);
void writer_start(struct writer *w);
/* Ends the thread; the batch under way is finished first. */
void writer_stop(struct writer *w);
void writer_free(struct writer **w);

/* The writer must have answered the last one. Before writer_start() it is
 * committed at once. */
void writer_give(struct writer *w, struct batch *b);
/* The answered batch, or NULL while there is none. */
struct batch *writer_take(struct writer *w);
/* The same, but waits for the answer. */
struct batch *writer_wait(struct writer *w);

void writer_stats(struct writer *w, struct journal_stats *ret);
/* How long the thread has been at one thing. */
int64_t writer_busy_ms(const struct writer *w);

#endif
