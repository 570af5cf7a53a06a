/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

struct arena_block {
	struct arena_block *next;
	max_align_t data[];
};

void
arena_done(struct arena *a)
{
	while (a->head) {
		struct arena_block *b = a->head;

		a->head = b->next;
		free(b);
	}
}

void *
arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = xcalloc(1, sizeof(*b) + size);

	b->next = a->head;
	a->head = b;
	return b->data;
}

struct bh_bytes
arena_bytes(struct arena *a, struct bh_bytes b)
{
	char *copy;

	if (!b.data)
		return b;
	copy = arena_alloc(a, b.len + 1);
	memcpy(copy, b.data, b.len);
	return (struct bh_bytes){copy, b.len};
}

void
arena_job(struct arena *a, struct bh_job *to, const struct bh_job *from)
{
	struct bh_job_error *errors;
	struct bh_step *steps;

	*to = *from;
	to->queue = arena_bytes(a, from->queue);
	to->payload = arena_bytes(a, from->payload);
	to->group = arena_bytes(a, from->group);
	to->unique = arena_bytes(a, from->unique);
	to->progress = arena_bytes(a, from->progress);
	to->result = arena_bytes(a, from->result);
	to->error = arena_bytes(a, from->error);
	to->origin = arena_bytes(a, from->origin);
	errors = arena_alloc(a, from->nerrors * sizeof(*errors) + 1);
	for (size_t i = 0; i < from->nerrors; i++) {
		errors[i] = from->errors[i];
		errors[i].message = arena_bytes(a, errors[i].message);
		errors[i].version = arena_bytes(a, errors[i].version);
	}
	to->errors = errors;
	steps = arena_alloc(a, from->nsteps * sizeof(*steps) + 1);
	for (size_t i = 0; i < from->nsteps; i++) {
		steps[i].name = arena_bytes(a, from->steps[i].name);
		steps[i].value = arena_bytes(a, from->steps[i].value);
	}
	to->steps = steps;
}
