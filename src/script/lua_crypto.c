/* SPDX-License-Identifier: MIT */
#include "script/lua_crypto.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "script/state.h"

#define RANDOM_MAX 65536

static void
push_hex(lua_State *L, const unsigned char *md, size_t n)
{
	char hex[2 * EVP_MAX_MD_SIZE];
	size_t i;

	for (i = 0; i < n; i++) {
		hex[2 * i] = "0123456789abcdef"[md[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[md[i] & 15];
	}
	lua_pushlstring(L, hex, 2 * n);
}

/* The form that the argument at idx asks for: "hex" (default), "base64" or
 * "raw". */
static int
push_digest(lua_State *L, int idx, const unsigned char *md, size_t n)
{
	static const char *const forms[] = {"hex", "base64", "raw", NULL};
	char text[4 * EVP_MAX_MD_SIZE / 3 + 8];
	int form = luaL_checkoption(L, idx, "hex", forms);

	if (form == 0)
		push_hex(L, md, n);
	else if (form == 2)
		lua_pushlstring(L, (const char *)md, n);
	else
		lua_pushlstring(L, text, (size_t)EVP_EncodeBlock(
		    (unsigned char *)text, md, (int)n));
	return 1;
}

/* crypto.hmac(key, text [, "sha256"|"sha1"|"sha512" [, form]]) */
static int
crypto_hmac(lua_State *L)
{
	static const char *const names[] = {"sha256", "sha1", "sha512", NULL};
	struct cpu *cpu = &state_of(L)->host->cpu;
	unsigned char md[EVP_MAX_MD_SIZE];
	const EVP_MD *type;
	size_t klen, len;
	const char *key = luaL_checklstring(L, 1, &klen);
	const char *text = luaL_checklstring(L, 2, &len);
	int algo = luaL_checkoption(L, 3, "sha256", names);
	unsigned n = 0;
	bool ok;

	luaL_argcheck(L, klen <= 65536, 1, "the key is longer than 64 KiB");
	cpu_guard(cpu);
	type = algo == 0 ? EVP_sha256() : algo == 1 ? EVP_sha1() :
	    EVP_sha512();
	ok = HMAC(type, key, (int)klen, (const unsigned char *)text, len, md,
	    &n) != NULL;
	cpu_unguard(cpu);
	if (!ok)
		return luaL_error(L, "crypto.hmac failed");
	return push_digest(L, 4, md, n);
}

/* crypto.sha256(text [, form]) */
static int
crypto_sha256(lua_State *L)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	unsigned char md[EVP_MAX_MD_SIZE];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	unsigned n = 0;
	bool ok;

	cpu_guard(cpu);
	ok = EVP_Digest(text, len, md, &n, EVP_sha256(), NULL) == 1;
	cpu_unguard(cpu);
	if (!ok)
		return luaL_error(L, "crypto.sha256 failed");
	return push_digest(L, 2, md, n);
}

/* crypto.random(n): n bytes. */
static int
crypto_random(lua_State *L)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	lua_Integer n = luaL_checkinteger(L, 1);
	luaL_Buffer b;
	char *to;

	luaL_argcheck(L, n >= 1 && n <= RANDOM_MAX, 1,
	    "expected 1 to 65536 bytes");
	to = luaL_buffinitsize(L, &b, (size_t)n);
	cpu_guard(cpu);
	rng_bytes(to, (size_t)n);
	cpu_unguard(cpu);
	luaL_pushresultsize(&b, (size_t)n);
	return 1;
}

/* A random UUID (version 4). */
static int
crypto_uuid(lua_State *L)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	unsigned char r[16];
	char text[37];
	int i, at = 0;

	cpu_guard(cpu);
	rng_bytes(r, sizeof(r));
	cpu_unguard(cpu);
	r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
	r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		text[at++] = "0123456789abcdef"[r[i] >> 4];
		text[at++] = "0123456789abcdef"[r[i] & 15];
	}
	lua_pushlstring(L, text, 36);
	return 1;
}

/* crypto.equal(a, b): takes as long wherever they differ. */
static int
crypto_equal(lua_State *L)
{
	size_t alen, blen, i;
	const char *a = luaL_checklstring(L, 1, &alen);
	const char *b = luaL_checklstring(L, 2, &blen);
	unsigned char diff = alen != blen;

	for (i = 0; i < alen && i < blen; i++)
		diff |= (unsigned char)(a[i] ^ b[i]);
	lua_pushboolean(L, diff == 0);
	return 1;
}

static int
base64_encode(lua_State *L)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len, i;
	const unsigned char *s =
	    (const unsigned char *)luaL_checklstring(L, 1, &len);
	luaL_Buffer b;
	char *to = luaL_buffinitsize(L, &b, (len + 2) / 3 * 4), *p = to;

	for (i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t v = (uint32_t)s[i] << 16 |
		    (left > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
		    (left > 2 ? s[i + 2] : 0);

		*p++ = abc[v >> 18];
		*p++ = abc[v >> 12 & 63];
		*p++ = left > 1 ? abc[v >> 6 & 63] : '=';
		*p++ = left > 2 ? abc[v & 63] : '=';
	}
	luaL_pushresultsize(&b, (size_t)(p - to));
	return 1;
}

/* 0…63, or -1. Takes the alphabet of URLs too. */
static int
base64_digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Padding may be missing; anything else that is not base64 is an error. */
static int
base64_decode(lua_State *L)
{
	size_t len, i, n = 0;
	const unsigned char *s =
	    (const unsigned char *)luaL_checklstring(L, 1, &len);
	uint32_t v = 0;
	luaL_Buffer b;
	char *to;

	while (len > 0 && s[len - 1] == '=' && n++ < 2)
		len--;
	if (len % 4 == 1 || (n && (len + n) % 4 != 0))
		return luaL_error(L, "base64.decode: the length is wrong");
	for (i = 0; i < len; i++)
		if (base64_digit(s[i]) < 0)
			return luaL_error(L, "base64.decode: byte %d is not "
			    "of the alphabet", (int)i + 1);
	to = luaL_buffinitsize(L, &b, len / 4 * 3 + 3);
	for (i = 0, n = 0; i < len; i++) {
		v = v << 6 | (uint32_t)base64_digit(s[i]);
		if (i % 4 != 0)
			to[n++] = (char)(v >> (6 - 2 * (i % 4)) & 255);
	}
	luaL_pushresultsize(&b, n);
	return 1;
}

void
lua_crypto_open(lua_State *L)
{
	static const luaL_Reg crypto[] = {
		{"hmac", crypto_hmac},
		{"sha256", crypto_sha256},
		{"random", crypto_random},
		{"uuid", crypto_uuid},
		{"equal", crypto_equal},
		{NULL, NULL},
	};
	static const luaL_Reg base64[] = {
		{"encode", base64_encode},
		{"decode", base64_decode},
		{NULL, NULL},
	};

	luaL_newlib(L, crypto);
	lua_setfield(L, -2, "crypto");
	luaL_newlib(L, base64);
	lua_setfield(L, -2, "base64");
}
