/* SPDX-License-Identifier: MIT */
/*
 * The way down. What runs here may end first; from then on nothing is served.
 * Then queue by queue, the schedules, and the keys that were asked for: rows
 * are read there, stored here, and removed there once they are on the disk.
 * The counters of the ids go last. Whatever dies between two steps, the same
 * rows are stored again, in place of themselves.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>

#include "redis/away.h"
#include "redis/mem.h"
#include "redis/move.h"
#include "redis/queue.h"
#include "redis/sched.h"

enum stage {
	STAGE_ALONE, STAGE_DRAIN, STAGE_BEGIN, STAGE_IDS, STAGE_QUEUES,
	STAGE_SCHEDULES, STAGE_KEYS, STAGE_COUNTERS, STAGE_END
};

enum { EXPORT_ROWS = 300, DRAIN_MS = 25000 };

/* Places in a line become times before this one: 50 days. */
#define LINE_MS INT64_C(4294967296)

static const char moving[] = "everything is moving from Redis to the store of"
    " this machine";

static void
key_of(const struct redis_be *be, const char *name, char out[300])
{
	snprintf(out, 300, "%s{*}:%s", be->config.prefix, name);
}

static void
next_stage(struct rmove *m)
{
	m->stage++;
	m->be->host->wake();
}

/* --- who else is here? --- */

static void
refuse(struct rmove *m, const char *text)
{
	struct bh_migrate *r = m->asked;

	m->asked = NULL;
	m->at = MOVE_NOTHING;
	m->stage = STAGE_ALONE;
	if (!r)
		return;
	r->req.status = BH_E_CONFLICT;
	snprintf(r->req.text, sizeof(r->req.text), "%s", text);
	r->req.done(&r->req);
}

/* Names of connections are bellhop:INSTANCE. */
static size_t
count_others(const struct redis_be *be, const char *list)
{
	char err[BH_ERROR_TEXT];
	const char *mine = be->host->instance(err), *at = list;
	size_t n = 0;

	while ((at = strstr(at, " name=bellhop:"))) {
		at += strlen(" name=bellhop:");
		if (!mine || strncmp(at, mine, strlen(mine)) != 0)
			n++;
	}
	return n;
}

static void
on_clients(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;
	size_t others;

	if (!r) {
		(void)move_reply(m, r);
		return;
	}
	m->under_way--;
	others = r->type == REDIS_REPLY_STRING ? count_others(m->be, r->str) :
	    0;
	if (others > 0) {
		refuse(m, "other instances of Bellhop are connected to this"
		    " Redis: stop them first, the jobs would be torn from"
		    " under them");
		return;
	}
	next_stage(m);
}

static void
ask_alone(struct rmove *m)
{
	m->under_way++;
	if (!rlink_sendv(m->be->main, on_clients, m, "CLIENT", "LIST", NULL))
		m->under_way--;
}

/* --- rows on their way --- */

static void
store(struct rmove *m)
{
	m->local.rows = m->rows.all;
	m->local.nrows = m->rows.n;
	move_local(m, BH_LOCAL_WRITE);
}

static void
forget_rows(struct rmove *m)
{
	for (size_t i = 0; i < m->rows.n; i++)
		m->counts[m->rows.all[i].table]++;
	row_list_done(&m->rows);
	m->local.rows = NULL;
	m->local.nrows = 0;
}

static void
on_removed(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;

	if (move_reply(m, r)) {
		forget_rows(m);
		mwords_done(&m->drop);
		if (m->stage == STAGE_KEYS)
			move_keys_next(m);
		else if (m->next_after)
			m->queue_at++;
		m->next_after = false;
	}
	m->be->host->wake();
}

/* --- ids --- */

static void
on_seq(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;
	int64_t seq = 0, alien = 0;

	if (!move_reply(m, r))
		return;
	if (r->type == REDIS_REPLY_ARRAY && r->elements == 2) {
		if (r->element[0]->type == REDIS_REPLY_STRING)
			seq = strtoll(r->element[0]->str, NULL, 10);
		if (r->element[1]->type == REDIS_REPLY_STRING)
			alien = strtoll(r->element[1]->str, NULL, 10);
	}
	seq = (seq + 1) << RQUEUE_BITS;
	row_set_int(&row_new(&m->rows, BH_T_META)[BH_META_next_id],
	    seq > alien ? seq : alien + 1);
	store(m);
}

static void
ask_ids(struct rmove *m)
{
	char seq[300], meta[300];

	key_of(m->be, "seq", seq);
	key_of(m->be, "meta", meta);
	m->under_way++;
	if (!rlink_sendv(m->be->main, on_seq, m, "EVAL", "return"
	    " {redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2],"
	    " 'alien')}", "2", seq, meta, NULL))
		m->under_way--;
}

/* --- queues --- */

static void
name_queues(struct rmove *m)
{
	struct rqueue *q;

	for (size_t i = 0; i < m->nqueues; i++)
		free(m->queues[i]);
	m->nqueues = 0;
	TAILQ_FOREACH(q, rqueues_all(m->be), all) {
		m->queues = mem_grow(m->queues, (m->nqueues + 1) *
		    sizeof(*m->queues));
		m->queues[m->nqueues++] = mem_copy(q->name, q->len);
	}
	m->queue_at = 0;
	m->total = 0;
}

static struct rqueue *
queue_now(const struct rmove *m)
{
	const char *name = m->queues[m->queue_at];

	return rqueue_find(m->be, (struct bh_bytes){name, strlen(name)});
}

static void
on_export(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;
	int64_t job = 0;
	size_t jobs = 0;

	if (!move_reply(m, r) || r->type != REDIS_REPLY_ARRAY)
		return;
	m->next_after = false;
	mwords_done(&m->drop);
	mwords_str(&m->drop, "drop");
	for (size_t i = 0; i < r->elements; i++) {
		if (!row_read(&m->rows, r->element[i], &job)) {
			row_list_done(&m->rows);
			move_trouble(m, "a record of queue '%s' is not"
			    " understood", m->queues[m->queue_at]);
			return;
		}
		if (m->rows.all[m->rows.n - 1].table != BH_T_JOB)
			continue;
		mwords_int(&m->drop, job);
		jobs++;
	}
	if (jobs == 0) {
		mwords_done(&m->drop);
		mwords_str(&m->drop, "wipe");
		m->next_after = true;
	}
	store(m);
}

static void
ask_queue(struct rmove *m)
{
	struct mwords w = {NULL};

	if (m->queue_at == m->nqueues) {
		next_stage(m);
		return;
	}
	mwords_str(&w, "export");
	mwords_int(&w, EXPORT_ROWS);
	mwords_int(&w, m->began - LINE_MS);
	move_call(m, queue_now(m), &w, on_export, m);
	mwords_done(&w);
}

/* --- schedules --- */

static void
opt(struct bh_bytes *col, int64_t v)
{
	if (v >= 0)
		row_set_int(col, v);
}

static void
real(struct bh_bytes *col, double v)
{
	char text[32];

	if (v >= 0)
		row_set(col, text, (size_t)snprintf(text, sizeof(text),
		    "%.15g", v));
}

static void
text(struct bh_bytes *col, struct bh_bytes v)
{
	if (v.len > 0)
		row_set(col, v.data, v.len);
}

static void
schedule_opts(struct bh_bytes *c, const struct bh_job_opts *o)
{
	opt(&c[BH_SCHEDULE_priority], o->priority);
	opt(&c[BH_SCHEDULE_delay_ms], o->delay_ms);
	opt(&c[BH_SCHEDULE_expires_ms], o->expires_ms);
	opt(&c[BH_SCHEDULE_attempts], o->attempts);
	opt(&c[BH_SCHEDULE_timeout_ms], o->timeout_ms);
	opt(&c[BH_SCHEDULE_backoff_type], o->backoff_type);
	opt(&c[BH_SCHEDULE_backoff_ms], o->backoff_ms);
	opt(&c[BH_SCHEDULE_backoff_max_ms], o->backoff_max_ms);
	real(&c[BH_SCHEDULE_backoff_factor], o->backoff_factor);
	real(&c[BH_SCHEDULE_backoff_jitter], o->backoff_jitter);
	text(&c[BH_SCHEDULE_group_key], o->group);
	text(&c[BH_SCHEDULE_unique_key], o->unique);
	opt(&c[BH_SCHEDULE_unique_ttl_ms], o->unique_ttl_ms);
	opt(&c[BH_SCHEDULE_unique_mode], o->unique_mode);
	opt(&c[BH_SCHEDULE_lease_ms], o->lease_ms);
	opt(&c[BH_SCHEDULE_max_stalled], o->max_stalled);
	opt(&c[BH_SCHEDULE_retain_ms], o->retain_ms);
}

static void
schedule_row(struct rmove *m, struct bh_bytes name,
    const struct bh_schedule *s)
{
	struct bh_bytes *c = row_new(&m->rows, BH_T_SCHEDULE);

	row_set(&c[BH_SCHEDULE_name], name.data, name.len);
	text(&c[BH_SCHEDULE_owner], s->owner);
	row_set(&c[BH_SCHEDULE_queue], s->queue.data, s->queue.len);
	text(&c[BH_SCHEDULE_cron], s->cron);
	text(&c[BH_SCHEDULE_zone], s->zone);
	if (s->every_ms > 0)
		row_set_int(&c[BH_SCHEDULE_every_ms], s->every_ms);
	row_set_int(&c[BH_SCHEDULE_misfire], s->misfire);
	row_set_int(&c[BH_SCHEDULE_overlap], s->overlap);
	row_set_int(&c[BH_SCHEDULE_created_at], s->created_at);
	row_set(&c[BH_SCHEDULE_payload], s->payload.data, s->payload.len);
	schedule_opts(c, &s->opts);
}

static void
state_rows(struct rmove *m, const struct bh_schedule *row,
    const struct rsched_state *s)
{
	struct bh_bytes *c = row_new(&m->rows, BH_T_SCHEDULE_STATE);
	int64_t next = rsched_next_at(row, s, 0, 0);

	if (next)
		row_set_int(&c[BH_SCHEDULE_STATE_next_at], next);
	row_set_int(&c[BH_SCHEDULE_STATE_after_at], s->clock.after);
	row_set_int(&c[BH_SCHEDULE_STATE_seen_at], s->clock.seen);
	if (s->kept > 0 && s->ticks[0].job)
		row_set_int(&c[BH_SCHEDULE_STATE_job], s->ticks[0].job);
	for (size_t i = s->kept; i-- > 0;) {
		const struct bh_tick *t = &s->ticks[i];

		c = row_new(&m->rows, BH_T_TICK);
		row_set_int(&c[BH_TICK_n], s->nticks - (int64_t)i > 0 ?
		    s->nticks - (int64_t)i : 1);
		row_set_int(&c[BH_TICK_due], t->due);
		row_set_int(&c[BH_TICK_at], t->at);
		row_set_int(&c[BH_TICK_outcome], t->outcome);
		if (t->job)
			row_set_int(&c[BH_TICK_job], t->job);
	}
}

static struct bh_bytes
bytes_of(const struct redisReply *r)
{
	return (struct bh_bytes){r->str ? r->str : "", r->str ? r->len : 0};
}

/* {seconds, microseconds, rows, NAME, ROW, STATE, …} */
static void
on_schedules(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;

	if (!move_reply(m, r) || r->type != REDIS_REPLY_ARRAY)
		return;
	for (size_t i = 3; i + 2 < r->elements; i += 3) {
		struct bh_bytes name = bytes_of(r->element[i]);
		struct rsched s = {.name = NULL};
		struct bh_schedule row;

		if (!rsched_row_read(&row, bytes_of(r->element[i + 1])))
			continue;
		/* Its time as it was written. */
		s.row.cron = (struct bh_bytes){"x", 1};
		if (!rsched_state_read(&s, bytes_of(r->element[i + 2]), 0, 0))
			continue;
		schedule_row(m, name, &row);
		state_rows(m, &row, &s.state);
	}
	if (m->rows.n == 0)
		next_stage(m);
	else
		store(m);
}

static void
ask_schedules(struct rmove *m)
{
	char sr[300], ss[300], sv[300];
	const char *argv[] = {sr, ss, sv, "get", ""};

	key_of(m->be, "sr", sr);
	key_of(m->be, "ss", ss);
	key_of(m->be, "sv", sv);
	m->under_way++;
	if (!rscript_call(m->be, RSCRIPT_SCHEDULE, 3, 5, argv, NULL,
	    on_schedules, m))
		m->under_way--;
}

/* --- the counters --- */

static void
on_gone(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;

	if (move_reply(m, r))
		next_stage(m);
	m->be->host->wake();
}

static void
drop_global(struct rmove *m, bool schedules)
{
	static const char *const all[] = {"queues", "seq", "inst", "insts",
	    "alien", "meta", "marker", "sr", "ss", "sv"};
	size_t from = schedules ? 7 : 0, n = sizeof(all) / sizeof(all[0]);
	struct mwords w = {NULL};
	char key[300];

	if (!schedules)
		rserver_forget(m->be);
	mwords_str(&w, "DEL");
	for (size_t i = from; i < n; i++) {
		key_of(m->be, all[i], key);
		mwords_str(&w, key);
	}
	m->under_way++;
	if (!rlink_send(m->be->main, (int)w.n, w.argv, w.lens, schedules ?
	    on_removed : on_gone, m))
		m->under_way--;
	mwords_done(&w);
}

/* --- what is stored here is removed there --- */

void
move_down_stored(struct rmove *m)
{
	if (m->stage == STAGE_IDS) {
		forget_rows(m);
		next_stage(m);
	} else if (m->stage == STAGE_QUEUES) {
		move_call(m, queue_now(m), &m->drop, on_removed, m);
	} else if (m->stage == STAGE_SCHEDULES) {
		drop_global(m, true);
	} else {
		move_keys_drop(m, on_removed);
	}
}

/* --- the way --- */

static void
drain(struct rmove *m)
{
	if (!m->drain_until) {
		m->drain_until = m->be->mono_ms + DRAIN_MS;
		rjobs_drain(m->be);
	}
	if (!raway_empty(m->be))
		move_trouble(m, "the outbox is being forwarded to Redis"
		    " first");
	else if (rhandlers_count(m->be) > 0 &&
	    m->be->mono_ms < m->drain_until)
		m->retry_at = m->be->mono_ms + 50;
	else
		next_stage(m);
}

static void
begin(struct rmove *m)
{
	raway_leave(m->be, moving);
	m->began = m->be->wall_ms;
	m->local.down = true;
	move_local(m, BH_LOCAL_BEGIN);
}

static void
answer(struct rmove *m)
{
	struct bh_migrate *r = m->asked;

	m->asked = NULL;
	if (!r)
		return;
	memcpy(r->counts, m->counts, sizeof(r->counts));
	r->req.status = BH_OK;
	r->req.done(&r->req);
}

void
move_down_ended(struct rmove *m)
{
	raway_leave(m->be, "everything has moved to the store of this machine:"
	    " set backend.type = \"embedded\" in the configuration and"
	    " restart");
	move_tell(m, BH_LOG_INFO, "%s", raway_why(m->be));
	answer(m);
}

void
move_down(struct rmove *m)
{
	if (!m->be->ready || !rnames_ready(m->be))
		return;
	/* Rows that were read and not stored, or not removed, go again: what
	 * is read once more is the same. */
	row_list_done(&m->rows);
	m->failed = false;
	switch ((enum stage)m->stage) {
	case STAGE_DRAIN:
		drain(m);
		break;
	case STAGE_ALONE:
		ask_alone(m);
		break;
	case STAGE_BEGIN:
		begin(m);
		break;
	case STAGE_IDS:
		if (m->nqueues == 0)
			name_queues(m);
		ask_ids(m);
		break;
	case STAGE_QUEUES:
		ask_queue(m);
		break;
	case STAGE_SCHEDULES:
		ask_schedules(m);
		break;
	case STAGE_KEYS:
		move_keys_ask(m);
		break;
	case STAGE_COUNTERS:
		drop_global(m, false);
		break;
	case STAGE_END:
		move_local(m, BH_LOCAL_END);
		break;
	}
}

void
move_down_begun(struct rmove *m)
{
	/* The daemon has died on the way: nothing is served again. */
	if (m->stage < STAGE_BEGIN) {
		raway_leave(m->be, moving);
		move_tell(m, BH_LOG_INFO, "%s: going on with it", moving);
		m->began = m->be->wall_ms;
	}
	m->stage = STAGE_IDS;
	m->at = MOVE_DOWN;
}

void
move_keys_done(struct rmove *m)
{
	next_stage(m);
}

/* --- who asks for it --- */

void
rmove_migrate(void *arg, struct bh_migrate *r)
{
	struct redis_be *be = arg;
	struct rmove *m = be->move;

	if (m->asked) {
		be_fail(be, &r->req, BH_E_CONFLICT, "somebody has asked for"
		    " it already: it is under way");
		return;
	}
	if (m->at < MOVE_NOTHING) {
		be_fail(be, &r->req, BH_E_CONFLICT, "the local store is still"
		    " moving to Redis: wait until that is done");
		return;
	}
	if (!be->ready) {
		be_fail_away(be, &r->req);
		return;
	}
	if (m->at == MOVE_LEFT) {
		memcpy(r->counts, m->counts, sizeof(r->counts));
		r->req.status = BH_OK;
		be_answer(be, &r->req);
		return;
	}
	m->asked = r;
	move_keys_globs(m, r->keys, r->nkeys);
	if (m->at == MOVE_NOTHING) {
		memset(m->counts, 0, sizeof(m->counts));
		m->stage = STAGE_ALONE;
		m->at = MOVE_DOWN;
	}
	be->host->wake();
}
