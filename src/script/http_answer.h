/* SPDX-License-Identifier: MIT */
/* What a script gets for an HTTP request: a table of status, headers, body,
 * url, elapsed, retry_after, and json once somebody looks at it. */
#ifndef SCRIPT_HTTP_ANSWER_H
#define SCRIPT_HTTP_ANSWER_H

#include <lua.h>

#include "script/call.h"

/* Once in each state. */
void http_answer_open(lua_State *L);
/* Pushes the answer of a call without an error. */
void http_answer_push(lua_State *L, const struct http_call *h);

#endif
