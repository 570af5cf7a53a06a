/* SPDX-License-Identifier: MIT */
#include "script/lua_log.h"

#include <lauxlib.h>

#include "base/clock.h"
#include "script/lua_json.h"
#include "script/state.h"

#define FLOOD_LINES 200
#define FLOOD_MS 10000

/* 1: the line passes; 0: dropped; -1: dropped, and this must be said. */
static int
flood_pass(struct state *st)
{
	int64_t now = clock_mono_us() / 1000;

	if (now - st->log_since >= FLOOD_MS) {
		st->log_since = now;
		st->log_lines = 0;
	}
	st->log_lines++;
	if (st->log_lines <= FLOOD_LINES)
		return 1;
	return st->log_lines == FLOOD_LINES + 1 ? -1 : 0;
}

/* Replaces the value on top by its text. */
static void
to_text(lua_State *L)
{
	const char *s;
	size_t len;

	if (lua_istable(L, -1)) {
		s = lua_json_encode(L, -1, &len);
		lua_pushlstring(L, s, len);
	} else {
		luaL_tolstring(L, -1, NULL);
	}
	lua_remove(L, -2);
}

/* Appends " key=value" for each field of the table at idx to the string on
 * top. */
static void
add_fields(lua_State *L, int idx)
{
	int text = lua_gettop(L);

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		lua_pushvalue(L, text);
		lua_pushliteral(L, " ");
		lua_pushvalue(L, -4);		/* the key */
		to_text(L);
		lua_pushliteral(L, "=");
		lua_pushvalue(L, -5);		/* the value */
		to_text(L);
		lua_concat(L, 5);
		lua_replace(L, text);
		lua_pop(L, 1);
	}
}

static void
send_line(struct state *st, enum log_level level, const char *text,
    const struct run_msg *m)
{
	struct log_about about = {
		.script = st->src->name,
		.queue = m ? m->queue.data : NULL,
		.job = m ? m->id : 0,
		.attempt = m ? m->attempt : 0,
		.event = EVENT_SCRIPT_LOG,
	};
	int pass;

	cpu_guard(&st->host->cpu);
	pass = flood_pass(st);
	if (pass > 0)
		st->host->log(st->host, level, &about, text);
	about.event = EVENT_SCRIPT_FLOOD;
	if (pass < 0)
		st->host->log(st->host, LOG_WARN, &about, "more than 200 lines "
		    "in 10 s: the rest of this script's lines is dropped");
	cpu_unguard(&st->host->cpu);
}

int
lua_log_write(lua_State *L, enum log_level level, int idx,
    const struct run_msg *m)
{
	struct run *run = state_of(L)->run;

	if (!m && run)
		m = container_of(run, struct run_msg, run);
	if (!log_enabled(level))
		return 0;
	luaL_checkany(L, idx);
	lua_settop(L, idx + 1);
	lua_pushvalue(L, idx);
	to_text(L);
	if (lua_istable(L, idx + 1))
		add_fields(L, idx + 1);
	else if (!lua_isnil(L, idx + 1))
		return luaL_argerror(L, idx + 1, "expected a table of fields");
	send_line(state_of(L), level, lua_tostring(L, -1), m);
	return 0;
}

static int
log_write_error(lua_State *L)
{
	return lua_log_write(L, LOG_ERROR, 1, NULL);
}

static int
log_write_warn(lua_State *L)
{
	return lua_log_write(L, LOG_WARN, 1, NULL);
}

static int
log_write_info(lua_State *L)
{
	return lua_log_write(L, LOG_INFO, 1, NULL);
}

static int
log_write_debug(lua_State *L)
{
	return lua_log_write(L, LOG_DEBUG, 1, NULL);
}

static int
print(lua_State *L)
{
	int i, n = lua_gettop(L);

	luaL_checkstack(L, 2 * n + 2, "print");
	lua_pushliteral(L, "");
	for (i = 1; i <= n; i++) {
		lua_pushstring(L, i > 1 ? " " : "");
		luaL_tolstring(L, i, NULL);
		lua_concat(L, 3);
	}
	lua_insert(L, 1);
	lua_settop(L, 1);
	return lua_log_write(L, LOG_INFO, 1, NULL);
}

void
lua_log_open(lua_State *L)
{
	static const luaL_Reg lib[] = {
		{"error", log_write_error},
		{"warn", log_write_warn},
		{"info", log_write_info},
		{"debug", log_write_debug},
		{NULL, NULL},
	};

	luaL_newlib(L, lib);
	lua_setfield(L, -2, "log");
	lua_pushcfunction(L, print);
	lua_setfield(L, -2, "print");
}
