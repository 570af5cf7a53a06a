/* SPDX-License-Identifier: MIT */
/*
 * What the writer's thread does between commits: it syncs the WAL (relaxed
 * mode), copies it back into the file (checkpoint), gives free pages back to
 * the file system (vacuum), and measures. Each is a short slice, each is only
 * due when something was written: an idle journal sleeps.
 *
 *     commit ──► WAL past its limit ──► checkpoint, at once
 *        ├─────► relaxed ─────────────► sync, within a second
 *        ├─────► much of it is free ──► vacuum slices, five a second
 *        └─────► quiet for a while ───► checkpoint, vacuum to the end,
 *                                       page cache freed, then nothing
 */
#ifndef JOURNAL_UPKEEP_H
#define JOURNAL_UPKEEP_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "journal/journal.h"

struct upkeep;

/* quiet_ms 0: the default. dir lasts as long as the result. */
struct upkeep *upkeep_new(sqlite3 *db, const char *dir, bool relaxed,
    int64_t quiet_ms);
void upkeep_free(struct upkeep **u);

/* A commit of the file with so many pages; free ones among them. */
void upkeep_committed(struct upkeep *u, int64_t pages, int64_t free_pages,
    int64_t now_us);
/* A commit has failed: an emptier WAL (and, when the disk is full, the spare
 * space) may let the next one succeed. */
void upkeep_failed(struct upkeep *u, bool full, int64_t now_us);
/* One slice of what is due at now_us. */
void upkeep_run(struct upkeep *u, int64_t now_us);
/* When something will be due; INT64_MAX never. */
int64_t upkeep_next(const struct upkeep *u);
/* The end: what is committed is synced. */
void upkeep_finish(struct upkeep *u);
/* Fills the sizes of the file, the WAL and the disk. */
void upkeep_sizes(const struct upkeep *u, struct journal_stats *ret);

#endif
