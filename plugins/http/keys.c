/* SPDX-License-Identifier: MIT */
/* /v1/cache and /v1/limits: what the keyspace has for web applications. */
#include <stdio.h>
#include <string.h>

#include "http/routes.h"

#define TAKE_BURST 6			/* word of LIMIT.TAKE */

static void
add_key(struct ask *a)
{
	char *s = web_printf(&a->web, "cache:%.*s", (int)a->param[0].len,
	    a->param[0].data);

	ask_word(a, s);
}

static void
cache_got(struct ask *a)
{
	struct text t = {0};

	/* Raw: an absent value has no data, an empty one has. */
	if (!a->call.json.data) {
		ask_fail(a, BH_E_NOTFOUND, "the cache has no '%.*s'",
		    a->param[0].len > 128 ? 128 : (int)a->param[0].len,
		    a->param[0].data);
		return;
	}
	text_add(&t, a->call.json.data, a->call.json.len);
	ask_text(a, "application/octet-stream", &t);
}

void
cache_get(struct ask *a)
{
	ask_word(a, "GET");
	add_key(a);
	ask_run(a, BH_CALL_RAW, cache_got);
}

void
cache_put(struct ask *a)
{
	int64_t ms;
	bool ttl;

	if (!ask_span(a, &a->query, "ttl", &ms, &ttl))
		return;
	ask_word(a, "SET");
	add_key(a);
	ask_add(a, (struct bh_bytes){a->web.body.data ? a->web.body.data : "",
	    a->web.body.len});
	if (ttl) {
		ask_word(a, "PX");
		ask_number(a, ms);
	}
	ask_run(a, 0, ask_then_none);
}

void
cache_remove(struct ask *a)
{
	ask_word(a, "DEL");
	add_key(a);
	ask_run(a, 0, ask_then_none);
}

static void
add_seconds(struct ask *a, const char *name, int64_t ms)
{
	web_header(&a->web, name, web_printf(&a->web, "%lld",
	    (long long)(ms + 999) / 1000));
}

/* {"allowed":…,"windows":[{…}]}, said by headers too. */
static void
taken(struct ask *a)
{
	json_t *map = json_loadb(a->call.json.data, a->call.json.len, 0,
	    NULL);
	json_t *one = json_array_get(json_object_get(map, "windows"), 0);
	json_int_t retry = json_integer_value(json_object_get(one,
	    "retry_ms"));
	bool allowed = json_is_true(json_object_get(map, "allowed")) ||
	    json_integer_value(json_object_get(map, "allowed")) == 1;
	int64_t size = 0;

	/* What it holds when it is full: never less than what remains. */
	number_parse(a->argv[TAKE_BURST].data, a->argv[TAKE_BURST].len,
	    &size);
	web_header(&a->web, "RateLimit-Limit", web_printf(&a->web, "%lld",
	    (long long)size));
	web_header(&a->web, "RateLimit-Remaining", web_printf(&a->web, "%lld",
	    (long long)json_integer_value(json_object_get(one,
	    "remaining"))));
	add_seconds(a, "RateLimit-Reset", json_integer_value(json_object_get(
	    one, "reset_ms")));
	if (!allowed && retry >= 0)
		add_seconds(a, "Retry-After", retry);
	json_decref(map);
	ask_json(a, allowed ? 200 : 429, a->call.json);
}

void
limit_take(struct ask *a)
{
	struct bh_bytes rate, burst, quantity = {"1", 1};
	int64_t per;
	bool seen;

	if (!ask_span(a, &a->query, "per", &per, &seen))
		return;
	if (!seen || !pairs_get(&a->query, "rate", &rate)) {
		ask_fail(a, BH_E_BADARG, "%s: it is missing; a limit is so"
		    " many tokens for so long: rate=80&per=60s",
		    seen ? "rate" : "per");
		return;
	}
	burst = rate;
	pairs_get(&a->query, "burst", &burst);
	pairs_get(&a->query, "quantity", &quantity);
	ask_word(a, "LIMIT.TAKE");
	ask_add(a, a->param[0]);
	ask_add(a, quantity);
	ask_word(a, "1");
	ask_add(a, rate);
	ask_number(a, per);
	ask_add(a, burst);
	ask_run(a, 0, taken);
}
