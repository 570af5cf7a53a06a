/* SPDX-License-Identifier: MIT */
/*
 * Schedules, shared by sched*.c and tick.c alone: sched.c has the rows that
 * this instance knows, sched_ask.c the verbs, sched_row.c how they are written
 * down, sched_tick.c their time, tick.c what comes of it.
 */
#ifndef REDIS_SCHED_H
#define REDIS_SCHED_H

#include <bsd/sys/queue.h>

#include "redis/blob.h"
#include "redis/part.h"
#include "redis/words.h"

enum { SCHED_TICKS = 10, SCHED_VERSION = 8 };

/* Where a schedule stands: what is written after each tick. */
struct rsched_state {
	struct bh_schedule_clock clock;
	int64_t nticks;			/* ever */
	size_t kept;
	struct bh_tick ticks[SCHED_TICKS];	/* newest first */
};

struct rsched {
	TAILQ_ENTRY(rsched) all;
	char *name;
	struct blob text;		/* the row as it is kept */
	struct bh_schedule row;		/* strings in text, and name */
	struct rsched_state state;
	char version[SCHED_VERSION];
	int64_t generation;
	int64_t doubt_until;		/* mono; with clock.doubt */
	int64_t failed_until;		/* mono: Redis has refused, wait */
	bool busy;			/* ticks are being dealt with */
	bool grumbled;			/* the last tick was skipped */
};

struct rscheds {
	struct redis_be *be;
	TAILQ_HEAD(, rsched) all;
	struct bh_req *asked, **asked_tail;	/* one after another */
	bool asking;			/* the first is at the server */
	size_t under_way;		/* calls without an answer */
	int64_t offset;			/* the server's clock - mono */
	int64_t base;			/* turn_clock: steady - mono */
	int64_t gap;			/* wall - mono when last looked at */
	int64_t zones_at;		/* mono: rules may be others */
	int64_t next;			/* mono: of the first that is due */
	bool dirty;			/* next is to be found again */
	bool started;			/* there has been a turn */
	struct blob row, state;		/* of the put under way */
	char *channel;
	char instance[24];
};

/* --- sched_row.c --- */

void rsched_row_write(struct blob *b, const struct bh_schedule *s);
/* Strings point into data. False: it is not one. */
bool rsched_row_read(struct bh_schedule *ret, struct bh_bytes data);
bool rsched_same_times(const struct bh_schedule *a,
    const struct bh_schedule *b);
bool rsched_same_row(const struct bh_schedule *a, const struct bh_schedule *b);
/* Without version and generation; times of the steady clock become wall. */
void rsched_state_write(struct blob *b, const struct bh_schedule *row,
    const struct rsched_state *s, int64_t wall_ms, int64_t steady_ms);
/* data as it is kept, with both. */
bool rsched_state_read(struct rsched *ret, struct bh_bytes data,
    int64_t wall_ms, int64_t steady_ms);
/* Wall ms, 0 never. */
int64_t rsched_next_at(const struct bh_schedule *row,
    const struct rsched_state *s, int64_t wall_ms, int64_t steady_ms);

/* The i-th part of an answer. */
static inline struct bh_bytes
rsched_text(const struct redisReply *r, size_t i)
{
	struct bh_bytes none = {"", 0};

	return i < r->elements && r->element[i]->type == REDIS_REPLY_STRING ?
	    reply_text(r->element[i]) : none;
}

static inline int64_t
rsched_int(const struct redisReply *r, size_t i)
{
	return i < r->elements ? reply_int(r->element[i]) : -1;
}

/* --- sched.c --- */

/* schedule.lua's get and del. */
bool rsched_send(struct rscheds *l, struct bh_bytes name, rlink_reply_fn *fn,
    void *arg);
bool rsched_send_del(struct rscheds *l, struct bh_bytes name,
    struct bh_bytes expected, rlink_reply_fn *fn, void *arg);
/* What time it is at the server: the answer of get says so. */
void rsched_take_time(struct rscheds *l, const struct redisReply *r);

void rsched_clocks(const struct rscheds *l, int64_t *wall_ms,
    int64_t *steady_ms);
struct rsched *rsched_find(struct rscheds *l, struct bh_bytes name);
/* What the server has under this name; row empty: nothing. */
void rsched_apply(struct rscheds *l, struct bh_bytes name, struct bh_bytes row,
    struct bh_bytes state);
/* schedule.lua's set. expected and row empty: none. fresh: a new
 * generation. */
bool rsched_send_set(struct rscheds *l, struct bh_bytes name,
    struct bh_bytes expected, struct bh_bytes row, struct bh_bytes state,
    int64_t generation, rlink_reply_fn *fn, void *arg);
/* Reads it again. */
void rsched_send_get(struct rscheds *l, struct bh_bytes name);
/* Reads all of them again. */
void rsched_reload(struct rscheds *l);
/* A set has succeeded with r: this is what the server has now; row empty: as
 * before. */
void rsched_installed(struct rscheds *l, struct bh_bytes name,
    struct bh_bytes row, struct bh_bytes state, const struct redisReply *r);

/* --- tick.c --- */

struct rtick {
	int64_t number;			/* of the schedule, ever */
	bool may_overlap;
	int64_t id;			/* out: 0: it was skipped */
	char why[200];			/* out; empty: the last job lives */
};

/* all NULL: Redis was lost, or refuses the queue. */
typedef void rsched_ticked_fn(void *arg, const struct rtick *all, size_t n);
/* The row's strings live until fn is called, which may be at once. */
void rsched_tick(struct redis_be *be, const struct bh_schedule *row,
    int64_t generation, const struct rtick *all, size_t n,
    rsched_ticked_fn *fn, void *arg);

/* --- sched_tick.c --- */

/* Deals with what is due; once a turn. */
void rsched_run(struct rscheds *l);
/* Looks whether the clocks may be trusted, and when it is to be run. */
void rsched_look(struct rscheds *l, struct rsched *s);

#endif
