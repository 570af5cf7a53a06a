/* SPDX-License-Identifier: MIT */
/*
 * The schedules that scripts declare become rows of the backend, as the last
 * step of a load (and once the store is open, for those loaded before): what a
 * script no longer declares is removed, and so are the rows of a script that
 * is gone; then each script's own are put. The rows of a script that is broken
 * stay as they are. When the backend is away, all of it is done once it is
 * back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "script/pool_impl.h"
#include "script/script_schedule.h"

enum { RETRY_MS = 1000 };

/* A request under way. */
struct order {
	union {				/* first: a request is its order */
		struct bh_req req;
		struct bh_schedule_list list;
		struct bh_schedule_put put;
		struct bh_schedule_remove remove;
	};
	struct pool *pool;
	char *owner, *name;
};

static struct order *
order_new(struct pool *p, bh_done_fn *done)
{
	struct order *o = xcalloc(1, sizeof(*o));

	o->pool = p;
	o->req.done = done;
	p->load.orders++;
	return o;
}

static struct bh_bytes
bytes_of(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static bool
same(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

/* The last one ends the load, unless the store is being closed. */
static void
order_ended(struct order *o)
{
	struct pool *p = o->pool;
	int status = o->req.status;

	free(o->owner);
	free(o->name);
	free(o);
	if (--p->load.orders > 0 || !p->load.settling ||
	    status == BH_E_CANCELED)
		return;
	p->load.settling = false;
	pool_load_done(p);
}

/* Whether this has to be tried again; told once. */
static bool
put_off(struct order *o)
{
	struct load_job *l = &o->pool->load;

	if (o->req.status != BH_E_BACKEND && o->req.status != BH_E_IO)
		return false;
	if (!l->unsettled)
		log_warn("the schedules of scripts are set when the store"
		    " takes them: %s", o->req.text);
	l->unsettled = true;
	l->settle_after = o->pool->mono_ms + RETRY_MS;
	return true;
}

static void
put_done(struct bh_req *req)
{
	struct order *o = (struct order *)req;

	if (req->status != BH_OK && req->status != BH_E_CANCELED &&
	    !put_off(o))
		pool_load_tell(o->pool, EVENT_SCRIPT_BROKEN, "%s: %s",
		    o->owner, req->text);
	order_ended(o);
}

static void
remove_done(struct bh_req *req)
{
	struct order *o = (struct order *)req;

	if (req->status == BH_OK)
		pool_load_tell(o->pool, EVENT_SCRIPT_LOADED,
		    "%s: schedule %s is removed", o->owner, o->name);
	else if (req->status != BH_E_CANCELED && !put_off(o))
		pool_load_tell(o->pool, EVENT_SCRIPT_BROKEN,
		    "%s: schedule %s: %s", o->owner, o->name, req->text);
	order_ended(o);
}

static const struct script_plan *
plan_of(const struct script *s)
{
	return s->src && s->src->plan && s->src->plan->n ? s->src->plan : NULL;
}

/* Whether the row is still wanted. */
static bool
is_wanted(const struct pool *p, const struct bh_schedule *row)
{
	const struct script_plan *plan;
	const struct script *s;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (same(bytes_of(s->file), row->owner))
			break;
	if (!s)
		return false;
	if (!s->src)		/* broken: what it wants is not known */
		return true;
	plan = plan_of(s);
	for (size_t i = 0; plan && i < plan->n; i++)
		if (same(plan->rows[i].name, row->name))
			return true;
	return false;
}

static void
remove_row(struct pool *p, const struct bh_schedule *row)
{
	struct order *o = order_new(p, remove_done);

	o->owner = xstrndup(row->owner.data, row->owner.len);
	o->name = xstrndup(row->name.data, row->name.len);
	o->remove.owner = bytes_of(o->owner);
	o->remove.name = bytes_of(o->name);
	p->env->ops->schedule_remove(p->env->be, &o->remove);
}

/* The source keeps the strings: it is in force until the load has ended. */
static void
put_rows(struct pool *p, const struct script *s)
{
	const struct script_plan *plan = plan_of(s);

	for (size_t i = 0; plan && i < plan->n; i++) {
		struct order *o = order_new(p, put_done);

		o->owner = xstrdup(s->file);
		o->put.schedule = plan->rows[i];
		o->put.schedule.owner = bytes_of(o->owner);
		o->put.schedule.queue = bytes_of(s->opts.queue);
		p->env->ops->schedule_put(p->env->be, &o->put);
	}
}

static void
listed(struct bh_req *req)
{
	struct order *o = (struct order *)req;
	struct pool *p = o->pool;
	const struct script *s;

	if (req->status == BH_OK) {
		for (size_t i = 0; i < o->list.nschedules; i++)
			if (o->list.schedules[i].owner.len &&
			    !is_wanted(p, &o->list.schedules[i]))
				remove_row(p, &o->list.schedules[i]);
		TAILQ_FOREACH(s, &p->scripts, entry)
			put_rows(p, s);
	} else if (req->status != BH_E_CANCELED && !put_off(o)) {
		pool_load_tell(p, EVENT_SCRIPT_BROKEN,
		    "the schedules of scripts: %s", req->text);
	}
	order_ended(o);
}

bool
pool_schedules_settle(struct pool *p)
{
	struct order *o;

	if (!p->env->be || !p->env->ops->schedule_list)
		return false;
	o = order_new(p, listed);
	p->env->ops->schedule_list(p->env->be, &o->list);
	return true;
}

static bool
waits(const struct pool *p)
{
	struct bh_health h = {0};

	if (!p->load.unsettled || p->load.orders > 0 || p->load.active ||
	    p->draining)
		return false;
	p->env->ops->health(p->env->be, &h);
	return h.accepting;
}

void
pool_schedules_retry(struct pool *p)
{
	if (!waits(p) || p->mono_ms < p->load.settle_after)
		return;
	p->load.unsettled = false;
	pool_schedules_settle(p);
}

int64_t
pool_schedules_next(const struct pool *p)
{
	return waits(p) ? p->load.settle_after : INT64_MAX;
}
