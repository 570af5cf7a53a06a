/* SPDX-License-Identifier: MIT */
/* What an operator does to one job. */
#include "redis/away.h"
#include "redis/admin.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/words.h"

enum { TEXT_MAX = 1024 };

static const char *const state_names[] = {"waiting", "delayed", "active",
    "completed", "failed"};

static const char *const verbs[] = {
	[BH_JOB_RETRY] = "retry", [BH_JOB_REMOVE] = "remove",
	[BH_JOB_PROMOTE] = "promote", [BH_JOB_UPDATE] = "update",
	[BH_JOB_CANCEL] = "cancel",
};

struct altering {
	struct redis_be *be;
	struct bh_alter *req;
};

static const char *
state_name(const struct redisReply *r)
{
	int64_t state = reply_int(r);

	return state >= 0 && state < BH_STATES ? state_names[state] : "?";
}

/* The handler is this instance's own. */
static void
stop_handler(const struct altering *a, const struct redisReply *r)
{
	struct redis_be *be = a->be;

	if (be->events && r->len == 8)
		be->events->cancelled(be->events_arg, a->req->id,
		    rtoken(r->str, a->req->id), a->req->arg);
}

/* What the script has refused: {word, state, more}. */
static void
refused(struct bh_alter *q, const struct redisReply *r)
{
	const char *word = r->element[0]->str;
	long long id = (long long)q->id;

	if (strcmp(word, "none") == 0)
		be_done_fail(&q->req, BH_E_NOTFOUND, "job %lld does not exist",
		    id);
	else if (strcmp(word, "holder") == 0)
		be_done_fail(&q->req, BH_E_CONFLICT, "job %lld cannot be "
		    "retried: job %.20s (%s) holds its unique key", id,
		    r->element[2]->str, state_name(r->element[1]));
	else
		be_done_fail(&q->req, BH_E_CONFLICT, "job %lld is %s, "
		    "expected %.60s", id, state_name(r->element[1]),
		    r->element[2]->str);
}

static void
answered(void *arg, const struct redisReply *r)
{
	struct altering *a = arg;

	a->be->lists->under_way--;
	if (!reply_has(r, 1)) {
		be_done_error(a->be, &a->req->req, r);
	} else if (strcmp(r->element[0]->str, "ok") == 0) {
		be_done(&a->req->req);
	} else if (strcmp(r->element[0]->str, "cancelled") == 0) {
		stop_handler(a, r->element[2]);
		be_done(&a->req->req);
	} else {
		refused(a->req, r);
	}
	free(a);
}

/* The error that the job fails with, and its fingerprint. */
static void
add_error(const struct redis_be *be, struct words *w, struct bh_bytes reason,
    char text[TEXT_MAX], char fp[24])
{
	int n = snprintf(text, TEXT_MAX, "cancelled%s%.*s",
	    reason.len ? ": " : "", (int)reason.len,
	    reason.len ? reason.data : "");

	if (n >= TEXT_MAX)
		n = TEXT_MAX - 1;
	snprintf(fp, 24, "%llu", (unsigned long long)be->host->fingerprint(
	    (struct bh_bytes){text, (size_t)n}));
	words_add(w, (struct bh_bytes){text, (size_t)n});
	words_str(w, fp);
}

static void
found(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct altering *a = arg;
	struct bh_alter *r = a->req;
	struct words w = {.n = 0};
	char text[TEXT_MAX], fp[24];

	if (!q) {
		a->be->lists->under_way--;
		if (be->closing)
			be_fail_away(be, &r->req);
		else
			be_fail(be, &r->req, BH_E_NOTFOUND,
			    "job %lld does not exist", (long long)r->id);
		free(a);
		return;
	}
	words_str(&w, verbs[r->action]);
	words_int(&w, r->id);
	if (r->action == BH_JOB_RETRY)
		words_str(&w, r->fresh ? "1" : "0");
	else
		words_add(&w, r->arg);
	if (r->action == BH_JOB_CANCEL)
		add_error(a->be, &w, r->arg, text, fp);
	if (radmin_call(be, q, w.n, w.argv, w.lens, answered, a))
		return;
	a->be->lists->under_way--;
	be_fail_away(a->be, &r->req);
	free(a);
}

void
rlist_alter(void *arg, struct bh_alter *r)
{
	struct redis_be *be = arg;
	struct altering *a;

	if (!raway_serves(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	a = mem_new(sizeof(*a));
	a->be = be;
	a->req = r;
	be->lists->under_way++;
	rqueue_of_id(be, r->id, found, a);
}
