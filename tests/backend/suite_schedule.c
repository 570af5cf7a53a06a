/* SPDX-License-Identifier: MIT */
/* Cases: schedules that are set, listed, removed, and run in time. */
#include "suite.h"

#include "base/tz.h"

struct bh_schedule
sched(const char *name, const char *cron, const char *zone, int64_t every_ms)
{
	struct bh_schedule s = {.name = bytes(name), .queue = bytes("q"),
	    .payload = bytes("tick"), .cron = bytes(cron),
	    .zone = bytes(zone), .every_ms = every_ms,
	    .misfire = BH_MISFIRE_ONCE, .overlap = BH_OVERLAP_SKIP,
	    .opts = opts_none()};

	return s;
}

int64_t
sched_put(struct suite_env *t, const struct bh_schedule *s)
{
	struct call *c = ask_schedule_put(t, s);

	call_ok(c);
	return c->next_at;
}

struct bh_schedule *
sched_get(struct suite_env *t, const char *name)
{
	struct call *c = ask_schedule_list(t, name);

	call_ok(c);
	return c->nschedules ? c->schedules : NULL;
}

static int64_t
date(int year, int month, int day, int hour, int minute)
{
	return (tz_days(year, month, day) * 86400 + hour * 3600 +
	    minute * 60) * 1000;
}

void
sched_date(struct suite_env *t, int year, int month, int day, int hour,
    int minute)
{
	suite_jump(t, date(year, month, day, hour, minute) - t->wall);
}

size_t
sched_jobs(struct suite_env *t)
{
	struct bh_job *j;
	size_t n = 0;

	while ((j = take(t, "q"))) {
		finish_done(t, j, NULL);
		n++;
	}
	return n;
}

void
sched_ticks(struct suite_env *t, const char *name, const char *want)
{
	struct bh_schedule *s = sched_get(t, name);
	char got[20] = "";

	assert_non_null(s);
	for (size_t i = 0; i < s->nticks; i++) {
		got[i] = "rls"[s->ticks[i].outcome];
		assert_int_equal(s->ticks[i].job != 0, got[i] != 's');
	}
	if (strcmp(got, want) != 0)
		fail_msg("ticks of %s: %s, expected %s", name, got, want);
}

static void
set_answers_with_the_next_time(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("nightly", "0 6 * * *", "Europe/Lisbon",
	    0);
	struct bh_schedule *got;

	sched_date(t, 2026, 7, 1, 12, 0);
	s.opts.priority = 2;
	s.opts.group = bytes("g");
	s.opts.backoff_factor = 1.5;
	assert_int_equal(sched_put(t, &s), date(2026, 7, 2, 5, 0));
	got = sched_get(t, "nightly");
	assert_non_null(got);
	expect_bytes(got->name, "nightly");
	expect_bytes(got->queue, "q");
	expect_bytes(got->payload, "tick");
	expect_bytes(got->cron, "0 6 * * *");
	expect_bytes(got->zone, "Europe/Lisbon");
	assert_int_equal(got->owner.len, 0);
	assert_int_equal(got->every_ms, 0);
	assert_int_equal(got->misfire, BH_MISFIRE_ONCE);
	assert_int_equal(got->overlap, BH_OVERLAP_SKIP);
	assert_int_equal(got->created_at, t->wall);
	assert_int_equal(got->next_at, date(2026, 7, 2, 5, 0));
	assert_int_equal(got->nticks, 0);
	assert_int_equal(got->opts.priority, 2);
	assert_int_equal(got->opts.timeout_ms, -1);
	assert_true(got->opts.backoff_factor > 1.4);
	expect_bytes(got->opts.group, "g");
	assert_null(sched_get(t, "other"));
}

static void
a_tick_adds_a_job_with_its_options(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);
	struct bh_job *j;

	s.opts.priority = 1;
	s.opts.group = bytes("g");
	s.opts.attempts = 3;
	assert_int_equal(sched_put(t, &s), t->wall + 60000);
	suite_pass(t, 59999);
	take_none(t, "q");
	suite_pass(t, 1);
	j = take(t, "q");
	assert_non_null(j);
	expect_bytes(j->payload, "tick");
	expect_bytes(j->group, "g");
	assert_int_equal(j->priority, 1);
	assert_int_equal(j->attempts, 3);
	finish_done(t, j, NULL);
	sched_ticks(t, "e", "r");
	assert_int_equal(sched_get(t, "e")->ticks[0].job, j->id);
	assert_int_equal(sched_get(t, "e")->ticks[0].due, t->wall);
	assert_int_equal(sched_get(t, "e")->next_at, t->wall + 60000);
}

static void
the_last_ten_ticks_are_kept(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 1000);

	sched_put(t, &s);
	for (int i = 0; i < 13; i++) {
		suite_pass(t, 1000);
		assert_int_equal(sched_jobs(t), 1);
	}
	sched_ticks(t, "e", "rrrrrrrrrr");
	assert_int_equal(sched_get(t, "e")->ticks[0].due, t->wall);
	assert_int_equal(sched_get(t, "e")->ticks[9].due, t->wall - 9000);
}

static void
the_same_row_keeps_its_time_and_ticks(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);
	int64_t next = sched_put(t, &s);

	suite_pass(t, 40000);
	assert_int_equal(sched_put(t, &s), next);
	s.payload = bytes("other");
	s.overlap = BH_OVERLAP_QUEUE;
	assert_int_equal(sched_put(t, &s), next);
	suite_pass(t, 20000);
	expect_bytes(take(t, "q")->payload, "other");
	s.payload = bytes("third");
	sched_put(t, &s);
	sched_ticks(t, "e", "r");
	/* Other times are a new beginning. */
	suite_pass(t, 10000);
	s.every_ms = 30000;
	assert_int_equal(sched_put(t, &s), t->wall + 30000);
	sched_ticks(t, "e", "");
}

static void
remove_ends_it(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 1000);
	struct call *c;

	sched_put(t, &s);
	call_ok(ask_schedule_remove(t, "e", NULL));
	c = ask_schedule_remove(t, "e", NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_NOTFOUND);
	assert_null(sched_get(t, "e"));
	suite_pass(t, 5000);
	take_none(t, "q");
}

static void
rows_are_listed_by_name(void **state)
{
	struct suite_env *t = *state;
	static const char *const names[] = {"b", "ab", "c", "a"};
	struct bh_schedule s = sched("", NULL, NULL, 1000);
	struct call *c, *gone;

	for (size_t i = 0; i < nitems(names); i++) {
		s.name = bytes(names[i]);
		sched_put(t, &s);
	}
	c = ask_schedule_list(t, NULL);
	/* What the list shows is what was there. */
	gone = ask_schedule_remove(t, "b", NULL);
	call_ok(c);
	call_ok(gone);
	assert_int_equal(c->nschedules, 4);
	expect_bytes(c->schedules[0].name, "a");
	expect_bytes(c->schedules[1].name, "ab");
	expect_bytes(c->schedules[2].name, "b");
	expect_bytes(c->schedules[3].name, "c");
}

static void
refuse(struct suite_env *t, const struct bh_schedule *s, int status,
    const char *text)
{
	struct call *c = ask_schedule_put(t, s);

	call_wait(c);
	assert_int_equal(c->status, status);
	if (!strstr(c->text, text))
		fail_msg("\"%s\" does not say \"%s\"", c->text, text);
}

static void
what_can_never_run_is_refused(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("x", "0 25 * * *", NULL, 0);

	refuse(t, &s, BH_E_BADARG, "hour: '25'");
	s.cron = bytes("0 0 31 2 *");
	refuse(t, &s, BH_E_BADARG, "never happens");
	s.cron = bytes("0 0 * * *");
	s.zone = bytes("Europe/Atlantis");
	refuse(t, &s, BH_E_BADARG, "time zone 'Europe/Atlantis'");
	assert_null(sched_get(t, "x"));
}

static void
only_the_owner_changes_a_row(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("x", NULL, NULL, 1000);
	struct call *c;

	s.owner = bytes("/scripts/a.lua");
	sched_put(t, &s);
	s.owner = bytes("");
	refuse(t, &s, BH_E_CONFLICT, "/scripts/a.lua");
	s.owner = bytes("/scripts/b.lua");
	refuse(t, &s, BH_E_CONFLICT, "/scripts/a.lua");
	c = ask_schedule_remove(t, "x", NULL);
	call_wait(c);
	assert_int_equal(c->status, BH_E_CONFLICT);
	call_ok(ask_schedule_remove(t, "x", "/scripts/a.lua"));
	s.owner = bytes("");
	sched_put(t, &s);
	s.owner = bytes("/scripts/a.lua");
	refuse(t, &s, BH_E_CONFLICT, "client");
}

static void
overlap_skips_while_the_last_job_lives(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);
	struct bh_job *j;

	sched_put(t, &s);
	suite_pass(t, 180000);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 1);
	sched_ticks(t, "e", "ssr");
	/* A retry that waits lives too. */
	j = take(t, "q");
	finish_fail(t, j, "again", 600000);
	suite_pass(t, 60000);
	sched_ticks(t, "e", "sssr");
	alter_ok(t, j->id, BH_JOB_REMOVE);
	suite_pass(t, 60000);
	assert_int_equal(sched_jobs(t), 1);
	sched_ticks(t, "e", "rsssr");
}

static void
overlap_queues_when_told_to(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);

	s.overlap = BH_OVERLAP_QUEUE;
	sched_put(t, &s);
	suite_pass(t, 180000);
	assert_int_equal(sched_jobs(t), 3);
	sched_ticks(t, "e", "rrr");
}

static void
a_full_queue_skips_the_tick(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);
	struct bh_queue_opts o = queue_none();
	int64_t id;

	o.max_waiting = 1;
	set_options(t, "q", &o);
	id = put(t, "q", "in the way");
	sched_put(t, &s);
	suite_pass(t, 60000);
	sched_ticks(t, "e", "s");
	alter_ok(t, id, BH_JOB_REMOVE);
	suite_pass(t, 60000);
	sched_ticks(t, "e", "rs");
}

static void
a_paused_queue_gets_its_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);

	queue_pause(t, "q");
	sched_put(t, &s);
	suite_pass(t, 120000);
	take_none(t, "q");
	sched_ticks(t, "e", "sr");
	queue_resume(t, "q");
	assert_int_equal(sched_jobs(t), 1);
}

static void
unique_ticks_meet_the_living_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 60000);
	int64_t id;

	s.overlap = BH_OVERLAP_QUEUE;
	s.opts.unique = bytes("k");
	sched_put(t, &s);
	suite_pass(t, 60000);
	id = sched_get(t, "e")->ticks[0].job;
	suite_pass(t, 60000);
	assert_int_equal(sched_get(t, "e")->ticks[0].job, id);
	assert_int_equal(sched_jobs(t), 1);
}

/* Passes the hours around a clock change and tells when jobs came. */
static void
around(struct suite_env *t, const char *cron, const char *zone,
    int64_t from, int hours, const int64_t *want, size_t n)
{
	struct bh_schedule s = sched("dst", cron, zone, 0);
	int64_t end;
	size_t got = 0;

	suite_jump(t, from - t->wall);
	s.overlap = BH_OVERLAP_QUEUE;
	sched_put(t, &s);
	end = t->wall + (int64_t)hours * 3600000;
	while (t->wall < end) {
		suite_pass(t, 300000);
		while (sched_jobs(t)) {
			if (got == n || t->wall != want[got])
				fail_msg("%s in %s: job %zu at %lld", cron,
				    zone, got, (long long)t->wall);
			got++;
		}
	}
	assert_int_equal(got, n);
	call_ok(ask_schedule_remove(t, "dst", NULL));
}

static void
a_time_in_the_gap_runs_after_it(void **state)
{
	struct suite_env *t = *state;

	around(t, "30 1 * * *", "Europe/Lisbon", date(2027, 3, 27, 12, 0), 48,
	    (int64_t[]){date(2027, 3, 28, 1, 0), date(2027, 3, 29, 0, 30)}, 2);
	around(t, "15 2 * * *", "Australia/Lord_Howe",
	    date(2027, 10, 2, 0, 0), 48, (int64_t[]){date(2027, 10, 2, 15, 30),
	    date(2027, 10, 3, 15, 15)}, 2);
	around(t, "0,30 2 * * *", "America/New_York",
	    date(2028, 3, 12, 0, 0), 24, (int64_t[]){date(2028, 3, 12, 7, 0)},
	    1);
}

static void
a_time_in_the_overlap_runs_once(void **state)
{
	struct suite_env *t = *state;

	around(t, "45 1 * * *", "Australia/Lord_Howe", date(2027, 4, 3, 0, 0),
	    48, (int64_t[]){date(2027, 4, 3, 14, 45),
	    date(2027, 4, 4, 15, 15)}, 2);
	around(t, "30 1 * * *", "Europe/Lisbon", date(2027, 10, 30, 12, 0), 48,
	    (int64_t[]){date(2027, 10, 31, 0, 30), date(2027, 11, 1, 1, 30)},
	    2);
	around(t, "30 1 * * *", "America/New_York", date(2028, 11, 5, 0, 0),
	    24, (int64_t[]){date(2028, 11, 5, 5, 30)}, 1);
}

static void
every_hour_is_every_hour(void **state)
{
	struct suite_env *t = *state;

	around(t, "0 * * * *", "Europe/Lisbon", date(2027, 10, 30, 23, 30), 4,
	    (int64_t[]){date(2027, 10, 31, 0, 0), date(2027, 10, 31, 1, 0),
	    date(2027, 10, 31, 2, 0), date(2027, 10, 31, 3, 0)}, 4);
	around(t, "0 * * * *", "Europe/Lisbon", date(2028, 3, 25, 23, 30), 3,
	    (int64_t[]){date(2028, 3, 26, 0, 0), date(2028, 3, 26, 1, 0),
	    date(2028, 3, 26, 2, 0)}, 3);
}

static void
an_idle_schedule_wakes_nobody(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, 3600000);

	sched_put(t, &s);
	suite_settle(t);
	assert_true(t->next >= t->mono + 3599000);
}

const struct suite_case suite_schedule_cases[] = {
	CASE(set_answers_with_the_next_time),
	CASE(a_tick_adds_a_job_with_its_options),
	CASE(the_last_ten_ticks_are_kept),
	CASE(the_same_row_keeps_its_time_and_ticks),
	CASE(remove_ends_it),
	CASE(rows_are_listed_by_name),
	CASE(what_can_never_run_is_refused),
	CASE(only_the_owner_changes_a_row),
	CASE(overlap_skips_while_the_last_job_lives),
	CASE(overlap_queues_when_told_to),
	CASE(a_full_queue_skips_the_tick),
	CASE(a_paused_queue_gets_its_job),
	CASE(unique_ticks_meet_the_living_job),
	CASE(a_time_in_the_gap_runs_after_it),
	CASE(a_time_in_the_overlap_runs_once),
	CASE(every_hour_is_every_hour),
	CASE(an_idle_schedule_wakes_nobody),
	{0},
};
