/* SPDX-License-Identifier: MIT */
/*
 * One connection to one Redis: it connects, says who it is (AUTH, SELECT,
 * CLIENT SETNAME), and connects again by itself when it is lost, at most 2 s
 * later. Commands are pipelined; what a turn of the loop has sent leaves in
 * one write before the loop sleeps.
 *
 * A reply function is called from the loop, never from rlink_send(). Its
 * reply is the link's and freed when it returns; NULL: the connection was lost
 * after the command was sent, whether it was carried out is not known.
 *
 * A Redis that does not answer a command, or a PING after some idle seconds,
 * within the time limit counts as lost: the connection is closed.
 *
 * Main thread only.
 */
#ifndef REDIS_LINK_H
#define REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis/url.h"

struct ev_loop;
struct redisReply;
struct rlink;
struct rtls_context;

typedef void rlink_reply_fn(void *arg, struct redisReply *r);

struct rlink_config {
	struct ev_loop *loop;
	const struct redis_url *url;	/* copied */
	const char *name;		/* for CLIENT SETNAME, or NULL */
	struct rtls_context *tls;	/* with url->tls; lives longer */
	int64_t timeout_ms;		/* connect, and each command */
	/* Its commands may take as long as they like (BLPOP): no limit but
	 * that of connecting. */
	bool patient;
	bool once;			/* is not connected again */
	/* In the order of a life; all may be NULL but on_down. */
	void (*on_up)(void *arg);
	/* It was lost, or could not be had. refused: the server is there and
	 * says no (password, certificate): somebody has to change something. */
	void (*on_down)(void *arg, const char *why, bool refused);
	/* A reply that nobody waits for: a message of a subscription. */
	void (*on_push)(void *arg, struct redisReply *r);
	void *arg;
};

/* It begins to connect in the loop's next turn. */
struct rlink *rlink_new(const struct rlink_config *c);
/* Reply functions of what is under way are called with NULL first; on_down is
 * not. May be called from on_up, on_down and reply functions. */
void rlink_free(struct rlink **l);

bool rlink_up(const struct rlink *l);
/* False: it is not up, nothing was sent and fn is not called. */
bool rlink_send(struct rlink *l, int argc, const char **argv,
    const size_t *argvlen, rlink_reply_fn *fn, void *arg);
/* The same for words without NUL bytes, ended by NULL. */
bool rlink_sendv(struct rlink *l, rlink_reply_fn *fn, void *arg, ...)
    __attribute__((sentinel));
/* SUBSCRIBE and the like: an answer comes as a push. */
bool rlink_tell(struct rlink *l, int argc, const char **argv,
    const size_t *argvlen);
/* Commands that have no reply yet. */
size_t rlink_under_way(const struct rlink *l);
/* Bytes that the socket has not taken yet. */
size_t rlink_unsent(const struct rlink *l);
/* Closes the connection, as if it had been lost, and connects anew. */
void rlink_drop(struct rlink *l, const char *why);
/* From the next connect on; drops nothing. */
void rlink_move(struct rlink *l, const char *host, const char *port);
/* Another limit for the commands from now on. */
void rlink_be_patient(struct rlink *l, bool patient);

#endif
