/* SPDX-License-Identifier: MIT */
/* What all parts of the door share. */
#ifndef HTTP_DOOR_H
#define HTTP_DOOR_H

#include <bsd/sys/queue.h>

#include "plugin.h"
#include "http/web.h"

struct client;
struct feed;

struct door {
	const struct bh_host *host;
	struct web *web;
	size_t max_payload, max_request;
	size_t stream_buffer;
	bool draining;
	/* Since the start, for /metrics: by the first digit of the status. */
	uint64_t answers[6];
	TAILQ_HEAD(, client) clients;	/* that are connected */
	TAILQ_HEAD(, feed) feeds;	/* event streams and WebSockets */
	size_t nfeeds;
	struct ev_timer *beat;		/* runs while there is a feed */
	bool reap;			/* a feed has died in this turn */
};

/* Who speaks on a connection; it outlives it while a call runs. */
struct client {
	TAILQ_ENTRY(client) entry;
	const struct bh_host *host;
	struct web_conn *conn;		/* until it is closed */
	struct bh_caller *caller;	/* made by its first request */
	char *token;
	unsigned busy;
	bool closed;
};

/* Makes the caller be whom the token names; NULL: nobody in particular. */
int client_identify(struct client *c, const struct web_conn *conn,
    struct bh_bytes authorization);
void client_hold(struct client *c);
void client_drop(struct client *c);

#endif
