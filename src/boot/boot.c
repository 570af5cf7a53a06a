/* SPDX-License-Identifier: MIT */
/*
 * Start and stop. The order of the start: configuration, plugins, tokens,
 * scripts (as recovery needs their options), the store recovered, doors. The
 * stop: store, script threads, doors, plugins.
 */
#include "boot/boot.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/embedded.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "boot/daemon.h"
#include "cmd/alert.h"
#include "cmd/bus.h"
#include "rt/journald.h"
#include "rt/listen.h"

static const char usage[] =
    "usage: bellhopd [--config FILE] [--check] [--state-dir DIR]\n"
    "                [--foreground] [--version] [--help]\n"
    "\n"
    "  --config FILE    read this configuration (" BELLHOP_CONFFILE ")\n"
    "  --check          read configuration, say what is wrong, and exit\n"
    "  --state-dir DIR  keep the database here, whatever the file says\n"
    "  --foreground     what it does anyway: systemd or a shell looks after "
    "it\n"
    "  --version        print the version and exit\n";

int
daemon_conf(const struct daemon *d, struct conf **ret, struct buf *report,
    struct err *e)
{
	struct conf *c;

	if (!d->conf_file)
		c = conf_new();
	else if (conf_load(&c, d->conf_file, report, e) < 0)
		return -1;
	if (d->state_dir) {
		free(c->state_dir);
		c->state_dir = xstrdup(d->state_dir);
	}
	*ret = c;
	return 0;
}

struct keys_limits
daemon_keys_limits(const struct conf *c)
{
	static const char *const words[] = {"commit", "relaxed", "memory"};
	struct keys_limits l = {.volatile_prefixes = c->keys_volatile,
	    .cache_bytes = c->cache_memory, .durable_bytes = c->keys_memory,
	    .eval_ms = c->eval_time, .eval_bytes = c->script_memory,
	    .answer_bytes = c->max_output};

	while (strcmp(words[l.durability], c->keys_durability) != 0)
		l.durability++;
	return l;
}

void
daemon_apply(struct daemon *d)
{
	struct keys_limits keys = daemon_keys_limits(d->conf);
	enum log_level level;

	if (log_level_parse(d->conf->log_level, &level) == 0)
		log_set_level(level);
	d->env.conf = d->conf;
	conf_apply_queues(d->conf, d->qopts);
	if (d->env.bus)
		bus_set_limits(d->env.bus, d->conf->event_ring,
		    d->conf->event_memory);
	if (!d->env.be)
		return;
	spare_free(&d->spare);	/* it is made anew, with these limits */
	if (d->env.ops == &embedded_ops) {
		embedded_set_limits(d->env.be, d->conf->payload_cache,
		    d->conf->max_disk, d->conf->max_queues,
		    d->conf->max_schedules);
		embedded_set_keys(d->env.be, &keys, d->conf->limits_memory,
		    d->conf->limits_durable);
	}
	d->env.ops->options_changed(d->env.be);
}

static void
wake(void *arg)
{
	loop_wake(((struct daemon *)arg)->loop);
}

static bool
handler_gate(void *arg, struct bh_bytes queue, struct bh_why *ret)
{
	return pool_gate(((struct daemon *)arg)->pool, queue, ret);
}

static void
hook(void *arg, struct bh_hook *h)
{
	pool_hook(((struct daemon *)arg)->pool, h);
}

static bool
script_at(void *arg, size_t i, struct script_info *ret)
{
	return pool_script_at(((struct daemon *)arg)->pool, i, ret);
}

static void
figures(void *arg, struct reply *r)
{
	struct daemon *d = arg;

	r->ops->map(r, 1);
	reply_str(r, "handlers_running");
	r->ops->integer(r, (int64_t)pool_running(d->pool));
}

static void
script_figures(void *arg, struct script_figures *ret)
{
	pool_figures(((struct daemon *)arg)->pool, ret);
}

/* --- signals --- */

static void
reload_logged(void *user, bool ok, const char *report)
{
	(void)user, (void)ok, (void)report;	/* reload.c has logged it */
}

static void
on_hangup(void *arg, int signo)
{
	(void)signo;
	reload_start(arg, reload_logged, NULL);
}

static void
on_terminate(void *arg, int signo)
{
	struct daemon *d = arg;

	if (d->asked_to_stop) {
		/* What was acknowledged is committed: nothing to save. */
		log_warn("a second signal (%s): ending at once",
		    strsignal(signo));
		_exit(0);
	}
	shutdown_ask(d);
}

/* --- start and stop --- */

static int
open_tokens(struct daemon *d, struct err *e)
{
	char *path = xasprintf("%s/tokens", d->conf->state_dir);
	int rc = tokens_open(&d->env.tokens, path, e);

	free(path);
	return rc;
}

static int
open_store(struct daemon *d, struct err *e)
{
	struct embedded_config c = {
	    .dir = d->conf->state_dir,
	    .relaxed = strcmp(d->conf->durability, "relaxed") == 0,
	    .qopts = d->qopts,
	    .payload_cache = d->conf->payload_cache,
	    .max_disk = d->conf->max_disk,
	    .max_queues = d->conf->max_queues,
	    .keys = daemon_keys_limits(d->conf),
	    .limiter_bytes = d->conf->limits_memory,
	    .limiters_durable = d->conf->limits_durable,
	    .mono_us = clock_mono_us,
	    .max_schedules = d->conf->max_schedules,
	    .wake = wake,
	    .wake_arg = d,
	    .recovering = service_recovering};

	if (d->env.ops != &embedded_ops)
		return brought_open(d, e);
	return embedded_open(&d->env.be, &c, e);
}

/* --- scripts come first: recovery needs to know their options --- */

static void
scripts_loaded(void *user, bool ok, const char *report)
{
	struct daemon *d = user;

	(void)ok, (void)report;		/* the log has it */
	loop_stop(d->loop);
}

static int64_t
loading_turn(void *arg)
{
	struct daemon *d = arg;

	pool_take(d->pool, clock_now().mono_ms);
	return pool_next(d->pool);
}

static void
load_scripts(struct daemon *d)
{
	struct pool_config pc = {.conf = d->conf, .qopts = d->qopts,
	    .env = &d->env, .wake = wake, .wake_arg = d};

	d->pool = pool_new(&pc);
	loop_on_turn(d->loop, NULL, loading_turn, d);
	pool_load(d->pool, d->conf, scripts_loaded, d);
	loop_run(d->loop);
}

/* --- plugins, and the backend that one of them may bring --- */

static int
choose_backend(struct daemon *d, struct err *e)
{
	const char *type = d->conf->backend_type;
	const struct bh_backend_type *brought = host_backend(d->host, type);
	struct buf names = BUF_INIT;

	if (strcmp(type, embedded_ops.name) == 0 || brought) {
		d->env.ops = brought ? brought->ops : &embedded_ops;
		return 0;
	}
	host_backend_names(d->host, &names);
	err_set(e, BH_E_ERR, "backend.type: there is no backend '%s'; known"
	    " are %s, and those that plugins bring", type, buf_str(&names));
	buf_done(&names);
	return -1;
}

/* Those that `plugins` names, and the one that brings the backend: freed by
 * the caller, the names are the configuration's. */
static char **
plugin_names(const struct daemon *d)
{
	char **names, *type = d->conf->backend_type;
	size_t n = 0;
	bool named = strcmp(type, "redis") != 0;

	while (d->conf->plugins[n])
		n++;
	names = xcalloc(n + 2, sizeof(*names));
	for (size_t i = 0; i < n; i++) {
		names[i] = d->conf->plugins[i];
		named = named || strcmp(names[i], type) == 0;
	}
	if (!named)
		names[n] = type;
	return names;
}

static int
open_plugins(struct daemon *d, struct err *e)
{
	char **names = plugin_names(d);
	int rc;

	d->host = host_new(d->loop, &d->env);
	rc = plugins_load(&d->plugins, d->conf->plugin_dir, names, e);
	free(names);
	if (rc < 0 || plugins_init(d->plugins, host_api(d->host), e) < 0)
		return -1;
	return choose_backend(d, e);
}

/* Somebody has said where HTTP shall be: the configuration, or systemd. */
static bool
wants_http(const struct daemon *d)
{
	char *const *list = d->conf->listen_http;
	struct conf *def = conf_new();
	bool said = list[0] && (list[1] ||
	    strcmp(list[0], def->listen_http[0]) != 0);
	int fd;

	conf_free(&def);
	return said || listen_inherit("http", &fd, 1) > 0;
}

static void
log_plugins(const struct daemon *d)
{
	const struct bh_plugin *p;
	bool http = false;

	for (size_t i = 0; (p = plugins_at(d->plugins, i)); i++) {
		log_info("plugin %s %s", p->name, p->version ? p->version :
		    "");
		http = http || strcmp(p->name, "http") == 0;
	}
	if (!http && wants_http(d))
		log_warn("nobody listens for HTTP: 'plugins' does not name "
		    "\"http\"");
}

static void
log_ready(const struct daemon *d, int64_t ms)
{
	if (d->env.ops == &embedded_ops)
		log_about(LOG_INFO, LOG_OF(READY),
		    "bellhopd %s is ready after %lld ms; the store is %s/"
		    "bellhop.db, durability %s", BELLHOP_VERSION,
		    (long long)ms, d->conf->state_dir, d->conf->durability);
	else
		log_about(LOG_INFO, LOG_OF(READY),
		    "bellhopd %s is ready after %lld ms; the backend is %s",
		    BELLHOP_VERSION, (long long)ms, d->env.ops->name);
}

static int
start(struct daemon *d, struct err *e)
{
	int64_t began = clock_now().mono_ms;
	size_t i;

	d->env.arg = d;
	d->env.started_at = clock_now().wall_ms;
	d->env.reload = reload_start;
	d->env.shutdown = shutdown_ask;
	d->env.handler_gate = handler_gate;
	d->env.script_at = script_at;
	d->env.hook = hook;
	d->env.figures = figures;
	d->env.script_figures = script_figures;
	d->loop = loop_new();
	if (open_plugins(d, e) < 0 || open_tokens(d, e) < 0)
		return -1;
	load_scripts(d);
	if (open_store(d, e) < 0 || brought_wait(d, e) < 0 ||
	    front_new(&d->front, d->loop, &d->env, e) < 0)
		return -1;
	d->env.ops->listen(d->env.be, &daemon_events, d);
	pool_listen(d->pool);
	if (host_start(d->host, e) < 0)
		return -1;
	d->env.alerts = alerts_new(&d->env);
	loop_on_turn(d->loop, turn_wake, turn_run, d);
	loop_on_signal(d->loop, SIGHUP, on_hangup, d);
	loop_on_signal(d->loop, SIGTERM, on_terminate, d);
	loop_on_signal(d->loop, SIGINT, on_terminate, d);
	front_start(d->front);
	log_plugins(d);
	for (i = 0; front_address(d->front, i); i++)
		log_info("listening on %s", front_address(d->front, i));
	for (i = 0; host_address(d->host, i); i++)
		log_info("listening on %s", host_address(d->host, i));
	idle_configured(d);
	service_ready(d);
	log_ready(d, clock_now().mono_ms - began);
	return 0;
}

/* Also of what start() left half made. */
static void
stop(struct daemon *d)
{
	if (d->env.be)
		d->env.ops->close(d->env.be);
	d->env.be = NULL;
	brought_close(d);
	reload_abort(d);
	alerts_free(&d->env.alerts);
	pool_free(&d->pool);
	if (d->host)
		host_close_doors(d->host);
	front_free(&d->front);
	plugins_free(&d->plugins);
	host_free(&d->host);
	tokens_free(&d->env.tokens);
	cmd_env_done(&d->env);
	bus_free(&d->env.bus);
	reload_done(d);
	loop_free(&d->loop);
}

static int
run(struct daemon *d)
{
	struct err e = ERR_INIT;
	int status = 0;

	journald_open();
	/* libsystemd would look at process 1, which the sandbox hides. */
	if (log_to_journal())
		d->env.journal_unit = getenv("BELLHOP_UNIT");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* a failed write says so itself */
	d->qopts = qopts_new();
	d->env.qopts = d->qopts;
	d->env.bus = bus_new(&d->env);
	daemon_apply(d);
	if (start(d, &e) < 0) {
		log_about(LOG_ERROR, LOG_OF(START_FAILED), "cannot start: %s",
		    e.text);
		status = 1;
	} else {
		loop_run(d->loop);
	}
	stop(d);
	if (status == 0)
		log_about(LOG_INFO, LOG_OF(STOPPED), "stopped");
	qopts_free(&d->qopts);
	conf_free(&d->conf);
	return status;
}

/* --- the command line --- */

/* The file has been read; the rest that can be known without starting. */
static int
check(struct daemon *d)
{
	const char *file = d->conf_file ? d->conf_file : "defaults";
	struct err e = ERR_INIT;
	int rc;

	d->env.conf = d->conf;
	d->loop = loop_new();
	rc = open_plugins(d, &e);
	plugins_free(&d->plugins);
	host_free(&d->host);
	loop_free(&d->loop);
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", file, e.text);
	else
		printf("%s: ok\n", file);
	conf_free(&d->conf);
	return rc < 0 ? 1 : 0;
}

int
boot_run(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"check", no_argument, NULL, 'k'},
	    {"state-dir", required_argument, NULL, 's'},
	    {"foreground", no_argument, NULL, 'f'},
	    {"version", no_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},
	    {0}};
	struct daemon d = {.conf_file = NULL};
	struct buf report = BUF_INIT;
	struct err e = ERR_INIT;
	bool only_check = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c') {
			d.conf_file = optarg;
		} else if (c == 's') {
			d.state_dir = optarg;
		} else if (c == 'k') {
			only_check = true;
		} else if (c == 'v') {
			puts("bellhopd " BELLHOP_VERSION);
			return 0;
		} else if (c != 'f') {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bellhopd: unexpected argument '%s'\n%s",
		    argv[optind], usage);
		return 2;
	}
	if (!d.conf_file && access(BELLHOP_CONFFILE, F_OK) == 0)
		d.conf_file = BELLHOP_CONFFILE;
	if (daemon_conf(&d, &d.conf, &report, &e) < 0) {
		fputs(buf_size(&report) ? buf_str(&report) : e.text, stderr);
		if (!buf_size(&report))
			fputc('\n', stderr);
		buf_done(&report);
		return 1;
	}
	buf_done(&report);
	return only_check ? check(&d) : run(&d);
}
