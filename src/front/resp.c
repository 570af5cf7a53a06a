/* SPDX-License-Identifier: MIT */
#include "front/resp.h"

#include <stdlib.h>
#include <string.h>

#include <bsd/sys/queue.h>

#include "base/log.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/multi.h"
#include "cmd/session.h"
#include "cmd/subscribe.h"
#include "front/feed.h"
#include "front/resp_codec.h"
#include "front/slot.h"

/* How much is read ahead of a command that waits. */
#define READ_AHEAD 65536
/* Unread answers at which a client is read from no more. */
#define OUTPUT_PAUSE 1048576
#define INLINE_MAX 65536
/* Before a client has said who it is. */
#define STRANGER_ARGS 16
#define STRANGER_BYTES 16384
/* A parser that has grown past this is freed between two reads. */
#define PARSER_KEEP 16

struct client {
	struct session session;
	struct resp_door *door;
	struct conn *conn;		/* NULL once closed */
	struct resp_parser parser;
	struct slot_line line;
	struct slot *running;		/* inside cmd_run() */
	struct slot *waiting;		/* holds back those behind it */
	size_t index;			/* in door->clients */
	size_t early;			/* bytes received before the drain */
	bool stalled;			/* input is left, it could not run */
	bool ready;			/* in door->ready */
	bool eof;
	struct feed *feed;		/* BELLHOP EVENTS, or NULL */
	bool ending;			/* no further command: QUIT, garbage */
	bool young;			/* nothing has come yet */
	TAILQ_ENTRY(client) ready_entry;
	TAILQ_ENTRY(client) gone_entry;
};

struct session *
client_session(struct client *c)
{
	return &c->session;
}

struct client *
client_of(struct session *who)
{
	return container_of(who, struct client, session);
}

/* Puts it among those that client_run_ready() looks after. */
static void
wake(struct client *c)
{
	if (c->ready || !c->conn)
		return;
	c->ready = true;
	c->door->nready++;
	TAILQ_INSERT_TAIL(&c->door->ready, c, ready_entry);
}

static void
unwake(struct client *c)
{
	if (!c->ready)
		return;
	c->ready = false;
	c->door->nready--;
	TAILQ_REMOVE(&c->door->ready, c, ready_entry);
}

static bool
may_run(const struct client *c)
{
	const struct conf *conf = c->door->env->conf;
	size_t pause = (size_t)conf->max_output / 2;

	if (pause > OUTPUT_PAUSE)
		pause = OUTPUT_PAUSE;
	return c->conn && !c->waiting && !c->ending &&
	    c->line.n < (size_t)conf->max_pipeline &&
	    c->line.bytes < (size_t)conf->max_request &&
	    c->line.held < (size_t)conf->max_output &&
	    buf_size(conn_out(c->conn)) < pause;
}

static bool
is_young(const struct client *c)
{
	return c->young && c->door->young_until != INT64_MAX;
}

void
client_settle(struct client *c)
{
	if (!c->conn || c->line.n > 0)
		return;
	if (c->ending || ((c->eof || (c->door->draining && !is_young(c))) &&
	    !c->stalled))
		conn_finish(c->conn);
}

static void
call_done(struct cmd_call *call)
{
	struct slot *s = (struct slot *)call;
	struct client *c = call->user;

	if (c->running == s)
		c->running = NULL;
	if (c->waiting == s)
		c->waiting = NULL;
	slot_end(s);
	if (!c->conn)
		return;
	conn_dirty(c->conn);
	/* What is left to do happens outside of whoever called us. */
	if (c->stalled || (c->line.n == 0 &&
	    (c->ending || c->eof || c->door->draining)))
		wake(c);
}

/* A browser can be made to send a request here, with commands in its body:
 * whoever speaks HTTP is cut off before the second line. */
static bool
is_http(const struct resp_parser *p)
{
	const struct bh_bytes *word = &p->argv[0];

	return p->is_inline && (str_is(word->data, word->len, "POST") ||
	    str_is(word->data, word->len, "Host:"));
}

static void
run(struct client *c, size_t used)
{
	bool muted = c->session.replies != REPLY_ON;
	struct slot *s = slot_new(&c->line, c->parser.argv, c->parser.argc,
	    c->session.proto, muted);

	if (c->session.replies == REPLY_SKIP)
		c->session.replies = REPLY_ON;
	s->call.env = c->door->env;
	s->call.who = &c->session;
	s->call.done = call_done;
	s->call.user = c;
	s->call.late = c->door->draining && c->early == 0 && !c->young;
	c->early -= used < c->early ? used : c->early;
	c->young = false;
	c->running = s;
	cmd_run(&s->call);
	if (c->running && s->call.waits) {
		c->waiting = s;
		if (c->eof || c->door->draining)
			cmd_cancel(&s->call);
	}
	c->running = NULL;
	if (c->session.close)
		c->ending = true;
}

/* The last answer of a client that does not speak the protocol. */
static void
refuse(struct client *c, const struct err *e)
{
	static const struct bh_bytes none;
	struct slot *s = slot_new(&c->line, &none, 0, c->session.proto, false);

	log_info("%s: %s", c->session.addr, e->text);
	s->call.user = c;
	c->ending = true;
	c->door->env->stats.errors++;
	s->sink.reply.ops->error(&s->sink.reply, e->code, e->text);
	call_done(&s->call);
}

static struct resp_limits
limits_of(const struct client *c)
{
	const struct conf *conf = c->door->env->conf;
	struct resp_limits lim = {
	    .max_args = (size_t)conf->max_arguments,
	    .max_bulk = (size_t)conf->max_request,
	    .max_request = (size_t)conf->max_request,
	    .max_inline = INLINE_MAX};

	if (c->session.role == ROLE_NONE) {
		lim.max_args = STRANGER_ARGS;
		lim.max_bulk = STRANGER_BYTES;
		lim.max_request = STRANGER_BYTES;
	}
	return lim;
}

/* Runs commands from the front of the input; how many bytes they took. */
static size_t
run_input(struct client *c, const char *data, size_t len)
{
	size_t at = 0, used;
	struct err e;

	while (at < len && may_run(c)) {
		struct resp_limits lim = limits_of(c);
		int rc = resp_parse(&c->parser, data + at, len - at, &lim,
		    &used, &e);

		if (rc == 0)
			return at;
		if (rc < 0) {
			refuse(c, &e);
			return len;
		}
		at += used;
		if (c->parser.argc == 0)
			continue;
		if (is_http(&c->parser)) {
			client_drop(c, "it speaks HTTP, perhaps on behalf of"
			    " a web page");
			return len;
		}
		run(c, used);
	}
	c->stalled = at < len && !c->ending;
	return c->ending ? len : at;
}

static size_t
on_data(void *user, const char *data, size_t len)
{
	struct client *c = user;
	size_t used;

	c->stalled = false;
	used = run_input(c, data, len);
	if (!c->conn)
		return used;
	if (c->parser.cap > PARSER_KEEP && resp_parser_at_rest(&c->parser))
		resp_parser_done(&c->parser);
	if (c->stalled && len - used >= READ_AHEAD)
		conn_pause(c->conn);
	client_settle(c);
	return used;
}

static void
on_eof(void *user)
{
	struct client *c = user;

	c->eof = true;
	/* Nobody is there for whom a job could be fetched. */
	slot_line_cancel_waiting(&c->line, true);
	client_settle(c);
}

static void
on_drained(void *user)
{
	struct client *c = user;

	if (c->stalled)
		wake(c);
}

static void
on_closed(void *user, const char *reason)
{
	struct client *c = user;
	struct resp_door *door = c->door;

	/* Who has left, or was asked to, is no news. */
	log_about(c->eof || c->ending || door->draining ? LOG_DEBUG : LOG_INFO,
	    NULL, "%s: closed: %s", c->session.addr, reason);
	c->conn = NULL;
	multi_leave(door->env, &c->session);
	subscribe_leave(&c->session);
	if (c->session.monitor)
		door->env->monitors--;
	c->session.monitor = false;
	feed_close(&c->feed);
	unwake(c);
	door->clients[c->index] = door->clients[--door->nclients];
	door->clients[c->index]->index = c->index;
	TAILQ_INSERT_TAIL(&door->gone, c, gone_entry);
	resp_parser_done(&c->parser);
	slot_line_abandon(&c->line);
}

static const struct conn_ops client_ops = {
	.data = on_data,
	.eof = on_eof,
	.drained = on_drained,
	.closed = on_closed,
};

void
client_new(struct resp_door *door, int fd, const struct peer *peer)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->door = door;
	c->young = true;
	session_init(&c->session, ++door->env->last_session, "resp",
	    peer->name, session_role_of(door->env->conf, peer->is_unix,
	    peer->loopback));
	resp_parser_init(&c->parser);
	if (door->nclients == door->cap) {
		door->cap = door->cap ? door->cap * 2 : 16;
		door->clients = xrealloc(door->clients,
		    door->cap * sizeof(struct client *));
	}
	c->index = door->nclients;
	door->clients[door->nclients++] = c;
	c->conn = conn_new(door->conns, fd, &client_ops, c);
	slot_line_init(&c->line, conn_out(c->conn));
}

bool
client_run_ready(struct resp_door *door)
{
	size_t n = door->nready;	/* not those that come meanwhile */
	struct client *c;
	bool ran = false;

	while (n-- > 0 && (c = TAILQ_FIRST(&door->ready))) {
		unwake(c);
		if (c->stalled && may_run(c)) {
			ran = true;
			conn_resume(c->conn);
			conn_kick(c->conn);
		}
		if (c->conn)
			client_settle(c);
	}
	return ran;
}

void
client_reap(struct resp_door *door)
{
	struct client *c, *next;

	TAILQ_FOREACH_SAFE(c, &door->gone, gone_entry, next) {
		if (c->line.n > 0)
			continue;
		TAILQ_REMOVE(&door->gone, c, gone_entry);
		session_done(&c->session);
		free(c);
	}
}

void
client_drop(struct client *c, const char *reason)
{
	if (c->conn)
		conn_close(c->conn, reason);
}

bool
client_unblock(struct client *c, enum unblock how)
{
	return c->waiting && cmd_unblock(&c->waiting->call, how);
}

void
client_drain(struct client *c)
{
	while (c->conn && !c->stalled && !c->ending && conn_read(c->conn))
		continue;
	if (!c->conn)
		return;
	c->early = conn_buffered(c->conn);
	slot_line_cancel_waiting(&c->line, false);
}

/* Who does not read what it has subscribed to. */
static void
check_backlog(struct client *c)
{
	size_t max = (size_t)c->door->env->conf->max_output;

	if (c->conn && (c->line.held > max ||
	    buf_size(conn_out(c->conn)) > max))
		client_drop(c, "more than max_output bytes wait for it");
}

void
client_tell(struct client *c, const struct buf *line)
{
	static const struct bh_bytes none;
	struct slot *s = slot_new(&c->line, &none, 0, c->session.proto, false);

	s->call.user = c;
	buf_add(s->sink.out, buf_peek(line), buf_size(line));
	call_done(&s->call);
	check_backlog(c);
}

/* In RESP3 a push need not wait for the end of a command that waits; it stands
 * between two answers, never in one: each of these is written in one go. */
void
client_push(struct client *c, void (*fill)(struct reply *r, const void *arg),
    const void *arg)
{
	static const struct bh_bytes none;
	struct resp_sink sink;
	struct slot *s;

	if (!c->conn)
		return;
	if (c->session.proto == 3 && c->waiting &&
	    STAILQ_FIRST(&c->line.slots) == c->waiting) {
		resp_sink_init(&sink, conn_out(c->conn), 3);
		fill(&sink.reply, arg);
		conn_dirty(c->conn);
	} else {
		s = slot_new(&c->line, &none, 0, c->session.proto, false);
		s->call.user = c;
		fill(&s->sink.reply, arg);
		call_done(&s->call);
	}
	check_backlog(c);
}

/* JSON has line ends between its words only, where a blank is as good. */
static void
on_news(void *arg, const struct bh_news *news)
{
	struct client *c = arg;
	struct buf line = BUF_INIT;

	buf_addc(&line, '+');
	for (size_t i = 0; i < news->json.len; i++) {
		char ch = news->json.data[i];

		buf_addc(&line, ch == '\n' || ch == '\r' ? ' ' : ch);
	}
	buf_adds(&line, "\r\n");
	client_tell(c, &line);
	buf_done(&line);
}

int
client_watch(struct client *c, const struct bh_bytes *pattern, struct err *e)
{
	struct feed *f;

	if (!pattern) {
		feed_close(&c->feed);
		return 0;
	}
	f = feed_open(c->door->env, &c->session, BH_FEED_JOBS, *pattern, 0,
	    on_news, c, e);
	if (!f)
		return -1;
	feed_close(&c->feed);
	c->feed = f;
	return 0;
}
