/* SPDX-License-Identifier: MIT */
/* What hashes and sets bring as types of values: both are bags, and a part is
 * a pair of theirs. */
#include "keys/pairs.h"

/* Redis has other representations of what is smaller. Ours are not the same,
 * but OBJECT ENCODING calls them so: a bag's mark says that it has been
 * beyond these bounds. */
enum { LISTPACK_MAX = 512, LISTPACK_STRING = 64, INTSET_MAX = 512 };

static void *
make(void)
{
	return bag_new();
}

static void *
copy(const void *obj)
{
	return bag_copy(obj);
}

static bool
free_some(void *obj, int *budget)
{
	return bag_free_some(obj, budget);
}

static size_t
length(const void *obj)
{
	return ((const struct bag *)obj)->n;
}

static size_t
bytes(const void *obj)
{
	return bag_bytes(obj);
}

static void
each_part(const void *obj, kpart_fn *fn, void *arg)
{
	const struct bag *b = obj;
	struct bag_walk w = bag_walk(b, b->n);
	struct bag_pair p;

	while (bag_next(&w, &p))
		fn(arg, p.key, p.value);
}

bool
hash_set(struct bag *b, struct bh_bytes field, struct bh_bytes value)
{
	bool added = bag_set(b, field, value);

	if (b->n > LISTPACK_MAX || field.len > LISTPACK_STRING ||
	    value.len > LISTPACK_STRING)
		b->mark = true;
	return added;
}

/* at: how many have been told. */
static bool
some_parts(const void *obj, size_t *at, int budget, kpart_fn *fn, void *arg)
{
	const struct bag *b = obj;
	struct bag_walk w = bag_walk(b, b->n - *at);
	struct bag_pair p;

	for (; budget > 0 && bag_next(&w, &p); budget--)
		fn(arg, p.key, p.value);
	*at = b->n - w.left;
	return w.left == 0;
}

static void
hash_load(void *obj, struct bh_bytes part, struct bh_bytes value)
{
	(void)hash_set(obj, part, value);
}

static const char *
hash_encoding(const void *obj)
{
	return ((const struct bag *)obj)->mark ? "hashtable" : "listpack";
}

const struct ktype hash_type = {
	.name = "hash",
	.encoding = hash_encoding,
	.make = make,
	.copy = copy,
	.free_some = free_some,
	.length = length,
	.bytes = bytes,
	.parts = length,
	.each_part = each_part,
	.some_parts = some_parts,
	.load_part = hash_load,
};

/* Its mark says also that it has had a member that is no integer. */
bool
set_add(struct bag *b, struct bh_bytes member)
{
	bool added = bag_set(b, member, (struct bh_bytes){NULL, 0});
	int64_t v;

	if (added && !b->mark)
		b->mark = b->n > INTSET_MAX || !num_int(member, &v);
	return added;
}

static void
set_load(void *obj, struct bh_bytes part, struct bh_bytes value)
{
	(void)value;
	(void)set_add(obj, part);
}

static const char *
set_encoding(const void *obj)
{
	return ((const struct bag *)obj)->mark ? "hashtable" : "intset";
}

const struct ktype set_type = {
	.name = "set",
	.encoding = set_encoding,
	.make = make,
	.copy = copy,
	.free_some = free_some,
	.length = length,
	.bytes = bytes,
	.parts = length,
	.each_part = each_part,
	.some_parts = some_parts,
	.load_part = set_load,
};
