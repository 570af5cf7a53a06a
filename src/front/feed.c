/* SPDX-License-Identifier: MIT */
/*
 * News for plugins: subscriptions to the bus, as far as their caller may see
 * it. What a plugin holds as a struct bh_subscription is a struct feed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/bus.h"
#include "cmd/session.h"
#include "front/host_impl.h"

struct feed {
	struct bh_subscription *sub;
	struct bh_caller *caller;
	enum bh_feed feed;
	bh_news_fn *fn;
	void *arg;
};

/* It speaks of the whole pattern, not of one queue. */
static bool
is_gap(const struct bh_news *news)
{
	return str_is(news->json.data, news->json.len,
	    "{\"event\":\"gap\"}");
}

static void
on_news(void *arg, const struct bh_news *news)
{
	struct feed *f = arg;

	if (f->feed == BH_FEED_JOBS && !is_gap(news) &&
	    !session_may(&f->caller->session, news->topic))
		return;
	f->fn(f->arg, news);
}

static int
refuse(const struct bh_caller *c, struct err *e)
{
	const struct session *s = &c->session;

	if (s->role == ROLE_NONE)
		return err_set(e, BH_E_NOAUTH, "Authentication required.");
	if (!role_allows(s->role, ROLE_READER))
		return err_set(e, BH_E_NOPERM, "news need the role %s, and"
		    " '%s' has the role %s", role_name(ROLE_READER), s->user,
		    role_name(s->role));
	return 0;
}

static struct bh_subscription *
api_subscribe(struct bh_caller *c, enum bh_feed feed, const char *pattern,
    uint64_t after, bh_news_fn *fn, void *arg, int *code,
    char err[BH_ERROR_TEXT])
{
	struct bh_bytes p = {pattern, strlen(pattern)};
	struct feed *f = xcalloc(1, sizeof(*f));
	struct err e = ERR_INIT;

	*f = (struct feed){.caller = c, .feed = feed, .fn = fn, .arg = arg};
	if (refuse(c, &e) == 0)
		f->sub = bus_subscribe(c->host->env->bus, feed, p, after,
		    on_news, f, &e);
	if (f->sub)
		return (struct bh_subscription *)f;
	*code = e.code;
	snprintf(err, BH_ERROR_TEXT, "%s", e.text);
	free(f);
	return NULL;
}

static void
api_unsubscribe(struct bh_subscription *s)
{
	struct feed *f = (struct feed *)s;

	bus_unsubscribe(f->sub);
	free(f);
}

void
feed_init(struct plugin_host *h)
{
	h->api.subscribe = api_subscribe;
	h->api.unsubscribe = api_unsubscribe;
}
