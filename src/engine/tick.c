/* SPDX-License-Identifier: MIT */
/*
 * The time of schedules. A tick's job and the schedule's new state are
 * appended together, so they share a commit: no tick is lost or doubled by a
 * death in between.
 *
 * Two clocks: cron follows the wall clock, every the monotonic one (over a
 * restart the wall clock). What must hold:
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
 */
#include <string.h>

#include "base/log.h"
#include "engine/part.h"

enum { GRACE_MS = 5000, DOUBT_MS = 3600000, BURST_MAX = 10000,
    ZONES_MS = 3600000, JUMP_MS = 1000 };

#define DAY_MS INT64_C(86400000)

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

/* The first tick after this time of its clock. */
static int64_t
tick_after(const struct schedule *s, int64_t at)
{
	if (is_cron(s))
		return s->zone ? cron_next(&s->cron, s->zone->tz, at)
		    : INT64_MAX;
	if (at < s->due)
		return s->due;
	return s->due + ((at - s->due) / s->row.every_ms + 1) *
	    s->row.every_ms;
}

/* The last tick up to now; from is one. */
static int64_t
tick_until(const struct schedule *s, int64_t from, int64_t now)
{
	int64_t late = now;

	if (!is_cron(s))
		return from + (now - from) / s->row.every_ms *
		    s->row.every_ms;
	while (late - from > 1) {
		int64_t mid = from + (late - from) / 2;
		int64_t at = tick_after(s, mid);

		if (at <= now)
			from = at;
		else
			late = mid;
	}
	return from;
}

int64_t
schedule_next(const struct engine *e, const struct schedule *s)
{
	return s->due == INT64_MAX ? 0 : to_wall(e, s, s->due);
}

struct jschedule_state
schedule_state(const struct engine *e, const struct schedule *s)
{
	return (struct jschedule_state){schedule_next(e, s), s->after,
	    s->seen, s->job};
}

/* --- the timer --- */

void
schedule_unarm(struct engine *e, struct schedule *s)
{
	if (s->postponed)
		TAILQ_REMOVE(&e->late, s, late);
	s->postponed = false;
	heap_remove(is_cron(s) && !s->doubt ? &e->wall : &e->mono, &s->timer);
}

void
schedule_arm(struct engine *e, struct schedule *s)
{
	schedule_unarm(e, s);
	if (s->due == INT64_MAX || e->draining || e->stopping)
		return;
	if (s->doubt)
		heap_set(&e->mono, &s->timer, e->now.mono_ms + DOUBT_MS);
	else
		heap_set(is_cron(s) ? &e->wall : &e->mono, &s->timer, s->due);
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
	s->after = s->seen = e->now.wall_ms;
	s->due = is_cron(s) ? tick_after(s, s->after)
	    : e->now.mono_ms + s->row.every_ms;
}

/* --- the clocks --- */

static bool
is_behind(const struct engine *e, const struct schedule *s)
{
	return is_cron(s) && e->now.wall_ms + DAY_MS < s->after;
}

/* The wall clock is another one than a moment ago. */
static void
jumped(struct engine *e, struct schedule *s)
{
	bool behind = is_behind(e, s);

	if (s->doubt == behind)
		return;
	schedule_unarm(e, s);
	s->doubt = behind;
	s->doubt_wall = e->now.wall_ms;
	schedule_arm(e, s);
}

/* It has stayed behind for an hour: so be it. */
static void
accept_clock(struct schedule *s)
{
	s->doubt = false;
	s->after = s->doubt_wall;
	s->due = tick_after(s, s->after);
	log_warn("schedule '%.*s' follows the clock, which has been set back",
	    (int)s->row.name.len, s->row.name.data);
}

/* A zone's rules have changed: what was due may be earlier or later. */
static void
new_rules(struct engine *e, const struct zone *z)
{
	struct schedule *s;

	TAILQ_FOREACH(s, &e->schedules, all)
		if (s->zone == z) {
			s->due = tick_after(s, s->after);
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
	int64_t wall = e->now.wall_ms > s->after ? e->now.wall_ms : s->after;
	int64_t left = s->due - wall;

	if (left > s->row.every_ms)
		left = s->row.every_ms;
	s->due = e->now.mono_ms + left;
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
			s->due = tick_after(s, s->after);
		jumped(e, s);
		schedule_arm(e, s);
	}
}

/* --- ticks --- */

/* One more line of its history, and where it stands now. While the disk
 * refuses, nothing is written: after a crash these ticks are missed ones. */
static void
note(struct engine *e, struct schedule *s, int64_t due,
    enum bh_tick_outcome outcome, int64_t job)
{
	struct bh_tick t = {to_wall(e, s, due), e->now.wall_ms, outcome, job};
	struct jrec r = {.kind = JR_SCHEDULE_TICK, .id = s->id};

	schedule_keep_tick(s, s->nticks + 1, &t);
	s->due = tick_after(s, due);
	s->after = is_cron(s) && s->due <= e->now.wall_ms ? due
	    : e->now.wall_ms;
	if (s->seen < s->after)
		s->seen = s->after;
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
run(struct engine *e, struct schedule *s, int64_t due,
    enum bh_tick_outcome outcome, bool may_overlap)
{
	int64_t id = 0;
	struct bh_put p = {.queue = s->row.queue,
	    .payloads = &s->row.payload, .npayloads = 1,
	    .opts = s->row.opts, .ids = &id};
	struct err err = ERR_INIT;

	if (!may_overlap && still_lives(e, s)) {
		grumble(s, LOG_INFO, "the last one's job has not ended");
		outcome = BH_TICK_SKIPPED;
	} else if (put_now(e, &p, &err) < 0) {
		grumble(s, LOG_WARN, err.text);
		outcome = BH_TICK_SKIPPED;
	} else {
		s->job = id;
		s->grumbled = false;
	}
	note(e, s, due, outcome, id);
}

/* Missed ones that do not run: the last few are noted. */
static void
skip_until(struct engine *e, struct schedule *s, int64_t from, int64_t until)
{
	int64_t due[JSCHEDULE_TICKS];
	int n = 0;

	while (n < JSCHEDULE_TICKS && from < until) {
		due[n] = tick_until(s, from, until - 1);
		until = due[n++];
	}
	while (n > 0)
		note(e, s, due[--n], BH_TICK_SKIPPED, 0);
}

/* Those that are made up for, one by one; a slice of all schedules' a turn. */
static void
catch_up(struct engine *e, struct schedule *s, int64_t from, int64_t last)
{
	int64_t now = now_of(e, s), next;

	for (; e->catch_left > 0 && from <= last; e->catch_left--,
	    from = next) {
		next = tick_after(s, from);
		run(e, s, from, now - from > GRACE_MS ? BH_TICK_LATE
		    : BH_TICK_RAN, true);
		s->burst++;
	}
}

/* from to last are due, and some of them have been missed. */
static void
misfire(struct engine *e, struct schedule *s, int64_t from, int64_t last)
{
	int64_t late = now_of(e, s) - last;
	bool on_time = late <= GRACE_MS;
	bool overlap = s->row.overlap == BH_OVERLAP_QUEUE;

	if (s->row.misfire == BH_MISFIRE_ALL && late <= DAY_MS &&
	    s->burst < BURST_MAX) {
		catch_up(e, s, from, last);
		return;
	}
	skip_until(e, s, from, last);
	if (on_time)
		run(e, s, last, BH_TICK_RAN, overlap);
	else if (s->row.misfire != BH_MISFIRE_SKIP && late <= DAY_MS)
		run(e, s, last, BH_TICK_LATE, overlap);
	else
		note(e, s, last, BH_TICK_SKIPPED, 0);
}

/* The first tick that is still to be dealt with: not one that was seen
 * already, and with `all` not one of more than a day ago. */
static int64_t
first_due(const struct engine *e, const struct schedule *s)
{
	int64_t from = s->due, now = now_of(e, s);

	if (is_cron(s) && from <= s->seen && s->seen <= now)
		from = tick_after(s, s->seen);
	if (s->row.misfire == BH_MISFIRE_ALL && now - from > DAY_MS) {
		int64_t recent = tick_after(s, now - DAY_MS - 1);

		/* When all are older, the last one is noted. */
		from = recent <= now ? recent : tick_until(s, from, now);
	}
	return from;
}

/* Others have had all that this turn makes up for. */
static bool
must_wait(const struct engine *e, const struct schedule *s)
{
	return e->catch_left <= 0 && s->row.misfire == BH_MISFIRE_ALL &&
	    s->due <= now_of(e, s);
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
	int64_t now = now_of(e, s), from, last;

	if (s->doubt)
		accept_clock(s);
	if (must_wait(e, s)) {
		postpone(e, s);
		return;
	}
	if (s->zone)
		zone_renew(e, s->zone);
	from = s->due > now ? s->due : first_due(e, s);
	if (from > now) {
		s->due = from;
		schedule_arm(e, s);
		return;
	}
	last = tick_until(s, from, now);
	if (last > from || now - last > GRACE_MS) {
		misfire(e, s, from, last);
	} else {
		s->burst = 0;
		run(e, s, last, BH_TICK_RAN,
		    s->row.overlap == BH_OVERLAP_QUEUE);
	}
	if (must_wait(e, s))
		postpone(e, s);
	else
		schedule_arm(e, s);
}
