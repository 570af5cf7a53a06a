/* SPDX-License-Identifier: MIT */
#include "journal/writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/xalloc.h"
#include "ds/hist.h"
#include "journal/crashpoint.h"
#include "journal/db.h"
#include "journal/sql.h"
#include "journal/upkeep.h"
#include "rt/pulse.h"
#include "rt/thr.h"

struct writer {
	struct writer_config config;
	bool started;
	pthread_t thread;

	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t given;		/* for the thread: todo or stop */
	pthread_cond_t answered;	/* for main: done */
	struct batch *todo;
	struct batch *done;
	bool stop;
	struct journal_stats stats;
	struct hist latency_us;

	/* The thread's own. */
	sqlite3 *db;
	struct sql *sql;
	struct upkeep *upkeep;

	struct pulse pulse;
};

int
writer_new(struct writer **ret, sqlite3 *db, const struct writer_config *config,
    struct err *e)
{
	struct sql *sql;
	struct writer *w;
	pthread_condattr_t attr;

	if (sql_new(&sql, db, e) != 0)
		return -1;
	w = xcalloc(1, sizeof(*w));
	w->config = *config;
	w->db = db;
	w->sql = sql;
	w->upkeep = upkeep_new(db, config->dir, config->relaxed,
	    config->quiet_ms);
	upkeep_sizes(w->upkeep, &w->stats);
	CHECK(pthread_mutex_init(&w->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&w->given, &attr) == 0);
	CHECK(pthread_cond_init(&w->answered, NULL) == 0);
	CHECK(pthread_condattr_destroy(&attr) == 0);
	*ret = w;
	return 0;
}

static int
apply(struct writer *w, const struct batch *b)
{
	int64_t pages, free_pages;
	size_t i;
	int rc;

	crashpoint_pass(CRASH_BEGIN);
	rc = sql_begin(w->sql);
	for (i = 0; rc == SQLITE_OK && i < b->n; i++) {
		crashpoint_pass(CRASH_APPLY);
		rc = sql_apply(w->sql, &b->recs[i]);
	}
	/* A retry writes even when all of it was taken back: its success must
	 * prove that the disk works. */
	if (rc == SQLITE_OK && b->retry)
		rc = sql_note_recovered(w->sql);
	crashpoint_pass(CRASH_COMMIT_BEFORE);
	if (rc == SQLITE_OK)
		rc = sql_commit(w->sql, &pages, &free_pages);
	if (rc != SQLITE_OK)
		return rc;
	crashpoint_pass(CRASH_COMMIT_AFTER);
	upkeep_committed(w->upkeep, pages, free_pages, clock_mono_us());
	return SQLITE_OK;
}

/* One batch, one transaction; the answer is in b->err. */
static void
commit(struct writer *w, struct batch *b)
{
	int64_t start = clock_mono_us();
	int rc = apply(w, b);

	if (rc == SQLITE_OK) {
		b->err.code = BH_OK;
	} else {
		db_fail(&b->err, w->db, rc);
		sql_rollback(w->sql);
		upkeep_failed(w->upkeep,
		    b->err.code == BH_E_DISKFULL, clock_mono_us());
	}
	CHECK(pthread_mutex_lock(&w->lock) == 0);
	if (rc == SQLITE_OK) {
		w->stats.commits++;
		w->stats.rows += (int64_t)b->n;
		hist_add(&w->latency_us, clock_mono_us() - start);
	}
	upkeep_sizes(w->upkeep, &w->stats);
	w->done = b;
	CHECK(pthread_cond_signal(&w->answered) == 0);
	CHECK(pthread_mutex_unlock(&w->lock) == 0);
	w->config.wake(w->config.wake_arg);
}

static struct timespec
to_timespec(int64_t us)
{
	return (struct timespec){us / 1000000, us % 1000000 * 1000};
}

/* The next batch; NULL when upkeep is due at until_us, or to stop. */
static struct batch *
next_batch(struct writer *w, int64_t until_us, bool *ret_stop)
{
	struct timespec until = to_timespec(until_us);
	struct batch *b;

	CHECK(pthread_mutex_lock(&w->lock) == 0);
	while (!w->todo && !w->stop) {
		if (until_us == INT64_MAX)
			CHECK(pthread_cond_wait(&w->given, &w->lock) == 0);
		else if (pthread_cond_timedwait(&w->given, &w->lock,
		    &until) != 0)
			break;
	}
	b = w->todo;
	w->todo = NULL;
	*ret_stop = !b && w->stop;
	CHECK(pthread_mutex_unlock(&w->lock) == 0);
	return b;
}

static void *
run(void *arg)
{
	struct writer *w = arg;
	struct batch *b;
	bool stop = false;

	while (!stop) {
		pulse_rest(&w->pulse);
		b = next_batch(w, upkeep_next(w->upkeep), &stop);
		pulse_beat(&w->pulse);
		if (b)
			commit(w, b);
		if (upkeep_next(w->upkeep) > clock_mono_us())
			continue;
		pulse_beat(&w->pulse);
		upkeep_run(w->upkeep, clock_mono_us());
		CHECK(pthread_mutex_lock(&w->lock) == 0);
		upkeep_sizes(w->upkeep, &w->stats);
		CHECK(pthread_mutex_unlock(&w->lock) == 0);
	}
	pulse_rest(&w->pulse);
	return NULL;
}

void
writer_start(struct writer *w)
{
	CHECK(!w->started);
	thr_start(&w->thread, "bh-journal", run, w);
	w->started = true;
}

void
writer_stop(struct writer *w)
{
	if (w->started) {
		CHECK(pthread_mutex_lock(&w->lock) == 0);
		w->stop = true;
		CHECK(pthread_cond_signal(&w->given) == 0);
		CHECK(pthread_mutex_unlock(&w->lock) == 0);
		thr_join(w->thread);
	}
	w->started = false;
	upkeep_finish(w->upkeep);
}

void
writer_free(struct writer **w)
{
	if (!*w)
		return;
	CHECK(!(*w)->started && !(*w)->todo && !(*w)->done);
	upkeep_free(&(*w)->upkeep);
	sql_free(&(*w)->sql);
	CHECK(pthread_cond_destroy(&(*w)->given) == 0);
	CHECK(pthread_cond_destroy(&(*w)->answered) == 0);
	CHECK(pthread_mutex_destroy(&(*w)->lock) == 0);
	free(*w);
	*w = NULL;
}

void
writer_give(struct writer *w, struct batch *b)
{
	if (!w->started) {
		commit(w, b);
		return;
	}
	CHECK(pthread_mutex_lock(&w->lock) == 0);
	CHECK(!w->todo && !w->done);
	w->todo = b;
	CHECK(pthread_cond_signal(&w->given) == 0);
	CHECK(pthread_mutex_unlock(&w->lock) == 0);
}

struct batch *
writer_take(struct writer *w)
{
	struct batch *b;

	CHECK(pthread_mutex_lock(&w->lock) == 0);
	b = w->done;
	w->done = NULL;
	CHECK(pthread_mutex_unlock(&w->lock) == 0);
	return b;
}

struct batch *
writer_wait(struct writer *w)
{
	struct batch *b;

	CHECK(pthread_mutex_lock(&w->lock) == 0);
	while (!w->done)
		CHECK(pthread_cond_wait(&w->answered, &w->lock) == 0);
	b = w->done;
	w->done = NULL;
	CHECK(pthread_mutex_unlock(&w->lock) == 0);
	return b;
}

void
writer_stats(struct writer *w, struct journal_stats *ret)
{
	CHECK(pthread_mutex_lock(&w->lock) == 0);
	*ret = w->stats;
	ret->commit_p50_us = hist_quantile(&w->latency_us, 0.5);
	ret->commit_p99_us = hist_quantile(&w->latency_us, 0.99);
	CHECK(pthread_mutex_unlock(&w->lock) == 0);
}

int64_t
writer_busy_ms(const struct writer *w)
{
	return pulse_busy_ms(&w->pulse);
}
