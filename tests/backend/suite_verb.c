/* SPDX-License-Identifier: MIT */
/* One verb at a time, answered as expected: what most cases are made of. */
#include "suite.h"

void
call_ok(struct call *c)
{
	call_wait(c);
	if (c->status != BH_OK)
		fail_msg("%s: status %d: %s", c->verb, c->status, c->text);
}

void
set_options(struct suite_env *t, const char *queue,
    const struct bh_queue_opts *o)
{
	qopts_config_clear(t->qopts);
	add_options(t, queue, o);
}

void
add_options(struct suite_env *t, const char *queue,
    const struct bh_queue_opts *o)
{
	qopts_config_add(t->qopts, queue, o);
	suite_begin(t);
	t->ops->options_changed(t->be);
	suite_settle(t);
}

int64_t
put_with(struct suite_env *t, const char *queue, const char *payload,
    const struct bh_job_opts *o)
{
	struct call *c = ask_put(t, queue, payload, o);

	call_ok(c);
	return c->ids[0];
}

int64_t
put(struct suite_env *t, const char *queue, const char *payload)
{
	return put_with(t, queue, payload, NULL);
}

int64_t
put_group(struct suite_env *t, const char *queue, const char *payload,
    const char *group)
{
	struct bh_job_opts o = opts_none();

	o.group = bytes(group);
	return put_with(t, queue, payload, &o);
}

void
put_count(struct suite_env *t, const char *queue, size_t n,
    const struct bh_job_opts *o)
{
	struct bh_bytes *p = arena_alloc(&t->arena, n * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = bytes("one of many");
	call_ok(ask_put_many(t, queue, n, p, o));
}

void
put_filler(struct suite_env *t)
{
	char *filler = arena_alloc(&t->arena, 4097);

	memset(filler, 'f', 4096);
	for (int i = 0; i < 40; i++)
		put(t, "filler", filler);
}

static struct bh_job *
take_as(struct suite_env *t, const struct want *w)
{
	struct call *c = ask_reserve(t, w);

	call_ok(c);
	assert_true(c->njobs <= 1);
	return c->njobs ? c->jobs : NULL;
}

struct bh_job *
take(struct suite_env *t, const char *queue)
{
	return take_as(t, &(struct want){.queue = queue});
}

struct bh_job *
take_handler(struct suite_env *t, const char *queue)
{
	return take_as(t, &(struct want){.queue = queue, .handler = true});
}

struct bh_job *
take_id(struct suite_env *t, const char *queue, int64_t id)
{
	struct bh_job *j = take(t, queue);

	assert_non_null(j);
	assert_int_equal(j->id, id);
	return j;
}

void
take_none(struct suite_env *t, const char *queue)
{
	struct bh_job *j = take(t, queue);

	if (j)
		fail_msg("job %jd was handed out", (intmax_t)j->id);
}

static enum bh_job_state
finish_as(struct suite_env *t, const struct bh_job *j, enum bh_outcome out,
    const char *text, int64_t delay_ms, bool final)
{
	struct call *c;

	assert_non_null(j);
	c = ask_finish(t, j->id, j->token, out, text, delay_ms, final);
	call_ok(c);
	return c->state;
}

void
finish_done(struct suite_env *t, const struct bh_job *j, const char *result)
{
	assert_int_equal(finish_as(t, j, BH_DONE, result, -1, false),
	    BH_COMPLETED);
}

enum bh_job_state
finish_fail(struct suite_env *t, const struct bh_job *j, const char *message,
    int64_t delay_ms)
{
	return finish_as(t, j, BH_FAIL, message, delay_ms, false);
}

enum bh_job_state
finish_final(struct suite_env *t, const struct bh_job *j, const char *message)
{
	return finish_as(t, j, BH_FAIL, message, -1, true);
}

enum bh_job_state
finish_release(struct suite_env *t, const struct bh_job *j, int64_t delay_ms)
{
	return finish_as(t, j, BH_RELEASE, NULL, delay_ms, false);
}

int64_t
run_done(struct suite_env *t, const char *queue)
{
	struct bh_job *j = take(t, queue);

	finish_done(t, j, NULL);
	return j->id;
}

int64_t
run_final(struct suite_env *t, const char *queue, const char *message)
{
	struct bh_job *j = take(t, queue);

	assert_int_equal(finish_final(t, j, message), BH_FAILED);
	return j->id;
}

struct bh_job *
get(struct suite_env *t, int64_t id)
{
	struct call *c = ask_get(t, id, -1);

	call_ok(c);
	return c->jobs;
}

struct bh_job *
get_job(struct suite_env *t, int64_t id)
{
	struct bh_job *j = get(t, id);

	if (!j)
		fail_msg("job %jd is gone", (intmax_t)id);
	return j;
}

void
expect_state(struct suite_env *t, int64_t id, enum bh_job_state state)
{
	assert_int_equal(get_job(t, id)->state, state);
}

void
expect_gone(struct suite_env *t, int64_t id)
{
	assert_null(get(t, id));
}

struct bh_why *
why(struct suite_env *t, int64_t id)
{
	struct call *c = ask_why(t, id);

	call_ok(c);
	assert_true(c->why.text[0]);
	return &c->why;
}

struct bh_queue_stats *
stats(struct suite_env *t, const char *queue)
{
	struct call *c = ask_stats(t, queue, false);

	call_ok(c);
	assert_true(c->nqueues <= 1);
	/* An unused queue may be left out: whoever asks sees zeros. */
	if (c->nqueues == 0)
		return arena_alloc(&t->arena, sizeof(*c->queues));
	expect_bytes(c->queues->name, queue);
	return c->queues;
}

int
alter(struct suite_env *t, int64_t id, enum bh_job_action action,
    const char *arg)
{
	struct call *c = ask_alter(t, id, action, arg);

	call_wait(c);
	return c->status;
}

void
alter_ok(struct suite_env *t, int64_t id, enum bh_job_action action)
{
	call_ok(ask_alter(t, id, action, NULL));
}

static int64_t
queue_as(struct suite_env *t, const struct bh_queue_alter *q)
{
	struct call *c = ask_queue(t, q);

	call_ok(c);
	return c->count;
}

void
queue_pause(struct suite_env *t, const char *queue)
{
	queue_as(t, &(struct bh_queue_alter){.queue = bytes(queue),
	    .action = BH_QUEUE_PAUSE, .by = bytes("anna")});
}

void
queue_resume(struct suite_env *t, const char *queue)
{
	queue_as(t, &(struct bh_queue_alter){.queue = bytes(queue),
	    .action = BH_QUEUE_RESUME});
}

void
queue_hold(struct suite_env *t, const char *queue, int64_t ms,
    const char *reason)
{
	queue_as(t, &(struct bh_queue_alter){.queue = bytes(queue),
	    .action = BH_QUEUE_HOLD, .hold_ms = ms, .reason = bytes(reason)});
}

int64_t
queue_retry(struct suite_env *t, const char *queue, uint64_t fingerprint)
{
	return queue_as(t, &(struct bh_queue_alter){.queue = bytes(queue),
	    .action = BH_QUEUE_RETRY, .fingerprint = fingerprint});
}

int64_t
queue_purge(struct suite_env *t, const char *queue, enum bh_job_state state,
    uint64_t fingerprint)
{
	return queue_as(t, &(struct bh_queue_alter){.queue = bytes(queue),
	    .action = BH_QUEUE_PURGE, .state = state,
	    .fingerprint = fingerprint});
}

void
expect_bytes(struct bh_bytes b, const char *text)
{
	if (!b.data)
		fail_msg("absent, where \"%s\" was expected", text);
	assert_string_equal(b.data, text);
	assert_int_equal(b.len, strlen(text));
}

void
expect_prefix(struct bh_bytes b, const char *text)
{
	if (!b.data || strncmp(b.data, text, strlen(text)))
		fail_msg("\"%s\" does not begin with \"%s\"",
		    b.data ? b.data : "", text);
}

static void
expect_same_bytes(struct bh_bytes a, struct bh_bytes b)
{
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.data, b.data, a.len);
}

void
expect_same_job(const struct bh_job *a, const struct bh_job *b)
{
	assert_int_equal(a->id, b->id);
	expect_same_bytes(a->queue, b->queue);
	assert_int_equal(a->state, b->state);
	expect_same_bytes(a->payload, b->payload);
	expect_same_bytes(a->group, b->group);
	expect_same_bytes(a->unique, b->unique);
	assert_int_equal(a->priority, b->priority);
	assert_int_equal(a->attempt, b->attempt);
	assert_int_equal(a->attempts, b->attempts);
	assert_int_equal(a->error_count, b->error_count);
	assert_int_equal(a->stalled, b->stalled);
	assert_int_equal(a->run_at, b->run_at);
	assert_int_equal(a->expires_at, b->expires_at);
	assert_int_equal(a->created_at, b->created_at);
	assert_int_equal(a->started_at, b->started_at);
	assert_int_equal(a->finished_at, b->finished_at);
	assert_int_equal(a->timeout_ms, b->timeout_ms);
	expect_same_bytes(a->progress, b->progress);
	expect_same_bytes(a->result, b->result);
	expect_same_bytes(a->error, b->error);
	expect_same_bytes(a->origin, b->origin);
	assert_int_equal(a->nerrors, b->nerrors);
	for (size_t i = 0; i < a->nerrors; i++) {
		assert_int_equal(a->errors[i].attempt, b->errors[i].attempt);
		assert_int_equal(a->errors[i].at, b->errors[i].at);
		expect_same_bytes(a->errors[i].message, b->errors[i].message);
		expect_same_bytes(a->errors[i].version, b->errors[i].version);
	}
}
