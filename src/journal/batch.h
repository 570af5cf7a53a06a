/* SPDX-License-Identifier: MIT */
/*
 * The records that are to be committed together, and the memory that their
 * strings need. A batch belongs to main while it gathers and again once the
 * writer has answered; in between it is the writer's, and no one changes it.
 *
 * Invariant: recs[0..n) are in the order of their appending; the last one has
 * position last.
 */
#ifndef JOURNAL_BATCH_H
#define JOURNAL_BATCH_H

#include "base/attr.h"
#include "base/err.h"
#include "journal/rec.h"

struct chunk;

struct batch {
	struct jrec *recs;
	size_t n, cap;
	uint64_t last;
	struct chunk *chunks;		/* newest first */
	bool retry;			/* an earlier try has failed */
	struct err err;			/* the writer's answer, code BH_OK */
};

typedef void batch_release_fn(void *owner);

void batch_init(struct batch *b);
/* Gives every owner back, frees all. */
void batch_done(struct batch *b, batch_release_fn *release);
/* The same, and keeps a moderate amount of memory for the next records. */
void batch_clear(struct batch *b, batch_release_fn *release);

/* Copies the record; its strings too when nobody owns them. */
void batch_add(struct batch *b, const struct jrec *rec);

/* Voids the records of these jobs (ids ascending), gives their owners back. */
void batch_void(struct batch *b, const int64_t *ids, size_t nids,
    batch_release_fn *release);
/* The job that a record is about, 0 when it is about something else. */
int64_t batch_rec_job(const struct jrec *r);
/* Orders two int64_t, for qsort() and bsearch(). */
int batch_id_cmp(const void *a, const void *b);

#endif
