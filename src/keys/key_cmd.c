/* SPDX-License-Identifier: MIT */
/* Commands of keys of any type. */
#include "base/rng.h"
#include "base/str.h"
#include "keys/part.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static bool
del_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 1); c->at++) {
		struct key *k = key_peek(c, c->argv[c->at]);

		if (!k)
			continue;
		key_delete(c, k);
		c->n++;
	}
	if (c->at < c->argc)
		return true;
	put_int(c, (int64_t)c->n);
	return false;
}

/* Also UNLINK: what is big is freed in slices either way. */
void
k_del(struct kcall *c)
{
	call_words(c, 1, del_step);
}

/* DELEX key [IFEQ value | IFNE value] */
void
k_delex(struct kcall *c)
{
	bool eq = c->argc == 4 && is(c->argv[2], "IFEQ");
	struct key *k;

	if (c->argc != 2 && !eq && !(c->argc == 4 &&
	    is(c->argv[2], "IFNE"))) {
		put_syntax(c);
		return;
	}
	if (!(c->argc == 4 ? key_peek_as(c, c->argv[1], KEY_STRING, &k) :
	    (k = key_peek(c, c->argv[1]), true)))
		return;
	if (!k || (c->argc == 4 &&
	    bytes_equal(val_bytes(k->str), c->argv[3]) != eq)) {
		put_int(c, 0);
		return;
	}
	key_delete(c, k);
	put_int(c, 1);
}

static bool
exists_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 1); c->at++)
		c->n += key_find(c, c->argv[c->at]) != NULL;
	if (c->at < c->argc)
		return true;
	put_int(c, (int64_t)c->n);
	return false;
}

/* Also TOUCH. */
void
k_exists(struct kcall *c)
{
	call_words(c, 1, exists_step);
}

void
k_type(struct kcall *c)
{
	struct key *k = key_peek(c, c->argv[1]);

	put_status(c, k ? key_types[key_type_of(k)]->name : "none");
}

/* --- under another name --- */

static bool
find_to_rename(struct kcall *c, struct key **ret)
{
	*ret = key_peek(c, c->argv[1]);
	if (!*ret)
		put_error(c, "ERR no such key");
	return *ret != NULL;
}

void
k_rename(struct kcall *c)
{
	struct key *k;

	if (!find_to_rename(c, &k))
		return;
	if (bytes_equal(c->argv[1], c->argv[2]))
		put_ok(c);
	else
		key_rename(c, k, c->argv[2], put_ok);
}

static void
put_one(struct kcall *c)
{
	put_int(c, 1);
}

void
k_renamenx(struct kcall *c)
{
	struct key *k;

	if (!find_to_rename(c, &k))
		return;
	if (key_peek(c, c->argv[2]))
		put_int(c, 0);
	else
		key_rename(c, k, c->argv[2], put_one);
}

static bool
parse_copy(struct kcall *c, bool *ret_replace)
{
	int64_t db;

	*ret_replace = false;
	for (size_t i = 3; i < c->argc; i++) {
		if (is(c->argv[i], "REPLACE")) {
			*ret_replace = true;
		} else if (is(c->argv[i], "DB") && i + 1 < c->argc) {
			if (!arg_number(c, ++i, &db))
				return false;
			if (db < INT32_MIN || db > INT32_MAX) {
				put_not_integer(c);
				return false;
			}
			if (db != 0) {
				put_error(c, "ERR DB index is out of range");
				return false;
			}
		} else {
			put_syntax(c);
			return false;
		}
	}
	return true;
}

void
k_copy(struct kcall *c)
{
	bool replace;
	struct key *k;

	if (!parse_copy(c, &replace))
		return;
	if (bytes_equal(c->argv[1], c->argv[2])) {
		put_error(c, "ERR source and destination objects are the"
		    " same");
		return;
	}
	k = key_find(c, c->argv[1]);
	if (!k || (key_peek(c, c->argv[2]) && !replace)) {
		put_int(c, 0);
		return;
	}
	key_clone(c, k, c->argv[2], false, put_one);
}

/* --- all keys --- */

/* What a walk shows may be of this turn, or gone in it. */
static void
show_all(struct kcall *c)
{
	c->dirty = true;
	c->lsn = c->ks->journal ? journal_last(c->ks->journal) : 0;
}

static bool
lives(const struct keys *ks, const struct key *k)
{
	return !k->ttl.pos || k->ttl.at > ks->wall_ms;
}

static bool
keys_step(struct kcall *c)
{
	struct bh_bytes p = c->argv[1];
	bool every = p.len == 1 && p.data[0] == '*';

	for (int left = SLICE_KEYS; c->at > 0 && left > 0; left--) {
		const struct key *k = c->ks->all[--c->at];

		if (!lives(c->ks, k) || !(every || str_glob(p.data, p.len,
		    k->name, k->len)))
			continue;
		put_bytes(c, k->name, k->len);
		c->n++;
	}
	put_array_close(c, c->begin, c->n);
	return c->at > 0;
}

void
k_keys(struct kcall *c)
{
	show_all(c);
	put_array_open(c);
	c->at = c->ks->n;
	c->step = keys_step;
}

/* A cursor says how many keys at the front of `all` are still to be seen; 0
 * starts and ends. COUNT is a hint, and no more than a slice. */
void
k_scan(struct kcall *c)
{
	struct scan_args s = {0};
	struct keys *ks = c->ks;
	size_t at, cursor, open, n = 0;

	if (!arg_cursor(c, 1, &s.cursor) || !arg_scan(c, 2, true, &s))
		return;
	show_all(c);
	put_array(c, 2);
	cursor = c->re->n;
	put_null(c);
	open = put_array_open(c);
	at = s.cursor == 0 || s.cursor > ks->n ? ks->n : (size_t)s.cursor;
	if (s.count > SLICE_KEYS)
		s.count = SLICE_KEYS;
	for (; at > 0 && s.count > 0; s.count--) {
		const struct key *k = ks->all[--at];

		if (!lives(ks, k) || (s.match.data && !str_glob(s.match.data,
		    s.match.len, k->name, k->len)) ||
		    (s.type.data && !is(s.type, key_types[key_type_of(k)]->name)))
			continue;
		put_bytes(c, k->name, k->len);
		n++;
	}
	put_array_close(c, open, n);
	put_cursor(c, cursor, at);
}

/* Some tries for one that has not expired. */
void
k_randomkey(struct kcall *c)
{
	struct keys *ks = c->ks;

	show_all(c);
	keys_expire(ks);
	for (int left = 100; ks->n > 0 && left > 0; left--) {
		const struct key *k = ks->all[rng_u64() % ks->n];

		if (!lives(ks, k))
			continue;
		put_bytes(c, k->name, k->len);
		return;
	}
	put_null(c);
}

void
k_dbsize(struct kcall *c)
{
	show_all(c);
	keys_expire(c->ks);
	put_int(c, (int64_t)c->ks->n);
}

/* FLUSHDB and FLUSHALL [ASYNC | SYNC]: there is one database, and freeing is
 * done in slices either way. */
void
k_flush(struct kcall *c)
{
	if (c->argc > 2 || (c->argc == 2 && !is(c->argv[1], "ASYNC") &&
	    !is(c->argv[1], "SYNC"))) {
		put_syntax(c);
		return;
	}
	keys_flush(c);
	put_ok(c);
}
