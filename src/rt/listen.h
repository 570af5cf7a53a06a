/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets: made from an address in the configuration or inherited
 * from systemd. Nothing is accepted before listen_start(), and while stopped
 * new connections stay in the backlog.
 *
 * Loop thread only.
 */
#ifndef RT_LISTEN_H
#define RT_LISTEN_H

#include <stdbool.h>

#include "base/err.h"
#include "rt/loop.h"

/* Who has connected. */
struct peer {
	bool is_unix;
	bool loopback;			/* TCP from this machine */
	char name[80];			/* "127.0.0.1:5012", "unix:pid=7,uid=0" */
};

struct listener;

struct listen_config {
	struct loop *loop;
	/* fd is non-blocking and the callee's. */
	void (*accepted)(void *arg, int fd, const struct peer *peer);
	void *arg;
	/* Sent to a client before it is turned away for want of descriptors;
	 * a string constant. */
	const char *refusal;
};

/* address: "unix:PATH", "HOST:PORT", "[::1]:PORT"; port 0 lets the system
 * choose. A stale unix socket is replaced; it gets mode 0660 and the group
 * bellhop where that exists. */
MUSTCHECK int listen_open(struct listener **ret, const char *address,
    const struct listen_config *config, struct err *e);
/* Takes over a socket that listens already. */
MUSTCHECK int listen_adopt(struct listener **ret, int fd,
    const struct listen_config *config, struct err *e);
/* Descriptors that systemd passes under this FileDescriptorName, at most max;
 * the number of them. */
size_t listen_inherit(const char *name, int *fds, size_t max);

void listen_start(struct listener *l);
void listen_stop(struct listener *l);
/* Closes it, and removes the unix socket that listen_open() made. */
void listen_free(struct listener **l);

/* Where it really listens: "127.0.0.1:7380", "[::1]:7380", "unix:/run/x". */
const char *listen_address(const struct listener *l);
/* True for unix sockets and loopback addresses. */
bool listen_is_local(const struct listener *l);

#endif
