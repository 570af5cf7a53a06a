/* SPDX-License-Identifier: MIT */
/*
 * A cache in use: keys are asked for, most often a few of them, and those that
 * are missing are set, until so many have been. The same questions go to an
 * exact LRU of as many entries here, and the share of hits is compared. A
 * second connection asks one thing at a time meanwhile and takes the time.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

enum { DEPTH = 64, NAME = 24, PROBE_US = 500, WINDOW_US = 1000000,
    PROBES = 10 << 20 };

static const char *addr = "127.0.0.1:7380";
static long sets = 10000000, keys = 2000000, size = 100;
static uint64_t seed = 88172645463325252u;
static char *value;

static uint64_t
rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Low numbers are asked for more often: half of all asks are for an eighth. */
static uint32_t
any_key(uint64_t *s)
{
	double u = (double)(rnd(s) >> 11) * 0x1p-53;

	return (uint32_t)(u * u * u * (double)keys);
}

static void
name_of(char *out, uint32_t key)
{
	snprintf(out, NAME, "cache:%09u", key);
}

/* --- an exact LRU: rings of numbers, 0 is the head --- */

struct lru {
	uint32_t *next, *prev;		/* by key + 1; next 0, not the head's:
					   it is not there */
	long count, cap;
};

static void
lru_init(struct lru *l, long cap)
{
	l->next = calloc((size_t)keys + 1, sizeof(*l->next));
	l->prev = calloc((size_t)keys + 1, sizeof(*l->prev));
	if (!l->next || !l->prev)
		fail("no memory");
	l->count = 0;
	l->cap = cap;
}

static bool
lru_has(const struct lru *l, uint32_t at)
{
	return l->prev[at] != 0 || l->next[0] == at;
}

static void
lru_out(struct lru *l, uint32_t at)
{
	l->next[l->prev[at]] = l->next[at];
	l->prev[l->next[at]] = l->prev[at];
	l->next[at] = l->prev[at] = 0;
}

static void
lru_in(struct lru *l, uint32_t at)
{
	uint32_t first = l->next[0];

	l->next[at] = first;
	l->prev[first] = at;
	l->next[0] = at;
	l->prev[at] = 0;
}

static bool
lru_get(struct lru *l, uint32_t key)
{
	if (!lru_has(l, key + 1))
		return false;
	lru_out(l, key + 1);
	lru_in(l, key + 1);
	return true;
}

static void
lru_set(struct lru *l, uint32_t key)
{
	if (lru_get(l, key))
		return;
	lru_in(l, key + 1);
	if (++l->count <= l->cap)
		return;
	lru_out(l, l->prev[0]);
	l->count--;
}

/* --- the time of single asks, meanwhile --- */

struct probe {
	pthread_t thread;
	volatile bool stop;
	int32_t *us;
	long n;
	double p50, p99, worst;		/* worst: p99 of one second */
};

static int
by_size(const void *a, const void *b)
{
	const int32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
rank(int32_t *us, long n, double share)
{
	if (n == 0)
		return 0;
	qsort(us, (size_t)n, sizeof(*us), by_size);
	return us[(long)((double)(n - 1) * share)];
}

static void *
probe_run(void *arg)
{
	struct probe *p = arg;
	uint64_t s = 12345;
	long window = 0;
	int64_t end = now_us() + WINDOW_US;
	struct sync conn;

	sync_open(&conn, addr);
	while (!p->stop && p->n < PROBES) {
		char name[NAME];
		const char *argv[] = {"GET", name};
		int64_t start;
		size_t len;

		name_of(name, any_key(&s));
		start = now_us();
		sync_call(&conn, &len, 2, argv);
		p->us[p->n++] = (int32_t)(now_us() - start);
		if (now_us() > end) {
			double p99 = rank(p->us + window, p->n - window, .99);

			p->worst = p99 > p->worst ? p99 : p->worst;
			window = p->n;
			end = now_us() + WINDOW_US;
		}
		usleep(PROBE_US);
	}
	sync_close(&conn);
	return NULL;
}

static void
probe_start(struct probe *p)
{
	memset(p, 0, sizeof(*p));
	p->us = malloc(PROBES * sizeof(*p->us));
	if (!p->us || pthread_create(&p->thread, NULL, probe_run, p) != 0)
		fail("cannot start a thread");
}

static void
probe_end(struct probe *p)
{
	p->stop = true;
	pthread_join(p->thread, NULL);
	p->p50 = rank(p->us, p->n, .5);
	p->p99 = rank(p->us, p->n, .99);
	free(p->us);
}

/* --- the use --- */

static size_t
add_command(char *out, const char *word, uint32_t key)
{
	char name[NAME];
	const char *argv[] = {word, name, value};

	name_of(name, key);
	return resp_command(out, word[0] == 'S' ? 3 : 2, argv, NULL);
}

/* Sets each key once; answers with how many stay: the last ones. */
static long
capacity(struct sync *s, char *out)
{
	const char *argv[] = {"DBSIZE"};
	const char *reply;
	size_t len;
	long n;

	for (long key = 0; key < keys; key += DEPTH) {
		size_t at = 0;

		for (int i = 0; i < DEPTH; i++)
			at += add_command(out + at, "SET",
			    (uint32_t)(key + i));
		sync_write(s, out, at);
		for (int i = 0; i < DEPTH; i++)
			sync_read(s, &len);
	}
	reply = sync_call(s, &len, 1, argv);
	n = strtol(reply + 1, NULL, 10);
	if (n >= keys)
		fail("all %ld keys fit into the cache", keys);
	return n;
}

struct tally {
	long gets, sets, hits, ideal;
};

/* Asks for DEPTH keys, sets those that are missing. */
static void
use(struct sync *s, struct lru *l, char *out, struct tally *t)
{
	uint32_t asked[DEPTH], missing[DEPTH];
	size_t at = 0, len;
	int n = 0;

	for (int i = 0; i < DEPTH; i++) {
		asked[i] = any_key(&seed);
		at += add_command(out + at, "GET", asked[i]);
		t->ideal += lru_get(l, asked[i]);
	}
	sync_write(s, out, at);
	for (int i = 0; i < DEPTH; i++)
		if (sync_read(s, &len)[1] == '-')
			missing[n++] = asked[i];
	at = 0;
	for (int i = 0; i < n; i++) {
		at += add_command(out + at, "SET", missing[i]);
		lru_set(l, missing[i]);
	}
	sync_write(s, out, at);
	for (int i = 0; i < n; i++)
		sync_read(s, &len);
	t->gets += DEPTH;
	t->hits += DEPTH - n;
	t->sets += n;
}

static void
parse(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--addr") == 0)
			addr = argv[i + 1];
		else if (strcmp(argv[i], "--sets") == 0)
			sets = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--keys") == 0)
			keys = atol(argv[i + 1]);
		else if (strcmp(argv[i], "--size") == 0)
			size = atol(argv[i + 1]);
		else
			fail("unknown option %s", argv[i]);
	}
}

int
main(int argc, char **argv)
{
	struct tally t = {0};
	struct probe p;
	struct sync s;
	struct lru l;
	int64_t start;
	char *out;

	parse(argc, argv);
	value = malloc((size_t)size + 1);
	out = malloc((size_t)(size + 200) * DEPTH);
	if (!value || !out)
		fail("no memory");
	memset(value, 'v', (size_t)size);
	value[size] = '\0';
	sync_open(&s, addr);
	keys -= keys % DEPTH;
	lru_init(&l, capacity(&s, out));
	for (long key = keys - l.cap; key < keys; key++)
		lru_set(&l, (uint32_t)key);
	probe_start(&p);
	start = now_us();
	while (t.sets < sets)
		use(&s, &l, out, &t);
	start = now_us() - start;
	probe_end(&p);
	printf("entries=%ld gets=%ld sets=%ld rate=%.0f hits=%.6f ideal=%.6f"
	    " p50_us=%.0f p99_us=%.0f worst_us=%.0f\n", l.cap, t.gets, t.sets,
	    (double)(t.gets + t.sets) * 1e6 / (double)start,
	    (double)t.hits / (double)t.gets, (double)t.ideal / (double)t.gets,
	    p.p50, p.p99, p.worst);
	sync_close(&s);
	return 0;
}
