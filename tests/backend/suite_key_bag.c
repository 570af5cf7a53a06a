/* SPDX-License-Identifier: MIT */
/* Cases: hashes and sets, what of them lasts. That they answer as Redis' is
 * compared elsewhere. */
#include "suite.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/xalloc.h"

/* --- answers as text, the items of an array sorted --- */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *
show(const struct bh_value *v)
{
	struct buf b = BUF_INIT;
	char **items;

	switch (v->type) {
	case BH_STATUS:
	case BH_STRING:
	case BH_ERROR:
		buf_add(&b, v->s.data, v->s.len);
		break;
	case BH_INTEGER:
		buf_addi(&b, v->i);
		break;
	case BH_ARRAY:
		items = xcalloc(v->n + 1, sizeof(char *));
		for (size_t i = 0; i < v->n; i++)
			items[i] = show(v + 1 + i);
		qsort(items, v->n, sizeof(char *), by_text);
		for (size_t i = 0; i < v->n; i++) {
			buf_addf(&b, "%s%s", i ? " " : "", items[i]);
			free(items[i]);
		}
		free(items);
		break;
	default:
		buf_adds(&b, "nothing");
	}
	return buf_take(&b);
}

static char *
ask(struct suite_env *t, const char *words)
{
	struct call *c = ask_command(t, words);

	call_ok(c);
	return show(c->value);
}

static bool
says(struct suite_env *t, const char *words, const char *want)
{
	char *got = ask(t, words);
	bool same = strcmp(got, want) == 0;

	free(got);
	return same;
}

static void
expect(struct suite_env *t, const char *words, const char *want)
{
	char *got = ask(t, words);

	if (strcmp(got, want) != 0)
		fail_msg("%.100s: %.500s, not %s", words, got, want);
	free(got);
}

/* A command with the words from w0 to w<n-1> behind it, each as the format
 * says. */
static struct call *
ask_many(struct suite_env *t, const char *head, const char *each, int n)
{
	struct call *c;
	struct buf b = BUF_INIT;

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

/* --- what lasts --- */

static void
fields_and_members_outlive_a_crash(void **state)
{
	struct suite_env *t = *state;

	expect(t, "HSET h a 1 b 2 c 3", "3");
	expect(t, "HSET h b 22 d 4", "1");
	expect(t, "HDEL h a nosuch", "1");
	expect(t, "HINCRBY h n 5", "5");
	expect(t, "SADD s x y z", "3");
	expect(t, "SREM s y", "1");
	expect(t, "SMOVE s other z", "1");
	suite_crash_now(t);
	expect(t, "HGETALL h", "22 3 4 5 b c d n");
	expect(t, "SMEMBERS s", "x");
	expect(t, "SMEMBERS other", "z");
	expect(t, "TYPE h", "hash");
	expect(t, "TYPE s", "set");
}

static void
what_is_empty_is_gone_for_good(void **state)
{
	struct suite_env *t = *state;

	expect(t, "HSET h a 1", "1");
	expect(t, "SADD s a", "1");
	expect(t, "SADD p a b", "2");
	suite_crash_now(t);
	expect(t, "HDEL h a", "1");
	expect(t, "SREM s a", "1");
	expect(t, "SPOP p 2", "a b");
	expect(t, "EXISTS h s p", "0");
	suite_crash_now(t);
	expect(t, "EXISTS h s p", "0");
	/* Nothing of the old ones shows in those that come after them. */
	expect(t, "HSET h b 2", "1");
	expect(t, "SADD s b", "1");
	suite_crash_now(t);
	expect(t, "HGETALL h", "2 b");
	expect(t, "SMEMBERS s", "b");
}

/* A field that is overwritten by another type, and the other way round. */
static void
a_key_of_another_type_leaves_nothing_behind(void **state)
{
	struct suite_env *t = *state;

	expect(t, "HSET k a 1 b 2", "2");
	expect(t, "SET k text", "OK");
	suite_crash_now(t);
	expect(t, "GET k", "text");
	expect(t, "DEL k", "1");
	expect(t, "SADD k a", "1");
	suite_crash_now(t);
	expect(t, "SMEMBERS k", "a");
	expect(t, "SUNIONSTORE k nosuch", "0");
	suite_crash_now(t);
	expect(t, "EXISTS k", "0");
}

static void
renames_and_copies_take_all_with_them(void **state)
{
	struct suite_env *t = *state;

	expect(t, "HSET h a 1 b 2", "2");
	expect(t, "SADD s x y", "2");
	expect(t, "EXPIRE s 1000", "1");
	expect(t, "RENAME h h2", "OK");
	expect(t, "COPY s s2", "1");
	expect(t, "RENAME s cache:s", "OK");
	expect(t, "COPY cache:s back", "1");
	expect(t, "SREM s2 x", "1");
	suite_crash_now(t);
	expect(t, "HGETALL h2", "1 2 a b");
	expect(t, "SMEMBERS s2", "y");
	expect(t, "SMEMBERS back", "x y");
	expect(t, "EXISTS h s cache:s", "0");
	expect(t, "HSET h2 c 3", "1");
	suite_crash_now(t);
	expect(t, "HGETALL h2", "1 2 3 a b c");
	expect(t, "TTL s2", "1000");
	expect(t, "TTL back", "1000");
}

static void
volatile_ones_are_gone_after_a_restart(void **state)
{
	struct suite_env *t = *state;

	expect(t, "HSET cache:h a 1", "1");
	expect(t, "SADD cache:s a", "1");
	expect(t, "SUNIONSTORE kept cache:s", "1");
	expect(t, "RENAME cache:h h", "OK");
	suite_reopen(t, 0);
	expect(t, "EXISTS cache:h cache:s", "0");
	expect(t, "SMEMBERS kept", "a");
	expect(t, "HGETALL h", "1 a");
}

/* Two sets, one commit: the member is in one of them, always. */
static void
a_move_is_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;

	for (int turns = 0; turns < 3; turns++) {
		expect(t, "SADD from m", "1");
		ask_command(t, "SMOVE from to m");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		expect(t, "SUNION from to", "m");
		expect(t, "SINTER from to", "");
		expect(t, "DEL from to", "1");
	}
}

/* --- what is big --- */

enum { MANY = 20000 };

static void
fill(struct suite_env *t, const char *key)
{
	char head[60];

	for (int i = 0; i < MANY / 1000; i++) {
		struct buf each = BUF_INIT;

		snprintf(head, sizeof(head), "SADD %s", key);
		buf_addf(&each, "%d:%%", i);
		send_many(t, head, buf_str(&each), 1000);
		buf_done(&each);
	}
}

static void
big_ones_go_in_slices_and_outlive_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct call *walk, *add;

	fill(t, "s");
	walk = ask_command(t, "SMEMBERS s");
	add = ask_command(t, "SADD s later");
	call_ok(walk);
	call_ok(add);
	assert_true(walk->order < add->order);
	assert_int_equal(walk->value->n, MANY);
	expect(t, "SUNIONSTORE all s nosuch", "20001");
	expect(t, "SDIFFSTORE less all small", "20001");
	suite_crash_now(t);
	expect(t, "SCARD s", "20001");
	expect(t, "SCARD all", "20001");
	expect(t, "SINTERCARD 2 all less", "20001");
	expect(t, "SDIFF all s", "");
	expect(t, "SISMEMBER all 19:999", "1");
	expect(t, "DEL all", "1");
	call_ok(ask_command(t, "SPOP s 15000"));
	suite_crash_now(t);
	expect(t, "SCARD s", "5001");
}

/* The daemon dies while a large result is on its way to the disk: the name
 * has what it had. */
static void
a_result_is_stored_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;
	struct call *c;
	char *size;

	fill(t, "s");
	expect(t, "SADD to old", "1");
	for (int turns = 1; turns < 12; turns++) {
		c = ask_command(t, "SUNIONSTORE to s nosuch");
		for (int i = 0; i < turns && !c->answers; i++)
			suite_turn(t);
		suite_crash_now(t);
		size = ask(t, "SCARD to");
		if (strcmp(size, "1") == 0)
			expect(t, "SMEMBERS to", "old");
		else
			assert_string_equal(size, "20000");
		free(size);
	}
	call_ok(ask_command(t, "SUNIONSTORE to s nosuch"));
	suite_crash_now(t);
	expect(t, "SCARD to", "20000");
	expect(t, "SDIFF s to", "");
}

static void
a_large_pop_is_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;
	struct call *c;
	char *size;

	for (int turns = 1; turns < 8; turns++) {
		fill(t, "s");
		expect(t, "SCARD s", "20000");
		c = ask_command(t, "SPOP s 15000");
		for (int i = 0; i < turns && !c->answers; i++)
			suite_turn(t);
		suite_crash_now(t);
		size = ask(t, "SCARD s");
		if (strcmp(size, "20000") != 0)
			assert_string_equal(size, "5000");
		free(size);
	}
}

/* Of every type that is copied in slices: whole or not at all, too. */
static void
big_copies_are_equal_and_whole(void **state)
{
	static const struct {
		const char *head, *each, *count, *item, *want;
	} rows[] = {
		{"HSET from", "f% v%", "HLEN", "HGET %s f777", "v777"},
		{"SADD from", "m%", "SCARD", "SISMEMBER %s m777", "1"},
		{"ZADD from", "% m%", "ZCARD", "ZSCORE %s m777", "777"},
		{"RPUSH from", "e%", "LLEN", "LINDEX %s 777", "e777"},
	};
	static const char *const names[] = {"from", "copy", "cache:c", "back"};
	struct suite_env *t = *state;
	struct call *c;
	char words[100];

	for (size_t i = 0; i < nitems(rows); i++) {
		expect(t, "FLUSHALL", "OK");
		send_many(t, rows[i].head, rows[i].each, MANY);
		expect(t, "EXPIRE from 1000", "1");
		for (int turns = 1; turns < 9; turns += 2) {
			c = ask_command(t, "COPY from copy");
			for (int k = 0; k < turns && !c->answers; k++)
				suite_turn(t);
			suite_crash_now(t);
			if (says(t, "EXISTS copy", "1"))
				break;
		}
		free(ask(t, "COPY from copy"));
		expect(t, "COPY from cache:c", "1");
		expect(t, "COPY from tmp", "1");
		expect(t, "RENAME tmp cache:t", "OK");
		expect(t, "RENAME cache:t back", "OK");
		expect(t, "EXISTS tmp cache:t", "0");
		for (int round = 0; round < 2; round++) {
			for (size_t k = 0; k < nitems(names); k++) {
				if (round > 0 && k == 2)
					continue;
				snprintf(words, sizeof(words), "%s %s",
				    rows[i].count, names[k]);
				expect(t, words, "20000");
				snprintf(words, sizeof(words), rows[i].item,
				    names[k]);
				expect(t, words, rows[i].want);
				snprintf(words, sizeof(words), "TTL %s",
				    names[k]);
				expect(t, words, "1000");
			}
			suite_crash_now(t);
		}
	}
}

/* More words than one slice takes: all of them or none. */
static void
many_words_are_one_change(void **state)
{
	static const struct {
		const char *head, *each, *ask, *all;
	} rows[] = {
		{"MSET", "k% %", "DBSIZE", "20000"},
		{"MSETNX", "k% %", "DBSIZE", "20000"},
		{"HSET h", "f% %", "HLEN h", "20000"},
		{"SADD s", "m%", "SCARD s", "20000"},
	};
	struct suite_env *t = *state;
	struct call *c;

	for (size_t i = 0; i < nitems(rows); i++) {
		for (int turns = 1; turns < 18; turns += 2) {
			char *n;

			c = ask_many(t, rows[i].head, rows[i].each, MANY);
			for (int k = 0; k < turns && !c->answers; k++)
				suite_turn(t);
			suite_crash_now(t);
			n = ask(t, rows[i].ask);
			if (strcmp(n, "0") != 0)
				assert_string_equal(n, rows[i].all);
			free(n);
			expect(t, "FLUSHALL", "OK");
		}
	}
}

static void
many_deletions_are_one_change(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	for (int turns = 1; turns < 18; turns += 2) {
		char *n;

		send_many(t, "MSET", "k% %", MANY);
		c = ask_many(t, "DEL", "k%", MANY);
		for (int k = 0; k < turns && !c->answers; k++)
			suite_turn(t);
		suite_crash_now(t);
		n = ask(t, "DBSIZE");
		if (strcmp(n, "0") != 0)
			assert_string_equal(n, "20000");
		free(n);
	}
}

static void
a_big_one_that_goes_leaves_no_trace(void **state)
{
	struct suite_env *t = *state;

	fill(t, "s");
	send_many(t, "HSET h", "f% %", 5000);
	suite_settle(t);
	expect(t, "DEL s", "1");
	expect(t, "RENAME h h2", "OK");
	suite_crash_now(t);
	expect(t, "SADD s new", "1");
	expect(t, "HLEN h2", "5000");
	expect(t, "HGET h2 f4999", "4999");
	suite_crash(t, 0);
	expect(t, "SMEMBERS s", "new");
	expect(t, "DBSIZE", "2");
}

const struct suite_case suite_key_bag_cases[] = {
	CASE_KEYSPACE(fields_and_members_outlive_a_crash),
	CASE_KEYSPACE(what_is_empty_is_gone_for_good),
	CASE_KEYSPACE(a_key_of_another_type_leaves_nothing_behind),
	CASE_KEYSPACE(renames_and_copies_take_all_with_them),
	CASE_KEYSPACE(volatile_ones_are_gone_after_a_restart),
	CASE_KEYSPACE(a_move_is_whole_or_not_at_all),
	CASE_KEYSPACE(big_ones_go_in_slices_and_outlive_a_crash),
	CASE_KEYSPACE(a_result_is_stored_whole_or_not_at_all),
	CASE_KEYSPACE(a_large_pop_is_whole_or_not_at_all),
	CASE_KEYSPACE(big_copies_are_equal_and_whole),
	CASE_KEYSPACE(many_words_are_one_change),
	CASE_KEYSPACE(many_deletions_are_one_change),
	CASE_KEYSPACE(a_big_one_that_goes_leaves_no_trace),
	{0},
};
