/* SPDX-License-Identifier: MIT */
#include "redis/mpack.h"

#include "redis/mem.h"

enum { HEAD = 3 };			/* a map16's */

/* --- reading --- */

/* n bytes, the highest first; what is missing ends the reading. */
static bool
number(struct rmp_reader *r, int n, uint64_t *ret)
{
	*ret = 0;
	if (r->end - r->at < n) {
		r->at = r->end;
		return false;
	}
	while (n-- > 0)
		*ret = *ret << 8 | *r->at++;
	return true;
}

static struct rmp_value
string(struct rmp_reader *r, size_t len)
{
	struct rmp_value v = {.type = RMP_STR};

	if ((size_t)(r->end - r->at) < len) {
		r->at = r->end;
		return (struct rmp_value){RMP_END};
	}
	v.s = (struct bh_bytes){(const char *)r->at, len};
	r->at += len;
	return v;
}

static struct rmp_value
integer(int64_t i)
{
	return (struct rmp_value){.type = RMP_INT, .i = i, .d = (double)i};
}

static struct rmp_value
some(enum rmp_type type, size_t n)
{
	return (struct rmp_value){.type = type, .n = n};
}

static struct rmp_value
floating(struct rmp_reader *r, int n)
{
	struct rmp_value v = {.type = RMP_DOUBLE};
	uint64_t bits;
	uint32_t small;
	float f;

	if (!number(r, n, &bits))
		return (struct rmp_value){RMP_END};
	if (n == 4) {
		small = (uint32_t)bits;
		memcpy(&f, &small, sizeof(f));
		v.d = f;
	} else {
		memcpy(&v.d, &bits, sizeof(v.d));
	}
	if (v.d > -9e18 && v.d < 9e18)
		v.i = (int64_t)v.d;
	return v;
}

/* cc … cf, d0 … d3. */
static struct rmp_value
wide_integer(struct rmp_reader *r, unsigned char tag)
{
	int n = 1 << (tag & 3);
	uint64_t u;

	if (!number(r, n, &u))
		return (struct rmp_value){RMP_END};
	if (tag < 0xd0)
		return integer((int64_t)u);
	switch (n) {
	case 1:
		return integer((int8_t)u);
	case 2:
		return integer((int16_t)u);
	case 4:
		return integer((int32_t)u);
	default:
		return integer((int64_t)u);
	}
}

static struct rmp_value
counted(struct rmp_reader *r, enum rmp_type type, int n)
{
	uint64_t u;

	if (!number(r, n, &u))
		return (struct rmp_value){RMP_END};
	return type == RMP_STR ? string(r, u) : some(type, u);
}

static struct rmp_value
tagged(struct rmp_reader *r, unsigned char tag)
{
	switch (tag) {
	case 0xc2:
	case 0xc3:
		return integer(tag == 0xc3);
	case 0xc4:
	case 0xc5:
	case 0xc6:
		return counted(r, RMP_STR, 1 << (tag - 0xc4));
	case 0xca:
		return floating(r, 4);
	case 0xcb:
		return floating(r, 8);
	case 0xd9:
	case 0xda:
	case 0xdb:
		return counted(r, RMP_STR, 1 << (tag - 0xd9));
	case 0xdc:
	case 0xdd:
		return counted(r, RMP_ARRAY, 2 << (tag - 0xdc));
	case 0xde:
	case 0xdf:
		return counted(r, RMP_MAP, 2 << (tag - 0xde));
	default:
		if (tag >= 0xcc && tag <= 0xd3)
			return wide_integer(r, tag);
		return some(RMP_NIL, 0);
	}
}

struct rmp_value
rmp_next(struct rmp_reader *r)
{
	unsigned char tag;

	if (r->at == r->end)
		return (struct rmp_value){RMP_END};
	tag = *r->at++;
	if (tag < 0x80)
		return integer(tag);
	if (tag < 0x90)
		return some(RMP_MAP, tag & 15);
	if (tag < 0xa0)
		return some(RMP_ARRAY, tag & 15);
	if (tag < 0xc0)
		return string(r, tag & 31);
	if (tag >= 0xe0)
		return integer((int8_t)tag);
	return tagged(r, tag);
}

void
rmp_skip(struct rmp_reader *r)
{
	uint64_t left = 1;

	while (left > 0 && r->at != r->end) {
		struct rmp_value v = rmp_next(r);

		left--;
		if (v.type == RMP_ARRAY)
			left += v.n;
		else if (v.type == RMP_MAP)
			left += (uint64_t)2 * v.n;
	}
}

/* --- writing --- */

static void
raw(struct rmp_writer *w, const void *data, size_t len)
{
	if (w->len + len > w->cap) {
		w->cap = (w->len + len) * 2;
		w->data = mem_grow(w->data, w->cap);
	}
	if (len > 0)
		memcpy(w->data + w->len, data, len);
	w->len += len;
}

static void
tag(struct rmp_writer *w, unsigned char t, uint64_t u, int n)
{
	unsigned char b[9] = {t};

	for (int i = n; i > 0; i--, u >>= 8)
		b[i] = (unsigned char)u;
	raw(w, b, (size_t)n + 1);
}

static void
text(struct rmp_writer *w, struct bh_bytes s)
{
	if (s.len < 32)
		tag(w, (unsigned char)(0xa0 | s.len), 0, 0);
	else if (s.len < 65536)
		tag(w, 0xda, s.len, 2);
	else
		tag(w, 0xdb, s.len, 4);
	raw(w, s.data, s.len);
}

static void
key_of(struct rmp_writer *w, const char *key)
{
	w->pairs++;
	text(w, (struct bh_bytes){key, strlen(key)});
}

void
rmp_begin(struct rmp_writer *w)
{
	*w = (struct rmp_writer){0};
	raw(w, "\xde\0\0", HEAD);
}

void
rmp_int(struct rmp_writer *w, const char *key, int64_t v)
{
	key_of(w, key);
	if (v >= 0 && v < 128)
		tag(w, (unsigned char)v, 0, 0);
	else
		tag(w, 0xd3, (uint64_t)v, 8);
}

void
rmp_double(struct rmp_writer *w, const char *key, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	key_of(w, key);
	tag(w, 0xcb, bits, 8);
}

void
rmp_bytes(struct rmp_writer *w, const char *key, struct bh_bytes v)
{
	key_of(w, key);
	text(w, v);
}

void
rmp_end(struct rmp_writer *w)
{
	w->data[1] = (char)(w->pairs >> 8);
	w->data[2] = (char)w->pairs;
}
