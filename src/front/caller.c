/* SPDX-License-Identifier: MIT */
/*
 * Who asks through a plugin's door: sessions, and the commands they run. A
 * call is a cmd_call with a JSON sink; it lives until the door's done() has
 * returned.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "cmd/session.h"
#include "front/feed.h"
#include "front/host_impl.h"
#include "front/json_sink.h"

/* Calls come and go with every request: some are kept at hand, with as much
 * of their buffer. */
#define SPARE_MAX 256
#define SPARE_BYTES 4096

struct host_call {
	struct cmd_call call;		/* first */
	struct json_sink sink;
	struct buf out;
	struct bh_call *bh;
	TAILQ_ENTRY(host_call) entry;
};

static struct host_call *
call_new(struct plugin_host *h)
{
	struct host_call *hc = TAILQ_FIRST(&h->spare);

	if (hc) {
		TAILQ_REMOVE(&h->spare, hc, entry);
		h->nspare--;
	} else {
		hc = xcalloc(1, sizeof(*hc));
	}
	TAILQ_INSERT_TAIL(&h->calls, hc, entry);
	h->ncalls++;
	return hc;
}

static void
call_free(struct plugin_host *h, struct host_call *hc)
{
	if (h->nspare >= SPARE_MAX) {
		buf_done(&hc->out);
		free(hc);
		return;
	}
	buf_reset(&hc->out, SPARE_BYTES);
	TAILQ_INSERT_HEAD(&h->spare, hc, entry);
	h->nspare++;
}

/* When it may be worth while to ask again; the daemon does not promise it. */
static int64_t
retry_after(int code)
{
	switch (code) {
	case BH_E_QUEUEFULL: return 1000;
	case BH_E_BACKEND: return 2000;
	case BH_E_BUSY: return 5000;
	case BH_E_DISKFULL: return 60000;
	default: return -1;
	}
}

static void
call_done(struct cmd_call *call)
{
	struct host_call *hc = (struct host_call *)call;
	struct bh_caller *c = call->user;
	struct plugin_host *h = c->host;
	struct bh_call *bh = hc->bh;

	TAILQ_REMOVE(&h->calls, hc, entry);
	h->ncalls--;
	c->calls--;
	bh->status = hc->sink.status;
	bh->text = hc->sink.text;
	bh->retry_ms = retry_after(bh->status);
	bh->json = (struct bh_bytes){NULL, 0};
	if (bh->status == BH_OK && !hc->sink.nil)
		bh->json = (struct bh_bytes){buf_peek(&hc->out),
		    buf_size(&hc->out)};
	bh->priv = NULL;
	bh->done(bh);			/* it may free bh and its caller */
	call_free(h, hc);
}

static void
api_run(struct bh_call *bh)
{
	struct bh_caller *c = bh->caller;
	struct plugin_host *h = c->host;
	struct host_call *hc = call_new(h);

	hc->bh = bh;
	hc->call = (struct cmd_call){
	    .env = h->env, .who = &c->session, .reply = &hc->sink.reply,
	    .argv = bh->argv, .argc = bh->argc, .done = call_done, .user = c,
	    .detail = bh->flags & BH_CALL_DETAIL,
	    .late = bh->flags & BH_CALL_LATE && h->draining};
	json_sink_init(&hc->sink, &hc->out);
	hc->sink.raw = bh->flags & BH_CALL_RAW;
	bh->priv = hc;
	c->calls++;
	cmd_run(&hc->call);		/* hc may be gone after it */
	if (h->draining)
		caller_drain(h);
}

static void
api_cancel(struct bh_call *bh)
{
	struct host_call *hc = bh->priv;

	if (hc)
		cmd_cancel(&hc->call);
}

void
caller_drain(struct plugin_host *h)
{
	struct host_call *hc, *next;

	TAILQ_FOREACH_SAFE(hc, &h->calls, entry, next)
		if (hc->call.waits)
			cmd_cancel(&hc->call);
}

/* --- callers --- */

static struct bh_caller *
api_caller_new(const char *door, const struct bh_peer *peer)
{
	struct plugin_host *h = host_current();
	struct bh_caller *c = xcalloc(1, sizeof(*c));

	c->host = h;
	session_init(&c->session, ++h->env->last_session, door, peer->name,
	    session_role_of(h->env->conf, peer->is_unix, peer->loopback));
	if (h->ncallers == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 16;
		h->callers = xrealloc(h->callers,
		    h->cap * sizeof(struct bh_caller *));
	}
	c->index = h->ncallers;
	h->callers[h->ncallers++] = c;
	h->env->callers = h->ncallers;
	return c;
}

static void
api_caller_free(struct bh_caller *c)
{
	struct plugin_host *h = c->host;

	CHECK(c->calls == 0);
	h->callers[c->index] = h->callers[--h->ncallers];
	h->callers[c->index]->index = c->index;
	h->env->callers = h->ncallers;
	session_done(&c->session);
	free(c);
}

static int
api_caller_token(struct bh_caller *c, const char *token)
{
	const struct tokens *all = c->host->env->tokens;
	const struct token *t = NULL;

	if (token && all)
		t = tokens_check(all, token, strlen(token));
	if (t)
		session_grant(&c->session, t);
	else if (c->granted)
		session_reset(&c->session);
	c->granted = t != NULL;
	return token && !t ? -1 : 0;
}

static bool
caller_at(void *host, size_t i, const struct session **ret)
{
	struct plugin_host *h = host;

	if (i >= h->ncallers)
		return false;
	*ret = &h->callers[i]->session;
	return true;
}

/* It has no rights any more until it shows a token, and hears nothing; its
 * door may close the connection. */
static bool
caller_kill(void *host, uint64_t id)
{
	struct plugin_host *h = host;
	struct bh_caller *c = NULL;

	for (size_t i = 0; i < h->ncallers && !c; i++)
		if (h->callers[i]->session.id == id)
			c = h->callers[i];
	if (!c)
		return false;
	c->session.door_role = ROLE_NONE;
	session_reset(&c->session);
	for (size_t i = 0; i < h->started; i++)
		if (h->doors.all[i].door->kill)
			h->doors.all[i].door->kill(h->doors.all[i].arg, c);
	return true;
}

/* --- webhooks --- */

static void
api_hook(struct bh_hook *hook)
{
	struct plugin_host *h = host_current();

	if (h->env->hook) {
		h->env->hook(h->env->arg, hook);
		return;
	}
	hook->priv = h->refused;
	h->refused = hook;
	loop_wake(h->loop);
}

bool
caller_flush(struct plugin_host *h)
{
	bool any = h->refused != NULL;
	struct bh_hook *hook;

	while ((hook = h->refused)) {
		h->refused = hook->priv;
		hook->priv = NULL;
		hook->http = 404;
		hook->status = BH_E_NOTFOUND;
		hook->text = "no script declares a webhook of this name";
		hook->retry_ms = -1;
		hook->json = (struct bh_bytes){NULL, 0};
		hook->type = NULL;
		hook->done(hook);
	}
	return any;
}

/* --- news; what a plugin holds is a struct feed --- */

static struct bh_subscription *
api_subscribe(struct bh_caller *c, enum bh_feed feed, const char *pattern,
    uint64_t after, bh_news_fn *fn, void *arg, int *code,
    char err[BH_ERROR_TEXT])
{
	struct bh_bytes p = {pattern, strlen(pattern)};
	struct err e = ERR_INIT;
	struct feed *f = feed_open(c->host->env, &c->session, feed, p, after,
	    fn, arg, &e);

	if (!f) {
		*code = e.code;
		snprintf(err, BH_ERROR_TEXT, "%s", e.text);
	}
	return (struct bh_subscription *)f;
}

static void
api_unsubscribe(struct bh_subscription *s)
{
	struct feed *f = (struct feed *)s;

	feed_close(&f);
}

/* --- life --- */

void
caller_init(struct plugin_host *h)
{
	TAILQ_INIT(&h->calls);
	TAILQ_INIT(&h->spare);
	h->api.caller_new = api_caller_new;
	h->api.caller_free = api_caller_free;
	h->api.caller_token = api_caller_token;
	h->api.run = api_run;
	h->api.cancel = api_cancel;
	h->api.hook = api_hook;
	h->api.subscribe = api_subscribe;
	h->api.unsubscribe = api_unsubscribe;
	h->env->caller_at = caller_at;
	h->env->caller_kill = caller_kill;
}

void
caller_done(struct plugin_host *h)
{
	struct host_call *hc;

	CHECK(h->ncalls == 0);
	(void)caller_flush(h);
	while ((hc = TAILQ_FIRST(&h->spare))) {
		TAILQ_REMOVE(&h->spare, hc, entry);
		buf_done(&hc->out);
		free(hc);
	}
	CHECK(h->ncallers == 0);
	free(h->callers);
	h->env->caller_at = NULL;
	h->env->caller_kill = NULL;
	h->env->callers = 0;
}
