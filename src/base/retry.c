/* SPDX-License-Identifier: MIT */
#include "base/retry.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* In as many steps as n has bits: a factor of 1 never reaches the maximum, and
 * a job may have any number of errors. */
static double
power(double x, int32_t n)
{
	double p = 1;

	for (; n > 0; n /= 2, x *= x)
		if (n % 2)
			p *= x;
	return p;
}

int64_t
retry_delay(const struct retry_backoff *b, int32_t errors, double unit)
{
	double delay = (double)b->delay_ms;

	/* Not for 0, because 0 times infinity is no number. */
	if (b->type == BH_BACKOFF_EXPONENTIAL && delay > 0)
		delay *= power(b->factor, errors - 1);
	if (delay > (double)b->max_ms)
		delay = (double)b->max_ms;
	return (int64_t)(delay * (1 - b->jitter * unit));
}

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Length of the number or id at the front of s, else 0. A word is one when it
 * has a digit and is a number, 0x and hexadecimal, hexadecimal of 8 or more,
 * or has dashes like a UUID. */
static size_t
id_length(const char *s, size_t len)
{
	size_t n = 0, digits = 0, hex = 0;

	if (len > 2 && s[0] == '0' && (s[1] | 0x20) == 'x' &&
	    isxdigit((unsigned char)s[2])) {
		for (n = 3; n < len && isxdigit((unsigned char)s[n]); n++)
			;
		return n;
	}
	while (n < len && (is_word(s[n]) ||
	    (s[n] == '-' && n + 1 < len && n > 0 && is_word(s[n + 1])))) {
		if (isdigit((unsigned char)s[n]))
			digits++;
		if (isxdigit((unsigned char)s[n]) || s[n] == '-')
			hex++;
		n++;
	}
	if (digits == 0)
		return 0;
	if (hex == n && n >= 8)
		return n;
	for (n = 0; n < len && isdigit((unsigned char)s[n]); n++)
		;
	return n;
}

/* Length of the quoted part at the front of s with both quotes, else 0. */
static size_t
quoted_length(const char *s, size_t len)
{
	const char *end;

	if (s[0] != '"' && s[0] != '\'' && s[0] != '`')
		return 0;
	end = memchr(s + 1, s[0], len - 1);
	return end ? (size_t)(end - s) + 1 : 0;
}

size_t
retry_fold(const char *msg, size_t len, char *out, size_t size)
{
	size_t i = 0, n = 0, skip;
	bool in_word = false;

	while (i < len && n + 6 < size) {
		if (!in_word && (skip = quoted_length(msg + i, len - i))) {
			out[n++] = msg[i];
			memcpy(out + n, "\xe2\x80\xa6", 3);
			n += 3;
			out[n++] = msg[i];
			i += skip;
		} else if ((!in_word || isdigit((unsigned char)msg[i])) &&
		    (skip = id_length(msg + i, len - i))) {
			out[n++] = '#';
			i += skip;
		} else {
			out[n++] = msg[i++];
		}
		in_word = n > 0 && is_word(out[n - 1]);
	}
	out[n] = '\0';
	return n;
}

uint64_t
retry_fingerprint(const char *msg, size_t len)
{
	char folded[1024];
	size_t n = retry_fold(msg, len, folded, sizeof(folded)), i;
	uint64_t h = 0xcbf29ce484222325ULL;	/* FNV-1a, 64 bits */

	for (i = 0; i < n; i++) {
		h ^= (unsigned char)folded[i];
		h *= 0x100000001b3ULL;
	}
	/* SQLite's integers are signed, and 0 means "any". */
	h &= INT64_MAX;
	return h ? h : 1;
}
