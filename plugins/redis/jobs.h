/* SPDX-License-Identifier: MIT */
/* What the files of the job verbs share: names.c, call.c, reserve.c, get.c,
 * chain.c, forward.c, jobs.c. */
#ifndef REDIS_JOBS_H
#define REDIS_JOBS_H

#include "redis/queue.h"

/* Marks in bh_req.priv.kind; a gate of BH_GATE_DELAYED's family. */
enum { RKIND_RESERVE = 0x6a01, RKIND_GET = 0x6a02, RGATE_GATHERING = 20 };

enum { RQUEUE_HASH = 1024, RQUEUE_MAX = RQUEUE_MASK };

struct rwaits {
	struct rwait *first, **last;
};

struct rnames;
struct rreserves;
struct rgets;

struct rjobs {
	struct rnames *names;
	struct rreserves *reserves;
	struct rgets *gets;
	char *channel;
	size_t ncalls;			/* open, or without an answer */
	int64_t base;			/* turn_clock: steady - mono */
	int64_t gap;			/* wall - mono */
	int64_t next_due;		/* mono: no queue is due before */
	bool closing;
	size_t starting;		/* queues that have not answered */
	/* Why a queue could not be had, for who hears of it. */
	int refused;
	char why[BH_ERROR_TEXT];
	bool started;			/* what was left over is dealt with */
	uint64_t random;
};

void rnames_new(struct redis_be *be);
void rnames_up(struct redis_be *be);
void rnames_down(struct redis_be *be);
/* Nobody waits any more. */
void rnames_cancel(struct redis_be *be);
void rnames_free(struct redis_be *be);
bool rnames_idle(const struct redis_be *be);
/* Another instance has made it, or has told of something. */
void rnames_heard(struct redis_be *be, struct bh_bytes message);
/* fn is called when it is ready; q is NULL. */
void rnames_wait(struct redis_be *be, rwait_fn *fn, void *arg);
/* Whether n more ids are there; else fn is called when they are. */
bool rids_have(struct redis_be *be, size_t n);
void rids_wait(struct redis_be *be, size_t n, rwait_fn *fn, void *arg);
int64_t rids_next(struct redis_be *be, const struct rqueue *q);
/* Whether this id may have been given to a job, as far as is known here. */
bool rids_given(const struct redis_be *be, int64_t id);
uint64_t rrandom(struct redis_be *be);

/* All is known: what was under way is sent again, and so on. */
void rjobs_set_up(struct redis_be *be);

void rreserves_new(struct redis_be *be);
void rreserves_free(struct redis_be *be);
/* Callers that wait are served; the mono ms of the next that gives up. */
int64_t rreserves_run(struct redis_be *be);
bool rreserves_cancel(struct redis_be *be, struct bh_req *req);
/* It is not a handler's any more. */
void rhandler_ended(struct redis_be *be, int64_t id);
void rhandler_extended(struct redis_be *be, int64_t id, int64_t ms);
/* Whether a handler of this instance holds it, and its token. */
bool rhandler_token(struct redis_be *be, int64_t id, uint64_t *ret);
/* Leases of handlers are made longer; the mono ms of the next time. */
int64_t rhandlers_beat(struct redis_be *be);

void rgets_new(struct redis_be *be);
void rgets_free(struct redis_be *be);
int64_t rgets_run(struct redis_be *be);
bool rgets_cancel(struct redis_be *be, struct bh_req *req);
/* Jobs that are waited for have ended: {id, meta, payload, map, result}. */
void rgets_ended(struct redis_be *be, struct rqueue *q,
    const struct redisReply *list);
/* One has, elsewhere; 0: maybe all. */
void rgets_heard(struct redis_be *be, int64_t id);

/* Adds the ops of one put; dedupe: a name under which each comes only once,
 * or NULL. */
void rput_ops(struct redis_be *be, struct rqueue *q, struct bh_put *r,
    struct bh_bytes origin, const char *dedupe, bool counted, rop_fn *fn,
    void *arg);
/* A list of what is to go to other queues. */
void rforward(struct redis_be *be, struct rqueue *q,
    const struct redisReply *list);

#endif
