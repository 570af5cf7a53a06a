/* SPDX-License-Identifier: MIT */
#include "cmd/job_reply.h"

#include <stdbool.h>

#include "base/attr.h"
#include "base/die.h"
#include "cmd/args.h"

/* TEXT applies when it is there, WORD when it is not empty, TIME when it is
 * not 0; COUNT always. */
enum field_kind { FIELD_ID, FIELD_STATE, FIELD_COUNT, FIELD_TEXT, FIELD_WORD,
    FIELD_TIME, FIELD_ERRORS, FIELD_TOKEN };

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
};

#define F(name, kind) {#name, kind, offsetof(struct bh_job, name)}

static const struct field fields[] = {
	F(id, FIELD_ID),
	F(queue, FIELD_WORD),
	F(state, FIELD_STATE),
	F(payload, FIELD_TEXT),
	F(priority, FIELD_COUNT),
	F(group, FIELD_WORD),
	F(unique, FIELD_WORD),
	F(attempt, FIELD_COUNT),
	F(attempts, FIELD_COUNT),
	F(error_count, FIELD_COUNT),
	F(stalled, FIELD_COUNT),
	F(errors, FIELD_ERRORS),
	F(run_at, FIELD_TIME),
	F(expires_at, FIELD_TIME),
	F(created_at, FIELD_TIME),
	F(started_at, FIELD_TIME),
	F(finished_at, FIELD_TIME),
	F(lease_until, FIELD_TIME),
	F(progress, FIELD_TEXT),
	F(result, FIELD_TEXT),
	F(error, FIELD_TEXT),
	F(token, FIELD_TOKEN),
	F(origin, FIELD_WORD),
};

#undef F

static const void *
field_at(const struct field *f, const struct bh_job *job)
{
	return (const char *)job + f->offset;
}

static bool
field_applies(const struct field *f, const struct bh_job *job)
{
	const struct bh_bytes *b = field_at(f, job);

	switch (f->kind) {
	case FIELD_TEXT: return b->data != NULL;
	case FIELD_WORD: return b->data != NULL && b->len > 0;
	case FIELD_TIME: return *(const int64_t *)field_at(f, job) != 0;
	case FIELD_ERRORS: return job->nerrors > 0;
	case FIELD_TOKEN: return job->token != 0;
	case FIELD_ID:
	case FIELD_STATE:
	case FIELD_COUNT: return true;
	}
	return false;
}

static void
put_errors(struct reply *r, const struct bh_job *job)
{
	r->ops->array(r, job->nerrors);
	for (size_t i = 0; i < job->nerrors; i++) {
		const struct bh_job_error *e = &job->errors[i];

		r->ops->map(r, 4);
		reply_pair_int(r, "attempt", e->attempt);
		reply_pair_int(r, "at", e->at);
		reply_str(r, "message");
		r->ops->bulk(r, e->message.data, e->message.len);
		reply_str(r, "version");
		r->ops->bulk(r, e->version.data, e->version.len);
	}
}

static void
put_field(struct reply *r, const struct field *f, const struct bh_job *job)
{
	switch (f->kind) {
	case FIELD_ID: reply_id(r, job->id); break;
	case FIELD_STATE: reply_str(r, arg_states[job->state]); break;
	case FIELD_TEXT:
	case FIELD_WORD:
		reply_bytes(r, *(const struct bh_bytes *)field_at(f, job));
		break;
	case FIELD_COUNT:
		r->ops->integer(r, *(const int32_t *)field_at(f, job));
		break;
	case FIELD_TIME:
		r->ops->integer(r, *(const int64_t *)field_at(f, job));
		break;
	case FIELD_ERRORS: put_errors(r, job); break;
	case FIELD_TOKEN: reply_hex(r, job->token); break;
	}
}

void
job_reply(struct reply *r, const struct bh_job *job)
{
	bool applies[nitems(fields)];
	size_t n = 0;

	for (size_t i = 0; i < nitems(fields); i++)
		n += applies[i] = field_applies(&fields[i], job);
	r->ops->map(r, n);
	for (size_t i = 0; i < nitems(fields); i++) {
		if (!applies[i])
			continue;
		reply_str(r, fields[i].name);
		put_field(r, &fields[i], job);
	}
}

const char *
gate_name(enum bh_gate gate)
{
	static const char *const names[] = {
		[BH_GATE_NONE] = "none", [BH_GATE_STATE] = "state",
		[BH_GATE_PAUSED] = "paused", [BH_GATE_HELD] = "held",
		[BH_GATE_DELAYED] = "delayed", [BH_GATE_RATE] = "rate",
		[BH_GATE_GROUP] = "group",
		[BH_GATE_CONCURRENCY] = "concurrency",
		[BH_GATE_MAX_ACTIVE] = "max_active",
		[BH_GATE_NO_HANDLER] = "no_handler",
		[BH_GATE_BROKEN] = "broken", [BH_GATE_UNIQUE] = "unique",
		[BH_GATE_BACKEND] = "backend",
	};

	CHECK(gate < nitems(names));
	return names[gate];
}
