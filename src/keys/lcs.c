/* SPDX-License-Identifier: MIT */
/* LCS: the longest common subsequence of two strings, a table of lengths that
 * is filled row by row, in slices, and read backwards. */
#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/part.h"

/* Cells of the table that one slice fills: below 1 ms. */
enum { SLICE_CELLS = 262144 };

struct lcs {
	struct kval *a, *b;		/* held; NULL is empty */
	size_t alen, blen;
	uint32_t *cells;		/* (alen + 1) × (blen + 1) */
	size_t row;
	bool want_len, want_idx, with_len;
	int64_t min_len;
};

static void
lcs_drop(void *state)
{
	struct lcs *l = state;

	if (l->a)
		kval_unref(l->a);
	if (l->b)
		kval_unref(l->b);
	free(l->cells);
	free(l);
}

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static uint32_t *
cell(const struct lcs *l, size_t i, size_t j)
{
	return &l->cells[i * (l->blen + 1) + j];
}

static void
fill_row(const struct lcs *l, size_t i)
{
	const uint32_t *above = cell(l, i - 1, 0);
	uint32_t *row = cell(l, i, 0);
	char ch = l->a->data[i - 1];

	row[0] = 0;
	for (size_t j = 1; j <= l->blen; j++) {
		if (l->b->data[j - 1] == ch)
			row[j] = above[j - 1] + 1;
		else
			row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
	}
}

/* A run of equal bytes: they begin here in both, and so many. */
struct run {
	size_t a, b, len;
};

static bool
put_run(struct kcall *c, const struct lcs *l, const struct run *r)
{
	if (r->len == 0 || (int64_t)r->len < l->min_len)
		return false;
	put_array(c, l->with_len ? 3 : 2);
	put_array(c, 2);
	put_int(c, (int64_t)r->a);
	put_int(c, (int64_t)(r->a + r->len - 1));
	put_array(c, 2);
	put_int(c, (int64_t)r->b);
	put_int(c, (int64_t)(r->b + r->len - 1));
	if (l->with_len)
		put_int(c, (int64_t)r->len);
	return true;
}

/* From the end; the subsequence goes to text, if there is one, else the runs
 * are put and counted. */
static size_t
read_back(struct kcall *c, const struct lcs *l, char *text)
{
	size_t i = l->alen, j = l->blen, n = 0;
	uint32_t left = *cell(l, i, j);
	struct run run = {0};

	while (i > 0 && j > 0) {
		if (l->a->data[i - 1] == l->b->data[j - 1]) {
			run = (struct run){--i, --j, run.len + 1};
			if (text)
				text[--left] = l->a->data[i];
			continue;
		}
		if (*cell(l, i - 1, j) > *cell(l, i, j - 1))
			i--;
		else
			j--;
		n += !text && put_run(c, l, &run);
		run.len = 0;
	}
	return n + (!text && put_run(c, l, &run));
}

static void
answer(struct kcall *c, const struct lcs *l)
{
	uint32_t len = *cell(l, l->alen, l->blen);
	size_t open;
	char *text;

	if (l->want_len) {
		put_int(c, len);
	} else if (l->want_idx) {
		put_array(c, 4);
		put_text(c, "matches");
		open = put_array_open(c);
		put_array_close(c, open, read_back(c, l, NULL));
		put_text(c, "len");
		put_int(c, len);
	} else {
		text = xmalloc(len + 1);
		(void)read_back(c, l, text);
		put_bytes(c, text, len);
		free(text);
	}
}

static bool
step(struct kcall *c)
{
	struct lcs *l = c->state;

	for (size_t n = 0; l->row <= l->alen && n < SLICE_CELLS;
	    n += l->blen + 1)
		fill_row(l, l->row++);
	if (l->row <= l->alen)
		return true;
	answer(c, l);
	return false;
}

static bool
parse(struct kcall *c, struct lcs *l)
{
	for (size_t i = 3; i < c->argc; i++) {
		if (is(c->argv[i], "IDX")) {
			l->want_idx = true;
		} else if (is(c->argv[i], "LEN")) {
			l->want_len = true;
		} else if (is(c->argv[i], "WITHMATCHLEN")) {
			l->with_len = true;
		} else if (is(c->argv[i], "MINMATCHLEN") &&
		    i + 1 < c->argc) {
			if (!arg_number(c, ++i, &l->min_len))
				return false;
		} else {
			put_syntax(c);
			return false;
		}
	}
	if (!l->want_len || !l->want_idx)
		return true;
	put_error(c, "ERR If you want both the length and indexes, please just"
	    " use IDX.");
	return false;
}

static bool
take(struct kcall *c, size_t i, struct kval **ret, size_t *ret_len)
{
	struct key *k = key_find(c, c->argv[i]);

	if (k && key_type_of(k) != KEY_STRING)
		return false;
	if (k) {
		*ret = kval_ref(k->str);
		*ret_len = k->str->len;
	}
	return true;
}

/* LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN] */
void
k_lcs(struct kcall *c)
{
	struct lcs *l = xcalloc(1, sizeof(*l));
	size_t cells;

	if (!take(c, 1, &l->a, &l->alen) || !take(c, 2, &l->b, &l->blen)) {
		put_error(c, "ERR The specified keys must contain string"
		    " values");
		goto refused;
	}
	if (!parse(c, l))
		goto refused;
	cells = (l->alen + 1) * (l->blen + 1);
	if (cells > KEYS_VALUE_MAX / sizeof(*l->cells)) {
		put_error(c, "ERR Insufficient memory, transient memory for"
		    " LCS exceeds proto-max-bulk-len");
		goto refused;
	}
	l->cells = xcalloc(cells, sizeof(*l->cells));
	l->row = 1;
	c->state = l;
	c->drop = lcs_drop;
	c->step = step;
	return;
refused:
	lcs_drop(l);
}
