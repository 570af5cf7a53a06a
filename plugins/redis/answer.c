/* SPDX-License-Identifier: MIT */
#include <hiredis/hiredis.h>
#include <stdarg.h>

#include "redis/mem.h"
#include "redis/part.h"

void
be_answer(struct redis_be *be, struct bh_req *req)
{
	req->priv.next = NULL;
	*be->answers_tail = req;
	be->answers_tail = &req->priv.next;
}

void
be_fail(struct redis_be *be, struct bh_req *req, int code, const char *fmt,
    ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(req->text, sizeof(req->text), fmt, ap);
	va_end(ap);
	req->status = code;
	be_answer(be, req);
}

void
be_fail_away(struct redis_be *be, struct bh_req *req)
{
	be_fail(be, req, BH_E_BACKEND, "%s", be->away);
}

bool
be_answers(struct redis_be *be)
{
	struct bh_req *req = be->answers, *next;

	if (!req)
		return false;
	be->answers = NULL;
	be->answers_tail = &be->answers;
	for (; req; req = next) {
		next = req->priv.next;
		req->done(req);
	}
	return true;
}

void
be_done(struct bh_req *req)
{
	req->status = BH_OK;
	req->text[0] = '\0';
	req->done(req);
}

void
be_done_fail(struct bh_req *req, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(req->text, sizeof(req->text), fmt, ap);
	va_end(ap);
	req->status = code;
	req->done(req);
}

void
be_done_error(struct redis_be *be, struct bh_req *req,
    const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];
	int code = be_error(be, r, text);

	be_done_fail(req, code, "%s", text);
}

/* --- what the server's errors mean here --- */

struct meaning {
	const char *word;
	int code;
	const char *text;
};

static const struct meaning meanings[] = {
	{"OOM", BH_E_OOM, "Redis has no memory left for this (maxmemory):"
	    " give it more, or remove something"},
	{"READONLY", BH_E_BACKEND, "this Redis is a replica now: looking for"
	    " the new master"},
	{"LOADING", BH_E_BACKEND, "Redis is still reading its data after a"
	    " start: try again soon"},
	{"MASTERDOWN", BH_E_BACKEND, "this Redis is a replica that has lost"
	    " its master"},
	{"NOREPLICAS", BH_E_BACKEND, "Redis takes no writes while it has too"
	    " few replicas (min-replicas-to-write)"},
	{"MISCONF", BH_E_BACKEND, "Redis cannot save to its disk and takes no"
	    " writes: look at its log, the disk may be full"},
	{"NOAUTH", BH_E_BACKEND, "Redis wants a password: write it into"
	    " backend.url, redis://:PASSWORD@HOST"},
	{"WRONGPASS", BH_E_BACKEND, "Redis does not take this user and"
	    " password: correct backend.url"},
	{"NOPERM", BH_E_BACKEND, "the user of backend.url may not do this at"
	    " Redis: allow it ~* &* +@all"},
	{"MOVED", BH_E_BACKEND, "this Redis is a node of a cluster, and the"
	    " keys are on another one: a cluster needs backend.url of a"
	    " proxy, or a Redis without cluster-enabled"},
	{"ASK", BH_E_BACKEND, "this Redis is a node of a cluster that is"
	    " moving its keys: a Redis without cluster-enabled is needed"},
	{"CLUSTERDOWN", BH_E_BACKEND, "this Redis is a node of a cluster that"
	    " is down"},
	{"CROSSSLOT", BH_E_BACKEND, "in a cluster, the keys of one command"
	    " must have the same {hash tag}"},
	{"BUSY", BH_E_BACKEND, "Redis is busy with somebody's script: SCRIPT"
	    " KILL at that Redis ends it"},
};

int
be_error(struct redis_be *be, const struct redisReply *r,
    char text[BH_ERROR_TEXT])
{
	size_t len;

	if (!r) {
		snprintf(text, BH_ERROR_TEXT, "the connection to Redis was"
		    " lost, the outcome is unknown%s%.100s",
		    be->ready ? "" : ": ", be->ready ? "" : be->away);
		return BH_E_IO;
	}
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
		len = strlen(meanings[i].word);
		if (strncmp(r->str, meanings[i].word, len) != 0 ||
		    r->str[len] != ' ')
			continue;
		snprintf(text, BH_ERROR_TEXT, "%s", meanings[i].text);
		return meanings[i].code;
	}
	snprintf(text, BH_ERROR_TEXT, "Redis says: %.200s", r->str);
	return BH_E_BACKEND;
}
