/* SPDX-License-Identifier: MIT */
/* JOB.WHY: the first gate that holds a job, in the order of the contract. */
#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"
#include "engine/part.h"

PRINTF(3, 4) static void
say(struct bh_why *w, enum bh_gate gate, const char *fmt, ...)
{
	va_list ap;

	w->gate = gate;
	va_start(ap, fmt);
	vsnprintf(w->text, sizeof(w->text), fmt, ap);
	va_end(ap);
}

static int64_t
wall_of(const struct engine *e, int64_t mono)
{
	return mono == INT64_MAX ? 0 : e->now.wall_ms + mono - e->now.mono_ms;
}

/* Gates of the queue before those of the job. */
static bool
why_queue(const struct engine *e, const struct queue *q, struct bh_why *w)
{
	char span[32];

	if (q->paused_at) {
		str_span(e->now.wall_ms - q->paused_at, span, sizeof(span));
		say(w, BH_GATE_PAUSED, "queue %s was paused %s ago by %s",
		    q->name, span, q->paused_by ? q->paused_by : "somebody");
		return true;
	}
	if (q->held_until) {
		w->until = wall_of(e, q->held_mono);
		str_span(q->held_mono - e->now.mono_ms, span, sizeof(span));
		say(w, BH_GATE_HELD, "queue %s is held for another %s%s%s",
		    q->name, span, q->held_reason ? ": " : "",
		    q->held_reason ? q->held_reason : "");
		return true;
	}
	return false;
}

static bool
why_delayed(const struct engine *e, const struct job *j, struct bh_why *w)
{
	char span[32];
	int64_t left;

	if (job_state(j) != BH_DELAYED)
		return false;
	left = j->node.timer.at -
	    (job_is(j, JOB_WALL) ? e->now.wall_ms : e->now.mono_ms);
	w->until = e->now.wall_ms + left;
	str_span(left, span, sizeof(span));
	if (j->error_count)
		say(w, BH_GATE_DELAYED, "it is tried again in %s, after "
		    "error %d of %d", span, j->error_count, opts_attempts(j));
	else
		say(w, BH_GATE_DELAYED, "it is due in %s", span);
	return true;
}

static bool
why_rate(const struct engine *e, const struct job *j, struct bh_why *w)
{
	const struct queue *q = j->queue;
	const struct bh_queue_opts *o = &q->opts;
	struct limit_rate r = queue_rate(q);
	const struct group *g = j->ext ? j->ext->group : NULL;
	int64_t at, tat = 0;
	char span[32], per[32];

	if (o->rate_limit <= 0)
		return false;
	if (o->rate_by == BH_RATE_BY_QUEUE)
		tat = q->tat_us;
	else if (g)
		tat = g->tat_us;
	at = limit_next(tat, &r, e->now.mono_ms * 1000) / 1000;
	if (at <= e->now.mono_ms)
		return false;
	w->until = wall_of(e, at);
	str_span(at - e->now.mono_ms, span, sizeof(span));
	str_span(o->rate_per_ms, per, sizeof(per));
	say(w, BH_GATE_RATE, "the rate of %lld per %s for %s is used up; the "
	    "next token comes in %s", (long long)o->rate_limit, per,
	    o->rate_by == BH_RATE_BY_QUEUE ? q->name : "its group", span);
	return true;
}

/* *ret_member: whatever is ahead in its group starts together with it. */
static bool
why_batch(const struct engine *e, const struct job *j, struct bh_why *w,
    bool *ret_member)
{
	int64_t until;
	char span[32];

	if (!batch_gathering(j, &until, ret_member))
		return false;
	w->until = wall_of(e, until);
	str_span(until - e->now.mono_ms, span, sizeof(span));
	say(w, BH_GATE_DELAYED, "its batch is gathering until %s from now, or "
	    "until %lld jobs are there", span,
	    (long long)j->queue->opts.batch_max);
	return true;
}

static bool
why_group(const struct engine *e, const struct job *j, struct bh_why *w)
{
	struct group *g = j->ext ? j->ext->group : NULL;
	struct node *n;
	struct job *ahead = NULL, *active = NULL;

	(void)e;
	if (!g || !job_is(j, JOB_INLINE))
		return false;
	TAILQ_FOREACH(n, &g->line, link) {
		struct job *o = job_of_node(n);

		if (o == j)
			break;
		if (job_state(o) == BH_ACTIVE)
			active = active ? active : o;
		else if (g->queue->opts.group_order == BH_GROUP_STRICT ||
		    job_state(o) == BH_WAITING)
			ahead = ahead ? ahead : o;
	}
	if (active && g->running >= g->queue->opts.group_concurrency)
		ahead = active;
	if (!ahead)
		return false;
	w->ahead = ahead->id;
	say(w, BH_GATE_GROUP, "job %lld of the same group is ahead (%s)",
	    (long long)ahead->id, job_state(ahead) == BH_ACTIVE ? "active"
	    : job_state(ahead) == BH_DELAYED ? "delayed" : "waiting");
	return true;
}

void
why_explain(struct engine *e, struct job *j, struct bh_why *w)
{
	static const char *const names[] = {"waiting", "delayed", "active",
	    "completed", "failed"};
	const struct queue *q = j->queue;
	bool together;

	*w = (struct bh_why){.state = job_state(j)};
	if (w->state >= BH_ACTIVE) {
		say(w, BH_GATE_STATE, "it is %s", names[w->state]);
		return;
	}
	if (why_queue(e, q, w) || why_delayed(e, j, w))
		return;
	if (job_is(j, JOB_BLOCKED)) {
		w->ahead = j->ext->pair->id;
		say(w, BH_GATE_UNIQUE, "it follows job %lld, which holds "
		    "their unique key and has not ended",
		    (long long)w->ahead);
		return;
	}
	if (why_batch(e, j, w, &together) || why_rate(e, j, w) ||
	    (!together && why_group(e, j, w)))
		return;
	if (q->opts.max_active > 0 &&
	    q->count[BH_ACTIVE] >= q->opts.max_active) {
		say(w, BH_GATE_MAX_ACTIVE, "%lld jobs of queue %s are active, "
		    "max_active is %lld", (long long)q->count[BH_ACTIVE],
		    q->name, (long long)q->opts.max_active);
		return;
	}
	say(w, BH_GATE_NONE, "nothing holds it; it is next when a worker or "
	    "handler of queue %s is free", q->name);
}
