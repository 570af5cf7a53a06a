/* SPDX-License-Identifier: MIT */
#include "script/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "script/pool_impl.h"

const struct bh_events pool_events = {
	.cancelled = pool_cancelled,
	.callback = pool_callback,
};

static int
count_threads(const struct conf *conf)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->script_threads > 0)
		return (int)conf->script_threads;
	return cores < 1 ? 1 : cores > 64 ? 64 : (int)cores;
}

struct pool *
pool_new(const struct pool_config *config)
{
	struct pool *p = xcalloc(1, sizeof(*p));
	int i;

	p->config = *config;
	p->env = config->env;
	mbox_init(&p->inbox, config->wake, config->wake_arg);
	atomic_init(&p->memory.used, 0);
	atomic_init(&p->memory.limit, config->conf->scripts_memory);
	TAILQ_INIT(&p->scripts);
	TAILQ_INIT(&p->served);
	TAILQ_INIT(&p->feeds);
	TAILQ_INIT(&p->owed);
	TAILQ_INIT(&p->askers);
	TAILQ_INIT(&p->running);
	pool_hooks_new(p);
	pool_topics_new(p);
	pool_flights_new(p);
	pool_slots_set(p, config->conf->script_slots);
	p->nthreads = count_threads(config->conf);
	p->threads = xcalloc((size_t)p->nthreads, sizeof(*p->threads));
	for (i = 0; i < p->nthreads; i++)
		p->threads[i].worker = worker_new(i, &p->memory, &p->inbox);
	return p;
}

static void
served_free(struct pool *p)
{
	struct served *s;

	while ((s = TAILQ_FIRST(&p->served))) {
		TAILQ_REMOVE(&p->served, s, entry);
		free(s->queue);
		free(s);
	}
}

void
pool_free(struct pool **pp)
{
	struct pool *p = *pp;
	int i;

	*pp = NULL;
	if (!p)
		return;
	/* The backend is closed: it holds none of our requests. */
	CHECK(TAILQ_EMPTY(&p->feeds) && p->finishing == 0);
	for (i = 0; i < p->nthreads; i++)
		worker_free(&p->threads[i].worker);
	pool_hooks_free(p);
	pool_topics_free(p);
	pool_flights_free(p);
	msg_free_chain(mbox_take(&p->inbox));
	while (p->spare) {
		struct run_msg *m = p->spare;

		p->spare = (struct run_msg *)m->m.mail.next;
		free(m);
	}
	pool_owed_free(p);
	pool_askers_free(p);
	pool_scripts_free(p);
	served_free(p);
	mbox_done(&p->inbox);
	free(p->threads);
	free(p);
}

void
pool_slots_set(struct pool *p, int64_t total)
{
	int64_t more = total - p->slots_total - p->slots_owed;

	/* What cannot be taken away now is kept back as runs end. */
	p->slots_total = total;
	p->slots_owed = 0;
	if (more >= 0) {
		p->slots += (uint32_t)more;
	} else if ((int64_t)p->slots >= -more) {
		p->slots -= (uint32_t)-more;
	} else {
		p->slots_owed = -more - p->slots;
		p->slots = 0;
	}
}

void
pool_slot_free(struct pool *p)
{
	if (p->slots_owed > 0)
		p->slots_owed--;
	else
		p->slots++;
}

struct served *
pool_served_find(const struct pool *p, struct bh_bytes queue)
{
	struct served *s;

	TAILQ_FOREACH(s, &p->served, entry)
		if (strlen(s->queue) == queue.len &&
		    memcmp(s->queue, queue.data, queue.len) == 0)
			return s;
	return NULL;
}

struct served *
pool_served_get(struct pool *p, const char *queue)
{
	struct bh_bytes name = {queue, strlen(queue)};
	struct served *s = pool_served_find(p, name);

	if (s)
		return s;
	s = xcalloc(1, sizeof(*s));
	s->queue = xstrdup(queue);
	TAILQ_INSERT_TAIL(&p->served, s, entry);
	return s;
}

static void
take_ended(struct pool *p, struct msg *m)
{
	pool_run_ended(p, (struct run_msg *)m);
}

static void
take_ask(struct pool *p, struct msg *m)
{
	pool_asked(p, (struct ask *)m);
}

static void
take_scanned(struct pool *p, struct msg *m)
{
	pool_scanned(p, (struct scan *)m);
}

static void
take_checked(struct pool *p, struct msg *m)
{
	pool_checked(p, (struct check *)m);
}

static void
take_changed(struct pool *p, struct msg *m)
{
	msg_free(m);
	pool_changed(p);
}

static void
take_grace(struct pool *p, struct msg *m)
{
	pool_batch_grace(p, ((struct note *)m)->token);
	msg_free(m);
}

void
pool_take(struct pool *p, int64_t mono_ms)
{
	static void (*const fns[MSG_KINDS])(struct pool *, struct msg *) = {
		[FROM_ENDED] = take_ended,
		[FROM_ASK] = take_ask,
		[FROM_SCANNED] = take_scanned,
		[FROM_CHECKED] = take_checked,
		[FROM_CHANGED] = take_changed,
		[FROM_GRACE] = take_grace,
	};
	struct mail *mail = mbox_take(&p->inbox);

	p->mono_ms = mono_ms;
	pool_hooks_answer(p);
	while (mail) {
		struct msg *m = (struct msg *)mail;

		mail = mail->next;
		CHECK(m->kind >= 0 && m->kind < MSG_KINDS && fns[m->kind]);
		fns[m->kind](p, m);
	}
	pool_schedules_retry(p);
	pool_flush(p);
}

int64_t
pool_next(const struct pool *p)
{
	int64_t next = pool_schedules_next(p);

	return p->feed_after && p->feed_after < next ? p->feed_after : next;
}

size_t
pool_running(const struct pool *p)
{
	return p->nrunning;
}

int64_t
pool_busy_ms(const struct pool *p)
{
	int64_t longest = 0;

	for (int i = 0; i < p->nthreads; i++) {
		int64_t busy = worker_busy_ms(p->threads[i].worker);

		if (busy > longest)
			longest = busy;
	}
	return longest;
}

void
pool_figures(const struct pool *p, struct script_figures *ret)
{
	*ret = (struct script_figures){.threads = p->nthreads,
	    .running = (int64_t)p->nrunning, .slots = p->slots_total,
	    .busy_ms = pool_busy_ms(p)};
}

void
pool_drain(struct pool *p)
{
	p->draining = true;
	p->feed_after = 0;
	pool_feed_cancel(p, NULL);
}

void
pool_stop_handlers(struct pool *p)
{
	int i;

	pool_drain(p);
	p->stopping = true;
	pool_flush(p);
	for (i = 0; i < p->nthreads; i++)
		worker_send(p->threads[i].worker,
		    &note_new(TO_ABORT, NULL, 0)->m);
}

/* The script that would serve this queue if it were sound, or NULL. */
static const struct script *
find_broken(const struct pool *p, struct bh_bytes queue)
{
	const struct script *s;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (!s->src && s->error && s->guess &&
		    strlen(s->guess) == queue.len &&
		    memcmp(s->guess, queue.data, queue.len) == 0)
			return s;
	return NULL;
}

static bool
gate_unserved(const struct pool *p, struct bh_bytes queue, struct bh_why *ret)
{
	const struct script *broken = find_broken(p, queue);

	if (broken) {
		ret->gate = BH_GATE_BROKEN;
		snprintf(ret->text, sizeof(ret->text),
		    "its script has never loaded: %s", broken->error);
	} else {
		ret->gate = BH_GATE_NO_HANDLER;
		snprintf(ret->text, sizeof(ret->text), p->loaded ?
		    "no script serves this queue; it waits for a JOB.FETCH" :
		    "the scripts are being loaded");
	}
	return true;
}

bool
pool_gate(const struct pool *p, struct bh_bytes queue, struct bh_why *ret)
{
	const struct served *s = pool_served_find(p, queue);

	if (!s || !s->script)
		return gate_unserved(p, queue, ret);
	if (s->running >= s->concurrency) {
		ret->gate = BH_GATE_CONCURRENCY;
		snprintf(ret->text, sizeof(ret->text), "%lld handlers of this "
		    "queue are at work, as many as its concurrency allows",
		    (long long)s->running);
		return true;
	}
	if (p->slots == 0) {
		ret->gate = BH_GATE_CONCURRENCY;
		snprintf(ret->text, sizeof(ret->text), "all %lld slots for "
		    "handlers are in use (script_slots)",
		    (long long)p->slots_total);
		return true;
	}
	return false;
}

bool
pool_script_at(const struct pool *p, size_t i, struct script_info *ret)
{
	const struct script *s;
	const struct served *q;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (i-- == 0)
			break;
	if (!s)
		return false;
	*ret = (struct script_info){
	    .file = s->file,
	    .queue = s->src ? s->opts.queue : "",
	    .version = s->src ? s->src->version : "",
	    .error = s->error,
	    .loaded_at = s->loaded_at,
	};
	TAILQ_FOREACH(q, &p->served, entry)
		if (q->script == s)
			ret->running = q->running;
	return true;
}
