/* SPDX-License-Identifier: MIT */
/* Cases: streams, and what of them outlives a crash. */
#include "suite.h"

static const struct bh_value *
run(struct suite_env *t, const char *words)
{
	struct call *c = ask_command(t, words);

	call_ok(c);
	if (c->value->type == BH_ERROR)
		fail_msg("%s: %.*s", words, (int)c->value->s.len,
		    c->value->s.data);
	return c->value;
}

/* An answer as text: "[a [b 1]]", null as "-". */
static const struct bh_value *
put_text(const struct bh_value *v, char *out, size_t size)
{
	size_t at = strlen(out), n = v->type == BH_MAP ? 2 * v->n : v->n;

	switch (v->type) {
	case BH_NULL:
	case BH_NULL_ARRAY:
		snprintf(out + at, size - at, "-");
		return v + 1;
	case BH_INTEGER:
		snprintf(out + at, size - at, "%jd", (intmax_t)v->i);
		return v + 1;
	case BH_DOUBLE:
		snprintf(out + at, size - at, "%g", v->d);
		return v + 1;
	case BH_STATUS:
	case BH_ERROR:
	case BH_STRING:
		snprintf(out + at, size - at, "%.*s", (int)v->s.len,
		    v->s.data);
		return v + 1;
	case BH_ARRAY:
	case BH_MAP:
		break;
	}
	v++;
	snprintf(out + at, size - at, "[");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			strncat(out, " ", size - strlen(out) - 1);
		v = put_text(v, out, size);
	}
	strncat(out, "]", size - strlen(out) - 1);
	return v;
}

static void
expect(struct suite_env *t, const char *words, const char *want)
{
	char text[2000] = "";

	put_text(run(t, words), text, sizeof(text));
	if (strcmp(text, want) != 0)
		fail_msg("%s: %s, not %s", words, text, want);
}

/* What a call that waits has been answered. */
static void
expect_answer(struct call *c, const char *want)
{
	char text[2000] = "";

	call_ok(c);
	put_text(c->value, text, sizeof(text));
	assert_string_equal(text, want);
}

/* Entries 1-0 … n-0. */
static void
fill(struct suite_env *t, const char *key, int n)
{
	char words[80];

	for (int i = 1; i <= n; i++) {
		snprintf(words, sizeof(words), "XADD %s %d-0 n %d", key, i, i);
		ask_command(t, words);
		if (i % 500 == 0)
			suite_settle(t);
	}
	suite_settle(t);
}

/* --- what lasts --- */

static void
an_acknowledged_entry_outlives_a_crash(void **state)
{
	struct suite_env *t = *state;
	struct call *c;

	expect(t, "XADD s 5-1 a 1 b 2", "5-1");
	c = ask_command(t, "XADD s 5-2 a 3");
	while (!c->answers)
		suite_turn(t);
	suite_crash_now(t);
	expect(t, "XRANGE s - +", "[[5-1 [a 1 b 2]] [5-2 [a 3]]]");
	expect(t, "XADD s 5-* a 4", "5-3");
	expect(t, "XLEN s", "3");
}

/* The greatest id stays the greatest, though no entry tells it. */
static void
an_id_is_not_used_again(void **state)
{
	struct suite_env *t = *state;

	fill(t, "s", 3);
	expect(t, "XDEL s 3-0", "1");
	suite_crash(t, 0);
	expect(t, "XADD s 3-* n x", "3-1");
	expect(t, "XTRIM s MAXLEN 0", "3");
	suite_crash(t, 0);
	expect(t, "TYPE s", "stream");
	expect(t, "XLEN s", "0");
	expect(t, "XADD s 3-* n y", "3-2");
	expect(t, "XSETID s 9-9 ENTRIESADDED 40 MAXDELETEDID 4-4", "OK");
	suite_crash(t, 0);
	expect(t, "XADD s 9-* n z", "9-10");
	suite_crash(t, 0);
	expect(t, "XRANGE s - +", "[[3-2 [n y]] [9-10 [n z]]]");
	expect(t, "XINFO STREAM s", "[length 2 radix-tree-keys 1"
	    " radix-tree-nodes 2 last-generated-id 9-10 max-deleted-entry-id"
	    " 4-4 entries-added 41 recorded-first-entry-id 3-2 groups 0"
	    " first-entry [3-2 [n y]] last-entry [9-10 [n z]]]");
}

static void
an_empty_stream_and_its_group_are_kept(void **state)
{
	struct suite_env *t = *state;

	expect(t, "XGROUP CREATE s g $ MKSTREAM", "OK");
	expect(t, "XGROUP CREATECONSUMER s g me", "1");
	suite_crash(t, 0);
	expect(t, "XINFO GROUPS s", "[[name g consumers 1 pending 0"
	    " last-delivered-id 0-0 entries-read - lag 0]]");
	expect(t, "XGROUP DESTROY s g", "1");
	suite_crash(t, 0);
	expect(t, "XINFO GROUPS s", "[]");
	expect(t, "EXISTS s", "1");
}

static void
groups_and_what_is_pending_outlive_a_crash(void **state)
{
	struct suite_env *t = *state;

	fill(t, "s", 5);
	expect(t, "XGROUP CREATE s g 0", "OK");
	expect(t, "XGROUP CREATE s h 3-0", "OK");
	run(t, "XREADGROUP GROUP g me COUNT 3 STREAMS s >");
	run(t, "XREADGROUP GROUP g you COUNT 1 STREAMS s >");
	expect(t, "XACK s g 2-0", "1");
	suite_crash(t, 1000);
	expect(t, "XPENDING s g", "[3 1-0 4-0 [[me 2] [you 1]]]");
	expect(t, "XPENDING s g - + 9", "[[1-0 me 1000 1] [3-0 me 1000 1]"
	    " [4-0 you 1000 1]]");
	expect(t, "XINFO GROUPS s", "[[name g consumers 2 pending 3"
	    " last-delivered-id 4-0 entries-read 4 lag 1] [name h consumers 0"
	    " pending 0 last-delivered-id 3-0 entries-read - lag -]]");
	expect(t, "XREADGROUP GROUP g you STREAMS s >",
	    "[[s [[5-0 [n 5]]]]]");
	expect(t, "XREADGROUP GROUP g me STREAMS s 0",
	    "[[s [[1-0 [n 1]] [3-0 [n 3]]]]]");
}

static void
what_was_claimed_stays_claimed(void **state)
{
	struct suite_env *t = *state;

	fill(t, "s", 3);
	expect(t, "XGROUP CREATE s g 0", "OK");
	run(t, "XREADGROUP GROUP g dead STREAMS s >");
	suite_pass(t, 60000);
	expect(t, "XCLAIM s g me 60000 2-0 JUSTID", "[2-0]");
	suite_crash(t, 0);
	expect(t, "XAUTOCLAIM s g me 60000 0 COUNT 1",
	    "[2-0 [[1-0 [n 1]]] []]");
	suite_crash(t, 0);
	expect(t, "XPENDING s g - + 9", "[[1-0 me 0 2] [2-0 me 0 1]"
	    " [3-0 dead 60000 1]]");
	expect(t, "XGROUP DELCONSUMER s g me", "2");
	suite_crash(t, 0);
	expect(t, "XPENDING s g", "[1 3-0 3-0 [[dead 1]]]");
	expect(t, "XINFO CONSUMERS s g", "[[name dead pending 1 idle 60000]]");
}

static void
what_is_trimmed_or_deleted_stays_away(void **state)
{
	struct suite_env *t = *state;

	fill(t, "s", 10);
	expect(t, "XADD s MAXLEN 6 11-0 n 11", "11-0");
	expect(t, "XDEL s 8-0 9-0", "2");
	expect(t, "XTRIM s MINID 7-0", "1");
	suite_crash(t, 0);
	expect(t, "XRANGE s - +",
	    "[[7-0 [n 7]] [10-0 [n 10]] [11-0 [n 11]]]");
	expect(t, "XREVRANGE s + - COUNT 1", "[[11-0 [n 11]]]");
}

static void
a_renamed_or_copied_stream_is_whole(void **state)
{
	struct suite_env *t = *state;

	fill(t, "s", 3);
	expect(t, "XGROUP CREATE s g 0", "OK");
	run(t, "XREADGROUP GROUP g me COUNT 2 STREAMS s >");
	expect(t, "COPY s copy", "1");
	expect(t, "RENAME s new", "OK");
	expect(t, "XACK copy g 1-0", "1");
	suite_crash(t, 0);
	expect(t, "EXISTS s", "0");
	expect(t, "XPENDING new g", "[2 1-0 2-0 [[me 2]]]");
	expect(t, "XPENDING copy g", "[1 2-0 2-0 [[me 1]]]");
	expect(t, "XADD copy 3-* n x", "3-1");
	expect(t, "XLEN new", "3");
	expect(t, "DEL new", "1");
	suite_crash(t, 0);
	expect(t, "XADD new 1-0 a b", "1-0");
	suite_crash(t, 0);
	expect(t, "XRANGE new - +", "[[1-0 [a b]]]");
	expect(t, "XINFO GROUPS new", "[]");
}

/* Never the entries without the group's place, never the other way round. */
static void
a_delivery_is_whole_or_not_at_all(void **state)
{
	struct suite_env *t = *state;

	for (int turns = 0; turns < 4; turns++) {
		const struct bh_value *v;

		run(t, "DEL s");
		fill(t, "s", 3);
		expect(t, "XGROUP CREATE s g 0", "OK");
		ask_command(t, "XREADGROUP GROUP g me STREAMS s >");
		for (int i = 0; i < turns; i++)
			suite_turn(t);
		suite_crash_now(t);
		v = run(t, "XPENDING s g");
		if (v[1].i == 3)
			expect(t, "XREADGROUP GROUP g me STREAMS s >", "-");
		else
			expect(t, "XREADGROUP GROUP g me STREAMS s >",
			    "[[s [[1-0 [n 1]] [2-0 [n 2]] [3-0 [n 3]]]]]");
	}
}

/* --- long ones --- */

static void
a_long_stream_goes_in_slices(void **state)
{
	struct suite_env *t = *state;
	struct call *trim, *len;

	fill(t, "s", 5000);
	expect(t, "XGROUP CREATE s g 0", "OK");
	run(t, "XREADGROUP GROUP g me STREAMS s >");
	expect(t, "XPENDING s g", "[5000 1-0 5000-0 [[me 5000]]]");
	trim = ask_command(t, "XTRIM s MAXLEN 10");
	len = ask_command(t, "XLEN s");
	expect_answer(trim, "4990");
	expect_answer(len, "10");
	assert_true(trim->order < len->order);
	suite_crash(t, 0);
	expect(t, "XLEN s", "10");
	expect(t, "XPENDING s g", "[5000 1-0 5000-0 [[me 5000]]]");
	assert_int_equal(run(t, "XAUTOCLAIM s g me 0 0 COUNT 6000")[2].n, 10);
	expect(t, "XGROUP DELCONSUMER s g me", "10");
	suite_crash(t, 0);
	expect(t, "XPENDING s g", "[0 - - -]");
	expect(t, "DEL s", "1");
	suite_crash(t, 0);
	expect(t, "DBSIZE", "0");
}

/* --- those who wait --- */

static void
a_reader_waits_for_an_entry(void **state)
{
	struct suite_env *t = *state;
	struct call *a, *b;

	a = ask_command(t, "XREAD BLOCK 0 STREAMS s $");
	b = ask_command(t, "XREAD BLOCK 5000 STREAMS s other $ 0");
	suite_settle(t);
	assert_int_equal(a->answers + b->answers, 0);
	expect(t, "XADD s 1-0 n 1", "1-0");
	expect_answer(a, "[[s [[1-0 [n 1]]]]]");
	expect_answer(b, "[[s [[1-0 [n 1]]]]]");
	assert_true(a->order < b->order);
	a = ask_command(t, "XREAD BLOCK 5000 STREAMS s $");
	suite_settle(t);
	assert_int_equal(a->answers, 0);
	suite_pass(t, 5000);
	expect_answer(a, "-");
}

/* Each entry goes to one of them, to the one that has waited for longest. */
static void
consumers_wait_in_line(void **state)
{
	struct suite_env *t = *state;
	struct call *a, *b;

	expect(t, "XGROUP CREATE s g $ MKSTREAM", "OK");
	a = ask_command(t, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
	b = ask_command(t, "XREADGROUP GROUP g two BLOCK 0 STREAMS s >");
	suite_settle(t);
	expect(t, "XADD s 1-0 n 1", "1-0");
	expect_answer(a, "[[s [[1-0 [n 1]]]]]");
	assert_int_equal(b->answers, 0);
	expect(t, "XADD s 2-0 n 2", "2-0");
	expect_answer(b, "[[s [[2-0 [n 2]]]]]");
	suite_crash(t, 0);
	expect(t, "XPENDING s g", "[2 1-0 2-0 [[one 1] [two 1]]]");
}

static void
who_waits_for_what_is_gone_is_told(void **state)
{
	struct suite_env *t = *state;
	static const char *const ends[][2] = {
		{"XGROUP DESTROY s g", "NOGROUP the consumer group this client"
		    " was blocked on no longer exists"},
		{"DEL s", "UNBLOCKED the stream key no longer exists"},
		{"FLUSHALL", "UNBLOCKED the stream key no longer exists"},
		{"PEXPIRE s -1", "UNBLOCKED the stream key no longer exists"},
	};

	for (size_t i = 0; i < nitems(ends); i++) {
		struct call *c;

		expect(t, "XGROUP CREATE s g $ MKSTREAM", "OK");
		c = ask_command(t, "XREADGROUP GROUP g me BLOCK 0 STREAMS s"
		    " >");
		suite_settle(t);
		assert_int_equal(c->answers, 0);
		run(t, ends[i][0]);
		expect_answer(c, ends[i][1]);
		run(t, "DEL s");
	}
}

const struct suite_case suite_stream_cases[] = {
	CASE_KEYSPACE(an_acknowledged_entry_outlives_a_crash),
	CASE_KEYSPACE(an_id_is_not_used_again),
	CASE_KEYSPACE(an_empty_stream_and_its_group_are_kept),
	CASE_KEYSPACE(groups_and_what_is_pending_outlive_a_crash),
	CASE_KEYSPACE(what_was_claimed_stays_claimed),
	CASE_KEYSPACE(what_is_trimmed_or_deleted_stays_away),
	CASE_KEYSPACE(a_renamed_or_copied_stream_is_whole),
	CASE_KEYSPACE(a_delivery_is_whole_or_not_at_all),
	CASE_KEYSPACE(a_long_stream_goes_in_slices),
	CASE_KEYSPACE(a_reader_waits_for_an_entry),
	CASE_KEYSPACE(consumers_wait_in_line),
	CASE_KEYSPACE(who_waits_for_what_is_gone_is_told),
	{NULL, NULL, SUITE_ANY},
};
