/* SPDX-License-Identifier: MIT */
#include "script/script_hook.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "script/lua_time.h"
#include "script/secret.h"

struct reader {
	lua_State *L;
	void *to;
	struct buf *e;
	const char *prefix;
	bool failed;
};

struct row {
	const char *name;
	/* The value is on top of the stack. */
	void (*read)(struct reader *r, const struct row *o);
	size_t at;			/* in struct hook_opts */
	size_t size;			/* of a text */
	const char *const *words;
};

#define AT(field) offsetof(struct hook_opts, field)
#define SIZE(field) sizeof(((struct hook_opts *)0)->field)
#define TEXT(field) AT(field), SIZE(field), NULL

/* The first complaint counts. */
static void
refuse(struct reader *r, const char *name, const char *expected)
{
	const char *s;

	if (r->failed)
		return;
	r->failed = true;
	s = luaL_tolstring(r->L, -1, NULL);
	buf_addf(r->e, "option '%s%s': expected %s, got ", r->prefix, name,
	    expected);
	if (lua_type(r->L, -2) == LUA_TSTRING)
		buf_addf(r->e, "\"%.100s\"", s);
	else if (lua_type(r->L, -2) > LUA_TSTRING)
		buf_addf(r->e, "a %s", luaL_typename(r->L, -2));
	else
		buf_addf(r->e, "%.100s", s);
	lua_pop(r->L, 1);
}

/* The string on top, of 1 to max-1 bytes without NUL; NULL otherwise. */
static const char *
top_text(struct reader *r, size_t max)
{
	const char *s = NULL;
	size_t len = 0;

	if (lua_type(r->L, -1) == LUA_TSTRING)
		s = lua_tolstring(r->L, -1, &len);
	return s && len > 0 && len < max && strlen(s) == len ? s : NULL;
}

static void
read_text(struct reader *r, const struct row *o)
{
	const char *s = top_text(r, o->size);
	char want[60];

	if (s) {
		strcpy((char *)r->to + o->at, s);
		return;
	}
	snprintf(want, sizeof(want), "a string of 1 to %zu bytes",
	    o->size - 1);
	refuse(r, o->name, want);
}

static void
read_name(struct reader *r, const struct row *o)
{
	const char *s = top_text(r, o->size);

	if (s && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
	    "UVWXYZ0123456789_.:-")] == '\0')
		strcpy((char *)r->to + o->at, s);
	else
		refuse(r, o->name, "a name of 1 to 128 letters, digits and "
		    "_.:-");
}

static void
read_header(struct reader *r, const struct row *o)
{
	const char *s = top_text(r, o->size);
	char *to = (char *)r->to + o->at;

	if (!s || s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
	    "UVWXYZ0123456789_-")] != '\0') {
		refuse(r, o->name, "a header's name such as \"X-Signature\"");
		return;
	}
	for (; *s; s++)
		*to++ = (char)(*s >= 'A' && *s <= 'Z' ? *s | 0x20 : *s);
	*to = '\0';
}

static void
read_word(struct reader *r, const struct row *o)
{
	const char *s = top_text(r, 64);
	struct buf want = BUF_INIT;
	int64_t i;

	for (i = 0; s && o->words[i]; i++) {
		if (strcmp(o->words[i], s) == 0) {
			*(int64_t *)((char *)r->to + o->at) = i;
			return;
		}
	}
	for (i = 0; o->words[i]; i++)
		buf_addf(&want, "%s\"%s\"", i ? ", " : "one of ",
		    o->words[i]);
	refuse(r, o->name, buf_str(&want));
	buf_done(&want);
}

static void
read_span(struct reader *r, const struct row *o)
{
	int64_t ms = lua_span_try(r->L, -1);

	if (ms > 0)
		*(int64_t *)((char *)r->to + o->at) = ms;
	else
		refuse(r, o->name, "a duration above 0 such as \"5m\", or "
		    "seconds");
}

static void
read_size(struct reader *r, const struct row *o)
{
	int64_t v = -1;
	int ok = 0;
	const char *s = top_text(r, 32);

	if (lua_type(r->L, -1) == LUA_TNUMBER)
		v = lua_tointegerx(r->L, -1, &ok);
	else if (s)
		ok = str_size(s, strlen(s), &v) == 0;
	if (ok && v > 0)
		*(int64_t *)((char *)r->to + o->at) = v;
	else
		refuse(r, o->name, "a size such as 4096 or \"64KiB\"");
}

static void
read_function(struct reader *r, const struct row *o)
{
	if (lua_isfunction(r->L, -1))
		*(bool *)((char *)r->to + o->at) = true;
	else
		refuse(r, o->name, "a function");
}

/* A string, or a list of strings: each is put on top and handed to one(). */
static void
read_some(struct reader *r, const struct row *o,
    void (*one)(struct reader *r, const struct row *o))
{
	lua_Integer i, n;

	if (!lua_istable(r->L, -1)) {
		one(r, o);
		return;
	}
	n = (lua_Integer)lua_rawlen(r->L, -1);
	if (n == 0)
		one(r, o);		/* which says what it wants */
	for (i = 1; i <= n; i++) {
		lua_rawgeti(r->L, -1, i);
		one(r, o);
		lua_pop(r->L, 1);
	}
}

static void
one_secret(struct reader *r, const struct row *o)
{
	struct hook_opts *to = r->to;
	const char *s = top_text(r, sizeof(to->secrets[0]));

	if (s && secret_name_ok(s, strlen(s)) && to->nsecrets < HOOK_SECRETS)
		strcpy(to->secrets[to->nsecrets++], s);
	else
		refuse(r, o->name, "the name of a secret, or up to 4 of them");
}

static void
read_secret(struct reader *r, const struct row *o)
{
	read_some(r, o, one_secret);
}

static void
one_method(struct reader *r, const struct row *o)
{
	const char *s = top_text(r, 16);
	unsigned bit = s ? hook_method(s) : 0;

	if (bit)
		((struct hook_opts *)r->to)->methods |= bit;
	else
		refuse(r, o->name, "GET, POST or PUT, or a list of them");
}

static void
read_methods(struct reader *r, const struct row *o)
{
	((struct hook_opts *)r->to)->methods = 0;
	read_some(r, o, one_method);
}

static void read_timestamp(struct reader *r, const struct row *o);

static const char *const signatures[] = {"none", "hmac-sha256", "hmac-sha1",
    "hmac-sha512", "token", NULL};
static const char *const encodings[] = {"hex", "base64", NULL};
static const char *const key_encodings[] = {"text", "base64", NULL};
static const char *const formats[] = {"seconds", "milliseconds", "rfc3339",
    NULL};

static const struct row timestamp_rows[] = {
	{"header", read_header, TEXT(timestamp.header)},
	{"field", read_text, TEXT(timestamp.field)},
	{"window", read_span, AT(timestamp.window_ms), 0, NULL},
	{"format", read_word, AT(timestamp.format), 0, formats},
	{0},
};

static const struct row rows[] = {
	{"name", read_name, TEXT(name)},
	{"secret", read_secret, 0, 0, NULL},
	{"signature", read_word, AT(signature), 0, signatures},
	{"header", read_header, TEXT(header)},
	{"query", read_text, TEXT(query)},
	{"field", read_text, TEXT(field)},
	{"prefix", read_text, TEXT(prefix)},
	{"payload", read_text, TEXT(payload)},
	{"encoding", read_word, AT(encoding), 0, encodings},
	{"secret_encoding", read_word, AT(secret_encoding), 0, key_encodings},
	{"timestamp", read_timestamp, 0, 0, NULL},
	{"delivery", read_header, TEXT(delivery)},
	{"delivery_ttl", read_span, AT(delivery_ttl_ms), 0, NULL},
	{"methods", read_methods, 0, 0, NULL},
	{"max_body", read_size, AT(max_body), 0, NULL},
	{"accept", read_function, AT(accept), 0, NULL},
	{"challenge", read_function, AT(challenge), 0, NULL},
	{0},
};

/* The table is on top of the stack, and is again afterwards. */
static void
read_table(struct reader *r, const struct row *table, const char *prefix)
{
	const struct row *o;
	const char *name;

	luaL_checkstack(r->L, 8, "options");
	r->prefix = prefix;
	lua_pushnil(r->L);
	while (lua_next(r->L, -2)) {
		name = lua_type(r->L, -2) == LUA_TSTRING ?
		    lua_tostring(r->L, -2) : "";
		for (o = table; o->name; o++)
			if (strcmp(o->name, name) == 0)
				break;
		if (o->name) {
			o->read(r, o);
		} else if (!r->failed) {
			r->failed = true;
			name = luaL_tolstring(r->L, -2, NULL);
			buf_addf(r->e, "unknown option '%s%.100s'", prefix,
			    name);
			lua_pop(r->L, 1);
		}
		r->prefix = prefix;
		lua_pop(r->L, 1);
	}
}

static void
read_timestamp(struct reader *r, const struct row *o)
{
	if (lua_istable(r->L, -1))
		read_table(r, timestamp_rows, "hook.timestamp.");
	else
		refuse(r, o->name, "a table such as { header = \"X-Time\", "
		    "window = \"5m\" }");
}

int
script_hook_read(lua_State *L, struct hook_opts *ret, struct buf *e)
{
	struct reader r = {.L = L, .to = ret, .e = e, .prefix = ""};

	hook_opts_init(ret);
	ret->signature = -1;
	if (lua_istable(L, -1))
		read_table(&r, rows, "hook.");
	else
		refuse(&r, "hook", "a table");
	if (r.failed)
		return -1;
	if (ret->signature < 0)
		ret->signature = ret->nsecrets ? HOOK_SHA256 : HOOK_NONE;
	return 0;
}

static int
missing(struct buf *e, const char *what, const char *why)
{
	buf_addf(e, "option 'hook.%s' is missing: %s", what, why);
	return -1;
}

/* Whether hook.payload has a {word} that nobody fills in. */
static bool
unknown_part(const char *s, struct buf *e)
{
	static const char *const known[] = {"{body}", "{timestamp}", "{id}"};
	size_t i, len;

	for (; (s = strchr(s, '{')); s++) {
		len = strspn(s + 1, "abcdefghijklmnopqrstuvwxyz_-");
		if (len == 0 || s[len + 1] != '}')
			continue;
		for (i = 0; i < nitems(known); i++)
			if (strncmp(s, known[i], strlen(known[i])) == 0)
				break;
		if (i < nitems(known))
			continue;
		buf_addf(e, "option 'hook.payload': unknown '%.*s', expected "
		    "{body}, {timestamp} or {id}", (int)len + 2, s);
		return true;
	}
	return false;
}

int
script_hook_settle(struct hook_opts *o, const char *queue, struct buf *e)
{
	bool sign = o->signature != HOOK_NONE, token;

	token = o->signature == HOOK_TOKEN;
	if (!*o->name && *queue)
		strcpy(o->name, queue);
	if (!*o->name)
		return missing(e, "name", "the script has no queue whose name "
		    "it could have");
	if (sign && o->nsecrets == 0)
		return missing(e, "secret", "a signature needs one");
	if (!sign && o->nsecrets)
		return missing(e, "signature", "with \"none\" the secret would "
		    "not be looked at");
	/* Somebody forgot a line, and everybody could send. */
	if (!sign && (*o->header || *o->query || *o->payload))
		return missing(e, "secret", "without one nothing looks at the "
		    "signature");
	if (sign && !*o->header && !(token && *o->query))
		return missing(e, "header", "where does the signature stand?");
	if (*o->query && !token) {
		buf_adds(e, "option 'hook.query': only with signature = "
		    "\"token\"");
		return -1;
	}
	if (unknown_part(o->payload, e))
		return -1;
	if (strstr(o->payload, "{timestamp}") && !*o->timestamp.header &&
	    !*o->timestamp.field)
		return missing(e, "timestamp", "hook.payload has {timestamp}");
	if (sign && !token && !strstr(o->payload, "{timestamp}") &&
	    (*o->timestamp.header || *o->timestamp.field))
		return missing(e, "payload", "without {timestamp} in it the "
		    "time is not signed");
	if (strstr(o->payload, "{id}") && !*o->delivery)
		return missing(e, "delivery", "hook.payload has {id}");
	if (*o->payload && !strstr(o->payload, "{body}")) {
		buf_adds(e, "option 'hook.payload': expected a text with "
		    "{body}, such as \"{timestamp}.{body}\"");
		return -1;
	}
	if (!*queue && !o->accept)
		return missing(e, "accept", "the script has no queue that a "
		    "webhook could go to");
	return 0;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
refuse_topic(struct reader *r, const char *pattern)
{
	char name[160];

	snprintf(name, sizeof(name), "subscribe[\"%s\"]", pattern);
	refuse(r, name, "a function(msg, topic)");
}

int
script_topics_read(lua_State *L, struct topic_opts *ret, struct buf *e)
{
	struct reader r = {.L = L, .to = ret, .e = e, .prefix = ""};
	const char *s;
	size_t len;

	ret->n = 0;
	if (!lua_istable(L, -1)) {
		refuse(&r, "subscribe", "a table such as { [\"guest.*\"] = "
		    "function(msg, topic) … end }");
		return -1;
	}
	luaL_checkstack(L, 8, "options");
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		s = lua_type(L, -2) == LUA_TSTRING ?
		    lua_tolstring(L, -2, &len) : NULL;
		if (!s || len < 1 || len > 128 || strlen(s) != len)
			refuse(&r, "subscribe", "topics of 1 to 128 bytes as "
			    "keys, as in { [\"guest.*\"] = function(msg, "
			    "topic) … end }");
		else if (!lua_isfunction(L, -1))
			refuse_topic(&r, s);
		else if (ret->n == TOPICS_MAX)
			refuse(&r, "subscribe", "at most 16 topics");
		else
			strcpy(ret->patterns[ret->n++], s);
		lua_pop(L, 1);
	}
	if (ret->n == 0)
		refuse(&r, "subscribe", "at least one topic");
	qsort(ret->patterns, (size_t)ret->n, sizeof(ret->patterns[0]),
	    by_text);
	return r.failed ? -1 : 0;
}
