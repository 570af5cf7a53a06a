/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "rt/conn.h"
#include "rt/loop.h"
#include "rt/thr.h"

/* A conversation: what the owner of a connection has seen. */
struct talk {
	struct loop *loop;
	struct conn_set *set;
	struct conn *conn;
	int peer;
	size_t take;			/* how many bytes of each offer */
	struct buf seen;
	size_t offers;
	int eofs, drains, ends;
	char reason[100];
	size_t max_output;
};

static size_t
on_data(void *user, const char *data, size_t len)
{
	struct talk *t = user;
	size_t n = len < t->take ? len : t->take;

	t->offers++;
	buf_add(&t->seen, data, n);
	return n;
}

static void
on_eof(void *user)
{
	((struct talk *)user)->eofs++;
}

static void
on_drained(void *user)
{
	((struct talk *)user)->drains++;
}

static void
on_closed(void *user, const char *reason)
{
	struct talk *t = user;

	t->ends++;
	snprintf(t->reason, sizeof(t->reason), "%s", reason);
}

static const struct conn_ops ops = {
	.data = on_data, .eof = on_eof, .drained = on_drained,
	.closed = on_closed};

static int64_t
turn(void *arg)
{
	struct talk *t = arg;

	conn_set_flush(t->set, t->max_output);
	return INT64_MAX;
}

static int
setup(void **state)
{
	struct talk *t = xcalloc(1, sizeof(*t));
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return -1;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	t->loop = loop_new();
	loop_on_turn(t->loop, NULL, turn, t);
	t->set = conn_set_new(t->loop);
	t->conn = conn_new(t->set, fds[0], &ops, t);
	t->peer = fds[1];
	t->take = SIZE_MAX;
	t->max_output = 1 << 20;
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	struct talk *t = *state;

	if (t->ends == 0)
		conn_close(t->conn, "the test ends");
	conn_set_free(&t->set);
	loop_free(&t->loop);
	close(t->peer);
	buf_done(&t->seen);
	free(t);
	return 0;
}

#define PATIENCE_MS 10000

#define WAIT_FOR(t, cond)                                                 \
	do {                                                              \
		int64_t until = clock_now().mono_ms + PATIENCE_MS;        \
		while (!(cond) && clock_now().mono_ms < until)            \
			loop_once((t)->loop, 50);                         \
		assert_true(cond);                                        \
	} while (0)

static void
input_is_offered_as_it_comes(void **state)
{
	struct talk *t = *state;

	assert_int_equal(write(t->peer, "hello", 5), 5);
	WAIT_FOR(t, buf_size(&t->seen) == 5);
	assert_string_equal(buf_str(&t->seen), "hello");
	assert_int_equal(conn_buffered(t->conn), 0);
}

static void
what_is_left_over_is_offered_again(void **state)
{
	struct talk *t = *state;

	t->take = 2;
	assert_int_equal(write(t->peer, "abc", 3), 3);
	WAIT_FOR(t, t->offers == 1);
	assert_int_equal(conn_buffered(t->conn), 1);
	assert_int_equal(write(t->peer, "defg", 4), 4);
	WAIT_FOR(t, t->offers == 2);
	assert_string_equal(buf_str(&t->seen), "abcd");
	conn_kick(t->conn);
	assert_string_equal(buf_str(&t->seen), "abcdef");
	t->take = 100;
	conn_kick(t->conn);
	assert_int_equal(conn_buffered(t->conn), 0);
	conn_kick(t->conn);
	assert_int_equal(t->offers, 4);
	assert_string_equal(buf_str(&t->seen), "abcdefg");
}

static void
a_pause_leaves_bytes_in_the_kernel(void **state)
{
	struct talk *t = *state;

	conn_pause(t->conn);
	assert_int_equal(write(t->peer, "x", 1), 1);
	loop_once(t->loop, 1);
	assert_int_equal(t->offers, 0);
	conn_resume(t->conn);
	WAIT_FOR(t, t->offers == 1);
}

static void
output_leaves_once_a_turn(void **state)
{
	struct talk *t = *state;
	char got[8];

	buf_adds(conn_out(t->conn), "one");
	conn_dirty(t->conn);
	buf_adds(conn_out(t->conn), "two");
	conn_dirty(t->conn);
	assert_int_equal(recv(t->peer, got, 8, MSG_DONTWAIT), -1);
	loop_once(t->loop, 0);
	assert_int_equal(recv(t->peer, got, 8, MSG_DONTWAIT), 6);
	assert_memory_equal(got, "onetwo", 6);
	assert_int_equal(t->drains, 1);
}

static void
a_slow_reader_gets_it_all(void **state)
{
	enum { SIZE = 3 << 20 };
	struct talk *t = *state;
	char *big = xmalloc(SIZE), *got = xmalloc(SIZE);
	size_t at = 0;

	t->max_output = SIZE;
	for (size_t i = 0; i < SIZE; i++)
		big[i] = (char)(i * 7 >> 3);
	buf_add(conn_out(t->conn), big, SIZE);
	conn_dirty(t->conn);
	while (at < SIZE) {
		ssize_t n = recv(t->peer, got + at, SIZE - at, MSG_DONTWAIT);

		if (n > 0)
			at += (size_t)n;
		else
			loop_once(t->loop, 50);
	}
	loop_once(t->loop, 0);
	assert_memory_equal(big, got, SIZE);
	assert_int_equal(t->ends, 0);
	assert_int_equal(t->drains, 1);
	free(big);
	free(got);
}

static void
a_reader_who_does_not_read_is_closed(void **state)
{
	struct talk *t = *state;
	char *big = xcalloc(1, 4 << 20);

	buf_add(conn_out(t->conn), big, 4 << 20);
	conn_dirty(t->conn);
	loop_once(t->loop, 0);
	assert_int_equal(t->ends, 1);
	assert_non_null(strstr(t->reason, "max_output"));
	loop_once(t->loop, 0);
	free(big);
}

static void
the_end_of_the_input_is_told_once(void **state)
{
	struct talk *t = *state;
	char got[8];

	assert_int_equal(write(t->peer, "bye", 3), 3);
	shutdown(t->peer, SHUT_WR);
	WAIT_FOR(t, t->eofs == 1);
	assert_string_equal(buf_str(&t->seen), "bye");
	loop_once(t->loop, 1);
	assert_int_equal(t->eofs, 1);
	assert_int_equal(t->ends, 0);
	/* Answers still reach it. */
	buf_adds(conn_out(t->conn), "ok");
	conn_finish(t->conn);
	loop_once(t->loop, 0);
	assert_int_equal(t->ends, 1);
	assert_int_equal(read(t->peer, got, 8), 2);
	assert_int_equal(read(t->peer, got, 8), 0);
}

static void
finish_ignores_further_input(void **state)
{
	struct talk *t = *state;

	assert_int_equal(write(t->peer, "late", 4), 4);
	conn_finish(t->conn);
	loop_once(t->loop, 0);
	assert_int_equal(t->ends, 1);
	assert_int_equal(t->offers, 0);
	conn_close(t->conn, "twice");
	assert_int_equal(t->ends, 1);
}

static void
a_vanished_peer_ends_it(void **state)
{
	struct talk *t = *state;

	close(t->peer);
	t->peer = dup(0);
	buf_adds(conn_out(t->conn), "anyone?");
	conn_dirty(t->conn);
	loop_once(t->loop, 0);
	assert_int_equal(t->ends, 1);
}

/* Loop. */

static int64_t due_at;
static int turns;

static int64_t
due_turn(void *arg)
{
	struct loop *l = arg;

	turns++;
	if (clock_now().mono_ms >= due_at)
		loop_stop(l);
	return due_at;
}

static void
the_loop_wakes_when_the_turn_said(void **state)
{
	struct loop *l = loop_new();

	(void)state;
	turns = 0;
	due_at = clock_now().mono_ms + 30;
	loop_on_turn(l, NULL, due_turn, l);
	loop_run(l);
	assert_true(clock_now().mono_ms >= due_at);
	assert_true(turns >= 2 && turns <= 5);
	loop_free(&l);
	assert_null(l);
}

static int wanted_turns;

static int64_t
counting_turn(void *arg)
{
	if (++turns >= wanted_turns)
		loop_stop(arg);
	return INT64_MAX;
}

static void *
wake_it(void *arg)
{
	loop_wake(arg);
	return NULL;
}

static void
any_thread_may_wake_it(void **state)
{
	struct loop *l = loop_new();
	pthread_t t;

	(void)state;
	turns = 0;
	wanted_turns = 2;
	loop_on_turn(l, NULL, counting_turn, l);
	thr_start(&t, "waker", wake_it, l);
	loop_run(l);
	thr_join(t);
	assert_int_equal(turns, 2);
	loop_free(&l);
}

static void
on_signal(void *arg, int signo)
{
	*(int *)arg = signo;
}

static void
signals_arrive_in_the_loop(void **state)
{
	struct loop *l = loop_new();
	int got = 0;

	(void)state;
	loop_on_signal(l, SIGUSR1, on_signal, &got);
	raise(SIGUSR1);
	assert_int_equal(got, 0);
	for (int i = 0; i < 100 && !got; i++)
		loop_once(l, 50);
	assert_int_equal(got, SIGUSR1);
	loop_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TALK(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TALK(input_is_offered_as_it_comes),
		TALK(what_is_left_over_is_offered_again),
		TALK(a_pause_leaves_bytes_in_the_kernel),
		TALK(output_leaves_once_a_turn),
		TALK(a_slow_reader_gets_it_all),
		TALK(a_reader_who_does_not_read_is_closed),
		TALK(the_end_of_the_input_is_told_once),
		TALK(finish_ignores_further_input),
		TALK(a_vanished_peer_ends_it),
#undef TALK
		cmocka_unit_test(the_loop_wakes_when_the_turn_said),
		cmocka_unit_test(any_thread_may_wake_it),
		cmocka_unit_test(signals_arrive_in_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
