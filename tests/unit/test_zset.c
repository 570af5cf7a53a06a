/* SPDX-License-Identifier: MIT */
/* A sorted set against an array of members. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keys/zset.h"

enum { NAMES = 600 };

static double scores[NAMES];
static bool here[NAMES];
static uint64_t seed;

static uint64_t
rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static struct bh_bytes
name(int i)
{
	static char text[16];

	return (struct bh_bytes){text,
	    (size_t)snprintf(text, sizeof(text), "m%d", i)};
}

static bool
before(int a, int b)
{
	char x[16], y[16];

	if (scores[a] != scores[b])
		return scores[a] < scores[b];
	snprintf(x, sizeof(x), "m%d", a);
	snprintf(y, sizeof(y), "m%d", b);
	return strcmp(x, y) < 0;
}

static size_t
rank_of(int i)
{
	size_t n = 0;

	for (int j = 0; j < NAMES; j++)
		n += here[j] && before(j, i);
	return n;
}

static size_t
how_many(double min, bool min_out, double max, bool max_out)
{
	size_t n = 0;

	for (int i = 0; i < NAMES; i++)
		n += here[i] && (min_out ? scores[i] > min :
		    scores[i] >= min) && (max_out ? scores[i] < max :
		    scores[i] <= max);
	return n;
}

static void
check(const struct zset *z)
{
	size_t n = 0;

	for (int i = 0; i < NAMES; i++) {
		const struct zmember *m = zset_get(z, name(i));

		assert_int_equal(m != NULL, here[i]);
		if (!m)
			continue;
		n++;
		assert_true(m->score == scores[i]);
		assert_int_equal(zset_rank(z, m), rank_of(i));
		assert_ptr_equal(zset_at(z, rank_of(i)), m);
		if (z->big)
			assert_ptr_equal(z->all[m->place], m);
	}
	assert_int_equal(z->order.count, n);
	for (int i = 0; i < 20; i++) {
		struct zrange r = {.min = (double)rnd(12) - 1,
		    .max = (double)rnd(12), .min_out = rnd(2),
		    .max_out = rnd(2)};
		size_t from, to;

		zset_span(z, &r, &from, &to);
		assert_int_equal(to - from, how_many(r.min, r.min_out, r.max,
		    r.max_out));
		if (to > from)
			assert_true(zset_at(z, from)->score >= r.min);
	}
}

static void
drop(struct zset *z)
{
	int budget = 7;

	while (!zset_free_some(z, &budget))
		budget = 7;
}

static void
change(struct zset *z, size_t names)
{
	int i = (int)rnd(names);
	struct zmember *m = zset_get(z, name(i));
	double score = (double)rnd(10);

	if (!m) {
		zset_add(z, name(i), score);
	} else if (rnd(2)) {
		zset_move(z, m, score);
	} else {
		zset_remove(z, m);
		here[i] = false;
		return;
	}
	here[i] = true;
	scores[i] = score;
}

static void
as_an_array(void **state)
{
	(void)state;
	for (uint64_t s = 1; s < 4; s++) {
		struct zset *z = zset_new(), *copy;
		size_t empty = zset_bytes(z);

		memset(here, 0, sizeof(here));
		seed = s;
		for (int i = 0; i < 4000; i++) {
			/* Small at first, and then no more. */
			change(z, i < 1000 ? 60 : NAMES);
			if (i % 400 == 0)
				check(z);
			assert_int_equal(z->big, z->big || z->order.count >
			    ZSET_SMALL);
		}
		check(z);
		assert_true(z->big);
		copy = zset_copy(z);
		check(copy);
		drop(copy);
		for (int i = 0; i < NAMES; i++)
			if (here[i])
				zset_remove(z, zset_get(z, name(i)));
		memset(here, 0, sizeof(here));
		check(z);
		assert_int_equal(z->bytes, 0);
		assert_true(zset_bytes(z) < empty + 24 * 1024);
		drop(z);
	}
}

/* A long name makes it big, too. */
static void
a_long_name(void **state)
{
	char text[ZSET_SMALL_NAME + 1] = "";
	struct zset *z = zset_new();

	(void)state;
	zset_add(z, (struct bh_bytes){text, ZSET_SMALL_NAME}, 1);
	assert_false(z->big);
	zset_add(z, (struct bh_bytes){text, ZSET_SMALL_NAME + 1}, 1);
	assert_true(z->big);
	assert_non_null(zset_get(z,
	    (struct bh_bytes){text, ZSET_SMALL_NAME}));
	drop(z);
}

static void
names_between(void **state)
{
	static const char *const names[] = {"", "a", "aa", "b", "bb", "c"};
	static const struct {
		struct zrange r;
		size_t from, to;
	} cases[] = {
		{{.low_end = -1, .high_end = 1}, 0, 6},
		{{.low_end = 1, .high_end = -1}, 6, 6},
		{{.low = {"a", 1}, .high = {"b", 1}}, 1, 4},
		{{.low = {"a", 1}, .high = {"b", 1}, .min_out = true}, 2, 4},
		{{.low = {"a", 1}, .high = {"b", 1}, .max_out = true}, 1, 3},
		{{.low = {"ab", 2}, .high_end = 1}, 3, 6},
		{{.low_end = -1, .high = {"", 0}}, 0, 1},
		{{.low = {"c", 1}, .high = {"a", 1}}, 5, 5},
		{{.low = {"b", 1}, .high = {"b", 1}, .min_out = true,
		    .max_out = true}, 4, 4},
	};
	struct zset *z = zset_new();

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		zset_add(z, (struct bh_bytes){names[i], strlen(names[i])}, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct zrange r = cases[i].r;
		size_t from, to;

		r.lex = true;
		zset_span(z, &r, &from, &to);
		assert_int_equal(from, cases[i].from);
		assert_int_equal(to, cases[i].to);
	}
	drop(z);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_an_array),
		cmocka_unit_test(a_long_name),
		cmocka_unit_test(names_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
