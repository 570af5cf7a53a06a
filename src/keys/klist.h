/* SPDX-License-Identifier: MIT */
/*
 * A list of byte strings: a chain of blocks in which they stand one behind the
 * other, quick at both ends, with little around each element.
 *
 * Each element has a number that ascends along the list, under which it is
 * stored: neighbours are KLIST_STRIDE apart at first, so that others fit in
 * between, and where there is no room left some are numbered anew. The log is
 * told of each number's new value, and of each that is gone (NULL).
 */
#ifndef KEYS_KLIST_H
#define KEYS_KLIST_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

enum { KLIST_STRIDE = 1 << 16 };

struct klist_block;

struct klist {
	TAILQ_HEAD(klist_blocks, klist_block) blocks;
	size_t count;
	size_t bytes;			/* of memory, all of it */
};

struct klist_log {
	void (*fn)(void *arg, int64_t number, const struct bh_bytes *value);
	void *arg;
};

/* An element; block NULL: there is none. Any change of the list but the call
 * that got it makes it void. */
struct klist_at {
	struct klist_block *block;
	uint32_t i, off;
};

struct klist *klist_new(void);
struct klist *klist_copy(const struct klist *l);
/* Frees some blocks, counts the budget down; true: all is gone. */
bool klist_free_some(struct klist *l, int *budget);

struct klist_at klist_first(const struct klist *l);
struct klist_at klist_last(const struct klist *l);
struct klist_at klist_seek(const struct klist *l, size_t index);
struct klist_at klist_next(struct klist_at at);
struct klist_at klist_prev(struct klist_at at);
/* Lasts until the next change of the list. */
struct bh_bytes klist_value(struct klist_at at);
int64_t klist_number(struct klist_at at);

void klist_push(struct klist *l, bool front, struct bh_bytes v,
    const struct klist_log *log);
void klist_insert(struct klist *l, struct klist_at at, bool after,
    struct bh_bytes v, const struct klist_log *log);
/* v may not be of this list. */
void klist_replace(struct klist *l, struct klist_at at, struct bh_bytes v,
    const struct klist_log *log);
/* at becomes the element behind it. */
void klist_remove(struct klist *l, struct klist_at *at,
    const struct klist_log *log);
/* As it was stored; the numbers ascend. */
void klist_load(struct klist *l, int64_t number, struct bh_bytes v);

#endif
