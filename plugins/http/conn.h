/* SPDX-License-Identifier: MIT */
/*
 * The connections of web.c: which phase each is in, when its time is up, who
 * is at its other end.
 *
 * A phase is a list. Deadlines inside NEW, REST and HEAD ascend, so a sweep
 * looks at their first ones only.
 *
 *   NEW ──► HEAD ──► BUSY ──► SENDING ──► REST ──► HEAD …
 *                     └─────► OPEN (an event stream, a WebSocket)
 */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include <bsd/sys/queue.h>
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "plugin.h"

struct web;
struct web_req;
struct MHD_Connection;

enum phase {
	PHASE_NEW,			/* nothing has come yet */
	PHASE_REST,			/* between two requests */
	PHASE_HEAD,			/* a request is arriving */
	PHASE_BUSY,			/* it is complete, no answer yet */
	PHASE_SENDING,
	PHASE_OPEN,			/* an answer without an end */
	PHASES
};

struct web_conn {
	struct web *web;
	struct MHD_Connection *mhd;
	int fd;
	enum phase phase;
	bool suspended;
	bool shut;			/* shutdown() was called */
	bool late;			/* its request came after the drain */
	bool orphan;			/* its request was detached */
	bool pipelines;			/* sends before it is answered */
	bool young;			/* at the drain: nothing had come yet */
	uint64_t early;			/* bytes received before the drain */
	unsigned pump;			/* the one that ended a request */
	double due;			/* loop time; 0: none */
	struct web_req *req;
	void *user;
	ev_io watch;			/* for the end of a waiting client */
	char *local;
	bool is_unix, loopback;
	TAILQ_ENTRY(web_conn) entry;
	char name[];			/* the peer's */
};

TAILQ_HEAD(conn_list, web_conn);

struct conn_set {
	struct ev_loop *loop;
	struct conn_list phase[PHASES];
	size_t count;
	double request_s, rest_s;
	ev_timer timer;
	double timer_at;		/* 0: not running */
	/* Its time is up; it leaves its phase. */
	void (*late)(struct web_conn *c);
};

void conn_set_init(struct conn_set *s, struct ev_loop *loop,
    void (*late)(struct web_conn *c));
void conn_set_done(struct conn_set *s);

struct web_conn *conn_new(struct conn_set *s, struct web *w, int fd,
    const struct bh_peer *peer);
void conn_free(struct conn_set *s, struct web_conn *c);
/* bytes: how many the client has to read, for SENDING. */
void conn_enter(struct conn_set *s, struct web_conn *c, enum phase phase,
    size_t bytes);

#endif
