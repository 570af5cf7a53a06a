/* SPDX-License-Identifier: MIT */
/*
 * What the door needs of memory, bytes and numbers. No memory ends the
 * process, as everywhere in Bellhop.
 */
#ifndef HTTP_TEXT_H
#define HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

/* Growable bytes. Not NUL-terminated, but text_str() makes it so. */
struct text {
	char *data;
	size_t len;
	size_t cap;
};

void *mem_new(size_t size);		/* zeroed; free() it */
void *mem_resize(void *p, size_t size);
char *mem_copy(const char *s, size_t len);

void text_free(struct text *t);
/* Room for n more bytes; say with t->len += how many were written. */
char *text_room(struct text *t, size_t n);
void text_add(struct text *t, const void *s, size_t len);
void text_adds(struct text *t, const char *s);
void text_addc(struct text *t, char c);
void text_addi(struct text *t, int64_t v);
__attribute__((format(printf, 2, 3)))
void text_addf(struct text *t, const char *fmt, ...);
/* A JSON string, quotes included; what is not UTF-8 becomes U+FFFD. */
void text_json(struct text *t, const char *s, size_t len);
/* For a page. */
void text_html(struct text *t, const char *s, size_t len);
const char *text_str(struct text *t);

bool bytes_is(struct bh_bytes b, const char *s);
bool bytes_is_nocase(struct bh_bytes b, const char *s);
/* Among words with commas between them, in any case. */
bool bytes_has_word(struct bh_bytes b, const char *word);
struct bh_bytes bytes_of(const char *s);

/* "500ms" "2s" "1.5m" "1h" "7d", or 0: milliseconds. -1: it is none. */
int span_parse(const char *s, size_t len, int64_t *ret_ms);
/* Digits alone. */
int number_parse(const char *s, size_t len, int64_t *ret);

/* Decodes %XX in place; the new length, or -1: malformed, or a %00. */
long percent_decode(char *s, size_t len);
/* Decodes base64 (RFC 4648, with padding) onto t; -1: it is none. */
int base64_decode(struct text *t, const char *s, size_t len);

/* Length of the character that starts at s, 0: it is not UTF-8. */
size_t utf8_length(const char *s, size_t len);
bool utf8_valid(const char *s, size_t len);

#endif
