/* SPDX-License-Identifier: MIT */
/* bit: operations on 32-bit integers, as the LuaBitOp library has them. (Its
 * package answers with floats on Lua 5.4.) */
#include <lauxlib.h>
#include <math.h>

#include "keys/eval.h"

/* Wraps around, and rounds a fraction to the nearest (even) number. */
static uint32_t
check_bits(lua_State *L, int i)
{
	lua_Number n;

	if (lua_isinteger(L, i))
		return (uint32_t)lua_tointeger(L, i);
	n = luaL_checknumber(L, i);
	if (!isfinite(n))
		return 0;
	n = fmod(nearbyint(n), 4294967296.0);
	return (uint32_t)(int64_t)n;
}

static int
put_bits(lua_State *L, uint32_t v)
{
	lua_pushinteger(L, (int32_t)v);
	return 1;
}

static int
bit_tobit(lua_State *L)
{
	return put_bits(L, check_bits(L, 1));
}

static int
bit_bnot(lua_State *L)
{
	return put_bits(L, ~check_bits(L, 1));
}

static int
bit_band(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	for (int i = lua_gettop(L); i > 1; i--)
		v &= check_bits(L, i);
	return put_bits(L, v);
}

static int
bit_bor(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	for (int i = lua_gettop(L); i > 1; i--)
		v |= check_bits(L, i);
	return put_bits(L, v);
}

static int
bit_bxor(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	for (int i = lua_gettop(L); i > 1; i--)
		v ^= check_bits(L, i);
	return put_bits(L, v);
}

static int
bit_lshift(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	return put_bits(L, v << (check_bits(L, 2) & 31));
}

static int
bit_rshift(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	return put_bits(L, v >> (check_bits(L, 2) & 31));
}

static int
bit_arshift(lua_State *L)
{
	int32_t v = (int32_t)check_bits(L, 1);

	return put_bits(L, (uint32_t)(v >> (check_bits(L, 2) & 31)));
}

static uint32_t
rotate(uint32_t v, uint32_t n)
{
	n &= 31;
	return n ? v << n | v >> (32 - n) : v;
}

static int
bit_rol(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	return put_bits(L, rotate(v, check_bits(L, 2)));
}

static int
bit_ror(lua_State *L)
{
	uint32_t v = check_bits(L, 1);

	return put_bits(L, rotate(v, 32 - (check_bits(L, 2) & 31)));
}

static int
bit_bswap(lua_State *L)
{
	return put_bits(L, __builtin_bswap32(check_bits(L, 1)));
}

/* The lowest n digits; n negative: in capitals. */
static int
bit_tohex(lua_State *L)
{
	uint32_t v = check_bits(L, 1);
	int32_t n = lua_isnone(L, 2) ? 8 : (int32_t)check_bits(L, 2);
	const char *digits = n < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[8];

	if (n < 0)
		n = n < -8 ? 8 : -n;
	if (n > 8)
		n = 8;
	for (int32_t i = n; i-- > 0; v >>= 4)
		text[i] = digits[v & 15];
	lua_pushlstring(L, text, (size_t)n);
	return 1;
}

int
eval_open_bit(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{"tobit", bit_tobit}, {"bnot", bit_bnot}, {"band", bit_band},
		{"bor", bit_bor}, {"bxor", bit_bxor}, {"lshift", bit_lshift},
		{"rshift", bit_rshift}, {"arshift", bit_arshift},
		{"rol", bit_rol}, {"ror", bit_ror}, {"bswap", bit_bswap},
		{"tohex", bit_tohex}, {NULL, NULL},
	};

	luaL_newlib(L, fns);
	return 1;
}
