/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/args.h"

static struct bh_bytes
b(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

/* Splits a line at blanks and parses it as the options of JOB.ADD. */
static int
parse(const char *line, struct bh_job_opts *o, struct err *e)
{
	static char copy[400];
	struct bh_bytes argv[40];
	size_t argc = 0;
	char *save, *word;

	strcpy(copy, line);
	for (word = strtok_r(copy, " ", &save); word;
	    word = strtok_r(NULL, " ", &save))
		argv[argc++] = b(word);
	return arg_job_opts(argv, argc, 0, o, e);
}

static void
integers_have_bounds(void **state)
{
	struct err e;
	int64_t v = 7;

	(void)state;
	assert_int_equal(arg_int("COUNT", b("1"), 1, 10, &v, &e), 0);
	assert_int_equal(v, 1);
	assert_int_equal(arg_int("COUNT", b("11"), 1, 10, &v, &e), -1);
	assert_int_equal(e.code, BH_E_BADARG);
	assert_string_equal(e.text, "COUNT: '11' is not an integer from 1 to"
	    " 10");
	assert_int_equal(arg_int("COUNT", b("1x"), 1, 10, &v, &e), -1);
	assert_int_equal(arg_int("COUNT", b(""), 1, 10, &v, &e), -1);
	assert_int_equal(v, 1);
}

static void
values_are_shown_harmlessly(void **state)
{
	char big[200];
	struct err e;
	int64_t v;

	(void)state;
	memset(big, 'x', sizeof(big));
	big[1] = '\033';
	big[2] = '\n';
	assert_int_equal(arg_int("n", (struct bh_bytes){big, sizeof(big)}, 0,
	    9, &v, &e), -1);
	assert_null(strchr(e.text, '\033'));
	assert_null(strchr(e.text, '\n'));
	assert_non_null(strstr(e.text, "x??xxx"));
	assert_non_null(strstr(e.text, "...'"));
	assert_non_null(strstr(e.text, "from 0 to 9"));
}

static void
queue_names(void **state)
{
	char longest[130];
	struct err e;

	(void)state;
	memset(longest, 'q', sizeof(longest));
	assert_int_equal(arg_queue(b("a.B_9:-"), &e), 0);
	assert_int_equal(arg_queue((struct bh_bytes){longest, 128}, &e), 0);
	assert_int_equal(arg_queue((struct bh_bytes){longest, 129}, &e), -1);
	assert_int_equal(e.code, BH_E_BADARG);
	assert_int_equal(arg_queue(b(""), &e), -1);
	assert_int_equal(arg_queue(b("a b"), &e), -1);
	assert_int_equal(arg_queue(b("a*"), &e), -1);
	assert_int_equal(arg_queue((struct bh_bytes){"a\0", 2}, &e), -1);
}

static void
ids_tokens_and_states(void **state)
{
	enum bh_job_state st;
	uint64_t token;
	struct err e;
	int64_t id;

	(void)state;
	assert_int_equal(arg_id(b("9223372036854775807"), &id, &e), 0);
	assert_true(id == INT64_MAX);
	assert_int_equal(arg_id(b("0"), &id, &e), -1);
	assert_int_equal(arg_id(b("-1"), &id, &e), -1);
	assert_int_equal(arg_id(b("9223372036854775808"), &id, &e), -1);
	assert_int_equal(arg_id(b("x"), &id, &e), -1);
	assert_int_equal(e.code, BH_E_BADARG);
	assert_int_equal(arg_hex("token", b("00000000DEADbeef"), &token, &e),
	    0);
	assert_true(token == 0xdeadbeef);
	assert_int_equal(arg_hex("token", b("deadbeef"), &token, &e), -1);
	assert_true(arg_token(b("00000000DEADbeef")) == 0xdeadbeef);
	assert_true(arg_token(b("deadbeef")) == 0);
	assert_true(arg_token(b("")) == 0);
	assert_int_equal(arg_hex("token", b("00000000deadbeeg"), &token, &e),
	    -1);
	assert_int_equal(arg_state(b("Failed"), &st, &e), 0);
	assert_int_equal(st, BH_FAILED);
	assert_int_equal(arg_state(b("done"), &st, &e), -1);
	assert_string_equal(e.text, "state: 'done' is none of waiting,"
	    " delayed, active, completed, failed");
}

static void
keys_have_a_size(void **state)
{
	char big[257];
	struct bh_bytes v = {0};
	struct err e;

	(void)state;
	memset(big, 'k', sizeof(big));
	assert_int_equal(arg_key("GROUP", (struct bh_bytes){big, 256}, &v, &e),
	    0);
	assert_int_equal(v.len, 256);
	assert_int_equal(arg_key("GROUP", (struct bh_bytes){big, 257}, &v, &e),
	    -1);
	assert_int_equal(e.code, BH_E_TOOBIG);
	assert_int_equal(arg_key("GROUP", b(""), &v, &e), -1);
	assert_int_equal(e.code, BH_E_BADARG);
	assert_int_equal(arg_size("payload", (struct bh_bytes){big, 11}, 10,
	    "max_payload", &e), -1);
	assert_int_equal(e.code, BH_E_TOOBIG);
	assert_non_null(strstr(e.text, "11 bytes; at most 10"));
	assert_non_null(strstr(e.text, "max_payload"));
}

static void
nothing_said_means_the_default(void **state)
{
	struct bh_job_opts o, unsaid;
	struct err e;

	(void)state;
	bh_job_opts_init(&unsaid);
	assert_int_equal(parse("", &o, &e), 0);
	assert_memory_equal(&o, &unsaid, sizeof(o));
}

static void
all_job_options(void **state)
{
	struct bh_job_opts o;
	struct err e;

	(void)state;
	assert_int_equal(parse("priority 0 Delay 1500 EXPIRES 60000 ATTEMPTS 3"
	    " BACKOFF exponential 2000 FACTOR 2.5 MAX 90000 JITTER 0.1"
	    " TIMEOUT 5 GROUP g7 LEASE 10 MAX_STALLED 0 UNIQUE k TTL 9"
	    " MODE follow RETAIN 0", &o, &e), 0);
	assert_int_equal(o.priority, 0);
	assert_int_equal(o.delay_ms, 1500);
	assert_int_equal(o.at, -1);
	assert_int_equal(o.expires_ms, 60000);
	assert_int_equal(o.attempts, 3);
	assert_int_equal(o.backoff_type, BH_BACKOFF_EXPONENTIAL);
	assert_int_equal(o.backoff_ms, 2000);
	assert_true(o.backoff_factor == 2.5);
	assert_int_equal(o.backoff_max_ms, 90000);
	assert_true(o.backoff_jitter == 0.1);
	assert_int_equal(o.timeout_ms, 5);
	assert_memory_equal(o.group.data, "g7", o.group.len);
	assert_int_equal(o.lease_ms, 10);
	assert_int_equal(o.max_stalled, 0);
	assert_memory_equal(o.unique.data, "k", o.unique.len);
	assert_int_equal(o.unique_ttl_ms, 9);
	assert_int_equal(o.unique_mode, BH_UNIQUE_FOLLOW);
	assert_int_equal(o.retain_ms, 0);
	assert_int_equal(parse("AT 1795227853898 BACKOFF FIXED 0 MODE keep"
	    " UNIQUE k", &o, &e), -1);
	assert_int_equal(parse("AT 1795227853898 BACKOFF FIXED 0", &o, &e), 0);
	assert_true(o.at == INT64_C(1795227853898));
	assert_int_equal(o.backoff_type, BH_BACKOFF_FIXED);
}

static void
wrong_job_options_are_named(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *text;
	} bad[] = {
		{"PRIORITY 10", BH_E_BADARG,
		    "PRIORITY: '10' is not an integer from 0 to 9"},
		{"PRIORITY high", BH_E_BADARG, "PRIORITY: 'high'"},
		{"DELAY -1", BH_E_BADARG, "DELAY: '-1'"},
		{"DELAY 5s", BH_E_BADARG, "DELAY: '5s'"},
		{"ATTEMPTS 0", BH_E_BADARG, "ATTEMPTS: '0'"},
		{"JITTER 0.1", BH_E_BADARG, "JITTER: only after BACKOFF"},
		{"BACKOFF FIXED 1 JITTER 2", BH_E_BADARG,
		    "JITTER: '2' is not a number from 0 to 1"},
		{"BACKOFF LINEAR 1", BH_E_BADARG,
		    "BACKOFF: 'LINEAR' is none of FIXED, EXPONENTIAL"},
		{"BACKOFF FIXED", BH_E_ERR, "BACKOFF without its value"},
		{"BACKOFF FIXED x", BH_E_BADARG, "BACKOFF: 'x'"},
		{"TTL 5", BH_E_BADARG, "TTL: only after UNIQUE"},
		{"UNIQUE k MODE often", BH_E_BADARG, "MODE: 'often'"},
		{"AT 5 DELAY 5", BH_E_BADARG, "DELAY: not together with AT"},
		{"DELAY 5 AT 5", BH_E_BADARG, "AT: not together with DELAY"},
		{"DELAY 5 DELAY 6", BH_E_BADARG, "DELAY: given twice"},
		{"DELAY", BH_E_ERR, "DELAY without its value"},
		{"FASTER 5", BH_E_ERR, "'FASTER' is no job option"},
	};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		struct bh_job_opts o;
		struct err e;

		assert_int_equal(parse(bad[i].line, &o, &e), -1);
		assert_int_equal(e.code, bad[i].code);
		if (!strstr(e.text, bad[i].text))
			fail_msg("%s: %s", bad[i].line, e.text);
	}
}

static void
other_options(void **state)
{
	struct arg_opt o[] = {{.name = "COUNT"},
	    {.name = "REVERSE", .flag = true}};
	struct bh_bytes argv[] = {b("reverse"), b("COUNT"), b("5")};
	struct err e;

	(void)state;
	assert_int_equal(arg_opts("X", argv, 3, 0, o, 2, &e), 0);
	assert_true(o[0].seen && o[1].seen);
	assert_memory_equal(o[0].value.data, "5", 1);
	assert_int_equal(arg_opts("X", argv, 3, 0, o, 2, &e), -1);
	assert_string_equal(e.text, "REVERSE: given twice");
	o[0].seen = o[1].seen = false;
	assert_int_equal(arg_opts("X", argv, 2, 0, o, 2, &e), -1);
	assert_int_equal(e.code, BH_E_ERR);
	assert_int_equal(arg_opts("X", argv, 3, 2, o, 2, &e), -1);
	assert_string_equal(e.text, "syntax error: '5' is no option of X");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_have_bounds),
		cmocka_unit_test(values_are_shown_harmlessly),
		cmocka_unit_test(queue_names),
		cmocka_unit_test(ids_tokens_and_states),
		cmocka_unit_test(keys_have_a_size),
		cmocka_unit_test(nothing_said_means_the_default),
		cmocka_unit_test(all_job_options),
		cmocka_unit_test(wrong_job_options_are_named),
		cmocka_unit_test(other_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
