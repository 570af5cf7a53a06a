/* SPDX-License-Identifier: MIT */
#include "redis/link.h"

#include <errno.h>
#include <ev.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "redis/error.h"
#include "redis/mem.h"
#include "redis/resolve.h"
#include "redis/tls.h"

/* Between two attempts: the first, doubled each time, and the longest. */
#define BACKOFF_S 0.05
#define BACKOFF_MAX_S 2.0
/* Idle for so long, it is asked whether it is still there. */
#define IDLE_S 5.0
#define WORDS_MAX 16

enum link_state { L_DOWN, L_RESOLVE, L_CONNECT, L_TLS, L_GREET, L_UP };

/* A reply that is awaited. */
struct slot {
	rlink_reply_fn *fn;
	void *arg;
	ev_tstamp sent;
};

struct rlink {
	struct ev_loop *loop;
	struct rlink_config c;		/* url, name: not used */
	struct redis_url url;
	char *name;
	double timeout;			/* seconds */
	enum link_state state;
	bool dead;			/* freed inside a call of ours */
	unsigned busy;			/* calls of ours that are running */

	ev_timer timer;			/* the next attempt, or the limit */
	ev_prepare flush;
	ev_io io;
	int fd;
	struct rresolve *resolve;
	struct addrinfo *addrs, *addr;
	struct rtls *tls;
	bool tls_read_wants_write, tls_write_wants_read;
	redisReader *reader;
	ev_tstamp heard;		/* when bytes came last */

	char *out;			/* [done, len) is to be sent */
	size_t done, len, cap;
	bool blocked;			/* the socket is full */

	struct slot *slots;		/* a ring; cap is a power of two */
	unsigned head, tail, ring;
	unsigned greetings;		/* of ours, not yet answered */

	unsigned fails;			/* attempts in vain since it was up */
	unsigned short dice[3];
};

static void begin(struct rlink *l);
static void lost(struct rlink *l, const char *why);
static void lost_by(struct rlink *l, const char *why, bool refused);

/* --- the caller may free the link in whatever it is told --- */

static void
enter(struct rlink *l)
{
	l->busy++;
}

/* False: the link is gone. */
static bool
leave(struct rlink *l)
{
	if (--l->busy > 0 || !l->dead)
		return !l->dead;
	if (l->reader)
		redisReaderFree(l->reader);
	free(l);
	return false;
}

/* --- sending --- */

static void
watch(struct rlink *l, int events)
{
	if (ev_is_active(&l->io) && (l->io.events & (EV_READ | EV_WRITE)) ==
	    events)
		return;
	ev_io_stop(l->loop, &l->io);
	ev_io_set(&l->io, l->fd, events);
	ev_io_start(l->loop, &l->io);
}

static void
watch_traffic(struct rlink *l)
{
	bool write = (l->blocked && !l->tls_write_wants_read) ||
	    l->tls_read_wants_write;

	watch(l, EV_READ | (write ? EV_WRITE : 0));
}

static ssize_t
put_bytes(struct rlink *l, const char *data, size_t len,
    char why[BH_ERROR_TEXT])
{
	ssize_t n;

	if (l->tls) {
		n = rtls_write(l->tls, data, len, why);
		l->tls_write_wants_read = n == RTLS_READ;
		return n;
	}
	n = send(l->fd, data, len, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return RTLS_WRITE;
	snprintf(why, BH_ERROR_TEXT, "%s", strerror(errno));
	return RTLS_FAILED;
}

static void
flush(struct rlink *l)
{
	char why[BH_ERROR_TEXT];

	l->blocked = false;
	while (l->done < l->len) {
		ssize_t n = put_bytes(l, l->out + l->done, l->len - l->done,
		    why);

		if (n == RTLS_FAILED) {
			lost(l, why);
			return;
		}
		if (n < 0) {
			l->blocked = true;
			break;
		}
		l->done += (size_t)n;
	}
	if (l->done == l->len) {
		l->done = l->len = 0;
		if (l->cap > 1 << 20) {
			free(l->out);
			l->out = NULL;
			l->cap = 0;
		}
	}
	watch_traffic(l);
}

static void
on_flush(struct ev_loop *loop, ev_prepare *w, int what)
{
	struct rlink *l = w->data;

	(void)loop, (void)what;
	if (l->state < L_GREET || l->blocked || l->done == l->len)
		return;
	enter(l);
	flush(l);
	(void)leave(l);
}

static void
append(struct rlink *l, const void *data, size_t len)
{
	if (len == 0)
		return;			/* data may be NULL then */
	if (l->len + len > l->cap && l->done > 0) {
		memmove(l->out, l->out + l->done, l->len - l->done);
		l->len -= l->done;
		l->done = 0;
	}
	if (l->len + len > l->cap) {
		l->cap = (l->len + len) * 2;
		l->out = mem_grow(l->out, l->cap);
	}
	memcpy(l->out + l->len, data, len);
	l->len += len;
}

static void
append_length(struct rlink *l, char kind, size_t n)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%c%zu\r\n", kind, n);

	append(l, text, (size_t)len);
}

static void
append_command(struct rlink *l, int argc, const char **argv,
    const size_t *argvlen)
{
	append_length(l, '*', (size_t)argc);
	for (int i = 0; i < argc; i++) {
		size_t len = argvlen ? argvlen[i] : strlen(argv[i]);

		append_length(l, '$', len);
		append(l, argv[i], len);
		append(l, "\r\n", 2);
	}
}

static void
ring_grow(struct rlink *l)
{
	unsigned n = l->tail - l->head;
	struct slot *slots = mem_new(2 * l->ring * sizeof(*slots));

	for (unsigned i = 0; i < n; i++)
		slots[i] = l->slots[(l->head + i) & (l->ring - 1)];
	free(l->slots);
	l->slots = slots;
	l->ring *= 2;
	l->head = 0;
	l->tail = n;
}

static void
await(struct rlink *l, rlink_reply_fn *fn, void *arg)
{
	if (l->tail - l->head == l->ring)
		ring_grow(l);
	l->slots[l->tail++ & (l->ring - 1)] = (struct slot){fn, arg,
	    ev_now(l->loop)};
}

static void
send_command(struct rlink *l, int argc, const char **argv,
    const size_t *argvlen, rlink_reply_fn *fn, void *arg)
{
	append_command(l, argc, argv, argvlen);
	await(l, fn, arg);
}

bool
rlink_send(struct rlink *l, int argc, const char **argv,
    const size_t *argvlen, rlink_reply_fn *fn, void *arg)
{
	if (!rlink_up(l))
		return false;
	send_command(l, argc, argv, argvlen, fn, arg);
	return true;
}

bool
rlink_sendv(struct rlink *l, rlink_reply_fn *fn, void *arg, ...)
{
	const char *argv[WORDS_MAX];
	int argc = 0;
	va_list ap;

	va_start(ap, arg);
	while (argc < WORDS_MAX && (argv[argc] = va_arg(ap, const char *)))
		argc++;
	va_end(ap);
	return rlink_send(l, argc, argv, NULL, fn, arg);
}

bool
rlink_tell(struct rlink *l, int argc, const char **argv,
    const size_t *argvlen)
{
	if (!rlink_up(l))
		return false;
	append_command(l, argc, argv, argvlen);
	return true;
}

/* --- the end of a connection --- */

static void
wait_again(struct rlink *l)
{
	double s = BACKOFF_S * (double)(1 << (l->fails < 6 ? l->fails : 6));

	if (s > BACKOFF_MAX_S)
		s = BACKOFF_MAX_S;
	l->fails++;
	l->timer.repeat = s * (0.5 + 0.5 * erand48(l->dice));
	ev_timer_again(l->loop, &l->timer);
}

static void
close_socket(struct rlink *l)
{
	ev_io_stop(l->loop, &l->io);
	rtls_free(&l->tls);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->blocked = false;
	l->tls_read_wants_write = l->tls_write_wants_read = false;
	l->done = l->len = 0;
	l->greetings = 0;
}

/* All that a connection had; what was asked on it learns that it is lost. */
static void
disconnect(struct rlink *l)
{
	l->state = L_DOWN;
	ev_timer_stop(l->loop, &l->timer);
	rresolve_cancel(&l->resolve);
	if (l->addrs)
		freeaddrinfo(l->addrs);
	l->addrs = l->addr = NULL;
	close_socket(l);
	while (l->head != l->tail) {
		struct slot s = l->slots[l->head++ & (l->ring - 1)];

		if (s.fn)
			s.fn(s.arg, NULL);
	}
}

/* The reader is still in use where this is called from: it goes with the next
 * connection. */
static void
lost_by(struct rlink *l, const char *why, bool refused)
{
	char text[BH_ERROR_TEXT];

	if (l->dead || l->state == L_DOWN)
		return;
	/* why may be of what is freed here. */
	snprintf(text, sizeof(text), "%s", why);
	enter(l);
	disconnect(l);
	if (!l->dead && !l->c.once)
		wait_again(l);
	if (!l->dead)
		l->c.on_down(l->c.arg, text, refused);
	(void)leave(l);
}

static void
lost(struct rlink *l, const char *why)
{
	lost_by(l, why, false);
}

/* --- the greeting --- */

static void
up(struct rlink *l)
{
	l->state = L_UP;
	l->fails = 0;
	l->heard = ev_now(l->loop);
	l->timer.repeat = IDLE_S;
	ev_timer_again(l->loop, &l->timer);
	if (l->c.on_up)
		l->c.on_up(l->c.arg);
}

static void
greeted(void *arg, redisReply *r)
{
	struct rlink *l = arg;
	char why[BH_ERROR_TEXT];

	if (!r || l->state != L_GREET)
		return;
	if (r->type == REDIS_REPLY_ERROR) {
		(void)rerror_text(r->str, why);
		lost_by(l, why, !rerror_passes(r->str));
		return;
	}
	if (--l->greetings == 0)
		up(l);
}

/* An old server, or a user who may not: a name is not worth a refusal. */
static void
named(void *arg, redisReply *r)
{
	struct rlink *l = arg;

	if (r && l->state == L_GREET && --l->greetings == 0)
		up(l);
}

static void
greet_with(struct rlink *l, rlink_reply_fn *fn, int argc, const char **argv)
{
	send_command(l, argc, argv, NULL, fn, l);
	l->greetings++;
}

static void
greet(struct rlink *l)
{
	char db[16];
	const struct redis_url *u = &l->url;

	l->state = L_GREET;
	if (u->password && u->user)
		greet_with(l, greeted, 3, (const char *[]){"AUTH", u->user,
		    u->password});
	else if (u->password)
		greet_with(l, greeted, 2, (const char *[]){"AUTH",
		    u->password});
	if (u->db > 0) {
		snprintf(db, sizeof(db), "%d", u->db);
		greet_with(l, greeted, 2, (const char *[]){"SELECT", db});
	}
	if (l->name)
		greet_with(l, named, 3, (const char *[]){"CLIENT", "SETNAME",
		    l->name});
	greet_with(l, greeted, 1, (const char *[]){"PING"});
	flush(l);
}

/* --- the reader --- */

static void *(*plain_nil)(const redisReadTask *task);

/* RESP2 has a null string and a null array; who asked sees which, by the
 * reply's integer. */
static void *
create_nil(const redisReadTask *task)
{
	redisReply *r = plain_nil(task);

	if (r)
		r->integer = task->type == REDIS_REPLY_ARRAY;
	return r;
}

static redisReader *
reader_new(void)
{
	static redisReplyObjectFunctions functions;
	redisReader *r = mem_checked(redisReaderCreate());

	if (!plain_nil) {
		functions = *r->fn;
		plain_nil = functions.createNil;
		functions.createNil = create_nil;
	}
	r->fn = &functions;
	r->maxbuf = 0;
	return r;
}

/* --- connecting --- */

static void
shake_hands(struct rlink *l)
{
	char why[BH_ERROR_TEXT];
	int rc = rtls_handshake(l->tls, why);

	if (rc == 1)
		greet(l);
	else if (rc == RTLS_FAILED)
		lost_by(l, why, true);
	else
		watch(l, rc == RTLS_READ ? EV_READ : EV_WRITE);
}

static void
connected(struct rlink *l)
{
	if (!l->url.tls || l->url.path) {
		greet(l);
		return;
	}
	l->state = L_TLS;
	l->tls = rtls_new(l->c.tls, l->fd, l->url.host);
	shake_hands(l);
}

/* A peer that has silently gone is noticed by the kernel too, without a
 * wake-up here. */
static void
tune(int fd)
{
	int one = 1, idle = 20, every = 5, count = 3;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* errno says why it is false. */
static bool
open_socket(struct rlink *l, int family, const struct sockaddr *addr,
    socklen_t len)
{
	l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return false;
	if (family != AF_UNIX)
		tune(l->fd);
	/* EAGAIN: the backlog of a unix socket is full. */
	if (connect(l->fd, addr, len) < 0 && errno != EINPROGRESS)
		return false;
	l->state = L_CONNECT;
	watch(l, EV_WRITE);
	return true;
}

static void
unreachable(struct rlink *l, int code)
{
	char where[140], why[BH_ERROR_TEXT];

	redis_url_show(&l->url, where, sizeof(where));
	snprintf(why, sizeof(why), "%s: %s%s", where, strerror(code),
	    code == ECONNREFUSED || code == ENOENT ?
	    "; does the server run, and is the address right?" :
	    code == EACCES ? "; put this daemon's user into the server's"
	    " group" : "");
	lost(l, why);
}

/* One address after the other; the last one's error is told. */
static void
try_addresses(struct rlink *l, int code)
{
	for (; l->addr; l->addr = l->addr->ai_next) {
		close_socket(l);
		if (open_socket(l, l->addr->ai_family, l->addr->ai_addr,
		    l->addr->ai_addrlen))
			return;
		code = errno;
	}
	unreachable(l, code);
}

static void
on_resolved(void *arg, struct addrinfo *addrs, const char *why)
{
	struct rlink *l = arg;
	char text[BH_ERROR_TEXT];

	l->resolve = NULL;
	enter(l);
	if (addrs) {
		l->addrs = l->addr = addrs;
		try_addresses(l, ENOENT);
	} else {
		snprintf(text, sizeof(text), "the name '%.100s' has no"
		    " address: %s", l->url.host, why);
		lost(l, text);
	}
	(void)leave(l);
}

static void
begin_unix(struct rlink *l)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", l->url.path);
	if (!open_socket(l, AF_UNIX, (struct sockaddr *)&a, sizeof(a)))
		unreachable(l, errno);
}

static void
begin(struct rlink *l)
{
	if (l->reader)
		redisReaderFree(l->reader);
	l->reader = reader_new();
	l->state = L_RESOLVE;
	l->timer.repeat = l->timeout;
	ev_timer_again(l->loop, &l->timer);
	if (l->url.path)
		begin_unix(l);
	else
		l->resolve = rresolve_new(l->loop, l->url.host, l->url.port,
		    on_resolved, l);
}

/* --- receiving --- */

static void
take_reply(struct rlink *l, redisReply *r)
{
	struct slot s;

	/* On a subscribed connection, PING is answered by an array. */
	if (l->head != l->tail && !(l->c.on_push && l->state == L_UP &&
	    r->type == REDIS_REPLY_ARRAY && r->elements >= 3)) {
		s = l->slots[l->head++ & (l->ring - 1)];
		if (s.fn)
			s.fn(s.arg, r);
	} else if (l->c.on_push) {
		l->c.on_push(l->c.arg, r);
	} else {
		lost(l, "the server has sent a reply that nobody has asked"
		    " for; is it a Redis?");
	}
}

static void
take_replies(struct rlink *l, redisReader *reader)
{
	while (!l->dead && l->state >= L_GREET && l->reader == reader) {
		void *r = NULL;

		if (redisReaderGetReply(reader, &r) != REDIS_OK) {
			lost(l, "what the server sends is not the Redis"
			    " protocol; is the address right?");
			return;
		}
		if (!r)
			return;
		take_reply(l, r);
		freeReplyObject(r);
	}
}

static ssize_t
get_bytes(struct rlink *l, char *buf, size_t size, char why[BH_ERROR_TEXT])
{
	ssize_t n;

	if (l->tls) {
		n = rtls_read(l->tls, buf, size, why);
		l->tls_read_wants_write = n == RTLS_WRITE;
	} else {
		n = recv(l->fd, buf, size, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return RTLS_READ;
		if (n < 0)
			snprintf(why, BH_ERROR_TEXT, "%s", strerror(errno));
		if (n < 0)
			n = RTLS_FAILED;
	}
	if (n == 0)
		snprintf(why, BH_ERROR_TEXT, "the server has closed the"
		    " connection");
	return n == 0 ? RTLS_FAILED : n;
}

/* Bounded, so that one talkative server does not stop the turn. */
static void
receive(struct rlink *l)
{
	static char buf[65536];
	char why[BH_ERROR_TEXT];

	for (int i = 0; i < 16 && l->state >= L_GREET; i++) {
		ssize_t n = get_bytes(l, buf, sizeof(buf), why);

		if (n == RTLS_FAILED) {
			lost(l, why);
			return;
		}
		if (n < 0)
			break;
		l->heard = ev_now(l->loop);
		if (redisReaderFeed(l->reader, buf, (size_t)n) != REDIS_OK) {
			lost(l, "no memory for a reply");
			return;
		}
		take_replies(l, l->reader);
		if (l->dead || (!l->tls && (size_t)n < sizeof(buf)))
			break;
	}
	if (l->dead || l->state < L_GREET)
		return;
	if (l->tls && rtls_pending(l->tls))
		ev_feed_event(l->loop, &l->io, EV_READ);
	watch_traffic(l);
}

static void
on_io(struct ev_loop *loop, ev_io *w, int what)
{
	struct rlink *l = w->data;
	int code = 0;
	socklen_t size = sizeof(code);

	(void)loop;
	enter(l);
	if (l->state == L_CONNECT) {
		getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &code, &size);
		if (code && l->addr) {
			l->addr = l->addr->ai_next;
			try_addresses(l, code);
		} else if (code) {
			unreachable(l, code);
		} else {
			connected(l);
		}
	} else if (l->state == L_TLS) {
		shake_hands(l);
	} else {
		if (what & EV_READ || l->tls_read_wants_write)
			receive(l);
		if (!l->dead && l->state >= L_GREET && l->blocked &&
		    (what & EV_WRITE || l->tls_write_wants_read))
			flush(l);
	}
	(void)leave(l);
}

/* --- time --- */

/* Since when the oldest command is waited for, and nothing came. */
static double
time_left(const struct rlink *l)
{
	ev_tstamp since = l->slots[l->head & (l->ring - 1)].sent;

	if (l->heard > since)
		since = l->heard;
	return since + l->timeout - ev_now(l->loop);
}

static void
check_answers(struct rlink *l)
{
	ev_tstamp now = ev_now(l->loop);
	char why[BH_ERROR_TEXT];
	double left = IDLE_S;

	/* It may have been us who stood still: look what has come. */
	if (l->head != l->tail && !l->c.patient && time_left(l) <= 0)
		receive(l);
	if (l->dead || l->state != L_UP)
		return;
	if (l->head != l->tail && !l->c.patient) {
		left = time_left(l);
		if (left <= 0) {
			snprintf(why, sizeof(why), "no answer for %.0f s",
			    l->timeout);
			lost(l, why);
			return;
		}
	} else if (l->head == l->tail && now - l->heard >= IDLE_S - 0.1) {
		send_command(l, 1, (const char *[]){"PING"}, NULL, NULL,
		    NULL);
	}
	l->timer.repeat = left < IDLE_S ? left + 0.01 : IDLE_S;
	ev_timer_again(l->loop, &l->timer);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int what)
{
	struct rlink *l = w->data;
	char where[140], why[BH_ERROR_TEXT];

	(void)loop, (void)what;
	enter(l);
	if (l->state == L_DOWN) {
		begin(l);
	} else if (l->state == L_UP) {
		check_answers(l);
	} else {
		redis_url_show(&l->url, where, sizeof(where));
		snprintf(why, sizeof(why), l->state == L_RESOLVE ?
		    "%s: the name server does not answer" :
		    l->state == L_CONNECT ?
		    "%s: no connection within %.0f s" :
		    l->state == L_TLS ? "%s: TLS is not answered for %.0f s;"
		    " is it a port with TLS?" :
		    "%s: it is connected, and no answer has come for %.0f s",
		    where, l->timeout);
		lost(l, why);
	}
	(void)leave(l);
}

/* --- life --- */

struct rlink *
rlink_new(const struct rlink_config *c)
{
	struct rlink *l = mem_new(sizeof(*l));
	ev_tstamp now = ev_time();

	l->loop = c->loop;
	l->c = *c;
	redis_url_copy(&l->url, c->url);
	l->name = c->name ? mem_str(c->name) : NULL;
	l->timeout = (double)c->timeout_ms / 1000;
	l->fd = -1;
	l->ring = 64;
	l->slots = mem_new(l->ring * sizeof(*l->slots));
	l->dice[0] = (unsigned short)getpid();
	l->dice[1] = (unsigned short)(int64_t)(now * 1e6);
	l->dice[2] = (unsigned short)(uintptr_t)l;
	ev_io_init(&l->io, on_io, -1, 0);
	l->io.data = l;
	ev_prepare_init(&l->flush, on_flush);
	l->flush.data = l;
	ev_prepare_start(l->loop, &l->flush);
	ev_init(&l->timer, on_timer);
	l->timer.data = l;
	l->timer.repeat = 0.0001;
	ev_now_update(l->loop);
	ev_timer_again(l->loop, &l->timer);
	return l;
}

void
rlink_free(struct rlink **lp)
{
	struct rlink *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	enter(l);
	l->dead = true;
	ev_prepare_stop(l->loop, &l->flush);
	disconnect(l);
	ev_timer_stop(l->loop, &l->timer);
	redis_url_done(&l->url);
	free(l->name);
	free(l->out);
	free(l->slots);
	l->out = NULL;
	l->slots = NULL;
	l->head = l->tail = 0;
	(void)leave(l);
}

bool
rlink_up(const struct rlink *l)
{
	return l && l->state == L_UP;
}

size_t
rlink_under_way(const struct rlink *l)
{
	return l->tail - l->head;
}

size_t
rlink_unsent(const struct rlink *l)
{
	return l->len - l->done;
}

void
rlink_drop(struct rlink *l, const char *why)
{
	lost(l, why);
}

void
rlink_move(struct rlink *l, const char *host, const char *port)
{
	redis_url_move(&l->url, host, port);
}

void
rlink_be_patient(struct rlink *l, bool patient)
{
	l->c.patient = patient;
}
