/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses without waiting: getaddrinfo() on a thread of its own,
 * which shares nothing but the one request.
 */
#ifndef REDIS_RESOLVE_H
#define REDIS_RESOLVE_H

struct addrinfo;
struct ev_loop;
struct rresolve;

/* addrs NULL: why is a sentence. The list is the callee's: freeaddrinfo(). */
typedef void rresolve_fn(void *arg, struct addrinfo *addrs, const char *why);

/* fn is called from the loop, at once in its next turn for a literal
 * address. */
struct rresolve *rresolve_new(struct ev_loop *loop, const char *host,
    const char *port, rresolve_fn *fn, void *arg);
/* fn will not be called. Not from fn: the request is gone then. */
void rresolve_cancel(struct rresolve **r);

#endif
