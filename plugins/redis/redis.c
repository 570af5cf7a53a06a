/* SPDX-License-Identifier: MIT */
#include "redis/redis.h"

#include <ev.h>

#include "redis/away.h"
#include "redis/mem.h"
#include "redis/part.h"

/* A start does not wait longer for the server. */
#define PATIENCE_S 6.0

/* --- life --- */

static char *
copy(const char *s)
{
	return mem_str(s ? s : "");
}

static char **
copy_list(char *const *list)
{
	size_t n = 0;
	char **out;

	while (list && list[n])
		n++;
	out = mem_new((n + 1) * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = mem_str(list[i]);
	return out;
}

static void
keep_config(struct redis_be *be, const struct redis_config *c)
{
	be->config = *c;
	be->config.url = copy(c->url);
	be->config.sentinels = copy_list(c->sentinels);
	be->config.sentinel_master = copy(c->sentinel_master);
	be->config.password = copy(c->password);
	be->config.ca_file = copy(c->ca_file);
	be->config.prefix = copy(c->prefix);
	be->config.state_dir = copy(c->state_dir);
}

/* What copy() made. */
static void
drop(const char *s)
{
	free((void *)(uintptr_t)s);
}

static void
drop_config(struct redis_be *be)
{
	char *const *list = be->config.sentinels;

	for (size_t i = 0; list[i]; i++)
		free(list[i]);
	drop((const char *)list);
	drop(be->config.url);
	drop(be->config.sentinel_master);
	drop(be->config.password);
	drop(be->config.ca_file);
	drop(be->config.prefix);
	drop(be->config.state_dir);
}

static void
closing(struct redis_be *be)
{
	be->ready = false;
	be->closing = true;
	snprintf(be->away, sizeof(be->away), "the store is closed");
}

static void
redis_close(void *arg)
{
	struct redis_be *be = arg;

	closing(be);
	/* The links first: what is under way on them is answered. */
	rkeys_down(be);
	rpubsub_down(be);
	rserver_free(be);
	rjobs_free(be);
	rlist_free(be);
	rkeys_free(be);
	rpubsub_free(be);
	rscript_free(be);
	raway_free(be);
	rmove_free(be);
	while (be_answers(be))
		;
	drop_config(be);
	free(be);
}

void
redis_abandon(void *arg)
{
	struct redis_be *be = arg;

	closing(be);
	rlink_free(&be->main);
	redis_close(be);
}

static void
on_patience(struct ev_loop *loop, ev_timer *w, int what)
{
	(void)loop, (void)what;
	*(bool *)w->data = true;
}

/* Until the server has been looked at, or is seen to be away. */
static void
first_look(struct redis_be *be)
{
	ev_timer patience;
	bool enough = false;

	ev_now_update(be->host->loop);
	ev_timer_init(&patience, on_patience, PATIENCE_S, 0);
	patience.data = &enough;
	ev_timer_start(be->host->loop, &patience);
	while (!enough && !rserver_tried(be))
		ev_run(be->host->loop, EVRUN_ONCE);
	ev_timer_stop(be->host->loop, &patience);
}

int
redis_open(void **ret, const struct redis_config *c,
    const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	struct redis_be *be = mem_new(sizeof(*be));

	be->host = host;
	be->answers_tail = &be->answers;
	host->now(&be->wall_ms, &be->mono_ms);
	be->wall0_ms = be->wall_ms;
	be->mono0_ms = be->mono_ms;
	keep_config(be, c);
	rscript_new(be);
	rkeys_new(be);
	rpubsub_new(be);
	rjobs_new(be);
	rlist_new(be);
	rmove_new(be);
	if (raway_new(be, err) == 0 && rserver_new(be, err) == 0) {
		first_look(be);
		if (!rserver_refused(be)) {
			*ret = be;
			return 0;
		}
		snprintf(err, BH_ERROR_TEXT, "%s", rserver_refused(be));
	}
	redis_close(be);
	return -1;
}

int
redis_ready(void *arg, char err[BH_ERROR_TEXT])
{
	struct redis_be *be = arg;

	if (rmove_doors(be) && raway_armed(be))
		return 1;
	if (be->looked || !rserver_tried(be) || raway_looked_once(be))
		return 0;
	snprintf(err, BH_ERROR_TEXT, "%.200s (the first start needs it)",
	    be->away);
	return -1;
}

/* --- the turn --- */

static void
redis_turn_begin(void *arg, int64_t wall_ms, int64_t mono_ms)
{
	struct redis_be *be = arg;

	be->wall_ms = wall_ms;
	be->mono_ms = mono_ms;
	(void)be_answers(be);
	if (raway_left(be))
		return;
	rjobs_begin(be);
	rlist_begin(be);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
redis_turn_end(void *arg)
{
	struct redis_be *be = arg;
	int64_t next = earlier(rmove_turn(be), raway_turn(be));

	if (!raway_left(be))
		next = earlier(next, earlier(rjobs_end(be), rlist_end(be)));

	(void)be_answers(be);
	return be->answers ? be->mono_ms : next;
}

static void
redis_cancel(void *arg, struct bh_req *req)
{
	struct redis_be *be = arg;

	if (!raway_cancel(be, req) && !rjobs_cancel(be, req))
		(void)rkeys_cancel(be, req);
}

static void
redis_listen(void *arg, const struct bh_events *events, void *events_arg)
{
	struct redis_be *be = arg;

	be->events = events;
	be->events_arg = events_arg;
	rlist_listen(be);
}

static void
redis_watch_jobs(void *arg, bool on)
{
	struct redis_be *be = arg;

	be->watching = on;
	rlist_listen(be);
}

static void
redis_options_changed(void *arg)
{
	rjobs_options_changed(arg);
}

static void
redis_health(void *arg, struct bh_health *ret)
{
	struct redis_be *be = arg;

	rhealth_show(be, ret);
}

static void
redis_drain(void *arg)
{
	struct redis_be *be = arg;

	be->draining = true;
	rjobs_drain(be);
}

static bool
redis_idle(void *arg)
{
	struct redis_be *be = arg;

	/* What is at a Redis that is away does not come back in time. */
	if (!be->ready)
		return !be->answers && raway_idle(be);
	return !be->answers && raway_idle(be) && rkeys_idle(be) &&
	    rpubsub_idle(be) && rthrottle_idle(be) && rjobs_idle(be) &&
	    rlist_idle(be);
}

const struct bh_backend_ops redis_ops = {
	.name = "redis",
	.job_put = raway_put,
	.job_reserve = raway_reserve,
	.job_finish = raway_finish,
	.job_extend = raway_extend,
	.job_get = raway_get,
	.job_list = rlist_list,
	.job_alter = raway_alter,
	.queue_stats = rlist_stats,
	.queue_alter = rlist_queue_alter,
	.schedule_put = rsched_put,
	.schedule_list = rsched_list,
	.schedule_remove = rsched_remove,
	.key_command = rkeys_command,
	.throttle = rthrottle_take,
	.publish = rpubsub_publish,
	.subscribe = rpubsub_subscribe,
	.cancel = redis_cancel,
	.turn_begin = redis_turn_begin,
	.turn_end = redis_turn_end,
	.listen = redis_listen,
	.callback_done = rowed_done,
	.watch_jobs = redis_watch_jobs,
	.options_changed = redis_options_changed,
	.health = redis_health,
	.drain = redis_drain,
	.idle = redis_idle,
	.close = redis_close,
};
