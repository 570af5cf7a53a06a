/* SPDX-License-Identifier: MIT */
/*
 * An intrusive 4-ary min-heap over (at, then insertion does not matter). The
 * item knows its position, so anything can be removed or moved at any time.
 * An item is in at most one heap; pos is 0 while it is in none.
 */
#ifndef DS_HEAP_H
#define DS_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
	int64_t at;
	uint32_t pos;			/* 1-based; 0: in no heap */
	uint8_t kind;			/* these four bytes are the owner's */
	uint8_t tag[3];
};

struct heap {
	struct heap_item **items;	/* items[0] is unused */
	uint32_t count;
	uint32_t cap;
};

void heap_done(struct heap *h);
/* Puts it in, or moves it when it is there already. */
void heap_set(struct heap *h, struct heap_item *item, int64_t at);
/* No-op when it is in no heap. */
void heap_remove(struct heap *h, struct heap_item *item);

static inline struct heap_item *
heap_top(const struct heap *h)
{
	return h->count ? h->items[1] : NULL;
}

#endif
