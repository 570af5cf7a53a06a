/* SPDX-License-Identifier: MIT */
/*
 * cmsgpack: MessagePack as Redis' scripts know it (lua-cmsgpack). Straight
 * between the bytes and Lua's stack, so that all of it counts against the
 * memory of scripts; the C library builds a tree of its own.
 */
#include <endian.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "keys/eval.h"

enum {
	NEST_MAX = 16,			/* packed; what is deeper is nil */
	DEPTH_MAX = 1000		/* unpacked */
};

/* --- pack --- */

/* What has been packed, in a userdata at the place `box` of the stack. */
struct out {
	lua_State *L;
	int box;
	char *data;
	size_t len, cap;
};

static void
add(struct out *o, const void *data, size_t len)
{
	if (len > o->cap - o->len) {
		size_t cap = 2 * o->cap + len + 64;
		char *grown;

		luaL_checkstack(o->L, 1, "in function mp_pack");
		grown = lua_newuserdatauv(o->L, cap, 0);
		if (o->len)
			memcpy(grown, o->data, o->len);
		lua_replace(o->L, o->box);
		o->data = grown;
		o->cap = cap;
	}
	if (len)
		memcpy(o->data + o->len, data, len);
	o->len += len;
}

static void
put_byte(struct out *o, char byte)
{
	add(o, &byte, 1);
}

/* A type byte and size bytes of v, the highest first. */
static void
put(struct out *o, int type, uint64_t v, size_t size)
{
	uint64_t be = htobe64(v);

	put_byte(o, (char)type);
	add(o, (const char *)&be + sizeof(be) - size, size);
}

static void
put_integer(struct out *o, int64_t v)
{
	if (v >= 0) {
		if (v <= 127)
			put_byte(o, (char)v);
		else if (v <= UINT8_MAX)
			put(o, 0xcc, (uint64_t)v, 1);
		else if (v <= UINT16_MAX)
			put(o, 0xcd, (uint64_t)v, 2);
		else if (v <= UINT32_MAX)
			put(o, 0xce, (uint64_t)v, 4);
		else
			put(o, 0xcf, (uint64_t)v, 8);
	} else if (v >= -32) {
		put_byte(o, (char)v);
	} else if (v >= INT8_MIN) {
		put(o, 0xd0, (uint64_t)v, 1);
	} else if (v >= INT16_MIN) {
		put(o, 0xd1, (uint64_t)v, 2);
	} else if (v >= INT32_MIN) {
		put(o, 0xd2, (uint64_t)v, 4);
	} else {
		put(o, 0xd3, (uint64_t)v, 8);
	}
}

/* In four bytes where nothing is lost by it. */
static void
put_real(struct out *o, double d)
{
	float f = (float)d;
	uint64_t bits = 0;
	uint32_t half;

	if (d >= -9223372036854775808.0 && d < 9223372036854775808.0 &&
	    d == (double)(int64_t)d) {
		put_integer(o, (int64_t)d);
	} else if (d == (double)f) {
		memcpy(&half, &f, sizeof(half));
		put(o, 0xca, half, 4);
	} else {
		memcpy(&bits, &d, sizeof(bits));
		put(o, 0xcb, bits, 8);
	}
}

static void
put_string(struct out *o, const char *s, size_t len)
{
	if (len < 32)
		put_byte(o, (char)(0xa0 | len));
	else if (len <= UINT8_MAX)
		put(o, 0xd9, len, 1);
	else if (len <= UINT16_MAX)
		put(o, 0xda, len, 2);
	else
		put(o, 0xdb, len, 4);
	add(o, s, len);
}

static void
put_head(struct out *o, int fix, int type16, size_t n)
{
	if (n <= 15)
		put_byte(o, (char)(fix | (int)n));
	else if (n <= UINT16_MAX)
		put(o, type16, n, 2);
	else
		put(o, type16 + 1, n, 4);
}

/* Whether the keys of the table at i are 1 to n; *ret: how many there are. */
static bool
is_array(lua_State *L, int i, size_t *ret)
{
	size_t n = 0;
	lua_Integer max = 0;
	bool array = true;

	lua_pushnil(L);
	for (; lua_next(L, i); n++) {
		lua_pop(L, 1);
		if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) <= 0)
			array = false;
		else if (lua_tointeger(L, -1) > max)
			max = lua_tointeger(L, -1);
	}
	*ret = n;
	return array && (size_t)max == n;
}

static void put_top(lua_State *L, struct out *o, int depth);

static void
put_table(lua_State *L, struct out *o, int depth)
{
	size_t n;

	if (is_array(L, lua_gettop(L), &n)) {
		put_head(o, 0x90, 0xdc, n);
		for (size_t k = 1; k <= n; k++) {
			lua_rawgeti(L, -1, (lua_Integer)k);
			put_top(L, o, depth);
		}
		return;
	}
	put_head(o, 0x80, 0xde, n);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pushvalue(L, -2);
		put_top(L, o, depth);
		put_top(L, o, depth);
	}
}

/* The value on the top, which is popped. */
static void
put_top(lua_State *L, struct out *o, int depth)
{
	const char *s;
	size_t len;

	luaL_checkstack(L, 6, "in function mp_pack");
	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
		s = lua_tolstring(L, -1, &len);
		put_string(o, s, len);
		break;
	case LUA_TBOOLEAN:
		put_byte(o, (char)(lua_toboolean(L, -1) ? 0xc3 : 0xc2));
		break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, -1))
			put_integer(o, lua_tointeger(L, -1));
		else
			put_real(o, lua_tonumber(L, -1));
		break;
	case LUA_TTABLE:
		if (depth < NEST_MAX) {
			put_table(L, o, depth + 1);
			break;
		}
		/* fall through */
	default:
		put_byte(o, (char)0xc0);
		break;
	}
	lua_pop(L, 1);
}

static int
pack(lua_State *L)
{
	int n = lua_gettop(L);
	struct out o = {.L = L, .box = n + 1};

	if (n == 0)
		return luaL_argerror(L, 0, "MessagePack pack needs input.");
	lua_pushnil(L);
	for (int i = 1; i <= n; i++) {
		luaL_checkstack(L, 2, "in function mp_pack");
		lua_pushvalue(L, i);
		put_top(L, &o, 0);
	}
	lua_pushlstring(L, o.data, o.len);
	return 1;
}

/* --- unpack --- */

struct in {
	const unsigned char *at;
	size_t left;
};

static const unsigned char *
take(lua_State *L, struct in *in, size_t n)
{
	const unsigned char *at = in->at;

	if (n > in->left)
		luaL_error(L, "Missing bytes in input.");
	in->at += n;
	in->left -= n;
	return at;
}

/* A number of size bytes, the highest first. */
static uint64_t
take_number(lua_State *L, struct in *in, size_t size)
{
	const unsigned char *at = take(L, in, size);
	uint64_t v = 0;

	for (size_t i = 0; i < size; i++)
		v = v << 8 | at[i];
	return v;
}

static void
push_string(lua_State *L, struct in *in, size_t len)
{
	const unsigned char *at = take(L, in, len);

	lua_pushlstring(L, (const char *)at, len);
}

static void
push_real(lua_State *L, struct in *in, size_t size)
{
	uint64_t bits = take_number(L, in, size);
	uint32_t half = (uint32_t)bits;
	double d;
	float f;

	if (size == sizeof(f)) {
		memcpy(&f, &half, sizeof(f));
		d = f;
	} else {
		memcpy(&d, &bits, sizeof(d));
	}
	eval_push_number(L, d);
}

static void
push_unsigned(lua_State *L, uint64_t v)
{
	if (v <= INT64_MAX)
		lua_pushinteger(L, (lua_Integer)v);
	else
		lua_pushnumber(L, (lua_Number)v);
}

static void push_value(lua_State *L, struct in *in, int depth);

static void
push_array(lua_State *L, struct in *in, size_t n, int depth)
{
	/* Each has a byte at least: no more room than that for it. */
	lua_createtable(L, n <= in->left && n < 65536 ? (int)n : 0, 0);
	for (size_t i = 1; i <= n; i++) {
		push_value(L, in, depth);
		lua_rawseti(L, -2, (lua_Integer)i);
	}
}

static void
push_map(lua_State *L, struct in *in, size_t n, int depth)
{
	lua_createtable(L, 0, n <= in->left / 2 && n < 65536 ? (int)n : 0);
	for (size_t i = 0; i < n; i++) {
		push_value(L, in, depth);
		push_value(L, in, depth);
		lua_settable(L, -3);	/* nil and nan are no keys */
	}
}

/* Types 0xc0 to 0xdf. */
static void
push_typed(lua_State *L, struct in *in, int type, int depth)
{
	switch (type) {
	case 0xc0:
		lua_pushnil(L);
		return;
	case 0xc2: case 0xc3:
		lua_pushboolean(L, type & 1);
		return;
	case 0xc4: case 0xc5: case 0xc6:
		push_string(L, in, take_number(L, in,
		    (size_t)1 << (type - 0xc4)));
		return;
	case 0xca: case 0xcb:
		push_real(L, in, (size_t)4 << (type - 0xca));
		return;
	case 0xcc: case 0xcd: case 0xce: case 0xcf:
		push_unsigned(L, take_number(L, in,
		    (size_t)1 << (type - 0xcc)));
		return;
	case 0xd0:
		lua_pushinteger(L, (int8_t)take_number(L, in, 1));
		return;
	case 0xd1:
		lua_pushinteger(L, (int16_t)take_number(L, in, 2));
		return;
	case 0xd2:
		lua_pushinteger(L, (int32_t)take_number(L, in, 4));
		return;
	case 0xd3:
		lua_pushinteger(L, (int64_t)take_number(L, in, 8));
		return;
	case 0xd9: case 0xda: case 0xdb:
		push_string(L, in, take_number(L, in,
		    (size_t)1 << (type - 0xd9)));
		return;
	case 0xdc: case 0xdd:
		push_array(L, in, take_number(L, in,
		    (size_t)2 << (type - 0xdc)), depth);
		return;
	case 0xde: case 0xdf:
		push_map(L, in, take_number(L, in,
		    (size_t)2 << (type - 0xde)), depth);
		return;
	default:
		luaL_error(L, "Bad data format in input.");
	}
}

static void
push_value(lua_State *L, struct in *in, int depth)
{
	int type;

	if (depth++ == DEPTH_MAX)
		luaL_error(L, "Bad data format in input.");
	luaL_checkstack(L, 4, "in function mp_unpack");
	type = *take(L, in, 1);
	if (type < 0x80)
		lua_pushinteger(L, type);
	else if (type >= 0xe0)
		lua_pushinteger(L, (int8_t)type);
	else if (type < 0x90)
		push_map(L, in, type & 15, depth);
	else if (type < 0xa0)
		push_array(L, in, type & 15, depth);
	else if (type < 0xc0)
		push_string(L, in, type & 31);
	else
		push_typed(L, in, type, depth);
}

/* Values from offset on, at most limit of them; after an offset where to go
 * on, -1 at the end, unless all are wanted. */
static int
unpack_some(lua_State *L, lua_Integer limit, lua_Integer offset)
{
	bool all = limit == 0 && offset == 0;
	int n = all ? 0 : 1;
	struct in in;
	size_t len;

	in.at = (const unsigned char *)luaL_checklstring(L, 1, &len);
	if (offset < 0 || limit < 0)
		return luaL_error(L, "Invalid request to unpack with offset of"
		    " %d and limit of %d.", (int)offset, (int)len);
	if ((size_t)offset > len)
		return luaL_error(L, "Start offset %d greater than input"
		    " length %d.", (int)offset, (int)len);
	in.at += offset;
	in.left = len - (size_t)offset;
	lua_settop(L, 1);
	if (!all)
		lua_pushnil(L);
	for (lua_Integer i = 0; in.left > 0 && (all || i < limit); i++, n++)
		push_value(L, &in, 0);
	if (!all) {
		lua_pushinteger(L, in.left ? (lua_Integer)(len - in.left) :
		    -1);
		lua_replace(L, 2);
	}
	return n;
}

static int
unpack(lua_State *L)
{
	return unpack_some(L, 0, 0);
}

static int
unpack_one(lua_State *L)
{
	return unpack_some(L, 1, (lua_Integer)luaL_optnumber(L, 2, 0));
}

static int
unpack_limit(lua_State *L)
{
	return unpack_some(L, (lua_Integer)luaL_checknumber(L, 2),
	    (lua_Integer)luaL_optnumber(L, 3, 0));
}

int
eval_open_pack(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{"pack", pack}, {"unpack", unpack},
		{"unpack_one", unpack_one}, {"unpack_limit", unpack_limit},
		{NULL, NULL},
	};

	luaL_newlib(L, fns);
	lua_pushliteral(L, "cmsgpack");
	lua_setfield(L, -2, "_NAME");
	lua_pushliteral(L, "lua-cmsgpack 0.4.0");
	lua_setfield(L, -2, "_VERSION");
	return 1;
}
