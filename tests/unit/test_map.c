/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ds/map.h"
/* Keys 0..KEYS-1; the naive model is the member here of each. */
enum { KEYS = 3000, STEPS = 60000 };

struct item {
	uint64_t key;
	bool here;
};

static struct item items[KEYS];
static uint64_t (*hash_of)(uint64_t key);
static unsigned hashes;

static uint64_t
item_hash(const void *item)
{
	hashes++;
	return hash_of(((const struct item *)item)->key);
}

static bool
item_equal(const void *item, const void *key)
{
	return ((const struct item *)item)->key == *(const uint64_t *)key;
}

static const struct map_ops ops = {item_hash, item_equal};

static uint64_t
hash_mixed(uint64_t key)
{
	return map_hash_int(key);
}

/* All homes are the last four slots of any table, so runs wrap around. */
static uint64_t
hash_end(uint64_t key)
{
	return UINT64_MAX - key % 4;
}

static uint64_t
hash_same(uint64_t key)
{
	(void)key;
	return 5;
}

static int
setup(void **state)
{
	static struct map map;

	for (uint64_t k = 0; k < KEYS; k++)
		items[k] = (struct item){.key = k};
	srandom(7);
	hash_of = hash_mixed;
	map_init(&map, &ops);
	*state = &map;
	return 0;
}

static int
teardown(void **state)
{
	map_done(*state);
	return 0;
}

static void
toggle(struct map *m, struct item *item)
{
	if (item->here)
		map_remove(m, item);
	else
		map_put(m, item);
	item->here = !item->here;
}

static void
check_all(const struct map *m, size_t keys)
{
	size_t count = 0;

	for (uint64_t k = 0; k < keys; k++) {
		void *found = map_get(m, hash_of(k), &k);

		assert_ptr_equal(found, items[k].here ? &items[k] : NULL);
		count += items[k].here;
	}
	assert_int_equal(m->count, count);
}

static void
walk(struct map *m, size_t keys, unsigned steps, unsigned check_every)
{
	for (unsigned n = 1; n <= steps; n++) {
		toggle(m, &items[(size_t)random() % keys]);
		if (n % check_every == 0)
			check_all(m, keys);
	}
	check_all(m, keys);
}

static void
empty_map_finds_nothing(void **state)
{
	check_all(*state, KEYS);
}

static void
random_changes_match_the_model(void **state)
{
	walk(*state, KEYS, STEPS, 1500);
}

static void
runs_that_wrap_around_match_the_model(void **state)
{
	hash_of = hash_end;
	walk(*state, 100, 4000, 7);
}

static void
equal_hashes_match_the_model(void **state)
{
	hash_of = hash_same;
	walk(*state, 60, 4000, 7);
}

/* Fills until a table is being moved with at least that many items in it. */
static uint64_t
fill_until_moving(struct map *m, size_t count)
{
	uint64_t k = 0;

	while (!m->old || m->count < count) {
		assert_true(k < KEYS);
		toggle(m, &items[k++]);
	}
	return k;
}

static void
nothing_is_lost_while_the_old_table_moves(void **state)
{
	struct map *m = *state;
	uint64_t k = fill_until_moving(m, 400);
	unsigned turns = 0;

	for (; m->old; turns++) {
		toggle(m, &items[k++]);
		check_all(m, KEYS);
	}
	assert_true(turns > 10);
}

static void
removal_works_while_the_old_table_moves(void **state)
{
	struct map *m = *state;
	uint64_t k = fill_until_moving(m, 400);
	unsigned turns = 0;

	/* The newest, in the new table, and the oldest, in either half. */
	for (; m->old; turns++) {
		toggle(m, &items[--k]);
		toggle(m, &items[turns]);
		check_all(m, KEYS);
	}
	assert_true(turns > 10);
}

static void
wrapped_old_table_can_be_emptied(void **state)
{
	struct map *m = *state;
	uint64_t k;

	hash_of = hash_end;
	k = fill_until_moving(m, 50);
	while (k-- > 0) {
		toggle(m, &items[k]);
		check_all(m, 100);
	}
	assert_int_equal(m->count, 0);
}

static void
no_single_change_moves_a_whole_run(void **state)
{
	struct map *m = *state;
	unsigned worst = 0;

	hash_of = hash_same;
	for (unsigned k = 0; k < 1000; k++) {
		hashes = 0;
		map_put(m, &items[k]);
		if (hashes > worst)
			worst = hashes;
	}
	/* Eight moves, each of which may look at the run once. */
	assert_in_range(worst, 100, 8 * 1001);
}

static void
room_stays_for_probes_to_end(void **state)
{
	struct map *m = *state;

	for (unsigned k = 0; k < KEYS; k++) {
		map_put(m, &items[k]);
		assert_true(m->count <= m->cap / 8 * 7);
		assert_int_equal(m->cap & (m->cap - 1), 0);
	}
}

static void
done_map_can_be_used_again(void **state)
{
	struct map *m = *state;

	walk(m, KEYS, 500, 500);
	map_done(m);
	for (unsigned k = 0; k < KEYS; k++)
		items[k].here = false;
	check_all(m, KEYS);
	walk(m, KEYS, 500, 500);
}

#define MAP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MAP_TEST(empty_map_finds_nothing),
		MAP_TEST(random_changes_match_the_model),
		MAP_TEST(runs_that_wrap_around_match_the_model),
		MAP_TEST(equal_hashes_match_the_model),
		MAP_TEST(nothing_is_lost_while_the_old_table_moves),
		MAP_TEST(removal_works_while_the_old_table_moves),
		MAP_TEST(wrapped_old_table_can_be_emptied),
		MAP_TEST(no_single_change_moves_a_whole_run),
		MAP_TEST(room_stays_for_probes_to_end),
		MAP_TEST(done_map_can_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
