/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"

static void
add_span(struct table *t, int64_t ms)
{
	char span[40];

	str_span(ms, span, sizeof(span));
	table_add(t, ms ? span : "-");
}

/* Paused or held, and until when. */
static void
add_state(struct table *t, const struct resp_value *stats, int64_t now)
{
	int64_t until = value_int(stats, "held_until", 0);
	struct bh_bytes reason = value_bytes(stats, "held_reason");
	struct buf text = BUF_INIT;

	if (value_int(stats, "paused", 0)) {
		buf_adds(&text, "paused");
	} else if (until > now) {
		buf_adds(&text, "held, ends ");
		render_when(&text, until, now);
		if (reason.len) {
			buf_adds(&text, ": ");
			render_text(&text, reason, 40);
		}
	} else {
		buf_adds(&text, "open");
	}
	table_add_buf(t, &text);
}

static void
add_stats(struct table *t, struct bh_bytes name,
    const struct resp_value *stats, int64_t now)
{
	static const char *const counts[] = {"waiting", "delayed", "active",
	    "completed", "failed"};

	table_add_text(t, name, 0);
	add_state(t, stats, now);
	for (size_t i = 0; i < nitems(counts); i++)
		table_add_int(t, value_int(stats, counts[i], 0));
	add_span(t, value_int(stats, "oldest_waiting_ms", 0));
	table_add_int(t, value_int(stats, "processed_total", 0));
	add_span(t, value_int(stats, "p50_ms", 0));
	add_span(t, value_int(stats, "p99_ms", 0));
}

char **
ctl_queue_names(struct ctl *ctl)
{
	const struct resp_value *list = ctl_ask(ctl, "QUEUE.LIST", NULL);
	char **names;

	if (!list)
		return NULL;
	names = xcalloc(list->n + 1, sizeof(*names));
	for (size_t i = 0; i < list->n; i++) {
		struct bh_bytes s = list->items[i].s;

		names[i] = xstrndup(s.data ? s.data : "", s.len);
	}
	return names;
}

static void
free_names(char **names)
{
	for (size_t i = 0; names[i]; i++)
		free(names[i]);
	free(names);
}

/* An object of QUEUE.STATS with the queue's name in front. */
static void
add_json(struct json *j, const char *name, const struct resp_value *stats)
{
	json_object(j);
	json_key(j, "queue");
	json_str(j, name);
	for (size_t i = 0; i < stats->n && stats->type == RESP_MAP; i++) {
		const struct resp_value *k = &stats->items[2 * i];

		if (str_is(k->s.data, k->s.len, "queue"))
			continue;
		json_key_bytes(j, k->s.data, k->s.len);
		render_json(j, &stats->items[2 * i + 1]);
	}
	json_object_end(j);
}

/* Each queue's figures, into the table or the JSON. */
static int
collect(struct ctl *ctl, char **names, struct table *t, struct json *j)
{
	for (size_t i = 0; names[i]; i++) {
		const struct resp_value *v = ctl_ask(ctl, "QUEUE.STATS",
		    names[i], NULL);

		if (!v)
			return -1;
		add_stats(t, (struct bh_bytes){names[i], strlen(names[i])},
		    v, ctl->now);
		add_json(j, names[i], v);
	}
	return 0;
}

int
ctl_queues(struct ctl *ctl, int argc, char **argv)
{
	struct table *t = table_new("QUEUE|STATE|>WAITING|>DELAYED|>ACTIVE|"
	    ">COMPLETED|>FAILED|>OLDEST|>PROCESSED|>P50|>P99");
	struct buf out = BUF_INIT;
	char **names = NULL;
	struct json j;
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 0, &n) != 0)
		goto out;
	status = CTL_FAILED;
	names = ctl_queue_names(ctl);
	if (!names)
		goto out;
	json_init(&j, &out);
	json_array(&j);
	if (collect(ctl, names, t, &j) != 0)
		goto out;
	json_array_end(&j);
	status = CTL_OK;
	if (ctl->json)
		fprintf(ctl->out, "%s\n", buf_str(&out));
	else
		ctl_table(ctl, &t, "no queue yet: the first job makes one");
out:
	if (names)
		free_names(names);
	buf_done(&out);
	table_free(&t);
	return status;
}

int
ctl_pause(struct ctl *ctl, int argc, char **argv)
{
	return ctl_alter(ctl, argc, argv, "QUEUE.PAUSE");
}

int
ctl_resume(struct ctl *ctl, int argc, char **argv)
{
	return ctl_alter(ctl, argc, argv, "QUEUE.RESUME");
}

int
ctl_hold(struct ctl *ctl, int argc, char **argv)
{
	char ms[24];
	int64_t span;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 2, 3, &n) != 0)
		return CTL_USAGE;
	span = ctl_duration(ctl, "DURATION", argv[1]);
	if (span < 0)
		return CTL_USAGE;
	snprintf(ms, sizeof(ms), "%jd", (intmax_t)span);
	return ctl_done(ctl, ctl_ask(ctl, "QUEUE.HOLD", argv[0], ms,
	    n == 3 ? argv[2] : NULL, NULL), "");
}

int
ctl_publish(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 2, 2, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "PUBLISH", argv[0], argv[1], NULL);
	if (v && ctl->json) {
		fprintf(ctl->out, "{\"receivers\":%jd}\n", (intmax_t)v->i);
		return CTL_OK;
	}
	return ctl_done(ctl, v, "received it");
}

int
ctl_purge(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "error", .arg = "FP"}};
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, 1, 2, 2, &n) == 0) {
		status = CTL_FAILED;
		if (ctl_connect(ctl) == 0) {
			client_patience(ctl->client, 3600);
			status = ctl_done(ctl, ctl_ask(ctl, "QUEUE.PURGE",
			    argv[0], argv[1], opts[0].value ? "ERROR" : NULL,
			    opts[0].value, NULL), "jobs removed");
		}
	}
	ctl_options_done(opts, 1);
	return status;
}

static void
print_errors(struct ctl *ctl, const struct resp_value *list)
{
	struct table *t = table_new(">COUNT|FINGERPRINT|FIRST|LAST|>SAMPLE|"
	    "ERROR");

	for (size_t i = 0; i < list->n; i++) {
		const struct resp_value *e = &list->items[i];
		const struct resp_value *sample = value_get(e, "sample_id");
		struct buf text = BUF_INIT;

		table_add_int(t, value_int(e, "count", 0));
		table_add_text(t, value_bytes(e, "fingerprint"), 0);
		table_add_when(t, value_int(e, "first_at", 0), ctl->now);
		table_add_when(t, value_int(e, "last_at", 0), ctl->now);
		if (sample)
			render_value(&text, "", sample, ctl->now);
		table_add_buf(t, &text);
		table_add_text(t, value_bytes(e, "text"), 80);
	}
	ctl_table(ctl, &t, "no failed job");
}

int
ctl_errors(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "QUEUE.ERRORS", argv[0], NULL);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	print_errors(ctl, v);
	return CTL_OK;
}
