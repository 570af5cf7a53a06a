/* SPDX-License-Identifier: MIT */
/* Lists: the type, pushing, popping, looking. */
#include "keys/list.h"

#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* --- the type --- */

/* Numbers are stored so that their bytes have their order. */
enum { PART = 8 };

static struct bh_bytes
part_of(int64_t number, char out[PART])
{
	uint64_t v = (uint64_t)number ^ (UINT64_C(1) << 63);

	for (int i = PART - 1; i >= 0; i--, v >>= 8)
		out[i] = (char)v;
	return (struct bh_bytes){out, PART};
}

static int64_t
number_of(struct bh_bytes part)
{
	uint64_t v = 0;

	for (size_t i = 0; i < part.len; i++)
		v = v << 8 | (unsigned char)part.data[i];
	return (int64_t)(v ^ (UINT64_C(1) << 63));
}

static const char *
list_encoding(const void *obj)
{
	(void)obj;
	return "quicklist";
}

static void *
list_make(void)
{
	return klist_new();
}

static void *
list_copy(const void *obj)
{
	return klist_copy(obj);
}

static bool
list_free_some(void *obj, int *budget)
{
	return klist_free_some(obj, budget);
}

static size_t
list_length(const void *obj)
{
	return ((const struct klist *)obj)->count;
}

static size_t
list_bytes(const void *obj)
{
	return ((const struct klist *)obj)->bytes;
}

static void
list_each_part(const void *obj, kpart_fn *fn, void *arg)
{
	struct klist_at at;
	char part[PART];

	for (at = klist_first(obj); at.block; at = klist_next(at))
		fn(arg, part_of(klist_number(at), part), klist_value(at));
}

static bool
list_some_parts(const void *obj, size_t *from, int budget, kpart_fn *fn,
    void *arg)
{
	struct klist_at at = klist_seek(obj, *from);
	char part[PART];

	for (; at.block && budget > 0; at = klist_next(at), budget--, ++*from)
		fn(arg, part_of(klist_number(at), part), klist_value(at));
	return !at.block;
}

static void
list_load_part(void *obj, struct bh_bytes part, struct bh_bytes value)
{
	klist_load(obj, number_of(part), value);
}

const struct ktype list_type = {
	.name = "list",
	.encoding = list_encoding,
	.make = list_make,
	.copy = list_copy,
	.free_some = list_free_some,
	.length = list_length,
	.bytes = list_bytes,
	.parts = list_length,
	.each_part = list_each_part,
	.some_parts = list_some_parts,
	.load_part = list_load_part,
};

/* --- changes are written down --- */

static void
write_part(void *arg, int64_t number, const struct bh_bytes *value)
{
	struct list_writing *w = arg;
	char part[PART];

	if (value)
		key_part_set(w->call, w->key, part_of(number, part), *value);
	else
		key_part_del(w->call, w->key, part_of(number, part));
}

void
list_writing_init(struct list_writing *w, struct kcall *c, struct key *k)
{
	*w = (struct list_writing){{write_part, w}, c, k};
}

void
list_push(struct kcall *c, struct key *k, bool front, struct bh_bytes v)
{
	struct list_writing w;

	list_writing_init(&w, c, k);
	klist_push(k->obj, front, v, &w.log);
}

/* --- long ones --- */

/* At once if it is little work, else in slices. */
void
list_walk(struct kcall *c, struct lwalk *w, size_t work, size_t slice,
    bool (*step)(struct kcall *c))
{
	if (work > slice) {
		c->state = xmemdup(w, sizeof(*w));
		c->drop = free;
		c->step = step;
		return;
	}
	c->state = w;
	while (step(c))
		;
	c->state = NULL;
}

/* --- pushing --- */

static bool
push_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	size_t left = SLICE_WRITE;

	for (; c->at < c->argc && left > 0; c->at++, left--)
		list_push(c, w->key, w->front, c->argv[c->at]);
	if (c->at < c->argc)
		return true;
	put_int(c, (int64_t)list_length(w->key->obj));
	key_settled(c, w->key);
	return false;
}

static void
push_all(struct kcall *c, bool front, bool make)
{
	struct lwalk w = {.front = front};

	if (!key_peek_as(c, c->argv[1], KEY_LIST, &w.key))
		return;
	if (!w.key && !make) {
		put_int(c, 0);
		return;
	}
	if (!w.key)
		w.key = key_make(c, c->argv[1], KEY_LIST);
	c->at = 2;
	list_walk(c, &w, c->argc - 2, SLICE_WRITE, push_step);
}

void
k_lpush(struct kcall *c)
{
	push_all(c, true, true);
}

void
k_rpush(struct kcall *c)
{
	push_all(c, false, true);
}

void
k_lpushx(struct kcall *c)
{
	push_all(c, true, false);
}

void
k_rpushx(struct kcall *c)
{
	push_all(c, false, false);
}

/* --- popping --- */

/* The element at the end, put into the answer and out of the list. */
void
list_pop(struct kcall *c, struct key *k, bool front)
{
	struct klist *l = k->obj;
	struct klist_at at = front ? klist_first(l) : klist_last(l);
	struct bh_bytes v = klist_value(at);
	struct list_writing w;

	list_writing_init(&w, c, k);
	put_bytes(c, v.data, v.len);
	klist_remove(l, &at, &w.log);
}

static bool
pop_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	struct bh_bytes v;

	for (size_t left = SLICE_WRITE; w->left > 0 && left > 0;
	    w->left--, left--) {
		if (!w->all) {
			list_pop(c, w->key, w->front);
			continue;
		}
		v = klist_value(w->at);
		put_bytes(c, v.data, v.len);
		w->at = w->front ? klist_next(w->at) : klist_prev(w->at);
	}
	if (w->left > 0)
		return true;
	if (w->all)
		key_delete(c, w->key);
	else
		key_settled(c, w->key);
	return false;
}

/* Up to n as an array. A list that goes as a whole is one record. */
void
list_pop_many(struct kcall *c, struct key *k, bool front, int64_t n)
{
	struct klist *l = k->obj;
	struct lwalk w = {.key = k, .front = front};

	w.all = n < 0 || (uint64_t)n >= l->count;
	w.left = w.all ? (int64_t)l->count : n;
	w.at = front ? klist_first(l) : klist_last(l);
	put_array(c, (size_t)w.left);
	list_walk(c, &w, (size_t)w.left, SLICE_WRITE, pop_step);
}

static void
pop_end(struct kcall *c, bool front)
{
	int64_t count = -1;
	struct key *k;

	if (c->argc > 3) {
		put_error(c, "ERR wrong number of arguments for '%s' command",
		    front ? "lpop" : "rpop");
		return;
	}
	if (c->argc == 3 && !arg_range(c, 2, 0, INT64_MAX,
	    "value is out of range, must be positive", &count))
		return;
	if (!key_peek_as(c, c->argv[1], KEY_LIST, &k))
		return;
	if (!k && c->argc == 3) {
		put_null_array(c);
	} else if (!k) {
		put_null(c);
	} else if (count == 0) {
		put_array(c, 0);
	} else if (count < 0) {
		list_pop(c, k, front);
		key_settled(c, k);
	} else {
		list_pop_many(c, k, front, count);
	}
}

void
k_lpop(struct kcall *c)
{
	pop_end(c, true);
}

void
k_rpop(struct kcall *c)
{
	pop_end(c, false);
}

/* --- looking --- */

static bool
find(struct kcall *c, struct key **ret)
{
	return key_find_as(c, c->argv[1], KEY_LIST, ret);
}

void
k_llen(struct kcall *c)
{
	struct key *k;

	if (find(c, &k))
		put_int(c, k ? (int64_t)list_length(k->obj) : 0);
}

struct klist_at
list_seek(const struct klist *l, int64_t index)
{
	if (index < 0)
		index += (int64_t)l->count;
	return klist_seek(l, index < 0 ? SIZE_MAX : (size_t)index);
}

void
k_lindex(struct kcall *c)
{
	struct klist_at at;
	struct bh_bytes v;
	int64_t index;
	struct key *k;

	if (!find(c, &k))
		return;
	if (!k) {
		put_null(c);
		return;
	}
	if (!arg_number(c, 2, &index))
		return;
	at = list_seek(k->obj, index);
	if (!at.block) {
		put_null(c);
		return;
	}
	v = klist_value(at);
	put_bytes(c, v.data, v.len);
}

static bool
range_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	struct bh_bytes v;

	for (size_t n = SLICE_READ; w->left > 0 && n > 0; w->left--, n--) {
		v = klist_value(w->at);
		put_bytes(c, v.data, v.len);
		w->at = klist_next(w->at);
	}
	return w->left > 0;
}

void
k_lrange(struct kcall *c)
{
	struct lwalk w = {0};
	int64_t start, stop;

	if (!arg_number(c, 2, &start) || !arg_number(c, 3, &stop) ||
	    !find(c, &w.key))
		return;
	if (!w.key || !range_clamp((int64_t)list_length(w.key->obj), &start,
	    &stop)) {
		put_array(c, 0);
		return;
	}
	w.left = stop - start + 1;
	w.at = klist_seek(w.key->obj, (size_t)start);
	put_array(c, (size_t)w.left);
	list_walk(c, &w, (size_t)w.left, SLICE_READ, range_step);
}

static bool
pos_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	size_t n = SLICE_READ;

	for (; w->at.block && w->left > 0 && n > 0; n--, w->left--) {
		if (bytes_equal(klist_value(w->at), c->argv[2]) &&
		    --w->rank <= 0) {
			put_int(c, (int64_t)w->index);
			c->n++;
			if (--w->count == 0)
				break;
		}
		w->index += w->front ? 1 : (size_t)-1;
		w->at = w->front ? klist_next(w->at) : klist_prev(w->at);
	}
	if (n == 0)
		return true;
	if (w->many)
		put_array_close(c, c->at, c->n);
	else if (c->n == 0)
		put_null(c);
	return false;
}

static bool
parse_pos(struct kcall *c, struct lwalk *w)
{
	size_t i;

	for (i = 3; i + 1 < c->argc; i += 2) {
		if (is(c->argv[i], "RANK")) {
			if (!arg_number(c, i + 1, &w->rank))
				return false;
			if (w->rank == 0) {
				put_error(c, "ERR RANK can't be zero: use 1 to"
				    " start from the first match, 2 from the"
				    " second ... or use negative to start"
				    " from the end of the list");
				return false;
			}
		} else if (is(c->argv[i], "COUNT")) {
			if (!arg_range(c, i + 1, 0, INT64_MAX,
			    "COUNT can't be negative", &w->count))
				return false;
			w->many = true;
		} else if (is(c->argv[i], "MAXLEN")) {
			if (!arg_range(c, i + 1, 0, INT64_MAX,
			    "MAXLEN can't be negative", &w->left))
				return false;
		} else {
			break;
		}
	}
	if (i < c->argc)
		put_syntax(c);
	return i >= c->argc;
}

void
k_lpos(struct kcall *c)
{
	struct lwalk w = {.rank = 1, .count = 1};
	struct klist *l;

	if (!parse_pos(c, &w) || !find(c, &w.key))
		return;
	if (!w.key && w.many) {
		put_array(c, 0);
	} else if (!w.key) {
		put_null(c);
	} else {
		l = w.key->obj;
		w.front = w.rank > 0;
		w.rank = w.front ? w.rank : w.rank == INT64_MIN ? 1 : -w.rank;
		if (w.left == 0 || (uint64_t)w.left > l->count)
			w.left = (int64_t)l->count;
		w.at = w.front ? klist_first(l) : klist_last(l);
		w.index = w.front ? 0 : l->count - 1;
		if (w.many)
			c->at = put_array_open(c);
		list_walk(c, &w, (size_t)w.left, SLICE_READ, pos_step);
	}
}
