/* SPDX-License-Identifier: MIT */
#include "script/lua_ask.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/xalloc.h"
#include "script/lua_json.h"
#include "script/lua_time.h"
#include "script/state.h"

#define PUSH_DEPTH 32

void
ask_free(struct ask **ap)
{
	struct ask *a = *ap;

	*ap = NULL;
	if (!a)
		return;
	resp_value_done(&a->value);
	buf_done(&a->reply);
	source_unref(&a->src);
	free(a);
}

/* Copies the arguments into one block. */
static struct ask *
ask_new(const struct bh_bytes *argv, size_t argc)
{
	size_t i, size = sizeof(struct ask) + argc * sizeof(*argv);
	struct ask *a;
	char *p;

	for (i = 0; i < argc; i++)
		size += argv[i].len;
	a = xmalloc(size);
	memset(a, 0, sizeof(*a));
	a->m.kind = FROM_ASK;
	a->argc = argc;
	p = (char *)&a->argv[argc];
	for (i = 0; i < argc; i++) {
		a->argv[i] = (struct bh_bytes){p, argv[i].len};
		if (argv[i].len)
			memcpy(p, argv[i].data, argv[i].len);
		p += argv[i].len;
	}
	return a;
}

static void
check_can_wait(lua_State *L)
{
	struct state *st = state_of(L);

	if (!st->run)
		luaL_error(L, "the store cannot be asked while the script "
		    "loads; do it in perform");
	if (!lua_isyieldable(L))
		luaL_error(L, "the store cannot be asked inside a function of "
		    "table.sort or string.gsub");
}

/* Pushes a reply. Maps become tables, null becomes nil. */
static void
push_value(lua_State *L, const struct resp_value *v, int depth)
{
	size_t i;

	luaL_checkstack(L, 4, "reply");
	if (v->type == RESP_INT)
		lua_pushinteger(L, v->i);
	else if (v->type == RESP_DOUBLE)
		lua_pushnumber(L, v->d);
	else if (v->type == RESP_BOOL)
		lua_pushboolean(L, v->i != 0);
	else if (v->type == RESP_NULL || depth == PUSH_DEPTH)
		lua_pushnil(L);
	else if (v->type == RESP_MAP) {
		lua_createtable(L, 0, (int)v->n);
		for (i = 0; i < v->n; i++) {
			push_value(L, &v->items[2 * i], depth + 1);
			push_value(L, &v->items[2 * i + 1], depth + 1);
			if (lua_isnil(L, -2))
				lua_pop(L, 2);
			else
				lua_rawset(L, -3);
		}
	} else if (v->type == RESP_ARRAY || v->type == RESP_SET ||
	    v->type == RESP_PUSH) {
		lua_createtable(L, (int)v->n, 0);
		for (i = 0; i < v->n; i++) {
			push_value(L, &v->items[i], depth + 1);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
	} else {
		lua_pushlstring(L, v->s.data, v->s.len);
	}
}

void
lua_ask_push(lua_State *L, const struct resp_value *v)
{
	push_value(L, v, 0);
}

const struct resp_value *
lua_ask_answer(lua_State *L)
{
	return &state_of(L)->run->answered->value;
}

/* The answer that has come; an error is raised here. */
static const struct resp_value *
answer_of(lua_State *L)
{
	const struct resp_value *v = lua_ask_answer(L);

	if (v->type == RESP_ERROR) {
		luaL_where(L, 1);
		lua_pushlstring(L, v->s.data, v->s.len);
		lua_concat(L, 2);
		lua_error(L);
	}
	return v;
}

static int
ask_end(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	push_value(L, answer_of(L), 0);
	return 1;
}

/* Sends the command; k goes on once it is answered. */
static int
send_to(lua_State *L, enum ask_what what, const struct bh_bytes *argv,
    size_t argc, const struct run_msg *m, lua_KFunction k)
{
	struct state *st = state_of(L);
	struct ask *a;

	check_can_wait(L);
	cpu_guard(&st->host->cpu);
	a = ask_new(argv, argc);
	a->src = source_ref(st->src);
	a->run = st->run;
	a->who = st->run;
	a->what = what;
	a->id = m ? m->id : 0;
	a->token = m ? m->token : 0;
	st->run->ask = a;
	st->run->wait = WAIT_ANSWER;
	st->host->ask(st->host, a);
	cpu_unguard(&st->host->cpu);
	return lua_yieldk(L, 0, (lua_KContext)m, k);
}

static int
send_ask(lua_State *L, const struct bh_bytes *argv, size_t argc)
{
	return send_to(L, ASK_COMMAND, argv, argc, NULL, ask_end);
}

int
lua_ask_send(lua_State *L, enum ask_what what, const struct bh_bytes *argv,
    size_t argc, lua_KFunction k)
{
	return send_to(L, what, argv, argc, NULL, k);
}

int
lua_ask_progress(lua_State *L, const struct run_msg *m, const char *text,
    size_t len)
{
	struct bh_bytes argv[2] = {{"JOB.PROGRESS", 12}, {text, len}};

	return send_to(L, ASK_COMMAND, argv, 2, m, ask_end);
}

int
lua_ask_step(lua_State *L, const struct run_msg *m, struct bh_bytes name,
    struct bh_bytes value, lua_KFunction k)
{
	struct bh_bytes argv[3] = {{"JOB.STEP", 8}, name, value};

	return send_to(L, ASK_COMMAND, argv, 3, m, k);
}

bool
lua_ask_kept(lua_State *L)
{
	return answer_of(L)->i != 0;
}

void
lua_args_add(struct args *a, const char *s, size_t len)
{
	if (a->n == ARGS_MAX)
		luaL_error(a->L, "too many options");
	a->v[a->n++] = (struct bh_bytes){s, len};
}

static void
arg_str(struct args *a, const char *s)
{
	lua_args_add(a, s, strlen(s));
}

/* The value at idx by its text; it stays on the stack. */
static void
arg_text(struct args *a, int idx)
{
	size_t len;
	const char *s = luaL_tolstring(a->L, idx, &len);

	lua_args_add(a, s, len);
}

static void
arg_number(struct args *a, int64_t v)
{
	lua_pushfstring(a->L, "%I", (LUAI_UACINT)v);
	arg_str(a, lua_tostring(a->L, -1));
}

static void
arg_queue(struct args *a, int idx)
{
	size_t len;
	const char *s = luaL_checklstring(a->L, idx, &len);

	lua_args_add(a, s, len);
}

void
lua_args_payload(struct args *a, int idx)
{
	const char *s;
	size_t len;

	if (lua_type(a->L, idx) == LUA_TSTRING) {
		s = lua_tolstring(a->L, idx, &len);
	} else {
		s = lua_json_encode(a->L, idx, &len);
		s = lua_pushlstring(a->L, s, len);
	}
	lua_args_add(a, s, len);
}

enum opt_kind { O_TEXT, O_SPAN, O_AT, O_BACKOFF };

struct add_opt {
	const char *name;		/* in Lua */
	const char *word;		/* of JOB.ADD */
	enum opt_kind kind;
};

static const struct add_opt add_opts[] = {
	{"priority", "PRIORITY", O_TEXT},
	{"delay", "DELAY", O_SPAN},
	{"at", "AT", O_AT},
	{"expires", "EXPIRES", O_SPAN},
	{"attempts", "ATTEMPTS", O_TEXT},
	{"backoff", "BACKOFF", O_BACKOFF},
	{"timeout", "TIMEOUT", O_SPAN},
	{"group", "GROUP", O_TEXT},
	{"lease", "LEASE", O_SPAN},
	{"max_stalled", "MAX_STALLED", O_TEXT},
	{"unique", "UNIQUE", O_TEXT},	/* TTL and MODE must follow it */
	{"unique_ttl", "TTL", O_SPAN},
	{"unique_mode", "MODE", O_TEXT},
	{"retain", "RETAIN", O_SPAN},
};

/* A member of the table on top as a span; false when it is absent. */
static bool
arg_member_span(struct args *a, const char *word, const char *name)
{
	lua_getfield(a->L, -1, name);
	if (lua_isnil(a->L, -1)) {
		lua_pop(a->L, 1);
		return false;
	}
	if (word)
		arg_str(a, word);
	arg_number(a, lua_span(a->L, -1, name, false));
	lua_remove(a->L, -2);
	lua_insert(a->L, -2);		/* the table stays on top */
	return true;
}

static void
arg_member_text(struct args *a, const char *word, const char *name)
{
	lua_getfield(a->L, -1, name);
	if (lua_isnil(a->L, -1)) {
		lua_pop(a->L, 1);
		return;
	}
	arg_str(a, word);
	arg_text(a, -1);
	lua_remove(a->L, -2);
	lua_insert(a->L, -2);
}

/* backoff = { type =, delay =, factor =, max =, jitter = }, on top */
static void
arg_backoff(struct args *a)
{
	static const char *const words[] = {"fixed", "exponential", NULL};
	lua_State *L = a->L;

	if (!lua_istable(L, -1))
		luaL_error(L, "%s: option 'backoff' must be a table", a->what);
	lua_getfield(L, -1, "type");
	arg_str(a, luaL_checkoption(L, -1, "exponential", words) ?
	    "EXPONENTIAL" : "FIXED");
	lua_pop(L, 1);
	if (!arg_member_span(a, NULL, "delay"))
		luaL_error(L, "%s: option 'backoff' needs a delay", a->what);
	arg_member_text(a, "FACTOR", "factor");
	arg_member_span(a, "MAX", "max");
	arg_member_text(a, "JITTER", "jitter");
}

/* A wall time: an HTTP date, or seconds since 1970 as now() has them. */
static int64_t
check_at(const struct args *a, int idx)
{
	lua_State *L = a->L;
	size_t len;
	const char *s;
	int64_t at = -1;

	if (lua_type(L, idx) == LUA_TNUMBER) {
		at = (int64_t)(lua_tonumber(L, idx) * 1000);
	} else if (lua_type(L, idx) == LUA_TSTRING) {
		s = lua_tolstring(L, idx, &len);
		at = http_date(s, len);
	}
	if (at < 0)
		luaL_error(L, "%s: option 'at' expects seconds since 1970 "
		    "(now() + 60) or an HTTP date", a->what);
	return at;
}

static const struct add_opt *
find_opt(const char *name)
{
	size_t i;

	for (i = 0; i < nitems(add_opts); i++)
		if (strcmp(add_opts[i].name, name) == 0)
			return &add_opts[i];
	return NULL;
}

static bool
is_one_of(const char *name, const char *const *names)
{
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static void
check_opt_names(const struct args *a, int idx, const char *const *others)
{
	lua_State *L = a->L;

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, -2) != LUA_TSTRING ||
		    (!find_opt(lua_tostring(L, -2)) &&
		    !is_one_of(lua_tostring(L, -2), others)))
			luaL_error(L, "%s: unknown option '%s'", a->what,
			    luaL_tolstring(L, -2, NULL));
		lua_pop(L, 1);
	}
}

static void
add_opt(struct args *a, const struct add_opt *o)
{
	lua_State *L = a->L;

	arg_str(a, o->word);
	if (o->kind == O_TEXT)
		arg_text(a, -1);
	else if (o->kind == O_SPAN)
		arg_number(a, lua_span(L, -1, o->name, false));
	else if (o->kind == O_AT)
		arg_number(a, check_at(a, -1));
	else
		arg_backoff(a);
}

void
lua_args_job(struct args *a, int idx, const char *const *others)
{
	lua_State *L = a->L;
	size_t i;

	check_opt_names(a, idx, others);
	for (i = 0; i < nitems(add_opts); i++) {
		lua_getfield(L, idx, add_opts[i].name);
		if (lua_isnil(L, -1))
			lua_pop(L, 1);
		else
			add_opt(a, &add_opts[i]);
	}
}

static int
queue_add(lua_State *L)
{
	struct args a = {.L = L, .what = "queue.add"};

	luaL_checkany(L, 2);
	lua_settop(L, 3);
	luaL_checkstack(L, 2 * ARGS_MAX, "queue.add");
	arg_str(&a, "JOB.ADD");
	arg_queue(&a, 1);
	lua_args_payload(&a, 2);
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		lua_args_job(&a, 3, NULL);
	}
	return send_ask(L, a.v, a.n);
}

/* One job of queue.add_many, the table at 3: its words go to the end of the
 * list at 2, which has *n of them, and the stack is as before. */
static void
add_item(lua_State *L, lua_Integer at, lua_Integer *n)
{
	static const char *const others[] = {"queue", "data", NULL};
	struct args a = {.L = L, .what = "queue.add_many"};
	size_t i;

	if (!lua_istable(L, 3))
		luaL_error(L, "queue.add_many: number %d is a %s, expected a "
		    "table { queue =, data = }", (int)at, luaL_typename(L, 3));
	if (lua_getfield(L, 3, "queue") != LUA_TSTRING)
		luaL_error(L, "queue.add_many: number %d has no queue",
		    (int)at);
	arg_queue(&a, -1);
	if (lua_getfield(L, 3, "data") == LUA_TNIL)
		luaL_error(L, "queue.add_many: number %d has no data",
		    (int)at);
	lua_args_payload(&a, lua_gettop(L));
	arg_str(&a, "");		/* how many follow */
	lua_args_job(&a, 3, others);
	lua_pushfstring(L, "%d", (int)(a.n - 3));
	a.v[2].data = lua_tolstring(L, -1, &a.v[2].len);
	for (i = 0; i < a.n; i++) {
		lua_pushlstring(L, a.v[i].data, a.v[i].len);
		lua_rawseti(L, 2, ++*n);
	}
	lua_settop(L, 2);
}

/* The ids of the maps that JOB.MPUT answers with. */
static int
add_many_end(lua_State *L, int status, lua_KContext ctx)
{
	const struct resp_value *v = answer_of(L), *m;
	size_t i, k;

	(void)status;
	(void)ctx;
	lua_createtable(L, (int)v->n, 0);
	for (i = 0; i < v->n; i++) {
		m = &v->items[i];
		for (k = 0; k < m->n; k++)
			if (m->items[2 * k].s.len == 2 &&
			    memcmp(m->items[2 * k].s.data, "id", 2) == 0)
				break;
		lua_pushnil(L);
		if (k < m->n) {
			lua_pop(L, 1);
			push_value(L, &m->items[2 * k + 1], 0);
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* queue.add_many { { queue =, data =, options … }, … }: all or none */
static int
queue_add_many(lua_State *L)
{
	lua_Integer i, count, n = 2;
	struct bh_bytes *argv;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	luaL_checkstack(L, 2 * ARGS_MAX, "queue.add_many");
	count = (lua_Integer)lua_rawlen(L, 1);
	if (count == 0) {
		lua_newtable(L);
		return 1;
	}
	lua_newtable(L);
	lua_pushliteral(L, "JOB.MPUT");
	lua_rawseti(L, 2, 1);
	lua_pushfstring(L, "%I", (LUAI_UACINT)count);
	lua_rawseti(L, 2, 2);
	for (i = 1; i <= count; i++) {
		lua_rawgeti(L, 1, i);
		add_item(L, i, &n);
	}
	/* The strings live in the list while they are copied. */
	argv = lua_newuserdatauv(L, (size_t)n * sizeof(*argv), 0);
	for (i = 0; i < n; i++) {
		lua_rawgeti(L, 2, i + 1);
		argv[i].data = lua_tolstring(L, -1, &argv[i].len);
		lua_pop(L, 1);
	}
	return lua_ask_send(L, ASK_COMMAND, argv, (size_t)n, add_many_end);
}

static int
ask_one(lua_State *L, const char *command)
{
	struct args a = {.L = L};

	lua_settop(L, 1);
	arg_str(&a, command);
	arg_queue(&a, 1);
	return send_ask(L, a.v, a.n);
}

static int
queue_get(lua_State *L)
{
	return ask_one(L, "JOB.GET");
}

static int
queue_stats(lua_State *L)
{
	return ask_one(L, "QUEUE.STATS");
}

static int
queue_pause(lua_State *L)
{
	return ask_one(L, "QUEUE.PAUSE");
}

static int
queue_resume(lua_State *L)
{
	return ask_one(L, "QUEUE.RESUME");
}

/* queue.hold(name, until [, reason]) */
static int
queue_hold(lua_State *L)
{
	struct args a = {.L = L};
	int64_t ms;

	lua_settop(L, 3);
	ms = lua_span(L, 2, "queue.hold", true);
	luaL_argcheck(L, ms >= 0, 2, "how long to hold is missing");
	arg_str(&a, "QUEUE.HOLD");
	arg_queue(&a, 1);
	arg_number(&a, ms);
	if (!lua_isnil(L, 3))
		arg_text(&a, 3);
	return send_ask(L, a.v, a.n);
}

void
lua_ask_open(lua_State *L)
{
	static const luaL_Reg lib[] = {
		{"add", queue_add},
		{"add_many", queue_add_many},
		{"get", queue_get},
		{"stats", queue_stats},
		{"pause", queue_pause},
		{"resume", queue_resume},
		{"hold", queue_hold},
		{NULL, NULL},
	};

	luaL_newlib(L, lib);
	lua_setfield(L, -2, "queue");
}
