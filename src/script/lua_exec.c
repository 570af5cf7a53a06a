/* SPDX-License-Identifier: MIT */
#include "script/lua_exec.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/call.h"
#include "script/lua_time.h"
#include "script/state.h"

#define TIMEOUT_MS 30000
#define OUTPUT_MAX (1024 * 1024)
#define OUTPUT_CEILING (64 * 1024 * 1024)
#define WORDS_MAX 256

/* A program finds itself in the same surroundings whoever started Bellhop. */
static const char *const surroundings[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C.UTF-8",
	"HOME=/",
};

/* The question while it is read; strings are on the Lua stack: argv at 4…,
 * then the environment. */
struct ask_exec {
	lua_State *L;
	const char *argv[WORDS_MAX + 2];
	size_t argc;
	const char *envp[WORDS_MAX + 1];
	size_t nenv;
	const char *input;
	size_t input_len;
	int64_t timeout_ms, max_output;
};

/* The string or number at idx as one without a zero byte; it stays on the
 * stack. */
static const char *
check_word(lua_State *L, int idx, const char *what)
{
	const char *s;
	size_t len;

	if (lua_type(L, idx) != LUA_TSTRING && lua_type(L, idx) != LUA_TNUMBER)
		luaL_error(L, "exec: %s must be a string, not a %s", what,
		    luaL_typename(L, idx));
	s = luaL_tolstring(L, idx, &len);
	if (strlen(s) != len)
		luaL_error(L, "exec: %s has a zero byte", what);
	return s;
}

static void
check_allowed(lua_State *L, const char *path)
{
	char *const *list = state_of(L)->src->env->exec_allow;
	size_t i;

	if (path[0] != '/')
		luaL_error(L, "exec: '%s' is no absolute path", path);
	if (state_of(L)->host->dry)
		return;
	for (i = 0; list[i]; i++)
		if (strcmp(list[i], path) == 0)
			return;
	luaL_error(L, "exec: '%s' is not in exec_allow", path);
}

static void
read_args(struct ask_exec *x)
{
	lua_State *L = x->L;
	lua_Integer i, n;

	x->argv[x->argc++] = lua_tostring(L, 1);
	if (lua_isnil(L, 2))
		return;
	if (!lua_istable(L, 2))
		luaL_error(L, "exec: the arguments must be a list, not a %s",
		    luaL_typename(L, 2));
	n = luaL_len(L, 2);
	if (n > WORDS_MAX)
		luaL_error(L, "exec: more than %d arguments", WORDS_MAX);
	luaL_checkstack(L, 2 * (int)n + 20, "exec");
	for (i = 1; i <= n; i++) {
		lua_geti(L, 2, i);
		x->argv[x->argc++] = check_word(L, -1, "an argument");
		lua_remove(L, -2);
	}
}

static bool
env_name_ok(const char *s)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	return i > 0 && !isdigit((unsigned char)s[0]) &&
	    strncmp(s, "LD_", 3) != 0;
}

/* option env, on top; what is left on the stack holds the strings. */
static void
read_env(struct ask_exec *x)
{
	lua_State *L = x->L;
	int at = lua_gettop(L);
	const char *name, *value;

	if (!lua_istable(L, at))
		luaL_error(L, "exec: option 'env' must be a table");
	luaL_checkstack(L, WORDS_MAX + 20, "exec");
	lua_pushnil(L);
	while (lua_next(L, at)) {
		name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) :
		    "";
		if (!env_name_ok(name))
			luaL_error(L, "exec: option 'env': '%s' is refused as "
			    "a name", name);
		if (x->nenv == WORDS_MAX - nitems(surroundings))
			luaL_error(L, "exec: option 'env' has too many names");
		value = check_word(L, -1, "a value of option 'env'");
		x->envp[x->nenv++] = lua_pushfstring(L, "%s=%s", name, value);
		/* table … name value text pair: only the pair stays, below. */
		lua_insert(L, -4);
		lua_pop(L, 2);
	}
}

static void
read_limit(struct ask_exec *x)
{
	lua_State *L = x->L;
	int64_t v = -1;
	const char *s;
	size_t len;

	if (lua_isinteger(L, -1)) {
		v = lua_tointeger(L, -1);
	} else if (lua_type(L, -1) == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &len);
		if (str_size(s, len, &v) < 0)
			v = -1;
	}
	if (v < 1 || v > OUTPUT_CEILING)
		luaL_error(L, "exec: option 'max_output' expects bytes or a "
		    "size such as \"1MiB\", at most 64 MiB");
	x->max_output = v;
}

static void
read_opt(struct ask_exec *x, const char *name)
{
	lua_State *L = x->L;

	if (strcmp(name, "stdin") == 0) {
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "exec: option 'stdin' must be a string");
		x->input = lua_tolstring(L, -1, &x->input_len);
	} else if (strcmp(name, "timeout") == 0) {
		x->timeout_ms = lua_span(L, -1, "exec: option 'timeout'",
		    false);
		if (x->timeout_ms < 1)
			luaL_error(L, "exec: option 'timeout' must be at "
			    "least 1ms");
	} else if (strcmp(name, "max_output") == 0) {
		read_limit(x);
	} else if (strcmp(name, "env") == 0) {
		read_env(x);
	} else {
		luaL_error(L, "exec: unknown option '%s'", name);
	}
}

/* The options' table holds their strings but those of env. */
static void
read_opts(struct ask_exec *x)
{
	lua_State *L = x->L;

	if (lua_isnil(L, 3))
		return;
	if (!lua_istable(L, 3))
		luaL_error(L, "exec: the options must be a table, not a %s",
		    luaL_typename(L, 3));
	lua_pushnil(L);
	while (lua_next(L, 3)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "exec: unknown option '%s'",
			    luaL_tolstring(L, -2, NULL));
		if (strcmp(lua_tostring(L, -2), "env") != 0)
			read_opt(x, lua_tostring(L, -2));
		lua_pop(L, 1);
	}
	lua_getfield(L, 3, "env");
	if (!lua_isnil(L, -1))
		read_opt(x, "env");
}

static char **
copy_list(const char *const *list, size_t n, const char *const *more,
    size_t nmore)
{
	char **to = xcalloc(n + nmore + 1, sizeof(*to));
	size_t i;

	for (i = 0; i < n; i++)
		to[i] = xstrdup(list[i]);
	for (i = 0; i < nmore; i++)
		to[n + i] = xstrdup(more[i]);
	return to;
}

static void
push_stream(lua_State *L, const struct buf *b, const char *name)
{
	lua_pushlstring(L, buf_size(b) ? buf_peek(b) : "", buf_size(b));
	lua_setfield(L, -2, name);
}

static int
exec_end(lua_State *L, int status, lua_KContext ctx)
{
	const struct exec_call *x =
	    (struct exec_call *)state_of(L)->run->called;

	(void)status;
	(void)ctx;
	if (x->call.error)
		return luaL_error(L, "exec %s: %s", x->argv[0],
		    x->call.error);
	lua_createtable(L, 0, 4);
	if (x->signal)
		lua_pushinteger(L, x->signal);
	else
		lua_pushinteger(L, x->status);
	lua_setfield(L, -2, x->signal ? "signal" : "status");
	push_stream(L, &x->out, "stdout");
	push_stream(L, &x->err, "stderr");
	return 1;
}

static int
exec_call(lua_State *L)
{
	struct ask_exec a = {.L = L, .timeout_ms = TIMEOUT_MS,
	    .max_output = OUTPUT_MAX};
	struct state *st = state_of(L);
	struct exec_call *x;

	call_check(L, "exec");
	lua_settop(L, 3);
	check_word(L, 1, "the program");
	lua_replace(L, 1);
	check_allowed(L, lua_tostring(L, 1));
	read_args(&a);
	read_opts(&a);
	cpu_guard(&st->host->cpu);
	x = call_new(CALL_EXEC, sizeof(*x), st->src->env);
	x->argv = copy_list(a.argv, a.argc, NULL, 0);
	x->envp = copy_list(surroundings, nitems(surroundings), a.envp,
	    a.nenv);
	if (a.input_len) {
		x->input = xmemdup(a.input, a.input_len);
		x->input_len = a.input_len;
	}
	x->timeout_ms = a.timeout_ms;
	x->max_output = a.max_output;
	cpu_unguard(&st->host->cpu);
	return call_wait(L, &x->call, 0, exec_end);
}

void
lua_exec_open(lua_State *L)
{
	lua_pushcfunction(L, exec_call);
	lua_setfield(L, -2, "exec");
}
