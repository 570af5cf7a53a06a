/* SPDX-License-Identifier: MIT */
/*
 * Cron expressions: minute hour day-of-month month day-of-week, or six fields
 * with the second in front, or @hourly and its like. Lists, ranges, steps and
 * names as in Vixie cron; ? is *, L is the last day of the month, 5#2 the
 * second Friday, 5L the last one. When both day fields are restricted (do not
 * begin with * or ?), a day that meets either of them counts.
 *
 * Zones: a local time that does not exist counts right after the gap, one that
 * exists twice counts once, at its first pass. With a wildcard hour (* or a step of it)
 * the expression is an interval: it counts whenever the clock shows it.
 *
 * A struct cron is plain data. Any thread.
 */
#ifndef BASE_CRON_H
#define BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/tz.h"

#define CRON_NEVER INT64_MAX
#define CRON_TEXT_MAX 256

struct cron {
	uint64_t second, minute;	/* bit n: value n */
	uint32_t hour, day, month;
	uint8_t weekday;		/* 0 Sunday */
	uint8_t nth[7];			/* bits 1 to 5: 5#2; 0: 5L */
	bool last_day;
	bool either;			/* both day fields are restricted */
	bool interval;
};

/* BH_E_BADARG with a sentence that names the field, the value and what was
 * expected. */
MUSTCHECK int cron_parse(struct cron *c, const char *s, size_t len,
    struct err *e);
/* The first time after this one, wall ms; CRON_NEVER when there is none in
 * eight years. */
int64_t cron_next(const struct cron *c, const struct tz *z, int64_t after_ms);
/* cron_parse(), and BH_E_BADARG when there is no time after now. */
MUSTCHECK int cron_check(struct cron *c, const char *s, size_t len,
    const struct tz *z, int64_t now_ms, struct err *e);

#endif
