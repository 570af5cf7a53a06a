/* SPDX-License-Identifier: MIT */
/*
 * Unique keys. Invariant: a key is in the map exactly while the newest job
 * that took it lives, has not ended, and holds JOB_UNIQUE. A key whose
 * unique_until has passed counts as free and is taken over by the next add.
 *
 * 128 bits of SipHash under a key of this process stand for the text, which
 * is on the disk: two live keys collide with a chance of 2^-88 at a million.
 */
#include <sodium.h>
#include <string.h>

#include "engine/part.h"

static uint64_t
unique_hash(const void *item)
{
	return ((const struct job *)item)->ext->unique.a;
}

static bool
unique_equal(const void *item, const void *key)
{
	const struct job *j = item;

	return memcmp(&j->ext->unique, key, sizeof(struct keyhash)) == 0;
}

const struct map_ops unique_map_ops = {unique_hash, unique_equal};

struct keyhash
key_hash(const struct engine *e, const struct queue *q, struct bh_bytes key)
{
	unsigned char salted[16];
	struct keyhash h;

	memcpy(salted, e->hash_key, sizeof(salted));
	salted[0] ^= (unsigned char)q->id;
	salted[1] ^= (unsigned char)(q->id >> 8);
	salted[2] ^= (unsigned char)(q->id >> 16);
	crypto_shorthash_siphashx24((unsigned char *)&h,
	    (const unsigned char *)key.data, key.len, salted);
	return h;
}

struct job *
unique_holder(struct engine *e, const struct queue *q, struct bh_bytes key)
{
	struct keyhash h = key_hash(e, q, key);
	struct job *j = map_get(&e->by_unique, h.a, &h);

	if (j && j->ext->unique_until &&
	    j->ext->unique_until <= e->now.wall_ms) {
		unique_free(e, j);
		return NULL;
	}
	return j;
}

void
unique_take(struct engine *e, struct job *j, struct bh_bytes key,
    int64_t until)
{
	struct ext *x = job_ext(e, j);
	struct keyhash h = key_hash(e, j->queue, key);
	struct job *holder = map_get(&e->by_unique, h.a, &h);

	if (holder)
		unique_free(e, holder);
	x->unique = h;
	x->unique_until = until;
	map_put(&e->by_unique, j);
	job_flag(j, JOB_UNIQUE, true);
}

void
unique_free(struct engine *e, struct job *j)
{
	if (!job_is(j, JOB_UNIQUE))
		return;
	map_remove(&e->by_unique, j);
	job_flag(j, JOB_UNIQUE, false);
}

void
unique_give_back(struct engine *e, struct job *from, struct job *to)
{
	int64_t until = to->ext->unique_until;

	if (!job_is(from, JOB_UNIQUE) || (until && until <= e->now.wall_ms))
		return;
	unique_free(e, from);
	to->ext->unique = from->ext->unique;
	map_put(&e->by_unique, to);
	job_flag(to, JOB_UNIQUE, true);
}
