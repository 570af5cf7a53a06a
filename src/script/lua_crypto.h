/* SPDX-License-Identifier: MIT */
/* crypto.hmac/sha256/random/uuid and base64.encode/decode. */
#ifndef SCRIPT_LUA_CRYPTO_H
#define SCRIPT_LUA_CRYPTO_H

#include <lua.h>

/* Adds `crypto` and `base64` to the table on top of the stack. */
void lua_crypto_open(lua_State *L);

#endif
