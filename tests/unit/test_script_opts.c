/* SPDX-License-Identifier: MIT */
/* The table that a script returns: src/script/script_opts.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "lib/luafix.h"
#include "plugin.h"
#include "script/script_opts.h"
#include "script/source.h"

/* Reads `return { queue = "q", perform = print, FIELDS }`. */
static int
read_fields(const char *fields, struct script_opts *ret, struct buf *e)
{
	char *text = xasprintf("return { queue = 'q', perform = "
	    "function() end, %s }", fields);
	lua_State *L = luaL_newstate();
	int rc;

	assert_non_null(L);
	assert_int_equal(luaL_dostring(L, text), LUA_OK);
	rc = script_opts_read(L, lua_gettop(L), ret, e);
	lua_close(L);
	free(text);
	return rc;
}

static void
assert_refused(const char *fields, const char *why)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	assert_int_equal(read_fields(fields, &o, &e), -1);
	assert_string_equal(buf_str(&e), why);
	buf_done(&e);
}

static void
test_nothing_said_stays_unsaid(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_int_equal(read_fields("", &o, &e), 0);
	assert_string_equal(o.queue, "q");
	assert_int_equal(o.opts.concurrency, -1);
	assert_int_equal(o.opts.timeout_ms, -1);
	assert_int_equal(o.opts.rate_limit, -1);
	assert_int_equal(o.opts.callbacks, 0);
	assert_string_equal(o.opts.dead_letter, "");
	buf_done(&e);
}

static void
test_every_option_arrives(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_int_equal(read_fields("concurrency = 3, attempts = 5, "
	    "backoff = { type = 'fixed', delay = '2s', max = '10m', "
	    "factor = 2, jitter = 0.5 }, "
	    "rate = { limit = 80, per = '60s', burst = 20, by = 'group' }, "
	    "timeout = '30s', weight = 6, strict = true, max_active = 9, "
	    "group_concurrency = 2, group_order = 'skip', max_waiting = 100, "
	    "dead_letter = 'dead', lease = 45, max_stalled = 1, "
	    "retention = { completed = '2h', completed_count = 5, "
	    "failed = '3d', failed_count = 6 }, "
	    "on_failed = function() end, on_stalled = function() end",
	    &o, &e), 0);
	assert_int_equal(o.opts.concurrency, 3);
	assert_int_equal(o.opts.attempts, 5);
	assert_int_equal(o.opts.backoff_type, BH_BACKOFF_FIXED);
	assert_int_equal(o.opts.backoff_ms, 2000);
	assert_int_equal(o.opts.backoff_max_ms, 600000);
	assert_true(o.opts.backoff_factor == 2.0);
	assert_true(o.opts.backoff_jitter == 0.5);
	assert_int_equal(o.opts.rate_limit, 80);
	assert_int_equal(o.opts.rate_per_ms, 60000);
	assert_int_equal(o.opts.rate_burst, 20);
	assert_int_equal(o.opts.rate_by, BH_RATE_BY_GROUP);
	assert_int_equal(o.opts.timeout_ms, 30000);
	assert_int_equal(o.opts.weight, 6);
	assert_int_equal(o.opts.strict, 1);
	assert_int_equal(o.opts.max_active, 9);
	assert_int_equal(o.opts.group_concurrency, 2);
	assert_int_equal(o.opts.group_order, BH_GROUP_SKIP);
	assert_int_equal(o.opts.max_waiting, 100);
	assert_string_equal(o.opts.dead_letter, "dead");
	assert_int_equal(o.opts.lease_ms, 45000);
	assert_int_equal(o.opts.max_stalled, 1);
	assert_int_equal(o.opts.retain_completed_ms, 7200000);
	assert_int_equal(o.opts.retain_completed_count, 5);
	assert_int_equal(o.opts.retain_failed_ms, 259200000);
	assert_int_equal(o.opts.retain_failed_count, 6);
	assert_int_equal(o.opts.callbacks,
	    1 << BH_ON_FAILED | 1 << BH_ON_STALLED);
	buf_done(&e);
}

static void
test_wrong_type_names_field_value_and_expectation(void **state)
{
	(void)state;
	assert_refused("timeout = true", "option 'timeout': expected a "
	    "duration above 0 such as \"30s\", or seconds, got true");
	assert_refused("concurrency = '3'", "option 'concurrency': expected "
	    "an integer from 1 to 100000, got \"3\"");
	assert_refused("rate = 80", "option 'rate': expected a table, got 80");
	assert_refused("backoff = { type = 'linear' }", "option "
	    "'backoff.type': expected \"fixed\" or \"exponential\", got "
	    "\"linear\"");
	assert_refused("on_failed = 'log'", "option 'on_failed': expected a "
	    "function, got \"log\"");
	assert_refused("strict = 1", "option 'strict': expected true or "
	    "false, got 1");
}

static void
test_bounds_are_checked(void **state)
{
	(void)state;
	assert_refused("concurrency = 0", "option 'concurrency': expected an "
	    "integer from 1 to 100000, got 0");
	assert_refused("concurrency = 1.5", "option 'concurrency': expected "
	    "an integer from 1 to 100000, got 1.5");
	assert_refused("backoff = { delay = '1s', jitter = 2 }", "option "
	    "'backoff.jitter': expected a number from 0 to 1, got 2");
	assert_refused("dead_letter = 'a b'", "option 'dead_letter': expected "
	    "a queue's name (1 to 128 letters, digits and _.:-), got \"a b\"");
	assert_refused("lease = 0", "option 'lease': expected a duration "
	    "above 0 such as \"30s\", or seconds, got 0");
}

static void
test_unknown_option_is_named(void **state)
{
	(void)state;
	assert_refused("concurency = 3", "unknown option 'concurency'");
	assert_refused("rate = { limit = 1, per = '1s', size = 3 }",
	    "unknown option 'rate.size'");
	assert_refused("'x'", "unknown option '1'");
}

static int
read_table(const char *text, struct script_opts *ret, struct buf *e)
{
	lua_State *L = luaL_newstate();
	int rc;

	assert_non_null(L);
	assert_int_equal(luaL_dostring(L, text), LUA_OK);
	rc = script_opts_read(L, lua_gettop(L), ret, e);
	lua_close(L);
	return rc;
}

static void
test_batch_is_read(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_int_equal(read_table("return { queue = 'q', perform_batch = "
	    "function() end, batch = {} }", &o, &e), 0);
	assert_true(o.performs);
	assert_int_equal(o.opts.batch_max, 50);
	assert_int_equal(o.opts.batch_window_ms, -1);
	assert_int_equal(o.opts.batch_quiet_ms, -1);
	assert_int_equal(read_table("return { queue = 'q', perform_batch = "
	    "function() end, batch = { max = 7, window = '3s', quiet = "
	    "'500ms' } }", &o, &e), 0);
	assert_int_equal(o.opts.batch_max, 7);
	assert_int_equal(o.opts.batch_window_ms, 3000);
	assert_int_equal(o.opts.batch_quiet_ms, 500);
	assert_int_equal(read_fields("", &o, &e), 0);
	assert_int_equal(o.opts.batch_max, -1);
	buf_done(&e);
}

static void
test_batch_and_its_function_belong_together(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_refused("perform_batch = function() end, batch = {}",
	    "options 'perform' and 'perform_batch': expected one of them, "
	    "got both");
	assert_refused("batch = {}", "option 'perform_batch' is missing: with "
	    "option 'batch' it handles the jobs instead of 'perform'");
	assert_refused("batch = { max = 0 }", "option 'batch.max': expected "
	    "an integer from 1 to 1000, got 0");
	assert_refused("batch = { window = 'soon' }", "option 'batch.window': "
	    "expected a duration such as \"30s\", or seconds, got \"soon\"");
	assert_int_equal(read_table("return { queue = 'q', perform_batch = "
	    "function() end }", &o, &e), -1);
	assert_string_equal(buf_str(&e), "option 'batch' is missing: "
	    "perform_batch needs it, as in batch = { max = 50, window = "
	    "\"2s\" }");
	buf_done(&e);
}

static void
test_schedules_are_judged(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_int_equal(read_fields("schedule = { { cron = '0 6 * * *', "
	    "tz = 'Europe/Lisbon', data = { 1 }, misfire = 'all', "
	    "overlap = 'queue', name = 'n', group = 'g', unique = 'u', "
	    "priority = 0, expires = '1h' }, { every = 60 } }", &o, &e), 0);
	assert_true(o.has_schedule);
	assert_refused("schedule = 5", "option 'schedule': expected a list of "
	    "1 to 64 entries such as { { every = \"10m\" } }");
	assert_refused("schedule = { every = '1h' }", "option 'schedule': "
	    "expected a list of 1 to 64 entries such as { { every = \"10m\" "
	    "} }");
	assert_refused("schedule = { { 'x' } }", "option 'schedule[1]': "
	    "expected named fields such as every = \"10m\"");
	assert_refused("schedule = { { every = '1h', tz = 'UTC' } }",
	    "option 'schedule[1].tz': only with cron");
	assert_refused("schedule = { { every = 0 } }", "option "
	    "'schedule[1].every': expected a duration above 0 such as "
	    "\"10m\", or seconds, got 0");
	assert_refused("schedule = { { every = '1h', priority = 10 } }",
	    "option 'schedule[1].priority': expected an integer from 0 to 9, "
	    "got 10");
	assert_refused("schedule = { { cron = '0 0 31 6 *' } }", "option "
	    "'schedule[1].cron': cron: '0 0 31 6 *' never happens: a date "
	    "that exists within the next 8 years is expected");
	assert_refused("schedule = { { every = '1h', name = 'a' }, "
	    "{ every = '2h', name = 'a' } }", "option 'schedule[2].name': "
	    "an earlier entry is called \"a\" already");
	buf_done(&e);
}

static void
test_hook_is_read(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_int_equal(read_fields("hook = { secret = { 'new', 'old' }, "
	    "header = 'Stripe-Signature', field = 'v1', "
	    "payload = '{timestamp}.{body}', encoding = 'base64', "
	    "timestamp = { field = 't', window = '1m', format = "
	    "'milliseconds' }, delivery = 'X-Id', delivery_ttl = '1h', "
	    "methods = { 'POST', 'PUT' }, max_body = '64KiB', "
	    "accept = function() end }", &o, &e), 0);
	assert_string_equal(o.hook.name, "q");
	assert_string_equal(o.hook.secrets[1], "old");
	assert_int_equal(o.hook.nsecrets, 2);
	assert_int_equal(o.hook.signature, HOOK_SHA256);
	assert_string_equal(o.hook.header, "stripe-signature");
	assert_int_equal(o.hook.encoding, HOOK_BASE64);
	assert_int_equal(o.hook.timestamp.window_ms, 60000);
	assert_int_equal(o.hook.timestamp.format, HOOK_MILLISECONDS);
	assert_int_equal(o.hook.delivery_ttl_ms, 3600000);
	assert_int_equal(o.hook.methods, hook_method("POST") |
	    hook_method("PUT"));
	assert_int_equal(o.hook.max_body, 65536);
	assert_true(o.hook.accept);
	assert_int_equal(read_fields("hook = { name = 'h' }", &o, &e), 0);
	assert_string_equal(o.hook.name, "h");
	assert_int_equal(o.hook.signature, HOOK_NONE);
	assert_int_equal(o.hook.methods, hook_method("POST"));
	buf_done(&e);
}

static void
test_hook_that_would_not_protect_is_refused(void **state)
{
	(void)state;
	assert_refused("hook = 5", "option 'hook': expected a table, got 5");
	assert_refused("hook = { secrets = 'x' }",
	    "unknown option 'hook.secrets'");
	assert_refused("hook = { secret = '../x', header = 'X' }", "option "
	    "'hook.secret': expected the name of a secret, or up to 4 of "
	    "them, got \"../x\"");
	assert_refused("hook = { secret = 'x' }", "option 'hook.header' is "
	    "missing: where does the signature stand?");
	assert_refused("hook = { signature = 'token', header = 'X' }",
	    "option 'hook.secret' is missing: a signature needs one");
	assert_refused("hook = { signature = 'none', secret = 'x' }",
	    "option 'hook.signature' is missing: with \"none\" the secret "
	    "would not be looked at");
	assert_refused("hook = { signature = 'md5' }", "option "
	    "'hook.signature': expected one of \"none\", \"hmac-sha256\", "
	    "\"hmac-sha1\", \"hmac-sha512\", \"token\", got \"md5\"");
	assert_refused("hook = { secret = 'x', header = 'X', timestamp = { "
	    "header = 'T' } }", "option 'hook.payload' is missing: without "
	    "{timestamp} in it the time is not signed");
	assert_refused("hook = { secret = 'x', header = 'X', payload = "
	    "'{timestamp}.{body}' }", "option 'hook.timestamp' is missing: "
	    "hook.payload has {timestamp}");
	assert_refused("hook = { secret = 'x', header = 'X', payload = 'v0' }",
	    "option 'hook.payload': expected a text with {body}, such as "
	    "\"{timestamp}.{body}\"");
	assert_refused("hook = { header = 'X' }", "option 'hook.secret' is "
	    "missing: without one nothing looks at the signature");
	assert_refused("hook = { secret = 'x', header = 'X', payload = "
	    "'{time}.{body}' }", "option 'hook.payload': unknown '{time}', "
	    "expected {body}, {timestamp} or {id}");
	assert_refused("hook = { methods = {} }", "option 'hook.methods': "
	    "expected GET, POST or PUT, or a list of them, got a table");
	assert_refused("hook = { methods = { 'PATCH' } }", "option "
	    "'hook.methods': expected GET, POST or PUT, or a list of them, "
	    "got \"PATCH\"");
}

static void
test_topics_are_read(void **state)
{
	struct buf e = BUF_INIT;
	struct script_opts o;

	(void)state;
	assert_int_equal(read_fields("subscribe = { ['b.*'] = function() end, "
	    "a = function() end }", &o, &e), 0);
	assert_int_equal(o.topics.n, 2);
	assert_string_equal(o.topics.patterns[0], "a");
	assert_string_equal(o.topics.patterns[1], "b.*");
	assert_refused("subscribe = { a = 5 }",
	    "option 'subscribe[\"a\"]': expected a function(msg, topic), "
	    "got 5");
	assert_refused("subscribe = { 'a' }", "option 'subscribe': expected "
	    "topics of 1 to 128 bytes as keys, as in { [\"guest.*\"] = "
	    "function(msg, topic) … end }, got \"a\"");
	assert_refused("subscribe = 'a'", "option 'subscribe': expected a "
	    "table such as { [\"guest.*\"] = function(msg, topic) … end }, "
	    "got \"a\"");
	buf_done(&e);
}

/* Scripts without a queue of their own. */
static void
test_perform_is_not_needed_beside_a_hook(void **state)
{
	static const struct {
		const char *text, *why;
	} t[] = {
		{"hook = { name = 'h', accept = print }", NULL},
		{"queue = 'q', hook = {}", NULL},
		{"subscribe = { a = print }", NULL},
		{"hook = { accept = print }", "option 'hook.name' is missing: "
		    "the script has no queue whose name it could have"},
		{"hook = { name = 'h' }", "option 'hook.accept' is missing: "
		    "the script has no queue that a webhook could go to"},
		{"perform = print, hook = { name = 'h', accept = print }",
		    "option 'queue' is missing"},
		{"queue = 'q', hook = {}, on_failed = print",
		    "option 'perform' is missing"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < nitems(t); i++) {
		char *text = xasprintf("return { %s }", t[i].text);
		lua_State *L = luaL_newstate();
		struct buf e = BUF_INIT;
		struct script_opts o;
		int rc;

		luaL_requiref(L, "_G", luaopen_base, 1);
		assert_int_equal(luaL_dostring(L, text), LUA_OK);
		rc = script_opts_read(L, lua_gettop(L), &o, &e);
		assert_int_equal(rc, t[i].why ? -1 : 0);
		if (t[i].why)
			assert_string_equal(buf_str(&e), t[i].why);
		else
			assert_false(o.performs);
		lua_close(L);
		buf_done(&e);
		free(text);
	}
}

static void
test_rate_needs_both_numbers(void **state)
{
	(void)state;
	assert_refused("rate = { limit = 5 }", "option 'rate.per' is missing");
	assert_refused("rate = { per = '1s' }",
	    "option 'rate.limit' is missing");
}

static void
test_queue_and_perform_are_required(void **state)
{
	struct luafix *f = *state;

	assert_int_equal(luafix_check(f, "return { queue = 'q' }"), -1);
	assert_non_null(strstr(f->e.text, "option 'perform' is missing"));
	assert_int_equal(luafix_check(f,
	    "return { perform = function() end }"), -1);
	assert_non_null(strstr(f->e.text, "option 'queue' is missing"));
	assert_int_equal(luafix_check(f, "return 5"), -1);
	assert_non_null(strstr(f->e.text, "must return a table"));
}

static void
test_syntax_error_has_file_and_line(void **state)
{
	struct luafix *f = *state;
	char want[100];

	snprintf(want, sizeof(want), "%s/t.lua:3: ", f->dir);
	assert_int_equal(luafix_check(f, "return {\n queue = 'q',\n x = = 1 }"),
	    -1);
	assert_ptr_equal(strstr(f->e.text, want), f->e.text);
}

static void
test_check_tells_what_was_loaded(void **state)
{
	struct luafix *f = *state;

	assert_int_equal(luafix_check(f, "return { queue = 'mail.out', "
	    "perform = function() end, on_failed = function() end }"), 0);
	assert_non_null(strstr(buf_str(&f->out),
	    "queue mail.out, perform, on_failed"));
}

static void
test_queue_of_a_broken_script_is_guessed(void **state)
{
	static const struct {
		const char *text, *queue;
	} rows[] = {
		{"return { queue = \"a.b\", x = = }", "a.b"},
		{"-- queue = 'no'\nreturn { queue='yes' ", "yes"},
		{"--[[ queue = 'no' ]] queue\n=\n'yes'", "yes"},
		{"my_queue = 'no' q.queue = 'no' queue = 'yes'", "yes"},
		{"return { queue = name }", NULL},
		{"queue", NULL},
		{"queue = '", NULL},
		{"", NULL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < nitems(rows); i++) {
		char *q = source_guess_queue(rows[i].text,
		    strlen(rows[i].text));

		if (rows[i].queue)
			assert_string_equal(q, rows[i].queue);
		else
			assert_null(q);
		free(q);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, luafix_setup, \
	luafix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nothing_said_stays_unsaid),
		T(test_every_option_arrives),
		T(test_wrong_type_names_field_value_and_expectation),
		T(test_bounds_are_checked),
		T(test_unknown_option_is_named),
		T(test_batch_is_read),
		T(test_batch_and_its_function_belong_together),
		T(test_schedules_are_judged),
		T(test_hook_is_read),
		T(test_hook_that_would_not_protect_is_refused),
		T(test_topics_are_read),
		T(test_perform_is_not_needed_beside_a_hook),
		T(test_rate_needs_both_numbers),
		T(test_queue_and_perform_are_required),
		T(test_syntax_error_has_file_and_line),
		T(test_check_tells_what_was_loaded),
		T(test_queue_of_a_broken_script_is_guessed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
