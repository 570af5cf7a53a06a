/* SPDX-License-Identifier: MIT */
/* redis.call() and the rest of the table `redis`. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/log.h"
#include "base/str.h"
#include "keys/eval.h"

enum { NUMBER_TEXT = 40, LOG_LINES = 100 };

/* Commands that are known, but that no script may run. */
static const char *const no_script[] = {
	"AUTH", "BELLHOP", "BGSAVE", "CLIENT", "COMMAND", "CONFIG", "DEBUG",
	"DISCARD", "EXEC",
	"HELLO", "INFO", "MONITOR", "MULTI", "PSUBSCRIBE", "PUNSUBSCRIBE",
	"QUIT", "RESET", "SAVE", "SHUTDOWN", "SLOWLOG", "SUBSCRIBE", "UNSUBSCRIBE",
	"UNWATCH", "WATCH", "LIMIT.TAKE",
};

static bool
is_no_script(struct bh_bytes name)
{
	static const char *const families[] = {"JOB.", "QUEUE.", "SCHEDULE."};

	for (size_t i = 0; i < nitems(no_script); i++)
		if (str_is(name.data, name.len, no_script[i]))
			return true;
	for (size_t i = 0; i < nitems(families); i++) {
		size_t n = strlen(families[i]);

		if (name.len > n && str_is(name.data, n, families[i]))
			return true;
	}
	return false;
}

/* Why the command may not run, or NULL. */
static const char *
refusal(const struct eval_run *run, const struct kcmd *cmd,
    struct bh_bytes name, size_t argc)
{
	if (!cmd && !is_no_script(name))
		return "ERR Unknown Redis command called from script";
	if (cmd && (cmd->arity < 0 ? argc < (size_t)-cmd->arity :
	    argc != (size_t)cmd->arity))
		return "ERR Wrong number of args calling Redis command from"
		    " script";
	/* XREAD may be called; it does not wait then. */
	if (!cmd || cmd->flags & KF_NOSCRIPT ||
	    (cmd->flags & KF_BLOCKS && cmd->name[0] == 'B'))
		return "ERR This Redis command is not allowed from script";
	if (cmd->flags & KF_ADMIN && !run->admin)
		return "NOPERM the script's caller may not run this command";
	if (run->read_only && cmd->flags & KF_WRITE)
		return "ERR Write commands are not allowed from read-only"
		    " scripts.";
	return NULL;
}

/* The words of the call, which are strings on the stack from 1 on. A number
 * is written so that nothing of it is lost. */
static bool
words_ready(lua_State *L, int argc)
{
	char text[NUMBER_TEXT];

	for (int i = 1; i <= argc; i++) {
		if (lua_type(L, i) == LUA_TSTRING)
			continue;
		if (lua_type(L, i) != LUA_TNUMBER)
			return false;
		if (lua_isinteger(L, i))
			snprintf(text, sizeof(text), "%lld",
			    (long long)lua_tointeger(L, i));
		else
			snprintf(text, sizeof(text), "%.17g",
			    lua_tonumber(L, i));
		lua_pushstring(L, text);
		lua_replace(L, i);
	}
	return true;
}

/* In memory that the stack holds. */
static const struct bh_bytes *
words(lua_State *L, int argc)
{
	struct bh_bytes *argv = lua_newuserdatauv(L,
	    (size_t)argc * sizeof(*argv), 0);

	for (int i = 0; i < argc; i++)
		argv[i].data = lua_tolstring(L, i + 1, &argv[i].len);
	return argv;
}

/* --- a call --- */

/* The end: the answer is the last value; an error is raised if so asked. */
static int
call_end(lua_State *L, struct eval_run *run, bool raise)
{
	bool failed = run->re->items[0].type == BH_ERROR;

	eval_push_value(L, run->re->items, run->resp3);
	eval_call_done(run);
	if (failed && raise)
		return lua_error(L);
	return 1;
}

static int
go_on(lua_State *L, int status, lua_KContext raise)
{
	struct eval_run *run = eval_of(L)->run;

	(void)status;
	while (!inner_step(&run->inner, run->c))
		if (lua_isyieldable(L) && eval_slice_over(run))
			return lua_yieldk(L, 0, raise, go_on);
	return call_end(L, run, raise);
}

static int
fail(lua_State *L, const char *text, bool raise)
{
	eval_push_error(L, text);
	return raise ? lua_error(L) : 1;
}

static int
call(lua_State *L, bool raise)
{
	struct eval_run *run = eval_of(L)->run;
	int argc = lua_gettop(L);
	const struct bh_bytes *argv;
	const struct kcmd *cmd;
	const char *no;

	if (argc == 0)
		return fail(L, "ERR Please specify at least one argument for"
		    " this redis lib call", raise);
	if (!run || !words_ready(L, argc))
		return fail(L, "ERR Lua redis lib command arguments must be"
		    " strings or integers", raise);
	argv = words(L, argc);
	cmd = inner_find(argv[0]);
	no = refusal(run, cmd, argv[0], (size_t)argc);
	if (no)
		return fail(L, no, raise);
	if (run->inner.goes_on)
		return fail(L, "ERR another command is under way", raise);
	eval_call_done(run);
	run->re = reply_new(run->ev->ks);
	if (cmd->flags & KF_WRITE)
		run->wrote = true;
	if (!inner_run(&run->inner, run->c, cmd, argv, (size_t)argc, run->re))
		return go_on(L, LUA_OK, raise);
	return call_end(L, run, raise);
}

static int
redis_call(lua_State *L)
{
	return call(L, true);
}

static int
redis_pcall(lua_State *L)
{
	return call(L, false);
}

/* --- the rest --- */

static int
redis_sha1hex(lua_State *L)
{
	char hex[EVAL_SHA + 1];
	size_t len;
	const char *s;

	if (lua_gettop(L) != 1)
		return fail(L, "ERR wrong number of arguments", true);
	s = lua_tolstring(L, 1, &len);
	eval_sha(s ? s : "", s ? len : 0, hex);
	lua_pushstring(L, hex);
	return 1;
}

static int
one_field(lua_State *L, const char *name)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
		eval_push_error(L, "ERR wrong number or type of arguments");
		return 1;
	}
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, name);
	return 1;
}

static int
redis_status_reply(lua_State *L)
{
	return one_field(L, "ok");
}

/* Without a code of its own an error is an ERR; a dash before it goes. */
static int
redis_error_reply(lua_State *L)
{
	const char *s;

	if (lua_gettop(L) == 1 && lua_type(L, 1) == LUA_TSTRING) {
		s = lua_tostring(L, 1);
		if (*s == '-')
			lua_pushstring(L, s + 1);
		else if (strchr(s, ' '))
			lua_pushvalue(L, 1);
		else
			lua_pushfstring(L, "ERR %s", s);
		lua_replace(L, 1);
	}
	return one_field(L, "err");
}

/* No more than LOG_LINES of one script: a loop is no news. */
static int
redis_log(lua_State *L)
{
	struct eval_run *run = eval_of(L)->run;
	static const enum log_level levels[] = {LOG_DEBUG, LOG_DEBUG,
	    LOG_INFO, LOG_WARN};
	int n = lua_gettop(L);
	lua_Integer level;
	luaL_Buffer b;

	if (n < 2)
		return fail(L, "ERR redis.log() requires two arguments or"
		    " more.", true);
	if (lua_type(L, 1) != LUA_TNUMBER)
		return fail(L, "ERR First argument must be a number (log"
		    " level).", true);
	level = (lua_Integer)lua_tonumber(L, 1);
	if (level < 0 || level >= (lua_Integer)nitems(levels))
		return fail(L, "ERR Invalid debug level.", true);
	luaL_buffinit(L, &b);
	for (int i = 2; i <= n; i++) {
		if (i > 2)
			luaL_addchar(&b, ' ');
		if (lua_isstring(L, i)) {
			lua_pushvalue(L, i);
			luaL_addvalue(&b);
		}
	}
	luaL_pushresult(&b);
	if (!run || run->log_lines++ >= LOG_LINES)
		return 0;
	log_about(levels[level], NULL, "EVAL script: %s", lua_tostring(L, -1));
	return 0;
}

static int
redis_setresp(lua_State *L)
{
	struct eval_run *run = eval_of(L)->run;
	lua_Number n;

	if (lua_gettop(L) != 1)
		return fail(L, "ERR redis.setresp() requires one argument.",
		    true);
	n = lua_tonumber(L, 1);
	if (n != 2 && n != 3)
		return fail(L, "ERR RESP version must be 2 or 3.", true);
	if (run)
		run->resp3 = n == 3;
	return 0;
}

static int
redis_set_repl(lua_State *L)
{
	lua_Number n = lua_tonumber(L, 1);

	if (lua_gettop(L) != 1)
		return fail(L, "ERR redis.set_repl() requires two arguments.",
		    true);
	if (n < 0 || n > 3)
		return fail(L, "ERR Invalid replication flags. Please use"
		    " REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.", true);
	return 0;
}

static int
answer_true(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

static int
answer_false(lua_State *L)
{
	lua_pushboolean(L, 0);
	return 1;
}

static int
no_answer(lua_State *L)
{
	(void)L;
	return 0;
}

int
eval_open_redis(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{"call", redis_call}, {"pcall", redis_pcall},
		{"sha1hex", redis_sha1hex}, {"log", redis_log},
		{"status_reply", redis_status_reply},
		{"error_reply", redis_error_reply},
		{"setresp", redis_setresp}, {"set_repl", redis_set_repl},
		{"replicate_commands", answer_true},
		{"acl_check_cmd", answer_true},
		{"breakpoint", answer_false}, {"debug", no_answer},
		{NULL, NULL},
	};
	static const struct {
		const char *name;
		int value;
	} numbers[] = {
		{"LOG_DEBUG", 0}, {"LOG_VERBOSE", 1}, {"LOG_NOTICE", 2},
		{"LOG_WARNING", 3}, {"REPL_NONE", 0}, {"REPL_AOF", 1},
		{"REPL_SLAVE", 2}, {"REPL_REPLICA", 2}, {"REPL_ALL", 3},
		{"REDIS_VERSION_NUM", 0x07000f},
	};

	luaL_newlib(L, fns);
	for (size_t i = 0; i < nitems(numbers); i++) {
		lua_pushinteger(L, numbers[i].value);
		lua_setfield(L, -2, numbers[i].name);
	}
	lua_pushliteral(L, "7.0.15");
	lua_setfield(L, -2, "REDIS_VERSION");
	return 1;
}
