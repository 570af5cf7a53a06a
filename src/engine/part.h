/* SPDX-License-Identifier: MIT */
/*
 * What the files of the engine call of each other. Each block names the file
 * that implements it.
 */
#ifndef ENGINE_PART_H
#define ENGINE_PART_H

#include "engine/engine.h"
#include "engine/limit.h"
#include "engine/state.h"

/* --- job.c: identity, and the one place where a job's state changes --- */

struct job *job_new(struct engine *e, int64_t id, struct queue *q);
struct job *job_find(const struct engine *e, int64_t id);
struct ext *job_ext(struct engine *e, struct job *j);
static inline bool
job_is(const struct job *j, enum job_flag f)
{
	return job_flags(j) & f;
}
static inline void
job_set_priority(struct job *j, int priority)
{
	uint8_t *tag = &j->node.timer.tag[1];

	*tag = (uint8_t)((*tag & 0xf0) | (priority & 15));
}
void job_flag(struct job *j, enum job_flag f, bool on);
/* A new job enters its first state. at: see job_move. */
void job_enter(struct engine *e, struct job *j, enum bh_job_state state,
    int64_t at);
/* Moves it. at: delayed, the due time on the job's clock (mono, or wall with
 * JOB_WALL); completed with JOB_RETAIN, the mono ms of its end; else unused. */
void job_move(struct engine *e, struct job *j, enum bh_job_state to,
    int64_t at);
/* A waiting or delayed job waits anew, until at; it loses its place in line. */
void job_redelay(struct engine *e, struct job *j, bool wall, int64_t at);
/* The same without a delay: it goes to the end of its line. */
void job_requeue(struct engine *e, struct job *j);
/* To the front of the waiting line, for a start that was given back. */
void job_move_front(struct engine *e, struct job *j);
/* Out of memory. */
void job_forget(struct engine *e, struct job *j);
/* Out of memory and off the disk: its record, then job_forget(). */
void job_delete(struct engine *e, struct job *j);
void job_record_delete(struct engine *e, struct job *j);
/* May be served now: waiting, and nothing of its own holds it. */
void job_unblock(struct engine *e, struct job *j);
/* A bare JR_* record for this job. */
struct jrec job_rec(const struct job *j, enum jrec_kind kind);
/* Writes the numbers of a living job (JR_JOB_SET or JR_JOB_REVIVE). line_at:
 * its new place in its group's line, 0 leaves it. */
void job_write(struct engine *e, struct job *j, enum jrec_kind kind,
    int64_t line_at);
/* Its timer rings no more. */
void job_untimer(struct engine *e, struct job *j);

/* --- body.c: the bulky part and its cache --- */

/* For an add: copies everything. */
struct body *body_new(struct job *j, const struct bh_job_opts *o,
    struct bh_bytes payload, struct bh_bytes origin);
/* An empty one, to be loaded. */
struct body *body_blank(struct job *j);
struct body *body_ref(struct body *b);
void body_unref(struct body *b);
void body_set_progress(struct body *b, struct bh_bytes progress);
void body_load(struct body *b, struct jbody *disk);	/* takes disk */
/* Keeps the job's body in the cache, evicting the least recently used. */
void body_cache(struct engine *e, struct body *b);
void body_uncache(struct engine *e, struct body *b);
/* The job lets go of it. */
void body_drop(struct engine *e, struct job *j);

/* --- queue.c --- */

extern const struct map_ops queue_map_ops, failures_map_ops;
struct queue *queue_find(const struct engine *e, struct bh_bytes name);
/* May there be `more` queues, one of this name among them? */
int queue_admit(const struct engine *e, struct bh_bytes name, size_t more,
    struct err *err);
/* Makes it when it is not there; NULL with err set past max_queues. */
struct queue *queue_obtain(struct engine *e, struct bh_bytes name,
    struct err *err);
struct queue *queue_add(struct engine *e, int64_t id, struct bh_bytes name);
void queue_free(struct engine *e, struct queue *q);
void queue_write(struct engine *e, const struct queue *q);
void queue_touch_totals(struct engine *e, struct queue *q);
/* A node joins or leaves the ready list of a priority; queue_refresh() must
 * follow. */
void queue_ready(struct queue *q, struct node *n, int priority, bool front);
void queue_unready(struct engine *e, struct queue *q, struct node *n,
    int priority);
/* The gate that holds the whole queue now, and (mono ms, or INT64_MAX) until
 * when. */
enum bh_gate queue_gate(const struct engine *e, const struct queue *q,
    int64_t *ret_until);
/* Puts it among the queues to serve, or sets its timer, as gates allow. */
void queue_refresh(struct engine *e, struct queue *q);
struct limit_rate queue_rate(const struct queue *q);
/* Oldest ones over age or count go; at most SLICE. */
void queue_sweep(struct engine *e, struct queue *q);
void queue_runtime(struct engine *e, struct queue *q, int64_t ms);
void queue_failure_add(struct queue *q, uint64_t fp, int64_t at, int64_t id);
void queue_failure_drop(struct queue *q, uint64_t fp);

/* --- group.c --- */

extern const struct map_ops group_map_ops;
void group_join(struct engine *e, struct job *j);	/* tail of the line */
void group_leave(struct engine *e, struct job *j);
/* Its place among the ready ones follows its line; rotate: to the tail. */
void group_refresh(struct engine *e, struct group *g, bool rotate);
/* The job that may start next, or NULL; *ret_ahead: who is in the way. */
struct job *group_next(const struct engine *e, const struct group *g,
    struct job **ret_ahead);
void group_name(struct engine *e, struct job *j, struct bh_bytes key);
/* One more job is active; another says that it is not the first of its
 * batch. */
void group_started(struct engine *e, struct group *g, bool another);
/* A job or, with its last one, a batch is active no more. */
void group_ended(struct engine *e, struct group *g);
/* Its timer rang: a token has come, or the bucket is full again. */
void group_timer(struct engine *e, struct group *g);
/* mono ms when the group's bucket has a token, now or earlier if it has. */
int64_t group_token_at(const struct engine *e, const struct group *g);

/* --- batch.c: batches for handlers --- */

/* The queue's options have (or may have) changed. */
void batch_configure(struct engine *e, struct queue *q);
void batch_free(struct engine *e, struct queue *q);
void batch_forget(struct engine *e, struct group *g);
/* A job is waiting from now on, or no more; what it belongs to (group NULL:
 * to none) has counted it already. */
void batch_joined(struct engine *e, const struct job *j);
void batch_left(struct queue *q, struct group *g);
/* Follows what it gathers from: ripe, gathering or nothing there. */
void batch_refresh(struct engine *e, struct gather *g);
void batch_timer(struct engine *e, struct gather *g);
static inline bool
batch_ready(const struct queue *q)
{
	return q->batching && q->batching->ripe_mask;
}
/* The jobs of the batch that is next in the queue, as many as may start now,
 * in order; at most BATCH_MAX. batch_ready() is true. */
enum { BATCH_MAX = 1000 };
size_t batch_next(struct engine *e, struct queue *q,
    struct job *jobs[BATCH_MAX]);
struct batch *batch_new(struct engine *e, struct job **jobs, size_t n);
/* The job (active) becomes one of it, or leaves it; true: as the last. */
void batch_enter(struct batch *b, struct job *j);
bool batch_leave(struct job *j);
/* The batch that this waiting job will be part of gathers until this mono
 * time; or it does no more, and the job is *ret_member of the next one. */
bool batch_gathering(const struct job *j, int64_t *ret_until,
    bool *ret_member);

/* --- event.c: news of jobs for those who watch --- */

struct news;
/* The records of what it tells have been appended. text: of PROGRESS, or the
 * error. Costs nothing while nobody watches. */
void event_note(struct engine *e, enum bh_job_news news, const struct job *j,
    struct bh_bytes text);
/* Tells what is durable. */
void event_tell(struct engine *e);
/* This job's are not told, it has never been: noted, and then done for all of
 * them at once. */
void event_void(struct engine *e, int64_t id);
void event_void_all(struct engine *e);
void event_free_all(struct engine *e);

/* --- unique.c --- */

extern const struct map_ops unique_map_ops;
struct keyhash key_hash(const struct engine *e, const struct queue *q,
    struct bh_bytes key);
/* The living job that holds the key, or NULL. */
struct job *unique_holder(struct engine *e, const struct queue *q,
    struct bh_bytes key);
void unique_take(struct engine *e, struct job *j, struct bh_bytes key,
    int64_t until);
void unique_free(struct engine *e, struct job *j);
/* A follow-up that ends before its turn lends the key back. */
void unique_give_back(struct engine *e, struct job *from, struct job *to);

/* --- step.c: what job:step() keeps --- */

/* The steps of an active job, as they were read. */
void step_load(struct engine *e, struct job *j, const struct jbody *d);
/* Whether one more may be kept: 0, or -1 with err set. */
int step_check(struct engine *e, const struct job *j,
    const struct bh_step *s, struct err *err);
/* Keeps it; step_check() has allowed it. */
void step_add(struct engine *e, struct job *j, const struct bh_step *s);
/* The job has none any more. */
void step_forget(struct engine *e, struct job *j);

/* --- finish.c: ends of attempts, also those that nobody asked for --- */

void finish_stalled(struct engine *e, struct job *j);
/* For good, with an error; version: of the script, or empty. What needs the
 * payload (dead letter, callback) waits until it is read; req (may be NULL)
 * is answered when it is done. */
void finish_failed(struct engine *e, struct job *j, struct bh_bytes message,
    struct bh_bytes version, struct bh_req *req);

/* --- get.c --- */

extern const struct map_ops getter_map_ops;

/* Whoever waits for this job, which has just ended, gets it. */
void getters_wake(struct engine *e, struct job *j, enum bh_job_state state,
    struct bh_bytes result, struct bh_bytes error);
/* The job is gone without an end: they get none. */
void getters_drop(struct engine *e, int64_t id);

/* --- put.c --- */

/* A job with all its records, in its first state. */
struct job *put_job(struct engine *e, struct queue *q,
    const struct bh_job_opts *o, struct bh_bytes payload,
    struct bh_bytes origin);
/* What job_put does, but for the answer: 0, or -1 and nothing is changed. */
MUSTCHECK int put_now(struct engine *e, struct bh_put *r, struct err *err);
/* Its jobs, that are not on the disk, have never been; false when that cannot
 * be: one of them has been claimed, or a living job was changed. */
bool put_take_back(struct engine *e, const struct bh_put *r);
void put_payload(struct engine *e, struct job *j, struct bh_bytes payload);
/* When a living job stops being unstarted: mono ms, INT64_MAX never. */
int64_t put_expiry(const struct engine *e, const struct job *j);

/* --- admit.c --- */

/* May all of these jobs come in? 0, or -1 with err set and nothing changed. */
int admit_puts(struct engine *e, const struct bh_put *first, struct err *err);

/* --- answer.c: results and their delivery --- */

struct answer {
	struct bh_job *jobs;
	struct body **bodies;		/* a reference each, or NULL */
	struct jbody **disks;		/* owned, or NULL */
	size_t n, cap;
	bool errors;			/* histories are wanted */
	bool steps;			/* some of the claimed have steps */
	bool handler;			/* claimed by one: it gets them */
	struct jread read;
	int64_t *ids;
	struct engine *engine;
	struct bh_req *req;
	void (*resume)(struct engine *e, struct answer *a);
	void *extra;			/* freed with it */
};

/* Marks in bh_req.priv.kind. */
enum answer_kind { ANSWER_PLAIN, ANSWER_PUT, ANSWER_WAITER, ANSWER_GETTER };

/* The request is answered once everything up to now is durable. */
void answer_ok(struct engine *e, struct bh_req *req);
PRINTF(4, 5) void answer_error(struct engine *e, struct bh_req *req, int code,
    const char *fmt, ...);
struct answer *answer_new(struct engine *e, struct bh_req *req);
void answer_add(struct engine *e, struct answer *a, struct job *j);
/* Reads what is not in memory, then answers. */
void answer_complete(struct engine *e, struct answer *a);
/* The last job added was read already: d (owned) has its bulk. */
void answer_take(struct answer *a, const struct job *j, struct jbody *d);
void answer_resolve(const struct job *j, const struct bh_job_opts *o,
    struct bh_job *ret);
void answer_free(struct answer **a);
/* Calls done(). */
void answer_tell(struct bh_req *req);

/* The lease, attempts … that hold for this job when it starts. */
int32_t opts_attempts(const struct job *j);
int32_t opts_max_stalled(const struct job *j);

/* --- callback.c --- */

void callback_owe(struct engine *e, struct queue *q,
    enum bh_callback_kind kind, struct job *j, struct bh_bytes result,
    struct bh_bytes error);
void callback_restore(struct engine *e, struct queue *q,
    const struct bh_callback *cb);
void callback_tell(struct engine *e);
void callback_free_all(struct engine *e);

/* --- reserve.c --- */

void lease_extend(struct engine *e, struct job *j, int64_t ms);
void lease_resolve(struct engine *e, struct job *j);
void waiter_timeout(struct engine *e, struct waiter *w);
void getter_timeout(struct engine *e, struct getter *g);
void waiter_cancel(struct engine *e, struct waiter *w);
void getter_cancel(struct engine *e, struct getter *g);

/* --- why.c --- */

void why_explain(struct engine *e, struct job *j, struct bh_why *w);

/* --- alter.c --- */

/* A failed job lives again; d has its keys. fresh: without its steps. */
void alter_revive(struct engine *e, struct job *j, const struct jbody *d,
    bool fresh);

/* It goes at an operator's wish; not while it is active. */
void alter_remove_now(struct engine *e, struct job *j);

/* --- bulk.c --- */

void bulk_run(struct engine *e);
void bulk_end(struct engine *e, struct bulk *b);

/* --- schedule.c --- */

/* From the disk; schedule_enter_all() comes when all is known. */
void schedule_restore(struct engine *e, int64_t id,
    const struct bh_schedule *row, const struct jschedule_state *state);
void schedule_restore_tick(struct engine *e, int64_t id, int64_t n,
    const struct bh_tick *tick);
/* The newest line of its history. */
void schedule_keep_tick(struct schedule *s, int64_t n,
    const struct bh_tick *tick);
void schedule_free_all(struct engine *e);

/* --- tick.c --- */

void schedule_enter_all(struct engine *e);
/* Its timer rang. */
void schedule_due(struct engine *e, struct schedule *s);
/* Before what is due is done: the wall clock may have jumped, now and then a
 * zone's file has changed, and some were postponed. */
void schedule_look(struct engine *e);
void schedule_reload_zones(struct engine *e);
/* No tick any more; what is missed is found at the next start. */
void schedule_stop(struct engine *e);
/* A new one begins now. */
void schedule_begin(struct engine *e, struct schedule *s);
/* Its timer follows what it is to do next. */
void schedule_arm(struct engine *e, struct schedule *s);
void schedule_unarm(struct engine *e, struct schedule *s);
/* The wall time of the next tick, 0 never. */
int64_t schedule_next(const struct engine *e, const struct schedule *s);
struct jschedule_state schedule_state(const struct engine *e,
    const struct schedule *s);

static inline struct bh_bytes
bytes_of(const char *s)
{
	return (struct bh_bytes){s, s ? __builtin_strlen(s) : 0};
}

static inline struct job *
job_of_timer(struct heap_item *t)
{
	return (struct job *)((char *)t - offsetof(struct job, node.timer));
}

static inline struct job *
job_of_node(struct node *n)
{
	return (struct job *)((char *)n - offsetof(struct job, node));
}

static inline struct group *
group_of_node(struct node *n)
{
	return (struct group *)n;
}

#endif
