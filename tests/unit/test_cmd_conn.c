/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/desk.h"

static void
ping_echo_select(void **state)
{
	struct desk *d = *state;

	ASK("PING", "+PONG\r\n");
	ASK("PING hi", "$2\r\nhi\r\n");
	ASK("PING a b", "-ERR wrong number of arguments for 'ping' command"
	    "\r\n");
	ASK("ECHO hi", "$2\r\nhi\r\n");
	ASK("SELECT 0", "+OK\r\n");
	ASK("SELECT 1", "-ERR DB index is out of range\r\n");
	ASK("SELECT x", "-ERR value is not an integer or out of range\r\n");
}

static void
hello_chooses_the_protocol(void **state)
{
	struct desk *d = *state;

	desk_has(desk_ask(d, "HELLO"), "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n");
	desk_has(desk_ask(d, "HELLO 3 SETNAME desk"), "%7\r\n");
	assert_int_equal(d->who.proto, 3);
	ASK("CLIENT GETNAME", "$4\r\ndesk\r\n");
	desk_has(desk_ask(d, "HELLO 2"), "*14\r\n");
	ASK("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
	ASK("HELLO x", "-ERR Protocol version is not an integer or out of"
	    " range\r\n");
	ASK("HELLO 3 AUTH x", "-ERR Syntax error in HELLO option 'AUTH'\r\n");
	assert_int_equal(d->who.proto, 2);
	d->who.role = ROLE_NONE;
	desk_has(desk_ask(d, "HELLO 3"), "-NOAUTH HELLO must be called");
	assert_int_equal(d->who.proto, 2);
}

/* A file of tokens, and the words that use it. */
static void
tokens_let_in(void **state)
{
	struct desk *d = *state;
	char path[] = "/tmp/bellhop-test-XXXXXX", line[300];
	int fd = mkstemp(path);
	const char *text;
	char *secret;
	struct err e;

	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	assert_int_equal(tokens_open(&d->env.tokens, path, &e), 0);
	desk_has(desk_ask(d, "BELLHOP TOKEN ADD pos king"), "-BADARG role: 'king'");
	text = desk_ask(d, "BELLHOP TOKEN ADD pos producer mail.*");
	assert_int_equal(*text, '$');
	secret = xstrdup(strchr(text, '\n') + 1);
	*strchr(secret, '\r') = '\0';
	desk_has(desk_ask(d, "BELLHOP TOKEN ADD pos reader"), "-CONFLICT ");
	text = desk_ask(d, "BELLHOP TOKEN LIST");
	desk_has(text, "producer");
	desk_has(text, "mail.*");
	assert_null(strstr(text, secret));

	d->who.role = d->who.door_role = ROLE_NONE;
	ASK("AUTH nonsense", "-WRONGPASS invalid username-password pair or"
	    " user is disabled.\r\n");
	snprintf(line, sizeof(line), "AUTH sop %s", secret);
	desk_has(desk_ask(d, line), "-WRONGPASS ");
	assert_int_equal(d->who.role, ROLE_NONE);
	snprintf(line, sizeof(line), "AUTH pos %s", secret);
	ASK(line, "+OK\r\n");
	assert_int_equal(d->who.role, ROLE_PRODUCER);
	assert_string_equal(d->who.user, "pos");
	assert_int_equal(d->who.npatterns, 1);
	ASK("RESET", "+RESET\r\n");
	assert_int_equal(d->who.role, ROLE_NONE);
	assert_int_equal(d->who.npatterns, 0);
	snprintf(line, sizeof(line), "AUTH %s", secret);
	ASK(line, "+OK\r\n");
	ASK("RESET", "+RESET\r\n");
	snprintf(line, sizeof(line), "HELLO 3 AUTH default %s", secret);
	desk_has(desk_ask(d, line), "%7\r\n");
	assert_int_equal(d->who.role, ROLE_PRODUCER);

	d->who.role = ROLE_ADMIN;
	d->who.proto = 2;
	ASK("BELLHOP TOKEN DEL pos", "+OK\r\n");
	desk_has(desk_ask(d, "BELLHOP TOKEN DEL pos"), "-NOTFOUND ");
	tokens_free(&d->env.tokens);
	free(secret);
	unlink(path);
}

static void
names_and_infos_of_a_client(void **state)
{
	struct desk *d = *state;

	ASK("CLIENT ID", ":7\r\n");
	ASK("CLIENT GETNAME", "$-1\r\n");
	ASK("CLIENT SETNAME desk-1", "+OK\r\n");
	ASK("CLIENT SETINFO LIB-NAME tests", "+OK\r\n");
	desk_has(desk_ask(d, "CLIENT SETINFO COLOR red"), "-ERR Unrecognized");
	desk_has(desk_ask(d, "CLIENT INFO"), "id=7 addr=127.0.0.1:5012"
	    " name=desk-1 ");
	desk_has(desk_ask(d, "CLIENT INFO"), " lib-name=tests ");
	ASK("CLIENT NO-EVICT on", "+OK\r\n");
	desk_has(desk_ask(d, "CLIENT NO-TOUCH maybe"), "-BADARG mode: 'maybe'");
	desk_has(desk_ask(d, "CLIENT HELP"), "+    Prints this help.\r\n");
	ASK("CLIENT LIST TYPE pubsub", "$0\r\n\r\n");
	ASK("CLIENT LIST TYPE odd", "-ERR Unknown client type 'odd'\r\n");
	ASK("CLIENT KILL 10.0.0.1:5", "-ERR No such client\r\n");
	ASK("CLIENT KILL ID 99", ":0\r\n");
}

static void
client_reply_is_remembered(void **state)
{
	struct desk *d = *state;

	ASK("CLIENT REPLY OFF", "");
	assert_int_equal(d->who.replies, REPLY_OFF);
	assert_true(d->call.mute);
	ASK("CLIENT REPLY SKIP", "");
	assert_int_equal(d->who.replies, REPLY_OFF);
	ASK("CLIENT REPLY ON", "+OK\r\n");
	assert_false(d->call.mute);
	ASK("CLIENT REPLY SKIP", "");
	assert_int_equal(d->who.replies, REPLY_SKIP);
}

static void
the_table_is_shown(void **state)
{
	struct desk *d = *state;
	char want[40];
	size_t n;

	(void)cmd_table(&n);
	snprintf(want, sizeof(want), ":%zu\r\n", n);
	ASK("COMMAND COUNT", want);
	snprintf(want, sizeof(want), "*%zu\r\n*10\r\n$4\r\nauth\r\n:-2\r\n", n);
	assert_memory_equal(desk_ask(d, "COMMAND"), want, strlen(want));
	desk_has(desk_ask(d, "COMMAND INFO job.add nosuch"),
	    "*2\r\n*10\r\n$7\r\njob.add\r\n:-3\r\n");
	desk_has(desk_ask(d, "COMMAND INFO nosuch"), "*1\r\n*-1\r\n");
	desk_has(desk_ask(d, "COMMAND DOCS job.add nosuch"),
	    "*2\r\n$7\r\njob.add\r\n*8\r\n$7\r\nsummary\r\n");
	desk_has(desk_ask(d, "COMMAND LIST"), "job.fetch");
	ASK("COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	ASK("COMMAND GETKEYS SINTERCARD 2 a b LIMIT 3",
	    "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	ASK("COMMAND GETKEYS SINTERCARD 3 a b", "-ERR Invalid arguments"
	    " specified for command\r\n");
	ASK("COMMAND GETKEYS XREAD COUNT 2 STREAMS a b 0 0",
	    "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
	ASK("COMMAND GETKEYS XREAD COUNT 2 STREAMS a b 0",
	    "-ERR Invalid arguments specified for command\r\n");
	ASK("COMMAND GETKEYS BLMPOP 0 1 a LEFT", "*1\r\n$1\r\na\r\n");
	ASK("COMMAND GETKEYS OBJECT ENCODING a", "*1\r\n$1\r\na\r\n");
	ASK("COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified"
	    " for command\r\n");
	ASK("COMMAND GETKEYS PING", "-ERR The command has no key arguments"
	    "\r\n");
}

static void
info_has_sections(void **state)
{
	struct desk *d = *state;
	const char *text = desk_ask(d, "INFO");

	desk_has(text, "# Server\r\nredis_version:7.");
	desk_has(text, "\r\n\r\n# Memory\r\n");
	desk_has(text, "maxmemory_policy:noeviction\r\n");
	desk_has(text, "# Jobs\r\nwaiting:0\r\n");
	text = desk_ask(d, "INFO stats");
	desk_has(text, "total_commands_processed:2\r\n");
	assert_null(strstr(text, "# Server"));
	ASK("INFO nosuch", "$0\r\n\r\n");
	/* With the backend away the rest is still shown. */
	d->be.status = BH_E_BACKEND;
	text = desk_ask(d, "INFO");
	desk_has(text, "# Server");
	assert_null(strstr(text, "# Jobs"));
}

static void
the_configuration_is_read_only(void **state)
{
	struct desk *d = *state;

	ASK("CONFIG GET MAX_PAYLOAD", "*2\r\n$11\r\nmax_payload\r\n$7\r\n"
	    "1048576\r\n");
	desk_has(desk_ask(d, "CONFIG GET max_pay* log_l*"), "*4\r\n");
	ASK("CONFIG GET appendonly", "*0\r\n");
	desk_has(desk_ask(d, "CONFIG SET max_payload 1"), "-ERR the configuration"
	    " is a file: edit ");
	ASK("CONFIG RESETSTAT", "+OK\r\n");
	assert_int_equal(d->env.stats.commands, 0);
}

static int64_t slow_us;

static struct clock_time
some_time(void)
{
	return (struct clock_time){.wall_ms = 5000, .mono_ms = slow_us};
}

static void
slow_commands_are_kept_without_secrets(void **state)
{
	struct desk *d = *state;

	clock_set_source(some_time);
	d->conf->slowlog_slower_than = 1000;
	d->conf->slowlog_max_len = 2;
	desk_send(d, "JOB.ADD q one");
	d->call.started_us -= 2000000;
	cmdfake_answer_all(&d->be);
	desk_send(d, "JOB.ADD q fast");
	cmdfake_answer_all(&d->be);
	ASK("SLOWLOG LEN", ":1\r\n");
	desk_has(desk_ask(d, "SLOWLOG GET"), "*1\r\n*6\r\n:0\r\n:5\r\n:2");
	desk_has(desk_ask(d, "SLOWLOG GET"), "$1\r\nq\r\n$3\r\none\r\n");
	for (int i = 0; i < 3; i++) {
		desk_send(d, "JOB.ADD q more");
		d->call.started_us -= 2000000;
		cmdfake_answer_all(&d->be);
	}
	ASK("SLOWLOG LEN", ":2\r\n");
	assert_null(strstr(desk_ask(d, "SLOWLOG GET -1"), "one"));
	ASK("SLOWLOG RESET", "+OK\r\n");
	ASK("SLOWLOG GET", "*0\r\n");
	desk_has(desk_ask(d, "SLOWLOG GET x"), "-BADARG count: 'x'");
	clock_set_source(NULL);
}

static void
secrets_are_known(void **state)
{
	struct desk *d = *state;

	desk_ask(d, "AUTH name s3cret");
	assert_false(cmd_is_secret(&d->call, 0));
	assert_true(cmd_is_secret(&d->call, 1));
	assert_true(cmd_is_secret(&d->call, 2));
	desk_ask(d, "HELLO 3 AUTH name s3cret SETNAME x");
	assert_false(cmd_is_secret(&d->call, 1));
	assert_false(cmd_is_secret(&d->call, 2));
	assert_true(cmd_is_secret(&d->call, 3));
	assert_true(cmd_is_secret(&d->call, 4));
	assert_false(cmd_is_secret(&d->call, 5));
	assert_false(cmd_is_secret(&d->call, 6));
	desk_ask(d, "ECHO AUTH");
	assert_false(cmd_is_secret(&d->call, 1));
}

static void
note_shutdown(void *arg)
{
	((struct desk *)arg)->shutdowns++;
}

static void
shutdown_is_only_noted(void **state)
{
	struct desk *d = *state;

	desk_has(desk_ask(d, "SHUTDOWN"), "-ERR there is no daemon");
	d->env.shutdown = note_shutdown;
	ASK("SHUTDOWN maybe", "-ERR syntax error\r\n");
	assert_int_equal(d->shutdowns, 0);
	ASK("SHUTDOWN nosave", "+OK\r\n");
	assert_int_equal(d->shutdowns, 1);
}

static void (*reload_done)(void *user, bool ok, const char *report);
static void *reload_user;

static void
reload(void *arg, void (*done)(void *user, bool ok, const char *report),
    void *user)
{
	assert_non_null(arg);
	reload_done = done;
	reload_user = user;
}

static void
a_reload_waits_and_reports(void **state)
{
	struct desk *d = *state;

	d->env.reload = reload;
	desk_send(d, "BELLHOP RELOAD");
	assert_int_equal(d->ends, 0);
	assert_true(d->call.waits);
	reload_done(reload_user, true, "mail.lua: loaded\n");
	assert_int_equal(d->ends, 1);
	assert_string_equal(buf_str(&d->out), "$17\r\nmail.lua: loaded\n\r\n");
	desk_send(d, "BELLHOP RELOAD");
	reload_done(reload_user, false, "mail.lua:3: oops");
	assert_string_equal(buf_str(&d->out), "-ERR mail.lua:3: oops\r\n");
}

static bool
script_at(void *arg, size_t i, struct script_info *ret)
{
	assert_non_null(arg);
	*ret = (struct script_info){.file = "mail.lua", .queue = "mail",
	    .version = "abc", .error = i == 1 ? "mail.lua:3: oops" : NULL};
	return i < 2;
}

static void
status_and_scripts(void **state)
{
	struct desk *d = *state;
	const char *text;

	d->who.proto = 3;
	text = desk_ask(d, "BELLHOP STATUS");
	desk_has(text, "$7\r\nbackend\r\n$7\r\ncmdfake\r\n");
	desk_has(text, "$9\r\naccepting\r\n:1\r\n");
	desk_has(text, "$11\r\nscripts_dir\r\n");
	d->env.script_at = script_at;
	text = desk_ask(d, "BELLHOP SCRIPTS");
	desk_has(text, "*2\r\n%5\r\n$4\r\nfile\r\n");
	desk_has(text, "%6\r\n$4\r\nfile\r\n");
	desk_has(text, "$5\r\nerror\r\n$16\r\nmail.lua:3: oops\r\n");
}

static void
time_and_quit(void **state)
{
	struct desk *d = *state;

	clock_set_source(some_time);
	ASK("TIME", "*2\r\n$1\r\n5\r\n$1\r\n0\r\n");
	clock_set_source(NULL);
	assert_false(d->who.close);
	ASK("QUIT", "+OK\r\n");
	assert_true(d->who.close);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define DESK(f) cmocka_unit_test_setup_teardown(f, desk_setup, desk_teardown)
		DESK(ping_echo_select),
		DESK(hello_chooses_the_protocol),
		DESK(tokens_let_in),
		DESK(names_and_infos_of_a_client),
		DESK(client_reply_is_remembered),
		DESK(the_table_is_shown),
		DESK(info_has_sections),
		DESK(the_configuration_is_read_only),
		DESK(slow_commands_are_kept_without_secrets),
		DESK(secrets_are_known),
		DESK(shutdown_is_only_noted),
		DESK(a_reload_waits_and_reports),
		DESK(status_and_scripts),
		DESK(time_and_quit),
#undef DESK
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
