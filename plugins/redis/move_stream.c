/* SPDX-License-Identifier: MIT */
/*
 * A stream's rows (what they are is told in src/keys/stream_type.c) as the
 * commands that make it anew: its entries, its last id, its groups with their
 * consumers and what these have not acknowledged.
 */
#include <inttypes.h>

#include "redis/mem.h"
#include "redis/move.h"

enum { ROW_META = 1, ROW_ENTRY, ROW_GROUP, ROW_CONSUMER, ROW_PENDING };

struct sid {
	uint64_t ms, seq;
};

/* A group's or a consumer's name by its number. */
struct named {
	uint64_t group, number;
	struct bh_bytes name;
};

struct making {
	struct bh_bytes key;
	bool old;			/* Redis 6.2 */
	struct mcommands *out;
	struct sid last, deleted;
	uint64_t added;
	struct named *names;
	size_t nnames;
	size_t entries;
	bool closed;			/* the last id has been set */
};

/* --- reading --- */

static uint64_t
take_be(struct bh_bytes *b, size_t n)
{
	uint64_t v = 0;

	for (; n > 0 && b->len > 0; n--, b->len--)
		v = v << 8 | (unsigned char)*b->data++;
	return v;
}

static uint64_t
take_varint(struct bh_bytes *b)
{
	uint64_t v = 0;
	int shift = 0;

	while (b->len > 0 && shift < 64) {
		unsigned char c = (unsigned char)*b->data++;

		b->len--;
		v |= (uint64_t)(c & 127) << shift;
		if (!(c & 128))
			break;
		shift += 7;
	}
	return v;
}

static struct bh_bytes
take_counted(struct bh_bytes *b)
{
	struct bh_bytes v;

	v.len = take_varint(b);
	if (v.len > b->len)
		v.len = b->len;
	v.data = b->data;
	b->data += v.len;
	b->len -= v.len;
	return v;
}

static bool
past(struct sid a, struct sid b)
{
	return a.ms > b.ms || (a.ms == b.ms && a.seq > b.seq);
}

/* --- commands --- */

static void
add_sid(struct mwords *w, struct sid id)
{
	char text[48];

	mwords_add(w, text, (size_t)snprintf(text, sizeof(text),
	    "%" PRIu64 "-%" PRIu64, id.ms, id.seq));
}

static void
make_entry(struct making *k, struct bh_bytes part, struct bh_bytes v)
{
	struct mwords *w = mcommand(k->out, "XADD", k->key);
	struct sid id = {.ms = take_be(&part, 8)};
	uint64_t added = take_varint(&v), n = take_varint(&v);

	id.seq = take_be(&part, 8);
	add_sid(w, id);
	for (; n > 0; n--) {
		struct bh_bytes word = take_counted(&v);

		mwords_add(w, word.data, word.len);
	}
	k->entries++;
	if (past(id, k->last)) {
		k->last = id;
		k->added = added;
	}
}

/* After the entries, before the groups. */
static void
close_entries(struct making *k)
{
	struct mwords *w;

	if (k->closed)
		return;
	k->closed = true;
	if (k->entries == 0) {
		w = mcommand(k->out, "XADD", k->key);
		mwords_str(w, "MAXLEN");
		mwords_str(w, "0");
		add_sid(w, k->last.ms || k->last.seq ? k->last :
		    (struct sid){0, 1});
		mwords_str(w, "x");
		mwords_str(w, "x");
	}
	if (!k->last.ms && !k->last.seq)
		return;
	w = mcommand(k->out, "XSETID", k->key);
	add_sid(w, k->last);
	if (k->old)
		return;
	mwords_str(w, "ENTRIESADDED");
	mwords_int(w, (int64_t)k->added);
	mwords_str(w, "MAXDELETEDID");
	add_sid(w, k->deleted);
}

static void
remember(struct making *k, uint64_t group, uint64_t number,
    struct bh_bytes name)
{
	k->names = mem_grow(k->names, (k->nnames + 1) * sizeof(*k->names));
	k->names[k->nnames++] = (struct named){group, number, name};
}

/* number 0: the group itself; consumers' numbers are told by one more. */
static struct bh_bytes
name_of(const struct making *k, uint64_t group, uint64_t number)
{
	for (size_t i = 0; i < k->nnames; i++)
		if (k->names[i].group == group &&
		    k->names[i].number == number)
			return k->names[i].name;
	return (struct bh_bytes){NULL, 0};
}

static struct mwords *
xgroup(struct making *k, const char *what, struct bh_bytes group)
{
	struct mwords *w = mcommand_plain(k->out, "XGROUP");

	mwords_str(w, what);
	mwords_add(w, k->key.data, k->key.len);
	mwords_add(w, group.data, group.len);
	return w;
}

static void
make_group(struct making *k, struct bh_bytes part, struct bh_bytes v)
{
	uint64_t number = take_be(&part, 4), read;
	struct sid last = {.ms = take_varint(&v)};
	struct mwords *w;

	last.seq = take_varint(&v);
	read = take_varint(&v);
	remember(k, number, 0, v);
	w = xgroup(k, "CREATE", v);
	add_sid(w, last);
	if (k->old || read == 0)
		return;
	mwords_str(w, "ENTRIESREAD");
	mwords_int(w, (int64_t)read - 1);
}

static void
make_consumer(struct making *k, struct bh_bytes part, struct bh_bytes v)
{
	uint64_t group = take_be(&part, 4), number = take_be(&part, 4);
	struct mwords *w;

	(void)take_varint(&v);
	remember(k, group, number + 1, v);
	w = xgroup(k, "CREATECONSUMER", name_of(k, group, 0));
	mwords_add(w, v.data, v.len);
}

static void
make_pending(struct making *k, struct bh_bytes part, struct bh_bytes v)
{
	struct mwords *w = mcommand(k->out, "XCLAIM", k->key);
	uint64_t group = take_be(&part, 4), who = take_varint(&v);
	struct bh_bytes name = name_of(k, group, 0);
	struct sid id = {.ms = take_be(&part, 8)};

	id.seq = take_be(&part, 8);
	mwords_add(w, name.data, name.len);
	name = name_of(k, group, who + 1);
	mwords_add(w, name.data, name.len);
	mwords_str(w, "0");
	add_sid(w, id);
	mwords_str(w, "TIME");
	mwords_int(w, (int64_t)take_varint(&v));
	mwords_str(w, "RETRYCOUNT");
	mwords_int(w, (int64_t)take_varint(&v));
	mwords_str(w, "FORCE");
	mwords_str(w, "JUSTID");
}

static void
make_row(struct making *k, struct bh_bytes part, struct bh_bytes v)
{
	int row = (int)take_be(&part, 1);

	if (row >= ROW_GROUP)
		close_entries(k);
	switch (row) {
	case ROW_META:
		k->last.ms = take_varint(&v);
		k->last.seq = take_varint(&v);
		k->deleted.ms = take_varint(&v);
		k->deleted.seq = take_varint(&v);
		k->added = take_varint(&v);
		break;
	case ROW_ENTRY:
		make_entry(k, part, v);
		break;
	case ROW_GROUP:
		make_group(k, part, v);
		break;
	case ROW_CONSUMER:
		make_consumer(k, part, v);
		break;
	case ROW_PENDING:
		make_pending(k, part, v);
		break;
	}
}

void
move_stream_make(struct mcommands *out, const struct bh_row *row, size_t n,
    bool old)
{
	struct making k = {.key = row->cols[BH_KEY_name], .out = out,
	    .old = old};

	for (size_t i = 1; i < n; i++)
		if (row[i].table == BH_T_KEY_PART)
			make_row(&k, row[i].cols[BH_KEY_PART_part],
			    row[i].cols[BH_KEY_PART_value]);
	close_entries(&k);
	free(k.names);
}
