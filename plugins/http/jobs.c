/* SPDX-License-Identifier: MIT */
/* /v1/queues/{}/jobs and /v1/jobs/{}: what producers and onlookers do. */
#include <string.h>

#include "http/opts.h"
#include "http/routes.h"

static const char not_twice[] = ",\"duplicate\":false}";

static void
added(struct ask *a)
{
	struct bh_bytes json = a->call.json;
	size_t tail = strlen(not_twice);
	struct text t = {0};

	if (json.len < tail || memcmp(json.data + json.len - tail, not_twice,
	    tail) != 0) {
		ask_json(a, 200, json);
		return;
	}
	text_room(&t, json.len);
	text_add(&t, json.data, json.len - tail);
	text_add(&t, "}\n", 2);
	a->status = 202;
	ask_text(a, "application/json", &t);
}

void
job_add(struct ask *a)
{
	ask_word(a, "JOB.ADD");
	ask_add(a, a->param[0]);
	ask_add(a, (struct bh_bytes){a->web.body.data ? a->web.body.data : "",
	    a->web.body.len});
	if (opts_add(a, &a->query))
		ask_run(a, BH_CALL_DETAIL, added);
}

static void
got(struct ask *a)
{
	if (!ask_is_null(a)) {
		ask_then_json(a);
		return;
	}
	if (!bytes_is(a->argv[0], "JOB.WAIT")) {
		ask_fail(a, BH_E_NOTFOUND, "no job has the id %.*s",
		    (int)a->param[0].len, a->param[0].data);
		return;
	}
	/* It is not over by now: as it is. */
	a->argc = 0;
	ask_word(a, "JOB.GET");
	ask_add(a, a->param[0]);
	ask_run(a, 0, got);
}

void
job_get(struct ask *a)
{
	int64_t ms;
	bool wait;

	if (!ask_span(a, &a->query, "wait", &ms, &wait))
		return;
	wait = wait && ms > 0;
	ask_word(a, wait ? "JOB.WAIT" : "JOB.GET");
	ask_add(a, a->param[0]);
	if (wait) {
		ask_number(a, ms);
		web_watch(&a->web);
	}
	ask_run(a, 0, got);
}

/* COMMAND id, answered by 204. */
static void
change(struct ask *a, const char *command)
{
	ask_word(a, command);
	ask_add(a, a->param[0]);
}

void
job_remove(struct ask *a)
{
	change(a, "JOB.REMOVE");
	ask_run(a, 0, ask_then_none);
}

void
job_promote(struct ask *a)
{
	change(a, "JOB.PROMOTE");
	ask_run(a, 0, ask_then_none);
}

void
job_update(struct ask *a)
{
	change(a, "JOB.UPDATE");
	ask_add(a, (struct bh_bytes){a->web.body.data ? a->web.body.data : "",
	    a->web.body.len});
	ask_run(a, 0, ask_then_none);
}

void
job_retry(struct ask *a)
{
	bool fresh;

	if (!ask_flag(a, &a->query, "fresh", &fresh))
		return;
	change(a, "JOB.RETRY");
	if (fresh)
		ask_word(a, "FRESH");
	ask_run(a, 0, ask_then_none);
}

void
job_cancel(struct ask *a)
{
	struct bh_bytes reason;

	change(a, "JOB.CANCEL");
	if (pairs_get(&a->query, "reason", &reason))
		ask_add(a, reason);
	ask_run(a, 0, ask_then_none);
}

void
job_why(struct ask *a)
{
	ask_word(a, "JOB.WHY");
	ask_add(a, a->param[0]);
	ask_run(a, 0, ask_then_json);
}
