/* SPDX-License-Identifier: MIT */
/* Chains of adds on a disk that fails: all of one is taken back, or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "backend/embedded.h"
#include "base/xalloc.h"
#include "lib/faultvfs.h"

#define PATIENCE_MS 20000

struct fix {
	char dir[64];
	struct qopts *qopts;
	void *be;
	int fd;				/* an eventfd */
	int64_t wall, mono;
};

/* A chain of n adds of one job each. */
struct chain {
	struct bh_put put[4];		/* first */
	struct bh_bytes payload;
	int64_t ids[4];
	bool answered;
};

static void
wake(void *arg)
{
	uint64_t one = 1;

	if (write(((struct fix *)arg)->fd, &one, sizeof(one)) < 0)
		return;
}

static void
open_store(struct fix *f)
{
	struct embedded_config c = {.dir = f->dir, .qopts = f->qopts,
	    .payload_cache = 1 << 20, .max_disk = 1 << 30,
	    .max_queues = 100, .wake = wake, .wake_arg = f, .vfs = "fault"};
	struct err e = ERR_INIT;

	if (embedded_open(&f->be, &c, &e) < 0)
		fail_msg("%s", e.text);
}

static int
setup(void **state)
{
	struct fix *f = xcalloc(1, sizeof(*f));

	faultvfs_register();
	faultvfs_reset();
	strcpy(f->dir, "/tmp/bellhop-back-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->qopts = qopts_new();
	f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->wall = INT64_C(1790000000000);
	f->mono = 1000000;
	open_store(f);
	*state = f;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	struct fix *f = *state;

	faultvfs_reset();
	embedded_ops.close(f->be);
	qopts_free(&f->qopts);
	close(f->fd);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void
turn(struct fix *f)
{
	embedded_ops.turn_begin(f->be, f->wall, f->mono);
	embedded_ops.turn_end(f->be);
}

/* Turns until *flag; time passes only while nothing happens by itself. */
static void
turn_until(struct fix *f, const bool *flag)
{
	struct pollfd p = {.fd = f->fd, .events = POLLIN};
	int waited = 0;
	uint64_t n;

	for (turn(f); !*flag; turn(f)) {
		if (poll(&p, 1, 10) > 0 && read(f->fd, &n, sizeof(n)) > 0)
			continue;
		f->mono += 100;
		f->wall += 100;
		waited += 10;
		assert_true(waited < PATIENCE_MS);
	}
}

static void
chain_done(struct bh_req *req)
{
	((struct chain *)req)->answered = true;
}

/* Fills number i; key may be NULL. */
static void
add(struct chain *c, int i, const char *queue, const char *key,
    enum bh_unique_mode mode)
{
	struct bh_put *p = &c->put[i];

	c->payload = (struct bh_bytes){"new", 3};
	p->queue = (struct bh_bytes){queue, strlen(queue)};
	p->payloads = &c->payload;
	p->npayloads = 1;
	p->ids = &c->ids[i];
	bh_job_opts_init(&p->opts);
	if (key)
		p->opts.unique = (struct bh_bytes){key, strlen(key)};
	if (key)
		p->opts.unique_mode = (int8_t)mode;
	if (i > 0)
		c->put[i - 1].also = p;
}

static void
issue(struct fix *f, struct chain *c)
{
	c->put[0].req.done = chain_done;
	embedded_ops.turn_begin(f->be, f->wall, f->mono);
	embedded_ops.job_put(f->be, &c->put[0]);
	embedded_ops.turn_end(f->be);
}

struct look {
	struct bh_get get;		/* first */
	bool answered, found;
	char payload[16];
};

static void
look_done(struct bh_req *req)
{
	struct look *l = (struct look *)req;

	l->answered = true;
	l->found = req->status == BH_OK && l->get.job;
	if (l->found)
		snprintf(l->payload, sizeof(l->payload), "%.*s",
		    (int)l->get.job->payload.len, l->get.job->payload.data);
}

/* "" when it does not exist. */
static const char *
payload_of(struct fix *f, int64_t id)
{
	static struct look l;

	l = (struct look){.get = {.req.done = look_done, .id = id,
	    .wait_ms = -1}};
	embedded_ops.turn_begin(f->be, f->wall, f->mono);
	embedded_ops.job_get(f->be, &l.get);
	embedded_ops.turn_end(f->be);
	turn_until(f, &l.answered);
	return l.payload;
}

static int64_t
put_living(struct fix *f)
{
	struct chain c = {0};

	add(&c, 0, "q", "k", BH_UNIQUE_KEEP);
	c.payload = (struct bh_bytes){"old", 3};
	issue(f, &c);
	turn_until(f, &c.answered);
	assert_int_equal(c.put[0].req.status, BH_OK);
	return c.ids[0];
}

static void
heal(struct fix *f)
{
	bool idle = false;
	int i;

	faultvfs_fail_all(0);
	for (i = 0; !idle && i < 2000; i++) {
		f->mono += 100;
		f->wall += 100;
		turn(f);
		idle = embedded_ops.idle(f->be);
		if (!idle)
			poll(NULL, 0, 5);
	}
	assert_true(idle);
}

static void
reopen(struct fix *f)
{
	embedded_ops.close(f->be);
	open_store(f);
}

static void
test_new_jobs_are_taken_back_together(void **state)
{
	struct fix *f = *state;
	struct chain c = {0};
	int i;

	put_living(f);
	add(&c, 0, "q", NULL, BH_UNIQUE_KEEP);
	add(&c, 1, "p", "x", BH_UNIQUE_KEEP);
	add(&c, 2, "p", "x", BH_UNIQUE_REPLACE);	/* of this chain */
	add(&c, 3, "r", NULL, BH_UNIQUE_KEEP);
	faultvfs_fail_all(SQLITE_FULL);
	issue(f, &c);
	turn_until(f, &c.answered);
	assert_int_equal(c.put[0].req.status, BH_E_DISKFULL);
	heal(f);
	reopen(f);
	for (i = 0; i < 4; i++)
		assert_string_equal(payload_of(f, c.ids[i]), "");
}

static void
test_a_duplicate_that_changed_nothing_stays(void **state)
{
	struct fix *f = *state;
	struct chain c = {0};
	int64_t living = put_living(f);

	add(&c, 0, "q", NULL, BH_UNIQUE_KEEP);
	add(&c, 1, "q", "k", BH_UNIQUE_KEEP);
	faultvfs_fail_all(SQLITE_IOERR);
	issue(f, &c);
	turn_until(f, &c.answered);
	assert_int_equal(c.put[0].req.status, BH_E_IO);
	assert_int_equal(c.ids[1], living);
	heal(f);
	reopen(f);
	assert_string_equal(payload_of(f, c.ids[0]), "");
	assert_string_equal(payload_of(f, living), "old");
}

/* What it changed cannot be undone, so all of it waits for the disk. */
static void
test_a_chain_that_changed_a_living_job_waits(void **state)
{
	struct fix *f = *state;
	struct chain c = {0};
	struct bh_health h;
	int64_t living = put_living(f);
	int i;

	add(&c, 0, "q", NULL, BH_UNIQUE_KEEP);
	add(&c, 1, "q", "k", BH_UNIQUE_REPLACE);
	faultvfs_fail_all(SQLITE_FULL);
	issue(f, &c);
	embedded_ops.health(f->be, &h);
	for (i = 0; h.accepting && i < 2000; i++) {
		turn(f);
		poll(NULL, 0, 5);
		embedded_ops.health(f->be, &h);
	}
	assert_false(h.accepting);
	turn(f);
	assert_false(c.answered);
	heal(f);
	turn_until(f, &c.answered);
	assert_int_equal(c.put[0].req.status, BH_OK);
	assert_true(c.put[1].duplicate);
	reopen(f);
	assert_string_equal(payload_of(f, c.ids[0]), "new");
	assert_string_equal(payload_of(f, living), "new");
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_new_jobs_are_taken_back_together),
	    T(test_a_duplicate_that_changed_nothing_stays),
	    T(test_a_chain_that_changed_a_living_job_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
