/* SPDX-License-Identifier: MIT */
/* Cron expressions: src/base/cron.c, beside a scan of every minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/cron.h"

static struct tz *
zone(const char *name)
{
	struct err e = ERR_INIT;
	struct tz *z = NULL;

	if (tz_load(name, strlen(name), &z, &e) < 0)
		fail_msg("%s", e.text);
	return z;
}

static int64_t
at(int year, int month, int day, int hour, int minute, int second)
{
	return (tz_days(year, month, day) * 86400 + hour * 3600 +
	    minute * 60 + second) * 1000;
}

static struct cron
cron(const char *s)
{
	struct err e = ERR_INIT;
	struct cron c;

	if (cron_parse(&c, s, strlen(s), &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

/* The times after a moment, as text, in UTC. */
static void
expect(const char *text, const char *zone_name, int64_t after,
    const char *const *want, size_t n)
{
	struct tz *z = zone(zone_name), *utc = zone("");
	struct cron c = cron(text);

	for (size_t i = 0; i < n; i++) {
		char s[48];

		after = cron_next(&c, z, after);
		assert_true(after != CRON_NEVER);
		tz_show(utc, after, s, sizeof(s));
		s[19] = '\0';
		if (strcmp(s, want[i]) != 0)
			fail_msg("%s, time %zu: %s, expected %s", text, i + 1,
			    s, want[i]);
	}
	tz_free(&z);
	tz_free(&utc);
}

#define EXPECT(text, zone_name, after, ...) do {                         \
	static const char *const want[] = {__VA_ARGS__};                 \
	expect(text, zone_name, after, want, nitems(want));              \
} while (0)

static void
test_fields_mean_what_they_say(void **state)
{
	int64_t t = at(2026, 11, 21, 10, 20, 30);

	(void)state;
	EXPECT("* * * * *", "", t, "2026-11-21 10:21:00",
	    "2026-11-21 10:22:00");
	EXPECT("*/20 * * * *", "", t, "2026-11-21 10:40:00",
	    "2026-11-21 11:00:00", "2026-11-21 11:20:00");
	EXPECT("5/20 * * * *", "", t, "2026-11-21 10:25:00",
	    "2026-11-21 10:45:00", "2026-11-21 11:05:00");
	EXPECT("0 6 * * *", "", t, "2026-11-22 06:00:00");
	EXPECT("15,45 9-17/4 * * MON-FRI", "", t, "2026-11-23 09:15:00",
	    "2026-11-23 09:45:00", "2026-11-23 13:15:00");
	EXPECT("0 0 1 jan ?", "", t, "2027-01-01 00:00:00");
	EXPECT("0 0 * * 7", "", t, "2026-11-22 00:00:00",
	    "2026-11-29 00:00:00");
	EXPECT("0 0 * * sat-sun", "", t, "2026-11-22 00:00:00",
	    "2026-11-28 00:00:00");
	EXPECT("0 0 * * 5-7", "", t, "2026-11-22 00:00:00",
	    "2026-11-27 00:00:00", "2026-11-28 00:00:00");
	EXPECT(" 0\t0  31 * * ", "", t, "2026-12-31 00:00:00",
	    "2027-01-31 00:00:00", "2027-03-31 00:00:00");
	EXPECT("0 0 29 2 *", "", t, "2028-02-29 00:00:00",
	    "2032-02-29 00:00:00");
	EXPECT("0 0 29 2 *", "", at(2096, 3, 1, 0, 0, 0),
	    "2104-02-29 00:00:00");
}

static void
test_seconds_are_a_field_in_front(void **state)
{
	int64_t t = at(2026, 11, 21, 10, 20, 30);

	(void)state;
	EXPECT("*/10 * * * * *", "", t, "2026-11-21 10:20:40",
	    "2026-11-21 10:20:50", "2026-11-21 10:21:00");
	EXPECT("*/10 * * * * *", "", t + 250, "2026-11-21 10:20:40");
	EXPECT("*/10 * * * * *", "", t - 1, "2026-11-21 10:20:30");
	EXPECT("30 0 12 * * *", "", t, "2026-11-21 12:00:30",
	    "2026-11-22 12:00:30");
}

static void
test_nicknames(void **state)
{
	int64_t t = at(2026, 11, 21, 10, 20, 30);

	(void)state;
	EXPECT("@hourly", "", t, "2026-11-21 11:00:00");
	EXPECT("@daily", "", t, "2026-11-22 00:00:00");
	EXPECT("@midnight", "", t, "2026-11-22 00:00:00");
	EXPECT("@weekly", "", t, "2026-11-22 00:00:00");
	EXPECT("@monthly", "", t, "2026-12-01 00:00:00");
	EXPECT("@yearly", "", t, "2027-01-01 00:00:00");
	EXPECT("@Annually", "", t, "2027-01-01 00:00:00");
}

static void
test_last_days_and_nth_weekdays(void **state)
{
	int64_t t = at(2026, 11, 21, 10, 20, 30);

	(void)state;
	EXPECT("0 0 L * *", "", t, "2026-11-30 00:00:00",
	    "2026-12-31 00:00:00", "2027-01-31 00:00:00",
	    "2027-02-28 00:00:00");
	EXPECT("0 0 15,L * *", "", t, "2026-11-30 00:00:00",
	    "2026-12-15 00:00:00");
	EXPECT("0 0 * * 5#2", "", t, "2026-12-11 00:00:00",
	    "2027-01-08 00:00:00");
	EXPECT("0 0 * * MON#5", "", t, "2026-11-30 00:00:00",
	    "2027-03-29 00:00:00");
	EXPECT("0 0 * * 5L", "", t, "2026-11-27 00:00:00",
	    "2026-12-25 00:00:00", "2027-01-29 00:00:00");
	EXPECT("0 0 * * 7L", "", t, "2026-11-29 00:00:00");
	EXPECT("0 0 * * tue,FRIL", "", t, "2026-11-24 00:00:00",
	    "2026-11-27 00:00:00", "2026-12-01 00:00:00");
}

static void
test_either_day_field_is_enough(void **state)
{
	int64_t t = at(2026, 11, 21, 10, 20, 30);

	(void)state;
	EXPECT("0 0 13 * FRI", "", t, "2026-11-27 00:00:00",
	    "2026-12-04 00:00:00", "2026-12-11 00:00:00",
	    "2026-12-13 00:00:00");
	/* A field that begins with * restricts nothing by itself. */
	EXPECT("0 0 */2 * SAT", "", t, "2026-12-05 00:00:00",
	    "2026-12-19 00:00:00", "2027-01-09 00:00:00");
}

/* Lisbon: 2026-03-29 01:00 becomes 02:00; 2026-10-25 02:00 becomes 01:00. */
static void
test_a_gap_runs_right_after_it(void **state)
{
	(void)state;
	EXPECT("30 1 * * *", "Europe/Lisbon", at(2026, 3, 28, 0, 0, 0),
	    "2026-03-28 01:30:00", "2026-03-29 01:00:00",
	    "2026-03-30 00:30:00");
	/* Two swallowed ones are one, and not again beside a third. */
	EXPECT("0,30 1,2 * * *", "Europe/Lisbon", at(2026, 3, 29, 0, 0, 0),
	    "2026-03-29 01:00:00", "2026-03-29 01:30:00",
	    "2026-03-30 00:00:00");
	EXPECT("30 2 * * *", "America/New_York", at(2026, 3, 7, 12, 0, 0),
	    "2026-03-08 07:00:00", "2026-03-09 06:30:00");
	EXPECT("15 2 * * *", "Australia/Lord_Howe", at(2026, 10, 3, 0, 0, 0),
	    "2026-10-03 15:30:00", "2026-10-04 15:15:00");
}

static void
test_an_overlap_runs_once(void **state)
{
	(void)state;
	EXPECT("30 1 * * *", "Europe/Lisbon", at(2026, 10, 24, 12, 0, 0),
	    "2026-10-25 00:30:00", "2026-10-26 01:30:00");
	EXPECT("*/30 1 * * *", "America/New_York", at(2026, 11, 1, 0, 0, 0),
	    "2026-11-01 05:00:00", "2026-11-01 05:30:00",
	    "2026-11-02 06:00:00");
	EXPECT("45 1 * * *", "Australia/Lord_Howe", at(2026, 4, 4, 0, 0, 0),
	    "2026-04-04 14:45:00", "2026-04-05 15:15:00");
	/* Set during the second pass. */
	EXPECT("30 1 * * *", "Europe/Lisbon", at(2026, 10, 25, 1, 10, 0),
	    "2026-10-26 01:30:00");
}

static void
test_intervals_take_no_notice_of_the_clock_change(void **state)
{
	(void)state;
	EXPECT("*/30 * * * *", "Europe/Lisbon", at(2026, 10, 25, 0, 10, 0),
	    "2026-10-25 00:30:00", "2026-10-25 01:00:00",
	    "2026-10-25 01:30:00", "2026-10-25 02:00:00");
	EXPECT("*/30 * * * *", "Europe/Lisbon", at(2026, 3, 29, 0, 10, 0),
	    "2026-03-29 00:30:00", "2026-03-29 01:00:00",
	    "2026-03-29 01:30:00");
	EXPECT("*/20 * * * *", "Australia/Lord_Howe",
	    at(2026, 4, 4, 14, 30, 0), "2026-04-04 14:40:00",
	    "2026-04-04 15:10:00", "2026-04-04 15:30:00");
}

static void
test_errors_name_field_value_and_expectation(void **state)
{
	static const struct { const char *text, *error; } bad[] = {
		{"", "cron: '' has 0 fields: 5 are expected"},
		{"* * * *", "has 4 fields: 5 are expected"},
		{"* * * * * * *", "has 7 fields"},
		{"x", "'x' has 1 field: 5"},
		{"60 * * * *", "minute: '60' is wrong: 0-59 is expected"},
		{"61 0 * * * *", "second: '61' is wrong: 0-59"},
		{"0 24 * * *", "hour: '24' is wrong: 0-23"},
		{"0 0 0 * *", "day of month: '0' is wrong: 1-31 or L"},
		{"0 0 32 * *", "day of month: '32'"},
		{"0 0 * 13 *", "month: '13' is wrong: 1-12 or JAN-DEC"},
		{"0 0 * FOO *", "month: 'FOO'"},
		{"0 0 * * 8", "day of week: '8' is wrong: 0-7 or SUN-SAT"},
		{"0 0 * * 5#6", "day of week: '5#6'"},
		{"0 0 * * 5#0", "day of week: '5#0'"},
		{"0 0 * * 5#", "day of week: '5#'"},
		{"0 0 * * 1-5L", "day of week: '1-5L'"},
		{"0 0 L-3 * *", "day of month: 'L-3'"},
		{"30-10 * * * *", "minute: '30-10' is wrong: a range from the "
		    "lower to the higher"},
		{"*/0 * * * *", "minute: '*/0' is wrong: a step from 1 to 60"},
		{"*/90 * * * *", "minute: '*/90' is wrong: a step from 1"},
		{"*/ * * * *", "minute: '*/' is wrong: a step"},
		{"1, * * * *", "minute: '1,' is wrong: no empty item"},
		{"1,,2 * * * *", "minute: '1,,2' is wrong: no empty item"},
		{"1-2-3 * * * *", "minute: '1-2-3'"},
		{"-1 * * * *", "minute: '-1'"},
		{"1.5 * * * *", "minute: '1.5'"},
		{"999999999999 * * * *", "minute: '999999999999'"},
		{"@often", "'@often' is none of @hourly"},
	};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		struct err e = ERR_INIT;
		struct cron c;

		if (cron_parse(&c, bad[i].text, strlen(bad[i].text), &e) == 0)
			fail_msg("'%s' was taken", bad[i].text);
		assert_int_equal(e.code, BH_E_BADARG);
		if (!strstr(e.text, bad[i].error))
			fail_msg("'%s': %s", bad[i].text, e.text);
	}
}

static void
test_a_date_that_never_comes_is_refused(void **state)
{
	static const char never[] = "0 0 30 2 *", soon[] = "0 0 29 2 *";
	struct tz *z = zone("");
	struct err e = ERR_INIT;
	struct cron c;

	(void)state;
	assert_int_equal(cron_check(&c, never, strlen(never), z,
	    at(2026, 1, 1, 0, 0, 0), &e), -1);
	assert_non_null(strstr(e.text, "never happens"));
	assert_int_equal(cron_check(&c, soon, strlen(soon), z,
	    at(2026, 1, 1, 0, 0, 0), &e), 0);
	tz_free(&z);
}

/* --- beside a scan that looks at every minute by glibc's clock --- */

static uint32_t seed = 7;

static int
dice(int n)
{
	seed = seed * 1103515245 + 12345;
	return (int)(seed >> 16) % n;
}

/* The values that a field allows, as the scan knows them; and its text. */
struct want {
	bool value[62];
	bool star;
};

static void
random_field(struct want *w, int min, int max, char *out)
{
	int a = min + dice(max - min + 1), b = a + dice(max - a + 1);
	int step = 1 + dice(max - min);

	*w = (struct want){0};
	switch (dice(5)) {
	case 0:
		w->star = true;
		for (int v = min; v <= max; v++)
			w->value[v] = true;
		sprintf(out, "*");
		return;
	case 1:
		w->star = true;
		for (int v = min; v <= max; v += step)
			w->value[v] = true;
		sprintf(out, "*/%d", step);
		return;
	case 2:
		for (int v = a; v <= b; v += step)
			w->value[v] = true;
		sprintf(out, "%d-%d/%d", a, b, step);
		return;
	case 3:
		w->value[a] = w->value[b] = true;
		sprintf(out, "%d,%d", a, b);
		return;
	default:
		w->value[a] = true;
		sprintf(out, "%d", a);
	}
}

struct scan {
	struct want minute, hour, day, month, weekday;
	char text[120];
};

static void
random_scan(struct scan *s)
{
	char f[5][24];

	random_field(&s->minute, 0, 59, f[0]);
	random_field(&s->hour, 0, 23, f[1]);
	if (dice(2)) {		/* where the clocks change */
		s->hour = (struct want){.value = {[1] = true, [2] = true}};
		sprintf(f[1], "1-2");
	}
	random_field(&s->day, 1, 31, f[2]);
	random_field(&s->month, 1, 12, f[3]);
	random_field(&s->weekday, 0, 6, f[4]);
	if (dice(3)) {
		s->month.star = true;
		memset(s->month.value, true, sizeof(s->month.value));
		sprintf(f[3], "*");
	}
	snprintf(s->text, sizeof(s->text), "%s %s %s %s %s", f[0], f[1], f[2],
	    f[3], f[4]);
}

static bool
meets(const struct scan *s, const struct tm *tm)
{
	bool day = s->day.value[tm->tm_mday];
	bool weekday = s->weekday.value[tm->tm_wday];
	bool either = !s->day.star && !s->weekday.star;

	return s->minute.value[tm->tm_min] && s->hour.value[tm->tm_hour] &&
	    s->month.value[tm->tm_mon + 1] &&
	    (either ? day || weekday : day && weekday);
}

/* Whether this minute is one of the schedule's, by looking at the clock. */
static bool
scan_minute(const struct scan *s, time_t t)
{
	time_t before = t - 60;
	struct tm tm, was, lost;
	int64_t jump;

	localtime_r(&t, &tm);
	localtime_r(&before, &was);
	jump = tm.tm_gmtoff - was.tm_gmtoff;
	if (s->hour.star)
		return meets(s, &tm);
	/* What the jump has swallowed counts now. */
	for (int64_t k = 60; k <= jump; k += 60) {
		time_t swallowed = t + was.tm_gmtoff + k - 60;

		gmtime_r(&swallowed, &lost);
		if (meets(s, &lost))
			return true;
	}
	if (!meets(s, &tm))
		return false;
	/* A second pass: the same clock was shown within three hours. */
	for (time_t u = t - 60; u > t - 3 * 3600; u -= 60) {
		localtime_r(&u, &was);
		if (was.tm_hour == tm.tm_hour && was.tm_min == tm.tm_min &&
		    was.tm_mday == tm.tm_mday)
			return false;
	}
	return true;
}

static void
check_scan(const struct scan *s, const struct tz *z, time_t from)
{
	struct cron c = cron(s->text);
	int64_t next = cron_next(&c, z, (int64_t)from * 1000);
	time_t t = from - from % 60 + 60;

	for (; t < from + 9 * 86400; t += 60) {
		bool due = scan_minute(s, t);

		if (due != ((int64_t)t * 1000 == next))
			fail_msg("%s in %s after %lld: next is %lld, the scan "
			    "%s %lld", s->text, tz_name(z), (long long)from,
			    (long long)next, due ? "has" : "has not",
			    (long long)t * 1000);
		if (due)
			next = cron_next(&c, z, next);
	}
	assert_true(next >= (int64_t)t * 1000);
}

static void
test_the_next_time_is_that_of_a_scan(void **state)
{
	static const char *const zones[] = {"Europe/Lisbon",
	    "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
	    "Europe/Dublin"};

	(void)state;
	for (size_t i = 0; i < nitems(zones); i++) {
		struct tz *z = zone(zones[i]);
		int64_t t = at(2026, 1, 1, 0, 0, 0) / 1000;

		setenv("TZ", zones[i], 1);
		tzset();
		for (int k = 0; k < 6; k++) {
			t = tz_change(z, t);
			if (t == INT64_MAX)	/* it has none any more */
				break;
			for (int n = 0; n < 8; n++) {
				struct scan s;

				random_scan(&s);
				check_scan(&s, z,
				    (time_t)(t - 86400 - dice(86400)));
			}
		}
		tz_free(&z);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_mean_what_they_say),
		cmocka_unit_test(test_seconds_are_a_field_in_front),
		cmocka_unit_test(test_nicknames),
		cmocka_unit_test(test_last_days_and_nth_weekdays),
		cmocka_unit_test(test_either_day_field_is_enough),
		cmocka_unit_test(test_a_gap_runs_right_after_it),
		cmocka_unit_test(test_an_overlap_runs_once),
		cmocka_unit_test(
		    test_intervals_take_no_notice_of_the_clock_change),
		cmocka_unit_test(test_errors_name_field_value_and_expectation),
		cmocka_unit_test(test_a_date_that_never_comes_is_refused),
		cmocka_unit_test(test_the_next_time_is_that_of_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
