/* SPDX-License-Identifier: MIT */
/*
 * Keys as commands of Redis that make them anew, and as rows of the local
 * store. What the rows of a type are is told in src/keys, beside the type.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>

#include "redis/mem.h"
#include "redis/move.h"

/* The numbers of the database. */
enum { STRING, LIST, SET, ZSET, HASH, STREAM, TYPES };

enum { WORDS_MAX = 512 };		/* of one command */

struct mwords *
mcommand_plain(struct mcommands *c, const char *verb)
{
	struct mwords *w;

	c->all = mem_grow(c->all, (c->n + 1) * sizeof(*c->all));
	w = &c->all[c->n++];
	*w = (struct mwords){NULL};
	mwords_str(w, verb);
	return w;
}

struct mwords *
mcommand(struct mcommands *c, const char *verb, struct bh_bytes name)
{
	struct mwords *w = mcommand_plain(c, verb);

	mwords_add(w, name.data, name.len);
	return w;
}

/* The one that is to be added to: the last one, or the next. */
static struct mwords *
more(struct mcommands *c, struct mwords *w, const char *verb,
    struct bh_bytes name)
{
	return w && w->n < WORDS_MAX ? w : mcommand(c, verb, name);
}

/* --- up --- */

/* A double's bytes, the highest first. */
static void
add_score(struct mwords *w, struct bh_bytes value)
{
	uint64_t v = 0;
	double score;
	char text[40];

	for (size_t i = 0; i < value.len; i++)
		v = v << 8 | (unsigned char)value.data[i];
	memcpy(&score, &v, sizeof(score));
	mwords_add(w, text, (size_t)snprintf(text, sizeof(text), "%.17g",
	    score));
}

static void
make_parts(struct mcommands *c, int64_t type, const struct bh_row *row,
    size_t n)
{
	static const char *const verbs[TYPES] = {
	    [LIST] = "RPUSH", [SET] = "SADD", [ZSET] = "ZADD",
	    [HASH] = "HSET"};
	struct bh_bytes name = row->cols[BH_KEY_name];
	struct mwords *w = NULL;

	for (size_t i = 1; i < n; i++) {
		struct bh_bytes part = row[i].cols[BH_KEY_PART_part];
		struct bh_bytes value = row[i].cols[BH_KEY_PART_value];

		if (row[i].table != BH_T_KEY_PART)
			continue;
		w = more(c, w, verbs[type], name);
		if (type == ZSET)
			add_score(w, value);
		if (type != LIST)
			mwords_add(w, part.data, part.len);
		if (type == HASH || type == LIST)
			mwords_add(w, value.data, value.len);
	}
}

size_t
move_key_commands(const struct bh_row *row, size_t n, bool old,
    struct mwords **ret)
{
	struct mcommands c = {NULL};
	struct bh_bytes name = row->cols[BH_KEY_name];
	int64_t type = col_int(row->cols[BH_KEY_type], STRING);
	struct mwords *w;

	if (type == STRING) {
		w = mcommand(&c, "SET", name);
		mwords_add(w, row->cols[BH_KEY_value].data,
		    row->cols[BH_KEY_value].len);
	} else if (type < STREAM) {
		make_parts(&c, type, row, n);
	} else {
		move_stream_make(&c, row, n, old);
	}
	if (c.n > 0 && row->cols[BH_KEY_expires_at].data) {
		w = mcommand(&c, "PEXPIREAT", name);
		mwords_add(w, row->cols[BH_KEY_expires_at].data,
		    row->cols[BH_KEY_expires_at].len);
	}
	*ret = c.all;
	return c.n;
}

/* --- down --- */

/* A key whose value is being asked for. */
struct dump {
	struct rmove *m;
	struct bh_bytes name;
	int type;
	int64_t left_ms;		/* -1: it does not expire */
};

void
move_keys_globs(struct rmove *m, const struct bh_bytes *keys, size_t n)
{
	for (size_t i = 0; i < m->nglobs; i++)
		free(m->globs[i]);
	m->globs = mem_grow(m->globs, n * sizeof(*m->globs));
	m->nglobs = n;
	for (size_t i = 0; i < n; i++)
		m->globs[i] = mem_copy(keys[i].data, keys[i].len);
	m->glob_at = 0;
	snprintf(m->cursor, sizeof(m->cursor), "0");
}

static void
page_done(struct rmove *m)
{
	if (m->under_way > 0)
		return;
	if (m->failed) {
		m->failed = false;
	} else if (m->rows.n > 0) {
		m->local.rows = m->rows.all;
		m->local.nrows = m->rows.n;
		move_local(m, BH_LOCAL_WRITE);
	} else {
		move_keys_next(m);
	}
	m->be->host->wake();
}

static void
dump_free(struct dump *d)
{
	free((void *)(uintptr_t)d->name.data);
	free(d);
}

/* The place of an element of a list: ascending, with room between. */
static void
set_place(struct bh_bytes *col, uint64_t i)
{
	uint64_t v = (i << 16) ^ UINT64_C(1) << 63;
	char text[8];

	for (int k = 7; k >= 0; k--, v >>= 8)
		text[k] = (char)v;
	row_set(col, text, sizeof(text));
}

static void
set_reply(struct bh_bytes *col, const struct redisReply *r)
{
	row_set(col, r->str ? r->str : "", r->str ? r->len : 0);
}

static void
set_score(struct bh_bytes *col, const struct redisReply *r)
{
	double score = r->str ? strtod(r->str, NULL) : 0;
	uint64_t v;
	char text[8];

	memcpy(&v, &score, sizeof(v));
	for (int k = 7; k >= 0; k--, v >>= 8)
		text[k] = (char)v;
	row_set(col, text, sizeof(text));
}

static void
part_rows(struct dump *d, const struct redisReply *r)
{
	size_t step = d->type == HASH || d->type == ZSET ? 2 : 1;

	for (size_t i = 0; i + step <= r->elements; i += step) {
		struct bh_bytes *c = row_new(&d->m->rows, BH_T_KEY_PART);

		if (d->type == LIST) {
			set_place(&c[BH_KEY_PART_part], i);
			set_reply(&c[BH_KEY_PART_value], r->element[i]);
			continue;
		}
		set_reply(&c[BH_KEY_PART_part], r->element[i]);
		if (d->type == ZSET)
			set_score(&c[BH_KEY_PART_value], r->element[i + 1]);
		else if (step == 2)
			set_reply(&c[BH_KEY_PART_value], r->element[i + 1]);
	}
}

static void
on_value(void *arg, struct redisReply *r)
{
	struct dump *d = arg;
	struct rmove *m = d->m;
	struct bh_bytes *c;

	if (move_reply(m, r) && r->type != REDIS_REPLY_NIL &&
	    (d->type == STRING || r->elements > 0)) {
		c = row_new(&m->rows, BH_T_KEY);
		row_set(&c[BH_KEY_name], d->name.data, d->name.len);
		row_set_int(&c[BH_KEY_type], d->type);
		row_set(&c[BH_KEY_value], "", 0);
		if (d->left_ms >= 0)
			row_set_int(&c[BH_KEY_expires_at], m->be->wall_ms +
			    d->left_ms);
		if (d->type == STRING) {
			free((void *)(uintptr_t)c[BH_KEY_value].data);
			set_reply(&c[BH_KEY_value], r);
		} else {
			part_rows(d, r);
		}
		mwords_add(&m->drop, d->name.data, d->name.len);
	}
	dump_free(d);
	page_done(m);
}

static void
on_ttl(void *arg, struct redisReply *r)
{
	struct dump *d = arg;

	if (r && r->type == REDIS_REPLY_INTEGER)
		d->left_ms = r->integer;
}

static void
ask_value(struct dump *d)
{
	static const char *const asks[TYPES][4] = {
	    [STRING] = {"GET"}, [LIST] = {"LRANGE", "0", "-1"},
	    [SET] = {"SMEMBERS"}, [HASH] = {"HGETALL"},
	    [ZSET] = {"ZRANGE", "0", "-1", "WITHSCORES"}};
	struct mwords w = {NULL};

	mwords_str(&w, "PTTL");
	mwords_add(&w, d->name.data, d->name.len);
	(void)rlink_send(d->m->be->main, (int)w.n, w.argv, w.lens, on_ttl, d);
	mwords_done(&w);
	mwords_str(&w, asks[d->type][0]);
	mwords_add(&w, d->name.data, d->name.len);
	for (size_t i = 1; i < 4 && asks[d->type][i]; i++)
		mwords_str(&w, asks[d->type][i]);
	d->m->under_way++;
	if (!rlink_send(d->m->be->main, (int)w.n, w.argv, w.lens, on_value,
	    d))
		on_value(d, NULL);
	mwords_done(&w);
}

static void
on_type(void *arg, struct redisReply *r)
{
	static const char *const names[TYPES] = {"string", "list", "set",
	    "zset", "hash", "stream"};
	struct dump *d = arg;
	struct rmove *m = d->m;

	if (move_reply(m, r) && r->str) {
		for (int t = 0; t < STREAM; t++) {
			if (strcmp(r->str, names[t]) != 0)
				continue;
			d->type = t;
			ask_value(d);
			return;
		}
		if (strcmp(r->str, "none") != 0)
			move_tell(m, BH_LOG_WARN, "the key '%.100s' is a %s"
			    " and stays in Redis", d->name.data, r->str);
	}
	dump_free(d);
	page_done(m);
}

/* The backend's own, and those that the keyspace here would not keep. */
static bool
stays(const struct rmove *m, struct bh_bytes name)
{
	const char *prefix = m->be->config.prefix;
	char *const *list = m->be->host->option_list("keys.volatile");
	size_t len = strlen(prefix);

	if (name.len >= len && memcmp(name.data, prefix, len) == 0)
		return true;
	for (; *list; list++)
		if (name.len >= strlen(*list) &&
		    memcmp(name.data, *list, strlen(*list)) == 0)
			return true;
	return false;
}

static void
ask_type(struct rmove *m, struct bh_bytes name)
{
	struct dump *d = mem_new(sizeof(*d));
	const char *argv[] = {"TYPE", NULL};
	size_t lens[] = {4, name.len};

	d->m = m;
	d->name = (struct bh_bytes){mem_copy(name.data, name.len), name.len};
	d->left_ms = -1;
	argv[1] = d->name.data;
	m->under_way++;
	if (!rlink_send(m->be->main, 2, argv, lens, on_type, d))
		on_type(d, NULL);
}

static void
on_page(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;

	if (!move_reply(m, r) || r->type != REDIS_REPLY_ARRAY ||
	    r->elements < 2)
		return;
	snprintf(m->next_cursor, sizeof(m->next_cursor), "%s",
	    r->element[0]->str);
	mwords_done(&m->drop);
	mwords_str(&m->drop, "UNLINK");
	m->under_way++;			/* until all have been asked for */
	for (size_t i = 0; i < r->element[1]->elements; i++) {
		const struct redisReply *k = r->element[1]->element[i];
		struct bh_bytes name = {k->str, k->len};

		if (!stays(m, name))
			ask_type(m, name);
	}
	m->under_way--;
	page_done(m);
}

void
move_keys_ask(struct rmove *m)
{
	if (m->glob_at == m->nglobs) {
		move_keys_done(m);
		return;
	}
	m->under_way++;
	if (!rlink_sendv(m->be->main, on_page, m, "SCAN", m->cursor, "MATCH",
	    m->globs[m->glob_at], "COUNT", "200", NULL))
		m->under_way--;
}

void
move_keys_next(struct rmove *m)
{
	snprintf(m->cursor, sizeof(m->cursor), "%s", m->next_cursor);
	if (strcmp(m->cursor, "0") == 0)
		m->glob_at++;
}

void
move_keys_drop(struct rmove *m, rlink_reply_fn *fn)
{
	m->under_way++;
	if (!rlink_send(m->be->main, (int)m->drop.n, m->drop.argv,
	    m->drop.lens, fn, m))
		fn(m, NULL);
}
