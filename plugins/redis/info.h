/* SPDX-License-Identifier: MIT */
/*
 * What INFO says about a server, and whether it may be used: pure functions.
 */
#ifndef REDIS_INFO_H
#define REDIS_INFO_H

#include <stdbool.h>

#include "plugin.h"

struct rinfo {
	char version[32];		/* of Redis, or what Valkey says it is
					   compatible with */
	char valkey[32];		/* empty: it is no Valkey */
	char policy[32];		/* maxmemory-policy */
	bool cluster, sentinel;
	bool replica;
	bool aof;
	bool saves;			/* by CONFIG GET save; see below */
};

/* text is the answer to INFO. saves stays as it is. */
void rinfo_read(struct rinfo *i, const char *text);

/* 0, or -1: err says why the server must not be used, and what to do.
 * save_known: CONFIG GET save was allowed. */
int rinfo_judge(const struct rinfo *i, bool save_known, bool accept_loss,
    char err[BH_ERROR_TEXT]);

#endif
