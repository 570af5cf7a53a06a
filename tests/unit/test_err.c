/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
/* Written down again on purpose: clients know these words and numbers. */
static const struct {
	int code;
	const char *word;
	int http;
} wire[] = {
	{BH_OK, "OK", 200},
	{BH_E_ERR, "ERR", 400},
	{BH_E_BADARG, "BADARG", 400},
	{BH_E_NOTFOUND, "NOTFOUND", 404},
	{BH_E_CONFLICT, "CONFLICT", 409},
	{BH_E_STALE, "STALE", 409},
	{BH_E_QUEUEFULL, "QUEUEFULL", 429},
	{BH_E_TOOBIG, "TOOBIG", 413},
	{BH_E_DISKFULL, "DISKFULL", 507},
	{BH_E_BACKEND, "BACKEND", 503},
	{BH_E_NOAUTH, "NOAUTH", 401},
	{BH_E_WRONGPASS, "WRONGPASS", 401},
	{BH_E_NOPERM, "NOPERM", 403},
	{BH_E_NOPROTO, "NOPROTO", 400},
	{BH_E_WRONGTYPE, "WRONGTYPE", 400},
	{BH_E_OOM, "OOM", 507},
	{BH_E_EXECABORT, "EXECABORT", 400},
	{BH_E_BUSY, "BUSY", 503},
	{BH_E_IO, "ERR", 500},
	{BH_E_CANCELED, "ERR", 499},
};

static void
every_code_has_its_word_and_status(void **state)
{
	(void)state;
	assert_int_equal(nitems(wire), BH_E_COUNT);
	for (size_t i = 0; i < nitems(wire); i++) {
		assert_int_equal(wire[i].code, i);
		assert_string_equal(err_word(wire[i].code), wire[i].word);
		assert_int_equal(err_http(wire[i].code), wire[i].http);
	}
}

static void
words_tell_errors_apart_except_the_plain_one(void **state)
{
	(void)state;
	for (int a = 0; a < BH_E_COUNT; a++)
		for (int b = a + 1; b < BH_E_COUNT; b++)
			if (strcmp(err_word(b), "ERR") != 0)
				assert_string_not_equal(err_word(a),
				    err_word(b));
}

static void
words_are_one_word_in_capitals(void **state)
{
	(void)state;
	for (int c = 0; c < BH_E_COUNT; c++)
		assert_int_equal(strspn(err_word(c),
		    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), strlen(err_word(c)));
}

static void
set_fills_and_returns_minus_1(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(e.code, BH_OK);
	assert_int_equal(err_set(&e, BH_E_BADARG, "DELAY is %d", 7), -1);
	assert_int_equal(e.code, BH_E_BADARG);
	assert_string_equal(e.text, "DELAY is 7");
}

static void
set_cuts_a_long_text(void **state)
{
	struct err e = ERR_INIT;
	char text[1000];

	(void)state;
	memset(text, 'y', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&e, BH_E_ERR, "%s", text);
	assert_int_equal(strlen(e.text), BH_ERROR_TEXT - 1);
	assert_memory_equal(e.text, text, BH_ERROR_TEXT - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_its_word_and_status),
		cmocka_unit_test(words_tell_errors_apart_except_the_plain_one),
		cmocka_unit_test(words_are_one_word_in_capitals),
		cmocka_unit_test(set_fills_and_returns_minus_1),
		cmocka_unit_test(set_cuts_a_long_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
