/* SPDX-License-Identifier: MIT */
/* Cases: looking at jobs and queues, and changing them from outside. */
#include "suite.h"

static void
get_of_an_unknown_job_is_nothing(void **state)
{
	struct suite_env *t = *state;

	expect_gone(t, 1);
	put(t, "q", "x");
	expect_gone(t, 999999);
}

static void
wait_answers_with_an_ended_job_at_once(void **state)
{
	struct suite_env *t = *state;
	int64_t done, failed;
	struct call *c;

	put_count(t, "q", 2, NULL);
	done = run_done(t, "q");
	failed = run_final(t, "q", "no");
	c = ask_get(t, done, 60000);
	assert_true(call_answered(c));
	assert_int_equal(c->jobs->state, BH_COMPLETED);
	c = ask_get(t, failed, 60000);
	assert_true(call_answered(c));
	assert_int_equal(c->jobs->state, BH_FAILED);
}

static void
wait_answers_when_the_job_is_completed(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *a = ask_get(t, id, 0), *b = ask_get(t, id, 600000);
	struct bh_job *j;

	suite_pass(t, 60000);
	assert_false(call_answered(a));
	j = take_id(t, "q", id);
	assert_false(call_answered(a));
	finish_fail(t, j, "again", 0);
	assert_false(call_answered(a));
	finish_done(t, take_id(t, "q", id), "42");
	call_ok(a);
	call_ok(b);
	assert_int_equal(a->jobs->state, BH_COMPLETED);
	expect_bytes(a->jobs->result, "42");
	expect_bytes(a->jobs->payload, "x");
	expect_bytes(b->jobs->result, "42");
}

static void
wait_answers_when_the_job_is_failed(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c = ask_get(t, id, 0);

	assert_int_equal(run_final(t, "q", "no"), id);
	call_ok(c);
	assert_int_equal(c->jobs->state, BH_FAILED);
	expect_bytes(c->jobs->error, "no");
}

static void
wait_answers_for_a_job_that_is_not_kept(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	struct call *c;
	int64_t id;

	o.retain_ms = 0;
	id = put_with(t, "q", "x", &o);
	c = ask_get(t, id, 0);
	j = take_id(t, "q", id);
	assert_false(call_answered(c));
	finish_done(t, j, "42");
	call_ok(c);
	assert_non_null(c->jobs);
	assert_int_equal(c->jobs->id, id);
	assert_int_equal(c->jobs->state, BH_COMPLETED);
	expect_bytes(c->jobs->result, "42");
	expect_gone(t, id);
}

static void
wait_knows_no_unknown_job(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_get(t, 999999, 60000);

	assert_true(call_answered(c));
	assert_int_equal(c->status, BH_E_NOTFOUND);
	c = ask_get(t, 1, 0);
	assert_true(call_answered(c));
	assert_int_equal(c->status, BH_E_NOTFOUND);
}

static void
expect_wait_with_errors(struct suite_env *t, const struct bh_job_opts *o)
{
	int64_t id = put_with(t, "q", "x", o);
	struct call *c = ask_get(t, id, 0);

	finish_fail(t, take_id(t, "q", id), "the first try", 0);
	finish_fail(t, take_id(t, "q", id), "the second", 0);
	assert_false(call_answered(c));
	finish_done(t, take_id(t, "q", id), "42");
	call_ok(c);
	assert_non_null(c->jobs);
	assert_int_equal(c->jobs->state, BH_COMPLETED);
	expect_bytes(c->jobs->result, "42");
	assert_int_equal(c->jobs->error_count, 2);
	assert_int_equal(c->jobs->nerrors, 2);
	expect_bytes(c->jobs->errors[0].message, "the first try");
	assert_int_equal(c->jobs->errors[1].attempt, 2);
	expect_bytes(c->jobs->errors[1].message, "the second");
}

static void
wait_tells_the_errors_before_the_success(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();

	expect_wait_with_errors(t, NULL);
	o.retain_ms = 0;
	expect_wait_with_errors(t, &o);
	suite_pass(t, SUITE_SWEEP_MS);
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 1);
}

static void
wait_gives_up_in_time(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c = ask_get(t, id, 1000);

	suite_pass(t, 999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	assert_null(c->jobs);
	expect_state(t, id, BH_WAITING);
}

static void
wait_for_a_job_that_is_removed_ends(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c = ask_get(t, id, 1000);

	assert_false(call_answered(c));
	alter_ok(t, id, BH_JOB_REMOVE);
	suite_pass(t, 1000);
	call_ok(c);
	assert_null(c->jobs);
}

static void
a_wait_can_be_cancelled(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c = ask_get(t, id, 0);

	assert_false(call_answered(c));
	call_cancel(c);
	call_wait(c);
	assert_int_equal(c->status, BH_E_CANCELED);
	assert_int_equal(run_done(t, "q"), id);
}

/* Pages through a list; the ids in the order of the pages. */
static size_t
list_all(struct suite_env *t, struct bh_list l, int64_t *ids, size_t max)
{
	size_t n = 0;
	int pages = 0;

	do {
		struct call *c = ask_list(t, &l);

		call_ok(c);
		assert_true(c->njobs <= l.count);
		for (size_t i = 0; i < c->njobs; i++) {
			assert_true(n < max);
			assert_int_equal(c->jobs[i].state, l.state);
			ids[n++] = c->jobs[i].id;
		}
		l.cursor = c->cursor;
		assert_true(++pages < 100);
	} while (l.cursor);
	return n;
}

static void
list_pages_both_ways(void **state)
{
	struct suite_env *t = *state;
	struct bh_list l = {.queue = bytes("q"), .state = BH_WAITING,
	    .count = 7};
	int64_t put_ids[25], ids[30];

	for (int i = 0; i < 25; i++) {
		struct bh_job_opts o = opts_none();

		o.priority = (int8_t)(i % 10);
		put_ids[i] = put_with(t, "q", "x", &o);
		put(t, "other", "x");
	}
	assert_int_equal(list_all(t, l, ids, 30), 25);
	for (int i = 0; i < 25; i++)
		assert_int_equal(ids[i], put_ids[i]);
	l.reverse = true;
	assert_int_equal(list_all(t, l, ids, 30), 25);
	for (int i = 0; i < 25; i++)
		assert_int_equal(ids[i], put_ids[24 - i]);
	l.count = 25;
	assert_int_equal(list_all(t, l, ids, 30), 25);
}

static void
list_pages_active_jobs_both_ways(void **state)
{
	struct suite_env *t = *state;
	struct bh_list l = {.queue = bytes("q"), .state = BH_ACTIVE,
	    .count = 7};
	int64_t put_ids[25], ids[30];

	for (int i = 0; i < 25; i++) {
		struct bh_job_opts o = opts_none();

		o.priority = (int8_t)(9 - i % 10);
		put_ids[i] = put_with(t, "q", "x", &o);
	}
	for (int i = 0; i < 25; i++)
		assert_non_null(i % 2 ? take(t, "q") : take_handler(t, "q"));
	assert_int_equal(list_all(t, l, ids, 30), 25);
	for (int i = 0; i < 25; i++)
		assert_int_equal(ids[i], put_ids[i]);
	l.reverse = true;
	assert_int_equal(list_all(t, l, ids, 30), 25);
	for (int i = 0; i < 25; i++)
		assert_int_equal(ids[i], put_ids[24 - i]);
	l.count = 25;
	assert_int_equal(list_all(t, l, ids, 30), 25);
}

static void
list_knows_every_state(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t ids[BH_STATES], got[2];

	put_count(t, "q", 3, NULL);
	ids[BH_COMPLETED] = run_done(t, "q");
	ids[BH_FAILED] = run_final(t, "q", "no");
	ids[BH_ACTIVE] = take(t, "q")->id;
	ids[BH_WAITING] = put(t, "q", "x");
	o.delay_ms = 60000;
	ids[BH_DELAYED] = put_with(t, "q", "x", &o);
	for (int s = 0; s < BH_STATES; s++) {
		struct bh_list l = {.queue = bytes("q"), .state = s,
		    .count = 10};

		assert_int_equal(list_all(t, l, got, 2), 1);
		assert_int_equal(got[0], ids[s]);
	}
}

static void
list_shows_whole_jobs(void **state)
{
	struct suite_env *t = *state;
	struct bh_list l = {.queue = bytes("q"), .state = BH_FAILED,
	    .count = 10};
	int64_t id = put_group(t, "q", "the payload", "A");
	struct bh_job *j;
	struct call *c;

	run_final(t, "q", "no");
	c = ask_list(t, &l);
	call_ok(c);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->cursor, 0);
	j = c->jobs;
	assert_int_equal(j->id, id);
	expect_bytes(j->queue, "q");
	expect_bytes(j->payload, "the payload");
	expect_bytes(j->group, "A");
	expect_bytes(j->error, "no");
	assert_int_equal(j->attempt, 1);
	assert_int_equal(j->nerrors, 1);
	expect_bytes(j->errors[0].message, "no");
	assert_int_equal(j->token, 0);
}

static void
list_of_an_unused_queue_is_empty(void **state)
{
	struct suite_env *t = *state;
	struct bh_list l = {.queue = bytes("q"), .count = 10};
	int64_t none[1];

	assert_int_equal(list_all(t, l, none, 1), 0);
}

static void
stats_count_jobs_by_state(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_queue_stats *s;

	put_count(t, "q", 10, NULL);
	for (int i = 0; i < 3; i++)
		run_done(t, "q");
	for (int i = 0; i < 2; i++)
		run_final(t, "q", "no");
	assert_non_null(take(t, "q"));
	o.delay_ms = 60000;
	put_with(t, "q", "x", &o);
	s = stats(t, "q");
	assert_int_equal(s->count[BH_WAITING], 4);
	assert_int_equal(s->count[BH_DELAYED], 1);
	assert_int_equal(s->count[BH_ACTIVE], 1);
	assert_int_equal(s->count[BH_COMPLETED], 3);
	assert_int_equal(s->count[BH_FAILED], 2);
	assert_int_equal(s->processed_total, 5);
	assert_int_equal(s->failed_total, 2);
	assert_int_equal(s->stalled_total, 0);
}

static void
stats_of_an_unused_queue_are_zeros(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_stats *s = stats(t, "unused");
	struct call *c = ask_stats(t, NULL, false);

	for (int i = 0; i < BH_STATES; i++)
		assert_int_equal(s->count[i], 0);
	assert_false(s->paused);
	assert_int_equal(s->held_until, 0);
	assert_int_equal(s->oldest_waiting_ms, 0);
	assert_int_equal(s->processed_total, 0);
	call_ok(c);
	assert_int_equal(c->nqueues, 0);
}

static void
stats_of_all_queues(void **state)
{
	struct suite_env *t = *state;
	struct call *c;
	int64_t waiting = 0;

	put(t, "a", "x");
	put(t, "b", "x");
	put(t, "b", "x");
	c = ask_stats(t, NULL, false);
	call_ok(c);
	assert_int_equal(c->nqueues, 2);
	for (size_t i = 0; i < 2; i++) {
		waiting += c->queues[i].count[BH_WAITING];
		assert_true(c->queues[i].name.len == 1);
	}
	assert_int_equal(waiting, 3);
}

static void
stats_know_the_oldest_waiting_job(void **state)
{
	struct suite_env *t = *state;

	put(t, "q", "x");
	assert_int_equal(stats(t, "q")->oldest_waiting_ms, 0);
	suite_pass(t, 700);
	put(t, "q", "x");
	suite_pass(t, 300);
	assert_int_equal(stats(t, "q")->oldest_waiting_ms, 1000);
	assert_non_null(take(t, "q"));
	assert_int_equal(stats(t, "q")->oldest_waiting_ms, 300);
	assert_non_null(take(t, "q"));
	assert_int_equal(stats(t, "q")->oldest_waiting_ms, 0);
}

static void
stats_know_how_long_jobs_run(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_stats *s;

	put_count(t, "q", 20, NULL);
	for (int i = 0; i < 20; i++) {
		struct bh_job *j = take(t, "q");

		suite_pass(t, i < 17 ? 100 : 4000);
		finish_done(t, j, NULL);
	}
	s = stats(t, "q");
	/* A histogram may round by a quarter. */
	assert_in_range(s->p50_ms, 75, 130);
	assert_in_range(s->p95_ms, 3000, 5200);
	assert_in_range(s->p99_ms, 3000, 5200);
}

const struct suite_case suite_read_cases[] = {
	CASE(get_of_an_unknown_job_is_nothing),
	CASE(wait_answers_with_an_ended_job_at_once),
	CASE(wait_answers_when_the_job_is_completed),
	CASE(wait_answers_when_the_job_is_failed),
	CASE(wait_answers_for_a_job_that_is_not_kept),
	CASE(wait_knows_no_unknown_job),
	CASE(wait_tells_the_errors_before_the_success),
	CASE(wait_gives_up_in_time),
	CASE(wait_for_a_job_that_is_removed_ends),
	CASE(a_wait_can_be_cancelled),
	CASE(list_pages_both_ways),
	CASE(list_pages_active_jobs_both_ways),
	CASE(list_knows_every_state),
	CASE(list_shows_whole_jobs),
	CASE(list_of_an_unused_queue_is_empty),
	CASE(stats_count_jobs_by_state),
	CASE(stats_of_an_unused_queue_are_zeros),
	CASE(stats_of_all_queues),
	CASE(stats_know_the_oldest_waiting_job),
	CASE(stats_know_how_long_jobs_run),
	{0},
};
