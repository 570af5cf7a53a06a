/* SPDX-License-Identifier: MIT */
/*
 * What works without the store: the cache (keys with a volatile prefix) and
 * the rate limiters, in memory alone, for a backend that is away. Main thread.
 */
#ifndef BACKEND_SPARE_H
#define BACKEND_SPARE_H

#include "keys/keys.h"

struct spare;

/* limits as for keys_set_limits(). */
struct spare *spare_new(const struct keys_limits *limits,
    int64_t limiter_bytes);
/* What is under way is answered with BH_E_CANCELED. */
void spare_free(struct spare **s);
/* False: it is not for the cache alone, and is left alone. */
MUSTCHECK bool spare_key(struct spare *s, struct bh_key_command *r);
void spare_throttle(struct spare *s, struct bh_throttle *r);
/* Once a turn: answers. The mono ms of the next thing due. */
int64_t spare_turn(struct spare *s, int64_t wall_ms, int64_t mono_ms);

#endif
