/* SPDX-License-Identifier: MIT */
/*
 * Fixed-size objects without malloc's overhead, in chunks that are kept until
 * the end. Fresh objects are zeroed.
 */
#ifndef DS_SLAB_H
#define DS_SLAB_H

#include <stddef.h>

struct slab {
	size_t size;			/* of one object, at least 8 */
	void *free;			/* chain through the first word */
	char **chunks;
	size_t nchunks;
	size_t used;			/* objects taken from the last chunk */
	size_t live;
};

void slab_init(struct slab *s, size_t size);
void slab_done(struct slab *s);
void *slab_alloc(struct slab *s);
void slab_free(struct slab *s, void *p);
size_t slab_bytes(const struct slab *s);

#endif
