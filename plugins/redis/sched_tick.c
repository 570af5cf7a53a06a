/* SPDX-License-Identifier: MIT */
/*
 * The time of schedules. The host decides which ticks are to be dealt with, a
 * batch of them; the queue's script adds their jobs, each tick once (tick.lua
 * knows its number); then the row says where it stands, unless another
 * instance was faster: it has said the same.
 */
#include <hiredis/hiredis.h>

#include "redis/mem.h"
#include "redis/sched.h"

enum { BATCH = 500, BATCH_BYTES = 4 << 20, DOUBT_MS = 3600000, ZONES_MS = 3600000, JUMP_MS = 1000,
    AGAIN_MS = 5000 };

struct planned {
	struct bh_tick_plan plan;
	int64_t id;			/* 0: none was added */
};

/* Ticks of one schedule that are being dealt with. */
struct batch {
	struct rscheds *l;
	char *name;
	char version[SCHED_VERSION];
	int64_t generation;
	struct rsched_state state;	/* after them */
	struct blob row_text;
	struct bh_schedule row;		/* strings in row_text, and name */
	struct blob text;		/* its new state, as it is sent */
	size_t n;
	struct planned ticks[];
};

static struct bh_bytes
bytes_of(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

void
rsched_look(struct rscheds *l, struct rsched *s)
{
	int64_t wall, steady;

	rsched_clocks(l, &wall, &steady);
	if (l->be->host->schedules->look(&s->row, &s->state.clock, wall))
		s->doubt_until = l->be->mono_ms + DOUBT_MS;
	l->dirty = true;
}

/* --- the end of a batch --- */

static void
batch_free(struct batch *b)
{
	blob_done(&b->text);
	blob_done(&b->row_text);
	free(b->name);
	free(b);
}

/* Its schedule, if it is still there. */
static struct rsched *
batch_end(struct batch *b)
{
	struct rsched *s = rsched_find(b->l, bytes_of(b->name));

	b->l->under_way--;
	if (s)
		s->busy = false;
	b->l->dirty = true;
	b->l->be->host->wake();
	return s;
}

/* Redis has refused, or was lost: the ticks are still due. */
static void
batch_failed(struct batch *b, struct redisReply *r)
{
	struct rsched *s = batch_end(b);
	char line[400], text[BH_ERROR_TEXT];

	if (s) {
		s->failed_until = b->l->be->mono_ms + AGAIN_MS;
		(void)be_error(b->l->be, r, text);
		snprintf(line, sizeof(line), "schedule '%.100s': its tick "
		    "waits: %s", b->name, text);
		if (!s->grumbled && r)
			b->l->be->host->log(BH_LOG_WARN, "redis", line);
		s->grumbled = true;
	}
	batch_free(b);
}

static void
written(void *arg, struct redisReply *r)
{
	struct batch *b = arg;
	struct bh_bytes none = {"", 0};
	struct rsched *s;

	if (!r || r->type != REDIS_REPLY_ARRAY || r->elements < 2) {
		batch_failed(b, r);
		return;
	}
	s = batch_end(b);
	if (s && r->element[0]->integer == 1) {
		struct bh_bytes row = blob_all(&s->text);
		int64_t due = b->state.clock.due;

		rsched_installed(b->l, bytes_of(b->name), row,
		    blob_all(&b->text), r);
		/* A steady time need not go through the wall clock. */
		s->state.clock = b->state.clock;
		s->state.clock.due = due;
		rsched_look(b->l, s);
	} else if (s && r->element[0]->integer == 0) {
		rsched_apply(b->l, bytes_of(b->name), r->elements > 1 ?
		    (struct bh_bytes){r->element[1]->str, r->element[1]->len} :
		    none, r->elements > 2 ? (struct bh_bytes){
		    r->element[2]->str, r->element[2]->len} : none);
	}
	batch_free(b);
}

static void
keep_tick(struct rsched_state *st, const struct bh_tick *t)
{
	memmove(st->ticks + 1, st->ticks,
	    (SCHED_TICKS - 1) * sizeof(*st->ticks));
	st->ticks[0] = *t;
	st->nticks++;
	if (st->kept < SCHED_TICKS)
		st->kept++;
}

/* The history, and where it stands now. */
static void
batch_write(struct batch *b)
{
	struct rsched *s = rsched_find(b->l, bytes_of(b->name));
	struct bh_bytes none = {"", 0};
	int64_t wall, steady;

	if (!s || memcmp(s->version, b->version, SCHED_VERSION) != 0) {
		(void)batch_end(b);	/* it has been changed meanwhile */
		batch_free(b);
		return;
	}
	rsched_clocks(b->l, &wall, &steady);
	for (size_t i = 0; i < b->n; i++) {
		const struct planned *p = &b->ticks[i];
		struct bh_tick t = {p->plan.due_wall, wall,
		    p->id ? p->plan.outcome : BH_TICK_SKIPPED, p->id};

		keep_tick(&b->state, &t);
	}
	rsched_state_write(&b->text, &s->row, &b->state, wall, steady);
	if (!rsched_send_set(b->l, bytes_of(b->name), (struct bh_bytes){
	    b->version, SCHED_VERSION}, none, blob_all(&b->text),
	    b->generation, written, b))
		batch_failed(b, NULL);
	else
		b->l->under_way--;	/* the batch itself is counted */
}

/* Says so once, until a tick runs again. */
static void
grumble(const struct batch *b, struct rsched *s, const char *why)
{
	char line[400];
	bool lives = why[0] == '\0';

	if (!s || s->grumbled)
		return;
	snprintf(line, sizeof(line), "schedule '%.100s': a tick is skipped: "
	    "%.200s", b->name, lives ? "the last one's job has not ended" :
	    why);
	b->l->be->host->log(lives ? BH_LOG_INFO : BH_LOG_WARN, "redis", line);
	s->grumbled = true;
}

/* Those that were to run have been dealt with. */
static void
added(void *arg, const struct rtick *all, size_t n)
{
	struct batch *b = arg;
	struct rsched *s = rsched_find(b->l, bytes_of(b->name));
	size_t k = 0;

	if (!all) {
		batch_failed(b, NULL);
		return;
	}
	for (size_t i = 0; i < b->n && k < n; i++) {
		struct planned *p = &b->ticks[i];

		if (p->plan.outcome == BH_TICK_SKIPPED)
			continue;
		p->id = all[k].id;
		if (!p->id)
			grumble(b, s, all[k].why);
		else if (s)
			s->grumbled = false;
		k++;
	}
	batch_write(b);
}

/* --- its beginning --- */

static struct batch *
batch_plan(struct rscheds *l, struct rsched *s, int64_t due)
{
	const struct bh_schedule_time *t = l->be->host->schedules;
	struct bh_schedule_clock c = s->state.clock;
	struct batch *b = NULL;
	struct bh_tick_plan plan;
	int64_t wall, steady;
	size_t n = 0, cap = 0;

	rsched_clocks(l, &wall, &steady);
	while (n < BATCH && n * s->row.payload.len <= BATCH_BYTES &&
	    t->plan(&s->row, &c, wall, steady, &plan)) {
		if (n == cap) {
			cap = cap ? cap * 4 : 4;
			b = mem_grow(b, sizeof(*b) + cap * sizeof(b->ticks[0]));
		}
		b->ticks[n++] = (struct planned){.plan = plan};
		t->dealt(&s->row, &c, &plan, wall);
	}
	/* Without a tick there is news when the next one is another. */
	if (n == 0 && c.due == due) {
		s->state.clock = c;
		return NULL;
	}
	if (!b)
		b = mem_new(sizeof(*b));
	b->l = l;
	b->name = mem_str(s->name);
	memcpy(b->version, s->version, SCHED_VERSION);
	b->generation = s->generation;
	b->state = s->state;
	b->state.clock = c;
	b->text = b->row_text = (struct blob){0};
	blob_raw(&b->row_text, s->text.data, s->text.len);
	(void)rsched_row_read(&b->row, blob_all(&b->row_text));
	b->row.name = bytes_of(b->name);
	b->n = n;
	return b;
}

static void
run(struct rscheds *l, struct rsched *s)
{
	const struct bh_schedule_time *t = l->be->host->schedules;
	struct batch *b;
	struct rtick *ticks;
	int64_t due = s->state.clock.due;
	size_t n = 0;

	if (s->state.clock.doubt) {
		char line[300];

		t->accept(&s->row, &s->state.clock);
		snprintf(line, sizeof(line), "schedule '%.100s' follows the "
		    "clock, which has been set back", s->name);
		l->be->host->log(BH_LOG_WARN, "redis", line);
	}
	b = batch_plan(l, s, due);
	if (!b)
		return;
	s->busy = true;
	l->under_way++;
	ticks = mem_new((b->n + 1) * sizeof(*ticks));
	for (size_t i = 0; i < b->n; i++)
		if (b->ticks[i].plan.outcome != BH_TICK_SKIPPED)
			ticks[n++] = (struct rtick){
			    .number = s->state.nticks + (int64_t)i + 1,
			    .may_overlap = b->ticks[i].plan.may_overlap};
	if (n == 0)
		batch_write(b);
	else
		rsched_tick(l->be, &b->row, b->generation, ticks, n, added,
		    b);
	free(ticks);
}

/* --- when --- */

static int64_t
due_mono(const struct rscheds *l, const struct rsched *s, int64_t wall,
    int64_t steady)
{
	int64_t mono = l->be->mono_ms, due = s->state.clock.due;

	if (s->busy)
		return INT64_MAX;
	if (s->state.clock.doubt)
		return s->doubt_until;
	if (due == INT64_MAX)
		return INT64_MAX;
	due = mono + due - (s->row.cron.len ? wall : steady);
	return due < s->failed_until ? s->failed_until : due;
}

/* A server's clock that was set back makes nobody wait longer than its
 * span. */
static void
clamp(struct rsched *s, int64_t steady)
{
	if (!s->row.cron.len && s->state.clock.due != INT64_MAX &&
	    s->state.clock.due - steady > s->row.every_ms)
		s->state.clock.due = steady + s->row.every_ms;
}

static void
look_at_clocks(struct rscheds *l)
{
	struct redis_be *be = l->be;
	int64_t gap = be->wall_ms - be->mono_ms;
	bool jumped = gap - l->gap > JUMP_MS || gap - l->gap < -JUMP_MS;
	struct rsched *s;

	if (jumped) {
		l->gap = gap;
		TAILQ_FOREACH(s, &l->all, all)
			rsched_look(l, s);
		/* The server's may have jumped too, if it is the same. */
		if (!be->config.turn_clock)
			rsched_reload(l);
	}
	if (be->mono_ms < l->zones_at)
		return;
	l->zones_at = be->mono_ms + ZONES_MS;
	TAILQ_FOREACH(s, &l->all, all)
		if (s->row.cron.len && !s->busy)
			be->host->schedules->renew(&s->row, &s->state.clock);
	l->dirty = true;
}

void
rsched_run(struct rscheds *l)
{
	struct redis_be *be = l->be;
	int64_t wall, steady, at;
	struct rsched *s;

	look_at_clocks(l);
	if (!be->ready || be->draining) {
		l->next = INT64_MAX;
		l->dirty = true;
		return;
	}
	if (!l->dirty && l->next > be->mono_ms)
		return;
	l->dirty = false;
	l->next = INT64_MAX;
	rsched_clocks(l, &wall, &steady);
	TAILQ_FOREACH(s, &l->all, all) {
		clamp(s, steady);
		if (due_mono(l, s, wall, steady) <= be->mono_ms)
			run(l, s);
		at = due_mono(l, s, wall, steady);
		if (at < l->next)
			l->next = at;
	}
}
