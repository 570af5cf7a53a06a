/* SPDX-License-Identifier: MIT */
/*
 * Life, the turn, dispatch, and answers. Where a request is:
 *
 *   keys_command ──► pending ──► (runs) ──► fresh ──► waiting ──► done()
 *                   only while    │  │    settle:    until its
 *                   a walk runs   │  ▼    its LSN    LSN is durable
 *                                 │ parked, until its key has changed
 *                                 ▼
 *                                walk, slice by slice
 */
#include "keys/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "keys/part.h"

/* Expiry without being asked for: at most so often, to leave an idle daemon
 * asleep. What has expired is never shown, whenever it is removed. */
enum { EXPIRE_EVERY_MS = 1000 };

/* Marks the requests that are ours: bh_req.priv.kind. */
enum { KEYS_REQUEST = 0x6b6579 };

static const struct kcmd commands[] = {
#define KEYCMD(name, arity, flags, first, last, step, fn, args, help) \
	{name, arity, flags, first, last, step, fn},
#include "base/keyspace.def"
#undef KEYCMD
};

/* The table is sorted. */
const struct kcmd *
kcmd_find(struct bh_bytes name)
{
	size_t lo = 0, hi = nitems(commands);
	char upper[24];
	int order;

	if (name.len >= sizeof(upper))
		return NULL;
	for (size_t i = 0; i < name.len; i++)
		upper[i] = (char)(name.data[i] >= 'a' && name.data[i] <= 'z' ?
		    name.data[i] - 32 : name.data[i]);
	upper[name.len] = '\0';
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		order = strcmp(upper, commands[mid].name);
		if (order == 0)
			return &commands[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* --- life --- */

static void
list_init(struct req_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void
list_add(struct req_list *l, struct bh_req *req)
{
	req->priv.next = NULL;
	*l->tail = req;
	l->tail = &req->priv.next;
}

static struct bh_req *
list_take(struct req_list *l)
{
	struct bh_req *req = l->head;

	if (!req)
		return NULL;
	l->head = req->priv.next;
	if (!l->head)
		l->tail = &l->head;
	return req;
}

struct keys *
keys_new(struct journal *j)
{
	struct keys *ks = xcalloc(1, sizeof(*ks));

	ks->journal = j;
	ks->next_id = 1;
	ks->limits.cache_bytes = INT64_MAX;
	rng_bytes(ks->hash_key, sizeof(ks->hash_key));
	map_init(&ks->by_name, &key_map_ops);
	TAILQ_INIT(&ks->lru);
	list_init(&ks->pending);
	list_init(&ks->fresh);
	list_init(&ks->waiting);
	ks->parking = parking_new();
	ks->watching = watching_new();
	return ks;
}

static void
tell(struct keys *ks, struct bh_req *req)
{
	struct kreply *re = req->priv.state;

	req->priv.state = NULL;
	req->done(req);
	if (re)
		reply_free(ks, re);
}

static void
cancel_all(struct keys *ks, struct req_list *l)
{
	struct bh_req *req;

	while ((req = list_take(l))) {
		req->status = BH_E_CANCELED;
		snprintf(req->text, sizeof(req->text), "the store is closed");
		tell(ks, req);
	}
}

void
keys_free(struct keys **ksp)
{
	struct keys *ks = *ksp;
	struct bh_req *req;

	if (!ks)
		return;
	if (ks->walk) {
		list_add(&ks->pending, &ks->walk->r->req);
		call_drop(ks->walk);
		free(ks->walk);
		ks->walk = NULL;
	}
	while ((req = park_take(ks)))
		list_add(&ks->pending, req);
	cancel_all(ks, &ks->fresh);
	cancel_all(ks, &ks->waiting);
	cancel_all(ks, &ks->pending);
	keys_free_all(ks);
	parking_free(&ks->parking);
	watching_free(&ks->watching);
	eval_free(&ks->eval);
	reply_free_spare(ks);
	free(ks);
	*ksp = NULL;
}

void
keys_set_limits(struct keys *ks, const struct keys_limits *limits)
{
	ks->limits = *limits;
	keys_evict(ks);
}

void
keys_set_doors(struct keys *ks, const struct keys_doors *doors)
{
	ks->doors = *doors;
}

void
keys_time(struct keys *ks, int64_t wall_ms, int64_t mono_ms)
{
	ks->wall_ms = wall_ms;
	ks->mono_ms = mono_ms;
}

int
keys_load(struct keys *ks, struct err *e)
{
	return disk_load(ks, e);
}

void
keys_refuse(struct keys *ks, const struct err *why)
{
	ks->refuse = *why;
}

/* --- commands --- */

bool
call_may_grow(struct kcall *c, struct err *ret)
{
	const struct kcmd *cmd = c->cmd;
	struct keys *ks = c->ks;
	int last = cmd->last < 0 ? (int)c->argc + cmd->last : cmd->last;
	bool full = ks->limits.durable_bytes > 0 &&
	    ks->durable_bytes > ks->limits.durable_bytes;

	if (!full && !ks->refuse.code)
		return true;
	for (int i = cmd->first; cmd->step && i <= last; i += cmd->step) {
		if (key_is_volatile(ks, c->argv[i]))
			continue;
		if (full)
			err_set(ret, BH_E_OOM, "command not allowed when used"
			    " memory > 'maxmemory'.");
		else
			*ret = ks->refuse;
		return false;
	}
	return true;
}

/* False: the answer says why not. */
static bool
may_grow(struct kcall *c)
{
	struct err e;

	if (call_may_grow(c, &e))
		return true;
	if (e.code == BH_E_OOM) {
		put_error(c, "OOM %s", e.text);
	} else {
		c->r->req.status = e.code;
		snprintf(c->r->req.text, sizeof(c->r->req.text), "%s", e.text);
	}
	return false;
}

void
call_drop(struct kcall *c)
{
	if (c->drop)
		c->drop(c->state);
	c->drop = NULL;
	c->state = NULL;
}

void
call_finish(struct kcall *c)
{
	struct keys *ks = c->ks;
	struct bh_req *req = &c->r->req;

	call_drop(c);
	if (put_is_too_big(c) && !put_failed(c))
		put_too_big(c);
	c->r->value = c->re->items;
	req->priv.lsn = c->dirty ? UINT64_MAX : c->lsn;
	if (ks->limits.durability == KEYS_MEMORY)
		req->priv.lsn = 0;
	list_add(&ks->fresh, req);
}

bool
call_walk(struct kcall *c)
{
	struct keys *ks = c->ks;

	ks->walk = c;
	if (c->step(c)) {
		ks->walk = xmemdup(c, sizeof(*c));
		return true;
	}
	c->step = NULL;
	if (disk_walk_ended(ks)) {
		ks->walk = xmemdup(c, sizeof(*c));
		return true;
	}
	ks->walk = NULL;
	return false;
}

void
call_words(struct kcall *c, size_t from, bool (*step)(struct kcall *c))
{
	c->at = from;
	c->n = 0;
	if (c->argc <= SLICE_KEYS)
		(void)step(c);
	else
		c->step = step;
}

/* Also those that the command layer sends by itself. */
static const struct kcmd *
find(struct bh_bytes name)
{
	static const struct kcmd more[] = {
		{"EXEC", 1, KF_WRITE, 0, 0, 0, k_exec},
		{"UNWATCH", 1, 0, 0, 0, 0, k_unwatch},
		{"WATCH", -2, 0, 1, -1, 1, k_watch},
	};
	const struct kcmd *cmd = kcmd_find(name);

	for (size_t i = 0; !cmd && i < nitems(more); i++)
		if (str_is(name.data, name.len, more[i].name))
			cmd = &more[i];
	return cmd;
}

static void
run(struct keys *ks, struct bh_key_command *r)
{
	struct kcall c = {.ks = ks, .argv = r->argv, .argc = r->argc, .r = r,
	    .re = reply_new(ks), .cmd = find(r->argv[0])};

	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	r->req.priv.state = c.re;
	if (!c.cmd)
		put_error(&c, "ERR unknown command '%.*s'",
		    (int)(r->argv[0].len > 128 ? 128 : r->argv[0].len),
		    r->argv[0].data);
	else if (!(c.cmd->flags & KF_GROW) || may_grow(&c))
		c.cmd->fn(&c);
	if (c.parked)
		return;
	if (c.step && call_walk(&c))
		return;
	call_finish(&c);
	keys_evict(ks);
	park_serve(ks);
}

/* While a walk is under way: most wait for its end. */
static bool
answered_now(struct keys *ks, struct bh_key_command *r)
{
	struct kcall c = {.ks = ks, .argv = r->argv, .argc = r->argc, .r = r};

	if (!ks->eval)
		return false;
	c.re = reply_new(ks);
	if (!eval_answer_now(&c)) {
		reply_free(ks, c.re);
		return false;
	}
	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	r->req.priv.state = c.re;
	call_finish(&c);
	return true;
}

/* A script has become late: those who wait for it are told so. */
static void
answer_pending(struct keys *ks)
{
	struct req_list all = ks->pending;
	struct bh_req *req;

	if (!ks->eval || !all.head)
		return;
	list_init(&ks->pending);
	while ((req = list_take(&all)))
		if (!answered_now(ks, (struct bh_key_command *)req))
			list_add(&ks->pending, req);
}

void
keys_command(struct keys *ks, struct bh_key_command *r)
{
	memset(&r->req.priv, 0, sizeof(r->req.priv));
	r->req.priv.kind = KEYS_REQUEST;
	if (ks->walk && answered_now(ks, r))
		return;
	if (ks->walk || ks->pending.head)
		list_add(&ks->pending, &r->req);
	else
		run(ks, r);
}

/* --- the turn --- */

void
keys_run_due(struct keys *ks)
{
	const struct heap_item *t = heap_top(&ks->ttl);

	if (ks->walk)
		return;
	park_expire(ks);
	if (!t || t->at > ks->wall_ms ||
	    ks->mono_ms - ks->swept_ms < EXPIRE_EVERY_MS)
		return;
	keys_expire(ks);
	park_serve(ks);
	t = heap_top(&ks->ttl);
	if (!t || t->at > ks->wall_ms)
		ks->swept_ms = ks->mono_ms;
}

/* All that is dirty has been given to the journal: the answers that come with
 * it wait for that. During a walk they stay where they are, also those of
 * commands before it in the same turn, whose rows are written at its end. */
static void
fresh_written(struct keys *ks)
{
	uint64_t last = ks->journal ? journal_last(ks->journal) : 0;

	for (struct bh_req *r = ks->fresh.head; r; r = r->priv.next)
		if (r->priv.lsn == UINT64_MAX)
			r->priv.lsn = last;
}

static void
walk_on(struct keys *ks)
{
	struct kcall *c = ks->walk;

	if (c && c->step && (put_gives_up(c) || !c->step(c)))
		c->step = NULL;
	if (c && !c->step && !disk_walk_ended(ks)) {
		call_finish(c);
		free(c);
		ks->walk = NULL;
		fresh_written(ks);
		park_serve(ks);
	} else if (c) {
		answer_pending(ks);
	}
	while (!ks->walk && ks->pending.head)
		run(ks, (struct bh_key_command *)list_take(&ks->pending));
}

void
keys_settle(struct keys *ks)
{
	struct req_list all;
	struct bh_req *req;

	walk_on(ks);
	keys_evict(ks);
	keys_bury(ks);
	eval_tidy(ks->eval);
	disk_write_down(ks);
	if (!ks->walk)
		fresh_written(ks);
	all = ks->fresh;
	list_init(&ks->fresh);
	while ((req = list_take(&all)))
		list_add(req->priv.lsn == UINT64_MAX ? &ks->fresh :
		    &ks->waiting, req);
}

/* Those whose turn it is, also past one that still waits. */
bool
keys_deliver(struct keys *ks)
{
	uint64_t durable = ks->journal ? journal_durable(ks->journal) : 0;
	struct req_list all = ks->waiting;
	struct bh_req *req;
	bool any = false;

	if (!all.head)
		return false;
	list_init(&ks->waiting);
	while ((req = list_take(&all))) {
		if (req->priv.lsn > durable && !req->status) {
			list_add(&ks->waiting, req);
			continue;
		}
		any = true;
		tell(ks, req);
	}
	return any;
}

int64_t
keys_next(const struct keys *ks)
{
	const struct heap_item *t = heap_top(&ks->ttl);
	int64_t left, at, parked = park_next(ks);

	if (ks->walk || eval_untidy(ks->eval) || ks->pending.head || ks->fresh.head || ks->graves ||
	    ks->corpses || ks->norphans > 0 || (ks->cache_bytes > ks->limits.cache_bytes &&
	    !TAILQ_EMPTY(&ks->lru)))
		return ks->mono_ms;
	if (!t)
		return parked;
	/* The wall clock may jump: look at it once a minute. */
	left = t->at - ks->wall_ms;
	if (left > 60000)
		left = 60000;
	if (left < 0)
		left = 0;
	at = ks->mono_ms + left;
	if (at < ks->swept_ms + EXPIRE_EVERY_MS)
		at = ks->swept_ms + EXPIRE_EVERY_MS;
	return at < parked ? at : parked;
}

void
keys_cancel(struct keys *ks, struct bh_req *req)
{
	if (req->priv.kind != KEYS_REQUEST || !park_cancel(ks, req))
		return;
	req->status = BH_E_CANCELED;
	snprintf(req->text, sizeof(req->text), "the caller has gone away");
	req->priv.lsn = 0;
	list_add(&ks->fresh, req);
}

bool
keys_half_written(const struct keys *ks)
{
	return ks->nwritten > 0 || ks->nrows > 0;
}

void
keys_write_whole(struct keys *ks)
{
	while (keys_half_written(ks) && disk_walk_ended(ks))
		continue;
}

bool
keys_quiet(const struct keys *ks)
{
	return !ks->walk && !ks->pending.head && !ks->fresh.head &&
	    !ks->waiting.head && ks->ndirty == 0;
}

void
keys_stats(const struct keys *ks, struct keys_stats *ret)
{
	*ret = (struct keys_stats){.keys = (int64_t)ks->n,
	    .expires = ks->ttl.count, .durable = (int64_t)ks->ndurable,
	    .cache_bytes = ks->cache_bytes,
	    .durable_bytes = ks->durable_bytes, .hits = ks->hits,
	    .misses = ks->misses, .expired = ks->expired,
	    .evicted = ks->evicted};
}
