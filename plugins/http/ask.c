/* SPDX-License-Identifier: MIT */
#include "http/ask.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *word;
	int status;
} codes[BH_E_COUNT] = {
	[BH_OK] = {"OK", 200},
#define X(name, word, http, text) [name] = {word, http},
	BH_ERRORS(X)
#undef X
};

const char *
code_word(int code)
{
	return code > 0 && code < BH_E_COUNT ? codes[code].word : "ERR";
}

int
code_status(int code)
{
	return code > 0 && code < BH_E_COUNT ? codes[code].status : 500;
}

/* ----------------------------------------------------------------- answers */

static void
reply(struct ask *a, int status, const char *type, struct text *body)
{
	if (status >= 100 && status < 600)
		a->door->answers[status / 100]++;
	web_reply(&a->web, status, type, body);
}

static const char *
title_of(int status)
{
	static const struct {
		int status;
		const char *title;
	} known[] = {{400, "Bad Request"}, {401, "Unauthorized"},
	    {403, "Forbidden"}, {404, "Not Found"},
	    {405, "Method Not Allowed"}, {408, "Request Timeout"},
	    {409, "Conflict"}, {413, "Content Too Large"},
	    {426, "Upgrade Required"}, {429, "Too Many Requests"},
	    {431, "Request Header Fields Too Large"},
	    {499, "Client Closed Request"}, {500, "Internal Server Error"},
	    {503, "Service Unavailable"}, {507, "Insufficient Storage"}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].status == status)
			return known[i].title;
	return "Error";
}

void
ask_problem(struct ask *a, int status, const char *word, const char *detail,
    int64_t retry_ms)
{
	struct text t = {0};

	text_adds(&t, "{\"type\":\"about:blank\",\"title\":");
	text_json(&t, title_of(status), strlen(title_of(status)));
	text_addf(&t, ",\"status\":%d,\"detail\":", status);
	text_json(&t, detail, strlen(detail));
	text_addf(&t, ",\"code\":\"%s\"}\n", word);
	if (status == 401)
		web_header(&a->web, "WWW-Authenticate",
		    "Bearer realm=\"bellhop\"");
	if (status == 429 || status == 503)
		web_header(&a->web, "Retry-After", web_printf(&a->web, "%lld",
		    retry_ms > 1000 ? (long long)(retry_ms + 999) / 1000 :
		    1LL));
	reply(a, status, "application/problem+json", &t);
}

void
ask_fail(struct ask *a, int code, const char *fmt, ...)
{
	char detail[512];
	va_list ap;
	int n = 0;

	va_start(ap, fmt);
	if (a->line > 0)
		n = snprintf(detail, sizeof(detail), "line %u: ", a->line);
	vsnprintf(detail + n, sizeof(detail) - (size_t)n, fmt, ap);
	va_end(ap);
	ask_problem(a, code_status(code), code_word(code), detail, -1);
}

void
ask_json(struct ask *a, int status, struct bh_bytes json)
{
	struct text t = {0};

	text_room(&t, json.len + 1);
	text_add(&t, json.data, json.len);
	text_addc(&t, '\n');
	reply(a, status, "application/json", &t);
}

void
ask_text(struct ask *a, const char *type, struct text *t)
{
	reply(a, a->status ? a->status : 200, type, t);
}

void
ask_none(struct ask *a)
{
	reply(a, 204, NULL, NULL);
}

/* ------------------------------------------------------------------- pairs */

bool
pairs_get(struct pairs *p, const char *name, struct bh_bytes *ret)
{
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->items[i].name, name) != 0)
			continue;
		/* The second of that name stays unseen, and is refused. */
		if (p->seen & UINT64_C(1) << i)
			continue;
		p->seen |= UINT64_C(1) << i;
		*ret = p->items[i].value;
		return true;
	}
	return false;
}

bool
ask_span(struct ask *a, struct pairs *p, const char *name, int64_t *ret_ms,
    bool *seen)
{
	struct bh_bytes v;

	*seen = pairs_get(p, name, &v);
	if (!*seen || span_parse(v.data, v.len, ret_ms) == 0)
		return true;
	ask_fail(a, BH_E_BADARG, "%s: '%.*s' is no duration; a number with a"
	    " unit is expected: 500ms, 2s, 5m, 1h or 7d", name,
	    v.len > 64 ? 64 : (int)v.len, v.data);
	return false;
}

bool
ask_flag(struct ask *a, struct pairs *p, const char *name, bool *ret)
{
	struct bh_bytes v;

	*ret = false;
	if (!pairs_get(p, name, &v))
		return true;
	*ret = v.len == 0 || bytes_is(v, "true") || bytes_is(v, "1");
	if (*ret || bytes_is(v, "false") || bytes_is(v, "0"))
		return true;
	ask_fail(a, BH_E_BADARG, "%s: '%.*s' is neither true nor false", name,
	    v.len > 64 ? 64 : (int)v.len, v.data);
	return false;
}

bool
ask_known(struct ask *a, struct pairs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->seen & UINT64_C(1) << i)
			continue;
		for (size_t k = 0; k < i; k++)
			if (strcmp(p->items[k].name, p->items[i].name) == 0) {
				ask_fail(a, BH_E_BADARG, "%s '%.64s' is there"
				    " twice", p->what, p->items[i].name);
				return false;
			}
		ask_fail(a, BH_E_BADARG, "unknown %s '%.64s'", p->what,
		    p->items[i].name);
		return false;
	}
	return true;
}

/* --------------------------------------------------------------- documents */

bool
ask_document(struct ask *a)
{
	json_error_t e;
	struct text *body = &a->web.body;

	a->json = body->len == 0 ? json_object() :
	    json_loadb(body->data, body->len, JSON_REJECT_DUPLICATES |
	    JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &e);
	if (!a->json) {
		ask_fail(a, BH_E_BADARG, "the body is not JSON: line %d,"
		    " column %d: %s", e.line, e.column, e.text);
		return false;
	}
	if (!json_is_object(a->json)) {
		ask_fail(a, BH_E_BADARG, "the body: a JSON object is"
		    " expected");
		return false;
	}
	return true;
}

/* A plain value as text, as a query would have it. */
static bool
plain_text(struct ask *a, json_t *v, struct bh_bytes *ret)
{
	double d = json_real_value(v);

	switch (json_typeof(v)) {
	case JSON_STRING:
		*ret = (struct bh_bytes){json_string_value(v),
		    json_string_length(v)};
		return true;
	case JSON_TRUE:
		*ret = bytes_of("true");
		return true;
	case JSON_FALSE:
		*ret = bytes_of("false");
		return true;
	case JSON_REAL:
		*ret = bytes_of(d < 1e15 && d > -1e15 &&
		    d == (double)(int64_t)d ? web_printf(&a->web, "%lld", (long long)d) :
		    web_printf(&a->web, "%.17g", d));
		return true;
	default:
		return false;
	}
}

static bool
add_member(struct ask *a, struct pairs *p, const char *name, json_t *v)
{
	struct bh_header *h;

	if (json_is_null(v))
		return true;
	if (p->n == PAIRS_MAX) {
		ask_fail(a, BH_E_BADARG, "more than %d members", PAIRS_MAX);
		return false;
	}
	h = &p->items[p->n++];
	h->name = name;
	if (json_is_array(v) || json_is_object(v)) {
		h->value = (struct bh_bytes){NULL, 0};
		return true;
	}
	return plain_text(a, v, &h->value);
}

bool
ask_members(struct ask *a, json_t *object, struct pairs *ret)
{
	const char *name, *inner;
	json_t *v, *w;
	size_t n;

	/* A batch has many: no more room than they need. */
	n = json_object_size(object) +
	    json_object_size(json_object_get(object, "backoff"));
	*ret = (struct pairs){.what = "member", .items = web_alloc(&a->web,
	    (n < PAIRS_MAX ? n : PAIRS_MAX) * sizeof(*ret->items))};
	json_object_foreach(object, name, v) {
		/* "backoff": {"type":…, "delay":…} */
		if (strcmp(name, "backoff") != 0 || !json_is_object(v)) {
			if (!add_member(a, ret, name, v))
				return false;
			continue;
		}
		json_object_foreach(v, inner, w) {
			const char *full = strcmp(inner, "type") == 0 ? name :
			    web_printf(&a->web, "%s_%s", name, inner);

			if (!add_member(a, ret, full, w))
				return false;
		}
	}
	return true;
}

/* Where a value ends that starts at p; the text is valid JSON. */
static const char *
skip_value(const char *p, const char *end)
{
	int depth = 0;
	bool quoted = false;

	for (; p < end; p++) {
		if (quoted) {
			if (*p == '\\')
				p++;
			else if (*p == '"')
				quoted = false;
		} else if (*p == '"') {
			quoted = true;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			if (depth-- == 0)
				return p;
		} else if (*p == ',' && depth == 0) {
			return p;
		}
	}
	return end;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct bh_bytes
json_member(const char *text, size_t len, const char *name)
{
	const char *end = text + len, *p = memchr(text, '{', len);
	size_t n = strlen(name);

	for (p = p ? p + 1 : end; p < end; p++) {
		const char *key, *start;
		bool match;

		while (p < end && *p != '"' && *p != '}')
			p++;
		if (p >= end || *p == '}')
			break;
		for (key = ++p; p < end && *p != '"'; p++)
			if (*p == '\\')
				p++;
		match = (size_t)(p - key) == n && memcmp(key, name, n) == 0;
		while (p < end && *p != ':')
			p++;
		for (start = p + 1; start < end && is_blank(*start); start++)
			;
		p = skip_value(start, end);
		if (match) {
			while (p > start && is_blank(p[-1]))
				p--;
			return (struct bh_bytes){start, (size_t)(p - start)};
		}
		if (p < end && *p == '}')
			break;
	}
	return (struct bh_bytes){NULL, 0};
}

static bool
decoded(struct ask *a, const char *name, struct bh_bytes v,
    struct bh_bytes *ret)
{
	struct text t = {0};

	if (!v.data || base64_decode(&t, v.data, v.len) < 0) {
		text_free(&t);
		ask_fail(a, BH_E_BADARG, "%s: this is not base64", name);
		return false;
	}
	ret->data = memcpy(web_alloc(&a->web, t.len + 1), t.len ? t.data : "",
	    t.len);
	ret->len = t.len;
	text_free(&t);
	return true;
}

bool
ask_bytes(struct ask *a, struct pairs *p, struct bh_bytes text,
    const char *name, struct bh_bytes *ret)
{
	const char *encoding = web_printf(&a->web, "%s_encoding", name);
	struct bh_bytes how = {"json", 4}, v;

	*ret = (struct bh_bytes){NULL, 0};
	pairs_get(p, encoding, &how);
	if (!pairs_get(p, name, &v))
		return true;
	if (bytes_is(how, "json")) {
		*ret = json_member(text.data, text.len, name);
		/* Its name is written with escapes. */
		if (!ret->data) {
			ask_fail(a, BH_E_BADARG, "%s: write the member's name"
			    " without escapes", name);
			return false;
		}
		return true;
	}
	if (bytes_is(how, "base64"))
		return decoded(a, name, v, ret);
	if (bytes_is(how, "text") && v.data) {
		*ret = v;
		return true;
	}
	ask_fail(a, BH_E_BADARG, v.data ? "%s: json, text or base64 is"
	    " expected" : "%s: it needs a string beside it", encoding);
	return false;
}

bool
ask_value(struct ask *a, struct pairs *p, const char *name,
    struct bh_bytes *ret)
{
	*ret = (struct bh_bytes){NULL, 0};
	if (!pairs_get(p, name, ret))
		return pairs_get(&a->query, name, ret) || true;
	if (ret->data)
		return true;
	ask_fail(a, BH_E_BADARG, "%s: a plain value is expected", name);
	return false;
}

/* ---------------------------------------------------------------- commands */

void
ask_add(struct ask *a, struct bh_bytes word)
{
	if (!a->argv) {
		a->argv = a->few;
		a->argcap = WORDS_FEW;
	}
	if (a->argc == a->argcap) {
		size_t bytes = a->argcap * sizeof(*a->argv);
		struct bh_bytes *more = mem_resize(a->argv == a->few ? NULL :
		    a->argv, bytes * 2);

		if (a->argv == a->few)
			memcpy(more, a->few, bytes);
		a->argv = more;
		a->argcap *= 2;
	}
	a->argv[a->argc++] = word;
}

void
ask_word(struct ask *a, const char *word)
{
	ask_add(a, bytes_of(word));
}

void
ask_number(struct ask *a, int64_t v)
{
	char *s = web_alloc(&a->web, 24);
	int n = snprintf(s, 24, "%lld", (long long)v);

	ask_add(a, (struct bh_bytes){s, (size_t)n});
}

const char *
ask_retell(struct ask *a, const char *text)
{
	static const struct {
		const char *word, *name;
	} others[] = {{"TTL", "unique_ttl"}, {"MODE", "unique_mode"},
	    {"FACTOR", "backoff_factor"}, {"MAX", "backoff_max"},
	    {"JITTER", "backoff_jitter"}, {"BLOCK", "wait"},
	    {"limit", "rate"}, {"per_ms", "per"}};
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	    "abcdefghijklmnopqrstuvwxyz");
	char *s;

	if (n == 0 || text[n] != ':')
		return text;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strlen(others[i].word) == n &&
		    memcmp(others[i].word, text, n) == 0)
			return web_printf(&a->web, "%s%s", others[i].name,
			    text + n);
	s = web_printf(&a->web, "%s", text);
	for (size_t i = 0; i < n; i++)
		if (s[i] >= 'A' && s[i] <= 'Z')
			s[i] |= 0x20;
	return s;
}

static void
on_done(struct bh_call *call)
{
	struct ask *a = call->user;
	const char *text = call->text ? call->text : "";

	a->running = false;
	client_drop(a->client);
	if (call->status != BH_OK)
		ask_problem(a, code_status(call->status),
		    code_word(call->status), a->retold ? a->retold(a, text) :
		    ask_retell(a, text), call->retry_ms);
	else
		a->then(a);
}

void
ask_run(struct ask *a, unsigned flags, ask_fn *then)
{
	if (!ask_known(a, &a->query))
		return;
	a->then = then;
	a->running = true;
	a->call = (struct bh_call){.caller = a->client->caller,
	    .argv = a->argv, .argc = a->argc,
	    .flags = flags | (a->web.late ? BH_CALL_LATE : 0),
	    .done = on_done, .user = a, .retry_ms = -1};
	client_hold(a->client);
	a->door->host->run(&a->call);
}

void
ask_again(struct ask *a)
{
	a->argc = 0;
}

bool
ask_is_null(const struct ask *a)
{
	return a->call.json.len == 0 || bytes_is(a->call.json, "null");
}

void
ask_then_json(struct ask *a)
{
	ask_json(a, a->status ? a->status : 200, a->call.json);
}

void
ask_then_none(struct ask *a)
{
	ask_none(a);
}

void
ask_then_count(struct ask *a)
{
	char *s = web_printf(&a->web, "{\"count\":%.*s}",
	    (int)a->call.json.len, a->call.json.data);

	ask_json(a, 200, bytes_of(s));
}
