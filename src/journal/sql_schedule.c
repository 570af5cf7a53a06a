/* SPDX-License-Identifier: MIT */
#include "journal/sql_schedule.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "journal/bind.h"
#include "journal/db.h"

enum stmt {
	ST_ROW,
	ST_STATE,
	ST_TICK,
	ST_TICK_TRIM,
	ST_FORGET_TICKS,
	ST_FORGET_STATE,
	ST_FORGET_ROW,
	ST_COUNT
};

static const char *const texts[ST_COUNT] = {
	[ST_ROW] =
	    "INSERT OR REPLACE INTO schedule (id, name, owner, queue, cron,"
	    " zone, every_ms, misfire, overlap, created_at, payload, priority,"
	    " delay_ms, expires_ms, attempts, timeout_ms, backoff_type,"
	    " backoff_ms, backoff_max_ms, backoff_factor, backoff_jitter,"
	    " group_key, unique_key, unique_ttl_ms, unique_mode, lease_ms,"
	    " max_stalled, retain_ms)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
	    " ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25,"
	    " ?26, ?27, ?28)",
	[ST_STATE] =
	    "INSERT OR REPLACE INTO schedule_state (id, next_at, after_at,"
	    " seen_at, job) VALUES (?1, ?2, ?3, ?4, ?5)",
	[ST_TICK] =
	    "INSERT OR REPLACE INTO tick (schedule, n, due, at, outcome, job)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[ST_TICK_TRIM] = "DELETE FROM tick WHERE schedule = ?1 AND n <= ?2",
	[ST_FORGET_TICKS] = "DELETE FROM tick WHERE schedule = ?1",
	[ST_FORGET_STATE] = "DELETE FROM schedule_state WHERE id = ?1",
	[ST_FORGET_ROW] = "DELETE FROM schedule WHERE id = ?1",
};

struct sql_schedule {
	sqlite3_stmt *st[ST_COUNT];
};

int
sql_schedule_new(struct sql_schedule **ret, sqlite3 *db, struct err *e)
{
	struct sql_schedule *q = xcalloc(1, sizeof(*q));

	for (int i = 0; i < ST_COUNT; i++) {
		int rc = db_prepare(db, texts[i], &q->st[i]);

		if (rc != SQLITE_OK) {
			db_fail(e, db, rc);
			sql_schedule_free(&q);
			return -1;
		}
	}
	*ret = q;
	return 0;
}

void
sql_schedule_free(struct sql_schedule **q)
{
	if (!*q)
		return;
	for (int i = 0; i < ST_COUNT; i++)
		sqlite3_finalize((*q)->st[i]);
	free(*q);
	*q = NULL;
}

static int
run_id(struct sql_schedule *q, enum stmt n, int64_t id)
{
	put_int(q->st[n], 1, id);
	return db_step(q->st[n]);
}

static int
put_state(struct sql_schedule *q, int64_t id,
    const struct jschedule_state *state)
{
	sqlite3_stmt *s = q->st[ST_STATE];

	put_opt(s, 2, state->next_at, 0);
	put_int(s, 3, state->after_at);
	put_int(s, 4, state->seen_at);
	put_opt(s, 5, state->job, 0);
	return run_id(q, ST_STATE, id);
}

static void
put_opts(sqlite3_stmt *s, const struct bh_job_opts *o)
{
	put_opt(s, 12, o->priority, -1);
	put_opt(s, 13, o->delay_ms, -1);
	put_opt(s, 14, o->expires_ms, -1);
	put_opt(s, 15, o->attempts, -1);
	put_opt(s, 16, o->timeout_ms, -1);
	put_opt(s, 17, o->backoff_type, -1);
	put_opt(s, 18, o->backoff_ms, -1);
	put_opt(s, 19, o->backoff_max_ms, -1);
	put_real(s, 20, o->backoff_factor);
	put_real(s, 21, o->backoff_jitter);
	put_name(s, 22, o->group);
	put_name(s, 23, o->unique);
	put_opt(s, 24, o->unique_ttl_ms, -1);
	put_opt(s, 25, o->unique_mode, -1);
	put_opt(s, 26, o->lease_ms, -1);
	put_opt(s, 27, o->max_stalled, -1);
	put_opt(s, 28, o->retain_ms, -1);
}

static int
put_row(struct sql_schedule *q, const struct jrec *r)
{
	const struct bh_schedule *row = r->u.schedule.row;
	sqlite3_stmt *s = q->st[ST_ROW];
	int rc;

	put_text(s, 2, row->name);
	put_name(s, 3, row->owner);
	put_text(s, 4, row->queue);
	put_name(s, 5, row->cron);
	put_name(s, 6, row->zone);
	put_opt(s, 7, row->every_ms, 0);
	put_int(s, 8, row->misfire);
	put_int(s, 9, row->overlap);
	put_int(s, 10, row->created_at);
	put_payload(s, 11, row->payload);
	put_opts(s, &row->opts);
	rc = run_id(q, ST_ROW, r->id);
	if (rc == SQLITE_OK && r->u.schedule.fresh)
		rc = run_id(q, ST_FORGET_TICKS, r->id);
	if (rc == SQLITE_OK)
		rc = put_state(q, r->id, &r->u.schedule.state);
	return rc;
}

static int
put_tick(struct sql_schedule *q, const struct jrec *r)
{
	const struct bh_tick *t = &r->u.tick.tick;
	sqlite3_stmt *s = q->st[ST_TICK];
	int rc = put_state(q, r->id, &r->u.tick.state);

	put_int(s, 2, r->u.tick.n);
	put_int(s, 3, t->due);
	put_int(s, 4, t->at);
	put_int(s, 5, t->outcome);
	put_opt(s, 6, t->job, 0);
	if (rc == SQLITE_OK)
		rc = run_id(q, ST_TICK, r->id);
	put_int(q->st[ST_TICK_TRIM], 2, r->u.tick.n - JSCHEDULE_TICKS);
	if (rc == SQLITE_OK)
		rc = run_id(q, ST_TICK_TRIM, r->id);
	return rc;
}

static int
forget(struct sql_schedule *q, int64_t id)
{
	int rc = run_id(q, ST_FORGET_TICKS, id);

	if (rc == SQLITE_OK)
		rc = run_id(q, ST_FORGET_STATE, id);
	if (rc == SQLITE_OK)
		rc = run_id(q, ST_FORGET_ROW, id);
	return rc;
}

int
sql_schedule_apply(struct sql_schedule *q, const struct jrec *r)
{
	if (r->kind == JR_SCHEDULE)
		return put_row(q, r);
	if (r->kind == JR_SCHEDULE_TICK)
		return put_tick(q, r);
	return forget(q, r->id);
}
