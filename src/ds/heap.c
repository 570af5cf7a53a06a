/* SPDX-License-Identifier: MIT */
#include "ds/heap.h"

#include <stdlib.h>

#include "base/die.h"
#include "base/xalloc.h"

/* Children of i are 4i-2 … 4i+1; its parent is (i+2)/4. */

void
heap_done(struct heap *h)
{
	free(h->items);
	*h = (struct heap){0};
}

static void
put(struct heap *h, uint32_t i, struct heap_item *item)
{
	h->items[i] = item;
	item->pos = i;
}

static void
up(struct heap *h, uint32_t i)
{
	struct heap_item *item = h->items[i];

	while (i > 1 && h->items[(i + 2) / 4]->at > item->at) {
		put(h, i, h->items[(i + 2) / 4]);
		i = (i + 2) / 4;
	}
	put(h, i, item);
}

static void
down(struct heap *h, uint32_t i)
{
	struct heap_item *item = h->items[i];

	for (;;) {
		uint32_t first = 4 * i - 2, last = 4 * i + 1, best = i, c;
		int64_t at = item->at;

		for (c = first; c <= last && c <= h->count; c++) {
			if (h->items[c]->at < at) {
				best = c;
				at = h->items[c]->at;
			}
		}
		if (best == i)
			break;
		put(h, i, h->items[best]);
		i = best;
	}
	put(h, i, item);
}

void
heap_set(struct heap *h, struct heap_item *item, int64_t at)
{
	item->at = at;
	if (item->pos == 0) {
		if (h->count + 2 > h->cap) {
			h->cap = h->cap ? h->cap * 2 : 64;
			h->items = xrealloc(h->items,
			    h->cap * sizeof(h->items[0]));
		}
		h->count++;
		put(h, h->count, item);
	}
	CHECK(h->items[item->pos] == item);
	up(h, item->pos);
	down(h, item->pos);
}

void
heap_remove(struct heap *h, struct heap_item *item)
{
	uint32_t i = item->pos;
	struct heap_item *last;

	if (i == 0)
		return;
	CHECK(i <= h->count && h->items[i] == item);
	last = h->items[h->count--];
	item->pos = 0;
	if (last == item)
		return;
	put(h, i, last);
	up(h, i);
	down(h, last->pos);
}
