/* SPDX-License-Identifier: MIT */
/*
 * Where a Redis is: redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss:// for
 * TLS, unix:PATH or unix://[USER:PASSWORD@]PATH[?db=N]. Escapes (%40) are
 * undone; a lone word before the @ without a colon is a password, as in
 * redis-cli's older URLs :PASSWORD@ is.
 */
#ifndef REDIS_URL_H
#define REDIS_URL_H

#include <stdbool.h>

#include "plugin.h"

struct redis_url {
	bool tls;
	char *path;			/* of a unix socket, or NULL */
	char *host;			/* IPv6 without brackets */
	char *port;
	char *user;			/* NULL: the default user */
	char *password;			/* NULL: none */
	int db;
};

/* 0, or -1 with a sentence that shows no password. */
int redis_url_parse(struct redis_url *ret, const char *text,
    char err[BH_ERROR_TEXT]);
/* "[::1]:26379", "host": the host and the port (or the default) of a
 * sentinel, or of a master that one names. */
int redis_url_host(struct redis_url *ret, const char *text,
    const char *port, char err[BH_ERROR_TEXT]);
void redis_url_copy(struct redis_url *to, const struct redis_url *from);
/* Another address, the same secrets. */
void redis_url_move(struct redis_url *u, const char *host, const char *port);
void redis_url_done(struct redis_url *u);
/* For people: without user and password. */
void redis_url_show(const struct redis_url *u, char *out, size_t size);

#endif
