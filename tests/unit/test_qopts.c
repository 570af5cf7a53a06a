/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/qopts.h"
#include "plugin.h"

static int
set_up(void **state)
{
	*state = qopts_new();
	return 0;
}

static int
tear_down(void **state)
{
	struct qopts *q = *state;

	qopts_free(&q);
	return q != NULL;
}

static void
the_defaults_hold_alone(void **state)
{
	struct bh_queue_opts o;

	qopts_resolve(*state, "any", &o);
	assert_true(o.weight == 1 && o.strict == 0 && o.concurrency == 10);
	assert_true(o.max_active == 0 && o.max_waiting == 0);
	assert_true(o.rate_limit == 0 && o.rate_burst == 0);
	assert_true(o.rate_by == BH_RATE_BY_QUEUE && o.rate_per_ms > 0);
	assert_true(o.group_concurrency == 1);
	assert_true(o.group_order == BH_GROUP_STRICT);
	assert_true(o.retain_completed_ms == 86400000);
	assert_true(o.retain_completed_count == 1000);
	assert_true(o.retain_failed_ms == INT64_C(2592000000));
	assert_true(o.retain_failed_count == 10000);
	assert_string_equal(o.dead_letter, "");
	assert_true(o.attempts == 12 && o.backoff_ms == 5000);
	assert_true(o.backoff_type == BH_BACKOFF_EXPONENTIAL);
	assert_true(o.backoff_factor == 3 && o.backoff_jitter == 0.2);
	assert_true(o.backoff_max_ms == 21600000);
	assert_true(o.timeout_ms == 60000 && o.lease_ms == 30000);
	assert_true(o.max_stalled == 2 && o.callbacks == 0);
}

static void
configuration_beats_script_beats_default(void **state)
{
	struct bh_queue_opts config, script, o;

	queue_opts_init(&config);
	config.concurrency = 3;
	config.max_stalled = 0;
	queue_opts_init(&script);
	script.concurrency = 7;
	script.timeout_ms = 9000;
	script.backoff_jitter = 0;
	script.callbacks = 1 << BH_ON_FAILED;
	qopts_config_add(*state, "mail", &config);
	qopts_script_set(*state, "mail", &script);
	qopts_resolve(*state, "mail", &o);
	assert_int_equal(o.concurrency, 3);
	assert_int_equal(o.max_stalled, 0);
	assert_int_equal(o.timeout_ms, 9000);
	assert_true(o.backoff_jitter == 0);
	assert_int_equal(o.callbacks, 1 << BH_ON_FAILED);
	assert_int_equal(o.attempts, 12);
	qopts_resolve(*state, "post", &o);
	assert_int_equal(o.concurrency, 10);
}

static void
the_first_match_counts(void **state)
{
	struct bh_queue_opts a, b, o;

	queue_opts_init(&a);
	a.weight = 5;
	queue_opts_init(&b);
	b.weight = 7;
	b.concurrency = 2;
	qopts_config_add(*state, "out.*", &a);
	qopts_config_add(*state, "*", &b);
	qopts_resolve(*state, "out.mail", &o);
	assert_int_equal(o.weight, 5);
	assert_int_equal(o.concurrency, 10);
	qopts_resolve(*state, "out", &o);
	assert_int_equal(o.weight, 7);
	qopts_config_clear(*state);
	qopts_resolve(*state, "out", &o);
	assert_int_equal(o.weight, 1);
}

static void
burst_is_the_limit_unless_said(void **state)
{
	struct bh_queue_opts s, o;

	queue_opts_init(&s);
	s.rate_limit = 80;
	s.rate_per_ms = 60000;
	qopts_script_set(*state, "q", &s);
	qopts_resolve(*state, "q", &o);
	assert_int_equal(o.rate_burst, 80);
	s.rate_burst = 20;
	s.rate_by = BH_RATE_BY_GROUP;
	qopts_script_set(*state, "q", &s);
	qopts_resolve(*state, "q", &o);
	assert_true(o.rate_burst == 20 && o.rate_by == BH_RATE_BY_GROUP);
}

static void
a_rate_is_one_option(void **state)
{
	struct bh_queue_opts config, script, o;

	queue_opts_init(&script);
	script.rate_limit = 80;
	script.rate_per_ms = 60000;
	script.rate_burst = 500;
	script.rate_by = BH_RATE_BY_GROUP;
	queue_opts_init(&config);
	config.rate_limit = 1;
	config.rate_per_ms = 1000;
	qopts_script_set(*state, "q", &script);
	qopts_config_add(*state, "q", &config);
	qopts_resolve(*state, "q", &o);
	assert_true(o.rate_limit == 1 && o.rate_per_ms == 1000);
	assert_true(o.rate_burst == 1 && o.rate_by == BH_RATE_BY_QUEUE);
	/* A limit of 0 takes the script's away. */
	qopts_config_clear(*state);
	config.rate_limit = 0;
	qopts_config_add(*state, "q", &config);
	qopts_resolve(*state, "q", &o);
	assert_int_equal(o.rate_limit, 0);
}

static void
dead_letter_falls_through(void **state)
{
	struct bh_queue_opts config, script, o;

	queue_opts_init(&script);
	strcpy(script.dead_letter, "of-script");
	queue_opts_init(&config);
	qopts_script_set(*state, "q", &script);
	qopts_config_add(*state, "q", &config);
	qopts_resolve(*state, "q", &o);
	assert_string_equal(o.dead_letter, "of-script");
	qopts_config_clear(*state);
	strcpy(config.dead_letter, "of-config");
	qopts_config_add(*state, "q", &config);
	qopts_resolve(*state, "q", &o);
	assert_string_equal(o.dead_letter, "of-config");
}

static void
scripts_come_and_go(void **state)
{
	struct bh_queue_opts s, o;
	char name[16];

	queue_opts_init(&s);
	for (int i = 0; i < 100; i++) {
		s.weight = 1 + i;
		snprintf(name, sizeof(name), "q%d", i * 37 % 100);
		qopts_script_set(*state, name, &s);
	}
	for (int i = 0; i < 100; i += 2) {
		snprintf(name, sizeof(name), "q%d", i * 37 % 100);
		qopts_script_set(*state, name, NULL);
	}
	qopts_script_set(*state, "unknown", NULL);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "q%d", i * 37 % 100);
		qopts_resolve(*state, name, &o);
		assert_int_equal(o.weight, i % 2 ? 1 + i : 1);
	}
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_defaults_hold_alone),
		T(configuration_beats_script_beats_default),
		T(the_first_match_counts),
		T(burst_is_the_limit_unless_said),
		T(a_rate_is_one_option),
		T(dead_letter_falls_through),
		T(scripts_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
