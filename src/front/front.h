/* SPDX-License-Identifier: MIT */
/*
 * The RESP door: listening sockets, and one client for each connection. It
 * fills in the connections' side of struct cmd_env.
 *
 * Main thread only.
 */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "base/err.h"
#include "cmd/env.h"
#include "rt/loop.h"

struct front;

/* Binds every address of listen.resp, or takes over what systemd passes as
 * "resp"; refuses to be reachable from other machines while there is no
 * token. Nothing is accepted before front_start(). */
MUSTCHECK int front_new(struct front **ret, struct loop *l,
    struct cmd_env *env, struct err *e);
void front_start(struct front *f);
/* Closes everything. The backend must have ended every request: close it
 * first. */
void front_free(struct front **f);

/* Once a turn, last: answers leave. True when commands that had to wait were
 * started, so that another turn is due at once. */
bool front_flush(struct front *f);

/* The shutdown has begun (env->draining is set): nothing more is accepted,
 * what has been received is answered, waiting calls get BUSY, and each
 * connection is closed as soon as it has its answers. */
void front_drain(struct front *f);
/* During a drain: the mono ms when it wants to be called again. */
int64_t front_next(struct front *f);
/* True when every connection is closed. */
bool front_idle(const struct front *f);
/* Closes every connection now: the second SIGTERM, the end of the grace. */
void front_close_clients(struct front *f);

/* The i-th address as it is bound; NULL past the end. */
const char *front_address(const struct front *f, size_t i);
/* True when systemd holds all of them: it listens on after the daemon. */
bool front_inherited(const struct front *f);

#endif
