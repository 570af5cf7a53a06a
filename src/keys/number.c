/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys/part.h"

bool
num_int(struct bh_bytes v, int64_t *ret)
{
	bool minus = v.len > 0 && v.data[0] == '-';
	uint64_t limit = minus ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	uint64_t n = 0;
	size_t i = minus;

	if (v.len == 1 && v.data[0] == '0') {
		*ret = 0;
		return true;
	}
	if (i >= v.len || v.len > 20 || v.data[i] < '1' || v.data[i] > '9')
		return false;
	for (; i < v.len; i++) {
		unsigned digit = (unsigned)(v.data[i] - '0');

		if (digit > 9 || n > (limit - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*ret = minus ? (int64_t)-n : (int64_t)n;
	return true;
}

bool
num_real(struct bh_bytes v, long double *ret)
{
	char text[NUM_REAL_MAX];
	long double d;
	char *end;

	if (v.len == 0 || v.len >= sizeof(text))
		return false;
	memcpy(text, v.data, v.len);
	text[v.len] = '\0';
	errno = 0;
	d = strtold(text, &end);
	if (isspace((unsigned char)text[0]) || end != text + v.len ||
	    isnan(d) || errno == EINVAL)
		return false;
	if (errno == ERANGE && (isinf(d) || fpclassify(d) == FP_ZERO))
		return false;
	*ret = d;
	return true;
}

size_t
num_real_text(long double v, char *out)
{
	int n = snprintf(out, NUM_REAL_MAX, "%.17Lf", v);
	size_t len = n > 0 && n < NUM_REAL_MAX ? (size_t)n : 0;

	if (memchr(out, '.', len)) {
		while (out[len - 1] == '0')
			len--;
		if (out[len - 1] == '.')
			len--;
	}
	if (len == 2 && out[0] == '-' && out[1] == '0') {
		out[0] = '0';
		len = 1;
	}
	return len;
}

bool
arg_number(struct kcall *c, size_t i, int64_t *ret)
{
	if (num_int(c->argv[i], ret))
		return true;
	put_not_integer(c);
	return false;
}

bool
arg_range(struct kcall *c, size_t i, int64_t min, int64_t max,
    const char *text, int64_t *ret)
{
	bool is_int = num_int(c->argv[i], ret);

	if (is_int && *ret >= min && *ret <= max)
		return true;
	if (text)
		put_error(c, "ERR %s", text);
	else if (!is_int)
		put_not_integer(c);
	else
		put_error(c, "ERR value is out of range, value must between"
		    " %lld and %lld", (long long)min, (long long)max);
	return false;
}

bool
range_clamp(int64_t len, int64_t *start, int64_t *stop)
{
	if (*start < 0)
		*start += len;
	if (*stop < 0)
		*stop += len;
	if (*start < 0)
		*start = 0;
	if (*stop >= len)
		*stop = len - 1;
	return *start <= *stop && *start < len;
}

bool
arg_expiry(struct kcall *c, const struct expiry_arg *a, int64_t *ret)
{
	int64_t ms;

	if (!num_int(a->value, &ms)) {
		put_not_integer(c);
		return false;
	}
	if (ms <= 0 || (a->seconds &&
	    __builtin_mul_overflow(ms, INT64_C(1000), &ms)) ||
	    (!a->absolute &&
	    __builtin_add_overflow(ms, c->ks->wall_ms, &ms))) {
		put_bad_expire(c);
		return false;
	}
	*ret = ms;
	return true;
}
