/* SPDX-License-Identifier: MIT */
#include "front/host_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "cmd/bus.h"
#include "conf/option.h"
#include "front/host_store.h"

/* Plugins call without a context: it is here. */
static struct plugin_host *current;

struct plugin_host *
host_current(void)
{
	CHECK(current != NULL);
	return current;
}

/* --- any time --- */

static void
api_log(enum bh_log_level level, const char *plugin, const char *text)
{
	static const enum log_level levels[] = {
		[BH_LOG_ERROR] = LOG_ERROR, [BH_LOG_WARN] = LOG_WARN,
		[BH_LOG_INFO] = LOG_INFO, [BH_LOG_DEBUG] = LOG_DEBUG,
	};
	struct log_about about = {.plugin = plugin};

	log_about(level < nitems(levels) ? levels[level] : LOG_INFO, &about,
	    "%s", text);
}

static void
api_now(int64_t *wall_ms, int64_t *mono_ms)
{
	struct clock_time now = clock_now();

	if (wall_ms)
		*wall_ms = now.wall_ms;
	if (mono_ms)
		*mono_ms = now.mono_ms;
}

/* Any thread: a host lives as long as its plugins' threads. */
static void
api_wake(void)
{
	loop_wake(current->loop);
}

/* The field of an option; asking for one that does not exist, or as another
 * type, is a bug of the plugin. */
static const void *
option_field(const char *name, bool (*fits)(enum rule_type type))
{
	const struct option *o = option_find(name);

	if (!o || !fits(o->rule.type))
		log_error("a plugin asks for the option '%s', which %s", name,
		    o ? "has another type" : "does not exist");
	CHECK(o && fits(o->rule.type));
	return (const char *)host_current()->env->conf + o->offset;
}

static bool
is_str(enum rule_type type)
{
	return type == RULE_STR || type == RULE_ENUM;
}

static bool
is_int(enum rule_type type)
{
	return type == RULE_INT || type == RULE_SIZE ||
	    type == RULE_DURATION || type == RULE_BOOL;
}

static bool
is_list(enum rule_type type)
{
	return type == RULE_LIST;
}

static const char *
api_option_str(const char *name)
{
	return *(char *const *)option_field(name, is_str);
}

static int64_t
api_option_int(const char *name)
{
	const void *field = option_field(name, is_int);

	if (option_find(name)->rule.type == RULE_BOOL)
		return *(const bool *)field;
	return *(const int64_t *)field;
}

static char *const *
api_option_list(const char *name)
{
	return *(char **const *)option_field(name, is_list);
}

static void
api_local(struct bh_local *r)
{
	const struct cmd_env *env = host_current()->env;

	CHECK(env->local != NULL);
	env->local(env->arg, r);
}

static void
api_local_free(struct bh_local *r)
{
	host_current()->env->local_free(r);
}

static bool
api_spare_key(struct bh_key_command *r)
{
	const struct cmd_env *env = host_current()->env;

	return env->spare_key && env->spare_key(env->arg, r);
}

static void
api_spare_throttle(struct bh_throttle *r)
{
	const struct cmd_env *env = host_current()->env;

	CHECK(env->spare_throttle != NULL);
	env->spare_throttle(env->arg, r);
}

static void
api_spare_end(void)
{
	const struct cmd_env *env = host_current()->env;

	if (env->spare_end)
		env->spare_end(env->arg);
}

/* --- in init() --- */

static void
hosted_add(struct hosted_list *l, struct hosted one)
{
	l->all = xrealloc(l->all, (l->n + 1) * sizeof(*l->all));
	l->all[l->n++] = one;
}

static void
api_add_door(const struct bh_door_ops *ops, void *arg)
{
	CHECK(ops->start && ops->flush && ops->drain && ops->idle &&
	    ops->close);
	hosted_add(&host_current()->doors,
	    (struct hosted){.arg = arg, .door = ops});
}

static void
api_add_backend(const struct bh_backend_type *type)
{
	struct plugin_host *h = host_current();

	h->backends = xrealloc(h->backends, (h->nbackends + 1) *
	    sizeof(*h->backends));
	h->backends[h->nbackends++] = type;
}

static void
api_add_lua(const char *name, int (*open)(struct lua_State *L))
{
	struct plugin_host *h = host_current();

	h->libs = xrealloc(h->libs, (h->nlibs + 1) * sizeof(*h->libs));
	h->libs[h->nlibs++] = (struct lua_lib){name, open};
	h->env->lua_libs = h->libs;
	h->env->nlua_libs = h->nlibs;
}

static void
api_add_metrics(void (*fn)(void *arg, const struct bh_metrics *m), void *arg)
{
	hosted_add(&host_current()->metrics,
	    (struct hosted){.arg = arg, .metrics = fn});
}

static void
api_add_health(bool (*fn)(void *arg, char text[BH_ERROR_TEXT]), void *arg)
{
	hosted_add(&host_current()->healths,
	    (struct hosted){.arg = arg, .health = fn});
}

static void
api_add_sink(void (*fn)(void *arg, const struct bh_job_event *ev), void *arg)
{
	hosted_add(&host_current()->sinks,
	    (struct hosted){.arg = arg, .sink = fn});
}

/* --- addresses --- */

static void
on_accept(void *arg, int fd, const struct peer *peer)
{
	struct door_bind *b = arg;
	struct cmd_env *env = b->host->env;
	struct bh_peer p = {.is_unix = peer->is_unix,
	    .loopback = peer->loopback, .name = peer->name};
	const struct session *s;
	size_t max = (size_t)env->conf->max_connections;

	/* The last one that is allowed is there. */
	if (max == 0 || (env->client_at && env->client_at(env->front, max - 1,
	    &s))) {
		env->stats.rejected++;
		log_debug("%s: refused: max_connections (%zu) is reached",
		    peer->name, max);
		close(fd);
		return;
	}
	env->stats.connections++;
	b->accepted(b->arg, fd, &p);
}

static int
api_listen(const char *option, const char *name,
    void (*accepted)(void *arg, int fd, const struct bh_peer *peer),
    void *arg, char err[BH_ERROR_TEXT])
{
	struct plugin_host *h = host_current();
	struct door_bind *b = xcalloc(1, sizeof(*b));
	struct listen_config config = {.loop = h->loop,
	    .accepted = on_accept, .arg = b, .refusal = ""};
	struct err e;

	*b = (struct door_bind){.host = h, .accepted = accepted, .arg = arg,
	    .next = h->binds};
	h->binds = b;
	if (bind_all(&b->bind, option, name, api_option_list(option),
	    h->env->tokens, &config, &e) < 0) {
		snprintf(err, BH_ERROR_TEXT, "%s", e.text);
		return -1;
	}
	bind_start(&b->bind);
	return 0;
}

const char *
host_address(const struct plugin_host *h, size_t i)
{
	for (const struct door_bind *b = h->binds; b; b = b->next) {
		if (i < b->bind.n)
			return bind_address(&b->bind, i);
		i -= b->bind.n;
	}
	return NULL;
}

bool
host_inherited(const struct plugin_host *h)
{
	for (const struct door_bind *b = h->binds; b; b = b->next)
		if (!b->bind.inherited)
			return false;
	return true;
}

/* --- news, metrics, health --- */

void
host_job(struct plugin_host *h, const struct bh_job_event *ev)
{
	for (size_t i = 0; i < h->sinks.n; i++)
		h->sinks.all[i].sink(h->sinks.all[i].arg, ev);
}

static void
plugin_metrics(void *host, const struct bh_metrics *m)
{
	struct plugin_host *h = host;

	for (size_t i = 0; i < h->metrics.n; i++)
		h->metrics.all[i].metrics(h->metrics.all[i].arg, m);
}

static int
plugin_health(void *host, size_t i, char text[BH_ERROR_TEXT])
{
	struct plugin_host *h = host;

	if (i >= h->healths.n)
		return -1;
	*text = '\0';
	return h->healths.all[i].health(h->healths.all[i].arg, text);
}

/* --- life --- */

static const char *
state_dir(void)
{
	return host_current()->env->conf->state_dir;
}

struct plugin_host *
host_new(struct loop *l, struct cmd_env *env)
{
	struct plugin_host *h = xcalloc(1, sizeof(*h));

	CHECK(current == NULL);
	current = h;
	h->loop = l;
	h->env = env;
	h->api = (struct bh_host){
	    .version = BELLHOP_VERSION, .loop = loop_ev(l),
	    .log = api_log, .now = api_now, .wake = api_wake,
	    .option_str = api_option_str, .option_int = api_option_int,
	    .option_list = api_option_list,
	    .local = api_local, .local_free = api_local_free,
	    .spare_key = api_spare_key, .spare_throttle = api_spare_throttle,
	    .spare_end = api_spare_end,
	    .add_door = api_add_door, .add_backend = api_add_backend,
	    .add_lua = api_add_lua, .add_metrics = api_add_metrics,
	    .add_health = api_add_health, .add_sink = api_add_sink,
	    .listen = api_listen};
	host_store_init(&h->api, env->qopts, state_dir);
	caller_init(h);
	env->host = h;
	env->plugin_metrics = plugin_metrics;
	env->plugin_health = plugin_health;
	return h;
}

const struct bh_host *
host_api(const struct plugin_host *h)
{
	return &h->api;
}

void
host_free(struct plugin_host **hp)
{
	struct plugin_host *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	caller_done(h);
	host_store_done();
	h->env->host = NULL;
	h->env->plugin_metrics = NULL;
	h->env->plugin_health = NULL;
	h->env->lua_libs = NULL;
	h->env->nlua_libs = 0;
	free(h->doors.all);
	free(h->metrics.all);
	free(h->healths.all);
	free(h->sinks.all);
	free(h->backends);
	free(h->libs);
	free(h);
	current = NULL;
}

const struct bh_backend_type *
host_backend(const struct plugin_host *h, const char *name)
{
	for (size_t i = 0; i < h->nbackends; i++)
		if (strcmp(h->backends[i]->ops->name, name) == 0)
			return h->backends[i];
	return NULL;
}

void
host_backend_names(const struct plugin_host *h, struct buf *out)
{
	buf_adds(out, "embedded");
	for (size_t i = 0; i < h->nbackends; i++)
		buf_addf(out, ", %s", h->backends[i]->ops->name);
}

int
host_start(struct plugin_host *h, struct err *e)
{
	if (h->sinks.n > 0)
		bus_watch_jobs(h->env->bus, true);
	h->watching = h->sinks.n > 0;
	for (; h->started < h->doors.n; h->started++) {
		const struct hosted *d = &h->doors.all[h->started];
		char why[BH_ERROR_TEXT] = "";

		if (d->door->start(d->arg, why) == 0)
			continue;
		return err_set(e, BH_E_ERR, "%s", *why ? why :
		    "a plugin's door does not start, without a reason");
	}
	return 0;
}

void
host_take(struct plugin_host *h)
{
	for (size_t i = 0; i < h->started; i++)
		if (h->doors.all[i].door->take)
			h->doors.all[i].door->take(h->doors.all[i].arg);
}

int64_t
host_flush(struct plugin_host *h)
{
	int64_t next = INT64_MAX, at;

	(void)caller_flush(h);
	for (size_t i = 0; i < h->started; i++) {
		at = h->doors.all[i].door->flush(h->doors.all[i].arg);
		if (at < next)
			next = at;
	}
	return next;
}

void
host_reload(struct plugin_host *h)
{
	for (size_t i = 0; i < h->started; i++)
		if (h->doors.all[i].door->reload)
			h->doors.all[i].door->reload(h->doors.all[i].arg);
}

void
host_drain(struct plugin_host *h)
{
	for (struct door_bind *b = h->binds; b; b = b->next)
		bind_stop(&b->bind);
	for (size_t i = 0; i < h->started; i++)
		h->doors.all[i].door->drain(h->doors.all[i].arg);
	h->draining = true;
	caller_drain(h);
}

bool
host_idle(const struct plugin_host *h)
{
	for (size_t i = 0; i < h->started; i++)
		if (!h->doors.all[i].door->idle(h->doors.all[i].arg))
			return false;
	return true;
}

void
host_close_doors(struct plugin_host *h)
{
	struct door_bind *b;

	while ((b = h->binds)) {
		h->binds = b->next;
		bind_done(&b->bind);
		free(b);
	}
	if (h->watching)
		bus_watch_jobs(h->env->bus, false);
	h->watching = false;
	while (h->started > 0) {
		h->started--;
		h->doors.all[h->started].door->close(
		    h->doors.all[h->started].arg);
	}
}
