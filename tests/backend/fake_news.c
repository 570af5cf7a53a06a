/* SPDX-License-Identifier: MIT */
/* News of jobs: told at the end of the turn in which they happen. */
#include <stdlib.h>

#include "base/xalloc.h"
#include "fake_int.h"

struct fake_news {
	TAILQ_ENTRY(fake_news) link;
	struct bh_job_event ev;
	struct arena arena;
};

void
fake_note(struct fake *f, enum bh_job_news news, const struct fake_job *j,
    struct bh_bytes text)
{
	struct fake_news *n;

	if (!f->watched)
		return;
	n = xcalloc(1, sizeof(*n));
	n->ev = (struct bh_job_event){.news = news, .id = j->id,
	    .queue = fake_str(j->queue->name), .state = j->state,
	    .attempt = j->attempt, .at = f->wall};
	if (news == BH_NEWS_PROGRESS)
		n->ev.progress = arena_bytes(&n->arena, text);
	else
		n->ev.error = arena_bytes(&n->arena, text);
	TAILQ_INSERT_TAIL(&f->news, n, link);
}

void
fake_tell(struct fake *f)
{
	struct fake_news *n;

	while ((n = TAILQ_FIRST(&f->news))) {
		TAILQ_REMOVE(&f->news, n, link);
		if (f->watched && f->events && f->events->job)
			f->events->job(f->events_arg, &n->ev);
		arena_done(&n->arena);
		free(n);
	}
}

void
fake_watch_jobs(void *be, bool on)
{
	struct fake *f = be;

	f->watched = on;
	if (!on)
		fake_tell(f);	/* that is, forgets them */
}
