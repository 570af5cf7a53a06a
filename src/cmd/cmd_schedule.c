/* SPDX-License-Identifier: MIT */
/* Commands about what adds jobs by the clock. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/cron.h"
#include "base/json.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/op.h"
#include "cmd/rows.h"
#include "cmd/schedule_reply.h"
#include "cmd/session.h"

#define PREVIEW_DEFAULT 5
#define PREVIEW_MAX 100

enum { O_CRON, O_TZ, O_EVERY, O_MISFIRE, O_OVERLAP, O_COUNT };

/* 1 to 256 bytes of text that a terminal and a URL can show. */
static int
check_name(struct bh_bytes v, struct err *e)
{
	struct bh_bytes ignored;

	if (arg_key("name", v, &ignored, e) < 0)
		return -1;
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.data[i] < 0x20 || v.data[i] == 0x7f)
			return err_set(e, BH_E_BADARG, "name: a control "
			    "character is at byte %zu; text is expected",
			    i + 1);
	if (!json_utf8(v.data, v.len))
		return err_set(e, BH_E_BADARG, "name: not valid UTF-8; text "
		    "is expected");
	return 0;
}

static int
check_queue(const struct cmd_call *call, struct bh_bytes queue,
    struct err *e)
{
	if (arg_queue(queue, e) < 0)
		return -1;
	if (!session_may(call->who, queue))
		return err_set(e, BH_E_NOPERM, "the token '%s' does not "
		    "include the queue '%.*s'", call->who->user,
		    (int)queue.len, queue.data);
	return 0;
}

/* How many words a job option takes with its values. */
static size_t
job_option_words(struct bh_bytes name)
{
	return str_is(name.data, name.len, "BACKOFF") ? 3 : 2;
}

/* Sorts argv[4..) into the schedule's own options and the jobs'; *ret_words
 * is to be freed. */
static int
sort_options(const struct cmd_call *call, struct arg_opt *own,
    struct bh_bytes **ret_words, size_t *ret_n, struct err *e)
{
	struct bh_bytes *words = xcalloc(call->argc, sizeof(*words));
	size_t at = 4, n = 0, i;

	*ret_words = words;
	while (at < call->argc) {
		struct bh_bytes v = call->argv[at];
		size_t left = job_option_words(v);

		for (i = 0; i < O_COUNT; i++)
			if (str_is(v.data, v.len, own[i].name))
				break;
		if (i < O_COUNT) {
			if (arg_opts("SCHEDULE.SET", call->argv,
			    at + 2 < call->argc ? at + 2 : call->argc, at,
			    own, O_COUNT, e) < 0)
				return -1;
			at += 2;
			continue;
		}
		for (; left > 0 && at < call->argc; left--)
			words[n++] = call->argv[at++];
	}
	*ret_n = n;
	return 0;
}

static int
parse_times(const struct arg_opt *o, struct bh_schedule *s, struct err *e)
{
	if (o[O_CRON].seen == o[O_EVERY].seen)
		return err_set(e, BH_E_ERR, "syntax error: either CRON expr or "
		    "EVERY ms is expected");
	if (o[O_TZ].seen && !o[O_CRON].seen)
		return err_set(e, BH_E_BADARG, "TZ: only with CRON; EVERY "
		    "knows no zone");
	s->cron = o[O_CRON].value;
	s->zone = o[O_TZ].value;
	if (o[O_CRON].seen && s->cron.len == 0)
		return err_set(e, BH_E_BADARG, "CRON: '' is empty; an "
		    "expression such as 0 6 * * * is expected");
	if (!o[O_EVERY].seen)
		return 0;
	return arg_int("EVERY", o[O_EVERY].value, 1, ARG_SPAN_MAX,
	    &s->every_ms, e);
}

static int
parse_rules(const struct arg_opt *o, struct bh_schedule *s, struct err *e)
{
	int64_t n;

	s->misfire = BH_MISFIRE_ONCE;
	s->overlap = BH_OVERLAP_SKIP;
	if (o[O_MISFIRE].seen) {
		if (arg_word("MISFIRE", o[O_MISFIRE].value, schedule_misfires,
		    &n, e) < 0)
			return -1;
		s->misfire = (enum bh_misfire)n;
	}
	if (o[O_OVERLAP].seen) {
		if (arg_word("OVERLAP", o[O_OVERLAP].value, schedule_overlaps,
		    &n, e) < 0)
			return -1;
		s->overlap = (enum bh_overlap)n;
	}
	return 0;
}

static int
parse_job_opts(const struct bh_bytes *words, size_t n, struct bh_schedule *s,
    struct err *e)
{
	if (arg_job_opts(words, n, 0, &s->opts, e) < 0)
		return -1;
	if (s->opts.at >= 0)
		return err_set(e, BH_E_BADARG, "AT: a schedule has times of "
		    "its own; DELAY is possible");
	return 0;
}

static int
parse_set(struct cmd_call *call, struct bh_schedule *s, struct err *e)
{
	struct arg_opt own[O_COUNT] = {{.name = "CRON"}, {.name = "TZ"},
	    {.name = "EVERY"}, {.name = "MISFIRE"}, {.name = "OVERLAP"}};
	struct bh_bytes *words = NULL;
	size_t n;
	int rc;

	*s = (struct bh_schedule){.name = call->argv[1],
	    .queue = call->argv[2], .payload = call->argv[3]};
	if (check_name(s->name, e) < 0 ||
	    check_queue(call, s->queue, e) < 0 ||
	    arg_size("payload", s->payload, call->env->conf->max_payload,
	    "max_payload", e) < 0)
		return -1;
	rc = sort_options(call, own, &words, &n, e);
	if (rc == 0)
		rc = parse_times(own, s, e);
	if (rc == 0)
		rc = parse_rules(own, s, e);
	if (rc == 0)
		rc = parse_job_opts(words, n, s, e);
	free(words);
	return rc;
}

static void
was_set(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;

	if (op_failed(op))
		return;
	r->ops->integer(r, op->schedule_put.next_at);
	op_end(op);
}

static void
send_set(struct op *op)
{
	struct cmd_env *env = op->call->env;

	env->ops->schedule_put(env->be, &op->schedule_put);
}

static void
removed(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (!op_failed(op))
		op_ok(op);
}

static void
send_del(struct op *op)
{
	struct cmd_env *env = op->call->env;

	op->schedule_remove = (struct bh_schedule_remove){
	    .req.done = removed, .name = op->call->argv[1]};
	env->ops->schedule_remove(env->be, &op->schedule_remove);
}

/* The look at the schedule that comes before the command itself. */
struct guard {
	struct bh_schedule_list list;	/* first */
	struct op *op;
};

static void
guard_done(struct bh_req *req)
{
	struct guard *g = (struct guard *)req;
	struct op *op = g->op;
	struct err e = ERR_INIT;

	if (req->status != BH_OK)
		err_set(&e, req->status, "%s", req->text);
	else if (g->list.nschedules > 0)
		(void)check_queue(op->call, g->list.schedules[0].queue, &e);
	free(g);
	if (e.code)
		op_fail(op, &e);
	else
		op->send(op);
}

/* Calls send(op) once it is sure that the caller's token includes the queue
 * of the schedule that is there now. */
static void
guarded(struct op *op, void (*send)(struct op *op))
{
	struct cmd_env *env = op->call->env;
	struct guard *g;

	if (op->call->who->npatterns == 0) {
		send(op);
		return;
	}
	g = xcalloc(1, sizeof(*g));
	g->op = op;
	g->list.req.done = guard_done;
	g->list.name = op->call->argv[1];
	op->send = send;
	env->ops->schedule_list(env->be, &g->list);
}

void
cmd_schedule_set(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	op->schedule_put = (struct bh_schedule_put){.req.done = was_set};
	if (parse_set(call, &op->schedule_put.schedule, &e) < 0)
		op_fail(op, &e);
	else
		guarded(op, send_set);
}

void
cmd_schedule_del(struct cmd_call *call)
{
	guarded(op_new(call), send_del);
}

static void
listed(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct reply *r = op->call->reply;
	const struct bh_schedule *s = op->schedule_list.schedules;
	size_t n = 0;

	if (op_failed(op))
		return;
	for (size_t i = 0; i < op->schedule_list.nschedules; i++)
		n += session_may(op->call->who, s[i].queue);
	r->ops->array(r, n);
	for (size_t i = 0; i < op->schedule_list.nschedules; i++)
		if (session_may(op->call->who, s[i].queue))
			schedule_reply(r, &s[i]);
	op_end(op);
}

void
cmd_schedule_list(struct cmd_call *call)
{
	struct op *op = op_new(call);
	struct err e;

	if (call->argc > 2) {
		err_set(&e, BH_E_ERR, "syntax error: SCHEDULE.LIST takes one "
		    "name");
		op_fail(op, &e);
		return;
	}
	op->schedule_list = (struct bh_schedule_list){.req.done = listed};
	if (call->argc == 2)
		op->schedule_list.name = call->argv[1];
	call->env->ops->schedule_list(call->env->be, &op->schedule_list);
}

static void
preview(struct reply *r, const struct cron *c, const struct tz *z,
    int64_t after, int64_t count)
{
	int64_t at[PREVIEW_MAX];
	size_t n = 0;

	while (n < (size_t)count &&
	    (after = cron_next(c, z, after)) != CRON_NEVER)
		at[n++] = after;
	r->ops->array(r, n);
	for (size_t i = 0; i < n; i++)
		r->ops->integer(r, at[i]);
}

void
cmd_schedule_preview(struct cmd_call *call)
{
	struct arg_opt o[] = {{.name = "TZ"}, {.name = "COUNT"},
	    {.name = "AFTER"}};
	int64_t count = PREVIEW_DEFAULT, after = clock_now().wall_ms;
	struct bh_bytes expr = call->argv[1];
	struct tz *z = NULL;
	struct cron c;
	struct err e;
	int rc = arg_opts(call->row->name, call->argv, call->argc, 2, o, 3,
	    &e);

	if (rc == 0 && o[1].seen)
		rc = arg_int("COUNT", o[1].value, 1, PREVIEW_MAX, &count, &e);
	if (rc == 0 && o[2].seen)
		rc = arg_int("AFTER", o[2].value, 0,
		    INT64_C(253402300799999), &after, &e);
	if (rc == 0)
		rc = tz_load(o[0].value.data, o[0].value.len, &z, &e);
	if (rc == 0)
		rc = cron_check(&c, expr.data, expr.len, z, after, &e);
	if (rc == 0)
		preview(call->reply, &c, z, after, count);
	tz_free(&z);
	if (rc < 0)
		cmd_fail(call, &e);
	else
		cmd_done(call);
}
