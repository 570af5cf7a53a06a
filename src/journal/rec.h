/* SPDX-License-Identifier: MIT */
/*
 * What the engine tells the disk: plain records, each one small change of the
 * database. Records of one batch are applied in order in one transaction.
 *
 * Every string is a struct bh_bytes. When a record has an owner, its strings
 * live in it until the batch is durable (the journal then gives the owner back
 * through journal_config.release). Without an owner journal_append() copies
 * them.
 *
 * Times are wall ms; 0 stands for NULL where a column may be NULL.
 */
#ifndef JOURNAL_REC_H
#define JOURNAL_REC_H

#include <stdbool.h>
#include <stdint.h>

#include "plugin.h"

enum jrec_kind {
	JR_VOID,		/* taken back before it was written */
	JR_JOB_INSERT,
	JR_JOB_SET,		/* the numbers of a living job */
	JR_JOB_FINISH,		/* to completed or failed; no lease by then */
	JR_JOB_REVIVE,		/* failed to living */
	JR_JOB_DELETE,		/* with its lease, errors and steps */
	JR_JOB_PAYLOAD,
	JR_JOB_PROGRESS,
	JR_LEASE,		/* the job becomes active */
	JR_LEASE_EXTEND,
	JR_LEASE_END,		/* the job is active no more */
	JR_STEP,		/* what job:step() or job:sleep() keeps */
	JR_STEPS_END,		/* the job's steps are forgotten */
	JR_ERROR,		/* one more line of the history */
	JR_QUEUE,		/* new, paused, held, resumed */
	JR_QUEUE_TOTALS,
	JR_CALLBACK,		/* a script's on_* is owed */
	JR_CALLBACK_DONE,
	JR_NEXT_ID,		/* the first job id that was never given */
	JR_KEY_SET,		/* a key of the keyspace, new or changed */
	JR_KEY_DEL,		/* with JKEY_PARTS_AT_ONCE of its parts */
	JR_KEY_CLEAR,		/* all keys */
	JR_KEY_PART_SET,	/* a field, a member, an element of a key */
	JR_KEY_PART_DEL,
	JR_LIMITER,		/* where a rate limiter stands */
	JR_LIMITER_DEL,
	JR_LIMITERS_OLD,	/* those that are full again by now go */
	JR_SCHEDULE,		/* new or replaced, with where it stands */
	JR_SCHEDULE_TICK,	/* where it stands, and what has happened */
	JR_SCHEDULE_DELETE,
	JR_KINDS
};

/* What a stored job's state column says; the finer state of a living job
 * follows from its lease and its run_at. */
enum jrec_state { JSTATE_LIVE, JSTATE_COMPLETED, JSTATE_FAILED };

enum { JSCHEDULE_TICKS = 10 };	/* of one schedule that are kept */

enum { JKEY_PARTS_AT_ONCE = 500 };	/* that one JR_KEY_DEL deletes */

/* Where a schedule stands. */
struct jschedule_state {
	int64_t next_at;	/* 0 never */
	int64_t after_at;	/* ticks up to here have been dealt with */
	int64_t seen_at;	/* the latest after_at that there was */
	int64_t job;		/* that the last tick has added, 0 none */
};

struct jrec {
	uint8_t kind;		/* enum jrec_kind */
	int64_t id;		/* of the job, queue, callback, schedule;
				   next id */
	void *owner;
	union {
		struct {
			int64_t queue;		/* queue id, written before */
			int64_t created_at;
			int64_t run_at;
			int64_t expires_at;
			int64_t unique_until;	/* 0: with the job */
			int64_t line_at;	/* grouped: place in line */
			int64_t after;		/* FOLLOW: the active job */
			bool wall;		/* run_at follows the clock */
			const struct bh_job_opts *opts;	/* in owner */
			struct bh_bytes payload;
			struct bh_bytes origin;
		} insert;
		struct {	/* SET, REVIVE */
			int64_t run_at;
			int64_t line_at;	/* 0 leaves it */
			int64_t started_at;	/* last start, 0 leaves it */
			int64_t unique_until;
			int64_t expires_at;
			int64_t after;
			int32_t attempt;
			int32_t error_count;
			int32_t stalled;
			bool wall;
		} set;
		struct {
			uint8_t state;		/* enum jrec_state */
			int64_t started_at;
			int64_t finished_at;
			int32_t attempt;
			int32_t error_count;
			int32_t stalled;
			uint64_t fingerprint;
			struct bh_bytes result;
			struct bh_bytes error;
		} finish;
		struct {
			bool leased;		/* may have a lease row */
			bool errors;		/* may have error rows */
			bool steps;		/* may have step rows */
		} del;
		struct bh_bytes text;		/* PAYLOAD, PROGRESS */
		struct {
			int32_t attempt;
			bool handler;
			uint64_t token;
			int64_t started_at;
			int64_t until;
			struct bh_bytes worker;
		} lease;
		int64_t until;			/* LEASE_EXTEND */
		struct {
			int32_t n;		/* 1, 2 … */
			struct bh_bytes name;
			struct bh_bytes value;	/* data NULL: a sleep */
		} step;
		struct {
			int32_t n;		/* 1, 2 …; 0 the next one */
			int32_t attempt;
			int64_t at;
			struct bh_bytes message;
			struct bh_bytes version;
		} error;
		struct {
			struct bh_bytes name;
			int64_t paused_at;
			struct bh_bytes paused_by;
			int64_t held_until;
			struct bh_bytes held_reason;
		} queue;
		struct {
			int64_t processed, failed, stalled;
		} totals;
		struct {	/* KEY_SET */
			uint8_t type;
			int64_t expires_at;
			struct bh_bytes name, value;
		} key;
		bool parts;		/* KEY_DEL: it may have some */
		struct {
			struct bh_bytes part;
			struct bh_bytes value;	/* data NULL: none */
		} part;
		struct {
			struct bh_bytes name;	/* LIMITER, LIMITER_DEL */
			struct bh_bytes windows;	/* the limiter's own */
			int64_t until;	/* LIMITER; LIMITERS_OLD: now */
		} limiter;
		struct {
			int64_t queue;		/* queue id */
			uint8_t kind;		/* enum bh_callback_kind */
			int64_t job;
			int32_t attempt;
			struct bh_bytes payload, result, error;
		} callback;
		struct {
			const struct bh_schedule *row;
			struct jschedule_state state;
			bool fresh;		/* its ticks are forgotten */
		} schedule;
		struct {
			struct jschedule_state state;
			int64_t n;		/* 1, 2 …; the last ten stay */
			struct bh_tick tick;
		} tick;
	} u;
};

/* What recovery tells, in this order: next id, queues, jobs by id, leases,
 * their bodies, callbacks, histories, steps, keys, their parts, limiters, schedules,
 * their ticks.
 * Strings last until the call returns. */
struct jqueue_row {
	int64_t id;
	struct bh_bytes name;
	int64_t paused_at;
	struct bh_bytes paused_by;
	int64_t held_until;
	struct bh_bytes held_reason;
	int64_t processed, failed, stalled;
};

struct jjob_row {
	int64_t id;
	int64_t queue;
	uint8_t state;			/* enum jrec_state */
	int8_t priority;		/* -1 not said */
	bool wall;
	int32_t attempt, error_count, stalled;
	int64_t created_at, started_at;
	int64_t run_at, line_at, expires_at, finished_at;
	int64_t unique_until, after;
	int64_t retain_ms;		/* -1 not said */
	uint64_t fingerprint;
	struct bh_bytes group, unique;
};

struct jlease_row {
	int64_t id;
	int32_t attempt;
	bool handler;
	uint64_t token;
	int64_t started_at, until;
	int64_t lease_ms;		/* the job's own option, -1 */
	int32_t max_stalled;		/* the job's own option, -1 */
	struct bh_bytes worker;
};

struct jkey_row {
	int64_t id;
	uint8_t type;
	int64_t expires_at;
	struct bh_bytes name, value;
};

struct jkey_part_row {
	int64_t id;			/* of its key, which may be gone */
	struct bh_bytes part, value;
};

struct jlimiter_row {
	struct bh_bytes name, windows;
};

struct jbody;

/* What is NULL here is not read at all. A callback row is a bh_callback whose queue string is empty. */
struct jvisitor {
	void (*next_id)(void *arg, int64_t id);
	void (*queue)(void *arg, const struct jqueue_row *row);
	void (*job)(void *arg, const struct jjob_row *row);
	void (*lease)(void *arg, const struct jlease_row *row);
	void (*callback)(void *arg, int64_t queue,
	    const struct bh_callback *row);
	/* All of a leased job; the receiver frees it. */
	void (*body)(void *arg, struct jbody *body);
	/* This job has lines in its history. */
	void (*history)(void *arg, int64_t job);
	/* This job has steps. */
	void (*steps)(void *arg, int64_t job);
	void (*key)(void *arg, const struct jkey_row *row);
	/* By key, then by the bytes of the part. */
	void (*key_part)(void *arg, const struct jkey_part_row *row);
	void (*limiter)(void *arg, const struct jlimiter_row *row);
	/* Both may be NULL. Ticks come oldest first. */
	void (*schedule)(void *arg, int64_t id, const struct bh_schedule *row,
	    const struct jschedule_state *state);
	void (*tick)(void *arg, int64_t schedule, int64_t n,
	    const struct bh_tick *tick);
};

/* A whole stored job, as a read finds it. One allocation with its strings. */
struct jbody {
	int64_t id;
	bool found;
	uint8_t state;			/* enum jrec_state */
	int64_t queue;
	int64_t created_at, run_at, expires_at, started_at, finished_at;
	struct bh_job_opts opts;	/* group and unique inside */
	struct bh_bytes payload, origin, progress, result, error;
	struct bh_job_error *errors;
	size_t nerrors;
	struct bh_step *steps;
	size_t nsteps;
};

#endif
