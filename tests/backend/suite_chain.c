/* SPDX-License-Identifier: MIT */
/* Cases: several adds as one, all or none; and the counters of a queue. */
#include "suite.h"

#include <inttypes.h>

static struct bh_job_opts
keyed(const char *key, int mode)
{
	struct bh_job_opts o = opts_none();

	o.unique = bytes(key);
	o.unique_mode = (int8_t)mode;
	return o;
}

/* Refused with this code, and nothing has come of it. */
static void
expect_refused(struct suite_env *t, const struct link *links, size_t n,
    int code)
{
	int64_t before[8];
	struct call *c;

	for (size_t i = 0; i < n; i++) {
		const struct bh_queue_stats *s = stats(t, links[i].queue);

		before[i] = s->count[BH_WAITING] + s->count[BH_DELAYED];
	}
	c = ask_chain(t, links, n);
	call_wait(c);
	assert_int_equal(c->status, code);
	for (size_t i = 0; i < n; i++) {
		const struct bh_queue_stats *s = stats(t, links[i].queue);

		assert_int_equal(s->count[BH_WAITING] + s->count[BH_DELAYED],
		    before[i]);
	}
}

static void
chain_adds_in_order(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts later = opts_none(), urgent = opts_none();
	struct link links[] = {{"a", "1", NULL, 0}, {"b", "2", &later, 0},
	    {"a", "3", &urgent, 3}, {"c", "4", NULL, 0}};
	struct call *c;

	later.delay_ms = 5000;
	urgent.priority = 0;
	c = ask_chain(t, links, nitems(links));
	call_ok(c);
	assert_int_equal(c->nchain, 4);
	for (size_t i = 0; i < 4; i++) {
		struct bh_job *j = get_job(t, c->chain[i].id);

		expect_bytes(j->queue, links[i].queue);
		expect_bytes(j->payload, links[i].payload);
		assert_int_equal(j->state, c->chain[i].state);
		assert_false(c->chain[i].duplicate);
		if (i > 0)
			assert_true(c->chain[i].id > c->chain[i - 1].id);
	}
	assert_int_equal(c->chain[1].state, BH_DELAYED);
	assert_int_equal(stats(t, "a")->count[BH_WAITING], 4);
	assert_int_equal(take(t, "a")->id, c->chain[2].id);
}

static void
chain_answers_duplicates_as_the_living_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts keep = keyed("k", BH_UNIQUE_KEEP);
	struct bh_job_opts replace = keyed("k", BH_UNIQUE_REPLACE);
	struct bh_job_opts other = keyed("o", BH_UNIQUE_KEEP);
	struct link links[] = {{"q", "new", &keep, 0}, {"q", "2", &other, 0},
	    {"q", "3", &other, 0}, {"p", "4", &other, 0},
	    {"q", "newer", &replace, 0}};
	int64_t living = put_with(t, "q", "old", &keep);
	struct call *c = ask_chain(t, links, nitems(links));

	call_ok(c);
	assert_int_equal(c->chain[0].id, living);
	assert_true(c->chain[0].duplicate);
	assert_false(c->chain[1].duplicate);
	assert_int_equal(c->chain[2].id, c->chain[1].id);
	assert_true(c->chain[2].duplicate);
	assert_false(c->chain[3].duplicate);
	assert_int_equal(c->chain[4].id, living);
	expect_bytes(get_job(t, living)->payload, "newer");
	expect_bytes(get_job(t, c->chain[1].id)->payload, "2");
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 2);
}

static void
chain_may_follow_an_active_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = keyed("k", BH_UNIQUE_FOLLOW);
	struct link links[] = {{"q", "2", &o, 0}, {"q", "3", &o, 0}};
	struct bh_job *j;
	struct call *c;

	put_with(t, "q", "1", &o);
	j = take(t, "q");
	c = ask_chain(t, links, 2);
	call_ok(c);
	assert_false(c->chain[0].duplicate);
	assert_true(c->chain[1].duplicate);
	assert_int_equal(c->chain[0].id, c->chain[1].id);
	take_none(t, "q");
	finish_done(t, j, NULL);
	j = take(t, "q");
	assert_int_equal(j->id, c->chain[0].id);
	expect_bytes(j->payload, "3");
}

static void
chain_counts_itself_against_max_waiting(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = keyed("k", BH_UNIQUE_KEEP);
	struct bh_queue_opts q = queue_none();
	struct link links[] = {{"full", "1", NULL, 0}, {"free", "2", NULL, 2},
	    {"full", "3", NULL, 2}, {"full", "4", NULL, 0}};
	struct call *c;

	q.max_waiting = 3;
	set_options(t, "full", &q);
	expect_refused(t, links, 4, BH_E_QUEUEFULL);
	c = ask_chain(t, links, 3);
	call_ok(c);
	assert_int_equal(stats(t, "full")->count[BH_WAITING], 3);
	assert_int_equal(stats(t, "free")->count[BH_WAITING], 2);
	run_done(t, "full");
	/* What it finds twice takes room once. */
	for (size_t i = 0; i < 4; i++)
		links[i] = (struct link){"full", "k", &o, 0};
	c = ask_chain(t, links, 4);
	call_ok(c);
	assert_int_equal(stats(t, "full")->count[BH_WAITING], 3);
	c = ask_chain(t, links, 4);
	call_ok(c);
	assert_true(c->chain[0].duplicate);
	links[3] = (struct link){"full", "x", NULL, 0};
	expect_refused(t, links, 4, BH_E_QUEUEFULL);
}

static void
chain_refused_at_its_end_changes_no_living_job(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = keyed("k", BH_UNIQUE_REPLACE);
	struct bh_queue_opts q = queue_none();
	struct link links[] = {{"q", "new", &o, 0}, {"full", "2", NULL, 2}};
	int64_t id = put_with(t, "q", "old", &o);

	q.max_waiting = 1;
	set_options(t, "full", &q);
	expect_refused(t, links, 2, BH_E_QUEUEFULL);
	expect_bytes(get_job(t, id)->payload, "old");
}

static void
chain_with_a_key_for_many_is_refused(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts o = keyed("k", BH_UNIQUE_KEEP);
	struct link links[] = {{"q", "1", NULL, 0}, {"p", "2", &o, 2}};

	expect_refused(t, links, 2, BH_E_BADARG);
}

/* Backends without storage have no limit of queues. */
static void
chain_that_needs_too_many_queues_makes_none(void **state)
{
	struct suite_env *t = *state;
	struct link links[1001];
	char names[1001][16];
	struct call *c;

	for (int i = 0; i < 1001; i++) {
		snprintf(names[i], sizeof(names[i]), "q%d", i);
		links[i] = (struct link){names[i], "x", NULL, 0};
	}
	c = ask_chain(t, links, 1001);
	call_wait(c);
	assert_int_equal(c->status, BH_E_QUEUEFULL);
	c = ask_stats(t, NULL, false);
	call_ok(c);
	assert_int_equal(c->nqueues, 0);
	c = ask_chain(t, links, 1000);
	call_ok(c);
	expect_refused(t, &links[999], 2, BH_E_QUEUEFULL);
}

/* After a crash either all of a chain is there or none of it. */
static void
chain_is_whole_after_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct bh_job_opts later = opts_none();
	struct link links[] = {{"a", "1", NULL, 0}, {"b", "2", &later, 0},
	    {"c", "3", NULL, 2}};
	struct call *c;

	later.delay_ms = INT64_C(3600000);
	for (int i = 1; i <= 30; i++) {
		int64_t n;

		c = ask_chain(t, links, 3);
		if (i % 3 == 0)
			call_ok(c);
		else if (i % 3 == 1)
			suite_turn(t);
		suite_crash_now(t);
		n = stats(t, "b")->count[BH_DELAYED];
		assert_int_equal(stats(t, "a")->count[BH_WAITING], n);
		assert_int_equal(stats(t, "c")->count[BH_WAITING], 2 * n);
		if (i % 3 == 0)
			assert_true(n >= i / 3);
	}
}

/* --- counters --- */

static void
counters_tell_what_has_become_of_jobs(void **state)
{
	struct suite_env *t = *state;
	struct bh_queue_stats *s;
	int64_t id;

	put_count(t, "q", 4, NULL);
	run_done(t, "q");
	finish_fail(t, take(t, "q"), "no", 3600000);
	run_final(t, "q", "no");
	id = put(t, "q", "x");
	alter_ok(t, id, BH_JOB_REMOVE);
	assert_int_equal(queue_purge(t, "q", BH_WAITING, 0), 1);
	s = stats(t, "q");
	assert_int_equal(s->added_total, 5);
	assert_int_equal(s->completed_total, 1);
	assert_int_equal(s->retried_total, 1);
	assert_int_equal(s->removed_total, 2);
}

static void
counters_sort_run_times_into_buckets(void **state)
{
	static const int64_t times[] = {0, 5, 6, 1000, 1001, 300000, 300001};
	static const int64_t bounds[] = {BH_RUNTIME_BOUNDS};
	int64_t want[BH_RUNTIME_BUCKETS] = {0}, sum = 0;
	struct suite_env *t = *state;
	struct bh_job_opts o = opts_none();
	struct bh_queue_stats *s;
	struct bh_job *j;

	o.lease_ms = 1000000;
	for (size_t i = 0; i < nitems(times); i++) {
		size_t b = 0;

		put_with(t, "q", "x", &o);
		j = take(t, "q");
		suite_pass(t, times[i]);
		if (i % 2)
			finish_final(t, j, "no");
		else
			finish_done(t, j, NULL);
		while (b < nitems(bounds) && times[i] > bounds[b])
			b++;
		want[b]++;
		sum += times[i];
	}
	s = stats(t, "q");
	assert_int_equal(s->runtime_count, nitems(times));
	assert_int_equal(s->runtime_sum_ms, sum);
	assert_memory_equal(s->runtime_bucket, want, sizeof(want));
	assert_int_equal(want[BH_RUNTIME_BUCKETS - 1], 1);
}

const struct suite_case suite_chain_cases[] = {
	CASE(chain_adds_in_order),
	CASE(chain_answers_duplicates_as_the_living_job),
	CASE(chain_may_follow_an_active_job),
	CASE(chain_counts_itself_against_max_waiting),
	CASE(chain_refused_at_its_end_changes_no_living_job),
	CASE(chain_with_a_key_for_many_is_refused),
	CASE_STORAGE(chain_that_needs_too_many_queues_makes_none),
	CASE_CRASH(chain_is_whole_after_a_crash),
	CASE(counters_tell_what_has_become_of_jobs),
	CASE(counters_sort_run_times_into_buckets),
	{NULL, NULL, SUITE_ANY},
};
