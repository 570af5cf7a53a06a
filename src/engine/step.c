/* SPDX-License-Identifier: MIT */
/*
 * What job:step() and job:sleep() keep. The steps are on the disk; a job that
 * has some is known by JOB_STEPS, its claim waits until they have been read,
 * and while it is active its body has their names, so that none comes twice.
 */
#include <string.h>

#include "base/xalloc.h"
#include "engine/part.h"

static void
remember(struct engine *e, struct job *j, const struct bh_step *s)
{
	struct steps *t = j->body->steps;
	size_t cap;

	if (!t || t->n == t->cap) {
		cap = t ? t->cap * 2 : 8;
		t = xrealloc(t, sizeof(*t) + cap * sizeof(t->names[0]));
		if (!j->body->steps)
			t->n = t->bytes = 0;
		t->cap = cap;
		j->body->steps = t;
	}
	t->names[t->n++] = key_hash(e, j->queue, s->name);
	t->bytes += s->name.len + s->value.len;
}

void
step_load(struct engine *e, struct job *j, const struct jbody *d)
{
	size_t i;

	if (j->body->steps)
		return;
	for (i = 0; i < d->nsteps; i++)
		remember(e, j, &d->steps[i]);
}

static bool
knows(struct engine *e, const struct job *j, struct bh_bytes name)
{
	const struct steps *t = j->body->steps;
	struct keyhash h = key_hash(e, j->queue, name);
	size_t i;

	for (i = 0; t && i < t->n; i++)
		if (memcmp(&t->names[i], &h, sizeof(h)) == 0)
			return true;
	return false;
}

int
step_check(struct engine *e, const struct job *j, const struct bh_step *s,
    struct err *err)
{
	const struct steps *t = j->body->steps;
	int len = (int)s->name.len;

	if (s->name.len > BH_STEP_NAME_MAX)
		return err_set(err, BH_E_TOOBIG, "step: its name has %d bytes;"
		    " at most %d are expected", len, BH_STEP_NAME_MAX);
	if (knows(e, j, s->name))
		return err_set(err, BH_E_CONFLICT, "job %lld has the step "
		    "'%.*s' already", (long long)j->id, len > 100 ? 100 : len,
		    s->name.data);
	if (t && t->n >= BH_STEPS_MAX)
		return err_set(err, BH_E_TOOBIG, "job %lld has %zu steps; at "
		    "most %d are expected", (long long)j->id, t->n,
		    BH_STEPS_MAX);
	if (s->value.len > 0 && s->value.len + s->name.len +
	    (t ? t->bytes : 0) > BH_STEPS_BYTES)
		return err_set(err, BH_E_TOOBIG, "job %lld has steps of %zu "
		    "bytes, the step '%.*s' would add %zu; at most %d are "
		    "expected", (long long)j->id, t ? t->bytes : 0,
		    len > 60 ? 60 : len, s->name.data, s->value.len,
		    BH_STEPS_BYTES);
	return 0;
}

void
step_add(struct engine *e, struct job *j, const struct bh_step *s)
{
	struct jrec r = job_rec(j, JR_STEP);

	remember(e, j, s);
	r.u.step.n = (int32_t)j->body->steps->n;
	r.u.step.name = s->name;
	r.u.step.value = s->value;
	journal_append(e->journal, &r);
	job_flag(j, JOB_STEPS, true);
	/* Whoever claims it next reads it back. */
	e->cold_lsn = journal_last(e->journal);
}

void
step_forget(struct engine *e, struct job *j)
{
	struct jrec r = job_rec(j, JR_STEPS_END);

	if (!job_is(j, JOB_STEPS))
		return;
	journal_append(e->journal, &r);
	job_flag(j, JOB_STEPS, false);
}
