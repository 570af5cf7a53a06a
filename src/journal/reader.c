/* SPDX-License-Identifier: MIT */
#include "journal/reader.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "journal/body.h"
#include "journal/db.h"
#include "rt/pulse.h"
#include "rt/thr.h"

enum stmt {
	ST_BEGIN,
	ST_END,
	ST_JOB,
	ST_ERRORS,
	ST_STEPS,
	/* Lists: forward, and then the same backward. */
	ST_LIVE,
	ST_LIVE_REVERSE,
	ST_FINISHED,
	ST_FINISHED_REVERSE,
	ST_FINGERPRINT,
	ST_FINGERPRINT_REVERSE,
	ST_COUNT
};

#define LIVE "SELECT " BODY_COLUMNS " FROM job WHERE state = 0 AND queue = ?1"
/* "state <> 0" is what lets the partial index serve it. */
#define FINISHED "SELECT " BODY_COLUMNS " FROM job WHERE state <> 0"          \
	" AND queue = ?1 AND state = ?4"
#define FINGERPRINT "SELECT " BODY_COLUMNS " FROM job WHERE state = 2"        \
	" AND queue = ?1 AND fingerprint = ?5"
#define FORWARD " AND id > ?2 ORDER BY id LIMIT ?3"
#define BACKWARD " AND id < ?2 ORDER BY id DESC LIMIT ?3"

static const char *const texts[ST_COUNT] = {
	[ST_BEGIN] = "BEGIN",
	[ST_END] = "COMMIT",
	[ST_JOB] = "SELECT " BODY_COLUMNS " FROM job WHERE id = ?1",
	[ST_ERRORS] = BODY_ERRORS,
	[ST_STEPS] = BODY_STEPS,
	[ST_LIVE] = LIVE FORWARD,
	[ST_LIVE_REVERSE] = LIVE BACKWARD,
	[ST_FINISHED] = FINISHED FORWARD,
	[ST_FINISHED_REVERSE] = FINISHED BACKWARD,
	[ST_FINGERPRINT] = FINGERPRINT FORWARD,
	[ST_FINGERPRINT_REVERSE] = FINGERPRINT BACKWARD,
};

struct reader {
	bool started;
	pthread_t thread;
	void (*wake)(void *arg);
	void *wake_arg;

	/* Under the lock; both lists end with NULL. */
	pthread_mutex_t lock;
	pthread_cond_t given;
	struct jread *todo, **todo_tail;
	struct jread *done, **done_tail;
	bool stop;

	/* The thread's own. */
	sqlite3 *db;
	sqlite3_stmt *st[ST_COUNT];

	struct pulse pulse;
};

/* Its pages are stale after each commit of the writer: a small cache is as
 * good as a big one. */
static int
prepare(struct reader *r, struct err *e)
{
	int rc = db_exec(r->db, "PRAGMA cache_size = -1024");
	int i;

	for (i = 0; rc == SQLITE_OK && i < ST_COUNT; i++)
		rc = db_prepare(r->db, texts[i], &r->st[i]);
	return rc == SQLITE_OK ? 0 : db_fail(e, r->db, rc);
}

int
reader_new(struct reader **ret, const char *path, const char *vfs,
    void (*wake)(void *arg), void *wake_arg, struct err *e)
{
	struct reader *r = xcalloc(1, sizeof(*r));

	r->wake = wake;
	r->wake_arg = wake_arg;
	r->todo_tail = &r->todo;
	r->done_tail = &r->done;
	CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
	CHECK(pthread_cond_init(&r->given, NULL) == 0);
	if (db_open(&r->db, path, SQLITE_OPEN_READONLY, vfs, e) != 0 ||
	    prepare(r, e) != 0) {
		reader_free(&r);
		return -1;
	}
	*ret = r;
	return 0;
}

/* Room for one more body. */
static void
add_body(struct jread *q, struct jbody *b, size_t *cap)
{
	if (q->nbodies == *cap) {
		*cap = *cap ? *cap * 2 : 16;
		q->bodies = xrealloc(q->bodies, *cap * sizeof(*q->bodies));
	}
	q->bodies[q->nbodies++] = b;
}

static int
read_jobs(struct reader *r, struct jread *q)
{
	sqlite3_stmt *s = r->st[ST_JOB];
	struct jbody *b;
	size_t cap = q->nids;
	size_t i;
	int rc = SQLITE_OK;

	q->bodies = xmalloc(cap * sizeof(*q->bodies));
	for (i = 0; rc == SQLITE_OK && i < q->nids; i++) {
		CHECK(sqlite3_bind_int64(s, 1, q->ids[i]) == SQLITE_OK);
		rc = sqlite3_step(s);
		b = NULL;
		if (rc == SQLITE_ROW)
			rc = body_row(s, q->errors ? r->st[ST_ERRORS] : NULL,
			    q->steps ? r->st[ST_STEPS] : NULL, &b);
		else if (rc == SQLITE_DONE) {
			b = body_missing(q->ids[i]);
			rc = SQLITE_OK;
		}
		if (b)
			add_body(q, b, &cap);
		sqlite3_reset(s);
	}
	return rc;
}

static sqlite3_stmt *
list_statement(struct reader *r, const struct jread *q)
{
	int back = q->reverse ? 1 : 0;
	int64_t from = q->cursor;
	sqlite3_stmt *s;

	if (q->state == JSTATE_LIVE)
		s = r->st[ST_LIVE + back];
	else if (q->state == JSTATE_FAILED && q->fingerprint != 0)
		s = r->st[ST_FINGERPRINT + back];
	else
		s = r->st[ST_FINISHED + back];
	if (q->reverse && from == 0)
		from = INT64_MAX;
	CHECK(sqlite3_bind_int64(s, 1, q->queue) == SQLITE_OK);
	CHECK(sqlite3_bind_int64(s, 2, from) == SQLITE_OK);
	CHECK(sqlite3_bind_int64(s, 3, q->count) == SQLITE_OK);
	/* Not every list has these two. */
	(void)sqlite3_bind_int64(s, 4, q->state);
	(void)sqlite3_bind_int64(s, 5, (int64_t)q->fingerprint);
	return s;
}

static int
read_list(struct reader *r, struct jread *q)
{
	sqlite3_stmt *s = list_statement(r, q);
	struct jbody *b;
	size_t cap = 0;
	int rc;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		rc = body_row(s, q->errors ? r->st[ST_ERRORS] : NULL,
		    q->steps ? r->st[ST_STEPS] : NULL, &b);
		if (rc != SQLITE_OK)
			break;
		add_body(q, b, &cap);
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int (*const readers[])(struct reader *, struct jread *) = {
	[JREAD_JOBS] = read_jobs,
	[JREAD_LIST] = read_list,
};

static void
fail(struct reader *r, struct jread *q, int rc)
{
	while (q->nbodies > 0)
		free(q->bodies[--q->nbodies]);
	db_fail(&q->err, r->db, rc);
	q->err.code = BH_E_IO;
}

static int
step_only(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Reads the whole chain in one snapshot. */
static void
read_all(struct reader *r, struct jread *first)
{
	struct jread *q;
	int began = step_only(r->st[ST_BEGIN]);
	int rc;

	for (q = first; q; q = q->next) {
		pulse_beat(&r->pulse);
		CHECK(q->kind < nitems(readers));
		rc = began == SQLITE_OK ? readers[q->kind](r, q) : began;
		if (rc != SQLITE_OK)
			fail(r, q, rc);
	}
	/* Nothing was written: a failing end cannot lose anything. */
	if (!sqlite3_get_autocommit(r->db))
		(void)step_only(r->st[ST_END]);
}

static void
post(struct reader *r, struct jread *first)
{
	struct jread **tail = &first->next;
	bool was_empty;

	while (*tail)
		tail = &(*tail)->next;
	CHECK(pthread_mutex_lock(&r->lock) == 0);
	was_empty = r->done == NULL;
	*r->done_tail = first;
	r->done_tail = tail;
	CHECK(pthread_mutex_unlock(&r->lock) == 0);
	if (was_empty)
		r->wake(r->wake_arg);
}

static void *
run(void *arg)
{
	struct reader *r = arg;
	struct jread *first = NULL;

	for (;;) {
		CHECK(pthread_mutex_lock(&r->lock) == 0);
		while (!r->todo && !r->stop)
			CHECK(pthread_cond_wait(&r->given, &r->lock) == 0);
		first = r->stop ? NULL : r->todo;
		if (first) {
			r->todo = NULL;
			r->todo_tail = &r->todo;
		}
		CHECK(pthread_mutex_unlock(&r->lock) == 0);
		if (!first)
			return NULL;
		read_all(r, first);
		pulse_rest(&r->pulse);
		post(r, first);
	}
}

void
reader_start(struct reader *r)
{
	CHECK(!r->started);
	thr_start(&r->thread, "bh-reader", run, r);
	r->started = true;
}

struct jread *
reader_stop(struct reader *r)
{
	struct jread *left;

	if (!r->started)
		return NULL;
	CHECK(pthread_mutex_lock(&r->lock) == 0);
	r->stop = true;
	CHECK(pthread_cond_signal(&r->given) == 0);
	CHECK(pthread_mutex_unlock(&r->lock) == 0);
	thr_join(r->thread);
	r->started = false;
	left = r->todo;
	r->todo = NULL;
	r->todo_tail = &r->todo;
	return left;
}

void
reader_free(struct reader **r)
{
	int i;

	if (!*r)
		return;
	CHECK(!(*r)->started && !(*r)->todo && !(*r)->done);
	for (i = 0; i < ST_COUNT; i++)
		sqlite3_finalize((*r)->st[i]);
	if ((*r)->db)
		db_close(&(*r)->db);
	CHECK(pthread_cond_destroy(&(*r)->given) == 0);
	CHECK(pthread_mutex_destroy(&(*r)->lock) == 0);
	free(*r);
	*r = NULL;
}

void
reader_give(struct reader *r, struct jread *first)
{
	struct jread **tail = &first->next;

	while (*tail)
		tail = &(*tail)->next;
	CHECK(pthread_mutex_lock(&r->lock) == 0);
	*r->todo_tail = first;
	r->todo_tail = tail;
	CHECK(pthread_cond_signal(&r->given) == 0);
	CHECK(pthread_mutex_unlock(&r->lock) == 0);
}

struct jread *
reader_take(struct reader *r)
{
	struct jread *first;

	CHECK(pthread_mutex_lock(&r->lock) == 0);
	first = r->done;
	r->done = NULL;
	r->done_tail = &r->done;
	CHECK(pthread_mutex_unlock(&r->lock) == 0);
	return first;
}

int64_t
reader_busy_ms(const struct reader *r)
{
	return pulse_busy_ms(&r->pulse);
}
