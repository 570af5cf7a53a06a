/* SPDX-License-Identifier: MIT */
#include "cmd/alert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "cmd/alert_impl.h"
#include "cmd/session.h"

#define CALM_MS 60000			/* between two beginnings of one */
#define ALERTS_MAX 1000

struct alert *
alert_find(const struct alerts *a, enum alert_rule rule, const char *subject,
    uint64_t key)
{
	struct alert *al;

	TAILQ_FOREACH(al, &a->all, entry)
		if (al->rule == rule && al->key == key &&
		    strcmp(al->subject, subject) == 0)
			return al;
	return NULL;
}

struct alert *
alert_add(struct alerts *a, enum alert_rule rule, const char *subject,
    uint64_t key)
{
	struct alert *al;

	if (a->nall == ALERTS_MAX)
		return NULL;
	al = xcalloc(1, sizeof(*al));
	al->rule = rule;
	al->subject = xstrdup(subject);
	al->key = key;
	TAILQ_INSERT_TAIL(&a->all, al, entry);
	a->nall++;
	return al;
}

static void
alert_free(struct alerts *a, struct alert *al)
{
	TAILQ_REMOVE(&a->all, al, entry);
	a->nall--;
	free(al->subject);
	free(al->queue);
	free(al);
}

void
alerts_due(struct alerts *a, int64_t mono)
{
	if (mono < a->due_mono)
		a->due_mono = mono;
}

void
alert_begin(struct alerts *a, struct alert *al)
{
	al->on = true;
	al->since = a->wall;
	al->begun_mono = a->mono;
	alert_tell(a, al);
}

void
alert_holds(struct alerts *a, enum alert_rule rule, const char *subject,
    int64_t value, int64_t limit, const char *fmt, ...)
{
	struct alert *al = alert_find(a, rule, subject, 0);
	va_list ap;

	if (!al && !(al = alert_add(a, rule, subject, 0)))
		return;
	al->seen = true;
	al->value = value;
	al->limit = limit;
	va_start(ap, fmt);
	vsnprintf(al->text, sizeof(al->text), fmt, ap);
	va_end(ap);
	if (al->on)
		return;
	if (al->begun_mono && a->mono - al->begun_mono < CALM_MS)
		alerts_due(a, al->begun_mono + CALM_MS);
	else
		alert_begin(a, al);
}

/* --- a round --- */

/* What does not hold any more is over; what is owed is told again. */
static void
settle(struct alerts *a)
{
	int64_t repeat = a->env->conf->alerts_repeat;
	struct alert *al, *next;

	TAILQ_FOREACH_SAFE(al, &a->all, entry, next) {
		if (al->on && !al->seen) {
			al->on = false;
			alert_tell(a, al);
		} else if (al->owed || (al->on && repeat &&
		    a->mono - al->told_mono >= repeat)) {
			alert_tell(a, al);
		}
		if (al->on && repeat)
			alerts_due(a, al->told_mono + repeat);
		/* An error that was told once is known as long as it is
		 * there: judge_errors() ends it. */
		if (!al->on && !al->seen && !al->owed && !al->putting &&
		    a->mono - al->begun_mono >= CALM_MS &&
		    (al->rule != ALERT_NEW_ERROR || al->gone))
			alert_free(a, al);
	}
}

static void
round_end(struct alerts *a)
{
	struct bh_health h = {0};

	a->env->ops->health(a->env->be, &h);
	judge_places(a, &h);
	judge_done(a);
	settle(a);
	a->commits = h.commits_total;
	a->ran = true;
	a->busy = false;
	a->active = false;
}

static void
schedules_listed(struct bh_req *req)
{
	struct alerts *a = req->user;

	if (req->status == BH_OK)
		judge_schedules(a, a->schedules.schedules,
		    a->schedules.nschedules);
	if (req->status == BH_E_CANCELED)
		a->busy = false;
	else
		round_end(a);
}

static void
ask_schedules(struct alerts *a)
{
	if (!a->env->ops->schedule_list ||
	    !a->env->conf->alerts_schedule_missed) {
		round_end(a);
		return;
	}
	a->schedules = (struct bh_schedule_list){
	    .req = {.done = schedules_listed, .user = a}};
	a->env->ops->schedule_list(a->env->be, &a->schedules);
}

static void ask_errors(struct alerts *a);

static void
errors_listed(struct bh_req *req)
{
	struct alerts *a = req->user;
	struct look *l = STAILQ_FIRST(&a->looks);

	STAILQ_REMOVE_HEAD(&a->looks, entry);
	a->nlooks--;
	if (req->status == BH_OK)
		judge_errors(a, l->queue, a->stats.groups, a->stats.ngroups);
	free(l);
	if (req->status == BH_E_CANCELED)
		a->busy = false;
	else
		ask_errors(a);
}

static void
ask_errors(struct alerts *a)
{
	struct look *l = STAILQ_FIRST(&a->looks);

	if (!l) {
		ask_schedules(a);
		return;
	}
	a->stats = (struct bh_stats){
	    .req = {.done = errors_listed, .user = a},
	    .queue = {l->queue, strlen(l->queue)}, .errors = true};
	a->env->ops->queue_stats(a->env->be, &a->stats);
}

static void
queues_listed(struct bh_req *req)
{
	struct alerts *a = req->user;

	if (req->status == BH_OK)
		judge_queues(a, a->stats.queues, a->stats.nqueues);
	if (req->status == BH_E_CANCELED)
		a->busy = false;
	else
		ask_errors(a);
}

static void
round_begin(struct alerts *a)
{
	struct alert *al;

	a->busy = true;
	a->last_mono = a->mono;
	a->due_mono = INT64_MAX;
	TAILQ_FOREACH(al, &a->all, entry)
		al->seen = false;
	a->stats = (struct bh_stats){
	    .req = {.done = queues_listed, .user = a}};
	a->env->ops->queue_stats(a->env->be, &a->stats);
}

/* A store that fails does not answer what a round asks: this alert begins
 * without it. */
static void
look_at_store(struct alerts *a)
{
	struct bh_health h = {0};

	a->env->ops->health(a->env->be, &h);
	judge_store(a, &h);
}

/* Whether anything was committed since the last round, or cannot be. */
static bool
something_happened(struct alerts *a)
{
	struct bh_health h = {0};

	if (!a->active) {
		a->env->ops->health(a->env->be, &h);
		a->active = h.commits_total != a->commits || !h.accepting;
	}
	return a->active;
}

int64_t
alerts_turn(struct alerts *a, int64_t wall_ms, int64_t mono_ms)
{
	int64_t due, soonest;

	a->wall = wall_ms;
	a->mono = mono_ms;
	if (a->env->draining)
		return INT64_MAX;
	if (a->busy) {
		look_at_store(a);
		return INT64_MAX;
	}
	soonest = a->last_mono + a->env->conf->alerts_interval;
	due = !a->ran || something_happened(a) ? soonest : a->due_mono;
	if (due == INT64_MAX)
		return INT64_MAX;
	if (due < soonest)
		due = soonest;
	if (a->ran && mono_ms < due)
		return due;
	round_begin(a);
	return INT64_MAX;
}

/* --- life --- */

uint64_t
alert_hash(const char *s)
{
	uint64_t h = 1469598103934665603u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211u;
	return map_hash_int(h);
}

static uint64_t
trend_hash(const void *item)
{
	return alert_hash(((const struct trend *)item)->queue);
}

static bool
trend_equal(const void *item, const void *key)
{
	return strcmp(((const struct trend *)item)->queue, key) == 0;
}

struct alerts *
alerts_new(struct cmd_env *env)
{
	static const struct map_ops ops = {trend_hash, trend_equal};
	struct alerts *a = xcalloc(1, sizeof(*a));

	a->env = env;
	a->due_mono = INT64_MAX;
	TAILQ_INIT(&a->all);
	STAILQ_INIT(&a->looks);
	TAILQ_INIT(&a->trends);
	map_init(&a->by_queue, &ops);
	return a;
}

void
alerts_free(struct alerts **ap)
{
	struct alerts *a = *ap;
	struct look *l;

	*ap = NULL;
	if (!a)
		return;
	CHECK(!a->busy);
	while (!TAILQ_EMPTY(&a->all))
		alert_free(a, TAILQ_FIRST(&a->all));
	while ((l = STAILQ_FIRST(&a->looks))) {
		STAILQ_REMOVE_HEAD(&a->looks, entry);
		free(l);
	}
	while (!TAILQ_EMPTY(&a->trends))
		trend_free(a, TAILQ_FIRST(&a->trends));
	map_done(&a->by_queue);
	free(a);
}

bool
alerts_at(const struct alerts *a, size_t i, struct alert_info *ret)
{
	const struct alert *al;

	TAILQ_FOREACH(al, &a->all, entry)
		if (al->on && i-- == 0)
			break;
	if (!al)
		return false;
	*ret = (struct alert_info){.rule = alert_names[al->rule],
	    .kind = al->rule <= ALERT_NEW_ERROR ? "queue" :
	    al->rule == ALERT_SCHEDULE_MISSED ? "schedule" : NULL,
	    .subject = al->subject, .queue = al->rule <= ALERT_NEW_ERROR ?
	    al->subject : al->queue, .text = al->text, .value = al->value,
	    .limit = al->limit, .since = al->since};
	return true;
}

bool
alert_visible(const struct session *who, const struct alert_info *i)
{
	return !i->queue || session_may(who, (struct bh_bytes){i->queue,
	    strlen(i->queue)});
}

bool
alerts_first(const struct alerts *a, size_t i)
{
	const struct alert *al, *other;

	TAILQ_FOREACH(al, &a->all, entry)
		if (al->on && i-- == 0)
			break;
	if (!al)
		return false;
	TAILQ_FOREACH(other, &a->all, entry)
		if (other == al || (other->on && other->rule == al->rule &&
		    strcmp(other->subject, al->subject) == 0))
			break;
	return other == al;
}
