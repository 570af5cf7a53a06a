/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/cron.h"
#include "base/str.h"
#include "base/xalloc.h"

#define COUNT_DEFAULT 5
#define COUNT_MAX 100

/* "0 6 * * * Europe/Lisbon" or "every 10 m". */
static void
add_times(struct table *t, const struct resp_value *s)
{
	struct bh_bytes cron = value_bytes(s, "cron");
	struct bh_bytes zone = value_bytes(s, "tz");
	struct buf text = BUF_INIT;
	char span[40];

	if (cron.data) {
		render_text(&text, cron, 0);
		buf_addc(&text, ' ');
		render_text(&text, zone, 0);
	} else {
		str_span(value_int(s, "every_ms", 0), span, sizeof(span));
		buf_addf(&text, "every %s", span);
	}
	table_add_buf(t, &text);
}

/* The last tick: "ran 3 m ago". */
static void
add_last(struct table *t, const struct resp_value *s, int64_t now)
{
	const struct resp_value *ticks = value_get(s, "ticks");
	struct buf text = BUF_INIT;

	if (ticks && ticks->n > 0) {
		render_text(&text, value_bytes(&ticks->items[0], "outcome"),
		    0);
		buf_addc(&text, ' ');
		render_when(&text, value_int(&ticks->items[0], "due", 0), now);
	} else {
		buf_addc(&text, '-');
	}
	table_add_buf(t, &text);
}

static void
print_schedules(struct ctl *ctl, const struct resp_value *list)
{
	struct table *t = table_new("NAME|QUEUE|TIMES|NEXT|LAST|BY");

	for (size_t i = 0; i < list->n; i++) {
		const struct resp_value *s = &list->items[i];
		struct bh_bytes owner = value_bytes(s, "owner");

		table_add_text(t, value_bytes(s, "name"), 40);
		table_add_text(t, value_bytes(s, "queue"), 0);
		add_times(t, s);
		table_add_when(t, value_int(s, "next_at", 0), ctl->now);
		add_last(t, s, ctl->now);
		table_add_text(t, owner.data ? owner
		    : (struct bh_bytes){"client", 6}, 60);
	}
	ctl_table(ctl, &t, "no schedule");
}

static int
print_one(struct ctl *ctl, const struct resp_value *list, const char *name)
{
	if (list->n == 0)
		return ctl_fail(ctl, "schedule '%s' does not exist", name);
	render_map(ctl->out, &list->items[0], ctl->now, ctl->color);
	return CTL_OK;
}

int
ctl_schedule_list(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 1, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "SCHEDULE.LIST", n ? argv[0] : NULL, NULL);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	if (n)
		return print_one(ctl, v, argv[0]);
	print_schedules(ctl, v);
	return CTL_OK;
}

int
ctl_schedule_del(struct ctl *ctl, int argc, char **argv)
{
	return ctl_alter(ctl, argc, argv, "SCHEDULE.DEL");
}

enum { O_CRON, O_TZ, O_EVERY, O_MISFIRE, O_OVERLAP, O_JOB };

/* The schedule's own words. */
static int
add_own(struct ctl *ctl, struct ctl_words *w, const struct ctl_option *o)
{
	static const char *const words[O_JOB] = {[O_CRON] = "CRON",
	    [O_TZ] = "TZ", [O_EVERY] = "EVERY", [O_MISFIRE] = "MISFIRE",
	    [O_OVERLAP] = "OVERLAP"};

	if (!o[O_CRON].value == !o[O_EVERY].value) {
		ctl_usage(ctl, "either --cron EXPR or --every D is expected");
		return -1;
	}
	for (int i = 0; i < O_JOB; i++) {
		int64_t ms;

		if (!o[i].value)
			continue;
		ctl_word(w, words[i]);
		if (i != O_EVERY) {
			ctl_word(w, o[i].value);
			continue;
		}
		ms = ctl_duration(ctl, "--every", o[i].value);
		if (ms < 0)
			return -1;
		ctl_word_int(w, ms);
	}
	return 0;
}

static int
send_set(struct ctl *ctl, const struct ctl_words *w, const char *name)
{
	const struct resp_value *v = ctl_ask_words(ctl, w);
	struct buf when = BUF_INIT;

	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	render_when(&when, v->i, ctl->now);
	fprintf(ctl->out, "%s: next %s\n", name, buf_str(&when));
	buf_done(&when);
	return CTL_OK;
}

int
ctl_schedule_set(struct ctl *ctl, int argc, char **argv)
{
	/* Those of jobs as `add` has them; unique comes before its own. */
	struct ctl_option opts[] = {
		[O_CRON] = {.name = "cron", .arg = "EXPR"},
		[O_TZ] = {.name = "tz", .arg = "ZONE"},
		[O_EVERY] = {.name = "every", .arg = "D"},
		[O_MISFIRE] = {.name = "misfire", .arg = "WORD"},
		[O_OVERLAP] = {.name = "overlap", .arg = "WORD"},
		[O_JOB] = {.name = "priority", .arg = "N"},
		{.name = "delay", .arg = "D"}, {.name = "expires", .arg = "D"},
		{.name = "attempts", .arg = "N"},
		{.name = "backoff", .arg = "SPEC"},
		{.name = "timeout", .arg = "D"}, {.name = "group", .arg = "KEY"},
		{.name = "lease", .arg = "D"},
		{.name = "max-stalled", .arg = "N"},
		{.name = "retain", .arg = "D"}, {.name = "unique", .arg = "KEY"},
		{.name = "unique-ttl", .arg = "D"},
		{.name = "unique-mode", .arg = "MODE"},
	};
	struct buf payload = BUF_INIT;
	struct ctl_words w = {0};
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, nitems(opts), 2, 3, &n) != 0)
		goto out;
	if (n == 3 && strcmp(argv[2], "-") == 0) {
		status = ctl_read_stdin(ctl, &payload);
		if (status != CTL_OK)
			goto out;
		status = CTL_USAGE;
	} else {
		buf_adds(&payload, n == 3 ? argv[2] : "{}");
	}
	ctl_word(&w, "SCHEDULE.SET");
	ctl_word(&w, argv[0]);
	ctl_word(&w, argv[1]);
	ctl_word_bytes(&w, buf_str(&payload), buf_size(&payload));
	if (add_own(ctl, &w, opts) != 0)
		goto out;
	for (size_t i = O_JOB; i < nitems(opts); i++)
		if (opts[i].value && ctl_job_option(ctl, &w, &opts[i]) != 0)
			goto out;
	status = send_set(ctl, &w, argv[0]);
out:
	ctl_words_done(&w);
	buf_done(&payload);
	ctl_options_done(opts, nitems(opts));
	return status;
}

/* Each time in the zone and in UTC. */
static void
print_times(struct ctl *ctl, const struct cron *c, const struct tz *z,
    const struct tz *utc, int64_t at, int64_t count)
{
	struct table *t = table_new("LOCAL|UTC|IN");
	struct buf out = BUF_INIT;
	struct json j;
	char text[48];

	json_init(&j, &out);
	json_array(&j);
	for (; count > 0; count--) {
		at = cron_next(c, z, at);
		if (at == CRON_NEVER)
			break;
		json_int(&j, at);
		tz_show(z, at, text, sizeof(text));
		table_add(t, text);
		tz_show(utc, at, text, sizeof(text));
		table_add(t, text);
		table_add_when(t, at, ctl->now);
	}
	json_array_end(&j);
	if (ctl->json)
		fprintf(ctl->out, "%s\n", buf_str(&out));
	else
		table_print(t, ctl->out, ctl->color);
	table_free(&t);
	buf_done(&out);
}

static int
preview(struct ctl *ctl, const char *expr, const char *zone, int64_t after,
    int64_t count)
{
	struct tz *z = NULL, *utc = NULL;
	struct err e = ERR_INIT;
	struct cron c;
	int status = CTL_OK;

	if (tz_load(zone, zone ? strlen(zone) : 0, &z, &e) < 0 ||
	    tz_load(NULL, 0, &utc, &e) < 0 ||
	    cron_check(&c, expr, strlen(expr), z, after, &e) < 0)
		status = ctl_fail(ctl, "%s", e.text);
	else
		print_times(ctl, &c, z, utc, after, count);
	tz_free(&z);
	tz_free(&utc);
	return status;
}

int
ctl_schedule_preview(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "tz", .arg = "ZONE"},
	    {.name = "count", .arg = "N"}, {.name = "after", .arg = "TIME"}};
	int64_t count = COUNT_DEFAULT, after = ctl->now;
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, nitems(opts), 1, 1, &n) != 0)
		goto out;
	if (opts[1].value && (str_int(opts[1].value, strlen(opts[1].value),
	    &count) < 0 || count < 1 || count > COUNT_MAX)) {
		ctl_usage(ctl, "--count \"%s\": expected an integer from 1 to "
		    "%d", opts[1].value, COUNT_MAX);
		goto out;
	}
	if (opts[2].value && (after = ctl_parse_at(opts[2].value)) < 0) {
		ctl_usage(ctl, "--after \"%s\": expected \"YYYY-MM-DD HH:MM\" "
		    "(local time), the same with T and Z (UTC), or @SECONDS "
		    "since 1970", opts[2].value);
		goto out;
	}
	status = preview(ctl, argv[0], opts[0].value, after, count);
out:
	ctl_options_done(opts, nitems(opts));
	return status;
}
