/* SPDX-License-Identifier: MIT */
#include "http/feed.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/wsconn.h"

#define BEAT_S 15.0

struct feed {
	TAILQ_ENTRY(feed) entry;
	struct door *door;
	struct client *client;
	struct bh_subscription *sub;
	bool jobs;			/* of jobs, not of topics */
	bool socket;			/* a WebSocket, or on its way to one */
	struct text early;		/* came before the client's end did */
	struct text line;		/* being written */
	struct web_stream *stream;
	struct web_socket *handle;
	struct ws *ws;
	char *peer;
};

/* ----------------------------------------------------------------- framing */

/* A line break in the text would end the field. */
static void
put_event(struct text *t, const struct bh_news *news)
{
	const char *p = news->json.data, *end = p + news->json.len;

	if (news->id > 0)
		text_addf(t, "id: %llu\n", (unsigned long long)news->id);
	while (p < end) {
		const char *stop = p;

		while (stop < end && *stop != '\n' && *stop != '\r')
			stop++;
		text_add(t, "data: ", 6);
		text_add(t, p, (size_t)(stop - p));
		text_addc(t, '\n');
		p = stop + 1;
	}
	text_addc(t, '\n');
}

/* The same object with the event's id in front. News of jobs have the job's
 * under that name. */
static void
put_frame(struct text *t, const struct feed *f, const struct bh_news *news)
{
	text_addf(t, "{\"%s\":\"%llu\"", f->jobs ? "event_id" : "id",
	    (unsigned long long)news->id);
	if (news->json.len > 2)
		text_addc(t, ',');
	text_add(t, news->json.data + 1, news->json.len - 1);
}

static void
put(struct text *t, const struct feed *f, const struct bh_news *news)
{
	if (f->socket)
		put_frame(t, f, news);
	else
		put_event(t, news);
}

static void
on_news(void *arg, const struct bh_news *news)
{
	struct feed *f = arg;
	struct text *t = &f->line;
	size_t at, len = 0;

	if (!f->stream && !f->ws) {
		/* Each with its length before it. */
		at = f->early.len;
		text_add(&f->early, &len, sizeof(len));
		put(&f->early, f, news);
		len = f->early.len - at - sizeof(len);
		memcpy(f->early.data + at, &len, sizeof(len));
		return;
	}
	t->len = 0;
	put(t, f, news);
	if (f->stream)
		web_stream_push(f->stream, t->data, t->len);
	else
		ws_send(f->ws, t->data, t->len);
	if (t->cap > 65536)
		text_free(t);
}

static void
send_early(struct feed *f)
{
	for (size_t at = 0, len; at < f->early.len; at += len) {
		memcpy(&len, f->early.data + at, sizeof(len));
		at += sizeof(len);
		if (f->stream)
			web_stream_push(f->stream, f->early.data + at, len);
		else
			ws_send(f->ws, f->early.data + at, len);
	}
	text_free(&f->early);
}

/* -------------------------------------------------------------------- life */

static void
on_beat(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct door *d = timer->data;
	struct feed *f;

	(void)loop;
	(void)events;
	TAILQ_FOREACH(f, &d->feeds, entry) {
		if (f->stream)
			web_stream_push(f->stream, ":\n\n", 3);
		else if (f->ws)
			ws_ping(f->ws);
	}
}

void
feed_init(struct door *d)
{
	TAILQ_INIT(&d->feeds);
	d->beat = mem_new(sizeof(*d->beat));
	ev_init(d->beat, on_beat);
	d->beat->data = d;
}

static struct feed *
feed_new(struct ask *a, bool jobs, bool socket)
{
	struct door *d = a->door;
	struct feed *f = mem_new(sizeof(*f));
	const char *peer = web_peer(a->web.conn);

	f->door = d;
	f->client = a->client;
	f->jobs = jobs;
	f->socket = socket;
	f->peer = mem_copy(peer, strlen(peer));
	client_hold(f->client);
	TAILQ_INSERT_TAIL(&d->feeds, f, entry);
	if (d->nfeeds++ == 0) {
		d->beat->repeat = BEAT_S;
		ev_timer_again(d->host->loop, d->beat);
	}
	return f;
}

static void
feed_free(struct feed *f)
{
	struct door *d = f->door;

	TAILQ_REMOVE(&d->feeds, f, entry);
	if (--d->nfeeds == 0)
		ev_timer_stop(d->host->loop, d->beat);
	if (f->sub)
		d->host->unsubscribe(f->sub);
	ws_free(&f->ws);
	if (f->handle)
		web_socket_close(f->handle);
	client_drop(f->client);
	text_free(&f->early);
	text_free(&f->line);
	free(f->peer);
	free(f);
}

static void
on_stream_closed(void *arg)
{
	struct feed *f = arg;

	f->stream = NULL;
	feed_free(f);
}

/* It may have died inside of what tells it news: freed later. */
static void
on_ws_died(void *arg)
{
	struct feed *f = arg;

	f->door->host->wake();
	f->door->reap = true;
}

void
feed_reap(struct door *d)
{
	struct feed *f, *next;
	char text[BH_ERROR_TEXT];

	if (!d->reap)
		return;
	d->reap = false;
	TAILQ_FOREACH_SAFE(f, &d->feeds, entry, next) {
		const char *why = f->ws ? ws_dead(f->ws) : NULL;

		if (!why)
			continue;
		if (strncmp(why, "it reads", 8) == 0) {
			snprintf(text, sizeof(text), "%s: dropped: %s",
			    f->peer, why);
			d->host->log(BH_LOG_INFO, "http", text);
		}
		feed_free(f);
	}
}

static void
on_upgraded(void *arg, struct web_socket *s, int fd, const char *early,
    size_t len)
{
	struct feed *f = arg;
	struct door *d = f->door;

	f->handle = s;
	f->ws = ws_new(d->host->loop, fd, early, len,
	    d->stream_buffer + f->early.len, on_ws_died, f);
	send_early(f);
	if (d->draining)
		ws_close(f->ws, WS_GOING_AWAY);
}

static void
on_upgrade_failed(void *arg)
{
	feed_free(arg);
}

void
feed_drain(struct door *d)
{
	struct feed *f, *next;

	TAILQ_FOREACH_SAFE(f, &d->feeds, entry, next) {
		if (f->stream) {
			web_stream_push(f->stream, ": bye\n\n", 7);
			web_stream_end(f->stream);
		} else if (f->ws) {
			ws_close(f->ws, WS_GOING_AWAY);
		}
	}
}

void
feed_close(struct door *d)
{
	struct feed *f, *next;

	TAILQ_FOREACH_SAFE(f, &d->feeds, entry, next)
		if (f->ws)
			feed_free(f);
}

/* ----------------------------------------------------------------- opening */

/* Upgrade counts only where Connection names it: a proxy that does not know
 * it forwards it alone, and would take what follows for answers. */
static bool
wants_socket(const struct ask *a)
{
	struct bh_bytes v = a->web.headers[WEB_UPGRADE];
	struct bh_bytes c = a->web.headers[WEB_CONNECTION];

	return v.data && bytes_is_nocase(v, "websocket") && a->web.http11 &&
	    c.data && bytes_has_word(c, "upgrade");
}

static bool
shake_hands(struct ask *a, char accept[WS_ACCEPT_SIZE])
{
	struct bh_bytes key = a->web.headers[WEB_WS_KEY];
	struct bh_bytes version = a->web.headers[WEB_WS_VERSION];

	if (!version.data || !bytes_is(version, "13")) {
		web_header(&a->web, "Sec-WebSocket-Version", "13");
		ask_problem(a, 426, "BADARG", "Sec-WebSocket-Version: 13 is"
		    " expected", -1);
		return false;
	}
	if (key.data && ws_accept_key(key.data, key.len, accept) == 0)
		return true;
	ask_fail(a, BH_E_BADARG, "Sec-WebSocket-Key: 16 bytes in base64 are"
	    " expected");
	return false;
}

/* The id of the last event that the client has seen. */
static bool
seen_before(struct ask *a, uint64_t *ret)
{
	struct bh_bytes v = a->web.headers[WEB_LAST_EVENT_ID], asked;
	char digits[24], *end;

	if (pairs_get(&a->query, "last_event_id", &asked))
		v = asked;
	*ret = 0;
	if (!v.data || v.len == 0)
		return true;
	if (v.len < sizeof(digits) && v.data[0] >= '0' && v.data[0] <= '9') {
		memcpy(digits, v.data, v.len);
		digits[v.len] = '\0';
		*ret = strtoull(digits, &end, 10);
		if (!*end)
			return true;
	}
	ask_fail(a, BH_E_BADARG, "last_event_id: '%.*s' is no id of an event",
	    v.len > 64 ? 64 : (int)v.len, v.data);
	return false;
}

static bool
subscribe(struct ask *a, struct feed *f, const char *pattern, uint64_t after)
{
	char err[BH_ERROR_TEXT] = "";
	int code = BH_E_ERR;

	f->sub = a->door->host->subscribe(a->client->caller, f->jobs ?
	    BH_FEED_JOBS : BH_FEED_TOPICS, pattern, after, on_news, f, &code,
	    err);
	if (f->sub)
		return true;
	feed_free(f);
	ask_fail(a, code, "%s", err);
	return false;
}

static void
open_stream(struct ask *a, struct feed *f)
{
	web_header(&a->web, "Cache-Control", "no-store");
	web_header(&a->web, "X-Accel-Buffering", "no");
	f->stream = web_stream_open(&a->web, "text/event-stream",
	    a->door->stream_buffer + f->early.len, on_stream_closed, f);
	web_stream_push(f->stream, ":\n\n", 3);
	send_early(f);
}

void
feed_open(struct ask *a, enum bh_feed what, const char *pattern)
{
	bool socket = wants_socket(a);
	char accept[WS_ACCEPT_SIZE];
	uint64_t after;
	struct feed *f;

	if (!seen_before(a, &after) || !ask_known(a, &a->query))
		return;
	if (a->web.late) {
		ask_fail(a, BH_E_BUSY, "the daemon is shutting down");
		return;
	}
	if (socket && !shake_hands(a, accept))
		return;
	if (a->web.method == WEB_HEAD) {
		ask_text(a, "text/event-stream", &(struct text){0});
		return;
	}
	f = feed_new(a, what == BH_FEED_JOBS, socket);
	if (!subscribe(a, f, pattern, after))
		return;
	if (!socket) {
		open_stream(a, f);
		return;
	}
	web_header(&a->web, "Sec-WebSocket-Accept", accept);
	web_upgrade(&a->web, "websocket", on_upgraded, on_upgrade_failed, f);
}
