/* SPDX-License-Identifier: MIT */
/* Cases: batches for handlers. */
#include "suite.h"

static struct bh_queue_opts
batch_opts(int64_t max, int64_t window_ms, int64_t quiet_ms)
{
	struct bh_queue_opts o = queue_none();

	o.batch_max = max;
	o.batch_window_ms = window_ms;
	o.batch_quiet_ms = quiet_ms;
	return o;
}

static void
set_batch(struct suite_env *t, int64_t max, int64_t window_ms,
    int64_t quiet_ms)
{
	struct bh_queue_opts o = batch_opts(max, window_ms, quiet_ms);

	set_options(t, "q", &o);
}

static struct call *
ask_handler(struct suite_env *t, uint32_t count)
{
	return ask_reserve(t, &(struct want){.queue = "q", .count = count,
	    .handler = true, .wait = true});
}

/* What a handler gets now. */
static struct call *
take_now(struct suite_env *t, uint32_t count)
{
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .count = count, .handler = true});

	call_ok(c);
	return c;
}

/* One batch of exactly these jobs in this order. */
static void
expect_batch(const struct call *c, const int64_t *ids, size_t n)
{
	assert_int_equal(c->njobs, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(c->jobs[i].id, ids[i]);
		assert_int_equal(c->jobs[i].state, BH_ACTIVE);
		assert_int_not_equal(c->jobs[i].token, 0);
		assert_int_not_equal(c->jobs[i].batch, 0);
		assert_int_equal(c->jobs[i].batch, c->jobs[0].batch);
	}
}

static void
done_all(struct suite_env *t, const struct call *c)
{
	for (size_t i = 0; i < c->njobs; i++)
		finish_done(t, &c->jobs[i], NULL);
}

static void
put_some(struct suite_env *t, const char *group, int64_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ids[i] = group ? put_group(t, "q", "x", group)
		    : put(t, "q", "x");
}

static void
a_window_gathers_a_groups_jobs_in_order(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[5];
	struct call *c;

	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 1);
	put_some(t, "A", ids, 3);
	suite_pass(t, 1000);
	put_some(t, "A", ids + 3, 2);
	suite_pass(t, 999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, ids, 5);
	expect_bytes(c->jobs[0].group, "A");
}

static void
jobs_without_a_group_gather_by_priority(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t ids[3];
	struct call *c;

	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 1);
	ids[1] = put(t, "q", "x");
	o.priority = 9;
	ids[2] = put_with(t, "q", "x", &o);
	o.priority = 0;
	ids[0] = put_with(t, "q", "x", &o);
	suite_pass(t, 1999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, ids, 3);
}

static void
a_full_batch_does_not_wait(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[5];
	struct call *c;

	set_batch(t, 2, 2000, 0);
	put_some(t, "A", ids, 2);
	c = take_now(t, 1);
	expect_batch(c, ids, 2);
	put_some(t, NULL, ids, 2);
	expect_batch(take_now(t, 1), ids, 2);
	put_some(t, NULL, ids, 5);
	c = take_now(t, 10);
	assert_int_equal(c->njobs, 4);
	assert_int_equal(c->jobs[0].batch, c->jobs[1].batch);
	assert_int_equal(c->jobs[2].batch, c->jobs[3].batch);
	assert_int_not_equal(c->jobs[0].batch, c->jobs[2].batch);
}

static void
quiet_ends_the_window_early(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct call *c;

	set_batch(t, 50, 2000, 500);
	c = ask_handler(t, 1);
	put_some(t, "A", ids, 1);
	suite_pass(t, 400);
	put_some(t, "A", ids + 1, 1);
	suite_pass(t, 400);
	put_some(t, "A", ids + 2, 1);
	suite_pass(t, 499);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, ids, 3);
}

static void
the_window_ends_even_if_it_is_never_quiet(void **state)
{
	struct suite_env *t = *state;
	struct call *c;
	int64_t id;

	set_batch(t, 50, 1000, 300);
	c = ask_handler(t, 1);
	for (int i = 0; i < 5; i++) {
		put_some(t, "A", &id, 1);
		suite_pass(t, 200);
	}
	call_ok(c);
	assert_int_equal(c->njobs, 5);
}

static void
groups_do_not_wait_for_each_other(void **state)
{
	struct suite_env *t = *state;
	int64_t a[2], b[2];
	struct call *c, *d;

	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 1);
	d = ask_handler(t, 1);
	put_some(t, "A", a, 2);
	suite_pass(t, 1000);
	put_some(t, "B", b, 2);
	suite_pass(t, 1000);
	call_ok(c);
	expect_batch(c, a, 2);
	assert_false(call_answered(d));
	suite_pass(t, 1000);
	call_ok(d);
	expect_batch(d, b, 2);
}

static void
a_batch_counts_as_one_for_whoever_asks(void **state)
{
	struct suite_env *t = *state;
	uint32_t budget = 2;
	int64_t id;
	struct call *c;

	set_batch(t, 2, 2000, 0);
	for (int i = 0; i < 3; i++) {
		put_some(t, "ABC" + i, &id, 1);
		put_some(t, "ABC" + i, &id, 1);
	}
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 3,
	    .handler = true, .budget = &budget});
	call_ok(c);
	assert_int_equal(c->njobs, 4);
	assert_int_equal(budget, 0);
	assert_int_equal(take_now(t, 1)->njobs, 2);
}

static void
a_group_runs_one_batch_until_all_of_it_has_ended(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct call *c, *d;

	set_batch(t, 2, 1000, 0);
	put_some(t, "A", ids, 2);
	c = take_now(t, 1);
	put_some(t, "A", ids + 2, 1);
	suite_pass(t, 5000);
	d = ask_handler(t, 1);
	finish_done(t, &c->jobs[0], NULL);
	assert_false(call_answered(d));
	assert_int_equal(why(t, ids[2])->gate, BH_GATE_GROUP);
	/* Its window is long over by then. */
	finish_final(t, &c->jobs[1], "no");
	call_ok(d);
	expect_batch(d, ids + 2, 1);
}

static void
group_concurrency_counts_batches(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = batch_opts(2, 1000, 0);
	int64_t ids[6];
	struct call *c;

	o.group_concurrency = 2;
	set_options(t, "q", &o);
	put_some(t, "A", ids, 6);
	c = take_now(t, 5);
	assert_int_equal(c->njobs, 4);
	assert_int_equal(take_now(t, 5)->njobs, 0);
	finish_done(t, &c->jobs[0], NULL);
	assert_int_equal(take_now(t, 5)->njobs, 0);
	finish_done(t, &c->jobs[1], NULL);
	expect_batch(take_now(t, 5), ids + 4, 2);
}

static void
a_retried_job_of_a_batch_holds_the_line(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[5];
	struct call *c;

	set_batch(t, 3, 1000, 0);
	put_some(t, "A", ids, 5);
	c = take_now(t, 1);
	expect_batch(c, ids, 3);
	finish_done(t, &c->jobs[0], NULL);
	finish_fail(t, &c->jobs[1], "again", 3000);
	finish_done(t, &c->jobs[2], NULL);
	suite_pass(t, 2000);
	assert_int_equal(take_now(t, 1)->njobs, 0);
	suite_pass(t, 1000);
	c = take_now(t, 1);
	expect_batch(c, (int64_t[]){ids[1], ids[3], ids[4]}, 3);
	assert_int_equal(c->jobs[0].attempt, 2);
}

static void
skip_lets_a_batch_pass_a_retry(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = batch_opts(2, 1000, 0);
	int64_t ids[4];
	struct call *c;

	o.group_order = BH_GROUP_SKIP;
	set_options(t, "q", &o);
	put_some(t, "A", ids, 4);
	c = take_now(t, 1);
	finish_fail(t, &c->jobs[0], "again", 60000);
	finish_done(t, &c->jobs[1], NULL);
	expect_batch(take_now(t, 1), ids + 2, 2);
}

static void
a_batch_ends_before_a_job_that_holds_the_line(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[4];
	struct call *c;

	set_batch(t, 2, 1000, 0);
	put_some(t, "A", ids, 4);
	c = take_now(t, 1);
	finish_fail(t, &c->jobs[0], "again", 1000);
	finish_fail(t, &c->jobs[1], "again", 60000);
	suite_pass(t, 1000);
	/* Two more wait behind, but the second one is not due. */
	c = ask_handler(t, 1);
	assert_false(call_answered(c));
	suite_pass(t, 1000);
	call_ok(c);
	expect_batch(c, ids, 1);
}

static void
what_is_left_gathers_from_when_it_came(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct call *c;

	set_batch(t, 2, 2000, 0);
	c = ask_handler(t, 1);
	put_some(t, NULL, ids, 1);
	suite_pass(t, 1500);
	put_some(t, NULL, ids + 1, 2);
	call_ok(c);
	expect_batch(c, ids, 2);
	c = ask_handler(t, 1);
	suite_pass(t, 1999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, ids + 2, 1);
}

static void
a_delayed_job_joins_the_batch_when_it_is_due(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t ids[2];
	struct call *c;

	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 1);
	o.group = bytes("A");
	o.delay_ms = 1000;
	ids[1] = put_with(t, "q", "x", &o);
	ids[0] = put_group(t, "q", "x", "A");
	suite_pass(t, 1999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, ids, 2);
}

static void
a_batch_is_no_larger_than_the_tokens_at_hand(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = batch_opts(50, 1000, 0);
	int64_t ids[8];
	struct call *c;

	o.rate_limit = 1;
	o.rate_per_ms = 1000;
	o.rate_burst = 4;
	set_options(t, "q", &o);
	put_some(t, NULL, ids, 8);
	/* Four are as many as it can ever be: it need not wait. */
	c = take_now(t, 1);
	expect_batch(c, ids, 4);
	assert_int_equal(take_now(t, 1)->njobs, 0);
	suite_pass(t, 1000);
	expect_batch(take_now(t, 1), ids + 4, 1);
	assert_int_equal(why(t, ids[5])->gate, BH_GATE_RATE);
	suite_pass(t, 2000);
	expect_batch(take_now(t, 1), ids + 5, 2);
}

static void
a_batch_takes_its_groups_tokens(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = batch_opts(50, 1000, 0);
	int64_t a[3], b[2];
	struct call *c;

	o.rate_limit = 1;
	o.rate_per_ms = 1000;
	o.rate_burst = 2;
	o.rate_by = BH_RATE_BY_GROUP;
	set_options(t, "q", &o);
	put_some(t, "A", a, 3);
	put_some(t, "B", b, 2);
	c = take_now(t, 2);
	assert_int_equal(c->njobs, 4);
	done_all(t, c);
	assert_int_equal(take_now(t, 2)->njobs, 0);
	suite_pass(t, 1000);
	expect_batch(take_now(t, 2), a + 2, 1);
}

static void
a_batch_fits_into_max_active(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = batch_opts(3, 1000, 0);
	int64_t ids[8];
	struct call *c;

	o.max_active = 5;
	set_options(t, "q", &o);
	put_some(t, NULL, ids, 8);
	c = take_now(t, 9);
	assert_int_equal(c->njobs, 5);
	assert_int_equal(c->jobs[2].batch, c->jobs[0].batch);
	assert_int_not_equal(c->jobs[3].batch, c->jobs[0].batch);
	finish_done(t, &c->jobs[0], NULL);
	suite_pass(t, 1000);
	assert_int_equal(take_now(t, 9)->njobs, 1);
}

static void
outside_workers_get_single_jobs_at_once(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct call *c;
	struct bh_job *j;

	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 1);
	put_some(t, "A", ids, 3);
	j = take_id(t, "q", ids[0]);
	assert_int_equal(j->batch, 0);
	suite_pass(t, 5000);
	assert_false(call_answered(c));
	finish_done(t, j, NULL);
	call_ok(c);
	expect_batch(c, ids + 1, 2);
}

static void
a_worker_that_waits_does_not_get_in_the_way(void **state)
{
	struct suite_env *t = *state;
	struct call *c, *w;
	int64_t ids[3];

	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 1);
	w = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	put_some(t, NULL, ids, 3);
	call_ok(w);
	assert_int_equal(w->jobs->id, ids[0]);
	suite_pass(t, 2000);
	call_ok(c);
	expect_batch(c, ids + 1, 2);
}

static void
why_says_that_the_batch_gathers(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct bh_why *w;

	set_batch(t, 3, 2000, 0);
	put_some(t, "A", ids, 2);
	suite_pass(t, 500);
	w = why(t, ids[1]);
	assert_int_equal(w->gate, BH_GATE_DELAYED);
	assert_int_equal(w->state, BH_WAITING);
	assert_int_equal(w->until, t->wall + 1500);
	assert_non_null(strstr(w->text, "gathering"));
	put_some(t, "A", ids + 2, 1);
	assert_int_equal(why(t, ids[0])->gate, BH_GATE_NONE);
	assert_int_equal(why(t, ids[2])->gate, BH_GATE_NONE);
	queue_pause(t, "q");
	assert_int_equal(why(t, ids[0])->gate, BH_GATE_PAUSED);
}

static void
each_job_of_a_batch_ends_alone(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[4];
	struct call *c;

	set_batch(t, 4, 2000, 0);
	put_some(t, NULL, ids, 4);
	c = take_now(t, 1);
	finish_done(t, &c->jobs[0], "1");
	finish_final(t, &c->jobs[1], "no");
	finish_fail(t, &c->jobs[2], "again", 5000);
	finish_release(t, &c->jobs[3], 5000);
	expect_state(t, ids[0], BH_COMPLETED);
	expect_state(t, ids[1], BH_FAILED);
	expect_state(t, ids[2], BH_DELAYED);
	expect_state(t, ids[3], BH_DELAYED);
	assert_int_equal(get_job(t, ids[2])->attempt, 1);
	assert_int_equal(get_job(t, ids[3])->attempt, 0);
}

/* Else one whose time-out is short would be lost in the middle. */
static void
the_longest_timeout_holds_for_the_whole_batch(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct call *c;
	int64_t id;

	set_batch(t, 2, 2000, 0);
	o.timeout_ms = 1000;
	id = put_with(t, "q", "x", &o);
	o.timeout_ms = 3600000;
	put_with(t, "q", "x", &o);
	put_filler(t);
	c = take_now(t, 1);
	assert_int_equal(c->njobs, 2);
	suite_pass(t, 3599000);
	expect_state(t, id, BH_ACTIVE);
	done_all(t, c);
	expect_state(t, id, BH_COMPLETED);
}

/* And it is idle: ripe jobs need no timer. */
static void
a_paused_queue_hands_out_no_batch(void **state)
{
	struct suite_env *t = *state;
	struct call *c;
	int64_t ids[2];

	set_batch(t, 2, 1000, 0);
	c = ask_handler(t, 1);
	queue_pause(t, "q");
	put_some(t, "A", ids, 1);	/* waits for its window */
	put_some(t, NULL, ids, 2);
	suite_pass(t, 10000);
	assert_false(call_answered(c));
	assert_true(t->next - t->mono > 60000);
	queue_resume(t, "q");
	call_ok(c);
	expect_batch(c, ids, 2);
}

static void
batches_come_and_go_with_the_option(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts none = queue_none();
	struct call *c;
	int64_t ids[3];

	put_some(t, "A", ids, 2);
	put_some(t, NULL, ids + 2, 1);
	suite_pass(t, 1500);
	set_batch(t, 50, 2000, 0);
	c = ask_handler(t, 2);
	suite_pass(t, 499);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->njobs, 3);
	put_some(t, "B", ids, 2);
	set_options(t, "q", &none);
	c = take_now(t, 5);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->batch, 0);
	finish_done(t, c->jobs, NULL);
	set_batch(t, 50, 2000, 0);
	set_batch(t, 1, 2000, 0);
	expect_batch(take_now(t, 1), ids + 1, 1);
}

static void
removed_jobs_are_missing_in_the_batch(void **state)
{
	struct suite_env *t = *state;
	int64_t a[3], b[3];
	struct call *c;

	set_batch(t, 3, 2000, 0);
	c = ask_handler(t, 5);
	queue_pause(t, "q");
	put_some(t, "A", a, 3);
	put_some(t, NULL, b, 3);
	alter_ok(t, a[0], BH_JOB_REMOVE);
	alter_ok(t, b[2], BH_JOB_REMOVE);
	queue_resume(t, "q");
	assert_false(call_answered(c));
	suite_pass(t, 2000);
	call_ok(c);
	assert_int_equal(c->njobs, 4);
}

static void
a_released_batch_starts_again_without_a_window(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct call *c;

	set_batch(t, 50, 2000, 0);
	put_some(t, "A", ids, 3);
	suite_pass(t, 2000);
	c = take_now(t, 1);
	for (size_t i = 0; i < 3; i++)
		finish_release(t, &c->jobs[i], -1);
	expect_batch(take_now(t, 1), ids, 3);
}

static void
windows_go_on_over_a_restart(void **state)
{
	struct suite_env *t = *state;
	int64_t a[2], b[1];
	struct call *c;

	set_batch(t, 50, 10000, 0);
	put_some(t, "A", a, 2);
	suite_pass(t, 2000);
	put_some(t, NULL, b, 1);
	suite_reopen(t, 3000);
	c = ask_handler(t, 1);
	suite_pass(t, 4999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, a, 2);
	c = ask_handler(t, 1);
	suite_pass(t, 1999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	expect_batch(c, b, 1);
}

static void
a_batch_that_died_comes_back_in_order(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[6];
	struct call *c;

	set_batch(t, 50, 2000, 0);
	put_some(t, "A", ids, 5);
	suite_pass(t, 2000);
	c = take_now(t, 1);
	expect_batch(c, ids, 5);
	finish_done(t, &c->jobs[1], NULL);
	put_some(t, "A", ids + 5, 1);
	suite_crash(t, 0);
	c = take_now(t, 1);
	expect_batch(c, (int64_t[]){ids[0], ids[2], ids[3], ids[4], ids[5]},
	    5);
	assert_int_equal(c->jobs[0].attempt, 2);
	assert_int_equal(c->jobs[0].stalled, 1);
	assert_int_equal(c->jobs[4].attempt, 1);
}

const struct suite_case suite_batch_cases[] = {
	CASE_BATCHES(a_window_gathers_a_groups_jobs_in_order),
	CASE_BATCHES(jobs_without_a_group_gather_by_priority),
	CASE_BATCHES(a_full_batch_does_not_wait),
	CASE_BATCHES(quiet_ends_the_window_early),
	CASE_BATCHES(the_window_ends_even_if_it_is_never_quiet),
	CASE_BATCHES(groups_do_not_wait_for_each_other),
	CASE_BATCHES(a_batch_counts_as_one_for_whoever_asks),
	CASE_BATCHES(a_group_runs_one_batch_until_all_of_it_has_ended),
	CASE_BATCHES(group_concurrency_counts_batches),
	CASE_BATCHES(a_retried_job_of_a_batch_holds_the_line),
	CASE_BATCHES(skip_lets_a_batch_pass_a_retry),
	CASE_BATCHES(a_batch_ends_before_a_job_that_holds_the_line),
	CASE_BATCHES(what_is_left_gathers_from_when_it_came),
	CASE_BATCHES(a_delayed_job_joins_the_batch_when_it_is_due),
	CASE_BATCHES(a_batch_is_no_larger_than_the_tokens_at_hand),
	CASE_BATCHES(a_batch_takes_its_groups_tokens),
	CASE_BATCHES(a_batch_fits_into_max_active),
	CASE_BATCHES(outside_workers_get_single_jobs_at_once),
	CASE_BATCHES(a_worker_that_waits_does_not_get_in_the_way),
	CASE_BATCHES(why_says_that_the_batch_gathers),
	CASE_BATCHES(each_job_of_a_batch_ends_alone),
	CASE_BATCHES(the_longest_timeout_holds_for_the_whole_batch),
	CASE_BATCHES(a_paused_queue_hands_out_no_batch),
	CASE_BATCHES(batches_come_and_go_with_the_option),
	CASE_BATCHES(removed_jobs_are_missing_in_the_batch),
	CASE_BATCHES(a_released_batch_starts_again_without_a_window),
	CASE_BATCHES(windows_go_on_over_a_restart),
	CASE_BATCHES(a_batch_that_died_comes_back_in_order),
	{0},
};
