/* SPDX-License-Identifier: MIT */
#include "http/opts.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum opt_kind { OPT_WORD, OPT_SPAN, OPT_MOMENT };

struct opt {
	const char *name;		/* in a query or an object */
	const char *word;		/* of the command */
	enum opt_kind kind;
	const char *after;		/* only together with this option */
};

/* In the order in which the command wants those that belong together. */
static const struct opt opts[] = {
	{"priority", "PRIORITY", OPT_WORD, NULL},
	{"delay", "DELAY", OPT_SPAN, NULL},
	{"at", "AT", OPT_MOMENT, NULL},
	{"expires", "EXPIRES", OPT_SPAN, NULL},
	{"attempts", "ATTEMPTS", OPT_WORD, NULL},
	{"timeout", "TIMEOUT", OPT_SPAN, NULL},
	{"lease", "LEASE", OPT_SPAN, NULL},
	{"max_stalled", "MAX_STALLED", OPT_WORD, NULL},
	{"group", "GROUP", OPT_WORD, NULL},
	{"retain", "RETAIN", OPT_SPAN, NULL},
	{"backoff", "BACKOFF", OPT_WORD, NULL},
	{"backoff_delay", NULL, OPT_SPAN, "backoff"},
	{"backoff_factor", "FACTOR", OPT_WORD, "backoff"},
	{"backoff_max", "MAX", OPT_SPAN, "backoff"},
	{"backoff_jitter", "JITTER", OPT_WORD, "backoff"},
	{"unique", "UNIQUE", OPT_WORD, NULL},
	{"unique_ttl", "TTL", OPT_SPAN, "unique"},
	{"unique_mode", "MODE", OPT_WORD, "unique"},
};

int
moment_parse(struct bh_bytes v, int64_t *ret_ms)
{
	char text[40], *rest;
	struct tm tm = {0};
	int64_t ms = 0, scale = 100;
	int hours = 0, minutes = 0;
	char sign;

	if (number_parse(v.data, v.len, ret_ms) == 0)
		return 0;
	if (v.len >= sizeof(text))
		return -1;
	memcpy(text, v.data, v.len);
	text[v.len] = '\0';
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -1;
	if (*rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++) {
			ms += (*rest - '0') * scale;
			scale /= 10;
		}
	sign = *rest;
	if (sign == '+' || sign == '-') {
		if (strlen(rest) != 6 || sscanf(rest + 1, "%2d:%2d", &hours,
		    &minutes) != 2 || hours > 23 || minutes > 59)
			return -1;
	} else if (strcmp(rest, "Z") != 0) {
		return -1;
	}
	ms += (int64_t)timegm(&tm) * 1000;
	ms -= (sign == '-' ? -1 : 1) * (hours * 60 + minutes) * INT64_C(60000);
	*ret_ms = ms;
	return 0;
}

static bool
add_value(struct ask *a, const struct opt *o, struct bh_bytes v)
{
	int64_t ms;
	int shown = v.len > 64 ? 64 : (int)v.len;

	if (!v.data) {
		ask_fail(a, BH_E_BADARG, "%s: a plain value is expected",
		    o->name);
		return false;
	}
	if (o->word)
		ask_word(a, o->word);
	if (o->kind == OPT_WORD) {
		ask_add(a, v);
		return true;
	}
	if (o->kind == OPT_SPAN ? span_parse(v.data, v.len, &ms) < 0 :
	    moment_parse(v, &ms) < 0) {
		ask_fail(a, BH_E_BADARG, o->kind == OPT_SPAN ?
		    "%s: '%.*s' is no duration; a number with a unit is"
		    " expected: 500ms, 2s, 5m, 1h or 7d" :
		    "%s: '%.*s' is no time; ms since 1970 or a date as in"
		    " RFC 3339 is expected: 2026-03-01T06:00:00Z",
		    o->name, shown, v.data);
		return false;
	}
	ask_number(a, ms);
	return true;
}

bool
opts_add(struct ask *a, struct pairs *p)
{
	const struct opt *leader = NULL;

	if (p->n == 0)
		return true;
	for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		const struct opt *o = &opts[i];
		struct bh_bytes v;

		if (!o->after)
			leader = NULL;
		if (!pairs_get(p, o->name, &v)) {
			if (leader && !o->word) {
				ask_fail(a, BH_E_BADARG, "backoff: it needs a"
				    " backoff_delay");
				return false;
			}
			continue;
		}
		if (o->after && !leader) {
			ask_fail(a, BH_E_BADARG, "%s: only together with %s",
			    o->name, o->after);
			return false;
		}
		if (!add_value(a, o, v))
			return false;
		if (!o->after)
			leader = o;
	}
	return true;
}
