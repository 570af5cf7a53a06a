/* SPDX-License-Identifier: MIT */
#include "redis/away.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <sys/random.h>

#include "redis/mem.h"
#include "redis/outbox.h"
#include "redis/queue.h"

/* Ids that are reserved for the time when Redis is away; with fewer than half
 * of them left, others are asked for. */
enum { RANGE = 1 << 20 };
/* Past so many entries new jobs go to the disk as well, else they wait until
 * those have been forwarded. */
enum { HOLD_BELOW = 256, RETRY_MS = 1000 };
/* jobs.lua's op P. */
enum { PUT_HEAD = 10, PUT_WALL = 1, PUT_MAP = 2, PUT_ORDERED = 8 };

/* A request that waits here for something. */
struct held {
	struct held *next;
	struct bh_req *req;
	void (*again)(struct redis_be *be, struct bh_req *req);
	int64_t until;			/* mono ms: it gives up */
	bool gives_up;			/* … at some time, maybe far away */
};

struct held_list {
	struct held *first, **last;
};

struct raway {
	struct redis_be *be;
	struct outbox *outbox;
	bool reading;
	size_t under_way;		/* entries that are being forwarded */
	bool failed;			/* one of them has */
	int64_t retry_at;		/* mono; 0: now */
	bool asking_ids;
	struct held_list until_empty;	/* of the outbox */
	struct held_list until_moved;	/* all of the local store */
	struct held_list until_told;	/* all ends of jobs have been */
	bool left;
	char left_why[BH_ERROR_TEXT];
};

/* An entry on its way. */
struct forward {
	struct raway *a;
	const struct outbox_entry *e;
	struct bh_job_opts opts;
	int64_t id;
	struct bh_finish finish;
};

/* --- requests that wait --- */

static struct held *
hold(struct held_list *l, struct bh_req *req, int64_t until,
    void (*again)(struct redis_be *be, struct bh_req *req))
{
	struct held *h = mem_new(sizeof(*h));

	h->req = req;
	h->again = again;
	h->until = until;
	*l->last = h;
	l->last = &h->next;
	return h;
}

static struct held *
unlink_held(struct held_list *l, struct held **at)
{
	struct held *h = *at;

	*at = h->next;
	if (!h->next)
		l->last = at;
	return h;
}

/* All of them, or those that do not give up by themselves. */
static void
release(struct redis_be *be, struct held_list *l, bool all)
{
	struct held *list = l->first, *h, *next;

	l->first = NULL;
	l->last = &l->first;
	for (h = list; h; h = next) {
		next = h->next;
		if (all || !h->gives_up) {
			h->again(be, h->req);
			free(h);
			continue;
		}
		h->next = NULL;
		*l->last = h;
		l->last = &h->next;
	}
}

static bool
cancel(struct redis_be *be, struct held_list *l, struct bh_req *req)
{
	for (struct held **at = &l->first; *at; at = &(*at)->next) {
		if ((*at)->req != req)
			continue;
		free(unlink_held(l, at));
		be_fail(be, req, BH_E_CANCELED, "the caller went away");
		return true;
	}
	return false;
}

/* Those whose time is up get no job; the mono ms of the next one. */
static int64_t
expire(struct redis_be *be, struct held_list *l)
{
	struct held **at = &l->first;
	int64_t next = INT64_MAX;

	while (*at) {
		struct bh_req *req = (*at)->req;

		if ((*at)->until > be->mono_ms) {
			if ((*at)->until < next)
				next = (*at)->until;
			at = &(*at)->next;
			continue;
		}
		free(unlink_held(l, at));
		((struct bh_get *)req)->job = NULL;
		req->status = BH_OK;
		be_answer(be, req);
	}
	return next;
}

static void
fail_held(struct redis_be *be, struct held_list *l)
{
	while (l->first) {
		struct held *h = unlink_held(l, &l->first);

		be_fail(be, h->req, BH_E_CANCELED, "shut down");
		free(h);
	}
}

/* --- life --- */

int
raway_new(struct redis_be *be, char err[BH_ERROR_TEXT])
{
	struct raway *a = mem_new(sizeof(*a));
	struct outbox_config c = {.dir = be->config.state_dir,
	    .wake = be->host->wake,
	    .max_bytes = be->host->option_int("max_disk")};
	int64_t name = 0;

	a->be = be;
	a->until_empty.last = &a->until_empty.first;
	a->until_moved.last = &a->until_moved.first;
	a->until_told.last = &a->until_told.first;
	be->aside = a;
	if (outbox_open(&a->outbox, &c, err) < 0)
		return -1;
	while (outbox_note(a->outbox, OUTBOX_INSTANCE) == 0) {
		if (getrandom(&name, sizeof(name), 0) != sizeof(name))
			mem_checked(NULL);
		outbox_set(a->outbox, OUTBOX_INSTANCE, name & INT64_MAX);
	}
	if (outbox_count(a->outbox) > 0)
		be_tell(be, BH_LOG_INFO, "the outbox has %" PRId64
		    " jobs and results that are still to be forwarded",
		    outbox_count(a->outbox));
	return 0;
}

void
raway_free(struct redis_be *be)
{
	struct raway *a = be->aside;

	if (!a)
		return;
	fail_held(be, &a->until_empty);
	fail_held(be, &a->until_moved);
	fail_held(be, &a->until_told);
	outbox_close(&a->outbox);
	be->aside = NULL;
	free(a);
}

void
raway_looked(struct redis_be *be)
{
	outbox_set(be->aside->outbox, OUTBOX_LOOKED, be->wall_ms ?
	    be->wall_ms : 1);
}

bool
raway_looked_once(const struct redis_be *be)
{
	return outbox_note(be->aside->outbox, OUTBOX_LOOKED) != 0;
}

bool
raway_empty(const struct redis_be *be)
{
	return outbox_count(be->aside->outbox) == 0;
}

int64_t
raway_count(const struct redis_be *be)
{
	return outbox_count(be->aside->outbox);
}

bool
raway_idle(const struct redis_be *be)
{
	return outbox_idle(be->aside->outbox);
}

void
raway_leave(struct redis_be *be, const char *why)
{
	be->aside->left = true;
	snprintf(be->aside->left_why, sizeof(be->aside->left_why), "%s", why);
	fail_held(be, &be->aside->until_moved);
}

bool
raway_left(const struct redis_be *be)
{
	return be->aside->left;
}

bool
raway_serves(const struct redis_be *be)
{
	return be->ready && !be->aside->left;
}

const char *
raway_why(const struct redis_be *be)
{
	return !be->closing && be->aside->left ? be->aside->left_why :
	    be->away;
}

bool
raway_cancel(struct redis_be *be, struct bh_req *req)
{
	struct raway *a = be->aside;

	return cancel(be, &a->until_empty, req) ||
	    cancel(be, &a->until_moved, req) ||
	    cancel(be, &a->until_told, req);
}

/* --- ids --- */

static void
on_range(void *arg, struct redisReply *r)
{
	struct raway *a = arg;

	a->asking_ids = false;
	if (!r || r->type != REDIS_REPLY_INTEGER)
		return;
	outbox_set(a->outbox, OUTBOX_NEXT, r->integer - RANGE + 1);
	outbox_set(a->outbox, OUTBOX_END, r->integer + 1);
}

static void
ask_range(struct raway *a)
{
	int64_t left = outbox_note(a->outbox, OUTBOX_END) -
	    outbox_note(a->outbox, OUTBOX_NEXT);
	char by[16], *key;

	if (a->asking_ids || left >= RANGE / 2 || !a->be->ready)
		return;
	snprintf(by, sizeof(by), "%d", RANGE);
	key = rglobal_key(a->be, "seq");
	a->asking_ids = rlink_sendv(a->be->main, on_range, a, "INCRBY", key,
	    by, NULL);
	free(key);
}

static int64_t
make_id(void *arg, struct bh_bytes queue, int64_t n)
{
	const struct raway *a = arg;
	const struct rqueue *q = rqueue_find(a->be, queue);

	return n << RQUEUE_BITS | (q && q->number >= 0 ? q->number :
	    RQUEUE_MASK);
}

bool
raway_late(const struct redis_be *be)
{
	return outbox_ends(be->aside->outbox) > 0;
}

int64_t
raway_last_id(const struct redis_be *be)
{
	return outbox_note(be->aside->outbox, OUTBOX_END) - 1;
}

bool
raway_armed(const struct redis_be *be)
{
	const struct outbox *o = be->aside->outbox;

	return outbox_note(o, OUTBOX_NEXT) < outbox_note(o, OUTBOX_END);
}

void
raway_up(struct redis_be *be)
{
	be->aside->retry_at = 0;
	ask_range(be->aside);
}

/* --- forwarding --- */

static void
forwarded(struct forward *f, bool ok, int64_t alias)
{
	struct raway *a = f->a;

	a->under_way--;
	if (ok)
		outbox_drop(a->outbox, f->e, alias);
	else
		a->failed = true;
	if (a->under_way == 0)
		a->be->host->wake();
	free(f);
}

/* A state; or whose the key is: {state, id}. */
static void
on_put(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct forward *f = arg;
	char text[BH_ERROR_TEXT];
	int64_t alias = 0;

	(void)q;
	if (!r || r->type == REDIS_REPLY_ERROR) {
		if (r) {
			(void)be_error(be, r, text);
			be_tell(be, BH_LOG_WARN, "a job of the outbox cannot"
			    " be forwarded yet: %s", text);
		}
		forwarded(f, false, 0);
		return;
	}
	if (r->type == REDIS_REPLY_ARRAY && r->elements >= 2 &&
	    r->element[1]->type == REDIS_REPLY_STRING)
		alias = strtoll(r->element[1]->str, NULL, 10);
	forwarded(f, true, alias);
}

/* Delays go on while it waits here. */
static void
late_opts(const struct forward *f, struct bh_job_opts *o)
{
	int64_t waited = f->a->be->wall_ms - f->e->at, run, late;

	*o = f->e->opts;
	if (waited < 0)
		waited = 0;
	run = o->delay_ms > 0 ? o->delay_ms : 0;
	late = o->at >= 0 ? f->a->be->wall_ms - o->at : waited - run;
	if (o->delay_ms > 0)
		o->delay_ms = run > waited ? run - waited : 0;
	if (o->expires_ms >= 0 && late > 0)
		o->expires_ms = o->expires_ms > late ? o->expires_ms - late :
		    1;
}

/* An op of jobs.lua that takes the job once, however often it comes. */
static void
put_op(struct redis_be *be, struct rqueue *q, struct forward *f,
    const char *name, const char *seq)
{
	const struct bh_job_opts *o = &f->opts;
	struct bh_bytes map = {NULL, 0};
	char *x = rrecord_opts(o, (struct bh_bytes){NULL, 0}, &map.len);
	char id[24], *p;
	int len = snprintf(id, sizeof(id), "%" PRId64, f->id);

	p = rop_begin(be, q, PUT_HEAD + (size_t)len, on_put, f);
	p[0] = 'P';
	p[1] = (char)(PUT_ORDERED | (o->at >= 0 ? PUT_WALL : 0) |
	    (x ? PUT_MAP : 0));
	p[2] = (char)(o->priority >= 0 ? o->priority : 5);
	p[3] = (char)(o->unique_mode > 0 ? o->unique_mode : 0);
	rput48(p + 4, o->at >= 0 ? o->at : o->delay_ms > 0 ? o->delay_ms : 0);
	memcpy(p + PUT_HEAD, id, (size_t)len);
	rop_copy(q, f->e->payload);
	map.data = x;
	if (x)
		rop_copy(q, map);
	rop_copy(q, (struct bh_bytes){name, strlen(name)});
	rop_copy(q, (struct bh_bytes){seq, strlen(seq)});
	free(x);
}

static void
on_learnt(void *arg, struct redisReply *r)
{
	(void)arg, (void)r;
}

/* An id that does not say whose it is. */
static void
announce(struct redis_be *be, const struct rqueue *q, int64_t id)
{
	char text[24], number[16], *key = rglobal_key(be, "alien");

	snprintf(text, sizeof(text), "%" PRId64, id);
	snprintf(number, sizeof(number), "%d", q->number);
	(void)rlink_sendv(be->main, on_learnt, NULL, "HSET", key, text,
	    number, NULL);
	free(key);
}

static void
put_one(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct forward *f = arg;
	char name[40], seq[24];

	if (!q) {
		forwarded(f, false, 0);
		return;
	}
	if ((f->id & RQUEUE_MASK) == RQUEUE_MASK)
		announce(be, q, f->id);
	late_opts(f, &f->opts);
	snprintf(name, sizeof(name), "o%" PRIx64, (uint64_t)outbox_note(
	    f->a->outbox, OUTBOX_INSTANCE));
	snprintf(seq, sizeof(seq), "%" PRId64, f->e->seq);
	put_op(be, q, f, name, seq);
}

static void
on_finish(struct bh_req *req)
{
	struct forward *f = req->user;

	/* Who holds it no more has lost it: nothing is left to be done. */
	forwarded(f, req->status == BH_OK || req->status == BH_E_STALE ||
	    req->status == BH_E_NOTFOUND || req->status == BH_E_CONFLICT ||
	    req->status == BH_E_TOOBIG, 0);
}

static void
finish_one(struct redis_be *be, struct forward *f)
{
	const struct outbox_entry *e = f->e;

	f->finish = (struct bh_finish){.req = {.done = on_finish, .user = f},
	    .id = e->id, .token = e->token, .outcome = e->outcome,
	    .result = e->result, .message = e->message,
	    .version = e->version, .delay_ms = e->delay_ms,
	    .final = e->final, .step = e->step};
	f->finish.req.priv.kind = RFINISH_LATE;
	rjobs_finish(be, &f->finish);
}

static void
on_read(void *arg, const struct outbox_entry *e, size_t n)
{
	struct raway *a = arg;

	a->reading = false;
	if (!a->be->ready)
		return;
	a->under_way = n;
	for (size_t i = 0; i < n; i++) {
		struct forward *f = mem_new(sizeof(*f));

		f->a = a;
		f->e = &e[i];
		f->id = e[i].id;
		if (e[i].is_finish)
			finish_one(a->be, f);
		else
			rqueue_of_name(a->be, e[i].queue, put_one, f);
	}
}

static void
forward_some(struct raway *a)
{
	if (a->failed && a->under_way == 0) {
		a->failed = false;
		a->retry_at = a->be->mono_ms + RETRY_MS;
	}
	if (!a->be->ready || rmove_living(a->be) || a->reading ||
	    a->under_way > 0 || outbox_count(a->outbox) == 0 ||
	    a->retry_at > a->be->mono_ms)
		return;
	a->retry_at = 0;
	a->reading = true;
	outbox_read(a->outbox, 0, on_read, a);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t
raway_turn(struct redis_be *be)
{
	struct raway *a = be->aside;
	bool full = outbox_count(a->outbox) > 0;
	int64_t next;

	(void)outbox_take(a->outbox);
	forward_some(a);
	/* Held puts go to the disk when it is away again. */
	if ((outbox_count(a->outbox) == 0 || !be->ready) &&
	    a->until_empty.first)
		release(be, &a->until_empty, be->ready);
	if (full && outbox_count(a->outbox) == 0 && be->ready)
		be_tell(be, BH_LOG_INFO, "the outbox is empty: all has been"
		    " forwarded to Redis");
	if (!raway_late(be) && a->until_told.first)
		release(be, &a->until_told, true);
	if (rmove_over(be) && a->until_moved.first)
		release(be, &a->until_moved, true);
	ask_range(a);
	next = earlier(expire(be, &a->until_empty),
	    expire(be, &a->until_moved));
	return a->retry_at ? earlier(next, a->retry_at) : next;
}

/* --- the verbs --- */

static void
put_again(struct redis_be *be, struct bh_req *req)
{
	raway_put(be, (struct bh_put *)req);
}

void
raway_put(void *arg, struct bh_put *r)
{
	struct redis_be *be = arg;
	struct raway *a = be->aside;
	int64_t n = outbox_count(a->outbox);

	if (a->left || (!be->ready && !raway_looked_once(be)))
		be_fail_away(be, &r->req);
	else if (!be->ready || rmove_living(be) || n >= HOLD_BELOW)
		outbox_put(a->outbox, r, be->wall_ms, make_id, a);
	else if (n > 0)
		hold(&a->until_empty, &r->req, INT64_MAX, put_again);
	else
		rjobs_put(be, r);
}

static void
reserve_again(struct redis_be *be, struct bh_req *req)
{
	raway_reserve(be, (struct bh_reserve *)req);
}

void
raway_reserve(void *arg, struct bh_reserve *r)
{
	struct redis_be *be = arg;

	if (be->ready && raway_late(be))
		hold(&be->aside->until_told, &r->req, INT64_MAX,
		    reserve_again);
	else if (be->aside->left || (!be->ready && r->block_ms < 0))
		be_fail_away(be, &r->req);
	else
		rjobs_reserve(be, r);
}

/* What an id of the local store is asked for may not have arrived yet. */
static bool
on_the_way(const struct redis_be *be, int64_t id)
{
	return !rmove_over(be) && id < rmove_bound(be);
}

/* A request about such an id: asked again at the end, if it is in vain. */
struct doubt {
	struct redis_be *be;
	bh_done_fn *done;
	void *user;
	void (*again)(struct redis_be *be, struct bh_req *req);
	bool get;
};

static void
doubted(struct bh_req *req)
{
	struct doubt d = *(struct doubt *)req->user;
	bool vain = req->status == BH_E_NOTFOUND ||
	    req->status == BH_E_STALE ||
	    (d.get && req->status == BH_OK && !((struct bh_get *)req)->job);

	free(req->user);
	req->done = d.done;
	req->user = d.user;
	if (vain && !rmove_over(d.be) && !d.be->aside->left)
		hold(&d.be->aside->until_moved, req, INT64_MAX, d.again);
	else
		req->done(req);
}

static void
doubt(struct redis_be *be, struct bh_req *req, bool get,
    void (*again)(struct redis_be *be, struct bh_req *req))
{
	struct doubt *d = mem_new(sizeof(*d));

	*d = (struct doubt){be, req->done, req->user, again, get};
	req->done = doubted;
	req->user = d;
}

static void
finish_again(struct redis_be *be, struct bh_req *req)
{
	raway_finish(be, (struct bh_finish *)req);
}

void
raway_finish(void *arg, struct bh_finish *r)
{
	struct redis_be *be = arg;
	char seed[RSEED];

	r->req.priv.kind = 0;
	if (raway_serves(be)) {
		if (on_the_way(be, r->id))
			doubt(be, &r->req, false, finish_again);
		rjobs_finish(be, r);
		return;
	}
	rtoken_seed(seed, r->token, r->id);
	/* Whom this instance has given the job, or it was another's. */
	if (be->aside->left || rinstance(be) == 0 ||
	    ((unsigned char)seed[0] << 8 | (unsigned char)seed[1]) !=
	    rinstance(be))
		be_fail_away(be, &r->req);
	else
		outbox_finish(be->aside->outbox, r, be->wall_ms);
}

static void
extend_again(struct redis_be *be, struct bh_req *req)
{
	raway_extend(be, (struct bh_extend *)req);
}

void
raway_extend(void *arg, struct bh_extend *r)
{
	struct redis_be *be = arg;

	if (!raway_serves(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	if (on_the_way(be, r->id))
		doubt(be, &r->req, false, extend_again);
	rjobs_extend(be, r);
}

static void
alter_again(struct redis_be *be, struct bh_req *req)
{
	raway_alter(be, (struct bh_alter *)req);
}

void
raway_alter(void *arg, struct bh_alter *r)
{
	struct redis_be *be = arg;

	if (!raway_serves(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	if (on_the_way(be, r->id))
		doubt(be, &r->req, false, alter_again);
	rlist_alter(be, r);
}

/* --- get --- */

static void
get_again(struct redis_be *be, struct bh_req *req)
{
	raway_get(be, (struct bh_get *)req);
}

static void
hold_get(struct redis_be *be, struct bh_get *r)
{
	hold(&be->aside->until_empty, &r->req, r->wait_ms > 0 ?
	    be->mono_ms + r->wait_ms : INT64_MAX, get_again)->gives_up =
	    true;
}

static void
get_there(struct redis_be *be, struct bh_get *r)
{
	int64_t alias = outbox_alias(be->aside->outbox, r->id);

	if (alias)
		r->id = alias;
	if (!raway_serves(be)) {
		/* Who waits for the end of a job waits for Redis as well. */
		if (be->aside->left || r->wait_ms < 0 || r->why)
			be_fail_away(be, &r->req);
		else
			hold_get(be, r);
		return;
	}
	if (on_the_way(be, r->id) && !r->why && r->wait_ms < 0)
		doubt(be, &r->req, true, get_again);
	rjobs_get(be, r);
}

/* The outbox has been asked. */
struct asked {
	struct redis_be *be;
	bh_done_fn *done;
	void *user;
};

static void
why_here(struct redis_be *be, struct bh_get *r)
{
	r->why->gate = BH_GATE_BACKEND;
	r->why->state = r->job->state;
	r->why->until = r->why->ahead = 0;
	snprintf(r->why->text, sizeof(r->why->text), "it waits in the outbox"
	    " of this machine to be forwarded: %s", be->ready ?
	    "others are before it" : be->away);
}

static void
outbox_said(struct bh_req *req)
{
	struct bh_get *r = (struct bh_get *)req;
	struct asked d = *(struct asked *)req->user;

	free(req->user);
	req->done = d.done;
	req->user = d.user;
	if (!r->job || req->status != BH_OK) {
		req->status = BH_OK;
		get_there(d.be, r);
	} else if (r->wait_ms >= 0 && !r->why) {
		hold_get(d.be, r);
	} else {
		if (r->why)
			why_here(d.be, r);
		req->done(req);
	}
}

void
raway_get(void *arg, struct bh_get *r)
{
	struct redis_be *be = arg;
	struct raway *a = be->aside;
	struct asked *d;

	if (a->left || outbox_count(a->outbox) == 0) {
		get_there(be, r);
		return;
	}
	d = mem_new(sizeof(*d));
	*d = (struct asked){be, r->req.done, r->req.user};
	r->req.done = outbox_said;
	r->req.user = d;
	outbox_get(a->outbox, r, be->wall_ms);
}
