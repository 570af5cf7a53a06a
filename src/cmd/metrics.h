/* SPDX-License-Identifier: MIT */
/*
 * Writes figures in Prometheus' text format 0.0.4: a family's HELP and TYPE
 * once, then its samples. What would make the page unreadable (a name that is
 * none, a family that was there before, a sample outside of its family) is
 * left out, as plugins write here too.
 *
 * Main thread only.
 */
#ifndef CMD_METRICS_H
#define CMD_METRICS_H

#include "base/attr.h"
#include "base/buf.h"
#include "plugin.h"

struct metrics {
	struct bh_metrics api;		/* first */
	struct buf out;
	struct buf seen;		/* names of families, each with a NUL */
	struct buf labels;		/* see metrics_labels() */
	char name[128];			/* of the family under way, or "" */
};

void metrics_init(struct metrics *m);
void metrics_done(struct metrics *m);

void metrics_family(struct metrics *m, const char *name, const char *type,
    const char *help);
/* suffix: "", or "_bucket", "_sum", "_count". */
void metrics_sample(struct metrics *m, const char *suffix, const char *labels,
    double value);

/* A family of one sample without labels. */
void metrics_one(struct metrics *m, const char *name, const char *type,
    const char *help, double value);

/* Text for metrics_sample(), valid until the next call: one label, its value
 * escaped, and more (may be "") behind it as it is. */
const char *metrics_labels(struct metrics *m, const char *name,
    struct bh_bytes value, const char *more);

#endif
