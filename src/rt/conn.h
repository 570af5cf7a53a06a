/* SPDX-License-Identifier: MIT */
/*
 * Buffered stream sockets. Input is offered to the owner as it comes; output
 * gathers in a buffer and leaves once a turn, in conn_set_flush(). A quiet
 * connection holds no buffer.
 *
 * Life cycle: conn_new() takes over a descriptor. Every connection ends with
 * one closed() call: from conn_close(), after conn_finish() has sent all, or
 * because the peer or the network ended it. The pointer stays valid for one
 * more turn, so a late event hits nothing freed.
 *
 * Loop thread only.
 */
#ifndef RT_CONN_H
#define RT_CONN_H

#include <stdbool.h>

#include "base/buf.h"
#include "rt/loop.h"

struct conn;
struct conn_set;

struct conn_ops {
	/* All the bytes that are there; answers how many it took. The rest
	 * is offered again, with more behind it. */
	size_t (*data)(void *user, const char *data, size_t len);
	/* No more bytes will come; output is still sent. */
	void (*eof)(void *user);
	/* All output has been handed to the kernel. */
	void (*drained)(void *user);
	/* The end, with a reason for people; no call follows. */
	void (*closed)(void *user, const char *reason);
};

struct conn_set *conn_set_new(struct loop *l);
/* Every connection must have been closed. */
void conn_set_free(struct conn_set **s);
/* Once a turn: sends what has gathered; who leaves more than max_output bytes
 * unread is closed. */
void conn_set_flush(struct conn_set *s, size_t max_output);

struct conn *conn_new(struct conn_set *s, int fd, const struct conn_ops *ops,
    void *user);

/* Append answers here, then call conn_dirty(). */
struct buf *conn_out(struct conn *c);
void conn_dirty(struct conn *c);

/* Whether to read from the socket. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* Reads some of what the kernel has, and offers it; false: there is none. */
bool conn_read(struct conn *c);
/* Offers the bytes that were left over again. */
void conn_kick(struct conn *c);
/* How many bytes were left over. */
size_t conn_buffered(const struct conn *c);

/* Closes once the output has been sent; input is ignored from now on. */
void conn_finish(struct conn *c);
/* Closes now. No-op when it is closed already. */
void conn_close(struct conn *c, const char *reason);
int conn_fd(const struct conn *c);

#endif
