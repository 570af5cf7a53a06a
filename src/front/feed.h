/* SPDX-License-Identifier: MIT */
/*
 * News for somebody: a subscription to the bus that tells only what its
 * session may see. Main thread only.
 */
#ifndef FRONT_FEED_H
#define FRONT_FEED_H

#include "base/err.h"
#include "cmd/env.h"

struct feed;

/* As bus_subscribe(), for a reader; who must outlive the feed. NULL: refused,
 * with a sentence. */
struct feed *feed_open(struct cmd_env *env, const struct session *who,
    enum bh_feed feed, struct bh_bytes pattern, uint64_t after,
    bh_news_fn *fn, void *arg, struct err *e);
void feed_close(struct feed **f);

#endif
