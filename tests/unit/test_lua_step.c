/* SPDX-License-Identifier: MIT */
/* job:step() and job:sleep(): src/script/lua_step.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/luafix.h"

/* How often part is in what the last run printed. */
static int
printed(struct luafix *f, const char *part)
{
	const char *at = buf_str(&f->out);
	int n = 0;

	while ((at = strstr(at, part))) {
		n++;
		at += strlen(part);
	}
	return n;
}

static void
expect_error(struct luafix *f, const char *body, const char *part)
{
	const char *e = luafix_error(f, body);

	if (!strstr(e, part))
		fail_msg("'%s' is not in: %s", part, e);
}

static void
test_step_returns_what_it_keeps(void **state)
{
	struct luafix *f = *state;

	assert_string_equal(luafix_result(f,
	    "local t = job:step('a', function() return { x = 1.5, y = {} } "
	    "end)\n"
	    "local s = job:step('b', function() return 'text' end)\n"
	    "local n = job:step('c', function() end)\n"
	    "assert(n == nil)\n"
	    "local no = job:step('d', function() return false end)\n"
	    "assert(no == false)\n"
	    "return t.x .. s"), "\"1.5text\"");
	assert_int_equal(luafix_run(f,
	    "job:step('a', function() return { 1, 2 } end)", NULL), 0);
	assert_int_equal(printed(f, "store: JOB.STEP a [1,2]"), 1);
}

static void
test_steps_and_sleeps_are_done_once(void **state)
{
	struct luafix *f = *state;

	assert_int_equal(luafix_run(f,
	    "local n = job:step('once', function() log.info('once') return 7 "
	    "end)\n"
	    "job:sleep('1h')\n"
	    "log.info('between')\n"
	    "job:sleep('2d', 'long')\n"
	    "job:sleep(3)\n"
	    "local nothing = job:step('nil', function() log.info('none') "
	    "end)\n"
	    "assert(nothing == nil)\n"
	    "job:sleep('1s', 'last')\n"
	    "return n", NULL), 0);
	assert_int_equal(printed(f, "info: once"), 1);
	assert_int_equal(printed(f, "info: none"), 1);
	assert_int_equal(printed(f, "info: between"), 4);
	assert_int_equal(printed(f, "(sleep#1), then again"), 1);
	assert_int_equal(printed(f, "(long), then again"), 1);
	assert_int_equal(printed(f, "(sleep#2), then again"), 1);
	assert_int_equal(printed(f, "sleep: "), 4);
	assert_int_equal(printed(f, "result: 7"), 1);
}

static void
test_stored_values_are_those_of_the_first_run(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local v = job:step('v', function() return { 'a', { k = false }, "
	    "json.null, 1, 2.0, 9007199254740993 } end)\n"
	    "job:sleep(1)\n"
	    "assert(v[1] == 'a' and v[2].k == false and v[3] == json.null)\n"
	    "assert(math.type(v[4]) == 'integer')\n"
	    "return v[6]"), "9007199254740993");
}

static void
test_function_of_a_step_may_wait(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "return job:step('a', function() sleep(0.001) "
	    "queue.add('q', 'x') return 'waited' end)"), "\"waited\"");
}

static void
test_error_in_a_step_keeps_nothing(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "job:step('a', function() error('broken', 0) end)",
	    "broken");
	assert_int_equal(luafix_run(f,
	    "local ok, e = pcall(job.step, job, 'a', function() sleep(0.001) "
	    "error({ code = 5 }) end)\n"
	    "assert(not ok and e.code == 5)\n"
	    "return job:step('a', function() return 1 end)", NULL), 0);
	assert_int_equal(printed(f, "JOB.STEP"), 1);
	assert_int_equal(printed(f, "result: 1"), 1);
}

static void
test_verdict_in_a_step_ends_the_run(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "pcall(job.step, job, 'a', function() job:fail('no') "
	    "end) return 1", "failed for good: no");
	assert_int_equal(printed(f, "JOB.STEP"), 0);
	expect_error(f, "job:step('a', function() job:snooze('5s') end)",
	    "snoozed for 5");
}

static void
test_names_are_checked(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "job:step(7, print)", "expected a string");
	expect_error(f, "job:step('', print)", "expected 1 to 256");
	expect_error(f, "job:step(('n'):rep(257), print)",
	    "its name has 257 bytes");
	expect_error(f, "job:step('a\\0b', print)", "NUL");
	expect_error(f, "job:step('a')", "function expected");
	expect_error(f, "job:sleep('1s', {})", "expected a string");
	expect_error(f, "job:sleep()", "how long to sleep is missing");
	expect_error(f, "job:sleep('soon')", "soon");
	assert_string_equal(luafix_result(f,
	    "return job:step(('n'):rep(256), function() return 1 end)"), "1");
}

static void
test_name_used_twice_is_an_error(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "job:step('a', function() end) "
	    "job:step('a', function() end)", "'a' is used twice");
	expect_error(f, "job:sleep(1, 'a') job:step('a', function() end)",
	    "'a' is used twice");
	expect_error(f, "job:step('sleep#1', function() end) job:sleep(1)",
	    "'sleep#1' is used twice");
	/* Also when both are of an earlier run. */
	expect_error(f, "job:step('a', function() end) job:sleep(1) "
	    "job:sleep(1, 'a')", "'a' is used twice");
}

static void
test_steps_do_not_nest(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "job:step('a', function() job:step('b', function() "
	    "end) end)", "not inside the function of a step");
	expect_error(f, "job:step('a', function() job:sleep(1) end)",
	    "not inside the function of a step");
	/* One that was left by an error is over. */
	assert_string_equal(luafix_result(f,
	    "pcall(job.step, job, 'a', function() error('x') end)\n"
	    "return job:step('b', function() return 2 end)"), "2");
}

static void
test_values_are_checked(void **state)
{
	struct luafix *f = *state;

	f->conf.max_result = 10;
	expect_error(f, "job:step('a', function() return ('x'):rep(9) end)",
	    "the value of 'a' has 11 bytes, max_result is 10");
	expect_error(f, "job:step('a', function() return print end)",
	    "function");
	assert_int_equal(printed(f, "JOB.STEP"), 0);
}

static void
test_number_of_steps_is_limited(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "for i = 1, 1001 do job:step('s' .. i, function() "
	    "return i end) end", "the job has 1000 steps");
	assert_int_equal(printed(f, "JOB.STEP"), 1000);
	expect_error(f, "for i = 1, 1000 do job:step('s' .. i, function() "
	    "return i end) end job:sleep(1)", "the job has 1000 steps");
}

static void
test_memory_of_a_step_is_capped(void **state)
{
	struct luafix *f = *state;

	f->conf.script_memory = 8 << 20;
	f->conf.script_cpu = 20000;
	expect_error(f, "job:step('a', function() local t = {} while true do "
	    "t[#t + 1] = ('x'):rep(1000) .. #t end end)",
	    "not enough memory: the limit");
}

static void
test_add_many_sends_one_command(void **state)
{
	struct luafix *f = *state;

	assert_string_equal(luafix_result(f,
	    "local ids = queue.add_many { { queue = 'a', data = { n = 1 } }, "
	    "{ queue = 'b', data = 'text', delay = '5s', group = 'g' } }\n"
	    "assert(#ids == 2 and ids[1] == '0' and ids[2] == '0')\n"
	    "return #queue.add_many {}"), "0");
	luafix_run(f, "queue.add_many { { queue = 'a', data = { n = 1 } }, "
	    "{ queue = 'b', data = 'text', delay = '5s', group = 'g' } }",
	    NULL);
	assert_int_equal(printed(f, "store: JOB.MPUT 2 a {\"n\":1} 0 b text 4 "
	    "DELAY 5000 GROUP g\n"), 1);
}

static void
test_add_many_checks_each(void **state)
{
	struct luafix *f = *state;

	expect_error(f, "queue.add_many { 1 }", "number 1 is a number");
	expect_error(f, "queue.add_many { { data = 1 } }",
	    "number 1 has no queue");
	expect_error(f, "queue.add_many { { queue = 'a', data = 1 }, "
	    "{ queue = 'a' } }", "number 2 has no data");
	expect_error(f, "queue.add_many { { queue = 'a', data = 1, x = 2 } }",
	    "unknown option 'x'");
	expect_error(f, "queue.add_many(7)", "table expected");
	assert_int_equal(printed(f, "store:"), 0);
}

static void
test_add_many_takes_many(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local t = {} for i = 1, 5000 do "
	    "t[i] = { queue = 'q', data = i, unique = 'k' .. i } end\n"
	    "return #queue.add_many(t)"), "5000");
}

#define T(test) cmocka_unit_test_setup_teardown(test, luafix_setup, \
	luafix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_step_returns_what_it_keeps),
	    T(test_steps_and_sleeps_are_done_once),
	    T(test_stored_values_are_those_of_the_first_run),
	    T(test_function_of_a_step_may_wait),
	    T(test_error_in_a_step_keeps_nothing),
	    T(test_verdict_in_a_step_ends_the_run),
	    T(test_names_are_checked),
	    T(test_name_used_twice_is_an_error),
	    T(test_steps_do_not_nest),
	    T(test_values_are_checked),
	    T(test_number_of_steps_is_limited),
	    T(test_memory_of_a_step_is_capped),
	    T(test_add_many_sends_one_command),
	    T(test_add_many_checks_each),
	    T(test_add_many_takes_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
