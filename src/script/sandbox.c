/* SPDX-License-Identifier: MIT */
#include "script/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>

#include "base/attr.h"
#include "script/lua_ask.h"
#include "script/lua_crypto.h"
#include "script/lua_exec.h"
#include "script/lua_http.h"
#include "script/lua_job.h"
#include "script/lua_json.h"
#include "script/lua_keys.h"
#include "script/lua_log.h"
#include "script/lua_mail.h"
#include "script/lua_misc.h"
#include "script/lua_time.h"
#include "script/state.h"

static const char env_key;		/* registry: the scripts' _ENV */

static int
pcall_end(lua_State *L, int status, lua_KContext extra)
{
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L) - (int)extra;
	if (state_must_stop(L))
		return lua_error(L);
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

static int
sandbox_pcall(lua_State *L)
{
	int status;

	luaL_checkany(L, 1);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0,
	    pcall_end);
	return pcall_end(L, status, 0);
}

static int
handler_end(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	lua_pushboolean(L, 0);
	lua_replace(L, 1);
	return lua_gettop(L);
}

/* Stack: true, handler, then the results or the error. */
static int
xpcall_end(lua_State *L, int status, lua_KContext ctx)
{
	if (status == LUA_OK || status == LUA_YIELD) {
		lua_remove(L, 2);
		return lua_gettop(L);
	}
	if (state_must_stop(L))
		return lua_error(L);
	lua_callk(L, 1, LUA_MULTRET, ctx, handler_end);
	return handler_end(L, LUA_OK, ctx);
}

static int
sandbox_xpcall(lua_State *L)
{
	int n = lua_gettop(L), status;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushboolean(L, 1);		/* f h ... true */
	lua_insert(L, 1);		/* true f h ... */
	lua_pushvalue(L, 2);
	lua_remove(L, 2);		/* true h ... f */
	lua_insert(L, 3);		/* true h f ... */
	status = lua_pcallk(L, n - 2, LUA_MULTRET, 0, 0, xpcall_end);
	return xpcall_end(L, status, 0);
}

static int
sandbox_setmetatable(lua_State *L)
{
	int type = lua_type(L, 2);

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2,
	    "nil or table");
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	if (type == LUA_TTABLE) {
		lua_pushliteral(L, "__gc");
		lua_rawget(L, 2);
		if (!lua_isnil(L, -1))
			return luaL_error(L, "__gc is not available in scripts;"
			    " use a local with <close>");
	}
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

static int
sandbox_rawset(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	luaL_checkany(L, 3);
	lua_settop(L, 3);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &env_key);
	if (lua_rawequal(L, 1, -1))
		return luaL_error(L, "rawset does not reach globals");
	lua_settop(L, 3);
	lua_rawset(L, 1);
	return 1;
}

/* __newindex of the environment: t, key, value. */
static int
env_newindex(lua_State *L)
{
	if (!state_of(L)->loading)
		return luaL_error(L, "global '%s' cannot be set while a job "
		    "runs; declare it with 'local'", luaL_tolstring(L, 2,
		    NULL));
	lua_rawset(L, lua_upvalueindex(1));
	return 0;
}

/* The environment: an empty table in front of the globals on the stack. */
static void
env_make(lua_State *L)
{
	lua_newtable(L);		/* globals env */
	lua_createtable(L, 0, 3);	/* globals env meta */
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, env_newindex, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "_G");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &env_key);
}

static void
base_open(lua_State *L)
{
	static const luaL_Reg replaced[] = {
		{"pcall", sandbox_pcall},
		{"xpcall", sandbox_xpcall},
		{"setmetatable", sandbox_setmetatable},
		{"rawset", sandbox_rawset},
		{NULL, NULL},
	};
	static const char *const removed[] = {"load", "loadfile", "dofile",
	    "collectgarbage", "warn"};
	size_t i;

	luaL_requiref(L, "_G", luaopen_base, 1);
	luaL_setfuncs(L, replaced, 0);
	for (i = 0; i < nitems(removed); i++) {
		lua_pushnil(L);
		lua_setfield(L, -2, removed[i]);
	}
	lua_pop(L, 1);
}

static void
string_open(lua_State *L)
{
	luaL_requiref(L, "string", luaopen_string, 1);
	lua_pushnil(L);
	lua_setfield(L, -2, "dump");
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 3);
}

void
sandbox_open(lua_State *L)
{
	base_open(L);
	string_open(L);
	luaL_requiref(L, "table", luaopen_table, 1);
	luaL_requiref(L, "math", luaopen_math, 1);
	luaL_requiref(L, "utf8", luaopen_utf8, 1);
	lua_settop(L, 0);
	/* luaL_requiref's table of loaded modules holds the whole libraries. */
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushglobaltable(L);
	lua_json_open(L);
	lua_crypto_open(L);
	lua_log_open(L);
	lua_time_open(L);
	lua_misc_open(L);
	lua_ask_open(L);
	lua_http_open(L);
	lua_mail_open(L);
	lua_exec_open(L);
	lua_job_open(L);
	lua_keys_open(L);
	env_make(L);
	lua_settop(L, 0);
}

void
sandbox_env(lua_State *L, int idx)
{
	idx = lua_absindex(L, idx);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &env_key);
	if (!lua_setupvalue(L, idx, 1))
		lua_pop(L, 1);
}
