/* SPDX-License-Identifier: MIT */
/*
 * Topics are the server's: published and subscribed to as they are, so that
 * every instance, and any other client of the server, hears them. Messages
 * come over a connection of their own, which is there while somebody wants
 * to hear something.
 *
 * A publish is answered with how many have received it. The server counts
 * subscriptions, and each instance has one for all of its clients; our own
 * clients are counted when our message comes back. By the time that a PING,
 * sent behind the answer to PUBLISH, is answered, it has come if it ever will.
 * A publish waits until our own subscriptions are known to the server, so that
 * who has just subscribed here hears it.
 */
#include <bsd/sys/queue.h>
#include <hiredis/hiredis.h>

#include "redis/away.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/value.h"

struct pattern {
	char *text;
	size_t len;
	size_t users;			/* calls nest */
	uint64_t seen;			/* the last message that it matched */
};

struct channel {
	char *name;
	void (*fn)(void *arg, struct bh_bytes message);
	void *arg;
};

/* A publish on its way, until it is answered. */
struct sent {
	TAILQ_ENTRY(sent) link;
	struct redis_be *be;
	struct bh_publish *r;
	bool held;			/* not sent yet */
	bool counted;			/* PUBLISH is answered */
	bool echoed;
	int64_t matches;		/* our own subscriptions */
	int64_t local;			/* our own clients */
};

TAILQ_HEAD(sent_list, sent);

struct rpubsub {
	struct rlink *link;
	struct pattern *patterns;
	size_t npatterns;
	struct channel *channels;
	size_t nchannels;
	struct sent_list sent;
	size_t under_way;
	size_t unconfirmed;		/* subscriptions; while the link is up */
	bool lost;			/* the link could not be had */
	/* One message comes once for each pattern that it matches, in a row:
	 * the last one, and its number. */
	char *topic, *message;
	size_t topic_len, message_len;
	uint64_t serial;
	int64_t local;
};

static bool
same(const redisReply *r, const char *data, size_t len)
{
	return (size_t)r->len == len && memcmp(r->str, data, len) == 0;
}

static bool
is_word(const redisReply *r, const char *word)
{
	return r->type == REDIS_REPLY_STRING && same(r, word, strlen(word));
}

/* --- subscriptions --- */

static void
say(struct rpubsub *p, const char *verb, const char *what, size_t len)
{
	(void)rlink_tell(p->link, 2, (const char *[]){verb, what},
	    (const size_t[]){strlen(verb), len});
}

static void
say_on(struct rpubsub *p, const char *verb, const char *what, size_t len)
{
	p->unconfirmed++;
	say(p, verb, what, len);
}

/* The server knows all that we want to hear, or cannot be told. */
static bool
confirmed(const struct rpubsub *p)
{
	return !p->link || p->lost ||
	    (rlink_up(p->link) && p->unconfirmed == 0);
}

static void
forget_message(struct rpubsub *p)
{
	free(p->topic);
	free(p->message);
	p->topic = p->message = NULL;
}

static void
on_up(void *arg)
{
	struct redis_be *be = arg;
	struct rpubsub *p = be->pubsub;

	forget_message(p);
	p->lost = false;
	p->unconfirmed = 0;
	for (size_t i = 0; i < p->nchannels; i++)
		say_on(p, "SUBSCRIBE", p->channels[i].name,
		    strlen(p->channels[i].name));
	for (size_t i = 0; i < p->npatterns; i++)
		say_on(p, "PSUBSCRIBE", p->patterns[i].text,
		    p->patterns[i].len);
}

static void settle(struct redis_be *be);
static void send_held(struct redis_be *be);

/* It connects again by itself, or with the main link. */
static void
on_down(void *arg, const char *why, bool refused)
{
	struct redis_be *be = arg;

	(void)why, (void)refused;
	be->pubsub->lost = true;
	settle(be);
	send_held(be);
}

static void on_push(void *arg, redisReply *r);

static void
open_link(struct redis_be *be)
{
	struct rpubsub *p = be->pubsub;

	if (p->link || !be->ready || p->npatterns + p->nchannels == 0)
		return;
	p->lost = false;
	p->link = be_link(be, &(struct rlink_config){.on_up = on_up,
	    .on_down = on_down, .on_push = on_push, .arg = be});
}

static struct pattern *
pattern_find(struct rpubsub *p, const char *text, size_t len)
{
	for (size_t i = 0; i < p->npatterns; i++)
		if (p->patterns[i].len == len &&
		    memcmp(p->patterns[i].text, text, len) == 0)
			return &p->patterns[i];
	return NULL;
}

static void
pattern_add(struct redis_be *be, struct bh_bytes text)
{
	struct rpubsub *p = be->pubsub;
	struct pattern *one = pattern_find(p, text.data, text.len);

	if (one) {
		one->users++;
		return;
	}
	p->patterns = mem_grow(p->patterns, (p->npatterns + 1) *
	    sizeof(*p->patterns));
	p->patterns[p->npatterns++] = (struct pattern){.text = mem_copy(
	    text.data, text.len), .len = text.len, .users = 1};
	if (rlink_up(p->link))
		say_on(p, "PSUBSCRIBE", text.data, text.len);
	else
		open_link(be);
}

static void
pattern_remove(struct rpubsub *p, struct bh_bytes text)
{
	struct pattern *one = pattern_find(p, text.data, text.len);

	if (!one || --one->users > 0)
		return;
	if (rlink_up(p->link))
		say(p, "PUNSUBSCRIBE", text.data, text.len);
	free(one->text);
	*one = p->patterns[--p->npatterns];
}

void
rpubsub_subscribe(void *arg, struct bh_bytes pattern, bool on)
{
	struct redis_be *be = arg;

	if (on)
		pattern_add(be, pattern);
	else
		pattern_remove(be->pubsub, pattern);
}

static void
unlisten(struct rpubsub *p, const char *channel)
{
	size_t i = 0;

	while (i < p->nchannels && strcmp(p->channels[i].name, channel) != 0)
		i++;
	if (i == p->nchannels)
		return;
	if (rlink_up(p->link))
		say(p, "UNSUBSCRIBE", channel, strlen(channel));
	free(p->channels[i].name);
	p->channels[i] = p->channels[--p->nchannels];
}

void
rpubsub_listen(struct redis_be *be, const char *channel,
    void (*fn)(void *arg, struct bh_bytes message), void *arg)
{
	struct rpubsub *p = be->pubsub;

	unlisten(p, channel);
	if (!fn)
		return;
	p->channels = mem_grow(p->channels, (p->nchannels + 1) *
	    sizeof(*p->channels));
	p->channels[p->nchannels++] = (struct channel){mem_str(channel), fn,
	    arg};
	if (rlink_up(p->link))
		say_on(p, "SUBSCRIBE", channel, strlen(channel));
	else
		open_link(be);
}

/* --- what comes --- */

static void
on_channel(struct rpubsub *p, const redisReply *name, struct bh_bytes message)
{
	for (size_t i = 0; i < p->nchannels; i++)
		if (same(name, p->channels[i].name,
		    strlen(p->channels[i].name)))
			p->channels[i].fn(p->channels[i].arg, message);
}

/* The publish that this is the message of, if it is ours. */
static struct sent *
sent_find(struct rpubsub *p, const redisReply *topic,
    const redisReply *message)
{
	struct sent *s;

	TAILQ_FOREACH(s, &p->sent, link)
		if (!s->held && !s->echoed && same(topic, s->r->topic.data,
		    s->r->topic.len) && same(message, s->r->message.data,
		    s->r->message.len))
			return s;
	return NULL;
}

/* pmessage PATTERN TOPIC MESSAGE. A pattern that has matched the last message
 * already is the beginning of the next one. */
static void
on_message(struct redis_be *be, const redisReply *r)
{
	struct rpubsub *p = be->pubsub;
	const redisReply *topic = r->element[2], *message = r->element[3];
	struct pattern *one = pattern_find(p, r->element[1]->str,
	    (size_t)r->element[1]->len);
	struct sent *s;

	/* Our own channels match the patterns of users too. */
	if (!one || !be->events || rvalue_own(topic->str,
	    (size_t)topic->len, be->config.prefix))
		return;
	if (!p->topic || one->seen == p->serial ||
	    !same(topic, p->topic, p->topic_len) ||
	    !same(message, p->message, p->message_len)) {
		forget_message(p);
		p->topic = mem_copy(topic->str, (size_t)topic->len);
		p->topic_len = (size_t)topic->len;
		p->message = mem_copy(message->str, (size_t)message->len);
		p->message_len = (size_t)message->len;
		one->seen = ++p->serial;
		p->local = be->events->message(be->events_arg,
		    (struct bh_bytes){topic->str, (size_t)topic->len},
		    (struct bh_bytes){message->str, (size_t)message->len});
		s = sent_find(p, topic, message);
		if (s) {
			s->echoed = true;
			s->local = p->local;
			s->matches = 1;
		}
		return;
	}
	one->seen = p->serial;
	TAILQ_FOREACH_REVERSE(s, &p->sent, sent_list, link)
		if (s->echoed && same(topic, s->r->topic.data,
		    s->r->topic.len) && same(message, s->r->message.data,
		    s->r->message.len)) {
			s->matches++;
			return;
		}
}

/* The answer to (P)SUBSCRIBE and (P)UNSUBSCRIBE. */
static void
on_subscribed(struct redis_be *be, const redisReply *r)
{
	struct rpubsub *p = be->pubsub;

	forget_message(p);
	if (is_word(r->element[0], "subscribe"))
		on_channel(p, r->element[1], (struct bh_bytes){"", 0});
	else if (!is_word(r->element[0], "psubscribe"))
		return;
	if (p->unconfirmed > 0)
		p->unconfirmed--;
	if (confirmed(p))
		send_held(be);
}

static void
on_push(void *arg, redisReply *r)
{
	struct redis_be *be = arg;
	struct rpubsub *p = be->pubsub;

	if (r->type != REDIS_REPLY_ARRAY || r->elements < 3) {
		rlink_drop(p->link, "a reply that is no message");
		return;
	}
	if (is_word(r->element[0], "pmessage") && r->elements == 4) {
		on_message(be, r);
		return;
	}
	if (is_word(r->element[0], "message"))
		on_channel(p, r->element[1], (struct bh_bytes){
		    r->element[2]->str, (size_t)r->element[2]->len});
	else
		on_subscribed(be, r);
}

/* --- publish --- */

static void
sent_answer(struct sent *s)
{
	struct bh_publish *r = s->r;
	struct rpubsub *p = s->be->pubsub;

	TAILQ_REMOVE(&p->sent, s, link);
	p->under_way--;
	if (s->echoed)
		r->receivers += s->local - s->matches;
	if (r->receivers < 0)
		r->receivers = 0;
	free(s);
	be_done(&r->req);
}

/* No message will come any more that was published by now. */
static void
settle(struct redis_be *be)
{
	struct sent *s, *next;

	TAILQ_FOREACH_SAFE(s, &be->pubsub->sent, link, next)
		if (s->counted)
			sent_answer(s);
}

static void
on_fence(void *arg, redisReply *r)
{
	struct sent *s = arg;

	/* Lost: on_down settles. */
	if (r)
		sent_answer(s);
}

static void
on_published(void *arg, redisReply *reply)
{
	struct sent *s = arg;
	struct redis_be *be = s->be;
	struct rpubsub *p = be->pubsub;
	struct bh_publish *r = s->r;

	if (!reply || reply->type != REDIS_REPLY_INTEGER) {
		TAILQ_REMOVE(&p->sent, s, link);
		p->under_way--;
		free(s);
		be_done_error(be, &r->req, reply);
		return;
	}
	r->receivers = reply->integer;
	s->counted = true;
	if (r->receivers == 0 || p->npatterns == 0 || !p->link ||
	    !rlink_sendv(p->link, on_fence, s, "PING", NULL))
		sent_answer(s);
}

static bool
send_publish(struct sent *s)
{
	const struct bh_publish *r = s->r;
	const char *argv[] = {"PUBLISH", r->topic.data ? r->topic.data : "",
	    r->message.data ? r->message.data : ""};
	size_t lens[] = {7, r->topic.len, r->message.len};

	s->held = false;
	return s->be->ready && rlink_send(s->be->main, 3, argv, lens,
	    on_published, s);
}

/* Later, by be_fail(): this may be inside the verb. */
static void
not_sent(struct sent *s)
{
	struct rpubsub *p = s->be->pubsub;

	TAILQ_REMOVE(&p->sent, s, link);
	p->under_way--;
	be_fail_away(s->be, &s->r->req);
	free(s);
}

static void
send_held(struct redis_be *be)
{
	struct sent *s, *next;

	TAILQ_FOREACH_SAFE(s, &be->pubsub->sent, link, next)
		if (s->held && !send_publish(s))
			not_sent(s);
}

void
rpubsub_publish(void *arg, struct bh_publish *r)
{
	struct redis_be *be = arg;
	struct rpubsub *p = be->pubsub;
	struct sent *s;

	if (rvalue_own(r->topic.data, r->topic.len, be->config.prefix)) {
		be_fail(be, &r->req, BH_E_BADARG, "topics that begin with '%s'"
		    " (backend.prefix) are Bellhop's own",
		    be->config.prefix);
		return;
	}
	if (raway_left(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	s = mem_new(sizeof(*s));
	s->be = be;
	s->r = r;
	s->held = true;
	TAILQ_INSERT_TAIL(&p->sent, s, link);
	p->under_way++;
	if ((!be->ready || confirmed(p)) && !send_publish(s))
		not_sent(s);
}

/* --- life --- */

void
rpubsub_new(struct redis_be *be)
{
	be->pubsub = mem_new(sizeof(*be->pubsub));
	TAILQ_INIT(&be->pubsub->sent);
	be->pubsub->serial = 1;
}

void
rpubsub_up(struct redis_be *be)
{
	open_link(be);
}

/* The main link is away: this one follows it to wherever it is next. */
void
rpubsub_down(struct redis_be *be)
{
	rlink_free(&be->pubsub->link);
	settle(be);
	send_held(be);
}

bool
rpubsub_idle(const struct redis_be *be)
{
	return be->pubsub->under_way == 0 && (!be->ready ||
	    confirmed(be->pubsub));
}

/* Unlike settle(), also those whose count has not come: after the links. */
void
rpubsub_free(struct redis_be *be)
{
	struct rpubsub *p = be->pubsub;

	rpubsub_down(be);
	for (size_t i = 0; i < p->npatterns; i++)
		free(p->patterns[i].text);
	for (size_t i = 0; i < p->nchannels; i++)
		free(p->channels[i].name);
	forget_message(p);
	free(p->patterns);
	free(p->channels);
	free(p);
	be->pubsub = NULL;
}
