/* SPDX-License-Identifier: MIT */
/* Functions of Lua's libraries that behave as those of Lua 5.1: how numbers
 * are written and read, and what becomes of a fraction where an integer is
 * wanted. */
#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "keys/eval.h"

/* --- numbers as 5.1 writes and reads them --- */

static void
push_number_text(lua_State *L, int i)
{
	char text[40];

	if (lua_isinteger(L, i)) {
		lua_pushvalue(L, i);
		lua_tostring(L, -1);
		return;
	}
	snprintf(text, sizeof(text), "%.14g", lua_tonumber(L, i));
	lua_pushstring(L, text);
}

int
eval_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	if (lua_type(L, 1) == LUA_TNUMBER)
		push_number_text(L, 1);
	else
		luaL_tolstring(L, 1, NULL);
	return 1;
}

/* Lua 5.4 does not know "inf" and "nan"; 5.1 asks strtod(). */
static bool
push_special(lua_State *L, const char *s)
{
	const char *p = s + strspn(s, " \t\r\n\f\v");
	char *end;
	double d;

	p += *p == '-' || *p == '+';
	if (strncasecmp(p, "inf", 3) != 0 && strncasecmp(p, "nan", 3) != 0)
		return false;
	d = strtod(s, &end);
	end += strspn(end, " \t\r\n\f\v");
	if (*end)
		return false;
	lua_pushnumber(L, d);
	return true;
}

int
eval_tonumber(lua_State *L)
{
	lua_CFunction plain = lua_tocfunction(L, lua_upvalueindex(1));

	luaL_checkany(L, 1);
	if (!lua_isnoneornil(L, 2)) {
		lua_settop(L, 2);
		if (lua_type(L, 1) == LUA_TNUMBER) {
			push_number_text(L, 1);
			lua_replace(L, 1);
		}
		return plain(L);
	}
	lua_settop(L, 1);
	if (lua_isnumber(L, 1)) {
		if (lua_type(L, 1) == LUA_TSTRING)
			lua_stringtonumber(L, lua_tostring(L, 1));
		if (!lua_isinteger(L, -1))
			eval_push_number(L, lua_tonumber(L, -1));
		return 1;
	}
	if (lua_type(L, 1) != LUA_TSTRING || !push_special(L,
	    lua_tostring(L, 1)))
		lua_pushnil(L);
	return 1;
}

/* A fraction is cut off where 5.4 wants an integer. Upvalues: the function's
 * own first one, the function. */
static int
whole_args(lua_State *L)
{
	lua_CFunction fn = lua_tocfunction(L, lua_upvalueindex(2));

	for (int i = lua_gettop(L); i > 0; i--) {
		lua_Number n;

		if (lua_type(L, i) != LUA_TNUMBER || lua_isinteger(L, i))
			continue;
		n = lua_tonumber(L, i);
		if (fabs(n) >= 9223372036854775807.0 || isnan(n))
			continue;
		lua_pushinteger(L, (lua_Integer)n);
		lua_replace(L, i);
	}
	return fn(L);
}

/* --- table --- */

static int
table_insert(lua_State *L)
{
	lua_CFunction fn = lua_tocfunction(L, lua_upvalueindex(1));

	if (lua_gettop(L) == 3 && lua_type(L, 2) == LUA_TNUMBER &&
	    !lua_isinteger(L, 2)) {
		lua_pushinteger(L, (lua_Integer)lua_tonumber(L, 2));
		lua_replace(L, 2);
	}
	return fn(L);
}

/* Nothing is there: nothing is removed. */
static int
table_remove(lua_State *L)
{
	lua_CFunction fn = lua_tocfunction(L, lua_upvalueindex(1));
	lua_Integer size, at;

	luaL_checktype(L, 1, LUA_TTABLE);
	size = luaL_len(L, 1);
	at = lua_isnoneornil(L, 2) ? size :
	    (lua_Integer)luaL_checknumber(L, 2);
	if (at < 1 || at > size)
		return 0;
	lua_settop(L, 1);
	lua_pushinteger(L, at);
	return fn(L);
}

static int
table_concat(lua_State *L)
{
	size_t len;
	const char *sep = luaL_optlstring(L, 2, "", &len);
	lua_Integer from = (lua_Integer)luaL_optnumber(L, 3, 1), to;
	luaL_Buffer b;

	luaL_checktype(L, 1, LUA_TTABLE);
	to = lua_isnoneornil(L, 4) ? luaL_len(L, 1) :
	    (lua_Integer)luaL_checknumber(L, 4);
	luaL_buffinit(L, &b);
	for (lua_Integer i = from; i <= to; i++) {
		int type = lua_rawgeti(L, 1, i);

		if (type == LUA_TNUMBER) {
			push_number_text(L, -1);
			lua_remove(L, -2);
		} else if (type != LUA_TSTRING) {
			return luaL_error(L, "invalid value (%s) at index %d"
			    " in table for 'concat'", lua_typename(L, type),
			    (int)i);
		}
		luaL_addvalue(&b);
		if (i < to)
			luaL_addlstring(&b, sep, len);
	}
	luaL_pushresult(&b);
	return 1;
}

/* --- string.format --- */

/* The argument as the directive wants it in 5.1. */
static void
format_arg(lua_State *L, int i, char directive)
{
	lua_Number n;

	if (strchr("diuoxXc", directive)) {
		n = luaL_checknumber(L, i);
		if (lua_isinteger(L, i))
			return;
		if (lua_type(L, i) == LUA_TSTRING &&
		    lua_stringtonumber(L, lua_tostring(L, i))) {
			lua_replace(L, i);
			if (lua_isinteger(L, i))
				return;
		}
		lua_pushinteger(L, fabs(n) < 9223372036854775807.0 ?
		    (lua_Integer)n : INT64_MIN);
		lua_replace(L, i);
	} else if (directive == 's' || directive == 'q') {
		if (lua_type(L, i) == LUA_TNUMBER) {
			push_number_text(L, i);
			lua_replace(L, i);
		}
		luaL_checkstring(L, i);
	}
}

static int
string_format(lua_State *L)
{
	lua_CFunction fn = lua_tocfunction(L, lua_upvalueindex(1));
	size_t len;
	const char *s = luaL_checklstring(L, 1, &len), *end = s + len;
	int top = lua_gettop(L), arg = 1;
	char *copy = lua_newuserdatauv(L, len + 1, 0);

	memcpy(copy, s, len);
	for (const char *p = s; p < end; p++) {
		if (*p != '%')
			continue;
		if (++p < end && *p == '%')
			continue;
		while (p < end && strchr("-+ #0123456789.", *p))
			p++;
		if (p >= end || ++arg > top)
			break;
		format_arg(L, arg, *p);
		if (*p == 'u')
			copy[p - s] = 'd';
	}
	lua_pushlstring(L, copy, len);
	lua_replace(L, 1);
	lua_settop(L, top);
	return fn(L);
}

/* Nothing, so many times, is nothing: Lua counts up to there. */
static int
string_rep(lua_State *L)
{
	lua_CFunction fn = lua_tocfunction(L, lua_upvalueindex(1));
	size_t len = 0, between = 0;

	luaL_checklstring(L, 1, &len);
	luaL_optlstring(L, 3, "", &between);
	if (len + between > 0)
		return fn(L);
	(void)luaL_checknumber(L, 2);
	lua_pushliteral(L, "");
	return 1;
}

/* --- the libraries --- */

/* Field name of the table on the top is wrapped: fn with the old function as
 * its upvalue. */
static void
wrap(lua_State *L, const char *name, lua_CFunction fn)
{
	lua_getfield(L, -1, name);
	lua_pushcclosure(L, fn, 1);
	lua_setfield(L, -2, name);
}

void
eval_wrap_whole(lua_State *L, const char *name)
{
	lua_getfield(L, -1, name);
	if (!lua_getupvalue(L, -1, 1))
		lua_pushnil(L);
	lua_insert(L, -2);
	lua_pushcclosure(L, whole_args, 2);
	lua_setfield(L, -2, name);
}

void
eval_open_string(lua_State *L)
{
	static const char *const whole[] = {"sub", "rep", "byte", "char",
	    "find", "match"};

	luaL_requiref(L, "string", luaopen_string, 0);
	wrap(L, "rep", string_rep);
	for (size_t i = 0; i < nitems(whole); i++)
		eval_wrap_whole(L, whole[i]);
	wrap(L, "format", string_format);
	lua_pushnil(L);
	lua_setfield(L, -2, "dump");
	/* The metatable of all strings leads here, too. */
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_newtable(L);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 2);
}

void
eval_open_table(lua_State *L)
{
	luaL_requiref(L, "table", luaopen_table, 0);
	/* 5.1 has none; it would copy nothing for ever. */
	lua_pushnil(L);
	lua_setfield(L, -2, "move");
	wrap(L, "insert", table_insert);
	wrap(L, "remove", table_remove);
	lua_pushcfunction(L, table_concat);
	lua_setfield(L, -2, "concat");
	eval_wrap_whole(L, "unpack");
}

void
eval_open_math(lua_State *L)
{
	luaL_requiref(L, "math", luaopen_math, 0);
	eval_wrap_whole(L, "random");
	eval_wrap_whole(L, "randomseed");
}
