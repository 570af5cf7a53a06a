/* SPDX-License-Identifier: MIT */
/* Time zones: src/base/tz.c, beside what glibc says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/tz.h"

#define YEAR INT64_C(31556952)

static const char *const zones[] = {"Europe/Lisbon", "Europe/Dublin",
    "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
    "Asia/Kathmandu", "America/Santiago", "Antarctica/Troll", "Asia/Gaza",
    "Pacific/Apia", "Pacific/Kiritimati", "America/Godthab", "Etc/GMT+12"};

static struct tz *
load(const char *name)
{
	struct err e = ERR_INIT;
	struct tz *z = NULL;

	if (tz_load(name, strlen(name), &z, &e) < 0)
		fail_msg("%s", e.text);
	return z;
}

/* NULL where this machine does not have that zone. */
static struct tz *
load_known(const char *name)
{
	struct err e = ERR_INIT;
	struct tz *z = NULL;

	return tz_load(name, strlen(name), &z, &e) < 0 ? NULL : z;
}

static void
use_zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

static int64_t
local_by_glibc(int64_t utc)
{
	time_t t = (time_t)utc;
	struct tm tm;

	localtime_r(&t, &tm);
	return utc + tm.tm_gmtoff;
}

static void
test_offsets_are_those_of_glibc(void **state)
{
	(void)state;
	for (size_t i = 0; i < nitems(zones); i++) {
		struct tz *z = load_known(zones[i]);

		if (!z)
			continue;
		use_zone(zones[i]);
		for (int64_t t = 0; t < 130 * YEAR; t += 5 * 3600 + 1799)
			if (local_by_glibc(t) != t + tz_offset(z, t))
				fail_msg("%s differs at %lld", zones[i],
				    (long long)t);
		tz_free(&z);
	}
}

/* Each change is one, and none lies between two of them. */
static void
test_changes_are_where_glibc_has_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < nitems(zones); i++) {
		struct tz *z = load_known(zones[i]);
		int64_t t = 20 * YEAR, next;

		if (!z)
			continue;
		use_zone(zones[i]);
		while (t < 120 * YEAR) {
			next = tz_change(z, t);
			assert_true(next > t);
			if (next == INT64_MAX)
				next = 120 * YEAR;
			for (int k = 0; k < 20; k++) {
				int64_t in = t + (next - 1 - t) * k / 19;

				assert_int_equal(local_by_glibc(in),
				    in + tz_offset(z, t));
			}
			t = next;
		}
		tz_free(&z);
	}
}

static int64_t
local(int year, int month, int day, int hour, int minute)
{
	return tz_days(year, month, day) * 86400 + hour * 3600 + minute * 60;
}

/* glibc's mktime() of a local time that exists once. */
static void
test_local_times_are_those_of_glibc(void **state)
{
	(void)state;
	for (size_t i = 0; i < nitems(zones); i++) {
		struct tz *z = load_known(zones[i]);

		if (!z)
			continue;
		use_zone(zones[i]);
		for (int64_t l = 30 * YEAR; l < 90 * YEAR; l += 17 * 3600 + 47) {
			time_t t = (time_t)l;
			struct tm tm;
			int64_t utc;

			gmtime_r(&t, &tm);
			tm.tm_isdst = -1;
			utc = mktime(&tm);
			/* Not in a gap, not in an overlap. */
			if (local_by_glibc(utc) != l ||
			    local_by_glibc(utc - 3600) + 3600 != l ||
			    local_by_glibc(utc + 3600) - 3600 != l)
				continue;
			assert_int_equal(tz_utc(z, l), utc);
		}
		tz_free(&z);
	}
}

static void
test_a_gap_counts_at_its_end(void **state)
{
	struct tz *z = load("Europe/Lisbon");

	(void)state;
	/* 01:00 becomes 02:00 (+1) at 01:00 UTC. */
	assert_int_equal(tz_utc(z, local(2026, 3, 29, 0, 59)),
	    local(2026, 3, 29, 0, 59));
	assert_int_equal(tz_utc(z, local(2026, 3, 29, 1, 0)),
	    local(2026, 3, 29, 1, 0));
	assert_int_equal(tz_utc(z, local(2026, 3, 29, 1, 59)),
	    local(2026, 3, 29, 1, 0));
	assert_int_equal(tz_utc(z, local(2026, 3, 29, 2, 0)),
	    local(2026, 3, 29, 1, 0));
	tz_free(&z);
	z = load("Australia/Lord_Howe");
	/* 02:00 (+10:30) becomes 02:30 (+11). */
	assert_int_equal(tz_utc(z, local(2026, 10, 4, 2, 10)),
	    local(2026, 10, 3, 15, 30));
	tz_free(&z);
}

static void
test_an_overlap_counts_at_its_first_pass(void **state)
{
	struct tz *z = load("America/New_York");

	(void)state;
	assert_int_equal(tz_utc(z, local(2026, 11, 1, 1, 30)),
	    local(2026, 11, 1, 5, 30));
	assert_int_equal(tz_utc(z, local(2026, 11, 1, 2, 0)),
	    local(2026, 11, 1, 7, 0));
	tz_free(&z);
}

static void
test_a_whole_day_that_never_was(void **state)
{
	struct tz *z = load("Pacific/Apia");

	(void)state;
	assert_int_equal(tz_utc(z, local(2011, 12, 30, 12, 0)),
	    local(2011, 12, 30, 10, 0));
	tz_free(&z);
}

static void
test_the_calendar_goes_there_and_back(void **state)
{
	(void)state;
	for (int64_t day = -800000; day < 800000; day += 13) {
		struct tz_date d = tz_date(day);

		assert_int_equal(tz_days(d.year, d.month, d.day), day);
	}
	assert_int_equal(tz_days(1970, 1, 1), 0);
	assert_int_equal(tz_days(2000, 2, 29), 11016);
}

static void
test_utc_needs_no_file(void **state)
{
	struct tz *z;

	(void)state;
	setenv("TZDIR", "/nowhere", 1);
	z = load("");
	assert_string_equal(tz_name(z), "UTC");
	assert_int_equal(tz_offset(z, 1000), 0);
	assert_true(tz_change(z, 1000) == INT64_MAX);
	assert_int_equal(tz_utc(z, 1000), 1000);
	tz_free(&z);
	z = load("UTC");
	assert_false(tz_changed(z));
	tz_free(&z);
	unsetenv("TZDIR");
}

static void
test_bad_names_are_refused(void **state)
{
	static const char *const bad[] = {"/etc/localtime", "../etc/passwd",
	    "Europe/../Europe/Lisbon", "Europe", "Europe/", "Europe/Lisboa",
	    "a b", "Europe/Lisbon\n", "zone.tab", "lisbon"};
	struct tz *z = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		e = (struct err)ERR_INIT;
		if (tz_load(bad[i], strlen(bad[i]), &z, &e) == 0)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(e.code, BH_E_BADARG);
		assert_non_null(strstr(e.text, "time zone '"));
	}
	assert_null(z);
}

/* A whole file, then every truncation of it. */
static size_t
make_file(unsigned char *p, const char *footer)
{
	static const unsigned char head[44] = "TZif2";
	unsigned char *from = p;

	memcpy(p, head, 44);
	p += 44;
	memcpy(p, head, 44);
	p[35] = 1;	/* transitions */
	p[39] = 2;	/* types */
	p[43] = 4;	/* chars */
	p += 44;
	memcpy(p, "\0\0\0\0\1\0\0\0", 8);
	p[8] = 1;
	memcpy(p + 9, "\0\0\16\20\0\0" "\0\0\34\40\1\0" "ABC\0", 16);
	p += 25;
	p += sprintf((char *)p, "\n%s\n", footer);
	return (size_t)(p - from);
}

static int
parse(const unsigned char *p, size_t len, struct tz **z)
{
	struct err e;

	return tz_parse("test", p, len, z, &e);
}

static void
test_a_cut_file_is_refused(void **state)
{
	unsigned char file[300];
	size_t len = make_file(file, "ABC-2");
	struct tz *z = NULL;

	(void)state;
	assert_int_equal(parse(file, len, &z), 0);
	assert_int_equal(tz_offset(z, 0), 3600);
	assert_int_equal(tz_offset(z, 16777216), 7200);
	tz_free(&z);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(parse(file, n, &z), -1);
	/* Counts beyond the file. */
	for (size_t at = 44 + 20; at < 88; at += 4) {
		make_file(file, "ABC-2");
		memset(file + at, 0xff, 4);
		assert_int_equal(parse(file, len, &z), -1);
	}
	make_file(file, "ABC-2");
	file[88 + 8] = 2;	/* no such type */
	assert_int_equal(parse(file, len, &z), -1);
}

static void
test_footers_are_read_strictly(void **state)
{
	static const char *const good[] = {"", "ABC0", "<+03>-3",
	    "IST-1GMT0,M10.5.0,M3.5.0/1", "A-1B,J60,J300/25:30:01",
	    "ABC3DEF,0/0,J365/25", "ABC3DEF2:30,10/-3,300"};
	static const char *const bad[] = {"0", "ABC", "ABC25", "<ABC0",
	    "ABC0DEF", "ABC0DEF,M3.5.0", "ABC0DEF,M13.1.0,M1.1.0",
	    "ABC0DEF,M1.6.0,M1.1.0", "ABC0DEF,M1.1.7,M2.1.0",
	    "ABC0DEF,J0,J1", "ABC0DEF,J1,J366", "ABC0DEF,1,2x",
	    "ABC0DEF,1/168,2", "ABC0:60", "ABC-", "ABC0,1,2"};
	unsigned char file[300];
	struct tz *z = NULL;

	(void)state;
	for (size_t i = 0; i < nitems(good); i++) {
		size_t len = make_file(file, good[i]);

		if (parse(file, len, &z) < 0)
			fail_msg("'%s' was refused", good[i]);
		tz_free(&z);
	}
	for (size_t i = 0; i < nitems(bad); i++) {
		size_t len = make_file(file, bad[i]);

		if (parse(file, len, &z) == 0)
			fail_msg("'%s' was taken", bad[i]);
	}
}

static void
write_zone(const char *path, const char *footer)
{
	unsigned char file[300];
	size_t len = make_file(file, footer);
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(file, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void
test_a_new_file_is_noticed(void **state)
{
	char dir[] = "/tmp/bellhop-tz-XXXXXX", path[100];
	struct tz *z;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/Zone", dir);
	setenv("TZDIR", dir, 1);
	write_zone(path, "ABC-2");
	z = load("Zone");
	assert_false(tz_changed(z));
	write_zone(path, "ABC-2DEF,1,300");
	assert_true(tz_changed(z));
	/* Without a file, what is known stays in force. */
	unlink(path);
	assert_false(tz_changed(z));
	tz_free(&z);
	rmdir(dir);
	unsetenv("TZDIR");
}

static void
test_times_are_shown_in_the_zone(void **state)
{
	struct tz *z = load("America/New_York");
	char s[48];

	(void)state;
	tz_show(z, local(2026, 7, 1, 16, 5) * 1000, s, sizeof(s));
	assert_string_equal(s, "2026-07-01 12:05:00 -0400");
	tz_show(z, local(2026, 12, 1, 3, 0) * 1000 + 250, s, sizeof(s));
	assert_string_equal(s, "2026-11-30 22:00:00.250 -0500");
	tz_free(&z);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offsets_are_those_of_glibc),
		cmocka_unit_test(test_changes_are_where_glibc_has_them),
		cmocka_unit_test(test_local_times_are_those_of_glibc),
		cmocka_unit_test(test_a_gap_counts_at_its_end),
		cmocka_unit_test(test_an_overlap_counts_at_its_first_pass),
		cmocka_unit_test(test_a_whole_day_that_never_was),
		cmocka_unit_test(test_the_calendar_goes_there_and_back),
		cmocka_unit_test(test_utc_needs_no_file),
		cmocka_unit_test(test_bad_names_are_refused),
		cmocka_unit_test(test_a_cut_file_is_refused),
		cmocka_unit_test(test_footers_are_read_strictly),
		cmocka_unit_test(test_a_new_file_is_noticed),
		cmocka_unit_test(test_times_are_shown_in_the_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
