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

void
event_void(struct engine *e, int64_t id)
{
	uint64_t durable = journal_durable(e->journal);
	struct news *n, *next;

	STAILQ_FOREACH_SAFE(n, &e->news, all, next) {
		if (n->ev.id != id || n->lsn <= durable)
			continue;
		STAILQ_REMOVE(&e->news, n, news, all);
		free(n);
	}
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
