/* SPDX-License-Identifier: MIT */
/* What the ferry does to the database; on the thread that has it. Each call is
 * one transaction. */
#ifndef JOURNAL_FERRY_SQL_H
#define JOURNAL_FERRY_SQL_H

#include <sqlite3.h>

#include "base/attr.h"
#include "base/err.h"

struct ferry_db;

/* Opens bellhop.db of this directory, or makes it; *ret is NULL when there is
 * none and create is false. */
MUSTCHECK int ferry_db_open(struct ferry_db **ret, const char *dir,
    bool create, struct err *e);
void ferry_db_close(struct ferry_db **d);

/* The operation of r, with its answer in r; 0, or -1 with a sentence. */
MUSTCHECK int ferry_do(struct ferry_db *d, struct bh_local *r,
    struct err *e);
void ferry_rows_free(struct bh_local *r);

/* For who opens the store as a store: forgets that it has been moved away
 * (ret_moved tells) or refuses, when it is on its way back. */
MUSTCHECK int ferry_settle(sqlite3 *db, bool *ret_moved, struct err *e);

#endif
