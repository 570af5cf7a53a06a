/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 on connections that somebody else accepts. Bytes become requests,
 * answers become bytes; what they mean is said elsewhere (struct web_ops).
 *
 * A request: head() when its head is here, complete() when its body is too,
 * then exactly one of web_reply(), web_stream_open() and web_upgrade(), at
 * once or later; end() when it is over in every respect, and its memory goes.
 * A client that hangs up meanwhile is told by gone() if web_watch() asked for
 * it, or when its connection is closed first; the answer is still owed.
 *
 * Deadlines are swept by one timer, which runs only while there is a
 * connection: a request has web_limits.request_s to arrive, a connection may
 * rest for rest_s between two.
 *
 * Only web.c and web_answer.c see libmicrohttpd. Main thread.
 */
#ifndef HTTP_WEB_H
#define HTTP_WEB_H

#include <stdbool.h>
#include <stddef.h>

#include "plugin.h"
#include "http/text.h"

struct web;
struct web_conn;

enum web_method {
	WEB_GET = 1,
	WEB_HEAD = 2,
	WEB_POST = 4,
	WEB_PUT = 8,
	WEB_DELETE = 16,
	WEB_OPTIONS = 32,
	WEB_OTHER = 64
};

/* Headers that the door itself reads, the first of each name. */
enum web_header {
	WEB_HOST, WEB_ORIGIN, WEB_AUTHORIZATION, WEB_CONTENT_TYPE,
	WEB_ACCEPT_ENCODING, WEB_EXPECT, WEB_LAST_EVENT_ID, WEB_UPGRADE,
	WEB_WS_KEY, WEB_WS_VERSION, WEB_CONNECTION, WEB_PREFLIGHT,
	WEB_HEADERS
};

struct MHD_Response;
struct web_memory;
struct web_pending;
struct web_socket;

struct web_req {
	struct web_conn *conn;		/* NULL: closed while a call ran */
	enum web_method method;
	const char *method_name;
	bool http11;
	const char *path;		/* as sent, %XX and all; no query */
	struct bh_bytes headers[WEB_HEADERS];	/* data NULL: absent */
	bool has_body;
	bool too_long;			/* the head */
	bool late;			/* it came after web_drain() */
	struct text body;		/* complete() may take it */
	size_t body_length;		/* 0: none, or it is not known */
	size_t body_max;		/* head() says; more is refused */
	const char *body_option;	/* which option that is */
	/* web_*.c's: */
	struct web *web;
	bool sent;			/* in end(): the answer has left */
	unsigned flags;
	int status;
	size_t answer_bytes;
	struct MHD_Response *answer;
	struct web_pending *pending;	/* headers of the answer to come */
	struct web_socket *socket;
	struct web_memory *memory;
};

struct web_ops {
	size_t size;			/* of what begins with web_req */
	/* A request on this connection has begun. True: go on, body_max is
	 * set. False: it has been answered. */
	bool (*head)(void *arg, struct web_req *r);
	void (*complete)(void *arg, struct web_req *r);
	void (*gone)(void *arg, struct web_req *r);
	void (*end)(void *arg, struct web_req *r);
	/* The head is refused (400, 431), or the body too long (413): answer
	 * with this. */
	void (*refused)(void *arg, struct web_req *r, int status,
	    const char *text);
	/* A connection has come; it is closed. */
	void (*opened)(void *arg, struct web_conn *c);
	void (*closed)(void *arg, struct web_conn *c);
	/* Worth knowing; for developers. */
	void (*log)(void *arg, const char *text);
	void (*debug)(void *arg, const char *text);
};

struct web_limits {
	size_t header_bytes;
	size_t connections;
	double request_s;
	double rest_s;
};

/* -1: err says why. */
int web_new(struct web **ret, struct ev_loop *loop, const struct web_ops *ops,
    void *arg, const struct web_limits *limits, char err[BH_ERROR_TEXT]);
/* Every connection must be closed: web_close(). Calls that were detached may
 * still end later. */
void web_free(struct web **wp);
void web_set_limits(struct web *w, const struct web_limits *limits);

/* Takes the descriptor, whatever comes of it. */
void web_add(struct web *w, int fd, const struct bh_peer *peer);
/* Lets answers out. True: call it again at once. */
bool web_flush(struct web *w);
/* Connections at rest are closed, others after their answer. */
void web_drain(struct web *w);
bool web_draining(const struct web *w);
size_t web_count(const struct web *w);
/* Ends all connections and requests; calls that still run are detached. */
void web_close(struct web *w);

const char *web_peer(const struct web_conn *c);
bool web_is_unix(const struct web_conn *c);
bool web_is_loopback(const struct web_conn *c);
/* The address that the client has connected to, NULL: none has one. */
const char *web_local(struct web_conn *c);
/* What the user of this file keeps with a connection. */
void **web_user(struct web_conn *c);

/* Memory that lives as long as the request. */
void *web_alloc(struct web_req *r, size_t size);
char *web_printf(struct web_req *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Query parameters, still with %XX; and all headers, names in lower case. In
 * the request's memory. */
size_t web_query(struct web_req *r, struct bh_header **ret);
size_t web_all_headers(struct web_req *r, struct bh_header **ret);

/* Tells gone() when the client hangs up. */
void web_watch(struct web_req *r);

/* The client has hung up by now, as far as is known. */
bool web_has_left(const struct web_req *r);

/* Ends a connection, whatever is on its way. */
void web_end(struct web_conn *c);
void web_abort(struct web_req *r);

/* A header of the answer; both strings are copied. */
void web_header(struct web_req *r, const char *name, const char *value);
/* Takes the body; type NULL: no body. The connection closes if asked. */
void web_reply(struct web_req *r, int status, const char *type,
    struct text *body);
void web_reply_closing(struct web_req *r);

/* An answer without an end. */
struct web_stream;

/* closed() is called once, when the client has gone, is too slow, or the
 * stream was ended; s is no more then. limit: bytes that may wait. */
struct web_stream *web_stream_open(struct web_req *r, const char *type,
    size_t limit, void (*closed)(void *arg), void *arg);
/* Never waits: a reader that has fallen behind by limit is dropped, with a
 * line in the log. */
void web_stream_push(struct web_stream *s, const char *data, size_t len);
void web_stream_end(struct web_stream *s);

/* Hands the connection over after a 101: fd stays open until
 * web_socket_close(). early is what the client has sent already. */
typedef void web_upgraded_fn(void *arg, struct web_socket *s, int fd,
    const char *early, size_t len);

void web_upgrade(struct web_req *r, const char *protocol,
    web_upgraded_fn *fn, void (*failed)(void *arg), void *arg);
void web_socket_close(struct web_socket *s);

#endif
