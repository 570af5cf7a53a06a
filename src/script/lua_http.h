/* SPDX-License-Identifier: MIT */
/* http.get/head/post/put/patch/delete(url, opts) and http.request{…}. */
#ifndef SCRIPT_LUA_HTTP_H
#define SCRIPT_LUA_HTTP_H

#include <lua.h>

#include "base/buf.h"

/* Adds `http` to the table on top of the stack. */
void lua_http_open(lua_State *L);

/* The URL without what may be secret: login, query and fragment. */
void http_url_brief(const char *url, struct buf *out);

#endif
