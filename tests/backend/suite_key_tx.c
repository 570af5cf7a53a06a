/* SPDX-License-Identifier: MIT */
/* Cases: transactions and scripts of the keyspace. */
#include "suite.h"

static const struct bh_value *
answer_of(struct call *c)
{
	call_ok(c);
	return c->value;
}

/* By client 1, unless another is named. */
static const struct bh_value *
say(struct suite_env *t, uint64_t client, const char *words)
{
	return answer_of(ask_command_of(t, client, words, NULL));
}

/* EXEC with these commands, separated by '|'. */
static const struct bh_value *
exec(struct suite_env *t, const char *commands)
{
	return answer_of(ask_command_of(t, 1, "EXEC", commands));
}

static void
expect_text(const struct bh_value *v, const char *want)
{
	assert_int_equal(v->type, BH_STRING);
	expect_bytes(v->s, want);
}

static void
expect_key(struct suite_env *t, const char *name, const char *want)
{
	char words[100];

	snprintf(words, sizeof(words), "GET %s", name);
	if (want)
		expect_text(say(t, 0, words), want);
	else
		assert_int_equal(say(t, 0, words)->type, BH_NULL);
}

static void
a_transaction_answers_for_each_command(void **state)
{
	struct suite_env *t = *state;
	const struct bh_value *v = exec(t, "SET a 1|INCR a|RPUSH l x y|"
	    "LRANGE l 0 -1|INCR l|GET none|GET a");

	assert_int_equal(v[0].type, BH_ARRAY);
	assert_int_equal(v[0].n, 7);
	assert_int_equal(v[1].type, BH_STATUS);
	assert_int_equal(v[2].i, 2);
	assert_int_equal(v[3].i, 2);
	assert_int_equal(v[4].type, BH_ARRAY);
	assert_int_equal(v[4].n, 2);
	expect_text(&v[5], "x");
	expect_text(&v[6], "y");
	assert_int_equal(v[7].type, BH_ERROR);
	expect_prefix(v[7].s, "WRONGTYPE");
	assert_int_equal(v[8].type, BH_NULL);
	expect_text(&v[9], "2");
	v = exec(t, "");
	assert_int_equal(v->type, BH_ARRAY);
	assert_int_equal(v->n, 0);
}

static void
a_change_of_a_watched_key_breaks_it(void **state)
{
	struct suite_env *t = *state;

	(void)say(t, 1, "SET a 1");
	(void)say(t, 1, "WATCH a b");
	(void)say(t, 2, "SET a 2");
	assert_int_equal(exec(t, "SET a 3|SET c 1")->type, BH_NULL_ARRAY);
	expect_key(t, "a", "2");
	expect_key(t, "c", NULL);
	/* And is forgotten. */
	assert_int_equal(exec(t, "SET a 3")->type, BH_ARRAY);
	/* One that comes, one that goes, one's own change. */
	(void)say(t, 1, "WATCH b");
	(void)say(t, 2, "SET b 1");
	assert_int_equal(exec(t, "GET a")->type, BH_NULL_ARRAY);
	(void)say(t, 1, "WATCH b");
	(void)say(t, 2, "DEL b");
	assert_int_equal(exec(t, "GET a")->type, BH_NULL_ARRAY);
	(void)say(t, 1, "WATCH a");
	(void)say(t, 1, "INCR a");
	assert_int_equal(exec(t, "GET a")->type, BH_NULL_ARRAY);
	expect_key(t, "a", "4");
}

static void
what_does_not_change_breaks_nothing(void **state)
{
	struct suite_env *t = *state;

	(void)say(t, 1, "SET a 1");
	(void)say(t, 1, "WATCH a");
	(void)say(t, 2, "GET a");
	(void)say(t, 2, "SET b 1");
	(void)say(t, 2, "SETNX a 5");
	assert_int_equal(exec(t, "GET a")->type, BH_ARRAY);
	(void)say(t, 1, "WATCH a");
	(void)say(t, 2, "SET a 2");
	(void)say(t, 1, "UNWATCH");
	assert_int_equal(exec(t, "GET a")->type, BH_ARRAY);
	/* The watch of one is not that of another. */
	(void)say(t, 2, "WATCH a");
	(void)say(t, 3, "SET a 3");
	assert_int_equal(exec(t, "GET a")->type, BH_ARRAY);
	(void)say(t, 2, "UNWATCH");
}

static void
a_transaction_outlives_a_crash_as_a_whole(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	(void)say(t, 1, "SET old 1");
	c = ask_command_of(t, 1, "EXEC", "SET a 1|DEL old|RPUSH l x|SET b 2");
	while (!c->answers)
		suite_turn(t);
	suite_crash_now(t);
	expect_key(t, "a", "1");
	expect_key(t, "b", "2");
	expect_key(t, "old", NULL);
	assert_int_equal(say(t, 0, "LLEN l")->i, 1);
}

static void
a_script_reads_writes_and_answers(void **state)
{
	struct suite_env *t = *state;
	const struct bh_value *v = say(t, 0, "EVAL "
	    "redis.call('SET',KEYS[1],ARGV[1]);"
	    "return{redis.call('INCR',KEYS[1]),'x',false,3.9,{1}} 1 k 41");

	assert_int_equal(v[0].type, BH_ARRAY);
	assert_int_equal(v[0].n, 5);
	assert_int_equal(v[1].i, 42);
	expect_text(&v[2], "x");
	assert_int_equal(v[3].type, BH_NULL);
	assert_int_equal(v[4].i, 3);
	assert_int_equal(v[5].n, 1);
	assert_int_equal(v[6].i, 1);
	v = say(t, 0, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0");
	if (v->type == BH_ERROR)
		expect_prefix(v->s, "NOSCRIPT");
	(void)say(t, 0, "SCRIPT LOAD return(1)");
	v = say(t, 0, "EVAL return(redis.call('RPUSH',KEYS[1],'x')) 1 k");
	assert_int_equal(v->type, BH_ERROR);
	expect_prefix(v->s, "WRONGTYPE");
	/* Inside of a transaction. */
	v = exec(t, "EVAL return(redis.call('INCR','k')) 0|GET k");
	assert_int_equal(v[1].i, 43);
	expect_text(&v[2], "43");
}

static void
what_a_script_has_written_outlives_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct call *c = ask_command(t, "EVAL redis.call('SET','a',1);"
	    "redis.call('RPUSH','l',1,2,3);redis.call('LPOP','l') 0");

	while (!c->answers)
		suite_turn(t);
	suite_crash_now(t);
	expect_key(t, "a", "1");
	assert_int_equal(say(t, 0, "LLEN l")->i, 2);
}

const struct suite_case suite_key_tx_cases[] = {
	CASE_STORAGE(a_transaction_answers_for_each_command),
	CASE_STORAGE(a_change_of_a_watched_key_breaks_it),
	CASE_STORAGE(what_does_not_change_breaks_nothing),
	CASE_CRASH(a_transaction_outlives_a_crash_as_a_whole),
	CASE_STORAGE(a_script_reads_writes_and_answers),
	CASE_CRASH(what_a_script_has_written_outlives_a_crash),
	{0},
};
