/* SPDX-License-Identifier: MIT */
/* /hooks/{}: what a script has asked others to call. */
#include <stdlib.h>
#include <string.h>

#include "http/routes.h"

static void
reply(struct ask *a, int status, const char *type, struct bh_bytes body)
{
	struct text t = {0};

	text_add(&t, body.data, body.len);
	if (t.len > 0 && !type)
		text_addc(&t, '\n');
	a->status = status;
	ask_text(a, t.len == 0 ? NULL : type ? type : "application/json", &t);
}

static void
on_done(struct bh_hook *hook)
{
	struct ask *a = hook->user;

	a->running = false;
	client_drop(a->client);
	if (hook->http >= 400 && hook->json.len == 0)
		ask_problem(a, hook->http, code_word(hook->status),
		    hook->text ? hook->text : "", hook->retry_ms);
	else if (hook->http == 204)
		ask_none(a);
	else
		reply(a, hook->http, hook->type, hook->json);
}

void
hook_call(struct ask *a)
{
	struct bh_hook *hook = web_alloc(&a->web, sizeof(*hook));
	struct bh_header *headers = NULL;
	size_t n = web_all_headers(&a->web, &headers);

	*hook = (struct bh_hook){.name = a->param[0],
	    .method = web_printf(&a->web, "%s", a->web.method_name),
	    .path = {a->web.path, strlen(a->web.path)},
	    .query = a->query.items, .nquery = a->query.n,
	    .headers = headers, .nheaders = n,
	    .body = {a->web.body.data ? a->web.body.data : "",
	    a->web.body.len}, .peer = web_peer(a->web.conn),
	    .done = on_done, .user = a, .retry_ms = -1};
	a->hook = hook;
	a->running = true;
	client_hold(a->client);
	a->door->host->hook(hook);
}
