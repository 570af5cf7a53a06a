/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/buf.h"
#include "cmd/bus.h"
#include "cmd/env.h"

static struct clock_time now;

static struct clock_time
test_clock(void)
{
	return now;
}

/* What the backend was told. */
struct fake {
	int jobs;			/* watch_jobs is on */
	int topics;			/* patterns that are wanted */
};

static void
fake_subscribe(void *be, struct bh_bytes pattern, bool on)
{
	(void)pattern;
	((struct fake *)be)->topics += on ? 1 : -1;
}

static void
fake_watch(void *be, bool on)
{
	((struct fake *)be)->jobs += on ? 1 : -1;
}

static const struct bh_backend_ops fake_ops = {
	.subscribe = fake_subscribe, .watch_jobs = fake_watch};

struct fix {
	struct fake fake;
	struct cmd_env env;
	struct bus *bus;
	struct buf heard;		/* "json\n" … */
	uint64_t last;
	struct bh_subscription *sub;	/* what the callback ends */
	int left;			/* messages that the callback sends */
};

static int
setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	now = (struct clock_time){1700000000000, 5000};
	clock_set_source(test_clock);
	f->env.ops = &fake_ops;
	f->env.be = &f->fake;
	f->bus = bus_new(&f->env);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fix *f = *state;

	bus_free(&f->bus);
	assert_null(f->bus);
	assert_int_equal(f->fake.jobs, 0);
	assert_int_equal(f->fake.topics, 0);
	buf_done(&f->heard);
	free(f);
	clock_set_source(NULL);
	return 0;
}

static struct bh_bytes
b(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static void
hear(void *arg, const struct bh_news *news)
{
	struct fix *f = arg;

	assert_true(news->id >= f->last);
	f->last = news->id;
	buf_add(&f->heard, news->json.data, news->json.len);
	buf_addc(&f->heard, '\n');
}

static struct bh_subscription *
sub(struct fix *f, enum bh_feed feed, const char *pattern, uint64_t after)
{
	struct err e = ERR_INIT;
	struct bh_subscription *s = bus_subscribe(f->bus, feed, b(pattern),
	    after, hear, f, &e);

	assert_non_null(s);
	return s;
}

static int64_t
say(struct fix *f, const char *topic, const char *text)
{
	return bus_message(f->bus, b(topic), b(text));
}

static void
heard(struct fix *f, const char *expected)
{
	assert_string_equal(buf_str(&f->heard), expected);
	buf_reset(&f->heard, 0);
}

static void
job(struct fix *f, const char *queue, int64_t id)
{
	struct bh_job_event ev = {.news = BH_NEWS_COMPLETED, .id = id,
	    .queue = b(queue), .state = BH_COMPLETED, .attempt = 2,
	    .at = 1700000000123};

	bus_job(f->bus, &ev);
}

static void
messages_reach_who_matches(void **state)
{
	struct fix *f = *state;

	assert_int_equal(say(f, "guest.9", "1"), 0);
	sub(f, BH_FEED_TOPICS, "guest.*", 0);
	sub(f, BH_FEED_TOPICS, "room", 0);
	assert_int_equal(f->fake.topics, 2);
	assert_int_equal(say(f, "guest.9", "{\"a\":\n1}"), 1);
	assert_int_equal(say(f, "guest", "1"), 0);
	assert_int_equal(say(f, "room", "plain \"text\" \xff"), 1);
	heard(f, "{\"topic\":\"guest.9\",\"data\":{\"a\": 1}}\n"
	    "{\"topic\":\"room\",\"data\":\"plain \\\"text\\\" \xef\xbf\xbd\"}"
	    "\n");
}

static void
job_events_have_the_shape(void **state)
{
	struct fix *f = *state;
	struct bh_job_event ev = {.news = BH_NEWS_PROGRESS, .id = 9,
	    .queue = b("mail"), .state = BH_ACTIVE, .attempt = 1, .at = 5,
	    .progress = b("{\"p\":1}")};

	sub(f, BH_FEED_JOBS, "mail", 0);
	assert_int_equal(f->fake.jobs, 1);
	job(f, "mail", 42);
	job(f, "other", 43);
	bus_job(f->bus, &ev);
	ev.news = BH_NEWS_FAILED;
	ev.state = BH_FAILED;
	ev.progress = (struct bh_bytes){0};
	ev.error = b("it \"broke\"");
	bus_job(f->bus, &ev);
	heard(f, "{\"event\":\"completed\",\"id\":\"42\",\"queue\":\"mail\","
	    "\"state\":\"completed\",\"attempt\":2,\"at\":1700000000123}\n"
	    "{\"event\":\"progress\",\"id\":\"9\",\"queue\":\"mail\","
	    "\"state\":\"active\",\"attempt\":1,\"at\":5,"
	    "\"progress\":{\"p\":1}}\n"
	    "{\"event\":\"failed\",\"id\":\"9\",\"queue\":\"mail\","
	    "\"state\":\"failed\",\"attempt\":1,\"at\":5,"
	    "\"error\":\"it \\\"broke\\\"\"}\n");
}

static void
who_comes_back_misses_nothing(void **state)
{
	struct fix *f = *state;
	struct bh_subscription *s = sub(f, BH_FEED_TOPICS, "a", 0);
	uint64_t seen;

	say(f, "a", "1");
	heard(f, "{\"topic\":\"a\",\"data\":1}\n");
	seen = f->last;
	bus_unsubscribe(s);
	now.mono_ms += 299999;
	assert_int_equal(say(f, "a", "2"), 0);
	say(f, "b", "0");
	say(f, "a", "3");
	heard(f, "");
	sub(f, BH_FEED_TOPICS, "a", seen);
	heard(f, "{\"topic\":\"a\",\"data\":2}\n{\"topic\":\"a\",\"data\":3}\n");
}

static void
idle_channel_goes_after_five_minutes(void **state)
{
	struct fix *f = *state;
	struct bh_subscription *s = sub(f, BH_FEED_JOBS, "a", 0);
	uint64_t seen;

	job(f, "a", 1);
	seen = f->last;
	buf_reset(&f->heard, 0);
	bus_unsubscribe(s);
	assert_int_equal(f->fake.jobs, 1);
	now.mono_ms += 300000;
	job(f, "a", 2);
	assert_int_equal(f->fake.jobs, 0);
	sub(f, BH_FEED_JOBS, "a", seen);
	heard(f, "{\"event\":\"gap\"}\n");
	job(f, "a", 3);
	assert_true(f->last > seen);
}

static void
ids_ascend_over_restarts(void **state)
{
	struct fix *f = *state;
	uint64_t seen;

	sub(f, BH_FEED_TOPICS, "a", 0);
	for (int i = 0; i < 500; i++)
		say(f, "a", "1");
	seen = f->last;
	bus_free(&f->bus);
	now.wall_ms += 1;
	f->bus = bus_new(&f->env);
	buf_reset(&f->heard, 0);
	sub(f, BH_FEED_TOPICS, "a", seen);
	heard(f, "{\"event\":\"gap\"}\n");
	say(f, "a", "2");
	assert_true(f->last > seen);
}

static void
ring_is_bounded_and_tells_the_gap(void **state)
{
	struct fix *f = *state;
	struct bh_subscription *s = sub(f, BH_FEED_TOPICS, "a", 0);
	struct bus_stats st;
	uint64_t seen;
	char text[16];

	bus_set_limits(f->bus, 3, 1 << 20);
	say(f, "a", "0");
	seen = f->last;
	bus_unsubscribe(s);
	buf_reset(&f->heard, 0);
	for (int i = 1; i <= 4; i++) {
		snprintf(text, sizeof(text), "%d", i);
		say(f, "a", text);
	}
	sub(f, BH_FEED_TOPICS, "a", seen);
	heard(f, "{\"event\":\"gap\"}\n{\"topic\":\"a\",\"data\":2}\n"
	    "{\"topic\":\"a\",\"data\":3}\n{\"topic\":\"a\",\"data\":4}\n");
	bus_stats(f->bus, &st);
	assert_int_equal(st.messages, 3);
	assert_int_equal(st.subscribers, 1);
}

static void
bytes_are_bounded_over_all_channels(void **state)
{
	struct fix *f = *state;
	struct bus_stats st;
	char text[1001] = {0};

	memset(text, '1', 1000);
	bus_set_limits(f->bus, 1000, 20000);
	sub(f, BH_FEED_TOPICS, "a*", 0);
	sub(f, BH_FEED_TOPICS, "a?", 0);
	sub(f, BH_FEED_TOPICS, "b", 0);
	for (int i = 0; i < 100; i++) {
		say(f, i % 3 ? "ax" : "b", text);
		bus_stats(f->bus, &st);
		assert_true(st.bytes <= 20000);
	}
	assert_true(st.messages >= 5);
}

static void
hear_and_end(void *arg, const struct bh_news *news)
{
	struct fix *f = arg;

	hear(arg, news);
	bus_unsubscribe(f->sub);
	f->sub = NULL;
}

static void
callback_may_unsubscribe(void **state)
{
	struct fix *f = *state;
	struct bus_stats st;
	struct err e;

	f->sub = bus_subscribe(f->bus, BH_FEED_TOPICS, b("a"), 0, hear_and_end,
	    f, &e);
	assert_int_equal(say(f, "a", "1"), 1);
	assert_null(f->sub);
	assert_int_equal(say(f, "a", "2"), 0);
	heard(f, "{\"topic\":\"a\",\"data\":1}\n");
	bus_stats(f->bus, &st);
	assert_int_equal(st.subscribers, 0);
}

static void
hear_and_say(void *arg, const struct bh_news *news)
{
	struct fix *f = arg;

	(void)news;
	if (f->left-- > 0)
		say(f, "a", "2");
}

/* The second subscriber hears the first message before the one that the first
 * subscriber answers it with. */
static void
messages_of_callbacks_come_in_order(void **state)
{
	struct fix *f = *state;
	struct err e;

	f->left = 1;
	bus_subscribe(f->bus, BH_FEED_TOPICS, b("a"), 0, hear_and_say, f, &e);
	sub(f, BH_FEED_TOPICS, "a", 0);
	assert_int_equal(say(f, "a", "1"), 2);
	heard(f, "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}\n");
}

static void
bad_patterns_are_refused(void **state)
{
	struct fix *f = *state;
	char text[300];
	struct err e = ERR_INIT;

	memset(text, 'a', sizeof(text));
	assert_null(bus_subscribe(f->bus, BH_FEED_TOPICS,
	    (struct bh_bytes){text, 257}, 0, hear, f, &e));
	assert_int_equal(e.code, BH_E_BADARG);
	assert_string_equal(e.text, "topic: a pattern has 1 to 256 bytes, not"
	    " 257");
	assert_null(bus_subscribe(f->bus, BH_FEED_JOBS, b(""), 0, hear, f,
	    &e));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_reach_who_matches),
		TEST(job_events_have_the_shape),
		TEST(who_comes_back_misses_nothing),
		TEST(idle_channel_goes_after_five_minutes),
		TEST(ids_ascend_over_restarts),
		TEST(ring_is_bounded_and_tells_the_gap),
		TEST(bytes_are_bounded_over_all_channels),
		TEST(callback_may_unsubscribe),
		TEST(messages_of_callbacks_come_in_order),
		TEST(bad_patterns_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
