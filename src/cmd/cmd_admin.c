/* SPDX-License-Identifier: MIT */
/* Commands of the operator: the daemon, its configuration, its tokens. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/alert.h"
#include "cmd/args.h"
#include "cmd/env.h"
#include "cmd/rows.h"
#include "cmd/version.h"

static bool
wanted(const struct cmd_call *call, const char *name)
{
	for (size_t i = 2; i < call->argc; i++) {
		char *pattern = xstrndup(call->argv[i].data,
		    call->argv[i].len);
		bool hit;

		for (char *p = pattern; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p | 0x20);
		hit = str_glob(pattern, strlen(pattern), name, strlen(name));
		free(pattern);
		if (hit)
			return true;
	}
	return false;
}

static void
config_get(struct cmd_call *call)
{
	struct reply *r = call->reply;
	const struct conf *conf = call->env->conf;
	struct buf value = BUF_INIT;
	const char *name;
	size_t n = 0;

	for (size_t i = 0; (name = conf_name(i)); i++)
		n += wanted(call, name);
	r->ops->map(r, n);
	for (size_t i = 0; (name = conf_name(i)); i++) {
		if (!wanted(call, name))
			continue;
		buf_reset(&value, 4096);
		reply_str(r, name);
		if (conf_get(conf, name, &value) < 0)
			r->ops->null(r);
		else
			r->ops->bulk(r, buf_size(&value) ? buf_peek(&value) :
			    "", buf_size(&value));
	}
	buf_done(&value);
	cmd_done(call);
}

static void
config_refuse(struct cmd_call *call)
{
	cmd_error(call, BH_E_ERR, "the configuration is a file: edit %s, then"
	    " run 'bellhopctl reload'", *call->env->conf->file ?
	    call->env->conf->file : "bellhop.conf");
}

static void
config_resetstat(struct cmd_call *call)
{
	call->env->stats = (struct cmd_stats){0};
	cmd_ok(call);
}

static const struct cmd_sub config_subs[] = {
	{"GET", -3, ROLE_ADMIN, config_get, "pattern [pattern …]",
	    "Shows the options whose names match."},
	{"RESETSTAT", 2, ROLE_ADMIN, config_resetstat, "",
	    "Sets the counters of INFO to 0."},
	{"REWRITE", 2, ROLE_ADMIN, config_refuse, "",
	    "Refused: the file is yours."},
	{"SET", -4, ROLE_ADMIN, config_refuse, "name value …",
	    "Refused: edit the file and reload."},
};

void
cmd_config(struct cmd_call *call)
{
	cmd_sub(call, config_subs, nitems(config_subs));
}

void
cmd_shutdown(struct cmd_call *call)
{
	const struct bh_bytes *arg = call->argc > 1 ? &call->argv[1] : NULL;

	if (call->argc > 2 || (arg && !str_is(arg->data, arg->len, "SAVE") &&
	    !str_is(arg->data, arg->len, "NOSAVE"))) {
		cmd_error(call, BH_E_ERR, "syntax error");
		return;
	}
	if (!call->env->shutdown) {
		cmd_error(call, BH_E_ERR, "there is no daemon to shut down");
		return;
	}
	log_info("SHUTDOWN by %s (%s)", call->who->user, call->who->addr);
	call->env->shutdown(call->env->arg);
	cmd_ok(call);
}

void
cmd_time(struct cmd_call *call)
{
	struct reply *r = call->reply;
	int64_t ms = clock_now().wall_ms;

	r->ops->array(r, 2);
	reply_id(r, ms / 1000);
	reply_id(r, ms % 1000 * 1000);
	cmd_done(call);
}

static size_t
count_clients(const struct cmd_env *env)
{
	const struct session *s;
	size_t n = 0;

	while (env->client_at && env->client_at(env->front, n, &s))
		n++;
	return n;
}

static void
put_backend(struct reply *r, const struct bh_health *h)
{
	reply_pair_str(r, "backend", h->type ? h->type : "");
	reply_pair_int(r, "accepting", h->accepting);
	reply_pair_str(r, "text", h->text);
	reply_pair_int(r, "db_bytes", h->db_bytes);
	reply_pair_int(r, "wal_bytes", h->wal_bytes);
	reply_pair_int(r, "disk_limit", h->disk_limit);
	reply_pair_int(r, "commits_total", h->commits_total);
	reply_pair_int(r, "commit_rows_total", h->commit_rows_total);
	reply_pair_int(r, "commit_p50_us", h->commit_p50_us);
	reply_pair_int(r, "commit_p99_us", h->commit_p99_us);
	reply_pair_int(r, "jobs_memory_bytes", h->jobs_memory_bytes);
	reply_pair_int(r, "outbox", h->outbox);
	reply_pair_int(r, "outbox_open", h->outbox_open);
}

/* Their sentences; BELLHOP ALERTS has the rest. */
static void
put_alerts(const struct cmd_call *call, struct reply *r)
{
	const struct alerts *a = call->env->alerts;
	struct alert_info i;
	size_t n = 0, at;

	for (at = 0; a && alerts_at(a, at, &i); at++)
		n += alert_visible(call->who, &i);
	reply_str(r, "alerts");
	r->ops->array(r, n);
	for (at = 0; a && alerts_at(a, at, &i); at++)
		if (alert_visible(call->who, &i))
			reply_str(r, i.text);
}

static void
bellhop_status(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	struct reply *r = call->reply;
	struct bh_health h = {0};

	env->ops->health(env->be, &h);
	r->ops->map(r, 24 + (env->journal_unit != NULL) +
	    (env->figures != NULL));
	reply_pair_str(r, "version", BELLHOP_VERSION);
	reply_pair_int(r, "pid", getpid());
	reply_pair_int(r, "uptime_ms",
	    clock_now().wall_ms - env->started_at);
	reply_pair_str(r, "state_dir", env->conf->state_dir);
	reply_pair_str(r, "scripts_dir", env->conf->scripts_dir);
	if (env->journal_unit)
		reply_pair_str(r, "journal_unit", env->journal_unit);
	reply_pair_int(r, "shutting_down", env->draining);
	put_backend(r, &h);
	reply_pair_int(r, "connections", (int64_t)count_clients(env));
	reply_pair_int(r, "connections_total", env->stats.connections);
	reply_pair_int(r, "commands_total", env->stats.commands);
	reply_pair_int(r, "errors_total", env->stats.errors);
	put_alerts(call, r);
	if (env->figures) {
		reply_str(r, "process");
		env->figures(env->arg, r);
	}
	cmd_done(call);
}

static void
put_script(struct reply *r, const struct script_info *s)
{
	r->ops->map(r, 5 + (s->error != NULL));
	reply_pair_str(r, "file", s->file);
	reply_pair_str(r, "queue", s->queue);
	reply_pair_str(r, "version", s->version);
	reply_pair_int(r, "loaded_at", s->loaded_at);
	reply_pair_int(r, "running", s->running);
	if (s->error)
		reply_pair_str(r, "error", s->error);
}

static void
bellhop_scripts(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	struct reply *r = call->reply;
	struct script_info s;
	size_t n = 0;

	while (env->script_at && env->script_at(env->arg, n, &s))
		n++;
	r->ops->array(r, n);
	for (size_t i = 0; i < n && env->script_at(env->arg, i, &s); i++)
		put_script(r, &s);
	cmd_done(call);
}

static void
reloaded(void *user, bool ok, const char *report)
{
	struct cmd_call *call = user;
	struct buf line = BUF_INIT;

	/* An error is one line. */
	if (!ok) {
		for (; *report; report++) {
			if (*report != '\n')
				buf_addc(&line, *report);
			else if (report[1])
				buf_adds(&line, "; ");
		}
		cmd_error(call, BH_E_ERR, "%s", buf_str(&line));
		buf_done(&line);
		return;
	}
	call->reply->ops->verbatim(call->reply, report, strlen(report));
	cmd_done(call);
}

static void
bellhop_reload(struct cmd_call *call)
{
	if (!call->env->reload) {
		cmd_error(call, BH_E_ERR, "there is nothing to reload");
		return;
	}
	call->waits = true;
	call->env->reload(call->env->arg, reloaded, call);
}

/* --- MIGRATE --- */

struct migrating {
	struct bh_migrate m;
	struct cmd_call *call;
};

static void
migrated(struct bh_req *req)
{
	struct migrating *g = req->user;
	struct cmd_call *call = g->call;
	struct reply *r = call->reply;
	const int64_t *n = g->m.counts;

	if (req->status != BH_OK) {
		cmd_error(call, req->status, "%s", req->text);
	} else {
		r->ops->map(r, 3);
		reply_pair_int(r, "jobs", n[BH_T_JOB]);
		reply_pair_int(r, "schedules", n[BH_T_SCHEDULE]);
		reply_pair_int(r, "keys", n[BH_T_KEY]);
		cmd_done(call);
	}
	free(g);
}

static void
bellhop_migrate(struct cmd_call *call)
{
	struct cmd_env *env = call->env;
	struct migrating *g;

	if (!str_is(call->argv[2].data, call->argv[2].len, "EMBEDDED")) {
		cmd_error(call, BH_E_ERR, "MIGRATE knows EMBEDDED alone: the"
		    " way to Redis is a start with backend.type = \"redis\"");
		return;
	}
	if (!env->migrate) {
		cmd_error(call, BH_E_CONFLICT, "the store is the local one"
		    " already");
		return;
	}
	log_info("MIGRATE EMBEDDED by %s (%s)", call->who->user,
	    call->who->addr);
	g = xcalloc(1, sizeof(*g));
	g->call = call;
	g->m.req.done = migrated;
	g->m.req.user = g;
	g->m.keys = call->argv + 3;
	g->m.nkeys = call->argc - 3;
	call->waits = true;
	env->migrate(env->arg, &g->m);
}

static const struct cmd_sub bellhop_subs[] = {
	{"EVENTS", -2, ROLE_READER, bellhop_events, "[queue-pattern]",
	    "Shows what happens to jobs, a line of JSON for each event."},
	{"HEALTH", 2, ROLE_READER, bellhop_health, "",
	    "Tells whether the daemon lives and is ready, and why not."},
	{"METRICS", 2, ROLE_READER, bellhop_metrics, "",
	    "Shows all figures in Prometheus' text format."},
	{"ALERTS", 2, ROLE_READER, bellhop_alerts, "",
	    "Shows the alerts that are on."},
	{"MIGRATE", -3, ROLE_ADMIN, bellhop_migrate,
	    "EMBEDDED [key-pattern …]",
	    "Moves everything from Redis to the store of this machine."},
	{"RELOAD", 2, ROLE_ADMIN, bellhop_reload, "",
	    "Reads the configuration and the scripts again, and reports."},
	{"SCRIPTS", 2, ROLE_OPERATOR, bellhop_scripts, "",
	    "Shows the scripts, the broken ones with their error."},
	{"STATUS", 2, ROLE_READER, bellhop_status, "",
	    "Shows how the daemon is."},
	{"TOKEN", -3, ROLE_ADMIN, bellhop_token,
	    "ADD name role [pattern …] | LIST | DEL name",
	    "Manages access tokens."},
};

void
cmd_bellhop(struct cmd_call *call)
{
	cmd_sub(call, bellhop_subs, nitems(bellhop_subs));
}
