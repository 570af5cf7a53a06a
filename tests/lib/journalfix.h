/* SPDX-License-Identifier: MIT */
/*
 * A journal in a directory of its own, for tests: turns its loop by hand,
 * makes records, and looks at the file through a connection of its own.
 * Every failure inside is a failed assertion of the test.
 */
#ifndef LIB_JOURNALFIX_H
#define LIB_JOURNALFIX_H

#include <pthread.h>

#include "journal/journal.h"

struct journalfix {
	char dir[64];
	struct journal_config config;
	struct journal *j;
	int64_t mono_ms;		/* what journal_take() is told */
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool wake;
	char text[32768];		/* of journalfix_text() */
};

/* An owner for records: counts how often it was given back. */
struct journalfix_owner {
	int released;
};

/* For cmocka: state becomes a new struct journalfix with an open, started
 * journal that has the queue 1, "default"; and its end. */
int journalfix_setup(void **state);
int journalfix_teardown(void **state);
/* The same over the VFS "fault", and without a journal. */
int journalfix_setup_fault(void **state);
int journalfix_setup_closed(void **state);

void journalfix_open(struct journalfix *f);
void journalfix_close(struct journalfix *f);
/* Opening fails with a sentence that holds part. */
void journalfix_refused(struct journalfix *f, const char *part);

/* Waits for the journal's threads. */
void journalfix_wait(struct journalfix *f);
/* Turns until all is durable. */
void journalfix_settle(struct journalfix *f);
/* Turns until the journal reports a failure. */
void journalfix_until_failure(struct journalfix *f);
/* Asks, and turns until done() was called, which must be journalfix_done. */
void journalfix_read(struct journalfix *f, struct jread *r);
/* Keeps the bodies in r->user, which is a struct journalfix_answer. */
void journalfix_done(struct jread *r);

struct journalfix_answer {
	bool done;
	struct jbody *bodies[64];
	size_t n;
};
void journalfix_answer_free(struct journalfix_answer *a);

/* The file, seen from outside. text is valid until the next call. */
int64_t journalfix_int(struct journalfix *f, const char *sql);
const char *journalfix_text(struct journalfix *f, const char *sql);
/* SQL that changes it; answers with the SQLite result code. */
int journalfix_exec(struct journalfix *f, const char *sql);

/* A string literal's bytes. */
struct bh_bytes journalfix_bytes(const char *s);
/* Appends a plain job of queue 1, its lease, a record that has only an id. */
uint64_t journalfix_job(struct journalfix *f, int64_t id, const char *payload);
uint64_t journalfix_lease(struct journalfix *f, int64_t id, int attempt);
uint64_t journalfix_simple(struct journalfix *f, int kind, int64_t id);
uint64_t journalfix_finish(struct journalfix *f, int64_t id, int state,
    uint64_t fingerprint, const char *text);
uint64_t journalfix_error(struct journalfix *f, int64_t id, int n,
    const char *message);

#endif
