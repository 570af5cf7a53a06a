/* SPDX-License-Identifier: MIT */
/*
 * What crosses between the main thread and a script thread. A sent message
 * belongs to the receiver. A run (one try of a job, or one callback) and an
 * ask (what a script wants of the store) are one allocation each, which
 * travels there and back; each field names its writer.
 */
#ifndef SCRIPT_MSG_H
#define SCRIPT_MSG_H

#include <bsd/sys/queue.h>
#include <ev.h>
#include <lua.h>

#include "base/buf.h"
#include "front/resp_codec.h"
#include "plugin.h"
#include "rt/mbox.h"
#include "script/call.h"
#include "script/script_opts.h"
#include "script/source.h"

enum msg_kind {
	/* to_worker */
	TO_RUN,			/* struct run_msg */
	TO_ANSWER,		/* struct ask, answered */
	TO_CANCEL,		/* struct note: token */
	TO_SCAN,		/* struct scan: directories */
	TO_CHECK,		/* struct check: load and validate */
	TO_LOAD,		/* struct note: src, load it beforehand */
	TO_RETIRE,		/* struct note: src, no more runs of it */
	TO_ABORT,		/* struct note: give every run back */
	TO_STOP,		/* struct note: end the thread */
	/* from_worker */
	FROM_ENDED,		/* struct run_msg */
	FROM_ASK,		/* struct ask */
	FROM_SCANNED,		/* struct scan */
	FROM_CHECKED,		/* struct check */
	FROM_CHANGED,		/* struct note: a watched file changed */
	FROM_GRACE,		/* struct note: token of one cancelled job of
				   a batch whose time to react is over */
	MSG_KINDS
};

struct msg {
	struct mail mail;		/* first */
	enum msg_kind kind;
	int worker;			/* whose it is or whence it came */
};

/* What is said without an answer. */
struct note {
	struct msg m;
	struct source *src;		/* holds a reference, or NULL */
	uint64_t token;
};

enum run_what {
	RUN_PERFORM, RUN_BATCH, RUN_COMPLETED, RUN_FAILED, RUN_STALLED,
	RUN_HOOK, RUN_CHALLENGE, RUN_MESSAGE, RUN_WHATS
};

/* What a script thread has made of a webhook, when the run did not fail. */
enum hook_answer {
	HOOK_BODY,			/* the body is the job */
	HOOK_JOBS,
	HOOK_NOTHING,			/* accept does not want it */
	HOOK_REPLY,
	HOOK_KNOWN,			/* this delivery has been stored */
	HOOK_REFUSED
};

/* Words of JOB.ADD, from the queue on. */
struct hook_job {
	size_t first, nwords;
	bool raw;			/* the payload is the request's body */
};

/* A webhook on its way; main's, which keeps some for reuse. */
struct hook_run {
	struct bh_hook *hook;		/* the door's; only read */
	uint64_t generation;		/* of the last load */
	bool known;			/* the delivery is not new */
	/* the worker's, read by main: */
	enum hook_answer answer;
	int http, status;		/* REPLY, REFUSED */
	char text[BH_ERROR_TEXT];	/* REFUSED */
	char type[80];			/* REPLY */
	struct buf bytes;		/* what the words are made of */
	struct bh_bytes *words;		/* data: offset in bytes */
	size_t nwords, words_cap;
	struct hook_job *jobs;
	size_t njobs, jobs_cap;
};

/* What a run came to; written by the worker. */
struct run_end {
	enum bh_outcome outcome;
	bool final;
	bool backoff;			/* a release after the back-off */
	int64_t delay_ms;		/* -1 not said */
	char *text;			/* result or message; heap, or NULL */
	size_t len;
	char *step;			/* job:sleep()'s name; heap, or NULL */
};

enum run_wait {
	WAIT_NONE, WAIT_CPU, WAIT_SLEEP, WAIT_ANSWER, WAIT_CALL
};

/* The worker's part of a run. Lua code reaches it through state->run. */
struct run {
	TAILQ_ENTRY(run) entry;		/* all of the worker's */
	TAILQ_ENTRY(run) ready;		/* those that want the CPU */
	struct state *st;
	lua_State *co;
	int co_ref;
	int ticks;			/* CPU used in this stretch */
	enum run_wait wait;
	bool begun;
	bool queued;			/* on the ready list */
	bool verdict;			/* decided by job:fail() and its like */
	bool failed;			/* ended by an error */
	bool nomem;			/* ended by the memory cap */
	struct run_msg **holder;	/* in the job object, while it lives */
	bool cancelled;
	bool in_step;			/* inside the function of a step */
	int steps;			/* kept by this run */
	int sleeps;			/* without a name, so far */
	ev_timer nap;			/* sleep() */
	ev_timer deadline;		/* timeout, or grace after a cancel */
	double begun_at;		/* loop time */
	struct ask *ask;		/* under way */
	struct ask *answered;		/* to be read at the next step */
	struct call *call;		/* under way outside */
	struct call *called;		/* to be read at the next step */
};

/* A batch is one run with several jobs: a message of its own, without a job,
 * which has theirs in jobs. Of a job's message the worker then only writes
 * end and, in run, verdict, holder, cancelled and (for the grace) deadline. */
struct run_msg {
	struct msg m;
	struct run run;			/* the worker's */
	struct run_end end;		/* the worker's, read by main */
	enum run_what what;
	struct source *src;		/* holds a reference */
	int64_t id;
	uint64_t token;
	int64_t callback;		/* id of it; 0 for RUN_PERFORM */
	int32_t priority, attempt, attempts, error_count, stalled;
	int64_t run_at, expires_at, created_at, started_at;
	int64_t timeout_ms;		/* 0 none */
	struct bh_bytes queue, payload, group, unique, origin;
	struct bh_bytes news;		/* a callback's result or error, the
					   topic of a message */
	struct bh_step *steps;		/* of earlier runs; one heap block */
	size_t nsteps;
	struct hook_run *hook;		/* RUN_HOOK; main's */
	struct topic *topic;		/* RUN_MESSAGE; main's */
	struct run_msg **jobs;		/* RUN_BATCH: the jobs'; heap */
	size_t njobs;
	struct run_msg *batch;		/* of a job: what it is in, or NULL */
	/* main's alone: */
	TAILQ_ENTRY(run_msg) entry;
	struct pool *pool;
	struct served *served;
	int64_t given_ms;		/* mono: to its thread */
	bool cancel;			/* the backend wants it ended */
	int early;			/* finished before its batch ended: 1
					   of the two has not come, or 2 */
	struct bh_finish finish;
	size_t room;			/* of bytes that are in use */
	char bytes[];			/* what the strings above point to */
};

enum ask_what {
	ASK_COMMAND,
	ASK_KEYS,			/* of the keyspace only: redis() */
	ASK_HOLD			/* argv[1] is held with token argv[2] */
};

/* A command of a script. */
struct ask {
	struct msg m;
	TAILQ_ENTRY(ask) entry;		/* main's: waits in pool_flight.c */
	struct run *run;		/* the worker's: NULL once it is gone */
	const struct run *who;		/* the same, for ever; an address */
	enum ask_what what;
	struct source *src;		/* holds a reference */
	uint64_t token;			/* progress, step: of the attempt */
	int64_t id;			/* progress, step: of the job */
	struct resp_value value;	/* the worker's: decoded reply */
	struct buf reply;		/* main's until it is sent back */
	size_t argc;
	struct bh_bytes argv[];		/* the text follows */
};

/* One file that a scan found. */
struct found {
	struct source *src;		/* NULL: it cannot be read */
	char *file;
	char *error;			/* why not */
};

struct scan {
	struct msg m;
	char *dir;			/* in; also what is watched */
	struct script_env *env;		/* in; holds a reference */
	struct found *files;		/* out: by name */
	size_t nfiles;
	char *error;			/* out: the directory's, or NULL */
	char modules[65];		/* out: what lua_dir looks like */
};

struct check {
	struct msg m;
	struct source *src;		/* holds a reference */
	struct script_opts opts;	/* out */
	char *error;			/* out: "FILE:LINE: cause", or NULL */
};

/* src may be NULL; the note takes a reference of its own. */
struct note *note_new(enum msg_kind kind, struct source *src, uint64_t token);
/* What nobody wants any more, of whatever kind. */
void msg_free(struct msg *m);
/* Forgets what a run came to. */
void run_end_clear(struct run_end *end);
void msg_free_chain(struct mail *mail);

#endif
