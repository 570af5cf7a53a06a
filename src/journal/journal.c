/* SPDX-License-Identifier: MIT */
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "journal/batch.h"
#include "journal/crashpoint.h"
#include "journal/db.h"
#include "journal/ferry_sql.h"
#include "journal/lock.h"
#include "journal/reader.h"
#include "journal/recover.h"
#include "journal/schema.h"
#include "journal/writer.h"

#define RETRY_MS 1000
/* A writer at work is more patient than one that starts. */
#define BUSY_MS 5000
/* Enough for the inner pages of a tree with a million rows and the hot ends
 * of it; see schema.sql for what is hot. */
#define CACHE_BYTES (8 * 1024 * 1024)
#define RECOVER_CACHE_BYTES (1024 * 1024)
#define RECOVER_STEPS 1000000		/* of SQLite, between two calls */
/* What the WAL's file keeps when it starts at the front again: twice what
 * upkeep.c lets it grow to, so that only a held-up one is cut. */
#define WAL_LIMIT_BYTES (32 * 1024 * 1024)

/*
 * Where a batch is:
 *
 *     open ──kick──► flight ──committed──► empty, becomes the next open
 *                      │ ▲
 *               failed │ │ journal_take(), a second later
 *                      ▼ │
 *                    failed (failure is set, open gathers on)
 *
 * Invariants:
 * 1. durable < the first LSN of failed or flight < those of open.
 * 2. At most one of the two batches is with the writer (flight).
 * 3. While failure is set, the failed batch goes first, alone.
 */
struct journal {
	struct journal_config config;
	char *dir, *path;
	int lock_fd;
	sqlite3 *db;			/* the writer's once started */
	struct writer *writer;
	struct reader *reader;
	bool started;

	struct batch batches[2];
	struct batch *open;
	struct batch *flight;		/* NULL: the writer is idle */
	struct batch *failed;
	struct err failure;
	int64_t retry_at;		/* mono ms */
	uint64_t last, durable;

	/* Jobs to take back: not yet marked in the batches. */
	int64_t *voids;
	size_t nvoids, voids_cap;

	/* Reads that wait for what they must see, in order. */
	struct jread *held, **held_tail;
};

static int
check_dir(const char *dir, struct err *e)
{
	struct stat st;

	if (stat(dir, &st) != 0)
		return errno == ENOENT ?
		    err_set(e, BH_E_IO, "state_dir \"%s\": does not exist; "
		    "create it, writable for user id %d", dir,
		    (int)geteuid()) :
		    err_set(e, BH_E_IO, "state_dir \"%s\": %s", dir,
		    strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, BH_E_IO, "state_dir \"%s\": not a directory",
		    dir);
	if (access(dir, R_OK | W_OK | X_OK) != 0)
		return errno == EROFS ?
		    err_set(e, BH_E_IO, "state_dir \"%s\": on a read-only "
		    "file system; mount it writable, or choose another",
		    dir) :
		    err_set(e, BH_E_IO, "state_dir \"%s\": not writable for "
		    "user id %d; change its owner or mode", dir,
		    (int)geteuid());
	return 0;
}

/* Payloads are nobody else's business: the file is made before SQLite would,
 * which gives the WAL the same mode. */
static int
check_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0)
		return err_set(e, errno == ENOSPC ? BH_E_DISKFULL : BH_E_IO,
		    "%s: %s; the daemon must be able to read and write it",
		    path, strerror(errno));
	close(fd);
	return 0;
}

static int
set_pragma(struct journal *j, const char *name, int64_t value, struct err *e)
{
	char sql[80];
	int rc;

	snprintf(sql, sizeof(sql), "PRAGMA %s = %lld", name, (long long)value);
	rc = db_exec(j->db, sql);
	return rc == SQLITE_OK ? 0 : db_fail(e, j->db, rc);
}

static int
set_cache(struct journal *j, int64_t bytes, struct err *e)
{
	return set_pragma(j, "cache_size", -bytes / 1024, e);
}

/* In this order; journal_mode answers with a row, which db_exec() drops. */
static int
tune(struct journal *j, struct err *e)
{
	int rc = db_exec(j->db, "PRAGMA journal_mode = WAL;"
	    "PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY");

	if (rc != SQLITE_OK)
		return db_fail(e, j->db, rc);
	CHECK(sqlite3_busy_timeout(j->db, BUSY_MS) == SQLITE_OK);
	if (set_pragma(j, "synchronous", j->config.relaxed ? 1 : 2, e) != 0 ||
	    set_pragma(j, "journal_size_limit", WAL_LIMIT_BYTES, e) != 0)
		return -1;
	return set_cache(j, j->config.cache_bytes ? j->config.cache_bytes :
	    CACHE_BYTES, e);
}

/* What another backend has taken away is there; it is not forgotten without
 * a word. */
static int
settle(struct journal *j, struct err *e)
{
	bool moved;

	if (ferry_settle(j->db, &moved, e) != 0)
		return -1;
	if (moved)
		log_warn("the jobs and keys that were here have moved to Redis"
		    " and are still there: this store begins anew without"
		    " them. 'bellhopctl migrate --to embedded', with"
		    " backend.type = \"redis\", brings them back");
	return 0;
}

static int
open_all(struct journal *j, struct err *e)
{
	struct writer_config wc = {
	    .dir = j->dir, .relaxed = j->config.relaxed,
	    .quiet_ms = j->config.quiet_ms, .wake = j->config.wake,
	    .wake_arg = j->config.wake_arg};

	if (check_dir(j->dir, e) != 0 ||
	    lock_take(j->dir, &j->lock_fd, e) != 0 ||
	    check_file(j->path, e) != 0 ||
	    db_open(&j->db, j->path, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_CREATE, j->config.vfs, e) != 0 ||
	    schema_open(j->db, e) != 0 ||
	    settle(j, e) != 0 ||
	    tune(j, e) != 0 ||
	    writer_new(&j->writer, j->db, &wc, e) != 0)
		return -1;
	return reader_new(&j->reader, j->path, j->config.vfs, j->config.wake,
	    j->config.wake_arg, e);
}

static void
destroy(struct journal **j)
{
	writer_free(&(*j)->writer);
	reader_free(&(*j)->reader);
	batch_done(&(*j)->batches[0], (*j)->config.release);
	batch_done(&(*j)->batches[1], (*j)->config.release);
	if ((*j)->db)
		db_close(&(*j)->db);
	lock_drop(&(*j)->lock_fd);
	free((*j)->voids);
	free((*j)->path);
	free((*j)->dir);
	free(*j);
	*j = NULL;
}

int
journal_open(struct journal **ret, const struct journal_config *config,
    struct err *e)
{
	struct journal *j = xcalloc(1, sizeof(*j));

	CHECK(config->wake && config->release);
	crashpoint_init();
	j->config = *config;
	j->dir = xstrdup(config->dir);
	j->path = xasprintf("%s/bellhop.db", config->dir);
	j->lock_fd = -1;
	j->held_tail = &j->held;
	batch_init(&j->batches[0]);
	batch_init(&j->batches[1]);
	j->open = &j->batches[0];
	if (open_all(j, e) != 0) {
		destroy(&j);
		return -1;
	}
	*ret = j;
	return 0;
}

/* One pass over every page would only fill the cache with what is cold. */
static int
on_recovering(void *arg)
{
	const struct journal *j = arg;

	j->config.recovering(j->config.wake_arg);
	return 0;
}

int
journal_recover(struct journal *j, const struct jvisitor *v, void *arg,
    struct err *e)
{
	int rc;

	CHECK(!j->started);
	if (set_cache(j, RECOVER_CACHE_BYTES, e) != 0)
		return -1;
	if (j->config.recovering)
		sqlite3_progress_handler(j->db, RECOVER_STEPS, on_recovering,
		    j);
	rc = recover_all(j->db, v, arg, e);
	sqlite3_progress_handler(j->db, 0, NULL, NULL);
	if (rc != 0)
		return -1;
	return set_cache(j, j->config.cache_bytes ? j->config.cache_bytes :
	    CACHE_BYTES, e);
}

void
journal_start(struct journal *j)
{
	CHECK(!j->started);
	writer_start(j->writer);
	reader_start(j->reader);
	j->started = true;
}

uint64_t
journal_append(struct journal *j, const struct jrec *rec)
{
	batch_add(j->open, rec);
	j->open->last = ++j->last;
	return j->last;
}

uint64_t
journal_last(const struct journal *j)
{
	return j->last;
}

uint64_t
journal_durable(const struct journal *j)
{
	return j->durable;
}

/* Marks what was taken back in every batch that is ours at the moment. */
static void
apply_voids(struct journal *j)
{
	if (j->nvoids == 0)
		return;
	qsort(j->voids, j->nvoids, sizeof(*j->voids), batch_id_cmp);
	if (j->failed)
		batch_void(j->failed, j->voids, j->nvoids, j->config.release);
	batch_void(j->open, j->voids, j->nvoids, j->config.release);
}

/* Jobs taken back while a retry was under way that has stored them: they are
 * deleted again. Nobody was told of them. */
static void
delete_voided(struct journal *j, const struct batch *stored)
{
	struct jrec rec = {.kind = JR_JOB_DELETE,
	    .u.del = {.leased = true, .errors = true, .steps = true}};
	size_t i;

	for (i = 0; j->nvoids > 0 && i < stored->n; i++) {
		if (stored->recs[i].kind != JR_JOB_INSERT ||
		    !bsearch(&stored->recs[i].id, j->voids, j->nvoids,
		    sizeof(*j->voids), batch_id_cmp))
			continue;
		rec.id = stored->recs[i].id;
		journal_append(j, &rec);
	}
}

static void
on_committed(struct journal *j, struct batch *b)
{
	crashpoint_pass(CRASH_ACK);
	CHECK(b->last > j->durable && b->last <= j->last);
	if (j->failure.code != BH_OK)
		log_about(LOG_INFO, LOG_OF(COMMIT_AGAIN),
		    "journal: commits succeed again");
	j->failure.code = BH_OK;
	j->durable = b->last;
	apply_voids(j);
	delete_voided(j, b);
	j->nvoids = 0;
	batch_clear(b, j->config.release);
}

static void
on_failed(struct journal *j, struct batch *b, int64_t mono_ms)
{
	if (j->failure.code == BH_OK)
		log_about(LOG_ERROR, LOG_OF(COMMIT_FAILED),
		    "journal: commit fails: %s; it is tried again every "
		    "second, and nothing is acknowledged until it succeeds",
		    b->err.text);
	j->failure = b->err;
	j->failed = b;
	b->retry = true;
	j->retry_at = mono_ms + RETRY_MS;
}

static void
give(struct journal *j, struct batch *b)
{
	CHECK(!j->flight && b->n > 0);
	j->flight = b;
	writer_give(j->writer, b);
}

void
journal_kick(struct journal *j)
{
	struct batch *b = j->open;

	if (!j->started || j->flight || j->failed || b->n == 0)
		return;
	j->open = b == &j->batches[0] ? &j->batches[1] : &j->batches[0];
	CHECK(j->open->n == 0);
	give(j, b);
}

static void
retry(struct journal *j)
{
	struct batch *b = j->failed;

	apply_voids(j);
	j->nvoids = 0;
	j->failed = NULL;
	give(j, b);
}

static void
settle_flight(struct journal *j, struct batch *b, int64_t mono_ms)
{
	CHECK(b == j->flight);
	j->flight = NULL;
	if (b->err.code == BH_OK)
		on_committed(j, b);
	else
		on_failed(j, b, mono_ms);
}

/* Hands over the reads that may see enough now. */
static void
feed_reader(struct journal *j)
{
	struct jread *first = j->held;
	struct jread **end = &j->held;
	struct jread *rest;

	while (*end && (*end)->after <= j->durable)
		end = &(*end)->next;
	if (end == &j->held)
		return;
	rest = *end;
	*end = NULL;
	j->held = rest;
	if (!rest)
		j->held_tail = &j->held;
	reader_give(j->reader, first);
}

static void
finish_reads(struct jread *first)
{
	struct jread *next;
	struct jbody **bodies;

	for (; first; first = next) {
		next = first->next;
		bodies = first->bodies;
		first->done(first);
		free(bodies);
	}
}

void
journal_take(struct journal *j, int64_t mono_ms)
{
	struct batch *b;

	if (!j->started)
		return;
	b = j->flight ? writer_take(j->writer) : NULL;
	if (b)
		settle_flight(j, b, mono_ms);
	if (j->failed && mono_ms >= j->retry_at)
		retry(j);
	feed_reader(j);
	finish_reads(reader_take(j->reader));
}

int64_t
journal_next(const struct journal *j)
{
	return j->failed ? j->retry_at : INT64_MAX;
}

const struct err *
journal_failure(const struct journal *j)
{
	return j->failure.code != BH_OK ? &j->failure : NULL;
}

/* Only noted: there may be very many, so that one pass over the batches marks
 * them all, before the batches are looked at again. */
void
journal_void_job(struct journal *j, int64_t id)
{
	CHECK(j->failure.code != BH_OK);
	if (j->nvoids == j->voids_cap) {
		j->voids_cap = j->voids_cap ? j->voids_cap * 2 : 64;
		j->voids = xrealloc(j->voids,
		    j->voids_cap * sizeof(*j->voids));
	}
	j->voids[j->nvoids++] = id;
}

void
journal_read(struct journal *j, struct jread *r)
{
	CHECK(j->started);
	r->bodies = NULL;
	r->nbodies = 0;
	r->err.code = BH_OK;
	r->next = NULL;
	if (r->after == JREAD_LATEST)
		r->after = j->last;
	else if (r->after == JREAD_NOW)
		r->after = 0;
	*j->held_tail = r;
	j->held_tail = &r->next;
	feed_reader(j);
}

void
journal_stats(const struct journal *j, struct journal_stats *ret)
{
	int64_t reading = reader_busy_ms(j->reader);

	writer_stats(j->writer, ret);
	ret->busy_ms = writer_busy_ms(j->writer);
	if (reading > ret->busy_ms)
		ret->busy_ms = reading;
}

/* Commits all that is left, the failed batch first; each gets one try. */
static void
flush(struct journal *j)
{
	struct batch *b;

	if (j->flight)
		settle_flight(j, writer_wait(j->writer), 0);
	if (j->failed) {
		retry(j);
		settle_flight(j, writer_wait(j->writer), 0);
	}
	while (!j->failed && j->open->n > 0) {
		b = j->open;
		j->open = b == &j->batches[0] ? &j->batches[1] :
		    &j->batches[0];
		give(j, b);
		settle_flight(j, writer_wait(j->writer), 0);
	}
	if (j->failed)
		log_error("journal: closed with %llu changes that were never "
		    "acknowledged and are lost: %s",
		    (unsigned long long)(j->last - j->durable),
		    j->failure.text);
}

/* Whoever still waits for a read hears that it will not come. */
static void
refuse_reads(struct jread *first)
{
	struct jread *r;

	for (r = first; r; r = r->next)
		err_set(&r->err, BH_E_BUSY, "shutting down");
	finish_reads(first);
}

void
journal_close(struct journal **ret)
{
	struct journal *j = *ret;
	struct jread *unread, *held;

	if (!j)
		return;
	flush(j);
	writer_stop(j->writer);
	unread = reader_stop(j->reader);
	held = j->held;
	j->held = NULL;
	finish_reads(reader_take(j->reader));
	refuse_reads(unread);
	refuse_reads(held);
	destroy(ret);
}
