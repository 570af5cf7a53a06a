/* SPDX-License-Identifier: MIT */
/*
 * Schedules as rows: set, listed, removed, read back. Their time is tick.c's.
 * A row belongs to the script that declares it (its owner) or to clients, and
 * only they change it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "engine/part.h"

static bool
same_bytes(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

static int
name_order(struct bh_bytes a, struct bh_bytes b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static struct schedule *
find(const struct engine *e, struct bh_bytes name)
{
	struct schedule *s;

	TAILQ_FOREACH(s, &e->schedules, all)
		if (same_bytes(s->row.name, name))
			return s;
	return NULL;
}

static struct schedule *
find_id(struct engine *e, int64_t id)
{
	struct schedule *s = e->ticking;

	if (s && s->id == id)
		return s;
	TAILQ_FOREACH(s, &e->schedules, all)
		if (s->id == id) {
			e->ticking = s;
			return s;
		}
	return NULL;
}

/* --- zones --- */

static struct zone *
zone_get(struct engine *e, struct bh_bytes name, struct err *err)
{
	struct zone *z;
	struct tz *tz;

	TAILQ_FOREACH(z, &e->zones, all)
		if (same_bytes(bytes_of(tz_name(z->tz)), name.len ? name
		    : bytes_of("UTC"))) {
			z->refs++;
			return z;
		}
	if (tz_load(name.data, name.len, &tz, err) < 0)
		return NULL;
	z = xcalloc(1, sizeof(*z));
	z->refs = 1;
	z->tz = tz;
	TAILQ_INSERT_TAIL(&e->zones, z, all);
	return z;
}

static void
zone_put(struct engine *e, struct zone *z)
{
	if (!z || --z->refs > 0)
		return;
	TAILQ_REMOVE(&e->zones, z, all);
	tz_free(&z->tz);
	free(z);
}

/* --- making and freeing --- */

#define STRINGS 8

/* Every string of a row. */
static void
strings_of(struct bh_schedule *s, struct bh_bytes *ret[STRINGS])
{
	struct bh_bytes *list[STRINGS] = {&s->name, &s->owner, &s->queue,
	    &s->payload, &s->cron, &s->zone, &s->opts.group,
	    &s->opts.unique};

	memcpy(ret, list, sizeof(list));
}

static size_t
strings_size(const struct bh_schedule *row)
{
	struct bh_schedule copy = *row;
	struct bh_bytes *list[STRINGS];
	size_t size = 0;

	strings_of(&copy, list);
	for (size_t i = 0; i < STRINGS; i++)
		size += list[i]->len;
	return size;
}

/* Moves them to p; the byte after them. */
static char *
strings_move(struct bh_schedule *s, char *p)
{
	struct bh_bytes *list[STRINGS];

	strings_of(s, list);
	for (size_t i = 0; i < STRINGS; i++) {
		if (list[i]->len)
			memcpy(p, list[i]->data, list[i]->len);
		list[i]->data = p;
		p += list[i]->len;
	}
	return p;
}

static void
insert(struct engine *e, struct schedule *s)
{
	struct schedule *o;

	/* From the end: recovery comes in this order. */
	TAILQ_FOREACH_REVERSE(o, &e->schedules, schedules, all)
		if (name_order(o->row.name, s->row.name) <= 0)
			break;
	if (o)
		TAILQ_INSERT_AFTER(&e->schedules, o, s, all);
	else
		TAILQ_INSERT_HEAD(&e->schedules, s, all);
	e->nschedules++;
}

/* It has no timer yet. */
static struct schedule *
schedule_new(struct engine *e, int64_t id, const struct bh_schedule *row)
{
	struct schedule *s = xcalloc(1, sizeof(*s) + strings_size(row));

	s->id = id;
	s->timer.kind = NODE_SCHEDULE;
	s->row = *row;
	strings_move(&s->row, s->data);
	s->row.ticks = NULL;
	s->row.nticks = 0;
	insert(e, s);
	if (id >= e->next_schedule)
		e->next_schedule = id + 1;
	return s;
}

static void
schedule_free(struct engine *e, struct schedule *s)
{
	schedule_unarm(e, s);
	if (e->ticking == s)
		e->ticking = NULL;
	TAILQ_REMOVE(&e->schedules, s, all);
	e->nschedules--;
	zone_put(e, s->zone);
	free(s);
}

void
schedule_free_all(struct engine *e)
{
	while (!TAILQ_EMPTY(&e->schedules))
		schedule_free(e, TAILQ_FIRST(&e->schedules));
}

/* --- recovery --- */

void
schedule_restore(struct engine *e, int64_t id, const struct bh_schedule *row,
    const struct jschedule_state *state)
{
	struct schedule *s = schedule_new(e, id, row);
	struct err err = ERR_INIT;

	s->clock.after = state->after_at;
	s->clock.seen = state->seen_at;
	s->job = state->job;
	s->clock.due = state->next_at ? state->next_at : INT64_MAX;
	if (!s->row.cron.len)
		return;
	s->zone = zone_get(e, s->row.zone, &err);
	if (!s->zone || cron_parse(&s->cron, s->row.cron.data,
	    s->row.cron.len, &err) < 0) {
		log_error("schedule '%.*s' has no next time: %s",
		    (int)s->row.name.len, s->row.name.data, err.text);
		zone_put(e, s->zone);
		s->zone = NULL;
	}
}

void
schedule_restore_tick(struct engine *e, int64_t id, int64_t n,
    const struct bh_tick *tick)
{
	struct schedule *s = find_id(e, id);

	if (s)
		schedule_keep_tick(s, n, tick);
}

void
schedule_keep_tick(struct schedule *s, int64_t n, const struct bh_tick *tick)
{
	memmove(s->ticks + 1, s->ticks,
	    (JSCHEDULE_TICKS - 1) * sizeof(*s->ticks));
	s->ticks[0] = *tick;
	s->nticks = n;
	if (s->kept < JSCHEDULE_TICKS)
		s->kept++;
}

/* --- the verbs --- */

static bool
same_times(const struct bh_schedule *a, const struct bh_schedule *b)
{
	return same_bytes(a->cron, b->cron) && same_bytes(a->zone, b->zone) &&
	    a->every_ms == b->every_ms;
}

static bool
same_opts(const struct bh_job_opts *a, const struct bh_job_opts *b)
{
	return a->delay_ms == b->delay_ms && a->expires_ms == b->expires_ms &&
	    a->timeout_ms == b->timeout_ms && a->lease_ms == b->lease_ms &&
	    a->retain_ms == b->retain_ms &&
	    a->unique_ttl_ms == b->unique_ttl_ms &&
	    a->backoff_ms == b->backoff_ms &&
	    a->backoff_max_ms == b->backoff_max_ms &&
	    !(a->backoff_factor < b->backoff_factor) &&
	    !(a->backoff_factor > b->backoff_factor) &&
	    !(a->backoff_jitter < b->backoff_jitter) &&
	    !(a->backoff_jitter > b->backoff_jitter) &&
	    a->attempts == b->attempts && a->max_stalled == b->max_stalled &&
	    a->priority == b->priority &&
	    a->backoff_type == b->backoff_type &&
	    a->unique_mode == b->unique_mode &&
	    same_bytes(a->group, b->group) && same_bytes(a->unique, b->unique);
}

static bool
same_row(const struct bh_schedule *a, const struct bh_schedule *b)
{
	return same_times(a, b) && same_bytes(a->queue, b->queue) &&
	    same_bytes(a->payload, b->payload) && a->misfire == b->misfire &&
	    a->overlap == b->overlap && same_opts(&a->opts, &b->opts);
}

/* May who asks change it? */
static int
check_owner(const struct schedule *s, struct bh_bytes owner, struct err *err)
{
	const struct bh_schedule *row = &s->row;

	if (same_bytes(row->owner, owner))
		return 0;
	if (row->owner.len)
		return err_set(err, BH_E_CONFLICT, "schedule '%.*s' belongs "
		    "to the script %.*s: change it there",
		    (int)row->name.len, row->name.data, (int)row->owner.len,
		    row->owner.data);
	return err_set(err, BH_E_CONFLICT, "schedule '%.*s' was set by a "
	    "client: remove it, or give the script's another name",
	    (int)row->name.len, row->name.data);
}

/* What may be wrong with a new row; *ret_zone and *ret_cron are those of a
 * cron schedule. */
static int
check_new(struct engine *e, const struct bh_schedule *row,
    const struct schedule *old, struct zone **ret_zone,
    struct cron *ret_cron, struct err *err)
{
	struct zone *z;

	if (e->refuse.code) {
		*err = e->refuse;
		return -1;
	}
	if (old && check_owner(old, row->owner, err) < 0)
		return -1;
	if (!old && (int64_t)e->nschedules >= e->max_schedules)
		return err_set(err, BH_E_QUEUEFULL, "schedule '%.*s' would be "
		    "number %zu, max_schedules is %lld", (int)row->name.len,
		    row->name.data, e->nschedules + 1,
		    (long long)e->max_schedules);
	if (!row->cron.len)
		return 0;
	z = zone_get(e, row->zone, err);
	if (!z)
		return -1;
	if (cron_check(ret_cron, row->cron.data, row->cron.len, z->tz,
	    e->now.wall_ms, err) < 0) {
		zone_put(e, z);
		return -1;
	}
	*ret_zone = z;
	return 0;
}

static void
write_row(struct engine *e, const struct schedule *s, bool fresh)
{
	struct jrec r = {.kind = JR_SCHEDULE, .id = s->id};

	r.u.schedule.row = &s->row;
	r.u.schedule.state = schedule_state(e, s);
	r.u.schedule.fresh = fresh;
	journal_append(e->journal, &r);
}

/* The new one goes on where the old one is. */
static void
inherit(struct schedule *s, const struct schedule *old)
{
	s->clock = old->clock;
	s->job = old->job;
	s->nticks = old->nticks;
	s->kept = old->kept;
	memcpy(s->ticks, old->ticks, sizeof(s->ticks));
}

void
engine_schedule_put(struct engine *e, struct bh_schedule_put *r)
{
	struct schedule *old = find(e, r->schedule.name), *s;
	bool keeps = old && same_times(&old->row, &r->schedule) &&
	    old->clock.due != INT64_MAX;
	struct zone *zone = NULL;
	struct cron cron = {0};
	struct err err = ERR_INIT;

	if (check_new(e, &r->schedule, old, &zone, &cron, &err) < 0) {
		answer_error(e, &r->req, err.code, "%s", err.text);
		return;
	}
	if (keeps && same_row(&old->row, &r->schedule)) {
		zone_put(e, zone);
		r->next_at = schedule_next(e, old);
		answer_ok(e, &r->req);
		return;
	}
	s = schedule_new(e, old ? old->id : e->next_schedule, &r->schedule);
	s->zone = zone;
	s->cron = cron;
	s->row.created_at = keeps ? old->row.created_at : e->now.wall_ms;
	if (keeps)
		inherit(s, old);
	else
		schedule_begin(e, s);
	if (old)
		schedule_free(e, old);
	schedule_arm(e, s);
	write_row(e, s, !keeps);
	r->next_at = schedule_next(e, s);
	answer_ok(e, &r->req);
}

void
engine_schedule_remove(struct engine *e, struct bh_schedule_remove *r)
{
	struct schedule *s = find(e, r->name);
	struct err err = ERR_INIT;
	struct jrec rec = {.kind = JR_SCHEDULE_DELETE};

	if (!s) {
		answer_error(e, &r->req, BH_E_NOTFOUND, "schedule '%.*s' does "
		    "not exist", (int)(r->name.len > 100 ? 100 : r->name.len),
		    r->name.data);
		return;
	}
	if (check_owner(s, r->owner, &err) < 0) {
		answer_error(e, &r->req, err.code, "%s", err.text);
		return;
	}
	rec.id = s->id;
	journal_append(e->journal, &rec);
	schedule_free(e, s);
	answer_ok(e, &r->req);
}

/* What the answer shows must outlast a change of the schedule: one block of
 * rows, their ticks, their strings. */
void
engine_schedule_list(struct engine *e, struct bh_schedule_list *r)
{
	struct schedule *one = r->name.len ? find(e, r->name) : NULL, *s;
	struct answer *a = answer_new(e, &r->req);
	size_t n = r->name.len ? one != NULL : e->nschedules;
	size_t each = sizeof(struct bh_schedule) +
	    JSCHEDULE_TICKS * sizeof(struct bh_tick);
	size_t size = n * each;
	struct bh_schedule *out;
	struct bh_tick *ticks;
	char *p;

	TAILQ_FOREACH(s, &e->schedules, all)
		if (!r->name.len || s == one)
			size += strings_size(&s->row);
	a->extra = out = r->schedules = xcalloc(1, size + 1);
	r->nschedules = n;
	ticks = (struct bh_tick *)(out + n);
	p = (char *)(ticks + n * JSCHEDULE_TICKS);
	TAILQ_FOREACH(s, &e->schedules, all) {
		if (r->name.len && s != one)
			continue;
		*out = s->row;
		p = strings_move(out, p);
		memcpy(ticks, s->ticks, sizeof(s->ticks));
		out->ticks = ticks;
		out->nticks = s->kept;
		out->next_at = schedule_next(e, s);
		ticks += JSCHEDULE_TICKS;
		out++;
	}
	answer_ok(e, &r->req);
}
