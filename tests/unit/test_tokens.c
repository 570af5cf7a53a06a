/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "conf/tokens.h"

static char dir[32], path[64];

static int
set_up(void **state)
{
	struct tokens *t = NULL;
	struct err e;

	strcpy(dir, "/tmp/bellhop-tok-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/tokens", dir);
	if (tokens_open(&t, path, &e) != 0)
		return -1;
	*state = t;
	return 0;
}

static int
tear_down(void **state)
{
	struct tokens *t = *state;

	tokens_free(&t);
	unlink(path);
	return rmdir(dir);
}

static char *
add(struct tokens *t, const char *name, const char *role)
{
	char *secret = NULL;
	struct err e;

	if (tokens_add(t, name, role, NULL, 0, &secret, &e) != 0)
		fail_msg("%s", e.text);
	return secret;
}

static void
no_file_is_an_empty_set(void **state)
{
	assert_int_equal(tokens_count(*state), 0);
	assert_null(tokens_at(*state, 0));
	assert_null(tokens_check(*state, "", 0));
	assert_int_equal(access(path, F_OK), -1);
}

static void
a_token_is_known_by_its_secret(void **state)
{
	char *a = add(*state, "pos", "producer");
	char *b = add(*state, "kitchen", "worker");

	assert_int_equal(strlen(a), 43);
	assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
	    "OPQRSTUVWXYZ0123456789-_"), 43);
	assert_string_not_equal(a, b);
	assert_string_equal(tokens_check(*state, a, 43)->name, "pos");
	assert_string_equal(tokens_check(*state, b, 43)->role, "worker");
	assert_null(tokens_check(*state, a, 42));
	a[0] = a[0] == 'x' ? 'y' : 'x';
	assert_null(tokens_check(*state, a, 43));
	free(a);
	free(b);
}

static void
the_file_keeps_hashes_only(void **state)
{
	char *patterns[] = {(char []){"guest.*"}, (char []){"pos"}};
	char *secret = NULL, *text = NULL;
	struct tokens *again = NULL;
	struct stat st;
	struct err e;
	size_t len;

	assert_int_equal(tokens_add(*state, "pos", "operator", patterns, 2,
	    &secret, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(str_read_file(path, 4096, &text, &len), 0);
	assert_null(strstr(text, secret));
	assert_int_equal(strncmp(text, "pos operator ", 13), 0);
	assert_int_equal(tokens_open(&again, path, &e), 0);
	assert_int_equal(tokens_count(again), 1);
	assert_int_equal(tokens_at(again, 0)->npatterns, 2);
	assert_string_equal(tokens_at(again, 0)->patterns[1], "pos");
	assert_ptr_equal(tokens_check(again, secret, strlen(secret)),
	    tokens_at(again, 0));
	tokens_free(&again);
	free(text);
	free(secret);
}

static void
a_name_is_taken_once(void **state)
{
	char *secret = NULL;
	struct err e = ERR_INIT;

	free(add(*state, "pos", "reader"));
	assert_int_equal(tokens_add(*state, "pos", "admin", NULL, 0, &secret,
	    &e), -1);
	assert_int_equal(e.code, BH_E_CONFLICT);
	assert_null(secret);
	assert_int_equal(tokens_count(*state), 1);
}

static void
a_removed_token_is_unknown(void **state)
{
	char *a = add(*state, "a", "reader"), *b = add(*state, "b", "admin");
	struct err e = ERR_INIT;

	assert_int_equal(tokens_remove(*state, "a", &e), 0);
	assert_null(tokens_check(*state, a, 43));
	assert_string_equal(tokens_check(*state, b, 43)->name, "b");
	assert_int_equal(tokens_remove(*state, "a", &e), -1);
	assert_int_equal(e.code, BH_E_NOTFOUND);
	free(a);
	free(b);
}

static void
bad_words_are_refused_by_name(void **state)
{
	static const struct {
		const char *name, *role, *pattern, *said;
	} table[] = {
		{"", "admin", NULL, "token name \"\""},
		{"a b", "admin", NULL, "token name \"a b\""},
		{"a\n", "admin", NULL, "token name"},
		{"a", "king", NULL, "role \"king\""},
		{"a", "admin", "x y", "queue pattern \"x y\""},
		{"a", "admin", "", "queue pattern \"\""},
	};

	for (size_t i = 0; i < nitems(table); i++) {
		char pattern[8] = "", *list = pattern, *secret = NULL;
		struct err e = ERR_INIT;

		if (table[i].pattern)
			strcpy(pattern, table[i].pattern);
		assert_int_equal(tokens_add(*state, table[i].name,
		    table[i].role, &list, table[i].pattern != NULL, &secret,
		    &e), -1);
		assert_int_equal(e.code, BH_E_BADARG);
		assert_non_null(strstr(e.text, table[i].said));
	}
	assert_int_equal(tokens_count(*state), 0);
}

static void
a_broken_file_names_its_line(void **state)
{
	struct tokens *t = NULL;
	struct err e = ERR_INIT;
	FILE *f = fopen(path, "w");
	char expected[128];

	(void)state;
	fputs("# a comment\n\npos producer 12ab\n", f);
	fclose(f);
	assert_int_equal(tokens_open(&t, path, &e), -1);
	snprintf(expected, sizeof(expected), "%s:3: expected NAME ROLE "
	    "SHA256-HEX [PATTERN ...]", path);
	assert_string_equal(e.text, expected);
}

/* What could not be written has not happened. */
static void
a_failed_write_changes_nothing(void **state)
{
	struct tokens *t = NULL;
	char *secret = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(tokens_open(&t, "/nowhere/at/all/tokens", &e), 0);
	assert_int_equal(tokens_add(t, "a", "reader", NULL, 0, &secret, &e),
	    -1);
	assert_int_equal(e.code, BH_E_IO);
	assert_non_null(strstr(e.text, "/nowhere/at/all/tokens"));
	assert_int_equal(tokens_count(t), 0);
	tokens_free(&t);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(no_file_is_an_empty_set),
		T(a_token_is_known_by_its_secret),
		T(the_file_keeps_hashes_only),
		T(a_name_is_taken_once),
		T(a_removed_token_is_unknown),
		T(bad_words_are_refused_by_name),
		T(a_broken_file_names_its_line),
		T(a_failed_write_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
