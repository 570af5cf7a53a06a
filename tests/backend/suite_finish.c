/* SPDX-License-Identifier: MIT */
/* Cases: how attempts end, and what a lost lease does. */
#include "suite.h"

static void
done_completes_the_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	suite_pass(t, 40);
	finish_done(t, j, "the result");
	j = get_job(t, id);
	assert_int_equal(j->state, BH_COMPLETED);
	expect_bytes(j->result, "the result");
	expect_bytes(j->payload, "x");
	assert_int_equal(j->finished_at, t->wall);
	assert_int_equal(j->started_at, t->wall - 40);
	assert_int_equal(j->attempt, 1);
	assert_int_equal(j->error_count, 0);
	assert_int_equal(j->lease_until, 0);
	take_none(t, "q");
}

static void
done_without_a_result_leaves_it_absent(void **state)
{
	struct suite_env *t = *state;
	int64_t a = put(t, "q", "x"), b = put(t, "q", "x");

	finish_done(t, take_id(t, "q", a), NULL);
	finish_done(t, take_id(t, "q", b), "");
	assert_null(get_job(t, a)->result.data);
	assert_non_null(get_job(t, b)->result.data);
	assert_int_equal(get_job(t, b)->result.len, 0);
}

static void
final_failure_keeps_its_reason(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	assert_int_equal(finish_final(t, j, "rejected: no such guest"),
	    BH_FAILED);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_FAILED);
	expect_bytes(j->error, "rejected: no such guest");
	assert_int_equal(j->error_count, 1);
	assert_int_equal(j->finished_at, t->wall);
	assert_int_equal(j->nerrors, 1);
	assert_int_equal(j->errors[0].attempt, 1);
	assert_int_equal(j->errors[0].at, t->wall);
	expect_bytes(j->errors[0].message, "rejected: no such guest");
	expect_bytes(j->errors[0].version, "v1");
	take_none(t, "q");
}

static void
an_error_delays_the_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	assert_int_equal(finish_fail(t, j, "again", 1500), BH_DELAYED);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_DELAYED);
	assert_int_equal(j->run_at, t->wall + 1500);
	assert_int_equal(j->attempt, 1);
	assert_int_equal(j->error_count, 1);
	suite_pass(t, 1499);
	take_none(t, "q");
	suite_pass(t, 1);
	j = take_id(t, "q", id);
	assert_int_equal(j->attempt, 2);
	assert_int_equal(j->error_count, 1);
	assert_int_equal(j->nerrors, 1);
}

static void
an_error_without_delay_is_tried_at_once(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	assert_int_equal(finish_fail(t, take(t, "q"), "again", 0),
	    BH_WAITING);
	assert_int_equal(take_id(t, "q", id)->attempt, 2);
}

static void
release_gives_the_start_back(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	assert_int_equal(finish_release(t, j, -1), BH_WAITING);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_WAITING);
	assert_int_equal(j->attempt, 0);
	assert_int_equal(j->error_count, 0);
	assert_int_equal(j->nerrors, 0);
	assert_int_equal(j->lease_until, 0);
	assert_int_equal(take_id(t, "q", id)->attempt, 1);
}

/* Three are taken and given back in order, ms apart; a fourth has come in
 * meanwhile. */
static void
expect_given_back_in_order(struct suite_env *t, int64_t ms)
{
	struct call *c;
	int64_t fourth;

	put_count(t, "q", 3, NULL);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 3});
	call_ok(c);
	assert_int_equal(c->njobs, 3);
	fourth = put(t, "q", "x");
	for (int i = 0; i < 3; i++) {
		suite_pass(t, ms);
		finish_release(t, &c->jobs[i], -1);
	}
	for (int i = 0; i < 3; i++)
		finish_done(t, take_id(t, "q", c->jobs[i].id), NULL);
	finish_done(t, take_id(t, "q", fourth), NULL);
}

static void
release_keeps_the_order(void **state)
{
	struct suite_env *t = *state;

	expect_given_back_in_order(t, 0);
	expect_given_back_in_order(t, 10);
}

static void
release_can_delay(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	assert_int_equal(finish_release(t, take(t, "q"), 800), BH_DELAYED);
	assert_int_equal(get_job(t, id)->attempt, 0);
	suite_pass(t, 799);
	take_none(t, "q");
	suite_pass(t, 1);
	assert_int_equal(take_id(t, "q", id)->attempt, 1);
}

static void
attempt_counts_starts_and_error_count_errors(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t id;

	o.attempts = 3;
	o.lease_ms = 1000;
	id = put_with(t, "q", "x", &o);
	finish_fail(t, take_id(t, "q", id), "one", 0);
	finish_release(t, take_id(t, "q", id), -1);
	take_id(t, "q", id);
	suite_pass(t, 1000);		/* loses its lease: start 2 */
	j = get_job(t, id);
	assert_int_equal(j->attempt, 2);
	assert_int_equal(j->error_count, 1);
	assert_int_equal(j->stalled, 1);
	finish_fail(t, take_id(t, "q", id), "two", 0);
	j = take_id(t, "q", id);
	assert_int_equal(j->attempt, 4);
	assert_int_equal(finish_fail(t, j, "three", 0), BH_FAILED);
	j = get_job(t, id);
	assert_int_equal(j->error_count, 3);
	assert_int_equal(j->stalled, 1);
	assert_int_equal(j->attempt, 4);
	expect_bytes(j->error, "three");
}

static void
finish_refuses_other_tokens(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);
	struct call *c = ask_finish(t, id, j->token ^ 1, BH_DONE, "no", -1,
	    false);

	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	expect_state(t, id, BH_ACTIVE);
	finish_done(t, j, "yes");
	c = ask_finish(t, id, j->token, BH_FAIL, "late", -1, true);
	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	expect_bytes(get_job(t, id)->result, "yes");
}

static void
finish_refuses_the_token_of_an_earlier_try(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *old = take_id(t, "q", id), *j;
	struct call *c;

	finish_fail(t, old, "again", 0);
	c = ask_finish(t, id, old->token, BH_DONE, NULL, -1, false);
	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	j = take_id(t, "q", id);
	assert_true(j->token != old->token);
	for (int out = BH_DONE; out <= BH_RELEASE; out++) {
		c = ask_finish(t, id, old->token, out, "late", -1, false);
		call_wait(c);
		assert_int_equal(c->status, BH_E_STALE);
	}
	finish_done(t, j, NULL);
}

static void
finish_and_extend_know_no_unknown_job(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	put(t, "q", "x");
	c = ask_finish(t, 999999, 1, BH_DONE, NULL, -1, false);
	call_wait(c);
	assert_int_equal(c->status, BH_E_NOTFOUND);
	c = ask_extend(t, 999999, 1, 1000, NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_NOTFOUND);
}

static void
two_ends_in_one_turn_are_one(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);
	struct call *a, *b;

	a = ask_finish(t, id, j->token, BH_DONE, "first", -1, false);
	b = ask_finish(t, id, j->token, BH_DONE, "second", -1, false);
	call_wait(a);
	call_wait(b);
	assert_int_equal(a->status, BH_OK);
	assert_int_equal(b->status, BH_E_STALE);
	expect_bytes(get_job(t, id)->result, "first");
}

const struct suite_case suite_finish_cases[] = {
	CASE(done_completes_the_job),
	CASE(done_without_a_result_leaves_it_absent),
	CASE(final_failure_keeps_its_reason),
	CASE(an_error_delays_the_job),
	CASE(an_error_without_delay_is_tried_at_once),
	CASE(release_gives_the_start_back),
	CASE(release_keeps_the_order),
	CASE(release_can_delay),
	CASE(attempt_counts_starts_and_error_count_errors),
	CASE(finish_refuses_other_tokens),
	CASE(finish_refuses_the_token_of_an_earlier_try),
	CASE(finish_and_extend_know_no_unknown_job),
	CASE(two_ends_in_one_turn_are_one),
	{0},
};

/* --- attempts and back-off --- */

/* Fails the next try by the back-off; the delay that followed. */
static int64_t
backoff_step(struct suite_env *t, const char *queue)
{
	struct bh_job *j = take(t, queue);
	int64_t delay;

	assert_int_equal(finish_fail(t, j, "again", -1), BH_DELAYED);
	delay = get_job(t, j->id)->run_at - t->wall;
	suite_pass(t, delay - 1);
	expect_state(t, j->id, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, j->id, BH_WAITING);
	return delay;
}

static void
backoff_fixed(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();

	o.backoff_type = BH_BACKOFF_FIXED;
	o.backoff_ms = 1000;
	o.backoff_jitter = 0;
	put_with(t, "q", "x", &o);
	for (int i = 0; i < 4; i++)
		assert_int_equal(backoff_step(t, "q"), 1000);
}

static void
backoff_exponential_up_to_max(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();

	o.backoff_type = BH_BACKOFF_EXPONENTIAL;
	o.backoff_ms = 1000;
	o.backoff_factor = 2;
	o.backoff_max_ms = 5000;
	o.backoff_jitter = 0;
	put_with(t, "q", "x", &o);
	assert_int_equal(backoff_step(t, "q"), 1000);
	assert_int_equal(backoff_step(t, "q"), 2000);
	assert_int_equal(backoff_step(t, "q"), 4000);
	assert_int_equal(backoff_step(t, "q"), 5000);
	assert_int_equal(backoff_step(t, "q"), 5000);
}

static void
backoff_jitter_only_shortens(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t low = INT64_MAX, high = 0;

	o.backoff_type = BH_BACKOFF_FIXED;
	o.backoff_ms = 10000;
	o.backoff_jitter = 0.5;
	o.attempts = 100;
	put_with(t, "q", "x", &o);
	for (int i = 0; i < 40; i++) {
		int64_t ms = backoff_step(t, "q");

		assert_in_range(ms, 5000, 10000);
		low = ms < low ? ms : low;
		high = ms > high ? ms : high;
	}
	/* Forty throws that all fall into one half: once in 2^39 runs. */
	assert_true(low < 7500);
	assert_true(high > 7500);
}

static void
backoff_by_default(void **state)
{
	struct suite_env *t = *state;

	put(t, "q", "x");
	assert_in_range(backoff_step(t, "q"), 4000, 5000);
	assert_in_range(backoff_step(t, "q"), 12000, 15000);
	assert_in_range(backoff_step(t, "q"), 36000, 45000);
}

static void
backoff_of_the_queue_unless_the_job_says(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts q = queue_none();
	struct bh_job_opts o = opts_none();

	q.backoff_type = BH_BACKOFF_FIXED;
	q.backoff_ms = 300;
	q.backoff_jitter = 0;
	set_options(t, "q", &q);
	put(t, "q", "x");
	assert_int_equal(backoff_step(t, "q"), 300);
	finish_done(t, take(t, "q"), NULL);
	o.backoff_ms = 70;
	put_with(t, "q", "x", &o);
	assert_int_equal(backoff_step(t, "q"), 70);
}

static void
the_last_attempt_fails_for_good(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.attempts = 2;
	id = put_with(t, "q", "x", &o);
	assert_int_equal(finish_fail(t, take(t, "q"), "one", 0), BH_WAITING);
	assert_int_equal(finish_fail(t, take(t, "q"), "two", 0), BH_FAILED);
	expect_bytes(get_job(t, id)->error, "two");
	suite_pass(t, 3600000);
	take_none(t, "q");
}

static void
attempts_of_the_queue_are_looked_up_at_each_start(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts q = queue_none();
	int64_t id = put(t, "q", "x");

	q.attempts = 1;
	set_options(t, "q", &q);
	assert_int_equal(take_id(t, "q", id)->attempts, 1);
	assert_int_equal(get_job(t, id)->attempts, 1);
}

const struct suite_case suite_retry_cases[] = {
	CASE(backoff_fixed),
	CASE(backoff_exponential_up_to_max),
	CASE(backoff_jitter_only_shortens),
	CASE(backoff_by_default),
	CASE(backoff_of_the_queue_unless_the_job_says),
	CASE(the_last_attempt_fails_for_good),
	CASE(attempts_of_the_queue_are_looked_up_at_each_start),
	{0},
};

/* --- leases --- */

static int64_t
put_lease(struct suite_env *t, const char *queue, int64_t lease_ms,
    int32_t max_stalled)
{
	struct bh_job_opts o = opts_none();

	o.lease_ms = lease_ms;
	o.max_stalled = max_stalled;
	return put_with(t, queue, "x", &o);
}

static void
a_lost_lease_gives_the_job_back(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_lease(t, "q", 1000, -1);
	struct bh_job *old = take_id(t, "q", id), *j;
	struct call *c;

	suite_pass(t, 999);
	expect_state(t, id, BH_ACTIVE);
	suite_pass(t, 1);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_WAITING);
	assert_int_equal(j->stalled, 1);
	assert_int_equal(j->attempt, 1);
	assert_int_equal(j->error_count, 0);
	assert_int_equal(stats(t, "q")->stalled_total, 1);
	c = ask_finish(t, id, old->token, BH_DONE, NULL, -1, false);
	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	j = take_id(t, "q", id);
	assert_int_equal(j->attempt, 2);
	finish_done(t, j, NULL);
}

static void
a_lost_lease_wakes_a_parked_reserve(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_lease(t, "q", 1000, -1);
	struct call *c;

	take_id(t, "q", id);
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	suite_pass(t, 999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->id, id);
}

static void
poison_fails_after_max_stalled(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_lease(t, "q", 1000, 1);
	struct bh_job *j;

	take_id(t, "q", id);
	suite_pass(t, 1000);
	take_id(t, "q", id);
	suite_pass(t, 1000);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_FAILED);
	assert_int_equal(j->stalled, 2);
	assert_int_equal(j->error_count, 0);
	assert_true(j->error.len > 0);
	take_none(t, "q");
}

static void
poison_by_default_is_the_third_loss(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_lease(t, "q", 1000, -1);

	for (int i = 0; i < 3; i++) {
		take_id(t, "q", id);
		suite_pass(t, 1000);
	}
	expect_state(t, id, BH_FAILED);
	id = put_lease(t, "q", 1000, 0);
	take_id(t, "q", id);
	suite_pass(t, 1000);
	expect_state(t, id, BH_FAILED);
}

static void
extend_counts_from_now(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_lease(t, "q", 1000, -1);
	struct bh_job *j = take_id(t, "q", id);

	suite_pass(t, 600);
	call_ok(ask_extend(t, id, j->token, 2000, NULL));
	assert_int_equal(get_job(t, id)->lease_until, t->wall + 2000);
	suite_pass(t, 1999);
	expect_state(t, id, BH_ACTIVE);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
extend_may_shorten(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	call_ok(ask_extend(t, id, j->token, 100, NULL));
	suite_pass(t, 99);
	expect_state(t, id, BH_ACTIVE);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
extend_reports_progress(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_lease(t, "q", 1000, -1);
	struct bh_job *j = take_id(t, "q", id);
	int64_t until = j->lease_until;

	suite_pass(t, 100);
	call_ok(ask_extend(t, id, j->token, -1, "40 %"));
	expect_bytes(get_job(t, id)->progress, "40 %");
	assert_int_equal(get_job(t, id)->lease_until, until);
	call_ok(ask_extend(t, id, j->token, 5000, NULL));
	expect_bytes(get_job(t, id)->progress, "40 %");
	call_ok(ask_extend(t, id, j->token, 1000, "80 %"));
	expect_bytes(get_job(t, id)->progress, "80 %");
	assert_int_equal(get_job(t, id)->lease_until, t->wall + 1000);
}

static void
extend_refuses_old_tokens(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);
	struct call *c = ask_extend(t, id, j->token ^ 1, 1000, "no");

	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	assert_null(get_job(t, id)->progress.data);
	finish_done(t, j, NULL);
	c = ask_extend(t, id, j->token, 1000, NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
}

const struct suite_case suite_lease_cases[] = {
	CASE(a_lost_lease_gives_the_job_back),
	CASE(a_lost_lease_wakes_a_parked_reserve),
	CASE(poison_fails_after_max_stalled),
	CASE(poison_by_default_is_the_third_loss),
	CASE(extend_counts_from_now),
	CASE(extend_may_shorten),
	CASE(extend_reports_progress),
	CASE(extend_refuses_old_tokens),
	{0},
};
