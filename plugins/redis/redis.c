/* SPDX-License-Identifier: MIT */
#include "redis/redis.h"

#include <ev.h>
#include <stdarg.h>

#include "redis/mem.h"
#include "redis/part.h"
#include "redis/tls.h"

#define TIMEOUT_MS 5000

/* --- the server comes and goes --- */

static void
tell(const struct redis_be *be, enum bh_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
tell(const struct redis_be *be, enum bh_log_level level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	be->host->log(level, "redis", text);
}

static void
on_up(void *arg)
{
	struct redis_be *be = arg;

	be->ready = true;
	be->away[0] = '\0';
	rscript_up(be);
	rpubsub_up(be);
	rjobs_up(be);
	rlist_up(be);
	be->host->wake();
}

static void
on_down(void *arg, const char *why)
{
	struct redis_be *be = arg;
	bool was = be->ready;

	be->ready = false;
	snprintf(be->away, sizeof(be->away), "Redis is away: %s", why);
	if (!was)
		return;
	tell(be, BH_LOG_WARN, "%s", be->away);
	rkeys_down(be);
	rjobs_down(be);
	rlist_down(be);
	be->host->wake();
}

/* --- life --- */

static char *
copy(const char *s)
{
	return mem_str(s ? s : "");
}

static void
keep_config(struct redis_be *be, const struct redis_config *c)
{
	be->config = *c;
	be->config.url = copy(c->url);
	be->config.sentinel_master = copy(c->sentinel_master);
	be->config.ca_file = copy(c->ca_file);
	be->config.prefix = copy(c->prefix);
	be->config.state_dir = copy(c->state_dir);
	be->config.sentinels = NULL;
}

static void
drop_config(struct redis_be *be)
{
	free((void *)(uintptr_t)be->config.url);
	free((void *)(uintptr_t)be->config.sentinel_master);
	free((void *)(uintptr_t)be->config.ca_file);
	free((void *)(uintptr_t)be->config.prefix);
	free((void *)(uintptr_t)be->config.state_dir);
}

static void redis_close(void *arg);

void
redis_abandon(void *arg)
{
	struct redis_be *be = arg;

	be->ready = false;
	rlink_free(&be->main);
	redis_close(be);
}

static void
redis_close(void *arg)
{
	struct redis_be *be = arg;

	be->ready = false;
	rjobs_free(be);
	rlist_free(be);
	rpubsub_free(be);
	rlink_free(&be->main);
	rkeys_free(be);
	rscript_free(be);
	while (be_answers(be))
		;
	drop_config(be);
	free(be);
}

int
redis_open(void **ret, const struct redis_config *c,
    const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	struct redis_be *be;
	struct redis_url url;
	struct rlink_config lc = {.loop = host->loop, .url = &url,
	    .name = "bellhop", .timeout_ms = TIMEOUT_MS, .on_up = on_up,
	    .on_down = on_down};

	if (redis_url_parse(&url, c->url, err) < 0)
		return -1;
	be = mem_new(sizeof(*be));
	be->host = host;
	be->answers_tail = &be->answers;
	keep_config(be, c);
	snprintf(be->away, sizeof(be->away), "Redis has not answered yet");
	rscript_new(be);
	rkeys_new(be);
	rpubsub_new(be);
	rjobs_new(be);
	rlist_new(be);
	lc.arg = be;
	be->main = rlink_new(&lc);
	redis_url_done(&url);
	while (!be->ready && !strncmp(be->away, "Redis has", 9))
		ev_run(host->loop, EVRUN_ONCE);
	*ret = be;
	return 0;
}

/* --- the turn --- */

static void
redis_turn_begin(void *arg, int64_t wall_ms, int64_t mono_ms)
{
	struct redis_be *be = arg;

	be->wall_ms = wall_ms;
	be->mono_ms = mono_ms;
	(void)be_answers(be);
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
	int64_t next = earlier(rjobs_end(be), rlist_end(be));

	(void)be_answers(be);
	return be->answers ? be->mono_ms : next;
}

static void
redis_cancel(void *arg, struct bh_req *req)
{
	struct redis_be *be = arg;

	if (!rjobs_cancel(be, req))
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

	*ret = (struct bh_health){.type = redis_ops.name,
	    .accepting = be->ready};
	snprintf(ret->text, sizeof(ret->text), "%.199s", be->away);
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

	return !be->answers && rkeys_idle(be) && rjobs_idle(be) &&
	    rlist_idle(be);
}

const struct bh_backend_ops redis_ops = {
	.name = "redis",
	.job_put = rjobs_put,
	.job_reserve = rjobs_reserve,
	.job_finish = rjobs_finish,
	.job_extend = rjobs_extend,
	.job_get = rjobs_get,
	.job_list = rlist_list,
	.job_alter = rlist_alter,
	.queue_stats = rlist_stats,
	.queue_alter = rlist_queue_alter,
	.schedule_put = rlist_schedule_put,
	.schedule_list = rlist_schedule_list,
	.schedule_remove = rlist_schedule_remove,
	.key_command = rkeys_command,
	.throttle = rthrottle_take,
	.publish = rpubsub_publish,
	.subscribe = rpubsub_subscribe,
	.cancel = redis_cancel,
	.turn_begin = redis_turn_begin,
	.turn_end = redis_turn_end,
	.listen = redis_listen,
	.callback_done = rlist_callback_done,
	.watch_jobs = redis_watch_jobs,
	.options_changed = redis_options_changed,
	.health = redis_health,
	.drain = redis_drain,
	.idle = redis_idle,
	.close = redis_close,
};
