/* SPDX-License-Identifier: MIT */
/* What the host tells backends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "front/host_store.h"

static char dir[64];
static struct qopts *qopts;

static const char *
state_dir(void)
{
	return dir;
}

static int
setup(void **state)
{
	struct bh_host *api = xcalloc(1, sizeof(*api));

	strcpy(dir, "/tmp/bellhop-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	qopts = qopts_new();
	host_store_init(api, qopts, state_dir);
	*state = api;
	return 0;
}

static int
teardown(void **state)
{
	host_store_done();
	qopts_free(&qopts);
	rmdir(dir);
	free(*state);
	return 0;
}

static void
options_of_a_queue_are_those_in_force(void **state)
{
	const struct bh_host *api = *state;
	struct bh_queue_opts o;

	api->queue_options("q", &o);
	assert_int_equal(o.max_active, 0);
	assert_int_equal(o.attempts, 12);
	queue_opts_init(&o);
	o.max_active = 3;
	qopts_config_add(qopts, "q", &o);
	api->queue_options("q", &o);
	assert_int_equal(o.max_active, 3);
}

static void
an_instance_keeps_its_id(void **state)
{
	const struct bh_host *api = *state;
	char err[BH_ERROR_TEXT] = "", first[32], *path;
	const char *id;
	FILE *f;

	path = xasprintf("%s/instance", dir);
	f = fopen(path, "w");
	fputs("hello\n", f);
	fclose(f);
	assert_null(api->instance(err));
	assert_non_null(strstr(err, "instance: not 16 hexadecimal digits"));
	unlink(path);
	id = api->instance(err);
	assert_non_null(id);
	assert_int_equal(strlen(id), 16);
	snprintf(first, sizeof(first), "%s", id);
	/* As a new process has it. */
	host_store_done();
	host_store_init(*state, qopts, state_dir);
	assert_string_equal(api->instance(err), first);
	unlink(path);
	free(path);
}

static void
errors_fold(void **state)
{
	const struct bh_host *api = *state;
	struct bh_bytes a = {"order 17 failed", 15}, b = {"order 4 failed", 14};
	char out[64];

	assert_int_equal(api->fold(a, out, sizeof(out)), 14);
	assert_string_equal(out, "order # failed");
	assert_true(api->fingerprint(a) == api->fingerprint(b));
}

#define MINUTE INT64_C(60000)

static void
a_schedule_has_its_time(void **state)
{
	const struct bh_host *api = *state;
	const struct bh_schedule_time *t = api->schedules;
	struct bh_schedule s = {.cron = {"* * * * *", 9}};
	struct bh_schedule_clock c;
	struct bh_tick_plan p;
	char err[BH_ERROR_TEXT] = "";

	assert_int_equal(t->check(&s, 0, err), 0);
	t->begin(&s, &c, 100 * MINUTE + 1, 0);
	assert_int_equal(c.due, 101 * MINUTE);
	assert_false(t->plan(&s, &c, 101 * MINUTE - 1, 0, &p));
	assert_true(t->plan(&s, &c, 101 * MINUTE, 0, &p));
	assert_int_equal(p.outcome, BH_TICK_RAN);
	assert_int_equal(p.due_wall, 101 * MINUTE);
	t->dealt(&s, &c, &p, 101 * MINUTE);
	assert_false(t->plan(&s, &c, 101 * MINUTE, 0, &p));
	/* Two are missed: skip notes both, all makes up for both. */
	s.misfire = BH_MISFIRE_SKIP;
	for (int i = 0; i < 2; i++) {
		assert_true(t->plan(&s, &c, 103 * MINUTE + 9000, 0, &p));
		assert_int_equal(p.outcome, BH_TICK_SKIPPED);
		assert_int_equal(p.due, (102 + i) * MINUTE);
		t->dealt(&s, &c, &p, 103 * MINUTE + 9000);
	}
	assert_false(t->plan(&s, &c, 103 * MINUTE + 9000, 0, &p));
	s.misfire = BH_MISFIRE_ALL;
	for (int i = 0; i < 2; i++) {
		assert_true(t->plan(&s, &c, 105 * MINUTE + 9000, 0, &p));
		assert_int_equal(p.outcome, BH_TICK_LATE);
		assert_true(p.made_up);
		t->dealt(&s, &c, &p, 105 * MINUTE + 9000);
	}
	assert_int_equal(c.due, 106 * MINUTE);
}

static void
a_clock_far_behind_is_doubted(void **state)
{
	const struct bh_host *api = *state;
	const struct bh_schedule_time *t = api->schedules;
	struct bh_schedule s = {.cron = {"* * * * *", 9}};
	struct bh_schedule_clock c;
	struct bh_tick_plan p;

	t->begin(&s, &c, 10000 * MINUTE, 0);
	assert_false(t->look(&s, &c, 9000 * MINUTE));
	assert_true(t->look(&s, &c, 100 * MINUTE));
	assert_true(c.doubt);
	assert_false(t->plan(&s, &c, 20000 * MINUTE, 0, &p));
	t->accept(&s, &c);
	assert_int_equal(c.due, 101 * MINUTE);
	s.cron = (struct bh_bytes){"never", 5};
	t->renew(&s, &c);
	assert_true(c.due == INT64_MAX);
}

#define HOSTED(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		HOSTED(options_of_a_queue_are_those_in_force),
		HOSTED(an_instance_keeps_its_id),
		HOSTED(errors_fold),
		HOSTED(a_schedule_has_its_time),
		HOSTED(a_clock_far_behind_is_doubted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
