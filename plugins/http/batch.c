/* SPDX-License-Identifier: MIT */
/*
 * /v1/queues/{}/jobs:batch: a job on each line, {"payload":…, options…}. All
 * of them are added, or none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/opts.h"
#include "http/routes.h"

#define LINES_MAX 100000

static void
added(struct ask *a)
{
	struct bh_bytes json = a->call.json;
	json_t *jobs = json_loadb(json.data, json.len, 0, NULL), *job;
	struct text t = {0};
	size_t i;

	text_adds(&t, "{\"ids\":[");
	json_array_foreach(jobs, i, job) {
		json_t *id = json_object_get(job, "id");

		text_adds(&t, i > 0 ? "," : "");
		text_json(&t, json_string_value(id), json_string_length(id));
	}
	text_adds(&t, "],\"jobs\":");
	text_add(&t, json.data, json.len);
	text_adds(&t, "}\n");
	json_decref(jobs);
	a->status = 202;
	ask_text(a, "application/json", &t);
}

/* queue payload k [k words] */
static bool
add_job(struct ask *a, struct bh_bytes line, json_t *object)
{
	struct bh_bytes payload;
	struct pairs p;
	size_t at;
	char *s;

	if (!ask_members(a, object, &p) ||
	    !ask_bytes(a, &p, line, "payload", &payload))
		return false;
	/* null is a payload like others. */
	if (!payload.data)
		payload = json_member(line.data, line.len, "payload");
	if (!payload.data) {
		ask_fail(a, BH_E_BADARG, "payload: it is missing");
		return false;
	}
	if (payload.len > a->door->max_payload) {
		ask_fail(a, BH_E_TOOBIG, "payload: it has %zu bytes, at most"
		    " %zu are allowed (max_payload)", payload.len,
		    a->door->max_payload);
		return false;
	}
	ask_add(a, a->param[0]);
	ask_add(a, payload);
	ask_word(a, "");
	at = a->argc;
	if (!opts_add(a, &p) || !ask_known(a, &p))
		return false;
	s = web_printf(&a->web, "%zu", a->argc - at);
	a->argv[at - 1] = bytes_of(s);
	return true;
}

static bool
add_line(struct ask *a, struct bh_bytes line)
{
	json_error_t e;
	json_t *object = json_loadb(line.data, line.len,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
	    &e);

	if (!object) {
		ask_fail(a, BH_E_BADARG, "this is not JSON: column %d: %s",
		    e.column, e.text);
		return false;
	}
	/* Words of the command are inside of it. */
	json_array_append_new(a->json, object);
	if (!json_is_object(object)) {
		ask_fail(a, BH_E_BADARG, "an object is expected:"
		    " {\"payload\":…}");
		return false;
	}
	return add_job(a, line, object);
}

static bool
is_blank(struct bh_bytes line)
{
	/* The body ends with a NUL, the line before it with a break. */
	return strspn(line.data, " \t\r") >= line.len;
}

/* "number 2 of 3: …" is about the second line that is not blank. */
static const char *
name_line(struct ask *a, const char *text)
{
	const char *p = text_str(&a->web.body);
	const char *end = p + a->web.body.len;
	long long number, all, jobs = 0;
	int n = 0;

	if (sscanf(text, "number %lld of %lld: %n", &number, &all, &n) != 2 ||
	    n == 0)
		return ask_retell(a, text);
	for (unsigned line = 1; p < end; line++) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		struct bh_bytes v = {p, (size_t)((stop ? stop : end) - p)};

		p = stop ? stop + 1 : end;
		if (!is_blank(v) && ++jobs == number)
			return web_printf(&a->web, "line %u: %s", line,
			    ask_retell(a, text + n));
	}
	return text;
}

void
job_batch(struct ask *a)
{
	const char *p = text_str(&a->web.body);
	const char *end = p + a->web.body.len;
	size_t jobs = 0;

	a->json = json_array();
	ask_word(a, "JOB.MPUT");
	ask_word(a, "");
	for (a->line = 1; p < end; a->line++) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		struct bh_bytes line = {p, (size_t)((stop ? stop : end) - p)};

		p = stop ? stop + 1 : end;
		if (is_blank(line))
			continue;
		if (jobs++ == LINES_MAX) {
			ask_fail(a, BH_E_TOOBIG, "at most %d jobs are taken"
			    " at once", LINES_MAX);
			return;
		}
		if (!add_line(a, line))
			return;
	}
	a->line = 0;
	if (jobs == 0) {
		ask_fail(a, BH_E_BADARG, "the body: a JSON object on each"
		    " line is expected, and there is none");
		return;
	}
	a->argv[1] = bytes_of(web_printf(&a->web, "%zu", jobs));
	a->retold = name_line;
	ask_run(a, 0, added);
}
