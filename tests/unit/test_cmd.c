/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/rows.h"
#include "lib/desk.h"

static void
the_table_is_sorted_and_complete(void **state)
{
	size_t n;
	const struct cmd_row *t = cmd_table(&n);

	(void)state;
	assert_true(n > 30);
	for (size_t i = 0; i < n; i++) {
		/* Those of the keyspace come last. */
		assert_true(i == 0 || (t[i - 1].fn != cmd_key &&
		    t[i].fn == cmd_key) ||
		    strcmp(t[i - 1].name, t[i].name) < 0);
		assert_true(t[i].arity != 0);
		assert_non_null(t[i].fn);
		assert_true(strlen(t[i].help) > 10);
		assert_true(t[i].help[strlen(t[i].help) - 1] == '.');
		assert_ptr_equal(cmd_find(t[i].name, strlen(t[i].name)),
		    &t[i]);
		if (t[i].flags & CMD_QUEUE)
			assert_true(t[i].arity != 1);
	}
	assert_non_null(cmd_find("job.Add", 7));
	assert_null(cmd_find("JOB.AD", 6));
	assert_null(cmd_find("", 0));
}

static void
roles_include_each_other(void **state)
{
	enum cmd_role r = ROLE_NONE;

	(void)state;
	assert_true(role_allows(ROLE_PRODUCER, ROLE_READER));
	assert_false(role_allows(ROLE_PRODUCER, ROLE_WORKER));
	assert_false(role_allows(ROLE_WORKER, ROLE_PRODUCER));
	assert_true(role_allows(ROLE_OPERATOR, ROLE_PRODUCER));
	assert_true(role_allows(ROLE_OPERATOR, ROLE_WORKER));
	assert_false(role_allows(ROLE_OPERATOR, ROLE_ADMIN));
	assert_true(role_allows(ROLE_ADMIN, ROLE_OPERATOR));
	assert_false(role_allows(ROLE_READER, ROLE_PRODUCER));
	assert_false(role_allows(ROLE_NONE, ROLE_READER));
	assert_int_equal(role_parse("worker", 6, &r), 0);
	assert_int_equal(r, ROLE_WORKER);
	assert_int_equal(role_parse("king", 4, &r), -1);
	assert_string_equal(role_name(ROLE_OPERATOR), "operator");
}

static void
unknown_commands_and_arity_read_as_in_redis(void **state)
{
	struct desk *d = *state;

	ASK("foo bar baz", "-ERR unknown command 'foo', with args beginning"
	    " with: 'bar' 'baz' \r\n");
	ASK("GETS k", "-ERR unknown command 'GETS', with args beginning with:"
	    " 'k' \r\n");
	ASK("~", "-ERR unknown command '', with args beginning with: \r\n");
	ASK("Job.Add q", "-ERR wrong number of arguments for 'job.add'"
	    " command\r\n");
	ASK("CLIENT SETNAME", "-ERR wrong number of arguments for"
	    " 'client|setname' command\r\n");
	ASK("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT"
	    " HELP.\r\n");
	assert_int_equal(d->env.stats.errors, 6);
	assert_int_equal(d->env.stats.commands, 6);
}

static void
roles_are_checked(void **state)
{
	struct desk *d = *state;

	d->who.role = ROLE_NONE;
	ASK("PING", "-NOAUTH Authentication required.\r\n");
	ASK("NOSUCH", "-NOAUTH Authentication required.\r\n");
	ASK("QUIT", "+OK\r\n");
	d->who.role = ROLE_READER;
	ASK("PING", "+PONG\r\n");
	ASK("JOB.ADD q x", "-NOPERM JOB.ADD needs the role producer, and"
	    " 'default' has the role reader\r\n");
	d->who.role = ROLE_WORKER;
	ASK("QUEUE.PAUSE q", "-NOPERM QUEUE.PAUSE needs the role operator, and"
	    " 'default' has the role worker\r\n");
	ASK("BELLHOP RELOAD", "-NOPERM BELLHOP RELOAD needs the role admin,"
	    " and 'default' has the role worker\r\n");
}

static void
add_passes_everything_on(void **state)
{
	struct desk *d = *state;
	struct bh_put *r;

	d->be.last_id = 41;
	desk_send(d, "JOB.ADD mail hello PRIORITY 1 UNIQUE k");
	assert_int_equal(d->ends, 0);
	r = cmdfake_req(&d->be, 0, FAKE_PUT);
	assert_memory_equal(r->queue.data, "mail", 4);
	assert_int_equal(r->npayloads, 1);
	assert_memory_equal(r->payloads[0].data, "hello", 5);
	assert_int_equal(r->opts.priority, 1);
	assert_int_equal(r->opts.delay_ms, -1);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "$2\r\n42\r\n");
	d->be.status = BH_E_QUEUEFULL;
	ASK("JOB.ADD q x", "-QUEUEFULL the fake says no\r\n");
}

static void
add_refuses_before_the_backend_is_asked(void **state)
{
	struct desk *d = *state;

	d->conf->max_payload = 4;
	desk_send(d, "JOB.ADD q 12345");
	assert_int_equal(d->ends, 1);
	assert_string_equal(buf_str(&d->out), "-TOOBIG payload: 5 bytes; at"
	    " most 4 are expected (max_payload)\r\n");
	desk_has(desk_ask(d, "JOB.ADD q/x 1"), "-BADARG queue: 'q/x'");
	desk_has(desk_ask(d, "JOB.ADD q 1 DELAY x"), "-BADARG DELAY: 'x'");
	desk_has(desk_ask(d, "JOB.MADD q 2 1234 12345"), "-TOOBIG payload");
	desk_has(desk_ask(d, "JOB.MADD q 3 1 2"), "-BADARG n: '3'");
	ASK("JOB.ADD q ~", "$1\r\n1\r\n");
}

static void
madd_is_one_request(void **state)
{
	struct desk *d = *state;
	struct bh_put *r;

	desk_send(d, "JOB.MADD q 2 a b GROUP g");
	assert_int_equal(d->be.n, 1);
	r = cmdfake_req(&d->be, 0, FAKE_PUT);
	assert_int_equal(r->npayloads, 2);
	assert_memory_equal(r->payloads[1].data, "b", 1);
	assert_memory_equal(r->opts.group.data, "g", 1);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
}

static struct bh_job_error old_error = {.attempt = 1, .at = 5,
    .message = {"no", 2}, .version = {"", 0}};
static struct bh_job a_job = {.id = 9, .queue = {"q", 1},
    .state = BH_ACTIVE, .payload = {"p\r\n", 3}, .priority = 5, .attempt = 2,
    .attempts = 12, .error_count = 1, .errors = &old_error, .nerrors = 1,
    .run_at = 1000, .created_at = 1000, .token = 0xab};

static void
a_job_is_a_map_of_what_applies(void **state)
{
	struct desk *d = *state;

	d->be.jobs = &a_job;
	d->be.njobs = 1;
	d->who.proto = 3;
	ASK("JOB.GET 9", "%13\r\n$2\r\nid\r\n$1\r\n9\r\n$5\r\nqueue\r\n$1\r\nq"
	    "\r\n$5\r\nstate\r\n$6\r\nactive\r\n$7\r\npayload\r\n$3\r\np\r\n"
	    "\r\n$8\r\npriority\r\n:5\r\n$7\r\nattempt\r\n:2\r\n$8\r\nattempts"
	    "\r\n:12\r\n$11\r\nerror_count\r\n:1\r\n$7\r\nstalled\r\n:0\r\n$6"
	    "\r\nerrors\r\n*1\r\n%4\r\n$7\r\nattempt\r\n:1\r\n$2\r\nat\r\n:5"
	    "\r\n$7\r\nmessage\r\n$2\r\nno\r\n$7\r\nversion\r\n$0\r\n\r\n$6\r\n"
	    "run_at\r\n:1000\r\n$10\r\ncreated_at\r\n:1000\r\n$5\r\ntoken\r\n"
	    "$16\r\n00000000000000ab\r\n");
	d->who.proto = 2;
	assert_memory_equal(desk_ask(d, "JOB.GET 9"), "*26\r\n", 5);
}

static void
get_and_wait_of_nothing(void **state)
{
	struct desk *d = *state;
	struct bh_get *r;

	ASK("JOB.GET 5", "$-1\r\n");
	d->be.status = BH_E_NOTFOUND;
	ASK("JOB.GET 5", "$-1\r\n");
	desk_has(desk_ask(d, "JOB.WAIT 5 100"), "-NOTFOUND ");
	d->be.status = BH_OK;
	desk_send(d, "JOB.WAIT 5 0");
	assert_true(d->call.waits);
	r = cmdfake_req(&d->be, 0, FAKE_GET);
	assert_int_equal(r->wait_ms, 0);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "$-1\r\n");
	desk_has(desk_ask(d, "JOB.GET abc"), "-BADARG id: 'abc'");
	desk_has(desk_ask(d, "JOB.WAIT 5 soon"), "-BADARG ms: 'soon'");
}

static void
fetch_parses_queues_and_options(void **state)
{
	struct desk *d = *state;
	struct bh_reserve *r;

	desk_send(d, "JOB.FETCH a b c COUNT 3 BLOCK 500 LEASE 60 WORKER w1");
	assert_true(d->call.waits);
	r = cmdfake_req(&d->be, 0, FAKE_RESERVE);
	assert_int_equal(r->nqueues, 3);
	assert_memory_equal(r->queues[2].data, "c", 1);
	assert_int_equal(r->count, 3);
	assert_int_equal(r->block_ms, 500);
	assert_int_equal(r->lease_ms, 60);
	assert_memory_equal(r->worker.data, "w1", 2);
	assert_false(r->handler);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "*-1\r\n");
	d->who.proto = 3;
	ASK("JOB.FETCH q", "_\r\n");
	assert_false(d->call.waits);
	desk_has(desk_ask(d, "JOB.FETCH q r/s"), "-BADARG queue: 'r/s'");
	desk_has(desk_ask(d, "JOB.FETCH q COUNT 0"), "-BADARG COUNT: '0'");
	desk_has(desk_ask(d, "JOB.FETCH q BLOCK"), "-ERR syntax error: BLOCK");
}

/* Its client is gone: the start is given back, whoever comes first. */
static void
fetched_jobs_of_a_lost_client_are_released(void **state)
{
	struct desk *d = *state;
	struct bh_finish *f;

	d->be.jobs = &a_job;
	d->be.njobs = 1;
	desk_send(d, "JOB.FETCH q BLOCK 0");
	cmd_cancel(&d->call);
	assert_int_equal(d->be.cancels, 1);
	/* The answer was on its way already: not cancelled after all. */
	d->be.pending[0].req->status = BH_OK;
	cmdfake_answer(&d->be, 0);
	assert_int_equal(d->ends, 1);
	f = cmdfake_req(&d->be, 0, FAKE_FINISH);
	assert_int_equal(f->outcome, BH_RELEASE);
	assert_true(f->id == 9 && f->token == 0xab);
	cmdfake_answer(&d->be, 0);
}

static void
parked_calls_are_told_of_the_shutdown(void **state)
{
	struct desk *d = *state;

	desk_send(d, "JOB.FETCH q BLOCK 0");
	d->env.draining = true;
	cmd_cancel(&d->call);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out),
	    "-BUSY the daemon is shutting down\r\n");
	ASK("JOB.FETCH q", "-BUSY the daemon is shutting down\r\n");
	/* What was received before still counts. */
	ASK("JOB.ADD q x", "$1\r\n1\r\n");
}

static void
ends_of_an_attempt(void **state)
{
	struct desk *d = *state;
	struct bh_finish *f;

	desk_send(d, "JOB.DONE 9 00000000000000ab result");
	f = cmdfake_req(&d->be, 0, FAKE_FINISH);
	assert_int_equal(f->outcome, BH_DONE);
	assert_true(f->token == 0xab);
	assert_memory_equal(f->result.data, "result", 6);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "+OK\r\n");
	desk_send(d, "JOB.DONE 9 00000000000000ab");
	f = cmdfake_req(&d->be, 0, FAKE_FINISH);
	assert_null(f->result.data);
	cmdfake_answer(&d->be, 0);
	d->be.state = BH_DELAYED;
	ASK("JOB.FAIL 9 00000000000000ab oops DELAY 5", "$7\r\ndelayed\r\n");
	d->be.state = BH_FAILED;
	desk_send(d, "JOB.FAIL 9 00000000000000ab oops FINAL");
	f = cmdfake_req(&d->be, 0, FAKE_FINISH);
	assert_true(f->final);
	assert_int_equal(f->delay_ms, -1);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "$6\r\nfailed\r\n");
	desk_has(desk_ask(d, "JOB.FAIL 9 00000000000000ab oops FINAL DELAY 5"),
	    "-BADARG DELAY: not together with FINAL");
	ASK("JOB.RELEASE 9 00000000000000ab DELAY 7", "+OK\r\n");
	d->be.status = BH_E_STALE;
	ASK("JOB.DONE 9 00000000000000ab", "-STALE the fake says no\r\n");
	ASK("JOB.DONE 9 anything", "-STALE the fake says no\r\n");
}

static void
extend_and_progress(void **state)
{
	struct desk *d = *state;
	struct bh_extend *r;

	desk_send(d, "JOB.EXTEND 9 00000000000000ab 5000");
	r = cmdfake_req(&d->be, 0, FAKE_EXTEND);
	assert_int_equal(r->lease_ms, 5000);
	assert_null(r->progress.data);
	cmdfake_answer(&d->be, 0);
	desk_send(d, "JOB.PROGRESS 9 00000000000000ab 40%");
	r = cmdfake_req(&d->be, 0, FAKE_EXTEND);
	assert_int_equal(r->lease_ms, -1);
	assert_memory_equal(r->progress.data, "40%", 3);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "+OK\r\n");
	desk_has(desk_ask(d, "JOB.EXTEND 9 00000000000000ab 0"),
	    "-BADARG ms: '0'");
}

static void
lists_have_a_cursor(void **state)
{
	struct desk *d = *state;
	struct bh_list *r;

	d->be.cursor = 77;
	desk_send(d, "JOB.LIST q failed CURSOR 5 COUNT 2 REVERSE ERROR"
	    " 00000000000000ff");
	r = cmdfake_req(&d->be, 0, FAKE_LIST);
	assert_int_equal(r->state, BH_FAILED);
	assert_int_equal(r->cursor, 5);
	assert_int_equal(r->count, 2);
	assert_true(r->reverse);
	assert_true(r->fingerprint == 0xff);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), "*2\r\n$2\r\n77\r\n*0\r\n");
	desk_has(desk_ask(d, "JOB.LIST q waiting ERROR 00000000000000ff"),
	    "-BADARG ERROR: only with the state failed, not with waiting");
	desk_has(desk_ask(d, "JOB.LIST q nowhere"), "-BADARG state: 'nowhere'");
}

static bool
broken_script(void *arg, struct bh_bytes queue, struct bh_why *ret)
{
	assert_non_null(arg);
	assert_memory_equal(queue.data, "q", queue.len);
	ret->gate = BH_GATE_BROKEN;
	strcpy(ret->text, "mail.lua:3: oops");
	return true;
}

static void
why_asks_the_backend_and_then_the_handlers(void **state)
{
	struct desk *d = *state;

	d->be.jobs = &a_job;
	d->be.njobs = 1;
	d->be.why = (struct bh_why){.gate = BH_GATE_GROUP, .ahead = 3,
	    .until = 99, .state = BH_WAITING, .text = "job 3 is ahead"};
	d->env.handler_gate = broken_script;
	ASK("JOB.WHY 9", "*10\r\n$4\r\ngate\r\n$5\r\ngroup\r\n$4\r\ntext\r\n"
	    "$14\r\njob 3 is ahead\r\n$5\r\nstate\r\n$7\r\nwaiting\r\n$5\r\n"
	    "until\r\n:99\r\n$5\r\nahead\r\n$1\r\n3\r\n");
	d->be.why = (struct bh_why){.gate = BH_GATE_NONE};
	ASK("JOB.WHY 9", "*6\r\n$4\r\ngate\r\n$6\r\nbroken\r\n$4\r\ntext\r\n"
	    "$16\r\nmail.lua:3: oops\r\n$5\r\nstate\r\n$7\r\nwaiting\r\n");
	d->be.njobs = 0;
	ASK("JOB.WHY 9", "-NOTFOUND no job has the id 9\r\n");
}

static void
changes_of_a_job(void **state)
{
	struct desk *d = *state;
	struct bh_alter *r;

	desk_send(d, "JOB.RETRY 9 FRESH");
	r = cmdfake_req(&d->be, 0, FAKE_ALTER);
	assert_int_equal(r->action, BH_JOB_RETRY);
	assert_true(r->fresh);
	cmdfake_answer(&d->be, 0);
	desk_send(d, "JOB.CANCEL 9 because");
	r = cmdfake_req(&d->be, 0, FAKE_ALTER);
	assert_int_equal(r->action, BH_JOB_CANCEL);
	assert_memory_equal(r->arg.data, "because", 7);
	cmdfake_answer(&d->be, 0);
	desk_send(d, "JOB.UPDATE 9 new");
	r = cmdfake_req(&d->be, 0, FAKE_ALTER);
	assert_int_equal(r->action, BH_JOB_UPDATE);
	cmdfake_answer(&d->be, 0);
	ASK("JOB.PROMOTE 9", "+OK\r\n");
	d->be.status = BH_E_CONFLICT;
	ASK("JOB.REMOVE 9", "-CONFLICT the fake says no\r\n");
	desk_has(desk_ask(d, "JOB.RETRY 9 STALE"), "-ERR syntax error: 'STALE'");
}

static void
queue_figures(void **state)
{
	struct desk *d = *state;
	struct bh_queue_stats q[] = {{.name = {"z", 1}, .paused = true,
	    .paused_at = 8, .paused_by = {"me", 2}, .count = {1, 2, 3, 4, 5}},
	    {.name = {"a", 1}}};
	struct bh_error_group g = {.fingerprint = 0xff, .count = 3,
	    .sample_id = 9, .text = {"oops", 4}};
	const char *text;

	assert_memory_equal(desk_ask(d, "QUEUE.STATS new"),
	    "*26\r\n$7\r\nwaiting\r\n:0\r\n", 20);
	d->be.queues = q;
	d->be.nqueues = 1;
	text = desk_ask(d, "QUEUE.STATS z");
	assert_memory_equal(text, "*30\r\n", 5);
	desk_has(text, "$6\r\nfailed\r\n:5\r\n$6\r\npaused\r\n:1\r\n");
	desk_has(text, "$9\r\npaused_by\r\n$2\r\nme\r\n");
	d->be.nqueues = 2;
	ASK("QUEUE.LIST", "*2\r\n$1\r\na\r\n$1\r\nz\r\n");
	d->be.groups = &g;
	d->be.ngroups = 1;
	text = desk_ask(d, "QUEUE.ERRORS z");
	desk_has(text, "$16\r\n00000000000000ff\r\n$5\r\ncount\r\n:3\r\n");
	desk_has(text, "$9\r\nsample_id\r\n$1\r\n9\r\n");
	desk_has(desk_ask(d, "INFO queues"), "queue_z:waiting=1,delayed=2,");
	desk_has(desk_ask(d, "INFO jobs"), "failed:5\r\n");
}

static void
queue_changes(void **state)
{
	struct desk *d = *state;
	struct bh_queue_alter *r;

	desk_send(d, "QUEUE.PAUSE q");
	r = cmdfake_req(&d->be, 0, FAKE_QUEUE_ALTER);
	assert_int_equal(r->action, BH_QUEUE_PAUSE);
	assert_memory_equal(r->by.data, "default (127.0.0.1:5012)", 24);
	cmdfake_answer(&d->be, 0);
	desk_send(d, "QUEUE.HOLD q 500 429");
	r = cmdfake_req(&d->be, 0, FAKE_QUEUE_ALTER);
	assert_int_equal(r->hold_ms, 500);
	assert_memory_equal(r->reason.data, "429", 3);
	cmdfake_answer(&d->be, 0);
	d->be.count = 12;
	desk_send(d, "QUEUE.PURGE q completed");
	r = cmdfake_req(&d->be, 0, FAKE_QUEUE_ALTER);
	assert_int_equal(r->state, BH_COMPLETED);
	cmdfake_answer(&d->be, 0);
	assert_string_equal(buf_str(&d->out), ":12\r\n");
	ASK("QUEUE.RETRY q ERROR 00000000000000ff", ":12\r\n");
	ASK("QUEUE.RESUME q", "+OK\r\n");
	desk_has(desk_ask(d, "QUEUE.PURGE q active"), "-BADARG state: active");
	desk_has(desk_ask(d, "QUEUE.PURGE q waiting ERROR 00000000000000ff"),
	    "-BADARG ERROR: only with the state failed");
	desk_has(desk_ask(d, "QUEUE.HOLD q forever"), "-BADARG ms: 'forever'");
}

static void
patterns_bound_every_way_in(void **state)
{
	struct desk *d = *state;
	char *patterns[] = {"mail.*", NULL};
	struct token t = {.name = "post", .role = "operator",
	    .patterns = patterns, .npatterns = 1};
	struct bh_queue_stats q[] = {{.name = {"mail.1", 6}},
	    {.name = {"sms", 3}}};

	session_grant(&d->who, &t);
	assert_int_equal(d->who.role, ROLE_OPERATOR);
	ASK("JOB.ADD mail.in x", "$1\r\n1\r\n");
	ASK("JOB.ADD sms x", "-NOPERM the token 'post' does not include the"
	    " queue 'sms'\r\n");
	desk_has(desk_ask(d, "JOB.FETCH mail.in sms"), "-NOPERM ");
	desk_has(desk_ask(d, "QUEUE.STATS sms"), "-NOPERM ");
	d->be.jobs = &a_job;
	d->be.njobs = 1;
	desk_has(desk_ask(d, "JOB.GET 9"), "-NOPERM ");
	desk_has(desk_ask(d, "JOB.WHY 9"), "-NOPERM ");
	desk_has(desk_ask(d, "JOB.REMOVE 9"), "-NOPERM ");
	desk_has(desk_ask(d, "JOB.DONE 9 00000000000000ab"), "-NOPERM ");
	d->be.njobs = 0;
	ASK("JOB.GET 9", "$-1\r\n");
	ASK("JOB.REMOVE 9", "+OK\r\n");
	d->be.queues = q;
	d->be.nqueues = 2;
	ASK("QUEUE.LIST", "*1\r\n$6\r\nmail.1\r\n");
}

static void
late_requests_are_told_of_the_shutdown(void **state)
{
	struct desk *d = *state;

	d->env.draining = true;
	desk_send(d, "PING");
	d->call.late = true;
	d->call.argv = &(struct bh_bytes){"PING", 4};
	cmd_run(&d->call);
	assert_string_equal(buf_str(&d->out), "+PONG\r\n+PONG\r\n");
	desk_send(d, "JOB.GET 1");
	cmdfake_answer_all(&d->be);
	buf_reset(&d->out, 4096);
	d->call.late = true;
	d->argv[0] = (struct bh_bytes){"JOB.ADD", 7};
	d->argv[1] = (struct bh_bytes){"q", 1};
	d->argv[2] = (struct bh_bytes){"x", 1};
	d->call.argc = 3;
	cmd_run(&d->call);
	assert_string_equal(buf_str(&d->out),
	    "-BUSY the daemon is shutting down\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define DESK(f) cmocka_unit_test_setup_teardown(f, desk_setup, desk_teardown)
		DESK(the_table_is_sorted_and_complete),
		DESK(roles_include_each_other),
		DESK(unknown_commands_and_arity_read_as_in_redis),
		DESK(roles_are_checked),
		DESK(add_passes_everything_on),
		DESK(add_refuses_before_the_backend_is_asked),
		DESK(madd_is_one_request),
		DESK(a_job_is_a_map_of_what_applies),
		DESK(get_and_wait_of_nothing),
		DESK(fetch_parses_queues_and_options),
		DESK(fetched_jobs_of_a_lost_client_are_released),
		DESK(parked_calls_are_told_of_the_shutdown),
		DESK(ends_of_an_attempt),
		DESK(extend_and_progress),
		DESK(lists_have_a_cursor),
		DESK(why_asks_the_backend_and_then_the_handlers),
		DESK(changes_of_a_job),
		DESK(queue_figures),
		DESK(queue_changes),
		DESK(patterns_bound_every_way_in),
		DESK(late_requests_are_told_of_the_shutdown),
#undef DESK
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
