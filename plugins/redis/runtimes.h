/* SPDX-License-Identifier: MIT */
/* Run times of the tries that this instance has ended: of the last hour, in
 * slices of ten minutes, and since its start. */
#ifndef REDIS_RUNTIMES_H
#define REDIS_RUNTIMES_H

#include "plugin.h"

struct rruntimes;

/* *t is made when it is NULL; freed by free(). */
void rruntimes_add(struct rruntimes **t, int64_t mono_ms, int64_t ms);
/* t may be NULL. */
void rruntimes_show(const struct rruntimes *t, int64_t mono_ms,
    struct bh_queue_stats *ret);

#endif
