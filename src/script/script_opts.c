/* SPDX-License-Identifier: MIT */
#include "script/script_opts.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "plugin.h"
#include "script/lua_time.h"
#include "script/script_schedule.h"

struct reader {
	lua_State *L;
	struct script_opts *to;
	struct buf *e;
	bool failed;
};

/* What an option's value may be; each row says where it goes. */
enum kind {
	K_INT, K_REAL, K_BOOL, K_SPAN, K_QUEUE, K_ORDER, K_BY, K_BACKOFF_TYPE,
	K_TABLE, K_FUNCTION, K_HOOK, K_TOPICS, K_SCHEDULE
};

struct row {
	const char *name;
	enum kind kind;
	size_t at;			/* in struct bh_queue_opts */
	int64_t min, max;		/* K_INT */
	const struct row *rows;		/* K_TABLE */
};

#define AT(field) offsetof(struct bh_queue_opts, field)
#define MANY 1000000000
#define BATCH_MAX_DEFAULT 50

static const struct row backoff_rows[] = {
	{"type", K_BACKOFF_TYPE, AT(backoff_type), 0, 0, NULL},
	{"delay", K_SPAN, AT(backoff_ms), 0, 0, NULL},
	{"max", K_SPAN, AT(backoff_max_ms), 0, 0, NULL},
	{"factor", K_REAL, AT(backoff_factor), 1, 1000, NULL},
	{"jitter", K_REAL, AT(backoff_jitter), 0, 1, NULL},
	{0},
};

static const struct row rate_rows[] = {
	{"limit", K_INT, AT(rate_limit), 1, MANY, NULL},
	{"per", K_SPAN, AT(rate_per_ms), 1, 0, NULL},
	{"burst", K_INT, AT(rate_burst), 1, MANY, NULL},
	{"by", K_BY, AT(rate_by), 0, 0, NULL},
	{0},
};

static const struct row retention_rows[] = {
	{"completed", K_SPAN, AT(retain_completed_ms), 0, 0, NULL},
	{"completed_count", K_INT, AT(retain_completed_count), 0, MANY, NULL},
	{"failed", K_SPAN, AT(retain_failed_ms), 0, 0, NULL},
	{"failed_count", K_INT, AT(retain_failed_count), 0, MANY, NULL},
	{0},
};

/* The engine hands out no more than 1000 together. */
static const struct row batch_rows[] = {
	{"max", K_INT, AT(batch_max), 1, 1000, NULL},
	{"window", K_SPAN, AT(batch_window_ms), 0, 0, NULL},
	{"quiet", K_SPAN, AT(batch_quiet_ms), 0, 0, NULL},
	{0},
};

static const struct row rows[] = {
	{"queue", K_QUEUE, SIZE_MAX, 0, 0, NULL},
	{"perform", K_FUNCTION, 0, 0, 0, NULL},
	{"perform_batch", K_FUNCTION, 0, 0, 0, NULL},
	{"batch", K_TABLE, 0, 0, 0, batch_rows},
	{"on_completed", K_FUNCTION, 1 << BH_ON_COMPLETED, 0, 0, NULL},
	{"on_failed", K_FUNCTION, 1 << BH_ON_FAILED, 0, 0, NULL},
	{"on_stalled", K_FUNCTION, 1 << BH_ON_STALLED, 0, 0, NULL},
	{"concurrency", K_INT, AT(concurrency), 1, 100000, NULL},
	{"attempts", K_INT, AT(attempts), 1, 65535, NULL},
	{"backoff", K_TABLE, 0, 0, 0, backoff_rows},
	{"rate", K_TABLE, 0, 0, 0, rate_rows},
	{"timeout", K_SPAN, AT(timeout_ms), 1, 0, NULL},
	{"weight", K_INT, AT(weight), 1, 1000000, NULL},
	{"strict", K_BOOL, AT(strict), 0, 0, NULL},
	{"max_active", K_INT, AT(max_active), 0, MANY, NULL},
	{"group_concurrency", K_INT, AT(group_concurrency), 1, MANY, NULL},
	{"group_order", K_ORDER, AT(group_order), 0, 0, NULL},
	{"max_waiting", K_INT, AT(max_waiting), 0, MANY, NULL},
	{"dead_letter", K_QUEUE, AT(dead_letter), 0, 0, NULL},
	{"retention", K_TABLE, 0, 0, 0, retention_rows},
	{"lease", K_SPAN, AT(lease_ms), 1, 0, NULL},
	{"max_stalled", K_INT, AT(max_stalled), 0, 65534, NULL},
	{"hook", K_HOOK, 0, 0, 0, NULL},
	{"subscribe", K_TOPICS, 0, 0, 0, NULL},
	{"schedule", K_SCHEDULE, 0, 0, 0, NULL},
	{0},
};

/* The first complaint counts. */
static void
refuse(struct reader *r, const char *prefix, const char *name,
    const char *expected)
{
	const char *s;

	if (r->failed)
		return;
	r->failed = true;
	s = luaL_tolstring(r->L, -1, NULL);
	buf_addf(r->e, "option '%s%s': expected %s, got ", prefix, name,
	    expected);
	if (lua_type(r->L, -2) == LUA_TSTRING)
		buf_addf(r->e, "\"%.100s\"", s);
	else
		buf_addf(r->e, "%.100s", s);
	lua_pop(r->L, 1);
}

static bool
queue_name_ok(const char *s, size_t len)
{
	return len >= 1 && len <= 128 &&
	    strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789_.:-") == len;
}

static void
read_int(struct reader *r, const char *prefix, const struct row *o,
    int64_t *to)
{
	int ok;
	lua_Integer v = lua_tointegerx(r->L, -1, &ok);
	char want[80];

	if (lua_type(r->L, -1) == LUA_TNUMBER && ok && v >= o->min &&
	    v <= o->max) {
		*to = v;
		return;
	}
	snprintf(want, sizeof(want), "an integer from %lld to %lld",
	    (long long)o->min, (long long)o->max);
	refuse(r, prefix, o->name, want);
}

static void
read_real(struct reader *r, const char *prefix, const struct row *o,
    double *to)
{
	double v = lua_tonumber(r->L, -1);
	char want[80];

	if (lua_type(r->L, -1) == LUA_TNUMBER && v >= (double)o->min &&
	    v <= (double)o->max) {
		*to = v;
		return;
	}
	snprintf(want, sizeof(want), "a number from %lld to %lld",
	    (long long)o->min, (long long)o->max);
	refuse(r, prefix, o->name, want);
}

static void
read_span(struct reader *r, const char *prefix, const struct row *o,
    int64_t *to)
{
	int64_t ms = lua_span_try(r->L, -1);

	if (ms >= o->min)
		*to = ms;
	else
		refuse(r, prefix, o->name, o->min ? "a duration above 0 such "
		    "as \"30s\", or seconds" : "a duration such as \"30s\", or "
		    "seconds");
}

static void
read_word(struct reader *r, const char *prefix, const struct row *o,
    const char *zero, const char *one, int64_t *to)
{
	const char *s = lua_type(r->L, -1) == LUA_TSTRING ?
	    lua_tostring(r->L, -1) : "";
	char want[80];

	if (strcmp(s, zero) == 0) {
		*to = 0;
	} else if (strcmp(s, one) == 0) {
		*to = 1;
	} else {
		snprintf(want, sizeof(want), "\"%s\" or \"%s\"", zero, one);
		refuse(r, prefix, o->name, want);
	}
}

static void
read_queue(struct reader *r, const char *prefix, const struct row *o)
{
	char *to = o->at == SIZE_MAX ? r->to->queue : r->to->opts.dead_letter;
	const char *s = NULL;
	size_t len = 0;

	if (lua_type(r->L, -1) == LUA_TSTRING)
		s = lua_tolstring(r->L, -1, &len);
	if (s && queue_name_ok(s, len))
		memcpy(to, s, len + 1);
	else
		refuse(r, prefix, o->name, "a queue's name (1 to 128 letters, "
		    "digits and _.:-)");
}

static void read_table(struct reader *r, const char *prefix,
    const struct row *table);

static void
read_function(struct reader *r, const char *prefix, const struct row *o)
{
	if (lua_isfunction(r->L, -1))
		r->to->opts.callbacks |= (int64_t)o->at;
	else
		refuse(r, prefix, o->name, "a function");
}

static void
read_sub(struct reader *r, const struct row *o)
{
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "%s.", o->name);
	if (lua_istable(r->L, -1))
		read_table(r, prefix, o->rows);
	else
		refuse(r, "", o->name, "a table");
}

/* What has a reader of its own. */
static void
read_apart(struct reader *r, const struct row *o)
{
	struct script_opts *to = r->to;
	int rc;

	if (r->failed)
		return;
	if (o->kind == K_HOOK)
		rc = script_hook_read(r->L, &to->hook, r->e);
	else if (o->kind == K_TOPICS)
		rc = script_topics_read(r->L, &to->topics, r->e);
	else
		rc = script_schedule_check(r->L, r->e);
	to->has_hook |= o->kind == K_HOOK;
	to->has_schedule |= o->kind == K_SCHEDULE;
	r->failed = rc < 0;
}

/* The value is on top of the stack. */
static void
read_option(struct reader *r, const char *prefix, const struct row *o)
{
	void *to = o->at == SIZE_MAX ? NULL : (char *)&r->to->opts + o->at;

	switch (o->kind) {
	case K_INT:
		read_int(r, prefix, o, to);
		break;
	case K_REAL:
		read_real(r, prefix, o, to);
		break;
	case K_SPAN:
		read_span(r, prefix, o, to);
		break;
	case K_BOOL:
		if (lua_isboolean(r->L, -1))
			*(int64_t *)to = lua_toboolean(r->L, -1);
		else
			refuse(r, prefix, o->name, "true or false");
		break;
	case K_QUEUE:
		read_queue(r, prefix, o);
		break;
	case K_ORDER:
		read_word(r, prefix, o, "strict", "skip", to);
		break;
	case K_BY:
		read_word(r, prefix, o, "queue", "group", to);
		break;
	case K_BACKOFF_TYPE:
		read_word(r, prefix, o, "fixed", "exponential", to);
		break;
	case K_TABLE:
		read_sub(r, o);
		break;
	case K_FUNCTION:
		read_function(r, prefix, o);
		break;
	case K_HOOK:
	case K_TOPICS:
	case K_SCHEDULE:
		read_apart(r, o);
		break;
	}
}

static const struct row *
find_row(const struct row *table, const char *name)
{
	for (; table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

static void
refuse_name(struct reader *r, const char *prefix, const char *name)
{
	if (r->failed)
		return;
	r->failed = true;
	buf_addf(r->e, "unknown option '%s%.100s'", prefix, name);
}

/* The table is on top of the stack, and is again afterwards. */
static void
read_table(struct reader *r, const char *prefix, const struct row *table)
{
	const struct row *o;

	luaL_checkstack(r->L, 8, "options");
	lua_pushnil(r->L);
	while (lua_next(r->L, -2)) {
		if (lua_type(r->L, -2) != LUA_TSTRING) {
			lua_pushvalue(r->L, -2);
			refuse_name(r, prefix,
			    luaL_tolstring(r->L, -1, NULL));
			lua_pop(r->L, 2);
		} else if (!(o = find_row(table, lua_tostring(r->L, -2)))) {
			refuse_name(r, prefix, lua_tostring(r->L, -2));
		} else {
			read_option(r, prefix, o);
		}
		lua_pop(r->L, 1);
	}
}

static void
missing(struct reader *r, const char *what)
{
	if (!r->failed)
		buf_addf(r->e, "option '%s' is missing", what);
	r->failed = true;
}

/* The function for one job, or the one for several and what makes them. */
static void
check_batch(struct reader *r, bool perform, bool perform_batch, bool batch)
{
	struct bh_queue_opts *o = &r->to->opts;

	if (batch && o->batch_max < 0)
		o->batch_max = BATCH_MAX_DEFAULT;
	if (r->failed || (!perform_batch && !batch))
		return;
	r->failed = true;
	if (perform && perform_batch)
		buf_adds(r->e, "options 'perform' and 'perform_batch': "
		    "expected one of them, got both");
	else if (!batch)
		buf_adds(r->e, "option 'batch' is missing: perform_batch "
		    "needs it, as in batch = { max = 50, window = \"2s\" }");
	else if (!perform_batch)
		buf_addf(r->e, "option 'perform_batch' is missing: with "
		    "option 'batch' it handles the jobs%s",
		    perform ? " instead of 'perform'" : "");
	else
		r->failed = false;
}

/* A script handles jobs, webhooks or messages, or several of these. */
static void
check_parts(struct reader *r)
{
	struct script_opts *o = r->to;
	bool other = o->has_hook || o->topics.n > 0;

	if (!*o->queue && (o->performs || o->has_schedule || !other))
		missing(r, "queue");
	if (!o->performs && (!other || o->opts.callbacks))
		missing(r, "perform");
	if (!r->failed && o->has_hook &&
	    script_hook_settle(&o->hook, o->queue, r->e) < 0)
		r->failed = true;
}

/* Whether the table on top has it. */
static bool
says(lua_State *L, const char *name)
{
	bool any;

	lua_pushstring(L, name);
	any = lua_rawget(L, -2) != LUA_TNIL;
	lua_pop(L, 1);
	return any;
}

int
script_opts_read(lua_State *L, int idx, struct script_opts *ret,
    struct buf *e)
{
	struct script_opts opts = {.queue = ""};
	struct reader r = {.L = L, .to = &opts, .e = e};

	bool perform, perform_batch, batch;

	queue_opts_init(&opts.opts);
	opts.opts.callbacks = 0;
	lua_pushvalue(L, idx);
	perform = says(L, "perform");
	perform_batch = says(L, "perform_batch");
	batch = says(L, "batch");
	opts.performs = perform || perform_batch;
	read_table(&r, "", rows);
	lua_pop(L, 1);
	check_batch(&r, perform, perform_batch, batch);
	check_parts(&r);
	if (opts.opts.rate_per_ms >= 0 && opts.opts.rate_limit < 0)
		missing(&r, "rate.limit");
	if (opts.opts.rate_limit > 0 && opts.opts.rate_per_ms < 0)
		missing(&r, "rate.per");
	if (r.failed)
		return -1;
	*ret = opts;
	return 0;
}
