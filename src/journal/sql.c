/* SPDX-License-Identifier: MIT */
#include "journal/sql.h"

#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "journal/bind.h"
#include "journal/db.h"
#include "journal/sql_schedule.h"

enum stmt {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_PAGES,
	ST_FREE,
	ST_NOTE_RECOVERED,
	ST_JOB_PLAIN,
	ST_JOB_INSERT,
	ST_JOB_SET,
	ST_JOB_FINISH,
	ST_JOB_REVIVE,
	ST_JOB_DELETE,
	ST_JOB_PAYLOAD,
	ST_JOB_PROGRESS,
	ST_LEASE,
	ST_LEASE_EXTEND,
	ST_LEASE_END,
	ST_STEP,
	ST_STEPS_END,
	ST_ERROR,
	ST_ERROR_TRIM,
	ST_ERROR_DELETE,
	ST_QUEUE,
	ST_QUEUE_TOTALS,
	ST_CALLBACK,
	ST_CALLBACK_DONE,
	ST_NEXT_ID,
	ST_KEY_SET,
	ST_KEY_DEL,
	ST_KEY_CLEAR,
	ST_KEY_PARTS_DEL,
	ST_KEY_PARTS_CLEAR,
	ST_KEY_PART_SET,
	ST_KEY_PART_DEL,
	ST_LIMITER,
	ST_LIMITER_DEL,
	ST_LIMITERS_OLD,
	ST_COUNT
};

static const char *const texts[ST_COUNT] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_PAGES] = "PRAGMA page_count",
	[ST_FREE] = "PRAGMA freelist_count",
	[ST_NOTE_RECOVERED] = "UPDATE meta SET recovered = recovered + 1",
	/* Most jobs say nothing but their queue: binding 27 NULLs costs. */
	[ST_JOB_PLAIN] =
	    "INSERT INTO job (id, queue, run_at, created_at, priority, wall,"
	    " payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[ST_JOB_INSERT] =
	    "INSERT INTO job (id, queue, run_at, created_at, priority, wall,"
	    " payload, line_at, expires_at, unique_until, follows, retain_ms,"
	    " group_key, unique_key, lease_ms, max_stalled, attempts,"
	    " timeout_ms, backoff_type, backoff_ms, backoff_max_ms,"
	    " backoff_factor, backoff_jitter, unique_ttl_ms, unique_mode,"
	    " origin)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
	    " ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25,"
	    " ?26)",
	[ST_JOB_SET] =
	    "UPDATE job SET run_at = ?2, line_at = ifnull(?3, line_at),"
	    " started_at = ifnull(?4, started_at),"
	    " unique_until = ?5, follows = ?6, attempt = ?7, error_count = ?8,"
	    " stalled = ?9, wall = ?10, expires_at = ?11 WHERE id = ?1",
	[ST_JOB_FINISH] =
	    "UPDATE job SET state = ?2, started_at = ?3, finished_at = ?4,"
	    " attempt = ?5, error_count = ?6, stalled = ?7, fingerprint = ?8,"
	    " result = ?9, error = ?10, unique_until = NULL, follows = NULL"
	    " WHERE id = ?1",
	[ST_JOB_REVIVE] =
	    "UPDATE job SET run_at = ?2, line_at = ifnull(?3, line_at),"
	    " started_at = ifnull(?4, started_at),"
	    " unique_until = ?5, follows = ?6, attempt = ?7, error_count = ?8,"
	    " stalled = ?9, wall = ?10, expires_at = ?11, state = 0, finished_at = NULL,"
	    " fingerprint = NULL, result = NULL, error = NULL,"
	    " progress = NULL WHERE id = ?1",
	[ST_JOB_DELETE] = "DELETE FROM job WHERE id = ?1",
	[ST_JOB_PAYLOAD] = "UPDATE job SET payload = ?2 WHERE id = ?1",
	[ST_JOB_PROGRESS] = "UPDATE job SET progress = ?2 WHERE id = ?1",
	/* REPLACE without an index needs no look first: the cheapest insert. */
	[ST_LEASE] =
	    "INSERT OR REPLACE INTO lease (id, attempt, token, handler,"
	    " started_at, until, worker) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[ST_LEASE_EXTEND] = "UPDATE lease SET until = ?2 WHERE id = ?1",
	[ST_LEASE_END] = "DELETE FROM lease WHERE id = ?1",
	[ST_STEP] = "INSERT INTO step (job, n, name, value)"
	    " VALUES (?1, ?2, ?3, ?4)",
	[ST_STEPS_END] = "DELETE FROM step WHERE job = ?1",
	[ST_ERROR] =
	    "INSERT OR REPLACE INTO error (job, n, attempt, at, message,"
	    " version) SELECT ?1, iif(?2 > 0, ?2, ifnull(max(n), 0) + 1),"
	    " ?3, ?4, ?5, ?6 FROM error WHERE job = ?1",
	[ST_ERROR_TRIM] =
	    "DELETE FROM error WHERE job = ?1 AND n > 5 AND n <="
	    " (SELECT max(n) FROM error WHERE job = ?1) - 5",
	[ST_ERROR_DELETE] = "DELETE FROM error WHERE job = ?1",
	[ST_QUEUE] =
	    "INSERT INTO queue (id, name, paused_at, paused_by, held_until,"
	    " held_reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
	    " ON CONFLICT (id) DO UPDATE SET name = excluded.name,"
	    " paused_at = excluded.paused_at, paused_by = excluded.paused_by,"
	    " held_until = excluded.held_until,"
	    " held_reason = excluded.held_reason",
	[ST_QUEUE_TOTALS] =
	    "UPDATE queue SET processed = ?2, failed = ?3, stalled = ?4"
	    " WHERE id = ?1",
	[ST_CALLBACK] =
	    "INSERT INTO callback (id, queue, kind, job, attempt, payload,"
	    " result, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[ST_CALLBACK_DONE] = "DELETE FROM callback WHERE id = ?1",
	[ST_NEXT_ID] = "UPDATE meta SET next_id = ?1",
	[ST_KEY_SET] =
	    "INSERT OR REPLACE INTO key (id, name, type, expires_at, value)"
	    " VALUES (?1, ?2, ?3, ?4, ?5)",
	[ST_KEY_DEL] = "DELETE FROM key WHERE id = ?1",
	[ST_KEY_CLEAR] = "DELETE FROM key",
	[ST_KEY_PARTS_DEL] =
	    "DELETE FROM key_part WHERE key = ?1 AND part IN (SELECT part"
	    " FROM key_part WHERE key = ?1 LIMIT ?2)",
	[ST_KEY_PARTS_CLEAR] = "DELETE FROM key_part",
	[ST_KEY_PART_SET] =
	    "INSERT OR REPLACE INTO key_part (key, part, value)"
	    " VALUES (?1, ?2, ?3)",
	[ST_KEY_PART_DEL] =
	    "DELETE FROM key_part WHERE key = ?1 AND part = ?2",
	[ST_LIMITER] =
	    "INSERT OR REPLACE INTO limiter (name, until, windows)"
	    " VALUES (?1, ?2, ?3)",
	[ST_LIMITER_DEL] = "DELETE FROM limiter WHERE name = ?1",
	[ST_LIMITERS_OLD] = "DELETE FROM limiter WHERE until <= ?1",
};

struct sql {
	sqlite3 *db;
	struct sql_schedule *schedules;
	sqlite3_stmt *st[ST_COUNT];
};

int
sql_new(struct sql **ret, sqlite3 *db, struct err *e)
{
	struct sql *q = xcalloc(1, sizeof(*q));
	int i, rc;

	q->db = db;
	for (i = 0; i < ST_COUNT; i++) {
		rc = db_prepare(db, texts[i], &q->st[i]);
		if (rc != SQLITE_OK) {
			db_fail(e, db, rc);
			sql_free(&q);
			return -1;
		}
	}
	if (sql_schedule_new(&q->schedules, db, e) < 0) {
		sql_free(&q);
		return -1;
	}
	*ret = q;
	return 0;
}

void
sql_free(struct sql **q)
{
	int i;

	if (!*q)
		return;
	for (i = 0; i < ST_COUNT; i++)
		sqlite3_finalize((*q)->st[i]);
	sql_schedule_free(&(*q)->schedules);
	free(*q);
	*q = NULL;
}

static int
run(struct sql *q, enum stmt n)
{
	return db_step(q->st[n]);
}

/* For statements of one parameter, the id. */
static int
run_id(struct sql *q, enum stmt n, int64_t id)
{
	put_int(q->st[n], 1, id);
	return run(q, n);
}

/* An acknowledged change of a job must meet that job. */
static int
run_change(struct sql *q, enum stmt n)
{
	int rc = run(q, n);

	CHECK(rc != SQLITE_OK || sqlite3_changes(q->db) == 1);
	return rc;
}

static bool
is_plain(const struct jrec *r)
{
	const struct bh_job_opts *o = r->u.insert.opts;

	return o->timeout_ms == -1 && o->lease_ms == -1 &&
	    o->retain_ms == -1 && o->backoff_ms == -1 &&
	    o->backoff_max_ms == -1 && o->backoff_factor < 0 &&
	    o->backoff_jitter < 0 && o->attempts == -1 &&
	    o->max_stalled == -1 && o->backoff_type == -1 &&
	    o->unique_mode == -1 && o->unique_ttl_ms == -1 &&
	    o->group.len == 0 && o->unique.len == 0 &&
	    r->u.insert.origin.len == 0 && r->u.insert.expires_at == 0 &&
	    r->u.insert.unique_until == 0 && r->u.insert.line_at == 0 &&
	    r->u.insert.after == 0;
}

static void
put_insert(sqlite3_stmt *s, const struct jrec *r)
{
	put_int(s, 1, r->id);
	put_int(s, 2, r->u.insert.queue);
	put_int(s, 3, r->u.insert.run_at);
	put_int(s, 4, r->u.insert.created_at);
	put_opt(s, 5, r->u.insert.opts->priority, -1);
	put_int(s, 6, r->u.insert.wall);
	put_payload(s, 7, r->u.insert.payload);
}

static int
job_insert(struct sql *q, const struct jrec *r)
{
	const struct bh_job_opts *o = r->u.insert.opts;
	sqlite3_stmt *s = q->st[ST_JOB_INSERT];

	if (is_plain(r)) {
		put_insert(q->st[ST_JOB_PLAIN], r);
		return run(q, ST_JOB_PLAIN);
	}
	put_insert(s, r);
	put_opt(s, 8, r->u.insert.line_at, 0);
	put_opt(s, 9, r->u.insert.expires_at, 0);
	put_opt(s, 10, r->u.insert.unique_until, 0);
	put_opt(s, 11, r->u.insert.after, 0);
	put_opt(s, 12, o->retain_ms, -1);
	put_name(s, 13, o->group);
	put_name(s, 14, o->unique);
	put_opt(s, 15, o->lease_ms, -1);
	put_opt(s, 16, o->max_stalled, -1);
	put_opt(s, 17, o->attempts, -1);
	put_opt(s, 18, o->timeout_ms, -1);
	put_opt(s, 19, o->backoff_type, -1);
	put_opt(s, 20, o->backoff_ms, -1);
	put_opt(s, 21, o->backoff_max_ms, -1);
	put_real(s, 22, o->backoff_factor);
	put_real(s, 23, o->backoff_jitter);
	put_opt(s, 24, o->unique_ttl_ms, -1);
	put_opt(s, 25, o->unique_mode, -1);
	put_name(s, 26, r->u.insert.origin);
	return run(q, ST_JOB_INSERT);
}

static int
job_numbers(struct sql *q, const struct jrec *r, enum stmt n)
{
	sqlite3_stmt *s = q->st[n];

	put_int(s, 1, r->id);
	put_int(s, 2, r->u.set.run_at);
	put_opt(s, 3, r->u.set.line_at, 0);
	put_opt(s, 4, r->u.set.started_at, 0);
	put_opt(s, 5, r->u.set.unique_until, 0);
	put_opt(s, 6, r->u.set.after, 0);
	put_int(s, 7, r->u.set.attempt);
	put_int(s, 8, r->u.set.error_count);
	put_int(s, 9, r->u.set.stalled);
	put_int(s, 10, r->u.set.wall);
	put_opt(s, 11, r->u.set.expires_at, 0);
	return run_change(q, n);
}

static int
job_set(struct sql *q, const struct jrec *r)
{
	return job_numbers(q, r, ST_JOB_SET);
}

static int
job_revive(struct sql *q, const struct jrec *r)
{
	return job_numbers(q, r, ST_JOB_REVIVE);
}

static int
job_finish(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_JOB_FINISH];
	bool failed = r->u.finish.state == JSTATE_FAILED;

	put_int(s, 1, r->id);
	put_int(s, 2, r->u.finish.state);
	put_opt(s, 3, r->u.finish.started_at, 0);
	put_int(s, 4, r->u.finish.finished_at);
	put_int(s, 5, r->u.finish.attempt);
	put_int(s, 6, r->u.finish.error_count);
	put_int(s, 7, r->u.finish.stalled);
	put_opt(s, 8, (int64_t)r->u.finish.fingerprint, 0);
	put_blob(s, 9, r->u.finish.result);
	/* A failed job always says why, be it the empty string. */
	put_text(s, 10, failed && !r->u.finish.error.data ?
	    (struct bh_bytes){"", 0} : r->u.finish.error);
	return run_change(q, ST_JOB_FINISH);
}

static int
job_delete(struct sql *q, const struct jrec *r)
{
	int rc = run_id(q, ST_JOB_DELETE, r->id);

	if (rc == SQLITE_OK && r->u.del.leased)
		rc = run_id(q, ST_LEASE_END, r->id);
	if (rc == SQLITE_OK && r->u.del.errors)
		rc = run_id(q, ST_ERROR_DELETE, r->id);
	if (rc == SQLITE_OK && r->u.del.steps)
		rc = run_id(q, ST_STEPS_END, r->id);
	return rc;
}

static int
job_payload(struct sql *q, const struct jrec *r)
{
	put_payload(q->st[ST_JOB_PAYLOAD], 2, r->u.text);
	return run_id(q, ST_JOB_PAYLOAD, r->id);
}

static int
job_progress(struct sql *q, const struct jrec *r)
{
	put_blob(q->st[ST_JOB_PROGRESS], 2, r->u.text);
	return run_id(q, ST_JOB_PROGRESS, r->id);
}

static int
lease(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_LEASE];

	put_int(s, 2, r->u.lease.attempt);
	put_int(s, 3, (int64_t)r->u.lease.token);
	put_int(s, 4, r->u.lease.handler);
	put_int(s, 5, r->u.lease.started_at);
	put_int(s, 6, r->u.lease.until);
	put_name(s, 7, r->u.lease.worker);
	return run_id(q, ST_LEASE, r->id);
}

static int
lease_extend(struct sql *q, const struct jrec *r)
{
	put_int(q->st[ST_LEASE_EXTEND], 2, r->u.until);
	return run_id(q, ST_LEASE_EXTEND, r->id);
}

static int
lease_end(struct sql *q, const struct jrec *r)
{
	return run_id(q, ST_LEASE_END, r->id);
}

static int
step(struct sql *q, const struct jrec *r)
{
	put_int(q->st[ST_STEP], 2, r->u.step.n);
	put_text(q->st[ST_STEP], 3, r->u.step.name);
	put_blob(q->st[ST_STEP], 4, r->u.step.value);
	return run_id(q, ST_STEP, r->id);
}

static int
steps_end(struct sql *q, const struct jrec *r)
{
	return run_id(q, ST_STEPS_END, r->id);
}

/* Keeps the first five and the last five: each new one pushes out one. */
static int
error_add(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_ERROR];
	int rc;

	put_opt(s, 2, r->u.error.n, 0);
	put_int(s, 3, r->u.error.attempt);
	put_int(s, 4, r->u.error.at);
	put_text(s, 5, r->u.error.message.data ? r->u.error.message :
	    (struct bh_bytes){"", 0});
	put_name(s, 6, r->u.error.version);
	rc = run_id(q, ST_ERROR, r->id);
	if (rc != SQLITE_OK)
		return rc;
	return run_id(q, ST_ERROR_TRIM, r->id);
}

static int
queue(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_QUEUE];

	put_text(s, 2, r->u.queue.name);
	put_opt(s, 3, r->u.queue.paused_at, 0);
	put_name(s, 4, r->u.queue.paused_by);
	put_opt(s, 5, r->u.queue.held_until, 0);
	put_name(s, 6, r->u.queue.held_reason);
	return run_id(q, ST_QUEUE, r->id);
}

static int
queue_totals(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_QUEUE_TOTALS];

	put_int(s, 2, r->u.totals.processed);
	put_int(s, 3, r->u.totals.failed);
	put_int(s, 4, r->u.totals.stalled);
	return run_id(q, ST_QUEUE_TOTALS, r->id);
}

static int
callback(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_CALLBACK];

	put_int(s, 2, r->u.callback.queue);
	put_int(s, 3, r->u.callback.kind);
	put_int(s, 4, r->u.callback.job);
	put_int(s, 5, r->u.callback.attempt);
	put_payload(s, 6, r->u.callback.payload);
	put_blob(s, 7, r->u.callback.result);
	put_text(s, 8, r->u.callback.error);
	return run_id(q, ST_CALLBACK, r->id);
}

static int
callback_done(struct sql *q, const struct jrec *r)
{
	return run_id(q, ST_CALLBACK_DONE, r->id);
}

static int
next_id(struct sql *q, const struct jrec *r)
{
	return run_id(q, ST_NEXT_ID, r->id);
}

static int
key_set(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_KEY_SET];

	put_payload(s, 2, r->u.key.name);
	put_int(s, 3, r->u.key.type);
	put_opt(s, 4, r->u.key.expires_at, 0);
	put_payload(s, 5, r->u.key.value);
	return run_id(q, ST_KEY_SET, r->id);
}

static int
key_del(struct sql *q, const struct jrec *r)
{
	int rc = run_id(q, ST_KEY_DEL, r->id);

	if (rc != SQLITE_OK || !r->u.parts)
		return rc;
	put_int(q->st[ST_KEY_PARTS_DEL], 2, JKEY_PARTS_AT_ONCE);
	return run_id(q, ST_KEY_PARTS_DEL, r->id);
}

static int
key_clear(struct sql *q, const struct jrec *r UNUSED)
{
	int rc = run(q, ST_KEY_CLEAR);

	return rc == SQLITE_OK ? run(q, ST_KEY_PARTS_CLEAR) : rc;
}

static int
key_part_set(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_KEY_PART_SET];

	put_payload(s, 2, r->u.part.part);
	put_blob(s, 3, r->u.part.value);
	return run_id(q, ST_KEY_PART_SET, r->id);
}

static int
key_part_del(struct sql *q, const struct jrec *r)
{
	put_payload(q->st[ST_KEY_PART_DEL], 2, r->u.part.part);
	return run_id(q, ST_KEY_PART_DEL, r->id);
}

static int
limiter(struct sql *q, const struct jrec *r)
{
	sqlite3_stmt *s = q->st[ST_LIMITER];

	put_payload(s, 1, r->u.limiter.name);
	put_int(s, 2, r->u.limiter.until);
	put_payload(s, 3, r->u.limiter.windows);
	return run(q, ST_LIMITER);
}

static int
limiter_del(struct sql *q, const struct jrec *r)
{
	put_payload(q->st[ST_LIMITER_DEL], 1, r->u.limiter.name);
	return run(q, ST_LIMITER_DEL);
}

static int
limiters_old(struct sql *q, const struct jrec *r)
{
	return run_id(q, ST_LIMITERS_OLD, r->u.limiter.until);
}

static int
schedule(struct sql *q, const struct jrec *r)
{
	return sql_schedule_apply(q->schedules, r);
}

static int
nothing(struct sql *q UNUSED, const struct jrec *r UNUSED)
{
	return SQLITE_OK;
}

static int (*const apply[JR_KINDS])(struct sql *, const struct jrec *) = {
	[JR_VOID] = nothing,
	[JR_JOB_INSERT] = job_insert,
	[JR_JOB_SET] = job_set,
	[JR_JOB_FINISH] = job_finish,
	[JR_JOB_REVIVE] = job_revive,
	[JR_JOB_DELETE] = job_delete,
	[JR_JOB_PAYLOAD] = job_payload,
	[JR_JOB_PROGRESS] = job_progress,
	[JR_LEASE] = lease,
	[JR_LEASE_EXTEND] = lease_extend,
	[JR_LEASE_END] = lease_end,
	[JR_STEP] = step,
	[JR_STEPS_END] = steps_end,
	[JR_ERROR] = error_add,
	[JR_QUEUE] = queue,
	[JR_QUEUE_TOTALS] = queue_totals,
	[JR_CALLBACK] = callback,
	[JR_CALLBACK_DONE] = callback_done,
	[JR_NEXT_ID] = next_id,
	[JR_KEY_SET] = key_set,
	[JR_KEY_DEL] = key_del,
	[JR_KEY_CLEAR] = key_clear,
	[JR_KEY_PART_SET] = key_part_set,
	[JR_KEY_PART_DEL] = key_part_del,
	[JR_LIMITER] = limiter,
	[JR_LIMITER_DEL] = limiter_del,
	[JR_LIMITERS_OLD] = limiters_old,
	[JR_SCHEDULE] = schedule,
	[JR_SCHEDULE_TICK] = schedule,
	[JR_SCHEDULE_DELETE] = schedule,
};

int
sql_apply(struct sql *q, const struct jrec *r)
{
	CHECK(r->kind < JR_KINDS);
	return apply[r->kind](q, r);
}

int
sql_begin(struct sql *q)
{
	return run(q, ST_BEGIN);
}

int
sql_note_recovered(struct sql *q)
{
	return run(q, ST_NOTE_RECOVERED);
}

/* The sizes are asked inside the transaction, where that needs no lock. */
int
sql_commit(struct sql *q, int64_t *ret_pages, int64_t *ret_free)
{
	int64_t pages = 0;
	int64_t free_pages = 0;
	int rc;

	if (sqlite3_step(q->st[ST_PAGES]) == SQLITE_ROW)
		pages = sqlite3_column_int64(q->st[ST_PAGES], 0);
	sqlite3_reset(q->st[ST_PAGES]);
	if (sqlite3_step(q->st[ST_FREE]) == SQLITE_ROW)
		free_pages = sqlite3_column_int64(q->st[ST_FREE], 0);
	sqlite3_reset(q->st[ST_FREE]);
	rc = run(q, ST_COMMIT);
	if (rc == SQLITE_OK) {
		*ret_pages = pages;
		*ret_free = free_pages;
	}
	return rc;
}

/* Some failures have rolled back already. */
void
sql_rollback(struct sql *q)
{
	if (!sqlite3_get_autocommit(q->db))
		(void)run(q, ST_ROLLBACK);
}
