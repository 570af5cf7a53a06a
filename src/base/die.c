/* SPDX-License-Identifier: MIT */
#include "base/die.h"

#include <stdio.h>
#include <stdlib.h>

void
die_bug(const char *what, const char *file, int line, const char *func)
{
	fprintf(stderr, "bellhop: bug: %s fails in %s (%s:%d)\n", what, func,
	    file, line);
	abort();
}

void
die_nomem(size_t size)
{
	fprintf(stderr, "bellhop: out of memory: %zu bytes refused\n", size);
	abort();
}
