/* SPDX-License-Identifier: MIT */
/*
 * Commands that wait for a key. Those of one name stand in line by when they
 * came. A change of a key puts its line on the ready list; once the command
 * that made the change is through, all in the line try again, one by one, as long
 * as the key is there.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "keys/part.h"

struct parked;

/* A parked call's place in the line of one name. */
struct place {
	TAILQ_ENTRY(place) link;
	struct parked *who;
	struct line *line;
};

struct line {
	uint64_t hash;
	TAILQ_HEAD(, place) places;
	TAILQ_ENTRY(line) ready;
	bool is_ready;
	size_t len;
	char name[];
};

struct parked {
	struct heap_item deadline;	/* mono ms, while pos */
	TAILQ_ENTRY(parked) link;
	struct kcall call;
	bool (*again)(struct kcall *c, struct bh_bytes name);
	void (*late)(struct kcall *c);
	size_t n;
	struct place places[];
};

struct parking {
	struct map lines;
	TAILQ_HEAD(, line) ready;
	TAILQ_HEAD(, parked) all;
	struct heap deadlines;
	struct line *serving;		/* it is not freed meanwhile */
};

static uint64_t
line_hash(const void *item)
{
	return ((const struct line *)item)->hash;
}

static bool
line_equal(const void *item, const void *name)
{
	const struct line *l = item;

	return bytes_equal((struct bh_bytes){l->name, l->len},
	    *(const struct bh_bytes *)name);
}

static const struct map_ops line_ops = {line_hash, line_equal};

struct parking *
parking_new(void)
{
	struct parking *p = xcalloc(1, sizeof(*p));

	map_init(&p->lines, &line_ops);
	TAILQ_INIT(&p->ready);
	TAILQ_INIT(&p->all);
	return p;
}

void
parking_free(struct parking **pp)
{
	struct parking *p = *pp;

	if (!p)
		return;
	CHECK(TAILQ_EMPTY(&p->all));
	map_done(&p->lines);
	heap_done(&p->deadlines);
	free(p);
	*pp = NULL;
}

static struct line *
line_of(struct keys *ks, struct bh_bytes name)
{
	uint64_t hash = keys_hash(ks, name);
	struct line *l = map_get(&ks->parking->lines, hash, &name);

	if (l)
		return l;
	l = xcalloc(1, sizeof(*l) + name.len);
	l->hash = hash;
	l->len = name.len;
	if (name.len)
		memcpy(l->name, name.data, name.len);
	TAILQ_INIT(&l->places);
	map_put(&ks->parking->lines, l);
	return l;
}

/* Unless somebody still stands in it. */
static void
line_end(struct parking *p, struct line *l)
{
	if (!TAILQ_EMPTY(&l->places) || l->is_ready)
		return;
	map_remove(&p->lines, l);
	free(l);
}

static void
line_leave(struct parking *p, struct place *at)
{
	struct line *l = at->line;

	TAILQ_REMOVE(&l->places, at, link);
	if (l != p->serving)
		line_end(p, l);
}

void
call_park(struct kcall *c, const struct bh_bytes *names, size_t n,
    int64_t deadline_ms, bool (*again)(struct kcall *c, struct bh_bytes name),
    void (*late)(struct kcall *c))
{
	struct parking *p = c->ks->parking;
	struct parked *w;

	if (c->inner) {
		late(c);
		return;
	}
	w = xcalloc(1, sizeof(*w) + n * sizeof(*w->places));
	w->call = *c;
	w->again = again;
	w->late = late;
	w->n = n;
	for (size_t i = 0; i < n; i++) {
		w->places[i].who = w;
		w->places[i].line = line_of(c->ks, names[i]);
		TAILQ_INSERT_TAIL(&w->places[i].line->places, &w->places[i],
		    link);
	}
	TAILQ_INSERT_TAIL(&p->all, w, link);
	if (deadline_ms)
		heap_set(&p->deadlines, &w->deadline, deadline_ms);
	c->parked = true;
}

static void
unpark(struct keys *ks, struct parked *w)
{
	TAILQ_REMOVE(&ks->parking->all, w, link);
	heap_remove(&ks->parking->deadlines, &w->deadline);
	for (size_t i = 0; i < w->n; i++)
		line_leave(ks->parking, &w->places[i]);
}

static void
make_ready(struct parking *p, struct line *l)
{
	if (l->is_ready)
		return;
	l->is_ready = true;
	TAILQ_INSERT_TAIL(&p->ready, l, ready);
}

void
park_signal(struct keys *ks, const struct key *k)
{
	struct bh_bytes name = key_name(k);
	struct line *l;

	if (TAILQ_EMPTY(&ks->parking->all))
		return;
	l = map_get(&ks->parking->lines, k->hash, &name);
	if (l)
		make_ready(ks->parking, l);
}

void
park_signal_all(struct keys *ks)
{
	struct parked *w;

	TAILQ_FOREACH(w, &ks->parking->all, link)
		for (size_t i = 0; i < w->n; i++)
			make_ready(ks->parking, w->places[i].line);
}

static void
try_again(struct keys *ks, struct parked *w, struct bh_bytes name)
{
	struct kcall *c = &w->call;

	c->lsn = 0;
	c->dirty = false;
	if (!w->again(c, name))
		return;
	unpark(ks, w);
	if (!c->step || !call_walk(c))
		call_finish(c);
	free(w);
}

static void
serve_line(struct keys *ks, struct line *l)
{
	struct bh_bytes name = {l->name, l->len};
	struct place *at, *next;

	TAILQ_FOREACH_SAFE(at, &l->places, link, next) {
		struct parked *w = at->who;

		if (!w->call.gone_too &&
		    !map_get(&ks->by_name, l->hash, &name))
			continue;
		/* A call may stand here twice: it leaves both places. */
		while (next && next->who == w)
			next = TAILQ_NEXT(next, link);
		try_again(ks, w, name);
		if (ks->walk) {
			make_ready(ks->parking, l);
			return;
		}
	}
}

void
park_serve(struct keys *ks)
{
	struct parking *p = ks->parking;
	struct line *l;

	/* Not in the middle of a long command, nor from inside of itself. */
	if (p->serving || ks->walk)
		return;
	while (!ks->walk && (l = TAILQ_FIRST(&p->ready))) {
		TAILQ_REMOVE(&p->ready, l, ready);
		l->is_ready = false;
		p->serving = l;
		serve_line(ks, l);
		p->serving = NULL;
		line_end(p, l);
	}
}

void
park_expire(struct keys *ks)
{
	struct heap_item *t;

	while ((t = heap_top(&ks->parking->deadlines)) &&
	    t->at <= ks->mono_ms) {
		struct parked *w = container_of(t, struct parked, deadline);

		unpark(ks, w);
		w->late(&w->call);
		call_finish(&w->call);
		free(w);
	}
}

bool
park_cancel(struct keys *ks, struct bh_req *req)
{
	struct parked *w;

	TAILQ_FOREACH(w, &ks->parking->all, link) {
		if (&w->call.r->req != req)
			continue;
		unpark(ks, w);
		call_drop(&w->call);
		free(w);
		return true;
	}
	return false;
}

struct bh_req *
park_take(struct keys *ks)
{
	struct parked *w = TAILQ_FIRST(&ks->parking->all);
	struct bh_req *req = w ? &w->call.r->req : NULL;

	if (req)
		park_cancel(ks, req);
	return req;
}

int64_t
park_next(const struct keys *ks)
{
	const struct heap_item *t = heap_top(&ks->parking->deadlines);

	return t ? t->at : INT64_MAX;
}

bool
arg_timeout(struct kcall *c, size_t i, int64_t *ret_deadline)
{
	long double s;

	if (!num_real(c->argv[i], &s)) {
		put_error(c, "ERR timeout is not a float or out of range");
		return false;
	}
	s = ceill(s * 1000);
	/* Redis calls that negative too which no number of ms holds. */
	if (s < 0 || s >= 0x1p63L) {
		put_error(c, "ERR timeout is negative");
		return false;
	}
	if (s > (long double)(INT64_MAX - c->ks->wall_ms)) {
		put_error(c, "ERR timeout is out of range");
		return false;
	}
	*ret_deadline = s > 0 ? c->ks->mono_ms + (int64_t)s : 0;
	return true;
}
