/* SPDX-License-Identifier: MIT */
/* XRANGE and XREVRANGE: entries between two ids, slice by slice. */
#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/stream.h"

struct range {
	const struct stream *s;
	struct splace at;
	struct sid from, to;
	int64_t count;			/* -1: all */
	bool back;
};

static bool
parse(struct kcall *c, struct range *r)
{
	if (!arg_sid_from(c, c->argv[r->back ? 3 : 2], &r->from) ||
	    !arg_sid_to(c, c->argv[r->back ? 2 : 3], &r->to))
		return false;
	for (size_t i = 4; i < c->argc; i += 2) {
		if (i + 1 == c->argc || !str_is(c->argv[i].data,
		    c->argv[i].len, "COUNT")) {
			put_syntax(c);
			return false;
		}
		if (!arg_number(c, i + 1, &r->count))
			return false;
		if (r->count < 0)
			r->count = 0;
	}
	return true;
}

static bool
show(struct kcall *c)
{
	struct range *r = c->state;
	const struct sentry *e;

	for (int left = SLICE_ENTRIES; left > 0; left--) {
		e = stream_at(r->s, r->at);
		if (!e || sid_cmp(e->id, r->from) < 0 ||
		    sid_cmp(e->id, r->to) > 0 ||
		    (int64_t)c->n == r->count) {
			put_array_close(c, c->at, c->n);
			return false;
		}
		put_entry(c, r->s, r->at);
		c->n++;
		stream_step(r->s, &r->at, r->back);
	}
	return true;
}

static void
run(struct kcall *c, bool back)
{
	struct range r = {.count = -1, .back = back};
	struct key *k;

	if (!parse(c, &r) || !key_find_as(c, c->argv[1], KEY_STREAM, &k))
		return;
	if (!k) {
		put_array(c, 0);
		return;
	}
	if (r.count == 0) {
		put_null_array(c);
		return;
	}
	r.s = stream_of(k);
	r.at = back ? stream_back(r.s, r.to) : stream_from(r.s, r.from);
	c->state = xmemdup(&r, sizeof(r));
	c->drop = free;
	c->at = put_array_open(c);
	c->step = show;
}

void
k_xrange(struct kcall *c)
{
	run(c, false);
}

void
k_xrevrange(struct kcall *c)
{
	run(c, true);
}
