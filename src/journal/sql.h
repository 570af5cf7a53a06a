/* SPDX-License-Identifier: MIT */
/*
 * The statements that write: one for each kind of record, prepared once. The
 * writer's thread uses it; before that and after that main may.
 */
#ifndef JOURNAL_SQL_H
#define JOURNAL_SQL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "journal/rec.h"

struct sql;

MUSTCHECK int sql_new(struct sql **ret, sqlite3 *db, struct err *e);
void sql_free(struct sql **q);

/* All answer with an SQLite result code. */
MUSTCHECK int sql_begin(struct sql *q);
MUSTCHECK int sql_apply(struct sql *q, const struct jrec *r);
/* Notes that an earlier commit had failed; also proves that writing works. */
MUSTCHECK int sql_note_recovered(struct sql *q);
/* On success ret_pages and ret_free tell the size of the file in pages. */
MUSTCHECK int sql_commit(struct sql *q, int64_t *ret_pages, int64_t *ret_free);
/* After a failure; no transaction is open then. */
void sql_rollback(struct sql *q);

#endif
