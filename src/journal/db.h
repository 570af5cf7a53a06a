/* SPDX-License-Identifier: MIT */
/*
 * SQLite connections: opened the same way everywhere, their errors turned
 * into a sentence that says what to do. A connection belongs to one thread at
 * a time.
 */
#ifndef JOURNAL_DB_H
#define JOURNAL_DB_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* Opens path with SQLITE_OPEN_* flags, hardened; vfs may be NULL. */
MUSTCHECK int db_open(sqlite3 **ret, const char *path, int flags,
    const char *vfs, struct err *e);
void db_close(sqlite3 **db);

/* What the result code means for the operator; returns -1. */
int db_fail(struct err *e, sqlite3 *db, int rc);

/* One or more statements without results; an SQLite result code. */
MUSTCHECK int db_exec(sqlite3 *db, const char *sql);
/* The first column of the first row; an SQLite result code. */
MUSTCHECK int db_int(sqlite3 *db, const char *sql, int64_t *ret);
/* A statement that lives long; a failure is a bug in the text. */
MUSTCHECK int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret);
/* Runs a statement that writes, and resets it; an SQLite result code. A
 * record that contradicts the database is a bug of whoever wrote it. */
MUSTCHECK int db_step(sqlite3_stmt *s);

#endif
