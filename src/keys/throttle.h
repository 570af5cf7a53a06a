/* SPDX-License-Identifier: MIT */
/*
 * Rate limiters by name: token buckets as GCRA, which keeps one time for each
 * window. They live in memory, at most so many bytes of them: the ones that
 * were not asked for the longest time go first. Where they are durable, what
 * has changed is written down once a turn; no answer waits for that.
 *
 * Times are kept in units of 2^-32 ns, so that no rate up to 10^9 a second
 * drifts. Main thread only.
 */
#ifndef KEYS_THROTTLE_H
#define KEYS_THROTTLE_H

#include "base/err.h"
#include "journal/journal.h"
#include "plugin.h"

#define THROTTLE_WINDOWS 8
#define THROTTLE_KEY_MAX 1024
#define THROTTLE_MAX INT64_C(1000000000)	/* limit, burst, quantity */
#define THROTTLE_PER_MAX INT64_C(31622400000)	/* 366 days, ms */

struct throttle;

/* j NULL: in memory only. */
struct throttle *throttle_new(struct journal *j);
void throttle_free(struct throttle **t);
void throttle_set_limit(struct throttle *t, int64_t bytes, bool durable);
/* Reads those that were written down; the first throttle_begin() tells what
 * time it is for them. */
MUSTCHECK int throttle_load(struct throttle *t, struct err *e);
void throttle_begin(struct throttle *t, int64_t wall_ms, int64_t now_us);
/* Once a turn: writes down what has changed. */
void throttle_settle(struct throttle *t, int64_t wall_ms, int64_t now_us);
/* Fills the request's outs; -1: malformed, with a sentence in req.text and
 * the code in req.status. now_us ascends. */
int throttle_take(struct throttle *t, struct bh_throttle *r, int64_t now_us);
int64_t throttle_count(const struct throttle *t);
int64_t throttle_bytes(const struct throttle *t);

#endif
