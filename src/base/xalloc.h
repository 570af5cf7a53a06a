/* SPDX-License-Identifier: MIT */
/*
 * Allocation that ends the process instead of failing. Sizes that a client
 * controls are checked against a limit before they get here.
 */
#ifndef BASE_XALLOC_H
#define BASE_XALLOC_H

#include "base/attr.h"

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
void *xmemdup(const void *p, size_t len);
/* Copies len bytes and adds a NUL. */
char *xstrndup(const char *s, size_t len);
PRINTF(1, 2) char *xasprintf(const char *fmt, ...);

#endif
