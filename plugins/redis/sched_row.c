/* SPDX-License-Identifier: MIT */
#include "redis/mem.h"
#include "redis/sched.h"

enum { ROW_FORMAT = 1 };

static bool
same_bytes(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

bool
rsched_same_times(const struct bh_schedule *a, const struct bh_schedule *b)
{
	return same_bytes(a->cron, b->cron) && same_bytes(a->zone, b->zone) &&
	    a->every_ms == b->every_ms;
}

bool
rsched_same_row(const struct bh_schedule *a, const struct bh_schedule *b)
{
	struct blob x = {0}, y = {0};
	struct bh_schedule copy = *b;
	bool same;

	copy.created_at = a->created_at;
	rsched_row_write(&x, a);
	rsched_row_write(&y, &copy);
	same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
	blob_done(&x);
	blob_done(&y);
	return same;
}

static void
opts_write(struct blob *b, const struct bh_job_opts *o)
{
	blob_int(b, o->delay_ms);
	blob_int(b, o->expires_ms);
	blob_int(b, o->timeout_ms);
	blob_int(b, o->lease_ms);
	blob_int(b, o->retain_ms);
	blob_int(b, o->unique_ttl_ms);
	blob_int(b, o->backoff_ms);
	blob_int(b, o->backoff_max_ms);
	blob_double(b, o->backoff_factor);
	blob_double(b, o->backoff_jitter);
	blob_int(b, o->attempts);
	blob_int(b, o->max_stalled);
	blob_int(b, o->priority);
	blob_int(b, o->backoff_type);
	blob_int(b, o->unique_mode);
	blob_bytes(b, o->group);
	blob_bytes(b, o->unique);
}

static void
opts_read(struct blob_reader *r, struct bh_job_opts *o)
{
	bh_job_opts_init(o);
	o->delay_ms = blob_get_int(r);
	o->expires_ms = blob_get_int(r);
	o->timeout_ms = blob_get_int(r);
	o->lease_ms = blob_get_int(r);
	o->retain_ms = blob_get_int(r);
	o->unique_ttl_ms = blob_get_int(r);
	o->backoff_ms = blob_get_int(r);
	o->backoff_max_ms = blob_get_int(r);
	o->backoff_factor = blob_get_double(r);
	o->backoff_jitter = blob_get_double(r);
	o->attempts = (int32_t)blob_get_int(r);
	o->max_stalled = (int32_t)blob_get_int(r);
	o->priority = (int8_t)blob_get_int(r);
	o->backoff_type = (int8_t)blob_get_int(r);
	o->unique_mode = (int8_t)blob_get_int(r);
	o->group = blob_get_bytes(r);
	o->unique = blob_get_bytes(r);
}

void
rsched_row_write(struct blob *b, const struct bh_schedule *s)
{
	blob_int(b, ROW_FORMAT);
	blob_bytes(b, s->owner);
	blob_bytes(b, s->queue);
	blob_bytes(b, s->payload);
	blob_bytes(b, s->cron);
	blob_bytes(b, s->zone);
	blob_int(b, s->every_ms);
	blob_int(b, s->misfire);
	blob_int(b, s->overlap);
	blob_int(b, s->created_at);
	opts_write(b, &s->opts);
}

bool
rsched_row_read(struct bh_schedule *ret, struct bh_bytes data)
{
	struct blob_reader r = {data.data, data.data + data.len, false};

	*ret = (struct bh_schedule){0};
	if (blob_get_int(&r) != ROW_FORMAT)
		return false;
	ret->owner = blob_get_bytes(&r);
	ret->queue = blob_get_bytes(&r);
	ret->payload = blob_get_bytes(&r);
	ret->cron = blob_get_bytes(&r);
	ret->zone = blob_get_bytes(&r);
	ret->every_ms = blob_get_int(&r);
	ret->misfire = (enum bh_misfire)blob_get_int(&r);
	ret->overlap = (enum bh_overlap)blob_get_int(&r);
	ret->created_at = blob_get_int(&r);
	opts_read(&r, &ret->opts);
	return !r.bad && (ret->cron.len || ret->every_ms > 0);
}

int64_t
rsched_next_at(const struct bh_schedule *row, const struct rsched_state *s,
    int64_t wall_ms, int64_t steady_ms)
{
	if (s->clock.due == INT64_MAX)
		return 0;
	return row->cron.len ? s->clock.due :
	    s->clock.due + wall_ms - steady_ms;
}

void
rsched_state_write(struct blob *b, const struct bh_schedule *row,
    const struct rsched_state *s, int64_t wall_ms, int64_t steady_ms)
{
	blob_int(b, rsched_next_at(row, s, wall_ms, steady_ms));
	blob_int(b, s->clock.after);
	blob_int(b, s->clock.seen);
	blob_int(b, s->nticks);
	blob_int(b, (int64_t)s->kept);
	for (size_t i = 0; i < s->kept; i++) {
		blob_int(b, s->ticks[i].due);
		blob_int(b, s->ticks[i].at);
		blob_int(b, s->ticks[i].outcome);
		blob_int(b, s->ticks[i].job);
	}
}

/* What was due by the wall clock is so by the steady one now; a wall clock
 * that is wrong makes it wait no longer than its span. */
static int64_t
enter_every(const struct rsched *s, int64_t next, int64_t wall_ms,
    int64_t steady_ms)
{
	int64_t after = s->state.clock.after;
	int64_t left = next - (wall_ms > after ? wall_ms : after);

	return steady_ms + (left > s->row.every_ms ? s->row.every_ms : left);
}

bool
rsched_state_read(struct rsched *s, struct bh_bytes data, int64_t wall_ms,
    int64_t steady_ms)
{
	struct blob_reader r = {data.data, data.data + data.len, false};
	struct rsched_state *st = &s->state;
	int64_t next, kept;

	if (data.len < SCHED_VERSION)
		return false;
	memcpy(s->version, data.data, SCHED_VERSION);
	(void)blob_get_int(&r);
	s->generation = blob_get_int(&r);
	next = blob_get_int(&r);
	*st = (struct rsched_state){0};
	st->clock.after = blob_get_int(&r);
	st->clock.seen = blob_get_int(&r);
	st->nticks = blob_get_int(&r);
	kept = blob_get_int(&r);
	if (kept < 0 || kept > SCHED_TICKS)
		return false;
	st->kept = (size_t)kept;
	for (size_t i = 0; i < st->kept; i++) {
		struct bh_tick *t = &st->ticks[i];

		t->due = blob_get_int(&r);
		t->at = blob_get_int(&r);
		t->outcome = (enum bh_tick_outcome)blob_get_int(&r);
		t->job = blob_get_int(&r);
	}
	st->clock.due = next ? next : INT64_MAX;
	if (next && !s->row.cron.len)
		st->clock.due = enter_every(s, next, wall_ms, steady_ms);
	return !r.bad;
}
