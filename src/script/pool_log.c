/* SPDX-License-Identifier: MIT */
/*
 * What the log tells of a job's life: each try's end, a line. A queue has a
 * budget of log_jobs lines a second, one for what went well and one for what
 * did not; when it is used up, that is said once, and the rest of ten seconds
 * is quiet.
 */
#include "base/log.h"
#include "script/pool_impl.h"

enum { PERIOD_S = 10, TEXT_MAX = 1000 };

/* True when one more line may be written. */
static bool
afford(struct pool *p, struct served *s, struct line_budget *b,
    const char *what)
{
	int64_t limit = p->env->conf->log_jobs * PERIOD_S;
	int64_t period = p->mono_ms / (PERIOD_S * 1000);

	if (b->period != period)
		*b = (struct line_budget){.period = period};
	if (b->lines++ < limit)
		return true;
	if (b->lines == limit + 1 && limit > 0)
		log_about(LOG_INFO, &(struct log_about){.queue = s->queue,
		    .event = EVENT_SCRIPT_FLOOD}, "more than %lld lines about "
		    "%s in %d s (log_jobs): the rest is not logged",
		    (long long)limit, what, PERIOD_S);
	return false;
}

static struct log_about
about_run(const struct run_msg *m, enum log_event event)
{
	return (struct log_about){.queue = m->queue.data, .job = m->id,
	    .script = m->src ? m->src->name : NULL, .attempt = m->attempt,
	    .event = event};
}

static void
log_failed(struct pool *p, const struct run_msg *m)
{
	bool final = m->finish.state == BH_FAILED;
	struct log_about about = about_run(m,
	    final ? EVENT_JOB_FAILED : EVENT_JOB_RETRY);

	if (!afford(p, m->served, &m->served->bad_lines, "failed tries"))
		return;
	log_about(final ? LOG_ERROR : LOG_WARN, &about, "%s: %.*s",
	    final ? "failed for good" : "failed, will be tried again",
	    m->end.len > TEXT_MAX ? TEXT_MAX : (int)m->end.len,
	    m->end.text ? m->end.text : "");
}

static void
log_completed(struct pool *p, const struct run_msg *m)
{
	struct log_about about = about_run(m, EVENT_JOB_COMPLETED);

	if (log_enabled(LOG_INFO) && afford(p, m->served,
	    &m->served->good_lines, "completed jobs"))
		log_about(LOG_INFO, &about, "completed after %lld ms",
		    (long long)(p->mono_ms - m->given_ms));
}

static void
log_snoozed(struct pool *p, const struct run_msg *m)
{
	struct log_about about = about_run(m, EVENT_JOB_SNOOZED);

	if (m->end.len && afford(p, m->served, &m->served->good_lines,
	    "completed jobs"))
		log_about(LOG_INFO, &about, "snoozed: %.*s",
		    m->end.len > TEXT_MAX ? TEXT_MAX : (int)m->end.len,
		    m->end.text);
}

void
pool_log_end(struct pool *p, const struct run_msg *m)
{
	if (m->finish.outcome == BH_FAIL)
		log_failed(p, m);
	else if (m->finish.outcome == BH_DONE)
		log_completed(p, m);
	else
		log_snoozed(p, m);
}
