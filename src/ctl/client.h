/* SPDX-License-Identifier: MIT */
/*
 * A blocking client of the daemon: RESP3 over a unix or TCP socket, one
 * command at a time.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "base/attr.h"
#include "base/err.h"
#include "front/resp_codec.h"

struct client;

/* Where to: "unix:PATH", "PATH" with a slash first, "HOST:PORT", or a URL
 * redis://[user:token@]host[:port], bellhop:// the same. */
struct client_target {
	char *path;			/* unix socket, or NULL */
	char *host;
	char *port;
	char *user;			/* NULL: none given */
	char *token;			/* NULL: none given */
};

MUSTCHECK int client_target_parse(const char *s, struct client_target *ret,
    struct err *e);
void client_target_done(struct client_target *t);

/* Connects and says HELLO 3, with AUTH when there is a token. */
MUSTCHECK int client_open(struct client **ret,
    const struct client_target *target, struct err *e);
void client_close(struct client **c);
/* The next line of a stream (BELLHOP EVENTS), as client_call() answers. */
MUSTCHECK int client_next(struct client *c, const struct resp_value **ret,
    struct err *e);
/* How long an answer may take from now on; 0: for ever. */
void client_patience(struct client *c, int seconds);

/* Asks. An error answer is -1, its word and text in e. *ret belongs to the
 * client and lasts until the next call. */
MUSTCHECK int client_call(struct client *c, const struct bh_bytes *argv,
    size_t argc, const struct resp_value **ret, struct err *e);
/* The whole text of the last call's error answer, which may be longer than a
 * struct err; NULL when it was none. */
const char *client_error(const struct client *c);

#endif
