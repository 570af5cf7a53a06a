/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
static char offset_file[] = "/tmp/test_clock_XXXXXX";

static void
write_offset(const char *text)
{
	FILE *f = fopen(offset_file, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* How far the wall clock is off, to a second. */
static int64_t
offset_s(void)
{
	int64_t off = clock_now().wall_ms - (int64_t)time(NULL) * 1000;

	return (off + 500 * (off < 0 ? -1 : 1)) / 1000;
}

static struct clock_time
by_hand(void)
{
	return (struct clock_time){.wall_ms = 1234, .mono_ms = 5678};
}

static void
injected_source_is_the_time(void **state)
{
	struct clock_time t;

	(void)state;
	write_offset("5000000");
	clock_set_source(by_hand);
	t = clock_now();
	assert_int_equal(t.wall_ms, 1234);
	assert_int_equal(t.mono_ms, 5678);
	clock_set_source(NULL);
	t = clock_now();
	assert_true(t.wall_ms > 1000000000000);
	assert_int_not_equal(t.mono_ms, 5678);
}

static void
offset_file_is_read_at_each_call(void **state)
{
	(void)state;
	write_offset("0");
	assert_in_range(offset_s() + 2, 0, 4);
	write_offset("86400000\n");
	assert_in_range(offset_s(), 86398, 86402);
	write_offset("-3600000");
	assert_in_range(-offset_s(), 3598, 3602);
}

static void
offset_file_without_a_number_means_none(void **state)
{
	(void)state;
	write_offset("later");
	assert_in_range(offset_s() + 2, 0, 4);
	write_offset("");
	assert_in_range(offset_s() + 2, 0, 4);
	unlink(offset_file);
	assert_in_range(offset_s() + 2, 0, 4);
}

static void
offset_leaves_the_other_clock_alone(void **state)
{
	int64_t was;

	(void)state;
	write_offset("0");
	was = clock_now().mono_ms;
	write_offset("900000000");
	assert_in_range(clock_now().mono_ms, was, was + 60000);
}

static void
spans_never_run_backwards(void **state)
{
	int64_t mono = clock_mono_us(), cpu = clock_thread_us();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t m = clock_mono_us(), c = clock_thread_us();

		assert_true(m >= mono);
		assert_true(c >= cpu);
		mono = m;
		cpu = c;
	}
	/* A million rounds take time, of the clock and of this thread. */
	for (int i = 0; i < 1000000 && (clock_thread_us() == cpu ||
	    clock_mono_us() == mono); i++)
		;
	assert_true(clock_thread_us() > cpu);
	assert_true(clock_mono_us() > mono);
}

static void
unit_is_in_range_and_spread(void **state)
{
	unsigned tenth[10] = {0};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		double u = rng_unit();

		assert_true(u >= 0 && u < 1);
		tenth[(int)(u * 10)]++;
	}
	/* 2000 each; 12 standard deviations are no accident. */
	for (int i = 0; i < 10; i++)
		assert_in_range(tenth[i], 1500, 2500);
}

static void
numbers_do_not_repeat(void **state)
{
	static uint64_t seen[500];

	(void)state;
	for (size_t i = 0; i < 500; i++) {
		seen[i] = rng_u64();
		for (size_t j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
	}
}

static void
bytes_fill_exactly_what_is_asked(void **state)
{
	static const size_t sizes[] = {0, 1, 7, 511, 512, 513, 2000};
	unsigned char out[2002];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t len = sizes[i], zeros = 0;

		memset(out, 0, sizeof(out));
		out[len] = 0x5a;
		rng_bytes(out, len);
		assert_int_equal(out[len], 0x5a);
		for (size_t b = 0; b < len; b++)
			zeros += out[b] == 0;
		/* One in 256 is zero; all that is left out would be. */
		assert_true(zeros <= len / 16 + 4);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(injected_source_is_the_time),
		cmocka_unit_test(offset_file_is_read_at_each_call),
		cmocka_unit_test(offset_file_without_a_number_means_none),
		cmocka_unit_test(offset_leaves_the_other_clock_alone),
		cmocka_unit_test(spans_never_run_backwards),
		cmocka_unit_test(unit_is_in_range_and_spread),
		cmocka_unit_test(numbers_do_not_repeat),
		cmocka_unit_test(bytes_fill_exactly_what_is_asked),
	};
	int fd = mkstemp(offset_file), failed;

	if (fd < 0)
		return 1;
	close(fd);
	/* Asked for once in the life of a process. */
	setenv("BELLHOP_TEST_CLOCK", offset_file, 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(offset_file);
	return failed;
}
