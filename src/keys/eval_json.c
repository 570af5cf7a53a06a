/* SPDX-License-Identifier: MIT */
/*
 * cjson: the library lua-cjson, as Redis has it, with three things around it.
 * It allocates beside Lua's allocator and answers an error in the middle with
 * a leak: so what it may need is looked at before, and there is no cap while
 * it decodes. Its numbers are floats: whole ones become integers.
 */
#include <lauxlib.h>
#include <lua-cjson.h>
#include <string.h>

#include "keys/eval.h"

enum {
	/* What a decoded text may need, in multiples of its length. */
	DECODE_FACTOR = 40,
	ENCODE_MAX = 16 << 20,
	DEPTH_MAX = 1001,
	/* What its settings may be: each level of depth is one of C's stack,
	 * each hole of a sparse array is text. */
	DEPTH_SET_MAX = 1000,
	RATIO_SET_MAX = 10,
	SAFE_SET_MAX = 100,
	HOLE_BYTES = 5,
	NUMBER_BYTES = 26
};

/* --- decode --- */

/* Whole numbers inside of the table on the top. */
static void
make_whole(lua_State *L)
{
	luaL_checkstack(L, 6, "too deep");
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_type(L, -1) == LUA_TTABLE) {
			make_whole(L);
			lua_pop(L, 1);
		} else if (lua_type(L, -1) == LUA_TNUMBER &&
		    !lua_isinteger(L, -1)) {
			eval_push_number(L, lua_tonumber(L, -1));
			lua_replace(L, -2);
			lua_pushvalue(L, -2);
			lua_insert(L, -2);
			lua_rawset(L, -4);	/* the key is there */
		} else {
			lua_pop(L, 1);
		}
	}
}

static int
decode(lua_State *L)
{
	struct eval *ev = eval_of(L);
	size_t len = 0;
	int status;

	luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
	luaL_checklstring(L, 1, &len);
	if (len > eval_room(ev) / DECODE_FACTOR)
		return luaL_error(L, "not enough memory to decode %d bytes"
		    " (script_memory)", (int)len);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	ev->uncapped = true;
	status = lua_pcall(L, 1, 1, 0);
	ev->uncapped = false;
	if (status != LUA_OK) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
		return lua_error(L);
	}
	if (lua_type(L, -1) == LUA_TTABLE)
		make_whole(L);
	else if (lua_type(L, -1) == LUA_TNUMBER)
		eval_push_number(L, lua_tonumber(L, -1));
	return 1;
}

/* --- encode --- */

/* Bytes of the holes of an array that ends at last. */
static size_t
holes(size_t items, lua_Number last)
{
	size_t most = items * RATIO_SET_MAX;

	if (most < SAFE_SET_MAX)
		most = SAFE_SET_MAX;
	return HOLE_BYTES * (last < (lua_Number)most ? (size_t)last : most);
}

/* How much text the value on the top makes, at most; what is deeper than the
 * library goes it refuses by itself. */
static size_t
measure(lua_State *L, size_t left, int depth)
{
	size_t n = 0, len, items = 0;
	lua_Number last = 0;

	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
		lua_tolstring(L, -1, &len);
		return 6 * len + 4;
	case LUA_TTABLE:
		break;
	default:
		return NUMBER_BYTES;
	}
	if (depth == DEPTH_MAX || !lua_checkstack(L, 6))
		return 4;
	lua_pushnil(L);
	while (n <= left && lua_next(L, -2)) {
		n += measure(L, left - n, depth + 1);
		lua_pop(L, 1);
		if (lua_type(L, -1) == LUA_TSTRING) {
			lua_tolstring(L, -1, &len);
			n += 6 * len;
		} else if (lua_tonumber(L, -1) > last) {
			last = lua_tonumber(L, -1);
		}
		n += NUMBER_BYTES;
		items++;
	}
	if (n > left)
		lua_pop(L, 1);
	return n + 4 + holes(items, last);
}

static int
encode(lua_State *L)
{
	size_t left = eval_room(eval_of(L));
	int status;

	luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
	if (left > ENCODE_MAX * (size_t)6)
		left = ENCODE_MAX * (size_t)6;
	if (measure(L, left, 0) > left)
		return luaL_error(L, "Cannot serialise: more than the memory"
		    " of scripts");
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	status = lua_pcall(L, 1, 1, 0);
	if (status == LUA_OK)
		return 1;
	luaL_where(L, 1);
	lua_insert(L, -2);
	lua_concat(L, 2);
	return lua_error(L);
}

/* --- settings --- */

/* The library's function sees its settings as upvalue 1, so it is called. */
static int
call_library(lua_State *L)
{
	int n = lua_gettop(L);

	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, LUA_MULTRET);
	return lua_gettop(L);
}

static void
check_at_most(lua_State *L, int arg, lua_Number min, lua_Number max)
{
	lua_Number n;

	if (lua_isnoneornil(L, arg))
		return;
	n = luaL_checknumber(L, arg);
	if (!(n >= min && n <= max)) {
		lua_pushfstring(L, "expected integer between %d and %d",
		    (int)min, (int)max);
		luaL_argerror(L, arg, lua_tostring(L, -1));
	}
}

static int
set_depth(lua_State *L)
{
	check_at_most(L, 1, 1, DEPTH_SET_MAX);
	return call_library(L);
}

static int
set_sparse(lua_State *L)
{
	check_at_most(L, 2, 1, RATIO_SET_MAX);
	check_at_most(L, 3, 0, SAFE_SET_MAX);
	return call_library(L);
}

static void
wrap_one(lua_State *L, const char *name, lua_CFunction fn)
{
	lua_getfield(L, -1, name);
	lua_pushcclosure(L, fn, 1);
	lua_setfield(L, -2, name);
}

/* The functions of the library's table on the top, which have its settings as
 * an upvalue of their own. */
static void
wrap_all(lua_State *L)
{
	wrap_one(L, "decode", decode);
	wrap_one(L, "encode", encode);
	wrap_one(L, "decode_max_depth", set_depth);
	wrap_one(L, "encode_max_depth", set_depth);
	wrap_one(L, "encode_sparse_array", set_sparse);
}

/* cjson.new(): another table with settings of its own. */
static int
new_table(lua_State *L)
{
	lua_settop(L, 0);
	lua_pushcfunction(L, luaopen_cjson);
	lua_call(L, 0, 1);
	wrap_all(L);
	lua_pushcfunction(L, new_table);
	lua_setfield(L, -2, "new");
	return 1;
}

int
eval_open_json(lua_State *L)
{
	return new_table(L);
}
