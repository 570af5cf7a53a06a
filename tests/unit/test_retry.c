/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/retry.h"
#define HOUR_MS ((int64_t)3600000)

static const struct retry_backoff usual = {BH_BACKOFF_EXPONENTIAL, 5000,
    6 * HOUR_MS, 3, 0.2};

static void
default_waits_for_a_night_and_a_day(void **state)
{
	static const int64_t want[] = {5000, 15000, 45000, 135000, 405000,
	    1215000, 3645000, 10935000, 21600000, 21600000};

	(void)state;
	for (size_t i = 0; i < nitems(want); i++)
		assert_int_equal(retry_delay(&usual, (int32_t)i + 1, 0),
		    want[i]);
}

static void
jitter_shortens_by_at_most_its_share(void **state)
{
	(void)state;
	for (int32_t errors = 1; errors < 20; errors++) {
		int64_t full = retry_delay(&usual, errors, 0), was = full;

		for (double unit = 0.01; unit < 1; unit += 0.01) {
			int64_t d = retry_delay(&usual, errors, unit);

			assert_true(d < was);
			assert_true(d >= full / 5 * 4);
			was = d;
		}
	}
}

static void
more_errors_never_wait_less(void **state)
{
	(void)state;
	for (int32_t errors = 1; errors < 100; errors++)
		assert_true(retry_delay(&usual, errors + 1, 0.5) >=
		    retry_delay(&usual, errors, 0.5));
}

static void
fixed_waits_the_same_each_time(void **state)
{
	const struct retry_backoff b = {BH_BACKOFF_FIXED, 700, HOUR_MS, 3, 0};

	(void)state;
	assert_int_equal(retry_delay(&b, 1, 0.9), 700);
	assert_int_equal(retry_delay(&b, 50, 0.9), 700);
}

static void
maximum_holds_for_the_first_wait_too(void **state)
{
	const struct retry_backoff b = {BH_BACKOFF_FIXED, 9000, 1000, 1, 0};

	(void)state;
	assert_int_equal(retry_delay(&b, 1, 0), 1000);
}

static void
huge_factors_and_counts_stay_in_bounds(void **state)
{
	static const double factors[] = {1, 1.0000001, 3, 1000, 1e300};
	static const int32_t counts[] = {2, 100, 1000000, INT32_MAX};

	(void)state;
	for (size_t f = 0; f < nitems(factors); f++)
		for (size_t c = 0; c < nitems(counts); c++) {
			struct retry_backoff b = usual;
			int64_t d;

			b.factor = factors[f];
			d = retry_delay(&b, counts[c], 0);
			assert_in_range(d, 5000, b.max_ms);
			b.delay_ms = 0;
			assert_int_equal(retry_delay(&b, counts[c], 0), 0);
		}
}

static void
factor_1_never_grows(void **state)
{
	struct retry_backoff b = usual;

	(void)state;
	b.factor = 1;
	assert_int_equal(retry_delay(&b, INT32_MAX, 0), 5000);
}

static const struct {
	const char *msg, *folded;
} folds[] = {
	{"", ""},
	{"plain words stay", "plain words stay"},
	{"order 17 of 'Bo' failed", "order # of '…' failed"},
	{"17", "#"},
	{"took 12.5 s, 3 of 4", "took #.# s, # of #"},
	{"status=503", "status=#"},
	{"line12", "line#"},
	{"at 2026-11-21 02:53:53", "at # #:#:#"},
	{"id 550e8400-e29b-41d4-a716-446655440000 gone", "id # gone"},
	{"id a50e8400-e29b-41d4-a716-446655440000.", "id #."},
	{"commit deadbeef99 bad", "commit # bad"},
	{"commit 9f8e7d6c5b bad", "commit # bad"},
	{"deadbeef facade", "deadbeef facade"},
	{"at 0x7ffc01 and 0xdeadbeef and 0XC0", "at # and # and #"},
	{"0x and 0xyz", "#x and #xyz"},
	{"bad \"name\" and `cmd`", "bad \"…\" and `…`"},
	{"bad \"it's 5\"", "bad \"…\""},
	{"don't touch Bo's 5", "don't touch Bo's #"},
	{"open 'quote 5", "open 'quote #"},
	{"''", "'…'"},
	{"größe 12 für „Käse“ 日本7", "größe # für „Käse“ 日本#"},
};

static void
fold_replaces_what_differs_in_like_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < nitems(folds); i++) {
		char out[256];
		size_t n = retry_fold(folds[i].msg, strlen(folds[i].msg),
		    out, sizeof(out));

		assert_string_equal(out, folds[i].folded);
		assert_int_equal(n, strlen(folds[i].folded));
	}
}

static void
fold_reads_no_further_than_its_length(void **state)
{
	char out[64];

	(void)state;
	retry_fold("say 'x' 123", 6, out, sizeof(out));
	assert_string_equal(out, "say 'x");
	retry_fold("ab 0x12", 5, out, sizeof(out));
	assert_string_equal(out, "ab #x");
}

static void
fold_ends_inside_its_buffer(void **state)
{
	static const char *const msgs[] = {"xxxxxxxxxxxxxxxxxxxxxxxx",
	    "'a''a''a''a''a''a'", "1 2 3 4 5 6 7 8 9 10 11 12"};

	(void)state;
	for (size_t m = 0; m < nitems(msgs); m++)
		for (size_t size = 1; size < 20; size++) {
			char out[32];
			size_t n;

			memset(out, '~', sizeof(out));
			n = retry_fold(msgs[m], strlen(msgs[m]), out, size);
			assert_true(n < size);
			assert_int_equal(out[n], '\0');
			assert_int_equal(out[size], '~');
		}
}

static uint64_t
print(const char *msg)
{
	return retry_fingerprint(msg, strlen(msg));
}

static void
fingerprints_are_the_same_for_like_errors(void **state)
{
	(void)state;
	assert_true(print("order 17 of 'Bo' failed") ==
	    print("order 4711 of 'Anna Lena' failed"));
	assert_true(print("GET /u/9: 503") == print("GET /u/10: 502"));
	assert_true(print("at 0xc000123") == print("at 0xffee"));
	assert_true(print("order failed") != print("order filed"));
	assert_true(print("a 'b'") != print("a \"b\""));
}

static void
fingerprints_are_positive_for_sqlite(void **state)
{
	char msg[2] = "a";

	(void)state;
	for (int c = 1; c < 256; c++) {
		msg[0] = (char)c;
		assert_in_range(print(msg), 1, INT64_MAX);
	}
	assert_in_range(print(""), 1, INT64_MAX);
}

static void
fingerprints_look_at_a_bounded_front(void **state)
{
	static char a[5000], b[5000];

	(void)state;
	memset(a, 'x', sizeof(a));
	memset(b, 'x', sizeof(b));
	b[4000] = 'y';
	assert_true(retry_fingerprint(a, sizeof(a)) ==
	    retry_fingerprint(b, sizeof(b)));
	b[900] = 'y';
	assert_true(retry_fingerprint(a, sizeof(a)) !=
	    retry_fingerprint(b, sizeof(b)));
}

/* They are in databases: whoever must change one writes an upgrade. */
static void
stored_fingerprints_never_change(void **state)
{
	(void)state;
	assert_true(print("") == 0x4bf29ce484222325);
	assert_true(print("order 17 of 'Bo' failed") == 0x0f52d282329ddf78);
	assert_true(print("HTTP 503") == 0x2f5f154d0e0a1e34);
	assert_true(print("größe 12") == 0x74a45ca970454ab7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_waits_for_a_night_and_a_day),
		cmocka_unit_test(jitter_shortens_by_at_most_its_share),
		cmocka_unit_test(more_errors_never_wait_less),
		cmocka_unit_test(fixed_waits_the_same_each_time),
		cmocka_unit_test(maximum_holds_for_the_first_wait_too),
		cmocka_unit_test(huge_factors_and_counts_stay_in_bounds),
		cmocka_unit_test(factor_1_never_grows),
		cmocka_unit_test(fold_replaces_what_differs_in_like_errors),
		cmocka_unit_test(fold_reads_no_further_than_its_length),
		cmocka_unit_test(fold_ends_inside_its_buffer),
		cmocka_unit_test(fingerprints_are_the_same_for_like_errors),
		cmocka_unit_test(fingerprints_are_positive_for_sqlite),
		cmocka_unit_test(fingerprints_look_at_a_bounded_front),
		cmocka_unit_test(stored_fingerprints_never_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
