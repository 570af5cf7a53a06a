/* SPDX-License-Identifier: MIT */
/* Commands of strings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "keys/part.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static void
put_key(struct kcall *c, const struct key *k)
{
	put_val(c, k ? k->str : NULL);
}

/* The answer is an error when a value would be too large. */
static bool
size_fits(struct kcall *c, size_t a, size_t b)
{
	if (a <= KEYS_VALUE_MAX && b <= KEYS_VALUE_MAX - a)
		return true;
	put_error(c, "ERR string exceeds maximum allowed size "
	    "(proto-max-bulk-len)");
	return false;
}

static struct key *
store(struct kcall *c, struct bh_bytes name, struct bh_bytes value,
    bool keep_ttl)
{
	return key_store(c, name, kval_new(value.data, value.len), keep_ttl);
}

/* An expiry that has passed already leaves no key. */
static void
expire_at(struct kcall *c, struct key *k, int64_t at)
{
	if (at <= c->ks->wall_ms)
		key_delete(c, k);
	else
		key_set_expiry(c, k, at);
}

static bool
find(struct kcall *c, struct key **ret)
{
	return key_find_as(c, c->argv[1], KEY_STRING, ret);
}

void
k_get(struct kcall *c)
{
	struct key *k;

	if (find(c, &k))
		put_key(c, k);
}

void
k_strlen(struct kcall *c)
{
	struct key *k;

	if (find(c, &k))
		put_int(c, k ? k->str->len : 0);
}

/* --- SET and its like --- */

struct set_opts {
	bool nx, xx, get, keep_ttl, persist;
	struct expiry_arg expiry;
};

/* One of EX PX EXAT PXAT, with its value behind it. */
static bool
parse_expiry(struct kcall *c, size_t *i, struct set_opts *o)
{
	struct bh_bytes w = c->argv[*i];
	struct expiry_arg a = {.given = true};

	if (is(w, "EX") || is(w, "EXAT"))
		a.seconds = true;
	else if (!is(w, "PX") && !is(w, "PXAT"))
		return false;
	a.absolute = w.len == 4;
	if (*i + 1 >= c->argc || o->keep_ttl || o->persist)
		return false;
	/* The same word may stand twice, and the last one counts. */
	if (o->expiry.given && (o->expiry.seconds != a.seconds ||
	    o->expiry.absolute != a.absolute))
		return false;
	a.value = c->argv[++*i];
	o->expiry = a;
	return true;
}

/* argv[at…]; with set the options of SET, else those of GETEX. */
static bool
parse_opts(struct kcall *c, size_t at, bool set, struct set_opts *o)
{
	for (size_t i = at; i < c->argc; i++) {
		struct bh_bytes w = c->argv[i];

		if (set && is(w, "NX") && !o->xx) {
			o->nx = true;
		} else if (set && is(w, "XX") && !o->nx) {
			o->xx = true;
		} else if (set && is(w, "GET")) {
			o->get = true;
		} else if (set && is(w, "KEEPTTL") && !o->expiry.given) {
			o->keep_ttl = true;
		} else if (!set && is(w, "PERSIST") && !o->expiry.given) {
			o->persist = true;
		} else if (!parse_expiry(c, &i, o)) {
			put_syntax(c);
			return false;
		}
	}
	return true;
}

void
k_set(struct kcall *c)
{
	struct set_opts o = {0};
	int64_t at = 0;
	struct key *k;

	if (!parse_opts(c, 3, true, &o) ||
	    (o.expiry.given && !arg_expiry(c, &o.expiry, &at)) ||
	    !size_fits(c, c->argv[2].len, c->argv[1].len))
		return;
	if (o.get) {
		if (!find(c, &k))
			return;
		put_key(c, k);
	} else {
		k = o.nx || o.xx ? key_peek(c, c->argv[1]) : NULL;
	}
	if ((o.nx && k) || (o.xx && !k)) {
		if (!o.get)
			put_null(c);
		return;
	}
	k = store(c, c->argv[1], c->argv[2], o.keep_ttl);
	if (at)
		expire_at(c, k, at);
	if (!o.get)
		put_ok(c);
}

void
k_setnx(struct kcall *c)
{
	if (!size_fits(c, c->argv[2].len, c->argv[1].len))
		return;
	if (key_peek(c, c->argv[1])) {
		put_int(c, 0);
		return;
	}
	store(c, c->argv[1], c->argv[2], false);
	put_int(c, 1);
}

static void
set_expiring(struct kcall *c, bool seconds)
{
	struct expiry_arg a = {.seconds = seconds, .value = c->argv[2]};
	int64_t at;

	if (!arg_expiry(c, &a, &at) ||
	    !size_fits(c, c->argv[3].len, c->argv[1].len))
		return;
	key_set_expiry(c, store(c, c->argv[1], c->argv[3], false), at);
	put_ok(c);
}

void
k_setex(struct kcall *c)
{
	set_expiring(c, true);
}

void
k_psetex(struct kcall *c)
{
	set_expiring(c, false);
}

void
k_getset(struct kcall *c)
{
	struct key *k;

	if (!size_fits(c, c->argv[2].len, c->argv[1].len))
		return;
	if (!find(c, &k))
		return;
	put_key(c, k);
	store(c, c->argv[1], c->argv[2], false);
}

void
k_getdel(struct kcall *c)
{
	struct key *k;

	if (!find(c, &k))
		return;
	put_key(c, k);
	if (k)
		key_delete(c, k);
}

void
k_getex(struct kcall *c)
{
	struct set_opts o = {0};
	struct key *k;
	int64_t at;

	if (!parse_opts(c, 2, false, &o))
		return;
	if (!find(c, &k))
		return;
	if (!k) {
		put_null(c);
		return;
	}
	if (o.expiry.given && !arg_expiry(c, &o.expiry, &at))
		return;
	put_key(c, k);
	if (o.expiry.given)
		expire_at(c, k, at);
	else if (o.persist && key_expiry(k))
		key_set_expiry(c, k, 0);
}

/* --- several --- */

static bool
mget_step(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 1); c->at++) {
		struct key *k = key_find(c, c->argv[c->at]);

		put_key(c, k && key_type_of(k) == KEY_STRING ? k : NULL);
	}
	return c->at < c->argc;
}

void
k_mget(struct kcall *c)
{
	put_array(c, c->argc - 1);
	call_words(c, 1, mget_step);
}

static bool
check_pairs(struct kcall *c, const char *name)
{
	if (c->argc % 2 == 0) {
		put_error(c, "ERR wrong number of arguments for '%s' command",
		    name);
		return false;
	}
	for (size_t i = 1; i < c->argc; i += 2)
		if (!size_fits(c, c->argv[i + 1].len, c->argv[i].len))
			return false;
	return true;
}

/* True while pairs are left. */
static bool
store_pairs(struct kcall *c)
{
	for (int left = SLICE_KEYS; word_next(c, &left, 2); c->at += 2)
		store(c, c->argv[c->at], c->argv[c->at + 1], false);
	return c->at < c->argc;
}

static bool
mset_step(struct kcall *c)
{
	if (store_pairs(c))
		return true;
	put_ok(c);
	return false;
}

void
k_mset(struct kcall *c)
{
	if (check_pairs(c, "mset"))
		call_words(c, 1, mset_step);
}

/* First none of them may be there (n is 0), then all are stored. */
static bool
msetnx_step(struct kcall *c)
{
	int left = SLICE_KEYS;

	for (; c->n == 0 && word_next(c, &left, 2); c->at += 2)
		if (key_peek(c, c->argv[c->at])) {
			put_int(c, 0);
			return false;
		}
	if (c->n == 0 && c->at < c->argc)
		return true;
	if (c->n++ == 0)
		c->at = 1;
	if (store_pairs(c))
		return true;
	put_int(c, 1);
	return false;
}

void
k_msetnx(struct kcall *c)
{
	if (check_pairs(c, "msetnx"))
		call_words(c, 1, msetnx_step);
}

/* --- counters --- */

/* The new text of a counter; its expiry stays. */
static void
write_text(struct kcall *c, struct key *k, const char *text, size_t len)
{
	if (!k) {
		store(c, c->argv[1], (struct bh_bytes){text, len}, false);
		return;
	}
	memcpy(key_edit(k, len), text, len);
	key_changed(c, k);
}

static void
count(struct kcall *c, int64_t by)
{
	struct key *k;
	int64_t v = 0;
	char text[24];
	int len;

	if (!find(c, &k))
		return;
	if (k && !num_int(val_bytes(k->str), &v)) {
		put_not_integer(c);
		return;
	}
	if (__builtin_add_overflow(v, by, &v)) {
		put_error(c, "ERR increment or decrement would overflow");
		return;
	}
	len = snprintf(text, sizeof(text), "%lld", (long long)v);
	write_text(c, k, text, (size_t)len);
	put_int(c, v);
}

void
k_incr(struct kcall *c)
{
	count(c, 1);
}

void
k_decr(struct kcall *c)
{
	count(c, -1);
}

void
k_incrby(struct kcall *c)
{
	int64_t by;

	if (arg_number(c, 2, &by))
		count(c, by);
}

void
k_decrby(struct kcall *c)
{
	int64_t by;

	if (!arg_number(c, 2, &by))
		return;
	if (by == INT64_MIN)
		put_error(c, "ERR decrement would overflow");
	else
		count(c, -by);
}

void
k_incrbyfloat(struct kcall *c)
{
	long double v = 0, by;
	char text[NUM_REAL_MAX];
	struct key *k;
	size_t len;

	if (!find(c, &k))
		return;
	if ((k && !num_real(val_bytes(k->str), &v)) ||
	    !num_real(c->argv[2], &by)) {
		put_error(c, "ERR value is not a valid float");
		return;
	}
	v += by;
	if (isnan(v) || isinf(v)) {
		put_error(c, "ERR increment would produce NaN or Infinity");
		return;
	}
	len = num_real_text(v, text);
	write_text(c, k, text, len);
	put_bytes(c, text, len);
}

/* --- parts of a string --- */

void
k_append(struct kcall *c)
{
	struct bh_bytes v = c->argv[2];
	struct key *k;
	size_t had;

	if (!find(c, &k))
		return;
	had = k ? k->str->len : 0;
	if (!size_fits(c, had, v.len))
		return;
	if (!k) {
		k = store(c, c->argv[1], v, false);
	} else if (v.len) {
		memcpy(key_edit(k, had + v.len) + had, v.data, v.len);
		key_changed(c, k);
	}
	put_int(c, (int64_t)(had + v.len));
}

void
k_setrange(struct kcall *c)
{
	struct bh_bytes v = c->argv[3];
	struct key *k;
	size_t had, len;
	int64_t at;

	if (!arg_number(c, 2, &at))
		return;
	if (at < 0) {
		put_error(c, "ERR offset is out of range");
		return;
	}
	if (!find(c, &k))
		return;
	had = k ? k->str->len : 0;
	if (v.len == 0) {
		put_int(c, (int64_t)had);
		return;
	}
	if (!size_fits(c, (size_t)at, v.len))
		return;
	if (!k)
		k = store(c, c->argv[1], (struct bh_bytes){"", 0}, false);
	len = (size_t)at + v.len > had ? (size_t)at + v.len : had;
	memcpy(key_edit(k, len) + at, v.data, v.len);
	key_changed(c, k);
	put_int(c, (int64_t)len);
}

void
k_getrange(struct kcall *c)
{
	int64_t start, end, len;
	struct key *k;

	if (!arg_number(c, 2, &start) || !arg_number(c, 3, &end))
		return;
	if (!find(c, &k))
		return;
	len = k ? k->str->len : 0;
	if (len == 0 || (start < 0 && end < 0 && start > end)) {
		put_bytes(c, "", 0);
		return;
	}
	if (start < 0)
		start = start < -len ? 0 : start + len;
	if (end < 0)
		end = end < -len ? 0 : end + len;
	if (end >= len)
		end = len - 1;
	if (start > end)
		put_bytes(c, "", 0);
	else
		put_bytes(c, k->str->data + start, (size_t)(end - start + 1));
}
