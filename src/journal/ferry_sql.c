/* SPDX-License-Identifier: MIT */
#include "journal/ferry_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "journal/db.h"
#include "journal/schema.h"

/* A batch ends after so many bytes, whatever its limit says. */
enum { BATCH_BYTES = 1 << 20, BUSY_MS = 30000 };

struct column {
	const char *name;
	const char *type;		/* i r t b */
};

#define X(table, column, type) {#column, #type},
#define COLUMNS(table, name, parent)                                         \
	static const struct column cols_##table[] = {BH_COLS_##table(X)};
BH_TABLES(COLUMNS)
#undef COLUMNS
#undef X

static const struct table {
	const char *name;
	const char *parent;		/* the column, NULL: stands alone */
	const struct column *cols;
	size_t ncols;
} tables[BH_TABLE_COUNT] = {
#define X(table, name, parent)                                               \
	[BH_T_##table] = {#name, parent, cols_##table,                       \
	    nitems(cols_##table)},
	BH_TABLES(X)
#undef X
};

struct ferry_db {
	sqlite3 *db;
	struct err *e;			/* of the operation under way */
};

/* The tables whose rows belong to rows of t. */
static bool
belongs(size_t child, enum bh_table t)
{
	static const enum bh_table owners[BH_TABLE_COUNT] = {
	    [BH_T_SCHEDULE_STATE] = BH_T_SCHEDULE,
	    [BH_T_TICK] = BH_T_SCHEDULE, [BH_T_LEASE] = BH_T_JOB,
	    [BH_T_ERROR] = BH_T_JOB, [BH_T_STEP] = BH_T_JOB,
	    [BH_T_KEY_PART] = BH_T_KEY};

	return tables[child].parent && owners[child] == t;
}

static bool
queue_by_name(enum bh_table t)
{
	return t == BH_T_JOB || t == BH_T_CALLBACK;
}

/* --- statements --- */

static int
fail(struct ferry_db *d, int rc)
{
	return db_fail(d->e, d->db, rc);
}

static int
run(struct ferry_db *d, const char *sql)
{
	int rc = db_exec(d->db, sql);

	return rc == SQLITE_OK ? 0 : fail(d, rc);
}

static int
number(struct ferry_db *d, const char *sql, int64_t *ret)
{
	int rc = db_int(d->db, sql, ret);

	return rc == SQLITE_OK ? 0 : fail(d, rc);
}

static int
prepare(struct ferry_db *d, struct buf *sql, sqlite3_stmt **ret)
{
	int rc = sqlite3_prepare_v2(d->db, buf_str(sql), -1, ret, NULL);

	buf_done(sql);
	return rc == SQLITE_OK ? 0 : fail(d, rc);
}

/* Runs it to its end. */
static int
finish(struct ferry_db *d, sqlite3_stmt *s)
{
	int rc;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		;
	if (rc != SQLITE_DONE)
		return fail(d, rc);
	sqlite3_reset(s);
	return 0;
}

/* A column's value; the shape of the table says what it may be. */
static void
bind(sqlite3_stmt *s, int at, char type, struct bh_bytes v)
{
	if (!v.data)
		sqlite3_bind_null(s, at);
	else if (type == 'b')
		sqlite3_bind_blob64(s, at, v.data, v.len, SQLITE_STATIC);
	else
		sqlite3_bind_text64(s, at, v.data, v.len, SQLITE_STATIC,
		    SQLITE_UTF8);
}

/* --- reading --- */

static void
add_columns(struct buf *sql, enum bh_table t)
{
	for (size_t i = 0; i < tables[t].ncols; i++) {
		const char *name = tables[t].cols[i].name;

		buf_adds(sql, ", ");
		if (queue_by_name(t) && strcmp(name, "queue") == 0)
			buf_addf(sql, "(SELECT name FROM queue WHERE"
			    " queue.id = \"%s\".queue)", tables[t].name);
		else
			buf_addf(sql, "\"%s\".\"%s\"", tables[t].name, name);
	}
}

static int
prepare_read(struct ferry_db *d, enum bh_table t, sqlite3_stmt **ret)
{
	struct buf sql = BUF_INIT;

	if (t == BH_T_JOB)
		buf_adds(&sql, "SELECT ferry.n, job.id");
	else if (tables[t].parent)
		buf_adds(&sql, "SELECT 0, 0");
	else
		buf_adds(&sql, "SELECT rowid, rowid");
	add_columns(&sql, t);
	if (t == BH_T_JOB)
		buf_adds(&sql, " FROM ferry JOIN job ON job.id = ferry.job"
		    " WHERE ferry.n > ?1 ORDER BY ferry.n LIMIT ?2");
	else if (tables[t].parent)
		buf_addf(&sql, " FROM \"%s\" WHERE \"%s\" = ?1 ORDER BY \"%s\"",
		    tables[t].name, tables[t].parent, tables[t].cols[0].name);
	else
		buf_addf(&sql, " FROM \"%s\" WHERE rowid > ?1 ORDER BY rowid"
		    " LIMIT ?2", tables[t].name);
	return prepare(d, &sql, ret);
}

/* The rows of a READ, under construction: each in one block. */
struct rows {
	struct bh_row *all;
	void **blocks;
	size_t n, cap;
	size_t bytes;
};

static void
take_row(struct rows *rows, enum bh_table t, sqlite3_stmt *s)
{
	size_t n = tables[t].ncols, bytes = n * sizeof(struct bh_bytes);
	struct bh_bytes *cols;
	char *at;

	for (size_t i = 0; i < n; i++) {
		/* As text first: that changes how long a number is. */
		if (*tables[t].cols[i].type != 'b')
			(void)sqlite3_column_text(s, (int)i + 2);
		bytes += (size_t)sqlite3_column_bytes(s, (int)i + 2) + 1;
	}
	cols = xmalloc(bytes);
	at = (char *)(cols + n);
	for (size_t i = 0; i < n; i++) {
		int c = (int)i + 2;
		size_t len = (size_t)sqlite3_column_bytes(s, c);

		cols[i] = (struct bh_bytes){NULL, 0};
		if (sqlite3_column_type(s, c) == SQLITE_NULL)
			continue;
		if (len > 0)
			memcpy(at, sqlite3_column_blob(s, c), len);
		at[len] = '\0';
		cols[i] = (struct bh_bytes){at, len};
		at += len + 1;
	}
	if (rows->n == rows->cap) {
		rows->cap = rows->cap ? rows->cap * 2 : 64;
		rows->all = xrealloc(rows->all, rows->cap *
		    sizeof(*rows->all));
		rows->blocks = xrealloc(rows->blocks, rows->cap *
		    sizeof(*rows->blocks));
	}
	rows->blocks[rows->n] = cols;
	rows->all[rows->n++] = (struct bh_row){t,
	    sqlite3_column_int64(s, 0), cols};
	rows->bytes += bytes;
}

static int
read_children(struct ferry_db *d, struct rows *rows, sqlite3_stmt **child,
    int64_t owner)
{
	int rc;

	for (size_t t = 0; t < BH_TABLE_COUNT; t++) {
		if (!child[t])
			continue;
		sqlite3_bind_int64(child[t], 1, owner);
		while ((rc = sqlite3_step(child[t])) == SQLITE_ROW)
			take_row(rows, (enum bh_table)t, child[t]);
		if (rc != SQLITE_DONE)
			return fail(d, rc);
		sqlite3_reset(child[t]);
	}
	return 0;
}

static int
do_read(struct ferry_db *d, struct bh_local *r)
{
	sqlite3_stmt *s[BH_TABLE_COUNT] = {NULL}, *main = NULL;
	struct rows *rows = xcalloc(1, sizeof(*rows));
	int rc = prepare_read(d, r->table, &main), step = SQLITE_DONE;

	for (size_t t = 0; t < BH_TABLE_COUNT && rc == 0; t++)
		if (belongs(t, r->table))
			rc = prepare_read(d, (enum bh_table)t, &s[t]);
	if (rc == 0) {
		sqlite3_bind_int64(main, 1, r->after);
		sqlite3_bind_int64(main, 2, (int64_t)r->limit);
	}
	while (rc == 0 && rows->bytes < BATCH_BYTES &&
	    (step = sqlite3_step(main)) == SQLITE_ROW) {
		take_row(rows, r->table, main);
		rc = read_children(d, rows, s, sqlite3_column_int64(main, 1));
	}
	if (rc == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
		rc = fail(d, step);
	sqlite3_finalize(main);
	for (size_t t = 0; t < BH_TABLE_COUNT; t++)
		sqlite3_finalize(s[t]);
	r->mem = rows;
	r->rows = rows->all;
	r->nrows = rows->n;
	if (rc < 0)
		ferry_rows_free(r);
	return rc;
}

void
ferry_rows_free(struct bh_local *r)
{
	struct rows *rows = r->mem;

	for (size_t i = 0; rows && i < rows->n; i++)
		free(rows->blocks[i]);
	if (rows) {
		free(rows->blocks);
		free(rows->all);
	}
	free(rows);
	r->mem = NULL;
	r->rows = NULL;
	r->nrows = 0;
}

/* --- writing --- */

static int
prepare_write(struct ferry_db *d, enum bh_table t, sqlite3_stmt **ret)
{
	const struct table *x = &tables[t];
	struct buf sql = BUF_INIT;

	if (t == BH_T_META) {
		buf_adds(&sql, "UPDATE meta SET next_id = max(next_id, ?1)");
		return prepare(d, &sql, ret);
	}
	buf_addf(&sql, "INSERT OR REPLACE INTO \"%s\" (", x->name);
	for (size_t i = 0; i < x->ncols; i++)
		buf_addf(&sql, "%s\"%s\"", i ? ", " : "", x->cols[i].name);
	if (x->parent)
		buf_addf(&sql, ", \"%s\"", x->parent);
	buf_adds(&sql, ") VALUES (");
	for (size_t i = 0; i < x->ncols; i++) {
		bool by_name = queue_by_name(t) &&
		    strcmp(x->cols[i].name, "queue") == 0;

		buf_addf(&sql, by_name ? "%s(SELECT id FROM queue WHERE"
		    " name = ?%zu)" : "%s?%zu", i ? ", " : "", i + 1);
	}
	if (x->parent)
		buf_addf(&sql, ", ?%zu", x->ncols + 1);
	buf_addc(&sql, ')');
	if (t == BH_T_QUEUE) {
		/* Its id must stay: jobs point to it. */
		buf_adds(&sql, " ON CONFLICT (name) DO UPDATE SET ");
		for (size_t i = 1; i < x->ncols; i++)
			buf_addf(&sql, "%s%s = excluded.%s", i > 1 ? ", " : "",
			    x->cols[i].name, x->cols[i].name);
	}
	return prepare(d, &sql, ret);
}

/* A statement with one value. */
static int
run_with(struct ferry_db *d, const char *sql, char type, struct bh_bytes v)
{
	struct buf text = BUF_INIT;
	sqlite3_stmt *s = NULL;
	int rc;

	buf_adds(&text, sql);
	rc = prepare(d, &text, &s);
	if (rc == 0) {
		bind(s, 1, type, v);
		rc = finish(d, s);
	}
	sqlite3_finalize(s);
	return rc;
}

static int
drop_children(struct ferry_db *d, enum bh_table t, struct bh_bytes owner)
{
	char sql[96];

	for (size_t c = 0; c < BH_TABLE_COUNT; c++) {
		if (!belongs(c, t))
			continue;
		snprintf(sql, sizeof(sql), "DELETE FROM \"%s\" WHERE \"%s\" ="
		    " CAST(?1 AS INTEGER)", tables[c].name, tables[c].parent);
		if (run_with(d, sql, 't', owner) < 0)
			return -1;
	}
	return 0;
}

/* What stands in the way of a row that stands alone. */
static int
make_room(struct ferry_db *d, const struct bh_row *row)
{
	switch (row->table) {
	case BH_T_JOB:
		return run_with(d, "INSERT OR IGNORE INTO queue (name) VALUES"
		    " (?1)", 't', row->cols[BH_JOB_queue]) < 0 ? -1 :
		    drop_children(d, row->table, row->cols[BH_JOB_id]);
	case BH_T_CALLBACK:
		return run_with(d, "INSERT OR IGNORE INTO queue (name) VALUES"
		    " (?1)", 't', row->cols[BH_CALLBACK_queue]);
	case BH_T_KEY:
		return run_with(d, "DELETE FROM key_part WHERE key IN (SELECT"
		    " id FROM key WHERE name = ?1)", 'b',
		    row->cols[BH_KEY_name]) < 0 ? -1 :
		    run_with(d, "DELETE FROM key WHERE name = ?1", 'b',
		    row->cols[BH_KEY_name]);
	case BH_T_SCHEDULE:
		if (run_with(d, "DELETE FROM tick WHERE schedule = (SELECT id"
		    " FROM schedule WHERE name = ?1)", 't',
		    row->cols[BH_SCHEDULE_name]) < 0 ||
		    run_with(d, "DELETE FROM schedule_state WHERE id ="
		    " (SELECT id FROM schedule WHERE name = ?1)", 't',
		    row->cols[BH_SCHEDULE_name]) < 0)
			return -1;
		return 0;
	default:
		return 0;
	}
}

static int
write_row(struct ferry_db *d, sqlite3_stmt **s, const struct bh_row *row,
    int64_t *owner)
{
	const struct table *x = &tables[row->table];

	if (!x->parent && make_room(d, row) < 0)
		return -1;
	if (!s[row->table] && prepare_write(d, row->table, &s[row->table]) < 0)
		return -1;
	for (size_t i = 0; i < x->ncols; i++)
		bind(s[row->table], (int)i + 1, *x->cols[i].type,
		    row->cols[i]);
	if (x->parent)
		sqlite3_bind_int64(s[row->table], (int)x->ncols + 1, *owner);
	if (finish(d, s[row->table]) < 0)
		return -1;
	if (!x->parent)
		*owner = sqlite3_last_insert_rowid(d->db);
	return 0;
}

static int
do_write(struct ferry_db *d, const struct bh_local *r)
{
	sqlite3_stmt *s[BH_TABLE_COUNT] = {NULL};
	int64_t owner = 0;
	int rc = 0;

	for (size_t i = 0; i < r->nrows && rc == 0; i++)
		rc = write_row(d, s, &r->rows[i], &owner);
	for (size_t t = 0; t < BH_TABLE_COUNT; t++)
		sqlite3_finalize(s[t]);
	return rc;
}

/* --- dropping --- */

static int
drop_row(struct ferry_db *d, const struct bh_row *row)
{
	char id[24], sql[80];
	struct bh_bytes owner = {id, 0};

	owner.len = (size_t)snprintf(id, sizeof(id), "%lld",
	    (long long)row->at);
	if (row->table == BH_T_JOB) {
		if (run_with(d, "DELETE FROM ferry WHERE n ="
		    " CAST(?1 AS INTEGER)", 't', owner) < 0)
			return -1;
		owner = row->cols[BH_JOB_id];
	}
	if (drop_children(d, row->table, owner) < 0)
		return -1;
	snprintf(sql, sizeof(sql), "DELETE FROM \"%s\" WHERE rowid ="
	    " CAST(?1 AS INTEGER)", tables[row->table].name);
	return run_with(d, sql, 't', owner);
}

/* Queues stay until the end: jobs point to them. */
static int
do_drop(struct ferry_db *d, const struct bh_local *r)
{
	if (r->table == BH_T_META || r->table == BH_T_QUEUE)
		return 0;
	for (size_t i = 0; i < r->nrows; i++)
		if (r->rows[i].table == r->table &&
		    drop_row(d, &r->rows[i]) < 0)
			return -1;
	return 0;
}

/* --- begin and end --- */

/* The table `moved` has one row while things are elsewhere: the name of the
 * move, whether they are on their way back, and whether it is over. Schemas
 * do not know it. */
static int
has_table(struct ferry_db *d, const char *name, int64_t *ret)
{
	char sql[96];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM sqlite_schema WHERE"
	    " name = '%s'", name);
	return number(d, sql, ret);
}

static int
read_mark(struct ferry_db *d, char move[BH_MOVE_NAME], bool *down,
    bool *over)
{
	struct buf sql = BUF_INIT;
	sqlite3_stmt *s = NULL;
	int64_t there;
	int rc;

	*move = '\0';
	*down = *over = false;
	if (has_table(d, "moved", &there) < 0)
		return -1;
	if (!there)
		return 0;
	buf_adds(&sql, "SELECT name, down, over FROM moved");
	if (prepare(d, &sql, &s) < 0)
		return -1;
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		snprintf(move, BH_MOVE_NAME, "%s",
		    (const char *)sqlite3_column_text(s, 0));
		*down = sqlite3_column_int(s, 1) != 0;
		*over = sqlite3_column_int(s, 2) != 0;
		rc = SQLITE_DONE;
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? 0 : fail(d, rc);
}

static int
write_mark(struct ferry_db *d, struct bh_local *r)
{
	char sql[280];

	if (!*r->move)
		snprintf(r->move, sizeof(r->move), "%016llx",
		    (unsigned long long)rng_u64());
	snprintf(sql, sizeof(sql), "CREATE TABLE IF NOT EXISTS moved"
	    " (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL,"
	    " down INTEGER NOT NULL, over INTEGER NOT NULL DEFAULT 0) STRICT;"
	    "INSERT OR REPLACE INTO moved VALUES (1, '%s', %d, 0)", r->move,
	    r->down);
	return run(d, sql);
}

/* In which order the jobs go: as the engine would serve them. */
static const char order_sql[] =
    "CREATE TABLE ferry (n INTEGER PRIMARY KEY, job INTEGER NOT NULL);"
    "INSERT INTO ferry (job) SELECT id FROM job ORDER BY state <> 0,"
    " CASE state WHEN 0 THEN ifnull(line_at, run_at) ELSE finished_at END,"
    " id";

static int
do_begin(struct ferry_db *d, struct bh_local *r)
{
	bool was_down, over;
	int64_t listed;
	char sql[64];

	if (read_mark(d, r->move, &was_down, &over) < 0)
		return -1;
	if (over && !r->down) {
		*r->move = '\0';
		return 0;
	}
	/* A new way has a new name: what is remembered of the old one there
	 * does not count for it. One that is on its way down goes on. */
	if (r->down && !was_down)
		*r->move = '\0';
	r->down = r->down || was_down;
	if (write_mark(d, r) < 0 ||
	    has_table(d, "ferry", &listed) < 0 ||
	    (r->down && run(d, "CREATE INDEX IF NOT EXISTS ferry_key ON"
	    " key (name)") < 0) ||
	    (!r->down && !listed && run(d, order_sql) < 0))
		return -1;
	for (size_t t = 0; t < BH_TABLE_COUNT; t++) {
		snprintf(sql, sizeof(sql), "SELECT count(*) FROM \"%s\"",
		    tables[t].name);
		if (number(d, sql, &r->counts[t]) < 0)
			return -1;
	}
	return number(d, "SELECT count(*) FROM job WHERE state = 0",
	    &r->living);
}

static int
do_end(struct ferry_db *d, const struct bh_local *r)
{
	if (r->down)
		return run(d, "DROP INDEX IF EXISTS ferry_key;"
		    "DROP TABLE IF EXISTS ferry;"
		    "DROP TABLE IF EXISTS moved");
	return run(d, "UPDATE moved SET over = 1;"
	    "DROP TABLE IF EXISTS ferry; DELETE FROM key_part;"
	    "DELETE FROM queue WHERE id NOT IN (SELECT queue FROM job"
	    " UNION SELECT queue FROM callback)");
}

static int
dispatch(struct ferry_db *d, struct bh_local *r)
{
	switch (r->op) {
	case BH_LOCAL_BEGIN:
		return do_begin(d, r);
	case BH_LOCAL_READ:
		return do_read(d, r);
	case BH_LOCAL_WRITE:
		return do_write(d, r);
	case BH_LOCAL_DROP:
		return do_drop(d, r);
	case BH_LOCAL_END:
		return do_end(d, r);
	}
	CHECK(!"an operation of the ferry");
	return -1;
}

/* Gives the space back; what fails here harms nobody. */
static void
tidy(struct ferry_db *d)
{
	if (db_exec(d->db, "PRAGMA incremental_vacuum") != SQLITE_OK ||
	    db_exec(d->db, "PRAGMA wal_checkpoint(TRUNCATE)") != SQLITE_OK)
		log_debug("ferry: space is given back later");
}

int
ferry_do(struct ferry_db *d, struct bh_local *r, struct err *e)
{
	int rc;

	d->e = e;
	rc = run(d, "BEGIN IMMEDIATE");
	if (rc == 0)
		rc = dispatch(d, r);
	if (rc == 0)
		rc = run(d, "COMMIT");
	if (rc < 0 && !sqlite3_get_autocommit(d->db) &&
	    db_exec(d->db, "ROLLBACK") != SQLITE_OK)
		log_debug("ferry: ROLLBACK fails too");
	if (rc == 0 && r->op == BH_LOCAL_END)
		tidy(d);
	return rc;
}

/* --- life --- */

int
ferry_db_open(struct ferry_db **ret, const char *dir, bool create,
    struct err *e)
{
	char *path = xasprintf("%s/bellhop.db", dir);
	struct ferry_db *d = NULL;
	int rc = 0;

	*ret = NULL;
	if (create || access(path, F_OK) == 0) {
		d = xcalloc(1, sizeof(*d));
		d->e = e;
		rc = db_open(&d->db, path, SQLITE_OPEN_READWRITE |
		    SQLITE_OPEN_CREATE, NULL, e);
		if (rc == 0) {
			CHECK(sqlite3_busy_timeout(d->db, BUSY_MS) ==
			    SQLITE_OK);
			rc = schema_open(d->db, e);
		}
		if (rc == 0)
			rc = run(d, "PRAGMA journal_mode = WAL;"
			    "PRAGMA synchronous = FULL;"
			    "PRAGMA secure_delete = OFF;"
			    "PRAGMA temp_store = MEMORY");
	}
	free(path);
	if (rc < 0)
		ferry_db_close(&d);
	else
		*ret = d;
	return rc;
}

void
ferry_db_close(struct ferry_db **dp)
{
	struct ferry_db *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	if (d->db)
		db_close(&d->db);
	free(d);
}

int
ferry_settle(sqlite3 *db, bool *ret_moved, struct err *e)
{
	struct ferry_db d = {.db = db, .e = e};
	char move[BH_MOVE_NAME];
	bool down, over;

	if (read_mark(&d, move, &down, &over) < 0)
		return -1;
	*ret_moved = *move && !down;
	if (down)
		return err_set(e, BH_E_CONFLICT, "%s: the jobs are on their"
		    " way back from Redis, and some are still there: start"
		    " with backend.type = \"redis\" again, which ends it",
		    sqlite3_db_filename(db, "main"));
	if (!*ret_moved)
		return 0;
	return run(&d, "BEGIN IMMEDIATE; DROP TABLE IF EXISTS ferry;"
	    "DROP TABLE moved; COMMIT");
}
