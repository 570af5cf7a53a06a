/* SPDX-License-Identifier: MIT */
#include "lib/poolfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"

#define DEADLINE_S 30

static void
be_later(struct fake *be, struct bh_req *req)
{
	req->priv.next = NULL;
	*be->done_tail = req;
	be->done_tail = &req->priv.next;
}

static void
be_reserve(void *arg, struct bh_reserve *r)
{
	struct fake *be = arg;

	r->req.priv.next = be->reserves;
	be->reserves = &r->req;
}

static void
be_cancel(void *arg, struct bh_req *req)
{
	struct fake *be = arg;
	struct bh_req **at;

	for (at = &be->reserves; *at; at = &(*at)->priv.next)
		if (*at == req) {
			*at = req->priv.next;
			req->status = BH_E_CANCELED;
			be_later(be, req);
			return;
		}
}

static void
be_finish(void *arg, struct bh_finish *r)
{
	struct fake *be = arg;
	struct fake_end *e = &be->ends[be->nends++];
	struct bh_bytes text = r->outcome == BH_DONE ? r->result : r->message;

	assert_true(be->nends < nitems(be->ends));
	e->id = r->id;
	e->outcome = r->outcome;
	e->final = r->final;
	e->delay_ms = r->delay_ms;
	snprintf(e->text, sizeof(e->text), "%.*s",
	    text.data ? (int)text.len : 1, text.data ? text.data : "-");
	snprintf(e->version, sizeof(e->version), "%.*s", (int)r->version.len,
	    r->version.data ? r->version.data : "");
	r->state = r->final ? BH_FAILED : BH_DELAYED;
	be_later(be, &r->req);
}

static void
be_extend(void *arg, struct bh_extend *r)
{
	struct fake *be = arg;

	snprintf(be->progress, sizeof(be->progress), "%.*s",
	    (int)r->progress.len, r->progress.data);
	if (be->stale)
		r->req.status = BH_E_STALE;
	be_later(be, &r->req);
}

static void
be_put(void *arg, struct bh_put *r)
{
	struct fake *be = arg;
	struct bh_put *a;
	int64_t id = 77;
	size_t at = 0;

	be->nputs++;
	for (a = r; a; a = a->also) {
		at += (size_t)snprintf(be->added + at, sizeof(be->added) - at,
		    "%s%.*s=%.*s", at ? " " : "", (int)a->queue.len,
		    a->queue.data, (int)a->payloads[0].len,
		    a->payloads[0].data);
		a->ids[0] = id++;
		assert_true(at < sizeof(be->added));
	}
	snprintf(be->group, sizeof(be->group), "%.*s",
	    (int)r->opts.group.len, r->opts.group.data);
	if (r->queue.len == 4 && memcmp(r->queue.data, "full", 4) == 0) {
		r->req.status = BH_E_QUEUEFULL;
		strcpy(r->req.text, "the queue has 0 of 0");
	}
	if (r->queue.len == 5 && memcmp(r->queue.data, "again", 5) == 0)
		r->duplicate = true;
	be_later(be, &r->req);
}

/* SET key value PX ms and GET key. */
static void
be_key_command(void *arg, struct bh_key_command *r)
{
	static const struct bh_value none = {.type = BH_NULL},
	    some = {.type = BH_STRING, .s = {"77", 2}};
	struct fake *be = arg;
	size_t i;

	r->value = &none;
	for (i = 0; i < be->nkeys; i++)
		if (strlen(be->keys[i]) == r->argv[1].len &&
		    memcmp(be->keys[i], r->argv[1].data, r->argv[1].len) == 0)
			r->value = &some;
	if (r->argv[0].data[0] == 'S') {
		assert_true(be->nkeys < nitems(be->keys));
		snprintf(be->keys[be->nkeys++], sizeof(be->keys[0]), "%.*s",
		    (int)r->argv[1].len, r->argv[1].data);
	}
	be_later(be, &r->req);
}

static void
be_options_changed(void *arg)
{
	((struct fake *)arg)->options_changed++;
}

static void
be_callback_done(void *arg, int64_t id)
{
	struct fake *be = arg;

	be->callbacks_done[be->ncallbacks++] = id;
}

static const struct bh_backend_ops be_ops = {
	.name = "test",
	.job_put = be_put,
	.key_command = be_key_command,
	.job_reserve = be_reserve,
	.job_finish = be_finish,
	.job_extend = be_extend,
	.cancel = be_cancel,
	.options_changed = be_options_changed,
	.callback_done = be_callback_done,
};

/* more: of a batch whose slot is taken already. */
static struct fake_job *
be_claim(struct fake *be, struct bh_reserve *r, bool more)
{
	struct fake_job *j;

	STAILQ_FOREACH(j, &be->jobs, entry)
		if (strlen(j->queue) == r->queues[0].len && memcmp(j->queue,
		    r->queues[0].data, r->queues[0].len) == 0)
			break;
	if (!j || (!more && r->budget && *r->budget == 0))
		return NULL;
	if (!more && r->budget)
		--*r->budget;
	STAILQ_REMOVE(&be->jobs, j, fake_job, entry);
	return j;
}

static void
job_free(struct fake_job *j)
{
	free(j->queue);
	free(j->payload);
	free(j);
}

/* Serves one waiting reserve, if there is work for it. */
static bool
be_serve(struct fake *be, struct bh_req **at)
{
	struct bh_reserve *r = (struct bh_reserve *)*at;
	struct fake_job *mine[64];
	struct bh_job jobs[64] = {0};
	size_t i, n = 0;

	while (n < (be->batch ? be->batch : r->count) && n < nitems(mine) &&
	    (mine[n] = be_claim(be, r, be->batch && n > 0)))
		n++;
	if (n == 0)
		return false;
	if (be->batch)
		be->last_batch++;
	*at = r->req.priv.next;
	for (i = 0; i < n; i++)
		jobs[i] = (struct bh_job){.id = mine[i]->id,
		    .queue = r->queues[0], .state = BH_ACTIVE,
		    .payload = {mine[i]->payload, strlen(mine[i]->payload)},
		    .attempt = mine[i]->attempt, .attempts = 5,
		    .priority = 5, .timeout_ms = mine[i]->timeout_ms,
		    .token = (uint64_t)mine[i]->id + 1000,
		    .batch = be->batch ? be->last_batch : 0,
		    .created_at = 1, .run_at = 2, .started_at = 3};
	r->jobs = jobs;
	r->njobs = n;
	r->req.status = BH_OK;
	r->req.done(&r->req);
	for (i = 0; i < n; i++)
		job_free(mine[i]);
	return true;
}

static void
be_turn(struct fake *be)
{
	struct bh_req *req, **at = &be->reserves;

	while (*at)
		if (!be_serve(be, at))
			at = &(*at)->priv.next;
	while ((req = be->done)) {
		be->done = req->priv.next;
		if (!be->done)
			be->done_tail = &be->done;
		req->done(req);
	}
}

int64_t
poolfix_add(struct poolfix *f, const char *queue, const char *payload)
{
	struct fake_job *j = xcalloc(1, sizeof(*j));

	j->id = ++f->be.next_id;
	j->queue = xstrdup(queue);
	j->payload = xstrdup(payload);
	j->timeout_ms = 20000;
	j->attempt = 1;
	STAILQ_INSERT_TAIL(&f->be.jobs, j, entry);
	return j->id;
}

static void
on_wake(void *arg)
{
	struct poolfix *f = arg;

	pthread_mutex_lock(&f->lock);
	f->wake = true;
	pthread_cond_signal(&f->woken);
	pthread_mutex_unlock(&f->lock);
}

static void
on_loaded(void *arg, bool ok, const char *report)
{
	struct poolfix *f = arg;

	f->loads++;
	f->load_ok = ok;
	snprintf(f->report, sizeof(f->report), "%s", report);
}

void
poolfix_turn(struct poolfix *f)
{
	pool_take(f->pool, clock_mono_us() / 1000);
	pool_feed(f->pool);
	be_turn(&f->be);
}

void
poolfix_wait(struct poolfix *f)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_S;
	pthread_mutex_lock(&f->lock);
	while (!f->wake && rc == 0)
		rc = pthread_cond_timedwait(&f->woken, &f->lock, &until);
	f->wake = false;
	pthread_mutex_unlock(&f->lock);
	if (rc != 0)
		fail_msg("nothing happens any more");
}

void
poolfix_load(struct poolfix *f)
{
	int before = f->loads;

	pool_load(f->pool, &f->lua.conf, on_loaded, f);
	UNTIL(f, f->loads > before);
}

void
poolfix_script(struct poolfix *f, const char *name, const char *text)
{
	luafix_write(f->lua.scripts, name, text);
}

const struct fake_end *
poolfix_end(struct poolfix *f, int64_t id)
{
	size_t i;

	for (i = 0; i < f->be.nends; i++)
		if (f->be.ends[i].id == id)
			return &f->be.ends[i];
	return NULL;
}

const struct fake_end *
poolfix_run(struct poolfix *f, const char *queue, const char *payload)
{
	int64_t id = poolfix_add(f, queue, payload);

	UNTIL(f, poolfix_end(f, id));
	return poolfix_end(f, id);
}

int
poolfix_setup(void **state)
{
	struct poolfix *f = xcalloc(1, sizeof(*f));
	struct pool_config config;

	/* The jobs' own failures are no news here. */
	log_set_level(LOG_ERROR);
	luafix_init(&f->lua);
	STAILQ_INIT(&f->be.jobs);
	f->be.done_tail = &f->be.done;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->woken, NULL);
	f->qopts = qopts_new();
	f->env = (struct cmd_env){.ops = &be_ops, .be = &f->be,
	    .conf = &f->lua.conf};
	config = (struct pool_config){.conf = &f->lua.conf,
	    .qopts = f->qopts, .env = &f->env, .wake = on_wake,
	    .wake_arg = f};
	f->pool = pool_new(&config);
	*state = f;
	return 0;
}

int
poolfix_teardown(void **state)
{
	struct poolfix *f = *state;
	struct fake_job *j;

	pool_drain(f->pool);
	pool_stop_handlers(f->pool);
	UNTIL(f, pool_running(f->pool) == 0);
	poolfix_turn(f);
	pool_free(&f->pool);
	while ((j = STAILQ_FIRST(&f->be.jobs))) {
		STAILQ_REMOVE_HEAD(&f->be.jobs, entry);
		job_free(j);
	}
	qopts_free(&f->qopts);
	pthread_cond_destroy(&f->woken);
	pthread_mutex_destroy(&f->lock);
	luafix_done(&f->lua);
	free(f);
	return 0;
}

void
poolfix_backend(struct poolfix *f)
{
	be_turn(&f->be);
}
