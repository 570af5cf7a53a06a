/* SPDX-License-Identifier: MIT */
/* Reads everything that the engine keeps in memory. Main, before the start. */
#ifndef JOURNAL_RECOVER_H
#define JOURNAL_RECOVER_H

#include <sqlite3.h>

#include "base/attr.h"
#include "journal/journal.h"

MUSTCHECK int recover_all(sqlite3 *db, const struct jvisitor *v, void *arg,
    struct err *e);

#endif
