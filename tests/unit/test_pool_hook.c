/* SPDX-License-Identifier: MIT */
/* Webhooks through real script threads: src/script/pool_hook.c, lua_hook.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lib/poolfix.h"

/* The signature of "hello" with the secret "hush". */
#define SIGNED "cef4fdb4c151f1a74fb0178ce9d927f10a9f96f59e99cb824a19773201810ca2"

struct sent {
	struct bh_hook h;
	struct bh_header headers[2];
	struct bh_header query[2];
	bool done;
	char json[200], text[BH_ERROR_TEXT], type[80];
};

static void
answered(struct bh_hook *h)
{
	struct sent *s = h->user;

	assert_false(s->done);
	s->done = true;
	snprintf(s->json, sizeof(s->json), "%.*s", (int)h->json.len,
	    h->json.data ? h->json.data : "");
	snprintf(s->text, sizeof(s->text), "%s", h->text);
	snprintf(s->type, sizeof(s->type), "%s", h->type ? h->type : "");
}

static void
prepare(struct sent *s, const char *name, const char *body)
{
	*s = (struct sent){.h = {.name = {name, strlen(name)},
	    .method = "POST", .path = {"/hooks/x", 8}, .peer = "127.0.0.1:9",
	    .body = {body, strlen(body)}, .done = answered}};
	s->h.user = s;
	s->h.headers = s->headers;
	s->h.query = s->query;
}

static void
header(struct sent *s, const char *name, const char *value)
{
	s->headers[s->h.nheaders++] = (struct bh_header){name,
	    {value, strlen(value)}};
}

static int
send(struct poolfix *f, struct sent *s)
{
	pool_hook(f->pool, &s->h);
	assert_false(s->done);		/* never from inside */
	UNTIL(f, s->done);
	return s->h.http;
}

static int
post(struct poolfix *f, struct sent *s, const char *name, const char *body)
{
	prepare(s, name, body);
	return send(f, s);
}

static void
load(struct poolfix *f, const char *hook)
{
	char text[2000];

	log_set_level(LOG_ERROR);
	snprintf(text, sizeof(text), "return { queue = 'q', perform = "
	    "function() end, hook = { name = 'in', %s } }", hook);
	poolfix_script(f, "a.lua", text);
	poolfix_load(f);
	if (!f->load_ok)
		fail_msg("%s", f->report);
}

static void
test_body_is_the_job_without_accept(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "");
	assert_non_null(strstr(f->report, "queue q, hook in"));
	assert_int_equal(post(f, &s, "in", "hello"), 202);
	assert_string_equal(f->be.added, "q=hello");
	assert_string_equal(s.json,
	    "{\"id\":\"77\",\"queue\":\"q\",\"state\":\"waiting\"}");
}

static void
test_accept_sees_the_request_and_names_the_job(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "accept = function(req)\n"
	    "assert(req.method == 'POST' and req.path == '/hooks/x')\n"
	    "assert(req.headers['x-a'] == '1' and req.query.b == '2')\n"
	    "assert(req.peer == '127.0.0.1:9')\n"
	    "return { queue = 'other', group = 'g' .. req.json.n, "
	    "data = { n = req.json.n + 1 } } end");
	prepare(&s, "in", "{\"n\":1}");
	header(&s, "x-a", "1");
	s.query[s.h.nquery++] = (struct bh_header){"b", {"2", 1}};
	assert_int_equal(send(f, &s), 202);
	assert_string_equal(f->be.added, "other={\"n\":2}");
	assert_string_equal(f->be.group, "g1");
	assert_string_equal(s.json,
	    "{\"id\":\"77\",\"queue\":\"other\",\"state\":\"waiting\"}");
}

static void
test_what_accept_may_return(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "accept = function(req)\n"
	    "local r = { none = nil, empty = {}, raw = { group = 'g' },\n"
	    "bytes = { body = 'x y' }, again = { queue = 'again', data = 1 },\n"
	    "list = { { data = 1 }, { queue = 'b', body = '2' }, "
	    "{ group = 'g' } },\n"
	    "reply = { reply = { body = 'hi' } },\n"
	    "json = { reply = { status = 418, body = { a = 1 } } },\n"
	    "xml = { reply = { body = '<a/>', type = 'text/xml' } } }\n"
	    "return r[req.body] end");
	assert_int_equal(post(f, &s, "in", "none"), 204);
	assert_int_equal(post(f, &s, "in", "empty"), 204);
	assert_int_equal(f->be.nputs, 0);
	assert_int_equal(post(f, &s, "in", "raw"), 202);
	assert_string_equal(f->be.added, "q=raw");
	assert_int_equal(post(f, &s, "in", "bytes"), 202);
	assert_string_equal(f->be.added, "q=x y");
	assert_int_equal(post(f, &s, "in", "again"), 200);
	assert_string_equal(s.json, "{\"id\":\"77\",\"queue\":\"again\","
	    "\"state\":\"waiting\",\"duplicate\":true}");
	assert_int_equal(post(f, &s, "in", "list"), 202);
	assert_string_equal(f->be.added, "q=1 b=2 q=list");
	assert_string_equal(s.json, "{\"ids\":[\"77\",\"78\",\"79\"]}");
	assert_int_equal(post(f, &s, "in", "reply"), 200);
	assert_string_equal(s.json, "hi");
	assert_string_equal(s.type, "text/plain; charset=utf-8");
	assert_int_equal(post(f, &s, "in", "json"), 418);
	assert_string_equal(s.json, "{\"a\":1}");
	assert_string_equal(s.type, "application/json");
	assert_int_equal(post(f, &s, "in", "xml"), 200);
	assert_string_equal(s.type, "text/xml");
	assert_int_equal(f->be.nputs, 4);
}

static void
test_accept_that_fails_is_500_and_stores_nothing(void **state)
{
	static const char *const bodies[] = {"raise", "string", "option",
	    "both", "item", "queue", "group", "status", "memory"};
	struct poolfix *f = *state;
	struct sent s;
	size_t i;

	load(f, "accept = function(req)\n"
	    "if req.body == 'raise' then error('boom') end\n"
	    "if req.body == 'memory' then return { data = "
	    "string.rep('x', 1e9) } end\n"
	    "local r = { string = 'x', option = { data = 1, colour = 2 },\n"
	    "both = { data = 1, body = 'x' }, item = { { data = 1 }, 2 },\n"
	    "queue = { queue = 'no good', data = 1 }, "
	    "group = { group = string.rep('x', 300) },\n"
	    "status = { reply = { status = 99 } } }\n"
	    "return r[req.body] end");
	log_set_level(LOG_ERROR);
	for (i = 0; i < nitems(bodies); i++) {
		int http = post(f, &s, "in", bodies[i]);

		if (http != 500)
			fail_msg("%s: %d", bodies[i], http);
		/* The sender learns nothing of the script. */
		assert_null(strstr(s.text, "boom"));
	}
	assert_int_equal(f->be.nputs, 0);
	/* The script is as sound as before. */
	assert_int_equal(post(f, &s, "in", "other"), 204);
}

static void
test_accept_may_ask_the_store(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "accept = function(req) local id = queue.add('seen', 1)\n"
	    "return { data = { after = id } } end");
	assert_int_equal(post(f, &s, "in", "x"), 202);
	assert_string_equal(f->be.added, "q={\"after\":\"77\"}");
	assert_int_equal(f->be.nputs, 2);
}

static void
test_endless_accept_is_stopped(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	NEEDS_TICKS();
	f->lua.conf.script_cpu = 50;
	load(f, "accept = function(req) while true do pcall(error) end end");
	assert_int_equal(post(f, &s, "in", "x"), 500);
}

static void
test_forged_request_never_reaches_lua(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	luafix_write(f->lua.secrets, "key", "hush\n");
	load(f, "secret = 'key', header = 'X-Sig', "
	    "accept = function(req) return { data = 'ran' } end");
	assert_int_equal(post(f, &s, "in", "hello"), 401);
	prepare(&s, "in", "hello");
	header(&s, "x-sig", "sha256=00");
	assert_int_equal(send(f, &s), 401);
	assert_int_equal(s.h.status, BH_E_NOAUTH);
	assert_int_equal(f->be.nputs, 0);
	prepare(&s, "in", "hello");
	header(&s, "x-sig", "sha256=" SIGNED);
	assert_int_equal(send(f, &s), 202);
	assert_string_equal(f->be.added, "q=\"ran\"");
}

static void
test_secret_is_read_anew_at_reload(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "secret = {'key', 'old'}, header = 'X-Sig'");
	log_set_level(LOG_ERROR);
	prepare(&s, "in", "hello");
	header(&s, "x-sig", SIGNED);
	assert_int_equal(send(f, &s), 503);
	assert_true(s.h.retry_ms > 0);
	luafix_write(f->lua.secrets, "key", "new\n");
	luafix_write(f->lua.secrets, "old", "hush\n");
	poolfix_load(f);
	prepare(&s, "in", "hello");
	header(&s, "x-sig", SIGNED);
	assert_int_equal(send(f, &s), 202);
	luafix_write(f->lua.secrets, "old", "gone\n");
	poolfix_load(f);
	prepare(&s, "in", "hello");
	header(&s, "x-sig", SIGNED);
	assert_int_equal(send(f, &s), 401);
}

static void
test_challenge_is_answered_unsigned_but_stores_nothing(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	luafix_write(f->lua.secrets, "key", "hush");
	load(f, "secret = 'key', header = 'X-Sig', "
	    "accept = function(req) return { data = 'ran' } end,\n"
	    "challenge = function(req)\n"
	    "if req.query.token == 'bad' then return { data = 1 } end\n"
	    "if req.query.token == 'ours' then\n"
	    "return { reply = { body = req.query['hub.challenge'] } } end end");
	prepare(&s, "in", "");
	s.h.method = "GET";
	s.query[0] = (struct bh_header){"token", {"ours", 4}};
	s.query[1] = (struct bh_header){"hub.challenge", {"1158201444", 10}};
	s.h.nquery = 2;
	assert_int_equal(send(f, &s), 200);
	assert_string_equal(s.json, "1158201444");
	prepare(&s, "in", "");
	s.h.method = "GET";
	assert_int_equal(send(f, &s), 403);
	prepare(&s, "in", "");
	s.h.method = "GET";
	s.query[0] = (struct bh_header){"token", {"bad", 3}};
	s.h.nquery = 1;
	assert_int_equal(send(f, &s), 500);
	assert_int_equal(f->be.nputs, 0);
}

static void
test_wrong_name_method_and_size(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "methods = {'PUT', 'POST'}, max_body = 4");
	assert_int_equal(post(f, &s, "out", "x"), 404);
	assert_int_equal(post(f, &s, "", "x"), 404);
	prepare(&s, "in", "x");
	s.h.method = "GET";
	assert_int_equal(send(f, &s), 405);
	prepare(&s, "in", "x");
	s.h.method = "PUT";
	assert_int_equal(send(f, &s), 202);
	assert_int_equal(post(f, &s, "in", "1234"), 202);
	assert_int_equal(post(f, &s, "in", "12345"), 413);
	f->lua.conf.max_payload = 2;
	assert_int_equal(post(f, &s, "in", "123"), 413);
	f->lua.conf.max_payload = 1 << 20;
}

static void
test_full_queue_is_told_to_the_sender(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "accept = function() return { queue = 'full', data = 1 } end");
	log_set_level(LOG_ERROR);
	assert_int_equal(post(f, &s, "in", "x"), 429);
	assert_true(s.h.retry_ms > 0);
}

static void
test_script_that_never_loaded_is_503(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	log_set_level(LOG_ERROR);
	poolfix_script(f, "b.lua", "-- hook = { name = 'no' }\n"
	    "return { hook = { name = 'bad', } oops }");
	poolfix_script(f, "c.lua", "return { queue = 'cq', hook = { oops }");
	poolfix_load(f);
	assert_false(f->load_ok);
	assert_int_equal(post(f, &s, "bad", "x"), 503);
	assert_true(s.h.retry_ms > 0);
	assert_int_equal(post(f, &s, "cq", "x"), 503);
	assert_int_equal(post(f, &s, "no", "x"), 404);
}

static void
test_no_new_webhook_while_draining(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	load(f, "");
	pool_drain(f->pool);
	assert_int_equal(post(f, &s, "in", "x"), 503);
	assert_string_equal(s.text, "shutting down");
}

static void
test_same_delivery_is_stored_once(void **state)
{
	struct poolfix *f = *state;
	struct sent s, two[2];
	int i;

	luafix_write(f->lua.secrets, "key", "hush");
	load(f, "secret = 'key', header = 'X-Sig', delivery = 'X-Id'");
	prepare(&s, "in", "hello");
	header(&s, "x-sig", SIGNED);
	header(&s, "x-id", "d1");
	assert_int_equal(send(f, &s), 202);
	assert_string_equal(f->be.keys[0], "bellhop:hook:in:d1");
	prepare(&s, "in", "hello");
	header(&s, "x-sig", SIGNED);
	header(&s, "x-id", "d1");
	assert_int_equal(send(f, &s), 200);
	assert_string_equal(s.json, "{\"duplicate\":true}");
	/* A forger learns nothing from a known id. */
	prepare(&s, "in", "hello");
	header(&s, "x-sig", "00");
	header(&s, "x-id", "d1");
	assert_int_equal(send(f, &s), 401);
	/* Two at once: the second waits for the first. */
	for (i = 0; i < 2; i++) {
		prepare(&two[i], "in", "hello");
		header(&two[i], "x-sig", SIGNED);
		header(&two[i], "x-id", "d2");
		pool_hook(f->pool, &two[i].h);
	}
	UNTIL(f, two[0].done && two[1].done);
	assert_int_equal(two[0].h.http, 202);
	assert_int_equal(two[1].h.http, 200);
	assert_int_equal(f->be.nputs, 2);
	/* A forged one first does not stand in the genuine one's way. */
	for (i = 0; i < 2; i++) {
		prepare(&two[i], "in", "hello");
		header(&two[i], "x-sig", i ? SIGNED : "00");
		header(&two[i], "x-id", "d3");
		pool_hook(f->pool, &two[i].h);
	}
	UNTIL(f, two[0].done && two[1].done);
	assert_int_equal(two[0].h.http, 401);
	assert_int_equal(two[1].h.http, 202);
	assert_int_equal(f->be.nputs, 3);
}

static void
test_known_delivery_that_comes_in_a_crowd_stays_known(void **state)
{
	struct poolfix *f = *state;
	struct sent s[4];
	int i;

	luafix_write(f->lua.secrets, "key", "hush");
	load(f, "secret = 'key', header = 'X-Sig', delivery = 'X-Id'");
	strcpy(f->be.keys[f->be.nkeys++], "bellhop:hook:in:d1");
	for (i = 0; i < 4; i++) {
		prepare(&s[i], "in", "hello");
		header(&s[i], "x-sig", i == 0 ? "00" : SIGNED);
		header(&s[i], "x-id", "d1");
		pool_hook(f->pool, &s[i].h);
	}
	UNTIL(f, s[0].done && s[1].done && s[2].done && s[3].done);
	assert_int_equal(s[0].h.http, 401);
	for (i = 1; i < 4; i++)
		assert_int_equal(s[i].h.http, 200);
	assert_int_equal(f->be.nputs, 0);
}

static void
test_one_name_belongs_to_one_script(void **state)
{
	struct poolfix *f = *state;
	struct sent s;

	log_set_level(LOG_ERROR);
	load(f, "");
	poolfix_script(f, "b.lua", "return { hook = { name = 'in', "
	    "accept = function() return { queue = 'b' } end } }");
	poolfix_load(f);
	assert_false(f->load_ok);
	assert_non_null(strstr(f->report,
	    "b.lua: hook \"in\" is declared by "));
	assert_non_null(strstr(f->report, "a.lua already"));
	assert_int_equal(post(f, &s, "in", "x"), 202);
	assert_string_equal(f->be.added, "q=x");
	/* It may be another one's queue, as it does not serve it. */
	poolfix_script(f, "b.lua", "return { queue = 'q', hook = { "
	    "name = 'two' } }");
	poolfix_load(f);
	assert_true(f->load_ok);
	assert_int_equal(post(f, &s, "two", "y"), 202);
	assert_string_equal(f->be.added, "q=y");
	poolfix_run(f, "q", "x");
}

static void
test_many_at_once_are_bounded(void **state)
{
	struct poolfix *f = *state;
	struct sent *s = calloc(2100, sizeof(*s));
	int i, ok = 0, busy = 0, done = 0;

	assert_non_null(s);
	load(f, "accept = function(req) return { data = #req.body } end");
	for (i = 0; i < 2100; i++) {
		prepare(&s[i], "in", "hello");
		pool_hook(f->pool, &s[i].h);
	}
	poolfix_turn(f);
	while (done < 2100) {
		poolfix_wait(f);
		poolfix_turn(f);
		for (done = i = 0; i < 2100; i++)
			done += s[i].done;
	}
	for (i = 0; i < 2100; i++) {
		ok += s[i].h.http == 202;
		busy += s[i].h.http == 503;
	}
	assert_int_equal(ok, 2000);
	assert_int_equal(busy, 100);
	free(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, poolfix_setup, \
	poolfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_body_is_the_job_without_accept),
		CASE(test_accept_sees_the_request_and_names_the_job),
		CASE(test_what_accept_may_return),
		CASE(test_accept_that_fails_is_500_and_stores_nothing),
		CASE(test_accept_may_ask_the_store),
		CASE(test_endless_accept_is_stopped),
		CASE(test_forged_request_never_reaches_lua),
		CASE(test_secret_is_read_anew_at_reload),
		CASE(test_challenge_is_answered_unsigned_but_stores_nothing),
		CASE(test_wrong_name_method_and_size),
		CASE(test_full_queue_is_told_to_the_sender),
		CASE(test_script_that_never_loaded_is_503),
		CASE(test_no_new_webhook_while_draining),
		CASE(test_same_delivery_is_stored_once),
		CASE(test_known_delivery_that_comes_in_a_crowd_stays_known),
		CASE(test_one_name_belongs_to_one_script),
		CASE(test_many_at_once_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
