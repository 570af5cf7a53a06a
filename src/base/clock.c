/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct clock_time (*clock_source)(void);

static int64_t
read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* The wall offset that a black-box test asks for, else 0. */
static int64_t
test_offset(void)
{
	static int asked = -1;
	static const char *path;
	long long ms = 0;
	FILE *f;

	if (asked < 0) {
		path = getenv("BELLHOP_TEST_CLOCK");
		asked = path != NULL;
	}
	if (!asked || !(f = fopen(path, "re")))
		return 0;
	if (fscanf(f, "%lld", &ms) != 1)
		ms = 0;
	fclose(f);
	return ms;
}

/* The distance between the clocks in whole ms, so that both tick together:
 * what waited 400 ms by mono has waited 400 ms by wall too, and not 399. It
 * follows the wall clock once that is off by more than the rounding. */
static int64_t
offset_ms(int64_t offset_us)
{
	static _Thread_local int64_t last;
	int64_t off = offset_us - last * 1000;

	if (off < -1000 || off > 2000)
		last = offset_us / 1000;
	return last;
}

struct clock_time
clock_now(void)
{
	static _Thread_local int64_t last_mono;
	struct clock_time t;
	int64_t mono_us, wall_us;

	if (clock_source)
		return clock_source();
	mono_us = read_us(CLOCK_BOOTTIME);
	wall_us = read_us(CLOCK_REALTIME) + test_offset() * 1000;
	t.wall_ms = wall_us / 1000;
	t.mono_ms = t.wall_ms - offset_ms(wall_us - mono_us);
	if (t.mono_ms < last_mono)
		t.mono_ms = last_mono;
	last_mono = t.mono_ms;
	return t;
}

int64_t
clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_thread_us(void)
{
	return read_us(CLOCK_THREAD_CPUTIME_ID);
}

void
clock_set_source(struct clock_time (*source)(void))
{
	clock_source = source;
}
