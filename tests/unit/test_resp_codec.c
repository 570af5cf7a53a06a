/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/resp_codec.h"

static const struct resp_limits limits = {
	.max_args = 8, .max_bulk = 64, .max_request = 128, .max_inline = 40};

/* Feeds data in pieces of step bytes and writes what was found as
 * "[a|b][c]", an error as "!text". */
static void
feed(const char *data, size_t len, size_t step, struct buf *out)
{
	struct resp_parser p;
	struct buf in = BUF_INIT;
	struct err e = ERR_INIT;
	size_t used, sent = 0;
	int rc = 0;

	resp_parser_init(&p);
	while (sent < len && rc >= 0) {
		size_t n = len - sent < step ? len - sent : step;

		buf_add(&in, data + sent, n);
		sent += n;
		/* A copy of the exact size, so that ASan sees every byte read
		 * too far, and one that moves with every call. */
		while (buf_size(&in) > 0) {
			char *copy = malloc(buf_size(&in));

			memcpy(copy, buf_peek(&in), buf_size(&in));
			rc = resp_parse(&p, copy, buf_size(&in), &limits,
			    &used, &e);
			if (rc > 0) {
				buf_addc(out, '[');
				for (size_t i = 0; i < p.argc; i++) {
					if (i)
						buf_addc(out, '|');
					buf_add(out, p.argv[i].data,
					    p.argv[i].len);
				}
				buf_addc(out, ']');
				buf_consume(&in, used);
			}
			free(copy);
			if (rc <= 0)
				break;
		}
	}
	if (rc < 0)
		buf_addf(out, "!%s", e.text);
	buf_done(&in);
	resp_parser_done(&p);
}

static void
expect(const char *data, size_t len, const char *want)
{
	for (size_t step = 1; step <= len; step++) {
		struct buf out = BUF_INIT;

		feed(data, len, step, &out);
		assert_string_equal(buf_str(&out), want);
		buf_done(&out);
	}
}

#define EXPECT(data, want) expect(data, sizeof(data) - 1, want)

static void
pipelines_split_anywhere_give_the_same(void **state)
{
	(void)state;
	EXPECT("*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\na\r\nb*"
	    "\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\n$\r\n",
	    "[PING][SET||a\r\nb*][PING][ECHO|$]");
}

static void
empty_commands_are_skipped_over(void **state)
{
	(void)state;
	EXPECT("*0\r\n*-1\r\n\r\n\n   \r\nPING\n", "[][][][][][PING]");
}

static void
inline_words_are_split_at_blanks(void **state)
{
	(void)state;
	EXPECT("  SET  k\tv \r\nGET k\n", "[SET|k|v][GET|k]");
}

static void
inline_quotes_work_as_in_redis(void **state)
{
	(void)state;
	EXPECT("E \"a b\" 'c d'\r\n", "[E|a b|c d]");
	EXPECT("E \"\\x41\\n\\\"\\q\" 'it\\'s' \"\"\r\n", "[E|A\n\"q|it's|]");
	EXPECT("E 'a\\nb' a\"b\"\r\n", "[E|a\\nb|ab]");
}

static void
unbalanced_quotes_are_refused(void **state)
{
	static const char *const bad[] = {"E \"a\r\n", "E 'a\r\n",
	    "E \"a\"b\r\n", "E 'a'b\r\n", "E \"a\\\"\r\n"};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		struct buf out = BUF_INIT;

		feed(bad[i], strlen(bad[i]), 100, &out);
		assert_non_null(strstr(buf_str(&out),
		    "!Protocol error: unbalanced quotes"));
		buf_done(&out);
	}
}

static void
broken_input_is_refused(void **state)
{
	static const struct {
		const char *data;
		const char *want;
	} bad[] = {
		{"*x\r\n", "invalid multibulk length"},
		{"*1x\r\n", "invalid multibulk length"},
		{"*\r\n", "invalid multibulk length"},
		{"*1\n$4\r\n", "invalid multibulk length"},
		{"*99999999999999999999\r\n", "invalid multibulk length"},
		{"*1\r\n:5\r\n", "expected '$', got ':'"},
		{"*1\r\n\001", "expected '$', got '?'"},
		{"*1\r\n$x\r\n", "invalid bulk length"},
		{"*1\r\n$-1\r\n", "invalid bulk length"},
		{"*1\r\n$4\r\nPINGxx", "does not end there"},
		{"*1\r\n$4\r\nPINGS\r\n", "does not end there"},
	};

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		for (size_t step = 1; step < 30; step += 28) {
			struct buf out = BUF_INIT;

			feed(bad[i].data, strlen(bad[i].data), step, &out);
			assert_memory_equal(buf_str(&out),
			    "!Protocol error: ", 17);
			assert_non_null(strstr(buf_str(&out), bad[i].want));
			buf_done(&out);
		}
	}
}

static void
limits_are_kept_before_the_bytes_come(void **state)
{
	char line[64];

	(void)state;
	EXPECT("*9\r\n", "!Protocol error: invalid multibulk length:"
	    " 9 arguments, the limit is 8");
	EXPECT("*1\r\n$65\r\n", "!Protocol error: invalid bulk length:"
	    " 65 bytes, the limit is 64");
	EXPECT("*3\r\n$60\r\n012345678901234567890123456789"
	    "012345678901234567890123456789\r\n$60\r\n",
	    "!Protocol error: a request of more than 128 bytes");
	memset(line, 'a', sizeof(line));
	expect(line, 41, "!Protocol error: too big inline request");
	EXPECT("*8\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n"
	    "\r\n$0\r\n\r\n$0\r\n\r\n", "[|||||||]");
}

static void
a_parser_is_at_rest_between_commands(void **state)
{
	struct resp_parser p;
	struct err e;
	size_t used;

	(void)state;
	resp_parser_init(&p);
	assert_true(resp_parser_at_rest(&p));
	assert_int_equal(resp_parse(&p, "*2\r\n$1\r\na\r\n", 11, &limits,
	    &used, &e), 0);
	assert_false(resp_parser_at_rest(&p));
	assert_int_equal(resp_parse(&p, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", 18,
	    &limits, &used, &e), 1);
	assert_int_equal(used, 18);
	assert_true(resp_parser_at_rest(&p));
	assert_false(p.is_inline);
	assert_int_equal(resp_parse(&p, "PING\r\n", 6, &limits, &used, &e), 1);
	assert_true(p.is_inline);
	resp_parser_done(&p);
}

static void
answers_are_encoded_for_both_protocols(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	resp_put_simple(&b, "OK");
	resp_put_error(&b, "ERR", "bad\r\n+thing");
	resp_put_int(&b, INT64_MIN);
	resp_put_bulk(&b, "a\0b", 3);
	resp_put_array(&b, 0);
	assert_int_equal(buf_size(&b), 5 + 18 + 23 + 9 + 4);
	assert_memory_equal(buf_peek(&b), "+OK\r\n-ERR bad  +thing\r\n"
	    ":-9223372036854775808\r\n$3\r\na\0b\r\n*0\r\n", 59);
	buf_done(&b);
	for (int proto = 2; proto <= 3; proto++) {
		resp_put_map(&b, proto, 2);
		resp_put_set(&b, proto, 2);
		resp_put_push(&b, proto, 2);
		resp_put_null(&b, proto);
		resp_put_null_array(&b, proto);
		resp_put_bool(&b, proto, true);
		resp_put_double(&b, proto, 0.5);
		resp_put_verbatim(&b, proto, "hi", 2);
	}
	assert_string_equal(buf_str(&b),
	    "*4\r\n*2\r\n*2\r\n$-1\r\n*-1\r\n:1\r\n$3\r\n0.5\r\n$2\r\nhi\r\n"
	    "%2\r\n~2\r\n>2\r\n_\r\n_\r\n#t\r\n,0.5\r\n=6\r\ntxt:hi\r\n");
	buf_done(&b);
}

static void
a_command_survives_the_round_trip(void **state)
{
	static const struct bh_bytes argv[] = {{"JOB.ADD", 7}, {"", 0},
	    {"\r\n$1\0", 5}};
	struct resp_parser p;
	struct buf b = BUF_INIT;
	struct err e;
	size_t used;

	(void)state;
	resp_put_command(&b, argv, 3);
	resp_parser_init(&p);
	assert_int_equal(resp_parse(&p, buf_peek(&b), buf_size(&b), &limits,
	    &used, &e), 1);
	assert_int_equal(used, buf_size(&b));
	assert_int_equal(p.argc, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(p.argv[i].len, argv[i].len);
		assert_memory_equal(p.argv[i].data, argv[i].data, argv[i].len);
	}
	resp_parser_done(&p);
	buf_done(&b);
}

static void
answers_are_decoded_to_a_tree(void **state)
{
	static const char data[] = "%2\r\n+a\r\n*3\r\n:-7\r\n$-1\r\n_\r\n$1\r\n"
	    "b\r\n~2\r\n#t\r\n,1.25\r\n";
	struct resp_value v;
	struct err e;
	size_t used;

	(void)state;
	for (size_t n = 0; n < sizeof(data) - 1; n++)
		assert_int_equal(resp_decode(data, n, &v, &used, &e), 0);
	assert_int_equal(resp_decode(data, sizeof(data) - 1, &v, &used, &e),
	    1);
	assert_int_equal(used, sizeof(data) - 1);
	assert_int_equal(v.type, RESP_MAP);
	assert_int_equal(v.n, 2);
	assert_int_equal(v.items[0].type, RESP_SIMPLE);
	assert_int_equal(v.items[1].n, 3);
	assert_true(v.items[1].items[0].i == -7);
	assert_int_equal(v.items[1].items[1].type, RESP_NULL);
	assert_int_equal(v.items[1].items[2].type, RESP_NULL);
	assert_memory_equal(v.items[2].s.data, "b", 1);
	assert_int_equal(v.items[3].type, RESP_SET);
	assert_true(v.items[3].items[0].i == 1);
	assert_true(v.items[3].items[1].d == 1.25);
	resp_value_done(&v);
}

static void
special_answers_are_decoded(void **state)
{
	static const struct {
		const char *data;
		enum resp_type type;
		const char *text;
	} good[] = {
		{"-ERR no\r\n", RESP_ERROR, "ERR no"},
		{"!6\r\nERR no\r\n", RESP_ERROR, "ERR no"},
		{"=6\r\ntxt:hi\r\n", RESP_BULK, "hi"},
		{"(123456789012345678901234567890\r\n", RESP_BULK,
		    "123456789012345678901234567890"},
		{"*-1\r\n", RESP_NULL, ""},
		{">1\r\n:1\r\n", RESP_PUSH, ""},
		{",-inf\r\n", RESP_DOUBLE, "-inf"},
	};
	struct resp_value v;
	struct err e;
	size_t used;

	(void)state;
	for (size_t i = 0; i < nitems(good); i++) {
		assert_int_equal(resp_decode(good[i].data,
		    strlen(good[i].data), &v, &used, &e), 1);
		assert_int_equal(v.type, good[i].type);
		assert_int_equal(v.s.len, strlen(good[i].text));
		assert_memory_equal(v.s.data ? v.s.data : "", good[i].text,
		    v.s.len);
		resp_value_done(&v);
	}
}

static void
broken_answers_are_refused(void **state)
{
	static const char *const bad[] = {"?\r\n", ":x\r\n", ":1\n", "$-2\r\n",
	    "$1\r\nabc\r\n", "#x\r\n", "_x\r\n", ",x\r\n", "=2\r\nhi\r\n",
	    "*1\r\n*1\r\n:x\r\n", "%1\r\n+a\r\n?\r\n", "*99999999999\r\n"};
	struct resp_value v;
	struct err e;
	size_t used;

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		e.text[0] = '\0';
		assert_int_equal(resp_decode(bad[i], strlen(bad[i]), &v,
		    &used, &e), -1);
		assert_true(strlen(e.text) > 0);
	}
}

static void
nesting_has_an_end(void **state)
{
	struct buf b = BUF_INIT;
	struct resp_value v;
	struct err e;
	size_t used;

	(void)state;
	for (int i = 0; i < 32; i++)
		buf_adds(&b, "*1\r\n");
	buf_adds(&b, ":1\r\n");
	assert_int_equal(resp_decode(buf_peek(&b), buf_size(&b), &v, &used,
	    &e), 1);
	resp_value_done(&v);
	buf_reset(&b, 4096);
	for (int i = 0; i < 33; i++)
		buf_adds(&b, "*1\r\n");
	assert_int_equal(resp_decode(buf_peek(&b), buf_size(&b), &v, &used,
	    &e), -1);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipelines_split_anywhere_give_the_same),
		cmocka_unit_test(empty_commands_are_skipped_over),
		cmocka_unit_test(inline_words_are_split_at_blanks),
		cmocka_unit_test(inline_quotes_work_as_in_redis),
		cmocka_unit_test(unbalanced_quotes_are_refused),
		cmocka_unit_test(broken_input_is_refused),
		cmocka_unit_test(limits_are_kept_before_the_bytes_come),
		cmocka_unit_test(a_parser_is_at_rest_between_commands),
		cmocka_unit_test(answers_are_encoded_for_both_protocols),
		cmocka_unit_test(a_command_survives_the_round_trip),
		cmocka_unit_test(answers_are_decoded_to_a_tree),
		cmocka_unit_test(special_answers_are_decoded),
		cmocka_unit_test(broken_answers_are_refused),
		cmocka_unit_test(nesting_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
