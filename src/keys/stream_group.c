/* SPDX-License-Identifier: MIT */
/* Consumer groups of a stream, and what was delivered and not acknowledged. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "keys/stream.h"

enum { MALLOC_BYTES = 16 };

/* By bytes, a shorter name before a longer one: as Redis lists them. */
static int
name_cmp(struct bh_bytes a, struct bh_bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.data, b.data, n) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int
group_cmp(const struct sgroup *a, const struct sgroup *b)
{
	return name_cmp((struct bh_bytes){a->name, a->len},
	    (struct bh_bytes){b->name, b->len});
}

static int
consumer_cmp(const struct sconsumer *a, const struct sconsumer *b)
{
	return name_cmp((struct bh_bytes){a->name, a->len},
	    (struct bh_bytes){b->name, b->len});
}

static int
pending_cmp(const struct pending *a, const struct pending *b)
{
	return sid_cmp(a->id, b->id);
}

RB_GENERATE(groups, sgroup, link, group_cmp);
RB_GENERATE(consumers, sconsumer, link, consumer_cmp);
RB_GENERATE(group_pending, pending, in_group, pending_cmp);
RB_GENERATE(consumer_pending, pending, in_consumer, pending_cmp);

struct sgroup *
group_find(const struct stream *s, struct bh_bytes name)
{
	struct sgroup *g = RB_ROOT(&s->groups);

	while (g) {
		int order = name_cmp(name, (struct bh_bytes){g->name, g->len});

		if (order == 0)
			break;
		g = order < 0 ? RB_LEFT(g, link) : RB_RIGHT(g, link);
	}
	return g;
}

static size_t
group_bytes(const struct sgroup *g)
{
	return sizeof(*g) + g->len + MALLOC_BYTES;
}

struct sgroup *
group_add(struct stream *s, struct bh_bytes name, uint32_t id)
{
	struct sgroup *g = xcalloc(1, sizeof(*g) + name.len);

	RB_INIT(&g->pending);
	RB_INIT(&g->consumers);
	g->id = id;
	g->next_consumer = 1;
	g->entries_read = -1;
	g->len = (uint32_t)name.len;
	if (name.len)
		memcpy(g->name, name.data, name.len);
	RB_INSERT(groups, &s->groups, g);
	s->ngroups++;
	s->rows++;
	s->bytes += group_bytes(g);
	if (id >= s->next_group)
		s->next_group = id + 1;
	return g;
}

void
group_remove(struct stream *s, struct sgroup *g)
{
	CHECK(g->npending == 0 && g->nconsumers == 0);
	RB_REMOVE(groups, &s->groups, g);
	s->ngroups--;
	s->rows--;
	s->bytes -= group_bytes(g);
	free(g);
}

struct sconsumer *
consumer_find(const struct sgroup *g, struct bh_bytes name)
{
	struct sconsumer *who = RB_ROOT(&g->consumers);

	while (who) {
		int order = name_cmp(name,
		    (struct bh_bytes){who->name, who->len});

		if (order == 0)
			break;
		who = order < 0 ? RB_LEFT(who, link) : RB_RIGHT(who, link);
	}
	return who;
}

static size_t
consumer_bytes(const struct sconsumer *who)
{
	return sizeof(*who) + who->len + MALLOC_BYTES;
}

struct sconsumer *
consumer_add(struct stream *s, struct sgroup *g, struct bh_bytes name,
    uint32_t id)
{
	struct sconsumer *who = xcalloc(1, sizeof(*who) + name.len);

	RB_INIT(&who->pending);
	who->id = id;
	who->len = (uint32_t)name.len;
	if (name.len)
		memcpy(who->name, name.data, name.len);
	RB_INSERT(consumers, &g->consumers, who);
	g->nconsumers++;
	s->rows++;
	s->bytes += consumer_bytes(who);
	if (id >= g->next_consumer)
		g->next_consumer = id + 1;
	return who;
}

void
consumer_remove(struct stream *s, struct sgroup *g, struct sconsumer *who)
{
	CHECK(who->npending == 0);
	RB_REMOVE(consumers, &g->consumers, who);
	g->nconsumers--;
	s->rows--;
	s->bytes -= consumer_bytes(who);
	free(who);
}

struct pending *
pending_from(const struct sgroup *g, struct sid id)
{
	struct pending *p = RB_ROOT(&g->pending), *found = NULL;

	while (p) {
		if (sid_cmp(p->id, id) >= 0) {
			found = p;
			p = RB_LEFT(p, in_group);
		} else {
			p = RB_RIGHT(p, in_group);
		}
	}
	return found;
}

struct pending *
pending_of(const struct sconsumer *who, struct sid id)
{
	struct pending *p = RB_ROOT(&who->pending), *found = NULL;

	while (p) {
		if (sid_cmp(p->id, id) >= 0) {
			found = p;
			p = RB_LEFT(p, in_consumer);
		} else {
			p = RB_RIGHT(p, in_consumer);
		}
	}
	return found;
}

struct pending *
pending_find(const struct sgroup *g, struct sid id)
{
	struct pending *p = pending_from(g, id);

	return p && sid_cmp(p->id, id) == 0 ? p : NULL;
}

struct pending *
pending_add(struct stream *s, struct sgroup *g, struct sconsumer *who,
    struct sid id)
{
	struct pending *p = xcalloc(1, sizeof(*p));

	p->id = id;
	p->who = who;
	RB_INSERT(group_pending, &g->pending, p);
	RB_INSERT(consumer_pending, &who->pending, p);
	g->npending++;
	who->npending++;
	s->rows++;
	s->bytes += sizeof(*p) + MALLOC_BYTES;
	return p;
}

void
pending_move(struct pending *p, struct sconsumer *to)
{
	if (p->who == to)
		return;
	RB_REMOVE(consumer_pending, &p->who->pending, p);
	p->who->npending--;
	p->who = to;
	RB_INSERT(consumer_pending, &to->pending, p);
	to->npending++;
}

void
pending_remove(struct stream *s, struct sgroup *g, struct pending *p)
{
	RB_REMOVE(group_pending, &g->pending, p);
	RB_REMOVE(consumer_pending, &p->who->pending, p);
	g->npending--;
	p->who->npending--;
	s->rows--;
	s->bytes -= sizeof(*p) + MALLOC_BYTES;
	free(p);
}

bool
groups_free_some(struct stream *s, int *budget)
{
	struct sgroup *g;
	struct sconsumer *who;
	struct pending *p;

	while ((g = RB_ROOT(&s->groups)) && *budget > 0) {
		--*budget;
		if ((p = RB_ROOT(&g->pending)))
			pending_remove(s, g, p);
		else if ((who = RB_ROOT(&g->consumers)))
			consumer_remove(s, g, who);
		else
			group_remove(s, g);
	}
	return !g;
}
