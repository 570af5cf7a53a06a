/* SPDX-License-Identifier: MIT */
/* Issuing requests and watching that they keep the asynchronous contract. */
#include "suite.h"

#include <stdlib.h>

#include "base/xalloc.h"

enum call_kind {
	CALL_PUT, CALL_RESERVE, CALL_FINISH, CALL_EXTEND, CALL_GET, CALL_LIST,
	CALL_ALTER, CALL_STATS, CALL_QUEUE, CALL_SCHEDULE_PUT,
	CALL_SCHEDULE_LIST, CALL_SCHEDULE_REMOVE, CALL_KEY, CALL_THROTTLE,
	CALL_PUBLISH, CALL_KINDS
};

static const char *const call_verbs[CALL_KINDS] = {
	"job_put", "job_reserve", "job_finish", "job_extend", "job_get",
	"job_list", "job_alter", "queue_stats", "queue_alter",
	"schedule_put", "schedule_list", "schedule_remove",
	"key_command", "throttle", "publish",
};

/* --- what an answer holds --- */

static void
copy_jobs(struct call *c, const struct bh_job *jobs, size_t n)
{
	struct arena *a = &c->t->arena;

	c->njobs = n;
	c->jobs = arena_alloc(a, n * sizeof(*jobs) + 1);
	for (size_t i = 0; i < n; i++)
		arena_job(a, &c->jobs[i], &jobs[i]);
}

static void
copy_put(struct call *c)
{
	struct bh_put *r = &c->u->put;
	size_t size = r->npayloads * sizeof(*r->ids);

	c->ids = arena_alloc(&c->t->arena, size + 1);
	memcpy(c->ids, r->ids, size);
	c->duplicate = r->duplicate;
	c->state = r->state;
	for (const struct bh_put *p = r; p; p = p->also)
		c->nchain++;
	c->chain = arena_alloc(&c->t->arena, c->nchain * sizeof(*c->chain));
	for (size_t i = 0; r; r = r->also, i++)
		c->chain[i] = (struct chained){
		    r->npayloads ? r->ids[0] : 0, r->duplicate, r->state};
}

static void
copy_reserve(struct call *c)
{
	copy_jobs(c, c->u->reserve.jobs, c->u->reserve.njobs);
}

static void
copy_finish(struct call *c)
{
	c->state = c->u->finish.state;
}

static void
copy_nothing(struct call *c)
{
	(void)c;
}

static void
copy_get(struct call *c)
{
	if (!c->u->get.why && c->u->get.job)
		copy_jobs(c, c->u->get.job, 1);
}

static void
copy_list(struct call *c)
{
	copy_jobs(c, c->u->list.jobs, c->u->list.njobs);
	c->cursor = c->u->list.cursor;
}

static void
copy_stats(struct call *c)
{
	const struct bh_stats *r = &c->u->stats;
	struct arena *a = &c->t->arena;

	c->nqueues = r->errors ? 0 : r->nqueues;
	c->ngroups = r->errors ? r->ngroups : 0;
	c->queues = arena_alloc(a, c->nqueues * sizeof(*c->queues) + 1);
	c->groups = arena_alloc(a, c->ngroups * sizeof(*c->groups) + 1);
	for (size_t i = 0; i < c->nqueues; i++) {
		struct bh_queue_stats *q = &c->queues[i];

		*q = r->queues[i];
		q->name = arena_bytes(a, q->name);
		q->paused_by = arena_bytes(a, q->paused_by);
		q->held_reason = arena_bytes(a, q->held_reason);
	}
	for (size_t i = 0; i < c->ngroups; i++) {
		c->groups[i] = r->groups[i];
		c->groups[i].text = arena_bytes(a, r->groups[i].text);
	}
}

static void
copy_queue(struct call *c)
{
	c->count = c->u->queue.count;
}

static void
copy_next(struct call *c)
{
	c->next_at = c->u->schedule_put.next_at;
}

static void
arena_schedule(struct arena *a, struct bh_schedule *s)
{
	s->name = arena_bytes(a, s->name);
	s->owner = arena_bytes(a, s->owner);
	s->queue = arena_bytes(a, s->queue);
	s->payload = arena_bytes(a, s->payload);
	s->cron = arena_bytes(a, s->cron);
	s->zone = arena_bytes(a, s->zone);
	s->opts.group = arena_bytes(a, s->opts.group);
	s->opts.unique = arena_bytes(a, s->opts.unique);
}

static void
copy_schedules(struct call *c)
{
	const struct bh_schedule_list *r = &c->u->schedule_list;
	struct arena *a = &c->t->arena;

	c->nschedules = r->nschedules;
	c->schedules = arena_alloc(a, r->nschedules * sizeof(*c->schedules) +
	    1);
	for (size_t i = 0; i < r->nschedules; i++) {
		struct bh_schedule *s = &c->schedules[i];
		struct bh_tick *ticks;

		*s = r->schedules[i];
		arena_schedule(a, s);
		ticks = arena_alloc(a, s->nticks * sizeof(*ticks) + 1);
		memcpy(ticks, r->schedules[i].ticks,
		    s->nticks * sizeof(*ticks));
		s->ticks = ticks;
	}
}

/* How many values the first one of a row is, with its items. */
static size_t
row_length(const struct bh_value *v)
{
	size_t items = v->type == BH_ARRAY ? v->n : v->type == BH_MAP ?
	    2 * v->n : 0;
	size_t n = 1;

	for (; items > 0; items--)
		n += row_length(v + n);
	return n;
}

static void
copy_key(struct call *c)
{
	const struct bh_value *v = c->u->key.value;
	size_t n = row_length(v);
	struct bh_value *row = arena_alloc(&c->t->arena, n * sizeof(*row));

	for (size_t i = 0; i < n; i++) {
		row[i] = v[i];
		if (v[i].type == BH_STATUS || v[i].type == BH_ERROR ||
		    v[i].type == BH_STRING)
			row[i].s = arena_bytes(&c->t->arena, v[i].s);
	}
	c->value = row;
}

static void
copy_throttle(struct call *c)
{
	c->allowed = c->u->throttle.allowed;
	for (size_t i = 0; i < c->u->throttle.nwindows; i++)
		c->windows[i] = c->u->throttle.windows[i];
}

static void
copy_publish(struct call *c)
{
	c->count = c->u->publish.receivers;
}

static void (*const call_copies[CALL_KINDS])(struct call *) = {
	copy_put, copy_reserve, copy_finish, copy_nothing, copy_get,
	copy_list, copy_nothing, copy_stats, copy_queue, copy_next,
	copy_schedules, copy_nothing, copy_key, copy_throttle, copy_publish,
};

/* --- the life of a call --- */

/* Runs inside the backend, where a failing assertion must not jump out. */
static void
call_done(struct bh_req *req)
{
	struct call *c = req->user;
	struct suite_env *t = c->t;

	if (c->answers++ || c->in_verb) {
		snprintf(t->fault, sizeof(t->fault), "%s: done() was called"
		    " %s", c->verb, c->in_verb ? "before the verb returned"
		    : "twice");
		return;
	}
	c->order = ++t->order;
	c->status = req->status;
	memcpy(c->text, req->text, sizeof(c->text));
	c->text[sizeof(c->text) - 1] = '\0';
	if (c->status == BH_OK)
		call_copies[c->kind](c);
	if (c->status != BH_OK && c->text[0] == '\0')
		snprintf(t->fault, sizeof(t->fault), "%s: status %d came"
		    " without a sentence", c->verb, c->status);
	/* From here on it is the caller's: any later use shows. Only what
	 * a second call of done() needs stays. */
	memset(c->u, 0xa5, sizeof(*c->u));
	c->u->req.user = c;
	c->u->req.done = call_done;
	arena_done(&c->inputs);
	t->in_done = true;
	if (c->then)
		c->then(c);
	t->in_done = false;
}

static struct call *
call_new(struct suite_env *t, enum call_kind kind)
{
	struct call *c = xcalloc(1, sizeof(*c));

	if (!t->in_done)
		suite_begin(t);
	c->t = t;
	c->kind = kind;
	c->verb = call_verbs[kind];
	c->u = xcalloc(1, sizeof(*c->u));
	c->u->req.done = call_done;
	c->u->req.user = c;
	c->in_verb = true;
	TAILQ_INSERT_TAIL(&t->calls, c, link);
	return c;
}

static struct call *
call_issued(struct call *c)
{
	c->in_verb = false;
	if (c->t->fault[0] && !c->t->in_done)
		fail_msg("%s", c->t->fault);
	return c;
}

void
call_cancel(struct call *c)
{
	suite_begin(c->t);
	c->in_verb = true;
	c->t->ops->cancel(c->t->be, &c->u->req);
	call_issued(c);
}

static struct bh_bytes
input(struct call *c, const char *s)
{
	return arena_bytes(&c->inputs, bytes(s));
}

/* "" for what is not said, as the header has it for names and messages. */
static struct bh_bytes
input_or_empty(struct call *c, const char *s)
{
	return input(c, s ? s : "");
}

static void
fill_put(struct call *c, struct bh_put *r, const char *queue, size_t n,
    const struct bh_bytes *payloads, const struct bh_job_opts *o)
{
	struct bh_bytes *copies;

	copies = arena_alloc(&c->inputs, n * sizeof(*copies));
	for (size_t i = 0; i < n; i++)
		copies[i] = arena_bytes(&c->inputs, payloads[i]);
	r->queue = input(c, queue);
	r->payloads = copies;
	r->npayloads = n;
	r->opts = o ? *o : opts_none();
	r->opts.group = arena_bytes(&c->inputs, r->opts.group);
	r->opts.unique = arena_bytes(&c->inputs, r->opts.unique);
	r->ids = arena_alloc(&c->inputs, n * sizeof(*r->ids));
}

struct call *
ask_put_many(struct suite_env *t, const char *queue, size_t n,
    const struct bh_bytes *payloads, const struct bh_job_opts *o)
{
	struct call *c = call_new(t, CALL_PUT);

	fill_put(c, &c->u->put, queue, n, payloads, o);
	t->ops->job_put(t->be, &c->u->put);
	return call_issued(c);
}

struct call *
ask_chain(struct suite_env *t, const struct link *links, size_t n)
{
	struct call *c = call_new(t, CALL_PUT);
	struct bh_put *r = &c->u->put;

	for (size_t i = 0; i < n; i++) {
		size_t np = links[i].npayloads ? links[i].npayloads : 1;
		struct bh_bytes *p = arena_alloc(&c->inputs, np * sizeof(*p));

		for (size_t k = 0; k < np; k++)
			p[k] = bytes(links[i].payload);
		fill_put(c, r, links[i].queue, np, p, links[i].opts);
		if (i + 1 < n)
			r = r->also = arena_alloc(&c->inputs, sizeof(*r));
	}
	t->ops->job_put(t->be, &c->u->put);
	return call_issued(c);
}

struct call *
ask_put(struct suite_env *t, const char *queue, const char *payload,
    const struct bh_job_opts *o)
{
	struct bh_bytes p = bytes(payload);

	return ask_put_many(t, queue, 1, &p, o);
}

struct call *
ask_reserve(struct suite_env *t, const struct want *w)
{
	struct call *c = call_new(t, CALL_RESERVE);
	struct bh_reserve *r = &c->u->reserve;
	const char *const *names = w->queue ? &w->queue : w->queues;
	struct bh_bytes *queues;

	r->nqueues = w->queue ? 1 : w->nqueues;
	queues = arena_alloc(&c->inputs, r->nqueues * sizeof(*queues));
	for (size_t i = 0; i < r->nqueues; i++)
		queues[i] = input(c, names[i]);
	r->queues = queues;
	r->count = w->count ? w->count : 1;
	r->block_ms = w->wait ? w->block_ms : -1;
	r->lease_ms = w->lease_ms ? w->lease_ms : -1;
	r->worker = input(c, "suite");
	r->handler = w->handler;
	r->budget = w->budget;
	t->ops->job_reserve(t->be, r);
	return call_issued(c);
}

struct call *
ask_finish(struct suite_env *t, int64_t id, uint64_t token,
    enum bh_outcome outcome, const char *text, int64_t delay_ms, bool final)
{
	struct call *c = call_new(t, CALL_FINISH);
	struct bh_finish *r = &c->u->finish;

	r->id = id;
	r->token = token;
	r->outcome = outcome;
	if (outcome == BH_DONE)
		r->result = input(c, text);
	else
		r->message = input_or_empty(c, text);
	r->version = input(c, "v1");
	r->delay_ms = delay_ms;
	r->final = final;
	t->ops->job_finish(t->be, r);
	return call_issued(c);
}

struct call *
ask_extend(struct suite_env *t, int64_t id, uint64_t token, int64_t lease_ms,
    const char *progress)
{
	struct call *c = call_new(t, CALL_EXTEND);
	struct bh_extend *r = &c->u->extend;

	r->id = id;
	r->token = token;
	r->lease_ms = lease_ms;
	r->progress = input(c, progress);
	t->ops->job_extend(t->be, r);
	return call_issued(c);
}

struct call *
ask_step(struct suite_env *t, int64_t id, uint64_t token, const char *name,
    const char *value)
{
	struct call *c = call_new(t, CALL_EXTEND);
	struct bh_extend *r = &c->u->extend;

	r->id = id;
	r->token = token;
	r->lease_ms = -1;
	r->step.name = input(c, name);
	r->step.value = input(c, value);
	t->ops->job_extend(t->be, r);
	return call_issued(c);
}

struct call *
ask_sleep(struct suite_env *t, int64_t id, uint64_t token, const char *name,
    int64_t delay_ms)
{
	struct call *c = call_new(t, CALL_FINISH);
	struct bh_finish *r = &c->u->finish;

	r->id = id;
	r->token = token;
	r->outcome = BH_RELEASE;
	r->delay_ms = delay_ms;
	r->step = input(c, name);
	t->ops->job_finish(t->be, r);
	return call_issued(c);
}

struct call *
ask_fresh(struct suite_env *t, int64_t id)
{
	struct call *c = call_new(t, CALL_ALTER);

	c->u->alter.id = id;
	c->u->alter.action = BH_JOB_RETRY;
	c->u->alter.fresh = true;
	c->u->alter.arg = input_or_empty(c, NULL);
	t->ops->job_alter(t->be, &c->u->alter);
	return call_issued(c);
}

struct call *
ask_get(struct suite_env *t, int64_t id, int64_t wait_ms)
{
	struct call *c = call_new(t, CALL_GET);

	c->u->get.id = id;
	c->u->get.wait_ms = wait_ms;
	t->ops->job_get(t->be, &c->u->get);
	return call_issued(c);
}

struct call *
ask_why(struct suite_env *t, int64_t id)
{
	struct call *c = call_new(t, CALL_GET);

	c->u->get.id = id;
	c->u->get.wait_ms = -1;
	c->u->get.why = &c->why;
	t->ops->job_get(t->be, &c->u->get);
	return call_issued(c);
}

struct call *
ask_list(struct suite_env *t, const struct bh_list *l)
{
	struct call *c = call_new(t, CALL_LIST);
	struct bh_list *r = &c->u->list;
	struct bh_req req = r->req;

	*r = *l;
	r->req = req;
	r->queue = arena_bytes(&c->inputs, l->queue);
	t->ops->job_list(t->be, r);
	return call_issued(c);
}

struct call *
ask_alter(struct suite_env *t, int64_t id, enum bh_job_action action,
    const char *arg)
{
	struct call *c = call_new(t, CALL_ALTER);

	c->u->alter.id = id;
	c->u->alter.action = action;
	c->u->alter.arg = input_or_empty(c, arg);
	t->ops->job_alter(t->be, &c->u->alter);
	return call_issued(c);
}

struct call *
ask_stats(struct suite_env *t, const char *queue, bool errors)
{
	struct call *c = call_new(t, CALL_STATS);

	c->u->stats.queue = input_or_empty(c, queue);
	c->u->stats.errors = errors;
	t->ops->queue_stats(t->be, &c->u->stats);
	return call_issued(c);
}

struct call *
ask_queue(struct suite_env *t, const struct bh_queue_alter *q)
{
	struct call *c = call_new(t, CALL_QUEUE);
	struct bh_queue_alter *r = &c->u->queue;
	struct bh_req req = r->req;

	*r = *q;
	r->req = req;
	r->queue = arena_bytes(&c->inputs, q->queue);
	r->by = arena_bytes(&c->inputs, q->by);
	r->reason = arena_bytes(&c->inputs, q->reason);
	t->ops->queue_alter(t->be, r);
	return call_issued(c);
}

struct call *
ask_schedule_put(struct suite_env *t, const struct bh_schedule *s)
{
	struct call *c = call_new(t, CALL_SCHEDULE_PUT);

	c->u->schedule_put.schedule = *s;
	arena_schedule(&c->inputs, &c->u->schedule_put.schedule);
	t->ops->schedule_put(t->be, &c->u->schedule_put);
	return call_issued(c);
}

struct call *
ask_schedule_list(struct suite_env *t, const char *name)
{
	struct call *c = call_new(t, CALL_SCHEDULE_LIST);

	c->u->schedule_list.name = input_or_empty(c, name);
	t->ops->schedule_list(t->be, &c->u->schedule_list);
	return call_issued(c);
}

struct call *
ask_schedule_remove(struct suite_env *t, const char *name, const char *owner)
{
	struct call *c = call_new(t, CALL_SCHEDULE_REMOVE);

	c->u->schedule_remove.name = input(c, name);
	c->u->schedule_remove.owner = input_or_empty(c, owner);
	t->ops->schedule_remove(t->be, &c->u->schedule_remove);
	return call_issued(c);
}

/* Up to len bytes, with one blank between the words. */
static struct bh_queued
split(struct call *c, const char *words, size_t len)
{
	const char *end = words + len;
	size_t max = len / 2 + 1, n = 0;
	struct bh_bytes *argv = arena_alloc(&c->inputs, max * sizeof(*argv));

	while (words < end) {
		const char *blank = memchr(words, ' ', (size_t)(end - words));
		size_t one = (size_t)((blank ? blank : end) - words);

		argv[n++] = arena_bytes(&c->inputs,
		    (struct bh_bytes){words, one});
		words += one + (blank != NULL);
	}
	return (struct bh_queued){argv, n};
}

struct call *
ask_command_of(struct suite_env *t, uint64_t client, const char *words,
    const char *commands)
{
	struct call *c = call_new(t, CALL_KEY);
	struct bh_key_command *r = &c->u->key;
	struct bh_queued line = split(c, words, strlen(words)), *queued;
	size_t max = commands ? strlen(commands) / 2 + 1 : 1;

	queued = arena_alloc(&c->inputs, max * sizeof(*queued));
	r->argv = line.argv;
	r->argc = line.argc;
	r->client = client;
	r->queued = queued;
	while (commands && *commands) {
		size_t len = strcspn(commands, "|");

		queued[r->nqueued++] = split(c, commands, len);
		commands += len + (commands[len] == '|');
	}
	t->ops->key_command(t->be, r);
	return call_issued(c);
}

struct call *
ask_command(struct suite_env *t, const char *words)
{
	return ask_command_of(t, 0, words, NULL);
}

struct call *
ask_throttle(struct suite_env *t, const char *key, int64_t quantity,
    const struct bh_window *windows, size_t n)
{
	struct call *c = call_new(t, CALL_THROTTLE);
	struct bh_throttle *r = &c->u->throttle;

	assert_true(n <= SUITE_WINDOWS);
	r->key = input(c, key);
	r->quantity = quantity;
	r->windows = arena_alloc(&c->inputs, n * sizeof(*windows) + 1);
	memcpy(r->windows, windows, n * sizeof(*windows));
	r->nwindows = n;
	t->ops->throttle(t->be, r);
	return call_issued(c);
}

struct call *
ask_publish(struct suite_env *t, const char *topic, const char *message)
{
	struct call *c = call_new(t, CALL_PUBLISH);

	c->u->publish.topic = input(c, topic);
	c->u->publish.message = input(c, message);
	t->ops->publish(t->be, &c->u->publish);
	return call_issued(c);
}
