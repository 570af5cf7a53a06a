/* SPDX-License-Identifier: MIT */
#include "ctl/db.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

int
db_open_readonly(sqlite3 **ret, const char *file, struct err *e)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY |
	    SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK) {
		err_set(e, BH_E_IO, "%s: %s", file,
		    db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
		sqlite3_close(db);
		return -1;
	}
	sqlite3_busy_timeout(db, 5000);
	*ret = db;
	return 0;
}

int
db_number(sqlite3 *db, const char *sql, int64_t *ret, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
		*ret = sqlite3_column_int64(stmt, 0);
		sqlite3_finalize(stmt);
		return 0;
	}
	err_set(e, BH_E_IO, "%s: %s", sqlite3_db_filename(db, "main"),
	    sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	return -1;
}

/* The first line that quick_check has to say; "ok" is good. */
static int
quick_check(sqlite3 *db, const char *file, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	const char *text = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt,
	    NULL);

	if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(stmt, 0);
	if (text && strcmp(text, "ok") == 0)
		rc = 0;
	else
		rc = err_set(e, BH_E_IO, "%s: damaged: %s", file,
		    text ? text : sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	return rc;
}

int
db_check(sqlite3 *db, const char *file, struct err *e)
{
	int64_t application, version;

	if (db_number(db, "PRAGMA application_id", &application, e) != 0 ||
	    db_number(db, "PRAGMA user_version", &version, e) != 0)
		return -1;
	if (application != DB_APPLICATION_ID)
		return err_set(e, BH_E_IO, "%s: not a database of Bellhop "
		    "(application_id %jd, expected %d)", file,
		    (intmax_t)application, DB_APPLICATION_ID);
	if (version < 1 || version > DB_SCHEMA_VERSION)
		return err_set(e, BH_E_IO, "%s: schema version %jd, this "
		    "Bellhop knows 1 to %d: use the version that wrote it",
		    file, (intmax_t)version, DB_SCHEMA_VERSION);
	return quick_check(db, file, e);
}

/* The daemon's own state_dir, NULL when there is no daemon to ask. */
static char *
ask_state_dir(struct ctl *ctl)
{
	const struct resp_value *v;
	struct bh_bytes s = {NULL, 0};

	ctl->quiet = true;
	v = ctl_ask(ctl, "BELLHOP", "STATUS", NULL);
	ctl->quiet = false;
	if (v)
		s = value_bytes(v, "state_dir");
	return s.data ? xstrndup(s.data, s.len) : NULL;
}

char *
db_state_dir(struct ctl *ctl, const char *option)
{
	const struct conf *conf;
	char *dir;

	if (option)
		return xstrdup(option);
	dir = ask_state_dir(ctl);
	if (dir)
		return dir;
	conf = ctl_conf(ctl);
	return conf ? xstrdup(conf->state_dir) : NULL;
}
