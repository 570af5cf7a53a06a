/* SPDX-License-Identifier: MIT */
/*
 * News of jobs, kept from when a change is made until it is committed, then
 * told in order. While nobody watches there are none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "engine/part.h"

struct news {
	STAILQ_ENTRY(news) all;
	uint64_t lsn;			/* told once this is durable */
	struct bh_job_event ev;
	char data[];
};

void
event_note(struct engine *e, enum bh_job_news news, const struct job *j,
    struct bh_bytes text)
{
	struct bh_bytes copy = {NULL, text.len};
	struct news *n;

	if (!e->watched)
		return;
	n = xmalloc(sizeof(*n) + text.len);
	if (text.data) {
		memcpy(n->data, text.data, text.len);
		copy.data = n->data;
	}
	n->lsn = journal_last(e->journal);
	n->ev = (struct bh_job_event){.news = news, .id = j->id,
	    .queue = bytes_of(j->queue->name),
	    /* One that is not kept never enters the state. */
	    .state = news == BH_NEWS_COMPLETED ? BH_COMPLETED : job_state(j),
	    .attempt = j->attempt, .at = e->now.wall_ms};
	if (news == BH_NEWS_PROGRESS)
		n->ev.progress = copy;
	else
		n->ev.error = copy;
	STAILQ_INSERT_TAIL(&e->news, n, all);
}

void
event_tell(struct engine *e)
{
	uint64_t durable = journal_durable(e->journal);
	struct news *n;

	while ((n = STAILQ_FIRST(&e->news)) && n->lsn <= durable) {
		STAILQ_REMOVE_HEAD(&e->news, all);
		if (e->watched && e->events && e->events->job)
			e->events->job(e->events_arg, &n->ev);
		free(n);
	}
}

static int
by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

void
event_void(struct engine *e, int64_t id)
{
	if (!e->watched)
		return;
	if (e->nvoided == e->voided_cap) {
		e->voided_cap = e->voided_cap ? e->voided_cap * 2 : 64;
		e->voided = xrealloc(e->voided,
		    e->voided_cap * sizeof(*e->voided));
	}
	e->voided[e->nvoided++] = id;
}

void
event_void_all(struct engine *e)
{
	uint64_t durable = journal_durable(e->journal);
	struct news_list all = STAILQ_HEAD_INITIALIZER(all);
	struct news *n;

	if (e->nvoided == 0)
		return;
	qsort(e->voided, e->nvoided, sizeof(*e->voided), by_id);
	STAILQ_CONCAT(&all, &e->news);
	while ((n = STAILQ_FIRST(&all))) {
		STAILQ_REMOVE_HEAD(&all, all);
		if (n->lsn > durable && bsearch(&n->ev.id, e->voided,
		    e->nvoided, sizeof(*e->voided), by_id))
			free(n);
		else
			STAILQ_INSERT_TAIL(&e->news, n, all);
	}
	free(e->voided);
	e->voided = NULL;
	e->nvoided = e->voided_cap = 0;
}

void
event_free_all(struct engine *e)
{
	struct news *n;

	while ((n = STAILQ_FIRST(&e->news))) {
		STAILQ_REMOVE_HEAD(&e->news, all);
		free(n);
	}
}

void
engine_watch_jobs(struct engine *e, bool on)
{
	e->watched = on;
	if (!on)
		event_free_all(e);
}
