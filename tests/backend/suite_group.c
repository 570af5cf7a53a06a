/* SPDX-License-Identifier: MIT */
/* Cases: groups. */
#include "suite.h"

static void
put_groups(struct suite_env *t, const char *names, int64_t *ids)
{
	for (size_t i = 0; names[i]; i++) {
		char name[2] = {names[i], '\0'};

		ids[i] = put_group(t, "q", "x", name);
	}
}

static void
set_groups(struct suite_env *t, int64_t concurrency, int64_t order)
{
	struct bh_queue_opts o = queue_none();

	o.group_concurrency = concurrency;
	o.group_order = order;
	set_options(t, "q", &o);
}

static void
a_group_runs_one_at_a_time_in_order(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];
	struct call *c;

	put_groups(t, "AAA", ids);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 5});
	call_ok(c);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->id, ids[0]);
	expect_bytes(c->jobs->group, "A");
	take_none(t, "q");
	finish_done(t, c->jobs, NULL);
	finish_done(t, take_id(t, "q", ids[1]), NULL);
	finish_done(t, take_id(t, "q", ids[2]), NULL);
}

static void
groups_run_beside_each_other(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[4];

	put_groups(t, "AABB", ids);
	take_id(t, "q", ids[0]);
	take_id(t, "q", ids[2]);
	take_none(t, "q");
	put(t, "q", "without a group");
	assert_non_null(take(t, "q"));
}

static void
a_group_is_one_queues(void **state)
{
	struct suite_env *t = *state;
	int64_t a = put_group(t, "q", "x", "A");
	int64_t b = put_group(t, "p", "x", "A");

	take_id(t, "q", a);
	take_id(t, "p", b);
}

static void
an_end_wakes_the_next_of_the_group(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[2];
	struct bh_job *j;
	struct call *c;

	put_groups(t, "AA", ids);
	j = take_id(t, "q", ids[0]);
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	assert_false(call_answered(c));
	finish_done(t, j, NULL);
	call_ok(c);
	assert_int_equal(c->jobs->id, ids[1]);
}

static void
group_concurrency_lets_more_run(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t ids[4];

	set_groups(t, 2, BH_GROUP_STRICT);
	put_groups(t, "AAAA", ids);
	take_id(t, "q", ids[0]);
	j = take_id(t, "q", ids[1]);
	take_none(t, "q");
	finish_done(t, j, NULL);
	take_id(t, "q", ids[2]);
	take_none(t, "q");
}

static void
inside_a_group_priority_does_not_count(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t first, second;

	o.group = bytes("A");
	o.priority = 9;
	first = put_with(t, "q", "x", &o);
	o.priority = 0;
	second = put_with(t, "q", "x", &o);
	finish_done(t, take_id(t, "q", first), NULL);
	take_id(t, "q", second);
}

static void
a_group_has_the_priority_of_its_head(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t low, high, plain;

	o.group = bytes("A");
	o.priority = 9;
	low = put_with(t, "q", "x", &o);
	o.priority = 0;
	put_with(t, "q", "x", &o);
	o.group = bytes("B");
	o.priority = 3;
	high = put_with(t, "q", "x", &o);
	plain = put(t, "q", "x");
	take_id(t, "q", high);
	take_id(t, "q", plain);
	take_id(t, "q", low);
}

static void
groups_take_turns(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[9];

	put_groups(t, "AAAAABBBC", ids);
	finish_done(t, take_id(t, "q", ids[0]), NULL);
	finish_done(t, take_id(t, "q", ids[5]), NULL);
	finish_done(t, take_id(t, "q", ids[8]), NULL);
	finish_done(t, take_id(t, "q", ids[1]), NULL);
	finish_done(t, take_id(t, "q", ids[6]), NULL);
	finish_done(t, take_id(t, "q", ids[2]), NULL);
	finish_done(t, take_id(t, "q", ids[7]), NULL);
	finish_done(t, take_id(t, "q", ids[3]), NULL);
	finish_done(t, take_id(t, "q", ids[4]), NULL);
}

static void
a_retry_keeps_its_place_and_holds_the_line(void **state)
{
	struct suite_env *t = *state;
	struct bh_why *w;
	int64_t ids[2];

	put_groups(t, "AA", ids);
	finish_fail(t, take_id(t, "q", ids[0]), "again", 1000);
	take_none(t, "q");
	w = why(t, ids[1]);
	assert_int_equal(w->gate, BH_GATE_GROUP);
	assert_int_equal(w->ahead, ids[0]);
	suite_pass(t, 1000);
	finish_done(t, take_id(t, "q", ids[0]), NULL);
	take_id(t, "q", ids[1]);
}

static void
a_released_job_keeps_its_place(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[2];

	put_groups(t, "AA", ids);
	finish_release(t, take_id(t, "q", ids[0]), 1000);
	take_none(t, "q");
	suite_pass(t, 1000);
	finish_release(t, take_id(t, "q", ids[0]), -1);
	take_id(t, "q", ids[0]);
}

static void
a_lost_lease_keeps_its_place(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[2];

	put_groups(t, "AA", ids);
	take_id(t, "q", ids[0]);
	suite_pass(t, 30000);
	take_id(t, "q", ids[0]);
	take_none(t, "q");
}

static void
skip_lets_the_next_pass_a_retry(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t ids[3];

	set_groups(t, 1, BH_GROUP_SKIP);
	put_groups(t, "AAA", ids);
	finish_fail(t, take_id(t, "q", ids[0]), "again", 1000);
	j = take_id(t, "q", ids[1]);
	take_none(t, "q");
	suite_pass(t, 1000);
	take_none(t, "q");
	finish_done(t, j, NULL);
	finish_done(t, take_id(t, "q", ids[0]), NULL);
	take_id(t, "q", ids[2]);
}

static void
a_failed_job_frees_the_line(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[2];

	put_groups(t, "AA", ids);
	finish_final(t, take_id(t, "q", ids[0]), "no");
	take_id(t, "q", ids[1]);
}

static void
a_removed_job_frees_the_line(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];

	put_groups(t, "AAA", ids);
	alter_ok(t, ids[0], BH_JOB_REMOVE);
	finish_fail(t, take_id(t, "q", ids[1]), "again", 60000);
	take_none(t, "q");
	alter_ok(t, ids[1], BH_JOB_REMOVE);
	take_id(t, "q", ids[2]);
}

static void
a_cancelled_job_frees_the_line(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[2];

	put_groups(t, "AA", ids);
	alter_ok(t, ids[0], BH_JOB_CANCEL);
	take_id(t, "q", ids[1]);
}

static void
an_expired_head_frees_the_line(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t second;

	o.group = bytes("A");
	o.expires_ms = 1000;
	queue_pause(t, "q");
	put_with(t, "q", "x", &o);
	second = put_group(t, "q", "x", "A");
	suite_pass(t, 1000);
	queue_resume(t, "q");
	take_id(t, "q", second);
}

static void
a_retried_failure_joins_at_the_end(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[3];

	put_groups(t, "AAA", ids);
	finish_final(t, take_id(t, "q", ids[0]), "no");
	alter_ok(t, ids[0], BH_JOB_RETRY);
	finish_done(t, take_id(t, "q", ids[1]), NULL);
	finish_done(t, take_id(t, "q", ids[2]), NULL);
	finish_done(t, take_id(t, "q", ids[0]), NULL);
}

static void
a_delayed_job_joins_when_it_is_due(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t late, second, third, fourth;

	o.group = bytes("A");
	o.delay_ms = 1000;
	late = put_with(t, "q", "x", &o);
	second = put_group(t, "q", "x", "A");
	third = put_group(t, "q", "x", "A");
	finish_done(t, take_id(t, "q", second), NULL);
	suite_pass(t, 1000);
	fourth = put_group(t, "q", "x", "A");
	finish_done(t, take_id(t, "q", third), NULL);
	finish_done(t, take_id(t, "q", late), NULL);
	finish_done(t, take_id(t, "q", fourth), NULL);
}

static void
why_names_the_job_of_the_group_that_is_ahead(void **state)
{
	struct suite_env *t = *state;
	struct bh_why *w;
	int64_t ids[2];

	put_groups(t, "AA", ids);
	take_id(t, "q", ids[0]);
	w = why(t, ids[1]);
	assert_int_equal(w->gate, BH_GATE_GROUP);
	assert_int_equal(w->ahead, ids[0]);
	assert_int_equal(w->state, BH_WAITING);
}

static void
why_names_a_waiting_job_of_the_group_that_is_ahead(void **state)
{
	struct suite_env *t = *state;
	struct bh_why *w;
	int64_t ids[3];

	set_groups(t, 2, BH_GROUP_STRICT);
	put_groups(t, "AAA", ids);
	take_id(t, "q", ids[0]);
	assert_int_equal(why(t, ids[1])->gate, BH_GATE_NONE);
	w = why(t, ids[2]);
	assert_int_equal(w->gate, BH_GATE_GROUP);
	assert_int_equal(w->ahead, ids[1]);
	take_id(t, "q", ids[1]);
	w = why(t, ids[2]);
	assert_int_equal(w->gate, BH_GATE_GROUP);
	assert_true(w->ahead == ids[0] || w->ahead == ids[1]);
}

static void
many_groups_all_get_done(void **state)
{
	struct suite_env *t = *state;
	char name[16];
	int done = 0;

	for (int i = 0; i < 120; i++) {
		snprintf(name, sizeof(name), "guest.%d", i % 40);
		put_group(t, "q", "x", name);
	}
	for (int round = 0; round < 3; round++) {
		struct call *c = ask_reserve(t, &(struct want){.queue = "q",
		    .count = 200});

		call_ok(c);
		assert_int_equal(c->njobs, 40);
		for (size_t i = 0; i < c->njobs; i++, done++)
			finish_done(t, &c->jobs[i], NULL);
	}
	assert_int_equal(done, 120);
	take_none(t, "q");
}

const struct suite_case suite_group_cases[] = {
	CASE(a_group_runs_one_at_a_time_in_order),
	CASE(groups_run_beside_each_other),
	CASE(a_group_is_one_queues),
	CASE(an_end_wakes_the_next_of_the_group),
	CASE(group_concurrency_lets_more_run),
	CASE(inside_a_group_priority_does_not_count),
	CASE(a_group_has_the_priority_of_its_head),
	CASE(groups_take_turns),
	CASE(a_retry_keeps_its_place_and_holds_the_line),
	CASE(a_released_job_keeps_its_place),
	CASE(a_lost_lease_keeps_its_place),
	CASE(skip_lets_the_next_pass_a_retry),
	CASE(a_failed_job_frees_the_line),
	CASE(a_removed_job_frees_the_line),
	CASE(a_cancelled_job_frees_the_line),
	CASE(an_expired_head_frees_the_line),
	CASE(a_retried_failure_joins_at_the_end),
	CASE(a_delayed_job_joins_when_it_is_due),
	CASE(why_names_the_job_of_the_group_that_is_ahead),
	CASE(why_names_a_waiting_job_of_the_group_that_is_ahead),
	CASE(many_groups_all_get_done),
	{0},
};
