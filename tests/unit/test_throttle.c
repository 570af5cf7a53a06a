/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "keys/throttle.h"

static struct bh_window window;

static struct bh_throttle
ask(struct throttle *t, const char *key, int64_t quantity, int64_t limit,
    int64_t per_ms, int64_t burst, int64_t now_us)
{
	struct bh_throttle r = {.key = {key, strlen(key)},
	    .quantity = quantity, .windows = &window, .nwindows = 1};

	window = (struct bh_window){limit, per_ms, burst, 0, 0, 0};
	assert_int_equal(throttle_take(t, &r, now_us), 0);
	return r;
}

/* Five tokens, one a second. */
static void
bucket_empties_and_fills(void **state)
{
	static const struct {
		int64_t ms, quantity;
		bool allowed;
		int64_t remaining, reset_ms, retry_ms;
	} rows[] = {
		{0, 6, false, 5, 0, -1},	/* never */
		{0, 1, true, 4, 1000, -1},
		{0, 1, true, 3, 2000, -1},
		{0, 3, true, 0, 5000, -1},
		{0, 1, false, 0, 5000, 1000},
		{999, 1, false, 0, 4001, 1},
		{1000, 1, true, 0, 5000, -1},
		{4000, 0, true, 3, 2000, -1},	/* only looks */
		{4500, 2, true, 1, 3500, -1},
		{4500, 4, false, 1, 3500, 2500},
		{100000, 5, true, 0, 5000, -1},
	};
	struct throttle *t = throttle_new(NULL);

	(void)state;
	for (size_t i = 0; i < nitems(rows); i++) {
		struct bh_throttle r = ask(t, "k", rows[i].quantity, 1, 1000,
		    5, rows[i].ms * 1000);

		assert_int_equal(r.allowed, rows[i].allowed);
		assert_int_equal(window.remaining, rows[i].remaining);
		assert_int_equal(window.reset_ms, rows[i].reset_ms);
		assert_int_equal(window.retry_ms, rows[i].retry_ms);
	}
	throttle_free(&t);
	assert_null(t);
}

/* Greedy takes each microsecond (a bucket of two carries the fraction) get what the rate allows, to the token: no
 * rate is off by its rounding, however fast it is. */
static void
rates_are_exact(void **state)
{
	static const struct {
		int64_t limit, per_ms, burst, us;
	} rows[] = {
		{1, 1000, 2, 5000000}, {3, 1000, 2, 3000000},
		{7, 1000, 2, 3000000}, {999, 1000, 2, 2000000},
		{30000, 1000, 2, 1000000}, {700000, 1000, 2, 1000000},
		{999999, 1000, 2, 1000000}, {1000000, 1000, 1, 1000000},
		{1000000, 1000, 500, 300000}, {60000000, 60000, 10, 300000},
	};
	struct throttle *t = throttle_new(NULL);
	char key[8];

	(void)state;
	for (size_t i = 0; i < nitems(rows); i++) {
		int64_t taken = 0, fair;

		snprintf(key, sizeof(key), "%zu", i);
		for (int64_t us = 1; us <= rows[i].us; us++)
			taken += ask(t, key, 1, rows[i].limit, rows[i].per_ms,
			    rows[i].burst, us).allowed;
		fair = rows[i].us * rows[i].limit / (rows[i].per_ms * 1000) +
		    rows[i].burst;
		if (fair > rows[i].us)
			fair = rows[i].us;	/* one ask a microsecond */
		/* A token may be due between two microseconds. */
		assert_in_range(taken, fair - 1 - fair / 1000000, fair);
	}
	throttle_free(&t);
}

static void
two_asks_a_microsecond_get_the_rate_of_a_million(void **state)
{
	struct throttle *t = throttle_new(NULL);
	int64_t taken = 0;

	(void)state;
	for (int64_t us = 1; us <= 200000; us++)
		for (int n = 0; n < 2; n++)
			taken += ask(t, "k", 1, 1000000, 1000, 100,
			    us).allowed;
	assert_in_range(taken, 200000 - 1, 200000 + 100);
	throttle_free(&t);
}

static void
windows_are_taken_together(void **state)
{
	struct throttle *t = throttle_new(NULL);
	struct bh_window w[2] = {{2, 1000, 2, 0, 0, 0},
	    {100, 86400000, 100, 0, 0, 0}};
	struct bh_throttle r = {.key = {"k", 1}, .quantity = 1, .windows = w,
	    .nwindows = 2};

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(throttle_take(t, &r, 1000), 0);
		assert_true(r.allowed);
	}
	for (int i = 0; i < 10; i++) {
		assert_int_equal(throttle_take(t, &r, 1000), 0);
		assert_false(r.allowed);
		assert_int_equal(w[0].retry_ms, 500);
		assert_int_equal(w[1].retry_ms, 0);
		assert_int_equal(w[1].remaining, 98);
	}
	/* The order of the windows, and one that comes, change nothing. */
	w[0] = (struct bh_window){100, 86400000, 100, 0, 0, 0};
	w[1] = (struct bh_window){2, 1000, 2, 0, 0, 0};
	assert_int_equal(throttle_take(t, &r, 1000), 0);
	assert_false(r.allowed);
	assert_int_equal(w[0].remaining, 98);
	throttle_free(&t);
}

static void
table_is_bounded_and_keeps_the_used(void **state)
{
	struct throttle *t = throttle_new(NULL);
	char key[16];

	(void)state;
	throttle_set_limit(t, 20000, false);
	assert_true(ask(t, "hot", 1, 1, 3600000, 1, 1).allowed);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_true(ask(t, key, 1, 1, 3600000, 1, 1).allowed);
		assert_false(ask(t, "hot", 1, 1, 3600000, 1, 1).allowed);
		assert_true(throttle_bytes(t) <= 20000);
	}
	assert_in_range(throttle_count(t), 50, 300);
	/* Looking makes no entry. */
	throttle_set_limit(t, 0, false);
	throttle_set_limit(t, 20000, false);
	assert_true(ask(t, "new", 0, 1, 1000, 1, 1).allowed);
	assert_int_equal(throttle_count(t), 0);
	throttle_free(&t);
}

static void
malformed_asks_are_refused(void **state)
{
	static const struct {
		int64_t quantity, limit, per_ms, burst;
		const char *text;
	} rows[] = {
		{-1, 1, 1, 1, "quantity: expected"},
		{1, 0, 1, 1, "limit: expected an integer from 1 to"},
		{1, 1, 0, 1, "per: expected"},
		{1, 1, 1, 0, "burst: expected"},
		{1, 1, INT64_MAX, 1, "per: expected"},
		{INT64_MAX, 1, 1, 1, "quantity: expected"},
	};
	struct throttle *t = throttle_new(NULL);
	struct bh_window w[THROTTLE_WINDOWS + 1];
	struct bh_throttle r = {.key = {"k", 1}, .windows = w};

	(void)state;
	for (size_t i = 0; i < nitems(rows); i++) {
		w[0] = (struct bh_window){rows[i].limit, rows[i].per_ms,
		    rows[i].burst, 0, 0, 0};
		r.quantity = rows[i].quantity;
		r.nwindows = 1;
		assert_int_equal(throttle_take(t, &r, 1), -1);
		assert_int_equal(r.req.status, BH_E_BADARG);
		assert_non_null(strstr(r.req.text, rows[i].text));
	}
	r.quantity = 1;
	r.nwindows = THROTTLE_WINDOWS + 1;
	assert_int_equal(throttle_take(t, &r, 1), -1);
	r.nwindows = 0;
	assert_int_equal(throttle_take(t, &r, 1), -1);
	throttle_free(&t);
}

/* The largest numbers that are let in. */
static void
large_numbers_do_not_overflow(void **state)
{
	struct throttle *t = throttle_new(NULL);
	struct bh_throttle r = ask(t, "k", THROTTLE_MAX, 1, THROTTLE_PER_MAX,
	    THROTTLE_MAX, INT64_C(4000000000000000));

	(void)state;
	assert_true(r.allowed);
	assert_int_equal(window.remaining, 0);
	assert_true(window.reset_ms > 0);
	r = ask(t, "k", 1, 1, THROTTLE_PER_MAX, THROTTLE_MAX,
	    INT64_C(4000000000000000));
	assert_false(r.allowed);
	assert_int_equal(window.retry_ms, THROTTLE_PER_MAX);
	throttle_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket_empties_and_fills),
		cmocka_unit_test(rates_are_exact),
		cmocka_unit_test(
		    two_asks_a_microsecond_get_the_rate_of_a_million),
		cmocka_unit_test(windows_are_taken_together),
		cmocka_unit_test(table_is_bounded_and_keeps_the_used),
		cmocka_unit_test(malformed_asks_are_refused),
		cmocka_unit_test(large_numbers_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
