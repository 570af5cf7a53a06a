/* SPDX-License-Identifier: MIT */
/* What outside workers do: fetch a job, hold it, end it. */
#include <stdlib.h>
#include <string.h>

#include "http/routes.h"

/* ------------------------------------------------------------------- fetch */

/* Gives one job back for a client that has gone. */
struct giving {
	struct bh_call call;
	struct client *client;
	struct bh_bytes argv[3];
	char *id, *token;
};

static void
given(struct bh_call *call)
{
	struct giving *g = call->user;

	client_drop(g->client);
	free(g->id);
	free(g->token);
	free(g);
}

static void
give_back(struct ask *a, const char *id, const char *token)
{
	struct giving *g = mem_new(sizeof(*g));

	g->client = a->client;
	g->id = mem_copy(id, strlen(id));
	g->token = mem_copy(token, strlen(token));
	g->argv[0] = bytes_of("JOB.RELEASE");
	g->argv[1] = bytes_of(g->id);
	g->argv[2] = bytes_of(g->token);
	g->call = (struct bh_call){.caller = a->client->caller,
	    .argv = g->argv, .argc = 3, .done = given, .user = g};
	client_hold(g->client);
	a->door->host->run(&g->call);
}

void
job_unfetch(struct ask *a)
{
	json_t *jobs, *job;
	size_t i;

	/* The store is closed too, or soon is: the lease will run out. */
	if (!a->door->web)
		return;
	jobs = json_loads(a->taken, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
	    NULL);
	json_array_foreach(jobs, i, job) {
		const char *id = json_string_value(json_object_get(job, "id"));
		const char *token = json_string_value(json_object_get(job,
		    "token"));

		if (id && token)
			give_back(a, id, token);
	}
	json_decref(jobs);
	free(a->taken);
	a->taken = NULL;
}

static void
fetched(struct ask *a)
{
	if (ask_is_null(a)) {
		ask_json(a, 200, bytes_of("[]"));
		return;
	}
	a->taken = mem_copy(a->call.json.data, a->call.json.len);
	/* What is written to a client that has gone would seem to be sent. */
	if (web_has_left(&a->web)) {
		job_unfetch(a);
		ask_fail(a, BH_E_CANCELED, "the client has hung up");
	} else {
		ask_json(a, 200, a->call.json);
	}
}

void
job_fetch(struct ask *a)
{
	struct bh_bytes count, worker;
	int64_t wait, lease;
	bool has_wait, has_lease;

	if (!ask_span(a, &a->query, "wait", &wait, &has_wait) ||
	    !ask_span(a, &a->query, "lease", &lease, &has_lease))
		return;
	ask_word(a, "JOB.FETCH");
	ask_add(a, a->param[0]);
	if (pairs_get(&a->query, "count", &count)) {
		ask_word(a, "COUNT");
		ask_add(a, count);
	}
	if (has_lease) {
		ask_word(a, "LEASE");
		ask_number(a, lease);
	}
	if (pairs_get(&a->query, "worker", &worker)) {
		ask_word(a, "WORKER");
		ask_add(a, worker);
	}
	/* There, 0 is for ever; here it is not at all. */
	if (has_wait && wait > 0) {
		ask_word(a, "BLOCK");
		ask_number(a, wait);
		web_watch(&a->web);
	}
	ask_run(a, 0, fetched);
}

/* --------------------------------------------------------------------- end */

/* COMMAND id token, of a body and a query. */
static bool
start(struct ask *a, const char *command, struct pairs *p)
{
	struct bh_bytes token;

	if (!ask_document(a) || !ask_members(a, a->json, p) ||
	    !ask_value(a, p, "token", &token))
		return false;
	if (!token.data) {
		ask_fail(a, BH_E_BADARG, "token: it is missing; fetch gave it"
		    " with the job");
		return false;
	}
	ask_word(a, command);
	ask_add(a, a->param[0]);
	ask_add(a, token);
	return true;
}

static bool
add_span(struct ask *a, struct pairs *p, const char *name, const char *word)
{
	int64_t ms;
	bool seen;

	if (!ask_span(a, p, name, &ms, &seen) ||
	    (!seen && !ask_span(a, &a->query, name, &ms, &seen)))
		return false;
	if (!seen)
		return true;
	if (*word)
		ask_word(a, word);
	ask_number(a, ms);
	return true;
}

static void
finish(struct ask *a, struct pairs *p, ask_fn *then)
{
	if (ask_known(a, p))
		ask_run(a, 0, then);
}

void
job_done(struct ask *a)
{
	struct bh_bytes text, result;
	struct pairs p;

	if (!start(a, "JOB.DONE", &p))
		return;
	text = (struct bh_bytes){a->web.body.data, a->web.body.len};
	if (!ask_bytes(a, &p, text, "result", &result))
		return;
	if (result.data || pairs_get(&a->query, "result", &result))
		ask_add(a, result);
	finish(a, &p, ask_then_none);
}

/* "delayed", or what has become of it. */
static void
failed(struct ask *a)
{
	char *s = web_printf(&a->web, "{\"id\":\"%.*s\",\"state\":%.*s}",
	    (int)a->param[0].len, a->param[0].data, (int)a->call.json.len,
	    a->call.json.data);

	ask_json(a, 200, bytes_of(s));
}

void
job_fail(struct ask *a)
{
	struct bh_bytes message;
	bool final = false;
	struct pairs p;

	if (!start(a, "JOB.FAIL", &p) ||
	    !ask_value(a, &p, "message", &message))
		return;
	if (!message.data) {
		ask_fail(a, BH_E_BADARG, "message: it is missing: why did the"
		    " job fail?");
		return;
	}
	ask_add(a, message);
	if (!ask_flag(a, &p, "final", &final) ||
	    (!final && !ask_flag(a, &a->query, "final", &final)))
		return;
	if (final)
		ask_word(a, "FINAL");
	if (add_span(a, &p, "delay", "DELAY"))
		finish(a, &p, failed);
}

void
job_release(struct ask *a)
{
	struct pairs p;

	if (start(a, "JOB.RELEASE", &p) && add_span(a, &p, "delay", "DELAY"))
		finish(a, &p, ask_then_none);
}

void
job_extend(struct ask *a)
{
	struct pairs p;

	if (!start(a, "JOB.EXTEND", &p) || !add_span(a, &p, "lease", ""))
		return;
	if (a->argc == 3)
		ask_fail(a, BH_E_BADARG, "lease: it is missing: for how"
		    " long? A number with a unit is expected: 30s");
	else
		finish(a, &p, ask_then_none);
}

void
job_progress(struct ask *a)
{
	struct bh_bytes value = {NULL, 0};
	struct pairs p;

	if (!start(a, "JOB.PROGRESS", &p))
		return;
	/* Text as it is, anything deeper as JSON. */
	if (pairs_get(&p, "value", &value)) {
		if (!value.data)
			value = json_member(a->web.body.data,
			    a->web.body.len, "value");
	} else {
		pairs_get(&a->query, "value", &value);
	}
	if (!value.data) {
		ask_fail(a, BH_E_BADARG, "value: it is missing: how far is"
		    " the job?");
		return;
	}
	ask_add(a, value);
	finish(a, &p, ask_then_none);
}
