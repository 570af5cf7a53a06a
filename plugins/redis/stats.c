/* SPDX-License-Identifier: MIT */
/*
 * Figures of queues, and their errors by fingerprint. Run times are those of
 * the tries that this instance has ended, since its start; all else is the
 * queue's.
 */
#include "redis/away.h"
#include "redis/admin.h"
#include "redis/jobs.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/runtimes.h"
#include "redis/words.h"

enum { FIGURES = 17, ERROR_PARTS = 6 };

/* A request for one queue or all: an answer of each, kept as it came. */
struct figures {
	struct redis_be *be;
	struct bh_stats *req;
	struct bh_queue_stats *queues;
	struct rarena arena;		/* of their strings */
	size_t n, answered;
	int code;			/* the first error */
	char text[BH_ERROR_TEXT];
};

struct ask {
	struct figures *f;
	struct rqueue *queue;
	size_t i;
};

static int
by_name(const void *a, const void *b)
{
	struct bh_bytes x = ((const struct bh_queue_stats *)a)->name;
	struct bh_bytes y = ((const struct bh_queue_stats *)b)->name;

	return strcmp(x.data, y.data);
}

static void
end(struct figures *f)
{
	f->be->lists->under_way--;
	rarena_free(&f->arena);
	free(f->queues);
	free(f);
}

/* One more is answered, with code when it failed. */
static void
one_done(struct figures *f)
{
	struct bh_stats *r = f->req;

	if (++f->answered < f->n)
		return;
	qsort(f->queues, f->n, sizeof(*f->queues), by_name);
	r->queues = f->queues;
	r->nqueues = f->n;
	if (f->code)	/* maybe still inside the verb */
		be_fail(f->be, &r->req, f->code, "%s", f->text);
	else
		be_done(&r->req);
	end(f);
}

static struct bh_bytes
kept(struct figures *f, const struct redisReply *r)
{
	struct bh_bytes b = reply_text(r);

	return b.len ? rarena_copy(&f->arena, b) : (struct bh_bytes){0};
}

static void
fill(struct figures *f, const struct ask *a, const struct redisReply *r)
{
	struct bh_queue_stats *s = &f->queues[a->i];
	struct redisReply **e = r->element;
	int64_t *totals[] = {&s->oldest_waiting_ms, &s->processed_total,
	    &s->failed_total, &s->stalled_total, &s->added_total,
	    &s->completed_total, &s->retried_total, &s->removed_total};

	for (int k = 0; k < BH_STATES; k++)
		s->count[k] = reply_int(e[k]);
	s->paused_at = reply_int(e[5]);
	s->paused = s->paused_at != 0;
	if (s->paused)
		s->paused_by = kept(f, e[6]);
	s->held_until = reply_int(e[7]);
	if (s->held_until)
		s->held_reason = kept(f, e[8]);
	for (size_t k = 0; k < sizeof(totals) / sizeof(totals[0]); k++)
		*totals[k] = reply_int(e[9 + k]);
	rruntimes_show(a->queue->runtimes, f->be->mono_ms, s);
}

static void
answered(void *arg, const struct redisReply *r)
{
	struct ask *a = arg;
	struct figures *f = a->f;

	if (reply_has(r, FIGURES))
		fill(f, a, r);
	else if (!f->code)
		f->code = be_error(f->be, r, f->text);
	free(a);
	one_done(f);
}

static void
known(struct redis_be *be, struct rqueue *q, void *arg)
{
	const char *argv[] = {"stats"};
	struct ask *a = arg;
	struct figures *f = a->f;

	a->queue = q;
	if (q && radmin_call(be, q, 1, argv, NULL, answered, a))
		return;
	if (!f->code) {
		f->code = q ? BH_E_BACKEND : be->jobs->refused;
		snprintf(f->text, sizeof(f->text), "%s", q ? be->away :
		    be->jobs->why);
	}
	free(a);
	one_done(f);
}

/* Never from inside the verb: it may be the end. */
static void
named(void *arg, size_t n, const struct bh_bytes *names, int code,
    const char *text)
{
	struct figures *f = arg;

	if (code || n == 0) {
		if (code)
			be_fail(f->be, &f->req->req, code, "%s", text);
		else
			be_ok(f->be, &f->req->req);
		end(f);
		return;
	}
	f->n = n;
	f->queues = mem_new(n * sizeof(*f->queues));
	for (size_t i = 0; i < n; i++)
		f->queues[i].name = rarena_copy(&f->arena, names[i]);
	for (size_t i = 0; i < n; i++) {
		struct ask *a = mem_new(sizeof(*a));

		a->f = f;
		a->i = i;
		rqueue_of_name(f->be, names[i], known, a);
	}
}

static void
found(void *arg, struct rqueue *q, int code, const char *text)
{
	struct bh_bytes name = {0};

	if (q)
		name = (struct bh_bytes){q->name, q->len};
	named(arg, q != NULL, &name, code, text);
}

/* --- errors --- */

struct errors {
	struct redis_be *be;
	struct bh_stats *req;
};

static int
by_count(const void *a, const void *b)
{
	const struct bh_error_group *x = a, *y = b;

	return (x->count < y->count) - (x->count > y->count);
}

static void
errors_answered(void *arg, const struct redisReply *r)
{
	struct errors *v = arg;
	struct bh_stats *req = v->req;
	struct bh_error_group *groups;

	v->be->lists->under_way--;
	if (!reply_has(r, 0)) {
		be_done_error(v->be, &req->req, r);
		free(v);
		return;
	}
	groups = mem_new((r->elements + 1) * sizeof(*groups));
	for (size_t i = 0; i < r->elements; i++) {
		struct redisReply **e = r->element[i]->element;

		if (r->element[i]->elements < ERROR_PARTS)
			continue;
		groups[req->ngroups++] = (struct bh_error_group){
		    .fingerprint = strtoull(e[0]->str, NULL, 10),
		    .count = reply_int(e[1]), .first_at = reply_int(e[2]),
		    .last_at = reply_int(e[3]), .sample_id = reply_int(e[4]),
		    .text = reply_text(e[5])};
	}
	qsort(groups, req->ngroups, sizeof(*groups), by_count);
	req->groups = groups;
	be_done(&req->req);
	free(groups);
	free(v);
}

static void
errors_found(void *arg, struct rqueue *q, int code, const char *text)
{
	struct errors *v = arg;
	const char *argv[] = {"errors"};

	if (q && radmin_call(v->be, q, 1, argv, NULL, errors_answered,
	    v))
		return;
	v->be->lists->under_way--;
	if (q)
		be_fail_away(v->be, &v->req->req);
	else if (code)
		be_fail(v->be, &v->req->req, code, "%s", text);
	else
		be_ok(v->be, &v->req->req);
	free(v);
}

void
rlist_stats(void *arg, struct bh_stats *r)
{
	struct redis_be *be = arg;
	struct figures *f;
	struct errors *v;

	r->queues = NULL;
	r->groups = NULL;
	r->nqueues = r->ngroups = 0;
	if (!raway_serves(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	be->lists->under_way++;
	if (r->errors) {
		v = mem_new(sizeof(*v));
		v->be = be;
		v->req = r;
		radmin_find(be, r->queue, errors_found, v);
		return;
	}
	f = mem_new(sizeof(*f));
	f->be = be;
	f->req = r;
	if (r->queue.len)
		radmin_find(be, r->queue, found, f);
	else
		radmin_names(be, named, f);
}
