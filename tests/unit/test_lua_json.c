/* SPDX-License-Identifier: MIT */
/* JSON in scripts: src/script/lua_json.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "lib/luafix.h"

static void
test_int64_survives_both_ways(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local d = json.decode('[9223372036854775807,"
	    "-9223372036854775808,9007199254740993]')\n"
	    "assert(math.type(d[1]) == 'integer')\n"
	    "assert(d[1] == math.maxinteger and d[2] == math.mininteger)\n"
	    "return d"),
	    "[9223372036854775807,-9223372036854775808,9007199254740993]");
}

static void
test_number_out_of_range_is_refused(void **state)
{
	static const char *const bad[] = {"9223372036854775808", "1e999",
	    "-9223372036854775809", "-1e400"};
	size_t i;

	for (i = 0; i < nitems(bad); i++) {
		char *body = xasprintf("return json.decode('[%s]')", bad[i]);
		const char *e = luafix_error(*state, body);

		assert_true(strstr(e, "64 bits") || strstr(e, "range"));
		free(body);
	}
}

static void
test_doubles_round_trip(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "for _, v in ipairs { 0.1, 1/3, 1e300, -2.5e-8, 5.0, -0.0 } do\n"
	    "  local w = json.decode(json.encode(v))\n"
	    "  assert(w == v and math.type(w) == 'float', json.encode(v))\n"
	    "end\n"
	    "return { 0.1, 5.0, 1e15, 3 }"), "[0.1,5.0,1e+15,3]");
}

static void
test_not_finite_is_refused(void **state)
{
	assert_non_null(strstr(luafix_error(*state, "return 0/0"), "finite"));
	assert_non_null(strstr(luafix_error(*state, "return { 1/0 }"),
	    "finite"));
}

static void
test_empty_table_is_object_unless_marked(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "return { {}, json.array {}, json.decode('[]'), "
	    "json.decode('{}') }"), "[{},[],[],{}]");
}

static void
test_null_is_kept(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local d = json.decode('[null,{\"a\":null}]')\n"
	    "assert(d[1] == json.null and d[2].a == json.null)\n"
	    "return d"), "[null,{\"a\":null}]");
}

static void
test_depth_is_limited_to_128(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local ok = json.decode(('['):rep(128) .. (']'):rep(128))\n"
	    "assert(json.encode(ok) == ('['):rep(128) .. (']'):rep(128))\n"
	    "local e = select(2, pcall(json.decode,\n"
	    "    ('['):rep(129) .. (']'):rep(129)))\n"
	    "assert(e:find('deeper'), e)\n"
	    "local t = {} t[1] = t\n"
	    "e = select(2, pcall(json.encode, t))\n"
	    "assert(e:find('itself'), e)\n"
	    "return true"), "true");
}

static void
test_strings_are_escaped_and_read_back(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local s = 'a\"\\\\\\b\\f\\n\\r\\t\\0\\1/\\xc3\\xa4'\n"
	    "assert(json.decode(json.encode(s)) == s)\n"
	    "assert(json.decode('\"\\\\ud83d\\\\ude00\"') == "
	    "'\\u{1F600}')\n"
	    "return json.encode('\\0\\n')"),
	    "\"\\\"\\\\u0000\\\\n\\\"\"");
}

static void
test_invalid_utf8_is_refused(void **state)
{
	assert_non_null(strstr(luafix_error(*state, "return '\\xff'"),
	    "UTF-8"));
	assert_non_null(strstr(luafix_error(*state,
	    "return json.decode('\"\\xff\"')"), "JSON"));
}

static void
test_half_a_surrogate_is_refused(void **state)
{
	static const char *const bad[] = {"\\\\ud800", "\\\\udc00",
	    "\\\\ud800x", "\\\\ud800\\\\u0041"};
	size_t i;

	for (i = 0; i < nitems(bad); i++) {
		char *body = xasprintf("return json.decode('\"%s\"')", bad[i]);

		assert_non_null(strstr(luafix_error(*state, body),
		    "surrogate"));
		free(body);
	}
}

static void
test_broken_text_is_refused(void **state)
{
	static const char *const bad[] = {"", " ", "[1", "{\"a\":}", "[1] x",
	    "nul", "[01]", "{'a':1}", "[1,]", "// c\\n1", "NaN", "0x10"};
	size_t i;

	for (i = 0; i < nitems(bad); i++) {
		char *body = xasprintf("return json.decode(\"%s\")",
		    strchr(bad[i], '"') ? "{\\\"a\\\":}" : bad[i]);

		assert_non_null(strstr(luafix_error(*state, body),
		    "no valid JSON"));
		free(body);
	}
}

static void
test_mixed_and_sparse_tables_are_refused(void **state)
{
	assert_non_null(strstr(luafix_error(*state,
	    "return { 1, 2, a = 3 }"), "other keys"));
	assert_non_null(strstr(luafix_error(*state,
	    "return { [5] = 1 }"), "keys"));
	assert_non_null(strstr(luafix_error(*state,
	    "return { [true] = 1 }"), "keys"));
	assert_non_null(strstr(luafix_error(*state,
	    "return print"), "function"));
}

static void
test_memory_cap_in_decode_leaves_state_usable(void **state)
{
	struct luafix *f = *state;

	f->conf.script_memory = 4 << 20;
	assert_string_equal(luafix_result(f,
	    "local big = '[' .. ('[1,2,3],'):rep(60000) .. '1]'\n"
	    "local ok, e = pcall(json.decode, big)\n"
	    "assert(not ok and e == 'not enough memory', e)\n"
	    "big = nil\n"
	    "return json.decode('[1]')"), "[1]");
}

static void
test_job_data_is_nil_for_other_bytes(void **state)
{
	struct luafix *f = *state;

	assert_int_equal(luafix_run(f, "assert(job.data == nil) "
	    "assert(job.body == 'no json')", "no json"), 0);
	assert_int_equal(luafix_run(f, "assert(job.data.a[2] == 7) "
	    "job.data.a = 1 assert(job.data.a == 1)", "{\"a\":[1,7]}"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, luafix_setup, \
	luafix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_int64_survives_both_ways),
		T(test_number_out_of_range_is_refused),
		T(test_doubles_round_trip),
		T(test_not_finite_is_refused),
		T(test_empty_table_is_object_unless_marked),
		T(test_null_is_kept),
		T(test_depth_is_limited_to_128),
		T(test_strings_are_escaped_and_read_back),
		T(test_invalid_utf8_is_refused),
		T(test_half_a_surrogate_is_refused),
		T(test_broken_text_is_refused),
		T(test_mixed_and_sparse_tables_are_refused),
		T(test_memory_cap_in_decode_leaves_state_usable),
		T(test_job_data_is_nil_for_other_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
