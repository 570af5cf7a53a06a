/* SPDX-License-Identifier: MIT */
/*
 * A disk that fails. Chains of adds: all of one is taken back, or none. Keys:
 * what is not durable waits for the disk, what needs no disk goes on.
 */
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
	static char cache[] = "cache:";
	static char *const prefixes[] = {cache, NULL};
	struct embedded_config c = {.dir = f->dir, .qopts = f->qopts,
	    .keys.volatile_prefixes = prefixes, .payload_cache = 1 << 20, .max_disk = 1 << 30,
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

/* --- news --- */

static void
count_news(void *arg, const struct bh_job_event *ev)
{
	int64_t *count = arg;

	count[ev->id % 64]++;
}

/* What was taken back is no news, what was kept is. */
static void
test_no_news_of_jobs_that_never_were(void **state)
{
	static const struct bh_events events = {.job = count_news};
	struct fix *f = *state;
	int64_t heard[64] = {0}, living = put_living(f);
	struct chain lost[4] = {0}, kept = {0};

	embedded_ops.listen(f->be, &events, heard);
	embedded_ops.watch_jobs(f->be, true);
	faultvfs_fail_all(SQLITE_FULL);
	for (int i = 0; i < 4; i++) {
		add(&lost[i], 0, "q", NULL, BH_UNIQUE_KEEP);
		add(&lost[i], 1, "q", NULL, BH_UNIQUE_KEEP);
	}
	add(&kept, 0, "q", NULL, BH_UNIQUE_KEEP);
	add(&kept, 1, "q", "k", BH_UNIQUE_REPLACE);
	for (int i = 0; i < 2; i++)
		issue(f, &lost[i]);
	issue(f, &kept);
	for (int i = 2; i < 4; i++)
		issue(f, &lost[i]);
	turn_until(f, &lost[3].answered);
	heal(f);
	turn_until(f, &kept.answered);
	assert_int_equal(kept.ids[1], living);
	assert_int_equal(heard[kept.ids[0] % 64], 1);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 2; k++)
			assert_int_equal(heard[lost[i].ids[k] % 64], 0);
	embedded_ops.watch_jobs(f->be, false);
}

/* --- keys --- */

struct ask {
	struct bh_key_command key;	/* first */
	struct bh_bytes argv[4];
	bool answered;
	enum bh_value_type type;
	int64_t i;
	size_t n;
	char text[16];
};

static void
ask_done(struct bh_req *req)
{
	struct ask *a = (struct ask *)req;

	a->answered = true;
	if (req->status != BH_OK)
		return;
	a->type = a->key.value->type;
	a->i = a->key.value->i;
	a->n = a->key.value->n;
	if (a->type == BH_STRING)
		snprintf(a->text, sizeof(a->text), "%.*s",
		    (int)a->key.value->s.len, a->key.value->s.data);
}

static void
ask(struct fix *f, struct ask *a, const char *word, const char *name,
    const char *value)
{
	const char *words[] = {word, name, value, NULL};

	*a = (struct ask){.key = {.req.done = ask_done, .argv = a->argv}};
	for (; words[a->key.argc]; a->key.argc++)
		a->argv[a->key.argc] = (struct bh_bytes){words[a->key.argc],
		    strlen(words[a->key.argc])};
	embedded_ops.turn_begin(f->be, f->wall, f->mono);
	embedded_ops.key_command(f->be, &a->key);
	embedded_ops.turn_end(f->be);
}

static const char *
value_of(struct fix *f, const char *name)
{
	static struct ask a;

	ask(f, &a, "GET", name, NULL);
	turn_until(f, &a.answered);
	return a.text;
}

static void
until_refused(struct fix *f)
{
	struct bh_health h;

	embedded_ops.health(f->be, &h);
	for (int i = 0; h.accepting && i < 2000; i++) {
		turn(f);
		poll(NULL, 0, 5);
		embedded_ops.health(f->be, &h);
	}
	assert_false(h.accepting);
}

static void
test_keys_wait_for_the_disk(void **state)
{
	struct fix *f = *state;
	struct ask set, del, get, late;

	ask(f, &set, "SET", "a", "old");
	turn_until(f, &set.answered);
	ask(f, &set, "SET", "b", "old");
	turn_until(f, &set.answered);
	faultvfs_fail_all(SQLITE_IOERR);
	ask(f, &set, "SET", "a", "new");
	ask(f, &del, "DEL", "b", NULL);
	ask(f, &get, "GET", "a", NULL);
	until_refused(f);
	ask(f, &late, "SET", "c", "x");
	turn_until(f, &late.answered);
	assert_int_equal(late.key.req.status, BH_E_IO);
	assert_false(set.answered || del.answered || get.answered);
	heal(f);
	assert_true(set.answered && del.answered && get.answered);
	assert_int_equal(set.key.req.status, BH_OK);
	assert_int_equal(del.i, 1);
	assert_string_equal(get.text, "new");
	reopen(f);
	assert_string_equal(value_of(f, "a"), "new");
	assert_string_equal(value_of(f, "b"), "");
	assert_string_equal(value_of(f, "c"), "");
}

/* Whatever is on its way to the disk, a cache waits for nothing. */
static void
test_a_cache_needs_no_disk(void **state)
{
	struct fix *f = *state;
	struct ask set, del, a;

	ask(f, &set, "SET", "a", "x");
	turn_until(f, &set.answered);
	faultvfs_fail_all(SQLITE_IOERR);
	ask(f, &del, "DEL", "a", NULL);
	until_refused(f);
	ask(f, &a, "SET", "cache:k", "hot");
	assert_true(a.answered);
	ask(f, &a, "GET", "cache:k", NULL);
	assert_true(a.answered);
	assert_string_equal(a.text, "hot");
	ask(f, &a, "GET", "cache:none", NULL);
	assert_true(a.answered);
	assert_int_equal(a.type, BH_NULL);
	assert_false(del.answered);
	heal(f);
	assert_true(del.answered);
}

/* A reload takes keys away while KEYS walks over them. */
static void
test_a_walk_survives_a_smaller_cache(void **state)
{
	enum { KEYS = 9000 };
	struct fix *f = *state;
	struct keys_limits small = {.cache_bytes = 1};
	struct ask *all = xcalloc(KEYS, sizeof(*all)), walk;
	char (*names)[24] = xcalloc(KEYS, sizeof(*names));

	for (int i = 0; i < KEYS; i++) {
		snprintf(names[i], sizeof(*names), "cache:%d", i);
		ask(f, &all[i], "SET", names[i], "x");
		assert_true(all[i].answered);
	}
	ask(f, &walk, "KEYS", "*", NULL);
	assert_false(walk.answered);
	embedded_set_keys(f->be, &small, 0, false);
	turn_until(f, &walk.answered);
	assert_int_equal(walk.key.req.status, BH_OK);
	assert_int_equal(walk.n, KEYS);
	while (embedded_ops.turn_end(f->be) <= f->mono)
		embedded_ops.turn_begin(f->be, f->wall, f->mono);
	ask(f, &walk, "DBSIZE", NULL, NULL);
	turn_until(f, &walk.answered);
	assert_int_equal(walk.i, 0);
	free(names);
	free(all);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_new_jobs_are_taken_back_together),
	    T(test_a_duplicate_that_changed_nothing_stays),
	    T(test_a_chain_that_changed_a_living_job_waits),
	    T(test_no_news_of_jobs_that_never_were),
	    T(test_keys_wait_for_the_disk),
	    T(test_a_cache_needs_no_disk),
	    T(test_a_walk_survives_a_smaller_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
