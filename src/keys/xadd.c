/* SPDX-License-Identifier: MIT */
/* Commands that add entries to a stream and take them away. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/stream.h"

enum trim_how { TRIM_NONE, TRIM_LEN, TRIM_ID };

/* The words of XADD and XTRIM before the id. */
struct trim {
	struct key *k;
	enum trim_how how;
	int64_t maxlen, limit, done;	/* limit 0: none */
	struct sid minid;
	bool about, limit_given;	/* ~, which trims no less */
	bool no_make;
	bool id_given, seq_auto;
	struct sid id;
};

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static bool
is_char(struct bh_bytes v, char ch)
{
	return v.len == 1 && v.data[0] == ch;
}

/* MAXLEN or MINID at argv[*i], to its value. */
static bool
parse_how(struct kcall *c, size_t *i, struct trim *t, enum trim_how how)
{
	if (t->how != TRIM_NONE) {
		put_error(c, "ERR syntax error, MAXLEN and MINID options at"
		    " the same time are not compatible");
		return false;
	}
	t->about = false;
	if (*i + 2 < c->argc && (is_char(c->argv[*i + 1], '~') ||
	    is_char(c->argv[*i + 1], '=')))
		t->about = c->argv[++*i].data[0] == '~';
	++*i;
	t->how = how;
	if (how == TRIM_ID)
		return arg_sid(c, c->argv[*i], 0, true, &t->minid);
	if (!arg_number(c, *i, &t->maxlen))
		return false;
	if (t->maxlen >= 0)
		return true;
	put_error(c, "ERR The MAXLEN argument must be >= 0.");
	return false;
}

static bool
parse_limit(struct kcall *c, size_t i, struct trim *t)
{
	if (!arg_number(c, i, &t->limit))
		return false;
	t->limit_given = true;
	if (t->limit >= 0)
		return true;
	put_error(c, "ERR The LIMIT argument must be >= 0.");
	return false;
}

/* How the options fit together. */
static bool
trim_is_sound(struct kcall *c, const struct trim *t, bool add)
{
	if (t->limit && t->how == TRIM_NONE)
		put_error(c, "ERR syntax error, LIMIT cannot be used without"
		    " specifying a trimming strategy");
	else if (!add && t->how == TRIM_NONE)
		put_error(c, "ERR syntax error, XTRIM must be called with a"
		    " trimming strategy");
	else if (t->limit_given && !t->about)
		put_error(c, "ERR syntax error, LIMIT cannot be used without"
		    " the special ~ option");
	else
		return true;
	return false;
}

/* 0: the answer is an error; else where the id of XADD stands. */
static size_t
parse(struct kcall *c, struct trim *t, bool add)
{
	size_t i;

	for (i = 2; i < c->argc; i++) {
		struct bh_bytes w = c->argv[i];
		bool more = i + 1 < c->argc;

		if (add && is_char(w, '*'))
			break;
		if (more && (is(w, "MAXLEN") || is(w, "MINID"))) {
			if (!parse_how(c, &i, t, is(w, "MINID") ? TRIM_ID :
			    TRIM_LEN))
				return 0;
		} else if (more && is(w, "LIMIT")) {
			if (!parse_limit(c, ++i, t))
				return 0;
		} else if (add && is(w, "NOMKSTREAM")) {
			t->no_make = true;
		} else if (add) {
			t->id_given = true;
			if (!arg_sid_auto(c, w, &t->id, &t->seq_auto))
				return 0;
			break;
		} else {
			put_syntax(c);
			return 0;
		}
	}
	return trim_is_sound(c, t, add) ? i : 0;
}

/* --- trimming --- */

/* Unless the newest entry tells what meta would. */
static void
keep_meta(struct kcall *c, struct key *k)
{
	const struct stream *s = stream_of(k);
	struct sid top = stream_top_id(s);
	struct bh_bytes data;

	if (s->length > 0 && sid_cmp(top, s->last_id) == 0) {
		data = stream_data(s, stream_from(s, top));
		if (varint_get(&data) == s->added)
			return;
	}
	row_meta(c, k);
}

static bool
goes(const struct stream *s, const struct trim *t)
{
	if (s->length == 0 || (t->limit > 0 && t->done == t->limit))
		return false;
	if (t->how == TRIM_LEN)
		return s->length > (size_t)t->maxlen;
	return t->how == TRIM_ID &&
	    sid_cmp(stream_first_id(s), t->minid) < 0;
}

static bool
trim_step(struct kcall *c)
{
	struct trim *t = c->state;
	struct stream *s = stream_of(t->k);
	int left;

	for (left = SLICE_ENTRIES; left > 0 && goes(s, t); left--) {
		struct sid id = stream_first_id(s);

		stream_delete(s, id);
		row_entry_gone(c, t->k, id);
		t->done++;
	}
	if (left == 0 && goes(s, t))
		return true;
	if (t->done > 0)
		keep_meta(c, t->k);
	if (c->n)
		put_int(c, t->done);
	key_settled(c, t->k);
	return false;
}

/* count: the answer is how many have gone. */
static void
trim(struct kcall *c, const struct trim *t, bool count)
{
	c->state = xmemdup(t, sizeof(*t));
	c->drop = free;
	c->n = count;
	if (goes(stream_of(t->k), t))
		c->step = trim_step;
	else
		trim_step(c);
}

/* --- XADD --- */

static bool
next_auto(const struct stream *s, int64_t wall_ms, struct sid *ret)
{
	*ret = (struct sid){wall_ms > 0 ? (uint64_t)wall_ms : 0, 0};
	if (ret->ms > s->last_id.ms)
		return true;
	*ret = s->last_id;
	return sid_next(ret);
}

/* The id of a new entry; false: the answer is an error. */
static bool
next_id(struct kcall *c, const struct stream *s, const struct trim *t,
    struct sid *ret)
{
	bool fits = true;

	if (sid_cmp(s->last_id, SID_MAX) == 0) {
		put_error(c, "ERR The stream has exhausted the last possible"
		    " ID, unable to add more items");
		return false;
	}
	*ret = t->id;
	if (!t->id_given)
		fits = next_auto(s, c->ks->wall_ms, ret);
	else if (t->seq_auto && t->id.ms == s->last_id.ms)
		fits = (ret->seq = s->last_id.seq + 1) != 0;
	if (fits && sid_cmp(*ret, s->last_id) > 0)
		return true;
	put_error(c, "ERR The ID specified in XADD is equal or smaller than"
	    " the target stream top item");
	return false;
}

static void
add(struct kcall *c, struct trim *t, size_t at)
{
	static const struct stream none;
	size_t n = c->argc - at;
	struct sid id;

	if (stream_entry_size(c->argv + at, n) > KEYS_VALUE_MAX) {
		put_error(c, "ERR Elements are too large to be stored");
		return;
	}
	if (!next_id(c, t->k ? stream_of(t->k) : &none, t, &id))
		return;
	if (!t->k)
		t->k = key_make(c, c->argv[1], KEY_STREAM);
	row_entry(c, t->k, id, stream_append(stream_of(t->k), id,
	    c->argv + at, n));
	put_sid(c, id);
	trim(c, t, false);
}

/* XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] n [LIMIT n]] id field value … */
void
k_xadd(struct kcall *c)
{
	struct trim t = {.how = TRIM_NONE};
	size_t at = parse(c, &t, true);

	if (!at)
		return;
	if (at >= c->argc || c->argc - at < 3 || (c->argc - at) % 2 == 0) {
		put_error(c, "ERR wrong number of arguments for 'xadd'"
		    " command");
		return;
	}
	if (t.id_given && !t.seq_auto && sid_zero(t.id)) {
		put_error(c, "ERR The ID specified in XADD must be greater"
		    " than 0-0");
		return;
	}
	if (!key_find_as(c, c->argv[1], KEY_STREAM, &t.k))
		return;
	if (!t.k && t.no_make)
		put_null(c);
	else
		add(c, &t, at + 1);
}

void
k_xtrim(struct kcall *c)
{
	struct trim t = {.how = TRIM_NONE};

	if (!parse(c, &t, false) ||
	    !key_find_as(c, c->argv[1], KEY_STREAM, &t.k))
		return;
	if (!t.k)
		put_int(c, 0);
	else
		trim(c, &t, true);
}

/* --- the others --- */

void
k_xlen(struct kcall *c)
{
	struct key *k;

	if (key_find_as(c, c->argv[1], KEY_STREAM, &k))
		put_int(c, k ? (int64_t)stream_of(k)->length : 0);
}

void
k_xdel(struct kcall *c)
{
	struct key *k;
	struct stream *s;
	struct sid id;
	int64_t n = 0;

	if (!key_find_as(c, c->argv[1], KEY_STREAM, &k))
		return;
	if (!k) {
		put_int(c, 0);
		return;
	}
	if (!args_are_sids(c, 2, c->argc))
		return;
	s = stream_of(k);
	for (size_t i = 2; i < c->argc; i++) {
		if (!arg_sid(c, c->argv[i], 0, true, &id) ||
		    !stream_delete(s, id))
			continue;
		row_entry_gone(c, k, id);
		if (sid_cmp(id, s->max_deleted) > 0)
			s->max_deleted = id;
		n++;
	}
	if (n > 0)
		row_meta(c, k);
	put_int(c, n);
	key_settled(c, k);
}

/* --- XSETID --- */

struct setid {
	struct sid id, deleted;
	bool deleted_given;
	int64_t added;			/* -1 not said */
};

static bool
parse_setid(struct kcall *c, struct setid *o)
{
	if (!arg_sid(c, c->argv[2], 0, true, &o->id))
		return false;
	for (size_t i = 3; i < c->argc; i += 2) {
		if (i + 1 < c->argc && is(c->argv[i], "ENTRIESADDED")) {
			if (!arg_number(c, i + 1, &o->added))
				return false;
			if (o->added < 0) {
				put_error(c, "ERR entries_added must be"
				    " positive");
				return false;
			}
		} else if (i + 1 < c->argc && is(c->argv[i], "MAXDELETEDID")) {
			if (!arg_sid(c, c->argv[i + 1], 0, true, &o->deleted))
				return false;
			o->deleted_given = true;
			if (sid_cmp(o->id, o->deleted) < 0) {
				put_error(c, "ERR The ID specified in XSETID"
				    " is smaller than the provided"
				    " max_deleted_entry_id");
				return false;
			}
		} else {
			put_syntax(c);
			return false;
		}
	}
	return true;
}

static bool
setid_fits(struct kcall *c, const struct stream *s, const struct setid *o)
{
	if (s->length == 0)
		return true;
	if (sid_cmp(o->id, stream_top_id(s)) < 0)
		put_error(c, "ERR The ID specified in XSETID is smaller than"
		    " the target stream top item");
	else if (o->added != -1 && s->length > (size_t)o->added)
		put_error(c, "ERR The entries_added specified in XSETID is"
		    " smaller than the target stream length");
	else
		return true;
	return false;
}

void
k_xsetid(struct kcall *c)
{
	struct setid o = {.added = -1};
	struct stream *s;
	struct key *k;

	if (!parse_setid(c, &o) ||
	    !key_find_as(c, c->argv[1], KEY_STREAM, &k))
		return;
	if (!k) {
		put_error(c, "ERR no such key");
		return;
	}
	s = stream_of(k);
	if (!setid_fits(c, s, &o))
		return;
	s->last_id = o.id;
	if (o.added != -1)
		s->added = (uint64_t)o.added;
	if (o.deleted_given && !sid_zero(o.deleted))
		s->max_deleted = o.deleted;
	row_meta(c, k);
	put_ok(c);
	key_settled(c, k);
}
