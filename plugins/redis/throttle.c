/* SPDX-License-Identifier: MIT */
/* Limiters: judged at the server, so that all instances share them. */
#include <hiredis/hiredis.h>

#include "redis/away.h"
#include "redis/mem.h"
#include "redis/part.h"

#define KEY_MAX 1024
#define WINDOWS 8
#define NUMBER_MAX INT64_C(1000000000)
#define PER_MAX INT64_C(31622400000)	/* 366 days, ms */
#define WORDS (3 + 3 * WINDOWS)

struct take {
	struct redis_be *be;
	struct bh_throttle *r;
};

static bool
check_number(struct redis_be *be, struct bh_throttle *r, const char *what,
    int64_t v, int64_t min, int64_t max)
{
	if (v >= min && v <= max)
		return true;
	be_fail(be, &r->req, BH_E_BADARG, "%s: expected an integer from %lld to"
	    " %lld, not %lld", what, (long long)min, (long long)max,
	    (long long)v);
	return false;
}

/* False: it is answered. */
static bool
check(struct redis_be *be, struct bh_throttle *r)
{
	if (!check_number(be, r, "length of the key", (int64_t)r->key.len, 1,
	    KEY_MAX) ||
	    !check_number(be, r, "quantity", r->quantity, 0, NUMBER_MAX) ||
	    !check_number(be, r, "number of windows", (int64_t)r->nwindows, 1,
	    WINDOWS))
		return false;
	for (size_t i = 0; i < r->nwindows; i++) {
		const struct bh_window *w = &r->windows[i];

		if (!check_number(be, r, "limit", w->limit, 1, NUMBER_MAX) ||
		    !check_number(be, r, "burst", w->burst, 1, NUMBER_MAX) ||
		    !check_number(be, r, "per", w->per_ms, 1, PER_MAX))
			return false;
	}
	return true;
}

static void
on_taken(void *arg, redisReply *reply)
{
	struct take *t = arg;
	struct redis_be *be = t->be;
	struct bh_throttle *r = t->r;

	free(t);
	be->throttles--;
	if (!reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements != 1 + 3 * r->nwindows) {
		be_done_error(be, &r->req, reply);
		return;
	}
	r->allowed = reply->element[0]->integer == 1;
	for (size_t i = 0; i < r->nwindows; i++) {
		redisReply **v = &reply->element[1 + 3 * i];

		r->windows[i].remaining = v[0]->integer;
		r->windows[i].reset_ms = v[1]->integer;
		r->windows[i].retry_ms = v[2]->integer;
	}
	be_done(&r->req);
}

char *
rthrottle_key(const struct redis_be *be, struct bh_bytes key, size_t *ret_len)
{
	size_t n = strlen(be->config.prefix);
	char *out = mem_new(n + key.len + 3);

	memcpy(out, be->config.prefix, n);
	memcpy(out + n, "t:", 2);
	if (key.len > 0)
		memcpy(out + n + 2, key.data, key.len);
	*ret_len = n + key.len + 2;
	return out;
}

void
rthrottle_take(void *arg, struct bh_throttle *r)
{
	struct redis_be *be = arg;
	char numbers[WORDS][24];
	const char *words[WORDS];
	size_t lens[WORDS];
	struct take *t;
	char *key;
	int n = 3;

	if (!check(be, r))
		return;
	if (!be->ready && be->host->spare_throttle && !raway_left(be)) {
		be->host->spare_throttle(r);
		return;
	}
	if (raway_left(be)) {
		be_fail_away(be, &r->req);
		return;
	}
	key = rthrottle_key(be, r->key, &lens[0]);
	words[0] = key;
	numbers[1][0] = '\0';
	if (be->config.turn_clock)
		snprintf(numbers[1], sizeof(numbers[1]), "%lld",
		    (long long)be_steady(be) * 1000);
	snprintf(numbers[2], sizeof(numbers[2]), "%lld",
	    (long long)r->quantity);
	for (size_t i = 0; i < r->nwindows; i++) {
		const struct bh_window *w = &r->windows[i];
		int64_t v[] = {w->limit, w->per_ms, w->burst};

		for (int k = 0; k < 3; k++)
			snprintf(numbers[n++], sizeof(numbers[0]), "%lld",
			    (long long)v[k]);
	}
	for (int i = 1; i < n; i++) {
		words[i] = numbers[i];
		lens[i] = strlen(numbers[i]);
	}
	t = mem_new(sizeof(*t));
	*t = (struct take){be, r};
	if (rscript_call(be, RSCRIPT_THROTTLE, 1, n, words, lens, on_taken,
	    t)) {
		be->throttles++;
	} else {
		free(t);
		be_fail_away(be, &r->req);
	}
	free(key);
}

bool
rthrottle_idle(const struct redis_be *be)
{
	return be->throttles == 0;
}
