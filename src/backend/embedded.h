/* SPDX-License-Identifier: MIT */
/* The embedded backend: bh_backend_ops over the engine and its journal. */
#ifndef BACKEND_EMBEDDED_H
#define BACKEND_EMBEDDED_H

#include "base/err.h"
#include "conf/qopts.h"
#include "keys/keys.h"
#include "plugin.h"

struct embedded_config {
	const char *dir;		/* the state directory */
	bool relaxed;			/* durability */
	struct qopts *qopts;
	int64_t payload_cache;
	int64_t max_disk;		/* 0: no limit */
	int64_t max_queues;
	struct keys_limits keys;
	int64_t limiter_bytes;		/* of all rate limiters */
	bool limiters_durable;
	/* A clock for rate limiters; NULL: the turn's time, for tests. */
	int64_t (*mono_us)(void);
	int64_t max_schedules;
	/* Wakes the main loop: called on the journal's threads. */
	void (*wake)(void *arg);
	void *wake_arg;
	/* Recovery is under way: called now and then; may be NULL. */
	void (*recovering)(void *arg);
	const char *vfs;		/* for tests, else NULL */
};

/* Opens the store and recovers what it holds. */
MUSTCHECK int embedded_open(void **ret, const struct embedded_config *c,
    struct err *e);
/* Limits that a reload may change. */
void embedded_set_limits(void *be, int64_t payload_cache, int64_t max_disk,
    int64_t max_queues, int64_t max_schedules);
void embedded_set_keys(void *be, const struct keys_limits *limits,
    int64_t limiter_bytes, bool limiters_durable);

extern const struct bh_backend_ops embedded_ops;

#endif
