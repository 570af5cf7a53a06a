/* SPDX-License-Identifier: MIT */
#include "rt/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"

#define BACKLOG 511
#define ACCEPTS_A_TURN 64
#define SOCKET_GROUP "bellhop"

union any_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

struct listener {
	ev_io watcher;
	struct listen_config config;
	char *address;
	char *unlink_path;		/* of a socket that we made */
	bool local;
	bool out_of_fds;		/* said so, until one is accepted */
	int spare_fd;			/* given up to turn a client away */
};

static bool
is_loopback(const union any_addr *a)
{
	const struct in6_addr *six = &a->in6.sin6_addr;

	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	if (a->sa.sa_family != AF_INET6)
		return false;
	return IN6_IS_ADDR_LOOPBACK(six) ||
	    (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

static void
addr_name(const union any_addr *a, socklen_t len, char *out, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "?";
	size_t path_at = offsetof(struct sockaddr_un, sun_path);

	if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, text, sizeof(text));
		snprintf(out, size, "%s:%d", text, ntohs(a->in.sin_port));
	} else if (a->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, text, sizeof(text));
		snprintf(out, size, "[%s]:%d", text, ntohs(a->in6.sin6_port));
	} else {
		snprintf(out, size, "unix:%.*s",
		    len > path_at ? (int)(len - path_at) : 0, a->un.sun_path);
	}
}

static void
peer_of(int fd, const union any_addr *a, struct peer *ret)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	*ret = (struct peer){0};
	if (a->sa.sa_family == AF_UNIX) {
		ret->is_unix = true;
		(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
		snprintf(ret->name, sizeof(ret->name), "unix:pid=%d,uid=%d",
		    (int)cred.pid, (int)cred.uid);
		return;
	}
	ret->loopback = is_loopback(a);
	addr_name(a, sizeof(*a), ret->name, sizeof(ret->name));
}

/* Turns one client away with the descriptor that was kept for this. */
static void
refuse_one(struct listener *l)
{
	const char *text = l->config.refusal;
	int fd;

	if (!l->out_of_fds) {
		log_about(LOG_ERROR, LOG_OF(CONNECTIONS_FULL), "%s: no descriptor is left for new connections: %s;"
		    " raise LimitNOFILE or lower max_connections", l->address,
		    strerror(errno));
		l->out_of_fds = true;
	}
	close(l->spare_fd);
	fd = accept4(l->watcher.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		if (text)
			(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
		close(fd);
	}
	l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
on_readable(struct ev_loop *ev UNUSED, ev_io *w, int what UNUSED)
{
	struct listener *l = w->data;
	int on = 1;

	for (int i = 0; i < ACCEPTS_A_TURN && ev_is_active(w); i++) {
		union any_addr a = {0};
		socklen_t len = sizeof(a);
		struct peer peer;
		int fd = accept4(w->fd, &a.sa, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			refuse_one(l);
		if (fd < 0)
			return;
		l->out_of_fds = false;
		if (a.sa.sa_family != AF_UNIX) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
			    sizeof(on));
			(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on,
			    sizeof(on));
		}
		peer_of(fd, &a, &peer);
		l->config.accepted(l->config.arg, fd, &peer);
	}
}

int
listen_adopt(struct listener **ret, int fd, const struct listen_config *config,
    struct err *e)
{
	union any_addr a = {0};
	socklen_t len = sizeof(a), optlen = sizeof(int);
	int listening = 0;
	struct listener *l;
	char name[160];

	if (getsockname(fd, &a.sa, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening,
	    &optlen) < 0 || !listening)
		return err_set(e, BH_E_ERR,
		    "descriptor %d is not a listening socket", fd);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_set(e, BH_E_ERR, "descriptor %d: %s", fd,
		    strerror(errno));
	addr_name(&a, len, name, sizeof(name));
	l = xcalloc(1, sizeof(*l));
	l->config = *config;
	l->address = xstrdup(name);
	l->local = a.sa.sa_family == AF_UNIX || is_loopback(&a);
	l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ev_io_init(&l->watcher, on_readable, fd, EV_READ);
	l->watcher.data = l;
	*ret = l;
	return 0;
}

/* Makes way for a new socket: what a dead daemon left behind is removed. */
static int
clear_path(const struct sockaddr_un *un, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (lstat(un->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, BH_E_ERR, "unix:%s: there is something else"
		    " than a socket", un->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)un,
	    sizeof(*un));
	if (rc < 0 && errno != ECONNREFUSED)
		rc = errno == EAGAIN ? 0 : rc;	/* its backlog is full */
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		return err_set(e, BH_E_ERR, "unix:%s: another process listens"
		    " there; is bellhopd running already?", un->sun_path);
	if (unlink(un->sun_path) < 0 && errno != ENOENT)
		return err_set(e, BH_E_ERR, "unix:%s: the stale socket cannot"
		    " be removed: %s", un->sun_path, strerror(errno));
	return 0;
}

static int
open_unix(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct group *group = getgrnam(SOCKET_GROUP);
	mode_t mask;
	int fd, rc;

	if (!*path || strlen(path) >= sizeof(un.sun_path))
		return err_set(e, BH_E_BADARG, "unix:%s: a path of 1 to %zu"
		    " bytes is expected", path, sizeof(un.sun_path) - 1);
	strcpy(un.sun_path, path);
	if (clear_path(&un, e) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, BH_E_ERR, "unix:%s: %s", path,
		    strerror(errno));
	/* Never open to others, not even for a moment. */
	mask = umask(0117);
	rc = bind(fd, (struct sockaddr *)&un, sizeof(un));
	umask(mask);
	if (rc < 0 || listen(fd, BACKLOG) < 0) {
		err_set(e, BH_E_ERR, "unix:%s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	if (group && chown(path, (uid_t)-1, group->gr_gid) < 0)
		log_debug("unix:%s: the group stays as it is: %s", path,
		    strerror(errno));
	*ret_fd = fd;
	return 0;
}

/* Cuts "HOST:PORT" or "[HOST]:PORT" into its parts. */
static int
split_address(const char *address, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;

	if (!colon || len == 0 || len >= size || !colon[1] ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    strlen(colon + 1) > 5 || atoi(colon + 1) > 65535)
		return -1;
	if (*address == '[') {
		if (address[len - 1] != ']')
			return -1;
		address++;
		len -= 2;
	} else if (memchr(address, ':', len)) {
		return -1;
	}
	memcpy(host, address, len);
	host[len] = '\0';
	*port = colon + 1;
	return len > 0 ? 0 : -1;
}

static int
open_tcp(const char *address, int *ret_fd, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE};
	struct addrinfo *found;
	char host[256];
	const char *port;
	int fd, rc, on = 1;

	if (split_address(address, host, sizeof(host), &port) < 0)
		return err_set(e, BH_E_BADARG, "'%s' is no address: unix:PATH,"
		    " HOST:PORT or [IPv6]:PORT is expected", address);
	rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &hints,
	    &found);
	if (rc != 0)
		return err_set(e, BH_E_ERR, "%s: %s", address,
		    gai_strerror(rc));
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
		    sizeof(on));
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		rc = err_set(e, BH_E_ERR, "%s: %s%s", address, strerror(errno),
		    errno == EADDRINUSE ? "; another program has this port: "
		    "'ss -ltnp' says which" : errno == EADDRNOTAVAIL ?
		    "; this machine has no such address" : "");
		if (fd >= 0)
			close(fd);
	}
	freeaddrinfo(found);
	if (rc == 0)
		*ret_fd = fd;
	return rc;
}

int
listen_open(struct listener **ret, const char *address,
    const struct listen_config *config, struct err *e)
{
	bool is_unix = strncmp(address, "unix:", 5) == 0;
	int fd;

	if (is_unix ? open_unix(address + 5, &fd, e) < 0 :
	    open_tcp(address, &fd, e) < 0)
		return -1;
	if (listen_adopt(ret, fd, config, e) < 0) {
		close(fd);
		return -1;
	}
	if (is_unix)
		(*ret)->unlink_path = xstrdup(address + 5);
	return 0;
}

size_t
listen_inherit(const char *name, int *fds, size_t max)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names);
	size_t found = 0;

	for (int i = 0; i < n; i++) {
		if (strcmp(names[i], name) == 0 && found < max)
			fds[found++] = SD_LISTEN_FDS_START + i;
		free(names[i]);
	}
	free(names);
	return found;
}

void
listen_start(struct listener *l)
{
	ev_io_start(loop_ev(l->config.loop), &l->watcher);
}

void
listen_stop(struct listener *l)
{
	ev_io_stop(loop_ev(l->config.loop), &l->watcher);
}

void
listen_free(struct listener **lp)
{
	struct listener *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	listen_stop(l);
	close(l->watcher.fd);
	if (l->spare_fd >= 0)
		close(l->spare_fd);
	if (l->unlink_path)
		(void)unlink(l->unlink_path);
	free(l->unlink_path);
	free(l->address);
	free(l);
}

const char *
listen_address(const struct listener *l)
{
	return l->address;
}

bool
listen_is_local(const struct listener *l)
{
	return l->local;
}
