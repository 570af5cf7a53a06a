/* SPDX-License-Identifier: MIT */
#include "redis/outbox_db.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "redis/mem.h"

enum { READ_ROWS = 256, READ_BYTES = 1 << 20, ALIASES_KEPT = 100000 };

/* Of struct bh_job_opts: those that are whole numbers. */
#define OPTS(X)                                                              \
	X(delay_ms) X(at) X(expires_ms) X(timeout_ms) X(lease_ms)            \
	X(retain_ms) X(unique_ttl_ms) X(backoff_ms) X(backoff_max_ms)        \
	X(attempts) X(max_stalled) X(priority) X(backoff_type)               \
	X(unique_mode)

/* delay_ms counts from accepted_at; -1: not said. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS note (one INTEGER PRIMARY KEY"
    " CHECK (one = 1), looked_at INTEGER, next_id INTEGER, end_id INTEGER,"
    " instance INTEGER);"
    "INSERT OR IGNORE INTO note VALUES (1, 0, 0, 0, 0);"
    "CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY"
    " AUTOINCREMENT, kind TEXT NOT NULL CHECK (kind IN ('job', 'end')),"
    " id INTEGER NOT NULL, accepted_at INTEGER NOT NULL, queue TEXT,"
#define X(name) #name " INTEGER, "
    OPTS(X)
#undef X
    "backoff_factor REAL, backoff_jitter REAL, group_key BLOB,"
    " unique_key BLOB, payload BLOB, token INTEGER, outcome INTEGER,"
    " final INTEGER, delay INTEGER, result BLOB, message BLOB, version BLOB,"
    " step BLOB);"
    "CREATE INDEX IF NOT EXISTS entry_id ON entry (id);"
    "CREATE INDEX IF NOT EXISTS entry_end ON entry (seq)"
    " WHERE kind = 'end';"
    /* Jobs whose unique key was taken: who has it. */
    "CREATE TABLE IF NOT EXISTS alias (id INTEGER PRIMARY KEY,"
    " job INTEGER NOT NULL);"
    "PRAGMA user_version = 1";

#define COLUMNS                                                              \
	"id, accepted_at, queue, delay_ms, at, expires_ms, timeout_ms,"      \
	" lease_ms, retain_ms, unique_ttl_ms, backoff_ms, backoff_max_ms,"   \
	" attempts, max_stalled, priority, backoff_type, unique_mode,"       \
	" backoff_factor, backoff_jitter, group_key, unique_key, payload,"   \
	" token, outcome, final, delay, result, message, version, step"

enum stmt { ST_ADD, ST_GET, ST_ENDS, ST_READ, ST_DROP, ST_ALIAS, ST_TRIM, ST_NOTES,
    ST_COUNT };

static const char *const texts[ST_COUNT] = {
	[ST_ADD] = "INSERT INTO entry (kind, " COLUMNS ") VALUES (?, ?, ?, ?,"
	    " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
	    " ?, ?, ?, ?, ?, ?)",
	[ST_GET] = "SELECT seq, kind, " COLUMNS " FROM entry WHERE id = ?1"
	    " AND kind = 'job'",
	[ST_ENDS] = "SELECT seq, kind, " COLUMNS " FROM entry WHERE seq > ?1"
	    " AND kind = 'end' ORDER BY seq LIMIT ?2",
	[ST_READ] = "SELECT seq, kind, " COLUMNS " FROM entry WHERE seq > ?1"
	    " ORDER BY seq LIMIT ?2",
	[ST_DROP] = "DELETE FROM entry WHERE seq = ?1",
	[ST_ALIAS] = "INSERT OR REPLACE INTO alias VALUES (?1, ?2)",
	[ST_TRIM] = "DELETE FROM alias WHERE id IN (SELECT id FROM alias"
	    " ORDER BY id DESC LIMIT -1 OFFSET ?1)",
	[ST_NOTES] = "UPDATE note SET looked_at = ?1, next_id = ?2,"
	    " end_id = ?3, instance = ?4",
};

struct outbox_db {
	sqlite3 *db;
	char *path;
	sqlite3_stmt *st[ST_COUNT];
	int64_t page_bytes;
};

/* --- life --- */

static int
say(struct outbox_db *d, int rc, char err[BH_ERROR_TEXT])
{
	snprintf(err, BH_ERROR_TEXT, "%s: %s (SQLite code %d)", d->path,
	    d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(rc), rc);
	return -1;
}

int
outbox_db_open(struct outbox_db **ret, const char *dir,
    char err[BH_ERROR_TEXT])
{
	struct outbox_db *d = mem_new(sizeof(*d));
	size_t len = strlen(dir) + sizeof("/outbox.db");
	int rc, fd;

	*ret = d;
	d->path = mem_new(len);
	snprintf(d->path, len, "%s/outbox.db", dir);
	/* Payloads are nobody else's business. */
	fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd >= 0)
		close(fd);
	rc = sqlite3_open_v2(d->path, &d->db, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
	    SQLITE_OPEN_EXRESCODE, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(d->db, 5000);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, "PRAGMA auto_vacuum = INCREMENTAL;"
		    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		    "PRAGMA secure_delete = OFF", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, schema, NULL, NULL, NULL);
	for (int i = 0; i < ST_COUNT && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(d->db, texts[i], -1,
		    SQLITE_PREPARE_PERSISTENT, &d->st[i], NULL);
	return rc == SQLITE_OK ? 0 : say(d, rc, err);
}

void
outbox_db_close(struct outbox_db **dp)
{
	struct outbox_db *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	for (int i = 0; i < ST_COUNT; i++)
		sqlite3_finalize(d->st[i]);
	sqlite3_close(d->db);
	free(d->path);
	free(d);
}

static int64_t
number(struct outbox_db *d, const char *sql)
{
	sqlite3_stmt *s = NULL;
	int64_t n = 0;

	if (sqlite3_prepare_v2(d->db, sql, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

static int64_t
used_bytes(struct outbox_db *d)
{
	if (!d->page_bytes)
		d->page_bytes = number(d, "PRAGMA page_size");
	return (number(d, "PRAGMA page_count") -
	    number(d, "PRAGMA freelist_count")) * d->page_bytes;
}

int
outbox_db_load(struct outbox_db *d, int64_t notes[OUTBOX_NOTES],
    int64_t *count, int64_t *ends, int64_t *bytes, void (*alias)(void *arg, int64_t id,
    int64_t job), void *arg, char err[BH_ERROR_TEXT])
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(d->db, "SELECT looked_at, next_id, end_id,"
	    " instance FROM note", -1, &s, NULL);

	if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		for (int i = 0; i < OUTBOX_NOTES; i++)
			notes[i] = sqlite3_column_int64(s, i);
	sqlite3_finalize(s);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(d->db, "SELECT id, job FROM alias"
		    " ORDER BY id", -1, &s, NULL);
	if (rc != SQLITE_OK)
		return say(d, rc, err);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		alias(arg, sqlite3_column_int64(s, 0),
		    sqlite3_column_int64(s, 1));
	sqlite3_finalize(s);
	if (rc != SQLITE_DONE)
		return say(d, rc, err);
	*count = number(d, "SELECT count(*) FROM entry");
	*ends = number(d, "SELECT count(*) FROM entry WHERE kind = 'end'");
	*bytes = used_bytes(d);
	return 0;
}

/* --- writing --- */

static void
put_bytes(sqlite3_stmt *s, int at, struct bh_bytes v)
{
	if (v.data)
		sqlite3_bind_blob64(s, at, v.data, v.len, SQLITE_STATIC);
	else
		sqlite3_bind_null(s, at);
}

static int
step(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int
add_job(struct outbox_db *d, const struct bh_put *p, size_t i, int64_t now)
{
	sqlite3_stmt *s = d->st[ST_ADD];
	int at = 1;

	sqlite3_clear_bindings(s);
	sqlite3_bind_text(s, at++, "job", 3, SQLITE_STATIC);
	sqlite3_bind_int64(s, at++, p->ids[i]);
	sqlite3_bind_int64(s, at++, now);
	sqlite3_bind_text64(s, at++, p->queue.data, p->queue.len,
	    SQLITE_STATIC, SQLITE_UTF8);
#define X(name) sqlite3_bind_int64(s, at++, p->opts.name);
	OPTS(X)
#undef X
	sqlite3_bind_double(s, at++, p->opts.backoff_factor);
	sqlite3_bind_double(s, at++, p->opts.backoff_jitter);
	put_bytes(s, at++, p->opts.group);
	put_bytes(s, at++, p->opts.unique);
	put_bytes(s, at++, p->payloads[i].data ? p->payloads[i] :
	    (struct bh_bytes){"", 0});
	return step(s);
}

static int
add_jobs(struct outbox_db *d, const struct bh_put *p, int64_t now)
{
	int rc = SQLITE_OK;

	for (; p && rc == SQLITE_OK; p = p->also)
		for (size_t i = 0; i < p->npayloads && rc == SQLITE_OK; i++)
			rc = add_job(d, p, i, now);
	return rc;
}

static int
add_end(struct outbox_db *d, const struct bh_finish *r, int64_t now)
{
	sqlite3_stmt *s = d->st[ST_ADD];
	int at = 24;

	sqlite3_clear_bindings(s);
	sqlite3_bind_text(s, 1, "end", 3, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, r->id);
	sqlite3_bind_int64(s, 3, now);
	sqlite3_bind_int64(s, at++, (int64_t)r->token);
	sqlite3_bind_int(s, at++, (int)r->outcome);
	sqlite3_bind_int(s, at++, r->final);
	sqlite3_bind_int64(s, at++, r->delay_ms);
	put_bytes(s, at++, r->result);
	put_bytes(s, at++, r->message);
	put_bytes(s, at++, r->version);
	put_bytes(s, at++, r->step);
	return step(s);
}

static int
write_notes(struct outbox_db *d, const int64_t notes[OUTBOX_NOTES])
{
	for (int i = 0; i < OUTBOX_NOTES; i++)
		sqlite3_bind_int64(d->st[ST_NOTES], i + 1, notes[i]);
	return step(d->st[ST_NOTES]);
}

static int
drop(struct outbox_db *d, const struct errand *a)
{
	int rc;

	sqlite3_bind_int64(d->st[ST_DROP], 1, a->seq);
	rc = step(d->st[ST_DROP]);
	if (rc != SQLITE_OK || !a->alias)
		return rc;
	sqlite3_bind_int64(d->st[ST_ALIAS], 1, a->id);
	sqlite3_bind_int64(d->st[ST_ALIAS], 2, a->alias);
	rc = step(d->st[ST_ALIAS]);
	if (rc != SQLITE_OK || a->seq % 1024 != 0)
		return rc;
	sqlite3_bind_int64(d->st[ST_TRIM], 1, ALIASES_KEPT);
	return step(d->st[ST_TRIM]);
}

/* --- reading --- */

static struct bh_bytes
take_bytes(sqlite3_stmt *s, int at)
{
	struct bh_bytes v = {NULL, 0};

	if (sqlite3_column_type(s, at) == SQLITE_NULL)
		return v;
	v.len = (size_t)sqlite3_column_bytes(s, at);
	v.data = mem_copy(sqlite3_column_blob(s, at), v.len);
	return v;
}

static void
take_entry(struct errand *a, sqlite3_stmt *s, size_t *bytes)
{
	struct outbox_entry *e;
	int at = 2;

	a->entries = mem_grow(a->entries, (a->nentries + 1) *
	    sizeof(*a->entries));
	e = &a->entries[a->nentries++];
	*e = (struct outbox_entry){.seq = sqlite3_column_int64(s, 0)};
	e->is_finish = *sqlite3_column_text(s, 1) == 'e';
	bh_job_opts_init(&e->opts);
	e->id = sqlite3_column_int64(s, at++);
	e->at = sqlite3_column_int64(s, at++);
	e->queue = take_bytes(s, at++);
#define X(name)                                                              \
	e->opts.name = (__typeof__(e->opts.name))sqlite3_column_int64(s,     \
	    at++);
	OPTS(X)
#undef X
	e->opts.backoff_factor = sqlite3_column_double(s, at++);
	e->opts.backoff_jitter = sqlite3_column_double(s, at++);
	e->opts.group = take_bytes(s, at++);
	e->opts.unique = take_bytes(s, at++);
	e->payload = take_bytes(s, at++);
	e->token = (uint64_t)sqlite3_column_int64(s, at++);
	e->outcome = (enum bh_outcome)sqlite3_column_int(s, at++);
	e->final = sqlite3_column_int(s, at++) != 0;
	e->delay_ms = sqlite3_column_int64(s, at++);
	e->result = take_bytes(s, at++);
	e->message = take_bytes(s, at++);
	e->version = take_bytes(s, at++);
	e->step = take_bytes(s, at++);
	*bytes += sizeof(*e) + e->payload.len + e->result.len +
	    e->message.len;
}

/* What cannot be read is not there, and is told by the next write. */
static void
read_entries(struct outbox_db *d, struct errand *a, enum stmt which,
    int64_t key)
{
	sqlite3_stmt *s = d->st[which];
	size_t bytes = 0;

	sqlite3_bind_int64(s, 1, key);
	if (which != ST_GET)
		sqlite3_bind_int64(s, 2, READ_ROWS);
	while (bytes < READ_BYTES && sqlite3_step(s) == SQLITE_ROW)
		take_entry(a, s, &bytes);
	sqlite3_reset(s);
}

static void
drop_bytes(struct bh_bytes v)
{
	free((void *)(uintptr_t)v.data);
}

void
outbox_entries_free(struct errand *a)
{
	for (size_t i = 0; i < a->nentries; i++) {
		struct outbox_entry *e = &a->entries[i];

		drop_bytes(e->queue);
		drop_bytes(e->opts.group);
		drop_bytes(e->opts.unique);
		drop_bytes(e->payload);
		drop_bytes(e->result);
		drop_bytes(e->message);
		drop_bytes(e->version);
		drop_bytes(e->step);
	}
	free(a->entries);
	a->entries = NULL;
	a->nentries = 0;
}

/* --- the list --- */

static bool
writes(const struct errand *a)
{
	return !a->failed && a->op != ERRAND_GET && a->op != ERRAND_READ;
}

static int
write_one(struct outbox_db *d, const struct errand *a)
{
	int rc = SQLITE_OK;

	switch (a->op) {
	case ERRAND_PUT:
		rc = add_jobs(d, (const struct bh_put *)a->req, a->now);
		return rc == SQLITE_OK ? write_notes(d, a->notes) : rc;
	case ERRAND_FINISH:
		return add_end(d, (const struct bh_finish *)a->req, a->now);
	case ERRAND_DROP:
		return drop(d, a);
	case ERRAND_NOTES:
		return write_notes(d, a->notes);
	default:
		return rc;
	}
}

static void
fail_all(struct outbox_db *d, struct errand *list, int rc)
{
	bool space = (rc & 0xff) == SQLITE_FULL ||
	    rc == SQLITE_IOERR_SHMSIZE;
	char text[BH_ERROR_TEXT];

	snprintf(text, sizeof(text), "Redis is away, and the outbox cannot be"
	    " written: %.120s (SQLite code %d)", sqlite3_errmsg(d->db), rc);
	for (struct errand *a = list; a; a = a->next) {
		if (!writes(a))
			continue;
		a->failed = true;
		a->code = space ? BH_E_DISKFULL : BH_E_IO;
		a->text = mem_str(text);
	}
}

void
outbox_db_run(struct outbox_db *d, struct errand *list)
{
	int rc = SQLITE_OK;
	bool any = false;

	for (struct errand *a = list; a && !any; a = a->next)
		any = writes(a);
	if (any)
		rc = sqlite3_exec(d->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	for (struct errand *a = list; a && rc == SQLITE_OK; a = a->next)
		if (writes(a))
			rc = write_one(d, a);
	if (any && rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		fail_all(d, list, rc);
		if (!sqlite3_get_autocommit(d->db))
			(void)sqlite3_exec(d->db, "ROLLBACK", NULL, NULL,
			    NULL);
	}
	for (struct errand *a = list; a; a = a->next) {
		if (a->op == ERRAND_GET)
			read_entries(d, a, ST_GET, a->id);
		else if (a->op == ERRAND_READ)
			read_entries(d, a, ST_ENDS, a->seq);
		if (a->op == ERRAND_READ && a->nentries == 0)
			read_entries(d, a, ST_READ, a->seq);
		a->bytes = -1;
	}
	if (any)
		list->bytes = used_bytes(d);
}
