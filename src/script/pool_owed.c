/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "script/pool_impl.h"

#define OWED_RUNNING 64			/* callbacks at once */

static const struct {
	enum run_what what;
	const char *name;
} kinds[] = {
	[BH_ON_COMPLETED] = {RUN_COMPLETED, "on_completed"},
	[BH_ON_FAILED] = {RUN_FAILED, "on_failed"},
	[BH_ON_STALLED] = {RUN_STALLED, "on_stalled"},
};

/* Kept in a line: it arrives in the middle of the backend's turn, maybe
 * before the scripts are loaded. */
void
pool_callback(void *arg, const struct bh_callback *cb)
{
	struct pool *p = arg;
	struct owed *o = xcalloc(1, sizeof(*o));
	struct bh_bytes news = cb->kind == BH_ON_COMPLETED ? cb->result :
	    cb->error;
	struct run_msg *m = run_msg_new(p, cb->queue.len + cb->payload.len +
	    news.len + 3);

	m->what = kinds[cb->kind].what;
	m->callback = cb->id;
	m->id = cb->job;
	m->attempt = cb->attempt;
	m->queue = run_msg_copy(m, cb->queue);
	m->payload = run_msg_copy(m, cb->payload);
	m->news = run_msg_copy(m, news);
	o->msg = m;
	TAILQ_INSERT_TAIL(&p->owed, o, entry);
	p->config.wake(p->config.wake_arg);
}

static int64_t
callback_bit(const struct run_msg *m)
{
	size_t i;

	for (i = 0; i < nitems(kinds); i++)
		if (kinds[i].what == m->what)
			break;
	return (int64_t)1 << i;
}

/* Whether a script that does not load now may want the queue's callbacks. */
static bool
may_come(const struct pool *p, struct bh_bytes queue)
{
	const struct script *s;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (!s->src && s->guess && strlen(s->guess) == queue.len &&
		    memcmp(s->guess, queue.data, queue.len) == 0)
			return true;
	return false;
}

static void
owed_take(struct pool *p, struct owed *o)
{
	TAILQ_REMOVE(&p->owed, o, entry);
	free(o);
}

void
pool_owed_feed(struct pool *p)
{
	struct owed *o, *next;

	if (!p->loaded)
		return;
	TAILQ_FOREACH_SAFE(o, &p->owed, entry, next) {
		struct run_msg *m = o->msg;
		struct served *s = pool_served_find(p, m->queue);
		struct bh_queue_opts opts;

		if (p->nowed_running >= OWED_RUNNING)
			return;
		if (s && s->script &&
		    s->script->opts.opts.callbacks & callback_bit(m)) {
			qopts_resolve(p->config.qopts, s->queue, &opts);
			m->timeout_ms = opts.timeout_ms;
			p->nowed_running++;
			owed_take(p, o);
			pool_dispatch(p, m, s);
		} else if ((s && s->script) || !may_come(p, m->queue)) {
			p->env->ops->callback_done(p->env->be, m->callback);
			owed_take(p, o);
			run_msg_done(p, m);
		}
	}
}

void
pool_owed_ended(struct pool *p, struct run_msg *m)
{
	p->nowed_running--;
	if (m->end.outcome == BH_RELEASE && !p->stopping) {
		/* A neighbour hung its state: once more. */
		struct owed *o = xcalloc(1, sizeof(*o));

		source_unref(&m->src);
		free(m->end.text);
		memset(&m->run, 0, sizeof(m->run));
		m->end = (struct run_end){0};
		m->m.kind = TO_RUN;
		o->msg = m;
		TAILQ_INSERT_TAIL(&p->owed, o, entry);
		return;
	}
	if (m->end.outcome == BH_FAIL)
		log_about(LOG_ERROR, &(struct log_about){
		    .queue = m->queue.data, .job = m->id,
		    .script = m->src->name, .attempt = m->attempt,
		    .event = EVENT_CALLBACK_FAILED},
		    "callback failed: %.*s",
		    m->end.len > 1000 ? 1000 : (int)m->end.len, m->end.text);
	/* Stopped in the middle: it stays owed and runs after the start. */
	if (m->end.outcome != BH_RELEASE)
		p->env->ops->callback_done(p->env->be, m->callback);
	run_msg_done(p, m);
}

void
pool_owed_free(struct pool *p)
{
	struct owed *o;

	while ((o = TAILQ_FIRST(&p->owed))) {
		free(o->msg);
		owed_take(p, o);
	}
}
