/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "cmd/alert_impl.h"
#include "cmd/rows.h"
#include "cmd/version.h"

const char *const alert_names[ALERT_RULES] = {
	[ALERT_QUEUE_DEPTH] = "queue_depth",
	[ALERT_FAILED_RATE] = "failed_rate",
	[ALERT_OLDEST_WAITING] = "oldest_waiting",
	[ALERT_NEW_ERROR] = "new_error",
	[ALERT_SCHEDULE_MISSED] = "schedule_missed",
	[ALERT_DISK] = "disk",
	[ALERT_MEMORY] = "memory",
	[ALERT_BACKEND] = "backend",
};

/* A notification on its way into a queue. */
struct notice {
	struct bh_put put;
	struct bh_bytes payload;
	int64_t id;
	struct alerts *alerts;
	struct alert *alert;		/* not freed while it is putting */
	struct buf text;
};

static void
put_alert(struct json *j, const struct alerts *a, const struct alert *al)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	json_object(j);
	json_key(j, "alert");
	json_str(j, alert_names[al->rule]);
	json_key(j, "state");
	json_str(j, al->on ? "firing" : "resolved");
	if (*al->subject) {
		json_key(j, al->rule == ALERT_SCHEDULE_MISSED ? "schedule" :
		    "queue");
		json_str(j, al->subject);
	}
	json_key(j, "text");
	json_str(j, al->text);
	json_key(j, "value");
	json_int(j, al->value);
	json_key(j, "limit");
	json_int(j, al->limit);
	json_key(j, "since");
	json_int(j, al->since);
	json_key(j, "at");
	json_int(j, a->wall);
	json_key(j, "host");
	json_str(j, host);
	json_key(j, "version");
	json_str(j, BELLHOP_VERSION);
	json_object_end(j);
}

static void
stored(struct bh_req *req)
{
	struct notice *n = req->user;

	n->alert->putting--;
	if (req->status != BH_OK && req->status != BH_E_CANCELED) {
		if (!n->alert->owed)
			log_warn("an alert could not be stored, it will be "
			    "told later: %s", req->text);
		n->alert->owed = true;
		alerts_due(n->alerts, n->alerts->mono +
		    n->alerts->env->conf->alerts_interval);
	}
	buf_done(&n->text);
	free(n);
}

/* As a job of this queue; for the built-in script, `key` says where to. */
static void
store(struct alerts *a, struct alert *al, const char *queue, const char *key,
    const char *to)
{
	struct notice *n = xcalloc(1, sizeof(*n));
	struct json j;

	n->alerts = a;
	n->alert = al;
	json_init(&j, &n->text);
	if (key) {
		json_object(&j);
		json_key(&j, key);
		json_str(&j, to);
		json_key(&j, "alert");
	}
	put_alert(&j, a, al);
	if (key)
		json_object_end(&j);
	n->payload = (struct bh_bytes){buf_peek(&n->text),
	    buf_size(&n->text)};
	n->put = (struct bh_put){.req = {.done = stored, .user = n},
	    .queue = {queue, strlen(queue)}, .payloads = &n->payload,
	    .npayloads = 1, .ids = &n->id};
	bh_job_opts_init(&n->put.opts);
	if (key)			/* an end never overtakes its beginning */
		n->put.opts.group = (struct bh_bytes){key, strlen(key)};
	al->putting++;
	a->env->ops->job_put(a->env->be, &n->put);
}

/* What is wrong with the way out cannot leave by it. */
static bool
is_own(const struct alerts *a, const struct alert *al)
{
	return strcmp(al->subject, ALERT_QUEUE) == 0 ||
	    (*al->subject && strcmp(al->subject,
	    a->env->conf->alerts_queue) == 0);
}

void
alert_tell(struct alerts *a, struct alert *al)
{
	const struct conf *c = a->env->conf;
	struct log_about about = {.queue = al->rule <= ALERT_NEW_ERROR ?
	    al->subject : NULL,
	    .event = al->on ? EVENT_ALERT_RAISED : EVENT_ALERT_OVER};

	if (!al->owed)
		log_about(al->on ? LOG_WARN : LOG_INFO, &about,
		    "alert %s%s: %s", alert_names[al->rule],
		    al->on ? "" : " is over", al->text);
	al->owed = false;
	al->told_mono = a->mono;
	if (is_own(a, al))
		return;
	if (*c->alerts_queue)
		store(a, al, c->alerts_queue, NULL, NULL);
	if (*c->alerts_webhook)
		store(a, al, ALERT_QUEUE, "webhook", c->alerts_webhook);
	if (*c->alerts_mail)
		store(a, al, ALERT_QUEUE, "mail", c->alerts_mail);
}

void
bellhop_alerts(struct cmd_call *call)
{
	struct reply *r = call->reply;
	const struct alerts *a = call->env->alerts;
	struct alert_info i;
	size_t n = 0, at;

	for (at = 0; a && alerts_at(a, at, &i); at++)
		n += alert_visible(call->who, &i);
	r->ops->array(r, n);
	for (at = 0; a && alerts_at(a, at, &i); at++) {
		if (!alert_visible(call->who, &i))
			continue;
		r->ops->map(r, 5 + (i.kind != NULL));
		reply_pair_str(r, "alert", i.rule);
		if (i.kind)
			reply_pair_str(r, i.kind, i.subject);
		reply_pair_str(r, "text", i.text);
		reply_pair_int(r, "value", i.value);
		reply_pair_int(r, "limit", i.limit);
		reply_pair_int(r, "since", i.since);
	}
	cmd_done(call);
}
