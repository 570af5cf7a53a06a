/* SPDX-License-Identifier: MIT */
/*
 * What runs share beyond the store: a value that one of them makes while the
 * others wait (cache.fetch), and keys that a run holds (lock, once). Both end
 * with the run, however it ends.
 *
 * A run is known here by its address alone: the ask's `who`, which is never
 * followed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "script/lua_ask.h"
#include "script/pool_impl.h"

/* Somebody makes the value of this name. */
struct flight {
	TAILQ_ENTRY(flight) entry;
	const struct run *owner;
	TAILQ_HEAD(, ask) waiters;
	size_t len;
	char name[];
};

/* A key that is given back unless the run keeps it. */
struct held {
	TAILQ_ENTRY(held) entry;
	const struct run *owner;
	struct bh_bytes name, token;
	char text[];
};

/* A DELEX under way. */
struct drop {
	struct bh_key_command r;	/* first */
	struct bh_bytes argv[4];
	struct held *held;
};

void
pool_flights_new(struct pool *p)
{
	TAILQ_INIT(&p->flights);
	TAILQ_INIT(&p->held);
}

void
pool_flights_free(struct pool *p)
{
	struct flight *f;
	struct held *h;
	struct ask *a;

	while ((f = TAILQ_FIRST(&p->flights))) {
		while ((a = TAILQ_FIRST(&f->waiters))) {
			TAILQ_REMOVE(&f->waiters, a, entry);
			ask_free(&a);
		}
		TAILQ_REMOVE(&p->flights, f, entry);
		free(f);
	}
	while ((h = TAILQ_FIRST(&p->held))) {
		TAILQ_REMOVE(&p->held, h, entry);
		free(h);
	}
}

/* --- values that one makes for many --- */

static void
tell(struct pool *p, struct ask *a, const char *word, struct bh_bytes value)
{
	resp_put_array(&a->reply, value.data ? 2 : 1);
	resp_put_bulk(&a->reply, word, strlen(word));
	if (value.data)
		resp_put_bulk(&a->reply, value.data, value.len);
	pool_ask_answer(p, a);
}

static void
flight_end(struct pool *p, struct flight *f)
{
	TAILQ_REMOVE(&p->flights, f, entry);
	free(f);
}

/* The owner has failed or is gone: the one that has waited longest is next. */
static void
flight_pass_on(struct pool *p, struct flight *f)
{
	struct ask *a = TAILQ_FIRST(&f->waiters);

	if (!a) {
		flight_end(p, f);
		return;
	}
	TAILQ_REMOVE(&f->waiters, a, entry);
	f->owner = a->who;
	tell(p, a, "run", (struct bh_bytes){0});
}

static struct flight *
flight_find(struct pool *p, struct bh_bytes name)
{
	struct flight *f;

	TAILQ_FOREACH(f, &p->flights, entry)
		if (f->len == name.len &&
		    memcmp(f->name, name.data, f->len) == 0)
			return f;
	return NULL;
}

/* @JOIN name: ["run"], or later ["value", text] or ["nil"] */
static void
join(struct pool *p, struct ask *a)
{
	struct bh_bytes name = a->argv[1];
	struct flight *f = flight_find(p, name);

	if (f && f->owner != a->who) {
		TAILQ_INSERT_TAIL(&f->waiters, a, entry);
		return;
	}
	if (f) {
		resp_put_error(&a->reply, "ERR", "cache.fetch: the function "
		    "asks for the key that it is to make");
		pool_ask_answer(p, a);
		return;
	}
	f = xcalloc(1, sizeof(*f) + name.len);
	f->owner = a->who;
	f->len = name.len;
	memcpy(f->name, name.data, name.len);
	TAILQ_INIT(&f->waiters);
	TAILQ_INSERT_TAIL(&p->flights, f, entry);
	tell(p, a, "run", (struct bh_bytes){0});
}

/* @LAND name value TEXT | nil | failed */
static void
land(struct pool *p, struct ask *a)
{
	struct flight *f = flight_find(p, a->argv[1]);
	struct bh_bytes value = {0};
	struct ask *w;

	if (f && f->owner == a->who &&
	    str_is(a->argv[2].data, a->argv[2].len, "failed")) {
		flight_pass_on(p, f);
	} else if (f && f->owner == a->who) {
		if (a->argc > 3)
			value = a->argv[3];
		while ((w = TAILQ_FIRST(&f->waiters))) {
			TAILQ_REMOVE(&f->waiters, w, entry);
			tell(p, w, value.data ? "value" : "nil", value);
		}
		flight_end(p, f);
	}
	resp_put_simple(&a->reply, "OK");
	pool_ask_answer(p, a);
}

/* --- held keys --- */

static bool
is_running(const struct pool *p, const struct run *who)
{
	const struct run_msg *m;

	TAILQ_FOREACH(m, &p->running, entry)
		if (&m->run == who)
			return true;
	return false;
}

static void
dropped(struct bh_req *req)
{
	struct drop *d = (struct drop *)req;

	free(d->held);
	free(d);
}

static void
give_back(struct pool *p, struct held *h)
{
	struct drop *d;

	if (!p->env->be) {
		free(h);
		return;
	}
	d = xcalloc(1, sizeof(*d));
	d->held = h;
	d->argv[0] = (struct bh_bytes){"DELEX", 5};
	d->argv[1] = h->name;
	d->argv[2] = (struct bh_bytes){"IFEQ", 4};
	d->argv[3] = h->token;
	d->r.req.done = dropped;
	d->r.argv = d->argv;
	d->r.argc = nitems(d->argv);
	p->env->ops->key_command(p->env->be, &d->r);
}

void
pool_hold(struct pool *p, const struct ask *a)
{
	struct bh_bytes name = a->argv[1], token = a->argv[2];
	struct held *h;

	if (buf_size(&a->reply) == 0 || *buf_peek(&a->reply) != '+')
		return;			/* somebody else has it */
	h = xcalloc(1, sizeof(*h) + name.len + token.len);
	h->owner = a->who;
	h->name = (struct bh_bytes){h->text, name.len};
	h->token = (struct bh_bytes){h->text + name.len, token.len};
	memcpy(h->text, name.data, name.len);
	memcpy(h->text + name.len, token.data, token.len);
	if (is_running(p, h->owner))
		TAILQ_INSERT_TAIL(&p->held, h, entry);
	else
		give_back(p, h);
}

/* @KEEP name token: it is the run's business no more. */
static void
keep(struct pool *p, struct ask *a)
{
	struct bh_bytes token = a->argv[2];
	struct held *h;

	TAILQ_FOREACH(h, &p->held, entry)
		if (h->token.len == token.len && memcmp(h->token.data,
		    token.data, token.len) == 0)
			break;
	if (h) {
		TAILQ_REMOVE(&p->held, h, entry);
		free(h);
	}
	resp_put_simple(&a->reply, "OK");
	pool_ask_answer(p, a);
}

/* --- */

bool
pool_flight_asked(struct pool *p, struct ask *a)
{
	static const struct {
		const char *name;
		size_t argc;		/* at least */
		void (*fn)(struct pool *p, struct ask *a);
	} own[] = {{"@JOIN", 2, join}, {"@KEEP", 3, keep},
	    {"@LAND", 3, land}};

	if (a->what != ASK_COMMAND)
		return false;
	for (size_t i = 0; i < nitems(own); i++)
		if (a->argc >= own[i].argc && str_is(a->argv[0].data,
		    a->argv[0].len, own[i].name)) {
			own[i].fn(p, a);
			return true;
		}
	return false;
}

void
pool_flight_ended(struct pool *p, const struct run *who)
{
	struct flight *f, *next;
	struct held *h, *later;
	struct ask *a, *after;

	TAILQ_FOREACH_SAFE(f, &p->flights, entry, next) {
		TAILQ_FOREACH_SAFE(a, &f->waiters, entry, after)
			if (a->who == who) {
				TAILQ_REMOVE(&f->waiters, a, entry);
				tell(p, a, "nil", (struct bh_bytes){0});
			}
		if (f->owner == who)
			flight_pass_on(p, f);
	}
	TAILQ_FOREACH_SAFE(h, &p->held, entry, later)
		if (h->owner == who) {
			TAILQ_REMOVE(&p->held, h, entry);
			give_back(p, h);
		}
}
