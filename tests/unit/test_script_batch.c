/* SPDX-License-Identifier: MIT */
/* perform_batch: several jobs in one run, each with an end of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "lib/poolfix.h"

static void
load_batch(struct poolfix *f, const char *body)
{
	char *text = xasprintf("return { queue = 'q', batch = {}, "
	    "perform_batch = function(jobs)\n%s\nend }", body);

	poolfix_script(f, "a.lua", text);
	free(text);
	poolfix_load(f);
	assert_true(f->load_ok);
}

/* Adds n jobs with payloads 1, 2, … that are handed out together; the first
 * id. */
static int64_t
add_batch(struct poolfix *f, uint32_t n)
{
	int64_t first = 0;
	char payload[16];
	uint32_t i;

	f->be.batch = n;
	for (i = 1; i <= n; i++) {
		snprintf(payload, sizeof(payload), "%u", i);
		first = poolfix_add(f, "q", payload) - i + 1;
	}
	return first;
}

static bool
all_ended(const struct poolfix *f, int64_t first, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (!poolfix_end((struct poolfix *)(uintptr_t)f, first + i))
			return false;
	return true;
}

static void
test_jobs_come_in_order_and_share_the_result(void **state)
{
	struct poolfix *f = *state;
	int64_t id;
	int i;

	load_batch(f, "local s = '' for i, job in ipairs(jobs) do "
	    "s = s .. job.id .. '=' .. job.data .. ' ' end return s .. #jobs");
	id = add_batch(f, 3);
	UNTIL(f, all_ended(f, id, 3));
	for (i = 0; i < 3; i++) {
		const struct fake_end *e = poolfix_end(f, id + i);

		assert_int_equal(e->outcome, BH_DONE);
		assert_string_equal(e->text, "\"1=1 2=2 3=3 3\"");
		assert_int_equal(strlen(e->version), 12);
	}
	assert_int_equal(pool_running(f->pool), 0);
}

static void
test_an_error_is_each_jobs_error(void **state)
{
	struct poolfix *f = *state;
	int64_t id;
	int i;

	load_batch(f, "error('boom', 0)");
	id = add_batch(f, 2);
	UNTIL(f, all_ended(f, id, 2));
	for (i = 0; i < 2; i++) {
		const struct fake_end *e = poolfix_end(f, id + i);

		assert_int_equal(e->outcome, BH_FAIL);
		assert_false(e->final);
		assert_int_equal(e->delay_ms, -1);
		assert_string_equal(e->text, "boom");
	}
}

static void
test_one_job_is_decided_alone_and_the_run_goes_on(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;
	int64_t id;

	load_batch(f, "jobs[1]:fail('bad') jobs[1]:retry('1s') "
	    "jobs[2]:retry('2s', 'later') jobs[3]:snooze('3s', 'not now') "
	    "return 'rest'");
	id = add_batch(f, 4);
	UNTIL(f, all_ended(f, id, 4));
	e = poolfix_end(f, id);
	assert_int_equal(e->outcome, BH_FAIL);
	assert_true(e->final);
	assert_string_equal(e->text, "bad");
	e = poolfix_end(f, id + 1);
	assert_int_equal(e->outcome, BH_FAIL);
	assert_false(e->final);
	assert_int_equal(e->delay_ms, 2000);
	assert_string_equal(e->text, "later");
	e = poolfix_end(f, id + 2);
	assert_int_equal(e->outcome, BH_RELEASE);
	assert_int_equal(e->delay_ms, 3000);
	e = poolfix_end(f, id + 3);
	assert_int_equal(e->outcome, BH_DONE);
	assert_string_equal(e->text, "\"rest\"");
}

static void
test_what_was_decided_outlives_an_error(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	load_batch(f, "jobs[1]:fail('bad') error('boom', 0)");
	id = add_batch(f, 2);
	UNTIL(f, all_ended(f, id, 2));
	assert_string_equal(poolfix_end(f, id)->text, "bad");
	assert_true(poolfix_end(f, id)->final);
	assert_string_equal(poolfix_end(f, id + 1)->text, "boom");
	assert_false(poolfix_end(f, id + 1)->final);
}

static void
test_the_largest_timeout_ends_the_batch(void **state)
{
	struct poolfix *f = *state;
	struct fake_job *j;
	int64_t id;

	load_batch(f, "sleep(30)");
	id = add_batch(f, 3);
	j = STAILQ_FIRST(&f->be.jobs);
	j->timeout_ms = 10;
	j = STAILQ_NEXT(j, entry);
	j->timeout_ms = 60;
	STAILQ_NEXT(j, entry)->timeout_ms = 20;
	UNTIL(f, all_ended(f, id, 3));
	assert_string_equal(poolfix_end(f, id)->text, "timeout after 60 ms");
	assert_string_equal(poolfix_end(f, id + 2)->text,
	    "timeout after 60 ms");
	assert_false(poolfix_end(f, id)->final);
}

static void
test_a_batch_takes_one_slot(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	load_batch(f, "queue.add('seen', #jobs) sleep(30)");
	f->be.batch = 5;
	id = add_batch(f, 5);
	UNTIL(f, f->be.nputs == 1);
	assert_int_equal(pool_running(f->pool), 1);
	assert_string_equal(f->be.added, "seen=5");
	pool_stop_handlers(f->pool);
	UNTIL(f, all_ended(f, id, 5));
	assert_int_equal(poolfix_end(f, id)->outcome, BH_RELEASE);
	assert_int_equal(poolfix_end(f, id + 4)->outcome, BH_RELEASE);
}

static void
test_a_cancel_is_seen_by_its_job_alone(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	load_batch(f, "jobs[1]:progress('started')\n"
	    "while not jobs[2]:cancelled() do sleep(0.005) end\n"
	    "return { jobs[1]:cancelled(), jobs[2]:cancelled() }");
	id = add_batch(f, 2);
	UNTIL(f, f->be.progress[0]);
	pool_events.cancelled(f->pool, id + 1, (uint64_t)id + 1001,
	    (struct bh_bytes){"why", 3});
	UNTIL(f, all_ended(f, id, 2));
	assert_string_equal(poolfix_end(f, id)->text, "[false,true]");
	assert_int_equal(poolfix_end(f, id + 1)->outcome, BH_FAIL);
	assert_true(poolfix_end(f, id + 1)->final);
	assert_string_equal(poolfix_end(f, id + 1)->text, "cancelled");
}

/* The object outlives the run in a global; it must say so. */
static void
test_job_objects_end_with_the_run(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	poolfix_script(f, "a.lua", "local kept = {}\n"
	    "return { queue = 'q', batch = {}, perform_batch = function(jobs)\n"
	    "if kept[1] then return select(2, pcall(kept[1].fail, kept[1])) "
	    "end\n"
	    "kept[1] = jobs[1] jobs[1] = nil jobs[2] = nil end }");
	poolfix_load(f);
	id = add_batch(f, 2);
	UNTIL(f, all_ended(f, id, 2));
	assert_string_equal(poolfix_end(f, id)->text, "-");
	for (;;) {
		/* Another thread's state has not kept it. */
		const struct fake_end *e;

		f->be.batch = 1;
		e = poolfix_run(f, "q", "x");
		if (strcmp(e->text, "-") == 0)
			continue;
		assert_non_null(strstr(e->text, "this job has ended"));
		break;
	}
}

static void
test_a_single_job_is_a_batch_of_one(void **state)
{
	struct poolfix *f = *state;

	load_batch(f, "return #jobs");
	assert_string_equal(poolfix_run(f, "q", "x")->text, "1");
}

static void
test_a_batch_for_a_script_without_them_goes_back(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = "
	    "function(job) return 1 end }");
	poolfix_load(f);
	id = add_batch(f, 2);
	UNTIL(f, all_ended(f, id, 2));
	assert_int_equal(poolfix_end(f, id)->outcome, BH_RELEASE);
	assert_int_equal(poolfix_end(f, id + 1)->outcome, BH_RELEASE);
	f->be.batch = 0;
	assert_string_equal(poolfix_run(f, "q", "x")->text, "1");
}

#define T(name) cmocka_unit_test_setup_teardown(name, poolfix_setup, \
	poolfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_jobs_come_in_order_and_share_the_result),
		T(test_an_error_is_each_jobs_error),
		T(test_one_job_is_decided_alone_and_the_run_goes_on),
		T(test_what_was_decided_outlives_an_error),
		T(test_the_largest_timeout_ends_the_batch),
		T(test_a_batch_takes_one_slot),
		T(test_a_cancel_is_seen_by_its_job_alone),
		T(test_job_objects_end_with_the_run),
		T(test_a_single_job_is_a_batch_of_one),
		T(test_a_batch_for_a_script_without_them_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
