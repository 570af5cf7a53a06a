/* SPDX-License-Identifier: MIT */
/*
 * May these jobs come in? Everything that could refuse an add is asked here,
 * for all adds of a chain and before anything is changed: room for queues,
 * room in queues. What an add would find as a duplicate, of a living job or
 * of an earlier one of the chain, takes no room.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "engine/part.h"

/* A queue of the chain, and what the chain adds to it. */
struct seat {
	struct bh_bytes name;
	struct queue *queue;		/* NULL: it would be made */
	int64_t waiting, max_waiting;
};

/* A key that the chain takes. */
struct claim {
	const struct seat *seat;
	struct bh_bytes key;
};

struct plan {
	struct map seats, claims;
	struct seat *all_seats;
	struct claim *all_claims;
	size_t nseats, nclaims;
	size_t nqueues;			/* to be made */
};

static uint64_t
bytes_hash(struct bh_bytes b)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < b.len; i++)
		h = (h ^ (unsigned char)b.data[i]) * 0x100000001b3ULL;
	return map_hash_int(h);
}

static bool
same(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static uint64_t
seat_hash(const void *item)
{
	return bytes_hash(((const struct seat *)item)->name);
}

static bool
seat_equal(const void *item, const void *key)
{
	return same(((const struct seat *)item)->name,
	    *(const struct bh_bytes *)key);
}

static uint64_t
claim_hash(const void *item)
{
	const struct claim *c = item;

	return bytes_hash(c->key) ^ map_hash_int((uintptr_t)c->seat);
}

static bool
claim_equal(const void *item, const void *key)
{
	const struct claim *a = item, *b = key;

	return a->seat == b->seat && same(a->key, b->key);
}

static const struct map_ops seat_ops = {seat_hash, seat_equal};
static const struct map_ops claim_ops = {claim_hash, claim_equal};

/* A queue that is not there yet has the options that it would have. */
static int64_t
max_waiting_of(struct engine *e, struct bh_bytes name)
{
	char *s = xstrndup(name.data, name.len);
	struct bh_queue_opts o;

	qopts_resolve(e->qopts, s, &o);
	free(s);
	return o.max_waiting;
}

static void
seat_fill(struct engine *e, struct seat *s, struct bh_bytes name)
{
	s->name = name;
	s->queue = queue_find(e, name);
	s->waiting = s->queue ? s->queue->count[BH_WAITING] : 0;
	s->max_waiting = s->queue ? s->queue->opts.max_waiting
				  : max_waiting_of(e, name);
}

static struct seat *
seat_of(struct engine *e, struct plan *p, struct bh_bytes name)
{
	struct seat *s = map_get(&p->seats, bytes_hash(name), &name);

	if (s)
		return s;
	s = &p->all_seats[p->nseats++];
	seat_fill(e, s, name);
	p->nqueues += s->queue == NULL;
	map_put(&p->seats, s);
	return s;
}

/* Whether an earlier one of the chain has the key; else it is taken. */
static bool
chain_holds(struct plan *p, const struct seat *s, const struct bh_put *r)
{
	struct claim *c = &p->all_claims[p->nclaims];

	*c = (struct claim){s, r->opts.unique};
	if (map_get(&p->claims, claim_hash(c), c))
		return true;
	if (r->opts.unique_ttl_ms != 0) {
		p->nclaims++;
		map_put(&p->claims, c);
	}
	return false;
}

static int
check_form(const struct bh_put *r, struct err *err)
{
	if (r->opts.unique.len && r->npayloads != 1)
		return err_set(err, BH_E_BADARG, "UNIQUE: one payload "
		    "expected, got %zu", r->npayloads);
	return 0;
}

/* Takes room for n more. */
static int
sit_down(struct seat *s, size_t n, struct err *err)
{
	if (s->max_waiting > 0 && s->waiting + (int64_t)n > s->max_waiting)
		return err_set(err, BH_E_QUEUEFULL, "queue '%.*s' has %lld "
		    "waiting jobs, max_waiting is %lld", (int)s->name.len,
		    s->name.data, (long long)s->waiting,
		    (long long)s->max_waiting);
	s->waiting += (int64_t)n;
	return 0;
}

static int
admit_next(struct engine *e, struct plan *p, const struct bh_put *r,
    struct err *err)
{
	struct seat *s = seat_of(e, p, r->queue);
	bool keyed = r->opts.unique.len > 0;

	if (check_form(r, err) < 0)
		return -1;
	if (!s->queue && queue_admit(e, s->name, p->nqueues, err) < 0)
		return -1;
	if (keyed && s->queue && unique_holder(e, s->queue, r->opts.unique))
		return 0;
	if (keyed && chain_holds(p, s, r))
		return 0;
	return sit_down(s, r->npayloads, err);
}

static int
admit_chain(struct engine *e, const struct bh_put *first, struct err *err)
{
	struct plan p = {0};
	const struct bh_put *r;
	struct err why;
	size_t n = 0, i = 0;
	int rc = 0;

	for (r = first; r; r = r->also)
		n++;
	map_init(&p.seats, &seat_ops);
	map_init(&p.claims, &claim_ops);
	p.all_seats = xcalloc(n, sizeof(*p.all_seats));
	p.all_claims = xcalloc(n, sizeof(*p.all_claims));
	for (r = first; r && rc == 0; r = r->also, i++)
		rc = admit_next(e, &p, r, &why);
	if (rc < 0)
		err_set(err, why.code, "number %zu of %zu: %.180s", i, n,
		    why.text);
	map_done(&p.seats);
	map_done(&p.claims);
	free(p.all_seats);
	free(p.all_claims);
	return rc;
}

int
admit_puts(struct engine *e, const struct bh_put *first, struct err *err)
{
	struct seat s;

	if (e->refuse.code) {
		*err = e->refuse;
		return -1;
	}
	if (first->also)
		return admit_chain(e, first, err);
	seat_fill(e, &s, first->queue);
	if (check_form(first, err) < 0)
		return -1;
	if (!s.queue && queue_admit(e, s.name, 1, err) < 0)
		return -1;
	if (first->opts.unique.len && s.queue &&
	    unique_holder(e, s.queue, first->opts.unique))
		return 0;
	return sit_down(&s, first->npayloads, err);
}
