/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/xalloc.h"

#define MAX_OPTIONS 24

static int ctl_help(struct ctl *ctl, int argc, char **argv);
static int ctl_version(struct ctl *ctl, int argc, char **argv);

static const struct ctl_command commands[] = {
	{"status", "", "what the daemon does, and what to do next",
	    ctl_status},
	{"queues", "", "every queue with its jobs by state", ctl_queues},
	{"add", "QUEUE [DATA|-] [--priority N] [--delay D | --at TIME]\n"
	    "    [--expires D] [--attempts N] [--backoff TYPE:DELAY[:FACTOR"
	    "[:MAX[:JITTER]]]]\n    [--timeout D] [--group KEY] [--unique KEY]"
	    " [--unique-mode MODE]\n    [--unique-ttl D] [--retain D] "
	    "[--lease D] [--max-stalled N]",
	    "add a job, with DATA or standard input as payload", ctl_add},
	{"jobs", "QUEUE STATE [--count N] [--cursor C] [--reverse] "
	    "[--error FP]", "list the jobs of a queue in one state",
	    ctl_jobs},
	{"job", "ID", "all about one job", ctl_job},
	{"why", "ID", "why a job is not running", ctl_why},
	{"retry", "ID [--fresh] | --queue QUEUE [--error FP]",
	    "run a failed job again, or all of a queue", ctl_retry},
	{"remove", "ID", "remove a job that is not active", ctl_remove},
	{"promote", "ID", "run a delayed job now", ctl_promote},
	{"cancel", "ID [REASON]", "stop a job; it ends as failed",
	    ctl_cancel},
	{"pause", "QUEUE", "start no more jobs of a queue", ctl_pause},
	{"resume", "QUEUE", "end a pause or a hold", ctl_resume},
	{"hold", "QUEUE DURATION [REASON]", "pause a queue for some time",
	    ctl_hold},
	{"purge", "QUEUE STATE [--error FP]",
	    "remove the jobs of a queue in one state", ctl_purge},
	{"errors", "QUEUE", "what the failed jobs of a queue died of",
	    ctl_errors},
	{"events", "[QUEUE] [--count N]",
	    "what happens to jobs, as it happens; QUEUE may be a pattern",
	    ctl_events},
	{"publish", "TOPIC DATA", "tell a message to who is subscribed now",
	    ctl_publish},
	{"schedule list", "[NAME]", "what adds jobs by the clock, and when",
	    ctl_schedule_list},
	{"schedule set", "NAME QUEUE [DATA|-] --cron EXPR [--tz ZONE] | "
	    "--every D\n    [--misfire skip|once|all] [--overlap skip|queue] "
	    "[the options of add but --at]",
	    "add a job by the clock from now on", ctl_schedule_set},
	{"schedule del", "NAME", "remove a schedule", ctl_schedule_del},
	{"schedule preview", "EXPR [--tz ZONE] [--count N] [--after TIME]",
	    "the next times of a cron expression; needs no daemon",
	    ctl_schedule_preview},
	{"script list", "", "the scripts that are loaded or broken",
	    ctl_script_list},
	{"script check", "FILE", "load a script without running it",
	    ctl_script_check},
	{"script run", "FILE [--data JSON] [--live]",
	    "run a script once here, without a store", ctl_script_run},
	{"test", "DIR|FILE", "run the specs of scripts (*_spec.lua)",
	    ctl_test},
	{"token add", "NAME --role ROLE [--queue PATTERN]...",
	    "make an access token and show it once", ctl_token_add},
	{"token list", "", "the names of the tokens", ctl_token_list},
	{"token remove", "NAME", "make a token invalid", ctl_token_remove},
	{"reload", "", "read configuration and scripts again", ctl_reload},
	{"backup", "FILE [--state-dir DIR]",
	    "copy the database while the daemon runs", ctl_backup},
	{"restore", "FILE [--state-dir DIR]",
	    "put a backup in place while the daemon is stopped",
	    ctl_restore},
	{"migrate", "--to embedded|redis [--dry-run] [--keys GLOB]... "
	    "[--no-keys]",
	    "move everything back from Redis, or count what would move",
	    ctl_migrate},
	{"doctor", "[--state-dir DIR]", "prove that all is well",
	    ctl_doctor},
	{"version", "", "the versions of this tool and the daemon",
	    ctl_version},
	{"help", "[COMMAND]", "this text, or how one command goes",
	    ctl_help},
};

const struct ctl_command *
ctl_command_at(size_t i)
{
	return i < nitems(commands) ? &commands[i] : NULL;
}

int
ctl_usage(struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	fprintf(ctl->err, "bellhopctl: ");
	if (ctl->cmd)
		fprintf(ctl->err, "%s: ", ctl->cmd->name);
	va_start(ap, fmt);
	vfprintf(ctl->err, fmt, ap);
	va_end(ap);
	if (ctl->cmd)
		fprintf(ctl->err, "\nusage: bellhopctl %s %s\n",
		    ctl->cmd->name, ctl->cmd->args);
	else
		fprintf(ctl->err, "\nTry: bellhopctl help\n");
	return CTL_USAGE;
}

int
ctl_fail(struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	if (ctl->quiet)
		return CTL_FAILED;
	fprintf(ctl->err, "bellhopctl: ");
	va_start(ap, fmt);
	vfprintf(ctl->err, fmt, ap);
	va_end(ap);
	fputc('\n', ctl->err);
	return CTL_FAILED;
}

/* The options that stand before or behind any command. */
static const struct option common[] = {
	{"socket", required_argument, NULL, 's'},
	{"url", required_argument, NULL, 'u'},
	{"config", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
};

/* True when c was one of them. */
static bool
take_common(struct ctl *ctl, int c)
{
	switch (c) {
	case 's':
		ctl->socket = optarg;
		return true;
	case 'u':
		ctl->url = optarg;
		return true;
	case 'c':
		ctl->config = optarg;
		return true;
	case 'j':
		ctl->json = true;
		return true;
	case 'h':
		ctl->help = true;
		return true;
	case 'V':
		ctl->version = true;
		return true;
	default:
		return false;
	}
}

static void
take_option(struct ctl_option *o)
{
	o->value = o->arg ? optarg : "";
	o->list = xrealloc(o->list, (o->n + 1) * sizeof(*o->list));
	o->list[o->n++] = o->value;
}

void
ctl_options_done(struct ctl_option *opts, size_t nopts)
{
	for (size_t i = 0; i < nopts; i++)
		free(opts[i].list);
}

static void
print_usage(FILE *f, const struct ctl_command *cmd)
{
	fprintf(f, "usage: bellhopctl %s %s\n%s\n", cmd->name, cmd->args,
	    cmd->help);
}

/* Runs getopt over words that begin with a name, as main()'s do. Leaves the
 * others at the front of argv. */
static int
run_getopt(struct ctl *ctl, int argc, char **argv, const char *order,
    struct ctl_option *opts, size_t nopts)
{
	struct option longs[MAX_OPTIONS + nitems(common) + 1] = {0};
	int c;

	for (size_t i = 0; i < nopts; i++)
		longs[i] = (struct option){opts[i].name,
		    opts[i].arg ? required_argument : no_argument, NULL,
		    256 + (int)i};
	memcpy(longs + nopts, common, sizeof(common));
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, order, longs, NULL)) != -1) {
		if (c >= 256) {
			take_option(&opts[c - 256]);
		} else if (c == ':') {
			ctl_usage(ctl, "option '%s' needs a value",
			    argv[optind - 1]);
			return -1;
		} else if (!take_common(ctl, c)) {
			ctl_usage(ctl, "unknown option '%s'",
			    optind > 0 ? argv[optind - 1] : "");
			return -1;
		}
	}
	return 0;
}

int
ctl_parse(struct ctl *ctl, int argc, char **argv, struct ctl_option *opts,
    size_t nopts, int min, int max, int *ret_n)
{
	int n;

	/* A leading ':' tells a missing value from an unknown option. */
	if (run_getopt(ctl, argc, argv, ":hj", opts, nopts) != 0)
		return -1;
	n = argc - optind;
	memmove(argv, argv + optind, (size_t)n * sizeof(*argv));
	if (ctl->help) {
		print_usage(ctl->out, ctl->cmd);
		return -1;
	}
	if (n < min) {
		ctl_usage(ctl, "too few arguments");
		return -1;
	}
	if (n > max) {
		ctl_usage(ctl, "\"%s\" is one argument too many", argv[max]);
		return -1;
	}
	*ret_n = n;
	return 0;
}

const struct conf *
ctl_conf(struct ctl *ctl)
{
	const char *file = ctl->config ? ctl->config : BELLHOP_CONFFILE;
	struct err e;

	if (ctl->conf)
		return ctl->conf;
	if (!ctl->config && access(file, R_OK) != 0)
		ctl->conf = conf_new();
	else if (conf_load(&ctl->conf, file, NULL, &e) != 0)
		ctl_fail(ctl, "%s", e.text);
	return ctl->conf;
}

/* --url, --socket, else the first unix listener, else the first one. */
static const char *
choose_target(struct ctl *ctl)
{
	const struct conf *conf;
	char **list;

	if (ctl->url || ctl->socket)
		return ctl->url ? ctl->url : ctl->socket;
	conf = ctl_conf(ctl);
	if (!conf)
		return NULL;
	list = conf->listen_resp;
	for (size_t i = 0; list[i]; i++) {
		if (strncmp(list[i], "unix:", 5) == 0)
			return list[i];
	}
	if (!list[0])
		ctl_fail(ctl, "%s: option 'listen.resp' is empty, so where "
		    "the daemon is must be said with --socket or --url",
		    conf->file);
	return list[0];
}

int
ctl_connect(struct ctl *ctl)
{
	struct client_target target = {0};
	const char *where, *token = getenv("BELLHOP_TOKEN");
	struct err e;
	int rc;

	if (ctl->client)
		return 0;
	where = choose_target(ctl);
	if (!where)
		return -1;
	/* Any name may be a socket's, also one that looks like a host. */
	if (where == ctl->socket && strncmp(where, "unix:", 5) != 0) {
		target.path = xstrdup(where);
		rc = 0;
	} else {
		rc = client_target_parse(where, &target, &e);
	}
	if (rc == 0 && !target.token && token && *token)
		target.token = xstrdup(token);
	if (rc == 0)
		rc = client_open(&ctl->client, &target, &e);
	if (rc != 0)
		ctl_fail(ctl, "%s", e.text);
	client_target_done(&target);
	return rc;
}

void
ctl_word_bytes(struct ctl_words *w, const char *s, size_t len)
{
	w->argv = xrealloc(w->argv, (w->argc + 1) * sizeof(*w->argv));
	w->argv[w->argc++] = (struct bh_bytes){s, len};
}

void
ctl_word(struct ctl_words *w, const char *s)
{
	ctl_word_bytes(w, s, strlen(s));
}

void
ctl_word_int(struct ctl_words *w, int64_t v)
{
	char *s = xasprintf("%jd", (intmax_t)v);

	w->owned = xrealloc(w->owned, (w->nowned + 1) * sizeof(*w->owned));
	w->owned[w->nowned++] = s;
	ctl_word(w, s);
}

void
ctl_words_done(struct ctl_words *w)
{
	for (size_t i = 0; i < w->nowned; i++)
		free(w->owned[i]);
	free(w->owned);
	free(w->argv);
	*w = (struct ctl_words){0};
}

const struct resp_value *
ctl_ask_words(struct ctl *ctl, const struct ctl_words *w)
{
	const struct resp_value *answer;
	struct err e;

	if (ctl_connect(ctl) != 0)
		return NULL;
	if (client_call(ctl->client, w->argv, w->argc, &answer, &e) == 0)
		return answer;
	ctl_fail(ctl, "%s", client_error(ctl->client) ?
	    client_error(ctl->client) : e.text);
	return NULL;
}

const struct resp_value *
ctl_ask(struct ctl *ctl, const char *first, ...)
{
	const struct resp_value *answer;
	struct ctl_words w = {0};
	va_list ap;

	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *))
		ctl_word(&w, s);
	va_end(ap);
	answer = ctl_ask_words(ctl, &w);
	ctl_words_done(&w);
	return answer;
}

int64_t
ctl_duration(struct ctl *ctl, const char *name, const char *s)
{
	int64_t ms;

	if (str_duration(s, strlen(s), 0, &ms) == 0)
		return ms;
	ctl_usage(ctl, "%s \"%s\": expected a duration with its unit, such "
	    "as 500ms 2s 5m 1h 7d", name, s);
	return -1;
}

void
ctl_table(struct ctl *ctl, struct table **t, const char *empty)
{
	if (table_rows(*t) > 0)
		table_print(*t, ctl->out, ctl->color);
	else
		fprintf(ctl->out, "%s\n", empty);
	table_free(t);
}

int
ctl_json(struct ctl *ctl, const struct resp_value *v)
{
	struct buf out = BUF_INIT;
	struct json j;

	json_init(&j, &out);
	render_json(&j, v);
	buf_addc(&out, '\n');
	fwrite(buf_peek(&out), 1, buf_size(&out), ctl->out);
	buf_done(&out);
	return CTL_OK;
}

int
ctl_done(struct ctl *ctl, const struct resp_value *v, const char *what)
{
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	if (v->type == RESP_INT)
		fprintf(ctl->out, "%jd %s\n", (intmax_t)v->i, what);
	else if (v->type == RESP_SIMPLE)
		fprintf(ctl->out, "%.*s\n", (int)v->s.len, v->s.data);
	return CTL_OK;
}

int
ctl_alter(struct ctl *ctl, int argc, char **argv, const char *command)
{
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 1, 1, &n) != 0)
		return CTL_USAGE;
	return ctl_done(ctl, ctl_ask(ctl, command, argv[0], NULL), "");
}

/* The row whose name is the first one or two words; *ret_words of them. */
static const struct ctl_command *
find_command(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < nitems(commands); i++) {
		const char *name = commands[i].name;
		const char *blank = strchr(name, ' ');
		size_t len = blank ? (size_t)(blank - name) : strlen(name);

		if (strlen(argv[0]) != len || strncmp(argv[0], name, len))
			continue;
		if (blank && (argc < 2 || strcmp(argv[1], blank + 1)))
			continue;
		*ret_words = blank ? 2 : 1;
		return &commands[i];
	}
	return NULL;
}

static void
print_help(FILE *f)
{
	fprintf(f, "usage: bellhopctl [--socket PATH | --url URL] "
	    "[--config FILE] [--json] COMMAND ...\n\n");
	for (size_t i = 0; i < nitems(commands); i++)
		fprintf(f, "  %-16s  %s\n", commands[i].name,
		    commands[i].help);
	fprintf(f, "\nDurations have a unit: 500ms 2s 5m 1h 7d. "
	    "bellhopctl help COMMAND says more.\n");
}

static int
ctl_help(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_command *found;
	int n, words;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 2, &n) != 0)
		return CTL_USAGE;
	if (n == 0) {
		print_help(ctl->out);
		return CTL_OK;
	}
	found = find_command(n, argv, &words);
	if (!found)
		return ctl_usage(ctl, "there is no command \"%s\"", argv[0]);
	print_usage(ctl->out, found);
	return CTL_OK;
}

static int
ctl_version(struct ctl *ctl, int argc, char **argv)
{
	const struct resp_value *v;
	struct bh_bytes daemon = {NULL, 0};
	int n;

	if (ctl_parse(ctl, argc, argv, NULL, 0, 0, 0, &n) != 0)
		return CTL_USAGE;
	if (!ctl->json)
		fprintf(ctl->out, "bellhopctl %s\n", BELLHOP_VERSION);
	v = ctl_ask(ctl, "BELLHOP", "STATUS", NULL);
	if (v)
		daemon = value_bytes(v, "version");
	if (ctl->json)
		fprintf(ctl->out, "{\"bellhopctl\":\"%s\",\"bellhopd\":"
		    "\"%.*s\"}\n", BELLHOP_VERSION, (int)daemon.len,
		    daemon.data ? daemon.data : "");
	else if (daemon.data)
		fprintf(ctl->out, "bellhopd %.*s\n", (int)daemon.len,
		    daemon.data);
	return v ? CTL_OK : CTL_FAILED;
}

static int
dispatch(struct ctl *ctl, int argc, char **argv)
{
	bool family;
	int words, status;

	if (ctl->version) {
		fprintf(ctl->out, "bellhopctl %s\n", BELLHOP_VERSION);
		return CTL_OK;
	}
	if (argc == 0) {
		if (ctl->help) {
			print_help(ctl->out);
			return CTL_OK;
		}
		return ctl_usage(ctl, "a command is missing");
	}
	ctl->cmd = find_command(argc, argv, &words);
	if (!ctl->cmd) {
		family = strcmp(argv[0], "script") == 0 ||
		    strcmp(argv[0], "token") == 0;
		if (family && argc == 1)
			return ctl_usage(ctl, "%s: which command? %s", argv[0],
			    *argv[0] == 's' ? "list, check or run" :
			    "add, list or remove");
		return ctl_usage(ctl, "there is no command \"%s%s%s\"",
		    argv[0], family ? " " : "", family ? argv[1] : "");
	}
	/* The last word of the name stands where getopt expects one. */
	status = ctl->cmd->fn(ctl, argc - words + 1, argv + words - 1);
	return ctl->help ? CTL_OK : status;
}

int
ctl_main(int argc, char **argv, FILE *in, FILE *out, FILE *err)
{
	struct ctl ctl = {.in = in, .out = out, .err = err,
	    .now = clock_now().wall_ms};
	int fd = fileno(out), status;

	ctl.color = fd >= 0 && isatty(fd) && !getenv("NO_COLOR");
	if (run_getopt(&ctl, argc, argv, "+:hj", NULL, 0) != 0)
		return CTL_USAGE;
	status = dispatch(&ctl, argc - optind, argv + optind);
	client_close(&ctl.client);
	conf_free(&ctl.conf);
	if ((fflush(out) != 0 || ferror(out)) && status == CTL_OK)
		status = ctl_fail(&ctl, "cannot write: %s", strerror(errno));
	return status;
}
