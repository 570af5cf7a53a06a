/* SPDX-License-Identifier: MIT */
/*
 * Loading, in steps that never wait for the disk or for Lua:
 *
 *   pool_load ─► TO_SCAN ─► pool_scanned ─► TO_CHECK for each new or changed
 *   file ─► pool_checked, the last one ─► settle: queues are given out in the
 *   order of the file names ─► publish: new versions are in force for runs
 *   that begin from now on, old ones end with their last run ─► schedules
 *
 * A file that is refused leaves its last good version in force, unless a
 * script before it serves that queue now.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "script/pool_impl.h"

static void
set_error(struct script *s, char *error)
{
	free(s->error);
	s->error = error;
}

static void
script_free(struct pool *p, struct script *s)
{
	TAILQ_REMOVE(&p->scripts, s, entry);
	source_unref(&s->src);
	source_unref(&s->fresh);
	free(s->file);
	free(s->error);
	free(s->guess);
	free(s->guess_hook);
	free(s);
}

static void
load_forget(struct load_job *l)
{
	struct load_ear *e;

	while ((e = l->ears)) {
		l->ears = e->next;
		free(e);
	}
	while ((e = l->next_ears)) {
		l->next_ears = e->next;
		free(e);
	}
	script_env_unref(&l->env);
	free(l->dir);
	l->dir = NULL;
	buf_done(&l->report);
}

void
pool_scripts_free(struct pool *p)
{
	while (!TAILQ_EMPTY(&p->scripts))
		script_free(p, TAILQ_FIRST(&p->scripts));
	load_forget(&p->load);
	script_env_unref(&p->script_env);
}

static void
load_start(struct pool *p, const struct conf *conf)
{
	struct load_job *l = &p->load;
	struct scan *s = xcalloc(1, sizeof(*s));

	l->active = true;
	l->ok = true;
	script_env_unref(&l->env);
	l->env = script_env_new(conf);
	l->env->libs = p->config.env->lua_libs;
	l->env->nlibs = p->config.env->nlua_libs;
	free(l->dir);
	l->dir = xstrdup(conf->scripts_dir);
	buf_reset(&l->report, 0);
	atomic_store(&p->memory.limit, conf->scripts_memory);
	pool_slots_set(p, conf->script_slots);
	s->m.kind = TO_SCAN;
	s->dir = xstrdup(l->dir);
	s->env = script_env_ref(l->env);
	worker_send(p->threads[0].worker, &s->m);
}

void
pool_load(struct pool *p, const struct conf *conf,
    void (*done)(void *user, bool ok, const char *report), void *user)
{
	struct load_job *l = &p->load;
	struct load_ear *e = NULL, **tail;

	if (done) {
		e = xcalloc(1, sizeof(*e));
		e->done = done;
		e->user = user;
		tail = l->active ? &l->next_ears : &l->ears;
		while (*tail)
			tail = &(*tail)->next;
		*tail = e;
	}
	/* One that runs has read files that may have changed since. */
	if (l->active)
		l->again = true;
	else
		load_start(p, conf);
}

/* A line of the report and of the log; an error makes the whole load fail. */
void
pool_load_tell(struct pool *p, enum log_event event, const char *fmt, ...)
{
	bool error = event == EVENT_SCRIPT_BROKEN;
	struct buf line = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	log_about(error ? LOG_ERROR : LOG_INFO,
	    &(struct log_about){.event = event}, "%s", buf_str(&line));
	buf_addf(&p->load.report, "%s\n", buf_str(&line));
	buf_done(&line);
	if (error)
		p->load.ok = false;
}

/* Nobody asked for this one: the log has its news. */
static void
nobody(void *user, bool ok, const char *report)
{
	(void)user, (void)ok, (void)report;
}

void
pool_changed(struct pool *p)
{
	pool_load(p, p->env->conf, nobody, NULL);
}

void
pool_load_done(struct pool *p)
{
	struct load_job *l = &p->load;
	struct load_ear *e, *ears = l->ears;
	char *report = buf_take(&l->report);
	bool ok = l->ok;

	p->loaded = true;
	p->generation++;
	script_env_unref(&p->script_env);
	p->script_env = l->env;
	l->env = NULL;
	l->active = false;
	l->ears = l->next_ears;
	l->next_ears = NULL;
	if (l->again) {
		l->again = false;
		load_start(p, p->env->conf);
	}
	while ((e = ears)) {
		ears = e->next;
		e->done(e->user, ok, report);
		free(e);
	}
	free(report);
}

static void
refuse(struct pool *p, struct script *s, char *error)
{
	source_unref(&s->fresh);
	set_error(s, error);
	pool_load_tell(p, EVENT_SCRIPT_BROKEN, "%s", error);
}

static struct script *
script_get(struct pool *p, const char *file)
{
	struct script *s, *made;

	TAILQ_FOREACH(s, &p->scripts, entry) {
		int order = strcmp(s->file, file);

		if (order == 0)
			return s;
		if (order > 0)
			break;
	}
	made = xcalloc(1, sizeof(*made));
	made->file = xstrdup(file);
	if (s)
		TAILQ_INSERT_BEFORE(s, made, entry);
	else
		TAILQ_INSERT_TAIL(&p->scripts, made, entry);
	return made;
}

static bool
is_unchanged(const struct pool *p, const struct script *s,
    const struct source *src)
{
	return s->src && !s->error && !p->load.modules_changed &&
	    strcmp(s->src->version, src->version) == 0 &&
	    script_env_equal(s->src->env, src->env);
}

static void
consider(struct pool *p, struct found *f)
{
	struct script *s = script_get(p, f->file);
	struct check *c;

	s->seen = true;
	if (!f->src) {
		refuse(p, s, f->error);
		f->error = NULL;
		return;
	}
	if (is_unchanged(p, s, f->src))
		return;
	free(s->guess);
	s->guess = source_guess_queue(f->src->text, f->src->len);
	free(s->guess_hook);
	s->guess_hook = source_guess_hook(f->src->text, f->src->len);
	s->fresh = f->src;
	f->src = NULL;
	c = xcalloc(1, sizeof(*c));
	c->m.kind = TO_CHECK;
	c->src = source_ref(s->fresh);
	p->load.waits++;
	worker_send(p->threads[0].worker, &c->m);
}

/* A version that no run may use any more. */
static void
retire(struct pool *p, struct source **src)
{
	int i;

	for (i = 0; *src && i < p->nthreads; i++)
		worker_send(p->threads[i].worker,
		    &note_new(TO_RETIRE, *src, 0)->m);
	source_unref(src);
}

/* What two scripts may not both have: "queue \"a\" is served", or NULL. */
static char *
clash(const struct script_opts *a, const struct script_opts *b)
{
	if (a->performs && b->performs && strcmp(a->queue, b->queue) == 0)
		return xasprintf("queue \"%s\" is served", a->queue);
	if (*a->hook.name && strcmp(a->hook.name, b->hook.name) == 0)
		return xasprintf("hook \"%s\" is declared", a->hook.name);
	return NULL;
}

/* The first script before s that will have what s wants too; *what says it
 * (the caller frees). */
static struct script *
taken_by(struct pool *p, const struct script *s,
    const struct script_opts *opts, char **what)
{
	struct script *o;

	TAILQ_FOREACH(o, &p->scripts, entry) {
		if (o == s)
			return NULL;
		if (!o->fresh && !o->src)
			continue;
		*what = clash(opts, o->fresh ? &o->fresh_opts : &o->opts);
		if (*what)
			return o;
	}
	return NULL;
}

static void
refuse_taken(struct pool *p, struct script *s, const char *what,
    const struct script *by)
{
	struct source *src = s->fresh;

	s->fresh = NULL;
	refuse(p, s, xasprintf("%s: %s by %s already", s->file, what,
	    by->file));
	retire(p, &src);
}

/* Whether the script may have its queue and its hook; it loses its old ones
 * too when a script before it has taken them. */
static void
settle_one(struct pool *p, struct script *s)
{
	const struct script *by;
	char *what = NULL;

	if (s->fresh) {
		by = taken_by(p, s, &s->fresh_opts, &what);
		if (by)
			refuse_taken(p, s, what, by);
		free(what);
		what = NULL;
	}
	if (s->fresh || !s->src)
		return;
	by = taken_by(p, s, &s->opts, &what);
	if (by && !s->error)
		refuse_taken(p, s, what, by);
	free(what);
	if (by)
		retire(p, &s->src);
}

/* "queue a", "hook b" and the like, for the report. */
static void
say_parts(const struct script_opts *o, struct buf *out)
{
	if (o->performs)
		buf_addf(out, ", queue %s", o->queue);
	if (*o->hook.name)
		buf_addf(out, ", hook %s", o->hook.name);
	if (o->topics.n)
		buf_addf(out, ", %d topic%s", o->topics.n,
		    o->topics.n > 1 ? "s" : "");
}

static void
put_in_force(struct pool *p, struct script *s)
{
	bool same = s->src && strcmp(s->src->version, s->fresh->version) == 0;
	struct buf parts = BUF_INIT;
	int i;

	say_parts(&s->fresh_opts, &parts);
	pool_load_tell(p, EVENT_SCRIPT_LOADED,
	    "%s: loaded%s, version %s%s", s->file,
	    same ? " again (its modules or the configuration have "
	    "changed)" : "", s->fresh->version, buf_str(&parts));
	buf_done(&parts);
	retire(p, &s->src);
	s->src = s->fresh;
	s->opts = s->fresh_opts;
	s->fresh = NULL;
	s->loaded_at = clock_now().wall_ms;
	set_error(s, NULL);
	/* Thread 0 has it from the check. */
	for (i = 1; i < p->nthreads; i++)
		worker_send(p->threads[i].worker,
		    &note_new(TO_LOAD, s->src, 0)->m);
}

static void
remove_gone(struct pool *p)
{
	struct script *s, *next;

	TAILQ_FOREACH_SAFE(s, &p->scripts, entry, next) {
		if (s->seen)
			continue;
		if (s->src && s->opts.performs)
			pool_load_tell(p, EVENT_SCRIPT_REMOVED,
			    "%s: removed, queue %s has no handler now",
			    s->file, s->opts.queue);
		else
			pool_load_tell(p, EVENT_SCRIPT_REMOVED,
			    "%s: removed", s->file);
		retire(p, &s->src);
		script_free(p, s);
	}
}

void
pool_refresh(struct pool *p)
{
	struct bh_queue_opts o;
	struct served *q;

	TAILQ_FOREACH(q, &p->served, entry) {
		if (!q->script)
			continue;
		qopts_resolve(p->config.qopts, q->queue, &o);
		q->concurrency = o.concurrency;
	}
}

/* Queues, their options and their handlers as the scripts are now. */
static void
publish(struct pool *p)
{
	struct script *s;
	struct served *q;

	TAILQ_FOREACH(q, &p->served, entry)
		q->script = NULL;
	TAILQ_FOREACH(s, &p->scripts, entry)
		if (s->src && s->opts.performs)
			pool_served_get(p, s->opts.queue)->script = s;
	TAILQ_FOREACH(q, &p->served, entry) {
		qopts_script_set(p->config.qopts, q->queue,
		    q->script ? &q->script->opts.opts : NULL);
		if (!q->script)
			pool_feed_cancel(p, q);
	}
	pool_refresh(p);
	pool_topics_publish(p);
	if (p->env->be)
		p->env->ops->options_changed(p->env->be);
}

static void
settle(struct pool *p)
{
	struct script *s;

	remove_gone(p);
	TAILQ_FOREACH(s, &p->scripts, entry)
		settle_one(p, s);
	TAILQ_FOREACH(s, &p->scripts, entry)
		if (s->fresh)
			put_in_force(p, s);
	publish(p);
	p->load.settling = pool_schedules_settle(p);
	if (!p->load.settling)
		pool_load_done(p);
}

void
pool_scanned(struct pool *p, struct scan *s)
{
	struct script *o;
	size_t i;

	if (s->error) {
		pool_load_tell(p, EVENT_SCRIPT_BROKEN, "%s", s->error);
		msg_free(&s->m);
		pool_refresh(p);
		pool_load_done(p);
		return;
	}
	p->load.modules_changed = strcmp(p->modules, s->modules) != 0;
	memcpy(p->modules, s->modules, sizeof(p->modules));
	TAILQ_FOREACH(o, &p->scripts, entry)
		o->seen = false;
	p->load.waits = 1;
	for (i = 0; i < s->nfiles; i++)
		consider(p, &s->files[i]);
	msg_free(&s->m);
	if (--p->load.waits == 0)
		settle(p);
}

void
pool_checked(struct pool *p, struct check *c)
{
	struct script *s;

	TAILQ_FOREACH(s, &p->scripts, entry)
		if (s->fresh == c->src)
			break;
	CHECK(s);
	if (c->error) {
		refuse(p, s, c->error);
		c->error = NULL;
	} else {
		s->fresh_opts = c->opts;
		set_error(s, NULL);
	}
	msg_free(&c->m);
	if (--p->load.waits == 0)
		settle(p);
}
