/* SPDX-License-Identifier: MIT */
/* Lists: changes of what is in the middle. */
#include "base/str.h"
#include "keys/list.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

void
k_lset(struct kcall *c)
{
	struct klist_at at;
	struct list_writing w;
	int64_t index;
	struct key *k;

	if (!key_peek_as(c, c->argv[1], KEY_LIST, &k))
		return;
	if (!k) {
		put_error(c, "ERR no such key");
		return;
	}
	if (!arg_number(c, 2, &index))
		return;
	at = list_seek(k->obj, index);
	if (!at.block) {
		put_error(c, "ERR index out of range");
		return;
	}
	list_writing_init(&w, c, k);
	klist_replace(k->obj, at, c->argv[3], &w.log);
	key_settled(c, k);
	put_ok(c);
}

/* What is to go from the back: left; from the front: rank. */
static bool
trim_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	struct klist *l = w->key->obj;
	struct list_writing log;
	size_t n = SLICE_WRITE;

	list_writing_init(&log, c, w->key);
	for (; w->left > 0 && n > 0; w->left--, n--) {
		w->at = klist_last(l);
		klist_remove(l, &w->at, &log.log);
	}
	for (; w->rank > 0 && n > 0; w->rank--, n--) {
		w->at = klist_first(l);
		klist_remove(l, &w->at, &log.log);
	}
	if (w->left > 0 || w->rank > 0)
		return true;
	key_settled(c, w->key);
	return false;
}

/* What stays becomes a list of its own; the rest goes as a whole. */
static void
trim_to_few(struct kcall *c, struct key *k, int64_t start, int64_t n)
{
	struct klist_at at = klist_seek(k->obj, (size_t)start);
	struct klist *l = klist_new();

	for (; n > 0; n--, at = klist_next(at))
		klist_load(l, klist_number(at), klist_value(at));
	key_store_obj(c, c->argv[1], KEY_LIST, l, key_expiry(k));
}

void
k_ltrim(struct kcall *c)
{
	struct lwalk w = {0};
	int64_t start, stop, len, stay;

	if (!arg_number(c, 2, &start) || !arg_number(c, 3, &stop) ||
	    !key_peek_as(c, c->argv[1], KEY_LIST, &w.key))
		return;
	put_ok(c);
	if (!w.key)
		return;
	len = (int64_t)list_type.length(w.key->obj);
	if (!range_clamp(len, &start, &stop)) {
		key_delete(c, w.key);
		return;
	}
	stay = stop - start + 1;
	w.rank = start;
	w.left = len - 1 - stop;
	if (len - stay > SLICE_WRITE && stay < SLICE_WRITE)
		trim_to_few(c, w.key, start, stay);
	else
		list_walk(c, &w, (size_t)(len - stay), SLICE_WRITE, trim_step);
}

static bool
rem_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	struct klist *l = w->key->obj;
	struct list_writing log;
	size_t n = SLICE_READ;

	list_writing_init(&log, c, w->key);
	for (; w->at.block && n > 0; n--) {
		if (!bytes_equal(klist_value(w->at), c->argv[3])) {
			w->at = w->front ? klist_next(w->at) :
			    klist_prev(w->at);
			continue;
		}
		klist_remove(l, &w->at, &log.log);
		c->n++;
		if (--w->count == 0)
			break;
		if (w->front || l->count == 0)
			continue;
		w->at = w->at.block ? klist_prev(w->at) : klist_last(l);
	}
	if (n == 0)
		return true;
	put_int(c, (int64_t)c->n);
	if (c->n > 0)
		key_settled(c, w->key);
	return false;
}

void
k_lrem(struct kcall *c)
{
	struct lwalk w = {.front = true};

	if (!arg_number(c, 2, &w.count) ||
	    !key_peek_as(c, c->argv[1], KEY_LIST, &w.key))
		return;
	if (!w.key) {
		put_int(c, 0);
		return;
	}
	w.front = w.count >= 0;
	/* 0: all of them; nobody has 2^63. */
	w.count = w.front ? w.count : w.count == INT64_MIN ? 0 : -w.count;
	w.at = w.front ? klist_first(w.key->obj) : klist_last(w.key->obj);
	list_walk(c, &w, list_type.length(w.key->obj), SLICE_READ, rem_step);
}

static bool
insert_step(struct kcall *c)
{
	struct lwalk *w = c->state;
	struct klist *l = w->key->obj;
	struct list_writing log;
	size_t n = SLICE_READ;

	while (w->at.block && n-- > 0) {
		if (!bytes_equal(klist_value(w->at), c->argv[3])) {
			w->at = klist_next(w->at);
			continue;
		}
		list_writing_init(&log, c, w->key);
		klist_insert(l, w->at, w->after, c->argv[4], &log.log);
		put_int(c, (int64_t)l->count);
		key_settled(c, w->key);
		return false;
	}
	if (w->at.block)
		return true;
	put_int(c, -1);
	return false;
}

void
k_linsert(struct kcall *c)
{
	struct lwalk w = {.after = is(c->argv[2], "AFTER")};

	if (!w.after && !is(c->argv[2], "BEFORE")) {
		put_syntax(c);
		return;
	}
	if (!key_peek_as(c, c->argv[1], KEY_LIST, &w.key))
		return;
	if (!w.key) {
		put_int(c, 0);
		return;
	}
	w.at = klist_first(w.key->obj);
	list_walk(c, &w, list_type.length(w.key->obj), SLICE_READ, insert_step);
}
