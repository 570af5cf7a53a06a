/* SPDX-License-Identifier: MIT */
/*
 * struct: packing by a format string, as Redis has it:
 *   > < = byte order    ![n] alignment    x one byte of padding
 *   b/B h/H l/L T i/I[n] integers    f d floats
 *   s string that ends with a zero    c[n] n bytes (c0: as many as the number
 *   before says)    blanks are ignored
 * No library of Debian's has this; Lua's own string.pack() has other letters.
 */
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "keys/eval.h"

enum { ALIGN_MAX = 16, INT_MAX_BYTES = 32 };

struct format {
	const char *at;
	bool big;			/* byte order */
	size_t align;			/* 1: none */
};

static void
format_init(struct format *f, const char *text)
{
	*f = (struct format){.at = text, .align = 1};
}

/* Digits at the format's place, or what holds without any. */
static size_t
number(lua_State *L, struct format *f, size_t without)
{
	size_t n = 0;

	if (!isdigit((unsigned char)*f->at))
		return without;
	for (; isdigit((unsigned char)*f->at); f->at++) {
		if (n > INT32_MAX / 10)
			luaL_error(L, "integral size overflow");
		n = n * 10 + (size_t)(*f->at - '0');
	}
	return n;
}

/* Bytes of the option opt, whose digits, if any, are read too. */
static size_t
option_size(lua_State *L, struct format *f, char opt)
{
	switch (opt) {
	case 'B': case 'b': case 'x':
		return 1;
	case 'H': case 'h':
		return sizeof(short);
	case 'L': case 'l':
		return sizeof(long);
	case 'T':
		return sizeof(size_t);
	case 'f':
		return sizeof(float);
	case 'd':
		return sizeof(double);
	case 'c':
		return number(L, f, 1);
	case 'i': case 'I': {
		size_t n = number(L, f, sizeof(int));

		if (n > INT_MAX_BYTES)
			luaL_error(L, "integral size %d is larger than limit"
			    " of %d", (int)n, INT_MAX_BYTES);
		return n;
	}
	default:
		return 0;
	}
}

/* Padding before an item of that size. */
static size_t
padding(const struct format *f, char opt, size_t size, size_t at)
{
	size_t align = size;

	if (align == 0 || opt == 'c')
		return 0;
	if (align > f->align)
		align = f->align;
	if (align > 1)
		return (align - (at & (align - 1))) & (align - 1);
	return 0;
}

/* What is neither a value nor a byte of padding. */
static void
control(lua_State *L, struct format *f, char opt)
{
	switch (opt) {
	case ' ':
		return;
	case '>':
		f->big = true;
		return;
	case '<':
	case '=':
		f->big = false;
		return;
	case '!': {
		size_t n = number(L, f, ALIGN_MAX);

		if (n == 0 || (n & (n - 1)))
			luaL_error(L, "alignment %d is not a power of 2",
			    (int)n);
		f->align = n;
		return;
	}
	default: {
		const char *text = lua_pushfstring(L,
		    "invalid format option '%c'", opt);

		luaL_argerror(L, 1, text);
	}
	}
}

static bool
is_integer(char opt)
{
	return opt && strchr("bBhHlLTiI", opt) != NULL;
}

/* --- pack --- */

static void
put_integer(luaL_Buffer *b, uint64_t v, size_t size, bool big)
{
	char bytes[INT_MAX_BYTES] = {0};

	for (size_t i = 0; i < size && i < 8; i++)
		bytes[big ? size - 1 - i : i] = (char)(v >> 8 * i);
	luaL_addlstring(b, bytes, size);
}

/* As Redis reads one: past the ends of 64 bits it wraps around. */
static uint64_t
check_integer(lua_State *L, int arg)
{
	lua_Number n;

	if (lua_isinteger(L, arg))
		return (uint64_t)lua_tointeger(L, arg);
	n = luaL_checknumber(L, arg);
	if (n >= 0 && n < 18446744073709551616.0)
		return (uint64_t)n;
	return n < 0 && n >= -9223372036854775808.0 ?
	    (uint64_t)(int64_t)n : (uint64_t)INT64_MIN;
}

static void
put_real(luaL_Buffer *b, lua_Number n, size_t size, bool big)
{
	unsigned char bytes[sizeof(double)];
	float f = (float)n;

	if (size == sizeof(f))
		memcpy(bytes, &f, size);
	else
		memcpy(bytes, &n, size);
	for (size_t i = 0; i < size; i++)
		luaL_addchar(b, (char)bytes[big ? size - 1 - i : i]);
}

static size_t
put_string(lua_State *L, luaL_Buffer *b, int arg, char opt, size_t size)
{
	size_t len;
	const char *s = luaL_checklstring(L, arg, &len);

	if (opt == 'c' && size == 0)
		size = len;
	luaL_argcheck(L, len >= size, arg + 1, "string too short");
	luaL_addlstring(b, s, opt == 's' ? len : size);
	if (opt != 's')
		return size;
	luaL_addchar(b, '\0');
	return len + 1;
}

static int
struct_pack(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1);
	struct format f;
	luaL_Buffer b;
	size_t total = 0;
	int arg = 2;

	format_init(&f, text);
	lua_pushnil(L);			/* an argument that is not there */
	luaL_buffinit(L, &b);
	while (*f.at) {
		char opt = *f.at++;
		size_t size = option_size(L, &f, opt);
		size_t pad = padding(&f, opt, size, total);

		total += pad;
		while (pad-- > 0)
			luaL_addchar(&b, '\0');
		if (is_integer(opt))
			put_integer(&b, check_integer(L, arg++), size, f.big);
		else if (opt == 'x')
			luaL_addchar(&b, '\0');
		else if (opt == 'f' || opt == 'd')
			put_real(&b, luaL_checknumber(L, arg++), size, f.big);
		else if (opt == 'c' || opt == 's')
			size = put_string(L, &b, arg++, opt, size);
		else
			control(L, &f, opt);
		total += size;
	}
	luaL_pushresult(&b);
	return 1;
}

/* --- unpack --- */

static void
push_integer(lua_State *L, const char *from, size_t size, bool big,
    bool is_signed)
{
	uint64_t v = 0;

	/* Of a wide one the lowest eight bytes. */
	for (size_t i = size < 8 ? size : 8; i-- > 0; )
		v = v << 8 | (unsigned char)from[big ? size - 1 - i : i];
	if (is_signed && size > 0 && size < 8 && v >> (size * 8 - 1))
		v |= UINT64_MAX << size * 8;
	if (!is_signed && v > INT64_MAX)
		lua_pushnumber(L, (lua_Number)v);
	else
		lua_pushinteger(L, (lua_Integer)v);
}

static void
push_real(lua_State *L, const char *from, size_t size, bool big)
{
	unsigned char bytes[sizeof(double)];
	double d;
	float f;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)from[big ? size - 1 - i : i];
	if (size == sizeof(f)) {
		memcpy(&f, bytes, sizeof(f));
		d = f;
	} else {
		memcpy(&d, bytes, sizeof(d));
	}
	eval_push_number(L, d);
}

static size_t
push_bytes(lua_State *L, const char *from, size_t left, size_t size, int n)
{
	if (size == 0) {
		lua_Number len;

		if (n == 0 || lua_type(L, -1) != LUA_TNUMBER)
			luaL_error(L, "format 'c0' needs a previous size");
		len = lua_tonumber(L, -1);
		lua_pop(L, 1);
		luaL_argcheck(L, len >= 0 && len <= (lua_Number)left, 2,
		    "data string too short");
		size = (size_t)len;
	}
	lua_pushlstring(L, from, size);
	return size;
}

static size_t
push_zero_ended(lua_State *L, const char *from, size_t left)
{
	const char *end = memchr(from, '\0', left);

	if (!end)
		luaL_error(L, "unfinished string in data");
	lua_pushlstring(L, from, (size_t)(end - from));
	return (size_t)(end - from) + 1;
}

/* Pushes what the option says and answers with the bytes that it took. */
static size_t
unpack_one(lua_State *L, struct format *f, char opt, size_t size,
    const char *from, size_t left, int *n)
{
	if (is_integer(opt)) {
		push_integer(L, from, size, f->big, islower((unsigned char)opt));
	} else if (opt == 'f' || opt == 'd') {
		push_real(L, from, size, f->big);
	} else if (opt == 'c') {
		bool replaces = size == 0 && *n > 0;

		size = push_bytes(L, from, left, size, *n);
		*n -= replaces;
	} else if (opt == 's') {
		size = push_zero_ended(L, from, left);
	} else {
		if (opt != 'x')
			control(L, f, opt);
		return size;
	}
	(*n)++;
	return size;
}

static int
struct_unpack(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1), *data;
	struct format f;
	size_t len, at;
	lua_Integer from;
	int n = 0;

	data = luaL_checklstring(L, 2, &len);
	from = (lua_Integer)luaL_optnumber(L, 3, 1) - 1;
	luaL_argcheck(L, from >= 0, 3, "offset must be 1 or greater");
	format_init(&f, text);
	lua_settop(L, 2);
	for (at = (size_t)from; *f.at; ) {
		char opt = *f.at++;
		size_t size = option_size(L, &f, opt);

		at += padding(&f, opt, size, at);
		luaL_argcheck(L, size <= len && at <= len - size, 2,
		    "data string too short");
		luaL_checkstack(L, 2, "too many results");
		at += unpack_one(L, &f, opt, size, data + at, len - at, &n);
	}
	lua_pushinteger(L, (lua_Integer)at + 1);
	return n + 1;
}

static int
struct_size(lua_State *L)
{
	struct format f;
	size_t total = 0;

	format_init(&f, luaL_checkstring(L, 1));
	while (*f.at) {
		char opt = *f.at++;
		size_t size = option_size(L, &f, opt);

		total += padding(&f, opt, size, total);
		if (opt == 's')
			luaL_argerror(L, 1, "option 's' has no fixed size");
		else if (opt == 'c' && size == 0)
			luaL_argerror(L, 1, "option 'c0' has no fixed size");
		if (opt != 'x' && opt != 'c' && opt != 'f' && opt != 'd' &&
		    !is_integer(opt))
			control(L, &f, opt);
		total += size;
	}
	lua_pushinteger(L, (lua_Integer)total);
	return 1;
}

int
eval_open_struct(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{"pack", struct_pack}, {"unpack", struct_unpack},
		{"size", struct_size}, {NULL, NULL},
	};

	luaL_newlib(L, fns);
	return 1;
}
