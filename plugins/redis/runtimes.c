/* SPDX-License-Identifier: MIT */
#include "redis/runtimes.h"

#include "redis/mem.h"

/* Eight buckets for each power of two: a quantile is at most 1/8 too high. */
enum { BUCKETS = 8 * 40, SLICES = 6, SLICE_MS = 600000 };

struct rruntimes {
	uint32_t slice[SLICES][BUCKETS];
	int64_t period[SLICES];
	int64_t count, sum_ms;
	int64_t bucket[BH_RUNTIME_BUCKETS];
};

static const int64_t bounds[] = {BH_RUNTIME_BOUNDS};

static unsigned
bucket_of(int64_t ms)
{
	uint64_t u = ms < 0 ? 0 : (uint64_t)ms;
	unsigned power, b;

	if (u < 8)
		return (unsigned)u;
	power = 63 - (unsigned)__builtin_clzll(u);
	b = (power - 2) * 8 + (unsigned)((u >> (power - 3)) & 7);
	return b < BUCKETS ? b : BUCKETS - 1;
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
rruntimes_add(struct rruntimes **tp, int64_t mono_ms, int64_t ms)
{
	int64_t period = mono_ms / SLICE_MS;
	int i = (int)(period % SLICES);
	struct rruntimes *t = *tp;
	size_t b = 0;

	if (!t)
		*tp = t = mem_new(sizeof(*t));
	if (t->period[i] != period) {
		memset(t->slice[i], 0, sizeof(t->slice[i]));
		t->period[i] = period;
	}
	t->slice[i][bucket_of(ms)]++;
	while (b < sizeof(bounds) / sizeof(bounds[0]) && ms > bounds[b])
		b++;
	t->bucket[b]++;
	t->count++;
	t->sum_ms += ms > 0 ? ms : 0;
}

static int64_t
quantile(const uint64_t counts[BUCKETS], uint64_t total, double q)
{
	uint64_t want = (uint64_t)(q * (double)total), seen = 0;

	if (total == 0)
		return 0;
	if (want >= total)
		want = total - 1;
	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += counts[i];
		if (seen > want)
			return upper(i);
	}
	return upper(BUCKETS - 1);
}

void
rruntimes_show(const struct rruntimes *t, int64_t mono_ms,
    struct bh_queue_stats *ret)
{
	int64_t period = mono_ms / SLICE_MS;
	uint64_t counts[BUCKETS] = {0}, total = 0;

	if (!t)
		return;
	for (int i = 0; i < SLICES; i++) {
		if (t->period[i] <= period - SLICES)
			continue;
		for (unsigned b = 0; b < BUCKETS; b++) {
			counts[b] += t->slice[i][b];
			total += t->slice[i][b];
		}
	}
	ret->p50_ms = quantile(counts, total, 0.50);
	ret->p95_ms = quantile(counts, total, 0.95);
	ret->p99_ms = quantile(counts, total, 0.99);
	ret->runtime_count = t->count;
	ret->runtime_sum_ms = t->sum_ms;
	memcpy(ret->runtime_bucket, t->bucket, sizeof(ret->runtime_bucket));
}
