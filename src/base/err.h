/* SPDX-License-Identifier: MIT */
/*
 * Errors that travel: a code of plugin.h's table and one sentence that names
 * the field, the value and what was expected.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/attr.h"
#include "plugin.h"

struct err {
	int code;			/* BH_OK or BH_E_* */
	char text[BH_ERROR_TEXT];
};

#define ERR_INIT {0}

/* Fills e and returns -1, so that a caller can return err_set(...). */
PRINTF(3, 4) int err_set(struct err *e, int code, const char *fmt, ...);

/* The word before the sentence on the RESP wire, and the HTTP status. */
const char *err_word(int code);
int err_http(int code);

#endif
