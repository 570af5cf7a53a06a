/* SPDX-License-Identifier: MIT */
#include "conf/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"

/* Values are quoted in errors up to this length. */
#define SHOWN 60

void
reader_error(struct reader *r, const config_setting_t *at, const char *fmt,
    ...)
{
	const char *file = at ? config_setting_source_file(at) : NULL;
	struct buf line = BUF_INIT;
	va_list ap;

	buf_addf(&line, "%s:%u: ", file ? file : r->file,
	    at ? config_setting_source_line(at) : 0);
	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (r->errors++ == 0)
		err_set(r->e, BH_E_BADARG, "%s", buf_str(&line));
	if (r->report)
		buf_addf(r->report, "%s\n", buf_str(&line));
	buf_done(&line);
}

static void
describe(const config_setting_t *s, struct buf *out)
{
	static const char *const words[] = {
		[CONFIG_TYPE_GROUP] = "a group { … }",
		[CONFIG_TYPE_ARRAY] = "an array [ … ]",
		[CONFIG_TYPE_LIST] = "a list ( … )",
	};
	const char *text;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		buf_addi(out, config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		buf_addf(out, "%g", config_setting_get_float(s));
		break;
	case CONFIG_TYPE_BOOL:
		buf_adds(out, config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_STRING:
		text = config_setting_get_string(s);
		buf_addf(out, "\"%.*s%s\"", SHOWN, text,
		    strlen(text) > SHOWN ? "…" : "");
		break;
	default:
		buf_adds(out, words[config_setting_type(s)]);
	}
}

void
reader_reject(struct reader *r, const config_setting_t *s, const char *name,
    const char *expected)
{
	struct buf got = BUF_INIT;

	describe(s, &got);
	reader_error(r, s, "option '%s'%s: got %s, expected %s", name,
	    r->scope, buf_str(&got), expected);
	buf_done(&got);
}

/* Letters to insert, delete or change, by the usual table of two rows. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[64], la = strlen(a), lb = strlen(b);

	if (la >= nitems(row) || lb >= nitems(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[lb];
}

void
reader_unknown(struct reader *r, const config_setting_t *s, const char *name,
    const char *(*known)(size_t i))
{
	const char *candidate, *guess = NULL;
	size_t best = strlen(name) / 3 + 1;

	for (size_t i = 0; (candidate = known(i)); i++) {
		size_t d = distance(name, candidate);

		if (d <= best && (!guess || d < best)) {
			best = d;
			guess = candidate;
		}
	}
	if (guess)
		reader_error(r, s, "unknown option '%s'%s, did you mean "
		    "'%s'?", name, r->scope, guess);
	else
		reader_error(r, s, "unknown option '%s'%s", name, r->scope);
}

static bool
is_integer(const config_setting_t *s)
{
	int type = config_setting_type(s);

	return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

/* The string of s if it is one, else NULL. */
static const char *
string_of(const config_setting_t *s)
{
	return config_setting_type(s) == CONFIG_TYPE_STRING ?
	    config_setting_get_string(s) : NULL;
}

static bool
read_text(const config_setting_t *s, const struct rule *rule,
    struct value *v)
{
	v->s = string_of(s);
	if (!v->s || (v->s[0] == '\0' && !rule->blank))
		return false;
	if (rule->type == RULE_ENUM)
		v->i = rule_word(rule, v->s);
	return rule->type != RULE_ENUM || v->i >= 0;
}

static bool
read_number(const config_setting_t *s, const struct rule *rule,
    struct value *v)
{
	const char *text = string_of(s);

	if (rule->type == RULE_DURATION) {
		if (!text || str_duration(text, strlen(text), 0, &v->i) != 0)
			return false;
	} else if (is_integer(s)) {
		v->i = config_setting_get_int64(s);
	} else if (rule->type != RULE_SIZE || !text ||
	    str_size(text, strlen(text), &v->i) != 0) {
		return false;
	}
	return v->i >= rule->min && v->i <= rule->max;
}

static bool
read_real(const config_setting_t *s, const struct rule *rule,
    struct value *v)
{
	if (is_integer(s))
		v->d = (double)config_setting_get_int64(s);
	else if (config_setting_type(s) == CONFIG_TYPE_FLOAT)
		v->d = config_setting_get_float(s);
	else
		return false;
	return v->d >= (double)rule->min && v->d <= (double)rule->max;
}

static bool
read_any(const config_setting_t *s, const struct rule *rule,
    struct value *v)
{
	switch (rule->type) {
	case RULE_STR:
	case RULE_ENUM:
		return read_text(s, rule, v);
	case RULE_BOOL:
		v->i = config_setting_type(s) == CONFIG_TYPE_BOOL &&
		    config_setting_get_bool(s);
		return config_setting_type(s) == CONFIG_TYPE_BOOL;
	case RULE_REAL:
		return read_real(s, rule, v);
	case RULE_LIST:
		return false;
	default:
		return read_number(s, rule, v);
	}
}

int
reader_value(struct reader *r, const config_setting_t *s,
    const struct rule *rule, struct value *ret)
{
	struct buf expected = BUF_INIT;
	struct value v = {0};

	if (read_any(s, rule, &v)) {
		*ret = v;
		return 0;
	}
	rule_expects(rule, &expected);
	reader_reject(r, s, rule->name, buf_str(&expected));
	buf_done(&expected);
	return -1;
}

static bool
is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') || (c && strchr("_*.-+", c));
}

/* Whether the len bytes are an integer without L that 32 bits cannot hold. */
static bool
is_wide(const char *s, size_t len)
{
	size_t sign = len > 0 && (s[0] == '-' || s[0] == '+');
	bool hex = len > sign + 2 && s[sign] == '0' &&
	    (s[sign + 1] | 0x20) == 'x';
	const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
	const char *from = s + sign + (hex ? 2 : 0);
	size_t n = len - (size_t)(from - s);
	char copy[32], *end;
	long long v;

	if (n == 0 || n >= sizeof(copy) - 3)
		return false;
	memcpy(copy, from, n);
	copy[n] = '\0';
	if (strspn(copy, digits) != n)
		return false;
	v = strtoll(copy, &end, hex ? 16 : 10);
	return v > INT32_MAX;
}

/* Length of the comment or string that begins at s, 0 if none does, len + 1
 * if it never ends. */
static size_t
skip_quiet(const char *s, size_t len)
{
	const char *end;
	size_t i = 1;

	if (s[0] == '#' || (len > 1 && s[0] == '/' && s[1] == '/')) {
		end = memchr(s, '\n', len);
		return end ? (size_t)(end - s) : len;
	}
	if (len > 1 && s[0] == '/' && s[1] == '*') {
		end = len > 3 ? memmem(s + 2, len - 2, "*/", 2) : NULL;
		return end ? (size_t)(end - s) + 2 : len + 1;
	}
	if (s[0] != '"')
		return 0;
	while (i < len && s[i] != '"')
		i += s[i] == '\\' && i + 1 < len ? 2 : 1;
	return i < len ? i + 1 : len + 1;
}

char *
reader_widen(const char *text, size_t len, int *ret_line)
{
	struct buf out = BUF_INIT;

	for (size_t i = 0, n; i < len; i += n) {
		n = skip_quiet(text + i, len - i);
		if (n > len - i) {
			*ret_line = 1;
			for (size_t k = 0; k < i; k++)
				*ret_line += text[k] == '\n';
			buf_done(&out);
			return NULL;
		}
		if (n == 0 && is_word(text[i])) {
			while (i + n < len && is_word(text[i + n]))
				n++;
			buf_add(&out, text + i, n);
			if (is_wide(text + i, n))
				buf_addc(&out, 'L');
			continue;
		}
		n += n == 0;
		buf_add(&out, text + i, n);
	}
	return buf_take(&out);
}
