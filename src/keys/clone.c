/* SPDX-License-Identifier: MIT */
/* A key's value under another name, made in slices when it is big. */
#include <limits.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "keys/part.h"

struct cloning {
	struct key *from;
	const struct ktype *type;
	void *obj;			/* the new one, until it is stored */
	struct bh_bytes to;
	int64_t id;			/* under which its parts are written */
	size_t at;
	bool move;
	struct kcall *call;
	void (*done)(struct kcall *c);
};

static void
drop(void *state)
{
	struct cloning *cl = state;
	int budget;

	do
		budget = INT_MAX;
	while (cl->obj && !cl->type->free_some(cl->obj, &budget));
	free(cl);
}

static void
clone_part(void *arg, struct bh_bytes part, struct bh_bytes value)
{
	struct cloning *cl = arg;

	cl->type->load_part(cl->obj, part, value);
	key_part_early(cl->call, cl->id, part, value);
}

static bool
step(struct kcall *c)
{
	struct cloning *cl = c->state;
	int64_t expires_at = key_expiry(cl->from);
	struct key *k;

	cl->call = c;
	if (!cl->type->some_parts(cl->from->obj, &cl->at, SLICE_KEYS,
	    clone_part, cl))
		return true;
	if (cl->type->loaded)
		cl->type->loaded(cl->obj);
	key_store_written(c, cl->to, key_type_of(cl->from), cl->obj, cl->id);
	cl->obj = NULL;
	k = key_peek(c, cl->to);
	if (expires_at && k)
		key_set_expiry(c, k, expires_at);
	if (cl->move)
		key_delete(c, cl->from);
	cl->done(c);
	return false;
}

static void
clone_big(struct kcall *c, struct key *k, struct bh_bytes name, bool move,
    void (*done)(struct kcall *c))
{
	struct cloning *cl = xcalloc(1, sizeof(*cl));

	cl->from = k;
	cl->type = key_types[key_type_of(k)];
	cl->obj = cl->type->make();
	cl->to = name;
	cl->id = key_reserve(c, name);
	cl->move = move;
	cl->done = done;
	c->state = cl;
	c->drop = drop;
	c->step = step;
}

static void
clone_small(struct kcall *c, const struct key *k, struct bh_bytes name)
{
	enum key_type type = key_type_of(k);
	int64_t at = key_expiry(k);
	struct key *to;

	if (type != KEY_STRING) {
		key_store_obj(c, name, type, key_types[type]->copy(k->obj),
		    at);
		return;
	}
	to = key_store(c, name, kval_ref(k->str), false);
	if (at)
		key_set_expiry(c, to, at);
}

void
key_clone(struct kcall *c, struct key *k, struct bh_bytes name, bool move,
    void (*done)(struct kcall *c))
{
	const struct ktype *type = key_types[key_type_of(k)];

	if (type->some_parts && type->parts(k->obj) > SLICE_KEYS) {
		clone_big(c, k, name, move, done);
		return;
	}
	clone_small(c, k, name);
	if (move)
		key_delete(c, k);
	done(c);
}
