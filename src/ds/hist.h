/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram of non-negative integers: 8 buckets for each power
 * of two, so a quantile is at most 1/8 too high. All zero is empty.
 */
#ifndef DS_HIST_H
#define DS_HIST_H

#include <stdint.h>

enum { HIST_BUCKETS = 8 * 40 };

struct hist {
	uint32_t count[HIST_BUCKETS];
	uint64_t total;
};

void hist_add(struct hist *h, int64_t v);
void hist_merge(struct hist *into, const struct hist *from);
/* The upper bound of the bucket that holds quantile q (0..1); 0 if empty. */
int64_t hist_quantile(const struct hist *h, double q);

#endif
