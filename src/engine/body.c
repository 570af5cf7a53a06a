/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "engine/part.h"

static struct bh_bytes
put_bytes(char **p, struct bh_bytes b)
{
	struct bh_bytes copy = {NULL, b.len};

	if (!b.data)
		return copy;
	copy.data = *p;
	if (b.len)
		memcpy(*p, b.data, b.len);
	*p += b.len;
	return copy;
}

struct body *
body_new(struct job *j, const struct bh_job_opts *o, struct bh_bytes payload,
    struct bh_bytes origin)
{
	size_t len = payload.len + o->group.len + o->unique.len + origin.len;
	struct body *b = xmalloc(sizeof(*b) + len);
	char *p = b->inline_data;

	memset(b, 0, sizeof(*b));
	b->refs = 1;
	b->job = j;
	b->loaded = true;
	b->bytes = malloc_usable_size(b) + sizeof(size_t);
	b->opts = *o;
	b->payload = put_bytes(&p, payload);
	b->opts.group = put_bytes(&p, o->group);
	b->opts.unique = put_bytes(&p, o->unique);
	b->origin = put_bytes(&p, origin);
	return b;
}

struct body *
body_blank(struct job *j)
{
	struct body *b = xcalloc(1, sizeof(*b));

	b->refs = 1;
	b->job = j;
	b->bytes = sizeof(*b);
	bh_job_opts_init(&b->opts);
	return b;
}

struct body *
body_ref(struct body *b)
{
	b->refs++;
	return b;
}

static void
free_texts(struct body *b)
{
	while (b->progress) {
		struct text *t = b->progress;

		b->progress = t->older;
		free(t);
	}
}

void
body_unref(struct body *b)
{
	CHECK(b->refs > 0);
	if (--b->refs > 0)
		return;
	CHECK(!b->cached);
	free(b->disk);
	free_texts(b);
	free(b->worker);
	free(b->cancel_reason);
	free(b->steps);
	free(b);
}

void
body_load(struct body *b, struct jbody *disk)
{
	CHECK(!b->loaded);
	b->loaded = true;
	b->disk = disk;
	b->opts = disk->opts;
	b->payload = disk->payload;
	b->origin = disk->origin;
	b->created_at = disk->created_at;
	if (b->started_at == 0)
		b->started_at = disk->started_at;
	if (!b->progress && disk->progress.data)
		body_set_progress(b, disk->progress);
}

void
body_uncache(struct engine *e, struct body *b)
{
	if (!b->cached)
		return;
	TAILQ_REMOVE(&e->lru, b, lru);
	e->cache_bytes -= b->bytes;
	b->cached = false;
}

/* What is still on its way to the disk could not be read from there: it stays
 * until it is durable, and the next one goes instead. */
static void
evict(struct engine *e)
{
	struct body *b, *next;

	for (b = TAILQ_FIRST(&e->lru); b && e->cache_bytes > e->cache_limit;
	    b = next) {
		next = TAILQ_NEXT(b, lru);
		if (b->refs == 1)
			body_drop(e, b->job);
	}
}

void
body_cache(struct engine *e, struct body *b)
{
	CHECK(!b->cached && b->loaded);
	b->cached = true;
	TAILQ_INSERT_TAIL(&e->lru, b, lru);
	e->cache_bytes += b->bytes;
	if (e->cache_bytes > e->cache_limit)
		evict(e);
}

void
body_drop(struct engine *e, struct job *j)
{
	struct body *b = j->body;

	if (!b)
		return;
	body_uncache(e, b);
	j->body = NULL;
	b->job = NULL;
	body_unref(b);
}

void
body_set_progress(struct body *b, struct bh_bytes progress)
{
	struct text *t = xmalloc(sizeof(*t) + progress.len);

	/* Answers under way may still show the old one. */
	if (b->refs == 1)
		free_texts(b);
	t->older = b->progress;
	t->len = progress.len;
	memcpy(t->data, progress.data, progress.len);
	b->progress = t;
}
