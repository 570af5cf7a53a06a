/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "conf/conf.h"
#include "conf/option.h"
#include "plugin.h"

static struct conf *
load(const char *text)
{
	struct conf *c = NULL;
	struct err e = ERR_INIT;

	if (conf_load_text(&c, "t.conf", text, strlen(text), NULL, &e) != 0)
		fail_msg("%s", e.text);
	return c;
}

/* The first error of a text that must not be taken. */
static const char *
refusal(const char *text)
{
	static struct err e;
	struct conf *c = NULL;

	e = (struct err)ERR_INIT;
	assert_int_equal(conf_load_text(&c, "t.conf", text, strlen(text),
	    NULL, &e), -1);
	assert_null(c);
	assert_int_equal(e.code, BH_E_BADARG);
	return e.text;
}

static void
assert_value(const struct conf *c, const char *name, const char *text)
{
	struct buf b = BUF_INIT;

	assert_int_equal(conf_get(c, name, &b), 0);
	assert_string_equal(buf_str(&b), text);
	buf_done(&b);
}

static void
an_empty_file_gives_the_defaults(void **state)
{
	struct conf *a = load(""), *b = conf_new();
	struct buf out = BUF_INIT;

	(void)state;
	assert_value(a, "durability", "commit");
	assert_value(a, "max_payload", "1048576");
	assert_value(a, "shutdown_grace", "25s");
	assert_value(a, "plugins", "");
	assert_null(a->plugins[0]);
	assert_int_equal(a->nqueues, 0);
	assert_string_equal(a->file, "t.conf");
	assert_string_equal(b->file, "");
	assert_int_equal(conf_needs_restart(a, b, &out), 0);
	assert_int_equal(conf_get(a, "nothing", &out), -1);
	buf_done(&out);
	conf_free(&a);
	conf_free(&b);
	assert_null(a);
	conf_free(&a);
}

static void
every_type_is_read(void **state)
{
	struct conf *c = load("state_dir = \"/srv/bellhop\";\n"
	    "listen = { resp = [ \"unix:/run/b.sock\", \"127.0.0.1:0\", "
	    "\"[::1]:7380\" ]; };\n"
	    "plugins = [ \"http\" ];\n"
	    "backend = { type = \"embedded\"; };\n"
	    "durability = \"relaxed\";\n"
	    "max_payload = \"64KiB\";\n"
	    "max_queues = 7;\n"
	    "max_disk = 10737418240;\n"
	    "shutdown_grace = \"1.5s\";\n"
	    "config = { url = \"http://x\"; n = 5; f = 1.5; on = true;\n"
	    "  a = { b = \"deep\"; }; hosts = [ \"one\", \"two\" ]; };\n");

	(void)state;
	assert_value(c, "state_dir", "/srv/bellhop");
	assert_value(c, "listen.resp",
	    "unix:/run/b.sock 127.0.0.1:0 [::1]:7380");
	assert_value(c, "durability", "relaxed");
	assert_int_equal(c->max_payload, 65536);
	assert_int_equal(c->max_queues, 7);
	assert_true(c->max_disk == INT64_C(10737418240));
	assert_int_equal(c->shutdown_grace, 1500);
	assert_value(c, "shutdown_grace", "1500ms");
	assert_int_equal(c->nuser, 7);
	assert_string_equal(c->user[0].name, "url");
	assert_int_equal(c->user[0].type, 's');
	assert_true(c->user[1].type == 'i' && c->user[1].i == 5);
	assert_true(c->user[2].type == 'd' && c->user[2].d == 1.5);
	assert_true(c->user[3].type == 'b' && c->user[3].i == 1);
	assert_string_equal(c->user[4].name, "a.b");
	assert_string_equal(c->user[6].name, "hosts.2");
	assert_string_equal(c->user[6].s, "two");
	conf_free(&c);
}

/* libconfig 1.5 would cut these to 32 bits without a word. */
static void
wide_integers_are_whole(void **state)
{
	struct conf *c = load("# 99999999999 in a comment\n"
	    "max_disk = 4294967297; // 5000000000\n"
	    "/* 6000000000 */ payload_cache = 0x100000000;\n"
	    "config = { s = \"7000000000 \\\" 8\"; n = -3000000000; "
	    "l = 9L; };\n");

	(void)state;
	assert_true(c->max_disk == INT64_C(4294967297));
	assert_true(c->payload_cache == INT64_C(4294967296));
	assert_string_equal(c->user[0].s, "7000000000 \" 8");
	assert_true(c->user[1].i == INT64_C(-3000000000));
	assert_true(c->user[2].i == 9);
	conf_free(&c);
}

static void
errors_name_place_option_value_and_wish(void **state)
{
	static const struct {
		const char *text, *error;
	} table[] = {
		{"\nmax_paylod = 5;", "t.conf:2: unknown option "
		    "'max_paylod', did you mean 'max_payload'?"},
		{"zzz = 1;", "t.conf:1: unknown option 'zzz'"},
		{"listen = { htp = [ ]; };", "t.conf:1: unknown option "
		    "'listen.htp', did you mean 'listen.http'?"},
		{"max_queues = \"many\";", "t.conf:1: option 'max_queues': "
		    "got \"many\", expected an integer from 1 to 65000"},
		{"max_queues = 0;", "t.conf:1: option 'max_queues': got 0, "
		    "expected an integer from 1 to 65000"},
		{"max_payload = \"17MiB\";", "t.conf:1: option "
		    "'max_payload': got \"17MiB\", expected a size from 1 to "
		    "16MiB such as 4096 or \"64KiB\""},
		{"max_disk = -1;", "t.conf:1: option 'max_disk': got -1, "
		    "expected a size of at least 0 such as 4096 or "
		    "\"64KiB\""},
		{"shutdown_grace = 25;", "t.conf:1: option 'shutdown_grace':"
		    " got 25, expected a duration from 0ms to 1h with its "
		    "unit, such as \"30s\" (ms, s, m, h, d)"},
		{"durability = \"sometimes\";", "t.conf:1: option "
		    "'durability': got \"sometimes\", expected one of "
		    "\"commit\", \"relaxed\""},
		{"state_dir = \"\";", "t.conf:1: option 'state_dir': got "
		    "\"\", expected a string in quotes, not empty"},
		{"state_dir = { };", "t.conf:1: option 'state_dir': got a "
		    "group { … }, expected a string in quotes, not empty"},
		{"plugins = \"http\";", "t.conf:1: option 'plugins': got "
		    "\"http\", expected a list of strings such as "
		    "[ \"a\", \"b\" ]"},
		{"plugins = [ \"../x\" ];", "t.conf:1: option 'plugins': "
		    "got \"../x\", expected a plugin's name, 1 to 64 of "
		    "A-Z a-z 0-9 _ -"},
		{"plugins = [ \"http\", \"http\" ];", "t.conf:1: option "
		    "'plugins': got \"http\", expected each plugin once"},
		{"mail_server = \"mail.example.org\";", "t.conf:1: option "
		    "'mail_server': got \"mail.example.org\", expected "
		    "smtp://HOST:PORT or smtps://HOST:PORT"},
		{"mail_server = \"smtp://mail:99999\";", "t.conf:1: option "
		    "'mail_server': got \"smtp://mail:99999\", expected "
		    "smtp://HOST:PORT or smtps://HOST:PORT"},
		{"mail_from = \"desk\";", "t.conf:1: option 'mail_from': "
		    "got \"desk\", expected a mail address"},
		{"listen = 5;", "t.conf:1: option 'listen': got 5, expected "
		    "a group { … }"},
		{"config = 1;", "t.conf:1: option 'config': got 1, expected "
		    "a group { … } of values for scripts"},
		{"max_request = 2000;", "t.conf:1: option 'max_request': "
		    "2000 bytes cannot hold a payload of max_payload "
		    "(1048576 bytes)"},
		{"a = 1;\na = 2;", "t.conf:2: duplicate setting name"},
		{"a = 1;\nb = \"x;\nc = 2;\n", "t.conf:2: a string or comment "
		    "begins here and never ends"},
		{"/* a = 1;", "t.conf:1: a string or comment begins here and "
		    "never ends"},
	};

	(void)state;
	for (size_t i = 0; i < nitems(table); i++)
		assert_string_equal(refusal(table[i].text), table[i].error);
	assert_non_null(strstr(refusal("x = 1;\nmax_queues = ;"),
	    "t.conf:2: syntax error"));
}

static void
addresses_are_checked(void **state)
{
	static const char *const bad[] = {"unix:", "nowhere", ":80",
	    "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:", "::1:80",
	    "[]:80", "a b:80", "localhost:-1"};
	char text[200];

	(void)state;
	for (size_t i = 0; i < nitems(bad); i++) {
		snprintf(text, sizeof(text), "listen = { resp = [ \"%s\" ]; "
		    "};", bad[i]);
		assert_non_null(strstr(refusal(text), bad[i]));
		assert_non_null(strstr(refusal(text),
		    "expected an address unix:PATH"));
	}
}

static void
all_errors_are_reported(void **state)
{
	const char *text = "one = 1;\nmax_queues = 0;\n"
	    "queues = ( { name = \"q\"; wait = 1; weight = 0; } );\n";
	struct buf report = BUF_INIT;
	struct err e = ERR_INIT;
	struct conf *c = NULL;

	(void)state;
	assert_int_equal(conf_load_text(&c, "t.conf", text, strlen(text),
	    &report, &e), -1);
	assert_string_equal(e.text, "t.conf:1: unknown option 'one'");
	assert_string_equal(buf_str(&report),
	    "t.conf:1: unknown option 'one'\n"
	    "t.conf:2: option 'max_queues': got 0, expected an integer from "
	    "1 to 65000\n"
	    "t.conf:3: unknown option 'wait' of queue 'q'\n"
	    "t.conf:3: option 'weight' of queue 'q': got 0, expected an "
	    "integer from 1 to 1000\n");
	buf_done(&report);
}

static void
queues_are_read(void **state)
{
	struct conf *c = load("queues = (\n"
	    "{ name = \"critical\"; weight = 6; strict = true; },\n"
	    "{ name = \"outbound.*\"; concurrency = 3; max_active = 9;\n"
	    "  rate = { limit = 80; per = \"60s\"; burst = 20; "
	    "by = \"group\"; };\n"
	    "  group_concurrency = 2; group_order = \"skip\"; "
	    "max_waiting = 5; dead_letter = \"dead\";\n"
	    "  retention = { completed = \"1h\"; completed_count = 10; "
	    "failed = \"2d\"; failed_count = 0; };\n"
	    "  attempts = 4; backoff = { type = \"fixed\"; delay = \"2s\"; "
	    "factor = 2; max = \"1m\"; jitter = 0.5; };\n"
	    "  timeout = \"5s\"; lease = \"6s\"; max_stalled = 0; } );");
	const struct bh_queue_opts *o = &c->queues[1].opts;

	(void)state;
	assert_int_equal(c->nqueues, 2);
	assert_string_equal(c->queues[0].pattern, "critical");
	assert_int_equal(c->queues[0].opts.weight, 6);
	assert_int_equal(c->queues[0].opts.strict, 1);
	assert_int_equal(c->queues[0].opts.concurrency, -1);
	assert_string_equal(c->queues[0].opts.dead_letter, "");
	assert_true(o->concurrency == 3 && o->max_active == 9);
	assert_true(o->rate_limit == 80 && o->rate_per_ms == 60000);
	assert_true(o->rate_burst == 20 && o->rate_by == BH_RATE_BY_GROUP);
	assert_true(o->group_concurrency == 2);
	assert_true(o->group_order == BH_GROUP_SKIP && o->max_waiting == 5);
	assert_string_equal(o->dead_letter, "dead");
	assert_true(o->retain_completed_ms == 3600000);
	assert_true(o->retain_completed_count == 10);
	assert_true(o->retain_failed_ms == 172800000);
	assert_true(o->retain_failed_count == 0);
	assert_true(o->attempts == 4 && o->backoff_ms == 2000);
	assert_true(o->backoff_type == BH_BACKOFF_FIXED);
	assert_true(o->backoff_max_ms == 60000);
	assert_true(o->backoff_factor == 2 && o->backoff_jitter == 0.5);
	assert_true(o->timeout_ms == 5000 && o->lease_ms == 6000);
	assert_true(o->max_stalled == 0 && o->weight == -1);
	conf_free(&c);
}

static void
queue_errors_name_the_queue(void **state)
{
	static const struct {
		const char *entry, *error;
	} table[] = {
		{"{ weight = 6; }", "option 'queues': an entry has no name, "
		    "expected name = \"QUEUE\" or a pattern"},
		{"{ name = \"a b\"; }", "option 'name': got \"a b\", "
		    "expected a queue's name or pattern, 1 to 128 of "
		    "A-Z a-z 0-9 _ . : - * ? [ ]"},
		{"5", "option 'queues': got 5, expected groups such as "
		    "{ name = \"mail\"; weight = 3; }"},
		{"{ name = \"a\"; rate = { limit = 5; }; }",
		    "option 'rate' of queue 'a': has no 'per', expected "
		    "rate = { limit = N; per = \"60s\"; }"},
		{"{ name = \"a\"; rate = { per = \"1s\"; }; }",
		    "option 'rate' of queue 'a': has no 'limit', expected "
		    "rate = { limit = N; per = \"60s\"; }"},
		{"{ name = \"a\"; rate = 5; }", "option 'rate' of queue "
		    "'a': got 5, expected a group { … }"},
		{"{ name = \"a\"; retention = { complete = \"1h\"; }; }",
		    "unknown option 'retention.complete' of queue 'a', did "
		    "you mean 'retention.completed'?"},
		{"{ name = \"a\"; backoff = { jitter = 2; }; }",
		    "option 'backoff.jitter' of queue 'a': got 2, expected "
		    "a number from 0 to 1"},
		{"{ name = \"a\"; strict = 1; }", "option 'strict' of queue "
		    "'a': got 1, expected true or false"},
		{"{ name = \"a\"; dead_letter = \"a\"; }",
		    "option 'dead_letter' of queue 'a': names the queue "
		    "itself, expected another one"},
		{"{ name = \"a\"; }, { name = \"a\"; }", "option 'queues': "
		    "\"a\" stands here a second time, and only the first "
		    "would count"},
	};
	char text[400], error[400];

	(void)state;
	for (size_t i = 0; i < nitems(table); i++) {
		snprintf(text, sizeof(text), "queues = ( %s );",
		    table[i].entry);
		snprintf(error, sizeof(error), "t.conf:1: %s",
		    table[i].error);
		assert_string_equal(refusal(text), error);
	}
	assert_non_null(strstr(refusal("queues = { };"),
	    "expected a list of groups"));
}

static void
a_reload_tells_what_needs_a_restart(void **state)
{
	struct conf *old = load("max_payload = 1000;");
	struct conf *now = load("max_payload = 2000; log_level = \"debug\"; "
	    "durability = \"relaxed\"; plugins = [ \"http\" ];");
	struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(conf_needs_restart(old, now, &out), 2);
	assert_string_equal(buf_str(&out), "plugins\ndurability\n");
	buf_done(&out);
	conf_free(&old);
	conf_free(&now);
}

static void
queues_reach_the_resolver(void **state)
{
	struct conf *c = load("queues = ( { name = \"a.*\"; weight = 4; }, "
	    "{ name = \"*\"; weight = 2; } );");
	struct qopts *q = qopts_new();
	struct bh_queue_opts o;

	(void)state;
	conf_apply_queues(c, q);
	conf_apply_queues(c, q);
	qopts_resolve(q, "a.b", &o);
	assert_int_equal(o.weight, 4);
	qopts_resolve(q, "b", &o);
	assert_int_equal(o.weight, 2);
	qopts_free(&q);
	conf_free(&c);
}

static void
files_are_read_and_included(void **state)
{
	char dir[] = "/tmp/bellhop-conf-XXXXXX", path[64], part[64];
	struct conf *c = NULL;
	struct err e = ERR_INIT;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/b.conf", dir);
	snprintf(part, sizeof(part), "%s/part.conf", dir);
	assert_int_equal(conf_load(&c, path, NULL, &e), -1);
	assert_non_null(strstr(e.text, path));
	assert_non_null(strstr(e.text, "No such file"));
	f = fopen(path, "w");
	fputs("max_queues = 5;\n@include \"part.conf\"\n", f);
	fclose(f);
	f = fopen(part, "w");
	fputs("\nmax_pipeline = 0;\n", f);
	fclose(f);
	assert_int_equal(conf_load(&c, path, NULL, &e), -1);
	assert_non_null(strstr(e.text, "part.conf:2: option 'max_pipeline'"));
	f = fopen(part, "w");
	fputs("max_pipeline = 9;\n", f);
	fclose(f);
	assert_int_equal(conf_load(&c, path, NULL, &e), 0);
	assert_int_equal(c->max_pipeline, 9);
	assert_string_equal(c->file, path);
	conf_free(&c);
	unlink(path);
	unlink(part);
	rmdir(dir);
}

static void
a_nul_byte_is_no_text(void **state)
{
	struct conf *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(conf_load_text(&c, "t.conf", "a = 1;\n\0x", 9, NULL,
	    &e), -1);
	assert_string_equal(e.text, "t.conf:2: a NUL byte, expected text");
}

/* automake names the source's directory; by hand, the compiler knew it. */
static char *
read_source(const char *name)
{
	const char *dir = getenv("srcdir");
	char path[400], *text;
	size_t len;

	if (dir)
		snprintf(path, sizeof(path), "%s/%s", dir, name);
	else
		snprintf(path, sizeof(path), "%.*s%s",
		    (int)(strlen(__FILE__) - strlen("tests/unit/test_conf.c")),
		    __FILE__, name);
	if (str_read_file(path, 1 << 20, &text, &len) != 0)
		fail_msg("%s cannot be read", path);
	return text;
}

/* A group's member stands without the group's name in the sample. */
static void
every_option_is_documented(void **state)
{
	char *sample = read_source("etc/bellhop.conf");
	char *manual = read_source("doc/bellhop.conf.5.scd");
	const struct option *o;
	char line[200];

	(void)state;
	for (size_t i = 0; (o = option_at(i)); i++) {
		const char *dot = strchr(o->rule.name, '.');

		assert_string_equal(conf_name(i), o->rule.name);
		snprintf(line, sizeof(line), "%s =",
		    dot ? dot + 1 : o->rule.name);
		if (!strstr(sample, line))
			fail_msg("etc/bellhop.conf has no '%s'", line);
		if (!strstr(sample, o->help))
			fail_msg("etc/bellhop.conf lacks: %s", o->help);
		snprintf(line, sizeof(line), "*%s*", o->rule.name);
		if (!strstr(manual, line))
			fail_msg("doc/bellhop.conf.5.scd has no %s", line);
	}
	assert_null(conf_name(1000));
	free(sample);
	free(manual);
}

static void
the_sample_is_valid(void **state)
{
	char *sample = read_source("etc/bellhop.conf");
	struct conf *c = load(sample), *def = conf_new();
	struct buf out = BUF_INIT;

	(void)state;
	/* All as by default, and the HTTP door. */
	assert_int_equal(conf_needs_restart(c, def, &out), 1);
	assert_string_equal(buf_str(&out), "plugins\n");
	assert_string_equal(c->plugins[0], "http");
	assert_null(c->plugins[1]);
	assert_int_equal(c->max_payload, def->max_payload);
	buf_done(&out);
	conf_free(&c);
	conf_free(&def);
	free(sample);
}

/* What the sample says in comments is what holds, and each line is right
 * when its comment sign is taken away. Directories follow the prefix. */
static void
the_sample_shows_the_defaults(void **state)
{
	char *sample = read_source("etc/bellhop.conf"), *rest = sample;
	char *line, text[400];
	struct conf *def = conf_new();
	struct buf a = BUF_INIT, b = BUF_INIT;
	int seen = 0;

	(void)state;
	while ((line = strsep(&rest, "\n"))) {
		size_t n = strspn(line + (*line == '#'),
		    "abcdefghijklmnopqrstuvwxyz_");
		const struct option *o;
		struct conf *c;

		if (line[0] != '#' || strncmp(line + 1 + n, " = ", 3) != 0)
			continue;
		snprintf(text, sizeof(text), "%.*s", (int)n, line + 1);
		o = option_find(text);
		if (!o || o->rule.type == RULE_STR)
			continue;
		c = load(line + 1);
		assert_int_equal(conf_get(c, text, &a), 0);
		assert_int_equal(conf_get(def, text, &b), 0);
		assert_string_equal(buf_str(&a), buf_str(&b));
		buf_reset(&a, 1024);
		buf_reset(&b, 1024);
		conf_free(&c);
		seen++;
	}
	assert_true(seen > 20);
	buf_done(&a);
	buf_done(&b);
	conf_free(&def);
	free(sample);
}

/* Without its comment signs the whole sample is right too. A comment of prose
 * has a blank behind its sign. */
static void
the_sample_can_be_switched_on(void **state)
{
	char *sample = read_source("etc/bellhop.conf");
	struct conf *c;

	(void)state;
	for (char *p = sample; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (p[0] == '#' && p[1] != ' ')
			p[0] = ' ';
	}
	c = load(sample);
	assert_int_equal(c->nqueues, 1);
	assert_int_equal(c->nuser, 1);
	assert_true(c->queues[0].opts.backoff_factor == 3);
	conf_free(&c);
	free(sample);
}

static void
expect_shown(const char *name, const char *text, const char *want)
{
	struct conf *c = NULL;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	assert_int_equal(conf_load_text(&c, "test", text, strlen(text), NULL,
	    &e), 0);
	assert_int_equal(conf_get(c, name, &out), 0);
	assert_string_equal(buf_str(&out), want);
	buf_done(&out);
	conf_free(&c);
}

static void
passwords_of_urls_are_not_shown(void **state)
{
	(void)state;
	expect_shown("backend.url",
	    "backend = { url = \"rediss://app:s3/c@r@cache.lan:6380/2\"; };",
	    "rediss://***@cache.lan:6380/2");
	expect_shown("backend.url",
	    "backend = { url = \"redis://10.0.0.1/1\"; };",
	    "redis://10.0.0.1/1");
	expect_shown("backend.sentinel",
	    "backend = { sentinel = [ \"redis://:pw@a:1\", \"b:2\" ]; };",
	    "redis://***@a:1 b:2");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_gives_the_defaults),
		cmocka_unit_test(every_type_is_read),
		cmocka_unit_test(wide_integers_are_whole),
		cmocka_unit_test(errors_name_place_option_value_and_wish),
		cmocka_unit_test(addresses_are_checked),
		cmocka_unit_test(all_errors_are_reported),
		cmocka_unit_test(queues_are_read),
		cmocka_unit_test(queue_errors_name_the_queue),
		cmocka_unit_test(a_reload_tells_what_needs_a_restart),
		cmocka_unit_test(queues_reach_the_resolver),
		cmocka_unit_test(files_are_read_and_included),
		cmocka_unit_test(a_nul_byte_is_no_text),
		cmocka_unit_test(every_option_is_documented),
		cmocka_unit_test(the_sample_is_valid),
		cmocka_unit_test(the_sample_shows_the_defaults),
		cmocka_unit_test(the_sample_can_be_switched_on),
		cmocka_unit_test(passwords_of_urls_are_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
