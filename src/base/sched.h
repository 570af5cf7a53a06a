/* SPDX-License-Identifier: MIT */
/*
 * The times of schedules: which ticks are due, which have been missed, what a
 * jump of the clock means. Pure: whoever keeps the rows (a backend) asks, adds
 * the jobs and writes down where it stands. What must hold:
 *
 *  1. All ticks up to `after` have been dealt with; due is the next one.
 *  2. A wall clock that goes back repeats nothing: due stays. When it is more
 *     than a day behind `after`, it is wrong now (a box that boots in 1970) or
 *     has been wrong: the schedule waits an hour (doubt) for it to be put
 *     right, then goes on from the moment when that was noticed.
 *  3. Whatever the clock was in between: ticks up to `seen` do not come again
 *     once it is later than that.
 *  4. A tick that is dealt with more than GRACE_MS after its time, or behind
 *     which another one is due already, has been missed: misfire decides.
 *
 * Any thread.
 */
#ifndef BASE_SCHED_H
#define BASE_SCHED_H

#include "base/cron.h"
#include "plugin.h"

enum { SCHED_DOUBT_MS = 3600000, SCHED_TICKS = 10 };

struct sched_rule {
	const struct cron *cron;	/* NULL: every_ms */
	const struct tz *zone;		/* of cron; NULL: unknown, never */
	int64_t every_ms;
	enum bh_misfire misfire;
	enum bh_overlap overlap;
};

/* The calls of struct bh_schedule_time. */
void sched_begin(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t wall_ms, int64_t steady_ms);
void sched_renew(const struct sched_rule *r, struct bh_schedule_clock *c);
bool sched_look(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t wall_ms);
void sched_accept(const struct sched_rule *r, struct bh_schedule_clock *c);
bool sched_plan(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t wall_ms, int64_t steady_ms, struct bh_tick_plan *ret);
void sched_dealt(const struct sched_rule *r, struct bh_schedule_clock *c,
    const struct bh_tick_plan *plan, int64_t wall_ms);

#endif
