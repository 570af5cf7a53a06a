/* SPDX-License-Identifier: MIT */
/*
 * The database file as bellhopctl sees it from outside the daemon: opened
 * read-only, asked, judged. Only this folder's *_db and doctor files and db.c
 * see SQLite.
 */
#ifndef CTL_DB_H
#define CTL_DB_H

#include <sqlite3.h>

#include "base/attr.h"
#include "base/err.h"
#include "ctl/ctl.h"

#define DB_APPLICATION_ID 0x42656c6c	/* "Bell", as schema.sql's */
#define DB_SCHEMA_VERSION 2		/* the newest that we know */

/* Opens a file that exists; the caller closes it with sqlite3_close(). */
MUSTCHECK int db_open_readonly(sqlite3 **ret, const char *file,
    struct err *e);
/* The first column of the first row as a number. */
MUSTCHECK int db_number(sqlite3 *db, const char *sql, int64_t *ret,
    struct err *e);
/* Whether it is one of Bellhop's that this version can read, and whole. */
MUSTCHECK int db_check(sqlite3 *db, const char *file, struct err *e);

/* --state-dir, else what the daemon says, else the configuration. The caller
 * frees it; NULL after saying why. */
char *db_state_dir(struct ctl *ctl, const char *option);

#endif
