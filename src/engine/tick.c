/* SPDX-License-Identifier: MIT */
/*
 * The time of schedules. A tick's job and the schedule's new state are
 * appended together, so they share a commit: no tick is lost or doubled by a
 * death in between.
 *
 * What is due, and what a jump of the clock means: base/sched.h.
 */
#include <string.h>

#include "base/log.h"
#include "base/sched.h"
#include "engine/part.h"

enum { ZONES_MS = 3600000, JUMP_MS = 1000 };

static bool
is_cron(const struct schedule *s)
{
	return s->row.cron.len > 0;
}

static int64_t
now_of(const struct engine *e, const struct schedule *s)
{
	return is_cron(s) ? e->now.wall_ms : e->now.mono_ms;
}

static int64_t
to_wall(const struct engine *e, const struct schedule *s, int64_t at)
{
	return is_cron(s) ? at : at + e->now.wall_ms - e->now.mono_ms;
}

static struct sched_rule
rule_of(const struct schedule *s)
{
	return (struct sched_rule){.cron = is_cron(s) ? &s->cron : NULL,
	    .zone = s->zone ? s->zone->tz : NULL,
	    .every_ms = s->row.every_ms, .misfire = s->row.misfire,
	    .overlap = s->row.overlap};
}

int64_t
schedule_next(const struct engine *e, const struct schedule *s)
{
	return s->clock.due == INT64_MAX ? 0 : to_wall(e, s, s->clock.due);
}

struct jschedule_state
schedule_state(const struct engine *e, const struct schedule *s)
{
	return (struct jschedule_state){schedule_next(e, s), s->clock.after,
	    s->clock.seen, s->job};
}

/* --- the timer --- */

void
schedule_unarm(struct engine *e, struct schedule *s)
{
	if (s->postponed)
		TAILQ_REMOVE(&e->late, s, late);
	s->postponed = false;
	heap_remove(is_cron(s) && !s->clock.doubt ? &e->wall : &e->mono, &s->timer);
}

void
schedule_arm(struct engine *e, struct schedule *s)
{
	schedule_unarm(e, s);
	if (s->clock.due == INT64_MAX || e->draining || e->stopping)
		return;
	if (s->clock.doubt)
		heap_set(&e->mono, &s->timer, e->now.mono_ms +
		    SCHED_DOUBT_MS);
	else
		heap_set(is_cron(s) ? &e->wall : &e->mono, &s->timer, s->clock.due);
}

void
schedule_stop(struct engine *e)
{
	struct schedule *s;

	TAILQ_FOREACH(s, &e->schedules, all)
		schedule_unarm(e, s);
}

void
schedule_begin(struct engine *e, struct schedule *s)
{
	struct sched_rule r = rule_of(s);

	sched_begin(&r, &s->clock, e->now.wall_ms, e->now.mono_ms);
}

/* --- the clocks --- */

/* The wall clock is another one than a moment ago. */
static void
jumped(struct engine *e, struct schedule *s)
{
	struct sched_rule r = rule_of(s);

	/* It changes the heap that the timer is in. */
	schedule_unarm(e, s);
	(void)sched_look(&r, &s->clock, e->now.wall_ms);
	schedule_arm(e, s);
}

/* It has stayed behind for an hour: so be it. */
static void
accept_clock(struct schedule *s)
{
	struct sched_rule r = rule_of(s);

	sched_accept(&r, &s->clock);
	log_warn("schedule '%.*s' follows the clock, which has been set back",
	    (int)s->row.name.len, s->row.name.data);
}

static void
renew(struct schedule *s)
{
	struct sched_rule r = rule_of(s);

	sched_renew(&r, &s->clock);
}

/* A zone's rules have changed: what was due may be earlier or later. */
static void
new_rules(struct engine *e, const struct zone *z)
{
	struct schedule *s;

	TAILQ_FOREACH(s, &e->schedules, all)
		if (s->zone == z) {
			renew(s);
			schedule_arm(e, s);
		}
}

static bool
zone_renew(struct engine *e, struct zone *z)
{
	struct err err = ERR_INIT;
	struct tz *tz;

	if (z->looked == e->turn || !tz_changed(z->tz)) {
		z->looked = e->turn;
		return false;
	}
	/* A file that is being written is looked at again later. */
	if (tz_load(tz_name(z->tz), strlen(tz_name(z->tz)), &tz, &err) < 0)
		return false;
	log_info("time zone %s: its file has changed", tz_name(tz));
	tz_free(&z->tz);
	z->tz = tz;
	new_rules(e, z);
	return true;
}

void
schedule_reload_zones(struct engine *e)
{
	struct zone *z;

	e->zones_at = e->now.mono_ms + ZONES_MS;
	TAILQ_FOREACH(z, &e->zones, all)
		zone_renew(e, z);
}

void
schedule_look(struct engine *e)
{
	int64_t gap = e->now.wall_ms - e->now.mono_ms;
	struct schedule *s;

	if (gap - e->clock_gap > JUMP_MS || gap - e->clock_gap < -JUMP_MS) {
		e->clock_gap = gap;
		TAILQ_FOREACH(s, &e->schedules, all)
			jumped(e, s);
	}
	if (e->now.mono_ms >= e->zones_at)
		schedule_reload_zones(e);
	while ((s = TAILQ_FIRST(&e->late)))
		schedule_arm(e, s);
}

/* What was due by the wall clock is so by the monotonic one now; a wall clock
 * that is wrong makes it wait no longer than its span. */
static void
enter_every(struct engine *e, struct schedule *s)
{
	int64_t wall = e->now.wall_ms > s->clock.after ? e->now.wall_ms : s->clock.after;
	int64_t left = s->clock.due - wall;

	if (left > s->row.every_ms)
		left = s->row.every_ms;
	s->clock.due = e->now.mono_ms + left;
}

void
schedule_enter_all(struct engine *e)
{
	struct schedule *s;

	e->clock_gap = e->now.wall_ms - e->now.mono_ms;
	e->zones_at = e->now.mono_ms + ZONES_MS;
	TAILQ_FOREACH(s, &e->schedules, all) {
		if (!is_cron(s))
			enter_every(e, s);
		else	/* the zone's rules may be others than before */
			renew(s);
		jumped(e, s);
		schedule_arm(e, s);
	}
}

/* --- ticks --- */

/* One more line of its history, and where it stands now. While the disk
 * refuses, nothing is written: after a crash these ticks are missed ones. */
static void
note(struct engine *e, struct schedule *s, const struct bh_tick_plan *plan,
    enum bh_tick_outcome outcome, int64_t job)
{
	struct bh_tick t = {plan->due_wall, e->now.wall_ms, outcome, job};
	struct jrec r = {.kind = JR_SCHEDULE_TICK, .id = s->id};
	struct sched_rule rule = rule_of(s);

	schedule_keep_tick(s, s->nticks + 1, &t);
	sched_dealt(&rule, &s->clock, plan, e->now.wall_ms);
	if (e->refuse.code)
		return;
	r.u.tick.state = schedule_state(e, s);
	r.u.tick.n = s->nticks;
	r.u.tick.tick = t;
	journal_append(e->journal, &r);
}

static bool
still_lives(const struct engine *e, const struct schedule *s)
{
	struct job *j = s->job ? job_find(e, s->job) : NULL;

	return j && job_state(j) < BH_COMPLETED;
}

/* Says so once, until a tick runs again. */
static void
grumble(struct schedule *s, enum log_level level, const char *why)
{
	if (!s->grumbled)
		log_about(level, NULL, "schedule '%.*s': a tick is skipped: "
		    "%s", (int)s->row.name.len, s->row.name.data, why);
	s->grumbled = true;
}

static void
run(struct engine *e, struct schedule *s, const struct bh_tick_plan *plan)
{
	enum bh_tick_outcome outcome = plan->outcome;
	int64_t id = 0;
	struct bh_put p = {.queue = s->row.queue,
	    .payloads = &s->row.payload, .npayloads = 1,
	    .opts = s->row.opts, .ids = &id};
	struct err err = ERR_INIT;

	if (!plan->may_overlap && still_lives(e, s)) {
		grumble(s, LOG_INFO, "the last one's job has not ended");
		outcome = BH_TICK_SKIPPED;
	} else if (put_now(e, &p, &err) < 0) {
		grumble(s, LOG_WARN, err.text);
		outcome = BH_TICK_SKIPPED;
	} else {
		s->job = id;
		s->grumbled = false;
	}
	note(e, s, plan, outcome, id);
}

/* Others have had all that this turn makes up for. */
static bool
must_wait(const struct engine *e, const struct schedule *s)
{
	return e->catch_left <= 0 && s->row.misfire == BH_MISFIRE_ALL &&
	    s->clock.due <= now_of(e, s);
}

/* Goes on in another turn. */
static void
postpone(struct engine *e, struct schedule *s)
{
	TAILQ_INSERT_TAIL(&e->late, s, late);
	s->postponed = true;
}

void
schedule_due(struct engine *e, struct schedule *s)
{
	struct sched_rule rule;
	struct bh_tick_plan plan;

	if (s->clock.doubt)
		accept_clock(s);
	if (s->zone && !must_wait(e, s))
		zone_renew(e, s->zone);
	while (!must_wait(e, s)) {
		rule = rule_of(s);
		if (!sched_plan(&rule, &s->clock, e->now.wall_ms,
		    e->now.mono_ms, &plan)) {
			schedule_arm(e, s);
			return;
		}
		if (plan.made_up)
			e->catch_left--;
		if (plan.outcome == BH_TICK_SKIPPED)
			note(e, s, &plan, plan.outcome, 0);
		else
			run(e, s, &plan);
	}
	postpone(e, s);
}
