/* SPDX-License-Identifier: MIT */
/*
 * Parameters of the statements that write, where absence has a word: each
 * says which. Writer's thread.
 */
#ifndef JOURNAL_BIND_H
#define JOURNAL_BIND_H

#include <sqlite3.h>

#include "base/die.h"
#include "plugin.h"

/* Binding fails only for a wrong position or 1 GB: bugs both. The strings
 * live until the batch is answered, longer than the statement needs them. */
static inline void
put_int(sqlite3_stmt *s, int at, int64_t v)
{
	CHECK(sqlite3_bind_int64(s, at, v) == SQLITE_OK);
}

/* An integer that may be absent: none is its word for that. */
static inline void
put_opt(sqlite3_stmt *s, int at, int64_t v, int64_t none)
{
	if (v == none)
		CHECK(sqlite3_bind_null(s, at) == SQLITE_OK);
	else
		put_int(s, at, v);
}

static inline void
put_real(sqlite3_stmt *s, int at, double v)
{
	if (v < 0)
		CHECK(sqlite3_bind_null(s, at) == SQLITE_OK);
	else
		CHECK(sqlite3_bind_double(s, at, v) == SQLITE_OK);
}

/* Text whose absence is the empty string. */
static inline void
put_name(sqlite3_stmt *s, int at, struct bh_bytes v)
{
	CHECK(sqlite3_bind_text(s, at, v.len ? v.data : NULL, (int)v.len,
	    SQLITE_STATIC) == SQLITE_OK);
}

/* Text and bytes that may be empty; data NULL is absence. */
static inline void
put_text(sqlite3_stmt *s, int at, struct bh_bytes v)
{
	CHECK(sqlite3_bind_text(s, at, v.data, (int)v.len, SQLITE_STATIC) ==
	    SQLITE_OK);
}

static inline void
put_blob(sqlite3_stmt *s, int at, struct bh_bytes v)
{
	CHECK(sqlite3_bind_blob(s, at, v.data, (int)v.len, SQLITE_STATIC) ==
	    SQLITE_OK);
}

/* A payload is never absent. */
static inline void
put_payload(sqlite3_stmt *s, int at, struct bh_bytes v)
{
	put_blob(s, at, v.data ? v : (struct bh_bytes){"", 0});
}

#endif
