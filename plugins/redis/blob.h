/* SPDX-License-Identifier: MIT */
/* Records that are kept as one string: numbers of 8 bytes, counted strings. */
#ifndef REDIS_BLOB_H
#define REDIS_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "plugin.h"

struct blob {
	char *data;
	size_t len, cap;
};

void blob_raw(struct blob *b, const void *data, size_t len);
void blob_int(struct blob *b, int64_t v);
void blob_double(struct blob *b, double v);
void blob_bytes(struct blob *b, struct bh_bytes v);
void blob_done(struct blob *b);

static inline struct bh_bytes
blob_all(const struct blob *b)
{
	return (struct bh_bytes){b->data ? b->data : "", b->len};
}

/* What is missing reads as 0 or empty, and sets bad. */
struct blob_reader {
	const char *at, *end;
	bool bad;
};

int64_t blob_get_int(struct blob_reader *r);
double blob_get_double(struct blob_reader *r);
/* Points into what is read. */
struct bh_bytes blob_get_bytes(struct blob_reader *r);

#endif
