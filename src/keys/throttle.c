/* SPDX-License-Identifier: MIT */
#include "keys/throttle.h"

#include <bsd/sys/queue.h>
#include <endian.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/xalloc.h"
#include "ds/map.h"

/* 2^-32 ns; a year is 2^87. */
typedef __int128 tick;

#define NS_TICKS ((tick)1 << 32)
#define MS_TICKS ((tick)1000000 << 32)

/* tat: the time when the bucket is full again. */
struct window {
	int64_t per_ms;
	tick tat;
};

struct limiter {
	TAILQ_ENTRY(limiter) lru;	/* most recent first */
	TAILQ_ENTRY(limiter) change;	/* while it is dirty */
	bool dirty;			/* it differs from its row */
	bool stored;			/* it has a row, or a record of one */
	uint64_t hash;
	uint32_t len;
	uint32_t nwindows;
	struct window *windows;
	char name[];
};

struct throttle {
	struct map by_name;
	TAILQ_HEAD(limiter_list, limiter) lru;
	struct limiter_list changes;
	struct journal *journal;
	bool durable;
	bool loaded;			/* times are as they were read */
	int64_t bytes, limit;
	unsigned char hash_key[16];
};

static uint64_t
limiter_hash(const void *item)
{
	return ((const struct limiter *)item)->hash;
}

static bool
limiter_equal(const void *item, const void *key)
{
	const struct limiter *l = item;
	const struct bh_bytes *name = key;

	return l->len == name->len && memcmp(l->name, name->data, l->len) == 0;
}

static const struct map_ops limiter_ops = {limiter_hash, limiter_equal};

struct throttle *
throttle_new(struct journal *j)
{
	struct throttle *t = xcalloc(1, sizeof(*t));

	map_init(&t->by_name, &limiter_ops);
	TAILQ_INIT(&t->lru);
	TAILQ_INIT(&t->changes);
	t->journal = j;
	rng_bytes(t->hash_key, sizeof(t->hash_key));
	t->limit = INT64_MAX;
	return t;
}

/* With what malloc and the map add. */
static int64_t
limiter_bytes(const struct limiter *l)
{
	return (int64_t)(sizeof(*l) + l->len +
	    l->nwindows * sizeof(struct window) + 48);
}

static void
limiter_free(struct throttle *t, struct limiter *l)
{
	t->bytes -= limiter_bytes(l);
	map_remove(&t->by_name, l);
	TAILQ_REMOVE(&t->lru, l, lru);
	if (l->dirty)
		TAILQ_REMOVE(&t->changes, l, change);
	free(l->windows);
	free(l);
}

static void
limiter_evict(struct throttle *t, struct limiter *l)
{
	struct jrec r = {.kind = JR_LIMITER_DEL};

	r.u.limiter.name = (struct bh_bytes){l->name, l->len};
	if (l->stored)
		journal_append(t->journal, &r);
	limiter_free(t, l);
}

void
throttle_free(struct throttle **tp)
{
	struct throttle *t = *tp;
	struct limiter *l;

	if (!t)
		return;
	while ((l = TAILQ_FIRST(&t->lru)))
		limiter_free(t, l);
	map_done(&t->by_name);
	free(t);
	*tp = NULL;
}

static void
evict(struct throttle *t)
{
	while (t->bytes > t->limit && !TAILQ_EMPTY(&t->lru))
		limiter_evict(t, TAILQ_LAST(&t->lru, limiter_list));
}

void
throttle_set_limit(struct throttle *t, int64_t bytes, bool durable)
{
	t->limit = bytes;
	t->durable = durable && t->journal;
	evict(t);
}

static struct limiter *
limiter_get(struct throttle *t, struct bh_bytes name, bool make)
{
	struct limiter *l;
	uint64_t hash;

	crypto_shorthash((unsigned char *)&hash,
	    (const unsigned char *)name.data, name.len, t->hash_key);
	l = map_get(&t->by_name, hash, &name);
	if (l) {
		TAILQ_REMOVE(&t->lru, l, lru);
		TAILQ_INSERT_HEAD(&t->lru, l, lru);
		return l;
	}
	if (!make)
		return NULL;
	l = xcalloc(1, sizeof(*l) + name.len);
	l->hash = hash;
	l->len = (uint32_t)name.len;
	memcpy(l->name, name.data, name.len);
	map_put(&t->by_name, l);
	TAILQ_INSERT_HEAD(&t->lru, l, lru);
	t->bytes += limiter_bytes(l);
	return l;
}

/* The time of the window of this length; the past when it is new. */
static tick
tat_of(const struct limiter *l, int64_t per_ms)
{
	for (uint32_t i = 0; l && i < l->nwindows; i++)
		if (l->windows[i].per_ms == per_ms)
			return l->windows[i].tat;
	return 0;
}

static tick
interval(const struct bh_window *w)
{
	return (w->per_ms * MS_TICKS + w->limit - 1) / w->limit;
}

static int64_t
ms_up(tick v)
{
	v = (v + MS_TICKS - 1) / MS_TICKS;
	return v < INT64_MAX ? (int64_t)v : INT64_MAX;
}

/* Whether the window has the tokens; *ret: its time once they are taken. */
static bool
window_ask(const struct bh_window *w, tick tat, tick now, int64_t quantity,
    tick *ret)
{
	tick size = interval(w) * w->burst;

	/* It may have been larger once, or the wall clock has jumped. */
	if (tat > now + size)
		tat = now + size;
	*ret = (tat > now ? tat : now) + interval(w) * quantity;
	return *ret - now <= size;
}

static void
window_tell(struct bh_window *w, tick tat, tick now, int64_t quantity,
    bool taken)
{
	tick size = interval(w) * w->burst, left;
	tick base = tat > now ? tat - now : 0;

	left = size - base;
	w->remaining = left > 0 ? (int64_t)(left / interval(w)) : 0;
	w->reset_ms = ms_up(base);
	w->retry_ms = -1;
	if (taken || quantity > w->burst)
		return;
	left = base + interval(w) * quantity - size;
	w->retry_ms = left > 0 ? ms_up(left) : 0;
}

static int
refuse(struct bh_throttle *r, const char *what, int64_t v, int64_t min,
    int64_t max)
{
	r->req.status = BH_E_BADARG;
	snprintf(r->req.text, sizeof(r->req.text), "%s: expected an integer "
	    "from %lld to %lld, not %lld", what, (long long)min,
	    (long long)max, (long long)v);
	return -1;
}

static int
check(struct bh_throttle *r)
{
	if (r->key.len < 1 || r->key.len > THROTTLE_KEY_MAX)
		return refuse(r, "length of the key", (int64_t)r->key.len, 1,
		    THROTTLE_KEY_MAX);
	if (r->quantity < 0 || r->quantity > THROTTLE_MAX)
		return refuse(r, "quantity", r->quantity, 0, THROTTLE_MAX);
	if (r->nwindows < 1 || r->nwindows > THROTTLE_WINDOWS)
		return refuse(r, "number of windows", (int64_t)r->nwindows, 1,
		    THROTTLE_WINDOWS);
	for (size_t i = 0; i < r->nwindows; i++) {
		const struct bh_window *w = &r->windows[i];

		if (w->limit < 1 || w->limit > THROTTLE_MAX)
			return refuse(r, "limit", w->limit, 1, THROTTLE_MAX);
		if (w->burst < 1 || w->burst > THROTTLE_MAX)
			return refuse(r, "burst", w->burst, 1, THROTTLE_MAX);
		if (w->per_ms < 1 || w->per_ms > THROTTLE_PER_MAX)
			return refuse(r, "per", w->per_ms, 1,
			    THROTTLE_PER_MAX);
	}
	return 0;
}

static void
keep(struct throttle *t, struct limiter *l, const struct bh_throttle *r,
    const tick *tats)
{
	if (l->nwindows != r->nwindows) {
		t->bytes -= limiter_bytes(l);
		l->nwindows = (uint32_t)r->nwindows;
		l->windows = xrealloc(l->windows,
		    r->nwindows * sizeof(struct window));
		t->bytes += limiter_bytes(l);
	}
	for (size_t i = 0; i < r->nwindows; i++)
		l->windows[i] = (struct window){r->windows[i].per_ms, tats[i]};
	if (!t->durable || !r->allowed || l->dirty)
		return;
	l->dirty = true;
	TAILQ_INSERT_TAIL(&t->changes, l, change);
}

int
throttle_take(struct throttle *t, struct bh_throttle *r, int64_t now_us)
{
	tick now = now_us * 1000 * NS_TICKS, after[THROTTLE_WINDOWS], tat;
	struct limiter *l;

	if (check(r) < 0)
		return -1;
	l = limiter_get(t, r->key, r->quantity > 0);
	r->allowed = true;
	for (size_t i = 0; i < r->nwindows; i++)
		if (!window_ask(&r->windows[i], tat_of(l, r->windows[i].per_ms),
		    now, r->quantity, &after[i]))
			r->allowed = false;
	for (size_t i = 0; i < r->nwindows; i++) {
		tat = tat_of(l, r->windows[i].per_ms);
		if (!r->allowed)
			after[i] = tat;
		window_tell(&r->windows[i], after[i], now, r->quantity,
		    r->allowed);
	}
	if (l && r->quantity > 0)
		keep(t, l, r, after);
	evict(t);
	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	return 0;
}

/* --- over a restart --- */

/* The wall time when a bucket is full again, in ms. */
static int64_t
wall_of(tick tat, tick now, int64_t wall_ms)
{
	return tat > now ? wall_ms + ms_up(tat - now) : 0;
}

static void
write_down(struct throttle *t, const struct limiter *l, int64_t wall_ms,
    tick now)
{
	uint64_t windows[2 * THROTTLE_WINDOWS];
	struct jrec r = {.kind = JR_LIMITER};

	for (uint32_t i = 0; i < l->nwindows; i++) {
		int64_t until = wall_of(l->windows[i].tat, now, wall_ms);

		windows[2 * i] = htobe64((uint64_t)l->windows[i].per_ms);
		windows[2 * i + 1] = htobe64((uint64_t)until);
		if (until > r.u.limiter.until)
			r.u.limiter.until = until;
	}
	r.u.limiter.name = (struct bh_bytes){l->name, l->len};
	r.u.limiter.windows = (struct bh_bytes){(const char *)windows,
	    2 * l->nwindows * sizeof(*windows)};
	journal_append(t->journal, &r);
}

void
throttle_settle(struct throttle *t, int64_t wall_ms, int64_t now_us)
{
	struct limiter *l;

	while ((l = TAILQ_FIRST(&t->changes))) {
		write_down(t, l, wall_ms, now_us * 1000 * NS_TICKS);
		TAILQ_REMOVE(&t->changes, l, change);
		l->dirty = false;
		l->stored = true;
	}
}

static void
on_row(void *arg, const struct jlimiter_row *row)
{
	struct throttle *t = arg;
	size_t n = row->windows.len / (2 * sizeof(uint64_t));
	uint64_t v[2 * THROTTLE_WINDOWS];
	struct limiter *l;

	if (n < 1 || n > THROTTLE_WINDOWS || row->name.len < 1)
		return;
	memcpy(v, row->windows.data, n * 2 * sizeof(*v));
	l = limiter_get(t, row->name, true);
	t->bytes -= limiter_bytes(l);
	l->windows = xmalloc(n * sizeof(*l->windows));
	l->nwindows = (uint32_t)n;
	l->stored = true;
	t->bytes += limiter_bytes(l);
	for (size_t i = 0; i < n; i++)
		l->windows[i] = (struct window){(int64_t)be64toh(v[2 * i]),
		    (int64_t)be64toh(v[2 * i + 1])};
	t->loaded = true;
}

int
throttle_load(struct throttle *t, struct err *e)
{
	static const struct jvisitor visitor = {.limiter = on_row};

	return journal_recover(t->journal, &visitor, t, e);
}

/* What has been read is in wall ms; from now on it is in ticks. */
void
throttle_begin(struct throttle *t, int64_t wall_ms, int64_t now_us)
{
	struct jrec r = {.kind = JR_LIMITERS_OLD};
	struct limiter *l;

	if (!t->loaded)
		return;
	t->loaded = false;
	TAILQ_FOREACH(l, &t->lru, lru) {
		for (uint32_t i = 0; i < l->nwindows; i++) {
			tick left = l->windows[i].tat - wall_ms;

			l->windows[i].tat = left > 0 ? now_us * 1000 *
			    NS_TICKS + left * MS_TICKS : 0;
		}
	}
	r.u.limiter.until = wall_ms;
	journal_append(t->journal, &r);
	evict(t);
}

int64_t
throttle_count(const struct throttle *t)
{
	return (int64_t)t->by_name.count;
}

int64_t
throttle_bytes(const struct throttle *t)
{
	return t->bytes;
}
