/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

#define VALID_DEPTH 512
#define REPLACEMENT "\xef\xbf\xbd"

/* Length of the UTF-8 sequence at the front of the n bytes, 0 if there is
 * none: no overlong forms, no surrogates, nothing past U+10FFFF. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

bool
json_utf8(const char *s, size_t len)
{
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		n = utf8_len((const unsigned char *)s + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

void
json_init(struct json *j, struct buf *out)
{
	*j = (struct json){.out = out};
}

/* What stands between the last value and the one that comes now. */
static void
separate(struct json *j)
{
	uint64_t bit = UINT64_C(1) << j->depth;

	if (j->key)
		j->key = false;
	else if (j->more & bit)
		buf_addc(j->out, ',');
	j->more |= bit;
}

static void
open_level(struct json *j, char c)
{
	separate(j);
	CHECK(j->depth < JSON_DEPTH);
	j->depth++;
	j->more &= ~(UINT64_C(1) << j->depth);
	buf_addc(j->out, c);
}

static void
close_level(struct json *j, char c)
{
	CHECK(j->depth > 0 && !j->key);
	j->depth--;
	buf_addc(j->out, c);
}

void
json_object(struct json *j)
{
	open_level(j, '{');
}

void
json_object_end(struct json *j)
{
	close_level(j, '}');
}

void
json_array(struct json *j)
{
	open_level(j, '[');
}

void
json_array_end(struct json *j)
{
	close_level(j, ']');
}

static void
add_ascii(struct buf *b, unsigned char c)
{
	static const char shorts[] = "\b\f\n\r\t\"\\";
	static const char names[] = "bfnrt\"\\";
	const char *found = c ? strchr(shorts, c) : NULL;

	if (found) {
		buf_addc(b, '\\');
		buf_addc(b, names[found - shorts]);
	} else if (c < 0x20 || c == 0x7f) {
		buf_addf(b, "\\u%04x", c);
	} else {
		buf_addc(b, (char)c);
	}
}

static void
add_string(struct buf *b, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n;

	buf_addc(b, '"');
	for (size_t i = 0; i < len; i += n) {
		n = utf8_len(p + i, len - i);
		if (n == 1)
			add_ascii(b, p[i]);
		else if (n > 1)
			buf_add(b, p + i, n);
		else
			buf_adds(b, REPLACEMENT);
		n += n == 0;
	}
	buf_addc(b, '"');
}

void
json_key_bytes(struct json *j, const char *s, size_t len)
{
	CHECK(j->depth > 0 && !j->key);
	separate(j);
	add_string(j->out, s, len);
	buf_addc(j->out, ':');
	j->key = true;
}

void
json_key(struct json *j, const char *name)
{
	json_key_bytes(j, name, strlen(name));
}

void
json_bytes(struct json *j, const char *s, size_t len)
{
	separate(j);
	add_string(j->out, s, len);
}

void
json_str(struct json *j, const char *s)
{
	json_bytes(j, s, strlen(s));
}

void
json_int(struct json *j, int64_t v)
{
	separate(j);
	buf_addi(j->out, v);
}

void
json_double(struct json *j, double v)
{
	char text[40];

	if (!isfinite(v)) {
		json_null(j);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	separate(j);
	buf_adds(j->out, text);
}

void
json_bool(struct json *j, bool v)
{
	separate(j);
	buf_adds(j->out, v ? "true" : "false");
}

void
json_null(struct json *j)
{
	separate(j);
	buf_adds(j->out, "null");
}

void
json_raw(struct json *j, const char *s, size_t len)
{
	separate(j);
	buf_add(j->out, s, len);
}

static void
put_base64(struct json *j, const char *s, size_t len)
{
	unsigned char *to;

	separate(j);
	to = (unsigned char *)buf_reserve(j->out, len / 3 * 4 + 7);
	*to = '"';
	len = (size_t)EVP_EncodeBlock(to + 1, (const unsigned char *)s,
	    (int)len);
	to[1 + len] = '"';
	buf_added(j->out, len + 2);
}

void
json_body(struct json *j, const char *key, const char *s, size_t len)
{
	const char *encoding;
	char name[64];

	json_key(j, key);
	if (json_valid(s, len)) {
		json_raw(j, s, len);
		encoding = "json";
	} else if (json_utf8(s, len)) {
		json_bytes(j, s, len);
		encoding = "text";
	} else {
		put_base64(j, s, len);
		encoding = "base64";
	}
	snprintf(name, sizeof(name), "%s_encoding", key);
	json_key(j, name);
	json_str(j, encoding);
}

/* The judge reads forward only: p is what is left, and a level's bit says
 * whether it is an object. */
struct judge {
	const unsigned char *p, *end;
	unsigned char levels[VALID_DEPTH / 8];
	unsigned depth;
};

static void
skip_blanks(struct judge *g)
{
	while (g->p < g->end && *g->p && strchr(" \t\r\n", *g->p))
		g->p++;
}

static bool
take(struct judge *g, unsigned char c)
{
	if (g->p == g->end || *g->p != c)
		return false;
	g->p++;
	return true;
}

static bool
take_word(struct judge *g, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(g->end - g->p) < len || memcmp(g->p, word, len) != 0)
		return false;
	g->p += len;
	return true;
}

static bool
take_digits(struct judge *g)
{
	const unsigned char *from = g->p;

	while (g->p < g->end && *g->p >= '0' && *g->p <= '9')
		g->p++;
	return g->p > from;
}

static bool
take_number(struct judge *g)
{
	take(g, '-');
	if (!take(g, '0') && !take_digits(g))
		return false;
	if (take(g, '.') && !take_digits(g))
		return false;
	if (take(g, 'e') || take(g, 'E')) {
		if (!take(g, '-'))
			take(g, '+');
		return take_digits(g);
	}
	return true;
}

/* Four hex digits after a \u; -1 if they are not there. */
static int
take_hex(struct judge *g)
{
	int v = 0;

	if (g->end - g->p < 4)
		return -1;
	for (int i = 0; i < 4; i++, g->p++) {
		unsigned char c = *g->p, low = c | 0x20;

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (low >= 'a' && low <= 'f')
			v = v * 16 + (low - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static bool
take_escape(struct judge *g)
{
	int unit;

	if (g->p == g->end)
		return false;
	if (*g->p != 'u') {
		bool known = *g->p && strchr("\"\\/bfnrt", *g->p);

		g->p++;
		return known;
	}
	g->p++;
	unit = take_hex(g);
	if (unit < 0 || (unit >= 0xdc00 && unit < 0xe000))
		return false;
	if (unit < 0xd800 || unit >= 0xe000)
		return true;
	if (!take_word(g, "\\u"))
		return false;
	unit = take_hex(g);
	return unit >= 0xdc00 && unit < 0xe000;
}

static bool
take_string(struct judge *g)
{
	if (!take(g, '"'))
		return false;
	while (g->p < g->end) {
		size_t n;

		if (take(g, '"'))
			return true;
		if (take(g, '\\')) {
			if (!take_escape(g))
				return false;
			continue;
		}
		n = utf8_len(g->p, (size_t)(g->end - g->p));
		if (n == 0 || *g->p < 0x20)
			return false;
		g->p += n;
	}
	return false;
}

static bool
take_scalar(struct judge *g)
{
	if (g->p == g->end)
		return false;
	switch (*g->p) {
	case '"':
		return take_string(g);
	case 't':
		return take_word(g, "true");
	case 'f':
		return take_word(g, "false");
	case 'n':
		return take_word(g, "null");
	default:
		return take_number(g);
	}
}

static bool
take_key(struct judge *g)
{
	skip_blanks(g);
	if (!take_string(g))
		return false;
	skip_blanks(g);
	return take(g, ':');
}

static bool
in_object(const struct judge *g)
{
	unsigned level = g->depth - 1;

	return g->levels[level / 8] >> level % 8 & 1;
}

/* Enters [ or {. False: too deep. */
static bool
enter(struct judge *g, bool object)
{
	unsigned char bit = (unsigned char)(1 << g->depth % 8);

	if (g->depth == VALID_DEPTH)
		return false;
	if (object)
		g->levels[g->depth / 8] |= bit;
	else
		g->levels[g->depth / 8] &= (unsigned char)~bit;
	g->depth++;
	return true;
}

/* After a value: leaves what ends here. False: neither an end nor a comma
 * with what must follow it. */
static bool
leave(struct judge *g)
{
	while (g->depth > 0) {
		skip_blanks(g);
		if (take(g, ','))
			return !in_object(g) || take_key(g);
		if (!take(g, in_object(g) ? '}' : ']'))
			return false;
		g->depth--;
	}
	return true;
}

bool
json_valid(const char *s, size_t len)
{
	struct judge g = {.p = (const unsigned char *)s};

	if (len == 0)
		return false;
	g.end = g.p + len;
	do {
		bool object;

		skip_blanks(&g);
		object = take(&g, '{');
		if (object || take(&g, '[')) {
			if (!enter(&g, object))
				return false;
			skip_blanks(&g);
			if (take(&g, object ? '}' : ']')) {
				g.depth--;
			} else {
				if (object && !take_key(&g))
					return false;
				continue;
			}
		} else if (!take_scalar(&g)) {
			return false;
		}
		if (!leave(&g))
			return false;
	} while (g.depth > 0);
	skip_blanks(&g);
	return g.p == g.end;
}
