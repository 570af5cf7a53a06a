/* SPDX-License-Identifier: MIT */
/*
 * JSON for scripts: json.encode, json.decode, json.null, json.array. Integers
 * keep their 64 bits; a number that does not fit is refused. A table is an
 * array when its keys are 1…n or when it came from json.array() or from a JSON
 * array; an empty one is an object otherwise. At most 128 levels deep.
 */
#ifndef SCRIPT_LUA_JSON_H
#define SCRIPT_LUA_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define LUA_JSON_DEPTH 128

struct state;

/* Adds `json` to the table on top of the stack. */
void lua_json_open(lua_State *L);

/* Pushes the value. false: nothing is pushed and err (may be NULL) says why.
 * Raises for want of memory. */
bool lua_json_decode(lua_State *L, const char *text, size_t len, char *err,
    size_t err_size);
/* Encodes the value at idx into the state's buffer, valid until the next
 * call; raises an error for what JSON does not have. */
const char *lua_json_encode(lua_State *L, int idx, size_t *ret_len);
/* Pushes json.null. */
void lua_json_null(lua_State *L);

/* Gives back what an error in the middle of a call left behind. */
void lua_json_done(struct state *st);

#endif
