/* SPDX-License-Identifier: MIT */
/* Cases: what job:step() and job:sleep() keep. */
#include "suite.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/xalloc.h"

static void
step(struct suite_env *t, const struct bh_job *j, const char *name,
    const char *value)
{
	call_ok(ask_step(t, j->id, j->token, name, value));
}

static int
step_status(struct suite_env *t, const struct bh_job *j, const char *name,
    const char *value)
{
	struct call *c = ask_step(t, j->id, j->token, name, value);

	call_wait(c);
	return c->status;
}

static void
go_to_sleep(struct suite_env *t, const struct bh_job *j, const char *name,
    int64_t ms)
{
	struct call *c = ask_sleep(t, j->id, j->token, name, ms);

	call_ok(c);
	assert_int_equal(c->state, ms > 0 ? BH_DELAYED : BH_WAITING);
}

/* names is NULL-ended, values beside it; NULL is a sleep. */
static void
expect_steps(const struct bh_job *j, const char *const (*want)[2])
{
	size_t n = 0;

	for (; want[n][0]; n++) {
		assert_true(n < j->nsteps);
		expect_bytes(j->steps[n].name, want[n][0]);
		if (want[n][1])
			expect_bytes(j->steps[n].value, want[n][1]);
		else
			assert_null(j->steps[n].value.data);
	}
	assert_int_equal(j->nsteps, n);
}

#define EXPECT_STEPS(j, ...) \
	expect_steps(j, (const char *const[][2]){__VA_ARGS__, {NULL, NULL}})

static void
steps_come_back_at_the_next_claim(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;

	put(t, "q", "x");
	j = take_handler(t, "q");
	assert_int_equal(j->nsteps, 0);
	step(t, j, "one", "{\"a\":1}");
	step(t, j, "two", "null");
	step(t, j, "three", "");
	finish_fail(t, j, "no", 0);
	j = take_handler(t, "q");
	EXPECT_STEPS(j, {"one", "{\"a\":1}"}, {"two", "null"}, {"three", ""});
	expect_bytes(j->payload, "x");
	step(t, j, "four", "4");
	finish_release(t, j, 0);
	j = take_handler(t, "q");
	EXPECT_STEPS(j, {"one", "{\"a\":1}"}, {"two", "null"}, {"three", ""},
	    {"four", "4"});
}

static void
steps_come_back_with_a_cold_payload(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;

	put(t, "q", "x");
	j = take_handler(t, "q");
	step(t, j, "one", "1");
	go_to_sleep(t, j, "nap", 60000);
	put_filler(t);
	suite_pass(t, 60000);
	j = take_handler(t, "q");
	expect_bytes(j->payload, "x");
	EXPECT_STEPS(j, {"one", "1"}, {"nap", NULL});
	finish_done(t, j, "ok");
}

static void
steps_are_of_one_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *a, *b;
	struct call *c;

	put_count(t, "q", 2, NULL);
	a = take_handler(t, "q");
	b = take_handler(t, "q");
	step(t, a, "same", "1");
	step(t, b, "same", "2");
	finish_fail(t, a, "no", 0);
	finish_fail(t, b, "no", 0);
	c = ask_reserve(t, &(struct want){.queue = "q", .count = 3,
	    .handler = true});
	call_ok(c);
	assert_int_equal(c->njobs, 2);
	for (size_t i = 0; i < 2; i++)
		EXPECT_STEPS(&c->jobs[i],
		    {"same", c->jobs[i].id == a->id ? "1" : "2"});
}

static void
step_that_is_there_is_a_conflict(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	struct call *c;

	put(t, "q", "x");
	j = take_handler(t, "q");
	step(t, j, "one", "1");
	assert_int_equal(step_status(t, j, "one", "2"), BH_E_CONFLICT);
	finish_fail(t, j, "no", 0);
	j = take_handler(t, "q");
	assert_int_equal(step_status(t, j, "one", "3"), BH_E_CONFLICT);
	c = ask_sleep(t, j->id, j->token, "one", 1000);
	call_wait(c);
	assert_int_equal(c->status, BH_E_CONFLICT);
	expect_state(t, j->id, BH_ACTIVE);
	finish_fail(t, j, "no", 0);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"});
}

static void
step_of_a_lost_attempt_is_stale(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j, *next;

	put(t, "q", "x");
	j = take_handler(t, "q");
	finish_fail(t, j, "no", 0);
	assert_int_equal(step_status(t, j, "late", "1"), BH_E_STALE);
	next = take_handler(t, "q");
	assert_int_equal(step_status(t, j, "late", "1"), BH_E_STALE);
	assert_int_equal(next->nsteps, 0);
	finish_done(t, next, NULL);
	assert_int_equal(step_status(t, next, "late", "1"), BH_E_STALE);
}

static void
sleep_gives_the_start_back(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j, *seen;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	assert_int_equal(j->attempt, 1);
	go_to_sleep(t, j, "nap", 3600000);
	seen = get_job(t, id);
	assert_int_equal(seen->state, BH_DELAYED);
	assert_int_equal(seen->attempt, 0);
	assert_int_equal(seen->run_at, t->wall + 3600000);
	take_none(t, "q");
	suite_pass(t, 3599000);
	take_none(t, "q");
	suite_pass(t, 1000);
	j = take_handler(t, "q");
	assert_int_equal(j->id, id);
	assert_int_equal(j->attempt, 1);
	assert_int_equal(j->error_count, 0);
	EXPECT_STEPS(j, {"nap", NULL});
}

static void
promote_ends_a_sleep(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	go_to_sleep(t, j, "nap", 3600000);
	alter_ok(t, id, BH_JOB_PROMOTE);
	j = take_handler(t, "q");
	EXPECT_STEPS(j, {"nap", NULL});
}

static void
cancel_ends_a_sleeping_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	step(t, j, "one", "1");
	go_to_sleep(t, j, "nap", 3600000);
	alter_ok(t, id, BH_JOB_CANCEL);
	j = get_job(t, id);
	assert_int_equal(j->state, BH_FAILED);
	expect_prefix(j->error, "cancelled");
	alter_ok(t, id, BH_JOB_RETRY);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"}, {"nap", NULL});
}

static void
retry_keeps_steps_and_fresh_forgets_them(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	step(t, j, "one", "1");
	finish_final(t, j, "no");
	alter_ok(t, id, BH_JOB_RETRY);
	j = take_handler(t, "q");
	EXPECT_STEPS(j, {"one", "1"});
	finish_final(t, j, "no");
	call_ok(ask_fresh(t, id));
	j = take_handler(t, "q");
	assert_int_equal(j->nsteps, 0);
	step(t, j, "one", "again");
	finish_fail(t, j, "no", 0);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "again"});
}

static void
retry_of_a_queue_keeps_steps(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;

	put(t, "q", "x");
	j = take_handler(t, "q");
	step(t, j, "one", "1");
	finish_final(t, j, "no");
	assert_int_equal(queue_retry(t, "q", 0), 1);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"});
}

static void
worker_from_outside_gets_no_steps(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;

	put(t, "q", "x");
	j = take_handler(t, "q");
	step(t, j, "one", "1");
	finish_fail(t, j, "no", 0);
	j = take(t, "q");
	assert_int_equal(j->nsteps, 0);
	assert_int_equal(step_status(t, j, "one", "2"), BH_E_CONFLICT);
	finish_release(t, j, 0);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"});
}

static void
step_extends_and_tells_progress_too(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	step(t, j, "one", "1");
	call_ok(ask_extend(t, id, j->token, 90000, "half"));
	expect_bytes(get_job(t, id)->progress, "half");
	suite_pass(t, 80000);
	finish_fail(t, j, "no", 0);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"});
}

static void
steps_have_limits(void **state)
{
	struct suite_env *t = *state;
	char name[300];
	struct bh_job *j;
	struct call *last = NULL;

	put(t, "q", "x");
	j = take_handler(t, "q");
	memset(name, 'n', sizeof(name));
	name[BH_STEP_NAME_MAX + 1] = '\0';
	assert_int_equal(step_status(t, j, name, "1"), BH_E_TOOBIG);
	name[BH_STEP_NAME_MAX] = '\0';
	assert_int_equal(step_status(t, j, name, "1"), BH_OK);
	for (int i = 1; i < BH_STEPS_MAX; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		last = ask_step(t, j->id, j->token, name, "1");
	}
	call_ok(last);
	assert_int_equal(step_status(t, j, "more", "1"), BH_E_TOOBIG);
	last = ask_sleep(t, j->id, j->token, "more", 10);
	call_wait(last);
	assert_int_equal(last->status, BH_E_TOOBIG);
	finish_fail(t, j, "no", 0);
	j = take_handler(t, "q");
	assert_int_equal(j->nsteps, BH_STEPS_MAX);
	assert_int_equal(step_status(t, j, "more", "1"), BH_E_TOOBIG);
}

static void
steps_together_have_a_limit(void **state)
{
	struct suite_env *t = *state;
	size_t size = BH_STEPS_BYTES / 2;
	char *big = xmalloc(size + 1);
	struct bh_job *j;

	memset(big, '1', size);
	big[size] = '\0';
	put(t, "q", "x");
	j = take_handler(t, "q");
	step(t, j, "one", big);
	assert_int_equal(step_status(t, j, "two", big), BH_E_TOOBIG);
	step(t, j, "small", "1");
	finish_fail(t, j, "no", 0);
	j = take_handler(t, "q");
	assert_int_equal(j->nsteps, 2);
	assert_int_equal(j->steps[0].value.len, size);
	assert_int_equal(step_status(t, j, "two", big), BH_E_TOOBIG);
	free(big);
}

static void
sleeping_job_keeps_its_place_in_its_group(void **state)
{
	struct suite_env *t = *state;
	int64_t first = put_group(t, "q", "1", "g");
	int64_t second = put_group(t, "q", "2", "g");
	struct bh_job *j = take_handler(t, "q");

	assert_int_equal(j->id, first);
	go_to_sleep(t, j, "nap", 5000);
	take_none(t, "q");
	suite_pass(t, 5000);
	j = take_handler(t, "q");
	assert_int_equal(j->id, first);
	finish_done(t, j, NULL);
	assert_int_equal(take_handler(t, "q")->id, second);
}

static void
sleeping_job_does_not_expire(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_job *j;
	int64_t id;

	o.expires_ms = 1000;
	id = put_with(t, "q", "x", &o);
	j = take_handler(t, "q");
	go_to_sleep(t, j, "nap", 60000);
	suite_pass(t, 61000);
	expect_state(t, id, BH_WAITING);
	suite_pass(t, 5000);
	assert_int_equal(take_handler(t, "q")->id, id);
}

static void
reopen_keeps_steps_and_sleeps(void **state)
{
	struct suite_env *t = *state;
	int64_t first = put_group(t, "q", "1", "g"), id;
	struct bh_job_opts o = opts_none();
	struct bh_job *j = take_handler(t, "q");

	step(t, j, "one", "[1,2]");
	go_to_sleep(t, j, "nap", 60000);
	put_group(t, "q", "2", "g");
	o.expires_ms = 1000;
	id = put_with(t, "p", "x", &o);
	go_to_sleep(t, take_handler(t, "p"), "nap", 30000);
	suite_reopen(t, 10000);
	take_none(t, "q");
	suite_pass(t, 49999);
	take_none(t, "q");
	suite_pass(t, 1);
	j = take_handler(t, "q");
	assert_int_equal(j->id, first);
	EXPECT_STEPS(j, {"one", "[1,2]"}, {"nap", NULL});
	expect_state(t, id, BH_WAITING);
	suite_reopen(t, 10000);
	j = take_handler(t, "p");
	assert_int_equal(j->id, id);
	EXPECT_STEPS(j, {"nap", NULL});
}

static void
reopen_frees_a_handlers_job_with_its_steps(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	step(t, j, "one", "1");
	suite_crash(t, 10);
	j = take_handler(t, "q");
	assert_int_equal(j->id, id);
	EXPECT_STEPS(j, {"one", "1"});
	step(t, j, "two", "2");
	finish_final(t, j, "no");
	suite_reopen(t, 10);
	alter_ok(t, id, BH_JOB_RETRY);
	suite_reopen(t, 10);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"}, {"two", "2"});
}

static void
reopen_knows_the_steps_of_an_outside_workers_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;

	put(t, "q", "x");
	j = take_handler(t, "q");
	step(t, j, "one", "1");
	finish_fail(t, j, "no", 0);
	j = take(t, "q");
	suite_reopen(t, 10);
	assert_int_equal(step_status(t, j, "one", "2"), BH_E_CONFLICT);
	step(t, j, "two", "2");
	finish_release(t, j, 0);
	EXPECT_STEPS(take_handler(t, "q"), {"one", "1"}, {"two", "2"});
}

static void
reopen_after_fresh_finds_no_steps(void **state)
{
	struct suite_env *t = *state;
	struct bh_job *j;
	int64_t id = put(t, "q", "x");

	j = take_handler(t, "q");
	step(t, j, "one", "1");
	finish_final(t, j, "no");
	suite_reopen(t, 10);
	call_ok(ask_fresh(t, id));
	suite_reopen(t, 10);
	assert_int_equal(take_handler(t, "q")->nsteps, 0);
}

/* --- a storm: what was answered is there, in order, also over crashes --- */

enum { STORM_JOBS = 20, STORM_ROUNDS = 400, STORM_STEPS = 40 };

struct model {
	int64_t id;
	int nsteps;
};

static uint64_t
roll(uint64_t *seed, uint64_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % n;
}

static struct model *
model_of(struct model *all, int64_t id)
{
	for (int i = 0; i < STORM_JOBS; i++)
		if (all[i].id == id)
			return &all[i];
	fail_msg("job %" PRId64 " was never put", id);
	return NULL;
}

static void
expect_model(const struct bh_job *j, const struct model *m)
{
	char name[24];

	assert_int_equal(j->nsteps, m->nsteps);
	for (size_t i = 0; i < j->nsteps; i++) {
		snprintf(name, sizeof(name), "s%zu", i);
		expect_bytes(j->steps[i].name, name);
		if (j->steps[i].value.data)
			expect_bytes(j->steps[i].value, name);
	}
}

/* One claim: some steps, then one of the ways to end. */
static void
storm_run(struct suite_env *t, struct model *all, uint64_t *seed,
    struct bh_job *j)
{
	struct model *m = model_of(all, j->id);
	char name[24];

	expect_model(j, m);
	for (uint64_t n = roll(seed, 4); n > 0; n--) {
		snprintf(name, sizeof(name), "s%d", m->nsteps++);
		step(t, j, name, name);
	}
	snprintf(name, sizeof(name), "s%d", m->nsteps);
	switch (roll(seed, 5)) {
	case 0:
		m->nsteps++;
		go_to_sleep(t, j, name, 1 + (int64_t)roll(seed, 3000));
		break;
	case 1:
		finish_fail(t, j, "no", (int64_t)roll(seed, 2000));
		break;
	case 2:
		finish_final(t, j, "no");
		if (m->nsteps > STORM_STEPS || roll(seed, 4) == 0) {
			call_ok(ask_fresh(t, j->id));
			m->nsteps = 0;
		} else {
			alter_ok(t, j->id, BH_JOB_RETRY);
		}
		break;
	case 3:
		finish_release(t, j, 0);
		break;
	default:
		finish_done(t, j, NULL);
		m->nsteps = 0;
		m->id = put(t, "q", "x");
	}
}

static void
storm_of_steps(struct suite_env *t, bool crashes)
{
	struct bh_job_opts o = opts_none();
	struct model all[STORM_JOBS] = {{0, 0}};
	uint64_t seed = 88172645463325252u;
	struct bh_job *j;

	o.max_stalled = 10000;
	o.attempts = 10000;
	for (int i = 0; i < STORM_JOBS; i++)
		all[i].id = put_with(t, "q", "x", &o);
	for (int i = 0; i < STORM_ROUNDS; i++) {
		suite_pass(t, (int64_t)roll(&seed, 500));
		j = take_handler(t, "q");
		if (j)
			storm_run(t, all, &seed, j);
		if (crashes && roll(&seed, 40) == 0)
			suite_crash(t, (int64_t)roll(&seed, 500));
		else if (crashes && roll(&seed, 40) == 0)
			suite_reopen(t, (int64_t)roll(&seed, 500));
	}
}

static void
storm_of_steps_keeps_what_was_answered(void **state)
{
	storm_of_steps(*state, false);
}

static void
storm_of_steps_and_crashes_keeps_what_was_answered(void **state)
{
	storm_of_steps(*state, true);
}

const struct suite_case suite_step_cases[] = {
	CASE(steps_come_back_at_the_next_claim),
	CASE(steps_come_back_with_a_cold_payload),
	CASE(steps_are_of_one_job),
	CASE(step_that_is_there_is_a_conflict),
	CASE(step_of_a_lost_attempt_is_stale),
	CASE(sleep_gives_the_start_back),
	CASE(promote_ends_a_sleep),
	CASE(cancel_ends_a_sleeping_job),
	CASE(retry_keeps_steps_and_fresh_forgets_them),
	CASE(retry_of_a_queue_keeps_steps),
	CASE(worker_from_outside_gets_no_steps),
	CASE(step_extends_and_tells_progress_too),
	CASE(steps_have_limits),
	CASE(steps_together_have_a_limit),
	CASE(sleeping_job_keeps_its_place_in_its_group),
	CASE(sleeping_job_does_not_expire),
	CASE_STORAGE(reopen_keeps_steps_and_sleeps),
	CASE_CRASH(reopen_frees_a_handlers_job_with_its_steps),
	CASE_STORAGE(reopen_knows_the_steps_of_an_outside_workers_job),
	CASE_STORAGE(reopen_after_fresh_finds_no_steps),
	CASE(storm_of_steps_keeps_what_was_answered),
	CASE_CRASH(storm_of_steps_and_crashes_keeps_what_was_answered),
	{NULL, NULL, SUITE_ANY},
};
