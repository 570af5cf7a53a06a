/* SPDX-License-Identifier: MIT */
/*
 * An ordered list in which places are found, counted and reached in O(log n):
 * a skip list whose links know how many items they pass. W. Pugh, A Skip List
 * Cookbook, 1990 (insertion, deletion; section 3.4, linear list operations).
 *
 * The node is the last member of its item, which has room for as many links as
 * skip_height() said behind it.
 */
#ifndef DS_SKIP_H
#define DS_SKIP_H

#include <stddef.h>
#include <stdint.h>

enum { SKIP_MAX = 32 };

struct skip_node;

struct skip_link {
	struct skip_node *next;
	size_t span;			/* items from here to next, or to the
					   end */
};

struct skip_node {
	struct skip_node *back;
	uint32_t height;
	struct skip_link up[];		/* [0] is the list itself */
};

struct skip {
	struct skip_link *head;
	uint32_t height;
	size_t count;
	struct skip_node *last;
};

/* Negative: the node stands in front of what key says, else not. */
typedef int skip_cmp_fn(const struct skip_node *node, const void *key);

/* A height for a new node, of so many random bits. */
uint32_t skip_height(uint64_t random);

/* The nodes are the owner's. */
void skip_done(struct skip *s);
/* In front of the first one that is not in front of key. */
void skip_insert(struct skip *s, struct skip_node *n, skip_cmp_fn *cmp,
    const void *key);
/* key is the node's own: no other one compares the same. */
void skip_remove(struct skip *s, struct skip_node *n, skip_cmp_fn *cmp,
    const void *key);
/* How many are in front of key; *ret, if not NULL: the next one, or NULL. */
size_t skip_rank(const struct skip *s, skip_cmp_fn *cmp, const void *key,
    struct skip_node **ret);
/* The one with so many in front of it, or NULL. */
struct skip_node *skip_at(const struct skip *s, size_t rank);
/* Memory beside the nodes. */
size_t skip_bytes(const struct skip *s);

static inline struct skip_node *
skip_first(const struct skip *s)
{
	return s->height ? s->head[0].next : NULL;
}

static inline struct skip_node *
skip_next(const struct skip_node *n)
{
	return n->up[0].next;
}

#endif
