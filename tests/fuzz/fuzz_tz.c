/* SPDX-License-Identifier: MIT */
/* Any bytes as a zone file: refused with a sentence, or safe to ask. */
#include "base/cron.h"
#include "base/die.h"
#include "base/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use(const struct tz *z)
{
	struct err e;
	struct cron c;
	int64_t t = INT64_C(-3000000000);

	for (int i = 0; i < 50; i++, t += 100000007) {
		int64_t next = tz_change(z, t);
		int64_t utc = tz_utc(z, t);

		CHECK(next > t);
		CHECK(tz_offset(z, t) >= -93600 && tz_offset(z, t) <= 93600);
		CHECK(utc >= t - 2 * 93600 && utc <= t + 2 * 93600);
	}
	CHECK(cron_parse(&c, "30 1 * * *", 10, &e) == 0);
	CHECK(cron_next(&c, z, 0) > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct tz *z = NULL;

	if (tz_parse("fuzz", data, size, &z, &e) < 0)
		CHECK(e.code == BH_E_BADARG && e.text[0]);
	else
		use(z);
	tz_free(&z);
	return 0;
}
