/* SPDX-License-Identifier: MIT */
#include "redis/part.h"

#define NOT_THERE "this verb on Redis is not there yet"

void
rlist_new(struct redis_be *be)
{
	be->lists = NULL;
}

void
rlist_up(struct redis_be *be)
{
	(void)be;
}

void
rlist_down(struct redis_be *be)
{
	(void)be;
}

void
rlist_begin(struct redis_be *be)
{
	(void)be;
}

int64_t
rlist_end(struct redis_be *be)
{
	(void)be;
	return INT64_MAX;
}

bool
rlist_idle(const struct redis_be *be)
{
	(void)be;
	return true;
}

void
rlist_listen(struct redis_be *be)
{
	(void)be;
}

void
rlist_free(struct redis_be *be)
{
	(void)be;
}

void
rlist_list(void *be, struct bh_list *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_alter(void *be, struct bh_alter *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_stats(void *be, struct bh_stats *r)
{
	r->nqueues = 0;
	r->ngroups = 0;
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_queue_alter(void *be, struct bh_queue_alter *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_schedule_put(void *be, struct bh_schedule_put *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_schedule_list(void *be, struct bh_schedule_list *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_schedule_remove(void *be, struct bh_schedule_remove *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rlist_callback_done(void *be, int64_t id)
{
	(void)be, (void)id;
}

void
rlist_heard(struct redis_be *be, struct rqueue *q, const char *what,
    const struct redisReply *list)
{
	(void)be, (void)q, (void)what, (void)list;
}

void
rlist_told(struct redis_be *be, struct rqueue *q, char kind,
    struct bh_bytes arg, struct bh_bytes rest)
{
	(void)be, (void)q, (void)kind, (void)arg, (void)rest;
}

void
rlist_ran(struct redis_be *be, struct rqueue *q, int64_t ms)
{
	(void)be, (void)q, (void)ms;
}
