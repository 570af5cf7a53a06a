/* SPDX-License-Identifier: MIT */
/*
 * Parsing trusts nothing: each count of the header is checked against the
 * length before anything behind it is looked at, transitions must ascend and
 * offsets be those of a place on earth. tz_offset() and tz_change() then need
 * no check.
 */
#include "base/tz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/xalloc.h"

#define FILE_MAX ((size_t)1 << 20)
#define FOOTER_MAX 120
#define DAY INT64_C(86400)
#define OFFSET_MAX 93600		/* 26 h: more than any clock ever had */

/* A change of the footer rule: Mm.w.d, Jn or n, at t seconds of local time. */
struct rule {
	enum { RULE_DAY, RULE_JULIAN, RULE_WEEK } kind;
	int month, week, day;
	int32_t t;
};

struct tz {
	char name[TZ_NAME_MAX + 1];
	char *path;			/* NULL: no file */
	struct stat st;			/* of the file */
	size_t n;
	int64_t *at;			/* ascending */
	int32_t *offset;		/* from at[i] on */
	int32_t first;			/* before at[0] */
	int32_t std, dst;		/* by the footer, after the last */
	bool has_dst;
	struct rule begin, end;		/* of dst */
};

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t
tz_days(int64_t year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = floor_div(y, 400);
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

struct tz_date
tz_date(int64_t days)
{
	int64_t z = days + 719468;
	int64_t era = floor_div(z, 146097);
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int month = (int)(mp < 10 ? mp + 3 : mp - 9);

	return (struct tz_date){yoe + era * 400 + (month <= 2), month,
	    (int)(doy - (153 * mp + 2) / 5 + 1)};
}

/* --- the footer: a POSIX TZ string --- */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Each takes what it reads off *p; false when it is not there. */
static bool
take_number(const char **p, int max, int *ret)
{
	int v = 0;

	if (!is_digit(**p))
		return false;
	for (; is_digit(**p); (*p)++) {
		v = v * 10 + **p - '0';
		if (v > max)
			return false;
	}
	*ret = v;
	return true;
}

static bool
take_name(const char **p)
{
	const char *from = *p;

	if (**p == '<') {
		*p = strchr(*p, '>');
		if (!*p)
			return false;
		(*p)++;
		return true;
	}
	while (is_alpha(**p))
		(*p)++;
	return *p > from;
}

/* [+-]h[h[h]][:mm[:ss]] */
static bool
take_time(const char **p, int max_hours, int32_t *ret)
{
	int part[3] = {0};
	int sign = 1;

	if (**p == '+' || **p == '-')
		sign = *(*p)++ == '-' ? -1 : 1;
	if (!take_number(p, max_hours, &part[0]))
		return false;
	for (int i = 1; i < 3 && **p == ':'; i++) {
		(*p)++;
		if (!take_number(p, 59, &part[i]))
			return false;
	}
	*ret = sign * (part[0] * 3600 + part[1] * 60 + part[2]);
	return true;
}

static bool
take_dot(const char **p, int max, int *ret)
{
	if (**p != '.')
		return false;
	(*p)++;
	return take_number(p, max, ret);
}

static bool
take_rule(const char **p, struct rule *r)
{
	*r = (struct rule){.t = 7200};
	if (*(*p)++ != ',')
		return false;
	if (**p == 'M') {
		(*p)++;
		r->kind = RULE_WEEK;
		if (!take_number(p, 12, &r->month) || r->month == 0 ||
		    !take_dot(p, 5, &r->week) || r->week == 0 ||
		    !take_dot(p, 6, &r->day))
			return false;
	} else if (**p == 'J') {
		(*p)++;
		r->kind = RULE_JULIAN;
		if (!take_number(p, 365, &r->day) || r->day == 0)
			return false;
	} else if (!take_number(p, 365, &r->day)) {
		return false;
	}
	if (**p != '/')
		return true;
	(*p)++;
	return take_time(p, 167, &r->t);
}

static bool
parse_footer(struct tz *z, const char *p)
{
	int32_t west;

	if (!take_name(&p) || !take_time(&p, 24, &west))
		return false;
	z->std = -west;
	if (!*p)
		return true;
	z->has_dst = true;
	z->dst = z->std + 3600;
	if (!take_name(&p))
		return false;
	if (*p && *p != ',') {
		if (!take_time(&p, 24, &west))
			return false;
		z->dst = -west;
	}
	return take_rule(&p, &z->begin) && take_rule(&p, &z->end) && !*p;
}

/* --- the file --- */

struct header {
	size_t isut, isstd, leap, times, types, chars;
};

static uint32_t
be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

static int64_t
be64(const unsigned char *p)
{
	return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static bool
read_header(const unsigned char *p, size_t left, struct header *h)
{
	if (left < 44 || memcmp(p, "TZif", 4) != 0)
		return false;
	*h = (struct header){be32(p + 20), be32(p + 24), be32(p + 28),
	    be32(p + 32), be32(p + 36), be32(p + 40)};
	/* Then no sum below can overflow. */
	return h->isut <= left && h->isstd <= left && h->leap <= left &&
	    h->times <= left && h->types <= left && h->chars <= left;
}

static size_t
body_size(const struct header *h, size_t time_size)
{
	return h->times * (time_size + 1) + h->types * 6 + h->chars +
	    h->leap * (time_size + 4) + h->isstd + h->isut;
}

static bool
offset_sane(int32_t v)
{
	return v >= -OFFSET_MAX && v <= OFFSET_MAX;
}

/* p: the second body, which is as long as the header says. */
static bool
read_body(struct tz *z, const unsigned char *p, const struct header *h)
{
	const unsigned char *index = p + h->times * 8;
	const unsigned char *types = index + h->times;

	if (h->types == 0)
		return false;
	for (size_t i = 0; i < h->types; i++)
		if (!offset_sane((int32_t)be32(types + i * 6)))
			return false;
	z->first = (int32_t)be32(types);
	z->n = h->times;
	z->at = xcalloc(z->n + 1, sizeof(*z->at));
	z->offset = xcalloc(z->n + 1, sizeof(*z->offset));
	for (size_t i = 0; i < z->n; i++) {
		z->at[i] = be64(p + i * 8);
		if (index[i] >= h->types || (i && z->at[i] <= z->at[i - 1]))
			return false;
		z->offset[i] = (int32_t)be32(types + index[i] * 6);
	}
	return true;
}

static bool
read_footer(struct tz *z, const unsigned char *p, size_t left)
{
	char text[FOOTER_MAX + 1];
	const unsigned char *end;
	size_t n;

	if (left < 2 || p[0] != '\n' || !(end = memchr(p + 1, '\n', left - 1)))
		return false;
	n = (size_t)(end - p - 1);
	if (n > FOOTER_MAX || memchr(p + 1, '\0', n))
		return false;
	memcpy(text, p + 1, n);
	text[n] = '\0';
	if (n > 0)
		return parse_footer(z, text);
	z->std = z->n ? z->offset[z->n - 1] : z->first;
	return true;
}

static bool
read_file(struct tz *z, const unsigned char *p, size_t len)
{
	struct header h;
	size_t size;

	/* The first block is for readers of version 1. */
	if (!read_header(p, len, &h) || p[4] < '2')
		return false;
	size = 44 + body_size(&h, 4);
	if (size > len || !read_header(p + size, len - size, &h))
		return false;
	p += size;
	len -= size;
	size = 44 + body_size(&h, 8);
	return size <= len && read_body(z, p + 44, &h) &&
	    read_footer(z, p + size, len - size);
}

static struct tz *
tz_new(const char *name, size_t len)
{
	struct tz *z = xcalloc(1, sizeof(*z));

	memcpy(z->name, name, len);
	return z;
}

int
tz_parse(const char *name, const void *data, size_t len, struct tz **ret,
    struct err *e)
{
	size_t n = strnlen(name, TZ_NAME_MAX);
	struct tz *z = tz_new(name, n);

	if (read_file(z, data, len)) {
		*ret = z;
		return 0;
	}
	tz_free(&z);
	return err_set(e, BH_E_BADARG, "time zone '%.*s': its file is not a "
	    "valid TZif file of version 2 or later", (int)n, name);
}

void
tz_free(struct tz **z)
{
	if (!*z)
		return;
	free((*z)->path);
	free((*z)->at);
	free((*z)->offset);
	free(*z);
	*z = NULL;
}

static bool
name_ok(const char *s, size_t len)
{
	if (len > TZ_NAME_MAX || s[0] == '/' || s[len - 1] == '/' ||
	    memmem(s, len, "..", 2))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alpha(s[i]) && !is_digit(s[i]) &&
		    !strchr("_+-/.", s[i]))
			return false;
	return memchr(s, '\0', len) == NULL;
}

static int
unknown(struct err *e, const char *name, size_t len, const char *dir)
{
	return err_set(e, BH_E_BADARG, "time zone '%.*s' is unknown: a name "
	    "below %s such as Europe/Lisbon is expected (some old names are "
	    "in the package tzdata-legacy)", (int)(len > 40 ? 40 : len), name,
	    dir);
}

int
tz_load(const char *name, size_t len, struct tz **ret, struct err *e)
{
	const char *dir = getenv("TZDIR");
	char zone[TZ_NAME_MAX + 1] = "";
	char *path, *data;
	struct stat st;
	size_t size;
	int rc;

	if (len == 0 || (len == 3 && memcmp(name, "UTC", 3) == 0)) {
		*ret = tz_new("UTC", 3);
		return 0;
	}
	if (!dir || !*dir)
		dir = "/usr/share/zoneinfo";
	if (!name_ok(name, len))
		return err_set(e, BH_E_BADARG, "time zone '%.*s': a name such "
		    "as Europe/Lisbon is expected, of letters, digits and "
		    "_+-/. without a leading / or ..",
		    (int)(len > 40 ? 40 : len), name);
	memcpy(zone, name, len);
	path = xasprintf("%s/%s", dir, zone);
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
	    str_read_file(path, FILE_MAX, &data, &size) < 0) {
		free(path);
		return unknown(e, name, len, dir);
	}
	rc = tz_parse(zone, data, size, ret, e);
	free(data);
	if (rc < 0) {
		free(path);
		return -1;
	}
	(*ret)->path = path;
	(*ret)->st = st;
	return 0;
}

const char *
tz_name(const struct tz *z)
{
	return z->name;
}

bool
tz_changed(const struct tz *z)
{
	struct stat st;

	if (!z->path)
		return false;
	/* A file that has gone leaves what is known of it in force. */
	return stat(z->path, &st) == 0 && (st.st_ino != z->st.st_ino ||
	    st.st_size != z->st.st_size ||
	    st.st_mtim.tv_sec != z->st.st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != z->st.st_mtim.tv_nsec);
}

/* --- asking --- */

static bool
is_leap(int64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t
week_rule(const struct rule *r, int64_t year)
{
	int64_t first = tz_days(year, r->month, 1);
	int64_t next = r->month == 12 ? tz_days(year + 1, 1, 1) :
	    tz_days(year, r->month + 1, 1);
	int weekday = (int)(((first + 4) % 7 + 7) % 7);
	int64_t day = first + (r->day - weekday + 7) % 7 + (r->week - 1) * 7;

	while (day >= next)
		day -= 7;
	return day;
}

/* Local seconds of the change in this year. */
static int64_t
rule_local(const struct rule *r, int64_t year)
{
	int64_t day;

	if (r->kind == RULE_WEEK) {
		day = week_rule(r, year);
	} else {
		day = tz_days(year, 1, 1) + r->day;
		if (r->kind == RULE_JULIAN)
			day -= !(is_leap(year) && r->day >= 60);
	}
	return day * DAY + r->t;
}

static int64_t
year_of(int64_t local)
{
	return tz_date(floor_div(local, DAY)).year;
}

static int32_t
footer_offset(const struct tz *z, int64_t utc)
{
	int64_t year, begin, end;

	if (!z->has_dst)
		return z->std;
	year = year_of(utc + z->std);
	begin = rule_local(&z->begin, year) - z->std;
	end = rule_local(&z->end, year) - z->dst;
	if (begin < end)
		return utc >= begin && utc < end ? z->dst : z->std;
	return utc >= end && utc < begin ? z->std : z->dst;
}

/* How many transitions are at or before this moment. */
static size_t
passed(const struct tz *z, int64_t utc)
{
	size_t lo = 0, hi = z->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (z->at[mid] <= utc)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int32_t
tz_offset(const struct tz *z, int64_t utc)
{
	size_t i = passed(z, utc);

	if (i == z->n)
		return footer_offset(z, utc);
	return i ? z->offset[i - 1] : z->first;
}

/* By the footer; a candidate of the neighbouring years may be the next. */
static int64_t
footer_change(const struct tz *z, int64_t utc)
{
	int64_t year = year_of(utc + z->std), best = INT64_MAX;

	if (!z->has_dst)
		return INT64_MAX;
	for (int64_t y = year - 1; y <= year + 2; y++) {
		int64_t begin = rule_local(&z->begin, y) - z->std;
		int64_t end = rule_local(&z->end, y) - z->dst;
		int64_t turn = tz_days(y, 1, 1) * DAY - z->std;

		if (begin > utc && begin < best)
			best = begin;
		if (end > utc && end < best)
			best = end;
		/* A rule of one year ends with it. */
		if (turn > utc && turn < best)
			best = turn;
	}
	return best;
}

int64_t
tz_change(const struct tz *z, int64_t utc)
{
	size_t i = passed(z, utc);

	return i < z->n ? z->at[i] : footer_change(z, utc);
}

int64_t
tz_utc(const struct tz *z, int64_t local)
{
	int64_t from = local - OFFSET_MAX - DAY;

	for (;;) {
		int64_t until = tz_change(z, from);
		int64_t utc = local - tz_offset(z, from);

		/* The clock went from before it to behind it. */
		if (utc < from)
			return from;
		if (utc < until)
			return utc;
		from = until;
	}
}

void
tz_show(const struct tz *z, int64_t wall_ms, char *out, size_t size)
{
	int64_t utc = floor_div(wall_ms, 1000);
	int32_t offset = tz_offset(z, utc);
	int64_t local = utc + offset;
	struct tz_date d = tz_date(floor_div(local, DAY));
	int second = (int)(local - floor_div(local, DAY) * DAY);
	int ms = (int)(wall_ms - utc * 1000);
	int west = offset < 0 ? -offset : offset;
	char fraction[8] = "";

	if (ms)
		snprintf(fraction, sizeof(fraction), ".%03d", ms % 1000);
	snprintf(out, size, "%04lld-%02d-%02d %02d:%02d:%02d%s %c%02d%02d",
	    (long long)d.year, d.month, d.day, second / 3600,
	    second / 60 % 60, second % 60, fraction, offset < 0 ? '-' : '+',
	    west / 3600, west / 60 % 60);
}
