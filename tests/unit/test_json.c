/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static void
expect(struct buf *b, const char *text)
{
	assert_string_equal(buf_str(b), text);
	buf_done(b);
}

static void
values_are_separated(void **state)
{
	struct buf b = BUF_INIT;
	struct json j;

	(void)state;
	json_init(&j, &b);
	json_object(&j);
	json_key(&j, "a");
	json_int(&j, INT64_MIN);
	json_key(&j, "b");
	json_array(&j);
	json_bool(&j, true);
	json_null(&j);
	json_array(&j);
	json_array_end(&j);
	json_object(&j);
	json_object_end(&j);
	json_raw(&j, "{\"x\":1}", 7);
	json_array_end(&j);
	json_key(&j, "c");
	json_str(&j, "");
	json_object_end(&j);
	expect(&b, "{\"a\":-9223372036854775808,\"b\":[true,null,[],{},"
	    "{\"x\":1}],\"c\":\"\"}");
}

static void
strings_are_escaped(void **state)
{
	struct buf b = BUF_INIT;
	struct json j;

	(void)state;
	json_init(&j, &b);
	json_bytes(&j, "\"\\\n\t\r\b\f\x01\x7f\0é/", 13);
	expect(&b, "\"\\\"\\\\\\n\\t\\r\\b\\f\\u0001\\u007f\\u0000é/\"");
}

/* Whatever goes in, what comes out is JSON. */
static void
bad_utf8_is_replaced(void **state)
{
	static const char *const bad[] = {"\xff", "\xc0\xaf", "\xed\xa0\x80",
	    "\xf4\x90\x80\x80", "\xe2\x82", "a\x80z", "\xf8\x88\x80\x80"};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		struct buf b = BUF_INIT;
		struct json j;

		assert_false(json_utf8(bad[i], strlen(bad[i])));
		json_init(&j, &b);
		json_str(&j, bad[i]);
		assert_true(json_valid(buf_peek(&b), buf_size(&b)));
		assert_non_null(strstr(buf_str(&b), "\xef\xbf\xbd"));
		buf_done(&b);
	}
}

static void
doubles_read_back(void **state)
{
	static const double values[] = {0.1, 1.0 / 3, 1e300, 5e-324, -2.5,
	    123456789012345.678};

	(void)state;
	for (size_t i = 0; i < nitems(values); i++) {
		struct buf b = BUF_INIT;
		struct json j;

		json_init(&j, &b);
		json_double(&j, values[i]);
		assert_true(strtod(buf_str(&b), NULL) == values[i]);
		assert_true(json_valid(buf_peek(&b), buf_size(&b)));
		buf_done(&b);
	}
}

static void
no_number_becomes_null(void **state)
{
	struct buf b = BUF_INIT;
	struct json j;

	(void)state;
	json_init(&j, &b);
	json_array(&j);
	json_double(&j, NAN);
	json_double(&j, INFINITY);
	json_double(&j, 0.1);
	json_array_end(&j);
	expect(&b, "[null,null,0.1]");
}

static void
valid_takes_json(void **state)
{
	static const char *const good[] = {"null", " true ", "0", "-0",
	    "1.5e+10", "\"\"", "\"\\u00e9\\ud83d\\ude00\"", "[]", "{}",
	    "[1,[2,{\"a\":[]}],\"x\"]", "{\"a\":1,\"b\":{\"c\":null}}",
	    "\"\xf0\x9f\x98\x80\"", "[ 1 , 2 ]\n"};

	(void)state;
	for (size_t i = 0; i < nitems(good); i++)
		assert_true(json_valid(good[i], strlen(good[i])));
}

static void
valid_refuses_the_rest(void **state)
{
	static const char *const bad[] = {"", " ", "nul", "01", "1.", ".5",
	    "+1", "1e", "-", "NaN", "'a'", "\"", "\"\\x\"", "\"\n\"",
	    "\"\\ud800\"", "\"\\ude00\"", "\"\\ud800\\u0041\"", "[1,]",
	    "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "[1}",
	    "{\"a\":1]", "1 2", "[1] x", "[", "{\"a\":1", "\"\xff\"",
	    "//c\n1", "]", "[[]"};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++)
		assert_false(json_valid(bad[i], strlen(bad[i])));
	assert_false(json_valid("1\0", 2));
	assert_false(json_valid("[\0]", 3));
}

static void
valid_bounds_its_depth(void **state)
{
	char deep[1100];

	(void)state;
	memset(deep, '[', 512);
	memset(deep + 512, ']', 512);
	assert_true(json_valid(deep, 1024));
	memset(deep, '[', 513);
	memset(deep + 513, ']', 513);
	assert_false(json_valid(deep, 1026));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_separated),
		cmocka_unit_test(strings_are_escaped),
		cmocka_unit_test(bad_utf8_is_replaced),
		cmocka_unit_test(doubles_read_back),
		cmocka_unit_test(no_number_becomes_null),
		cmocka_unit_test(valid_takes_json),
		cmocka_unit_test(valid_refuses_the_rest),
		cmocka_unit_test(valid_bounds_its_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
