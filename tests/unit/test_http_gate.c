/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/gate.h"
#include "http/text.h"

/* "Name: value" lines, as they are. */
static const char *
judge(bool http11, const char *const *lines)
{
	struct gate g;

	gate_init(&g);
	for (; *lines; lines++) {
		const char *colon = strchr(*lines, ':');

		gate_header(&g, *lines, (size_t)(colon - *lines), colon + 1,
		    strlen(colon + 1));
	}
	return gate_verdict(&g, http11);
}

#define HEAD(...) ((const char *const[]){"Host:a", __VA_ARGS__, NULL})

static void
sound_heads_pass(void **state)
{
	(void)state;
	assert_null(judge(true, HEAD("Content-Length:0")));
	assert_null(judge(true, HEAD("content-length:12", "X:\ttab")));
	assert_null(judge(true, HEAD("Transfer-Encoding:Chunked")));
	assert_null(judge(true, HEAD("!#$%&'*+-.^_`|~09:a")));
	assert_null(judge(false, (const char *const[]){"X:", NULL}));
}

static void
ambiguous_heads_are_refused(void **state)
{
	(void)state;
	assert_non_null(judge(true, HEAD("Content-Length:1",
	    "Content-Length:1")));
	assert_non_null(judge(true, HEAD("Content-Length:1",
	    "Transfer-Encoding:chunked")));
	assert_non_null(judge(true, HEAD("Content-Length:")));
	assert_non_null(judge(true, HEAD("Content-Length:-1")));
	assert_non_null(judge(true, HEAD("Content-Length:1 ")));
	assert_non_null(judge(true, HEAD("Content-Length:1,1")));
	assert_non_null(judge(true, HEAD(
	    "Content-Length:9999999999999999999")));
	assert_non_null(judge(true, HEAD("Transfer-Encoding:gzip")));
	assert_non_null(judge(true, HEAD("Transfer-Encoding:chunked",
	    "Transfer-Encoding:chunked")));
	assert_non_null(judge(false, HEAD("Transfer-Encoding:chunked")));
	assert_non_null(judge(true, HEAD("Host:b")));
	assert_non_null(judge(true, (const char *const[]){"X:a", NULL}));
	assert_non_null(judge(true, HEAD("X :a")));
	assert_non_null(judge(true, HEAD(":a")));
	assert_non_null(judge(true, HEAD("X:a\rb")));
	assert_non_null(judge(true, HEAD("X:a\x7f")));
}

static void
hosts_are_split(void **state)
{
	static const struct {
		const char *value, *host, *port;
	} good[] = {{"a", "a", ""}, {"a:80", "a", "80"}, {"a:", "a", ""},
	    {"[::1]", "::1", ""}, {"[::1]:80", "::1", "80"}};
	static const char *const bad[] = {"", ":80", "[", "[::1", "[::1]x",
	    "a:b", "a:80:90", "a:123456", "::1", "[]"};
	struct bh_bytes host, port;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(gate_split_host(bytes_of(good[i].value),
		    &host, &port), 0);
		assert_true(bytes_is(host, good[i].host));
		assert_true(bytes_is(port, good[i].port));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gate_split_host(bytes_of(bad[i]), &host,
		    &port), -1);
}

static char *listen_list[] = {(char[]){"0.0.0.0:7381"},
    (char[]){"inn.lan:7381"}, NULL};
static char *host_list[] = {(char[]){"bell.example.org"}, NULL};
static char *origin_list[] = {(char[]){"https://desk.example.org"}, NULL};
static char *any[] = {(char[]){"*"}, NULL};

static void
hosts_are_known_or_not(void **state)
{
	struct gate_names n = {.local = "192.168.1.5", .listen = listen_list,
	    .hosts = host_list, .origins = origin_list};
	static const char *const known[] = {"localhost", "x.localhost:1",
	    "127.0.0.1:7381", "[::1]", "192.168.1.5:7381", "INN.lan",
	    "bell.example.org.", "bell.example.org:443"};
	static const char *const unknown[] = {"", "192.168.1.6",
	    "example.org", "x.bell.example.org", "localhostx", "127.0.0.2",
	    ".localhost", "bell.example.org:x"};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_true(gate_host_known(bytes_of(known[i]), &n));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_false(gate_host_known(bytes_of(unknown[i]), &n));
	n.hosts = any;
	assert_true(gate_host_known(bytes_of("example.org"), &n));
	n.hosts = host_list;
	n.local = NULL;
	assert_true(gate_host_known(bytes_of("example.org"), &n));
}

static void
origins_are_told_apart(void **state)
{
	struct gate_names n = {.local = "127.0.0.1", .listen = listen_list,
	    .hosts = host_list, .origins = origin_list};
	static const struct {
		const char *origin, *host;
		enum gate_origin want;
	} cases[] = {
	    {"http://a:7381", "a:7381", GATE_SAME},
	    {"https://a", "a", GATE_SAME},
	    {"https://A:443", "a", GATE_SAME},
	    {"http://a", "a:80", GATE_SAME},
	    {"http://a", "a:443", GATE_FOREIGN},
	    {"http://a:1", "a:2", GATE_FOREIGN},
	    {"http://a", "", GATE_FOREIGN},
	    {"ftp://a", "a", GATE_FOREIGN},
	    {"http://", "", GATE_FOREIGN},
	    {"null", "a", GATE_FOREIGN},
	    {"", "", GATE_FOREIGN},
	    {"https://desk.example.org", "a", GATE_LISTED},
	    {"http://desk.example.org", "a", GATE_FOREIGN},
	    {"https://desk.example.org.evil.com", "a", GATE_FOREIGN}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(gate_origin_of(bytes_of(cases[i].origin),
		    bytes_of(cases[i].host), &n), cases[i].want);
	n.origins = any;
	assert_int_equal(gate_origin_of(bytes_of("null"), bytes_of("a"), &n),
	    GATE_LISTED);
}

static void
spans_have_a_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"500ms", 500}, {"2s", 2000}, {"1.5m", 90000}, {"0", 0},
	    {"0s", 0}, {"7d", 604800000}, {"1h", 3600000}};
	static const char *const bad[] = {"", "5", "s", "-1s", "1 s", "1.s",
	    ".5s", "1w", "1ms2s", "99999999999d", "1e3s"};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(span_parse(good[i].text,
		    strlen(good[i].text), &ms), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(span_parse(bad[i], strlen(bad[i]), &ms), -1);
}

static void
text_is_decoded(void **state)
{
	char path[] = "a%2Fb%c3%A9", half[] = "a%2", nul[] = "%00";
	struct text t = {0};

	(void)state;
	assert_int_equal(percent_decode(path, strlen(path)), 5);
	assert_string_equal(path, "a/b\xc3\xa9");
	assert_int_equal(percent_decode(half, strlen(half)), -1);
	assert_int_equal(percent_decode(nul, strlen(nul)), -1);
	assert_int_equal(base64_decode(&t, "/wA=", 4), 0);
	assert_int_equal(t.len, 2);
	assert_memory_equal(t.data, "\xff\0", 2);
	assert_int_equal(base64_decode(&t, "/wA", 3), -1);
	assert_int_equal(base64_decode(&t, "/wB=", 4), -1);
	assert_int_equal(base64_decode(&t, "====", 4), -1);
	t.len = 0;
	text_json(&t, "a\"\\\n\xff\xc3\xa9", 7);
	assert_string_equal(text_str(&t),
	    "\"a\\\"\\\\\\u000a\xef\xbf\xbd\xc3\xa9\"");
	text_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_heads_pass),
		cmocka_unit_test(ambiguous_heads_are_refused),
		cmocka_unit_test(hosts_are_split),
		cmocka_unit_test(hosts_are_known_or_not),
		cmocka_unit_test(origins_are_told_apart),
		cmocka_unit_test(spans_have_a_unit),
		cmocka_unit_test(text_is_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
