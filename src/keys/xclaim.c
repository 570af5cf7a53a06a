/* SPDX-License-Identifier: MIT */
/* XCLAIM and XAUTOCLAIM: what is pending goes to another consumer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/stream.h"

/* XAUTOCLAIM looks at so many pending entries for each one of COUNT. */
enum { LOOKS = 10 };

struct claim {
	struct key *k;
	struct sgroup *g;
	struct sconsumer *who;
	int64_t min_idle;
	int64_t at;			/* wall ms of the delivery; -1 now */
	int64_t count;			/* of deliveries; -1: one more */
	bool force, just_id;
	struct sid last_id;
	/* XAUTOCLAIM: */
	struct sid from, *gone;
	size_t ngone;
	int64_t want, looks;
	size_t open;
};

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static bool
arg_ms(struct kcall *c, size_t i, const char *what, int64_t *ret)
{
	if (num_int(c->argv[i], ret))
		return true;
	put_error(c, "ERR Invalid %s argument for %s", what, c->cmd->name);
	return false;
}

static bool
parse_min_idle(struct kcall *c, struct claim *o)
{
	if (!arg_ms(c, 4, "min-idle-time", &o->min_idle))
		return false;
	if (o->min_idle < 0)
		o->min_idle = 0;
	return true;
}

static void
forget(struct kcall *c, struct claim *o, struct pending *p)
{
	row_pending_gone(c, o->k, o->g, p->id);
	pending_remove(stream_of(o->k), o->g, p);
}

/* The consumer is made when it gets something. */
static struct sconsumer *
taker(struct kcall *c, struct claim *o)
{
	if (!o->who)
		o->who = seen_consumer(c, o->k, o->g, c->argv[3]);
	return o->who;
}

/* The entry is the consumer's now, and shown. */
static void
take(struct kcall *c, struct claim *o, struct pending *p)
{
	const struct stream *s = stream_of(o->k);

	taker(c, o);
	pending_move(p, o->who);
	p->at = o->at;
	if (o->count >= 0)
		p->count = o->count;
	else if (!o->just_id)
		p->count++;
	row_pending(c, o->k, o->g, p);
	if (o->just_id)
		put_sid(c, p->id);
	else
		put_entry(c, s, stream_from(s, p->id));
}

static bool
is_idle(const struct kcall *c, const struct claim *o, const struct pending *p)
{
	return !o->min_idle || c->ks->wall_ms - p->at >= o->min_idle;
}

/* --- XCLAIM --- */

static bool
parse_opt(struct kcall *c, size_t *i, struct claim *o)
{
	struct bh_bytes w = c->argv[*i];
	bool more = *i + 1 < c->argc;

	if (is(w, "FORCE")) {
		o->force = true;
	} else if (is(w, "JUSTID")) {
		o->just_id = true;
	} else if (more && is(w, "IDLE")) {
		if (!arg_ms(c, ++*i, "IDLE option", &o->at))
			return false;
		if (__builtin_sub_overflow(c->ks->wall_ms, o->at, &o->at))
			o->at = -2;
	} else if (more && is(w, "TIME")) {
		return arg_ms(c, ++*i, "TIME option", &o->at);
	} else if (more && is(w, "RETRYCOUNT")) {
		return arg_ms(c, ++*i, "RETRYCOUNT option", &o->count);
	} else if (more && is(w, "LASTID")) {
		return arg_sid(c, c->argv[++*i], 0, true, &o->last_id);
	} else {
		put_error(c, "ERR Unrecognized XCLAIM option '%.*s'",
		    (int)(w.len > 400 ? 400 : w.len), w.data);
		return false;
	}
	return true;
}

/* What follows the ids; *ret_end is where they end. */
static bool
parse_claim(struct kcall *c, struct claim *o, size_t *ret_end)
{
	struct sid id;
	size_t i = 5;

	while (i < c->argc && arg_sid(NULL, c->argv[i], 0, true, &id))
		i++;
	*ret_end = i;
	for (; i < c->argc; i++)
		if (!parse_opt(c, &i, o))
			return false;
	/* A delivery is in the past. */
	if (o->at < 0 || o->at > c->ks->wall_ms)
		o->at = c->ks->wall_ms;
	return true;
}

/* True when it has been shown. */
static bool
claim_one(struct kcall *c, struct claim *o, struct sid id)
{
	struct stream *s = stream_of(o->k);
	struct pending *p = pending_find(o->g, id);

	if (!stream_find(s, id)) {
		if (p)
			forget(c, o, p);
		return false;
	}
	if (p && !is_idle(c, o, p))
		return false;
	if (!p && !o->force)
		return false;
	if (!p) {
		p = pending_add(s, o->g, taker(c, o), id);
		p->count = 1;
	}
	take(c, o, p);
	return true;
}

/* XCLAIM key group consumer min-idle id … [IDLE ms] [TIME unix_ms]
 * [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id] */
void
k_xclaim(struct kcall *c)
{
	struct claim o = {.at = -1, .count = -1};
	size_t end, n = 0;
	struct sid id;

	if (!arg_group(c, 1, 2, &o.k, &o.g) || !parse_min_idle(c, &o) ||
	    !parse_claim(c, &o, &end))
		return;
	if (sid_cmp(o.last_id, o.g->last_id) > 0) {
		o.g->last_id = o.last_id;
		row_group(c, o.k, o.g);
	}
	o.open = put_array_open(c);
	for (size_t i = 5; i < end; i++)
		if (arg_sid(c, c->argv[i], 0, true, &id))
			n += claim_one(c, &o, id);
	put_array_close(c, o.open, n);
	key_settled(c, o.k);
}

/* --- XAUTOCLAIM --- */

static bool
parse_auto(struct kcall *c, struct claim *o)
{
	if (!parse_min_idle(c, o) || !arg_sid_from(c, c->argv[5], &o->from))
		return false;
	for (size_t i = 6; i < c->argc; i++) {
		if (i + 1 < c->argc && is(c->argv[i], "COUNT")) {
			if (!num_int(c->argv[++i], &o->want) || o->want < 1 ||
			    o->want > INT64_MAX / 16) {
				put_error(c, "ERR COUNT must be > 0");
				return false;
			}
		} else if (is(c->argv[i], "JUSTID")) {
			o->just_id = true;
		} else {
			put_syntax(c);
			return false;
		}
	}
	o->looks = o->want * LOOKS;
	return true;
}

static void
drop_claim(void *state)
{
	struct claim *o = state;

	free(o->gone);
	free(o);
}

static void
note_gone(struct claim *o, struct sid id)
{
	if ((o->ngone & (o->ngone + 1)) == 0)
		o->gone = xrealloc(o->gone,
		    (2 * o->ngone + 1) * sizeof(*o->gone));
	o->gone[o->ngone++] = id;
}

static void
auto_end(struct kcall *c, struct claim *o, const struct pending *next)
{
	char text[64];

	put_array_close(c, o->open, c->n);
	snprintf(text, sizeof(text), "%ju-%ju",
	    next ? (uintmax_t)next->id.ms : 0,
	    next ? (uintmax_t)next->id.seq : 0);
	put_text_at(c, c->at, text);
	put_array(c, o->ngone);
	for (size_t i = 0; i < o->ngone; i++)
		put_sid(c, o->gone[i]);
	key_settled(c, o->k);
}

static void
look_at(struct kcall *c, struct claim *o, struct pending *p)
{
	if (!stream_find(stream_of(o->k), p->id)) {
		note_gone(o, p->id);
		forget(c, o, p);
		o->want--;
	} else if (is_idle(c, o, p)) {
		take(c, o, p);
		c->n++;
		o->want--;
	}
}

static bool
auto_step(struct kcall *c)
{
	struct claim *o = c->state;

	for (int left = SLICE_ENTRIES; left > 0; left--) {
		struct pending *p = pending_from(o->g, o->from);
		bool last = false;

		if (!p || o->want == 0 || o->looks-- == 0) {
			auto_end(c, o, p);
			return false;
		}
		o->from = p->id;
		last = !sid_next(&o->from);
		look_at(c, o, p);
		if (last) {
			auto_end(c, o, NULL);
			return false;
		}
	}
	return true;
}

/* XAUTOCLAIM key group consumer min-idle start [COUNT n] [JUSTID] */
void
k_xautoclaim(struct kcall *c)
{
	struct claim o = {.at = c->ks->wall_ms, .count = -1, .want = 100};

	if (!parse_auto(c, &o) || !arg_group(c, 1, 2, &o.k, &o.g))
		return;
	put_array(c, 3);
	c->at = c->re->n;
	put_null(c);
	o.open = put_array_open(c);
	c->state = xmemdup(&o, sizeof(o));
	c->drop = drop_claim;
	c->step = auto_step;
}
