/* SPDX-License-Identifier: MIT */
/*
 * Cases: many random operations, after which what the contract promises must
 * still hold: no job is lost, is in two states, or is handed out while another
 * holds it; groups run one job or batch at a time; counts are those of the
 * lists.
 */
#include "suite.h"

#include <inttypes.h>

#define JOBS_MAX 600
#define OPERATIONS 1200

struct storm_job {
	int64_t id;
	int queue, group;		/* group 0: none */
	bool held, seen;
	bool gone;			/* removed by us */
	bool handler;
	uint32_t batch;
	uint64_t token;
	int64_t lease_until;
};

struct storm {
	struct suite_env *t;
	uint64_t seed;
	bool batches;			/* some callers are handlers */
	int together;			/* jobs that joined a batch */
	struct storm_job jobs[JOBS_MAX];
	size_t njobs;
};

static const char *const storm_queues[] = {"alpha", "beta", "gamma"};
static const char *const storm_groups[] = {"", "A", "B", "C"};

/* xorshift: the same storm every time. */
static uint64_t
roll(struct storm *s, uint64_t n)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 7;
	s->seed ^= s->seed << 17;
	return s->seed % n;
}

static struct storm_job *
storm_find(struct storm *s, int64_t id)
{
	for (size_t i = 0; i < s->njobs; i++) {
		if (s->jobs[i].id == id)
			return &s->jobs[i];
	}
	fail_msg("job %" PRId64 " was never put", id);
	return NULL;
}

static bool
storm_holds(const struct storm *s, const struct storm_job *j)
{
	return j->held && j->lease_until > s->t->wall;
}

/* --- operations --- */

static void
storm_put(struct storm *s)
{
	struct storm_job *j = &s->jobs[s->njobs];
	struct bh_job_opts o = opts_none();
	struct call *c;

	if (s->njobs == JOBS_MAX)
		return;
	j->queue = (int)roll(s, nitems(storm_queues));
	j->group = (int)roll(s, nitems(storm_groups));
	o.priority = (int8_t)roll(s, 10);
	o.group = bytes(storm_groups[j->group]);
	o.attempts = (int32_t)roll(s, 4) + 1;
	o.lease_ms = 1000 + (int64_t)roll(s, 9000);
	o.backoff_ms = (int64_t)roll(s, 3000);
	if (roll(s, 3) == 0)
		o.delay_ms = (int64_t)roll(s, 5000);
	if (roll(s, 5) == 0)
		o.expires_ms = 1000 + (int64_t)roll(s, 10000);
	if (roll(s, 4) == 0) {
		o.unique = bytes(roll(s, 2) ? "k1" : "k2");
		o.unique_mode = (int8_t)roll(s, 3);
	}
	c = ask_put(s->t, storm_queues[j->queue], "stormy", &o);
	call_ok(c);
	j->id = c->ids[0];
	if (!c->duplicate)
		s->njobs++;
}

static void
storm_claimed(struct storm *s, const struct bh_job *job, bool handler)
{
	struct storm_job *j = storm_find(s, job->id);

	assert_false(storm_holds(s, j));
	assert_false(j->gone);
	assert_string_equal(job->queue.data, storm_queues[j->queue]);
	assert_int_equal(job->state, BH_ACTIVE);
	assert_true(job->lease_until > s->t->wall);
	assert_true(job->token != 0);
	for (size_t i = 0; j->group && i < s->njobs; i++) {
		const struct storm_job *k = &s->jobs[i];

		if (k != j && k->queue == j->queue && k->group == j->group &&
		    storm_holds(s, k)) {
			assert_true(job->batch && k->batch == job->batch);
			s->together++;
		}
	}
	assert_int_equal(job->batch != 0, handler);
	j->handler = handler;
	j->batch = job->batch;
	j->held = true;
	j->token = job->token;
	j->lease_until = job->lease_until;
}

static void
storm_reserve(struct storm *s)
{
	struct want w = {.queues = storm_queues,
	    .nqueues = nitems(storm_queues),
	    .count = (uint32_t)roll(s, 5) + 1};
	struct call *c;

	w.handler = s->batches && roll(s, 2) == 0;
	c = ask_reserve(s->t, &w);
	call_ok(c);
	for (size_t i = 0; i < c->njobs; i++)
		storm_claimed(s, &c->jobs[i], w.handler);
}

static struct storm_job *
storm_any(struct storm *s)
{
	return s->njobs ? &s->jobs[roll(s, s->njobs)] : NULL;
}

static struct storm_job *
storm_any_held(struct storm *s)
{
	size_t from = s->njobs ? roll(s, s->njobs) : 0;

	for (size_t i = 0; i < s->njobs; i++) {
		struct storm_job *j = &s->jobs[(from + i) % s->njobs];

		if (j->held)
			return j;
	}
	return NULL;
}

/* The lease decides; a job that we removed may be unknown by now. */
static void
storm_expect_held(const struct storm *s, const struct storm_job *j,
    const struct call *c)
{
	if (storm_holds(s, j))
		assert_int_equal(c->status, BH_OK);
	else if (!j->gone || c->status != BH_E_NOTFOUND)
		assert_int_equal(c->status, BH_E_STALE);
}

static void
storm_finish(struct storm *s)
{
	struct storm_job *j = storm_any_held(s);
	struct call *c;

	if (!j)
		return;
	c = ask_finish(s->t, j->id, j->token, roll(s, 3), "stormy", -1,
	    roll(s, 4) == 0);
	call_wait(c);
	storm_expect_held(s, j, c);
	j->held = false;
}

static void
storm_extend(struct storm *s)
{
	struct storm_job *j = storm_any_held(s);
	struct call *c;

	if (!j)
		return;
	c = ask_extend(s->t, j->id, j->token, 4000, "going on");
	call_wait(c);
	storm_expect_held(s, j, c);
	if (c->status == BH_OK)
		j->lease_until = s->t->wall + 4000;
	else
		j->held = false;
}

static void
storm_alter(struct storm *s)
{
	static const enum bh_job_action actions[] = {BH_JOB_RETRY,
	    BH_JOB_REMOVE, BH_JOB_PROMOTE, BH_JOB_CANCEL};
	enum bh_job_action action = actions[roll(s, nitems(actions))];
	struct storm_job *j = storm_any(s);
	int status;

	if (!j)
		return;
	status = alter(s->t, j->id, action, NULL);
	if (j->gone)
		assert_int_equal(status, BH_E_NOTFOUND);
	else if (storm_holds(s, j) && action != BH_JOB_CANCEL)
		assert_int_equal(status, BH_E_CONFLICT);
	else if (status != BH_OK)
		assert_int_equal(status, BH_E_CONFLICT);
	if (status == BH_OK && action == BH_JOB_REMOVE)
		j->gone = true;
	/* A handler is asked to stop, and holds it until it does. */
	if (status == BH_OK && action == BH_JOB_CANCEL && !j->handler)
		j->held = false;
}

static void
storm_pass(struct storm *s)
{
	suite_pass(s->t, (int64_t)roll(s, 1500));
}

static void
storm_pause(struct storm *s)
{
	const char *name = storm_queues[roll(s, nitems(storm_queues))];

	if (roll(s, 3) == 0)
		queue_pause(s->t, name);
	else
		queue_resume(s->t, name);
}

/* --- what must hold --- */

static int64_t
storm_check_state(struct storm *s, const char *queue, enum bh_job_state state)
{
	struct bh_list l = {.queue = bytes(queue), .state = state,
	    .count = 50};
	int64_t n = 0;

	do {
		struct call *c = ask_list(s->t, &l);

		call_ok(c);
		for (size_t i = 0; i < c->njobs; i++, n++) {
			struct storm_job *j = storm_find(s, c->jobs[i].id);

			assert_false(j->seen);
			assert_false(j->gone);
			j->seen = true;
			assert_int_equal(storm_holds(s, j),
			    state == BH_ACTIVE);
		}
		l.cursor = c->cursor;
	} while (l.cursor);
	return n;
}

static void
storm_check(struct storm *s)
{
	for (size_t i = 0; i < s->njobs; i++)
		s->jobs[i].seen = false;
	for (size_t i = 0; i < nitems(storm_queues); i++) {
		struct bh_queue_stats *q = stats(s->t, storm_queues[i]);

		for (int state = 0; state < BH_STATES; state++)
			assert_int_equal(q->count[state],
			    storm_check_state(s, storm_queues[i], state));
	}
	for (size_t i = 0; i < s->njobs; i++)
		assert_true(s->jobs[i].seen != s->jobs[i].gone);
}

static void
storm_reopen(struct storm *s, bool crash)
{
	struct bh_job **before;

	before = arena_alloc(&s->t->arena, JOBS_MAX * sizeof(*before));
	for (size_t i = 0; i < s->njobs; i++)
		before[i] = get(s->t, s->jobs[i].id);
	if (crash)
		suite_crash(s->t, 0);
	else
		suite_reopen(s->t, 0);
	for (size_t i = 0; i < s->njobs; i++) {
		struct bh_job *after = get(s->t, s->jobs[i].id);

		assert_int_equal(!before[i], !after);
		if (!after)
			continue;
		expect_same_job(after, before[i]);
		if (storm_holds(s, &s->jobs[i]))
			s->jobs[i].lease_until = after->lease_until;
	}
}

/* All that can run is run to its end. */
static void
storm_calm(struct storm *s)
{
	size_t idle = 0;

	for (size_t i = 0; i < nitems(storm_queues); i++)
		queue_resume(s->t, storm_queues[i]);
	/* A handler's lease is longer than those that the jobs have. */
	while (idle < (s->batches ? 130 : 30)) {
		struct want w = {.queues = storm_queues,
		    .nqueues = nitems(storm_queues), .count = 100};
		struct call *c = ask_reserve(s->t, &w);

		call_ok(c);
		for (size_t i = 0; i < c->njobs; i++) {
			storm_claimed(s, &c->jobs[i], false);
			finish_done(s->t, &c->jobs[i], NULL);
			storm_find(s, c->jobs[i].id)->held = false;
		}
		idle = c->njobs ? 0 : idle + 1;
		if (!c->njobs)
			suite_pass(s->t, 1000);
	}
	storm_check(s);
	for (size_t i = 0; i < nitems(storm_queues); i++) {
		struct bh_queue_stats *q = stats(s->t, storm_queues[i]);

		assert_int_equal(q->count[BH_WAITING], 0);
		assert_int_equal(q->count[BH_DELAYED], 0);
		assert_int_equal(q->count[BH_ACTIVE], 0);
	}
}

static void
storm_run(struct suite_env *t, uint64_t seed, enum suite_needs restarts)
{
	static void (*const operations[])(struct storm *) = {
		storm_put, storm_put, storm_put, storm_reserve, storm_reserve,
		storm_finish, storm_finish, storm_extend, storm_alter,
		storm_pass, storm_pass, storm_pause,
	};
	struct storm *s = arena_alloc(&t->arena, sizeof(*s));

	s->t = t;
	s->seed = seed;
	if (restarts == SUITE_BATCHES) {
		struct bh_queue_opts o = queue_none();

		s->batches = true;
		o.batch_max = 4;
		o.batch_window_ms = 700;
		o.batch_quiet_ms = 300;
		for (size_t i = 0; i < nitems(storm_queues); i++)
			add_options(t, storm_queues[i], &o);
	}
	for (int i = 1; i <= OPERATIONS; i++) {
		operations[roll(s, nitems(operations))](s);
		if (i % 50 == 0)
			storm_check(s);
		if (restarts > SUITE_ANY && restarts <= SUITE_CRASH &&
		    i % 150 == 0)
			storm_reopen(s, restarts == SUITE_CRASH);
	}
	storm_calm(s);
	assert_int_equal(s->together > 0, s->batches);
}

static void
a_storm_loses_nothing(void **state)
{
	storm_run(*state, UINT64_C(0x9e3779b97f4a7c15), SUITE_ANY);
}

static void
another_storm_loses_nothing(void **state)
{
	storm_run(*state, UINT64_C(0xd1b54a32d192ed03), SUITE_ANY);
}

static void
a_storm_with_restarts_loses_nothing(void **state)
{
	storm_run(*state, UINT64_C(0x2545f4914f6cdd1d), SUITE_STORAGE);
}

static void
a_storm_with_crashes_loses_nothing(void **state)
{
	storm_run(*state, UINT64_C(0x5851f42d4c957f2d), SUITE_CRASH);
}

static void
a_storm_with_batches_loses_nothing(void **state)
{
	storm_run(*state, UINT64_C(0x9e3779b97f4a7c15), SUITE_BATCHES);
}

const struct suite_case suite_storm_cases[] = {
	CASE(a_storm_loses_nothing),
	CASE(another_storm_loses_nothing),
	CASE_STORAGE(a_storm_with_restarts_loses_nothing),
	CASE_CRASH(a_storm_with_crashes_loses_nothing),
	CASE_BATCHES(a_storm_with_batches_loses_nothing),
	{0},
};
