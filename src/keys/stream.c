/* SPDX-License-Identifier: MIT */
/*
 * Entries of a stream, in blocks of a few KiB. The blocks' addresses are an
 * array that grows at its end and is used up from its front, so that both the
 * oldest and the newest entry are at hand and any other is two binary searches
 * away.
 */
#include "keys/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"

/* A block is full with so many entries or bytes; a bigger entry has a block
 * for itself. */
enum { BLOCK_ENTRIES = 128, BLOCK_DATA = 8192 };
/* What malloc adds to each piece. */
enum { MALLOC_BYTES = 16 };
enum { VARINT_MAX = 10 };

bool
sid_next(struct sid *id)
{
	if (id->seq < UINT64_MAX) {
		id->seq++;
		return true;
	}
	if (id->ms == UINT64_MAX)
		return false;
	*id = (struct sid){id->ms + 1, 0};
	return true;
}

bool
sid_prev(struct sid *id)
{
	if (id->seq > 0) {
		id->seq--;
		return true;
	}
	if (id->ms == 0)
		return false;
	*id = (struct sid){id->ms - 1, UINT64_MAX};
	return true;
}

/* --- entries as bytes --- */

static size_t
varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

static char *
varint_put(char *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*out++ = (char)(v | 0x80);
	*out++ = (char)v;
	return out;
}

uint64_t
varint_get(struct bh_bytes *from)
{
	uint64_t v = 0;

	for (unsigned shift = 0; from->len > 0 && shift < 64; shift += 7) {
		unsigned char byte = (unsigned char)*from->data;

		from->data++;
		from->len--;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	return v;
}

size_t
stream_entry_size(const struct bh_bytes *words, size_t n)
{
	size_t size = 2 * VARINT_MAX;

	for (size_t i = 0; i < n; i++)
		size += varint_size(words[i].len) + words[i].len;
	return size;
}

/* --- blocks --- */

static size_t
block_bytes(const struct sblock *b)
{
	return sizeof(*b) + b->room * sizeof(*b->entries) + b->cap +
	    3 * (size_t)MALLOC_BYTES;
}

static void
block_free(struct sblock *b)
{
	free(b->entries);
	free(b->data);
	free(b);
}

/* The array of blocks keeps room at its end: what was used up at its front is
 * given back once it is more than the rest. */
static void
blocks_push(struct stream *s, struct sblock *b)
{
	if (s->end == s->cap && s->first > s->cap / 2) {
		s->end -= s->first;
		memmove(s->blocks, s->blocks + s->first,
		    s->end * sizeof(struct sblock *));
		s->first = 0;
	} else if (s->end == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 1;

		s->blocks = xrealloc(s->blocks,
		    cap * sizeof(struct sblock *));
		s->bytes += (cap - s->cap) * sizeof(struct sblock *);
		s->cap = cap;
	}
	s->blocks[s->end++] = b;
	s->bytes += block_bytes(b);
}

static void
blocks_remove(struct stream *s, size_t at)
{
	struct sblock *b = s->blocks[at];

	s->bytes -= block_bytes(b);
	block_free(b);
	if (at == s->first) {
		s->first++;
	} else {
		memmove(s->blocks + at, s->blocks + at + 1,
		    (s->end - at - 1) * sizeof(struct sblock *));
		s->end--;
	}
	if (s->first == s->end)
		s->first = s->end = 0;
}

void
stream_free_block(struct stream *s)
{
	struct sblock *b = s->blocks[s->first];

	s->length -= b->n - b->head;
	blocks_remove(s, s->first);
}

/* Room for one more entry of so many bytes. */
static void
block_grow(struct sblock *b, size_t len)
{
	if (b->n == b->room) {
		b->room = b->room ? b->room * 2 : 2;
		if (b->room > BLOCK_ENTRIES)
			b->room = BLOCK_ENTRIES;
		b->entries = xrealloc(b->entries,
		    b->room * sizeof(*b->entries));
	}
	if (b->cap - b->used < len) {
		size_t cap = (b->used + len) * 2;

		if (cap > BLOCK_DATA)
			cap = BLOCK_DATA;
		if (cap < b->used + len)
			cap = b->used + len;
		b->cap = (uint32_t)cap;
		b->data = xrealloc(b->data, cap);
	}
}

/* Where the data of a new entry goes, len of it. */
static char *
entry_room(struct stream *s, struct sid id, size_t len)
{
	struct sblock *b = s->end > s->first ? s->blocks[s->end - 1] : NULL;
	char *at;

	CHECK(len < UINT32_MAX / 4);
	if (!b || b->n == BLOCK_ENTRIES || b->used + len > BLOCK_DATA) {
		b = xcalloc(1, sizeof(*b));
		blocks_push(s, b);
	}
	s->bytes -= block_bytes(b);
	block_grow(b, len);
	s->bytes += block_bytes(b);
	at = b->data + b->used;
	b->entries[b->n++] = (struct sentry){id, b->used, (uint32_t)len};
	b->used += (uint32_t)len;
	b->live += (uint32_t)len;
	s->length++;
	s->last_id = id;
	return at;
}

struct bh_bytes
stream_append(struct stream *s, struct sid id, const struct bh_bytes *words,
    size_t n)
{
	size_t len = varint_size(s->added + 1) + varint_size(n);
	char *at, *p;

	for (size_t i = 0; i < n; i++)
		len += varint_size(words[i].len) + words[i].len;
	p = at = entry_room(s, id, len);
	p = varint_put(p, ++s->added);
	p = varint_put(p, n);
	for (size_t i = 0; i < n; i++) {
		p = varint_put(p, words[i].len);
		if (words[i].len)
			memcpy(p, words[i].data, words[i].len);
		p += words[i].len;
	}
	return (struct bh_bytes){at, len};
}

void
stream_append_raw(struct stream *s, struct sid id, struct bh_bytes data)
{
	memcpy(entry_room(s, id, data.len), data.data, data.len);
}

/* --- places --- */

/* The first block whose last entry is not before id; s->end: none. */
static size_t
block_from(const struct stream *s, struct sid id)
{
	size_t lo = s->first, hi = s->end;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct sblock *b = s->blocks[mid];

		if (sid_cmp(b->entries[b->n - 1].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct splace
stream_from(const struct stream *s, struct sid id)
{
	struct splace p = {block_from(s, id), 0};
	const struct sblock *b;
	uint32_t lo, hi;

	if (p.block == s->end)
		return p;
	b = s->blocks[p.block];
	for (lo = b->head, hi = b->n; lo < hi;) {
		uint32_t mid = (lo + hi) / 2;

		if (sid_cmp(b->entries[mid].id, id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	p.at = lo;
	return p;
}

struct splace
stream_back(const struct stream *s, struct sid id)
{
	struct splace p = stream_from(s, id);
	const struct sentry *e = stream_at(s, p);

	if (!e || sid_cmp(e->id, id) != 0)
		stream_step(s, &p, true);
	return p;
}

const struct sentry *
stream_at(const struct stream *s, struct splace p)
{
	if (p.block < s->first || p.block >= s->end)
		return NULL;
	return &s->blocks[p.block]->entries[p.at];
}

/* Before the first block is SIZE_MAX, as the array may begin at 0. */
void
stream_step(const struct stream *s, struct splace *p, bool back)
{
	if (!back) {
		if (++p->at < s->blocks[p->block]->n)
			return;
		p->block++;
		p->at = p->block < s->end ? s->blocks[p->block]->head : 0;
		return;
	}
	if (p->block < s->end && p->at > s->blocks[p->block]->head) {
		p->at--;
		return;
	}
	p->block = p->block > s->first ? p->block - 1 : SIZE_MAX;
	p->at = p->block < s->end ? s->blocks[p->block]->n - 1 : 0;
}

const struct sentry *
stream_find(const struct stream *s, struct sid id)
{
	const struct sentry *e = stream_at(s, stream_from(s, id));

	return e && sid_cmp(e->id, id) == 0 ? e : NULL;
}

struct sid
stream_first_id(const struct stream *s)
{
	const struct sentry *e = stream_at(s,
	    stream_from(s, (struct sid){0, 0}));

	return e ? e->id : (struct sid){0, 0};
}

struct sid
stream_top_id(const struct stream *s)
{
	const struct sblock *b;

	if (s->first == s->end)
		return (struct sid){0, 0};
	b = s->blocks[s->end - 1];
	return b->entries[b->n - 1].id;
}

struct bh_bytes
stream_data(const struct stream *s, struct splace p)
{
	const struct sblock *b = s->blocks[p.block];
	const struct sentry *e = &b->entries[p.at];

	return (struct bh_bytes){b->data + e->at, e->len};
}

/* --- deleting --- */

/* The data of deleted entries makes room once it is most of the block. */
static void
block_pack(struct sblock *b)
{
	char *data = xmalloc(b->live);
	uint32_t used = 0;

	for (uint32_t i = b->head; i < b->n; i++) {
		struct sentry *e = &b->entries[i];

		memcpy(data + used, b->data + e->at, e->len);
		e->at = used;
		used += e->len;
	}
	free(b->data);
	b->data = data;
	b->used = b->cap = used;
}

bool
stream_delete(struct stream *s, struct sid id)
{
	struct splace p = stream_from(s, id);
	const struct sentry *e = stream_at(s, p);
	struct sblock *b;

	if (!e || sid_cmp(e->id, id) != 0)
		return false;
	b = s->blocks[p.block];
	s->length--;
	if (b->n - b->head == 1) {
		blocks_remove(s, p.block);
		return true;
	}
	b->live -= e->len;
	if (p.at == b->head)
		b->head++;
	else
		memmove(b->entries + p.at, b->entries + p.at + 1,
		    (--b->n - p.at) * sizeof(*b->entries));
	/* One at the front goes with its block soon. */
	if (p.at != b->head - 1 && b->live < b->used / 2) {
		s->bytes -= block_bytes(b);
		block_pack(b);
		s->bytes += block_bytes(b);
	}
	return true;
}

/* --- counts --- */

bool
stream_has_holes(const struct stream *s, struct sid from)
{
	return s->length > 0 && !sid_zero(s->max_deleted) &&
	    sid_cmp(from, s->max_deleted) <= 0 &&
	    sid_cmp(stream_first_id(s), s->max_deleted) <= 0;
}

int64_t
stream_read_up_to(const struct stream *s, struct sid id)
{
	int last = sid_cmp(id, s->last_id);
	struct sid first = stream_first_id(s);

	if (s->added == 0)
		return 0;
	if (last == 0 || (s->length == 0 && last < 0))
		return (int64_t)s->added;
	if (last > 0)
		return -1;
	if (sid_zero(s->max_deleted) || sid_cmp(s->max_deleted, first) < 0) {
		if (sid_cmp(id, first) < 0)
			return (int64_t)(s->added - s->length);
		if (sid_cmp(id, first) == 0)
			return (int64_t)(s->added - s->length + 1);
	}
	return -1;
}

struct stream *
stream_new(void)
{
	struct stream *s = xcalloc(1, sizeof(*s));

	RB_INIT(&s->groups);
	s->next_group = 1;
	s->bytes = sizeof(*s) + MALLOC_BYTES;
	return s;
}
