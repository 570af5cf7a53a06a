/* SPDX-License-Identifier: MIT */
/* What the outbox has taken is there after a restart, in its order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "redis/outbox.h"

struct box {
	char dir[40];
	struct outbox *o;
	struct outbox_config config;
	/* of the last read */
	struct outbox_entry entries[8];
	char payloads[8][16];
	size_t n;
	bool read;
	bool done;
	struct bh_job job;
	bool found;
};

static void
wake(void)
{
}

static void
open_box(struct box *b)
{
	char err[BH_ERROR_TEXT];

	b->config = (struct outbox_config){.dir = b->dir, .wake = wake,
	    .max_bytes = b->config.max_bytes};
	if (outbox_open(&b->o, &b->config, err) < 0)
		fail_msg("%s", err);
}

static int
setup(void **state)
{
	struct box *b = calloc(1, sizeof(*b));

	snprintf(b->dir, sizeof(b->dir), "/tmp/outbox.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	open_box(b);
	outbox_set(b->o, OUTBOX_NEXT, 100);
	outbox_set(b->o, OUTBOX_END, 110);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	static const char *const names[] = {"", "-wal", "-shm"};
	struct box *b = *state;
	char path[80];

	outbox_close(&b->o);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/outbox.db%s", b->dir,
		    names[i]);
		unlink(path);
	}
	rmdir(b->dir);
	free(b);
	return 0;
}

static int64_t
make_id(void *arg, struct bh_bytes queue, int64_t n)
{
	(void)arg;
	return n * 10 + (int64_t)queue.len;
}

static void
on_done(struct bh_req *req)
{
	((struct box *)req->user)->done = true;
}

static void
wait_done(struct box *b)
{
	while (!b->done)
		(void)outbox_take(b->o);
	b->done = false;
}

static struct bh_bytes
bytes(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

/* Its status; ids go to ids. */
static int
put(struct box *b, const char *queue, size_t n, const char *const *texts,
    int64_t *ids)
{
	struct bh_bytes payloads[8];
	struct bh_put p = {.req = {.done = on_done, .user = b},
	    .queue = bytes(queue), .payloads = payloads, .npayloads = n,
	    .ids = ids};

	for (size_t i = 0; i < n; i++)
		payloads[i] = bytes(texts[i]);
	bh_job_opts_init(&p.opts);
	p.opts.delay_ms = 500;
	p.opts.group = bytes("g");
	p.opts.backoff_factor = 2.5;
	outbox_put(b->o, &p, 1000, make_id, NULL);
	wait_done(b);
	return p.req.status;
}

static int
put_one(struct box *b, const char *text)
{
	int64_t id;

	return put(b, "q", 1, &text, &id);
}

static void
on_read(void *arg, const struct outbox_entry *e, size_t n)
{
	struct box *b = arg;

	b->read = true;
	b->n = n;
	for (size_t i = 0; i < n && i < 8; i++) {
		b->entries[i] = e[i];
		snprintf(b->payloads[i], sizeof(b->payloads[i]), "%.*s",
		    (int)e[i].payload.len, e[i].payload.data);
	}
}

static void
read_all(struct box *b)
{
	b->read = false;
	outbox_read(b->o, 0, on_read, b);
	while (!b->read)
		(void)outbox_take(b->o);
}

static void
jobs_stay_in_order_over_a_restart(void **state)
{
	static const char *const texts[] = {"one", "two", "three"};
	struct box *b = *state;
	int64_t ids[3];

	assert_int_equal(put(b, "abc", 3, texts, ids), BH_OK);
	assert_int_equal(ids[0], 1003);
	assert_int_equal(ids[2], 1023);
	assert_int_equal(outbox_count(b->o), 3);
	outbox_close(&b->o);
	open_box(b);
	assert_int_equal(outbox_count(b->o), 3);
	assert_int_equal(outbox_note(b->o, OUTBOX_NEXT), 103);
	read_all(b);
	assert_int_equal(b->n, 3);
	assert_string_equal(b->payloads[0], "one");
	assert_string_equal(b->payloads[2], "three");
	assert_int_equal(b->entries[1].id, 1013);
	assert_int_equal(b->entries[1].at, 1000);
	assert_int_equal(b->entries[1].opts.delay_ms, 500);
	assert_int_equal(b->entries[1].opts.at, -1);
	assert_int_equal(b->entries[1].opts.priority, -1);
	assert_true(b->entries[1].opts.backoff_factor == 2.5);
	assert_false(b->entries[1].is_finish);
}

static void
a_chain_is_kept_whole_or_not_at_all(void **state)
{
	struct box *b = *state;
	struct bh_bytes text = bytes("x");
	int64_t id[2];
	struct bh_put second = {.queue = bytes("q2"), .payloads = &text,
	    .npayloads = 1, .ids = &id[1]};
	struct bh_put first = {.req = {.done = on_done, .user = b},
	    .queue = bytes("q"), .payloads = &text, .npayloads = 1,
	    .ids = &id[0], .also = &second};

	bh_job_opts_init(&first.opts);
	bh_job_opts_init(&second.opts);
	outbox_set(b->o, OUTBOX_END, 101);
	outbox_put(b->o, &first, 1, make_id, NULL);
	wait_done(b);
	assert_int_equal(first.req.status, BH_E_BACKEND);
	assert_int_equal(outbox_count(b->o), 0);
	outbox_set(b->o, OUTBOX_END, 102);
	outbox_put(b->o, &first, 1, make_id, NULL);
	wait_done(b);
	assert_int_equal(first.req.status, BH_OK);
	assert_int_equal(outbox_count(b->o), 2);
}

static void
what_has_been_forwarded_is_gone(void **state)
{
	struct box *b = *state;

	assert_int_equal(put_one(b, "one"), BH_OK);
	assert_int_equal(put_one(b, "two"), BH_OK);
	read_all(b);
	outbox_drop(b->o, &b->entries[0], 77);
	outbox_close(&b->o);
	open_box(b);
	read_all(b);
	assert_int_equal(b->n, 1);
	assert_string_equal(b->payloads[0], "two");
	assert_int_equal(outbox_alias(b->o, 1001), 77);
	assert_int_equal(outbox_alias(b->o, 1011), 0);
}

static void
ends_of_attempts_go_first(void **state)
{
	struct box *b = *state;
	struct bh_finish f = {.req = {.done = on_done, .user = b}, .id = 9,
	    .token = UINT64_MAX - 1, .outcome = BH_DONE,
	    .result = bytes("{}"), .delay_ms = -1};

	assert_int_equal(put_one(b, "one"), BH_OK);
	outbox_finish(b->o, &f, 1200);
	wait_done(b);
	assert_int_equal(f.req.status, BH_OK);
	assert_int_equal(f.state, BH_COMPLETED);
	assert_int_equal(outbox_ends(b->o), 1);
	read_all(b);
	assert_int_equal(b->n, 1);
	assert_true(b->entries[0].is_finish);
	assert_true(b->entries[0].token == UINT64_MAX - 1);
	assert_int_equal(b->entries[0].outcome, BH_DONE);
	assert_int_equal(b->entries[0].delay_ms, -1);
	assert_int_equal(b->entries[0].id, 9);
	outbox_drop(b->o, &b->entries[0], 0);
	assert_int_equal(outbox_ends(b->o), 0);
	read_all(b);
	assert_int_equal(b->n, 1);
	assert_string_equal(b->payloads[0], "one");
}

static void
max_disk_refuses_new_jobs(void **state)
{
	struct box *b = *state;
	struct bh_finish f = {.req = {.done = on_done, .user = b}, .id = 9};

	outbox_close(&b->o);
	b->config.max_bytes = 1;
	open_box(b);
	assert_int_equal(put_one(b, "one"), BH_E_DISKFULL);
	/* What is at work may end. */
	outbox_finish(b->o, &f, 1200);
	wait_done(b);
	assert_int_equal(f.req.status, BH_OK);
	outbox_close(&b->o);
	b->config.max_bytes = 0;
	open_box(b);
	assert_int_equal(put_one(b, "one"), BH_OK);
}

static void
on_get(struct bh_req *req)
{
	struct bh_get *g = (struct bh_get *)req;
	struct box *b = req->user;

	b->done = true;
	b->found = g->job != NULL;
	if (!g->job)
		return;
	b->job = *g->job;
	snprintf(b->payloads[0], sizeof(b->payloads[0]), "%.*s",
	    (int)g->job->payload.len, g->job->payload.data);
}

static void
a_job_is_shown_while_it_waits(void **state)
{
	struct box *b = *state;
	struct bh_get g = {.req = {.done = on_get, .user = b}, .id = 1001};

	assert_int_equal(put_one(b, "one"), BH_OK);
	outbox_get(b->o, &g, 1200);
	wait_done(b);
	assert_true(b->found);
	assert_string_equal(b->payloads[0], "one");
	assert_int_equal(b->job.state, BH_DELAYED);
	assert_int_equal(b->job.run_at, 1500);
	g.id = 5;
	outbox_get(b->o, &g, 1200);
	wait_done(b);
	assert_false(b->found);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(jobs_stay_in_order_over_a_restart),
		CASE(a_chain_is_kept_whole_or_not_at_all),
		CASE(what_has_been_forwarded_is_gone),
		CASE(ends_of_attempts_go_first),
		CASE(max_disk_refuses_new_jobs),
		CASE(a_job_is_shown_while_it_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
