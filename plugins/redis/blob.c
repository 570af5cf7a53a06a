/* SPDX-License-Identifier: MIT */
#include "redis/blob.h"

#include "redis/mem.h"

void
blob_raw(struct blob *b, const void *data, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = (b->len + len) * 2;
		b->data = mem_grow(b->data, b->cap);
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

void
blob_int(struct blob *b, int64_t v)
{
	unsigned char raw[8];

	for (int i = 0; i < 8; i++)
		raw[i] = (unsigned char)((uint64_t)v >> (56 - 8 * i));
	blob_raw(b, raw, sizeof(raw));
}

void
blob_double(struct blob *b, double v)
{
	int64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	blob_int(b, bits);
}

void
blob_bytes(struct blob *b, struct bh_bytes v)
{
	blob_int(b, (int64_t)v.len);
	blob_raw(b, v.data, v.len);
}

void
blob_done(struct blob *b)
{
	free(b->data);
	*b = (struct blob){0};
}

int64_t
blob_get_int(struct blob_reader *r)
{
	uint64_t v = 0;

	if (r->end - r->at < 8) {
		r->bad = true;
		r->at = r->end;
		return 0;
	}
	for (int i = 0; i < 8; i++)
		v = v << 8 | (unsigned char)*r->at++;
	return (int64_t)v;
}

double
blob_get_double(struct blob_reader *r)
{
	int64_t bits = blob_get_int(r);
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

struct bh_bytes
blob_get_bytes(struct blob_reader *r)
{
	int64_t len = blob_get_int(r);
	struct bh_bytes v = {"", 0};

	if (len < 0 || len > r->end - r->at) {
		r->bad = true;
		return v;
	}
	v = (struct bh_bytes){r->at, (size_t)len};
	r->at += len;
	return v;
}
