/* SPDX-License-Identifier: MIT */
/*
 * A job's state is the container it is in:
 *
 *   waiting    queue->ready[priority], or the line of its group
 *   delayed    the mono or wall heap; and queue->delayed, or its group's line
 *   active     queue->active (through its body); its group's line
 *   completed  queue->completed or queue->retained
 *   failed     queue->failed
 *
 * Who moves it along which arrow:
 *
 *   added -> waiting, delayed            put.c put_job
 *   delayed -> waiting                   engine.c due_job, alter.c (promote)
 *   waiting -> active                    reserve.c claim
 *   waiting, delayed -> delayed          put.c replace
 *   active -> completed                  finish.c finish_done
 *   active -> delayed, waiting           finish.c try_again, finish_release,
 *                                        finish_stalled
 *   any of these -> failed               finish.c fail_now
 *   failed -> waiting                    alter.c alter_revive
 *   any -> gone                          job_delete, job_forget
 *
 * leave() takes it out of the old one, enter() puts it into the new one, and
 * job_move() is the only caller of both for a job that has a state.
 */
#include "base/die.h"
#include "engine/part.h"

static const bool allowed[BH_STATES][BH_STATES] = {
	[BH_WAITING] = {[BH_ACTIVE] = 1, [BH_FAILED] = 1, [BH_DELAYED] = 1},
	[BH_DELAYED] = {[BH_WAITING] = 1, [BH_FAILED] = 1, [BH_DELAYED] = 1},
	[BH_ACTIVE] = {[BH_WAITING] = 1, [BH_DELAYED] = 1,
	    [BH_COMPLETED] = 1, [BH_FAILED] = 1},
	[BH_FAILED] = {[BH_WAITING] = 1},
};

struct job *
job_new(struct engine *e, int64_t id, struct queue *q)
{
	struct job *j = slab_alloc(&e->jobs);

	j->id = id;
	j->queue = q;
	j->node.timer.kind = NODE_JOB;
	map_put(&e->by_id, j);
	return j;
}

struct job *
job_find(const struct engine *e, int64_t id)
{
	return map_get(&e->by_id, map_hash_int((uint64_t)id), &id);
}

struct ext *
job_ext(struct engine *e, struct job *j)
{
	if (!j->ext)
		j->ext = slab_alloc(&e->exts);
	return j->ext;
}

void
job_flag(struct job *j, enum job_flag f, bool on)
{
	if (on)
		j->node.timer.tag[2] |= (uint8_t)f;
	else
		j->node.timer.tag[2] &= (uint8_t)~f;
	if (on)
		j->node.timer.tag[1] |= (uint8_t)(f >> 4 & 0xf0);
	else
		j->node.timer.tag[1] &= (uint8_t)~(f >> 4 & 0xf0);
}

static void
list_in(struct job *j, struct nodes *list)
{
	TAILQ_INSERT_TAIL(list, &j->node, link);
	job_flag(j, JOB_LISTED, true);
}

static void
list_out(struct job *j, struct nodes *list)
{
	if (!job_is(j, JOB_LISTED))
		return;
	TAILQ_REMOVE(list, &j->node, link);
	job_flag(j, JOB_LISTED, false);
}

static bool
grouped(const struct job *j)
{
	return j->ext && j->ext->group;
}

static void
enter_waiting(struct engine *e, struct job *j, bool front)
{
	int64_t expiry = put_expiry(e, j);

	if (expiry != INT64_MAX)
		heap_set(&e->mono, &j->node.timer, expiry);
	if (job_is(j, JOB_BLOCKED)) {
		list_in(j, &j->queue->blocked);
		return;
	}
	if (grouped(j)) {
		if (!job_is(j, JOB_INLINE))
			group_join(e, j);
		j->ext->group->waiting++;
		batch_joined(e, j);
		group_refresh(e, j->ext->group, false);
	} else {
		queue_ready(j->queue, &j->node, job_priority(j), front);
		job_flag(j, JOB_LISTED, true);
		j->queue->loose[job_priority(j)]++;
		j->queue->nloose++;
		batch_joined(e, j);
	}
}

static void
leave_waiting(struct engine *e, struct job *j)
{
	heap_remove(&e->mono, &j->node.timer);
	if (job_is(j, JOB_BLOCKED)) {
		list_out(j, &j->queue->blocked);
		return;
	}
	if (grouped(j)) {
		CHECK(j->ext->group->waiting > 0);
		j->ext->group->waiting--;
		batch_left(j->queue, j->ext->group);
		return;
	}
	queue_unready(e, j->queue, &j->node, job_priority(j));
	job_flag(j, JOB_LISTED, false);
	j->queue->loose[job_priority(j)]--;
	j->queue->nloose--;
	batch_left(j->queue, NULL);
}

void
job_untimer(struct engine *e, struct job *j)
{
	bool wall = job_state(j) == BH_DELAYED && job_is(j, JOB_WALL);

	heap_remove(wall ? &e->wall : &e->mono, &j->node.timer);
}

static void
enter_delayed(struct engine *e, struct job *j, int64_t at)
{
	heap_set(job_is(j, JOB_WALL) ? &e->wall : &e->mono, &j->node.timer,
	    at);
	if (!job_is(j, JOB_INLINE))
		list_in(j, &j->queue->delayed);
	else
		group_refresh(e, j->ext->group, false);
}

static void
leave_delayed(struct engine *e, struct job *j)
{
	job_untimer(e, j);
	job_flag(j, JOB_WALL, false);
	list_out(j, &j->queue->delayed);
}

static void
leave_active(struct engine *e, struct job *j)
{
	heap_remove(&e->mono, &j->node.timer);
	TAILQ_REMOVE(&j->queue->active, j->body, active);
	if (batch_leave(j) && grouped(j))
		group_ended(e, j->ext->group);
}

static void
leave_completed(struct engine *e, struct job *j)
{
	struct queue *q = j->queue;

	heap_remove(&e->mono, &j->node.timer);
	if (!job_is(j, JOB_RETAIN))
		q->completed_counted--;
	list_out(j, job_is(j, JOB_RETAIN) ? &q->retained : &q->completed);
}

static void
leave_failed(struct engine *e, struct job *j)
{
	queue_failure_drop(j->queue, j->fingerprint);
	j->run_at = e->now.wall_ms;	/* no fingerprint any more */
	list_out(j, &j->queue->failed);
}

static void
leave(struct engine *e, struct job *j)
{
	static void (*const fn[BH_STATES])(struct engine *, struct job *) = {
	    [BH_WAITING] = leave_waiting, [BH_DELAYED] = leave_delayed,
	    [BH_ACTIVE] = leave_active, [BH_COMPLETED] = leave_completed,
	    [BH_FAILED] = leave_failed};

	j->queue->count[job_state(j)]--;
	fn[job_state(j)](e, j);
}

/* Nothing that lives holds a place or a key after its end. */
static void
end_of_life(struct engine *e, struct job *j)
{
	struct job *follower = NULL;

	if (job_is(j, JOB_BLOCKED))
		unique_give_back(e, j, j->ext->pair);
	unique_free(e, j);
	if (grouped(j))
		group_leave(e, j);
	if (j->ext && j->ext->pair) {
		if (job_is(j, JOB_BLOCKED))
			j->ext->pair->ext->pair = NULL;
		else
			follower = j->ext->pair;
		j->ext->pair = NULL;
	}
	job_flag(j, JOB_BLOCKED, false);
	if (j->ext) {
		slab_free(&e->exts, j->ext);
		j->ext = NULL;
	}
	if (follower)
		job_unblock(e, follower);
}

static void
enter_active(struct engine *e, struct job *j, int64_t at)
{
	const struct batch *b = j->body->batch;

	TAILQ_INSERT_TAIL(&j->queue->active, j->body, active);
	heap_set(&e->mono, &j->node.timer, at);
	if (grouped(j))
		group_started(e, j->ext->group, b && b->active > 1);
}

static void
enter_completed(struct engine *e, struct job *j, int64_t at)
{
	struct queue *q = j->queue;

	end_of_life(e, j);
	if (job_is(j, JOB_RETAIN)) {
		list_in(j, &q->retained);
		heap_set(&e->mono, &j->node.timer, at);
	} else {
		q->completed_counted++;
		j->node.timer.at = at;
		list_in(j, &q->completed);
	}
}

static void
enter_failed(struct engine *e, struct job *j, int64_t at)
{
	end_of_life(e, j);
	j->node.timer.at = at;
	list_in(j, &j->queue->failed);
}

static void
enter_at_the_end(struct engine *e, struct job *j, int64_t at)
{
	(void)at;
	enter_waiting(e, j, false);
}

static void
set_state(struct job *j, enum bh_job_state state)
{
	j->node.timer.tag[0] = (uint8_t)state;
	j->queue->count[state]++;
}

static void
enter(struct engine *e, struct job *j, enum bh_job_state state, int64_t at)
{
	static void (*const fn[BH_STATES])(struct engine *, struct job *,
	    int64_t) = {
	    [BH_WAITING] = enter_at_the_end, [BH_DELAYED] = enter_delayed,
	    [BH_ACTIVE] = enter_active, [BH_COMPLETED] = enter_completed,
	    [BH_FAILED] = enter_failed};

	set_state(j, state);
	fn[state](e, j, at);
}

void
job_enter(struct engine *e, struct job *j, enum bh_job_state state,
    int64_t at)
{
	enter(e, j, state, at);
	queue_refresh(e, j->queue);
}

void
job_move(struct engine *e, struct job *j, enum bh_job_state to, int64_t at)
{
	CHECK(allowed[job_state(j)][to]);
	leave(e, j);
	job_enter(e, j, to, at);
}

static void
leave_line(struct engine *e, struct job *j)
{
	leave(e, j);
	if (job_is(j, JOB_INLINE)) {
		struct group *g = j->ext->group;

		TAILQ_REMOVE(&g->line, &j->node, link);
		job_flag(j, JOB_INLINE, false);
		group_refresh(e, g, false);
	}
}

void
job_redelay(struct engine *e, struct job *j, bool wall, int64_t at)
{
	leave_line(e, j);
	job_flag(j, JOB_WALL, wall);
	job_enter(e, j, BH_DELAYED, at);
}

void
job_requeue(struct engine *e, struct job *j)
{
	leave_line(e, j);
	job_enter(e, j, BH_WAITING, 0);
}

void
job_move_front(struct engine *e, struct job *j)
{
	CHECK(allowed[job_state(j)][BH_WAITING]);
	leave(e, j);
	set_state(j, BH_WAITING);
	enter_waiting(e, j, true);
	queue_refresh(e, j->queue);
}

void
job_forget(struct engine *e, struct job *j)
{
	struct queue *q = j->queue;

	leave(e, j);
	end_of_life(e, j);
	body_drop(e, j);
	map_remove(&e->by_id, j);
	slab_free(&e->jobs, j);
	queue_refresh(e, q);
}

void
job_record_delete(struct engine *e, struct job *j)
{
	struct jrec r = job_rec(j, JR_JOB_DELETE);

	r.u.del.leased = job_state(j) == BH_ACTIVE;
	r.u.del.errors = job_is(j, JOB_HISTORY);
	r.u.del.steps = job_is(j, JOB_STEPS);
	journal_append(e->journal, &r);
}

void
job_delete(struct engine *e, struct job *j)
{
	job_record_delete(e, j);
	job_forget(e, j);
}

void
job_unblock(struct engine *e, struct job *j)
{
	bool waiting = job_state(j) == BH_WAITING;

	if (waiting)
		leave_waiting(e, j);
	job_flag(j, JOB_BLOCKED, false);
	j->ext->pair = NULL;
	if (waiting) {
		enter_waiting(e, j, false);
		queue_refresh(e, j->queue);
	}
	job_write(e, j, JR_JOB_SET, 0);
}

struct jrec
job_rec(const struct job *j, enum jrec_kind kind)
{
	return (struct jrec){.kind = (uint8_t)kind, .id = j->id};
}

void
job_write(struct engine *e, struct job *j, enum jrec_kind kind,
    int64_t line_at)
{
	struct jrec r = job_rec(j, kind);

	r.u.set.run_at = j->run_at;
	r.u.set.line_at = line_at;
	r.u.set.started_at = j->body ? j->body->started_at : 0;
	r.u.set.attempt = j->attempt;
	r.u.set.error_count = j->error_count;
	r.u.set.stalled = j->stalled;
	r.u.set.wall = job_is(j, JOB_WALL);
	if (j->ext) {
		r.u.set.unique_until = j->ext->unique_until;
		r.u.set.expires_at = j->ext->expires_at;
		if (job_is(j, JOB_BLOCKED))
			r.u.set.after = j->ext->pair->id;
	}
	journal_append(e->journal, &r);
}
