/* SPDX-License-Identifier: MIT */
/*
 * The least that an HTTP server can do: answers each request on a port of
 * 127.0.0.1 with the same 200 and 36 bytes. One thread, epoll. As the service
 * that handlers call, and as the ceiling of what a load generator reaches on
 * this machine.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 65536
#define EVENTS 64

static const char reply[] = "HTTP/1.1 200 OK\r\n"
    "Content-Type: application/json\r\nContent-Length: 36\r\n\r\n"
    "{\"id\":\"123456789\",\"state\":\"waiting\"}";

struct conn {
	int fd;
	size_t have;
	char data[REQUEST_MAX];
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* Bytes of the first whole request, 0 when it is not all there. */
static size_t
request_size(const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4);
	const char *p;
	size_t size;

	if (!end)
		return 0;
	size = (size_t)(end - data) + 4;
	for (p = data; p < end; p++)
		if (*p == '\n' &&
		    strncasecmp(p + 1, "content-length:", 15) == 0)
			size += strtoul(p + 16, NULL, 10);
	return size <= len ? size : 0;
}

/* False when the client is gone. */
static int
serve(struct conn *c)
{
	ssize_t n = read(c->fd, c->data + c->have, REQUEST_MAX - c->have);
	size_t size;

	if (n <= 0)
		return 0;
	c->have += (size_t)n;
	while ((size = request_size(c->data, c->have)) > 0) {
		if (write(c->fd, reply, sizeof(reply) - 1) < 0)
			return 0;
		c->have -= size;
		memmove(c->data, c->data + size, c->have);
	}
	return c->have < REQUEST_MAX;
}

static void
welcome(int epoll, int listener)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct conn *c = malloc(sizeof(*c));
	int one = 1;

	if (!c)
		die("malloc");
	c->have = 0;
	c->fd = accept(listener, NULL, NULL);
	if (c->fd < 0)
		die("accept");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ev.data.ptr = c;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		die("epoll_ctl");
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event ev = {.events = EPOLLIN}, got[EVENTS];
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	int epoll = epoll_create1(0), n;

	if (argc != 2) {
		fprintf(stderr, "usage: answer PORT\n");
		return 2;
	}
	a.sin_port = htons((unsigned short)atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(listener, 1024) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev) < 0)
		die("listen");
	for (;;) {
		n = epoll_wait(epoll, got, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = got[i].data.ptr;

			if (!c) {
				welcome(epoll, listener);
			} else if (!serve(c)) {
				close(c->fd);
				free(c);
			}
		}
	}
}
