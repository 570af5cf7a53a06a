/* SPDX-License-Identifier: MIT */
#include "script/lua_hook.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "script/lua_ask.h"
#include "script/lua_job.h"
#include "script/lua_json.h"
#include "script/run.h"
#include "script/secret.h"

#define JOBS_MAX 10000			/* of one webhook */
#define BYTES_MAX (64 << 20)

static const char request_key;		/* registry: metatable of requests */

struct hook_state {
	struct hook_opts opts;
	struct bh_bytes secrets[HOOK_SECRETS];
	char *texts[HOOK_SECRETS];	/* what they point to */
	uint64_t generation;		/* of the load that they are from */
	char *broken;			/* why they cannot be read */
};

/* --- what a script declares --- */

/* Keeps field `name` of the table on top as function `what`. */
static void
keep(lua_State *L, struct state *st, enum run_what what, const char *name)
{
	lua_pushstring(L, name);
	if (lua_rawget(L, -2) == LUA_TNIL)
		lua_pop(L, 1);
	else
		st->fn[what] = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* __index of a request: json is decoded when it is asked for. */
static int
request_index(lua_State *L)
{
	const char *body;
	size_t len;

	if (lua_type(L, 2) != LUA_TSTRING ||
	    strcmp(lua_tostring(L, 2), "json") != 0)
		return 0;
	lua_pushliteral(L, "body");
	lua_rawget(L, 1);
	body = lua_tolstring(L, -1, &len);
	if (!body || !lua_json_decode(L, body, len, NULL, 0))
		return 0;
	lua_pushvalue(L, 2);
	lua_pushvalue(L, -2);
	lua_rawset(L, 1);
	return 1;
}

static void
keep_request_meta(lua_State *L)
{
	lua_newtable(L);
	lua_pushcfunction(L, request_index);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &request_key);
}

void
lua_hook_keep(lua_State *L, struct state *st, const struct script_opts *opts)
{
	st->fn[RUN_HOOK] = st->fn[RUN_CHALLENGE] = LUA_NOREF;
	st->fn[RUN_MESSAGE] = LUA_NOREF;
	if (*opts->hook.name) {
		cpu_guard(&st->host->cpu);
		st->hook = xcalloc(1, sizeof(*st->hook));
		st->hook->opts = opts->hook;
		cpu_unguard(&st->host->cpu);
		keep_request_meta(L);
		lua_pushliteral(L, "hook");
		lua_rawget(L, 1);
		keep(L, st, RUN_HOOK, "accept");
		keep(L, st, RUN_CHALLENGE, "challenge");
		lua_pop(L, 1);
	}
	if (opts->topics.n) {
		lua_pushliteral(L, "subscribe");
		lua_rawget(L, 1);
		st->fn[RUN_MESSAGE] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
}

static void
forget_secrets(struct hook_state *h)
{
	int i;

	for (i = 0; i < HOOK_SECRETS; i++) {
		if (h->texts[i])
			explicit_bzero(h->texts[i], h->secrets[i].len);
		free(h->texts[i]);
		h->texts[i] = NULL;
		h->secrets[i] = (struct bh_bytes){NULL, 0};
	}
	free(h->broken);
	h->broken = NULL;
}

void
lua_hook_done(struct state *st)
{
	if (st->hook)
		forget_secrets(st->hook);
	free(st->hook);
	st->hook = NULL;
}

const char *
lua_hook_secrets(struct state *st, uint64_t generation)
{
	struct hook_state *h = st->hook;
	const char *dir = st->src->env->secrets_dir;
	int i, rc;

	if (!h || h->generation == generation + 1)
		return h ? h->broken : NULL;
	forget_secrets(h);
	h->generation = generation + 1;
	for (i = 0; i < (int)h->opts.nsecrets; i++) {
		char *text = NULL;
		size_t len = 0;

		rc = secret_read(dir, h->opts.secrets[i], &text, &len);
		if (rc == 0 && len > 0) {
			h->texts[i] = text;
			h->secrets[i] = (struct bh_bytes){text, len};
			continue;
		}
		free(text);
		free(h->broken);
		h->broken = rc < 0 ? xasprintf("secret '%s' of hook \"%s\" "
		    "cannot be read from %s: %s", h->opts.secrets[i],
		    h->opts.name, dir, strerror(-rc)) :
		    xasprintf("secret '%s' of hook \"%s\" is empty",
		    h->opts.secrets[i], h->opts.name);
	}
	return h->broken;
}

/* --- a request before Lua --- */

static bool
refuse(struct run_msg *m, int http, int status, const char *text)
{
	struct hook_run *r = m->hook;

	r->answer = HOOK_REFUSED;
	r->http = http;
	r->status = status;
	snprintf(r->text, sizeof(r->text), "%s", text);
	return true;
}

bool
lua_hook_judge(struct state *st, struct run_msg *m)
{
	struct hook_run *r = m->hook;
	const struct bh_hook *h = r->hook;
	struct hook_state *hs = st->hook;
	bool get = strcmp(h->method, "GET") == 0;
	struct err e;

	m->end = (struct run_end){.outcome = BH_DONE, .delay_ms = -1};
	/* A challenge comes unsigned, and can only be answered. */
	if (get && hs->opts.challenge) {
		m->what = RUN_CHALLENGE;
		return false;
	}
	if (lua_hook_secrets(st, r->generation))
		return refuse(m, 503, BH_E_BUSY, hs->broken);
	if (hook_verify(&hs->opts, hs->secrets, (size_t)hs->opts.nsecrets, h,
	    clock_now().wall_ms, &e) < 0)
		return refuse(m, 401, BH_E_NOAUTH, e.text);
	if (r->known) {
		r->answer = HOOK_KNOWN;
		return true;
	}
	r->answer = HOOK_BODY;
	return !hs->opts.accept;
}

/* --- accept and challenge --- */

static void
push_bytes(lua_State *L, struct bh_bytes b)
{
	lua_pushlstring(L, b.len ? b.data : "", b.len);
}

static void
push_pairs(lua_State *L, const struct bh_header *list, size_t n)
{
	size_t i;

	lua_createtable(L, 0, (int)n);
	for (i = n; i-- > 0; ) {	/* the first of a name counts */
		lua_pushstring(L, list[i].name);
		push_bytes(L, list[i].value);
		lua_rawset(L, -3);
	}
}

static void
push_request(lua_State *L, const struct bh_hook *h)
{
	lua_createtable(L, 0, 7);
	lua_pushstring(L, h->method);
	lua_setfield(L, -2, "method");
	push_bytes(L, h->path);
	lua_setfield(L, -2, "path");
	push_pairs(L, h->query, h->nquery);
	lua_setfield(L, -2, "query");
	push_pairs(L, h->headers, h->nheaders);
	lua_setfield(L, -2, "headers");
	push_bytes(L, h->body);
	lua_setfield(L, -2, "body");
	lua_pushstring(L, h->peer ? h->peer : "");
	lua_setfield(L, -2, "peer");
	lua_rawgetp(L, LUA_REGISTRYINDEX, &request_key);
	lua_setmetatable(L, -2);
}

/* Copies a word out of Lua; offsets become addresses on the main thread. */
static void
add_word(lua_State *L, struct hook_run *r, struct bh_bytes v)
{
	struct cpu *cpu = &state_of(L)->host->cpu;

	if (v.len > BYTES_MAX - buf_size(&r->bytes))
		luaL_error(L, "the jobs of one webhook have more than 64 MiB");
	cpu_guard(cpu);
	if (r->nwords == r->words_cap) {
		r->words_cap = r->words_cap ? 2 * r->words_cap : 16;
		r->words = xrealloc(r->words,
		    r->words_cap * sizeof(*r->words));
	}
	r->words[r->nwords++] = (struct bh_bytes){
	    (char *)(uintptr_t)buf_size(&r->bytes), v.len};
	buf_add(&r->bytes, v.data, v.len);
	cpu_unguard(cpu);
}

static struct hook_job *
add_job(lua_State *L, struct hook_run *r)
{
	struct cpu *cpu = &state_of(L)->host->cpu;

	if (r->njobs == JOBS_MAX)
		luaL_error(L, "more than %d jobs from one webhook", JOBS_MAX);
	cpu_guard(cpu);
	if (r->njobs == r->jobs_cap) {
		r->jobs_cap = r->jobs_cap ? 2 * r->jobs_cap : 4;
		r->jobs = xrealloc(r->jobs, r->jobs_cap * sizeof(*r->jobs));
	}
	r->jobs[r->njobs] = (struct hook_job){.first = r->nwords};
	cpu_unguard(cpu);
	return &r->jobs[r->njobs++];
}

/* The queue of the job at idx, or the script's. */
static void
job_queue(lua_State *L, struct args *a, int idx, const struct run_msg *m)
{
	const char *s;
	size_t len;

	if (lua_getfield(L, idx, "queue") == LUA_TSTRING) {
		s = lua_tolstring(L, -1, &len);
		lua_args_add(a, s, len);
		return;
	}
	if (!lua_isnil(L, -1))
		luaL_error(L, "accept: option 'queue' must be a string, it "
		    "is a %s value", luaL_typename(L, -1));
	if (m->queue.len == 0)
		luaL_error(L, "accept: the job needs a queue, as the script "
		    "has none");
	lua_args_add(a, m->queue.data, m->queue.len);
}

/* data as JSON, or body as it is, or the request's. */
static bool
job_payload(lua_State *L, struct args *a, int idx)
{
	const char *s;
	size_t len;

	lua_getfield(L, idx, "data");
	if (lua_getfield(L, idx, "body") != LUA_TNIL) {
		if (lua_type(L, -1) != LUA_TSTRING || !lua_isnil(L, -2))
			luaL_error(L, "accept: a job has either data, or a "
			    "body that is a string");
		s = lua_tolstring(L, -1, &len);
		lua_args_add(a, s, len);
		return false;
	}
	lua_pop(L, 1);
	if (lua_isnil(L, -1)) {
		lua_args_add(a, "", 0);
		return true;
	}
	s = lua_json_encode(L, -1, &len);
	s = lua_pushlstring(L, s, len);
	lua_args_add(a, s, len);
	return false;
}

/* The job at the top of the stack. */
static void
take_job(lua_State *L, struct run_msg *m)
{
	static const char *const others[] = {"queue", "data", "body", NULL};
	struct args a = {.L = L, .what = "accept"};
	struct hook_run *r = m->hook;
	struct hook_job *j;
	int idx = lua_gettop(L);
	bool raw;
	size_t i;

	luaL_checkstack(L, 2 * ARGS_MAX, "accept");
	job_queue(L, &a, idx, m);
	raw = job_payload(L, &a, idx);
	lua_args_job(&a, idx, others);
	j = add_job(L, r);
	j->nwords = a.n;
	j->raw = raw;
	for (i = 0; i < a.n; i++)
		add_word(L, r, a.v[i]);
	lua_settop(L, idx);
}

static void
take_list(lua_State *L, struct run_msg *m)
{
	lua_Integer i, n = (lua_Integer)lua_rawlen(L, -1);

	for (i = 1; i <= n; i++) {
		if (lua_rawgeti(L, -1, i) != LUA_TTABLE)
			luaL_error(L, "accept: number %I of the list is a %s "
			    "value, expected a job's table", (LUAI_UACINT)i,
			    luaL_typename(L, -1));
		take_job(L, m);
		lua_pop(L, 1);
	}
}

/* reply = { status =, body =, type = }, on top. */
static void
take_reply(lua_State *L, struct run_msg *m)
{
	struct hook_run *r = m->hook;
	const char *type = "text/plain; charset=utf-8", *s;
	size_t len = 0;

	if (!lua_istable(L, -1))
		luaL_error(L, "reply must be a table { status =, body =, "
		    "type = }");
	lua_getfield(L, -1, "status");
	r->http = (int)luaL_optinteger(L, -1, 200);
	if (r->http < 200 || r->http > 599)
		luaL_error(L, "reply.status must be from 200 to 599");
	lua_getfield(L, -2, "body");
	if (lua_istable(L, -1)) {
		s = lua_json_encode(L, -1, &len);
		type = "application/json";
	} else {
		s = luaL_optlstring(L, -1, "", &len);
	}
	lua_pushlstring(L, s, len);
	lua_getfield(L, -4, "type");
	type = luaL_optstring(L, -1, type);
	if (strlen(type) >= sizeof(r->type) || strpbrk(type, "\r\n"))
		luaL_error(L, "reply.type is no content type");
	strcpy(r->type, type);
	s = lua_tolstring(L, -2, &len);
	add_word(L, r, (struct bh_bytes){s, len});
	r->answer = HOOK_REPLY;
}

static void
take_result(lua_State *L, struct run_msg *m)
{
	struct hook_run *r = m->hook;

	r->answer = HOOK_NOTHING;
	if (lua_isnil(L, -1)) {
		if (m->what == RUN_CHALLENGE)
			(void)refuse(m, 403, BH_E_NOPERM,
			    "the script refuses the challenge");
		return;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "accept must return nil, a job, a list of jobs "
		    "or { reply = … }, it returned a %s value",
		    luaL_typename(L, -1));
	if (lua_getfield(L, -1, "reply") != LUA_TNIL) {
		take_reply(L, m);
		return;
	}
	lua_pop(L, 1);
	if (m->what == RUN_CHALLENGE)
		luaL_error(L, "challenge can only return nil or "
		    "{ reply = … }: its request is not verified");
	lua_pushnil(L);
	if (!lua_next(L, -2))
		return;			/* an empty list */
	lua_pop(L, 2);
	r->answer = HOOK_JOBS;
	if (lua_rawlen(L, -1) > 0)
		take_list(L, m);
	else
		take_job(L, m);
}

static int
hook_end(lua_State *L, int status, lua_KContext ctx)
{
	struct run_msg *m = (struct run_msg *)ctx;

	if (status != LUA_OK && status != LUA_YIELD)
		lua_job_error(L, m, status);
	else
		take_result(L, m);
	return 0;
}

int
lua_hook_main(lua_State *L)
{
	struct run_msg *m = lua_touserdata(L, 1);
	int status;

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(L)->fn[m->what]);
	push_request(L, m->hook->hook);
	status = lua_pcallk(L, 1, 1, 0, (lua_KContext)m, hook_end);
	return hook_end(L, status, (lua_KContext)m);
}

/* --- messages --- */

static int
message_end(lua_State *L, int status, lua_KContext ctx)
{
	if (status != LUA_OK && status != LUA_YIELD)
		lua_job_error(L, (struct run_msg *)ctx, status);
	return 0;
}

int
lua_message_main(lua_State *L)
{
	struct run_msg *m = lua_touserdata(L, 1);
	int status;

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, state_of(L)->fn[RUN_MESSAGE]);
	push_bytes(L, m->group);	/* the pattern */
	lua_rawget(L, -2);
	/* {"topic":…,"data":…} as the bus tells it. */
	if (lua_json_decode(L, m->payload.data, m->payload.len, NULL, 0))
		lua_getfield(L, -1, "data");
	else
		push_bytes(L, m->payload);
	if (lua_gettop(L) > 3)
		lua_remove(L, 3);
	push_bytes(L, m->news);		/* the topic */
	status = lua_pcallk(L, 2, 0, 0, (lua_KContext)m, message_end);
	return message_end(L, status, (lua_KContext)m);
}
