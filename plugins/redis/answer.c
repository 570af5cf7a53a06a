/* SPDX-License-Identifier: MIT */
#include <hiredis/hiredis.h>
#include <stdarg.h>

#include "redis/away.h"
#include "redis/error.h"
#include "redis/part.h"

void
be_answer(struct redis_be *be, struct bh_req *req)
{
	req->priv.next = NULL;
	*be->answers_tail = req;
	be->answers_tail = &req->priv.next;
}

void
be_ok(struct redis_be *be, struct bh_req *req)
{
	req->status = BH_OK;
	req->text[0] = '\0';
	be_answer(be, req);
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
	be_fail(be, req, be->closing ? BH_E_CANCELED : BH_E_BACKEND, "%s",
	    raway_why(be));
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

int
be_error(struct redis_be *be, const struct redisReply *r,
    char text[BH_ERROR_TEXT])
{
	if (r) {
		rserver_heed(be, r->str);
		return rerror_text(r->str, text);
	}
	if (be->closing) {
		snprintf(text, BH_ERROR_TEXT, "%s", be->away);
		return BH_E_CANCELED;
	}
	snprintf(text, BH_ERROR_TEXT, "the connection to Redis was lost, the"
	    " outcome is unknown%s%.100s", be->ready ? "" : ": ",
	    be->ready ? "" : be->away);
	return BH_E_IO;
}
