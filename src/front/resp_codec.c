/* SPDX-License-Identifier: MIT */
#include "front/resp_codec.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"

/* "-9223372036854775808" and its end of line. */
#define LEN_LINE 22
#define MAX_DEPTH 32

void
resp_parser_init(struct resp_parser *p)
{
	*p = (struct resp_parser){0};
}

void
resp_parser_done(struct resp_parser *p)
{
	free(p->argv);
	free(p->offsets);
	buf_done(&p->scratch);
	resp_parser_init(p);
}

bool
resp_parser_at_rest(const struct resp_parser *p)
{
	return p->want == 0 && p->pos == 0;
}

/* Reads "<digits>\r\n" at *pos. 1: *ret is the number, *pos is behind it;
 * 0: it may still become one; -1: it is none. */
static int
parse_len(const char *data, size_t len, size_t *pos, int64_t *ret)
{
	size_t i = *pos, start;
	int64_t v = 0;
	bool minus = false;

	if (i < len && data[i] == '-') {
		minus = true;
		i++;
	}
	start = i;
	while (i < len && data[i] >= '0' && data[i] <= '9') {
		if (i - start >= 18)
			return -1;
		v = v * 10 + (data[i] - '0');
		i++;
	}
	if (i == len)
		return 0;
	if (i == start || data[i] != '\r')
		return -1;
	if (i + 1 == len)
		return 0;
	if (data[i + 1] != '\n')
		return -1;
	*ret = minus ? -v : v;
	*pos = i + 2;
	return 1;
}

/* Room for one more argument. */
static void
parser_grow(struct resp_parser *p)
{
	if (p->argc < p->cap)
		return;
	p->cap = p->cap ? p->cap * 2 : 8;
	p->argv = xrealloc(p->argv, p->cap * sizeof(*p->argv));
	p->offsets = xrealloc(p->offsets, p->cap * sizeof(*p->offsets));
}

static int
found(struct resp_parser *p, size_t used, size_t *ret_used)
{
	*ret_used = used;
	p->want = 0;
	p->pos = 0;
	return 1;
}

static int
parse_count(struct resp_parser *p, const char *data, size_t len,
    const struct resp_limits *lim, struct err *e)
{
	size_t pos = 1;
	int64_t n;
	int rc = parse_len(data, len, &pos, &n);

	if (rc < 0)
		return err_set(e, BH_E_ERR,
		    "Protocol error: invalid multibulk length");
	if (rc == 0)
		return 0;
	if (n > 0 && (uint64_t)n > lim->max_args)
		return err_set(e, BH_E_ERR, "Protocol error: invalid multibulk"
		    " length: %lld arguments, the limit is %zu",
		    (long long)n, lim->max_args);
	p->want = n > 0 ? (size_t)n : 0;
	p->pos = pos;
	return 1;
}

/* One argument at p->pos. */
static int
parse_bulk(struct resp_parser *p, const char *data, size_t len,
    const struct resp_limits *lim, struct err *e)
{
	size_t pos = p->pos;
	int64_t n;
	int rc;

	if (pos == len)
		return 0;
	if (data[pos] != '$')
		return err_set(e, BH_E_ERR,
		    "Protocol error: expected '$', got '%c'",
		    isprint((unsigned char)data[pos]) ? data[pos] : '?');
	pos++;
	rc = parse_len(data, len, &pos, &n);
	if (rc == 0)
		return 0;
	if (rc < 0 || n < 0)
		return err_set(e, BH_E_ERR,
		    "Protocol error: invalid bulk length");
	if ((uint64_t)n > lim->max_bulk)
		return err_set(e, BH_E_ERR, "Protocol error: invalid bulk"
		    " length: %lld bytes, the limit is %zu", (long long)n,
		    lim->max_bulk);
	if (pos + (uint64_t)n + 2 > lim->max_request)
		return err_set(e, BH_E_ERR, "Protocol error: a request of more"
		    " than %zu bytes", lim->max_request);
	if (len - pos < (size_t)n + 2)
		return 0;
	if (data[pos + (size_t)n] != '\r' || data[pos + (size_t)n + 1] != '\n')
		return err_set(e, BH_E_ERR, "Protocol error: an argument of"
		    " %lld bytes does not end there", (long long)n);
	parser_grow(p);
	p->offsets[p->argc] = pos;
	p->argv[p->argc++].len = (size_t)n;
	p->pos = pos + (size_t)n + 2;
	return 1;
}

static int
parse_multibulk(struct resp_parser *p, const char *data, size_t len,
    const struct resp_limits *lim, size_t *ret_used, struct err *e)
{
	int rc;

	p->is_inline = false;
	if (p->want == 0) {
		p->argc = 0;
		rc = parse_count(p, data, len, lim, e);
		if (rc <= 0)
			return rc;
	}
	while (p->argc < p->want) {
		rc = parse_bulk(p, data, len, lim, e);
		if (rc <= 0)
			return rc;
	}
	/* The input may have moved between two calls: point only now. */
	for (size_t i = 0; i < p->argc; i++)
		p->argv[i].data = data + p->offsets[i];
	return found(p, p->pos, ret_used);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a double-quoted argument at s; returns how many bytes it
 * took. */
static size_t
unquote(const char *s, const char *end, char *ret)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *known;

	if (*s != '\\' || s + 1 == end) {
		*ret = *s;
		return 1;
	}
	if (s + 3 < end && s[1] == 'x' && hex_digit(s[2]) >= 0 &&
	    hex_digit(s[3]) >= 0) {
		*ret = (char)(hex_digit(s[2]) * 16 + hex_digit(s[3]));
		return 4;
	}
	known = s[1] ? strchr(from, s[1]) : NULL;
	*ret = known ? to[known - from] : s[1];
	return 2;
}

/* Appends the text between quotes to the scratch. The address behind the
 * closing quote, or NULL when there is none followed by a blank. */
static const char *
split_quoted(struct resp_parser *p, const char *s, const char *end)
{
	char quote = *s++;
	char c;

	while (s < end && *s != quote) {
		if (quote == '"') {
			s += unquote(s, end, &c);
		} else if (*s == '\\' && s + 1 < end && s[1] == '\'') {
			c = '\'';
			s += 2;
		} else {
			c = *s++;
		}
		buf_addc(&p->scratch, c);
	}
	if (s >= end || (s + 1 < end && !isspace((unsigned char)s[1])))
		return NULL;
	return s + 1;
}

/* Splits a line as redis-cli does. */
static int
split_line(struct resp_parser *p, const char *s, const char *end,
    const struct resp_limits *lim)
{
	buf_reset(&p->scratch, 4096);
	p->argc = 0;
	for (;;) {
		while (s < end && isspace((unsigned char)*s))
			s++;
		if (s == end)
			return 0;
		if (p->argc == lim->max_args)
			return -1;
		parser_grow(p);
		p->offsets[p->argc] = p->scratch.len;
		while (s < end && !isspace((unsigned char)*s)) {
			if (*s == '"' || *s == '\'') {
				s = split_quoted(p, s, end);
				if (!s)
					return -1;
			} else {
				buf_addc(&p->scratch, *s++);
			}
		}
		p->argv[p->argc].len = p->scratch.len - p->offsets[p->argc];
		p->argc++;
	}
}

static int
parse_line(struct resp_parser *p, const char *data, size_t len,
    const struct resp_limits *lim, size_t *ret_used, struct err *e)
{
	const char *nl, *words;
	size_t used, n;

	p->is_inline = true;
	nl = len > p->pos ? memchr(data + p->pos, '\n', len - p->pos) : NULL;
	used = nl ? (size_t)(nl - data) + 1 : len;
	if (used > lim->max_inline)
		return err_set(e, BH_E_ERR,
		    "Protocol error: too big inline request");
	if (!nl) {
		p->pos = len;
		return 0;
	}
	n = used - 1;
	if (n > 0 && data[n - 1] == '\r')
		n--;
	if (split_line(p, data, data + n, lim) < 0)
		return err_set(e, BH_E_ERR, "Protocol error: unbalanced quotes"
		    " in request, or more than %zu arguments", lim->max_args);
	words = buf_str(&p->scratch);
	for (size_t i = 0; i < p->argc; i++)
		p->argv[i].data = words + p->offsets[i];
	return found(p, used, ret_used);
}

int
resp_parse(struct resp_parser *p, const char *data, size_t len,
    const struct resp_limits *lim, size_t *ret_used, struct err *e)
{
	if (len == 0)
		return 0;
	if (data[0] == '*')
		return parse_multibulk(p, data, len, lim, ret_used, e);
	return parse_line(p, data, len, lim, ret_used, e);
}

/* A line break in a one-line reply would forge another reply. */
static void
put_line(struct buf *b, const char *text)
{
	size_t n = strlen(text);
	char *p = buf_reserve(b, n + 2);

	for (size_t i = 0; i < n; i++)
		p[i] = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
	memcpy(p + n, "\r\n", 2);
	buf_added(b, n + 2);
}

/* "<type><number>\r\n" */
static void
put_number(struct buf *b, char type, int64_t v)
{
	char *p = buf_reserve(b, LEN_LINE + 1);
	char digits[20];
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = 0, at = 0;

	do
		digits[n++] = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	p[at++] = type;
	if (v < 0)
		p[at++] = '-';
	while (n > 0)
		p[at++] = digits[--n];
	p[at++] = '\r';
	p[at++] = '\n';
	buf_added(b, at);
}

void
resp_put_simple(struct buf *b, const char *text)
{
	buf_addc(b, '+');
	put_line(b, text);
}

void
resp_put_error(struct buf *b, const char *word, const char *text)
{
	buf_addc(b, '-');
	if (word) {
		buf_adds(b, word);
		buf_addc(b, ' ');
	}
	put_line(b, text);
}

void
resp_put_int(struct buf *b, int64_t v)
{
	put_number(b, ':', v);
}

void
resp_put_double(struct buf *b, int proto, double v)
{
	char text[40];

	if (isinf(v))
		strcpy(text, v > 0 ? "inf" : "-inf");
	else
		snprintf(text, sizeof(text), "%.17g", v);
	if (proto >= 3) {
		buf_addc(b, ',');
		put_line(b, text);
	} else {
		resp_put_bulk(b, text, strlen(text));
	}
}

void
resp_put_bool(struct buf *b, int proto, bool v)
{
	if (proto >= 3)
		buf_add(b, v ? "#t\r\n" : "#f\r\n", 4);
	else
		resp_put_int(b, v);
}

void
resp_put_bulk(struct buf *b, const void *data, size_t len)
{
	char *p;

	put_number(b, '$', (int64_t)len);
	p = buf_reserve(b, len + 2);
	if (len)
		memcpy(p, data, len);
	p[len] = '\r';
	p[len + 1] = '\n';
	buf_added(b, len + 2);
}

void
resp_put_verbatim(struct buf *b, int proto, const char *s, size_t len)
{
	if (proto < 3) {
		resp_put_bulk(b, s, len);
		return;
	}
	put_number(b, '=', (int64_t)len + 4);
	buf_adds(b, "txt:");
	buf_add(b, s, len);
	buf_adds(b, "\r\n");
}

void
resp_put_null(struct buf *b, int proto)
{
	buf_adds(b, proto >= 3 ? "_\r\n" : "$-1\r\n");
}

void
resp_put_null_array(struct buf *b, int proto)
{
	buf_adds(b, proto >= 3 ? "_\r\n" : "*-1\r\n");
}

void
resp_put_array(struct buf *b, size_t n)
{
	put_number(b, '*', (int64_t)n);
}

void
resp_put_map(struct buf *b, int proto, size_t n)
{
	put_number(b, proto >= 3 ? '%' : '*', (int64_t)(proto >= 3 ? n : n * 2));
}

void
resp_put_set(struct buf *b, int proto, size_t n)
{
	put_number(b, proto >= 3 ? '~' : '*', (int64_t)n);
}

void
resp_put_push(struct buf *b, int proto, size_t n)
{
	put_number(b, proto >= 3 ? '>' : '*', (int64_t)n);
}

void
resp_put_command(struct buf *b, const struct bh_bytes *argv, size_t argc)
{
	resp_put_array(b, argc);
	for (size_t i = 0; i < argc; i++)
		resp_put_bulk(b, argv[i].data, argv[i].len);
}

/* What is being decoded: the input and how far it is read. */
struct reader {
	const char *data;
	size_t len, pos;
	struct err *e;
};

static int decode_value(struct reader *r, struct resp_value *v, int depth);

/* The line behind the type byte, without its end. */
static int
decode_line(struct reader *r, struct bh_bytes *ret)
{
	const char *start = r->data + r->pos;
	const char *nl = r->pos < r->len ?
	    memchr(start, '\n', r->len - r->pos) : NULL;

	if (!nl)
		return 0;
	if (nl == start || nl[-1] != '\r')
		return err_set(r->e, BH_E_ERR,
		    "a line of the answer does not end with CR LF");
	*ret = (struct bh_bytes){start, (size_t)(nl - start) - 1};
	r->pos += (size_t)(nl - start) + 1;
	return 1;
}

static int
decode_text(struct reader *r, struct resp_value *v, enum resp_type type)
{
	v->type = type;
	return decode_line(r, &v->s);
}

static int
decode_int(struct reader *r, struct resp_value *v)
{
	int rc = decode_text(r, v, RESP_INT);

	if (rc <= 0)
		return rc;
	if (str_int(v->s.data, v->s.len, &v->i) < 0)
		return err_set(r->e, BH_E_ERR,
		    "an integer of the answer is malformed");
	return 1;
}

static int
decode_double(struct reader *r, struct resp_value *v)
{
	int rc = decode_text(r, v, RESP_DOUBLE);

	if (rc <= 0)
		return rc;
	if (str_is(v->s.data, v->s.len, "inf"))
		v->d = INFINITY;
	else if (str_is(v->s.data, v->s.len, "-inf"))
		v->d = -INFINITY;
	else if (str_is(v->s.data, v->s.len, "nan"))
		v->d = NAN;
	else if (str_double(v->s.data, v->s.len, &v->d) < 0)
		return err_set(r->e, BH_E_ERR,
		    "a number of the answer is malformed");
	return 1;
}

static int
decode_bool(struct reader *r, struct resp_value *v)
{
	int rc = decode_text(r, v, RESP_BOOL);

	if (rc <= 0)
		return rc;
	if (v->s.len != 1 || (*v->s.data != 't' && *v->s.data != 'f'))
		return err_set(r->e, BH_E_ERR,
		    "a boolean of the answer is malformed");
	v->i = *v->s.data == 't';
	return 1;
}

static int
decode_null(struct reader *r, struct resp_value *v)
{
	int rc = decode_text(r, v, RESP_NULL);

	if (rc > 0 && v->s.len != 0)
		return err_set(r->e, BH_E_ERR,
		    "a null of the answer is malformed");
	return rc;
}

/* A length; -1 is allowed and means null. */
static int
decode_len(struct reader *r, int64_t *ret)
{
	int rc = parse_len(r->data, r->len, &r->pos, ret);

	if (rc < 0 || (rc > 0 && *ret < -1))
		return err_set(r->e, BH_E_ERR,
		    "a length of the answer is malformed");
	return rc;
}

static int
decode_bulk(struct reader *r, struct resp_value *v, enum resp_type type)
{
	int64_t n;
	int rc = decode_len(r, &n);

	if (rc <= 0)
		return rc;
	if (n < 0) {
		v->type = RESP_NULL;
		return 1;
	}
	if (r->len - r->pos < 2 || r->len - r->pos - 2 < (uint64_t)n)
		return 0;
	v->type = type;
	v->s = (struct bh_bytes){r->data + r->pos, (size_t)n};
	r->pos += (size_t)n + 2;
	if (memcmp(r->data + r->pos - 2, "\r\n", 2) != 0)
		return err_set(r->e, BH_E_ERR,
		    "a string of the answer does not end with CR LF");
	return 1;
}

static int
decode_verbatim(struct reader *r, struct resp_value *v)
{
	int rc = decode_bulk(r, v, RESP_BULK);

	if (rc <= 0 || v->type == RESP_NULL)
		return rc;
	if (v->s.len < 4 || v->s.data[3] != ':')
		return err_set(r->e, BH_E_ERR,
		    "a verbatim string of the answer has no type");
	v->s.data += 4;
	v->s.len -= 4;
	return 1;
}

static int
decode_items(struct reader *r, struct resp_value *v, enum resp_type type,
    int depth)
{
	size_t each = type == RESP_MAP ? 2 : 1, have = 0, cap = 0, want;
	int64_t n;
	int rc = decode_len(r, &n);

	if (rc <= 0)
		return rc;
	if (n < 0) {
		v->type = RESP_NULL;
		return 1;
	}
	if (depth == MAX_DEPTH || n > INT32_MAX)
		return err_set(r->e, BH_E_ERR, "the answer is nested deeper"
		    " than %d or too long", MAX_DEPTH);
	v->type = type;
	want = (size_t)n * each;
	/* The announced length is not believed: memory grows with what has
	 * really arrived. */
	while (have < want) {
		if (have == cap) {
			cap = cap ? cap * 2 : (want < 8 ? want : 8);
			v->items = xrealloc(v->items, cap * sizeof(*v));
		}
		v->items[have] = (struct resp_value){0};
		rc = decode_value(r, &v->items[have], depth + 1);
		have++;
		if (rc <= 0) {
			v->n = have / each;
			if (have > v->n * each)
				resp_value_done(&v->items[have - 1]);
			return rc;
		}
	}
	v->n = (size_t)n;
	return 1;
}

static int
decode_value(struct reader *r, struct resp_value *v, int depth)
{
	if (r->pos == r->len)
		return 0;
	switch (r->data[r->pos++]) {
	case '+': return decode_text(r, v, RESP_SIMPLE);
	case '-': return decode_text(r, v, RESP_ERROR);
	case '(': return decode_text(r, v, RESP_BULK);
	case ':': return decode_int(r, v);
	case ',': return decode_double(r, v);
	case '#': return decode_bool(r, v);
	case '_': return decode_null(r, v);
	case '$': return decode_bulk(r, v, RESP_BULK);
	case '!': return decode_bulk(r, v, RESP_ERROR);
	case '=': return decode_verbatim(r, v);
	case '*': return decode_items(r, v, RESP_ARRAY, depth);
	case '%': return decode_items(r, v, RESP_MAP, depth);
	case '~': return decode_items(r, v, RESP_SET, depth);
	case '>': return decode_items(r, v, RESP_PUSH, depth);
	default:
		return err_set(r->e, BH_E_ERR,
		    "the answer is not in the Redis protocol");
	}
}

int
resp_decode(const char *data, size_t len, struct resp_value *ret,
    size_t *ret_used, struct err *e)
{
	struct reader r = {.data = data, .len = len, .e = e};
	struct resp_value v = {0};
	int rc = decode_value(&r, &v, 0);

	if (rc <= 0) {
		resp_value_done(&v);
		return rc;
	}
	*ret = v;
	*ret_used = r.pos;
	return 1;
}

void
resp_value_done(struct resp_value *v)
{
	size_t n = v->type == RESP_MAP ? v->n * 2 : v->n;

	for (size_t i = 0; v->items && i < n; i++)
		resp_value_done(&v->items[i]);
	free(v->items);
	*v = (struct resp_value){0};
}
