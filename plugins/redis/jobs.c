/* SPDX-License-Identifier: MIT */
#include "redis/part.h"

#define NOT_THERE "job verbs on Redis are not there yet"

void
rjobs_new(struct redis_be *be)
{
	be->jobs = NULL;
}

void
rjobs_up(struct redis_be *be)
{
	(void)be;
}

void
rjobs_down(struct redis_be *be)
{
	(void)be;
}

void
rjobs_begin(struct redis_be *be)
{
	(void)be;
}

int64_t
rjobs_end(struct redis_be *be)
{
	(void)be;
	return INT64_MAX;
}

bool
rjobs_idle(const struct redis_be *be)
{
	(void)be;
	return true;
}

void
rjobs_drain(struct redis_be *be)
{
	(void)be;
}

void
rjobs_options_changed(struct redis_be *be)
{
	(void)be;
}

bool
rjobs_cancel(struct redis_be *be, struct bh_req *req)
{
	(void)be, (void)req;
	return false;
}

void
rjobs_free(struct redis_be *be)
{
	(void)be;
}

void
rjobs_put(void *be, struct bh_put *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rjobs_reserve(void *be, struct bh_reserve *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rjobs_finish(void *be, struct bh_finish *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rjobs_extend(void *be, struct bh_extend *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}

void
rjobs_get(void *be, struct bh_get *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, NOT_THERE);
}
