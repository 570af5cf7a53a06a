/* SPDX-License-Identifier: MIT */
#include "script/lua_misc.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "script/sandbox.h"
#include "script/secret.h"
#include "script/state.h"

#define MODULE_MAX (1024 * 1024)

static const char modules_key;		/* registry: name -> value, or false */

static void
push_user(lua_State *L, const struct conf_user *u)
{
	if (u->type == 's')
		lua_pushstring(L, u->s);
	else if (u->type == 'i')
		lua_pushinteger(L, u->i);
	else if (u->type == 'd')
		lua_pushnumber(L, u->d);
	else
		lua_pushboolean(L, u->i != 0);
}

/* The name of a setting; a number stands for its place in a list, since no
 * name begins with a digit. */
static void
push_key(lua_State *L, const char *name, size_t len)
{
	int64_t at;

	if (name[0] >= '0' && name[0] <= '9' && str_int(name, len, &at) == 0)
		lua_pushinteger(L, at);
	else
		lua_pushlstring(L, name, len);
}

/* Puts "a.b.c" = value into the table on top, making tables on the way. */
static void
set_user(lua_State *L, const struct conf_user *u)
{
	const char *name = u->name, *dot;
	int top = lua_gettop(L);

	while ((dot = strchr(name, '.'))) {
		push_key(L, name, (size_t)(dot - name));
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) != LUA_TTABLE) {
			lua_pop(L, 1);
			lua_newtable(L);
			lua_insert(L, -2);
			lua_pushvalue(L, -2);
			lua_rawset(L, -4);
		} else {
			lua_remove(L, -2);
		}
		name = dot + 1;
	}
	push_key(L, name, strlen(name));
	push_user(L, u);
	lua_rawset(L, -3);
	lua_settop(L, top);
}

/* A file into a string that Lua owns. 0, or -errno. */
static int
push_file(lua_State *L, const char *path, size_t max)
{
	struct state *st = state_of(L);
	size_t len = 0;
	int rc;

	cpu_guard(&st->host->cpu);
	free(st->file);
	st->file = NULL;
	rc = str_read_file(path, max, &st->file, &len);
	cpu_unguard(&st->host->cpu);
	if (rc == 0)
		lua_pushlstring(L, st->file, len);
	return rc;
}

void
lua_misc_secret(lua_State *L, const char *name)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	struct state *st = state_of(L);
	const char *dir = st->src->env->secrets_dir;
	size_t len;
	int rc;

	cpu_guard(&st->host->cpu);
	free(st->file);
	st->file = NULL;
	rc = secret_read(dir, name, &st->file, &len);
	cpu_unguard(&st->host->cpu);
	if (rc < 0)
		luaL_error(L, "secret '%s' cannot be read from %s%s%s: "
		    "%s", name, credentials ? credentials : "",
		    credentials ? " or " : "", dir, strerror(-rc));
	lua_pushlstring(L, st->file, len);
}

static int
misc_secret(lua_State *L)
{
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len);

	luaL_argcheck(L, secret_name_ok(name, len), 1, "a secret's name is "
	    "made of letters, digits, '_', '.' and '-'");
	lua_misc_secret(L, name);
	return 1;
}

/* Runs the file of module `name`; its value is left on the stack. */
static void
run_module(lua_State *L, const char *name)
{
	const char *path = luaL_gsub(L, name, ".", "/"), *text;
	size_t len;
	int rc;

	path = lua_pushfstring(L, "%s/%s.lua", state_of(L)->src->env->lua_dir,
	    path);
	rc = push_file(L, path, MODULE_MAX);
	if (rc < 0)
		luaL_error(L, "module '%s' cannot be read: %s: %s", name, path,
		    strerror(-rc));
	text = lua_tolstring(L, -1, &len);
	lua_pushfstring(L, "@%s.lua", name);
	if (luaL_loadbufferx(L, text, len, lua_tostring(L, -1), "t") != LUA_OK)
		lua_error(L);
	sandbox_env(L, -1);
	lua_pushstring(L, name);
	lua_call(L, 1, 1);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	}
}

/* Each module is run once in a state. Without yields: no other run can see
 * one that is half loaded. */
static int
misc_require(lua_State *L)
{
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len);
	int type;

	luaL_argcheck(L, secret_name_ok(name, len), 1, "a module's name is made "
	    "of letters, digits, '_', '-' and dots between");
	lua_settop(L, 1);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
	type = lua_getfield(L, 2, name);
	if (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))
		return luaL_error(L, "module '%s' requires itself, or failed "
		    "before", name);
	if (type != LUA_TNIL)
		return 1;
	lua_pushboolean(L, 0);
	lua_setfield(L, 2, name);
	run_module(L, name);
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

/* The libraries of plugins: globals, and modules that are there already.
 * The globals and the modules are the two topmost values. */
static void
open_plugins(lua_State *L, const struct script_env *env)
{
	for (size_t i = 0; i < env->nlibs; i++) {
		lua_pushcfunction(L, env->libs[i].open);
		lua_call(L, 0, 1);
		lua_pushvalue(L, -1);
		lua_setfield(L, -3, env->libs[i].name);
		lua_setfield(L, -3, env->libs[i].name);
	}
}

void
lua_misc_open(lua_State *L)
{
	const struct script_env *env = state_of(L)->src->env;
	size_t i;

	lua_newtable(L);
	for (i = 0; i < env->nuser; i++)
		set_user(L, &env->user[i]);
	lua_setfield(L, -2, "config");
	lua_pushcfunction(L, misc_secret);
	lua_setfield(L, -2, "secret");
	lua_pushcfunction(L, misc_require);
	lua_setfield(L, -2, "require");
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &modules_key);
	open_plugins(L, env);
	lua_pop(L, 1);
}
