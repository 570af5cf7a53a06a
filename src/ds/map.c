/* SPDX-License-Identifier: MIT */
#include "ds/map.h"

#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"

enum { FIRST_CAP = 16, MOVE_STEP = 8 };

void
map_init(struct map *m, const struct map_ops *ops)
{
	*m = (struct map){.ops = ops};
}

void
map_done(struct map *m)
{
	free(m->slots);
	free(m->old);
	*m = (struct map){.ops = m->ops};
}

static void *
find(const struct map *m, void **slots, size_t cap, uint64_t hash,
    const void *key)
{
	size_t i;

	for (i = hash & (cap - 1); slots[i]; i = (i + 1) & (cap - 1))
		if (m->ops->equal(slots[i], key))
			return slots[i];
	return NULL;
}

void *
map_get(const struct map *m, uint64_t hash, const void *key)
{
	void *item = NULL;

	if (m->cap)
		item = find(m, m->slots, m->cap, hash, key);
	if (!item && m->old)
		item = find(m, m->old, m->old_cap, hash, key);
	return item;
}

static void
place(struct map *m, void *item)
{
	size_t i = m->ops->hash(item) & (m->cap - 1);

	while (m->slots[i])
		i = (i + 1) & (m->cap - 1);
	m->slots[i] = item;
}

/* Takes slot i out and moves later items of its run up, so that no probe
 * meets a gap before its item. */
static void
close_gap(struct map *m, void **slots, size_t cap, size_t i)
{
	size_t j = i;

	for (;;) {
		size_t home;

		slots[i] = NULL;
		do {
			j = (j + 1) & (cap - 1);
			if (!slots[j])
				return;
			home = m->ops->hash(slots[j]) & (cap - 1);
			/* Stays when its home lies cyclically in (i, j]. */
		} while (i <= j ? (i < home && home <= j)
				: (i < home || home <= j));
		slots[i] = slots[j];
		i = j;
	}
}

/* Moves a few slots of the old table; it stays a valid table meanwhile. */
static void
move_some(struct map *m)
{
	size_t n;

	for (n = 0; n < MOVE_STEP && m->old; n++) {
		void *item = m->old[m->old_pos];

		if (item) {
			close_gap(m, m->old, m->old_cap, m->old_pos);
			place(m, item);
			continue;	/* the gap may have been filled */
		}
		if (++m->old_pos == m->old_cap) {
			free(m->old);
			m->old = NULL;
		}
	}
}

static void
grow(struct map *m)
{
	while (m->old)
		move_some(m);
	m->old = m->slots;
	m->old_cap = m->cap;
	m->old_pos = 0;
	m->cap = m->cap ? m->cap * 2 : FIRST_CAP;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
}

void
map_put(struct map *m, void *item)
{
	if (m->old)
		move_some(m);
	if (m->count + 1 > m->cap / 8 * 7)
		grow(m);
	place(m, item);
	m->count++;
}

static bool
take(struct map *m, void **slots, size_t cap, void *item)
{
	size_t i;

	for (i = m->ops->hash(item) & (cap - 1); slots[i];
	    i = (i + 1) & (cap - 1)) {
		if (slots[i] != item)
			continue;
		close_gap(m, slots, cap, i);
		return true;
	}
	return false;
}

void
map_remove(struct map *m, void *item)
{
	bool found = m->cap && take(m, m->slots, m->cap, item);

	if (!found && m->old)
		found = take(m, m->old, m->old_cap, item);
	CHECK(found);
	m->count--;
	if (m->old)
		move_some(m);
}
