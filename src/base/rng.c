/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <string.h>
#include <sys/random.h>


/* One system call serves many small requests. */
static _Thread_local unsigned char pool[512];
static _Thread_local size_t pool_left;

static void
fill(unsigned char *out, size_t len)
{
	while (len > 0) {
		ssize_t n = getrandom(out, len, 0);

		if (n < 0)
			continue;	/* EINTR is the only failure here */
		out += n;
		len -= (size_t)n;
	}
}

void
rng_bytes(void *out, size_t len)
{
	if (len > sizeof(pool)) {
		fill(out, len);
		return;
	}
	if (pool_left < len) {
		fill(pool, sizeof(pool));
		pool_left = sizeof(pool);
	}
	pool_left -= len;
	memcpy(out, pool + pool_left, len);
	memset(pool + pool_left, 0, len);
}

uint64_t
rng_u64(void)
{
	uint64_t v;

	rng_bytes(&v, sizeof(v));
	return v;
}

double
rng_unit(void)
{
	return (double)(rng_u64() >> 11) * 0x1p-53;
}
