/* SPDX-License-Identifier: MIT */
/*
 * What is written down of durable keys, and read back.
 *
 * A key that differs from its row (a string, a name, an expiry) is dirty until
 * the end of the turn; parts of other values are records at once. While a walk
 * is under way nothing is given to the journal: what it writes commits as a
 * whole, when it has ended.
 */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "keys/part.h"

/* Rows of one key that a single record may delete. */
enum { PARTS_AT_ONCE = JKEY_PARTS_AT_ONCE };

struct held {
	struct jrec rec;
	char *strings;
};

/* --- records --- */

static void
hold(struct keys *ks, const struct jrec *r)
{
	struct held *h;
	size_t n = r->kind == JR_KEY_PART_SET || r->kind == JR_KEY_PART_DEL ?
	    r->u.part.part.len + r->u.part.value.len : 0;

	if (ks->nheld == ks->held_cap) {
		ks->held_cap = ks->held_cap ? ks->held_cap * 2 : 64;
		ks->held = xrealloc(ks->held, ks->held_cap * sizeof(*h));
	}
	h = &ks->held[ks->nheld++];
	h->rec = *r;
	h->strings = NULL;
	if (n == 0)
		return;
	h->strings = xmalloc(n);
	if (r->u.part.part.len)
		memcpy(h->strings, r->u.part.part.data, r->u.part.part.len);
	if (r->u.part.value.len)
		memcpy(h->strings + r->u.part.part.len, r->u.part.value.data,
		    r->u.part.value.len);
	h->rec.u.part.part.data = h->strings;
	if (r->u.part.value.data)
		h->rec.u.part.value.data = h->strings + r->u.part.part.len;
}

/* Answers with its LSN; 0: it is held until the walk's end. */
static uint64_t
append(struct keys *ks, const struct jrec *r)
{
	if (!ks->walk)
		return journal_append(ks->journal, r);
	hold(ks, r);
	return 0;
}

static void write_row(struct keys *ks, struct key *k);

static void
held_end(struct keys *ks)
{
	ks->nheld = ks->nwritten = 0;
	if (ks->held_cap > SLICE_KEYS) {
		free(ks->held);
		ks->held = NULL;
		ks->held_cap = 0;
	}
}

static void
dirty_end(struct keys *ks)
{
	ks->ndirty = ks->nrows = 0;
	if (ks->dirty_cap > SLICE_KEYS) {
		free(ks->dirty);
		ks->dirty = NULL;
		ks->dirty_cap = 0;
	}
}

/* Both lists, from the front; they are longer than a slice only here. */
bool
disk_walk_ended(struct keys *ks)
{
	int left = SLICE_KEYS;

	for (; ks->nwritten < ks->nheld && left > 0; left--) {
		struct held *h = &ks->held[ks->nwritten++];

		ks->floor_lsn = journal_append(ks->journal, &h->rec);
		free(h->strings);
	}
	for (; ks->nwritten == ks->nheld && ks->nrows < ks->ndirty &&
	    left > 0; left--) {
		if (ks->dirty[ks->nrows])
			write_row(ks, ks->dirty[ks->nrows]);
		ks->nrows++;
	}
	if (ks->nwritten < ks->nheld || ks->nrows < ks->ndirty)
		return true;
	held_end(ks);
	dirty_end(ks);
	return false;
}

void
disk_part(struct kcall *c, struct key *k, enum jrec_kind kind,
    struct bh_bytes part, struct bh_bytes value)
{
	struct jrec r = {.kind = (uint8_t)kind, .id = k->id};
	uint64_t lsn;

	r.u.part.part = part;
	r.u.part.value = value;
	lsn = append(c->ks, &r);
	if (lsn)
		k->lsn = c->lsn = lsn;
	else
		c->dirty = true;
	k->stored = true;
}

void
disk_part_early(struct keys *ks, int64_t id, struct bh_bytes part,
    struct bh_bytes value)
{
	struct jrec r = {.kind = JR_KEY_PART_SET, .id = id};

	r.u.part.part = part;
	r.u.part.value = value;
	journal_append(ks->journal, &r);
}

void
disk_dirty(struct kcall *c, struct key *k)
{
	struct keys *ks = c->ks;

	c->dirty = true;
	if (k->dirty)
		return;
	if (ks->ndirty == ks->dirty_cap) {
		ks->dirty_cap = ks->dirty_cap ? ks->dirty_cap * 2 : 64;
		ks->dirty = xrealloc(ks->dirty,
		    ks->dirty_cap * sizeof(struct key *));
	}
	ks->dirty[ks->ndirty++] = k;
	k->dirty = (uint32_t)ks->ndirty;
}

static void
orphan_add(struct keys *ks, int64_t id, size_t parts)
{
	if (ks->norphans == ks->orphans_cap) {
		ks->orphans_cap = ks->orphans_cap ? ks->orphans_cap * 2 : 8;
		ks->orphans = xrealloc(ks->orphans,
		    ks->orphans_cap * sizeof(*ks->orphans));
	}
	ks->orphans[ks->norphans++] = (struct orphan){id, parts};
}

void
disk_gone(struct keys *ks, struct key *k, size_t parts)
{
	struct jrec r = {.kind = JR_KEY_DEL, .id = k->id};
	uint64_t lsn;

	if (k->dirty)
		ks->dirty[k->dirty - 1] = NULL;
	if (!k->stored)
		return;
	r.u.parts = parts > 0;
	lsn = append(ks, &r);
	if (lsn)
		ks->gone_lsn = lsn;
	if (parts > PARTS_AT_ONCE)
		orphan_add(ks, k->id, parts - PARTS_AT_ONCE);
}

void
disk_clear(struct keys *ks)
{
	struct jrec r = {.kind = JR_KEY_CLEAR};
	uint64_t lsn = append(ks, &r);

	if (lsn)
		ks->gone_lsn = lsn;
	ks->norphans = 0;
}

void
disk_forget_dirty(struct keys *ks)
{
	ks->ndirty = 0;
}

static void
write_row(struct keys *ks, struct key *k)
{
	struct jrec r = {.kind = JR_KEY_SET, .id = k->id};

	r.u.key.name = key_name(k);
	r.u.key.type = (uint8_t)key_type_of(k);
	r.u.key.expires_at = key_expiry(k);
	r.u.key.value = key_type_of(k) == KEY_STRING ? val_bytes(k->str) :
	    (struct bh_bytes){"", 0};
	k->lsn = journal_append(ks->journal, &r);
	k->stored = true;
	k->dirty = 0;
}

/* A slice of the parts of keys that are gone. */
static void
delete_orphans(struct keys *ks)
{
	struct orphan *o = &ks->orphans[ks->norphans - 1];
	struct jrec r = {.kind = JR_KEY_DEL, .id = o->id};

	r.u.parts = true;
	journal_append(ks->journal, &r);
	if (o->parts <= PARTS_AT_ONCE)
		ks->norphans--;
	else
		o->parts -= PARTS_AT_ONCE;
}

void
disk_write_down(struct keys *ks)
{
	if (ks->walk)
		return;
	for (size_t i = 0; i < ks->ndirty; i++)
		if (ks->dirty[i])
			write_row(ks, ks->dirty[i]);
	dirty_end(ks);
	if (ks->norphans > 0)
		delete_orphans(ks);
}

void
disk_done(struct keys *ks)
{
	for (size_t i = ks->nwritten; i < ks->nheld; i++)
		free(ks->held[i].strings);
	free(ks->held);
	free(ks->dirty);
	free(ks->orphans);
}

/* --- reading back --- */

/* Keys come by id, then their parts by id and part. */
struct loading {
	struct keys *ks;
	struct key **keys;		/* those that have parts */
	size_t n, cap;
	size_t at;			/* whose parts are being read */
	int64_t lost;			/* a key that is gone, of parts … */
	size_t nlost;			/* … so many as have been read */
};

static void
on_row(void *arg, const struct jkey_row *row)
{
	struct loading *l = arg;
	struct key *k = key_restore(l->ks, row);

	if (row->type == KEY_STRING)
		return;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->keys = xrealloc(l->keys, l->cap * sizeof(struct key *));
	}
	l->keys[l->n++] = k;
}

static void
lost_end(struct loading *l)
{
	if (l->nlost > 0)
		orphan_add(l->ks, l->lost, l->nlost);
	l->nlost = 0;
}

static void
on_part(void *arg, const struct jkey_part_row *row)
{
	struct loading *l = arg;
	struct key *k;

	while (l->at < l->n && l->keys[l->at]->id < row->id)
		l->at++;
	k = l->at < l->n ? l->keys[l->at] : NULL;
	if (k && k->id == row->id) {
		key_types[key_type_of(k)]->load_part(k->obj, row->part,
		    row->value);
		return;
	}
	if (row->id != l->lost)
		lost_end(l);
	l->lost = row->id;
	l->nlost++;
}

int
disk_load(struct keys *ks, struct err *e)
{
	static const struct jvisitor visitor = {.key = on_row,
	    .key_part = on_part};
	struct loading l = {.ks = ks};
	int rc = journal_recover(ks->journal, &visitor, &l, e);

	lost_end(&l);
	for (size_t i = 0; i < l.n; i++)
		key_restored(ks, l.keys[i]);
	free(l.keys);
	return rc;
}
