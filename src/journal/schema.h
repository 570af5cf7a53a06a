/* SPDX-License-Identifier: MIT */
/*
 * What kind of file this is, and how it becomes one of our schema version.
 * The recipe for a change is at the top of schema.sql.
 */
#ifndef JOURNAL_SCHEMA_H
#define JOURNAL_SCHEMA_H

#include <sqlite3.h>

#include "base/attr.h"
#include "base/err.h"

#define SCHEMA_VERSION 2
#define SCHEMA_APPLICATION_ID 0x42656c6c	/* "Bell" */

extern const char journal_schema_sql[];	/* schema.sql, made at build time */

/* One step of an upgrade: from a version to the next one. */
struct schema_step {
	int from;
	const char *sql;
};

/* Creates the schema in an empty file, upgrades an older one, refuses a newer
 * or a foreign one. */
MUSTCHECK int schema_open(sqlite3 *db, struct err *e);
/* The upgrade alone, with any list of nsteps steps that leads to version. */
MUSTCHECK int schema_upgrade(sqlite3 *db, const struct schema_step *steps,
    size_t nsteps, int version, struct err *e);

#endif
