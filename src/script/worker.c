/* SPDX-License-Identifier: MIT */
#include "script/worker.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "rt/pulse.h"
#include "rt/thr.h"
#include "script/load.h"
#include "script/lua_ask.h"
#include "script/lua_hook.h"
#include "script/outside.h"
#include "script/run.h"
#include "script/watch.h"

#define SLICE_US 2000			/* of runs between two looks around */
#define CHAIN_MAX 64			/* results that are held back */
#define GRACE_MS 5000			/* after a cancel */
#define RELOAD_MS 5000			/* a state that cannot be made */

TAILQ_HEAD(run_list, run);
TAILQ_HEAD(state_list, state);

struct worker {
	struct host host;		/* first */
	int index;
	pthread_t thread;
	struct ev_loop *loop;
	ev_async wake;
	struct mbox inbox;
	struct mbox *to_main;
	struct msg *out_first, *out_last;	/* not sent yet */
	unsigned out_n;
	struct run_list runs;		/* all */
	struct run_list ready;		/* those that want the CPU */
	struct state_list states;
	struct watch *watch;		/* index 0 only */
	struct pulse pulse;
	struct outside *outside;
	bool stop;
};

static struct run_msg *
msg_of(struct run *r)
{
	return container_of(r, struct run_msg, run);
}

static void
flush(struct worker *w)
{
	if (!w->out_first)
		return;
	mbox_send_chain(w->to_main, &w->out_first->mail, &w->out_last->mail);
	w->out_first = w->out_last = NULL;
	w->out_n = 0;
}

static void
send_main(struct worker *w, struct msg *m, enum msg_kind kind)
{
	m->kind = kind;
	m->worker = w->index;
	m->mail.next = NULL;
	if (w->out_last)
		w->out_last->mail.next = &m->mail;
	else
		w->out_first = m;
	w->out_last = m;
	if (++w->out_n >= CHAIN_MAX)
		flush(w);
}

static void
make_ready(struct worker *w, struct run *r)
{
	TAILQ_INSERT_TAIL(&w->ready, r, ready);
	r->queued = true;
}

/* Takes the run off every list and sends its message home. */
static void
end_run(struct worker *w, struct run *r)
{
	size_t i;

	CHECK(r->st == NULL);
	if (r->queued)
		TAILQ_REMOVE(&w->ready, r, ready);
	r->queued = false;
	TAILQ_REMOVE(&w->runs, r, entry);
	ev_timer_stop(w->loop, &r->nap);
	ev_timer_stop(w->loop, &r->deadline);
	for (i = 0; i < msg_of(r)->njobs; i++)
		ev_timer_stop(w->loop, &msg_of(r)->jobs[i]->run.deadline);
	if (r->ask)
		r->ask->run = NULL;	/* its answer comes too late */
	r->ask = NULL;
	if (r->call)
		outside_cancel(w->outside, r->call);
	r->call = NULL;
	ask_free(&r->answered);		/* an answer that it did not live to see */
	call_free(&r->called);
	send_main(w, &msg_of(r)->m, FROM_ENDED);
}

static void
state_drop(struct worker *w, struct state *st)
{
	TAILQ_REMOVE(&w->states, st, entry);
	state_free(&st);
}

static void
state_settle(struct worker *w, struct state *st)
{
	if (st->nruns == 0 && (st->retired || st->dead))
		state_drop(w, st);
}

/* Ends a run that has a coroutine; its end is filled. */
static void
drop_run(struct worker *w, struct run *r)
{
	struct state *st = r->st;

	run_drop(msg_of(r));
	end_run(w, r);
	state_settle(w, st);
}

/* The state's C code hung: whatever else it ran is given back. */
static void
abandon(struct worker *w, struct state *st)
{
	struct run *r, *next;

	st->nruns++;			/* keeps it while its runs go */
	TAILQ_FOREACH_SAFE(r, &w->runs, entry, next) {
		if (r->st != st)
			continue;
		run_end_release(msg_of(r), 0);
		drop_run(w, r);
	}
	st->nruns--;
	log_about(LOG_ERROR, &(struct log_about){.script = st->src->name,
	    .event = EVENT_SCRIPT_STUCK}, "a job was stuck in C code; the script's other jobs on this "
	    "thread are started again, its variables begin anew");
	state_drop(w, st);
}

static struct state *
state_find(struct worker *w, const struct source *src)
{
	struct state *st;

	TAILQ_FOREACH(st, &w->states, entry)
		if (st->src == src)
			return st;
	return NULL;
}

static struct state *
state_make(struct worker *w, struct source *src, struct script_opts *opts,
    struct buf *e)
{
	struct state *st = state_new(&w->host, src, opts, e);

	if (st)
		TAILQ_INSERT_TAIL(&w->states, st, entry);
	return st;
}

static void
log_unloadable(const struct source *src, struct buf *e)
{
	char *text = source_error(src->file, buf_str(e));

	log_about(LOG_ERROR, &(struct log_about){.script = src->name},
	    "%s", text);
	free(text);
}

static void
on_deadline(struct ev_loop *loop, ev_timer *t, int events)
{
	struct run *r = t->data;
	struct run_msg *m = msg_of(r);
	struct worker *w = (struct worker *)r->st->host;
	char span[40];

	(void)loop;
	(void)events;
	str_span(m->timeout_ms, span, sizeof(span));
	if (r->cancelled)
		run_end_fail(m, true, "cancelled");
	else
		run_end_fail(m, false, "timeout after %s", span);
	drop_run(w, r);
}

static void
on_nap(struct ev_loop *loop, ev_timer *t, int events)
{
	struct run *r = t->data;

	(void)loop;
	(void)events;
	make_ready((struct worker *)r->st->host, r);
}

/* A run that ends at once needs no timer: it is armed at the first wait. */
static void
arm_deadline(struct worker *w, struct run *r)
{
	int64_t ms = msg_of(r)->timeout_ms;
	double left;

	if (ms <= 0 || ev_is_active(&r->deadline))
		return;
	left = (double)ms / 1000 - (ev_now(w->loop) - r->begun_at);
	ev_timer_set(&r->deadline, left > 0 ? left : 0, 0);
	ev_timer_start(w->loop, &r->deadline);
}

/* false: it could not begin, and has ended. */
static bool
begin(struct worker *w, struct run *r)
{
	struct run_msg *m = msg_of(r);
	struct state *st = state_find(w, m->src);
	struct buf e = BUF_INIT;

	r->begun_at = ev_now(w->loop);
	if (!st && !(st = state_make(w, m->src, NULL, &e))) {
		log_unloadable(m->src, &e);
		buf_done(&e);
		run_end_release(m, RELOAD_MS);
		end_run(w, r);
		return false;
	}
	buf_done(&e);
	if ((m->what == RUN_HOOK && lua_hook_judge(st, m)) ||
	    !run_begin(st, m)) {
		end_run(w, r);
		state_settle(w, st);
		return false;
	}
	return true;
}

static void
step(struct worker *w, struct run *r)
{
	struct state *st;
	bool ended;

	if (!r->begun && !begin(w, r))
		return;
	st = r->st;
	ended = run_step(msg_of(r));
	ask_free(&r->answered);
	call_free(&r->called);
	if (ended) {
		end_run(w, r);
		if (st->dead)
			abandon(w, st);
		else
			state_settle(w, st);
		return;
	}
	arm_deadline(w, r);
	if (r->wait == WAIT_CPU)
		make_ready(w, r);
	else if (r->wait == WAIT_CALL)
		outside_begin(w->outside, r->call);
}

static void
on_called(void *arg, struct call *c)
{
	struct run *r = c->run;

	CHECK(r->call == c && r->wait == WAIT_CALL);
	r->call = NULL;
	r->called = c;
	make_ready(arg, r);
}

static void
run_slice(struct worker *w)
{
	int64_t until = clock_mono_us() + SLICE_US;
	struct run *r;

	while ((r = TAILQ_FIRST(&w->ready))) {
		TAILQ_REMOVE(&w->ready, r, ready);
		r->queued = false;
		pulse_beat(&w->pulse);
		step(w, r);
		if (clock_mono_us() >= until)
			return;
	}
}

static void
host_ask(struct host *h, struct ask *a)
{
	send_main((struct worker *)h, &a->m, FROM_ASK);
}

static void
host_nap(struct host *h, struct run *r, int64_t ms)
{
	struct worker *w = (struct worker *)h;

	ev_now_update(w->loop);
	ev_timer_set(&r->nap, (double)ms / 1000, 0);
	ev_timer_start(w->loop, &r->nap);
}

static void
host_log(struct host *h, enum log_level level, const struct log_about *about,
    const char *text)
{
	(void)h;
	log_about(level, about, "%s", text);
}

static void
take_run(struct worker *w, struct msg *m)
{
	struct run *r = &((struct run_msg *)m)->run;

	ev_timer_init(&r->nap, on_nap, 0, 0);
	ev_timer_init(&r->deadline, on_deadline, 0, 0);
	r->nap.data = r;
	r->deadline.data = r;
	TAILQ_INSERT_TAIL(&w->runs, r, entry);
	make_ready(w, r);
}

static void
take_answer(struct worker *w, struct msg *m)
{
	struct ask *a = (struct ask *)m;
	struct run *r = a->run;
	struct err e;
	size_t used;

	if (!r) {
		ask_free(&a);
		return;
	}
	CHECK(r->ask == a && r->wait == WAIT_ANSWER);
	CHECK(resp_decode(buf_peek(&a->reply), buf_size(&a->reply), &a->value,
	    &used, &e) == 1);
	r->ask = NULL;
	r->answered = a;
	make_ready(w, r);
}

/* One job of a batch that goes on; data is its worker. */
static void
on_grace(struct ev_loop *loop, ev_timer *t, int events)
{
	struct run *job = container_of(t, struct run, deadline);
	struct worker *w = t->data;

	(void)loop;
	(void)events;
	send_main(w, &note_new(FROM_GRACE, NULL, msg_of(job)->token)->m,
	    FROM_GRACE);
}

/* Cancels one job of a batch; true when none is left that goes on. */
static bool
cancel_one(struct worker *w, struct run_msg *batch, struct run *job)
{
	size_t i;

	if (job->cancelled)
		return false;
	job->cancelled = true;
	for (i = 0; i < batch->njobs; i++)
		if (!batch->jobs[i]->run.cancelled)
			break;
	if (i == batch->njobs)
		return true;
	ev_now_update(w->loop);
	ev_timer_init(&job->deadline, on_grace, GRACE_MS / 1000.0, 0);
	job->deadline.data = w;
	ev_timer_start(w->loop, &job->deadline);
	return false;
}

/* The job of this token in the run, or NULL. */
static struct run_msg *
job_in(struct run *r, uint64_t token)
{
	struct run_msg *m = msg_of(r);
	size_t i;

	for (i = 0; i < m->njobs; i++)
		if (m->jobs[i]->token == token)
			return m->jobs[i];
	return !m->njobs && m->token == token && !m->callback ? m : NULL;
}

static void
take_cancel(struct worker *w, struct msg *m)
{
	uint64_t token = ((struct note *)m)->token;
	struct run_msg *job = NULL;
	struct run *r;

	msg_free(m);
	TAILQ_FOREACH(r, &w->runs, entry)
		if ((job = job_in(r, token)))
			break;
	if (!r || r->cancelled)
		return;
	if (job->batch && !cancel_one(w, msg_of(r), &job->run))
		return;
	r->cancelled = true;
	if (!r->begun) {
		run_end_fail(msg_of(r), true, "cancelled");
		end_run(w, r);
		return;
	}
	/* What is left of its time, but no more than the grace. */
	if (ev_is_active(&r->deadline) && ev_timer_remaining(w->loop,
	    &r->deadline) < GRACE_MS / 1000.0)
		return;
	ev_timer_stop(w->loop, &r->deadline);
	ev_now_update(w->loop);
	ev_timer_set(&r->deadline, GRACE_MS / 1000.0, 0);
	ev_timer_start(w->loop, &r->deadline);
}

static void
take_scan(struct worker *w, struct msg *m)
{
	struct scan *s = (struct scan *)m;

	watch_dirs(w->watch, s->dir, s->env->lua_dir);
	load_scan(s);
	send_main(w, m, FROM_SCANNED);
}

static void
take_check(struct worker *w, struct msg *m)
{
	struct check *c = (struct check *)m;
	struct buf e = BUF_INIT;
	const char *broken;
	struct state *st;

	if (!(st = state_make(w, c->src, &c->opts, &e)))
		c->error = source_error(c->src->file, buf_str(&e));
	else if ((broken = lua_hook_secrets(st, 0)))
		log_about(LOG_WARN, &(struct log_about){
		    .script = c->src->name}, "%s; its webhooks are answered "
		    "503", broken);
	buf_done(&e);
	send_main(w, m, FROM_CHECKED);
}

static void
take_load(struct worker *w, struct msg *m)
{
	struct note *n = (struct note *)m;
	struct buf e = BUF_INIT;

	if (!state_find(w, n->src) && !state_make(w, n->src, NULL, &e))
		log_unloadable(n->src, &e);
	buf_done(&e);
	msg_free(m);
}

static void
take_retire(struct worker *w, struct msg *m)
{
	struct state *st = state_find(w, ((struct note *)m)->src);

	if (st) {
		st->retired = true;
		state_settle(w, st);
	}
	msg_free(m);
}

static void
give_back_all(struct worker *w)
{
	struct run *r, *next;

	TAILQ_FOREACH_SAFE(r, &w->runs, entry, next) {
		run_end_release(msg_of(r), 0);
		if (r->st)
			drop_run(w, r);
		else
			end_run(w, r);
	}
}

static void
take_abort(struct worker *w, struct msg *m)
{
	give_back_all(w);
	msg_free(m);
}

static void
take_stop(struct worker *w, struct msg *m)
{
	w->stop = true;
	msg_free(m);
}

static void
take_inbox(struct worker *w)
{
	static void (*const fns[MSG_KINDS])(struct worker *, struct msg *) = {
		[TO_RUN] = take_run,
		[TO_ANSWER] = take_answer,
		[TO_CANCEL] = take_cancel,
		[TO_SCAN] = take_scan,
		[TO_CHECK] = take_check,
		[TO_LOAD] = take_load,
		[TO_RETIRE] = take_retire,
		[TO_ABORT] = take_abort,
		[TO_STOP] = take_stop,
	};
	struct mail *mail = mbox_take(&w->inbox);

	while (mail) {
		struct msg *m = (struct msg *)mail;

		mail = mail->next;
		CHECK(m->kind >= 0 && m->kind < MSG_KINDS && fns[m->kind]);
		fns[m->kind](w, m);
	}
}

static void
on_changed(void *arg)
{
	struct worker *w = arg;

	send_main(w, &note_new(FROM_CHANGED, NULL, 0)->m, FROM_CHANGED);
	flush(w);
}

static void
on_wake(struct ev_loop *loop, ev_async *a, int events)
{
	(void)loop;
	(void)a;
	(void)events;
}

static void
wake(void *arg)
{
	struct worker *w = arg;

	ev_async_send(w->loop, &w->wake);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	cpu_init(&w->host.cpu);
	while (!w->stop) {
		pulse_rest(&w->pulse);
		ev_run(w->loop, TAILQ_EMPTY(&w->ready) ? EVRUN_ONCE :
		    EVRUN_NOWAIT);
		pulse_beat(&w->pulse);
		take_inbox(w);
		run_slice(w);
		flush(w);
	}
	give_back_all(w);
	flush(w);
	while (!TAILQ_EMPTY(&w->states))
		state_drop(w, TAILQ_FIRST(&w->states));
	outside_free(&w->outside);
	cpu_done(&w->host.cpu);
	return NULL;
}

struct worker *
worker_new(int index, struct script_memory *memory, struct mbox *to_main)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	char name[16];

	w->host.memory = memory;
	w->host.ask = host_ask;
	w->host.nap = host_nap;
	w->host.log = host_log;
	w->index = index;
	w->to_main = to_main;
	TAILQ_INIT(&w->runs);
	TAILQ_INIT(&w->ready);
	TAILQ_INIT(&w->states);
	w->loop = ev_loop_new(EVFLAG_NOSIGMASK);
	CHECK(w->loop);
	mbox_init(&w->inbox, wake, w);
	ev_async_init(&w->wake, on_wake);
	ev_async_start(w->loop, &w->wake);
	w->outside = outside_new(w->loop, on_called, w);
	if (index == 0)
		w->watch = watch_new(w->loop, on_changed, w);
	snprintf(name, sizeof(name), "script-%d", index);
	thr_start(&w->thread, name, worker_main, w);
	return w;
}

void
worker_free(struct worker **wp)
{
	struct worker *w = *wp;

	*wp = NULL;
	if (!w)
		return;
	worker_send(w, &note_new(TO_STOP, NULL, 0)->m);
	thr_join(w->thread);
	msg_free_chain(mbox_take(&w->inbox));
	watch_free(&w->watch);
	ev_async_stop(w->loop, &w->wake);
	ev_loop_destroy(w->loop);
	mbox_done(&w->inbox);
	free(w);
}

int64_t
worker_busy_ms(const struct worker *w)
{
	return pulse_busy_ms(&w->pulse);
}

void
worker_send(struct worker *w, struct msg *m)
{
	worker_send_chain(w, m, m);
}

void
worker_send_chain(struct worker *w, struct msg *first, struct msg *last)
{
	last->mail.next = NULL;
	mbox_send_chain(&w->inbox, &first->mail, &last->mail);
}
