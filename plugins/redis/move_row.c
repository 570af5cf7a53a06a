/* SPDX-License-Identifier: MIT */
#include <hiredis/hiredis.h>
#include <inttypes.h>

#include "redis/mem.h"
#include "redis/move.h"
#include "redis/record.h"

#define X(table, column, type) " " #column
#define SENTENCE(table, name, parent)                                        \
	"columns('" #table "', '" BH_COLS_##table(X) "')\n"
const char rmove_columns[] =
    "local NAMES = {}\n"
    "local function columns(row, text)\n"
    "	local t = {}\n"
    "	for name in string.gmatch(text, '%S+') do t[#t + 1] = name end\n"
    "	NAMES[row] = t\n"
    "end\n"
    BH_TABLES(SENTENCE);
#undef SENTENCE
#undef X

static const struct {
	const char *name;
	size_t ncols;
} tables[BH_TABLE_COUNT] = {
#define X(table, name, parent) [BH_T_##table] = {#table, BH_##table##_COLS},
	BH_TABLES(X)
#undef X
};

size_t
row_ncols(enum bh_table table)
{
	return tables[table].ncols;
}

const char *
row_name(enum bh_table table)
{
	return tables[table].name;
}

/* --- words --- */

/* For len bytes; the caller fills them. */
static char *
mwords_room(struct mwords *w, size_t len)
{
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->argv = mem_grow(w->argv, w->cap * sizeof(*w->argv));
		w->lens = mem_grow(w->lens, w->cap * sizeof(*w->lens));
		w->own = mem_grow(w->own, w->cap * sizeof(*w->own));
	}
	w->own[w->n] = mem_checked(malloc(len + 1));
	w->own[w->n][len] = '\0';
	w->argv[w->n] = w->own[w->n];
	w->lens[w->n] = len;
	return w->own[w->n++];
}

void
mwords_add(struct mwords *w, const void *data, size_t len)
{
	char *p = mwords_room(w, len);

	if (len > 0)
		memcpy(p, data, len);
}

void
mwords_str(struct mwords *w, const char *s)
{
	mwords_add(w, s, strlen(s));
}

void
mwords_int(struct mwords *w, int64_t v)
{
	char text[24];

	mwords_add(w, text, (size_t)snprintf(text, sizeof(text), "%" PRId64,
	    v));
}

void
mwords_done(struct mwords *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->own[i]);
	free(w->own);
	free(w->argv);
	free(w->lens);
	*w = (struct mwords){NULL};
}

/* "=" and the value. */
static void
mwords_value(struct mwords *w, const void *data, size_t len)
{
	char *p = mwords_room(w, len + 1);

	*p = '=';
	if (len > 0)
		memcpy(p + 1, data, len);
}

/* --- rows out --- */

int64_t
move_id(int64_t base, int64_t id)
{
	return base && id > 0 ?
	    (base + id) << RQUEUE_BITS | RQUEUE_MASK : id;
}

int64_t
col_int(struct bh_bytes col, int64_t none)
{
	return col.data ? strtoll(col.data, NULL, 10) : none;
}

static bool
is_id(const struct bh_row *row, size_t i)
{
	return (row->table == BH_T_JOB && (i == BH_JOB_id ||
	    i == BH_JOB_follows)) ||
	    (row->table == BH_T_CALLBACK && i == BH_CALLBACK_job);
}

void
mwords_row(struct mwords *w, const struct bh_row *row, int64_t base,
    int64_t job)
{
	mwords_str(w, tables[row->table].name);
	mwords_int(w, row->at);
	for (size_t i = 0; i < tables[row->table].ncols; i++) {
		struct bh_bytes v = row->cols[i];
		char text[24];

		if (!v.data) {
			mwords_add(w, "", 0);
		} else if (is_id(row, i)) {
			int n = snprintf(text, sizeof(text), "%" PRId64,
			    move_id(base, col_int(v, 0)));

			mwords_value(w, text, (size_t)n);
		} else if (row->table == BH_T_LEASE && i == BH_LEASE_token) {
			rtoken_seed(text, (uint64_t)col_int(v, 0), job);
			mwords_value(w, text, RSEED);
		} else if (row->table == BH_T_JOB && i == BH_JOB_fingerprint) {
			int n = snprintf(text, sizeof(text), "%" PRIu64,
			    (uint64_t)col_int(v, 0));

			mwords_value(w, text, (size_t)n);
		} else {
			mwords_value(w, v.data, v.len);
		}
	}
}

/* --- rows in --- */

struct bh_bytes *
row_new(struct row_list *l, enum bh_table table)
{
	size_t n = tables[table].ncols;

	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->all = mem_grow(l->all, l->cap * sizeof(*l->all));
		l->cols = mem_grow(l->cols, l->cap * sizeof(*l->cols));
	}
	l->cols[l->n] = mem_new(n * sizeof(**l->cols));
	l->all[l->n] = (struct bh_row){table, 0, l->cols[l->n]};
	return l->cols[l->n++];
}

void
row_set(struct bh_bytes *col, const void *data, size_t len)
{
	*col = (struct bh_bytes){mem_copy(data, len), len};
}

void
row_set_int(struct bh_bytes *col, int64_t v)
{
	char text[24];

	row_set(col, text, (size_t)snprintf(text, sizeof(text), "%" PRId64,
	    v));
}

void
row_list_done(struct row_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		for (size_t c = 0; c < tables[l->all[i].table].ncols; c++)
			free((void *)(uintptr_t)l->cols[i][c].data);
		free(l->cols[i]);
	}
	free(l->cols);
	free(l->all);
	*l = (struct row_list){NULL};
}

bool
row_read(struct row_list *l, const struct redisReply *r, int64_t *job)
{
	enum bh_table t = 0;
	struct bh_bytes *cols;

	if (r->type != REDIS_REPLY_ARRAY || r->elements < 1 ||
	    r->element[0]->type != REDIS_REPLY_STRING)
		return false;
	while (t < BH_TABLE_COUNT &&
	    strcmp(tables[t].name, r->element[0]->str) != 0)
		t++;
	if (t == BH_TABLE_COUNT || r->elements != tables[t].ncols + 1)
		return false;
	cols = row_new(l, t);
	for (size_t i = 0; i < tables[t].ncols; i++) {
		const struct redisReply *v = r->element[i + 1];

		if (v->type == REDIS_REPLY_STRING)
			row_set(&cols[i], v->str, v->len);
	}
	if (t == BH_T_JOB) {
		struct bh_bytes *fp = &cols[BH_JOB_fingerprint];
		uint64_t u = fp->data ? strtoull(fp->data, NULL, 10) : 0;

		*job = col_int(cols[BH_JOB_id], 0);
		if (fp->data) {
			free((void *)(uintptr_t)fp->data);
			row_set_int(fp, (int64_t)u);
		}
	} else if (t == BH_T_LEASE) {
		struct bh_bytes *token = &cols[BH_LEASE_token];
		uint64_t u = token->len == RSEED ? rtoken(token->data, *job) :
		    0;

		free((void *)(uintptr_t)token->data);
		row_set_int(token, (int64_t)u);
	}
	return true;
}
