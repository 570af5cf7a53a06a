/* SPDX-License-Identifier: MIT */
/* Cases: what holds a queue back, and how queues share attention. */
#include "suite.h"

static void
set_rate(struct suite_env *t, int64_t limit, int64_t per_ms, int64_t burst,
    int64_t by)
{
	struct bh_queue_opts o = queue_none();

	o.rate_limit = limit;
	o.rate_per_ms = per_ms;
	o.rate_burst = burst;
	o.rate_by = by;
	set_options(t, "q", &o);
}

/* How many of up to count jobs the queue hands out now. */
static size_t
take_many(struct suite_env *t, const char *queue, uint32_t count)
{
	struct call *c = ask_reserve(t, &(struct want){.queue = queue,
	    .count = count});

	call_ok(c);
	return c->njobs;
}

static void
a_paused_queue_hands_out_nothing(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x"), other = put(t, "p", "x");
	struct bh_queue_stats *s;
	struct bh_why *w;

	queue_pause(t, "q");
	s = stats(t, "q");
	assert_true(s->paused);
	assert_int_equal(s->paused_at, t->wall);
	expect_bytes(s->paused_by, "anna");
	put(t, "q", "y");
	take_none(t, "q");
	suite_pass(t, 3600000);
	take_none(t, "q");
	w = why(t, id);
	assert_int_equal(w->gate, BH_GATE_PAUSED);
	assert_non_null(strstr(w->text, "anna"));
	take_id(t, "p", other);
}

static void
resume_wakes_those_who_wait(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c;

	queue_pause(t, "q");
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	assert_false(call_answered(c));
	queue_resume(t, "q");
	call_ok(c);
	assert_int_equal(c->jobs->id, id);
	assert_false(stats(t, "q")->paused);
}

static void
what_runs_may_end_in_a_paused_queue(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	queue_pause(t, "q");
	call_ok(ask_extend(t, id, j->token, 60000, "half"));
	finish_done(t, j, "ok");
	expect_state(t, id, BH_COMPLETED);
}

static void
pause_and_hold_create_a_queue(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	queue_pause(t, "p");
	queue_hold(t, "h", 1000, "429");
	c = ask_stats(t, NULL, false);
	call_ok(c);
	assert_int_equal(c->nqueues, 2);
	put(t, "p", "x");
	take_none(t, "p");
}

static void
a_held_queue_goes_on_by_itself(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_queue_stats *s;
	struct bh_why *w;
	struct call *c;

	queue_hold(t, "q", 2000, "429 from outside");
	s = stats(t, "q");
	assert_int_equal(s->held_until, t->wall + 2000);
	expect_bytes(s->held_reason, "429 from outside");
	assert_false(s->paused);
	w = why(t, id);
	assert_int_equal(w->gate, BH_GATE_HELD);
	assert_int_equal(w->until, t->wall + 2000);
	assert_non_null(strstr(w->text, "429 from outside"));
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	suite_pass(t, 1999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(stats(t, "q")->held_until, 0);
}

static void
resume_ends_a_hold(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	queue_hold(t, "q", 60000, "429");
	take_none(t, "q");
	queue_resume(t, "q");
	assert_int_equal(stats(t, "q")->held_until, 0);
	take_id(t, "q", id);
}

static void
max_active_counts_every_worker(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job *j;
	struct bh_why *w;
	struct call *c;
	int64_t last;

	o.max_active = 2;
	set_options(t, "q", &o);
	put_count(t, "q", 2, NULL);
	last = put(t, "q", "x");
	j = take(t, "q");
	assert_non_null(take_handler(t, "q"));
	assert_int_equal(take_many(t, "q", 5), 0);
	w = why(t, last);
	assert_int_equal(w->gate, BH_GATE_MAX_ACTIVE);
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	assert_false(call_answered(c));
	finish_fail(t, j, "again", 60000);
	call_ok(c);
	assert_int_equal(c->jobs->id, last);
}

static void
max_active_can_be_raised(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();

	o.max_active = 1;
	set_options(t, "q", &o);
	put_count(t, "q", 4, NULL);
	assert_int_equal(take_many(t, "q", 5), 1);
	o.max_active = 3;
	set_options(t, "q", &o);
	assert_int_equal(take_many(t, "q", 5), 2);
}

static void
rate_lets_a_burst_and_then_one_by_one(void **state)
{
	struct suite_env *t = *state;

	set_rate(t, 2, 1000, -1, -1);
	put_count(t, "q", 20, NULL);
	assert_int_equal(take_many(t, "q", 10), 2);
	assert_int_equal(take_many(t, "q", 10), 0);
	suite_pass(t, 499);
	assert_int_equal(take_many(t, "q", 10), 0);
	suite_pass(t, 1);
	assert_int_equal(take_many(t, "q", 10), 1);
	assert_int_equal(take_many(t, "q", 10), 0);
	suite_pass(t, 10000);
	assert_int_equal(take_many(t, "q", 10), 2);
}

static void
rate_has_a_burst_of_its_own(void **state)
{
	struct suite_env *t = *state;

	set_rate(t, 2, 1000, 5, BH_RATE_BY_QUEUE);
	put_count(t, "q", 20, NULL);
	assert_int_equal(take_many(t, "q", 10), 5);
	suite_pass(t, 1000);
	assert_int_equal(take_many(t, "q", 10), 2);
}

static void
rate_wakes_those_who_wait(void **state)
{
	struct suite_env *t = *state;
	struct bh_why *w;
	struct call *c;
	int64_t id;

	set_rate(t, 1, 1000, -1, -1);
	put(t, "q", "x");
	id = put(t, "q", "y");
	assert_int_equal(take_many(t, "q", 1), 1);
	w = why(t, id);
	assert_int_equal(w->gate, BH_GATE_RATE);
	assert_int_equal(w->until, t->wall + 1000);
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	suite_pass(t, 999);
	assert_false(call_answered(c));
	assert_true(t->next <= t->mono + 1);
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->jobs->id, id);
}

static void
rate_counts_every_start(void **state)
{
	struct suite_env *t = *state;
	int64_t id;

	set_rate(t, 2, 10000, -1, -1);
	id = put(t, "q", "x");
	finish_fail(t, take_id(t, "q", id), "again", 0);
	finish_fail(t, take_id(t, "q", id), "again", 0);
	take_none(t, "q");
	assert_int_equal(why(t, id)->gate, BH_GATE_RATE);
	suite_pass(t, 5000);
	take_id(t, "q", id);
}

static void
rate_takes_no_token_behind_another_gate(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job *j;

	o.rate_limit = 2;
	o.rate_per_ms = 100000;
	o.max_active = 1;
	set_options(t, "q", &o);
	put_count(t, "q", 3, NULL);
	queue_pause(t, "q");
	take_none(t, "q");
	take_none(t, "q");
	queue_resume(t, "q");
	j = take(t, "q");
	assert_non_null(j);
	for (int i = 0; i < 5; i++)
		take_none(t, "q");
	finish_done(t, j, NULL);
	finish_done(t, take(t, "q"), NULL);
	take_none(t, "q");
}

static void
rate_takes_no_token_for_a_job_that_its_group_holds(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;

	set_rate(t, 2, 100000, -1, -1);
	put_group(t, "q", "x", "A");
	put_group(t, "q", "x", "A");
	j = take(t, "q");
	for (int i = 0; i < 5; i++)
		take_none(t, "q");
	finish_done(t, j, NULL);
	finish_done(t, take(t, "q"), NULL);
}

static void
rate_by_group_counts_each_group(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct call *c;
	int64_t last;

	o.rate_limit = 1;
	o.rate_per_ms = 1000;
	o.rate_by = BH_RATE_BY_GROUP;
	o.group_concurrency = 5;
	set_options(t, "q", &o);
	put_group(t, "q", "x", "A");
	last = put_group(t, "q", "x", "A");
	put_group(t, "q", "x", "B");
	put_group(t, "q", "x", "B");
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 10});
	call_ok(c);
	assert_int_equal(c->njobs, 2);
	assert_true(strcmp(c->jobs[0].group.data, c->jobs[1].group.data));
	assert_int_equal(why(t, last)->gate, BH_GATE_RATE);
	suite_pass(t, 1000);
	assert_int_equal(take_many(t, "q", 10), 2);
}

static void
rate_is_not_shifted_by_a_jump(void **state)
{
	struct suite_env *t = *state;

	set_rate(t, 1, 1000, -1, -1);
	put_count(t, "q", 5, NULL);
	assert_int_equal(take_many(t, "q", 5), 1);
	suite_jump(t, 3600000);
	assert_int_equal(take_many(t, "q", 5), 0);
	suite_jump(t, -7200000);
	suite_pass(t, 1000);
	assert_int_equal(take_many(t, "q", 5), 1);
}

static void
why_tells_what_a_job_is_doing(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t waiting = put(t, "w", "x"), id = put(t, "q", "x"), delayed;
	struct bh_job *j;
	struct bh_why *w;
	struct call *c;

	w = why(t, waiting);
	assert_int_equal(w->gate, BH_GATE_NONE);
	assert_int_equal(w->state, BH_WAITING);
	o.delay_ms = 1000;
	delayed = put_with(t, "q", "x", &o);
	w = why(t, delayed);
	assert_int_equal(w->gate, BH_GATE_DELAYED);
	assert_int_equal(w->until, t->wall + 1000);
	assert_int_equal(w->state, BH_DELAYED);
	j = take_id(t, "q", id);
	w = why(t, id);
	assert_int_equal(w->gate, BH_GATE_STATE);
	assert_int_equal(w->state, BH_ACTIVE);
	finish_done(t, j, NULL);
	w = why(t, id);
	assert_int_equal(w->gate, BH_GATE_STATE);
	assert_int_equal(w->state, BH_COMPLETED);
	c = ask_why(t, 999999);
	call_wait(c);
	assert_int_equal(c->status, BH_E_NOTFOUND);
}

static void
why_names_the_first_gate(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.delay_ms = 60000;
	id = put_with(t, "q", "x", &o);
	queue_hold(t, "q", 1000, "429");
	assert_int_equal(why(t, id)->gate, BH_GATE_HELD);
	queue_pause(t, "q");
	assert_int_equal(why(t, id)->gate, BH_GATE_PAUSED);
	queue_resume(t, "q");
	assert_int_equal(why(t, id)->gate, BH_GATE_DELAYED);
}

const struct suite_case suite_gate_cases[] = {
	CASE(a_paused_queue_hands_out_nothing),
	CASE(resume_wakes_those_who_wait),
	CASE(what_runs_may_end_in_a_paused_queue),
	CASE(pause_and_hold_create_a_queue),
	CASE(a_held_queue_goes_on_by_itself),
	CASE(resume_ends_a_hold),
	CASE(max_active_counts_every_worker),
	CASE(max_active_can_be_raised),
	CASE(rate_lets_a_burst_and_then_one_by_one),
	CASE(rate_has_a_burst_of_its_own),
	CASE(rate_wakes_those_who_wait),
	CASE(rate_counts_every_start),
	CASE(rate_takes_no_token_behind_another_gate),
	CASE(rate_takes_no_token_for_a_job_that_its_group_holds),
	CASE(rate_by_group_counts_each_group),
	CASE(rate_is_not_shifted_by_a_jump),
	CASE(why_tells_what_a_job_is_doing),
	CASE(why_names_the_first_gate),
	{0},
};

/* --- shares --- */

static const char *const share_queues[] = {"a", "b", "c"};

static void
set_weights(struct suite_env *t, int64_t a, int64_t b, int64_t c)
{
	const int64_t weights[] = {a, b, c};

	qopts_config_clear(t->qopts);
	for (size_t i = 0; i < nitems(weights); i++) {
		struct bh_queue_opts o = queue_none();

		o.weight = weights[i];
		add_options(t, share_queues[i], &o);
	}
}

/* Takes n jobs, count at a time; how many came of each queue. */
static void
take_shares(struct suite_env *t, size_t n, uint32_t count, int shares[3])
{
	memset(shares, 0, 3 * sizeof(*shares));
	for (size_t got = 0; got < n;) {
		struct call *c = ask_reserve(t, &(struct want){
		    .queues = share_queues, .nqueues = 3, .count = count});

		call_ok(c);
		assert_true(c->njobs > 0);
		for (size_t i = 0; i < c->njobs; i++)
			shares[c->jobs[i].queue.data[0] - 'a']++;
		got += c->njobs;
	}
}

static void
weights_share_single_starts(void **state)
{
	struct suite_env *t = *state;
	int s[3];

	set_weights(t, 6, 3, 1);
	for (int i = 0; i < 3; i++)
		put_count(t, share_queues[i], 150, NULL);
	take_shares(t, 100, 1, s);
	assert_in_range(s[0], 57, 63);
	assert_in_range(s[1], 27, 33);
	assert_in_range(s[2], 8, 12);
}

static void
weights_share_starts_by_the_dozen(void **state)
{
	struct suite_env *t = *state;
	int s[3];

	set_weights(t, 1, 3, 6);
	for (int i = 0; i < 3; i++)
		put_count(t, share_queues[i], 300, NULL);
	take_shares(t, 240, 12, s);
	assert_in_range(s[0], 20, 28);
	assert_in_range(s[1], 66, 78);
	assert_in_range(s[2], 138, 150);
}

static void
weights_waste_nothing(void **state)
{
	struct suite_env *t = *state;
	int s[3];

	set_weights(t, 6, 3, 1);
	put_count(t, "c", 50, NULL);
	take_shares(t, 50, 5, s);
	assert_int_equal(s[2], 50);
	/* Having had everything for a while costs it nothing now. */
	for (int i = 0; i < 3; i++)
		put_count(t, share_queues[i], 100, NULL);
	take_shares(t, 50, 1, s);
	assert_in_range(s[0], 27, 33);
	assert_in_range(s[2], 3, 7);
}

static void
strict_queues_come_first(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	int s[3];

	o.strict = 1;
	set_options(t, "c", &o);
	for (int i = 0; i < 3; i++)
		put_count(t, share_queues[i], 20, NULL);
	take_shares(t, 20, 3, s);
	assert_in_range(s[2], 19, 20);
	take_shares(t, 19, 1, s);
	assert_in_range(s[0], 8, 11);
	put_count(t, "c", 1, NULL);
	take_shares(t, 1, 1, s);
	assert_int_equal(s[2], 1);
}

static void
equal_weights_alternate(void **state)
{
	struct suite_env *t = *state;
	int s[3];

	for (int i = 0; i < 3; i++)
		put_count(t, share_queues[i], 30, NULL);
	take_shares(t, 30, 1, s);
	for (int i = 0; i < 3; i++)
		assert_in_range(s[i], 9, 11);
}

const struct suite_case suite_share_cases[] = {
	CASE(weights_share_single_starts),
	CASE(weights_share_starts_by_the_dozen),
	CASE(weights_waste_nothing),
	CASE(strict_queues_come_first),
	CASE(equal_weights_alternate),
	{0},
};
