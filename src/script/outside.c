/* SPDX-License-Identifier: MIT */
#include "script/outside.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "script/child.h"
#include "script/curl_client.h"

struct outside {
	struct curl_client *curl;
	struct children *children;
};

struct outside *
outside_new(struct ev_loop *loop, outside_fn *done, void *arg)
{
	struct outside *o = xcalloc(1, sizeof(*o));

	o->curl = curl_client_new(loop, done, arg);
	o->children = children_new(loop, done, arg);
	return o;
}

void
outside_free(struct outside **op)
{
	struct outside *o = *op;

	*op = NULL;
	if (!o)
		return;
	curl_client_free(&o->curl);
	children_free(&o->children);
	free(o);
}

void
outside_begin(struct outside *o, struct call *c)
{
	if (c->kind == CALL_EXEC)
		children_begin(o->children, c);
	else
		curl_client_begin(o->curl, c);
}

void
outside_cancel(struct outside *o, struct call *c)
{
	if (c->kind == CALL_EXEC)
		children_cancel(o->children, c);
	else
		curl_client_cancel(o->curl, c);
}
