/* SPDX-License-Identifier: MIT */
#include "cmd/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
reply_ok(struct reply *r)
{
	r->ops->simple(r, "OK");
}

void
reply_str(struct reply *r, const char *s)
{
	r->ops->bulk(r, s, strlen(s));
}

void
reply_bytes(struct reply *r, struct bh_bytes b)
{
	if (b.data)
		r->ops->bulk(r, b.data, b.len);
	else
		r->ops->null(r);
}

void
reply_id(struct reply *r, int64_t id)
{
	char digits[24];
	char *p = digits + sizeof(digits);
	uint64_t u = (uint64_t)id;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	r->ops->bulk(r, p, (size_t)(digits + sizeof(digits) - p));
}

void
reply_hex(struct reply *r, uint64_t v)
{
	char text[17];

	snprintf(text, sizeof(text), "%016" PRIx64, v);
	r->ops->bulk(r, text, 16);
}

void
reply_pair_int(struct reply *r, const char *name, int64_t v)
{
	reply_str(r, name);
	r->ops->integer(r, v);
}

void
reply_pair_str(struct reply *r, const char *name, const char *v)
{
	reply_str(r, name);
	reply_str(r, v);
}
