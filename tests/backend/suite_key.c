/* SPDX-License-Identifier: MIT */
/* Cases: the keyspace, limiters and topics. Names that begin with "cache:"
 * are volatile. */
#include "suite.h"

/* --- one command, answered --- */

static const struct bh_value *
run(struct suite_env *t, const char *words)
{
	struct call *c = ask_command(t, words);

	call_ok(c);
	return c->value;
}

static void
expect_int(struct suite_env *t, const char *words, int64_t want)
{
	const struct bh_value *v = run(t, words);

	if (v->type != BH_INTEGER || v->i != want)
		fail_msg("%s: type %d, %jd, not %jd", words, (int)v->type,
		    (intmax_t)v->i, (intmax_t)want);
}

/* want NULL: there is none. */
static void
expect_key(struct suite_env *t, const char *name, const char *want)
{
	char words[200];
	const struct bh_value *v;

	snprintf(words, sizeof(words), "GET %s", name);
	v = run(t, words);
	if (!want) {
		assert_int_equal(v->type, BH_NULL);
		return;
	}
	assert_int_equal(v->type, BH_STRING);
	expect_bytes(v->s, want);
}

static void
expect_ok(struct suite_env *t, const char *words)
{
	const struct bh_value *v = run(t, words);

	assert_int_equal(v->type, BH_STATUS);
	expect_bytes(v->s, "OK");
}

static void
expect_error(struct suite_env *t, const char *words, const char *begin)
{
	const struct bh_value *v = run(t, words);

	assert_int_equal(v->type, BH_ERROR);
	expect_prefix(v->s, begin);
}

/* --- what lasts --- */

static void
an_acknowledged_key_outlives_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	expect_ok(t, "SET a 1");
	expect_ok(t, "MSET b 2 c 3");
	expect_int(t, "APPEND b 22", 3);
	expect_int(t, "INCR n", 1);
	expect_int(t, "DEL c", 1);
	expect_ok(t, "RENAME a A");
	/* At the very moment of the answer. */
	c = ask_command(t, "SET last yes");
	while (!c->answers)
		suite_turn(t);
	suite_crash_now(t);
	expect_key(t, "A", "1");
	expect_key(t, "a", NULL);
	expect_key(t, "b", "222");
	expect_key(t, "c", NULL);
	expect_key(t, "n", "1");
	expect_key(t, "last", "yes");
	expect_int(t, "EXISTS A a b c n last", 4);
}

static void
an_acknowledged_deletion_is_not_undone(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	expect_ok(t, "SET a 1");
	expect_ok(t, "SET b 1");
	c = ask_command(t, "DEL a");
	while (!c->answers)
		suite_turn(t);
	suite_crash_now(t);
	expect_key(t, "a", NULL);
	expect_key(t, "b", "1");
	c = ask_command(t, "FLUSHALL");
	while (!c->answers)
		suite_turn(t);
	suite_crash_now(t);
	expect_int(t, "DBSIZE", 0);
}

/* Two names, one commit: never both, never none. */
static void
a_rename_is_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;

	for (int turns = 0; turns < 3; turns++) {
		const struct bh_value *v;

		expect_ok(t, "SET from x");
		expect_int(t, "EXISTS to", 0);
		ask_command(t, "RENAME from to");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		v = run(t, "DEL from to");
		assert_int_equal(v->i, 1);
	}
}

static void
several_keys_are_set_together(void **state)
{
	struct suite_env *t = *state;

	for (int turns = 0; turns < 3; turns++) {
		const struct bh_value *v;

		ask_command(t, "MSET a 1 b 2 c 3");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		v = run(t, "DEL a b c");
		assert_true(v->i == 0 || v->i == 3);
	}
}

/* What a job and a key were told in one turn is committed in one. */
static void
what_a_read_shows_is_committed(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	ask_command(t, "SET a new");
	c = ask_command(t, "GET a");
	while (!c->answers)
		suite_turn(t);
	expect_bytes(c->value->s, "new");
	suite_crash_now(t);
	expect_key(t, "a", "new");
}

static void
what_a_read_misses_stays_gone(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	expect_ok(t, "SET a old");
	ask_command(t, "DEL a");
	c = ask_command(t, "GET a");
	while (!c->answers)
		suite_turn(t);
	assert_int_equal(c->value->type, BH_NULL);
	suite_crash_now(t);
	expect_key(t, "a", NULL);
}

static void
volatile_keys_are_gone_after_a_restart(void **state)
{
	struct suite_env *t = *state;

	expect_ok(t, "SET cache:a 1");
	expect_ok(t, "SET a 1");
	expect_ok(t, "RENAME a cache:b");
	expect_int(t, "COPY cache:a kept", 1);
	expect_key(t, "cache:b", "1");
	suite_reopen(t, 0);
	expect_key(t, "cache:a", NULL);
	expect_key(t, "cache:b", NULL);
	expect_key(t, "a", NULL);
	expect_key(t, "kept", "1");
}

static void
empty_and_odd_bytes_are_kept(void **state)
{
	struct suite_env *t = *state;

	expect_ok(t, "SET a \xff\x01\r\n");
	expect_int(t, "SETRANGE z 3 x", 4);
	suite_reopen(t, 0);
	expect_key(t, "a", "\xff\x01\r\n");
	expect_int(t, "STRLEN z", 4);
	expect_int(t, "EXISTS a z", 2);
}

/* --- expiry --- */

static void
an_expiry_goes_on_while_the_store_is_closed(void **state)
{
	struct suite_env *t = *state;

	expect_ok(t, "SET short x PX 5000");
	expect_ok(t, "SET long x PX 60000");
	expect_ok(t, "SET ever x");
	suite_reopen(t, 10000);
	expect_key(t, "short", NULL);
	expect_int(t, "PTTL long", 50000);
	expect_int(t, "PTTL ever", -1);
	suite_pass(t, 50000);
	expect_key(t, "long", NULL);
	suite_crash(t, 0);
	expect_int(t, "DBSIZE", 1);
}

static void
a_change_of_the_expiry_alone_is_kept(void **state)
{
	struct suite_env *t = *state;

	expect_ok(t, "SET a x PX 5000");
	expect_ok(t, "SET b x PX 5000");
	expect_int(t, "PERSIST a", 1);
	expect_int(t, "PEXPIRE b 100000", 1);
	suite_crash(t, 6000);
	expect_int(t, "PTTL a", -1);
	expect_int(t, "PTTL b", 94000);
}

static void
a_counter_keeps_its_expiry_over_a_crash(void **state)
{
	struct suite_env *t = *state;

	expect_int(t, "INCR n", 1);
	expect_int(t, "PEXPIRE n 5000", 1);
	expect_int(t, "INCR n", 2);
	suite_crash(t, 0);
	expect_int(t, "PTTL n", 5000);
	expect_int(t, "INCR n", 3);
	suite_pass(t, 5000);
	expect_int(t, "INCR n", 1);
}

/* --- conditions --- */

static void
delex_deletes_what_it_is_told(void **state)
{
	struct suite_env *t = *state;

	expect_ok(t, "SET lock me");
	expect_int(t, "DELEX lock IFEQ you", 0);
	expect_int(t, "DELEX lock IFNE me", 0);
	expect_int(t, "DELEX lock IFEQ me", 1);
	expect_int(t, "DELEX lock IFEQ me", 0);
	expect_ok(t, "SET lock me");
	expect_int(t, "DELEX lock IFNE you", 1);
	expect_ok(t, "SET lock me");
	expect_int(t, "DELEX lock", 1);
	expect_error(t, "DELEX lock IFXX me", "ERR syntax error");
	expect_ok(t, "SET lock me");
	suite_crash(t, 0);
	expect_int(t, "DELEX lock IFEQ me", 1);
	suite_crash(t, 0);
	expect_key(t, "lock", NULL);
}

static void
what_fails_changes_nothing(void **state)
{
	struct suite_env *t = *state;

	expect_ok(t, "SET a 1");
	expect_int(t, "MSETNX b 2 a 3", 0);
	expect_error(t, "INCRBY a x", "ERR value is not an integer");
	expect_error(t, "SET a 2 PX 0", "ERR invalid expire time in 'set'");
	expect_error(t, "NOSUCH a", "ERR unknown command");
	suite_crash(t, 0);
	expect_key(t, "a", "1");
	expect_key(t, "b", NULL);
}

/* --- all keys --- */

static void
fill(struct suite_env *t, int n)
{
	char words[60];

	for (int i = 0; i < n; i++) {
		snprintf(words, sizeof(words), "SET %s%d x",
		    i % 2 ? "cache:" : "k", i);
		ask_command(t, words);
		if (i % 1000 == 999)
			suite_settle(t);
	}
	suite_settle(t);
}

/* More than one slice of them. */
static void
a_long_walk_holds_up_others_but_loses_none(void **state)
{
	struct suite_env *t = *state;
	struct call *walk, *set, *size;
	int64_t id;

	fill(t, 10000);
	walk = ask_command(t, "KEYS *");
	set = ask_command(t, "SET later x");
	size = ask_command(t, "DBSIZE");
	id = put(t, "q", "jobs go on");
	call_ok(walk);
	call_ok(set);
	call_ok(size);
	assert_true(walk->order < set->order);
	assert_int_equal(walk->value->n, 10000);
	assert_int_equal(size->value->i, 10001);
	expect_state(t, id, BH_WAITING);
}

static void
a_flush_takes_all_and_what_comes_behind_stays(void **state)
{
	struct suite_env *t = *state;

	fill(t, 10000);
	ask_command(t, "SET k0 old");
	ask_command(t, "FLUSHALL");
	ask_command(t, "SET k0 new");
	suite_settle(t);
	expect_int(t, "DBSIZE", 1);
	suite_crash(t, 0);
	expect_int(t, "DBSIZE", 1);
	expect_key(t, "k0", "new");
}

/* The backend is closed while a walk is under way: all are answered. */
static void
a_walk_ends_with_the_store(void **state)
{
	struct suite_env *t = *state;
	struct call *walk;

	fill(t, 10000);
	walk = ask_command(t, "KEYS *");
	ask_command(t, "SET later x");
	suite_crash_now(t);
	assert_int_equal(walk->answers, 1);
	assert_int_equal(walk->status, BH_E_CANCELED);
}

/* --- limiters --- */

static struct call *
throttle(struct suite_env *t, const char *key, int64_t quantity,
    const struct bh_window *w, size_t n)
{
	struct call *c = ask_throttle(t, key, quantity, w, n);

	call_ok(c);
	return c;
}

static void
a_window_fills_again_with_time(void **state)
{
	struct suite_env *t = *state;
	const struct bh_window w = {.limit = 1, .per_ms = 1000, .burst = 2};
	struct call *c;

	c = throttle(t, "k", 1, &w, 1);
	assert_true(c->allowed);
	assert_int_equal(c->windows[0].remaining, 1);
	assert_int_equal(c->windows[0].retry_ms, -1);
	assert_true(throttle(t, "k", 1, &w, 1)->allowed);
	c = throttle(t, "k", 1, &w, 1);
	assert_false(c->allowed);
	assert_int_equal(c->windows[0].remaining, 0);
	assert_int_equal(c->windows[0].retry_ms, 1000);
	assert_int_equal(c->windows[0].reset_ms, 2000);
	assert_true(throttle(t, "other", 2, &w, 1)->allowed);
	suite_pass(t, 999);
	assert_false(throttle(t, "k", 1, &w, 1)->allowed);
	suite_pass(t, 1);
	assert_true(throttle(t, "k", 1, &w, 1)->allowed);
	/* The wall clock has no say. */
	suite_jump(t, 3600000);
	assert_false(throttle(t, "k", 1, &w, 1)->allowed);
}

static void
a_restart_does_not_fill_a_window(void **state)
{
	struct suite_env *t = *state;
	const struct bh_window w[] = {
	    {.limit = 1, .per_ms = 1000, .burst = 1},
	    {.limit = 3, .per_ms = 60000, .burst = 3}};
	struct call *c;

	throttle(t, "k", 1, w, 2);
	suite_settle(t);
	suite_reopen(t, 1000);
	c = throttle(t, "k", 0, w, 2);
	assert_int_equal(c->windows[0].remaining, 1);
	assert_int_equal(c->windows[1].remaining, 2);
	assert_in_range(c->windows[1].reset_ms, 18000, 19001);
	throttle(t, "k", 1, w, 2);
	suite_settle(t);
	suite_crash(t, 0);
	c = throttle(t, "k", 1, w, 2);
	assert_false(c->allowed);
	assert_int_equal(c->windows[1].remaining, 1);
	suite_reopen(t, 60000);
	assert_int_equal(throttle(t, "k", 0, w, 2)->windows[1].remaining, 3);
}

static void
several_windows_are_taken_from_together(void **state)
{
	struct suite_env *t = *state;
	const struct bh_window w[] = {
	    {.limit = 10, .per_ms = 1000, .burst = 10},
	    {.limit = 3, .per_ms = 60000, .burst = 3}};
	struct call *c;

	c = throttle(t, "k", 3, w, 2);
	assert_true(c->allowed);
	assert_int_equal(c->windows[0].remaining, 7);
	assert_int_equal(c->windows[1].remaining, 0);
	/* What the second one refuses is not missing in the first. */
	for (int i = 0; i < 5; i++)
		assert_false(throttle(t, "k", 1, w, 2)->allowed);
	c = throttle(t, "k", 0, w, 2);
	assert_int_equal(c->windows[0].remaining, 7);
	/* More than there ever is: no time when it would be. */
	c = throttle(t, "k", 4, w, 2);
	assert_false(c->allowed);
	assert_int_equal(c->windows[1].retry_ms, -1);
}

static void
a_malformed_limit_is_refused(void **state)
{
	struct suite_env *t = *state;
	struct bh_window w = {.limit = 0, .per_ms = 1000, .burst = 1};
	struct call *c = ask_throttle(t, "k", 1, &w, 1);

	call_wait(c);
	assert_int_equal(c->status, BH_E_BADARG);
	w.limit = 1;
	c = ask_throttle(t, "", 1, &w, 1);
	call_wait(c);
	assert_int_equal(c->status, BH_E_BADARG);
}

/* --- topics --- */

static void
messages_are_told_in_order_and_counted(void **state)
{
	struct suite_env *t = *state;
	const struct message *m;
	struct call *a, *b;

	t->receivers = 3;
	a = ask_publish(t, "guest.1", "one");
	b = ask_publish(t, "guest.2", "");
	call_ok(a);
	call_ok(b);
	assert_int_equal(a->count, 3);
	assert_int_equal(b->count, 3);
	m = message_next(t);
	assert_non_null(m);
	expect_bytes(m->topic, "guest.1");
	expect_bytes(m->text, "one");
	m = message_next(t);
	assert_non_null(m);
	expect_bytes(m->topic, "guest.2");
	assert_int_equal(m->text.len, 0);
	assert_null(message_next(t));
}

/* It may speak of a job or a key of the same turn. */
static void
what_a_message_may_speak_of_is_committed(void **state)
{
	struct suite_env *t = *state;
	struct call *job;

	job = ask_put(t, "q", "x", NULL);
	ask_command(t, "SET a 1");
	ask_publish(t, "news", "a is 1");
	while (TAILQ_EMPTY(&t->messages))
		suite_turn(t);
	suite_crash_now(t);
	expect_key(t, "a", "1");
	assert_int_equal(job->answers, 1);
	assert_int_equal(stats(t, "q")->count[BH_WAITING], 1);
}

static void
nothing_written_holds_up_no_message(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	suite_settle(t);
	c = ask_publish(t, "news", "x");
	suite_turn(t);
	assert_int_equal(c->answers, 1);
}

const struct suite_case suite_key_cases[] = {
	CASE_CRASH(an_acknowledged_key_outlives_a_crash),
	CASE_CRASH(an_acknowledged_deletion_is_not_undone),
	CASE_CRASH(a_rename_is_whole_or_not_at_all),
	CASE_CRASH(several_keys_are_set_together),
	CASE_CRASH(what_a_read_shows_is_committed),
	CASE_CRASH(what_a_read_misses_stays_gone),
	CASE_KEYSPACE(volatile_keys_are_gone_after_a_restart),
	CASE_STORAGE(empty_and_odd_bytes_are_kept),
	CASE_KEYSPACE(an_expiry_goes_on_while_the_store_is_closed),
	CASE_KEYSPACE(a_change_of_the_expiry_alone_is_kept),
	CASE_KEYSPACE(a_counter_keeps_its_expiry_over_a_crash),
	CASE_KEYSPACE(delex_deletes_what_it_is_told),
	CASE_CRASH(what_fails_changes_nothing),
	CASE(a_long_walk_holds_up_others_but_loses_none),
	CASE_CRASH(a_flush_takes_all_and_what_comes_behind_stays),
	CASE_KEYSPACE(a_walk_ends_with_the_store),
	CASE(a_window_fills_again_with_time),
	CASE(a_restart_does_not_fill_a_window),
	CASE(several_windows_are_taken_from_together),
	CASE(a_malformed_limit_is_refused),
	CASE(messages_are_told_in_order_and_counted),
	CASE_KEYSPACE(what_a_message_may_speak_of_is_committed),
	CASE_KEYSPACE(nothing_written_holds_up_no_message),
	{0},
};
