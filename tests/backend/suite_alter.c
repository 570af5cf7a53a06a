/* SPDX-License-Identifier: MIT */
/* Cases: jobs and queues changed from outside, one by one and in bulk. */
#include "suite.h"

/* More than the 500 rows of a slice, more than twice. */
#define BULK 1200

static void
remove_takes_any_but_active_jobs(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t done, failed, active, waiting, delayed;
	struct bh_job *j;

	put_count(t, "q", 3, NULL);
	done = run_done(t, "q");
	failed = run_final(t, "q", "no");
	j = take(t, "q");
	active = j->id;
	waiting = put(t, "q", "x");
	o.delay_ms = 60000;
	delayed = put_with(t, "q", "x", &o);
	alter_ok(t, done, BH_JOB_REMOVE);
	alter_ok(t, failed, BH_JOB_REMOVE);
	alter_ok(t, waiting, BH_JOB_REMOVE);
	alter_ok(t, delayed, BH_JOB_REMOVE);
	assert_int_equal(alter(t, active, BH_JOB_REMOVE, NULL),
	    BH_E_CONFLICT);
	assert_int_equal(alter(t, done, BH_JOB_REMOVE, NULL), BH_E_NOTFOUND);
	expect_gone(t, done);
	expect_gone(t, failed);
	expect_gone(t, waiting);
	expect_gone(t, delayed);
	take_none(t, "q");
	finish_done(t, j, NULL);
	suite_pass(t, 60000);
	take_none(t, "q");
}

static void
retry_brings_a_failed_job_back(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j;

	run_final(t, "q", "no");
	alter_ok(t, id, BH_JOB_RETRY);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_WAITING);
	assert_int_equal(j->finished_at, 0);
	expect_bytes(j->payload, "x");
	assert_int_equal(j->nerrors, 1);
	finish_done(t, take_id(t, "q", id), "now");
	expect_state(t, id, BH_COMPLETED);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 0);
}

static void
retry_wakes_a_parked_reserve(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct call *c;

	run_final(t, "q", "no");
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	assert_false(call_answered(c));
	alter_ok(t, id, BH_JOB_RETRY);
	call_ok(c);
	assert_int_equal(c->jobs->id, id);
}

static void
retry_is_for_failed_jobs(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");

	assert_int_equal(alter(t, id, BH_JOB_RETRY, NULL), BH_E_CONFLICT);
	run_done(t, "q");
	assert_int_equal(alter(t, id, BH_JOB_RETRY, NULL), BH_E_CONFLICT);
	assert_int_equal(alter(t, 999999, BH_JOB_RETRY, NULL),
	    BH_E_NOTFOUND);
}

static void
update_changes_the_payload(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "old");

	call_ok(ask_alter(t, id, BH_JOB_UPDATE, "a new and longer payload"));
	expect_bytes(get_job(t, id)->payload, "a new and longer payload");
	expect_bytes(take_id(t, "q", id)->payload,
	    "a new and longer payload");
	assert_int_equal(alter(t, 999999, BH_JOB_UPDATE, "x"),
	    BH_E_NOTFOUND);
}

static void
update_changes_a_delayed_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.delay_ms = 1000;
	id = put_with(t, "q", "old", &o);
	call_ok(ask_alter(t, id, BH_JOB_UPDATE, "new"));
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 1000);
	expect_bytes(take_id(t, "q", id)->payload, "new");
}

static void
update_changes_nothing_else(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *before, *after;
	int64_t id;

	o.group = bytes("A");
	o.unique = bytes("k");
	o.attempts = 7;
	id = put_with(t, "q", "old", &o);
	before = take_id(t, "q", id);
	call_ok(ask_extend(t, id, before->token, -1, "40 %"));
	finish_release(t, before, 60000);
	before = get_job(t, id);
	expect_bytes(before->progress, "40 %");
	call_ok(ask_alter(t, id, BH_JOB_UPDATE, "new"));
	after = get_job(t, id);
	expect_bytes(after->payload, "new");
	after->payload = before->payload;
	expect_same_job(after, before);
}

/* In the turn of the update, of a job that is in memory or (cold) is not. */
static void
expect_updated(struct suite_env *t, const char *payload, bool cold,
    bool handler)
{
	int64_t id = put(t, "q", "old");
	struct call *u, *c;

	if (cold)
		put_filler(t);
	u = ask_alter(t, id, BH_JOB_UPDATE, payload);
	c = ask_reserve(t, &(struct want){.queue = "q", .handler = handler});
	call_ok(c);
	call_ok(u);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->id, id);
	expect_bytes(c->jobs->payload, payload);
	finish_done(t, c->jobs, NULL);
	expect_bytes(get_job(t, id)->payload, payload);
}

static void
update_is_seen_by_whoever_comes_at_once(void **state)
{
	struct suite_env *t = *state;
	/* More than a small cache may hold. */
	static char big[30001];

	memset(big, 'n', sizeof(big) - 1);
	for (int i = 0; i < 8; i++)
		expect_updated(t, i & 1 ? big : "new", i & 2, i & 4);
}

static void
update_of_two_times_leaves_the_second(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "old");
	struct call *a, *b, *c;

	put_filler(t);
	a = ask_alter(t, id, BH_JOB_UPDATE, "first");
	b = ask_alter(t, id, BH_JOB_UPDATE, "second");
	c = ask_reserve(t, &(struct want){.queue = "q", .handler = true});
	call_ok(c);
	call_ok(a);
	call_ok(b);
	assert_int_equal(c->njobs, 1);
	expect_bytes(c->jobs->payload, "second");
}

static void
cancel_of_a_job_of_next_month_leaves_a_dead_letter(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_opts q = queue_none();
	struct bh_job_opts o = opts_none();
	struct bh_job *dead;
	int64_t id;

	snprintf(q.dead_letter, sizeof(q.dead_letter), "%s", "morgue");
	set_options(t, "q", &q);
	o.at = t->wall + SUITE_MONTH_MS;
	id = put_with(t, "q", "the payload", &o);
	put_filler(t);
	call_ok(ask_alter(t, id, BH_JOB_CANCEL, "not needed"));
	expect_state(t, id, BH_FAILED);
	expect_prefix(get_job(t, id)->error, "cancelled");
	dead = take(t, "morgue");
	assert_non_null(dead);
	expect_bytes(dead->payload, "the payload");
	suite_jump(t, SUITE_MONTH_MS);
	expect_state(t, id, BH_FAILED);
	take_none(t, "q");
	assert_int_equal(stats(t, "q")->count[BH_DELAYED], 0);
}

static void
cancel_ends_a_job_that_does_not_run(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t waiting = put(t, "q", "x"), delayed;

	o.delay_ms = 1000;
	delayed = put_with(t, "q", "x", &o);
	call_ok(ask_alter(t, waiting, BH_JOB_CANCEL, "not needed"));
	alter_ok(t, delayed, BH_JOB_CANCEL);
	expect_state(t, waiting, BH_FAILED);
	expect_prefix(get_job(t, waiting)->error, "cancelled");
	expect_state(t, delayed, BH_FAILED);
	expect_prefix(get_job(t, delayed)->error, "cancelled");
	suite_pass(t, 1000);
	take_none(t, "q");
}

static void
cancel_ends_a_job_that_a_worker_holds(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_id(t, "q", id);
	struct call *c;

	alter_ok(t, id, BH_JOB_CANCEL);
	suite_settle(t);
	expect_state(t, id, BH_FAILED);
	expect_prefix(get_job(t, id)->error, "cancelled");
	c = ask_finish(t, id, j->token, BH_DONE, NULL, -1, false);
	call_wait(c);
	assert_int_equal(c->status, BH_E_STALE);
	assert_null(told_next(t));
}

static void
cancel_asks_a_handler_to_stop(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x");
	struct bh_job *j = take_handler(t, "q");
	struct told *n;

	call_ok(ask_alter(t, id, BH_JOB_CANCEL, "not needed"));
	n = told_next(t);
	assert_non_null(n);
	assert_true(n->cancelled);
	assert_int_equal(n->cb.job, id);
	assert_true(n->token == j->token);
	expect_bytes(n->reason, "not needed");
	assert_null(told_next(t));
	expect_state(t, id, BH_ACTIVE);
	assert_int_equal(finish_fail(t, j, "cancelled", -1), BH_FAILED);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_FAILED);
	expect_prefix(j->error, "cancelled");
}

static void
cancel_is_for_jobs_that_live(void **state)
{
	struct suite_env *t = *state;
	int64_t done, failed;

	put_count(t, "q", 2, NULL);
	done = run_done(t, "q");
	failed = run_final(t, "q", "no");
	assert_int_equal(alter(t, done, BH_JOB_CANCEL, NULL), BH_E_CONFLICT);
	assert_int_equal(alter(t, failed, BH_JOB_CANCEL, NULL),
	    BH_E_CONFLICT);
	assert_int_equal(alter(t, 999999, BH_JOB_CANCEL, NULL),
	    BH_E_NOTFOUND);
	expect_bytes(get_job(t, failed)->error, "no");
}

/* --- bulk --- */

static void
fail_bulk(struct suite_env *t)
{
	struct call *c, *last = NULL;

	put_count(t, "q", BULK, NULL);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = BULK});
	call_ok(c);
	assert_int_equal(c->njobs, BULK);
	for (size_t i = 0; i < c->njobs; i++) {
		last = ask_finish(t, c->jobs[i].id, c->jobs[i].token, BH_FAIL,
		    "answered 503", -1, true);
	}
	call_ok(last);
	suite_settle(t);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], BULK);
}

/* A bulk operation is under way; others must be answered before it. */
static void
expect_others_served_first(struct suite_env *t, struct call *bulk)
{
	struct call *a = ask_put(t, "other", "x", NULL);
	struct call *b = ask_reserve(t, &(struct want){.queue = "other"});

	call_ok(bulk);
	assert_int_equal(bulk->count, BULK);
	call_ok(a);
	call_ok(b);
	assert_int_equal(b->njobs, 1);
	assert_true(a->order < bulk->order);
	assert_true(b->order < bulk->order);
}

static void
bulk_retry_is_sliced(void **state)
{
	struct suite_env *t = *state;

	fail_bulk(t);
	expect_others_served_first(t, ask_queue(t, &(struct bh_queue_alter){
	    .queue = bytes("q"), .action = BH_QUEUE_RETRY}));
	assert_int_equal(stats(t, "q")->count[BH_WAITING], BULK);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 0);
	assert_int_equal(queue_retry(t, "q", 0), 0);
}

static void
bulk_purge_is_sliced(void **state)
{
	struct suite_env *t = *state;

	put_count(t, "q", BULK, NULL);
	put(t, "keep", "x");
	expect_others_served_first(t, ask_queue(t, &(struct bh_queue_alter){
	    .queue = bytes("q"), .action = BH_QUEUE_PURGE,
	    .state = BH_WAITING}));
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 0);
	assert_int_equal(stats(t, "keep")->count[BH_WAITING], 1);
	take_none(t, "q");
	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 0);
}

static void
bulk_purge_of_failed_jobs(void **state)
{
	struct suite_env *t = *state;

	fail_bulk(t);
	assert_int_equal(queue_purge(t, "q", BH_FAILED, 0), BULK);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 0);
}

static void
purge_takes_one_state(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct call *c;

	put_count(t, "q", 3, NULL);
	run_done(t, "q");
	run_final(t, "q", "no");
	assert_non_null(take(t, "q"));
	put_count(t, "q", 2, NULL);
	o.delay_ms = 60000;
	put_count(t, "q", 4, &o);
	assert_int_equal(queue_purge(t, "q", BH_DELAYED, 0), 4);
	assert_int_equal(queue_purge(t, "q", BH_COMPLETED, 0), 1);
	c = ask_queue(t, &(struct bh_queue_alter){.queue = bytes("q"),
	    .action = BH_QUEUE_PURGE, .state = BH_ACTIVE});
	call_wait(c);
	assert_int_not_equal(c->status, BH_OK);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2);
	assert_int_equal(stats(t, "q")->count[BH_ACTIVE], 1);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], 1);
	assert_int_equal(stats(t, "q")->count[BH_DELAYED], 0);
}

static void
bulk_of_an_unused_queue_touches_nothing(void **state)
{
	struct suite_env *t = *state;

	assert_int_equal(queue_retry(t, "q", 0), 0);
	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 0);
}

static void
expiry_of_many_is_complete(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();

	o.expires_ms = 1000;
	put_count(t, "q", BULK, &o);
	suite_pass(t, 1000);
	assert_int_equal(stats(t, "q")->count[BH_FAILED], BULK);
}

const struct suite_case suite_alter_cases[] = {
	CASE(remove_takes_any_but_active_jobs),
	CASE(retry_brings_a_failed_job_back),
	CASE(retry_wakes_a_parked_reserve),
	CASE(retry_is_for_failed_jobs),
	CASE(update_changes_the_payload),
	CASE(update_changes_a_delayed_job),
	CASE(update_changes_nothing_else),
	CASE(update_is_seen_by_whoever_comes_at_once),
	CASE(update_of_two_times_leaves_the_second),
	CASE(cancel_of_a_job_of_next_month_leaves_a_dead_letter),
	CASE(cancel_ends_a_job_that_does_not_run),
	CASE(cancel_ends_a_job_that_a_worker_holds),
	CASE(cancel_asks_a_handler_to_stop),
	CASE(cancel_is_for_jobs_that_live),
	CASE(bulk_retry_is_sliced),
	CASE(bulk_purge_is_sliced),
	CASE(bulk_purge_of_failed_jobs),
	CASE(purge_takes_one_state),
	CASE(bulk_of_an_unused_queue_touches_nothing),
	CASE(expiry_of_many_is_complete),
	{0},
};
