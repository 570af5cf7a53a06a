/* SPDX-License-Identifier: MIT */
/* XPENDING: a summary of a group, or the entries that are pending. */
#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/stream.h"

struct list {
	struct sgroup *g;
	struct sconsumer *who;		/* NULL: of all */
	struct sid from, to;
	int64_t idle, count;
	bool by_consumer;
	struct bh_bytes consumer;
};

static bool
parse(struct kcall *c, struct list *l)
{
	size_t at = 3;

	if (c->argc != 3 && (c->argc < 6 || c->argc > 9)) {
		put_syntax(c);
		return false;
	}
	if (c->argc == 3)
		return true;
	if (str_is(c->argv[3].data, c->argv[3].len, "IDLE")) {
		if (!arg_number(c, 4, &l->idle))
			return false;
		if (c->argc < 8) {
			put_syntax(c);
			return false;
		}
		at += 2;
	}
	if (!arg_number(c, at + 2, &l->count) ||
	    !arg_sid_from(c, c->argv[at], &l->from) ||
	    !arg_sid_to(c, c->argv[at + 1], &l->to))
		return false;
	l->by_consumer = at + 3 < c->argc;
	if (l->by_consumer)
		l->consumer = c->argv[at + 3];
	return true;
}

/* --- the summary --- */

static void
put_consumers(struct kcall *c, struct sgroup *g)
{
	struct sconsumer *who;
	size_t open = put_array_open(c), n = 0;

	RB_FOREACH(who, consumers, &g->consumers) {
		if (who->npending == 0)
			continue;
		put_array(c, 2);
		put_bytes(c, who->name, who->len);
		put_text(c, "%zu", who->npending);
		n++;
	}
	put_array_close(c, open, n);
}

static void
summary(struct kcall *c, struct sgroup *g)
{
	put_array(c, 4);
	put_int(c, (int64_t)g->npending);
	if (g->npending == 0) {
		put_null(c);
		put_null(c);
		put_null_array(c);
		return;
	}
	put_sid(c, RB_MIN(group_pending, &g->pending)->id);
	put_sid(c, RB_MAX(group_pending, &g->pending)->id);
	put_consumers(c, g);
}

/* --- the list --- */

static void
put_pending(struct kcall *c, const struct pending *p)
{
	int64_t idle = c->ks->wall_ms - p->at;

	put_array(c, 4);
	put_sid(c, p->id);
	put_bytes(c, p->who->name, p->who->len);
	put_int(c, idle < 0 ? 0 : idle);
	put_int(c, p->count);
}

static bool
show(struct kcall *c)
{
	struct list *l = c->state;
	struct pending *p;

	for (int left = SLICE_ENTRIES; left > 0; left--) {
		p = l->who ? pending_of(l->who, l->from) :
		    pending_from(l->g, l->from);
		if (!p || sid_cmp(p->id, l->to) > 0 || l->count <= 0) {
			put_array_close(c, c->at, c->n);
			return false;
		}
		l->from = p->id;
		if (!l->idle || c->ks->wall_ms - p->at >= l->idle) {
			put_pending(c, p);
			c->n++;
			l->count--;
		}
		if (!sid_next(&l->from))
			l->count = 0;
	}
	return true;
}

void
k_xpending(struct kcall *c)
{
	struct list l = {0};
	struct key *k;

	if (!parse(c, &l) || !arg_group(c, 1, 2, &k, &l.g))
		return;
	if (c->argc == 3) {
		summary(c, l.g);
		return;
	}
	if (l.by_consumer && !(l.who = consumer_find(l.g, l.consumer))) {
		put_array(c, 0);
		return;
	}
	c->state = xmemdup(&l, sizeof(l));
	c->drop = free;
	c->at = put_array_open(c);
	c->step = show;
}
