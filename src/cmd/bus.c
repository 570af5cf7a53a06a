/* SPDX-License-Identifier: MIT */
/*
 * Invariants:
 * 1. A message is in `all` from its making until it is the oldest and the
 *    limits drop it, or until the last channel that had it is gone.
 * 2. A channel's ring holds every message that matched it with an id beyond
 *    `lost`, in order.
 * 3. While `depth` is not 0 no subscription and no channel is freed: what ends
 *    in a callback is marked, and goes when the outermost delivery is over.
 *    What is published in a callback is told after it (`pending`), so that
 *    everybody hears everything in the order of the ids.
 */
#include "cmd/bus.h"

#include <bsd/sys/queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/bus_text.h"
#include "cmd/env.h"

#define LINGER_MS (5 * 60 * 1000)
#define CHANNELS_MAX 4096

struct message {
	TAILQ_ENTRY(message) all;
	STAILQ_ENTRY(message) pending;
	enum bh_feed feed;
	size_t refs;			/* rings, and its delivery */
	size_t size;
	struct bh_news news;
	char text[];
};

struct channel {
	TAILQ_ENTRY(channel) entry;
	struct bus *bus;
	enum bh_feed feed;
	bool exact;			/* the pattern matches one name: */
	char *name;
	size_t name_len;
	TAILQ_HEAD(, bh_subscription) subs;
	size_t nsubs;			/* that are not gone */
	size_t npatterns;		/* of them called patterns */
	int64_t idle_since;		/* mono ms, while nsubs is 0 */
	uint64_t lost;
	struct message **ring;		/* a circle of cap places */
	size_t cap, first, n;
	size_t len;
	char pattern[];
};

struct bh_subscription {
	TAILQ_ENTRY(bh_subscription) entry;
	struct channel *channel;
	uint64_t from;			/* messages beyond this id */
	bool is_pattern;
	bh_news_fn *fn;			/* NULL: it is gone */
	void *arg;
};

struct bus {
	struct cmd_env *env;
	TAILQ_HEAD(, channel) channels;
	TAILQ_HEAD(, message) all;
	STAILQ_HEAD(, message) pending;
	size_t nchannels;
	size_t njobs;			/* who wants to hear of jobs */
	size_t nidle;			/* of them without a subscriber */
	size_t nmessages, bytes;
	size_t ring, limit;
	uint64_t last_id;
	unsigned depth;
	bool gone;			/* a subscription waits to be freed */
};

struct bus *
bus_new(struct cmd_env *env)
{
	struct bus *b = xcalloc(1, sizeof(*b));

	b->env = env;
	b->last_id = (uint64_t)clock_now().wall_ms * 1000;
	b->ring = 1000;
	b->limit = 16 << 20;
	TAILQ_INIT(&b->channels);
	TAILQ_INIT(&b->all);
	STAILQ_INIT(&b->pending);
	return b;
}

static uint64_t
next_id(struct bus *b)
{
	return ++b->last_id;
}

static void
message_unref(struct bus *b, struct message *m)
{
	CHECK(m->refs > 0);
	if (--m->refs > 0)
		return;
	TAILQ_REMOVE(&b->all, m, all);
	b->nmessages--;
	b->bytes -= m->size;
	free(m);
}

static struct message *
ring_at(const struct channel *c, size_t i)
{
	return c->ring[(c->first + i) % c->cap];
}

static void
ring_drop(struct channel *c)
{
	struct message *m = ring_at(c, 0);

	c->lost = m->news.id;
	c->first = (c->first + 1) % c->cap;
	c->n--;
	message_unref(c->bus, m);
}

/* The circle has room for one more, and for no more than the limit. */
static void
ring_fit(struct channel *c)
{
	size_t cap = c->cap ? c->cap * 2 : 8;
	struct message **ring;

	while (c->n > 0 && c->n >= c->bus->ring)
		ring_drop(c);
	if (c->n < c->cap)
		return;
	ring = xmalloc(cap * sizeof(struct message *));
	for (size_t i = 0; i < c->n; i++)
		ring[i] = ring_at(c, i);
	free(c->ring);
	c->ring = ring;
	c->cap = cap;
	c->first = 0;
}

static void
ring_add(struct channel *c, struct message *m)
{
	ring_fit(c);
	c->ring[(c->first + c->n++) % c->cap] = m;
	m->refs++;
}

/* The oldest messages of all go first; the newest one may stay alone. */
static void
keep_to_limit(struct bus *b)
{
	struct message *m;
	struct channel *c;
	uint64_t id;

	while (b->bytes > b->limit && b->nmessages > 1) {
		m = TAILQ_FIRST(&b->all);
		id = m->news.id;
		m->refs++;
		TAILQ_FOREACH(c, &b->channels, entry)
			if (c->n > 0 && ring_at(c, 0) == m)
				ring_drop(c);
		message_unref(b, m);
		m = TAILQ_FIRST(&b->all);
		if (m && m->news.id == id)
			break;		/* it is being delivered */
	}
}

void
bus_set_limits(struct bus *b, int64_t ring, int64_t bytes)
{
	struct channel *c;

	b->ring = (size_t)ring;
	b->limit = (size_t)bytes;
	TAILQ_FOREACH(c, &b->channels, entry)
		while (c->n > b->ring)
			ring_drop(c);
	keep_to_limit(b);
}

/* --- channels --- */

static struct bh_bytes
pattern_of(const struct channel *c)
{
	return (struct bh_bytes){c->pattern, c->len};
}

void
bus_watch_jobs(struct bus *b, bool on)
{
	const struct bh_backend_ops *ops = b->env->ops;

	if (b->env->be && (on ? b->njobs++ == 0 : --b->njobs == 0) &&
	    ops->watch_jobs)
		ops->watch_jobs(b->env->be, on);
}

/* Tells the backend what is wanted from it, or is not any more. */
static void
watch(struct channel *c, bool on)
{
	struct bus *b = c->bus;
	const struct bh_backend_ops *ops = b->env->ops;

	if (!b->env->be)
		return;			/* closed already */
	if (c->feed == BH_FEED_TOPICS) {
		if (ops->subscribe)
			ops->subscribe(b->env->be, pattern_of(c), on);
		return;
	}
	bus_watch_jobs(b, on);
}

static struct channel *
channel_find(const struct bus *b, enum bh_feed feed, struct bh_bytes pattern)
{
	struct channel *c;

	TAILQ_FOREACH(c, &b->channels, entry)
		if (c->feed == feed && c->len == pattern.len &&
		    memcmp(c->pattern, pattern.data, c->len) == 0)
			return c;
	return NULL;
}

/* What the pattern matches alone: without its backslashes. */
static void
note_name(struct channel *c)
{
	c->name = xmalloc(c->len);
	for (size_t i = 0; i < c->len; i++) {
		char ch = c->pattern[i];

		if (strchr("*?[", ch))
			return;
		if (ch == '\\' && i + 1 < c->len)
			ch = c->pattern[++i];
		c->name[c->name_len++] = ch;
	}
	c->exact = true;
}

static struct channel *
channel_new(struct bus *b, enum bh_feed feed, struct bh_bytes pattern)
{
	struct channel *c = xcalloc(1, sizeof(*c) + pattern.len);

	c->bus = b;
	c->feed = feed;
	c->len = pattern.len;
	memcpy(c->pattern, pattern.data, pattern.len);
	note_name(c);
	/* Whatever anybody has seen before, more may have come since. */
	c->lost = next_id(b);
	TAILQ_INIT(&c->subs);
	TAILQ_INSERT_TAIL(&b->channels, c, entry);
	b->nchannels++;
	b->nidle++;
	watch(c, true);
	return c;
}

static void
channel_free(struct channel *c)
{
	struct bus *b = c->bus;

	CHECK(TAILQ_EMPTY(&c->subs));
	while (c->n > 0)
		ring_drop(c);
	TAILQ_REMOVE(&b->channels, c, entry);
	b->nchannels--;
	b->nidle--;
	watch(c, false);
	free(c->ring);
	free(c->name);
	free(c);
}

static void
subscription_free(struct bh_subscription *s)
{
	TAILQ_REMOVE(&s->channel->subs, s, entry);
	free(s);
}

/* Frees what ended during deliveries, and channels that nobody came back to.
 * There is no timer for it: whoever touches the bus does it. */
static void
sweep(struct bus *b)
{
	int64_t now;
	struct channel *c, *next;
	struct bh_subscription *s, *after;

	if (b->depth > 0)
		return;
	if (b->gone) {
		b->gone = false;
		TAILQ_FOREACH(c, &b->channels, entry)
			TAILQ_FOREACH_SAFE(s, &c->subs, entry, after)
				if (!s->fn)
					subscription_free(s);
	}
	if (b->nidle == 0)
		return;
	now = clock_now().mono_ms;
	TAILQ_FOREACH_SAFE(c, &b->channels, entry, next)
		if (c->nsubs == 0 && now - c->idle_since >= LINGER_MS)
			channel_free(c);
}

/* Room for a new channel: the one that has been idle for the longest goes. */
static bool
make_room(struct bus *b)
{
	struct channel *c, *oldest = NULL;

	if (b->nchannels < CHANNELS_MAX)
		return true;
	TAILQ_FOREACH(c, &b->channels, entry)
		if (TAILQ_EMPTY(&c->subs) && c->nsubs == 0 &&
		    (!oldest || c->idle_since < oldest->idle_since))
			oldest = c;
	if (!oldest || b->depth > 0)
		return false;
	channel_free(oldest);
	return true;
}

void
bus_free(struct bus **bp)
{
	struct bus *b = *bp;
	struct channel *c;
	struct bh_subscription *s;

	if (!b)
		return;
	CHECK(b->depth == 0);
	while ((c = TAILQ_FIRST(&b->channels))) {
		while ((s = TAILQ_FIRST(&c->subs)))
			subscription_free(s);
		if (c->nsubs > 0)
			b->nidle++;
		c->nsubs = 0;
		channel_free(c);
	}
	free(b);
	*bp = NULL;
}

/* --- telling --- */

static void
tell(struct bh_subscription *s, const struct message *m)
{
	if (!s->fn || m->news.id <= s->from)
		return;
	s->from = m->news.id;
	s->fn(s->arg, &m->news);
}

static void
tell_gap(struct bh_subscription *s)
{
	static const char json[] = "{\"event\":\"gap\"}";
	struct channel *c = s->channel;
	struct bh_news gap = {.id = c->lost, .topic = pattern_of(c),
	    .json = {json, sizeof(json) - 1}};

	s->fn(s->arg, &gap);
}

static bool
matches(const struct channel *c, enum bh_feed feed, struct bh_bytes name)
{
	if (c->feed != feed)
		return false;
	if (c->exact)
		return c->name_len == name.len &&
		    memcmp(c->name, name.data, name.len) == 0;
	return str_glob(c->pattern, c->len, name.data, name.len);
}

/* Tells what waits, and what comes up while that is told. */
static void
tell_pending(struct bus *b)
{
	struct bh_subscription *s;
	struct channel *c;
	struct message *m;

	if (b->depth > 0)
		return;
	b->depth++;
	while ((m = STAILQ_FIRST(&b->pending))) {
		STAILQ_REMOVE_HEAD(&b->pending, pending);
		TAILQ_FOREACH(c, &b->channels, entry)
			if (c->nsubs > 0 && matches(c, m->feed, m->news.topic))
				TAILQ_FOREACH(s, &c->subs, entry)
					tell(s, m);
		message_unref(b, m);
	}
	b->depth--;
	sweep(b);
}

/* The first message of the ring beyond this id, or NULL; ids ascend. */
static struct message *
ring_after(const struct channel *c, uint64_t id)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (ring_at(c, mid)->news.id <= id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n ? ring_at(c, lo) : NULL;
}

/* What the ring has beyond `after`. The callback may end the subscription,
 * and publish: a message that the ring drops meanwhile is a gap again. */
static void
replay(struct bh_subscription *s, uint64_t after)
{
	struct channel *c = s->channel;
	struct message *m;

	if (after > c->bus->last_id)
		after = 0;		/* of another life: all is news */
	s->from = after;
	while (s->fn) {
		if (s->from < c->lost) {
			s->from = c->lost;
			tell_gap(s);
			continue;
		}
		m = ring_after(c, s->from);
		if (!m)
			break;
		m->refs++;
		tell(s, m);
		message_unref(c->bus, m);
	}
}

struct bh_subscription *
bus_subscribe(struct bus *b, enum bh_feed feed, struct bh_bytes pattern,
    uint64_t after, bh_news_fn *fn, void *arg, struct err *e)
{
	struct bh_subscription *s;
	struct channel *c;

	if (pattern.len < 1 || pattern.len > BUS_PATTERN_MAX) {
		err_set(e, BH_E_BADARG, "%s: a pattern has 1 to %d bytes, not"
		    " %zu", feed == BH_FEED_TOPICS ? "topic" : "queue",
		    BUS_PATTERN_MAX, pattern.len);
		return NULL;
	}
	sweep(b);
	c = channel_find(b, feed, pattern);
	if (!c && !make_room(b)) {
		err_set(e, BH_E_TOOBIG, "there are %d different patterns with"
		    " subscribers already", CHANNELS_MAX);
		return NULL;
	}
	if (!c)
		c = channel_new(b, feed, pattern);
	s = xcalloc(1, sizeof(*s));
	s->channel = c;
	s->fn = fn;
	s->arg = arg;
	s->from = b->last_id;
	TAILQ_INSERT_TAIL(&c->subs, s, entry);
	if (c->nsubs++ == 0)
		b->nidle--;
	if (after > 0) {
		b->depth++;
		replay(s, after);
		b->depth--;
		tell_pending(b);
	}
	return s;
}

void
bus_unsubscribe(struct bh_subscription *s)
{
	struct channel *c = s->channel;
	struct bus *b = c->bus;

	CHECK(s->fn && c->nsubs > 0);
	s->fn = NULL;
	c->npatterns -= s->is_pattern;
	if (--c->nsubs == 0) {
		b->nidle++;
		c->idle_since = clock_now().mono_ms;
	}
	if (b->depth > 0)
		b->gone = true;
	else
		subscription_free(s);
	sweep(b);
}

void
bus_is_pattern(struct bh_subscription *s)
{
	if (!s->is_pattern)
		s->channel->npatterns++;
	s->is_pattern = true;
}

/* By name, of a channel that has one. */
static size_t
listeners(const struct channel *c)
{
	return c->feed == BH_FEED_TOPICS && c->exact ?
	    c->nsubs - c->npatterns : 0;
}

void
bus_each_channel(const struct bus *b, void (*fn)(void *arg,
    struct bh_bytes name), void *arg)
{
	const struct channel *c;

	TAILQ_FOREACH(c, &b->channels, entry)
		if (listeners(c) > 0)
			fn(arg, (struct bh_bytes){c->name, c->name_len});
}

int64_t
bus_listeners(const struct bus *b, struct bh_bytes topic)
{
	const struct channel *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &b->channels, entry)
		if (c->exact && matches(c, BH_FEED_TOPICS, topic))
			n += listeners(c);
	return (int64_t)n;
}

int64_t
bus_patterns(const struct bus *b)
{
	const struct channel *c;
	int64_t n = 0;

	TAILQ_FOREACH(c, &b->channels, entry)
		if (c->feed == BH_FEED_TOPICS &&
		    (c->npatterns > 0 || (!c->exact && c->nsubs > 0)))
			n++;
	return n;
}

static bool
wanted(const struct bus *b, enum bh_feed feed, struct bh_bytes name)
{
	struct channel *c;

	TAILQ_FOREACH(c, &b->channels, entry)
		if (matches(c, feed, name))
			return true;
	return false;
}

static struct bh_bytes
put(char **at, struct bh_bytes from)
{
	struct bh_bytes v = {*at, from.len};

	if (from.len)
		memcpy(*at, from.data, from.len);
	*at += from.len;
	return v;
}

static struct message *
message_new(struct bus *b, enum bh_feed feed, struct bh_bytes topic,
    struct bh_bytes data, struct bh_bytes json)
{
	size_t size = sizeof(struct message) + topic.len + data.len + json.len;
	struct message *m = xmalloc(size);
	char *at = m->text;

	m->refs = 1;
	m->feed = feed;
	m->size = size;
	m->news.id = next_id(b);
	m->news.topic = put(&at, topic);
	m->news.data = put(&at, data);
	m->news.json = put(&at, json);
	TAILQ_INSERT_TAIL(&b->all, m, all);
	b->nmessages++;
	b->bytes += size;
	return m;
}

int64_t
bus_receivers(const struct bus *b, struct bh_bytes topic)
{
	const struct channel *c;
	int64_t n = 0;

	TAILQ_FOREACH(c, &b->channels, entry)
		if (matches(c, BH_FEED_TOPICS, topic))
			n += (int64_t)c->nsubs;
	return n;
}

/* Every ring has it before the first callback runs, as that may subscribe. */
static int64_t
deliver(struct bus *b, struct message *m)
{
	struct channel *c;
	int64_t n = 0;

	TAILQ_FOREACH(c, &b->channels, entry) {
		if (!matches(c, m->feed, m->news.topic))
			continue;
		ring_add(c, m);
		n += (int64_t)c->nsubs;
	}
	keep_to_limit(b);
	STAILQ_INSERT_TAIL(&b->pending, m, pending);
	tell_pending(b);
	return n;
}

int64_t
bus_message(struct bus *b, struct bh_bytes topic, struct bh_bytes message)
{
	struct buf out = BUF_INIT;
	struct message *m;

	sweep(b);
	if (!wanted(b, BH_FEED_TOPICS, topic))
		return 0;
	bus_write_topic(&out, topic, message);
	m = message_new(b, BH_FEED_TOPICS, topic, message,
	    (struct bh_bytes){buf_peek(&out), buf_size(&out)});
	buf_done(&out);
	return deliver(b, m);
}

void
bus_job(struct bus *b, const struct bh_job_event *ev)
{
	struct buf out = BUF_INIT;
	struct message *m;

	sweep(b);
	if (!wanted(b, BH_FEED_JOBS, ev->queue))
		return;
	bus_write_job(&out, ev);
	m = message_new(b, BH_FEED_JOBS, ev->queue, (struct bh_bytes){"", 0},
	    (struct bh_bytes){buf_peek(&out), buf_size(&out)});
	buf_done(&out);
	(void)deliver(b, m);
}

void
bus_stats(const struct bus *b, struct bus_stats *ret)
{
	struct channel *c;

	*ret = (struct bus_stats){.channels = (int64_t)b->nchannels,
	    .messages = (int64_t)b->nmessages, .bytes = (int64_t)b->bytes};
	TAILQ_FOREACH(c, &b->channels, entry)
		ret->subscribers += (int64_t)c->nsubs;
}
