/* SPDX-License-Identifier: MIT */
/*
 * A hash table of pointers: open addressing, linear probing, 8 bytes a slot.
 * It grows a few slots at each change, so no single call is long. The item
 * holds its own key; the owner says how to hash and compare it.
 */
#ifndef DS_MAP_H
#define DS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_ops {
	uint64_t (*hash)(const void *item);
	bool (*equal)(const void *item, const void *key);
};

struct map {
	const struct map_ops *ops;
	void **slots;
	size_t cap;			/* power of two, or 0 */
	size_t count;			/* items in both tables */
	void **old;			/* being moved into slots, or NULL */
	size_t old_cap;
	size_t old_pos;			/* next old slot to move */
};

void map_init(struct map *m, const struct map_ops *ops);
void map_done(struct map *m);

/* The item whose key is equal, or NULL. hash is that of the key. */
void *map_get(const struct map *m, uint64_t hash, const void *key);
/* The key must not be there yet. */
void map_put(struct map *m, void *item);
/* The item itself (not an equal one) must be there. */
void map_remove(struct map *m, void *item);

/* Mixes the bits of an integer key. */
static inline uint64_t
map_hash_int(uint64_t v)
{
	v ^= v >> 32;
	v *= 0xd6e8feb86659fd93ULL;
	v ^= v >> 32;
	return v;
}

#endif
