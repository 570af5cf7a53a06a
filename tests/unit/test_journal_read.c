/* SPDX-License-Identifier: MIT */
/* Reads: whole jobs, pages of a queue, and what a read must see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "lib/journalfix.h"

#define T0 1790000000000

static void
assert_bytes(struct bh_bytes v, const char *expected)
{
	assert_non_null(v.data);
	assert_int_equal(v.len, strlen(expected));
	assert_memory_equal(v.data, expected, v.len);
}

/* Reads a page and compares its ids with the list. */
static void
assert_page(struct journalfix *f, struct jread r, const int64_t *ids, size_t n)
{
	struct journalfix_answer a = {0};
	size_t i;

	r.done = journalfix_done;
	r.user = &a;
	r.kind = JREAD_LIST;
	r.queue = r.queue ? r.queue : 1;
	journalfix_read(f, &r);
	assert_int_equal(r.err.code, BH_OK);
	assert_int_equal(a.n, n);
	for (i = 0; i < n; i++)
		assert_int_equal(a.bodies[i]->id, ids[i]);
	journalfix_answer_free(&a);
}

#define PAGE(f, ids, ...) assert_page(f, (struct jread){__VA_ARGS__}, ids, \
	nitems(ids))
#define NO_PAGE(f, ...) assert_page(f, (struct jread){__VA_ARGS__}, NULL, 0)

static void
test_found_and_missing(void **state)
{
	struct journalfix *f = *state;
	const int64_t ids[] = {2, 77, 1};
	struct journalfix_answer a = {0};
	struct jread r = {.done = journalfix_done, .user = &a,
	    .kind = JREAD_JOBS, .ids = ids, .nids = 3};

	journalfix_job(f, 1, "one");
	journalfix_job(f, 2, "");
	journalfix_read(f, &r);
	assert_int_equal(r.err.code, BH_OK);
	assert_int_equal(a.n, 3);
	assert_true(a.bodies[0]->found);
	assert_int_equal(a.bodies[0]->id, 2);
	assert_bytes(a.bodies[0]->payload, "");
	assert_false(a.bodies[1]->found);
	assert_int_equal(a.bodies[1]->id, 77);
	assert_bytes(a.bodies[2]->payload, "one");
	journalfix_answer_free(&a);
}

static void
test_plain_job_says_nothing(void **state)
{
	struct journalfix *f = *state;
	const int64_t id = 1;
	struct journalfix_answer a = {0};
	struct jread r = {.done = journalfix_done, .user = &a,
	    .kind = JREAD_JOBS, .ids = &id, .nids = 1, .errors = true};
	struct bh_job_opts none;
	const struct jbody *b;

	bh_job_opts_init(&none);
	journalfix_job(f, 1, "x");
	journalfix_read(f, &r);
	b = a.bodies[0];
	assert_int_equal(b->state, JSTATE_LIVE);
	assert_int_equal(b->queue, 1);
	assert_int_equal(b->created_at, T0);
	assert_int_equal(b->run_at, T0);
	assert_int_equal(b->expires_at, 0);
	assert_int_equal(b->started_at, 0);
	assert_int_equal(b->finished_at, 0);
	assert_int_equal(b->opts.priority, none.priority);
	assert_int_equal(b->opts.retain_ms, none.retain_ms);
	assert_int_equal(b->opts.unique_mode, none.unique_mode);
	assert_true(b->opts.backoff_factor == none.backoff_factor);
	assert_null(b->opts.group.data);
	assert_null(b->opts.unique.data);
	assert_null(b->origin.data);
	assert_null(b->progress.data);
	assert_null(b->result.data);
	assert_null(b->error.data);
	assert_int_equal(b->nerrors, 0);
	journalfix_answer_free(&a);
}

static void
test_every_option_comes_back(void **state)
{
	struct journalfix *f = *state;
	const int64_t id = 5;
	struct journalfix_answer a = {0};
	struct jread r = {.done = journalfix_done, .user = &a,
	    .kind = JREAD_JOBS, .ids = &id, .nids = 1};
	struct jrec rec = {.kind = JR_JOB_INSERT, .id = 5};
	struct bh_job_opts o = {.delay_ms = -1, .at = -1, .expires_ms = -1,
	    .timeout_ms = 1, .lease_ms = 2, .retain_ms = 0,
	    .unique_ttl_ms = 4, .backoff_ms = 5, .backoff_max_ms = 6,
	    .backoff_factor = 2.5, .backoff_jitter = 0, .attempts = 7,
	    .max_stalled = 0, .priority = 9,
	    .backoff_type = BH_BACKOFF_EXPONENTIAL,
	    .unique_mode = BH_UNIQUE_REPLACE,
	    .group = {"gr\0up", 5}, .unique = {"u", 1}};
	const struct bh_job_opts *got;

	rec.u.insert.queue = 1;
	rec.u.insert.created_at = 10;
	rec.u.insert.run_at = 11;
	rec.u.insert.expires_at = 12;
	rec.u.insert.opts = &o;
	rec.u.insert.payload = journalfix_bytes("p");
	rec.u.insert.origin = journalfix_bytes("q:1");
	journal_append(f->j, &rec);
	journalfix_read(f, &r);
	got = &a.bodies[0]->opts;
	assert_int_equal(got->timeout_ms, 1);
	assert_int_equal(got->lease_ms, 2);
	assert_int_equal(got->retain_ms, 0);
	assert_int_equal(got->unique_ttl_ms, 4);
	assert_int_equal(got->backoff_ms, 5);
	assert_int_equal(got->backoff_max_ms, 6);
	assert_true(got->backoff_factor == 2.5);
	assert_true(got->backoff_jitter == 0);
	assert_int_equal(got->attempts, 7);
	assert_int_equal(got->max_stalled, 0);
	assert_int_equal(got->priority, 9);
	assert_int_equal(got->backoff_type, BH_BACKOFF_EXPONENTIAL);
	assert_int_equal(got->unique_mode, BH_UNIQUE_REPLACE);
	assert_int_equal(got->group.len, 5);
	assert_memory_equal(got->group.data, "gr\0up", 5);
	assert_bytes(got->unique, "u");
	assert_bytes(a.bodies[0]->origin, "q:1");
	assert_int_equal(a.bodies[0]->expires_at, 12);
	journalfix_answer_free(&a);
}

static void
test_history_of_errors(void **state)
{
	struct journalfix *f = *state;
	const int64_t ids[] = {1, 2};
	struct journalfix_answer a = {0};
	struct jread r = {.done = journalfix_done, .user = &a,
	    .kind = JREAD_JOBS, .ids = ids, .nids = 2, .errors = true};
	const struct jbody *b;

	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "y");
	journalfix_error(f, 1, 1, "first");
	journalfix_error(f, 1, 2, "");
	journalfix_error(f, 1, 3, "third");
	journalfix_finish(f, 1, JSTATE_FAILED, 3, "third");
	journalfix_read(f, &r);
	b = a.bodies[0];
	assert_int_equal(b->nerrors, 3);
	assert_bytes(b->errors[0].message, "first");
	assert_bytes(b->errors[1].message, "");
	assert_bytes(b->errors[2].message, "third");
	assert_bytes(b->errors[2].version, "v1");
	assert_int_equal(b->errors[2].attempt, 3);
	assert_int_equal(b->errors[2].at, T0 + 3);
	assert_bytes(b->error, "third");
	assert_bytes(b->payload, "x");
	assert_int_equal(b->state, JSTATE_FAILED);
	assert_int_equal(a.bodies[1]->nerrors, 0);
	journalfix_answer_free(&a);
	r.errors = false;
	journalfix_read(f, &r);
	assert_int_equal(a.bodies[0]->nerrors, 0);
	journalfix_answer_free(&a);
}

static void
test_a_read_waits_for_what_was_appended(void **state)
{
	struct journalfix *f = *state;
	const int64_t id = 1;
	struct journalfix_answer a = {0};
	struct jread r = {.done = journalfix_done, .user = &a,
	    .kind = JREAD_JOBS, .ids = &id, .nids = 1};

	journalfix_job(f, 1, "x");
	journal_read(f->j, &r);
	/* Nothing was handed to the writer: it cannot be answered. */
	journal_take(f->j, 0);
	journal_take(f->j, 0);
	assert_false(a.done);
	journal_kick(f->j);
	while (!a.done) {
		journalfix_wait(f);
		journal_take(f->j, 0);
	}
	assert_true(a.bodies[0]->found);
	journalfix_answer_free(&a);
}

static void
test_many_reads_come_back_in_order(void **state)
{
	struct journalfix *f = *state;
	struct journalfix_answer a[40] = {0};
	struct jread r[40];
	int64_t ids[40];
	size_t i;

	for (i = 0; i < nitems(r); i++) {
		ids[i] = (int64_t)i + 1;
		journalfix_job(f, ids[i], "x");
		r[i] = (struct jread){.done = journalfix_done, .user = &a[i],
		    .kind = JREAD_JOBS, .ids = &ids[i], .nids = 1};
		journal_read(f->j, &r[i]);
		if (i % 7 == 0)
			journal_kick(f->j);
	}
	while (!a[nitems(a) - 1].done) {
		journal_take(f->j, 0);
		journal_kick(f->j);
		if (!a[nitems(a) - 1].done)
			journalfix_wait(f);
	}
	for (i = 0; i < nitems(r); i++) {
		assert_true(a[i].done);
		assert_int_equal(a[i].bodies[0]->id, ids[i]);
		assert_true(a[i].bodies[0]->found);
		journalfix_answer_free(&a[i]);
	}
}

/* Jobs 1…9 of queue 1: odd ones completed, 2 and 6 failed of 0xa, 4 of 0xb,
 * 8 living; job 10 is queue 2's and completed. */
static void
fill(struct journalfix *f)
{
	struct jrec q = {.kind = JR_QUEUE, .id = 2};

	for (int i = 1; i <= 10; i++)
		journalfix_job(f, i, "x");
	for (int i = 1; i <= 9; i += 2)
		journalfix_finish(f, i, JSTATE_COMPLETED, 0, "r");
	journalfix_finish(f, 2, JSTATE_FAILED, 0xa, "e");
	journalfix_finish(f, 6, JSTATE_FAILED, 0xa, "e");
	journalfix_finish(f, 4, JSTATE_FAILED, UINT64_MAX, "e");
	journalfix_finish(f, 10, JSTATE_COMPLETED, 0, "r");
	q.u.queue.name = journalfix_bytes("other");
	journal_append(f->j, &q);
	journalfix_settle(f);
	assert_int_equal(journalfix_exec(f,
	    "UPDATE job SET queue = 2 WHERE id = 10"), 0);
}

static void
test_list_pages_forward(void **state)
{
	struct journalfix *f = *state;
	const int64_t first[] = {1, 3};
	const int64_t second[] = {5, 7};
	const int64_t third[] = {9};

	fill(f);
	PAGE(f, first, .state = JSTATE_COMPLETED, .count = 2);
	PAGE(f, second, .state = JSTATE_COMPLETED, .count = 2, .cursor = 3);
	PAGE(f, third, .state = JSTATE_COMPLETED, .count = 2, .cursor = 7);
	NO_PAGE(f, .state = JSTATE_COMPLETED, .count = 2, .cursor = 9);
}

static void
test_list_pages_backward(void **state)
{
	struct journalfix *f = *state;
	const int64_t first[] = {9, 7, 5};
	const int64_t second[] = {3, 1};

	fill(f);
	PAGE(f, first, .state = JSTATE_COMPLETED, .count = 3, .reverse = true);
	PAGE(f, second, .state = JSTATE_COMPLETED, .count = 3, .reverse = true,
	    .cursor = 5);
	NO_PAGE(f, .state = JSTATE_COMPLETED, .count = 3, .reverse = true,
	    .cursor = 1);
}

static void
test_list_by_fingerprint(void **state)
{
	struct journalfix *f = *state;
	const int64_t all[] = {2, 4, 6};
	const int64_t a[] = {2, 6};
	const int64_t a_back[] = {6, 2};
	const int64_t odd[] = {4};

	fill(f);
	PAGE(f, all, .state = JSTATE_FAILED, .count = 9);
	PAGE(f, a, .state = JSTATE_FAILED, .count = 9, .fingerprint = 0xa);
	PAGE(f, a_back, .state = JSTATE_FAILED, .count = 9, .fingerprint = 0xa,
	    .reverse = true);
	PAGE(f, odd, .state = JSTATE_FAILED, .count = 9,
	    .fingerprint = UINT64_MAX);
	NO_PAGE(f, .state = JSTATE_FAILED, .count = 9, .fingerprint = 0xa,
	    .cursor = 6);
	NO_PAGE(f, .state = JSTATE_FAILED, .count = 9, .fingerprint = 0xc);
}

static void
test_list_keeps_to_queue_and_state(void **state)
{
	struct journalfix *f = *state;
	const int64_t live[] = {8};
	const int64_t other[] = {10};

	fill(f);
	PAGE(f, live, .state = JSTATE_LIVE, .count = 9);
	PAGE(f, live, .state = JSTATE_LIVE, .count = 9, .reverse = true);
	PAGE(f, other, .state = JSTATE_COMPLETED, .count = 9, .queue = 2);
	NO_PAGE(f, .state = JSTATE_FAILED, .count = 9, .queue = 2);
}

static void
test_lists_use_an_index(void **state)
{
	struct journalfix *f = *state;

	/* INDEXED BY fails where the planner could not use that one. */
	assert_int_equal(journalfix_exec(f, "SELECT id FROM job INDEXED BY "
	    "job_finished WHERE state <> 0 AND queue = 1 AND state = 2 AND "
	    "id > 0 ORDER BY id"), 0);
	assert_int_equal(journalfix_exec(f, "SELECT id FROM job INDEXED BY "
	    "job_fingerprint WHERE state = 2 AND queue = 1 AND fingerprint = 2"
	    " AND id < 9 ORDER BY id DESC"), 0);
}

static void
test_close_answers_what_waits(void **state)
{
	struct journalfix *f = *state;
	const int64_t id = 1;
	struct journalfix_answer a[2] = {0};
	struct jread r[2];

	journalfix_job(f, 1, "x");
	for (int i = 0; i < 2; i++) {
		r[i] = (struct jread){.done = journalfix_done, .user = &a[i],
		    .kind = JREAD_JOBS, .ids = &id, .nids = 1};
		journal_read(f->j, &r[i]);
	}
	journalfix_close(f);
	for (int i = 0; i < 2; i++) {
		assert_true(a[i].done);
		assert_int_equal(r[i].err.code, BH_E_BUSY);
		assert_int_equal(a[i].n, 0);
	}
}

#define T(test) cmocka_unit_test_setup_teardown(test, journalfix_setup, \
	journalfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_found_and_missing),
	    T(test_plain_job_says_nothing),
	    T(test_every_option_comes_back),
	    T(test_history_of_errors),
	    T(test_a_read_waits_for_what_was_appended),
	    T(test_many_reads_come_back_in_order),
	    T(test_list_pages_forward),
	    T(test_list_pages_backward),
	    T(test_list_by_fingerprint),
	    T(test_list_keeps_to_queue_and_state),
	    T(test_lists_use_an_index),
	    T(test_close_answers_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
