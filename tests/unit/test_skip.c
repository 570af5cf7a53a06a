/* SPDX-License-Identifier: MIT */
/* An ordered list against a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "ds/skip.h"

enum { MAX = 3000 };

struct item {
	int key;
	struct skip_node node;
};

static struct item *sorted[MAX];
static size_t count;
static uint64_t seed;

static uint64_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int
key_of(const struct skip_node *n)
{
	return ((const struct item *)(const void *)((const char *)n -
	    offsetof(struct item, node)))->key;
}

static int
cmp(const struct skip_node *n, const void *key)
{
	int a = key_of(n), b = *(const int *)key;

	return (a > b) - (a < b);
}

static size_t
place(int key)
{
	size_t i = 0;

	while (i < count && sorted[i]->key < key)
		i++;
	return i;
}

static void
add(struct skip *s, int key)
{
	uint32_t height = skip_height(rnd());
	struct item *it = xmalloc(sizeof(*it) +
	    height * sizeof(struct skip_link));
	size_t i = place(key);

	it->key = key;
	it->node.height = height;
	skip_insert(s, &it->node, cmp, &key);
	memmove(sorted + i + 1, sorted + i, (count - i) * sizeof(*sorted));
	sorted[i] = it;
	count++;
}

static void
take(struct skip *s, size_t i)
{
	struct item *it = sorted[i];

	skip_remove(s, &it->node, cmp, &it->key);
	count--;
	memmove(sorted + i, sorted + i + 1, (count - i) * sizeof(*sorted));
	free(it);
}

static void
check(const struct skip *s)
{
	const struct skip_node *n = skip_first(s), *back = NULL;

	assert_int_equal(s->count, count);
	for (size_t i = 0; i < count; i++) {
		struct skip_node *found;

		assert_ptr_equal(n, &sorted[i]->node);
		assert_ptr_equal(n->back, back);
		assert_ptr_equal(skip_at(s, i), n);
		assert_int_equal(skip_rank(s, cmp, &sorted[i]->key, &found),
		    i);
		assert_ptr_equal(found, n);
		back = n;
		n = skip_next(n);
	}
	assert_null(n);
	assert_ptr_equal(s->last, back);
	assert_null(skip_at(s, count));
	/* Every link passes as many as it says. */
	for (uint32_t h = 0; h < s->height; h++) {
		const struct skip_link *l = &s->head[h];
		size_t sum = 0;

		for (; l->next; l = &l->next->up[h]) {
			sum += l->span;
			assert_int_equal(sum - 1, place(key_of(l->next)));
		}
		assert_int_equal(sum + l->span, count);
	}
}

static void
as_a_sorted_array(void **state)
{
	(void)state;
	for (uint64_t n = 1; n < 6; n++) {
		struct skip s = {0};

		seed = n;
		for (int i = 0; i < 5000; i++) {
			bool more = (i / 1000) % 2 ? rnd() % 10 < 3 :
			    rnd() % 10 < 7;
			int key = (int)(rnd() % 100000);
			size_t at = place(key);

			if (more && count < MAX) {
				if (at == count || sorted[at]->key != key)
					add(&s, key);
			} else if (count > 0) {
				take(&s, rnd() % count);
			}
			if (i % 500 == 0)
				check(&s);
		}
		check(&s);
		while (count)
			take(&s, rnd() % count);
		check(&s);
		skip_done(&s);
	}
}

/* What is not there: how many would stand in front of it. */
static void
rank_of_what_is_missing(void **state)
{
	struct skip s = {0};
	struct skip_node *next;
	int key;

	(void)state;
	seed = 9;
	key = 1;
	assert_int_equal(skip_rank(&s, cmp, &key, &next), 0);
	assert_null(next);
	for (int i = 0; i < 100; i++)
		add(&s, i * 2);
	for (key = -1; key < 201; key += 2) {
		assert_int_equal(skip_rank(&s, cmp, &key, &next),
		    (size_t)(key + 1) / 2);
		if (key < 199)
			assert_int_equal(key_of(next), key + 1);
		else
			assert_null(next);
	}
	while (count)
		take(&s, 0);
	skip_done(&s);
}

static void
heights(void **state)
{
	(void)state;
	assert_int_equal(skip_height(1), 1);
	assert_int_equal(skip_height(2), 1);
	assert_int_equal(skip_height(4), 2);
	assert_int_equal(skip_height(UINT64_C(1) << 63), SKIP_MAX);
	assert_int_equal(skip_height(0), SKIP_MAX);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_a_sorted_array),
		cmocka_unit_test(rank_of_what_is_missing),
		cmocka_unit_test(heights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
