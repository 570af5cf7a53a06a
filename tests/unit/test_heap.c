/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ds/heap.h"
enum { ITEMS = 400, STEPS = 20000 };

static struct heap_item items[ITEMS];

static int
by_at(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Each item knows its place, and no item is before its parent. */
static void
check_order(const struct heap *h)
{
	uint32_t in = 0;

	for (uint32_t i = 1; i <= h->count; i++) {
		assert_int_equal(h->items[i]->pos, i);
		assert_true(i == 1 ||
		    h->items[(i + 2) / 4]->at <= h->items[i]->at);
	}
	for (size_t i = 0; i < ITEMS; i++)
		in += items[i].pos != 0;
	assert_int_equal(in, h->count);
}

/* Takes all out from the top and compares with a sort. */
static void
drain(struct heap *h)
{
	int64_t sorted[ITEMS];
	size_t n = 0;

	for (size_t i = 0; i < ITEMS; i++)
		if (items[i].pos)
			sorted[n++] = items[i].at;
	assert_int_equal(h->count, n);
	qsort(sorted, n, sizeof(sorted[0]), by_at);
	for (size_t i = 0; i < n; i++) {
		struct heap_item *top = heap_top(h);

		assert_non_null(top);
		assert_true(top->at == sorted[i]);
		heap_remove(h, top);
		assert_int_equal(top->pos, 0);
	}
	assert_null(heap_top(h));
}

static void
random_steps(struct heap *h, int64_t range, unsigned steps)
{
	for (unsigned n = 0; n < steps; n++) {
		struct heap_item *item = &items[random() % ITEMS];

		if (random() % 3)
			heap_set(h, item, random() % range - range / 2);
		else
			heap_remove(h, item);
		if (n % 50 == 0)
			check_order(h);
	}
}

static void
random_set_move_and_remove_match_a_sort(void **state)
{
	struct heap h = {0};

	(void)state;
	srandom(3);
	for (unsigned round = 0; round < 20; round++) {
		random_steps(&h, 1000000, STEPS / 20);
		drain(&h);
	}
	heap_done(&h);
}

static void
equal_times_all_come_out(void **state)
{
	struct heap h = {0};

	(void)state;
	srandom(4);
	random_steps(&h, 3, STEPS / 4);
	drain(&h);
	heap_done(&h);
}

static void
set_moves_to_the_front_and_to_the_back(void **state)
{
	struct heap h = {0};

	(void)state;
	for (int i = 0; i < ITEMS; i++)
		heap_set(&h, &items[i], i);
	heap_set(&h, &items[300], -1);
	assert_ptr_equal(heap_top(&h), &items[300]);
	heap_set(&h, &items[300], 10000);
	assert_ptr_equal(heap_top(&h), &items[0]);
	check_order(&h);
	assert_int_equal(h.count, ITEMS);
	drain(&h);
	heap_done(&h);
}

static void
extreme_times_keep_their_order(void **state)
{
	struct heap h = {0};

	(void)state;
	heap_set(&h, &items[0], INT64_MAX);
	heap_set(&h, &items[1], INT64_MIN);
	heap_set(&h, &items[2], 0);
	assert_ptr_equal(heap_top(&h), &items[1]);
	drain(&h);
	heap_done(&h);
}

static void
remove_of_an_item_in_no_heap_does_nothing(void **state)
{
	struct heap h = {0};

	(void)state;
	heap_set(&h, &items[0], 5);
	heap_remove(&h, &items[1]);
	assert_int_equal(h.count, 1);
	heap_remove(&h, &items[0]);
	heap_remove(&h, &items[0]);
	assert_int_equal(h.count, 0);
	heap_done(&h);
}

static void
owner_bytes_are_left_alone(void **state)
{
	struct heap h = {0};
	struct heap_item item = {.kind = 7, .tag = {1, 2, 3}};

	(void)state;
	heap_set(&h, &item, 1);
	heap_set(&h, &items[0], 0);
	heap_remove(&h, &items[0]);
	heap_remove(&h, &item);
	assert_int_equal(item.kind, 7);
	assert_int_equal(item.tag[0] + item.tag[1] * 10 + item.tag[2] * 100,
	    321);
	heap_done(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_set_move_and_remove_match_a_sort),
		cmocka_unit_test(equal_times_all_come_out),
		cmocka_unit_test(set_moves_to_the_front_and_to_the_back),
		cmocka_unit_test(extreme_times_keep_their_order),
		cmocka_unit_test(remove_of_an_item_in_no_heap_does_nothing),
		cmocka_unit_test(owner_bytes_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
