/* SPDX-License-Identifier: MIT */
/*
 * Time zones: TZif files (version 2 and later, RFC 8536) with their footer
 * rule, read from TZDIR or /usr/share/zoneinfo. UTC needs no file. Seconds are
 * counted since 1970; a local time is counted as if it were UTC.
 *
 * A struct tz never changes; who made it frees it. Any thread.
 */
#ifndef BASE_TZ_H
#define BASE_TZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define TZ_NAME_MAX 64

struct tz;

/* The zone of this name; empty and "UTC" are the same. BH_E_BADARG with a
 * sentence when there is none or its file is not valid. */
MUSTCHECK int tz_load(const char *name, size_t len, struct tz **ret,
    struct err *e);
/* The same from the bytes of a file. */
MUSTCHECK int tz_parse(const char *name, const void *data, size_t len,
    struct tz **ret, struct err *e);
void tz_free(struct tz **z);
const char *tz_name(const struct tz *z);
/* Whether the file is another one than that which was read. */
bool tz_changed(const struct tz *z);

/* Local time minus UTC at this moment. */
int32_t tz_offset(const struct tz *z, int64_t utc);
/* The first moment after this one at which the offset may differ; INT64_MAX
 * for never. */
int64_t tz_change(const struct tz *z, int64_t utc);
/* The moment that a local time stands for. One that does not exist stands for
 * the end of its gap, one that exists twice for its first pass. */
int64_t tz_utc(const struct tz *z, int64_t local);

/* The calendar, in days since 1970-01-01; month and day count from 1. */
struct tz_date {
	int64_t year;
	int month, day;
};
int64_t tz_days(int64_t year, int month, int day);
struct tz_date tz_date(int64_t days);

/* "2026-03-29 01:00:00 +0100", or with ".250" when ms are not 0. size: 48 is
 * enough. */
void tz_show(const struct tz *z, int64_t wall_ms, char *out, size_t size);

#endif
