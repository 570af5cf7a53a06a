/* SPDX-License-Identifier: MIT */
/* What an operator does to one job. */
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "engine/part.h"

static const char *const state_names[] = {"waiting", "delayed", "active",
    "completed", "failed"};

static void
conflict(struct engine *e, struct bh_alter *r, const struct job *j,
    const char *expected)
{
	answer_error(e, &r->req, BH_E_CONFLICT,
	    "job %lld is %s, expected %s", (long long)j->id,
	    state_names[job_state(j)], expected);
}

/* Its key may have a new owner: then it lives on without one. The texts of
 * its keys are on the disk only, so the map is fed when they are read. */
void
alter_revive(struct engine *e, struct job *j, const struct jbody *d,
    bool fresh)
{
	struct jrec r;

	if (fresh)
		step_forget(e, j);
	j->error_count = 0;
	j->stalled = 0;
	j->attempt = 0;
	if (d->opts.group.len)
		group_name(e, j, d->opts.group);
	if (d->opts.unique.len && d->opts.unique_ttl_ms < 0)
		unique_take(e, j, d->opts.unique, 0);
	job_move(e, j, BH_WAITING, 0);
	j->run_at = e->now.wall_ms;
	r = job_rec(j, JR_JOB_REVIVE);
	r.u.set.run_at = j->run_at;
	if (j->ext && j->ext->group)
		r.u.set.line_at = j->run_at + 1;	/* behind the others */
	journal_append(e->journal, &r);
	event_note(e, BH_NEWS_RETRYING, j, (struct bh_bytes){0});
}

/* A retry under way: what it needs is being read. */
struct revival {
	struct jread read;
	struct engine *engine;
	struct bh_alter *req;
};

static void
revive_done(struct jread *rd)
{
	struct revival *v = rd->user;
	struct engine *e = v->engine;
	struct bh_alter *r = v->req;
	struct job *j = job_find(e, r->id), *holder = NULL;
	struct jbody *d = rd->nbodies ? rd->bodies[0] : NULL;

	e->reading--;
	if (e->stopping) {
		answer_error(e, &r->req, BH_E_CANCELED, "shut down");
	} else if (rd->err.code) {
		answer_error(e, &r->req, rd->err.code, "%s", rd->err.text);
	} else if (!j || !d || !d->found) {
		answer_error(e, &r->req, BH_E_NOTFOUND,
		    "job %lld does not exist", (long long)r->id);
	} else if (job_state(j) != BH_FAILED) {
		conflict(e, r, j, "failed");
	} else {
		if (d->opts.unique.len)
			holder = unique_holder(e, j->queue, d->opts.unique);
		if (holder) {
			answer_error(e, &r->req, BH_E_CONFLICT, "job %lld "
			    "cannot be retried: job %lld (%s) holds its "
			    "unique key", (long long)j->id,
			    (long long)holder->id,
			    state_names[job_state(holder)]);
		} else {
			alter_revive(e, j, d, r->fresh);
			answer_ok(e, &r->req);
		}
	}
	free(d);
	free(v);
}

static void
alter_retry(struct engine *e, struct job *j, struct bh_alter *r)
{
	struct revival *v;

	if (job_state(j) != BH_FAILED) {
		conflict(e, r, j, "failed");
		return;
	}
	v = xcalloc(1, sizeof(*v));
	v->engine = e;
	v->req = r;
	v->read = (struct jread){.done = revive_done, .user = v,
	    .kind = JREAD_JOBS, .ids = &r->id, .nids = 1,
	    .after = JREAD_LATEST};
	e->reading++;
	journal_read(e->journal, &v->read);
}

void
alter_remove_now(struct engine *e, struct job *j)
{
	int64_t id = j->id;
	bool waited = job_is(j, JOB_WAITED);

	j->queue->removed++;
	job_record_delete(e, j);
	event_note(e, BH_NEWS_REMOVED, j, (struct bh_bytes){0});
	job_forget(e, j);
	if (waited)
		getters_drop(e, id);
}

static void
alter_remove(struct engine *e, struct job *j, struct bh_alter *r)
{
	if (job_state(j) == BH_ACTIVE) {
		conflict(e, r, j, "any other state (CANCEL ends it)");
		return;
	}
	alter_remove_now(e, j);
	answer_ok(e, &r->req);
}

static void
alter_promote(struct engine *e, struct job *j, struct bh_alter *r)
{
	bool joins;

	if (job_state(j) != BH_DELAYED) {
		conflict(e, r, j, "delayed");
		return;
	}
	if (j->ext && j->ext->expires_at)
		j->ext->expires_at += e->now.wall_ms - j->run_at;
	j->run_at = e->now.wall_ms;
	joins = j->ext && j->ext->group && !job_is(j, JOB_INLINE);
	job_move(e, j, BH_WAITING, 0);
	job_write(e, j, JR_JOB_SET, joins ? j->run_at : 0);
	answer_ok(e, &r->req);
}

static void
alter_update(struct engine *e, struct job *j, struct bh_alter *r)
{
	if (job_state(j) == BH_ACTIVE || job_state(j) == BH_COMPLETED) {
		conflict(e, r, j, "waiting, delayed or failed");
		return;
	}
	if (e->refuse.code) {
		answer_error(e, &r->req, e->refuse.code, "%s",
		    e->refuse.text);
		return;
	}
	put_payload(e, j, r->arg);
	answer_ok(e, &r->req);
}

static void
alter_cancel(struct engine *e, struct job *j, struct bh_alter *r)
{
	char text[1024];
	int n;

	if (job_state(j) >= BH_COMPLETED) {
		conflict(e, r, j, "waiting, delayed or active");
		return;
	}
	if (job_state(j) == BH_ACTIVE && j->body->handler && e->events) {
		/* The host stops its handler, then finishes the job. */
		free(j->body->cancel_reason);
		j->body->cancel_reason = xstrndup(r->arg.data, r->arg.len);
		j->body->cancelled = true;
		e->events->cancelled(e->events_arg, j->id, j->body->token,
		    r->arg);
		answer_ok(e, &r->req);
		return;
	}
	n = snprintf(text, sizeof(text), "cancelled%s%.*s",
	    r->arg.len ? ": " : "", (int)r->arg.len,
	    r->arg.len ? r->arg.data : "");
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	finish_failed(e, j, (struct bh_bytes){text, (size_t)n},
	    (struct bh_bytes){0}, &r->req);
}

static void (*const actions[])(struct engine *, struct job *,
    struct bh_alter *) = {
	[BH_JOB_RETRY] = alter_retry,
	[BH_JOB_REMOVE] = alter_remove,
	[BH_JOB_PROMOTE] = alter_promote,
	[BH_JOB_UPDATE] = alter_update,
	[BH_JOB_CANCEL] = alter_cancel,
};

void
engine_alter(struct engine *e, struct bh_alter *r)
{
	struct job *j = job_find(e, r->id);

	if (!j) {
		answer_error(e, &r->req, BH_E_NOTFOUND,
		    "job %lld does not exist", (long long)r->id);
		return;
	}
	actions[r->action](e, j, r);
}
