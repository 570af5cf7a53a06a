/* SPDX-License-Identifier: MIT */
/* Time in scripts: now(), sleep(), os.time and its like, and durations as
 * arguments. */
#ifndef SCRIPT_LUA_TIME_H
#define SCRIPT_LUA_TIME_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Adds its functions to the table on top of the stack. */
void lua_time_open(lua_State *L);

/* The value at idx as milliseconds: a string with a unit, a number or bare
 * digits in seconds, with date also an HTTP date (the time until then, 0 when
 * it has passed). nil is -1. Otherwise it raises an error that calls the
 * value `what`. */
int64_t lua_span(lua_State *L, int idx, const char *what, bool date);
/* The same without raising: -2 when the value is no duration. */
int64_t lua_span_try(lua_State *L, int idx);

/* Wall ms of an HTTP date in one of its three forms, or -1. */
int64_t http_date(const char *s, size_t len);

#endif
