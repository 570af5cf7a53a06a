/* SPDX-License-Identifier: MIT */
/* MessagePack, as much of it as the server's scripts speak (cmsgpack). */
#ifndef REDIS_MPACK_H
#define REDIS_MPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

enum rmp_type { RMP_END, RMP_NIL, RMP_INT, RMP_DOUBLE, RMP_STR, RMP_ARRAY,
    RMP_MAP };

struct rmp_value {
	enum rmp_type type;		/* RMP_END: nothing more, or broken */
	int64_t i;			/* also of a double */
	double d;			/* also of an integer */
	struct bh_bytes s;		/* points into what is read */
	size_t n;			/* items; pairs of a map */
};

struct rmp_reader {
	const unsigned char *at, *end;
};

struct rmp_value rmp_next(struct rmp_reader *r);
/* The next value with all that is in it. */
void rmp_skip(struct rmp_reader *r);

/* Grows as it is written; data is freed by whoever has it last. */
struct rmp_writer {
	char *data;
	size_t len, cap;
	size_t pairs;
};

/* A map of short keys: begin, any number of pairs, end. */
void rmp_begin(struct rmp_writer *w);
void rmp_int(struct rmp_writer *w, const char *key, int64_t v);
void rmp_double(struct rmp_writer *w, const char *key, double v);
void rmp_bytes(struct rmp_writer *w, const char *key, struct bh_bytes v);
void rmp_end(struct rmp_writer *w);

#endif
