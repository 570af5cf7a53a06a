/* SPDX-License-Identifier: MIT */
/*
 * What is accepted while Redis is away: a SQLite file of this machine
 * (outbox.db in state_dir), written by a thread of its own. New jobs wait here
 * with the ids that they keep, results of jobs that are held here too, in the
 * order in which they came, until they have been forwarded.
 *
 * Ids come from a range that Redis has reserved for this outbox beforehand,
 * so that they are nobody else's.
 *
 * Everything is for the main thread and nothing waits, but open and close.
 */
#ifndef REDIS_OUTBOX_H
#define REDIS_OUTBOX_H

#include "plugin.h"

struct outbox;

/* What the file remembers beside its entries. */
enum outbox_note {
	OUTBOX_LOOKED,			/* wall ms: preflight was passed */
	OUTBOX_NEXT,			/* the next id of the range … */
	OUTBOX_END,			/* … and the first one past it */
	OUTBOX_INSTANCE,		/* this outbox's number at Redis */
	OUTBOX_NOTES
};

struct outbox_config {
	const char *dir;		/* state_dir */
	void (*wake)(void);		/* from its thread: outbox_take() */
	int64_t max_bytes;		/* 0: no limit but the disk's */
};

/* One thing to forward. Strings last until outbox_drop() or the next read. */
struct outbox_entry {
	int64_t seq;
	int64_t id;			/* of the job */
	int64_t at;			/* wall ms when it was accepted */
	bool is_finish;
	/* A new job; opts.at or opts.delay_ms say when it is to run, as the
	 * adder did; delay_ms counts from at. */
	struct bh_bytes queue;
	struct bh_job_opts opts;
	struct bh_bytes payload;
	/* The end of an attempt. */
	uint64_t token;
	enum bh_outcome outcome;
	bool final;
	int64_t delay_ms;
	struct bh_bytes result, message, version, step;
};

int outbox_open(struct outbox **ret, const struct outbox_config *c,
    char err[BH_ERROR_TEXT]);
/* Keeps what is in it; requests under way end with BH_E_CANCELED. */
void outbox_close(struct outbox **o);
/* Calls done() of what has been committed or read; true when there was any. */
bool outbox_take(struct outbox *o);
bool outbox_idle(const struct outbox *o);

/* Entries that wait to be forwarded, also those under way to the disk. */
int64_t outbox_count(const struct outbox *o);
/* Those of them that are ends of attempts: they are read first. */
int64_t outbox_ends(const struct outbox *o);
int64_t outbox_bytes(const struct outbox *o);
int64_t outbox_note(const struct outbox *o, enum outbox_note note);
/* Kept with the next commit. */
void outbox_set(struct outbox *o, enum outbox_note note, int64_t value);

/* How an id of a queue is made from the next one of the range; NEXT and END
 * count such numbers. */
typedef int64_t outbox_id_fn(void *arg, struct bh_bytes queue, int64_t n);

/* Keeps the jobs of the whole chain, or none: done() with DISKFULL, or
 * BACKEND when no id is left, or once all of it is on the disk. */
void outbox_put(struct outbox *o, struct bh_put *r, int64_t now,
    outbox_id_fn *id, void *arg);
/* The same for an attempt's end; ret state is a guess. */
void outbox_finish(struct outbox *o, struct bh_finish *r, int64_t now);
/* Answers from what is here: r->job NULL when it is not. */
void outbox_get(struct outbox *o, struct bh_get *r, int64_t now);
/* The living job that this id has become, 0: none is known. */
int64_t outbox_alias(const struct outbox *o, int64_t id);

/* Reads the oldest entries past this one; fn is called once, from
 * outbox_take(), with none when there are none. */
typedef void outbox_read_fn(void *arg, const struct outbox_entry *e,
    size_t n);
void outbox_read(struct outbox *o, int64_t after, outbox_read_fn *fn,
    void *arg);
/* This one has been forwarded; alias: the job that it has become, or 0. */
void outbox_drop(struct outbox *o, const struct outbox_entry *e,
    int64_t alias);

#endif
