/* SPDX-License-Identifier: MIT */
/*
 * Calls of jobs.lua: what a turn asks of one queue is one call, ops in order.
 * Life of one: open (ops are added), sent (its arguments stay, for it may have
 * to be sent again), answered. Calls of a queue are answered in order.
 */
#include <hiredis/hiredis.h>

#include "redis/jobs.h"
#include "redis/mem.h"

enum { FIXED = 4, CHUNK = 4000, OPS_MAX = 2000, BYTES_MAX = 4 << 20,
    AGAIN = 1, WATCHED = 2, TURN_CLOCK = 4, START = 16, LEVEL = 32, KNOWN = 64,
    LEVEL_MS = 1000 };

struct chunk {
	struct chunk *next;
	size_t used, size;
	char data[];
};

struct op {
	rop_fn *fn;
	void *arg;
};

struct rcall {
	TAILQ_ENTRY(rcall) link;
	struct redis_be *be;
	struct rqueue *q;
	bool sent, lost;
	int flags;
	char head[RHEAD];
	char *packed;			/* the options as they were */
	int argc, cap;
	const char **argv;
	size_t *lens;
	struct op *ops;
	size_t nops, cap_ops;
	size_t bytes;
	struct chunk *chunks;
};

/* --- memory --- */

static char *
chunk_take(struct rcall *c, size_t size)
{
	struct chunk *k = c->chunks;
	size_t room;

	if (!k || k->size - k->used < size) {
		room = size > CHUNK ? size : CHUNK;
		k = mem_checked(malloc(sizeof(*k) + room));
		k->size = room;
		k->used = 0;
		k->next = c->chunks;
		c->chunks = k;
	}
	k->used += size;
	return k->data + k->used - size;
}

static void
call_free(struct rcall *c)
{
	struct chunk *k;

	while ((k = c->chunks)) {
		c->chunks = k->next;
		free(k);
	}
	free(c->packed);
	free(c->argv);
	free(c->lens);
	free(c->ops);
	free(c);
}

/* --- options --- */

struct packer {
	char *p;
};

static void
put48(struct packer *k, int64_t v)
{
	rput48(k->p, v);
	k->p += 6;
}

static void
put32(struct packer *k, int64_t v)
{
	uint32_t u = v > INT32_MAX ? INT32_MAX : v < 0 ? 0 : (uint32_t)v;

	for (int i = 3; i >= 0; i--, u >>= 8)
		k->p[i] = (char)u;
	k->p += 4;
}

static void
put8(struct packer *k, int64_t v)
{
	*k->p++ = (char)v;
}

static void
put_double(struct packer *k, double v)
{
	uint64_t u;

	memcpy(&u, &v, sizeof(u));
	for (int i = 7; i >= 0; i--, u >>= 8)
		k->p[i] = (char)u;
	k->p += 8;
}

static void
put_text(struct packer *k, const char *s)
{
	size_t n = strlen(s) + 1;

	memcpy(k->p, s, n);
	k->p += n;
}

static void
put_fingerprint(struct redis_be *be, struct packer *k, const char *s)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)
	    be->host->fingerprint((struct bh_bytes){s, strlen(s)}));
	put_text(k, text);
}

/* As prelude.lua's options() reads them. */
static void
pack_options(struct redis_be *be, struct rqueue *q)
{
	const struct bh_queue_opts *o = &q->opts;
	struct packer k;

	q->packed = k.p = mem_new(400);
	put48(&k, o->max_active);
	put48(&k, o->rate_limit);
	put48(&k, o->rate_per_ms);
	put48(&k, o->rate_burst);
	put8(&k, o->rate_by == BH_RATE_BY_GROUP);
	put32(&k, o->group_concurrency);
	put8(&k, o->group_order == BH_GROUP_SKIP);
	put48(&k, o->max_waiting);
	put32(&k, o->batch_max);
	put48(&k, o->batch_window_ms);
	put48(&k, o->batch_quiet_ms);
	put48(&k, o->retain_completed_ms);
	put48(&k, o->retain_completed_count);
	put48(&k, o->retain_failed_ms);
	put48(&k, o->retain_failed_count);
	put32(&k, o->attempts);
	put8(&k, o->backoff_type);
	put48(&k, o->backoff_ms);
	put48(&k, o->backoff_max_ms);
	put_double(&k, o->backoff_factor);
	put_double(&k, o->backoff_jitter);
	put48(&k, o->timeout_ms);
	put48(&k, o->lease_ms);
	put32(&k, o->max_stalled);
	put8(&k, o->callbacks);
	put_text(&k, strcmp(o->dead_letter, q->name) == 0 ? ""
	    : o->dead_letter);
	put_fingerprint(be, &k, "expired");
	put_fingerprint(be, &k, "stalled 1 times, max_stalled is 1");
	q->packed_len = (size_t)(k.p - q->packed);
}

static void
need_options(struct redis_be *be, struct rqueue *q)
{
	if (q->packed)
		return;
	be->host->queue_options(q->name, &q->opts);
	pack_options(be, q);
}

/* --- adding ops --- */

static struct rcall *
call_new(struct redis_be *be, struct rqueue *q)
{
	struct rcall *c = mem_new(sizeof(*c));

	need_options(be, q);
	c->be = be;
	c->q = q;
	c->cap = 32;
	c->argv = mem_new((size_t)c->cap * sizeof(*c->argv));
	c->lens = mem_new((size_t)c->cap * sizeof(*c->lens));
	c->argc = FIXED;
	TAILQ_INSERT_TAIL(&q->calls, c, link);
	q->open = c;
	be->jobs->ncalls++;
	return c;
}

static void
add_word(struct rcall *c, const char *data, size_t len)
{
	if (c->argc == c->cap) {
		c->cap *= 2;
		c->argv = mem_grow(c->argv,
		    (size_t)c->cap * sizeof(*c->argv));
		c->lens = mem_grow(c->lens,
		    (size_t)c->cap * sizeof(*c->lens));
	}
	c->argv[c->argc] = data ? data : "";
	c->lens[c->argc++] = len;
	c->bytes += len;
}

char *
rop_begin(struct redis_be *be, struct rqueue *q, size_t len, rop_fn *fn,
    void *arg)
{
	struct rcall *c = q->open;
	char *p;

	if (!c || c->nops >= OPS_MAX || c->bytes >= BYTES_MAX)
		c = call_new(be, q);
	if (c->nops == c->cap_ops) {
		c->cap_ops = c->cap_ops ? c->cap_ops * 2 : 16;
		c->ops = mem_grow(c->ops, c->cap_ops * sizeof(*c->ops));
	}
	c->ops[c->nops++] = (struct op){fn, arg};
	p = chunk_take(c, len);
	add_word(c, p, len);
	return p;
}

void
rop_data(struct rqueue *q, struct bh_bytes data)
{
	add_word(q->open, data.data, data.len);
}

void
rop_copy(struct rqueue *q, struct bh_bytes data)
{
	char *p = chunk_take(q->open, data.len ? data.len : 1);

	if (data.len > 0)
		memcpy(p, data.data, data.len);
	add_word(q->open, p, data.len);
}

/* --- sending --- */

/* The latest clock of all queues, as it is by now. */
static int64_t
steadiest(const struct redis_be *be)
{
	const struct rqueue *q;
	int64_t max = 0, mono = rmono(be);

	TAILQ_FOREACH(q, rqueues_all(be), all)
		if (q->m > 0 && q->m + mono - q->m_mono > max)
			max = q->m + mono - q->m_mono;
	return max;
}

static void
head_fill(struct redis_be *be, struct rqueue *q, char *p, int flags,
    int64_t callno)
{
	uint32_t rnd = (uint32_t)rrandom(be);
	int64_t steady = be->jobs->base + be->mono_ms, expected = 0;
	int inst = rinstance(be);

	if (rnews_with_answers(be))
		flags |= WATCHED;
	if (q->known)
		flags |= KNOWN;
	if (be->config.turn_clock)
		flags |= TURN_CLOCK;
	if (q->m > 0)
		expected = q->m + rmono(be) - q->m_mono;
	p[0] = (char)(inst >> 8);
	p[1] = (char)inst;
	p[2] = (char)(q->number >> 8);
	p[3] = (char)q->number;
	p[4] = (char)flags;
	for (int i = 3; i >= 0; i--, rnd >>= 8)
		p[5 + i] = (char)rnd;
	rput48(p + 9, callno);
	rput48(p + 15, be->wall_ms);
	rput48(p + 21, steady);
	rput48(p + 27, flags & LEVEL ? steadiest(be) : expected);
}

void
rqueue_head(struct redis_be *be, struct rqueue *q, char head[RHEAD],
    struct rcounted args[3])
{
	need_options(be, q);
	head_fill(be, q, head, 0, 0);
	args[0] = (struct rcounted){head, RHEAD};
	args[1] = (struct rcounted){q->packed, q->packed_len};
	args[2] = (struct rcounted){be->jobs->channel,
	    strlen(be->jobs->channel)};
}

static void call_done(void *arg, struct redisReply *r);

static void
call_send(struct redis_be *be, struct rcall *c)
{
	struct rqueue *q = c->q;

	if (!c->sent) {
		c->sent = true;
		head_fill(be, q, c->head, c->flags, ++q->callno);
		c->packed = mem_copy(q->packed, q->packed_len);
		c->argv[0] = q->keys;
		c->lens[0] = strlen(q->keys);
		c->argv[1] = c->head;
		c->lens[1] = RHEAD;
		c->argv[2] = c->packed;
		c->lens[2] = q->packed_len;
		c->argv[3] = be->jobs->channel;
		c->lens[3] = strlen(be->jobs->channel);
	}
	c->lost = !rscript_send(be, RSCRIPT_JOBS, 1, c->argc, c->argv,
	    c->lens, call_done, c);
}

/* Those that could not be sent either: their outcome is known. */
void
rcalls_send(struct redis_be *be)
{
	struct rqueue *q;
	struct rcall *c;

	if (!be->ready || !rnames_ready(be))
		return;
	TAILQ_FOREACH(q, rqueues_all(be), all) {
		if (!q->open)
			continue;
		q->open = NULL;
		TAILQ_FOREACH(c, &q->calls, link)
			if (!c->sent)
				call_send(be, c);
	}
}

void
rcalls_again(struct redis_be *be)
{
	struct rqueue *q;
	struct rcall *c;

	TAILQ_FOREACH(q, rqueues_all(be), all)
		TAILQ_FOREACH(c, &q->calls, link)
			if (c->lost) {
				c->head[4] |= AGAIN;
				c->head[0] = (char)(rinstance(be) >> 8);
				c->head[1] = (char)rinstance(be);
				call_send(be, c);
			}
}

/* --- answers --- */

void
rqueue_due(struct redis_be *be, struct rqueue *q, int64_t mono)
{
	if (mono < q->due)
		q->due = mono;
	if (q->due < be->jobs->next_due)
		be->jobs->next_due = q->due;
}

void
rqueue_woken(struct rqueue *q)
{
	if (q->ready < 1)
		q->ready = 1;
	if (q->ripe < 1)
		q->ripe = 1;
}

static const struct redisReply *
take_head(struct redis_be *be, struct rqueue *q, const struct redisReply *r)
{
	int64_t mono = rmono(be);

	if (!r || r->type != REDIS_REPLY_ARRAY || r->elements < 6)
		return NULL;
	q->known = true;
	q->m = r->element[0]->integer;
	q->m_mono = mono;
	q->due = INT64_MAX;
	if (r->element[1]->integer >= 0)
		rqueue_due(be, q, mono + r->element[1]->integer);
	q->ready = r->element[2]->integer;
	q->ripe = r->element[3]->integer;
	return r->element[4];
}

static void
take_extras(struct redis_be *be, struct rqueue *q,
    const struct redisReply *r)
{
	const struct redisReply *list = r->element[5];

	for (size_t i = 0; i + 1 < list->elements; i += 2) {
		const char *what = list->element[i]->str;
		const struct redisReply *of = list->element[i + 1];

		if (!strcmp(what, "ended"))
			rgets_ended(be, q, of);
		else if (!strcmp(what, "out"))
			rforward(be, q, of);
		else if (!strcmp(what, "lost"))
			rserver_look(be);
		else
			rlist_heard(be, q, what, of);
	}
}

const struct redisReply *
rqueue_reply(struct redis_be *be, struct rqueue *q,
    const struct redisReply *r)
{
	const struct redisReply *results = take_head(be, q, r);

	if (results)
		take_extras(be, q, r);
	be->host->wake();
	return results;
}

static void
call_done(void *arg, struct redisReply *r)
{
	struct rcall *c = arg;
	struct redis_be *be = c->be;
	struct rqueue *q = c->q;
	const struct redisReply *results;

	if (!r) {
		c->lost = true;		/* rcalls_again() */
		return;
	}
	TAILQ_REMOVE(&q->calls, c, link);
	be->activity++;
	results = take_head(be, q, r);
	for (size_t i = 0; i < c->nops; i++)
		if (c->ops[i].fn)
			c->ops[i].fn(be, q, c->ops[i].arg, results &&
			    i < results->elements ? results->element[i] : r);
	if (results)
		take_extras(be, q, r);
	call_free(c);
	be->jobs->ncalls--;
	be->host->wake();
}

void
rqueue_tick(struct redis_be *be, struct rqueue *q)
{
	*rop_begin(be, q, 1, NULL, NULL) = 'T';
}

void
rqueue_start(struct redis_be *be, struct rqueue *q, rop_fn *fn, void *arg)
{
	*rop_begin(be, q, 1, fn, arg) = 'S';
	q->open->flags |= START;
}

void
rqueues_level(struct redis_be *be)
{
	struct rqueue *q;
	int64_t max = steadiest(be), mono = rmono(be);

	TAILQ_FOREACH(q, rqueues_all(be), all) {
		if (q->m == 0 || q->m + mono - q->m_mono >= max - LEVEL_MS)
			continue;
		rqueue_tick(be, q);
		q->open->flags |= LEVEL;
	}
}

bool
rcalls_idle(const struct redis_be *be)
{
	return be->jobs->ncalls == 0;
}

void
rcalls_free(struct redis_be *be)
{
	struct rqueue *q;
	struct rcall *c;

	TAILQ_FOREACH(q, rqueues_all(be), all)
		while ((c = TAILQ_FIRST(&q->calls))) {
			TAILQ_REMOVE(&q->calls, c, link);
			for (size_t i = 0; i < c->nops; i++)
				if (c->ops[i].fn)
					c->ops[i].fn(be, q, c->ops[i].arg,
					    NULL);
			call_free(c);
			be->jobs->ncalls--;
		}
}

void
rjobs_options_changed(struct redis_be *be)
{
	struct rqueue *q;

	TAILQ_FOREACH(q, rqueues_all(be), all) {
		struct bh_queue_opts now;

		if (!q->packed)
			continue;
		be->host->queue_options(q->name, &now);
		if (!memcmp(&now, &q->opts, sizeof(now)))
			continue;
		free(q->packed);
		q->packed = NULL;
		need_options(be, q);
		if (q->number >= 0)
			rqueue_tick(be, q);
	}
}
