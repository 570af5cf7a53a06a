/* SPDX-License-Identifier: MIT */
/* Memory of the plugin: when there is none, the process ends. */
#ifndef REDIS_MEM_H
#define REDIS_MEM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *
mem_checked(void *p)
{
	if (!p) {
		fputs("redis: out of memory\n", stderr);
		abort();
	}
	return p;
}

/* Zeroed. */
static inline void *
mem_new(size_t size)
{
	return mem_checked(calloc(1, size ? size : 1));
}

static inline void *
mem_grow(void *p, size_t size)
{
	return mem_checked(realloc(p, size ? size : 1));
}

/* A copy that ends with a NUL. */
static inline char *
mem_copy(const void *data, size_t len)
{
	char *p = mem_checked(malloc(len + 1));

	if (len > 0)
		memcpy(p, data, len);
	p[len] = '\0';
	return p;
}

static inline char *
mem_str(const char *s)
{
	return mem_copy(s, strlen(s));
}

#endif
