/* SPDX-License-Identifier: MIT */
/* Jobs on real script threads: src/script/pool*.c, worker.c, run.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "lib/poolfix.h"

static void
test_job_runs_and_result_is_json(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "assert(job.queue == 'q' and job.attempt == 1 and "
	    "job.attempts == 5 and math.type(job.created_at) == 'integer')\n"
	    "return { id = job.id, n = job.data.n + 1 } end }");
	poolfix_load(f);
	assert_true(f->load_ok);
	assert_non_null(strstr(f->report, "loaded, version"));
	e = poolfix_run(f, "q", "{\"n\":41}");
	assert_int_equal(e->outcome, BH_DONE);
	assert_true(strcmp(e->text, "{\"id\":\"1\",\"n\":42}") == 0 ||
	    strcmp(e->text, "{\"n\":42,\"id\":\"1\"}") == 0);
	assert_int_equal(strlen(e->version), 12);
}

static void
test_no_result_is_none(void **state)
{
	struct poolfix *f = *state;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function() end }");
	poolfix_load(f);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "-");
}

static void
test_error_is_retried_with_file_and_line(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "error('boom') end }");
	poolfix_load(f);
	e = poolfix_run(f, "q", "x");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_false(e->final);
	assert_int_equal(e->delay_ms, -1);
	assert_string_equal(e->text, "a.lua:2: boom");
}

static void
test_retry_snooze_and_fail_end_the_run(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'retry' then return job:retry('2m', 'busy') end\n"
	    "if job.body == 'bare' then pcall(job.retry, job, 3) end\n"
	    "if job.body == 'snooze' then job:snooze('90') end\n"
	    "if job.body == 'backoff' then job:snooze() end\n"
	    "if job.body == 'date' then "
	    "job:snooze('Sun, 06 Nov 1994 08:49:37 GMT') end\n"
	    "if job.body == 'fail' then job:fail('no such guest') end\n"
	    "error('not reached') end }");
	poolfix_load(f);
	e = poolfix_run(f, "q", "retry");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_int_equal(e->delay_ms, 120000);
	assert_false(e->final);
	assert_string_equal(e->text, "busy");
	assert_int_equal(poolfix_run(f, "q", "bare")->delay_ms, 3000);
	e = poolfix_run(f, "q", "snooze");
	assert_int_equal(e->outcome, BH_RELEASE);
	assert_int_equal(e->delay_ms, 90000);
	e = poolfix_run(f, "q", "backoff");
	assert_int_equal(e->outcome, BH_RELEASE);
	assert_int_equal(e->delay_ms, 5000);
	assert_int_equal(poolfix_run(f, "q", "date")->delay_ms, 0);
	e = poolfix_run(f, "q", "fail");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_true(e->final);
	assert_string_equal(e->text, "no such guest");
}

static void
test_concurrency_bounds_what_is_asked_for(void **state)
{
	struct poolfix *f = *state;
	struct bh_why why = {0};
	int i;

	poolfix_script(f, "a.lua", "return { queue = 'q', concurrency = 3, "
	    "perform = function() sleep(600) end }");
	poolfix_load(f);
	for (i = 0; i < 5; i++)
		poolfix_add(f, "q", "x");
	poolfix_turn(f);
	poolfix_turn(f);
	assert_int_equal(pool_running(f->pool), 3);
	assert_true(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_CONCURRENCY);
}

static void
test_slots_are_shared_by_all_queues(void **state)
{
	struct poolfix *f = *state;
	int i;

	f->lua.conf.script_slots = 4;
	poolfix_script(f, "a.lua", "return { queue = 'a', "
	    "perform = function() sleep(600) end }");
	poolfix_script(f, "b.lua", "return { queue = 'b', "
	    "perform = function() sleep(600) end }");
	poolfix_load(f);
	for (i = 0; i < 5; i++) {
		poolfix_add(f, "a", "x");
		poolfix_add(f, "b", "x");
	}
	poolfix_turn(f);
	poolfix_turn(f);
	assert_int_equal(pool_running(f->pool), 4);
	f->lua.conf.script_slots = 7;
	poolfix_load(f);
	poolfix_turn(f);
	assert_int_equal(pool_running(f->pool), 7);
}

static void
test_many_jobs_all_end_once(void **state)
{
	struct poolfix *f = *state;
	int64_t i;

	poolfix_script(f, "a.lua", "return { queue = 'q', concurrency = 50, "
	    "perform = function(job) if tonumber(job.id) % 3 == 0 then "
	    "sleep(0.001) end return job.id end }");
	poolfix_load(f);
	for (i = 0; i < 400; i++)
		poolfix_add(f, "q", "x");
	UNTIL(f, f->be.nends == 400);
	for (i = 1; i <= 400; i++) {
		char want[16];

		snprintf(want, sizeof(want), "\"%d\"", (int)i);
		assert_string_equal(poolfix_end(f, i)->text, want);
	}
	assert_int_equal(pool_running(f->pool), 0);
}

static void
test_timeout_ends_a_waiting_run(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() sleep(600) end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	STAILQ_FIRST(&f->be.jobs)->timeout_ms = 50;
	UNTIL(f, poolfix_end(f, id));
	e = poolfix_end(f, id);
	assert_int_equal(e->outcome, BH_FAIL);
	assert_false(e->final);
	assert_string_equal(e->text, "timeout after 50 ms");
}

static void
test_cancel_is_seen_and_fails_the_job(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress('started')\n"
	    "while not job:cancelled() do sleep(0.005) end\n"
	    "queue.add('seen', job.id) end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	pool_events.cancelled(f->pool, id, (uint64_t)id + 1000,
	    (struct bh_bytes){"why", 3});
	UNTIL(f, poolfix_end(f, id));
	e = poolfix_end(f, id);
	assert_string_equal(f->be.added, "seen=1");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_true(e->final);
	assert_string_equal(e->text, "cancelled");
}

static void
test_cancel_with_an_old_token_is_ignored(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress(1) return job:cancelled() end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	poolfix_turn(f);
	poolfix_turn(f);
	pool_events.cancelled(f->pool, id, 5, (struct bh_bytes){NULL, 0});
	UNTIL(f, poolfix_end(f, id));
	assert_string_equal(poolfix_end(f, id)->text, "false");
}

static void
test_store_calls_are_answered(void **state)
{
	struct poolfix *f = *state;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "return queue.add('other', { a = 1 }) end }");
	poolfix_load(f);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "\"77\"");
	assert_string_equal(f->be.added, "other={\"a\":1}");
}

static void
test_store_errors_are_raised(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "local ok, e = pcall(queue.add, 'full', 'x')\n"
	    "assert(not ok)\n"
	    "return e end }");
	poolfix_load(f);
	e = poolfix_run(f, "q", "x");
	assert_int_equal(e->outcome, BH_DONE);
	assert_non_null(strstr(e->text, "QUEUEFULL"));
}

static void
test_progress_tells_whether_the_job_is_still_held(void **state)
{
	struct poolfix *f = *state;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "return job:progress({ step = 2 }) end }");
	poolfix_load(f);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "true");
	assert_string_equal(f->be.progress, "{\"step\":2}");
	f->be.stale = true;
	assert_string_equal(poolfix_run(f, "q", "x")->text, "false");
}

static void
test_answer_after_timeout_is_dropped(void **state)
{
	struct poolfix *f = *state;
	int64_t id;
	int i;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'x' then job:progress(1) end end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	STAILQ_FIRST(&f->be.jobs)->timeout_ms = 30;
	/* The backend gives the job out, then answers nothing for a while. */
	pool_feed(f->pool);
	poolfix_backend(f);
	for (i = 0; !poolfix_end(f, id) && i < 1000; i++) {
		poolfix_wait(f);
		pool_take(f->pool, 0);
	}
	assert_string_equal(poolfix_end(f, id)->text, "timeout after 30 ms");
	poolfix_turn(f);
	assert_int_equal(poolfix_run(f, "q", "y")->outcome, BH_DONE);
}

static void
test_drain_asks_no_more_and_lets_handlers_end(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress(1) sleep(0.02) return 'ended' end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	pool_drain(f->pool);
	poolfix_add(f, "q", "y");
	UNTIL(f, poolfix_end(f, id));
	poolfix_turn(f);
	assert_string_equal(poolfix_end(f, id)->text, "\"ended\"");
	assert_int_equal(f->be.nends, 1);
}

static void
test_stop_gives_starts_back(void **state)
{
	struct poolfix *f = *state;
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress(1) sleep(600) end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	pool_stop_handlers(f->pool);
	UNTIL(f, poolfix_end(f, id));
	assert_int_equal(poolfix_end(f, id)->outcome, BH_RELEASE);
}

static void
test_variables_of_one_job_are_not_the_others(void **state)
{
	struct poolfix *f = *state;

	f->lua.conf.script_threads = 1;
	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if pcall(function() leaked = 1 end) then return 'set' end\n"
	    "return leaked == nil end }");
	poolfix_load(f);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "true");
	assert_string_equal(poolfix_run(f, "q", "x")->text, "true");
}

static void
test_memory_eater_spares_its_neighbour(void **state)
{
	struct poolfix *f = *state;
	const struct fake_end *e;
	int64_t id;

	f->lua.conf.script_memory = 8 << 20;
	f->lua.conf.script_cpu = 20000;
	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'wait' then sleep(0.3) return 'fine' end\n"
	    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t "
	    "end end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "wait");
	poolfix_turn(f);
	e = poolfix_run(f, "q", "eat");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_non_null(strstr(e->text, "not enough memory"));
	UNTIL(f, poolfix_end(f, id));
	assert_string_equal(poolfix_end(f, id)->text, "\"fine\"");
}

static void
test_spinner_lets_others_of_its_thread_run(void **state)
{
	NEEDS_TICKS();
	struct poolfix *f = *state;
	int64_t spin;

	f->lua.conf.script_cpu = 5000;
	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'spin' then while true do end end end }");
	poolfix_load(f);
	spin = poolfix_add(f, "q", "spin");
	poolfix_turn(f);
	poolfix_turn(f);
	/* Both threads get some of these. */
	poolfix_run(f, "q", "a");
	poolfix_run(f, "q", "b");
	poolfix_run(f, "q", "c");
	assert_null(poolfix_end(f, spin));
	pool_stop_handlers(f->pool);
	UNTIL(f, poolfix_end(f, spin));
	assert_int_equal(poolfix_end(f, spin)->outcome, BH_RELEASE);
}

static void
test_hung_pattern_fails_alone(void **state)
{
	NEEDS_TICKS();
	struct poolfix *f = *state;
	const struct fake_end *e;
	int64_t stuck, other[4];
	size_t i;

	f->lua.conf.script_cpu = 50;
	log_set_level((enum log_level)-1);
	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'stuck' then job:progress('in')\n"
	    "return ('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40) .. "
	    "'b') end\n"
	    "sleep(600) end }");
	poolfix_script(f, "b.lua", "return { queue = 'r', "
	    "perform = function(job) sleep(3) return 'b' end }");
	poolfix_load(f);
	for (i = 0; i < nitems(other); i++)
		other[i] = poolfix_add(f, "q", "wait");
	poolfix_add(f, "r", "x");
	poolfix_turn(f);
	stuck = poolfix_add(f, "q", "stuck");
	UNTIL(f, poolfix_end(f, stuck));
	e = poolfix_end(f, stuck);
	assert_int_equal(e->outcome, BH_FAIL);
	assert_non_null(strstr(e->text, "stuck in a C function"));
	/* Neighbours on that thread and state are given back, no others. */
	for (i = 0; i < nitems(other); i++) {
		e = poolfix_end(f, other[i]);
		assert_true(!e || e->outcome == BH_RELEASE);
	}
	UNTIL(f, poolfix_end(f, 5));
	assert_string_equal(poolfix_end(f, 5)->text, "\"b\"");
	/* A fresh state serves the queue again. */
	stuck = poolfix_add(f, "q", "stuck");
	UNTIL(f, poolfix_end(f, stuck));
	assert_int_equal(poolfix_end(f, stuck)->outcome, BH_FAIL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, poolfix_setup, \
	poolfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_job_runs_and_result_is_json),
		T(test_no_result_is_none),
		T(test_error_is_retried_with_file_and_line),
		T(test_retry_snooze_and_fail_end_the_run),
		T(test_concurrency_bounds_what_is_asked_for),
		T(test_slots_are_shared_by_all_queues),
		T(test_many_jobs_all_end_once),
		T(test_timeout_ends_a_waiting_run),
		T(test_cancel_is_seen_and_fails_the_job),
		T(test_cancel_with_an_old_token_is_ignored),
		T(test_store_calls_are_answered),
		T(test_store_errors_are_raised),
		T(test_progress_tells_whether_the_job_is_still_held),
		T(test_answer_after_timeout_is_dropped),
		T(test_drain_asks_no_more_and_lets_handlers_end),
		T(test_stop_gives_starts_back),
		T(test_variables_of_one_job_are_not_the_others),
		T(test_memory_eater_spares_its_neighbour),
		T(test_spinner_lets_others_of_its_thread_run),
		T(test_hung_pattern_fails_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
