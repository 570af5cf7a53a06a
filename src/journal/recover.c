/* SPDX-License-Identifier: MIT */
#include "journal/recover.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "journal/batch.h"
#include "journal/body.h"
#include "journal/db.h"

/* One pass of recovery: each row of a statement goes to a function. */
struct pass {
	sqlite3 *db;
	const struct jvisitor *v;
	void *arg;
	struct err *e;
	sqlite3_stmt *steps;		/* of one job */
	int64_t *queues;		/* ascending ids */
	size_t nqueues;
	int64_t last_id;		/* of the jobs */
	int64_t last_queue;		/* known to exist */
};

typedef int row_fn(struct pass *p, sqlite3_stmt *s);

static struct bh_bytes
text(sqlite3_stmt *s, int at)
{
	struct bh_bytes v = {0};

	if (sqlite3_column_type(s, at) == SQLITE_NULL)
		return v;
	v.data = sqlite3_column_blob(s, at);
	v.len = (size_t)sqlite3_column_bytes(s, at);
	if (!v.data)		/* SQLite's empty string has no address */
		v.data = "";
	return v;
}

static int64_t
opt(sqlite3_stmt *s, int at)
{
	return sqlite3_column_type(s, at) == SQLITE_NULL ? -1 :
	    sqlite3_column_int64(s, at);
}

static int
damaged(struct pass *p, int64_t id, const char *what)
{
	return err_set(p->e, BH_E_IO, "%s: the database is damaged (job %lld: "
	    "%s); keep the file and restore a backup: bellhopctl restore FILE",
	    sqlite3_db_filename(p->db, "main"), (long long)id, what);
}

/* Gives each row to fn. Returns 0, or -1 with a sentence. */
static int
each(struct pass *p, const char *sql, row_fn *fn)
{
	sqlite3_stmt *s = NULL;
	int ret = 0;
	int rc = sqlite3_prepare_v2(p->db, sql, -1, &s, NULL);

	if (rc == SQLITE_OK)
		while (ret == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW)
			ret = fn(p, s);
	if (ret == 0 && rc != SQLITE_DONE)
		ret = db_fail(p->e, p->db, rc);
	sqlite3_finalize(s);
	return ret;
}

static int
on_next_id(struct pass *p, sqlite3_stmt *s)
{
	p->v->next_id(p->arg, sqlite3_column_int64(s, 0));
	return 0;
}

static int
on_queue(struct pass *p, sqlite3_stmt *s)
{
	struct jqueue_row q = {
	    .id = sqlite3_column_int64(s, 0),
	    .name = text(s, 1),
	    .paused_at = sqlite3_column_int64(s, 2),
	    .paused_by = text(s, 3),
	    .held_until = sqlite3_column_int64(s, 4),
	    .held_reason = text(s, 5),
	    .processed = sqlite3_column_int64(s, 6),
	    .failed = sqlite3_column_int64(s, 7),
	    .stalled = sqlite3_column_int64(s, 8),
	};

	if (p->nqueues % 64 == 0)
		p->queues = xrealloc(p->queues,
		    (p->nqueues + 64) * sizeof(*p->queues));
	p->queues[p->nqueues++] = q.id;
	p->v->queue(p->arg, &q);
	return 0;
}

static bool
queue_exists(struct pass *p, int64_t queue)
{
	if (queue == p->last_queue)
		return true;
	if (!bsearch(&queue, p->queues, p->nqueues, sizeof(queue),
	    batch_id_cmp))
		return false;
	p->last_queue = queue;
	return true;
}

static int
on_job(struct pass *p, sqlite3_stmt *s)
{
	struct jjob_row j = {
	    .id = sqlite3_column_int64(s, 0),
	    .queue = sqlite3_column_int64(s, 1),
	    .state = (uint8_t)sqlite3_column_int(s, 2),
	    .priority = (int8_t)opt(s, 3),
	    .attempt = sqlite3_column_int(s, 4),
	    .error_count = sqlite3_column_int(s, 5),
	    .stalled = sqlite3_column_int(s, 6),
	    .wall = sqlite3_column_int(s, 7) != 0,
	    .run_at = sqlite3_column_int64(s, 8),
	    .line_at = sqlite3_column_int64(s, 9),
	    .expires_at = sqlite3_column_int64(s, 10),
	    .finished_at = sqlite3_column_int64(s, 11),
	    .unique_until = sqlite3_column_int64(s, 12),
	    .after = sqlite3_column_int64(s, 13),
	    .retain_ms = opt(s, 14),
	    .fingerprint = (uint64_t)sqlite3_column_int64(s, 15),
	    .group = text(s, 16),
	    .unique = text(s, 17),
	    .created_at = sqlite3_column_int64(s, 18),
	    .started_at = sqlite3_column_int64(s, 19),
	};

	/* What a scan sees for nothing of a tree that is out of order. */
	if (j.id <= p->last_id)
		return damaged(p, j.id, "out of order");
	if (!queue_exists(p, j.queue))
		return damaged(p, j.id, "its queue does not exist");
	p->last_id = j.id;
	p->v->job(p->arg, &j);
	return 0;
}

static int
on_lease(struct pass *p, sqlite3_stmt *s)
{
	struct jlease_row l = {
	    .id = sqlite3_column_int64(s, 0),
	    .attempt = sqlite3_column_int(s, 1),
	    .token = (uint64_t)sqlite3_column_int64(s, 2),
	    .handler = sqlite3_column_int(s, 3) != 0,
	    .started_at = sqlite3_column_int64(s, 4),
	    .until = sqlite3_column_int64(s, 5),
	    .worker = text(s, 6),
	    .lease_ms = opt(s, 7),
	    .max_stalled = (int32_t)opt(s, 8),
	};

	if (sqlite3_column_type(s, 9) == SQLITE_NULL)
		return damaged(p, l.id, "leased, but it does not exist");
	if (sqlite3_column_int(s, 9) != JSTATE_LIVE)
		return damaged(p, l.id, "leased, but it has ended");
	p->v->lease(p->arg, &l);
	return 0;
}

static int
on_body(struct pass *p, sqlite3_stmt *s)
{
	struct jbody *b;

	if (body_row(s, NULL, p->steps, &b) != SQLITE_OK)
		return damaged(p, sqlite3_column_int64(s, 0),
		    "it cannot be read");
	p->v->body(p->arg, b);
	return 0;
}

static int
on_callback(struct pass *p, sqlite3_stmt *s)
{
	struct bh_callback c = {
	    .id = sqlite3_column_int64(s, 0),
	    .kind = (enum bh_callback_kind)sqlite3_column_int(s, 2),
	    .job = sqlite3_column_int64(s, 3),
	    .attempt = sqlite3_column_int(s, 4),
	    .payload = text(s, 5),
	    .result = text(s, 6),
	    .error = text(s, 7),
	};

	p->v->callback(p->arg, sqlite3_column_int64(s, 1), &c);
	return 0;
}

static int
on_history(struct pass *p, sqlite3_stmt *s)
{
	p->v->history(p->arg, sqlite3_column_int64(s, 0));
	return 0;
}

static int
on_steps(struct pass *p, sqlite3_stmt *s)
{
	p->v->steps(p->arg, sqlite3_column_int64(s, 0));
	return 0;
}

static int
on_key(struct pass *p, sqlite3_stmt *s)
{
	struct jkey_row k = {
	    .id = sqlite3_column_int64(s, 0),
	    .type = (uint8_t)sqlite3_column_int(s, 1),
	    .expires_at = sqlite3_column_int64(s, 2),
	    .name = text(s, 3),
	    .value = text(s, 4),
	};

	p->v->key(p->arg, &k);
	return 0;
}

static int
on_key_part(struct pass *p, sqlite3_stmt *s)
{
	struct jkey_part_row k = {
	    .id = sqlite3_column_int64(s, 0),
	    .part = text(s, 1),
	    .value = text(s, 2),
	};

	p->v->key_part(p->arg, &k);
	return 0;
}

static int
on_limiter(struct pass *p, sqlite3_stmt *s)
{
	struct jlimiter_row l = {.name = text(s, 0), .windows = text(s, 1)};

	p->v->limiter(p->arg, &l);
	return 0;
}

static double
real(sqlite3_stmt *s, int at)
{
	return sqlite3_column_type(s, at) == SQLITE_NULL ? -1 :
	    sqlite3_column_double(s, at);
}

/* Options from column at on, in the order of OPTS. */
static struct bh_job_opts
job_opts(sqlite3_stmt *s, int at)
{
	struct bh_job_opts o;

	bh_job_opts_init(&o);
	o.delay_ms = opt(s, at);
	o.expires_ms = opt(s, at + 1);
	o.timeout_ms = opt(s, at + 2);
	o.lease_ms = opt(s, at + 3);
	o.retain_ms = opt(s, at + 4);
	o.unique_ttl_ms = opt(s, at + 5);
	o.backoff_ms = opt(s, at + 6);
	o.backoff_max_ms = opt(s, at + 7);
	o.backoff_factor = real(s, at + 8);
	o.backoff_jitter = real(s, at + 9);
	o.attempts = (int32_t)opt(s, at + 10);
	o.max_stalled = (int32_t)opt(s, at + 11);
	o.priority = (int8_t)opt(s, at + 12);
	o.backoff_type = (int8_t)opt(s, at + 13);
	o.unique_mode = (int8_t)opt(s, at + 14);
	o.group = text(s, at + 15);
	o.unique = text(s, at + 16);
	return o;
}

#define OPTS "delay_ms, expires_ms, timeout_ms, lease_ms, retain_ms,"        \
	" unique_ttl_ms, backoff_ms, backoff_max_ms, backoff_factor,"        \
	" backoff_jitter, attempts, max_stalled, priority, backoff_type,"    \
	" unique_mode, group_key, unique_key"

static int
on_schedule(struct pass *p, sqlite3_stmt *s)
{
	struct bh_schedule row = {
	    .name = text(s, 1),
	    .owner = text(s, 2),
	    .queue = text(s, 3),
	    .cron = text(s, 4),
	    .zone = text(s, 5),
	    .every_ms = sqlite3_column_int64(s, 6),
	    .misfire = (enum bh_misfire)sqlite3_column_int(s, 7),
	    .overlap = (enum bh_overlap)sqlite3_column_int(s, 8),
	    .created_at = sqlite3_column_int64(s, 9),
	    .payload = text(s, 14),
	    .opts = job_opts(s, 15),
	};
	struct jschedule_state state = {
	    .next_at = sqlite3_column_int64(s, 10),
	    .after_at = sqlite3_column_int64(s, 11),
	    .seen_at = sqlite3_column_int64(s, 12),
	    .job = sqlite3_column_int64(s, 13),
	};

	p->v->schedule(p->arg, sqlite3_column_int64(s, 0), &row, &state);
	return 0;
}

static int
on_tick(struct pass *p, sqlite3_stmt *s)
{
	struct bh_tick t = {
	    .due = sqlite3_column_int64(s, 2),
	    .at = sqlite3_column_int64(s, 3),
	    .outcome = (enum bh_tick_outcome)sqlite3_column_int(s, 4),
	    .job = sqlite3_column_int64(s, 5),
	};

	p->v->tick(p->arg, sqlite3_column_int64(s, 0),
	    sqlite3_column_int64(s, 1), &t);
	return 0;
}

/* The function of a visitor that gets the rows of a pass. */
#define FOR(name) offsetof(struct jvisitor, name)

static const struct {
	const char *sql;
	row_fn *fn;
	size_t member;			/* of the visitor */
} passes[] = {
	{"SELECT max(next_id, ifnull((SELECT max(id) FROM job), 0) + 1)"
	    " FROM meta", on_next_id, FOR(next_id)},
	{"SELECT id, name, paused_at, paused_by, held_until, held_reason,"
	    " processed, failed, stalled FROM queue ORDER BY id", on_queue, FOR(queue)},
	/* Columns in the order of the row, so that each is decoded once. */
	{"SELECT id, queue, state, priority, attempt, error_count, stalled,"
	    " wall, run_at, line_at, expires_at, finished_at, unique_until,"
	    " follows, retain_ms, fingerprint, group_key, unique_key,"
	    " created_at, started_at"
	    " FROM job NOT INDEXED ORDER BY id", on_job, FOR(job)},
	{"SELECT l.id, l.attempt, l.token, l.handler, l.started_at, l.until,"
	    " l.worker, j.lease_ms, j.max_stalled, j.state"
	    " FROM lease AS l LEFT JOIN job AS j ON j.id = l.id ORDER BY l.id",
	    on_lease, FOR(lease)},
	{"SELECT " BODY_COLUMNS " FROM job WHERE id IN (SELECT id FROM lease)",
	    on_body, FOR(body)},
	{"SELECT id, queue, kind, job, attempt, payload, result, error"
	    " FROM callback ORDER BY id", on_callback, FOR(callback)},
	{"SELECT DISTINCT job FROM error", on_history, FOR(history)},
	{"SELECT DISTINCT job FROM step", on_steps, FOR(steps)},
	{"SELECT id, type, expires_at, name, value FROM key ORDER BY id",
	    on_key, FOR(key)},
	{"SELECT key, part, value FROM key_part ORDER BY key, part",
	    on_key_part, FOR(key_part)},
	{"SELECT name, windows FROM limiter", on_limiter, FOR(limiter)},
	{"SELECT s.id, name, owner, queue, cron, zone, every_ms, misfire,"
	    " overlap, created_at, next_at, after_at, seen_at, job, payload, "
	    OPTS " FROM schedule AS s JOIN schedule_state AS t"
	    " ON t.id = s.id ORDER BY name", on_schedule, FOR(schedule)},
	{"SELECT schedule, n, due, at, outcome, job FROM tick"
	    " ORDER BY schedule, n", on_tick, FOR(tick)},
};

int
recover_all(sqlite3 *db, const struct jvisitor *v, void *arg, struct err *e)
{
	struct pass p = {.db = db, .v = v, .arg = arg, .e = e};
	size_t i;
	int ret = 0;
	int rc = sqlite3_prepare_v2(db, BODY_STEPS, -1, &p.steps, NULL);

	if (rc != SQLITE_OK)
		return db_fail(e, db, rc);
	for (i = 0; ret == 0 && i < nitems(passes); i++)
		if (*(void (*const *)(void))((const char *)v +
		    passes[i].member))
			ret = each(&p, passes[i].sql, passes[i].fn);
	sqlite3_finalize(p.steps);
	free(p.queues);
	return ret;
}
