/* SPDX-License-Identifier: MIT */
/* Ticks of a schedule on their way into a queue: ops of jobs.lua, each of
 * which is dealt with once, whoever sends it. */
#include <hiredis/hiredis.h>

#include "redis/jobs.h"
#include "redis/mem.h"
#include "redis/sched.h"

enum { PRIORITY = 5, HEADER = 8, PUT_HEADER = 10 };

/* Of one batch: outcomes are gathered until all are there. */
struct ticks {
	struct redis_be *be;
	rsched_ticked_fn *fn;
	void *arg;
	struct bh_schedule row;		/* strings are the caller's */
	int64_t generation;
	struct rqueue *queue;
	size_t n, answered;
	bool failed;
	struct rtick all[];
};

static void
end(struct ticks *t)
{
	t->fn(t->arg, t->failed ? NULL : t->all, t->n);
	t->be->host->wake();
	free(t);
}

struct one {
	struct ticks *ticks;
	struct rtick *tick;
};

static void
ticked(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct one *o = arg;
	struct ticks *t = o->ticks;

	(void)be, (void)q;
	if (r && r->type == REDIS_REPLY_ARRAY && r->elements >= 2) {
		o->tick->id = strtoll(r->element[0]->str, NULL, 10);
		snprintf(o->tick->why, sizeof(o->tick->why), "%s",
		    r->element[1]->str);
	} else {
		t->failed = true;
	}
	free(o);
	if (++t->answered == t->n)
		end(t);
}

/* The job as jobs.lua's P has it. */
static void
add_put(struct redis_be *be, struct rqueue *q, const struct bh_schedule *row)
{
	const struct bh_job_opts *o = &row->opts;
	char head[PUT_HEADER + RID + 1] = "P";
	struct bh_bytes none = {0}, map;
	char *packed;

	packed = rrecord_opts(o, none, &map.len);
	map.data = packed;
	head[1] = packed ? 2 : 0;
	head[2] = (char)(o->priority >= 0 ? o->priority : PRIORITY);
	head[3] = (char)(o->unique_mode >= 0 ? o->unique_mode : 0);
	rput48(head + 4, o->delay_ms > 0 ? o->delay_ms : 0);
	snprintf(head + PUT_HEADER, RID + 1, "%lld",
	    (long long)rids_next(be, q));
	rop_copy(q, (struct bh_bytes){head, PUT_HEADER +
	    strlen(head + PUT_HEADER)});
	rop_copy(q, row->payload);
	if (packed)
		rop_copy(q, map);
	free(packed);
}

static void
add_tick(struct ticks *t, struct rqueue *q, struct rtick *tick)
{
	struct one *o = mem_new(sizeof(*o));
	char generation[24];
	char *h;

	o->ticks = t;
	o->tick = tick;
	h = rop_begin(t->be, q, HEADER, ticked, o);
	h[0] = 'K';
	h[1] = tick->may_overlap;
	rput48(h + 2, tick->number);
	snprintf(generation, sizeof(generation), "%lld",
	    (long long)t->generation);
	rop_copy(q, t->row.name);
	rop_copy(q, (struct bh_bytes){generation, strlen(generation)});
	add_put(t->be, q, &t->row);
}

/* Each has an id of its own. */
static void
numbered(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct ticks *t = arg;

	(void)q;
	if (be->closing) {
		t->failed = true;
		end(t);
		return;
	}
	for (size_t i = 0; i < t->n; i++)
		add_tick(t, t->queue, &t->all[i]);
}

static void
known(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct ticks *t = arg;

	if (!q) {
		t->failed = true;
		end(t);
		return;
	}
	t->queue = q;
	if (rids_have(be, t->n))
		numbered(be, q, t);
	else
		rids_wait(be, t->n, numbered, t);
}

void
rsched_tick(struct redis_be *be, const struct bh_schedule *row,
    int64_t generation, const struct rtick *all, size_t n,
    rsched_ticked_fn *fn, void *arg)
{
	struct ticks *t = mem_new(sizeof(*t) + n * sizeof(*all));

	t->be = be;
	t->fn = fn;
	t->arg = arg;
	t->row = *row;
	t->generation = generation;
	t->n = n;
	memcpy(t->all, all, n * sizeof(*all));
	rqueue_of_name(be, row->queue, known, t);
}
