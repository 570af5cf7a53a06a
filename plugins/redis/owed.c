/* SPDX-License-Identifier: MIT */
/*
 * Callbacks that are owed to scripts. They are kept with the queue, each under
 * the instance whose call has made it; that one offers it to its scripts. The
 * others look again while it is owed, and take it over when that instance is
 * not subscribed to its own channel any more: it is dead or away.
 */
#include <bsd/sys/queue.h>
#include <hiredis/hiredis.h>

#include "redis/admin.h"
#include "redis/mem.h"
#include "redis/part.h"

enum { LOOK_MS = 30000 };

struct owed {
	TAILQ_ENTRY(owed) all;
	struct bh_callback cb;
	bool told;
	char data[];
};

/* A queue where others owe something: to be looked at. */
struct doubt {
	TAILQ_ENTRY(doubt) all;
	int64_t at;			/* mono */
	char queue[];
};

struct rowed {
	TAILQ_HEAD(, owed) all;
	TAILQ_HEAD(, doubt) doubts;
	size_t under_way;
	bool untold;
};

/* --- those of this instance --- */

static struct bh_bytes
text_of(const struct redisReply *r)
{
	if (r->type != REDIS_REPLY_STRING)
		return (struct bh_bytes){0};
	return (struct bh_bytes){r->str, r->len};
}

static struct bh_bytes
keep(char **p, struct bh_bytes b)
{
	struct bh_bytes copy = {b.data ? *p : NULL, b.len};

	if (b.len)
		memcpy(*p, b.data, b.len);
	*p += b.len;
	return copy;
}

static bool
is_known(const struct rowed *w, int64_t id)
{
	const struct owed *o;

	TAILQ_FOREACH(o, &w->all, all)
		if (o->cb.id == id)
			return true;
	return false;
}

static void
remember(struct rowed *w, struct bh_bytes queue, struct redisReply **e)
{
	struct bh_bytes payload = text_of(e[3]), result = text_of(e[4]);
	struct bh_bytes error = text_of(e[5]);
	int64_t id = strtoll(e[7]->str, NULL, 10);
	struct owed *o;
	char *p;

	if (is_known(w, id))
		return;
	o = mem_new(sizeof(*o) + queue.len + payload.len + result.len +
	    error.len);
	p = o->data;
	o->cb = (struct bh_callback){.id = id,
	    .kind = (enum bh_callback_kind)e[0]->integer,
	    .queue = keep(&p, queue), .job = strtoll(e[1]->str, NULL, 10),
	    .attempt = (int32_t)e[2]->integer};
	o->cb.payload = keep(&p, payload);
	o->cb.result = keep(&p, result);
	o->cb.error = keep(&p, error);
	TAILQ_INSERT_TAIL(&w->all, o, all);
	w->untold = true;
}

void
rowed_reply(struct redis_be *be, struct bh_bytes queue,
    const struct redisReply *r)
{
	for (size_t i = 0; i < r->elements; i++)
		if (r->element[i]->elements >= 8)
			remember(be->owed, queue, r->element[i]->element);
	be->host->wake();
}

void
rowed_listen(struct redis_be *be)
{
	struct owed *o;

	TAILQ_FOREACH(o, &be->owed->all, all)
		o->told = false;
	be->owed->untold = true;
}

void
rowed_tell(struct redis_be *be)
{
	struct rowed *w = be->owed;
	struct owed *o, *next;

	if (!w->untold || !be->events)
		return;
	w->untold = false;
	for (o = TAILQ_FIRST(&w->all); o; o = next) {
		next = TAILQ_NEXT(o, all);
		if (o->told)
			continue;
		o->told = true;
		be->events->callback(be->events_arg, &o->cb);
	}
}

static void
forgotten(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;

	/* Lost: it is offered again after the next start, at the latest. */
	(void)r;
	be->owed->under_way--;
}

void
rowed_done(void *arg, int64_t id)
{
	struct redis_be *be = arg;
	struct owed *o;
	char key[300], digits[24];

	TAILQ_FOREACH(o, &be->owed->all, all)
		if (o->cb.id == id)
			break;
	if (!o)
		return;
	snprintf(key, sizeof(key), "%s{%.*s}:o", be->config.prefix,
	    (int)o->cb.queue.len, o->cb.queue.data);
	snprintf(digits, sizeof(digits), "%lld", (long long)id);
	if (be->ready && rlink_sendv(be->main, forgotten, be, "HDEL", key,
	    digits, NULL))
		be->owed->under_way++;
	TAILQ_REMOVE(&be->owed->all, o, all);
	free(o);
}

/* --- those of others --- */

static void
doubt(struct redis_be *be, struct bh_bytes queue)
{
	struct rowed *w = be->owed;
	struct doubt *d;

	TAILQ_FOREACH(d, &w->doubts, all)
		if (strlen(d->queue) == queue.len &&
		    memcmp(d->queue, queue.data, queue.len) == 0)
			return;
	d = mem_new(sizeof(*d) + queue.len + 1);
	memcpy(d->queue, queue.data, queue.len);
	d->at = be->mono_ms + LOOK_MS;
	TAILQ_INSERT_TAIL(&w->doubts, d, all);
}

void
rowed_wake(struct redis_be *be, struct bh_bytes queue)
{
	doubt(be, queue);
}

/* A look at one queue: what is there, and who of the others is alive. */
struct look {
	struct redis_be *be;
	size_t nothers;
	bool taking;			/* the dead are known */
	char dead[600];
	char queue[];
};

static void look_send(struct look *k);

/* PUBSUB NUMSUB: name, how many, … */
static void
others_known(void *arg, struct redisReply *r)
{
	struct look *k = arg;
	size_t n = 0;

	k->be->owed->under_way--;
	for (size_t i = 0; r && r->type == REDIS_REPLY_ARRAY &&
	    i + 1 < r->elements && n + 8 < sizeof(k->dead); i += 2) {
		const char *name = strrchr(r->element[i]->str, ':');

		if (r->element[i + 1]->integer == 0 && name)
			n += (size_t)snprintf(k->dead + n, sizeof(k->dead) - n,
			    "%s%s", n ? "," : "", name + 1);
	}
	/* The living ones deal with theirs; look again later. */
	doubt(k->be, (struct bh_bytes){k->queue, strlen(k->queue)});
	if (n == 0) {
		free(k);
		return;
	}
	k->taking = true;
	look_send(k);
}

static void
ask_others(struct look *k, const struct redisReply *others)
{
	size_t n = others->elements;
	const char **argv = mem_new((n + 2) * sizeof(*argv));
	char (*names)[300] = mem_new(n * sizeof(*names));

	argv[0] = "PUBSUB";
	argv[1] = "NUMSUB";
	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "%s{*}:inst:%lld",
		    k->be->config.prefix,
		    (long long)others->element[i]->integer);
		argv[2 + i] = names[i];
	}
	if (rlink_send(k->be->main, (int)n + 2, argv, NULL, others_known, k))
		k->be->owed->under_way++;
	else
		free(k);
	free(names);
	free(argv);
}

static void
looked(void *arg, const struct redisReply *r)
{
	struct look *k = arg;
	struct redis_be *be = k->be;
	struct bh_bytes queue = {k->queue, strlen(k->queue)};

	be->owed->under_way--;
	if (!r || r->type != REDIS_REPLY_ARRAY || r->elements < 2) {
		free(k);
		return;
	}
	rowed_reply(be, queue, r->element[0]);
	if (!k->taking && r->element[1]->elements > 0)
		ask_others(k, r->element[1]);
	else
		free(k);
}

static void
look_known(void *arg, struct rqueue *q, int code, const char *text)
{
	struct look *k = arg;
	const char *argv[] = {"owed", k->dead};

	(void)code, (void)text;
	if (q && radmin_call(k->be, q, 2, argv, NULL, looked, k))
		return;
	k->be->owed->under_way--;
	free(k);
}

static void
look_send(struct look *k)
{
	k->be->owed->under_way++;
	radmin_find(k->be, (struct bh_bytes){k->queue, strlen(k->queue)},
	    look_known, k);
}

static void
look_at(struct redis_be *be, struct bh_bytes queue)
{
	struct look *k = mem_new(sizeof(*k) + queue.len + 1);

	k->be = be;
	memcpy(k->queue, queue.data, queue.len);
	look_send(k);
}

/* --- life --- */

static void
alive(void *arg, struct bh_bytes message)
{
	(void)arg, (void)message;	/* being subscribed is all */
}

void
rowed_new(struct redis_be *be)
{
	be->owed = mem_new(sizeof(*be->owed));
	TAILQ_INIT(&be->owed->all);
	TAILQ_INIT(&be->owed->doubts);
}

/* This instance has its number: the others may see that it lives. Each queue
 * is looked at once. */
void
rowed_up(struct redis_be *be)
{
	char channel[300];

	snprintf(channel, sizeof(channel), "%s{*}:inst:%d", be->config.prefix,
	    rinstance(be));
	rpubsub_listen(be, channel, alive, be);
}

void
rowed_look(struct redis_be *be, struct bh_bytes queue)
{
	look_at(be, queue);
}

void
rowed_begin(struct redis_be *be)
{
	struct rowed *w = be->owed;
	struct doubt *d;

	rowed_tell(be);
	while (be->ready && (d = TAILQ_FIRST(&w->doubts)) &&
	    d->at <= be->mono_ms) {
		TAILQ_REMOVE(&w->doubts, d, all);
		look_at(be, (struct bh_bytes){d->queue, strlen(d->queue)});
		free(d);
	}
}

int64_t
rowed_next(const struct redis_be *be)
{
	const struct doubt *d = TAILQ_FIRST(&be->owed->doubts);

	return be->ready && d ? d->at : INT64_MAX;
}

bool
rowed_idle(const struct redis_be *be)
{
	return be->owed->under_way == 0;
}

void
rowed_free(struct redis_be *be)
{
	struct rowed *w = be->owed;
	struct owed *o;
	struct doubt *d;

	while ((o = TAILQ_FIRST(&w->all))) {
		TAILQ_REMOVE(&w->all, o, all);
		free(o);
	}
	while ((d = TAILQ_FIRST(&w->doubts))) {
		TAILQ_REMOVE(&w->doubts, d, all);
		free(d);
	}
	free(w);
	be->owed = NULL;
}
