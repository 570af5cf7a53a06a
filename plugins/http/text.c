/* SPDX-License-Identifier: MIT */
#include "http/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void *
checked(void *p)
{
	if (!p) {
		fputs("the http plugin: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *
mem_new(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *
mem_resize(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1));
}

char *
mem_copy(const char *s, size_t len)
{
	char *p = checked(malloc(len + 1));

	if (len > 0)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

void
text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}

char *
text_room(struct text *t, size_t n)
{
	size_t want = t->cap ? t->cap * 2 : 256;

	if (t->cap - t->len >= n && t->data)
		return t->data + t->len;
	if (want < t->len + n)
		want = t->len + n;
	t->data = mem_resize(t->data, want);
	t->cap = want;
	return t->data + t->len;
}

void
text_add(struct text *t, const void *s, size_t len)
{
	if (len == 0)
		return;
	memcpy(text_room(t, len), s, len);
	t->len += len;
}

void
text_adds(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void
text_addc(struct text *t, char c)
{
	*text_room(t, 1) = c;
	t->len++;
}

void
text_addi(struct text *t, int64_t v)
{
	char digits[24];

	text_add(t, digits, (size_t)snprintf(digits, sizeof(digits), "%lld",
	    (long long)v));
}

void
text_addf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	size_t room;
	int n;

	text_room(t, 64);
	room = t->cap - t->len;
	va_start(ap, fmt);
	n = vsnprintf(t->data + t->len, room, fmt, ap);
	va_end(ap);
	if ((size_t)n >= room) {
		text_room(t, (size_t)n + 1);
		va_start(ap, fmt);
		vsnprintf(t->data + t->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	t->len += (size_t)n;
}

size_t
utf8_length(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 :
	    u[0] < 0xf0 ? 3 : u[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return n;
}

bool
utf8_valid(const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n)
		if ((n = utf8_length(s + i, len - i)) == 0)
			return false;
	return true;
}

void
text_json(struct text *t, const char *s, size_t len)
{
	text_addc(t, '"');
	for (size_t i = 0; i < len;) {
		size_t n = utf8_length(s + i, len - i);
		unsigned char c = (unsigned char)s[i];

		if (n == 0)
			text_adds(t, "\xef\xbf\xbd");
		else if (c == '"' || c == '\\')
			text_addf(t, "\\%c", c);
		else if (c < 0x20)
			text_addf(t, "\\u%04x", c);
		else
			text_add(t, s + i, n);
		i += n ? n : 1;
	}
	text_addc(t, '"');
}

void
text_html(struct text *t, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		switch (s[i]) {
		case '<': text_adds(t, "&lt;"); break;
		case '>': text_adds(t, "&gt;"); break;
		case '&': text_adds(t, "&amp;"); break;
		case '"': text_adds(t, "&quot;"); break;
		default: text_addc(t, s[i]);
		}
	}
}

const char *
text_str(struct text *t)
{
	*text_room(t, 1) = '\0';
	return t->data;
}

bool
bytes_is(struct bh_bytes b, const char *s)
{
	return b.len == strlen(s) && memcmp(b.data, s, b.len) == 0;
}

bool
bytes_is_nocase(struct bh_bytes b, const char *s)
{
	return b.len == strlen(s) && strncasecmp(b.data, s, b.len) == 0;
}

bool
bytes_has_word(struct bh_bytes b, const char *word)
{
	const char *p = b.data, *end = p + b.len;

	while (p < end) {
		const char *stop = p;

		while (stop < end && *stop != ',' && *stop != ' ' &&
		    *stop != '\t')
			stop++;
		if (bytes_is_nocase((struct bh_bytes){p, (size_t)(stop - p)},
		    word))
			return true;
		p = stop + 1;
	}
	return false;
}

struct bh_bytes
bytes_of(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

int
number_parse(const char *s, size_t len, int64_t *ret)
{
	int64_t v = 0;

	if (len == 0 || len > 18)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	*ret = v;
	return 0;
}

/* A hundred years: beyond it a sum of two times could overflow. */
#define SPAN_MAX INT64_C(3155760000000)

int
span_parse(const char *s, size_t len, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
	    {"d", 86400000}};
	double v = 0, scale = 1;
	bool fraction = false;
	size_t i, digits = 0;

	for (i = 0; i < len; i++) {
		if (s[i] == '.' && !fraction && digits > 0) {
			fraction = true;
			continue;
		}
		if (s[i] < '0' || s[i] > '9' || digits == 15)
			break;
		v = v * 10 + (s[i] - '0');
		scale *= fraction ? 10 : 1;
		digits++;
	}
	if (digits == 0 || s[i - 1] == '.')
		return -1;
	if (i == len && v == 0) {
		*ret_ms = 0;
		return 0;
	}
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		struct bh_bytes rest = {s + i, len - i};

		if (!bytes_is(rest, units[u].name))
			continue;
		v = v / scale * units[u].ms;
		if (v > (double)SPAN_MAX)
			return -1;
		*ret_ms = (int64_t)(v + 0.5);
		return 0;
	}
	return -1;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long
percent_decode(char *s, size_t len)
{
	size_t to = 0;

	for (size_t i = 0; i < len; i++) {
		int high, low;

		if (s[i] != '%') {
			s[to++] = s[i];
			continue;
		}
		if (i + 2 >= len || (high = hex_digit(s[i + 1])) < 0 ||
		    (low = hex_digit(s[i + 2])) < 0 || high + low == 0)
			return -1;
		s[to++] = (char)(high * 16 + low);
		i += 2;
	}
	s[to] = '\0';
	return (long)to;
}

static int
base64_digit(char c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

int
base64_decode(struct text *t, const char *s, size_t len)
{
	size_t pad = len > 0 && s[len - 1] == '=' ?
	    1 + (len > 1 && s[len - 2] == '=') : 0;
	size_t start = t->len;

	if (len % 4 != 0)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		size_t some = i + 4 == len ? 4 - pad : 4;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < some ? base64_digit(s[i + k]) : 0;

			if (d < 0)
				return -1;
			v = v << 6 | (uint32_t)d;
		}
		for (size_t k = 0; k + 1 < some; k++)
			text_addc(t, (char)(v >> (16 - 8 * k)));
		/* Bits that no byte has: the text was not made from bytes. */
		if (some < 4 && (v & (some == 2 ? 0xffff : 0xff)) != 0) {
			t->len = start;
			return -1;
		}
	}
	return 0;
}
