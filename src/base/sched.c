/* SPDX-License-Identifier: MIT */
#include "base/sched.h"

enum { GRACE_MS = 5000, BURST_MAX = 10000 };

#define DAY_MS INT64_C(86400000)

/* The first tick after this time of its clock. */
static int64_t
tick_after(const struct sched_rule *r, const struct bh_schedule_clock *c,
    int64_t at)
{
	if (r->cron)
		return r->zone ? cron_next(r->cron, r->zone, at) : INT64_MAX;
	if (at < c->due)
		return c->due;
	return c->due + ((at - c->due) / r->every_ms + 1) * r->every_ms;
}

/* The last tick up to now; from is one. */
static int64_t
tick_until(const struct sched_rule *r, const struct bh_schedule_clock *c,
    int64_t from, int64_t now)
{
	int64_t late = now;

	if (!r->cron)
		return from + (now - from) / r->every_ms * r->every_ms;
	while (late - from > 1) {
		int64_t mid = from + (late - from) / 2;
		int64_t at = tick_after(r, c, mid);

		if (at <= now)
			from = at;
		else
			late = mid;
	}
	return from;
}

void
sched_begin(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t wall_ms, int64_t steady_ms)
{
	*c = (struct bh_schedule_clock){.after = wall_ms, .seen = wall_ms};
	c->due = r->cron ? tick_after(r, c, wall_ms) :
	    steady_ms + r->every_ms;
}

void
sched_renew(const struct sched_rule *r, struct bh_schedule_clock *c)
{
	if (r->cron)
		c->due = tick_after(r, c, c->after);
}

bool
sched_look(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t wall_ms)
{
	bool behind = r->cron && wall_ms + DAY_MS < c->after;

	if (c->doubt == behind)
		return false;
	c->doubt = behind;
	c->doubt_wall = wall_ms;
	return true;
}

void
sched_accept(const struct sched_rule *r, struct bh_schedule_clock *c)
{
	c->doubt = false;
	c->after = c->doubt_wall;
	c->due = tick_after(r, c, c->after);
}

/* The first tick that is still to be dealt with: not one that was seen
 * already, and with `all` not one of more than a day ago. */
static int64_t
first_due(const struct sched_rule *r, const struct bh_schedule_clock *c,
    int64_t now)
{
	int64_t from = c->due;

	if (r->cron && from <= c->seen && c->seen <= now)
		from = tick_after(r, c, c->seen);
	if (r->misfire == BH_MISFIRE_ALL && now - from > DAY_MS) {
		int64_t recent = tick_after(r, c, now - DAY_MS - 1);

		/* When all are older, the last one is noted. */
		from = recent <= now ? recent : tick_until(r, c, from, now);
	}
	return from;
}

/* Of missed ones that do not run, the last few are noted. */
static int64_t
first_noted(const struct sched_rule *r, const struct bh_schedule_clock *c,
    int64_t from, int64_t until)
{
	for (int n = 0; n < SCHED_TICKS && from < until; n++)
		until = tick_until(r, c, from, until - 1);
	return until;
}

/* from to last are due, and some of them have been missed. */
static void
plan_missed(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t from, int64_t last, int64_t now, struct bh_tick_plan *ret)
{
	bool recent = now - last <= DAY_MS;

	if (r->misfire == BH_MISFIRE_ALL && recent && c->burst < BURST_MAX) {
		ret->due = from;
		ret->outcome = now - from > GRACE_MS ? BH_TICK_LATE :
		    BH_TICK_RAN;
		ret->may_overlap = ret->made_up = true;
		c->burst++;
		c->catching = from < last;
		return;
	}
	ret->due = first_noted(r, c, from, last);
	if (ret->due < last)
		ret->outcome = BH_TICK_SKIPPED;
	else if (now - last <= GRACE_MS)
		ret->outcome = BH_TICK_RAN;
	else if (r->misfire != BH_MISFIRE_SKIP && recent)
		ret->outcome = BH_TICK_LATE;
	else
		ret->outcome = BH_TICK_SKIPPED;
}

bool
sched_plan(const struct sched_rule *r, struct bh_schedule_clock *c,
    int64_t wall_ms, int64_t steady_ms, struct bh_tick_plan *ret)
{
	int64_t now = r->cron ? wall_ms : steady_ms, last;

	if (c->doubt || c->due > now)
		return false;
	c->due = first_due(r, c, now);
	if (c->due > now)
		return false;
	last = tick_until(r, c, c->due, now);
	*ret = (struct bh_tick_plan){
	    .may_overlap = r->overlap == BH_OVERLAP_QUEUE};
	if (last > c->due || now - last > GRACE_MS) {
		plan_missed(r, c, c->due, last, now, ret);
	} else {
		/* The last one of many belongs to them. */
		ret->due = last;
		ret->outcome = BH_TICK_RAN;
		ret->made_up = c->catching;
		ret->may_overlap = ret->may_overlap || c->catching;
		c->catching = false;
		c->burst = 0;
	}
	ret->due_wall = r->cron ? ret->due : ret->due + wall_ms - steady_ms;
	return true;
}

void
sched_dealt(const struct sched_rule *r, struct bh_schedule_clock *c,
    const struct bh_tick_plan *plan, int64_t wall_ms)
{
	c->due = tick_after(r, c, plan->due);
	c->after = r->cron && c->due <= wall_ms ? plan->due : wall_ms;
	if (c->seen < c->after)
		c->seen = c->after;
}
