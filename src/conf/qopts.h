/* SPDX-License-Identifier: MIT */
/*
 * The options of a queue, and the one place that decides which value holds:
 * the configuration's entry (first matching pattern), else the serving
 * script's, else the default. A job's own options beat all of these.
 *
 * Main thread only.
 */
#ifndef CONF_QOPTS_H
#define CONF_QOPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

enum qopts_rate_by { RATE_BY_QUEUE, RATE_BY_GROUP };
enum qopts_group_order { GROUP_STRICT, GROUP_SKIP };

/* In a layer, -1 means "not said here"; resolved, every field has a value. */
struct queue_opts {
	int64_t weight;			/* 1 */
	int64_t strict;			/* 0 or 1; 0 */
	int64_t concurrency;		/* 10 */
	int64_t max_active;		/* 0 = no limit */
	int64_t rate_limit;		/* 0 = none */
	int64_t rate_per_ms;
	int64_t rate_burst;		/* rate_limit */
	int64_t rate_by;		/* enum qopts_rate_by */
	int64_t group_concurrency;	/* 1 */
	int64_t group_order;		/* GROUP_STRICT */
	int64_t max_waiting;		/* 0 = no limit */
	int64_t batch_max;		/* 0 = handlers get single jobs */
	int64_t batch_window_ms;	/* 2 s */
	int64_t batch_quiet_ms;		/* 0 = none */
	int64_t retain_completed_ms;	/* 24 h */
	int64_t retain_completed_count;	/* 1000 */
	int64_t retain_failed_ms;	/* 30 d */
	int64_t retain_failed_count;	/* 10000 */
	char dead_letter[129];		/* "" none */

	/* Defaults for jobs that do not say themselves. */
	int64_t attempts;		/* 12 */
	int64_t backoff_type;		/* BH_BACKOFF_EXPONENTIAL */
	int64_t backoff_ms;		/* 5 s */
	int64_t backoff_max_ms;		/* 6 h */
	double backoff_factor;		/* 3 */
	double backoff_jitter;		/* 0.2 */
	int64_t timeout_ms;		/* 60 s */
	int64_t lease_ms;		/* 30 s */
	int64_t max_stalled;		/* 2 */

	/* Which on_* the script has: bits 1 << enum bh_callback_kind; 0. */
	int64_t callbacks;
};

struct qopts;

void queue_opts_init(struct queue_opts *o);	/* nothing said */

struct qopts *qopts_new(void);
void qopts_free(struct qopts **q);

/* The configuration's list, in order; pattern as str_glob. Replaces all. */
void qopts_config_clear(struct qopts *q);
void qopts_config_add(struct qopts *q, const char *pattern,
    const struct queue_opts *o);
/* What the script that serves this queue says; NULL: nothing any more. */
void qopts_script_set(struct qopts *q, const char *queue,
    const struct queue_opts *o);

void qopts_resolve(const struct qopts *q, const char *queue,
    struct queue_opts *ret);

#endif
