/* SPDX-License-Identifier: MIT */
#include "ds/slab.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"

enum { CHUNK = 2048 };			/* objects */

void
slab_init(struct slab *s, size_t size)
{
	CHECK(size >= sizeof(void *));
	*s = (struct slab){.size = size, .used = CHUNK};
}

void
slab_done(struct slab *s)
{
	size_t i;

	for (i = 0; i < s->nchunks; i++)
		free(s->chunks[i]);
	free(s->chunks);
	*s = (struct slab){.size = s->size, .used = CHUNK};
}

void *
slab_alloc(struct slab *s)
{
	void *p = s->free;

	if (p) {
		memcpy(&s->free, p, sizeof(s->free));
	} else {
		if (s->used == CHUNK) {
			s->chunks = xrealloc(s->chunks,
			    (s->nchunks + 1) * sizeof(*s->chunks));
			s->chunks[s->nchunks++] = xmalloc(CHUNK * s->size);
			s->used = 0;
		}
		p = s->chunks[s->nchunks - 1] + s->used++ * s->size;
	}
	s->live++;
	memset(p, 0, s->size);
	return p;
}

void
slab_free(struct slab *s, void *p)
{
	CHECK(s->live > 0);
	memcpy(p, &s->free, sizeof(s->free));
	s->free = p;
	s->live--;
}

size_t
slab_bytes(const struct slab *s)
{
	return s->nchunks * CHUNK * s->size;
}
