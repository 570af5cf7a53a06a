/* SPDX-License-Identifier: MIT */
/* A list against an array, and what its log would leave on a disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "keys/klist.h"

enum { MAX = 6000 };

/* What there should be, and the rows of the log. */
struct model {
	char *values[MAX];
	size_t n;
	struct row {
		int64_t number;
		char *value;
		size_t len;
	} rows[MAX];
	size_t nrows;
	size_t writes;
};

static uint64_t seed;

static uint64_t
rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* In the order of their numbers. */
static void
on_log(void *arg, int64_t number, const struct bh_bytes *v)
{
	struct model *m = arg;
	size_t lo = 0, hi = m->nrows;
	struct row *r;
	bool there;

	m->writes++;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (m->rows[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	r = &m->rows[lo];
	there = lo < m->nrows && r->number == number;
	if (there)
		free(r->value);
	if (!v) {
		assert_true(there);
		m->nrows--;
		memmove(r, r + 1, (m->nrows - lo) * sizeof(*r));
		return;
	}
	if (!there) {
		assert_true(m->nrows < MAX);
		memmove(r + 1, r, (m->nrows - lo) * sizeof(*r));
		m->nrows++;
		r->number = number;
	}
	r->value = xmalloc(v->len + 1);
	memcpy(r->value, v->data, v->len);
	r->len = v->len;
}

static struct bh_bytes
bytes(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static char *
any_value(void)
{
	static const size_t sizes[] = {0, 1, 3, 12, 12, 12, 100, 127, 128, 700,
	    5000, 20000};
	size_t n = sizes[rnd(rnd(8) ? 6 : 12)];
	char *s = xmalloc(n + 1);

	for (size_t i = 0; i < n; i++)
		s[i] = (char)('a' + rnd(26));
	s[n] = '\0';
	return s;
}

static void
check_value(struct klist_at at, const char *want)
{
	struct bh_bytes v = klist_value(at);

	assert_int_equal(v.len, strlen(want));
	assert_memory_equal(v.data, want, v.len);
}

static void
check_order(const struct klist *l, const struct model *m)
{
	struct klist_at at;
	size_t i = 0;

	assert_int_equal(l->count, m->n);
	for (at = klist_first(l); at.block; at = klist_next(at), i++) {
		check_value(at, m->values[i]);
		if (i < m->nrows && m->writes)
			assert_int_equal(klist_number(at), m->rows[i].number);
	}
	assert_int_equal(i, m->n);
	for (at = klist_last(l); at.block; at = klist_prev(at))
		check_value(at, m->values[--i]);
	assert_int_equal(i, 0);
	for (int n = 0; n < 20 && m->n > 0; n++) {
		i = rnd(m->n);
		check_value(klist_seek(l, i), m->values[i]);
	}
	assert_null(klist_seek(l, m->n).block);
}

static void
drop(struct klist *l)
{
	int budget = 3;

	while (!klist_free_some(l, &budget))
		budget = 3;
}

/* The rows, read back in their order, are the list. */
static void
check_rows(const struct model *m)
{
	struct klist *l = klist_new();

	assert_int_equal(m->nrows, m->n);
	for (size_t i = 0; i < m->nrows; i++)
		klist_load(l, m->rows[i].number,
		    (struct bh_bytes){m->rows[i].value, m->rows[i].len});
	check_order(l, m);
	drop(l);
}

static void
model_in(struct model *m, size_t i, char *v)
{
	memmove(m->values + i + 1, m->values + i,
	    (m->n - i) * sizeof(char *));
	m->values[i] = v;
	m->n++;
}

static void
model_out(struct model *m, size_t i)
{
	free(m->values[i]);
	m->n--;
	memmove(m->values + i, m->values + i + 1,
	    (m->n - i) * sizeof(char *));
}

static void
model_done(struct model *m)
{
	while (m->n)
		model_out(m, m->n - 1);
	while (m->nrows)
		free(m->rows[--m->nrows].value);
	free(m);
}

static void
push(struct klist *l, struct model *m, bool front, char *v)
{
	struct klist_log log = {on_log, m};

	klist_push(l, front, bytes(v), &log);
	model_in(m, front ? 0 : m->n, v);
}

static void
insert(struct klist *l, struct model *m, size_t i, bool after, char *v)
{
	struct klist_log log = {on_log, m};

	klist_insert(l, klist_seek(l, i), after, bytes(v), &log);
	model_in(m, i + after, v);
}

static void
take(struct klist *l, struct model *m, size_t i)
{
	struct klist_log log = {on_log, m};
	struct klist_at at = klist_seek(l, i);

	klist_remove(l, &at, &log);
	model_out(m, i);
	if (i < m->n)
		check_value(at, m->values[i]);
	else
		assert_null(at.block);
}

static void
put(struct klist *l, struct model *m, size_t i, char *v)
{
	struct klist_log log = {on_log, m};

	klist_replace(l, klist_seek(l, i), bytes(v), &log);
	free(m->values[i]);
	m->values[i] = v;
}

/* grow: of 100 changes so many add something. */
static void
change(struct klist *l, struct model *m, uint64_t grow)
{
	if (m->n == 0 || (rnd(100) < grow && m->n < MAX - 2)) {
		if (m->n == 0 || rnd(3) == 0)
			push(l, m, rnd(2), any_value());
		else
			insert(l, m, rnd(4) ? rnd(m->n) : m->n / 2, rnd(2),
			    any_value());
	} else if (rnd(5) == 0) {
		put(l, m, rnd(m->n), any_value());
	} else {
		take(l, m, rnd(3) ? rnd(m->n) : rnd(2) ? m->n - 1 : 0);
	}
}

static void
as_an_array(void **state)
{
	(void)state;
	for (seed = 1; seed < 9; ) {
		uint64_t mine = seed;
		struct model *m = xcalloc(1, sizeof(*m));
		struct klist *l = klist_new(), *copy;
		size_t empty = l->bytes;

		for (int i = 0; i < 6000; i++) {
			change(l, m, (i / 1500) % 2 ? 30 : 75);
			if (i % 500 == 0)
				check_order(l, m);
		}
		check_order(l, m);
		check_rows(m);
		copy = klist_copy(l);
		assert_int_equal(copy->bytes, l->bytes);
		while (m->n)
			take(l, m, rnd(m->n));
		assert_int_equal(l->bytes, empty);
		assert_int_equal(m->nrows, 0);
		drop(l);
		drop(copy);
		model_done(m);
		seed = mine + 1;
	}
}

/* A queue: in at one end, out at the other, always some in it. */
static void
as_a_queue(void **state)
{
	struct model *m = xcalloc(1, sizeof(*m));
	struct klist *l = klist_new();
	size_t most = 0;

	(void)state;
	seed = 5;
	for (int i = 0; i < 20000; i++) {
		push(l, m, true, any_value());
		if (m->n > 50)
			take(l, m, m->n - 1);
		most = l->bytes > most ? l->bytes : most;
	}
	check_order(l, m);
	check_rows(m);
	/* One record for each. */
	assert_int_equal(m->writes, 20000 + 20000 - 50);
	while (m->n)
		take(l, m, 0);
	drop(l);
	model_done(m);
}

/* Gaps are used up again and again at one place. */
static void
inserted_at_one_place(void **state)
{
	(void)state;
	for (int after = 0; after < 2; after++) {
		struct model *m = xcalloc(1, sizeof(*m));
		struct klist *l = klist_new();
		char text[24];

		for (int i = 0; i < 1000; i++) {
			snprintf(text, sizeof(text), "%d", i);
			push(l, m, false, xstrdup(text));
		}
		m->writes = 0;
		for (size_t i = 0; i < 4000; i++) {
			snprintf(text, sizeof(text), "in%zu", i);
			insert(l, m, after ? 500 : 500 + i, after,
			    xstrdup(text));
		}
		check_order(l, m);
		check_rows(m);
		/* Not all of them each time: that would be millions. */
		assert_true(m->writes < 4000 * 60);
		drop(l);
		model_done(m);
	}
}

/* The numbers end: all are numbered anew. */
static void
at_the_end_of_numbers(void **state)
{
	struct model *m = xcalloc(1, sizeof(*m));
	struct klist *l = klist_new();
	int64_t ends[] = {INT64_MIN + 5, INT64_MAX - 5};
	struct bh_bytes v = bytes("one");

	(void)state;
	for (int i = 0; i < 2; i++) {
		klist_load(l, ends[i], v);
		on_log(m, ends[i], &v);
		model_in(m, m->n, xstrdup("one"));
	}
	push(l, m, true, xstrdup("front"));
	push(l, m, false, xstrdup("back"));
	insert(l, m, 1, true, xstrdup("between"));
	check_order(l, m);
	check_rows(m);
	drop(l);
	model_done(m);
}

/* What is small is kept small: about the bytes themselves. */
static void
little_is_kept_in_little(void **state)
{
	struct model *m = xcalloc(1, sizeof(*m));
	struct klist *l = klist_new();
	size_t want;

	(void)state;
	push(l, m, false, xstrdup("0123456789"));
	assert_true(l->bytes < 250);
	for (int i = 1; i < 5000; i++)
		push(l, m, i % 2, xstrdup("0123456789"));
	want = 5000 * (10 + 2);
	assert_true(l->bytes < want + want / 4 + 2 * 8192);
	drop(l);
	model_done(m);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_an_array),
		cmocka_unit_test(as_a_queue),
		cmocka_unit_test(inserted_at_one_place),
		cmocka_unit_test(at_the_end_of_numbers),
		cmocka_unit_test(little_is_kept_in_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
