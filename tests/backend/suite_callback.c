/* SPDX-License-Identifier: MIT */
/* Cases: the on_* callbacks that are owed to a queue's script. */
#include "suite.h"

static void
set_callbacks(struct suite_env *t, int64_t bits)
{
	struct bh_queue_opts o = queue_none();

	o.callbacks = bits;
	qopts_script_set(t->qopts, "q", &o);
	suite_begin(t);
	t->ops->options_changed(t->be);
	suite_settle(t);
}

static const struct bh_callback *
expect_callback(struct suite_env *t, enum bh_callback_kind kind, int64_t job)
{
	struct told *n = told_next(t);

	assert_non_null(n);
	assert_false(n->cancelled);
	assert_int_equal(n->cb.kind, kind);
	assert_int_equal(n->cb.job, job);
	expect_bytes(n->cb.queue, "q");
	return &n->cb;
}

static void
on_completed_is_offered(void **state)
{
	struct suite_env *t = *state;
	const struct bh_callback *cb;
	int64_t id;

	set_callbacks(t, 1 << BH_ON_COMPLETED);
	id = put(t, "q", "the payload");
	finish_done(t, take_id(t, "q", id), "42");
	cb = expect_callback(t, BH_ON_COMPLETED, id);
	assert_int_equal(cb->attempt, 1);
	expect_bytes(cb->payload, "the payload");
	expect_bytes(cb->result, "42");
	suite_pass(t, 60000);
	assert_null(told_next(t));
	suite_begin(t);
	t->ops->callback_done(t->be, cb->id);
	suite_settle(t);
}

static void
on_completed_of_a_job_that_is_not_kept(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	const struct bh_callback *cb;
	int64_t id;

	set_callbacks(t, 1 << BH_ON_COMPLETED);
	o.retain_ms = 0;
	id = put_with(t, "q", "the payload", &o);
	finish_done(t, take_id(t, "q", id), "42");
	cb = expect_callback(t, BH_ON_COMPLETED, id);
	expect_bytes(cb->payload, "the payload");
	expect_bytes(cb->result, "42");
}

static void
on_failed_is_offered_for_the_last_error(void **state)
{
	struct suite_env *t = *state;
	const struct bh_callback *cb;
	struct bh_job_opts o = opts_none();
	int64_t id;

	set_callbacks(t, 1 << BH_ON_FAILED);
	o.attempts = 2;
	id = put_with(t, "q", "the payload", &o);
	finish_fail(t, take_id(t, "q", id), "one", 0);
	assert_null(told_next(t));
	finish_fail(t, take_id(t, "q", id), "two", 0);
	cb = expect_callback(t, BH_ON_FAILED, id);
	assert_int_equal(cb->attempt, 2);
	expect_bytes(cb->error, "two");
	expect_bytes(cb->payload, "the payload");
	assert_null(told_next(t));
}

static void
on_failed_is_offered_for_an_expired_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	set_callbacks(t, 1 << BH_ON_FAILED);
	o.expires_ms = 1000;
	id = put_with(t, "q", "x", &o);
	suite_pass(t, 1000);
	expect_bytes(expect_callback(t, BH_ON_FAILED, id)->error, "expired");
}

static void
callbacks_of_cold_jobs_have_their_payload(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	set_callbacks(t, 1 << BH_ON_FAILED | 1 << BH_ON_STALLED);
	id = put(t, "q", "stalls");
	take_id(t, "q", id);
	put_filler(t);
	suite_pass(t, 30000);
	expect_bytes(expect_callback(t, BH_ON_STALLED, id)->payload,
	    "stalls");
	o.expires_ms = 1000;
	id = put_with(t, "q", "expires", &o);
	put_filler(t);
	suite_pass(t, 1000);
	expect_bytes(expect_callback(t, BH_ON_FAILED, id)->payload,
	    "expires");
}

static void
on_stalled_is_offered(void **state)
{
	struct suite_env *t = *state;
	const struct bh_callback *cb;
	int64_t id;

	set_callbacks(t, 1 << BH_ON_STALLED);
	id = put(t, "q", "x");
	take_id(t, "q", id);
	suite_pass(t, 30000);
	cb = expect_callback(t, BH_ON_STALLED, id);
	assert_int_equal(cb->attempt, 1);
	expect_bytes(cb->payload, "x");
	assert_null(told_next(t));
}

static void
callbacks_nobody_has_are_not_owed(void **state)
{
	struct suite_env *t = *state;

	set_callbacks(t, 1 << BH_ON_STALLED);
	put_count(t, "q", 2, NULL);
	run_done(t, "q");
	run_final(t, "q", "no");
	put(t, "p", "x");
	run_done(t, "p");
	assert_null(told_next(t));
}

static const struct bh_events no_events;

static void
told_again(void *arg, const struct bh_callback *cb)
{
	struct suite_env *t = arg;
	struct told *n = arena_alloc(&t->arena, sizeof(*n));

	n->cb = *cb;
	n->cb.queue = arena_bytes(&t->arena, cb->queue);
	TAILQ_INSERT_TAIL(&t->told, n, link);
}

static void
listen_offers_what_is_owed_again(void **state)
{
	struct suite_env *t = *state;
	struct bh_events events = no_events;
	const struct bh_callback *cb;
	int64_t first, id;

	events.callback = told_again;
	set_callbacks(t, 1 << BH_ON_COMPLETED);
	put_count(t, "q", 2, NULL);
	first = run_done(t, "q");
	id = run_done(t, "q");
	cb = expect_callback(t, BH_ON_COMPLETED, first);
	suite_begin(t);
	t->ops->callback_done(t->be, cb->id);
	expect_callback(t, BH_ON_COMPLETED, id);
	assert_null(told_next(t));
	suite_begin(t);
	t->ops->listen(t->be, &events, t);
	cb = expect_callback(t, BH_ON_COMPLETED, id);
	assert_null(told_next(t));
	suite_begin(t);
	t->ops->callback_done(t->be, cb->id);
	suite_begin(t);
	t->ops->listen(t->be, &events, t);
	assert_null(told_next(t));
}

const struct suite_case suite_callback_cases[] = {
	CASE(on_completed_is_offered),
	CASE(on_completed_of_a_job_that_is_not_kept),
	CASE(on_failed_is_offered_for_the_last_error),
	CASE(on_failed_is_offered_for_an_expired_job),
	CASE(callbacks_of_cold_jobs_have_their_payload),
	CASE(on_stalled_is_offered),
	CASE(callbacks_nobody_has_are_not_owed),
	CASE(listen_offers_what_is_owed_again),
	{0},
};
