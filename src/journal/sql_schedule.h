/* SPDX-License-Identifier: MIT */
/* The statements of the schedules' records; see sql.h. */
#ifndef JOURNAL_SQL_SCHEDULE_H
#define JOURNAL_SQL_SCHEDULE_H

#include <sqlite3.h>

#include "base/attr.h"
#include "base/err.h"
#include "journal/rec.h"

struct sql_schedule;

MUSTCHECK int sql_schedule_new(struct sql_schedule **ret, sqlite3 *db,
    struct err *e);
void sql_schedule_free(struct sql_schedule **q);

/* An SQLite result code. */
MUSTCHECK int sql_schedule_apply(struct sql_schedule *q,
    const struct jrec *r);

#endif
