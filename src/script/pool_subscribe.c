/* SPDX-License-Identifier: MIT */
/*
 * Messages of topics for the functions of `subscribe`. Each pattern of each
 * script in force is one subscription at the bus; its messages are handled
 * one after the other, in their order, so that a handler sees the world as it
 * was told. A pattern has a line of bounded length: past it the oldest message
 * goes, and the log says so.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "cmd/bus.h"
#include "script/pool_impl.h"

#define QUEUE_MAX 1000			/* messages that wait, a pattern */
#define QUEUE_BYTES (8 << 20)
#define LOG_PAUSE_MS 60000

struct topic {
	TAILQ_ENTRY(topic) entry;
	struct pool *pool;
	char *file;			/* the script's */
	char *pattern;
	struct bh_subscription *sub;
	struct run_msg_list line;
	size_t nline, bytes;
	bool busy;			/* a message is being handled */
	bool wanted;			/* while it is decided */
	int64_t dropped, dropped_since;	/* mono ms of the last line */
	char *failed;			/* the last error that was logged */
};

struct topics {
	TAILQ_HEAD(, topic) list;
};

void
pool_topics_new(struct pool *p)
{
	p->topics = xcalloc(1, sizeof(*p->topics));
	TAILQ_INIT(&p->topics->list);
}

static const struct script *
script_of(const struct topic *t)
{
	const struct script *s;

	TAILQ_FOREACH(s, &t->pool->scripts, entry)
		if (strcmp(s->file, t->file) == 0)
			return s->src ? s : NULL;
	return NULL;
}

static void
drop_first(struct topic *t)
{
	struct run_msg *m = TAILQ_FIRST(&t->line);

	TAILQ_REMOVE(&t->line, m, entry);
	t->nline--;
	t->bytes -= m->payload.len;
	run_msg_done(t->pool, m);
}

static void
topic_free(struct topic *t)
{
	if (t->sub)
		bus_unsubscribe(t->sub);
	while (t->nline)
		drop_first(t);
	TAILQ_REMOVE(&t->pool->topics->list, t, entry);
	free(t->file);
	free(t->pattern);
	free(t->failed);
	free(t);
}

void
pool_topics_free(struct pool *p)
{
	while (!TAILQ_EMPTY(&p->topics->list))
		topic_free(TAILQ_FIRST(&p->topics->list));
	free(p->topics);
	p->topics = NULL;
}

/* The next message of the line, if it is its turn. */
static void
advance(struct topic *t)
{
	struct pool *p = t->pool;
	struct run_msg *m = TAILQ_FIRST(&t->line);
	const struct script *s = script_of(t);

	if (t->busy || !m || !s || p->draining)
		return;
	TAILQ_REMOVE(&t->line, m, entry);
	t->nline--;
	t->bytes -= m->payload.len;
	t->busy = true;
	pool_dispatch_to(p, m, s);
}

static void
say_dropped(struct topic *t)
{
	struct pool *p = t->pool;

	t->dropped++;
	if (t->dropped_since && p->mono_ms - t->dropped_since < LOG_PAUSE_MS)
		return;
	log_about(LOG_WARN, &(struct log_about){.script = t->file}, "the "
	    "handler of \"%s\" is slower than its messages come: %lld "
	    "dropped", t->pattern, (long long)t->dropped);
	t->dropped_since = p->mono_ms ? p->mono_ms : 1;
	t->dropped = 0;
}

static void
heard(void *arg, const struct bh_news *news)
{
	struct topic *t = arg;
	struct pool *p = t->pool;
	struct bh_bytes pattern = {t->pattern, strlen(t->pattern)};
	struct bh_queue_opts o;
	struct run_msg *m;
	const struct script *s = script_of(t);

	if (!s || p->draining || !news->topic.len)
		return;
	m = run_msg_new(p, news->topic.len + news->json.len + pattern.len + 3);
	m->what = RUN_MESSAGE;
	m->topic = t;
	m->payload = run_msg_copy(m, news->json);
	m->news = run_msg_copy(m, news->topic);
	m->group = run_msg_copy(m, pattern);
	qopts_resolve(p->config.qopts, s->opts.queue, &o);
	m->timeout_ms = o.timeout_ms;
	TAILQ_INSERT_TAIL(&t->line, m, entry);
	t->nline++;
	t->bytes += m->payload.len;
	while (t->nline > QUEUE_MAX || (t->bytes > QUEUE_BYTES && t->nline > 1)) {
		drop_first(t);
		say_dropped(t);
	}
	advance(t);
	p->config.wake(p->config.wake_arg);
}

static struct topic *
topic_get(struct pool *p, const struct script *s, const char *pattern)
{
	struct topic *t;

	TAILQ_FOREACH(t, &p->topics->list, entry)
		if (strcmp(t->file, s->file) == 0 &&
		    strcmp(t->pattern, pattern) == 0)
			return t;
	t = xcalloc(1, sizeof(*t));
	t->pool = p;
	t->file = xstrdup(s->file);
	t->pattern = xstrdup(pattern);
	TAILQ_INIT(&t->line);
	TAILQ_INSERT_TAIL(&p->topics->list, t, entry);
	return t;
}

/* Scripts are loaded before the store is open: pool_listen() comes then. */
static void
subscribe(struct topic *t)
{
	struct pool *p = t->pool;
	struct bh_bytes pattern = {t->pattern, strlen(t->pattern)};
	struct err e;

	if (t->sub || !p->env->bus || !p->listening)
		return;
	t->sub = bus_subscribe(p->env->bus, BH_FEED_TOPICS, pattern, 0, heard,
	    t, &e);
	if (!t->sub)
		log_about(LOG_ERROR, &(struct log_about){.script = t->file},
		    "it cannot subscribe to \"%s\": %s", t->pattern, e.text);
}

void
pool_topics_publish(struct pool *p)
{
	struct topic *t, *next;
	const struct script *s;
	int i;

	TAILQ_FOREACH(t, &p->topics->list, entry)
		t->wanted = false;
	TAILQ_FOREACH(s, &p->scripts, entry)
		for (i = 0; s->src && i < s->opts.topics.n; i++)
			topic_get(p, s,
			    s->opts.topics.patterns[i])->wanted = true;
	TAILQ_FOREACH_SAFE(t, &p->topics->list, entry, next) {
		if (t->wanted)
			subscribe(t);
		else if (!t->busy)
			topic_free(t);
	}
}

void
pool_listen(struct pool *p)
{
	p->listening = true;
	pool_topics_publish(p);
	pool_schedules_settle(p);
}

/* Each error is told once, until another one comes. */
static void
say_failed(struct topic *t, const struct run_msg *m)
{
	int len = m->end.len > 1000 ? 1000 : (int)m->end.len;

	if (t->failed && strlen(t->failed) == m->end.len &&
	    memcmp(t->failed, m->end.text, m->end.len) == 0)
		return;
	free(t->failed);
	t->failed = xstrndup(m->end.text, m->end.len);
	log_about(LOG_ERROR, &(struct log_about){.script = m->src->name},
	    "the handler of \"%s\" failed on a message of %.*s: %.*s (the "
	    "same error is not logged again)", t->pattern, (int)m->news.len,
	    m->news.data, len, m->end.text);
}

void
pool_message_ended(struct pool *p, struct run_msg *m)
{
	struct topic *t = m->topic;

	t->busy = false;
	if (m->end.outcome == BH_FAIL)
		say_failed(t, m);
	run_msg_done(p, m);
	if (!t->wanted)
		topic_free(t);
	else
		advance(t);
}
