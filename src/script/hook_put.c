/* SPDX-License-Identifier: MIT */
#include "script/hook_put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xalloc.h"
#include "cmd/args.h"

/* Words become a request; what the script asked for may be wrong. */
static int
fill(const struct hook_run *r, const struct hook_job *j, struct bh_put *put,
    struct bh_bytes *payload, int64_t *id, int64_t max_payload,
    struct err *e)
{
	const struct bh_bytes *w = &r->words[j->first];

	*put = (struct bh_put){.queue = w[0], .payloads = payload,
	    .npayloads = 1, .ids = id};
	*payload = j->raw ? r->hook->body : w[1];
	if (arg_queue(w[0], e) < 0 ||
	    arg_size("payload", *payload, max_payload, "max_payload", e) < 0)
		return -1;
	if (arg_job_opts(w, j->nwords, 2, &put->opts, e) == 0)
		return 0;
	e->code = BH_E_ERR;		/* a key that is too long, too */
	return -1;
}

int
hook_put_jobs(struct hook_put *p, struct hook_run *r, int64_t max_payload,
    struct err *e)
{
	const char *base = buf_size(&r->bytes) ? buf_peek(&r->bytes) : "";
	size_t i;

	for (i = 0; i < r->nwords; i++)
		r->words[i].data = base + (uintptr_t)r->words[i].data;
	p->n = r->njobs;
	p->payloads = xcalloc(p->n, sizeof(*p->payloads));
	if (p->n > 1) {
		p->more = xcalloc(p->n - 1, sizeof(*p->more));
		p->ids = xcalloc(p->n - 1, sizeof(*p->ids));
	}
	if (fill(r, &r->jobs[0], &p->put, &p->payloads[0], &p->id,
	    max_payload, e) < 0)
		return -1;
	for (i = 1; i < p->n; i++) {
		if (fill(r, &r->jobs[i], &p->more[i - 1], &p->payloads[i],
		    &p->ids[i - 1], max_payload, e) < 0)
			return -1;
		if (i > 1)
			p->more[i - 2].also = &p->more[i - 1];
	}
	p->put.also = p->more;
	return 0;
}

int
hook_put_body(struct hook_put *p, const struct hook_run *r,
    const char *queue, int64_t max_payload, struct err *e)
{
	p->n = 1;
	p->payloads = xcalloc(1, sizeof(*p->payloads));
	p->payloads[0] = r->hook->body;
	p->put = (struct bh_put){.queue = {queue, strlen(queue)},
	    .payloads = p->payloads, .npayloads = 1, .ids = &p->id};
	bh_job_opts_init(&p->put.opts);
	return arg_size("payload", p->payloads[0], max_payload, "max_payload",
	    e);
}

void
hook_put_done(struct hook_put *p)
{
	free(p->more);
	free(p->payloads);
	free(p->ids);
	p->more = NULL;
	p->payloads = NULL;
	p->ids = NULL;
	p->n = 0;
}

static void
put_id(struct json *j, int64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)id);
	json_str(j, text);
}

static void
put_list(const struct hook_put *p, struct json *j)
{
	size_t i;

	json_key(j, "ids");
	json_array(j);
	put_id(j, p->id);
	for (i = 1; i < p->n; i++)
		put_id(j, p->ids[i - 1]);
	json_array_end(j);
}

void
hook_put_json(const struct hook_put *p, struct buf *out)
{
	struct json j;

	json_init(&j, out);
	json_object(&j);
	if (p->n > 1) {
		put_list(p, &j);
	} else {
		json_key(&j, "id");
		put_id(&j, p->id);
		json_key(&j, "queue");
		json_bytes(&j, p->put.queue.data, p->put.queue.len);
		json_key(&j, "state");
		json_str(&j, arg_states[p->put.state]);
	}
	if (hook_put_duplicate(p)) {
		json_key(&j, "duplicate");
		json_bool(&j, true);
	}
	json_object_end(&j);
}

bool
hook_put_duplicate(const struct hook_put *p)
{
	return p->n == 1 && p->put.duplicate;
}
