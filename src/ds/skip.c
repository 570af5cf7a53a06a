/* SPDX-License-Identifier: MIT */
#include "ds/skip.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/die.h"
#include "base/xalloc.h"

/* Each fourth goes one higher. */
uint32_t
skip_height(uint64_t random)
{
	uint32_t zeros = random ? (uint32_t)__builtin_ctzll(random) : 63;

	return 1 + zeros / 2;
}

void
skip_done(struct skip *s)
{
	free(s->head);
	*s = (struct skip){0};
}

size_t
skip_bytes(const struct skip *s)
{
	return s->height * sizeof(*s->head);
}

/* For each height the links of the last one in front of key, and how many
 * items stand in front of that one's successor. */
struct path {
	struct skip_link *links[SKIP_MAX];
	size_t rank[SKIP_MAX];
};

static void
find(const struct skip *s, skip_cmp_fn *cmp, const void *key, struct path *p)
{
	struct skip_link *links = s->head;
	size_t rank = 0;

	for (uint32_t i = s->height; i-- > 0;) {
		while (links[i].next && cmp(links[i].next, key) < 0) {
			rank += links[i].span;
			links = links[i].next->up;
		}
		p->links[i] = links;
		p->rank[i] = rank;
	}
}

static void
grow(struct skip *s, uint32_t height)
{
	if (height <= s->height)
		return;
	s->head = xrealloc(s->head, height * sizeof(*s->head));
	for (; s->height < height; s->height++)
		s->head[s->height] = (struct skip_link){NULL, s->count};
}

void
skip_insert(struct skip *s, struct skip_node *n, skip_cmp_fn *cmp,
    const void *key)
{
	struct path p;

	CHECK(n->height > 0 && n->height <= SKIP_MAX);
	grow(s, n->height);
	find(s, cmp, key, &p);
	for (uint32_t i = 0; i < n->height; i++) {
		struct skip_link *from = &p.links[i][i];
		size_t passed = p.rank[0] - p.rank[i];

		n->up[i].next = from->next;
		n->up[i].span = from->span - passed;
		from->next = n;
		from->span = passed + 1;
	}
	for (uint32_t i = n->height; i < s->height; i++)
		p.links[i][i].span++;
	n->back = p.links[0] == s->head ? NULL :
	    container_of(p.links[0], struct skip_node, up);
	if (skip_next(n))
		skip_next(n)->back = n;
	else
		s->last = n;
	s->count++;
}

void
skip_remove(struct skip *s, struct skip_node *n, skip_cmp_fn *cmp,
    const void *key)
{
	struct path p;

	find(s, cmp, key, &p);
	CHECK(p.links[0][0].next == n);
	for (uint32_t i = 0; i < s->height; i++) {
		struct skip_link *from = &p.links[i][i];

		if (from->next == n) {
			from->next = n->up[i].next;
			from->span += n->up[i].span;
		}
		from->span--;
	}
	if (skip_next(n))
		skip_next(n)->back = n->back;
	else
		s->last = n->back;
	s->count--;
}

size_t
skip_rank(const struct skip *s, skip_cmp_fn *cmp, const void *key,
    struct skip_node **ret)
{
	const struct skip_link *links = s->head;
	struct skip_node *next = NULL;
	size_t rank = 0;

	for (uint32_t i = s->height; i-- > 0;) {
		while ((next = links[i].next) && cmp(next, key) < 0) {
			rank += links[i].span;
			links = next->up;
		}
	}
	if (ret)
		*ret = next;
	return rank;
}

struct skip_node *
skip_at(const struct skip *s, size_t rank)
{
	const struct skip_link *links = s->head;
	struct skip_node *at = NULL;
	size_t left = rank + 1;

	if (rank >= s->count)
		return NULL;
	for (uint32_t i = s->height; i-- > 0;) {
		while (links[i].next && links[i].span <= left) {
			left -= links[i].span;
			at = links[i].next;
			links = at->up;
		}
	}
	return at;
}
