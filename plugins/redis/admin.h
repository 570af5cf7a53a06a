/* SPDX-License-Identifier: MIT */
/* Calls of admin.lua, and finding the queues for them. */
#ifndef REDIS_ADMIN_H
#define REDIS_ADMIN_H

#include "redis/queue.h"

/* What the script has answered; an error reply, or NULL: it was lost. */
typedef void radmin_fn(void *arg, const struct redisReply *r);

/* The words that follow the head; they are copied. lens NULL: they end with a
 * NUL. What this turn has asked of jobs before leaves first. False: Redis is
 * away, fn is not called. */
bool radmin_call(struct redis_be *be, struct rqueue *q, int argc,
    const char **argv, const size_t *lens, radmin_fn *fn, void *arg);

/* code BH_OK: q, or NULL: there is no such queue. Else what to answer. May be
 * called from inside radmin_find(). */
typedef void radmin_found_fn(void *arg, struct rqueue *q, int code,
    const char *text);
void radmin_find(struct redis_be *be, struct bh_bytes name,
    radmin_found_fn *fn, void *arg);

/* The names of all queues; never called from inside radmin_names(). */
typedef void radmin_names_fn(void *arg, size_t n,
    const struct bh_bytes *names, int code, const char *text);
void radmin_names(struct redis_be *be, radmin_names_fn *fn, void *arg);

#endif
