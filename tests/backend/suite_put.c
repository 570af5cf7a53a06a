/* SPDX-License-Identifier: MIT */
/* Cases: work comes in and is handed out. */
#include "suite.h"

static void
put_answers_with_the_jobs_defaults(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_put(t, "q", "hello", NULL);
	struct bh_job *j;

	call_ok(c);
	assert_false(c->duplicate);
	assert_int_equal(c->state, BH_WAITING);
	assert_true(c->ids[0] > 0);
	j = get_job(t, c->ids[0]);
	assert_int_equal(j->id, c->ids[0]);
	expect_bytes(j->queue, "q");
	expect_bytes(j->payload, "hello");
	assert_int_equal(j->state, BH_WAITING);
	assert_int_equal(j->priority, 5);
	assert_int_equal(j->attempt, 0);
	assert_int_equal(j->attempts, 12);
	assert_int_equal(j->error_count, 0);
	assert_int_equal(j->stalled, 0);
	assert_int_equal(j->nerrors, 0);
	assert_int_equal(j->timeout_ms, 60000);
	assert_int_equal(j->created_at, t->wall);
	assert_int_equal(j->run_at, t->wall);
	assert_int_equal(j->expires_at, 0);
	assert_int_equal(j->started_at, 0);
	assert_int_equal(j->finished_at, 0);
	assert_int_equal(j->lease_until, 0);
	assert_int_equal(j->token, 0);
}

static void
put_leaves_what_was_not_said_absent(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j = get_job(t, put(t, "q", "x"));

	assert_int_equal(j->group.len, 0);
	assert_int_equal(j->unique.len, 0);
	assert_null(j->progress.data);
	assert_null(j->result.data);
	assert_null(j->error.data);
	assert_null(j->origin.data);
}

static void
put_keeps_what_was_said(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;

	o.priority = 2;
	o.attempts = 3;
	o.timeout_ms = 1234;
	o.delay_ms = 1000;
	o.expires_ms = 5000;
	o.group = bytes("guest.9");
	o.unique = bytes("key 1");
	j = get_job(t, put_with(t, "q", "x", &o));
	assert_int_equal(j->state, BH_DELAYED);
	assert_int_equal(j->priority, 2);
	assert_int_equal(j->attempts, 3);
	assert_int_equal(j->timeout_ms, 1234);
	assert_int_equal(j->run_at, t->wall + 1000);
	assert_int_equal(j->expires_at, t->wall + 6000);
	expect_bytes(j->group, "guest.9");
	expect_bytes(j->unique, "key 1");
}

static void
put_takes_any_bytes(void **state)
{
	struct suite_env *t = *state;
	char raw[256];
	struct bh_bytes p[2] = {{raw, sizeof(raw)}, {"", 0}};
	struct bh_job *j;
	struct call *c;

	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (char)i;
	c = ask_put_many(t, "q", 2, p, NULL);
	call_ok(c);
	j = get_job(t, c->ids[0]);
	assert_int_equal(j->payload.len, sizeof(raw));
	assert_memory_equal(j->payload.data, raw, sizeof(raw));
	assert_int_equal(get_job(t, c->ids[1])->payload.len, 0);
}

static void
put_takes_a_big_payload(void **state)
{
	struct suite_env *t = *state;
	size_t size = 1 << 20;
	char *big = arena_alloc(&t->arena, size);
	struct bh_bytes p = {big, size};
	struct bh_job *j;
	struct call *c;

	for (size_t i = 0; i < size; i++)
		big[i] = (char)(i * 7 + i / 251);
	c = ask_put_many(t, "q", 1, &p, NULL);
	call_ok(c);
	put_count(t, "other", 50, NULL);
	j = take_id(t, "q", c->ids[0]);
	assert_int_equal(j->payload.len, size);
	assert_memory_equal(j->payload.data, big, size);
}

static void
put_many_answers_with_ids_in_order(void **state)
{
	struct suite_env *t = *state;
	struct bh_bytes p[3] = {bytes("a"), bytes("b"), bytes("c")};
	struct call *c = ask_put_many(t, "q", 3, p, NULL);

	call_ok(c);
	assert_true(c->ids[0] < c->ids[1]);
	assert_true(c->ids[1] < c->ids[2]);
	for (int i = 0; i < 3; i++)
		expect_bytes(take_id(t, "q", c->ids[i])->payload, p[i].data);
}

static void
put_many_is_all_or_none(void **state)
{
	struct suite_env *t = *state;
	struct bh_bytes p[3] = {bytes("a"), bytes("b"), bytes("c")};
	struct bh_queue_opts o = queue_none();
	struct call *c;

	o.max_waiting = 2;
	set_options(t, "q", &o);
	c = ask_put_many(t, "q", 3, p, NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_QUEUEFULL);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 0);
	take_none(t, "q");
}

static void
ids_ascend_over_all_queues(void **state)
{
	struct suite_env *t = *state;
	int64_t a = put(t, "a", "x"), b = put(t, "b", "x");
	int64_t c = put(t, "a", "x");

	assert_true(a < b);
	assert_true(b < c);
}

static void
ids_are_not_used_again(void **state)
{
	struct suite_env *t = *state;
	int64_t a = put(t, "q", "x"), b = put(t, "q", "x");

	alter_ok(t, b, BH_JOB_REMOVE);
	alter_ok(t, a, BH_JOB_REMOVE);
	assert_true(put(t, "q", "x") > b);
}

static void
ids_of_requests_in_one_turn_are_in_order(void **state)
{
	struct suite_env *t = *state;
	struct call *c[50];

	for (int i = 0; i < 50; i++)
		c[i] = ask_put(t, "q", "x", NULL);
	for (int i = 0; i < 50; i++)
		call_ok(c[i]);
	for (int i = 1; i < 50; i++)
		assert_true(c[i - 1]->ids[0] < c[i]->ids[0]);
}

static void
requests_of_one_turn_see_each_other(void **state)
{
	struct suite_env *t = *state;
	struct call *a = ask_put(t, "q", "x", NULL);
	struct call *b = ask_stats(t, "q", false);
	struct call *c = ask_reserve(t, &(struct want){.queue = "q"});

	call_ok(a);
	call_ok(b);
	call_ok(c);
	assert_int_equal(b->queues->count[BH_WAITING], 1);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->id, a->ids[0]);
	assert_int_equal(stats(t, "q")->count[BH_ACTIVE], 1);
}

/* done(): the next of a chain of requests is issued inside it. */
static void
chain_get(struct call *c)
{
	struct call **next = c->t->scratch;

	*next = ask_get(c->t, c->ids[0], -1);
}

static void
requests_may_be_issued_inside_done(void **state)
{
	struct suite_env *t = *state;
	struct call *next = NULL, *c = ask_put(t, "q", "x", NULL);

	t->scratch = &next;
	c->then = chain_get;
	call_ok(c);
	assert_non_null(next);
	call_ok(next);
	assert_non_null(next->jobs);
	expect_bytes(next->jobs->payload, "x");
}

static void
max_waiting_refuses_and_stores_nothing(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct call *c;

	o.max_waiting = 2;
	set_options(t, "q", &o);
	put(t, "q", "a");
	put(t, "q", "b");
	c = ask_put(t, "q", "c", NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_QUEUEFULL);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2);
	put(t, "elsewhere", "d");
}

static void
max_waiting_has_room_again_after_a_start(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct call *c;

	o.max_waiting = 1;
	set_options(t, "q", &o);
	put(t, "q", "a");
	assert_non_null(take(t, "q"));
	put(t, "q", "b");
	c = ask_put(t, "q", "c", NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_QUEUEFULL);
}

const struct suite_case suite_put_cases[] = {
	CASE(put_answers_with_the_jobs_defaults),
	CASE(put_leaves_what_was_not_said_absent),
	CASE(put_keeps_what_was_said),
	CASE(put_takes_any_bytes),
	CASE(put_takes_a_big_payload),
	CASE(put_many_answers_with_ids_in_order),
	CASE(put_many_is_all_or_none),
	CASE(ids_ascend_over_all_queues),
	CASE(ids_are_not_used_again),
	CASE(ids_of_requests_in_one_turn_are_in_order),
	CASE(requests_of_one_turn_see_each_other),
	CASE(requests_may_be_issued_inside_done),
	CASE(max_waiting_refuses_and_stores_nothing),
	CASE(max_waiting_has_room_again_after_a_start),
	{0},
};

/* --- reserve --- */

static void
reserve_of_nothing_answers_with_nothing(void **state)
{
	struct suite_env *t = *state;

	take_none(t, "never.used");
	put(t, "q", "x");
	take_none(t, "other");
}

static void
reserve_makes_the_job_active(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "payload");
	struct bh_job *j;

	suite_pass(t, 250);
	j = take_id(t, "q", id);
	assert_int_equal(j->state, BH_ACTIVE);
	assert_int_equal(j->attempt, 1);
	assert_true(j->token != 0);
	assert_int_equal(j->started_at, t->wall);
	assert_int_equal(j->lease_until, t->wall + 30000);
	assert_int_equal(j->timeout_ms, 60000);
	expect_bytes(j->payload, "payload");
	expect_bytes(j->queue, "q");
	j = get_job(t, id);
	assert_int_equal(j->state, BH_ACTIVE);
	assert_int_equal(j->attempt, 1);
	assert_int_equal(j->lease_until, t->wall + 30000);
	assert_int_equal(j->token, 0);
	take_none(t, "q");
}

static void
reserve_takes_up_to_count(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	put_count(t, "q", 5, NULL);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 3});
	call_ok(c);
	assert_int_equal(c->njobs, 3);
	assert_true(c->jobs[0].token != c->jobs[1].token);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 10});
	call_ok(c);
	assert_int_equal(c->njobs, 2);
}

/* A backlog that no cache holds: what is handed out is whole all the same. */
static void
reserve_of_a_cold_job_tells_everything(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t id;

	o.lease_ms = 2000;
	o.timeout_ms = 1234;
	o.group = bytes("guest.9");
	id = put_with(t, "q", "payload", &o);
	put_filler(t);
	suite_pass(t, 500);
	j = take_id(t, "q", id);
	assert_int_equal(j->state, BH_ACTIVE);
	assert_int_equal(j->started_at, t->wall);
	assert_int_equal(j->lease_until, t->wall + 2000);
	assert_int_equal(j->timeout_ms, 1234);
	assert_int_equal(j->created_at, t->wall - 500);
	expect_bytes(j->payload, "payload");
	expect_bytes(j->group, "guest.9");
	assert_true(j->token != 0);
	suite_pass(t, 1999);
	assert_int_equal(get_job(t, id)->lease_until, t->wall + 1);
	suite_pass(t, 1);
	expect_state(t, id, BH_WAITING);
	assert_int_equal(take_id(t, "q", id)->attempt, 2);
}

static void
reserve_looks_into_all_its_queues(void **state)
{
	struct suite_env *t = *state;
	const char *names[] = {"empty", "a", "b"};
	struct call *c;

	put(t, "a", "x");
	put(t, "b", "y");
	put(t, "c", "z");
	c = ask_reserve(t, &(struct want){.queues = names, .nqueues = 3,
	    .count = 5});
	call_ok(c);
	assert_int_equal(c->njobs, 2);
}

static void
reserve_is_by_priority_then_in_order(void **state)
{
	struct suite_env *t = *state;
	static const int8_t priorities[] = {9, 5, 0, 5, -1, 0};
	static const int order[] = {2, 5, 1, 3, 4, 0};
	int64_t ids[nitems(priorities)];

	for (size_t i = 0; i < nitems(priorities); i++) {
		struct bh_job_opts o = opts_none();

		o.priority = priorities[i];
		ids[i] = put_with(t, "q", "x", &o);
	}
	for (size_t i = 0; i < nitems(order); i++)
		take_id(t, "q", ids[order[i]]);
}

static void
lease_is_the_callers_the_jobs_or_the_queues(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts q = queue_none();
	struct bh_job_opts o = opts_none();
	struct call *c;

	q.lease_ms = 4000;
	set_options(t, "q", &q);
	o.lease_ms = 2000;
	put_with(t, "q", "a", &o);
	put_with(t, "q", "b", &o);
	put(t, "q", "c");
	c = ask_reserve(t, &(struct want){.queue = "q", .lease_ms = 1000});
	call_ok(c);
	assert_int_equal(c->jobs->lease_until, t->wall + 1000);
	assert_int_equal(take(t, "q")->lease_until, t->wall + 2000);
	assert_int_equal(take(t, "q")->lease_until, t->wall + 4000);
}

static void
parked_reserve_is_woken_by_a_put(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true});
	int64_t id;

	assert_false(call_answered(c));
	suite_pass(t, 3600000);
	assert_false(call_answered(c));
	put(t, "other", "x");
	assert_false(call_answered(c));
	id = put(t, "q", "x");
	call_ok(c);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->id, id);
}

static void
parked_reserve_is_woken_by_a_delayed_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true});

	o.delay_ms = 700;
	put_with(t, "q", "x", &o);
	suite_pass(t, 699);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->njobs, 1);
}

static void
parked_reserve_gives_up_in_time(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true, .block_ms = 1000});

	suite_pass(t, 999);
	assert_false(call_answered(c));
	assert_true(t->next <= t->mono + 1);
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->njobs, 0);
	put(t, "q", "x");
	assert_non_null(take(t, "q"));
}

static void
parked_reserves_are_served_in_order(void **state)
{
	struct suite_env *t = *state;
	struct want w = {.queue = "q", .wait = true};
	struct call *a = ask_reserve(t, &w), *b = ask_reserve(t, &w);

	put(t, "q", "x");
	assert_true(call_answered(a));
	assert_false(call_answered(b));
	put(t, "q", "y");
	assert_true(call_answered(b));
	assert_int_equal(a->njobs + b->njobs, 2);
}

static void
a_parked_reserve_can_be_cancelled(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true});
	int64_t id;

	assert_false(call_answered(c));
	call_cancel(c);
	assert_int_equal(c->answers, 0);
	call_wait(c);
	assert_int_equal(c->status, BH_E_CANCELED);
	id = put(t, "q", "x");
	take_id(t, "q", id);
}

static void
a_reserve_can_be_cancelled_in_its_own_turn(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true});

	call_cancel(c);
	call_wait(c);
	assert_int_equal(c->status, BH_E_CANCELED);
}

static void
cancel_loses_no_job_whatever_it_meets(void **state)
{
	struct suite_env *t = *state;
	struct call *c;
	int64_t id = put(t, "q", "x");

	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	call_cancel(c);
	call_wait(c);
	if (c->status == BH_OK) {
		assert_int_equal(c->njobs, 1);
		finish_release(t, c->jobs, -1);
	} else {
		assert_int_equal(c->status, BH_E_CANCELED);
	}
	assert_int_equal(take_id(t, "q", id)->attempt, 1);
}

/* A parked caller is served when another one asks, and goes in that turn. */
static void
cancel_when_served(struct suite_env *t, const char *asked, uint32_t count,
    bool handler)
{
	struct call *a = ask_reserve(t, &(struct want){.queue = "q",
	    .wait = true, .count = count, .handler = handler}), *b, *p;

	assert_false(call_answered(a));
	p = ask_put(t, "q", "x", NULL);
	b = ask_reserve(t, &(struct want){.queue = asked});
	call_cancel(a);
	call_ok(p);
	call_ok(b);
	call_wait(a);
	assert_true(a->status == BH_OK || a->status == BH_E_CANCELED);
	assert_true(a->njobs + b->njobs <= 1);
	if (a->njobs)
		finish_release(t, a->jobs, -1);
	if (b->njobs)
		finish_release(t, b->jobs, -1);
	assert_int_equal(take_id(t, "q", p->ids[0])->attempt, 1);
}

static void
cancel_of_a_caller_that_was_just_served(void **state)
{
	struct suite_env *t = *state;

	cancel_when_served(t, "q", 1, false);
	cancel_when_served(t, "other", 1, false);
	cancel_when_served(t, "q", 1, true);
	cancel_when_served(t, "other", 1, true);
	/* It has room for one more. */
	cancel_when_served(t, "q", 2, false);
	cancel_when_served(t, "other", 2, false);
	cancel_when_served(t, "q", 2, true);
}

static void
budget_is_shared_by_reservations(void **state)
{
	struct suite_env *t = *state;
	uint32_t budget = 1;
	struct want a = {.queue = "a", .wait = true, .handler = true,
	    .count = 5, .budget = &budget};
	struct want b = a;
	struct call *ca, *cb;

	b.queue = "b";
	ca = ask_reserve(t, &a);
	cb = ask_reserve(t, &b);
	put_count(t, "a", 3, NULL);
	put_count(t, "b", 3, NULL);
	suite_settle(t);
	assert_int_equal(ca->answers + cb->answers, 1);
	assert_int_equal(ca->njobs + cb->njobs, 1);
	assert_int_equal(budget, 0);
	budget = 2;
	suite_settle(t);
	assert_int_equal(ca->answers + cb->answers, 2);
	assert_int_equal(ca->njobs + cb->njobs, 3);
	assert_int_equal(budget, 0);
}

static void
an_empty_budget_takes_nothing(void **state)
{
	struct suite_env *t = *state;
	uint32_t budget = 0;
	struct call *c;

	put(t, "q", "x");
	c = ask_reserve(t, &(struct want){.queue = "q", .budget = &budget});
	call_ok(c);
	assert_int_equal(c->njobs, 0);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 1);
}

static void
drain_hands_out_nothing_more(void **state)
{
	struct suite_env *t = *state;
	struct call *parked, *c;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_id(t, "q", id);
	parked = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	suite_begin(t);
	t->ops->drain(t->be);
	call_ok(ask_put(t, "q", "y", NULL));
	c = ask_reserve(t, &(struct want){.queue = "q"});
	call_wait(c);
	assert_int_equal(c->njobs, 0);
	suite_settle(t);
	assert_int_equal(parked->njobs, 0);
	finish_done(t, j, "ok");
	expect_state(t, id, BH_COMPLETED);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 1);
}

static void
nothing_to_do_means_no_wake_up(void **state)
{
	struct suite_env *t = *state;

	suite_settle(t);
	assert_true(t->next == INT64_MAX);
	assert_true(t->ops->idle(t->be));
	put_count(t, "q", 10, NULL);
	suite_settle(t);
	assert_true(t->next == INT64_MAX);
	assert_true(t->ops->idle(t->be));
}

static void
it_says_when_something_is_due(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();

	o.delay_ms = 5000;
	put_with(t, "q", "x", &o);
	suite_settle(t);
	assert_true(t->next <= t->mono + 5000);
	put(t, "p", "x");
	assert_non_null(take(t, "p"));
	suite_settle(t);
	assert_true(t->next <= t->mono + 5000);
	suite_pass(t, 5000);
	assert_true(t->next <= t->mono + 25000);
}

static void
it_tells_about_itself(void **state)
{
	struct suite_env *t = *state;
	struct bh_health h = {0};

	t->ops->health(t->be, &h);
	assert_non_null(h.type);
	assert_string_equal(h.type, t->ops->name);
	assert_true(h.accepting);
}

const struct suite_case suite_reserve_cases[] = {
	CASE(reserve_of_nothing_answers_with_nothing),
	CASE(reserve_makes_the_job_active),
	CASE(reserve_takes_up_to_count),
	CASE(reserve_of_a_cold_job_tells_everything),
	CASE(reserve_looks_into_all_its_queues),
	CASE(reserve_is_by_priority_then_in_order),
	CASE(lease_is_the_callers_the_jobs_or_the_queues),
	CASE(parked_reserve_is_woken_by_a_put),
	CASE(parked_reserve_is_woken_by_a_delayed_job),
	CASE(parked_reserve_gives_up_in_time),
	CASE(parked_reserves_are_served_in_order),
	CASE(a_parked_reserve_can_be_cancelled),
	CASE(a_reserve_can_be_cancelled_in_its_own_turn),
	CASE(cancel_loses_no_job_whatever_it_meets),
	CASE(cancel_of_a_caller_that_was_just_served),
	CASE(budget_is_shared_by_reservations),
	CASE(an_empty_budget_takes_nothing),
	CASE(drain_hands_out_nothing_more),
	CASE(nothing_to_do_means_no_wake_up),
	CASE(it_says_when_something_is_due),
	CASE(it_tells_about_itself),
	{0},
};
