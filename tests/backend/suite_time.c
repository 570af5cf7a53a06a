/* SPDX-License-Identifier: MIT */
/* Cases: delays, times of day, expiry, and clocks that jump. */
#include "suite.h"

static int64_t
put_delay(struct suite_env *t, const char *queue, int64_t ms)
{
	struct bh_job_opts o = opts_none();

	o.delay_ms = ms;
	return put_with(t, queue, "x", &o);
}

static int64_t
put_at(struct suite_env *t, const char *queue, int64_t at)
{
	struct bh_job_opts o = opts_none();

	o.at = at;
	return put_with(t, queue, "x", &o);
}

static int64_t
put_expires(struct suite_env *t, const char *queue, int64_t delay_ms,
    int64_t expires_ms)
{
	struct bh_job_opts o = opts_none();

	o.delay_ms = delay_ms;
	o.expires_ms = expires_ms;
	return put_with(t, queue, "x", &o);
}

static void
a_delay_ends_in_time(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_delay(t, "q", 1000);

	expect_state(t, id, BH_DELAYED);
	assert_int_equal(get_job(t, id)->run_at, t->wall + 1000);
	suite_pass(t, 999);
	expect_state(t, id, BH_DELAYED);
	take_none(t, "q");
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
	take_id(t, "q", id);
}

static void
no_delay_is_no_delay(void **state)
{
	struct suite_env *t = *state;

	expect_state(t, put_delay(t, "q", 0), BH_WAITING);
	expect_state(t, put_at(t, "q", t->wall - 1000), BH_WAITING);
	expect_state(t, put_at(t, "q", t->wall), BH_WAITING);
}

static void
at_is_a_time_of_the_wall(void **state)
{
	struct suite_env *t = *state;
	int64_t at = t->wall + 5000, id = put_at(t, "q", at);

	assert_int_equal(get_job(t, id)->run_at, at);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 4999);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
long_delays_keep_their_order(void **state)
{
	struct suite_env *t = *state;
	int64_t a = put_delay(t, "q", SUITE_MONTH_MS);
	int64_t b = put_delay(t, "q", 3600000);
	int64_t c = put_delay(t, "q", 10);

	suite_pass(t, 10);
	finish_done(t, take_id(t, "q", c), NULL);
	take_none(t, "q");
	suite_pass(t, 3600000);
	take_id(t, "q", b);
	take_none(t, "q");
	expect_state(t, a, BH_DELAYED);
	assert_int_equal(stats(t, "q")->count[BH_DELAYED], 1);
}

static void
promote_ends_a_delay(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_delay(t, "q", 60000), retried;
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true});

	assert_false(call_answered(c));
	alter_ok(t, id, BH_JOB_PROMOTE);
	call_ok(c);
	assert_int_equal(c->jobs->id, id);
	assert_int_equal(alter(t, id, BH_JOB_PROMOTE, NULL), BH_E_CONFLICT);
	finish_fail(t, c->jobs, "again", 60000);
	alter_ok(t, id, BH_JOB_PROMOTE);
	retried = take_id(t, "q", id)->attempt;
	assert_int_equal(retried, 2);
	suite_pass(t, 20000);
	expect_state(t, id, BH_ACTIVE);
}

static void
promote_is_for_delayed_jobs(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	assert_int_equal(alter(t, id, BH_JOB_PROMOTE, NULL), BH_E_CONFLICT);
	assert_int_equal(alter(t, 999999, BH_JOB_PROMOTE, NULL),
	    BH_E_NOTFOUND);
}

static void
expired_at_that_moment(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_expires(t, "q", -1, 1000);
	struct bh_job *j;

	assert_int_equal(get_job(t, id)->expires_at, t->wall + 1000);
	suite_pass(t, 999);
	expect_state(t, id, BH_WAITING);
	suite_pass(t, 1);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_FAILED);
	expect_bytes(j->error, "expired");
	assert_int_equal(j->finished_at, t->wall);
	assert_int_equal(j->attempt, 0);
	take_none(t, "q");
}

static void
expiry_counts_from_run_at(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_expires(t, "q", 500, 1000);

	assert_int_equal(get_job(t, id)->expires_at, t->wall + 1500);
	suite_pass(t, 1499);
	expect_state(t, id, BH_WAITING);
	suite_pass(t, 1);
	expect_state(t, id, BH_FAILED);
}

static void
expired_in_a_paused_and_in_a_held_queue(void **state)
{
	struct suite_env *t = *state;
	int64_t a, b;

	queue_pause(t, "p");
	queue_hold(t, "h", 60000, "429");
	a = put_expires(t, "p", -1, 1000);
	b = put_expires(t, "h", -1, 1000);
	suite_pass(t, 1000);
	expect_state(t, a, BH_FAILED);
	expect_state(t, b, BH_FAILED);
}

static void
a_started_job_does_not_expire(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_expires(t, "q", -1, 1000);
	struct bh_job *j = take_id(t, "q", id);

	suite_pass(t, 1000);
	expect_state(t, id, BH_ACTIVE);
	finish_fail(t, j, "again", 5000);
	suite_pass(t, 5000);
	finish_done(t, take_id(t, "q", id), NULL);
}

static void
a_retry_that_waits_does_not_expire(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_expires(t, "q", -1, 1000);

	finish_fail(t, take_id(t, "q", id), "again", 0);
	suite_pass(t, 5000);
	expect_state(t, id, BH_WAITING);
}

static void
expired_jobs_behind_others_go_in_time(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[5];

	for (int i = 0; i < 5; i++)
		ids[i] = put_expires(t, "q", -1, 1000 + 100 * (5 - i));
	suite_pass(t, 1100);
	expect_state(t, ids[4], BH_FAILED);
	expect_state(t, ids[3], BH_WAITING);
	suite_pass(t, 200);
	expect_state(t, ids[2], BH_FAILED);
	take_id(t, "q", ids[0]);
	suite_pass(t, 100);
	expect_state(t, ids[1], BH_FAILED);
	expect_state(t, ids[0], BH_ACTIVE);
}

/* --- jumps --- */

static void
a_delay_is_not_shifted_by_a_jump_ahead(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_delay(t, "q", 1000);

	suite_jump(t, 3600000);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 999);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
a_delay_is_not_shifted_by_a_jump_back(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_delay(t, "q", 1000);

	suite_jump(t, -86400000);
	suite_pass(t, 999);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
at_follows_a_jump_ahead(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_at(t, "q", t->wall + 3600000);

	suite_jump(t, 3599999);
	expect_state(t, id, BH_DELAYED);
	assert_true(t->next <= t->mono + 1);
	suite_jump(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
at_follows_a_jump_back(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_at(t, "q", t->wall + 1000);

	suite_jump(t, -3600000);
	suite_pass(t, 3600999);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
}

static void
leases_are_not_shifted_by_jumps(void **state)
{
	struct suite_env *t = *state;
	int64_t a = put(t, "a", "x"), b = put(t, "b", "x");

	take_id(t, "a", a);
	suite_jump(t, 3600000);
	expect_state(t, a, BH_ACTIVE);
	take_id(t, "b", b);
	suite_jump(t, -7200000);
	suite_pass(t, 29999);
	expect_state(t, a, BH_ACTIVE);
	suite_pass(t, 1);
	expect_state(t, a, BH_WAITING);
	expect_state(t, b, BH_WAITING);
}

static void
backoff_and_waiting_callers_are_not_shifted(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c = ask_reserve(t, &(struct want){.queue = "none",
	    .wait = true, .block_ms = 1000});

	finish_fail(t, take_id(t, "q", id), "again", 1000);
	suite_jump(t, 3600000);
	expect_state(t, id, BH_DELAYED);
	assert_false(call_answered(c));
	suite_jump(t, -7200000);
	suite_pass(t, 1000);
	expect_state(t, id, BH_WAITING);
	call_ok(c);
	assert_int_equal(c->njobs, 0);
}

static void
a_box_that_boots_in_1970_loses_nothing(void **state)
{
	struct suite_env *t = *state;
	int64_t now = t->wall, at, delayed;

	suite_jump(t, 5000 - now);
	at = put_at(t, "q", now + 1000);
	delayed = put_delay(t, "q", 1000);
	suite_jump(t, now - 5000);
	expect_state(t, at, BH_DELAYED);
	expect_state(t, delayed, BH_DELAYED);
	suite_pass(t, 1000);
	expect_state(t, at, BH_WAITING);
	expect_state(t, delayed, BH_WAITING);
}

/* "Not first started by then": a start that was given back was one. */
static void
what_has_started_expires_no_more(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.expires_ms = 1000;
	id = put_with(t, "q", "x", &o);
	finish_release(t, take_id(t, "q", id), 2000);
	suite_pass(t, 2000);
	expect_state(t, id, BH_WAITING);
	finish_release(t, take_id(t, "q", id), 0);
	suite_pass(t, 2000);
	expect_state(t, id, BH_WAITING);
	finish_done(t, take_id(t, "q", id), "r");
}

static void
what_has_started_expires_no_more_after_a_restart(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.expires_ms = 1000;
	id = put_with(t, "q", "x", &o);
	finish_release(t, take_id(t, "q", id), 0);
	suite_reopen(t, 5000);
	expect_state(t, id, BH_WAITING);
	take_id(t, "q", id);
}

const struct suite_case suite_time_cases[] = {
	CASE(what_has_started_expires_no_more),
	CASE_STORAGE(what_has_started_expires_no_more_after_a_restart),
	CASE(a_delay_ends_in_time),
	CASE(no_delay_is_no_delay),
	CASE(at_is_a_time_of_the_wall),
	CASE(long_delays_keep_their_order),
	CASE(promote_ends_a_delay),
	CASE(promote_is_for_delayed_jobs),
	CASE(expired_at_that_moment),
	CASE(expiry_counts_from_run_at),
	CASE(expired_in_a_paused_and_in_a_held_queue),
	CASE(a_started_job_does_not_expire),
	CASE(a_retry_that_waits_does_not_expire),
	CASE(expired_jobs_behind_others_go_in_time),
	CASE(a_delay_is_not_shifted_by_a_jump_ahead),
	CASE(a_delay_is_not_shifted_by_a_jump_back),
	CASE(at_follows_a_jump_ahead),
	CASE(at_follows_a_jump_back),
	CASE(leases_are_not_shifted_by_jumps),
	CASE(backoff_and_waiting_callers_are_not_shifted),
	CASE(a_box_that_boots_in_1970_loses_nothing),
	{0},
};
