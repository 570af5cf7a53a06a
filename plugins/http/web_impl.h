/* SPDX-License-Identifier: MIT */
/* What web.c and web_answer.c share. */
#ifndef HTTP_WEB_IMPL_H
#define HTTP_WEB_IMPL_H

#include <ev.h>
#include <microhttpd.h>

#include "http/conn.h"
#include "http/web.h"

/* web_req.flags */
#define R_INSIDE 1u			/* MHD calls us for it right now */
#define R_COMPLETE 2u			/* complete() was called */
#define R_ANSWERED 4u			/* what comes of its body is dropped */
#define R_TOOBIG 8u
#define R_CLOSE 16u			/* the connection ends with it */

struct web {
	struct MHD_Daemon *mhd;
	struct ev_loop *loop;
	struct web_ops ops;
	void *arg;
	struct web_limits limits;
	struct conn_set conns;
	ev_io io;
	struct web_conn *adding;	/* inside MHD_add_connection() */
	bool kick;			/* MHD_run() has something to do */
	unsigned pumps;
	unsigned requests;		/* so many were complete */
	size_t detached;		/* requests without a connection */
	bool closed;			/* goes with the last of them */
	double draining_at;		/* 0: not */
	ev_timer young;			/* the end of their time */
};

/* Ends a connection from our side; MHD sees that and cleans up. */
void web_cut(struct web_conn *c);
bool web_nothing_unread(const struct web_conn *c);
void web_suspend(struct web_conn *c);
void web_resume(struct web_conn *c);
void web_say(struct web *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct web_conn *web_conn_of(struct MHD_Connection *mhd);
/* Queues the answer that is there. */
enum MHD_Result web_deliver(struct web_conn *c, struct web_req *r);
/* MHD has done with it, or its connection is gone: the end, unless a call
 * still runs, which ends it by answering. */
void web_over(struct web_req *r);
void web_detach(struct web_req *r);

#endif
