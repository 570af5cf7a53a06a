/* SPDX-License-Identifier: MIT */
/* Whether a webhook is genuine: src/script/hook.c. Signatures are those that
 * the senders publish as examples, or made with another program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "script/hook.h"

struct sender {
	const char *name;
	struct hook_opts o;
	const char *secret, *body;
	struct bh_header headers[3];
	int64_t now;			/* wall ms */
};

#define B(s) {s, sizeof(s) - 1}

static const struct sender senders[] = {
	{"GitHub", {.signature = HOOK_SHA256,
	    .header = "x-hub-signature-256"},
	    "It's a Secret to Everybody", "Hello, World!",
	    {{"x-hub-signature-256", B("sha256=757107ea0eb2509fc211221cce984b"
	    "8a37570b6d7586c22c46f4379c8b043e17")}}, 0},
	{"GitHub of old", {.signature = HOOK_SHA1,
	    .header = "x-hub-signature", .prefix = "sha1="},
	    "It's a Secret to Everybody", "Hello, World!",
	    {{"x-hub-signature", B("sha1=01dc10d0c83e72ed246219cdd91669667fe2"
	    "ca59")}}, 0},
	{"Slack", {.signature = HOOK_SHA256, .header = "x-slack-signature",
	    .prefix = "v0=", .payload = "v0:{timestamp}:{body}",
	    .timestamp = {.header = "x-slack-request-timestamp",
	    .window_ms = 300000}},
	    "8f742231b10e8888abcd99yyyzzz85a5",
	    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain="
	    "testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id="
	    "U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
	    "response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J"
	    "%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
	    "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
	    {{"x-slack-request-timestamp", B("1531420618")},
	    {"x-slack-signature", B("v0=a2114d57b48eac39b9ad189dd8316235a7b4a8"
	    "d21a10bd27519666489c69b503")}}, 1531420618000 + 299000},
	{"Stripe", {.signature = HOOK_SHA256, .header = "stripe-signature",
	    .field = "v1", .payload = "{timestamp}.{body}",
	    .timestamp = {.field = "t", .window_ms = 300000}},
	    "whsec_test_secret", "{\"id\":\"evt_1\"}",
	    {{"stripe-signature", B("t=1492774577,v1=00"
	    ",v1=799c4ba7bb339f3c8601adfd112f0e477c930a26"
	    "8be1243d341abb8286501c2f,v0=6ffbb59b2300")}}, 1492774577000},
	{"Shopify", {.signature = HOOK_SHA256,
	    .header = "x-shopify-hmac-sha256", .encoding = HOOK_BASE64},
	    "hush", "{\"id\":820982911946154508}",
	    {{"x-shopify-hmac-sha256", B("qBvrsZF7RfB1iS6BX6IHqJTp5L911P7intnPeTPsH0I=")}}, 0},
	{"Meta", {.signature = HOOK_SHA256,
	    .header = "x-hub-signature-256"},
	    "app secret", "{\"object\":\"whatsapp_business_account\"}",
	    {{"x-hub-signature-256", B("sha256=00eb95ffee813923b6e7c07fd6951c39ffc66c45"
	    "3cc809e2f5770503273edf04")}}, 0},
	{"Standard Webhooks", {.signature = HOOK_SHA256,
	    .header = "webhook-signature", .prefix = "v1,",
	    .encoding = HOOK_BASE64, .secret_encoding = HOOK_BASE64,
	    .payload = "{id}.{timestamp}.{body}", .delivery = "webhook-id",
	    .timestamp = {.header = "webhook-timestamp",
	    .window_ms = 300000}},
	    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	    "{\"test\": 2432232314}",
	    {{"webhook-id", B("msg_p5jXN8AQM9LWM0D4loKWxJek")},
	    {"webhook-timestamp", B("1614265330")},
	    {"webhook-signature", B("v1a,bm90aGluZw== "
	    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")}},
	    1614265330000},
	{"RFC 4231, SHA-512", {.signature = HOOK_SHA512, .header = "x-sig"},
	    "Jefe", "what do ya want for nothing?",
	    {{"x-sig", B("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd61027"
	    "0cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e"
	    "070a38bce737")}}, 0},
	{"a token", {.signature = HOOK_TOKEN, .header = "x-gitlab-token"},
	    "correct horse", "{}",
	    {{"x-gitlab-token", B("correct horse")}}, 0},
	{"a bearer", {.signature = HOOK_TOKEN, .header = "authorization",
	    .prefix = "Bearer "}, "correct horse", "{}",
	    {{"authorization", B("Bearer correct horse")}}, 0},
};

static int
verify(const struct sender *s, const struct bh_bytes *secrets, size_t n,
    const struct bh_header *headers, struct bh_bytes body, struct err *e)
{
	struct bh_hook h = {.method = "POST", .headers = headers,
	    .nheaders = headers[1].name ? headers[2].name ? 3 : 2 : 1,
	    .body = body};

	return hook_verify(&s->o, secrets, n, &h, s->now, e);
}

static struct bh_bytes
bytes(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static void
test_genuine_requests_pass(void **state)
{
	struct err e;

	(void)state;
	for (size_t i = 0; i < nitems(senders); i++) {
		const struct sender *s = &senders[i];
		struct bh_bytes key = bytes(s->secret);

		if (verify(s, &key, 1, s->headers, bytes(s->body), &e) < 0)
			fail_msg("%s: %s", s->name, e.text);
	}
}

static void
test_one_other_byte_is_refused(void **state)
{
	struct err e;

	(void)state;
	for (size_t i = 0; i < nitems(senders); i++) {
		const struct sender *s = &senders[i];
		struct bh_bytes key = bytes(s->secret), wrong = bytes("wrong");
		char body[600];
		size_t len = strlen(s->body);

		memcpy(body, s->body, len);
		body[len / 2] ^= 1;
		if (s->o.signature != HOOK_TOKEN)
			assert_int_equal(verify(s, &key, 1, s->headers,
			    (struct bh_bytes){body, len}, &e), -1);
		assert_int_equal(verify(s, &wrong, 1, s->headers,
		    bytes(s->body), &e), -1);
		assert_int_equal(e.code, BH_E_NOAUTH);
		assert_null(strstr(e.text, s->secret));
	}
}

static void
test_old_and_new_secret_both_pass(void **state)
{
	const struct sender *s = &senders[0];
	struct bh_bytes keys[3] = {bytes("newest"), bytes(s->secret),
	    bytes("oldest")};
	struct err e;

	(void)state;
	assert_int_equal(verify(s, keys, 3, s->headers, bytes(s->body), &e),
	    0);
	assert_int_equal(verify(s, keys, 1, s->headers, bytes(s->body), &e),
	    -1);
}

static void
test_what_is_no_signature_is_refused(void **state)
{
	static const char *const values[] = {"", "sha256=", "sha256=zz", "75",
	    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b"
	    "043e1", "sha1=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46"
	    "f4379c8b043e17", "====", ",,,,", "    "};
	const struct sender *s = &senders[0];
	struct bh_bytes key = bytes(s->secret), empty = bytes("");
	struct bh_header h[2] = {{"x-hub-signature-256", {NULL, 0}},
	    {NULL, {NULL, 0}}};
	struct bh_header other[2] = {{"x-other", B("1")}, {NULL, {NULL, 0}}};
	struct err e;

	(void)state;
	for (size_t i = 0; i < nitems(values); i++) {
		h[0].value = bytes(values[i]);
		assert_int_equal(verify(s, &key, 1, h, bytes(s->body), &e),
		    -1);
	}
	assert_int_equal(verify(s, &key, 1, other, bytes(s->body), &e), -1);
	assert_string_equal(e.text,
	    "the header x-hub-signature-256 is missing");
	/* An empty secret opens nothing. */
	assert_int_equal(verify(s, &empty, 1, s->headers, bytes(s->body), &e),
	    -1);
}

static void
test_time_must_be_in_the_window(void **state)
{
	struct sender s = senders[2];
	struct bh_bytes key = bytes(s.secret);
	struct err e;

	(void)state;
	s.now = 1531420618000 + 301000;
	assert_int_equal(verify(&s, &key, 1, s.headers, bytes(s.body), &e),
	    -1);
	assert_string_equal(e.text,
	    "its time is 5 m 1 s old: outside of the window");
	s.now = 1531420618000 - 301000;
	assert_int_equal(verify(&s, &key, 1, s.headers, bytes(s.body), &e),
	    -1);
	assert_non_null(strstr(e.text, "ahead"));
	s.headers[0].value = bytes("yesterday");
	assert_int_equal(verify(&s, &key, 1, s.headers, bytes(s.body), &e),
	    -1);
	assert_non_null(strstr(e.text, "seconds since 1970"));
}

/* The time alone: the signature is wrong anyway, and says so only when the
 * time was right. */
static void
test_forms_of_time(void **state)
{
	static const struct {
		enum hook_time format;
		const char *text;
		bool ok;
	} t[] = {
		{HOOK_SECONDS, "1767225600", true},
		{HOOK_SECONDS, "-5", false},
		{HOOK_SECONDS, "99999999999999999999", false},
		{HOOK_MILLISECONDS, "1767225600123", true},
		{HOOK_RFC3339, "2026-01-01T00:00:00Z", true},
		{HOOK_RFC3339, "2026-01-01T00:00:00.123Z", true},
		{HOOK_RFC3339, "2026-01-01T02:30:00+02:30", true},
		{HOOK_RFC3339, "2025-12-31T19:00:00-05:00", true},
		{HOOK_RFC3339, "2026-01-01T02:30:00", false},
		{HOOK_RFC3339, "2026-01-01", false},
	};
	struct sender s = senders[2];
	struct bh_bytes key = bytes("x");
	struct err e;

	(void)state;
	s.now = 1767225600000;
	for (size_t i = 0; i < nitems(t); i++) {
		s.o.timestamp.format = t[i].format;
		s.headers[0].value = bytes(t[i].text);
		assert_int_equal(verify(&s, &key, 1, s.headers,
		    bytes(s.body), &e), -1);
		assert_int_equal(strcmp(e.text, "the signature is not right")
		    == 0, t[i].ok);
	}
}

static void
test_token_in_the_query(void **state)
{
	static const struct hook_opts o = {.signature = HOOK_TOKEN,
	    .query = "token"};
	struct bh_bytes key = bytes("correct horse");
	struct bh_header query = {"token", B("correct horse")};
	struct bh_hook h = {.method = "POST", .query = &query, .nquery = 1};
	struct err e;

	(void)state;
	assert_int_equal(hook_verify(&o, &key, 1, &h, 0, &e), 0);
	query.value.len--;
	assert_int_equal(hook_verify(&o, &key, 1, &h, 0, &e), -1);
	h.nquery = 0;
	assert_int_equal(hook_verify(&o, &key, 1, &h, 0, &e), -1);
	assert_string_equal(e.text, "the parameter token is missing");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_genuine_requests_pass),
		cmocka_unit_test(test_one_other_byte_is_refused),
		cmocka_unit_test(test_old_and_new_secret_both_pass),
		cmocka_unit_test(test_what_is_no_signature_is_refused),
		cmocka_unit_test(test_time_must_be_in_the_window),
		cmocka_unit_test(test_forms_of_time),
		cmocka_unit_test(test_token_in_the_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
