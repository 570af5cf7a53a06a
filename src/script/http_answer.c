/* SPDX-License-Identifier: MIT */
#include "script/http_answer.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "script/lua_json.h"
#include "script/lua_time.h"

static const char meta_key;		/* registry: metatable of answers */

static int
json_type(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] != ';' && s[n] != ' ')
		n++;
	return str_is(s, n, "application/json") ||
	    str_is(s, n, "text/json") ||
	    (n > 5 && str_is(s + n - 5, 5, "+json"));
}

/* __index of an answer: json is decoded when it is first asked for. */
static int
answer_index(lua_State *L)
{
	const char *s, *name = lua_tostring(L, 2);
	size_t len;

	if (!name || strcmp(name, "json") != 0 || !lua_istable(L, 1))
		return 0;
	lua_settop(L, 2);
	lua_getfield(L, 1, "headers");
	if (!lua_istable(L, 3))
		return 0;
	lua_getfield(L, 3, "content-type");
	s = lua_tolstring(L, 4, &len);
	if (s && !json_type(s, len))
		return 0;
	lua_getfield(L, 1, "body");
	s = lua_tolstring(L, 5, &len);
	if (!s || !lua_json_decode(L, s, len, NULL, 0))
		return 0;
	lua_pushvalue(L, 2);
	lua_pushvalue(L, -2);
	lua_rawset(L, 1);
	return 1;
}

/* Adds one header line to the table on top. */
static void
push_header(lua_State *L, const char *name, size_t nlen, const char *value,
    size_t vlen)
{
	luaL_Buffer b;
	char *to;
	size_t i;

	to = luaL_buffinitsize(L, &b, nlen);
	for (i = 0; i < nlen; i++)
		to[i] = (char)tolower((unsigned char)name[i]);
	luaL_pushresultsize(&b, nlen);
	lua_pushvalue(L, -1);
	lua_rawget(L, -3);			/* headers name old */
	if (str_is(name, nlen, "set-cookie")) {
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			lua_newtable(L);
		}
		lua_pushlstring(L, value, vlen);
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	} else if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushlstring(L, value, vlen);
	} else {
		lua_pushliteral(L, ", ");
		lua_pushlstring(L, value, vlen);
		lua_concat(L, 3);
	}
	lua_rawset(L, -3);
}

static void
push_headers(lua_State *L, const struct buf *head)
{
	const char *p = buf_peek(head), *end = p + buf_size(head);

	lua_createtable(L, 0, 8);
	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		const char *next = eol ? eol + 1 : end, *colon;

		if (!eol)
			eol = end;
		while (eol > p && (eol[-1] == '\r' || eol[-1] == ' ' ||
		    eol[-1] == '\t'))
			eol--;
		colon = memchr(p, ':', (size_t)(eol - p));
		if (colon) {
			const char *v = colon + 1;

			while (v < eol && (*v == ' ' || *v == '\t'))
				v++;
			push_header(L, p, (size_t)(colon - p), v,
			    (size_t)(eol - v));
		}
		p = next;
	}
}

/* Seconds; nil when the server does not say. The headers are at idx. */
static void
push_retry_after(lua_State *L, int idx)
{
	const char *s;
	int64_t v, at;
	size_t len;

	lua_getfield(L, idx, "retry-after");
	s = lua_tolstring(L, -1, &len);
	if (!s) {
		lua_pushnil(L);
	} else if (str_int(s, len, &v) == 0 && v >= 0) {
		lua_pushinteger(L, v);
	} else if ((at = http_date(s, len)) >= 0) {
		v = at - clock_now().wall_ms;
		lua_pushinteger(L, v > 0 ? (v + 999) / 1000 : 0);
	} else {
		lua_pushnil(L);
	}
	lua_remove(L, -2);
}

void
http_answer_push(lua_State *L, const struct http_call *h)
{
	lua_createtable(L, 0, 6);
	lua_pushinteger(L, h->status);
	lua_setfield(L, -2, "status");
	push_headers(L, &h->head);
	push_retry_after(L, lua_gettop(L));
	if (lua_isnil(L, -1))
		lua_pop(L, 1);
	else
		lua_setfield(L, -3, "retry_after");
	lua_setfield(L, -2, "headers");
	lua_pushlstring(L, buf_size(&h->reply) ? buf_peek(&h->reply) : "",
	    buf_size(&h->reply));
	lua_setfield(L, -2, "body");
	lua_pushstring(L, h->final_url ? h->final_url : h->url);
	lua_setfield(L, -2, "url");
	lua_pushnumber(L, (double)h->elapsed_us / 1e6);
	lua_setfield(L, -2, "elapsed");
	lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
	lua_setmetatable(L, -2);
}

void
http_answer_open(lua_State *L)
{
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, answer_index);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
}
