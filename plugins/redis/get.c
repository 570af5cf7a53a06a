/* SPDX-License-Identifier: MIT */
/* Looking at one job: as it is, when it has ended, and why it is not running.
 */
#include <hiredis/hiredis.h>

#include "redis/jobs.h"
#include "redis/mem.h"

enum { HEADER = 2, PART_META = 0, PARTS = 4 };

/* A request that is under way, or waits for the job's end. */
struct getter {
	TAILQ_ENTRY(getter) all;
	struct redis_be *be;
	struct bh_get *req;
	struct rqueue *q;
	int64_t deadline;		/* mono, INT64_MAX never */
	bool asking;
	bool ended;			/* as was heard while it was asking */
	bool late;			/* it has waited long enough */
	bool cancelled;
};

struct rgets {
	TAILQ_HEAD(, getter) all;
	int64_t deadline;
};

static struct rgets *
gets_of(const struct redis_be *be)
{
	return be->jobs->gets;
}

static struct bh_get *
getter_free(struct getter *g)
{
	struct bh_get *r = g->req;

	TAILQ_REMOVE(&gets_of(g->be)->all, g, all);
	r->req.priv.state = NULL;
	free(g);
	return r;
}

/* From a reply. */
static void
answer_job(struct getter *g, const struct rparts *p)
{
	struct rqueue *q = g->q;
	struct rarena memory = {0};
	struct bh_job job = {0};
	struct bh_get *r = getter_free(g);

	job.id = r->id;
	if (rrecord_job(&job, &memory, p, q->name, &q->opts, false))
		r->job = &job;
	be_done(&r->req);
	rarena_free(&memory);
}

/* --- why --- */

static void
span(int64_t ms, char *out, size_t size)
{
	int64_t s = ms / 1000;

	if (ms < 0)
		ms = s = 0;
	if (ms < 10000)
		snprintf(out, size, "%lld.%lld s", (long long)s,
		    (long long)(ms % 1000 / 100));
	else if (s < 120)
		snprintf(out, size, "%lld s", (long long)s);
	else if (s < 7200)
		snprintf(out, size, "%lld min", (long long)(s / 60));
	else if (s < 172800)
		snprintf(out, size, "%lld h", (long long)(s / 3600));
	else
		snprintf(out, size, "%lld d", (long long)(s / 86400));
}

struct facts {
	int64_t a, b;
	struct bh_bytes text;
	char span[32];
};

static void
why_paused(struct bh_why *w, const struct rqueue *q, const struct facts *f)
{
	snprintf(w->text, sizeof(w->text), "queue %s was paused %s ago by "
	    "%.*s", q->name, f->span, f->text.len ? (int)f->text.len : 8,
	    f->text.len ? f->text.data : "somebody");
}

static void
why_held(struct bh_why *w, const struct rqueue *q, const struct facts *f)
{
	snprintf(w->text, sizeof(w->text), "queue %s is held for another %s"
	    "%s%.*s", q->name, f->span, f->text.len ? ": " : "",
	    (int)f->text.len, f->text.len ? f->text.data : "");
}

static void
why_delayed(struct bh_why *w, const struct facts *f)
{
	if (f->b)
		snprintf(w->text, sizeof(w->text), "it is tried again in %s, "
		    "after error %lld of %.*s", f->span, (long long)f->b,
		    (int)f->text.len, f->text.data);
	else
		snprintf(w->text, sizeof(w->text), "it is due in %s",
		    f->span);
}

static void
why_rate(struct bh_why *w, const struct rqueue *q, const struct facts *f)
{
	char per[32];

	span(q->opts.rate_per_ms, per, sizeof(per));
	snprintf(w->text, sizeof(w->text), "the rate of %lld per %s for %s is"
	    " used up; the next token comes in %s",
	    (long long)q->opts.rate_limit, per, f->b ? "its group" : q->name,
	    f->span);
}

static void
why_active(struct bh_why *w, const struct rqueue *q, const struct facts *f)
{
	snprintf(w->text, sizeof(w->text), "%lld jobs of queue %s are active,"
	    " max_active is %lld", (long long)f->a, q->name,
	    (long long)q->opts.max_active);
}

static void
why_text(struct bh_why *w, const struct rqueue *q, const struct facts *f)
{
	static const char *const states[] = {"waiting", "delayed", "active",
	    "completed", "failed"};
	const char *state = states[w->state];

	switch ((int)w->gate) {
	case BH_GATE_STATE:
		snprintf(w->text, sizeof(w->text), "it is %s", state);
		break;
	case BH_GATE_PAUSED:
		why_paused(w, q, f);
		break;
	case BH_GATE_HELD:
		why_held(w, q, f);
		break;
	case BH_GATE_DELAYED:
		why_delayed(w, f);
		break;
	case BH_GATE_UNIQUE:
		snprintf(w->text, sizeof(w->text), "it follows job %lld, which"
		    " holds their unique key and has not ended",
		    (long long)w->ahead);
		break;
	case BH_GATE_RATE:
		why_rate(w, q, f);
		break;
	case BH_GATE_GROUP:
		snprintf(w->text, sizeof(w->text), "job %lld of the same group"
		    " is ahead (%s)", (long long)w->ahead,
		    states[f->a % BH_STATES]);
		break;
	case BH_GATE_MAX_ACTIVE:
		why_active(w, q, f);
		break;
	case RGATE_GATHERING:
		w->gate = BH_GATE_DELAYED;
		snprintf(w->text, sizeof(w->text), "its batch is gathering "
		    "until %s from now, or until %lld jobs are there",
		    f->span, (long long)f->b);
		break;
	default:
		snprintf(w->text, sizeof(w->text), "nothing holds it; it is "
		    "next when a worker or handler of queue %s is free",
		    q->name);
	}
}

/* {gate, state, until, ahead, a number, another, text}. */
static void
why_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct getter *g = arg;
	struct bh_get *req = getter_free(g);
	struct bh_why *w = req->why;
	struct facts f;

	if (!r) {
		be_fail(be, &req->req, BH_E_CANCELED, "shut down");
	} else if (r->type == REDIS_REPLY_ERROR) {
		be_done_error(be, &req->req, r);
	} else if (r->elements < 7) {
		be_done_fail(&req->req, BH_E_NOTFOUND,
		    "job %lld does not exist", (long long)req->id);
	} else {
		*w = (struct bh_why){
		    .gate = (enum bh_gate)r->element[0]->integer,
		    .state = (enum bh_job_state)r->element[1]->integer,
		    .until = r->element[2]->integer,
		    .ahead = strtoll(r->element[3]->str, NULL, 10)};
		f.a = r->element[4]->integer;
		f.b = r->element[5]->integer;
		f.text = (struct bh_bytes){r->element[6]->str,
		    r->element[6]->len};
		span(f.a, f.span, sizeof(f.span));
		why_text(w, q, &f);
		be_done(&req->req);
	}
}

/* --- get and wait --- */

static void ask(struct getter *g, bool wait);

static void
park(struct getter *g)
{
	struct rgets *s = gets_of(g->be);

	if (g->ended || g->late) {
		ask(g, false);
		return;
	}
	if (g->deadline < s->deadline)
		s->deadline = g->deadline;
}

static void
get_done(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct getter *g = arg;
	struct bh_req *req = &g->req->req;

	(void)q;
	g->asking = false;
	if (!r || g->cancelled) {
		(void)getter_free(g);
		be_fail(be, req, BH_E_CANCELED, r ? "the caller went away"
		    : "shut down");
	} else if (r->type == REDIS_REPLY_ERROR) {
		(void)getter_free(g);
		be_done_error(be, req, r);
	} else if (r->type == REDIS_REPLY_INTEGER) {
		park(g);
	} else if (r->elements < PARTS && g->req->wait_ms >= 0 &&
	    !g->ended) {
		struct bh_get *get = getter_free(g);

		be_done_fail(req, BH_E_NOTFOUND, "job %lld does not exist",
		    (long long)get->id);
	} else if (r->elements < PARTS) {
		(void)getter_free(g);
		be_done(req);
	} else if (g->late && r->element[PART_META]->str[0] <
	    BH_COMPLETED) {
		(void)getter_free(g);
		be_done(req);		/* it has waited in vain */
	} else {
		answer_job(g, &(struct rparts){r->element[0], r->element[1],
		    r->element[2], r->element[3], NULL});
	}
}

static void
ask(struct getter *g, bool wait)
{
	char text[24], *p;
	int len = snprintf(text, sizeof(text), "%lld",
	    (long long)g->req->id);

	if (g->req->why) {
		p = rop_begin(g->be, g->q, 1 + (size_t)len, why_done, g);
		p[0] = 'Y';
		memcpy(p + 1, text, (size_t)len);
		return;
	}
	g->asking = true;
	p = rop_begin(g->be, g->q, HEADER + (size_t)len, get_done, g);
	p[0] = 'G';
	p[1] = wait;
	memcpy(p + HEADER, text, (size_t)len);
}

static void
get_queue(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct getter *g = arg;

	if (q) {
		g->q = q;
		ask(g, g->req->wait_ms >= 0);
		return;
	}
	if (be->jobs->closing)
		be_fail(be, &g->req->req, BH_E_CANCELED, "shut down");
	else if (g->req->why || g->req->wait_ms >= 0)
		be_fail(be, &g->req->req, BH_E_NOTFOUND,
		    "job %lld does not exist", (long long)g->req->id);
	else {
		g->req->req.status = BH_OK;
		g->req->req.text[0] = '\0';
		be_answer(be, &g->req->req);
	}
	(void)getter_free(g);
}

void
rjobs_get(void *arg, struct bh_get *r)
{
	struct redis_be *be = arg;
	struct getter *g;

	r->job = NULL;
	r->req.priv.state = NULL;
	r->req.priv.kind = 0;
	if (!be->ready) {
		be_fail_away(be, &r->req);
		return;
	}
	g = mem_new(sizeof(*g));
	g->be = be;
	g->req = r;
	g->deadline = r->wait_ms > 0 ? be->mono_ms + r->wait_ms : INT64_MAX;
	r->req.priv.state = g;
	r->req.priv.kind = RKIND_GET;
	TAILQ_INSERT_TAIL(&gets_of(be)->all, g, all);
	rqueue_of_id(be, r->id, get_queue, g);
}

bool
rgets_cancel(struct redis_be *be, struct bh_req *req)
{
	struct getter *g = req->priv.state;

	if (req->priv.kind != RKIND_GET || !g)
		return false;
	if (g->asking || !g->q || g->req->why) {
		g->cancelled = true;
		return true;
	}
	(void)getter_free(g);
	be_fail(be, req, BH_E_CANCELED, "the caller went away");
	return true;
}

/* The job as it was at its end, when it is not kept; else it is asked for. */
void
rgets_ended(struct redis_be *be, struct rqueue *q,
    const struct redisReply *list)
{
	struct getter *g, *next;

	for (size_t i = 0; i < list->elements; i++) {
		struct redisReply *const *e = list->element[i]->element;
		int64_t id = strtoll(e[0]->str, NULL, 10);

		for (g = TAILQ_FIRST(&gets_of(be)->all); g; g = next) {
			next = TAILQ_NEXT(g, all);
			if (g->req->id != id || g->req->why || !g->q)
				continue;
			g->ended = true;
			if (g->asking)
				continue;
			if (e[1]->len >= RMETA)
				answer_job(g, &(struct rparts){e[1], e[2],
				    e[3], e[4], NULL});
			else
				ask(g, false);
		}
	}
	(void)q;
}

void
rgets_heard(struct redis_be *be, int64_t id)
{
	struct getter *g;

	TAILQ_FOREACH(g, &gets_of(be)->all, all) {
		if ((id && g->req->id != id) || g->req->why || !g->q)
			continue;
		if (g->asking)
			g->ended = id != 0 || g->ended;
		else
			ask(g, id == 0);
		if (id)
			g->ended = true;
	}
}

int64_t
rgets_run(struct redis_be *be)
{
	struct rgets *s = gets_of(be);
	struct getter *g, *next;

	if (be->mono_ms < s->deadline)
		return s->deadline;
	s->deadline = INT64_MAX;
	for (g = TAILQ_FIRST(&s->all); g; g = next) {
		next = TAILQ_NEXT(g, all);
		if (g->deadline > be->mono_ms) {
			if (g->deadline < s->deadline)
				s->deadline = g->deadline;
		} else if (g->asking || !g->q) {
			g->late = true;
		} else {
			struct bh_get *r = getter_free(g);

			r->req.status = BH_OK;
			r->req.text[0] = '\0';
			be_answer(be, &r->req);
		}
	}
	return s->deadline;
}

void
rgets_new(struct redis_be *be)
{
	be->jobs->gets = mem_new(sizeof(*be->jobs->gets));
	TAILQ_INIT(&gets_of(be)->all);
	gets_of(be)->deadline = INT64_MAX;
}

void
rgets_free(struct redis_be *be)
{
	struct getter *g;

	while ((g = TAILQ_FIRST(&gets_of(be)->all))) {
		struct bh_req *req = &g->req->req;

		(void)getter_free(g);
		be_fail(be, req, BH_E_CANCELED, "shut down");
	}
	free(be->jobs->gets);
	be->jobs->gets = NULL;
}
