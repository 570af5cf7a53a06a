/* SPDX-License-Identifier: MIT */
/*
 * The sandbox: the globals of Redis 7 (no io, os.execute, debug, require,
 * bytecode, coroutines), none of which a script can change, and functions
 * that behave as those of Lua 5.1, for which scripts are written. eval.lua has
 * what can be said in Lua.
 *
 * What scripts see are proxies: empty tables whose metatable leads to the real
 * ones, so that an assignment always reaches __newindex.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "keys/eval.h"

#define READ_ONLY "Attempt to modify a readonly table"

/* Registry: the real globals; which tables are proxies, by the real ones. */
static const char real_key, proxies_key;

void
eval_set_global(lua_State *L, const char *name)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &real_key);
	lua_insert(L, -2);
	lua_pushstring(L, name);
	lua_insert(L, -2);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

/* --- tables that cannot be changed --- */

static int
on_new_index(lua_State *L)
{
	return luaL_error(L, READ_ONLY);
}

static int
on_missing(lua_State *L)
{
	luaL_tolstring(L, 2, NULL);
	return luaL_error(L, "Script attempted to access nonexistent global"
	    " variable '%s'", lua_tostring(L, -1));
}

/* Pushes the real table behind the proxy at i, or nil. */
static bool
push_real(lua_State *L, int i)
{
	lua_pushvalue(L, i);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &proxies_key);
	lua_insert(L, -2);
	lua_rawget(L, -2);
	lua_remove(L, -2);
	return !lua_isnil(L, -1);
}

/* pairs() walks over a copy: the real table stays out of reach. */
static int
on_pairs(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_getglobal(L, "next");
	lua_newtable(L);
	if (push_real(L, 1)) {
		lua_pushnil(L);
		while (lua_next(L, -2)) {
			lua_pushvalue(L, -2);
			lua_insert(L, -2);
			lua_rawset(L, -5);
		}
	}
	lua_settop(L, 3);
	lua_pushnil(L);
	return 3;
}

/* The table on the top becomes a proxy of itself. */
static void
protect(lua_State *L)
{
	int real = lua_gettop(L);

	lua_newtable(L);		/* the proxy */
	lua_newtable(L);		/* its metatable */
	lua_pushvalue(L, real);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, on_new_index);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, on_pairs);
	lua_setfield(L, -2, "__pairs");
	lua_newtable(L);		/* what getmetatable() shows */
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &proxies_key);
	lua_pushvalue(L, -2);
	lua_pushvalue(L, real);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	lua_remove(L, real);
}

static int
read_only(lua_State *L)
{
	lua_pushliteral(L, READ_ONLY);
	return lua_error(L);
}

static int
base_rawset(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	luaL_checkany(L, 3);
	lua_settop(L, 3);
	if (push_real(L, 1))
		return read_only(L);
	lua_settop(L, 3);
	lua_rawset(L, 1);
	return 1;
}

static int
base_rawget(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 2);
	lua_settop(L, 2);
	if (push_real(L, 1)) {
		lua_replace(L, 1);
		lua_settop(L, 2);
	}
	lua_settop(L, 2);
	lua_rawget(L, 1);
	return 1;
}

/* next(_G) and the like see what is behind. */
static int
base_next(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	if (push_real(L, 1))
		lua_replace(L, 1);
	lua_settop(L, 2);
	if (lua_next(L, 1))
		return 2;
	lua_pushnil(L);
	return 1;
}

static int
base_setmetatable(lua_State *L)
{
	int type = lua_type(L, 2);

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2,
	    "nil or table");
	if (push_real(L, 1))
		return read_only(L);
	lua_pop(L, 1);
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	if (type == LUA_TTABLE) {
		/* It would run where no hook reaches; 5.1 has none either. */
		lua_pushliteral(L, "__gc");
		lua_rawget(L, 2);
		if (!lua_isnil(L, -1))
			return luaL_error(L, "__gc is not available in"
			    " scripts");
	}
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

/* --- errors --- */

/* A table with an error's text becomes the text, as in Redis. */
static void
plain_error(lua_State *L)
{
	if (lua_type(L, -1) == LUA_TSTRING) {
		eval_old_words(L, lua_gettop(L));
		return;
	}
	if (lua_type(L, -1) != LUA_TTABLE)
		return;
	lua_pushliteral(L, "err");
	if (lua_rawget(L, -2) == LUA_TSTRING)
		lua_replace(L, -2);
	else
		lua_pop(L, 1);
}

static int
pcall_end(lua_State *L, int status, lua_KContext ctx)
{
	(void)ctx;
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L);
	if (eval_must_stop(L))
		return lua_error(L);
	plain_error(L);
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

static int
base_pcall(lua_State *L)
{
	int status;

	luaL_checkany(L, 1);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0,
	    pcall_end);
	return pcall_end(L, status, 0);
}

/* Stack: handler, true, then the results or what the handler has made. */
static int
xpcall_end(lua_State *L, int status, lua_KContext ctx)
{
	(void)ctx;
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L) - 1;
	if (eval_must_stop(L))
		return lua_error(L);
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

static int
base_xpcall(lua_State *L)
{
	int status;

	luaL_checkany(L, 2);
	lua_settop(L, 2);
	lua_insert(L, 1);		/* handler f */
	lua_pushboolean(L, 1);
	lua_insert(L, 2);		/* handler true f */
	status = lua_pcallk(L, 0, LUA_MULTRET, 1, 0, xpcall_end);
	return xpcall_end(L, status, 0);
}

static int
base_assert(lua_State *L)
{
	luaL_checkany(L, 1);
	if (lua_toboolean(L, 1))
		return lua_gettop(L);
	return luaL_error(L, "%s", luaL_optstring(L, 2, "assertion failed!"));
}

static int
base_error(lua_State *L)
{
	int level = (int)luaL_optnumber(L, 2, 1);

	lua_settop(L, 1);
	if (lua_isstring(L, 1) && level > 0) {
		luaL_where(L, level);
		lua_pushvalue(L, 1);
		lua_concat(L, 2);
	}
	return lua_error(L);
}

/* "attempt to VERB a TYPE value (KIND 'NAME')" → "attempt to VERB KIND 'NAME'
 * (a TYPE value)". */
void
eval_old_words(lua_State *L, int i)
{
	const char *s = lua_type(L, i) == LUA_TSTRING ? lua_tostring(L, i) :
	    NULL;
	const char *verb = s ? strstr(s, "attempt to ") : NULL;
	const char *what = verb ? strstr(verb, " a ") : NULL;
	const char *name = what ? strstr(what, " value (") : NULL;
	size_t len = name ? strlen(name) : 0;

	if (!name || name[len - 1] != ')' || len < 10)
		return;
	lua_pushlstring(L, s, (size_t)(what - s + 1));
	lua_pushlstring(L, name + 8, len - 9);
	lua_pushliteral(L, " (");
	lua_pushlstring(L, what + 1, (size_t)(name - what - 1) + 6);
	lua_pushliteral(L, ")");
	lua_concat(L, 5);
	lua_replace(L, i);
}

/* argerror(n, function, expected, value), for eval.lua. */
static int
lib_argerror(lua_State *L)
{
	luaL_where(L, 2);
	lua_pushfstring(L, "bad argument #%d to '%s' (%s expected, got %s)",
	    (int)lua_tointeger(L, 1), lua_tostring(L, 2), lua_tostring(L, 3),
	    luaL_typename(L, 4));
	lua_concat(L, 2);
	return lua_error(L);
}

/* --- the rest of the globals --- */

static int
base_loadstring(lua_State *L)
{
	size_t len;
	const char *s = luaL_checklstring(L, 1, &len);
	const char *name = luaL_optstring(L, 2, s);

	if (luaL_loadbufferx(L, s, len, name, "t") == LUA_OK)
		return 1;
	lua_pushnil(L);
	lua_insert(L, -2);
	return 2;
}

static int
base_collectgarbage(lua_State *L)
{
	const char *what = luaL_optstring(L, 1, "collect");

	if (strcmp(what, "count") == 0)
		lua_pushnumber(L, (lua_Number)eval_of(L)->used / 1024);
	else
		lua_pushinteger(L, 0);
	return 1;
}

static int
base_gcinfo(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)(eval_of(L)->used / 1024));
	return 1;
}

/* --- making it --- */

/* Runs eval.lua over the real libraries at 1 (string), 2 (table), 3 (math);
 * leaves what it was given for itself on the top. */
static void
run_prelude(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{"argerror", lib_argerror}, {"loadstring", base_loadstring},
		{NULL, NULL},
	};

	luaL_newlib(L, fns);
	lua_getglobal(L, "getmetatable");
	lua_setfield(L, -2, "getmetatable");
	if (luaL_loadbufferx(L, eval_lua, strlen(eval_lua), "=eval", "t") !=
	    LUA_OK)
		lua_error(L);
	for (int i = 1; i <= 4; i++)
		lua_pushvalue(L, i);
	lua_call(L, 4, 0);
}

static void
move_global(lua_State *L, int real, const char *name)
{
	lua_getglobal(L, name);
	lua_setfield(L, real, name);
}

/* The globals that are functions, into the table `real`. */
static void
fill_functions(lua_State *L, int real)
{
	static const char *const kept[] = {"type", "ipairs", "pairs",
	    "getmetatable", "rawequal", "select"};
	static const luaL_Reg made[] = {
		{"assert", base_assert}, {"error", base_error},
		{"pcall", base_pcall}, {"xpcall", base_xpcall},
		{"tostring", eval_tostring}, {"next", base_next},
		{"rawset", base_rawset}, {"rawget", base_rawget},
		{"setmetatable", base_setmetatable},
		{"loadstring", base_loadstring}, {"gcinfo", base_gcinfo},
		{"collectgarbage", base_collectgarbage}, {NULL, NULL},
	};

	for (size_t i = 0; i < nitems(kept); i++)
		move_global(L, real, kept[i]);
	lua_pushvalue(L, real);
	luaL_setfuncs(L, made, 0);
	eval_wrap_whole(L, "select");
	lua_pop(L, 1);
	lua_getglobal(L, "tonumber");
	lua_pushcclosure(L, eval_tonumber, 1);
	lua_setfield(L, real, "tonumber");
	lua_getfield(L, 4, "load");
	lua_setfield(L, real, "load");
	lua_getfield(L, 2, "unpack");
	lua_setfield(L, real, "unpack");
	lua_pushliteral(L, "Lua 5.4");
	lua_setfield(L, real, "_VERSION");
}

static void
fill_libraries(lua_State *L, int real)
{
	static const struct {
		const char *name;
		lua_CFunction open;
	} libs[] = {
		{"redis", eval_open_redis}, {"cjson", eval_open_json},
		{"cmsgpack", eval_open_pack}, {"struct", eval_open_struct},
		{"bit", eval_open_bit},
	};
	static const char *const own[] = {"string", "table", "math"};

	for (size_t i = 0; i < nitems(libs); i++) {
		lua_pushcfunction(L, libs[i].open);
		lua_call(L, 0, 1);
		protect(L);
		lua_setfield(L, real, libs[i].name);
	}
	for (size_t i = 0; i < nitems(own); i++) {
		lua_pushvalue(L, (int)i + 1);
		protect(L);
		lua_setfield(L, real, own[i]);
	}
	/* What getmetatable("") shows. */
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_getfield(L, -1, "__metatable");
	lua_getfield(L, real, "string");
	lua_setfield(L, -2, "__index");
	lua_pop(L, 3);
}

int
eval_open_base(lua_State *L)
{
	int real;

	luaL_requiref(L, "_G", luaopen_base, 1);
	lua_settop(L, 0);
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &proxies_key);
	eval_open_string(L);
	eval_open_table(L);
	eval_open_math(L);
	run_prelude(L);
	lua_newtable(L);
	real = lua_gettop(L);
	lua_pushvalue(L, real);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &real_key);
	fill_functions(L, real);
	fill_libraries(L, real);
	/* What is not there is an error, not nil. */
	lua_newtable(L);
	lua_pushcfunction(L, on_missing);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, real);
	lua_pushvalue(L, real);
	protect(L);
	lua_pushvalue(L, -1);
	lua_pushliteral(L, "_G");
	lua_insert(L, -2);
	lua_rawset(L, real);
	/* Every chunk has it as its globals. */
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_settop(L, 0);
	return 0;
}
