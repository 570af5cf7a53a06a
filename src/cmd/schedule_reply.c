/* SPDX-License-Identifier: MIT */
#include "cmd/schedule_reply.h"

#include <stdbool.h>

#include "base/attr.h"

const char *const schedule_misfires[] = {"skip", "once", "all", NULL};
const char *const schedule_overlaps[] = {"skip", "queue", NULL};

static const char *const outcomes[] = {
	[BH_TICK_RAN] = "ran",
	[BH_TICK_LATE] = "late",
	[BH_TICK_SKIPPED] = "skipped",
};

static const char *const backoffs[] = {"fixed", "exponential"};
static const char *const modes[] = {"keep", "replace", "follow"};

/* A job option, where the schedule states it. */
struct option {
	const char *name;
	enum { OPT_I64, OPT_I32, OPT_I8, OPT_REAL, OPT_BYTES, OPT_WORD } kind;
	size_t at;
	const char *const *words;
};

#define AT(field) offsetof(struct bh_job_opts, field)

static const struct option options[] = {
	{"priority", OPT_I8, AT(priority), NULL},
	{"delay_ms", OPT_I64, AT(delay_ms), NULL},
	{"expires_ms", OPT_I64, AT(expires_ms), NULL},
	{"attempts", OPT_I32, AT(attempts), NULL},
	{"backoff", OPT_WORD, AT(backoff_type), backoffs},
	{"backoff_ms", OPT_I64, AT(backoff_ms), NULL},
	{"backoff_factor", OPT_REAL, AT(backoff_factor), NULL},
	{"backoff_max_ms", OPT_I64, AT(backoff_max_ms), NULL},
	{"backoff_jitter", OPT_REAL, AT(backoff_jitter), NULL},
	{"timeout_ms", OPT_I64, AT(timeout_ms), NULL},
	{"group", OPT_BYTES, AT(group), NULL},
	{"unique", OPT_BYTES, AT(unique), NULL},
	{"unique_ttl_ms", OPT_I64, AT(unique_ttl_ms), NULL},
	{"unique_mode", OPT_WORD, AT(unique_mode), modes},
	{"lease_ms", OPT_I64, AT(lease_ms), NULL},
	{"max_stalled", OPT_I32, AT(max_stalled), NULL},
	{"retain_ms", OPT_I64, AT(retain_ms), NULL},
};

#undef AT

static int64_t
number(const struct option *o, const void *field)
{
	if (o->kind == OPT_I64)
		return *(const int64_t *)field;
	if (o->kind == OPT_I32)
		return *(const int32_t *)field;
	return *(const int8_t *)field;
}

static bool
is_said(const struct option *o, const void *field)
{
	if (o->kind == OPT_REAL)
		return *(const double *)field >= 0;
	if (o->kind == OPT_BYTES)
		return ((const struct bh_bytes *)field)->len > 0;
	return number(o, field) >= 0;
}

static void
put_option(struct reply *r, const struct option *o, const void *field)
{
	reply_str(r, o->name);
	if (o->kind == OPT_REAL)
		r->ops->real(r, *(const double *)field);
	else if (o->kind == OPT_BYTES)
		reply_bytes(r, *(const struct bh_bytes *)field);
	else if (o->kind == OPT_WORD)
		reply_str(r, o->words[number(o, field)]);
	else
		r->ops->integer(r, number(o, field));
}

static void
put_options(struct reply *r, const struct bh_job_opts *opts)
{
	size_t n = 0;

	for (size_t i = 0; i < nitems(options); i++)
		n += is_said(&options[i], (const char *)opts + options[i].at);
	reply_str(r, "options");
	r->ops->map(r, n);
	for (size_t i = 0; i < nitems(options); i++) {
		const void *field = (const char *)opts + options[i].at;

		if (is_said(&options[i], field))
			put_option(r, &options[i], field);
	}
}

static void
put_ticks(struct reply *r, const struct bh_schedule *s)
{
	reply_str(r, "ticks");
	r->ops->array(r, s->nticks);
	for (size_t i = 0; i < s->nticks; i++) {
		const struct bh_tick *t = &s->ticks[i];

		r->ops->map(r, 3 + (t->job != 0));
		reply_pair_int(r, "due", t->due);
		reply_pair_int(r, "at", t->at);
		reply_pair_str(r, "outcome", outcomes[t->outcome]);
		if (t->job) {
			reply_str(r, "job");
			reply_id(r, t->job);
		}
	}
}

static void
put_bytes(struct reply *r, const char *name, struct bh_bytes v)
{
	reply_str(r, name);
	r->ops->bulk(r, v.data, v.len);
}

void
schedule_reply(struct reply *r, const struct bh_schedule *s)
{
	bool owned = s->owner.len > 0, cron = s->cron.len > 0;

	r->ops->map(r, (cron ? 10 : 9) + (size_t)owned + (s->next_at != 0));
	put_bytes(r, "name", s->name);
	if (owned)
		put_bytes(r, "owner", s->owner);
	put_bytes(r, "queue", s->queue);
	put_bytes(r, "payload", s->payload);
	if (cron) {
		put_bytes(r, "cron", s->cron);
		put_bytes(r, "tz", s->zone.len ? s->zone
		    : (struct bh_bytes){"UTC", 3});
	} else {
		reply_pair_int(r, "every_ms", s->every_ms);
	}
	reply_pair_str(r, "misfire", schedule_misfires[s->misfire]);
	reply_pair_str(r, "overlap", schedule_overlaps[s->overlap]);
	reply_pair_int(r, "created_at", s->created_at);
	if (s->next_at)
		reply_pair_int(r, "next_at", s->next_at);
	put_options(r, &s->opts);
	put_ticks(r, s);
}
