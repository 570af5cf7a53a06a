/* SPDX-License-Identifier: MIT */
/*
 * The engine's own shapes, shared by the files of this folder only.
 *
 * Every stored job, whatever its state, is one struct job in memory (80
 * bytes, from a slab): order, uniqueness, groups and limits are decided here
 * and the disk is told. What is bulky (payload, options, lease) is in a struct
 * body: always there for an active job, cached for others, else on the disk.
 *
 * Time: now.wall and now.mono are set once a turn; the wake heap runs on mono,
 * except that jobs added with AT wait in a heap on wall time.
 */
#ifndef ENGINE_STATE_H
#define ENGINE_STATE_H

#include <bsd/sys/queue.h>

#include "base/clock.h"
#include "base/cron.h"
#include "conf/qopts.h"
#include "ds/heap.h"
#include "ds/hist.h"
#include "ds/map.h"
#include "ds/slab.h"
#include "journal/journal.h"
#include "plugin.h"

enum node_kind {
	NODE_JOB, NODE_GROUP, NODE_QUEUE, NODE_WAITER, NODE_GETTER, NODE_GATHER,
	NODE_SCHEDULE
};
enum { PRIORITIES = 10, SLICE = 500 };

/* What jobs and groups have in common: a place in one list and in one heap.
 * timer.kind says what it is; a job keeps its small fields in timer.tag. */
struct node {
	TAILQ_ENTRY(node) link;
	struct heap_item timer;
};
TAILQ_HEAD(nodes, node);

/* 128 bits of a keyed hash stand for a group's or a unique key's text. */
struct keyhash {
	uint64_t a, b;
};

/* What few jobs have. */
struct ext {
	struct group *group;
	struct job *pair;	/* FOLLOW: the other one; see JOB_BLOCKED */
	struct keyhash unique;
	int64_t unique_until;	/* wall ms, 0: as long as the job lives */
	int64_t expires_at;	/* wall ms, 0 never */
};

enum job_flag {
	JOB_WALL = 1,		/* run_at follows the wall clock */
	JOB_LISTED = 2,		/* node.link is in a list of its state */
	JOB_INLINE = 4,		/* node.link is in its group's line */
	JOB_UNIQUE = 8,		/* ext->unique is set and in the map */
	JOB_BLOCKED = 16,	/* a follow-up: waits for ext->pair to end */
	JOB_RETAIN = 32,	/* completed, kept by its own retain */
	JOB_WAITED = 64,	/* somebody is in JOB.WAIT for it */
	JOB_HISTORY = 128,	/* has lines in the error table */
	/* Above the priority there is room for four more, up to 2048. */
	JOB_STEPS = 256		/* has rows in the step table */
};

/* tag[0] state, tag[1] priority and the higher flags, tag[2] flags. */
struct job {
	int64_t id;
	struct node node;
	struct queue *queue;
	struct body *body;
	struct ext *ext;
	union {
		int64_t run_at;		/* wall ms, while it lives */
		uint64_t fingerprint;	/* failed */
	};
	int32_t attempt;
	uint16_t error_count;
	uint16_t stalled;
};

#define job_state(j) ((enum bh_job_state)(j)->node.timer.tag[0])
#define job_priority(j) ((j)->node.timer.tag[1] & 15)
#define job_flags(j) \
	((j)->node.timer.tag[2] | ((j)->node.timer.tag[1] & 0xf0) << 4)

struct text {
	struct text *older;
	size_t len;
	char data[];
};

/* Which steps an active job has: enough to refuse one twice. */
struct steps {
	size_t n, cap;
	size_t bytes;			/* of names and values */
	struct keyhash names[];
};

/* refs: the job's own, one for each record on its way to the disk, one for
 * each answer under way. Strings point into this block or into disk. */
struct body {
	int32_t refs;
	bool cached;			/* counted in the cache */
	bool loaded;			/* the strings are there */
	bool handler;			/* leased to a Lua handler */
	bool cancelled;
	size_t bytes;
	TAILQ_ENTRY(body) lru;
	TAILQ_ENTRY(body) active;	/* of the queue */
	struct job *job;		/* NULL once the job is gone */
	struct jbody *disk;		/* what the reader brought, owned */
	struct bh_job_opts opts;
	struct bh_bytes payload, origin;
	struct text *progress;		/* newest first, may be NULL */
	int64_t created_at;
	int64_t started_at;
	/* While active: */
	struct batch *batch;		/* it was handed out with others */
	uint64_t token;
	int64_t lease_until;		/* wall ms */
	int64_t lease_ms;
	int64_t asked_lease_ms;		/* by FETCH, -1 */
	char *worker;
	char *cancel_reason;
	struct steps *steps;		/* with JOB_STEPS; see step.c */
	char inline_data[];
};
TAILQ_HEAD(bodies, body);

/* Jobs of one key, in line. node is in the queue's ready list while the next
 * of them may start; its timer frees a group that only its bucket keeps. */
struct group {
	struct node node;
	TAILQ_ENTRY(group) all;
	struct keyhash key;
	struct queue *queue;
	struct nodes line;
	uint32_t running;
	uint32_t count;			/* in line */
	int64_t tat_us;			/* rate by group */
	struct gather *gather;		/* see batch.c; NULL: no batches */
	uint32_t waiting;		/* of those in line */
	int8_t ready;			/* priority of its list, -1: in none */
};

/* Waiting jobs that will be handed to a handler together: those of a group,
 * or (group NULL) those of a queue that are in none. */
struct gather {
	struct heap_item timer;		/* while it gathers: its end */
	TAILQ_ENTRY(gather) link;	/* among the ripe ones */
	struct queue *queue;
	struct group *group;
	int64_t first_mono;		/* the first of them began to wait */
	int64_t last_mono;		/* the newest one joined */
	bool stale;			/* the first one has left */
	int8_t ripe;			/* priority of its list, -1: in none */
};
TAILQ_HEAD(gathers, gather);

/* A queue's, while it has the option. */
struct batching {
	struct gather loose;
	struct gathers ripe[PRIORITIES];
	uint16_t ripe_mask;
};

/* Jobs that were handed out together. */
struct batch {
	uint32_t number;		/* bh_job.batch */
	uint32_t active;		/* freed with the last one */
	int64_t timeout_ms;		/* the largest of theirs */
};

struct failures {			/* of one fingerprint */
	uint64_t fingerprint;
	int64_t count;
	int64_t first_at, last_at;
	int64_t sample_id;
};

/* Run times of an hour, in slices of ten minutes. */
enum { HIST_SLICES = 6, HIST_SLICE_MS = 600000 };
struct runtimes {
	struct hist slice[HIST_SLICES];
	int64_t period[HIST_SLICES];
	/* Since the start, as bh_queue_stats has them. */
	int64_t count, sum_ms;
	int64_t bucket[BH_RUNTIME_BUCKETS];
	/* What was told last, and of when: a look at all queues reads no
	 * histogram that is as it was. */
	int64_t told_count, told_period;
	int64_t p50_ms, p95_ms, p99_ms;
};

struct waiter;
struct waiter_link {
	TAILQ_ENTRY(waiter_link) link;
	struct waiter *waiter;
	struct queue *queue;
};
TAILQ_HEAD(waiter_links, waiter_link);

struct queue {
	int64_t id;
	char *name;
	struct bh_queue_opts opts;
	struct heap_item timer;		/* hold ends, token comes, sweep */
	struct heap_item turn;		/* in engine.turns by stride pass */
	struct nodes ready[PRIORITIES];
	uint16_t ready_mask;
	struct nodes delayed;		/* those that are in no line */
	struct nodes blocked;		/* waiting follow-ups */
	struct nodes completed;		/* counted by retention, oldest first */
	struct nodes retained;
	struct nodes failed;
	TAILQ_HEAD(, group) groups;
	struct bodies active;
	struct waiter_links waiters;
	uint32_t nhandlers;		/* of the waiters */
	uint32_t nworkers;
	struct batching *batching;	/* NULL: no batches */
	int64_t nloose;			/* ready jobs that are in no group */
	uint32_t loose[PRIORITIES];	/* by priority */
	int64_t count[BH_STATES];
	int64_t completed_counted;
	int64_t evicted_at;		/* the turn that evicted counts for */
	int64_t swept_at;		/* the turn of the last sweep */
	int evicted;
	int64_t tat_us;			/* rate by queue */
	int64_t pass;			/* stride scheduling */
	int64_t paused_at;
	char *paused_by;
	int64_t held_until;		/* wall ms, 0 not held */
	int64_t held_mono;
	char *held_reason;
	int64_t processed, failed_total, stalled_total;
	/* Since the start. */
	int64_t added, completed_total, retried, removed;
	bool totals_dirty;
	struct map failures;
	struct runtimes *runtimes;
	TAILQ_ENTRY(queue) all;
	TAILQ_ENTRY(queue) dirty;
	TAILQ_ENTRY(queue) idle;	/* within one serve */
};

/* A parked job_reserve. */
struct waiter {
	struct heap_item timer;		/* the end of its wait */
	struct bh_reserve *req;
	TAILQ_ENTRY(waiter) all;
	size_t nlinks;
	struct answer *answer;		/* what it has got in this turn */
	uint32_t claims;		/* jobs, a batch counts as one */
	bool got;			/* in engine.served */
	bool fresh;			/* in engine.fresh */
	TAILQ_ENTRY(waiter) served;
	struct waiter_link links[];
};

/* A parked job_get with wait. */
struct getter {
	struct heap_item timer;
	struct bh_get *req;
	int64_t id;
	struct getter *same;		/* of the same job */
	TAILQ_ENTRY(getter) all;
};

/* A bulk operation under way. */
struct bulk {
	struct bh_queue_alter *req;
	int64_t left;			/* at most as many as there were */
	bool reading;
	TAILQ_ENTRY(bulk) all;
};

/* A time zone that schedules use. */
struct zone {
	TAILQ_ENTRY(zone) all;
	size_t refs;
	struct tz *tz;
	int64_t looked;			/* the turn that looked at its file */
};

struct schedule {
	struct heap_item timer;
	TAILQ_ENTRY(schedule) all;	/* by name */
	int64_t id;
	struct bh_schedule row;		/* strings in data */
	struct cron cron;
	struct zone *zone;		/* NULL: every, or unknown */
	struct bh_schedule_clock clock;	/* steady is mono */
	int64_t job;
	bool grumbled;			/* the last tick was skipped */
	bool postponed;			/* in engine.late, without a timer */
	TAILQ_ENTRY(schedule) late;
	int64_t nticks;			/* ever */
	size_t kept;
	struct bh_tick ticks[JSCHEDULE_TICKS];	/* newest first */
	char data[];
};

struct engine {
	struct journal *journal;
	struct qopts *qopts;
	struct clock_time now;
	bool draining;
	bool stopping;			/* nothing changes any more */
	int64_t turn;			/* counts them */
	uint64_t hash_key[2];
	struct slab jobs;
	struct slab exts;
	struct map by_id;
	struct map by_unique;
	struct map by_group;
	struct map by_name;
	TAILQ_HEAD(, queue) queues;
	TAILQ_HEAD(, queue) dirty;	/* totals to write */
	size_t nqueues;
	int64_t last_queue_id;
	int64_t max_queues;
	int64_t next_id;
	int64_t written_next_id;
	int64_t next_callback;
	uint32_t last_batch;
	struct heap mono;
	struct heap wall;
	struct heap turns;		/* queues with work and waiters */
	int64_t pass;			/* of the queue served last */
	bool more;			/* the turn ended before the work */
	int sweep_left;			/* rows that retention may take now */
	TAILQ_HEAD(, waiter) waiters;
	TAILQ_HEAD(, waiter) fresh;	/* not served yet, through served */
	TAILQ_HEAD(, waiter) served;
	TAILQ_HEAD(, getter) getters;
	struct map by_getter;		/* the first of each job */
	TAILQ_HEAD(, bulk) bulks;
	struct bodies lru;		/* oldest first */
	size_t cache_bytes, cache_limit;
	/* A body that is not in memory is on the disk from here on. */
	uint64_t cold_lsn;
	/* Answers that wait for the disk, in LSN order; and for a read. */
	struct bh_req *done_head, **done_tail;
	struct bh_req *at_once;		/* those that wait for nothing */
	size_t reading;			/* reads under way */
	struct err refuse;		/* why new work is refused, code 0: not */
	const struct bh_events *events;
	void *events_arg;
	TAILQ_HEAD(schedules, schedule) schedules;
	struct schedules late;		/* to go on in the next turn */
	struct schedule *ticking;	/* the last one of find_id() */
	size_t nschedules;
	int64_t max_schedules;
	int catch_left;			/* ticks to make up for in this turn */
	int64_t next_schedule;
	TAILQ_HEAD(, zone) zones;
	int64_t zones_at;		/* mono: look at their files again */
	int64_t clock_gap;		/* wall - mono when last looked at */
	TAILQ_HEAD(owed_list, owed) owed;	/* callbacks, not told yet */
	struct owed_list told;
	bool watched;			/* somebody wants news of jobs */
	STAILQ_HEAD(news_list, news) news; /* not durable, or not told yet */
	int64_t *voided;		/* whose news is to be forgotten */
	size_t nvoided, voided_cap;
};

struct owed {
	TAILQ_ENTRY(owed) all;
	struct bh_callback cb;
	struct queue *queue;
	uint64_t lsn;			/* told once this is durable */
	char data[];
};

#endif
