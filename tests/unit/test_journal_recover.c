/* SPDX-License-Identifier: MIT */
/* What the next start is told is what the last one stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/journalfix.h"

#define T0 1790000000000
#define MAX 8

/* Rows in the order of their telling; strings are copied. */
struct seen {
	char order[64];			/* n q j l c, one letter a row */
	char strings[1024];
	size_t used;
	int64_t next_id;
	struct jqueue_row queues[MAX];
	struct jjob_row jobs[MAX];
	struct jlease_row leases[MAX];
	struct bh_callback callbacks[MAX];
	int64_t callback_queue;
	size_t nqueues, njobs, nleases, ncallbacks;
};

static void
note(struct seen *s, char letter)
{
	size_t n = strlen(s->order);

	assert_true(n + 1 < sizeof(s->order));
	s->order[n] = letter;
}

static void
keep(struct seen *s, struct bh_bytes *v)
{
	assert_true(s->used + v->len <= sizeof(s->strings));
	if (!v->data)
		return;
	memcpy(s->strings + s->used, v->data, v->len);
	v->data = s->strings + s->used;
	s->used += v->len;
}

static void
on_next_id(void *arg, int64_t id)
{
	struct seen *s = arg;

	note(s, 'n');
	s->next_id = id;
}

static void
on_queue(void *arg, const struct jqueue_row *row)
{
	struct seen *s = arg;
	struct jqueue_row *q = &s->queues[s->nqueues++];

	note(s, 'q');
	*q = *row;
	keep(s, &q->name);
	keep(s, &q->paused_by);
	keep(s, &q->held_reason);
}

static void
on_job(void *arg, const struct jjob_row *row)
{
	struct seen *s = arg;
	struct jjob_row *j = &s->jobs[s->njobs++];

	note(s, 'j');
	*j = *row;
	keep(s, &j->group);
	keep(s, &j->unique);
}

static void
on_lease(void *arg, const struct jlease_row *row)
{
	struct seen *s = arg;
	struct jlease_row *l = &s->leases[s->nleases++];

	note(s, 'l');
	*l = *row;
	keep(s, &l->worker);
}

static void
on_callback(void *arg, int64_t queue, const struct bh_callback *row)
{
	struct seen *s = arg;
	struct bh_callback *c = &s->callbacks[s->ncallbacks++];

	note(s, 'c');
	s->callback_queue = queue;
	*c = *row;
	keep(s, &c->payload);
	keep(s, &c->result);
	keep(s, &c->error);
}

static const struct jvisitor visitor = {on_next_id, on_queue, on_job, on_lease,
    on_callback};

/* Closes, opens again and recovers. */
static void
recover(struct journalfix *f, struct seen *s)
{
	struct err e = ERR_INIT;

	memset(s, 0, sizeof(*s));
	journalfix_close(f);
	assert_int_equal(journal_open(&f->j, &f->config, &e), 0);
	if (journal_recover(f->j, &visitor, s, &e) != 0)
		fail_msg("%s", e.text);
	journal_start(f->j);
}

static void
assert_bytes(struct bh_bytes v, const char *expected)
{
	assert_int_equal(v.len, strlen(expected));
	assert_memory_equal(v.data, expected, v.len);
}

static void
test_an_empty_file(void **state)
{
	struct journalfix *f = *state;
	struct seen s;

	recover(f, &s);
	assert_string_equal(s.order, "nq");
	assert_int_equal(s.next_id, 1);
	assert_bytes(s.queues[0].name, "default");
	assert_int_equal(s.queues[0].paused_at, 0);
	assert_null(s.queues[0].paused_by.data);
}

static void
test_order_of_the_telling(void **state)
{
	struct journalfix *f = *state;
	struct jrec cb = {.kind = JR_CALLBACK, .id = 1,
	    .u.callback = {.queue = 1, .job = 1}};
	struct seen s;

	journal_append(f->j, &cb);
	for (int i = 3; i >= 1; i--)
		journalfix_job(f, i, "x");
	journalfix_lease(f, 2, 1);
	journalfix_lease(f, 1, 1);
	recover(f, &s);
	assert_string_equal(s.order, "nqjjjllc");
	for (int i = 0; i < 3; i++)
		assert_int_equal(s.jobs[i].id, i + 1);
	assert_int_equal(s.leases[0].id, 1);
}

static void
test_every_field_of_a_job(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_INSERT, .id = 5};
	struct bh_job_opts o;
	struct seen s;
	const struct jjob_row *j = &s.jobs[0];

	bh_job_opts_init(&o);
	o.priority = 2;
	o.retain_ms = 0;
	o.group = journalfix_bytes("g");
	o.unique = journalfix_bytes("uu");
	r.u.insert.queue = 1;
	r.u.insert.created_at = 1;
	r.u.insert.run_at = 2;
	r.u.insert.expires_at = 3;
	r.u.insert.opts = &o;
	r.u.insert.payload = journalfix_bytes("p");
	journal_append(f->j, &r);
	r = (struct jrec){.kind = JR_JOB_SET, .id = 5};
	r.u.set.run_at = 20;
	r.u.set.line_at = 21;
	r.u.set.unique_until = 22;
	r.u.set.expires_at = 23;
	r.u.set.started_at = 24;
	r.u.set.after = 4;
	r.u.set.attempt = 6;
	r.u.set.error_count = 7;
	r.u.set.stalled = 8;
	r.u.set.wall = true;
	journal_append(f->j, &r);
	recover(f, &s);
	assert_int_equal(s.njobs, 1);
	assert_int_equal(j->id, 5);
	assert_int_equal(j->queue, 1);
	assert_int_equal(j->state, JSTATE_LIVE);
	assert_int_equal(j->priority, 2);
	assert_true(j->wall);
	assert_int_equal(j->attempt, 6);
	assert_int_equal(j->error_count, 7);
	assert_int_equal(j->stalled, 8);
	assert_int_equal(j->run_at, 20);
	assert_int_equal(j->line_at, 21);
	assert_int_equal(j->expires_at, 23);
	assert_int_equal(j->created_at, 1);
	assert_int_equal(j->started_at, 24);
	assert_int_equal(j->finished_at, 0);
	assert_int_equal(j->unique_until, 22);
	assert_int_equal(j->after, 4);
	assert_int_equal(j->retain_ms, 0);
	assert_int_equal(j->fingerprint, 0);
	assert_bytes(j->group, "g");
	assert_bytes(j->unique, "uu");
}

static void
test_what_was_not_said(void **state)
{
	struct journalfix *f = *state;
	struct seen s;

	journalfix_job(f, 1, "x");
	recover(f, &s);
	assert_int_equal(s.jobs[0].priority, -1);
	assert_int_equal(s.jobs[0].retain_ms, -1);
	assert_int_equal(s.jobs[0].line_at, 0);
	assert_int_equal(s.jobs[0].unique_until, 0);
	assert_false(s.jobs[0].wall);
	assert_null(s.jobs[0].group.data);
	assert_null(s.jobs[0].unique.data);
}

static void
test_finished_jobs(void **state)
{
	struct journalfix *f = *state;
	struct seen s;

	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "x");
	journalfix_finish(f, 1, JSTATE_COMPLETED, 0, "r");
	journalfix_finish(f, 2, JSTATE_FAILED, 0x8000000000000001, "e");
	recover(f, &s);
	assert_int_equal(s.jobs[0].state, JSTATE_COMPLETED);
	assert_int_equal(s.jobs[0].finished_at, T0 + 1);
	assert_int_equal(s.jobs[0].attempt, 1);
	assert_int_equal(s.jobs[1].state, JSTATE_FAILED);
	assert_true(s.jobs[1].fingerprint == 0x8000000000000001);
}

static void
test_leases(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_INSERT, .id = 3};
	struct bh_job_opts o;
	struct seen s;
	const struct jlease_row *l = &s.leases[1];

	bh_job_opts_init(&o);
	o.lease_ms = 500;
	o.max_stalled = 0;
	r.u.insert.queue = 1;
	r.u.insert.run_at = r.u.insert.created_at = 1;
	r.u.insert.opts = &o;
	r.u.insert.payload = journalfix_bytes("p");
	journalfix_job(f, 1, "x");
	journalfix_lease(f, 1, 1);
	journal_append(f->j, &r);
	journalfix_lease(f, 3, 4);
	recover(f, &s);
	assert_int_equal(s.nleases, 2);
	assert_int_equal(s.leases[0].lease_ms, -1);
	assert_int_equal(s.leases[0].max_stalled, -1);
	assert_int_equal(l->id, 3);
	assert_int_equal(l->attempt, 4);
	assert_false(l->handler);
	assert_true(l->token == UINT64_MAX - 3);
	assert_int_equal(l->started_at, T0 + 1);
	assert_int_equal(l->until, T0 + 30000);
	assert_int_equal(l->lease_ms, 500);
	assert_int_equal(l->max_stalled, 0);
	assert_bytes(l->worker, "worker-a");
}

static void
test_queues(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_QUEUE, .id = 2};
	struct jrec t = {.kind = JR_QUEUE_TOTALS, .id = 2};
	struct seen s;
	const struct jqueue_row *q = &s.queues[1];

	r.u.queue.name = journalfix_bytes("mail");
	r.u.queue.paused_at = 3;
	r.u.queue.paused_by = journalfix_bytes("root");
	r.u.queue.held_until = 4;
	r.u.queue.held_reason = journalfix_bytes("429");
	journal_append(f->j, &r);
	t.u.totals.processed = 5;
	t.u.totals.failed = 6;
	t.u.totals.stalled = 7;
	journal_append(f->j, &t);
	recover(f, &s);
	assert_int_equal(s.nqueues, 2);
	assert_int_equal(q->id, 2);
	assert_bytes(q->name, "mail");
	assert_int_equal(q->paused_at, 3);
	assert_bytes(q->paused_by, "root");
	assert_int_equal(q->held_until, 4);
	assert_bytes(q->held_reason, "429");
	assert_int_equal(q->processed, 5);
	assert_int_equal(q->failed, 6);
	assert_int_equal(q->stalled, 7);
}

static void
test_callbacks(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_CALLBACK, .id = 8};
	struct seen s;
	const struct bh_callback *c = &s.callbacks[0];

	r.u.callback.queue = 1;
	r.u.callback.kind = BH_ON_STALLED;
	r.u.callback.job = 12;
	r.u.callback.attempt = 3;
	r.u.callback.payload = journalfix_bytes("p");
	r.u.callback.result = journalfix_bytes("");
	r.u.callback.error = (struct bh_bytes){0};
	journal_append(f->j, &r);
	recover(f, &s);
	assert_int_equal(s.ncallbacks, 1);
	assert_int_equal(s.callback_queue, 1);
	assert_int_equal(c->id, 8);
	assert_int_equal(c->kind, BH_ON_STALLED);
	assert_int_equal(c->job, 12);
	assert_int_equal(c->attempt, 3);
	assert_null(c->queue.data);
	assert_bytes(c->payload, "p");
	assert_non_null(c->result.data);
	assert_int_equal(c->result.len, 0);
	assert_null(c->error.data);
}

static void
test_next_id_is_above_all(void **state)
{
	struct journalfix *f = *state;
	struct seen s;

	journalfix_simple(f, JR_NEXT_ID, 100);
	recover(f, &s);
	assert_int_equal(s.next_id, 100);
	journalfix_job(f, 400, "x");
	recover(f, &s);
	assert_int_equal(s.next_id, 401);
}

static void
test_writing_goes_on_after_recovery(void **state)
{
	struct journalfix *f = *state;
	struct seen s;

	journalfix_job(f, 1, "x");
	recover(f, &s);
	assert_int_equal(journal_last(f->j), 0);
	journalfix_job(f, 2, "y");
	journalfix_settle(f);
	recover(f, &s);
	assert_int_equal(s.njobs, 2);
}

#define T(test) cmocka_unit_test_setup_teardown(test, journalfix_setup, \
	journalfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_an_empty_file),
	    T(test_order_of_the_telling),
	    T(test_every_field_of_a_job),
	    T(test_what_was_not_said),
	    T(test_finished_jobs),
	    T(test_leases),
	    T(test_queues),
	    T(test_callbacks),
	    T(test_next_id_is_above_all),
	    T(test_writing_goes_on_after_recovery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
