/* SPDX-License-Identifier: MIT */
/* Adding jobs: one request, or a chain of them. */
#include <hiredis/hiredis.h>

#include "redis/jobs.h"
#include "redis/mem.h"

enum { HEADER = 10, WALL = 1, MAP = 2, ONCE = 4, JUDGE = 1, JUDGED = 2,
    PRIORITY = 5 };

/* A put on its way, with all that follow it. */
struct putting {
	struct redis_be *be;
	struct bh_put *first;
	size_t naming, left;		/* queues, calls that are awaited */
	bool judging;
	int code;
	char text[BH_ERROR_TEXT];
	struct share *shares;
};

/* Those of a chain that are of one queue: they travel together. */
struct share {
	struct share *next;
	struct putting *p;
	struct rqueue *q;
	struct bh_put *some;		/* the first of them */
	bool all;			/* the chain has no other */
};

static bool
same_queue(const struct bh_put *a, const struct bh_put *b)
{
	return a->queue.len == b->queue.len &&
	    memcmp(a->queue.data, b->queue.data, a->queue.len) == 0;
}

/* --- the ops --- */

static void
header_fill(char *p, const struct bh_job_opts *o, int flags)
{
	p[0] = 'P';
	p[1] = (char)(flags | (o->at >= 0 ? WALL : 0));
	p[2] = (char)(o->priority >= 0 ? o->priority : PRIORITY);
	p[3] = (char)(o->unique_mode > 0 ? o->unique_mode : 0);
	rput48(p + 4, o->at >= 0 ? o->at
	    : o->delay_ms > 0 ? o->delay_ms : 0);
}

/* One P: as an op of its own, or (alone false) behind an N. */
static void
put_one(struct redis_be *be, struct rqueue *q, const struct bh_put *r,
    size_t i, struct bh_bytes map, const char *once, rop_fn *fn, void *arg)
{
	char text[HEADER + 24];
	int len = snprintf(text + HEADER, sizeof(text) - HEADER, "%lld",
	    (long long)r->ids[i]);

	header_fill(text, &r->opts, (map.len ? MAP : 0) | (once ? ONCE : 0));
	if (fn)
		memcpy(rop_begin(be, q, HEADER + (size_t)len, fn, arg), text,
		    HEADER + (size_t)len);
	else
		rop_copy(q, (struct bh_bytes){text, HEADER + (size_t)len});
	rop_data(q, r->payloads[i]);
	if (map.len)
		rop_copy(q, map);
	if (once)
		rop_copy(q, (struct bh_bytes){once, strlen(once)});
}

void
rput_ops(struct redis_be *be, struct rqueue *q, struct bh_put *r,
    struct bh_bytes origin, const char *once, bool counted, rop_fn *fn,
    void *arg)
{
	struct bh_bytes map = {0};
	char *x = rrecord_opts(&r->opts, origin, &map.len);

	map.data = x;
	for (size_t i = 0; i < r->npayloads; i++)
		put_one(be, q, r, i, map, once, counted ? NULL : fn, arg);
	free(x);
	/* So that who asks for one now is served with the same call. */
	if (r->opts.at < 0 && r->opts.delay_ms <= 0) {
		q->ready += (int64_t)r->npayloads;
		if (q->opts.batch_max <= 0)
			q->ripe += (int64_t)r->npayloads;
	}
}

static size_t
count_of(const struct bh_put *r)
{
	size_t n = 0;

	for (; r; r = r->also)
		n += r->npayloads;
	return n;
}

/* --- answers --- */

static void
take_result(struct bh_put *r, size_t i, const struct redisReply *a)
{
	r->duplicate = false;
	if (a->type == REDIS_REPLY_INTEGER) {
		r->state = (enum bh_job_state)a->integer;
	} else if (a->type == REDIS_REPLY_ARRAY && a->elements >= 2) {
		r->state = (enum bh_job_state)a->element[0]->integer;
		r->ids[i] = strtoll(a->element[1]->str, NULL, 10);
		r->duplicate = true;
	}
}

static void
putting_free(struct putting *p)
{
	struct share *s;

	while ((s = p->shares)) {
		p->shares = s->next;
		free(s);
	}
	free(p);
}

static void
refuse(struct putting *p, int code, const char *text)
{
	if (p->code)
		return;
	p->code = code;
	snprintf(p->text, sizeof(p->text), "%s", text);
}

/* Which of the share, by the number of the job in it. */
static struct bh_put *
share_at(const struct share *s, size_t job, size_t *in_chain)
{
	struct bh_put *r;

	*in_chain = 0;
	for (r = s->p->first; r; r = r->also, ++*in_chain) {
		if (!same_queue(r, s->some))
			continue;
		if (job < r->npayloads)
			break;
		job -= r->npayloads;
	}
	return r;
}

static size_t
chain_length(const struct bh_put *r)
{
	size_t n = 0;

	for (; r; r = r->also)
		n++;
	return n;
}

/* {"full", which, waiting, max_waiting}. */
static void
refuse_full(const struct share *s, const struct redisReply *r)
{
	char text[BH_ERROR_TEXT], where[60] = "";
	size_t at;

	(void)share_at(s, (size_t)r->element[1]->integer, &at);
	if (s->p->first->also)
		snprintf(where, sizeof(where), "number %zu of %zu: ", at,
		    chain_length(s->p->first));
	snprintf(text, sizeof(text), "%squeue '%.128s' has %lld waiting jobs,"
	    " max_waiting is %lld", where, s->q->name,
	    r->element[2]->integer, r->element[3]->integer);
	refuse(s->p, BH_E_QUEUEFULL, text);
}

static bool
is_full(const struct redisReply *r)
{
	return r->type == REDIS_REPLY_ARRAY && r->elements == 4 &&
	    r->element[0]->type == REDIS_REPLY_STRING;
}

static void
share_taken(struct share *s, const struct redisReply *r)
{
	size_t n = 0;
	struct bh_put *p;

	for (p = s->p->first; p; p = p->also)
		for (size_t i = 0; same_queue(p, s->some) &&
		    i < p->npayloads; i++)
			if (n < r->elements)
				take_result(p, i, r->element[n++]);
}

static void shares_send(struct putting *p, bool judge);

static void
putting_end(struct putting *p, bool cancelled)
{
	struct bh_req *req = &p->first->req;
	struct redis_be *be = p->be;
	char text[BH_ERROR_TEXT];
	int code = p->code;

	memcpy(text, p->text, sizeof(text));
	putting_free(p);
	if (cancelled)
		be_fail(be, req, BH_E_CANCELED, "shut down before it was "
		    "stored");
	else if (code)
		be_done_fail(req, code, "%s", text);
	else
		be_done(req);
}

static void
share_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct share *s = arg;
	struct putting *p = s->p;
	char text[BH_ERROR_TEXT];
	int code;

	(void)q;
	if (r && r->type == REDIS_REPLY_ERROR) {
		code = be_error(be, r, text);
		refuse(p, code, text);
	} else if (r && is_full(r)) {
		refuse_full(s, r);
	} else if (r && !p->judging) {
		share_taken(s, r);
	}
	if (--p->left > 0)
		return;
	if (r && p->judging && !p->code) {
		p->judging = false;
		shares_send(p, false);
	} else {
		putting_end(p, !r);
	}
}

/* N, and the jobs of the chain that are of this queue. */
static void
share_send(struct share *s, int flags)
{
	struct redis_be *be = s->p->be;
	struct bh_put *r;
	uint32_t n = 0;
	char *p;

	for (r = s->p->first; r; r = r->also)
		if (same_queue(r, s->some))
			n += (uint32_t)r->npayloads;
	p = rop_begin(be, s->q, 6, share_done, s);
	p[0] = 'N';
	p[1] = (char)flags;
	for (int i = 3; i >= 0; i--, n >>= 8)
		p[2 + i] = (char)n;
	for (r = s->p->first; r; r = r->also)
		if (same_queue(r, s->some))
			rput_ops(be, s->q, r, (struct bh_bytes){0}, NULL,
			    true, NULL, NULL);
}

/* A chain over several queues is judged first: nobody can do that for all of
 * them at one moment, so it may be off by what others add in between. */
static void
shares_send(struct putting *p, bool judge)
{
	struct share *s;
	bool alone = p->shares && !p->shares->next;

	p->judging = judge && !alone;
	for (s = p->shares; s; s = s->next)
		p->left++;
	for (s = p->shares; s; s = s->next)
		share_send(s, p->judging ? JUDGE : alone ? 0 : JUDGED);
}

static void
ids_give(struct putting *p)
{
	struct bh_put *r;
	struct share *s;

	for (r = p->first; r; r = r->also) {
		for (s = p->shares; !same_queue(r, s->some); s = s->next)
			;
		for (size_t i = 0; i < r->npayloads; i++)
			r->ids[i] = rids_next(p->be, s->q);
	}
}

/* A job alone in a queue that is never full. */
static void
one_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct bh_put *put = arg;

	(void)q;
	if (!r) {
		be_fail(be, &put->req, BH_E_CANCELED, "shut down before it "
		    "was stored");
	} else if (r->type == REDIS_REPLY_ERROR) {
		be_done_error(be, &put->req, r);
	} else {
		take_result(put, 0, r);
		be_done(&put->req);
	}
}

static void
with_ids(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct putting *p = arg;
	struct bh_put *r = p->first;

	(void)q;
	if (be->jobs->closing) {
		be_fail(be, &r->req, BH_E_CANCELED, "%s", be->jobs->why);
		putting_free(p);
		return;
	}
	ids_give(p);
	if (!r->also && r->npayloads == 1 &&
	    p->shares->q->opts.max_waiting <= 0 && p->shares->q->packed) {
		rput_ops(be, p->shares->q, r, (struct bh_bytes){0}, NULL,
		    false, one_done, r);
		putting_free(p);
	} else {
		shares_send(p, true);
	}
}

static void
named(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct share *s = arg;
	struct putting *p = s->p;
	size_t n = count_of(p->first);

	s->q = q;
	if (!q)
		refuse(p, be->jobs->refused, be->jobs->why);
	if (--p->naming > 0)
		return;
	if (p->code) {
		be_fail(be, &p->first->req, p->code, "%s", p->text);
		be->host->wake();
		putting_free(p);
	} else if (rids_have(be, n)) {
		with_ids(be, NULL, p);
	} else {
		rids_wait(be, n, with_ids, p);
	}
}

static struct share *
share_of(struct putting *p, struct bh_put *r)
{
	struct share **at = &p->shares;

	while (*at && !same_queue((*at)->some, r))
		at = &(*at)->next;
	if (*at)
		return NULL;
	*at = mem_new(sizeof(**at));
	(*at)->p = p;
	(*at)->some = r;
	return *at;
}

static bool
well_formed(struct redis_be *be, struct bh_put *first)
{
	size_t i = 0, n = chain_length(first);
	char where[60] = "";

	for (struct bh_put *r = first; r; r = r->also, i++) {
		r->duplicate = false;
		r->state = BH_WAITING;
		if (!r->opts.unique.len || r->npayloads == 1)
			continue;
		if (first->also)
			snprintf(where, sizeof(where), "number %zu of %zu: ",
			    i, n);
		be_fail(be, &first->req, BH_E_BADARG, "%sUNIQUE: one payload "
		    "expected, got %zu", where, r->npayloads);
		return false;
	}
	return true;
}

/* All queues of a chain are made at once. */
static void
make_queues(struct redis_be *be, const struct bh_put *first)
{
	size_t n = chain_length(first), i = 0;
	struct bh_bytes *names = mem_new(n * sizeof(*names));

	for (const struct bh_put *r = first; r; r = r->also)
		names[i++] = r->queue;
	rqueues_make(be, names, n);
	free(names);
}

/* All is known that is needed to begin. */
static void
put_now(struct redis_be *be, struct rqueue *none, void *arg)
{
	struct bh_put *r = arg;
	struct putting *p;
	struct share *s;

	(void)none;
	if (be->jobs->closing) {
		be_fail(be, &r->req, BH_E_CANCELED, "%s", be->jobs->why);
		return;
	}
	if (r->also)
		make_queues(be, r);
	p = mem_new(sizeof(*p));
	p->be = be;
	p->first = r;
	p->naming = 1;
	for (struct bh_put *each = r; each; each = each->also) {
		s = share_of(p, each);
		if (!s)
			continue;
		p->naming++;
		rqueue_of_name(be, each->queue, named, s);
	}
	s = p->shares;
	if (p->naming > 1)
		p->naming--;
	else
		named(be, s->q, s);
}

void
rjobs_put(void *arg, struct bh_put *r)
{
	struct redis_be *be = arg;

	if (!well_formed(be, r))
		return;
	if (!be->ready) {
		be_fail_away(be, &r->req);
	} else if (count_of(r) == 0) {
		r->req.status = BH_OK;
		r->req.text[0] = '\0';
		be_answer(be, &r->req);
	} else if (r->also) {
		rnames_wait(be, put_now, r);
	} else {
		put_now(be, NULL, r);
	}
}
