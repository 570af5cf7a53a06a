/* SPDX-License-Identifier: MIT */
/*
 * In a block each element is its length, its bytes, and the size of both, to
 * be read backwards; sizes are of 7 bits a byte. Numbers: `first`, and so on
 * by KLIST_STRIDE, until there is a change in the middle; then they are kept
 * one by one.
 *
 * Where a gap is used up, as few of those behind it are numbered anew as have
 * room for twice as many as they are, squared: P. Dietz, D. Sleator, Two
 * algorithms for maintaining order in a list, STOC 1987.
 */
#include "keys/klist.h"

#include <stdlib.h>
#include <string.h>

#include "base/varint.h"
#include "base/xalloc.h"

/* A block grows to this size; a larger element has one of its own. */
enum { BLOCK_MAX = 8192, BLOCK_MIN = 64, MALLOC_BYTES = 16 };
/* What freeing this much costs is one of the budget. */
enum { FREE_BYTES = 4096 };

struct klist_block {
	TAILQ_ENTRY(klist_block) link;
	char *data;
	uint32_t begin, end, cap;	/* what is in use of data */
	uint32_t n;
	int64_t first;			/* the first one's number, if !numbers */
	int64_t *numbers;
	uint32_t numbers_cap;
};

/* --- entries --- */

static size_t
entry_size(size_t len)
{
	size_t head = varint_size(len) + len;

	return head + varint_size(head);
}

static size_t
entry_put(char *to, struct bh_bytes v)
{
	size_t head = varint_put(to, v.len), size;

	if (v.len)
		memcpy(to + head, v.data, v.len);
	head += v.len;
	size = head + varint_size(head);
	varint_put_back(to + size - 1, head);
	return size;
}

static struct bh_bytes
entry_get(const char *from, size_t *ret_size)
{
	size_t len, head = varint_get(from, &len);

	*ret_size = head + len + varint_size(head + len);
	return (struct bh_bytes){from + head, len};
}

static size_t
entry_size_back(const char *end)
{
	size_t head, n = varint_get_back(end - 1, &head);

	return head + n;
}

/* --- blocks --- */

static size_t
block_bytes(const struct klist_block *b)
{
	return sizeof(*b) + b->cap + 2 * MALLOC_BYTES + (b->numbers ?
	    b->numbers_cap * sizeof(*b->numbers) + MALLOC_BYTES : 0);
}

static uint32_t
used(const struct klist_block *b)
{
	return b->end - b->begin;
}

static struct klist_block *
block_new(struct klist *l, size_t cap)
{
	struct klist_block *b = xcalloc(1, sizeof(*b));

	b->data = xmalloc(cap);
	b->cap = (uint32_t)cap;
	l->bytes += block_bytes(b);
	return b;
}

static void
block_free(struct klist *l, struct klist_block *b)
{
	l->bytes -= block_bytes(b);
	free(b->numbers);
	free(b->data);
	free(b);
}

/* Other room for the data, which begins at `begin` then. */
static void
block_resize(struct klist *l, struct klist_block *b, size_t cap, size_t begin)
{
	uint32_t n = used(b);
	char *data = b->data;

	if (cap == b->cap) {
		memmove(data + begin, data + b->begin, n);
	} else {
		l->bytes += cap - b->cap;
		data = xmalloc(cap);
		memcpy(data + begin, b->data + b->begin, n);
		free(b->data);
	}
	b->data = data;
	b->cap = (uint32_t)cap;
	b->begin = (uint32_t)begin;
	b->end = b->begin + n;
}

/* Room for `size` bytes in front or behind, if the block may have so many. */
static bool
block_room(struct klist *l, struct klist_block *b, bool front, size_t size)
{
	size_t n = used(b), cap = b->cap, begin;

	if ((front ? b->begin : b->cap - b->end) >= size)
		return true;
	if (n + size > BLOCK_MAX)
		return false;
	if (cap - n >= size && cap - n >= cap / 4) {
		begin = (cap - n - size) / 2 + (front ? size : 0);
	} else if (cap < BLOCK_MAX) {
		/* All that is new goes to the side that grows. */
		cap = cap * 2 > n + size ? cap * 2 : n + size;
		cap = cap < BLOCK_MAX ? cap : BLOCK_MAX;
		begin = front ? cap - n : 0;
	} else {
		return false;
	}
	block_resize(l, b, cap, begin);
	return true;
}

/* Numbers one by one, with room for one more. */
static void
numbers_room(struct klist *l, struct klist_block *b)
{
	bool had = b->numbers != NULL;

	if (had && b->n < b->numbers_cap)
		return;
	l->bytes -= block_bytes(b);
	b->numbers_cap = b->n + b->n / 8 + 8;
	b->numbers = xrealloc(b->numbers,
	    b->numbers_cap * sizeof(*b->numbers));
	for (uint32_t i = 0; !had && i < b->n; i++)
		b->numbers[i] = b->first + (int64_t)i * KLIST_STRIDE;
	l->bytes += block_bytes(b);
}

static int64_t
number_of(const struct klist_block *b, uint32_t i)
{
	return b->numbers ? b->numbers[i] :
	    b->first + (int64_t)i * KLIST_STRIDE;
}

/* The i-th is a new one, of this number. */
static void
number_in(struct klist *l, struct klist_block *b, uint32_t i, int64_t number)
{
	if (b->n == 0 && !b->numbers) {
		b->first = number;
	} else if (!b->numbers && i == b->n &&
	    number == number_of(b, b->n - 1) + KLIST_STRIDE) {
		/* goes on */
	} else if (!b->numbers && i == 0 &&
	    number == b->first - KLIST_STRIDE) {
		b->first = number;
	} else {
		numbers_room(l, b);
		memmove(b->numbers + i + 1, b->numbers + i,
		    (b->n - i) * sizeof(*b->numbers));
		b->numbers[i] = number;
	}
	b->n++;
	l->count++;
}

static void
number_out(struct klist *l, struct klist_block *b, uint32_t i)
{
	if (!b->numbers && i == 0)
		b->first += KLIST_STRIDE;
	else if (!b->numbers && i < b->n - 1)
		numbers_room(l, b);
	b->n--;
	l->count--;
	if (b->numbers)
		memmove(b->numbers + i, b->numbers + i + 1,
		    (b->n - i) * sizeof(*b->numbers));
}

/* --- life --- */

struct klist *
klist_new(void)
{
	struct klist *l = xcalloc(1, sizeof(*l));

	TAILQ_INIT(&l->blocks);
	l->bytes = sizeof(*l) + MALLOC_BYTES;
	return l;
}

struct klist *
klist_copy(const struct klist *from)
{
	struct klist *l = klist_new();
	const struct klist_block *b;

	TAILQ_FOREACH(b, &from->blocks, link) {
		struct klist_block *n = xmemdup(b, sizeof(*b));

		n->data = xmemdup(b->data, b->cap);
		if (b->numbers)
			n->numbers = xmemdup(b->numbers,
			    b->numbers_cap * sizeof(*b->numbers));
		TAILQ_INSERT_TAIL(&l->blocks, n, link);
	}
	l->count = from->count;
	l->bytes = from->bytes;
	return l;
}

bool
klist_free_some(struct klist *l, int *budget)
{
	struct klist_block *b;

	while ((b = TAILQ_FIRST(&l->blocks))) {
		if (*budget <= 0)
			return false;
		*budget -= 1 + (int)(b->cap / FREE_BYTES);
		TAILQ_REMOVE(&l->blocks, b, link);
		block_free(l, b);
	}
	free(l);
	return true;
}

/* --- places --- */

static struct klist_at
first_of(struct klist_block *b)
{
	return (struct klist_at){b, 0, b ? b->begin : 0};
}

static struct klist_at
last_of(struct klist_block *b)
{
	return b ? (struct klist_at){b, b->n - 1, b->end -
	    (uint32_t)entry_size_back(b->data + b->end)} :
	    (struct klist_at){NULL, 0, 0};
}

struct klist_at
klist_first(const struct klist *l)
{
	return first_of(TAILQ_FIRST(&l->blocks));
}

struct klist_at
klist_last(const struct klist *l)
{
	return last_of(TAILQ_LAST(&l->blocks, klist_blocks));
}

struct klist_at
klist_next(struct klist_at at)
{
	size_t size;

	if (at.i + 1 == at.block->n)
		return first_of(TAILQ_NEXT(at.block, link));
	entry_get(at.block->data + at.off, &size);
	return (struct klist_at){at.block, at.i + 1,
	    at.off + (uint32_t)size};
}

struct klist_at
klist_prev(struct klist_at at)
{
	if (at.i == 0)
		return last_of(TAILQ_PREV(at.block, klist_blocks, link));
	return (struct klist_at){at.block, at.i - 1, at.off -
	    (uint32_t)entry_size_back(at.block->data + at.off)};
}

/* From whichever end of the list, and then of the block, is nearer. */
struct klist_at
klist_seek(const struct klist *l, size_t index)
{
	struct klist_block *b;
	struct klist_at at;

	if (index >= l->count)
		return (struct klist_at){NULL, 0, 0};
	if (index < l->count / 2) {
		b = TAILQ_FIRST(&l->blocks);
		while (index >= b->n) {
			index -= b->n;
			b = TAILQ_NEXT(b, link);
		}
	} else {
		size_t back = l->count - index;	/* 1: the last one */

		b = TAILQ_LAST(&l->blocks, klist_blocks);
		while (back > b->n) {
			back -= b->n;
			b = TAILQ_PREV(b, klist_blocks, link);
		}
		index = b->n - back;
	}
	if (index < b->n / 2) {
		for (at = first_of(b); at.i < index;)
			at = klist_next(at);
	} else {
		for (at = last_of(b); at.i > index;)
			at = klist_prev(at);
	}
	return at;
}

struct bh_bytes
klist_value(struct klist_at at)
{
	size_t size;

	return entry_get(at.block->data + at.off, &size);
}

int64_t
klist_number(struct klist_at at)
{
	return number_of(at.block, at.i);
}

/* --- changes --- */

static void
tell(const struct klist_log *log, int64_t number, const struct bh_bytes *v)
{
	log->fn(log->arg, number, v);
}

/* Behind what b has, or in front of it; or in a new block beside it (b NULL:
 * the list is empty). */
static void
block_push(struct klist *l, struct klist_block *b, bool front,
    struct bh_bytes v, int64_t number)
{
	size_t size = entry_size(v.len), cap = size;
	struct klist_block *n;

	if (!b || !block_room(l, b, front, size)) {
		if (b && used(b) >= BLOCK_MAX / 2 && cap < BLOCK_MAX &&
		    !(front ? TAILQ_PREV(b, klist_blocks, link) :
		    TAILQ_NEXT(b, link)))
			cap = BLOCK_MAX;
		n = block_new(l, cap);
		if (front)
			n->begin = n->end = (uint32_t)cap;
		if (!b)
			TAILQ_INSERT_HEAD(&l->blocks, n, link);
		else if (front)
			TAILQ_INSERT_BEFORE(b, n, link);
		else
			TAILQ_INSERT_AFTER(&l->blocks, b, n, link);
		b = n;
	}
	if (front) {
		b->begin -= (uint32_t)size;
		entry_put(b->data + b->begin, v);
	} else {
		entry_put(b->data + b->end, v);
		b->end += (uint32_t)size;
	}
	number_in(l, b, front ? 0 : b->n, number);
}

/* All of them, from the middle of what there is. */
static void
number_all(struct klist *l, const struct klist_log *log)
{
	int64_t number = -(int64_t)(l->count / 2) * KLIST_STRIDE;
	struct klist_block *b;
	struct klist_at at;

	for (at = klist_first(l); at.block; at = klist_next(at))
		tell(log, klist_number(at), NULL);
	TAILQ_FOREACH(b, &l->blocks, link) {
		l->bytes -= block_bytes(b);
		free(b->numbers);
		b->numbers = NULL;
		b->numbers_cap = 0;
		b->first = number;
		number += (int64_t)b->n * KLIST_STRIDE;
		l->bytes += block_bytes(b);
	}
	for (at = klist_first(l); at.block; at = klist_next(at)) {
		struct bh_bytes v = klist_value(at);

		tell(log, klist_number(at), &v);
	}
}

void
klist_push(struct klist *l, bool front, struct bh_bytes v,
    const struct klist_log *log)
{
	struct klist_at at = front ? klist_first(l) : klist_last(l);
	int64_t number = 0;

	if (at.block && __builtin_add_overflow(klist_number(at),
	    front ? -KLIST_STRIDE : KLIST_STRIDE, &number)) {
		number_all(l, log);
		number = klist_number(at) +
		    (front ? -KLIST_STRIDE : KLIST_STRIDE);
	}
	block_push(l, at.block, front, v, number);
	tell(log, number, &v);
}

void
klist_load(struct klist *l, int64_t number, struct bh_bytes v)
{
	block_push(l, TAILQ_LAST(&l->blocks, klist_blocks), false, v, number);
}

/* What stands in the block from this place on goes to a new one behind it. */
static void
block_split(struct klist *l, struct klist_at at)
{
	struct klist_block *b = at.block;
	uint32_t moved = b->n - at.i, size = b->end - at.off;
	struct klist_block *n = block_new(l, size);

	memcpy(n->data, b->data + at.off, size);
	n->end = size;
	n->n = moved;
	n->first = number_of(b, at.i);
	if (b->numbers) {
		l->bytes -= block_bytes(n);
		n->numbers_cap = moved;
		n->numbers = xmemdup(b->numbers + at.i,
		    moved * sizeof(*b->numbers));
		l->bytes += block_bytes(n);
	}
	b->n = at.i;
	b->end = at.off;
	block_resize(l, b, used(b), 0);
	TAILQ_INSERT_AFTER(&l->blocks, b, n, link);
}

/* In front of the element that is at. */
static void
block_insert(struct klist *l, struct klist_at at, struct bh_bytes v,
    int64_t number)
{
	struct klist_block *b = at.block, *prev;
	size_t size = entry_size(v.len), off;

	if (at.i == 0) {
		prev = TAILQ_PREV(b, klist_blocks, link);
		if (prev && used(prev) + size <= BLOCK_MAX)
			block_push(l, prev, false, v, number);
		else
			block_push(l, b, true, v, number);
		return;
	}
	if (used(b) + size > BLOCK_MAX) {
		block_split(l, at);
		block_push(l, b, false, v, number);
		return;
	}
	off = at.off - b->begin;
	if (b->cap - b->end < size)
		block_resize(l, b, used(b) + size > b->cap * 3 / 4 ?
		    (used(b) + size) * 5 / 4 : b->cap, 0);
	off += b->begin;
	memmove(b->data + off + size, b->data + off, b->end - off);
	entry_put(b->data + off, v);
	b->end += (uint32_t)size;
	number_in(l, b, at.i, number);
}

/* Numbers those from `at` on anew, above `low`, so that there is room for one
 * more between. Answers with the number for that one. */
static int64_t
make_gap(struct klist *l, struct klist_at at, int64_t low,
    const struct klist_log *log)
{
	struct klist_at to = at;
	uint64_t n = 0, room = 0, step;

	for (; to.block; to = klist_next(to), n++) {
		room = (uint64_t)klist_number(to) - (uint64_t)low;
		if (room > (n + 2) * (n + 2))
			break;
	}
	step = to.block ? room / (n + 2) : KLIST_STRIDE;
	to = at;
	for (uint64_t i = 0; i < n; i++, to = klist_next(to))
		tell(log, klist_number(to), NULL);
	to = at;
	for (uint64_t i = 0; i < n; i++, to = klist_next(to)) {
		struct bh_bytes v = klist_value(to);
		int64_t number = low + (int64_t)((i + 2) * step);

		numbers_room(l, to.block);
		to.block->numbers[to.i] = number;
		tell(log, number, &v);
	}
	return low + (int64_t)step;
}

void
klist_insert(struct klist *l, struct klist_at at, bool after,
    struct bh_bytes v, const struct klist_log *log)
{
	struct klist_at next = after ? klist_next(at) : at;
	struct klist_at prev = after ? at : klist_prev(at);
	uint64_t room;
	int64_t number;

	if (!next.block || !prev.block) {
		klist_push(l, !prev.block, v, log);
		return;
	}
	if (klist_number(klist_last(l)) >
	    INT64_MAX - (int64_t)l->count * KLIST_STRIDE)
		number_all(l, log);
	number = klist_number(prev);
	room = (uint64_t)klist_number(next) - (uint64_t)number;
	number = room > 1 ? number + (int64_t)(room / 2) :
	    make_gap(l, next, number, log);
	block_insert(l, next, v, number);
	tell(log, number, &v);
}

/* A block that has become small gives room back, and takes in what is behind
 * it if that is small too. */
static void
block_shrink(struct klist *l, struct klist_at *at)
{
	struct klist_block *b = at->block, *n = TAILQ_NEXT(b, link);
	uint32_t off = at->off - b->begin, size, had = used(b);

	if (had >= b->cap / 4 || b->cap <= BLOCK_MIN)
		return;
	if (n && had + used(n) <= BLOCK_MAX / 2) {
		size = used(n);
		block_resize(l, b, had + size, 0);
		memcpy(b->data + b->end, n->data + n->begin, size);
		b->end += size;
		for (uint32_t i = 0; i < n->n; i++) {
			number_in(l, b, b->n, number_of(n, i));
			l->count--;
		}
		TAILQ_REMOVE(&l->blocks, n, link);
		block_free(l, n);
	} else {
		size = had * 2 < BLOCK_MIN ? BLOCK_MIN : had * 2;
		block_resize(l, b, size, (size - had) / 2);
	}
	at->off = b->begin + off;
}

void
klist_remove(struct klist *l, struct klist_at *at,
    const struct klist_log *log)
{
	struct klist_block *b = at->block;
	size_t size;

	tell(log, klist_number(*at), NULL);
	entry_get(b->data + at->off, &size);
	number_out(l, b, at->i);
	if (b->n == 0) {
		*at = first_of(TAILQ_NEXT(b, link));
		TAILQ_REMOVE(&l->blocks, b, link);
		block_free(l, b);
		return;
	}
	if (at->i == 0) {
		b->begin += (uint32_t)size;
		at->off = b->begin;
	} else {
		memmove(b->data + at->off, b->data + at->off + size,
		    b->end - at->off - size);
		b->end -= (uint32_t)size;
	}
	block_shrink(l, at);
	if (at->i == b->n)
		*at = first_of(TAILQ_NEXT(b, link));
}

void
klist_replace(struct klist *l, struct klist_at at, struct bh_bytes v,
    const struct klist_log *log)
{
	struct klist_block *b = at.block;
	size_t size = entry_size(v.len), old, rest;

	entry_get(b->data + at.off, &old);
	/* What makes a block too large stands alone. */
	if (used(b) - old + size > BLOCK_MAX && b->n > 1) {
		if (at.i > 0) {
			block_split(l, at);
			at = first_of(TAILQ_NEXT(b, link));
			b = at.block;
		}
		if (b->n > 1)
			block_split(l, klist_next(at));
		at = first_of(b);
	}
	if (b->cap - b->end + old < size) {
		at.off -= b->begin;
		block_resize(l, b, used(b) - old + size, 0);
	}
	rest = b->end - at.off - old;
	memmove(b->data + at.off + size, b->data + at.off + old, rest);
	entry_put(b->data + at.off, v);
	b->end = at.off + (uint32_t)(size + rest);
	tell(log, number_of(b, at.i), &v);
}
