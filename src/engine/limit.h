/* SPDX-License-Identifier: MIT */
/*
 * A token bucket kept as one time stamp: the generic cell rate algorithm
 * (ITU-T I.371), virtual scheduling form. Integer microseconds throughout;
 * tat is the theoretical arrival time, 0 for a full bucket.
 */
#ifndef ENGINE_LIMIT_H
#define ENGINE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct limit_rate {
	int64_t limit;			/* tokens … */
	int64_t per_ms;			/* … in this span */
	int64_t burst;			/* size of the bucket, at least 1 */
};

/* When a token is there: now_us or later. */
int64_t limit_next(int64_t tat_us, const struct limit_rate *r,
    int64_t now_us);
/* How many tokens are there now. */
int64_t limit_tokens(int64_t tat_us, const struct limit_rate *r,
    int64_t now_us);
/* Takes one token, whether it is there or not; the new tat. */
int64_t limit_take(int64_t tat_us, const struct limit_rate *r,
    int64_t now_us);

#endif
