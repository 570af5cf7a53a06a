/* SPDX-License-Identifier: MIT */
/* Any text: it is refused with a sentence, or its times ascend. */
#include <string.h>

#include "base/cron.h"
#include "base/die.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char name[] = "Australia/Lord_Howe";
	struct err e = ERR_INIT;
	struct tz *z = NULL;
	struct cron c;
	int64_t at = INT64_C(1772000000000), next;

	if (cron_parse(&c, (const char *)data, size, &e) < 0) {
		CHECK(e.code == BH_E_BADARG && e.text[0]);
		return 0;
	}
	if (tz_load(name, strlen(name), &z, &e) < 0)
		CHECK(tz_load("", 0, &z, &e) == 0);
	for (int i = 0; i < 20 && at != CRON_NEVER; i++, at = next) {
		next = cron_next(&c, z, at);
		CHECK(next > at);
		CHECK(next == CRON_NEVER || next % 1000 == 0);
	}
	tz_free(&z);
	return 0;
}
