/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"

static void
int_takes_whole_numbers(void **state)
{
	static const struct {
		const char *s;
		int64_t v;
	} good[] = {
		{"0", 0}, {"7", 7}, {"-1", -1}, {"1234567890", 1234567890},
		{"9223372036854775807", INT64_MAX},
		{"-9223372036854775808", INT64_MIN},
	};

	(void)state;
	for (size_t i = 0; i < nitems(good); i++) {
		int64_t v = 99;

		assert_int_equal(str_int(good[i].s, strlen(good[i].s), &v),
		    0);
		assert_true(v == good[i].v);
	}
}

static void
int_refuses_the_rest(void **state)
{
	static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "01",
	    "-0", "00", "1.0", "0x1", "1e3", "9223372036854775808",
	    "-9223372036854775809", "99999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		int64_t v = 99;

		assert_int_equal(str_int(bad[i], strlen(bad[i]), &v), -1);
		assert_int_equal(v, 99);
	}
}

static void
int_counts_its_bytes(void **state)
{
	int64_t v = 0;

	(void)state;
	assert_int_equal(str_int("123", 2, &v), 0);
	assert_int_equal(v, 12);
	assert_int_equal(str_int("1\0", 2, &v), -1);
}

static void
double_is_finite_and_decimal(void **state)
{
	static const char *const bad[] = {"", "nan", "inf", "-inf", "0x1p3",
	    "1e999", "1 ", " 1", "1..2", "e5", "1e", "1,5"};
	double v = 0;

	(void)state;
	assert_int_equal(str_double("1.5", 3, &v), 0);
	assert_true(v == 1.5);
	assert_int_equal(str_double("-2e3", 4, &v), 0);
	assert_true(v == -2000);
	for (size_t i = 0; i < nitems(bad); i++) {
		v = 42;
		assert_int_equal(str_double(bad[i], strlen(bad[i]), &v), -1);
		assert_true(v == 42);
	}
}

static void
duration_wants_a_unit(void **state)
{
	static const struct {
		const char *s;
		int64_t ms;
	} good[] = {
		{"500ms", 500}, {"2s", 2000}, {"5m", 300000},
		{"1h", 3600000}, {"7d", 604800000}, {"1.5s", 1500},
		{"0s", 0}, {"0.25h", 900000},
	};
	static const char *const bad[] = {"", "s", "5", "-1s", "1 s", "1S",
	    "5M", "1w", "1.s", ".5s", "1s2", "9999999999999999d", "1s "};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < nitems(good); i++) {
		assert_int_equal(str_duration(good[i].s, strlen(good[i].s),
		    0, &ms), 0);
		assert_true(ms == good[i].ms);
	}
	for (size_t i = 0; i < nitems(bad); i++) {
		ms = 77;
		assert_int_equal(str_duration(bad[i], strlen(bad[i]), 0,
		    &ms), -1);
		assert_int_equal(ms, 77);
	}
}

static void
duration_takes_bare_digits_on_demand(void **state)
{
	int64_t ms = 0;

	(void)state;
	assert_int_equal(str_duration("30", 2, 1000, &ms), 0);
	assert_int_equal(ms, 30000);
	assert_int_equal(str_duration("1.5", 3, 1000, &ms), 0);
	assert_int_equal(ms, 1500);
	assert_int_equal(str_duration("30ms", 4, 1000, &ms), 0);
	assert_int_equal(ms, 30);
}

static void
size_knows_binary_units(void **state)
{
	static const struct {
		const char *s;
		int64_t bytes;
	} good[] = {
		{"4096", 4096}, {"64KiB", 65536}, {"64K", 65536},
		{"1MiB", 1048576}, {"2G", 2147483648}, {"1.5M", 1572864},
		{"1TiB", 1099511627776},
	};
	static const char *const bad[] = {"", "K", "-1", "1KB", "1kib",
	    "1.5", "1 M", "9999999999G"};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < nitems(good); i++) {
		assert_int_equal(str_size(good[i].s, strlen(good[i].s), &v),
		    0);
		assert_true(v == good[i].bytes);
	}
	for (size_t i = 0; i < nitems(bad); i++)
		assert_int_equal(str_size(bad[i], strlen(bad[i]), &v), -1);
}

static bool
glob(const char *pattern, const char *s)
{
	return str_glob(pattern, strlen(pattern), s, strlen(s));
}

static void
glob_is_as_in_redis(void **state)
{
	(void)state;
	assert_true(glob("*", ""));
	assert_true(glob("a*c", "abbbc"));
	assert_true(glob("outbound.*", "outbound.mail"));
	assert_false(glob("outbound.*", "outbound"));
	assert_true(glob("h?llo", "hello"));
	assert_false(glob("h?llo", "hllo"));
	assert_true(glob("[a-c]x", "bx"));
	assert_false(glob("[^a-c]x", "bx"));
	assert_true(glob("[^a-c]x", "dx"));
	assert_true(glob("[c-a]", "b"));
	assert_true(glob("\\*", "*"));
	assert_false(glob("\\*", "x"));
	assert_true(glob("[\\]]", "]"));
	assert_true(glob("a**b", "ab"));
	assert_false(glob("abc", "ab"));
	assert_false(glob("ab", "abc"));
	assert_true(glob("[ab", "a"));
}

/* A pattern of stars once took exponential time in other programs. */
static void
glob_never_explodes(void **state)
{
	char s[4001];

	(void)state;
	memset(s, 'a', 4000);
	s[4000] = '\0';
	assert_false(glob("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", s));
}

static void
is_compares_without_case(void **state)
{
	(void)state;
	assert_true(str_is("DeLaYx", 5, "delay"));
	assert_false(str_is("dela", 4, "delay"));
	assert_false(str_is("delayed", 7, "delay"));
	assert_true(str_is(NULL, 0, ""));
}

static void
read_file_has_a_limit(void **state)
{
	char path[] = "/tmp/bellhop-str-XXXXXX";
	int fd = mkstemp(path);
	char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "hello\0x", 7), 7);
	close(fd);
	assert_int_equal(str_read_file(path, 7, &text, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(text, "hello\0x", 8);
	free(text);
	assert_int_equal(str_read_file(path, 6, &text, &len), -EFBIG);
	unlink(path);
	assert_int_equal(str_read_file(path, 7, &text, &len), -ENOENT);
	assert_int_equal(str_read_file("/", 7, &text, &len), -EISDIR);
}

static void
span_reads_well(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} table[] = {
		{0, "0 ms"}, {250, "250 ms"}, {3250, "3.2 s"},
		{59999, "59.9 s"}, {60000, "1 m"}, {250000, "4 m 10 s"},
		{7500000, "2 h 5 m"}, {273600000, "3 d 4 h"},
		{86400000, "1 d"}, {-1500, "-1.5 s"},
	};
	char out[40];

	(void)state;
	for (size_t i = 0; i < nitems(table); i++) {
		str_span(table[i].ms, out, sizeof(out));
		assert_string_equal(out, table[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(int_takes_whole_numbers),
		cmocka_unit_test(int_refuses_the_rest),
		cmocka_unit_test(int_counts_its_bytes),
		cmocka_unit_test(double_is_finite_and_decimal),
		cmocka_unit_test(duration_wants_a_unit),
		cmocka_unit_test(duration_takes_bare_digits_on_demand),
		cmocka_unit_test(size_knows_binary_units),
		cmocka_unit_test(glob_is_as_in_redis),
		cmocka_unit_test(glob_never_explodes),
		cmocka_unit_test(is_compares_without_case),
		cmocka_unit_test(read_file_has_a_limit),
		cmocka_unit_test(span_reads_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
