/* SPDX-License-Identifier: MIT */
/*
 * Writes JSON into a buffer, value after value, and judges whether bytes are
 * JSON. What is written is always valid: commas and colons come by
 * themselves, bytes that are not UTF-8 become U+FFFD, a number that JSON does
 * not have becomes null. Reading is not done here.
 *
 * Any thread; one writer belongs to one.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"

#define JSON_DEPTH 63

struct json {
	struct buf *out;
	uint64_t more;			/* bit n: level n has a value */
	unsigned depth;			/* at most JSON_DEPTH */
	bool key;			/* a key waits for its value */
};

void json_init(struct json *j, struct buf *out);

void json_object(struct json *j);
void json_object_end(struct json *j);
void json_array(struct json *j);
void json_array_end(struct json *j);
void json_key(struct json *j, const char *name);
void json_key_bytes(struct json *j, const char *s, size_t len);

void json_str(struct json *j, const char *s);
void json_bytes(struct json *j, const char *s, size_t len);
void json_int(struct json *j, int64_t v);
/* As few digits as read back to the same number. */
void json_double(struct json *j, double v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
/* Text that is JSON already, as it is. */
void json_raw(struct json *j, const char *s, size_t len);

/* A payload or result in an object: under its own key as JSON where it is
 * JSON, as a string where it is UTF-8, else in base64; which of them is said
 * under KEY_encoding ("json", "text", "base64"). */
void json_body(struct json *j, const char *key, const char *s, size_t len);

/* Whether the bytes are one JSON text by RFC 8259 in valid UTF-8, not deeper
 * than 512, without unpaired surrogates. */
bool json_valid(const char *s, size_t len);
/* Whether the bytes are valid UTF-8. */
bool json_utf8(const char *s, size_t len);

#endif
