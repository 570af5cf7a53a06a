/* SPDX-License-Identifier: MIT */
/* The far end of the way up: rows are taken by Redis. */
#include <hiredis/hiredis.h>
#include <inttypes.h>

#include "redis/lua.h"
#include "redis/mem.h"
#include "redis/move.h"
#include "redis/queue.h"
#include "redis/sched.h"

static void
on_reply(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;

	(void)move_reply(m, r);
	if (m->under_way == 0)
		m->be->host->wake();
}

static void
send_failed(struct rmove *m)
{
	m->failed = true;
	m->retry_at = m->be->mono_ms + 200;
}

static void
key_of(const struct redis_be *be, const char *name, char out[300])
{
	snprintf(out, 300, "%s{*}:%s", be->config.prefix, name);
}

static void
plain(struct rmove *m, const struct mwords *w)
{
	m->under_way++;
	if (!rlink_send(m->be->main, (int)w->n, w->argv, w->lens, on_reply,
	    m)) {
		m->under_way--;
		send_failed(m);
	}
}

/* --- ids --- */

static void
on_claim(void *arg, struct redisReply *r)
{
	struct rmove *m = arg;

	if (move_reply(m, r) && r->type == REDIS_REPLY_STRING)
		m->base = strtoll(r->str, NULL, 10);
	if (m->base)
		move_tell(m, BH_LOG_WARN, "this Redis has jobs of somebody"
		    " else: those that come from here get new ids");
	m->be->host->wake();
}

/* Before anything else is done with ids there: not yet ready. */
void
move_claim(struct rmove *m)
{
	char meta[300], seq[300], next[24];

	m->bound = col_int(m->local.rows[0].cols[BH_META_next_id], 1);
	snprintf(next, sizeof(next), "%" PRId64, m->bound);
	key_of(m->be, "meta", meta);
	key_of(m->be, "seq", seq);
	m->under_way++;
	if (!rlink_sendv(m->be->main, on_claim, m, "EVAL", rlua_claim, "2",
	    meta, seq, m->name, next, NULL)) {
		m->under_way--;
		send_failed(m);
	}
}

/* --- jobs, queues, callbacks --- */

static struct bh_bytes
queue_of(const struct bh_row *row)
{
	switch (row->table) {
	case BH_T_QUEUE:
		return row->cols[BH_QUEUE_name];
	case BH_T_JOB:
		return row->cols[BH_JOB_queue];
	case BH_T_CALLBACK:
		return row->cols[BH_CALLBACK_queue];
	default:
		return (struct bh_bytes){NULL, 0};
	}
}

static bool
same(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* A call of move.lua under way. */
struct move_call {
	struct rmove *m;
	struct rqueue *q;
};

static void
on_import(void *arg, struct redisReply *r)
{
	struct move_call *c = arg;
	struct rmove *m = c->m;

	/* Jobs may be ready now, or due. */
	if (move_reply(m, r))
		(void)rqueue_reply(m->be, c->q, r);
	if (m->under_way == 0)
		m->be->host->wake();
	free(c);
}

/* The queue's number, -1: it is being asked for. */
static int
number_of(struct rmove *m, struct bh_bytes name)
{
	struct rqueue *q = rqueue_find(m->be, name);

	if (q && q->number >= 0 && rnames_ready(m->be))
		return q->number;
	return -1;
}

static void
known(struct redis_be *be, struct rqueue *q, void *arg)
{
	(void)q, (void)arg;
	be->host->wake();
}

void
move_call(struct rmove *m, struct rqueue *q, const struct mwords *w,
    rlink_reply_fn *fn, void *arg)
{
	const char **argv = mem_new((w->n + 4) * sizeof(*argv));
	size_t *lens = mem_new((w->n + 4) * sizeof(*lens));
	struct rcounted head[3];
	char space[RHEAD];

	rqueue_head(m->be, q, space, head);
	argv[0] = q->keys;
	lens[0] = strlen(q->keys);
	for (size_t i = 0; i < 3; i++) {
		argv[i + 1] = head[i].data;
		lens[i + 1] = head[i].len;
	}
	memcpy(argv + 4, w->argv, w->n * sizeof(*argv));
	memcpy(lens + 4, w->lens, w->n * sizeof(*lens));
	m->under_way++;
	if (!rscript_call(m->be, RSCRIPT_MOVE, 1, (int)w->n + 4, argv, lens,
	    fn, arg))
		fn(arg, NULL);
	free(argv);
	free(lens);
}

static void
call(struct rmove *m, struct bh_bytes queue, const struct mwords *w)
{
	struct move_call *c = mem_new(sizeof(*c));

	c->m = m;
	c->q = rqueue_find(m->be, queue);
	move_call(m, c->q, w, on_import, c);
}

/* Whose the ids are, before the jobs are there. */
static void
announce(struct rmove *m, struct bh_bytes queue, const struct mwords *ids)
{
	struct mwords w = {NULL};
	char key[300], number[16];

	if (ids->n == 0)
		return;
	key_of(m->be, "alien", key);
	snprintf(number, sizeof(number), "%d", number_of(m, queue));
	mwords_str(&w, "HSET");
	mwords_str(&w, key);
	for (size_t i = 0; i < ids->n; i++) {
		mwords_str(&w, ids->argv[i]);
		mwords_str(&w, number);
	}
	plain(m, &w);
	mwords_done(&w);
}

/* The rows of one queue in one call, with what belongs to them. */
static void
send_queue(struct rmove *m, struct bh_bytes queue)
{
	const struct bh_local *l = &m->local;
	struct mwords w = {NULL}, ids = {NULL};
	bool mine = false;
	int64_t job = 0;

	mwords_str(&w, "import");
	mwords_str(&w, m->name);
	for (size_t i = 0; i < l->nrows; i++) {
		const struct bh_row *row = &l->rows[i];

		if (row->table == l->table)
			mine = same(queue_of(row), queue);
		if (!mine)
			continue;
		if (row->table == BH_T_JOB) {
			job = move_id(m->base, col_int(row->cols[BH_JOB_id],
			    0));
			mwords_int(&ids, job);
		}
		mwords_row(&w, row, m->base, job);
	}
	announce(m, queue, &ids);
	call(m, queue, &w);
	mwords_done(&w);
	mwords_done(&ids);
}

/* False: some number is not known yet; each is asked for once. */
static bool
numbers_known(struct rmove *m)
{
	const struct bh_local *l = &m->local;
	bool all = true;

	for (size_t i = 0; i < l->nrows; i++) {
		struct bh_bytes name;

		if (l->rows[i].table != l->table)
			continue;
		name = queue_of(&l->rows[i]);
		if (number_of(m, name) >= 0)
			continue;
		all = false;
		if (!rqueue_find(m->be, name))
			rqueue_of_name(m->be, name, known, NULL);
	}
	return all;
}

static void
send_queues(struct rmove *m)
{
	const struct bh_local *l = &m->local;

	if (!numbers_known(m)) {
		m->sent = false;
		m->retry_at = m->be->mono_ms + 20;
		return;
	}
	for (size_t i = 0; i < l->nrows; i++) {
		bool first = l->rows[i].table == l->table;

		for (size_t k = 0; k < i && first; k++)
			first = l->rows[k].table != l->table ||
			    !same(queue_of(&l->rows[k]),
			    queue_of(&l->rows[i]));
		if (first)
			send_queue(m, queue_of(&l->rows[i]));
	}
}

/* --- schedules --- */

static void
opts_of(struct bh_job_opts *o, const struct bh_bytes *c)
{
	bh_job_opts_init(o);
	o->priority = (int8_t)col_int(c[BH_SCHEDULE_priority], -1);
	o->delay_ms = col_int(c[BH_SCHEDULE_delay_ms], -1);
	o->expires_ms = col_int(c[BH_SCHEDULE_expires_ms], -1);
	o->attempts = (int32_t)col_int(c[BH_SCHEDULE_attempts], -1);
	o->timeout_ms = col_int(c[BH_SCHEDULE_timeout_ms], -1);
	o->backoff_type = (int8_t)col_int(c[BH_SCHEDULE_backoff_type], -1);
	o->backoff_ms = col_int(c[BH_SCHEDULE_backoff_ms], -1);
	o->backoff_max_ms = col_int(c[BH_SCHEDULE_backoff_max_ms], -1);
	if (c[BH_SCHEDULE_backoff_factor].data)
		o->backoff_factor = strtod(
		    c[BH_SCHEDULE_backoff_factor].data, NULL);
	if (c[BH_SCHEDULE_backoff_jitter].data)
		o->backoff_jitter = strtod(
		    c[BH_SCHEDULE_backoff_jitter].data, NULL);
	o->group = c[BH_SCHEDULE_group_key];
	o->unique = c[BH_SCHEDULE_unique_key];
	o->unique_ttl_ms = col_int(c[BH_SCHEDULE_unique_ttl_ms], -1);
	o->unique_mode = (int8_t)col_int(c[BH_SCHEDULE_unique_mode], -1);
	o->lease_ms = col_int(c[BH_SCHEDULE_lease_ms], -1);
	o->max_stalled = (int32_t)col_int(c[BH_SCHEDULE_max_stalled], -1);
	o->retain_ms = col_int(c[BH_SCHEDULE_retain_ms], -1);
}

static void
schedule_of(struct bh_schedule *s, const struct bh_bytes *c)
{
	*s = (struct bh_schedule){
	    .name = c[BH_SCHEDULE_name], .owner = c[BH_SCHEDULE_owner],
	    .queue = c[BH_SCHEDULE_queue], .payload = c[BH_SCHEDULE_payload],
	    .cron = c[BH_SCHEDULE_cron], .zone = c[BH_SCHEDULE_zone],
	    .every_ms = col_int(c[BH_SCHEDULE_every_ms], 0),
	    .misfire = (enum bh_misfire)col_int(c[BH_SCHEDULE_misfire], 0),
	    .overlap = (enum bh_overlap)col_int(c[BH_SCHEDULE_overlap], 0),
	    .created_at = col_int(c[BH_SCHEDULE_created_at], 0)};
	opts_of(&s->opts, c);
}

/* Where it stands, as rsched_state_write() would put it; rows of it follow. */
static void
state_of(struct rmove *m, struct blob *b, const struct bh_schedule *s,
    const struct bh_row *row, const struct bh_row *end)
{
	struct rsched_state st = {.nticks = 0};

	for (; row < end && row->table != BH_T_SCHEDULE; row++) {
		const struct bh_bytes *c = row->cols;

		if (row->table == BH_T_SCHEDULE_STATE) {
			st.clock.due = col_int(c[BH_SCHEDULE_STATE_next_at],
			    INT64_MAX);
			st.clock.after = col_int(
			    c[BH_SCHEDULE_STATE_after_at], 0);
			st.clock.seen = col_int(
			    c[BH_SCHEDULE_STATE_seen_at], 0);
			continue;
		}
		/* Oldest first here, newest first there. */
		memmove(st.ticks + 1, st.ticks, (SCHED_TICKS - 1) *
		    sizeof(*st.ticks));
		st.ticks[0] = (struct bh_tick){col_int(c[BH_TICK_due], 0),
		    col_int(c[BH_TICK_at], 0),
		    (enum bh_tick_outcome)col_int(c[BH_TICK_outcome], 0),
		    move_id(m->base, col_int(c[BH_TICK_job], 0))};
		st.nticks = col_int(c[BH_TICK_n], 0);
		st.kept += st.kept < SCHED_TICKS;
	}
	/* Both clocks the same: what is due stays as it was written. */
	rsched_state_write(b, s, &st, 0, 0);
}

/* One that is there already stays: it came the first time, or is another's. */
static void
send_schedule(struct rmove *m, const struct bh_row *row,
    const struct bh_row *end)
{
	char sr[300], ss[300], sv[300], channel[300];
	struct blob text = {NULL}, state = {NULL};
	struct mwords w = {NULL};
	struct bh_schedule s;

	key_of(m->be, "sr", sr);
	key_of(m->be, "ss", ss);
	key_of(m->be, "sv", sv);
	key_of(m->be, "sched", channel);
	schedule_of(&s, row->cols);
	rsched_row_write(&text, &s);
	state_of(m, &state, &s, row + 1, end);
	mwords_str(&w, sr);
	mwords_str(&w, ss);
	mwords_str(&w, sv);
	mwords_str(&w, "set");
	mwords_add(&w, s.name.data, s.name.len);
	mwords_str(&w, "");
	mwords_add(&w, text.data, text.len);
	mwords_add(&w, state.data, state.len);
	mwords_str(&w, "0");
	mwords_str(&w, "1000000000");
	mwords_str(&w, channel);
	mwords_str(&w, "move");
	m->under_way++;
	if (!rscript_call(m->be, RSCRIPT_SCHEDULE, 3, (int)w.n, w.argv,
	    w.lens, on_reply, m)) {
		m->under_way--;
		send_failed(m);
	}
	blob_done(&text);
	blob_done(&state);
	mwords_done(&w);
}

/* --- keys --- */

/* The key in place of what has its name there. */
static void
send_key(struct rmove *m, const struct bh_row *row, size_t n)
{
	struct bh_bytes name = row->cols[BH_KEY_name];
	struct mwords one = {NULL};
	struct mwords *all;
	size_t count = move_key_commands(row, n, rserver_is_6(m->be), &all);

	mwords_str(&one, "MULTI");
	plain(m, &one);
	mwords_done(&one);
	mwords_str(&one, "DEL");
	mwords_add(&one, name.data, name.len);
	plain(m, &one);
	mwords_done(&one);
	for (size_t i = 0; i < count; i++) {
		plain(m, &all[i]);
		mwords_done(&all[i]);
	}
	free(all);
	mwords_str(&one, "EXEC");
	plain(m, &one);
	mwords_done(&one);
}

static void
send_keys(struct rmove *m)
{
	const struct bh_local *l = &m->local;
	size_t next;

	for (size_t i = 0; i < l->nrows; i = next) {
		for (next = i + 1; next < l->nrows &&
		    l->rows[next].table != BH_T_KEY; next++)
			;
		send_key(m, &l->rows[i], next - i);
	}
}

void
move_send(struct rmove *m)
{
	const struct bh_local *l = &m->local;

	m->sent = true;
	switch (l->table) {
	case BH_T_META:
		move_claim(m);
		break;
	case BH_T_SCHEDULE:
		for (size_t i = 0; i < l->nrows; i++)
			if (l->rows[i].table == BH_T_SCHEDULE)
				send_schedule(m, &l->rows[i], l->rows +
				    l->nrows);
		break;
	case BH_T_KEY:
		send_keys(m);
		break;
	default:
		send_queues(m);
		break;
	}
}

/* --- the end --- */

void
move_close(struct rmove *m)
{
	m->sent = true;
	for (size_t i = 0; i < m->nqueues; i++) {
		struct bh_bytes name = {m->queues[i], strlen(m->queues[i])};
		struct mwords w = {NULL};

		mwords_str(&w, "close");
		mwords_str(&w, m->name);
		call(m, name, &w);
		mwords_done(&w);
	}
}
