/* SPDX-License-Identifier: MIT */
/*
 * Dead letters: copies of failed jobs for another queue. The script that fails
 * a job leaves the copy in the queue's `out`; this instance adds it to the
 * other queue, under a name that lets it come only once, then takes it out,
 * and frees the name. What is left over at a start goes the same way.
 */
#include <hiredis/hiredis.h>

#include "redis/jobs.h"
#include "redis/mem.h"

struct forward {
	struct redis_be *be;
	struct rqueue *from, *to;
	struct bh_put put;
	int64_t id;
	struct bh_bytes payload;
	char *name, *text, *origin;
	size_t origin_len;
	char n[24];
	char once[48];
};

static void
forward_free(struct forward *f)
{
	free(f->name);
	free(f->text);
	free(f->origin);
	free(f);
}

/* --- the origin, as JSON --- */

static size_t
escaped(char *out, struct bh_bytes s)
{
	char *p = out;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if (c == '"' || c == '\\')
			*p++ = '\\', *p++ = (char)c;
		else if (c == '\n')
			*p++ = '\\', *p++ = 'n';
		else if (c == '\t')
			*p++ = '\\', *p++ = 't';
		else if (c < 0x20)
			p += sprintf(p, "\\u%04x", c);
		else
			*p++ = (char)c;
	}
	return (size_t)(p - out);
}

static void
make_origin(struct forward *f, const struct redisReply *id,
    const struct redisReply *error, long long at)
{
	char *p = f->origin = mem_new(error->len * 6 + f->from->len + 200);

	p += sprintf(p, "{\"queue\":\"%s\",\"id\":\"%.*s\",\"error\":\"",
	    f->from->name, (int)id->len, id->str);
	p += escaped(p, (struct bh_bytes){error->str, error->len});
	p += sprintf(p, "\",\"at\":%lld}", at);
	f->origin_len = (size_t)(p - f->origin);
}

/* --- on its way --- */

static void
failed(struct forward *f, const struct redisReply *r)
{
	char text[BH_ERROR_TEXT], all[BH_ERROR_TEXT + 200];

	if (!r)
		return;
	(void)be_error(f->be, r, text);
	snprintf(all, sizeof(all), "the copy of a failed job of queue %s for "
	    "its dead_letter queue %s waits for the next start: %s",
	    f->from->name, f->name, text);
	f->be->host->log(BH_LOG_ERROR, "redis", all);
}

static void
taken_out(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct forward *f = arg;
	size_t len = strlen(f->once);
	char *p;

	(void)q;
	if (r && r->type != REDIS_REPLY_ERROR) {
		p = rop_begin(be, f->to, 1 + len, NULL, NULL);
		p[0] = 'D';
		memcpy(p + 1, f->once, len);
	}
	forward_free(f);
}

static void
arrived(struct redis_be *be, struct rqueue *q, void *arg,
    const struct redisReply *r)
{
	struct forward *f = arg;
	size_t len = strlen(f->n);
	char *p;

	(void)q;
	if (!r || r->type == REDIS_REPLY_ERROR) {
		failed(f, r);
		forward_free(f);
		return;
	}
	p = rop_begin(be, f->from, 1 + len, taken_out, f);
	p[0] = 'O';
	memcpy(p + 1, f->n, len);
}

static void
with_id(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct forward *f = arg;

	(void)q;
	if (be->jobs->closing) {
		forward_free(f);
		return;
	}
	f->id = rids_next(be, f->to);
	rput_ops(be, f->to, &f->put, (struct bh_bytes){f->origin,
	    f->origin_len}, f->once, false, arrived, f);
}

static void
named(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct forward *f = arg;

	if (!q) {
		forward_free(f);
		return;
	}
	f->to = q;
	if (rids_have(be, 1))
		with_id(be, NULL, f);
	else
		rids_wait(be, 1, with_id, f);
}

/* {to, payload, id, error, at, instance, n}. */
static void
forward(struct redis_be *be, struct rqueue *q, const struct redisReply *r)
{
	struct redisReply *const *e = r->element;
	struct forward *f;

	if (r->elements < 7)
		return;
	f = mem_new(sizeof(*f));
	f->be = be;
	f->from = q;
	f->name = mem_copy(e[0]->str, e[0]->len);
	f->text = mem_copy(e[1]->str, e[1]->len);
	f->payload = (struct bh_bytes){f->text, e[1]->len};
	make_origin(f, e[2], e[3], e[4]->integer);
	if (e[6]->type == REDIS_REPLY_INTEGER)
		snprintf(f->n, sizeof(f->n), "%lld", e[6]->integer);
	else
		snprintf(f->n, sizeof(f->n), "%s", e[6]->str);
	snprintf(f->once, sizeof(f->once), "o%d.%s", q->number, f->n);
	bh_job_opts_init(&f->put.opts);
	f->put.payloads = &f->payload;
	f->put.npayloads = 1;
	f->put.ids = &f->id;
	rqueue_of_name(be, (struct bh_bytes){f->name, strlen(f->name)},
	    named, f);
}

void
rforward(struct redis_be *be, struct rqueue *q, const struct redisReply *list)
{
	for (size_t i = 0; i < list->elements; i++)
		forward(be, q, list->element[i]);
}
