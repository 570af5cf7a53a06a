/* SPDX-License-Identifier: MIT */
#include "rt/conn.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bsd/sys/queue.h>

#include "base/die.h"
#include "base/xalloc.h"

#define READ_SIZE 65536
#define KEEP_OUT 1024
#define DISCARDS 16

TAILQ_HEAD(conn_list, conn);

struct conn {
	struct conn_set *set;
	const struct conn_ops *ops;
	void *user;
	ev_io reader;
	ev_io writer;
	int fd;				/* -1 closed */
	bool dirty;
	bool eof;
	bool finishing;
	struct buf in;			/* what the owner has not taken */
	struct buf out;
	TAILQ_ENTRY(conn) dirty_entry;
	TAILQ_ENTRY(conn) entry;	/* in open, dying or dead */
};

/* scratch serves every read that finds no bytes left over, so that only a
 * command that came in pieces is ever copied. */
struct conn_set {
	struct ev_loop *ev;
	struct conn_list open;
	struct conn_list dirty;
	struct conn_list dying;		/* closed in this turn */
	struct conn_list dead;		/* closed in the last one */
	char scratch[READ_SIZE];
};

struct conn_set *
conn_set_new(struct loop *l)
{
	struct conn_set *s = xcalloc(1, sizeof(*s));

	s->ev = loop_ev(l);
	TAILQ_INIT(&s->open);
	TAILQ_INIT(&s->dirty);
	TAILQ_INIT(&s->dying);
	TAILQ_INIT(&s->dead);
	return s;
}

static void
free_all(struct conn_list *list)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, c, entry);
		free(c);
	}
}

void
conn_set_free(struct conn_set **sp)
{
	struct conn_set *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	CHECK(TAILQ_EMPTY(&s->open));
	free_all(&s->dying);
	free_all(&s->dead);
	free(s);
}

/* Offers len bytes at data, which are the front of everything unread. */
static size_t
offer(struct conn *c, const char *data, size_t len)
{
	size_t used;

	if (c->finishing)
		return len;
	used = c->ops->data(c->user, data, len);
	CHECK(used <= len);
	return used;
}

static void
offer_buffered(struct conn *c)
{
	size_t used = offer(c, buf_peek(&c->in), buf_size(&c->in));

	if (c->fd < 0)
		return;
	buf_consume(&c->in, used);
	if (buf_size(&c->in) == 0)
		buf_reset(&c->in, 0);
}

static void
take_eof(struct conn *c)
{
	c->eof = true;
	ev_io_stop(c->set->ev, &c->reader);
	if (!c->finishing)
		c->ops->eof(c->user);
}

bool
conn_read(struct conn *c)
{
	bool fresh = buf_size(&c->in) == 0;
	char *to = c->set->scratch;
	ssize_t n;
	size_t used;

	if (c->fd < 0 || c->eof)
		return false;
	if (!fresh)
		to = buf_reserve(&c->in, READ_SIZE);
	n = recv(c->fd, to, READ_SIZE, 0);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_close(c, strerror(errno));
		return false;
	}
	if (n == 0) {
		take_eof(c);
		return false;
	}
	if (!fresh) {
		buf_added(&c->in, (size_t)n);
		offer_buffered(c);
		return true;
	}
	used = offer(c, to, (size_t)n);
	if (c->fd >= 0)
		buf_add(&c->in, to + used, (size_t)n - used);
	return true;
}

void
conn_kick(struct conn *c)
{
	if (c->fd >= 0 && buf_size(&c->in) > 0)
		offer_buffered(c);
}

static void
on_readable(struct ev_loop *ev UNUSED, ev_io *w, int what UNUSED)
{
	(void)conn_read(w->data);
}

static void
on_writable(struct ev_loop *ev, ev_io *w, int what UNUSED)
{
	ev_io_stop(ev, w);
	conn_dirty(w->data);
}

struct conn *
conn_new(struct conn_set *s, int fd, const struct conn_ops *ops, void *user)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->set = s;
	c->ops = ops;
	c->user = user;
	c->fd = fd;
	ev_io_init(&c->reader, on_readable, fd, EV_READ);
	c->reader.data = c;
	ev_io_init(&c->writer, on_writable, fd, EV_WRITE);
	c->writer.data = c;
	TAILQ_INSERT_TAIL(&s->open, c, entry);
	ev_io_start(s->ev, &c->reader);
	return c;
}

struct buf *
conn_out(struct conn *c)
{
	return &c->out;
}

void
conn_dirty(struct conn *c)
{
	if (c->dirty || c->fd < 0)
		return;
	c->dirty = true;
	TAILQ_INSERT_TAIL(&c->set->dirty, c, dirty_entry);
}

void
conn_pause(struct conn *c)
{
	if (c->fd >= 0)
		ev_io_stop(c->set->ev, &c->reader);
}

void
conn_resume(struct conn *c)
{
	if (c->fd >= 0 && !c->eof)
		ev_io_start(c->set->ev, &c->reader);
}

size_t
conn_buffered(const struct conn *c)
{
	return buf_size(&c->in);
}

void
conn_finish(struct conn *c)
{
	if (c->fd < 0 || c->finishing)
		return;
	c->finishing = true;
	conn_pause(c);
	conn_dirty(c);
}

int
conn_fd(const struct conn *c)
{
	return c->fd;
}

void
conn_close(struct conn *c, const char *reason)
{
	struct conn_set *s = c->set;

	if (c->fd < 0)
		return;
	ev_io_stop(s->ev, &c->reader);
	ev_io_stop(s->ev, &c->writer);
	close(c->fd);
	c->fd = -1;
	if (c->dirty)
		TAILQ_REMOVE(&s->dirty, c, dirty_entry);
	TAILQ_REMOVE(&s->open, c, entry);
	TAILQ_INSERT_TAIL(&s->dying, c, entry);
	buf_done(&c->in);
	buf_done(&c->out);
	c->ops->closed(c->user, reason);
}

/* Closing a TCP socket that holds unread input resets the connection, and the
 * last answer may be lost with it: take that input off first. */
static void
close_finished(struct conn *c)
{
	(void)shutdown(c->fd, SHUT_WR);
	for (int i = 0; i < DISCARDS; i++)
		if (recv(c->fd, c->set->scratch, READ_SIZE, 0) <= 0)
			break;
	conn_close(c, "the conversation has ended");
}

static void
flush_one(struct conn *c, size_t max_output)
{
	while (buf_size(&c->out) > 0) {
		ssize_t n = send(c->fd, buf_peek(&c->out), buf_size(&c->out),
		    MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			ev_io_start(c->set->ev, &c->writer);
			break;
		}
		if (n < 0) {
			conn_close(c, strerror(errno));
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	if (buf_size(&c->out) > max_output) {
		conn_close(c, "more than max_output bytes were left unread");
		return;
	}
	if (buf_size(&c->out) > 0)
		return;
	buf_reset(&c->out, KEEP_OUT);
	if (c->finishing)
		close_finished(c);
	else
		c->ops->drained(c->user);
}

void
conn_set_flush(struct conn_set *s, size_t max_output)
{
	struct conn *c;

	free_all(&s->dead);
	TAILQ_CONCAT(&s->dead, &s->dying, entry);
	while ((c = TAILQ_FIRST(&s->dirty))) {
		TAILQ_REMOVE(&s->dirty, c, dirty_entry);
		c->dirty = false;
		flush_one(c, max_output);
	}
}
