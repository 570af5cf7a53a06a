/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/die.h"

static const struct {
	const char *word;
	int http;
} table[BH_E_COUNT] = {
	[BH_OK] = {"OK", 200},
#define X(name, word_, http_, text) [name] = {word_, http_},
	BH_ERRORS(X)
#undef X
};

int
err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	CHECK(code > BH_OK && code < BH_E_COUNT);
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -1;
}

const char *
err_word(int code)
{
	CHECK(code >= 0 && code < BH_E_COUNT);
	return table[code].word;
}

int
err_http(int code)
{
	CHECK(code >= 0 && code < BH_E_COUNT);
	return table[code].http;
}
