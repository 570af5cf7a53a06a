/* SPDX-License-Identifier: MIT */
#include "ds/hist.h"

static unsigned
bucket(int64_t v)
{
	uint64_t u = v < 0 ? 0 : (uint64_t)v;
	unsigned power, b;

	if (u < 8)
		return (unsigned)u;
	power = 63 - (unsigned)__builtin_clzll(u);
	b = (power - 2) * 8 + (unsigned)((u >> (power - 3)) & 7);
	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

static int64_t
upper(unsigned b)
{
	unsigned power = b / 8 + 2;

	if (b < 8)
		return b;
	return ((int64_t)(8 + b % 8 + 1) << (power - 3)) - 1;
}

void
hist_add(struct hist *h, int64_t v)
{
	h->count[bucket(v)]++;
	h->total++;
}

void
hist_merge(struct hist *into, const struct hist *from)
{
	unsigned i;

	for (i = 0; i < HIST_BUCKETS; i++)
		into->count[i] += from->count[i];
	into->total += from->total;
}

int64_t
hist_quantile(const struct hist *h, double q)
{
	uint64_t want = (uint64_t)(q * (double)h->total), seen = 0;
	unsigned i;

	if (h->total == 0)
		return 0;
	if (want >= h->total)
		want = h->total - 1;
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->count[i];
		if (seen > want)
			return upper(i);
	}
	return upper(HIST_BUCKETS - 1);
}
