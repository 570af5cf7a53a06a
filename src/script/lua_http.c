/* SPDX-License-Identifier: MIT */
#include "script/lua_http.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/call.h"
#include "script/http_answer.h"
#include "script/lua_json.h"
#include "script/lua_time.h"
#include "script/state.h"

#define PARAMS_MAX 256
#define TIMEOUT_MS 30000
#define CONNECT_MS 10000
#define REDIRECTS 5
#define SIZE_MAX_MIB 1024

/* A request under construction. Its strings are on the Lua stack, at the
 * indices below. */
enum { AT_URL = 1, AT_OPTS, AT_LINES, AT_QUERY, AT_BODY, AT_LAST = AT_BODY };

struct ask_http {
	lua_State *L;
	const char *what;		/* "http.get" */
	char method[16];
	const char *body_by;		/* "json", "form" or "body" */
	const char *type;		/* Content-Type of it */
	bool has_type;			/* the script says it */
	int64_t timeout_ms, connect_ms, max_size;
	int redirects;
	bool quiet;			/* raise = false */
};

static bool
is_token(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) &&
		    !memchr("!#$%&'*+-.^_`|~", s[i], 15))
			return false;
	return len > 0;
}

/* Replaces the string at idx by itself + the string on top, which goes. */
static void
append(lua_State *L, int idx)
{
	lua_pushvalue(L, idx);
	lua_insert(L, -2);
	lua_concat(L, 2);
	lua_replace(L, idx);
}

static void
add_line(struct ask_http *a, const char *name, const char *value, size_t len)
{
	lua_State *L = a->L;

	if (memchr(value, '\r', len) || memchr(value, '\n', len) ||
	    memchr(value, '\0', len))
		luaL_error(L, "%s: header '%s' has a line break in its value",
		    a->what, name);
	/* libcurl's way to write a header without a value. */
	if (len == 0)
		lua_pushfstring(L, "%s;", name);
	else
		lua_pushfstring(L, "%s: %s", name, value);
	lua_pushlstring(L, "", 1);
	lua_concat(L, 2);
	append(L, AT_LINES);
}

/* The text of the string, number or boolean on top. */
static const char *
plain_text(struct ask_http *a, const char *option, size_t *len)
{
	int type = lua_type(a->L, -1);

	if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
		luaL_error(a->L, "%s: a value in option '%s' must be a "
		    "string, a number or a boolean, not a %s", a->what, option,
		    luaL_typename(a->L, -1));
	return luaL_tolstring(a->L, -1, len);
}

static void
add_header(struct ask_http *a, const char *name, size_t len)
{
	static const char *const ours[] = {"content-length",
	    "transfer-encoding"};
	const char *value;
	size_t i, n;

	if (!is_token(name, len))
		luaL_error(a->L, "%s: '%s' is no name for a header", a->what,
		    name);
	for (i = 0; i < nitems(ours); i++)
		if (str_is(name, len, ours[i]))
			luaL_error(a->L, "%s: header '%s' cannot be set: it "
			    "follows from the body", a->what, name);
	if (str_is(name, len, "content-type"))
		a->has_type = true;
	value = plain_text(a, "headers", &n);
	add_line(a, name, value, n);
	lua_pop(a->L, 1);
}

/* Calls fn for each value of the table on top: name = value, or name = list
 * of values. The value is on top during the call. */
static void
each(struct ask_http *a, const char *option,
    void (*fn)(struct ask_http *a, const char *name, size_t len))
{
	lua_State *L = a->L;
	lua_Integer i, n;
	const char *name;
	size_t len;

	if (!lua_istable(L, -1))
		luaL_error(L, "%s: option '%s' must be a table", a->what,
		    option);
	luaL_checkstack(L, PARAMS_MAX + 20, option);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "%s: a name in option '%s' must be a "
			    "string, not a %s", a->what, option,
			    luaL_typename(L, -2));
		name = lua_tolstring(L, -2, &len);
		if (!lua_istable(L, -1)) {
			fn(a, name, len);
			lua_pop(L, 1);
			continue;
		}
		n = luaL_len(L, -1);	/* __len may say anything */
		if (n > PARAMS_MAX)
			luaL_error(L, "%s: '%s' in option '%s' has more than "
			    "%d values", a->what, name, option, PARAMS_MAX);
		for (i = 1; i <= n; i++) {
			lua_geti(L, -1, i);
			fn(a, name, len);
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
}

static void
url_encode(luaL_Buffer *b, const char *s, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (isalnum(c) || strchr("-._~", c ? c : '/')) {
			luaL_addchar(b, (char)c);
			continue;
		}
		luaL_addchar(b, '%');
		luaL_addchar(b, hex[c >> 4]);
		luaL_addchar(b, hex[c & 15]);
	}
}

/* "name=value" of the value on top, put into the list at AT_LAST + 1. */
static void
add_param(struct ask_http *a, const char *name, size_t len)
{
	lua_State *L = a->L;
	lua_Integer n = luaL_len(L, AT_LAST + 1);
	const char *value;
	luaL_Buffer b;
	size_t vlen;

	if (n == PARAMS_MAX)
		luaL_error(L, "%s: more than %d parameters", a->what,
		    PARAMS_MAX);
	value = plain_text(a, "query or form", &vlen);
	luaL_buffinit(L, &b);
	url_encode(&b, name, len);
	luaL_addchar(&b, '=');
	url_encode(&b, value, vlen);
	luaL_pushresult(&b);
	lua_seti(L, AT_LAST + 1, n + 1);
	lua_pop(L, 1);
}

/* Names in the order of the alphabet: Lua's own order changes from run to
 * run, and signatures and caches want the same text each time. */
static void
sort_params(const char **v, size_t n)
{
	size_t i, j;

	for (i = 1; i < n; i++) {
		const char *s = v[i];
		size_t len = strcspn(s, "=");

		for (j = i; j > 0; j--) {
			size_t m = strcspn(v[j - 1], "=");
			int d = memcmp(v[j - 1], s, len < m ? len : m);

			if (d < 0 || (d == 0 && m <= len))
				break;
			v[j] = v[j - 1];
		}
		v[j] = s;
	}
}

/* The table on top, encoded, in its place. */
static void
encode_params(struct ask_http *a, const char *option)
{
	const char *v[PARAMS_MAX];
	lua_State *L = a->L;
	size_t i, n;
	luaL_Buffer b;

	lua_newtable(L);
	lua_replace(L, AT_LAST + 1);
	each(a, option, add_param);
	n = (size_t)luaL_len(L, AT_LAST + 1);
	for (i = 0; i < n; i++) {
		lua_geti(L, AT_LAST + 1, (lua_Integer)i + 1);
		v[i] = lua_tostring(L, -1);	/* the list holds it */
		lua_pop(L, 1);
	}
	sort_params(v, n);
	luaL_buffinit(L, &b);
	for (i = 0; i < n; i++) {
		if (i)
			luaL_addchar(&b, '&');
		luaL_addstring(&b, v[i]);
	}
	luaL_pushresult(&b);
	lua_replace(L, -2);
}

static void
set_body(struct ask_http *a, const char *by, const char *type)
{
	if (a->body_by)
		luaL_error(a->L, "%s: options '%s' and '%s' exclude each "
		    "other", a->what, a->body_by, by);
	a->body_by = by;
	a->type = type;
	lua_pushvalue(a->L, -1);
	lua_replace(a->L, AT_BODY);
}

static void
opt_headers(struct ask_http *a)
{
	each(a, "headers", add_header);
}

static void
opt_query(struct ask_http *a)
{
	encode_params(a, "query");
	lua_pushvalue(a->L, -1);
	lua_replace(a->L, AT_QUERY);
}

static void
opt_json(struct ask_http *a)
{
	const char *s;
	size_t len;

	s = lua_json_encode(a->L, -1, &len);
	lua_pushlstring(a->L, s, len);
	lua_replace(a->L, -2);
	set_body(a, "json", "application/json");
}

static void
opt_form(struct ask_http *a)
{
	encode_params(a, "form");
	set_body(a, "form", "application/x-www-form-urlencoded");
}

static void
opt_body(struct ask_http *a)
{
	if (lua_type(a->L, -1) != LUA_TSTRING)
		luaL_error(a->L, "%s: option 'body' must be a string, not a "
		    "%s; 'json' takes any value", a->what,
		    luaL_typename(a->L, -1));
	set_body(a, "body", NULL);
}

static int64_t
span(struct ask_http *a, const char *name)
{
	int64_t ms = lua_span(a->L, -1, name, false);

	if (ms < 1)
		luaL_error(a->L, "%s: option '%s' must be at least 1ms",
		    a->what, name);
	return ms > 3600000 ? 3600000 : ms;
}

static void
opt_timeout(struct ask_http *a)
{
	a->timeout_ms = span(a, "timeout");
}

static void
opt_connect_timeout(struct ask_http *a)
{
	a->connect_ms = span(a, "connect_timeout");
}

static void
opt_max_size(struct ask_http *a)
{
	int64_t v = -1;
	const char *s;
	size_t len;

	if (lua_isinteger(a->L, -1)) {
		v = lua_tointeger(a->L, -1);
	} else if (lua_type(a->L, -1) == LUA_TSTRING) {
		s = lua_tolstring(a->L, -1, &len);
		if (str_size(s, len, &v) < 0)
			v = -1;
	}
	if (v < 1 || v > SIZE_MAX_MIB * INT64_C(1048576))
		luaL_error(a->L, "%s: option 'max_size' expects bytes or a "
		    "size such as \"1MiB\", at most %d MiB", a->what,
		    SIZE_MAX_MIB);
	a->max_size = v;
}

static void
opt_redirects(struct ask_http *a)
{
	int ok;
	lua_Integer v = lua_tointegerx(a->L, -1, &ok);

	if (!ok || v < 0 || v > 50)
		luaL_error(a->L, "%s: option 'redirects' expects a number "
		    "from 0 to 50", a->what);
	a->redirects = (int)v;
}

static void
opt_raise(struct ask_http *a)
{
	a->quiet = !lua_toboolean(a->L, -1);
}

static void
opt_method(struct ask_http *a)
{
	const char *s;
	size_t i, len;

	if (strcmp(a->what, "http.request") != 0)
		luaL_error(a->L, "%s: option 'method' is http.request's",
		    a->what);
	s = lua_tolstring(a->L, -1, &len);
	if (!s || lua_type(a->L, -1) != LUA_TSTRING || !is_token(s, len) ||
	    len >= sizeof(a->method) || str_is(s, len, "CONNECT"))
		luaL_error(a->L, "%s: option 'method' must be the name of a "
		    "method, such as \"GET\"", a->what);
	for (i = 0; i <= len; i++)
		a->method[i] = (char)toupper((unsigned char)s[i]);
}

/* Taken out of the table before the others. */
static void
opt_url(struct ask_http *a)
{
	if (strcmp(a->what, "http.request") != 0)
		luaL_error(a->L, "%s: the URL is the first argument",
		    a->what);
}

struct http_opt {
	const char *name;
	void (*fn)(struct ask_http *a);	/* the value is on top */
};

static const struct http_opt http_opts[] = {
	{"json", opt_json},
	{"headers", opt_headers},
	{"query", opt_query},
	{"form", opt_form},
	{"body", opt_body},
	{"timeout", opt_timeout},
	{"connect_timeout", opt_connect_timeout},
	{"max_size", opt_max_size},
	{"redirects", opt_redirects},
	{"raise", opt_raise},
	{"method", opt_method},
	{"url", opt_url},
};

static void
read_opts(struct ask_http *a)
{
	lua_State *L = a->L;
	const char *name;
	int top;
	size_t i;

	lua_pushnil(L);
	while (lua_next(L, AT_OPTS)) {
		top = lua_gettop(L);
		name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) :
		    "";
		for (i = 0; i < nitems(http_opts); i++)
			if (strcmp(http_opts[i].name, name) == 0)
				break;
		if (i == nitems(http_opts))
			luaL_error(L, "%s: unknown option '%s'", a->what,
			    luaL_tolstring(L, -2, NULL));
		http_opts[i].fn(a);
		lua_settop(L, top - 1);
	}
}

/* The string at AT_URL with the query, and with what no URL may contain
 * encoded: blanks and bytes beyond ASCII. */
static void
build_url(struct ask_http *a)
{
	lua_State *L = a->L;
	size_t i, len, cut;
	luaL_Buffer b;
	const char *s = lua_tolstring(L, AT_URL, &len);

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			luaL_error(L, "%s: the URL has a control character",
			    a->what);
	cut = strcspn(s, "#");
	luaL_buffinit(L, &b);
	for (i = 0; i < cut; i++) {
		if ((unsigned char)s[i] >= 0x80 || s[i] == ' ')
			url_encode(&b, s + i, 1);
		else
			luaL_addchar(&b, s[i]);
	}
	if (!lua_isnil(L, AT_QUERY)) {
		luaL_addchar(&b, memchr(s, '?', cut) ? '&' : '?');
		lua_pushvalue(L, AT_QUERY);
		luaL_addvalue(&b);
	}
	luaL_pushresult(&b);
	lua_replace(L, AT_URL);
}

void
http_url_brief(const char *url, struct buf *out)
{
	const char *host = strstr(url, "://"), *at;
	size_t len = strcspn(url, "?#"), n;

	if (host && (size_t)(host - url) < len) {
		host += 3;
		n = strcspn(host, "/?#");
		at = memrchr(host, '@', n);
		if (at) {
			buf_add(out, url, (size_t)(host - url));
			len -= (size_t)(at + 1 - url);
			url = at + 1;
		}
	}
	buf_add(out, url, len);
}

/* The text of the failure, on top. */
static void
push_failure(lua_State *L, const struct http_call *h)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	struct buf b = BUF_INIT;
	char text[600];
	size_t i;

	cpu_guard(cpu);
	buf_adds(&b, "http.");
	for (i = 0; h->method[i]; i++)
		buf_addc(&b, (char)tolower((unsigned char)h->method[i]));
	buf_addc(&b, ' ');
	http_url_brief(h->url, &b);
	snprintf(text, sizeof(text), "%.300s: %.290s", buf_str(&b),
	    h->call.error);
	buf_done(&b);
	cpu_unguard(cpu);
	lua_pushstring(L, text);
}

/* ctx: raise = false. */
static int
http_end(lua_State *L, int status, lua_KContext ctx)
{
	const struct http_call *h =
	    (struct http_call *)state_of(L)->run->called;

	(void)status;
	if (!h->call.error) {
		http_answer_push(L, h);
		return 1;
	}
	if (ctx) {
		lua_pushnil(L);
		push_failure(L, h);
		return 2;
	}
	luaL_where(L, 1);
	push_failure(L, h);
	lua_concat(L, 2);
	return lua_error(L);
}

static int
send_call(struct ask_http *a)
{
	lua_State *L = a->L;
	struct state *st = state_of(L);
	size_t len, nlines, nbody = 0;
	const char *url = lua_tolstring(L, AT_URL, &len);
	const char *lines = lua_tolstring(L, AT_LINES, &nlines);
	const char *body = a->body_by ? lua_tolstring(L, AT_BODY, &nbody) :
	    NULL;
	struct http_call *h;

	cpu_guard(&st->host->cpu);
	h = call_new(CALL_HTTP, sizeof(*h), st->src->env);
	memcpy(h->method, a->method, sizeof(h->method));
	h->url = xmemdup(url, len + 1);
	buf_add(&h->lines, lines, nlines);
	if (body) {
		h->body = xmemdup(body, nbody + 1);
		h->body_len = nbody;
	}
	h->timeout_ms = a->timeout_ms;
	h->connect_ms = a->connect_ms;
	h->max_size = a->max_size;
	h->redirects = a->redirects;
	cpu_unguard(&st->host->cpu);
	return call_wait(L, &h->call, a->quiet, http_end);
}

/* 1: url, 2: options or nil. */
static int
request(lua_State *L, const char *what, const char *method)
{
	struct ask_http a = {.L = L, .what = what, .timeout_ms = TIMEOUT_MS,
	    .connect_ms = CONNECT_MS, .redirects = REDIRECTS};

	call_check(L, what);
	a.max_size = state_of(L)->src->env->http_max_size;
	snprintf(a.method, sizeof(a.method), "%s", method);
	lua_settop(L, AT_OPTS);
	if (lua_type(L, AT_URL) != LUA_TSTRING)
		return luaL_error(L, "%s: the URL must be a string, not %s",
		    what, luaL_typename(L, AT_URL));
	lua_pushliteral(L, "");		/* AT_LINES */
	lua_pushnil(L);			/* AT_QUERY */
	lua_pushnil(L);			/* AT_BODY */
	lua_pushnil(L);			/* for encode_params */
	if (lua_istable(L, AT_OPTS))
		read_opts(&a);
	else if (!lua_isnil(L, AT_OPTS))
		return luaL_error(L, "%s: the options must be a table, not %s",
		    what, luaL_typename(L, AT_OPTS));
	if (a.type && !a.has_type)
		add_line(&a, "Content-Type", a.type, strlen(a.type));
	/* What other methods mean by "no body" is an empty one for these. */
	if (!a.body_by && (strcmp(a.method, "POST") == 0 ||
	    strcmp(a.method, "PUT") == 0 || strcmp(a.method, "PATCH") == 0)) {
		lua_pushliteral(L, "");
		set_body(&a, "body", NULL);
	}
	build_url(&a);
	return send_call(&a);
}

#define METHOD(name, verb) \
static int \
http_##name(lua_State *L) \
{ \
	return request(L, "http." #name, verb); \
}

METHOD(get, "GET")
METHOD(head, "HEAD")
METHOD(post, "POST")
METHOD(put, "PUT")
METHOD(patch, "PATCH")
METHOD(delete, "DELETE")

/* http.request{ method =, url =, … } */
static int
http_request(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	lua_getfield(L, 1, "url");
	lua_insert(L, 1);
	return request(L, "http.request", "GET");
}

void
lua_http_open(lua_State *L)
{
	static const luaL_Reg lib[] = {
		{"get", http_get},
		{"head", http_head},
		{"post", http_post},
		{"put", http_put},
		{"patch", http_patch},
		{"delete", http_delete},
		{"request", http_request},
		{NULL, NULL},
	};

	http_answer_open(L);
	luaL_newlib(L, lib);
	lua_setfield(L, -2, "http");
}
