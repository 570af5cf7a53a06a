/* SPDX-License-Identifier: MIT */
/* Adding jobs: unique keys, room in queues, chains. */
#include <stdio.h>

#include "fake_int.h"

struct fake_job *
fake_unique_holder(struct fake *f, const struct fake_queue *q, struct bh_bytes key)
{
	struct fake_job *j, *newest = NULL;

	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->queue == q && fake_job_keyed(f, j) &&
		    fake_equal(j->opts.unique, key))
			newest = j;
	}
	return newest;
}

static void
put_replace(struct fake *f, struct fake_job *j, struct bh_bytes payload,
    const struct bh_job_opts *o)
{
	fake_set(&j->payload, payload);
	if (o->unique_ttl_ms >= 0)
		j->key_mono = f->mono + o->unique_ttl_ms;
	j->seq = 0;			/* its time is new */
	fake_job_schedule(f, j, o);
}

static struct fake_job *
put_one(struct fake *f, struct bh_put *r, struct fake_queue *q, size_t i)
{
	struct fake_job *holder = NULL, *j;
	int mode = r->opts.unique_mode;

	if (r->opts.unique.len > 0)
		holder = fake_unique_holder(f, q, r->opts.unique);
	if (holder && holder->state == BH_ACTIVE && mode == BH_UNIQUE_FOLLOW) {
		holder->has_key = false;
		j = fake_job_new(f, q, r->payloads[i], &r->opts);
		j->follows = holder->id;
		return j;
	}
	if (!holder)
		return fake_job_new(f, q, r->payloads[i], &r->opts);
	r->duplicate = true;
	if (holder->state != BH_ACTIVE &&
	    (mode == BH_UNIQUE_REPLACE || mode == BH_UNIQUE_FOLLOW))
		put_replace(f, holder, r->payloads[i], &r->opts);
	return holder;
}

int64_t
fake_queue_count(struct fake *f, const struct fake_queue *q, enum bh_job_state s)
{
	const struct fake_job *j;
	int64_t n = 0;

	TAILQ_FOREACH(j, &f->jobs, link)
		n += j->queue == q && j->state == s;
	return n;
}

static bool
put_same_key(const struct bh_put *a, const struct bh_put *b)
{
	return a->opts.unique.len > 0 && fake_equal(a->queue, b->queue) &&
	    fake_equal(a->opts.unique, b->opts.unique);
}

/* Whether this one of the chain will find a living job, maybe a new one. */
static bool
put_finds(struct fake *f, const struct bh_put *first, const struct bh_put *r)
{
	struct fake_queue *q = fake_queue_get(f, r->queue, false);

	if (q && r->opts.unique.len > 0 && fake_unique_holder(f, q, r->opts.unique))
		return true;
	for (const struct bh_put *p = first; p != r; p = p->also) {
		if (put_same_key(p, r))
			return true;
	}
	return false;
}

/* New jobs of this one's queue, from the first of the chain to this one. */
static int64_t
put_adds(struct fake *f, const struct bh_put *first, const struct bh_put *r)
{
	int64_t n = 0;

	for (const struct bh_put *p = first; p; p = p->also) {
		if (fake_equal(p->queue, r->queue) && !put_finds(f, first, p))
			n += (int64_t)p->npayloads;
		if (p == r)
			break;
	}
	return n;
}

static bool
put_fits(struct fake *f, const struct bh_put *first, const struct bh_put *r)
{
	struct fake_queue *q = fake_queue_get(f, r->queue, false);
	int64_t waiting = q ? fake_queue_count(f, q, BH_WAITING) : 0;
	struct bh_queue_opts o;
	char name[200];

	if (put_finds(f, first, r))
		return true;
	snprintf(name, sizeof(name), "%.*s", (int)r->queue.len, r->queue.data);
	qopts_resolve(f->qopts, name, &o);
	return o.max_waiting == 0 ||
	    waiting + put_adds(f, first, r) <= o.max_waiting;
}

static void
put_all(struct fake *f, struct bh_put *r)
{
	struct fake_queue *q = fake_queue_get(f, r->queue, true);

	r->duplicate = false;
	for (size_t i = 0; i < r->npayloads; i++) {
		struct fake_job *j = put_one(f, r, q, i);

		r->ids[i] = j->id;
		r->state = j->state;
	}
}

static bool
refuse(struct fake *f, struct bh_req *req, int status, const char *text)
{
	fake_answer(f, req, status, text);
	return true;
}

bool
fake_exec_put(struct fake *f, struct bh_req *req)
{
	struct bh_put *first = (struct bh_put *)req, *r;

	for (r = first; r; r = r->also) {
		if (r->opts.unique.len > 0 && r->npayloads != 1)
			return refuse(f, req, BH_E_BADARG,
			    "a unique key is for one payload");
		if (!put_fits(f, first, r))
			return refuse(f, req, BH_E_QUEUEFULL,
			    "the queue is full");
	}
	for (r = first; r; r = r->also)
		put_all(f, r);
	fake_answer(f, req, BH_OK, "");
	return true;
}
