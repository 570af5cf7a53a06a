/* SPDX-License-Identifier: MIT */
/* The life cycle, the requests and the turn. */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "fake_int.h"

/* --- lists of requests, in order of arrival --- */

void
fake_reqs_add(struct fake_reqs *l, struct bh_req *req)
{
	struct bh_req **p = &l->head;

	while (*p)
		p = &(*p)->priv.next;
	*p = req;
	req->priv.next = NULL;
}

bool
fake_reqs_remove(struct fake_reqs *l, const struct bh_req *req)
{
	struct bh_req **p = &l->head;

	while (*p && *p != req)
		p = &(*p)->priv.next;
	if (!*p)
		return false;
	*p = (*p)->priv.next;
	return true;
}

void
fake_answer(struct fake *f, struct bh_req *req, int status, const char *text)
{
	size_t n = strlen(text);

	CHECK(n < sizeof(req->text));
	req->status = status;
	memcpy(req->text, text, n + 1);
	fake_reqs_add(&f->ready, req);
}

/* done() may free the request and may issue new ones. */
static void
requests_deliver(struct fake *f)
{
	struct bh_req *req;

	while ((req = f->ready.head)) {
		struct arena *a = req->priv.state;

		f->ready.head = req->priv.next;
		req->done(req);
		arena_done(a);
		free(a);
	}
}

/* --- verbs --- */

static void
request_issue(struct fake *f, struct bh_req *req, enum fake_kind kind)
{
	req->status = BH_OK;
	req->text[0] = '\0';
	req->priv.kind = kind;
	req->priv.waits = 0;
	req->priv.lsn = 0;
	req->priv.state = xcalloc(1, sizeof(struct arena));
	fake_reqs_add(&f->inbox, req);
}

static void
verb_put(void *be, struct bh_put *r)
{
	request_issue(be, &r->req, FAKE_PUT);
}

static void
verb_reserve(void *be, struct bh_reserve *r)
{
	request_issue(be, &r->req, FAKE_RESERVE);
}

static void
verb_finish(void *be, struct bh_finish *r)
{
	request_issue(be, &r->req, FAKE_FINISH);
}

static void
verb_extend(void *be, struct bh_extend *r)
{
	request_issue(be, &r->req, FAKE_EXTEND);
}

static void
verb_get(void *be, struct bh_get *r)
{
	request_issue(be, &r->req, FAKE_GET);
}

static void
verb_list(void *be, struct bh_list *r)
{
	request_issue(be, &r->req, FAKE_LIST);
}

static void
verb_alter(void *be, struct bh_alter *r)
{
	request_issue(be, &r->req, FAKE_ALTER);
}

static void
verb_stats(void *be, struct bh_stats *r)
{
	request_issue(be, &r->req, FAKE_STATS);
}

static void
verb_queue_alter(void *be, struct bh_queue_alter *r)
{
	request_issue(be, &r->req, FAKE_QUEUE);
}

static void
fake_cancel(void *be, struct bh_req *req)
{
	struct fake *f = be;

	if (fake_reqs_remove(&f->inbox, req) ||
	    fake_reqs_remove(&f->parked, req))
		fake_answer(f, req, BH_E_CANCELED, "the caller went away");
}

/* --- the turn --- */

static void
fake_turn_begin(void *be, int64_t wall_ms, int64_t mono_ms)
{
	struct fake *f = be;

	f->wall = wall_ms;
	f->mono = mono_ms;
	f->turn++;
	fake_jobs_run_due(f);
}

static void
list_exec(struct fake *f, struct fake_reqs *from)
{
	struct bh_req *req = from->head, *next;

	from->head = NULL;
	for (; req; req = next) {
		next = req->priv.next;
		if (!fake_exec(f, req))
			fake_reqs_add(&f->parked, req);
	}
}

/* Those who wait have come first: they are served before anyone new is. */
void
fake_serve_parked(struct fake *f)
{
	list_exec(f, &f->parked);
}

static int64_t
fake_turn_end(void *be)
{
	struct fake *f = be;
	int64_t next, token;

	f->again = false;
	list_exec(f, &f->inbox);
	fake_serve_parked(f);
	fake_tell(f);
	requests_deliver(f);
	fake_offer(f);
	next = fake_jobs_next(f);
	token = fake_pick_next(f);
	if (token < next)
		next = token;
	return f->again || f->inbox.head || f->ready.head ? f->mono : next;
}

static void
fake_listen(void *be, const struct bh_events *events, void *arg)
{
	struct fake *f = be;
	struct fake_owed *o;

	f->events = events;
	f->events_arg = arg;
	TAILQ_FOREACH(o, &f->owed, link)
		o->offered = false;
}

static void
owed_free(struct fake *f, struct fake_owed *o)
{
	TAILQ_REMOVE(&f->owed, o, link);
	arena_done(&o->arena);
	free(o);
}

static void
fake_callback_done(void *be, int64_t id)
{
	struct fake *f = be;
	struct fake_owed *o;

	TAILQ_FOREACH(o, &f->owed, link) {
		if (o->cb.id == id) {
			owed_free(f, o);
			return;
		}
	}
}

static void
fake_options_changed(void *be)
{
	struct fake *f = be;
	struct fake_queue *q;

	TAILQ_FOREACH(q, &f->queues, link)
		qopts_resolve(f->qopts, q->name, &q->opts);
}

static void
fake_health(void *be, struct bh_health *ret)
{
	(void)be;
	*ret = (struct bh_health){.type = "fake", .accepting = true};
}

static void
fake_drain(void *be)
{
	struct fake *f = be;

	f->draining = true;
}

static bool
fake_idle(void *be)
{
	(void)be;
	return true;
}

/* --- life --- */

void *
fake_open(struct qopts *qopts)
{
	struct fake *f = xcalloc(1, sizeof(*f));

	f->qopts = qopts;
	TAILQ_INIT(&f->queues);
	TAILQ_INIT(&f->lines);
	TAILQ_INIT(&f->jobs);
	TAILQ_INIT(&f->owed);
	TAILQ_INIT(&f->news);
	return f;
}

static void
requests_cancel(struct fake *f, struct fake_reqs *l)
{
	struct bh_req *req;

	while ((req = l->head)) {
		l->head = req->priv.next;
		fake_answer(f, req, BH_E_CANCELED, "the backend closes");
	}
}

static void
fake_close(void *be)
{
	struct fake *f = be;
	struct fake_queue *q;
	struct fake_line *l;

	requests_cancel(f, &f->inbox);
	requests_cancel(f, &f->parked);
	requests_deliver(f);
	fake_watch_jobs(f, false);
	while (!TAILQ_EMPTY(&f->jobs))
		fake_job_free(f, TAILQ_FIRST(&f->jobs));
	while (!TAILQ_EMPTY(&f->owed))
		owed_free(f, TAILQ_FIRST(&f->owed));
	while ((l = TAILQ_FIRST(&f->lines))) {
		TAILQ_REMOVE(&f->lines, l, link);
		fake_clear(&l->group);
		free(l);
	}
	while ((q = TAILQ_FIRST(&f->queues))) {
		TAILQ_REMOVE(&f->queues, q, link);
		fake_clear(&q->paused_by);
		fake_clear(&q->held_reason);
		free(q->name);
		free(q);
	}
	free(f);
}

const struct bh_backend_ops fake_ops = {
	.name = "fake",
	.job_put = verb_put,
	.job_reserve = verb_reserve,
	.job_finish = verb_finish,
	.job_extend = verb_extend,
	.job_get = verb_get,
	.job_list = verb_list,
	.job_alter = verb_alter,
	.queue_stats = verb_stats,
	.queue_alter = verb_queue_alter,
	.cancel = fake_cancel,
	.turn_begin = fake_turn_begin,
	.turn_end = fake_turn_end,
	.listen = fake_listen,
	.callback_done = fake_callback_done,
	.watch_jobs = fake_watch_jobs,
	.options_changed = fake_options_changed,
	.health = fake_health,
	.drain = fake_drain,
	.idle = fake_idle,
	.close = fake_close,
};
