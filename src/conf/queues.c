/* SPDX-License-Identifier: MIT */
/*
 * The list `queues` of the configuration: each entry a pattern and what it
 * says about the queues that match. Rows below, one for each setting; main
 * thread, or a tool.
 */
#include <stdio.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/conf.h"
#include "conf/reader.h"

#define FIELD(f) offsetof(struct bh_queue_opts, f)
#define TEN_YEARS_MS INT64_C(315360000000)

struct row {
	struct rule rule;
	size_t offset;			/* in struct bh_queue_opts */
};

#define INT(n, f, lo, hi)                                                    \
	{{.name = n, .type = RULE_INT, .min = lo, .max = hi}, FIELD(f)}
#define SPAN(n, f, lo)                                                       \
	{{.name = n, .type = RULE_DURATION, .min = lo, .max = TEN_YEARS_MS}, \
	 FIELD(f)}
#define WORD(n, f, w) {{.name = n, .type = RULE_ENUM, .words = w}, FIELD(f)}
#define REAL(n, f, lo, hi)                                                   \
	{{.name = n, .type = RULE_REAL, .min = lo, .max = hi}, FIELD(f)}

/* The words of an ENUM stand in the order of its enum. */
static const struct row rows[] = {
	INT("weight", weight, 1, 1000),
	{{.name = "strict", .type = RULE_BOOL}, FIELD(strict)},
	INT("concurrency", concurrency, 1, 100000),
	INT("max_active", max_active, 0, INT32_MAX),
	INT("rate.limit", rate_limit, 0, 1000000000),
	SPAN("rate.per", rate_per_ms, 1),
	INT("rate.burst", rate_burst, 1, 1000000000),
	WORD("rate.by", rate_by, "queue group"),
	INT("group_concurrency", group_concurrency, 1, 100000),
	WORD("group_order", group_order, "strict skip"),
	INT("max_waiting", max_waiting, 0, INT64_MAX),
	{{.name = "dead_letter", .type = RULE_STR}, FIELD(dead_letter)},
	SPAN("retention.completed", retain_completed_ms, 0),
	INT("retention.completed_count", retain_completed_count, 0,
	    INT64_MAX),
	SPAN("retention.failed", retain_failed_ms, 0),
	INT("retention.failed_count", retain_failed_count, 0, INT64_MAX),
	INT("attempts", attempts, 1, 65535),
	WORD("backoff.type", backoff_type, "fixed exponential"),
	SPAN("backoff.delay", backoff_ms, 0),
	REAL("backoff.factor", backoff_factor, 1, 1000),
	SPAN("backoff.max", backoff_max_ms, 0),
	REAL("backoff.jitter", backoff_jitter, 0, 1),
	SPAN("timeout", timeout_ms, 1),
	SPAN("lease", lease_ms, 1),
	INT("max_stalled", max_stalled, 0, 65534),
};

static const char *
known_name(size_t i)
{
	if (i == 0)
		return "name";
	return i <= nitems(rows) ? rows[i - 1].rule.name : NULL;
}

static const struct row *
row_find(const char *name)
{
	for (size_t i = 0; i < nitems(rows); i++) {
		if (strcmp(rows[i].rule.name, name) == 0)
			return &rows[i];
	}
	return NULL;
}

static bool
is_prefix(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < nitems(rows); i++) {
		const char *full = rows[i].rule.name;

		if (strncmp(full, name, len) == 0 && full[len] == '.')
			return true;
	}
	return false;
}

/* A queue's name, or with wild characters a pattern of names. */
static bool
is_queue(const char *s, const char *wild)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
		    "WXYZ0123456789_.:-", s[i]) && !strchr(wild, s[i]))
			return false;
	}
	return len >= 1 && len <= 128;
}

static void
read_row(struct reader *r, const config_setting_t *s, const struct row *row,
    struct bh_queue_opts *o)
{
	void *field = (char *)o + row->offset;
	struct value v;

	if (reader_value(r, s, &row->rule, &v) != 0)
		return;
	if (row->rule.type == RULE_REAL)
		*(double *)field = v.d;
	else if (row->rule.type != RULE_STR)
		*(int64_t *)field = v.i;
	else if (is_queue(v.s, ""))
		snprintf(o->dead_letter, sizeof(o->dead_letter), "%s", v.s);
	else
		reader_reject(r, s, row->rule.name,
		    "a queue's name, 1 to 128 of A-Z a-z 0-9 _ . : -");
}

static void
read_members(struct reader *r, const config_setting_t *group,
    const char *prefix, struct bh_queue_opts *o)
{
	const config_setting_t *s;
	char name[160];

	for (unsigned i = 0; (s = config_setting_get_elem(group, i)); i++) {
		const struct row *row;

		snprintf(name, sizeof(name), "%s%s%s", prefix,
		    *prefix ? "." : "", config_setting_name(s));
		row = row_find(name);
		if (row)
			read_row(r, s, row, o);
		else if (strcmp(name, "name") == 0)
			continue;
		else if (!is_prefix(name))
			reader_unknown(r, s, name, known_name);
		else if (config_setting_is_group(s))
			read_members(r, s, name, o);
		else
			reader_reject(r, s, name, "a group { … }");
	}
}

/* The entry's name if it has a good one, else NULL after saying so. */
static const char *
read_name(struct reader *r, const config_setting_t *entry)
{
	const config_setting_t *s;
	const char *name;

	if (!config_setting_is_group(entry)) {
		reader_reject(r, entry, "queues",
		    "groups such as { name = \"mail\"; weight = 3; }");
		return NULL;
	}
	s = config_setting_get_member(entry, "name");
	if (!s) {
		reader_error(r, entry, "option 'queues': an entry has no "
		    "name, expected name = \"QUEUE\" or a pattern");
		return NULL;
	}
	name = config_setting_get_string(s);
	if (!name || !is_queue(name, "*?[]^\\")) {
		reader_reject(r, s, "name", "a queue's name or pattern, 1 to "
		    "128 of A-Z a-z 0-9 _ . : - * ? [ ]");
		return NULL;
	}
	return name;
}

static void
check_entry(struct reader *r, const config_setting_t *entry,
    const struct conf_queue *q)
{
	const struct bh_queue_opts *o = &q->opts;

	if (o->rate_limit > 0 && o->rate_per_ms < 0)
		reader_error(r, entry, "option 'rate'%s: has no 'per', "
		    "expected rate = { limit = N; per = \"60s\"; }",
		    r->scope);
	if (o->rate_limit < 0 && (o->rate_per_ms >= 0 ||
	    o->rate_burst >= 0 || o->rate_by >= 0))
		reader_error(r, entry, "option 'rate'%s: has no 'limit', "
		    "expected rate = { limit = N; per = \"60s\"; }",
		    r->scope);
	if (strcmp(o->dead_letter, q->pattern) == 0)
		reader_error(r, entry, "option 'dead_letter'%s: names the "
		    "queue itself, expected another one", r->scope);
	for (size_t i = 0; i < r->conf->nqueues; i++) {
		if (strcmp(r->conf->queues[i].pattern, q->pattern) == 0)
			reader_error(r, entry, "option 'queues': \"%s\" "
			    "stands here a second time, and only the first "
			    "would count", q->pattern);
	}
}

static void
read_entry(struct reader *r, const config_setting_t *entry)
{
	const char *name = read_name(r, entry);
	struct conf *c = r->conf;
	struct conf_queue q;

	if (!name)
		return;
	snprintf(r->scope, sizeof(r->scope), " of queue '%s'", name);
	queue_opts_init(&q.opts);
	q.pattern = xstrdup(name);
	read_members(r, entry, "", &q.opts);
	check_entry(r, entry, &q);
	r->scope[0] = '\0';
	c->queues = xrealloc(c->queues, (c->nqueues + 1) * sizeof(q));
	c->queues[c->nqueues++] = q;
}

void
reader_queues(struct reader *r, const config_setting_t *s)
{
	const config_setting_t *entry;

	if (config_setting_type(s) != CONFIG_TYPE_LIST) {
		reader_reject(r, s, "queues", "a list of groups "
		    "( { name = \"mail\"; }, { name = \"*\"; } )");
		return;
	}
	for (unsigned i = 0; (entry = config_setting_get_elem(s, i)); i++)
		read_entry(r, entry);
}
