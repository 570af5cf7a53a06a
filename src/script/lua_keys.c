/* SPDX-License-Identifier: MIT */
/* What lua_keys.lua is made of, and redis(). */
#include "script/lua_keys.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/die.h"
#include "base/rng.h"
#include "script/lua_ask.h"
#include "script/lua_json.h"
#include "script/lua_time.h"
#include "script/state.h"

#define CHUNK "=bellhop"

/* "FILE:LINE: " of the script that called into the library. */
static void
push_where(lua_State *L)
{
	lua_Debug ar;

	for (int level = 1; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline > 0 && strcmp(ar.source, CHUNK) != 0) {
			lua_pushfstring(L, "%s:%d: ", ar.short_src,
			    ar.currentline);
			return;
		}
	}
	lua_pushliteral(L, "");
}

/* fail(sentence) */
static int
keys_fail(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_settop(L, 1);
	push_where(L);
	lua_insert(L, 1);
	lua_concat(L, 2);
	return lua_error(L);
}

static int
raise_text(lua_State *L, struct bh_bytes text)
{
	push_where(L);
	lua_pushlstring(L, text.data, text.len);
	lua_concat(L, 2);
	return lua_error(L);
}

static int
answered(lua_State *L, int status, lua_KContext ctx)
{
	const struct resp_value *v = lua_ask_answer(L);

	(void)status, (void)ctx;
	if (v->type == RESP_ERROR)
		return raise_text(L, v->s);
	lua_ask_push(L, v);
	return 1;
}

static int
send_words(lua_State *L, enum ask_what what)
{
	struct bh_bytes v[ARGS_MAX];
	int n = lua_gettop(L);

	luaL_argcheck(L, n >= 1, 1, "a command is expected");
	if (n > ARGS_MAX)
		return luaL_error(L, "at most %d arguments", ARGS_MAX);
	luaL_checkstack(L, n, "arguments");
	for (int i = 1; i <= n; i++) {
		int type = lua_type(L, i);

		if (type != LUA_TSTRING && type != LUA_TNUMBER)
			return luaL_error(L, "argument %d: expected a string "
			    "or a number, not %s", i, luaL_typename(L, i));
		v[i - 1].data = lua_tolstring(L, i, &v[i - 1].len);
	}
	return lua_ask_send(L, what, v, (size_t)n, answered);
}

/* ask(…): a command, or one of the pool's own. */
static int
keys_ask(lua_State *L)
{
	return send_words(L, ASK_COMMAND);
}

/* hold("SET", name, token, …): the key is given back with the run. */
static int
keys_hold(lua_State *L)
{
	return send_words(L, ASK_HOLD);
}

static int
keys_redis(lua_State *L)
{
	return send_words(L, ASK_KEYS);
}

/* pack(what, value) */
static int
keys_pack(lua_State *L)
{
	const char *s;
	size_t len;

	lua_settop(L, 2);
	if (lua_isnil(L, 2)) {
		lua_pushfstring(L, "%s: nil cannot be stored",
		    luaL_checkstring(L, 1));
		lua_replace(L, 1);
		return keys_fail(L);
	}
	if (lua_type(L, 2) == LUA_TSTRING) {
		s = lua_tolstring(L, 2, &len);
		if (!lua_json_decode(L, s, len, NULL, 0))
			return 1;
		lua_settop(L, 2);
	}
	s = lua_json_encode(L, 2, &len);
	lua_pushlstring(L, s, len);
	return 1;
}

static int
keys_unpack(lua_State *L)
{
	size_t len;
	const char *s = luaL_checklstring(L, 1, &len);

	lua_settop(L, 1);
	(void)lua_json_decode(L, s, len, NULL, 0);
	return 1;
}

/* span(what, value): ms, or nil */
static int
keys_span(lua_State *L)
{
	int64_t ms;

	lua_settop(L, 2);
	if (lua_isnil(L, 2))
		return 1;
	ms = lua_span_try(L, 2);
	if (ms < 0) {
		lua_pushfstring(L, "%s: expected a duration such as \"30s\", "
		    "or seconds", luaL_checkstring(L, 1));
		lua_replace(L, 1);
		return keys_fail(L);
	}
	lua_pushinteger(L, ms);
	return 1;
}

static int
keys_token(lua_State *L)
{
	char text[33];

	snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, rng_u64(),
	    rng_u64());
	lua_pushstring(L, text);
	return 1;
}

/* The library that this source returns, made of these functions. */
static void
load(lua_State *L, const char *source, const lua_CFunction *fns, size_t n)
{
	int rc = luaL_loadbufferx(L, source, strlen(source), CHUNK, "t");

	if (rc == LUA_ERRMEM)
		lua_error(L);
	CHECK(rc == LUA_OK);
	for (size_t i = 0; i < n; i++)
		lua_pushcfunction(L, fns[i]);
	lua_call(L, (int)n, 1);
}

void
lua_keys_open(lua_State *L)
{
	static const lua_CFunction stream_fns[] = {keys_ask, keys_fail,
	    keys_pack, keys_unpack, keys_span};
	static const lua_CFunction fns[] = {keys_ask, keys_hold, keys_fail,
	    keys_pack, keys_unpack, keys_span, keys_token};
	static const char *const names[] = {"cache", "session", "limit",
	    "once", "lock", "topic"};

	load(L, lua_keys_source, fns, nitems(fns));
	for (size_t i = 0; i < nitems(names); i++) {
		lua_getfield(L, -1, names[i]);
		lua_setfield(L, -3, names[i]);
	}
	lua_pop(L, 1);
	load(L, lua_stream_source, stream_fns, nitems(stream_fns));
	lua_setfield(L, -2, "stream");
	lua_pushcfunction(L, keys_redis);
	lua_setfield(L, -2, "redis");
}
