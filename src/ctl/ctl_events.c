/* SPDX-License-Identifier: MIT */
/* bellhopctl events: what happens to jobs, as it happens. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yajl/yajl_tree.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "ctl/ctl.h"

/* A member as text, "" when there is none. */
static const char *
member(yajl_val event, const char *name)
{
	const char *path[] = {name, NULL};
	yajl_val v = yajl_tree_get(event, path, yajl_t_any);

	if (YAJL_IS_STRING(v))
		return YAJL_GET_STRING(v);
	return YAJL_IS_NUMBER(v) ? YAJL_GET_NUMBER(v) : "";
}

static void
put_clean(struct buf *out, const char *s)
{
	if (*s)
		render_text(out, (struct bh_bytes){s, strlen(s)}, 0);
}

/* "2026-01-02 03:04:05 completed  mail  42  try 1  …" */
static void
put_event(struct ctl *ctl, yajl_val event)
{
	struct buf line = BUF_INIT;
	const char *at = member(event, "at"), *try = member(event, "attempt");
	char when[40];
	int64_t ms = 0;
	struct tm tm;
	time_t t;

	if (str_int(at, strlen(at), &ms) < 0)
		ms = ctl->now;
	t = (time_t)(ms / 1000);
	if (!localtime_r(&t, &tm))
		tm = (struct tm){0};
	strftime(when, sizeof(when), "%F %T", &tm);
	buf_addf(&line, "%s  %-9s  ", when, member(event, "event"));
	put_clean(&line, member(event, "queue"));
	buf_addf(&line, "  %s", member(event, "id"));
	if (strcmp(try, "") != 0 && strcmp(try, "0") != 0)
		buf_addf(&line, "  try %s", try);
	if (*member(event, "error"))
		buf_adds(&line, "  ");
	put_clean(&line, member(event, "error"));
	if (*member(event, "progress"))
		buf_adds(&line, "  ");
	put_clean(&line, member(event, "progress"));
	fprintf(ctl->out, "%s\n", buf_str(&line));
	buf_done(&line);
}

static int
show(struct ctl *ctl, struct bh_bytes json)
{
	char *text = xstrndup(json.data, json.len), why[200];
	yajl_val event = NULL;

	if (ctl->json) {
		fprintf(ctl->out, "%s\n", text);
	} else if ((event = yajl_tree_parse(text, why, sizeof(why)))) {
		put_event(ctl, event);
		yajl_tree_free(event);
	}
	free(text);
	if (!ctl->json && !event)
		return ctl_fail(ctl, "the daemon sent something that is no"
		    " event");
	return fflush(ctl->out) == 0 ? CTL_OK :
	    ctl_fail(ctl, "cannot write");
}

/* left: how many more; 0: for ever. */
static int
follow(struct ctl *ctl, int64_t left)
{
	const struct resp_value *v;
	struct err e;
	int status;

	client_patience(ctl->client, 0);
	for (;;) {
		if (client_next(ctl->client, &v, &e) != 0)
			return ctl_fail(ctl, "%s", e.text);
		status = show(ctl, v->s);
		if (status != CTL_OK || (left > 0 && --left == 0))
			return status;
	}
}

int
ctl_events(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "count", .arg = "N"}};
	int64_t count = 0;
	int n, status = CTL_FAILED;

	if (ctl_parse(ctl, argc, argv, opts, nitems(opts), 0, 1, &n) != 0)
		return CTL_USAGE;
	if (opts[0].value && (str_int(opts[0].value, strlen(opts[0].value),
	    &count) < 0 || count < 1))
		status = ctl_usage(ctl, "--count: \"%s\" is not a number from"
		    " 1 on", opts[0].value);
	else if (ctl_ask(ctl, "BELLHOP", "EVENTS", n ? argv[0] : "*", NULL))
		status = follow(ctl, count);
	ctl_options_done(opts, nitems(opts));
	return status;
}
