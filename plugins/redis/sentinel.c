/* SPDX-License-Identifier: MIT */
#include "redis/sentinel.h"

#include <ev.h>
#include <hiredis/hiredis.h>

#include "redis/error.h"
#include "redis/link.h"
#include "redis/mem.h"

#define TIMEOUT_MS 1000
/* Before the next one is tried, and before all are tried again. */
#define NEXT_S 0.02
#define AGAIN_S 1.0

struct rsentinel {
	struct rsentinel_config c;
	char *master;
	struct redis_url *all;
	size_t n, at;			/* the one that is listened to */
	size_t failed;			/* in a row */
	bool asking;
	struct rlink *link;
	ev_timer timer;
};

static void
try_next(struct rsentinel *s, const char *why)
{
	char text[2 * BH_ERROR_TEXT], where[140];

	redis_url_show(&s->all[s->at], where, sizeof(where));
	snprintf(text, sizeof(text), "no sentinel knows the master '%.40s'; the"
	    " last one asked, %s: %.100s", s->master, where, why);
	rlink_free(&s->link);
	s->at = (s->at + 1) % s->n;
	s->failed++;
	s->asking = true;
	s->timer.repeat = s->failed % s->n == 0 ? AGAIN_S : NEXT_S;
	ev_timer_again(s->c.loop, &s->timer);
	if (s->failed % s->n == 0)
		s->c.on_none(s->c.arg, text);
}

static void
on_address(void *arg, redisReply *r)
{
	struct rsentinel *s = arg;
	char why[BH_ERROR_TEXT] = "it has never heard of that name: is"
	    " backend.sentinel_master right?";

	if (!r)
		return;
	if (r->type == REDIS_REPLY_ERROR)
		snprintf(why, sizeof(why), "%.200s", r->str);
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
	    r->element[0]->type != REDIS_REPLY_STRING ||
	    r->element[1]->type != REDIS_REPLY_STRING) {
		try_next(s, why);
		return;
	}
	s->failed = 0;
	s->asking = false;
	(void)rlink_tell(s->link, 2, (const char *[]){"SUBSCRIBE",
	    "+switch-master"}, NULL);
	s->c.on_master(s->c.arg, r->element[0]->str, r->element[1]->str);
}

static void
on_up(void *arg)
{
	struct rsentinel *s = arg;

	(void)rlink_sendv(s->link, on_address, s, "SENTINEL",
	    "get-master-addr-by-name", s->master, NULL);
}

static void
on_down(void *arg, const char *why, bool refused)
{
	(void)refused;
	try_next(arg, why);
}

/* message +switch-master "NAME OLDHOST OLDPORT HOST PORT". */
static void
on_push(void *arg, redisReply *r)
{
	struct rsentinel *s = arg;
	char name[256], host[256], port[16];

	if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 ||
	    r->element[2]->type != REDIS_REPLY_STRING ||
	    sscanf(r->element[2]->str, "%255s %*s %*s %255s %15s", name, host,
	    port) != 3 || strcmp(name, s->master) != 0)
		return;
	s->c.on_master(s->c.arg, host, port);
}

static void
open_link(struct rsentinel *s)
{
	struct rlink_config c = {.loop = s->c.loop, .url = &s->all[s->at],
	    .tls = s->c.tls, .name = "bellhop", .timeout_ms = TIMEOUT_MS,
	    .once = true, .on_up = on_up, .on_down = on_down,
	    .on_push = on_push, .arg = s};

	s->asking = true;
	s->link = rlink_new(&c);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int what)
{
	struct rsentinel *s = w->data;

	(void)what;
	ev_timer_stop(loop, &s->timer);
	rlink_free(&s->link);
	open_link(s);
}

/* A subscribed connection takes no questions: a new one does. */
void
rsentinel_ask(struct rsentinel *s)
{
	if (s->asking)
		return;
	s->asking = true;
	s->timer.repeat = NEXT_S;
	ev_timer_again(s->c.loop, &s->timer);
}

int
rsentinel_url(struct redis_url *ret, const char *text,
    char err[BH_ERROR_TEXT])
{
	char why[BH_ERROR_TEXT];
	int rc;

	if (strstr(text, "://"))
		rc = redis_url_parse(ret, text, why);
	else
		rc = redis_url_host(ret, text, "26379", why);
	if (rc == 0)
		return 0;
	snprintf(err, BH_ERROR_TEXT, "backend.sentinel: '%.60s': %.140s",
	    strchr(text, '@') ? "***" : text, why);
	return -1;
}

static int
parse(struct rsentinel *s, const char *text, char err[BH_ERROR_TEXT])
{
	struct redis_url *u = &s->all[s->n];

	if (rsentinel_url(u, text, err) < 0)
		return -1;
	u->tls = s->c.url->tls;
	u->db = 0;
	s->n++;
	return 0;
}

int
rsentinel_new(struct rsentinel **ret, const struct rsentinel_config *c,
    char err[BH_ERROR_TEXT])
{
	struct rsentinel *s = mem_new(sizeof(*s));
	size_t n = 0;

	s->c = *c;
	s->c.sentinels = NULL;
	s->master = mem_str(c->master);
	ev_init(&s->timer, on_timer);
	s->timer.data = s;
	while (c->sentinels[n])
		n++;
	s->all = mem_new(n * sizeof(*s->all));
	for (size_t i = 0; i < n; i++)
		if (parse(s, c->sentinels[i], err) < 0) {
			rsentinel_free(&s);
			return -1;
		}
	open_link(s);
	*ret = s;
	return 0;
}

void
rsentinel_free(struct rsentinel **sp)
{
	struct rsentinel *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	ev_timer_stop(s->c.loop, &s->timer);
	rlink_free(&s->link);
	for (size_t i = 0; i < s->n; i++)
		redis_url_done(&s->all[i]);
	free(s->all);
	free(s->master);
	free(s);
}
