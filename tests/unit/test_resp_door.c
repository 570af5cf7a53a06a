/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "front/front.h"
#include "lib/cmdfake.h"

#define PATIENCE_MS 10000

/* The whole door on a unix socket, before a backend that waits. */
struct house {
	struct cmdfake be;
	struct cmd_env env;
	struct conf *conf;
	char **listen;			/* the configuration's own */
	struct loop *loop;
	struct front *front;
	char dir[40];
	char address[80];
	char *addresses[2];
	bool auto_answer;
	int fd, other;
	struct buf heard;
};

static int64_t
turn(void *arg)
{
	struct house *h = arg;

	if (h->auto_answer)
		cmdfake_answer_all(&h->be);
	return front_flush(h->front) ? 0 : INT64_MAX;
}

static int
dial(struct house *h)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, h->address + 5);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static int
setup(void **state)
{
	struct house *h = xcalloc(1, sizeof(*h));
	struct err e;

	strcpy(h->dir, "/tmp/bellhop-test-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(h->address, sizeof(h->address), "unix:%s/s", h->dir);
	h->addresses[0] = h->address;
	h->conf = conf_new();
	h->listen = h->conf->listen_resp;
	h->conf->listen_resp = h->addresses;
	h->env = (struct cmd_env){.ops = &cmdfake_ops, .be = &h->be,
	    .conf = h->conf};
	h->loop = loop_new();
	loop_on_turn(h->loop, NULL, turn, h);
	assert_int_equal(front_new(&h->front, h->loop, &h->env, &e), 0);
	front_start(h->front);
	h->fd = dial(h);
	h->other = -1;
	*state = h;
	return 0;
}

static int
teardown(void **state)
{
	struct house *h = *state;

	front_close_clients(h->front);
	cmdfake_answer_all(&h->be);
	front_free(&h->front);
	loop_free(&h->loop);
	cmd_env_done(&h->env);
	h->conf->listen_resp = h->listen;
	conf_free(&h->conf);
	close(h->fd);
	if (h->other >= 0)
		close(h->other);
	rmdir(h->dir);
	buf_done(&h->heard);
	free(h);
	return 0;
}

#define WAIT_FOR(h, cond)                                                 \
	do {                                                              \
		int64_t until = clock_now().mono_ms + PATIENCE_MS;        \
		while (!(cond) && clock_now().mono_ms < until)            \
			loop_once((h)->loop, 20);                         \
		assert_true(cond);                                        \
	} while (0)

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
	    strlen(text));
}

/* Adds what has come; false once the other side has closed. */
static bool
listen_to(struct house *h, int fd)
{
	char got[4096];
	ssize_t n;

	while ((n = recv(fd, got, sizeof(got), MSG_DONTWAIT)) > 0)
		buf_add(&h->heard, got, (size_t)n);
	return n < 0;
}

static bool
heard(struct house *h, int fd, const char *want)
{
	listen_to(h, fd);
	return strcmp(buf_str(&h->heard), want) == 0;
}

/* Waits for exactly this answer, and forgets it. */
static void
hear(struct house *h, int fd, const char *want)
{
	int64_t until = clock_now().mono_ms + PATIENCE_MS;

	while (!heard(h, fd, want) && clock_now().mono_ms < until)
		loop_once(h->loop, 20);
	assert_string_equal(buf_str(&h->heard), want);
	buf_reset(&h->heard, 4096);
}

static void
answers_keep_the_order_of_the_commands(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.ADD q a\r\nPING\r\nJOB.ADD q b\r\nECHO x\r\n");
	WAIT_FOR(h, h->be.n == 2);
	/* The second one is ready first. */
	h->be.last_id = 10;
	cmdfake_answer(&h->be, 1);
	loop_once(h->loop, 0);
	assert_true(listen_to(h, h->fd));
	assert_int_equal(buf_size(&h->heard), 0);
	cmdfake_answer(&h->be, 0);
	hear(h, h->fd, "$2\r\n12\r\n+PONG\r\n$2\r\n11\r\n$1\r\nx\r\n");
}

static void
the_head_writes_in_place(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.ADD q a\r\nJOB.ADD q b\r\nJOB.ADD q c\r\n");
	WAIT_FOR(h, h->be.n == 3);
	cmdfake_answer(&h->be, 0);
	hear(h, h->fd, "$1\r\n1\r\n");
	cmdfake_answer(&h->be, 1);
	loop_once(h->loop, 0);
	assert_true(heard(h, h->fd, ""));
	cmdfake_answer(&h->be, 0);
	hear(h, h->fd, "$1\r\n3\r\n$1\r\n2\r\n");
}

static void
a_waiting_command_holds_back_those_behind_it(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.FETCH q BLOCK 0\r\nPING\r\nJOB.ADD q x\r\n");
	WAIT_FOR(h, h->be.n == 1);
	loop_once(h->loop, 0);
	assert_int_equal(h->be.n, 1);
	cmdfake_answer(&h->be, 0);
	WAIT_FOR(h, h->be.n == 1);
	cmdfake_answer(&h->be, 0);
	hear(h, h->fd, "*-1\r\n+PONG\r\n$1\r\n1\r\n");
}

static void
a_fetch_that_does_not_wait_holds_nothing_back(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.FETCH q\r\nJOB.FETCH q\r\nPING\r\n");
	WAIT_FOR(h, h->be.n == 2);
	cmdfake_answer_all(&h->be);
	hear(h, h->fd, "*-1\r\n*-1\r\n+PONG\r\n");
}

static void
a_lost_client_cancels_its_calls(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.FETCH q BLOCK 0\r\n");
	WAIT_FOR(h, h->be.n == 1);
	close(h->fd);
	h->fd = dup(0);
	WAIT_FOR(h, h->be.cancels == 1);
	cmdfake_answer_all(&h->be);
	WAIT_FOR(h, front_idle(h->front));
}

static struct bh_job a_job = {.id = 9, .queue = {"q", 1}, .token = 0xab};

static void
a_job_fetched_for_nobody_is_released(void **state)
{
	struct house *h = *state;
	struct bh_finish *f;

	h->be.jobs = &a_job;
	h->be.njobs = 1;
	say(h->fd, "JOB.FETCH q BLOCK 0\r\n");
	WAIT_FOR(h, h->be.n == 1);
	close(h->fd);
	h->fd = dup(0);
	WAIT_FOR(h, h->be.cancels == 1);
	h->be.pending[0].req->status = BH_OK;
	cmdfake_answer(&h->be, 0);
	f = cmdfake_req(&h->be, 0, FAKE_FINISH);
	assert_int_equal(f->outcome, BH_RELEASE);
	assert_true(f->token == 0xab);
}

static void
half_closed_clients_get_their_answers(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.ADD q x\r\nPING\r\n");
	shutdown(h->fd, SHUT_WR);
	WAIT_FOR(h, h->be.n == 1);
	loop_once(h->loop, 1);
	cmdfake_answer_all(&h->be);
	hear(h, h->fd, "$1\r\n1\r\n+PONG\r\n");
	WAIT_FOR(h, !listen_to(h, h->fd));
}

static void
max_pipeline_stops_the_reading(void **state)
{
	struct house *h = *state;

	h->conf->max_pipeline = 2;
	for (int i = 0; i < 5; i++)
		say(h->fd, "JOB.ADD q x\r\n");
	WAIT_FOR(h, h->be.n == 2);
	loop_once(h->loop, 0);
	assert_int_equal(h->be.n, 2);
	h->auto_answer = true;
	hear(h, h->fd, "$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n"
	    "$1\r\n5\r\n");
}

/* Who sends and does not read is stopped, not thrown out, and gets all. */
static void
a_client_that_does_not_read_is_slowed_down(void **state)
{
	enum { TIMES = 200, SIZE = 60000 };
	struct house *h = *state;
	char *line = xmalloc(SIZE + 100);
	size_t want = TIMES * (SIZE + sizeof("$60000\r\n\r\n") - 1);
	size_t sent = 0, len;
	int left = TIMES;

	memset(line, 'x', SIZE + 100);
	len = (size_t)sprintf(line, "*2\r\n$4\r\nECHO\r\n$%d\r\n", SIZE);
	line[len] = 'x';
	len += SIZE;
	memcpy(line + len, "\r\n", 2);
	len += 2;
	for (int quiet = 0; quiet < 20;) {
		ssize_t n = left ? send(h->fd, line + sent, len - sent,
		    MSG_DONTWAIT | MSG_NOSIGNAL) : -1;

		quiet = n > 0 ? 0 : quiet + 1;
		sent += n > 0 ? (size_t)n : 0;
		if (sent == len) {
			sent = 0;
			left--;
		}
		loop_once(h->loop, 1);
	}
	assert_true(left > 0);
	while (buf_size(&h->heard) < want) {
		ssize_t n = left ? send(h->fd, line + sent, len - sent,
		    MSG_DONTWAIT | MSG_NOSIGNAL) : -1;

		sent += n > 0 ? (size_t)n : 0;
		if (sent == len) {
			sent = 0;
			left--;
		}
		loop_once(h->loop, 1);
		assert_true(listen_to(h, h->fd));
	}
	assert_int_equal(left, 0);
	assert_int_equal(buf_size(&h->heard), want);
	free(line);
}

static void
max_connections_is_said_politely(void **state)
{
	struct house *h = *state;

	h->conf->max_connections = 1;
	say(h->fd, "PING\r\n");
	hear(h, h->fd, "+PONG\r\n");
	h->other = dial(h);
	hear(h, h->other, "-ERR max number of clients reached\r\n");
	WAIT_FOR(h, !listen_to(h, h->other));
	assert_int_equal(h->env.stats.rejected, 1);
	say(h->fd, "PING\r\n");
	hear(h, h->fd, "+PONG\r\n");
}

static void
garbage_is_answered_and_ends_it(void **state)
{
	struct house *h = *state;

	say(h->fd, "PING\r\n*1\r\n:x\r\nPING\r\n");
	hear(h, h->fd, "+PONG\r\n-ERR Protocol error: expected '$', got ':'"
	    "\r\n");
	WAIT_FOR(h, !listen_to(h, h->fd));
	WAIT_FOR(h, front_idle(h->front));
}

static void
web_browsers_are_cut_off(void **state)
{
	struct house *h = *state;

	say(h->fd, "POST / HTTP/1.1\r\nJOB.ADD q x\r\n");
	WAIT_FOR(h, !listen_to(h, h->fd));
	assert_int_equal(h->be.n, 0);
	assert_int_equal(buf_size(&h->heard), 0);
}

static void
quit_closes_after_what_came_before(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.ADD q x\r\nQUIT\r\nPING\r\n");
	WAIT_FOR(h, h->be.n == 1);
	cmdfake_answer_all(&h->be);
	hear(h, h->fd, "$1\r\n1\r\n+OK\r\n");
	WAIT_FOR(h, !listen_to(h, h->fd));
}

static void
hello_changes_later_answers_only(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.GET 1\r\nHELLO 3\r\nJOB.GET 1\r\n");
	WAIT_FOR(h, h->be.n == 2);
	cmdfake_answer_all(&h->be);
	WAIT_FOR(h, (listen_to(h, h->fd), buf_size(&h->heard) > 100));
	assert_memory_equal(buf_str(&h->heard), "$-1\r\n%7\r\n", 9);
	assert_string_equal(buf_str(&h->heard) + buf_size(&h->heard) - 3,
	    "_\r\n");
}

static void
replies_may_be_switched_off(void **state)
{
	struct house *h = *state;

	say(h->fd, "CLIENT REPLY OFF\r\nPING\r\nPING\r\nCLIENT REPLY ON\r\n"
	    "CLIENT REPLY SKIP\r\nPING\r\nECHO x\r\n");
	hear(h, h->fd, "+OK\r\n$1\r\nx\r\n");
}

static void
monitors_see_commands_but_no_secrets(void **state)
{
	struct house *h = *state;
	const char *text;

	say(h->fd, "MONITOR\r\n");
	hear(h, h->fd, "+OK\r\n");
	assert_int_equal(h->env.monitors, 1);
	h->other = dial(h);
	say(h->other, "AUTH s3cret\r\nECHO \"a\\x00\\\"b\"\r\n");
	WAIT_FOR(h, (listen_to(h, h->fd),
	    strstr(buf_str(&h->heard), "ECHO")));
	text = buf_str(&h->heard);
	assert_int_equal(text[0], '+');
	assert_non_null(strstr(text, " [0 unix:pid="));
	assert_non_null(strstr(text, "] \"AUTH\" \"(redacted)\"\r\n"));
	assert_non_null(strstr(text, "] \"ECHO\" \"a\\x00\\\"b\"\r\n"));
	assert_null(strstr(text, "s3cret"));
	close(h->fd);
	h->fd = dup(0);
	WAIT_FOR(h, h->env.monitors == 0);
}

static void
clients_can_be_killed(void **state)
{
	struct house *h = *state;
	const struct session *s;

	say(h->fd, "PING\r\n");
	hear(h, h->fd, "+PONG\r\n");
	assert_true(h->env.client_at(h->front, 0, &s));
	assert_int_equal(s->role, ROLE_ADMIN);
	assert_false(h->env.client_at(h->front, 1, &s));
	h->other = dial(h);
	say(h->other, "CLIENT KILL ID 1\r\n");
	hear(h, h->other, ":1\r\n");
	WAIT_FOR(h, !listen_to(h, h->fd));
	say(h->other, "CLIENT KILL ID 2 SKIPME no\r\n");
	hear(h, h->other, ":1\r\n");
	WAIT_FOR(h, !listen_to(h, h->other));
}

static void
a_drain_answers_what_was_received(void **state)
{
	struct house *h = *state;

	say(h->fd, "PING\r\n");
	hear(h, h->fd, "+PONG\r\n");
	h->other = dial(h);
	say(h->other, "PING\r\n");
	hear(h, h->other, "+PONG\r\n");
	/* Still in the kernel when the drain begins. */
	say(h->fd, "JOB.ADD q x\r\n");
	h->env.draining = true;
	front_drain(h->front);
	assert_int_equal(h->be.n, 1);
	/* The idle one is closed, the other one after its answer. */
	WAIT_FOR(h, !listen_to(h, h->other));
	assert_false(front_idle(h->front));
	say(h->fd, "JOB.ADD q late\r\nPING\r\n");
	loop_once(h->loop, 20);
	assert_int_equal(h->be.n, 1);
	cmdfake_answer_all(&h->be);
	hear(h, h->fd, "$1\r\n1\r\n-BUSY the daemon is shutting down\r\n"
	    "+PONG\r\n");
	WAIT_FOR(h, !listen_to(h, h->fd));
	WAIT_FOR(h, front_idle(h->front));
}

static void
a_drain_wakes_parked_calls(void **state)
{
	struct house *h = *state;

	say(h->fd, "JOB.FETCH q BLOCK 0\r\nJOB.ADD q x\r\n");
	WAIT_FOR(h, h->be.n == 1);
	h->auto_answer = true;
	h->env.draining = true;
	front_drain(h->front);
	hear(h, h->fd, "-BUSY the daemon is shutting down\r\n$1\r\n1\r\n");
	WAIT_FOR(h, front_idle(h->front));
}

static void
the_socket_is_private_and_goes_away(void **state)
{
	struct house *h = *state;
	struct stat st;

	assert_string_equal(front_address(h->front, 0), h->address);
	assert_null(front_address(h->front, 1));
	assert_int_equal(stat(h->address + 5, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void
other_machines_need_a_token(void **state)
{
	struct house *h = *state;
	struct front *second;
	struct cmd_env env = h->env;
	char *addresses[] = {"0.0.0.0:0", NULL};
	struct conf conf = *h->conf;
	struct err e;

	conf.listen_resp = addresses;
	env.conf = &conf;
	assert_int_equal(front_new(&second, h->loop, &env, &e), -1);
	assert_non_null(strstr(e.text, "0.0.0.0:"));
	assert_non_null(strstr(e.text, "bellhopctl token add"));
	addresses[0] = "127.0.0.1:0";
	assert_int_equal(front_new(&second, h->loop, &env, &e), 0);
	assert_null(strstr(front_address(second, 0), ":0"));
	front_free(&second);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define HOUSE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		HOUSE(answers_keep_the_order_of_the_commands),
		HOUSE(the_head_writes_in_place),
		HOUSE(a_waiting_command_holds_back_those_behind_it),
		HOUSE(a_fetch_that_does_not_wait_holds_nothing_back),
		HOUSE(a_lost_client_cancels_its_calls),
		HOUSE(a_job_fetched_for_nobody_is_released),
		HOUSE(half_closed_clients_get_their_answers),
		HOUSE(max_pipeline_stops_the_reading),
		HOUSE(a_client_that_does_not_read_is_slowed_down),
		HOUSE(max_connections_is_said_politely),
		HOUSE(garbage_is_answered_and_ends_it),
		HOUSE(web_browsers_are_cut_off),
		HOUSE(quit_closes_after_what_came_before),
		HOUSE(hello_changes_later_answers_only),
		HOUSE(replies_may_be_switched_off),
		HOUSE(monitors_see_commands_but_no_secrets),
		HOUSE(clients_can_be_killed),
		HOUSE(a_drain_answers_what_was_received),
		HOUSE(a_drain_wakes_parked_calls),
		HOUSE(the_socket_is_private_and_goes_away),
		HOUSE(other_machines_need_a_token),
#undef HOUSE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
