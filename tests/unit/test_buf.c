/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
static void
assert_buf(struct buf *b, const char *want)
{
	assert_int_equal(buf_size(b), strlen(want));
	assert_string_equal(buf_str(b), want);
}

static void
parts_are_appended_in_order(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_adds(&b, "one");
	buf_addc(&b, ' ');
	buf_add(&b, "two!", 3);
	buf_add(&b, NULL, 0);
	buf_addf(&b, " %d %s", 3, "four");
	assert_buf(&b, "one two 3 four");
	buf_done(&b);
}

static void
consume_drops_from_the_front(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_adds(&b, "abcdef");
	buf_consume(&b, 0);
	buf_consume(&b, 2);
	assert_memory_equal(buf_peek(&b), "cdef", 4);
	buf_adds(&b, "gh");
	assert_buf(&b, "cdefgh");
	buf_consume(&b, 6);
	assert_int_equal(buf_size(&b), 0);
	assert_int_equal(b.head, 0);
	assert_int_equal(b.len, 0);
	buf_done(&b);
}

static void
consumed_room_is_used_again(void **state)
{
	struct buf b = BUF_INIT;
	size_t cap;

	(void)state;
	buf_reserve(&b, 256);
	cap = b.cap;
	for (int i = 0; i < 1000; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%08d%08d", i, i + 1);
		buf_add(&b, text, 16);
		if (i == 0)
			continue;
		snprintf(text, sizeof(text), "%08d%08d", i - 1, i);
		assert_memory_equal(buf_peek(&b), text, 16);
		buf_consume(&b, 16);
	}
	assert_int_equal(buf_size(&b), 16);
	assert_int_equal(b.cap, cap);
	buf_done(&b);
}

static void
reserve_keeps_what_is_there(void **state)
{
	struct buf b = BUF_INIT;
	char *p;

	(void)state;
	buf_adds(&b, "xhead");
	buf_consume(&b, 1);
	for (size_t extra = 1; extra < 100000; extra *= 3) {
		p = buf_reserve(&b, extra);
		assert_ptr_equal(p, b.data + b.len);
		assert_true(b.cap - b.len >= extra);
		memset(p, '-', extra);
		assert_memory_equal(buf_peek(&b), "head", 4);
		assert_int_equal(buf_size(&b), 4);
	}
	buf_done(&b);
}

static void
added_takes_what_was_written_into_the_reserve(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	memcpy(buf_reserve(&b, 10), "0123456789", 10);
	buf_added(&b, 4);
	assert_buf(&b, "0123");
	buf_done(&b);
}

static void
addf_takes_texts_of_any_length(void **state)
{
	static char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	/* All lengths around the first room, then longer ones. */
	for (int n = 0; n < 2999; n += n < 300 ? 1 : 457) {
		struct buf b = BUF_INIT;

		buf_addf(&b, "<%.*s>", n, text);
		assert_int_equal(buf_size(&b), n + 2);
		assert_int_equal(b.data[0], '<');
		assert_memory_equal(b.data + 1, text, (size_t)n);
		assert_int_equal(b.data[n + 1], '>');
		buf_done(&b);
	}
}

static void
addi_writes_what_printf_would(void **state)
{
	static const int64_t values[] = {0, 1, -1, 9, 10, -10, 1234567890,
	    INT64_MAX, INT64_MIN, INT64_MIN + 1, INT32_MIN};

	(void)state;
	for (size_t i = 0; i < nitems(values); i++) {
		struct buf b = BUF_INIT;
		char want[32];

		snprintf(want, sizeof(want), "%lld", (long long)values[i]);
		buf_addi(&b, values[i]);
		assert_buf(&b, want);
		buf_done(&b);
	}
}

static void
str_of_nothing_is_the_empty_string(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_size(&b), 0);
	buf_done(&b);
}

static void
str_of_a_full_buffer_ends(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_addc(&b, 'x');
	while (b.len < b.cap)
		buf_addc(&b, 'x');
	assert_int_equal(strlen(buf_str(&b)), buf_size(&b));
	buf_done(&b);
}

static void
take_hands_over_the_unread_part(void **state)
{
	struct buf b = BUF_INIT;
	char *s;

	(void)state;
	buf_adds(&b, "xyz\1");
	buf_consume(&b, 1);
	s = buf_take(&b);
	assert_string_equal(s, "yz\1");
	free(s);
	assert_int_equal(buf_size(&b), 0);
	buf_adds(&b, "again");
	assert_buf(&b, "again");
	buf_done(&b);
	s = buf_take(&b);
	assert_string_equal(s, "");
	free(s);
}

static void
reset_keeps_small_memory_and_frees_large(void **state)
{
	struct buf b = BUF_INIT;
	const char *data;

	(void)state;
	buf_adds(&b, "abc");
	buf_consume(&b, 1);
	data = b.data;
	buf_reset(&b, 4096);
	assert_ptr_equal(b.data, data);
	assert_int_equal(buf_size(&b), 0);
	assert_int_equal(b.head, 0);
	buf_reserve(&b, 5000);
	buf_reset(&b, 4096);
	assert_int_equal(b.cap, 0);
	assert_null(b.data);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_are_appended_in_order),
		cmocka_unit_test(consume_drops_from_the_front),
		cmocka_unit_test(consumed_room_is_used_again),
		cmocka_unit_test(reserve_keeps_what_is_there),
		cmocka_unit_test(added_takes_what_was_written_into_the_reserve),
		cmocka_unit_test(addf_takes_texts_of_any_length),
		cmocka_unit_test(addi_writes_what_printf_would),
		cmocka_unit_test(str_of_nothing_is_the_empty_string),
		cmocka_unit_test(str_of_a_full_buffer_ends),
		cmocka_unit_test(take_hands_over_the_unread_part),
		cmocka_unit_test(reset_keeps_small_memory_and_frees_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
