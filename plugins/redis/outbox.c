/* SPDX-License-Identifier: MIT */
#include "redis/outbox.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "redis/mem.h"
#include "redis/outbox_db.h"

/* A range is asked for anew when less than that is left of it. */

struct alias {
	int64_t id, job;
};

struct outbox {
	struct outbox_config config;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t filled;
	/* Under the lock: errands on their way, and those that are done. */
	struct errand *out, **out_tail;
	struct errand *back, **back_tail;
	bool end;

	/* Main's. */
	struct outbox_db *db;		/* the thread's once it runs */
	size_t under_way;
	int64_t count, ends, bytes;
	int64_t notes[OUTBOX_NOTES];
	bool noted;			/* they are to be written */
	struct alias *aliases;		/* ascending ids */
	size_t naliases, cap;
	struct errand *last_read;	/* what its entries live in */
};

/* --- the thread --- */

static void *
outbox_main(void *arg)
{
	struct outbox *o = arg;
	struct errand *list, *last;
	bool end = false;

	while (!end) {
		pthread_mutex_lock(&o->lock);
		while (!o->out && !o->end)
			pthread_cond_wait(&o->filled, &o->lock);
		list = o->out;
		o->out = NULL;
		o->out_tail = &o->out;
		end = o->end && !list;
		pthread_mutex_unlock(&o->lock);
		if (!list)
			continue;
		outbox_db_run(o->db, list);
		for (last = list; last->next; last = last->next)
			;
		pthread_mutex_lock(&o->lock);
		*o->back_tail = list;
		o->back_tail = &last->next;
		pthread_mutex_unlock(&o->lock);
		o->config.wake();
	}
	return NULL;
}

static void
send(struct outbox *o, struct errand *a)
{
	a->next = NULL;
	o->under_way++;
	pthread_mutex_lock(&o->lock);
	*o->out_tail = a;
	o->out_tail = &a->next;
	pthread_cond_signal(&o->filled);
	pthread_mutex_unlock(&o->lock);
}

static struct errand *
errand_new(enum errand_op op)
{
	struct errand *a = mem_new(sizeof(*a));

	a->op = op;
	return a;
}

/* --- life --- */

static void
add_alias(struct outbox *o, int64_t id, int64_t job)
{
	if (o->naliases == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 64;
		o->aliases = mem_grow(o->aliases, o->cap *
		    sizeof(*o->aliases));
	}
	o->aliases[o->naliases++] = (struct alias){id, job};
}

static void
load_alias(void *arg, int64_t id, int64_t job)
{
	add_alias(arg, id, job);
}

int
outbox_open(struct outbox **ret, const struct outbox_config *c,
    char err[BH_ERROR_TEXT])
{
	struct outbox *o = mem_new(sizeof(*o));
	sigset_t all, before;

	o->config = *c;
	o->out_tail = &o->out;
	o->back_tail = &o->back;
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->filled, NULL);
	if (outbox_db_open(&o->db, c->dir, err) < 0 ||
	    outbox_db_load(o->db, o->notes, &o->count, &o->ends, &o->bytes,
	    load_alias, o, err) < 0) {
		outbox_db_close(&o->db);
		free(o->aliases);
		free(o);
		return -1;
	}
	/* Signals are for the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&o->thread, NULL, outbox_main, o) != 0)
		mem_checked(NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	*ret = o;
	return 0;
}

static void
errand_free(struct errand *a)
{
	if (!a)
		return;
	outbox_entries_free(a);
	free(a->text);
	free(a);
}

void
outbox_close(struct outbox **op)
{
	struct outbox *o = *op;

	if (!o)
		return;
	*op = NULL;
	pthread_mutex_lock(&o->lock);
	o->end = true;
	pthread_cond_signal(&o->filled);
	pthread_mutex_unlock(&o->lock);
	pthread_join(o->thread, NULL);
	while (outbox_take(o))
		;
	outbox_db_close(&o->db);
	errand_free(o->last_read);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->filled);
	free(o->aliases);
	free(o);
}

/* --- answers --- */

static void
fail(struct bh_req *req, int code, const char *text)
{
	req->status = code;
	snprintf(req->text, sizeof(req->text), "%s", text);
}

static void
settle_read(struct outbox *o, struct errand *a)
{
	errand_free(o->last_read);
	o->last_read = a;
	a->fn(a->arg, a->entries, a->nentries);
}

/* How a job of the outbox looks to who asks for it. */
static void
settle_get(struct errand *a)
{
	struct bh_get *r = (struct bh_get *)a->req;
	const struct outbox_entry *e = a->entries;
	struct bh_job j;

	r->job = NULL;
	if (a->nentries > 0) {
		int64_t run_at = e->opts.at >= 0 ? e->opts.at : e->at +
		    (e->opts.delay_ms > 0 ? e->opts.delay_ms : 0);

		j = (struct bh_job){.id = e->id, .queue = e->queue,
		    .state = run_at > a->now ? BH_DELAYED : BH_WAITING,
		    .payload = e->payload, .group = e->opts.group,
		    .unique = e->opts.unique, .run_at = run_at,
		    .created_at = e->at, .attempts = e->opts.attempts,
		    .priority = e->opts.priority < 0 ? 5 : e->opts.priority,
		    .timeout_ms = e->opts.timeout_ms};
		if (e->opts.expires_ms >= 0)
			j.expires_at = run_at + e->opts.expires_ms;
		r->job = &j;
	}
	r->req.done(&r->req);
}

static void
settle(struct outbox *o, struct errand *a)
{
	bool keep = false;

	if (a->failed && a->req)
		fail(a->req, a->code, a->text ? a->text : "");
	if (a->op == ERRAND_PUT || a->op == ERRAND_FINISH) {
		if (a->failed)
			o->count -= a->n;
		if (a->failed && a->op == ERRAND_FINISH)
			o->ends--;
		a->req->done(a->req);
	} else if (a->op == ERRAND_GET) {
		settle_get(a);
	} else if (a->op == ERRAND_READ) {
		settle_read(o, a);
		keep = true;
	}
	if (!keep)
		errand_free(a);
}

bool
outbox_take(struct outbox *o)
{
	struct errand *list, *next;

	pthread_mutex_lock(&o->lock);
	list = o->back;
	o->back = NULL;
	o->back_tail = &o->back;
	pthread_mutex_unlock(&o->lock);
	if (!list)
		return false;
	for (; list; list = next) {
		next = list->next;
		o->under_way--;
		if (list->bytes >= 0)
			o->bytes = list->bytes;
		settle(o, list);
	}
	return true;
}

bool
outbox_idle(const struct outbox *o)
{
	return o->under_way == 0;
}

int64_t
outbox_count(const struct outbox *o)
{
	return o->count;
}

int64_t
outbox_ends(const struct outbox *o)
{
	return o->ends;
}

int64_t
outbox_bytes(const struct outbox *o)
{
	return o->bytes;
}

int64_t
outbox_note(const struct outbox *o, enum outbox_note note)
{
	return o->notes[note];
}

static void
send_notes(struct outbox *o)
{
	struct errand *a = errand_new(ERRAND_NOTES);

	memcpy(a->notes, o->notes, sizeof(a->notes));
	send(o, a);
}

void
outbox_set(struct outbox *o, enum outbox_note note, int64_t value)
{
	if (o->notes[note] == value)
		return;
	o->notes[note] = value;
	send_notes(o);
}

/* --- requests --- */

/* An answer that is not the disk's still comes later. */
static void
refuse(struct outbox *o, struct bh_req *req, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void
refuse(struct outbox *o, struct bh_req *req, int code, const char *fmt, ...)
{
	struct errand *a = errand_new(ERRAND_PUT);
	char text[BH_ERROR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	a->failed = true;
	a->code = code;
	a->text = mem_str(text);
	a->req = req;
	send(o, a);
}

static bool
full(struct outbox *o, struct bh_req *req)
{
	if (o->config.max_bytes <= 0 || o->bytes < o->config.max_bytes)
		return false;
	refuse(o, req, BH_E_DISKFULL, "Redis is away, and the outbox has %"
	    PRId64 " bytes: max_disk is %" PRId64, o->bytes,
	    o->config.max_bytes);
	return true;
}

void
outbox_put(struct outbox *o, struct bh_put *r, int64_t now,
    outbox_id_fn *id, void *arg)
{
	struct errand *a;
	int64_t n = 0;

	if (full(o, &r->req))
		return;
	for (struct bh_put *p = r; p; p = p->also)
		n += (int64_t)p->npayloads;
	if (o->notes[OUTBOX_END] - o->notes[OUTBOX_NEXT] < n) {
		refuse(o, &r->req, BH_E_BACKEND, "Redis is away, and no ids"
		    " are left that it had reserved for this machine");
		return;
	}
	for (struct bh_put *p = r; p; p = p->also) {
		for (size_t i = 0; i < p->npayloads; i++)
			p->ids[i] = id(arg, p->queue,
			    o->notes[OUTBOX_NEXT]++);
		p->duplicate = false;
		p->state = p->opts.delay_ms > 0 || p->opts.at > now ?
		    BH_DELAYED : BH_WAITING;
	}
	a = errand_new(ERRAND_PUT);
	a->req = &r->req;
	a->now = now;
	a->n = n;
	memcpy(a->notes, o->notes, sizeof(a->notes));
	o->count += n;
	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	send(o, a);
}

void
outbox_finish(struct outbox *o, struct bh_finish *r, int64_t now)
{
	struct errand *a = errand_new(ERRAND_FINISH);

	r->state = r->outcome == BH_DONE ? BH_COMPLETED :
	    r->outcome == BH_FAIL && r->final ? BH_FAILED : BH_DELAYED;
	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	a->req = &r->req;
	a->now = now;
	a->n = 1;
	o->count++;
	o->ends++;
	send(o, a);
}

void
outbox_get(struct outbox *o, struct bh_get *r, int64_t now)
{
	struct errand *a = errand_new(ERRAND_GET);

	r->req.status = BH_OK;
	r->req.text[0] = '\0';
	a->req = &r->req;
	a->id = r->id;
	a->now = now;
	send(o, a);
}

int64_t
outbox_alias(const struct outbox *o, int64_t id)
{
	size_t lo = 0, hi = o->naliases;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->aliases[mid].id == id)
			return o->aliases[mid].job;
		if (o->aliases[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

void
outbox_read(struct outbox *o, int64_t after, outbox_read_fn *fn, void *arg)
{
	struct errand *a = errand_new(ERRAND_READ);

	a->seq = after;
	a->fn = fn;
	a->arg = arg;
	send(o, a);
}

void
outbox_drop(struct outbox *o, const struct outbox_entry *e, int64_t alias)
{
	struct errand *a = errand_new(ERRAND_DROP);

	a->seq = e->seq;
	a->id = e->id;
	a->alias = alias;
	o->count--;
	o->ends -= e->is_finish;
	if (alias)
		add_alias(o, e->id, alias);
	send(o, a);
}
