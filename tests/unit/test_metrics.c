/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/metrics.h"

static void
expect(struct metrics *m, const char *text)
{
	assert_string_equal(buf_str(&m->out), text);
	metrics_done(m);
	metrics_init(m);
}

static void
families_and_samples(void **state)
{
	struct metrics m;

	(void)state;
	metrics_init(&m);
	metrics_one(&m, "a_total", "counter", "One \\ two\nthree.", 3);
	metrics_family(&m, "b", "histogram", "B.");
	metrics_sample(&m, "_bucket", "le=\"+Inf\"", 2);
	metrics_sample(&m, "_sum", "", 0.25);
	expect(&m, "# HELP a_total One \\\\ two\\nthree.\n"
	    "# TYPE a_total counter\na_total 3\n"
	    "# HELP b B.\n# TYPE b histogram\n"
	    "b_bucket{le=\"+Inf\"} 2\nb_sum 0.25\n");
	metrics_done(&m);
}

static void
labels_are_escaped(void **state)
{
	struct metrics m;

	(void)state;
	metrics_init(&m);
	metrics_family(&m, "a", "gauge", "A.");
	metrics_sample(&m, "", metrics_labels(&m, "q",
	    (struct bh_bytes){"x\"\\\n", 4}, "s=\"1\""), 1);
	metrics_sample(&m, "", metrics_labels(&m, "q",
	    (struct bh_bytes){"", 0}, ""), 1);
	expect(&m, "# HELP a A.\n# TYPE a gauge\n"
	    "a{q=\"x\\\"\\\\\\n\",s=\"1\"} 1\na{q=\"\"} 1\n");
	metrics_done(&m);
}

static void
numbers_read_back(void **state)
{
	static const struct {
		double v;
		const char *text;
	} table[] = {
		{0, "0"}, {-1.5, "-1.5"}, {1e15, "1e+15"},
		{123456789012345, "123456789012345"}, {0.1, "0.1"},
		{1.0 / 3, "0.33333333333333331"}, {NAN, "NaN"},
		{INFINITY, "+Inf"}, {-INFINITY, "-Inf"},
	};
	struct metrics m;

	(void)state;
	metrics_init(&m);
	for (size_t i = 0; i < nitems(table); i++) {
		struct buf want = BUF_INIT;

		metrics_one(&m, "a", "gauge", "A.", table[i].v);
		buf_addf(&want, "# HELP a A.\n# TYPE a gauge\na %s\n",
		    table[i].text);
		expect(&m, buf_str(&want));
		buf_done(&want);
	}
	metrics_done(&m);
}

static void
what_would_break_the_page_is_left_out(void **state)
{
	struct metrics m;
	const struct bh_metrics *api = &m.api;

	(void)state;
	metrics_init(&m);
	api->sample(api, "", "", 1);		/* no family */
	api->family(api, "1a", "gauge", "No name.");
	api->sample(api, "", "", 1);
	api->family(api, "a b", "gauge", "No name.");
	api->sample(api, "", "", 1);
	api->family(api, "", "gauge", "No name.");
	api->sample(api, "", "", 1);
	api->family(api, "a", "number", "No type.");
	api->sample(api, "", "", 1);
	api->family(api, "a", "gauge", "First.");
	api->sample(api, "", "", 1);
	api->family(api, "ab", "gauge", "Another.");
	api->sample(api, "", "", 2);
	api->family(api, "a", "gauge", "Second.");
	api->sample(api, "", "", 3);
	expect(&m, "# HELP a First.\n# TYPE a gauge\na 1\n"
	    "# HELP ab Another.\n# TYPE ab gauge\nab 2\n");
	metrics_done(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_and_samples),
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test(numbers_read_back),
		cmocka_unit_test(what_would_break_the_page_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
