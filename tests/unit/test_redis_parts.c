/* SPDX-License-Identifier: MIT */
/* The pure parts of the Redis backend: addresses, what INFO says, errors,
 * replies as values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "redis/error.h"
#include "redis/info.h"
#include "redis/sentinel.h"
#include "redis/url.h"
#include "redis/value.h"

/* --- addresses --- */

struct address {
	const char *text;
	bool tls;
	const char *path, *host, *port, *user, *password;
	int db;
};

static void
expect_text(const char *got, const char *want)
{
	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
}

static void
urls_are_taken_apart(void **state)
{
	static const struct address all[] = {
		{"redis://h", false, NULL, "h", "6379", NULL, NULL, 0},
		{"redis://h:1/2", false, NULL, "h", "1", NULL, NULL, 2},
		{"rediss://:pw@h/", true, NULL, "h", "6379", NULL, "pw", 0},
		{"redis://u:p@[::1]:7", false, NULL, "::1", "7", "u", "p", 0},
		{"redis://u:p%40%2F@h", false, NULL, "h", "6379", "u", "p@/",
		    0},
		{"redis://u:p@q@h", false, NULL, "h", "6379", "u", "p@q", 0},
		{"unix:/a/b", false, "/a/b", NULL, NULL, NULL, NULL, 0},
		{"unix:/a?db=3", false, "/a", NULL, NULL, NULL, NULL, 3},
		{"unix://u:p@/a", false, "/a", NULL, NULL, "u", "p", 0},
		{"unix:///a", false, "/a", NULL, NULL, NULL, NULL, 0},
	};
	struct redis_url u;
	char err[BH_ERROR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct address *a = &all[i];

		assert_int_equal(redis_url_parse(&u, a->text, err), 0);
		assert_int_equal(u.tls, a->tls);
		expect_text(u.path, a->path);
		expect_text(u.host, a->host);
		expect_text(u.port, a->port);
		expect_text(u.user, a->user);
		expect_text(u.password, a->password);
		assert_int_equal(u.db, a->db);
		redis_url_done(&u);
	}
}

static void
malformed_urls_say_what_is_expected(void **state)
{
	static const char *const all[][2] = {
		{"", "redis://HOST"}, {"h:1", "redis://HOST"},
		{"redis://", "the host is missing"},
		{"redis://:1", "the host is missing"},
		{"redis://h:0", "'0' is no port"},
		{"redis://h:x", "'x' is no port"},
		{"redis://h:70000", "'70000' is no port"},
		{"redis://[::1", "a [ and no ]"},
		{"redis://[::1]x", ":PORT or the end"},
		{"redis://h/-1", "'-1' is no number"},
		{"redis://h/1x", "'1x' is no number"},
		{"redis://u@h", "a user and no password"},
		{"redis://u:%4@h", "%25"}, {"redis://u:%00@h", "%25"},
		{"unix:", "absolute path"}, {"unix:a", "absolute path"},
	};
	struct redis_url u;
	char err[BH_ERROR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		err[0] = '\0';
		assert_int_equal(redis_url_parse(&u, all[i][0], err), -1);
		if (!strstr(err, all[i][1]))
			fail_msg("'%s': %s", all[i][0], err);
	}
}

static void
addresses_are_shown_without_secrets(void **state)
{
	struct redis_url u;
	char err[BH_ERROR_TEXT], out[100];

	(void)state;
	assert_int_equal(redis_url_parse(&u, "rediss://a:b@[fe80::1]:9/1",
	    err), 0);
	redis_url_show(&u, out, sizeof(out));
	assert_string_equal(out, "[fe80::1]:9");
	redis_url_done(&u);
	assert_int_equal(rsentinel_url(&u, "host", err), 0);
	redis_url_show(&u, out, sizeof(out));
	assert_string_equal(out, "host:26379");
	redis_url_done(&u);
	assert_int_equal(rsentinel_url(&u, "redis://:secret@h:x", err), -1);
	assert_null(strstr(err, "secret"));
	assert_non_null(strstr(err, "backend.sentinel"));
}

/* --- what INFO says --- */

static int
judge(const char *info, bool accept_loss, char err[BH_ERROR_TEXT])
{
	struct rinfo i = {0};

	rinfo_read(&i, info);
	i.saves = strstr(info, "saves:1") != NULL;
	return rinfo_judge(&i, !strstr(info, "unsaid:1"), accept_loss, err);
}

#define GOOD "maxmemory_policy:noeviction\r\naof_enabled:1\r\n" \
	"redis_mode:standalone\r\nrole:master\r\n"

static void
versions_are_compared_as_numbers(void **state)
{
	static const char *const good[] = {"redis_version:6.2.0\r\n",
	    "redis_version:7.0.15\r\n", "redis_version:10.0\r\n",
	    "redis_version:7.2.4\r\nvalkey_version:7.2.5\r\n",
	    "redis_version:7.2.4\r\nvalkey_version:8.0.0\r\n"};
	static const char *const bad[] = {"redis_version:6.0.16\r\n",
	    "redis_version:5.9\r\n", "",
	    "redis_version:7.2.4\r\nvalkey_version:7.1.0\r\n"};
	char text[400], err[BH_ERROR_TEXT];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "# Server\r\n%s" GOOD, good[i]);
		assert_int_equal(judge(text, false, err), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "# Server\r\n%s" GOOD, bad[i]);
		assert_int_equal(judge(text, true, err), -1);
		assert_non_null(strstr(err, "is the oldest that will do"));
	}
}

static void
losses_have_to_be_accepted(void **state)
{
#define V "redis_version:7.0.0\r\n"
	char err[BH_ERROR_TEXT];

	(void)state;
	assert_int_equal(judge(V "maxmemory_policy:volatile-ttl\r\n"
	    "aof_enabled:1\r\n", false, err), -1);
	assert_non_null(strstr(err, "volatile-ttl"));
	assert_non_null(strstr(err, "accept_loss"));
	assert_int_equal(judge(V "maxmemory_policy:volatile-ttl\r\n"
	    "aof_enabled:1\r\n", true, err), 0);
	assert_int_equal(judge(V "maxmemory_policy:noeviction\r\n"
	    "aof_enabled:0\r\n", false, err), -1);
	assert_non_null(strstr(err, "appendonly"));
	assert_int_equal(judge(V "maxmemory_policy:noeviction\r\n"
	    "aof_enabled:0\r\nsaves:1\r\n", false, err), 0);
	assert_int_equal(judge(V "maxmemory_policy:noeviction\r\n"
	    "aof_enabled:0\r\nunsaid:1\r\n", false, err), 0);
	assert_int_equal(judge(V GOOD "redis_mode:sentinel", false, err), 0);
	assert_int_equal(judge(V "redis_mode:sentinel\r\n" GOOD, false, err),
	    -1);
	assert_non_null(strstr(err, "backend.sentinel"));
#undef V
}

/* --- errors --- */

static void
errors_say_what_to_do(void **state)
{
	static const struct {
		const char *error, *words;
		int code;
		bool passes;
	} all[] = {
		{"OOM command not allowed when used memory > 'maxmemory'.",
		    "raise its maxmemory", BH_E_OOM, false},
		{"READONLY You can't write against a read only replica.",
		    "replica", BH_E_BACKEND, true},
		{"LOADING Redis is loading the dataset in memory", "reading",
		    BH_E_BACKEND, true},
		{"NOAUTH Authentication required.", "backend.url",
		    BH_E_BACKEND, false},
		{"WRONGPASS invalid username-password pair", "backend.url",
		    BH_E_BACKEND, false},
		{"ERR AUTH <password> called without any password configured",
		    "has none", BH_E_BACKEND, false},
		{"ERR DB index is out of range", "database", BH_E_BACKEND,
		    false},
		{"MOVED 3999 127.0.0.1:6381", "node of a cluster",
		    BH_E_BACKEND, false},
		{"ASK 3999 127.0.0.1:6381", "node of a cluster", BH_E_BACKEND,
		    false},
		{"CROSSSLOT Keys in request don't hash to the same slot",
		    "hash tag", BH_E_BACKEND, false},
		{"BUSYKEY Target key name already exists.",
		    "Redis says: BUSYKEY", BH_E_BACKEND, false},
		{"MISCONF Errors writing to the AOF file", "disk",
		    BH_E_BACKEND, true},
	};
	char text[BH_ERROR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(rerror_text(all[i].error, text),
		    all[i].code);
		if (!strstr(text, all[i].words))
			fail_msg("'%s': %s", all[i].error, text);
		assert_int_equal(rerror_passes(all[i].error), all[i].passes);
	}
}

/* --- values --- */

static redisReply *
reply(const char *wire)
{
	redisReader *r = redisReaderCreate();
	void *v = NULL;

	assert_int_equal(redisReaderFeed(r, wire, strlen(wire)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(r, &v), REDIS_OK);
	assert_non_null(v);
	redisReaderFree(r);
	return v;
}

static void
own_names_are_left_out(void **state)
{
	struct rvalue_filter f = {.prefix = "bh:", .what = RVALUE_KEYS};
	redisReply *r = reply("*3\r\n$3\r\nbh:\r\n$1\r\na\r\n$4\r\nbh:x\r\n");
	struct bh_value *v = rvalue_new(r, &f);

	(void)state;
	assert_int_equal(v[0].type, BH_ARRAY);
	assert_int_equal(v[0].n, 1);
	assert_memory_equal(v[1].s.data, "a", 1);
	free(v);
	freeReplyObject(r);
	f.what = RVALUE_SCAN;
	r = reply("*2\r\n$1\r\n0\r\n*2\r\n$2\r\nbh\r\n$4\r\nbh:x\r\n");
	v = rvalue_new(r, &f);
	assert_int_equal(v[0].n, 2);
	assert_int_equal(v[2].type, BH_ARRAY);
	assert_int_equal(v[2].n, 1);
	assert_memory_equal(v[3].s.data, "bh", 2);
	free(v);
	freeReplyObject(r);
}

static void
nested_replies_are_one_row(void **state)
{
	struct rvalue_filter f = {.prefix = "bh:", .what = RVALUE_ALL};
	redisReply *r = reply("*3\r\n*2\r\n:1\r\n+OK\r\n$-1\r\n-ERR no\r\n");
	struct bh_value *v = rvalue_new(r, &f);

	(void)state;
	assert_int_equal(rvalue_count(r), 6);
	assert_int_equal(v[0].n, 3);
	assert_int_equal(v[1].n, 2);
	assert_int_equal(v[2].i, 1);
	assert_int_equal(v[3].type, BH_STATUS);
	assert_int_equal(v[4].type, BH_NULL);
	assert_int_equal(v[5].type, BH_ERROR);
	free(v);
	freeReplyObject(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_taken_apart),
		cmocka_unit_test(malformed_urls_say_what_is_expected),
		cmocka_unit_test(addresses_are_shown_without_secrets),
		cmocka_unit_test(versions_are_compared_as_numbers),
		cmocka_unit_test(losses_have_to_be_accepted),
		cmocka_unit_test(errors_say_what_to_do),
		cmocka_unit_test(own_names_are_left_out),
		cmocka_unit_test(nested_replies_are_one_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
