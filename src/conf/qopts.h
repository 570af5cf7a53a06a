/* SPDX-License-Identifier: MIT */
/*
 * The options of a queue, and the one place that decides which value holds:
 * the configuration's entry (first matching pattern), else the serving
 * script's, else the default. A job's own options beat all of these. In a
 * layer, -1 means "not said here"; resolved, every field has a value.
 *
 * Main thread only.
 */
#ifndef CONF_QOPTS_H
#define CONF_QOPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "plugin.h"

struct qopts;

void queue_opts_init(struct bh_queue_opts *o);	/* nothing said */

struct qopts *qopts_new(void);
void qopts_free(struct qopts **q);

/* The configuration's list, in order; pattern as str_glob. Replaces all. */
void qopts_config_clear(struct qopts *q);
void qopts_config_add(struct qopts *q, const char *pattern,
    const struct bh_queue_opts *o);
/* What the script that serves this queue says; NULL: nothing any more. */
void qopts_script_set(struct qopts *q, const char *queue,
    const struct bh_queue_opts *o);

void qopts_resolve(const struct qopts *q, const char *queue,
    struct bh_queue_opts *ret);

#endif
