/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"

/* Fractions finer than this are below a millisecond of the largest unit. */
#define FRACTION_DIGITS 9

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit time_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60 * 1000},
	{"h", 3600 * 1000}, {"d", 86400 * 1000},
};

static const struct unit size_units[] = {
	{"", 1},
	{"K", 1LL << 10}, {"KiB", 1LL << 10},
	{"M", 1LL << 20}, {"MiB", 1LL << 20},
	{"G", 1LL << 30}, {"GiB", 1LL << 30},
	{"T", 1LL << 40}, {"TiB", 1LL << 40},
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int
str_int(const char *s, size_t len, int64_t *ret)
{
	bool minus = len > 0 && s[0] == '-';
	size_t i = minus;
	int64_t v = 0;

	if (i == len || (s[i] == '0' && (minus || len > 1)))
		return -1;
	/* Counted downwards, where there is room for INT64_MIN. */
	for (; i < len; i++) {
		if (!is_digit(s[i]) || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, s[i] - '0', &v))
			return -1;
	}
	if (!minus && __builtin_sub_overflow((int64_t)0, v, &v))
		return -1;
	*ret = v;
	return 0;
}

int
str_double(const char *s, size_t len, double *ret)
{
	char copy[128], *end;
	double v;

	if (len == 0 || len >= sizeof(copy))
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(s[i]) && !memchr("+-.eE", s[i], 5))
			return -1;
	}
	memcpy(copy, s, len);
	copy[len] = '\0';
	v = strtod(copy, &end);
	if (end != copy + len || !isfinite(v))
		return -1;
	*ret = v;
	return 0;
}

static int64_t
unit_factor(const struct unit *units, size_t n, const char *s, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(units[i].name) == len &&
		    memcmp(s, units[i].name, len) == 0)
			return units[i].factor;
	}
	return 0;
}

/* Digits with an optional fraction; where the unit begins, or 0. */
static size_t
scan_number(const char *s, size_t len, int64_t *ret_whole,
    int64_t *ret_fraction, int64_t *ret_scale)
{
	int64_t whole = 0, fraction = 0, scale = 1;
	size_t i = 0, dot;

	for (; i < len && is_digit(s[i]); i++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, s[i] - '0', &whole))
			return 0;
	}
	if (i == 0)
		return 0;
	if (i < len && s[i] == '.') {
		dot = i++;
		for (; i < len && is_digit(s[i]); i++) {
			if (i - dot > FRACTION_DIGITS)
				return 0;
			fraction = fraction * 10 + (s[i] - '0');
			scale *= 10;
		}
		if (i == dot + 1)
			return 0;
	}
	*ret_whole = whole;
	*ret_fraction = fraction;
	*ret_scale = scale;
	return i;
}

static int
scale_number(int64_t whole, int64_t fraction, int64_t scale, int64_t factor,
    int64_t *ret)
{
	double part = (double)fraction / (double)scale * (double)factor;
	int64_t v;

	if (__builtin_mul_overflow(whole, factor, &v) ||
	    __builtin_add_overflow(v, (int64_t)(part + 0.5), &v))
		return -1;
	*ret = v;
	return 0;
}

int
str_duration(const char *s, size_t len, int64_t bare_ms, int64_t *ret_ms)
{
	int64_t whole, fraction, scale, factor;
	size_t used = scan_number(s, len, &whole, &fraction, &scale);

	if (used == 0)
		return -1;
	if (used == len)
		factor = bare_ms;
	else
		factor = unit_factor(time_units, nitems(time_units), s + used,
		    len - used);
	if (factor == 0)
		return -1;
	return scale_number(whole, fraction, scale, factor, ret_ms);
}

int
str_size(const char *s, size_t len, int64_t *ret_bytes)
{
	int64_t whole, fraction, scale, factor;
	size_t used = scan_number(s, len, &whole, &fraction, &scale);

	if (used == 0)
		return -1;
	factor = unit_factor(size_units, nitems(size_units), s + used,
	    len - used);
	if (factor == 0 || (factor == 1 && scale > 1))
		return -1;
	return scale_number(whole, fraction, scale, factor, ret_bytes);
}

/* One [class]; p stands after the '['. Where the pattern goes on: after the
 * ']', or its end when that is missing, as Redis has it. */
static size_t
glob_class(const char *pattern, size_t plen, size_t p, unsigned char c,
    bool *ret_match)
{
	bool invert = p < plen && pattern[p] == '^';
	bool match = false;

	for (p += invert; p < plen && pattern[p] != ']'; p++) {
		unsigned char low, high;

		if (pattern[p] == '\\' && p + 1 < plen)
			p++;
		low = high = (unsigned char)pattern[p];
		if (p + 2 < plen && pattern[p + 1] == '-') {
			p += 2;
			high = (unsigned char)pattern[p];
		}
		if (low > high) {
			unsigned char swap = low;

			low = high;
			high = swap;
		}
		match |= c >= low && c <= high;
	}
	*ret_match = match != invert;
	return p < plen ? p + 1 : p;
}

/* Whether the pattern's element at p takes c; where the next one begins. */
static size_t
glob_one(const char *pattern, size_t plen, size_t p, char c, bool *ret_match)
{
	if (pattern[p] == '?') {
		*ret_match = true;
		return p + 1;
	}
	if (pattern[p] == '[')
		return glob_class(pattern, plen, p + 1, (unsigned char)c,
		    ret_match);
	if (pattern[p] == '\\' && p + 1 < plen)
		p++;
	*ret_match = pattern[p] == c;
	return p + 1;
}

/* Only the last star is ever tried again, so the worst case is plen × slen,
 * whatever the pattern. */
bool
str_glob(const char *pattern, size_t plen, const char *s, size_t slen)
{
	size_t p = 0, i = 0, star = SIZE_MAX, star_i = 0;

	while (i < slen) {
		bool match = false;
		size_t next = p;

		if (p < plen && pattern[p] == '*') {
			star = ++p;
			star_i = i;
			continue;
		}
		if (p < plen)
			next = glob_one(pattern, plen, p, s[i], &match);
		if (match) {
			p = next;
			i++;
		} else if (star != SIZE_MAX) {
			p = star;
			i = ++star_i;
		} else {
			return false;
		}
	}
	while (p < plen && pattern[p] == '*')
		p++;
	return p == plen;
}

bool
str_is(const char *s, size_t len, const char *word)
{
	return strlen(word) == len &&
	    (len == 0 || strncasecmp(s, word, len) == 0);
}

/* Reads until the end or one byte past max. 0 or -errno. */
static int
read_all(int fd, size_t max, char **data, size_t *len)
{
	size_t cap = 0;

	for (;;) {
		ssize_t n;

		if (cap - *len < 2) {
			cap = cap ? cap * 2 : 4096;
			*data = xrealloc(*data, cap);
		}
		n = read(fd, *data + *len, cap - *len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		*len += (size_t)n;
		if (*len > max)
			return -EFBIG;
		if (n == 0)
			return 0;
	}
}

int
str_read_file(const char *path, size_t max, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data = NULL;
	size_t len = 0;
	int rc;

	if (fd < 0)
		return -errno;
	rc = read_all(fd, max, &data, &len);
	close(fd);
	if (rc < 0) {
		free(data);
		return rc;
	}
	data[len] = '\0';
	*ret = data;
	*ret_len = len;
	return 0;
}

void
str_span(int64_t ms, char *out, size_t size)
{
	static const struct {
		int64_t ms;
		int64_t below;		/* of the next smaller unit */
		const char *unit, *next;
	} steps[] = {
		{86400000, 3600000, "d", "h"},
		{3600000, 60000, "h", "m"},
		{60000, 1000, "m", "s"},
	};
	uint64_t v = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
	const char *sign = ms < 0 ? "-" : "";

	for (size_t i = 0; i < nitems(steps); i++) {
		uint64_t unit = (uint64_t)steps[i].ms;
		uint64_t rest = v % unit / (uint64_t)steps[i].below;

		if (v < unit)
			continue;
		if (rest)
			snprintf(out, size, "%s%ju %s %ju %s", sign,
			    (uintmax_t)(v / unit), steps[i].unit,
			    (uintmax_t)rest, steps[i].next);
		else
			snprintf(out, size, "%s%ju %s", sign,
			    (uintmax_t)(v / unit), steps[i].unit);
		return;
	}
	if (v < 1000)
		snprintf(out, size, "%s%ju ms", sign, (uintmax_t)v);
	else
		snprintf(out, size, "%s%ju.%ju s", sign,
		    (uintmax_t)(v / 1000), (uintmax_t)(v % 1000 / 100));
}
