/* SPDX-License-Identifier: MIT */
/* /v1/schedules: rows that add a job at their times. */
#include <string.h>

#include "http/opts.h"
#include "http/routes.h"

void
schedule_list(struct ask *a)
{
	ask_word(a, "SCHEDULE.LIST");
	ask_run(a, 0, ask_then_json);
}

static void
got(struct ask *a)
{
	struct bh_bytes json = a->call.json;

	/* [{…}], or []. */
	if (json.len <= 2)
		ask_fail(a, BH_E_NOTFOUND, "no schedule has the name"
		    " '%.*s'", (int)a->param[0].len, a->param[0].data);
	else
		ask_json(a, 200, (struct bh_bytes){json.data + 1,
		    json.len - 2});
}

void
schedule_get(struct ask *a)
{
	ask_word(a, "SCHEDULE.LIST");
	ask_add(a, a->param[0]);
	ask_run(a, 0, got);
}

void
schedule_remove(struct ask *a)
{
	ask_word(a, "SCHEDULE.DEL");
	ask_add(a, a->param[0]);
	ask_run(a, 0, ask_then_none);
}

/* Adds WORD value when the object has the member. */
static bool
add_member(struct ask *a, struct pairs *p, const char *name, const char *word)
{
	struct bh_bytes v;

	if (!ask_value(a, p, name, &v))
		return false;
	if (v.data) {
		ask_word(a, word);
		ask_add(a, v);
	}
	return true;
}

static bool
add_times(struct ask *a, struct pairs *p)
{
	struct bh_bytes cron;
	int64_t ms;
	bool every;

	if (!ask_value(a, p, "cron", &cron) ||
	    !ask_span(a, p, "every", &ms, &every))
		return false;
	if (every == (cron.data != NULL)) {
		ask_fail(a, BH_E_BADARG, "cron, every: one of them is"
		    " expected%s", every ? ", not both" : "");
		return false;
	}
	if (cron.data) {
		ask_word(a, "CRON");
		ask_add(a, cron);
	}
	if (every) {
		ask_word(a, "EVERY");
		ask_number(a, ms);
	}
	return add_member(a, p, "tz", "TZ") &&
	    add_member(a, p, "misfire", "MISFIRE") &&
	    add_member(a, p, "overlap", "OVERLAP");
}

void
schedule_put(struct ask *a)
{
	struct bh_bytes text = {a->web.body.data, a->web.body.len};
	struct bh_bytes queue, payload;
	struct pairs p;

	if (!ask_document(a) || !ask_members(a, a->json, &p) ||
	    !ask_value(a, &p, "queue", &queue) ||
	    !ask_bytes(a, &p, text, "payload", &payload))
		return;
	if (!queue.data) {
		ask_fail(a, BH_E_BADARG, "queue: it is missing");
		return;
	}
	ask_word(a, "SCHEDULE.SET");
	ask_add(a, a->param[0]);
	ask_add(a, queue);
	ask_add(a, payload.data ? payload : bytes_of("null"));
	if (add_times(a, &p) && opts_add(a, &p) && ask_known(a, &p))
		ask_run(a, 0, ask_then_none);
}
