/* SPDX-License-Identifier: MIT */
#include "script/dryrun.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/dry_keys.h"
#include "script/load.h"
#include "script/lua_ask.h"
#include "script/outside.h"
#include "script/run.h"

struct dryrun {
	struct host host;		/* first */
	struct script_memory memory;
	struct script_env *env;
	struct source *src;
	struct state *st;
	struct script_opts opts;
	FILE *out;
	struct ask *asked;
	struct dry_keys keys;
	struct bh_step *steps;		/* kept so far; strings are owned */
	size_t nsteps;
	int64_t nap_ms;
	struct ev_loop *loop;		/* NULL: nothing goes out */
	struct outside *outside;
	bool late;			/* the timeout has come */
};

/* Control bytes would disturb the terminal; long values the reader. */
static void
print_value(FILE *out, const char *s, size_t len)
{
	size_t i, n = len > 500 ? 500 : len;

	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	if (n < len)
		fprintf(out, "… (%zu bytes)", len);
}

static void
dry_log(struct host *h, enum log_level level, const struct log_about *about,
    const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	struct dryrun *d = (struct dryrun *)h;

	(void)about;
	fprintf(d->out, "log %s: ", names[level]);
	print_value(d->out, text, strlen(text));
	fputc('\n', d->out);
}

static void
dry_nap(struct host *h, struct run *r, int64_t ms)
{
	(void)r;
	((struct dryrun *)h)->nap_ms = ms;
}

/* As many jobs as JOB.MPUT says. */
static void
dry_added(struct ask *a)
{
	int64_t i, n;

	if (str_int(a->argv[1].data, a->argv[1].len, &n) < 0)
		n = 0;
	resp_put_array(&a->reply, (size_t)n);
	for (i = 0; i < n; i++) {
		resp_put_map(&a->reply, 3, 1);
		resp_put_bulk(&a->reply, "id", 2);
		resp_put_bulk(&a->reply, "0", 1);
	}
}

/* The next run of the job finds it. */
static void
dry_keep(struct dryrun *d, struct bh_bytes name, struct bh_bytes value)
{
	struct bh_step *s;

	d->steps = xrealloc(d->steps, (d->nsteps + 1) * sizeof(*d->steps));
	s = &d->steps[d->nsteps++];
	s->name = (struct bh_bytes){xstrndup(name.data, name.len), name.len};
	s->value = value;
	if (value.data)
		s->value.data = xstrndup(value.data, value.len);
}

/* What each command is answered with; anything else gets OK. */
static void
dry_answer(struct ask *a)
{
	static const char *const zeros[] = {"waiting", "delayed", "active",
	    "completed", "failed", "oldest_waiting_ms", "processed_total",
	    "failed_total", "stalled_total", "p50_ms", "p95_ms", "p99_ms"};
	const struct bh_bytes name = a->argv[0];
	size_t i;

	if (str_is(name.data, name.len, "JOB.ADD")) {
		resp_put_bulk(&a->reply, "0", 1);
	} else if (str_is(name.data, name.len, "JOB.MPUT")) {
		dry_added(a);
	} else if (str_is(name.data, name.len, "JOB.GET")) {
		resp_put_null(&a->reply, 3);
	} else if (str_is(name.data, name.len, "JOB.PROGRESS") ||
	    str_is(name.data, name.len, "JOB.STEP")) {
		resp_put_bool(&a->reply, 3, true);
	} else if (str_is(name.data, name.len, "QUEUE.STATS")) {
		resp_put_map(&a->reply, 3, nitems(zeros) + 1);
		for (i = 0; i < nitems(zeros); i++) {
			resp_put_bulk(&a->reply, zeros[i], strlen(zeros[i]));
			resp_put_int(&a->reply, 0);
		}
		resp_put_bulk(&a->reply, "paused", 6);
		resp_put_bool(&a->reply, 3, false);
	} else {
		resp_put_simple(&a->reply, "OK");
	}
}

static void
dry_ask(struct host *h, struct ask *a)
{
	struct dryrun *d = (struct dryrun *)h;
	size_t i;

	/* What begins with @ is between the library and the daemon. */
	if (a->argv[0].len > 0 && a->argv[0].data[0] != '@') {
		fputs("store:", d->out);
		for (i = 0; i < a->argc; i++) {
			fputc(' ', d->out);
			print_value(d->out, a->argv[i].data, a->argv[i].len);
		}
		fputc('\n', d->out);
	}
	if (a->argc == 3 && str_is(a->argv[0].data, a->argv[0].len,
	    "JOB.STEP"))
		dry_keep(d, a->argv[1], a->argv[2]);
	if (!dry_keys_answer(&d->keys, a))
		dry_answer(a);
	d->asked = a;
}

static void
print_words(FILE *out, char *const *words)
{
	for (; *words; words++) {
		fputc(' ', out);
		print_value(out, *words, strlen(*words));
	}
	fputc('\n', out);
}

/* Prints what would go out, and answers it. */
static void
dry_call(struct dryrun *d, struct call *c)
{
	static const char json[] = "HTTP/1.1 200 OK\r\n"
	    "Content-Type: application/json\r\n";
	struct http_call *h = (struct http_call *)c;

	if (c->kind == CALL_MAIL) {
		fputs("mail:", d->out);
		print_words(d->out, ((struct mail_call *)c)->to);
	} else if (c->kind == CALL_EXEC) {
		fputs("exec:", d->out);
		print_words(d->out, ((struct exec_call *)c)->argv);
	} else {
		fprintf(d->out, "http: %s ", h->method);
		print_value(d->out, h->url, strlen(h->url));
		if (h->body_len) {
			fputc(' ', d->out);
			print_value(d->out, h->body, h->body_len);
		}
		fputc('\n', d->out);
		h->status = 200;
		buf_adds(&h->head, json);
		buf_adds(&h->reply, "{}");
	}
	c->run->call = NULL;
	c->run->called = c;
}

static void
on_called(void *arg, struct call *c)
{
	(void)arg;
	c->run->call = NULL;
	c->run->called = c;
}

static void
on_late(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop;
	(void)events;
	((struct dryrun *)t->data)->late = true;
}

/* Waits for the answer from outside. false: the run's time is over. */
static bool
live_call(struct dryrun *d, struct run *r, int64_t left_ms)
{
	ev_timer t;

	d->late = false;
	ev_now_update(d->loop);
	ev_timer_init(&t, on_late, left_ms > 0 ? (double)left_ms / 1000 : 0,
	    0);
	t.data = d;
	ev_timer_start(d->loop, &t);
	outside_begin(d->outside, r->call);
	while (r->call && !d->late)
		ev_run(d->loop, EVRUN_ONCE);
	ev_timer_stop(d->loop, &t);
	if (!r->call)
		return true;
	outside_cancel(d->outside, r->call);
	r->call = NULL;
	return false;
}

static void
live_open(struct dryrun *d)
{
	signal(SIGPIPE, SIG_IGN);
	d->loop = ev_loop_new(EVFLAG_NOSIGMASK);
	d->outside = outside_new(d->loop, on_called, d);
	d->host.dry = false;
}

static int
dry_open(struct dryrun *d, const char *file, const struct conf *conf,
    FILE *out, struct err *e)
{
	struct buf why = BUF_INIT;
	char *text = NULL;
	int rc = -1;

	memset(d, 0, sizeof(*d));
	d->out = out;
	dry_keys_init(&d->keys);
	d->host.memory = &d->memory;
	d->host.ask = dry_ask;
	d->host.nap = dry_nap;
	d->host.log = dry_log;
	d->host.dry = true;
	atomic_init(&d->memory.used, 0);
	atomic_init(&d->memory.limit, conf->scripts_memory);
	cpu_init(&d->host.cpu);
	d->env = script_env_new(conf);
	if (load_file(file, d->env, &d->src, &text) == 0) {
		d->st = state_new(&d->host, d->src, &d->opts, &why);
		if (!d->st)
			text = source_error(file, buf_str(&why));
	}
	if (d->st)
		rc = 0;
	else
		err_set(e, BH_E_ERR, "%s", text);
	free(text);
	buf_done(&why);
	return rc;
}

static void
free_text(struct bh_bytes b)
{
	union { const char *in; void *out; } p = {b.data};

	free(p.out);
}

static void
dry_close(struct dryrun *d)
{
	while (d->nsteps > 0) {
		d->nsteps--;
		free_text(d->steps[d->nsteps].name);
		free_text(d->steps[d->nsteps].value);
	}
	free(d->steps);
	state_free(&d->st);
	outside_free(&d->outside);
	if (d->loop)
		ev_loop_destroy(d->loop);
	cpu_done(&d->host.cpu);
	dry_keys_done(&d->keys);
	source_unref(&d->src);
	script_env_unref(&d->env);
}

int
script_check(const char *file, const struct conf *conf,
    struct buf *ret_summary, struct err *e)
{
	static const char *const names[] = {"on_completed", "on_failed",
	    "on_stalled"};
	struct dryrun d;
	size_t i;
	int rc;

	rc = dry_open(&d, file, conf, stderr, e);
	if (rc == 0) {
		buf_addf(ret_summary, "%s: ok, version %s", file,
		    d.src->version);
		if (*d.opts.queue)
			buf_addf(ret_summary, ", queue %s", d.opts.queue);
		if (d.opts.performs)
			buf_adds(ret_summary, d.opts.opts.batch_max > 0
			    ? ", perform_batch" : ", perform");
		if (*d.opts.hook.name)
			buf_addf(ret_summary, ", hook %s", d.opts.hook.name);
		for (i = 0; i < (size_t)d.opts.topics.n; i++)
			buf_addf(ret_summary, ", subscribe %s",
			    d.opts.topics.patterns[i]);
		for (i = 0; i < nitems(names); i++)
			if (d.opts.opts.callbacks & 1 << i)
				buf_addf(ret_summary, ", %s", names[i]);
	}
	dry_close(&d);
	return rc;
}

static struct run_msg *
dry_job(const struct dryrun *d, struct bh_bytes payload)
{
	const struct bh_queue_opts *o = &d->opts.opts;
	struct clock_time now = clock_now();
	struct run_msg *m = xcalloc(1, sizeof(*m));

	m->m.kind = TO_RUN;
	m->what = RUN_PERFORM;
	m->src = source_ref(d->src);
	m->token = 1;
	m->priority = 5;
	m->attempt = 1;
	m->attempts = o->attempts > 0 ? (int32_t)o->attempts : 12;
	m->run_at = m->created_at = m->started_at = now.wall_ms;
	m->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 60000;
	m->queue = (struct bh_bytes){d->opts.queue, strlen(d->opts.queue)};
	m->payload = payload;
	if (d->nsteps)
		m->steps = xmemdup(d->steps, d->nsteps * sizeof(*d->steps));
	m->nsteps = d->nsteps;
	return m;
}

/* What perform_batch gets: a batch of this one. */
static struct run_msg *
dry_batch(struct run_msg *m)
{
	struct run_msg *b = xcalloc(1, sizeof(*b));

	b->m.kind = TO_RUN;
	b->what = m->what = RUN_BATCH;
	b->src = source_ref(m->src);
	b->timeout_ms = m->timeout_ms;
	b->queue = m->queue;
	b->jobs = xmalloc(sizeof(*b->jobs));
	b->jobs[0] = m;
	b->njobs = 1;
	m->batch = b;
	return b;
}

/* Sleeps as the script wishes. false: it would be timed out by then. */
static bool
dry_sleep(struct dryrun *d, const struct run_msg *m, int64_t begun_us)
{
	int64_t spent = (clock_mono_us() - begun_us) / 1000;
	struct timespec ts = {d->nap_ms / 1000, d->nap_ms % 1000 * 1000000L};

	if (spent + d->nap_ms > m->timeout_ms)
		return false;
	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
	return true;
}

/* What the run waits for, be it a sleep or a call. false: it would be timed
 * out by then. */
static bool
dry_wait(struct dryrun *d, struct run_msg *m, int64_t begun_us)
{
	int64_t spent = (clock_mono_us() - begun_us) / 1000;

	if (m->run.wait == WAIT_SLEEP)
		return dry_sleep(d, m, begun_us);
	if (m->run.wait != WAIT_CALL)
		return true;
	if (d->loop)
		return live_call(d, &m->run, m->timeout_ms - spent);
	dry_call(d, m->run.call);
	return true;
}

static void
dry_drive(struct dryrun *d, struct run_msg *m)
{
	int64_t begun_us = clock_mono_us();
	struct err e;
	size_t used;
	char span[40];

	if (!run_begin(d->st, m))
		return;
	while (!run_step(m)) {
		ask_free(&m->run.answered);
		call_free(&m->run.called);
		if (!dry_wait(d, m, begun_us)) {
			str_span(m->timeout_ms, span, sizeof(span));
			run_end_fail(m, false, "timeout after %s", span);
			run_drop(m);
			break;
		}
		if (!d->asked)
			continue;
		if (resp_decode(buf_peek(&d->asked->reply),
		    buf_size(&d->asked->reply), &d->asked->value, &used,
		    &e) != 1)
			break;
		m->run.ask = NULL;
		m->run.answered = d->asked;
		d->asked = NULL;
	}
	ask_free(&m->run.answered);
	call_free(&m->run.called);
	ask_free(&d->asked);
}

/* 0 when the job would have completed. */
static int
dry_tell(struct dryrun *d, const struct run_msg *m, struct err *e)
{
	char span[40];
	int len;

	if (m->njobs && m->jobs[0]->run.verdict)
		m = m->jobs[0];
	len = (int)(m->end.len > 200 ? 200 : m->end.len);
	if (m->end.outcome == BH_DONE) {
		fputs("result: ", d->out);
		if (m->end.text)
			print_value(d->out, m->end.text, m->end.len);
		else
			fputs("none", d->out);
		fputc('\n', d->out);
		return 0;
	}
	if (m->end.delay_ms >= 0)
		str_span(m->end.delay_ms, span, sizeof(span));
	if (m->end.outcome == BH_RELEASE)
		return err_set(e, BH_E_ERR, "snoozed for %s: %.*s",
		    m->end.delay_ms >= 0 ? span : "the back-off", len,
		    m->end.text ? m->end.text : "");
	return err_set(e, BH_E_ERR, "%s%s: %.*s", m->end.final ?
	    "failed for good" : "failed, would be tried again after ",
	    m->end.final ? "" : m->end.delay_ms >= 0 ? span : "the back-off",
	    len, m->end.text ? m->end.text : "");
}

/* job:sleep() ends a run; nobody wants to wait for the next one. */
static struct run_msg *
dry_again(struct dryrun *d, struct run_msg *m)
{
	struct bh_bytes payload = m->payload, none = {NULL, 0};
	char span[40];

	str_span(m->end.delay_ms, span, sizeof(span));
	fprintf(d->out, "sleep: %s (%s), then again from the top\n", span,
	    m->end.step);
	dry_keep(d, (struct bh_bytes){m->end.step, strlen(m->end.step)},
	    none);
	msg_free(&m->m);
	return dry_job(d, payload);
}

int
script_run(const char *file, const struct conf *conf, struct bh_bytes payload,
    bool live, FILE *out, struct err *e)
{
	struct run_msg *m;
	struct dryrun d;
	int64_t us;
	int rc;

	rc = dry_open(&d, file, conf, out, e);
	if (rc == 0 && !d.opts.performs)
		rc = err_set(e, BH_E_ERR, "%s: it has no perform that could "
		    "be run", file);
	if (rc == 0 && live)
		live_open(&d);
	if (rc == 0) {
		m = dry_job(&d, payload);
		if (d.opts.opts.batch_max > 0)
			m = dry_batch(m);
		us = clock_mono_us();
		dry_drive(&d, m);
		while (m->end.step) {
			m = dry_again(&d, m);
			dry_drive(&d, m);
		}
		us = clock_mono_us() - us;
		rc = dry_tell(&d, m, e);
		fprintf(out, "time: %lld.%03lld ms, memory: %zu KiB\n",
		    (long long)us / 1000, (long long)us % 1000,
		    (d.st->used + 1023) / 1024);
		msg_free(&m->m);
	}
	dry_close(&d);
	return rc;
}
