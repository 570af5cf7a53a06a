/* SPDX-License-Identifier: MIT */
#include "journal/schema.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "journal/db.h"

/* job:step(). */
#define V2_STEPS                                                             \
	"CREATE TABLE step (job INTEGER NOT NULL REFERENCES job (id),"       \
	" n INTEGER NOT NULL CHECK (n > 0),"                                 \
	" name TEXT NOT NULL CHECK (name <> ''), value BLOB,"                \
	" PRIMARY KEY (job, n)) STRICT, WITHOUT ROWID;"

/* The keyspace. */
#define V2_KEYS                                                              \
	"CREATE TABLE key (id INTEGER PRIMARY KEY CHECK (id > 0),"           \
	" name BLOB NOT NULL,"                                               \
	" type INTEGER NOT NULL CHECK (type BETWEEN 0 AND 5),"               \
	" expires_at INTEGER, value BLOB NOT NULL) STRICT;"                  \
	"CREATE TABLE key_part (key INTEGER NOT NULL, part BLOB NOT NULL,"   \
	" value BLOB, PRIMARY KEY (key, part)) STRICT, WITHOUT ROWID;"       \
	"CREATE TABLE limiter (name BLOB PRIMARY KEY, until INTEGER NOT NULL," \
	" windows BLOB NOT NULL) STRICT, WITHOUT ROWID;"                     \
	"CREATE VIEW keys_view AS SELECT CAST(name AS TEXT) AS name,"        \
	" CASE type WHEN 0 THEN 'string' WHEN 1 THEN 'list' WHEN 2 THEN"     \
	" 'set' WHEN 3 THEN 'zset' WHEN 4 THEN 'hash' ELSE 'stream' END"     \
	" AS type,"                                                          \
	" strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch')"  \
	" AS expires_at, CASE type WHEN 0 THEN length(value) END AS bytes,"  \
	" CASE type WHEN 0 THEN CAST(substr(value, 1, 200) AS TEXT) END"     \
	" AS value, CASE type WHEN 0 THEN NULL ELSE (SELECT count(*) FROM"   \
	" key_part WHERE key_part.key = key.id) END AS parts FROM key;"

/* Schedules. */
#define V2_SCHEDULES                                                         \
	"CREATE TABLE schedule ( id INTEGER PRIMARY KEY, name TEXT NOT NULL " \
	"UNIQUE, owner TEXT, queue TEXT NOT NULL, cron TEXT, zone TEXT, "    \
	"every_ms INTEGER CHECK (every_ms > 0), misfire INTEGER NOT NULL "   \
	"CHECK (misfire BETWEEN 0 AND 2), overlap INTEGER NOT NULL CHECK "   \
	"(overlap BETWEEN 0 AND 1), created_at INTEGER NOT NULL, priority "  \
	"INTEGER CHECK (priority BETWEEN 0 AND 9), delay_ms INTEGER, "       \
	"expires_ms INTEGER, attempts INTEGER, timeout_ms INTEGER, "         \
	"backoff_type INTEGER, backoff_ms INTEGER, backoff_max_ms INTEGER, " \
	"backoff_factor REAL, backoff_jitter REAL, group_key TEXT, "         \
	"unique_key TEXT, unique_ttl_ms INTEGER, unique_mode INTEGER, "      \
	"lease_ms INTEGER, max_stalled INTEGER, retain_ms INTEGER, payload " \
	"BLOB NOT NULL, CHECK ((cron IS NULL) <> (every_ms IS NULL)), CHECK " \
	"(zone IS NULL OR cron IS NOT NULL) ) STRICT;"                       \
	"CREATE TABLE schedule_state ( id INTEGER PRIMARY KEY REFERENCES "   \
	"schedule (id), next_at INTEGER, after_at INTEGER NOT NULL, seen_at " \
	"INTEGER NOT NULL, job INTEGER ) STRICT;"                            \
	"CREATE TABLE tick ( schedule INTEGER NOT NULL REFERENCES schedule " \
	"(id), n INTEGER NOT NULL CHECK (n > 0), due INTEGER NOT NULL, at "  \
	"INTEGER NOT NULL, outcome INTEGER NOT NULL CHECK (outcome BETWEEN " \
	"0 AND 2), job INTEGER, PRIMARY KEY (schedule, n) ) STRICT, WITHOUT " \
	"ROWID;"                                                             \
	"CREATE VIEW schedules_view AS SELECT name, owner, queue, cron, "    \
	"zone, every_ms, CASE misfire WHEN 0 THEN 'skip' WHEN 1 THEN 'once' " \
	"ELSE 'all' END AS misfire, CASE overlap WHEN 0 THEN 'skip' ELSE "   \
	"'queue' END AS overlap, strftime('%Y-%m-%dT%H:%M:%fZ', next_at / "  \
	"1000.0, 'unixepoch') AS next_at, (SELECT "                          \
	"strftime('%Y-%m-%dT%H:%M:%fZ', due / 1000.0, 'unixepoch') || CASE " \
	"outcome WHEN 0 THEN ' ran' WHEN 1 THEN ' late' ELSE ' skipped' END " \
	"FROM tick WHERE tick.schedule = schedule.id ORDER BY n DESC LIMIT " \
	"1) AS last_tick FROM schedule JOIN schedule_state USING (id) ORDER " \
	"BY name;"

/* The way from each older version: rows {1, "ALTER TABLE …"}, {2, …}, ended
 * by a row without SQL. */
static const struct schema_step steps[] = {
	{1, V2_STEPS V2_KEYS V2_SCHEDULES},
	{0, NULL},
};

/* Runs sql and says which version the file has then, in one transaction. */
static int
change(sqlite3 *db, const char *sql, int version, struct err *e)
{
	char *mark = xasprintf("PRAGMA application_id = %d;"
	    "PRAGMA user_version = %d;", SCHEMA_APPLICATION_ID, version);
	int rc = db_exec(db, "BEGIN IMMEDIATE");

	if (rc == SQLITE_OK)
		rc = db_exec(db, sql);
	if (rc == SQLITE_OK)
		rc = db_exec(db, mark);
	if (rc == SQLITE_OK)
		rc = db_exec(db, "COMMIT");
	free(mark);
	if (rc == SQLITE_OK)
		return 0;
	db_fail(e, db, rc);
	if (!sqlite3_get_autocommit(db) && db_exec(db, "ROLLBACK") != SQLITE_OK)
		log_debug("journal: the upgrade's ROLLBACK fails too");
	return -1;
}

/* auto_vacuum is a property that only a file without pages can take. */
static int
create(sqlite3 *db, struct err *e)
{
	int rc = db_exec(db, "PRAGMA auto_vacuum = INCREMENTAL;"
	    "PRAGMA journal_mode = WAL;");

	if (rc != SQLITE_OK)
		return db_fail(e, db, rc);
	return change(db, journal_schema_sql, SCHEMA_VERSION, e);
}

int
schema_upgrade(sqlite3 *db, const struct schema_step *list, size_t nsteps,
    int version, struct err *e)
{
	int64_t at;
	size_t i;
	int rc = db_int(db, "PRAGMA user_version", &at);

	if (rc != SQLITE_OK)
		return db_fail(e, db, rc);
	for (i = 0; i < nsteps && at < version; i++) {
		if (list[i].from != at || !list[i].sql)
			continue;
		log_info("upgrading the database from schema %d to %d",
		    (int)at, (int)at + 1);
		if (change(db, list[i].sql, (int)at + 1, e) != 0)
			return -1;
		at++;
	}
	if (at == version)
		return 0;
	return err_set(e, BH_E_IO, "%s: schema version %d cannot be upgraded "
	    "to %d", sqlite3_db_filename(db, "main"), (int)at, version);
}

static int
refuse_foreign(sqlite3 *db, struct err *e)
{
	return err_set(e, BH_E_IO, "%s: a SQLite database, but not one of "
	    "Bellhop's; move it away or choose another state_dir",
	    sqlite3_db_filename(db, "main"));
}

int
schema_open(sqlite3 *db, struct err *e)
{
	int64_t app, version, objects;
	int rc = db_int(db, "SELECT count(*) FROM sqlite_schema", &objects);

	if (rc == SQLITE_OK)
		rc = db_int(db, "PRAGMA application_id", &app);
	if (rc == SQLITE_OK)
		rc = db_int(db, "PRAGMA user_version", &version);
	if (rc != SQLITE_OK)
		return db_fail(e, db, rc);
	if (objects == 0 && app == 0 && version == 0)
		return create(db, e);
	if (app != SCHEMA_APPLICATION_ID)
		return refuse_foreign(db, e);
	if (version > SCHEMA_VERSION)
		return err_set(e, BH_E_IO, "%s: written by a newer Bellhop "
		    "(schema %d, this one knows %d); install that version, or "
		    "restore an older backup",
		    sqlite3_db_filename(db, "main"), (int)version,
		    SCHEMA_VERSION);
	return schema_upgrade(db, steps, nitems(steps),
	    SCHEMA_VERSION, e);
}
