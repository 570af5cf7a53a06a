/* SPDX-License-Identifier: MIT */
#include "http/wsconn.h"

#include <errno.h>
#include <ev.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "http/text.h"

/* Clients have nothing to say here but control frames. */
#define RECEIVE_MAX 4096
/* Read in one go: who sends more lets others have their turn. */
#define READ_MAX 65536
/* Pings that are owed an answer, from one who does not read them. */
#define PONGS_MAX 1024

struct ws {
	ev_io io;
	struct ev_loop *loop;
	int fd;
	wslay_event_context_ptr ctx;
	char *early;
	size_t early_len, early_at;
	size_t limit;
	size_t may_read;		/* in this go */
	unsigned pongs;			/* since nothing was queued */
	bool pinged;			/* and no pong yet */
	bool closing;
	const char *dead;
	void (*died)(void *arg);
	void *arg;
};

int
ws_accept_key(const char *key, size_t len, char ret[WS_ACCEPT_SIZE])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct text t = {0};
	unsigned n = 0;
	int ok;

	ok = base64_decode(&t, key, len) == 0 && t.len == 16;
	t.len = 0;
	text_add(&t, key, len);
	text_adds(&t, guid);
	ok = ok && EVP_Digest(t.data, t.len, digest, &n, EVP_sha1(), NULL);
	text_free(&t);
	if (!ok)
		return -1;
	return EVP_EncodeBlock((unsigned char *)ret, digest, (int)n) > 0 ? 0 :
	    -1;
}

static void
die(struct ws *w, const char *why)
{
	if (w->dead)
		return;
	w->dead = why;
	ev_io_stop(w->loop, &w->io);
	w->died(w->arg);
}

static ssize_t
on_recv(wslay_event_context_ptr ctx, uint8_t *to, size_t max, int flags,
    void *user)
{
	struct ws *w = user;
	ssize_t n;

	(void)flags;
	if (w->early_at < w->early_len) {
		size_t some = w->early_len - w->early_at;

		some = some < max ? some : max;
		memcpy(to, w->early + w->early_at, some);
		w->early_at += some;
		return (ssize_t)some;
	}
	max = max < w->may_read ? max : w->may_read;
	do
		n = max > 0 ? recv(w->fd, to, max, 0) : -1;
	while (n < 0 && max > 0 && errno == EINTR);
	if (n > 0) {
		w->may_read -= (size_t)n;
		return n;
	}
	wslay_event_set_error(ctx, n < 0 && (max == 0 || errno == EAGAIN) ?
	    WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t
on_send(wslay_event_context_ptr ctx, const uint8_t *from, size_t len,
    int flags, void *user)
{
	struct ws *w = user;
	ssize_t n;

	do
		n = send(w->fd, from, len, MSG_NOSIGNAL |
		    (flags & WSLAY_MSG_MORE ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		wslay_event_set_error(ctx, errno == EAGAIN ?
		    WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return n;
}

static void
on_message(wslay_event_context_ptr ctx,
    const struct wslay_event_on_msg_recv_arg *m, void *user)
{
	struct ws *w = user;

	(void)ctx;
	if (m->opcode == WSLAY_PONG)
		w->pinged = false;
	else if (m->opcode == WSLAY_PING)
		w->pongs++;
}

/* What there is to do now, and what to wait for. */
static void
pump(struct ws *w)
{
	int events = 0;

	if (w->dead)
		return;
	if (wslay_event_want_write(w->ctx) && wslay_event_send(w->ctx) != 0) {
		die(w, "it has gone");
		return;
	}
	if (wslay_event_get_queued_msg_count(w->ctx) == 0) {
		w->pongs = 0;
	} else if (w->pongs > PONGS_MAX) {
		die(w, "it reads no answers to its pings");
		return;
	}
	/* A client that has been told to go may do so at once. */
	if (w->closing && wslay_event_get_queued_msg_count(w->ctx) == 0) {
		die(w, "closed");
		return;
	}
	if (wslay_event_want_read(w->ctx))
		events |= EV_READ;
	if (wslay_event_want_write(w->ctx))
		events |= EV_WRITE;
	if (events == 0) {
		die(w, "closed");
		return;
	}
	if (ev_is_active(&w->io) && (w->io.events & (EV_READ | EV_WRITE)) ==
	    events)
		return;
	ev_io_stop(w->loop, &w->io);
	ev_io_set(&w->io, w->fd, events);
	ev_io_start(w->loop, &w->io);
}

static void
on_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct ws *w = io->data;

	(void)loop;
	w->may_read = READ_MAX;
	if (events & EV_READ && wslay_event_recv(w->ctx) != 0) {
		die(w, "it has gone");
		return;
	}
	pump(w);
}

struct ws *
ws_new(struct ev_loop *loop, int fd, const char *early, size_t len,
    size_t limit, void (*died)(void *arg), void *arg)
{
	static const struct wslay_event_callbacks callbacks = {
	    .recv_callback = on_recv, .send_callback = on_send,
	    .on_msg_recv_callback = on_message};
	struct ws *w = mem_new(sizeof(*w));

	w->loop = loop;
	w->fd = fd;
	w->limit = limit;
	w->died = died;
	w->arg = arg;
	w->early = mem_copy(early, len);
	w->early_len = len;
	if (wslay_event_context_server_init(&w->ctx, &callbacks, w) != 0)
		abort();
	wslay_event_config_set_max_recv_msg_length(w->ctx, RECEIVE_MAX);
	ev_io_init(&w->io, on_io, fd, EV_READ);
	w->io.data = w;
	ev_io_start(loop, &w->io);
	/* There may be frames in early. */
	ev_feed_event(loop, &w->io, EV_READ);
	return w;
}

void
ws_free(struct ws **wp)
{
	struct ws *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	ev_io_stop(w->loop, &w->io);
	wslay_event_context_free(w->ctx);
	free(w->early);
	free(w);
}

void
ws_send(struct ws *w, const char *text, size_t len)
{
	struct wslay_event_msg m = {.opcode = WSLAY_TEXT_FRAME,
	    .msg = (const uint8_t *)text, .msg_length = len};

	if (w->dead || w->closing)
		return;
	if (wslay_event_get_queued_msg_length(w->ctx) + len > w->limit) {
		die(w, "it reads its events too slowly (http_stream_buffer is"
		    " full)");
		return;
	}
	if (wslay_event_queue_msg(w->ctx, &m) != 0)
		die(w, "it has gone");
	pump(w);
}

void
ws_ping(struct ws *w)
{
	struct wslay_event_msg m = {.opcode = WSLAY_PING};

	if (w->dead || w->closing)
		return;
	if (w->pinged) {
		die(w, "it does not answer");
		return;
	}
	w->pinged = true;
	wslay_event_queue_msg(w->ctx, &m);
	pump(w);
}

void
ws_close(struct ws *w, unsigned code)
{
	if (w->dead || w->closing)
		return;
	w->closing = true;
	wslay_event_queue_close(w->ctx, (uint16_t)code, NULL, 0);
	pump(w);
}

const char *
ws_dead(const struct ws *w)
{
	return w->dead;
}
