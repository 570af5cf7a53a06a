/* SPDX-License-Identifier: MIT */
/*
 * Growable bytes with a read position.
 *
 * Invariants: head <= len <= cap; data[head..len) are the bytes not consumed
 * yet; data may be NULL only while cap is 0. Not NUL-terminated, but
 * buf_str() makes it so.
 *
 *     data          head            len          cap
 *      | consumed    | unread bytes  | free       |
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdint.h>
#include <stdarg.h>

#include "base/attr.h"

struct buf {
	char *data;
	size_t head;
	size_t len;
	size_t cap;
};

#define BUF_INIT {0}

void buf_done(struct buf *b);

/* Room for at least extra more bytes; the address of the first of them.
 * After writing there, say how many with buf_added(). */
char *buf_reserve(struct buf *b, size_t extra);
void buf_added(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addi(struct buf *b, int64_t v);
PRINTF(2, 3) void buf_addf(struct buf *b, const char *fmt, ...);
void buf_vaddf(struct buf *b, const char *fmt, va_list ap);

static inline const char *
buf_peek(const struct buf *b)
{
	return b->data + b->head;
}

static inline size_t
buf_size(const struct buf *b)
{
	return b->len - b->head;
}

/* Drops n unread bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* Empties it and keeps the memory, unless that is more than keep bytes. */
void buf_reset(struct buf *b, size_t keep);
/* The unread bytes as a C string, valid until the next call. */
const char *buf_str(struct buf *b);
/* The unread bytes as a heap string that the caller owns; b is empty then. */
char *buf_take(struct buf *b);

#endif
