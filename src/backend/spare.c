/* SPDX-License-Identifier: MIT */
#include "backend/spare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/keyspace.h"
#include "base/xalloc.h"
#include "keys/throttle.h"

struct spare {
	struct keys *keys;
	struct throttle *throttle;
	char *const *prefixes;		/* of the cache */
	struct bh_req *limited, **limited_tail;	/* answers of throttle */
	int64_t wall_ms, mono_ms;
};

struct spare *
spare_new(const struct keys_limits *limits, int64_t limiter_bytes)
{
	struct spare *s = xcalloc(1, sizeof(*s));
	struct clock_time now = clock_now();

	s->prefixes = limits->volatile_prefixes;
	s->limited_tail = &s->limited;
	s->keys = keys_new(NULL);
	s->throttle = throttle_new(NULL);
	keys_set_limits(s->keys, limits);
	throttle_set_limit(s->throttle, limiter_bytes, false);
	s->wall_ms = now.wall_ms;
	s->mono_ms = now.mono_ms;
	keys_time(s->keys, s->wall_ms, s->mono_ms);
	return s;
}

void
spare_free(struct spare **sp)
{
	struct spare *s = *sp;
	struct bh_req *req;

	if (!s)
		return;
	*sp = NULL;
	keys_free(&s->keys);
	while ((req = s->limited)) {
		s->limited = req->priv.next;
		req->status = BH_E_CANCELED;
		snprintf(req->text, sizeof(req->text), "the store is closed");
		req->done(req);
	}
	throttle_free(&s->throttle);
	free(s);
}

static bool
cached(const struct spare *s, struct bh_bytes name)
{
	for (char *const *p = s->prefixes; p && *p; p++)
		if (name.len >= strlen(*p) &&
		    memcmp(name.data, *p, strlen(*p)) == 0)
			return true;
	return false;
}

bool
spare_key(struct spare *s, struct bh_key_command *r)
{
	const struct key_row *row = keyspace_find(r->argv[0].data,
	    r->argv[0].len);
	int last;

	if (!row || row->first <= 0 || row->step <= 0 ||
	    row->flags & (KF_MOVABLE | KF_BLOCKS | KF_NOSCRIPT))
		return false;
	last = row->last < 0 ? (int)r->argc + row->last : row->last;
	for (int i = row->first; i <= last; i += row->step)
		if (i >= (int)r->argc || !cached(s, r->argv[i]))
			return false;
	keys_command(s->keys, r);
	return true;
}

void
spare_throttle(struct spare *s, struct bh_throttle *r)
{
	memset(&r->req.priv, 0, sizeof(r->req.priv));
	r->req.status = BH_OK;
	(void)throttle_take(s->throttle, r, clock_mono_us());
	*s->limited_tail = &r->req;
	s->limited_tail = &r->req.priv.next;
}

int64_t
spare_turn(struct spare *s, int64_t wall_ms, int64_t mono_ms)
{
	struct bh_req *req = s->limited, *next;

	s->limited = NULL;
	s->limited_tail = &s->limited;
	for (; req; req = next) {
		next = req->priv.next;
		req->done(req);
	}
	keys_time(s->keys, wall_ms, mono_ms);
	keys_run_due(s->keys);
	keys_settle(s->keys);
	(void)keys_deliver(s->keys);
	return s->limited ? mono_ms : keys_next(s->keys);
}
