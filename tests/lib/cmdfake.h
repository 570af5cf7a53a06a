/* SPDX-License-Identifier: MIT */
/*
 * A backend that does nothing by itself: it keeps the requests of commands
 * under test until the test answers them, in any order, with what the test
 * wants to be the truth. Requests that the test does not fill are answered
 * with "nothing there".
 */
#ifndef LIB_CMDFAKE_H
#define LIB_CMDFAKE_H

#include <string.h>

#include "base/attr.h"
#include "base/die.h"
#include "plugin.h"

#define CMDFAKE_MAX 256

enum cmdfake_verb { FAKE_PUT, FAKE_RESERVE, FAKE_FINISH, FAKE_EXTEND,
    FAKE_GET, FAKE_LIST, FAKE_ALTER, FAKE_STATS, FAKE_QUEUE_ALTER };

struct cmdfake {
	struct {
		struct bh_req *req;
		enum cmdfake_verb verb;
	} pending[CMDFAKE_MAX];
	size_t n;
	int64_t last_id;		/* job_put counts up from here */
	struct bh_job *jobs;		/* of get, reserve and list */
	size_t njobs;
	struct bh_why why;
	struct bh_queue_stats *queues;
	size_t nqueues;
	struct bh_error_group *groups;
	size_t ngroups;
	enum bh_job_state state;	/* after job_finish */
	int64_t count;			/* of queue_alter */
	int64_t cursor;			/* of the next page */
	int status;			/* BH_OK, or every answer's error */
	size_t cancels;
};

static inline void
cmdfake_keep(void *be, struct bh_req *req, enum cmdfake_verb verb)
{
	struct cmdfake *f = be;

	CHECK(f->n < CMDFAKE_MAX);
	CHECK(req->done != NULL);
	f->pending[f->n].req = req;
	f->pending[f->n++].verb = verb;
}

#define CMDFAKE_VERB(name, type, verb)                                    \
	static inline void cmdfake_##name(void *be, struct type *r)       \
	{                                                                 \
		cmdfake_keep(be, &r->req, verb);                          \
	}
CMDFAKE_VERB(put, bh_put, FAKE_PUT)
CMDFAKE_VERB(reserve, bh_reserve, FAKE_RESERVE)
CMDFAKE_VERB(finish, bh_finish, FAKE_FINISH)
CMDFAKE_VERB(extend, bh_extend, FAKE_EXTEND)
CMDFAKE_VERB(get, bh_get, FAKE_GET)
CMDFAKE_VERB(list, bh_list, FAKE_LIST)
CMDFAKE_VERB(alter, bh_alter, FAKE_ALTER)
CMDFAKE_VERB(stats, bh_stats, FAKE_STATS)
CMDFAKE_VERB(queue_alter, bh_queue_alter, FAKE_QUEUE_ALTER)
#undef CMDFAKE_VERB

static inline void
cmdfake_cancel(void *be, struct bh_req *req)
{
	struct cmdfake *f = be;

	for (size_t i = 0; i < f->n; i++) {
		if (f->pending[i].req != req)
			continue;
		f->cancels++;
		req->status = BH_E_CANCELED;
		return;
	}
	CHECK(!"the cancelled request is under way");
}

static inline void
cmdfake_fill(struct cmdfake *f, struct bh_req *req, enum cmdfake_verb verb)
{
	if (verb == FAKE_PUT) {
		struct bh_put *r = (struct bh_put *)req;

		for (size_t i = 0; i < r->npayloads; i++)
			r->ids[i] = ++f->last_id;
	} else if (verb == FAKE_RESERVE) {
		((struct bh_reserve *)req)->jobs = f->jobs;
		((struct bh_reserve *)req)->njobs = f->njobs;
	} else if (verb == FAKE_FINISH) {
		((struct bh_finish *)req)->state = f->state;
	} else if (verb == FAKE_GET && ((struct bh_get *)req)->why) {
		*((struct bh_get *)req)->why = f->why;
	} else if (verb == FAKE_GET) {
		((struct bh_get *)req)->job = f->njobs ? f->jobs : NULL;
	} else if (verb == FAKE_LIST) {
		((struct bh_list *)req)->jobs = f->jobs;
		((struct bh_list *)req)->njobs = f->njobs;
		((struct bh_list *)req)->cursor = f->cursor;
	} else if (verb == FAKE_STATS) {
		((struct bh_stats *)req)->queues = f->queues;
		((struct bh_stats *)req)->nqueues = f->nqueues;
		((struct bh_stats *)req)->groups = f->groups;
		((struct bh_stats *)req)->ngroups = f->ngroups;
	} else if (verb == FAKE_QUEUE_ALTER) {
		((struct bh_queue_alter *)req)->count = f->count;
	}
}

/* Ends the i-th request under way. */
static inline void
cmdfake_answer(struct cmdfake *f, size_t i)
{
	struct bh_req *req = f->pending[i].req;
	enum cmdfake_verb verb = f->pending[i].verb;

	CHECK(i < f->n);
	memmove(&f->pending[i], &f->pending[i + 1],
	    (f->n - i - 1) * sizeof(f->pending[0]));
	f->n--;
	if (req->status == BH_E_CANCELED) {
		strcpy(req->text, "cancelled");
	} else if (f->status != BH_OK) {
		req->status = f->status;
		strcpy(req->text, "the fake says no");
	} else {
		cmdfake_fill(f, req, verb);
	}
	req->done(req);
}

static inline void
cmdfake_answer_all(struct cmdfake *f)
{
	while (f->n > 0)
		cmdfake_answer(f, 0);
}

/* The i-th request, which must be of this kind. */
static inline void *
cmdfake_req(struct cmdfake *f, size_t i, enum cmdfake_verb verb)
{
	CHECK(i < f->n && f->pending[i].verb == verb);
	return f->pending[i].req;
}

static inline void
cmdfake_health(void *be UNUSED, struct bh_health *ret)
{
	*ret = (struct bh_health){.type = "cmdfake", .accepting = true};
}

static const struct bh_backend_ops cmdfake_ops = {
	.name = "cmdfake",
	.job_put = cmdfake_put,
	.job_reserve = cmdfake_reserve,
	.job_finish = cmdfake_finish,
	.job_extend = cmdfake_extend,
	.job_get = cmdfake_get,
	.job_list = cmdfake_list,
	.job_alter = cmdfake_alter,
	.queue_stats = cmdfake_stats,
	.queue_alter = cmdfake_queue_alter,
	.cancel = cmdfake_cancel,
	.health = cmdfake_health,
};

#endif
