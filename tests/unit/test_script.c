/* SPDX-License-Identifier: MIT */
/* The pool with real script threads, against a small backend in this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bsd/sys/queue.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "lib/luafix.h"
#include "script/pool.h"

#define DEADLINE_S 30

/* ThreadSanitizer holds signals back while foreign code spins. */
#ifdef __SANITIZE_THREAD__
#define NEEDS_TICKS() skip()
#else
#define NEEDS_TICKS() (void)0
#endif

struct fake_job {
	STAILQ_ENTRY(fake_job) entry;
	int64_t id;
	char *queue, *payload;
	int64_t timeout_ms;
	int32_t attempt;
};

/* How an attempt ended. */
struct fake_end {
	int64_t id;
	enum bh_outcome outcome;
	bool final;
	int64_t delay_ms;
	char text[400];
	char version[16];
};

struct fake {
	STAILQ_HEAD(, fake_job) jobs;
	struct bh_req *reserves, *done, **done_tail;
	struct fake_end ends[512];
	size_t nends;
	int64_t next_id;
	int64_t callbacks_done[16];
	size_t ncallbacks;
	int options_changed;
	char progress[64];
	char added[200];		/* last job_put: queue=payload */
	bool stale;			/* job_extend is refused */
};

struct fixture {
	struct luafix lua;
	struct fake be;
	struct cmd_env env;
	struct qopts *qopts;
	struct pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool wake;
	int loads;
	bool load_ok;
	char report[4000];
};

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

	snprintf(be->added, sizeof(be->added), "%.*s=%.*s", (int)r->queue.len,
	    r->queue.data, (int)r->payloads[0].len, r->payloads[0].data);
	if (r->queue.len == 4 && memcmp(r->queue.data, "full", 4) == 0) {
		r->req.status = BH_E_QUEUEFULL;
		strcpy(r->req.text, "the queue has 0 of 0");
	}
	r->ids[0] = 77;
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
	.job_reserve = be_reserve,
	.job_finish = be_finish,
	.job_extend = be_extend,
	.cancel = be_cancel,
	.options_changed = be_options_changed,
	.callback_done = be_callback_done,
};

static struct fake_job *
be_claim(struct fake *be, struct bh_reserve *r)
{
	struct fake_job *j;

	STAILQ_FOREACH(j, &be->jobs, entry)
		if (strlen(j->queue) == r->queues[0].len && memcmp(j->queue,
		    r->queues[0].data, r->queues[0].len) == 0)
			break;
	if (!j || (r->budget && *r->budget == 0))
		return NULL;
	if (r->budget)
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

	while (n < r->count && n < nitems(mine) && (mine[n] = be_claim(be, r)))
		n++;
	if (n == 0)
		return false;
	*at = r->req.priv.next;
	for (i = 0; i < n; i++)
		jobs[i] = (struct bh_job){.id = mine[i]->id,
		    .queue = r->queues[0], .state = BH_ACTIVE,
		    .payload = {mine[i]->payload, strlen(mine[i]->payload)},
		    .attempt = mine[i]->attempt, .attempts = 5,
		    .priority = 5, .timeout_ms = mine[i]->timeout_ms,
		    .token = (uint64_t)mine[i]->id + 1000,
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

static int64_t
add(struct fixture *f, const char *queue, const char *payload)
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
	struct fixture *f = arg;

	pthread_mutex_lock(&f->lock);
	f->wake = true;
	pthread_cond_signal(&f->woken);
	pthread_mutex_unlock(&f->lock);
}

static void
on_loaded(void *arg, bool ok, const char *report)
{
	struct fixture *f = arg;

	f->loads++;
	f->load_ok = ok;
	snprintf(f->report, sizeof(f->report), "%s", report);
}

static void
turn(struct fixture *f)
{
	pool_take(f->pool, clock_mono_us() / 1000);
	pool_feed(f->pool);
	be_turn(&f->be);
}

/* Waits for a wake from a script thread; fails the test after a while. */
static void
wait_wake(struct fixture *f)
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

#define UNTIL(f, cond)                                                    \
	do {                                                              \
		turn(f);                                                  \
		while (!(cond)) {                                         \
			wait_wake(f);                                     \
			turn(f);                                          \
		}                                                         \
	} while (0)

static void
load(struct fixture *f)
{
	int before = f->loads;

	pool_load(f->pool, &f->lua.conf, on_loaded, f);
	UNTIL(f, f->loads > before);
}

static void
script(struct fixture *f, const char *name, const char *text)
{
	luafix_write(f->lua.scripts, name, text);
}

static const struct fake_end *
end_of(struct fixture *f, int64_t id)
{
	size_t i;

	for (i = 0; i < f->be.nends; i++)
		if (f->be.ends[i].id == id)
			return &f->be.ends[i];
	return NULL;
}

/* Adds a job and waits for its end. */
static const struct fake_end *
run(struct fixture *f, const char *queue, const char *payload)
{
	int64_t id = add(f, queue, payload);

	UNTIL(f, end_of(f, id));
	return end_of(f, id);
}

static int
setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
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

static int
teardown(void **state)
{
	struct fixture *f = *state;
	struct fake_job *j;

	pool_drain(f->pool);
	pool_stop_handlers(f->pool);
	UNTIL(f, pool_running(f->pool) == 0);
	turn(f);
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

static void
test_job_runs_and_result_is_json(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "assert(job.queue == 'q' and job.attempt == 1 and "
	    "job.attempts == 5 and math.type(job.created_at) == 'integer')\n"
	    "return { id = job.id, n = job.data.n + 1 } end }");
	load(f);
	assert_true(f->load_ok);
	assert_non_null(strstr(f->report, "loaded, version"));
	e = run(f, "q", "{\"n\":41}");
	assert_int_equal(e->outcome, BH_DONE);
	assert_true(strcmp(e->text, "{\"id\":\"1\",\"n\":42}") == 0 ||
	    strcmp(e->text, "{\"n\":42,\"id\":\"1\"}") == 0);
	assert_int_equal(strlen(e->version), 12);
}

static void
test_no_result_is_none(void **state)
{
	struct fixture *f = *state;

	script(f, "a.lua", "return { queue = 'q', perform = function() end }");
	load(f);
	assert_string_equal(run(f, "q", "x")->text, "-");
}

static void
test_error_is_retried_with_file_and_line(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "error('boom') end }");
	load(f);
	e = run(f, "q", "x");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_false(e->final);
	assert_int_equal(e->delay_ms, -1);
	assert_string_equal(e->text, "a.lua:2: boom");
}

static void
test_retry_snooze_and_fail_end_the_run(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'retry' then return job:retry('2m', 'busy') end\n"
	    "if job.body == 'bare' then pcall(job.retry, job, 3) end\n"
	    "if job.body == 'snooze' then job:snooze('90') end\n"
	    "if job.body == 'backoff' then job:snooze() end\n"
	    "if job.body == 'date' then "
	    "job:snooze('Sun, 06 Nov 1994 08:49:37 GMT') end\n"
	    "if job.body == 'fail' then job:fail('no such guest') end\n"
	    "error('not reached') end }");
	load(f);
	e = run(f, "q", "retry");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_int_equal(e->delay_ms, 120000);
	assert_false(e->final);
	assert_string_equal(e->text, "busy");
	assert_int_equal(run(f, "q", "bare")->delay_ms, 3000);
	e = run(f, "q", "snooze");
	assert_int_equal(e->outcome, BH_RELEASE);
	assert_int_equal(e->delay_ms, 90000);
	e = run(f, "q", "backoff");
	assert_int_equal(e->outcome, BH_RELEASE);
	assert_int_equal(e->delay_ms, 5000);
	assert_int_equal(run(f, "q", "date")->delay_ms, 0);
	e = run(f, "q", "fail");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_true(e->final);
	assert_string_equal(e->text, "no such guest");
}

static void
test_concurrency_bounds_what_is_asked_for(void **state)
{
	struct fixture *f = *state;
	struct bh_why why = {0};
	int i;

	script(f, "a.lua", "return { queue = 'q', concurrency = 3, "
	    "perform = function() sleep(600) end }");
	load(f);
	for (i = 0; i < 5; i++)
		add(f, "q", "x");
	turn(f);
	turn(f);
	assert_int_equal(pool_running(f->pool), 3);
	assert_true(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_CONCURRENCY);
}

static void
test_slots_are_shared_by_all_queues(void **state)
{
	struct fixture *f = *state;
	int i;

	f->lua.conf.script_slots = 4;
	script(f, "a.lua", "return { queue = 'a', "
	    "perform = function() sleep(600) end }");
	script(f, "b.lua", "return { queue = 'b', "
	    "perform = function() sleep(600) end }");
	load(f);
	for (i = 0; i < 5; i++) {
		add(f, "a", "x");
		add(f, "b", "x");
	}
	turn(f);
	turn(f);
	assert_int_equal(pool_running(f->pool), 4);
	f->lua.conf.script_slots = 7;
	load(f);
	turn(f);
	assert_int_equal(pool_running(f->pool), 7);
}

static void
test_many_jobs_all_end_once(void **state)
{
	struct fixture *f = *state;
	int64_t i;

	script(f, "a.lua", "return { queue = 'q', concurrency = 50, "
	    "perform = function(job) if tonumber(job.id) % 3 == 0 then "
	    "sleep(0.001) end return job.id end }");
	load(f);
	for (i = 0; i < 400; i++)
		add(f, "q", "x");
	UNTIL(f, f->be.nends == 400);
	for (i = 1; i <= 400; i++) {
		char want[16];

		snprintf(want, sizeof(want), "\"%d\"", (int)i);
		assert_string_equal(end_of(f, i)->text, want);
	}
	assert_int_equal(pool_running(f->pool), 0);
}

static void
test_timeout_ends_a_waiting_run(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;
	int64_t id;

	script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() sleep(600) end }");
	load(f);
	id = add(f, "q", "x");
	STAILQ_FIRST(&f->be.jobs)->timeout_ms = 50;
	UNTIL(f, end_of(f, id));
	e = end_of(f, id);
	assert_int_equal(e->outcome, BH_FAIL);
	assert_false(e->final);
	assert_string_equal(e->text, "timeout after 50 ms");
}

static void
test_cancel_is_seen_and_fails_the_job(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;
	int64_t id;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress('started')\n"
	    "while not job:cancelled() do sleep(0.005) end\n"
	    "queue.add('seen', job.id) end }");
	load(f);
	id = add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	pool_events.cancelled(f->pool, id, (uint64_t)id + 1000,
	    (struct bh_bytes){"why", 3});
	UNTIL(f, end_of(f, id));
	e = end_of(f, id);
	assert_string_equal(f->be.added, "seen=1");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_true(e->final);
	assert_string_equal(e->text, "cancelled");
}

static void
test_cancel_with_an_old_token_is_ignored(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress(1) return job:cancelled() end }");
	load(f);
	id = add(f, "q", "x");
	turn(f);
	turn(f);
	pool_events.cancelled(f->pool, id, 5, (struct bh_bytes){NULL, 0});
	UNTIL(f, end_of(f, id));
	assert_string_equal(end_of(f, id)->text, "false");
}

static void
test_store_calls_are_answered(void **state)
{
	struct fixture *f = *state;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "return queue.add('other', { a = 1 }) end }");
	load(f);
	assert_string_equal(run(f, "q", "x")->text, "\"77\"");
	assert_string_equal(f->be.added, "other={\"a\":1}");
}

static void
test_store_errors_are_raised(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "local ok, e = pcall(queue.add, 'full', 'x')\n"
	    "assert(not ok)\n"
	    "return e end }");
	load(f);
	e = run(f, "q", "x");
	assert_int_equal(e->outcome, BH_DONE);
	assert_non_null(strstr(e->text, "QUEUEFULL"));
}

static void
test_progress_tells_whether_the_job_is_still_held(void **state)
{
	struct fixture *f = *state;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "return job:progress({ step = 2 }) end }");
	load(f);
	assert_string_equal(run(f, "q", "x")->text, "true");
	assert_string_equal(f->be.progress, "{\"step\":2}");
	f->be.stale = true;
	assert_string_equal(run(f, "q", "x")->text, "false");
}

static void
test_answer_after_timeout_is_dropped(void **state)
{
	struct fixture *f = *state;
	int64_t id;
	int i;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'x' then job:progress(1) end end }");
	load(f);
	id = add(f, "q", "x");
	STAILQ_FIRST(&f->be.jobs)->timeout_ms = 30;
	/* The backend gives the job out, then answers nothing for a while. */
	pool_feed(f->pool);
	be_turn(&f->be);
	for (i = 0; !end_of(f, id) && i < 1000; i++) {
		wait_wake(f);
		pool_take(f->pool, 0);
	}
	assert_string_equal(end_of(f, id)->text, "timeout after 30 ms");
	turn(f);
	assert_int_equal(run(f, "q", "y")->outcome, BH_DONE);
}

static void
test_broken_script_keeps_old_version(void **state)
{
	struct fixture *f = *state;
	struct script_info info;
	char want[120];

	script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 1 end }");
	load(f);
	script(f, "a.lua", "return {\n queue = 'q' perform }");
	load(f);
	assert_false(f->load_ok);
	snprintf(want, sizeof(want), "%s/a.lua:2: ", f->lua.scripts);
	assert_non_null(strstr(f->report, want));
	assert_string_equal(run(f, "q", "x")->text, "1");
	assert_true(pool_script_at(f->pool, 0, &info));
	assert_non_null(strstr(info.error, "a.lua:2: "));
	assert_string_equal(info.queue, "q");
	assert_false(pool_script_at(f->pool, 1, &info));
}

static void
test_queue_of_never_loaded_script_is_broken(void **state)
{
	struct fixture *f = *state;
	struct bh_why why = {0};

	script(f, "a.lua", "return {\n queue = 'q',\n perform = = 1 }");
	load(f);
	assert_false(f->load_ok);
	add(f, "q", "x");
	turn(f);
	assert_int_equal(pool_running(f->pool), 0);
	assert_true(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_BROKEN);
	assert_non_null(strstr(why.text, "a.lua:3: "));
	assert_true(pool_gate(f->pool, (struct bh_bytes){"r", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_NO_HANDLER);
	script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() end }");
	load(f);
	assert_true(f->load_ok);
	UNTIL(f, end_of(f, 1));
	assert_false(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
}

static void
test_running_job_ends_on_its_version(void **state)
{
	struct fixture *f = *state;
	char old[16];
	int64_t id;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress('on') while true do "
	    "local s = queue.add('go', 'x') if s == '77' then break end end\n"
	    "sleep(0.02) return 'old' end }");
	load(f);
	id = add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 'new' end }");
	load(f);
	UNTIL(f, end_of(f, id));
	assert_string_equal(end_of(f, id)->text, "\"old\"");
	strcpy(old, end_of(f, id)->version);
	assert_string_equal(run(f, "q", "x")->text, "\"new\"");
	assert_string_not_equal(end_of(f, id + 1)->version, old);
}

static void
test_unchanged_script_is_not_reported(void **state)
{
	struct fixture *f = *state;

	script(f, "a.lua", "return { queue = 'q', perform = function() end }");
	load(f);
	load(f);
	assert_true(f->load_ok);
	assert_string_equal(f->report, "");
}

static void
test_second_script_for_a_queue_is_refused(void **state)
{
	struct fixture *f = *state;

	script(f, "b.lua", "return { queue = 'q', "
	    "perform = function() return 'b' end }");
	script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 'a' end }");
	load(f);
	assert_false(f->load_ok);
	assert_non_null(strstr(f->report, "b.lua: queue \"q\" is served by "));
	assert_non_null(strstr(f->report, "a.lua already"));
	assert_string_equal(run(f, "q", "x")->text, "\"a\"");
	luafix_remove(f->lua.scripts, "a.lua");
	load(f);
	assert_true(f->load_ok);
	assert_string_equal(run(f, "q", "x")->text, "\"b\"");
}

static void
test_removed_script_serves_no_longer(void **state)
{
	struct fixture *f = *state;
	struct bh_why why = {0};

	script(f, "a.lua", "return { queue = 'q', perform = function() end }");
	load(f);
	turn(f);
	luafix_remove(f->lua.scripts, "a.lua");
	load(f);
	assert_non_null(strstr(f->report, "removed, queue q"));
	add(f, "q", "x");
	turn(f);
	turn(f);
	assert_int_equal(f->be.nends, 0);
	assert_int_equal(pool_running(f->pool), 0);
	assert_true(pool_gate(f->pool, (struct bh_bytes){"q", 1}, &why));
	assert_int_equal(why.gate, BH_GATE_NO_HANDLER);
}

static void
test_changed_file_is_taken_by_itself(void **state)
{
	struct fixture *f = *state;
	struct script_info info;

	load(f);
	assert_false(pool_script_at(f->pool, 0, &info));
	script(f, "a.lua", "return { queue = 'q', "
	    "perform = function() return 5 end }");
	UNTIL(f, pool_script_at(f->pool, 0, &info) && *info.version);
	assert_string_equal(run(f, "q", "x")->text, "5");
}

static void
test_options_reach_the_resolver(void **state)
{
	struct fixture *f = *state;
	struct queue_opts o;

	script(f, "a.lua", "return { queue = 'q', concurrency = 4, "
	    "max_active = 7, on_failed = function() end, "
	    "perform = function() end }");
	load(f);
	assert_int_equal(f->be.options_changed, 1);
	qopts_resolve(f->qopts, "q", &o);
	assert_int_equal(o.concurrency, 4);
	assert_int_equal(o.max_active, 7);
	assert_int_equal(o.callbacks, 1 << BH_ON_FAILED);
	luafix_remove(f->lua.scripts, "a.lua");
	load(f);
	qopts_resolve(f->qopts, "q", &o);
	assert_int_equal(o.max_active, 0);
	assert_int_equal(o.callbacks, 0);
}

static void
test_require_is_cached_and_reloaded(void **state)
{
	struct fixture *f = *state;

	luafix_write(f->lua.modules, "m.lua", "return { v = 1 }");
	script(f, "a.lua", "local m = require 'm'\n"
	    "return { queue = 'q', perform = function()\n"
	    "assert(require('m') == m) return m.v end }");
	load(f);
	assert_string_equal(run(f, "q", "x")->text, "1");
	luafix_write(f->lua.modules, "m.lua", "return { v = 22 }");
	load(f);
	assert_non_null(strstr(f->report, "loaded again"));
	assert_string_equal(run(f, "q", "x")->text, "22");
}

static void
test_missing_module_names_it(void **state)
{
	struct fixture *f = *state;

	script(f, "a.lua", "local m = require 'not.there'");
	load(f);
	assert_false(f->load_ok);
	assert_non_null(strstr(f->report, "module 'not.there'"));
	script(f, "a.lua", "local m = require '../../etc/passwd'");
	load(f);
	assert_non_null(strstr(f->report, "a module's name"));
}

static struct bh_callback
owed(int64_t id, enum bh_callback_kind kind)
{
	return (struct bh_callback){.id = id, .kind = kind,
	    .queue = {"q", 1}, .job = 9, .attempt = 2,
	    .payload = {"{\"k\":1}", 7}, .result = {"[1]", 3},
	    .error = {"boom", 4}};
}

static void
test_callbacks_run_and_are_done(void **state)
{
	struct fixture *f = *state;
	struct bh_callback cb;

	script(f, "a.lua", "return { queue = 'q', perform = function() end,\n"
	    "on_failed = function(job, err) "
	    "queue.add('f' .. job.id, err .. job.data.k) end,\n"
	    "on_completed = function(job, r) "
	    "queue.add('c' .. job.attempt, r) end,\n"
	    "on_stalled = function(job, x) error('in callback') end }");
	/* It arrives before the scripts do. */
	cb = owed(1, BH_ON_FAILED);
	pool_events.callback(f->pool, &cb);
	turn(f);
	assert_int_equal(f->be.ncallbacks, 0);
	load(f);
	UNTIL(f, f->be.ncallbacks == 1);
	assert_string_equal(f->be.added, "f9=boom1");
	cb = owed(2, BH_ON_COMPLETED);
	pool_events.callback(f->pool, &cb);
	UNTIL(f, f->be.ncallbacks == 2);
	assert_string_equal(f->be.added, "c2=[1]");
	log_set_level((enum log_level)-1);
	cb = owed(3, BH_ON_STALLED);
	pool_events.callback(f->pool, &cb);
	UNTIL(f, f->be.ncallbacks == 3);
	assert_int_equal(f->be.callbacks_done[2], 3);
	assert_int_equal(f->be.nends, 0);
}

static void
test_callback_nobody_wants_is_done_at_once(void **state)
{
	struct fixture *f = *state;
	struct bh_callback cb = owed(7, BH_ON_FAILED);

	load(f);
	pool_events.callback(f->pool, &cb);
	turn(f);
	assert_int_equal(f->be.ncallbacks, 1);
	assert_int_equal(f->be.callbacks_done[0], 7);
}

static void
test_drain_asks_no_more_and_lets_handlers_end(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress(1) sleep(0.02) return 'ended' end }");
	load(f);
	id = add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	pool_drain(f->pool);
	add(f, "q", "y");
	UNTIL(f, end_of(f, id));
	turn(f);
	assert_string_equal(end_of(f, id)->text, "\"ended\"");
	assert_int_equal(f->be.nends, 1);
}

static void
test_stop_gives_starts_back(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "job:progress(1) sleep(600) end }");
	load(f);
	id = add(f, "q", "x");
	UNTIL(f, f->be.progress[0]);
	pool_stop_handlers(f->pool);
	UNTIL(f, end_of(f, id));
	assert_int_equal(end_of(f, id)->outcome, BH_RELEASE);
}

static void
test_variables_of_one_job_are_not_the_others(void **state)
{
	struct fixture *f = *state;

	f->lua.conf.script_threads = 1;
	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if pcall(function() leaked = 1 end) then return 'set' end\n"
	    "return leaked == nil end }");
	load(f);
	assert_string_equal(run(f, "q", "x")->text, "true");
	assert_string_equal(run(f, "q", "x")->text, "true");
}

static void
test_memory_eater_spares_its_neighbour(void **state)
{
	struct fixture *f = *state;
	const struct fake_end *e;
	int64_t id;

	f->lua.conf.script_memory = 8 << 20;
	f->lua.conf.script_cpu = 20000;
	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'wait' then sleep(0.3) return 'fine' end\n"
	    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t "
	    "end end }");
	load(f);
	id = add(f, "q", "wait");
	turn(f);
	e = run(f, "q", "eat");
	assert_int_equal(e->outcome, BH_FAIL);
	assert_non_null(strstr(e->text, "not enough memory"));
	UNTIL(f, end_of(f, id));
	assert_string_equal(end_of(f, id)->text, "\"fine\"");
}

static void
test_spinner_lets_others_of_its_thread_run(void **state)
{
	NEEDS_TICKS();
	struct fixture *f = *state;
	int64_t spin;

	f->lua.conf.script_cpu = 5000;
	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'spin' then while true do end end end }");
	load(f);
	spin = add(f, "q", "spin");
	turn(f);
	turn(f);
	/* Both threads get some of these. */
	run(f, "q", "a");
	run(f, "q", "b");
	run(f, "q", "c");
	assert_null(end_of(f, spin));
	pool_stop_handlers(f->pool);
	UNTIL(f, end_of(f, spin));
	assert_int_equal(end_of(f, spin)->outcome, BH_RELEASE);
}

static void
test_hung_pattern_fails_alone(void **state)
{
	NEEDS_TICKS();
	struct fixture *f = *state;
	const struct fake_end *e;
	int64_t stuck, other[4];
	size_t i;

	f->lua.conf.script_cpu = 50;
	log_set_level((enum log_level)-1);
	script(f, "a.lua", "return { queue = 'q', perform = function(job)\n"
	    "if job.body == 'stuck' then job:progress('in')\n"
	    "return ('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40) .. "
	    "'b') end\n"
	    "sleep(600) end }");
	script(f, "b.lua", "return { queue = 'r', "
	    "perform = function(job) sleep(3) return 'b' end }");
	load(f);
	for (i = 0; i < nitems(other); i++)
		other[i] = add(f, "q", "wait");
	add(f, "r", "x");
	turn(f);
	stuck = add(f, "q", "stuck");
	UNTIL(f, end_of(f, stuck));
	e = end_of(f, stuck);
	assert_int_equal(e->outcome, BH_FAIL);
	assert_non_null(strstr(e->text, "stuck in a C function"));
	/* Neighbours on that thread and state are given back, no others. */
	for (i = 0; i < nitems(other); i++) {
		e = end_of(f, other[i]);
		assert_true(!e || e->outcome == BH_RELEASE);
	}
	UNTIL(f, end_of(f, 5));
	assert_string_equal(end_of(f, 5)->text, "\"b\"");
	/* A fresh state serves the queue again. */
	stuck = add(f, "q", "stuck");
	UNTIL(f, end_of(f, stuck));
	assert_int_equal(end_of(f, stuck)->outcome, BH_FAIL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_job_runs_and_result_is_json),
		T(test_no_result_is_none),
		T(test_error_is_retried_with_file_and_line),
		T(test_retry_snooze_and_fail_end_the_run),
		T(test_concurrency_bounds_what_is_asked_for),
		T(test_slots_are_shared_by_all_queues),
		T(test_many_jobs_all_end_once),
		T(test_timeout_ends_a_waiting_run),
		T(test_cancel_is_seen_and_fails_the_job),
		T(test_cancel_with_an_old_token_is_ignored),
		T(test_store_calls_are_answered),
		T(test_store_errors_are_raised),
		T(test_progress_tells_whether_the_job_is_still_held),
		T(test_answer_after_timeout_is_dropped),
		T(test_broken_script_keeps_old_version),
		T(test_queue_of_never_loaded_script_is_broken),
		T(test_running_job_ends_on_its_version),
		T(test_unchanged_script_is_not_reported),
		T(test_second_script_for_a_queue_is_refused),
		T(test_removed_script_serves_no_longer),
		T(test_changed_file_is_taken_by_itself),
		T(test_options_reach_the_resolver),
		T(test_require_is_cached_and_reloaded),
		T(test_missing_module_names_it),
		T(test_callbacks_run_and_are_done),
		T(test_callback_nobody_wants_is_done_at_once),
		T(test_drain_asks_no_more_and_lets_handlers_end),
		T(test_stop_gives_starts_back),
		T(test_variables_of_one_job_are_not_the_others),
		T(test_memory_eater_spares_its_neighbour),
		T(test_spinner_lets_others_of_its_thread_run),
		T(test_hung_pattern_fails_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
