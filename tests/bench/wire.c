/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void
fail(const char *fmt, ...)
{
	va_list ap;

	fputs("load: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int
connect_unix(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(sa.sun_path))
		fail("%s: longer than a socket's path may be", path);
	strcpy(sa.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fail("cannot connect to %s: %s", path, strerror(errno));
	return fd;
}

static int
connect_tcp(const char *addr)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	const char *colon = strrchr(addr, ':');
	char host[64];
	int fd, one = 1;

	if (!colon || (size_t)(colon - addr) >= sizeof(host))
		fail("%s: expected unix:PATH or HOST:PORT", addr);
	memcpy(host, addr, (size_t)(colon - addr));
	host[colon - addr] = '\0';
	sa.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1)
		fail("%s: expected a numeric IPv4 address", addr);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fail("cannot connect to %s: %s", addr, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int
wire_connect(const char *addr)
{
	if (strncmp(addr, "unix:", 5) == 0)
		return connect_unix(addr + 5);
	return connect_tcp(addr);
}

/* Past the first line's \r\n, or 0. */
static size_t
line_len(const char *p, size_t n)
{
	const char *nl = memchr(p, '\n', n);

	return nl ? (size_t)(nl - p) + 1 : 0;
}

ssize_t
resp_reply_len(const char *p, size_t n)
{
	size_t at = line_len(p, n);
	ssize_t part;
	long items;

	if (!at)
		return 0;
	switch (p[0]) {
	case '+':
	case ':':
		return (ssize_t)at;
	case '$':
		items = strtol(p + 1, NULL, 10);
		if (items < 0)
			return (ssize_t)at;
		at += (size_t)items + 2;
		return at <= n ? (ssize_t)at : 0;
	case '*':
		items = strtol(p + 1, NULL, 10);
		for (; items > 0; items--) {
			part = resp_reply_len(p + at, n - at);
			if (part <= 0)
				return part;
			at += (size_t)part;
		}
		return (ssize_t)at;
	default:
		return -1;
	}
}

ssize_t
beanstalk_reply_len(const char *p, size_t n)
{
	size_t at = line_len(p, n);

	if (!at)
		return 0;
	return strncmp(p, "INSERTED ", 9) == 0 ? (ssize_t)at : -1;
}

static size_t
arg_len(const char *const *argv, const ssize_t *lens, int i)
{
	return lens && lens[i] >= 0 ? (size_t)lens[i] : strlen(argv[i]);
}

size_t
resp_command_size(int argc, const char *const *argv, const ssize_t *lens)
{
	size_t n = 32;

	for (int i = 0; i < argc; i++)
		n += arg_len(argv, lens, i) + 32;
	return n;
}

size_t
resp_command(char *out, int argc, const char *const *argv,
    const ssize_t *lens)
{
	size_t len, at = (size_t)sprintf(out, "*%d\r\n", argc);

	for (int i = 0; i < argc; i++) {
		len = arg_len(argv, lens, i);
		at += (size_t)sprintf(out + at, "$%zu\r\n", len);
		memcpy(out + at, argv[i], len);
		at += len;
		memcpy(out + at, "\r\n", 2);
		at += 2;
	}
	return at;
}

void
sync_open(struct sync *s, const char *addr)
{
	*s = (struct sync){.fd = wire_connect(addr), .cap = 1 << 16};
	s->buf = malloc(s->cap);
	if (!s->buf)
		fail("no memory");
}

void
sync_close(struct sync *s)
{
	close(s->fd);
	free(s->buf);
}

void
sync_write(struct sync *s, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	for (; len > 0; len -= (size_t)n, p += n) {
		n = write(s->fd, p, len);
		if (n < 0)
			fail("write: %s", strerror(errno));
	}
}

const char *
sync_read(struct sync *s, size_t *ret_len)
{
	ssize_t whole, n;

	memmove(s->buf, s->buf + s->used, s->len - s->used);
	s->len -= s->used;
	s->used = 0;
	while ((whole = resp_reply_len(s->buf, s->len)) == 0) {
		if (s->len == s->cap) {
			s->cap *= 2;
			s->buf = realloc(s->buf, s->cap);
			if (!s->buf)
				fail("no memory");
		}
		n = read(s->fd, s->buf + s->len, s->cap - s->len);
		if (n <= 0)
			fail("the server closed the connection");
		s->len += (size_t)n;
	}
	if (whole < 0)
		fail("the server says: %.*s",
		    (int)(s->len < 200 ? s->len : 200), s->buf);
	s->used = (size_t)whole;
	*ret_len = (size_t)whole;
	return s->buf;
}

const char *
sync_call(struct sync *s, size_t *ret_len, int argc, const char *const *argv)
{
	char *cmd = malloc(resp_command_size(argc, argv, NULL));

	if (!cmd)
		fail("no memory");
	sync_write(s, cmd, resp_command(cmd, argc, argv, NULL));
	free(cmd);
	return sync_read(s, ret_len);
}

int64_t
reply_field(const char *reply, size_t len, const char *name)
{
	char key[64];
	size_t n = (size_t)snprintf(key, sizeof(key), "%s\r\n:", name);
	const char *at = memmem(reply, len, key, n);

	if (!at)
		fail("no field %s in the reply", name);
	return strtoll(at + n, NULL, 10);
}
