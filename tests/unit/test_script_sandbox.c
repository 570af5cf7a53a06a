/* SPDX-License-Identifier: MIT */
/* What scripts may not do, and how they are stopped: src/script/sandbox.c,
 * cpu.c, state.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "lib/luafix.h"
#include "script/source.h"
#include "script/state.h"

/* ThreadSanitizer holds signals back while foreign code spins. */
#ifdef __SANITIZE_THREAD__
#define NEEDS_TICKS() skip()
#else
#define NEEDS_TICKS() (void)0
#endif

#define SPIN "local function spin() while true do end end\n"
#define NUMBERS "local t = {} for i = 1, 3000 do t[i] = i * 7919 % 3001 end\n"

static void
assert_killed(struct luafix *f, const char *body)
{
	f->conf.script_cpu = 100;
	assert_non_null(strstr(luafix_error(f, body), "CPU budget"));
}

static void
assert_stuck(struct luafix *f, const char *body)
{
	f->conf.script_cpu = 50;
	assert_non_null(strstr(luafix_error(f, body),
	    "stuck in a C function"));
}

static void
test_dangerous_functions_are_missing(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "for _, n in ipairs { 'coroutine', 'io', 'debug', 'package', "
	    "'load', 'loadfile', 'dofile', 'collectgarbage', 'warn' } do\n"
	    "  assert(_G[n] == nil, n)\n"
	    "end\n"
	    "assert(string.dump == nil)\n"
	    "for _, n in ipairs { 'execute', 'exit', 'getenv', 'remove', "
	    "'rename', 'setlocale', 'tmpname' } do\n"
	    "  assert(os[n] == nil, n)\n"
	    "end\n"
	    "return true"), "true");
}

static void
test_string_metatable_is_locked(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "assert(getmetatable('') == false)\n"
	    "return (pcall(setmetatable, '', {}))"), "false");
}

static void
test_globals_are_read_only_in_a_job(void **state)
{
	struct luafix *f = *state;

	assert_non_null(strstr(luafix_error(f, "counter = 1"),
	    "global 'counter'"));
	assert_non_null(strstr(luafix_error(f, "rawset(_G, 'x', 1)"),
	    "globals"));
	assert_non_null(strstr(luafix_error(f, "setmetatable(_ENV, nil)"),
	    "protected"));
	assert_non_null(strstr(luafix_error(f, "table.insert(_G, 1)"),
	    "global '1'"));
}

static void
test_globals_may_be_set_while_loading(void **state)
{
	assert_int_equal(luafix_check(*state, "function helper() return 1 end\n"
	    "x = helper() assert(x == 1)\n"
	    "return { queue = 'q', perform = helper }"), 0);
}

static void
test_gc_metamethod_is_refused(void **state)
{
	assert_non_null(strstr(luafix_error(*state,
	    "setmetatable({}, { __gc = function() while true do end end })"),
	    "__gc"));
}

static void
test_bytecode_is_refused(void **state)
{
	assert_int_equal(luafix_check(*state, "\x1bLua\x54"), -1);
}

static void
test_pcall_and_xpcall_behave_as_lua(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "local a, b, c = pcall(function(x) return x, 2 end, 1)\n"
	    "assert(a == true and b == 1 and c == 2)\n"
	    "a, b = pcall(error, { code = 7 })\n"
	    "assert(a == false and b.code == 7)\n"
	    "a, b, c = xpcall(function(x, y) return x + y end, print, 3, 4)\n"
	    "assert(a == true and b == 7 and c == nil)\n"
	    "a, b, c = xpcall(error, function(e) return e .. '!', 5 end, 'x')\n"
	    "assert(a == false and b == 'x!' and c == 5)\n"
	    "a, b = pcall(function() sleep(0.001) error('late', 0) end)\n"
	    "assert(a == false and b == 'late')\n"
	    "return xpcall(function() sleep(0.001) return 1 end, print)"),
	    "true");
}

static void
test_pattern_that_matches_quickly_is_fine(void **state)
{
	assert_string_equal(luafix_result(*state,
	    "return ('a=1, b=2'):gsub('%w+=(%w+)', '%1')"), "\"1, 2\"");
}

static void
test_memory_eater_fails_alone(void **state)
{
	struct luafix *f = *state;

	f->conf.script_memory = 8 << 20;
	f->conf.script_cpu = 20000;
	assert_non_null(strstr(luafix_error(f,
	    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t "
	    "end"), "not enough memory"));
	assert_string_equal(luafix_result(f, "return 1"), "1");
}

static void
test_memory_of_all_scripts_is_limited_too(void **state)
{
	struct luafix *f = *state;

	f->conf.scripts_memory = 4 << 20;
	assert_non_null(strstr(luafix_error(f,
	    "local s = ('x'):rep(6 * 1024 * 1024)"), "not enough memory"));
}

static void
test_rep_bomb_is_refused(void **state)
{
	assert_non_null(strstr(luafix_error(*state,
	    "return #('x'):rep(1 << 30)"), "not enough memory"));
	assert_non_null(strstr(luafix_error(*state,
	    "return #('x'):rep(1 << 62, 'y')"), "too large"));
}

static void
test_endless_recursion_is_an_error(void **state)
{
	struct luafix *f = *state;

	f->conf.script_memory = f->conf.scripts_memory = (int64_t)1 << 30;
	f->conf.script_cpu = 10000;
	assert_non_null(strstr(luafix_error(f,
	    "local function f() return 1 + f() end f()"), "stack overflow"));
	assert_non_null(strstr(luafix_error(f,
	    "local t = setmetatable({}, {}) getmetatable(t).__index = "
	    "function(s, k) return s[k .. 'x'] end return t.a"), "overflow"));
}

static void
test_script_that_spins_while_loading_is_refused(void **state)
{
	NEEDS_TICKS();
	struct luafix *f = *state;

	f->conf.script_cpu = 100;
	assert_int_equal(luafix_check(f, "while true do end"), -1);
	assert_non_null(strstr(f->e.text, "CPU budget"));
}

static void
test_pcall_cannot_catch_the_budget(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, "while true do pcall(function() "
	    "while true do end end) end");
}

static void
test_sort_spinner_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, SPIN NUMBERS
	    "table.sort(t, function() spin() end)");
}

static void
test_sort_with_pcall_inside_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, SPIN NUMBERS
	    "while true do pcall(table.sort, t, function() "
	    "while true do pcall(spin) end end) end");
}

static void
test_xpcall_handler_cannot_spin(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, SPIN NUMBERS
	    "xpcall(function() table.sort(t, spin) end, spin)");
}

static void
test_close_spinner_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, SPIN NUMBERS
	    "local x <close> = setmetatable({}, { __close = spin })\n"
	    "table.sort(t, function()\n"
	    "  local y <close> = setmetatable({}, { __close = spin })\n"
	    "  spin()\n"
	    "end)");
}

static void
test_tostring_spinner_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, SPIN
	    "error(setmetatable({}, { __tostring = spin }))");
}

static void
test_gsub_spinner_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_killed(*state, SPIN "('abc'):gsub('.', spin)");
}

static void
test_catastrophic_pattern_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_stuck(*state, "return ('a'):rep(28):find(('a?'):rep(28) .. "
	    "('a'):rep(28) .. 'b')");
}

static void
test_endless_c_loop_is_stopped(void **state)
{
	NEEDS_TICKS();
	assert_stuck(*state, "table.move({}, 1, 1 << 60, 2)");
}

static void
test_c_callback_loop_is_stopped_outside_locks(void **state)
{
	NEEDS_TICKS();
	struct luafix *f = *state;

	f->conf.script_memory = f->conf.scripts_memory = (int64_t)1 << 30;
	assert_stuck(f, "(('x'):rep(1000):rep(20000)):gsub('.', os.date)");
}

static void
test_verdict_passes_every_pcall(void **state)
{
	const char *e = luafix_error(*state,
	    "pcall(function() xpcall(function() job:fail('enough') end, "
	    "print) end) error('not reached')");

	assert_string_equal(e, "failed for good: enough");
}

/* automake names the source's directory; by hand, the compiler knew it. */
static char *
read_manual(void)
{
	static const char here[] = "tests/unit/test_script_sandbox.c";
	const char *dir = getenv("srcdir");
	char path[400], *text;
	size_t len;

	if (dir)
		snprintf(path, sizeof(path), "%s/doc/bellhop-lua.7.scd", dir);
	else
		snprintf(path, sizeof(path), "%.*sdoc/bellhop-lua.7.scd",
		    (int)(strlen(__FILE__) - strlen(here)), __FILE__);
	if (str_read_file(path, 1 << 20, &text, &len) != 0)
		fail_msg("%s cannot be read", path);
	return text;
}

/* Functions of the table on the stack as PREFIX + name, "*name" where only
 * the first of a family has the prefix. The number of them. */
static int
look_up(lua_State *L, const char *manual, const char *prefix)
{
	int n = 0;

	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = lua_tostring(L, -2);
		char full[100], alone[100];

		snprintf(full, sizeof(full), "*%s%s", prefix, name);
		snprintf(alone, sizeof(alone), "*%s*", name);
		if (lua_isfunction(L, -1) && name[0] != '_') {
			n++;
			if (!strstr(manual, full) && !strstr(manual, alone))
				fail_msg("bellhop-lua(7) does not know %s%s",
				    prefix, name);
		}
		lua_pop(L, 1);
	}
	return n;
}

/* Lua's own libraries need no more than their name there. */
static bool
is_luas_own(const char *name)
{
	static const char *const own[] = {"string", "table", "math", "utf8",
	    "_G"};

	for (size_t i = 0; i < nitems(own); i++)
		if (strcmp(own[i], name) == 0)
			return true;
	return false;
}

/* The methods are in the only upvalue of the __index of jobs. */
static void
push_job_methods(lua_State *L)
{
	lua_pushnil(L);
	while (lua_next(L, LUA_REGISTRYINDEX)) {
		if (lua_istable(L, -1) &&
		    lua_getfield(L, -1, "__name") == LUA_TSTRING &&
		    strcmp(lua_tostring(L, -1), "job") == 0) {
			lua_getfield(L, -2, "__index");
			assert_non_null(lua_getupvalue(L, -1, 1));
			return;
		}
		lua_settop(L, 1);
	}
	fail_msg("there is no metatable of jobs");
}

static void
test_the_manual_names_every_function(void **state)
{
	char *manual = read_manual(), prefix[100];
	struct luafix *f = *state;
	struct script_memory memory = {.limit = (long long)1 << 30};
	struct host host = {.memory = &memory};
	struct script_env *env = script_env_new(&f->conf);
	struct source *src = source_new("x.lua", xstrdup(""), 0, env);
	struct buf why = BUF_INIT;
	struct state *st = state_plain(&host, src, &why);
	lua_State *L = st->L;

	lua_pushglobaltable(L);
	assert_true(look_up(L, manual, "") > 20);
	lua_pushnil(L);
	while (lua_next(L, 1)) {
		const char *name = lua_tostring(L, -2);

		snprintf(prefix, sizeof(prefix), "*%s*", name);
		if (lua_istable(L, -1) && is_luas_own(name)) {
			if (strcmp(name, "_G") != 0 && !strstr(manual, prefix))
				fail_msg("bellhop-lua(7) does not name %s",
				    name);
		} else if (lua_istable(L, -1)) {
			snprintf(prefix, sizeof(prefix), "%s.", name);
			assert_true(look_up(L, manual, prefix) > 0 ||
			    strcmp(name, "config") == 0);
		}
		lua_pop(L, 1);
	}
	lua_settop(L, 0);
	push_job_methods(L);
	assert_true(look_up(L, manual, "job:") >= 8);
	state_free(&st);
	source_unref(&src);
	script_env_unref(&env);
	buf_done(&why);
	free(manual);
}

#define T(name) cmocka_unit_test_setup_teardown(name, luafix_setup, \
	luafix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_dangerous_functions_are_missing),
		T(test_string_metatable_is_locked),
		T(test_globals_are_read_only_in_a_job),
		T(test_globals_may_be_set_while_loading),
		T(test_gc_metamethod_is_refused),
		T(test_bytecode_is_refused),
		T(test_pcall_and_xpcall_behave_as_lua),
		T(test_pattern_that_matches_quickly_is_fine),
		T(test_memory_eater_fails_alone),
		T(test_memory_of_all_scripts_is_limited_too),
		T(test_rep_bomb_is_refused),
		T(test_endless_recursion_is_an_error),
		T(test_verdict_passes_every_pcall),
		T(test_script_that_spins_while_loading_is_refused),
		T(test_pcall_cannot_catch_the_budget),
		T(test_sort_spinner_is_stopped),
		T(test_sort_with_pcall_inside_is_stopped),
		T(test_xpcall_handler_cannot_spin),
		T(test_close_spinner_is_stopped),
		T(test_tostring_spinner_is_stopped),
		T(test_gsub_spinner_is_stopped),
		T(test_catastrophic_pattern_is_stopped),
		T(test_endless_c_loop_is_stopped),
		T(test_c_callback_loop_is_stopped_outside_locks),
		T(test_the_manual_names_every_function),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
