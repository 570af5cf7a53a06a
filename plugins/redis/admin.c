/* SPDX-License-Identifier: MIT */
#include "redis/admin.h"

#include "redis/jobs.h"
#include "redis/mem.h"
#include "redis/words.h"

enum { WORDS_MAX = 16 };

struct admin_call {
	struct redis_be *be;
	struct rqueue *queue;
	radmin_fn *fn;
	void *arg;
};

static void
answered(void *arg, struct redisReply *r)
{
	struct admin_call *c = arg;
	const struct redisReply *results = r;

	if (r && r->type != REDIS_REPLY_ERROR)
		results = rqueue_reply(c->be, c->queue, r);
	c->fn(c->arg, results);
	c->be->host->wake();
	free(c);
}

bool
radmin_call(struct redis_be *be, struct rqueue *q, int argc,
    const char **argv, const size_t *lens, radmin_fn *fn, void *arg)
{
	struct admin_call *c;
	struct rcounted first[3];
	const char *words[WORDS_MAX];
	size_t sizes[WORDS_MAX];
	char head[RHEAD];

	/* In the order in which things were asked for. */
	rcalls_send(be);
	rqueue_head(be, q, head, first);
	words[0] = q->keys;
	sizes[0] = strlen(q->keys);
	for (int i = 0; i < 3; i++) {
		words[1 + i] = first[i].data;
		sizes[1 + i] = first[i].len;
	}
	for (int i = 0; i < argc; i++) {
		words[4 + i] = argv[i];
		sizes[4 + i] = lens ? lens[i] : strlen(argv[i]);
	}
	c = mem_new(sizeof(*c));
	*c = (struct admin_call){be, q, fn, arg};
	if (rscript_call(be, RSCRIPT_ADMIN, 1, 4 + argc, words, sizes,
	    answered, c))
		return true;
	free(c);
	return false;
}

/* --- queues --- */

struct finding {
	struct redis_be *be;
	char *name;
	size_t len;
	radmin_found_fn *fn;
	void *arg;
};

static void
finding_free(struct finding *f)
{
	free(f->name);
	free(f);
}

/* Somebody has made it, so nobody is asked to. */
static void
found(struct redis_be *be, struct rqueue *q, void *arg)
{
	struct finding *f = arg;

	if (q)
		f->fn(f->arg, q, BH_OK, NULL);
	else if (be->jobs->refused == BH_E_QUEUEFULL)
		f->fn(f->arg, NULL, BH_OK, NULL);	/* so it is not there */
	else
		f->fn(f->arg, NULL, be->jobs->refused, be->jobs->why);
	finding_free(f);
}

static void
looked(void *arg, struct redisReply *r)
{
	struct finding *f = arg;
	char text[BH_ERROR_TEXT];
	int code;

	f->be->host->wake();
	if (!r || r->type != REDIS_REPLY_INTEGER) {
		code = be_error(f->be, r, text);
		f->fn(f->arg, NULL, code, text);
		finding_free(f);
	} else if (r->integer == 0) {
		f->fn(f->arg, NULL, BH_OK, NULL);
		finding_free(f);
	} else {
		rqueue_of_name(f->be, (struct bh_bytes){f->name, f->len},
		    found, f);
	}
}

void
radmin_find(struct redis_be *be, struct bh_bytes name, radmin_found_fn *fn,
    void *arg)
{
	struct finding *f = mem_new(sizeof(*f));
	char *key = rglobal_key(be, "queues");
	struct rqueue *q = rqueue_find(be, name);

	*f = (struct finding){be, mem_copy(name.data, name.len), name.len, fn,
	    arg};
	if (q && (q->number >= 0 || q->waits)) {	/* or is being made */
		rqueue_of_name(be, name, found, f);
	} else if (!rlink_sendv(be->main, looked, f, "HEXISTS", key, f->name,
	    NULL)) {
		fn(arg, NULL, BH_E_BACKEND, be->away);
		finding_free(f);
	}
	free(key);
}

struct listing {
	struct redis_be *be;
	radmin_names_fn *fn;
	void *arg;
};

static void
listed(void *arg, struct redisReply *r)
{
	struct listing *l = arg;
	struct bh_bytes *names;
	char text[BH_ERROR_TEXT];
	int code;

	l->be->host->wake();
	if (!r || r->type != REDIS_REPLY_ARRAY) {
		code = be_error(l->be, r, text);
		l->fn(l->arg, 0, NULL, code, text);
	} else {
		names = mem_new((r->elements + 1) * sizeof(*names));
		for (size_t i = 0; i < r->elements; i++)
			names[i] = reply_text(r->element[i]);
		l->fn(l->arg, r->elements, names, BH_OK, NULL);
		free(names);
	}
	free(l);
}

void
radmin_names(struct redis_be *be, radmin_names_fn *fn, void *arg)
{
	struct listing *l = mem_new(sizeof(*l));
	char *key = rglobal_key(be, "queues");

	*l = (struct listing){be, fn, arg};
	if (!rlink_sendv(be->main, listed, l, "HKEYS", key, NULL)) {
		fn(arg, 0, NULL, BH_E_BACKEND, be->away);
		free(l);
	}
	free(key);
}
