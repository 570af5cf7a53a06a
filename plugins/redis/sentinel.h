/* SPDX-License-Identifier: MIT */
/*
 * Sentinels say which Redis is the master, and when it is another one. One of
 * them is listened to at a time; when it goes, the next one is.
 */
#ifndef REDIS_SENTINEL_H
#define REDIS_SENTINEL_H

#include "plugin.h"
#include "redis/url.h"

struct ev_loop;
struct rsentinel;
struct rtls_context;

struct rsentinel_config {
	struct ev_loop *loop;
	/* HOST:PORT, or a whole url with the sentinel's own password. */
	char *const *sentinels;		/* ends with NULL */
	const char *master;		/* its name there */
	const struct redis_url *url;	/* says whether by TLS */
	struct rtls_context *tls;
	void (*on_master)(void *arg, const char *host, const char *port);
	/* None of them could say; they are asked again by and by. */
	void (*on_none)(void *arg, const char *why);
	void *arg;
};

/* One of sentinels; -1 with a sentence that shows no password. */
int rsentinel_url(struct redis_url *ret, const char *text,
    char err[BH_ERROR_TEXT]);

int rsentinel_new(struct rsentinel **ret, const struct rsentinel_config *c,
    char err[BH_ERROR_TEXT]);
/* The master is lost: who is it now? No-op while that is being asked. */
void rsentinel_ask(struct rsentinel *s);
void rsentinel_free(struct rsentinel **s);

#endif
