/* SPDX-License-Identifier: MIT */
/*
 * News for a client that stays: a subscription at one end, an event stream or
 * a WebSocket at the other. A beat every 15 s, only while there is a feed,
 * finds those that have gone without a word.
 */
#ifndef HTTP_FEED_H
#define HTTP_FEED_H

#include "http/ask.h"

/* Answers the request with a feed, or with an error. */
void feed_open(struct ask *a, enum bh_feed what, const char *pattern);

void feed_init(struct door *d);
/* Frees what has died in this turn. */
void feed_reap(struct door *d);
/* Tells all to go. */
void feed_drain(struct door *d);
/* Ends all, now. */
void feed_close(struct door *d);

#endif
