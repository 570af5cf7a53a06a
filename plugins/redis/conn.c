/* SPDX-License-Identifier: MIT */
#include "redis/conn.h"

#include <bsd/sys/queue.h>

#include "redis/mem.h"
#include "redis/part.h"

/* Connections that are kept though nobody needs them. */
enum { IDLE_MAX = 4 };

/* A command that waits for the connection, or for the main link. */
struct held {
	STAILQ_ENTRY(held) link;
	int argc;
	const char **argv;
	size_t *argvlen;
	rlink_reply_fn *fn;
	void *arg;
};

struct rconn {
	TAILQ_ENTRY(rconn) link;
	struct rconns *all;
	struct rlink *wire;		/* NULL: lost */
	uint64_t client;		/* 0: of a command that waits */
	size_t fences;			/* PINGs on the main link */
	bool given;			/* nobody's, once nothing is left */
	bool closing;
	bool dead;			/* freed with the last fence */
	STAILQ_HEAD(, held) held;
};

TAILQ_HEAD(rconn_list, rconn);

struct rconns {
	struct redis_be *be;
	struct rconn_list used, idle;
	size_t nidle;
};

static void
held_free(struct held *h)
{
	free(h->argv);
	free(h->argvlen);
	free(h);
}

/* What was not sent cannot have been carried out, but the callers need no
 * other word for that. */
static void
fail_held(struct rconn *c)
{
	struct held *h;

	while ((h = STAILQ_FIRST(&c->held))) {
		STAILQ_REMOVE_HEAD(&c->held, link);
		h->fn(h->arg, NULL);
		held_free(h);
	}
}

static void
send_held(struct rconn *c)
{
	struct held *h;

	while (c->fences == 0 && rlink_up(c->wire) &&
	    (h = STAILQ_FIRST(&c->held))) {
		STAILQ_REMOVE_HEAD(&c->held, link);
		(void)rlink_send(c->wire, h->argc, h->argv, h->argvlen, h->fn,
		    h->arg);
		held_free(h);
	}
}

static void
on_up(void *arg)
{
	send_held(arg);
}

static void
on_down(void *arg, const char *why, bool refused)
{
	struct rconn *c = arg;

	(void)why, (void)refused;
	rconn_close(c);
}

static void
on_fence(void *arg, struct redisReply *r)
{
	struct rconn *c = arg;

	(void)r;
	c->fences--;
	if (c->dead) {
		if (c->fences == 0)
			free(c);
		return;
	}
	send_held(c);
}

static struct rconn *
conn_new(struct rconns *cs)
{
	struct rconn *c = TAILQ_FIRST(&cs->idle);

	if (c) {
		TAILQ_REMOVE(&cs->idle, c, link);
		cs->nidle--;
	} else {
		c = mem_new(sizeof(*c));
		c->all = cs;
		STAILQ_INIT(&c->held);
		c->wire = be_link(cs->be, &(struct rlink_config){
		    .on_up = on_up, .on_down = on_down, .arg = c,
		    .patient = true, .once = true});
	}
	c->given = false;
	TAILQ_INSERT_TAIL(&cs->used, c, link);
	if (rlink_sendv(cs->be->main, on_fence, c, "PING", NULL))
		c->fences++;
	return c;
}

struct rconn *
rconn_take(struct rconns *cs)
{
	return conn_new(cs);
}

struct rconn *
rconn_of(struct rconns *cs, uint64_t client, bool make)
{
	struct rconn *c;

	if (client == 0)
		return NULL;
	TAILQ_FOREACH(c, &cs->used, link)
		if (c->client == client) {
			c->given = c->given && !make;
			return c;
		}
	if (!make)
		return NULL;
	c = conn_new(cs);
	c->client = client;
	return c;
}

bool
rconn_lost(const struct rconn *c)
{
	return !c->wire;
}

void
rconn_send(struct rconn *c, int argc, const char **argv,
    const size_t *argvlen, rlink_reply_fn *fn, void *arg)
{
	struct held *h = mem_new(sizeof(*h));

	h->argc = argc;
	h->argv = mem_new((size_t)argc * sizeof(*h->argv));
	h->argvlen = mem_new((size_t)argc * sizeof(*h->argvlen));
	h->fn = fn;
	h->arg = arg;
	for (int i = 0; i < argc; i++) {
		h->argv[i] = argv[i];
		h->argvlen[i] = argvlen ? argvlen[i] : strlen(argv[i]);
	}
	STAILQ_INSERT_TAIL(&c->held, h, link);
	send_held(c);
}

/* It is off both lists. */
static void
conn_free(struct rconn *c)
{
	rlink_free(&c->wire);
	c->dead = true;
	if (c->fences == 0)
		free(c);
}

void
rconn_settle(struct rconn *c)
{
	struct rconns *cs = c->all;

	if (!c->given || c->closing || (c->wire && (rlink_under_way(c->wire) > 0 ||
	    !STAILQ_EMPTY(&c->held))))
		return;
	TAILQ_REMOVE(&cs->used, c, link);
	c->client = 0;
	if (!rlink_up(c->wire) || cs->nidle >= IDLE_MAX) {
		conn_free(c);
		return;
	}
	TAILQ_INSERT_TAIL(&cs->idle, c, link);
	cs->nidle++;
}

void
rconn_give(struct rconn *c)
{
	c->given = true;
	rconn_settle(c);
}

/* One that somebody watches on stays, so that it is known to be lost. */
void
rconn_close(struct rconn *c)
{
	struct rconn *one;

	TAILQ_FOREACH(one, &c->all->idle, link)
		if (one == c)
			break;
	if (one) {
		TAILQ_REMOVE(&c->all->idle, c, link);
		c->all->nidle--;
		conn_free(c);
		return;
	}
	c->closing = true;
	rlink_free(&c->wire);
	fail_held(c);
	c->closing = false;
	if (c->client == 0)
		c->given = true;
	rconn_settle(c);
}

void
rconns_drop(struct rconns *cs)
{
	struct rconn *c, *next;

	while ((c = TAILQ_FIRST(&cs->idle)))
		rconn_close(c);
	TAILQ_FOREACH_SAFE(c, &cs->used, link, next)
		rconn_close(c);
}

struct rconns *
rconns_new(struct redis_be *be)
{
	struct rconns *cs = mem_new(sizeof(*cs));

	cs->be = be;
	TAILQ_INIT(&cs->used);
	TAILQ_INIT(&cs->idle);
	return cs;
}

void
rconns_free(struct rconns **csp)
{
	struct rconns *cs = *csp;
	struct rconn *c;

	if (!cs)
		return;
	*csp = NULL;
	rconns_drop(cs);
	while ((c = TAILQ_FIRST(&cs->used))) {
		TAILQ_REMOVE(&cs->used, c, link);
		conn_free(c);
	}
	free(cs);
}
