/* SPDX-License-Identifier: MIT */
/* Cases: unique keys. */
#include "suite.h"

/* Puts under key "k"; whether it was a duplicate. */
static bool
put_unique(struct suite_env *t, const char *queue, const char *payload,
    enum bh_unique_mode mode, int64_t *id)
{
	struct bh_job_opts o = opts_none();
	struct call *c;

	o.unique = bytes("k");
	o.unique_mode = (int8_t)mode;
	c = ask_put(t, queue, payload, &o);
	call_ok(c);
	*id = c->ids[0];
	return c->duplicate;
}

static int64_t
put_new(struct suite_env *t, const char *queue, const char *payload)
{
	int64_t id;

	assert_false(put_unique(t, queue, payload, BH_UNIQUE_KEEP, &id));
	return id;
}

static void
expect_duplicate(struct suite_env *t, const char *queue, const char *payload,
    enum bh_unique_mode mode, int64_t id)
{
	int64_t got;

	assert_true(put_unique(t, queue, payload, mode, &got));
	assert_int_equal(got, id);
}

static void
keep_answers_with_the_waiting_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	expect_duplicate(t, "q", "second", BH_UNIQUE_KEEP, id);
	expect_bytes(get_job(t, id)->payload, "first");
	take_id(t, "q", id);
	take_none(t, "q");
}

static void
keep_is_what_is_not_said(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id = put_new(t, "q", "first");
	struct call *c;

	o.unique = bytes("k");
	c = ask_put(t, "q", "second", &o);
	call_ok(c);
	assert_true(c->duplicate);
	assert_int_equal(c->ids[0], id);
	expect_bytes(get_job(t, id)->payload, "first");
}

static void
a_cold_job_holds_its_key(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	put_filler(t);
	expect_duplicate(t, "q", "second", BH_UNIQUE_KEEP, id);
	expect_bytes(get_job(t, id)->payload, "first");
	expect_bytes(get_job(t, id)->unique, "k");
	expect_duplicate(t, "q", "third", BH_UNIQUE_REPLACE, id);
	expect_bytes(get_job(t, id)->payload, "third");
	put_filler(t);
	expect_bytes(take_id(t, "q", id)->payload, "third");
}

static void
keep_answers_with_the_active_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	take_id(t, "q", id);
	expect_duplicate(t, "q", "second", BH_UNIQUE_KEEP, id);
	take_none(t, "q");
}

static void
keep_answers_with_the_job_that_will_be_retried(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	finish_fail(t, take_id(t, "q", id), "again", 1000);
	expect_duplicate(t, "q", "second", BH_UNIQUE_KEEP, id);
	suite_pass(t, 1000);
	expect_duplicate(t, "q", "third", BH_UNIQUE_KEEP, id);
}

static void
keys_belong_to_one_queue(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();

	put_new(t, "q", "x");
	put_new(t, "p", "x");
	o.unique = bytes("K");
	assert_true(put_with(t, "q", "x", &o) > 0);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2);
}

static void
a_completed_job_frees_its_key(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	finish_done(t, take_id(t, "q", id), NULL);
	assert_true(put_new(t, "q", "second") > id);
}

static void
a_failed_job_frees_its_key(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	finish_final(t, take_id(t, "q", id), "no");
	assert_true(put_new(t, "q", "second") > id);
}

static void
a_removed_job_frees_its_key(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	alter_ok(t, id, BH_JOB_REMOVE);
	assert_true(put_new(t, "q", "second") > id);
}

static void
a_purged_job_frees_its_key(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 1);
	assert_true(put_new(t, "q", "second") > id);
}

static void
a_cancelled_job_frees_its_key(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	alter_ok(t, id, BH_JOB_CANCEL);
	assert_true(put_new(t, "q", "second") > id);
}

static void
an_expired_job_frees_its_key(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.unique = bytes("k");
	o.expires_ms = 1000;
	id = put_with(t, "q", "first", &o);
	suite_pass(t, 999);
	expect_duplicate(t, "q", "second", BH_UNIQUE_KEEP, id);
	suite_pass(t, 1);
	assert_true(put_new(t, "q", "third") > id);
}

static void
unique_ttl_frees_it_earlier(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id, newer;

	o.unique = bytes("k");
	o.unique_ttl_ms = 1000;
	id = put_with(t, "q", "first", &o);
	suite_pass(t, 999);
	expect_duplicate(t, "q", "second", BH_UNIQUE_KEEP, id);
	suite_pass(t, 1);
	newer = put_new(t, "q", "third");
	assert_true(newer > id);
	expect_bytes(get_job(t, id)->payload, "first");
	/* The key is the newer one's now, whatever becomes of the first. */
	finish_done(t, take_id(t, "q", id), NULL);
	expect_duplicate(t, "q", "fourth", BH_UNIQUE_KEEP, newer);
}

static void
unique_ttl_may_run_out_while_active(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id, newer;

	o.unique = bytes("k");
	o.unique_ttl_ms = 1000;
	id = put_with(t, "q", "first", &o);
	take_id(t, "q", id);
	suite_pass(t, 1000);
	newer = put_new(t, "q", "second");
	assert_true(newer > id);
	take_id(t, "q", newer);
}

static void
replace_changes_the_waiting_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	expect_duplicate(t, "q", "second", BH_UNIQUE_REPLACE, id);
	expect_duplicate(t, "q", "third", BH_UNIQUE_REPLACE, id);
	expect_bytes(take_id(t, "q", id)->payload, "third");
	take_none(t, "q");
}

static void
replace_restarts_the_delay(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id;

	o.unique = bytes("k");
	o.unique_mode = BH_UNIQUE_REPLACE;
	o.delay_ms = 1000;
	id = put_with(t, "q", "first", &o);
	suite_pass(t, 600);
	assert_int_equal(put_with(t, "q", "second", &o), id);
	assert_int_equal(get_job(t, id)->run_at, t->wall + 1000);
	suite_pass(t, 999);
	expect_state(t, id, BH_DELAYED);
	suite_pass(t, 1);
	expect_bytes(take_id(t, "q", id)->payload, "second");
}

static void
replace_may_make_it_wait_or_run(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	int64_t id = put_new(t, "q", "first");

	o.unique = bytes("k");
	o.unique_mode = BH_UNIQUE_REPLACE;
	o.delay_ms = 1000;
	assert_int_equal(put_with(t, "q", "second", &o), id);
	expect_state(t, id, BH_DELAYED);
	take_none(t, "q");
	o.delay_ms = -1;
	assert_int_equal(put_with(t, "q", "third", &o), id);
	expect_bytes(take_id(t, "q", id)->payload, "third");
}

static int64_t
replace_expiring(struct suite_env *t, const char *payload, int64_t ms)
{
	struct bh_job_opts o = opts_none();

	o.unique = bytes("k");
	o.unique_mode = BH_UNIQUE_REPLACE;
	o.expires_ms = ms;
	return put_with(t, "q", payload, &o);
}

static void
replace_moves_the_expiry(void **state)
{
	struct suite_env *t = *state;
	int64_t id = replace_expiring(t, "first", 1000);

	suite_pass(t, 500);
	assert_int_equal(replace_expiring(t, "second", 2000), id);
	assert_int_equal(get_job(t, id)->expires_at, t->wall + 2000);
	suite_pass(t, 1999);
	expect_state(t, id, BH_WAITING);
	assert_int_equal(replace_expiring(t, "third", 100), id);
	suite_pass(t, 99);
	expect_state(t, id, BH_WAITING);
	suite_pass(t, 1);
	expect_state(t, id, BH_FAILED);
	expect_bytes(get_job(t, id)->error, "expired");
}

static void
replace_gives_an_expiry(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	assert_int_equal(replace_expiring(t, "second", 1000), id);
	suite_pass(t, 999);
	expect_state(t, id, BH_WAITING);
	suite_pass(t, 1);
	expect_state(t, id, BH_FAILED);
}

static void
replace_goes_to_the_end_of_the_line(void **state)
{
	struct suite_env *t = *state;
	int64_t first = put_new(t, "q", "first"), second, got;

	suite_pass(t, 10);
	second = put(t, "q", "second");
	suite_pass(t, 10);
	put_unique(t, "q", "third", BH_UNIQUE_REPLACE, &got);
	assert_int_equal(got, first);
	take_id(t, "q", second);
	take_id(t, "q", first);
}

static void
replace_keeps_an_active_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");
	struct bh_job *j = take_id(t, "q", id);

	expect_duplicate(t, "q", "second", BH_UNIQUE_REPLACE, id);
	expect_bytes(get_job(t, id)->payload, "first");
	finish_done(t, j, NULL);
	take_none(t, "q");
}

static void
follow_changes_the_waiting_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first");

	expect_duplicate(t, "q", "second", BH_UNIQUE_FOLLOW, id);
	expect_bytes(take_id(t, "q", id)->payload, "second");
	take_none(t, "q");
}

static void
follow_waits_for_the_active_job(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first"), next, last;
	struct bh_job *j = take_id(t, "q", id);
	struct bh_why *w;

	put_unique(t, "q", "second", BH_UNIQUE_FOLLOW, &next);
	assert_true(next > id);
	take_none(t, "q");
	w = why(t, next);
	assert_int_equal(w->gate, BH_GATE_UNIQUE);
	assert_int_equal(w->ahead, id);
	/* Of several only the newest stays. */
	put_unique(t, "q", "third", BH_UNIQUE_FOLLOW, &last);
	assert_true(last != id);
	finish_done(t, j, NULL);
	j = take_id(t, "q", last);
	expect_bytes(j->payload, "third");
	take_none(t, "q");
	finish_done(t, j, NULL);
	take_none(t, "q");
}

static void
follow_waits_through_retries(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first"), next;
	struct bh_job *j = take_id(t, "q", id);

	put_unique(t, "q", "second", BH_UNIQUE_FOLLOW, &next);
	finish_fail(t, j, "again", 1000);
	take_none(t, "q");
	suite_pass(t, 1000);
	j = take_id(t, "q", id);
	take_none(t, "q");
	finish_final(t, j, "no");
	take_id(t, "q", next);
}

static void
follow_wakes_a_parked_reserve(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first"), next;
	struct bh_job *j = take_id(t, "q", id);
	struct call *c;

	put_unique(t, "q", "second", BH_UNIQUE_FOLLOW, &next);
	c = ask_reserve(t, &(struct want){.queue = "q", .wait = true});
	assert_false(call_answered(c));
	finish_done(t, j, NULL);
	call_ok(c);
	assert_int_equal(c->njobs, 1);
	assert_int_equal(c->jobs->id, next);
}

static void
follow_has_its_turn_when_the_first_is_removed(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first"), next;
	struct bh_job *j = take_id(t, "q", id);

	put_unique(t, "q", "second", BH_UNIQUE_FOLLOW, &next);
	finish_fail(t, j, "again", 60000);
	alter_ok(t, id, BH_JOB_REMOVE);
	take_id(t, "q", next);
}

/* An active job and the one that follows it; the active one is returned. */
static struct bh_job *
start_and_follow(struct suite_env *t, int64_t *next)
{
	struct bh_job *j = take_id(t, "q", put_new(t, "q", "first"));

	put_unique(t, "q", "second", BH_UNIQUE_FOLLOW, next);
	assert_true(*next != j->id);
	return j;
}

static void
a_follow_up_that_is_purged_gives_the_key_back(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t next, third;

	j = start_and_follow(t, &next);
	third = put(t, "q", "third");
	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 2);
	expect_gone(t, next);
	expect_gone(t, third);
	expect_duplicate(t, "q", "fourth", BH_UNIQUE_KEEP, j->id);
	finish_done(t, j, NULL);
	take_none(t, "q");
	assert_true(put_new(t, "q", "fifth") > third);
}

static void
a_follow_up_that_is_removed_gives_the_key_back(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t next, last;

	j = start_and_follow(t, &next);
	alter_ok(t, next, BH_JOB_REMOVE);
	expect_duplicate(t, "q", "third", BH_UNIQUE_KEEP, j->id);
	put_unique(t, "q", "fourth", BH_UNIQUE_FOLLOW, &last);
	assert_true(last > next);
	alter_ok(t, last, BH_JOB_CANCEL);
	expect_duplicate(t, "q", "fifth", BH_UNIQUE_KEEP, j->id);
	finish_done(t, j, NULL);
	take_none(t, "q");
	put_new(t, "q", "sixth");
}

static void
retry_conflicts_with_a_key_held_by_another(void **state)
{
	struct suite_env *t = *state;
	int64_t id = put_new(t, "q", "first"), newer;

	finish_final(t, take_id(t, "q", id), "no");
	newer = put_new(t, "q", "second");
	assert_int_equal(alter(t, id, BH_JOB_RETRY, NULL), BH_E_CONFLICT);
	expect_state(t, id, BH_FAILED);
	finish_done(t, take_id(t, "q", newer), NULL);
	alter_ok(t, id, BH_JOB_RETRY);
	expect_duplicate(t, "q", "third", BH_UNIQUE_KEEP, id);
}

const struct suite_case suite_unique_cases[] = {
	CASE(keep_answers_with_the_waiting_job),
	CASE(keep_is_what_is_not_said),
	CASE(a_cold_job_holds_its_key),
	CASE(keep_answers_with_the_active_job),
	CASE(keep_answers_with_the_job_that_will_be_retried),
	CASE(keys_belong_to_one_queue),
	CASE(a_completed_job_frees_its_key),
	CASE(a_failed_job_frees_its_key),
	CASE(a_removed_job_frees_its_key),
	CASE(a_purged_job_frees_its_key),
	CASE(a_cancelled_job_frees_its_key),
	CASE(an_expired_job_frees_its_key),
	CASE(unique_ttl_frees_it_earlier),
	CASE(unique_ttl_may_run_out_while_active),
	CASE(replace_changes_the_waiting_job),
	CASE(replace_restarts_the_delay),
	CASE(replace_may_make_it_wait_or_run),
	CASE(replace_moves_the_expiry),
	CASE(replace_gives_an_expiry),
	CASE(replace_goes_to_the_end_of_the_line),
	CASE(replace_keeps_an_active_job),
	CASE(follow_changes_the_waiting_job),
	CASE(follow_waits_for_the_active_job),
	CASE(follow_waits_through_retries),
	CASE(follow_wakes_a_parked_reserve),
	CASE(follow_has_its_turn_when_the_first_is_removed),
	CASE(a_follow_up_that_is_purged_gives_the_key_back),
	CASE(a_follow_up_that_is_removed_gives_the_key_back),
	CASE(retry_conflicts_with_a_key_held_by_another),
	{0},
};
