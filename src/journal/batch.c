/* SPDX-License-Identifier: MIT */
#include "journal/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"

/* What an empty batch may keep: 512 KiB of records, one chunk of strings. */
#define KEEP_RECS 4096
#define CHUNK_SIZE ((size_t)64 * 1024)

/* Strings are handed out from the front of the newest chunk; one that is
 * larger than a chunk gets its own. Chunks never move. */
struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

static void *
arena_take(struct batch *b, size_t size, size_t align)
{
	struct chunk *c = b->chunks;
	size_t at = c ? (c->used + align - 1) & ~(align - 1) : 0;
	size_t want = size > CHUNK_SIZE ? size : CHUNK_SIZE;

	if (!c || at + size > c->size) {
		c = xmalloc(sizeof(*c) + want);
		c->next = b->chunks;
		c->size = want;
		b->chunks = c;
		at = 0;
	}
	c->used = at + size;
	return c->data + at;
}

static void
arena_free(struct batch *b, bool keep_one)
{
	struct chunk *c = b->chunks;
	struct chunk *kept = NULL;
	struct chunk *next;

	for (; c; c = next) {
		next = c->next;
		if (keep_one && !kept && c->size == CHUNK_SIZE)
			kept = c;
		else
			free(c);
	}
	b->chunks = kept;
	if (kept) {
		kept->next = NULL;
		kept->used = 0;
	}
}

void
batch_init(struct batch *b)
{
	*b = (struct batch){0};
}

static void
release_all(struct batch *b, batch_release_fn *release)
{
	size_t i;

	for (i = 0; i < b->n; i++)
		if (b->recs[i].owner)
			release(b->recs[i].owner);
	b->n = 0;
}

void
batch_done(struct batch *b, batch_release_fn *release)
{
	release_all(b, release);
	arena_free(b, false);
	free(b->recs);
	*b = (struct batch){0};
}

void
batch_clear(struct batch *b, batch_release_fn *release)
{
	release_all(b, release);
	arena_free(b, true);
	b->retry = false;
	b->err.code = BH_OK;
	if (b->cap > KEEP_RECS) {
		free(b->recs);
		b->recs = NULL;
		b->cap = 0;
	}
}

/* An absent string stays absent: data NULL. */
static void
copy_bytes(struct batch *b, struct bh_bytes *s)
{
	char *p;

	if (!s->data)
		return;
	p = arena_take(b, s->len, 1);
	memcpy(p, s->data, s->len);
	s->data = p;
}

static void
copy_opts(struct batch *b, const struct bh_job_opts **opts)
{
	struct bh_job_opts *o = arena_take(b, sizeof(*o),
	    _Alignof(struct bh_job_opts));

	*o = **opts;
	copy_bytes(b, &o->group);
	copy_bytes(b, &o->unique);
	*opts = o;
}

static void
copy_schedule(struct batch *b, const struct bh_schedule **row)
{
	struct bh_schedule *s = arena_take(b, sizeof(*s),
	    _Alignof(struct bh_schedule));

	*s = **row;
	copy_bytes(b, &s->name);
	copy_bytes(b, &s->owner);
	copy_bytes(b, &s->queue);
	copy_bytes(b, &s->payload);
	copy_bytes(b, &s->cron);
	copy_bytes(b, &s->zone);
	copy_bytes(b, &s->opts.group);
	copy_bytes(b, &s->opts.unique);
	*row = s;
}

/* Every string of every kind passes here when the record has no owner. */
static void
copy_strings(struct batch *b, struct jrec *r)
{
	switch (r->kind) {
	case JR_JOB_INSERT:
		copy_opts(b, &r->u.insert.opts);
		copy_bytes(b, &r->u.insert.payload);
		copy_bytes(b, &r->u.insert.origin);
		break;
	case JR_JOB_FINISH:
		copy_bytes(b, &r->u.finish.result);
		copy_bytes(b, &r->u.finish.error);
		break;
	case JR_JOB_PAYLOAD:
	case JR_JOB_PROGRESS:
		copy_bytes(b, &r->u.text);
		break;
	case JR_STEP:
		copy_bytes(b, &r->u.step.name);
		copy_bytes(b, &r->u.step.value);
		break;
	case JR_LEASE:
		copy_bytes(b, &r->u.lease.worker);
		break;
	case JR_ERROR:
		copy_bytes(b, &r->u.error.message);
		copy_bytes(b, &r->u.error.version);
		break;
	case JR_QUEUE:
		copy_bytes(b, &r->u.queue.name);
		copy_bytes(b, &r->u.queue.paused_by);
		copy_bytes(b, &r->u.queue.held_reason);
		break;
	case JR_KEY_SET:
		copy_bytes(b, &r->u.key.name);
		copy_bytes(b, &r->u.key.value);
		break;
	case JR_KEY_PART_SET:
	case JR_KEY_PART_DEL:
		copy_bytes(b, &r->u.part.part);
		copy_bytes(b, &r->u.part.value);
		break;
	case JR_LIMITER:
	case JR_LIMITER_DEL:
		copy_bytes(b, &r->u.limiter.name);
		copy_bytes(b, &r->u.limiter.windows);
		break;
	case JR_CALLBACK:
		copy_bytes(b, &r->u.callback.payload);
		copy_bytes(b, &r->u.callback.result);
		copy_bytes(b, &r->u.callback.error);
		break;
	case JR_SCHEDULE:
		copy_schedule(b, &r->u.schedule.row);
		break;
	default:
		break;
	}
}

void
batch_add(struct batch *b, const struct jrec *rec)
{
	struct jrec *r;

	CHECK(rec->kind > JR_VOID && rec->kind < JR_KINDS);
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 256;
		b->recs = xrealloc(b->recs, b->cap * sizeof(*b->recs));
	}
	r = &b->recs[b->n++];
	*r = *rec;
	if (!r->owner)
		copy_strings(b, r);
}

int64_t
batch_rec_job(const struct jrec *r)
{
	if (r->kind >= JR_JOB_INSERT && r->kind <= JR_ERROR)
		return r->id;
	return r->kind == JR_CALLBACK ? r->u.callback.job : 0;
}

int
batch_id_cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

void
batch_void(struct batch *b, const int64_t *ids, size_t nids,
    batch_release_fn *release)
{
	int64_t job;
	size_t i;

	for (i = 0; nids > 0 && i < b->n; i++) {
		job = batch_rec_job(&b->recs[i]);
		if (job == 0 ||
		    !bsearch(&job, ids, nids, sizeof(*ids),
		    batch_id_cmp))
			continue;
		if (b->recs[i].owner)
			release(b->recs[i].owner);
		b->recs[i] = (struct jrec){.kind = JR_VOID};
	}
}
