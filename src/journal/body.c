/* SPDX-License-Identifier: MIT */
#include "journal/body.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/xalloc.h"

enum column {
	C_ID, C_STATE, C_QUEUE, C_CREATED_AT, C_RUN_AT, C_EXPIRES_AT,
	C_STARTED_AT, C_FINISHED_AT, C_PRIORITY, C_RETAIN_MS, C_GROUP,
	C_UNIQUE, C_LEASE_MS, C_MAX_STALLED, C_ATTEMPTS, C_TIMEOUT_MS,
	C_BACKOFF_TYPE, C_BACKOFF_MS, C_BACKOFF_MAX_MS, C_BACKOFF_FACTOR,
	C_BACKOFF_JITTER, C_UNIQUE_TTL_MS, C_UNIQUE_MODE, C_ORIGIN,
	C_PROGRESS, C_ERROR, C_RESULT, C_PAYLOAD
};

/* The first five and the last five; a few more if someone wrote by hand. */
#define ERRORS_MAX 16

/* The history while the block it will live in has no size yet. */
struct history {
	struct bh_job_error line[ERRORS_MAX];
	size_t n;
	struct buf text;		/* data is an offset until copied */
};

/* The same of its steps. */
struct steps {
	struct bh_step *line;
	size_t n, cap;
	struct buf text;
};

static int64_t
opt(sqlite3_stmt *s, int at)
{
	return sqlite3_column_type(s, at) == SQLITE_NULL ? -1 :
	    sqlite3_column_int64(s, at);
}

static double
opt_real(sqlite3_stmt *s, int at)
{
	return sqlite3_column_type(s, at) == SQLITE_NULL ? -1 :
	    sqlite3_column_double(s, at);
}

static size_t
size(sqlite3_stmt *s, int at)
{
	return (size_t)sqlite3_column_bytes(s, at);
}

/* Copies a column to *p and moves it on. NULL stays absent, and an empty
 * string gets an address. */
static struct bh_bytes
copy(sqlite3_stmt *s, int at, char **p)
{
	struct bh_bytes v = {0};

	if (sqlite3_column_type(s, at) == SQLITE_NULL)
		return v;
	v.len = size(s, at);
	v.data = *p;
	if (v.len)
		memcpy(*p, sqlite3_column_blob(s, at), v.len);
	*p += v.len;
	return v;
}

static size_t
add_text(struct buf *b, sqlite3_stmt *s, int at)
{
	buf_add(b, sqlite3_column_blob(s, at), size(s, at));
	return size(s, at);
}

static int
read_history(sqlite3_stmt *s, int64_t id, struct history *h)
{
	struct bh_job_error *e;
	int rc;

	CHECK(sqlite3_bind_int64(s, 1, id) == SQLITE_OK);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW && h->n < ERRORS_MAX) {
		e = &h->line[h->n++];
		e->attempt = sqlite3_column_int(s, 0);
		e->at = sqlite3_column_int64(s, 1);
		e->message.len = add_text(&h->text, s, 2);
		e->version.len = add_text(&h->text, s, 3);
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The history's lines and texts go to the end of the body's block. */
static void
attach_history(struct jbody *b, const struct history *h, char *p)
{
	struct bh_job_error *e;
	size_t i;

	b->nerrors = h->n;
	memcpy(b->errors, h->line, h->n * sizeof(*b->errors));
	if (buf_size(&h->text))
		memcpy(p, buf_peek(&h->text), buf_size(&h->text));
	for (i = 0; i < h->n; i++) {
		e = &b->errors[i];
		e->message.data = p;
		p += e->message.len;
		e->version.data = p;
		p += e->version.len;
	}
}

static int
read_steps(sqlite3_stmt *s, int64_t id, struct steps *h)
{
	struct bh_step *e;
	int rc;

	CHECK(sqlite3_bind_int64(s, 1, id) == SQLITE_OK);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (h->n == h->cap) {
			h->cap = h->cap ? h->cap * 2 : 16;
			h->line = xrealloc(h->line,
			    h->cap * sizeof(*h->line));
		}
		e = &h->line[h->n++];
		e->name.len = add_text(&h->text, s, 0);
		e->value.len = add_text(&h->text, s, 1);
		/* A sleep has no value. */
		e->value.data = sqlite3_column_type(s, 1) == SQLITE_NULL ?
		    NULL : "";
	}
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void
attach_steps(struct jbody *b, const struct steps *h, char *p)
{
	struct bh_step *e;
	size_t i;

	b->nsteps = h->n;
	if (h->n)
		memcpy(b->steps, h->line, h->n * sizeof(*b->steps));
	if (buf_size(&h->text))
		memcpy(p, buf_peek(&h->text), buf_size(&h->text));
	for (i = 0; i < h->n; i++) {
		e = &b->steps[i];
		e->name.data = p;
		p += e->name.len;
		if (e->value.data)
			e->value.data = p;
		p += e->value.len;
	}
}

static void
fill_options(struct bh_job_opts *o, sqlite3_stmt *s, char **p)
{
	bh_job_opts_init(o);
	o->priority = (int8_t)opt(s, C_PRIORITY);
	o->retain_ms = opt(s, C_RETAIN_MS);
	o->lease_ms = opt(s, C_LEASE_MS);
	o->max_stalled = (int32_t)opt(s, C_MAX_STALLED);
	o->attempts = (int32_t)opt(s, C_ATTEMPTS);
	o->timeout_ms = opt(s, C_TIMEOUT_MS);
	o->backoff_type = (int8_t)opt(s, C_BACKOFF_TYPE);
	o->backoff_ms = opt(s, C_BACKOFF_MS);
	o->backoff_max_ms = opt(s, C_BACKOFF_MAX_MS);
	o->backoff_factor = opt_real(s, C_BACKOFF_FACTOR);
	o->backoff_jitter = opt_real(s, C_BACKOFF_JITTER);
	o->unique_ttl_ms = opt(s, C_UNIQUE_TTL_MS);
	o->unique_mode = (int8_t)opt(s, C_UNIQUE_MODE);
	o->group = copy(s, C_GROUP, p);
	o->unique = copy(s, C_UNIQUE, p);
}

static void
fill(struct jbody *b, sqlite3_stmt *s, char **p)
{
	b->found = true;
	b->id = sqlite3_column_int64(s, C_ID);
	b->state = (uint8_t)sqlite3_column_int(s, C_STATE);
	b->queue = sqlite3_column_int64(s, C_QUEUE);
	b->created_at = sqlite3_column_int64(s, C_CREATED_AT);
	b->run_at = sqlite3_column_int64(s, C_RUN_AT);
	b->expires_at = sqlite3_column_int64(s, C_EXPIRES_AT);
	b->started_at = sqlite3_column_int64(s, C_STARTED_AT);
	b->finished_at = sqlite3_column_int64(s, C_FINISHED_AT);
	fill_options(&b->opts, s, p);
	b->origin = copy(s, C_ORIGIN, p);
	b->progress = copy(s, C_PROGRESS, p);
	b->error = copy(s, C_ERROR, p);
	b->result = copy(s, C_RESULT, p);
	b->payload = copy(s, C_PAYLOAD, p);
}

/* One block: the struct, the lines of history and steps, the strings. */
static struct jbody *
make(sqlite3_stmt *s, const struct history *h, const struct steps *t)
{
	size_t strings = size(s, C_GROUP) + size(s, C_UNIQUE) +
	    size(s, C_ORIGIN) + size(s, C_PROGRESS) + size(s, C_ERROR) +
	    size(s, C_RESULT) + size(s, C_PAYLOAD) + buf_size(&h->text) +
	    buf_size(&t->text);
	struct jbody *b;
	char *p;

	/* One byte more, so that an empty string has an address. */
	b = xmalloc(sizeof(*b) + h->n * sizeof(*b->errors) +
	    t->n * sizeof(*b->steps) + strings + 1);
	memset(b, 0, sizeof(*b));
	b->errors = (struct bh_job_error *)(b + 1);
	b->steps = (struct bh_step *)(b->errors + h->n);
	p = (char *)(b->steps + t->n);
	fill(b, s, &p);
	attach_history(b, h, p);
	attach_steps(b, t, p + buf_size(&h->text));
	return b;
}

int
body_row(sqlite3_stmt *s, sqlite3_stmt *errors, sqlite3_stmt *steps,
    struct jbody **ret_body)
{
	int64_t id = sqlite3_column_int64(s, C_ID);
	struct steps t = {.text = BUF_INIT};
	struct history h;
	int rc = SQLITE_OK;

	h.n = 0;
	h.text = (struct buf)BUF_INIT;
	if (errors)
		rc = read_history(errors, id, &h);
	if (rc == SQLITE_OK && steps)
		rc = read_steps(steps, id, &t);
	if (rc == SQLITE_OK)
		*ret_body = make(s, &h, &t);
	buf_done(&h.text);
	buf_done(&t.text);
	free(t.line);
	return rc;
}

struct jbody *
body_missing(int64_t id)
{
	struct jbody *b = xcalloc(1, sizeof(*b));

	bh_job_opts_init(&b->opts);
	b->id = id;
	return b;
}
