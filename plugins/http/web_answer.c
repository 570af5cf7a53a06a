/* SPDX-License-Identifier: MIT */
/* What goes out, and the memory of a request. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/web_impl.h"

#define MEMORY_BLOCK 960

struct web_memory {
	struct web_memory *next;
	size_t used, size;
	_Alignas(16) char data[];
};

/* A header of the answer, until there is an MHD_Response to hold it. */
struct web_pending {
	struct web_pending *next;
	char *name, *value;
};

struct web_stream {
	struct web_conn *conn;
	struct text out;
	size_t limit;
	bool ended;
	void (*closed)(void *arg);
	void *arg;
};

struct web_socket {
	struct web_conn *conn;
	struct MHD_UpgradeResponseHandle *handle;
	bool opened;
	web_upgraded_fn *fn;
	void (*failed)(void *arg);
	void *arg;
};

/* ------------------------------------------------------------------ memory */

void *
web_alloc(struct web_req *r, size_t size)
{
	struct web_memory *m = r->memory;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!m || m->size - m->used < size) {
		size_t room = size > MEMORY_BLOCK ? size : MEMORY_BLOCK;

		m = mem_resize(NULL, sizeof(*m) + room);
		*m = (struct web_memory){.next = r->memory, .size = room};
		r->memory = m;
	}
	p = m->data + m->used;
	m->used += size;
	return p;
}

char *
web_printf(struct web_req *r, const char *fmt, ...)
{
	va_list ap, again;
	char *s;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	s = web_alloc(r, (size_t)n + 1);
	vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

/* ----------------------------------------------------------------- answers */

void
web_header(struct web_req *r, const char *name, const char *value)
{
	struct web_pending *h = web_alloc(r, sizeof(*h));

	h->name = web_printf(r, "%s", name);
	h->value = web_printf(r, "%s", value);
	h->next = r->pending;
	r->pending = h;
}

static void
add_headers(struct MHD_Response *m, const struct web_pending *h)
{
	for (; h; h = h->next)
		MHD_add_response_header(m, h->name, h->value);
}

enum MHD_Result
web_deliver(struct web_conn *c, struct web_req *r)
{
	struct MHD_Response *m = r->answer;
	enum MHD_Result rc;

	if (c->web->draining_at > 0 && !c->pipelines && web_nothing_unread(c))
		r->flags |= R_CLOSE;
	if (r->flags & R_CLOSE)
		MHD_add_response_header(m, "Connection", "close");
	if (c->phase != PHASE_OPEN)
		conn_enter(&c->web->conns, c, PHASE_SENDING, r->answer_bytes);
	rc = MHD_queue_response(c->mhd, (unsigned)r->status, m);
	MHD_destroy_response(m);
	r->answer = NULL;
	return rc;
}

static void
end(struct web_req *r)
{
	struct web_memory *m = r->memory, *next;
	struct web *w = r->web;

	w->ops.end(w->arg, r);
	if (!r->conn && --w->detached == 0 && w->closed)
		free(w);
	text_free(&r->body);
	free(r);
	for (; m; m = next) {
		next = m->next;
		free(m);
	}
}

void
web_over(struct web_req *r)
{
	if (!(r->flags & R_ANSWERED) && r->flags & R_COMPLETE) {
		web_detach(r);
		r->web->ops.gone(r->web->arg, r);
		return;
	}
	if (r->socket && !r->socket->opened)
		r->socket->failed(r->socket->arg);
	if (r->answer)
		MHD_destroy_response(r->answer);
	end(r);
}

void
web_detach(struct web_req *r)
{
	r->conn->orphan = true;
	r->conn->req = NULL;
	r->conn = NULL;
	r->web->detached++;
}

/* m is the answer; its headers have been added. */
static void
answer(struct web_req *r, int status, struct MHD_Response *m)
{
	r->status = status;
	r->answer = m;
	r->flags |= R_ANSWERED;
	ev_io_stop(r->conn->web->loop, &r->conn->watch);
	if (!(r->flags & R_INSIDE))
		web_resume(r->conn);
}

void
web_reply_closing(struct web_req *r)
{
	r->flags |= R_CLOSE;
}

void
web_reply(struct web_req *r, int status, const char *type, struct text *body)
{
	struct MHD_Response *m;
	struct text t = body ? *body : (struct text){0};

	if (body)
		*body = (struct text){0};
	/* Nobody is there to be answered. */
	if (!r->conn) {
		text_free(&t);
		end(r);
		return;
	}
	m = MHD_create_response_from_buffer(t.len, t.data,
	    MHD_RESPMEM_MUST_FREE);
	if (type)
		MHD_add_response_header(m, "Content-Type", type);
	add_headers(m, r->pending);
	r->answer_bytes = t.len;
	answer(r, status, m);
}

/* ----------------------------------------------------------------- streams */

static ssize_t
stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct web_stream *s = cls;
	size_t n = s->out.len < max ? s->out.len : max;

	(void)pos;
	if (n == 0) {
		if (s->ended || s->conn->shut)
			return MHD_CONTENT_READER_END_OF_STREAM;
		/* A reader that has nothing is called again at once. */
		web_suspend(s->conn);
		return 0;
	}
	memcpy(buf, s->out.data, n);
	memmove(s->out.data, s->out.data + n, s->out.len - n);
	s->out.len -= n;
	if (s->out.len == 0)
		text_free(&s->out);
	return (ssize_t)n;
}

static void
stream_over(void *cls)
{
	struct web_stream *s = cls;

	s->closed(s->arg);
	text_free(&s->out);
	free(s);
}

struct web_stream *
web_stream_open(struct web_req *r, const char *type, size_t limit,
    void (*closed)(void *arg), void *arg)
{
	struct web_stream *s = mem_new(sizeof(*s));
	struct MHD_Response *m;

	s->conn = r->conn;
	s->limit = limit;
	s->closed = closed;
	s->arg = arg;
	m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096,
	    stream_read, s, stream_over);
	MHD_add_response_header(m, "Content-Type", type);
	add_headers(m, r->pending);
	answer(r, 200, m);
	conn_enter(&r->conn->web->conns, r->conn, PHASE_OPEN, 0);
	web_watch(r);
	return s;
}

void
web_stream_push(struct web_stream *s, const char *data, size_t len)
{
	struct web_conn *c = s->conn;

	if (c->shut || s->ended)
		return;
	if (s->out.len + len > s->limit) {
		web_say(c->web, "%s: dropped: it reads its events too slowly"
		    " (http_stream_buffer is full)", c->name);
		web_cut(c);
		return;
	}
	text_add(&s->out, data, len);
	web_resume(c);
}

void
web_stream_end(struct web_stream *s)
{
	s->ended = true;
	web_resume(s->conn);
}

/* --------------------------------------------------------------- upgrading */

static void
on_upgraded(void *cls, struct MHD_Connection *mhd, void *con_cls,
    const char *early, size_t len, MHD_socket fd,
    struct MHD_UpgradeResponseHandle *handle)
{
	struct web_socket *s = cls;

	(void)con_cls;
	s->conn = web_conn_of(mhd);
	s->handle = handle;
	s->opened = true;
	conn_enter(&s->conn->web->conns, s->conn, PHASE_OPEN, 0);
	s->fn(s->arg, s, fd, early, len);
}

void
web_upgrade(struct web_req *r, const char *protocol, web_upgraded_fn *fn,
    void (*failed)(void *arg), void *arg)
{
	struct web_socket *s = web_alloc(r, sizeof(*s));
	struct MHD_Response *m;

	*s = (struct web_socket){.fn = fn, .failed = failed, .arg = arg};
	m = MHD_create_response_for_upgrade(on_upgraded, s);
	MHD_add_response_header(m, "Upgrade", protocol);
	add_headers(m, r->pending);
	answer(r, 101, m);
	r->socket = s;
}

void
web_socket_close(struct web_socket *s)
{
	s->conn->web->kick = true;
	MHD_upgrade_action(s->handle, MHD_UPGRADE_ACTION_CLOSE);
}
