/* SPDX-License-Identifier: MIT */
/*
 * Webhooks on the main thread:
 *
 *   pool_hook ─► (is the delivery known?) ─► a script thread: signature, then
 *   accept ─► pool_hook_ended ─► job_put ─► committed: 202
 *
 * A delivery's id is remembered as a key of the keyspace, written once its
 * jobs are committed: a crash between the two lets a redelivery in, and
 * nothing is lost. Two deliveries with one id at a time: the second waits for
 * the first to be stored, and goes its own way when it was not.
 *
 * A struct ticket is one webhook under way. It points into the door's request
 * (nothing of it is copied), and is reused afterwards with its buffers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "ds/map.h"
#include "script/hook_put.h"
#include "script/pool_impl.h"

#define UNDER_WAY 2000			/* webhooks at once */
#define SPARE_TICKETS 256
#define SPARE_BYTES 65536		/* buffer that a spare one keeps */
#define TIMEOUT_MS 10000		/* of accept: senders wait */
#define RETRY_MS 5000			/* when it may be better */
#define LOG_PAUSE_MS 60000		/* between lines of one kind */
#define DELIVERY_MAX 256

struct ticket {
	struct hook_run run;		/* what the script thread sees */
	struct pool *pool;
	struct ticket *next;		/* spare; or behind the same delivery */
	struct ticket *followers;
	char *key;			/* of the delivery, or NULL */
	bool first;			/* it is in hooks.deliveries */
	char script_name[64];		/* for the log */
	char queue[129];		/* the script's */
	int64_t ttl_ms;
	struct run_msg *msg;		/* while its jobs are put */
	struct hook_put jobs;
	struct bh_key_command known;
	struct bh_bytes words[2];
	struct buf json;
};

/* Lines about one kind of trouble: the first at once, then one a minute. */
struct flood {
	int64_t since;			/* mono ms, 0 never */
	int64_t missed;
};

/* Writes down a delivery; lives longer than its ticket. */
struct delivered {
	struct bh_key_command cmd;
	struct hooks *hooks;
	struct bh_bytes words[5];
	char ttl[24], id[24];
	char key[];
};

struct hooks {
	size_t under_way;
	struct bh_hook *turned_away;	/* to be answered, by their priv */
	struct ticket *spare;
	size_t nspare;
	struct map deliveries;		/* tickets by key, the first of each */
	size_t writing;			/* struct delivered under way */
	struct flood forged, failed, refused;
};

/* --- deliveries under way --- */

static uint64_t
key_hash(const char *key)
{
	uint64_t h = 1469598103934665603u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211u;
	return map_hash_int(h);
}

static uint64_t
ticket_hash(const void *item)
{
	return key_hash(((const struct ticket *)item)->key);
}

static bool
ticket_equal(const void *item, const void *key)
{
	return strcmp(((const struct ticket *)item)->key, key) == 0;
}

static const struct map_ops delivery_ops = {ticket_hash, ticket_equal};

void
pool_hooks_new(struct pool *p)
{
	p->hooks = xcalloc(1, sizeof(*p->hooks));
	map_init(&p->hooks->deliveries, &delivery_ops);
}

static void
ticket_free(struct ticket *t)
{
	buf_done(&t->run.bytes);
	buf_done(&t->json);
	free(t->run.words);
	free(t->run.jobs);
	free(t);
}

/* --- answers --- */

/* Whether this line may be written; *missed: those that were not. */
static bool
flood_passes(struct pool *p, struct flood *f, int64_t *missed)
{
	*missed = f->missed;
	if (f->since && p->mono_ms - f->since < LOG_PAUSE_MS) {
		f->missed++;
		return false;
	}
	f->since = p->mono_ms ? p->mono_ms : 1;
	f->missed = 0;
	return true;
}

PRINTF(5, 6) static void
tell(struct pool *p, struct flood *f, enum log_level level,
    const struct ticket *t, const char *fmt, ...)
{
	struct log_about about = {.script = t->script_name,
	    .queue = *t->queue ? t->queue : NULL,
	    .event = EVENT_HOOK_REFUSED};
	const struct bh_hook *h = t->run.hook;
	struct buf line = BUF_INIT;
	int64_t missed;
	va_list ap;

	if (!flood_passes(p, f, &missed))
		return;
	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (missed)
		buf_addf(&line, " (and %lld more like it since the last line)",
		    (long long)missed);
	log_about(level, &about, "webhook \"%.*s\" from %s: %s",
	    (int)h->name.len, h->name.data, h->peer ? h->peer : "?",
	    buf_str(&line));
	buf_done(&line);
}

static void
set_refusal(struct bh_hook *h, int http, int code, int64_t retry_ms,
    const char *text)
{
	h->http = http;
	h->status = code;
	h->text = text;
	h->retry_ms = retry_ms;
	h->json = (struct bh_bytes){NULL, 0};
	h->type = NULL;
}

/* Answers one that gets no ticket, but not from inside pool_hook(). */
static void
turn_away(struct pool *p, struct bh_hook *h, int http, int code,
    int64_t retry_ms, const char *text)
{
	set_refusal(h, http, code, retry_ms, text);
	h->priv = p->hooks->turned_away;
	p->hooks->turned_away = h;
	p->config.wake(p->config.wake_arg);
}

void
pool_hooks_answer(struct pool *p)
{
	struct bh_hook *h;

	while ((h = p->hooks->turned_away)) {
		p->hooks->turned_away = h->priv;
		h->done(h);
	}
}

/* The end of a ticket; its hook has been answered. */
static void
ticket_done(struct ticket *t)
{
	struct pool *p = t->pool;
	struct hooks *hs = p->hooks;

	CHECK(!t->first && !t->followers);
	if (t->msg)
		run_msg_done(p, t->msg);
	t->msg = NULL;
	hook_put_done(&t->jobs);
	free(t->key);
	t->key = NULL;
	hs->under_way--;
	if (hs->nspare == SPARE_TICKETS) {
		ticket_free(t);
		return;
	}
	buf_reset(&t->run.bytes, SPARE_BYTES);
	buf_reset(&t->json, SPARE_BYTES);
	if (t->run.words_cap * sizeof(*t->run.words) > SPARE_BYTES) {
		free(t->run.words);
		t->run.words = NULL;
		t->run.words_cap = 0;
	}
	t->next = hs->spare;
	hs->spare = t;
	hs->nspare++;
}

static void start(struct ticket *t);

/* Lets those go that came with the same delivery id. */
static void
leave(struct ticket *t, bool stored)
{
	struct hooks *hs = t->pool->hooks;
	struct ticket *f;

	if (!t->first)
		return;
	map_remove(&hs->deliveries, t);
	t->first = false;
	while ((f = t->followers)) {
		t->followers = f->next;
		f->next = NULL;
		f->run.known = stored || t->run.known;
		if (!stored) {
			/* The next one takes its place, the rest behind it. */
			f->first = true;
			f->followers = t->followers;
			t->followers = NULL;
			map_put(&hs->deliveries, f);
		}
		start(f);
	}
}

static void
fail(struct ticket *t, int http, int code, int64_t retry_ms, const char *text)
{
	struct bh_hook *h = t->run.hook;

	leave(t, false);
	set_refusal(h, http, code, retry_ms, text);
	h->done(h);
	ticket_done(t);
}

static void
answer(struct ticket *t, int http, struct bh_bytes body, const char *type)
{
	struct bh_hook *h = t->run.hook;

	leave(t, false);
	h->http = http;
	h->status = BH_OK;
	h->text = "";
	h->retry_ms = -1;
	h->json = body;
	h->type = type;
	h->done(h);
	ticket_done(t);
}

/* --- remembering a delivery --- */

static void
remembered(struct bh_req *req)
{
	struct delivered *d = req->user;

	d->hooks->writing--;
	if (req->status != BH_OK && req->status != BH_E_CANCELED)
		log_warn("a webhook's delivery could not be noted, it may be "
		    "stored twice: %s", req->text);
	free(d);
}

static void
remember(struct ticket *t)
{
	struct pool *p = t->pool;
	size_t n = strlen(t->key) + 1;
	struct delivered *d = xcalloc(1, sizeof(*d) + n);

	d->hooks = p->hooks;
	d->hooks->writing++;
	memcpy(d->key, t->key, n);
	snprintf(d->ttl, sizeof(d->ttl), "%lld", (long long)t->ttl_ms);
	snprintf(d->id, sizeof(d->id), "%lld", (long long)t->jobs.id);
	d->words[0] = (struct bh_bytes){"SET", 3};
	d->words[1] = (struct bh_bytes){d->key, n - 1};
	d->words[2] = (struct bh_bytes){d->id, strlen(d->id)};
	d->words[3] = (struct bh_bytes){"PX", 2};
	d->words[4] = (struct bh_bytes){d->ttl, strlen(d->ttl)};
	d->cmd.req.done = remembered;
	d->cmd.req.user = d;
	d->cmd.argv = d->words;
	d->cmd.argc = 5;
	p->env->ops->key_command(p->env->be, &d->cmd);
}

/* --- jobs --- */

static void
put_done(struct bh_req *req)
{
	struct ticket *t = req->user;
	bool later = req->status == BH_E_QUEUEFULL ||
	    req->status == BH_E_DISKFULL || req->status == BH_E_BACKEND;

	if (req->status == BH_E_CANCELED) {
		fail(t, 503, BH_E_BUSY, RETRY_MS, "shutting down");
		return;
	}
	if (req->status != BH_OK) {
		tell(t->pool, &t->pool->hooks->refused, LOG_WARN, t, "its job "
		    "is refused: %s", req->text);
		fail(t, err_http(req->status), req->status,
		    later ? RETRY_MS : -1, req->text);
		return;
	}
	if (t->key) {
		remember(t);
		leave(t, true);
		pool_flush(t->pool);
	}
	hook_put_json(&t->jobs, &t->json);
	answer(t, hook_put_duplicate(&t->jobs) ? 200 : 202,
	    (struct bh_bytes){buf_peek(&t->json), buf_size(&t->json)}, NULL);
}

static void
put_jobs(struct ticket *t)
{
	struct pool *p = t->pool;
	int64_t max = p->env->conf->max_payload;
	struct err e;
	int rc;

	rc = t->run.answer == HOOK_BODY ?
	    hook_put_body(&t->jobs, &t->run, t->queue, max, &e) :
	    hook_put_jobs(&t->jobs, &t->run, max, &e);
	if (rc < 0) {
		tell(p, &p->hooks->failed, LOG_ERROR, t, "its job is refused: "
		    "%s", e.text);
		if (e.code == BH_E_TOOBIG)
			fail(t, 413, BH_E_TOOBIG, -1, e.text);
		else
			fail(t, 500, BH_E_ERR, -1,
			    "the script's answer is not right; see the log");
		return;
	}
	t->jobs.put.req.done = put_done;
	t->jobs.put.req.user = t;
	p->env->ops->job_put(p->env->be, &t->jobs.put);
}

/* --- what the script thread made of it --- */

static void
refused(struct ticket *t)
{
	struct pool *p = t->pool;
	const struct hook_run *r = &t->run;

	if (r->http == 401)
		tell(p, &p->hooks->forged, LOG_WARN, t, "refused: %s",
		    r->text);
	else if (r->http >= 500)
		tell(p, &p->hooks->failed, LOG_ERROR, t, "%s", r->text);
	/* What a secret's file is called is not the sender's business. */
	fail(t, r->http, r->status, r->http == 503 ? RETRY_MS : -1,
	    r->http == 503 ? "the hook's secret is missing; see the log" :
	    r->text);
}

static void
ended_well(struct ticket *t)
{
	static const char known[] = "{\"duplicate\":true}";
	struct hook_run *r = &t->run;
	const struct bh_bytes none = {NULL, 0};

	switch (r->answer) {
	case HOOK_BODY:
	case HOOK_JOBS:
		put_jobs(t);
		return;
	case HOOK_NOTHING:
		answer(t, 204, none, NULL);
		return;
	case HOOK_REPLY:
		answer(t, r->http, (struct bh_bytes){buf_size(&r->bytes) ?
		    buf_peek(&r->bytes) : "", buf_size(&r->bytes)}, r->type);
		return;
	case HOOK_KNOWN:
		answer(t, 200, (struct bh_bytes){known, sizeof(known) - 1},
		    NULL);
		return;
	case HOOK_REFUSED:
		refused(t);
		return;
	}
}

void
pool_hook_ended(struct pool *p, struct run_msg *m)
{
	struct ticket *t = (struct ticket *)m->hook;

	t->msg = m;
	if (m->end.outcome == BH_FAIL) {
		tell(p, &p->hooks->failed, LOG_ERROR, t, "%s failed: %.*s",
		    m->what == RUN_CHALLENGE ? "challenge" : "accept",
		    m->end.len > 1000 ? 1000 : (int)m->end.len, m->end.text);
		fail(t, 500, BH_E_ERR, -1, "the script failed; see the log");
	} else if (m->end.outcome == BH_RELEASE) {
		fail(t, 503, BH_E_BUSY, RETRY_MS, p->stopping ?
		    "shutting down" : "the script cannot run now");
	} else {
		ended_well(t);
	}
}

/* --- the way in --- */

static const struct script *
find_hook(const struct pool *p, struct bh_bytes name)
{
	const struct script *s;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (s->src && strlen(s->opts.hook.name) == name.len &&
		    name.len && memcmp(s->opts.hook.name, name.data,
		    name.len) == 0)
			return s;
	return NULL;
}

/* Whether a script that has never loaded seems to declare it. */
static bool
is_broken(const struct pool *p, struct bh_bytes name)
{
	const struct script *s;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (!s->src && s->guess_hook &&
		    strlen(s->guess_hook) == name.len &&
		    memcmp(s->guess_hook, name.data, name.len) == 0)
			return true;
	return false;
}

/* Hands it to a script thread. The script may have changed meanwhile. */
static void
start(struct ticket *t)
{
	struct pool *p = t->pool;
	const struct script *s = find_hook(p, t->run.hook->name);
	struct run_msg *m;
	struct bh_queue_opts o;

	if (!s || p->stopping) {
		fail(t, 503, BH_E_BUSY, RETRY_MS, s ? "shutting down" :
		    "the hook's script is being changed");
		return;
	}
	m = run_msg_new(p, 0);
	m->what = RUN_HOOK;
	m->hook = &t->run;
	m->queue = (struct bh_bytes){t->queue, strlen(t->queue)};
	qopts_resolve(p->config.qopts, t->queue, &o);
	m->timeout_ms = o.timeout_ms < TIMEOUT_MS ? o.timeout_ms : TIMEOUT_MS;
	pool_dispatch_to(p, m, s);
}

static void
known_answer(struct bh_req *req)
{
	struct ticket *t = req->user;
	const struct bh_value *v = t->known.value;
	struct pool *p = t->pool;

	if (req->status != BH_OK) {
		fail(t, 503, BH_E_BACKEND, RETRY_MS, "what has been delivered "
		    "is not known now");
		return;
	}
	t->run.known = v && v->type == BH_STRING;
	start(t);
	pool_flush(p);
}

/* Whether this delivery has been stored; the answer comes later. */
static void
ask_known(struct ticket *t)
{
	struct pool *p = t->pool;

	t->words[0] = (struct bh_bytes){"GET", 3};
	t->words[1] = (struct bh_bytes){t->key, strlen(t->key)};
	t->known = (struct bh_key_command){.req.done = known_answer,
	    .req.user = t, .argv = t->words, .argc = 2};
	p->env->ops->key_command(p->env->be, &t->known);
}

static struct ticket *
ticket_new(struct pool *p, struct bh_hook *h, const struct script *s)
{
	struct hooks *hs = p->hooks;
	struct ticket *t = hs->spare;

	if (t) {
		hs->spare = t->next;
		hs->nspare--;
	} else {
		t = xcalloc(1, sizeof(*t));
	}
	hs->under_way++;
	t->pool = p;
	t->next = NULL;
	t->run.hook = h;
	t->run.generation = p->generation;
	t->run.known = false;
	t->run.nwords = t->run.njobs = 0;
	t->ttl_ms = s->opts.hook.delivery_ttl_ms;
	snprintf(t->script_name, sizeof(t->script_name), "%s", s->src->name);
	strcpy(t->queue, s->opts.queue);
	return t;
}

/* 0, or -1: it has been answered. */
static int
check(struct pool *p, struct bh_hook *h, const struct script **ret)
{
	const struct script *s = find_hook(p, h->name);
	const struct hook_opts *o;

	if (p->draining) {
		turn_away(p, h, 503, BH_E_BUSY, RETRY_MS, "shutting down");
	} else if (!s && is_broken(p, h->name)) {
		turn_away(p, h, 503, BH_E_BUSY, RETRY_MS,
		    "the hook's script is broken");
	} else if (!s) {
		turn_away(p, h, 404, BH_E_NOTFOUND, -1, "no script has this hook");
	} else if (o = &s->opts.hook, !(o->methods & hook_method(h->method)) &&
	    !(o->challenge && strcmp(h->method, "GET") == 0)) {
		turn_away(p, h, 405, BH_E_ERR, -1, "the hook does not take this "
		    "method");
	} else if (o->max_body && (int64_t)h->body.len > o->max_body) {
		turn_away(p, h, 413, BH_E_TOOBIG, -1, "the body is larger than the "
		    "hook's max_body");
	} else if (p->hooks->under_way >= UNDER_WAY) {
		turn_away(p, h, 503, BH_E_BUSY, 1000, "too many webhooks at once");
	} else {
		*ret = s;
		return 0;
	}
	return -1;
}

void
pool_hook(struct pool *p, struct bh_hook *h)
{
	const struct script *s = NULL;
	struct bh_bytes id = {NULL, 0};
	struct ticket *t, *other, **tail;

	if (check(p, h, &s) < 0)
		return;
	if (*s->opts.hook.delivery && p->env->ops->key_command)
		id = hook_header(h, s->opts.hook.delivery);
	if (id.len > DELIVERY_MAX) {
		turn_away(p, h, 400, BH_E_BADARG, -1, "the delivery's id has more "
		    "than 256 bytes");
		return;
	}
	t = ticket_new(p, h, s);
	if (!id.len) {
		start(t);
		return;
	}
	t->key = xasprintf("bellhop:hook:%s:%.*s", s->opts.hook.name,
	    (int)id.len, id.data);
	other = map_get(&p->hooks->deliveries, key_hash(t->key), t->key);
	if (other) {
		tail = &other->followers;
		while (*tail)
			tail = &(*tail)->next;
		*tail = t;
		return;
	}
	t->first = true;
	map_put(&p->hooks->deliveries, t);
	ask_known(t);
}

void
pool_hooks_free(struct pool *p)
{
	struct hooks *hs = p->hooks;
	struct ticket *t;

	struct run_msg *m;

	p->stopping = true;
	TAILQ_FOREACH(m, &p->running, entry)
		if (m->hook)
			fail((struct ticket *)m->hook, 503, BH_E_BUSY,
			    RETRY_MS, "shutting down");
	pool_hooks_answer(p);
	CHECK(hs->under_way == 0 && hs->writing == 0);
	while ((t = hs->spare)) {
		hs->spare = t->next;
		ticket_free(t);
	}
	map_done(&hs->deliveries);
	free(hs);
	p->hooks = NULL;
}
