/* SPDX-License-Identifier: MIT */
/*
 * One connection of the RESP door: bytes to commands, answers to bytes.
 *
 * Commands run as they come, and their answers keep that order; one that
 * waits for its client's time (JOB.FETCH BLOCK, JOB.WAIT) holds back those
 * behind it, as in Redis. A client that sends faster than it reads, or has
 * too much under way, is not read from until that has changed.
 *
 * Main thread only.
 */
#ifndef FRONT_RESP_H
#define FRONT_RESP_H

#include <bsd/sys/queue.h>

#include "cmd/env.h"
#include "rt/conn.h"
#include "rt/listen.h"

struct client;

TAILQ_HEAD(client_list, client);

/* What all clients share; the front owns it. */
struct resp_door {
	struct cmd_env *env;
	struct conn_set *conns;
	struct client **clients;	/* the open ones */
	size_t nclients, cap;
	struct client_list ready;	/* may go on with what they sent */
	size_t nready;
	struct client_list gone;	/* closed, their calls still run */
	bool draining;
	int64_t young_until;		/* mono; INT64_MAX: is over */
};

void client_new(struct resp_door *door, int fd, const struct peer *peer);
struct session *client_session(struct client *c);
/* Of a session of this door. */
struct client *client_of(struct session *who);

/* Lets those go on that could not before; true when there were any. */
bool client_run_ready(struct resp_door *door);
/* Frees the closed ones whose calls have ended. */
void client_reap(struct resp_door *door);

/* Closes it now; the front's array loses it. */
void client_drop(struct client *c, const char *reason);
/* CLIENT UNBLOCK: ends what it waits for; false: it does not. */
bool client_unblock(struct client *c, enum unblock how);
/* The shutdown begins: takes what the kernel still holds; calls that wait are
 * cancelled. */
void client_drain(struct client *c);
/* Closes the connection when it has nothing to wait for any more. In a drain, a
 * client that had just been accepted may send its first command until
 * young_until: it could not know. */
void client_settle(struct client *c);
/* Shows news of the jobs of queues that match from now on, a line each; NULL:
 * no more. */
MUSTCHECK int client_watch(struct client *c, const struct bh_bytes *pattern,
    struct err *e);
/* A line for MONITOR; takes its turn behind the answers under way. */
void client_tell(struct client *c, const struct buf *line);
/* A message that fill() writes, behind the answers under way; in RESP3 not
 * behind a command that waits. */
void client_push(struct client *c, void (*fill)(struct reply *r,
    const void *arg), const void *arg);

#endif
