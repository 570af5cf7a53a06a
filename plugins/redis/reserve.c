/* SPDX-License-Identifier: MIT */
/*
 * Handing out. A caller's request looks into its queues one after another,
 * those first whose turn it is (stride scheduling, as in the built-in
 * backend); when there is nothing it is parked. At the end of a turn what is
 * known to be ready is shared out among the parked ones.
 */
#include <hiredis/hiredis.h>

#include "redis/away.h"
#include "redis/jobs.h"
#include "redis/mem.h"

enum { STRIDE = 1 << 20, UNITS_PER_TURN = 4096, HANDLERS = 1024,
    MARGIN_MS = 30000, LEASE_MS = 30000, BEAT_MS = 10000 };

struct waiter;

struct wlink {
	struct waiter *w;
	struct rqueue *q;
	bool seen;			/* asked in this round */
	uint32_t units;			/* to be asked for, this turn */
};

struct waiter {
	TAILQ_ENTRY(waiter) all;
	struct redis_be *be;
	struct bh_reserve *req;
	struct rarena memory;
	struct bh_job *jobs;
	size_t njobs, cap;
	uint32_t n;			/* jobs or batches it has got */
	uint32_t asked;			/* for in calls under way */
	size_t naming;			/* queues without a number */
	int64_t deadline;		/* mono, INT64_MAX never */
	bool parked, cancelled, gone;
	size_t nlinks;
	struct wlink links[];
};

/* A job that a handler of this instance holds. */
struct holding {
	TAILQ_ENTRY(holding) all;
	struct holding *same;
	struct rqueue *q;
	int64_t id;
	int64_t until;			/* mono: its host has lost it then */
	char seed[RSEED];
};

struct rreserves {
	TAILQ_HEAD(, waiter) waiters;	/* parked, first come first served */
	TAILQ_HEAD(, holding) holdings;
	struct holding *by_id[HANDLERS];
	int64_t pass;
	int64_t deadline;		/* no caller gives up before */
	int64_t beat_at;
};

static struct rreserves *
reserves_of(const struct redis_be *be)
{
	return be->jobs->reserves;
}

/* --- what handlers hold --- */

static struct holding **
holding_slot(struct redis_be *be, int64_t id)
{
	uint64_t h = (uint64_t)id >> RQUEUE_BITS ^ (uint64_t)id;
	struct holding **p = &reserves_of(be)->by_id[h % HANDLERS];

	while (*p && (*p)->id != id)
		p = &(*p)->same;
	return p;
}

static void
hold(struct redis_be *be, struct rqueue *q, const struct bh_job *j,
    const char *seed, int64_t timeout_ms)
{
	struct rreserves *s = reserves_of(be);
	struct holding **slot = holding_slot(be, j->id), *h = *slot;

	if (!h) {
		h = mem_new(sizeof(*h));
		*slot = h;
		h->id = j->id;
		TAILQ_INSERT_TAIL(&s->holdings, h, all);
	}
	h->q = q;
	h->until = be->mono_ms + timeout_ms + MARGIN_MS;
	memcpy(h->seed, seed, RSEED);
	if (s->beat_at == INT64_MAX)
		s->beat_at = be->mono_ms + BEAT_MS;
}

static void
holding_free(struct redis_be *be, struct holding **slot)
{
	struct holding *h = *slot;

	*slot = h->same;
	TAILQ_REMOVE(&reserves_of(be)->holdings, h, all);
	free(h);
}

void
rhandler_ended(struct redis_be *be, int64_t id)
{
	struct holding **slot = holding_slot(be, id);

	if (*slot)
		holding_free(be, slot);
}

static void
beat_queue(struct redis_be *be, struct rqueue *q)
{
	struct rreserves *s = reserves_of(be);
	struct holding *h;
	uint32_t n = 0;
	char *p, text[RSEED + 6 + 24];
	int64_t left;
	int len;

	TAILQ_FOREACH(h, &s->holdings, all)
		n += h->q == q;
	if (n == 0)
		return;
	p = rop_begin(be, q, 5, NULL, NULL);
	p[0] = 'H';
	for (int i = 0; i < 4; i++)
		p[1 + i] = (char)(n >> 8 * (3 - i));
	TAILQ_FOREACH(h, &s->holdings, all) {
		if (h->q != q)
			continue;
		left = h->until - be->mono_ms;
		memcpy(text, h->seed, RSEED);
		rput48(text + RSEED, left < LEASE_MS ? left : LEASE_MS);
		len = snprintf(text + RSEED + 6, 24, "%lld",
		    (long long)h->id);
		rop_copy(q, (struct bh_bytes){text, RSEED + 6 +
		    (size_t)len});
	}
}

int64_t
rhandlers_beat(struct redis_be *be)
{
	struct rreserves *s = reserves_of(be);
	struct holding *h, *next;
	struct rqueue *q;

	if (be->mono_ms < s->beat_at || !be->ready || !rnames_ready(be))
		return s->beat_at;
	for (h = TAILQ_FIRST(&s->holdings); h; h = next) {
		next = TAILQ_NEXT(h, all);
		if (h->until <= be->mono_ms)
			holding_free(be, holding_slot(be, h->id));
	}
	TAILQ_FOREACH(q, rqueues_all(be), all)
		beat_queue(be, q);
	s->beat_at = TAILQ_EMPTY(&s->holdings) ? INT64_MAX
	    : be->mono_ms + BEAT_MS;
	return s->beat_at;
}

/* Its host has said itself how long it is to be held. */
void
rhandler_extended(struct redis_be *be, int64_t id, int64_t ms)
{
	struct holding *h = *holding_slot(be, id);

	if (h)
		h->until = be->mono_ms + ms;
}

bool
rhandler_token(struct redis_be *be, int64_t id, uint64_t *ret)
{
	struct holding *h = *holding_slot(be, id);

	if (h)
		*ret = rtoken(h->seed, id);
	return h != NULL;
}

size_t
rhandlers_count(const struct redis_be *be)
{
	const struct holding *h;
	size_t n = 0;

	TAILQ_FOREACH(h, &reserves_of(be)->holdings, all)
		n++;
	return n;
}

/* --- turns of queues --- */

static int64_t
step_of(const struct rqueue *q)
{
	return STRIDE / (q->opts.weight > 0 ? q->opts.weight : 1);
}

static int64_t
turn_of(struct redis_be *be, struct rqueue *q)
{
	if (q->pass < reserves_of(be)->pass)
		q->pass = reserves_of(be)->pass;
	return q->opts.strict ? q->pass - INT64_MAX / 2 : q->pass;
}

/* --- a caller --- */

static uint32_t
room(const struct waiter *w)
{
	const struct bh_reserve *r = w->req;
	uint32_t n = r->count - w->n - w->asked;

	if (w->n + w->asked >= r->count)
		return 0;
	return r->budget && *r->budget < n ? *r->budget : n;
}

static bool
gets_batches(const struct waiter *w, const struct rqueue *q)
{
	return w->req->handler && q->opts.batch_max > 0;
}

static int64_t
at_hand(const struct waiter *w, const struct rqueue *q)
{
	return (gets_batches(w, q) ? q->ripe : q->ready) - q->asked;
}

static void
leave(struct waiter *w)
{
	if (!w->parked)
		return;
	w->parked = false;
	TAILQ_REMOVE(&reserves_of(w->be)->waiters, w, all);
	for (size_t i = 0; i < w->nlinks; i++)
		if (w->links[i].q)
			w->links[i].q->nwaiters--;
}

static void
waiter_free(struct waiter *w)
{
	w->gone = true;
	if (w->naming > 0 || w->asked > 0)
		return;			/* somebody still has it */
	rarena_free(&w->memory);
	free(w->jobs);
	free(w);
}

/* The end of the wait, with what it has got; from a reply or not. */
static void
end_wait(struct waiter *w, bool replied)
{
	struct bh_reserve *r = w->req;

	leave(w);
	r->jobs = w->jobs;
	r->njobs = w->njobs;
	r->req.priv.state = NULL;
	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	if (replied || w->njobs > 0)
		r->req.done(&r->req);
	else
		be_answer(w->be, &r->req);
	waiter_free(w);
}

static void
end_error(struct waiter *w, const struct redisReply *r)
{
	struct bh_req *req = &w->req->req;

	leave(w);
	req->priv.state = NULL;
	if (r)
		be_done_error(w->be, req, r);
	else
		be_fail(w->be, req, BH_E_CANCELED, "shut down");
	waiter_free(w);
}

static void
park(struct waiter *w)
{
	struct rreserves *s = reserves_of(w->be);

	if (w->parked)
		return;
	w->parked = true;
	TAILQ_INSERT_TAIL(&s->waiters, w, all);
	for (size_t i = 0; i < w->nlinks; i++)
		if (w->links[i].q)
			w->links[i].q->nwaiters++;
	if (w->deadline < s->deadline)
		s->deadline = w->deadline;
}

/* --- asking --- */

struct asking {
	struct wlink *link;
	uint32_t units;
};

static struct bh_job *
job_room(struct waiter *w)
{
	if (w->njobs == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 4;
		w->jobs = mem_grow(w->jobs, w->cap * sizeof(*w->jobs));
	}
	w->jobs[w->njobs] = (struct bh_job){0};
	return &w->jobs[w->njobs];
}

/* Those of one batch are held as long as the one that may take longest. What
 * the host is told is the end to which the lease is made longer. */
static void
hold_all(struct waiter *w, struct rqueue *q, size_t from)
{
	while (from < w->njobs) {
		int64_t timeout = w->jobs[from].timeout_ms;
		size_t to = from + 1;
		char seed[RSEED];

		for (; to < w->njobs && w->jobs[from].batch &&
		    w->jobs[to].batch == w->jobs[from].batch; to++)
			if (w->jobs[to].timeout_ms > timeout)
				timeout = w->jobs[to].timeout_ms;
		for (; from < to; from++) {
			struct bh_job *j = &w->jobs[from];

			rtoken_seed(seed, j->token, j->id);
			hold(w->be, q, j, seed, timeout);
			j->lease_until = j->started_at + timeout + MARGIN_MS;
		}
	}
}

/* Takes the jobs in; how many units they are. */
static uint32_t
take_jobs(struct waiter *w, struct rqueue *q, const struct redisReply *r)
{
	uint32_t units = 0, batch = 0;
	size_t from = w->njobs;

	for (size_t i = 0; i + 4 < r->elements; i += 5) {
		struct redisReply *const *e = r->element + i;
		struct rparts p = {.meta = e[1], .payload = e[2], .x = e[3],
		    .steps = w->req->handler ? e[4] : NULL};
		struct bh_job *j = job_room(w);

		if (!rrecord_job(j, &w->memory, &p, q->name, &q->opts, true))
			continue;
		j->id = strtoll(e[0]->str, NULL, 10);
		j->token = rtoken(rrecord_seed(e[1]), j->id);
		w->njobs++;
		units += !j->batch || j->batch != batch;
		batch = j->batch;
	}
	if (w->req->handler)
		hold_all(w, q, from);
	return units;
}

/* Whether another queue of this caller has something as well. */
static bool
contended(const struct waiter *w, const struct rqueue *q)
{
	for (size_t i = 0; i < w->nlinks; i++)
		if (w->links[i].q && w->links[i].q != q &&
		    w->links[i].q->ready > 0)
			return true;
	return false;
}

/* The queue has been served: whoever comes anew begins where it stood. To be
 * served alone costs a queue nothing. */
static void
turn_taken(const struct waiter *w, const struct rqueue *q, uint32_t units)
{
	struct rreserves *s = reserves_of(w->be);
	int64_t before = q->pass - step_of(q) *
	    (contended(w, q) ? units : 1);

	if (units > 0 && !q->opts.strict && before > s->pass)
		s->pass = before;
}

static void step(struct waiter *w, bool replied);

/* What came for somebody who is not there any more goes back: the lease has
 * no owner, so it ends it at once. */
static void
asked_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct asking *a = arg;
	struct waiter *w = a->link->w;
	uint32_t units = a->units, got = 0;

	free(a);
	q->asked -= units;
	w->asked -= units;
	if (r && r->type == REDIS_REPLY_ARRAY && !w->gone)
		got = take_jobs(w, q, r);
	w->n += got;
	q->pass -= step_of(q) * (units - got);
	turn_taken(w, q, got);
	if (w->req && w->req->budget && !w->gone)
		*w->req->budget += units - got;
	if (w->gone) {
		waiter_free(w);
		return;
	}
	if (w->asked > 0)
		return;			/* all of them first */
	if (w->njobs == 0 && (!r || r->type == REDIS_REPLY_ERROR)) {
		end_error(w, r);
	} else if (w->njobs == 0 && w->cancelled) {
		leave(w);
		be_fail(be, &w->req->req, BH_E_CANCELED,
		    "the caller went away");
		w->req->req.priv.state = NULL;
		waiter_free(w);
	} else if (w->cancelled || !r) {
		end_wait(w, true);
	} else {
		step(w, true);
	}
}

static void
ask(struct wlink *l, uint32_t units)
{
	struct waiter *w = l->w;
	struct redis_be *be = w->be;
	const struct bh_reserve *r = w->req;
	struct asking *a = mem_new(sizeof(*a));
	uint64_t rnd = rrandom(be);
	char *p;

	a->link = l;
	a->units = units;
	l->seen = true;
	w->asked += units;
	l->q->asked += units;
	l->q->pass += step_of(l->q) * units;
	if (r->budget)
		*r->budget -= units;
	p = rop_begin(be, l->q, 20, asked_done, a);
	p[0] = 'R';
	p[1] = (char)((r->handler ? 1 : 0) | (r->worker.len ? 2 : 0));
	for (int i = 0; i < 4; i++)
		p[2 + i] = (char)(units >> 8 * (3 - i));
	rput48(p + 6, r->lease_ms >= 0 ? r->lease_ms + 1 : 0);
	p[12] = (char)(rinstance(be) >> 8);
	p[13] = (char)rinstance(be);
	p[14] = r->handler;
	for (int i = 15; i < 20; i++, rnd >>= 8)
		p[i] = (char)rnd;
	if (r->worker.len)
		rop_data(l->q, r->worker);
}

/* The queue that is next to be looked into, or NULL. */
static struct wlink *
next_link(struct waiter *w)
{
	struct wlink *best = NULL;
	bool best_ready = false;

	for (size_t i = 0; i < w->nlinks; i++) {
		struct wlink *l = &w->links[i];
		bool ready = l->q && at_hand(w, l->q) > 0;

		if (!l->q || l->seen || (!ready && (w->njobs > 0 ||
		    (l->q->known && w->req->block_ms >= 0))))
			continue;
		if (best && (best_ready != ready ? best_ready
		    : turn_of(w->be, best->q) <= turn_of(w->be, l->q)))
			continue;
		best = l;
		best_ready = ready;
	}
	return best;
}

/* Asks the next queue; or it has what it wants, or is parked. */
static void
step(struct waiter *w, bool replied)
{
	struct wlink *l = room(w) > 0 && !w->be->draining ? next_link(w)
	    : NULL;

	if (l)
		ask(l, room(w));
	else if (w->njobs > 0 || w->req->block_ms < 0)
		end_wait(w, replied);
	else
		park(w);
}

static void
begin(struct waiter *w)
{
	/* Handlers wait for the turn's end: so queues share by weight. */
	if (w->req->handler && w->req->block_ms >= 0) {
		park(w);
		for (size_t i = 0; i < w->nlinks; i++)
			if (w->links[i].q && !w->links[i].q->known)
				rqueue_tick(w->be, w->links[i].q);
		return;
	}
	step(w, false);
}

static void
named(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct wlink *l = arg;
	struct waiter *w = l->w;

	(void)be;
	l->q = q;
	if (q && w->parked)
		q->nwaiters++;
	if (--w->naming > 0)
		return;
	if (w->gone)
		waiter_free(w);
	else
		begin(w);
}

void
rjobs_reserve(void *arg, struct bh_reserve *r)
{
	struct redis_be *be = arg;
	struct waiter *w;

	r->jobs = NULL;
	r->njobs = 0;
	if (!be->ready && r->block_ms < 0) {
		be_fail_away(be, &r->req);
		return;
	}
	w = mem_new(sizeof(*w) + r->nqueues * sizeof(w->links[0]));
	w->be = be;
	w->req = r;
	w->nlinks = r->nqueues;
	w->deadline = r->block_ms > 0 ? be->mono_ms + r->block_ms
	    : INT64_MAX;
	r->req.priv.state = w;
	r->req.priv.kind = RKIND_RESERVE;
	w->naming = 1;
	for (size_t i = 0; i < r->nqueues; i++) {
		w->links[i].w = w;
		/* Without waiting, a queue that is not there is empty. */
		if (r->block_ms < 0 && rnames_ready(be) &&
		    !rqueue_find(be, r->queues[i]))
			continue;
		w->naming++;
		rqueue_of_name(be, r->queues[i], named, &w->links[i]);
	}
	if (--w->naming == 0)
		begin(w);
}

bool
rreserves_cancel(struct redis_be *be, struct bh_req *req)
{
	struct waiter *w = req->priv.state;

	if (req->priv.kind != RKIND_RESERVE || !w)
		return false;
	if (w->asked > 0) {
		w->cancelled = true;
		return true;
	}
	leave(w);
	req->priv.state = NULL;
	be_fail(be, req, BH_E_CANCELED, "the caller went away");
	waiter_free(w);
	return true;
}

/* --- those who are parked --- */

static void
give_up(struct redis_be *be)
{
	struct rreserves *s = reserves_of(be);
	struct waiter *w, *next;

	if (be->mono_ms < s->deadline)
		return;
	s->deadline = INT64_MAX;
	for (w = TAILQ_FIRST(&s->waiters); w; w = next) {
		next = TAILQ_NEXT(w, all);
		if (w->deadline > be->mono_ms) {
			if (w->deadline < s->deadline)
				s->deadline = w->deadline;
		} else if (w->asked > 0) {
			w->req->block_ms = -1;	/* it ends with the reply */
		} else {
			end_wait(w, false);
		}
	}
}

/* The first who has room for what the queue has, or NULL. */
static struct wlink *
next_waiter(struct redis_be *be, struct rqueue *q)
{
	struct waiter *w;

	TAILQ_FOREACH(w, &reserves_of(be)->waiters, all) {
		uint32_t given = w->n + w->asked;

		if (at_hand(w, q) <= 0 || room(w) == 0)
			continue;
		for (size_t i = 0; i < w->nlinks; i++)
			given += w->links[i].units;
		for (size_t i = 0; i < w->nlinks; i++)
			if (w->links[i].q == q && given < w->req->count)
				return &w->links[i];
	}
	return NULL;
}

/* Among the queues that have something for somebody, the one whose turn it
 * is. */
static struct wlink *
next_unit(struct redis_be *be)
{
	struct wlink *best = NULL, *l;
	struct rqueue *q;

	TAILQ_FOREACH(q, rqueues_all(be), all) {
		if (q->nwaiters == 0 || (q->ready - q->asked <= 0 &&
		    q->ripe - q->asked <= 0))
			continue;
		if (best && turn_of(be, best->q) <= turn_of(be, q))
			continue;
		l = next_waiter(be, q);
		if (l)
			best = l;
	}
	return best;
}

static void
serve(struct redis_be *be)
{
	struct wlink *l;
	struct waiter *w;

	for (int i = 0; i < UNITS_PER_TURN && (l = next_unit(be)); i++) {
		l->units++;
		l->q->asked++;
		l->q->pass += step_of(l->q);
		turn_taken(l->w, l->q, 1);
		/* room() is to see it; ask() does it again. */
		if (l->w->req->budget)
			(*l->w->req->budget)--;
	}
	TAILQ_FOREACH(w, &reserves_of(be)->waiters, all)
		for (size_t i = 0; i < w->nlinks; i++) {
			uint32_t units = w->links[i].units;

			if (units == 0)
				continue;
			l = &w->links[i];
			l->units = 0;
			l->q->asked -= units;
			l->q->pass -= step_of(l->q) * units;
			if (w->req->budget)
				*w->req->budget += units;
			ask(l, units);
		}
}

int64_t
rreserves_run(struct redis_be *be)
{
	struct rreserves *s = reserves_of(be);

	give_up(be);
	if (be->ready && rnames_ready(be) && !be->draining &&
	    !raway_late(be) && !TAILQ_EMPTY(&s->waiters))
		serve(be);
	return s->deadline;
}

void
rreserves_new(struct redis_be *be)
{
	struct rreserves *s = mem_new(sizeof(*s));

	TAILQ_INIT(&s->waiters);
	TAILQ_INIT(&s->holdings);
	s->deadline = s->beat_at = INT64_MAX;
	be->jobs->reserves = s;
}

void
rreserves_free(struct redis_be *be)
{
	struct rreserves *s = reserves_of(be);
	struct waiter *w;
	struct holding *h;

	while ((w = TAILQ_FIRST(&s->waiters)))
		end_error(w, NULL);
	while ((h = TAILQ_FIRST(&s->holdings))) {
		TAILQ_REMOVE(&s->holdings, h, all);
		free(h);
	}
	free(s);
	be->jobs->reserves = NULL;
}
