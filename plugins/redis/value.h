/* SPDX-License-Identifier: MIT */
/* Replies of the server as answers of the keyspace. */
#ifndef REDIS_VALUE_H
#define REDIS_VALUE_H

#include "plugin.h"

struct redisReply;

/* Names of Bellhop's own keys are left out of this. */
struct rvalue_filter {
	const char *prefix;
	enum { RVALUE_ALL, RVALUE_KEYS, RVALUE_SCAN } what;
};

/* A row of values, freed by the caller; its strings are the reply's. */
struct bh_value *rvalue_new(const struct redisReply *r,
    const struct rvalue_filter *f);
/* The number of rvalue_new()'s values. */
size_t rvalue_count(const struct redisReply *r);
/* Writes the values to v; the place behind them. */
struct bh_value *rvalue_fill(struct bh_value *v, const struct redisReply *r);
struct bh_value *rvalue_filter(struct bh_value *v,
    const struct redisReply *r, const struct rvalue_filter *f);
/* The five integers of CL.THROTTLE from the answer of lua/throttle.lua. */
struct bh_value *rvalue_throttle(struct bh_value *v,
    const struct redisReply *r, int64_t burst);
bool rvalue_own(const char *name, size_t len, const char *prefix);

#endif
