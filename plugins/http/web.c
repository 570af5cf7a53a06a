/* SPDX-License-Identifier: MIT */
#include "http/web.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/gate.h"
#include "http/web_impl.h"

/* A body up to this is read although its answer is an error that is known
 * from the head, so that the connection can go on. */
#define DISCARD_MAX 1048576
/* What MHD's pool needs beside the head: structs of the parser, a piece of
 * the body, the head of the answer. */
#define POOL_EXTRA 8192
/* How long pipelined requests are taken as received before the drain on
 * sockets that do not count their bytes. */
#define PIPELINE_GRACE_S 1.0
/* A client that had just been accepted when the drain began has so long to
 * send its request: it could not know. */
#define YOUNG_S 0.25

struct web_conn *
web_conn_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd,
	    MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void
web_say(struct web *w, const char *fmt, ...)
{
	char text[BH_ERROR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w->ops.log(w->arg, text);
}

/* ------------------------------------------------------------------- turns */

void
web_cut(struct web_conn *c)
{
	if (c->shut)
		return;
	c->shut = true;
	shutdown(c->fd, SHUT_RDWR);
}

static int
unread(const struct web_conn *c)
{
	int n = 0;

	return ioctl(c->fd, FIONREAD, &n) < 0 ? 0 : n;
}

bool
web_nothing_unread(const struct web_conn *c)
{
	return unread(c) == 0;
}

static void
settle_phase(struct web *w, enum phase phase)
{
	struct web_conn *c;

	TAILQ_FOREACH(c, &w->conns.phase[phase], entry)
		if (web_nothing_unread(c))
			web_cut(c);
}

static void
pump(struct web *w)
{
	MHD_UNSIGNED_LONG_LONG ms;

	w->kick = false;
	w->pumps++;
	MHD_run(w->mhd);
	/* Its epoll is edge-triggered inside: 0 means that there is more,
	 * although the descriptor is not readable. */
	if (MHD_get_timeout(w->mhd, &ms) == MHD_YES && ms == 0)
		w->kick = true;
	if (w->draining_at > 0) {
		if (!ev_is_active(&w->young))
			settle_phase(w, PHASE_NEW);
		settle_phase(w, PHASE_REST);
	}
}

static void
on_readable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	pump(io->data);
}

static void
on_grown(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	pump(timer->data);
}

bool
web_flush(struct web *w)
{
	unsigned before = w->requests;

	for (int i = 0; i < 4 && w->kick; i++)
		pump(w);
	/* What has begun here waits for the next turn. */
	return w->kick || w->requests != before;
}

void
web_resume(struct web_conn *c)
{
	if (!c->suspended)
		return;
	c->suspended = false;
	MHD_resume_connection(c->mhd);
	/* Without threads nothing wakes MHD but us. */
	c->web->kick = true;
}

void
web_suspend(struct web_conn *c)
{
	c->suspended = true;
	MHD_suspend_connection(c->mhd);
}

static const char timeout_answer[] =
    "HTTP/1.1 408 Request Timeout\r\n"
    "Content-Type: application/problem+json\r\n"
    "Content-Length: 112\r\n"
    "Connection: close\r\n\r\n"
    "{\"type\":\"about:blank\",\"title\":\"Request Timeout\",\"status\":408,"
    "\"detail\":\"the request took too long to arrive\"}\n";

static void
on_late(struct web_conn *c)
{
	enum phase was = c->phase;

	conn_enter(&c->web->conns, c, PHASE_BUSY, 0);
	/* Nothing else can be on its way out while a request comes in. */
	if (was == PHASE_HEAD || was == PHASE_NEW)
		(void)!send(c->fd, timeout_answer, strlen(timeout_answer),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (was == PHASE_SENDING)
		web_say(c->web, "%s: dropped: it reads its answer too slowly",
		    c->name);
	web_cut(c);
}

/* ------------------------------------------------------- a client hangs up */

static void
on_watch(struct ev_loop *loop, ev_io *io, int events)
{
	struct web_conn *c = io->data;
	struct web_req *r = c->req;
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ev_io_stop(loop, io);
	/* The next request, too early: from here on its end is not seen. */
	if (n > 0 || !r)
		return;
	c->web->ops.gone(c->web->arg, r);
}

void
web_watch(struct web_req *r)
{
	struct web_conn *c = r->conn;

	if (!c || ev_is_active(&c->watch))
		return;
	ev_io_init(&c->watch, on_watch, c->fd, EV_READ);
	c->watch.data = c;
	ev_io_start(c->web->loop, &c->watch);
}

bool
web_has_left(const struct web_req *r)
{
	struct pollfd p = {.events = POLLRDHUP};

	if (!r->conn)
		return true;
	p.fd = r->conn->fd;
	return poll(&p, 1, 0) > 0;
}

void
web_end(struct web_conn *c)
{
	web_cut(c);
	web_resume(c);
}

void
web_abort(struct web_req *r)
{
	if (r->conn)
		web_end(r->conn);
}

/* ---------------------------------------------------------------- requests */

/*
 * Before 1.0, libmicrohttpd ends a head at a line that begins with a colon,
 * adds a continued line to the name of its header, and cuts a value at a NUL:
 * what follows could be read as another request. Its strings lie where the
 * bytes came in, so a head is sound when each part begins where the one
 * before it has ended, with the line break between them.
 */
#define PARSED_IN_PLACE (MHD_VERSION < 0x00097700)

struct head {
	struct web_req *r;
	struct gate gate;
	const char *next;		/* where the next line must begin */
	bool torn;
};

static const char *const header_names[WEB_HEADERS] = {
	[WEB_HOST] = "Host", [WEB_ORIGIN] = "Origin",
	[WEB_AUTHORIZATION] = "Authorization",
	[WEB_CONTENT_TYPE] = "Content-Type",
	[WEB_ACCEPT_ENCODING] = "Accept-Encoding", [WEB_EXPECT] = "Expect",
	[WEB_LAST_EVENT_ID] = "Last-Event-ID", [WEB_UPGRADE] = "Upgrade",
	[WEB_WS_KEY] = "Sec-WebSocket-Key",
	[WEB_WS_VERSION] = "Sec-WebSocket-Version",
	[WEB_CONNECTION] = "Connection",
	[WEB_PREFLIGHT] = "Access-Control-Request-Method",
};

static enum MHD_Result
see_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t nlen,
    const char *value, size_t vlen)
{
	struct head *h = cls;
	struct bh_bytes n = {name, nlen};

	(void)kind;
	value = value ? value : "";
	if (name != h->next)
		h->torn = true;
	h->next = value + vlen + 2;
	gate_header(&h->gate, name, nlen, value, vlen);
	for (int i = 0; i < WEB_HEADERS; i++)
		if (!h->r->headers[i].data &&
		    bytes_is_nocase(n, header_names[i]))
			h->r->headers[i] = (struct bh_bytes){value, vlen};
	return MHD_YES;
}

static enum web_method
method_of(const char *name)
{
	static const struct {
		const char *name;
		enum web_method method;
	} known[] = {{"GET", WEB_GET}, {"POST", WEB_POST}, {"PUT", WEB_PUT},
	    {"DELETE", WEB_DELETE}, {"HEAD", WEB_HEAD},
	    {"OPTIONS", WEB_OPTIONS}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].method;
	return WEB_OTHER;
}

static void
refuse(struct web_req *r, int status, const char *text)
{
	r->flags |= R_CLOSE;
	r->web->ops.refused(r->web->arg, r, status, text);
}

/* Bytes that have come on a connection; 0 where the system does not say. */
static uint64_t
received(const struct web_conn *c)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (c->is_unix || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info,
	    &len) < 0)
		return 0;
	return info.tcpi_bytes_received;
}

/* Requests that were pipelined before the drain began were received by then:
 * nothing is read of the connection that came later. */
static bool
is_too_late(struct web_conn *c)
{
	double since = c->web->draining_at;
	uint64_t now = since > 0 ? received(c) : 0;
	bool young = c->young;

	c->young = false;
	if (since == 0 || young)
		return false;
	if (now > 0)
		return now - (uint64_t)unread(c) > c->early;
	return !c->pipelines ||
	    ev_now(c->web->loop) - since > PIPELINE_GRACE_S;
}

/* NULL, or why the head is refused. */
static const char *
read_head(struct web_conn *c, struct web_req *r, const char *version,
    struct head *h)
{
	const char *url = r->path, *method = r->method_name, *bad;
	size_t size = MHD_get_connection_info(c->mhd,
	    MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;

	gate_init(&h->gate);
	h->next = version + strlen(version) + 2;
	MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, see_header, h);
	r->has_body = h->gate.length > 0 || h->gate.encodings > 0;
	r->too_long = size > c->web->limits.header_bytes;
	/* Words of a command are in it, which may outlive the connection. */
	r->path = web_printf(r, "%s", url);
	bad = gate_verdict(&h->gate, r->http11);
	if (!bad && PARSED_IN_PLACE && (h->torn ||
	    url != method + strlen(method) + 1 ||
	    h->next + 2 != method + size))
		bad = "the head has a line that is no header: lines end with"
		    " CR LF, none is continued on the next one, none has a"
		    " NUL";
	return bad;
}

static void
judge_head(struct web_conn *c, struct web_req *r, const char *version)
{
	struct web *w = c->web;
	struct head h = {.r = r};
	const char *bad = read_head(c, r, version, &h);

	if (bad) {
		refuse(r, 400, bad);
	} else if (r->too_long) {
		refuse(r, 431, "the request's head is longer than"
		    " http_header_limit");
	} else if (w->ops.head(w->arg, r) && h.gate.length > 0 &&
	    (uint64_t)h.gate.length > r->body_max) {
		refuse(r, 413, web_printf(r, "the body has %lld bytes, at"
		    " most %zu are allowed (%s)", (long long)h.gate.length,
		    r->body_max, r->body_option));
	} else if (h.gate.length > 0) {
		r->body_length = (size_t)h.gate.length;
	}
}

/* An answer that is known already waits for the body, if that is short: a
 * connection that is closed on unread bytes may lose the answer too. */
static bool
may_discard(const struct web_req *r)
{
	return !(r->flags & R_CLOSE) && (!r->has_body ||
	    (r->body_length > 0 && r->body_length <= DISCARD_MAX &&
	    !r->headers[WEB_EXPECT].data));
}

static enum MHD_Result
begin(struct web_conn *c, const char *url, const char *method,
    const char *version, void **con_cls)
{
	struct web_req *r = mem_new(c->web->ops.size);

	*con_cls = r;
	c->req = r;
	r->web = c->web;
	r->conn = c;
	r->method_name = method;
	r->method = method_of(method);
	r->http11 = strcmp(version, "HTTP/1.1") == 0;
	r->path = url;
	r->late = c->late;
	if (c->late)
		r->flags |= R_CLOSE;
	r->flags |= R_INSIDE;
	judge_head(c, r, version);
	r->flags &= ~R_INSIDE;
	if (r->answer && !may_discard(r)) {
		r->flags |= R_CLOSE;
		return web_deliver(c, r);
	}
	return MHD_YES;
}

static void
take_body(struct web_req *r, const char *data, size_t len)
{
	if (r->flags & (R_ANSWERED | R_TOOBIG))
		return;
	if (r->body.len + len > r->body_max) {
		/* It came in chunks: no length has told before. */
		r->flags |= R_TOOBIG;
		text_free(&r->body);
		return;
	}
	if (!r->body.data && r->body_length > len &&
	    r->body_length <= r->body_max)
		text_room(&r->body, r->body_length);
	text_add(&r->body, data, len);
}

/*
 * Whether others agree about where the body ended. The libmicrohttpd of before
 * takes a bare LF for the end of a chunk's line, where a proxy in front may
 * see more of its extension. Nobody needs trailers, and they are read as
 * leniently as heads. Nothing behind either is believed.
 */
static bool
end_is_sure(const struct web_conn *c, const struct web_req *r)
{
	bool chunked = r->has_body && r->body_length == 0;

	return !chunked || (!PARSED_IN_PLACE && MHD_get_connection_values_n(
	    c->mhd, MHD_FOOTER_KIND, NULL, NULL) <= 0);
}

static void
complete(struct web_conn *c, struct web_req *r)
{
	struct web *w = c->web;

	r->flags |= R_COMPLETE | R_INSIDE;
	if (!end_is_sure(c, r))
		r->flags |= R_CLOSE;
	w->requests++;
	conn_enter(&w->conns, c, PHASE_BUSY, 0);
	if (r->flags & R_TOOBIG)
		refuse(r, 413, web_printf(r, "the body is longer than %zu"
		    " bytes (%s)", r->body_max, r->body_option));
	else if (!r->answer)
		w->ops.complete(w->arg, r);
	r->flags &= ~R_INSIDE;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *mhd, const char *url,
    const char *method, const char *version, const char *upload,
    size_t *upload_len, void **con_cls)
{
	struct web_conn *c = web_conn_of(mhd);
	struct web_req *r = *con_cls;

	(void)cls;
	if (c->orphan)
		return MHD_NO;
	if (!r)
		return begin(c, url, method, version, con_cls);
	if (*upload_len > 0) {
		take_body(r, upload, *upload_len);
		*upload_len = 0;
		return MHD_YES;
	}
	if (!(r->flags & R_COMPLETE))
		complete(c, r);
	if (r->answer)
		return web_deliver(c, r);
	web_suspend(c);
	return MHD_YES;
}

/* The first line of a request has come. */
static void *
on_first_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct web_conn *c = web_conn_of(mhd);

	(void)cls;
	(void)uri;
	if (c->pump == c->web->pumps)
		c->pipelines = true;
	c->late = is_too_late(c);
	conn_enter(&c->web->conns, c, PHASE_HEAD, 0);
	return NULL;
}

static void
on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
    enum MHD_RequestTerminationCode why)
{
	struct web_conn *c = web_conn_of(mhd);
	struct web_req *r = *con_cls;

	(void)cls;
	*con_cls = NULL;
	ev_io_stop(c->web->loop, &c->watch);
	c->pump = c->web->pumps;
	conn_enter(&c->web->conns, c, PHASE_REST, 0);
	c->req = NULL;
	c->suspended = false;
	if (r && !c->orphan) {
		r->sent = why == MHD_REQUEST_TERMINATED_COMPLETED_OK;
		web_over(r);
	}
}

/* %XX stays: whoever splits a path decodes its parts. */
static size_t
on_unescape(void *cls, struct MHD_Connection *mhd, char *s)
{
	(void)cls;
	(void)mhd;
	return strlen(s);
}

static enum MHD_Result
add_query(void *cls, enum MHD_ValueKind kind, const char *name, size_t nlen,
    const char *value, size_t vlen)
{
	struct bh_header **next = cls;

	(void)kind;
	(void)nlen;
	*(*next)++ = (struct bh_header){name,
	    {value ? value : "", value ? vlen : 0}};
	return MHD_YES;
}

static size_t
collect(struct web_req *r, enum MHD_ValueKind kind, struct bh_header **ret)
{
	int n = MHD_get_connection_values_n(r->conn->mhd, kind, NULL, NULL);
	struct bh_header *next;

	if (n <= 0)
		return 0;
	next = *ret = web_alloc(r, (size_t)n * sizeof(**ret));
	MHD_get_connection_values_n(r->conn->mhd, kind, add_query, &next);
	return (size_t)n;
}

size_t
web_query(struct web_req *r, struct bh_header **ret)
{
	return collect(r, MHD_GET_ARGUMENT_KIND, ret);
}

size_t
web_all_headers(struct web_req *r, struct bh_header **ret)
{
	size_t n = collect(r, MHD_HEADER_KIND, ret);

	for (size_t i = 0; i < n; i++) {
		char *name = web_printf(r, "%s", (*ret)[i].name);
		struct bh_bytes *v = &(*ret)[i].value;

		v->data = memcpy(web_alloc(r, v->len + 1), v->data, v->len);

		for (char *p = name; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p |= 0x20;
		(*ret)[i].name = name;
	}
	return n;
}

/* ------------------------------------------------------------- connections */

static void
on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
    enum MHD_ConnectionNotificationCode what)
{
	struct web *w = cls;
	struct web_conn *c = *socket_context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		c = *socket_context = w->adding;
		c->mhd = mhd;
		w->adding = NULL;
		w->ops.opened(w->arg, c);
		return;
	}
	w->ops.closed(w->arg, c);
	conn_free(&w->conns, c);
	*socket_context = NULL;
}

static const char full_answer[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
    "Retry-After: 1\r\nConnection: close\r\n\r\n";

void
web_add(struct web *w, int fd, const struct bh_peer *peer)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	if (w->conns.count >= w->limits.connections) {
		(void)!send(fd, full_answer, strlen(full_answer),
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
		return;
	}
	if (getpeername(fd, (struct sockaddr *)&addr, &len) < 0) {
		close(fd);
		return;
	}
	w->adding = conn_new(&w->conns, w, fd, peer);
	/* It closes the descriptor itself when it fails. */
	if (MHD_add_connection(w->mhd, fd, (struct sockaddr *)&addr, len) !=
	    MHD_YES && w->adding) {
		conn_free(&w->conns, w->adding);
		w->adding = NULL;
	}
	w->kick = true;
}

const char *
web_peer(const struct web_conn *c)
{
	return c->name;
}

bool
web_is_unix(const struct web_conn *c)
{
	return c->is_unix;
}

bool
web_is_loopback(const struct web_conn *c)
{
	return c->loopback;
}

const char *
web_local(struct web_conn *c)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	char host[NI_MAXHOST];
	const char *from = host;

	if (c->is_unix)
		return NULL;
	if (c->local)
		return c->local;
	if (getsockname(c->fd, (struct sockaddr *)&addr, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host),
	    NULL, 0, NI_NUMERICHOST) != 0)
		strcpy(host, "?");
	if (strncmp(host, "::ffff:", 7) == 0)
		from += 7;
	c->local = mem_copy(from, strlen(from));
	return c->local;
}

void **
web_user(struct web_conn *c)
{
	return &c->user;
}

/* ---------------------------------------------------------------- life */

static void
on_log(void *cls, const char *fmt, va_list ap)
{
	struct web *w = cls;
	char text[BH_ERROR_TEXT];
	size_t len;

	vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(text);
	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = '\0';
	w->ops.debug(w->arg, text);
}

void
web_set_limits(struct web *w, const struct web_limits *limits)
{
	w->limits = *limits;
	w->conns.request_s = limits->request_s;
	w->conns.rest_s = limits->rest_s;
}

int
web_new(struct web **ret, struct ev_loop *loop, const struct web_ops *ops,
    void *arg, const struct web_limits *limits, char err[BH_ERROR_TEXT])
{
	struct web *w = mem_new(sizeof(*w));

	w->loop = loop;
	w->ops = *ops;
	w->arg = arg;
	conn_set_init(&w->conns, loop, on_late);
	web_set_limits(w, limits);
	w->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
	    MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, on_request, w,
	    MHD_OPTION_EXTERNAL_LOGGER, on_log, w,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)INT32_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, 0u,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    limits->header_bytes + POOL_EXTRA,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, w,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, w,
	    MHD_OPTION_URI_LOG_CALLBACK, on_first_line, w,
	    MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, w,
#if !PARSED_IN_PLACE
	    MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#else
	    MHD_OPTION_STRICT_FOR_CLIENT, 1,
#endif
	    MHD_OPTION_END);
	if (!w->mhd) {
		snprintf(err, BH_ERROR_TEXT, "libmicrohttpd does not start:"
		    " %s", strerror(errno));
		free(w);
		return -1;
	}
	ev_io_init(&w->io, on_readable, MHD_get_daemon_info(w->mhd,
	    MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, EV_READ);
	w->io.data = w;
	ev_io_start(loop, &w->io);
	*ret = w;
	return 0;
}

void
web_drain(struct web *w)
{
	struct web_conn *c;

	if (w->draining_at > 0)
		return;
	for (int p = 0; p < PHASES; p++)
		TAILQ_FOREACH(c, &w->conns.phase[p], entry)
			c->early = received(c);
	/* What the kernel holds was received before. */
	pump(w);
	w->draining_at = ev_now(w->loop);
	TAILQ_FOREACH(c, &w->conns.phase[PHASE_NEW], entry)
		c->young = true;
	ev_timer_init(&w->young, on_grown, YOUNG_S, 0);
	w->young.data = w;
	ev_timer_start(w->loop, &w->young);
	w->kick = true;
}

bool
web_draining(const struct web *w)
{
	return w->draining_at > 0;
}

size_t
web_count(const struct web *w)
{
	return w->conns.count;
}

void
web_close(struct web *w)
{
	struct web_conn *c, *next;

	for (int p = 0; p < PHASES; p++)
		for (c = TAILQ_FIRST(&w->conns.phase[p]); c; c = next) {
			next = TAILQ_NEXT(c, entry);
			if (c->req && c->phase == PHASE_BUSY && c->suspended)
				web_detach(c->req);
			web_cut(c);
			web_resume(c);
		}
	for (int i = 0; i < 16 && w->conns.count > 0; i++)
		pump(w);
}

void
web_free(struct web **wp)
{
	struct web *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	ev_io_stop(w->loop, &w->io);
	ev_timer_stop(w->loop, &w->young);
	MHD_stop_daemon(w->mhd);
	conn_set_done(&w->conns);
	w->closed = true;
	if (w->detached == 0)
		free(w);
}
