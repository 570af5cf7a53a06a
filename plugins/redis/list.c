/* SPDX-License-Identifier: MIT */
/* A page of a queue's jobs. */
#include "redis/away.h"
#include "redis/admin.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/runtimes.h"
#include "redis/words.h"

/* --- a page --- */

enum { PARTS = 5 };			/* id, meta, payload, map, result */

struct page {
	struct redis_be *be;
	struct bh_list *req;
	struct rqueue *queue;
	struct rarena arena;		/* of the jobs */
	struct bh_job *jobs;
	size_t n;
};

static void page_ask(struct page *p);

static void
page_free(struct page *p)
{
	p->be->lists->under_way--;
	rarena_free(&p->arena);
	free(p->jobs);
	free(p);
}

static void
page_take(struct page *p, const struct redisReply *r)
{
	p->jobs = mem_grow(p->jobs, (p->n + r->elements / PARTS + 1) *
	    sizeof(*p->jobs));
	for (size_t i = 0; i + PARTS <= r->elements; i += PARTS) {
		struct bh_job *j = &p->jobs[p->n];
		const struct rparts parts = {.meta = r->element[i + 1],
		    .payload = r->element[i + 2], .x = r->element[i + 3],
		    .result = r->element[i + 4]};

		*j = (struct bh_job){.id = reply_int(r->element[i])};
		if (rrecord_job(j, &p->arena, &parts, p->queue->name,
		    &p->queue->opts, true))
			p->n++;
	}
}

static void
page_answered(void *arg, const struct redisReply *r)
{
	struct page *p = arg;
	struct bh_list *req = p->req;

	if (!reply_has(r, 2)) {
		be_done_error(p->be, &req->req, r);
		page_free(p);
		return;
	}
	page_take(p, r->element[1]);
	req->cursor = reply_int(r->element[0]);
	if (req->cursor && p->n < req->count) {
		page_ask(p);
		return;
	}
	req->jobs = p->jobs;
	req->njobs = p->n;
	be_done(&req->req);
	page_free(p);
}

static void
page_ask(struct page *p)
{
	const struct bh_list *r = p->req;
	struct words w = {.n = 0};
	char fp[24];

	snprintf(fp, sizeof(fp), "%llu", (unsigned long long)r->fingerprint);
	words_str(&w, "list");
	words_int(&w, r->state);
	words_int(&w, r->cursor);
	words_int(&w, (int64_t)(r->count - p->n));
	words_int(&w, r->reverse);
	words_str(&w, fp);
	if (radmin_call(p->be, p->queue, w.n, w.argv, w.lens, page_answered,
	    p))
		return;
	be_fail_away(p->be, &p->req->req);
	page_free(p);
}

static void
page_begin(void *arg, struct rqueue *q, int code, const char *text)
{
	struct page *p = arg;

	p->queue = q;
	if (q) {
		page_ask(p);
		return;
	}
	p->req->cursor = 0;
	if (code)
		be_fail(p->be, &p->req->req, code, "%s", text);
	else
		be_ok(p->be, &p->req->req);
	page_free(p);
}

void
rlist_list(void *arg, struct bh_list *r)
{
	struct redis_be *be = arg;
	struct page *p;

	r->jobs = NULL;
	r->njobs = 0;
	if (r->count == 0) {
		r->cursor = 0;
		be_ok(be, &r->req);
		return;
	}
	if (!raway_serves(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	p = mem_new(sizeof(*p));
	p->be = be;
	p->req = r;
	be->lists->under_way++;
	radmin_find(be, r->queue, page_begin, p);
}

/* --- the life of all that this, alter, queue, stats, sched, news and owed
 * have --- */

void
rlist_new(struct redis_be *be)
{
	be->lists = mem_new(sizeof(*be->lists));
	rsched_new(be);
	rnews_new(be);
	rowed_new(be);
	rhealth_new(be);
}

void
rlist_up(struct redis_be *be)
{
	rsched_up(be);
}

static void
look_at_owed(void *arg, size_t n, const struct bh_bytes *names, int code,
    const char *text)
{
	struct redis_be *be = arg;

	(void)code, (void)text;
	for (size_t i = 0; i < n; i++)
		rowed_look(be, names[i]);
	be->lists->under_way--;
}

void
rlist_down(struct redis_be *be)
{
	be->lists->up = false;
	rnews_down(be);
}

/* The instance has its number: what it owes is looked for. */
static void
number_known(struct redis_be *be)
{
	be->lists->up = true;
	rowed_up(be);
	be->lists->under_way++;
	radmin_names(be, look_at_owed, be);
}

void
rlist_begin(struct redis_be *be)
{
	if (!be->lists->up && be->ready && rnames_ready(be))
		number_known(be);
	rowed_begin(be);
}

int64_t
rlist_end(struct redis_be *be)
{
	int64_t a, b;

	rsched_turn(be);
	rowed_tell(be);			/* who listens since this turn */
	b = rowed_next(be);
	a = rsched_next(be);
	return a < b ? a : b;
}

bool
rlist_idle(const struct redis_be *be)
{
	return be->lists->under_way == 0 && rsched_idle(be) &&
	    rnews_idle(be) && rowed_idle(be);
}

void
rlist_listen(struct redis_be *be)
{
	rnews_listen(be);
	rowed_listen(be);
}

void
rlist_free(struct redis_be *be)
{
	rsched_free(be);
	rnews_free(be);
	rowed_free(be);
	rhealth_free(be);
	free(be->lists);
	be->lists = NULL;
}

void
rlist_heard(struct redis_be *be, struct rqueue *q, const char *what,
    const struct redisReply *of)
{
	struct bh_bytes name = {q->name, q->len};

	if (strcmp(what, "news") == 0)
		rnews_reply(be, name, of);
	else if (strcmp(what, "published") == 0)
		rnews_published(be);
	else if (strcmp(what, "owed") == 0)
		rowed_reply(be, name, of);
}

/* Its handler is to be stopped: arg is the id, rest the seed and the reason. */
static void
told_cancelled(struct redis_be *be, struct bh_bytes arg, struct bh_bytes rest)
{
	struct bh_bytes reason;
	char digits[24];
	int64_t id;

	if (rest.len < RSEED || !be->events ||
	    ((unsigned char)rest.data[0] << 8 |
	    (unsigned char)rest.data[1]) != rinstance(be))
		return;
	snprintf(digits, sizeof(digits), "%.*s", (int)arg.len, arg.data);
	id = strtoll(digits, NULL, 10);
	reason = (struct bh_bytes){rest.data + RSEED, rest.len - RSEED};
	be->events->cancelled(be->events_arg, id, rtoken(rest.data, id),
	    reason);
}

void
rlist_told(struct redis_be *be, struct rqueue *q, char kind,
    struct bh_bytes arg, struct bh_bytes rest)
{
	if (kind == 'c')
		told_cancelled(be, arg, rest);
	else if (kind == 'o')
		rowed_wake(be, (struct bh_bytes){q->name, q->len});
}

void
rlist_ran(struct redis_be *be, struct rqueue *q, int64_t ms)
{
	rruntimes_add(&q->runtimes, rmono(be), ms);
}
