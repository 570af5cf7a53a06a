/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "engine/limit.h"
#define DAY_MS ((int64_t)86400000)

static const struct limit_rate rates[] = {
	{1, DAY_MS, 1}, {1, DAY_MS, 5}, {80, 60000, 20}, {10, 1000, 10},
	{7, 1000, 7}, {3, 1000, 1}, {1000, 1000, 1}, {1500, 1000, 3},
	{30000, 1000, 50}, {700000, 1000, 10}, {1000000, 1000, 100},
	{1, 1, 1}, {999, 7, 13}, {1000000000, 1000, 2},
};

enum { TAKES = 600 };

static int64_t
interval_us(const struct limit_rate *r)
{
	int64_t us = r->per_ms * 1000;

	return us / r->limit + (us % r->limit != 0);
}

/* Takes as early as it may, with a pause now and then; the times. */
static void
take_greedily(const struct limit_rate *r, int64_t *at)
{
	int64_t tat = 0, now = 1000000;

	srandom(5);
	for (int i = 0; i < TAKES; i++) {
		if (random() % 40 == 0)
			now += interval_us(r) * (random() % 30);
		now = limit_next(tat, r, now);
		tat = limit_take(tat, r, now);
		at[i] = now;
	}
}

static void
no_window_has_more_than_limit_and_burst(void **state)
{
	int64_t at[TAKES];

	(void)state;
	for (size_t n = 0; n < nitems(rates); n++) {
		const struct limit_rate *r = &rates[n];

		take_greedily(r, at);
		/* i..j inclusive; the share of the limit is rounded up by
		 * less than one. */
		for (int i = 0; i < TAKES; i++)
			for (int j = i; j < TAKES; j++) {
				double span = (double)(at[j] - at[i]);
				double most = (double)r->burst +
				    span * (double)r->limit /
				    ((double)r->per_ms * 1000);

				assert_true(j - i + 1 <= most + 1e-6);
			}
	}
}

static void
full_bucket_gives_its_burst_at_once(void **state)
{
	(void)state;
	for (size_t n = 0; n < nitems(rates); n++) {
		const struct limit_rate *r = &rates[n];
		int64_t tat = 0, now = 5000000;

		for (int64_t i = 0; i < r->burst; i++) {
			assert_true(limit_next(tat, r, now) == now);
			tat = limit_take(tat, r, now);
		}
		assert_true(limit_next(tat, r, now) ==
		    now + interval_us(r));
	}
}

static void
next_is_exact(void **state)
{
	(void)state;
	for (size_t n = 0; n < nitems(rates); n++) {
		const struct limit_rate *r = &rates[n];
		int64_t tat = 0, now = 5000000, next;

		for (int i = 0; i < 200; i++)
			tat = limit_take(tat, r, limit_next(tat, r, now));
		next = limit_next(tat, r, now);
		assert_true(next > now);
		/* Not a microsecond before, and from then on. */
		assert_true(limit_next(tat, r, next - 1) == next);
		assert_true(limit_next(tat, r, next) == next);
		assert_true(limit_next(tat, r, next + 1) == next + 1);
	}
}

static void
greedy_taker_gets_the_rate(void **state)
{
	const struct limit_rate r = {80, 60000, 20};
	int64_t tat = 0, now = 0;

	(void)state;
	for (int i = 0; i < 20 + 80; i++) {
		now = limit_next(tat, &r, now);
		tat = limit_take(tat, &r, now);
	}
	assert_int_equal(now, 60000000);
}

static void
idle_bucket_does_not_grow_over_its_burst(void **state)
{
	const struct limit_rate r = {10, 1000, 3};
	int64_t tat = limit_take(0, &r, 0), now = DAY_MS * 1000;
	int got = 0;

	(void)state;
	for (; limit_next(tat, &r, now) == now; got++)
		tat = limit_take(tat, &r, now);
	assert_int_equal(got, 3);
}

static void
tokens_can_be_owed(void **state)
{
	const struct limit_rate r = {1, 1000, 1};
	int64_t tat = 0;

	(void)state;
	for (int i = 0; i < 5; i++)
		tat = limit_take(tat, &r, 0);
	assert_int_equal(limit_next(tat, &r, 0), 5000000);
}

static void
largest_burst_does_not_overflow(void **state)
{
	const struct limit_rate r = {1, 365 * DAY_MS, 1000000000};
	int64_t tat = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(limit_next(tat, &r, 77), 77);
		tat = limit_take(tat, &r, 77);
	}
}

/* So many can be taken at once, and no more. */
static void
tokens_are_those_that_can_be_taken(void **state)
{
	(void)state;
	for (size_t n = 0; n < nitems(rates); n++) {
		const struct limit_rate *r = &rates[n];
		int64_t tat = 0, now = 1000000;

		srandom(7);
		for (int i = 0; i < TAKES; i++) {
			int64_t left = limit_tokens(tat, r, now);

			assert_in_range(left, 0, r->burst);
			assert_int_equal(left > 0,
			    limit_next(tat, r, now) <= now);
			if (left > 0) {
				tat = limit_take(tat, r, now);
				assert_int_equal(limit_tokens(tat, r, now),
				    left - 1);
			} else {
				now += interval_us(r) * (random() % 3) / 2;
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_are_those_that_can_be_taken),
		cmocka_unit_test(no_window_has_more_than_limit_and_burst),
		cmocka_unit_test(full_bucket_gives_its_burst_at_once),
		cmocka_unit_test(next_is_exact),
		cmocka_unit_test(greedy_taker_gets_the_rate),
		cmocka_unit_test(idle_bucket_does_not_grow_over_its_burst),
		cmocka_unit_test(tokens_can_be_owed),
		cmocka_unit_test(largest_burst_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
