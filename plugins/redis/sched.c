/* SPDX-License-Identifier: MIT */
/* Schedules: the rows that this instance knows, and how it asks for them. */
#include "redis/mem.h"
#include "redis/sched.h"
#include "redis/words.h"

/* --- the clocks --- */

void
rsched_clocks(const struct rscheds *l, int64_t *wall_ms, int64_t *steady_ms)
{
	const struct redis_be *be = l->be;

	if (be->config.turn_clock) {
		*wall_ms = be->wall_ms;
		*steady_ms = be->mono_ms + l->base;
	} else {
		*wall_ms = *steady_ms = be->mono_ms + l->offset;
	}
}

/* Each answer of get says what time it is at the server. */
void
rsched_take_time(struct rscheds *l, const struct redisReply *r)
{
	int64_t now = rsched_int(r, 0) * 1000 + rsched_int(r, 1) / 1000;
	int64_t mono;

	l->be->host->now(NULL, &mono);
	l->offset = now - mono;
	l->dirty = true;
}

/* --- calls --- */

static void
key_of(const struct redis_be *be, const char *name, char out[300])
{
	snprintf(out, 300, "%s{*}:%s", be->config.prefix, name);
}

/* schedule.lua with these words after its three keys. */
static bool
call(struct rscheds *l, int n, const struct bh_bytes *words,
    rlink_reply_fn *fn, void *arg)
{
	char keys[3][300];
	const char *argv[12];
	size_t lens[12];

	key_of(l->be, "sr", keys[0]);
	key_of(l->be, "ss", keys[1]);
	key_of(l->be, "sv", keys[2]);
	for (int i = 0; i < 3; i++) {
		argv[i] = keys[i];
		lens[i] = strlen(keys[i]);
	}
	for (int i = 0; i < n; i++) {
		argv[3 + i] = words[i].data ? words[i].data : "";
		lens[3 + i] = words[i].len;
	}
	if (!rscript_call(l->be, RSCRIPT_SCHEDULE, 3, 3 + n, argv, lens, fn,
	    arg))
		return false;
	l->under_way++;
	return true;
}

static struct bh_bytes
word(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

bool
rsched_send_set(struct rscheds *l, struct bh_bytes name,
    struct bh_bytes expected, struct bh_bytes row, struct bh_bytes state,
    int64_t generation, rlink_reply_fn *fn, void *arg)
{
	char gen[24], limit[24];
	struct bh_bytes words[] = {word("set"), name, expected, row, state,
	    {gen, 0}, {limit, 0}, word(l->channel), word(l->instance)};

	words[5].len = (size_t)snprintf(gen, sizeof(gen), "%lld",
	    (long long)generation);
	words[6].len = (size_t)snprintf(limit, sizeof(limit), "%lld",
	    (long long)l->be->host->option_int("max_schedules"));
	return call(l, 9, words, fn, arg);
}

bool
rsched_send(struct rscheds *l, struct bh_bytes name, rlink_reply_fn *fn,
    void *arg)
{
	struct bh_bytes words[] = {word("get"), name};

	return call(l, 2, words, fn, arg);
}

bool
rsched_send_del(struct rscheds *l, struct bh_bytes name,
    struct bh_bytes expected, rlink_reply_fn *fn, void *arg)
{
	struct bh_bytes words[] = {word("del"), name, expected,
	    word(l->channel), word(l->instance)};

	return call(l, 5, words, fn, arg);
}

/* --- rows that this instance knows --- */

struct rsched *
rsched_find(struct rscheds *l, struct bh_bytes name)
{
	struct rsched *s;

	TAILQ_FOREACH(s, &l->all, all)
		if (strlen(s->name) == name.len &&
		    memcmp(s->name, name.data, name.len) == 0)
			return s;
	return NULL;
}

static void
forget(struct rscheds *l, struct rsched *s)
{
	TAILQ_REMOVE(&l->all, s, all);
	blob_done(&s->text);
	free(s->name);
	free(s);
	l->dirty = true;
}

static void
set_row(struct rsched *s, struct bh_bytes row)
{
	if (row.len == s->text.len && s->text.data &&
	    memcmp(s->text.data, row.data, row.len) == 0)
		return;
	s->text.len = 0;
	blob_raw(&s->text, row.data, row.len);
	if (!rsched_row_read(&s->row, (struct bh_bytes){s->text.data,
	    s->text.len}))
		s->row.every_ms = INT64_MAX / 4;	/* a newer Bellhop's */
	s->row.name = word(s->name);
	s->grumbled = false;
}

void
rsched_apply(struct rscheds *l, struct bh_bytes name, struct bh_bytes row,
    struct bh_bytes state)
{
	struct rsched *s = rsched_find(l, name);
	int64_t wall, steady;

	l->dirty = true;
	if (row.len == 0) {
		if (s)
			forget(l, s);
		return;
	}
	if (s && state.len >= SCHED_VERSION &&
	    memcmp(s->version, state.data, SCHED_VERSION) == 0)
		return;
	if (!s) {
		s = mem_new(sizeof(*s));
		s->name = mem_copy(name.data, name.len);
		TAILQ_INSERT_TAIL(&l->all, s, all);
	}
	rsched_clocks(l, &wall, &steady);
	set_row(s, row);
	if (!rsched_state_read(s, state, wall, steady))
		s->state.clock.due = INT64_MAX;
	else if (s->row.cron.len)	/* the zone's rules may be others */
		l->be->host->schedules->renew(&s->row, &s->state.clock);
	rsched_look(l, s);
}

static void
apply_reply(struct rscheds *l, const struct redisReply *r)
{
	for (size_t i = 3; i + 2 < r->elements; i += 3)
		rsched_apply(l, rsched_text(r, i), rsched_text(r, i + 1),
		    rsched_text(r, i + 2));
}

struct renewal {
	struct rscheds *l;
	size_t len;
	char name[];
};

static void
renewed(void *arg, struct redisReply *r)
{
	struct renewal *v = arg;
	struct bh_bytes none = {"", 0};

	v->l->under_way--;
	if (reply_has(r, 1)) {
		rsched_take_time(v->l, r);
		if (r->elements < 6)
			rsched_apply(v->l, (struct bh_bytes){v->name, v->len},
			    none, none);
		else
			apply_reply(v->l, r);
		v->l->be->host->wake();
	}
	free(v);
}

void
rsched_send_get(struct rscheds *l, struct bh_bytes name)
{
	struct renewal *v = mem_new(sizeof(*v) + name.len + 1);

	v->l = l;
	v->len = name.len;
	memcpy(v->name, name.data, name.len);
	if (!rsched_send(l, name, renewed, v))
		free(v);
}

/* All of them: those that the server does not have are gone. */
static void
loaded(void *arg, struct redisReply *r)
{
	struct rscheds *l = arg;
	struct rsched *s, *next;

	l->under_way--;
	l->be->host->wake();
	if (!reply_has(r, 1))
		return;
	rsched_take_time(l, r);
	for (s = TAILQ_FIRST(&l->all); s; s = next) {
		bool there = false;

		next = TAILQ_NEXT(s, all);
		for (size_t i = 3; i + 2 < r->elements && !there; i += 3) {
			struct bh_bytes b = rsched_text(r, i);

			there = strlen(s->name) == b.len &&
			    memcmp(s->name, b.data, b.len) == 0;
		}
		if (!there)
			forget(l, s);
	}
	apply_reply(l, r);
	l->be->host->wake();
}

/* "instance name", or empty: some may have been missed. */
static void
heard(void *arg, struct bh_bytes message)
{
	struct rscheds *l = arg;
	size_t n = strlen(l->instance);
	struct bh_bytes name = {"", 0};
	const char *space;

	if (message.len == 0) {
		if (l->be->ready)
			(void)rsched_send(l, name, loaded, l);
		return;
	}
	space = memchr(message.data, ' ', message.len);
	if (!space || ((size_t)(space - message.data) == n &&
	    memcmp(message.data, l->instance, n) == 0))
		return;
	name.data = space + 1;
	name.len = message.len - (size_t)(space + 1 - message.data);
	rsched_send_get(l, name);
}

void
rsched_installed(struct rscheds *l, struct bh_bytes name, struct bh_bytes row,
    struct bh_bytes state, const struct redisReply *r)
{
	struct bh_bytes version = rsched_text(r, 1);
	struct blob b = {0};

	blob_raw(&b, version.data, version.len);
	blob_int(&b, rsched_int(r, 2));
	blob_raw(&b, state.data, state.len);
	rsched_apply(l, name, row, (struct bh_bytes){b.data, b.len});
	blob_done(&b);
}

/* --- life --- */

void
rsched_new(struct redis_be *be)
{
	struct rscheds *l = mem_new(sizeof(*l));
	char err[BH_ERROR_TEXT], channel[300];
	const char *id = be->host->instance(err);
	int64_t wall, mono;

	be->scheds = l;
	l->be = be;
	TAILQ_INIT(&l->all);
	l->asked_tail = &l->asked;
	l->next = INT64_MAX;
	be->host->now(&wall, &mono);
	l->offset = wall - mono;
	snprintf(l->instance, sizeof(l->instance), "%s", id ? id : "?");
	key_of(be, "sched", channel);
	l->channel = mem_str(channel);
	rpubsub_listen(be, l->channel, heard, l);
}

void
rsched_reload(struct rscheds *l)
{
	if (l->be->ready)
		(void)rsched_send(l, (struct bh_bytes){"", 0}, loaded, l);
}

/* With the turn's clock, there is none before the first turn. */
void
rsched_up(struct redis_be *be)
{
	if (be->scheds->started)
		rsched_reload(be->scheds);
}

void
rsched_turn(struct redis_be *be)
{
	struct rscheds *l = be->scheds;

	if (!l->started) {
		l->started = true;
		l->base = l->gap = be->wall_ms - be->mono_ms;
		l->zones_at = be->mono_ms;
		rsched_reload(l);
	}
	rsched_run(l);
}

int64_t
rsched_next(const struct redis_be *be)
{
	return be->scheds->next;
}

bool
rsched_idle(const struct redis_be *be)
{
	return be->scheds->under_way == 0 && !be->scheds->asked;
}

void
rsched_free(struct redis_be *be)
{
	struct rscheds *l = be->scheds;
	struct bh_req *req;
	struct rsched *s;

	while ((req = l->asked)) {
		l->asked = req->priv.next;
		be_fail(be, req, BH_E_CANCELED, "the store is closed");
	}
	while ((s = TAILQ_FIRST(&l->all)))
		forget(l, s);
	blob_done(&l->row);
	blob_done(&l->state);
	free(l->channel);
	free(l);
	be->scheds = NULL;
}
