/* SPDX-License-Identifier: MIT */
/* Transactions and scripts as walks: who waits, what is answered when, and
 * what is left when the store is closed in the middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/clock.h"
#include "keys/keys.h"
#include "lib/journalfix.h"

enum { WORDS_MAX = 8, ASKED_MAX = 8 };

/* A request with its words, which last as long as it does. */
struct asked {
	struct bh_key_command r;
	struct bh_bytes words[WORDS_MAX];
	bool done;
	int status;
	enum bh_value_type type;
	int64_t i;
	char text[300];
};

static struct asked asked[ASKED_MAX];
static size_t nasked;

static void
answered(struct bh_req *req)
{
	struct asked *a = req->user;
	const struct bh_value *v = a->r.value;

	assert_false(a->done);
	a->done = true;
	a->status = req->status;
	if (req->status)
		return;
	a->type = v->type;
	a->i = v->i;
	if (v->type == BH_STRING || v->type == BH_ERROR) {
		assert_true(v->s.len < sizeof(a->text));
		memcpy(a->text, v->s.data, v->s.len);
		a->text[v->s.len] = '\0';
	}
}

/* The words end with NULL. */
static struct asked *
ask(struct keys *ks, const char *const *words)
{
	struct asked *a = &asked[nasked++];

	assert_true(nasked <= ASKED_MAX);
	*a = (struct asked){.r.req.done = answered, .r.req.user = a,
	    .r.argv = a->words, .r.client = 1};
	for (; words[a->r.argc]; a->r.argc++)
		a->words[a->r.argc] = (struct bh_bytes){words[a->r.argc],
		    strlen(words[a->r.argc])};
	keys_command(ks, &a->r);
	return a;
}

#define ASK(ks, ...) ask(ks, (const char *const[]){__VA_ARGS__, NULL})

static void
turn(struct journalfix *f, struct keys *ks)
{
	struct clock_time now = clock_now();

	keys_time(ks, now.wall_ms, now.mono_ms);
	keys_settle(ks);
	journalfix_settle(f);
	keys_deliver(ks);
}

static struct keys *
make(struct journalfix *f, int64_t eval_ms)
{
	static char cache[] = "cache:";
	static char *prefixes[] = {cache, NULL};
	struct keys_limits limits = {.volatile_prefixes = prefixes,
	    .cache_bytes = 1 << 20, .eval_ms = eval_ms,
	    .eval_bytes = 4 << 20};
	struct keys *ks = keys_new(f->j);
	struct clock_time now = clock_now();

	nasked = 0;
	keys_set_limits(ks, &limits);
	keys_time(ks, now.wall_ms, now.mono_ms);
	return ks;
}

#define LOOP "while true do end"

static void
others_wait_for_a_script(void **state)
{
	struct keys *ks = make(*state, 3600000);
	struct asked *loop = ASK(ks, "EVAL", LOOP, "0");
	struct asked *get = ASK(ks, "GET", "cache:x");

	assert_false(keys_quiet(ks));
	turn(*state, ks);
	assert_false(loop->done);
	assert_false(get->done);
	(void)ASK(ks, "SCRIPT", "KILL");
	while (!get->done)
		turn(*state, ks);
	assert_true(loop->done);
	assert_int_equal(get->type, BH_NULL);
	keys_free(&ks);
}

static void
one_that_only_reads_is_stopped(void **state)
{
	struct keys *ks = make(*state, 20);
	struct asked *loop = ASK(ks, "EVAL", LOOP, "0");

	while (!loop->done)
		turn(*state, ks);
	assert_int_equal(loop->type, BH_ERROR);
	assert_non_null(strstr(loop->text, "eval_time"));
	keys_free(&ks);
}

static void
a_kill_does_not_wait(void **state)
{
	struct keys *ks = make(*state, 3600000);
	struct asked *none = ASK(ks, "SCRIPT", "KILL"), *loop, *kill;

	turn(*state, ks);
	assert_non_null(strstr(none->text, "NOTBUSY"));
	loop = ASK(ks, "EVAL", LOOP, "0");
	turn(*state, ks);
	kill = ASK(ks, "SCRIPT", "KILL");
	turn(*state, ks);
	assert_true(kill->done);
	assert_int_equal(kill->type, BH_STATUS);
	turn(*state, ks);
	assert_true(loop->done);
	assert_non_null(strstr(loop->text, "killed by user"));
	keys_free(&ks);
}

static void
who_has_written_cannot_be_killed(void **state)
{
	struct journalfix *f = *state;
	struct keys *ks = make(f, 20);
	uint64_t last = journal_last(f->j);
	struct asked *loop = ASK(ks, "EVAL",
	    "redis.call('SET','a',1) " LOOP, "0");
	struct asked *get = ASK(ks, "GET", "a"), *kill, *leave;

	while (!get->done)
		turn(*state, ks);
	assert_non_null(strstr(get->text, "BUSY"));
	kill = ASK(ks, "SCRIPT", "KILL");
	leave = ASK(ks, "UNWATCH");
	turn(*state, ks);
	assert_non_null(strstr(kill->text, "UNKILLABLE"));
	assert_false(leave->done);
	/* The store is closed in the middle: nothing of it is kept. */
	assert_false(loop->done);
	keys_free(&ks);
	assert_true(loop->done);
	assert_true(leave->done);
	assert_int_equal(loop->status, BH_E_CANCELED);
	assert_int_equal(journal_last(f->j), last);
}

static void
a_transaction_goes_on_with_a_long_script(void **state)
{
	static const struct bh_bytes set[] = {{"SET", 3}, {"a", 1}, {"1", 1}},
	    loop[] = {{"EVAL", 4}, {LOOP, sizeof(LOOP) - 1}, {"0", 1}},
	    get[] = {{"GET", 3}, {"a", 1}};
	static const struct bh_queued queued[] = {{set, 3}, {loop, 3},
	    {get, 2}};
	struct keys *ks = make(*state, 20);
	struct asked *a = &asked[nasked++];

	*a = (struct asked){.r.req.done = answered, .r.req.user = a,
	    .r.argv = a->words, .r.argc = 1, .r.client = 1,
	    .r.queued = queued, .r.nqueued = nitems(queued)};
	a->words[0] = (struct bh_bytes){"EXEC", 4};
	keys_command(ks, &a->r);
	assert_false(a->done);
	while (!a->done)
		turn(*state, ks);
	assert_int_equal(a->type, BH_ARRAY);
	keys_free(&ks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, journalfix_setup, \
	    journalfix_teardown)
		TEST(others_wait_for_a_script),
		TEST(one_that_only_reads_is_stopped),
		TEST(a_kill_does_not_wait),
		TEST(who_has_written_cannot_be_killed),
		TEST(a_transaction_goes_on_with_a_long_script),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
