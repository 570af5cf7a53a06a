/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "script/dryrun.h"
#include "script/spec.h"

/* What `status` counts before it says a sentence. */
struct survey {
	int64_t scripts, broken;
	int64_t queues, waiting, active, failed, processed;
	char *cause;			/* of a broken script, for people */
	char *scripts_dir;		/* the daemon's, else this machine's */
	char *worst;			/* queue with the most failed jobs */
	int64_t worst_failed;
	bool ready;
	char *ill;			/* why not, for people */
};

static void
survey_done(struct survey *s)
{
	free(s->cause);
	free(s->scripts_dir);
	free(s->worst);
	free(s->ill);
}

/* Only an admin may ask for it; others see what is configured here. */
static void
survey_places(struct ctl *ctl, struct survey *s)
{
	const struct resp_value *v;
	const struct conf *conf;
	struct bh_bytes dir;

	ctl->quiet = true;
	v = ctl_ask(ctl, "CONFIG", "GET", "scripts_dir", NULL);
	ctl->quiet = false;
	dir = v ? value_bytes(v, "scripts_dir") : (struct bh_bytes){NULL, 0};
	if (dir.data) {
		s->scripts_dir = xstrndup(dir.data, dir.len);
		return;
	}
	conf = ctl_conf(ctl);
	s->scripts_dir = xstrdup(conf ? conf->scripts_dir : "scripts_dir");
}

static int
survey_scripts(struct ctl *ctl, struct survey *s)
{
	const struct resp_value *v = ctl_ask(ctl, "BELLHOP", "SCRIPTS", NULL);

	if (!v)
		return -1;
	for (size_t i = 0; i < v->n; i++) {
		struct bh_bytes error = value_bytes(&v->items[i], "error");
		struct buf text = BUF_INIT;

		s->scripts++;
		if (error.len == 0)
			continue;
		if (s->broken++ == 0) {
			render_text(&text, error, 0);
			s->cause = buf_take(&text);
		}
	}
	return 0;
}

static int
survey_queue(struct ctl *ctl, struct survey *s, const char *name)
{
	const struct resp_value *v = ctl_ask(ctl, "QUEUE.STATS", name, NULL);
	int64_t failed;

	if (!v)
		return -1;
	s->queues++;
	s->waiting += value_int(v, "waiting", 0) +
	    value_int(v, "delayed", 0);
	s->active += value_int(v, "active", 0);
	s->processed += value_int(v, "processed_total", 0);
	failed = value_int(v, "failed", 0);
	s->failed += failed;
	if (failed > s->worst_failed) {
		free(s->worst);
		s->worst = xstrdup(name);
		s->worst_failed = failed;
	}
	return 0;
}

static int
survey_queues(struct ctl *ctl, struct survey *s)
{
	char **names = ctl_queue_names(ctl);
	int rc = names ? 0 : -1;

	for (size_t i = 0; names && names[i]; i++) {
		if (rc == 0)
			rc = survey_queue(ctl, s, names[i]);
		free(names[i]);
	}
	free(names);
	return rc;
}

/* Whether it is ready, and every reason why not. A daemon that has just been
 * replaced may not know the question. */
static void
survey_health(struct ctl *ctl, struct survey *s)
{
	const struct resp_value *v, *checks;
	struct buf text = BUF_INIT;

	s->ready = true;
	ctl->quiet = true;
	v = ctl_ask(ctl, "BELLHOP", "HEALTH", NULL);
	ctl->quiet = false;
	checks = value_get(v, "checks");
	if (!checks)
		return;
	s->ready = value_int(v, "ready", 1);
	for (size_t i = 0; i < checks->n; i++) {
		if (value_int(&checks->items[i], "ok", 1))
			continue;
		if (buf_size(&text) > 0)
			buf_adds(&text, "; ");
		render_text(&text, value_bytes(&checks->items[i], "text"), 0);
	}
	s->ill = buf_take(&text);
}

/* The most pressing thing first. */
static void
advise(const struct survey *s, const struct resp_value *status,
    struct buf *out)
{
	const struct resp_value *alerts = value_get(status, "alerts");
	const struct resp_value *first = alerts && alerts->n > 0 ?
	    &alerts->items[0] : NULL;

	if (!value_int(status, "accepting", 1) &&
	    value_int(status, "outbox_open", 0)) {
		buf_addf(out, "New jobs are kept on this machine (jobs and"
		    " results so far: %jd): ",
		    (intmax_t)value_int(status, "outbox", 0));
		render_text(out, value_bytes(status, "text"), 0);
	} else if (!value_int(status, "accepting", 1)) {
		buf_adds(out, "New work is refused: ");
		render_text(out, value_bytes(status, "text"), 0);
	} else if (!s->ready) {
		buf_addf(out, "Not ready: %s", s->ill);
	} else if (first) {
		buf_addf(out, "%jd alert%s: ", (intmax_t)alerts->n,
		    alerts->n == 1 ? "" : "s");
		render_text(out, first->s, 0);
	} else if (s->broken > 0) {
		buf_addf(out, "%jd of %jd scripts cannot be loaded: %s",
		    (intmax_t)s->broken, (intmax_t)s->scripts, s->cause);
	} else if (s->scripts == 0 && s->active + s->processed == 0) {
		buf_addf(out, "No script is loaded: put one into %s and run "
		    "'systemctl reload bellhop'.", s->scripts_dir);
	} else if (s->waiting + s->active + s->failed + s->processed == 0) {
		buf_adds(out, "No job has come yet: try 'bellhopctl add "
		    "QUEUE DATA' with the queue of a script.");
	} else if (s->failed > 0) {
		buf_addf(out, "%jd job%s failed for good: 'bellhopctl "
		    "errors %s' says why.", (intmax_t)s->failed,
		    s->failed == 1 ? " has" : "s have", s->worst);
	} else {
		buf_addf(out, "All is well: %jd jobs to do, %jd at work, "
		    "none failed.", (intmax_t)s->waiting,
		    (intmax_t)s->active);
	}
}

/* The daemon's own map, with the sentence in front. */
static void
print_status(struct ctl *ctl, const struct resp_value *v,
    const char *sentence, bool ready)
{
	struct buf out = BUF_INIT;
	struct json j;

	if (!ctl->json) {
		fprintf(ctl->out, "%s\n\n", sentence);
		render_map(ctl->out, v, ctl->now, ctl->color);
		return;
	}
	json_init(&j, &out);
	json_object(&j);
	json_key(&j, "summary");
	json_str(&j, sentence);
	json_key(&j, "ready");
	json_bool(&j, ready);
	for (size_t i = 0; v->type == RESP_MAP && i < v->n; i++) {
		const struct bh_bytes k = v->items[2 * i].s;

		json_key_bytes(&j, k.data, k.len);
		render_json(&j, &v->items[2 * i + 1]);
	}
	json_object_end(&j);
	fprintf(ctl->out, "%s\n", buf_str(&out));
	buf_done(&out);
}

int
ctl_status(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	struct buf sentence = BUF_INIT;
	struct survey s = {0};
	int n, status = CTL_FAILED;
	bool working;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 0, &n) != 0)
		return CTL_USAGE;
	/* While commits fail, answers about queues wait for the disk. */
	v = ctl_ask(ctl, "BELLHOP", "STATUS", NULL);
	working = v && value_int(v, "accepting", 1);
	if (v)
		survey_health(ctl, &s);
	if (v && survey_scripts(ctl, &s) == 0 &&
	    (!working || survey_queues(ctl, &s) == 0)) {
		survey_places(ctl, &s);
		v = ctl_ask(ctl, "BELLHOP", "STATUS", NULL);
		if (v) {
			advise(&s, v, &sentence);
			print_status(ctl, v, buf_str(&sentence), s.ready);
			status = CTL_OK;
		}
	}
	survey_done(&s);
	buf_done(&sentence);
	return status;
}

int
ctl_script_list(struct ctl *ctl, int argc, char **argv)
{
	struct table *t;
	const struct resp_value *v;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 0, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "BELLHOP", "SCRIPTS", NULL);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	t = table_new("FILE|QUEUE|VERSION|LOADED|>RUNNING|ERROR");
	for (size_t i = 0; i < v->n; i++) {
		const struct resp_value *s = &v->items[i];

		table_add_text(t, value_bytes(s, "file"), 0);
		table_add_text(t, value_bytes(s, "queue"), 0);
		table_add_text(t, value_bytes(s, "version"), 13);
		table_add_when(t, value_int(s, "loaded_at", 0), ctl->now);
		table_add_int(t, value_int(s, "running", 0));
		table_add_text(t, value_bytes(s, "error"), 0);
	}
	ctl_table(ctl, &t, "no script");
	return CTL_OK;
}

int
ctl_script_check(struct ctl *ctl, int argc, char **argv)
{
	struct buf summary = BUF_INIT;
	const struct conf *conf;
	struct err e;
	int n, status = CTL_OK;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	conf = ctl_conf(ctl);
	if (!conf)
		return CTL_FAILED;
	if (script_check(argv[0], conf, &summary, &e) != 0)
		status = ctl_fail(ctl, "%s", e.text);
	else
		fprintf(ctl->out, "%s\n", buf_str(&summary));
	buf_done(&summary);
	return status;
}

int
ctl_script_run(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "data", .arg = "JSON"},
	    {.name = "live"}};
	const char *data = "{}";
	const struct conf *conf;
	struct err e;
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, 2, 1, 1, &n) != 0)
		goto out;
	status = CTL_FAILED;
	if (opts[0].value)
		data = opts[0].value;
	conf = ctl_conf(ctl);
	if (!conf)
		goto out;
	status = CTL_OK;
	if (script_run(argv[0], conf, (struct bh_bytes){data, strlen(data)},
	    opts[1].value != NULL, ctl->out, &e) != 0)
		status = ctl_fail(ctl, "%s", e.text);
out:
	ctl_options_done(opts, 2);
	return status;
}

int
ctl_test(struct ctl *ctl, int argc, char **argv)
{
	const struct conf *conf;
	struct err e;
	int n, failed;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	conf = ctl_conf(ctl);
	if (!conf)
		return CTL_FAILED;
	failed = spec_main(argv[0], conf, ctl->out, &e);
	if (failed < 0)
		return ctl_fail(ctl, "%s", e.text);
	return failed ? CTL_FAILED : CTL_OK;
}

static int
show_secret(struct ctl *ctl, const char *name, const struct resp_value *v)
{
	if (!v)
		return CTL_FAILED;
	if (ctl->json) {
		fprintf(ctl->out, "{\"name\":\"%s\",\"token\":\"%.*s\"}\n",
		    name, (int)v->s.len, v->s.data);
		return CTL_OK;
	}
	fprintf(ctl->out, "%.*s\n", (int)v->s.len, v->s.data);
	if (isatty(STDOUT_FILENO))
		fprintf(ctl->err, "This token is shown once and is not "
		    "stored: keep it now.\n");
	return CTL_OK;
}

int
ctl_token_add(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "role", .arg = "ROLE"},
	    {.name = "queue", .arg = "PATTERN"}};
	struct ctl_words w = {0};
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, 2, 1, 1, &n) != 0)
		goto out;
	if (!opts[0].value) {
		ctl_usage(ctl, "--role is missing: reader, producer, worker, "
		    "operator or admin");
		goto out;
	}
	ctl_word(&w, "BELLHOP");
	ctl_word(&w, "TOKEN");
	ctl_word(&w, "ADD");
	ctl_word(&w, argv[0]);
	ctl_word(&w, opts[0].value);
	for (size_t i = 0; i < opts[1].n; i++)
		ctl_word(&w, opts[1].list[i]);
	status = show_secret(ctl, argv[0], ctl_ask_words(ctl, &w));
out:
	ctl_words_done(&w);
	ctl_options_done(opts, 2);
	return status;
}

int
ctl_token_list(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	struct table *t;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 0, &n) != 0)
		return CTL_USAGE;
	v = ctl_ask(ctl, "BELLHOP", "TOKEN", "LIST", NULL);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	t = table_new("NAME|ROLE|QUEUES");
	for (size_t i = 0; i < v->n; i++) {
		const struct resp_value *p =
		    value_get(&v->items[i], "patterns");
		struct buf text = BUF_INIT;

		table_add_text(t, value_bytes(&v->items[i], "name"), 0);
		table_add_text(t, value_bytes(&v->items[i], "role"), 0);
		if (p && p->n > 0)
			render_value(&text, "", p, ctl->now);
		else
			buf_adds(&text, "all");
		table_add_buf(t, &text);
	}
	ctl_table(ctl, &t, "no token");
	return CTL_OK;
}

int
ctl_token_remove(struct ctl *ctl, int argc, char **argv)
{
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	return ctl_done(ctl, ctl_ask(ctl, "BELLHOP", "TOKEN", "DEL", argv[0],
	    NULL), "");
}

int
ctl_reload(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 0, &n) != 0)
		return CTL_USAGE;
	if (ctl_connect(ctl) != 0)
		return CTL_FAILED;
	client_patience(ctl->client, 300);
	v = ctl_ask(ctl, "BELLHOP", "RELOAD", NULL);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	if (v->s.len > 0)
		fprintf(ctl->out, "%.*s%s", (int)v->s.len, v->s.data,
		    v->s.data[v->s.len - 1] == '\n' ? "" : "\n");
	return CTL_OK;
}
