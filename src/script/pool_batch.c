/* SPDX-License-Identifier: MIT */
/*
 * Batches on main: several jobs in one run. Each job has a message of its own
 * inside the run's. When the run ends, every job gets its end: what
 * jobs[i]:fail() and its like decided about it, else what the run came to;
 * all of them in one turn, so that they commit together.
 *
 * A job that was cancelled, in a batch that goes on, is finished when its
 * grace is over. Its message lives until both that is stored and the run has
 * ended.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "script/pool_impl.h"

void
pool_batch_start(struct pool *p, const struct bh_job *jobs, size_t n,
    struct served *s)
{
	struct run_msg *b = run_msg_new(p, 0);
	size_t i;

	b->what = RUN_BATCH;
	b->queue = (struct bh_bytes){s->queue, strlen(s->queue)};
	b->jobs = xmalloc(n * sizeof(*b->jobs));
	b->njobs = n;
	for (i = 0; i < n; i++) {
		struct run_msg *m = pool_job_msg(p, &jobs[i], s);

		m->what = RUN_BATCH;
		m->batch = b;
		b->jobs[i] = m;
		if (m->timeout_ms > b->timeout_ms)
			b->timeout_ms = m->timeout_ms;
	}
	pool_dispatch(p, b, s);
}

/* What the whole run came to is this job's end. */
static void
share_end(struct run_msg *m, const struct run_msg *b)
{
	if (m->run.verdict)
		return;
	m->end = b->end;
	m->end.text = NULL;
	if (b->end.text)
		m->end.text = xstrndup(b->end.text, b->end.len);
}

void
pool_batch_ended(struct pool *p, struct run_msg *b)
{
	size_t i;

	for (i = 0; i < b->njobs; i++) {
		struct run_msg *m = b->jobs[i];

		m->m.worker = b->m.worker;
		m->batch = NULL;
		if (m->early) {
			if (--m->early == 0)
				run_msg_done(p, m);
			continue;
		}
		m->src = source_ref(b->src);
		share_end(m, b);
		pool_job_ended(p, m);
	}
	run_msg_done(p, b);
}

struct run_msg *
pool_batch_find(const struct run_msg *b, uint64_t token)
{
	size_t i;

	for (i = 0; i < b->njobs; i++)
		if (b->jobs[i]->token == token)
			return b->jobs[i];
	return NULL;
}

static void
early_done(struct bh_req *req)
{
	struct run_msg *m = req->user;
	struct log_about about = {.queue = m->queue.data, .job = m->id,
	    .script = m->src->name, .attempt = m->attempt};

	m->pool->finishing--;
	if (req->status == BH_OK)
		log_about(LOG_ERROR, &about, "failed for good: cancelled; its "
		    "batch goes on");
	else if (req->status != BH_E_CANCELED)
		log_about(LOG_WARN, &about, "its end could not be stored: %s",
		    req->text);
	if (--m->early == 0)
		run_msg_done(m->pool, m);
}

void
pool_batch_grace(struct pool *p, uint64_t token)
{
	static const char cancelled[] = "cancelled";
	struct run_msg *b, *m = NULL;

	TAILQ_FOREACH(b, &p->running, entry)
		if ((m = pool_batch_find(b, token)))
			break;
	if (!b || m->early)
		return;			/* its batch has just ended */
	m->early = 2;
	m->src = source_ref(b->src);
	m->finish.outcome = BH_FAIL;
	m->finish.final = true;
	m->finish.delay_ms = -1;
	m->finish.message = (struct bh_bytes){cancelled,
	    sizeof(cancelled) - 1};
	pool_job_finish(p, m, early_done);
}
