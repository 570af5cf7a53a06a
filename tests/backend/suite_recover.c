/* SPDX-License-Identifier: MIT */
/* Cases: after a restart a job goes on as it would have without one. */
#include "suite.h"

/* --- an outside worker's job keeps its own options --- */

static void
recover_an_active_job_with_one_attempt(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t id;

	o.attempts = 1;
	id = put_with(t, "q", "x", &o);
	j = take_id(t, "q", id);
	suite_reopen(t, 1000);
	assert_int_equal(finish_fail(t, j, "no", -1), BH_FAILED);
	expect_state(t, id, BH_FAILED);
	take_none(t, "q");
}

static void
recover_an_active_job_that_is_not_kept(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t id;

	o.retain_ms = 0;
	id = put_with(t, "q", "x", &o);
	j = take_id(t, "q", id);
	suite_reopen(t, 1000);
	finish_done(t, j, "42");
	expect_gone(t, id);
	assert_int_equal(stats(t, "q")->count[BH_COMPLETED], 0);
}

static void
recover_an_active_job_with_its_back_off(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t id;

	o.backoff_type = BH_BACKOFF_FIXED;
	o.backoff_ms = 7000;
	o.backoff_jitter = 0;
	o.max_stalled = 0;
	o.lease_ms = 5000;
	id = put_with(t, "q", "x", &o);
	j = take_id(t, "q", id);
	suite_reopen(t, 1000);
	assert_int_equal(finish_fail(t, j, "again", -1), BH_DELAYED);
	assert_int_equal(get_job(t, id)->run_at, t->wall + 7000);
	suite_pass(t, 6999);
	take_none(t, "q");
	suite_pass(t, 1);
	take_id(t, "q", id);
	suite_reopen(t, 1000);
	suite_pass(t, 5000);
	expect_state(t, id, BH_FAILED);
}

/* --- a clock that is years behind --- */

/* Restarts in 1970. */
static void
reopen_in_1970(struct suite_env *t)
{
	suite_reopen(t, 5000 - t->wall);
}

static void
recover_in_1970_what_waits(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id = put(t, "q", "x"), grouped, expires;

	grouped = put_group(t, "q", "x", "A");
	o.expires_ms = 60000;
	expires = put_with(t, "e", "x", &o);
	reopen_in_1970(t);
	expect_state(t, id, BH_WAITING);
	expect_state(t, grouped, BH_WAITING);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2);
	finish_done(t, take_id(t, "q", id), NULL);
	finish_done(t, take_id(t, "q", grouped), NULL);
	suite_pass(t, 59999);
	expect_state(t, expires, BH_WAITING);
	suite_pass(t, 1);
	expect_state(t, expires, BH_FAILED);
}

static void
recover_in_1970_what_is_delayed(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t now, delayed, retry, at;

	o.delay_ms = 60000;
	delayed = put_with(t, "q", "x", &o);
	retry = put(t, "q", "x");
	finish_fail(t, take_id(t, "q", retry), "again", 60000);
	o = opts_none();
	o.at = t->wall + 120000;
	at = put_with(t, "at", "x", &o);
	suite_pass(t, 20000);
	queue_hold(t, "held", 60000, "429");
	put(t, "held", "x");
	now = t->wall;
	reopen_in_1970(t);
	take_none(t, "held");
	suite_pass(t, 39999);
	expect_state(t, delayed, BH_DELAYED);
	expect_state(t, retry, BH_DELAYED);
	suite_pass(t, 1);
	expect_state(t, delayed, BH_WAITING);
	expect_state(t, retry, BH_WAITING);
	suite_pass(t, 19999);
	take_none(t, "held");
	suite_pass(t, 1);
	assert_non_null(take(t, "held"));
	/* A time of the wall clock waits until somebody sets it. */
	expect_state(t, at, BH_DELAYED);
	suite_jump(t, now + 100000 - t->wall);
	expect_state(t, at, BH_WAITING);
}

static void
recover_in_1970_what_a_worker_holds(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put(t, "q", "x"), done = put(t, "q", "y");
	struct bh_job *j = take_id(t, "q", id);

	assert_int_equal(run_done(t, "q"), done);
	reopen_in_1970(t);
	suite_pass(t, 29999);
	expect_state(t, id, BH_ACTIVE);
	expect_state(t, done, BH_COMPLETED);
	finish_done(t, j, NULL);
	expect_state(t, id, BH_COMPLETED);
}

/* --- lines and groups --- */

static void
recover_a_head_that_was_snoozed(void **state)
{
	struct suite_env *t = *state;
	int64_t first = put_group(t, "q", "x", "A");
	int64_t second = put_group(t, "q", "x", "A");
	struct bh_job *j = take_id(t, "q", first);

	assert_int_equal(j->attempt, 1);
	suite_pass(t, 10);
	assert_int_equal(finish_release(t, j, 10000), BH_DELAYED);
	take_none(t, "q");
	suite_reopen(t, 1000);
	assert_int_equal(get_job(t, first)->attempt, 0);
	take_none(t, "q");
	assert_int_equal(why(t, second)->gate, BH_GATE_GROUP);
	suite_pass(t, 9000);
	finish_done(t, take_id(t, "q", first), NULL);
	finish_done(t, take_id(t, "q", second), NULL);
}

/* So many have been put, of which the last two were never moved. */
#define LINE 7

static int64_t
put_line(struct suite_env *t, const char *queue, const char *group, int i,
    int64_t delay_ms, const char *payload)
{
	char key[2] = {(char)('0' + i), '\0'};
	struct bh_job_opts o = opts_none();

	suite_pass(t, 10);
	o.group = bytes(group);
	o.unique = bytes(key);
	o.unique_mode = BH_UNIQUE_REPLACE;
	o.delay_ms = delay_ms;
	return put_with(t, queue, payload, &o);
}

/* Moves jobs about in all ways that there are. */
static void
make_line(struct suite_env *t, const char *queue, const char *group,
    int64_t ids[LINE])
{
	struct bh_job *j;

	for (int i = 0; i < LINE; i++)
		ids[i] = put_line(t, queue, group, i, i == 0 || i == 5
		    ? 60000 : -1, "x");
	suite_pass(t, 10);
	alter_ok(t, ids[0], BH_JOB_PROMOTE);
	put_line(t, queue, group, 1, -1, "waiting, replaced");
	put_line(t, queue, group, 5, -1, "delayed, replaced");
	put_line(t, queue, group, 3, 5000, "waiting, delayed");
	suite_pass(t, 10);
	j = take(t, queue);
	suite_pass(t, 10);
	finish_release(t, j, -1);
	put_line(t, queue, group, 3, -1, "and replaced again");
	suite_pass(t, 10);
}

/* Which of the ids come out, in order. */
static void
drain_line(struct suite_env *t, const char *queue, const int64_t ids[LINE],
    int order[LINE])
{
	for (int n = 0; n < LINE; n++) {
		struct bh_job *j = take(t, queue);

		assert_non_null(j);
		for (order[n] = 0; order[n] < LINE; order[n]++)
			if (ids[order[n]] == j->id)
				break;
		assert_true(order[n] < LINE);
		finish_done(t, j, NULL);
	}
	take_none(t, queue);
}

static void
expect_same_line(struct suite_env *t, const char *group)
{
	static const int want[LINE] = {2, 4, 6, 0, 1, 5, 3};
	int before[LINE], after[LINE];
	int64_t m[LINE], r[LINE];

	make_line(t, "m", group, m);
	make_line(t, "r", group, r);
	drain_line(t, "m", m, before);
	suite_reopen(t, 1000);
	drain_line(t, "r", r, after);
	for (int i = 0; i < LINE; i++) {
		assert_int_equal(before[i], want[i]);
		assert_int_equal(after[i], want[i]);
	}
}

static void
recover_the_order_of_jobs_that_were_moved(void **state)
{
	expect_same_line(*state, "");
}

static void
recover_the_line_of_a_group_whose_jobs_were_moved(void **state)
{
	expect_same_line(*state, "A");
}

static void
recover_a_retry_that_was_replaced(void **state)
{
	struct suite_env *t = *state;
	int64_t first = put_line(t, "q", "A", 1, -1, "x"), second;

	finish_fail(t, take_id(t, "q", first), "again", 5000);
	assert_int_equal(put_line(t, "q", "A", 1, 60000, "y"), first);
	suite_reopen(t, 1000);
	/* It has lost its place, and so it holds nobody. */
	second = put_line(t, "q", "A", 2, -1, "x");
	finish_done(t, take_id(t, "q", second), NULL);
	suite_pass(t, 60000);
	expect_bytes(take_id(t, "q", first)->payload, "y");
}

/* --- unique keys --- */

static struct call *
ask_key(struct suite_env *t, int64_t ttl_ms)
{
	struct bh_job_opts o = opts_none();
	struct call *c;

	o.unique = bytes("k");
	o.unique_ttl_ms = ttl_ms;
	c = ask_put(t, "q", "x", &o);
	call_ok(c);
	return c;
}

static void
expect_owner(struct suite_env *t, int64_t id)
{
	struct call *c = ask_key(t, -1);

	assert_true(c->duplicate);
	assert_int_equal(c->ids[0], id);
}

static void
recover_a_key_whose_time_has_passed(void **state)
{
	struct suite_env *t = *state;
	int64_t old = ask_key(t, 1000)->ids[0], owner;

	suite_pass(t, 1000);
	owner = ask_key(t, -1)->ids[0];
	assert_true(owner > old);
	suite_reopen(t, 1000);
	expect_owner(t, owner);
	finish_done(t, take_id(t, "q", old), NULL);
	expect_owner(t, owner);
	finish_done(t, take_id(t, "q", owner), NULL);
	assert_false(ask_key(t, -1)->duplicate);
}

static void
recover_a_key_that_an_older_job_has(void **state)
{
	struct suite_env *t = *state;
	int64_t owner = ask_key(t, -1)->ids[0], young;

	assert_int_equal(run_final(t, "q", "no"), owner);
	young = ask_key(t, 1000)->ids[0];
	suite_pass(t, 1000);
	alter_ok(t, owner, BH_JOB_RETRY);
	expect_owner(t, owner);
	suite_reopen(t, 1000);
	expect_owner(t, owner);
	finish_done(t, take_id(t, "q", young), NULL);
	expect_owner(t, owner);
}

static void
recover_a_follow_up_that_gave_its_key_back(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id = ask_key(t, -1)->ids[0], next;
	struct bh_job *j = take_id(t, "q", id);

	o.unique = bytes("k");
	o.unique_mode = BH_UNIQUE_FOLLOW;
	next = put_with(t, "q", "y", &o);
	assert_true(next > id);
	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 1);
	suite_reopen(t, 1000);
	expect_gone(t, next);
	expect_owner(t, id);
	finish_done(t, j, NULL);
	take_none(t, "q");
}

/* --- a failure is answered when it is on the disk --- */

static void
set_morgue(struct suite_env *t)
{
	struct bh_queue_opts q = queue_none();

	snprintf(q.dead_letter, sizeof(q.dead_letter), "%s", "morgue");
	set_options(t, "q", &q);
}

static void
expect_dead(struct suite_env *t, int64_t id)
{
	struct bh_job *dead;

	suite_crash_now(t);
	expect_state(t, id, BH_FAILED);
	dead = take(t, "morgue");
	assert_non_null(dead);
	expect_bytes(dead->payload, "the payload");
	take_none(t, "q");
}

static void
recover_a_cold_failure_that_was_answered(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	struct call *c;
	int64_t id;

	set_morgue(t);
	id = put(t, "q", "the payload");
	put_filler(t);
	j = take_id(t, "q", id);
	c = ask_finish(t, id, j->token, BH_FAIL, "no", -1, true);
	call_ok(c);
	assert_int_equal(c->state, BH_FAILED);
	expect_dead(t, id);
	expect_bytes(get_job(t, id)->error, "no");
	assert_int_equal(get_job(t, id)->nerrors, 1);
	expect_bytes(get_job(t, id)->errors[0].version, "v1");
}

static void
recover_a_failure_of_a_worker_that_outlived_us(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id;

	set_morgue(t);
	id = put(t, "q", "the payload");
	j = take_id(t, "q", id);
	suite_crash(t, 0);
	call_ok(ask_finish(t, id, j->token, BH_FAIL, "no", -1, true));
	expect_dead(t, id);
}

static void
recover_a_cold_cancel_that_was_answered(void **state)
{
	struct suite_env *t = *state;
	int64_t id;

	set_morgue(t);
	id = put(t, "q", "the payload");
	put_filler(t);
	call_ok(ask_alter(t, id, BH_JOB_CANCEL, "not needed"));
	expect_dead(t, id);
	expect_prefix(get_job(t, id)->error, "cancelled");
}

const struct suite_case suite_recover_cases[] = {
	CASE_STORAGE(recover_an_active_job_with_one_attempt),
	CASE_STORAGE(recover_an_active_job_that_is_not_kept),
	CASE_STORAGE(recover_an_active_job_with_its_back_off),
	CASE_STORAGE(recover_in_1970_what_waits),
	CASE_STORAGE(recover_in_1970_what_is_delayed),
	CASE_STORAGE(recover_in_1970_what_a_worker_holds),
	CASE_STORAGE(recover_a_head_that_was_snoozed),
	CASE_STORAGE(recover_the_order_of_jobs_that_were_moved),
	CASE_STORAGE(recover_the_line_of_a_group_whose_jobs_were_moved),
	CASE_STORAGE(recover_a_retry_that_was_replaced),
	CASE_STORAGE(recover_a_key_whose_time_has_passed),
	CASE_STORAGE(recover_a_key_that_an_older_job_has),
	CASE_STORAGE(recover_a_follow_up_that_gave_its_key_back),
	CASE_CRASH(recover_a_cold_failure_that_was_answered),
	CASE_CRASH(recover_a_failure_of_a_worker_that_outlived_us),
	CASE_CRASH(recover_a_cold_cancel_that_was_answered),
	{0},
};
