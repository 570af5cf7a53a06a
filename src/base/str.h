/* SPDX-License-Identifier: MIT */
/*
 * Strict parsing of what people and clients write. Each function takes all of
 * the len bytes or fails: 0 or -1, output untouched on failure.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/* Decimal, optional minus, no blanks, no plus, no leading zero but "0". */
MUSTCHECK int str_int(const char *s, size_t len, int64_t *ret);
/* Finite decimal number as strtod takes it, without hex, inf and nan. */
MUSTCHECK int str_double(const char *s, size_t len, double *ret);
/* "500ms" "2s" "5m" "1h" "7d", or bare digits times bare_ms; 0 for bare_ms
 * refuses bare digits. Fractions such as "1.5s" are allowed. */
MUSTCHECK int str_duration(const char *s, size_t len, int64_t bare_ms,
    int64_t *ret_ms);
/* "4096" "64KiB" "1MiB" "2GiB" (also K, M, G), bytes. */
MUSTCHECK int str_size(const char *s, size_t len, int64_t *ret_bytes);

/* Glob with * ? [a-z] and \, as Redis patterns; both counted. */
bool str_glob(const char *pattern, size_t plen, const char *s, size_t slen);

/* ASCII case-insensitive equality of a counted string and a C string. */
bool str_is(const char *s, size_t len, const char *word);

/* Reads a whole file (at most max bytes). 0, or -errno; caller frees. */
MUSTCHECK int str_read_file(const char *path, size_t max, char **ret,
    size_t *ret_len);

/* A span for people: "250 ms", "3.2 s", "4 m 10 s", "2 h 5 m", "3 d 4 h". */
void str_span(int64_t ms, char *out, size_t size);

#endif
