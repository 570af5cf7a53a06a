/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ds/slab.h"
enum { SIZE = 40, MANY = 5000 };

static unsigned char *objects[MANY];

static void
take_many(struct slab *s)
{
	for (size_t i = 0; i < MANY; i++)
		objects[i] = slab_alloc(s);
}

static void
fresh_objects_are_zero_even_when_used_before(void **state)
{
	static const unsigned char zero[SIZE];
	struct slab s;

	(void)state;
	slab_init(&s, SIZE);
	for (int round = 0; round < 2; round++) {
		take_many(&s);
		for (size_t i = 0; i < MANY; i++) {
			assert_memory_equal(objects[i], zero, SIZE);
			memset(objects[i], 0xff, SIZE);
		}
		for (size_t i = 0; i < MANY; i++)
			slab_free(&s, objects[i]);
	}
	slab_done(&s);
}

static void
objects_do_not_overlap(void **state)
{
	struct slab s;

	(void)state;
	slab_init(&s, SIZE);
	take_many(&s);
	for (size_t i = 0; i < MANY; i++)
		memset(objects[i], (int)(i % 251), SIZE);
	/* Every other one goes and comes back as something else. */
	for (size_t i = 0; i < MANY; i += 2)
		slab_free(&s, objects[i]);
	for (size_t i = 0; i < MANY; i += 2) {
		objects[i] = slab_alloc(&s);
		memset(objects[i], (int)(i % 251), SIZE);
	}
	for (size_t i = 0; i < MANY; i++)
		for (size_t b = 0; b < SIZE; b++)
			assert_int_equal(objects[i][b], i % 251);
	slab_done(&s);
}

static void
freed_memory_is_used_before_more_is_asked_for(void **state)
{
	struct slab s;
	size_t bytes;

	(void)state;
	slab_init(&s, SIZE);
	take_many(&s);
	bytes = slab_bytes(&s);
	assert_in_range(bytes, MANY * SIZE, 2 * MANY * SIZE);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < MANY; i++)
			slab_free(&s, objects[i]);
		take_many(&s);
		assert_int_equal(slab_bytes(&s), bytes);
	}
	slab_done(&s);
}

static void
live_counts_what_is_out(void **state)
{
	struct slab s;

	(void)state;
	slab_init(&s, SIZE);
	assert_int_equal(s.live, 0);
	take_many(&s);
	assert_int_equal(s.live, MANY);
	slab_free(&s, objects[0]);
	slab_free(&s, objects[1]);
	assert_int_equal(s.live, MANY - 2);
	slab_done(&s);
}

static void
smallest_size_works(void **state)
{
	struct slab s;
	void *a, *b;

	(void)state;
	slab_init(&s, sizeof(void *));
	a = slab_alloc(&s);
	b = slab_alloc(&s);
	assert_ptr_not_equal(a, b);
	slab_free(&s, a);
	slab_free(&s, b);
	assert_ptr_equal(slab_alloc(&s), b);
	assert_ptr_equal(slab_alloc(&s), a);
	slab_done(&s);
}

static void
done_slab_can_be_used_again(void **state)
{
	struct slab s;

	(void)state;
	slab_init(&s, SIZE);
	take_many(&s);
	slab_done(&s);
	assert_int_equal(slab_bytes(&s), 0);
	assert_int_equal(s.live, 0);
	take_many(&s);
	assert_int_equal(s.live, MANY);
	slab_done(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_objects_are_zero_even_when_used_before),
		cmocka_unit_test(objects_do_not_overlap),
		cmocka_unit_test(freed_memory_is_used_before_more_is_asked_for),
		cmocka_unit_test(live_counts_what_is_out),
		cmocka_unit_test(smallest_size_works),
		cmocka_unit_test(done_slab_can_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
