/* SPDX-License-Identifier: MIT */
#include "script/lua_time.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/str.h"
#include "script/state.h"

#define SPAN_MAX ((int64_t)1000 * 86400 * 36500)	/* a century */

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t
days_of(int64_t y, int m, int d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

int64_t
http_date(const char *s, size_t len)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT",	/* IMF-fixdate */
		"%A, %d-%b-%y %H:%M:%S GMT",	/* RFC 850 */
		"%a %b %d %H:%M:%S %Y",		/* asctime */
	};
	char text[64];
	size_t i;

	if (len >= sizeof(text))
		return -1;
	memcpy(text, s, len);
	text[len] = '\0';
	for (i = 0; i < nitems(forms); i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);

		if (!end || *end || end != text + len)
			continue;
		return 1000 * (days_of(tm.tm_year + 1900, tm.tm_mon + 1,
		    tm.tm_mday) * 86400 + tm.tm_hour * 3600 + tm.tm_min * 60 +
		    tm.tm_sec);
	}
	return -1;
}

int64_t
lua_span_try(lua_State *L, int idx)
{
	const char *s;
	size_t len;
	int64_t ms;
	double v;

	if (lua_type(L, idx) == LUA_TNUMBER) {
		v = lua_tonumber(L, idx) * 1000;
		return v >= 0 && v <= (double)SPAN_MAX ? (int64_t)round(v) : -2;
	}
	if (lua_type(L, idx) != LUA_TSTRING)
		return -2;
	s = lua_tolstring(L, idx, &len);
	if (str_duration(s, len, 1000, &ms) < 0 || ms < 0 || ms > SPAN_MAX)
		return -2;
	return ms;
}

int64_t
lua_span(lua_State *L, int idx, const char *what, bool date)
{
	const char *s;
	int64_t ms, at;
	size_t len;

	if (lua_isnoneornil(L, idx))
		return -1;
	ms = lua_span_try(L, idx);
	if (ms >= 0)
		return ms;
	if (date && lua_type(L, idx) == LUA_TSTRING) {
		s = lua_tolstring(L, idx, &len);
		at = http_date(s, len);
		if (at >= 0) {
			ms = at - clock_now().wall_ms;
			return ms > 0 ? ms : 0;
		}
	}
	s = luaL_tolstring(L, idx, NULL);
	luaL_error(L, "%s: expected a duration such as \"30s\" or a number of "
	    "seconds%s, got '%s'", what, date ? " or an HTTP date" : "", s);
	return -1;
}

static int
time_now(lua_State *L)
{
	lua_pushnumber(L, (double)clock_now().wall_ms / 1000.0);
	return 1;
}

static int
sleep_end(lua_State *L, int status, lua_KContext ctx)
{
	(void)L;
	(void)status;
	(void)ctx;
	return 0;
}

static int
time_sleep(lua_State *L)
{
	struct state *st = state_of(L);
	int64_t ms = lua_span(L, 1, "sleep", false);

	luaL_argcheck(L, ms >= 0, 1, "a duration is missing");
	if (!st->run || !lua_isyieldable(L))
		return luaL_error(L, "sleep is not possible here (while the "
		    "script loads, in a sort or gsub function)");
	st->run->wait = WAIT_SLEEP;
	st->host->nap(st->host, st->run, ms);
	return lua_yieldk(L, 0, 0, sleep_end);
}

static int
field_int(lua_State *L, const char *name, int def)
{
	lua_Integer v;
	int ok;

	lua_getfield(L, 1, name);
	if (lua_isnil(L, -1)) {
		if (def == INT_MIN)
			return luaL_error(L, "os.time: field '%s' is missing",
			    name);
		lua_pop(L, 1);
		return def;
	}
	v = lua_tointegerx(L, -1, &ok);
	if (!ok || v < -100000000 || v > 100000000)
		return luaL_error(L, "os.time: field '%s' is out of range",
		    name);
	lua_pop(L, 1);
	return (int)v;
}

static int
os_time(lua_State *L)
{
	struct state *st = state_of(L);
	struct tm tm = {0};
	time_t t;

	if (lua_isnoneornil(L, 1)) {
		lua_pushinteger(L, clock_now().wall_ms / 1000);
		return 1;
	}
	luaL_checktype(L, 1, LUA_TTABLE);
	tm.tm_year = field_int(L, "year", INT_MIN) - 1900;
	tm.tm_mon = field_int(L, "month", INT_MIN) - 1;
	tm.tm_mday = field_int(L, "day", INT_MIN);
	tm.tm_hour = field_int(L, "hour", 12);
	tm.tm_min = field_int(L, "min", 0);
	tm.tm_sec = field_int(L, "sec", 0);
	lua_getfield(L, 1, "isdst");
	tm.tm_isdst = lua_isnil(L, -1) ? -1 : lua_toboolean(L, -1);
	cpu_guard(&st->host->cpu);
	t = mktime(&tm);
	cpu_unguard(&st->host->cpu);
	lua_pushinteger(L, t);
	return 1;
}

static void
push_date_table(lua_State *L, const struct tm *tm)
{
	const struct { const char *name; int v; } f[] = {
		{"year", tm->tm_year + 1900}, {"month", tm->tm_mon + 1},
		{"day", tm->tm_mday}, {"hour", tm->tm_hour},
		{"min", tm->tm_min}, {"sec", tm->tm_sec},
		{"wday", tm->tm_wday + 1}, {"yday", tm->tm_yday + 1},
	};
	size_t i;

	lua_createtable(L, 0, 9);
	for (i = 0; i < nitems(f); i++) {
		lua_pushinteger(L, f[i].v);
		lua_setfield(L, -2, f[i].name);
	}
	lua_pushboolean(L, tm->tm_isdst > 0);
	lua_setfield(L, -2, "isdst");
}

/* strftime has undefined behaviour on conversions it does not know. */
static void
check_format(lua_State *L, const char *fmt, size_t len)
{
	size_t i;

	luaL_argcheck(L, len < 200 && strlen(fmt) == len, 1,
	    "the format is too long or has a zero byte");
	for (i = 0; i < len; i++)
		if (fmt[i] == '%' &&
		    (fmt[++i] == '\0' || !strchr("aAbBcCdDeFgGhHIjmMnprRStTuU"
		    "VwWxXyYzZ%", fmt[i])))
			luaL_error(L, "os.date: unknown conversion '%%%c'",
			    fmt[i] ? fmt[i] : ' ');
}

static int
os_date(lua_State *L)
{
	struct state *st = state_of(L);
	size_t len, n = 0;
	const char *fmt = luaL_optlstring(L, 1, "%c", &len);
	time_t t = (time_t)luaL_optinteger(L, 2, clock_now().wall_ms / 1000);
	bool utc = *fmt == '!', table;
	char out[1024];
	struct tm tm;
	void *ok;

	fmt += utc;
	len -= utc;
	table = strcmp(fmt, "*t") == 0;
	if (!table)
		check_format(L, fmt, len);
	cpu_guard(&st->host->cpu);
	ok = utc ? gmtime_r(&t, &tm) : localtime_r(&t, &tm);
	if (ok && !table)
		n = strftime(out, sizeof(out), fmt, &tm);
	cpu_unguard(&st->host->cpu);
	if (!ok)
		return luaL_error(L, "os.date: the time is out of range");
	if (table)
		push_date_table(L, &tm);
	else
		lua_pushlstring(L, out, n);
	return 1;
}

static int
os_clock(lua_State *L)
{
	lua_pushnumber(L, (double)clock_thread_us() / 1e6);
	return 1;
}

static int
os_difftime(lua_State *L)
{
	lua_pushnumber(L, (double)luaL_checkinteger(L, 1) -
	    (double)luaL_checkinteger(L, 2));
	return 1;
}

void
lua_time_open(lua_State *L)
{
	static const luaL_Reg os[] = {
		{"time", os_time},
		{"date", os_date},
		{"clock", os_clock},
		{"difftime", os_difftime},
		{NULL, NULL},
	};

	lua_pushcfunction(L, time_now);
	lua_setfield(L, -2, "now");
	lua_pushcfunction(L, time_sleep);
	lua_setfield(L, -2, "sleep");
	luaL_newlib(L, os);
	lua_setfield(L, -2, "os");
}
