/* SPDX-License-Identifier: MIT */
/* Cases: what a backend with storage still knows after a restart, orderly or
 * not. */
#include "suite.h"

/* One job in each state, with as many fields filled as it can have. */
static void
put_each_state(struct suite_env *t, int64_t ids[BH_STATES])
{
	struct bh_queue_opts q = queue_none();
	struct bh_job_opts o = opts_none();
	struct bh_job *j;

	snprintf(q.dead_letter, sizeof(q.dead_letter), "%s", "morgue");
	set_options(t, "q", &q);
	o.priority = 2;
	o.attempts = 7;
	o.timeout_ms = 4321;
	o.group = bytes("done");
	o.retain_ms = 3600000;
	ids[BH_COMPLETED] = put_with(t, "q", "completed", &o);
	j = take_id(t, "q", ids[BH_COMPLETED]);
	call_ok(ask_extend(t, j->id, j->token, -1, "99 %"));
	finish_done(t, j, "the result");
	o.group = bytes("failed");
	ids[BH_FAILED] = put_with(t, "q", "failed", &o);
	for (int i = 0; i < 7; i++)
		finish_fail(t, take_id(t, "q", ids[BH_FAILED]), "no", 0);
	o.group = bytes("active");
	ids[BH_ACTIVE] = put_with(t, "q", "active", &o);
	j = take_id(t, "q", ids[BH_ACTIVE]);
	call_ok(ask_extend(t, j->id, j->token, 600000, "40 %"));
	o.group = bytes("waiting");
	o.unique = bytes("key");
	o.expires_ms = 3600000;
	ids[BH_WAITING] = put_with(t, "q", "waiting", &o);
	o = opts_none();
	o.delay_ms = 60000;
	o.expires_ms = 3600000;
	ids[BH_DELAYED] = put_with(t, "q", "delayed", &o);
}

static void
reopen_keeps_every_field(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[BH_STATES];
	struct bh_job *before[BH_STATES];
	struct bh_job *dead;

	put_each_state(t, ids);
	for (int s = 0; s < BH_STATES; s++) {
		before[s] = get_job(t, ids[s]);
		assert_int_equal(before[s]->state, s);
	}
	dead = take(t, "morgue");
	finish_release(t, dead, -1);
	dead = get_job(t, dead->id);
	suite_reopen(t, 5000);
	for (int s = 0; s < BH_STATES; s++)
		expect_same_job(get_job(t, ids[s]), before[s]);
	expect_same_job(get_job(t, dead->id), dead);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 1);
}

static void
reopen_keeps_the_order(void **state)
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
	suite_reopen(t, 5000);
	for (size_t i = 0; i < nitems(order); i++)
		take_id(t, "q", ids[order[i]]);
}

static void
reopen_gives_no_id_twice(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t last;

	put_count(t, "q", 3, NULL);
	o.retain_ms = 0;
	last = put_with(t, "other", "x", &o);
	run_done(t, "other");
	suite_reopen(t, 0);
	assert_true(put(t, "q", "x") > last);
	queue_purge(t, "q", BH_WAITING, 0);
	last = put(t, "q", "x");
	alter_ok(t, last, BH_JOB_REMOVE);
	suite_reopen(t, 0);
	assert_true(put(t, "q", "x") > last);
}

static void
reopen_counts_delays_by_the_wall(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t soon, late, retry;

	retry = put(t, "q", "x");
	finish_fail(t, take_id(t, "q", retry), "again", 10000);
	o.delay_ms = 3000;
	soon = put_with(t, "q", "x", &o);
	o.delay_ms = 10000;
	late = put_with(t, "q", "x", &o);
	suite_pass(t, 1000);
	suite_reopen(t, 4000);
	expect_state(t, soon, BH_WAITING);
	expect_state(t, late, BH_DELAYED);
	suite_pass(t, 4999);
	expect_state(t, late, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, late, BH_WAITING);
	expect_state(t, retry, BH_WAITING);
	assert_int_equal(get_job(t, retry)->error_count, 1);
}

static void
reopen_keeps_at_and_expiry(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t at, expires, gone;

	o.at = t->wall + 20000;
	at = put_with(t, "q", "x", &o);
	o = opts_none();
	o.expires_ms = 20000;
	expires = put_with(t, "q", "x", &o);
	o.expires_ms = 2000;
	gone = put_with(t, "q", "x", &o);
	suite_reopen(t, 5000);
	expect_state(t, gone, BH_FAILED);
	suite_pass(t, 14999);
	expect_state(t, at, BH_DELAYED);
	expect_state(t, expires, BH_WAITING);
	suite_pass(t, 1);
	expect_state(t, at, BH_WAITING);
	expect_state(t, expires, BH_FAILED);
}

/* The same before and after a restart that takes no time. */
static void
expect_reopened_same(struct suite_env *t, int64_t id)
{
	struct bh_job *before = get_job(t, id);

	suite_reopen(t, 0);
	expect_same_job(get_job(t, id), before);
}

static void
reopen_keeps_a_retried_job_that_had_expired(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.expires_ms = 1000;
	id = put_with(t, "q", "x", &o);
	suite_pass(t, 1000);
	expect_state(t, id, BH_FAILED);
	alter_ok(t, id, BH_JOB_RETRY);
	expect_state(t, id, BH_WAITING);
	expect_reopened_same(t, id);
	take_id(t, "q", id);
}

static void
reopen_keeps_the_times_of_a_promoted_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.delay_ms = 60000;
	o.expires_ms = 60000;
	id = put_with(t, "q", "x", &o);
	alter_ok(t, id, BH_JOB_PROMOTE);
	expect_reopened_same(t, id);
	expect_state(t, id, BH_WAITING);
}

static void
reopen_keeps_the_times_of_a_replaced_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.unique = bytes("k");
	o.unique_mode = BH_UNIQUE_REPLACE;
	o.expires_ms = 5000;
	o.delay_ms = 1000;
	id = put_with(t, "q", "x", &o);
	suite_pass(t, 500);
	o.delay_ms = 10000;
	assert_int_equal(put_with(t, "q", "y", &o), id);
	expect_reopened_same(t, id);
	suite_pass(t, 10000);
	expect_reopened_same(t, id);
	expect_bytes(take_id(t, "q", id)->payload, "y");
}

static void
reopen_keeps_the_times_of_a_job_after_a_jump(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.delay_ms = 1000;
	o.expires_ms = 5000;
	id = put_with(t, "q", "x", &o);
	suite_jump(t, 3600000);
	suite_pass(t, 1000);
	expect_state(t, id, BH_WAITING);
	expect_reopened_same(t, id);
	take_id(t, "q", id);
}

static void
reopen_keeps_the_history_of_a_retried_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	run_final(t, "q", "no");
	alter_ok(t, id, BH_JOB_RETRY);
	expect_reopened_same(t, id);
	finish_release(t, take_id(t, "q", id), -1);
	assert_int_equal(get_job(t, id)->nerrors, 1);
	expect_reopened_same(t, id);
}

static void
reopen_lets_outside_leases_count_anew(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *a, *b;

	o.lease_ms = 10000;
	put_with(t, "a", "x", &o);
	put_with(t, "b", "x", &o);
	a = take(t, "a");
	b = take(t, "b");
	suite_pass(t, 9000);
	suite_reopen(t, 60000);
	expect_state(t, a->id, BH_ACTIVE);
	assert_int_equal(get_job(t, a->id)->stalled, 0);
	assert_int_equal(get_job(t, a->id)->lease_until, t->wall + 10000);
	suite_pass(t, 9999);
	expect_state(t, b->id, BH_ACTIVE);
	finish_done(t, a, "ok");
	suite_pass(t, 1);
	expect_state(t, b->id, BH_WAITING);
	assert_int_equal(get_job(t, b->id)->stalled, 1);
	expect_state(t, a->id, BH_COMPLETED);
}

static void
reopen_frees_what_handlers_held(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *old = take_handler(t, "q"), *j;
	struct call *c;

	suite_reopen(t, 0);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_WAITING);
	assert_int_equal(j->stalled, 1);
	assert_int_equal(j->attempt, 1);
	c = ask_finish(t, id, old->token, BH_DONE, NULL, -1, false);
	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	j = take_id(t, "q", id);
	assert_int_equal(j->attempt, 2);
	assert_true(j->token != old->token);
}

static void
reopen_keeps_queues(void **state)
{
	struct suite_env *t = *state;
	int64_t paused_at = t->wall, held_until = t->wall + 20000, id;
	struct bh_queue_stats *s;
	struct call *c;

	put(t, "p", "x");
	queue_pause(t, "p");
	id = put(t, "h", "x");
	queue_hold(t, "h", 20000, "429");
	put_count(t, "q", 2, NULL);
	run_done(t, "q");
	run_final(t, "q", "no");
	suite_reopen(t, 5000);
	s = stats(t, "p");
	assert_true(s->paused);
	assert_int_equal(s->paused_at, paused_at);
	expect_bytes(s->paused_by, "anna");
	take_none(t, "p");
	s = stats(t, "h");
	assert_int_equal(s->held_until, held_until);
	expect_bytes(s->held_reason, "429");
	take_none(t, "h");
	s = stats(t, "q");
	assert_int_equal(s->processed_total, 2);
	assert_int_equal(s->failed_total, 1);
	c = ask_reserve(t, &(struct want){.queue = "h", .wait = true});
	suite_pass(t, 14999);
	assert_false(call_answered(c));
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->jobs->id, id);
}

static void
reopen_keeps_unique_keys(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id, ttl;
	struct call *c;

	o.unique = bytes("k");
	id = put_with(t, "q", "x", &o);
	o.unique = bytes("ttl");
	o.unique_ttl_ms = 10000;
	ttl = put_with(t, "q", "x", &o);
	suite_reopen(t, 5000);
	c = ask_put(t, "q", "y", &o);
	call_ok(c);
	assert_true(c->duplicate);
	assert_int_equal(c->ids[0], ttl);
	suite_pass(t, 5000);
	assert_true(put_with(t, "q", "y", &o) > ttl);
	o.unique = bytes("k");
	assert_int_equal(put_with(t, "q", "y", &o), id);
}

static void
reopen_keeps_follow_ups(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t next;

	o.unique = bytes("k");
	o.unique_mode = BH_UNIQUE_FOLLOW;
	put_with(t, "q", "x", &o);
	j = take(t, "q");
	next = put_with(t, "q", "y", &o);
	suite_reopen(t, 1000);
	take_none(t, "q");
	assert_int_equal(why(t, next)->gate, BH_GATE_UNIQUE);
	finish_done(t, j, NULL);
	take_id(t, "q", next);
}

static void
reopen_keeps_the_lines_of_groups(void **state)
{
	struct suite_env *t = *state;
	int64_t ids[5];

	for (int i = 0; i < 5; i++)
		ids[i] = put_group(t, "q", "x", "A");
	suite_pass(t, 10);
	finish_final(t, take_id(t, "q", ids[0]), "no");
	alter_ok(t, ids[0], BH_JOB_RETRY);
	finish_fail(t, take_id(t, "q", ids[1]), "again", 10000);
	suite_reopen(t, 4000);
	take_none(t, "q");
	suite_pass(t, 6000);
	finish_done(t, take_id(t, "q", ids[1]), NULL);
	finish_done(t, take_id(t, "q", ids[2]), NULL);
	finish_done(t, take_id(t, "q", ids[3]), NULL);
	finish_done(t, take_id(t, "q", ids[4]), NULL);
	finish_done(t, take_id(t, "q", ids[0]), NULL);
}

static void
reopen_keeps_an_active_head_of_its_group(void **state)
{
	struct suite_env *t = *state;
	int64_t first = put_group(t, "q", "x", "A");
	int64_t second = put_group(t, "q", "x", "A");
	struct bh_job *j = take_id(t, "q", first);

	suite_reopen(t, 1000);
	take_none(t, "q");
	finish_done(t, j, NULL);
	take_id(t, "q", second);
}

static void
reopen_offers_owed_callbacks(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct told *n;
	struct bh_job *j;
	int64_t seen, owed;

	o.callbacks = 1 << BH_ON_COMPLETED;
	qopts_script_set(t->qopts, "q", &o);
	suite_begin(t);
	t->ops->options_changed(t->be);
	put_count(t, "q", 2, NULL);
	seen = run_done(t, "q");
	n = told_next(t);
	assert_int_equal(n->cb.job, seen);
	suite_begin(t);
	t->ops->callback_done(t->be, n->cb.id);
	j = take(t, "q");
	owed = j->id;
	finish_done(t, j, "42");
	n = told_next(t);
	assert_int_equal(n->cb.job, owed);
	suite_reopen(t, 1000);
	n = told_next(t);
	assert_non_null(n);
	assert_int_equal(n->cb.kind, BH_ON_COMPLETED);
	assert_int_equal(n->cb.job, owed);
	expect_bytes(n->cb.queue, "q");
	expect_bytes(n->cb.result, "42");
	expect_bytes(n->cb.payload, "one of many");
	assert_null(told_next(t));
	suite_begin(t);
	t->ops->callback_done(t->be, n->cb.id);
	suite_reopen(t, 1000);
	assert_null(told_next(t));
}

static void
reopen_keeps_error_groups(void **state)
{
	struct suite_env *t = *state;
	struct call *before, *after;

	put_count(t, "q", 3, NULL);
	run_final(t, "q", "answered 500");
	run_final(t, "q", "answered 502");
	run_final(t, "q", "disk is full");
	before = ask_stats(t, "q", true);
	call_ok(before);
	suite_reopen(t, 1000);
	after = ask_stats(t, "q", true);
	call_ok(after);
	assert_int_equal(after->ngroups, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(after->groups[i].fingerprint ==
		    before->groups[i].fingerprint);
		assert_int_equal(after->groups[i].count,
		    before->groups[i].count);
		assert_int_equal(after->groups[i].first_at,
		    before->groups[i].first_at);
	}
}

static void
reopen_goes_on_with_retention(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct bh_job_opts p = opts_none();
	int64_t retained, old, young;

	o.retain_completed_count = 2;
	set_options(t, "q", &o);
	p.retain_ms = 10000;
	retained = put_with(t, "q", "x", &p);
	run_done(t, "q");
	old = put(t, "q", "x");
	run_done(t, "q");
	suite_pass(t, 10);
	young = put(t, "q", "x");
	run_done(t, "q");
	suite_reopen(t, 1000);
	expect_state(t, retained, BH_COMPLETED);
	put(t, "q", "x");
	run_done(t, "q");
	expect_gone(t, old);
	expect_state(t, young, BH_COMPLETED);
	suite_pass(t, 8989);
	expect_state(t, retained, BH_COMPLETED);
	suite_pass(t, 1);
	expect_gone(t, retained);
}

static void
reopen_ends_waiting_callers(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct want w = {.queue = "other", .wait = true};
	struct call *a = ask_reserve(t, &w), *b = ask_get(t, id, 0);

	suite_reopen(t, 0);
	assert_int_equal(a->answers, 1);
	assert_int_equal(a->status, BH_E_CANCELED);
	assert_int_equal(b->answers, 1);
	assert_int_equal(b->status, BH_E_CANCELED);
	take_id(t, "q", id);
}

static void
reopen_of_many_jobs(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	put_count(t, "q", 3000, NULL);
	suite_reopen(t, 1000);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 3000);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 3000});
	call_ok(c);
	assert_int_equal(c->njobs, 3000);
	for (size_t i = 1; i < c->njobs; i++)
		assert_true(c->jobs[i - 1].id < c->jobs[i].id);
	expect_bytes(c->jobs[2999].payload, "one of many");
}

/* Loses its last chance with its payload on the disk only. */
static void
lose_after_restart(struct suite_env *t, bool handler)
{
	struct bh_queue_opts q = queue_none();
	struct bh_job_opts o = opts_none();
	struct bh_job *dead;
	struct told *n;
	int64_t id;

	q.callbacks = 1 << BH_ON_FAILED;
	snprintf(q.dead_letter, sizeof(q.dead_letter), "%s", "morgue");
	set_options(t, "q", &q);
	o.max_stalled = 0;
	o.lease_ms = 1000;
	id = put_with(t, "q", "the payload", &o);
	assert_non_null(handler ? take_handler(t, "q") : take(t, "q"));
	suite_reopen(t, 0);
	suite_pass(t, 1000);
	expect_state(t, id, BH_FAILED);
	assert_int_equal(get_job(t, id)->stalled, 1);
	dead = take(t, "morgue");
	assert_non_null(dead);
	expect_bytes(dead->payload, "the payload");
	n = told_next(t);
	assert_non_null(n);
	assert_int_equal(n->cb.kind, BH_ON_FAILED);
	assert_int_equal(n->cb.job, id);
	expect_bytes(n->cb.payload, "the payload");
	assert_null(told_next(t));
}

static void
reopen_then_a_worker_loses_the_last_lease(void **state)
{
	lose_after_restart(*state, false);
}

static void
reopen_then_a_handler_had_lost_the_last_lease(void **state)
{
	lose_after_restart(*state, true);
}

/* --- the process dies --- */

static void
crash_keeps_what_was_acknowledged(void **state)
{
	struct suite_env *t = *state;
	struct call *calls[20];
	struct bh_job *j;

	for (int i = 0; i < 20; i++)
		calls[i] = ask_put(t, "q", "x", NULL);
	for (int i = 0; i < 20; i++)
		call_ok(calls[i]);
	suite_crash(t, 1000);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 20);
	j = take_id(t, "q", calls[0]->ids[0]);
	finish_done(t, j, "ok");
	suite_crash(t, 1000);
	expect_state(t, j->id, BH_COMPLETED);
	expect_bytes(get_job(t, j->id)->result, "ok");
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 19);
	assert_true(put(t, "q", "x") > calls[19]->ids[0]);
}

static void
crash_frees_what_handlers_held(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.max_stalled = 1;
	id = put_with(t, "q", "x", &o);
	assert_non_null(take_handler(t, "q"));
	suite_crash(t, 0);
	expect_state(t, id, BH_WAITING);
	assert_int_equal(get_job(t, id)->stalled, 1);
	assert_int_equal(get_job(t, id)->attempt, 1);
	assert_int_equal(take_handler(t, "q")->attempt, 2);
	suite_crash(t, 0);
	expect_state(t, id, BH_FAILED);
	assert_int_equal(get_job(t, id)->stalled, 2);
}

static void
crash_leaves_outside_leases_alone(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);

	suite_pass(t, 29000);
	suite_crash(t, 60000);
	expect_state(t, id, BH_ACTIVE);
	suite_pass(t, 29999);
	finish_done(t, j, "ok");
	assert_int_equal(get_job(t, id)->stalled, 0);
}

static void
crash_owes_on_stalled_to_handlers(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts o = queue_none();
	struct told *n;
	int64_t id;

	o.callbacks = 1 << BH_ON_STALLED;
	qopts_script_set(t->qopts, "q", &o);
	suite_begin(t);
	t->ops->options_changed(t->be);
	id = put(t, "q", "x");
	assert_non_null(take_handler(t, "q"));
	suite_crash(t, 0);
	n = told_next(t);
	assert_non_null(n);
	assert_int_equal(n->cb.kind, BH_ON_STALLED);
	assert_int_equal(n->cb.job, id);
	assert_null(told_next(t));
}

const struct suite_case suite_reopen_cases[] = {
	CASE_STORAGE(reopen_keeps_every_field),
	CASE_STORAGE(reopen_keeps_the_order),
	CASE_STORAGE(reopen_gives_no_id_twice),
	CASE_STORAGE(reopen_counts_delays_by_the_wall),
	CASE_STORAGE(reopen_keeps_at_and_expiry),
	CASE_STORAGE(reopen_keeps_a_retried_job_that_had_expired),
	CASE_STORAGE(reopen_keeps_the_times_of_a_promoted_job),
	CASE_STORAGE(reopen_keeps_the_times_of_a_replaced_job),
	CASE_STORAGE(reopen_keeps_the_times_of_a_job_after_a_jump),
	CASE_STORAGE(reopen_keeps_the_history_of_a_retried_job),
	CASE_STORAGE(reopen_lets_outside_leases_count_anew),
	CASE_STORAGE(reopen_frees_what_handlers_held),
	CASE_STORAGE(reopen_keeps_queues),
	CASE_STORAGE(reopen_keeps_unique_keys),
	CASE_STORAGE(reopen_keeps_follow_ups),
	CASE_STORAGE(reopen_keeps_the_lines_of_groups),
	CASE_STORAGE(reopen_keeps_an_active_head_of_its_group),
	CASE_STORAGE(reopen_offers_owed_callbacks),
	CASE_STORAGE(reopen_keeps_error_groups),
	CASE_STORAGE(reopen_goes_on_with_retention),
	CASE_STORAGE(reopen_ends_waiting_callers),
	CASE_STORAGE(reopen_of_many_jobs),
	CASE_STORAGE(reopen_then_a_worker_loses_the_last_lease),
	CASE_STORAGE(reopen_then_a_handler_had_lost_the_last_lease),
	CASE_CRASH(crash_keeps_what_was_acknowledged),
	CASE_CRASH(crash_frees_what_handlers_held),
	CASE_CRASH(crash_leaves_outside_leases_alone),
	CASE_CRASH(crash_owes_on_stalled_to_handlers),
	{0},
};
