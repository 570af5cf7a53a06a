/* SPDX-License-Identifier: MIT */
/* Schedules as the Redis backend keeps them, and its run times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis/runtimes.h"
#include "redis/sched.h"

static struct bh_bytes
bytes(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static struct bh_schedule
full_row(void)
{
	struct bh_schedule s = {.owner = bytes("/scripts/a.lua"),
	    .queue = bytes("q"), .payload = {"a\0b", 3},
	    .cron = bytes("0 6 * * *"), .zone = bytes("Europe/Lisbon"),
	    .misfire = BH_MISFIRE_ALL, .overlap = BH_OVERLAP_QUEUE,
	    .created_at = 1234567890123};

	bh_job_opts_init(&s.opts);
	s.opts.priority = 2;
	s.opts.backoff_factor = 1.5;
	s.opts.unique = bytes("k");
	return s;
}

static void
a_row_reads_as_it_was_written(void **state)
{
	struct bh_schedule s = full_row(), got;
	struct blob b = {0};

	(void)state;
	rsched_row_write(&b, &s);
	assert_true(rsched_row_read(&got, blob_all(&b)));
	assert_true(rsched_same_row(&s, &got));
	assert_true(rsched_same_times(&s, &got));
	assert_int_equal(got.payload.len, 3);
	assert_memory_equal(got.payload.data, "a\0b", 3);
	assert_int_equal(got.opts.priority, 2);
	assert_int_equal(got.opts.attempts, -1);
	assert_true(got.opts.backoff_factor > 1.4);
	assert_int_equal(got.misfire, BH_MISFIRE_ALL);
	got.payload = bytes("other");
	assert_false(rsched_same_row(&s, &got));
	assert_true(rsched_same_times(&s, &got));
	got.zone = bytes("");
	assert_false(rsched_same_times(&s, &got));
	blob_done(&b);
}

static void
half_a_row_is_none(void **state)
{
	struct bh_schedule s = full_row(), got;
	struct blob b = {0};

	(void)state;
	rsched_row_write(&b, &s);
	for (size_t n = 0; n < b.len; n++) {
		char *part = malloc(n + 1);

		memcpy(part, b.data, n);
		assert_false(rsched_row_read(&got, (struct bh_bytes){part,
		    n}));
		free(part);
	}
	b.data[7] = 99;			/* a format of later */
	assert_false(rsched_row_read(&got, blob_all(&b)));
	blob_done(&b);
}

/* As schedule.lua does. */
static void
keep_state(struct blob *b, const struct bh_schedule *row,
    const struct rsched_state *s, int64_t wall, int64_t steady)
{
	blob_int(b, 5);
	blob_int(b, 3);
	rsched_state_write(b, row, s, wall, steady);
}

static void
where_it_stands_outlasts_another_clock(void **state)
{
	struct rsched_state st = {.clock = {.due = 5000, .after = 101000,
	    .seen = 101000}, .nticks = 12, .kept = 1,
	    .ticks = {{101000, 101002, BH_TICK_LATE, 77}}};
	struct rsched s = {.row = {.every_ms = 60000}};
	struct blob b = {0};

	(void)state;
	/* 4 s are left. */
	keep_state(&b, &s.row, &st, 102000, 1000);
	assert_true(rsched_state_read(&s, blob_all(&b), 102000, 700));
	assert_int_equal(s.state.clock.due, 4700);
	assert_int_equal(s.generation, 3);
	assert_int_equal(s.state.nticks, 12);
	assert_int_equal(s.state.kept, 1);
	assert_int_equal(s.state.ticks[0].job, 77);
	assert_int_equal(s.state.ticks[0].outcome, BH_TICK_LATE);
	/* A clock that is far behind: no longer than its span. */
	assert_true(rsched_state_read(&s, blob_all(&b), 5, 700));
	assert_in_range(s.state.clock.due, 701, 60700);
	for (size_t n = 0; n < b.len; n++)
		assert_false(rsched_state_read(&s, (struct bh_bytes){b.data,
		    n}, 102000, 700));
	blob_done(&b);
}

static void
never_stays_never(void **state)
{
	struct rsched_state st = {.clock = {.due = INT64_MAX}};
	struct rsched s = {.row = full_row()};
	struct blob b = {0};

	(void)state;
	keep_state(&b, &s.row, &st, 1000, 1000);
	assert_true(rsched_state_read(&s, blob_all(&b), 1000, 1000));
	assert_true(s.state.clock.due == INT64_MAX);
	assert_int_equal(rsched_next_at(&s.row, &s.state, 1000, 1000), 0);
	blob_done(&b);
}

static void
run_times_are_of_the_last_hour(void **state)
{
	struct bh_queue_stats q = {0};
	struct rruntimes *t = NULL;

	(void)state;
	rruntimes_show(t, 0, &q);
	assert_int_equal(q.runtime_count, 0);
	for (int i = 0; i < 90; i++)
		rruntimes_add(&t, 1000, 100);
	for (int i = 0; i < 10; i++)
		rruntimes_add(&t, 1000, 9000);
	rruntimes_show(t, 2000, &q);
	assert_in_range(q.p50_ms, 100, 113);
	assert_in_range(q.p95_ms, 9000, 10200);
	assert_int_equal(q.runtime_count, 100);
	assert_int_equal(q.runtime_sum_ms, 99000);
	assert_int_equal(q.runtime_bucket[4], 90);
	assert_int_equal(q.runtime_bucket[10], 10);
	rruntimes_show(t, 2000 + 2 * 3600000, &q);
	assert_int_equal(q.p99_ms, 0);
	assert_int_equal(q.runtime_count, 100);
	free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_reads_as_it_was_written),
		cmocka_unit_test(half_a_row_is_none),
		cmocka_unit_test(where_it_stands_outlasts_another_clock),
		cmocka_unit_test(never_stays_never),
		cmocka_unit_test(run_times_are_of_the_last_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
