/* SPDX-License-Identifier: MIT */
/*
 * The journal: one SQLite file, written by one thread.
 *
 * The main thread appends records to the open batch; each gets a position
 * (LSN: 1, 2, 3 …). journal_kick() hands the batch to the writer when that is
 * idle; the writer commits it as one transaction while the next batch gathers
 * (group commit). journal_take() takes what the writer and the reader have
 * finished.
 *
 * Reads run on a thread of their own with a read-only connection. A read is
 * held back until what it must see is durable.
 *
 * When a commit fails, its outcome is unknown and nothing in it may be
 * acknowledged: the journal keeps the batch, says so through journal_failure()
 * and tries again, every second, until it succeeds. Meanwhile the records of
 * refused work can be taken back with journal_void_job().
 *
 * Everything here is for the main thread. Nothing here blocks, except open,
 * recover and close.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/attr.h"
#include "base/err.h"
#include "journal/rec.h"

struct journal;

struct journal_config {
	const char *dir;		/* the state directory */
	bool relaxed;			/* fsync once a second, not each time */
	int64_t cache_bytes;		/* the writer's page cache; 0 default */
	int64_t quiet_ms;		/* before it tidies up; 0 default */
	/* Wakes the main loop: called on the journal's threads. */
	void (*wake)(void *arg);
	void *wake_arg;
	/* Recovery is under way: called now and then; may be NULL. */
	void (*recovering)(void *arg);
	/* Gives a record's owner back, on the main thread: once for each
	 * record that names it. It may not call the journal. */
	void (*release)(void *owner);
	const char *vfs;		/* for tests, else NULL */
};

/* Opens or creates bellhop.db. Refuses, with a sentence that says what to do:
 * no or a read-only directory, another daemon at work (lock file), a locked
 * or corrupt file, a schema newer than ours. An older one is upgraded. */
MUSTCHECK int journal_open(struct journal **ret,
    const struct journal_config *config, struct err *e);
/* Reads all that is stored; before journal_start(). */
MUSTCHECK int journal_recover(struct journal *j, const struct jvisitor *v,
    void *arg, struct err *e);
/* Starts the two threads. */
void journal_start(struct journal *j);
/* Commits what is open (unless the disk fails), ends the threads, closes. */
void journal_close(struct journal **j);

/* Copies the record; answers with its LSN. */
uint64_t journal_append(struct journal *j, const struct jrec *rec);
uint64_t journal_last(const struct journal *j);		/* appended */
uint64_t journal_durable(const struct journal *j);	/* committed */

/* Hands the open batch over if the writer is idle. */
void journal_kick(struct journal *j);
/* Takes commits and finished reads, calling their done(). */
void journal_take(struct journal *j, int64_t mono_ms);
/* When journal_take() wants to be called again by itself; INT64_MAX never. */
int64_t journal_next(const struct journal *j);

/* While commits fail: BH_E_DISKFULL or BH_E_IO and a sentence, else NULL. */
const struct err *journal_failure(const struct journal *j);
/* Takes back every record of this job that is not durable. Only while
 * journal_failure() is set, and only for a job whose insert is among them. */
void journal_void_job(struct journal *j, int64_t id);

enum jread_kind {
	JREAD_JOBS,			/* these ids */
	JREAD_LIST			/* a page of one queue, by id */
};

#define JREAD_LATEST 0
#define JREAD_NOW UINT64_MAX

struct jread {
	void (*done)(struct jread *r);
	void *user;
	uint8_t kind;			/* enum jread_kind */
	bool errors;			/* with the history of errors */
	bool steps;			/* with what job:step() has kept */
	const int64_t *ids;		/* JOBS */
	size_t nids;
	int64_t queue;			/* LIST: queue id */
	uint8_t state;			/* LIST: enum jrec_state */
	uint64_t fingerprint;		/* LIST: 0 any */
	int64_t cursor;			/* LIST: ids beyond this one */
	bool reverse;
	uint32_t count;
	/* out: one for each id (JOBS), or the page (LIST); each is one heap
	 * block that the receiver frees; the array itself is the journal's
	 * and lasts until done() returns. */
	struct jbody **bodies;
	size_t nbodies;
	struct err err;			/* code BH_E_IO when reading failed */
	struct jread *next;		/* the journal's */
	/* in: the LSN that must be durable first; JREAD_LATEST: all that has
	 * been appended so far, JREAD_NOW: none. */
	uint64_t after;
};

/* The caller allocates it; done() is called exactly once, from journal_take()
 * (or journal_close(), with err set). */
void journal_read(struct journal *j, struct jread *r);

struct journal_stats {
	int64_t db_bytes, free_bytes, wal_bytes;	/* free: inside db */
	int64_t commits, rows;
	int64_t commit_p50_us, commit_p99_us;
	int64_t disk_free_bytes;	/* of the file system */
	int64_t busy_ms;		/* a thread has been at one thing */
};
void journal_stats(const struct journal *j, struct journal_stats *ret);

#endif
