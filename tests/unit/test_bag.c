/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keys/bag.h"

static struct bh_bytes
word(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static int
number(struct bh_bytes v, size_t from)
{
	int n = 0;

	for (size_t i = from; i < v.len; i++)
		n = n * 10 + v.data[i] - '0';
	return n;
}

static void
expect(const struct bag *b, const char *key, const char *want)
{
	struct bh_bytes v;

	if (!bag_get(b, word(key), &v)) {
		if (want)
			fail_msg("%s is missing", key);
		return;
	}
	assert_non_null(want);
	assert_int_equal(v.len, strlen(want));
	assert_memory_equal(v.data, want, v.len);
}

static void
test_values_are_replaced_longer_and_shorter(void **state)
{
	static const char *const values[] = {"x", "", "much longer than x",
	    "y", "much longer than x, and once again"};
	struct bag *b = bag_new();

	(void)state;
	assert_true(bag_set(b, word("first"), word("1")));
	assert_true(bag_set(b, word("k"), word("")));
	assert_true(bag_set(b, word("last"), word("3")));
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		assert_false(bag_set(b, word("k"), word(values[i])));
		expect(b, "k", values[i]);
		expect(b, "first", "1");
		expect(b, "last", "3");
	}
	assert_int_equal(b->n, 3);
	assert_true(bag_del(b, word("first")));
	assert_false(bag_del(b, word("first")));
	expect(b, "last", "3");
	bag_free(&b);
}

/* Keys 0..MODEL-1; the model has the number of each value, 0: not there. */
enum { MODEL = 600, STEPS = 40000 };

static void
check_walk(const struct bag *b, const int *model)
{
	struct bag_walk w = bag_walk(b, b->n);
	struct bag_pair p;
	size_t n = 0;
	bool seen[MODEL] = {false};

	while (bag_next(&w, &p)) {
		int key = number(p.key, 0);

		assert_false(seen[key]);
		seen[key] = true;
		assert_int_not_equal(model[key], 0);
		n++;
	}
	assert_int_equal(n, b->n);
}

/* The number with zeros before it, up to some digits. */
static void
padded(char *out, size_t size, int v, size_t most)
{
	size_t width = (size_t)v % (most + 1);
	char digits[16];
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%d", v);
	size_t zeros = width > n ? width - n : 0;

	assert_true(zeros + n < size);
	memset(out, '0', zeros);
	memcpy(out + zeros, digits, n + 1);
}

static void
run_model(int keys, size_t long_value)
{
	struct bag *b = bag_new();
	int model[MODEL] = {0};
	char key[20], value[200], want[200];
	size_t n = 0;
	unsigned rng = 12345;

	for (int step = 1; step <= STEPS; step++) {
		int k = (int)((rng = rng * 1103515245 + 12345) >> 8) % keys;

		snprintf(key, sizeof(key), "%d", k);
		if (model[k]) {
			padded(want, sizeof(want), model[k], long_value);
			expect(b, key, want);
		} else {
			expect(b, key, NULL);
		}
		if (rng >> 30 == 0) {
			assert_int_equal(bag_del(b, word(key)), model[k] != 0);
			n -= model[k] != 0;
			model[k] = 0;
		} else {
			padded(value, sizeof(value), step, long_value);
			assert_int_equal(bag_set(b, word(key), word(value)),
			    model[k] == 0);
			n += model[k] == 0;
			model[k] = step;
		}
		assert_int_equal(b->n, n);
		if (step % 500 == 0)
			check_walk(b, model);
	}
	bag_free(&b);
}

static void
test_small_ones_keep_what_they_are_told(void **state)
{
	(void)state;
	run_model(BAG_SMALL_PAIRS, BAG_SMALL_STRING - 1);
}

static void
test_big_ones_keep_what_they_are_told(void **state)
{
	(void)state;
	run_model(MODEL, 150);
}

static void
test_a_bag_becomes_big_at_its_bounds(void **state)
{
	char text[BAG_SMALL_STRING + 2] = "";
	struct bag *b = bag_new();

	(void)state;
	memset(text, 'x', BAG_SMALL_STRING + 1);
	for (int i = 0; i < BAG_SMALL_PAIRS; i++) {
		char key[20];

		snprintf(key, sizeof(key), "%d", i);
		bag_set(b, word(key), word("v"));
	}
	assert_null(b->big);
	bag_set(b, word("7"), word("w"));
	assert_null(b->big);
	bag_set(b, word("one more"), word("v"));
	assert_non_null(b->big);
	expect(b, "0", "v");
	expect(b, "7", "w");
	bag_free(&b);
	b = bag_new();
	bag_set(b, (struct bh_bytes){text, BAG_SMALL_STRING},
	    (struct bh_bytes){text, BAG_SMALL_STRING});
	assert_null(b->big);
	bag_set(b, word("k"), word(text));
	assert_non_null(b->big);
	expect(b, "k", text);
	bag_free(&b);
}

/* Every key that is there all the time is met, whatever comes and goes. */
static void
test_a_walk_that_stops_meets_all_that_stay(void **state)
{
	struct bag *b = bag_new();
	char key[20];
	unsigned rng = 1;

	(void)state;
	for (int round = 0; round < 20; round++) {
		bool seen[1000] = {false};
		size_t left = SIZE_MAX;

		for (int i = 0; i < 1000; i++) {
			snprintf(key, sizeof(key), "stay%d", i);
			bag_set(b, word(key), word(""));
			snprintf(key, sizeof(key), "go%d", i);
			bag_set(b, word(key), word(""));
		}
		do {
			struct bag_walk w = bag_walk(b, left);
			struct bag_pair p;

			for (int i = 0; i < 7 && bag_next(&w, &p); i++)
				if (p.key.data[0] == 's')
					seen[number(p.key, 4)] = true;
			left = w.left;
			for (int i = 0; i < 9; i++) {
				rng = rng * 1103515245 + 12345;
				snprintf(key, sizeof(key), "go%u",
				    rng >> 8 & 1023);
				if (i % 3)
					bag_del(b, word(key));
				else
					bag_set(b, word(key), word(""));
			}
		} while (left > 0);
		for (int i = 0; i < 1000; i++)
			if (!seen[i])
				fail_msg("stay%d was not met", i);
	}
	bag_free(&b);
}

static void
test_memory_is_counted_and_freed_in_slices(void **state)
{
	struct bag *b = bag_new();
	size_t before = bag_bytes(b);
	int budget, slices = 0;
	char key[20];

	(void)state;
	bag_set(b, word("a"), word("1"));
	assert_true(bag_bytes(b) > before);
	for (int i = 0; i < 10000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		bag_set(b, word(key), word("0123456789"));
	}
	assert_true(bag_bytes(b) > 10000 * (10 + 16));
	before = bag_bytes(b);
	bag_set(b, word("0"), word("0123456789012345678901234567890123456789"));
	assert_int_equal(bag_bytes(b), before + 30);
	bag_del(b, word("0"));
	assert_true(bag_bytes(b) < before);
	do
		budget = 1000;
	while (slices++, !bag_free_some(b, &budget));
	assert_int_equal(slices, 10);
}

static void
test_a_copy_is_one_of_its_own(void **state)
{
	struct bag *b = bag_new(), *copy;

	(void)state;
	b->mark = true;
	for (int i = 0; i < 300; i++) {
		char key[20];

		snprintf(key, sizeof(key), "%d", i);
		bag_set(b, word(key), word(key));
	}
	copy = bag_copy(b);
	bag_set(b, word("5"), word("changed"));
	bag_del(b, word("6"));
	bag_free(&b);
	assert_true(copy->mark);
	assert_int_equal(copy->n, 300);
	expect(copy, "5", "5");
	expect(copy, "6", "6");
	bag_free(&copy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_replaced_longer_and_shorter),
		cmocka_unit_test(test_small_ones_keep_what_they_are_told),
		cmocka_unit_test(test_big_ones_keep_what_they_are_told),
		cmocka_unit_test(test_a_bag_becomes_big_at_its_bounds),
		cmocka_unit_test(test_a_walk_that_stops_meets_all_that_stay),
		cmocka_unit_test(test_memory_is_counted_and_freed_in_slices),
		cmocka_unit_test(test_a_copy_is_one_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
