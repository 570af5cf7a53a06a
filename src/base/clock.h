/* SPDX-License-Identifier: MIT */
/*
 * The two clocks, in milliseconds: wall (since 1970, may jump) and mono (since
 * boot, never jumps). The source can be replaced, so tests turn time by hand;
 * the environment variable BELLHOP_TEST_CLOCK names a file that holds an
 * offset in ms to add to the wall clock, read again at each call.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock_time {
	int64_t wall_ms;
	int64_t mono_ms;
};

struct clock_time clock_now(void);
/* Microseconds, for measuring spans. */
int64_t clock_mono_us(void);
/* CPU time of the calling thread, microseconds. */
int64_t clock_thread_us(void);

/* NULL gives back the system's clocks. Not thread-safe: call it first. */
void clock_set_source(struct clock_time (*source)(void));

#endif
