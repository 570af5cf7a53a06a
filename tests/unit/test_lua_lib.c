/* SPDX-License-Identifier: MIT */
/* The small libraries of scripts: src/script/lua_crypto.c, lua_time.c,
 * lua_misc.c, lua_log.c, lua_ask.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/luafix.h"
#include "script/lua_time.h"

static void
test_http_date_in_its_three_forms(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777000},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777000},
		{"Sun Nov  6 08:49:37 1994", 784111777000},
		{"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800000},
		{"Sun, 06 Nov 1994 08:49:37", -1},
		{"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
		{"tomorrow", -1},
		{"", -1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < nitems(rows); i++)
		assert_int_equal(http_date(rows[i].text,
		    strlen(rows[i].text)), rows[i].ms);
}

static void
test_durations_take_units_and_seconds(void **state)
{
	struct luafix *f = *state;

	assert_non_null(strstr(luafix_error(f, "job:retry('1500ms')"),
	    "after 1.5 s"));
	assert_non_null(strstr(luafix_error(f, "job:retry(90)"),
	    "after 1 m 30 s"));
	assert_non_null(strstr(luafix_error(f, "job:retry('90')"),
	    "after 1 m 30 s"));
	assert_non_null(strstr(luafix_error(f, "job:retry()"),
	    "after the back-off"));
	assert_non_null(strstr(luafix_error(f, "job:retry('soon')"),
	    "job:retry: expected a duration"));
	assert_non_null(strstr(luafix_error(f, "job:retry(-1)"),
	    "job:retry: expected a duration"));
	assert_non_null(strstr(luafix_error(f, "job:retry(0/0)"),
	    "job:retry: expected a duration"));
}

static void
test_digests_match_known_answers(void **state)
{
	struct luafix *f = *state;

	assert_string_equal(luafix_result(f, "return crypto.sha256('abc')"),
	    "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f200"
	    "15ad\"");
	assert_string_equal(luafix_result(f,
	    "return crypto.hmac('Jefe', 'what do ya want for nothing?')"),
	    "\"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec"
	    "3843\"");
	assert_string_equal(luafix_result(f, "return crypto.equal('a', 'a') "
	    "and not crypto.equal('a', 'b') and not crypto.equal('a', 'ab')"),
	    "true");
}

static void
test_base64_round_trip_and_errors(void **state)
{
	struct luafix *f = *state;

	assert_string_equal(luafix_result(f,
	    "for n = 0, 20 do local s = crypto.random(n + 1)\n"
	    "assert(base64.decode(base64.encode(s)) == s) end\n"
	    "assert(base64.decode('') == '' and base64.encode('') == '')\n"
	    "assert(base64.decode('_-8') == base64.decode('/+8='))\n"
	    "return base64.encode('hello')"), "\"aGVsbG8=\"");
	assert_non_null(strstr(luafix_error(f, "base64.decode('a')"),
	    "length"));
	assert_non_null(strstr(luafix_error(f, "base64.decode('ab!d')"),
	    "byte 3"));
}

static void
test_uuid_has_its_form(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local u = crypto.uuid() assert(u ~= crypto.uuid())\n"
	    "local h = '%x'\n"
	    "return u:match('^' .. h:rep(8) .. '%-' .. h:rep(4) .. '%-4' .. "
	    "h:rep(3) .. '%-[89ab]' .. h:rep(3) .. '%-' .. h:rep(12) .. '$') "
	    "== u"), "true");
}

static void
test_secret_loses_its_final_newline(void **state)
{
	struct luafix *f = *state;

	luafix_write(f->secrets, "api", "token\n");
	assert_string_equal(luafix_result(f, "return secret('api')"),
	    "\"token\"");
	assert_non_null(strstr(luafix_error(f, "secret('none')"),
	    "secret 'none' cannot be read"));
	assert_non_null(strstr(luafix_error(f, "secret('../api')"),
	    "a secret's name"));
}

static void
test_config_is_nested(void **state)
{
	struct luafix *f = *state;
	struct conf_user user[] = {
		{.name = (char[]){"a.b.c"}, .type = 's', .s = (char[]){"x"}},
		{.name = (char[]){"a.n"}, .type = 'i', .i = 7},
		{.name = (char[]){"on"}, .type = 'b', .i = 1},
	};

	f->conf.user = user;
	f->conf.nuser = nitems(user);
	assert_string_equal(luafix_result(f, "assert(config.on == true) "
	    "return config.a.b.c .. config.a.n"), "\"x7\"");
}

static void
test_log_lines_have_fields_and_a_limit(void **state)
{
	struct luafix *f = *state;
	const char *at;
	int lines = 0;

	assert_int_equal(luafix_run(f, "log.warn('hot', { room = 9 })\n"
	    "for i = 1, 500 do log.info(i) end", NULL), 0);
	assert_non_null(strstr(buf_str(&f->out), "log warn: hot room=9\n"));
	for (at = buf_str(&f->out); (at = strstr(at, "log ")); at++)
		lines++;
	assert_int_equal(lines, 201);
}

static void
test_add_options_become_arguments(void **state)
{
	struct luafix *f = *state;

	assert_int_equal(luafix_run(f, "queue.add('o', 'raw', { delay = '5s', "
	    "unique = 'k', unique_ttl = 60, unique_mode = 'follow', "
	    "backoff = { type = 'fixed', delay = '1s', jitter = 0 } })",
	    NULL), 0);
	assert_non_null(strstr(buf_str(&f->out), "store: JOB.ADD o raw "
	    "DELAY 5000 BACKOFF FIXED 1000 JITTER 0 UNIQUE k TTL 60000 "
	    "MODE follow\n"));
	assert_non_null(strstr(luafix_error(f,
	    "queue.add('o', 'x', { dealy = 1 })"), "unknown option 'dealy'"));
	assert_non_null(strstr(luafix_error(f,
	    "table.sort({ 2, 1 }, function() queue.add('o', 'x') end)"),
	    "table.sort"));
}

static void
test_dates_know_their_conversions(void **state)
{
	struct luafix *f = *state;

	assert_string_equal(luafix_result(f,
	    "return os.date('!%Y-%m-%d %H:%M:%S', 86399)"),
	    "\"1970-01-01 23:59:59\"");
	assert_non_null(strstr(luafix_error(f, "os.date('%Q')"),
	    "unknown conversion '%Q'"));
	assert_non_null(strstr(luafix_error(f, "os.time {}"), "missing"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, luafix_setup, \
	luafix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_http_date_in_its_three_forms),
		T(test_durations_take_units_and_seconds),
		T(test_digests_match_known_answers),
		T(test_base64_round_trip_and_errors),
		T(test_uuid_has_its_form),
		T(test_secret_loses_its_final_newline),
		T(test_config_is_nested),
		T(test_log_lines_have_fields_and_a_limit),
		T(test_add_options_become_arguments),
		T(test_dates_know_their_conversions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
