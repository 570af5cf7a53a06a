/* SPDX-License-Identifier: MIT */
#include "script/curl_client.h"

#include <arpa/inet.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/xalloc.h"
#include "script/curl_impl.h"
#include "script/net_guard.h"

#define CONNECTIONS 256L		/* kept open, at most */
#define FREE_MAX 64			/* handles kept for reuse */
#define IDLE_S 60.0			/* until all of that is let go */

TAILQ_HEAD(transfer_list, transfer);

struct curl_client {
	struct ev_loop *loop;
	outside_fn *done;
	void *arg;
	const struct curl_lib *lib;	/* NULL until the first call */
	CURLM *multi;			/* NULL while there is nothing to do */
	ev_timer timer;			/* libcurl's */
	ev_timer idle;
	struct transfer_list busy;
	struct transfer_list free;	/* HTTP only */
	unsigned nfree;
	unsigned nbusy;
};

/* A descriptor that libcurl wants watched. */
struct watched {
	ev_io io;			/* first */
	struct curl_client *client;
};

static void
transfer_free(struct transfer *t)
{
	if (t->easy)
		t->lib->easy_cleanup(t->easy);
	script_env_unref(&t->env);
	free(t->lines);
	free(t->url);
	free(t->origin);
	free(t);
}

static void
transfer_clear(struct transfer *t)
{
	if (t->kind == CALL_HTTP)
		curl_http_clear(t);
	else
		curl_mail_clear(t);
	t->call = NULL;
}

/* Nobody has called for a while: connections and memory are given back. */
static void
on_idle(struct ev_loop *loop, ev_timer *w, int events)
{
	struct curl_client *c = w->data;
	struct transfer *t;

	(void)events;
	ev_timer_stop(loop, w);
	while ((t = TAILQ_FIRST(&c->free))) {
		TAILQ_REMOVE(&c->free, t, entry);
		transfer_free(t);
	}
	c->nfree = 0;
	if (c->multi)
		c->lib->multi_cleanup(c->multi);
	c->multi = NULL;
	ev_timer_stop(c->loop, &c->timer);
}

/* A handle with call and all is out of the multi handle. */
static void
transfer_end(struct curl_client *c, struct transfer *t)
{
	TAILQ_REMOVE(&c->busy, t, entry);
	c->nbusy--;
	transfer_clear(t);
	if (t->kind == CALL_HTTP && t->easy && c->nfree < FREE_MAX) {
		TAILQ_INSERT_HEAD(&c->free, t, entry);
		c->nfree++;
	} else {
		transfer_free(t);
	}
	if (c->nbusy == 0) {
		ev_timer_stop(c->loop, &c->idle);
		ev_timer_set(&c->idle, IDLE_S, 0);
		ev_timer_start(c->loop, &c->idle);
	}
}

static void
give_back(struct curl_client *c, struct transfer *t)
{
	struct call *call = t->call;

	transfer_end(c, t);
	c->done(c->arg, call);
}

/* The handle is not in the multi handle. */
static void
transfer_start(struct curl_client *c, struct transfer *t)
{
	CURLMcode rc = c->lib->multi_add_handle(c->multi, t->easy);

	if (rc == CURLM_OK)
		return;
	call_fail(t->call, "libcurl: multi_add_handle: error %d", (int)rc);
	give_back(c, t);
}

static void
reap(struct curl_client *c)
{
	struct transfer *t;
	CURLMsg *msg;
	char *priv;
	int left;

	while ((msg = c->lib->multi_info_read(c->multi, &left))) {
		CURLcode rc = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		CHECK(c->lib->easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE,
		    &priv) == CURLE_OK);
		t = (struct transfer *)(void *)priv;
		c->lib->multi_remove_handle(c->multi, t->easy);
		if (t->kind == CALL_MAIL) {
			curl_mail_end(t, rc);
			give_back(c, t);
		} else if (curl_http_end(t, rc)) {
			transfer_start(c, t);
		} else {
			give_back(c, t);
		}
	}
}

static void
on_socket(struct ev_loop *loop, ev_io *io, int events)
{
	struct curl_client *c = ((struct watched *)io)->client;
	int running, what = 0;

	(void)loop;
	if (events & EV_READ)
		what |= CURL_CSELECT_IN;
	if (events & EV_WRITE)
		what |= CURL_CSELECT_OUT;
	c->lib->multi_socket_action(c->multi, io->fd, what, &running);
	reap(c);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
	struct curl_client *c = w->data;
	int running;

	(void)loop;
	(void)events;
	c->lib->multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0,
	    &running);
	reap(c);
}

static int
curl_wants_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
    void *sockp)
{
	struct curl_client *c = arg;
	struct watched *w = sockp;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) |
	    (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			ev_io_stop(c->loop, &w->io);
		free(w);
		c->lib->multi_assign(c->multi, fd, NULL);
		return 0;
	}
	if (!w) {
		w = xcalloc(1, sizeof(*w));
		w->client = c;
		ev_io_init(&w->io, on_socket, fd, events);
		c->lib->multi_assign(c->multi, fd, w);
	} else {
		ev_io_stop(c->loop, &w->io);
		ev_io_set(&w->io, fd, events);
	}
	ev_io_start(c->loop, &w->io);
	return 0;
}

static int
curl_wants_timer(CURLM *multi, long ms, void *arg)
{
	struct curl_client *c = arg;

	(void)multi;
	ev_timer_stop(c->loop, &c->timer);
	if (ms < 0)
		return 0;
	/* The loop's time may be old by now: late rather than early. */
	if (ms > 0)
		ev_now_update(c->loop);
	ev_timer_set(&c->timer, (double)ms / 1000, 0);
	ev_timer_start(c->loop, &c->timer);
	return 0;
}

/* Every connection is opened here, so that no name and no redirect leads to
 * where scripts may not go. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *sa)
{
	struct transfer *t = arg;
	const char *why = NULL;

	if (purpose != CURLSOCKTYPE_IPCXN)
		return CURL_SOCKET_BAD;
	if (t->guarded)
		why = net_addr_refused(&sa->addr);
	if (why) {
		const void *at = &((struct sockaddr_in *)
		    (void *)&sa->addr)->sin_addr;

		if (sa->family == AF_INET6)
			at = &((struct sockaddr_in6 *)
			    (void *)&sa->addr)->sin6_addr;
		t->refused = why;
		if (!inet_ntop(sa->family, at, t->peer, sizeof(t->peer)))
			t->peer[0] = '\0';
		return CURL_SOCKET_BAD;
	}
	return socket(sa->family, sa->socktype | SOCK_CLOEXEC, sa->protocol);
}

static struct transfer *
transfer_new(struct curl_client *c, enum call_kind kind)
{
	const struct curl_lib *l = c->lib;
	struct transfer *t = xcalloc(1, sizeof(*t));

	t->lib = l;
	t->client = c;
	t->kind = kind;
	t->easy = l->easy_init();
	if (!t->easy)
		return t;
	l->easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	l->easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
	l->easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	/* A cancelled name look-up goes on in its own thread; waiting for it
	 * would hold up all the runs of this one. */
	l->easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L);
	l->easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	l->easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
	l->easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	l->easy_setopt(t->easy, CURLOPT_PROXY, "");
	return t;
}

/* 0, or -1 with an error in the call. */
static int
client_ready(struct curl_client *c, struct call *call)
{
	const char *why;

	ev_timer_stop(c->loop, &c->idle);
	if (!c->lib && !(c->lib = curl_lib_get(&why))) {
		call_fail(call, "%s", why);
		return -1;
	}
	if (c->multi)
		return 0;
	c->multi = c->lib->multi_init();
	if (!c->multi) {
		call_fail(call, "libcurl: no memory");
		return -1;
	}
	c->lib->multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION,
	    curl_wants_socket);
	c->lib->multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	c->lib->multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION,
	    curl_wants_timer);
	c->lib->multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	c->lib->multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS);
	return 0;
}

void
curl_client_begin(struct curl_client *c, struct call *call)
{
	struct transfer *t;
	int rc;

	if (client_ready(c, call) < 0) {
		c->done(c->arg, call);
		return;
	}
	t = call->kind == CALL_HTTP ? TAILQ_FIRST(&c->free) : NULL;
	if (t) {
		TAILQ_REMOVE(&c->free, t, entry);
		c->nfree--;
	} else {
		t = transfer_new(c, call->kind);
	}
	t->call = call;
	t->begun_us = clock_mono_us();
	t->error[0] = '\0';
	t->refused = NULL;
	TAILQ_INSERT_HEAD(&c->busy, t, entry);
	c->nbusy++;
	if (!t->easy) {
		call_fail(call, "libcurl: no memory");
		rc = -1;
	} else {
		rc = call->kind == CALL_HTTP ? curl_http_begin(t) :
		    curl_mail_begin(t);
	}
	if (rc < 0)
		give_back(c, t);
	else
		transfer_start(c, t);
}

void
curl_client_cancel(struct curl_client *c, struct call *call)
{
	struct transfer *t;

	TAILQ_FOREACH(t, &c->busy, entry)
		if (t->call == call)
			break;
	CHECK(t);
	c->lib->multi_remove_handle(c->multi, t->easy);
	transfer_end(c, t);
	call_free(&call);
}

struct curl_client *
curl_client_new(struct ev_loop *loop, outside_fn *done, void *arg)
{
	struct curl_client *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->done = done;
	c->arg = arg;
	TAILQ_INIT(&c->busy);
	TAILQ_INIT(&c->free);
	ev_timer_init(&c->timer, on_timer, 0, 0);
	ev_timer_init(&c->idle, on_idle, 0, 0);
	c->timer.data = c->idle.data = c;
	return c;
}

void
curl_client_free(struct curl_client **cp)
{
	struct curl_client *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	CHECK(c->nbusy == 0);
	on_idle(c->loop, &c->idle, 0);
	free(c);
}

struct curl_slist *
curl_lines(struct transfer *t, struct buf *b, const char *const *extra,
    bool (*skip)(const struct transfer *, const char *))
{
	const char *p = buf_peek(b), *end = p + buf_size(b);
	size_t n = 0, i;

	while (p < end || *extra) {
		const char *line = p < end ? p : *extra++;

		if (line == p)
			p += strlen(p) + 1;
		if (skip && skip(t, line))
			continue;
		if (n == t->lines_cap) {
			t->lines_cap = 2 * t->lines_cap + 8;
			t->lines = xrealloc(t->lines,
			    t->lines_cap * sizeof(*t->lines));
		}
		t->lines[n++].data = (char *)(uintptr_t)line;
	}
	for (i = 0; i < n; i++)
		t->lines[i].next = i + 1 < n ? &t->lines[i + 1] : NULL;
	return n ? t->lines : NULL;
}
