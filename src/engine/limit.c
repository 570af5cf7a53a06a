/* SPDX-License-Identifier: MIT */
#include "engine/limit.h"

static int64_t
interval_us(const struct limit_rate *r)
{
	/* Rounded up: rounded down, 700,000 a second would be a million. */
	return (r->per_ms * 1000 + r->limit - 1) / r->limit;
}

int64_t
limit_next(int64_t tat_us, const struct limit_rate *r, int64_t now_us)
{
	int64_t ahead;

	/* A bucket of more than 290,000 years is never empty. */
	if (__builtin_mul_overflow(r->burst - 1, interval_us(r), &ahead))
		return now_us;
	return tat_us - ahead > now_us ? tat_us - ahead : now_us;
}

int64_t
limit_tokens(int64_t tat_us, const struct limit_rate *r, int64_t now_us)
{
	int64_t each = interval_us(r), used;

	if (tat_us <= now_us)
		return r->burst;
	used = (tat_us - now_us + each - 1) / each;
	return used < r->burst ? r->burst - used : 0;
}

int64_t
limit_take(int64_t tat_us, const struct limit_rate *r, int64_t now_us)
{
	return (tat_us > now_us ? tat_us : now_us) + interval_us(r);
}
