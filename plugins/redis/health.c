/* SPDX-License-Identifier: MIT */
/*
 * The server's figures. They are those of the last look; when somebody asks
 * and something has happened since, there is another look, so that nobody
 * makes an idle server work.
 */
#include <hiredis/hiredis.h>

#include "redis/away.h"
#include "redis/mem.h"
#include "redis/part.h"

enum { LOOK_MS = 5000 };

struct rhealth {
	bool looking;
	int64_t at;			/* mono: of the last look */
	int64_t activity;		/* by then; -1: there was none */
	struct bh_health figures;
};

static int64_t
figure(const char *info, const char *name)
{
	size_t len = strlen(name);
	const char *p = info;

	while ((p = strstr(p, name))) {
		if ((p == info || p[-1] == '\n') && p[len] == ':')
			return strtoll(p + len + 1, NULL, 10);
		p += len;
	}
	return 0;
}

/* "dbN:keys=…,expires=…" lines of all databases together. */
static void
read_keyspace(const char *info, struct bh_health *h)
{
	long long keys, expires;
	int n;

	h->keys = h->keys_expiring = 0;
	for (const char *p = info; (p = strstr(p, "\ndb")); p++)
		if (sscanf(p, "\ndb%d:keys=%lld,expires=%lld", &n, &keys,
		    &expires) == 3) {
			h->keys += keys;
			h->keys_expiring += expires;
		}
}

static void
looked(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;
	struct bh_health *h = &be->health->figures;

	be->health->looking = false;
	if (!r || r->type != REDIS_REPLY_STRING)
		return;
	h->db_bytes = h->keys_memory_bytes = figure(r->str, "used_memory");
	h->disk_limit = figure(r->str, "maxmemory");
	h->key_hits = figure(r->str, "keyspace_hits");
	h->key_misses = figure(r->str, "keyspace_misses");
	h->keys_expired = figure(r->str, "expired_keys");
	h->keys_evicted = figure(r->str, "evicted_keys");
	read_keyspace(r->str, h);
	h->keys_durable = h->keys - h->keys_expiring;
}

static void
look(struct redis_be *be)
{
	struct rhealth *t = be->health;

	if (!be->ready || t->looking || t->activity == be->activity ||
	    (t->activity >= 0 && be->mono_ms - t->at < LOOK_MS))
		return;
	t->looking = rlink_sendv(be->main, looked, be, "INFO", NULL);
	t->at = be->mono_ms;
	t->activity = be->activity;
}

void
rhealth_show(struct redis_be *be, struct bh_health *ret)
{
	look(be);
	*ret = be->health->figures;
	ret->type = redis_ops.name;
	ret->accepting = be->ready && !raway_left(be);
	ret->outbox = raway_count(be);
	ret->outbox_open = !be->ready && !raway_left(be) && raway_armed(be);
	ret->commits_total = ret->commit_rows_total = be->activity;
	snprintf(ret->text, sizeof(ret->text), "%.199s", ret->accepting ?
	    rserver_loss(be) : raway_why(be));
}

void
rhealth_new(struct redis_be *be)
{
	be->health = mem_new(sizeof(*be->health));
	be->health->activity = -1;
}

void
rhealth_free(struct redis_be *be)
{
	free(be->health);
	be->health = NULL;
}
