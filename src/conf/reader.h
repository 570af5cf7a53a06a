/* SPDX-License-Identifier: MIT */
/*
 * One reading of a configuration text: collects every error, each with file
 * and line, instead of stopping at the first. Only files of this folder
 * include it. Main thread, or a tool.
 */
#ifndef CONF_READER_H
#define CONF_READER_H

#include <libconfig.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"
#include "conf/option.h"

struct reader {
	const char *file;		/* of the main text */
	struct buf *report;
	struct err *e;			/* gets the first error */
	size_t errors;
	struct conf *conf;		/* being filled */
	char scope[160];		/* " of queue 'x'", or "" */
};

/* One value that obeys its rule. */
struct value {
	int64_t i;			/* INT, SIZE, DURATION, BOOL, ENUM */
	double d;			/* REAL */
	const char *s;			/* STR, ENUM: libconfig's */
};

/* FILE:LINE: and the sentence. */
PRINTF(3, 4) void reader_error(struct reader *r, const config_setting_t *at,
    const char *fmt, ...);
/* "option 'x'…: got V, expected <expected>". */
void reader_reject(struct reader *r, const config_setting_t *s,
    const char *name, const char *expected);
/* The same, with a guess at what was meant among the n names. */
void reader_unknown(struct reader *r, const config_setting_t *s,
    const char *name, const char *(*known)(size_t i));
/* 0, or -1 after reporting why not. LIST is not for here. */
MUSTCHECK int reader_value(struct reader *r, const config_setting_t *s,
    const struct rule *rule, struct value *ret);

/* The list `queues` and the group `config`. */
void reader_queues(struct reader *r, const config_setting_t *s);
void reader_user(struct reader *r, const config_setting_t *s);

/* The text with an L after each integer that needs more than 32 bits, which
 * libconfig would otherwise cut silently. Lines stay where they are. The
 * caller frees it. NULL when a string or comment never ends, with the line
 * where it begins. */
char *reader_widen(const char *text, size_t len, int *ret_line);

#endif
