/* SPDX-License-Identifier: MIT */
/*
 * WATCH: which connections want to know whether a name's key changes. A change
 * marks them; EXEC looks at the mark and forgets all that its client watched.
 * A key that expires has changed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "keys/part.h"

/* What one client may watch. */
enum { NAMES_MAX = 10000, BYTES_MAX = 1 << 20 };

struct watched {
	TAILQ_ENTRY(watched) link;
	uint64_t hash;
	TAILQ_HEAD(, watch) watches;
	size_t len;
	char name[];
};

struct watcher {
	TAILQ_ENTRY(watcher) link;
	uint64_t client;
	bool marked;
	TAILQ_HEAD(, watch) watches;
	size_t n, bytes;
};

struct watch {
	TAILQ_ENTRY(watch) of_name, of_client;
	struct watched *name;
	struct watcher *who;
};

struct watching {
	struct map names;
	struct map clients;
	TAILQ_HEAD(, watched) all_names;
	TAILQ_HEAD(, watcher) all_clients;
};

static uint64_t
watched_hash(const void *item)
{
	return ((const struct watched *)item)->hash;
}

static bool
watched_equal(const void *item, const void *name)
{
	const struct watched *w = item;

	return bytes_equal((struct bh_bytes){w->name, w->len},
	    *(const struct bh_bytes *)name);
}

static uint64_t
watcher_hash(const void *item)
{
	return map_hash_int(((const struct watcher *)item)->client);
}

static bool
watcher_equal(const void *item, const void *client)
{
	return ((const struct watcher *)item)->client ==
	    *(const uint64_t *)client;
}

static const struct map_ops name_ops = {watched_hash, watched_equal};
static const struct map_ops client_ops = {watcher_hash, watcher_equal};

struct watching *
watching_new(void)
{
	struct watching *w = xcalloc(1, sizeof(*w));

	map_init(&w->names, &name_ops);
	map_init(&w->clients, &client_ops);
	TAILQ_INIT(&w->all_names);
	TAILQ_INIT(&w->all_clients);
	return w;
}

static void
watch_free(struct watching *all, struct watch *w)
{
	struct watched *name = w->name;

	TAILQ_REMOVE(&name->watches, w, of_name);
	TAILQ_REMOVE(&w->who->watches, w, of_client);
	free(w);
	if (!TAILQ_EMPTY(&name->watches))
		return;
	map_remove(&all->names, name);
	TAILQ_REMOVE(&all->all_names, name, link);
	free(name);
}

static void
watcher_free(struct watching *all, struct watcher *who)
{
	struct watch *w;

	while ((w = TAILQ_FIRST(&who->watches)))
		watch_free(all, w);
	map_remove(&all->clients, who);
	TAILQ_REMOVE(&all->all_clients, who, link);
	free(who);
}

static struct watcher *
watcher_find(struct watching *all, uint64_t client)
{
	return map_get(&all->clients, map_hash_int(client), &client);
}

void
watching_free(struct watching **wp)
{
	struct watching *all = *wp;
	struct watcher *who;

	if (!all)
		return;
	while ((who = TAILQ_FIRST(&all->all_clients)))
		watcher_free(all, who);
	map_done(&all->names);
	map_done(&all->clients);
	free(all);
	*wp = NULL;
}

/* --- changes --- */

static void
mark(struct watched *name)
{
	struct watch *w;

	TAILQ_FOREACH(w, &name->watches, of_name)
		w->who->marked = true;
}

void
watch_touch(struct keys *ks, const struct key *k)
{
	struct bh_bytes name = key_name(k);
	struct watched *w;

	if (ks->watching->names.count == 0)
		return;
	w = map_get(&ks->watching->names, k->hash, &name);
	if (w)
		mark(w);
}

void
watch_touch_all(struct keys *ks)
{
	struct watched *w;

	TAILQ_FOREACH(w, &ks->watching->all_names, link) {
		struct bh_bytes name = {w->name, w->len};

		if (map_get(&ks->by_name, w->hash, &name))
			mark(w);
	}
}

/* --- commands --- */

static struct watched *
name_get(struct keys *ks, struct bh_bytes name)
{
	struct map *names = &ks->watching->names;
	uint64_t hash = keys_hash(ks, name);
	struct watched *w = map_get(names, hash, &name);

	if (w)
		return w;
	w = xcalloc(1, sizeof(*w) + name.len);
	w->hash = hash;
	w->len = name.len;
	if (name.len)
		memcpy(w->name, name.data, name.len);
	TAILQ_INIT(&w->watches);
	map_put(names, w);
	TAILQ_INSERT_TAIL(&ks->watching->all_names, w, link);
	return w;
}

static struct watcher *
watcher_get(struct keys *ks, uint64_t client)
{
	struct watcher *who = watcher_find(ks->watching, client);

	if (who)
		return who;
	who = xcalloc(1, sizeof(*who));
	who->client = client;
	TAILQ_INIT(&who->watches);
	map_put(&ks->watching->clients, who);
	TAILQ_INSERT_TAIL(&ks->watching->all_clients, who, link);
	return who;
}

static void
watch_name(struct keys *ks, struct watcher *who, struct bh_bytes name)
{
	struct watched *to = name_get(ks, name);
	struct watch *w;

	TAILQ_FOREACH(w, &to->watches, of_name)
		if (w->who == who)
			return;
	w = xcalloc(1, sizeof(*w));
	w->name = to;
	w->who = who;
	TAILQ_INSERT_TAIL(&to->watches, w, of_name);
	TAILQ_INSERT_TAIL(&who->watches, w, of_client);
	who->n++;
	who->bytes += name.len;
}

void
k_watch(struct kcall *c)
{
	struct watcher *who;

	if (c->r->client == 0) {
		put_error(c, "ERR WATCH needs a connection of its own");
		return;
	}
	who = watcher_get(c->ks, c->r->client);
	for (size_t i = 1; i < c->argc; i++) {
		/* One that has expired goes before it is watched. */
		(void)key_peek(c, c->argv[i]);
		watch_name(c->ks, who, c->argv[i]);
	}
	if (who->n > NAMES_MAX || who->bytes > BYTES_MAX) {
		watcher_free(c->ks->watching, who);
		put_error(c, "ERR too many watched keys: at most %d with %d"
		    " bytes, now there are none", NAMES_MAX, BYTES_MAX);
		return;
	}
	put_ok(c);
}

void
k_unwatch(struct kcall *c)
{
	struct watcher *who = watcher_find(c->ks->watching, c->r->client);

	if (who)
		watcher_free(c->ks->watching, who);
	put_ok(c);
}

bool
watch_end(struct kcall *c)
{
	struct watching *all = c->ks->watching;
	struct watcher *who = watcher_find(all, c->r->client);
	struct watch *w;
	bool marked;

	if (!who)
		return false;
	TAILQ_FOREACH(w, &who->watches, of_client) {
		struct bh_bytes name = {w->name->name, w->name->len};

		/* It marks us if it has expired meanwhile. */
		(void)key_peek(c, name);
	}
	marked = who->marked;
	watcher_free(all, who);
	return marked;
}
