/* SPDX-License-Identifier: MIT */
/* Freeing without a stall: what is big or many goes in slices, one a turn. */
#include <stdlib.h>

#include "base/xalloc.h"
#include "keys/part.h"

/* So many bytes of a string cost about as much to free as one more key. */
enum { FREE_BYTES = 16384 };
/* Elements of a value that are freed at its end; more go in slices. */
enum { FREE_AT_ONCE = 256 };

void
value_free(struct keys *ks, enum key_type type, void *obj)
{
	const struct ktype *t = key_types[type];
	int budget = FREE_AT_ONCE;
	struct corpse *c;

	if (t->free_some(obj, &budget))
		return;
	c = xcalloc(1, sizeof(*c));
	c->type = t;
	c->obj = obj;
	c->next = ks->corpses;
	ks->corpses = c;
}

/* Leaves an empty dictionary; answers with what was in it. */
static struct grave *
detach(struct keys *ks)
{
	struct grave *g = xcalloc(1, sizeof(*g));

	g->keys = ks->all;
	g->n = ks->n;
	ks->all = NULL;
	ks->n = ks->cap = 0;
	map_done(&ks->by_name);
	map_init(&ks->by_name, &key_map_ops);
	heap_done(&ks->ttl);
	ks->ttl = (struct heap){0};
	TAILQ_INIT(&ks->lru);
	disk_forget_dirty(ks);
	ks->ndurable = 0;
	ks->cache_bytes = ks->durable_bytes = 0;
	return g;
}

void
keys_flush(struct kcall *c)
{
	struct keys *ks = c->ks;
	bool durable = ks->ndurable > 0;
	struct grave *g;

	watch_touch_all(ks);
	park_signal_all(ks);
	g = detach(ks);
	g->next = ks->graves;
	ks->graves = g;
	if (durable)
		disk_clear(ks);
	if (ks->gone_lsn > c->lsn)
		c->lsn = ks->gone_lsn;
}

/* What it costs to free a key, in keys. */
static int
burden(const struct key *k)
{
	return k->ttl.kind == KEY_STRING ? 1 + (int)(k->str->cap / FREE_BYTES) :
	    FREE_AT_ONCE;
}

static void
bury_keys(struct keys *ks, int left)
{
	struct grave *g;

	while ((g = ks->graves) && left > 0) {
		if (g->n > 0) {
			struct key *k = g->keys[--g->n];

			left -= burden(k);
			key_free(ks, k);
			continue;
		}
		ks->graves = g->next;
		free(g->keys);
		free(g);
	}
}

static void
bury_values(struct keys *ks, int left)
{
	struct corpse *c;

	while ((c = ks->corpses) && left > 0) {
		if (!c->type->free_some(c->obj, &left))
			return;
		ks->corpses = c->next;
		free(c);
	}
}

void
keys_bury(struct keys *ks)
{
	if (ks->corpses)
		bury_values(ks, SLICE_KEYS);
	else
		bury_keys(ks, SLICE_KEYS);
}

void
keys_free_all(struct keys *ks)
{
	struct grave *g = detach(ks);

	g->next = ks->graves;
	ks->graves = g;
	while (ks->graves || ks->corpses)
		keys_bury(ks);
	map_done(&ks->by_name);
	disk_done(ks);
}
