/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/render.h"

static void
text(const char *s, size_t len, size_t max, const char *expected)
{
	struct buf b = BUF_INIT;

	render_text(&b, (struct bh_bytes){s, len}, max);
	assert_string_equal(buf_str(&b), expected);
	buf_done(&b);
}

static void
a_terminal_sees_no_control_bytes(void **state)
{
	(void)state;
	text("", 0, 0, "-");
	text("a\033[2J\r\nb\x7f", 9, 0, "a [2J  b ");
	text("caf\xc3\xa9 \xc2\x9bx", 9, 0, "café  x");
	text("a\xff\x9b", 3, 0, "a??");
	text("12345", 5, 5, "12345");
	text("123456", 6, 5, "1234…");
}

static void
bodies_are_embedded(void **state)
{
	static const struct {
		const char *bytes, *json;
	} table[] = {
		{"$4\r\ntrue\r\n", "true,\"result_encoding\":\"json\""},
		{"$2\r\nno\r\n", "\"no\",\"result_encoding\":\"text\""},
		{"$3\r\n\xff\x00\xfe\r\n",
		    "\"/wD+\",\"result_encoding\":\"base64\""},
		{"_\r\n", "null"},
	};
	static const size_t sizes[] = {10, 8, 9, 3};

	(void)state;
	for (size_t i = 0; i < nitems(table); i++) {
		struct buf in = BUF_INIT, out = BUF_INIT;
		struct resp_value v;
		char expected[100];
		struct json j;
		struct err e;
		size_t used;

		buf_adds(&in, "%1\r\n$6\r\nresult\r\n");
		buf_add(&in, table[i].bytes, sizes[i]);
		assert_int_equal(resp_decode(buf_peek(&in), buf_size(&in), &v,
		    &used, &e), 1);
		json_init(&j, &out);
		render_json(&j, &v);
		snprintf(expected, sizeof(expected), "{\"result\":%s}",
		    table[i].json);
		assert_string_equal(buf_str(&out), expected);
		resp_value_done(&v);
		buf_done(&in);
		buf_done(&out);
	}
}

static void
columns_are_aligned(void **state)
{
	struct table *t = table_new("NAME|>N|TEXT");
	char out_text[400];
	FILE *f = fmemopen(out_text, sizeof(out_text), "w");

	(void)state;
	table_add(t, "é");
	table_add_int(t, 5);
	table_add(t, "x");
	table_add(t, "longer");
	table_add_int(t, 1000);
	table_add(t, "y");
	table_print(t, f, false);
	fclose(f);
	assert_string_equal(out_text,
	    "NAME       N  TEXT\n"
	    "é          5  x\n"
	    "longer  1000  y\n");
	table_free(&t);
}

static void
moments_and_sizes_read_well(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	render_when(&b, 0, 10000);
	buf_adds(&b, "|");
	render_when(&b, 15000, 10000);
	buf_adds(&b, "|");
	render_when(&b, 10000, 75000);
	buf_adds(&b, "|");
	render_size(&b, 1023);
	buf_adds(&b, "|");
	render_size(&b, 1572864);
	assert_string_equal(buf_str(&b),
	    "-|in 5.0 s|1 m 5 s ago|1023 B|1.5 MiB");
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_sees_no_control_bytes),
		cmocka_unit_test(bodies_are_embedded),
		cmocka_unit_test(columns_are_aligned),
		cmocka_unit_test(moments_and_sizes_read_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
