/* SPDX-License-Identifier: MIT */
/* JSON as scripts read and write it (src/script/lua_json.c): whatever decodes
 * must encode to something that decodes to the same text. */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "script/lua_json.h"
#include "script/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct script_memory memory;
static struct host host = {.memory = &memory};

static struct state *
state_get(void)
{
	static struct state *st;
	struct buf why = BUF_INIT;
	struct script_env env = {.refs = 1, .lua_dir = (char[]){"/nowhere"},
	    .secrets_dir = (char[]){"/nowhere"}, .memory = 64 << 20,
	    .cpu_ms = 60000, .max_payload = 1 << 20, .max_result = 1 << 20};
	static const char text[] =
	    "return { queue = 'q', perform = function() end }";
	static struct script_env *kept;
	struct source *src;

	if (st)
		return st;
	atomic_init(&memory.limit, 256 << 20);
	cpu_init(&host.cpu);
	kept = xmemdup(&env, sizeof(env));
	kept->lua_dir = xstrdup(env.lua_dir);
	kept->secrets_dir = xstrdup(env.secrets_dir);
	src = source_new("fuzz.lua", xstrdup(text), sizeof(text) - 1, kept);
	st = state_new(&host, src, NULL, &why);
	CHECK(st);
	return st;
}

/* 1, 2: the text and its length. */
static int
round_trip(lua_State *L)
{
	const char *text = lua_touserdata(L, 1);
	size_t len = (size_t)lua_tointeger(L, 2), n, again;
	char why[100], *first;
	const char *s;

	if (!lua_json_decode(L, text, len, why, sizeof(why)))
		return 0;
	s = lua_json_encode(L, -1, &n);
	lua_pushlstring(L, s, n);
	first = lua_newuserdatauv(L, n + 1, 0);
	memcpy(first, s, n);
	CHECK(lua_json_decode(L, first, n, why, sizeof(why)));
	lua_json_encode(L, -1, &again);
	CHECK(again == n);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state *st = state_get();

	lua_pushcfunction(st->L, round_trip);
	lua_pushlightuserdata(st->L, (void *)(uintptr_t)data);
	lua_pushinteger(st->L, (lua_Integer)size);
	if (lua_pcall(st->L, 2, 0, 0) != LUA_OK)
		CHECK(strstr(lua_tostring(st->L, -1), "json: ") ||
		    strstr(lua_tostring(st->L, -1), "memory"));
	lua_settop(st->L, 0);
	return 0;
}
