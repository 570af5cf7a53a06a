/* SPDX-License-Identifier: MIT */
/* The backend on a Redis or Valkey server: struct bh_backend_ops. */
#ifndef REDIS_REDIS_H
#define REDIS_REDIS_H

#include "plugin.h"

struct redis_config {
	const char *url;
	char *const *sentinels;		/* ends with NULL */
	const char *sentinel_master;
	const char *password;		/* when the url has none; or empty */
	const char *ca_file;		/* empty: the system's */
	const char *prefix;		/* of all keys that are not users' */
	const char *state_dir;
	int64_t max_queues;		/* 0: as many as there can be */
	bool accept_loss;
	/* Scripts get the turn's wall clock instead of the server's: tests
	 * turn it by hand. */
	bool turn_clock;
};

extern const struct bh_backend_ops redis_ops;

/* host lives longer. Waits until the server has been looked at, or some seconds: 0, also when
 * Redis is away, or -1 with a sentence when it must not be used so. */
int redis_open(void **ret, const struct redis_config *c,
    const struct bh_host *host, char err[BH_ERROR_TEXT]);

/* Closes as if the process had died: what it would still have told the server
 * is lost with the connections. For tests. */
void redis_abandon(void *be);

/* bh_backend_type.ready. */
int redis_ready(void *be, char err[BH_ERROR_TEXT]);

#endif
