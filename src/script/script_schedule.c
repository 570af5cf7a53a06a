/* SPDX-License-Identifier: MIT */
#include "script/script_schedule.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cron.h"
#include "base/err.h"
#include "base/json.h"
#include "base/xalloc.h"
#include "script/lua_json.h"
#include "script/lua_time.h"
#include "script/source.h"
#include "script/state.h"

#define NAME_MAX_BYTES 256

static void
drop(struct bh_bytes *b)
{
	free((void *)(uintptr_t)b->data);
}

void
script_plan_free(struct script_plan **p)
{
	if (!*p)
		return;
	for (size_t i = 0; i < (*p)->n; i++) {
		struct bh_schedule *s = &(*p)->rows[i];

		drop(&s->name);
		drop(&s->payload);
		drop(&s->cron);
		drop(&s->zone);
		drop(&s->opts.group);
		drop(&s->opts.unique);
	}
	free(*p);
	*p = NULL;
}

/* What an entry may say. Words point into the Lua state. */
struct entry {
	const char *name, *cron, *zone, *group, *unique;
	size_t name_len, group_len, unique_len;
	int64_t every_ms, expires_ms;
	int64_t misfire, overlap, priority;
	int errors;
};

struct reader {
	lua_State *L;
	struct buf *e;
	int n;				/* of the entry */
};

/* The first complaint counts; the value is on top of the stack. */
static int
refuse(struct reader *r, const char *field, const char *expected)
{
	const char *s = luaL_tolstring(r->L, -1, NULL);
	bool quoted = lua_type(r->L, -2) == LUA_TSTRING;

	buf_addf(r->e, "option 'schedule[%d]%s%s': expected %s, got %s%.100s%s",
	    r->n, *field ? "." : "", field, expected, quoted ? "\"" : "", s,
	    quoted ? "\"" : "");
	lua_pop(r->L, 1);
	return -1;
}

static int
read_text(struct reader *r, const char *field, const char **ret,
    size_t *ret_len)
{
	size_t len = 0;
	const char *s = lua_type(r->L, -1) == LUA_TSTRING ?
	    lua_tolstring(r->L, -1, &len) : NULL;

	if (!s || len == 0 || len > NAME_MAX_BYTES || memchr(s, 0, len) ||
	    !json_utf8(s, len))
		return refuse(r, field, "a text of 1 to 256 bytes");
	*ret = s;
	if (ret_len)
		*ret_len = len;
	return 0;
}

static int
read_word(struct reader *r, const char *field, const char *const *words,
    const char *expected, int64_t *ret)
{
	const char *s = lua_type(r->L, -1) == LUA_TSTRING ?
	    lua_tostring(r->L, -1) : "";

	for (int i = 0; words[i]; i++)
		if (strcmp(s, words[i]) == 0) {
			*ret = i;
			return 0;
		}
	return refuse(r, field, expected);
}

static int
read_span(struct reader *r, const char *field, int64_t *ret)
{
	int64_t ms = lua_span_try(r->L, -1);

	if (ms < 1)
		return refuse(r, field, "a duration above 0 such as \"10m\", "
		    "or seconds");
	*ret = ms;
	return 0;
}

static int
read_priority(struct reader *r, int64_t *ret)
{
	int ok;
	lua_Integer v = lua_tointegerx(r->L, -1, &ok);

	if (lua_type(r->L, -1) != LUA_TNUMBER || !ok || v < 0 || v > 9)
		return refuse(r, "priority", "an integer from 0 to 9");
	*ret = v;
	return 0;
}

/* One field of an entry; its value is on top of the stack. */
static int
read_field(struct reader *r, const char *field, struct entry *to)
{
	static const char *const misfires[] = {"skip", "once", "all", NULL};
	static const char *const overlaps[] = {"skip", "queue", NULL};

	if (strcmp(field, "name") == 0)
		return read_text(r, field, &to->name, &to->name_len);
	if (strcmp(field, "cron") == 0)
		return read_text(r, field, &to->cron, NULL);
	if (strcmp(field, "tz") == 0)
		return read_text(r, field, &to->zone, NULL);
	if (strcmp(field, "group") == 0)
		return read_text(r, field, &to->group, &to->group_len);
	if (strcmp(field, "unique") == 0)
		return read_text(r, field, &to->unique, &to->unique_len);
	if (strcmp(field, "every") == 0)
		return read_span(r, field, &to->every_ms);
	if (strcmp(field, "expires") == 0)
		return read_span(r, field, &to->expires_ms);
	if (strcmp(field, "priority") == 0)
		return read_priority(r, &to->priority);
	if (strcmp(field, "misfire") == 0)
		return read_word(r, field, misfires, "\"skip\", \"once\" or "
		    "\"all\"", &to->misfire);
	if (strcmp(field, "overlap") == 0)
		return read_word(r, field, overlaps, "\"skip\" or "
		    "\"queue\"", &to->overlap);
	if (strcmp(field, "data") == 0)
		return 0;
	buf_addf(r->e, "unknown option 'schedule[%d].%.100s'", r->n, field);
	return -1;
}

/* The zone and the expression, as the daemon will judge them. */
static int
check_times(struct reader *r, const struct entry *en)
{
	struct err err = ERR_INIT;
	struct tz *z = NULL;
	struct cron c;

	if (!en->cron == !en->every_ms) {
		buf_addf(r->e, "option 'schedule[%d]': expected either cron or "
		    "every", r->n);
		return -1;
	}
	if (en->zone && !en->cron) {
		buf_addf(r->e, "option 'schedule[%d].tz': only with cron", r->n);
		return -1;
	}
	if (!en->cron)
		return 0;
	if (tz_load(en->zone, en->zone ? strlen(en->zone) : 0, &z, &err) < 0 ||
	    cron_check(&c, en->cron, strlen(en->cron), z,
	    clock_now().wall_ms, &err) < 0) {
		buf_addf(r->e, "option 'schedule[%d].%s': %s", r->n,
		    z ? "cron" : "tz", err.text);
		tz_free(&z);
		return -1;
	}
	tz_free(&z);
	return 0;
}

/* The entry is on top of the stack. */
static int
read_entry(struct reader *r, struct entry *ret)
{
	*ret = (struct entry){.misfire = BH_MISFIRE_ONCE, .priority = -1,
	    .expires_ms = -1};
	if (!lua_istable(r->L, -1))
		return refuse(r, "", "a table such as { every = \"10m\" }");
	lua_pushnil(r->L);
	while (lua_next(r->L, -2)) {
		if (lua_type(r->L, -2) != LUA_TSTRING) {
			buf_addf(r->e, "option 'schedule[%d]': expected named "
			    "fields such as every = \"10m\"", r->n);
			lua_pop(r->L, 2);
			return -1;
		}
		if (read_field(r, lua_tostring(r->L, -2), ret) < 0) {
			lua_pop(r->L, 2);
			return -1;
		}
		lua_pop(r->L, 1);
	}
	return check_times(r, ret);
}

/* Whether an earlier entry has the name; the list is on top of the stack. */
static bool
name_taken(struct reader *r, const char *name)
{
	bool same = false;

	for (int i = 1; i < r->n && !same; i++) {
		lua_rawgeti(r->L, -1, i);
		lua_pushliteral(r->L, "name");
		same = lua_rawget(r->L, -2) == LUA_TSTRING &&
		    strcmp(lua_tostring(r->L, -1), name) == 0;
		lua_pop(r->L, 2);
	}
	return same;
}

int
script_schedule_check(lua_State *L, struct buf *e)
{
	struct reader r = {.L = L, .e = e};
	struct entry en;
	lua_Integer n;
	int rc = 0;

	luaL_checkstack(L, 8, "schedule");
	if (!lua_istable(L, -1) || (n = (lua_Integer)lua_rawlen(L, -1)) < 1 ||
	    n > SCHEDULES_MAX) {
		buf_addf(e, "option 'schedule': expected a list of 1 to %d "
		    "entries such as { { every = \"10m\" } }", SCHEDULES_MAX);
		return -1;
	}
	for (r.n = 1; rc == 0 && r.n <= n; r.n++) {
		lua_rawgeti(L, -1, r.n);
		rc = read_entry(&r, &en);
		lua_pop(L, 1);
		if (rc == 0 && en.name && name_taken(&r, en.name)) {
			buf_addf(e, "option 'schedule[%d].name': an earlier "
			    "entry is called \"%s\" already", r.n, en.name);
			rc = -1;
		}
	}
	return rc;
}

static struct bh_bytes
copy(const char *s, size_t len)
{
	return (struct bh_bytes){s ? xstrndup(s, len) : NULL, s ? len : 0};
}

/* The entry that r->n says, on top of the stack, as the next row. */
static void
keep_entry(struct reader *r, struct script_plan *p, const char *queue)
{
	struct bh_schedule *s = &p->rows[p->n];
	struct entry en;
	const char *data = "";
	size_t len = 0;

	if (read_entry(r, &en) < 0)
		luaL_error(r->L, "%s", buf_str(r->e));
	lua_pushliteral(r->L, "data");
	if (lua_rawget(r->L, -2) != LUA_TNIL)
		data = lua_json_encode(r->L, lua_gettop(r->L), &len);
	p->n++;
	bh_job_opts_init(&s->opts);
	if (en.name)
		s->name = copy(en.name, en.name_len);
	else
		s->name.len = strlen(s->name.data =
		    xasprintf("%s#%d", queue, r->n));
	s->payload = copy(data, len);
	s->cron = copy(en.cron, en.cron ? strlen(en.cron) : 0);
	s->zone = copy(en.zone, en.zone ? strlen(en.zone) : 0);
	s->every_ms = en.every_ms;
	s->misfire = (enum bh_misfire)en.misfire;
	s->overlap = (enum bh_overlap)en.overlap;
	s->opts.priority = (int8_t)en.priority;
	s->opts.expires_ms = en.expires_ms;
	s->opts.group = copy(en.group, en.group_len);
	s->opts.unique = copy(en.unique, en.unique_len);
	lua_pop(r->L, 1);
}

void
script_schedule_keep(lua_State *L, struct state *st, int idx,
    const char *queue)
{
	struct source *src = st->src;
	struct buf why = BUF_INIT;
	struct reader r = {.L = L, .e = &why};

	/* Written by the thread that checks it, before any other has it. */
	if (src->plan)
		return;
	lua_pushvalue(L, idx);
	lua_pushliteral(L, "schedule");
	if (lua_rawget(L, -2) == LUA_TTABLE) {
		src->plan = xcalloc(1, sizeof(*src->plan));
		for (r.n = 1; r.n <= (int)lua_rawlen(L, -1); r.n++) {
			lua_rawgeti(L, -1, r.n);
			keep_entry(&r, src->plan, queue);
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 2);
}
