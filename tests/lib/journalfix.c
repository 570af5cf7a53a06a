/* SPDX-License-Identifier: MIT */
#include "lib/journalfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/xalloc.h"
#include "lib/faultvfs.h"

#define T0 1790000000000		/* some wall time */

static void
wake(void *arg)
{
	struct journalfix *f = arg;

	pthread_mutex_lock(&f->lock);
	f->wake = true;
	pthread_cond_signal(&f->woken);
	pthread_mutex_unlock(&f->lock);
}

static void
release(void *owner)
{
	((struct journalfix_owner *)owner)->released++;
}

int
journalfix_setup_closed(void **state)
{
	struct journalfix *f = xcalloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/bellhop-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->woken, NULL);
	f->config = (struct journal_config){.dir = f->dir, .wake = wake,
	    .wake_arg = f, .release = release};
	*state = f;
	return 0;
}

static void
add_queue(struct journalfix *f)
{
	struct jrec r = {.kind = JR_QUEUE, .id = 1};

	r.u.queue.name = journalfix_bytes("default");
	journal_append(f->j, &r);
	journalfix_settle(f);
}

int
journalfix_setup(void **state)
{
	journalfix_setup_closed(state);
	journalfix_open(*state);
	add_queue(*state);
	return 0;
}

int
journalfix_setup_fault(void **state)
{
	struct journalfix *f;

	faultvfs_register();
	faultvfs_reset();
	journalfix_setup_closed(state);
	f = *state;
	f->config.vfs = "fault";
	journalfix_open(f);
	add_queue(f);
	return 0;
}

int
journalfix_teardown(void **state)
{
	static const char *const names[] = {"bellhop.db", "bellhop.db-wal",
	    "bellhop.db-shm", "bellhop.lock", "bellhop.spare", NULL};
	struct journalfix *f = *state;
	char path[128];
	int i;

	if (f->config.vfs)
		faultvfs_reset();
	journal_close(&f->j);
	for (i = 0; names[i]; i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	pthread_cond_destroy(&f->woken);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

void
journalfix_open(struct journalfix *f)
{
	struct err e = ERR_INIT;

	if (journal_open(&f->j, &f->config, &e) != 0)
		fail_msg("%s", e.text);
	journal_start(f->j);
}

void
journalfix_close(struct journalfix *f)
{
	journal_close(&f->j);
	assert_null(f->j);
}

void
journalfix_refused(struct journalfix *f, const char *part)
{
	struct err e = ERR_INIT;

	assert_int_equal(journal_open(&f->j, &f->config, &e), -1);
	assert_null(f->j);
	assert_true(e.code != BH_OK);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
}

void
journalfix_wait(struct journalfix *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->wake)
		pthread_cond_wait(&f->woken, &f->lock);
	f->wake = false;
	pthread_mutex_unlock(&f->lock);
}

void
journalfix_settle(struct journalfix *f)
{
	for (;;) {
		journal_take(f->j, f->mono_ms);
		journal_kick(f->j);
		if (journal_failure(f->j))
			fail_msg("%s", journal_failure(f->j)->text);
		if (journal_durable(f->j) == journal_last(f->j))
			return;
		journalfix_wait(f);
	}
}

void
journalfix_until_failure(struct journalfix *f)
{
	for (;;) {
		journal_take(f->j, f->mono_ms);
		journal_kick(f->j);
		if (journal_failure(f->j))
			return;
		assert_true(journal_durable(f->j) < journal_last(f->j));
		journalfix_wait(f);
	}
}

void
journalfix_done(struct jread *r)
{
	struct journalfix_answer *a = r->user;
	size_t i;

	assert_false(a->done);
	assert_true(r->nbodies <= sizeof(a->bodies) / sizeof(*a->bodies));
	a->done = true;
	a->n = r->nbodies;
	for (i = 0; i < r->nbodies; i++)
		a->bodies[i] = r->bodies[i];
}

void
journalfix_read(struct journalfix *f, struct jread *r)
{
	struct journalfix_answer *a = r->user;

	journal_read(f->j, r);
	assert_false(a->done);
	for (;;) {
		journal_take(f->j, f->mono_ms);
		journal_kick(f->j);
		if (a->done)
			return;
		journalfix_wait(f);
	}
}

void
journalfix_answer_free(struct journalfix_answer *a)
{
	while (a->n > 0)
		free(a->bodies[--a->n]);
	a->done = false;
}

static sqlite3 *
look(struct journalfix *f, int flags)
{
	sqlite3 *db = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/bellhop.db", f->dir);
	assert_int_equal(sqlite3_open_v2(path, &db, flags, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	return db;
}

const char *
journalfix_text(struct journalfix *f, const char *sql)
{
	sqlite3 *db = look(f, SQLITE_OPEN_READWRITE);
	sqlite3_stmt *s = NULL;
	const char *v;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	v = (const char *)sqlite3_column_text(s, 0);
	snprintf(f->text, sizeof(f->text), "%s", v ? v : "NULL");
	sqlite3_finalize(s);
	sqlite3_close(db);
	return f->text;
}

int64_t
journalfix_int(struct journalfix *f, const char *sql)
{
	return strtoll(journalfix_text(f, sql), NULL, 10);
}

int
journalfix_exec(struct journalfix *f, const char *sql)
{
	sqlite3 *db = look(f, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	sqlite3_close(db);
	return rc;
}

struct bh_bytes
journalfix_bytes(const char *s)
{
	return (struct bh_bytes){s, s ? strlen(s) : 0};
}

uint64_t
journalfix_job(struct journalfix *f, int64_t id, const char *payload)
{
	struct jrec r = {.kind = JR_JOB_INSERT, .id = id};
	struct bh_job_opts o;

	bh_job_opts_init(&o);
	r.u.insert.queue = 1;
	r.u.insert.created_at = r.u.insert.run_at = T0;
	r.u.insert.opts = &o;
	r.u.insert.payload = journalfix_bytes(payload);
	return journal_append(f->j, &r);
}

uint64_t
journalfix_lease(struct journalfix *f, int64_t id, int attempt)
{
	struct jrec r = {.kind = JR_LEASE, .id = id};

	r.u.lease.attempt = attempt;
	r.u.lease.token = UINT64_MAX - (uint64_t)id;
	r.u.lease.started_at = T0 + 1;
	r.u.lease.until = T0 + 30000;
	r.u.lease.worker = journalfix_bytes("worker-a");
	return journal_append(f->j, &r);
}

uint64_t
journalfix_simple(struct journalfix *f, int kind, int64_t id)
{
	struct jrec r = {.kind = (uint8_t)kind, .id = id};

	return journal_append(f->j, &r);
}

uint64_t
journalfix_finish(struct journalfix *f, int64_t id, int state,
    uint64_t fingerprint, const char *text)
{
	struct jrec r = {.kind = JR_JOB_FINISH, .id = id};

	r.u.finish.state = (uint8_t)state;
	r.u.finish.started_at = T0 + 1;
	r.u.finish.finished_at = T0 + id;
	r.u.finish.attempt = 1;
	r.u.finish.fingerprint = fingerprint;
	if (state == JSTATE_FAILED)
		r.u.finish.error = journalfix_bytes(text);
	else
		r.u.finish.result = journalfix_bytes(text);
	return journal_append(f->j, &r);
}

uint64_t
journalfix_error(struct journalfix *f, int64_t id, int n, const char *message)
{
	struct jrec r = {.kind = JR_ERROR, .id = id};

	r.u.error.n = n;
	r.u.error.attempt = n;
	r.u.error.at = T0 + n;
	r.u.error.message = journalfix_bytes(message);
	r.u.error.version = journalfix_bytes("v1");
	return journal_append(f->j, &r);
}
