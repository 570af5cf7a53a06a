/* SPDX-License-Identifier: MIT */
/* Cases: what is kept of jobs that have ended. */
#include "suite.h"

/* Rows that a sweep may take in a turn. */
#define SWEEP_SLICE 500

static int64_t
put_retain(struct suite_env *t, const char *queue, int64_t retain_ms)
{
	struct bh_job_opts o = opts_none();

	o.retain_ms = retain_ms;
	return put_with(t, queue, "x", &o);
}

static void
retention_counts_completed_jobs(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t ids[5];

	o.retain_completed_count = 3;
	set_options(t, "q", &o);
	put_count(t, "q", 5, NULL);
	for (int i = 0; i < 5; i++) {
		ids[i] = run_done(t, "q");
		suite_pass(t, 10);
	}
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 3);
	expect_gone(t, ids[0]);
	expect_gone(t, ids[1]);
	for (int i = 2; i < 5; i++)
		expect_state(t, ids[i], BH_COMPLETED);
}

static void
retention_of_none_still_answers_those_who_wait(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job *j;
	struct call *c;
	int64_t id;

	o.retain_completed_count = 0;
	set_options(t, "q", &o);
	id = put(t, "q", "x");
	c = ask_get(t, id, 0);
	j = take_id(t, "q", id);
	assert_false(call_answered(c));
	finish_done(t, j, "42");
	call_ok(c);
	assert_non_null(c->jobs);
	expect_bytes(c->jobs->result, "42");
	expect_gone(t, id);
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 0);
}

static void
retention_forgets_completed_jobs_by_age(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t id;

	o.retain_completed_ms = 60000;
	set_options(t, "q", &o);
	put(t, "q", "x");
	id = run_done(t, "q");
	suite_pass(t, 59999);
	expect_state(t, id, BH_COMPLETED);
	suite_pass(t, SUITE_SWEEP_MS);
	expect_gone(t, id);
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 0);
}

/* Failed jobs in two queues, together so many. */
static int64_t
count_failed(struct suite_env *t)
{
	return stats(t, "q")->count[BH_FAILED] +
	    stats(t, "p")->count[BH_FAILED];
}

static void
fail_all(struct suite_env *t, const char *queue, size_t n)
{
	struct call *c, *last = NULL;

	put_count(t, queue, n, NULL);
	c = ask_reserve(t, &(struct want){.queue = queue,
	    .count = (uint32_t)n});
	call_ok(c);
	assert_int_equal(c->njobs, n);
	for (size_t i = 0; i < n; i++)
		last = ask_finish(t, c->jobs[i].id, c->jobs[i].token, BH_FAIL,
		    "no", -1, true);
	call_ok(last);
}

static void
retention_sweeps_many_jobs_in_slices(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();

	o.retain_failed_ms = 60000;
	o.retain_failed_count = 100000;
	set_options(t, "q", &o);
	add_options(t, "p", &o);
	fail_all(t, "q", 2500);
	fail_all(t, "p", 2500);
	suite_settle(t);
	assert_int_equal(count_failed(t), 5000);
	t->mono += 60000;
	t->wall += 60000;
	suite_turn(t);
	assert_true(count_failed(t) >= 5000 - SWEEP_SLICE - 1);
	suite_pass(t, SUITE_SWEEP_MS);
	assert_int_equal(count_failed(t), 0);
}

static void
retention_by_default_is_a_day_and_a_month(void **state)
{
	struct suite_env *t = *state;
	int64_t done, failed;

	put_count(t, "q", 2, NULL);
	done = run_done(t, "q");
	failed = run_final(t, "q", "no");
	suite_pass(t, 86399000);
	expect_state(t, done, BH_COMPLETED);
	suite_pass(t, 1000 + SUITE_SWEEP_MS);
	expect_gone(t, done);
	suite_pass(t, INT64_C(28) * 86400000);
	expect_state(t, failed, BH_FAILED);
	suite_pass(t, INT64_C(86400000) + SUITE_SWEEP_MS);
	expect_gone(t, failed);
}

static void
retention_counts_failed_jobs(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t ids[4];

	o.retain_failed_count = 2;
	set_options(t, "q", &o);
	put_count(t, "q", 4, NULL);
	for (int i = 0; i < 4; i++) {
		ids[i] = run_final(t, "q", "no");
		suite_pass(t, 10);
	}
	suite_pass(t, SUITE_SWEEP_MS);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 2);
	expect_gone(t, ids[0]);
	expect_gone(t, ids[1]);
	expect_state(t, ids[3], BH_FAILED);
}

static void
retention_forgets_failed_jobs_by_age(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t id;

	o.retain_failed_ms = 60000;
	set_options(t, "q", &o);
	put(t, "q", "x");
	id = run_final(t, "q", "no");
	suite_pass(t, 59999);
	expect_state(t, id, BH_FAILED);
	suite_pass(t, SUITE_SWEEP_MS);
	expect_gone(t, id);
}

static void
retain_is_exact(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t id;

	o.retain_completed_ms = 60000;
	set_options(t, "q", &o);
	id = put_retain(t, "q", 1000);
	assert_int_equal(run_done(t, "q"), id);
	suite_pass(t, 999);
	expect_state(t, id, BH_COMPLETED);
	suite_pass(t, 1);
	expect_gone(t, id);
	id = put_retain(t, "q", 600000);
	run_done(t, "q");
	suite_pass(t, 599999);
	expect_state(t, id, BH_COMPLETED);
	suite_pass(t, 1);
	expect_gone(t, id);
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 0);
}

static void
retain_zero_keeps_nothing(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_retain(t, "q", 0);

	assert_int_equal(run_done(t, "q"), id);
	expect_gone(t, id);
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 0);
	assert_int_equal(stats(t, "q")->processed_total, 1);
}

static void
retain_zero_is_only_for_completed_jobs(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_retain(t, "q", 0);

	assert_int_equal(run_final(t, "q", "no"), id);
	expect_state(t, id, BH_FAILED);
}

static void
retained_jobs_are_not_counted(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int64_t retained[3], plain[3];

	o.retain_completed_count = 2;
	set_options(t, "q", &o);
	for (int i = 0; i < 3; i++) {
		retained[i] = put_retain(t, "q", 600000);
		run_done(t, "q");
		suite_pass(t, 10);
	}
	for (int i = 0; i < 3; i++) {
		plain[i] = put(t, "q", "x");
		run_done(t, "q");
		suite_pass(t, 10);
	}
	for (int i = 0; i < 3; i++)
		expect_state(t, retained[i], BH_COMPLETED);
	expect_gone(t, plain[0]);
	expect_state(t, plain[1], BH_COMPLETED);
	expect_state(t, plain[2], BH_COMPLETED);
}

const struct suite_case suite_keep_cases[] = {
	CASE(retention_counts_completed_jobs),
	CASE(retention_of_none_still_answers_those_who_wait),
	CASE(retention_forgets_completed_jobs_by_age),
	CASE_STORAGE(retention_sweeps_many_jobs_in_slices),
	CASE(retention_by_default_is_a_day_and_a_month),
	CASE(retention_counts_failed_jobs),
	CASE(retention_forgets_failed_jobs_by_age),
	CASE(retain_is_exact),
	CASE(retain_zero_keeps_nothing),
	CASE(retain_zero_is_only_for_completed_jobs),
	CASE(retained_jobs_are_not_counted),
	{0},
};

/* --- the dead letters --- */

/* "First and last five" may be read as six or as ten. */
static void
errors_keep_the_first_and_the_last_five(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	char message[32];
	struct bh_job *j;
	int64_t id;

	o.attempts = 14;
	id = put_with(t, "q", "x", &o);
	for (int i = 1; i <= 14; i++) {
		snprintf(message, sizeof(message), "error %d", i);
		finish_fail(t, take_id(t, "q", id), message, 0);
	}
	j = get_job(t, id);
	assert_int_equal(j->state, BH_FAILED);
	assert_int_equal(j->error_count, 14);
	assert_true(j->nerrors == 6 || j->nerrors == 10);
	for (size_t i = 0; i < j->nerrors; i++) {
		int n = (int)i + 1 + (i < j->nerrors - 5 ? 0 :
		    14 - (int)j->nerrors);

		snprintf(message, sizeof(message), "error %d", n);
		assert_int_equal(j->errors[i].attempt, n);
		expect_bytes(j->errors[i].message, message);
		expect_bytes(j->errors[i].version, "v1");
	}
}

static void
errors_are_shown_while_it_is_tried(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x"), first;
	struct bh_job *j;

	first = t->wall;
	finish_fail(t, take_id(t, "q", id), "one", 100);
	suite_pass(t, 100);
	finish_fail(t, take_id(t, "q", id), "two", 100);
	j = get_job(t, id);
	assert_int_equal(j->nerrors, 2);
	assert_int_equal(j->errors[0].at, first);
	assert_int_equal(j->errors[1].at, first + 100);
	expect_bytes(j->errors[1].message, "two");
	suite_pass(t, 100);
	finish_done(t, take_id(t, "q", id), NULL);
	assert_int_equal(get_job(t, id)->nerrors, 2);
}

static void
errors_are_cut_at_four_kib(void **state)
{
	struct suite_env *t = *state;
	char *big = arena_alloc(&t->arena, 10001);
	int64_t id = put(t, "q", "x");
	struct bh_job *j;

	memset(big, 'e', 10000);
	assert_int_equal(finish_final(t, take_id(t, "q", id), big),
	    BH_FAILED);
	j = get_job(t, id);
	assert_in_range(j->errors[0].message.len, 4000, 4096);
	assert_in_range(j->error.len, 4000, 4096);
	expect_prefix(j->error, "eeee");
}

static void
dead_letter_gets_a_copy(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job *j;
	char origin[200];
	int64_t id;

	snprintf(o.dead_letter, sizeof(o.dead_letter), "%s", "morgue");
	set_options(t, "q", &o);
	id = put(t, "q", "the payload");
	snprintf(origin, sizeof(origin), "{\"queue\":\"q\",\"id\":\"%jd\","
	    "\"error\":\"no such guest\",\"at\":%jd}", (intmax_t)id,
	    (intmax_t)t->wall);
	assert_int_equal(run_final(t, "q", "no such guest"), id);
	expect_state(t, id, BH_FAILED);
	j = take(t, "morgue");
	assert_non_null(j);
	expect_bytes(j->payload, "the payload");
	expect_bytes(j->origin, origin);
	assert_int_equal(j->attempt, 1);
	assert_true(j->id > id);
	take_none(t, "morgue");
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 1);
}

static void
dead_letter_is_for_every_failure(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job_opts p = opts_none();

	snprintf(o.dead_letter, sizeof(o.dead_letter), "%s", "morgue");
	set_options(t, "q", &o);
	p.expires_ms = 1000;
	put_with(t, "q", "expires", &p);
	suite_pass(t, 1000);
	p = opts_none();
	p.max_stalled = 0;
	p.lease_ms = 1000;
	put_with(t, "q", "stalls", &p);
	assert_non_null(take(t, "q"));
	suite_pass(t, 1000);
	p = opts_none();
	p.attempts = 2;
	put_with(t, "q", "fails", &p);
	finish_fail(t, take(t, "q"), "one", 0);
	finish_fail(t, take(t, "q"), "two", 0);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 3);
	assert_int_equal(stats(t, "morgue")->count[BH_WAITING], 3);
	expect_bytes(take(t, "morgue")->payload, "expires");
	expect_bytes(take(t, "morgue")->payload, "stalls");
	expect_bytes(take(t, "morgue")->payload, "fails");
}

static void
dead_letter_of_a_cold_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job_opts p = opts_none();
	struct bh_job *j;

	snprintf(o.dead_letter, sizeof(o.dead_letter), "%s", "morgue");
	set_options(t, "q", &o);
	p.expires_ms = 1000;
	put_with(t, "q", "the payload", &p);
	put_filler(t);
	suite_pass(t, 1000);
	j = take(t, "morgue");
	assert_non_null(j);
	expect_bytes(j->payload, "the payload");
	assert_non_null(strstr(j->origin.data, "\"error\":\"expired\""));
}

/* Fails one job of "q" for good for each message. */
static void
fail_with(struct suite_env *t, const char *const *messages, size_t n)
{
	put_count(t, "q", n, NULL);
	for (size_t i = 0; i < n; i++) {
		run_final(t, "q", messages[i]);
		suite_pass(t, 10);
	}
}

static struct call *
error_groups(struct suite_env *t)
{
	struct call *c = ask_stats(t, "q", true);

	call_ok(c);
	return c;
}

static void
expect_folded(struct suite_env *t, const char *a, const char *b)
{
	const char *messages[] = {a, b};
	struct call *c;

	fail_with(t, messages, 2);
	c = error_groups(t);
	assert_int_equal(c->ngroups, 1);
	assert_int_equal(c->groups[0].count, 2);
}

static void
fingerprints_fold_numbers(void **state)
{
	expect_folded(*state, "timeout after 1234 ms (try 2 of 12)",
	    "timeout after 7 ms (try 11 of 12)");
}

static void
fingerprints_fold_quoted_parts(void **state)
{
	expect_folded(*state, "no guest \"Anna Silva\" in 'room four'",
	    "no guest \"Bo\" in 'the bar'");
}

static void
fingerprints_fold_ids(void **state)
{
	expect_folded(*state,
	    "message 6ba7b810-9dad-11d1-80b4-00c04fd430c8 refused",
	    "message f47ac10b-58cc-4372-a567-0e02b2c3d479 refused");
}

static void
error_groups_are_counted_most_frequent_first(void **state)
{
	struct suite_env *t = *state;
	static const char *const messages[] = {"no such guest 1",
	    "answered 500", "answered 502", "no such guest 2",
	    "answered 503", "disk is full"};
	int64_t first_at = t->wall;
	struct bh_job *sample;
	struct call *c;

	fail_with(t, messages, nitems(messages));
	c = error_groups(t);
	assert_int_equal(c->ngroups, 3);
	assert_int_equal(c->groups[0].count, 3);
	assert_int_equal(c->groups[1].count, 2);
	assert_int_equal(c->groups[2].count, 1);
	assert_int_equal(c->groups[0].first_at, first_at + 10);
	assert_int_equal(c->groups[0].last_at, first_at + 40);
	expect_prefix(c->groups[0].text, "answered");
	expect_prefix(c->groups[2].text, "disk is full");
	assert_true(c->groups[0].fingerprint != c->groups[1].fingerprint);
	sample = get_job(t, c->groups[0].sample_id);
	assert_int_equal(sample->state, BH_FAILED);
	expect_prefix(sample->error, "answered");
}

static void
error_groups_of_nothing_are_none(void **state)
{
	struct suite_env *t = *state;

	assert_int_equal(error_groups(t)->ngroups, 0);
	put(t, "q", "x");
	finish_fail(t, take(t, "q"), "not for good", 1000);
	assert_int_equal(error_groups(t)->ngroups, 0);
}

static void
list_retry_and_purge_take_a_fingerprint(void **state)
{
	struct suite_env *t = *state;
	static const char *const messages[] = {"a 1", "b 1", "a 2", "c 1",
	    "b 2", "a 3"};
	struct bh_list l = {.queue = bytes("q"), .state = BH_FAILED,
	    .count = 10};
	uint64_t a, b;
	struct call *c;

	fail_with(t, messages, nitems(messages));
	c = error_groups(t);
	a = c->groups[0].fingerprint;
	b = c->groups[1].fingerprint;
	l.fingerprint = a;
	c = ask_list(t, &l);
	call_ok(c);
	assert_int_equal(c->njobs, 3);
	for (size_t i = 0; i < 3; i++)
		expect_prefix(c->jobs[i].error, "a ");
	assert_int_equal(queue_purge(t, "q", BH_FAILED, b), 2);
	assert_int_equal(queue_retry(t, "q", a), 3);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 3);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 1);
	c = error_groups(t);
	assert_int_equal(c->ngroups, 1);
	expect_prefix(c->groups[0].text, "c ");
}

const struct suite_case suite_failed_cases[] = {
	CASE(errors_keep_the_first_and_the_last_five),
	CASE(errors_are_shown_while_it_is_tried),
	CASE(errors_are_cut_at_four_kib),
	CASE(dead_letter_gets_a_copy),
	CASE(dead_letter_is_for_every_failure),
	CASE(dead_letter_of_a_cold_job),
	CASE(fingerprints_fold_numbers),
	CASE(fingerprints_fold_quoted_parts),
	CASE(fingerprints_fold_ids),
	CASE(error_groups_are_counted_most_frequent_first),
	CASE(error_groups_of_nothing_are_none),
	CASE(list_retry_and_purge_take_a_fingerprint),
	{0},
};
