/* SPDX-License-Identifier: MIT */
#include "script/lua_json.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/json.h"
#include "script/state.h"

#define KEEP (64 * 1024)		/* of the output buffer */

static const char array_key;		/* registry: metatable of arrays */

/* A decode under way: open containers are on the Lua stack, innermost last;
 * an object's key waits above it for its value. */
struct decode {
	lua_State *L;
	int depth;
	lua_Integer next[LUA_JSON_DEPTH + 1];	/* array index; 0: object */
	const char *why;
};

void
lua_json_null(lua_State *L)
{
	lua_pushlightuserdata(L, NULL);
}

/* The value on top goes into the open container, if there is one. */
static int
put_value(struct decode *d)
{
	if (d->depth == 0)
		return 1;
	if (d->next[d->depth] > 0)
		lua_rawseti(d->L, -2, d->next[d->depth]++);
	else
		lua_rawset(d->L, -3);
	return 1;
}

static int
on_null(void *ctx)
{
	struct decode *d = ctx;

	lua_json_null(d->L);
	return put_value(d);
}

static int
on_boolean(void *ctx, int v)
{
	struct decode *d = ctx;

	lua_pushboolean(d->L, v);
	return put_value(d);
}

static int
on_number(void *ctx, const char *s, size_t len)
{
	struct decode *d = ctx;
	char text[64], *p = text, *end;
	double v;

	if (len >= sizeof(text)) {
		/* A long fraction is a number all the same. */
		p = lua_newuserdatauv(d->L, len + 1, 0);
	}
	memcpy(p, s, len);
	p[len] = '\0';
	errno = 0;
	if (!memchr(s, '.', len) && !memchr(s, 'e', len) &&
	    !memchr(s, 'E', len) && strcmp(p, "-0") != 0) {
		long long i = strtoll(p, &end, 10);

		if (errno == ERANGE) {
			d->why = "an integer does not fit into 64 bits";
			return 0;
		}
		lua_pushinteger(d->L, i);
	} else {
		v = strtod(p, &end);
		if (isinf(v)) {
			d->why = "a number is out of range";
			return 0;
		}
		lua_pushnumber(d->L, v);
	}
	if (p != text)
		lua_remove(d->L, -2);
	return put_value(d);
}

static int
on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct decode *d = ctx;

	lua_pushlstring(d->L, (const char *)s, len);
	return put_value(d);
}

static int
on_key(void *ctx, const unsigned char *s, size_t len)
{
	struct decode *d = ctx;

	lua_pushlstring(d->L, (const char *)s, len);
	return 1;
}

static int
open_container(struct decode *d, lua_Integer next)
{
	if (d->depth == LUA_JSON_DEPTH) {
		d->why = "it is nested deeper than 128 levels";
		return 0;
	}
	lua_newtable(d->L);
	if (next) {
		lua_rawgetp(d->L, LUA_REGISTRYINDEX, &array_key);
		lua_setmetatable(d->L, -2);
	}
	d->next[++d->depth] = next;
	return 1;
}

static int
on_map(void *ctx)
{
	return open_container(ctx, 0);
}

static int
on_array(void *ctx)
{
	return open_container(ctx, 1);
}

static int
on_end(void *ctx)
{
	struct decode *d = ctx;

	d->depth--;
	return put_value(d);
}

/* yajl accepts half a surrogate pair and makes a '?' of it. */
static bool
lone_surrogate(const char *s, size_t len)
{
	const char *end = s + len, *p = s;
	bool high = false;		/* waits for its low half at p */

	while ((p = memchr(p, '\\', (size_t)(end - p))) && end - p >= 6) {
		char hex[5] = {0};
		unsigned long u;

		if (p[1] != 'u') {
			p += 2;
			continue;
		}
		memcpy(hex, p + 2, 4);
		u = strtoul(hex, NULL, 16);
		if (u >= 0xdc00 && u <= 0xdfff)
			return true;
		p += 6;
		high = u >= 0xd800 && u <= 0xdbff;
		if (!high)
			continue;
		if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
			return true;
		memcpy(hex, p + 2, 4);
		u = strtoul(hex, NULL, 16);
		if (u < 0xdc00 || u > 0xdfff)
			return true;
		p += 6;
	}
	return false;
}

/* yajl's memory is the state's: it is counted, and is given back with the
 * state when a hung call is abandoned. yajl cannot bear a refusal. */
static void *
yajl_take(void *ctx, size_t size)
{
	struct state *st = ctx;
	bool before = st->uncapped;
	size_t *p;

	st->uncapped = true;
	p = state_alloc(st, NULL, 0, size + 16);
	st->uncapped = before;
	p[0] = size + 16;
	return (char *)p + 16;
}

static void
yajl_give(void *ctx, void *p)
{
	size_t *b = p ? (void *)((char *)p - 16) : NULL;

	if (b)
		state_alloc(ctx, b, b[0], 0);
}

static void *
yajl_more(void *ctx, void *p, size_t size)
{
	struct state *st = ctx;
	size_t *b = p ? (void *)((char *)p - 16) : NULL;
	bool before = st->uncapped;

	if (!b)
		return yajl_take(ctx, size);
	st->uncapped = true;
	b = state_alloc(st, b, b[0], size + 16);
	st->uncapped = before;
	b[0] = size + 16;
	return (char *)b + 16;
}

static void
drop_handle(struct state *st)
{
	if (st->yajl)
		yajl_free(st->yajl);
	st->yajl = NULL;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end,
	.yajl_start_array = on_array,
	.yajl_end_array = on_end,
};

bool
lua_json_decode(lua_State *L, const char *text, size_t len, char *err,
    size_t err_size)
{
	struct decode d = {.L = L};
	struct state *st = state_of(L);
	yajl_alloc_funcs mem = {yajl_take, yajl_more, yajl_give, st};
	int top = lua_gettop(L);
	yajl_status s;
	size_t at;

	luaL_checkstack(L, 2 * LUA_JSON_DEPTH + 8, "json");
	if (lone_surrogate(text, len)) {
		if (err)
			snprintf(err, err_size, "half of a surrogate pair");
		return false;
	}
	drop_handle(st);
	st->yajl = yajl_alloc(&callbacks, &mem, &d);
	s = yajl_parse(st->yajl, (const unsigned char *)text, len);
	at = yajl_get_bytes_consumed(st->yajl);
	if (s == yajl_status_ok)
		s = yajl_complete_parse(st->yajl);
	drop_handle(st);
	if (s == yajl_status_ok && lua_gettop(L) == top + 1)
		return true;
	lua_settop(L, top);
	if (err && d.why)
		snprintf(err, err_size, "%s", d.why);
	else if (err)
		snprintf(err, err_size, "no valid JSON near byte %zu of %zu",
		    at, len);
	return false;
}

static void
out_add(lua_State *L, const char *s, size_t len)
{
	struct state *st = state_of(L);

	if (st->out_cap - st->out_len < len) {
		size_t cap = st->out_cap ? st->out_cap * 2 : 512;
		char *p;

		while (cap - st->out_len < len)
			cap *= 2;
		p = state_alloc(st, st->out, st->out_cap, cap);
		if (!p)
			luaL_error(L, "not enough memory");
		st->out = p;
		st->out_cap = cap;
	}
	memcpy(st->out + st->out_len, s, len);
	st->out_len += len;
}

static void
put_string(lua_State *L, const char *s, size_t len)
{
	size_t i, from = 0;

	if (!json_utf8(s, len))
		luaL_error(L, "json: a string is not valid UTF-8 (bytes go "
		    "through base64.encode)");
	out_add(L, "\"", 1);
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		const char *short_ = "\"\"\\\\\bb\ff\nn\rr\tt";
		char esc[8];
		int n;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		while (*short_ && (unsigned char)*short_ != c)
			short_ += 2;
		if (*short_)
			n = snprintf(esc, sizeof(esc), "\\%c", short_[1]);
		else
			n = snprintf(esc, sizeof(esc), "\\u%04x", c);
		out_add(L, s + from, i - from);
		out_add(L, esc, (size_t)n);
		from = i + 1;
	}
	out_add(L, s + from, len - from);
	out_add(L, "\"", 1);
}

static void
put_number(lua_State *L, int idx)
{
	char text[40];
	double v;
	int n;

	if (lua_isinteger(L, idx)) {
		n = snprintf(text, sizeof(text), "%lld",
		    (long long)lua_tointeger(L, idx));
		out_add(L, text, (size_t)n);
		return;
	}
	v = lua_tonumber(L, idx);
	if (!isfinite(v))
		luaL_error(L, "json: a number is not finite (%f)", v);
	n = snprintf(text, sizeof(text), "%.15g", v);
	if (strtod(text, NULL) != v)
		n = snprintf(text, sizeof(text), "%.17g", v);
	if (!strpbrk(text, ".e"))
		n += snprintf(text + n, sizeof(text) - (size_t)n, ".0");
	out_add(L, text, (size_t)n);
}

static void encode_value(lua_State *L, int idx, int depth);

static bool
is_array(lua_State *L, int idx, lua_Integer n)
{
	bool marked;

	if (n > 0 || !lua_getmetatable(L, idx))
		return n > 0;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
	marked = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return marked;
}

/* Every key must be one of 1…n: something else would be lost. */
static void
encode_array(lua_State *L, int idx, lua_Integer n, int depth)
{
	lua_Integer i, keys = 0;

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		lua_pop(L, 1);
		if (++keys > n)
			break;
	}
	if (keys != n)
		luaL_error(L, "json: a table has both a list and other keys");
	out_add(L, "[", 1);
	for (i = 1; i <= n; i++) {
		if (i > 1)
			out_add(L, ",", 1);
		lua_rawgeti(L, idx, i);
		encode_value(L, lua_gettop(L), depth);
		lua_pop(L, 1);
	}
	out_add(L, "]", 1);
}

static void
encode_object(lua_State *L, int idx, int depth)
{
	bool more = false;
	const char *s;
	size_t len;

	out_add(L, "{", 1);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "json: a table has keys of type %s that "
			    "are no list 1, 2, …; make them strings",
			    luaL_typename(L, -2));
		if (more)
			out_add(L, ",", 1);
		more = true;
		s = lua_tolstring(L, -2, &len);
		put_string(L, s, len);
		out_add(L, ":", 1);
		encode_value(L, lua_gettop(L), depth);
		lua_pop(L, 1);
	}
	out_add(L, "}", 1);
}

static void
encode_table(lua_State *L, int idx, int depth)
{
	lua_Integer n = (lua_Integer)lua_rawlen(L, idx);

	if (depth == LUA_JSON_DEPTH)
		luaL_error(L, "json: nested deeper than 128 levels (a table "
		    "that contains itself?)");
	luaL_checkstack(L, 6, "json");
	if (is_array(L, idx, n))
		encode_array(L, idx, n, depth + 1);
	else
		encode_object(L, idx, depth + 1);
}

static void
encode_value(lua_State *L, int idx, int depth)
{
	const char *s;
	size_t len;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		out_add(L, "null", 4);
		return;
	case LUA_TBOOLEAN:
		s = lua_toboolean(L, idx) ? "true" : "false";
		out_add(L, s, strlen(s));
		return;
	case LUA_TNUMBER:
		put_number(L, idx);
		return;
	case LUA_TSTRING:
		s = lua_tolstring(L, idx, &len);
		put_string(L, s, len);
		return;
	case LUA_TTABLE:
		encode_table(L, idx, depth);
		return;
	default:
		break;
	}
	if (lua_islightuserdata(L, idx) && !lua_touserdata(L, idx))
		out_add(L, "null", 4);
	else
		luaL_error(L, "json: a %s has no JSON form",
		    luaL_typename(L, idx));
}

const char *
lua_json_encode(lua_State *L, int idx, size_t *ret_len)
{
	struct state *st = state_of(L);

	if (st->out_cap > KEEP)
		lua_json_done(st);
	st->out_len = 0;
	encode_value(L, lua_absindex(L, idx), 0);
	*ret_len = st->out_len;
	return st->out;
}

void
lua_json_done(struct state *st)
{
	drop_handle(st);
	if (st->out)
		state_alloc(st, st->out, st->out_cap, 0);
	st->out = NULL;
	st->out_len = st->out_cap = 0;
}

static int
json_encode(lua_State *L)
{
	const char *s;
	size_t len;

	luaL_checkany(L, 1);
	s = lua_json_encode(L, 1, &len);
	lua_pushlstring(L, s, len);
	return 1;
}

static int
json_decode(lua_State *L)
{
	char why[100];
	size_t len;
	const char *s = luaL_checklstring(L, 1, &len);

	if (!lua_json_decode(L, s, len, why, sizeof(why)))
		return luaL_error(L, "json.decode: %s", why);
	return 1;
}

static int
json_array_mark(lua_State *L)
{
	if (lua_isnone(L, 1))
		lua_newtable(L);
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		lua_settop(L, 1);	/* it is one already, or stays so */
	else {
		lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
		lua_setmetatable(L, 1);
	}
	return 1;
}

void
lua_json_open(lua_State *L)
{
	static const luaL_Reg lib[] = {
		{"encode", json_encode},
		{"decode", json_decode},
		{"array", json_array_mark},
		{NULL, NULL},
	};

	lua_createtable(L, 0, 2);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pushliteral(L, "json.array");
	lua_setfield(L, -2, "__name");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
	luaL_newlib(L, lib);
	lua_json_null(L);
	lua_setfield(L, -2, "null");
	lua_setfield(L, -2, "json");
}
