/* SPDX-License-Identifier: MIT */
/* /v1/topics/{} and /v1/events: publish and follow. */
#include "http/feed.h"
#include "http/routes.h"

static void
published(struct ask *a)
{
	char *s = web_printf(&a->web, "{\"receivers\":%.*s}",
	    (int)a->call.json.len, a->call.json.data);

	ask_json(a, 200, bytes_of(s));
}

void
topic_publish(struct ask *a)
{
	ask_word(a, "PUBLISH");
	ask_add(a, a->param[0]);
	ask_add(a, (struct bh_bytes){a->web.body.data ? a->web.body.data : "",
	    a->web.body.len});
	ask_run(a, 0, published);
}

void
topic_follow(struct ask *a)
{
	feed_open(a, BH_FEED_TOPICS, web_printf(&a->web, "%.*s",
	    (int)a->param[0].len, a->param[0].data));
}

void
event_follow(struct ask *a)
{
	struct bh_bytes queue = {"*", 1};

	pairs_get(&a->query, "queue", &queue);
	feed_open(a, BH_FEED_JOBS, web_printf(&a->web, "%.*s",
	    (int)queue.len, queue.data));
}
