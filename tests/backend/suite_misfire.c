/* SPDX-License-Identifier: MIT */
/* Cases: schedules whose daemon was away, or whose clock jumps. */
#include "suite.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static void
put_cron(struct suite_env *t, const char *cron, enum bh_misfire misfire)
{
	struct bh_schedule s = sched("c", cron, NULL, 0);

	s.misfire = misfire;
	sched_put(t, &s);
}

static void
put_every(struct suite_env *t, int64_t ms, enum bh_misfire misfire)
{
	struct bh_schedule s = sched("e", NULL, NULL, ms);

	s.misfire = misfire;
	sched_put(t, &s);
}

/* Time passes, and each job is done within minutes. */
static size_t
work(struct suite_env *t, int64_t ms)
{
	size_t n = 0;

	for (; ms > 0; ms -= 5 * MINUTE) {
		suite_pass(t, ms < 5 * MINUTE ? ms : 5 * MINUTE);
		n += sched_jobs(t);
	}
	return n;
}

static void
reopen_keeps_rows_and_ticks(void **state)
{
	struct suite_env *t = *state;
	struct bh_schedule s = sched("e", NULL, NULL, HOUR), *was, *is;

	s.opts.priority = 3;
	s.opts.unique = bytes("u");
	s.opts.backoff_jitter = 0.5;
	s.owner = bytes("/scripts/x.lua");
	s.misfire = BH_MISFIRE_ALL;
	s.overlap = BH_OVERLAP_QUEUE;
	sched_put(t, &s);
	suite_pass(t, HOUR);
	was = sched_get(t, "e");
	suite_reopen(t, 10 * MINUTE);
	is = sched_get(t, "e");
	assert_int_equal(is->next_at, was->next_at);
	assert_int_equal(is->created_at, was->created_at);
	assert_int_equal(is->every_ms, HOUR);
	assert_int_equal(is->misfire, BH_MISFIRE_ALL);
	assert_int_equal(is->overlap, BH_OVERLAP_QUEUE);
	assert_int_equal(is->opts.priority, 3);
	assert_int_equal(is->opts.attempts, -1);
	assert_true(is->opts.backoff_jitter > 0.4);
	expect_bytes(is->opts.unique, "u");
	expect_bytes(is->owner, "/scripts/x.lua");
	expect_bytes(is->payload, "tick");
	assert_int_equal(is->nticks, 1);
	assert_int_equal(is->ticks[0].due, was->ticks[0].due);
	assert_int_equal(is->ticks[0].at, was->ticks[0].at);
	assert_int_equal(is->ticks[0].outcome, was->ticks[0].outcome);
	assert_int_equal(is->ticks[0].job, was->ticks[0].job);
	assert_int_equal(sched_jobs(t), 1);
	/* The hour goes on over the restart. */
	suite_pass(t, 50 * MINUTE - 1);
	take_none(t, "q");
	suite_pass(t, 1);
	assert_int_equal(sched_jobs(t), 1);
}

static void
a_removed_row_stays_away(void **state)
{
	struct suite_env *t = *state;

	put_every(t, MINUTE, BH_MISFIRE_ONCE);
	suite_pass(t, MINUTE);
	call_ok(ask_schedule_remove(t, "e", NULL));
	suite_crash(t, HOUR);
	assert_null(sched_get(t, "e"));
	put_every(t, HOUR, BH_MISFIRE_ONCE);
	sched_ticks(t, "e", "");
}

static void
once_makes_up_for_one(void **state)
{
	struct suite_env *t = *state;

	put_every(t, 10 * MINUTE, BH_MISFIRE_ONCE);
	put_cron(t, "*/10 * * * *", BH_MISFIRE_ONCE);
	suite_reopen(t, 65 * MINUTE);
	assert_int_equal(sched_jobs(t), 2);
	sched_ticks(t, "e", "lsssss");
	sched_ticks(t, "c", "lsssss");
	suite_pass(t, 10 * MINUTE);
	assert_int_equal(sched_jobs(t), 2);
}

static void
skip_makes_up_for_none(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 0, 2);
	put_every(t, 10 * MINUTE, BH_MISFIRE_SKIP);
	put_cron(t, "*/10 * * * *", BH_MISFIRE_SKIP);
	suite_reopen(t, 25 * MINUTE);
	assert_int_equal(sched_jobs(t), 0);
	sched_ticks(t, "e", "ss");
	sched_ticks(t, "c", "ss");
	suite_pass(t, 5 * MINUTE);
	assert_int_equal(sched_jobs(t), 2);
	sched_ticks(t, "c", "rss");
}

static void
all_makes_up_for_each(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 0, 2);
	put_every(t, 10 * MINUTE, BH_MISFIRE_ALL);
	put_cron(t, "*/10 * * * *", BH_MISFIRE_ALL);
	suite_reopen(t, 35 * MINUTE);
	assert_int_equal(sched_jobs(t), 6);
	sched_ticks(t, "e", "lll");
	sched_ticks(t, "c", "lll");
	suite_pass(t, 5 * MINUTE);
	assert_int_equal(sched_jobs(t), 2);
}

static void
all_goes_in_slices_over_a_crash(void **state)
{
	struct suite_env *t = *state;
	int64_t due;

	sched_date(t, 2027, 1, 1, 0, 0);
	put_every(t, MINUTE, BH_MISFIRE_ALL);
	put_cron(t, "* * * * *", BH_MISFIRE_ALL);
	suite_crash(t, 20 * HOUR);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2 * 20 * 60);
	due = sched_get(t, "c")->ticks[0].due;
	suite_crash(t, 0);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2 * 20 * 60);
	assert_int_equal(sched_get(t, "c")->ticks[0].due, due);
}

static void
nothing_is_made_up_after_a_day(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 0, 0);
	put_cron(t, "0 6 1 * *", BH_MISFIRE_ONCE);
	put_every(t, 72 * HOUR, BH_MISFIRE_ALL);
	suite_reopen(t, 4 * DAY + 7 * HOUR);
	assert_int_equal(sched_jobs(t), 0);
	sched_ticks(t, "c", "s");
	sched_ticks(t, "e", "s");
	assert_true(sched_get(t, "c")->next_at > t->wall);
}

static void
all_is_bounded_by_a_day(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 0, 30);
	put_cron(t, "0 * * * *", BH_MISFIRE_ALL);
	suite_reopen(t, 10 * DAY);
	assert_int_equal(sched_jobs(t), 24);
}

static void
a_short_absence_is_no_misfire(void **state)
{
	struct suite_env *t = *state;

	put_every(t, MINUTE, BH_MISFIRE_SKIP);
	suite_pass(t, MINUTE - 1000);
	suite_reopen(t, 3000);
	assert_int_equal(sched_jobs(t), 1);
	sched_ticks(t, "e", "r");
}

static void
a_crash_loses_and_doubles_no_tick(void **state)
{
	struct suite_env *t = *state;
	size_t n = 0;

	put_every(t, MINUTE, BH_MISFIRE_ONCE);
	for (int i = 0; i < 20; i++) {
		suite_pass(t, 20000);
		if (i % 2)
			suite_crash(t, 0);
		else
			suite_crash_now(t);
		n += sched_jobs(t);
	}
	/* 400 seconds. */
	assert_int_equal(n, 6);
	sched_ticks(t, "e", "rrrrrr");
}

static void
an_hour_back_repeats_no_tick(void **state)
{
	struct suite_env *t = *state;
	int64_t next;

	sched_date(t, 2027, 1, 1, 12, 5);
	put_cron(t, "*/10 * * * *", BH_MISFIRE_ONCE);
	put_every(t, 10 * MINUTE, BH_MISFIRE_ONCE);
	assert_int_equal(work(t, 20 * MINUTE), 4);
	next = sched_get(t, "c")->next_at;
	suite_jump(t, -HOUR);
	/* What counts spans goes on. */
	assert_int_equal(work(t, 60 * MINUTE), 6);
	sched_ticks(t, "c", "rr");
	sched_ticks(t, "e", "rrrrrrrr");
	assert_int_equal(sched_get(t, "c")->next_at, next);
	assert_int_equal(work(t, 10 * MINUTE), 2);
	sched_ticks(t, "c", "rrr");
}

static void
a_day_ahead_is_a_misfire(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 12, 0);
	put_cron(t, "0 6 * * *", BH_MISFIRE_ONCE);
	put_every(t, 10 * MINUTE, BH_MISFIRE_ALL);
	suite_jump(t, DAY);
	assert_int_equal(sched_jobs(t), 1);
	sched_ticks(t, "c", "l");
	sched_ticks(t, "e", "");
	/* And back again: that tick has run. */
	suite_jump(t, -DAY);
	suite_pass(t, 23 * HOUR);
	sched_ticks(t, "c", "l");
}

static void
the_year_1970_comes_and_goes(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 12, 0);
	put_cron(t, "0 6 * * *", BH_MISFIRE_ONCE);
	put_every(t, HOUR, BH_MISFIRE_ONCE);
	suite_pass(t, 30 * MINUTE);
	/* Boots without a clock, a day later. */
	suite_reopen(t, -t->wall + MINUTE);
	assert_int_equal(sched_jobs(t), 0);
	/* The hour counts on without one. */
	assert_int_equal(work(t, HOUR), 1);
	sched_ticks(t, "c", "");
	sched_date(t, 2027, 1, 2, 13, 0);
	assert_int_equal(sched_jobs(t), 1);
	sched_ticks(t, "c", "l");
	sched_ticks(t, "e", "r");
}

static void
a_tick_that_ran_does_not_come_again_after_1970(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 5, 0);
	put_cron(t, "0 6 * * *", BH_MISFIRE_ALL);
	suite_pass(t, 2 * HOUR);
	assert_int_equal(sched_jobs(t), 1);
	suite_reopen(t, -t->wall + MINUTE);
	suite_pass(t, 30 * MINUTE);
	sched_date(t, 2027, 1, 1, 8, 0);
	assert_int_equal(sched_jobs(t), 0);
	sched_ticks(t, "c", "r");
	/* The same when the box has worked by the wrong clock. */
	suite_reopen(t, -t->wall + MINUTE);
	assert_int_equal(work(t, 2 * DAY), 2);
	sched_date(t, 2027, 1, 1, 12, 0);
	assert_int_equal(sched_jobs(t), 0);
	assert_true(sched_get(t, "c")->next_at == t->wall + 18 * HOUR);
}

static void
a_clock_that_was_ahead_does_not_stop_it(void **state)
{
	struct suite_env *t = *state;

	sched_date(t, 2027, 1, 1, 12, 0);
	put_cron(t, "0 * * * *", BH_MISFIRE_ONCE);
	sched_date(t, 2037, 1, 1, 12, 30);
	assert_int_equal(sched_jobs(t), 1);
	sched_date(t, 2027, 1, 1, 12, 50);
	suite_pass(t, HOUR);
	/* 13:00, made up for. */
	assert_int_equal(sched_jobs(t), 1);
	suite_pass(t, 10 * MINUTE);
	assert_int_equal(sched_jobs(t), 1);
	suite_reopen(t, 0);
	suite_pass(t, HOUR);
	assert_int_equal(sched_jobs(t), 1);
}

static void
no_tick_while_draining(void **state)
{
	struct suite_env *t = *state;

	put_every(t, MINUTE, BH_MISFIRE_ONCE);
	suite_begin(t);
	t->ops->drain(t->be);
	suite_pass(t, 10 * MINUTE);
	sched_ticks(t, "e", "");
	suite_reopen(t, 0);
	assert_int_equal(sched_jobs(t), 1);
	sched_ticks(t, "e", "rsssssssss");
}

/* However many there are, a turn does a part of it. */
static void
what_is_made_up_for_comes_in_slices(void **state)
{
	enum { SCHEDULES = 10, MISSED = 300, SLICE_MAX = 1000 };
	struct suite_env *t = *state;
	struct call *c;
	char name[20];

	for (int i = 0; i < SCHEDULES; i++) {
		struct bh_schedule s;

		snprintf(name, sizeof(name), "s%d", i);
		s = sched(name, "* * * * * *", NULL, 0);
		s.misfire = BH_MISFIRE_ALL;
		sched_put(t, &s);
	}
	suite_settle(t);
	t->wall += MISSED * 1000;
	c = ask_stats(t, "q", false);
	call_ok(c);
	if (c->nqueues)
		assert_true(c->queues[0].count[BH_WAITING] <= SLICE_MAX);
	suite_settle(t);
	assert_int_equal(stats(t, "q")->count[BH_WAITING],
	    SCHEDULES * MISSED);
}

const struct suite_case suite_misfire_cases[] = {
	CASE(what_is_made_up_for_comes_in_slices),
	CASE_STORAGE(reopen_keeps_rows_and_ticks),
	CASE_CRASH(a_removed_row_stays_away),
	CASE_STORAGE(once_makes_up_for_one),
	CASE_STORAGE(skip_makes_up_for_none),
	CASE_STORAGE(all_makes_up_for_each),
	CASE_CRASH(all_goes_in_slices_over_a_crash),
	CASE_STORAGE(nothing_is_made_up_after_a_day),
	CASE_STORAGE(all_is_bounded_by_a_day),
	CASE_STORAGE(a_short_absence_is_no_misfire),
	CASE_CRASH(a_crash_loses_and_doubles_no_tick),
	CASE(an_hour_back_repeats_no_tick),
	CASE(a_day_ahead_is_a_misfire),
	CASE_STORAGE(the_year_1970_comes_and_goes),
	CASE_STORAGE(a_tick_that_ran_does_not_come_again_after_1970),
	CASE(a_clock_that_was_ahead_does_not_stop_it),
	CASE_STORAGE(no_tick_while_draining),
	{0},
};
