/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ds/hist.h"
/* The biggest value that has a bucket of its own size. */
#define TOP (((int64_t)1 << 42) - 1)

static int64_t
only(int64_t v, double q)
{
	struct hist h = {0};

	hist_add(&h, v);
	return hist_quantile(&h, q);
}

static void
empty_has_quantile_0(void **state)
{
	const struct hist h = {0};

	(void)state;
	assert_int_equal(hist_quantile(&h, 0), 0);
	assert_int_equal(hist_quantile(&h, 0.5), 0);
	assert_int_equal(hist_quantile(&h, 1), 0);
}

static void
small_values_are_exact(void **state)
{
	(void)state;
	for (int64_t v = 0; v < 16; v++)
		assert_int_equal(only(v, 0.5), v);
}

static void
quantile_is_at_most_an_eighth_too_high(void **state)
{
	(void)state;
	for (int64_t v = 1; v <= TOP; v += v / 23 + 1) {
		int64_t got = only(v, 0.99);

		assert_true(got >= v);
		assert_true(got - v <= v / 8);
	}
}

static void
bounds_of_powers_of_two_hold(void **state)
{
	(void)state;
	for (int i = 4; i <= 42; i++) {
		int64_t v = (int64_t)1 << i;

		assert_true(only(v - 1, 1) == v - 1);
		if (i < 42)
			assert_true(only(v, 1) == v + v / 8 - 1);
	}
}

static void
huge_values_land_in_the_last_bucket(void **state)
{
	(void)state;
	assert_true(only(TOP, 0.5) == TOP);
	assert_true(only(TOP + 1, 0.5) == TOP);
	assert_true(only(INT64_MAX, 0.5) == TOP);
}

static void
negative_values_count_as_0(void **state)
{
	(void)state;
	assert_int_equal(only(-1, 1), 0);
	assert_int_equal(only(INT64_MIN, 1), 0);
}

static void
quantiles_find_their_share(void **state)
{
	struct hist h = {0};
	int64_t was = 0;

	(void)state;
	for (int64_t v = 1; v <= 1000; v++)
		hist_add(&h, v);
	assert_int_equal(hist_quantile(&h, 0), 1);
	assert_in_range(hist_quantile(&h, 0.5), 500, 563);
	assert_in_range(hist_quantile(&h, 0.9), 900, 1013);
	assert_in_range(hist_quantile(&h, 1), 1000, 1125);
	for (double q = 0; q <= 1; q += 0.001) {
		int64_t v = hist_quantile(&h, q);

		assert_true(v >= was);
		was = v;
	}
}

static void
one_slow_among_99_fast_shows_at_the_end_only(void **state)
{
	struct hist h = {0};

	(void)state;
	for (int i = 0; i < 99; i++)
		hist_add(&h, 3);
	hist_add(&h, 1000000);
	assert_int_equal(hist_quantile(&h, 0.98), 3);
	assert_true(hist_quantile(&h, 0.995) >= 1000000);
}

static void
merge_is_as_if_all_had_been_added_to_one(void **state)
{
	struct hist a = {0}, b = {0}, all = {0};

	(void)state;
	for (int64_t v = 1; v < TOP; v = v * 3 + 1) {
		hist_add(v % 2 ? &a : &b, v);
		hist_add(&all, v);
	}
	hist_merge(&a, &b);
	assert_memory_equal(&a, &all, sizeof(a));
	assert_true(all.total > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_has_quantile_0),
		cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(quantile_is_at_most_an_eighth_too_high),
		cmocka_unit_test(bounds_of_powers_of_two_hold),
		cmocka_unit_test(huge_values_land_in_the_last_bucket),
		cmocka_unit_test(negative_values_count_as_0),
		cmocka_unit_test(quantiles_find_their_share),
		cmocka_unit_test(one_slow_among_99_fast_shows_at_the_end_only),
		cmocka_unit_test(merge_is_as_if_all_had_been_added_to_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
