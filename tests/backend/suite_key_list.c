/* SPDX-License-Identifier: MIT */
/* Cases: lists and sorted sets, what of them lasts; and those who wait for
 * them. That they answer as Redis' is compared elsewhere. */
#include "suite.h"

#include <stdlib.h>

#include "base/buf.h"

/* --- answers as text --- */

/* Answers with what follows the value. */
static const struct bh_value *
show(struct buf *b, const struct bh_value *v)
{
	size_t n = v->n;

	switch (v->type) {
	case BH_STATUS:
	case BH_STRING:
	case BH_ERROR:
		buf_add(b, v->s.data, v->s.len);
		return v + 1;
	case BH_INTEGER:
		buf_addi(b, v->i);
		return v + 1;
	case BH_ARRAY:
		v++;
		buf_addc(b, '[');
		for (size_t i = 0; i < n; i++) {
			if (i)
				buf_addc(b, ' ');
			v = show(b, v);
		}
		buf_addc(b, ']');
		return v;
	default:
		buf_adds(b, "nothing");
		return v + 1;
	}
}

static void
expect_answer(const struct call *c, const char *words, const char *want)
{
	struct buf b = BUF_INIT;

	assert_int_equal(c->answers, 1);
	assert_int_equal(c->status, BH_OK);
	show(&b, c->value);
	if (strcmp(buf_str(&b), want) != 0)
		fail_msg("%.100s: %.500s, not %s", words, buf_str(&b), want);
	buf_done(&b);
}

static void
expect(struct suite_env *t, const char *words, const char *want)
{
	struct call *c = ask_command(t, words);

	call_ok(c);
	expect_answer(c, words, want);
}

/* A command with words behind it: each, where % is 0 to n - 1. */
static struct call *
ask_many(struct suite_env *t, const char *head, const char *each, int n)
{
	struct buf b = BUF_INIT;
	struct call *c;

	buf_adds(&b, head);
	for (int i = 0; i < n; i++) {
		buf_addc(&b, ' ');
		for (const char *p = each; *p; p++)
			if (*p == '%')
				buf_addi(&b, i);
			else
				buf_addc(&b, *p);
	}
	c = ask_command(t, buf_str(&b));
	buf_done(&b);
	return c;
}

static void
send_many(struct suite_env *t, const char *head, const char *each, int n)
{
	call_ok(ask_many(t, head, each, n));
}

static int64_t
number(struct suite_env *t, const char *words)
{
	struct call *c = ask_command(t, words);

	call_ok(c);
	assert_int_equal(c->value->type, BH_INTEGER);
	return c->value->i;
}

/* --- what lasts --- */

static void
a_list_outlives_a_crash(void **state)
{
	struct suite_env *t = *state;

	expect(t, "RPUSH l c d e", "3");
	expect(t, "LPUSH l b a", "5");
	expect(t, "RPUSH l f g c", "8");
	suite_crash_now(t);
	expect(t, "LRANGE l 0 -1", "[a b c d e f g c]");
	expect(t, "LPOP l", "a");
	expect(t, "RPOP l", "c");
	expect(t, "LSET l 1 C", "OK");
	expect(t, "LINSERT l AFTER C c2", "7");
	expect(t, "LINSERT l BEFORE C c1", "8");
	expect(t, "LREM l 0 e", "1");
	suite_crash_now(t);
	expect(t, "LRANGE l 0 -1", "[b c1 C c2 d f g]");
	expect(t, "LTRIM l 1 -2", "OK");
	expect(t, "LPUSH l first", "6");
	expect(t, "RPUSH l last", "7");
	suite_crash_now(t);
	expect(t, "LRANGE l 0 -1", "[first c1 C c2 d f last]");
	expect(t, "LPOP l 100", "[first c1 C c2 d f last]");
	suite_crash_now(t);
	expect(t, "EXISTS l", "0");
	expect(t, "RPUSH l new", "1");
	suite_crash_now(t);
	expect(t, "LRANGE l 0 -1", "[new]");
}

/* Many at one place: their numbers are given anew, which must not show. */
static void
insertions_at_one_place_outlive_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct buf want = BUF_INIT;
	char words[60];

	expect(t, "RPUSH l begin end", "2");
	buf_adds(&want, "[begin");
	for (int i = 0; i < 300; i++) {
		snprintf(words, sizeof(words), "LINSERT l BEFORE end %d", i);
		call_ok(ask_command(t, words));
		buf_addf(&want, " %d", i);
	}
	buf_adds(&want, " end]");
	suite_crash_now(t);
	expect(t, "LRANGE l 0 -1", buf_str(&want));
	buf_done(&want);
}

static void
a_sorted_set_outlives_a_crash(void **state)
{
	struct suite_env *t = *state;

	expect(t, "ZADD z 1 a 2.5 b -inf c 4 d", "4");
	expect(t, "ZADD z 1e300 a 3 e", "1");
	expect(t, "ZINCRBY z 0.1 b", "2.6000000000000001");
	expect(t, "ZREM z d nosuch", "1");
	suite_crash_now(t);
	expect(t, "ZRANGE z 0 -1 WITHSCORES", "[c -inf b 2.6000000000000001"
	    " e 3 a 1.0000000000000001e+300]");
	expect(t, "ZPOPMIN z", "[c -inf]");
	expect(t, "ZREMRANGEBYSCORE z 3 3", "1");
	expect(t, "ZUNIONSTORE u 2 z z WEIGHTS 1 2", "2");
	expect(t, "ZRANGESTORE r u 0 0", "1");
	suite_crash_now(t);
	expect(t, "ZRANGE z 0 -1", "[b a]");
	expect(t, "ZSCORE u b", "7.8000000000000007");
	expect(t, "ZRANGE r 0 -1", "[b]");
	expect(t, "ZPOPMAX z 5", "[a 1.0000000000000001e+300 b"
	    " 2.6000000000000001]");
	suite_crash_now(t);
	expect(t, "EXISTS z u r", "2");
}

static void
renames_and_copies_take_all_with_them(void **state)
{
	struct suite_env *t = *state;

	expect(t, "RPUSH l 1 2 3", "3");
	expect(t, "ZADD z 1 a 2 b", "2");
	expect(t, "RENAME l l2", "OK");
	expect(t, "RENAME z z2", "OK");
	expect(t, "COPY l2 l3", "1");
	expect(t, "COPY z2 z3", "1");
	expect(t, "LPUSH l2 0", "4");
	expect(t, "ZREM z3 a", "1");
	/* From the cache, and to it. */
	expect(t, "RPUSH cache:l x y", "2");
	expect(t, "RENAME cache:l kept", "OK");
	expect(t, "COPY z2 cache:z", "1");
	suite_crash_now(t);
	expect(t, "LRANGE l2 0 -1", "[0 1 2 3]");
	expect(t, "LRANGE l3 0 -1", "[1 2 3]");
	expect(t, "LRANGE kept 0 -1", "[x y]");
	expect(t, "ZRANGE z2 0 -1", "[a b]");
	expect(t, "ZRANGE z3 0 -1", "[b]");
	expect(t, "EXISTS l z cache:l cache:z", "0");
}

/* An element is in one list or the other. */
static void
a_move_is_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;

	for (int turns = 0; turns < 4; turns++) {
		expect(t, "RPUSH from x", "1");
		ask_command(t, "LMOVE from to LEFT LEFT");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		assert_int_equal(number(t, "EXISTS from to"), 1);
		expect(t, "DEL from to", "1");
	}
}

/* More than one slice of all that there is. */
static void
big_ones_go_in_slices_and_outlive_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct call *walk, *later;

	send_many(t, "RPUSH l", "e%", 9000);
	send_many(t, "ZADD z", "% m%", 9000);
	walk = ask_command(t, "LTRIM l 3000 5999");
	later = ask_command(t, "LLEN l");
	call_ok(later);
	assert_true(walk->order < later->order);
	expect_answer(later, "LLEN l", "3000");
	expect(t, "LPOS l e5999", "2999");
	expect(t, "LREM l 1 e5000", "1");
	expect(t, "ZREMRANGEBYRANK z 0 2999", "3000");
	expect(t, "ZUNIONSTORE u 2 z z", "6000");
	suite_crash_now(t);
	expect(t, "LLEN l", "2999");
	expect(t, "LINDEX l 0", "e3000");
	expect(t, "LINDEX l 2000", "e5001");
	expect(t, "ZCARD z", "6000");
	expect(t, "ZRANGE z 0 0 WITHSCORES", "[m3000 3000]");
	expect(t, "ZRANGE u -1 -1 WITHSCORES", "[m8999 17998]");
	expect(t, "DEL l z u", "3");
	expect(t, "RPUSH l new", "1");
	suite_crash(t, 0);
	expect(t, "LRANGE l 0 -1", "[new]");
	expect(t, "DBSIZE", "1");
}

/* Of each type, and whole or not at all. */
static void
a_big_copy_goes_in_slices(void **state)
{
	struct suite_env *t = *state;
	struct call *walk, *later;

	send_many(t, "RPUSH l", "e%", 9000);
	send_many(t, "ZADD z", "% m%", 9000);
	send_many(t, "HSET h", "f% %", 9000);
	send_many(t, "SADD s", "m%", 9000);
	expect(t, "LREM l 1 e4000", "1");
	expect(t, "PEXPIRE z 100000000", "1");
	expect(t, "SET z2 text", "OK");
	walk = ask_command(t, "COPY l l2");
	later = ask_command(t, "LLEN l2");
	call_ok(later);
	assert_true(walk->order < later->order);
	expect_answer(later, "LLEN l2", "8999");
	expect(t, "COPY z z2 REPLACE", "1");
	expect(t, "COPY h h2", "1");
	expect(t, "COPY s s2", "1");
	expect(t, "COPY l cache:l", "1");
	expect(t, "LINDEX cache:l 8998", "e8999");
	suite_crash_now(t);
	expect(t, "LLEN l2", "8999");
	expect(t, "LINDEX l2 4000", "e4001");
	expect(t, "ZRANGE z2 8999 -1 WITHSCORES", "[m8999 8999]");
	assert_true(number(t, "PTTL z2") > 90000000);
	expect(t, "HGET h2 f8999", "8999");
	expect(t, "SCARD s2", "9000");
	for (int turns = 0; turns < 20; turns += 3) {
		int64_t n;

		ask_command(t, "COPY l l3");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		n = number(t, "LLEN l3");
		assert_true(n == 0 || n == 8999);
		call_ok(ask_command(t, "DEL l3"));
	}
}

static void
a_walk_is_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;

	send_many(t, "RPUSH l", "e%", 9000);
	send_many(t, "ZADD z", "% m%", 9000);
	for (int turns = 0; turns < 30; turns += 3) {
		int64_t n;

		ask_command(t, "LTRIM l 3000 -1");
		ask_command(t, "ZREMRANGEBYSCORE z -inf 5000");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		n = number(t, "LLEN l");
		if (n != 9000 && n != 6000)
			fail_msg("after %d turns there are %d", turns, (int)n);
		if (n == 6000)
			send_many(t, "LPUSH l", "e%", 3000);
		n = number(t, "ZCARD z");
		if (n != 9000 && n != 3999)
			fail_msg("after %d turns there are %d", turns, (int)n);
		if (n == 3999)
			send_many(t, "ZADD z", "% m%", 5001);
	}
}

/* --- those who wait --- */

static void
an_element_ends_a_wait(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_command(t, "BLPOP none l 0");
	struct call *z = ask_command(t, "BZPOPMAX z 0");

	suite_settle(t);
	assert_int_equal(c->answers, 0);
	expect(t, "RPUSH l a b", "2");
	call_ok(c);
	expect_answer(c, "BLPOP", "[l a]");
	expect(t, "ZADD z 1 a 2 b", "2");
	call_ok(z);
	expect_answer(z, "BZPOPMAX", "[z b 2]");
	suite_crash_now(t);
	expect(t, "LRANGE l 0 -1", "[b]");
	expect(t, "ZRANGE z 0 -1", "[a]");
}

static void
first_come_first_served(void **state)
{
	struct suite_env *t = *state;
	struct call *first = ask_command(t, "BLPOP l 0");
	struct call *second = ask_command(t, "BLMOVE l to LEFT RIGHT 0");
	struct call *third = ask_command(t, "BLMPOP 0 1 l LEFT COUNT 5");
	struct call *fourth = ask_command(t, "BRPOP l 0");

	suite_settle(t);
	expect(t, "RPUSH l a b c d", "4");
	call_ok(third);
	expect_answer(first, "BLPOP", "[l a]");
	expect_answer(second, "BLMOVE", "b");
	expect_answer(third, "BLMPOP", "[l [c d]]");
	assert_int_equal(fourth->answers, 0);
	expect(t, "LRANGE to 0 -1", "[b]");
	expect(t, "LPUSH l e", "1");
	call_ok(fourth);
	expect_answer(fourth, "BRPOP", "[l e]");
}

/* What one of them puts elsewhere wakes others. */
static void
a_chain_of_those_who_wait(void **state)
{
	struct suite_env *t = *state;
	struct call *last = ask_command(t, "BLPOP c 0");
	struct call *mid = ask_command(t, "BLMOVE b c LEFT LEFT 0");
	struct call *first = ask_command(t, "BLMOVE a b LEFT LEFT 0");

	suite_settle(t);
	expect(t, "RPUSH a x", "1");
	call_ok(last);
	expect_answer(first, "BLMOVE", "x");
	expect_answer(mid, "BLMOVE", "x");
	expect_answer(last, "BLPOP", "[c x]");
	expect(t, "EXISTS a b c", "0");
}

static void
any_change_ends_a_wait(void **state)
{
	static const char *const ways[] = {"RENAME from l", "COPY from l",
	    "LMOVE from l LEFT LEFT"};
	struct suite_env *t = *state;

	for (size_t i = 0; i < nitems(ways); i++) {
		struct call *c = ask_command(t, "BLPOP l 0");

		expect(t, "RPUSH from x", "1");
		call_ok(ask_command(t, ways[i]));
		call_ok(c);
		expect_answer(c, ways[i], "[l x]");
		call_ok(ask_command(t, "DEL from"));
	}
	{
		struct call *c = ask_command(t, "BZPOPMIN l 0");

		expect(t, "ZADD from 1 x 2 y", "2");
		expect(t, "ZRANGESTORE l from 1 1", "1");
		call_ok(c);
		expect_answer(c, "ZRANGESTORE", "[l y 2]");
	}
}

/* A value of another type is not what they wait for. */
static void
another_type_leaves_them_waiting(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_command(t, "BLPOP l 0"), *z, *m;

	suite_settle(t);
	expect(t, "ZADD l 1 x", "1");
	z = ask_command(t, "BZPOPMIN l 0");
	call_ok(z);
	assert_int_equal(c->answers, 0);
	expect(t, "SET l text", "OK");
	expect(t, "DEL l", "1");
	assert_int_equal(c->answers, 0);
	expect(t, "RPUSH l x", "1");
	call_ok(c);
	/* Where to is no list: the element stays. */
	expect(t, "SET to text", "OK");
	m = ask_command(t, "BLMOVE l to LEFT LEFT 0");
	suite_settle(t);
	expect(t, "RPUSH l y", "1");
	call_ok(m);
	assert_int_equal(m->value->type, BH_ERROR);
	expect(t, "LRANGE l 0 -1", "[y]");
}

static void
a_wait_ends_in_time(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_command(t, "BLPOP a b 1.5");
	struct call *m = ask_command(t, "BZMPOP 2.0001 1 z MIN");
	struct call *ever = ask_command(t, "BRPOPLPUSH a b 0");

	suite_settle(t);
	suite_pass(t, 1499);
	assert_int_equal(c->answers, 0);
	suite_pass(t, 1);
	call_ok(c);
	assert_int_equal(c->value->type, BH_NULL_ARRAY);
	suite_pass(t, 500);
	assert_int_equal(m->answers, 0);
	suite_pass(t, 1);
	call_ok(m);
	assert_int_equal(m->value->type, BH_NULL_ARRAY);
	suite_pass(t, 1000000000);
	assert_int_equal(ever->answers, 0);
	expect(t, "RPUSH a x", "1");
	call_ok(ever);
	expect_answer(ever, "BRPOPLPUSH", "x");
}

/* Who has gone away takes nothing. */
static void
a_cancelled_wait_takes_nothing(void **state)
{
	struct suite_env *t = *state;
	struct call *gone = ask_command(t, "BLPOP l 0");
	struct call *here = ask_command(t, "BLPOP l 0");

	suite_settle(t);
	call_cancel(gone);
	suite_settle(t);
	assert_int_equal(gone->status, BH_E_CANCELED);
	expect(t, "RPUSH l x y", "2");
	call_ok(here);
	expect_answer(here, "BLPOP", "[l x]");
	expect(t, "LRANGE l 0 -1", "[y]");
}

/* The answer and what it took are one: who was told has it for good. */
static void
what_a_wait_took_is_gone_for_good(void **state)
{
	struct suite_env *t = *state;

	for (int turns = 0; turns < 4; turns++) {
		struct call *c = ask_command(t, "BLPOP l 0");
		int64_t n;

		suite_settle(t);
		ask_command(t, "RPUSH l x y");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		n = number(t, "LLEN l");
		if (c->status == BH_OK)
			assert_int_equal(n, 1);
		else
			assert_true(n == 0 || n == 1);
		call_ok(ask_command(t, "DEL l"));
	}
}

/* A wait that takes very much goes on in slices, and the others wait on. */
static void
a_wait_may_take_much(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_command(t, "BLMPOP 0 1 l LEFT COUNT 8000");
	struct call *d = ask_command(t, "BLMPOP 0 1 l LEFT COUNT 8000");

	suite_settle(t);
	send_many(t, "RPUSH from", "e%", 9000);
	expect(t, "RENAME from l", "OK");
	call_ok(c);
	call_ok(d);
	assert_int_equal(c->value[2].n, 8000);
	assert_int_equal(d->value[2].n, 1000);
	suite_crash_now(t);
	expect(t, "EXISTS l", "0");
}

const struct suite_case suite_key_list_cases[] = {
	CASE_KEYSPACE(a_list_outlives_a_crash),
	CASE_KEYSPACE(insertions_at_one_place_outlive_a_crash),
	CASE_KEYSPACE(a_sorted_set_outlives_a_crash),
	CASE_KEYSPACE(renames_and_copies_take_all_with_them),
	CASE_KEYSPACE(a_move_is_whole_or_not_at_all),
	CASE_KEYSPACE(big_ones_go_in_slices_and_outlive_a_crash),
	CASE_KEYSPACE(a_big_copy_goes_in_slices),
	CASE_KEYSPACE(a_walk_is_whole_or_not_at_all),
	CASE_KEYSPACE(an_element_ends_a_wait),
	CASE_KEYSPACE(first_come_first_served),
	CASE_KEYSPACE(a_chain_of_those_who_wait),
	CASE_KEYSPACE(any_change_ends_a_wait),
	CASE_KEYSPACE(another_type_leaves_them_waiting),
	CASE_KEYSPACE(a_wait_ends_in_time),
	CASE_KEYSPACE(a_cancelled_wait_takes_nothing),
	CASE_KEYSPACE(what_a_wait_took_is_gone_for_good),
	CASE_KEYSPACE(a_wait_may_take_much),
	{0},
};
