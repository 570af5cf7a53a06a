/* SPDX-License-Identifier: MIT */
/* The words of a script's call, and what its answer holds. */
#ifndef REDIS_WORDS_H
#define REDIS_WORDS_H

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

struct words {
	const char *argv[10];
	size_t lens[10];
	int n;
	char digits[6][24];
	int ndigits;
};

static inline void
words_add(struct words *w, struct bh_bytes b)
{
	w->argv[w->n] = b.data ? b.data : "";
	w->lens[w->n++] = b.len;
}

static inline void
words_str(struct words *w, const char *s)
{
	words_add(w, (struct bh_bytes){s, strlen(s)});
}

static inline void
words_int(struct words *w, int64_t v)
{
	char *d = w->digits[w->ndigits++];

	snprintf(d, sizeof(w->digits[0]), "%lld", (long long)v);
	words_str(w, d);
}

/* Data NULL: it is no string. */
static inline struct bh_bytes
reply_text(const struct redisReply *r)
{
	if (r->type != REDIS_REPLY_STRING)
		return (struct bh_bytes){0};
	return (struct bh_bytes){r->str, r->len};
}

static inline int64_t
reply_int(const struct redisReply *r)
{
	if (r->type == REDIS_REPLY_STRING)
		return strtoll(r->str, NULL, 10);
	return r->integer;
}

/* An array of at least so many. */
static inline bool
reply_has(const struct redisReply *r, size_t n)
{
	return r && r->type == REDIS_REPLY_ARRAY && r->elements >= n;
}

#endif
