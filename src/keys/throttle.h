/* SPDX-License-Identifier: MIT */
/*
 * Rate limiters by name: token buckets as GCRA, which keeps one time for each
 * window. They live in memory, at most so many bytes of them: the ones that
 * were not asked for the longest time go first.
 *
 * Times are kept in units of 2^-32 ns, so that no rate up to 10^9 a second
 * drifts. Main thread only.
 */
#ifndef KEYS_THROTTLE_H
#define KEYS_THROTTLE_H

#include "plugin.h"

#define THROTTLE_WINDOWS 8
#define THROTTLE_KEY_MAX 1024
#define THROTTLE_MAX INT64_C(1000000000)	/* limit, burst, quantity */
#define THROTTLE_PER_MAX INT64_C(31622400000)	/* 366 days, ms */

struct throttle;

struct throttle *throttle_new(void);
void throttle_free(struct throttle **t);
void throttle_set_limit(struct throttle *t, int64_t bytes);
/* Fills the request's outs; -1: malformed, with a sentence in req.text and
 * the code in req.status. now_us ascends. */
int throttle_take(struct throttle *t, struct bh_throttle *r, int64_t now_us);
int64_t throttle_count(const struct throttle *t);
int64_t throttle_bytes(const struct throttle *t);

#endif
