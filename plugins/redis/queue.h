/* SPDX-License-Identifier: MIT */
/*
 * The queues that this instance knows, and the calls of their scripts, shared
 * by the files that deal with jobs.
 *
 * A request goes to rqueue_of_name() or rqueue_of_id(), which call it back as
 * soon as the queue's number is known, often at once. It then adds an op to
 * the queue's call of this turn with rop_begin(); the calls leave at the end
 * of the turn, and rop_fn hears the op's own result. A call that is lost is
 * sent again: its fn is called once, with NULL only when all is given up.
 */
#ifndef REDIS_QUEUE_H
#define REDIS_QUEUE_H

#include <bsd/sys/queue.h>

#include "redis/part.h"
#include "redis/record.h"

struct rcall;

struct rqueue {
	TAILQ_ENTRY(rqueue) all;
	struct rqueue *same_hash;
	char *name;
	size_t len;
	int number;			/* -1: it is being asked for */
	bool making;			/* … in a call that is under way */
	char *keys;			/* README.md's Q */
	struct bh_queue_opts opts;
	char *packed;			/* opts for the scripts */
	size_t packed_len;
	TAILQ_HEAD(rcall_list, rcall) calls;	/* without an answer, in order */
	struct rcall *open;		/* the last of them, not sent yet */
	int64_t callno;
	struct rwait *waits, **waits_tail;	/* for the number */

	/* What the server said last. */
	bool known;
	int64_t due;			/* mono ms, INT64_MAX none */
	int64_t ready, ripe;		/* to be had: jobs or groups; batches */
	int64_t m, m_mono;		/* its clock, and when that was */

	struct rruntimes *runtimes;	/* of tries that ended here, or NULL */

	/* reserve.c */
	int64_t asked;			/* of ready, by calls under way */
	int64_t pass;
	size_t nwaiters;
};

TAILQ_HEAD(rqueues, rqueue);

/* A request that waits until its queue's number is known. */
typedef void rwait_fn(struct redis_be *be, struct rqueue *q, void *arg);
struct rwait {
	struct rwait *next;
	rwait_fn *fn;			/* q NULL: there is none, or refused */
	void *arg;
	int64_t id;
};

struct rcounted {
	const char *data;
	size_t len;
};

/* --- names.c --- */

/* Makes the queue when it is not there yet; fn is called with q NULL when it
 * must not be made, or all is given up: why is in be->jobs then. */
void rqueue_of_name(struct redis_be *be, struct bh_bytes name, rwait_fn *fn,
    void *arg);
/* Asks for several at once, so that all are made or none: those that are not
 * known yet. */
void rqueues_make(struct redis_be *be, const struct bh_bytes *names,
    size_t n);
/* q NULL: nobody has this id. */
void rqueue_of_id(struct redis_be *be, int64_t id, rwait_fn *fn, void *arg);
/* NULL when it is not known here: it has never been used, or a moment ago. */
struct rqueue *rqueue_find(const struct redis_be *be, struct bh_bytes name);
struct rqueues *rqueues_all(const struct redis_be *be);
/* Everything is known that is needed to begin. */
bool rnames_ready(const struct redis_be *be);
int rinstance(const struct redis_be *be);
/* PREFIX{*}:NAME, freed by the caller. */
char *rglobal_key(const struct redis_be *be, const char *name);
int64_t rmono(const struct redis_be *be);

/* --- call.c --- */

typedef void rop_fn(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r);

/* Adds an op: its header of len bytes, to be filled at once. */
char *rop_begin(struct redis_be *be, struct rqueue *q, size_t len, rop_fn *fn,
    void *arg);
/* What belongs to it: data lives until fn is called, or is a copy. */
void rop_data(struct rqueue *q, struct bh_bytes data);
void rop_copy(struct rqueue *q, struct bh_bytes data);
/* Its id, in decimal, at the end of the header: room for it is RID. */
enum { RID = 20 };

/* The first three arguments of any script of jobs, for calls that are not of
 * ops: header (size RHEAD), options, channel. */
enum { RHEAD = 33 };
void rqueue_head(struct redis_be *be, struct rqueue *q, char head[RHEAD],
    struct rcounted args[3]);
/* Takes in all of a script's answer but the results, which it returns; NULL:
 * it is an error. */
const struct redisReply *rqueue_reply(struct redis_be *be, struct rqueue *q,
    const struct redisReply *r);
/* Does what is due, and asks what is ready. */
void rqueue_tick(struct redis_be *be, struct rqueue *q);
/* The first call of this instance's life; fn hears what is left over for other
 * queues. */
void rqueue_start(struct redis_be *be, struct rqueue *q, rop_fn *fn,
    void *arg);
/* After a start: clocks of queues may have stood still since their last call,
 * when the server's clock has been set back. */
void rqueues_level(struct redis_be *be);
/* Something will be due at this mono ms, or earlier. */
void rqueue_due(struct redis_be *be, struct rqueue *q, int64_t mono);
/* Something may be ready. */
void rqueue_woken(struct rqueue *q);

void rcalls_send(struct redis_be *be);
void rcalls_again(struct redis_be *be);
bool rcalls_idle(const struct redis_be *be);
void rcalls_free(struct redis_be *be);

#endif
