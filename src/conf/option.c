/* SPDX-License-Identifier: MIT */
#include "conf/option.h"

#include <string.h>

#include "conf/conf.h"

#define TEXT(kind, n, field, def, w, re, h)                                  \
	{.rule = {.name = n, .type = kind, .words = w,                       \
	    .blank = sizeof("" def) == 1},                                   \
	 .offset = offsetof(struct conf, field), .def_s = def,               \
	 .reload = re, .help = h},
#define NUMBER(kind, n, field, def, lo, hi, re, h)                           \
	{.rule = {.name = n, .type = kind, .min = lo, .max = hi},            \
	 .offset = offsetof(struct conf, field), .def_i = def,               \
	 .reload = re, .help = h},

#define OPT_STR(n, field, def, re, h) TEXT(RULE_STR, n, field, def, NULL, re, h)
#define OPT_ENUM(n, field, def, w, re, h) TEXT(RULE_ENUM, n, field, def, w, re, h)
#define OPT_LIST(n, field, def, re, h) TEXT(RULE_LIST, n, field, def, NULL, re, h)
#define OPT_INT(...) NUMBER(RULE_INT, __VA_ARGS__)
#define OPT_SIZE(...) NUMBER(RULE_SIZE, __VA_ARGS__)
#define OPT_DURATION(...) NUMBER(RULE_DURATION, __VA_ARGS__)
#define OPT_BOOL(n, field, def, re, h) NUMBER(RULE_BOOL, n, field, def, 0, 1, re, h)

static const struct option options[] = {
#include "conf/conf.def"
};

const struct option *
option_at(size_t i)
{
	return i < nitems(options) ? &options[i] : NULL;
}

const struct option *
option_find(const char *name)
{
	for (size_t i = 0; i < nitems(options); i++) {
		if (strcmp(options[i].rule.name, name) == 0)
			return &options[i];
	}
	return NULL;
}

int
rule_word(const struct rule *rule, const char *s)
{
	size_t len = strlen(s);
	const char *p = rule->words;

	for (int i = 0;; i++) {
		size_t n = strcspn(p, " ");

		if (n == len && memcmp(p, s, n) == 0)
			return i;
		if (p[n] == '\0')
			return -1;
		p += n + 1;
	}
}

struct unit {
	int64_t factor;
	const char *name;
};

static void
format_unit(const struct unit *units, size_t n, int64_t v, struct buf *out)
{
	size_t i = 0;

	while (i < n - 1 && (v == 0 || v % units[i].factor != 0))
		i++;
	buf_addi(out, v / units[i].factor);
	buf_adds(out, units[i].name);
}

void
rule_format(enum rule_type type, int64_t v, struct buf *out)
{
	static const struct unit sizes[] = {
		{1LL << 30, "GiB"}, {1LL << 20, "MiB"}, {1LL << 10, "KiB"},
		{1, ""},
	};
	static const struct unit times[] = {
		{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"},
		{1, "ms"},
	};

	if (type == RULE_SIZE)
		format_unit(sizes, nitems(sizes), v, out);
	else if (type == RULE_DURATION)
		format_unit(times, nitems(times), v, out);
	else if (type == RULE_BOOL)
		buf_adds(out, v ? "true" : "false");
	else
		buf_addi(out, v);
}

static void
add_bounds(const struct rule *rule, struct buf *out)
{
	if (rule->min == INT64_MIN && rule->max == INT64_MAX)
		return;
	buf_adds(out, rule->max == INT64_MAX ? " of at least " : " from ");
	rule_format(rule->type, rule->min, out);
	if (rule->max == INT64_MAX)
		return;
	buf_adds(out, " to ");
	rule_format(rule->type, rule->max, out);
}

static void
add_words(const struct rule *rule, struct buf *out)
{
	buf_adds(out, "one of \"");
	for (const char *p = rule->words; *p; p++) {
		if (*p == ' ')
			buf_adds(out, "\", \"");
		else
			buf_addc(out, *p);
	}
	buf_adds(out, "\"");
}

void
rule_expects(const struct rule *rule, struct buf *out)
{
	static const char *const what[] = {
		[RULE_STR] = "a string in quotes, not empty",
		[RULE_INT] = "an integer",
		[RULE_SIZE] = "a size",
		[RULE_DURATION] = "a duration",
		[RULE_BOOL] = "true or false",
		[RULE_LIST] = "a list of strings such as [ \"a\", \"b\" ]",
		[RULE_REAL] = "a number",
	};
	static const char *const such_as[RULE_REAL + 1] = {
		[RULE_SIZE] = " such as 4096 or \"64KiB\"",
		[RULE_DURATION] = " with its unit, such as \"30s\" "
		    "(ms, s, m, h, d)",
	};

	if (rule->type == RULE_ENUM) {
		add_words(rule, out);
		return;
	}
	if (rule->type == RULE_STR && rule->blank)
		buf_adds(out, "a string in quotes");
	else
		buf_adds(out, what[rule->type]);
	if (rule->type != RULE_STR && rule->type != RULE_BOOL &&
	    rule->type != RULE_LIST)
		add_bounds(rule, out);
	if (such_as[rule->type])
		buf_adds(out, such_as[rule->type]);
}
