/* SPDX-License-Identifier: MIT */
/*
 * News for whoever subscribed: messages of topics and what happens to jobs.
 *
 * A subscription has a glob pattern over topics (BH_FEED_TOPICS) or queues
 * (BH_FEED_JOBS). All subscriptions with one pattern share a channel, which
 * keeps the last messages (options event_ring, event_memory), so that a
 * subscriber who comes back with the last id that it saw misses nothing. When
 * something may be lost it is told {"event":"gap"} first, whose id is that of
 * the last message that is not there. A channel lives on for five minutes
 * after its last subscriber. What no channel wants costs nothing: the backend
 * is told which topics to send, and to tell of jobs only while a channel is
 * there.
 *
 * Ids ascend over all messages, also over a restart (they begin at the wall
 * clock's milliseconds times 1000).
 *
 * What is told, as JSON text (bh_news.json):
 *	{"topic":"guest.9","data":…}	data as it is when it is JSON, else a
 *					string (what is not UTF-8: U+FFFD)
 *	{"event":"completed","id":"42","queue":"mail","state":"completed",
 *	 "attempt":1,"at":…}		+ "progress" or "error" where there is
 * Events: added active completed failed retrying stalled progress removed.
 *
 * Callbacks may subscribe and unsubscribe (also themselves); the strings of a
 * bh_news last until the callback returns. Who may hear what is the caller's
 * business. Main thread only.
 */
#ifndef CMD_BUS_H
#define CMD_BUS_H

#include "base/attr.h"
#include "base/err.h"
#include "plugin.h"

#define BUS_PATTERN_MAX 256

struct bus;
struct cmd_env;

/* env->ops and env->be are asked once the first subscriber comes. */
struct bus *bus_new(struct cmd_env *env);
/* The last thing of all: whoever subscribed may unsubscribe until then. When
 * the backend is closed first, env->be must be NULL. */
void bus_free(struct bus **b);

/* Messages that each channel keeps, and bytes of all of them together. */
void bus_set_limits(struct bus *b, int64_t ring, int64_t bytes);

/* after: the last id that was seen, 0 none; what is known since is told before
 * this returns. NULL: the pattern is refused, with a sentence. */
struct bh_subscription *bus_subscribe(struct bus *b, enum bh_feed feed,
    struct bh_bytes pattern, uint64_t after, bh_news_fn *fn, void *arg,
    struct err *e);
/* It counts as one of a pattern, whatever that looks like. */
void bus_is_pattern(struct bh_subscription *s);
/* fn is not called any more. */
void bus_unsubscribe(struct bh_subscription *s);

/* bh_events.message and bh_events.job. */
int64_t bus_message(struct bus *b, struct bh_bytes topic,
    struct bh_bytes message);
/* bh_events.receivers: how many would receive a message now. */
int64_t bus_receivers(const struct bus *b, struct bh_bytes topic);
void bus_job(struct bus *b, const struct bh_job_event *ev);

/* For PUBSUB: topics with subscribers by name, subscribers of one by its name,
 * and how many patterns there are. */
void bus_each_channel(const struct bus *b,
    void (*fn)(void *arg, struct bh_bytes name), void *arg);
int64_t bus_listeners(const struct bus *b, struct bh_bytes topic);
int64_t bus_patterns(const struct bus *b);
/* Somebody besides the subscribers wants bh_events.job, or does not any more;
 * calls nest. Subscribers are counted in by themselves. */
void bus_watch_jobs(struct bus *b, bool on);

/* For INFO and metrics. */
struct bus_stats {
	int64_t subscribers, channels;
	int64_t messages, bytes;	/* kept now */
};
void bus_stats(const struct bus *b, struct bus_stats *ret);

/* The word of an event, "completed". */
const char *bus_news_word(enum bh_job_news news);

#endif
