/* SPDX-License-Identifier: MIT */
/*
 * Callbacks that are owed to scripts: a record beside the change of state,
 * offered to the host once that is durable, forgotten when it says so.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "engine/part.h"

static struct bh_bytes
keep(char **p, struct bh_bytes b)
{
	struct bh_bytes copy = {b.data ? *p : NULL, b.len};

	if (b.len)
		memcpy(*p, b.data, b.len);
	*p += b.len;
	return copy;
}

static struct owed *
remember(struct engine *e, struct queue *q, const struct bh_callback *cb)
{
	struct owed *o = xmalloc(sizeof(*o) + cb->payload.len +
	    cb->result.len + cb->error.len);
	char *p = o->data;

	*o = (struct owed){.cb = *cb, .queue = q};
	o->cb.queue = bytes_of(q->name);
	o->cb.payload = keep(&p, cb->payload);
	o->cb.result = keep(&p, cb->result);
	o->cb.error = keep(&p, cb->error);
	TAILQ_INSERT_TAIL(&e->owed, o, all);
	return o;
}

void
callback_owe(struct engine *e, struct queue *q, enum bh_callback_kind kind,
    struct job *j, struct bh_bytes result, struct bh_bytes error)
{
	struct bh_callback cb = {.id = e->next_callback++, .kind = kind,
	    .job = j->id, .attempt = j->attempt, .result = result,
	    .error = error};
	struct jrec r = {.kind = JR_CALLBACK, .id = cb.id};

	if (j->body && j->body->loaded)
		cb.payload = j->body->payload;
	r.u.callback.queue = q->id;
	r.u.callback.kind = (uint8_t)kind;
	r.u.callback.job = j->id;
	r.u.callback.attempt = j->attempt;
	r.u.callback.payload = cb.payload;
	r.u.callback.result = result;
	r.u.callback.error = error;
	remember(e, q, &cb)->lsn = journal_append(e->journal, &r);
}

void
callback_restore(struct engine *e, struct queue *q,
    const struct bh_callback *cb)
{
	remember(e, q, cb);
	if (cb->id >= e->next_callback)
		e->next_callback = cb->id + 1;
}

void
callback_tell(struct engine *e)
{
	uint64_t durable = journal_durable(e->journal);
	struct owed *o;

	while (e->events && (o = TAILQ_FIRST(&e->owed)) &&
	    o->lsn <= durable) {
		TAILQ_REMOVE(&e->owed, o, all);
		TAILQ_INSERT_TAIL(&e->told, o, all);
		e->events->callback(e->events_arg, &o->cb);
	}
}

void
engine_listen(struct engine *e, const struct bh_events *ev, void *arg)
{
	struct owed *o;

	e->events = ev;
	e->events_arg = arg;
	while ((o = TAILQ_LAST(&e->told, owed_list))) {
		TAILQ_REMOVE(&e->told, o, all);
		TAILQ_INSERT_HEAD(&e->owed, o, all);
	}
}

void
engine_callback_done(struct engine *e, int64_t id)
{
	struct jrec r = {.kind = JR_CALLBACK_DONE, .id = id};
	struct owed *o;

	TAILQ_FOREACH(o, &e->told, all) {
		if (o->cb.id != id)
			continue;
		journal_append(e->journal, &r);
		TAILQ_REMOVE(&e->told, o, all);
		free(o);
		return;
	}
}

void
callback_free_all(struct engine *e)
{
	struct owed *o;

	engine_listen(e, NULL, NULL);	/* all are in one list then */
	while ((o = TAILQ_FIRST(&e->owed))) {
		TAILQ_REMOVE(&e->owed, o, all);
		free(o);
	}
}
