/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "front/json_sink.h"

struct desk {
	struct json_sink sink;
	struct buf out;
};

static struct reply *
fresh(struct desk *d)
{
	buf_done(&d->out);
	json_sink_init(&d->sink, &d->out);
	return &d->sink.reply;
}

/* What has been written, which is complete. */
static void
expect(struct desk *d, const char *json)
{
	assert_string_equal(buf_str(&d->out), json);
	assert_true(json_valid(buf_peek(&d->out), buf_size(&d->out)));
	assert_int_equal(d->sink.depth, 0);
	assert_int_equal(d->sink.skip, 0);
	buf_done(&d->out);
}

static void
plain_values(void **state)
{
	struct desk d = {.out = BUF_INIT};
	struct reply *r;

	(void)state;
	r = fresh(&d);
	reply_ok(r);
	expect(&d, "\"OK\"");
	r = fresh(&d);
	r->ops->integer(r, -7);
	expect(&d, "-7");
	r = fresh(&d);
	r->ops->real(r, 0.5);
	expect(&d, "0.5");
	r = fresh(&d);
	r->ops->boolean(r, true);
	expect(&d, "true");
	r = fresh(&d);
	r->ops->null(r);
	expect(&d, "null");
	r = fresh(&d);
	r->ops->null_array(r);
	expect(&d, "null");
	r = fresh(&d);
	r->ops->bulk(r, "a\"\xff\n", 4);
	expect(&d, "\"a\\\"\xef\xbf\xbd\\n\"");
	r = fresh(&d);
	r->ops->verbatim(r, "text", 4);
	expect(&d, "\"text\"");
	assert_int_equal(r->proto, 3);
}

static void
aggregates_end_by_themselves(void **state)
{
	struct desk d = {.out = BUF_INIT};
	struct reply *r = fresh(&d);

	(void)state;
	r->ops->array(r, 0);
	expect(&d, "[]");
	r = fresh(&d);
	r->ops->map(r, 0);
	expect(&d, "{}");
	r = fresh(&d);
	r->ops->array(r, 3);
	r->ops->map(r, 0);
	r->ops->set(r, 1);
	r->ops->push(r, 0);
	r->ops->map(r, 2);
	reply_pair_int(r, "n", 1);
	reply_str(r, "list");
	r->ops->array(r, 2);
	reply_id(r, 42);
	r->ops->null(r);
	expect(&d, "[{},[[]],{\"n\":1,\"list\":[\"42\",null]}]");
}

static void
a_number_may_be_a_key(void **state)
{
	struct desk d = {.out = BUF_INIT};
	struct reply *r = fresh(&d);

	(void)state;
	r->ops->map(r, 1);
	r->ops->integer(r, 5);
	r->ops->integer(r, 6);
	expect(&d, "{\"5\":6}");
}

static void
bodies_are_embedded(void **state)
{
	struct desk d = {.out = BUF_INIT};
	struct reply *r = fresh(&d);

	(void)state;
	r->ops->map(r, 3);
	reply_str(r, "payload");
	r->ops->bulk(r, "{\"a\": [1]}", 10);
	reply_str(r, "result");
	r->ops->bulk(r, "\xff\x00\xfe", 3);
	reply_str(r, "error");
	r->ops->bulk(r, "no", 2);
	expect(&d, "{\"payload\":{\"a\": [1]},\"payload_encoding\":\"json\","
	    "\"result\":\"/wD+\",\"result_encoding\":\"base64\","
	    "\"error\":\"no\"}");
	r = fresh(&d);
	r->ops->map(r, 2);
	reply_str(r, "payload");
	r->ops->bulk(r, "", 0);
	reply_str(r, "result");
	r->ops->null(r);
	expect(&d, "{\"payload\":\"\",\"payload_encoding\":\"text\","
	    "\"result\":null}");
	r = fresh(&d);
	r->ops->map(r, 1);
	reply_str(r, "result");
	r->ops->map(r, 1);
	reply_pair_int(r, "payload", 3);
	expect(&d, "{\"result\":{\"payload\":3}}");
}

static void
an_error_is_kept_apart(void **state)
{
	struct desk d = {.out = BUF_INIT};
	struct reply *r = fresh(&d);

	(void)state;
	r->ops->error(r, BH_E_NOTFOUND, "no job 7");
	assert_int_equal(d.sink.status, BH_E_NOTFOUND);
	assert_string_equal(d.sink.text, "no job 7");
	assert_int_equal(buf_size(&d.out), 0);
	r = fresh(&d);
	assert_int_equal(d.sink.status, BH_OK);
	r->ops->array(r, 2);
	r->ops->error(r, BH_E_NOTFOUND, "no job 7");
	r->ops->integer(r, 1);
	expect(&d, "[\"NOTFOUND no job 7\",1]");
	assert_int_equal(d.sink.status, BH_OK);
}

static void
what_is_too_deep_is_left_out(void **state)
{
	struct desk d = {.out = BUF_INIT};
	struct reply *r = fresh(&d);
	struct buf expected = BUF_INIT;

	(void)state;
	for (int i = 0; i < JSON_SINK_DEPTH; i++)
		r->ops->array(r, 2);
	r->ops->map(r, 2);
	reply_str(r, "payload");
	r->ops->array(r, 2);
	r->ops->map(r, 0);
	r->ops->real(r, 1);
	reply_pair_int(r, "x", 1);
	for (int i = 0; i < JSON_SINK_DEPTH; i++)
		r->ops->integer(r, i);
	for (int i = 0; i < JSON_SINK_DEPTH; i++)
		buf_addc(&expected, '[');
	buf_adds(&expected, "null");
	for (int i = 0; i < JSON_SINK_DEPTH; i++)
		buf_addf(&expected, ",%d]", i);
	expect(&d, buf_str(&expected));
	r = fresh(&d);
	for (int i = 0; i <= JSON_SINK_DEPTH + 1; i++)
		r->ops->array(r, i < JSON_SINK_DEPTH + 1);
	buf_reset(&expected, 0);
	for (int i = 0; i < JSON_SINK_DEPTH; i++)
		buf_addc(&expected, '[');
	buf_adds(&expected, "null");
	for (int i = 0; i < JSON_SINK_DEPTH; i++)
		buf_addc(&expected, ']');
	expect(&d, buf_str(&expected));
	buf_done(&expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_values),
		cmocka_unit_test(aggregates_end_by_themselves),
		cmocka_unit_test(a_number_may_be_a_key),
		cmocka_unit_test(bodies_are_embedded),
		cmocka_unit_test(an_error_is_kept_apart),
		cmocka_unit_test(what_is_too_deep_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
