/* SPDX-License-Identifier: MIT */
/*
 * What the rows of conf.def become: a table to walk. A rule says which values
 * a setting may have, and is shared with the settings of a queue; an option
 * adds where the value lives in struct conf, its default and its sentence.
 *
 * Constant data; any thread.
 */
#ifndef CONF_OPTION_H
#define CONF_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum rule_type {
	RULE_STR,
	RULE_ENUM,
	RULE_INT,
	RULE_SIZE,
	RULE_DURATION,
	RULE_BOOL,
	RULE_LIST,
	RULE_REAL
};

struct rule {
	const char *name;		/* "listen.resp" */
	enum rule_type type;
	int64_t min, max;		/* numbers; INT64_MAX: no bound */
	const char *words;		/* ENUM: separated by blanks */
	bool blank;			/* STR: may be empty, as its default */
};

struct option {
	struct rule rule;
	size_t offset;			/* in struct conf */
	const char *def_s;		/* STR, ENUM, LIST (by blanks) */
	int64_t def_i;
	bool reload;			/* a reload takes it */
	const char *help;		/* one sentence */
};

/* The i-th option, NULL past the end. */
const struct option *option_at(size_t i);
const struct option *option_find(const char *name);

/* Position of s among the words of a rule, -1 when it is none of them. */
int rule_word(const struct rule *rule, const char *s);
/* "64KiB", "25s", "1000": as people write a value of this type. */
void rule_format(enum rule_type type, int64_t v, struct buf *out);
/* "an integer from 1 to 64", "one of a, b, c": what a rule wants. */
void rule_expects(const struct rule *rule, struct buf *out);

#endif
