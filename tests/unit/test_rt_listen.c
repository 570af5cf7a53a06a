/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
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

#include "base/xalloc.h"
#include "rt/listen.h"

struct hall {
	struct loop *loop;
	struct listen_config config;
	struct listener *listener;
	char dir[40];
	char address[80];
	int guests;
	struct peer last;
};

static void
on_accept(void *arg, int fd, const struct peer *peer)
{
	struct hall *h = arg;

	h->guests++;
	h->last = *peer;
	close(fd);
}

static int
setup(void **state)
{
	struct hall *h = xcalloc(1, sizeof(*h));

	strcpy(h->dir, "/tmp/bellhop-test-XXXXXX");
	if (!mkdtemp(h->dir))
		return -1;
	snprintf(h->address, sizeof(h->address), "unix:%s/s", h->dir);
	h->loop = loop_new();
	h->config = (struct listen_config){.loop = h->loop,
	    .accepted = on_accept, .arg = h};
	*state = h;
	return 0;
}

static int
teardown(void **state)
{
	struct hall *h = *state;

	listen_free(&h->listener);
	loop_free(&h->loop);
	unlink(h->address + 5);
	rmdir(h->dir);
	free(h);
	return 0;
}

static void
addresses_are_checked(void **state)
{
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:",
	    "127.0.0.1:x", "127.0.0.1:65536", ":5", "::1:5", "[::1]", "[]:5",
	    "127.0.0.1:-1", "unix:"};
	struct hall *h = *state;
	struct err e;

	for (size_t i = 0; i < nitems(bad); i++) {
		assert_int_equal(listen_open(&h->listener, bad[i], &h->config,
		    &e), -1);
		assert_int_equal(e.code, BH_E_BADARG);
		assert_non_null(strstr(e.text, bad[i]));
		assert_non_null(strstr(e.text, "expected"));
	}
}

static void
tcp_port_0_is_chosen(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct hall *h = *state;
	struct err e;
	int fd, port;

	assert_int_equal(listen_open(&h->listener, "127.0.0.1:0", &h->config,
	    &e), 0);
	assert_true(listen_is_local(h->listener));
	assert_int_equal(sscanf(listen_address(h->listener), "127.0.0.1:%d",
	    &port), 1);
	assert_true(port > 0);
	in.sin_port = htons((uint16_t)port);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	/* Not before it is started: it waits in the backlog. */
	loop_once(h->loop, 1);
	assert_int_equal(h->guests, 0);
	listen_start(h->listener);
	for (int i = 0; i < 100 && h->guests == 0; i++)
		loop_once(h->loop, 50);
	assert_int_equal(h->guests, 1);
	assert_true(h->last.loopback);
	assert_false(h->last.is_unix);
	assert_memory_equal(h->last.name, "127.0.0.1:", 10);
	close(fd);
}

static void
any_address_is_not_local(void **state)
{
	struct hall *h = *state;
	struct err e;

	assert_int_equal(listen_open(&h->listener, "0.0.0.0:0", &h->config,
	    &e), 0);
	assert_false(listen_is_local(h->listener));
}

static int
dial(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
unix_sockets_know_their_peer(void **state)
{
	struct hall *h = *state;
	struct stat st;
	struct err e;
	char want[40];
	int fd;

	assert_int_equal(listen_open(&h->listener, h->address, &h->config,
	    &e), 0);
	assert_string_equal(listen_address(h->listener), h->address);
	assert_int_equal(stat(h->address + 5, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	listen_start(h->listener);
	fd = dial(h->address + 5);
	for (int i = 0; i < 100 && h->guests == 0; i++)
		loop_once(h->loop, 50);
	assert_true(h->last.is_unix);
	snprintf(want, sizeof(want), "unix:pid=%d,uid=%d", (int)getpid(),
	    (int)getuid());
	assert_string_equal(h->last.name, want);
	close(fd);
	listen_free(&h->listener);
	assert_int_equal(stat(h->address + 5, &st), -1);
}

static void
a_stale_socket_is_replaced_and_a_living_one_is_not(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct hall *h = *state;
	struct listener *second;
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(un.sun_path, h->address + 5);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	assert_int_equal(listen_open(&h->listener, h->address, &h->config,
	    &e), 0);
	assert_int_equal(listen_open(&second, h->address, &h->config, &e), -1);
	assert_non_null(strstr(e.text, "another process listens"));
	fd = dial(h->address + 5);
	assert_true(fd >= 0);
	close(fd);
}

static void
a_file_in_the_way_is_left_alone(void **state)
{
	struct hall *h = *state;
	struct err e;
	FILE *f = fopen(h->address + 5, "w");

	assert_non_null(f);
	fclose(f);
	assert_int_equal(listen_open(&h->listener, h->address, &h->config,
	    &e), -1);
	assert_non_null(strstr(e.text, "something else than a socket"));
	assert_int_equal(access(h->address + 5, F_OK), 0);
}

static void
only_listening_sockets_are_adopted(void **state)
{
	struct hall *h = *state;
	struct err e;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(listen_adopt(&h->listener, fd, &h->config, &e), -1);
	assert_non_null(strstr(e.text, "not a listening socket"));
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(listen_adopt(&h->listener, fd, &h->config, &e), 0);
	assert_int_equal(listen_inherit("resp", &fd, 1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define HALL(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		HALL(addresses_are_checked),
		HALL(tcp_port_0_is_chosen),
		HALL(any_address_is_not_local),
		HALL(unix_sockets_know_their_peer),
		HALL(a_stale_socket_is_replaced_and_a_living_one_is_not),
		HALL(a_file_in_the_way_is_left_alone),
		HALL(only_listening_sockets_are_adopted),
#undef HALL
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
