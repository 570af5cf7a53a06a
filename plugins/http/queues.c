/* SPDX-License-Identifier: MIT */
/* /v1/queues: what concerns a whole queue. */
#include <string.h>

#include "http/routes.h"

void
queue_list(struct ask *a)
{
	ask_word(a, "QUEUE.STATS");
	ask_run(a, 0, ask_then_json);
}

/* With its name in front, as in the list. */
static void
measured(struct ask *a)
{
	struct bh_bytes json = a->call.json;
	struct text t = {0};

	text_adds(&t, "{\"queue\":");
	text_json(&t, a->param[0].data, a->param[0].len);
	text_addc(&t, ',');
	text_add(&t, json.data + 1, json.len - 1);
	text_addc(&t, '\n');
	ask_text(a, "application/json", &t);
}

void
queue_stats(struct ask *a)
{
	ask_word(a, "QUEUE.STATS");
	ask_add(a, a->param[0]);
	ask_run(a, 0, measured);
}

void
queue_errors(struct ask *a)
{
	ask_word(a, "QUEUE.ERRORS");
	ask_add(a, a->param[0]);
	ask_run(a, 0, ask_then_json);
}

/* ["cursor",[…]] becomes {"cursor":"cursor","jobs":[…]}. */
static void
listed(struct ask *a)
{
	struct bh_bytes json = a->call.json;
	const char *comma = memchr(json.data, ',', json.len);
	struct text t = {0};

	text_room(&t, json.len + 32);
	text_adds(&t, "{\"cursor\":");
	text_add(&t, json.data + 1, (size_t)(comma - json.data) - 1);
	text_adds(&t, ",\"jobs\":");
	text_add(&t, comma + 1, json.len - (size_t)(comma - json.data) - 2);
	text_adds(&t, "}\n");
	ask_text(a, "application/json", &t);
}

static bool
add_option(struct ask *a, const char *name, const char *word)
{
	struct bh_bytes v;

	if (!pairs_get(&a->query, name, &v))
		return false;
	if (*word)
		ask_word(a, word);
	ask_add(a, v);
	return true;
}

static bool
need_state(struct ask *a)
{
	if (add_option(a, "state", ""))
		return true;
	ask_fail(a, BH_E_BADARG, "state: it is missing; waiting, delayed,"
	    " active, completed or failed is expected");
	return false;
}

void
queue_jobs(struct ask *a)
{
	bool reverse;

	ask_word(a, "JOB.LIST");
	ask_add(a, a->param[0]);
	if (!need_state(a) || !ask_flag(a, &a->query, "reverse", &reverse))
		return;
	add_option(a, "cursor", "CURSOR");
	add_option(a, "count", "COUNT");
	add_option(a, "error", "ERROR");
	if (reverse)
		ask_word(a, "REVERSE");
	ask_run(a, 0, listed);
}

void
queue_pause(struct ask *a)
{
	ask_word(a, "QUEUE.PAUSE");
	ask_add(a, a->param[0]);
	ask_run(a, 0, ask_then_none);
}

void
queue_resume(struct ask *a)
{
	ask_word(a, "QUEUE.RESUME");
	ask_add(a, a->param[0]);
	ask_run(a, 0, ask_then_none);
}

void
queue_hold(struct ask *a)
{
	int64_t ms;
	bool seen;

	if (!ask_span(a, &a->query, "for", &ms, &seen))
		return;
	if (!seen) {
		ask_fail(a, BH_E_BADARG, "for: it is missing: for how long?"
		    " A number with a unit is expected: 10m");
		return;
	}
	ask_word(a, "QUEUE.HOLD");
	ask_add(a, a->param[0]);
	ask_number(a, ms);
	add_option(a, "reason", "");
	ask_run(a, 0, ask_then_none);
}

void
queue_retry(struct ask *a)
{
	ask_word(a, "QUEUE.RETRY");
	ask_add(a, a->param[0]);
	add_option(a, "error", "ERROR");
	ask_run(a, 0, ask_then_count);
}

void
queue_purge(struct ask *a)
{
	ask_word(a, "QUEUE.PURGE");
	ask_add(a, a->param[0]);
	if (!need_state(a))
		return;
	add_option(a, "error", "ERROR");
	ask_run(a, 0, ask_then_count);
}
