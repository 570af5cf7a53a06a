/* SPDX-License-Identifier: MIT */
#include "cmd/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* [a-zA-Z_:][a-zA-Z0-9_:]* */
static bool
is_name(const char *s)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_:";

	return *s && strchr(first, *s) &&
	    s[strspn(s, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789")] == '\0';
}

static bool
is_type(const char *s)
{
	static const char *const types[] = {"counter", "gauge", "histogram",
	    "summary", "untyped"};

	for (size_t i = 0; i < nitems(types); i++)
		if (strcmp(s, types[i]) == 0)
			return true;
	return false;
}

/* Remembers it; false when it was there before. */
static bool
is_new(struct metrics *m, const char *name)
{
	const char *at = buf_size(&m->seen) ? buf_peek(&m->seen) : NULL;
	const char *end = at + buf_size(&m->seen);

	for (; at < end; at += strlen(at) + 1)
		if (strcmp(at, name) == 0)
			return false;
	buf_add(&m->seen, name, strlen(name) + 1);
	return true;
}

/* HELP text and label values: a backslash before what would end the line. */
static void
put_escaped(struct buf *b, const char *s, size_t len, bool quoted)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\n')
			buf_adds(b, "\\n");
		else if (s[i] == '\\' || (quoted && s[i] == '"'))
			buf_addf(b, "\\%c", s[i]);
		else
			buf_addc(b, s[i]);
	}
}

void
metrics_family(struct metrics *m, const char *name, const char *type,
    const char *help)
{
	m->name[0] = '\0';
	if (!is_name(name) || !is_type(type) ||
	    strlen(name) >= sizeof(m->name) || !is_new(m, name))
		return;
	snprintf(m->name, sizeof(m->name), "%s", name);
	buf_addf(&m->out, "# HELP %s ", name);
	put_escaped(&m->out, help, strlen(help), false);
	buf_addf(&m->out, "\n# TYPE %s %s\n", name, type);
}

static void
put_value(struct buf *b, double v)
{
	char text[40];

	if (isnan(v)) {
		buf_adds(b, "NaN");
	} else if (isinf(v)) {
		buf_adds(b, v > 0 ? "+Inf" : "-Inf");
	} else {
		snprintf(text, sizeof(text), "%.15g", v);
		if (strtod(text, NULL) != v)
			snprintf(text, sizeof(text), "%.17g", v);
		buf_adds(b, text);
	}
}

void
metrics_sample(struct metrics *m, const char *suffix, const char *labels,
    double value)
{
	if (!*m->name)
		return;
	buf_addf(&m->out, "%s%s", m->name, suffix);
	if (*labels)
		buf_addf(&m->out, "{%s}", labels);
	buf_addc(&m->out, ' ');
	put_value(&m->out, value);
	buf_addc(&m->out, '\n');
}

void
metrics_one(struct metrics *m, const char *name, const char *type,
    const char *help, double value)
{
	metrics_family(m, name, type, help);
	metrics_sample(m, "", "", value);
}

const char *
metrics_labels(struct metrics *m, const char *name, struct bh_bytes value,
    const char *more)
{
	buf_reset(&m->labels, 1024);
	buf_addf(&m->labels, "%s=\"", name);
	put_escaped(&m->labels, value.data, value.len, true);
	buf_addf(&m->labels, "\"%s%s", *more ? "," : "", more);
	return buf_str(&m->labels);
}

static void
api_family(const struct bh_metrics *m, const char *name, const char *type,
    const char *help)
{
	union {
		const struct bh_metrics *given;
		struct metrics *own;
	} u = {m};

	metrics_family(u.own, name, type, help);
}

static void
api_sample(const struct bh_metrics *m, const char *suffix,
    const char *labels, double value)
{
	union {
		const struct bh_metrics *given;
		struct metrics *own;
	} u = {m};

	metrics_sample(u.own, suffix, labels, value);
}

void
metrics_init(struct metrics *m)
{
	*m = (struct metrics){.api = {api_family, api_sample}};
}

void
metrics_done(struct metrics *m)
{
	buf_done(&m->out);
	buf_done(&m->seen);
	buf_done(&m->labels);
}
