/* SPDX-License-Identifier: MIT */
/* One function of a script under test, from its call to its end. What it asks
 * for is answered by the handlers of spec.lua. */
#include "script/spec_impl.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/lua_ask.h"
#include "script/lua_hook.h"

#define REPLY_DEPTH 16

void
spec_ask(struct host *h, struct ask *a)
{
	((struct spec *)h)->asked = a;
}

void
spec_nap(struct host *h, struct run *r, int64_t ms)
{
	(void)r;
	((struct spec *)h)->nap_ms = ms;
}

/* Pushes handler `name`. */
static lua_State *
push_handler(struct spec *s, const char *name)
{
	lua_State *L = s->st->L;

	luaL_checkstack(L, 20, "spec");
	lua_rawgeti(L, LUA_REGISTRYINDEX, s->handlers);
	lua_getfield(L, -1, name);
	lua_remove(L, -2);
	return L;
}

/* Calls it; its one value is on the stack, or, when it raised, the error, and
 * the run has to be given up. */
static bool
call_handler(struct spec *s, int nargs)
{
	if (lua_pcall(s->st->L, nargs, 1, 0) == LUA_OK)
		return true;
	s->broken = true;
	return false;
}

/* Log lines come while the script runs: they may not raise. */
void
spec_log(struct host *h, enum log_level level, const struct log_about *about,
    const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	struct spec *s = (struct spec *)h;
	lua_State *L = push_handler(s, "log");

	(void)about;
	lua_pushstring(L, names[level]);
	lua_pushstring(L, text);
	if (lua_pcall(L, 2, 0, 0) != LUA_OK)
		lua_pop(L, 1);
}

/* --- the store --- */

static void put_reply(lua_State *L, struct buf *b, int depth);

static void
put_table(lua_State *L, struct buf *b, int depth)
{
	size_t i, n = lua_rawlen(L, -1), len;
	const char *s;

	if (lua_getfield(L, -1, "err") == LUA_TSTRING) {
		buf_addc(b, '-');
		buf_adds(b, lua_tostring(L, -1));
		buf_adds(b, "\r\n");
		lua_pop(L, 1);
		return;
	}
	lua_pop(L, 1);
	if (n > 0 || lua_getfield(L, -1, "map") == LUA_TNIL) {
		if (n == 0)
			lua_pop(L, 1);
		resp_put_array(b, n);
		for (i = 1; i <= n; i++) {
			lua_rawgeti(L, -1, (lua_Integer)i);
			put_reply(L, b, depth + 1);
			lua_pop(L, 1);
		}
		return;
	}
	lua_pushnil(L);
	for (n = 0; lua_next(L, -2); n++)
		lua_pop(L, 1);
	resp_put_map(b, 3, n);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pushvalue(L, -2);
		s = lua_tolstring(L, -1, &len);
		resp_put_bulk(b, s, len);
		lua_pop(L, 1);
		put_reply(L, b, depth + 1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/* The value on top as RESP3: a list, { map = {…} }, { err = "WORD text" } or
 * a plain value. */
static void
put_reply(lua_State *L, struct buf *b, int depth)
{
	const char *s;
	size_t len;

	if (lua_istable(L, -1) && depth < REPLY_DEPTH) {
		put_table(L, b, depth);
	} else if (lua_isboolean(L, -1)) {
		resp_put_bool(b, 3, lua_toboolean(L, -1));
	} else if (lua_isinteger(L, -1)) {
		resp_put_int(b, lua_tointeger(L, -1));
	} else if (lua_isstring(L, -1)) {
		lua_pushvalue(L, -1);
		s = lua_tolstring(L, -1, &len);
		resp_put_bulk(b, s, len);
		lua_pop(L, 1);
	} else {
		resp_put_null(b, 3);
	}
}

static void
answer_ask(struct spec *s, struct run *r)
{
	struct ask *a = s->asked;
	lua_State *L = push_handler(s, "ask");
	struct err e;
	size_t i, used;

	s->asked = NULL;
	lua_newtable(L);
	for (i = 0; i < a->argc; i++) {
		lua_pushlstring(L, a->argv[i].len ? a->argv[i].data : "",
		    a->argv[i].len);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	r->ask = NULL;
	if (!call_handler(s, 1)) {
		ask_free(&a);
		return;
	}
	put_reply(L, &a->reply, 0);
	lua_pop(L, 1);
	CHECK(resp_decode(buf_peek(&a->reply), buf_size(&a->reply), &a->value,
	    &used, &e) == 1);
	r->answered = a;
}

/* --- calls --- */

static void
set_string(lua_State *L, const char *name, const char *s, size_t len)
{
	if (!s)
		return;
	lua_pushlstring(L, s, len);
	lua_setfield(L, -2, name);
}

static void
set_text(lua_State *L, const char *name, const char *s)
{
	set_string(L, name, s, s ? strlen(s) : 0);
}

static void
set_list(lua_State *L, const char *name, char *const *list)
{
	int i;

	lua_newtable(L);
	for (i = 0; list && list[i]; i++) {
		lua_pushstring(L, list[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, name);
}

static void
push_http(lua_State *L, const struct http_call *h)
{
	set_text(L, "method", h->method);
	set_text(L, "url", h->url);
	set_string(L, "lines", buf_size(&h->lines) ? buf_peek(&h->lines) : "",
	    buf_size(&h->lines));
	set_string(L, "body", h->body, h->body_len);
	lua_pushinteger(L, h->timeout_ms);
	lua_setfield(L, -2, "timeout_ms");
}

static void
push_mail(lua_State *L, const struct mail_call *m)
{
	size_t i;

	set_list(L, "recipients", m->to);
	set_string(L, "lines", buf_peek(&m->lines), buf_size(&m->lines));
	set_string(L, "text", m->text, m->text_len);
	set_string(L, "html", m->html, m->html_len);
	set_text(L, "id", m->id);
	lua_newtable(L);
	for (i = 0; i < m->nfiles; i++) {
		lua_newtable(L);
		set_text(L, "name", m->files[i].name);
		set_text(L, "type", m->files[i].type);
		set_string(L, "data", m->files[i].data, m->files[i].len);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "attachments");
}

static void
push_exec(lua_State *L, const struct exec_call *x)
{
	set_text(L, "path", x->argv[0]);
	set_list(L, "args", x->argv + 1);
	set_list(L, "env", x->envp);
	set_string(L, "stdin", x->input, x->input_len);
	lua_pushinteger(L, x->timeout_ms);
	lua_setfield(L, -2, "timeout_ms");
}

/* A string or an integer of the answer on top. */
static void
take_bytes(lua_State *L, const char *name, struct buf *to)
{
	const char *s;
	size_t len;

	lua_getfield(L, -1, name);
	s = lua_tolstring(L, -1, &len);
	if (s)
		buf_add(to, s, len);
	lua_pop(L, 1);
}

static int64_t
take_int(lua_State *L, const char *name)
{
	int64_t v;

	lua_getfield(L, -1, name);
	v = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return v;
}

static void
take_answer(lua_State *L, struct call *c)
{
	struct exec_call *x = (struct exec_call *)c;
	struct http_call *h = (struct http_call *)c;

	if (lua_getfield(L, -1, "error") == LUA_TSTRING)
		call_fail(c, "%s", lua_tostring(L, -1));
	lua_pop(L, 1);
	if (c->kind == CALL_HTTP) {
		h->status = (int)take_int(L, "status");
		h->elapsed_us = take_int(L, "delay_ms") * 1000;
		take_bytes(L, "head", &h->head);
		take_bytes(L, "body", &h->reply);
	} else if (c->kind == CALL_EXEC) {
		x->status = (int)take_int(L, "status");
		x->signal = (int)take_int(L, "signal");
		take_bytes(L, "stdout", &x->out);
		take_bytes(L, "stderr", &x->err);
	}
}

/* Time that passes until the answer is there. */
static int64_t
answer_call(struct spec *s, struct run *r)
{
	static const char *const names[] = {"http", "mail", "exec"};
	struct call *c = r->call;
	lua_State *L = push_handler(s, names[c->kind]);
	int64_t ms;

	lua_newtable(L);
	if (c->kind == CALL_HTTP)
		push_http(L, (struct http_call *)c);
	else if (c->kind == CALL_MAIL)
		push_mail(L, (struct mail_call *)c);
	else
		push_exec(L, (struct exec_call *)c);
	if (!call_handler(s, 1))
		return 0;
	take_answer(L, c);
	ms = take_int(L, "delay_ms");
	lua_pop(L, 1);
	r->call = NULL;
	r->called = c;
	return ms;
}

/* --- the run --- */

/* Whether it has the time; the clock is then later. */
static bool
pass(struct run_msg *m, int64_t begun, int64_t ms)
{
	int64_t left = begun + m->timeout_ms - spec_now();
	char span[40];

	if (m->timeout_ms <= 0 || ms < left) {
		spec_advance(ms);
		return true;
	}
	spec_advance(left > 0 ? left : 0);
	str_span(m->timeout_ms, span, sizeof(span));
	run_end_fail(m, false, "timeout after %s", span);
	return false;
}

static void
drive(struct spec *s, struct state *st, struct run_msg *m)
{
	struct run *r = &m->run;
	int64_t begun = spec_now(), ms;

	if (!run_begin(st, m))
		return;
	while (!run_step(m)) {
		ask_free(&r->answered);
		call_free(&r->called);
		ms = 0;
		if (r->wait == WAIT_SLEEP)
			ms = s->nap_ms;
		else if (r->wait == WAIT_ANSWER)
			answer_ask(s, r);
		else if (r->wait == WAIT_CALL)
			ms = answer_call(s, r);
		if (s->broken)
			run_end_fail(m, true, "the spec has failed");
		else if (pass(m, begun, ms))
			continue;
		run_drop(m);
		break;
	}
	ask_free(&r->answered);
	call_free(&r->call);
	call_free(&r->called);
}

/* --- the question, at 3 --- */

/* A string member; it lives in the table. */
static struct bh_bytes
member(lua_State *L, int idx, const char *name)
{
	struct bh_bytes b = {NULL, 0};

	if (lua_getfield(L, idx, name) == LUA_TSTRING)
		b.data = lua_tolstring(L, -1, &b.len);
	lua_pop(L, 1);
	return b;
}

static int64_t
number(lua_State *L, int idx, const char *name, int64_t def)
{
	int64_t v = def;

	if (lua_getfield(L, idx, name) != LUA_TNIL)
		v = (int64_t)lua_tonumber(L, -1);
	lua_pop(L, 1);
	return v;
}

/* What earlier runs have kept: a list of { name =, json = }, a sleep without
 * json. The strings live in it. */
static void
take_steps(lua_State *L, int idx, struct run_msg *m)
{
	size_t i, n;

	if (lua_getfield(L, idx, "steps") == LUA_TTABLE &&
	    (n = lua_rawlen(L, -1)) > 0) {
		m->steps = xcalloc(n, sizeof(*m->steps));
		m->nsteps = n;
		for (i = 0; i < n; i++) {
			lua_rawgeti(L, -1, (lua_Integer)i + 1);
			m->steps[i].name = member(L, lua_gettop(L), "name");
			m->steps[i].value = member(L, lua_gettop(L), "json");
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
}

static struct run_msg *
msg_new(lua_State *L, const struct actor *a, int idx, enum run_what what)
{
	struct run_msg *m = xcalloc(1, sizeof(*m));

	m->m.kind = TO_RUN;
	m->what = what;
	m->src = source_ref(a->src);
	m->id = number(L, idx, "id", 1);
	m->token = 1;
	m->callback = what == RUN_PERFORM || what == RUN_BATCH ? 0 : 1;
	m->priority = (int32_t)number(L, idx, "priority", 5);
	m->attempt = (int32_t)number(L, idx, "attempt", 1);
	m->attempts = (int32_t)number(L, idx, "attempts", 12);
	m->error_count = (int32_t)number(L, idx, "error_count", 0);
	m->stalled = (int32_t)number(L, idx, "stalled", 0);
	m->run_at = number(L, idx, "run_at", spec_now());
	m->created_at = number(L, idx, "created_at", spec_now());
	m->started_at = spec_now();
	m->expires_at = number(L, idx, "expires_at", 0);
	m->timeout_ms = number(L, idx, "timeout_ms", 60000);
	m->queue = member(L, idx, "queue");
	m->payload = member(L, idx, "body");
	m->group = member(L, idx, "group");
	m->unique = member(L, idx, "unique");
	m->origin = member(L, idx, "origin");
	m->news = member(L, idx, "news");
	take_steps(L, idx, m);
	return m;
}

/* A batch of the jobs in the list at 3. */
static struct run_msg *
batch_new(lua_State *L, const struct actor *a)
{
	struct run_msg *b = msg_new(L, a, 3, RUN_BATCH);
	lua_Integer i, n = luaL_len(L, 3);

	b->jobs = xcalloc((size_t)n + 1, sizeof(*b->jobs));
	for (i = 1; i <= n; i++) {
		lua_geti(L, 3, i);
		b->jobs[b->njobs] = msg_new(L, a, lua_gettop(L), RUN_BATCH);
		b->jobs[b->njobs]->end.delay_ms = -1;
		b->jobs[b->njobs++]->batch = b;
		lua_pop(L, 1);
	}
	return b;
}

/* --- what came of it, as a table on top --- */

static void
push_end(lua_State *L, const struct run_msg *m)
{
	static const char *const names[] = {[BH_DONE] = "done",
	    [BH_FAIL] = "fail", [BH_RELEASE] = "release"};

	lua_newtable(L);
	set_text(L, "outcome", names[m->end.outcome]);
	lua_pushboolean(L, m->end.final);
	lua_setfield(L, -2, "final");
	lua_pushboolean(L, m->run.verdict);
	lua_setfield(L, -2, "verdict");
	if (m->end.delay_ms >= 0) {
		lua_pushinteger(L, m->end.delay_ms);
		lua_setfield(L, -2, "delay_ms");
	}
	set_string(L, "text", m->end.text, m->end.len);
	set_text(L, "step", m->end.step);
}

static void
push_ends(lua_State *L, const struct run_msg *m)
{
	size_t i;

	push_end(L, m);
	if (m->what != RUN_BATCH)
		return;
	lua_newtable(L);
	for (i = 0; i < m->njobs; i++) {
		push_end(L, m->jobs[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "jobs");
}

static void
push_hook(lua_State *L, const struct run_msg *m, const struct hook_run *r)
{
	static const char *const names[] = {[HOOK_BODY] = "body",
	    [HOOK_JOBS] = "jobs", [HOOK_NOTHING] = "nothing",
	    [HOOK_REPLY] = "reply", [HOOK_KNOWN] = "known",
	    [HOOK_REFUSED] = "refused"};
	const char *base = r->bytes.data;
	size_t i, j;

	push_end(L, m);
	set_text(L, "answer", names[r->answer]);
	lua_pushinteger(L, r->http);
	lua_setfield(L, -2, "http");
	set_text(L, "refusal", r->text);
	set_text(L, "type", r->type);
	lua_newtable(L);
	for (i = 0; i < r->njobs; i++) {
		lua_newtable(L);
		lua_pushboolean(L, r->jobs[i].raw);
		lua_setfield(L, -2, "raw");
		for (j = 0; j < r->jobs[i].nwords; j++) {
			struct bh_bytes w = r->words[r->jobs[i].first + j];

			lua_pushlstring(L, w.len ? base + (size_t)(uintptr_t)
			    w.data : "", w.len);
			lua_rawseti(L, -2, (lua_Integer)j + 1);
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "words");
	if (r->answer == HOOK_REPLY && r->nwords > 0)
		set_string(L, "reply", base + (size_t)(uintptr_t)
		    r->words[r->nwords - 1].data,
		    r->words[r->nwords - 1].len);
}

/* name → value pairs of member `name`, as a list in one block. */
static struct bh_header *
pairs(lua_State *L, const char *name, size_t *n)
{
	struct bh_header *list = NULL;

	*n = 0;
	if (lua_getfield(L, 3, name) == LUA_TTABLE) {
		lua_pushnil(L);
		while (lua_next(L, -2)) {
			list = xrealloc(list, (*n + 1) * sizeof(*list));
			list[*n].name = lua_tostring(L, -2);
			list[*n].value.data = lua_tolstring(L, -1,
			    &list[*n].value.len);
			(*n)++;
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
	return list;
}

static int
run_hook(lua_State *L, struct spec *s, struct actor *a)
{
	struct bh_hook h = {.method = member(L, 3, "method").data,
	    .path = member(L, 3, "path"), .body = member(L, 3, "body"),
	    .peer = "127.0.0.1"};
	struct hook_run r = {.hook = &h};
	struct run_msg *m = msg_new(L, a, 3, RUN_HOOK);
	struct bh_header *query, *headers;

	h.query = query = pairs(L, "query", &h.nquery);
	h.headers = headers = pairs(L, "headers", &h.nheaders);
	m->hook = &r;
	m->queue = (struct bh_bytes){a->opts.queue, strlen(a->opts.queue)};
	if (!lua_hook_judge(a->st, m))
		drive(s, a->st, m);
	if (!s->broken)
		push_hook(L, m, &r);
	m->hook = NULL;
	msg_free(&m->m);
	free(query);
	free(headers);
	buf_done(&r.bytes);
	free(r.words);
	free(r.jobs);
	return s->broken ? -1 : 1;
}

static int
run_job(lua_State *L, struct spec *s, struct actor *a, enum run_what what)
{
	struct run_msg *m = what == RUN_BATCH ? batch_new(L, a) :
	    msg_new(L, a, 3, what);

	drive(s, a->st, m);
	if (!s->broken)
		push_ends(L, m);
	msg_free(&m->m);
	return s->broken ? -1 : 1;
}

int
spec_run(lua_State *L)
{
	static const char *const names[] = {"perform", "batch", "completed",
	    "failed", "stalled", "hook", "message", NULL};
	static const enum run_what whats[] = {RUN_PERFORM, RUN_BATCH,
	    RUN_COMPLETED, RUN_FAILED, RUN_STALLED, RUN_HOOK, RUN_MESSAGE};
	struct actor *a = lua_touserdata(L, 1);
	struct spec *s = (struct spec *)state_of(L)->host;
	enum run_what what = whats[luaL_checkoption(L, 2, NULL, names)];
	int rc;

	luaL_checktype(L, 3, LUA_TTABLE);
	lua_settop(L, 3);
	if (what != RUN_HOOK && a->st->fn[what] == LUA_NOREF)
		return luaL_error(L, "%s has no function for that (%s)",
		    a->src->name, lua_tostring(L, 2));
	s->broken = false;
	if (what == RUN_HOOK)
		rc = run_hook(L, s, a);
	else
		rc = run_job(L, s, a, what);
	return rc < 0 ? lua_error(L) : rc;
}
