/* SPDX-License-Identifier: MIT */
/* Sizes in as few bytes as they need: 7 bits each, the lowest first, the high
 * bit says that there are more. Backwards, the last byte is the lowest. */
#ifndef BASE_VARINT_H
#define BASE_VARINT_H

#include <stddef.h>

static inline size_t
varint_size(size_t v)
{
	size_t n = 1;

	while (v >>= 7)
		n++;
	return n;
}

static inline size_t
varint_put(char *to, size_t v)
{
	size_t n = 0;

	while (v > 127) {
		to[n++] = (char)(v | 128);
		v >>= 7;
	}
	to[n++] = (char)v;
	return n;
}

static inline size_t
varint_get(const char *from, size_t *ret)
{
	size_t n = 0, v = 0;

	do
		v |= (size_t)(from[n] & 127) << (7 * n);
	while (from[n++] & 128);
	*ret = v;
	return n;
}

/* last: the byte in front of the end. */
static inline void
varint_put_back(char *last, size_t v)
{
	for (; v > 127; v >>= 7)
		*last-- = (char)(v | 128);
	*last = (char)v;
}

static inline size_t
varint_get_back(const char *last, size_t *ret)
{
	size_t n = 0, v = 0;

	do
		v |= (size_t)(last[-(ptrdiff_t)n] & 127) << (7 * n);
	while (last[-(ptrdiff_t)n++] & 128);
	*ret = v;
	return n;
}

#endif
