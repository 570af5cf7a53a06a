/* SPDX-License-Identifier: MIT */
#include "front/feed.h"

#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/bus.h"
#include "cmd/session.h"

struct feed {
	struct bh_subscription *sub;
	const struct session *who;
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

	/* Its token may have been taken away meanwhile. */
	if (!role_allows(f->who->role, ROLE_READER))
		return;
	if (f->feed == BH_FEED_JOBS && !is_gap(news) &&
	    !session_may(f->who, news->topic))
		return;
	f->fn(f->arg, news);
}

static int
check_role(const struct session *s, struct err *e)
{
	if (s->role == ROLE_NONE)
		return err_set(e, BH_E_NOAUTH, "Authentication required.");
	if (!role_allows(s->role, ROLE_READER))
		return err_set(e, BH_E_NOPERM, "news need the role %s, and"
		    " '%s' has the role %s", role_name(ROLE_READER), s->user,
		    role_name(s->role));
	return 0;
}

struct feed *
feed_open(struct cmd_env *env, const struct session *who, enum bh_feed feed,
    struct bh_bytes pattern, uint64_t after, bh_news_fn *fn, void *arg,
    struct err *e)
{
	struct feed *f;

	if (check_role(who, e) < 0)
		return NULL;
	f = xcalloc(1, sizeof(*f));
	*f = (struct feed){.who = who, .feed = feed, .fn = fn, .arg = arg};
	f->sub = bus_subscribe(env->bus, feed, pattern, after, on_news, f, e);
	if (!f->sub) {
		free(f);
		f = NULL;
	}
	return f;
}

void
feed_close(struct feed **fp)
{
	struct feed *f = *fp;

	if (!f)
		return;
	*fp = NULL;
	bus_unsubscribe(f->sub);
	free(f);
}
