/* SPDX-License-Identifier: MIT */
/* Adding jobs: limits, unique keys, first state. */
#include "base/die.h"
#include "engine/part.h"

enum { DEFAULT_PRIORITY = 5, CACHE_DELAY_MS = 10000 };

int64_t
put_expiry(const struct engine *e, const struct job *j)
{
	if (!j->ext || !j->ext->expires_at || j->attempt > 0)
		return INT64_MAX;
	return e->now.mono_ms + (j->ext->expires_at - e->now.wall_ms);
}

static int64_t
run_at(const struct engine *e, const struct bh_job_opts *o)
{
	if (o->at >= 0)
		return o->at;
	return e->now.wall_ms + (o->delay_ms > 0 ? o->delay_ms : 0);
}

static void
record_insert(struct engine *e, const struct job *j, struct body *b)
{
	struct jrec r = job_rec(j, JR_JOB_INSERT);

	r.owner = body_ref(b);
	r.u.insert.queue = j->queue->id;
	r.u.insert.created_at = b->created_at;
	r.u.insert.run_at = j->run_at;
	r.u.insert.wall = b->opts.at >= 0;
	if (j->ext) {
		r.u.insert.expires_at = j->ext->expires_at;
		r.u.insert.unique_until = j->ext->unique_until;
		if (j->ext->group)
			r.u.insert.line_at = j->run_at;
		if (job_is(j, JOB_BLOCKED))
			r.u.insert.after = j->ext->pair->id;
	}
	r.u.insert.opts = &b->opts;
	r.u.insert.payload = b->payload;
	r.u.insert.origin = b->origin;
	journal_append(e->journal, &r);
}

/* Everything but its state. */
static struct job *
make_job(struct engine *e, struct queue *q, const struct bh_job_opts *o,
    struct bh_bytes payload, struct bh_bytes origin)
{
	struct job *j = job_new(e, e->next_id++, q);

	q->added++;
	j->body = body_new(j, o, payload, origin);
	j->body->created_at = e->now.wall_ms;
	j->body->opts.priority =
	    o->priority >= 0 ? o->priority : DEFAULT_PRIORITY;
	j->run_at = run_at(e, o);
	job_set_priority(j, j->body->opts.priority);
	if (o->expires_ms >= 0)
		job_ext(e, j)->expires_at = j->run_at + o->expires_ms;
	if (o->group.len)
		group_name(e, j, o->group);
	if (o->unique.len)
		unique_take(e, j, o->unique, o->unique_ttl_ms >= 0
		    ? e->now.wall_ms + o->unique_ttl_ms : 0);
	return j;
}

/* Where run_at sends it: delayed or waiting. */
static void
first_state(struct engine *e, struct job *j)
{
	const struct bh_job_opts *o = &j->body->opts;

	if (j->run_at <= e->now.wall_ms) {
		job_enter(e, j, BH_WAITING, 0);
	} else {
		job_flag(j, JOB_WALL, o->at >= 0);
		job_enter(e, j, BH_DELAYED, o->at >= 0 ? o->at
		    : e->now.mono_ms + o->delay_ms);
	}
}

/* Payloads of what will run soon stay in memory; the others' go as soon as
 * they are durable. */
static void
keep_or_drop(struct engine *e, struct job *j)
{
	if (j->run_at <= e->now.wall_ms + CACHE_DELAY_MS) {
		body_cache(e, j->body);
	} else {
		body_drop(e, j);
		e->cold_lsn = journal_last(e->journal);
	}
}

struct job *
put_job(struct engine *e, struct queue *q, const struct bh_job_opts *o,
    struct bh_bytes payload, struct bh_bytes origin)
{
	struct job *j = make_job(e, q, o, payload, origin);

	record_insert(e, j, j->body);
	first_state(e, j);
	keep_or_drop(e, j);
	event_note(e, BH_NEWS_ADDED, j, (struct bh_bytes){0});
	return j;
}

void
put_payload(struct engine *e, struct job *j, struct bh_bytes payload)
{
	struct jrec r = job_rec(j, JR_JOB_PAYLOAD);
	struct body *old = j->body, *b;

	r.u.text = payload;
	journal_append(e->journal, &r);
	e->cold_lsn = journal_last(e->journal);
	if (!old || !old->loaded)
		return;
	/* Records and answers under way may still point into the old one. */
	b = body_new(j, &old->opts, payload, old->origin);
	b->created_at = old->created_at;
	b->started_at = old->started_at;
	if (old->progress)
		body_set_progress(b, (struct bh_bytes){old->progress->data,
		    old->progress->len});
	body_drop(e, j);
	j->body = b;
	body_cache(e, b);
}

/* The living job gets the new payload and time. */
static void
replace(struct engine *e, struct job *j, const struct bh_put *r)
{
	int64_t at = run_at(e, &r->opts);

	put_payload(e, j, r->payloads[0]);
	if (r->opts.expires_ms >= 0)
		j->ext->expires_at = at + r->opts.expires_ms;
	else if (j->ext->expires_at)
		j->ext->expires_at += at - j->run_at;
	j->run_at = at;
	if (r->opts.unique_ttl_ms >= 0)
		j->ext->unique_until = e->now.wall_ms + r->opts.unique_ttl_ms;
	if (j->run_at > e->now.wall_ms) {
		bool wall = r->opts.at >= 0;

		job_redelay(e, j, wall, wall ? r->opts.at
		    : e->now.mono_ms + r->opts.delay_ms);
	} else {
		job_requeue(e, j);
	}
	job_write(e, j, JR_JOB_SET, j->ext->group ? j->run_at : 0);
}

/* A follow-up of the active job a, which lends it the key. */
static struct job *
follow(struct engine *e, struct job *a, const struct bh_put *r)
{
	struct job *j = make_job(e, a->queue, &r->opts, r->payloads[0],
	    (struct bh_bytes){0});

	j->ext->pair = a;
	a->ext->pair = j;
	job_flag(j, JOB_BLOCKED, true);
	record_insert(e, j, j->body);
	first_state(e, j);
	keep_or_drop(e, j);
	event_note(e, BH_NEWS_ADDED, j, (struct bh_bytes){0});
	return j;
}

/* The job that answers for this add instead of a new one; *ret_new tells
 * that it has been made for it. NULL: nobody holds the key. */
static struct job *
duplicate(struct engine *e, struct queue *q, struct bh_put *r, bool *ret_new)
{
	struct job *j = unique_holder(e, q, r->opts.unique);
	int mode = r->opts.unique_mode;

	*ret_new = false;
	if (!j || mode <= BH_UNIQUE_KEEP)
		return j;
	if (job_state(j) != BH_ACTIVE) {
		replace(e, j, r);
	} else if (mode == BH_UNIQUE_FOLLOW) {
		if (j->ext->pair) {	/* its follow-up lost the key */
			j = j->ext->pair;
			replace(e, j, r);
		} else {
			j = follow(e, j, r);
			*ret_new = true;
		}
	}
	return j;
}

/* A duplicate answers as the living job; its own jobs may be new ones. */
static void
put_one(struct engine *e, struct bh_put *r)
{
	struct err err;
	struct queue *q = queue_obtain(e, r->queue, &err);
	struct job *j = NULL;
	bool made = false;
	size_t i;

	CHECK(q);
	if (r->opts.unique.len)
		j = duplicate(e, q, r, &made);
	r->duplicate = j && !made;
	if (j)
		r->ids[0] = j->id;
	for (i = 0; !j && i < r->npayloads; i++)
		r->ids[i] = put_job(e, q, &r->opts, r->payloads[i],
		    (struct bh_bytes){0})->id;
	if (!j && r->npayloads)
		j = job_find(e, r->ids[r->npayloads - 1]);
	r->state = j ? job_state(j) : BH_WAITING;
}

int
put_now(struct engine *e, struct bh_put *r, struct err *err)
{
	struct bh_put *p;

	for (p = r; p; p = p->also)
		p->duplicate = false;
	if (admit_puts(e, r, err) < 0)
		return -1;
	for (p = r; p; p = p->also)
		put_one(e, p);
	r->req.priv.kind = ANSWER_PUT;
	return 0;
}

void
engine_put(struct engine *e, struct bh_put *r)
{
	struct err err = ERR_INIT;

	if (put_now(e, r, &err) < 0)
		answer_error(e, &r->req, err.code, "%s", err.text);
	else
		answer_ok(e, &r->req);
}

/* The new jobs of a chain: nobody came between them. */
struct span {
	int64_t from, to;
};

static struct span
made_by(const struct bh_put *p)
{
	struct span s = {INT64_MAX, 0};

	for (; p; p = p->also) {
		if (p->duplicate || p->npayloads == 0)
			continue;
		if (p->ids[0] < s.from)
			s.from = p->ids[0];
		s.to = p->ids[p->npayloads - 1];
	}
	return s;
}

/* New jobs must not have been claimed. A duplicate has nothing to take back:
 * with KEEP it changed nothing; else it changed a job, which must be gone or
 * new itself. */
static bool
may_take_back(struct engine *e, const struct bh_put *p, struct span made,
    bool *any)
{
	struct job *j;
	size_t i;

	if (p->duplicate) {
		j = job_find(e, p->ids[0]);
		if (!j)
			*any = true;
		return !j || p->opts.unique_mode <= BH_UNIQUE_KEEP ||
		    (j->id >= made.from && j->id <= made.to);
	}
	for (i = 0; i < p->npayloads; i++) {
		j = job_find(e, p->ids[i]);
		if (j && job_state(j) == BH_ACTIVE)
			return false;
	}
	*any = true;
	return true;
}

static void
take_back(struct engine *e, int64_t id)
{
	struct job *j = job_find(e, id);

	journal_void_job(e->journal, id);
	if (!j)
		return;
	getters_drop(e, j->id);
	event_void(e, j->id);
	job_forget(e, j);
}

bool
put_take_back(struct engine *e, const struct bh_put *r)
{
	const struct span made = made_by(r);
	const struct bh_put *p;
	bool any = false;
	size_t i;

	for (p = r; p; p = p->also)
		if (!may_take_back(e, p, made, &any))
			return false;
	for (p = any ? r : NULL; p; p = p->also)
		for (i = 0; !p->duplicate && i < p->npayloads; i++)
			take_back(e, p->ids[i]);
	return any;
}
