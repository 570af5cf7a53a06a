/* SPDX-License-Identifier: MIT */
/* Entries of a stream in their blocks, against a plain array of ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "keys/stream.h"

enum { MAX = 20000 };

struct model {
	struct stream *s;
	struct sid ids[MAX];
	size_t n;
	uint64_t seed;
};

static unsigned
draw(struct model *m, unsigned below)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(m->seed >> 33) % below;
}

static int
setup(void **state)
{
	struct model *m = xcalloc(1, sizeof(*m));

	m->s = stream_new();
	m->seed = 42;
	*state = m;
	return 0;
}

static int
teardown(void **state)
{
	struct model *m = *state;
	int budget = 10;

	while (!stream_type.free_some(m->s, &budget))
		budget = 10;
	free(m);
	return 0;
}

static void
add(struct model *m, size_t size)
{
	struct sid id = m->s->last_id;
	char *text = xcalloc(1, size + 1);
	struct bh_bytes words[2] = {{"f", 1}, {text, size}};

	if (draw(m, 3) == 0)
		id = (struct sid){id.ms + 1 + draw(m, 5), draw(m, 3)};
	else
		id.seq++;
	memset(text, 'a' + (int)(m->n % 26), size);
	stream_append(m->s, id, words, 2);
	m->ids[m->n++] = id;
	free(text);
}

static void
delete_at(struct model *m, size_t at)
{
	assert_true(stream_delete(m->s, m->ids[at]));
	assert_false(stream_delete(m->s, m->ids[at]));
	memmove(m->ids + at, m->ids + at + 1,
	    (--m->n - at) * sizeof(m->ids[0]));
}

/* Both ways round, from both ends and from every so many. */
static void
check(const struct model *m)
{
	const struct stream *s = m->s;
	struct splace p = stream_from(s, (struct sid){0, 0});
	const struct sentry *e;
	size_t i = 0;

	assert_int_equal(s->length, m->n);
	for (; (e = stream_at(s, p)); stream_step(s, &p, false), i++)
		assert_int_equal(sid_cmp(e->id, m->ids[i]), 0);
	assert_int_equal(i, m->n);
	p = stream_back(s, SID_MAX);
	for (; (e = stream_at(s, p)); stream_step(s, &p, true))
		assert_int_equal(sid_cmp(e->id, m->ids[--i]), 0);
	assert_int_equal(i, 0);
	for (i = 0; i < m->n; i += 1 + m->n / 50) {
		struct sid past = m->ids[i];

		assert_non_null(stream_find(s, m->ids[i]));
		sid_next(&past);
		e = stream_at(s, stream_from(s, past));
		assert_true(i + 1 < m->n ? e && sid_cmp(e->id,
		    m->ids[i + 1]) == 0 : !e);
		e = stream_at(s, stream_back(s, past));
		assert_non_null(e);
	}
}

static size_t
real_bytes(const struct stream *s)
{
	size_t n = sizeof(*s) + 16 + s->cap * sizeof(struct sblock *);

	for (size_t i = s->first; i < s->end; i++)
		n += sizeof(struct sblock) + s->blocks[i]->cap + 48 +
		    s->blocks[i]->room * sizeof(struct sentry);
	return n;
}

static void
entries_come_and_go(void **state)
{
	struct model *m = *state;

	for (int round = 0; round < 60; round++) {
		for (unsigned n = draw(m, 300); n > 0 && m->n < MAX; n--)
			add(m, draw(m, 50) ? draw(m, 200) : draw(m, 20000));
		/* From the front, the end, and anywhere. */
		for (unsigned n = draw(m, 300); n > 0 && m->n > 0; n--)
			delete_at(m, round % 3 == 0 ? 0 : round % 3 == 1 ?
			    m->n - 1 : draw(m, (unsigned)m->n));
		check(m);
		assert_int_equal(m->s->bytes, real_bytes(m->s));
	}
}

/* What is used up at the front makes room, of places too. */
static void
a_stream_that_is_trimmed_stays_small(void **state)
{
	struct model *m = *state;
	size_t most = 0;

	for (int i = 0; i < 200000; i++) {
		add(m, 20);
		if (m->n > 1000)
			delete_at(m, 0);
		if (i > 10000 && m->s->bytes > most)
			most = m->s->bytes;
	}
	check(m);
	assert_true(most < 300 * 1000);
}

static void
pick(void *arg, struct bh_bytes part, struct bh_bytes value)
{
	stream_type.load_part(arg, part, value);
}

/* Its rows, read back in their order, are the same stream. */
static void
rows_make_the_same_stream(void **state)
{
	struct model *m = *state;
	struct stream *s = m->s, *back = stream_new(), *again;
	struct sgroup *g;
	struct sconsumer *who;
	int budget = 1 << 20;

	for (int i = 0; i < 500; i++)
		add(m, 30);
	delete_at(m, 499);
	s->max_deleted = s->last_id;
	g = group_add(s, (struct bh_bytes){"group", 5}, s->next_group);
	g->last_id = m->ids[9];
	g->entries_read = 10;
	who = consumer_add(s, g, (struct bh_bytes){"me", 2},
	    g->next_consumer);
	who->seen = 7;
	for (int i = 0; i < 10; i++) {
		struct pending *p = pending_add(s, g, who, m->ids[i]);

		p->at = 1000 + i;
		p->count = i;
	}
	stream_type.each_part(s, pick, back);
	stream_type.loaded(back);
	again = stream_type.copy(back);
	m->s = again;
	check(m);
	m->s = s;
	assert_int_equal(sid_cmp(again->last_id, s->last_id), 0);
	assert_int_equal(sid_cmp(again->max_deleted, s->max_deleted), 0);
	assert_int_equal(again->added, s->added);
	assert_int_equal(again->rows, s->rows);
	g = group_find(again, (struct bh_bytes){"group", 5});
	assert_non_null(g);
	assert_int_equal(g->entries_read, 10);
	assert_int_equal(g->npending, 10);
	who = consumer_find(g, (struct bh_bytes){"me", 2});
	assert_int_equal(who->npending, 10);
	assert_int_equal(pending_find(g, m->ids[9])->at, 1009);
	assert_int_equal(pending_find(g, m->ids[9])->count, 9);
	assert_true(stream_type.free_some(back, &budget));
	assert_true(stream_type.free_some(again, &budget));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(entries_come_and_go, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(
		    a_stream_that_is_trimmed_stays_small, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_make_the_same_stream,
		    setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
