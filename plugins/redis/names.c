/* SPDX-License-Identifier: MIT */
/*
 * What an instance must know before it can begin, and asks for when the
 * connection is up: its own number, the numbers of queues, a range of ids.
 */
#include <hiredis/hiredis.h>

#include "redis/away.h"
#include "redis/jobs.h"
#include "redis/mem.h"

enum { RANGE = 4096, ASKS = 4 };

struct rnames {
	struct rqueues queues;
	struct rqueue *by_name[RQUEUE_HASH];
	struct rqueue *by_number[RQUEUE_MAX + 1];
	int instance;			/* 0 unknown */
	int64_t next, end;		/* ids: seq */
	int64_t spare, spare_end;
	bool asking_ids, asking_names, ready;
	bool beginning;			/* once there are ids */
	int asks;			/* of the beginning, without an answer */
	int64_t last_seq;		/* highest that anybody has, as known */
	int64_t alien;			/* ids up to it say nothing */
	struct rwaits early;		/* until it is ready */
	struct rwaits ids;		/* until there are more ids */
	struct rwaits unknown;		/* ids of queues that are not known */
	char *key_queues, *key_seq, *key_inst, *key_insts, *key_meta,
	    *key_alien;
};

static struct rnames *
names_of(const struct redis_be *be)
{
	return be->jobs->names;
}

int64_t
rmono(const struct redis_be *be)
{
	int64_t wall, mono;

	be->host->now(&wall, &mono);
	return mono;
}

char *
rglobal_key(const struct redis_be *be, const char *name)
{
	const char *prefix = be->config.prefix;
	size_t size = strlen(prefix) + strlen(name) + 5;
	char *key = mem_new(size);

	snprintf(key, size, "%s{*}:%s", prefix, name);
	return key;
}

/* --- requests that wait --- */

static void
waits_init(struct rwaits *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void
waits_add(struct rwaits *l, struct rwait *w)
{
	w->next = NULL;
	*l->last = w;
	l->last = &w->next;
}

static struct rwait *
wait_new(int64_t id, rwait_fn *fn, void *arg)
{
	struct rwait *w = mem_new(sizeof(*w));

	w->id = id;
	w->fn = fn;
	w->arg = arg;
	return w;
}

static struct rwait *
waits_take(struct rwaits *l)
{
	struct rwait *w = l->first;

	waits_init(l);
	return w;
}

/* Nobody gets what was waited for: why is in be->jobs. */
static void
waits_refuse(struct redis_be *be, struct rwait *w, int code, const char *text)
{
	struct rwait *next;

	be->jobs->refused = code;
	snprintf(be->jobs->why, sizeof(be->jobs->why), "%s", text);
	for (; w; w = next) {
		next = w->next;
		w->fn(be, NULL, w->arg);
		free(w);
	}
}

static void
waits_cancel(struct redis_be *be, struct rwait *w)
{
	waits_refuse(be, w, BH_E_CANCELED, "shut down before it was stored");
}

/* --- queues --- */

static unsigned
hash(const char *name, size_t len)
{
	uint32_t h = 0x811c9dc5;

	while (len-- > 0)
		h = (h ^ (unsigned char)*name++) * 0x01000193;
	return (h ^ h >> 15) % RQUEUE_HASH;
}

struct rqueue *
rqueue_find(const struct redis_be *be, struct bh_bytes name)
{
	struct rqueue *q;

	q = names_of(be)->by_name[hash(name.data, name.len)];
	while (q && (q->len != name.len ||
	    memcmp(q->name, name.data, name.len) != 0))
		q = q->same_hash;
	return q;
}

struct rqueues *
rqueues_all(const struct redis_be *be)
{
	return &names_of(be)->queues;
}

static struct rqueue *
queue_new(struct redis_be *be, struct bh_bytes name)
{
	struct rnames *n = names_of(be);
	struct rqueue *q = mem_new(sizeof(*q));
	struct rqueue **slot = &n->by_name[hash(name.data, name.len)];
	size_t size = strlen(be->config.prefix) + name.len + 4;
	int64_t wall;

	/* Past all of an earlier life: a call that is sent again must not be
	 * taken for one of those. Time is faster than 32 calls a ms. */
	be->host->now(&wall, NULL);
	q->callno = wall * 32;
	q->name = mem_copy(name.data, name.len);
	q->len = name.len;
	q->number = -1;
	q->keys = mem_new(size);
	snprintf(q->keys, size, "%s{%s}:", be->config.prefix, q->name);
	TAILQ_INIT(&q->calls);
	q->waits_tail = &q->waits;
	q->due = INT64_MAX;
	q->same_hash = *slot;
	*slot = q;
	TAILQ_INSERT_TAIL(&n->queues, q, all);
	return q;
}

static void
waits_run(struct redis_be *be, struct rqueue *q, struct rwait *w)
{
	struct rwait *next;

	for (; w; w = next) {
		next = w->next;
		w->fn(be, q, w->arg);
		free(w);
	}
}

static struct rqueue *
queue_known(struct redis_be *be, struct bh_bytes name, int64_t number)
{
	struct rnames *n = names_of(be);
	struct rqueue *q = rqueue_find(be, name);
	struct rwait *w;

	if (number < 0 || number >= RQUEUE_MAX)
		return NULL;
	if (!q)
		q = queue_new(be, name);
	if (q->number >= 0)
		return q;
	q->number = (int)number;
	n->by_number[number] = q;
	w = q->waits;
	q->waits = NULL;
	q->waits_tail = &q->waits;
	waits_run(be, q, w);
	return q;
}

/* --- a queue by its name --- */

static void
refuse_queue(struct redis_be *be, struct rqueue *q, int code,
    const char *text)
{
	struct rwait *w = q->waits;

	q->waits = NULL;
	q->waits_tail = &q->waits;
	waits_refuse(be, w, code, text);
}

/* A call that makes queues, all of them or none. */
struct making {
	struct redis_be *be;
	size_t n;
	struct rqueue *queues[];
};

static void
made(struct making *m, const struct redisReply *r)
{
	struct rqueue *q;

	for (size_t i = 0; i < m->n && i < r->elements; i++) {
		q = m->queues[i];
		queue_known(m->be, (struct bh_bytes){q->name, q->len},
		    r->element[i]->integer);
		rqueue_tick(m->be, q);
	}
}

static void
not_made(struct making *m, const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];
	int code = BH_E_QUEUEFULL;

	if (r->type == REDIS_REPLY_ERROR)
		code = be_error(m->be, r, text);
	for (size_t i = 0; i < m->n; i++) {
		if (r->type != REDIS_REPLY_ERROR)
			snprintf(text, sizeof(text), "queue '%s' would be "
			    "number %lld, max_queues is %lld",
			    m->queues[m->n - 1]->name, -r->integer,
			    (long long)m->be->config.max_queues);
		refuse_queue(m->be, m->queues[i], code, text);
	}
}

static void
queues_made(void *arg, struct redisReply *r)
{
	struct making *m = arg;

	for (size_t i = 0; i < m->n; i++)
		m->queues[i]->making = false;
	/* Lost: rnames_up() leads to another call. */
	if (r && r->type == REDIS_REPLY_ARRAY)
		made(m, r);
	else if (r)
		not_made(m, r);
	m->be->host->wake();
	free(m);
}

/* Those of the list that nobody is asking for. */
static void
make_queues(struct redis_be *be, struct rqueue **queues, size_t n)
{
	struct rnames *s = names_of(be);
	struct making *m = mem_new(sizeof(*m) + n * sizeof(m->queues[0]));
	const char **argv = mem_new((n + 4) * sizeof(*argv));
	char limit[24], inst[16];

	m->be = be;
	snprintf(limit, sizeof(limit), "%lld", (long long)
	    (be->config.max_queues > 0 && be->config.max_queues < RQUEUE_MAX
	    ? be->config.max_queues : RQUEUE_MAX));
	snprintf(inst, sizeof(inst), "%d", s->instance);
	argv[0] = s->key_queues;
	argv[1] = limit;
	argv[2] = be->jobs->channel;
	argv[3] = inst;
	for (size_t i = 0; i < n; i++) {
		if (queues[i]->number >= 0 || queues[i]->making)
			continue;
		queues[i]->making = true;
		argv[4 + m->n] = queues[i]->name;
		m->queues[m->n++] = queues[i];
	}
	if (m->n == 0) {
		free(m);
	} else if (!rscript_call(be, RSCRIPT_QUEUE, 1, (int)m->n + 4, argv,
	    NULL, queues_made, m)) {
		for (size_t i = 0; i < m->n; i++)
			m->queues[i]->making = false;
		free(m);
	}
	free(argv);
}

void
rqueues_make(struct redis_be *be, const struct bh_bytes *names, size_t n)
{
	struct rqueue **list;

	if (!names_of(be)->ready)
		return;
	list = mem_new(n * sizeof(struct rqueue *));
	for (size_t i = 0; i < n; i++) {
		list[i] = rqueue_find(be, names[i]);
		if (!list[i])
			list[i] = queue_new(be, names[i]);
	}
	make_queues(be, list, n);
	free(list);
}

/* Before it is ready nothing is asked for: rnames_up() does that later. */
void
rqueue_of_name(struct redis_be *be, struct bh_bytes name, rwait_fn *fn,
    void *arg)
{
	struct rqueue *q = rqueue_find(be, name);
	struct rwait *w;

	if (q && q->number >= 0 && names_of(be)->ready) {
		fn(be, q, arg);
		return;
	}
	w = wait_new(0, fn, arg);
	if (q && q->number >= 0) {
		w->id = q->number;
		waits_add(&names_of(be)->early, w);
		return;
	}
	if (!q)
		q = queue_new(be, name);
	if (names_of(be)->ready)
		make_queues(be, &q, 1);
	*q->waits_tail = w;
	q->waits_tail = &w->next;
}

void
rnames_wait(struct redis_be *be, rwait_fn *fn, void *arg)
{
	if (names_of(be)->ready)
		fn(be, NULL, arg);
	else
		waits_add(&names_of(be)->early, wait_new(-1, fn, arg));
}

/* --- a queue by the id of a job --- */

static int
number_of(const struct redis_be *be, int64_t id)
{
	if (id <= names_of(be)->alien ||
	    (id & RQUEUE_MASK) == RQUEUE_MASK)
		return RQUEUE_MASK;
	return (int)(id & RQUEUE_MASK);
}

struct looking {
	struct redis_be *be;
	struct rwait *wait;
};

static void
alien_found(void *arg, struct redisReply *r)
{
	struct looking *l = arg;
	struct redis_be *be = l->be;
	struct rwait *w = l->wait;
	struct rqueue *q = NULL;
	long number;

	free(l);
	if (!r) {
		waits_add(&names_of(be)->unknown, w);
		return;
	}
	if (r->type == REDIS_REPLY_STRING) {
		number = strtol(r->str, NULL, 10);
		if (number >= 0 && number < RQUEUE_MAX)
			q = names_of(be)->by_number[number];
	}
	w->fn(be, q, w->arg);
	free(w);
	be->host->wake();
}

static void
look_alien(struct redis_be *be, struct rwait *w)
{
	struct looking *l = mem_new(sizeof(*l));
	char id[24];

	l->be = be;
	l->wait = w;
	snprintf(id, sizeof(id), "%lld", (long long)w->id);
	if (rlink_sendv(be->main, alien_found, l, "HGET",
	    names_of(be)->key_alien, id, NULL))
		return;
	waits_add(&names_of(be)->unknown, w);
	free(l);
}

static void
read_queues(struct redis_be *be, const struct redisReply *r)
{
	for (size_t i = 0; i + 1 < r->elements; i += 2)
		queue_known(be, (struct bh_bytes){r->element[i]->str,
		    r->element[i]->len},
		    strtoll(r->element[i + 1]->str, NULL, 10));
}

static void
names_found(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;
	struct rnames *n = names_of(be);
	struct rwait *w, *next;

	n->asking_names = false;
	if (!r || r->type != REDIS_REPLY_ARRAY)
		return;
	read_queues(be, r);
	for (w = waits_take(&n->unknown); w; w = next) {
		int number = number_of(be, w->id);

		next = w->next;
		if (number == RQUEUE_MASK) {
			look_alien(be, w);
			continue;
		}
		w->fn(be, n->by_number[number], w->arg);
		free(w);
	}
	be->host->wake();
}

static void
ask_names(struct redis_be *be)
{
	struct rnames *n = names_of(be);

	if (!n->asking_names && n->ready)
		n->asking_names = rlink_sendv(be->main, names_found, be,
		    "HGETALL", n->key_queues, NULL);
}

void
rqueue_of_id(struct redis_be *be, int64_t id, rwait_fn *fn, void *arg)
{
	struct rnames *n = names_of(be);
	int number = number_of(be, id);
	struct rqueue *q = number == RQUEUE_MASK ? NULL
	    : n->by_number[number];

	if (id <= 0) {
		fn(be, NULL, arg);
		return;
	}
	if (q && n->ready) {
		fn(be, q, arg);
		return;
	}
	waits_add(&n->unknown, wait_new(id, fn, arg));
	ask_names(be);
}

/* --- ids --- */

static void ask_ids(struct redis_be *be, int64_t count);
static void begin(struct redis_be *be);

static void
ids_run(struct redis_be *be)
{
	struct rnames *n = names_of(be);
	struct rwait *w, *next;

	for (w = waits_take(&n->ids); w; w = next) {
		next = w->next;
		if (!rids_have(be, (size_t)w->id)) {
			waits_add(&n->ids, w);
			continue;
		}
		w->fn(be, NULL, w->arg);
		free(w);
	}
}

static void
ids_got(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;
	struct rnames *n = names_of(be);
	char text[BH_ERROR_TEXT];

	n->asking_ids = false;
	if (!r)
		return;
	if (r->type != REDIS_REPLY_INTEGER) {
		if (n->beginning)
			rlink_drop(be->main, r->str);
		(void)be_error(be, r, text);
		be->host->log(BH_LOG_ERROR, "redis", text);
		return;
	}
	n->last_seq = r->integer;
	if (n->next == n->end) {
		n->next = n->spare;
		n->end = n->spare_end;
		n->spare = n->spare_end = 0;
	}
	if (n->next == n->end) {
		n->next = r->integer - n->asks + 1;
		n->end = r->integer + 1;
	} else {
		n->spare = r->integer - n->asks + 1;
		n->spare_end = r->integer + 1;
	}
	if (n->beginning)
		begin(be);
	ids_run(be);
	be->host->wake();
}

static void
ask_ids(struct redis_be *be, int64_t count)
{
	struct rnames *n = names_of(be);
	char by[24];

	if (n->asking_ids || n->spare != n->spare_end)
		return;
	n->asks = (int)count;
	snprintf(by, sizeof(by), "%lld", (long long)count);
	n->asking_ids = rlink_sendv(be->main, ids_got, be, "INCRBY",
	    n->key_seq, by, NULL);
}

/* A put has all its ids of one range, so that they are in order. */
bool
rids_have(struct redis_be *be, size_t count)
{
	struct rnames *n = names_of(be);

	if (n->end - n->next < RANGE / 2)
		ask_ids(be, count > RANGE ? (int64_t)count : RANGE);
	if ((size_t)(n->end - n->next) >= count)
		return true;
	if ((size_t)(n->spare_end - n->spare) < count)
		return false;
	n->next = n->spare;
	n->end = n->spare_end;
	n->spare = n->spare_end = 0;
	return true;
}

void
rids_wait(struct redis_be *be, size_t count, rwait_fn *fn, void *arg)
{
	struct rnames *n = names_of(be);

	/* The one at hand is too small and so may be the next. */
	if (n->spare != n->spare_end && !n->asking_ids) {
		n->next = n->spare;
		n->end = n->spare_end;
		n->spare = n->spare_end = 0;
		ask_ids(be, count > RANGE ? (int64_t)count : RANGE);
	}
	waits_add(&n->ids, wait_new((int64_t)count, fn, arg));
}

int64_t
rids_next(struct redis_be *be, const struct rqueue *q)
{
	return names_of(be)->next++ << RQUEUE_BITS | q->number;
}

bool
rids_given(const struct redis_be *be, int64_t id)
{
	return id >> RQUEUE_BITS <= names_of(be)->last_seq;
}

/* --- the server was flushed --- */

static void
told(void *arg, struct redisReply *r)
{
	(void)arg, (void)r;
}

/* A number that is lower there becomes this one. */
static void
at_least(struct redis_be *be, const char *key, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)v);
	(void)rlink_sendv(be->main, told, be, "EVAL", "if tonumber("
	    "redis.call('GET', KEYS[1]) or 0) < tonumber(ARGV[1]) then"
	    " redis.call('SET', KEYS[1], ARGV[1]) end", "1", key, text, NULL);
}

/* Names, numbers and ids that are in use must not be given to others. */
void
rnames_again(struct redis_be *be)
{
	struct rnames *n = names_of(be);
	char err[BH_ERROR_TEXT], text[24];
	const char *uid = be->host->instance(err);
	int64_t seq = n->last_seq, aside = raway_last_id(be);
	struct rqueue *q;

	if (aside > seq)
		seq = aside;
	at_least(be, n->key_seq, seq);
	at_least(be, n->key_inst, n->instance);
	snprintf(text, sizeof(text), "%d", n->instance);
	if (uid)
		(void)rlink_sendv(be->main, told, be, "HSETNX", n->key_insts,
		    uid, text, NULL);
	TAILQ_FOREACH(q, &n->queues, all) {
		if (q->number < 0)
			continue;
		snprintf(text, sizeof(text), "%d", q->number);
		(void)rlink_sendv(be->main, told, be, "HSETNX",
		    n->key_queues, q->name, text, NULL);
	}
}

/* --- the beginning --- */

bool
rnames_ready(const struct redis_be *be)
{
	return names_of(be)->ready;
}

int
rinstance(const struct redis_be *be)
{
	return names_of(be)->instance;
}

static void
begin(struct redis_be *be)
{
	struct rnames *n = names_of(be);
	struct rwait *w, *next;
	struct rqueue *q;

	n->beginning = false;
	n->ready = true;
	rjobs_set_up(be);
	for (w = waits_take(&n->early); w; w = next) {
		next = w->next;
		w->fn(be, w->id < 0 ? NULL : n->by_number[w->id], w->arg);
		free(w);
	}
	TAILQ_FOREACH(q, &n->queues, all)
		if (q->waits)
			make_queues(be, &q, 1);
	if (n->unknown.first)
		ask_names(be);
	if (n->ids.first || n->next == n->end)
		ask_ids(be, RANGE);
	be->host->wake();
}

static void
fail_begin(struct redis_be *be, const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];

	if (!r)
		return;			/* it will be up again */
	(void)be_error(be, r, text);
	be->host->log(BH_LOG_ERROR, "redis", text);
	rlink_drop(be->main, text);
}

static void
got_meta(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;

	if (!r || r->type == REDIS_REPLY_ERROR) {
		fail_begin(be, r);
		return;
	}
	if (r->type == REDIS_REPLY_STRING)
		names_of(be)->alien = strtoll(r->str, NULL, 10);
	if (names_of(be)->next != names_of(be)->end) {
		begin(be);
		return;
	}
	/* A put then needs to wait for nothing that a look does not. */
	names_of(be)->beginning = true;
	ask_ids(be, RANGE);
}

static void
got_queues(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;
	struct rnames *n = names_of(be);

	if (!r || r->type != REDIS_REPLY_ARRAY) {
		fail_begin(be, r);
		return;
	}
	read_queues(be, r);
	(void)rlink_sendv(be->main, got_meta, be, "HGET", n->key_meta,
	    "alien", NULL);
}

static void
got_number(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;
	struct rnames *n = names_of(be);

	if (!r || r->type != REDIS_REPLY_INTEGER) {
		fail_begin(be, r);
		return;
	}
	n->instance = (int)(r->integer & 0xffff);
	if (n->instance == 0)
		n->instance = 0xffff;
	(void)rlink_sendv(be->main, got_queues, be, "HGETALL", n->key_queues,
	    NULL);
}

void
rnames_up(struct redis_be *be)
{
	struct rnames *n = names_of(be);
	char err[BH_ERROR_TEXT] = "";
	const char *uid = be->host->instance(err);
	const char *argv[] = {n->key_insts, n->key_inst, uid};

	n->ready = n->asking_ids = n->asking_names = n->beginning = false;
	if (!uid) {
		be->host->log(BH_LOG_ERROR, "redis", err);
		return;
	}
	(void)rscript_call(be, RSCRIPT_INSTANCE, 2, 3, argv, NULL,
	    got_number, be);
}

void
rnames_down(struct redis_be *be)
{
	names_of(be)->ready = false;
}

void
rnames_new(struct redis_be *be)
{
	struct rnames *n = mem_new(sizeof(*n));

	TAILQ_INIT(&n->queues);
	waits_init(&n->early);
	waits_init(&n->ids);
	waits_init(&n->unknown);
	be->jobs->names = n;
	n->key_queues = rglobal_key(be, "queues");
	n->key_seq = rglobal_key(be, "seq");
	n->key_inst = rglobal_key(be, "inst");
	n->key_insts = rglobal_key(be, "insts");
	n->key_meta = rglobal_key(be, "meta");
	n->key_alien = rglobal_key(be, "alien");
}

bool
rnames_idle(const struct redis_be *be)
{
	const struct rnames *n = names_of(be);
	const struct rqueue *q;

	TAILQ_FOREACH(q, &n->queues, all)
		if (q->waits)
			return false;
	return !n->early.first && !n->ids.first && !n->unknown.first &&
	    (n->ready || !be->ready);
}

void
rnames_cancel(struct redis_be *be)
{
	struct rnames *n = names_of(be);
	struct rqueue *q;
	struct rwait *w;

	waits_cancel(be, waits_take(&n->early));
	waits_cancel(be, waits_take(&n->ids));
	waits_cancel(be, waits_take(&n->unknown));
	TAILQ_FOREACH(q, &n->queues, all) {
		w = q->waits;
		q->waits = NULL;
		q->waits_tail = &q->waits;
		waits_cancel(be, w);
	}
}

void
rnames_free(struct redis_be *be)
{
	struct rnames *n = names_of(be);
	struct rqueue *q;

	while ((q = TAILQ_FIRST(&n->queues))) {
		TAILQ_REMOVE(&n->queues, q, all);
		free(q->name);
		free(q->keys);
		free(q->packed);
		free(q->runtimes);
		free(q);
	}
	free(n->key_queues);
	free(n->key_seq);
	free(n->key_inst);
	free(n->key_insts);
	free(n->key_meta);
	free(n->key_alien);
	free(n);
	be->jobs->names = NULL;
}

/* --- what others say --- */

/* The next word of the message. */
static struct bh_bytes
word(struct bh_bytes *m)
{
	const char *end = m->len ? memchr(m->data, ' ', m->len) : NULL;
	struct bh_bytes w = {m->data, end ? (size_t)(end - m->data)
	    : m->len};

	m->data += w.len + (end != NULL);
	m->len -= w.len + (end != NULL);
	return w;
}

static int64_t
number(struct bh_bytes w)
{
	char text[24] = {0};

	if (w.len >= sizeof(text))
		return 0;
	memcpy(text, w.data, w.len);
	return strtoll(text, NULL, 10);
}

void
rnames_heard(struct redis_be *be, struct bh_bytes m)
{
	int64_t from = number(word(&m));
	struct bh_bytes kind = word(&m), name = word(&m), arg = word(&m);
	struct rqueue *q = rqueue_find(be, name);

	if (from == names_of(be)->instance || kind.len != 1)
		return;
	if (*kind.data == 'q') {
		queue_known(be, name, number(arg));
		return;
	}
	if (!q || q->number < 0) {
		ask_names(be);
		return;
	}
	if (*kind.data == 'e')
		rgets_heard(be, number(arg));
	else if (*kind.data == 'r')
		rqueue_woken(q);
	else if (*kind.data == 't')
		rqueue_due(be, q, rmono(be) + number(arg));
	else
		rlist_told(be, q, *kind.data, arg, m);
	be->host->wake();
}
