/* SPDX-License-Identifier: MIT */
#include "ctl/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/xalloc.h"

#define PATIENCE_S 30
#define DEFAULT_PORT "7380"

struct client {
	int fd;
	char *name;			/* for people */
	int patience;			/* seconds */
	struct buf in;
	size_t used;			/* bytes of in that answer covers */
	bool answered;
	struct resp_value answer;
	char *error;			/* of the last answer, or NULL */
};

void
client_target_done(struct client_target *t)
{
	free(t->path);
	free(t->host);
	free(t->port);
	free(t->user);
	free(t->token);
	*t = (struct client_target){0};
}

static int
parse_host(const char *s, size_t len, struct client_target *t, struct err *e)
{
	const char *end = s + len, *host = s, *colon;

	if (len > 0 && s[0] == '[') {
		const char *close = memchr(s, ']', len);

		if (!close)
			return err_set(e, BH_E_BADARG, "\"%.*s\": the "
			    "address has no closing ]", (int)len, s);
		host = s + 1;
		colon = close + 1 < end && close[1] == ':' ? close + 1 : NULL;
		end = close;
	} else {
		colon = memchr(s, ':', len);
		end = colon ? colon : end;
	}
	if (end == host)
		return err_set(e, BH_E_BADARG, "\"%.*s\": expected HOST:PORT",
		    (int)len, s);
	t->host = xstrndup(host, (size_t)(end - host));
	t->port = colon && colon + 1 < s + len ?
	    xstrndup(colon + 1, (size_t)(s + len - colon - 1)) :
	    xstrdup(DEFAULT_PORT);
	return 0;
}

/* What comes after "redis://". */
static int
parse_url(const char *s, struct client_target *t, struct err *e)
{
	size_t len = strcspn(s, "/?");
	const char *at = memrchr(s, '@', len), *colon;

	if (at) {
		colon = memchr(s, ':', (size_t)(at - s));
		if (colon && colon > s)
			t->user = xstrndup(s, (size_t)(colon - s));
		colon = colon ? colon + 1 : s;
		t->token = xstrndup(colon, (size_t)(at - colon));
		len -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	return parse_host(s, len, t, e);
}

int
client_target_parse(const char *s, struct client_target *ret, struct err *e)
{
	struct client_target t = {0};
	const char *rest = strstr(s, "://");
	int rc = 0;

	if (strncmp(s, "unix:", 5) == 0)
		t.path = xstrdup(rest == s + 4 ? s + 7 : s + 5);
	else if (s[0] == '/' || s[0] == '.')
		t.path = xstrdup(s);
	else if (strncmp(s, "redis://", 8) == 0 ||
	    strncmp(s, "bellhop://", 10) == 0)
		rc = parse_url(rest + 3, &t, e);
	else if (rest)
		rc = err_set(e, BH_E_BADARG, "\"%s\": expected "
		    "redis://[user:token@]host:port, bellhop://… or "
		    "unix:PATH", s);
	else
		rc = parse_host(s, strlen(s), &t, e);
	if (rc != 0)
		client_target_done(&t);
	else
		*ret = t;
	return rc;
}

static void
set_timeout(struct client *c)
{
	struct timeval tv = {.tv_sec = c->patience};

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

void
client_patience(struct client *c, int seconds)
{
	c->patience = seconds;
	set_timeout(c);
}

static int
connect_unix(struct client *c, const char *path, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *hint = "";

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, BH_E_BADARG, "%.120s: longer than %zu "
		    "bytes, no socket has such a name", path,
		    sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_set(e, BH_E_IO, "socket: %s", strerror(errno));
	set_timeout(c);
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return 0;
	if (errno == ENOENT || errno == ECONNREFUSED)
		hint = " (is bellhopd running? systemctl status bellhop)";
	else if (errno == EACCES)
		hint = " (only root and the group bellhop may)";
	return err_set(e, BH_E_IO, "cannot connect to %s: %s%s", path,
	    strerror(errno), hint);
}

static int
connect_tcp(struct client *c, const struct client_target *t, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int one = 1, saved = 0;
	int rc = getaddrinfo(t->host, t->port, &hints, &list);

	if (rc != 0)
		return err_set(e, BH_E_IO, "%s: %s", c->name,
		    gai_strerror(rc));
	for (a = list; a; a = a->ai_next) {
		c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0) {
			saved = errno;
			continue;
		}
		set_timeout(c);
		if (connect(c->fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		saved = errno;
		close(c->fd);
		c->fd = -1;
	}
	freeaddrinfo(list);
	if (c->fd < 0)
		return err_set(e, BH_E_IO, "cannot connect to %s: %s%s",
		    c->name, strerror(saved), saved == ECONNREFUSED ?
		    " (is bellhopd running?)" : "");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

static int
say_hello(struct client *c, const struct client_target *t, struct err *e)
{
	const char *user = t->user ? t->user : "default";
	struct bh_bytes argv[5] = {{"HELLO", 5}, {"3", 1}};
	const struct resp_value *answer;
	size_t argc = 2;

	if (t->token) {
		argv[2] = (struct bh_bytes){"AUTH", 4};
		argv[3] = (struct bh_bytes){user, strlen(user)};
		argv[4] = (struct bh_bytes){t->token, strlen(t->token)};
		argc = 5;
	}
	return client_call(c, argv, argc, &answer, e);
}

int
client_open(struct client **ret, const struct client_target *target,
    struct err *e)
{
	struct client *c = xcalloc(1, sizeof(*c));
	int rc;

	c->fd = -1;
	c->patience = PATIENCE_S;
	c->name = target->path ? xstrdup(target->path) :
	    xasprintf("%s:%s", target->host, target->port);
	rc = target->path ? connect_unix(c, target->path, e) :
	    connect_tcp(c, target, e);
	if (rc == 0)
		rc = say_hello(c, target, e);
	if (rc != 0)
		client_close(&c);
	else
		*ret = c;
	return rc;
}

static void
drop_answer(struct client *c)
{
	if (!c->answered)
		return;
	resp_value_done(&c->answer);
	buf_consume(&c->in, c->used);
	c->answered = false;
}

void
client_close(struct client **cp)
{
	struct client *c = *cp;

	if (!c)
		return;
	drop_answer(c);
	if (c->fd >= 0)
		close(c->fd);
	buf_done(&c->in);
	free(c->error);
	free(c->name);
	free(c);
	*cp = NULL;
}

static int
fail_io(const struct client *c, const char *what, struct err *e)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return err_set(e, BH_E_IO, "%s: no answer within %d seconds",
		    c->name, c->patience);
	return err_set(e, BH_E_IO, "%s: %s: %s", c->name, what,
	    strerror(errno));
}

static int
send_all(struct client *c, const char *p, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_io(c, "cannot send", e);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
fill(struct client *c, struct err *e)
{
	size_t room = buf_size(&c->in) + 65536;
	ssize_t n;

	do
		n = recv(c->fd, buf_reserve(&c->in, room), room, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail_io(c, "cannot read", e);
	if (n == 0)
		return err_set(e, BH_E_IO, "%s: the daemon closed the "
		    "connection", c->name);
	buf_added(&c->in, (size_t)n);
	return 0;
}

/* One whole answer; what is pushed meanwhile is not for us. */
static int
receive(struct client *c, struct err *e)
{
	int rc;

	for (;;) {
		rc = resp_decode(buf_peek(&c->in), buf_size(&c->in),
		    &c->answer, &c->used, e);
		if (rc < 0 || (rc == 0 && fill(c, e) != 0))
			return -1;
		c->answered = rc > 0;
		if (c->answered && c->answer.type != RESP_PUSH)
			return 0;
		drop_answer(c);
	}
}

int
client_call(struct client *c, const struct bh_bytes *argv, size_t argc,
    const struct resp_value **ret, struct err *e)
{
	struct buf out = BUF_INIT;
	int rc;

	drop_answer(c);
	free(c->error);
	c->error = NULL;
	resp_put_command(&out, argv, argc);
	rc = send_all(c, buf_peek(&out), buf_size(&out), e);
	buf_done(&out);
	if (rc == 0)
		rc = receive(c, e);
	if (rc != 0)
		return rc;
	if (c->answer.type == RESP_ERROR) {
		c->error = xstrndup(c->answer.s.data, c->answer.s.len);
		return err_set(e, BH_E_ERR, "%s", c->error);
	}
	*ret = &c->answer;
	return 0;
}

int
client_next(struct client *c, const struct resp_value **ret, struct err *e)
{
	drop_answer(c);
	if (receive(c, e) != 0)
		return -1;
	if (c->answer.type == RESP_ERROR)
		return err_set(e, BH_E_ERR, "%.*s", (int)c->answer.s.len,
		    c->answer.s.data);
	*ret = &c->answer;
	return 0;
}

const char *
client_error(const struct client *c)
{
	return c->error;
}
