/* SPDX-License-Identifier: MIT */
/*
 * The way up, batch after batch: rows are read here, taken there, and dropped
 * here once all of them have been confirmed. Whatever dies between two steps,
 * the same rows go again, and Redis knows those that it has had. A step that
 * fails is tried again.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdarg.h>

#include "redis/mem.h"
#include "redis/move.h"

enum { BATCH_ROWS = 500, RETRY_MS = 1000, TELL_MS = 5000 };

static const enum bh_table table_at[] = {
	[MOVE_CLAIM] = BH_T_META, [MOVE_QUEUES] = BH_T_QUEUE,
	[MOVE_SCHEDULES] = BH_T_SCHEDULE, [MOVE_KEYS] = BH_T_KEY,
	[MOVE_LIVING] = BH_T_JOB, [MOVE_ENDED] = BH_T_JOB,
	[MOVE_CALLBACKS] = BH_T_CALLBACK,
};

/* --- what is said --- */

void
move_tell(struct rmove *m, enum bh_log_level level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->be->host->log(level, "redis", text);
}

void
move_trouble(struct rmove *m, const char *fmt, ...)
{
	char text[BH_ERROR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->retry_at = m->be->mono_ms + RETRY_MS;
	if (strcmp(text, m->trouble) != 0)
		move_tell(m, BH_LOG_WARN, "the move waits: %s", text);
	snprintf(m->trouble, sizeof(m->trouble), "%s", text);
}

bool
move_reply(struct rmove *m, const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];

	m->under_way--;
	if (r && r->type != REDIS_REPLY_ERROR)
		return true;
	m->failed = true;
	(void)be_error(m->be, r, text);
	if (r)
		move_trouble(m, "%s", text);
	return false;
}

static void
tell_progress(struct rmove *m, bool end)
{
	if (!end && m->be->mono_ms - m->told_at < TELL_MS)
		return;
	m->told_at = m->be->mono_ms;
	move_tell(m, BH_LOG_INFO, "%s: %" PRId64 " of %" PRId64 " jobs have"
	    " moved %s", end ? "done" : "on the way", m->counts[BH_T_JOB],
	    m->total, m->at == MOVE_DOWN || m->at == MOVE_LEFT ?
	    "to the local store" : "to Redis");
}

/* --- stations --- */

static void
go_to(struct rmove *m, enum station at)
{
	m->at = at;
	m->last = 0;
	if (at == MOVE_NOTHING)
		tell_progress(m, true);
}

static void
next_station(struct rmove *m)
{
	go_to(m, m->at + 1);
}

static void
remember_queue(struct rmove *m, struct bh_bytes name)
{
	for (size_t i = 0; i < m->nqueues; i++)
		if (strlen(m->queues[i]) == name.len &&
		    memcmp(m->queues[i], name.data, name.len) == 0)
			return;
	m->queues = mem_grow(m->queues, (m->nqueues + 1) *
	    sizeof(*m->queues));
	m->queues[m->nqueues++] = mem_copy(name.data, name.len);
}

static void
take_rows(struct rmove *m)
{
	const struct bh_local *r = &m->local;
	const struct bh_row *last = NULL;

	for (size_t i = 0; i < r->nrows; i++) {
		if (r->rows[i].table == BH_T_QUEUE)
			remember_queue(m, r->rows[i].cols[BH_QUEUE_name]);
		if (r->rows[i].table == r->table)
			last = &r->rows[i];
	}
	if (m->at == MOVE_LIVING && last &&
	    col_int(last->cols[BH_JOB_state], 0) != 0)
		m->at = MOVE_ENDED;
	move_send(m);
}

static void
dropped(struct rmove *m)
{
	struct bh_local *r = &m->local;

	for (size_t i = 0; i < r->nrows; i++) {
		m->counts[r->rows[i].table]++;
		if (r->rows[i].table == r->table)
			m->last = r->rows[i].at;
	}
	m->be->host->local_free(r);
	m->trouble[0] = '\0';
	tell_progress(m, false);
}

static void
began(struct rmove *m)
{
	const struct bh_local *r = &m->local;

	snprintf(m->name, sizeof(m->name), "%s", r->move);
	m->total = r->counts[BH_T_JOB];
	m->told_at = m->be->mono_ms;
	if (!*r->move) {
		m->at = MOVE_NOTHING;
		rserver_serve(m->be);
		return;
	}
	if (r->down) {
		move_down_begun(m);
		rserver_serve(m->be);
		return;
	}
	if (m->total + r->counts[BH_T_KEY] + r->counts[BH_T_SCHEDULE] > 0)
		move_tell(m, BH_LOG_INFO, "moving to Redis: %" PRId64
		    " jobs (%" PRId64 " of them living), %" PRId64 " keys, %"
		    PRId64 " schedules", m->total, r->living,
		    r->counts[BH_T_KEY], r->counts[BH_T_SCHEDULE]);
	go_to(m, MOVE_CLAIM);
}

static void
on_local(struct bh_req *req)
{
	struct rmove *m = req->user;
	struct bh_local *r = &m->local;

	m->local_busy = false;
	if (!m->be) {			/* the backend is closed */
		m->host->local_free(r);
		free(m);
		return;
	}
	if (req->status != BH_OK) {
		if (req->status != BH_E_CANCELED)
			move_trouble(m, "%s", req->text);
		return;
	}
	m->trouble[0] = '\0';
	if (r->op == BH_LOCAL_BEGIN) {
		began(m);
	} else if (r->op == BH_LOCAL_READ && r->nrows > 0) {
		take_rows(m);
	} else if (r->op == BH_LOCAL_READ) {
		m->be->host->local_free(r);
		next_station(m);
	} else if (r->op == BH_LOCAL_DROP) {
		dropped(m);
	} else if (r->op == BH_LOCAL_WRITE) {
		move_down_stored(m);
	} else if (m->at == MOVE_DOWN) {
		go_to(m, MOVE_LEFT);
		move_down_ended(m);
	} else {
		go_to(m, MOVE_NOTHING);
	}
	m->be->host->wake();
}

void
move_local(struct rmove *m, enum bh_local_op op)
{
	m->local.op = op;
	m->local.req.done = on_local;
	m->local.req.user = m;
	m->local_busy = true;
	m->be->host->local(&m->local);
}

static void
read_batch(struct rmove *m)
{
	m->local.table = table_at[m->at];
	m->local.after = m->last;
	m->local.limit = BATCH_ROWS;
	move_local(m, BH_LOCAL_READ);
}

/* All replies have come. */
static void
settle(struct rmove *m)
{
	bool failed = m->failed;

	m->failed = false;
	m->sent = false;
	if (failed)
		return;		/* the same again */
	if (m->at == MOVE_CLAIM) {
		m->be->host->local_free(&m->local);
		go_to(m, MOVE_QUEUES);
		rserver_serve(m->be);
	} else if (m->at == MOVE_CLOSE) {
		next_station(m);
	} else {
		move_local(m, BH_LOCAL_DROP);
	}
}

void
move_go_on(struct rmove *m)
{
	if (m->local_busy || m->under_way > 0 ||
	    m->retry_at > m->be->mono_ms)
		return;
	m->retry_at = 0;
	if (m->at == MOVE_DOWN) {
		move_down(m);
	} else if (m->sent) {
		settle(m);
	} else if (m->at == MOVE_CLAIM && !m->be->looked) {
		return;
	} else if (m->at > MOVE_CLAIM && m->at < MOVE_END &&
	    !m->be->ready) {
		return;
	} else if (m->at == MOVE_ASK) {
		m->local.down = false;
		move_local(m, BH_LOCAL_BEGIN);
	} else if (m->at >= MOVE_NOTHING) {
		return;
	} else if (m->local.mem) {
		move_send(m);
	} else if (m->at < MOVE_CLOSE) {
		read_batch(m);
	} else if (m->at == MOVE_CLOSE) {
		move_close(m);
	} else {
		move_local(m, BH_LOCAL_END);
	}
}

/* --- life --- */

void
rmove_new(struct redis_be *be)
{
	struct rmove *m = mem_new(sizeof(*m));

	m->be = be;
	m->host = be->host;
	be->move = m;
	/* A backend without a machine around it, as some tests have. */
	if (!be->host->local)
		m->at = MOVE_NOTHING;
}

void
rmove_free(struct redis_be *be)
{
	struct rmove *m = be->move;

	if (m->asked) {
		m->asked->req.status = BH_E_CANCELED;
		m->asked->req.done(&m->asked->req);
	}
	if (m->local.mem && !m->local_busy)
		be->host->local_free(&m->local);
	row_list_done(&m->rows);
	mwords_done(&m->drop);
	for (size_t i = 0; i < m->nqueues; i++)
		free(m->queues[i]);
	free(m->queues);
	for (size_t i = 0; i < m->nglobs; i++)
		free(m->globs[i]);
	free(m->globs);
	m->be = NULL;
	/* Its request may still be with the local store: that ends later. */
	if (!m->local_busy)
		free(m);
	be->move = NULL;
}

int64_t
rmove_turn(struct redis_be *be)
{
	struct rmove *m = be->move;

	move_go_on(m);
	if (m->sent && m->under_way == 0)
		return be->mono_ms;
	return m->retry_at ? m->retry_at : INT64_MAX;
}

bool
rmove_claimed(const struct redis_be *be)
{
	return be->move->at > MOVE_CLAIM;
}

bool
rmove_doors(const struct redis_be *be)
{
	return be->move->at > MOVE_KEYS;
}

bool
rmove_living(const struct redis_be *be)
{
	return be->move->at < MOVE_ENDED;
}

bool
rmove_over(const struct redis_be *be)
{
	return be->move->at == MOVE_NOTHING;
}

int64_t
rmove_bound(const struct redis_be *be)
{
	return be->move->bound;
}

