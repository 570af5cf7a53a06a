/* SPDX-License-Identifier: MIT */
/* A stored job, from a row of the database to one heap block. Any thread. */
#ifndef JOURNAL_BODY_H
#define JOURNAL_BODY_H

#include <sqlite3.h>

#include "journal/rec.h"

/* What a statement for body_row() selects, in its order. */
#define BODY_COLUMNS                                                        \
	"id, state, queue, created_at, run_at, expires_at, started_at,"     \
	" finished_at, priority, retain_ms, group_key, unique_key,"         \
	" lease_ms, max_stalled, attempts, timeout_ms, backoff_type,"       \
	" backoff_ms, backoff_max_ms, backoff_factor, backoff_jitter,"      \
	" unique_ttl_ms, unique_mode, origin, progress, error, result,"     \
	" payload"
/* And for its errors; ?1 is the job. */
#define BODY_ERRORS                                                         \
	"SELECT attempt, at, message, version FROM error WHERE job = ?1"    \
	" ORDER BY n"

/* And for its steps. */
#define BODY_STEPS                                                          \
	"SELECT name, value FROM step WHERE job = ?1 ORDER BY n"

/* The row that the statement stands on; errors and steps (may be NULL) are
 * statements for its history and its steps. An SQLite result code, ret_body
 * untouched on failure. */
int body_row(sqlite3_stmt *row, sqlite3_stmt *errors, sqlite3_stmt *steps,
    struct jbody **ret_body);
/* One that was not found. */
struct jbody *body_missing(int64_t id);

#endif
