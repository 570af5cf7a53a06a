/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "script/pool_impl.h"

#define SPARE_ROOM 512			/* bytes of a message kept for reuse */
#define SPARE_MAX 2048
#define ERROR_PAUSE_MS 1000

struct run_msg *
run_msg_new(struct pool *p, size_t room)
{
	struct run_msg *m = p->spare;

	if (m && room <= SPARE_ROOM) {
		p->spare = (struct run_msg *)m->m.mail.next;
		p->nspare--;
	} else {
		m = xmalloc(sizeof(*m) +
		    (room < SPARE_ROOM ? SPARE_ROOM : room));
	}
	memset(m, 0, sizeof(*m));
	m->m.kind = TO_RUN;
	return m;
}

void
run_msg_done(struct pool *p, struct run_msg *m)
{
	source_unref(&m->src);
	run_end_clear(&m->end);
	free(m->jobs);
	m->jobs = NULL;
	free(m->steps);
	m->steps = NULL;
	if (m->room > SPARE_ROOM || p->nspare >= SPARE_MAX) {
		free(m);
		return;
	}
	m->m.mail.next = (struct mail *)p->spare;
	p->spare = m;
	p->nspare++;
}

struct bh_bytes
run_msg_copy(struct run_msg *m, struct bh_bytes from)
{
	char *to = m->bytes + m->room;

	if (!from.data)
		return from;
	if (from.len)
		memcpy(to, from.data, from.len);
	to[from.len] = '\0';
	m->room += from.len + 1;
	return (struct bh_bytes){to, from.len};
}

static struct pool_thread *
least_busy(struct pool *p)
{
	struct pool_thread *best = &p->threads[0];
	int i;

	for (i = 1; i < p->nthreads; i++)
		if (p->threads[i].load < best->load)
			best = &p->threads[i];
	return best;
}

void
pool_dispatch(struct pool *p, struct run_msg *m, struct served *s)
{
	m->served = s;
	pool_dispatch_to(p, m, s->script);
}

void
pool_dispatch_to(struct pool *p, struct run_msg *m, const struct script *s)
{
	struct pool_thread *t = least_busy(p);

	m->m.worker = (int)(t - p->threads);
	m->src = source_ref(s->src);
	m->m.mail.next = NULL;
	if (t->last)
		t->last->mail.next = &m->m.mail;
	else
		t->first = &m->m;
	t->last = &m->m;
	t->load++;
	TAILQ_INSERT_TAIL(&p->running, m, entry);
	p->nrunning++;
}

void
pool_flush(struct pool *p)
{
	int i;

	for (i = 0; i < p->nthreads; i++) {
		struct pool_thread *t = &p->threads[i];

		if (!t->first)
			continue;
		worker_send_chain(t->worker, t->first, t->last);
		t->first = t->last = NULL;
	}
}

/* Few jobs have steps, and theirs can be long: a block of their own. */
static void
copy_steps(struct run_msg *m, const struct bh_job *j)
{
	size_t i, size = j->nsteps * sizeof(*m->steps);
	char *p;

	for (i = 0; i < j->nsteps; i++)
		size += j->steps[i].name.len + j->steps[i].value.len;
	m->steps = xmalloc(size);
	m->nsteps = j->nsteps;
	p = (char *)(m->steps + j->nsteps);
	for (i = 0; i < j->nsteps; i++) {
		struct bh_step *s = &m->steps[i];

		*s = j->steps[i];
		memcpy(p, s->name.data, s->name.len);
		s->name.data = p;
		p += s->name.len;
		if (!s->value.data)
			continue;
		memcpy(p, s->value.data, s->value.len);
		s->value.data = p;
		p += s->value.len;
	}
}

struct run_msg *
pool_job_msg(struct pool *p, const struct bh_job *j, struct served *s)
{
	struct run_msg *m = run_msg_new(p, j->payload.len + j->group.len +
	    j->unique.len + j->origin.len + 4);

	m->what = RUN_PERFORM;
	m->given_ms = p->mono_ms;
	m->served = s;
	m->id = j->id;
	m->token = j->token;
	m->priority = j->priority;
	m->attempt = j->attempt;
	m->attempts = j->attempts;
	m->error_count = j->error_count;
	m->stalled = j->stalled;
	m->run_at = j->run_at;
	m->expires_at = j->expires_at;
	m->created_at = j->created_at;
	m->started_at = j->started_at;
	m->timeout_ms = j->timeout_ms;
	m->queue = (struct bh_bytes){s->queue, strlen(s->queue)};
	m->payload = run_msg_copy(m, j->payload);
	m->group = run_msg_copy(m, j->group);
	m->unique = run_msg_copy(m, j->unique);
	m->origin = run_msg_copy(m, j->origin);
	if (j->nsteps)
		copy_steps(m, j);
	return m;
}

static void
finished(struct bh_req *req)
{
	struct run_msg *m = req->user;
	struct pool *p = m->pool;
	struct log_about about = {.queue = m->queue.data, .job = m->id,
	    .attempt = m->attempt};

	p->finishing--;
	if (req->status == BH_OK)
		pool_log_end(p, m);
	else if (req->status == BH_E_STALE || req->status == BH_E_NOTFOUND)
		log_about(LOG_DEBUG, &about, "its end came too late: %s",
		    req->text);
	else if (req->status != BH_OK && req->status != BH_E_CANCELED)
		log_about(LOG_ERROR, &about, "its end could not be stored: %s",
		    req->text);
	run_msg_done(p, m);
}

/* Hands the end of a job's try to the backend. */
static void
finish(struct pool *p, struct run_msg *m)
{
	struct bh_finish *f = &m->finish;

	f->outcome = m->end.outcome;
	f->delay_ms = m->end.delay_ms;
	f->final = m->end.final;
	f->result = (struct bh_bytes){NULL, 0};
	f->message = (struct bh_bytes){NULL, 0};
	if (f->outcome == BH_DONE)
		f->result = (struct bh_bytes){m->end.text, m->end.len};
	else if (f->outcome == BH_FAIL)
		f->message = (struct bh_bytes){m->end.text, m->end.len};
	pool_job_finish(p, m, finished);
}

void
pool_job_finish(struct pool *p, struct run_msg *m, bh_done_fn *done)
{
	struct bh_finish *f = &m->finish;

	m->pool = p;
	f->req.done = done;
	f->req.user = m;
	f->id = m->id;
	f->token = m->token;
	f->step = (struct bh_bytes){m->end.step,
	    m->end.step ? strlen(m->end.step) : 0};
	f->version = m->src ? (struct bh_bytes){m->src->version, 12} :
	    (struct bh_bytes){NULL, 0};
	p->finishing++;
	p->env->ops->job_finish(p->env->be, f);
}

/* A job that came although nobody asks for it any more. */
static void
give_back(struct pool *p, const struct bh_job *j, struct served *s)
{
	struct run_msg *m = pool_job_msg(p, j, s);

	m->end = (struct run_end){.outcome = BH_RELEASE, .delay_ms = -1};
	finish(p, m);
}

/* Jobs that were handed out together (or one alone): as one run, or back if
 * the script has changed meanwhile and knows no batches. */
static void
start(struct pool *p, const struct bh_job *jobs, size_t n, struct served *s)
{
	bool batches = s->script && s->script->opts.opts.batch_max > 0;
	size_t i;

	if (p->draining || !s->script || (n > 1 && !batches)) {
		for (i = 0; i < n; i++)
			give_back(p, &jobs[i], s);
		pool_slot_free(p);
		return;
	}
	s->running++;
	if (batches)
		pool_batch_start(p, jobs, n, s);
	else
		pool_dispatch(p, pool_job_msg(p, jobs, s), s);
}

static void
fed(struct bh_req *req)
{
	struct feed *f = req->user;
	struct pool *p = f->pool;
	struct served *s = f->served;
	const struct bh_job *jobs = f->r.jobs;
	size_t i, n;

	TAILQ_REMOVE(&p->feeds, f, entry);
	s->requested -= f->r.count;
	CHECK(s->requested >= 0);
	for (i = 0; i < f->r.njobs; i += n) {
		n = 1;
		while (jobs[i].batch && i + n < f->r.njobs &&
		    jobs[i + n].batch == jobs[i].batch)
			n++;
		start(p, &jobs[i], n, s);
	}
	pool_flush(p);
	if (req->status != BH_OK && req->status != BH_E_CANCELED) {
		log_about(LOG_WARN, &(struct log_about){.queue = s->queue},
		    "no jobs from the backend: %s", req->text);
		p->feed_after = p->mono_ms + ERROR_PAUSE_MS;
	}
	free(f);
}

static void
feed_one(struct pool *p, struct served *s, uint32_t count)
{
	struct feed *f = xcalloc(1, sizeof(*f));

	f->pool = p;
	f->served = s;
	f->queue = (struct bh_bytes){s->queue, strlen(s->queue)};
	f->r.req.done = fed;
	f->r.req.user = f;
	f->r.queues = &f->queue;
	f->r.nqueues = 1;
	f->r.count = count;
	f->r.block_ms = 0;
	f->r.lease_ms = -1;
	f->r.handler = true;
	f->r.budget = &p->slots;
	s->requested += count;
	TAILQ_INSERT_TAIL(&p->feeds, f, entry);
	p->env->ops->job_reserve(p->env->be, &f->r);
}

void
pool_feed(struct pool *p)
{
	struct served *s;
	int64_t room;

	pool_flush(p);			/* webhooks that have come */
	if (p->draining)
		return;
	if (p->feed_after && p->mono_ms < p->feed_after)
		return;
	p->feed_after = 0;
	pool_owed_feed(p);
	TAILQ_FOREACH(s, &p->served, entry) {
		room = s->concurrency - s->running - s->requested;
		if (s->script && room > 0)
			feed_one(p, s, (uint32_t)room);
	}
	pool_flush(p);
}

void
pool_feed_cancel(struct pool *p, const struct served *s)
{
	struct feed *f;

	TAILQ_FOREACH(f, &p->feeds, entry)
		if (!s || f->served == s)
			p->env->ops->cancel(p->env->be, &f->r.req);
}

/* The pause that the queue's back-off would make now. */
static int64_t
backoff_ms(struct pool *p, const struct run_msg *m)
{
	struct bh_queue_opts o;
	double ms;

	qopts_resolve(p->config.qopts, m->queue.data, &o);
	ms = (double)o.backoff_ms;
	if (o.backoff_type == BH_BACKOFF_EXPONENTIAL)
		ms *= pow(o.backoff_factor, m->error_count);
	if (ms > (double)o.backoff_max_ms)
		ms = (double)o.backoff_max_ms;
	return (int64_t)ms;
}

static void
end_cancelled(struct run_msg *m)
{
	run_end_clear(&m->end);
	m->end.outcome = BH_FAIL;
	m->end.final = true;
	m->end.text = xstrdup("cancelled");
	m->end.len = strlen("cancelled");
}

void
pool_run_ended(struct pool *p, struct run_msg *m)
{
	TAILQ_REMOVE(&p->running, m, entry);
	p->nrunning--;
	p->threads[m->m.worker].load--;
	pool_flight_ended(p, &m->run);
	if (m->callback) {
		pool_owed_ended(p, m);
		return;
	}
	if (m->hook) {
		pool_hook_ended(p, m);
		return;
	}
	if (m->what == RUN_MESSAGE) {
		pool_message_ended(p, m);
		return;
	}
	m->served->running--;
	pool_slot_free(p);
	if (m->njobs)
		pool_batch_ended(p, m);
	else
		pool_job_ended(p, m);
}

void
pool_job_ended(struct pool *p, struct run_msg *m)
{
	if (m->cancel)
		end_cancelled(m);
	if (m->end.backoff)
		m->end.delay_ms = backoff_ms(p, m);
	finish(p, m);
}

void
pool_cancelled(void *arg, int64_t id, uint64_t token, struct bh_bytes reason)
{
	struct pool *p = arg;
	struct run_msg *m, *job = NULL;

	(void)reason;
	TAILQ_FOREACH(m, &p->running, entry) {
		job = m->njobs ? pool_batch_find(m, token) : m;
		if (job && job->id == id && job->token == token &&
		    !job->callback)
			break;
	}
	if (!m || job->cancel)
		return;
	job->cancel = true;
	pool_flush(p);
	worker_send(p->threads[m->m.worker].worker,
	    &note_new(TO_CANCEL, NULL, token)->m);
}
