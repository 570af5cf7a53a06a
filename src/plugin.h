/* SPDX-License-Identifier: MIT */
/*
 * The shapes that Bellhop's backends share with the rest, and the only header
 * that a plugin sees. It includes standard headers alone and sits below every
 * layer, so anyone may include it.
 *
 * ABI changes: 0 (before the first release: no promise).
 *
 * Threads: everything here belongs to the main thread.
 */
#ifndef BELLHOP_PLUGIN_H
#define BELLHOP_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_ABI 0

/* Every error that a client can see: name, RESP word, HTTP status, meaning. */
#define BH_ERRORS(X)                                                         \
	X(BH_E_ERR, "ERR", 400, "syntax error or unknown command")           \
	X(BH_E_BADARG, "BADARG", 400, "an argument is malformed")            \
	X(BH_E_NOTFOUND, "NOTFOUND", 404, "no such job")                     \
	X(BH_E_CONFLICT, "CONFLICT", 409, "the job's state forbids it")      \
	X(BH_E_STALE, "STALE", 409, "the token no longer holds the job")     \
	X(BH_E_QUEUEFULL, "QUEUEFULL", 429, "the queue is full")             \
	X(BH_E_TOOBIG, "TOOBIG", 413, "larger than the limit")               \
	X(BH_E_DISKFULL, "DISKFULL", 507, "the disk budget is used up")      \
	X(BH_E_BACKEND, "BACKEND", 503, "the backend is away")               \
	X(BH_E_NOAUTH, "NOAUTH", 401, "authentication is required")          \
	X(BH_E_WRONGPASS, "WRONGPASS", 401, "the token is not valid")        \
	X(BH_E_NOPERM, "NOPERM", 403, "the role does not allow it")          \
	X(BH_E_NOPROTO, "NOPROTO", 400, "no such protocol version")          \
	X(BH_E_WRONGTYPE, "WRONGTYPE", 400, "the key holds another type")    \
	X(BH_E_OOM, "OOM", 507, "the memory for keys is used up")            \
	X(BH_E_EXECABORT, "EXECABORT", 400, "the transaction is void")       \
	X(BH_E_BUSY, "BUSY", 503, "shutting down")                           \
	X(BH_E_IO, "ERR", 500, "storage failed, the outcome is unknown")     \
	X(BH_E_CANCELED, "ERR", 499, "the caller went away")

enum bh_error_code {
	BH_OK,
#define X(name, word, http, text) name,
	BH_ERRORS(X)
#undef X
	BH_E_COUNT
};

/* A counted string that its owner keeps alive as the comment there says. */
struct bh_bytes {
	const char *data;
	size_t len;
};

enum bh_job_state {
	BH_WAITING,
	BH_DELAYED,
	BH_ACTIVE,
	BH_COMPLETED,
	BH_FAILED,
	BH_STATES
};

enum bh_backoff_type { BH_BACKOFF_FIXED, BH_BACKOFF_EXPONENTIAL };
enum bh_unique_mode { BH_UNIQUE_KEEP, BH_UNIQUE_REPLACE, BH_UNIQUE_FOLLOW };

/* What an adder may say about a job. -1 (or an empty string) means "not said":
 * the queue's, the script's or the built-in default holds when it starts.
 * bh_job_opts_init() says nothing at all. */
struct bh_job_opts {
	int64_t delay_ms;
	int64_t at;			/* wall ms; excludes delay_ms */
	int64_t expires_ms;		/* counted from run_at */
	int64_t timeout_ms;
	int64_t lease_ms;
	int64_t retain_ms;
	int64_t unique_ttl_ms;
	int64_t backoff_ms;
	int64_t backoff_max_ms;
	double backoff_factor;
	double backoff_jitter;		/* 0..1 */
	int32_t attempts;
	int32_t max_stalled;
	int8_t priority;		/* 0..9, 0 first */
	int8_t backoff_type;		/* enum bh_backoff_type */
	int8_t unique_mode;		/* enum bh_unique_mode */
	struct bh_bytes group;
	struct bh_bytes unique;
};

static inline void
bh_job_opts_init(struct bh_job_opts *o)
{
	*o = (struct bh_job_opts){
	    .delay_ms = -1, .at = -1, .expires_ms = -1, .timeout_ms = -1,
	    .lease_ms = -1, .retain_ms = -1, .unique_ttl_ms = -1,
	    .backoff_ms = -1, .backoff_max_ms = -1, .backoff_factor = -1,
	    .backoff_jitter = -1, .attempts = -1, .max_stalled = -1,
	    .priority = -1, .backoff_type = -1, .unique_mode = -1};
}

struct bh_job_error {
	int32_t attempt;
	int64_t at;			/* wall ms */
	struct bh_bytes message;
	struct bh_bytes version;	/* of the script, empty for workers */
};

/* What job:step() has kept of an earlier run: JSON; data NULL: a sleep. */
struct bh_step {
	struct bh_bytes name;
	struct bh_bytes value;
};

/* Of one job: steps, bytes of a step's name, bytes of all names and values. */
enum { BH_STEPS_MAX = 1000, BH_STEP_NAME_MAX = 256,
    BH_STEPS_BYTES = 16 << 20 };

/* A job as others see it. A time of 0 and a string whose data is NULL are
 * absent. All of it belongs to the backend and lasts until the callback that
 * got it returns. */
struct bh_job {
	int64_t id;
	struct bh_bytes queue;
	enum bh_job_state state;
	struct bh_bytes payload;
	struct bh_bytes group;
	struct bh_bytes unique;
	int32_t priority;
	int32_t attempt;
	int32_t attempts;
	int32_t error_count;
	int32_t stalled;
	const struct bh_job_error *errors;
	size_t nerrors;
	int64_t run_at, expires_at, created_at, started_at, finished_at;
	int64_t lease_until;
	int64_t timeout_ms;		/* of one try, resolved */
	struct bh_bytes progress;
	struct bh_bytes result;
	struct bh_bytes error;		/* why it failed */
	/* A dead letter's: {"queue":…,"id":"…","error":…,"at":ms} */
	struct bh_bytes origin;
	/* job_reserve only, else 0: */
	uint64_t token;
	const struct bh_step *steps;	/* of earlier runs; handlers only */
	size_t nsteps;
	uint32_t batch;			/* jobs of one batch share a number */
};

#define BH_ERROR_TEXT 240

/*
 * The asynchronous contract. The caller allocates a request that begins with
 * struct bh_req, fills it, and leaves it alone until done() is called: exactly
 * once, never before the verb returns, and not before everything the answer
 * shows is committed. Input strings must live as long. In done() the results
 * may be read; afterwards the request is the caller's again (it may be freed
 * inside done()). status is BH_OK or an error code, with a sentence in text.
 */
struct bh_req;
typedef void bh_done_fn(struct bh_req *req);

struct bh_req {
	bh_done_fn *done;
	void *user;
	int status;
	char text[BH_ERROR_TEXT];
	/* The backend's while the request is under way. */
	struct {
		struct bh_req *next;
		struct bh_req **pprev;
		uint64_t lsn;
		void *state;
		uint32_t waits;
		uint32_t kind;
	} priv;
};

/* job_put: one job for each payload, all or none. */
struct bh_put {
	struct bh_req req;
	struct bh_bytes queue;
	const struct bh_bytes *payloads;
	size_t npayloads;
	struct bh_job_opts opts;
	int64_t *ids;			/* out: room for npayloads */
	bool duplicate;			/* out: unique found a living job */
	enum bh_job_state state;	/* out: of the last one */
	/* More jobs, of other queues or with other options, that stand or fall
	 * with these; their req is not looked at, their outs are written. The
	 * jobs are added in the order of the chain. NULL: none */
	struct bh_put *also;
};

/* job_reserve: claims up to count jobs of the queues; waits when there is
 * none. handler marks the daemon's own Lua handlers: their jobs come back at
 * once when the daemon dies, and budget (may be NULL) is a number of free
 * slots that several requests share: each claim takes one. In a queue with
 * the option batch_max, handlers get batches: several jobs that count as one
 * for count and budget. */
struct bh_reserve {
	struct bh_req req;
	const struct bh_bytes *queues;
	size_t nqueues;
	uint32_t count;
	int64_t block_ms;		/* -1 do not wait, 0 for ever */
	int64_t lease_ms;		/* -1 the job's own or the default */
	struct bh_bytes worker;		/* a name for people, may be empty */
	bool handler;
	uint32_t *budget;
	struct bh_job *jobs;		/* out */
	size_t njobs;			/* out: 0 when the wait was in vain */
};

enum bh_outcome { BH_DONE, BH_FAIL, BH_RELEASE };

/* job_finish: ends an attempt. BH_RELEASE gives the start back. */
struct bh_finish {
	struct bh_req req;
	int64_t id;
	uint64_t token;
	enum bh_outcome outcome;
	struct bh_bytes result;		/* BH_DONE; data NULL for none */
	struct bh_bytes message;	/* BH_FAIL */
	struct bh_bytes version;	/* script hash, or empty */
	int64_t delay_ms;		/* -1: back-off (FAIL), none (RELEASE) */
	bool final;			/* BH_FAIL: no further try */
	/* RELEASE: job:sleep()'s, kept as a step without a value; CONFLICT or
	 * TOOBIG as in job_extend, the job is held on then. Empty: none */
	struct bh_bytes step;
	enum bh_job_state state;	/* out */
};

/* job_extend: a longer lease, news of the progress, a step that has been
 * done, or several of these. A step is kept until the job is completed,
 * removed, or retried FRESH. CONFLICT when it is there already, TOOBIG past
 * the limits above; nothing of the request is done then. */
struct bh_extend {
	struct bh_req req;
	int64_t id;
	uint64_t token;
	int64_t lease_ms;		/* from now; -1 leaves it */
	struct bh_bytes progress;	/* data NULL leaves it */
	struct bh_step step;		/* name empty: none */
};

/* Why a job is not running: the first gate that holds it. */
enum bh_gate {
	BH_GATE_NONE,			/* nothing holds it */
	BH_GATE_STATE,			/* active, completed or failed */
	BH_GATE_PAUSED,
	BH_GATE_HELD,
	BH_GATE_DELAYED,
	BH_GATE_RATE,
	BH_GATE_GROUP,
	BH_GATE_CONCURRENCY,
	BH_GATE_MAX_ACTIVE,
	BH_GATE_NO_HANDLER,
	BH_GATE_BROKEN,
	BH_GATE_UNIQUE,
	BH_GATE_BACKEND
};

struct bh_why {
	enum bh_gate gate;
	int64_t until;			/* wall ms, 0 unknown */
	int64_t ahead;			/* id of the job that is in the way */
	enum bh_job_state state;
	char text[400];
};

/* job_get: one job; wait_ms (-1 no, 0 for ever) waits until it is completed
 * or failed, and answers none when it is not by then. With why set, only that
 * is filled. */
struct bh_get {
	struct bh_req req;
	int64_t id;
	int64_t wait_ms;
	struct bh_why *why;		/* in: where to, or NULL */
	struct bh_job *job;		/* out: NULL if there is none */
};

/* job_list: a page of one queue's jobs in one state, by id. */
struct bh_list {
	struct bh_req req;
	struct bh_bytes queue;
	enum bh_job_state state;
	int64_t cursor;			/* 0 starts; out: 0 ended */
	uint32_t count;
	bool reverse;
	uint64_t fingerprint;		/* failed only, 0 any */
	struct bh_job *jobs;		/* out */
	size_t njobs;			/* out */
};

enum bh_job_action {
	BH_JOB_RETRY,			/* failed to waiting */
	BH_JOB_REMOVE,
	BH_JOB_PROMOTE,			/* delayed to waiting */
	BH_JOB_UPDATE,			/* text is the new payload */
	BH_JOB_CANCEL			/* text is the reason */
};

struct bh_alter {
	struct bh_req req;
	int64_t id;
	enum bh_job_action action;
	bool fresh;			/* RETRY: forget the steps */
	struct bh_bytes arg;
};

/* Upper bounds of the buckets of run times, in ms; one more has the rest. */
#define BH_RUNTIME_BOUNDS                                                    \
	5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, \
	300000
enum { BH_RUNTIME_BUCKETS = 15 };

struct bh_queue_stats {
	struct bh_bytes name;
	int64_t count[BH_STATES];
	bool paused;
	int64_t paused_at;
	struct bh_bytes paused_by;
	int64_t held_until;		/* 0 not held */
	struct bh_bytes held_reason;
	int64_t oldest_waiting_ms;
	int64_t processed_total, failed_total, stalled_total;
	int64_t p50_ms, p95_ms, p99_ms;
	/* Since the backend was opened: run times of ended tries, each in its
	 * own bucket alone; jobs that were added, completed, taken away by
	 * JOB.REMOVE or QUEUE.PURGE; failed tries that another one follows. */
	int64_t runtime_count, runtime_sum_ms;
	int64_t runtime_bucket[BH_RUNTIME_BUCKETS];
	int64_t added_total, completed_total, retried_total, removed_total;
};

struct bh_error_group {
	uint64_t fingerprint;
	int64_t count;
	int64_t first_at, last_at;
	int64_t sample_id;
	struct bh_bytes text;
};

/* queue_stats: of one queue, or of all when queue is empty. With errors set,
 * the fingerprints of that queue's failed jobs instead, most frequent first. */
struct bh_stats {
	struct bh_req req;
	struct bh_bytes queue;
	bool errors;
	struct bh_queue_stats *queues;	/* out */
	size_t nqueues;
	struct bh_error_group *groups;	/* out */
	size_t ngroups;
};

enum bh_queue_action {
	BH_QUEUE_PAUSE,
	BH_QUEUE_RESUME,		/* ends a hold too */
	BH_QUEUE_HOLD,			/* until now + ms */
	BH_QUEUE_RETRY,			/* its failed jobs, in slices */
	BH_QUEUE_PURGE			/* one state, in slices */
};

struct bh_queue_alter {
	struct bh_req req;
	struct bh_bytes queue;
	enum bh_queue_action action;
	struct bh_bytes by;		/* PAUSE: who */
	struct bh_bytes reason;		/* HOLD */
	int64_t hold_ms;
	enum bh_job_state state;	/* PURGE */
	uint64_t fingerprint;		/* RETRY, PURGE failed: 0 any */
	int64_t count;			/* out: jobs touched */
};

/* What a schedule does with ticks that passed while it could not run, and
 * with a tick while the job of the last one still lives. */
enum bh_misfire { BH_MISFIRE_SKIP, BH_MISFIRE_ONCE, BH_MISFIRE_ALL };
enum bh_overlap { BH_OVERLAP_SKIP, BH_OVERLAP_QUEUE };
enum bh_tick_outcome { BH_TICK_RAN, BH_TICK_LATE, BH_TICK_SKIPPED };

struct bh_tick {
	int64_t due;			/* wall ms */
	int64_t at;			/* when it was dealt with */
	enum bh_tick_outcome outcome;
	int64_t job;			/* 0 when none was added */
};

/* A row keyed by name: cron (with a zone) or every_ms. */
struct bh_schedule {
	struct bh_bytes name;
	struct bh_bytes owner;		/* file of the script that declares
					   it; empty: set by a client */
	struct bh_bytes queue;
	struct bh_bytes payload;
	struct bh_bytes cron;		/* empty: every_ms */
	struct bh_bytes zone;		/* empty: UTC */
	int64_t every_ms;		/* 0: cron */
	enum bh_misfire misfire;
	enum bh_overlap overlap;
	struct bh_job_opts opts;
	/* out: */
	int64_t created_at;
	int64_t next_at;		/* wall ms, 0 never */
	const struct bh_tick *ticks;	/* the last ones, newest first */
	size_t nticks;
};

/* schedule_put: makes the row or replaces it; one whose times stay the same
 * keeps its ticks and its next time. CONFLICT when its owner is another. */
struct bh_schedule_put {
	struct bh_req req;
	struct bh_schedule schedule;
	int64_t next_at;		/* out */
};

/* schedule_list: one by name, or all by name when it is empty. */
struct bh_schedule_list {
	struct bh_req req;
	struct bh_bytes name;
	struct bh_schedule *schedules;	/* out */
	size_t nschedules;
};

struct bh_schedule_remove {
	struct bh_req req;
	struct bh_bytes name;
	struct bh_bytes owner;		/* who asks: a script's file, or empty;
					   CONFLICT when it is another's */
};

/* An answer of the keyspace, as RESP2 has it. It is a row of these: an array
 * is followed by its n items, a map by its n pairs, each item whole before the
 * next one begins. */
enum bh_value_type {
	BH_NULL, BH_NULL_ARRAY, BH_STATUS, BH_ERROR, BH_INTEGER, BH_DOUBLE,
	BH_STRING, BH_ARRAY, BH_MAP
};

struct bh_value {
	enum bh_value_type type;
	union {
		int64_t i;
		double d;
		struct bh_bytes s;	/* STATUS, ERROR (word first), STRING */
		size_t n;		/* ARRAY, MAP */
	};
};

/* What a connection has queued between MULTI and EXEC. */
struct bh_queued {
	const struct bh_bytes *argv;
	size_t argc;
};

/* key_command: a command of the keyspace as Redis has it, argv[0] its name;
 * arity and role have been checked. An error of the command itself (WRONGTYPE)
 * is a value; status is for the backend's. */
struct bh_key_command {
	struct bh_req req;
	const struct bh_bytes *argv;
	size_t argc;
	/* Who asks, for WATCH, UNWATCH and EXEC: each connection has a number
	 * of its own, 0 is nobody. When one that has sent WATCH goes, UNWATCH
	 * is sent for it. */
	uint64_t client;
	bool admin;			/* who may run FLUSHALL, by EVAL too */
	/* EXEC: these commands as one, of the keyspace all, and PUBLISH,
	 * CL.THROTTLE. value: an array of their answers, in which no command
	 * has waited; BH_NULL_ARRAY: a watched key has changed, nothing has run;
	 * or an error: nothing has run. MULTI itself is never sent. */
	const struct bh_queued *queued;
	size_t nqueued;
	const struct bh_value *value;	/* out: the first of the row */
};

/* Where a command of the keyspace has its keys: the words first, first + step,
 * … last, which may be counted from the end (-1: the last word). */
struct bh_key_info {
	int first, last, step;		/* first 0: it has none there */
	bool blocks;			/* it may wait for a client's time */
	bool movable;			/* more keys than these numbers tell */
};

/* throttle: one or several token buckets of a key, all or nothing (GCRA). */
struct bh_window {
	int64_t limit;			/* tokens each per_ms */
	int64_t per_ms;
	int64_t burst;			/* size of the bucket */
	/* out: */
	int64_t remaining;
	int64_t reset_ms;		/* until the bucket is full */
	int64_t retry_ms;		/* until enough tokens; -1: taken */
};

struct bh_throttle {
	struct bh_req req;
	struct bh_bytes key;
	int64_t quantity;
	struct bh_window *windows;	/* in and out */
	size_t nwindows;
	bool allowed;			/* out */
};

/* publish: to everybody who is subscribed now, on every instance. */
struct bh_publish {
	struct bh_req req;
	struct bh_bytes topic;
	struct bh_bytes message;
	int64_t receivers;		/* out */
};

/* A job's change of state or progress, once it is committed. */
enum bh_job_news {
	BH_NEWS_ADDED, BH_NEWS_ACTIVE, BH_NEWS_COMPLETED, BH_NEWS_FAILED,
	BH_NEWS_RETRYING, BH_NEWS_STALLED, BH_NEWS_PROGRESS, BH_NEWS_REMOVED
};

struct bh_job_event {
	enum bh_job_news news;
	int64_t id;
	struct bh_bytes queue;
	enum bh_job_state state;
	int32_t attempt;
	int64_t at;			/* wall ms */
	struct bh_bytes progress;	/* BH_NEWS_PROGRESS */
	struct bh_bytes error;		/* FAILED, RETRYING */
};

/* A script's on_completed, on_failed or on_stalled that is owed: recorded with
 * the change of state, offered until callback_done(), also after a restart. */
enum bh_callback_kind { BH_ON_COMPLETED, BH_ON_FAILED, BH_ON_STALLED };

struct bh_callback {
	int64_t id;			/* of the callback, not of the job */
	enum bh_callback_kind kind;
	struct bh_bytes queue;
	int64_t job;
	int32_t attempt;
	struct bh_bytes payload;
	struct bh_bytes result;		/* ON_COMPLETED */
	struct bh_bytes error;		/* ON_FAILED, ON_STALLED */
};

/* What the backend tells, from inside turn_begin() or turn_end(). Strings last
 * until the call returns. */
struct bh_events {
	/* JOB.CANCEL of a job that a Lua handler holds: ask it to stop, end
	 * it, then job_finish() with BH_FAIL. */
	void (*cancelled)(void *arg, int64_t id, uint64_t token,
	    struct bh_bytes reason);
	void (*callback)(void *arg, const struct bh_callback *cb);
	/* Only while watch_jobs is on. */
	void (*job)(void *arg, const struct bh_job_event *ev);
	/* Something was published on a topic; how many have received it. */
	int64_t (*message)(void *arg, struct bh_bytes topic,
	    struct bh_bytes message);
	/* How many would receive it now. */
	int64_t (*receivers)(void *arg, struct bh_bytes topic);
};

/* What the backend tells about itself. */
struct bh_health {
	const char *type;		/* "embedded" */
	bool accepting;			/* new work is taken */
	char text[200];			/* why not, or what is noteworthy */
	int64_t db_bytes, wal_bytes, disk_limit;
	int64_t commits_total, commit_rows_total;
	int64_t commit_p50_us, commit_p99_us;
	int64_t jobs_memory_bytes;
	int64_t busy_ms;		/* its slowest thread, at one thing */
	/* The keyspace: how many, with an expiry, durable; bytes of durable
	 * and of volatile ones; since the start: found, not found, expired,
	 * evicted. */
	int64_t keys, keys_expiring, keys_durable;
	int64_t keys_memory_bytes, cache_memory_bytes;
	int64_t key_hits, key_misses, keys_expired, keys_evicted;
	int64_t limiters;
	/* Jobs and results that are kept here until the backend is back or
	 * has taken them; outbox_open: while it does not accept, new jobs
	 * still go there. */
	int64_t outbox;
	bool outbox_open;
};

/*
 * A backend: at most 16 verbs beside the life cycle. Every verb follows the
 * asynchronous contract above; be is what open() gave.
 */
struct bh_backend_ops {
	const char *name;

	void (*job_put)(void *be, struct bh_put *r);
	void (*job_reserve)(void *be, struct bh_reserve *r);
	void (*job_finish)(void *be, struct bh_finish *r);
	void (*job_extend)(void *be, struct bh_extend *r);
	void (*job_get)(void *be, struct bh_get *r);
	void (*job_list)(void *be, struct bh_list *r);
	void (*job_alter)(void *be, struct bh_alter *r);
	void (*queue_stats)(void *be, struct bh_stats *r);
	void (*queue_alter)(void *be, struct bh_queue_alter *r);
	void (*schedule_put)(void *be, struct bh_schedule_put *r);
	void (*schedule_list)(void *be, struct bh_schedule_list *r);
	void (*schedule_remove)(void *be, struct bh_schedule_remove *r);
	void (*key_command)(void *be, struct bh_key_command *r);
	void (*throttle)(void *be, struct bh_throttle *r);
	void (*publish)(void *be, struct bh_publish *r);
	/* Whether messages of topics that match the glob are wanted here; no
	 * answer. Calls nest: off undoes one on. */
	void (*subscribe)(void *be, struct bh_bytes pattern, bool on);

	/* Ends a waiting job_reserve or job_get: its done() is called with
	 * BH_E_CANCELED, later. No-op when the answer is already on its way;
	 * claimed jobs are released then if the caller says so by finishing
	 * them. */
	void (*cancel)(void *be, struct bh_req *req);

	/* One turn of the loop, in two halves. begin: take what has been
	 * committed or read, do what is due. end: serve waiting callers, hand
	 * the turn's changes to the disk, call done() of what is ready.
	 * end answers with the mono ms of the next thing due, INT64_MAX none. */
	void (*turn_begin)(void *be, int64_t wall_ms, int64_t mono_ms);
	int64_t (*turn_end)(void *be);

	/* Who hears of events; offers all owed callbacks again. */
	void (*listen)(void *be, const struct bh_events *events, void *arg);
	/* This callback has run (or nobody wants it any more). */
	void (*callback_done)(void *be, int64_t id);

	/* Whether bh_events.job is wanted: what nobody hears costs nothing. */
	void (*watch_jobs)(void *be, bool on);

	/* Queue options have changed (configuration or scripts). */
	void (*options_changed)(void *be);
	void (*health)(void *be, struct bh_health *ret);
	/* Stops handing out jobs; requests still end. */
	void (*drain)(void *be);
	/* True when nothing is waiting for the disk. */
	bool (*idle)(void *be);
	/* Every request under way is ended with BH_E_CANCELED first. */
	void (*close)(void *be);
};

/* --------------------------------------------------- what a queue is told */

enum bh_rate_by { BH_RATE_BY_QUEUE, BH_RATE_BY_GROUP };
enum bh_group_order { BH_GROUP_STRICT, BH_GROUP_SKIP };

/* The options of a queue; behind each one what holds when nobody says it. */
struct bh_queue_opts {
	int64_t weight;			/* 1 */
	int64_t strict;			/* 0 or 1; 0 */
	int64_t concurrency;		/* 10 */
	int64_t max_active;		/* 0 = no limit */
	int64_t rate_limit;		/* 0 = none */
	int64_t rate_per_ms;
	int64_t rate_burst;		/* rate_limit */
	int64_t rate_by;		/* enum bh_rate_by */
	int64_t group_concurrency;	/* 1 */
	int64_t group_order;		/* BH_GROUP_STRICT */
	int64_t max_waiting;		/* 0 = no limit */
	int64_t batch_max;		/* 0 = handlers get single jobs */
	int64_t batch_window_ms;	/* 2 s */
	int64_t batch_quiet_ms;		/* 0 = none */
	int64_t retain_completed_ms;	/* 24 h */
	int64_t retain_completed_count;	/* 1000 */
	int64_t retain_failed_ms;	/* 30 d */
	int64_t retain_failed_count;	/* 10000 */
	char dead_letter[129];		/* "" none */

	/* Defaults for jobs that do not say themselves. */
	int64_t attempts;		/* 12 */
	int64_t backoff_type;		/* BH_BACKOFF_EXPONENTIAL */
	int64_t backoff_ms;		/* 5 s */
	int64_t backoff_max_ms;		/* 6 h */
	double backoff_factor;		/* 3 */
	double backoff_jitter;		/* 0.2 */
	int64_t timeout_ms;		/* 60 s */
	int64_t lease_ms;		/* 30 s */
	int64_t max_stalled;		/* 2 */

	/* Which on_* the script has: bits 1 << enum bh_callback_kind; 0. */
	int64_t callbacks;
};

/* ------------------------------------------------------ times of schedules */

/*
 * Where a schedule stands, and what follows from it: decided in one place for
 * every backend, which keeps the clock with the row and adds the jobs.
 *
 * wall: ms since 1970, which may jump; steady: any clock that does not.
 * due is a time of the schedule's own clock: wall for cron, steady for every.
 */
struct bh_schedule_clock {
	int64_t due;			/* the next tick; INT64_MAX never */
	int64_t after;			/* wall: all up to here are dealt with */
	int64_t seen;			/* wall: the latest `after` there was */
	int64_t burst;			/* missed ticks made up for in a row */
	bool catching;			/* between two of them */
	/* The wall clock is more than a day behind `after`: nothing is due. Who
	 * keeps the clock waits an hour, then calls accept(). */
	bool doubt;
	int64_t doubt_wall;		/* when that was noticed */
};

/* One tick that is to be dealt with. */
struct bh_tick_plan {
	int64_t due;			/* of the schedule's own clock */
	int64_t due_wall;
	enum bh_tick_outcome outcome;	/* SKIPPED: it is only noted */
	bool may_overlap;		/* else not while the last job lives */
	bool made_up;			/* one of many: a slice a turn */
};

/* Of a schedule, only cron, zone, every_ms, misfire and overlap are read. */
struct bh_schedule_time {
	/* 0, or BH_E_BADARG with a sentence: no such zone, no such time. */
	int (*check)(const struct bh_schedule *s, int64_t wall_ms,
	    char err[BH_ERROR_TEXT]);
	/* A new one. */
	void (*begin)(const struct bh_schedule *s,
	    struct bh_schedule_clock *c, int64_t wall_ms, int64_t steady_ms);
	/* What was kept is read back, or the zone's rules may be others: due of
	 * a cron schedule anew. */
	void (*renew)(const struct bh_schedule *s,
	    struct bh_schedule_clock *c);
	/* The clocks may have jumped: sets doubt; true when it has changed. */
	bool (*look)(const struct bh_schedule *s,
	    struct bh_schedule_clock *c, int64_t wall_ms);
	void (*accept)(const struct bh_schedule *s,
	    struct bh_schedule_clock *c);
	/* The next tick to deal with, or false: nothing is due before c->due
	 * (which may have moved on). */
	bool (*plan)(const struct bh_schedule *s,
	    struct bh_schedule_clock *c, int64_t wall_ms, int64_t steady_ms,
	    struct bh_tick_plan *ret);
	/* It has been dealt with. */
	void (*dealt)(const struct bh_schedule *s,
	    struct bh_schedule_clock *c, const struct bh_tick_plan *plan,
	    int64_t wall_ms);
};

/* ------------------------------------------------ moving between stores */

/*
 * What a store holds, as rows: the tables and columns of the local store's
 * schema (see src/journal/schema.sql for what they mean), each value as bytes,
 * numbers in decimal, data NULL for NULL. A queue is its name. Rows of
 * LEASE, ERROR, STEP, SCHEDULE_STATE, TICK and KEY_PART follow the row that
 * they belong to.
 *
 * X(table, column, type): type is i(nteger), r(eal), t(ext) or b(lob).
 */
#define BH_COLS_META(X) X(META, next_id, i)
#define BH_COLS_QUEUE(X)                                                     \
	X(QUEUE, name, t) X(QUEUE, paused_at, i) X(QUEUE, paused_by, t)      \
	X(QUEUE, held_until, i) X(QUEUE, held_reason, t)                     \
	X(QUEUE, processed, i) X(QUEUE, failed, i) X(QUEUE, stalled, i)
#define BH_COLS_SCHEDULE(X)                                                  \
	X(SCHEDULE, name, t) X(SCHEDULE, owner, t) X(SCHEDULE, queue, t)     \
	X(SCHEDULE, cron, t) X(SCHEDULE, zone, t) X(SCHEDULE, every_ms, i)   \
	X(SCHEDULE, misfire, i) X(SCHEDULE, overlap, i)                      \
	X(SCHEDULE, created_at, i) X(SCHEDULE, priority, i)                  \
	X(SCHEDULE, delay_ms, i) X(SCHEDULE, expires_ms, i)                  \
	X(SCHEDULE, attempts, i) X(SCHEDULE, timeout_ms, i)                  \
	X(SCHEDULE, backoff_type, i) X(SCHEDULE, backoff_ms, i)              \
	X(SCHEDULE, backoff_max_ms, i) X(SCHEDULE, backoff_factor, r)        \
	X(SCHEDULE, backoff_jitter, r) X(SCHEDULE, group_key, t)             \
	X(SCHEDULE, unique_key, t) X(SCHEDULE, unique_ttl_ms, i)             \
	X(SCHEDULE, unique_mode, i) X(SCHEDULE, lease_ms, i)                 \
	X(SCHEDULE, max_stalled, i) X(SCHEDULE, retain_ms, i)                \
	X(SCHEDULE, payload, b)
#define BH_COLS_SCHEDULE_STATE(X)                                            \
	X(SCHEDULE_STATE, next_at, i) X(SCHEDULE_STATE, after_at, i)         \
	X(SCHEDULE_STATE, seen_at, i) X(SCHEDULE_STATE, job, i)
#define BH_COLS_TICK(X)                                                      \
	X(TICK, n, i) X(TICK, due, i) X(TICK, at, i) X(TICK, outcome, i)     \
	X(TICK, job, i)
#define BH_COLS_KEY(X)                                                       \
	X(KEY, name, b) X(KEY, type, i) X(KEY, expires_at, i) X(KEY, value, b)
#define BH_COLS_KEY_PART(X) X(KEY_PART, part, b) X(KEY_PART, value, b)
#define BH_COLS_JOB(X)                                                       \
	X(JOB, id, i) X(JOB, queue, t) X(JOB, state, i) X(JOB, priority, i)  \
	X(JOB, attempt, i) X(JOB, error_count, i) X(JOB, stalled, i)         \
	X(JOB, wall, i) X(JOB, run_at, i) X(JOB, line_at, i)                 \
	X(JOB, expires_at, i) X(JOB, finished_at, i)                         \
	X(JOB, unique_until, i) X(JOB, follows, i) X(JOB, retain_ms, i)      \
	X(JOB, fingerprint, i) X(JOB, group_key, t) X(JOB, unique_key, t)    \
	X(JOB, lease_ms, i) X(JOB, max_stalled, i) X(JOB, created_at, i)     \
	X(JOB, started_at, i) X(JOB, attempts, i) X(JOB, timeout_ms, i)      \
	X(JOB, backoff_type, i) X(JOB, backoff_ms, i)                        \
	X(JOB, backoff_max_ms, i) X(JOB, backoff_factor, r)                  \
	X(JOB, backoff_jitter, r) X(JOB, unique_ttl_ms, i)                   \
	X(JOB, unique_mode, i) X(JOB, origin, t) X(JOB, progress, b)         \
	X(JOB, error, t) X(JOB, result, b) X(JOB, payload, b)
#define BH_COLS_LEASE(X)                                                     \
	X(LEASE, attempt, i) X(LEASE, token, i) X(LEASE, handler, i)         \
	X(LEASE, started_at, i) X(LEASE, until, i) X(LEASE, worker, t)
#define BH_COLS_ERROR(X)                                                     \
	X(ERROR, n, i) X(ERROR, attempt, i) X(ERROR, at, i)                  \
	X(ERROR, message, t) X(ERROR, version, t)
#define BH_COLS_STEP(X) X(STEP, n, i) X(STEP, name, t) X(STEP, value, b)
#define BH_COLS_CALLBACK(X)                                                  \
	X(CALLBACK, id, i) X(CALLBACK, queue, t) X(CALLBACK, kind, i)        \
	X(CALLBACK, job, i) X(CALLBACK, attempt, i) X(CALLBACK, payload, b)  \
	X(CALLBACK, result, b) X(CALLBACK, error, t)

/* Table, and the column of it that names the row it belongs to. */
#define BH_TABLES(X)                                                         \
	X(META, meta, NULL) X(QUEUE, queue, NULL)                            \
	X(SCHEDULE, schedule, NULL) X(KEY, key, NULL) X(JOB, job, NULL)      \
	X(CALLBACK, callback, NULL)                                          \
	X(SCHEDULE_STATE, schedule_state, "id") X(TICK, tick, "schedule")    \
	X(LEASE, lease, "id") X(ERROR, error, "job") X(STEP, step, "job")    \
	X(KEY_PART, key_part, "key")

enum bh_table {
#define X(table, name, parent) BH_T_##table,
	BH_TABLES(X)
#undef X
	BH_TABLE_COUNT
};

/* BH_JOB_queue, … and BH_JOB_COLS, how many. */
#define X(table, column, type) BH_##table##_##column,
#define BH_COL_ENUM(table, name, parent)                                     \
	enum { BH_COLS_##table(X) BH_##table##_COLS };
BH_TABLES(BH_COL_ENUM)
#undef BH_COL_ENUM
#undef X

struct bh_row {
	enum bh_table table;
	int64_t at;			/* its place in the order of moving */
	const struct bh_bytes *cols;
};

enum bh_local_op {
	/* Opens the store for a move: `down` says whereto; makes the list of
	 * what goes in which order. Out: move, down, counts. */
	BH_LOCAL_BEGIN,
	/* A batch of rows of one table whose place is past `after`; none: that
	 * was all. Jobs come living ones first, in the order in which they
	 * would be served, then the ended ones, each as often as it is asked
	 * for until it is dropped. */
	BH_LOCAL_READ,
	/* Stores rows, in place of what is there. */
	BH_LOCAL_WRITE,
	/* Removes the rows of a READ. */
	BH_LOCAL_DROP,
	/* The move is over: nothing is left here, or all is here. */
	BH_LOCAL_END
};

enum { BH_MOVE_NAME = 20 };

/*
 * A request to the store of this machine (bellhop.db), for a backend that
 * keeps its jobs elsewhere: what is in it moves there once, and can come back.
 * It is worked on by a thread of its own, in order; done() is called in a
 * later turn. Each op is one transaction that is synced.
 */
struct bh_local {
	struct bh_req req;
	enum bh_local_op op;
	bool down;			/* in and out of BEGIN */
	enum bh_table table;		/* READ, DROP: one without parent */
	int64_t after;			/* READ */
	size_t limit;			/* READ: rows of that table, about */
	/* in of WRITE and DROP, out of READ: those are freed by
	 * host->local_free() */
	const struct bh_row *rows;
	size_t nrows;
	/* out of BEGIN: a name for this move, the same one until it is over;
	 * empty: there is nothing to move. How many of each table; living
	 * jobs beside. */
	char move[BH_MOVE_NAME];
	int64_t counts[BH_TABLE_COUNT];
	int64_t living;
	void *mem;			/* the host's */
};

/* ---------------------------------------------------------------- plugins */

/*
 * A plugin is a shared object, $(libdir)/bellhop/NAME.so, that exports
 *
 *	const struct bh_plugin bellhop_plugin;
 *
 * init() registers what the plugin brings, through the calls of struct
 * bh_host, and starts nothing. The daemon then opens the store, calls each
 * door's start(), and from there on the functions that were registered, all on
 * the main thread, none of which may wait.
 */

enum bh_log_level { BH_LOG_ERROR, BH_LOG_WARN, BH_LOG_INFO, BH_LOG_DEBUG };

struct ev_loop;
struct lua_State;
struct bh_host;

struct bh_plugin {
	uint32_t abi;			/* BH_ABI */
	const char *name;		/* as in `plugins` */
	const char *version;		/* of the plugin, for people */
	/* 0, or -1 with a sentence in err: the daemon does not start. */
	int (*init)(const struct bh_host *host, char err[BH_ERROR_TEXT]);
	/* After everything else of it has ended; may be NULL. */
	void (*done)(void);
};

extern const struct bh_plugin bellhop_plugin
    __attribute__((visibility("default")));

/* Who has connected to a door's address. */
struct bh_peer {
	bool is_unix;
	bool loopback;			/* TCP from this machine */
	const char *name;		/* "127.0.0.1:5012", "unix:pid=7,uid=0" */
};

/* Who asks: an identity with a role. One for each connection. */
struct bh_caller;

/* A front door. Each turn: the loop's callbacks, take(), the backend's turn,
 * flush(). */
struct bh_door_ops {
	/* The store is open: accept from now on. 0, or -1 with a sentence. */
	int (*start)(void *arg, char err[BH_ERROR_TEXT]);
	/* Starts commands that have come; may be NULL. */
	void (*take)(void *arg);
	/* Sends the answers that are ready. The mono ms when it wants to be
	 * called again by itself, INT64_MAX never, 0 at once. */
	int64_t (*flush)(void *arg);
	/* The shutdown begins: the addresses are not accepted from any more.
	 * What has been received is answered, waiting calls are cancelled,
	 * each connection is closed after its answer. */
	void (*drain)(void *arg);
	/* True when every connection is closed. */
	bool (*idle)(void *arg);
	/* Closes every connection and ends every call, now. */
	void (*close)(void *arg);
	/* The configuration has been read again; may be NULL. */
	void (*reload)(void *arg);
	/* CLIENT KILL, or its token has been removed: this caller has no
	 * rights any more; the connection is to be closed, later. It may be
	 * another door's: nothing then. May be NULL. */
	void (*kill)(void *arg, struct bh_caller *c);
};

enum bh_call_flag {
	/* JOB.ADD answers a map of id, queue, state and duplicate, JOB.MADD
	 * an array of them. */
	BH_CALL_DETAIL = 1,
	/* It was received after the door's drain(): what changes something
	 * or waits is answered BUSY. */
	BH_CALL_LATE = 2,
	/* A string is answered as its bytes, no JSON around it; null: data
	 * is NULL. */
	BH_CALL_RAW = 4
};

/* One command. The caller fills the first part and leaves all of it alone
 * until done(), which is called exactly once, maybe before run() returns. */
struct bh_call {
	struct bh_caller *caller;
	const struct bh_bytes *argv;	/* the words, as in RESP */
	size_t argc;
	unsigned flags;			/* enum bh_call_flag */
	void (*done)(struct bh_call *call);
	void *user;
	/* In done(): */
	int status;			/* BH_OK or enum bh_error_code */
	const char *text;		/* the error's sentence */
	int64_t retry_ms;		/* when to ask again; -1 unknown */
	struct bh_bytes json;		/* the answer */
	void *priv;			/* the daemon's */
};

struct bh_header {
	const char *name;		/* lower-case */
	struct bh_bytes value;
};

/* A webhook for the script that declares its name. The strings must live
 * until done(), which is called once, later. */
struct bh_hook {
	struct bh_bytes name;
	const char *method;
	struct bh_bytes path;
	const struct bh_header *query;	/* decoded; names as they came */
	size_t nquery;
	const struct bh_header *headers;
	size_t nheaders;
	struct bh_bytes body;
	const char *peer;
	void (*done)(struct bh_hook *hook);
	void *user;
	/* In done(): */
	int http;			/* 202, 200, 204, 401, 404, … */
	int status;			/* enum bh_error_code for the rest */
	const char *text;
	int64_t retry_ms;
	struct bh_bytes json;		/* the answer's body, with any status */
	const char *type;		/* of it; NULL: application/json */
	void *priv;
};

enum bh_feed { BH_FEED_TOPICS, BH_FEED_JOBS };

/* A message of a topic, or news of a job. json is the object that follows
 * "data:" in an event stream; it has no event id inside. */
struct bh_news {
	uint64_t id;			/* ascending, also over restarts */
	struct bh_bytes topic;		/* or the queue */
	struct bh_bytes json;
	struct bh_bytes data;		/* a topic's message as it came */
};

struct bh_subscription;
typedef void bh_news_fn(void *arg, const struct bh_news *news);

/* Where metrics functions write to, in the order of the exposition format:
 * family(), then its samples. labels is "queue=\"a\",state=\"b\"" or "". */
struct bh_metrics {
	void (*family)(const struct bh_metrics *m, const char *name,
	    const char *type, const char *help);
	void (*sample)(const struct bh_metrics *m, const char *suffix,
	    const char *labels, double value);
};

/* Moves everything to the store of this machine; nothing is served meanwhile
 * and after it. */
struct bh_migrate {
	struct bh_req req;
	/* Globs of the users' keys that come along. */
	const struct bh_bytes *keys;
	size_t nkeys;
	int64_t counts[BH_TABLE_COUNT];	/* out: what this call has moved */
};

/* How another backend is made: opened instead of the built-in one when
 * backend.type is ops->name. */
struct bh_backend_type {
	const struct bh_backend_ops *ops;
	int (*open)(void **ret, const struct bh_host *host,
	    char err[BH_ERROR_TEXT]);
	/* Turns run, but the doors stay shut, while it answers 0; 1: they may
	 * open, -1: the daemon cannot start, with a sentence. NULL: 1. */
	int (*ready)(void *be, char err[BH_ERROR_TEXT]);
	/* `bellhopctl migrate`; may be NULL. */
	void (*migrate)(void *be, struct bh_migrate *r);
};

struct bh_host {
	const char *version;		/* of Bellhop */
	struct ev_loop *loop;		/* for watchers of the plugin's own */

	/* --- any time --- */

	void (*log)(enum bh_log_level level, const char *plugin,
	    const char *text);
	void (*now)(int64_t *wall_ms, int64_t *mono_ms);
	/* Another turn is wanted; also from other threads. */
	void (*wake)(void);
	/* An option of bellhop.conf by its name; it lasts until the next
	 * reload. The name must exist and have that type. */
	const char *(*option_str)(const char *name);
	int64_t (*option_int)(const char *name);	/* and sizes, times */
	char *const *(*option_list)(const char *name);	/* ends with NULL */
	/* The store of this machine; see struct bh_local. */
	void (*local)(struct bh_local *r);
	void (*local_free)(struct bh_local *r);
	/* While the backend is away: key commands of the cache alone (false:
	 * it has others; the request is left alone), and rate limiters, in
	 * memory. spare_end(): what they had is forgotten. */
	bool (*spare_key)(struct bh_key_command *r);
	void (*spare_throttle)(struct bh_throttle *r);
	void (*spare_end)(void);

	/* --- for backends, from open() on --- */

	/* What holds for this queue now; options_changed() tells of changes. */
	void (*queue_options)(const char *queue, struct bh_queue_opts *ret);
	/* A number that stays the same over restarts and is no other
	 * instance's, as 16 hexadecimal digits; kept in state_dir. NULL: it
	 * cannot be kept, with a sentence. */
	const char *(*instance)(char err[BH_ERROR_TEXT]);
	/* The message with its numbers, ids and quoted parts folded, at most
	 * size - 1 bytes and a NUL: the length. Its fingerprint is never 0. */
	size_t (*fold)(struct bh_bytes message, char *out, size_t size);
	uint64_t (*fingerprint)(struct bh_bytes message);
	const struct bh_schedule_time *schedules;
	/* false: it is no command of the keyspace. */
	bool (*key_info)(struct bh_bytes command, struct bh_key_info *ret);

	/* --- in init() --- */

	void (*add_door)(const struct bh_door_ops *ops, void *arg);
	void (*add_backend)(const struct bh_backend_type *type);
	/* require()d by scripts under this name, and a global: open pushes
	 * one value. Called on script threads. */
	void (*add_lua)(const char *name, int (*open)(struct lua_State *L));
	void (*add_metrics)(void (*fn)(void *arg, const struct bh_metrics *m),
	    void *arg);
	/* false: not ready, with a sentence in text. */
	void (*add_health)(bool (*fn)(void *arg, char text[BH_ERROR_TEXT]),
	    void *arg);
	/* Everything that happens to jobs, as it is committed. */
	void (*add_sink)(void (*fn)(void *arg, const struct bh_job_event *ev),
	    void *arg);

	/* --- for doors, from start() on --- */

	/* Listens on the addresses of this option, or on what systemd passes
	 * under name. fd is non-blocking and the door's. */
	int (*listen)(const char *option, const char *name,
	    void (*accepted)(void *arg, int fd, const struct bh_peer *peer),
	    void *arg, char err[BH_ERROR_TEXT]);
	struct bh_caller *(*caller_new)(const char *door,
	    const struct bh_peer *peer);
	/* No call of it may be under way. */
	void (*caller_free)(struct bh_caller *c);
	/* From now on with the role of this token; NULL: of its address. 0,
	 * or -1: nobody has this token, the role is the address's. */
	int (*caller_token)(struct bh_caller *c, const char *token);
	void (*run)(struct bh_call *call);
	/* The client is gone: done() is still called. */
	void (*cancel)(struct bh_call *call);
	void (*hook)(struct bh_hook *hook);
	/* News of topics that match the glob, or of a queue's jobs (a name or
	 * a glob). after: the last id that was seen, 0 none; what came since
	 * is told at once, before subscribe() returns, and when some of it is
	 * lost, {"event":"gap"} comes first. NULL: refused, with a sentence
	 * and an error code. */
	struct bh_subscription *(*subscribe)(struct bh_caller *c,
	    enum bh_feed feed, const char *pattern, uint64_t after,
	    bh_news_fn *fn, void *arg, int *code, char err[BH_ERROR_TEXT]);
	void (*unsubscribe)(struct bh_subscription *s);
};

#endif
