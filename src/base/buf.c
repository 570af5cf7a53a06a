/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"

void
buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

char *
buf_reserve(struct buf *b, size_t extra)
{
	size_t want;

	if (b->cap - b->len >= extra)
		return b->data + b->len;
	if (b->head > 0 && b->head >= b->cap / 2) {
		memmove(b->data, b->data + b->head, b->len - b->head);
		b->len -= b->head;
		b->head = 0;
		if (b->cap - b->len >= extra)
			return b->data + b->len;
	}
	want = b->cap ? b->cap * 2 : 256;
	if (want < b->len + extra)
		want = b->len + extra;
	b->data = xrealloc(b->data, want);
	b->cap = want;
	return b->data + b->len;
}

void
buf_added(struct buf *b, size_t n)
{
	CHECK(n <= b->cap - b->len);
	b->len += n;
}

void
buf_add(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(b, len), data, len);
	b->len += len;
}

void
buf_addc(struct buf *b, char c)
{
	*buf_reserve(b, 1) = c;
	b->len++;
}

void
buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_addi(struct buf *b, int64_t v)
{
	char digits[24];
	char *p = digits + sizeof(digits);
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		*--p = '-';
	buf_add(b, p, (size_t)(digits + sizeof(digits) - p));
}

void
buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	size_t room;
	int n;

	va_copy(again, ap);
	buf_reserve(b, 64);
	room = b->cap - b->len;
	n = vsnprintf(b->data + b->len, room, fmt, ap);
	CHECK(n >= 0);
	if ((size_t)n >= room)
		vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt,
		    again);
	va_end(again);
	b->len += (size_t)n;
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void
buf_consume(struct buf *b, size_t n)
{
	CHECK(n <= buf_size(b));
	b->head += n;
	if (b->head == b->len)
		b->head = b->len = 0;
}

void
buf_reset(struct buf *b, size_t keep)
{
	if (b->cap > keep)
		buf_done(b);
	b->head = b->len = 0;
}

const char *
buf_str(struct buf *b)
{
	*buf_reserve(b, 1) = '\0';
	return b->data + b->head;
}

char *
buf_take(struct buf *b)
{
	char *s = xstrndup(b->data ? b->data + b->head : "", buf_size(b));

	buf_done(b);
	return s;
}
