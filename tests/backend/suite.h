/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite of struct bh_backend_ops: every backend is to pass
 * all of it. A case is a cmocka test whose state is a struct suite_env with a
 * freshly opened, empty backend. The suite is the loop: it calls turn_begin()
 * and turn_end() itself and turns both clocks by hand.
 *
 * Each request is watched: done() is called exactly once, never before the
 * verb returns, and nothing touches the request or its strings afterwards.
 *
 * Names: ask_*() issues a request and returns; the others issue it, wait for
 * the answer and fail the test unless it is the one expected. What they
 * return lives until the test's end; strings in it end with a NUL.
 */
#ifndef BACKEND_SUITE_H
#define BACKEND_SUITE_H

#include <bsd/sys/queue.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"
#include "base/attr.h"
#include "conf/qopts.h"
#include "plugin.h"

/* Nothing is awaited longer than this. */
#define SUITE_MONTH_MS (31 * INT64_C(86400000))
/* Room for backends that sweep by a timer of their own. */
#define SUITE_SWEEP_MS 120000
/* Windows of one limiter. */
#define SUITE_WINDOWS 4

struct suite_env;

/* What a backend brings to be tested. */
struct suite_backend {
	const char *name;
	const struct bh_backend_ops *ops;
	/* NULL ends the run. */
	void *(*open)(struct suite_env *t);
	/* Closes be and opens it again over the same storage. NULL: none. */
	void *(*reopen)(struct suite_env *t, void *be);
	/* The same as if the process had died. NULL: impossible. */
	void *(*crash)(struct suite_env *t, void *be);
	bool batches;			/* handlers can get jobs together */
	/* Lets its own watchers run for at most so many real milliseconds,
	 * until something has happened; true then. NULL: it has none. */
	bool (*wait)(struct suite_env *t, int ms);
	/* Its server has a clock of its own, which the suite cannot turn. */
	bool own_clock;
};

/* What one add of a chain came to. */
struct chained {
	int64_t id;
	bool duplicate;
	enum bh_job_state state;
};

/* A request under way or answered. */
struct call {
	TAILQ_ENTRY(call) link;
	struct suite_env *t;
	const char *verb;
	int kind;
	bool in_verb;
	int answers;
	uint64_t order;			/* when it was answered: 1, 2, … */
	struct arena inputs;		/* freed by the answer */
	void (*then)(struct call *c);	/* called inside done(), or NULL */
	union {
		struct bh_req req;
		struct bh_put put;
		struct bh_reserve reserve;
		struct bh_finish finish;
		struct bh_extend extend;
		struct bh_get get;
		struct bh_list list;
		struct bh_alter alter;
		struct bh_stats stats;
		struct bh_queue_alter queue;
		struct bh_schedule_put schedule_put;
		struct bh_schedule_list schedule_list;
		struct bh_schedule_remove schedule_remove;
		struct bh_key_command key;
		struct bh_throttle throttle;
		struct bh_publish publish;
	} *u;				/* poisoned by the answer */

	/* The answer. */
	int status;
	char text[BH_ERROR_TEXT];
	int64_t *ids;
	bool duplicate;
	enum bh_job_state state;
	struct chained *chain;		/* put: of each one */
	size_t nchain;
	struct bh_job *jobs;		/* get: NULL when there is none */
	size_t njobs;
	struct bh_why why;
	int64_t cursor;
	int64_t count;
	struct bh_queue_stats *queues;
	size_t nqueues;
	struct bh_error_group *groups;
	size_t ngroups;
	int64_t next_at;
	struct bh_schedule *schedules;
	size_t nschedules;
	const struct bh_value *value;	/* key */
	bool allowed;
	struct bh_window windows[SUITE_WINDOWS];
};

/* What the backend told through struct bh_events. */
struct told {
	TAILQ_ENTRY(told) link;
	bool cancelled;			/* else a callback */
	uint64_t token;
	struct bh_bytes reason;
	struct bh_callback cb;		/* cancelled: only job */
};

/* News of a job. */
struct heard {
	TAILQ_ENTRY(heard) link;
	struct bh_job_event ev;
};

/* A message of a topic. */
struct message {
	TAILQ_ENTRY(message) link;
	struct bh_bytes topic, text;
};

TAILQ_HEAD(suite_messages, message);
TAILQ_HEAD(suite_heard, heard);
TAILQ_HEAD(suite_calls, call);
TAILQ_HEAD(suite_told, told);

struct suite_env {
	const struct suite_backend *backend;
	const struct bh_backend_ops *ops;
	void *be;
	struct qopts *qopts;
	char dir[256];			/* empty at open, removed at the end */
	int lives;			/* the backend's own */
	int wake_fd;			/* an eventfd: suite_wake() writes it */
	int64_t wall, mono;
	bool in_turn;			/* between its two halves */
	bool in_done;
	int64_t next;			/* what turn_end() last answered */
	uint64_t order;
	struct suite_calls calls;
	struct suite_told told;
	struct suite_heard heard;
	struct suite_messages messages;
	int64_t receivers;		/* that each message is said to have */
	struct arena arena;
	void *scratch;			/* the case's own */
	char fault[400];		/* a promise broken in a callback */
};

enum suite_needs { SUITE_ANY, SUITE_STORAGE, SUITE_CRASH, SUITE_BATCHES,
    SUITE_KEYSPACE };

struct suite_case {
	const char *name;
	CMUnitTestFunction run;
	enum suite_needs needs;
};

#define CASE(f) {#f, f, SUITE_ANY}
#define CASE_STORAGE(f) {#f, f, SUITE_STORAGE}
#define CASE_CRASH(f) {#f, f, SUITE_CRASH}
#define CASE_BATCHES(f) {#f, f, SUITE_BATCHES}
/* Of a keyspace that is Bellhop's own: its policies, its clock. */
#define CASE_KEYSPACE(f) {#f, f, SUITE_KEYSPACE}

/* A theme's cases, ended by one without a name. */
extern const struct suite_case suite_put_cases[];
extern const struct suite_case suite_reserve_cases[];
extern const struct suite_case suite_finish_cases[];
extern const struct suite_case suite_retry_cases[];
extern const struct suite_case suite_lease_cases[];
extern const struct suite_case suite_time_cases[];
extern const struct suite_case suite_unique_cases[];
extern const struct suite_case suite_group_cases[];
extern const struct suite_case suite_gate_cases[];
extern const struct suite_case suite_share_cases[];
extern const struct suite_case suite_keep_cases[];
extern const struct suite_case suite_failed_cases[];
extern const struct suite_case suite_read_cases[];
extern const struct suite_case suite_alter_cases[];
extern const struct suite_case suite_callback_cases[];
extern const struct suite_case suite_event_cases[];
extern const struct suite_case suite_batch_cases[];
extern const struct suite_case suite_reopen_cases[];
extern const struct suite_case suite_recover_cases[];
extern const struct suite_case suite_storm_cases[];
/* Only for backends that have schedules. */
extern const struct suite_case suite_schedule_cases[];
extern const struct suite_case suite_misfire_cases[];
extern const struct suite_case suite_step_cases[];
extern const struct suite_case suite_chain_cases[];
/* Only for backends that have keys. */
extern const struct suite_case suite_key_cases[];
extern const struct suite_case suite_key_bag_cases[];
extern const struct suite_case suite_key_list_cases[];
extern const struct suite_case suite_stream_cases[];
extern const struct suite_case suite_key_tx_cases[];

/* Runs everything that the backend can; argv[1] is a pattern of case names.
 * The number of failures. */
int suite_main(const struct suite_backend *b, int argc, char **argv);

/* A backend's threads call this when a turn is wanted; arg is the env. */
void suite_wake(void *arg);

/* --- the loop and its clocks --- */

/* The first half of a turn, unless it is under way: the ask functions call
 * it, and so must who calls the backend otherwise. */
void suite_begin(struct suite_env *t);
/* One turn, without waiting. */
void suite_turn(struct suite_env *t);
/* Turns until nothing happens any more at this moment. */
void suite_settle(struct suite_env *t);
/* Lets time pass, stopping wherever turn_end() says that something is due. */
void suite_pass(struct suite_env *t, int64_t ms);
/* Moves the wall clock alone. */
void suite_jump(struct suite_env *t, int64_t ms);
/* Closes and opens again, down for so long, with a new monotonic clock. */
void suite_reopen(struct suite_env *t, int64_t down_ms);
void suite_crash(struct suite_env *t, int64_t down_ms);
/* Crashes with all that is under way, and is back at once. */
void suite_crash_now(struct suite_env *t);

/* Turns until the call is answered; fails the test when it is not. */
void call_wait(struct call *c);
/* Whether it is answered once all has been done that is due by now. */
bool call_answered(struct call *c);
/* The caller went away. */
void call_cancel(struct call *c);
/* Waits, and fails unless the status is BH_OK. */
void call_ok(struct call *c);

/* --- building blocks --- */

static inline struct bh_bytes
bytes(const char *s)
{
	return (struct bh_bytes){s, s ? strlen(s) : 0};
}

static inline struct bh_job_opts
opts_none(void)
{
	struct bh_job_opts o;

	bh_job_opts_init(&o);
	return o;
}

static inline struct bh_queue_opts
queue_none(void)
{
	struct bh_queue_opts o;

	queue_opts_init(&o);
	return o;
}

/* Says the options of a queue (replacing all that was said before). */
void set_options(struct suite_env *t, const char *queue,
    const struct bh_queue_opts *o);
/* Adds a queue's to those said before. */
void add_options(struct suite_env *t, const char *queue,
    const struct bh_queue_opts *o);

/* How a reservation is asked for; zeros are an outside worker that wants one
 * job and does not wait. */
struct want {
	const char *queue;		/* or queues */
	const char *const *queues;
	size_t nqueues;
	uint32_t count;			/* 0: 1 */
	bool wait;
	int64_t block_ms;		/* with wait; 0 for ever */
	int64_t lease_ms;		/* 0: not said */
	bool handler;
	uint32_t *budget;
};

struct call *ask_put(struct suite_env *t, const char *queue,
    const char *payload, const struct bh_job_opts *o);
struct call *ask_put_many(struct suite_env *t, const char *queue, size_t n,
    const struct bh_bytes *payloads, const struct bh_job_opts *o);
/* One job of each, all or none; opts may be NULL. */
struct link {
	const char *queue;
	const char *payload;
	const struct bh_job_opts *opts;
	size_t npayloads;		/* so many alike; 0: 1 */
};
struct call *ask_chain(struct suite_env *t, const struct link *links,
    size_t n);
struct call *ask_reserve(struct suite_env *t, const struct want *w);
struct call *ask_finish(struct suite_env *t, int64_t id, uint64_t token,
    enum bh_outcome outcome, const char *text, int64_t delay_ms, bool final);
struct call *ask_extend(struct suite_env *t, int64_t id, uint64_t token,
    int64_t lease_ms, const char *progress);
/* job:step()'s and job:sleep()'s; value NULL: none. */
struct call *ask_step(struct suite_env *t, int64_t id, uint64_t token,
    const char *name, const char *value);
struct call *ask_sleep(struct suite_env *t, int64_t id, uint64_t token,
    const char *name, int64_t delay_ms);
struct call *ask_fresh(struct suite_env *t, int64_t id);
struct call *ask_get(struct suite_env *t, int64_t id, int64_t wait_ms);
struct call *ask_why(struct suite_env *t, int64_t id);
struct call *ask_list(struct suite_env *t, const struct bh_list *l);
struct call *ask_alter(struct suite_env *t, int64_t id,
    enum bh_job_action action, const char *arg);
struct call *ask_stats(struct suite_env *t, const char *queue, bool errors);
struct call *ask_queue(struct suite_env *t, const struct bh_queue_alter *q);

struct call *ask_schedule_put(struct suite_env *t,
    const struct bh_schedule *s);
struct call *ask_schedule_list(struct suite_env *t, const char *name);
struct call *ask_schedule_remove(struct suite_env *t, const char *name,
    const char *owner);

/* The words of a command, with one blank between them. */
struct call *ask_command(struct suite_env *t, const char *words);
/* The same by a client; EXEC: commands, with '|' between them. */
struct call *ask_command_of(struct suite_env *t, uint64_t client,
    const char *words, const char *commands);
struct call *ask_throttle(struct suite_env *t, const char *key,
    int64_t quantity, const struct bh_window *windows, size_t n);
struct call *ask_publish(struct suite_env *t, const char *topic,
    const char *message);

/* --- one verb, answered --- */

/* A schedule of queue "q" by cron, or (NULL) every ms. */
struct bh_schedule sched(const char *name, const char *cron, const char *zone,
    int64_t every_ms);
/* Its next time. */
int64_t sched_put(struct suite_env *t, const struct bh_schedule *s);
/* NULL when there is none. */
struct bh_schedule *sched_get(struct suite_env *t, const char *name);
/* Moves the wall clock to this time, UTC. */
void sched_date(struct suite_env *t, int year, int month, int day, int hour,
    int minute);
/* Ends what the schedules of "q" have added; how many jobs that were. */
size_t sched_jobs(struct suite_env *t);
/* Fails unless the outcomes, newest first, begin so: r, l or s each. */
void sched_ticks(struct suite_env *t, const char *name, const char *want);

int64_t put(struct suite_env *t, const char *queue, const char *payload);
int64_t put_with(struct suite_env *t, const char *queue, const char *payload,
    const struct bh_job_opts *o);
int64_t put_group(struct suite_env *t, const char *queue, const char *payload,
    const char *group);
void put_count(struct suite_env *t, const char *queue, size_t n,
    const struct bh_job_opts *o);

/* So much payload in queue "filler" that the others are in no small cache. */
void put_filler(struct suite_env *t);

/* The claimed job, or NULL when there is none to have now. */
struct bh_job *take(struct suite_env *t, const char *queue);
struct bh_job *take_handler(struct suite_env *t, const char *queue);
/* Takes one and fails unless it is that job. */
struct bh_job *take_id(struct suite_env *t, const char *queue, int64_t id);
/* Fails unless the queue hands out nothing. */
void take_none(struct suite_env *t, const char *queue);

void finish_done(struct suite_env *t, const struct bh_job *j,
    const char *result);
/* Each answers with the job's new state. */
enum bh_job_state finish_fail(struct suite_env *t, const struct bh_job *j,
    const char *message, int64_t delay_ms);
enum bh_job_state finish_final(struct suite_env *t, const struct bh_job *j,
    const char *message);
enum bh_job_state finish_release(struct suite_env *t, const struct bh_job *j,
    int64_t delay_ms);
/* Runs the next job of the queue to its end. */
int64_t run_done(struct suite_env *t, const char *queue);
int64_t run_final(struct suite_env *t, const char *queue,
    const char *message);

/* NULL when there is no such job. */
struct bh_job *get(struct suite_env *t, int64_t id);
/* A job that must exist. */
struct bh_job *get_job(struct suite_env *t, int64_t id);
void expect_state(struct suite_env *t, int64_t id, enum bh_job_state state);
void expect_gone(struct suite_env *t, int64_t id);
struct bh_why *why(struct suite_env *t, int64_t id);
struct bh_queue_stats *stats(struct suite_env *t, const char *queue);

int alter(struct suite_env *t, int64_t id, enum bh_job_action action,
    const char *arg);
void alter_ok(struct suite_env *t, int64_t id, enum bh_job_action action);
void queue_pause(struct suite_env *t, const char *queue);
void queue_resume(struct suite_env *t, const char *queue);
void queue_hold(struct suite_env *t, const char *queue, int64_t ms,
    const char *reason);
/* The jobs touched. */
int64_t queue_retry(struct suite_env *t, const char *queue,
    uint64_t fingerprint);
int64_t queue_purge(struct suite_env *t, const char *queue,
    enum bh_job_state state, uint64_t fingerprint);

void expect_bytes(struct bh_bytes b, const char *text);
/* Fails unless b begins with text. */
void expect_prefix(struct bh_bytes b, const char *text);
/* Fails unless all that outlives a restart is the same; a lease does not. */
void expect_same_job(const struct bh_job *a, const struct bh_job *b);
/* The first thing told that was not looked at yet, or NULL. */
struct told *told_next(struct suite_env *t);
/* The same of the news of jobs. */
const struct bh_job_event *heard_next(struct suite_env *t);
/* And of the messages. */
const struct message *message_next(struct suite_env *t);

#endif
