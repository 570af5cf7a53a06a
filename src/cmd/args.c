/* SPDX-License-Identifier: MIT */
#include "cmd/args.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define QUOTE_MAX 48

const char *const arg_states[BH_STATES + 1] = {
	[BH_WAITING] = "waiting",
	[BH_DELAYED] = "delayed",
	[BH_ACTIVE] = "active",
	[BH_COMPLETED] = "completed",
	[BH_FAILED] = "failed",
};

/* A value as a message shows it: cut, and without what a terminal obeys. */
struct quoted {
	char s[QUOTE_MAX + 4];
};

static struct quoted
quote(struct bh_bytes v)
{
	struct quoted q;
	size_t n = v.len > QUOTE_MAX ? QUOTE_MAX : v.len;

	for (size_t i = 0; i < n; i++)
		q.s[i] = (unsigned char)v.data[i] < 0x20 ||
		    v.data[i] == 0x7f ? '?' : v.data[i];
	strcpy(q.s + n, v.len > QUOTE_MAX ? "..." : "");
	return q;
}

int
arg_int(const char *name, struct bh_bytes v, int64_t min, int64_t max,
    int64_t *ret, struct err *e)
{
	int64_t n;

	if (str_int(v.data, v.len, &n) < 0 || n < min || n > max)
		return err_set(e, BH_E_BADARG, "%s: '%s' is not an integer"
		    " from %lld to %lld", name, quote(v).s, (long long)min,
		    (long long)max);
	*ret = n;
	return 0;
}

int
arg_real(const char *name, struct bh_bytes v, double min, double max,
    double *ret, struct err *e)
{
	double d;

	if (str_double(v.data, v.len, &d) < 0 || d < min || d > max)
		return err_set(e, BH_E_BADARG, "%s: '%s' is not a number from"
		    " %g to %g", name, quote(v).s, min, max);
	*ret = d;
	return 0;
}

int
arg_key(const char *name, struct bh_bytes v, struct bh_bytes *ret,
    struct err *e)
{
	if (v.len == 0)
		return err_set(e, BH_E_BADARG, "%s: '' is empty; 1 to %d bytes"
		    " are expected", name, ARG_KEY_MAX);
	if (v.len > ARG_KEY_MAX)
		return err_set(e, BH_E_TOOBIG, "%s: '%s' has %zu bytes; at"
		    " most %d are expected", name, quote(v).s, v.len,
		    ARG_KEY_MAX);
	*ret = v;
	return 0;
}

int
arg_word(const char *name, struct bh_bytes v, const char *const *words,
    int64_t *ret, struct err *e)
{
	char list[120] = "";
	size_t at = 0;

	for (size_t i = 0; words[i]; i++) {
		if (str_is(v.data, v.len, words[i])) {
			*ret = (int64_t)i;
			return 0;
		}
		if (at < sizeof(list))
			at += (size_t)snprintf(list + at, sizeof(list) - at,
			    "%s%s", i ? ", " : "", words[i]);
	}
	return err_set(e, BH_E_BADARG, "%s: '%s' is none of %s", name,
	    quote(v).s, list);
}

int
arg_queue(struct bh_bytes v, struct err *e)
{
	bool good = v.len >= 1 && v.len <= ARG_QUEUE_MAX;

	for (size_t i = 0; good && i < v.len; i++) {
		char c = v.data[i];

		good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '_' || c == '.' ||
		    c == ':' || c == '-';
	}
	if (!good)
		return err_set(e, BH_E_BADARG, "queue: '%s' is not a queue"
		    " name: 1 to %d of A-Z a-z 0-9 _ . : - are expected",
		    quote(v).s, ARG_QUEUE_MAX);
	return 0;
}

int
arg_state(struct bh_bytes v, enum bh_job_state *ret, struct err *e)
{
	int64_t i;

	if (arg_word("state", v, arg_states, &i, e) < 0)
		return -1;
	*ret = (enum bh_job_state)i;
	return 0;
}

int
arg_id(struct bh_bytes v, int64_t *ret, struct err *e)
{
	int64_t id;

	if (str_int(v.data, v.len, &id) < 0 || id <= 0)
		return err_set(e, BH_E_BADARG, "id: '%s' is not a job id: a"
		    " whole number above 0 is expected", quote(v).s);
	*ret = id;
	return 0;
}

int
arg_hex(const char *name, struct bh_bytes v, uint64_t *ret, struct err *e)
{
	uint64_t n = 0;
	bool good = v.len == 16;

	for (size_t i = 0; good && i < v.len; i++) {
		char c = v.data[i];
		char low = (char)(c | 0x20);

		if (c >= '0' && c <= '9')
			n = n << 4 | (uint64_t)(c - '0');
		else if (low >= 'a' && low <= 'f')
			n = n << 4 | (uint64_t)(low - 'a' + 10);
		else
			good = false;
	}
	if (!good)
		return err_set(e, BH_E_BADARG, "%s: '%s' is not a number of 16"
		    " hexadecimal digits", name, quote(v).s);
	*ret = n;
	return 0;
}

uint64_t
arg_token(struct bh_bytes v)
{
	struct err ignored;
	uint64_t token;

	return arg_hex("token", v, &token, &ignored) < 0 ? 0 : token;
}

int
arg_size(const char *name, struct bh_bytes v, int64_t max, const char *limit,
    struct err *e)
{
	if (v.len <= (uint64_t)max)
		return 0;
	return err_set(e, BH_E_TOOBIG, "%s: %zu bytes; at most %lld are"
	    " expected (%s)", name, v.len, (long long)max, limit);
}

int
arg_opts(const char *cmd, const struct bh_bytes *argv, size_t argc, size_t at,
    struct arg_opt *opts, size_t n, struct err *e)
{
	while (at < argc) {
		struct arg_opt *o = NULL;

		for (size_t i = 0; i < n && !o; i++)
			if (str_is(argv[at].data, argv[at].len, opts[i].name))
				o = &opts[i];
		if (!o)
			return err_set(e, BH_E_ERR, "syntax error: '%s' is no"
			    " option of %s", quote(argv[at]).s, cmd);
		if (o->seen)
			return err_set(e, BH_E_BADARG, "%s: given twice",
			    o->name);
		o->seen = true;
		at++;
		if (o->flag)
			continue;
		if (at == argc)
			return err_set(e, BH_E_ERR, "syntax error: %s without"
			    " its value", o->name);
		o->value = argv[at++];
	}
	return 0;
}

enum job_opt_kind { KIND_I64, KIND_I32, KIND_I8, KIND_REAL, KIND_KEY,
    KIND_WORD };

enum job_opt_index { J_PRIORITY, J_DELAY, J_AT, J_EXPIRES, J_ATTEMPTS,
    J_BACKOFF, J_BACKOFF_MS, J_FACTOR, J_MAX, J_JITTER, J_TIMEOUT, J_GROUP,
    J_LEASE, J_MAX_STALLED, J_UNIQUE, J_TTL, J_MODE, J_RETAIN, J_COUNT };

/* needs and excludes are indexes + 1; next is a value that follows at once. */
struct job_opt {
	const char *name;
	enum job_opt_kind kind;
	size_t offset;
	int64_t min, max;
	const char *const *words;
	int needs, excludes, next;
};

static const char *const backoff_words[] = {"FIXED", "EXPONENTIAL", NULL};
static const char *const mode_words[] = {"KEEP", "REPLACE", "FOLLOW", NULL};

#define AT(field) offsetof(struct bh_job_opts, field)

static const struct job_opt job_opts[J_COUNT] = {
	[J_PRIORITY] = {"PRIORITY", KIND_I8, AT(priority), 0, 9},
	[J_DELAY] = {"DELAY", KIND_I64, AT(delay_ms), 0, ARG_SPAN_MAX,
	    .excludes = J_AT + 1},
	[J_AT] = {"AT", KIND_I64, AT(at), 0, INT64_C(253402300799999),
	    .excludes = J_DELAY + 1},
	[J_EXPIRES] = {"EXPIRES", KIND_I64, AT(expires_ms), 1, ARG_SPAN_MAX},
	[J_ATTEMPTS] = {"ATTEMPTS", KIND_I32, AT(attempts), 1, 65535},
	[J_BACKOFF] = {"BACKOFF", KIND_WORD, AT(backoff_type),
	    .words = backoff_words, .next = J_BACKOFF_MS},
	[J_BACKOFF_MS] = {NULL, KIND_I64, AT(backoff_ms), 0, ARG_SPAN_MAX},
	[J_FACTOR] = {"FACTOR", KIND_REAL, AT(backoff_factor), 1, 1000,
	    .needs = J_BACKOFF + 1},
	[J_MAX] = {"MAX", KIND_I64, AT(backoff_max_ms), 0, ARG_SPAN_MAX,
	    .needs = J_BACKOFF + 1},
	[J_JITTER] = {"JITTER", KIND_REAL, AT(backoff_jitter), 0, 1,
	    .needs = J_BACKOFF + 1},
	[J_TIMEOUT] = {"TIMEOUT", KIND_I64, AT(timeout_ms), 1, ARG_SPAN_MAX},
	[J_GROUP] = {"GROUP", KIND_KEY, AT(group)},
	[J_LEASE] = {"LEASE", KIND_I64, AT(lease_ms), 1, ARG_SPAN_MAX},
	[J_MAX_STALLED] = {"MAX_STALLED", KIND_I32, AT(max_stalled), 0,
	    65534},
	[J_UNIQUE] = {"UNIQUE", KIND_KEY, AT(unique)},
	[J_TTL] = {"TTL", KIND_I64, AT(unique_ttl_ms), 1, ARG_SPAN_MAX,
	    .needs = J_UNIQUE + 1},
	[J_MODE] = {"MODE", KIND_WORD, AT(unique_mode), .words = mode_words,
	    .needs = J_UNIQUE + 1},
	[J_RETAIN] = {"RETAIN", KIND_I64, AT(retain_ms), 0, ARG_SPAN_MAX},
};

#undef AT

static void
store_int(const struct job_opt *o, void *field, int64_t n)
{
	if (o->kind == KIND_I64)
		*(int64_t *)field = n;
	else if (o->kind == KIND_I32)
		*(int32_t *)field = (int32_t)n;
	else
		*(int8_t *)field = (int8_t)n;
}

static int
job_opt_value(const struct job_opt *o, const char *name, struct bh_bytes v,
    struct bh_job_opts *opts, struct err *e)
{
	void *field = (char *)opts + o->offset;
	int64_t n;

	if (o->kind == KIND_KEY)
		return arg_key(name, v, field, e);
	if (o->kind == KIND_REAL)
		return arg_real(name, v, (double)o->min, (double)o->max,
		    field, e);
	if (o->kind == KIND_WORD ? arg_word(name, v, o->words, &n, e) < 0 :
	    arg_int(name, v, o->min, o->max, &n, e) < 0)
		return -1;
	store_int(o, field, n);
	return 0;
}

static const struct job_opt *
job_opt_find(struct bh_bytes v)
{
	for (size_t i = 0; i < J_COUNT; i++)
		if (job_opts[i].name && v.len > 0 &&
		    (v.data[0] & ~0x20) == job_opts[i].name[0] &&
		    str_is(v.data, v.len, job_opts[i].name))
			return &job_opts[i];
	return NULL;
}

/* Whether an option may stand beside those seen so far. */
static int
job_opt_allowed(const struct job_opt *o, uint32_t seen, struct err *e)
{
	if (seen & 1u << (o - job_opts))
		return err_set(e, BH_E_BADARG, "%s: given twice", o->name);
	if (o->needs && !(seen & 1u << (o->needs - 1)))
		return err_set(e, BH_E_BADARG, "%s: only after %s", o->name,
		    job_opts[o->needs - 1].name);
	if (o->excludes && seen & 1u << (o->excludes - 1))
		return err_set(e, BH_E_BADARG, "%s: not together with %s",
		    o->name, job_opts[o->excludes - 1].name);
	return 0;
}

int
arg_job_opts(const struct bh_bytes *argv, size_t argc, size_t at,
    struct bh_job_opts *ret, struct err *e)
{
	uint32_t seen = 0;

	bh_job_opts_init(ret);
	while (at < argc) {
		const struct job_opt *o = job_opt_find(argv[at]);
		const char *name;

		if (!o)
			return err_set(e, BH_E_ERR, "syntax error: '%s' is no"
			    " job option", quote(argv[at]).s);
		if (job_opt_allowed(o, seen, e) < 0)
			return -1;
		seen |= 1u << (o - job_opts);
		name = o->name;
		at++;
		for (; o; o = o->next ? &job_opts[o->next] : NULL) {
			if (at == argc)
				return err_set(e, BH_E_ERR, "syntax error: %s"
				    " without its value", name);
			if (job_opt_value(o, name, argv[at++], ret, e) < 0)
				return -1;
		}
	}
	return 0;
}
