/* SPDX-License-Identifier: MIT */
/* What an operator does to a queue: at once, or to many of its jobs in slices
 * that each are one call. */
#include "redis/away.h"
#include "redis/admin.h"
#include "redis/jobs.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/words.h"

struct altering {
	struct redis_be *be;
	struct bh_queue_alter *req;
	struct rqueue *queue;
	int64_t left;			/* -1: as many as there are */
	char cursor[40];
	char set[4];			/* that the slices go through */
};

static void slice_ask(struct altering *a);

static void
end(struct altering *a)
{
	a->be->lists->under_way--;
	free(a);
}

static void
fail(struct altering *a, const struct redisReply *r)
{
	be_done_error(a->be, &a->req->req, r);
	end(a);
}

/* {touched, how many more, where it goes on, the set, whether it does} */
static void
slice_answered(void *arg, const struct redisReply *r)
{
	struct altering *a = arg;

	if (!reply_has(r, 5)) {
		fail(a, r);
		return;
	}
	a->req->count += reply_int(r->element[0]);
	a->left = reply_int(r->element[1]);
	snprintf(a->cursor, sizeof(a->cursor), "%s", r->element[2]->str);
	snprintf(a->set, sizeof(a->set), "%s", r->element[3]->str);
	if (reply_int(r->element[4])) {
		slice_ask(a);
		return;
	}
	be_done(&a->req->req);
	end(a);
}

static void
slice_ask(struct altering *a)
{
	struct words w = {.n = 0};
	char fp[24];
	bool retries = a->req->action == BH_QUEUE_RETRY;

	snprintf(fp, sizeof(fp), "%llu",
	    (unsigned long long)a->req->fingerprint);
	words_str(&w, "bulk");
	words_str(&w, retries ? "retry" : "purge");
	words_int(&w, retries ? BH_FAILED : a->req->state);
	words_str(&w, fp);
	words_int(&w, a->left);
	words_str(&w, a->cursor);
	words_str(&w, a->set);
	if (radmin_call(a->be, a->queue, w.n, w.argv, w.lens,
	    slice_answered, a))
		return;
	be_fail_away(a->be, &a->req->req);
	end(a);
}

static void
answered(void *arg, const struct redisReply *r)
{
	struct altering *a = arg;

	if (!reply_has(r, 1)) {
		fail(a, r);
		return;
	}
	be_done(&a->req->req);
	end(a);
}

static void
act(struct altering *a)
{
	struct bh_queue_alter *r = a->req;
	struct words w = {.n = 0};

	if (r->action == BH_QUEUE_PAUSE) {
		words_str(&w, "pause");
		words_add(&w, r->by);
	} else if (r->action == BH_QUEUE_RESUME) {
		words_str(&w, "resume");
	} else {
		words_str(&w, "hold");
		words_int(&w, r->hold_ms);
		words_add(&w, r->reason);
	}
	if (radmin_call(a->be, a->queue, w.n, w.argv, w.lens,
	    answered, a))
		return;
	be_fail_away(a->be, &r->req);
	end(a);
}

static void
found(void *arg, struct rqueue *q, int code, const char *text)
{
	struct altering *a = arg;
	struct bh_queue_alter *r = a->req;

	a->queue = q;
	if (q && (r->action == BH_QUEUE_RETRY ||
	    r->action == BH_QUEUE_PURGE)) {
		slice_ask(a);
		return;
	}
	if (q) {
		act(a);
		return;
	}
	if (code)
		be_fail(a->be, &r->req, code, "%s", text);
	else				/* nothing there, nothing to do */
		be_ok(a->be, &r->req);
	end(a);
}

static void
made(struct redis_be *be, struct rqueue *q, void *arg)
{
	found(arg, q, q ? 0 : be->jobs->refused, be->jobs->why);
}

void
rlist_queue_alter(void *arg, struct bh_queue_alter *r)
{
	struct redis_be *be = arg;
	struct altering *a;
	bool makes = r->action == BH_QUEUE_PAUSE ||
	    r->action == BH_QUEUE_HOLD;

	r->count = 0;
	if (r->action == BH_QUEUE_PURGE && r->state == BH_ACTIVE) {
		be_fail(be, &r->req, BH_E_BADARG, "active jobs cannot be "
		    "purged: JOB.CANCEL ends one");
		return;
	}
	if (!raway_serves(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	a = mem_new(sizeof(*a));
	a->be = be;
	a->req = r;
	a->left = -1;
	snprintf(a->cursor, sizeof(a->cursor), "-inf");
	be->lists->under_way++;
	if (makes)
		rqueue_of_name(be, r->queue, made, a);
	else
		radmin_find(be, r->queue, found, a);
}
