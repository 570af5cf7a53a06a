/* SPDX-License-Identifier: MIT */
#include "journal/db.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/die.h"
#include "base/log.h"

/* How long a statement waits for another program's transaction to end: a
 * daemon that starts tells soon what holds it up. */
#define BUSY_MS 1000

/* Once, before SQLite starts: its memory statistics take a global lock at each
 * allocation, and nobody reads them. A refusal means that it runs already. */
static void
configure_library(void)
{
	static bool done;

	if (!done)
		(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	done = true;
}

int
db_open(sqlite3 **ret, const char *path, int flags, const char *vfs,
    struct err *e)
{
	sqlite3 *db = NULL;
	int rc;

	configure_library();
	rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX |
	    SQLITE_OPEN_EXRESCODE, vfs);
	if (rc != SQLITE_OK) {
		if (db)
			db_fail(e, db, rc);
		else
			err_set(e, BH_E_IO, "%s: %s", path, sqlite3_errstr(rc));
		sqlite3_close(db);
		return -1;
	}
	CHECK(sqlite3_busy_timeout(db, BUSY_MS) == SQLITE_OK);
	CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) ==
	    SQLITE_OK);
	CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) ==
	    SQLITE_OK);
	*ret = db;
	return 0;
}

/* Statements must be finalized by then. */
void
db_close(sqlite3 **db)
{
	CHECK(sqlite3_close(*db) == SQLITE_OK);
	*db = NULL;
}

#define RESTORE "keep the file and restore a backup: bellhopctl restore FILE"

/* Ended by the row for all the rest. */
static const struct {
	int rc;
	int code;
	const char *what;
	const char *advice;
} meanings[] = {
	{SQLITE_NOTADB, BH_E_IO, "not a database", RESTORE},
	{SQLITE_CORRUPT, BH_E_IO, "the database is damaged", RESTORE},
	{SQLITE_BUSY, BH_E_IO, "locked by another program",
	    "end its transaction (a sqlite3 shell?)"},
	{SQLITE_FULL, BH_E_DISKFULL, "the disk is full", "free some space"},
	{SQLITE_READONLY, BH_E_IO, "not writable",
	    "check owner and mode of it, its -wal, its -shm and its directory"},
	{SQLITE_CANTOPEN, BH_E_IO, "cannot be opened for writing",
	    "check owner and mode of it and of its directory"},
	{0, BH_E_IO, "storage failed",
	    "look at the kernel's log and the health of the disk"},
};

int
db_fail(struct err *e, sqlite3 *db, int rc)
{
	const char *path = sqlite3_db_filename(db, "main");
	int meant = rc & 0xff;
	size_t i = 0;

	/* A full disk has two names: the -shm could not grow. */
	if (rc == SQLITE_IOERR_SHMSIZE)
		meant = SQLITE_FULL;
	while (meanings[i].rc != 0 && meanings[i].rc != meant)
		i++;
	return err_set(e, meanings[i].code, "%s: %s (%s, SQLite code %d); %s",
	    path && *path ? path : "bellhop.db", meanings[i].what,
	    sqlite3_errmsg(db), rc, meanings[i].advice);
}

int
db_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int
db_int(sqlite3 *db, const char *sql, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		*ret = sqlite3_column_int64(s, 0);
		rc = SQLITE_OK;
	} else if (rc == SQLITE_DONE) {
		rc = SQLITE_NOTFOUND;
	}
	sqlite3_finalize(s);
	return rc;
}

int
db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret,
	    NULL);
}

int
db_step(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	if (rc == SQLITE_DONE || rc == SQLITE_ROW)
		return SQLITE_OK;
	if ((rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_MISUSE)
		log_error("journal: %s: %s",
		    sqlite3_errmsg(sqlite3_db_handle(s)), sqlite3_sql(s));
	CHECK((rc & 0xff) != SQLITE_CONSTRAINT);
	CHECK((rc & 0xff) != SQLITE_MISUSE);
	return rc;
}
