/* SPDX-License-Identifier: MIT */
/* What follows from an error: the wait before the next try, and the
 * fingerprint under which like errors are counted. Pure functions. */
#ifndef BASE_RETRY_H
#define BASE_RETRY_H

#include <stdint.h>

#include "plugin.h"

struct retry_backoff {
	enum bh_backoff_type type;
	int64_t delay_ms;
	int64_t max_ms;
	double factor;
	double jitter;			/* 0..1: shortened by up to this share */
};

/* errors: how many so far, at least 1. unit: uniform in [0, 1). */
int64_t retry_delay(const struct retry_backoff *b, int32_t errors,
    double unit);

/* Folds numbers, ids and quoted parts: "order 17 of 'Bo' failed" becomes
 * "order # of '…' failed". At most size - 1 bytes and a NUL; the length. */
size_t retry_fold(const char *msg, size_t len, char *out, size_t size);
/* Of the folded text; stored, so it never changes. Never 0. */
uint64_t retry_fingerprint(const char *msg, size_t len);

#endif
