/* SPDX-License-Identifier: MIT */
/* Cases: news of jobs for those who watch. */
#include "suite.h"

static void
watch(struct suite_env *t, bool on)
{
	suite_begin(t);
	t->ops->watch_jobs(t->be, on);
}

/* The next news must be this. */
static const struct bh_job_event *
expect_news(struct suite_env *t, enum bh_job_news news, int64_t id,
    enum bh_job_state state, int32_t attempt)
{
	const struct bh_job_event *ev = heard_next(t);

	assert_non_null(ev);
	assert_int_equal(ev->news, news);
	assert_int_equal(ev->id, id);
	assert_int_equal(ev->state, state);
	assert_int_equal(ev->attempt, attempt);
	assert_int_equal(ev->at, t->wall);
	return ev;
}

static void
a_jobs_life_is_told_in_order(void **state)
{
	struct suite_env *t = *state;
	const struct bh_job_event *ev;
	struct bh_job *j;
	int64_t id;

	watch(t, true);
	id = put(t, "q", "x");
	j = take_id(t, "q", id);
	call_ok(ask_extend(t, id, j->token, -1, "half"));
	finish_fail(t, j, "no luck", 0);
	j = take_id(t, "q", id);
	finish_done(t, j, "42");
	ev = expect_news(t, BH_NEWS_ADDED, id, BH_WAITING, 0);
	expect_bytes(ev->queue, "q");
	expect_news(t, BH_NEWS_ACTIVE, id, BH_ACTIVE, 1);
	ev = expect_news(t, BH_NEWS_PROGRESS, id, BH_ACTIVE, 1);
	expect_bytes(ev->progress, "half");
	ev = expect_news(t, BH_NEWS_RETRYING, id, BH_WAITING, 1);
	expect_bytes(ev->error, "no luck");
	expect_news(t, BH_NEWS_ACTIVE, id, BH_ACTIVE, 2);
	expect_news(t, BH_NEWS_COMPLETED, id, BH_COMPLETED, 2);
	assert_null(heard_next(t));
}

static void
nothing_is_told_while_nobody_watches(void **state)
{
	struct suite_env *t = *state;
	int64_t id;

	put(t, "q", "before");
	watch(t, true);
	id = put(t, "q", "x");
	expect_news(t, BH_NEWS_ADDED, id, BH_WAITING, 0);
	watch(t, false);
	run_done(t, "q");
	assert_null(heard_next(t));
	watch(t, true);
	assert_null(heard_next(t));
}

static void
a_delayed_job_is_told_when_it_is_added_and_starts(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	watch(t, true);
	o.delay_ms = 1000;
	id = put_with(t, "q", "x", &o);
	expect_news(t, BH_NEWS_ADDED, id, BH_DELAYED, 0);
	suite_pass(t, 1000);
	assert_null(heard_next(t));
	take_id(t, "q", id);
	expect_news(t, BH_NEWS_ACTIVE, id, BH_ACTIVE, 1);
}

static void
a_failure_is_told_with_its_error(void **state)
{
	struct suite_env *t = *state;
	const struct bh_job_event *ev;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	watch(t, true);
	finish_final(t, j, "rejected");
	ev = expect_news(t, BH_NEWS_FAILED, id, BH_FAILED, 1);
	expect_bytes(ev->error, "rejected");
	alter_ok(t, id, BH_JOB_RETRY);
	ev = heard_next(t);
	assert_int_equal(ev->news, BH_NEWS_RETRYING);
	assert_int_equal(ev->state, BH_WAITING);
	assert_null(heard_next(t));
}

static void
a_lost_lease_is_told(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	take_id(t, "q", id);
	watch(t, true);
	suite_pass(t, 30000);
	expect_news(t, BH_NEWS_STALLED, id, BH_WAITING, 1);
	assert_null(heard_next(t));
}

static void
a_snooze_is_no_news(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	watch(t, true);
	finish_release(t, j, 1000);
	suite_pass(t, 1000);
	assert_null(heard_next(t));
}

static void
an_expiry_and_a_cancel_are_failures(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t first, second;

	o.expires_ms = 1000;
	first = put_with(t, "q", "x", &o);
	second = put(t, "q", "x");
	watch(t, true);
	suite_pass(t, 1000);
	expect_bytes(expect_news(t, BH_NEWS_FAILED, first, BH_FAILED,
	    0)->error, "expired");
	alter_ok(t, second, BH_JOB_CANCEL);
	expect_prefix(expect_news(t, BH_NEWS_FAILED, second, BH_FAILED,
	    0)->error, "cancelled");
}

static void
an_end_that_is_not_kept_is_told(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.retain_ms = 0;
	id = put_with(t, "q", "x", &o);
	watch(t, true);
	run_done(t, "q");
	expect_news(t, BH_NEWS_ACTIVE, id, BH_ACTIVE, 1);
	expect_news(t, BH_NEWS_COMPLETED, id, BH_COMPLETED, 1);
	assert_null(heard_next(t));
}

static void
removed_jobs_are_told_swept_ones_are_not(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t id, kept;

	o.retain_completed_ms = 1000;
	set_options(t, "q", &o);
	kept = put(t, "q", "x");
	run_done(t, "q");
	id = put(t, "q", "x");
	watch(t, true);
	alter_ok(t, id, BH_JOB_REMOVE);
	expect_news(t, BH_NEWS_REMOVED, id, BH_WAITING, 0);
	suite_pass(t, SUITE_SWEEP_MS);
	expect_gone(t, kept);
	assert_null(heard_next(t));
}

static void
bulk_operations_tell_each_job(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];

	for (int i = 0; i < 3; i++) {
		ids[i] = put(t, "q", "x");
		run_final(t, "q", "no");
	}
	watch(t, true);
	assert_int_equal(queue_retry(t, "q", 0), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(heard_next(t)->id, ids[i]);
	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(heard_next(t)->news, BH_NEWS_REMOVED);
	assert_null(heard_next(t));
}

static void
each_job_of_one_add_is_told(void **state)
{
	struct suite_env *t = *state;
	struct bh_bytes payloads[2] = {bytes("a"), bytes("b")};
	struct call *c;

	watch(t, true);
	c = ask_put_many(t, "q", 2, payloads, NULL);
	call_ok(c);
	expect_news(t, BH_NEWS_ADDED, c->ids[0], BH_WAITING, 0);
	expect_news(t, BH_NEWS_ADDED, c->ids[1], BH_WAITING, 0);
	assert_null(heard_next(t));
}

static void
an_add_that_finds_a_living_job_is_no_news(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.unique = bytes("k");
	id = put_with(t, "q", "x", &o);
	watch(t, true);
	assert_int_equal(put_with(t, "q", "y", &o), id);
	assert_null(heard_next(t));
}

/* What is told has happened: it is there after a crash at that moment. */
static void
what_was_told_is_committed(void **state)
{
	struct suite_env *t = *state;
	const struct bh_job_event *ev;
	int64_t id;

	watch(t, true);
	ask_put(t, "q", "x", NULL);
	while (TAILQ_EMPTY(&t->heard))
		suite_turn(t);
	ev = &TAILQ_FIRST(&t->heard)->ev;
	id = ev->id;
	suite_crash_now(t);
	expect_state(t, id, BH_WAITING);
}

const struct suite_case suite_event_cases[] = {
	CASE(a_jobs_life_is_told_in_order),
	CASE(nothing_is_told_while_nobody_watches),
	CASE(a_delayed_job_is_told_when_it_is_added_and_starts),
	CASE(a_failure_is_told_with_its_error),
	CASE(a_lost_lease_is_told),
	CASE(a_snooze_is_no_news),
	CASE(an_expiry_and_a_cancel_are_failures),
	CASE(an_end_that_is_not_kept_is_told),
	CASE(removed_jobs_are_told_swept_ones_are_not),
	CASE(bulk_operations_tell_each_job),
	CASE(each_job_of_one_add_is_told),
	CASE(an_add_that_finds_a_living_job_is_no_news),
	CASE_CRASH(what_was_told_is_committed),
	{0},
};
