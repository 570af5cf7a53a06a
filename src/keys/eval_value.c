/* SPDX-License-Identifier: MIT */
/* Answers as Lua sees them, and what a script returns as an answer: the
 * conversions of Redis 7. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys/eval.h"

/* Tables inside of tables of a returned value. */
enum { DEPTH_MAX = 128 };
/* What a value in a table has in Lua. */
enum { VALUE_BYTES = 16 };

void
eval_push_number(lua_State *L, lua_Number n)
{
	/* Beyond 2^53 a float is what 5.1 would have. */
	if (n >= -9007199254740992.0 && n <= 9007199254740992.0 &&
	    n == (lua_Number)(lua_Integer)n)
		lua_pushinteger(L, (lua_Integer)n);
	else
		lua_pushnumber(L, n);
}

void
eval_push_error(lua_State *L, const char *text)
{
	lua_createtable(L, 0, 2);
	lua_pushstring(L, text);
	lua_setfield(L, -2, "err");
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "ignore_error_stats_update");
}

/* --- to Lua --- */

static void
push_field(lua_State *L, const char *name, struct bh_bytes s)
{
	lua_createtable(L, 0, 1);
	lua_pushlstring(L, s.data, s.len);
	lua_setfield(L, -2, name);
}

static void
push_double(lua_State *L, double d, bool resp3)
{
	char text[40];

	if (resp3) {
		lua_createtable(L, 0, 1);
		lua_pushnumber(L, d);
		lua_setfield(L, -2, "double");
		return;
	}
	snprintf(text, sizeof(text), "%.17g", d);
	lua_pushstring(L, text);
}

static const struct bh_value *
push_array(lua_State *L, const struct bh_value *v, size_t n, bool resp3)
{
	lua_createtable(L, n < 65536 ? (int)n : 65536, 0);
	for (size_t i = 1; i <= n; i++) {
		v = eval_push_value(L, v, resp3);
		lua_rawseti(L, -2, (lua_Integer)i);
	}
	return v;
}

static const struct bh_value *
push_map(lua_State *L, const struct bh_value *v, size_t n)
{
	lua_createtable(L, 0, 1);
	lua_createtable(L, 0, n < 65536 ? (int)n : 65536);
	for (size_t i = 0; i < n; i++) {
		v = eval_push_value(L, v, true);
		v = eval_push_value(L, v, true);
		lua_rawset(L, -3);
	}
	lua_setfield(L, -2, "map");
	return v;
}

const struct bh_value *
eval_push_value(lua_State *L, const struct bh_value *v, bool resp3)
{
	luaL_checkstack(L, 6, "the answer is too deep");
	switch (v->type) {
	case BH_NULL:
	case BH_NULL_ARRAY:
		if (resp3)
			lua_pushnil(L);
		else
			lua_pushboolean(L, 0);
		return v + 1;
	case BH_STATUS:
		push_field(L, "ok", v->s);
		return v + 1;
	case BH_ERROR:
		lua_pushlstring(L, v->s.data, v->s.len);
		eval_push_error(L, lua_tostring(L, -1));
		lua_remove(L, -2);
		return v + 1;
	case BH_INTEGER:
		lua_pushinteger(L, v->i);
		return v + 1;
	case BH_DOUBLE:
		push_double(L, v->d, resp3);
		return v + 1;
	case BH_STRING:
		lua_pushlstring(L, v->s.data, v->s.len);
		return v + 1;
	case BH_ARRAY:
		return push_array(L, v + 1, v->n, resp3);
	case BH_MAP:
		if (resp3)
			return push_map(L, v + 1, v->n);
		return push_array(L, v + 1, v->n * 2, resp3);
	}
	return v + 1;
}

/* --- from Lua --- */

static void put_top(lua_State *L, struct kcall *c, int depth);

/* As a conversion in C does it on the machines that Redis runs on. */
static int64_t
truncated(lua_Number n)
{
	if (n >= -9223372036854775808.0 && n < 9223372036854775808.0)
		return (int64_t)n;
	return INT64_MIN;
}

static void
put_number(lua_State *L, struct kcall *c)
{
	put_int(c, lua_isinteger(L, -1) ? lua_tointeger(L, -1) :
	    truncated(lua_tonumber(L, -1)));
}

/* One line; its text is copied. */
static void
put_line(lua_State *L, struct kcall *c, enum bh_value_type type)
{
	size_t len;
	const char *s = lua_tolstring(L, -1, &len);
	struct bh_value *v;
	char *text;

	put_bytes(c, s, len);
	v = &c->re->items[c->re->n - 1];
	v->type = type;
	text = (char *)(uintptr_t)v->s.data;
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\r' || text[i] == '\n')
			text[i] = ' ';
}

static size_t
count_pairs(lua_State *L)
{
	size_t n = 0;

	lua_pushnil(L);
	for (; lua_next(L, -2); n++)
		lua_pop(L, 1);
	return n;
}

/* The table on the top: { map = t }, { set = t } have their parts in t. */
static void
put_pairs(lua_State *L, struct kcall *c, bool map, int depth)
{
	size_t n = count_pairs(L);

	put_array(c, n);
	if (map)
		c->re->items[c->re->n - 1].type = BH_MAP;
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pushvalue(L, -2);
		put_top(L, c, depth);
		if (map)
			put_top(L, c, depth);
		else
			lua_pop(L, 1);
	}
}

/* A field of the table on the top, which no metamethod makes. */
static int
raw_field(lua_State *L, const char *name)
{
	lua_pushstring(L, name);
	return lua_rawget(L, -2);
}

/* A table with one of the fields that say what it is; the field's value is on
 * the top, over the table. */
static bool
put_special(lua_State *L, struct kcall *c, int depth)
{
	if (raw_field(L, "err") == LUA_TSTRING) {
		put_line(L, c, BH_ERROR);
		return true;
	}
	lua_pop(L, 1);
	if (raw_field(L, "ok") == LUA_TSTRING) {
		put_line(L, c, BH_STATUS);
		return true;
	}
	lua_pop(L, 1);
	if (raw_field(L, "double") == LUA_TNUMBER) {
		put_int(c, 0);
		c->re->items[c->re->n - 1].type = BH_DOUBLE;
		c->re->items[c->re->n - 1].d = lua_tonumber(L, -1);
		return true;
	}
	lua_pop(L, 1);
	if (raw_field(L, "map") == LUA_TTABLE) {
		put_pairs(L, c, true, depth);
		return true;
	}
	lua_pop(L, 1);
	if (raw_field(L, "set") == LUA_TTABLE) {
		put_pairs(L, c, false, depth);
		return true;
	}
	lua_pop(L, 1);
	if (raw_field(L, "big_number") == LUA_TSTRING) {
		put_line(L, c, BH_STRING);
		return true;
	}
	lua_pop(L, 1);
	if (raw_field(L, "verbatim_string") == LUA_TTABLE &&
	    raw_field(L, "string") == LUA_TSTRING) {
		size_t len;
		const char *s = lua_tolstring(L, -1, &len);

		put_bytes(c, s, len);
		lua_pop(L, 1);
		return true;
	}
	return false;
}

static void
put_list(lua_State *L, struct kcall *c, int depth)
{
	size_t open = put_array_open(c), n = 0;

	for (;; n++) {
		if (lua_rawgeti(L, -1, (lua_Integer)n + 1) == LUA_TNIL)
			break;
		put_top(L, c, depth);
	}
	lua_pop(L, 1);
	put_array_close(c, open, n);
}

static void
put_table(lua_State *L, struct kcall *c, int depth)
{
	int top = lua_gettop(L);
	bool special = put_special(L, c, depth);

	lua_settop(L, top);
	if (!special)
		put_list(L, c, depth);
}

/* The value on the top, which is popped. */
static void
put_top(lua_State *L, struct kcall *c, int depth)
{
	size_t len;
	const char *s;

	if (depth == DEPTH_MAX || !lua_checkstack(L, 12))
		luaL_error(L, "reached lua stack limit");
	/* Tables and strings may be there many times over. */
	if (put_is_too_big(c) ||
	    c->re->n - c->begin > eval_of(L)->cap / VALUE_BYTES)
		luaL_error(L, "the answer is too big (max_output,"
		    " script_memory)");
	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
		s = lua_tolstring(L, -1, &len);
		put_bytes(c, s, len);
		break;
	case LUA_TBOOLEAN:
		if (lua_toboolean(L, -1))
			put_int(c, 1);
		else
			put_null(c);
		break;
	case LUA_TNUMBER:
		put_number(L, c);
		break;
	case LUA_TTABLE:
		put_table(L, c, depth + 1);
		break;
	default:
		put_null(c);
		break;
	}
	lua_pop(L, 1);
}

void
eval_put_value(lua_State *L, struct kcall *c)
{
	put_top(L, c, 0);
}
