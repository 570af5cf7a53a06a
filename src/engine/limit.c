/* SPDX-License-Identifier: MIT */
#include "engine/limit.h"

static int64_t
interval_us(const struct limit_rate *r)
{
	int64_t us = r->per_ms * 1000 / r->limit;

	return us > 0 ? us : 1;
}

int64_t
limit_next(int64_t tat_us, const struct limit_rate *r, int64_t now_us)
{
	int64_t at = tat_us - (r->burst - 1) * interval_us(r);

	return at > now_us ? at : now_us;
}

int64_t
limit_take(int64_t tat_us, const struct limit_rate *r, int64_t now_us)
{
	return (tat_us > now_us ? tat_us : now_us) + interval_us(r);
}
