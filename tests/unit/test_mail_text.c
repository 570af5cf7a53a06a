/* SPDX-License-Identifier: MIT */
/* src/script/mail_text.c: header values, addresses, dates and lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "script/mail_text.h"

static void
test_ascii_stays_as_it_is(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	mail_words(&b, "Hello, you", 10);
	assert_string_equal(buf_str(&b), "Hello, you");
	buf_reset(&b, 0);
	/* What looks like an encoded word must not be read as one. */
	mail_words(&b, "=?x?=", 5);
	assert_string_equal(buf_str(&b), "=?UTF-8?B?PT94Pz0=?=");
	buf_done(&b);
}

static void
test_encoded_words_split_no_character(void **state)
{
	struct buf b = BUF_INIT;
	char text[3 * 60 + 1];
	const char *p;
	size_t i, n = 0;

	(void)state;
	for (i = 0; i < 60; i++)
		memcpy(text + 3 * i, "\xe2\x82\xac", 3);
	text[0] = 'x';			/* moves the borders */
	text[1] = 'y';
	text[2] = 'z';
	mail_words(&b, text, 3 * 60 - 0);
	p = buf_str(&b);
	while (p) {
		size_t len = strcspn(p, "\r");

		assert_true(len <= 75);
		assert_memory_equal(p, "=?UTF-8?B?", 10);
		/* 4 characters of base64 are 3 bytes: whole euros. */
		assert_int_equal((len - 12) % 4, 0);
		p = strstr(p, "\r\n ");
		if (p)
			p += 3;
		n++;
	}
	assert_true(n >= 4);
	buf_done(&b);
}

static void
check_address(const char *text, const char *form, const char *bare)
{
	struct buf out = BUF_INIT, addr = BUF_INIT;

	if (!mail_address(&out, &addr, text, strlen(text))) {
		if (form)
			fail_msg("'%s' is refused", text);
	} else {
		assert_non_null(form);
		assert_string_equal(buf_str(&out), form);
		assert_string_equal(buf_str(&addr), bare);
	}
	buf_done(&out);
	buf_done(&addr);
}

static void
test_addresses(void **state)
{
	(void)state;
	check_address("a@b.example", "a@b.example", "a@b.example");
	check_address(" <a@b.example> ", "<a@b.example>", "a@b.example");
	check_address("Ana <a@b.example>", "\"Ana\" <a@b.example>",
	    "a@b.example");
	check_address("\"Silva, Ana\" <a@b.example>",
	    "\"Silva, Ana\" <a@b.example>", "a@b.example");
	check_address("A \"B\" C <a@b.example>",
	    "\"A \\\"B\\\" C\" <a@b.example>", "a@b.example");
	check_address("Jos\xc3\xa9 <j@b.example>",
	    "=?UTF-8?B?Sm9zw6k=?= <j@b.example>", "j@b.example");
	check_address("", NULL, NULL);
	check_address("a", NULL, NULL);
	check_address("@b", NULL, NULL);
	check_address("a@", NULL, NULL);
	check_address("a@b@c", NULL, NULL);
	check_address("a@b> x", NULL, NULL);
	check_address("x <a@b", NULL, NULL);
	check_address("<>", NULL, NULL);
	check_address("a@b\r\nX: y", NULL, NULL);
	check_address("j\xc3\xa9@b.example", NULL, NULL);
}

static void
test_dates_and_lines(void **state)
{
	struct buf b = BUF_INIT;
	size_t len;
	char *s;

	(void)state;
	mail_date(&b, INT64_C(784111777000));
	assert_string_equal(buf_str(&b), "Sun, 6 Nov 1994 08:49:37 +0000");
	buf_done(&b);
	s = mail_lines("a\nb\r\nc\n\n", 8, &len);
	assert_int_equal(len, 11);
	assert_memory_equal(s, "a\r\nb\r\nc\r\n\r\n", 11);
	free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ascii_stays_as_it_is),
		cmocka_unit_test(test_encoded_words_split_no_character),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_dates_and_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
