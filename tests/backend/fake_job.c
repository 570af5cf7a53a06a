/* SPDX-License-Identifier: MIT */
/* Jobs and their states. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/die.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/xalloc.h"
#include "fake_int.h"

/* --- strings that are owned --- */

struct bh_bytes
fake_dup(struct bh_bytes b)
{
	if (!b.data)
		return b;
	return (struct bh_bytes){xstrndup(b.data, b.len), b.len};
}

void
fake_clear(struct bh_bytes *b)
{
	union { const char *in; void *out; } p = {b->data};

	free(p.out);
	*b = (struct bh_bytes){NULL, 0};
}

void
fake_set(struct bh_bytes *b, struct bh_bytes to)
{
	struct bh_bytes copy = fake_dup(to);

	fake_clear(b);
	*b = copy;
}

bool
fake_equal(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (a.len == 0 || !memcmp(a.data, b.data, a.len));
}

/* --- finding things --- */

struct fake_queue *
fake_queue_get(struct fake *f, struct bh_bytes name, bool make)
{
	struct fake_queue *q;

	TAILQ_FOREACH(q, &f->queues, link) {
		if (fake_equal(fake_str(q->name), name))
			return q;
	}
	if (!make)
		return NULL;
	q = xcalloc(1, sizeof(*q));
	q->name = xstrndup(name.data, name.len);
	qopts_resolve(f->qopts, q->name, &q->opts);
	TAILQ_INSERT_TAIL(&f->queues, q, link);
	return q;
}

struct fake_line *
fake_line_get(struct fake *f, struct fake_queue *q, struct bh_bytes group)
{
	struct fake_line *l;

	TAILQ_FOREACH(l, &f->lines, link) {
		if (l->queue == q && fake_equal(l->group, group))
			return l;
	}
	l = xcalloc(1, sizeof(*l));
	l->queue = q;
	l->group = fake_dup(group);
	TAILQ_INSERT_TAIL(&f->lines, l, link);
	return l;
}

struct fake_job *
fake_job_find(struct fake *f, int64_t id)
{
	struct fake_job *j;

	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->id == id)
			return j;
	}
	return NULL;
}

/* --- coming and going --- */

/* When it may run, said by an adder: delay, at, or now. */
void
fake_job_schedule(struct fake *f, struct fake_job *j,
    const struct bh_job_opts *o)
{
	int64_t delay = o->delay_ms > 0 ? o->delay_ms : 0;

	j->by_wall = o->at > f->wall;
	j->run_at = o->at >= 0 ? o->at : f->wall + delay;
	j->due_mono = f->mono + delay;
	j->expires_at = o->expires_ms >= 0 ? j->run_at + o->expires_ms : 0;
	j->expires_mono = j->expires_at ?
	    f->mono + j->expires_at - f->wall : 0;
	if (j->by_wall || delay) {
		j->state = BH_DELAYED;
		j->seq = 0;
	} else {
		fake_job_wait(f, j);
	}
}

struct fake_job *
fake_job_new(struct fake *f, struct fake_queue *q, struct bh_bytes payload,
    const struct bh_job_opts *o)
{
	struct fake_job *j = xcalloc(1, sizeof(*j));
	struct bh_bytes none = {NULL, 0};

	j->id = ++f->next_id;
	q->added++;
	j->queue = q;
	j->opts = *o;
	j->opts.group = fake_dup(o->group);
	j->opts.unique = fake_dup(o->unique);
	j->payload = fake_dup(payload);
	j->created_at = f->wall;
	if (o->unique.len > 0) {
		j->has_key = true;
		if (o->unique_ttl_ms >= 0)
			j->key_mono = f->mono + o->unique_ttl_ms;
	}
	fake_job_schedule(f, j, o);
	fake_note(f, BH_NEWS_ADDED, j, none);
	TAILQ_INSERT_TAIL(&f->jobs, j, link);
	return j;
}

/* A follow-up that ends before its turn lends the key back. */
static void
key_drop(struct fake *f, struct fake_job *j)
{
	struct fake_job *first = j->follows ? fake_job_find(f, j->follows)
					    : NULL;

	if (j->has_key && first && first->state != BH_COMPLETED &&
	    first->state != BH_FAILED)
		first->has_key = true;
	j->has_key = false;
	j->follows = 0;
}

void
fake_job_forget_steps(struct fake_job *j)
{
	for (size_t i = 0; i < j->nsteps; i++) {
		fake_clear(&j->steps[i].name);
		fake_clear(&j->steps[i].value);
	}
	free(j->steps);
	j->steps = NULL;
	j->nsteps = 0;
}

void
fake_job_free(struct fake *f, struct fake_job *j)
{
	fake_job_forget_steps(j);
	key_drop(f, j);
	TAILQ_REMOVE(&f->jobs, j, link);
	fake_clear(&j->opts.group);
	fake_clear(&j->opts.unique);
	fake_clear(&j->payload);
	fake_clear(&j->progress);
	fake_clear(&j->result);
	fake_clear(&j->error);
	fake_clear(&j->origin);
	fake_clear(&j->reason);
	for (size_t i = 0; i < j->nerrors; i++) {
		fake_clear(&j->errors[i].message);
		fake_clear(&j->errors[i].version);
	}
	free(j);
}

/* --- the moves --- */

static void
lease_drop(struct fake_job *j)
{
	j->token = 0;
	j->handler = false;
	j->lease_until = j->lease_mono = 0;
}

/* Joins the line unless it is in it already. */
void
fake_job_wait(struct fake *f, struct fake_job *j)
{
	lease_drop(j);
	j->state = BH_WAITING;
	j->by_wall = false;
	if (!j->seq)
		j->seq = ++f->next_seq;
}

/* From active: it keeps its place. */
void
fake_job_delay(struct fake *f, struct fake_job *j, int64_t ms)
{
	lease_drop(j);
	j->run_at = f->wall + ms;
	if (ms <= 0) {
		fake_job_wait(f, j);
		return;
	}
	j->state = BH_DELAYED;
	j->by_wall = false;
	j->due_mono = f->mono + ms;
}

void
fake_job_start(struct fake *f, struct fake_job *j, const struct bh_reserve *r)
{
	const struct bh_queue_opts *o = &j->queue->opts;

	CHECK(j->state == BH_WAITING);
	j->state = BH_ACTIVE;
	j->attempt++;
	j->token = ++f->next_token;
	j->handler = r->handler;
	j->started_at = f->wall;
	j->started_mono = f->mono;
	j->expires_mono = 0;
	j->lease_ms = r->lease_ms >= 0 ? r->lease_ms :
	    j->opts.lease_ms >= 0 ? j->opts.lease_ms : o->lease_ms;
	j->lease_mono = f->mono + j->lease_ms;
	j->lease_until = f->wall + j->lease_ms;
	fake_note(f, BH_NEWS_ACTIVE, j, (struct bh_bytes){NULL, 0});
}

static void
callback_owe(struct fake *f, const struct fake_job *j,
    enum bh_callback_kind kind, struct bh_bytes error)
{
	struct fake_owed *o;

	if (!(j->queue->opts.callbacks & 1 << kind))
		return;
	o = xcalloc(1, sizeof(*o));
	o->cb.id = ++f->next_callback;
	o->cb.kind = kind;
	o->cb.queue = arena_bytes(&o->arena, fake_str(j->queue->name));
	o->cb.job = j->id;
	o->cb.attempt = j->attempt;
	o->cb.payload = arena_bytes(&o->arena, j->payload);
	o->cb.result = arena_bytes(&o->arena, j->result);
	o->cb.error = arena_bytes(&o->arena, error);
	TAILQ_INSERT_TAIL(&f->owed, o, link);
}

static void
job_end(struct fake *f, struct fake_job *j, enum bh_job_state state)
{
	lease_drop(j);
	j->state = state;
	key_drop(f, j);
	j->seq = 0;
	j->expires_mono = 0;
	j->finished_at = f->wall;
	j->finished_mono = f->mono;
	fake_answer_waiting(f, j);
}

/* The oldest one that the queue's count keeps, NULL while there is room. */
static struct fake_job *
job_over_count(struct fake *f, const struct fake_job *ended)
{
	const struct bh_queue_opts *o = &ended->queue->opts;
	bool done = ended->state == BH_COMPLETED;
	int64_t n = 0, max = done ? o->retain_completed_count :
	    o->retain_failed_count;
	struct fake_job *j, *oldest = NULL;

	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->queue != ended->queue || j->state != ended->state ||
		    (done && j->opts.retain_ms >= 0))
			continue;
		n++;
		if (!oldest || j->finished_mono < oldest->finished_mono)
			oldest = j;
	}
	return n > max ? oldest : NULL;
}

static void
tries_ended(struct fake *f, struct fake_job *j)
{
	static const int64_t bounds[] = {BH_RUNTIME_BOUNDS};
	struct fake_queue *q = j->queue;
	int64_t ms = f->mono - j->started_mono;
	size_t b = 0;

	q->processed++;
	q->runs_ms[q->nruns++ % FAKE_RUNS] = ms;
	q->run_sum_ms += ms;
	while (b < nitems(bounds) && ms > bounds[b])
		b++;
	q->buckets[b]++;
}

void
fake_job_complete(struct fake *f, struct fake_job *j, struct bh_bytes result)
{
	struct fake_job *over;

	tries_ended(f, j);
	j->queue->completed++;
	fake_job_forget_steps(j);
	fake_set(&j->result, result);
	callback_owe(f, j, BH_ON_COMPLETED, (struct bh_bytes){NULL, 0});
	job_end(f, j, BH_COMPLETED);
	fake_note(f, BH_NEWS_COMPLETED, j, (struct bh_bytes){NULL, 0});
	over = j->opts.retain_ms == 0 ? j : job_over_count(f, j);
	if (over)
		fake_job_free(f, over);
}

/* A dead letter's queue must not send to itself for ever. */
static void
dead_letter(struct fake *f, struct fake_job *j)
{
	const char *name = j->queue->opts.dead_letter;
	struct buf origin = BUF_INIT;
	struct bh_job_opts o;
	struct fake_job *dead;
	struct json js;
	char id[24];

	if (!name[0] || !strcmp(name, j->queue->name))
		return;
	bh_job_opts_init(&o);
	dead = fake_job_new(f, fake_queue_get(f, fake_str(name), true),
	    j->payload, &o);
	snprintf(id, sizeof(id), "%jd", (intmax_t)j->id);
	json_init(&js, &origin);
	json_object(&js);
	json_key(&js, "queue");
	json_str(&js, j->queue->name);
	json_key(&js, "id");
	json_str(&js, id);
	json_key(&js, "error");
	json_bytes(&js, j->error.data, j->error.len);
	json_key(&js, "at");
	json_int(&js, f->wall);
	json_object_end(&js);
	fake_set(&dead->origin,
	    (struct bh_bytes){buf_peek(&origin), buf_size(&origin)});
	buf_done(&origin);
}

void
fake_job_fail(struct fake *f, struct fake_job *j, struct bh_bytes error)
{
	struct fake_job *over;

	if (error.len > FAKE_ERROR_MAX)
		error.len = FAKE_ERROR_MAX;
	if (j->state == BH_ACTIVE)
		tries_ended(f, j);
	j->queue->failed++;
	fake_set(&j->error, error);
	j->fingerprint = fake_fingerprint(error);
	callback_owe(f, j, BH_ON_FAILED, j->error);
	job_end(f, j, BH_FAILED);
	fake_note(f, BH_NEWS_FAILED, j, j->error);
	dead_letter(f, j);
	over = job_over_count(f, j);
	if (over)
		fake_job_free(f, over);
}

/* Its holder is asked to stop, or nobody holds it. */
void
fake_job_cancel(struct fake *f, struct fake_job *j)
{
	fake_job_fail(f, j, fake_str("cancelled"));
}

/* The first five stay; of the rest the last five. */
static void
error_record(struct fake *f, struct fake_job *j, const struct bh_finish *r)
{
	struct bh_job_error *e;
	struct bh_bytes message = r->message;

	if (message.len > FAKE_ERROR_MAX)
		message.len = FAKE_ERROR_MAX;
	if (j->nerrors == FAKE_ERRORS) {
		e = &j->errors[FAKE_ERRORS / 2];
		fake_clear(&e->message);
		fake_clear(&e->version);
		memmove(e, e + 1, (FAKE_ERRORS / 2 - 1) * sizeof(*e));
		j->nerrors--;
	}
	e = &j->errors[j->nerrors++];
	e->attempt = j->attempt;
	e->at = f->wall;
	e->message = fake_dup(message);
	e->version = fake_dup(r->version);
}

static int64_t
backoff_ms(const struct fake_job *j)
{
	const struct bh_queue_opts *o = &j->queue->opts;
	const struct bh_job_opts *own = &j->opts;
	int type = own->backoff_type >= 0 ? own->backoff_type :
	    (int)o->backoff_type;
	double ms = own->backoff_ms >= 0 ? own->backoff_ms : o->backoff_ms;
	double max = own->backoff_max_ms >= 0 ? own->backoff_max_ms :
	    o->backoff_max_ms;
	double factor = own->backoff_factor >= 0 ? own->backoff_factor :
	    o->backoff_factor;
	double jitter = own->backoff_jitter >= 0 ? own->backoff_jitter :
	    o->backoff_jitter;

	for (int i = 1; type == BH_BACKOFF_EXPONENTIAL &&
	    i < j->error_count && ms < max; i++)
		ms *= factor;
	if (ms > max)
		ms = max;
	return (int64_t)(ms * (1 - jitter * rng_unit()));
}

void
fake_job_error(struct fake *f, struct fake_job *j, const struct bh_finish *r)
{
	int32_t attempts = j->opts.attempts >= 0 ? j->opts.attempts :
	    (int32_t)j->queue->opts.attempts;

	error_record(f, j, r);
	j->error_count++;
	if (j->cancelled) {
		fake_job_cancel(f, j);
	} else if (r->final || j->error_count >= attempts) {
		fake_job_fail(f, j, r->message);
	} else {
		tries_ended(f, j);
		j->queue->retried++;
		fake_job_delay(f, j, r->delay_ms >= 0 ? r->delay_ms :
		    backoff_ms(j));
		fake_note(f, BH_NEWS_RETRYING, j, r->message);
	}
}

static void
job_lose(struct fake *f, struct fake_job *j)
{
	int32_t max = j->opts.max_stalled >= 0 ? j->opts.max_stalled :
	    (int32_t)j->queue->opts.max_stalled;

	j->stalled++;
	j->queue->stalled++;
	callback_owe(f, j, BH_ON_STALLED, fake_str("its lease ran out"));
	if (j->cancelled) {
		fake_job_cancel(f, j);
	} else if (j->stalled > max) {
		fake_job_fail(f, j, fake_str("stalled: lost its lease"));
	} else {
		fake_job_wait(f, j);
		fake_note(f, BH_NEWS_STALLED, j, (struct bh_bytes){NULL, 0});
	}
}

/* Whether its unique key is still its own. */
bool
fake_job_keyed(struct fake *f, const struct fake_job *j)
{
	return j->has_key && (!j->key_mono || f->mono < j->key_mono);
}

/* --- time --- */

/* Mono ms when something happens to it by itself. */
static int64_t
job_due(const struct fake *f, const struct fake_job *j)
{
	const struct bh_queue_opts *o = &j->queue->opts;
	int64_t due = FAKE_NEVER;

	switch (j->state) {
	case BH_DELAYED:
		due = j->by_wall ? f->mono + j->run_at - f->wall : j->due_mono;
		break;
	case BH_ACTIVE:
		return j->lease_mono;
	case BH_COMPLETED:
		return j->finished_mono + (j->opts.retain_ms >= 0 ?
		    j->opts.retain_ms : o->retain_completed_ms);
	case BH_FAILED:
		return j->finished_mono + o->retain_failed_ms;
	default:
		break;
	}
	if (j->expires_mono && j->expires_mono < due)
		due = j->expires_mono;
	return due;
}

static void
job_run_due(struct fake *f, struct fake_job *j)
{
	if (j->state == BH_ACTIVE)
		job_lose(f, j);
	else if (j->state == BH_COMPLETED || j->state == BH_FAILED)
		fake_job_free(f, j);
	else if (j->expires_mono && j->expires_mono <= f->mono)
		fake_job_fail(f, j, fake_str("expired"));
	else
		fake_job_wait(f, j);
}

void
fake_jobs_run_due(struct fake *f)
{
	struct fake_job *j, *next;
	struct fake_queue *q;

	for (j = TAILQ_FIRST(&f->jobs); j; j = next) {
		next = TAILQ_NEXT(j, link);
		if (job_due(f, j) > f->mono)
			continue;
		job_run_due(f, j);
		/* A failing one may have removed another. */
		next = TAILQ_FIRST(&f->jobs);
	}
	TAILQ_FOREACH(q, &f->queues, link) {
		if (q->held_mono && q->held_mono <= f->mono)
			q->held_mono = q->held_until = 0;
	}
}

static void
earliest(int64_t *next, int64_t at)
{
	if (at < *next)
		*next = at;
}

int64_t
fake_jobs_next(struct fake *f)
{
	int64_t next = FAKE_NEVER;
	struct fake_queue *q;
	struct fake_job *j;
	struct bh_req *req;

	TAILQ_FOREACH(j, &f->jobs, link)
		earliest(&next, job_due(f, j));
	TAILQ_FOREACH(q, &f->queues, link) {
		if (q->held_mono)
			earliest(&next, q->held_mono);
	}
	for (req = f->parked.head; req; req = req->priv.next) {
		if (req->priv.kind == FAKE_RESERVE ||
		    req->priv.kind == FAKE_GET)
			earliest(&next, (int64_t)req->priv.lsn);
	}
	return next;
}

/* --- error texts and callbacks --- */

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

static void
hash_add(uint64_t *h, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*h = (*h ^ (unsigned char)s[i]) * UINT64_C(1099511628211);
}

/* The end of the part that begins at i: a quoted text, a word, a byte. */
static size_t
part_end(struct bh_bytes m, size_t i, bool *fold)
{
	size_t end = i + 1;

	*fold = false;
	if (m.data[i] == '"' || m.data[i] == '\'') {
		while (end < m.len && m.data[end] != m.data[i])
			end++;
		*fold = end < m.len;
		return *fold ? end + 1 : i + 1;
	}
	if (!is_word(m.data[i]))
		return end;
	for (end = i; end < m.len && is_word(m.data[end]); end++)
		*fold |= isdigit((unsigned char)m.data[end]) != 0;
	return end;
}

/* Quoted parts are as good as equal, and so are words with a digit. */
uint64_t
fake_fingerprint(struct bh_bytes m)
{
	uint64_t h = UINT64_C(14695981039346656037);
	bool fold;

	for (size_t i = 0, end; i < m.len; i = end) {
		end = part_end(m, i, &fold);
		if (fold)
			hash_add(&h, "#", 1);
		else
			hash_add(&h, m.data + i, end - i);
	}
	return h ? h : 1;
}

void
fake_offer(struct fake *f)
{
	struct fake_owed *o;
	struct fake_job *j;

	if (!f->events)
		return;
	TAILQ_FOREACH(j, &f->jobs, link) {
		if (j->state != BH_ACTIVE || !j->cancelled || j->told)
			continue;
		j->told = true;
		f->events->cancelled(f->events_arg, j->id, j->token,
		    j->reason);
	}
	TAILQ_FOREACH(o, &f->owed, link) {
		if (!o->offered)
			f->events->callback(f->events_arg, &o->cb);
		o->offered = true;
	}
}
