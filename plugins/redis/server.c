/* SPDX-License-Identifier: MIT */
/*
 * The main link, and who is at its other end. Each time that it is up, the
 * server is looked at before it is used: version, role, whether it would lose
 * what it is given, and the marker.
 *
 * The marker is a key with a random value that is also in the state directory.
 * When the server has none, or another one, it is not the one with our data
 * any more: it was flushed, or has come back empty.
 */
#include <errno.h>
#include <ev.h>
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <sys/random.h>
#include <unistd.h>

#include "redis/away.h"
#include "redis/error.h"
#include "redis/mem.h"
#include "redis/part.h"
#include "redis/sentinel.h"
#include "redis/info.h"
#include "redis/tls.h"

#define TIMEOUT_MS 5000
/* How often the marker is looked at while all goes well. */
#define MARKER_S 60.0
#define MARKER_LEN 32

struct rserver {
	struct redis_url url;
	struct rtls_context *tls;
	struct rsentinel *sentinel;	/* NULL: the url says it */
	struct rinfo info;
	bool save_known;
	bool tried;			/* an attempt has failed */
	bool told;			/* that it is away */
	bool rejecting;
	char refused[BH_ERROR_TEXT];	/* by us or by it; empty: not */
	char loss[BH_ERROR_TEXT];	/* for health, until the next start */
	char marker[MARKER_LEN + 1];	/* empty: none known */
	ev_timer look;
};

void
be_tell(const struct redis_be *be, enum bh_log_level level, const char *fmt,
    ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	be->host->log(level, "redis", text);
}

struct rlink *
be_link(struct redis_be *be, const struct rlink_config *c)
{
	struct rlink_config full = *c;
	char name[64], err[BH_ERROR_TEXT];
	const char *uid = be->host->instance(err);

	/* The way back counts who else is there by these names. */
	snprintf(name, sizeof(name), "bellhop:%s", uid ? uid : "");
	full.loop = be->host->loop;
	full.url = &be->server->url;
	full.tls = be->server->tls;
	full.name = name;
	full.timeout_ms = TIMEOUT_MS;
	return rlink_new(&full);
}

/* --- it goes and comes back --- */

static void
parts_down(struct redis_be *be)
{
	rkeys_down(be);
	rpubsub_down(be);
	rjobs_down(be);
	rlist_down(be);
	be->host->wake();
}

/* One warning for one absence, and one more when somebody has to act. */
static void
away(struct redis_be *be, const char *why, bool refused)
{
	struct rserver *s = be->server;
	bool was = be->ready;

	be->ready = be->looked = false;
	s->tried = true;
	snprintf(be->away, sizeof(be->away), refused ? "Redis cannot be used:"
	    " %.200s" : "Redis is away: %.200s", why);
	ev_timer_stop(be->host->loop, &s->look);
	if (refused && strcmp(s->refused, why) != 0)
		be_tell(be, BH_LOG_ERROR, "%s", be->away);
	else if (!refused && !s->told)
		be_tell(be, BH_LOG_WARN, "%s", be->away);
	s->told = true;
	snprintf(s->refused, sizeof(s->refused), "%s", refused ? why : "");
	if (was)
		parts_down(be);
}

static void
on_main_down(void *arg, const char *why, bool refused)
{
	struct redis_be *be = arg;

	if (!be->server->rejecting)
		away(be, why, refused);
	if (be->server->sentinel)
		rsentinel_ask(be->server->sentinel);
}

/* The server is no use: another look when the link is back. */
static void
reject(struct redis_be *be, const char *why)
{
	be->server->rejecting = true;
	rlink_drop(be->main, why);
	be->server->rejecting = false;
	away(be, why, true);
}

/* It may be used; whose ids are whose must be told first (move.c). */
static void
use(struct redis_be *be)
{
	struct rserver *s = be->server;
	char where[140];

	if (be->looked)
		return;
	be->looked = true;
	s->refused[0] = '\0';
	redis_url_show(&s->url, where, sizeof(where));
	if (s->told)
		be_tell(be, BH_LOG_INFO, "Redis at %s is back", where);
	else
		be_tell(be, BH_LOG_INFO, "%s %s at %s", *s->info.valkey ?
		    "Valkey" : "Redis", *s->info.valkey ? s->info.valkey :
		    s->info.version, where);
	s->told = false;
	s->look.repeat = MARKER_S;
	ev_timer_again(be->host->loop, &s->look);
	raway_looked(be);
	if (rmove_claimed(be))
		rserver_serve(be);
	else
		snprintf(be->away, sizeof(be->away), "the local store has not"
		    " begun to move to Redis yet");
	be->host->wake();
}

void
rserver_serve(struct redis_be *be)
{
	if (be->ready || !be->looked)
		return;
	be->ready = true;
	be->away[0] = '\0';
	rscript_up(be);
	rpubsub_up(be);
	rjobs_up(be);
	rlist_up(be);
	raway_up(be);
	if (be->host->spare_end)
		be->host->spare_end();
	be->host->wake();
}

/* --- the marker --- */

static void
marker_path(const struct redis_be *be, char *out, size_t size)
{
	snprintf(out, size, "%s/redis.marker", be->config.state_dir);
}

static void
marker_load(struct redis_be *be)
{
	char path[4200];
	FILE *f;

	marker_path(be, path, sizeof(path));
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(be->server->marker, sizeof(be->server->marker), f) ||
	    strlen(be->server->marker) != MARKER_LEN)
		be->server->marker[0] = '\0';
	fclose(f);
}

static void
marker_save(struct redis_be *be, const char *value)
{
	char path[4200], new[4210];
	FILE *f;

	snprintf(be->server->marker, sizeof(be->server->marker), "%s", value);
	marker_path(be, path, sizeof(path));
	snprintf(new, sizeof(new), "%s.new", path);
	f = fopen(new, "we");
	if (f && fprintf(f, "%s\n", value) > 0 && fclose(f) == 0 &&
	    rename(new, path) == 0)
		return;
	be_tell(be, BH_LOG_ERROR, "%s: %s; a Redis that comes back empty will"
	    " not be noticed after a restart", path, strerror(errno));
}

bool
rserver_is_6(const struct redis_be *be)
{
	const struct rinfo *i = &be->server->info;

	return !*i->valkey && strncmp(i->version, "6.", 2) == 0;
}

void
rserver_forget(struct redis_be *be)
{
	char path[4200];

	ev_timer_stop(be->host->loop, &be->server->look);
	be->server->marker[0] = '\0';
	marker_path(be, path, sizeof(path));
	(void)unlink(path);
}

static void
marker_new(char out[MARKER_LEN + 1])
{
	unsigned char dice[MARKER_LEN / 2];

	while (getrandom(dice, sizeof(dice), 0) != sizeof(dice))
		;
	for (size_t i = 0; i < sizeof(dice); i++)
		snprintf(out + 2 * i, 3, "%02x", dice[i]);
}

static void
marker_key(const struct redis_be *be, char *out, size_t size)
{
	snprintf(out, size, "%s{*}:marker", be->config.prefix);
}

static void
told_loss(struct redis_be *be, const char *text)
{
	snprintf(be->server->loss, sizeof(be->server->loss), "%s", text);
	be_tell(be, BH_LOG_ERROR, "%s", text);
}

/* Whichever instance was first: GET after SET NX is everybody's marker. */
static void
on_marker(void *arg, redisReply *r)
{
	struct redis_be *be = arg;
	struct rserver *s = be->server;

	if (!r)
		return;
	if (r->type != REDIS_REPLY_STRING || r->len != MARKER_LEN) {
		char why[BH_ERROR_TEXT];

		snprintf(why, sizeof(why), "its marker cannot be read");
		if (r->type == REDIS_REPLY_ERROR)
			(void)rerror_text(r->str, why);
		reject(be, why);
		return;
	}
	if (*s->marker && strcmp(s->marker, r->str) != 0)
		told_loss(be, "Redis does not have the data that it had: it was"
		    " flushed, has come back empty, or is another one; jobs"
		    " that were accepted may be lost");
	if (*s->marker && strcmp(s->marker, r->str) != 0 && be->ready)
		rnames_again(be);
	if (strcmp(s->marker, r->str) != 0)
		marker_save(be, r->str);
	if (!be->ready)
		use(be);
}

static void
on_marker_set(void *arg, redisReply *r)
{
	struct redis_be *be = arg;
	char why[BH_ERROR_TEXT];

	if (!r || r->type != REDIS_REPLY_ERROR)
		return;
	(void)rerror_text(r->str, why);
	if (rerror_is(r->str, "READONLY") || rerror_passes(r->str))
		rlink_drop(be->main, why);
	else if (!rerror_is(r->str, "OOM"))
		reject(be, why);
}

static void
marker_check(struct redis_be *be)
{
	char key[300], value[MARKER_LEN + 1];

	marker_key(be, key, sizeof(key));
	marker_new(value);
	(void)rlink_sendv(be->main, on_marker_set, be, "SET", key, value,
	    "NX", NULL);
	(void)rlink_sendv(be->main, on_marker, be, "GET", key, NULL);
}

void
rserver_look(struct redis_be *be)
{
	marker_check(be);
}

static void
on_look(struct ev_loop *loop, ev_timer *w, int what)
{
	(void)loop, (void)what;
	marker_check(w->data);
}

/* --- the look at a server that is up --- */

static void
judge(struct redis_be *be)
{
	struct rserver *s = be->server;
	char why[BH_ERROR_TEXT];

	if (s->info.replica) {
		snprintf(why, sizeof(why), "it is a replica, not the master");
		if (s->sentinel)
			rlink_drop(be->main, why);
		else
			reject(be, "backend.url names a replica: name the"
			    " master, or the sentinels in backend.sentinel");
		return;
	}
	if (rinfo_judge(&s->info, s->save_known, be->config.accept_loss,
	    why) < 0) {
		reject(be, why);
		return;
	}
	if (!s->save_known && !s->info.aof && !be->config.accept_loss)
		be_tell(be, BH_LOG_WARN, "Redis does not say whether it keeps"
		    " its data on disk (CONFIG GET save is not allowed): see"
		    " to it");
	marker_check(be);
}

static void
on_info(void *arg, redisReply *r)
{
	struct redis_be *be = arg;
	char why[BH_ERROR_TEXT];

	if (!r)
		return;
	if (r->type == REDIS_REPLY_ERROR) {
		(void)rerror_text(r->str, why);
		reject(be, why);
		return;
	}
	be->server->info = (struct rinfo){0};
	rinfo_read(&be->server->info, r->type == REDIS_REPLY_STRING ? r->str :
	    "");
}

static void
on_save(void *arg, redisReply *r)
{
	struct redis_be *be = arg;
	struct rserver *s = be->server;

	if (!r)
		return;
	s->save_known = r->type == REDIS_REPLY_ARRAY && r->elements == 2;
	s->info.saves = s->save_known && r->element[1]->len > 0;
	if (rlink_up(be->main))
		judge(be);
}

static void
on_main_up(void *arg)
{
	struct redis_be *be = arg;

	(void)rlink_sendv(be->main, on_info, be, "INFO", NULL);
	(void)rlink_sendv(be->main, on_save, be, "CONFIG", "GET", "save",
	    NULL);
}

static void
main_new(struct redis_be *be)
{
	be->main = be_link(be, &(struct rlink_config){.on_up = on_main_up,
	    .on_down = on_main_down, .arg = be});
}

void
rserver_heed(struct redis_be *be, const char *error)
{
	if (be->ready && rerror_is(error, "READONLY"))
		rlink_drop(be->main, "it has become a replica");
}

/* --- sentinels --- */

static void
on_master(void *arg, const char *host, const char *port)
{
	struct redis_be *be = arg;
	struct redis_url *u = &be->server->url;
	bool moved = !u->host || strcmp(u->host, host) != 0 ||
	    strcmp(u->port, port) != 0;

	redis_url_move(u, host, port);
	if (!be->main) {
		main_new(be);
		return;
	}
	if (!moved)
		return;
	rlink_move(be->main, host, port);
	rlink_drop(be->main, "the sentinels have chosen another master");
}

static void
on_no_master(void *arg, const char *why)
{
	struct redis_be *be = arg;

	if (!be->ready)
		away(be, why, false);
}

/* --- life --- */

static int
secrets(struct redis_be *be, char err[BH_ERROR_TEXT])
{
	struct redis_url *u = &be->server->url;

	if (redis_url_parse(u, be->config.url, err) < 0) {
		char why[BH_ERROR_TEXT];

		snprintf(why, sizeof(why), "%s", err);
		snprintf(err, BH_ERROR_TEXT, "backend.url: %.200s", why);
		return -1;
	}
	if (!u->password && *be->config.password)
		u->password = mem_str(be->config.password);
	if (!u->tls || u->path)
		return 0;
	be->server->tls = rtls_context_new(be->config.ca_file, err);
	return be->server->tls ? 0 : -1;
}

int
rserver_new(struct redis_be *be, char err[BH_ERROR_TEXT])
{
	struct rserver *s = mem_new(sizeof(*s));
	struct rsentinel_config sc = {.loop = be->host->loop,
	    .sentinels = be->config.sentinels,
	    .master = be->config.sentinel_master, .url = &s->url,
	    .on_master = on_master, .on_none = on_no_master, .arg = be};

	be->server = s;
	ev_init(&s->look, on_look);
	s->look.data = be;
	snprintf(be->away, sizeof(be->away), "Redis has not answered yet");
	if (secrets(be, err) < 0)
		return -1;
	marker_load(be);
	if (!be->config.sentinels || !be->config.sentinels[0]) {
		main_new(be);
		return 0;
	}
	sc.tls = s->tls;
	return rsentinel_new(&s->sentinel, &sc, err);
}

/* The first attempt has ended, one way or the other. */
bool
rserver_tried(const struct redis_be *be)
{
	return be->looked || be->server->tried;
}

const char *
rserver_refused(const struct redis_be *be)
{
	return *be->server->refused ? be->server->refused : NULL;
}

const char *
rserver_loss(const struct redis_be *be)
{
	return be->server->loss;
}

void
rserver_free(struct redis_be *be)
{
	struct rserver *s = be->server;

	if (!s)
		return;
	ev_timer_stop(be->host->loop, &s->look);
	rsentinel_free(&s->sentinel);
	rlink_free(&be->main);
	rtls_context_free(&s->tls);
	redis_url_done(&s->url);
	free(s);
	be->server = NULL;
}
