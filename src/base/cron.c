/* SPDX-License-Identifier: MIT */
#include "base/cron.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define DAY INT64_C(86400)
#define SEARCH_DAYS (8 * 366)

static const char *const month_names[] = {"JAN", "FEB", "MAR", "APR", "MAY",
    "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const day_names[] = {"SUN", "MON", "TUE", "WED", "THU",
    "FRI", "SAT", NULL};

enum field_kind { F_SECOND, F_MINUTE, F_HOUR, F_DAY, F_MONTH, F_WEEKDAY };

static const struct field {
	const char *name;
	const char *expected;
	int min, max;
	const char *const *names;	/* of min, min + 1, … */
} fields[] = {
	[F_SECOND] = {"second", "0-59", 0, 59, NULL},
	[F_MINUTE] = {"minute", "0-59", 0, 59, NULL},
	[F_HOUR] = {"hour", "0-23", 0, 23, NULL},
	[F_DAY] = {"day of month", "1-31 or L", 1, 31, NULL},
	[F_MONTH] = {"month", "1-12 or JAN-DEC", 1, 12, month_names},
	[F_WEEKDAY] = {"day of week", "0-7 or SUN-SAT, 5#2 or 5L", 0, 7,
	    day_names},
};

static const struct {
	const char *name, *text;
} nicknames[] = {
	{"@hourly", "0 * * * *"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},
	{"@monthly", "0 0 1 * *"},
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

/* One item of a list: the text, and where the reader is in it. */
struct item {
	const struct field *f;
	const char *s, *end;
	const char *at;
};

static int
refuse(const struct item *i, struct err *e, const char *expected)
{
	size_t n = (size_t)(i->end - i->s);

	return err_set(e, BH_E_BADARG, "cron: %s: '%.*s' is wrong: %s is "
	    "expected", i->f->name, (int)(n > 40 ? 40 : n), i->s, expected);
}

static bool
take(struct item *i, char c)
{
	if (i->at == i->end || *i->at != c)
		return false;
	i->at++;
	return true;
}

static bool
take_digits(struct item *i, int *ret)
{
	const char *from = i->at;
	int v = 0;

	for (; i->at < i->end && *i->at >= '0' && *i->at <= '9'; i->at++)
		if (v < 10000)
			v = v * 10 + *i->at - '0';
	*ret = v;
	return i->at > from;
}

static bool
take_name(struct item *i, int *ret)
{
	for (int n = 0; i->f->names && i->f->names[n]; n++)
		if (i->end - i->at >= 3 &&
		    str_is(i->at, 3, i->f->names[n])) {
			*ret = i->f->min + n;
			i->at += 3;
			return true;
		}
	return false;
}

/* A number or a name within the field's bounds. */
static bool
take_value(struct item *i, int *ret)
{
	return (take_name(i, ret) || take_digits(i, ret)) &&
	    *ret >= i->f->min && *ret <= i->f->max;
}

static void
set_value(struct cron *c, enum field_kind kind, int v)
{
	switch (kind) {
	case F_SECOND:
		c->second |= UINT64_C(1) << v;
		break;
	case F_MINUTE:
		c->minute |= UINT64_C(1) << v;
		break;
	case F_HOUR:
		c->hour |= UINT32_C(1) << v;
		break;
	case F_DAY:
		c->day |= UINT32_C(1) << v;
		break;
	case F_MONTH:
		c->month |= UINT32_C(1) << v;
		break;
	case F_WEEKDAY:
		c->weekday |= (uint8_t)(1 << v % 7);
		break;
	}
}

/* What follows a weekday: #n or L. False: neither. */
static bool
take_nth(struct cron *c, struct item *i, int weekday, bool *ret_wrong)
{
	int n = 0;

	if (take(i, 'L') || take(i, 'l')) {
		c->nth[weekday % 7] |= 1;
		return true;
	}
	if (!take(i, '#'))
		return false;
	*ret_wrong = !take_digits(i, &n) || n < 1 || n > 5;
	if (!*ret_wrong)
		c->nth[weekday % 7] |= (uint8_t)(1 << n);
	return true;
}

/* *, ?, a, a-b: the range that the item names. */
static int
take_range(struct item *i, int *ret_from, int *ret_to, bool *ret_single,
    struct err *e)
{
	*ret_single = false;
	*ret_from = i->f->min;
	*ret_to = i->f == &fields[F_WEEKDAY] ? 6 : i->f->max;
	if (take(i, '*') || take(i, '?'))
		return 0;
	if (!take_value(i, ret_from))
		return refuse(i, e, i->f->expected);
	*ret_to = *ret_from;
	*ret_single = true;
	if (!take(i, '-'))
		return 0;
	*ret_single = false;
	if (!take_value(i, ret_to))
		return refuse(i, e, i->f->expected);
	/* SAT-SUN */
	if (i->f == &fields[F_WEEKDAY] && *ret_to == 0 && *ret_from > 0)
		*ret_to = 7;
	if (*ret_to < *ret_from)
		return refuse(i, e, "a range from the lower to the higher "
		    "value");
	return 0;
}

static int
take_step(struct item *i, int *ret, struct err *e)
{
	int most = i->f->max - i->f->min + (i->f != &fields[F_WEEKDAY]);
	char expected[60];

	*ret = 1;
	if (!take(i, '/'))
		return 0;
	if (take_digits(i, ret) && *ret >= 1 && *ret <= most)
		return 0;
	snprintf(expected, sizeof(expected), "a step from 1 to %d after the "
	    "/", most);
	return refuse(i, e, expected);
}

static int
parse_item(struct cron *c, enum field_kind kind, struct item *i,
    struct err *e)
{
	bool single, wrong = false;
	int from, to, step;

	i->at = i->s;
	if (kind == F_DAY && str_is(i->s, (size_t)(i->end - i->s), "L")) {
		c->last_day = true;
		return 0;
	}
	if (take_range(i, &from, &to, &single, e) < 0)
		return -1;
	if (kind == F_WEEKDAY && single && take_nth(c, i, from, &wrong)) {
		if (wrong || i->at != i->end)
			return refuse(i, e, i->f->expected);
		return 0;
	}
	if (single && i->at < i->end && *i->at == '/')
		to = kind == F_WEEKDAY ? 6 : i->f->max;
	if (take_step(i, &step, e) < 0)
		return -1;
	if (i->at != i->end)
		return refuse(i, e, i->f->expected);
	for (int v = from; v <= to; v += step)
		set_value(c, kind, v);
	return 0;
}

static int
parse_field(struct cron *c, enum field_kind kind, const char *s, size_t len,
    struct err *e)
{
	struct item i = {.f = &fields[kind], .s = s};
	const char *end = s + len, *comma;

	for (;; i.s = comma + 1) {
		comma = memchr(i.s, ',', (size_t)(end - i.s));
		i.end = comma ? comma : end;
		if (i.s == i.end) {
			i.s = s;
			i.end = end;
			return refuse(&i, e, "no empty item in the list");
		}
		if (parse_item(c, kind, &i, e) < 0)
			return -1;
		if (!comma)
			return 0;
	}
}

struct word {
	const char *s;
	size_t len;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The words of s, at most max of them; how many there are. */
static size_t
split(const char *s, size_t len, struct word *words, size_t max)
{
	size_t n = 0, i = 0;

	while (i < len) {
		size_t from;

		while (i < len && is_blank(s[i]))
			i++;
		from = i;
		while (i < len && !is_blank(s[i]))
			i++;
		if (i == from)
			break;
		if (n < max)
			words[n] = (struct word){s + from, i - from};
		n++;
	}
	return n;
}

static bool
is_star(struct word w)
{
	return w.s[0] == '*' || w.s[0] == '?';
}

static int
parse_words(struct cron *c, const struct word *w, size_t n, struct err *e)
{
	if (n == 5)
		c->second = 1;
	for (size_t i = 0; i < n; i++)
		if (parse_field(c, (enum field_kind)(i + (n == 5)), w[i].s,
		    w[i].len, e) < 0)
			return -1;
	w += n == 6;
	c->interval = is_star(w[1]);
	c->either = !is_star(w[2]) && !is_star(w[4]);
	return 0;
}

int
cron_parse(struct cron *c, const char *s, size_t len, struct err *e)
{
	struct cron parsed = {0};
	struct word words[6];
	size_t n;
	int shown = (int)(len > 60 ? 60 : len);

	if (len > CRON_TEXT_MAX || memchr(s, '\0', len))
		return err_set(e, BH_E_BADARG, "cron: '%.*s' is wrong: at most "
		    "%d characters are expected", shown, s, CRON_TEXT_MAX);
	n = split(s, len, words, 6);
	for (size_t i = 0; n == 1 && i < nitems(nicknames); i++)
		if (str_is(words[0].s, words[0].len, nicknames[i].name))
			return cron_parse(c, nicknames[i].text,
			    strlen(nicknames[i].text), e);
	if (n == 1 && words[0].s[0] == '@')
		return err_set(e, BH_E_BADARG, "cron: '%.*s' is none of "
		    "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, "
		    "@annually", shown, s);
	if (n != 5 && n != 6)
		return err_set(e, BH_E_BADARG, "cron: '%.*s' has %zu field%s: "
		    "5 are expected (minute hour day-of-month month "
		    "day-of-week), or 6 with the second in front", shown, s, n,
		    n == 1 ? "" : "s");
	if (parse_words(&parsed, words, n, e) < 0)
		return -1;
	*c = parsed;
	return 0;
}

/* --- the next time --- */

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The lowest set bit from here on, -1 for none. */
static int
bit_from(uint64_t bits, int from)
{
	if (from > 63)
		return -1;
	bits &= ~UINT64_C(0) << from;
	return bits ? __builtin_ctzll(bits) : -1;
}

/* The first time of day from this second on, -1 for none. */
static int
time_from(const struct cron *c, int from)
{
	int h = bit_from(c->hour, from / 3600);
	int m = 0, s = 0;

	if (h < 0)
		return -1;
	if (h > from / 3600)
		return h * 3600 + bit_from(c->minute, 0) * 60 +
		    bit_from(c->second, 0);
	m = bit_from(c->minute, from / 60 % 60);
	if (m == from / 60 % 60) {
		s = bit_from(c->second, from % 60);
		if (s >= 0)
			return h * 3600 + m * 60 + s;
		m = bit_from(c->minute, m + 1);
	}
	if (m >= 0)
		return h * 3600 + m * 60 + bit_from(c->second, 0);
	return h == 23 ? -1 : time_from(c, (h + 1) * 3600);
}

static int
month_length(const struct tz_date *d)
{
	static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
	    30, 31};
	bool leap = (d->year % 4 == 0 && d->year % 100 != 0) ||
	    d->year % 400 == 0;

	return length[d->month - 1] + (d->month == 2 && leap);
}

static bool
weekday_meets(const struct cron *c, int64_t day, const struct tz_date *d,
    int length)
{
	int w = (int)(((day + 4) % 7 + 7) % 7);

	if (c->weekday & 1 << w)
		return true;
	if ((c->nth[w] & 1) && d->day + 7 > length)
		return true;
	return c->nth[w] & 1 << ((d->day + 6) / 7);
}

static bool
day_meets(const struct cron *c, int64_t day, const struct tz_date *d)
{
	int length = month_length(d);
	bool by_day = (c->day & UINT32_C(1) << d->day) ||
	    (c->last_day && d->day == length);
	bool by_weekday = weekday_meets(c, day, d, length);

	return c->either ? by_day || by_weekday : by_day && by_weekday;
}

/* The first day from this one on that counts, before limit, else limit. */
static int64_t
day_from(const struct cron *c, int64_t day, int64_t limit)
{
	while (day < limit) {
		struct tz_date d = tz_date(day);

		if (!(c->month & UINT32_C(1) << d.month))
			day += month_length(&d) - d.day + 1;
		else if (day_meets(c, day, &d))
			return day;
		else
			day++;
	}
	return limit;
}

/* The first local second from this one on; CRON_NEVER from day limit on. */
static int64_t
local_from(const struct cron *c, int64_t local, int64_t limit)
{
	int64_t today = floor_div(local, DAY);
	int64_t day = day_from(c, today, limit);
	int second;

	if (day < limit && day == today) {
		second = time_from(c, (int)(local - day * DAY));
		if (second >= 0)
			return day * DAY + second;
		day = day_from(c, day + 1, limit);
	}
	return day < limit ? day * DAY + time_from(c, 0) : CRON_NEVER;
}

/* Whenever the clock shows it: stretch by stretch of one offset. */
static int64_t
next_interval(const struct cron *c, const struct tz *z, int64_t from,
    int64_t limit)
{
	for (;;) {
		int32_t offset = tz_offset(z, from);
		int64_t until = tz_change(z, from);
		int64_t local = local_from(c, from + offset, limit);

		if (local != CRON_NEVER && local - offset < until)
			return local - offset;
		if (until == INT64_MAX || floor_div(until, DAY) > limit)
			return CRON_NEVER;
		from = until;
	}
}

/* The time of day is what counts. tz_utc() never goes back as the local time
 * goes on, so the first one that is late enough is the next one. */
static int64_t
next_local(const struct cron *c, const struct tz *z, int64_t from,
    int64_t limit)
{
	/* Right behind the local time of the second before: at the end of a
	 * gap, what the gap swallows is still to come. */
	int64_t local = from + tz_offset(z, from - 1);

	while ((local = local_from(c, local, limit)) != CRON_NEVER) {
		int64_t utc = tz_utc(z, local);

		if (utc >= from)
			return utc;
		local++;
	}
	return CRON_NEVER;
}

int64_t
cron_next(const struct cron *c, const struct tz *z, int64_t after_ms)
{
	int64_t from = floor_div(after_ms, 1000) + 1;
	int64_t limit = floor_div(from, DAY) + SEARCH_DAYS;
	int64_t at = c->interval ? next_interval(c, z, from, limit)
	    : next_local(c, z, from, limit);

	return at == CRON_NEVER ? CRON_NEVER : at * 1000;
}

int
cron_check(struct cron *c, const char *s, size_t len, const struct tz *z,
    int64_t now_ms, struct err *e)
{
	struct cron parsed;

	if (cron_parse(&parsed, s, len, e) < 0)
		return -1;
	if (cron_next(&parsed, z, now_ms) == CRON_NEVER)
		return err_set(e, BH_E_BADARG, "cron: '%.*s' never happens: a "
		    "date that exists within the next 8 years is expected",
		    (int)(len > 60 ? 60 : len), s);
	*c = parsed;
	return 0;
}
