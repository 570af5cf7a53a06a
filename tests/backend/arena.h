/* SPDX-License-Identifier: MIT */
/* Memory that is freed all at once: copies of what callbacks show. */
#ifndef BACKEND_ARENA_H
#define BACKEND_ARENA_H

#include "plugin.h"

struct arena_block;

struct arena {
	struct arena_block *head;
};

void arena_done(struct arena *a);
/* Zeroed. */
void *arena_alloc(struct arena *a, size_t size);
/* Copies with a NUL behind; absent strings stay absent. */
struct bh_bytes arena_bytes(struct arena *a, struct bh_bytes b);
/* A copy of a job with everything that it points to. */
void arena_job(struct arena *a, struct bh_job *to, const struct bh_job *from);

#endif
