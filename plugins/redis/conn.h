/* SPDX-License-Identifier: MIT */
/*
 * Connections beside the main link: one for each client that watches keys, one
 * for each command that waits (BLPOP). A command on one of them is sent once
 * all that was sent on the main link before it has been carried out.
 */
#ifndef REDIS_CONN_H
#define REDIS_CONN_H

#include "redis/link.h"

struct rconn;
struct rconns;
struct redis_be;

struct rconns *rconns_new(struct redis_be *be);
void rconns_free(struct rconns **cs);
/* The main link is away: all of them go. Who watches has lost. */
void rconns_drop(struct rconns *cs);

/* For one command that waits; it goes back by rconn_give(). */
struct rconn *rconn_take(struct rconns *cs);
/* The client's own, or NULL; made if need be. */
struct rconn *rconn_of(struct rconns *cs, uint64_t client, bool make);
/* It was lost, with what it watched. */
bool rconn_lost(const struct rconn *c);

/* fn is called with NULL when the connection is lost or not to be had. Words
 * live until then. */
void rconn_send(struct rconn *c, int argc, const char **argv,
    const size_t *argvlen, rlink_reply_fn *fn, void *arg);
/* Nobody needs it once what is under way has ended. */
void rconn_give(struct rconn *c);
/* After each reply: it may be gone then, if it was given. */
void rconn_settle(struct rconn *c);
/* Closes it: fn of all that is under way is called with NULL, at once. */
void rconn_close(struct rconn *c);

#endif
