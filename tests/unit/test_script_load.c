/* SPDX-License-Identifier: MIT */
/* Loading, reloading, gates and callbacks: src/script/pool_load.c, pool_owed.c. */
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
test_broken_script_keeps_old_version(void **state)
{
	struct poolfix *f = *state;
	struct script_info info;
	char want[120];

	poolfix_script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 1 end }");
	poolfix_load(f);
	poolfix_script(f, "a.lua", "return {\n queue = 'q' perform }");
	poolfix_load(f);
	assert_false(f->load_ok);
	snprintf(want, sizeof(want), "%s/a.lua:2: ", f->lua.scripts);
	assert_non_null(strstr(f->report, want));
	assert_string_equal(poolfix_run(f, "q", "x")->text, "1");
	assert_true(pool_script_at(f->pool, 0, &info));
	assert_non_null(strstr(info.error, "a.lua:2: "));
	assert_string_equal(info.queue, "q");
	assert_false(pool_script_at(f->pool, 1, &info));
}

static void
test_queue_of_never_loaded_script_is_broken(void **state)
{
	struct poolfix *f = *state;
	struct bh_why why = {0};

	poolfix_script(f, "a.lua", "return {\n queue = 'q',\n perform = = 1 }");
	poolfix_load(f);
	assert_false(f->load_ok);
	poolfix_add(f, "q", "x");
	poolfix_turn(f);
	assert_int_equal(pool_running(f->pool), 0);
	assert_true(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_BROKEN);
	assert_non_null(strstr(why.text, "a.lua:3: "));
	assert_true(pool_gate(f->pool, (struct bh_bytes){"r", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_NO_HANDLER);
	poolfix_script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() end }");
	poolfix_load(f);
	assert_true(f->load_ok);
	UNTIL(f, poolfix_end(f, 1));
	assert_false(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
}

static void
test_running_job_ends_on_its_version(void **state)
{
	struct poolfix *f = *state;
	char old[16];
	int64_t id;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress('on') while true do "
	    "local s = queue.add('go', 'x') if s == '77' then break end end\n"
	    "sleep(0.02) return 'old' end }");
	poolfix_load(f);
	id = poolfix_add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	poolfix_script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 'new' end }");
	poolfix_load(f);
	UNTIL(f, poolfix_end(f, id));
	assert_string_equal(poolfix_end(f, id)->text, "\"old\"");
	strcpy(old, poolfix_end(f, id)->version);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "\"new\"");
	assert_string_not_equal(poolfix_end(f, id + 1)->version, old);
}

static void
test_unchanged_script_is_not_reported(void **state)
{
	struct poolfix *f = *state;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function() end }");
	poolfix_load(f);
	poolfix_load(f);
	assert_true(f->load_ok);
	assert_string_equal(f->report, "");
}

static void
test_second_script_for_a_queue_is_refused(void **state)
{
	struct poolfix *f = *state;

	poolfix_script(f, "b.lua", "return { queue = 'q', "
	    "perform = function() return 'b' end }");
	poolfix_script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 'a' end }");
	poolfix_load(f);
	assert_false(f->load_ok);
	assert_non_null(strstr(f->report, "b.lua: queue \"q\" is served by "));
	assert_non_null(strstr(f->report, "a.lua already"));
	assert_string_equal(poolfix_run(f, "q", "x")->text, "\"a\"");
	luafix_remove(f->lua.scripts, "a.lua");
	poolfix_load(f);
	assert_true(f->load_ok);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "\"b\"");
}

static void
test_removed_script_serves_no_longer(void **state)
{
	struct poolfix *f = *state;
	struct bh_why why = {0};

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function() end }");
	poolfix_load(f);
	poolfix_turn(f);
	luafix_remove(f->lua.scripts, "a.lua");
	poolfix_load(f);
	assert_non_null(strstr(f->report, "removed, queue q"));
	poolfix_add(f, "q", "x");
	poolfix_turn(f);
	poolfix_turn(f);
	assert_int_equal(f->be.nends, 0);
	assert_int_equal(pool_running(f->pool), 0);
	assert_true(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_NO_HANDLER);
}

static void
test_changed_file_is_taken_by_itself(void **state)
{
	struct poolfix *f = *state;
	struct script_info info;

	poolfix_load(f);
	assert_false(pool_script_at(f->pool, 0, &info));
	poolfix_script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 5 end }");
	UNTIL(f, pool_script_at(f->pool, 0, &info) && *info.version);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "5");
}

static void
test_options_reach_the_resolver(void **state)
{
	struct poolfix *f = *state;
	struct bh_queue_opts o;

	poolfix_script(f, "a.lua", "return { queue = 'q', concurrency = 4, "
	    "max_active = 7, on_failed = function() end, "
	    "perform = function() end }");
	poolfix_load(f);
	assert_int_equal(f->be.options_changed, 1);
	qopts_resolve(f->qopts, "q", &o);
	assert_int_equal(o.concurrency, 4);
	assert_int_equal(o.max_active, 7);
	assert_int_equal(o.callbacks, 1 << BH_ON_FAILED);
	luafix_remove(f->lua.scripts, "a.lua");
	poolfix_load(f);
	qopts_resolve(f->qopts, "q", &o);
	assert_int_equal(o.max_active, 0);
	assert_int_equal(o.callbacks, 0);
}

static void
test_require_is_cached_and_reloaded(void **state)
{
	struct poolfix *f = *state;

	luafix_write(f->lua.modules, "m.lua", "return { v = 1 }");
	poolfix_script(f, "a.lua", "local m = require 'm'\n"
	    "return { queue = 'q', perform = function()\n"
	    "assert(require('m') == m) return m.v end }");
	poolfix_load(f);
	assert_string_equal(poolfix_run(f, "q", "x")->text, "1");
	luafix_write(f->lua.modules, "m.lua", "return { v = 22 }");
	poolfix_load(f);
	assert_non_null(strstr(f->report, "loaded again"));
	assert_string_equal(poolfix_run(f, "q", "x")->text, "22");
}

static void
test_missing_module_names_it(void **state)
{
	struct poolfix *f = *state;

	poolfix_script(f, "a.lua", "local m = require 'not.there'");
	poolfix_load(f);
	assert_false(f->load_ok);
	assert_non_null(strstr(f->report, "module 'not.there'"));
	poolfix_script(f, "a.lua", "local m = require '../../etc/passwd'");
	poolfix_load(f);
	assert_non_null(strstr(f->report, "a module's name"));
}

static struct bh_callback
owed(int64_t id, enum bh_callback_kind kind)
{
	return (struct bh_callback){.id = id, .kind = kind,
	    .queue = {"q", 1}, .job = 9, .attempt = 2,
	    .payload = {"{\"k\":1}", 7}, .result = {"[1]", 3},
	    .error = {"boom", 4}};
}

static void
test_callbacks_run_and_are_done(void **state)
{
	struct poolfix *f = *state;
	struct bh_callback cb;

	poolfix_script(f, "a.lua", "return { queue = 'q', perform = function() end,\n"
	    "on_failed = function(job, err) "
	    "queue.add('f' .. job.id, err .. job.data.k) end,\n"
	    "on_completed = function(job, r) "
	    "queue.add('c' .. job.attempt, r) end,\n"
	    "on_stalled = function(job, x) error('in callback') end }");
	/* It arrives before the scripts do. */
	cb = owed(1, BH_ON_FAILED);
	pool_events.callback(f->pool, &cb);
	poolfix_turn(f);
	assert_int_equal(f->be.ncallbacks, 0);
	poolfix_load(f);
	UNTIL(f, f->be.ncallbacks == 1);
	assert_string_equal(f->be.added, "f9=boom1");
	cb = owed(2, BH_ON_COMPLETED);
	pool_events.callback(f->pool, &cb);
	UNTIL(f, f->be.ncallbacks == 2);
	assert_string_equal(f->be.added, "c2=[1]");
	log_set_level((enum log_level)-1);
	cb = owed(3, BH_ON_STALLED);
	pool_events.callback(f->pool, &cb);
	UNTIL(f, f->be.ncallbacks == 3);
	assert_int_equal(f->be.callbacks_done[2], 3);
	assert_int_equal(f->be.nends, 0);
}

static void
test_callback_nobody_wants_is_done_at_once(void **state)
{
	struct poolfix *f = *state;
	struct bh_callback cb = owed(7, BH_ON_FAILED);

	poolfix_load(f);
	pool_events.callback(f->pool, &cb);
	poolfix_turn(f);
	assert_int_equal(f->be.ncallbacks, 1);
	assert_int_equal(f->be.callbacks_done[0], 7);
}

#define T(name) cmocka_unit_test_setup_teardown(name, poolfix_setup, \
	poolfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_broken_script_keeps_old_version),
		T(test_queue_of_never_loaded_script_is_broken),
		T(test_running_job_ends_on_its_version),
		T(test_unchanged_script_is_not_reported),
		T(test_second_script_for_a_queue_is_refused),
		T(test_removed_script_serves_no_longer),
		T(test_changed_file_is_taken_by_itself),
		T(test_options_reach_the_resolver),
		T(test_require_is_cached_and_reloaded),
		T(test_missing_module_names_it),
		T(test_callbacks_run_and_are_done),
		T(test_callback_nobody_wants_is_done_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
