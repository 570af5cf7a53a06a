/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "base/xalloc.h"

#define PAYLOAD_COLUMNS 60
#define PAYLOAD_MAX (16 << 20)

int64_t
ctl_parse_at(const char *s)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S",
	    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"};
	int64_t seconds;

	if (s[0] == '@')
		return str_int(s + 1, strlen(s + 1), &seconds) == 0 &&
		    seconds >= 0 && seconds < INT64_MAX / 1000 ?
		    seconds * 1000 : -1;
	for (size_t i = 0; i < nitems(forms); i++) {
		struct tm tm = {.tm_isdst = -1};
		const char *end = strptime(s, forms[i], &tm);

		if (end && strcmp(end, "Z") == 0)
			return (int64_t)timegm(&tm) * 1000;
		if (end && *end == '\0')
			return (int64_t)mktime(&tm) * 1000;
	}
	return -1;
}

/* TYPE:DELAY[:FACTOR[:MAX[:JITTER]]] as the wire's words. */
static int
add_backoff(struct ctl *ctl, struct ctl_words *w, char *s)
{
	char *rest = s;
	const char *type = strsep(&rest, ":"), *delay = strsep(&rest, ":");
	const char *factor = strsep(&rest, ":"), *max = strsep(&rest, ":");
	const char *jitter = strsep(&rest, ":");
	int64_t ms;

	if (!delay || rest || (strcmp(type, "fixed") != 0 &&
	    strcmp(type, "exponential") != 0)) {
		ctl_usage(ctl, "--backoff: expected fixed or exponential, "
		    "then :DELAY[:FACTOR[:MAX[:JITTER]]], such as "
		    "exponential:5s:3:6h");
		return -1;
	}
	ms = ctl_duration(ctl, "--backoff", delay);
	if (ms < 0)
		return -1;
	ctl_word(w, "BACKOFF");
	ctl_word(w, type);
	ctl_word_int(w, ms);
	if (factor) {
		ctl_word(w, "FACTOR");
		ctl_word(w, factor);
	}
	if (max) {
		ms = ctl_duration(ctl, "--backoff", max);
		if (ms < 0)
			return -1;
		ctl_word(w, "MAX");
		ctl_word_int(w, ms);
	}
	if (jitter) {
		ctl_word(w, "JITTER");
		ctl_word(w, jitter);
	}
	return 0;
}

/* Indexes of the options of `add`, in the order of the wire's words. */
enum {
	O_PRIORITY, O_DELAY, O_AT, O_EXPIRES, O_ATTEMPTS, O_BACKOFF,
	O_TIMEOUT, O_GROUP, O_LEASE, O_MAX_STALLED, O_RETAIN, O_UNIQUE,
	O_UNIQUE_TTL, O_UNIQUE_MODE, O_COUNT
};

/* TTL and MODE belong behind the key. */
static const struct {
	const char *word;
	bool duration;
} wire[O_COUNT] = {
	[O_PRIORITY] = {"PRIORITY", false},
	[O_DELAY] = {"DELAY", true},
	[O_EXPIRES] = {"EXPIRES", true},
	[O_ATTEMPTS] = {"ATTEMPTS", false},
	[O_TIMEOUT] = {"TIMEOUT", true},
	[O_GROUP] = {"GROUP", false},
	[O_LEASE] = {"LEASE", true},
	[O_MAX_STALLED] = {"MAX_STALLED", false},
	[O_RETAIN] = {"RETAIN", true},
	[O_UNIQUE] = {"UNIQUE", false},
	[O_UNIQUE_TTL] = {"TTL", true},
	[O_UNIQUE_MODE] = {"MODE", false},
};

static int
add_at(struct ctl *ctl, struct ctl_words *w, const char *s)
{
	int64_t at = ctl_parse_at(s);

	if (at < 0) {
		ctl_usage(ctl, "--at \"%s\": expected \"YYYY-MM-DD HH:MM\" "
		    "(local time), the same with T and Z (UTC), or @SECONDS "
		    "since 1970", s);
		return -1;
	}
	ctl_word(w, "AT");
	ctl_word_int(w, at);
	return 0;
}

static int
add_option(struct ctl *ctl, struct ctl_words *w, size_t i,
    const struct ctl_option *o)
{
	char flag[32], *copy;
	int64_t ms;
	int rc;

	if (i == O_AT)
		return add_at(ctl, w, o->value);
	if (i == O_BACKOFF) {
		copy = xstrdup(o->value);
		rc = add_backoff(ctl, w, copy);
		w->owned = xrealloc(w->owned,
		    (w->nowned + 1) * sizeof(*w->owned));
		w->owned[w->nowned++] = copy;
		return rc;
	}
	ctl_word(w, wire[i].word);
	if (!wire[i].duration) {
		ctl_word(w, o->value);
		return 0;
	}
	snprintf(flag, sizeof(flag), "--%s", o->name);
	ms = ctl_duration(ctl, flag, o->value);
	if (ms >= 0)
		ctl_word_int(w, ms);
	return ms >= 0 ? 0 : -1;
}

int
ctl_job_option(struct ctl *ctl, struct ctl_words *w,
    const struct ctl_option *o)
{
	static const char *const names[O_COUNT] = {
		[O_PRIORITY] = "priority", [O_DELAY] = "delay", [O_AT] = "at",
		[O_EXPIRES] = "expires", [O_ATTEMPTS] = "attempts",
		[O_BACKOFF] = "backoff", [O_TIMEOUT] = "timeout",
		[O_GROUP] = "group", [O_LEASE] = "lease",
		[O_MAX_STALLED] = "max-stalled", [O_RETAIN] = "retain",
		[O_UNIQUE] = "unique", [O_UNIQUE_TTL] = "unique-ttl",
		[O_UNIQUE_MODE] = "unique-mode",
	};

	for (size_t i = 0; i < O_COUNT; i++)
		if (strcmp(names[i], o->name) == 0)
			return add_option(ctl, w, i, o);
	return -1;
}

int
ctl_read_stdin(struct ctl *ctl, struct buf *ret)
{
	size_t n;

	do {
		n = fread(buf_reserve(ret, 65536), 1, 65536, ctl->in);
		buf_added(ret, n);
	} while (n > 0 && buf_size(ret) <= PAYLOAD_MAX);
	if (ferror(ctl->in))
		return ctl_fail(ctl, "standard input: %s", strerror(errno));
	if (buf_size(ret) > PAYLOAD_MAX)
		return ctl_fail(ctl, "standard input: more than %d bytes",
		    PAYLOAD_MAX);
	return CTL_OK;
}

static int
send_add(struct ctl *ctl, struct ctl_words *w, const char *queue)
{
	const struct resp_value *v = ctl_ask_words(ctl, w);

	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		fprintf(ctl->out, "{\"id\":\"%.*s\",\"queue\":\"%s\"}\n",
		    (int)v->s.len, v->s.data, queue);
	else
		fprintf(ctl->out, "%.*s\n", (int)v->s.len, v->s.data);
	return CTL_OK;
}

int
ctl_add(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[O_COUNT] = {
		[O_PRIORITY] = {.name = "priority", .arg = "N"},
		[O_DELAY] = {.name = "delay", .arg = "D"},
		[O_AT] = {.name = "at", .arg = "TIME"},
		[O_EXPIRES] = {.name = "expires", .arg = "D"},
		[O_ATTEMPTS] = {.name = "attempts", .arg = "N"},
		[O_BACKOFF] = {.name = "backoff", .arg = "SPEC"},
		[O_TIMEOUT] = {.name = "timeout", .arg = "D"},
		[O_GROUP] = {.name = "group", .arg = "KEY"},
		[O_LEASE] = {.name = "lease", .arg = "D"},
		[O_MAX_STALLED] = {.name = "max-stalled", .arg = "N"},
		[O_RETAIN] = {.name = "retain", .arg = "D"},
		[O_UNIQUE] = {.name = "unique", .arg = "KEY"},
		[O_UNIQUE_TTL] = {.name = "unique-ttl", .arg = "D"},
		[O_UNIQUE_MODE] = {.name = "unique-mode", .arg = "MODE"},
	};
	struct buf payload = BUF_INIT;
	struct ctl_words w = {0};
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, O_COUNT, 1, 2, &n) != 0)
		goto out;
	if (!opts[O_UNIQUE].value && (opts[O_UNIQUE_TTL].value ||
	    opts[O_UNIQUE_MODE].value)) {
		ctl_usage(ctl, "--unique-ttl and --unique-mode need "
		    "--unique KEY");
		goto out;
	}
	if (n == 2 && strcmp(argv[1], "-") == 0) {
		status = ctl_read_stdin(ctl, &payload);
		if (status != CTL_OK)
			goto out;
		status = CTL_USAGE;
	} else {
		buf_adds(&payload, n == 2 ? argv[1] : "{}");
	}
	ctl_word(&w, "JOB.ADD");
	ctl_word(&w, argv[0]);
	ctl_word_bytes(&w, buf_str(&payload), buf_size(&payload));
	for (size_t i = 0; i < O_COUNT; i++) {
		if (opts[i].value &&
		    add_option(ctl, &w, i, &opts[i]) != 0)
			goto out;
	}
	status = send_add(ctl, &w, argv[0]);
out:
	ctl_words_done(&w);
	buf_done(&payload);
	ctl_options_done(opts, O_COUNT);
	return status;
}

/* What a list shows of a job beside its numbers: why it failed, else what it
 * is about. */
static void
add_about(struct table *t, const struct resp_value *job)
{
	struct bh_bytes s = value_bytes(job, "error");

	if (!s.data)
		s = value_bytes(job, "payload");
	table_add_text(t, s, PAYLOAD_COLUMNS);
}

/* The moment that matters in this state. */
static int64_t
job_moment(const struct resp_value *job)
{
	static const char *const keys[] = {"finished_at", "started_at",
	    "run_at", "created_at"};
	struct bh_bytes state = value_bytes(job, "state");
	int64_t at = 0;

	if (state.data && (str_is(state.data, state.len, "waiting") ||
	    str_is(state.data, state.len, "delayed")))
		return value_int(job, "run_at", 0);
	for (size_t i = 0; i < nitems(keys) && at == 0; i++)
		at = value_int(job, keys[i], 0);
	return at;
}

static void
print_jobs(struct ctl *ctl, const struct resp_value *jobs)
{
	struct table *t = table_new(">ID|>PRI|>TRY|>ERRORS|WHEN|GROUP|"
	    "PAYLOAD OR ERROR");

	for (size_t i = 0; i < jobs->n; i++) {
		const struct resp_value *job = &jobs->items[i];

		table_add_text(t, value_bytes(job, "id"), 0);
		table_add_int(t, value_int(job, "priority", 5));
		table_add_int(t, value_int(job, "attempt", 0));
		table_add_int(t, value_int(job, "error_count", 0));
		table_add_when(t, job_moment(job), ctl->now);
		table_add_text(t, value_bytes(job, "group"), 24);
		add_about(t, job);
	}
	ctl_table(ctl, &t, "none");
}

static bool
is_end(const struct resp_value *cursor)
{
	return cursor->type == RESP_INT ? cursor->i == 0 :
	    cursor->s.len == 0 || str_is(cursor->s.data, cursor->s.len, "0");
}

/* {"jobs": [...], "cursor": where the next page begins, null at the end}. */
static int
json_jobs(struct ctl *ctl, const struct resp_value *v)
{
	struct buf out = BUF_INIT;
	struct json j;

	json_init(&j, &out);
	json_object(&j);
	json_key(&j, "jobs");
	render_json(&j, &v->items[1]);
	json_key(&j, "cursor");
	if (is_end(&v->items[0]))
		json_null(&j);
	else
		render_json(&j, &v->items[0]);
	json_object_end(&j);
	fprintf(ctl->out, "%s\n", buf_str(&out));
	buf_done(&out);
	return CTL_OK;
}

static int
show_jobs(struct ctl *ctl, const struct resp_value *v)
{
	struct buf cursor = BUF_INIT;

	if (v->type != RESP_ARRAY || v->n != 2)
		return ctl_fail(ctl, "the daemon's answer to JOB.LIST is not "
		    "a cursor and a list");
	if (ctl->json)
		return json_jobs(ctl, v);
	print_jobs(ctl, &v->items[1]);
	if (!is_end(&v->items[0])) {
		render_value(&cursor, "", &v->items[0], ctl->now);
		fprintf(ctl->out, "more: --cursor %s\n", buf_str(&cursor));
		buf_done(&cursor);
	}
	return CTL_OK;
}

int
ctl_jobs(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "count", .arg = "N"},
	    {.name = "cursor", .arg = "C"}, {.name = "error", .arg = "FP"},
	    {.name = "reverse"}};
	static const char *const words[] = {"COUNT", "CURSOR", "ERROR",
	    "REVERSE"};
	const struct resp_value *v;
	struct ctl_words w = {0};
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, nitems(opts), 2, 2, &n) == 0) {
		ctl_word(&w, "JOB.LIST");
		ctl_word(&w, argv[0]);
		ctl_word(&w, argv[1]);
		for (size_t i = 0; i < nitems(opts); i++) {
			if (!opts[i].value)
				continue;
			ctl_word(&w, words[i]);
			if (opts[i].arg)
				ctl_word(&w, opts[i].value);
		}
		v = ctl_ask_words(ctl, &w);
		status = v ? show_jobs(ctl, v) : CTL_FAILED;
	}
	ctl_words_done(&w);
	ctl_options_done(opts, nitems(opts));
	return status;
}

/* One row of the history of errors. */
static void
print_errors(struct ctl *ctl, const struct resp_value *errors)
{
	struct table *t = table_new(">TRY|WHEN|ERROR");

	if (!errors || errors->type != RESP_ARRAY || errors->n == 0) {
		table_free(&t);
		return;
	}
	for (size_t i = 0; i < errors->n; i++) {
		const struct resp_value *e = &errors->items[i];

		table_add_int(t, value_int(e, "attempt", 0));
		table_add_when(t, value_int(e, "at", 0), ctl->now);
		table_add_text(t, value_bytes(e, "message"), 200);
	}
	fputc('\n', ctl->out);
	ctl_table(ctl, &t, "");
}

static void
print_job(struct ctl *ctl, const struct resp_value *job)
{
	struct table *t = table_new("|");

	for (size_t i = 0; i < job->n; i++) {
		const struct resp_value *v = &job->items[2 * i + 1];
		struct buf text = BUF_INIT;
		char key[40];

		snprintf(key, sizeof(key), "%.*s",
		    (int)job->items[2 * i].s.len, job->items[2 * i].s.data);
		if (strcmp(key, "errors") == 0)
			continue;
		table_add(t, key);
		render_value(&text, key, v, ctl->now);
		table_add_buf(t, &text);
	}
	ctl_table(ctl, &t, "");
	print_errors(ctl, value_get(job, "errors"));
}

/* Where the daemon's log is in the journal. */
static void
print_log_hint(struct ctl *ctl, const char *id)
{
	const struct resp_value *v;
	struct buf unit = BUF_INIT;

	ctl->quiet = true;
	v = ctl_ask(ctl, "BELLHOP", "STATUS", NULL);
	ctl->quiet = false;
	if (v && value_get(v, "journal_unit")) {
		render_text(&unit, value_bytes(v, "journal_unit"), 0);
		fprintf(ctl->out, "\nIts log: journalctl -u %s "
		    "BELLHOP_JOB=%s\n", buf_str(&unit), id);
	}
	buf_done(&unit);
}

int
ctl_job(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "JOB.GET", argv[0], NULL);
	if (!v)
		return CTL_FAILED;
	if (v->type == RESP_NULL)
		return ctl_fail(ctl, "there is no job %s (any more)",
		    argv[0]);
	if (ctl->json)
		return ctl_json(ctl, v);
	print_job(ctl, v);
	print_log_hint(ctl, argv[0]);
	return CTL_OK;
}

int
ctl_why(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	struct buf text = BUF_INIT;
	int64_t until;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "JOB.WHY", argv[0], NULL);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	render_text(&text, value_bytes(v, "gate"), 0);
	buf_adds(&text, ": ");
	render_text(&text, value_bytes(v, "text"), 0);
	until = value_int(v, "until", 0);
	if (until > ctl->now) {
		buf_adds(&text, " (may change ");
		render_when(&text, until, ctl->now);
		buf_addc(&text, ')');
	}
	fprintf(ctl->out, "%s\n", buf_str(&text));
	buf_done(&text);
	return CTL_OK;
}

int
ctl_retry(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "fresh"},
	    {.name = "queue", .arg = "QUEUE"}, {.name = "error", .arg = "FP"}};
	const char *fresh, *queue, *error;
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, nitems(opts), 0, 1, &n) != 0)
		goto out;
	fresh = opts[0].value;
	queue = opts[1].value;
	error = opts[2].value;
	if ((n == 1) == (queue != NULL) || (n == 1 && error) ||
	    (queue && fresh))
		ctl_usage(ctl, "expected either ID [--fresh] or --queue "
		    "QUEUE [--error FP]");
	else if (ctl_connect(ctl) != 0)
		status = CTL_FAILED;
	else if (n == 1)
		status = ctl_done(ctl, ctl_ask(ctl, "JOB.RETRY", argv[0],
		    fresh ? "FRESH" : NULL, NULL), "");
	else {
		client_patience(ctl->client, 3600);
		status = ctl_done(ctl, ctl_ask(ctl, "QUEUE.RETRY", queue,
		    error ? "ERROR" : NULL, error, NULL),
		    "jobs will run again");
	}
out:
	ctl_options_done(opts, nitems(opts));
	return status;
}

int
ctl_remove(struct ctl *ctl, int argc, char **argv)
{
	return ctl_alter(ctl, argc, argv, "JOB.REMOVE");
}

int
ctl_promote(struct ctl *ctl, int argc, char **argv)
{
	return ctl_alter(ctl, argc, argv, "JOB.PROMOTE");
}

int
ctl_cancel(struct ctl *ctl, int argc, char **argv)
{
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 2, &n) != 0)
		return CTL_USAGE;
	return ctl_done(ctl, ctl_ask(ctl, "JOB.CANCEL", argv[0],
	    n == 2 ? argv[1] : NULL, NULL), "");
}
