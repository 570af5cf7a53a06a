/* SPDX-License-Identifier: MIT */
/*
 * While Redis is away, or what the local store holds has not arrived there
 * yet: what the verbs of jobs do then. New jobs go to the outbox, results of
 * jobs that this instance holds too, and from there to Redis in their order.
 * New ones queue behind those until the outbox is empty. Everything else is
 * answered BACKEND with the reason, but what waits by its nature (FETCH,
 * handlers) waits on.
 */
#ifndef REDIS_AWAY_H
#define REDIS_AWAY_H

#include "redis/part.h"

int raway_new(struct redis_be *be, char err[BH_ERROR_TEXT]);
void raway_free(struct redis_be *be);
/* The server has been looked at: it was fit to be used. */
void raway_looked(struct redis_be *be);
bool raway_looked_once(const struct redis_be *be);
void raway_up(struct redis_be *be);
/* Ends of jobs are still to be told: until then none is handed out, it might
 * be one of these, taken for lost. */
bool raway_late(const struct redis_be *be);
/* The last id (before the queue's number comes to it) of the outbox's range. */
int64_t raway_last_id(const struct redis_be *be);
/* There are ids for the time when Redis is away. */
bool raway_armed(const struct redis_be *be);
/* What the outbox has answered; forwards. The mono ms of the next thing. */
int64_t raway_turn(struct redis_be *be);
bool raway_idle(const struct redis_be *be);
/* Nothing is left to forward. */
bool raway_empty(const struct redis_be *be);
int64_t raway_count(const struct redis_be *be);
bool raway_cancel(struct redis_be *be, struct bh_req *req);
/* Nothing is served any more; why may change. */
void raway_leave(struct redis_be *be, const char *why);
bool raway_left(const struct redis_be *be);
/* Redis is there, and has not been left. */
bool raway_serves(const struct redis_be *be);
/* Why nothing is served: it has left, or Redis is away. */
const char *raway_why(const struct redis_be *be);

void raway_put(void *be, struct bh_put *r);
void raway_reserve(void *be, struct bh_reserve *r);
void raway_finish(void *be, struct bh_finish *r);
void raway_extend(void *be, struct bh_extend *r);
void raway_get(void *be, struct bh_get *r);
void raway_alter(void *be, struct bh_alter *r);

#endif
