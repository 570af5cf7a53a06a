/* SPDX-License-Identifier: MIT */
/*
 * News of jobs. Scripts publish them on one channel for all instances, in the
 * order in which they happened, while anybody listens. Until this instance's
 * subscription is known to be there, its own news come with the answers of its
 * scripts; such a message is marked, and skipped when it comes again.
 */
#include <hiredis/hiredis.h>

#include "redis/mem.h"
#include "redis/queue.h"

struct rnews {
	struct redis_be *be;
	char *channel;
	bool listening;			/* asked for */
	bool there;			/* and granted */
	/* Own messages on their way; below 0, they were faster than the
	 * answers that tell of them. */
	int expected;
};

static void
tell(struct redis_be *be, const struct bh_job_event *ev)
{
	if (be->watching && be->events && be->events->job)
		be->events->job(be->events_arg, ev);
}

static struct bh_job_event
event_of(struct bh_bytes queue, int64_t news, int64_t state,
    struct bh_bytes text)
{
	struct bh_job_event ev = {.queue = queue,
	    .news = (enum bh_job_news)news, .state = (enum bh_job_state)state};

	if (ev.news == BH_NEWS_COMPLETED)
		ev.state = BH_COMPLETED;	/* also when it is not kept */
	if (ev.news == BH_NEWS_PROGRESS)
		ev.progress = text;
	else
		ev.error = text;
	return ev;
}

bool
rnews_with_answers(const struct redis_be *be)
{
	return be->watching && !be->news->there;
}

void
rnews_reply(struct redis_be *be, struct bh_bytes queue,
    const struct redisReply *r)
{
	for (size_t i = 0; i < r->elements; i++) {
		struct redisReply **e = r->element[i]->element;
		struct bh_bytes text = {0};
		struct bh_job_event ev;

		if (r->element[i]->elements < 6)
			continue;
		if (e[5]->type == REDIS_REPLY_STRING)
			text = (struct bh_bytes){e[5]->str, e[5]->len};
		ev = event_of(queue, e[0]->integer, e[2]->integer, text);
		ev.id = strtoll(e[1]->str, NULL, 10);
		ev.attempt = (int32_t)e[3]->integer;
		ev.at = e[4]->integer;
		tell(be, &ev);
	}
}

void
rnews_published(struct redis_be *be)
{
	if (be->news->there)
		be->news->expected++;
}

/* --- what is published: instance(2) marked(1) length(1) queue, then of each
 * kind(1) state(1) attempt(4) at(6) length(1) length+1(4) id text --- */

struct cursor {
	const unsigned char *at, *end;
};

static uint64_t
number(struct cursor *c, int n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | (c->at < c->end ? *c->at++ : 0);
	return v;
}

static struct bh_bytes
string(struct cursor *c, size_t n)
{
	struct bh_bytes b = {(const char *)c->at, n};

	if (n > (size_t)(c->end - c->at))
		b.len = (size_t)(c->end - c->at);
	c->at += b.len;
	return b;
}

static void
tell_one(struct rnews *n, struct bh_bytes queue, struct cursor *c)
{
	int64_t kind = (int64_t)number(c, 1), state = (int64_t)number(c, 1);
	int32_t attempt = (int32_t)number(c, 4);
	int64_t at = (int64_t)number(c, 6);
	size_t nid = (size_t)number(c, 1), ntext = (size_t)number(c, 4);
	struct bh_bytes id = string(c, nid), text = {0};
	struct bh_job_event ev;
	char digits[24];

	if (ntext > 0)
		text = string(c, ntext - 1);
	snprintf(digits, sizeof(digits), "%.*s", (int)id.len, id.data);
	ev = event_of(queue, kind, state, text);
	ev.id = strtoll(digits, NULL, 10);
	ev.attempt = attempt;
	ev.at = at;
	tell(n->be, &ev);
}

static void
heard(void *arg, struct bh_bytes message)
{
	struct rnews *n = arg;
	struct cursor c = {(const unsigned char *)message.data,
	    (const unsigned char *)message.data + message.len};
	struct bh_bytes queue;
	bool own, marked;

	if (message.len == 0) {
		n->there = n->listening;
		n->expected = 0;
		return;
	}
	own = number(&c, 2) == (uint64_t)rinstance(n->be);
	marked = number(&c, 1) != 0;
	queue = string(&c, (size_t)number(&c, 1));
	if (own && !marked)
		n->expected--;
	if (own && marked)
		return;
	while (c.at < c.end)
		tell_one(n, queue, &c);
	n->be->host->wake();
}

/* --- life --- */

void
rnews_new(struct redis_be *be)
{
	char channel[300];

	be->news = mem_new(sizeof(*be->news));
	be->news->be = be;
	snprintf(channel, sizeof(channel), "%s{*}:news", be->config.prefix);
	be->news->channel = mem_str(channel);
}

void
rnews_listen(struct redis_be *be)
{
	struct rnews *n = be->news;

	if (n->listening == be->watching)
		return;
	n->listening = be->watching;
	n->there = false;
	n->expected = 0;
	rpubsub_listen(be, n->channel, n->listening ? heard : NULL, n);
}

void
rnews_down(struct redis_be *be)
{
	be->news->expected = 0;
}

bool
rnews_idle(const struct redis_be *be)
{
	/* Nothing is asked any more: none can be early. */
	if (be->news->expected < 0 && rcalls_idle(be))
		be->news->expected = 0;
	return be->news->expected <= 0;
}

void
rnews_free(struct redis_be *be)
{
	free(be->news->channel);
	free(be->news);
	be->news = NULL;
}
