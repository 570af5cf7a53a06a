/* SPDX-License-Identifier: MIT */
#include "script/spec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/load.h"
#include "script/sandbox.h"
#include "script/spec_impl.h"

#define START_MS INT64_C(1767268800000)	/* 2026-01-01 12:00 UTC */
#define DEPTH 16

/* The clock's source has no argument. */
static int64_t passed_ms;

int64_t
spec_now(void)
{
	return START_MS + passed_ms;
}

void
spec_advance(int64_t ms)
{
	passed_ms += ms;
}

static struct clock_time
turned_clock(void)
{
	return (struct clock_time){START_MS + passed_ms, 1000 + passed_ms};
}

static struct spec *
spec_of(lua_State *L)
{
	return (struct spec *)state_of(L)->host;
}

/* --- scripts --- */

static void
actor_free(struct spec *s, struct actor *a)
{
	TAILQ_REMOVE(&s->actors, a, entry);
	state_free(&a->st);
	source_unref(&a->src);
	script_env_unref(&a->env);
	free(a);
}

/* A directory with the secrets of the table at idx. */
static char *
write_secrets(lua_State *L, struct spec *s, int idx)
{
	char *dir = xasprintf("%s/%u", s->dir, s->ndirs++);

	CHECK(mkdir(dir, 0700) == 0);
	lua_pushnil(L);
	while (lua_istable(L, idx) && lua_next(L, idx)) {
		const char *name = lua_tostring(L, -2), *text;
		char *path;
		size_t len;
		int fd;

		text = luaL_tolstring(L, -1, &len);
		path = xasprintf("%s/%s", dir, name);
		fd = strchr(name, '/') ? -1 : open(path, O_WRONLY | O_CREAT |
		    O_CLOEXEC, 0600);
		if (fd >= 0) {
			CHECK(write(fd, text, len) == (ssize_t)len);
			close(fd);
		}
		free(path);
		lua_pop(L, 2);
	}
	return dir;
}

/* The leaves of the table on top as the configuration has them. */
static void
flatten(lua_State *L, struct conf *c, const char *prefix, int depth)
{
	lua_pushnil(L);
	while (depth < DEPTH && lua_next(L, -2)) {
		struct conf_user *u;
		char *name;

		lua_pushvalue(L, -2);
		name = xasprintf("%s%s%s", prefix, *prefix ? "." : "",
		    lua_tostring(L, -1));
		lua_pop(L, 1);
		if (lua_istable(L, -1)) {
			flatten(L, c, name, depth + 1);
			free(name);
			lua_pop(L, 1);
			continue;
		}
		c->user = xrealloc(c->user, (c->nuser + 1) *
		    sizeof(*c->user));
		u = &c->user[c->nuser++];
		*u = (struct conf_user){.name = name, .type = 's'};
		if (lua_isboolean(L, -1)) {
			u->type = 'b';
			u->i = lua_toboolean(L, -1);
		} else if (lua_isinteger(L, -1)) {
			u->type = 'i';
			u->i = lua_tointeger(L, -1);
		} else if (lua_type(L, -1) == LUA_TNUMBER) {
			u->type = 'd';
			u->d = lua_tonumber(L, -1);
		} else {
			u->s = xstrdup(luaL_tolstring(L, -1, NULL));
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
}

static struct script_env *
actor_env(lua_State *L, struct spec *s)
{
	struct conf c = *s->conf;
	struct script_env *env;
	size_t i;

	c.secrets_dir = write_secrets(L, s, 3);
	if (lua_istable(L, 2)) {
		c.user = NULL;
		c.nuser = 0;
		lua_pushvalue(L, 2);
		flatten(L, &c, "", 0);
		lua_pop(L, 1);
	}
	env = script_env_new(&c);
	free(c.secrets_dir);
	for (i = 0; c.user != s->conf->user && i < c.nuser; i++) {
		free(c.user[i].name);
		free(c.user[i].s);
	}
	if (c.user != s->conf->user)
		free(c.user);
	return env;
}

static void
push_info(lua_State *L, const struct script_opts *o)
{
	int i;

	lua_newtable(L);
	lua_pushstring(L, o->queue);
	lua_setfield(L, -2, "queue");
	lua_pushboolean(L, o->opts.batch_max > 0);
	lua_setfield(L, -2, "batch");
	lua_pushinteger(L, o->opts.attempts > 0 ? o->opts.attempts : 12);
	lua_setfield(L, -2, "attempts");
	lua_pushinteger(L, o->opts.timeout_ms > 0 ? o->opts.timeout_ms :
	    60000);
	lua_setfield(L, -2, "timeout_ms");
	lua_pushstring(L, o->hook.name);
	lua_setfield(L, -2, "hook");
	lua_newtable(L);
	for (i = 0; i < (int)o->topics.n; i++) {
		lua_pushstring(L, o->topics.patterns[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, "topics");
}

/* native.load(file, config, secrets): the script and what it declares, or nil
 * and why not. */
static int
spec_load(lua_State *L)
{
	const char *file = luaL_checkstring(L, 1);
	struct spec *s = spec_of(L);
	struct buf why = BUF_INIT;
	struct actor *a = xcalloc(1, sizeof(*a));
	char *text = NULL;

	lua_settop(L, 3);
	TAILQ_INSERT_TAIL(&s->actors, a, entry);
	a->env = actor_env(L, s);
	if (load_file(file, a->env, &a->src, &text) == 0) {
		a->st = state_new(&s->host, a->src, &a->opts, &why);
		if (!a->st)
			text = source_error(file, buf_str(&why));
	}
	buf_done(&why);
	if (!a->st) {
		lua_pushnil(L);
		lua_pushstring(L, text);
		free(text);
		actor_free(s, a);
		return 2;
	}
	lua_pushlightuserdata(L, a);
	push_info(L, &a->opts);
	return 2;
}

/* --- what spec.lua is given --- */

static int
native_now(lua_State *L)
{
	lua_pushinteger(L, spec_now());
	return 1;
}

static int
native_advance(lua_State *L)
{
	lua_Integer ms = luaL_checkinteger(L, 1);

	if (ms > 0)
		spec_advance(ms);
	return 0;
}

/* The scripts of the spec before are not needed any more. */
static int
native_reset(lua_State *L)
{
	struct spec *s = spec_of(L);

	while (!TAILQ_EMPTY(&s->actors))
		actor_free(s, TAILQ_FIRST(&s->actors));
	passed_ms = 0;
	return 0;
}

static int
native_print(lua_State *L)
{
	fputs(luaL_checkstring(L, 1), spec_of(L)->out);
	return 0;
}

static int
native_glob(lua_State *L)
{
	size_t plen, len;
	const char *pattern = luaL_checklstring(L, 1, &plen);
	const char *s = luaL_checklstring(L, 2, &len);

	lua_pushboolean(L, str_glob(pattern, plen, s, len));
	return 1;
}

static int
native_span(lua_State *L)
{
	size_t len;
	const char *s = luaL_tolstring(L, 1, &len);
	int64_t ms;

	if (str_duration(s, len, 1000, &ms) < 0)
		return luaL_error(L, "'%s' is no duration", s);
	lua_pushinteger(L, ms);
	return 1;
}

static int
native_read(lua_State *L)
{
	const char *file = luaL_checkstring(L, 1);
	char *text;
	size_t len;
	int rc = str_read_file(file, 16 << 20, &text, &len);

	if (rc < 0)
		return luaL_error(L, "%s: it cannot be read: %s", file,
		    strerror(-rc));
	lua_pushlstring(L, text, len);
	free(text);
	return 1;
}

static int
native_exists(lua_State *L)
{
	lua_pushboolean(L, access(luaL_checkstring(L, 1), R_OK) == 0);
	return 1;
}

static void
load_chunk(lua_State *L, const char *text, size_t len, const char *name)
{
	if (luaL_loadbufferx(L, text, len, name, "t") != LUA_OK)
		lua_error(L);
	sandbox_env(L, -1);
}

/* 1: path of the file. Runs spec.lua, then the file, then its specs. The
 * numbers of those that passed and failed. */
static int
spec_body(lua_State *L)
{
	static const luaL_Reg native[] = {
		{"load", spec_load},
		{"run", spec_run},
		{"now", native_now},
		{"advance", native_advance},
		{"reset", native_reset},
		{"print", native_print},
		{"glob", native_glob},
		{"span", native_span},
		{"read", native_read},
		{"exists", native_exists},
		{NULL, NULL},
	};
	struct spec *s = spec_of(L);

	load_chunk(L, spec_lua, strlen(spec_lua), "=spec.lua");
	luaL_newlib(L, native);
	load_chunk(L, spec_stream_lua, strlen(spec_stream_lua),
	    "=spec_stream.lua");
	lua_setfield(L, -2, "streams");
	lua_pushvalue(L, 1);
	lua_call(L, 2, 1);
	lua_pushvalue(L, -1);
	s->handlers = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushfstring(L, "@%s", s->st->src->name);
	load_chunk(L, s->st->src->text, s->st->src->len, lua_tostring(L, -1));
	lua_remove(L, -2);
	lua_call(L, 0, 0);
	lua_getfield(L, -1, "finish");
	lua_call(L, 0, 2);
	return 2;
}

/* --- files --- */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
spec_open(struct spec *s, const struct conf *conf, FILE *out)
{
	memset(s, 0, sizeof(*s));
	s->host.memory = &s->memory;
	s->host.ask = spec_ask;
	s->host.nap = spec_nap;
	s->host.log = spec_log;
	s->host.dry = true;
	s->conf = conf;
	s->out = out;
	s->handlers = LUA_NOREF;
	TAILQ_INIT(&s->actors);
	atomic_init(&s->memory.used, 0);
	atomic_init(&s->memory.limit, INT64_MAX);
	strcpy(s->dir, "/tmp/bellhop-test-XXXXXX");
	CHECK(mkdtemp(s->dir));
	cpu_init(&s->host.cpu);
}

static void
spec_close(struct spec *s)
{
	while (!TAILQ_EMPTY(&s->actors))
		actor_free(s, TAILQ_FIRST(&s->actors));
	state_free(&s->st);
	cpu_done(&s->host.cpu);
	nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct totals {
	lua_Integer passed, failed;
};

/* A file that cannot be loaded counts as one that failed. */
static void
run_file(const char *file, const struct conf *conf, FILE *out,
    struct totals *sum)
{
	struct script_env *env = script_env_new(conf);
	struct source *src = NULL;
	struct buf why = BUF_INIT;
	char *text = NULL;
	struct spec s;

	spec_open(&s, conf, out);
	passed_ms = 0;
	if (load_file(file, env, &src, &text) == 0)
		s.st = state_plain(&s.host, src, &why);
	if (s.st) {
		s.st->uncapped = s.st->loading = true;
		lua_pushcfunction(s.st->L, spec_body);
		lua_pushstring(s.st->L, file);
		if (lua_pcall(s.st->L, 1, 2, 0) == LUA_OK) {
			sum->passed += lua_tointeger(s.st->L, -2);
			sum->failed += lua_tointeger(s.st->L, -1);
		} else {
			text = source_error(file, luaL_tolstring(s.st->L, -1,
			    NULL));
			fprintf(out, "%s\n", text);
			sum->failed++;
		}
	} else {
		fprintf(out, "%s\n", text ? text : buf_str(&why));
		sum->failed++;
	}
	spec_close(&s);
	buf_done(&why);
	free(text);
	source_unref(&src);
	script_env_unref(&env);
}

static int
is_spec(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 9 && d->d_name[0] != '.' &&
	    strcmp(d->d_name + n - 9, "_spec.lua") == 0;
}

static size_t
run_dir(const char *dir, const struct conf *conf, FILE *out,
    struct totals *sum)
{
	struct dirent **list;
	int i, n = scandir(dir, &list, is_spec, alphasort);

	for (i = 0; i < n; i++) {
		char *file = xasprintf("%s/%s", dir, list[i]->d_name);

		run_file(file, conf, out, sum);
		free(file);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return n > 0 ? (size_t)n : 0;
}

int
spec_main(const char *path, const struct conf *conf, FILE *out, struct err *e)
{
	struct totals sum = {0, 0};
	struct stat st;
	size_t n = 1;

	if (stat(path, &st) < 0)
		return err_set(e, BH_E_ERR, "%s: it cannot be read: %s", path,
		    strerror(errno));
	unsetenv("CREDENTIALS_DIRECTORY");
	clock_set_source(turned_clock);
	if (S_ISDIR(st.st_mode))
		n = run_dir(path, conf, out, &sum);
	else
		run_file(path, conf, out, &sum);
	clock_set_source(NULL);
	if (n == 0)
		return err_set(e, BH_E_ERR, "%s: there is no file *_spec.lua "
		    "in it", path);
	fprintf(out, "%lld passed, %lld failed\n", (long long)sum.passed,
	    (long long)sum.failed);
	return sum.failed > INT32_MAX ? INT32_MAX : (int)sum.failed;
}
