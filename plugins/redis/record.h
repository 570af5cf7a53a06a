/* SPDX-License-Identifier: MIT */
/* Jobs as the server keeps them (README.md), and as struct bh_job has them. */
#ifndef REDIS_RECORD_H
#define REDIS_RECORD_H

#include "plugin.h"

struct redisReply;

enum { RSEED = 8, RMETA = 50, RQUEUE_BITS = 14,
    RQUEUE_MASK = (1 << RQUEUE_BITS) - 1 };

/* What the decoding needs memory for, and copies of strings; freed at once. */
struct rarena {
	struct rarena_chunk *chunks;
};

void *rarena_new(struct rarena *a, size_t size);
struct bh_bytes rarena_copy(struct rarena *a, struct bh_bytes b);
void rarena_free(struct rarena *a);

/* Big-endian numbers of 6 bytes, and back. */
void rput48(char *p, int64_t v);
int64_t rget48(const char *p);

/* The parts of a job as a script answers them; result and steps may be NULL.
 * Strings point into the replies, or are copied when copy is set. False: it is
 * no job. */
struct rparts {
	const struct redisReply *meta, *payload, *x, *result, *steps;
};
bool rrecord_job(struct bh_job *ret, struct rarena *a,
    const struct rparts *p, const char *queue,
    const struct bh_queue_opts *defaults, bool copy);
/* The seed of an attempt, from the meta. */
const char *rrecord_seed(const struct redisReply *meta);

/* What an adder said, as a map; NULL when nothing that the map has. Freed by
 * the caller. */
char *rrecord_opts(const struct bh_job_opts *o, struct bh_bytes origin,
    size_t *len);

/* A token is a seed that many jobs share, mixed with the id. */
uint64_t rtoken(const char seed[RSEED], int64_t id);
void rtoken_seed(char seed[RSEED], uint64_t token, int64_t id);

#endif
