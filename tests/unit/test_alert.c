/* SPDX-License-Identifier: MIT */
/* When alerts begin and end: src/cmd/alert*.c, on a backend made of figures
 * and a clock that is turned by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "cmd/alert.h"

#define START 1700000000000

struct desk {
	struct cmd_env env;
	struct conf *conf;
	struct alerts *alerts;
	int64_t wall, mono;
	struct bh_queue_stats q[3];
	size_t nq;
	struct bh_error_group errors[4];
	size_t nerrors;
	struct bh_schedule schedules[1];
	size_t nschedules;
	struct bh_health health;
	struct bh_req *asked;
	int rounds, refuse;
	char told[2000];		/* queue=rule state, … */
};

static void
be_stats(void *be, struct bh_stats *r)
{
	struct desk *d = be;

	assert_null(d->asked);
	d->asked = &r->req;
	if (r->errors) {
		r->groups = d->errors;
		r->ngroups = d->nerrors;
		return;
	}
	d->rounds++;
	r->queues = d->q;
	r->nqueues = d->nq;
}

static void
be_schedules(void *be, struct bh_schedule_list *r)
{
	struct desk *d = be;

	assert_null(d->asked);
	d->asked = &r->req;
	r->schedules = d->schedules;
	r->nschedules = d->nschedules;
}

/* The value of a string member; good enough for what stands there. */
static void
member(const char *json, const char *name, char *out, size_t size)
{
	char key[40];
	const char *p;

	snprintf(key, sizeof(key), "\"%s\":\"", name);
	p = strstr(json, key);
	assert_non_null(p);
	p += strlen(key);
	snprintf(out, size, "%.*s", (int)strcspn(p, "\""), p);
}

static void
be_put(void *be, struct bh_put *r)
{
	struct desk *d = be;
	char *json = xstrndup(r->payloads[0].data, r->payloads[0].len);
	char rule[40], state[40];
	size_t at = strlen(d->told);

	member(json, "alert", rule, sizeof(rule));
	member(json, "state", state, sizeof(state));
	free(json);
	r->ids[0] = 1;
	r->req.status = BH_OK;
	if (d->refuse) {
		r->req.status = BH_E_DISKFULL;
		strcpy(r->req.text, "the disk budget is used up");
	} else {
		snprintf(d->told + at, sizeof(d->told) - at, "%s%.*s=%s %s",
		    at ? ", " : "", (int)r->queue.len, r->queue.data, rule,
		    state);
		d->health.commits_total++;
	}
	r->req.done(&r->req);
}

static void
be_health(void *be, struct bh_health *ret)
{
	*ret = ((struct desk *)be)->health;
}

static const struct bh_backend_ops ops = {
	.job_put = be_put,
	.queue_stats = be_stats,
	.schedule_list = be_schedules,
	.health = be_health,
};

static int
setup(void **state)
{
	struct desk *d = xcalloc(1, sizeof(*d));

	log_set_level(LOG_ERROR);
	d->conf = conf_new();
	free(d->conf->alerts_queue);
	d->conf->alerts_queue = xstrdup("alerts");
	free(d->conf->state_dir);
	d->conf->state_dir = xstrdup("/");
	d->conf->alerts_disk = d->conf->alerts_memory = 0;
	d->env = (struct cmd_env){.ops = &ops, .be = d, .conf = d->conf,
	    .started_at = START};
	d->wall = START;
	d->mono = 1000000;
	d->health.accepting = true;
	d->alerts = alerts_new(&d->env);
	*state = d;
	return 0;
}

static int
teardown(void **state)
{
	struct desk *d = *state;

	alerts_free(&d->alerts);
	conf_free(&d->conf);
	free(d);
	return 0;
}

/* Turns until nothing is asked any more; when it wants to be called next. */
static int64_t
turn(struct desk *d)
{
	int64_t next = alerts_turn(d->alerts, d->wall, d->mono);

	while (d->asked) {
		struct bh_req *req = d->asked;

		d->asked = NULL;
		req->status = BH_OK;
		req->done(req);
		next = alerts_turn(d->alerts, d->wall, d->mono);
	}
	return next;
}

/* Something was committed, and so much time has passed. */
static void
after(struct desk *d, int64_t ms)
{
	d->health.commits_total++;
	d->wall += ms;
	d->mono += ms;
	turn(d);
}

static struct bh_queue_stats *
queue(struct desk *d, const char *name)
{
	struct bh_queue_stats *q = &d->q[d->nq++];

	q->name = (struct bh_bytes){name, strlen(name)};
	return q;
}

static size_t
count_on(const struct desk *d)
{
	struct alert_info i;
	size_t n = 0;

	while (alerts_at(d->alerts, n, &i))
		n++;
	return n;
}

static void
test_depth_is_told_once_and_its_end_once(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q = queue(d, "mail");
	struct alert_info i;

	turn(d);
	assert_int_equal(d->rounds, 1);
	q->count[BH_WAITING] = 1000;
	after(d, 15000);
	assert_int_equal(count_on(d), 0);
	q->count[BH_WAITING] = 1001;
	after(d, 15000);
	assert_true(alerts_at(d->alerts, 0, &i));
	assert_string_equal(i.rule, "queue_depth");
	assert_string_equal(i.kind, "queue");
	assert_string_equal(i.subject, "mail");
	assert_string_equal(i.text, "1001 jobs wait in queue mail");
	assert_int_equal(i.value, 1001);
	assert_int_equal(i.limit, 1000);
	assert_int_equal(i.since, d->wall);
	q->count[BH_WAITING] = 5000;
	after(d, 15000);
	after(d, 15000);
	assert_string_equal(d->told, "alerts=queue_depth firing");
	q->count[BH_WAITING] = 3;
	after(d, 15000);
	after(d, 15000);
	assert_string_equal(d->told,
	    "alerts=queue_depth firing, alerts=queue_depth resolved");
	assert_int_equal(count_on(d), 0);
}

static void
test_what_comes_and_goes_is_told_once_a_minute(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q = queue(d, "mail");
	int n;

	d->conf->alerts_interval = 1000;
	turn(d);
	for (n = 0; n < 60; n++) {
		q->count[BH_WAITING] = n % 2 ? 0 : 2000;
		after(d, 1000);
	}
	assert_string_equal(d->told,
	    "alerts=queue_depth firing, alerts=queue_depth resolved");
	q->count[BH_WAITING] = 2000;
	after(d, 2000);
	assert_non_null(strstr(d->told, "resolved, alerts=queue_depth firing"));
}

static void
test_oldest_waiting_needs_no_activity(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q = queue(d, "mail");
	int64_t next;

	turn(d);
	q->count[BH_WAITING] = 1;
	q->oldest_waiting_ms = 1000;
	after(d, 15000);
	next = turn(d);
	assert_in_range(next - d->mono, 290000, 300000);
	d->wall += next - d->mono;
	d->mono = next;
	q->oldest_waiting_ms = 300001;
	next = turn(d);
	assert_string_equal(d->told, "alerts=oldest_waiting firing");
	/* Nothing more can come of time alone. */
	assert_int_equal(next, INT64_MAX);
}

static void
test_idle_daemon_is_not_woken(void **state)
{
	struct desk *d = *state;
	int64_t next;

	queue(d, "mail")->count[BH_DELAYED] = 10000;
	next = turn(d);
	assert_int_equal(next, INT64_MAX);
	assert_int_equal(d->rounds, 1);
	/* A commit: one more round, not before the interval is over. */
	d->health.commits_total++;
	d->mono += 5000;
	next = turn(d);
	assert_int_equal(next, d->mono + 10000);
	assert_int_equal(d->rounds, 1);
	d->mono = next;
	assert_int_equal(turn(d), INT64_MAX);
	assert_int_equal(d->rounds, 2);
}

static void
test_failed_rate_of_the_last_five_minutes(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q = queue(d, "mail");
	int n;

	/* What was before the start does not count. */
	d->conf->alerts_new_error = false;
	q->processed_total = 1000;
	q->failed_total = 900;
	turn(d);
	assert_int_equal(count_on(d), 0);
	q->processed_total += 19;
	q->failed_total += 19;
	after(d, 15000);
	assert_int_equal(count_on(d), 0);
	q->processed_total += 1;
	after(d, 15000);
	assert_string_equal(d->told, "alerts=failed_rate firing");
	/* Good ones dilute it, and time forgets. */
	for (n = 0; n < 25; n++) {
		q->processed_total += 10;
		after(d, 15000);
	}
	assert_string_equal(d->told,
	    "alerts=failed_rate firing, alerts=failed_rate resolved");
}

static void
test_rate_of_a_queue_that_came_later(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q;

	d->conf->alerts_new_error = false;
	turn(d);
	q = queue(d, "new");
	q->processed_total = 20;
	q->failed_total = 1;
	q->retried_total = 1;
	after(d, 15000);
	assert_string_equal(d->told, "alerts=failed_rate firing");
}

static void
test_new_error_is_told_once_and_old_ones_never(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q = queue(d, "mail");
	struct alert_info i;

	d->errors[d->nerrors++] = (struct bh_error_group){.fingerprint = 1,
	    .count = 5, .first_at = START - 5, .last_at = START + 5,
	    .sample_id = 7, .text = {"old", 3}};
	q->failed_total = q->count[BH_FAILED] = 5;
	turn(d);
	assert_string_equal(d->told, "");
	d->errors[d->nerrors++] = (struct bh_error_group){.fingerprint = 2,
	    .count = 1, .first_at = START + 10, .last_at = START + 10,
	    .sample_id = 8, .text = {"the printer burns", 17}};
	q->failed_total = q->count[BH_FAILED] = 6;
	after(d, 15000);
	assert_string_equal(d->told, "alerts=new_error firing");
	assert_true(alerts_at(d->alerts, 0, &i));
	assert_string_equal(i.text,
	    "a new error in queue mail, job 8: the printer burns");
	/* More of it is nothing new; quiet ends it; then it is known. */
	d->errors[1].last_at = d->wall + 10000;
	q->failed_total = q->count[BH_FAILED] = 7;
	after(d, 15000);
	after(d, 14 * 60000);
	assert_string_equal(d->told, "alerts=new_error firing");
	after(d, 60000);
	assert_non_null(strstr(d->told, "new_error resolved"));
	d->errors[1].last_at = d->wall;
	q->failed_total = q->count[BH_FAILED] = 8;
	after(d, 60000);
	assert_int_equal(count_on(d), 0);
	/* Purged and back again: new. */
	d->nerrors = 0;
	q->count[BH_FAILED] = 0;
	after(d, 60000);
	d->errors[0] = d->errors[1];
	d->nerrors = 1;
	d->errors[0].first_at = d->errors[0].last_at = d->wall;
	q->failed_total = 9;
	q->count[BH_FAILED] = 1;
	after(d, 60000);
	assert_int_equal(count_on(d), 1);
}

static void
test_schedule_that_missed_its_time(void **state)
{
	struct desk *d = *state;
	struct bh_tick tick = {.due = START, .outcome = BH_TICK_RAN};

	d->schedules[0].name = (struct bh_bytes){"night", 5};
	d->schedules[0].ticks = &tick;
	d->schedules[0].nticks = 1;
	d->nschedules = 1;
	turn(d);
	assert_string_equal(d->told, "");
	tick.outcome = BH_TICK_LATE;
	after(d, 15000);
	assert_string_equal(d->told, "alerts=schedule_missed firing");
	tick.outcome = BH_TICK_RAN;
	after(d, 15000);
	assert_non_null(strstr(d->told, "schedule_missed resolved"));
}

static void
test_disk_and_backend(void **state)
{
	struct desk *d = *state;
	struct alert_info i;

	d->conf->alerts_disk = 80;
	d->health.disk_limit = 1000;
	d->health.db_bytes = 700;
	d->health.wal_bytes = 110;
	turn(d);
	assert_true(alerts_at(d->alerts, 0, &i));
	assert_string_equal(i.text, "the database uses 81 % of max_disk");
	d->health.db_bytes = 10;
	d->conf->alerts_disk = 100;
	d->health.accepting = false;
	strcpy(d->health.text, "the disk is full");
	d->refuse = 1;
	after(d, 15000);
	assert_non_null(strstr(d->told, "disk firing"));
	assert_null(strstr(d->told, "backend"));
	/* What could not be stored is told later. */
	d->refuse = 0;
	after(d, 15000);
	assert_non_null(strstr(d->told, "backend firing"));
	assert_non_null(strstr(d->told, "disk resolved"));
	assert_int_equal(count_on(d), 1);
}

static void
test_webhook_and_mail_are_jobs_too(void **state)
{
	struct desk *d = *state;

	free(d->conf->alerts_webhook);
	free(d->conf->alerts_mail);
	d->conf->alerts_webhook = xstrdup("https://example.org/");
	d->conf->alerts_mail = xstrdup("ops@example.org");
	queue(d, "a")->count[BH_WAITING] = 2000;
	queue(d, "alerts")->count[BH_WAITING] = 2000;
	queue(d, ALERT_QUEUE)->count[BH_WAITING] = 2000;
	turn(d);
	/* The way out does not tell of itself. */
	assert_int_equal(count_on(d), 3);
	assert_string_equal(d->told, "alerts=queue_depth firing, "
	    "bellhop.alerts=queue_depth firing, "
	    "bellhop.alerts=queue_depth firing");
}

static void
test_repeat_tells_again_what_lasts(void **state)
{
	struct desk *d = *state;

	d->conf->alerts_repeat = 3600000;
	d->conf->alerts_oldest_waiting = 0;
	queue(d, "a")->count[BH_WAITING] = 2000;
	turn(d);
	after(d, 3000000);
	assert_string_equal(d->told, "alerts=queue_depth firing");
	assert_int_equal(turn(d), 1000000 + 3600000);
	d->mono = 1000000 + 3600000;
	turn(d);
	assert_string_equal(d->told,
	    "alerts=queue_depth firing, alerts=queue_depth firing");
}

static void
test_zero_switches_a_rule_off(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats *q = queue(d, "a");

	d->conf->alerts_queue_depth = d->conf->alerts_oldest_waiting =
	    d->conf->alerts_failed_rate = 0;
	d->conf->alerts_new_error = d->conf->alerts_backend = false;
	turn(d);
	d->health.accepting = false;
	q->count[BH_WAITING] = q->count[BH_FAILED] = 1 << 20;
	q->oldest_waiting_ms = 1 << 30;
	q->processed_total = q->failed_total = 1000;
	after(d, 15000);
	assert_int_equal(count_on(d), 0);
}

/* The answer to what a round asks comes when the disk works again. */
static void
test_a_store_that_fails_is_told_at_once(void **state)
{
	struct desk *d = *state;

	d->health.accepting = false;
	strcpy(d->health.text, "the disk fails");
	alerts_turn(d->alerts, d->wall, d->mono);
	assert_non_null(d->asked);
	assert_int_equal(count_on(d), 0);
	d->refuse = 1;
	alerts_turn(d->alerts, d->wall, d->mono);
	assert_int_equal(count_on(d), 1);
	assert_non_null(d->asked);
	d->refuse = 0;
	d->health.accepting = true;
	turn(d);
	after(d, 15000);
	assert_int_equal(count_on(d), 0);
	assert_non_null(strstr(d->told, "alerts=backend resolved"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_depth_is_told_once_and_its_end_once),
		CASE(test_what_comes_and_goes_is_told_once_a_minute),
		CASE(test_oldest_waiting_needs_no_activity),
		CASE(test_idle_daemon_is_not_woken),
		CASE(test_failed_rate_of_the_last_five_minutes),
		CASE(test_rate_of_a_queue_that_came_later),
		CASE(test_new_error_is_told_once_and_old_ones_never),
		CASE(test_schedule_that_missed_its_time),
		CASE(test_disk_and_backend),
		CASE(test_webhook_and_mail_are_jobs_too),
		CASE(test_repeat_tells_again_what_lasts),
		CASE(test_zero_switches_a_rule_off),
		CASE(test_a_store_that_fails_is_told_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
