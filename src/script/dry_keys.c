/* SPDX-License-Identifier: MIT */
#include "script/dry_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"

struct dry_key {
	TAILQ_ENTRY(dry_key) entry;
	char *name, *value;
	size_t name_len, value_len;
};

void
dry_keys_init(struct dry_keys *k)
{
	TAILQ_INIT(k);
}

static void
key_drop(struct dry_keys *keys, struct dry_key *k)
{
	TAILQ_REMOVE(keys, k, entry);
	free(k->name);
	free(k->value);
	free(k);
}

void
dry_keys_done(struct dry_keys *keys)
{
	struct dry_key *k;

	while ((k = TAILQ_FIRST(keys)))
		key_drop(keys, k);
}

static bool
equal(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static struct dry_key *
find(struct dry_keys *keys, struct bh_bytes name)
{
	struct dry_key *k;

	TAILQ_FOREACH(k, keys, entry)
		if (equal((struct bh_bytes){k->name, k->name_len}, name))
			return k;
	return NULL;
}

static void
put(struct dry_keys *keys, struct bh_bytes name, struct bh_bytes value)
{
	struct dry_key *k = find(keys, name);

	if (k) {
		free(k->value);
	} else {
		k = xcalloc(1, sizeof(*k));
		k->name = xstrndup(name.data, name.len);
		k->name_len = name.len;
		TAILQ_INSERT_TAIL(keys, k, entry);
	}
	k->value = xstrndup(value.data, value.len);
	k->value_len = value.len;
}

static void
do_get(struct dry_keys *keys, struct ask *a)
{
	const struct dry_key *k = find(keys, a->argv[1]);

	if (k)
		resp_put_bulk(&a->reply, k->value, k->value_len);
	else
		resp_put_null(&a->reply, 3);
}

static void
do_set(struct dry_keys *keys, struct ask *a)
{
	bool nx = a->argc > 3 && str_is(a->argv[3].data, a->argv[3].len, "NX");

	if (nx && find(keys, a->argv[1])) {
		resp_put_null(&a->reply, 3);
		return;
	}
	put(keys, a->argv[1], a->argv[2]);
	resp_put_simple(&a->reply, "OK");
}

/* DEL key, or DELEX key IFEQ value */
static void
do_del(struct dry_keys *keys, struct ask *a)
{
	struct dry_key *k = find(keys, a->argv[1]);
	bool hit = k && (a->argc < 4 || equal((struct bh_bytes){k->value,
	    k->value_len}, a->argv[3]));

	if (hit)
		key_drop(keys, k);
	resp_put_int(&a->reply, hit);
}

static void
do_incrby(struct dry_keys *keys, struct ask *a)
{
	const struct dry_key *k = find(keys, a->argv[1]);
	int64_t v = 0, by = 0;
	char text[24];

	if ((k && str_int(k->value, k->value_len, &v) < 0) ||
	    str_int(a->argv[2].data, a->argv[2].len, &by) < 0 ||
	    __builtin_add_overflow(v, by, &v)) {
		resp_put_error(&a->reply, "ERR",
		    "value is not an integer or out of range");
		return;
	}
	snprintf(text, sizeof(text), "%lld", (long long)v);
	put(keys, a->argv[1], (struct bh_bytes){text, strlen(text)});
	resp_put_int(&a->reply, v);
}

static void
do_expire(struct dry_keys *keys, struct ask *a)
{
	resp_put_int(&a->reply, find(keys, a->argv[1]) != NULL);
}

static void
do_publish(struct dry_keys *keys, struct ask *a)
{
	(void)keys;
	resp_put_int(&a->reply, 0);
}

static void
put_pair(struct buf *b, const char *name, int64_t v)
{
	resp_put_bulk(b, name, strlen(name));
	resp_put_int(b, v);
}

static void
do_take(struct dry_keys *keys, struct ask *a)
{
	size_t n = (a->argc - 4) / 3;
	int64_t limit, burst;

	(void)keys;
	resp_put_map(&a->reply, 3, 2);
	resp_put_bulk(&a->reply, "allowed", 7);
	resp_put_bool(&a->reply, 3, true);
	resp_put_bulk(&a->reply, "windows", 7);
	resp_put_array(&a->reply, n);
	for (size_t i = 0; i < n; i++) {
		const struct bh_bytes *w = &a->argv[4 + 3 * i];

		limit = burst = 0;
		if (str_int(w[0].data, w[0].len, &limit) < 0 ||
		    str_int(w[2].data, w[2].len, &burst) < 0)
			burst = 0;
		resp_put_map(&a->reply, 3, 4);
		put_pair(&a->reply, "limit", limit);
		put_pair(&a->reply, "remaining", burst);
		put_pair(&a->reply, "reset_ms", 0);
		put_pair(&a->reply, "retry_ms", -1);
	}
}

static void
do_join(struct dry_keys *keys, struct ask *a)
{
	(void)keys;
	resp_put_array(&a->reply, 1);
	resp_put_bulk(&a->reply, "run", 3);
}

static void
do_refuse(struct dry_keys *keys, struct ask *a)
{
	(void)keys;
	resp_put_error(&a->reply, "ERR", "a dry run has no keys but those of"
	    " cache, session, once and lock, and of redis() GET, SET, DEL,"
	    " DELEX, INCRBY and PEXPIRE");
}

/* Of stream.*: its commands all begin so. */
static void
refuse_stream(struct dry_keys *keys, struct ask *a)
{
	(void)keys;
	resp_put_error(&a->reply, "ERR", "a dry run has no streams: use a"
	    " spec (bellhopctl test), whose store has them");
}

bool
dry_keys_answer(struct dry_keys *keys, struct ask *a)
{
	static const struct {
		const char *name;
		size_t argc;
		void (*fn)(struct dry_keys *keys, struct ask *a);
	} rows[] = {
		{"GET", 2, do_get}, {"SET", 3, do_set}, {"DEL", 2, do_del},
		{"DELEX", 2, do_del}, {"INCRBY", 3, do_incrby},
		{"PEXPIRE", 3, do_expire}, {"PUBLISH", 3, do_publish},
		{"LIMIT.TAKE", 7, do_take}, {"@JOIN", 2, do_join},
	};

	for (size_t i = 0; i < nitems(rows); i++)
		if (a->argc >= rows[i].argc && str_is(a->argv[0].data,
		    a->argv[0].len, rows[i].name)) {
			rows[i].fn(keys, a);
			return true;
		}
	if (a->argv[0].len > 1 && a->argv[0].data[0] == 'X') {
		refuse_stream(keys, a);
		return true;
	}
	if (a->what != ASK_KEYS)
		return false;
	do_refuse(keys, a);
	return true;
}
