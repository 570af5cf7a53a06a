/* SPDX-License-Identifier: MIT */
/*
 * The vtable over engine and journal, the order of a backend's turn, and what
 * is done about a disk that is full or fails.
 */
#include "backend/embedded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "engine/engine.h"
#include "journal/journal.h"
#include "keys/keys.h"
#include "keys/throttle.h"

/* Below this much free space on the file system no new work is taken: what
 * is there must still be able to end. */
enum { DISK_RESERVE = 8 << 20 };

struct embedded {
	char *dir;
	struct journal *journal;
	struct engine *engine;
	struct keys *keys;
	struct throttle *throttle;
	int64_t (*mono_us)(void);
	/* Answers of throttle and publish, by bh_req.priv.next; a message is
	 * told when what it may speak of is durable. */
	struct bh_req *limited, **limited_tail;
	struct bh_req *sent, **sent_tail;
	const struct bh_events *events;
	void *events_arg;
	int64_t max_disk;
	struct err refuse;		/* what engine_refuse() was told */
	bool shedding;
	bool failing;			/* the disk's failure has been told */
	int64_t wall_ms, mono_ms;
	uint64_t watched;		/* durable when space was looked at */
	int64_t watched_ms;
};

static int64_t
now_us(const struct embedded *b)
{
	return b->mono_us ? b->mono_us() : b->mono_ms * 1000;
}

static void door_publish(void *arg, struct bh_bytes topic,
    struct bh_bytes text);
static int64_t door_receivers(void *arg, struct bh_bytes topic);

int
embedded_open(void **ret, const struct embedded_config *c, struct err *e)
{
	struct embedded *b = xcalloc(1, sizeof(*b));
	struct clock_time now = clock_now();
	struct journal_config jc = {.dir = c->dir, .relaxed = c->relaxed,
	    .wake = c->wake, .wake_arg = c->wake_arg,
	    .recovering = c->recovering, .release = engine_release, .vfs = c->vfs};
	struct engine_config ec = {.qopts = c->qopts,
	    .payload_cache = c->payload_cache, .max_queues = c->max_queues,
	    .max_schedules = c->max_schedules};

	if (journal_open(&b->journal, &jc, e) < 0) {
		free(b);
		return -1;
	}
	b->dir = xstrdup(c->dir);
	b->max_disk = c->max_disk;
	ec.journal = b->journal;
	b->engine = engine_new(&ec);
	engine_time(b->engine, now.wall_ms, now.mono_ms);
	b->wall_ms = now.wall_ms;
	b->mono_ms = now.mono_ms;
	b->mono_us = c->mono_us;
	b->limited_tail = &b->limited;
	b->sent_tail = &b->sent;
	b->keys = keys_new(b->journal);
	b->throttle = throttle_new(b->journal);
	keys_set_doors(b->keys, &(struct keys_doors){.throttle = b->throttle,
	    .receivers = door_receivers, .publish = door_publish, .arg = b});
	embedded_set_keys(b, &c->keys, c->limiter_bytes, c->limiters_durable);
	keys_time(b->keys, now.wall_ms, now.mono_ms);
	if (engine_load(b->engine, e) < 0 || keys_load(b->keys, e) < 0 ||
	    throttle_load(b->throttle, e) < 0) {
		journal_close(&b->journal);
		engine_free(&b->engine);
		keys_free(&b->keys);
		throttle_free(&b->throttle);
		free(b->dir);
		free(b);
		return -1;
	}
	journal_start(b->journal);
	*ret = b;
	return 0;
}

void
embedded_set_limits(void *be, int64_t payload_cache, int64_t max_disk,
    int64_t max_queues, int64_t max_schedules)
{
	struct embedded *b = be;

	b->max_disk = max_disk;
	engine_set_limits(b->engine, payload_cache, max_queues, max_schedules);
}

/* No limit said: none that a small test would meet. */
void
embedded_set_keys(void *be, const struct keys_limits *limits,
    int64_t limiter_bytes, bool limiters_durable)
{
	struct embedded *b = be;
	struct keys_limits l = *limits;

	if (l.cache_bytes == 0)
		l.cache_bytes = INT64_MAX;
	keys_set_limits(b->keys, &l);
	throttle_set_limit(b->throttle, limiter_bytes ? limiter_bytes :
	    INT64_MAX, limiters_durable);
}

/* --- PUBLISH inside of EXEC and scripts --- */

/* A message that nobody waits for. */
struct message {
	struct bh_publish publish;	/* first */
	char text[];
};

static void
message_told(struct bh_req *req)
{
	free(req);
}

static void
door_publish(void *arg, struct bh_bytes topic, struct bh_bytes text)
{
	struct message *m = xcalloc(1, sizeof(*m) + topic.len + text.len);

	if (topic.len)
		memcpy(m->text, topic.data, topic.len);
	if (text.len)
		memcpy(m->text + topic.len, text.data, text.len);
	m->publish = (struct bh_publish){.req.done = message_told,
	    .topic = {m->text, topic.len},
	    .message = {m->text + topic.len, text.len}};
	embedded_ops.publish(arg, &m->publish);
}

static int64_t
door_receivers(void *arg, struct bh_bytes topic)
{
	struct embedded *b = arg;

	return b->events && b->events->receivers ?
	    b->events->receivers(b->events_arg, topic) : 0;
}

static void
cancel_all(struct bh_req *req)
{
	struct bh_req *next;

	for (; req; req = next) {
		next = req->priv.next;
		req->status = BH_E_CANCELED;
		snprintf(req->text, sizeof(req->text), "the store is closed");
		req->done(req);
	}
}

static void
embedded_close(void *be)
{
	struct embedded *b = be;

	engine_stop(b->engine);
	keys_settle(b->keys);
	keys_write_whole(b->keys);
	journal_close(&b->journal);
	engine_free(&b->engine);
	keys_free(&b->keys);
	cancel_all(b->limited);
	cancel_all(b->sent);
	throttle_free(&b->throttle);
	free(b->dir);
	free(b);
}

/* --- the disk --- */

static void
refuse(struct embedded *b, int code, const char *text)
{
	if (b->refuse.code == code)
		return;
	if (code)
		log_about(LOG_ERROR, LOG_OF(WORK_REFUSED),
		    "new work is refused: %s", text);
	else
		log_about(LOG_INFO, LOG_OF(WORK_ACCEPTED),
		    "new work is accepted again");
	b->refuse = (struct err){.code = code};
	snprintf(b->refuse.text, sizeof(b->refuse.text), "%s", text);
	engine_refuse(b->engine, &b->refuse);
	keys_refuse(b->keys, &b->refuse);
}

/* The journal looks after each commit; while new work is refused there may be
 * none, so look here, at most once a second. */
static void
look_again(const struct embedded *b, struct journal_stats *s)
{
	struct statvfs v;

	if (b->refuse.code && statvfs(b->dir, &v) == 0)
		s->disk_free_bytes = (int64_t)v.f_bavail *
		    (int64_t)v.f_frsize;
}

static bool
time_to_look(struct embedded *b)
{
	uint64_t durable = journal_durable(b->journal);

	if (durable == b->watched &&
	    !(b->refuse.code && b->mono_ms - b->watched_ms >= 1000))
		return false;
	b->watched = durable;
	b->watched_ms = b->mono_ms;
	return true;
}

/* Announced steps: completed jobs go early at 90 % of max_disk, new work is
 * refused at 100 % or when the file system has hardly any space left. */
static void
watch_space(struct embedded *b)
{
	struct journal_stats s;
	int64_t used;
	char text[BH_ERROR_TEXT];
	bool tight;

	if (!time_to_look(b))
		return;
	journal_stats(b->journal, &s);
	look_again(b, &s);
	used = s.db_bytes - s.free_bytes;
	tight = b->max_disk > 0 && used > b->max_disk / 10 * 9;
	if (tight && !b->shedding)
		log_about(LOG_WARN, LOG_OF(SPACE_LOW), "the store uses %lld of %lld bytes (max_disk): "
		    "completed jobs are removed early", (long long)used,
		    (long long)b->max_disk);
	b->shedding = tight;
	if (tight)
		engine_shed_completed(b->engine);
	if (b->max_disk > 0 && used >= b->max_disk) {
		snprintf(text, sizeof(text), "the store uses %lld bytes, "
		    "max_disk is %lld", (long long)used,
		    (long long)b->max_disk);
		refuse(b, BH_E_DISKFULL, text);
	} else if (s.commits > 0 && s.disk_free_bytes < DISK_RESERVE &&
	    s.free_bytes < DISK_RESERVE) {
		snprintf(text, sizeof(text), "the file system of the state "
		    "directory has less than %d MiB left: make room there",
		    DISK_RESERVE >> 20);
		refuse(b, BH_E_DISKFULL, text);
	} else {
		refuse(b, BH_OK, "");
	}
}

/* While commits fail: what has not been promised yet is taken back, so that
 * its caller learns it now; everything else waits for the disk. */
static void
watch_disk(struct embedded *b)
{
	const struct err *failure = journal_failure(b->journal);

	if (!failure) {
		b->failing = false;
		watch_space(b);
		return;
	}
	refuse(b, failure->code, failure->text);
	if (!b->failing)
		engine_take_back(b->engine, failure);
	b->failing = true;
}

/* --- limits and messages --- */

static void
verb_throttle(void *be, struct bh_throttle *r)
{
	struct embedded *b = be;

	memset(&r->req.priv, 0, sizeof(r->req.priv));
	(void)throttle_take(b->throttle, r, now_us(b));
	*b->limited_tail = &r->req;
	b->limited_tail = &r->req.priv.next;
}

static void
verb_publish(void *be, struct bh_publish *r)
{
	struct embedded *b = be;

	memset(&r->req.priv, 0, sizeof(r->req.priv));
	r->receivers = 0;
	*b->sent_tail = &r->req;
	b->sent_tail = &r->req.priv.next;
}

/* Everything that is published is told here, whoever wants it. */
static void
verb_subscribe(void *be, struct bh_bytes pattern, bool on)
{
	(void)be, (void)pattern, (void)on;
}

/* What was published in this turn waits for what the turn has written. */
static void
settle_messages(struct embedded *b)
{
	struct bh_req *req;

	for (req = b->sent; req; req = req->priv.next)
		if (!req->priv.lsn)
			req->priv.lsn = journal_last(b->journal) + 1;
}

static bool
deliver_messages(struct embedded *b)
{
	uint64_t durable = journal_durable(b->journal);
	struct bh_req *req;
	bool any = false;

	while ((req = b->limited)) {
		b->limited = req->priv.next;
		if (!b->limited)
			b->limited_tail = &b->limited;
		any = true;
		req->done(req);
	}
	while ((req = b->sent) && req->priv.lsn &&
	    req->priv.lsn <= durable + 1) {
		struct bh_publish *p = (struct bh_publish *)req;

		b->sent = req->priv.next;
		if (!b->sent)
			b->sent_tail = &b->sent;
		if (b->events && b->events->message)
			p->receivers = b->events->message(b->events_arg,
			    p->topic, p->message);
		req->status = BH_OK;
		any = true;
		req->done(req);
	}
	return any;
}

static bool
deliver(struct embedded *b)
{
	bool jobs = engine_deliver(b->engine);
	bool keys = keys_deliver(b->keys);

	return deliver_messages(b) || jobs || keys;
}

/* --- the turn --- */

static void
turn_begin(void *be, int64_t wall_ms, int64_t mono_ms)
{
	struct embedded *b = be;

	b->wall_ms = wall_ms;
	b->mono_ms = mono_ms;
	engine_time(b->engine, wall_ms, mono_ms);
	keys_time(b->keys, wall_ms, mono_ms);
	throttle_begin(b->throttle, wall_ms, now_us(b));
	journal_take(b->journal, mono_ms);
	watch_disk(b);
	deliver(b);
	engine_run_due(b->engine);
	keys_run_due(b->keys);
}

static int64_t
turn_end(void *be)
{
	struct embedded *b = be;
	int64_t next, at;
	bool delivered;

	engine_serve(b->engine);
	engine_settle(b->engine);
	keys_settle(b->keys);
	throttle_settle(b->throttle, b->wall_ms, now_us(b));
	settle_messages(b);
	if (!keys_half_written(b->keys))
		journal_kick(b->journal);
	delivered = deliver(b);
	next = engine_next(b->engine);
	at = keys_next(b->keys);
	if (at < next)
		next = at;
	at = journal_next(b->journal);
	if (at < next)
		next = at;
	/* Callers that were answered may have asked again. */
	return delivered ? b->mono_ms : next;
}

/* --- the verbs --- */

#define VERB(name, type)                                                 \
	static void verb_##name(void *be, struct type *r)                \
	{                                                                \
		memset(&r->req.priv, 0, sizeof(r->req.priv));            \
		engine_##name(((struct embedded *)be)->engine, r);       \
	}
VERB(put, bh_put)
VERB(reserve, bh_reserve)
VERB(finish, bh_finish)
VERB(extend, bh_extend)
VERB(get, bh_get)
VERB(list, bh_list)
VERB(alter, bh_alter)
VERB(stats, bh_stats)
VERB(queue_alter, bh_queue_alter)
VERB(schedule_put, bh_schedule_put)
VERB(schedule_list, bh_schedule_list)
VERB(schedule_remove, bh_schedule_remove)
#undef VERB

static void
verb_key_command(void *be, struct bh_key_command *r)
{
	keys_command(((struct embedded *)be)->keys, r);
}

static void
verb_cancel(void *be, struct bh_req *req)
{
	struct embedded *b = be;

	engine_cancel(b->engine, req);
	keys_cancel(b->keys, req);
}

static void
verb_listen(void *be, const struct bh_events *events, void *arg)
{
	struct embedded *b = be;

	b->events = events;
	b->events_arg = arg;
	engine_listen(b->engine, events, arg);
}

static void
verb_watch_jobs(void *be, bool on)
{
	engine_watch_jobs(((struct embedded *)be)->engine, on);
}

static void
verb_callback_done(void *be, int64_t id)
{
	engine_callback_done(((struct embedded *)be)->engine, id);
}

static void
options_changed(void *be)
{
	engine_options_changed(((struct embedded *)be)->engine);
}

static void
drain(void *be)
{
	engine_drain(((struct embedded *)be)->engine);
}

static bool
idle(void *be)
{
	struct embedded *b = be;

	return engine_quiet(b->engine) && keys_quiet(b->keys) &&
	    !b->limited && !b->sent &&
	    journal_durable(b->journal) == journal_last(b->journal);
}

static void
health(void *be, struct bh_health *ret)
{
	struct embedded *b = be;
	struct journal_stats s;
	struct keys_stats k;

	journal_stats(b->journal, &s);
	keys_stats(b->keys, &k);
	*ret = (struct bh_health){.type = "embedded",
	    .accepting = b->refuse.code == BH_OK,
	    .db_bytes = s.db_bytes, .wal_bytes = s.wal_bytes,
	    .disk_limit = b->max_disk, .commits_total = s.commits,
	    .commit_rows_total = s.rows, .commit_p50_us = s.commit_p50_us,
	    .commit_p99_us = s.commit_p99_us,
	    .jobs_memory_bytes = (int64_t)engine_memory(b->engine),
	    .busy_ms = s.busy_ms,
	    .keys = k.keys, .keys_expiring = k.expires,
	    .keys_durable = k.durable, .keys_memory_bytes = k.durable_bytes,
	    .cache_memory_bytes = k.cache_bytes, .key_hits = k.hits,
	    .key_misses = k.misses, .keys_expired = k.expired,
	    .keys_evicted = k.evicted,
	    .limiters = throttle_count(b->throttle)};
	snprintf(ret->text, sizeof(ret->text), "%.199s", b->refuse.text);
}

const struct bh_backend_ops embedded_ops = {
	.name = "embedded",
	.job_put = verb_put,
	.job_reserve = verb_reserve,
	.job_finish = verb_finish,
	.job_extend = verb_extend,
	.job_get = verb_get,
	.job_list = verb_list,
	.job_alter = verb_alter,
	.queue_stats = verb_stats,
	.queue_alter = verb_queue_alter,
	.key_command = verb_key_command,
	.throttle = verb_throttle,
	.publish = verb_publish,
	.subscribe = verb_subscribe,
	.schedule_put = verb_schedule_put,
	.schedule_list = verb_schedule_list,
	.schedule_remove = verb_schedule_remove,
	.cancel = verb_cancel,
	.listen = verb_listen,
	.callback_done = verb_callback_done,
	.watch_jobs = verb_watch_jobs,
	.turn_begin = turn_begin,
	.turn_end = turn_end,
	.options_changed = options_changed,
	.health = health,
	.drain = drain,
	.idle = idle,
	.close = embedded_close,
};
